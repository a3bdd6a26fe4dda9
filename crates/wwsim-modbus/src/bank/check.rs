//! Checks a layout and collects all of its mistakes.

use super::codec::RegisterFormat;
use super::computed;
use super::{
    BitRange, Computed, Reaction, ReactionChange, Register, RegisterAccess, RegisterSource,
    RegisterType, RegisterValue, Table, UnitLayout,
};
use crate::problem::Problem;

/// The part of a unit's registers and bits that a layout has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LayoutExtent {
    /// All of them.
    Whole,
    /// Some are missing, because they have mistakes of their own.
    Part,
}

/// Returns all mistakes of a layout, in the order of its tables.
pub(super) fn check(layout: &UnitLayout, extent: LayoutExtent) -> Vec<Problem> {
    let mut errors = LayoutErrors { problems: Vec::new(), extent };
    errors.check_bits(Table::Coils, &layout.coils);
    errors.check_bits(Table::DiscreteInputs, &layout.discrete);
    errors.check_registers(Table::HoldingRegisters, layout);
    errors.check_registers(Table::InputRegisters, layout);
    errors.problems
}

struct LayoutErrors {
    problems: Vec<Problem>,
    extent: LayoutExtent,
}

/// The addresses of a register or range of bits, with its position in the layout.
struct OccupiedRange {
    index: usize,
    first: u64,
    last: u64,
}

impl LayoutErrors {
    fn add(&mut self, path: String, message: impl Into<String>) {
        self.problems.push(Problem::new(path, message));
    }

    fn check_bits(&mut self, table: Table, ranges: &[BitRange]) {
        let mut occupied = Vec::new();
        for (index, range) in ranges.iter().enumerate() {
            let path = format!("{}[{index}]", table.name());
            let (first, last) = (*range.addresses.start(), *range.addresses.end());
            if first > last {
                let message = format!("{first}..{last}: expected the first not above the last");
                self.add(format!("{path}.address"), message);
            } else {
                occupied.push(OccupiedRange { index, first: first.into(), last: last.into() });
            }
            self.check_access(&path, range.access);
        }
        self.check_overlaps(table, occupied);
    }

    fn check_registers(&mut self, table: Table, layout: &UnitLayout) {
        let mut occupied = Vec::new();
        for (index, register) in layout.registers(table).iter().enumerate() {
            let path = format!("{}[{index}]", table.name());
            occupied.extend(self.occupied_range(&path, index, register));
            self.check_access(&path, register.access);
            self.limits(&path, register);
            match &register.source {
                RegisterSource::Stored(value) => self.check_value(&path, register, value),
                RegisterSource::Computed(computed) => {
                    self.check_computed(&path, register, computed);
                }
            }
            for (number, reaction) in register.reactions.iter().enumerate() {
                let path = format!("{path}.on_write[{number}]");
                if let Err(message) = check_writable(table, register) {
                    self.add(path.clone(), message);
                }
                self.check_reaction(&path, register, reaction, layout);
            }
        }
        self.check_overlaps(table, occupied);
    }

    /// Returns the addresses of a register. `None` if there are none, or if some are out of range.
    fn occupied_range(
        &mut self,
        path: &str,
        index: usize,
        register: &Register,
    ) -> Option<OccupiedRange> {
        let words = u64::from(register.value_type.words());
        let count = u64::from(register.count);
        if words == 0 {
            self.add(format!("{path}.words"), "0 words: expected 1 or more");
        }
        if count == 0 {
            self.add(format!("{path}.count"), "count 0: expected 1 or more");
        }
        if words * count == 0 {
            return None;
        }
        let first = u64::from(register.address);
        let last = first + words * count - 1;
        if last > u64::from(u16::MAX) {
            let message = format!(
                "{} registers from {first} reach to {last}: the last address is 65535",
                words * count
            );
            self.add(format!("{path}.address"), message);
            return None;
        }
        Some(OccupiedRange { index, first, last })
    }

    fn check_access(&mut self, path: &str, access: RegisterAccess) {
        if let RegisterAccess::ReadOnly { exception } = access
            && !(1..=11).contains(&exception)
        {
            let message = format!("exception {exception}: expected 1 to 11");
            self.add(format!("{path}.read_only"), message);
        }
    }

    fn limits(&mut self, path: &str, register: &Register) {
        let Some(limits) = &register.limits else { return };
        let (low, high) = (limits.start(), limits.end());
        if !RegisterFormat::of(register).is_number() {
            let message = format!(
                "limits on a {}: only numbers have any, leave them out",
                register.value_type
            );
            self.add(format!("{path}.min"), message);
        } else if low.is_nan() || high.is_nan() || low > high {
            let message = format!("{low} to {high}: expected min not above max");
            self.add(format!("{path}.min"), message);
        } else if let RegisterSource::Stored(value) = &register.source
            && let Some(number) = value.as_number()
            && !limits.contains(&number)
        {
            let message = format!("{number} is outside its own limits: expected {low} to {high}");
            self.add(format!("{path}.value"), message);
        }
    }

    fn check_value(&mut self, path: &str, register: &Register, value: &RegisterValue) {
        if register.value_type.words() > 0
            && let Err(misfit) = RegisterFormat::of(register).encode(value)
        {
            self.add(format!("{path}.value"), misfit.to_string());
        }
    }

    fn check_computed(&mut self, path: &str, register: &Register, computed: &Computed) {
        if !RegisterFormat::of(register).is_number() {
            let message = format!("a computed {}: expected a numeric type", register.value_type);
            self.add(format!("{path}.type"), message);
        }
        if let Err(message) = computed::check(computed) {
            self.add(format!("{path}.{}", computed.name()), message);
        }
    }

    fn check_reaction(
        &mut self,
        path: &str,
        source: &Register,
        reaction: &Reaction,
        layout: &UnitLayout,
    ) {
        match find_target(source, reaction, layout) {
            Err(NoTarget::Missing(_)) if self.extent == LayoutExtent::Part => {}
            Err(NoTarget::Missing(message) | NoTarget::Unsuitable(message)) => {
                self.add(path.to_owned(), message);
            }
            Ok(target) => {
                if let Err(message) = check_compatible(source, &reaction.change, target) {
                    self.add(path.to_owned(), message);
                }
            }
        }
    }

    fn check_overlaps(&mut self, table: Table, mut occupied: Vec<OccupiedRange>) {
        occupied.sort_by_key(|occupied| (occupied.first, occupied.index));
        let mut occupied = occupied.into_iter();
        let Some(mut furthest) = occupied.next() else { return };
        let mut found = Vec::new();
        for next in occupied {
            if next.first <= furthest.last {
                let (early, late) = if next.index > furthest.index {
                    (&furthest, &next)
                } else {
                    (&next, &furthest)
                };
                let message = format!(
                    "{}..{} overlaps {}..{}, which an earlier entry has",
                    late.first, late.last, early.first, early.last
                );
                found.push((late.index, message));
            }
            if next.last > furthest.last {
                furthest = next;
            }
        }
        found.sort();
        for (index, message) in found {
            self.add(format!("{}[{index}].address", table.name()), message);
        }
    }
}

/// Checks that a client can write a register, so that its reactions can follow.
fn check_writable(table: Table, register: &Register) -> Result<(), String> {
    let why = if table != Table::HoldingRegisters {
        "an input register"
    } else if register.is_computed() {
        "a computed register"
    } else if register.access == RegisterAccess::ReadWrite {
        return Ok(());
    } else {
        "a read-only register"
    };
    Err(format!("no client writes {why}, so nothing ever follows: put it on one that is written"))
}

/// The reason why a reaction has no target register.
enum NoTarget {
    /// The layout has no such register.
    Missing(String),
    /// The register is there, but cannot be the target.
    Unsuitable(String),
}

/// Returns the target register of a reaction.
fn find_target<'a>(
    source: &Register,
    reaction: &Reaction,
    layout: &'a UnitLayout,
) -> Result<&'a Register, NoTarget> {
    let (table, address) = (reaction.table.name(), reaction.address);
    let unsuitable = |message| Err(NoTarget::Unsuitable(message));
    if reaction.table.is_bits() {
        return unsuitable(format!("{table} {address}: expected a holding or input register"));
    }
    let into = |register: &Register| {
        let into = u64::from(address).checked_sub(register.address.into())?;
        let words = u64::from(register.value_type.words());
        (into < words * u64::from(register.count)).then_some((into, words))
    };
    let found = layout
        .registers(reaction.table)
        .iter()
        .find_map(|register| into(register).map(|at| (register, at)));
    let Some((register, (into, words))) = found else {
        let message = format!("{table} {address}: there is no such register");
        return Err(NoTarget::Missing(message));
    };
    if register.is_computed() {
        return unsuitable(format!(
            "{table} {address} is computed: expected one that stores its value"
        ));
    }
    if into % words != 0 {
        let first = u64::from(address) - into % words;
        return unsuitable(format!(
            "{table} {address} is in the middle of a value: expected {first}"
        ));
    }
    let left = u64::from(register.count) - into / words;
    if left < u64::from(source.count) {
        return unsuitable(format!(
            "{table} {address} has {left} values from there on: expected one for each of the {}",
            source.count
        ));
    }
    Ok(register)
}

/// Checks that a change is possible from one register to another.
fn check_compatible(
    source: &Register,
    change: &ReactionChange,
    target: &Register,
) -> Result<(), String> {
    let (from, to) = (source.value_type, target.value_type);
    let numbers = RegisterFormat::of(source).is_number() && RegisterFormat::of(target).is_number();
    match change {
        ReactionChange::Set(value) => {
            RegisterFormat::of(target).encode(value).map(drop).map_err(|misfit| misfit.to_string())
        }
        ReactionChange::Copy => {
            let alike = matches!(
                (from, to),
                (RegisterType::Hex { .. }, RegisterType::Hex { .. })
                    | (RegisterType::String { .. }, RegisterType::String { .. })
            );
            if numbers || alike {
                Ok(())
            } else {
                Err(format!(
                    "a {from} cannot be copied to a {to}: expected numbers, text or bytes on both sides"
                ))
            }
        }
        ReactionChange::RampToWritten { .. } if !numbers => {
            Err(format!("a {to} cannot move towards a {from}: expected numbers on both sides"))
        }
        ReactionChange::RampToWritten { per_second } => {
            if per_second.is_finite() && *per_second > 0.0 {
                Ok(())
            } else {
                Err(format!("{per_second} per second: expected a number above 0"))
            }
        }
    }
}

impl UnitLayout {
    /// Returns the registers of a table. Empty if the table holds bits.
    pub(super) fn registers(&self, table: Table) -> &[Register] {
        match table {
            Table::HoldingRegisters => &self.holding,
            Table::InputRegisters => &self.input,
            Table::Coils | Table::DiscreteInputs => &[],
        }
    }
}

impl RegisterValue {
    /// Returns the number. `None` for text and bytes.
    #[expect(clippy::cast_precision_loss, reason = "compared with limits, which are floats too")]
    fn as_number(&self) -> Option<f64> {
        match self {
            Self::Integer(whole) => Some(*whole as f64),
            Self::Number(number) => Some(*number),
            Self::Text(_) | Self::Bytes(_) => None,
        }
    }
}
