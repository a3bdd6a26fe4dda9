//! The MBAP header, and frames in a stream of bytes.

use crate::limits;

/// The MBAP header: the seven bytes before every PDU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MbapHeader {
    /// The transaction id, which the client chooses and the reply repeats.
    pub transaction_id: u16,
    /// The protocol id, 0 for Modbus.
    pub protocol_id: u16,
    /// The number of bytes after this field: the unit id and the PDU.
    pub length: u16,
    /// The unit behind the server's address.
    pub unit_id: u8,
}

/// A whole frame at the front of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The MBAP header.
    pub header: MbapHeader,
    /// The PDU, function code and data: 1 to 253 bytes.
    pub pdu: &'a [u8],
}

/// The error of bytes that cannot be a Modbus TCP request. The beginning of the next frame is
/// unknown after them, so the connection is of no further use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length field leaves no room for a function code, or promises more than a PDU can hold.
    #[error("MBAP length {0}: expected 2 to 254")]
    Length(u16),
    /// The protocol is not Modbus.
    #[error("protocol id {0}: expected 0")]
    Protocol(u16),
}

/// Splits the frame at the front of `bytes` off and returns it with its length in bytes. `None`
/// while the frame is incomplete.
///
/// # Errors
/// [`FrameError`] as soon as the bytes that show it are there. The protocol id is checked before the
/// length because it arrives first, so the result does not depend on how the stream was cut into
/// segments.
///
/// ```
/// use wwsim_modbus::wire::split_frame;
/// let bytes = [0, 1, 0, 0, 0, 6, 17, 3, 0, 10, 0, 1, 0xAA];
/// let (frame, length) = split_frame(&bytes).unwrap().unwrap();
/// assert_eq!((frame.header.unit_id, frame.pdu, length), (17, &bytes[7..12], 12));
/// assert_eq!(split_frame(&bytes[..11]), Ok(None));
/// ```
pub fn split_frame(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>, FrameError> {
    let word = |at: usize| Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
    let Some(protocol_id) = word(2) else { return Ok(None) };
    if protocol_id != 0 {
        return Err(FrameError::Protocol(protocol_id));
    }
    let Some(length) = word(4) else { return Ok(None) };
    if !limits::MBAP_LENGTH.contains(&length) {
        return Err(FrameError::Length(length));
    }
    let end = limits::MBAP_BYTES - 1 + usize::from(length);
    let (Some(transaction_id), Some(&unit_id), Some(pdu)) =
        (word(0), bytes.get(limits::MBAP_BYTES - 1), bytes.get(limits::MBAP_BYTES..end))
    else {
        return Ok(None);
    };
    let header = MbapHeader { transaction_id, protocol_id, length, unit_id };
    Ok(Some((Frame { header, pdu }, end)))
}

/// Appends a frame to `out`: the header, then `pdu`. Bytes of `pdu` beyond [`limits::PDU_BYTES`]
/// are left out.
pub fn write_frame(transaction_id: u16, unit_id: u8, pdu: &[u8], out: &mut Vec<u8>) {
    let pdu = &pdu[..pdu.len().min(limits::PDU_BYTES)];
    #[expect(clippy::cast_possible_truncation, reason = "cut to 253 bytes above")]
    let length = pdu.len() as u16 + 1;
    out.reserve(limits::MBAP_BYTES + pdu.len());
    out.extend_from_slice(&transaction_id.to_be_bytes());
    out.extend_from_slice(&0_u16.to_be_bytes());
    out.extend_from_slice(&length.to_be_bytes());
    out.push(unit_id);
    out.extend_from_slice(pdu);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_written_frame_is_read_back(
            transaction_id: u16,
            unit_id: u8,
            pdu in proptest::collection::vec(any::<u8>(), 1..=limits::PDU_BYTES),
            following in proptest::collection::vec(any::<u8>(), 0..20),
        ) {
            let mut bytes = Vec::new();
            write_frame(transaction_id, unit_id, &pdu, &mut bytes);
            let end = bytes.len();
            for cut in 0..end {
                prop_assert_eq!(split_frame(&bytes[..cut]), Ok(None));
            }
            bytes.extend(following);
            let (frame, length) = split_frame(&bytes).unwrap().unwrap();
            prop_assert_eq!(length, end);
            prop_assert_eq!(frame.pdu, &pdu[..]);
            prop_assert_eq!(frame.header.transaction_id, transaction_id);
            prop_assert_eq!(frame.header.unit_id, unit_id);
        }
    }

    #[test]
    fn a_frame_error_is_reported_as_early_as_possible() {
        assert_eq!(split_frame(&[]), Ok(None));
        assert_eq!(split_frame(&[0, 1, 2]), Ok(None));
        assert_eq!(split_frame(&[0, 1, 0, 2]), Err(FrameError::Protocol(2)));
        assert_eq!(split_frame(&[0, 1, 0, 2, 0, 0]), Err(FrameError::Protocol(2)));
        assert_eq!(split_frame(&[0, 1, 0, 0, 0, 1]), Err(FrameError::Length(1)));
        assert_eq!(split_frame(&[0, 1, 0, 0, 0, 255]), Err(FrameError::Length(255)));
        assert_eq!(split_frame(&[0, 1, 0, 0, 0, 254]), Ok(None));
    }

    #[test]
    fn an_oversized_pdu_is_cut() {
        let mut bytes = Vec::new();
        write_frame(1, 1, &[3; 400], &mut bytes);
        assert_eq!(bytes.len(), limits::ADU_BYTES);
        assert!(split_frame(&bytes).unwrap().is_some());
    }
}
