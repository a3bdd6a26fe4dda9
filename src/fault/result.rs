//! The shorthand `effect: {result: -9}`: the fault that provokes exactly that result code.
//!
//! Source: RESULT-1 and RESULT-2, and `modbus_result_codes.csv` (`docs/device/tables`).

use super::{ActionEffect, ConnectFault, ReplyPhase, SlaveEffect, TargetEffect, WireFault};
use crate::problem::Problem;

/// The text of `result` in the schema, the same at every place.
pub(super) const TEXT: &str = "whatever makes the request end with exactly this code.";

/// An exception code for which the device has no name (−1).
const UNNAMED_EXCEPTION: u8 = 12;

/// Returns the fault in the connector that leads to a code. `None` if the code does not come from there.
fn connector(code: i32) -> Option<ConnectFault> {
    Some(match code {
        -7 => ConnectFault::SendLost,
        -16 => ConnectFault::Resolve,
        -17 => ConnectFault::Refused,
        -18 => ConnectFault::Tls,
        -19 => ConnectFault::NoSocket,
        _ => return None,
    })
}

/// Returns the effect on a slave with which a request ends with `code`.
///
/// # Errors
/// A problem if a Modbus request cannot end with that code.
pub fn of_slave(code: i32) -> Result<SlaveEffect, Problem> {
    if let Some(fault) = connector(code).filter(|fault| *fault != ConnectFault::Tls) {
        return Ok(SlaveEffect::Connect(fault));
    }
    Ok(match code {
        -1 => SlaveEffect::Exception(UNNAMED_EXCEPTION),
        -2 => SlaveEffect::Wire(WireFault::MbapLength(255)),
        -3 => SlaveEffect::Silence,
        -4 => SlaveEffect::Close(ReplyPhase::Before),
        -5 => SlaveEffect::Wire(WireFault::MbapLength(1)),
        -8 => SlaveEffect::Wire(WireFault::ProtocolId(1)),
        -9 => SlaveEffect::Wire(WireFault::WrongTransactionId),
        -10 => SlaveEffect::Wire(WireFault::WrongFunction),
        -11 => SlaveEffect::Wire(WireFault::ExceptionWithoutCode),
        -12 => SlaveEffect::Wire(WireFault::WrongUnit),
        -13 => SlaveEffect::Wire(WireFault::Truncated(1)),
        -14 => SlaveEffect::Wire(WireFault::ChangedEcho),
        -15 => SlaveEffect::Wire(WireFault::ExtraBytes(1)),
        -111..=-101 => {
            SlaveEffect::Exception(u8::try_from(-100 - code).unwrap_or(UNNAMED_EXCEPTION))
        }
        1 => {
            let message = "result 1 is what a healthy slave gives; leave the rule out";
            return Err(Problem::of_document(message));
        }
        -6 | -21 => {
            return Err(Problem::of_document(format!(
                "result {code} cannot happen: the device refuses such a definition"
            )));
        }
        _ => {
            return Err(Problem::of_document(format!(
                "result {code}: a Modbus request ends with -1..-5, -7..-17, -19 or -101..-111"
            )));
        }
    })
}

/// Returns the effect on a target with which a request ends with `code`.
///
/// # Errors
/// A problem if an HTTP request cannot end with that code.
pub fn of_target(code: i32) -> Result<TargetEffect, Problem> {
    if let Some(fault) = connector(code) {
        return Ok(TargetEffect::Connect(fault));
    }
    Ok(match code {
        -3 => TargetEffect::Hang,
        -4 => TargetEffect::Reset,
        -20 => TargetEffect::BadContentLength,
        200..=599 => TargetEffect::Status(u16::try_from(code).unwrap_or(500)),
        _ => {
            return Err(Problem::of_document(format!(
                "result {code}: an HTTP request ends with a status 200..599, or with -3, -4, -7 or -16..-20"
            )));
        }
    })
}

/// Returns the effect on an action with which its requests end with `code`, of whichever kind they are.
///
/// # Errors
/// A problem if no request can end with that code.
pub fn of_action(code: i32) -> Result<ActionEffect, Problem> {
    if let Some(fault) = connector(code) {
        return Ok(ActionEffect::Connect(fault));
    }
    match (of_slave(code), of_target(code)) {
        (Err(problem), Err(_)) => Err(problem),
        (slave, target) => Ok(ActionEffect::Reply {
            code,
            slave: slave.ok().map(Box::new),
            target: target.ok().map(Box::new),
        }),
    }
}

/// Checks that the requests of an action, Modbus and HTTP as given, can end with `code`.
///
/// # Errors
/// A problem if none of them can.
pub fn check_action(code: i32, modbus: bool, http: bool) -> Result<(), Problem> {
    match (of_slave(code), of_target(code)) {
        (Err(problem), _) if !http => Err(problem),
        (_, Err(problem)) if !modbus => Err(problem),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_that_can_happen_can_be_provoked() {
        let modbus = [-1, -2, -3, -4, -5, -7, -8, -9, -10, -11, -12, -13, -14, -15, -16, -17, -19];
        for code in modbus.into_iter().chain(-111..=-101) {
            assert!(of_slave(code).is_ok(), "{code}");
            assert!(of_action(code).is_ok(), "{code}");
        }
        for code in [-3, -4, -7, -16, -17, -18, -19, -20, 200, 404, 599] {
            assert!(of_target(code).is_ok(), "{code}");
            assert!(of_action(code).is_ok(), "{code}");
        }
    }

    #[test]
    fn impossible_codes_are_refused() {
        for code in [0, 1, -6, -21, -100, -112, 100, 600, i32::MIN, i32::MAX] {
            assert!(of_action(code).is_err(), "{code}");
        }
        assert!(of_slave(-18).is_err() && of_slave(-20).is_err());
    }
}
