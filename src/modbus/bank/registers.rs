//! A table of holding or input registers.

use std::ops::{Range, RangeInclusive};

use super::codec::{Number, RegisterFormat};
use super::computed::{self, Randomness};
use super::reactions::{Consequence, ReactionEffect, ReactionTarget};
use super::spans::{AddressRun, AddressRuns, Located};
use super::{
    Computed, ReactionChange, Register, RegisterAccess, RegisterSource, Table, UnitLayout,
};
use crate::clock::VirtualTime;
use crate::modbus::wire::Exception;
use crate::rng::RandomStream;

/// Both tables of registers.
#[derive(Debug)]
pub(super) struct RegisterTables {
    pub(super) holding: RegisterTable,
    pub(super) input: RegisterTable,
}

/// Registers, in address order without the gaps.
#[derive(Debug)]
pub(super) struct RegisterTable {
    spans: AddressRuns<RegisterRow>,
    words: Vec<u16>,
    /// Whether any value is computed; most tables need not look.
    any_computed: bool,
    seed: u64,
}

/// Values of one kind that stand one after another.
#[derive(Debug)]
struct RegisterRow {
    format: RegisterFormat,
    access: RegisterAccess,
    limits: Option<RangeInclusive<f64>>,
    computed: Option<Computed>,
    stream: RandomStream,
    consequences: Vec<Consequence>,
}

impl RegisterTables {
    /// The tables of a layout that was found right.
    pub(super) fn new(layout: &UnitLayout, seed: u64, stream: RandomStream) -> Self {
        let mut tables = Self {
            holding: RegisterTable::new(&layout.holding, seed, stream.child(0)),
            input: RegisterTable::new(&layout.input, seed, stream.child(1)),
        };
        // Only holding registers are written by clients, so only their reactions ever happen.
        for register in &layout.holding {
            let consequences = tables.consequences_of(register);
            tables.holding.react(register.address, consequences);
        }
        tables
    }

    /// What writes to `register` set off.
    fn consequences_of(&self, register: &Register) -> Vec<Consequence> {
        let resolved = register.reactions.iter().filter_map(|reaction| {
            let target = match reaction.table {
                Table::HoldingRegisters => self.holding.target(reaction.table, reaction.address)?,
                Table::InputRegisters => self.input.target(reaction.table, reaction.address)?,
                Table::Coils | Table::DiscreteInputs => return None,
            };
            let effect = match &reaction.change {
                // The value was found to fit.
                ReactionChange::Set(value) => {
                    ReactionEffect::Set(target.format.encode(value).ok()?)
                }
                ReactionChange::Copy => ReactionEffect::Copy,
                ReactionChange::RampToWritten { per_second } => {
                    ReactionEffect::Ramp { per_second: *per_second }
                }
            };
            Some(Consequence { after: reaction.after, target, effect })
        });
        resolved.collect()
    }

    /// The store of a table; the holding registers' where it has none.
    pub(super) fn words_mut(&mut self, table: Table, stored: Range<usize>) -> &mut [u16] {
        match table {
            Table::InputRegisters => &mut self.input.words[stored],
            _ => &mut self.holding.words[stored],
        }
    }
}

impl RegisterTable {
    /// The table of registers that were found right, as yet without their reactions.
    fn new(registers: &[Register], seed: u64, stream: RandomStream) -> Self {
        let rows = registers.iter().map(|register| {
            let computed = match &register.source {
                RegisterSource::Computed(computed) => Some(computed.clone()),
                RegisterSource::Stored(_) => None,
            };
            let row = RegisterRow {
                format: RegisterFormat::of(register),
                access: register.access,
                limits: register.limits.clone(),
                computed,
                stream: stream.child(register.address.into()),
                consequences: Vec::new(),
            };
            (addresses(register), row)
        });
        let spans = AddressRuns::new(rows);
        let mut table = Self {
            words: vec![0; spans.len()],
            any_computed: registers.iter().any(Register::is_computed),
            spans,
            seed,
        };
        for register in registers {
            if let (RegisterSource::Stored(value), Some(span)) =
                (&register.source, table.spans.find(register.address))
            {
                // The value was found to fit, so there is always something to copy.
                let words = RegisterFormat::of(register).encode(value).unwrap_or_default();
                for copy in span.values(span.stored()) {
                    table.words[copy].copy_from_slice(&words);
                }
            }
        }
        table
    }

    /// Lets writes to the register at `address` have consequences.
    fn react(&mut self, address: u16, consequences: Vec<Consequence>) {
        let spans = self.spans.all_mut();
        if let Ok(at) = spans.binary_search_by_key(&address, |span| span.first) {
            spans[at].what.consequences = consequences;
        }
    }

    /// The value that begins at `address`, as something that a reaction changes.
    fn target(&self, table: Table, address: u16) -> Option<ReactionTarget> {
        let span = self.spans.find(address)?;
        let offset = span.offset + usize::from(address - span.first);
        Some(ReactionTarget { table, offset, format: span.what.format })
    }

    /// Registers as they are at `now`.
    ///
    /// # Errors
    /// Exception 2 where one of them does not exist.
    pub(super) fn read(
        &mut self,
        address: u16,
        quantity: u16,
        now: VirtualTime,
    ) -> Result<&[u16], Exception> {
        let located = self.locate(address, quantity)?;
        if self.any_computed {
            self.refresh(&located, now);
        }
        Ok(&self.words[located.stored])
    }

    /// Writes the computed values among `located` into the store.
    fn refresh(&mut self, located: &Located, now: VirtualTime) {
        for span in self.spans.of(located) {
            let row = &span.what;
            let Some(computed) = &row.computed else { continue };
            for value in span.values(located.stored.clone()) {
                let index = (value.start - span.offset) / row.format.words();
                let stream = row.stream.child(index as u64);
                let randomness = Randomness { seed: self.seed, stream };
                let number = computed::at(computed, row.format, now, randomness);
                row.format.put_number(number, &mut self.words[value]);
            }
        }
    }

    /// Where a client may write.
    ///
    /// # Errors
    /// Exception 2 where one of the registers does not exist, then the exception of the first that
    /// is read only or computed.
    pub(super) fn writable(&self, address: u16, quantity: u16) -> Result<Located, Exception> {
        let located = self.locate(address, quantity)?;
        for span in self.spans.of(&located) {
            match span.what.access {
                RegisterAccess::ReadOnly { exception } => return Err(Exception(exception)),
                RegisterAccess::ReadWrite if span.what.computed.is_some() => {
                    return Err(Exception::ILLEGAL_DATA_ADDRESS);
                }
                RegisterAccess::ReadWrite => {}
            }
        }
        Ok(located)
    }

    /// Where the registers are stored, access aside.
    ///
    /// # Errors
    /// Exception 2 where one of them does not exist.
    pub(super) fn locate(&self, address: u16, quantity: u16) -> Result<Located, Exception> {
        self.spans.locate(address, quantity).ok_or(Exception::ILLEGAL_DATA_ADDRESS)
    }

    /// Whether every value that would result from writing `new` there is within its limits.
    ///
    /// # Errors
    /// Exception 3 where one is not.
    pub(super) fn admissible(&self, located: &Located, new: &[u16]) -> Result<(), Exception> {
        for span in self.spans.of(located) {
            let Some(limits) = &span.what.limits else { continue };
            for value in span.values(located.stored.clone()) {
                // Only numbers have limits, and a number has four words at the most.
                let mut words = [0; 4];
                let words = &mut words[..value.len()];
                for (word, at) in words.iter_mut().zip(value) {
                    let written = at.checked_sub(located.stored.start);
                    let written = written.and_then(|index| new.get(index));
                    *word = written.copied().unwrap_or(self.words[at]);
                }
                let number = span.what.format.number(words).map(Number::as_f64);
                if number.is_some_and(|number| !limits.contains(&number)) {
                    return Err(Exception::ILLEGAL_DATA_VALUE);
                }
            }
        }
        Ok(())
    }

    /// How many reactions a write there sets off.
    pub(super) fn reactions(&self, located: &Located) -> usize {
        let spans = self.spans.of(located).iter();
        spans
            .filter(|span| !span.what.consequences.is_empty())
            .map(|span| span.values(located.stored.clone()).count() * span.what.consequences.len())
            .sum()
    }

    /// What a write there has set off, with the value that was written.
    pub(super) fn consequences(
        &self,
        located: &Located,
    ) -> impl Iterator<Item = (Consequence, WrittenRegisters<'_>)> {
        self.spans.of(located).iter().flat_map(move |span| {
            let row = &span.what;
            let written = if row.consequences.is_empty() { 0..0 } else { located.stored.clone() };
            span.values(written).flat_map(move |value| {
                let index = (value.start - span.offset) / row.format.words();
                row.consequences.iter().map(move |consequence| {
                    let written =
                        WrittenRegisters { format: row.format, words: &self.words[value.clone()] };
                    (consequence.of_value(index), written)
                })
            })
        })
    }

    /// Whether one of them is computed.
    pub(super) fn is_computed(&self, located: &Located) -> bool {
        self.spans.of(located).iter().any(|span| span.what.computed.is_some())
    }

    /// Writes words to where they were located.
    pub(super) fn write(&mut self, located: &Located, new: &[u16]) {
        for (word, new) in self.words[located.stored.clone()].iter_mut().zip(new) {
            *word = *new;
        }
    }
}

/// A value that was written.
#[derive(Debug, Clone, Copy)]
pub(super) struct WrittenRegisters<'a> {
    pub(super) format: RegisterFormat,
    pub(super) words: &'a [u16],
}

impl AddressRun<RegisterRow> {
    /// Where the values are stored that `stored` touches; each whole.
    fn values(&self, stored: Range<usize>) -> impl Iterator<Item = Range<usize>> + use<> {
        let (own, words) = (self.stored(), self.what.format.words());
        let start = stored.start.max(own.start);
        let end = stored.end.min(own.end).max(start);
        let first = (start - own.start) / words;
        let behind = (end - own.start).div_ceil(words);
        let values = if start < end { first..behind } else { 0..0 };
        values.map(move |index| own.start + index * words..own.start + (index + 1) * words)
    }
}

/// The addresses of a register that was found right; cut at the last one otherwise.
fn addresses(register: &Register) -> RangeInclusive<u16> {
    let words = register.value_type.words().saturating_mul(register.count);
    register.address..=register.address.saturating_add(words.saturating_sub(1))
}

impl Register {
    /// Whether its value follows the clock.
    pub(super) const fn is_computed(&self) -> bool {
        matches!(self.source, RegisterSource::Computed(_))
    }
}
