//! Converts the value of a Modbus request from text to registers or coils.
//!
//! Numbers are big-endian, most significant word first. Rulings: ACTION-6, ACTION-7 and ACTION-11.

use crate::device::json::shortened;
use crate::modbus::limits;
use crate::modbus::wire::FunctionCode;
use crate::notation::join_numbers;

/// The type of a value (`modbus.type`), which says how its text is parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ValueType {
    /// Bytes, two hexadecimal digits each.
    #[default]
    Hex,
    /// An integer in 1 register.
    Short,
    /// An integer in 2 registers.
    Int,
    /// An integer in 4 registers.
    Long,
    /// An IEEE 754 single in 2 registers.
    Float,
    /// An IEEE 754 double in 4 registers.
    Double,
}

impl ValueType {
    /// All variants with their names in `modbus.type`.
    pub const NAMES: [(&'static str, Self); 6] = [
        ("hex", Self::Hex),
        ("short", Self::Short),
        ("int", Self::Int),
        ("long", Self::Long),
        ("float", Self::Float),
        ("double", Self::Double),
    ];

    /// Returns the name in `modbus.type`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hex => "hex",
            Self::Short => "short",
            Self::Int => "int",
            Self::Long => "long",
            Self::Float => "float",
            Self::Double => "double",
        }
    }

    /// Parses a value into its bytes, in wire order.
    fn parse(self, value: &str) -> Result<Vec<u8>, ValueError> {
        match self {
            Self::Hex => parse_hex(value),
            Self::Short => parse_integer(value, 2),
            Self::Int => parse_integer(value, 4),
            Self::Long => parse_integer(value, 8),
            Self::Float => {
                parse_float(value, f32::is_finite, |number| number.to_be_bytes().to_vec())
            }
            Self::Double => {
                parse_float(value, f64::is_finite, |number| number.to_be_bytes().to_vec())
            }
        }
    }
}

/// The write of a Modbus request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModbusWrite {
    /// Function 5.
    SingleCoil {
        /// The address of the coil.
        address: u16,
        /// The value of the coil: 0xFF00 on the wire if `true`, 0x0000 if `false`.
        on: bool,
    },
    /// Function 6.
    SingleRegister {
        /// The address of the register.
        address: u16,
        /// The value of the register.
        word: u16,
    },
    /// Function 15.
    MultipleCoils {
        /// The address of the first coil.
        address: u16,
        /// The values of 8 to 1968 coils, a multiple of 8.
        coils: Vec<bool>,
    },
    /// Function 16.
    MultipleRegisters {
        /// The address of the first register.
        address: u16,
        /// The values of 1 to 123 registers.
        words: Vec<u16>,
    },
}

/// The error of a value that cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ValueError(pub String);

impl ModbusWrite {
    /// The function codes that actions can write with (`modbus.func`).
    pub const FUNCTIONS: [FunctionCode; 4] = [
        FunctionCode::WRITE_SINGLE_COIL,
        FunctionCode::WRITE_SINGLE_REGISTER,
        FunctionCode::WRITE_MULTIPLE_COILS,
        FunctionCode::WRITE_MULTIPLE_REGISTERS,
    ];

    /// Returns the codes of [`ModbusWrite::FUNCTIONS`] for a message.
    pub(super) fn function_names() -> String {
        join_numbers(Self::FUNCTIONS.map(|function| function.0), "or")
    }

    /// Parses `value` as `value_type` and encodes it for `function`.
    ///
    /// # Errors
    /// [`ValueError`] if the text is not a value of the type, if the function is not one of
    /// [`ModbusWrite::FUNCTIONS`] or does not accept the type or the length, or if the write would
    /// exceed address 65535.
    pub fn encode(
        function: FunctionCode,
        address: u16,
        value_type: ValueType,
        value: &str,
    ) -> Result<Self, ValueError> {
        check_type(function, value_type)?;
        let bytes = value_type.parse(value)?;
        let write = match function {
            FunctionCode::WRITE_SINGLE_COIL => {
                Self::SingleCoil { address, on: single_word(function, &bytes)? != 0 }
            }
            FunctionCode::WRITE_SINGLE_REGISTER => {
                Self::SingleRegister { address, word: single_word(function, &bytes)? }
            }
            FunctionCode::WRITE_MULTIPLE_COILS => {
                Self::MultipleCoils { address, coils: coils(&bytes)? }
            }
            FunctionCode::WRITE_MULTIPLE_REGISTERS => {
                Self::MultipleRegisters { address, words: words(&bytes)? }
            }
            other => return Err(unsupported(other)),
        };
        let last = u32::from(address) + u32::from(write.quantity()) - 1;
        if last > u32::from(u16::MAX) {
            return Err(ValueError(format!(
                "{} values from address {address} on run to {last}: addresses end at 65535",
                write.quantity()
            )));
        }
        Ok(write)
    }

    /// Returns the function code.
    #[must_use]
    pub const fn function(&self) -> FunctionCode {
        match self {
            Self::SingleCoil { .. } => FunctionCode::WRITE_SINGLE_COIL,
            Self::SingleRegister { .. } => FunctionCode::WRITE_SINGLE_REGISTER,
            Self::MultipleCoils { .. } => FunctionCode::WRITE_MULTIPLE_COILS,
            Self::MultipleRegisters { .. } => FunctionCode::WRITE_MULTIPLE_REGISTERS,
        }
    }

    /// Returns the address of the first register or coil.
    #[must_use]
    pub const fn address(&self) -> u16 {
        match self {
            Self::SingleCoil { address, .. }
            | Self::SingleRegister { address, .. }
            | Self::MultipleCoils { address, .. }
            | Self::MultipleRegisters { address, .. } => *address,
        }
    }

    /// Returns the number of registers or coils.
    #[must_use]
    pub fn quantity(&self) -> u16 {
        let quantity = match self {
            Self::SingleCoil { .. } | Self::SingleRegister { .. } => 1,
            Self::MultipleCoils { coils, .. } => coils.len(),
            Self::MultipleRegisters { words, .. } => words.len(),
        };
        // `encode` never creates a write with more. A caller could, beyond the limits of Modbus.
        u16::try_from(quantity).unwrap_or(u16::MAX)
    }

    /// Returns the registers, or the coils as 0 and 1.
    #[must_use]
    pub fn values(&self) -> Vec<u16> {
        match self {
            Self::SingleCoil { on, .. } => vec![u16::from(*on)],
            Self::SingleRegister { word, .. } => vec![*word],
            Self::MultipleCoils { coils, .. } => coils.iter().copied().map(u16::from).collect(),
            Self::MultipleRegisters { words, .. } => words.clone(),
        }
    }
}

/// Checks that the function accepts the type.
fn check_type(function: FunctionCode, value_type: ValueType) -> Result<(), ValueError> {
    use FunctionCode as F;
    use ValueType as T;
    let expected = match (function, value_type) {
        (F::WRITE_SINGLE_COIL | F::WRITE_SINGLE_REGISTER, T::Hex | T::Short)
        | (F::WRITE_MULTIPLE_COILS, T::Hex)
        | (F::WRITE_MULTIPLE_REGISTERS, _) => return Ok(()),
        (F::WRITE_SINGLE_COIL | F::WRITE_SINGLE_REGISTER, _) => "`short` or `hex`",
        (F::WRITE_MULTIPLE_COILS, _) => "`hex`",
        (other, _) => return Err(unsupported(other)),
    };
    Err(ValueError(format!(
        "type `{}` with function {}: expected {expected}",
        value_type.name(),
        function
    )))
}

fn unsupported(function: FunctionCode) -> ValueError {
    ValueError(format!("function {function}: expected {}", ModbusWrite::function_names()))
}

/// Returns the value of functions 5 and 6, which is two bytes.
fn single_word(function: FunctionCode, bytes: &[u8]) -> Result<u16, ValueError> {
    let two_bytes = bytes.try_into().map_err(|_| {
        ValueError(format!("{} bytes: function {function} takes exactly 2", bytes.len()))
    })?;
    Ok(u16::from_be_bytes(two_bytes))
}

/// Unpacks eight coils from each byte, the least significant bit first, as function 15 sends them.
fn coils(bytes: &[u8]) -> Result<Vec<bool>, ValueError> {
    let max = usize::from(*limits::WRITE_BITS.end());
    if bytes.len() * 8 > max {
        return Err(ValueError(format!(
            "{} coils: function 15 takes {max} at the most",
            bytes.len() * 8
        )));
    }
    Ok(bytes.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1)).collect())
}

fn words(bytes: &[u8]) -> Result<Vec<u16>, ValueError> {
    let (pairs, rest) = bytes.as_chunks();
    if !rest.is_empty() {
        return Err(ValueError(format!(
            "{} bytes: function 16 writes whole registers, 4 digits each",
            bytes.len()
        )));
    }
    let max = usize::from(*limits::WRITE_REGISTERS.end());
    if pairs.len() > max {
        return Err(ValueError(format!(
            "{} registers: function 16 takes {max} at the most",
            pairs.len()
        )));
    }
    Ok(pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect())
}

fn parse_hex(value: &str) -> Result<Vec<u8>, ValueError> {
    let error = || {
        ValueError(format!(
            "`{}`: expected hexadecimal digits, two for each byte, as 00FF",
            shortened(value)
        ))
    };
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = value.as_bytes().as_chunks();
    if pairs.is_empty() || !rest.is_empty() {
        return Err(error());
    }
    let byte = |[high, low]: &[u8; 2]| Some(digit(*high)? << 4 | digit(*low)?);
    pairs.iter().map(byte).collect::<Option<_>>().ok_or_else(error)
}

/// Parses an integer of `width` bytes from the union of the signed and the unsigned range.
fn parse_integer(value: &str, width: usize) -> Result<Vec<u8>, ValueError> {
    let bits = 8 * width;
    let range = -(1_i128 << (bits - 1))..=(1_i128 << bits) - 1;
    let number = value.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
        ValueError(format!(
            "`{}`: expected a whole number from {} to {}",
            shortened(value),
            range.start(),
            range.end()
        ))
    })?;
    let bytes = number.to_be_bytes();
    Ok(bytes[bytes.len() - width..].to_vec())
}

/// Parses a finite floating-point number. The standard library would also accept `inf` and `nan`.
fn parse_float<F: std::str::FromStr + Copy>(
    value: &str,
    finite: impl Fn(F) -> bool,
    bytes: impl Fn(F) -> Vec<u8>,
) -> Result<Vec<u8>, ValueError> {
    match value.parse().ok().filter(|number| finite(*number)) {
        Some(number) => Ok(bytes(number)),
        None => Err(ValueError(format!(
            "`{}`: expected a finite number of {} bits, as -12.5",
            shortened(value),
            8 * size_of::<F>()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::ValueType::{Double, Float, Hex, Int, Long, Short};
    use super::*;

    fn encode(
        function: FunctionCode,
        value_type: ValueType,
        value: &str,
    ) -> Result<Vec<u16>, String> {
        ModbusWrite::encode(function, 10, value_type, value)
            .map(|write| write.values())
            .map_err(|error| error.to_string())
    }

    fn registers(value_type: ValueType, value: &str) -> Vec<u16> {
        encode(FunctionCode::WRITE_MULTIPLE_REGISTERS, value_type, value).unwrap()
    }

    #[test]
    fn numbers_are_big_endian_most_significant_word_first() {
        assert_eq!(registers(Hex, "0102a0B0"), [0x0102, 0xA0B0]);
        assert_eq!(registers(Short, "20"), [20]);
        assert_eq!(registers(Int, "-2"), [0xFFFF, 0xFFFE]);
        assert_eq!(registers(Long, "4294967298"), [0, 1, 0, 2]);
        assert_eq!(registers(Float, "1.5"), [0x3FC0, 0]);
        assert_eq!(registers(Double, "-1.5"), [0xBFF8, 0, 0, 0]);
    }

    // Ruling: ACTION-6.
    #[test]
    fn integers_accept_the_signed_and_the_unsigned_range() {
        assert_eq!(registers(Short, "-32768"), registers(Short, "+32768"));
        assert_eq!(registers(Int, "-1"), registers(Int, "4294967295"));
        assert_eq!(registers(Long, "-1"), registers(Long, "18446744073709551615"));
        for (value_type, value) in [
            (Short, "65536"),
            (Short, "-32769"),
            (Int, "4294967296"),
            (Int, "-2147483649"),
            (Long, "18446744073709551616"),
            (Long, "-9223372036854775809"),
            (Short, ""),
            (Short, "-"),
            (Short, " 1"),
            (Short, "1 "),
            (Short, "1.0"),
            (Short, "0x10"),
            (Short, "1_000"),
            (Long, &"9".repeat(492)),
        ] {
            assert!(
                encode(FunctionCode::WRITE_MULTIPLE_REGISTERS, value_type, value).is_err(),
                "{value}"
            );
        }
    }

    // Ruling: ACTION-6.
    #[test]
    fn floats_must_be_finite_in_their_own_width() {
        assert_eq!(registers(Double, "1e39").len(), 4);
        for (value_type, value) in
            [(Float, "1e39"), (Double, "1e400"), (Float, "inf"), (Double, "NaN"), (Float, "1,5")]
        {
            assert!(
                encode(FunctionCode::WRITE_MULTIPLE_REGISTERS, value_type, value).is_err(),
                "{value}"
            );
        }
    }

    // Ruling: ACTION-7.
    #[test]
    fn a_coil_is_on_for_any_value_but_zero() {
        for (value_type, value, on) in [
            (Short, "0", 0),
            (Short, "1", 1),
            (Short, "-7", 1),
            (Hex, "0000", 0),
            (Hex, "00FF", 1),
            (Hex, "FF00", 1),
            (Hex, "0001", 1),
        ] {
            assert_eq!(
                encode(FunctionCode::WRITE_SINGLE_COIL, value_type, value),
                Ok(vec![on]),
                "{value}"
            );
        }
    }

    #[test]
    fn functions_5_and_6_accept_exactly_two_bytes() {
        assert_eq!(encode(FunctionCode::WRITE_SINGLE_REGISTER, Short, "-1"), Ok(vec![0xFFFF]));
        assert_eq!(encode(FunctionCode::WRITE_SINGLE_REGISTER, Hex, "12ab"), Ok(vec![0x12AB]));
        for function in [FunctionCode::WRITE_SINGLE_COIL, FunctionCode::WRITE_SINGLE_REGISTER] {
            for (value_type, value) in
                [(Hex, "FF"), (Hex, "00FF00"), (Int, "1"), (Long, "1"), (Float, "1"), (Double, "1")]
            {
                assert!(encode(function, value_type, value).is_err(), "{function:?} {value}");
            }
        }
    }

    // Ruling: ACTION-7.
    #[test]
    fn coils_are_unpacked_least_significant_bit_first() {
        let expected = [1, 0, 1, 1, 0, 0, 1, 1, 1, 1, 0, 1, 0, 1, 1, 0];
        // The example of the Modbus specification: CD is 1100 1101.
        assert_eq!(encode(FunctionCode::WRITE_MULTIPLE_COILS, Hex, "CD6B"), Ok(expected.to_vec()));
        assert_eq!(encode(FunctionCode::WRITE_MULTIPLE_COILS, Short, "1").ok(), None);
    }

    #[test]
    fn multiple_writes_are_limited_in_quantity() {
        assert_eq!(registers(Hex, &"0001".repeat(123)).len(), 123);
        assert_eq!(
            encode(FunctionCode::WRITE_MULTIPLE_COILS, Hex, &"00".repeat(246)).unwrap().len(),
            1968
        );
        assert!(encode(FunctionCode::WRITE_MULTIPLE_REGISTERS, Hex, &"0001".repeat(124)).is_err());
        assert!(encode(FunctionCode::WRITE_MULTIPLE_COILS, Hex, &"00".repeat(247)).is_err());
        assert!(encode(FunctionCode::WRITE_MULTIPLE_REGISTERS, Hex, "000102").is_err());
    }

    #[test]
    fn hex_consists_of_two_digits_for_each_byte() {
        for value in ["", "0", "000", "00g0", "0x00", "00 0", "ää"] {
            let error = encode(FunctionCode::WRITE_MULTIPLE_REGISTERS, Hex, value).unwrap_err();
            assert!(error.contains("hexadecimal"), "{value}: {error}");
        }
    }

    // Ruling: ACTION-7.
    #[test]
    fn a_write_beyond_the_last_address_is_refused() {
        let at = |address, value| {
            ModbusWrite::encode(
                FunctionCode::WRITE_MULTIPLE_REGISTERS,
                address,
                ValueType::Int,
                value,
            )
        };
        assert_eq!(at(65534, "1").unwrap().quantity(), 2);
        assert_eq!(
            at(65535, "1").unwrap_err().to_string(),
            "2 values from address 65535 on run to 65536: addresses end at 65535"
        );
    }

    #[test]
    fn a_message_quotes_only_the_beginning_of_a_long_value() {
        let error =
            encode(FunctionCode::WRITE_MULTIPLE_REGISTERS, Float, &"ä".repeat(492)).unwrap_err();
        assert!(error.starts_with(&format!("`{}…`", "ä".repeat(40))), "{error}");
    }

    /// Joins registers into one unsigned number.
    fn joined(words: &[u16]) -> u64 {
        words.iter().fold(0, |number, word| number << 16 | u64::from(*word))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn an_encoded_number_decodes_to_the_same_number(number: i64, float: f32, double: f64) {
            let written = |value_type, value: String| joined(&registers(value_type, &value));
            prop_assert_eq!(written(Long, number.to_string()), number.cast_unsigned());
            let int = i32::try_from(number >> 32).unwrap();
            prop_assert_eq!(written(Int, int.to_string()), u64::from(int.cast_unsigned()));
            let short = i16::try_from(number >> 48).unwrap();
            prop_assert_eq!(written(Short, short.to_string()), u64::from(short.cast_unsigned()));
            prop_assume!(float.is_finite() && double.is_finite());
            prop_assert_eq!(written(Float, float.to_string()), u64::from(float.to_bits()));
            prop_assert_eq!(written(Double, double.to_string()), double.to_bits());
        }

        #[test]
        fn encoding_never_panics(
            function in prop::sample::select(ModbusWrite::FUNCTIONS.to_vec()),
            (_, value_type) in prop::sample::select(ValueType::NAMES.to_vec()),
            address: u16,
            value in "\\PC{0,20}|[0-9a-fA-F]{0,500}|[-+.e0-9]{1,9}",
        ) {
            if let Ok(write) = ModbusWrite::encode(function, address, value_type, &value) {
                prop_assert_eq!(write.function(), function);
                prop_assert_eq!(usize::from(write.quantity()), write.values().len());
                prop_assert!(u32::from(address) + u32::from(write.quantity()) <= 65_536);
            }
        }
    }
}
