//! Episodes: the periods in which rules on meters were armed.
//!
//! A rule on a meter has an [`Episode`] from each arming to the next disarming or removal. Episodes
//! outlive their rules, because the device goes on counting from the readings that it missed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use super::seam::{Fault, MeterEffect, Silence};
use super::{DrawnShare, Rule, Trigger, TriggerState, WindowSchedule};
use crate::clock::VirtualTime;
use crate::limits;
use crate::modbus::trigger::WindowState;

/// The number of past episodes that are kept: as many as rules. The report ids count their windows. The
/// effects of an older episode are contained in the count of each device that was read since.
const PAST_EPISODES: usize = limits::FAULT_RULES;

/// A rule on meters for as long as it was armed.
#[derive(Debug, Clone, PartialEq)]
pub struct Episode {
    /// The id of the device. `None` for every device.
    pub device: Option<String>,
    /// The share of the devices. `None` for all of them.
    pub share: Option<DrawnShare>,
    /// The effect on the meter while a window is open.
    pub effect: MeterEffect,
    /// The windows.
    pub when: Trigger,
    /// The moment from which the windows count.
    pub armed_at: VirtualTime,
    /// The end of all windows.
    pub until: VirtualTime,
}

impl Episode {
    /// Returns the state of the window at `at`.
    fn window(&self, at: VirtualTime) -> WindowState {
        if at >= self.until {
            return WindowState { open_since: None, next_change: None };
        }
        let window = self.when.window(self.armed_at, at);
        let next_change = match window.next_change {
            // An open window ends at the latest with the episode.
            change if window.is_open() => {
                Some(change.map_or(self.until, |end| end.min(self.until)))
            }
            change => change.filter(|begin| *begin < self.until),
        };
        WindowState { next_change, ..window }
    }
}

/// The episodes of the meters of a house, past and present, in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Episodes {
    all: Vec<Episode>,
    /// The positions of the episodes of every device, or of a share of the devices.
    any: Vec<usize>,
    /// The positions of the episodes of one device, by its id.
    named: BTreeMap<String, Vec<usize>>,
}

/// The episodes of one meter, past and present.
#[derive(Debug, Clone, Copy)]
pub struct ActiveFaults<'a> {
    all: &'a [Episode],
    device: &'a str,
    any: &'a [usize],
    own: &'a [usize],
}

/// The faults of one meter at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MeterState {
    /// The reason why no reading reaches the device, if none does.
    pub silent: Option<Silence>,
    /// True if one of the silences, not only the first, makes the device forget its meter.
    pub forgets: bool,
    /// The moment since which the values stand still.
    pub frozen: Option<VirtualTime>,
    /// The Wh by which the counter of imported energy is too low.
    pub lost: u64,
    /// The error of the meter's clock in ms, beside its own drift.
    pub clock: i64,
    /// The phases that are not measured.
    pub missing: [bool; 3],
    /// True if `report.id` begins again at exactly this moment.
    pub restart: bool,
    /// The first later moment at which any of this changes.
    pub until: VirtualTime,
}

impl Default for MeterState {
    fn default() -> Self {
        Self {
            silent: None,
            forgets: false,
            frozen: None,
            lost: 0,
            clock: 0,
            missing: [false; 3],
            restart: false,
            until: VirtualTime::MAX,
        }
    }
}

impl Episodes {
    /// Creates the episodes of a house. The first silence of a meter decides its reason.
    #[must_use]
    pub fn new(episodes: Vec<Episode>) -> Arc<Self> {
        let mut new = Self { all: episodes, ..Self::default() };
        for (position, episode) in new.all.iter().enumerate() {
            match &episode.device {
                None => new.any.push(position),
                Some(device) => new.named.entry(device.clone()).or_default().push(position),
            }
        }
        Arc::new(new)
    }

    /// Returns no episodes. Always returns the same allocation.
    #[must_use]
    pub fn none() -> Arc<Self> {
        static NONE: LazyLock<Arc<Episodes>> = LazyLock::new(Arc::default);
        Arc::clone(&NONE)
    }

    /// Returns `true` if there are no episodes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Returns the episodes of one device.
    #[must_use]
    #[inline]
    pub fn of<'a>(&'a self, device: &'a str) -> ActiveFaults<'a> {
        let own = self.named.get(device).map_or(&[][..], Vec::as_slice);
        ActiveFaults { all: &self.all, device, any: &self.any, own }
    }

    /// Returns the faults of the meter of `device` at `at`.
    #[must_use]
    pub fn at(&self, device: &str, at: VirtualTime) -> MeterState {
        self.of(device).at(at)
    }
}

impl<'a> ActiveFaults<'a> {
    /// Returns the episodes in order.
    fn episodes(self) -> impl Iterator<Item = &'a Episode> {
        let Self { all, device, mut any, mut own } = self;
        let all = std::iter::from_fn(move || {
            let next = match (any.split_first(), own.split_first()) {
                (Some((first, rest)), None) => {
                    any = rest;
                    first
                }
                (Some((first, rest)), Some((other, _))) if first < other => {
                    any = rest;
                    first
                }
                (_, Some((first, rest))) => {
                    own = rest;
                    first
                }
                (None, None) => return None,
            };
            all.get(*next)
        });
        all.filter(move |episode| episode.share.is_none_or(|share| share.includes(device)))
    }

    /// Returns `true` if there are no episodes.
    #[must_use]
    #[inline]
    pub fn is_empty(self) -> bool {
        self.any.is_empty() && self.own.is_empty()
    }

    /// Returns the silences and restarts of ids from a moment on.
    #[must_use]
    pub fn window_schedule(self, from: VirtualTime) -> WindowSchedule {
        WindowSchedule::new(self.episodes(), from)
    }

    /// Returns the faults of the meter at `at`.
    #[must_use]
    #[inline]
    pub fn at(self, at: VirtualTime) -> MeterState {
        // Called several times for each reading, and mostly there is no episode.
        if self.is_empty() { MeterState::default() } else { self.combined(at) }
    }

    fn combined(self, at: VirtualTime) -> MeterState {
        let mut state = MeterState::default();
        for episode in self.episodes() {
            let window = episode.window(at);
            state.until = state.until.min(window.next_change.unwrap_or(VirtualTime::MAX));
            let Some(since) = window.open_since else { continue };
            match episode.effect {
                MeterEffect::Silent(silence) => {
                    state.silent = state.silent.or(Some(silence));
                    state.forgets |= silence.forgets();
                }
                MeterEffect::Frozen => {
                    state.frozen = Some(state.frozen.map_or(since, |other| other.min(since)));
                }
                MeterEffect::JumpBack(lost) => state.lost = state.lost.saturating_add(lost),
                MeterEffect::ClockDrift(drift) => {
                    state.clock = state.clock.saturating_add(drift.after(at.since(since)));
                }
                MeterEffect::MissingPhases(missing) => {
                    for (phase, missing) in state.missing.iter_mut().zip(missing) {
                        *phase |= missing;
                    }
                }
                MeterEffect::RestartIds => state.restart |= since == at,
            }
        }
        state
    }
}

/// The episodes of an engine.
#[derive(Debug, Default)]
pub(super) struct EpisodeLog {
    /// The episodes of rules that were disarmed or removed.
    past: VecDeque<Episode>,
    /// The past episodes, and those of the rules that are armed.
    all: Arc<Episodes>,
}

impl EpisodeLog {
    /// Forgets the past episodes.
    pub(super) fn clear(&mut self) {
        self.past.clear();
    }

    /// Adds an episode that ended, if there was one.
    pub(super) fn end(&mut self, episode: Option<Episode>) {
        let Some(episode) = episode else { return };
        if self.past.len() == PAST_EPISODES {
            self.past.pop_front();
        }
        self.past.push_back(episode);
    }

    /// Combines the past episodes with those of the rules that are armed.
    pub(super) fn renew(&mut self, armed: impl Iterator<Item = Episode>) {
        self.all = Episodes::new(self.past.iter().cloned().chain(armed).collect());
    }

    /// Returns the number of past episodes.
    pub(super) fn past(&self) -> usize {
        self.past.len()
    }

    pub(super) fn all(&self) -> Arc<Episodes> {
        Arc::clone(&self.all)
    }
}

impl Rule {
    /// Returns the episode of a rule on meters until `until`. `None` if the rule is disarmed, or is on
    /// something else.
    ///
    /// Both ends lie just after the moment of the change: an event at that moment happened before the
    /// change, whether or not somebody looked in between.
    pub(super) fn episode(
        &self,
        state: &TriggerState,
        share: Option<DrawnShare>,
        until: VirtualTime,
    ) -> Option<Episode> {
        const JUST_AFTER: Duration = Duration::from_nanos(1);
        let Fault::Meter { device, effect } = &self.fault else { return None };
        state.armed.then(|| Episode {
            device: device.clone(),
            share,
            effect: *effect,
            when: self.when.clone(),
            armed_at: state.armed_at.after(JUST_AFTER),
            until: until.after(JUST_AFTER),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::ClockDrift;

    fn at(seconds: u64) -> VirtualTime {
        VirtualTime::ZERO.after(Duration::from_secs(seconds))
    }

    fn episode(effect: MeterEffect, after: u64, duration: Option<u64>) -> Episode {
        Episode {
            device: None,
            share: None,
            effect,
            when: Trigger {
                after: Duration::from_secs(after),
                duration: duration.map(Duration::from_secs),
                ..Trigger::default()
            },
            armed_at: at(0),
            until: VirtualTime::MAX,
        }
    }

    #[test]
    fn faults_follow_the_windows_and_end_with_the_rule() {
        let mut silent = episode(MeterEffect::Silent(Silence::NoData), 10, Some(100));
        silent.until = at(50);
        let drift = ClockDrift { offset: -2000, per_day: 86_400_000 };
        let drift = episode(MeterEffect::ClockDrift(drift), 20, None);
        let episodes = Episodes::new(vec![silent, drift]);
        let seen = |seconds| {
            let state = episodes.at("A", at(seconds));
            (state.silent, state.clock, state.until)
        };
        assert_eq!(seen(0), (None, 0, at(10)));
        assert_eq!(seen(10), (Some(Silence::NoData), 0, at(20)));
        assert_eq!(seen(20), (Some(Silence::NoData), -2000, at(50)));
        assert_eq!(seen(50), (None, 28_000, VirtualTime::MAX));
    }

    #[test]
    fn a_rule_removed_before_its_window_has_no_effect() {
        let mut early = episode(MeterEffect::Frozen, 10, None);
        early.until = at(10);
        assert_eq!(Episodes::new(vec![early]).at("A", at(3)), MeterState::default());
    }

    #[test]
    fn ids_restart_only_at_the_beginning_of_each_window() {
        let mut restart = episode(MeterEffect::RestartIds, 5, Some(10));
        restart.when.every = Some(Duration::from_mins(1));
        let episodes = Episodes::new(vec![restart]);
        let restarts: Vec<u64> = (0..130).filter(|t| episodes.at("A", at(*t)).restart).collect();
        assert_eq!(restarts, [5, 65, 125]);
    }

    #[test]
    fn a_rule_on_another_device_has_no_effect() {
        let mut frozen = episode(MeterEffect::Frozen, 0, None);
        frozen.device = Some("B".into());
        let episodes = Episodes::new(vec![frozen]);
        assert_eq!(episodes.at("A", at(1)), MeterState::default());
        assert_eq!(episodes.at("B", at(1)).frozen, Some(at(0)));
    }
}
