//! Parsers of single JSON values from clients. Each returns the value, or a message that says what was
//! found and what was expected.
//!
//! Values are parsed as HTTP-10 says, in every object of the API.

use std::fmt::Display;
use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::notation::excerpt;

pub(crate) fn object(value: &Value) -> Result<&Map<String, Value>, String> {
    value.as_object().ok_or_else(|| unexpected(value, "an object"))
}

/// Returns a member, or the message that it is missing.
pub(crate) fn required<'a>(
    object: &'a Map<String, Value>,
    key: &str,
    expected: &str,
) -> Result<&'a Value, String> {
    object.get(key).ok_or_else(|| format!("missing: expected {expected}"))
}

pub(crate) fn array(value: &Value) -> Result<&Vec<Value>, String> {
    value.as_array().ok_or_else(|| unexpected(value, "an array"))
}

pub(crate) fn boolean(value: &Value) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| unexpected(value, "true or false"))
}

/// Parses a text of any length. The caller validates its content.
pub(crate) fn string(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| no_string(value))
}

/// Returns the message for a value that is not a text.
pub(crate) fn no_string(value: &Value) -> String {
    unexpected(value, "a string")
}

pub(crate) fn text(value: &Value, chars: RangeInclusive<usize>) -> Result<&str, String> {
    let text = string(value)?;
    check_length(text, &chars)?;
    Ok(text)
}

/// Checks the number of characters (Unicode scalar values) of a text.
pub(crate) fn check_length(text: &str, chars: &RangeInclusive<usize>) -> Result<(), String> {
    in_length(text.chars().count(), "characters", chars)
}

/// Checks the number of bytes of UTF-8 of a text.
pub(crate) fn check_bytes(text: &str, bytes: &RangeInclusive<usize>) -> Result<(), String> {
    in_length(text.len(), "bytes", bytes)
}

fn in_length(count: usize, unit: &str, range: &RangeInclusive<usize>) -> Result<(), String> {
    if range.contains(&count) {
        Ok(())
    } else {
        Err(format!("{count} {unit}: expected {} to {}", range.start(), range.end()))
    }
}

pub(crate) fn word<T: Copy>(value: &Value, words: &[(&str, T)]) -> Result<T, String> {
    let expected = || {
        let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        match words.split_last() {
            Some((last, [])) => (*last).to_owned(),
            Some((last, others)) => format!("{} or {last}", others.join(", ")),
            None => String::new(),
        }
    };
    let typed = value.as_str().ok_or_else(|| unexpected(value, &expected()))?;
    words
        .iter()
        .find_map(|(word, meaning)| (*word == typed).then_some(*meaning))
        .ok_or_else(|| format!("`{}`: expected {}", shortened(typed), expected()))
}

/// Parses a whole number; `5.0` is one.
pub(crate) fn integer<T: Copy + Display + PartialOrd + TryFrom<i64>>(
    value: &Value,
    range: RangeInclusive<T>,
) -> Result<T, String> {
    let expected = || format!("a whole number from {} to {}", range.start(), range.end());
    let Value::Number(number) = value else { return Err(unexpected(value, &expected())) };
    whole(number)
        .and_then(|number| T::try_from(number).ok())
        .filter(|number| range.contains(number))
        .ok_or_else(|| format!("{number}: expected {}", expected()))
}

/// Returns the value of a whole number. `None` if it is not whole, or larger than any field of the device
/// can hold.
pub(crate) fn whole(number: &serde_json::Number) -> Option<i64> {
    let integral = |number: f64| {
        let small = number.abs() <= f64::from(u32::MAX) && number.fract() == 0.0;
        #[expect(clippy::cast_possible_truncation, reason = "whole and below 2³²")]
        small.then_some(number as i64)
    };
    number.as_i64().or_else(|| integral(number.as_f64()?))
}

pub(crate) fn unexpected(value: &Value, expected: &str) -> String {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    format!("{kind}: expected {expected}")
}

/// Returns a value as a message quotes it: its first 40 characters.
pub(crate) fn shortened(value: &str) -> String {
    excerpt(value, 40)
}
