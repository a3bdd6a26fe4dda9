//! The shorthand `effect: {result: -9}`: the fault that provokes exactly that result code.
//!
//! Source: RESULT-1 and RESULT-2, and `modbus_result_codes.csv` (`docs/device/tables`).

use super::{ActionEffect, ConnectFault, SlaveEffect, TargetEffect};
use crate::modbus::fault::{ReplyFault, ReplyPhase, WireFault};
use crate::net::http::status;
use crate::problem::Problem;

/// The text of `result` in the schema, the same at every place.
pub(super) const TEXT: &str = "the request ends with exactly this code.";

/// An exception code for which the device has no name (−1).
const UNNAMED_EXCEPTION: u8 = 12;

/// Returns the failure before the request is sent that leads to a code. `None` if a sent request ends with
/// the code.
fn connect_fault(code: i32) -> Option<ConnectFault> {
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
    if let Some(fault) = connect_fault(code).filter(|fault| *fault != ConnectFault::Tls) {
        return Ok(SlaveEffect::Connect(fault));
    }
    Ok(match code {
        -1 => SlaveEffect::Reply(ReplyFault::Exception(UNNAMED_EXCEPTION)),
        -2 => SlaveEffect::Reply(ReplyFault::Wire(WireFault::MbapLength(255))),
        -3 => SlaveEffect::Reply(ReplyFault::Silence),
        -4 => SlaveEffect::Reply(ReplyFault::Close(ReplyPhase::Before)),
        -5 => SlaveEffect::Reply(ReplyFault::Wire(WireFault::MbapLength(1))),
        -8 => SlaveEffect::Reply(ReplyFault::Wire(WireFault::ProtocolId(1))),
        -9 => SlaveEffect::Reply(ReplyFault::Wire(WireFault::WrongTransactionId)),
        -10 => SlaveEffect::Reply(ReplyFault::Wire(WireFault::WrongFunction)),
        -11 => SlaveEffect::Reply(ReplyFault::Wire(WireFault::ExceptionWithoutCode)),
        -12 => SlaveEffect::Reply(ReplyFault::Wire(WireFault::WrongUnit)),
        -13 => SlaveEffect::Reply(ReplyFault::Wire(WireFault::Truncated(1))),
        -14 => SlaveEffect::Reply(ReplyFault::Wire(WireFault::ChangedEcho)),
        -15 => SlaveEffect::Reply(ReplyFault::Wire(WireFault::ExtraBytes(1))),
        -111..=-101 => SlaveEffect::Reply(ReplyFault::Exception(
            u8::try_from(-100 - code).unwrap_or(UNNAMED_EXCEPTION),
        )),
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
    if let Some(fault) = connect_fault(code) {
        return Ok(TargetEffect::Connect(fault));
    }
    Ok(match code {
        -3 => TargetEffect::Hang,
        -4 => TargetEffect::Reset,
        -20 => TargetEffect::BadContentLength,
        200..=599 => {
            let code = u16::try_from(code).unwrap_or(500);
            status::check_alone(code)?;
            TargetEffect::Status(code)
        }
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
    if let Some(fault) = connect_fault(code) {
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
    use crate::modbus::fault::reply_plan;

    /// The reply to "write 7 to register 10 of unit 17".
    const WRITE: [u8; 12] = [0x12, 0x34, 0, 0, 0, 6, 17, 6, 0, 10, 0, 7];
    /// An exception reply to it.
    const EXCEPTION: [u8; 9] = [0x12, 0x34, 0, 0, 0, 3, 17, 0x86, 2];

    /// Returns the result code of the first frame of `bytes` for a client that expects `expected`, in
    /// the order of RESULT-1. Written independently of the device's own classifier, as its oracle.
    fn code(bytes: &[u8], expected: &[u8]) -> i32 {
        if bytes.len() < 6 {
            return if bytes.is_empty() { -4 } else { -13 };
        }
        let length = usize::from(u16::from_be_bytes([bytes[4], bytes[5]]));
        let pdu = bytes.get(7..6 + length);
        let function = expected[7] & 0x7F;
        match pdu {
            _ if length > 254 => -2,
            _ if length < 2 => -5,
            None => -13,
            Some(_) if bytes[2..4] != [0, 0] => -8,
            Some(_) if bytes[..2] != expected[..2] => -9,
            Some(_) if bytes[6] != expected[6] => -12,
            Some(pdu) if pdu[0] & 0x7F != function => -10,
            Some([exception]) if exception & 0x80 != 0 => -11,
            Some([exception, code]) if exception & 0x80 != 0 => match code {
                1..=11 => -100 - i32::from(*code),
                _ => -1,
            },
            Some(pdu) if pdu[0] & 0x80 != 0 => {
                if pdu.len() > 2 {
                    -15
                } else {
                    -11
                }
            }
            Some(pdu) => {
                let promised = match function {
                    5 | 6 | 15 | 16 => 5,
                    22 => 7,
                    _ => 2 + usize::from(pdu.get(1).copied().unwrap_or(0)),
                };
                match pdu.len() {
                    len if len > promised => -15,
                    len if len < promised || len < 2 => -13,
                    _ if expected[7] == function && pdu != &expected[7..] => -14,
                    _ => 1,
                }
            }
        }
    }

    /// The replies to every function that an action may use, and exception replies to them.
    #[test]
    fn each_fault_provokes_exactly_its_code() {
        let fifteen = [&WRITE[..7], &[15, 0, 19, 0, 10]].concat();
        let sixteen = [&WRITE[..7], &[16, 0, 1, 0, 2]].concat();
        let five = [&WRITE[..7], &[5, 0, 1, 0xFF, 0]].concat();
        let codes = [-1, -2, -5, -8, -9, -10, -11, -12, -13, -14, -15];
        for expected in codes.into_iter().chain(-111..=-101) {
            let effect = of_slave(expected).unwrap();
            for frame in [&WRITE[..], &five, &fifteen, &sixteen, &EXCEPTION] {
                if expected == -14 && frame == EXCEPTION {
                    continue;
                }
                let SlaveEffect::Reply(fault) = &effect else { panic!("{effect:?} is no reply") };
                let plan = reply_plan(fault, frame, None);
                let bytes: Vec<u8> =
                    plan.segments.into_iter().flat_map(|segment| segment.bytes).collect();
                assert_eq!(code(&bytes, frame), expected, "{effect:?} made {bytes:?} of {frame:?}");
            }
        }
        for frame in [&WRITE[..], &five, &fifteen, &sixteen] {
            assert_eq!(code(frame, frame), 1);
        }
    }

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
        for code in [0, 1, -6, -21, -100, -112, 100, 101, 199, 206, 600, i32::MIN, i32::MAX] {
            assert!(of_action(code).is_err(), "{code}");
        }
        assert!(of_slave(-18).is_err() && of_slave(-20).is_err());
    }
}
