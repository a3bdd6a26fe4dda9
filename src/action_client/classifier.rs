//! The result code of a request: pure functions of the bytes that were sent and received and the
//! end of the exchange.
//!
//! Source: RESULT-1 and RESULT-2, and `modbus_result_codes.csv` (`docs/device/tables`).

use std::fmt;

use crate::modbus::limits;
use crate::modbus::wire::FunctionCode;

/// The end of an exchange as far as the connection is concerned, independent of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExchangeEnd {
    /// The host name did not resolve.
    Unresolved,
    /// No socket was available on this side.
    NoSocket,
    /// The connection was refused, was not established in time, or the policy denies its address.
    NotConnected,
    /// The TLS handshake failed.
    TlsFailed,
    /// The request could not be encoded.
    Unencodable,
    /// The connection was lost before the request was sent.
    SendLost,
    /// The time was up while the request was sent or the reply awaited.
    TimedOut,
    /// The other side closed the connection.
    Closed,
    /// The connection was reset.
    Reset,
    /// The expected bytes have arrived.
    Complete,
    /// A fault rule forces this code.
    Forced(ResultCode),
}

/// The result of a request of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResultCode {
    /// 1: the correct reply to a Modbus request.
    Success,
    /// The status of an HTTP response.
    Status(u16),
    /// −1: the generic error, for every end that has no code of its own.
    Generic,
    /// −2: the MBAP length is over 254.
    TooLong,
    /// −3: not complete in time.
    Timeout,
    /// −4: closed or reset before the reply; for HTTP also in it.
    ReceiveError,
    /// −5: the MBAP length is under 2.
    InvalidLength,
    /// −7: lost before the request was sent.
    SendError,
    /// −8: the protocol id is not 0.
    InvalidHeader,
    /// −9: another transaction id.
    TransactionMismatch,
    /// −10: another function code.
    FunctionMismatch,
    /// −11: an exception frame without its code.
    InvalidException,
    /// −12: another unit id.
    UnitMismatch,
    /// −13: closed or reset in the middle, or fewer bytes than promised.
    TooShort,
    /// −14: echoed address, value or quantity differ.
    BodyMismatch,
    /// −15: surplus bytes inside the MBAP length.
    Surplus,
    /// −16: the name does not resolve.
    Unresolved,
    /// −17: refused, or not connected in time.
    NotConnected,
    /// −18: the TLS handshake failed.
    TlsError,
    /// −19: no socket.
    NoSocket,
    /// −20: an HTTP response whose `Content-Length` is no number.
    InvalidContentLength,
    /// −101…−111: a Modbus exception, 1..=11.
    Exception(u8),
}

impl ResultCode {
    /// Returns the code with this number. A number from 0 to 65535 except 1 is an HTTP status. Any other
    /// number that no code has is [`ResultCode::Generic`].
    #[must_use]
    pub fn from_number(number: i32) -> Self {
        let exceptions = (1..=11).map(Self::Exception);
        let results = Self::NAMED.into_iter().chain(exceptions);
        match u16::try_from(number) {
            Ok(1) => Self::Success,
            Ok(status) => Self::Status(status),
            Err(_) => {
                results.into_iter().find(|code| code.number() == number).unwrap_or(Self::Generic)
            }
        }
    }

    /// The codes without a parameter.
    const NAMED: [Self; 18] = [
        Self::TooLong,
        Self::Timeout,
        Self::ReceiveError,
        Self::InvalidLength,
        Self::SendError,
        Self::InvalidHeader,
        Self::TransactionMismatch,
        Self::FunctionMismatch,
        Self::InvalidException,
        Self::UnitMismatch,
        Self::TooShort,
        Self::BodyMismatch,
        Self::Surplus,
        Self::Unresolved,
        Self::NotConnected,
        Self::TlsError,
        Self::NoSocket,
        Self::InvalidContentLength,
    ];

    /// Returns the number, as `/api/v1/actions/status` shows it.
    #[must_use]
    pub fn number(self) -> i32 {
        match self {
            Self::Success => 1,
            Self::Status(status) => i32::from(status),
            Self::Generic => -1,
            Self::TooLong => -2,
            Self::Timeout => -3,
            Self::ReceiveError => -4,
            Self::InvalidLength => -5,
            Self::SendError => -7,
            Self::InvalidHeader => -8,
            Self::TransactionMismatch => -9,
            Self::FunctionMismatch => -10,
            Self::InvalidException => -11,
            Self::UnitMismatch => -12,
            Self::TooShort => -13,
            Self::BodyMismatch => -14,
            Self::Surplus => -15,
            Self::Unresolved => -16,
            Self::NotConnected => -17,
            Self::TlsError => -18,
            Self::NoSocket => -19,
            Self::InvalidContentLength => -20,
            Self::Exception(exception) => -100 - i32::from(exception),
        }
    }
}

/// Describes the code in plain words, for the journal.
impl fmt::Display for ResultCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Success => "correct reply",
            Self::Status(_) => "response received",
            Self::Generic => "an answer that fits none of the other codes",
            Self::TooLong => "MBAP length over 254",
            Self::Timeout => "not complete in time",
            Self::ReceiveError => "connection lost before the reply was there",
            Self::InvalidLength => "MBAP length under 2",
            Self::SendError => "connection lost before the request was sent",
            Self::InvalidHeader => "protocol id is not 0",
            Self::TransactionMismatch => "transaction id of another request",
            Self::FunctionMismatch => "another function code",
            Self::InvalidException => "exception reply without its code",
            Self::UnitMismatch => "another unit id",
            Self::TooShort => "reply breaks off",
            Self::BodyMismatch => "echoed address, value or quantity differ",
            Self::Surplus => "surplus bytes in the reply",
            Self::Unresolved => "name does not resolve",
            Self::NotConnected => "no connection",
            Self::TlsError => "TLS handshake failed",
            Self::NoSocket => "no socket",
            Self::InvalidContentLength => "content length is no number",
            Self::Exception(exception) => return write!(f, "exception {exception}"),
        })
    }
}

/// The number of bytes of a frame up to and including its length field.
const LENGTH_END: usize = 6;
/// The length of the replies to functions 5, 6, 15 and 16: the function, an address, a value or
/// quantity.
const ECHO_BYTES: usize = 5;

/// The front of the received bytes.
enum FramePrefix<'a> {
    /// An incomplete frame.
    Incomplete,
    /// A length that no frame can have.
    Impossible(ResultCode),
    /// A whole frame according to its length field.
    Frame { header: &'a [u8], unit: u8, pdu: &'a [u8] },
}

impl<'a> FramePrefix<'a> {
    fn parse(received: &'a [u8]) -> Self {
        let Some((header, rest)) = received.split_at_checked(LENGTH_END) else {
            return Self::Incomplete;
        };
        let length = u16::from_be_bytes([header[4], header[5]]);
        if length > *limits::MBAP_LENGTH.end() {
            return Self::Impossible(ResultCode::TooLong);
        }
        if length < *limits::MBAP_LENGTH.start() {
            return Self::Impossible(ResultCode::InvalidLength);
        }
        match rest.get(..usize::from(length)).and_then(<[u8]>::split_first) {
            Some((unit, pdu)) => Self::Frame { header, unit: *unit, pdu },
            None => Self::Incomplete,
        }
    }
}

/// Returns true if no further byte can change the code: a frame is complete, or its length is
/// impossible.
#[must_use]
pub fn is_decided(received: &[u8]) -> bool {
    !matches!(FramePrefix::parse(received), FramePrefix::Incomplete)
}

/// Returns the code of a Modbus request with function 5, 6, 15 or 16.
///
/// `sent` and `received` are the bytes on the wire, including MBAP headers. Bytes after the first
/// complete frame are ignored, and a complete frame counts regardless of the end of the connection.
#[must_use]
pub fn classify_modbus(sent: &[u8], received: &[u8], end: ExchangeEnd) -> ResultCode {
    if let Some(code) = code_before_reply(end) {
        return code;
    }
    match (FramePrefix::parse(received), end) {
        (FramePrefix::Impossible(code), _) => code,
        (FramePrefix::Frame { header, unit, pdu }, _) => classify_frame(sent, header, unit, pdu),
        (FramePrefix::Incomplete, ExchangeEnd::TimedOut) => ResultCode::Timeout,
        (FramePrefix::Incomplete, ExchangeEnd::Closed | ExchangeEnd::Reset)
            if received.is_empty() =>
        {
            ResultCode::ReceiveError
        }
        (FramePrefix::Incomplete, ExchangeEnd::Closed | ExchangeEnd::Reset) => ResultCode::TooShort,
        (FramePrefix::Incomplete, _) => ResultCode::Generic,
    }
}

/// Returns the code of an end before any reply. `None` if a reply may have arrived.
fn code_before_reply(end: ExchangeEnd) -> Option<ResultCode> {
    match end {
        ExchangeEnd::Unresolved => Some(ResultCode::Unresolved),
        ExchangeEnd::NoSocket => Some(ResultCode::NoSocket),
        ExchangeEnd::NotConnected => Some(ResultCode::NotConnected),
        ExchangeEnd::TlsFailed => Some(ResultCode::TlsError),
        ExchangeEnd::SendLost => Some(ResultCode::SendError),
        ExchangeEnd::Unencodable => Some(ResultCode::Generic),
        ExchangeEnd::Forced(code) => Some(code),
        ExchangeEnd::TimedOut
        | ExchangeEnd::Closed
        | ExchangeEnd::Reset
        | ExchangeEnd::Complete => None,
    }
}

/// Classifies a complete frame with a possible length: the first code that applies in the order of
/// RESULT-2.
fn classify_frame(sent: &[u8], header: &[u8], unit: u8, pdu: &[u8]) -> ResultCode {
    let (Some(request), Some((&function, body))) = (SentRequest::parse(sent), pdu.split_first())
    else {
        return ResultCode::Generic;
    };
    let function = FunctionCode(function);
    if header[2..4] != [0, 0] {
        ResultCode::InvalidHeader
    } else if header[..2] != request.transaction_id {
        ResultCode::TransactionMismatch
    } else if unit != request.unit {
        ResultCode::UnitMismatch
    } else if function.without_exception_bit().0 != request.pdu[0] {
        ResultCode::FunctionMismatch
    } else if function.is_exception_reply() {
        classify_exception(body)
    } else {
        classify_echo(&request, pdu)
    }
}

fn classify_exception(body: &[u8]) -> ResultCode {
    match body {
        [] => ResultCode::InvalidException,
        [code @ 1..=11] => ResultCode::Exception(*code),
        [_] => ResultCode::Generic,
        [_, _, ..] => ResultCode::Surplus,
    }
}

fn classify_echo(request: &SentRequest<'_>, pdu: &[u8]) -> ResultCode {
    if pdu.len() > ECHO_BYTES {
        ResultCode::Surplus
    } else if pdu.len() < ECHO_BYTES {
        ResultCode::TooShort
    } else if pdu == &request.pdu[..ECHO_BYTES] {
        ResultCode::Success
    } else {
        ResultCode::BodyMismatch
    }
}

/// The part of a request that its reply repeats.
struct SentRequest<'a> {
    transaction_id: [u8; 2],
    unit: u8,
    /// At least [`ECHO_BYTES`]: function, address, and value (5, 6) or quantity (15, 16).
    pdu: &'a [u8],
}

impl<'a> SentRequest<'a> {
    fn parse(sent: &'a [u8]) -> Option<Self> {
        let (header, pdu) = sent.split_at_checked(limits::MBAP_BYTES)?;
        let transaction_id = [header[0], header[1]];
        (pdu.len() >= ECHO_BYTES).then_some(Self { transaction_id, unit: header[6], pdu })
    }
}

/// Returns the code of an HTTP request without a complete response.
///
/// `received` are the first bytes that arrived, including the whole head if it was complete.
#[must_use]
pub fn classify_http(received: &[u8], end: ExchangeEnd) -> ResultCode {
    match code_before_reply(end) {
        Some(code) => code,
        None if end == ExchangeEnd::TimedOut => ResultCode::Timeout,
        None if final_head(received).is_some_and(has_invalid_length) => {
            ResultCode::InvalidContentLength
        }
        None => ResultCode::ReceiveError,
    }
}

/// Returns the head of the first response that is not informational (1xx). `None` if it is
/// incomplete.
fn final_head(mut received: &[u8]) -> Option<&[u8]> {
    loop {
        let end = received.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let (head, rest) = received.split_at(end);
        let status = head.strip_prefix(b"HTTP/1.")?.get(1..)?;
        if !status.starts_with(b" 1") {
            return Some(head);
        }
        received = rest;
    }
}

/// Returns true if a head's `Content-Length` is not one number: not a number, too large, or several
/// different ones.
fn has_invalid_length(head: &[u8]) -> bool {
    let values = head.split(|byte| *byte == b'\n').skip(1).filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = line.split_at(colon);
        name.eq_ignore_ascii_case(b"content-length").then(|| &value[1..])
    });
    let numbers: Vec<Option<u64>> =
        values.flat_map(|value| value.split(|byte| *byte == b',')).map(parse_digits).collect();
    numbers.iter().any(Option::is_none) || numbers.windows(2).any(|pair| pair[0] != pair[1])
}

/// Parses digits only, because `str::parse` would also accept a sign.
fn parse_digits(value: &[u8]) -> Option<u64> {
    let digits = value.trim_ascii();
    let text = std::str::from_utf8(digits).ok()?;
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Function 6, unit 17, transaction 0x0102: register 10 takes 0x1234.
    const SENT: [u8; 12] = [1, 2, 0, 0, 0, 6, 17, 6, 0, 10, 0x12, 0x34];

    fn code(received: &[u8], end: ExchangeEnd) -> i32 {
        classify_modbus(&SENT, received, end).number()
    }

    /// Returns the correct reply with some bytes changed.
    fn changed(changes: &[(usize, u8)]) -> Vec<u8> {
        let mut reply = SENT.to_vec();
        for (index, byte) in changes {
            reply[*index] = *byte;
        }
        reply
    }

    // Ruling: RESULT-2.
    #[test]
    fn the_correct_reply_is_1_for_any_end() {
        for end in
            [ExchangeEnd::Complete, ExchangeEnd::Closed, ExchangeEnd::Reset, ExchangeEnd::TimedOut]
        {
            assert_eq!(code(&SENT, end), 1);
            assert_eq!(code(&[&SENT[..], &[0xFF; 300]].concat(), end), 1);
        }
    }

    #[test]
    fn multiple_writes_echo_address_and_quantity_only() {
        let sent = [0, 1, 0, 0, 0, 11, 1, 16, 0, 5, 0, 2, 4, 0xAA, 0xBB, 0xCC, 0xDD];
        let reply = [0, 1, 0, 0, 0, 6, 1, 16, 0, 5, 0, 2];
        assert_eq!(classify_modbus(&sent, &reply, ExchangeEnd::Complete), ResultCode::Success);
        let reply = [0, 1, 0, 0, 0, 6, 1, 16, 0, 5, 0, 3];
        assert_eq!(classify_modbus(&sent, &reply, ExchangeEnd::Complete), ResultCode::BodyMismatch);
    }

    // Ruling: RESULT-5.
    #[test]
    fn an_end_before_a_reply_has_its_own_code() {
        for (end, expected) in [
            (ExchangeEnd::Unresolved, -16),
            (ExchangeEnd::NoSocket, -19),
            (ExchangeEnd::NotConnected, -17),
            (ExchangeEnd::TlsFailed, -18),
            (ExchangeEnd::SendLost, -7),
            (ExchangeEnd::Unencodable, -1),
            (ExchangeEnd::TimedOut, -3),
            (ExchangeEnd::Closed, -4),
            (ExchangeEnd::Reset, -4),
        ] {
            assert_eq!(code(&[], end), expected, "{end:?}");
            assert_eq!(classify_http(&[], end).number(), expected, "{end:?}");
        }
    }

    #[test]
    fn a_reply_that_breaks_off_is_13_when_closed_and_3_when_late() {
        for length in 1..SENT.len() {
            assert_eq!(code(&SENT[..length], ExchangeEnd::Closed), -13);
            assert_eq!(code(&SENT[..length], ExchangeEnd::Reset), -13);
            assert_eq!(code(&SENT[..length], ExchangeEnd::TimedOut), -3);
        }
    }

    // Ruling: RESULT-1.
    #[test]
    fn one_wrong_field_has_its_code() {
        for (index, byte, expected) in [
            (4, 1, -2),
            (5, 255, -2),
            (5, 1, -5),
            (5, 0, -5),
            (2, 1, -8),
            (3, 1, -8),
            (0, 9, -9),
            (1, 9, -9),
            (6, 16, -12),
            (7, 16, -10),
            (8, 1, -14),
            (9, 11, -14),
            (10, 0, -14),
            (11, 0, -14),
        ] {
            assert_eq!(
                code(&changed(&[(index, byte)]), ExchangeEnd::Complete),
                expected,
                "byte {index}"
            );
        }
    }

    #[test]
    fn an_impossible_length_needs_only_the_length_field() {
        assert_eq!(code(&[1, 2, 0, 0, 0, 255], ExchangeEnd::TimedOut), -2);
        assert_eq!(code(&[1, 2, 0, 0, 0, 1], ExchangeEnd::TimedOut), -5);
        assert!(is_decided(&[1, 2, 0, 0, 0, 255]) && is_decided(&[1, 2, 0, 0, 0, 0]));
        assert!(!is_decided(&SENT[..11]) && is_decided(&SENT));
    }

    // Ruling: RESULT-2.
    #[test]
    fn the_first_match_in_the_order_of_the_codes_counts() {
        let mut wrong = vec![(5, 255), (2, 1), (0, 9), (6, 16), (7, 16)];
        for expected in [-2, -8, -9, -12, -10] {
            assert_eq!(code(&changed(&wrong), ExchangeEnd::Complete), expected);
            wrong.remove(0);
        }
        // The exception bit does not take part in the comparison of functions.
        assert_eq!(code(&[1, 2, 0, 0, 0, 2, 17, 0x90], ExchangeEnd::Complete), -10);
        assert_eq!(code(&[1, 2, 0, 0, 0, 2, 17, 0x86], ExchangeEnd::Complete), -11);
        assert_eq!(code(&[1, 2, 0, 0, 0, 4, 17, 0x86, 2, 0], ExchangeEnd::Complete), -15);
    }

    #[test]
    fn missing_bytes_are_13_and_surplus_bytes_are_15() {
        for pdu in 1..=4_u8 {
            let reply = &changed(&[(5, pdu + 1)])[..7 + usize::from(pdu)];
            assert_eq!(code(reply, ExchangeEnd::Complete), -13, "{pdu} bytes");
        }
        let longer = [&changed(&[(5, 7)])[..], &[0]].concat();
        assert_eq!(code(&longer, ExchangeEnd::Complete), -15);
    }

    // Ruling: RESULT-1.
    #[test]
    fn exceptions_1_to_11_have_codes_and_others_are_generic() {
        for exception in 0..=255_u8 {
            let reply = [1, 2, 0, 0, 0, 3, 17, 0x86, exception];
            let expected =
                if (1..=11).contains(&exception) { -100 - i32::from(exception) } else { -1 };
            assert_eq!(code(&reply, ExchangeEnd::Complete), expected);
        }
    }

    #[test]
    fn a_content_length_that_is_no_number_is_20() {
        let head = |length: &str| format!("HTTP/1.1 200 OK\r\nContent-Length:{length}\r\n\r\n");
        for length in [" abc", "", " -1", " +1", " 1,2", " 1, x", " 99999999999999999999"] {
            let code = classify_http(head(length).as_bytes(), ExchangeEnd::Complete).number();
            assert_eq!(code, -20, "{length:?}");
        }
        for length in [" 5", "5", " 5, 5"] {
            assert_eq!(
                classify_http(head(length).as_bytes(), ExchangeEnd::Closed).number(),
                -4,
                "{length:?}"
            );
        }
        let late = format!("HTTP/1.1 103 Early\r\n\r\n{}", head(" x"));
        assert_eq!(classify_http(late.as_bytes(), ExchangeEnd::Closed).number(), -20);
        let cut = &head(" x").into_bytes()[..30];
        assert_eq!(classify_http(cut, ExchangeEnd::Closed).number(), -4);
        assert_eq!(classify_http(b"garbage\r\n\r\n", ExchangeEnd::Complete).number(), -4);
    }

    /// Returns true for every code of the table that a Modbus request can end with.
    fn is_in_the_table(code: i32) -> bool {
        matches!(code, 1 | -5..=-1 | -17..=-7 | -19 | -111..=-101)
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_code_of_the_table(
            sent in prop::collection::vec(any::<u8>(), 0..20),
            received in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            for end in [ExchangeEnd::Complete, ExchangeEnd::Closed, ExchangeEnd::Reset, ExchangeEnd::TimedOut] {
                prop_assert!(is_in_the_table(classify_modbus(&sent, &received, end).number()));
                prop_assert!(matches!(classify_http(&received, end).number(), -3 | -4 | -20));
            }
        }

        #[test]
        fn near_misses_give_a_code_of_the_table(
            at in 0..12_usize, byte: u8, cut in 0..=12_usize, tail in prop::collection::vec(any::<u8>(), 0..4),
        ) {
            let mut reply = changed(&[(at, byte)]);
            reply.truncate(cut);
            reply.extend(tail);
            prop_assert!(is_in_the_table(code(&reply, ExchangeEnd::Closed)));
        }
    }
}
