//! Exception codes (Application Protocol V1.1b3, §7).

use std::fmt;

/// The exception code of a request that is refused. Any byte is possible, because faults send codes
/// that no specification names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Exception(pub u8);

impl Exception {
    /// The bit that marks the function code of an exception reply.
    pub const BIT: u8 = 0x80;

    /// The server does not support the function.
    pub const ILLEGAL_FUNCTION: Self = Self(1);
    /// A register or coil does not exist, or not for this access.
    pub const ILLEGAL_DATA_ADDRESS: Self = Self(2);
    /// The request contradicts itself, or a value is out of its range.
    pub const ILLEGAL_DATA_VALUE: Self = Self(3);
    /// The server is busy with a long operation. The same request may succeed later.
    pub const SERVER_DEVICE_BUSY: Self = Self(6);
}

impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exception {}", self.0)
    }
}
