//! The kit for scalars with a form of their own.
//!
//! Such a scalar is parsed by `FromStr` from the text as it stands in the file, whatever type YAML
//! gives it (an id that has digits only is a number in YAML). Its error text says what to write
//! instead. Its schema carries `x-scalar`, by which the structural check finds the parser.

use std::fmt;
use std::str::FromStr;

use serde::de::Visitor;
use serde::{Deserializer, Serializer};

/// Implements serde and `JsonSchema` for a type that is parsed by `FromStr` and written by `Display`.
macro_rules! scalar {
    // A scalar that is a number if it is written as one.
    (number $type:ident, $name:literal, $description:literal, $schema:tt) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $crate::notation::scalar::serialize_number(self, serializer)
            }
        }

        $crate::notation::scalar::scalar!(read $type, $name, $description, $schema);
    };
    (read $type:ident, $name:literal, $description:literal, $schema:tt) => {
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::notation::scalar::deserialize_scalar(deserializer)
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let mut schema = schemars::json_schema!($schema);
                schema.insert("description".into(), $description.into());
                schema.insert("x-scalar".into(), $name.into());
                schema
            }
        }
    };
    // A text, even if it has only digits: an id `1` is written `"1"`.
    ($type:ident, $name:literal, $description:literal, $schema:tt) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        $crate::notation::scalar::scalar!(read $type, $name, $description, $schema);
    };
}

pub(crate) use scalar;

/// An error of parsing a scalar: the text, and what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ScalarError(String);

impl ScalarError {
    /// Creates an error with this message.
    pub(crate) fn new(message: impl fmt::Display) -> Self {
        Self(message.to_string())
    }
}

/// Formats a [`ScalarError`].
macro_rules! scalar_error {
    ($($argument:tt)*) => {
        $crate::notation::ScalarError::new(format_args!($($argument)*))
    };
}

pub(crate) use scalar_error;

/// Writes a whole number as a number and everything else as text.
pub(crate) fn serialize_number<S: Serializer>(
    value: &impl fmt::Display,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let text = value.to_string();
    match text.parse::<u64>() {
        // Only if the number is written the same way: `007` and `+7` are texts.
        Ok(number) if number.to_string() == text => serializer.serialize_u64(number),
        _ => serializer.serialize_str(&text),
    }
}

/// Parses a scalar from any YAML or JSON scalar.
pub(crate) fn deserialize_scalar<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    deserializer.deserialize_any(ScalarVisitor(std::marker::PhantomData))
}

struct ScalarVisitor<T>(std::marker::PhantomData<T>);

impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for ScalarVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a word or a number")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_bool<E: serde::de::Error>(self, flag: bool) -> Result<T, E> {
        self.visit_str(&flag.to_string())
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
}
