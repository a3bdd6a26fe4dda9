//! The bytes that are sent in place of a correct Modbus reply, as a pure function over its bytes.
//!
//! The connection carries the plan out; nothing here waits or sends. Each wire fault is built so that a
//! client that classifies by RESULT-1 arrives at exactly the result code named at [`WireFault`].

use std::time::Duration;

use super::{ReplyFault, ReplyPhase, WireFault};
use crate::modbus::limits;
use crate::modbus::wire::Exception;

/// The bytes to send in place of a reply, and the state of the connection after them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyPlan {
    /// The segments in the order in which they are sent.
    pub segments: Vec<ReplySegment>,
    /// The state of the connection after the last segment.
    pub end: End,
}

/// Bytes that are sent at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplySegment {
    /// The virtual time between the previous segment and this one.
    pub pause: Duration,
    /// The bytes, at least one.
    pub bytes: Vec<u8>,
}

/// The state of a connection after a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// The connection serves the next request.
    Keep,
    /// The connection is closed (FIN).
    Fin,
    /// The connection is reset (RST).
    Rst,
    /// The connection stays open and sends nothing more: the frame announced bytes that never come, and
    /// a client must not take those of a later reply for them.
    Hang,
}

impl ReplyPlan {
    fn at_once(pieces: impl IntoIterator<Item = Vec<u8>>, end: End) -> Self {
        let pieces = pieces.into_iter().filter(|piece| !piece.is_empty());
        let segments = pieces.map(|bytes| ReplySegment { pause: Duration::ZERO, bytes });
        Self { segments: segments.collect(), end }
    }

    fn nothing(end: End) -> Self {
        Self { segments: Vec::new(), end }
    }
}

/// Returns the plan that replaces `frame`, the correct reply with its MBAP header.
///
/// `previous` is the correct reply to the previous request on this connection, if there was one. If the
/// fault prevents the request ([`ReplyFault::Exception`], [`ReplyPhase::Before`]), the frame of the
/// request may stand for `frame`: only its header and function code count then. A `frame` without a
/// function code is sent as it is.
#[must_use]
pub fn reply_plan(fault: &ReplyFault, frame: &[u8], previous: Option<&[u8]>) -> ReplyPlan {
    let Some(reply) = ReplyFrame::parse(frame) else {
        return ReplyPlan::at_once([frame.to_vec()], End::Keep);
    };
    match fault {
        ReplyFault::Silence => ReplyPlan::nothing(End::Keep),
        ReplyFault::Exception(code) => {
            ReplyPlan::at_once([reply.exception(&[*code]).bytes], End::Keep)
        }
        ReplyFault::Close(phase) => ends(frame, *phase, End::Fin),
        ReplyFault::Reset(phase) => ends(frame, *phase, End::Rst),
        ReplyFault::Wire(fault) => wire_plan(fault, frame, reply, previous),
    }
}

/// Returns a plan in which the connection ends before, in the middle of, or after the reply.
fn ends(frame: &[u8], phase: ReplyPhase, end: End) -> ReplyPlan {
    let sent = match phase {
        ReplyPhase::Before => 0,
        ReplyPhase::Middle => frame.len() / 2,
        ReplyPhase::After => frame.len(),
    };
    ReplyPlan::at_once([frame[..sent].to_vec()], end)
}

fn wire_plan(
    fault: &WireFault,
    frame: &[u8],
    reply: ReplyFrame,
    previous: Option<&[u8]>,
) -> ReplyPlan {
    let changed = match *fault {
        WireFault::WrongTransactionId => {
            let id = reply.transaction_id();
            reply.with_transaction_id(!id)
        }
        WireFault::TransactionIdOffByOne => {
            let id = reply.transaction_id();
            reply.with_transaction_id(id.wrapping_add(1))
        }
        WireFault::StaleReply => {
            return ReplyPlan::at_once([stale(reply, previous), frame.to_vec()], End::Keep);
        }
        WireFault::WrongUnit => reply.with_unit_changed(),
        WireFault::WrongFunction => reply.with_function_changed(),
        WireFault::ProtocolId(id) => reply.with_word(PROTOCOL_ID, id),
        WireFault::MbapLength(length) => {
            let announces_more = LENGTH_END + usize::from(length) > frame.len();
            let end = if announces_more { End::Hang } else { End::Keep };
            return ReplyPlan::at_once([reply.with_word(LENGTH, length).bytes], end);
        }
        WireFault::Truncated(missing) => reply.truncated(missing.into()),
        WireFault::ExtraBytes(surplus) => reply.extended(surplus.into()),
        WireFault::ExceptionWithoutCode => reply.exception(&[]),
        WireFault::ChangedEcho => reply.with_echo_changed(),
        WireFault::Dribble { bytes, every } => {
            return in_pieces(frame.chunks(bytes.max(1)), every);
        }
        WireFault::Split { at, gap } => {
            // Two segments in any case: a split before the first byte or after the last would be one.
            let (first, second) = frame.split_at(at.clamp(1, frame.len() - 1));
            return in_pieces([first, second].into_iter(), gap);
        }
        WireFault::Duplicate => {
            return ReplyPlan::at_once([frame.to_vec(), frame.to_vec()], End::Keep);
        }
    };
    ReplyPlan::at_once([changed.bytes], End::Keep)
}

/// Returns a plan that sends the first piece at once and each other one after a pause.
fn in_pieces<'a>(pieces: impl Iterator<Item = &'a [u8]>, pause: Duration) -> ReplyPlan {
    let segments = pieces.enumerate().map(|(index, piece)| ReplySegment {
        pause: if index == 0 { Duration::ZERO } else { pause },
        bytes: piece.to_vec(),
    });
    ReplyPlan { segments: segments.collect(), end: End::Keep }
}

/// Returns the reply to the previous request. If there is none, or if it has the same transaction id, so
/// that the client would take it for the right one, returns this reply under another transaction id.
fn stale(reply: ReplyFrame, previous: Option<&[u8]>) -> Vec<u8> {
    let id = reply.transaction_id();
    match previous.and_then(ReplyFrame::parse) {
        Some(previous) if previous.transaction_id() != id => previous.bytes,
        _ => reply.with_transaction_id(if id == 0xFFFF { 0xFFFE } else { 0xFFFF }).bytes,
    }
}

/// The offsets of the fields of a frame.
const TRANSACTION_ID: usize = 0;
const PROTOCOL_ID: usize = 2;
const LENGTH: usize = 4;
const LENGTH_END: usize = 6;
const UNIT_ID: usize = 6;
const FUNCTION: usize = limits::MBAP_BYTES;

/// A reply frame to be changed. It has a header and a function code, and is never longer than a frame
/// can be.
struct ReplyFrame {
    bytes: Vec<u8>,
}

impl ReplyFrame {
    /// Returns `None` for bytes that are not a frame.
    fn parse(frame: &[u8]) -> Option<Self> {
        (FUNCTION + 1..=limits::ADU_BYTES)
            .contains(&frame.len())
            .then(|| Self { bytes: frame.to_vec() })
    }

    fn transaction_id(&self) -> u16 {
        u16::from_be_bytes([self.bytes[TRANSACTION_ID], self.bytes[TRANSACTION_ID + 1]])
    }

    fn with_transaction_id(self, id: u16) -> Self {
        self.with_word(TRANSACTION_ID, id)
    }

    fn with_word(mut self, at: usize, word: u16) -> Self {
        self.bytes[at..at + 2].copy_from_slice(&word.to_be_bytes());
        self
    }

    /// Changes the unit id to that of the neighbour on the bus.
    fn with_unit_changed(mut self) -> Self {
        self.bytes[UNIT_ID] = self.bytes[UNIT_ID].wrapping_add(1);
        self
    }

    /// Changes the function code to the other one of a pair: 7 for 6, 14 for 15. Keeps the exception bit.
    fn with_function_changed(mut self) -> Self {
        self.bytes[FUNCTION] ^= 1;
        self
    }

    /// Changes the last byte, which belongs to the value or quantity of a write, or to the data of a
    /// read. An exception reply echoes nothing and stays as it is.
    fn with_echo_changed(mut self) -> Self {
        if !self.is_exception()
            && let Some(last) = self.bytes[FUNCTION + 1..].last_mut()
        {
            *last ^= 1;
        }
        self
    }

    /// Turns the reply into an exception reply with `code` after its function.
    fn exception(mut self, code: &[u8]) -> Self {
        self.bytes.truncate(FUNCTION + 1);
        self.bytes[FUNCTION] |= Exception::BIT;
        self.bytes.extend_from_slice(code);
        self.with_own_length()
    }

    /// Removes this many bytes, but never the function code, because that would be −5. An exception
    /// reply without its code would be −11, so it loses its exception bit as well.
    fn truncated(mut self, missing: usize) -> Self {
        if missing > 0 && self.is_exception() {
            self.bytes[FUNCTION] &= !Exception::BIT;
        }
        let length = self.bytes.len().saturating_sub(missing).max(FUNCTION + 1);
        self.bytes.truncate(length);
        self.with_own_length()
    }

    /// Adds this many bytes, but never more than a frame holds, because that would be −2.
    fn extended(mut self, surplus: usize) -> Self {
        self.bytes.resize((self.bytes.len() + surplus).min(limits::ADU_BYTES), 0);
        self.with_own_length()
    }

    fn is_exception(&self) -> bool {
        self.bytes[FUNCTION] & Exception::BIT != 0
    }

    fn with_own_length(self) -> Self {
        // A frame has at most 260 bytes.
        let length = u16::try_from(self.bytes.len() - LENGTH_END).unwrap_or(u16::MAX);
        self.with_word(LENGTH, length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reply to "write 7 to register 10 of unit 17".
    const WRITE: [u8; 12] = [0x12, 0x34, 0, 0, 0, 6, 17, 6, 0, 10, 0, 7];
    /// The reply to "read two registers of unit 17".
    const READ: [u8; 13] = [0x12, 0x34, 0, 0, 0, 7, 17, 3, 4, 1, 2, 3, 4];
    /// An exception reply to a write.
    const EXCEPTION: [u8; 9] = [0x12, 0x34, 0, 0, 0, 3, 17, 0x86, 2];

    fn plan(fault: &ReplyFault, frame: &[u8]) -> ReplyPlan {
        reply_plan(fault, frame, None)
    }

    /// Returns the only segment of a plan that keeps the connection.
    fn sent(fault: WireFault, frame: &[u8]) -> Vec<u8> {
        let ReplyPlan { mut segments, end } = plan(&ReplyFault::Wire(fault), frame);
        assert_eq!((segments.len(), end), (1, End::Keep), "{segments:?}");
        let ReplySegment { pause, bytes } = segments.remove(0);
        assert_eq!(pause, Duration::ZERO);
        bytes
    }

    /// Returns a segment that is sent without a pause.
    fn at_once(bytes: &[u8]) -> ReplySegment {
        ReplySegment { pause: Duration::ZERO, bytes: bytes.to_vec() }
    }

    fn all_bytes(plan: &ReplyPlan) -> Vec<u8> {
        plan.segments.iter().flat_map(|segment| segment.bytes.iter().copied()).collect()
    }

    /// Returns `frame` with the bytes from `at` on replaced.
    fn with(frame: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
        [&frame[..at], bytes, &frame[at + bytes.len()..]].concat()
    }

    #[test]
    fn silence_sends_nothing_and_keeps_the_connection() {
        let nothing = ReplyPlan { segments: vec![], end: End::Keep };
        assert_eq!(plan(&ReplyFault::Silence, &WRITE), nothing);
    }

    #[test]
    fn an_exception_replaces_the_reply() {
        for frame in [&WRITE[..], &EXCEPTION] {
            let plan = plan(&ReplyFault::Exception(4), frame);
            assert_eq!(plan.segments, [at_once(&[0x12, 0x34, 0, 0, 0, 3, 17, 0x86, 4])]);
        }
    }

    #[test]
    fn an_end_comes_before_in_or_after_the_reply() {
        for (effect, end) in
            [(ReplyFault::Close as fn(ReplyPhase) -> _, End::Fin), (ReplyFault::Reset, End::Rst)]
        {
            let nothing = ReplyPlan { segments: vec![], end };
            assert_eq!(plan(&effect(ReplyPhase::Before), &WRITE), nothing);
            let half = ReplyPlan { segments: vec![at_once(&WRITE[..6])], end };
            assert_eq!(plan(&effect(ReplyPhase::Middle), &WRITE), half);
            let whole = ReplyPlan { segments: vec![at_once(&WRITE)], end };
            assert_eq!(plan(&effect(ReplyPhase::After), &WRITE), whole);
        }
    }

    #[test]
    fn each_wire_fault_changes_just_its_bytes() {
        assert_eq!(sent(WireFault::WrongTransactionId, &WRITE), with(&WRITE, 0, &[0xED, 0xCB]));
        assert_eq!(sent(WireFault::TransactionIdOffByOne, &WRITE), with(&WRITE, 1, &[0x35]));
        assert_eq!(sent(WireFault::WrongUnit, &WRITE), with(&WRITE, 6, &[18]));
        assert_eq!(sent(WireFault::WrongFunction, &WRITE), with(&WRITE, 7, &[7]));
        assert_eq!(sent(WireFault::WrongFunction, &EXCEPTION), with(&EXCEPTION, 7, &[0x87]));
        assert_eq!(sent(WireFault::ProtocolId(0x0102), &WRITE), with(&WRITE, 2, &[1, 2]));
        assert_eq!(sent(WireFault::MbapLength(1), &WRITE), with(&WRITE, 4, &[0, 1]));
        assert_eq!(sent(WireFault::MbapLength(5), &WRITE), with(&WRITE, 4, &[0, 5]));
        assert_eq!(sent(WireFault::Truncated(1), &WRITE), with(&WRITE[..11], 4, &[0, 5]));
        assert_eq!(
            sent(WireFault::ExtraBytes(2), &WRITE),
            with(&[&WRITE[..], &[0, 0]].concat(), 4, &[0, 8])
        );
        assert_eq!(
            sent(WireFault::ExceptionWithoutCode, &WRITE),
            [0x12, 0x34, 0, 0, 0, 2, 17, 0x86]
        );
        assert_eq!(sent(WireFault::ChangedEcho, &WRITE), with(&WRITE, 11, &[6]));
        assert_eq!(sent(WireFault::ChangedEcho, &READ), with(&READ, 12, &[5]));
        assert_eq!(sent(WireFault::ChangedEcho, &EXCEPTION), EXCEPTION);
    }

    #[test]
    fn a_promise_of_more_bytes_is_not_kept_by_a_later_reply() {
        let plan = plan(&ReplyFault::Wire(WireFault::MbapLength(255)), &WRITE);
        assert_eq!(plan.segments, [at_once(&with(&WRITE, 4, &[0, 255]))]);
        assert_eq!(plan.end, End::Hang);
    }

    #[test]
    fn a_reply_loses_all_but_its_function_at_the_most() {
        let bare = [0x12, 0x34, 0, 0, 0, 2, 17, 6];
        assert_eq!(sent(WireFault::Truncated(255), &WRITE), bare);
        assert_eq!(sent(WireFault::Truncated(1), &EXCEPTION), bare);
        assert_eq!(sent(WireFault::Truncated(0), &EXCEPTION), EXCEPTION);
    }

    #[test]
    fn a_reply_grows_to_a_whole_frame_at_most() {
        let grown = sent(WireFault::ExtraBytes(255), &WRITE);
        assert_eq!(grown.len(), limits::ADU_BYTES);
        assert_eq!(grown[4..6], [0, 254]);
    }

    #[test]
    fn a_stale_reply_comes_before_the_right_one() {
        let fault = ReplyFault::Wire(WireFault::StaleReply);
        let stale = |frame: &[u8], previous| {
            let plan = reply_plan(&fault, frame, previous);
            assert_eq!((plan.segments.len(), plan.end), (2, End::Keep));
            assert_eq!(plan.segments[1], at_once(frame));
            plan.segments[0].bytes.clone()
        };
        let earlier = with(&READ, 0, &[0x12, 0x33]);
        assert_eq!(stale(&WRITE, Some(&earlier)), earlier);
        assert_eq!(stale(&WRITE, None), with(&WRITE, 0, &[0xFF, 0xFF]));
        assert_eq!(
            stale(&WRITE, Some(&READ)),
            with(&WRITE, 0, &[0xFF, 0xFF]),
            "an earlier reply with the same id would pass for the right one"
        );
        let last = with(&WRITE, 0, &[0xFF, 0xFF]);
        assert_eq!(stale(&last, None), with(&WRITE, 0, &[0xFF, 0xFE]));
    }

    #[test]
    fn slow_replies_keep_their_bytes() {
        let every = Duration::from_millis(10);
        let lengths = |fault, frame: &[u8]| {
            let plan = plan(&ReplyFault::Wire(fault), frame);
            assert_eq!((all_bytes(&plan).as_slice(), plan.end), (frame, End::Keep));
            let (first, rest) = plan.segments.split_first().unwrap();
            assert_eq!(first.pause, Duration::ZERO);
            assert!(rest.iter().all(|segment| segment.pause == every));
            plan.segments.iter().map(|segment| segment.bytes.len()).collect::<Vec<_>>()
        };
        assert_eq!(lengths(WireFault::Dribble { bytes: 5, every }, &WRITE), [5, 5, 2]);
        assert_eq!(lengths(WireFault::Dribble { bytes: 0, every }, &WRITE), [1; 12]);
        assert_eq!(lengths(WireFault::Dribble { bytes: 1000, every }, &WRITE), [12]);
        assert_eq!(lengths(WireFault::Split { at: 7, gap: every }, &WRITE), [7, 5]);
        assert_eq!(lengths(WireFault::Split { at: 0, gap: every }, &WRITE), [1, 11]);
        assert_eq!(lengths(WireFault::Split { at: 100, gap: every }, &WRITE), [11, 1]);
    }

    #[test]
    fn a_duplicate_is_the_reply_twice() {
        let plan = plan(&ReplyFault::Wire(WireFault::Duplicate), &READ);
        assert_eq!(plan.segments, [at_once(&READ), at_once(&READ)]);
    }

    #[test]
    fn bytes_that_are_not_a_frame_are_sent_as_they_are() {
        let faults = [
            WireFault::Truncated(3),
            WireFault::Split { at: 1, gap: Duration::ZERO },
            WireFault::WrongUnit,
        ];
        for fault in faults {
            for frame in [&[][..], &WRITE[..7], &[1; 300]] {
                let plan = plan(&ReplyFault::Wire(fault.clone()), frame);
                assert_eq!(all_bytes(&plan), frame);
            }
        }
    }
}
