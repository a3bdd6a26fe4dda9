//! What follows a write, and when.
//!
//! Nothing here runs by itself: whoever reads or writes at a time first has everything done that was
//! due by then, in the order of time. Reading more often changes nothing.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use super::Table;
use super::codec::{Number, RegisterFormat};
use super::registers::{RegisterTables, WrittenRegisters};
use crate::clock::VirtualTime;

/// A stored value that a reaction changes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ReactionTarget {
    pub(super) table: Table,
    /// Where its first word is stored.
    pub(super) offset: usize,
    pub(super) format: RegisterFormat,
}

/// What a write to a register sets off.
#[derive(Debug, Clone)]
pub(super) struct Consequence {
    pub(super) after: Duration,
    pub(super) target: ReactionTarget,
    pub(super) effect: ReactionEffect,
}

/// How the target changes.
#[derive(Debug, Clone)]
pub(super) enum ReactionEffect {
    /// It takes these words.
    Set(Vec<u16>),
    /// It takes what was written.
    Copy,
    /// It moves towards what was written.
    Ramp { per_second: f64 },
}

/// What is yet to come, and what is moving.
#[derive(Debug, Default)]
pub(super) struct Reactions {
    /// By the time they are due, and in the order they were set off.
    pending: BTreeMap<(VirtualTime, u64), (ReactionTarget, ReactionStep)>,
    /// At most one for each target.
    ramps: Vec<RampProgress>,
    set_off: u64,
}

/// What happens when a reaction is due.
#[derive(Debug)]
enum ReactionStep {
    Put(Vec<u16>),
    Ramp { to: Number, per_second: f64 },
}

/// A value on its way.
#[derive(Debug)]
struct RampProgress {
    target: ReactionTarget,
    since: VirtualTime,
    from: f64,
    to: Number,
    per_second: f64,
}

impl ReactionTarget {
    fn stored(&self) -> Range<usize> {
        self.offset..self.offset + self.format.words()
    }
}

impl Consequence {
    /// The consequence of writing the `index`-th value of its register.
    pub(super) fn of_value(&self, index: usize) -> Self {
        let offset = self.target.offset + index * self.target.format.words();
        Self { target: ReactionTarget { offset, ..self.target }, ..self.clone() }
    }
}

impl Reactions {
    /// How many are pending or moving.
    pub(super) fn len(&self) -> usize {
        self.pending.len() + self.ramps.len()
    }

    /// Whether nothing is pending or moving, as in every unit without reactions.
    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty() && self.ramps.is_empty()
    }

    /// Notes what a write at `now` sets off.
    pub(super) fn set_off(
        &mut self,
        consequence: Consequence,
        written: WrittenRegisters<'_>,
        now: VirtualTime,
    ) {
        let Consequence { after, target, effect } = consequence;
        let step = match effect {
            ReactionEffect::Set(words) => ReactionStep::Put(words),
            ReactionEffect::Copy => ReactionStep::Put(copied(target.format, written)),
            ReactionEffect::Ramp { per_second } => match written.format.number(written.words) {
                Some(to) => ReactionStep::Ramp { to, per_second },
                // Only numbers move, which was seen to when the layout was checked.
                None => return,
            },
        };
        self.set_off += 1;
        self.pending.insert((now.after(after), self.set_off), (target, step));
    }

    /// Ends the movements of values that were written to otherwise.
    pub(super) fn overwritten(&mut self, table: Table, stored: &Range<usize>) {
        self.ramps.retain(|ramp| {
            let own = ramp.target.stored();
            ramp.target.table != table || own.end <= stored.start || stored.end <= own.start
        });
    }

    /// Does what is due by `now`.
    pub(super) fn settle(&mut self, now: VirtualTime, tables: &mut RegisterTables) {
        while let Some(next) = self.pending.first_entry()
            && next.key().0 <= now
        {
            let ((due, _), (target, step)) = next.remove_entry();
            let stored = tables.words_mut(target.table, target.stored());
            match step {
                ReactionStep::Put(new) => {
                    self.overwritten(target.table, &target.stored());
                    stored.copy_from_slice(&new);
                }
                ReactionStep::Ramp { to, per_second } => {
                    self.start(target, to, per_second, due, stored)
                }
            }
        }
        self.ramps.retain(|ramp| {
            let (value, over) = ramp.at(now);
            let stored = tables.words_mut(ramp.target.table, ramp.target.stored());
            ramp.target.format.put_number(value, stored);
            !over
        });
    }

    /// Starts a movement from the value reached. That is the exact one where the target is moving
    /// already: taking the rounded one of its register, a slow movement that is started again and
    /// again would never get on.
    fn start(
        &mut self,
        target: ReactionTarget,
        to: Number,
        per_second: f64,
        since: VirtualTime,
        stored: &[u16],
    ) {
        let moving = self.ramps.iter().find(|ramp| ramp.target == target);
        let from = moving.map(|ramp| ramp.at(since).0).or_else(|| target.format.number(stored));
        let from = from.map_or(0.0, Number::as_f64);
        self.overwritten(target.table, &target.stored());
        self.ramps.push(RampProgress { target, since, from, to, per_second });
    }
}

impl RampProgress {
    /// The value at `now`, and whether it has arrived. From or to what is no finite number there is
    /// no way, so it is there at once.
    fn at(&self, now: VirtualTime) -> (Number, bool) {
        let way = self.to.as_f64() - self.from;
        let travelled = self.per_second * now.since(self.since).as_secs_f64();
        if way.is_finite() && travelled < way.abs() {
            (Number::Real(self.from + travelled.copysign(way)), false)
        } else {
            (self.to, true)
        }
    }
}

/// What was written, in the format of another register.
fn copied(format: RegisterFormat, written: WrittenRegisters<'_>) -> Vec<u16> {
    let mut words = vec![0; format.words()];
    match written.format.number(written.words) {
        Some(number) => format.put_number(number, &mut words),
        None => format.put_bytes(&written.format.bytes(written.words), &mut words),
    }
    words
}
