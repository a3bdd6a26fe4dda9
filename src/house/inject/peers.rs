//! Faults at the slaves and targets of a house.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::FaultRule;
use crate::fault::{Delay, Fault, SlaveEffect, SlavePlace, TargetEffect, TargetPlace, result};
use crate::modbus::fault::ReplyFault;
use crate::modbus::wire::FunctionCode;
use crate::problem::Problem;

/// Requests to a slave of the house.
#[derive(Debug, Clone)]
#[must_use = "choose an effect"]
pub struct SlaveFault(SlavePlace);

/// Returns the description of a fault at the slave of this name.
pub fn slave(name: &str) -> SlaveFault {
    SlaveFault(SlavePlace { slave: Some(name.to_owned()), ..SlavePlace::default() })
}

impl SlaveFault {
    /// Affects only requests to this unit.
    pub fn unit(mut self, unit: u8) -> Self {
        self.0.unit = Some(unit);
        self
    }

    /// Affects only requests with this function code.
    pub fn function(mut self, function: FunctionCode) -> Self {
        self.0.function = Some(function);
        self
    }

    /// Affects only requests that touch one of these addresses. Of function 23, the written ones count.
    pub fn addresses(mut self, addresses: RangeInclusive<u16>) -> Self {
        self.0.address = Some(addresses);
        self
    }

    /// Affects only requests that write one of these values; coils as 0 and 1.
    pub fn value(mut self, values: RangeInclusive<u16>) -> Self {
        self.0.value = Some(values);
        self
    }

    /// Affects only requests of this action.
    pub fn action(mut self, action: &str) -> Self {
        self.0.action = Some(action.to_owned());
        self
    }

    /// The reply is missing, wrong on the wire, or an exception, or the connection ends.
    pub fn reply(self, fault: impl Into<ReplyFault>) -> FaultRule {
        FaultRule::new(Fault::Slave(self.0, SlaveEffect::Reply(fault.into())))
    }

    /// The reply is this exception. The request is not carried out.
    pub fn exception(self, code: u8) -> FaultRule {
        self.reply(ReplyFault::Exception(code))
    }

    /// The reply comes later.
    pub fn delay(self, delay: Duration) -> FaultRule {
        FaultRule::new(Fault::Slave(self.0, SlaveEffect::Delay(Delay::Fixed(delay))))
    }

    /// The listener refuses connections, and resets those that are open.
    /// [`InjectedFault::applied`](super::InjectedFault::applied) waits until it does.
    pub fn refuse(self) -> FaultRule {
        FaultRule::new(Fault::Slave(self.0, SlaveEffect::Refuse))
    }

    /// The request ends with this result code of the device.
    ///
    /// # Errors
    /// A problem if a Modbus request cannot end with that code.
    pub fn result(self, code: i32) -> Result<FaultRule, Problem> {
        Ok(FaultRule::new(Fault::Slave(self.0, result::of_slave(code)?)))
    }
}

/// Requests to an HTTP target of the house.
#[derive(Debug, Clone)]
#[must_use = "choose an effect"]
pub struct TargetFault(TargetPlace);

/// Returns the description of a fault at the target of this name.
pub fn target(name: &str) -> TargetFault {
    TargetFault(TargetPlace { target: Some(name.to_owned()), ..TargetPlace::default() })
}

impl TargetFault {
    /// Affects only requests to this path.
    pub fn path(mut self, path: &str) -> Self {
        self.0.path = Some(path.to_owned());
        self
    }

    /// Affects only requests of this action.
    pub fn action(mut self, action: &str) -> Self {
        self.0.action = Some(action.to_owned());
        self
    }

    /// The response has this status, 200 to 599.
    pub fn status(self, status: u16) -> FaultRule {
        self.rule(TargetEffect::Status(status))
    }

    /// The response comes later.
    pub fn delay(self, delay: Duration) -> FaultRule {
        self.rule(TargetEffect::Delay(Delay::Fixed(delay)))
    }

    /// The connection is reset in place of a response.
    pub fn reset(self) -> FaultRule {
        self.rule(TargetEffect::Reset)
    }

    /// There is no response.
    pub fn hang(self) -> FaultRule {
        self.rule(TargetEffect::Hang)
    }

    /// The `Content-Length` of the response is not a number.
    pub fn bad_content_length(self) -> FaultRule {
        self.rule(TargetEffect::BadContentLength)
    }

    /// The request ends with this result code of the device.
    ///
    /// # Errors
    /// A problem if an HTTP request cannot end with that code.
    pub fn result(self, code: i32) -> Result<FaultRule, Problem> {
        Ok(self.rule(result::of_target(code)?))
    }

    fn rule(self, effect: TargetEffect) -> FaultRule {
        FaultRule::new(Fault::Target(self.0, effect))
    }
}
