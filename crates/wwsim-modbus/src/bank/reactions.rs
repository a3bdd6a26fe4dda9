//! The reactions of a bank that are pending or in progress.
//!
//! Nothing here runs by itself: the next read or write first applies all reactions that were due by
//! its time, in the order of time. More frequent reads change nothing.

use std::collections::BTreeMap;
use std::ops::Range;

use super::Table;
use super::codec::{Number, RegisterFormat};
use super::reaction_rule::{ReactionEffect, ReactionRule, ReactionTarget, WrittenRegisters};
use super::registers::RegisterTables;
use wwsim_time::clock::VirtualTime;

/// The pending reactions and the ramps in progress.
#[derive(Debug, Default)]
pub(super) struct Reactions {
    /// Ordered by due time, then by the order in which they were scheduled.
    pending: BTreeMap<(VirtualTime, u64), (ReactionTarget, ReactionStep)>,
    /// At most one for each target.
    ramps: Vec<RampProgress>,
    scheduled: u64,
}

/// The change that a due reaction makes.
#[derive(Debug)]
enum ReactionStep {
    Set(Vec<u16>),
    Ramp { to: Number, per_second: f64 },
}

/// A value that moves.
#[derive(Debug)]
struct RampProgress {
    target: ReactionTarget,
    since: VirtualTime,
    from: f64,
    to: Number,
    per_second: f64,
}

impl Reactions {
    /// Returns the number of pending reactions and ramps.
    pub(super) fn len(&self) -> usize {
        self.pending.len() + self.ramps.len()
    }

    /// Returns true if there are no pending reactions and no ramps, as in every unit without
    /// reactions.
    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty() && self.ramps.is_empty()
    }

    /// Schedules the reaction to a write at `now`.
    pub(super) fn schedule(
        &mut self,
        rule: ReactionRule,
        written: WrittenRegisters<'_>,
        now: VirtualTime,
    ) {
        let ReactionRule { after, target, effect } = rule;
        let step = match effect {
            ReactionEffect::Set(words) => ReactionStep::Set(words),
            ReactionEffect::Copy => ReactionStep::Set(convert(target.format, written)),
            ReactionEffect::Ramp { per_second } => match written.format.number(written.words) {
                Some(to) => ReactionStep::Ramp { to, per_second },
                // The check of the layout admits ramps between numbers only.
                None => return,
            },
        };
        self.scheduled += 1;
        self.pending.insert((now.after(after), self.scheduled), (target, step));
    }

    /// Cancels the ramps of values that another write has changed.
    pub(super) fn cancel_ramps(&mut self, table: Table, stored: &Range<usize>) {
        self.ramps.retain(|ramp| {
            let own = ramp.target.stored();
            ramp.target.table != table || own.end <= stored.start || stored.end <= own.start
        });
    }

    /// Applies the reactions that are due at `now`.
    pub(super) fn apply_due(&mut self, now: VirtualTime, tables: &mut RegisterTables) {
        while let Some(next) = self.pending.first_entry()
            && next.key().0 <= now
        {
            let ((due, _), (target, step)) = next.remove_entry();
            let stored = tables.words_mut(target.table, target.stored());
            match step {
                ReactionStep::Set(new) => {
                    self.cancel_ramps(target.table, &target.stored());
                    stored.copy_from_slice(&new);
                }
                ReactionStep::Ramp { to, per_second } => {
                    self.start_ramp(target, to, per_second, due, stored);
                }
            }
        }
        self.ramps.retain(|ramp| {
            let (value, arrived) = ramp.value_at(now);
            let stored = tables.words_mut(ramp.target.table, ramp.target.stored());
            ramp.target.format.write_number(value, stored);
            !arrived
        });
    }

    /// Starts a ramp from the value reached. If the target is moving already, that is the exact
    /// value: with the rounded value of its register, a slow ramp that is restarted again and again
    /// would never progress.
    fn start_ramp(
        &mut self,
        target: ReactionTarget,
        to: Number,
        per_second: f64,
        since: VirtualTime,
        stored: &[u16],
    ) {
        let current = self.ramps.iter().find(|ramp| ramp.target == target);
        let from =
            current.map(|ramp| ramp.value_at(since).0).or_else(|| target.format.number(stored));
        let from = from.map_or(0.0, Number::as_f64);
        self.cancel_ramps(target.table, &target.stored());
        self.ramps.push(RampProgress { target, since, from, to, per_second });
    }
}

impl RampProgress {
    /// Returns the value at `now`, and true if it has arrived. A ramp from or to a number that is not
    /// finite arrives at once.
    fn value_at(&self, now: VirtualTime) -> (Number, bool) {
        let distance = self.to.as_f64() - self.from;
        let travelled = self.per_second * now.since(self.since).as_secs_f64();
        if distance.is_finite() && travelled < distance.abs() {
            (Number::Float(self.from + travelled.copysign(distance)), false)
        } else {
            (self.to, true)
        }
    }
}

/// Converts a written value to the format of another register.
fn convert(format: RegisterFormat, written: WrittenRegisters<'_>) -> Vec<u16> {
    let mut words = vec![0; format.words()];
    match written.format.number(written.words) {
        Some(number) => format.write_number(number, &mut words),
        None => format.write_bytes(&written.format.bytes(written.words), &mut words),
    }
    words
}
