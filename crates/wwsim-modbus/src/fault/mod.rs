//! Faults of a Modbus server: replies that are missing, late or wrong on the wire, and connections that
//! end too early.
//!
//! A [`ModbusHandler`](super::server::ModbusHandler) gives a fault to a request before the request is
//! carried out. [`reply_plan()`] turns the fault and the correct reply into the bytes that are sent.

mod reply_plan;

use std::fmt;
use std::time::Duration;

use crate::problem::Problem;

pub use self::reply_plan::{End, ReplyPlan, ReplySegment, reply_plan};
use super::wire::Exception;

/// The decision on a request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReplyDecision {
    /// The time until the request is carried out: the latency of the server, and the delays of faults.
    pub delay: Duration,
    /// The fault of the reply. `None` if the reply is correct.
    pub fault: Option<ReplyFault>,
}

/// A fault of the reply to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplyFault {
    /// There is no reply. The request is carried out.
    Silence,
    /// The reply is this exception. The request is not carried out.
    Exception(u8),
    /// The reply is wrong on the wire. The request is carried out.
    Wire(WireFault),
    /// The connection is closed at this moment (FIN).
    Close(ReplyPhase),
    /// The connection is reset at this moment (RST).
    Reset(ReplyPhase),
}

/// A moment relative to the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReplyPhase {
    /// Before its first byte; the request is not carried out.
    Before,
    /// In the middle: half of it is sent.
    Middle,
    /// After its last byte.
    After,
}

/// An error in the bytes of a reply. The number in parentheses is the result code that a client made like
/// the whatwatt Go gives to such a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WireFault {
    /// Another transaction id, all of its bits inverted (−9).
    WrongTransactionId,
    /// The transaction id of the next request (−9).
    TransactionIdOffByOne,
    /// The correct reply to the previous request is sent before the reply. The first request of a
    /// connection gets a reply with the transaction id 0xFFFF before its own (−9).
    StaleReply,
    /// The next unit id, 0 after 255 (−12).
    WrongUnit,
    /// The function code with its lowest bit inverted: 7 for 6, 14 for 15 (−10).
    WrongFunction,
    /// This protocol id, which should be 0 (−8).
    ProtocolId(u16),
    /// This number in the MBAP length field, with the bytes unchanged (−5 below 2, −2 above 254).
    MbapLength(u16),
    /// This many bytes are missing at the end, and the length field says so (−13).
    Truncated(u8),
    /// This many bytes too many, and the length field counts them (−15).
    ExtraBytes(u8),
    /// An exception reply without its code (−11).
    ExceptionWithoutCode,
    /// The echoed address, value or quantity differs in its lowest bit (−14); for a read, the data.
    ChangedEcho,
    /// The reply is sent in small pieces with pauses: correct, but slow.
    Dribble {
        /// The number of bytes at a time, 1 or more.
        bytes: usize,
        /// The pause between them.
        every: Duration,
    },
    /// The reply is sent in two segments with a pause between them: correct.
    Split {
        /// The number of bytes of the first segment.
        at: usize,
        /// The pause.
        gap: Duration,
    },
    /// The reply is sent twice. A device that closes the connection after the first ignores the second.
    Duplicate,
}

impl From<WireFault> for ReplyFault {
    fn from(fault: WireFault) -> Self {
        Self::Wire(fault)
    }
}

impl ReplyFault {
    /// Returns the reason why the fault would change nothing. `None` if it changes something.
    pub(crate) fn problem(&self) -> Option<Problem> {
        let message = match self {
            Self::Wire(WireFault::ProtocolId(0)) => "protocol id 0 is the right one",
            Self::Wire(WireFault::Truncated(0) | WireFault::ExtraBytes(0)) => {
                "0 bytes change nothing"
            }
            Self::Wire(WireFault::Dribble { bytes: 0, .. }) => "expected 1 byte or more at a time",
            Self::Wire(WireFault::Split { at: 0, .. }) => {
                "expected 1 byte or more before the pause"
            }
            _ => return None,
        };
        Some(Problem::new("reply", message))
    }

    /// Returns true if the request is carried out.
    #[must_use]
    pub const fn carries_out(&self) -> bool {
        !matches!(
            self,
            Self::Exception(_) | Self::Close(ReplyPhase::Before) | Self::Reset(ReplyPhase::Before)
        )
    }

    /// Returns the part of the fault that remains if there is no reply: because the fault itself keeps
    /// the request from being carried out, or because the unit does not exist. `None` if nothing
    /// remains.
    pub(super) fn without_reply(&self) -> Option<Self> {
        match self {
            Self::Silence | Self::Exception(_) => Some(self.clone()),
            Self::Wire(_) => None,
            Self::Close(_) => Some(Self::Close(ReplyPhase::Before)),
            Self::Reset(_) => Some(Self::Reset(ReplyPhase::Before)),
        }
    }
}

/// The outcome of a request with this fault.
impl fmt::Display for ReplyFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silence => formatter.write_str("no answer"),
            Self::Exception(code) => Exception(*code).fmt(formatter),
            Self::Wire(fault) => write!(formatter, "reply with {fault}"),
            Self::Close(phase) => write!(formatter, "closed {phase}"),
            Self::Reset(phase) => write!(formatter, "reset {phase}"),
        }
    }
}

impl fmt::Display for ReplyPhase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Before => "before the reply",
            Self::Middle => "in the middle of the reply",
            Self::After => "after the reply",
        })
    }
}

impl fmt::Display for WireFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongTransactionId => formatter.write_str("a wrong transaction id"),
            Self::TransactionIdOffByOne => formatter.write_str("the next transaction id"),
            Self::StaleReply => formatter.write_str("an earlier reply before it"),
            Self::WrongUnit => formatter.write_str("a wrong unit id"),
            Self::WrongFunction => formatter.write_str("a wrong function"),
            Self::ProtocolId(id) => write!(formatter, "protocol id {id}"),
            Self::MbapLength(length) => write!(formatter, "MBAP length {length}"),
            Self::Truncated(bytes) => write!(formatter, "{bytes} bytes missing"),
            Self::ExtraBytes(bytes) => write!(formatter, "{bytes} surplus bytes"),
            Self::ExceptionWithoutCode => formatter.write_str("an exception without its code"),
            Self::ChangedEcho => formatter.write_str("a changed echo"),
            Self::Dribble { bytes, .. } => write!(formatter, "{bytes} bytes at a time"),
            Self::Split { at, .. } => write!(formatter, "a pause after {at} bytes"),
            Self::Duplicate => formatter.write_str("a copy of it"),
        }
    }
}
