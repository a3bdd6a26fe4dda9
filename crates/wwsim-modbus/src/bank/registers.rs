//! The tables of holding and input registers.

use std::ops::{Range, RangeInclusive};

use super::codec::{Number, RegisterFormat};
use super::computed::{self, Randomness};
use super::reaction_rule::{ReactionEffect, ReactionRule, ReactionTarget, WrittenRegisters};
use super::runs::{AddressRun, AddressRuns, Selection};
use super::{
    Computed, ReactionChange, Register, RegisterAccess, RegisterSource, Table, UnitLayout,
};
use crate::wire::Exception;
use wwsim_time::clock::VirtualTime;
use wwsim_time::rng::RandomStream;

/// Both tables of registers.
#[derive(Debug)]
pub(super) struct RegisterTables {
    pub(super) holding: RegisterTable,
    pub(super) input: RegisterTable,
}

/// Registers, in address order without the gaps.
#[derive(Debug)]
pub(super) struct RegisterTable {
    runs: AddressRuns<RegisterRow>,
    words: Vec<u16>,
    /// True if any value is computed. Most tables need not look.
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
    reaction_rules: Vec<ReactionRule>,
}

impl RegisterTables {
    /// Creates the tables of a checked layout.
    pub(super) fn new(layout: &UnitLayout, seed: u64, stream: RandomStream) -> Self {
        let mut tables = Self {
            holding: RegisterTable::new(&layout.holding, seed, stream.child(0)),
            input: RegisterTable::new(&layout.input, seed, stream.child(1)),
        };
        // Clients write only holding registers, so only their reactions can happen.
        for register in &layout.holding {
            let reaction_rules = tables.rules_of(register);
            tables.holding.set_reaction_rules(register.address, reaction_rules);
        }
        tables
    }

    /// Returns the reaction rules of `register`.
    fn rules_of(&self, register: &Register) -> Vec<ReactionRule> {
        let resolved = register.reactions.iter().filter_map(|reaction| {
            let target = match reaction.table {
                Table::HoldingRegisters => {
                    self.holding.target_at(reaction.table, reaction.address)?
                }
                Table::InputRegisters => self.input.target_at(reaction.table, reaction.address)?,
                Table::Coils | Table::DiscreteInputs => return None,
            };
            let effect = match &reaction.change {
                // The check of the layout has shown that the value fits.
                ReactionChange::Set(value) => {
                    ReactionEffect::Set(target.format.encode(value).ok()?)
                }
                ReactionChange::Copy => ReactionEffect::Copy,
                ReactionChange::RampToWritten { per_second } => {
                    ReactionEffect::Ramp { per_second: *per_second }
                }
            };
            Some(ReactionRule { after: reaction.after, target, effect })
        });
        resolved.collect()
    }

    /// Returns stored words of a table. For tables of bits, which reactions never change, those of
    /// the holding registers.
    pub(super) fn words_mut(&mut self, table: Table, stored: Range<usize>) -> &mut [u16] {
        match table {
            Table::InputRegisters => &mut self.input.words[stored],
            _ => &mut self.holding.words[stored],
        }
    }
}

impl RegisterTable {
    /// Creates the table of checked registers, without their reactions.
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
                reaction_rules: Vec::new(),
            };
            (addresses(register), row)
        });
        let runs = AddressRuns::new(rows);
        let mut table = Self {
            words: vec![0; runs.len()],
            any_computed: registers.iter().any(Register::is_computed),
            runs,
            seed,
        };
        for register in registers {
            if let (RegisterSource::Stored(value), Some(run)) =
                (&register.source, table.runs.find(register.address))
            {
                // The check of the layout has shown that the value fits, so there is always
                // something to copy.
                let words = RegisterFormat::of(register).encode(value).unwrap_or_default();
                for range in run.values(run.stored()) {
                    table.words[range].copy_from_slice(&words);
                }
            }
        }
        table
    }

    /// Sets the reaction rules of the register at `address`.
    fn set_reaction_rules(&mut self, address: u16, reaction_rules: Vec<ReactionRule>) {
        let runs = self.runs.all_mut();
        if let Ok(at) = runs.binary_search_by_key(&address, |run| run.first) {
            runs[at].value.reaction_rules = reaction_rules;
        }
    }

    /// Returns the value that begins at `address` as the target of a reaction.
    fn target_at(&self, table: Table, address: u16) -> Option<ReactionTarget> {
        let run = self.runs.find(address)?;
        let offset = run.offset + usize::from(address - run.first);
        Some(ReactionTarget { table, offset, format: run.value.format })
    }

    /// Returns registers as they are at `now`.
    ///
    /// # Errors
    /// Exception 2 if one of them does not exist.
    pub(super) fn read(
        &mut self,
        address: u16,
        quantity: u16,
        now: VirtualTime,
    ) -> Result<&[u16], Exception> {
        let selection = self.select(address, quantity)?;
        if self.any_computed {
            self.refresh(&selection, now);
        }
        Ok(&self.words[selection.stored])
    }

    /// Writes the computed values among `selection` into the store.
    fn refresh(&mut self, selection: &Selection, now: VirtualTime) {
        for run in self.runs.runs_of(selection) {
            let row = &run.value;
            let Some(computed) = &row.computed else { continue };
            for value in run.values(selection.stored.clone()) {
                let index = (value.start - run.offset) / row.format.words();
                let stream = row.stream.child(index as u64);
                let randomness = Randomness { seed: self.seed, stream };
                let number = computed::value_at(computed, row.format, now, randomness);
                row.format.write_number(number, &mut self.words[value]);
            }
        }
    }

    /// Selects registers that a client may write.
    ///
    /// # Errors
    /// Exception 2 if one of the registers does not exist, otherwise the exception of the first
    /// register that is read only or computed.
    pub(super) fn select_writable(
        &self,
        address: u16,
        quantity: u16,
    ) -> Result<Selection, Exception> {
        let selection = self.select(address, quantity)?;
        for run in self.runs.runs_of(&selection) {
            match run.value.access {
                RegisterAccess::ReadOnly { exception } => return Err(Exception(exception)),
                RegisterAccess::ReadWrite if run.value.computed.is_some() => {
                    return Err(Exception::ILLEGAL_DATA_ADDRESS);
                }
                RegisterAccess::ReadWrite => {}
            }
        }
        Ok(selection)
    }

    /// Selects registers regardless of their access.
    ///
    /// # Errors
    /// Exception 2 if one of them does not exist.
    pub(super) fn select(&self, address: u16, quantity: u16) -> Result<Selection, Exception> {
        self.runs.select(address, quantity).ok_or(Exception::ILLEGAL_DATA_ADDRESS)
    }

    /// Checks that every value that results from writing `new` is within its limits.
    ///
    /// # Errors
    /// Exception 3 if one is not.
    pub(super) fn check_limits(&self, selection: &Selection, new: &[u16]) -> Result<(), Exception> {
        for run in self.runs.runs_of(selection) {
            let Some(limits) = &run.value.limits else { continue };
            for value in run.values(selection.stored.clone()) {
                // Only numbers have limits, and a number has at most four words.
                let mut words = [0; 4];
                let words = &mut words[..value.len()];
                for (word, at) in words.iter_mut().zip(value) {
                    let written = at.checked_sub(selection.stored.start);
                    let written = written.and_then(|index| new.get(index));
                    *word = written.copied().unwrap_or(self.words[at]);
                }
                let number = run.value.format.number(words).map(Number::as_f64);
                if number.is_some_and(|number| !limits.contains(&number)) {
                    return Err(Exception::ILLEGAL_DATA_VALUE);
                }
            }
        }
        Ok(())
    }

    /// Returns the number of reactions that a write there causes.
    pub(super) fn triggered_count(&self, selection: &Selection) -> usize {
        let runs = self.runs.runs_of(selection).iter();
        runs.filter(|run| !run.value.reaction_rules.is_empty())
            .map(|run| {
                run.values(selection.stored.clone()).count() * run.value.reaction_rules.len()
            })
            .sum()
    }

    /// Returns the reaction rules that a write there triggers, with the value that was written.
    pub(super) fn triggered_rules(
        &self,
        selection: &Selection,
    ) -> impl Iterator<Item = (ReactionRule, WrittenRegisters<'_>)> {
        self.runs.runs_of(selection).iter().flat_map(move |run| {
            let row = &run.value;
            let written =
                if row.reaction_rules.is_empty() { 0..0 } else { selection.stored.clone() };
            run.values(written).flat_map(move |value| {
                let index = (value.start - run.offset) / row.format.words();
                row.reaction_rules.iter().map(move |rule| {
                    let written =
                        WrittenRegisters { format: row.format, words: &self.words[value.clone()] };
                    (rule.for_value(index), written)
                })
            })
        })
    }

    /// Returns true if one of the registers is computed.
    pub(super) fn is_computed(&self, selection: &Selection) -> bool {
        self.runs.runs_of(selection).iter().any(|run| run.value.computed.is_some())
    }

    /// Writes selected words.
    pub(super) fn write(&mut self, selection: &Selection, new: &[u16]) {
        for (word, new) in self.words[selection.stored.clone()].iter_mut().zip(new) {
            *word = *new;
        }
    }
}

impl AddressRun<RegisterRow> {
    /// Returns the positions of the values that `stored` touches, each as a whole.
    fn values(&self, stored: Range<usize>) -> impl Iterator<Item = Range<usize>> + use<> {
        let (own, words) = (self.stored(), self.value.format.words());
        let start = stored.start.max(own.start);
        let end = stored.end.min(own.end).max(start);
        let first = (start - own.start) / words;
        let behind = (end - own.start).div_ceil(words);
        let values = if start < end { first..behind } else { 0..0 };
        values.map(move |index| own.start + index * words..own.start + (index + 1) * words)
    }
}

/// Returns the addresses of a checked register. Otherwise they are cut off at the last address.
fn addresses(register: &Register) -> RangeInclusive<u16> {
    // A table has 65536 addresses, one more than a `u16` can count.
    let words = u64::from(register.value_type.words()) * u64::from(register.count);
    let last = u64::from(register.address) + words.saturating_sub(1);
    register.address..=u16::try_from(last).unwrap_or(u16::MAX)
}

impl Register {
    /// Returns true if the value is computed.
    pub(super) const fn is_computed(&self) -> bool {
        matches!(self.source, RegisterSource::Computed(_))
    }
}
