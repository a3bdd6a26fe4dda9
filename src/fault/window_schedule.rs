//! The silences of a meter and the restarts of its ids, one window after another.
//!
//! A device that looks at its meter again after a year goes through millions of windows. Rules with the
//! same period are merged into one pattern, and a heap orders the sources by their next window, so that
//! a window costs some nanoseconds with any number of rules.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::ops::Range;

use super::{Episode, MeterEffect, Trigger};
use crate::clock::VirtualTime;

/// The effect of a window on the readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Interruption {
    /// No reading reaches the device.
    Silence {
        /// True if the device forgets its meter as well.
        forgets: bool,
    },
    /// The ids begin again at the beginning of the window.
    Restart,
}

/// A window, which begins at `from` and ends before `to`. The length of a restart has no meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the type says it")]
pub struct ScheduledWindow {
    pub interruption: Interruption,
    pub from: VirtualTime,
    pub to: VirtualTime,
}

/// All windows from a moment on, in the order in which they begin. The same window may come more than
/// once, and windows may overlap.
#[derive(Debug)]
pub struct WindowSchedule {
    begin: u64,
    /// The beginnings and ends of the windows of the sources, in ns after the beginning of a round.
    patterns: Vec<(u64, u64)>,
    sources: Vec<WindowSource>,
    /// The beginning of the next window of each source.
    next: BinaryHeap<Reverse<(u64, usize)>>,
}

/// Windows with the same effect and the same period. The windows of a pattern do not overlap. All times
/// are in ns.
#[derive(Debug)]
struct WindowSource {
    interruption: Interruption,
    pattern: Range<usize>,
    /// The position in the pattern of the next window.
    next: usize,
    /// The beginning of the round of the next window.
    round: u64,
    /// The period. 0 if the pattern does not recur.
    period: u64,
    /// The end of the beginnings: no window begins here or later.
    before: u64,
    /// The end of all windows: an open one ends here.
    until: u64,
}

/// An episode whose windows recur.
#[derive(Debug, Clone, Copy)]
struct RecurringWindow {
    interruption: Interruption,
    begin: u64,
    duration: u64,
    period: u64,
    until: u64,
}

impl WindowSchedule {
    /// Creates the schedule of the windows that are open at `from` or begin later, and of the restarts at
    /// `from` or later.
    pub(super) fn new<'a>(episodes: impl Iterator<Item = &'a Episode>, from: VirtualTime) -> Self {
        let mut schedule = Self {
            begin: from.as_nanos(),
            patterns: Vec::new(),
            sources: Vec::new(),
            next: BinaryHeap::new(),
        };
        let mut recurring = Vec::new();
        for episode in episodes {
            let interruption = match episode.effect {
                MeterEffect::Silent(silence) => {
                    Interruption::Silence { forgets: silence.forgets() }
                }
                MeterEffect::RestartIds => Interruption::Restart,
                _ => continue,
            };
            let Trigger { after, duration, every, .. } = episode.when;
            let begin = episode.armed_at.after(after);
            if duration.is_some_and(|duration| duration.is_zero()) {
                continue;
            }
            let to = match (duration, every) {
                (Some(duration), Some(every)) if every > duration => {
                    recurring.push(RecurringWindow {
                        interruption,
                        begin: begin.as_nanos(),
                        duration: nanos(duration),
                        period: nanos(every),
                        until: episode.until.as_nanos(),
                    });
                    continue;
                }
                (Some(duration), None) => begin.after(duration),
                // The window does not end, or recurs before it ends.
                (None, _) | (Some(_), Some(_)) => VirtualTime::MAX,
            };
            schedule.add_once(ScheduledWindow { interruption, from: begin, to }, episode.until);
        }
        let together = |one: &RecurringWindow| (one.interruption, one.period, one.until);
        recurring.sort_unstable_by_key(together);
        for rules in recurring.chunk_by(|one, other| together(one) == together(other)) {
            schedule.add_recurring(rules);
        }
        schedule
    }

    /// Adds a window.
    pub fn add(&mut self, window: ScheduledWindow) {
        self.add_once(window, VirtualTime::MAX);
    }

    /// Returns the next window that begins before `end`.
    pub fn next(&mut self, end: VirtualTime) -> Option<ScheduledWindow> {
        let mut first = self.next.peek_mut()?;
        let Reverse((from, index)) = *first;
        if from >= end.as_nanos() {
            return None;
        }
        let source = &mut self.sources[index];
        let (_, to) = source.window(&self.patterns);
        source.advance();
        match source.begins(&self.patterns) {
            Some(next) => first.0.0 = next,
            None => drop(PeekMut::pop(first)),
        }
        let (from, to) = (VirtualTime::from_nanos(from), VirtualTime::from_nanos(to));
        Some(ScheduledWindow { interruption: source.interruption, from, to })
    }

    fn add_once(&mut self, window: ScheduledWindow, until: VirtualTime) {
        let ScheduledWindow { interruption, from, to } = window;
        let pattern = self.pattern([(0, to.as_nanos() - from.as_nanos())]);
        self.add_source(WindowSource {
            interruption,
            next: pattern.start,
            pattern,
            round: from.as_nanos(),
            period: 0,
            before: until.as_nanos(),
            until: until.as_nanos(),
        });
    }

    /// Adds rules with the same period and the same end. Once all of them have begun, their windows are
    /// those of one pattern. Each rule has a source of its own for one round longer, because a window of
    /// the pattern may have begun before.
    fn add_recurring(&mut self, rules: &[RecurringWindow]) {
        let Some(one) = rules.first().copied() else { return };
        let RecurringWindow { interruption, period, until, .. } = one;
        let all = rules.iter().map(|rule| rule.begin).max().unwrap_or(one.begin);
        let together = if rules.len() == 1 { u64::MAX } else { all.saturating_add(period) };
        for rule in rules {
            let pattern = self.pattern([(0, rule.duration)]);
            self.add_source(WindowSource {
                interruption,
                next: pattern.start,
                pattern,
                round: rule.begin,
                period,
                before: until.min(together),
                until,
            });
        }
        if together >= until {
            return;
        }
        let merged = merge(rules, all);
        let whole = merged.first().is_some_and(|(from, to)| to - from >= period);
        if whole && interruption != Interruption::Restart {
            let from = VirtualTime::from_nanos(together);
            let to = VirtualTime::MAX;
            self.add_once(
                ScheduledWindow { interruption, from, to },
                VirtualTime::from_nanos(until),
            );
            return;
        }
        let pattern = self.pattern(merged);
        self.add_source(WindowSource {
            interruption,
            next: pattern.start,
            pattern,
            round: all,
            period,
            before: until,
            until,
        });
    }

    fn pattern(&mut self, windows: impl IntoIterator<Item = (u64, u64)>) -> Range<usize> {
        let start = self.patterns.len();
        self.patterns.extend(windows);
        start..self.patterns.len()
    }

    /// Adds a source, beginning with the first of its windows that is not over.
    fn add_source(&mut self, mut source: WindowSource) {
        let passed = self.begin.saturating_sub(source.round);
        if let Some(rounds) = passed.checked_div(source.period) {
            // A window is shorter than a round, so no window of the round before the last is open.
            source.round += rounds.saturating_sub(1) * source.period;
        }
        while let Some(begins) = source.begins(&self.patterns) {
            let over = match source.interruption {
                Interruption::Silence { .. } => source.window(&self.patterns).1 <= self.begin,
                Interruption::Restart => begins < self.begin,
            };
            if !over {
                self.next.push(Reverse((begins, self.sources.len())));
                self.sources.push(source);
                return;
            }
            source.advance();
        }
    }
}

impl WindowSource {
    /// Returns the next window.
    fn window(&self, patterns: &[(u64, u64)]) -> (u64, u64) {
        let (from, to) = patterns.get(self.next).copied().unwrap_or((u64::MAX, u64::MAX));
        let to = self.round.saturating_add(to).min(self.until);
        (self.round.saturating_add(from), to)
    }

    /// Returns the beginning of the next window. `None` if there is none.
    fn begins(&self, patterns: &[(u64, u64)]) -> Option<u64> {
        Some(self.window(patterns).0).filter(|from| *from < self.before)
    }

    fn advance(&mut self) {
        self.next += 1;
        if self.next < self.pattern.end {
            return;
        }
        self.next = self.pattern.start;
        self.round = match self.period {
            0 => u64::MAX,
            period => self.round.saturating_add(period),
        };
    }
}

/// Returns the windows of the round that begins at `all`. They neither overlap nor touch; a window that
/// goes on beyond the end of the round includes the part of the next round. A window of a whole round or
/// more leaves no gap.
fn merge(rules: &[RecurringWindow], all: u64) -> Vec<(u64, u64)> {
    let mut windows: Vec<(u64, u64)> = rules
        .iter()
        .map(|rule| {
            let from = (rule.period - (all - rule.begin) % rule.period) % rule.period;
            (
                from,
                if rule.interruption == Interruption::Restart {
                    from
                } else {
                    from.saturating_add(rule.duration)
                },
            )
        })
        .collect();
    windows.sort_unstable();
    windows.dedup_by(|next, last| {
        let touches = next.0 <= last.1;
        if touches {
            last.1 = last.1.max(next.1);
        }
        touches
    });
    let period = rules.first().map_or(0, |rule| rule.period);
    let within = windows.last().map_or(0, |last| {
        // The number of windows of the next round that the last window reaches.
        windows.iter().take_while(|first| first.0.saturating_add(period) <= last.1).count()
    });
    let within = within.min(windows.len().saturating_sub(1));
    let reached = within.checked_sub(1).map(|index| windows[index].1.saturating_add(period));
    if let (Some(reached), Some(last)) = (reached, windows.last_mut()) {
        last.1 = last.1.max(reached);
    }
    windows.drain(..within);
    windows
}

fn nanos(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
