//! A slave on one connection.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::Slave;
use crate::clock::Clock;
use crate::fault::{ActionCall, SlaveEffect, SlaveRequest, Verdict};
use crate::journal::Event;
use crate::modbus::server::{ModbusService, ReceivedRequest};
use crate::modbus::wire::{self, Exception};
use crate::net::inflight::PeerInfo;

/// A slave, and the line that a client asks it on.
#[derive(Debug)]
pub(super) struct SlaveSession {
    pub slave: Arc<Slave>,
    pub line: PeerInfo,
}

impl ModbusService for SlaveSession {
    fn clock(&self) -> &Clock {
        &self.slave.clock
    }

    fn idle(&self) -> Duration {
        self.slave.idle
    }

    /// Units do not wait for each other.
    fn turn(&self, request: &ReceivedRequest) -> u8 {
        request.unit
    }

    fn ask(&self, request: &ReceivedRequest) -> Verdict<SlaveEffect> {
        let parsed = wire::RequestPdu::parse(request.pdu()).ok();
        let (address, quantity) = parsed.map(|parsed| parsed.range()).unwrap_or_default();
        let values = parsed.map(|parsed| parsed.values()).unwrap_or_default();
        let caller = self.line.caller();
        let mut verdict = self.slave.engine.slave(&SlaveRequest {
            slave: &self.slave.name,
            unit: request.unit,
            function: request.function(),
            address,
            quantity,
            values: &values,
            from: caller.as_ref().map(ActionCall::from),
        });
        verdict.delay = verdict.delay.saturating_add(self.slave.latency);
        verdict
    }

    fn execute(&self, request: &ReceivedRequest, reply: &mut wire::ReplyPdu) {
        match (self.slave.unit(request.unit), self.slave.unknown_unit) {
            (Some(unit), _) => {
                let mut bank = unit.bank();
                // Read under the lock, so that a bank never sees time go back.
                let now = self.slave.clock.now();
                bank.handle(request.pdu(), now, reply);
            }
            (None, Some(code)) => reply.exception(request.function(), Exception(code)),
            (None, None) => {}
        }
    }

    fn explain(&self, request: &ReceivedRequest, outcome: Cow<'static, str>) {
        let parsed = wire::RequestPdu::parse(request.pdu());
        let (address, quantity) = parsed.map(|parsed| parsed.range()).unwrap_or_default();
        let values = parsed.map(|parsed| parsed.values()).unwrap_or_default();
        self.slave.journal.write(Event::SlaveRequest {
            slave: Arc::clone(&self.slave.name),
            unit: request.unit,
            function: request.function(),
            address,
            quantity,
            values,
            outcome,
        });
    }

    fn garbage(&self, reason: String) {
        let slave = Arc::clone(&self.slave.name);
        self.slave.journal.write(Event::SlaveGarbage { slave, reason });
    }
}
