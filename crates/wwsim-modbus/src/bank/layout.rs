//! The layout of a register bank: the domain types that the scenario is decoded into and that
//! [`super::Bank::new`] validates.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// The four tables of the Modbus data model (Application Protocol V1.1b3, §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Single bits that clients read and write.
    Coils,
    /// Single bits that clients only read.
    DiscreteInputs,
    /// 16-bit words that clients read and write.
    HoldingRegisters,
    /// 16-bit words that clients only read.
    InputRegisters,
}

impl Table {
    /// Returns the name in scenarios, in the control API and in the journal.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Coils => "coils",
            Self::DiscreteInputs => "discrete",
            Self::HoldingRegisters => "holding",
            Self::InputRegisters => "input",
        }
    }

    /// Returns true if the table holds bits.
    #[must_use]
    pub const fn is_bits(self) -> bool {
        matches!(self, Self::Coils | Self::DiscreteInputs)
    }
}

/// The layout of one unit of a slave.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UnitLayout {
    /// Coils.
    pub coils: Vec<BitRange>,
    /// Discrete inputs.
    pub discrete: Vec<BitRange>,
    /// Holding registers.
    pub holding: Vec<Register>,
    /// Input registers.
    pub input: Vec<Register>,
}

impl UnitLayout {
    /// Returns a layout without registers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a holding register.
    #[must_use]
    pub fn with_holding(mut self, register: Register) -> Self {
        self.holding.push(register);
        self
    }

    /// Adds an input register.
    #[must_use]
    pub fn with_input(mut self, register: Register) -> Self {
        self.input.push(register);
        self
    }

    /// Adds coils.
    #[must_use]
    pub fn with_coils(mut self, addresses: RangeInclusive<u16>, value: bool) -> Self {
        self.coils.push(BitRange::new(addresses, value));
        self
    }

    /// Adds discrete inputs.
    #[must_use]
    pub fn with_discrete_inputs(mut self, addresses: RangeInclusive<u16>, value: bool) -> Self {
        self.discrete.push(BitRange::new(addresses, value));
        self
    }
}

/// A range of bits with one value at the start.
#[derive(Debug, Clone, PartialEq)]
pub struct BitRange {
    /// The addresses.
    pub addresses: RangeInclusive<u16>,
    /// A name for readers.
    pub name: Option<String>,
    /// The value of all bits at the start.
    pub value: bool,
    /// The access of clients. It matters for coils only.
    pub access: RegisterAccess,
}

impl BitRange {
    /// Returns bits that clients may write, if they are coils.
    #[must_use]
    pub fn new(addresses: RangeInclusive<u16>, value: bool) -> Self {
        Self { addresses, name: None, value, access: RegisterAccess::default() }
    }
}

/// A register value: `value_type.words()` registers from `address` on, repeated `count` times, one
/// after another.
#[derive(Debug, Clone, PartialEq)]
pub struct Register {
    /// The address of the first register.
    pub address: u16,
    /// The number of values of this kind one after another, 1 to 65536.
    pub count: u32,
    /// A name for readers.
    pub name: Option<String>,
    /// The type of the value.
    pub value_type: RegisterType,
    /// The order of the words.
    pub word_order: WordOrder,
    /// The order of the bytes in a word.
    pub byte_order: ByteOrder,
    /// The source of the value.
    pub source: RegisterSource,
    /// The access of clients. A computed register can never be written: exception 2, or the one
    /// given here.
    pub access: RegisterAccess,
    /// The numbers that a client may write; another value is exception 3. A write to a part of a
    /// value is checked by the value that would result.
    pub limits: Option<RangeInclusive<f64>>,
    /// The reactions to a client's write, once for each value that it touches.
    pub reactions: Vec<Reaction>,
}

impl Register {
    /// Returns a register that stores what is written to it, with `value` at the start.
    ///
    /// ```
    /// use wwsim_modbus::bank::{Register, RegisterType};
    ///
    /// let setpoint = Register::stored(10, RegisterType::Float, 21.5);
    /// let name = Register::stored(100, RegisterType::String { words: 8 }, "heat pump");
    /// assert_eq!(setpoint.value_type.words(), 2);
    /// # let _ = name;
    /// ```
    #[must_use]
    pub fn stored(address: u16, value_type: RegisterType, value: impl Into<RegisterValue>) -> Self {
        Self::new(address, value_type, RegisterSource::Stored(value.into()))
    }

    /// Returns a register whose value is a function of the clock. Clients cannot write it.
    #[must_use]
    pub fn computed(address: u16, value_type: RegisterType, computed: Computed) -> Self {
        Self::new(address, value_type, RegisterSource::Computed(computed))
    }

    /// Returns one value with this source: the high word and the high byte first, without limits.
    #[must_use]
    pub fn new(address: u16, value_type: RegisterType, source: RegisterSource) -> Self {
        Self {
            address,
            count: 1,
            name: None,
            value_type,
            word_order: WordOrder::default(),
            byte_order: ByteOrder::default(),
            source,
            access: RegisterAccess::default(),
            limits: None,
            reactions: Vec::new(),
        }
    }
}

/// The type of a value in registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RegisterType {
    /// Raw bytes, two in a word.
    Hex {
        /// The number of registers.
        words: u16,
    },
    /// A signed integer in 1 register.
    Short,
    /// An unsigned integer in 1 register.
    Ushort,
    /// A signed integer in 2 registers.
    Int,
    /// An unsigned integer in 2 registers.
    Uint,
    /// A signed integer in 4 registers.
    Long,
    /// IEEE 754 single, 2 registers.
    Float,
    /// IEEE 754 double, 4 registers.
    Double,
    /// UTF-8 text, two bytes in a word, with zeros at the end.
    String {
        /// The number of registers.
        words: u16,
    },
}

impl RegisterType {
    /// Returns the number of registers that a value occupies.
    #[must_use]
    pub const fn words(self) -> u16 {
        match self {
            Self::Short | Self::Ushort => 1,
            Self::Int | Self::Uint | Self::Float => 2,
            Self::Long | Self::Double => 4,
            Self::Hex { words } | Self::String { words } => words,
        }
    }

    /// Returns the name in scenarios and messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hex { .. } => "hex",
            Self::Short => "short",
            Self::Ushort => "ushort",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Long => "long",
            Self::Float => "float",
            Self::Double => "double",
            Self::String { .. } => "string",
        }
    }
}

impl fmt::Display for RegisterType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The order of the words of a number. Raw bytes and text run from the first register to the last
/// in either order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum WordOrder {
    /// The most significant word first.
    #[default]
    Msw,
    /// The least significant word first.
    Lsw,
}

/// The order of the bytes in a word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum ByteOrder {
    /// The high byte first, as Modbus specifies.
    #[default]
    Big,
    /// The low byte first, as in some devices.
    Little,
}

/// A value as people write it.
#[derive(Debug, Clone, PartialEq)]
pub enum RegisterValue {
    /// An integer.
    Integer(i64),
    /// Any number.
    Number(f64),
    /// Text.
    Text(String),
    /// Raw bytes.
    Bytes(Vec<u8>),
}

impl From<i32> for RegisterValue {
    fn from(value: i32) -> Self {
        Self::Integer(value.into())
    }
}

impl From<i64> for RegisterValue {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<f64> for RegisterValue {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl From<&str> for RegisterValue {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<Vec<u8>> for RegisterValue {
    fn from(value: Vec<u8>) -> Self {
        Self::Bytes(value)
    }
}

/// The source of a register's value.
#[derive(Debug, Clone, PartialEq)]
pub enum RegisterSource {
    /// A stored value: this one at the start, then the value that was written.
    Stored(RegisterValue),
    /// A function of virtual time, independent of reads.
    Computed(Computed),
}

/// A value that depends on the clock.
#[derive(Debug, Clone, PartialEq)]
pub enum Computed {
    /// A ramp from `from` to `to` in `over`. It then repeats if `repeat` is set, otherwise it stays
    /// at `to`. A value beyond the range of the type becomes the nearest one in it.
    Ramp {
        /// The value at the start.
        from: f64,
        /// The value at the end.
        to: f64,
        /// The duration of the ramp.
        over: Duration,
        /// True if the ramp repeats.
        repeat: bool,
    },
    /// `mean + amplitude · sin(2π · (t + phase) / period)`.
    Sine {
        /// The mean value.
        mean: f64,
        /// The largest distance from the mean.
        amplitude: f64,
        /// The duration of one period.
        period: Duration,
        /// The time into the period at the start.
        phase: Duration,
    },
    /// `start + step · ⌊t / every⌋`, wrapping around in the integer types.
    Counter {
        /// The value at the start.
        start: f64,
        /// The increment.
        step: f64,
        /// The time between two steps.
        every: Duration,
    },
    /// A random walk: at regular intervals one step up or down, reflected at the bounds. A pure
    /// function of (seed, address, time). The most expensive value to read: two draws for each bit
    /// of the number of steps.
    RandomWalk {
        /// The value at the start.
        start: f64,
        /// The standard deviation of one step.
        step: f64,
        /// The time between two steps.
        every: Duration,
        /// The bounds.
        within: RangeInclusive<f64>,
    },
    /// Seconds since the start; whole seconds in the integer types.
    Uptime,
}

impl Computed {
    /// Returns the name in scenarios and messages.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Ramp { .. } => "ramp",
            Self::Sine { .. } => "sine",
            Self::Counter { .. } => "counter",
            Self::RandomWalk { .. } => "random_walk",
            Self::Uptime => "uptime",
        }
    }
}

/// The access of clients to a register.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum RegisterAccess {
    /// Writes are carried out.
    #[default]
    ReadWrite,
    /// Writes are refused with this exception; 2 (no such address for a write) unless the scenario
    /// gives another.
    ReadOnly {
        /// The exception code, 1..=11.
        exception: u8,
    },
}

impl RegisterAccess {
    /// Read only with exception 2, as if the register did not exist for writes.
    pub const READ_ONLY: Self = Self::ReadOnly { exception: 2 };
}

/// A reaction to a client's write to a register.
///
/// Each write has its own reactions at its own time: a further write before they are due does not
/// postpone them. A reaction causes no further reactions, and neither does a write by the control
/// plane. For a register with a `count`, the first value acts on the value at `address`,
/// the second on the one after it, and so on.
#[derive(Debug, Clone, PartialEq)]
pub struct Reaction {
    /// The time after the write.
    pub after: Duration,
    /// The table of the register that changes: holding or input registers.
    pub table: Table,
    /// The address of its first register, which must be a stored one.
    pub address: u16,
    /// The change of that register.
    pub change: ReactionChange,
}

/// The way in which a reaction changes a register. A number that does not fit its type becomes the
/// nearest one that does. The limits of the register bind clients only.
#[derive(Debug, Clone, PartialEq)]
pub enum ReactionChange {
    /// The register takes this value.
    Set(RegisterValue),
    /// The register takes the value that was written: numbers to numbers, text to text, bytes to
    /// bytes, cut or filled up with zeros.
    Copy,
    /// The register moves from its value to the value that was written (numbers only). A newer
    /// movement replaces one in progress and continues from the value reached. Any other write to
    /// the register ends the movement.
    RampToWritten {
        /// Units per second, above 0.
        per_second: f64,
    },
}
