//! Function codes (Application Protocol V1.1b3, §6).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Exception;

/// A function code of a request or reply, any byte: clients and faults send codes that no
/// specification names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FunctionCode(pub u8);

impl FunctionCode {
    /// 1: reads coils.
    pub const READ_COILS: Self = Self(1);
    /// 2: reads discrete inputs.
    pub const READ_DISCRETE_INPUTS: Self = Self(2);
    /// 3: reads holding registers.
    pub const READ_HOLDING_REGISTERS: Self = Self(3);
    /// 4: reads input registers.
    pub const READ_INPUT_REGISTERS: Self = Self(4);
    /// 5: writes one coil.
    pub const WRITE_SINGLE_COIL: Self = Self(5);
    /// 6: writes one holding register.
    pub const WRITE_SINGLE_REGISTER: Self = Self(6);
    /// 15: writes coils.
    pub const WRITE_MULTIPLE_COILS: Self = Self(15);
    /// 16: writes holding registers.
    pub const WRITE_MULTIPLE_REGISTERS: Self = Self(16);
    /// 17: reads an identification of the server.
    pub const REPORT_SERVER_ID: Self = Self(17);
    /// 22: sets and clears bits of one holding register.
    pub const MASK_WRITE_REGISTER: Self = Self(22);
    /// 23: writes holding registers, then reads holding registers.
    pub const READ_WRITE_MULTIPLE_REGISTERS: Self = Self(23);

    /// The codes that [`super::RequestPdu::parse`] accepts, in ascending order.
    pub const SUPPORTED: [Self; 11] = [
        Self::READ_COILS,
        Self::READ_DISCRETE_INPUTS,
        Self::READ_HOLDING_REGISTERS,
        Self::READ_INPUT_REGISTERS,
        Self::WRITE_SINGLE_COIL,
        Self::WRITE_SINGLE_REGISTER,
        Self::WRITE_MULTIPLE_COILS,
        Self::WRITE_MULTIPLE_REGISTERS,
        Self::REPORT_SERVER_ID,
        Self::MASK_WRITE_REGISTER,
        Self::READ_WRITE_MULTIPLE_REGISTERS,
    ];

    /// Returns `true` if a request with this code contains the values that it writes. Function 22
    /// contains masks instead.
    #[must_use]
    pub const fn writes_values(self) -> bool {
        matches!(
            self,
            Self::WRITE_SINGLE_COIL
                | Self::WRITE_SINGLE_REGISTER
                | Self::WRITE_MULTIPLE_COILS
                | Self::WRITE_MULTIPLE_REGISTERS
                | Self::READ_WRITE_MULTIPLE_REGISTERS
        )
    }

    /// Returns the code of an exception reply to a request with this code.
    #[must_use]
    pub const fn exception_reply(self) -> Self {
        Self(self.0 | Exception::BIT)
    }

    /// Returns `true` if this is the code of an exception reply.
    #[must_use]
    pub const fn is_exception_reply(self) -> bool {
        self.0 & Exception::BIT != 0
    }

    /// Returns the code without the bit that marks an exception reply.
    #[must_use]
    pub const fn without_exception_bit(self) -> Self {
        Self(self.0 & !Exception::BIT)
    }
}

impl fmt::Display for FunctionCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
