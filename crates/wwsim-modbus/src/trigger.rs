//! The conditions under which a rule fires.
//!
//! They are checked in a fixed order: the rule is armed; the time lies in its window; the match is one
//! of the first, or the nth; the draw falls below the probability. The place of the rule decides which
//! requests are a match.

use std::time::Duration;

use wwsim_time::clock::VirtualTime;
use wwsim_time::rng::Draws;

use crate::limits;
use crate::problem::Problem;

/// The conditions of a rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Trigger {
    /// True if the rule is armed at the start.
    pub armed: bool,
    /// The time from arming to the beginning of the window.
    pub after: Duration,
    /// The length of the window. `None` if it does not end.
    pub duration: Option<Duration>,
    /// The period in which the window recurs; needs `duration`.
    pub every: Option<Duration>,
    /// The rule fires only on this many matches after arming.
    pub first: Option<u64>,
    /// The rule fires only on these matches after arming, counted from 1. Empty for every match.
    pub nth: Vec<u64>,
    /// The probability that the rule fires on a match that meets the other conditions, `0.0..=1.0`.
    pub probability: f64,
}

impl Default for Trigger {
    fn default() -> Self {
        Self {
            armed: true,
            after: Duration::ZERO,
            duration: None,
            every: None,
            first: None,
            nth: Vec::new(),
            probability: 1.0,
        }
    }
}

impl Trigger {
    /// Returns the reasons why this trigger can never fire, each with its key.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !(0.0..=1.0).contains(&self.probability) {
            let message = format!(
                "probability {}: expected a number above 0 and at most 1",
                self.probability
            );
            problems.push(Problem::new("probability", message));
        } else if self.probability == 0.0 {
            problems.push(Problem::new(
                "probability",
                "probability 0 never fires; leave the rule out, or use `armed: false`",
            ));
        }
        if self.duration.is_some_and(|duration| duration.is_zero()) {
            problems.push(Problem::new(
                "for",
                "a window of no length never fires; leave `for` out to last for good",
            ));
        }
        match (self.every, self.duration) {
            (Some(_), None) => {
                problems.push(Problem::new(
                    "every",
                    "`every` needs `for`: how long the window lasts each time",
                ));
            }
            (Some(every), Some(duration)) if every < duration => {
                problems.push(Problem::new(
                    "every",
                    format!("every {every:?} is shorter than the window of {duration:?}"),
                ));
            }
            _ => {}
        }
        if self.first == Some(0) {
            problems
                .push(Problem::new("first", "the first 0 matches are none; expected 1 or more"));
        }
        if self.nth.len() > limits::NTH_MATCHES {
            let (given, most) = (self.nth.len(), limits::NTH_MATCHES);
            let message =
                format!("{given} matches; a rule names at most {most}; use `first` or more rules");
            problems.push(Problem::new("nth", message));
        } else if self.nth.contains(&0) {
            problems.push(Problem::new("nth", "matches are counted from 1; there is no match 0"));
        } else if let Some(first) =
            self.first.filter(|first| !self.nth.is_empty() && self.nth.iter().all(|n| n > first))
        {
            problems.push(Problem::new(
                "nth",
                format!("none of nth {:?} is among the first {first} matches", self.nth),
            ));
        }
        problems
    }

    /// Returns the state at `now` of the window of a rule armed at `armed_at`.
    #[must_use]
    pub fn window(&self, armed_at: VirtualTime, now: VirtualTime) -> WindowState {
        let begin = armed_at.after(self.after);
        if now < begin {
            return WindowState::closed(Some(begin));
        }
        let Some(duration) = self.duration else { return WindowState::open(begin, None) };
        let Some(every) = self.every else {
            let end = begin.after(duration);
            return if now < end {
                WindowState::open(begin, Some(end))
            } else {
                WindowState::closed(None)
            };
        };
        if duration >= every {
            return WindowState::open(begin, None);
        }
        let period = u64::try_from(every.as_nanos()).unwrap_or(u64::MAX).max(1);
        let rounds = (now.as_nanos() - begin.as_nanos()) / period;
        let round_begin = begin.as_nanos() + rounds * period;
        let end = VirtualTime::from_nanos(round_begin).after(duration);
        if now < end {
            WindowState::open(VirtualTime::from_nanos(round_begin), Some(end))
        } else {
            WindowState::closed(Some(VirtualTime::from_nanos(round_begin.saturating_add(period))))
        }
    }
}

/// The state of the window of a trigger at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowState {
    /// The beginning of the window. `None` if no window is open.
    pub open_since: Option<VirtualTime>,
    /// The end of the window, or the beginning of the next one. `None` if the state never changes.
    pub next_change: Option<VirtualTime>,
}

impl WindowState {
    const fn open(since: VirtualTime, next_change: Option<VirtualTime>) -> Self {
        Self { open_since: Some(since), next_change }
    }

    const fn closed(next_change: Option<VirtualTime>) -> Self {
        Self { open_since: None, next_change }
    }

    /// Returns `true` if a window is open.
    #[must_use]
    pub const fn is_open(self) -> bool {
        self.open_since.is_some()
    }
}

/// The state of a rule's trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TriggerState {
    /// True if the rule is armed.
    pub armed: bool,
    /// The moment of the last arming or disarming.
    pub armed_at: VirtualTime,
    /// The number of matches since then.
    pub ordinal: u64,
}

impl TriggerState {
    /// Returns the state of a rule that begins at `now`.
    #[must_use]
    pub fn begin(trigger: &Trigger, now: VirtualTime) -> Self {
        Self { armed: trigger.armed, armed_at: now, ordinal: 0 }
    }

    /// Counts a match, and returns `true` if the rule fires. Each call counts one match. `draws` are the
    /// draws of this match.
    pub fn count_and_decide(
        &mut self,
        trigger: &Trigger,
        now: VirtualTime,
        draws: &mut Draws,
    ) -> bool {
        self.ordinal += 1;
        self.armed
            && trigger.window(self.armed_at, now).is_open()
            && trigger.first.is_none_or(|first| self.ordinal <= first)
            && (trigger.nth.is_empty() || trigger.nth.contains(&self.ordinal))
            && draws.chance(trigger.probability)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wwsim_time::rng::RandomStream;

    fn at(seconds: u64) -> VirtualTime {
        VirtualTime::ZERO.after(Duration::from_secs(seconds))
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_window_opens_closes_and_recurs() {
        let trigger = Trigger {
            after: seconds(10),
            duration: Some(seconds(5)),
            every: Some(seconds(60)),
            ..Trigger::default()
        };
        let open: Vec<u64> = (0..140).filter(|t| trigger.window(at(0), at(*t)).is_open()).collect();
        let expected: Vec<u64> = (10..15).chain(70..75).chain(130..135).collect();
        assert_eq!(open, expected);
        assert_eq!(trigger.window(at(0), at(3)).next_change, Some(at(10)));
        assert_eq!(trigger.window(at(0), at(12)).next_change, Some(at(15)));
        assert_eq!(trigger.window(at(0), at(20)).next_change, Some(at(70)));
    }

    #[test]
    fn a_window_counts_from_arming() {
        let trigger = Trigger { after: seconds(10), ..Trigger::default() };
        assert!(!trigger.window(at(100), at(105)).is_open());
        assert!(trigger.window(at(100), at(110)).is_open());
    }

    #[test]
    fn first_and_nth_count_the_matches() {
        let fired = |trigger: Trigger| -> Vec<u64> {
            let mut state = TriggerState::begin(&trigger, at(0));
            (1..=6)
                .filter(|n| {
                    state.count_and_decide(
                        &trigger,
                        at(0),
                        &mut Draws::new(0, RandomStream::named("t"), *n),
                    )
                })
                .collect()
        };
        assert_eq!(fired(Trigger { first: Some(2), ..Trigger::default() }), [1, 2]);
        assert_eq!(fired(Trigger { nth: vec![2, 5], ..Trigger::default() }), [2, 5]);
        assert_eq!(fired(Trigger { armed: false, ..Trigger::default() }), [0; 0]);
    }

    #[test]
    fn triggers_that_cannot_fire_are_reported_by_key() {
        let keys = |trigger: Trigger| -> Vec<String> {
            trigger.problems().into_iter().map(|problem| problem.path).collect()
        };
        assert_eq!(keys(Trigger::default()), [] as [&str; 0]);
        assert_eq!(keys(Trigger { probability: 0.0, ..Trigger::default() }), ["probability"]);
        assert_eq!(keys(Trigger { probability: f64::NAN, ..Trigger::default() }), ["probability"]);
        assert_eq!(keys(Trigger { duration: Some(Duration::ZERO), ..Trigger::default() }), ["for"]);
        assert_eq!(keys(Trigger { every: Some(seconds(1)), ..Trigger::default() }), ["every"]);
        assert_eq!(
            keys(Trigger { first: Some(0), nth: vec![0], ..Trigger::default() }),
            ["first", "nth"]
        );
        assert_eq!(keys(Trigger { first: Some(2), nth: vec![3], ..Trigger::default() }), ["nth"]);
    }
}
