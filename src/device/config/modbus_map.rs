//! The register map of the device's own Modbus server, the object of `/api/v1/modbus`
//! (`docs/device/modbus.md`, `modbus_identifiers.csv`).
//!
//! A [`RegisterMap`] is checked and sorted by address once, when it is created. [`decode`] parses its
//! JSON form, [`listing`] writes it, [`factory`] is the map of a new device. The module
//! [`crate::device::registers`] computes the contents of the registers.

mod decode;
mod factory;
mod listing;

use std::fmt;
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use self::listing::{AddressFormat, Listing};
use crate::limits;
use crate::meter::Quantity;
use crate::problem::Problem;

/// A valid register map.
#[derive(Debug, Clone)]
pub struct RegisterMap {
    sets: Vec<RegisterSet>,
    /// The registers of all sets, by address.
    slots: Vec<RegisterSlot>,
}

/// A set of registers at consecutive addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterSet {
    /// The address of the first register, 0..=9998.
    pub start_address: u16,
    /// The order of the words of a number.
    pub word_order: MapWordOrder,
    /// The registers, in order.
    pub registers: Vec<MappedRegister>,
}

/// The order of the words of a number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MapWordOrder {
    /// `msw`: most significant word first.
    #[default]
    Msw,
    /// `lsw`: least significant word first.
    Lsw,
}

/// A value in the map, which occupies one or more 16-bit registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MappedRegister {
    /// The source of the value.
    pub id: RegisterId,
    /// The encoding of a number. Texts and dates have their own encoding.
    pub number: NumberType,
    /// The power of ten that a number is multiplied by, −6..=6.
    pub scaler: i8,
}

/// The encoding of a number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each is named as in the API")]
pub enum NumberType {
    Short,
    Int,
    Long,
    Float,
    #[default]
    Double,
}

/// The source of a register's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RegisterId {
    /// `0`: all bits zero.
    Zeros,
    /// `1`: all bits one.
    Ones,
    /// A quantity of the meter, by its OBIS code.
    Quantity(Quantity),
    /// `power.active`, `power.active.l1` …: import minus export of a phase; phase 0 is the total.
    ActivePower(u8),
    /// `power.reactive`, `power.reactive.l1` …: of a phase; phase 0 is the total.
    ReactivePower(u8),
    /// `current.l1` …: negative while the phase exports.
    Current(u8),
    /// `96.14.0`.
    Tariff,
    /// `conv_factor`.
    ConversionFactor,
    /// `report.date_time`.
    ReportDateTime,
    /// `report.timestamp`.
    ReportTimestamp,
    /// `96.1.0`, 24 bytes.
    MeterId,
    /// `96.1.1`, 24 bytes.
    MeterModel,
    /// `42.0.0`, 24 bytes.
    MeterType,
    /// `sys.id`, 6 bytes.
    SystemId,
    /// `sys.firmware`, 6 bytes.
    SystemFirmware,
    /// `sys.timestamp`.
    SystemTimestamp,
    /// `sys.date_time`.
    SystemDateTime,
}

/// A register with its address, its size and its word order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::device) struct RegisterSlot {
    pub address: u16,
    pub words: u16,
    pub order: MapWordOrder,
    pub register: MappedRegister,
}

/// Compares the sets, from which the slots follow.
impl PartialEq for RegisterMap {
    fn eq(&self, other: &Self) -> bool {
        self.sets == other.sets
    }
}

impl Eq for RegisterMap {}

/// Writes the sets.
impl Serialize for RegisterMap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.sets.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RegisterMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(Vec::deserialize(deserializer)?).map_err(|errors| {
            let error = errors.first().map_or_else(String::new, ToString::to_string);
            serde::de::Error::custom(error)
        })
    }
}

impl RegisterMap {
    /// Creates the map of these sets.
    ///
    /// # Errors
    /// All problems: a scaler out of its range, registers beyond the last address, or two registers
    /// at one address (MODBUS-4).
    pub fn new(sets: Vec<RegisterSet>) -> Result<Self, Vec<Problem>> {
        let mut errors = Vec::new();
        let mut slots = Vec::new();
        for (index, set) in sets.iter().enumerate() {
            let mut address = u32::from(set.start_address);
            for (position, register) in set.registers.iter().enumerate() {
                let field = || format!("[{index}].registers[{position}]");
                if !limits::MODBUS_SCALER.contains(&register.scaler) {
                    errors.push(Problem::new(
                        format!("{}.scaler", field()),
                        invalid_scaler(register.scaler),
                    ));
                }
                let words = register.words();
                let end = address + u32::from(words);
                let last = u32::from(*limits::MODBUS_ADDRESSES.end());
                match u16::try_from(address) {
                    Ok(address) if end <= last + 1 => {
                        let order = set.word_order;
                        let slot = RegisterSlot { address, words, order, register: *register };
                        slots.push((slot, index, position));
                    }
                    _ => {
                        let message = format!(
                            "it would stand at {address} to {}; the last address is {last}",
                            end - 1
                        );
                        errors.push(Problem::new(field(), message));
                        // The registers after this one lie even further beyond.
                        break;
                    }
                }
                address = end;
            }
            if !limits::MODBUS_ADDRESSES.contains(&set.start_address) {
                let message = invalid_address(set.start_address.into());
                errors.push(Problem::new(format!("[{index}].start_address"), message));
            }
        }
        // The sort is stable: of two registers at one address, the first in the sets stays first.
        slots.sort_by_key(|(slot, ..)| slot.address);
        errors.extend(overlaps(&slots));
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self { sets, slots: slots.into_iter().map(|(slot, ..)| slot).collect() })
    }

    /// Returns the map of a new device (`modbus_default_config.json`).
    #[must_use]
    pub fn factory() -> &'static Arc<Self> {
        static FACTORY: LazyLock<Arc<RegisterMap>> = LazyLock::new(|| {
            // A test proves that the sets are valid, so the empty map is never used.
            Arc::new(RegisterMap::new(factory::sets()).unwrap_or_else(|_| RegisterMap::empty()))
        });
        &FACTORY
    }

    const fn empty() -> Self {
        Self { sets: Vec::new(), slots: Vec::new() }
    }

    /// Returns the sets, in the order in which they were given.
    #[must_use]
    pub fn sets(&self) -> &[RegisterSet] {
        &self.sets
    }

    /// Returns the registers by address.
    pub(in crate::device) fn slots(&self) -> &[RegisterSlot] {
        &self.slots
    }
}

impl RegisterSet {
    /// Returns the number of 16-bit registers that the set occupies.
    #[must_use]
    pub fn words(&self) -> u32 {
        self.registers.iter().map(|register| u32::from(register.words())).sum()
    }
}

impl MappedRegister {
    /// Returns the number of 16-bit registers that the value occupies.
    #[must_use]
    pub const fn words(&self) -> u16 {
        match self.id.byte_len() {
            Some(len) => len / 2,
            None => self.number.words(),
        }
    }
}

impl NumberType {
    /// All variants with their names in the API.
    pub const NAMES: [(&'static str, Self); 5] = [
        ("double", Self::Double),
        ("float", Self::Float),
        ("long", Self::Long),
        ("int", Self::Int),
        ("short", Self::Short),
    ];

    /// Returns the name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::Int => "int",
            Self::Long => "long",
            Self::Float => "float",
            Self::Double => "double",
        }
    }

    /// Returns the number of 16-bit registers that the value occupies.
    #[must_use]
    pub const fn words(self) -> u16 {
        match self {
            Self::Short => 1,
            Self::Int | Self::Float => 2,
            Self::Long | Self::Double => 4,
        }
    }
}

impl MapWordOrder {
    /// Both variants with their names in the API.
    pub const NAMES: [(&'static str, Self); 2] = [("msw", Self::Msw), ("lsw", Self::Lsw)];

    /// Returns the name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Msw => "msw",
            Self::Lsw => "lsw",
        }
    }
}

/// The size of a meter's text, in bytes (`modbus_identifiers.csv`).
pub(in crate::device) const TEXT_BYTES: u16 = 24;

impl RegisterId {
    /// The ids that are not the OBIS code of a number.
    const NAMED: [(&'static str, Self); 24] = [
        ("0", Self::Zeros),
        ("1", Self::Ones),
        ("power.active", Self::ActivePower(0)),
        ("power.active.l1", Self::ActivePower(1)),
        ("power.active.l2", Self::ActivePower(2)),
        ("power.active.l3", Self::ActivePower(3)),
        ("power.reactive", Self::ReactivePower(0)),
        ("power.reactive.l1", Self::ReactivePower(1)),
        ("power.reactive.l2", Self::ReactivePower(2)),
        ("power.reactive.l3", Self::ReactivePower(3)),
        ("current.l1", Self::Current(1)),
        ("current.l2", Self::Current(2)),
        ("current.l3", Self::Current(3)),
        ("96.14.0", Self::Tariff),
        ("conv_factor", Self::ConversionFactor),
        ("report.date_time", Self::ReportDateTime),
        ("report.timestamp", Self::ReportTimestamp),
        ("96.1.0", Self::MeterId),
        ("96.1.1", Self::MeterModel),
        ("42.0.0", Self::MeterType),
        ("sys.id", Self::SystemId),
        ("sys.firmware", Self::SystemFirmware),
        ("sys.timestamp", Self::SystemTimestamp),
        ("sys.date_time", Self::SystemDateTime),
    ];

    /// Returns the id with this name; `None` if there is none.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let named = Self::NAMED.iter().find(|(other, _)| *other == name).map(|(_, id)| *id);
        named.or_else(|| Quantity::from_obis(name).map(Self::Quantity))
    }

    /// Returns the name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Quantity(quantity) => quantity.obis(),
            // A test proves that the table contains every other id.
            other => Self::NAMED.iter().find(|(_, id)| *id == other).map_or("0", |(name, _)| name),
        }
    }

    /// Returns all names.
    pub fn names() -> impl Iterator<Item = &'static str> {
        let named = Self::NAMED.iter().map(|(name, _)| *name);
        named.chain(Quantity::ALL.iter().map(|quantity| quantity.obis()))
    }

    /// Returns the size of a text or date, in bytes; `None` if the value is a number.
    #[must_use]
    pub const fn byte_len(self) -> Option<u16> {
        match self {
            Self::MeterId | Self::MeterModel | Self::MeterType => Some(TEXT_BYTES),
            Self::SystemId | Self::SystemFirmware => Some(6),
            Self::ReportDateTime | Self::SystemDateTime => Some(8),
            _ => None,
        }
    }
}

impl fmt::Display for RegisterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Returns a problem for each register that overlaps the one before. `slots` is sorted by address;
/// each slot comes with the index of its set and the position in the set.
fn overlaps(slots: &[(RegisterSlot, usize, usize)]) -> impl Iterator<Item = Problem> {
    let pairs = slots.windows(2).map(|pair| (pair[0], pair[1]));
    let overlapping =
        pairs.filter(|((first, ..), (second, ..))| first.address + first.words > second.address);
    overlapping.map(|((_, set, position), (second, other_set, other_position))| {
        let (a, b) = ((set, position), (other_set, other_position));
        let (earlier, later) = if a < b { (a, b) } else { (b, a) };
        let message = format!(
            "it overlaps [{}].registers[{}] at address {}",
            earlier.0, earlier.1, second.address
        );
        Problem::new(format!("[{}].registers[{}]", later.0, later.1), message)
    })
}

fn invalid_scaler(scaler: i8) -> String {
    let (min, max) = limits::MODBUS_SCALER.into_inner();
    format!("{scaler}: expected a whole number from {min} to {max}")
}

fn invalid_address(address: i64) -> String {
    let (first, last) = limits::MODBUS_ADDRESSES.into_inner();
    format!("{address}: expected an address from {first} to {last}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn register(id: RegisterId, number: NumberType) -> MappedRegister {
        MappedRegister { id, number, scaler: 0 }
    }

    fn set(start_address: u16, registers: Vec<MappedRegister>) -> RegisterSet {
        RegisterSet { start_address, word_order: MapWordOrder::Msw, registers }
    }

    fn problems(sets: Vec<RegisterSet>) -> Vec<String> {
        let errors = RegisterMap::new(sets).unwrap_err();
        errors.into_iter().map(|error| error.to_string()).collect()
    }

    const DOUBLE: MappedRegister =
        MappedRegister { id: RegisterId::Zeros, number: NumberType::Double, scaler: 0 };

    #[test]
    fn every_name_maps_to_one_id_and_back() {
        let names: std::collections::HashSet<_> = RegisterId::names().collect();
        // The rows of `modbus_identifiers.csv`.
        assert_eq!(names.len(), 24 + Quantity::COUNT);
        for name in names {
            assert_eq!(RegisterId::from_name(name).unwrap().name(), name);
        }
        assert_eq!(RegisterId::from_name("1.9.0"), None);
    }

    // Ruling: MODBUS-4.
    #[test]
    fn the_last_address_is_9998() {
        assert!(RegisterMap::new(vec![set(9995, vec![DOUBLE])]).is_ok());
        assert_eq!(
            problems(vec![set(9996, vec![DOUBLE])]),
            ["[0].registers[0]: it would stand at 9996 to 9999; the last address is 9998"]
        );
        assert_eq!(
            problems(vec![set(9999, vec![])]),
            ["[0].start_address: 9999: expected an address from 0 to 9998"]
        );
    }

    // Ruling: MODBUS-4.
    #[test]
    fn overlapping_registers_are_refused_in_any_order_of_sets() {
        let sets =
            |first, second| vec![set(first, vec![DOUBLE, DOUBLE]), set(second, vec![DOUBLE])];
        assert!(RegisterMap::new(sets(0, 8)).is_ok());
        assert!(RegisterMap::new(sets(4, 0)).is_ok());
        let expected = "[1].registers[0]: it overlaps [0].registers[1] at address 7";
        assert_eq!(problems(sets(0, 7)), [expected]);
        let expected = "[1].registers[0]: it overlaps [0].registers[0] at address 4";
        assert_eq!(problems(sets(4, 1)), [expected]);
    }

    #[test]
    fn texts_and_dates_have_fixed_sizes() {
        let words = |id| register(id, NumberType::Short).words();
        assert_eq!(words(RegisterId::MeterId), 12);
        assert_eq!(words(RegisterId::SystemFirmware), 3);
        assert_eq!(words(RegisterId::ReportDateTime), 4);
        assert_eq!(words(RegisterId::ReportTimestamp), 1);
    }

    #[test]
    fn the_factory_map_is_valid() {
        let map = RegisterMap::new(factory::sets()).unwrap();
        let starts: Vec<_> =
            map.sets().iter().map(|set| (set.start_address, set.words())).collect();
        assert_eq!(starts, [(1, 42), (55, 16), (205, 16), (501, 20), (549, 8), (801, 160)]);
        assert_eq!(&map, &**RegisterMap::factory());
    }
}
