//! The loads that a scenario names: heat pump, boiler, car, and any other load with a schedule.

use super::calendar::LocalDay;
use super::climate::{MEAN_HEAT_DEMAND, heat_demand, normal_temperature};
use super::edges::{EdgeList, LoadPower};
use super::math::{HOURS_PER_YEAR, floor_seconds, ordinal};
use super::plan::{DailyWindow, LoadPlan, Placement, Schedule};
use super::weather;
use crate::rng::{Draws, RandomStream};

/// The model of one load.
#[derive(Debug)]
pub(super) struct LoadModel {
    power: LoadPower,
    placement: Placement,
    schedule: Schedule,
    /// Share of time that a heating load runs at a heat demand of 1; 0 for other loads.
    duty: f64,
    seed: u64,
    stream: RandomStream,
}

impl LoadModel {
    pub(super) fn new(plan: &LoadPlan, seed: u64, stream: RandomStream) -> Self {
        let duty = match plan.schedule {
            Schedule::Heating { annual_kwh, .. } => {
                annual_kwh * 1000.0 / (plan.watts.max(1.0) * HOURS_PER_YEAR * *MEAN_HEAT_DEMAND)
            }
            Schedule::Windows(_) | Schedule::Once { .. } => 0.0,
        };
        Self {
            power: LoadPower::new(plan.watts, plan.power_factor, false),
            placement: plan.placement,
            schedule: plan.schedule.clone(),
            duty,
            seed,
            stream,
        }
    }

    /// Returns the bytes allocated on the heap.
    #[cfg(any(test, feature = "internals"))]
    pub(super) fn heap_bytes(&self) -> usize {
        match &self.schedule {
            Schedule::Windows(windows) => windows.capacity() * size_of::<DailyWindow>(),
            Schedule::Once { .. } | Schedule::Heating { .. } => 0,
        }
    }

    /// Adds all pulses that reach into `day`.
    pub(super) fn add_pulses(&self, day: &LocalDay, yesterday: &LocalDay, edges: &mut EdgeList) {
        match &self.schedule {
            Schedule::Windows(windows) => {
                for window in windows {
                    day.intervals(*window, |from, to| {
                        self.add_pulse(i64::from(from), i64::from(to), edges);
                    });
                }
            }
            Schedule::Once { .. } => {
                self.add_daily_run(yesterday, yesterday.begin - day.begin, edges);
                self.add_daily_run(day, 0, edges);
            }
            Schedule::Heating { run, .. } => self.add_heating_runs(run.as_secs_f64(), day, edges),
        }
    }

    fn add_pulse(&self, from: i64, to: i64, edges: &mut EdgeList) {
        edges.add_pulse(from, to, self.placement, self.power);
    }

    /// Adds the run that starts on `day`, which begins `offset` seconds after the day being built.
    fn add_daily_run(&self, day: &LocalDay, offset: i64, edges: &mut EdgeList) {
        let Schedule::Once { days, at, jitter, lasts, chance } = &self.schedule else { return };
        let mut draws = Draws::new(self.seed, self.stream, ordinal(day.number()));
        if !days.contains(day.weekday()) || !draws.chance(*chance) {
            return;
        }
        let jitter = f64::from(*jitter) * 60.0;
        let local = f64::from(*at) * 60.0 + draws.uniform(-jitter, jitter);
        let duration = lasts.as_secs_f64() * draws.uniform(0.5, 1.5);
        let begin = offset + day.elapsed_at(floor_seconds(local).max(0));
        self.add_pulse(begin, begin + floor_seconds(duration), edges);
    }

    /// Adds runs of `run` seconds with pauses that shrink as it gets colder. Each day begins at a
    /// random point of a cycle and ends the cycle that midnight interrupts.
    fn add_heating_runs(&self, run: f64, day: &LocalDay, edges: &mut EdgeList) {
        let anomaly = weather::temperature_anomaly(self.seed, day);
        let day_of_year = day.day_of_year();
        let mut draws = Draws::new(self.seed, self.stream, ordinal(day.number()));
        let length = f64::from(day.length);
        let cycle = |at: f64| {
            let demand = heat_demand(normal_temperature(day_of_year, at / 3600.0) + anomaly);
            let duty = (self.duty * demand).clamp(0.005, 1.0);
            run / duty
        };
        let mut at = -draws.unit() * cycle(0.0);
        while at < length {
            let cycle = cycle(at.max(0.0));
            let end = at + cycle;
            self.add_pulse(floor_seconds(end - run), floor_seconds(end), edges);
            at = end;
        }
    }
}
