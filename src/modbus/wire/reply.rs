//! Reply PDUs.

use super::{Exception, FunctionCode};
use crate::modbus::limits;

/// A reply PDU in a buffer of its own. It is filled in place and reused for the next reply.
#[derive(Debug, Clone)]
pub struct ReplyPdu {
    bytes: [u8; limits::PDU_BYTES],
    len: usize,
}

impl Default for ReplyPdu {
    fn default() -> Self {
        Self { bytes: [0; limits::PDU_BYTES], len: 0 }
    }
}

impl ReplyPdu {
    /// Returns the PDU, function code and data. Empty until one was written.
    #[must_use]
    pub fn pdu(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Empties the buffer.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Returns the exception. `None` if this is no exception reply.
    #[must_use]
    pub fn as_exception(&self) -> Option<Exception> {
        match *self.pdu() {
            [function, code] if FunctionCode(function).is_exception_reply() => {
                Some(Exception(code))
            }
            _ => None,
        }
    }

    /// Writes an exception reply to `function`.
    pub fn write_exception(&mut self, function: FunctionCode, exception: Exception) {
        self.clear();
        self.push(&[function.exception_reply().0, exception.0]);
    }

    /// Writes a reply of plain 16-bit fields, such as the echo that answers a write of coils or
    /// registers.
    pub fn write_fields(&mut self, function: FunctionCode, fields: &[u16]) {
        self.clear();
        self.push(&[function.0]);
        for field in fields {
            self.push(&field.to_be_bytes());
        }
    }

    /// Writes a reply with registers after a byte count, which answers a read of registers.
    /// Registers beyond [`limits::READ_REGISTERS`] are left out.
    pub fn write_words(&mut self, function: FunctionCode, words: &[u16]) {
        let words = &words[..words.len().min(usize::from(*limits::READ_REGISTERS.end()))];
        let len = words.len() * 2;
        self.write_head(function, len);
        // One pass over a slice of known length, which the compiler turns into vector byte swaps.
        for (pair, word) in self.bytes[2..2 + len].chunks_exact_mut(2).zip(words) {
            pair.copy_from_slice(&word.to_be_bytes());
        }
        self.len = 2 + len;
    }

    /// Writes a reply with bytes after a byte count, which answers a read of bits or of the server
    /// id. Bytes beyond 251 are left out.
    pub fn write_bytes(
        &mut self,
        function: FunctionCode,
        bytes: impl ExactSizeIterator<Item = u8>,
    ) {
        let len = bytes.len().min(limits::PDU_BYTES - 2);
        self.write_head(function, len);
        for (slot, byte) in self.bytes[2..2 + len].iter_mut().zip(bytes) {
            *slot = byte;
        }
        self.len = 2 + len;
    }

    /// Writes function and byte count; `count` is at most 251.
    fn write_head(&mut self, function: FunctionCode, count: usize) {
        self.clear();
        self.push(&[function.0, u8::try_from(count).unwrap_or(u8::MAX)]);
    }

    /// Appends bytes. Bytes beyond the buffer are left out, which the callers above never need.
    fn push(&mut self, bytes: &[u8]) {
        let free = &mut self.bytes[self.len..];
        let length = bytes.len().min(free.len());
        free[..length].copy_from_slice(&bytes[..length]);
        self.len += length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_reply_has_the_specified_bytes() {
        let mut reply = ReplyPdu::default();
        reply.write_words(FunctionCode::READ_HOLDING_REGISTERS, &[0x0102, 0xA0B0]);
        assert_eq!(reply.pdu(), [3, 4, 1, 2, 0xA0, 0xB0]);
        assert_eq!(reply.as_exception(), None);
        reply.write_bytes(FunctionCode::READ_COILS, [0xCD, 0x01].into_iter());
        assert_eq!(reply.pdu(), [1, 2, 0xCD, 0x01]);
        reply.write_fields(FunctionCode::MASK_WRITE_REGISTER, &[4, 0xF2, 0x25]);
        assert_eq!(reply.pdu(), [22, 0, 4, 0, 0xF2, 0, 0x25]);
        reply
            .write_exception(FunctionCode::READ_HOLDING_REGISTERS, Exception::ILLEGAL_DATA_ADDRESS);
        assert_eq!(reply.pdu(), [0x83, 2]);
        assert_eq!(reply.as_exception(), Some(Exception::ILLEGAL_DATA_ADDRESS));
        reply.clear();
        assert!(reply.pdu().is_empty());
    }

    #[test]
    fn a_reply_never_outgrows_a_pdu() {
        let mut reply = ReplyPdu::default();
        reply.write_words(FunctionCode::READ_HOLDING_REGISTERS, &[7; 1000]);
        assert_eq!(reply.pdu().len(), 252);
        assert_eq!(reply.pdu()[1], 250);
        reply.write_bytes(FunctionCode::READ_COILS, [7; 1000].into_iter());
        assert_eq!(reply.pdu().len(), limits::PDU_BYTES);
        assert_eq!(reply.pdu()[1], 251);
        reply.write_fields(FunctionCode::WRITE_MULTIPLE_REGISTERS, &[7; 1000]);
        assert_eq!(reply.pdu().len(), limits::PDU_BYTES);
    }
}
