//! The types of field values: parsing from JSON, comparison and clearing.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use serde_json::Value;

use super::Accessor;
use crate::decimal::Decimal;
use crate::device::config::MeterKey;
use crate::device::json;

/// The type of a field's value, and the access to the value in the object.
#[derive(Debug)]
pub enum FieldKind<T: 'static> {
    /// `true` or `false`.
    Bool(Accessor<T, bool>),
    /// A string.
    Text(Accessor<T, String>, TextRule),
    /// A string or `null`. Replies omit the field if it is `null`.
    OptionalText(Accessor<T, Option<String>>, TextRule),
    /// An integer.
    Int {
        /// Returns the value.
        get: fn(&T) -> i64,
        /// Sets the value.
        set: fn(&mut T, i64),
        /// The valid values.
        range: RangeInclusive<i64>,
    },
    /// A decimal number.
    Number {
        /// Returns the value.
        get: fn(&T) -> Decimal,
        /// Sets the value.
        set: fn(&mut T, Decimal),
        /// The valid values.
        range: RangeInclusive<f64>,
        /// The value must be a multiple of this; any number is valid if it is 0.
        step: f64,
        /// The number of decimal places that are stored.
        places: u8,
    },
    /// One of a fixed list of strings.
    Enum {
        /// Returns the string at an index; `None` after the last.
        name: fn(usize) -> Option<&'static str>,
        /// Returns the index of the value.
        get: fn(&T) -> usize,
        /// Sets the value by its index.
        set: fn(&mut T, usize),
    },
    /// An IPv4 address.
    Address(Accessor<T, Ipv4Addr>),
    /// A key of 32 hexadecimal digits. Zeros clear the key; an empty string leaves it unchanged.
    Key(Accessor<T, Option<MeterKey>>),
    /// A fixed string, the only valid value.
    Constant(&'static str),
    /// The length of a secret, which only replies contain; omitted if it is `None`.
    Length(fn(&T) -> Option<usize>),
}

/// The requirements on a string.
#[derive(Debug)]
pub struct TextRule {
    /// The valid lengths.
    pub length: RangeInclusive<usize>,
    /// The unit of the length.
    pub unit: LengthUnit,
    /// A further check, whose error message says what was expected.
    pub(super) check: fn(&str) -> Result<(), String>,
    /// The further check in words, for schema and documentation; empty if there is none.
    pub expected: &'static str,
    /// The further check as a regular expression of JSON Schema; empty if it has none.
    pub pattern: &'static str,
}

/// The unit of a string's length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LengthUnit {
    /// Unicode scalar values.
    Characters,
    /// Bytes of UTF-8.
    Bytes,
}

impl TextRule {
    /// Accepts any string of at most `max` characters.
    #[must_use]
    pub const fn max_chars(max: usize) -> Self {
        Self {
            length: 0..=max,
            unit: LengthUnit::Characters,
            check: |_| Ok(()),
            expected: "",
            pattern: "",
        }
    }

    /// Accepts any string of at most `max` bytes.
    #[must_use]
    pub const fn max_bytes(max: usize) -> Self {
        Self { unit: LengthUnit::Bytes, ..Self::max_chars(max) }
    }

    /// Adds a further check, which `expected` describes.
    #[must_use]
    pub(crate) const fn with_check(
        mut self,
        check: fn(&str) -> Result<(), String>,
        expected: &'static str,
    ) -> Self {
        self.check = check;
        self.expected = expected;
        self
    }

    /// Adds a regular expression for the schema that is equivalent to the further check.
    #[must_use]
    pub(crate) const fn with_pattern(mut self, pattern: &'static str) -> Self {
        self.pattern = pattern;
        self
    }

    /// Checks `text` against the rule.
    fn validate(&self, text: &str) -> Result<(), String> {
        match self.unit {
            LengthUnit::Characters => json::check_length(text, &self.length)?,
            LengthUnit::Bytes => json::check_bytes(text, &self.length)?,
        }
        (self.check)(text)
    }
}

impl<T> FieldKind<T> {
    /// Returns `true` if only replies contain the field.
    pub(super) fn is_read_only(&self) -> bool {
        matches!(self, Self::Length(_))
    }

    /// Parses a JSON value and sets the field to it.
    pub(super) fn set_from_json(&self, object: &mut T, value: &Value) -> Result<(), String> {
        match self {
            Self::Bool(accessor) => *(accessor.get_mut)(object) = json::boolean(value)?,
            Self::Text(accessor, rule) => {
                let text = json::string(value)?;
                rule.validate(text)?;
                text.clone_into((accessor.get_mut)(object));
            }
            Self::OptionalText(accessor, rule) => {
                let expected = || json::unexpected(value, "a string or null");
                let text = match value {
                    Value::Null => None,
                    _ => Some(value.as_str().ok_or_else(expected)?),
                };
                text.map_or(Ok(()), |text| rule.validate(text))?;
                *(accessor.get_mut)(object) = text.map(str::to_owned);
            }
            Self::Int { set, range, .. } => set(object, json::integer(value, range.clone())?),
            Self::Number { set, range, step, places, .. } => {
                set(object, number(value, range, *step, *places)?);
            }
            Self::Enum { name, set, .. } => {
                let names: Vec<_> =
                    enum_names(*name).enumerate().map(|(index, name)| (name, index)).collect();
                set(object, json::word(value, &names)?);
            }
            Self::Address(accessor) => *(accessor.get_mut)(object) = address(value)?,
            Self::Key(accessor) => *(accessor.get_mut)(object) = key(value)?,
            Self::Constant(text) => json::word(value, &[(text, ())])?,
            Self::Length(_) => {}
        }
        Ok(())
    }

    /// Copies the field from `other`.
    pub(super) fn copy_from(&self, object: &mut T, other: &T) {
        match self {
            Self::Bool(accessor) => *(accessor.get_mut)(object) = *(accessor.get)(other),
            Self::Text(accessor, _) => (accessor.get)(other).clone_into((accessor.get_mut)(object)),
            Self::OptionalText(accessor, _) => {
                (accessor.get_mut)(object).clone_from((accessor.get)(other));
            }
            Self::Int { get, set, .. } => set(object, get(other)),
            Self::Number { get, set, .. } => set(object, get(other)),
            Self::Enum { get, set, .. } => set(object, get(other)),
            Self::Address(accessor) => *(accessor.get_mut)(object) = *(accessor.get)(other),
            Self::Key(accessor) => *(accessor.get_mut)(object) = *(accessor.get)(other),
            Self::Constant(_) | Self::Length(_) => {}
        }
    }

    /// Sets the field to zero, empty or false. Returns `false` if its range excludes that, and then
    /// leaves the field unchanged.
    pub(super) fn clear(&self, object: &mut T) -> bool {
        match self {
            Self::Bool(accessor) => *(accessor.get_mut)(object) = false,
            Self::Text(accessor, rule) if rule.validate("").is_ok() => {
                (accessor.get_mut)(object).clear();
            }
            Self::OptionalText(accessor, _) => *(accessor.get_mut)(object) = None,
            Self::Int { set, range, .. } if range.contains(&0) => set(object, 0),
            Self::Number { set, range, .. } if range.contains(&0.0) => set(object, Decimal::ZERO),
            Self::Address(accessor) => *(accessor.get_mut)(object) = Ipv4Addr::UNSPECIFIED,
            Self::Key(accessor) => *(accessor.get_mut)(object) = None,
            Self::Constant(_) | Self::Length(_) => {}
            Self::Text(..) | Self::Int { .. } | Self::Number { .. } | Self::Enum { .. } => {
                return false;
            }
        }
        true
    }

    /// Returns `true` if the field has the same value in both objects.
    pub(super) fn is_equal(&self, one: &T, other: &T) -> bool {
        match self {
            Self::Bool(accessor) => (accessor.get)(one) == (accessor.get)(other),
            Self::Text(accessor, _) => (accessor.get)(one) == (accessor.get)(other),
            Self::OptionalText(accessor, _) => (accessor.get)(one) == (accessor.get)(other),
            Self::Int { get, .. } => get(one) == get(other),
            Self::Number { get, .. } => get(one) == get(other),
            Self::Enum { get, .. } => get(one) == get(other),
            Self::Address(accessor) => (accessor.get)(one) == (accessor.get)(other),
            Self::Key(accessor) => (accessor.get)(one) == (accessor.get)(other),
            Self::Constant(_) | Self::Length(_) => true,
        }
    }
}

/// Returns the strings of a [`FieldKind::Enum`].
pub(super) fn enum_names(
    name: fn(usize) -> Option<&'static str>,
) -> impl Iterator<Item = &'static str> {
    (0..).map_while(name)
}

fn number(
    value: &Value,
    range: &RangeInclusive<f64>,
    step: f64,
    places: u8,
) -> Result<Decimal, String> {
    let (min, max) = (range.start(), range.end());
    let steps = if step > 0.0 { format!(" in steps of {step}") } else { String::new() };
    let expected = format!("a number from {min} to {max}{steps}");
    let number = value.as_f64().ok_or_else(|| json::unexpected(value, &expected))?;
    let on_step = step <= 0.0 || (number / step).fract() == 0.0;
    if range.contains(&number) && on_step {
        Ok(Decimal::from_f64(number, places))
    } else {
        Err(format!("{value}: expected {expected}"))
    }
}

fn address(value: &Value) -> Result<Ipv4Addr, String> {
    const EXPECTED: &str = "an IPv4 address, as 192.168.1.20";
    let text = value.as_str().ok_or_else(|| json::unexpected(value, EXPECTED))?;
    text.parse().map_err(|_| format!("`{}`: expected {EXPECTED}", json::shortened(text)))
}

/// Parses a key. The error does not contain the text, which may be a secret.
fn key(value: &Value) -> Result<Option<MeterKey>, String> {
    const EXPECTED: &str = "32 hexadecimal digits; zeros clear the key";
    let text = value.as_str().ok_or_else(|| json::unexpected(value, EXPECTED))?;
    if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(format!("{} characters: expected {EXPECTED}", text.chars().count()));
    }
    let number = u128::from_str_radix(text, 16).map_err(|error| error.to_string())?;
    Ok((number != 0).then(|| MeterKey(number.to_be_bytes())))
}
