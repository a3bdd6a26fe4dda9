//! The silences of a meter and the restarts of its ids, one window after another.
//!
//! Who looks at a meter again after a year has millions of windows to go through. Rules that come
//! round in the same time are laid over each other once, and a heap knows whose window begins next, so
//! that a window costs some nanoseconds, however many rules there are.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::ops::Range;

use super::{Episode, MeterEffect, Trigger};
use crate::clock::VirtualTime;

/// What a window does to the readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Interruption {
    /// None gets through.
    Silence {
        /// And the device forgets its meter.
        forgets: bool,
    },
    /// Their ids begin anew where the window begins.
    Restart,
}

/// A window: from a moment to before another one. A restart has no length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "see above")]
pub struct ScheduledWindow {
    pub cut: Interruption,
    pub from: VirtualTime,
    pub to: VirtualTime,
}

/// All windows from a moment on, in the order in which they begin. The same one may come more than
/// once, and they may overlap.
#[derive(Debug)]
pub struct WindowSchedule {
    begin: u64,
    /// Where the windows of the sources begin and end, in ns after their rounds do.
    patterns: Vec<(u64, u64)>,
    sources: Vec<WindowSource>,
    /// Whose window begins when.
    next: BinaryHeap<Reverse<(u64, usize)>>,
}

/// Windows that do the same and come round together; of one pattern none overlap. All in ns.
#[derive(Debug)]
struct WindowSource {
    cut: Interruption,
    pattern: Range<usize>,
    /// Which one of the pattern is next, and when its round began.
    place: usize,
    round: u64,
    /// After how much time it comes round; 0 where it does not.
    period: u64,
    /// None begins here or later.
    before: u64,
    /// None lasts longer.
    until: u64,
}

/// An episode whose windows come round.
#[derive(Debug, Clone, Copy)]
struct RecurringWindow {
    cut: Interruption,
    begin: u64,
    lasts: u64,
    period: u64,
    until: u64,
}

impl WindowSchedule {
    /// What is left of these at `from` and later: windows that are open then or begin later, restarts
    /// at it or later.
    pub(super) fn new<'a>(episodes: impl Iterator<Item = &'a Episode>, from: VirtualTime) -> Self {
        let mut course = Self {
            begin: from.as_nanos(),
            patterns: Vec::new(),
            sources: Vec::new(),
            next: BinaryHeap::new(),
        };
        let mut periodic = Vec::new();
        for episode in episodes {
            let cut = match episode.effect {
                MeterEffect::Silent(silence) => {
                    Interruption::Silence { forgets: silence.forgets() }
                }
                MeterEffect::RestartIds => Interruption::Restart,
                _ => continue,
            };
            let Trigger { after, lasts, every, .. } = episode.when;
            let begin = episode.armed_at.after(after);
            if lasts.is_some_and(|lasts| lasts.is_zero()) {
                continue;
            }
            let to = match (lasts, every) {
                (Some(lasts), Some(every)) if every > lasts => {
                    periodic.push(RecurringWindow {
                        cut,
                        begin: begin.as_nanos(),
                        lasts: nanos(lasts),
                        period: nanos(every),
                        until: episode.until.as_nanos(),
                    });
                    continue;
                }
                (Some(lasts), None) => begin.after(lasts),
                // It goes on for good, or comes round before it is over.
                (None, _) | (Some(_), Some(_)) => VirtualTime::MAX,
            };
            course.once(ScheduledWindow { cut, from: begin, to }, episode.until);
        }
        let together = |one: &RecurringWindow| (one.cut, one.period, one.until);
        periodic.sort_unstable_by_key(together);
        for rules in periodic.chunk_by(|one, other| together(one) == together(other)) {
            course.periodic(rules);
        }
        course
    }

    /// Adds a window.
    pub fn add(&mut self, window: ScheduledWindow) {
        self.once(window, VirtualTime::MAX);
    }

    /// The next one that begins before `end`.
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
        Some(ScheduledWindow { cut: source.cut, from, to })
    }

    fn once(&mut self, window: ScheduledWindow, until: VirtualTime) {
        let ScheduledWindow { cut, from, to } = window;
        let pattern = self.pattern([(0, to.as_nanos() - from.as_nanos())]);
        self.put(WindowSource {
            cut,
            place: pattern.start,
            pattern,
            round: from.as_nanos(),
            period: 0,
            before: until.as_nanos(),
            until: until.as_nanos(),
        });
    }

    /// Rules that come round in the same time and end together. From where all of them have begun
    /// their windows are those of one pattern; each goes its own way for one round longer, because a
    /// window of the pattern may have begun before that.
    fn periodic(&mut self, rules: &[RecurringWindow]) {
        let Some(one) = rules.first().copied() else { return };
        let RecurringWindow { cut, period, until, .. } = one;
        let all = rules.iter().map(|rule| rule.begin).max().unwrap_or(one.begin);
        let together = if rules.len() == 1 { u64::MAX } else { all.saturating_add(period) };
        for rule in rules {
            let pattern = self.pattern([(0, rule.lasts)]);
            self.put(WindowSource {
                cut,
                place: pattern.start,
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
        let laid = laid_over_each_other(rules, all);
        let whole = laid.first().is_some_and(|(from, to)| to - from >= period);
        if whole && cut != Interruption::Restart {
            let from = VirtualTime::from_nanos(together);
            let to = VirtualTime::MAX;
            self.once(ScheduledWindow { cut, from, to }, VirtualTime::from_nanos(until));
            return;
        }
        let pattern = self.pattern(laid);
        self.put(WindowSource {
            cut,
            place: pattern.start,
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

    /// Puts in what of it is left.
    fn put(&mut self, mut source: WindowSource) {
        let passed = self.begin.saturating_sub(source.round);
        if let Some(rounds) = passed.checked_div(source.period) {
            // A window is shorter than a round: none of the round before the last is open.
            source.round += rounds.saturating_sub(1) * source.period;
        }
        while let Some(begins) = source.begins(&self.patterns) {
            let over = match source.cut {
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
    /// The next window.
    fn window(&self, patterns: &[(u64, u64)]) -> (u64, u64) {
        let (from, to) = patterns.get(self.place).copied().unwrap_or((u64::MAX, u64::MAX));
        let to = self.round.saturating_add(to).min(self.until);
        (self.round.saturating_add(from), to)
    }

    /// When it begins; none where there is none any more.
    fn begins(&self, patterns: &[(u64, u64)]) -> Option<u64> {
        Some(self.window(patterns).0).filter(|from| *from < self.before)
    }

    fn advance(&mut self) {
        self.place += 1;
        if self.place < self.pattern.end {
            return;
        }
        self.place = self.pattern.start;
        self.round = match self.period {
            0 => u64::MAX,
            period => self.round.saturating_add(period),
        };
    }
}

/// The windows of a round from `all` on, none of which overlap or touch; one that goes on beyond the
/// round's end has that of the next one in it. One of a whole round or more leaves no gap.
fn laid_over_each_other(rules: &[RecurringWindow], all: u64) -> Vec<(u64, u64)> {
    let mut windows: Vec<(u64, u64)> = rules
        .iter()
        .map(|rule| {
            let from = (rule.period - (all - rule.begin) % rule.period) % rule.period;
            (
                from,
                if rule.cut == Interruption::Restart {
                    from
                } else {
                    from.saturating_add(rule.lasts)
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
        // So many of the next round are reached.
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
