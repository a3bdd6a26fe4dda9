//! Request PDUs.

use super::{Exception, FunctionCode};
use crate::modbus::limits;

/// A well-formed request: its lengths, quantities and byte counts agree. The bank checks the
/// addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "variants and fields are named as in the specification")]
pub enum RequestPdu<'a> {
    /// Function 1; 1 to 2000 coils.
    ReadCoils { address: u16, quantity: u16 },
    /// Function 2; 1 to 2000 inputs.
    ReadDiscreteInputs { address: u16, quantity: u16 },
    /// Function 3; 1 to 125 registers.
    ReadHoldingRegisters { address: u16, quantity: u16 },
    /// Function 4; 1 to 125 registers.
    ReadInputRegisters { address: u16, quantity: u16 },
    /// Function 5.
    WriteSingleCoil { address: u16, on: bool },
    /// Function 6.
    WriteSingleRegister { address: u16, word: u16 },
    /// Function 15; 1 to 1968 coils, eight a byte, the first in the lowest bit.
    WriteMultipleCoils { address: u16, quantity: u16, bytes: &'a [u8] },
    /// Function 16; 1 to 123 registers, high byte first.
    WriteMultipleRegisters { address: u16, quantity: u16, bytes: &'a [u8] },
    /// Function 17.
    ReportServerId,
    /// Function 22.
    MaskWriteRegister { address: u16, and_mask: u16, or_mask: u16 },
    /// Function 23; writes 1 to 121 registers, then reads 1 to 125.
    ReadWriteMultipleRegisters {
        read_address: u16,
        read_quantity: u16,
        write_address: u16,
        write_quantity: u16,
        bytes: &'a [u8],
    },
}

impl<'a> RequestPdu<'a> {
    /// Parses a PDU.
    ///
    /// # Errors
    /// The first of these exceptions: 1 if the function is not one of [`FunctionCode::SUPPORTED`]
    /// (an empty PDU has none); 3 if the length of the PDU does not agree with its function and
    /// byte count, a quantity is out of its range or disagrees with the byte count, or a single
    /// coil is set to a value other than 0x0000 and 0xFF00.
    ///
    /// ```
    /// use wwsim::modbus::wire::{Exception, RequestPdu};
    /// assert_eq!(
    ///     RequestPdu::parse(&[3, 0, 10, 0, 2]),
    ///     Ok(RequestPdu::ReadHoldingRegisters { address: 10, quantity: 2 })
    /// );
    /// assert_eq!(RequestPdu::parse(&[3, 0, 10, 0, 0]), Err(Exception::ILLEGAL_DATA_VALUE));
    /// ```
    pub fn parse(pdu: &'a [u8]) -> Result<Self, Exception> {
        let (&function, data) = pdu.split_first().ok_or(Exception::ILLEGAL_FUNCTION)?;
        let mut fields = PduFields(data);
        let request = match FunctionCode(function) {
            FunctionCode::READ_COILS => {
                let (address, quantity) = fields.range(limits::READ_BITS)?;
                Self::ReadCoils { address, quantity }
            }
            FunctionCode::READ_DISCRETE_INPUTS => {
                let (address, quantity) = fields.range(limits::READ_BITS)?;
                Self::ReadDiscreteInputs { address, quantity }
            }
            FunctionCode::READ_HOLDING_REGISTERS => {
                let (address, quantity) = fields.range(limits::READ_REGISTERS)?;
                Self::ReadHoldingRegisters { address, quantity }
            }
            FunctionCode::READ_INPUT_REGISTERS => {
                let (address, quantity) = fields.range(limits::READ_REGISTERS)?;
                Self::ReadInputRegisters { address, quantity }
            }
            FunctionCode::WRITE_SINGLE_COIL => {
                Self::WriteSingleCoil { address: fields.word()?, on: fields.switch()? }
            }
            FunctionCode::WRITE_SINGLE_REGISTER => {
                Self::WriteSingleRegister { address: fields.word()?, word: fields.word()? }
            }
            FunctionCode::WRITE_MULTIPLE_COILS => Self::parse_write_coils(&mut fields)?,
            FunctionCode::WRITE_MULTIPLE_REGISTERS => Self::parse_write_registers(&mut fields)?,
            FunctionCode::REPORT_SERVER_ID => Self::ReportServerId,
            FunctionCode::MASK_WRITE_REGISTER => Self::parse_mask_write(&mut fields)?,
            FunctionCode::READ_WRITE_MULTIPLE_REGISTERS => Self::parse_read_write(&mut fields)?,
            _ => return Err(Exception::ILLEGAL_FUNCTION),
        };
        fields.end()?;
        Ok(request)
    }

    fn parse_write_coils(fields: &mut PduFields<'a>) -> Result<Self, Exception> {
        let (address, quantity) = fields.range(limits::WRITE_BITS)?;
        let bytes = fields.counted(usize::from(quantity).div_ceil(8))?;
        Ok(Self::WriteMultipleCoils { address, quantity, bytes })
    }

    fn parse_write_registers(fields: &mut PduFields<'a>) -> Result<Self, Exception> {
        let (address, quantity) = fields.range(limits::WRITE_REGISTERS)?;
        let bytes = fields.counted(usize::from(quantity) * 2)?;
        Ok(Self::WriteMultipleRegisters { address, quantity, bytes })
    }

    fn parse_mask_write(fields: &mut PduFields<'a>) -> Result<Self, Exception> {
        let (address, and_mask, or_mask) = (fields.word()?, fields.word()?, fields.word()?);
        Ok(Self::MaskWriteRegister { address, and_mask, or_mask })
    }

    fn parse_read_write(fields: &mut PduFields<'a>) -> Result<Self, Exception> {
        let (read_address, read_quantity) = fields.range(limits::READ_REGISTERS)?;
        let (write_address, write_quantity) = fields.range(limits::WRITE_REGISTERS_OF_23)?;
        let bytes = fields.counted(usize::from(write_quantity) * 2)?;
        Ok(Self::ReadWriteMultipleRegisters {
            read_address,
            read_quantity,
            write_address,
            write_quantity,
            bytes,
        })
    }

    /// Returns the function code.
    #[must_use]
    pub const fn function(&self) -> FunctionCode {
        match self {
            Self::ReadCoils { .. } => FunctionCode::READ_COILS,
            Self::ReadDiscreteInputs { .. } => FunctionCode::READ_DISCRETE_INPUTS,
            Self::ReadHoldingRegisters { .. } => FunctionCode::READ_HOLDING_REGISTERS,
            Self::ReadInputRegisters { .. } => FunctionCode::READ_INPUT_REGISTERS,
            Self::WriteSingleCoil { .. } => FunctionCode::WRITE_SINGLE_COIL,
            Self::WriteSingleRegister { .. } => FunctionCode::WRITE_SINGLE_REGISTER,
            Self::WriteMultipleCoils { .. } => FunctionCode::WRITE_MULTIPLE_COILS,
            Self::WriteMultipleRegisters { .. } => FunctionCode::WRITE_MULTIPLE_REGISTERS,
            Self::ReportServerId => FunctionCode::REPORT_SERVER_ID,
            Self::MaskWriteRegister { .. } => FunctionCode::MASK_WRITE_REGISTER,
            Self::ReadWriteMultipleRegisters { .. } => FunctionCode::READ_WRITE_MULTIPLE_REGISTERS,
        }
    }

    /// Returns the first address and the quantity that fault rules match and the journal shows. For
    /// function 23 this is only the range that is written, so a server must not take the range of a
    /// read from here; it matches on the variant instead. 0 and 0 for function 17, which has no
    /// range.
    #[must_use]
    pub const fn range(&self) -> (u16, u16) {
        match *self {
            Self::ReadCoils { address, quantity }
            | Self::ReadDiscreteInputs { address, quantity }
            | Self::ReadHoldingRegisters { address, quantity }
            | Self::ReadInputRegisters { address, quantity }
            | Self::WriteMultipleCoils { address, quantity, .. }
            | Self::WriteMultipleRegisters { address, quantity, .. } => (address, quantity),
            Self::WriteSingleCoil { address, .. }
            | Self::WriteSingleRegister { address, .. }
            | Self::MaskWriteRegister { address, .. } => (address, 1),
            Self::ReadWriteMultipleRegisters { write_address, write_quantity, .. } => {
                (write_address, write_quantity)
            }
            Self::ReportServerId => (0, 0),
        }
    }

    /// Returns the values that the request writes: registers, or bits as 0 and 1. Empty for a read,
    /// and for function 22, whose result depends on the value of the register.
    #[must_use]
    pub fn values(&self) -> Vec<u16> {
        match *self {
            Self::WriteSingleCoil { on, .. } => vec![u16::from(on)],
            Self::WriteSingleRegister { word, .. } => vec![word],
            Self::WriteMultipleCoils { quantity, bytes, .. } => {
                bits(bytes, quantity).map(u16::from).collect()
            }
            Self::WriteMultipleRegisters { bytes, .. }
            | Self::ReadWriteMultipleRegisters { bytes, .. } => words(bytes).collect(),
            Self::ReadCoils { .. }
            | Self::ReadDiscreteInputs { .. }
            | Self::ReadHoldingRegisters { .. }
            | Self::ReadInputRegisters { .. }
            | Self::ReportServerId
            | Self::MaskWriteRegister { .. } => Vec::new(),
        }
    }
}

/// Returns the registers in the data of a request or reply.
pub(crate) fn words(bytes: &[u8]) -> impl Iterator<Item = u16> {
    bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
}

/// Returns the first `quantity` bits in the data of a request or reply.
pub(crate) fn bits(bytes: &[u8], quantity: u16) -> impl Iterator<Item = bool> {
    bytes
        .iter()
        .flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1))
        .take(usize::from(quantity))
}

/// The fields of a PDU that are not read yet. A field that is missing or out of range is exception
/// 3.
struct PduFields<'a>(&'a [u8]);

impl<'a> PduFields<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Exception> {
        let (field, rest) = self.0.split_at_checked(count).ok_or(Exception::ILLEGAL_DATA_VALUE)?;
        self.0 = rest;
        Ok(field)
    }

    fn word(&mut self) -> Result<u16, Exception> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// Reads the value of a single coil.
    fn switch(&mut self) -> Result<bool, Exception> {
        match self.word()? {
            0x0000 => Ok(false),
            0xFF00 => Ok(true),
            _ => Err(Exception::ILLEGAL_DATA_VALUE),
        }
    }

    /// Reads an address and a quantity within `allowed`.
    fn range(&mut self, allowed: std::ops::RangeInclusive<u16>) -> Result<(u16, u16), Exception> {
        let (address, quantity) = (self.word()?, self.word()?);
        if allowed.contains(&quantity) {
            Ok((address, quantity))
        } else {
            Err(Exception::ILLEGAL_DATA_VALUE)
        }
    }

    /// Reads a byte count that must be `expected`, and as many bytes.
    fn counted(&mut self, expected: usize) -> Result<&'a [u8], Exception> {
        let count = usize::from(self.take(1)?[0]);
        if count == expected { self.take(count) } else { Err(Exception::ILLEGAL_DATA_VALUE) }
    }

    fn end(self) -> Result<(), Exception> {
        if self.0.is_empty() { Ok(()) } else { Err(Exception::ILLEGAL_DATA_VALUE) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ILLEGAL_VALUE: Result<RequestPdu<'static>, Exception> =
        Err(Exception::ILLEGAL_DATA_VALUE);

    /// Returns one valid PDU of every function.
    fn valid_pdus() -> Vec<Vec<u8>> {
        vec![
            vec![1, 0, 19, 0, 19],
            vec![2, 0, 196, 0, 22],
            vec![3, 0, 107, 0, 3],
            vec![4, 0, 8, 0, 1],
            vec![5, 0, 172, 0xFF, 0],
            vec![6, 0, 1, 0, 3],
            vec![15, 0, 19, 0, 10, 2, 0xCD, 0x01],
            vec![16, 0, 1, 0, 2, 4, 0, 10, 1, 2],
            vec![17],
            vec![22, 0, 4, 0, 0xF2, 0, 0x25],
            vec![23, 0, 3, 0, 6, 0, 14, 0, 3, 6, 0, 0xFF, 0, 0xFF, 0, 0xFF],
        ]
    }

    #[test]
    fn every_function_is_parsed_with_its_range_and_values() {
        let parsed: Vec<_> = valid_pdus()
            .iter()
            .map(|pdu| {
                let request = RequestPdu::parse(pdu).unwrap();
                assert_eq!(request.function(), FunctionCode(pdu[0]));
                (request.range(), request.values())
            })
            .collect();
        assert_eq!(parsed.len(), FunctionCode::SUPPORTED.len());
        assert_eq!(
            parsed,
            [
                ((19, 19), vec![]),
                ((196, 22), vec![]),
                ((107, 3), vec![]),
                ((8, 1), vec![]),
                ((172, 1), vec![1]),
                ((1, 1), vec![3]),
                ((19, 10), vec![1, 0, 1, 1, 0, 0, 1, 1, 1, 0]),
                ((1, 2), vec![10, 0x0102]),
                ((0, 0), vec![]),
                ((4, 1), vec![]),
                ((14, 3), vec![0xFF, 0xFF, 0xFF]),
            ]
        );
    }

    #[test]
    fn an_unknown_function_is_exception_1_for_any_data() {
        let unknown = |function: &u8| !FunctionCode::SUPPORTED.contains(&FunctionCode(*function));
        for function in (0..=255).filter(unknown) {
            for pdu in [vec![function], vec![function, 0, 0, 0, 0], vec![function; 253]] {
                assert_eq!(RequestPdu::parse(&pdu), Err(Exception::ILLEGAL_FUNCTION), "{pdu:?}");
            }
        }
        assert_eq!(RequestPdu::parse(&[]), Err(Exception::ILLEGAL_FUNCTION));
    }

    #[test]
    fn a_wrong_length_is_exception_3() {
        for pdu in valid_pdus() {
            for cut in 1..pdu.len() {
                assert_eq!(RequestPdu::parse(&pdu[..cut]), ILLEGAL_VALUE, "{:?}", &pdu[..cut]);
            }
            let longer = [pdu, vec![0]].concat();
            assert_eq!(RequestPdu::parse(&longer), ILLEGAL_VALUE, "{longer:?}");
        }
    }

    #[test]
    fn quantities_are_bounded_on_both_sides() {
        let read = |function, quantity: u16| {
            let [high, low] = quantity.to_be_bytes();
            RequestPdu::parse(&[function, 0, 0, high, low]).is_ok()
        };
        for (function, most) in [(1, 2000), (2, 2000), (3, 125), (4, 125)] {
            assert!(read(function, 1) && read(function, most), "function {function}");
            assert!(!read(function, 0) && !read(function, most + 1), "function {function}");
        }
        let write = |function, quantity: u16, bytes: usize| {
            let [high, low] = quantity.to_be_bytes();
            let count = u8::try_from(bytes).unwrap();
            let pdu = [vec![function, 0, 0, high, low, count], vec![0; bytes]].concat();
            RequestPdu::parse(&pdu).is_ok()
        };
        assert!(write(15, 1, 1) && write(15, 1968, 246) && write(16, 1, 2) && write(16, 123, 246));
        assert!(!write(15, 0, 0) && !write(15, 1969, 247));
        assert!(!write(16, 0, 0) && !write(16, 124, 248));
    }

    #[test]
    fn function_23_bounds_both_of_its_quantities() {
        let both = |read: u8, write: u8| {
            let head = [23, 0, 0, 0, read, 0, 0, 0, write, write * 2];
            RequestPdu::parse(&[&head[..], &vec![0; usize::from(write) * 2]].concat()).is_ok()
        };
        assert!(both(1, 1) && both(125, 121));
        assert!(!both(0, 1) && !both(126, 1) && !both(1, 0) && !both(1, 122));
    }

    #[test]
    fn a_byte_count_must_agree_with_quantity_and_bytes() {
        // Sixteen coils with only one byte, with a correct and a wrong byte count: such requests
        // make some servers crash.
        assert_eq!(RequestPdu::parse(&[15, 0, 0, 0, 16, 1, 0xFF]), ILLEGAL_VALUE);
        assert_eq!(RequestPdu::parse(&[15, 0, 0, 0, 16, 2, 0xFF]), ILLEGAL_VALUE);
        assert_eq!(RequestPdu::parse(&[15, 0, 0, 0, 8, 2, 0xFF, 0xFF]), ILLEGAL_VALUE);
        assert_eq!(RequestPdu::parse(&[16, 0, 0, 0, 2, 2, 0, 1]), ILLEGAL_VALUE);
        assert_eq!(RequestPdu::parse(&[16, 0, 0, 0, 1, 4, 0, 1, 0, 2]), ILLEGAL_VALUE);
        assert_eq!(RequestPdu::parse(&[16, 0, 0, 0, 1, 3, 0, 1, 0]), ILLEGAL_VALUE);
    }

    #[test]
    fn a_coil_is_either_on_or_off() {
        assert_eq!(
            RequestPdu::parse(&[5, 0, 1, 0, 0]),
            Ok(RequestPdu::WriteSingleCoil { address: 1, on: false })
        );
        for value in [[0x00, 0x01], [0xFF, 0x01], [0x00, 0xFF], [0xFF, 0xFF]] {
            assert_eq!(RequestPdu::parse(&[5, 0, 1, value[0], value[1]]), ILLEGAL_VALUE);
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(pdu in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(request) = RequestPdu::parse(&pdu) {
                prop_assert_eq!(request.function(), FunctionCode(pdu[0]));
                let (_, quantity) = request.range();
                let values = request.values().len();
                prop_assert!(values == 0 || values == usize::from(quantity));
            }
        }
    }
}
