//! Modbus TCP bytes. STUB body.
#![allow(missing_docs, unused)]
use crate::limits;

/// MBAP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub transaction_id: u16,
    pub protocol_id: u16,
    pub length: u16,
    pub unit_id: u8,
}
/// A whole frame at the front of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    pub header: Header,
    pub pdu: &'a [u8],
}
/// Bytes that cannot be a Modbus TCP request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("MBAP length {0}: expected 2 to 254")]
    Length(u16),
    #[error("protocol id {0}: expected 0")]
    Protocol(u16),
}
/// The frame at the front of `bytes` and how many bytes it takes; None while incomplete.
pub fn split_frame(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>, FrameError> {
    todo!()
}
/// Appends a frame (MBAP + pdu) to out.
pub fn write_frame(transaction_id: u16, unit_id: u8, pdu: &[u8], out: &mut Vec<u8>) {
    todo!()
}

/// A parsed request PDU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request<'a> {
    ReadCoils {
        address: u16,
        quantity: u16,
    },
    ReadDiscreteInputs {
        address: u16,
        quantity: u16,
    },
    ReadHoldingRegisters {
        address: u16,
        quantity: u16,
    },
    ReadInputRegisters {
        address: u16,
        quantity: u16,
    },
    WriteSingleCoil {
        address: u16,
        on: bool,
    },
    WriteSingleRegister {
        address: u16,
        word: u16,
    },
    WriteMultipleCoils {
        address: u16,
        quantity: u16,
        bytes: &'a [u8],
    },
    WriteMultipleRegisters {
        address: u16,
        quantity: u16,
        bytes: &'a [u8],
    },
    ReportServerId,
    MaskWriteRegister {
        address: u16,
        and_mask: u16,
        or_mask: u16,
    },
    ReadWriteMultipleRegisters {
        read_address: u16,
        read_quantity: u16,
        write_address: u16,
        write_quantity: u16,
        bytes: &'a [u8],
    },
}
impl<'a> Request<'a> {
    /// Function first (exception 1), then length and quantity (exception 3).
    pub fn parse(pdu: &'a [u8]) -> Result<Self, Exception> {
        todo!()
    }
    pub fn function(&self) -> u8 {
        todo!()
    }
    /// First address and quantity for fault matching and the journal (function 23: the written range; 17: 0,0).
    pub fn range(&self) -> (u16, u16) {
        todo!()
    }
    /// Written values: registers, or coils as 0/1.
    pub fn values(&self) -> Vec<u16> {
        todo!()
    }
}
/// An exception code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Exception(pub u8);
impl Exception {
    pub const ILLEGAL_FUNCTION: Self = Self(1);
    pub const ILLEGAL_DATA_ADDRESS: Self = Self(2);
    pub const ILLEGAL_DATA_VALUE: Self = Self(3);
}
/// A reply PDU in a fixed buffer.
#[derive(Debug, Clone)]
pub struct Reply {
    bytes: [u8; limits::PDU_BYTES],
    len: usize,
}
impl Default for Reply {
    fn default() -> Self {
        Self { bytes: [0; limits::PDU_BYTES], len: 0 }
    }
}
impl Reply {
    pub fn pdu(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
    pub fn clear(&mut self) {
        self.len = 0;
    }
    pub fn exception(&mut self, function: u8, exception: Exception) {
        todo!()
    }
}
