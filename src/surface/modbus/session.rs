//! The device on one Modbus connection.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::ServerShared;
use crate::clock::Clock;
use crate::fault::{DeviceModbusRequest, SlaveEffect, Verdict};
use crate::journal::Event;
use crate::limits;
use crate::modbus::server::{ModbusHandler, OUTCOME_OK, ReceivedRequest};
use crate::modbus::wire::{self, Exception, FunctionCode, ReplyPdu};

/// Registers of one read at the most.
const MOST: usize = *limits::READ_REGISTERS.end() as usize;

/// Answers the requests of one connection.
#[derive(Debug)]
pub(super) struct DeviceSession(Arc<ServerShared>);

impl DeviceSession {
    pub(super) fn new(shared: Arc<ServerShared>) -> Self {
        Self(shared)
    }

    /// The registers of a read, all from one reading of the meter.
    fn read(&self, function: FunctionCode, address: u16, quantity: u16, reply: &mut ReplyPdu) {
        let device = &self.0.parts.device;
        let snapshot = device.snapshot();
        let map = snapshot.view.config.register_map();
        let mut words = [0; MOST];
        let words = &mut words[..usize::from(quantity).min(MOST)];
        match map.read(&device.identity().id, &snapshot, address, words) {
            Ok(()) => reply.write_words(function, words),
            Err(_) => reply.write_exception(function, Exception::ILLEGAL_DATA_ADDRESS),
        }
    }
}

impl ModbusHandler for DeviceSession {
    fn clock(&self) -> &Clock {
        &self.0.parts.clock
    }

    fn idle_timeout(&self) -> Duration {
        limits::MODBUS_IDLE
    }

    /// Whatever unit is asked, it is the one device.
    fn queue(&self, _: &ReceivedRequest) -> u8 {
        0
    }

    fn evaluate_faults(&self, request: &ReceivedRequest) -> Verdict<SlaveEffect> {
        let (address, quantity) = range(request);
        self.0.parts.engine.modbus(&DeviceModbusRequest {
            device: self.0.parts.device.identity().id.as_str(),
            unit: request.unit,
            function: request.function(),
            address,
            quantity,
        })
    }

    fn execute(&self, request: &ReceivedRequest, reply: &mut ReplyPdu) {
        let function = request.function();
        let readable = match function {
            FunctionCode::READ_INPUT_REGISTERS => true,
            FunctionCode::READ_HOLDING_REGISTERS => self.0.function_3,
            _ => false,
        };
        if !readable {
            reply.write_exception(function, Exception::ILLEGAL_FUNCTION);
            return;
        }
        match wire::RequestPdu::parse(request.pdu()) {
            Ok(read) => {
                let (address, quantity) = read.range();
                self.read(function, address, quantity, reply);
            }
            Err(exception) => reply.write_exception(function, exception),
        }
    }

    /// Only what did not go well: masters poll every second, and would push all else out.
    fn record_outcome(&self, request: &ReceivedRequest, outcome: Cow<'static, str>) {
        if outcome == OUTCOME_OK {
            return;
        }
        let (address, quantity) = range(request);
        self.0.parts.journal.record(Event::ModbusRequest {
            device: self.0.parts.device.identity().id.shared(),
            unit: request.unit,
            function: request.function(),
            address,
            quantity,
            outcome,
        });
    }

    fn record_invalid_frame(&self, reason: String) {
        let device = self.0.parts.device.identity().id.shared();
        self.0.parts.journal.record(Event::ModbusGarbage { device, reason });
    }
}

/// The first address and the quantity; 0 and 0 where the request does not say.
fn range(request: &ReceivedRequest) -> (u16, u16) {
    wire::RequestPdu::parse(request.pdu()).map(|request| request.range()).unwrap_or_default()
}
