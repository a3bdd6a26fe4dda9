//! The replies of the device on a Modbus connection.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::ServerShared;
use crate::clock::Clock;
use crate::fault::DeviceModbusRequest;
use crate::journal::Event;
use crate::limits;
use crate::modbus;
use crate::modbus::fault::ReplyDecision;
use crate::modbus::server::{ModbusHandler, OUTCOME_OK, ReceivedRequest};
use crate::modbus::wire::{Exception, FunctionCode, ReplyPdu, RequestPdu};

/// Maximum registers of one read.
const MAX_REGISTERS: usize = *modbus::limits::READ_REGISTERS.end() as usize;

/// Answers the requests of one connection.
#[derive(Debug)]
pub(super) struct DeviceSession(Arc<ServerShared>);

impl DeviceSession {
    pub(super) fn new(shared: Arc<ServerShared>) -> Self {
        Self(shared)
    }

    /// Returns true if the device serves a function. All functions that it serves are reads.
    fn serves(&self, function: FunctionCode) -> bool {
        match function {
            FunctionCode::READ_INPUT_REGISTERS => true,
            FunctionCode::READ_HOLDING_REGISTERS => self.0.plan.function_3,
            _ => false,
        }
    }

    /// Answers a read. All registers come from one snapshot of the device.
    fn read(&self, function: FunctionCode, address: u16, quantity: u16, reply: &mut ReplyPdu) {
        let device = &self.0.parts.device;
        let snapshot = device.snapshot();
        let map = snapshot.view.config.register_map();
        let mut words = [0; MAX_REGISTERS];
        let words = &mut words[..usize::from(quantity).min(MAX_REGISTERS)];
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

    /// Returns one key for all requests, because the device answers for every unit id.
    fn ordering_key(&self, _: &ReceivedRequest) -> u8 {
        0
    }

    fn decide(&self, request: &ReceivedRequest) -> ReplyDecision {
        let (address, quantity) = address_range(request);
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
        // The function is checked first: a function that is not served is exception 1 even if the
        // request is malformed.
        if !self.serves(function) {
            reply.write_exception(function, Exception::ILLEGAL_FUNCTION);
            return;
        }
        match RequestPdu::parse(request.pdu()) {
            Ok(
                RequestPdu::ReadInputRegisters { address, quantity }
                | RequestPdu::ReadHoldingRegisters { address, quantity },
            ) => self.read(function, address, quantity, reply),
            // No other function is served.
            Ok(_) => reply.write_exception(function, Exception::ILLEGAL_FUNCTION),
            Err(exception) => reply.write_exception(function, exception),
        }
    }

    /// Records failed requests only: clients poll every second and would push everything else out of the
    /// journal.
    fn record_outcome(&self, request: &ReceivedRequest, outcome: Cow<'static, str>) {
        if outcome == OUTCOME_OK {
            return;
        }
        let (address, quantity) = address_range(request);
        self.0.parts.journal.record(Event::DeviceModbusRequest {
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
        self.0.parts.journal.record(Event::DeviceModbusInvalidFrame { device, reason });
    }
}

/// Returns the first address and the quantity of a request, as [`RequestPdu::range`]. 0 and 0 if the
/// request cannot be parsed.
fn address_range(request: &ReceivedRequest) -> (u16, u16) {
    RequestPdu::parse(request.pdu()).map(|request| request.range()).unwrap_or_default()
}
