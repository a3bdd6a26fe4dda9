//! What befalls a meter. These are states, not events of a request: each follows its window alone,
//! so that what a meter says at a moment does not depend on who asked before.
//!
//! A rule over a meter leaves [`Episode`]s: from its arming to its disarming or removal. They outlive
//! the rule, because the device goes on counting from what it did not hear then.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use super::{Trigger, WindowSchedule};
use crate::clock::VirtualTime;

/// What may befall a meter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MeterEffect {
    /// No reading gets through, for this reason.
    Silent(Silence),
    /// The values stand still, the readings go on.
    Frozen,
    /// The counter of imported energy stands so many Wh lower than it should.
    JumpBack(u64),
    /// The meter's clock is off.
    ClockDrift(ClockDrift),
    /// These phases (L1, L2, L3) are not measured.
    MissingPhases([bool; 3]),
    /// `report.id` begins again at 1.
    RestartIds,
}

/// Why no reading gets through (METER-10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is a status of the device")]
pub enum Silence {
    NotConnected,
    NoData,
    Recognition,
    KeyRequired,
    EncryptionKey,
    NotRecognized,
}

impl Silence {
    /// Whether the device does not know any more who its meter is and what it said.
    #[must_use]
    pub const fn forgets(self) -> bool {
        !matches!(self, Self::NoData | Self::Recognition)
    }
}

/// How far a clock is off, ahead where positive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClockDrift {
    /// At once, in ms.
    pub offset: i64,
    /// More with each day, in ms.
    pub per_day: i64,
}

/// A rule over meters, for as long as it was armed.
#[derive(Debug, Clone, PartialEq)]
pub struct Episode {
    /// The device, by id; any where none.
    pub device: Option<String>,
    /// What befalls its meter in the windows.
    pub effect: MeterEffect,
    /// The windows.
    pub when: Trigger,
    /// What they count from.
    pub armed_at: VirtualTime,
    /// The end of all of them.
    pub until: VirtualTime,
}

impl Episode {
    /// Since when the window that is open at `at` has been open, where one is, and when that changes.
    fn window(&self, at: VirtualTime) -> (Option<VirtualTime>, VirtualTime) {
        if at >= self.until {
            return (None, VirtualTime::MAX);
        }
        let (since, change) = self.when.window_since(self.armed_at, at);
        let change = change.unwrap_or(VirtualTime::MAX);
        match since {
            Some(_) => (since, change.min(self.until)),
            None if change >= self.until => (None, VirtualTime::MAX),
            None => (None, change),
        }
    }
}

/// All that befell and befalls the meters of a house, the first one first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Episodes {
    all: Vec<Episode>,
    /// The places of those of any device, and of those of one, by its id.
    any: Vec<usize>,
    named: BTreeMap<String, Vec<usize>>,
}

/// What befell and befalls one meter.
#[derive(Debug, Clone, Copy)]
pub struct ActiveFaults<'a> {
    all: &'a [Episode],
    any: &'a [usize],
    own: &'a [usize],
}

/// What befalls one meter at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MeterState {
    /// No reading gets through.
    pub silent: Option<Silence>,
    /// One of all that keep it silent, not only the first, makes the device forget its meter.
    pub forgets: bool,
    /// The values stand still since then.
    pub frozen: Option<VirtualTime>,
    /// Wh that the counter of imported energy stands too low.
    pub lost: u64,
    /// How far the meter's clock is off beside its own drift, in ms.
    pub clock: i64,
    /// The phases that are not measured.
    pub missing: [bool; 3],
    /// `report.id` begins anew at exactly this moment.
    pub restart: bool,
    /// The first moment after this one at which any of it changes.
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
    /// These, of which the first silence wins.
    #[must_use]
    pub fn new(episodes: Vec<Episode>) -> Arc<Self> {
        let mut new = Self { all: episodes, ..Self::default() };
        for (place, episode) in new.all.iter().enumerate() {
            match &episode.device {
                None => new.any.push(place),
                Some(device) => new.named.entry(device.clone()).or_default().push(place),
            }
        }
        Arc::new(new)
    }

    /// None; always the same allocation.
    #[must_use]
    pub fn none() -> Arc<Self> {
        static NONE: LazyLock<Arc<Episodes>> = LazyLock::new(Arc::default);
        Arc::clone(&NONE)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Those of one device.
    #[must_use]
    #[inline]
    pub fn of(&self, device: &str) -> ActiveFaults<'_> {
        let own = self.named.get(device).map_or(&[][..], Vec::as_slice);
        ActiveFaults { all: &self.all, any: &self.any, own }
    }

    /// What befalls the meter of `device` at `at`.
    #[must_use]
    pub fn at(&self, device: &str, at: VirtualTime) -> MeterState {
        self.of(device).at(at)
    }
}

impl<'a> ActiveFaults<'a> {
    /// In the order of all.
    fn episodes(self) -> impl Iterator<Item = &'a Episode> {
        let Self { all, mut any, mut own } = self;
        std::iter::from_fn(move || {
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
        })
    }

    /// Whether there is nothing.
    #[must_use]
    #[inline]
    pub fn is_empty(self) -> bool {
        self.any.is_empty() && self.own.is_empty()
    }

    /// What of it keeps readings from getting through, or restarts their ids, from a moment on.
    #[must_use]
    pub fn course(self, from: VirtualTime) -> WindowSchedule {
        WindowSchedule::new(self.episodes(), from)
    }

    /// What befalls the meter at `at`.
    #[must_use]
    #[inline]
    pub fn at(self, at: VirtualTime) -> MeterState {
        // Asked several times for each reading, and mostly there is nothing.
        if self.is_empty() { MeterState::default() } else { self.together(at) }
    }

    fn together(self, at: VirtualTime) -> MeterState {
        let mut state = MeterState::default();
        for episode in self.episodes() {
            let (since, change) = episode.window(at);
            state.until = state.until.min(change);
            let Some(since) = since else { continue };
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

impl ClockDrift {
    /// How far the clock is off this long after it began, in ms.
    fn after(self, elapsed: std::time::Duration) -> i64 {
        const DAY: i128 = 86_400_000;
        let elapsed = i128::try_from(elapsed.as_millis()).unwrap_or(i128::MAX);
        let grown = i128::from(self.per_day).saturating_mul(elapsed) / DAY;
        i64::try_from(i128::from(self.offset) + grown).unwrap_or(self.offset)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> VirtualTime {
        VirtualTime::ZERO.after(Duration::from_secs(seconds))
    }

    fn episode(effect: MeterEffect, after: u64, lasts: Option<u64>) -> Episode {
        Episode {
            device: None,
            effect,
            when: Trigger {
                after: Duration::from_secs(after),
                lasts: lasts.map(Duration::from_secs),
                ..Trigger::default()
            },
            armed_at: at(0),
            until: VirtualTime::MAX,
        }
    }

    #[test]
    fn what_befalls_a_meter_follows_the_windows_and_ends_with_the_rule() {
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
    fn a_rule_that_was_removed_before_its_window_never_counts() {
        let mut early = episode(MeterEffect::Frozen, 10, None);
        early.until = at(10);
        assert_eq!(Episodes::new(vec![early]).at("A", at(3)), MeterState::default());
    }

    #[test]
    fn ids_restart_at_the_beginning_of_each_window_only() {
        let mut restart = episode(MeterEffect::RestartIds, 5, Some(10));
        restart.when.every = Some(Duration::from_mins(1));
        let episodes = Episodes::new(vec![restart]);
        let restarts: Vec<u64> = (0..130).filter(|t| episodes.at("A", at(*t)).restart).collect();
        assert_eq!(restarts, [5, 65, 125]);
    }

    #[test]
    fn a_rule_of_another_device_is_none_of_this_one() {
        let mut frozen = episode(MeterEffect::Frozen, 0, None);
        frozen.device = Some("B".into());
        let episodes = Episodes::new(vec![frozen]);
        assert_eq!(episodes.at("A", at(1)), MeterState::default());
        assert_eq!(episodes.at("B", at(1)).frozen, Some(at(0)));
    }
}
