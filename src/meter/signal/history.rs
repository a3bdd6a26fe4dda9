//! What was made of a house's days, kept so that no day is made again without need.
//!
//! All of it could be thrown away at any time: it changes how long an answer takes, never the answer.

use jiff::civil::Date;

use super::calendar::LocalDay;
use super::count::EnergyCounters;
use super::day::{DayCursor, Opening, SignalDay};
use super::phase_powers::PhasePowers;
use super::pulse::append;
use super::site_model::SiteModel;
use crate::limits;

/// The days of a house from its scenario's start on.
#[derive(Debug)]
pub(super) struct History {
    /// When the scenario starts, in milliseconds since 1970.
    start: i64,
    /// What the first day had counted before that, in mW·ms.
    before: EnergyCounters,
    /// The day asked for last, and which one it is from the first, 0.
    day: SignalDay,
    index: u32,
    /// Openings of days, in order, of the first day at least.
    kept: Vec<(u32, Date, Opening)>,
    /// Every so many days are kept.
    stride: u32,
}

/// What a house does in one millisecond.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    /// What flows, and the voltage.
    pub moment: PhasePowers,
    /// What was counted since the start, in whole seconds, mW·s, before today; and of today in mW·ms.
    pub earlier: EnergyCounters,
    pub today: EnergyCounters,
    /// What of that is to be taken off, as it was before the start.
    pub before: EnergyCounters,
    /// The walk up to here, which knows the maximum demand.
    pub walk: DayCursor,
    /// The tariff in force: 0 or 1.
    pub tariff: usize,
}

impl History {
    /// A house whose scenario starts at `start`, in milliseconds since 1970.
    pub(super) fn new(house: &SiteModel, start: i64) -> Self {
        let first = LocalDay::of(start.div_euclid(1000));
        let held = house.battery.as_ref().map_or(0, super::battery::BatteryModel::initial);
        let opening = Opening { held, ..Opening::default() };
        let mut day = SignalDay::blank(first);
        day.make(house, first, opening, start.div_euclid(1000));
        let mut history = Self {
            start,
            before: EnergyCounters::default(),
            day,
            index: 0,
            kept: vec![(0, first.date, opening)],
            stride: 1,
        };
        history.before = history.sample(house, start).today;
        history
    }

    /// What the house does at `now`, in milliseconds since 1970, not before the start.
    pub(super) fn sample(&mut self, house: &SiteModel, now: i64) -> Sample {
        let second = now.div_euclid(1000);
        self.go_to(house, second);
        let day = &self.day;
        let at = u32::try_from(second - day.calendar.begin).unwrap_or(0);
        let walk = day.at(house, at, self.start.div_euclid(1000));
        let flow = day.flow(house, &walk);
        let mut moment = PhasePowers {
            phases: house.phases,
            active: flow.active,
            reactive: flow.reactive,
            ..PhasePowers::default()
        };
        house.voltage.put(second, &mut moment);
        let tariff = day.tariff(&walk);
        let mut today = walk.counters.zip(&EnergyCounters::default(), |seconds, _| seconds * 1000);
        let part = now.rem_euclid(1000);
        today.add(moment.total_active(), moment.total_reactive(), part, tariff);
        let earlier = day.opening.counters;
        Sample { moment, earlier, today, before: self.before, walk, tariff }
    }

    /// Makes the day of a second since 1970, unless it is there.
    fn go_to(&mut self, house: &SiteModel, second: i64) {
        if self.day.calendar.contains(second) {
            return;
        }
        let target = LocalDay::of(second).date;
        let (mut day, mut opening) = self.nearest(target);
        loop {
            self.day.make(house, day, opening, self.start.div_euclid(1000));
            if day.date >= target {
                return;
            }
            day = day.next();
            opening = self.day.closing();
            self.index += 1;
            self.keep(day.date, opening);
        }
    }

    /// The last day not after `target` whose opening is known; `index` becomes its own.
    fn nearest(&mut self, target: Date) -> (LocalDay, Opening) {
        let kept = self.kept.partition_point(|(_, date, _)| *date <= target).saturating_sub(1);
        let (index, date, opening) = self.kept[kept];
        if self.day.calendar.date < target && self.index >= index {
            let (next, opening) = (self.day.calendar.next(), self.day.closing());
            self.index += 1;
            self.keep(next.date, opening);
            return (next, opening);
        }
        self.index = index;
        (LocalDay::on(date), opening)
    }

    fn keep(&mut self, date: Date, opening: Opening) {
        let newest = self.kept.last().map_or(0, |(index, ..)| *index);
        if self.index <= newest || !self.index.is_multiple_of(self.stride) {
            return;
        }
        append(&mut self.kept, (self.index, date, opening));
        if self.kept.len() > limits::DAYS_KEPT {
            self.stride = self.stride.saturating_mul(2);
            let stride = self.stride;
            self.kept.retain(|(index, ..)| index.is_multiple_of(stride));
        }
    }

    /// Bytes that it takes beside its own size.
    pub(super) fn heap_bytes(&self) -> usize {
        self.day.heap_bytes() + self.kept.capacity() * size_of::<(u32, Date, Opening)>()
    }
}
