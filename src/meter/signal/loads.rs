//! The loads that a scenario names: heat pump, boiler, car and whatever else runs by a schedule.

use std::sync::LazyLock;

use super::calendar::LocalDay;
use super::household::{ordinal, seconds};
use super::plan::{DailyWindow, HOURS_A_YEAR, LoadPlan, Placement, Schedule};
use super::pulse::{Pulses, Strength};
use super::weather;
use crate::rng::{Draws, RandomStream};

/// Heating begins below this outdoor temperature, in °C (SIA 384/3: heating limit of a house of
/// usual insulation).
const HEATING_LIMIT: f64 = 15.0;
/// What warm water asks for all year, as if it were so many K colder outside.
const WARM_WATER: f64 = 2.0;
/// How much more electricity a K of cold costs the colder it already is: the coefficient of
/// performance of an air heat pump falls by about 2 % a K.
const WORSE: f64 = 0.02;

/// A load made ready to be asked for its days.
#[derive(Debug)]
pub(super) struct LoadModel {
    strength: Strength,
    placement: Placement,
    schedule: Schedule,
    /// Of a heating: the share of time it runs where the demand is 1.
    duty: f64,
    seed: u64,
    stream: RandomStream,
}

impl LoadModel {
    pub(super) fn new(plan: &LoadPlan, seed: u64, stream: RandomStream) -> Self {
        let duty = match plan.schedule {
            Schedule::Heating { annual_kwh, .. } => {
                annual_kwh * 1000.0 / (plan.watts.max(1.0) * HOURS_A_YEAR * *MEAN_DEMAND)
            }
            Schedule::Windows(_) | Schedule::Once { .. } => 0.0,
        };
        Self {
            strength: Strength::new(plan.watts, plan.power_factor, false),
            placement: plan.placement,
            schedule: plan.schedule.clone(),
            duty,
            seed,
            stream,
        }
    }

    /// Bytes that it takes beside its own size.
    pub(super) fn heap_bytes(&self) -> usize {
        match &self.schedule {
            Schedule::Windows(windows) => windows.capacity() * size_of::<DailyWindow>(),
            Schedule::Once { .. } | Schedule::Heating { .. } => 0,
        }
    }

    /// Adds all rectangles that reach into `day`.
    pub(super) fn add(&self, day: &LocalDay, yesterday: &LocalDay, pulses: &mut Pulses) {
        match &self.schedule {
            Schedule::Windows(windows) => {
                for window in windows {
                    day.stretches(*window, |from, to| {
                        self.pulse(i64::from(from), i64::from(to), pulses);
                    });
                }
            }
            Schedule::Once { .. } => {
                self.add_once(yesterday, yesterday.begin - day.begin, pulses);
                self.add_once(day, 0, pulses);
            }
            Schedule::Heating { run, .. } => self.add_heating(run.as_secs_f64(), day, pulses),
        }
    }

    fn pulse(&self, from: i64, to: i64, pulses: &mut Pulses) {
        pulses.add(from, to, self.placement, self.strength);
    }

    /// The run that starts on `day`, which begins `offset` after the day being made.
    fn add_once(&self, day: &LocalDay, offset: i64, pulses: &mut Pulses) {
        let Schedule::Once { days, at, jitter, lasts, chance } = &self.schedule else { return };
        let mut draws = Draws::new(self.seed, self.stream, ordinal(day.number()));
        if !days.contain(day.weekday()) || !draws.chance(*chance) {
            return;
        }
        let jitter = f64::from(*jitter) * 60.0;
        let local = f64::from(*at) * 60.0 + draws.uniform(-jitter, jitter);
        let lasts = lasts.as_secs_f64() * draws.uniform(0.5, 1.5);
        let begin = offset + day.passed(seconds(local).max(0));
        self.pulse(begin, begin + seconds(lasts), pulses);
    }

    /// Runs with pauses that follow the cold. Each day begins anywhere in a cycle, and ends it.
    fn add_heating(&self, run: f64, day: &LocalDay, pulses: &mut Pulses) {
        let spell = weather::spell(self.seed, day);
        let of_year = day.of_year();
        let mut draws = Draws::new(self.seed, self.stream, ordinal(day.number()));
        let length = f64::from(day.length);
        let cycle = |at: f64| {
            let demand = demand(weather::norm(of_year, at / 3600.0) + spell);
            let duty = (self.duty * demand).clamp(0.005, 1.0);
            run / duty
        };
        let mut at = -draws.unit() * cycle(0.0);
        while at < length {
            let cycle = cycle(at.max(0.0));
            let end = at + cycle;
            self.pulse(seconds(end - run), seconds(end), pulses);
            at = end;
        }
    }
}

/// What heating and warm water ask for at an outdoor temperature; 1 is a heat demand of 10 K.
fn demand(temperature: f64) -> f64 {
    let cold = (HEATING_LIMIT - temperature).max(0.0);
    (cold * (1.0 + WORSE * cold) + WARM_WATER) / 10.0
}

/// The mean demand of a year, over all spells of weather.
static MEAN_DEMAND: LazyLock<f64> = LazyLock::new(|| {
    // Spells by the three points of Gauss and Hermite for a normal distribution.
    let points = [(-1.732_050_8, 1.0 / 6.0), (0.0, 2.0 / 3.0), (1.732_050_8, 1.0 / 6.0)];
    let mut sum = 0.0;
    for of_year in 1..=365_u16 {
        for hour in 0..24_u8 {
            let norm = weather::norm(f64::from(of_year), f64::from(hour) + 0.5);
            for (deviations, weight) in points {
                sum += weight * demand(norm + deviations * weather::SPELL);
            }
        }
    }
    sum / (365.0 * 24.0)
});

/// What a heating load of so many watts gives at the most in a year, in kWh: so much that it never
/// stops on a day of −8 °C, for which heatings are sized (SIA 384/201, Zürich).
pub(super) fn most_heating_kwh(watts: f64) -> f64 {
    watts / 1000.0 * HOURS_A_YEAR * *MEAN_DEMAND / demand(-8.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heat_pump_can_give_what_a_house_asks_for() {
        let most = most_heating_kwh(2500.0);
        assert!((6000.0..12_000.0).contains(&most), "{most}");
        assert_eq!(LoadPlan::heat_pump().problems(), []);
    }
}
