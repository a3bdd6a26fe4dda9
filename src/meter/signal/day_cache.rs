//! A cache of the days of a house, so that no day is built again without need.
//!
//! The cache may be dropped at any time: it changes how long an answer takes, never the answer.

use jiff::civil::Date;

use super::battery::BatteryModel;
use super::calendar::LocalDay;
use super::day::{MaximumDemand, MidnightState, SignalDay};
use super::edges::push_compact;
use super::integration::EnergyCounters;
use super::phase_powers::PhasePowers;
use super::site_model::SiteModel;

/// States of earlier midnights in the cache at most. When there are more, every other one is dropped: a
/// year is covered by every 16th day, ten years by every 128th.
const MAX_MIDNIGHTS: usize = 31;

/// The days of a house from the start of its scenario on.
#[derive(Debug)]
pub(super) struct DayCache {
    /// Start of the scenario, in milliseconds since 1970.
    start: i64,
    /// Energy that the first day had counted before the start, in mW·ms.
    before_start: EnergyCounters,
    /// The day used last, and its index from the first day, 0.
    day: SignalDay,
    day_index: u32,
    /// States of midnights with the index and date of their day, in order, from the first day on.
    midnights: Vec<(u32, Date, MidnightState)>,
    /// The cache holds the midnights whose index is a multiple of this.
    stride: u32,
}

/// The signal of a house in one millisecond.
#[derive(Debug, Clone, Copy)]
pub(super) struct CachedSample {
    /// Powers and voltages.
    pub powers: PhasePowers,
    /// Energy counted on the days before today, in mW·s.
    pub earlier_days: EnergyCounters,
    /// Energy counted today, in mW·ms.
    pub today: EnergyCounters,
    /// Energy to be subtracted, because it was counted before the start, in mW·ms.
    pub before_start: EnergyCounters,
    /// Maximum demand of the month.
    pub demand: MaximumDemand,
    /// The tariff in force: 0 or 1.
    pub tariff: usize,
}

impl DayCache {
    /// Returns the cache of a house whose scenario starts at `start`, in milliseconds since 1970.
    pub(super) fn new(site: &SiteModel, start: i64) -> Self {
        let first = LocalDay::of(start.div_euclid(1000));
        let stored = site.battery.as_ref().map_or(0, BatteryModel::initial);
        let initial = MidnightState { stored, ..MidnightState::default() };
        let mut day = SignalDay::empty(first);
        day.build(site, first, initial, start.div_euclid(1000));
        let mut cache = Self {
            start,
            before_start: EnergyCounters::default(),
            day,
            day_index: 0,
            midnights: vec![(0, first.date, initial)],
            stride: 1,
        };
        cache.before_start = cache.sample(site, start).today;
        cache
    }

    /// Returns the signal at `now`, in milliseconds since 1970, not before the start.
    pub(super) fn sample(&mut self, site: &SiteModel, now: i64) -> CachedSample {
        let second = now.div_euclid(1000);
        self.load_day(site, second);
        let day = &self.day;
        let at = u32::try_from(second - day.calendar.begin).unwrap_or(0);
        let cursor = day.cursor_at(site, at, self.start.div_euclid(1000));
        let mut powers = day.powers(site, &cursor);
        site.voltage.apply(second, &mut powers);
        let tariff = day.tariff(&cursor);
        let mut today =
            cursor.counters.combine(&EnergyCounters::default(), |seconds, _| seconds * 1000);
        let milliseconds = now.rem_euclid(1000);
        today.add_constant(powers.total_active(), powers.total_reactive(), milliseconds, tariff);
        CachedSample {
            powers,
            earlier_days: day.initial.counters,
            today,
            before_start: self.before_start,
            demand: cursor.demand,
            tariff,
        }
    }

    /// Builds the day of a second since 1970, unless it is the day in the cache.
    fn load_day(&mut self, site: &SiteModel, second: i64) {
        if self.day.calendar.contains(second) {
            return;
        }
        let target = LocalDay::of(second).date;
        let (mut day, mut initial) = self.nearest_midnight(target);
        loop {
            self.day.build(site, day, initial, self.start.div_euclid(1000));
            if day.date >= target {
                return;
            }
            day = day.next();
            initial = self.day.final_state();
            self.day_index += 1;
            self.record_midnight(day.date, initial);
        }
    }

    /// Returns the last day not after `target` whose initial state is known, and sets `day_index` to it.
    fn nearest_midnight(&mut self, target: Date) -> (LocalDay, MidnightState) {
        let position =
            self.midnights.partition_point(|(_, date, _)| *date <= target).saturating_sub(1);
        let (index, date, state) = self.midnights[position];
        if self.day.calendar.date < target && self.day_index >= index {
            let (next, state) = (self.day.calendar.next(), self.day.final_state());
            self.day_index += 1;
            self.record_midnight(next.date, state);
            return (next, state);
        }
        self.day_index = index;
        (LocalDay::on(date), state)
    }

    fn record_midnight(&mut self, date: Date, state: MidnightState) {
        let newest = self.midnights.last().map_or(0, |(index, ..)| *index);
        if self.day_index <= newest || !self.day_index.is_multiple_of(self.stride) {
            return;
        }
        push_compact(&mut self.midnights, (self.day_index, date, state));
        if self.midnights.len() > MAX_MIDNIGHTS {
            self.stride = self.stride.saturating_mul(2);
            let stride = self.stride;
            self.midnights.retain(|(index, ..)| index.is_multiple_of(stride));
        }
    }

    /// Returns the bytes allocated on the heap.
    #[cfg(any(test, feature = "internals"))]
    pub(super) fn heap_bytes(&self) -> usize {
        self.day.heap_bytes() + self.midnights.capacity() * size_of::<(u32, Date, MidnightState)>()
    }
}
