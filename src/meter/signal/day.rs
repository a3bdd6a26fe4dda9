//! One day of a house: the edges, ramps and tariff changes of its signal, and a cursor that integrates
//! along them.
//!
//! The day stores a copy of the cursor for each hour, so that any second of the day is a short advance
//! from one of them.

use super::battery::{BatteryInterval, INTERVAL_SECONDS};
use super::calendar::LocalDay;
use super::edges::{Edge, EdgeList};
use super::integration::{EnergyCounters, LinearSegment};
use super::phase_powers::PhasePowers;
use super::pv::PowerRamp;
use super::site_model::SiteModel;

/// Seconds between checkpoints.
const CHECKPOINT_SECONDS: u32 = 3600;

/// The accumulated state of a house at a local midnight.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct MidnightState {
    /// Energy counted on earlier days.
    pub counters: EnergyCounters,
    /// Energy stored in the battery, in mW·s.
    pub stored: i64,
    /// Maximum demand of the month so far.
    pub demand: MaximumDemand,
}

/// Maximum demand of import and export by tariff, in mW.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct MaximumDemand {
    pub import: [u64; 2],
    pub export: [u64; 2],
}

/// The signal of one day.
#[derive(Debug)]
pub(super) struct SignalDay {
    pub calendar: LocalDay,
    pub initial: MidnightState,
    edges: EdgeList,
    ramps: Vec<PowerRamp>,
    /// Tariff changes: seconds since midnight, and the tariff from then on (0 or 1).
    tariffs: Vec<(u32, u8)>,
    checkpoints: Vec<DayCursor>,
}

/// A position in a day, with everything integrated up to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct DayCursor {
    /// Seconds since midnight.
    at: u32,
    /// Index of the first edge that is not applied yet, and of the ramp and the tariff in force.
    edge: u16,
    ramp: u16,
    tariff: u8,
    /// Power of household and loads.
    active: [i64; 3],
    reactive: [i64; 3],
    /// Energy counted on this day.
    pub counters: EnergyCounters,
    /// Total import and export when the demand period began, and the tariff at that time.
    period_begin: [u64; 2],
    period_tariff: u8,
    pub demand: MaximumDemand,
    /// Energy in the battery when its interval began.
    stored: i64,
    interval: BatteryInterval,
}

impl SignalDay {
    /// Returns a day without any signal, for [`SignalDay::build`].
    pub(super) fn empty(day: LocalDay) -> Self {
        Self {
            calendar: day,
            initial: MidnightState::default(),
            edges: EdgeList::default(),
            ramps: Vec::new(),
            tariffs: Vec::new(),
            checkpoints: Vec::new(),
        }
    }

    /// Replaces this day by `day`, which begins with `initial`, and reuses its memory. Demand periods
    /// that end at or before `start` (seconds since 1970) do not count.
    pub(super) fn build(
        &mut self,
        site: &SiteModel,
        day: LocalDay,
        initial: MidnightState,
        start: i64,
    ) {
        self.calendar = day;
        self.initial = initial;
        let yesterday = day.previous();
        self.edges.reset(day.length, site.phases == 1);
        site.household.add_pulses(&day, &yesterday, &mut self.edges);
        for load in &site.loads {
            load.add_pulses(&day, &yesterday, &mut self.edges);
        }
        self.edges.sort();
        self.ramps.clear();
        match &site.pv {
            Some(pv) => pv.build_ramps(&day, &mut self.ramps),
            None => self.ramps.push(PowerRamp::default()),
        }
        self.build_tariffs(site);
        self.build_checkpoints(site, start);
    }

    fn build_tariffs(&mut self, site: &SiteModel) {
        self.tariffs.clear();
        for window in &site.high_tariff {
            self.calendar.intervals(*window, |from, to| {
                self.tariffs.push((from, 0));
                self.tariffs.push((to, 1));
            });
        }
        // Windows may overlap: tariff 1 is in force while any window is open. At one second, windows
        // that open sort before windows that close.
        self.tariffs.sort_unstable();
        let mut open = 0_u32;
        for (_, tariff) in &mut self.tariffs {
            open = if *tariff == 0 { open + 1 } else { open.saturating_sub(1) };
            *tariff = u8::from(open == 0);
        }
        self.tariffs.insert(0, (0, 1));
    }

    fn build_checkpoints(&mut self, site: &SiteModel, start: i64) {
        let mut checkpoints = std::mem::take(&mut self.checkpoints);
        checkpoints.clear();
        let hours = usize::try_from(self.calendar.length / CHECKPOINT_SECONDS);
        checkpoints.reserve_exact(hours.map_or(0, |hours| hours + 2));
        let mut cursor = self.cursor_at_midnight(site);
        checkpoints.push(cursor);
        while cursor.at < self.calendar.length {
            let next = (cursor.at / CHECKPOINT_SECONDS + 1) * CHECKPOINT_SECONDS;
            self.advance(site, &mut cursor, next.min(self.calendar.length), start);
            checkpoints.push(cursor);
        }
        self.checkpoints = checkpoints;
    }

    fn cursor_at_midnight(&self, site: &SiteModel) -> DayCursor {
        let base = site.household.base();
        let month_begins = self.calendar.date.day() == 1;
        let mut cursor = DayCursor {
            at: 0,
            edge: 0,
            ramp: 0,
            tariff: 0,
            active: std::array::from_fn(|phase| i64::from(base[phase].active)),
            reactive: std::array::from_fn(|phase| i64::from(base[phase].reactive)),
            counters: EnergyCounters::default(),
            period_begin: [0; 2],
            period_tariff: 0,
            demand: if month_begins { MaximumDemand::default() } else { self.initial.demand },
            stored: self.initial.stored,
            interval: BatteryInterval::default(),
        };
        self.begin_intervals(site, &mut cursor);
        cursor
    }

    /// Returns the state at the midnight that ends this day.
    pub(super) fn final_state(&self) -> MidnightState {
        let Some(last) = self.checkpoints.last() else { return self.initial };
        MidnightState {
            counters: self.initial.counters.combine(&last.counters, u64::saturating_add),
            stored: last.stored,
            demand: last.demand,
        }
    }

    /// Returns the cursor at second `at` of the day.
    pub(super) fn cursor_at(&self, site: &SiteModel, at: u32, start: i64) -> DayCursor {
        let at = at.min(self.calendar.length);
        let index = usize::try_from(at / CHECKPOINT_SECONDS).unwrap_or(0);
        let mut cursor = match self.checkpoints.get(index) {
            Some(checkpoint) if checkpoint.at <= at => *checkpoint,
            // The last checkpoint of a day that is no multiple of an hour, or a day not built yet.
            _ => self.cursor_at_midnight(site),
        };
        self.advance(site, &mut cursor, at, start);
        cursor
    }

    /// Returns the tariff in force at the cursor (0 or 1).
    pub(super) fn tariff(&self, cursor: &DayCursor) -> usize {
        self.tariffs.get(usize::from(cursor.tariff)).map_or(0, |(_, tariff)| usize::from(*tariff))
    }

    /// Returns the powers at the meter in the second of the cursor, without the voltages.
    pub(super) fn powers(&self, site: &SiteModel, cursor: &DayCursor) -> PhasePowers {
        let pv = self.pv_power(cursor);
        let load: i64 = cursor.active.iter().sum();
        let battery = site
            .battery
            .as_ref()
            .map_or(0, |battery| battery.discharge_power(&cursor.interval, load - pv));
        let noise = site.noise.phases_at(self.second(cursor));
        let mut active: [i64; 3] = std::array::from_fn(|phase| cursor.active[phase] + noise[phase]);
        site.subtract_generation(pv, battery, &mut active);
        PhasePowers {
            phases: site.phases,
            active,
            reactive: cursor.reactive,
            ..PhasePowers::default()
        }
    }

    /// Returns the bytes allocated on the heap.
    #[cfg(any(test, feature = "internals"))]
    pub(super) fn heap_bytes(&self) -> usize {
        self.edges.heap_bytes()
            + self.ramps.capacity() * size_of::<PowerRamp>()
            + self.tariffs.capacity() * size_of::<(u32, u8)>()
            + self.checkpoints.capacity() * size_of::<DayCursor>()
    }

    /// Returns the second of the cursor since 1970.
    fn second(&self, cursor: &DayCursor) -> i64 {
        self.calendar.begin + i64::from(cursor.at)
    }

    fn pv_power(&self, cursor: &DayCursor) -> i64 {
        self.ramps.get(usize::from(cursor.ramp)).map_or(0, |ramp| ramp.power_at(cursor.at))
    }

    fn edges(&self) -> &[Edge] {
        self.edges.edges()
    }

    /// Integrates up to second `to`.
    fn advance(&self, site: &SiteModel, cursor: &mut DayCursor, to: u32, start: i64) {
        while cursor.at < to {
            let end = self.next_change(site, cursor).min(to);
            let segment = LinearSegment {
                start: self.second(cursor),
                seconds: i64::from(end - cursor.at),
                active: cursor.active.iter().sum::<i64>() - self.pv_power(cursor),
                slope: self
                    .ramps
                    .get(usize::from(cursor.ramp))
                    .map_or(0, |ramp| -i64::from(ramp.slope)),
                reactive: cursor.reactive.iter().sum(),
            };
            let tariff = self.tariff(cursor);
            match &site.battery {
                None => cursor.counters.integrate(segment, tariff, &site.noise),
                Some(battery) => {
                    let counters = &mut cursor.counters;
                    battery.dispatch(&mut cursor.interval, segment, |remainder| {
                        counters.integrate(remainder, tariff, &site.noise);
                    });
                }
            }
            cursor.at = end;
            self.end_intervals(site, cursor, start);
            self.begin_intervals(site, cursor);
        }
    }

    /// Returns the next second at which any part of the signal changes.
    fn next_change(&self, site: &SiteModel, cursor: &DayCursor) -> u32 {
        let mut next = (cursor.at / site.demand_period + 1) * site.demand_period;
        if let Some(edge) = self.edges().get(usize::from(cursor.edge)) {
            next = next.min(edge.at);
        }
        if let Some(ramp) = self.ramps.get(usize::from(cursor.ramp) + 1) {
            next = next.min(ramp.at);
        }
        if let Some((at, _)) = self.tariffs.get(usize::from(cursor.tariff) + 1) {
            next = next.min(*at);
        }
        if site.battery.is_some() {
            next = next.min((cursor.at / BATTERY_SECONDS + 1) * BATTERY_SECONDS);
        }
        next.min(self.calendar.length)
    }

    /// Ends the demand period and the battery interval if they end at the cursor.
    fn end_intervals(&self, site: &SiteModel, cursor: &mut DayCursor, start: i64) {
        if cursor.at.is_multiple_of(site.demand_period) && cursor.at > 0 {
            let totals = cursor.counters.totals();
            if self.second(cursor) > start {
                let mean = |direction: usize| {
                    (totals[direction] - cursor.period_begin[direction])
                        / u64::from(site.demand_period)
                };
                let tariff = usize::from(cursor.period_tariff);
                let (import, export) = (&mut cursor.demand.import, &mut cursor.demand.export);
                import[tariff] = import[tariff].max(mean(0));
                export[tariff] = export[tariff].max(mean(1));
            }
        }
        if let Some(battery) = &site.battery
            && (cursor.at.is_multiple_of(BATTERY_SECONDS) || cursor.at == self.calendar.length)
        {
            cursor.stored = battery.stored_after(cursor.stored, &cursor.interval);
            cursor.interval = battery.begin_interval(cursor.stored);
        }
    }

    /// Applies the edges, the ramp and the tariff that begin at the cursor, and begins the demand
    /// period and, at midnight, the battery interval.
    fn begin_intervals(&self, site: &SiteModel, cursor: &mut DayCursor) {
        while let Some(edge) = self.edges().get(usize::from(cursor.edge))
            && edge.at <= cursor.at
        {
            edge.apply(&mut cursor.active, &mut cursor.reactive);
            cursor.edge += 1;
        }
        while self.ramps.get(usize::from(cursor.ramp) + 1).is_some_and(|ramp| ramp.at <= cursor.at)
        {
            cursor.ramp += 1;
        }
        while self
            .tariffs
            .get(usize::from(cursor.tariff) + 1)
            .is_some_and(|(at, _)| *at <= cursor.at)
        {
            cursor.tariff += 1;
        }
        if cursor.at == 0
            && let Some(battery) = &site.battery
        {
            cursor.interval = battery.begin_interval(cursor.stored);
        }
        if cursor.at.is_multiple_of(site.demand_period) {
            cursor.period_begin = cursor.counters.totals();
            cursor.period_tariff =
                self.tariffs.get(usize::from(cursor.tariff)).map_or(0, |(_, tariff)| *tariff);
        }
    }
}

/// Seconds of a battery interval.
#[expect(clippy::cast_possible_truncation, reason = "300")]
const BATTERY_SECONDS: u32 = INTERVAL_SECONDS as u32;
