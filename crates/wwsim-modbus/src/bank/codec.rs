//! Encodes and decodes values as words: every type, word order and byte order, in both directions.
//!
//! Word order applies to numbers only, whose words have a most significant one; raw bytes and text
//! run from the first register to the last. Byte order applies to all types: `Little`
//! swaps the two bytes of each word.

use std::fmt;

use super::{ByteOrder, Register, RegisterType, RegisterValue, WordOrder};

/// The format of the words of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RegisterFormat {
    /// The type of the value.
    pub value_type: RegisterType,
    /// The order of the words.
    pub word_order: WordOrder,
    /// The order of the bytes in a word.
    pub byte_order: ByteOrder,
}

/// The reason why a value cannot be encoded in a format.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EncodeError {
    /// The kind of value is wrong, such as text for a number.
    #[error("{found} for a {expected}: expected {}", expected_kind(*expected))]
    Kind {
        /// The kind of the value.
        found: &'static str,
        /// The type of the register.
        expected: RegisterType,
    },
    /// A number out of the range of the type.
    #[error("{value} does not fit a {expected}: expected {} to {}", range.0, range.1)]
    Range {
        /// The value as written.
        value: String,
        /// The type of the register.
        expected: RegisterType,
        /// The least and the greatest number that fit.
        range: (f64, f64),
    },
    /// A fraction for an integer type.
    #[error("{value} for a {expected}: expected a whole number, or make it a float or double")]
    Fraction {
        /// The value as written.
        value: f64,
        /// The type of the register.
        expected: RegisterType,
    },
    /// Text that is longer than its registers.
    #[error("{bytes} bytes of text in {words} registers: expected at most {}", words * 2)]
    TextTooLong {
        /// Bytes of the text in UTF-8.
        bytes: usize,
        /// The number of registers.
        words: usize,
    },
    /// A wrong number of raw bytes for the registers.
    #[error("{bytes} bytes in {words} registers: expected {}, two a register", words * 2)]
    HexLength {
        /// The number of bytes.
        bytes: usize,
        /// The number of registers.
        words: usize,
    },
}

/// Returns the expected kind of value of a type, for messages.
fn expected_kind(value_type: RegisterType) -> &'static str {
    match value_type {
        RegisterType::Hex { .. } => "bytes",
        RegisterType::String { .. } => "text",
        _ => "a number",
    }
}

/// A number as registers hold it: exact if it is an integer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    Integer(i64),
    Float(f64),
}

impl Number {
    #[expect(clippy::cast_precision_loss, reason = "the nearest number is what is meant")]
    pub(super) fn as_f64(self) -> f64 {
        match self {
            Self::Integer(whole) => whole as f64,
            Self::Float(real) => real,
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(whole) => whole.fmt(f),
            Self::Float(real) => real.fmt(f),
        }
    }
}

/// The numeric types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NumberFormat {
    /// An integer of this many bits, at most 63 of them if it is unsigned, so that an `i64` holds
    /// every value.
    Integer {
        bits: u32,
        signed: bool,
    },
    Single,
    Double,
}

impl NumberFormat {
    const fn of(value_type: RegisterType) -> Option<Self> {
        Some(match value_type {
            RegisterType::Short => Self::Integer { bits: 16, signed: true },
            RegisterType::Ushort => Self::Integer { bits: 16, signed: false },
            RegisterType::Int => Self::Integer { bits: 32, signed: true },
            RegisterType::Uint => Self::Integer { bits: 32, signed: false },
            RegisterType::Long => Self::Integer { bits: 64, signed: true },
            RegisterType::Float => Self::Single,
            RegisterType::Double => Self::Double,
            RegisterType::Hex { .. } | RegisterType::String { .. } => return None,
        })
    }

    /// Returns the least and the greatest integer of `bits` bits.
    const fn bounds(bits: u32, signed: bool) -> (i64, i64) {
        if signed {
            (i64::MIN >> (64 - bits), i64::MAX >> (64 - bits))
        } else {
            (0, (1 << bits) - 1)
        }
    }

    /// Returns the bits of the number, or of the nearest number that fits. NaN is 0 as an integer.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "casts from floats saturate, which is what is wanted; the sign is kept as bits"
    )]
    fn to_bits_saturating(self, number: Number) -> u64 {
        match self {
            Self::Integer { bits, signed } => {
                let whole = match number {
                    Number::Integer(whole) => whole,
                    Number::Float(real) => libm::round(real) as i64,
                };
                let (low, high) = Self::bounds(bits, signed);
                whole.clamp(low, high) as u64
            }
            Self::Single => {
                let real = number.as_f64();
                let single = real as f32;
                let overflowed = single.is_infinite() && real.is_finite();
                let single = if overflowed { f32::MAX.copysign(single) } else { single };
                u64::from(single.to_bits())
            }
            Self::Double => number.as_f64().to_bits(),
        }
    }

    /// Returns the number that these bits represent. Bits above its width are ignored.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        reason = "the lower bits are the number; its sign is among them"
    )]
    fn number(self, bits: u64) -> Number {
        match self {
            Self::Integer { bits: width, signed } => {
                let spare = 64 - width;
                let top = bits << spare;
                Number::Integer(if signed { top as i64 >> spare } else { (top >> spare) as i64 })
            }
            Self::Single => Number::Float(f64::from(f32::from_bits(bits as u32))),
            Self::Double => Number::Float(f64::from_bits(bits)),
        }
    }
}

impl RegisterFormat {
    /// Returns the format of a register.
    #[must_use]
    pub const fn of(register: &Register) -> Self {
        Self {
            value_type: register.value_type,
            word_order: register.word_order,
            byte_order: register.byte_order,
        }
    }

    /// Returns the number of registers that a value occupies.
    #[must_use]
    pub fn words(self) -> usize {
        usize::from(self.value_type.words())
    }

    /// Returns true if the format holds numbers.
    #[must_use]
    pub const fn is_number(self) -> bool {
        NumberFormat::of(self.value_type).is_some()
    }

    /// Returns the words of a value: numbers exactly (a float or double rounds to its precision,
    /// and holds infinities and NaN), text padded with zeros, raw bytes of exactly the right
    /// length.
    ///
    /// # Errors
    /// [`EncodeError`] names the mismatch and what fits.
    ///
    /// ```
    /// use wwsim_modbus::bank::{ByteOrder, RegisterFormat, RegisterType, RegisterValue, WordOrder};
    /// let format = RegisterFormat {
    ///     value_type: RegisterType::Int,
    ///     word_order: WordOrder::Lsw,
    ///     byte_order: ByteOrder::Big,
    /// };
    /// assert_eq!(format.encode(&RegisterValue::Integer(0x0102_0304)), Ok(vec![0x0304, 0x0102]));
    /// assert!(format.encode(&RegisterValue::Number(0.5)).is_err());
    /// ```
    pub fn encode(self, value: &RegisterValue) -> Result<Vec<u16>, EncodeError> {
        let mut words = vec![0; self.words()];
        match (self.value_type, value) {
            (RegisterType::Hex { .. }, RegisterValue::Bytes(bytes)) => {
                if bytes.len() != words.len() * 2 {
                    return Err(EncodeError::HexLength { bytes: bytes.len(), words: words.len() });
                }
                self.write_bytes(bytes, &mut words);
            }
            (RegisterType::String { .. }, RegisterValue::Text(text)) => {
                if text.len() > words.len() * 2 {
                    return Err(EncodeError::TextTooLong { bytes: text.len(), words: words.len() });
                }
                self.write_bytes(text.as_bytes(), &mut words);
            }
            (_, RegisterValue::Integer(whole)) if self.is_number() => {
                self.write_number(self.check_fits(Number::Integer(*whole))?, &mut words);
            }
            (_, RegisterValue::Number(real)) if self.is_number() => {
                self.write_number(self.check_fits(Number::Float(*real))?, &mut words);
            }
            (expected, value) => return Err(EncodeError::Kind { found: value.kind(), expected }),
        }
        Ok(words)
    }

    /// Returns the value that `words` hold. Missing words count as zero. Text ends at its trailing
    /// zeros, and bytes in it that are no UTF-8 become U+FFFD.
    #[must_use]
    pub fn decode(self, words: &[u16]) -> RegisterValue {
        match self.number(words) {
            Some(Number::Integer(whole)) => RegisterValue::Integer(whole),
            Some(Number::Float(real)) => RegisterValue::Number(real),
            None => {
                let mut bytes = self.bytes(words);
                if matches!(self.value_type, RegisterType::Hex { .. }) {
                    return RegisterValue::Bytes(bytes);
                }
                let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                bytes.truncate(end);
                RegisterValue::Text(String::from_utf8_lossy(&bytes).into_owned())
            }
        }
    }

    /// Returns the number unchanged if the type can hold it.
    fn check_fits(self, number: Number) -> Result<Number, EncodeError> {
        let expected = self.value_type;
        let out = |(low, high): (f64, f64)| EncodeError::Range {
            value: number.to_string(),
            expected,
            range: (low, high),
        };
        match (NumberFormat::of(expected), number) {
            (Some(NumberFormat::Integer { bits, signed }), number) => {
                let (low, high) = NumberFormat::bounds(bits, signed);
                let bounds = (Number::Integer(low).as_f64(), Number::Integer(high).as_f64());
                let whole = match number {
                    Number::Integer(whole) => whole,
                    // 2⁶³ as a float is just beyond the greatest long.
                    Number::Float(real)
                        if !(bounds.0..9_223_372_036_854_775_808.0).contains(&real) =>
                    {
                        return Err(out(bounds));
                    }
                    Number::Float(real) if real.fract() != 0.0 => {
                        return Err(EncodeError::Fraction { value: real, expected });
                    }
                    #[expect(clippy::cast_possible_truncation, reason = "whole and in range")]
                    Number::Float(real) => real as i64,
                };
                let fits = (low..=high).contains(&whole);
                if fits { Ok(Number::Integer(whole)) } else { Err(out(bounds)) }
            }
            (Some(NumberFormat::Single), Number::Float(real))
                if real.is_finite() && real.abs() > f64::from(f32::MAX) =>
            {
                Err(out((f64::from(f32::MIN), f64::from(f32::MAX))))
            }
            _ => Ok(number),
        }
    }

    /// Writes a number, or the nearest one that fits. Does nothing if the format holds no numbers.
    pub(super) fn write_number(self, number: Number, words: &mut [u16]) {
        let Some(number_format) = NumberFormat::of(self.value_type) else { return };
        let bits = number_format.to_bits_saturating(number);
        let count = words.len();
        for (index, word) in words.iter_mut().enumerate() {
            #[expect(clippy::cast_possible_truncation, reason = "one word of them is wanted")]
            let part = (bits >> self.shift(index, count)) as u16;
            *word = self.swap_bytes(part);
        }
    }

    /// Returns the number in `words`. `None` if the format holds no numbers.
    pub(super) fn number(self, words: &[u16]) -> Option<Number> {
        let number_format = NumberFormat::of(self.value_type)?;
        let bits = words.iter().enumerate().fold(0, |bits, (index, word)| {
            bits | u64::from(self.swap_bytes(*word)) << self.shift(index, words.len())
        });
        Some(number_format.number(bits))
    }

    /// Returns the value of an overflowed integer of any size: the integer types wrap around, the
    /// other types take the nearest number.
    pub(super) fn wrap(self, whole: i128) -> Number {
        match NumberFormat::of(self.value_type) {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "going round is leaving the upper bits out"
            )]
            Some(number_format @ NumberFormat::Integer { .. }) => {
                number_format.number(whole as u64)
            }
            #[expect(clippy::cast_precision_loss, reason = "the nearest is what is meant")]
            _ => Number::Float(whole as f64),
        }
    }

    /// Returns true if the type is an integer type.
    pub(super) const fn is_integer(self) -> bool {
        matches!(NumberFormat::of(self.value_type), Some(NumberFormat::Integer { .. }))
    }

    /// Writes bytes, two in a word. Bytes beyond the words are left out, missing bytes are zero.
    pub(super) fn write_bytes(self, bytes: &[u8], words: &mut [u16]) {
        let mut bytes = bytes.iter().copied();
        for word in words {
            let pair = [bytes.next().unwrap_or(0), bytes.next().unwrap_or(0)];
            *word = self.swap_bytes(u16::from_be_bytes(pair));
        }
    }

    /// Returns the bytes in `words`.
    pub(super) fn bytes(self, words: &[u16]) -> Vec<u8> {
        words.iter().flat_map(|word| self.swap_bytes(*word).to_be_bytes()).collect()
    }

    /// Returns the number of bits by which the `index`-th of `count` words is shifted. A number has
    /// at most four words, so the shift is under 64.
    const fn shift(self, index: usize, count: usize) -> usize {
        let words_below = match self.word_order {
            WordOrder::Msw => count - 1 - index,
            WordOrder::Lsw => index,
        };
        16 * (words_below & 3)
    }

    const fn swap_bytes(self, word: u16) -> u16 {
        match self.byte_order {
            ByteOrder::Big => word,
            ByteOrder::Little => word.swap_bytes(),
        }
    }
}

impl RegisterValue {
    /// Returns the kind of the value, for messages.
    const fn kind(&self) -> &'static str {
        match self {
            Self::Integer(_) | Self::Number(_) => "a number",
            Self::Text(_) => "text",
            Self::Bytes(_) => "bytes",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ORDERS: [(WordOrder, ByteOrder); 4] = [
        (WordOrder::Msw, ByteOrder::Big),
        (WordOrder::Lsw, ByteOrder::Big),
        (WordOrder::Msw, ByteOrder::Little),
        (WordOrder::Lsw, ByteOrder::Little),
    ];

    fn format(value_type: RegisterType) -> RegisterFormat {
        RegisterFormat { value_type, word_order: WordOrder::Msw, byte_order: ByteOrder::Big }
    }

    fn any_format() -> impl Strategy<Value = RegisterFormat> {
        let types = prop_oneof![
            Just(RegisterType::Short),
            Just(RegisterType::Ushort),
            Just(RegisterType::Int),
            Just(RegisterType::Uint),
            Just(RegisterType::Long),
            Just(RegisterType::Float),
            Just(RegisterType::Double),
            (1_u16..20).prop_map(|words| RegisterType::Hex { words }),
            (1_u16..20).prop_map(|words| RegisterType::String { words }),
        ];
        (types, proptest::sample::select(&ORDERS[..])).prop_map(
            |(value_type, (word_order, byte_order))| RegisterFormat {
                value_type,
                word_order,
                byte_order,
            },
        )
    }

    /// Generates values that fit the format.
    fn value_of(format: RegisterFormat) -> BoxedStrategy<RegisterValue> {
        let bytes = format.words() * 2;
        match format.value_type {
            RegisterType::Short => {
                any::<i16>().prop_map(|x| RegisterValue::Integer(x.into())).boxed()
            }
            RegisterType::Ushort => {
                any::<u16>().prop_map(|x| RegisterValue::Integer(x.into())).boxed()
            }
            RegisterType::Int => {
                any::<i32>().prop_map(|x| RegisterValue::Integer(x.into())).boxed()
            }
            RegisterType::Uint => {
                any::<u32>().prop_map(|x| RegisterValue::Integer(x.into())).boxed()
            }
            RegisterType::Long => any::<i64>().prop_map(RegisterValue::Integer).boxed(),
            RegisterType::Float => {
                any::<f32>().prop_map(|x| RegisterValue::Number(x.into())).boxed()
            }
            RegisterType::Double => any::<f64>().prop_map(RegisterValue::Number).boxed(),
            RegisterType::Hex { .. } => {
                proptest::collection::vec(any::<u8>(), bytes).prop_map(RegisterValue::Bytes).boxed()
            }
            RegisterType::String { .. } => "[a-zäöü€ ]{0,40}[a-z]"
                .prop_map(move |mut text| {
                    while text.len() > bytes {
                        text.pop();
                    }
                    RegisterValue::Text(text)
                })
                .boxed(),
        }
    }

    proptest! {
        #[test]
        fn every_type_in_every_order_round_trips(
            (format, value) in any_format().prop_flat_map(|f| (Just(f), value_of(f)))
        ) {
            let words = format.encode(&value).unwrap();
            prop_assert_eq!(words.len(), format.words());
            prop_assert_eq!(format.decode(&words), value);
        }

        #[test]
        fn every_bit_pattern_round_trips(
            (format, words) in any_format()
                .prop_flat_map(|f| (Just(f), proptest::collection::vec(any::<u16>(), f.words())))
        ) {
            // Text may hold bytes that are no UTF-8, and a NaN is not equal to itself.
            let value = format.decode(&words);
            let nan = matches!(value, RegisterValue::Number(number) if number.is_nan());
            if !nan && !matches!(value, RegisterValue::Text(_)) {
                prop_assert_eq!(format.encode(&value).unwrap(), words);
            }
        }

        #[test]
        fn a_saturated_number_is_the_nearest_that_fits(
            (format, number) in (any_format().prop_filter("numbers", |f| f.is_number()), any::<f64>())
        ) {
            let mut words = vec![0; format.words()];
            format.write_number(Number::Float(number), &mut words);
            let held = format.number(&words).unwrap().as_f64();
            let (low, high) = match NumberFormat::of(format.value_type).unwrap() {
                NumberFormat::Integer { bits, signed } => {
                    let (low, high) = NumberFormat::bounds(bits, signed);
                    (Number::Integer(low).as_f64(), Number::Integer(high).as_f64())
                }
                NumberFormat::Single => (f64::from(f32::MIN), f64::from(f32::MAX)),
                NumberFormat::Double => (f64::MIN, f64::MAX),
            };
            let nearest = number.clamp(low, high);
            let tolerance = match format.value_type {
                RegisterType::Float => nearest.abs() * 1e-7 + f64::from(f32::MIN_POSITIVE),
                RegisterType::Double => 0.0,
                _ => 0.5,
            };
            prop_assert!((held - nearest).abs() <= tolerance, "{number} became {held}");
        }
    }

    /// The bytes on the wire of 0x01020304 and similar values.
    #[test]
    fn known_values_have_their_known_words() {
        let table = [
            (RegisterType::Short, RegisterValue::Integer(-2), vec![0xFFFE]),
            (RegisterType::Ushort, RegisterValue::Integer(65534), vec![0xFFFE]),
            (RegisterType::Int, RegisterValue::Integer(-2), vec![0xFFFF, 0xFFFE]),
            (RegisterType::Int, RegisterValue::Integer(0x0102_0304), vec![0x0102, 0x0304]),
            (RegisterType::Uint, RegisterValue::Integer(0xFEDC_BA98), vec![0xFEDC, 0xBA98]),
            (
                RegisterType::Long,
                RegisterValue::Integer(0x0102_0304_0506_0708),
                vec![0x0102, 0x0304, 0x0506, 0x0708],
            ),
            (RegisterType::Float, RegisterValue::Number(230.5), vec![0x4366, 0x8000]),
            (RegisterType::Float, RegisterValue::Integer(1), vec![0x3F80, 0x0000]),
            (RegisterType::Double, RegisterValue::Number(-2.5), vec![0xC004, 0, 0, 0]),
            (RegisterType::Ushort, RegisterValue::Number(3.0), vec![3]),
            (
                RegisterType::Hex { words: 2 },
                RegisterValue::Bytes(vec![1, 2, 3, 4]),
                vec![0x0102, 0x0304],
            ),
            (
                RegisterType::String { words: 3 },
                RegisterValue::Text("abc".into()),
                vec![0x6162, 0x6300, 0],
            ),
        ];
        for (value_type, value, words) in table {
            assert_eq!(format(value_type).encode(&value), Ok(words), "{value_type} {value:?}");
        }
    }

    // Ruling: PEER-6.
    #[test]
    fn the_orders_reverse_words_and_bytes() {
        let words = ORDERS.map(|(word_order, byte_order)| {
            let format = RegisterFormat { value_type: RegisterType::Int, word_order, byte_order };
            format.encode(&RegisterValue::Integer(0x0102_0304)).unwrap()
        });
        assert_eq!(words, [[0x0102, 0x0304], [0x0304, 0x0102], [0x0201, 0x0403], [0x0403, 0x0201]]);
        let text = ORDERS.map(|(word_order, byte_order)| {
            let value_type = RegisterType::String { words: 2 };
            RegisterFormat { value_type, word_order, byte_order }
                .encode(&RegisterValue::Text("abcd".into()))
                .unwrap()
        });
        assert_eq!(text, [[0x6162, 0x6364], [0x6162, 0x6364], [0x6261, 0x6463], [0x6261, 0x6463]]);
    }

    #[test]
    fn an_encode_error_names_what_fits() {
        let message =
            |value_type, value| format(value_type).encode(&value).unwrap_err().to_string();
        assert_eq!(
            message(RegisterType::Short, RegisterValue::Integer(40_000)),
            "40000 does not fit a short: expected -32768 to 32767"
        );
        assert_eq!(
            message(RegisterType::Ushort, RegisterValue::Number(2.5)),
            "2.5 for a ushort: expected a whole number, or make it a float or double"
        );
        assert_eq!(
            message(RegisterType::Float, RegisterValue::Text("x".into())),
            "text for a float: expected a number"
        );
        assert_eq!(
            message(RegisterType::Hex { words: 2 }, RegisterValue::Bytes(vec![1])),
            "1 bytes in 2 registers: expected 4, two a register"
        );
        assert_eq!(
            message(RegisterType::String { words: 1 }, RegisterValue::Text("abc".into())),
            "3 bytes of text in 1 registers: expected at most 2"
        );
        for number in [f64::NAN, f64::INFINITY, 1e300, 9_223_372_036_854_775_808.0, -1e19] {
            assert!(
                format(RegisterType::Long).encode(&RegisterValue::Number(number)).is_err(),
                "{number}"
            );
        }
        assert!(format(RegisterType::Float).encode(&RegisterValue::Number(1e39)).is_err());
        assert!(format(RegisterType::Float).encode(&RegisterValue::Number(f64::NAN)).is_ok());
        assert!(format(RegisterType::Uint).encode(&RegisterValue::Integer(-1)).is_err());
    }

    #[test]
    fn integers_wrap_around_like_their_type() {
        let wrapped = |value_type, whole| format(value_type).wrap(whole);
        assert_eq!(wrapped(RegisterType::Short, 32_768), Number::Integer(-32_768));
        assert_eq!(wrapped(RegisterType::Ushort, 65_537), Number::Integer(1));
        assert_eq!(wrapped(RegisterType::Uint, -1), Number::Integer(0xFFFF_FFFF));
        assert_eq!(wrapped(RegisterType::Long, 1 << 63), Number::Integer(i64::MIN));
        assert_eq!(
            wrapped(RegisterType::Double, 1 << 63),
            Number::Float(9_223_372_036_854_775_808.0)
        );
    }
}
