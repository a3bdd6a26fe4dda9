//! A day of a house: its edges and ramps, and a walk along them that counts.
//!
//! The walk keeps marks on its way, so that any moment of the day is a short walk from one of them.

use super::battery::{SLOT, Slot};
use super::calendar::LocalDay;
use super::count::{EnergyCounters, Stretch};
use super::pulse::{Edge, Pulses};
use super::pv::PowerRamp;
use super::site_model::SiteModel;

/// Seconds between marks.
const MARK: u32 = 3600;

/// How a day begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Opening {
    /// What was counted before.
    pub counters: EnergyCounters,
    /// What the battery holds, in mW·s.
    pub held: i64,
    /// The maximum demand of the month so far.
    pub demand: Demand,
}

/// Maximum demand of import and export by tariff, in mW.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Demand {
    pub import: [u64; 2],
    pub export: [u64; 2],
}

/// A day, made.
#[derive(Debug)]
pub(super) struct SignalDay {
    pub calendar: LocalDay,
    pub opening: Opening,
    pulses: Pulses,
    ramps: Vec<PowerRamp>,
    /// Where the tariff changes: seconds since midnight, and the tariff from then on (0 or 1).
    tariffs: Vec<(u32, u8)>,
    marks: Vec<DayCursor>,
}

/// How far a walk has come.
#[derive(Debug, Clone, Copy)]
pub(super) struct DayCursor {
    /// Seconds since midnight.
    at: u32,
    /// Edges that have been applied, the ramp and the tariff in force.
    edge: u16,
    ramp: u16,
    tariff: u8,
    /// What household and loads draw.
    active: [i64; 3],
    reactive: [i64; 3],
    /// What this day has counted.
    pub counters: EnergyCounters,
    /// What had been counted of import and export when the demand period began, and its tariff.
    period: [u64; 2],
    period_tariff: u8,
    pub demand: Demand,
    /// What the battery held when its slot began.
    held: i64,
    slot: Slot,
}

/// What flows in a second.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flow {
    pub active: [i64; 3],
    pub reactive: [i64; 3],
}

impl SignalDay {
    /// A day without anything, to be made.
    pub(super) fn blank(day: LocalDay) -> Self {
        Self {
            calendar: day,
            opening: Opening::default(),
            pulses: Pulses::default(),
            ramps: Vec::new(),
            tariffs: Vec::new(),
            marks: Vec::new(),
        }
    }

    /// Makes this into the day that begins so, in the memory of the day it was. Periods of demand
    /// that end at or before `since` (seconds since 1970) do not count.
    pub(super) fn make(&mut self, house: &SiteModel, day: LocalDay, opening: Opening, since: i64) {
        self.calendar = day;
        self.opening = opening;
        let yesterday = day.previous();
        self.pulses.begin(day.length, house.phases == 1);
        house.household.add(&day, &yesterday, &mut self.pulses);
        for load in &house.loads {
            load.add(&day, &yesterday, &mut self.pulses);
        }
        self.pulses.finish();
        self.ramps.clear();
        match &house.panels {
            Some(panels) => panels.add(&day, &mut self.ramps),
            None => self.ramps.push(PowerRamp::default()),
        }
        self.set_tariffs(house);
        self.set_marks(house, since);
    }

    fn set_tariffs(&mut self, house: &SiteModel) {
        self.tariffs.clear();
        for window in &house.high {
            self.calendar.stretches(*window, |from, to| {
                self.tariffs.push((from, 0));
                self.tariffs.push((to, 1));
            });
        }
        // From the edges of windows that may overlap to the tariff between them. At one moment what
        // opens comes before what closes.
        self.tariffs.sort_unstable();
        let mut open = 0_u32;
        for (_, tariff) in &mut self.tariffs {
            open = if *tariff == 0 { open + 1 } else { open.saturating_sub(1) };
            *tariff = u8::from(open == 0);
        }
        self.tariffs.insert(0, (0, 1));
    }

    fn set_marks(&mut self, house: &SiteModel, since: i64) {
        let mut marks = std::mem::take(&mut self.marks);
        marks.clear();
        marks.reserve_exact(
            usize::try_from(self.calendar.length / MARK).map_or(0, |marks| marks + 2),
        );
        let mut walk = self.first(house);
        marks.push(walk);
        while walk.at < self.calendar.length {
            let next = (walk.at / MARK + 1) * MARK;
            self.walk(house, &mut walk, next.min(self.calendar.length), since);
            marks.push(walk);
        }
        self.marks = marks;
    }

    fn first(&self, house: &SiteModel) -> DayCursor {
        let base = &house.household.base;
        let month_begins = self.calendar.date.day() == 1;
        let mut walk = DayCursor {
            at: 0,
            edge: 0,
            ramp: 0,
            tariff: 0,
            active: std::array::from_fn(|phase| i64::from(base[phase].active)),
            reactive: std::array::from_fn(|phase| i64::from(base[phase].reactive)),
            counters: EnergyCounters::default(),
            period: [0; 2],
            period_tariff: 0,
            demand: if month_begins { Demand::default() } else { self.opening.demand },
            held: self.opening.held,
            slot: Slot::default(),
        };
        self.settle(house, &mut walk);
        walk
    }

    /// How the day after begins.
    pub(super) fn closing(&self) -> Opening {
        let Some(last) = self.marks.last() else { return self.opening };
        Opening {
            counters: self.opening.counters.zip(&last.counters, u64::saturating_add),
            held: last.held,
            demand: last.demand,
        }
    }

    /// The walk at a second of the day.
    pub(super) fn at(&self, house: &SiteModel, at: u32, since: i64) -> DayCursor {
        let at = at.min(self.calendar.length);
        let index = usize::try_from(at / MARK).unwrap_or(0);
        let mut walk = match self.marks.get(index) {
            Some(mark) if mark.at <= at => *mark,
            // The last mark of a day whose length is no multiple, and a day that was never made.
            _ => self.first(house),
        };
        self.walk(house, &mut walk, at, since);
        walk
    }

    /// The tariff in force (0 or 1).
    pub(super) fn tariff(&self, walk: &DayCursor) -> usize {
        self.tariffs.get(usize::from(walk.tariff)).map_or(0, |(_, tariff)| usize::from(*tariff))
    }

    /// What flows in the second where a walk stands.
    pub(super) fn flow(&self, house: &SiteModel, walk: &DayCursor) -> Flow {
        let panels = self.panels(walk);
        let drawn: i64 = walk.active.iter().sum();
        let battery =
            house.battery.as_ref().map_or(0, |battery| battery.gives(&walk.slot, drawn - panels));
        let noise = house.noise.phases(self.second(walk));
        let mut active: [i64; 3] = std::array::from_fn(|phase| walk.active[phase] + noise[phase]);
        house.give(panels, battery, &mut active);
        Flow { active, reactive: walk.reactive }
    }

    /// Bytes that it takes beside its own size.
    pub(super) fn heap_bytes(&self) -> usize {
        self.pulses.heap_bytes()
            + self.ramps.capacity() * size_of::<PowerRamp>()
            + self.tariffs.capacity() * size_of::<(u32, u8)>()
            + self.marks.capacity() * size_of::<DayCursor>()
    }

    fn second(&self, walk: &DayCursor) -> i64 {
        self.calendar.begin + i64::from(walk.at)
    }

    fn panels(&self, walk: &DayCursor) -> i64 {
        self.ramps.get(usize::from(walk.ramp)).map_or(0, |ramp| ramp.power_at(walk.at))
    }

    fn edges(&self) -> &[Edge] {
        self.pulses.edges()
    }

    /// Counts on to second `to`.
    fn walk(&self, house: &SiteModel, walk: &mut DayCursor, to: u32, since: i64) {
        while walk.at < to {
            let end = self.next(house, walk).min(to);
            let stretch = Stretch {
                second: self.second(walk),
                seconds: i64::from(end - walk.at),
                active: walk.active.iter().sum::<i64>() - self.panels(walk),
                slope: self
                    .ramps
                    .get(usize::from(walk.ramp))
                    .map_or(0, |ramp| -i64::from(ramp.slope)),
                reactive: walk.reactive.iter().sum(),
            };
            let tariff = self.tariff(walk);
            match &house.battery {
                None => walk.counters.count(stretch, tariff, &house.noise),
                Some(battery) => {
                    let counters = &mut walk.counters;
                    battery.follow(&mut walk.slot, stretch, |rest| {
                        counters.count(rest, tariff, &house.noise);
                    });
                }
            }
            walk.at = end;
            self.close(house, walk, since);
            self.settle(house, walk);
        }
    }

    /// The next second in which anything changes.
    fn next(&self, house: &SiteModel, walk: &DayCursor) -> u32 {
        let mut next = (walk.at / house.period + 1) * house.period;
        if let Some(edge) = self.edges().get(usize::from(walk.edge)) {
            next = next.min(edge.at);
        }
        if let Some(ramp) = self.ramps.get(usize::from(walk.ramp) + 1) {
            next = next.min(ramp.at);
        }
        if let Some((at, _)) = self.tariffs.get(usize::from(walk.tariff) + 1) {
            next = next.min(*at);
        }
        if house.battery.is_some() {
            next = next.min((walk.at / SLOT_SECONDS + 1) * SLOT_SECONDS);
        }
        next.min(self.calendar.length)
    }

    /// Ends what ends where a walk stands: the demand period, the battery's slot.
    fn close(&self, house: &SiteModel, walk: &mut DayCursor, since: i64) {
        if walk.at.is_multiple_of(house.period) && walk.at > 0 {
            let totals = walk.counters.totals();
            if self.second(walk) > since {
                let mean =
                    |index: usize| (totals[index] - walk.period[index]) / u64::from(house.period);
                let tariff = usize::from(walk.period_tariff);
                let (import, export) = (&mut walk.demand.import, &mut walk.demand.export);
                import[tariff] = import[tariff].max(mean(0));
                export[tariff] = export[tariff].max(mean(1));
            }
        }
        if let Some(battery) = &house.battery
            && (walk.at.is_multiple_of(SLOT_SECONDS) || walk.at == self.calendar.length)
        {
            walk.held = battery.held_after(walk.held, &walk.slot);
            walk.slot = battery.slot(walk.held);
        }
    }

    /// Begins what begins where a walk stands.
    fn settle(&self, house: &SiteModel, walk: &mut DayCursor) {
        while let Some(edge) = self.edges().get(usize::from(walk.edge))
            && edge.at <= walk.at
        {
            edge.apply(&mut walk.active, &mut walk.reactive);
            walk.edge += 1;
        }
        while self.ramps.get(usize::from(walk.ramp) + 1).is_some_and(|ramp| ramp.at <= walk.at) {
            walk.ramp += 1;
        }
        while self.tariffs.get(usize::from(walk.tariff) + 1).is_some_and(|(at, _)| *at <= walk.at) {
            walk.tariff += 1;
        }
        if walk.at == 0
            && let Some(battery) = &house.battery
        {
            walk.slot = battery.slot(walk.held);
        }
        if walk.at.is_multiple_of(house.period) {
            walk.period = walk.counters.totals();
            walk.period_tariff =
                self.tariffs.get(usize::from(walk.tariff)).map_or(0, |(_, tariff)| *tariff);
        }
    }
}

/// Seconds of a battery's slot.
#[expect(clippy::cast_possible_truncation, reason = "300")]
const SLOT_SECONDS: u32 = SLOT as u32;
