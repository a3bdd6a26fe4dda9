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
    /// Where it listens; a free port of 127.0.0.1 unless given.
    pub listen: Option<Listen>,
    /// The names and addresses by which actions reach it.
    pub hosts: Option<Vec<Host>>,
    /// Its units, by unit id.
    pub units: Option<BTreeMap<UnitId, Unit>>,
    /// How long a healthy reply takes; 0 unless given.
    pub latency: Option<DurationText>,
    /// What a request to a unit that is not there gets; silence unless given.
    pub unknown_unit: Option<UnknownUnit>,
    /// Connections it serves at once; 32 unless given.
    #[schemars(range(min = 1, max = 1024))]
    pub max_connections: Option<u32>,
    /// The real time after which it closes an idle connection; 5m unless given.
    pub idle: Option<DurationText>,
}

/// What a request to a unit that is not there gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnknownUnit {
    /// No answer, as on a bus.
    Silence,
    /// This exception; a gateway gives 10 or 11.
    Exception(#[schemars(range(min = 1, max = 11))] u8),
}

/// What answers under one unit id. What is not listed is no address.
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
    /// One of them, or a range.
    pub address: RangeText,
    /// A name for people.
    pub name: Option<PlainText>,
    /// What they are at the start, all alike; false unless given.
    pub value: Option<bool>,
    /// Whether a client's write is refused (coils); false unless given.
    pub read_only: Option<bool>,
    /// The exception a refused write gets, which makes them read-only; 2 unless given.
    #[schemars(range(min = 1, max = 11))]
    pub write_exception: Option<u8>,
}

/// A value in one or more registers. Where it comes from is `value` (stored; 0 unless given) or one
/// of `ramp`, `sine`, `counter`, `random_walk` and `uptime` (computed from the clock).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Register {
    /// Its first register; a range is filled with values of this kind.
    pub address: RangeText,
    /// How many values of this kind stand one after another; 1 unless given.
    #[schemars(range(min = 1))]
    pub count: Option<u16>,
    /// A name for people.
    pub name: Option<PlainText>,
    /// How the registers are to be read; ushort unless given.
    pub r#type: Option<ValueType>,
    /// How many registers a hex or string value takes; as many as its value needs unless given.
    #[schemars(range(min = 1, max = 125))]
    pub words: Option<u16>,
    /// Which word comes first; msw unless given.
    pub word_order: Option<WordOrder>,
    /// Which byte of a word comes first; big unless given.
    pub byte_order: Option<ByteOrder>,
    /// What it is at the start. Hexadecimal digits for hex, in quotes.
    pub value: Option<RegisterValue>,
    /// A value that goes from one number to another.
    pub ramp: Option<Ramp>,
    /// A value that swings.
    pub sine: Option<Sine>,
    /// A value that grows by steps.
    pub counter: Option<Counter>,
    /// A value that wanders.
    pub random_walk: Option<RandomWalk>,
    /// Whether it counts the seconds since the start.
    pub uptime: Option<bool>,
    /// Whether a client's write is refused (holding registers); computed values always refuse it.
    pub read_only: Option<bool>,
    /// The exception a refused write gets, which makes it read-only; 2 unless given.
    #[schemars(range(min = 1, max = 11))]
    pub write_exception: Option<u8>,
    /// The smallest number a client may write; below is exception 3.
    pub min: Option<f64>,
    /// The largest number a client may write; above is exception 3.
    pub max: Option<f64>,
    /// What a client's write sets off.
    pub on_write: Option<Vec<OnWrite>>,
}

/// How registers are to be read.
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

/// Which word of a value comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WordOrder {
    /// The most significant.
    Msw,
    /// The least significant.
    Lsw,
}

/// Which byte of a word comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ByteOrder {
    /// The high one, as Modbus has it.
    Big,
    /// The low one.
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

/// From one number to another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ramp {
    /// The number at the start.
    pub from: f64,
    /// The number at the end.
    pub to: f64,
    /// How long it takes.
    pub over: DurationText,
    /// Whether it begins anew then; false unless given, and it stays at the end.
    pub repeat: Option<bool>,
}

/// Up and down: mean + amplitude · sin(2π · (t + phase) / period).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sine {
    /// The middle.
    pub mean: f64,
    /// The largest distance from it.
    pub amplitude: f64,
    /// One round.
    pub period: DurationText,
    /// How far into the round it starts; 0 unless given.
    pub phase: Option<DurationText>,
}

/// Steps at regular times; wraps as the register does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Counter {
    /// The number at the start; 0 unless given.
    pub start: Option<f64>,
    /// What is added each time; 1 unless given.
    pub step: Option<f64>,
    /// How often.
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
    /// How often it steps.
    pub every: DurationText,
    /// The lower bound.
    pub min: f64,
    /// The upper bound.
    pub max: f64,
}

/// What a write sets off: after a time, another register of the same unit takes a value (`set` with
/// `value`), takes the value written (`copy`), or moves towards it (`ramp` with `per_second`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OnWrite {
    /// How long after the write; 0 unless given.
    pub after: Option<DurationText>,
    /// The register that takes `value`.
    pub set: Option<StoredRegister>,
    /// The register that takes what was written.
    pub copy: Option<StoredRegister>,
    /// The register that moves to what was written, by `per_second`.
    pub ramp: Option<StoredRegister>,
    /// What `set` sets.
    pub value: Option<RegisterValue>,
    /// How far `ramp` moves in a second.
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
