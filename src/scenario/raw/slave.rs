//! Modbus slaves and their registers.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{DurationText, Host, Listen, PlainText, RangeText, UnitId};

/// A Modbus TCP slave: one listener with one or more units behind it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Slave {
    /// The address of the slave; a free port of 127.0.0.1 unless given.
    pub listen: Option<Listen>,
    /// The names and addresses by which actions reach it.
    pub hosts: Option<Vec<Host>>,
    /// The units, by unit id.
    pub units: Option<BTreeMap<UnitId, Unit>>,
    /// The time that a reply takes without a fault; 0 unless given.
    pub latency: Option<DurationText>,
    /// The reply to a request for an unknown unit; silence unless given.
    pub unknown_unit: Option<UnknownUnit>,
    /// The maximum number of connections; 32 unless given.
    #[schemars(range(min = 1, max = 1024))]
    pub max_connections: Option<u32>,
    /// The real time after which it closes an idle connection; 5m unless given.
    pub idle: Option<DurationText>,
}

/// The reply to a request for an unknown unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnknownUnit {
    /// No reply, as on a bus.
    Silence,
    /// This exception; gateways send 10 or 11.
    Exception(#[schemars(range(min = 1, max = 11))] u8),
}

/// The registers and bits of one unit id. Addresses that are not listed do not exist.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Unit {
    /// Coils: bits that clients read and write (functions 1, 5, 15).
    pub coils: Option<Vec<Bits>>,
    /// Discrete inputs: bits that clients read (function 2).
    pub discrete: Option<Vec<Bits>>,
    /// Holding registers, which clients read and write (functions 3, 6, 16, 22, 23).
    pub holding: Option<Vec<Register>>,
    /// Input registers, which clients read (function 4).
    pub input: Option<Vec<Register>>,
}

/// Coils or discrete inputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bits {
    /// One address, or a range.
    pub address: RangeText,
    /// A name for people.
    pub name: Option<PlainText>,
    /// The value of all of them at the start; false unless given.
    pub value: Option<bool>,
    /// True if writes of clients are refused (coils); false unless given.
    pub read_only: Option<bool>,
    /// The exception for a refused write; makes them read-only; 2 unless given.
    #[schemars(range(min = 1, max = 11))]
    pub write_exception: Option<u8>,
}

/// A value in one or more registers. It comes from `value` (stored; 0 unless given) or from one of `ramp`,
/// `sine`, `counter`, `random_walk` and `uptime` (computed from the clock).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Register {
    /// The first register; a range is filled with values of this kind.
    pub address: RangeText,
    /// The number of values of this kind, one after another; 1 unless given.
    #[schemars(range(min = 1, max = 65536))]
    pub count: Option<u32>,
    /// A name for people.
    pub name: Option<PlainText>,
    /// The type of the value; ushort unless given.
    pub r#type: Option<ValueType>,
    /// The number of registers of a hex or string value; as many as its value needs unless given.
    #[schemars(range(min = 1, max = 125))]
    pub words: Option<u16>,
    /// The word that comes first; msw unless given.
    pub word_order: Option<WordOrder>,
    /// The byte of a word that comes first; big unless given.
    pub byte_order: Option<ByteOrder>,
    /// The value at the start. Hexadecimal digits for hex, in quotes.
    pub value: Option<RegisterValue>,
    /// A value that goes from one number to another.
    pub ramp: Option<Ramp>,
    /// A value that oscillates.
    pub sine: Option<Sine>,
    /// A value that grows in steps.
    pub counter: Option<Counter>,
    /// A value that changes by random steps.
    pub random_walk: Option<RandomWalk>,
    /// True for a value that counts the seconds since the start.
    pub uptime: Option<bool>,
    /// True if writes of clients are refused (holding registers); computed values always refuse them.
    pub read_only: Option<bool>,
    /// The exception for a refused write; makes it read-only; 2 unless given.
    #[schemars(range(min = 1, max = 11))]
    pub write_exception: Option<u8>,
    /// The smallest number a client may write; below is exception 3.
    pub min: Option<f64>,
    /// The largest number a client may write; above is exception 3.
    pub max: Option<f64>,
    /// The reactions to a client's write.
    pub on_write: Option<Vec<OnWrite>>,
}

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ValueType {
    /// Raw bytes, two a register.
    Hex,
    /// Signed, 1 register.
    Short,
    /// Unsigned, 1 register.
    Ushort,
    /// Signed, 2 registers.
    Int,
    /// Unsigned, 2 registers.
    Uint,
    /// Signed, 4 registers.
    Long,
    /// IEEE 754 single, 2 registers.
    Float,
    /// IEEE 754 double, 4 registers.
    Double,
    /// Text, two bytes a register.
    String,
}

/// The order of the words of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WordOrder {
    /// The most significant word first.
    Msw,
    /// The least significant word first.
    Lsw,
}

/// The order of the bytes of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ByteOrder {
    /// The high byte first, as in Modbus.
    Big,
    /// The low byte first.
    Little,
}

/// A register's value: a number, or text.
#[derive(Debug, Clone, PartialEq)]
pub enum RegisterValue {
    /// A whole number.
    Integer(i64),
    /// Any number.
    Number(f64),
    /// Text, or hexadecimal digits.
    Text(String),
}

impl Serialize for RegisterValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Integer(number) => serializer.serialize_i64(*number),
            Self::Number(number) => serializer.serialize_f64(*number),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for RegisterValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RegisterValueVisitor)
    }
}

struct RegisterValueVisitor;

impl Visitor<'_> for RegisterValueVisitor {
    type Value = RegisterValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or text")
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<RegisterValue, E> {
        Ok(RegisterValue::Integer(number))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<RegisterValue, E> {
        i64::try_from(number).map(RegisterValue::Integer).map_err(|_| {
            E::custom(format!("{number} is larger than any register value, {}", i64::MAX))
        })
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<RegisterValue, E> {
        Ok(RegisterValue::Number(number))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<RegisterValue, E> {
        Ok(RegisterValue::Text(text.to_owned()))
    }
}

impl JsonSchema for RegisterValue {
    fn schema_name() -> Cow<'static, str> {
        "RegisterValue".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number, or text for string and hex.",
            "type": ["number", "string"],
        })
    }
}

/// A line from one number to another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ramp {
    /// The number at the start.
    pub from: f64,
    /// The number at the end.
    pub to: f64,
    /// The time from start to end.
    pub over: DurationText,
    /// True if it begins anew at the end; false unless given, and it stays there.
    pub repeat: Option<bool>,
}

/// A sine wave: mean + amplitude · sin(2π · (t + phase) / period).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sine {
    /// The mean value.
    pub mean: f64,
    /// The largest distance from the mean.
    pub amplitude: f64,
    /// The time of one oscillation.
    pub period: DurationText,
    /// The time into the oscillation at which it starts; 0 unless given.
    pub phase: Option<DurationText>,
}

/// Steps at regular intervals; wraps at the limits of the register.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Counter {
    /// The number at the start; 0 unless given.
    pub start: Option<f64>,
    /// The number that is added at each step; 1 unless given.
    pub step: Option<f64>,
    /// The time between two steps.
    pub every: DurationText,
}

/// Random steps, reflected at the bounds; the same at the same time with the same seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RandomWalk {
    /// The number at the start.
    pub start: f64,
    /// The standard deviation of one step.
    pub step: f64,
    /// The time between two steps.
    pub every: DurationText,
    /// The lower bound.
    pub min: f64,
    /// The upper bound.
    pub max: f64,
}

/// A reaction to a write: after a time, another register of the same unit takes a value (`set` with
/// `value`), takes the value written (`copy`), or moves towards it (`ramp` with `per_second`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OnWrite {
    /// The time between the write and the reaction; 0 unless given.
    pub after: Option<DurationText>,
    /// The register that takes `value`.
    pub set: Option<StoredRegister>,
    /// The register that takes the written value.
    pub copy: Option<StoredRegister>,
    /// The register that moves to the written value, by `per_second`.
    pub ramp: Option<StoredRegister>,
    /// The value for `set`.
    pub value: Option<RegisterValue>,
    /// The distance that `ramp` moves in a second.
    pub per_second: Option<f64>,
}

/// A register with a `value` of its own; exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StoredRegister {
    /// A holding register, by its first address.
    Holding(u16),
    /// An input register, by its first address.
    Input(u16),
}
