//! Everything that is wrong with a layout, in one go.

use super::codec::RegisterFormat;
use super::computed;
use super::{
    BitRange, Computed, Reaction, ReactionChange, Register, RegisterAccess, RegisterSource,
    RegisterType, RegisterValue, Table, UnitLayout,
};
use crate::problem::Problem;

/// All mistakes of a layout, in the order of its tables.
pub(super) fn check(layout: &UnitLayout) -> Vec<Problem> {
    let mut mistakes = LayoutErrors::default();
    mistakes.bits(Table::Coils, &layout.coils);
    mistakes.bits(Table::DiscreteInputs, &layout.discrete);
    mistakes.registers(Table::HoldingRegisters, layout);
    mistakes.registers(Table::InputRegisters, layout);
    mistakes.0
}

#[derive(Default)]
struct LayoutErrors(Vec<Problem>);

/// Where a register or range of bits is written and which addresses it takes.
struct Taken {
    index: usize,
    first: u64,
    last: u64,
}

impl LayoutErrors {
    fn add(&mut self, place: String, message: impl Into<String>) {
        self.0.push(Problem::new(place, message));
    }

    fn bits(&mut self, table: Table, ranges: &[BitRange]) {
        let mut taken = Vec::new();
        for (index, range) in ranges.iter().enumerate() {
            let place = format!("{}[{index}]", table.name());
            let (first, last) = (*range.addresses.start(), *range.addresses.end());
            if first > last {
                let message = format!("{first}..{last}: expected the first not above the last");
                self.add(format!("{place}.address"), message);
            } else {
                taken.push(Taken { index, first: first.into(), last: last.into() });
            }
            self.access(&place, range.access);
        }
        self.overlaps(table, taken);
    }

    fn registers(&mut self, table: Table, layout: &UnitLayout) {
        let mut taken = Vec::new();
        for (index, register) in layout.registers(table).iter().enumerate() {
            let place = format!("{}[{index}]", table.name());
            taken.extend(self.addresses(&place, index, register));
            self.access(&place, register.access);
            self.limits(&place, register);
            match &register.source {
                RegisterSource::Stored(value) => self.value(&place, register, value),
                RegisterSource::Computed(computed) => self.computed(&place, register, computed),
            }
            for (number, reaction) in register.reactions.iter().enumerate() {
                let place = format!("{place}.on_write[{number}]");
                if let Err(message) = can_be_written(table, register) {
                    self.add(place.clone(), message);
                }
                self.reaction(&place, register, reaction, layout);
            }
        }
        self.overlaps(table, taken);
    }

    /// The addresses of a register, if it takes any and all are there.
    fn addresses(&mut self, place: &str, index: usize, register: &Register) -> Option<Taken> {
        let words = u64::from(register.value_type.words());
        let count = u64::from(register.count);
        if words == 0 {
            self.add(format!("{place}.words"), "0 words: expected 1 or more");
        }
        if count == 0 {
            self.add(format!("{place}.count"), "count 0: expected 1 or more");
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
            self.add(format!("{place}.address"), message);
            return None;
        }
        Some(Taken { index, first, last })
    }

    fn access(&mut self, place: &str, access: RegisterAccess) {
        if let RegisterAccess::ReadOnly { exception } = access
            && !(1..=11).contains(&exception)
        {
            let message = format!("exception {exception}: expected 1 to 11");
            self.add(format!("{place}.read_only"), message);
        }
    }

    fn limits(&mut self, place: &str, register: &Register) {
        let Some(limits) = &register.limits else { return };
        let (low, high) = (limits.start(), limits.end());
        if !RegisterFormat::of(register).is_number() {
            let message = format!(
                "limits on a {}: only numbers have any, leave them out",
                register.value_type
            );
            self.add(format!("{place}.min"), message);
        } else if low.is_nan() || high.is_nan() || low > high {
            let message = format!("{low} to {high}: expected min not above max");
            self.add(format!("{place}.min"), message);
        } else if let RegisterSource::Stored(value) = &register.source
            && let Some(number) = value.as_number()
            && !limits.contains(&number)
        {
            let message = format!("{number} is outside its own limits: expected {low} to {high}");
            self.add(format!("{place}.value"), message);
        }
    }

    fn value(&mut self, place: &str, register: &Register, value: &RegisterValue) {
        if register.value_type.words() > 0
            && let Err(misfit) = RegisterFormat::of(register).encode(value)
        {
            self.add(format!("{place}.value"), misfit.to_string());
        }
    }

    fn computed(&mut self, place: &str, register: &Register, computed: &Computed) {
        if !RegisterFormat::of(register).is_number() {
            let message = format!("a computed {}: expected a numeric type", register.value_type);
            self.add(format!("{place}.type"), message);
        }
        if let Err(message) = computed::check(computed) {
            self.add(format!("{place}.{}", computed.name()), message);
        }
    }

    fn reaction(
        &mut self,
        place: &str,
        source: &Register,
        reaction: &Reaction,
        layout: &UnitLayout,
    ) {
        match target(source, reaction, layout) {
            Err(message) => self.add(place.to_owned(), message),
            Ok(target) => {
                if let Err(message) = agrees(source, &reaction.change, target) {
                    self.add(place.to_owned(), message);
                }
            }
        }
    }

    fn overlaps(&mut self, table: Table, mut taken: Vec<Taken>) {
        taken.sort_by_key(|taken| (taken.first, taken.index));
        let mut taken = taken.into_iter();
        let Some(mut furthest) = taken.next() else { return };
        let mut found = Vec::new();
        for next in taken {
            if next.first <= furthest.last {
                let (early, late) = if next.index > furthest.index {
                    (&furthest, &next)
                } else {
                    (&next, &furthest)
                };
                let message = format!(
                    "{}..{} overlaps {}[{}], which has {}..{}",
                    late.first,
                    late.last,
                    table.name(),
                    early.index,
                    early.first,
                    early.last
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

/// Whether a client's write can ever reach a register, so that it has reactions.
fn can_be_written(table: Table, register: &Register) -> Result<(), String> {
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

/// The register that a reaction changes.
fn target<'a>(
    source: &Register,
    reaction: &Reaction,
    layout: &'a UnitLayout,
) -> Result<&'a Register, String> {
    let (table, address) = (reaction.table.name(), reaction.address);
    if reaction.table.is_bits() {
        return Err(format!("{table} {address}: expected a holding or input register"));
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
        return Err(format!("{table} {address}: there is no such register"));
    };
    if register.is_computed() {
        return Err(format!("{table} {address} is computed: expected one that stores its value"));
    }
    if into % words != 0 {
        let first = u64::from(address) - into % words;
        return Err(format!("{table} {address} is in the middle of a value: expected {first}"));
    }
    let left = u64::from(register.count) - into / words;
    if left < u64::from(source.count) {
        return Err(format!(
            "{table} {address} has {left} values from there on: expected one for each of the {}",
            source.count
        ));
    }
    Ok(register)
}

/// Whether a change makes sense from one register to another.
fn agrees(source: &Register, change: &ReactionChange, target: &Register) -> Result<(), String> {
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
    /// The registers of a table; none where it holds bits.
    pub(super) fn registers(&self, table: Table) -> &[Register] {
        match table {
            Table::HoldingRegisters => &self.holding,
            Table::InputRegisters => &self.input,
            Table::Coils | Table::DiscreteInputs => &[],
        }
    }
}

impl RegisterValue {
    /// The number, if it is one.
    #[expect(clippy::cast_precision_loss, reason = "compared with limits, which are floats too")]
    fn as_number(&self) -> Option<f64> {
        match self {
            Self::Integer(whole) => Some(*whole as f64),
            Self::Number(number) => Some(*number),
            Self::Text(_) | Self::Bytes(_) => None,
        }
    }
}
