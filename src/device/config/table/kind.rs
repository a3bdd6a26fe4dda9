//! What a field may hold: how it is read from JSON, compared, and set back to zero.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use serde_json::Value;

use super::Lens;
use crate::decimal::Decimal;
use crate::device::config::MeterKey;
use crate::device::json;

/// What a field holds, and where in the object it is.
#[derive(Debug)]
pub enum FieldKind<T: 'static> {
    /// `true` or `false`.
    Flag(Lens<T, bool>),
    /// A string.
    Text(Lens<T, String>, TextRule),
    /// A string, or `null` for none; not shown where there is none.
    OptionalText(Lens<T, Option<String>>, TextRule),
    /// A whole number.
    Whole {
        /// Reads it.
        get: fn(&T) -> i64,
        /// Writes it.
        set: fn(&mut T, i64),
        /// From where to where.
        range: RangeInclusive<i64>,
    },
    /// A number.
    Number {
        /// Reads it.
        get: fn(&T) -> Decimal,
        /// Writes it.
        set: fn(&mut T, Decimal),
        /// From where to where.
        range: RangeInclusive<f64>,
        /// It is a multiple of this.
        step: f64,
        /// Decimal places that are kept.
        places: u8,
    },
    /// One of some words.
    Word {
        /// The word at an index; none beyond the last.
        word: fn(usize) -> Option<&'static str>,
        /// The index of the one it is.
        get: fn(&T) -> usize,
        /// Sets it to the one at an index.
        set: fn(&mut T, usize),
    },
    /// An IPv4 address.
    Address(Lens<T, Ipv4Addr>),
    /// 32 hexadecimal digits; zeros clear it. An empty string is as if it were not named.
    Key(Lens<T, Option<MeterKey>>),
    /// The one word that there is.
    Constant(&'static str),
    /// The length of a secret, in replies only; not shown where none.
    Length(fn(&T) -> Option<usize>),
}

/// What a string must be like.
#[derive(Debug)]
pub struct TextRule {
    /// How long it is.
    pub length: RangeInclusive<usize>,
    /// What its length counts.
    pub unit: FieldUnit,
    /// What else holds; the message says what was expected.
    pub check: fn(&str) -> Result<(), String>,
    /// The same in words, for schema and documentation; empty where nothing else holds.
    pub expected: &'static str,
    /// The same as a regular expression of JSON Schema, where one can say it; empty where not.
    pub pattern: &'static str,
}

/// What a length counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldUnit {
    /// Unicode scalar values.
    Characters,
    /// Bytes of UTF-8.
    Bytes,
}

impl TextRule {
    /// Any string of at most so many characters.
    #[must_use]
    pub const fn up_to(most: usize) -> Self {
        Self {
            length: 0..=most,
            unit: FieldUnit::Characters,
            check: |_| Ok(()),
            expected: "",
            pattern: "",
        }
    }

    /// Any string of at most so many bytes.
    #[must_use]
    pub const fn up_to_bytes(most: usize) -> Self {
        Self { unit: FieldUnit::Bytes, ..Self::up_to(most) }
    }

    /// The same where also `check` holds, which `expected` puts in words.
    #[must_use]
    pub const fn that(
        mut self,
        check: fn(&str) -> Result<(), String>,
        expected: &'static str,
    ) -> Self {
        self.check = check;
        self.expected = expected;
        self
    }

    /// The same with a regular expression for the schema that says what `check` does.
    #[must_use]
    pub const fn matching(mut self, pattern: &'static str) -> Self {
        self.pattern = pattern;
        self
    }

    /// Whether `text` is like that.
    pub fn admits(&self, text: &str) -> Result<(), String> {
        match self.unit {
            FieldUnit::Characters => json::check_length(text, &self.length)?,
            FieldUnit::Bytes => json::check_bytes(text, &self.length)?,
        }
        (self.check)(text)
    }
}

impl<T> FieldKind<T> {
    /// Whether it is in replies only.
    pub(super) fn is_reply_only(&self) -> bool {
        matches!(self, Self::Length(_))
    }

    /// Sets it to what JSON says.
    pub(super) fn read(&self, object: &mut T, value: &Value) -> Result<(), String> {
        match self {
            Self::Flag(lens) => *(lens.get_mut)(object) = json::boolean(value)?,
            Self::Text(lens, rule) => {
                let text = json::string(value)?;
                rule.admits(text)?;
                text.clone_into((lens.get_mut)(object));
            }
            Self::OptionalText(lens, rule) => {
                let expected = || json::unexpected(value, "a string or null");
                let text = match value {
                    Value::Null => None,
                    _ => Some(value.as_str().ok_or_else(expected)?),
                };
                text.map_or(Ok(()), |text| rule.admits(text))?;
                *(lens.get_mut)(object) = text.map(str::to_owned);
            }
            Self::Whole { set, range, .. } => set(object, json::integer(value, range.clone())?),
            Self::Number { set, range, step, places, .. } => {
                set(object, number(value, range, *step, *places)?);
            }
            Self::Word { word, set, .. } => {
                let words: Vec<_> = words(*word).enumerate().map(|(at, word)| (word, at)).collect();
                set(object, json::word(value, &words)?);
            }
            Self::Address(lens) => *(lens.get_mut)(object) = address(value)?,
            Self::Key(lens) => *(lens.get_mut)(object) = key(value)?,
            Self::Constant(word) => json::word(value, &[(word, ())])?,
            Self::Length(_) => {}
        }
        Ok(())
    }

    /// Sets it to what it is in `other`.
    pub(super) fn copy(&self, object: &mut T, other: &T) {
        match self {
            Self::Flag(lens) => *(lens.get_mut)(object) = *(lens.get)(other),
            Self::Text(lens, _) => (lens.get)(other).clone_into((lens.get_mut)(object)),
            Self::OptionalText(lens, _) => {
                (lens.get_mut)(object).clone_from((lens.get)(other));
            }
            Self::Whole { get, set, .. } => set(object, get(other)),
            Self::Number { get, set, .. } => set(object, get(other)),
            Self::Word { get, set, .. } => set(object, get(other)),
            Self::Address(lens) => *(lens.get_mut)(object) = *(lens.get)(other),
            Self::Key(lens) => *(lens.get_mut)(object) = *(lens.get)(other),
            Self::Constant(_) | Self::Length(_) => {}
        }
    }

    /// Sets it to zero, empty or false; says whether its range allows that.
    pub(super) fn clear(&self, object: &mut T) -> bool {
        match self {
            Self::Flag(lens) => *(lens.get_mut)(object) = false,
            Self::Text(lens, rule) if rule.admits("").is_ok() => (lens.get_mut)(object).clear(),
            Self::OptionalText(lens, _) => *(lens.get_mut)(object) = None,
            Self::Whole { set, range, .. } if range.contains(&0) => set(object, 0),
            Self::Number { set, range, .. } if range.contains(&0.0) => set(object, Decimal::ZERO),
            Self::Address(lens) => *(lens.get_mut)(object) = Ipv4Addr::UNSPECIFIED,
            Self::Key(lens) => *(lens.get_mut)(object) = None,
            Self::Constant(_) | Self::Length(_) => {}
            Self::Text(..) | Self::Whole { .. } | Self::Number { .. } | Self::Word { .. } => {
                return false;
            }
        }
        true
    }

    /// Whether it is the same in both.
    pub(super) fn same(&self, one: &T, other: &T) -> bool {
        match self {
            Self::Flag(lens) => (lens.get)(one) == (lens.get)(other),
            Self::Text(lens, _) => (lens.get)(one) == (lens.get)(other),
            Self::OptionalText(lens, _) => (lens.get)(one) == (lens.get)(other),
            Self::Whole { get, .. } => get(one) == get(other),
            Self::Number { get, .. } => get(one) == get(other),
            Self::Word { get, .. } => get(one) == get(other),
            Self::Address(lens) => (lens.get)(one) == (lens.get)(other),
            Self::Key(lens) => (lens.get)(one) == (lens.get)(other),
            Self::Constant(_) | Self::Length(_) => true,
        }
    }
}

/// All words of a field of words.
pub(super) fn words(word: fn(usize) -> Option<&'static str>) -> impl Iterator<Item = &'static str> {
    (0..).map_while(word)
}

fn number(
    value: &Value,
    range: &RangeInclusive<f64>,
    step: f64,
    places: u8,
) -> Result<Decimal, String> {
    let (least, most) = (range.start(), range.end());
    let steps = if step > 0.0 { format!(" in steps of {step}") } else { String::new() };
    let expected = format!("a number from {least} to {most}{steps}");
    let given = value.as_f64().ok_or_else(|| json::unexpected(value, &expected))?;
    let on_step = step <= 0.0 || (given / step).fract() == 0.0;
    if range.contains(&given) && on_step {
        Ok(Decimal::from_f64(given, places))
    } else {
        Err(format!("{value}: expected {expected}"))
    }
}

fn address(value: &Value) -> Result<Ipv4Addr, String> {
    const EXPECTED: &str = "an IPv4 address, as 192.168.1.20";
    let text = value.as_str().ok_or_else(|| json::unexpected(value, EXPECTED))?;
    text.parse().map_err(|_| format!("`{}`: expected {EXPECTED}", json::shortened(text)))
}

/// A key; what a refusal says of it does not show it.
fn key(value: &Value) -> Result<Option<MeterKey>, String> {
    const EXPECTED: &str = "32 hexadecimal digits; zeros clear the key";
    let text = value.as_str().ok_or_else(|| json::unexpected(value, EXPECTED))?;
    if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(format!("{} characters: expected {EXPECTED}", text.chars().count()));
    }
    let number = u128::from_str_radix(text, 16).map_err(|error| error.to_string())?;
    Ok((number != 0).then(|| MeterKey(number.to_be_bytes())))
}
