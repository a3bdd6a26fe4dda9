//! A slave on one connection.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::Slave;
use crate::clock::Clock;
use crate::fault::{ActionOriginRef, SlaveRequest};
use crate::journal::Event;
use crate::modbus::fault::ReplyDecision;
use crate::modbus::server::{ModbusHandler, ReceivedRequest};
use crate::modbus::wire::{self, Exception};
use crate::net::inflight::PeerInfo;

/// A slave, and the client of one connection.
#[derive(Debug)]
pub(super) struct SlaveSession {
    pub slave: Arc<Slave>,
    pub peer_info: PeerInfo,
}

impl ModbusHandler for SlaveSession {
    fn clock(&self) -> &Clock {
        &self.slave.clock
    }

    fn idle_timeout(&self) -> Duration {
        self.slave.idle
    }

    /// Returns the unit id, because units do not wait for each other.
    fn ordering_key(&self, request: &ReceivedRequest) -> u8 {
        request.unit
    }

    fn decide(&self, request: &ReceivedRequest) -> ReplyDecision {
        let parsed = wire::RequestPdu::parse(request.pdu()).ok();
        let (address, quantity) = parsed.map(|parsed| parsed.range()).unwrap_or_default();
        let values = parsed.map(|parsed| parsed.values()).unwrap_or_default();
        let origin = self.peer_info.origin();
        let mut decision = self.slave.engine.slave(&SlaveRequest {
            slave: &self.slave.name,
            unit: request.unit,
            function: request.function(),
            address,
            quantity,
            values: &values,
            from: origin.as_ref().map(ActionOriginRef::from),
        });
        decision.delay = decision.delay.saturating_add(self.slave.latency);
        decision
    }

    fn execute(&self, request: &ReceivedRequest, reply: &mut wire::ReplyPdu) {
        match (self.slave.unit(request.unit), self.slave.unknown_unit) {
            (Some(unit), _) => {
                let mut bank = unit.bank();
                // Read under the lock, so that a bank never sees time go backwards.
                let now = self.slave.clock.now();
                bank.handle(request.pdu(), now, reply);
            }
            (None, Some(code)) => reply.write_exception(request.function(), Exception(code)),
            (None, None) => {}
        }
    }

    fn record_outcome(&self, request: &ReceivedRequest, outcome: Cow<'static, str>) {
        let parsed = wire::RequestPdu::parse(request.pdu());
        let (address, quantity) = parsed.map(|parsed| parsed.range()).unwrap_or_default();
        let values = parsed.map(|parsed| parsed.values()).unwrap_or_default();
        self.slave.journal.record(Event::SlaveRequest {
            slave: Arc::clone(&self.slave.name),
            unit: request.unit,
            function: request.function(),
            address,
            quantity,
            values,
            outcome,
        });
    }

    fn record_invalid_frame(&self, reason: String) {
        let slave = Arc::clone(&self.slave.name);
        self.slave.journal.record(Event::SlaveInvalidFrame { slave, reason });
    }
}
