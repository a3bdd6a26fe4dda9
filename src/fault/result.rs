//! The shorthand `effect: {result: -9}`: which fault provokes exactly that result code.
//!
//! Source: RESULT-1 and RESULT-2, and `modbus_result_codes.csv` (`docs/device/tables`).

use super::{ActionEffect, ConnectFault, ReplyPhase, SlaveEffect, TargetEffect, WireFault};

/// An exception code of which the device knows no name (−1).
const UNNAMED_EXCEPTION: u8 = 12;

/// What happens in the connector for this code, if it comes from there.
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

/// What a slave does so that the request ends with `code`.
///
/// # Errors
/// A message where a Modbus request cannot end with that code.
pub fn of_slave(code: i32) -> Result<SlaveEffect, String> {
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
        1 => return Err("result 1 is what a healthy slave gives; leave the rule out".to_owned()),
        -6 | -21 => {
            return Err(format!(
                "result {code} cannot happen: the device refuses such a definition"
            ));
        }
        _ => {
            return Err(format!(
                "result {code}: a Modbus request ends with -1..-5, -7..-17, -19 or -101..-111"
            ));
        }
    })
}

/// What a target does so that the request ends with `code`.
///
/// # Errors
/// A message where an HTTP request cannot end with that code.
pub fn of_target(code: i32) -> Result<TargetEffect, String> {
    if let Some(fault) = connector(code) {
        return Ok(TargetEffect::Connect(fault));
    }
    Ok(match code {
        -3 => TargetEffect::Hang,
        -4 => TargetEffect::Reset,
        -20 => TargetEffect::BadContentLength,
        200..=599 => TargetEffect::Status(u16::try_from(code).unwrap_or(500)),
        _ => {
            return Err(format!(
                "result {code}: an HTTP request ends with a status 200..599, or with -3, -4, -7 or -16..-20"
            ));
        }
    })
}

/// What happens so that the requests of an action end with `code`, whichever kind they are.
///
/// # Errors
/// A message where no request can end with that code.
pub fn of_action(code: i32) -> Result<ActionEffect, String> {
    if let Some(fault) = connector(code) {
        return Ok(ActionEffect::Connect(fault));
    }
    match (of_slave(code), of_target(code)) {
        (Err(message), Err(_)) => Err(message),
        (slave, target) => Ok(ActionEffect::Reply {
            code,
            slave: slave.ok().map(Box::new),
            target: target.ok().map(Box::new),
        }),
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
    fn what_cannot_happen_is_refused() {
        for code in [0, 1, -6, -21, -100, -112, 100, 600, i32::MIN, i32::MAX] {
            assert!(of_action(code).is_err(), "{code}");
        }
        assert!(of_slave(-18).is_err() && of_slave(-20).is_err());
    }
}
