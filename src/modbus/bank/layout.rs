//! What a register bank is made of, before it runs: the domain types that the scenario is decoded
//! into and that [`super::Bank::new`] validates.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// The four tables of the Modbus data model (Application Protocol V1.1b3, §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Single bits, read and written (functions 1, 5, 15).
    Coils,
    /// Single bits, read only (function 2).
    DiscreteInputs,
    /// 16-bit words, read and written (functions 3, 6, 16, 22, 23).
    HoldingRegisters,
    /// 16-bit words, read only (function 4).
    InputRegisters,
}

impl Table {
    /// The name in scenarios, in the control API and in the journal.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Coils => "coils",
            Self::DiscreteInputs => "discrete",
            Self::HoldingRegisters => "holding",
            Self::InputRegisters => "input",
        }
    }

    /// Whether it holds bits.
    #[must_use]
    pub const fn is_bits(self) -> bool {
        matches!(self, Self::Coils | Self::DiscreteInputs)
    }
}

/// One unit of a slave: what answers under one unit id.
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

/// Bits that exist, from `addresses.start()` to `addresses.end()`.
#[derive(Debug, Clone, PartialEq)]
pub struct BitRange {
    /// Which ones.
    pub addresses: RangeInclusive<u16>,
    /// A name for people.
    pub name: Option<String>,
    /// Their values at the start, all alike.
    pub value: bool,
    /// Whether a client may write them (coils only).
    pub access: RegisterAccess,
}

/// A value in registers: `value_type.words()` of them from `address` on, and as many copies as
/// `count` says, one after another.
#[derive(Debug, Clone, PartialEq)]
pub struct Register {
    /// The first register.
    pub address: u16,
    /// How many values of this kind stand one after another, 1 or more.
    pub count: u16,
    /// A name for people.
    pub name: Option<String>,
    /// How the words are to be read.
    pub value_type: RegisterType,
    /// Which word comes first.
    pub word_order: WordOrder,
    /// Which byte of a word comes first.
    pub byte_order: ByteOrder,
    /// Where the value comes from.
    pub source: RegisterSource,
    /// Whether a client may write it. Computed ones never: exception 2, or the one given here.
    pub access: RegisterAccess,
    /// Values a client may write (numbers only); outside is exception 3. A write to a part of a value
    /// is judged by the value that would result.
    pub limits: Option<RangeInclusive<f64>>,
    /// What a client's write sets off, once for each value that it touches.
    pub reactions: Vec<Reaction>,
}

/// How words are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RegisterType {
    /// Raw bytes, two a word.
    Hex {
        /// How many registers.
        words: u16,
    },
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
    /// UTF-8 text, two bytes a word, zeros at the end.
    String {
        /// How many registers.
        words: u16,
    },
}

impl RegisterType {
    /// How many registers a value takes.
    #[must_use]
    pub const fn words(self) -> u16 {
        match self {
            Self::Short | Self::Ushort => 1,
            Self::Int | Self::Uint | Self::Float => 2,
            Self::Long | Self::Double => 4,
            Self::Hex { words } | Self::String { words } => words,
        }
    }

    /// The name in scenarios and messages.
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

/// Which word of a number comes first. Raw bytes and text run from the first register to the last in
/// either order (PEER-6).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum WordOrder {
    /// The most significant.
    #[default]
    Msw,
    /// The least significant.
    Lsw,
}

/// Which byte of a word comes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum ByteOrder {
    /// The high one, as Modbus has it.
    #[default]
    Big,
    /// The low one, as some devices have it.
    Little,
}

/// A value as people write it.
#[derive(Debug, Clone, PartialEq)]
pub enum RegisterValue {
    /// A whole number.
    Integer(i64),
    /// Any number.
    Number(f64),
    /// Text.
    Text(String),
    /// Raw bytes.
    Bytes(Vec<u8>),
}

/// Where a register's value comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum RegisterSource {
    /// Stored: this at the start, then what was written.
    Stored(RegisterValue),
    /// A function of virtual time, not of being read.
    Computed(Computed),
}

/// Values that follow the clock.
#[derive(Debug, Clone, PartialEq)]
pub enum Computed {
    /// From `from` to `to` in `over`, then again from the start where `repeat` is set, else at `to`.
    Ramp {
        /// The value at the start.
        from: f64,
        /// The value at the end.
        to: f64,
        /// How long it takes.
        over: Duration,
        /// Whether it begins anew.
        repeat: bool,
    },
    /// `mean + amplitude · sin(2π · (t + phase) / period)`.
    Sine {
        /// The middle.
        mean: f64,
        /// The largest distance from it.
        amplitude: f64,
        /// One round.
        period: Duration,
        /// How far into the round it starts.
        phase: Duration,
    },
    /// `start + step · ⌊t / every⌋`, going round as the integer types do.
    Counter {
        /// The value at the start.
        start: f64,
        /// What is added.
        step: f64,
        /// How often.
        every: Duration,
    },
    /// A random walk: every so often one step up or down, reflected at the bounds; a pure function
    /// of (seed, place, time). The dearest to read: two draws for each bit of the number of steps.
    RandomWalk {
        /// The value at the start.
        start: f64,
        /// The standard deviation of one step.
        step: f64,
        /// How often it steps.
        every: Duration,
        /// The bounds.
        within: RangeInclusive<f64>,
    },
    /// Seconds since the start; whole ones in the integer types.
    Uptime,
}

impl Computed {
    /// The name in scenarios and messages.
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

/// What a client's write gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum RegisterAccess {
    /// It is carried out.
    #[default]
    ReadWrite,
    /// It is refused with this exception; 2 (no such address for a write) unless the scenario says
    /// otherwise.
    ReadOnly {
        /// The exception code, 1..=11.
        exception: u8,
    },
}

impl RegisterAccess {
    /// Read only as a register that a write does not find.
    pub const READ_ONLY: Self = Self::ReadOnly { exception: 2 };
}

/// Something that follows a client's write to a register.
///
/// Each write has its own consequences at its own time: writing again before they come does not put
/// them off. They set off no further reactions, and neither does a write by the control plane
/// (PEER-7). Of a register with a `count`, the first value acts on the value at `address`, the
/// second on the one after it, and so on.
#[derive(Debug, Clone, PartialEq)]
pub struct Reaction {
    /// How long after the write.
    pub after: Duration,
    /// The table of the register that changes: holding or input registers.
    pub table: Table,
    /// Its first register, which must be a stored one.
    pub address: u16,
    /// What happens to it.
    pub change: ReactionChange,
}

/// How a reaction changes a register. Numbers that do not fit its type become the nearest that does;
/// its limits are for clients and do not bind here.
#[derive(Debug, Clone, PartialEq)]
pub enum ReactionChange {
    /// It takes this value.
    Set(RegisterValue),
    /// It takes the value that was written: numbers to numbers, text to text, bytes to bytes, cut or
    /// filled up with zeros.
    Copy,
    /// It moves from where it is to the value that was written (numbers only). A movement under way
    /// gives way to the newer one, which goes on from the value reached; any other write to the
    /// register ends it.
    RampToWritten {
        /// Units a second, above 0.
        per_second: f64,
    },
}
