//! Large loads that run by a schedule.

use std::time::Duration;

use super::Placement;
use super::checks::PlanChecks;
use super::week::{DAY_MINUTES, DailyWindow, Days};
use crate::meter::signal::climate::max_heating_kwh;
use crate::problem::Problem;

/// A large load that a scenario names. It runs by a schedule, in addition to the household.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadPlan {
    /// A name for people.
    pub name: String,
    /// Power while it runs, over all its phases, in W; 0..=100 000.
    pub watts: f64,
    /// The phases that it is connected to.
    pub placement: Placement,
    /// Power factor, above 0 and at most 1, inductive.
    pub power_factor: f64,
    /// The times at which it runs.
    pub schedule: Schedule,
}

/// The times at which a load runs.
#[derive(Debug, Clone, PartialEq)]
pub enum Schedule {
    /// All the time within these windows; at most [`WEEK_WINDOWS`](crate::limits::WEEK_WINDOWS).
    Windows(Vec<DailyWindow>),
    /// Once on each of these days, like a car that comes home or a boiler that is heated at night.
    Once {
        /// The days.
        days: Days,
        /// Mean time of the start, in minutes of the day; 0..1440.
        at: u16,
        /// Largest deviation of the start from that, in minutes; 0..=240.
        jitter: u16,
        /// Mean duration of a run; 1 minute to 12 hours. Single runs last half to one and a half times
        /// as long.
        lasts: Duration,
        /// Probability of a run on each of these days; above 0 and at most 1.
        chance: f64,
    },
    /// As a heat pump: on for `run` at a time, with pauses that shrink as it gets colder.
    Heating {
        /// Energy of a year, in kWh; at most as much as without a pause on the coldest days.
        annual_kwh: f64,
        /// Duration of a run; 5 minutes to 4 hours.
        run: Duration,
    },
}

impl LoadPlan {
    /// Returns the heat pump of a single-family house: 2.5 kW electric, three phases, 4500 kWh a year.
    #[must_use]
    pub fn heat_pump() -> Self {
        Self {
            name: "heat pump".to_owned(),
            watts: 2500.0,
            placement: Placement::All,
            power_factor: 0.9,
            schedule: Schedule::Heating { annual_kwh: 4500.0, run: Duration::from_mins(30) },
        }
    }

    /// Returns an electric boiler that is heated at night: 4 kW for some two and a half hours.
    #[must_use]
    pub fn boiler() -> Self {
        Self {
            name: "boiler".to_owned(),
            watts: 4000.0,
            placement: Placement::All,
            power_factor: 1.0,
            schedule: Schedule::Once {
                days: Days::ALL,
                at: 23 * 60,
                jitter: 1,
                lasts: Duration::from_mins(150),
                chance: 1.0,
            },
        }
    }

    /// Returns a car that is charged with 11 kW on three phases on three evenings of five.
    #[must_use]
    pub fn ev() -> Self {
        Self {
            name: "ev".to_owned(),
            watts: 11_000.0,
            placement: Placement::All,
            power_factor: 0.99,
            schedule: Schedule::Once {
                days: Days::ALL,
                at: 18 * 60,
                jitter: 90,
                lasts: Duration::from_mins(80),
                chance: 0.6,
            },
        }
    }

    /// Returns the fields that are out of range.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut checks = PlanChecks::default();
        checks.range("watts", self.watts, 0.0, 100_000.0, "W");
        checks.power_factor(self.power_factor);
        match &self.schedule {
            Schedule::Windows(windows) => checks.windows("windows", windows),
            Schedule::Once { .. } => self.schedule.check_once(&mut checks),
            Schedule::Heating { .. } => self.schedule.check_heating(self.watts, &mut checks),
        }
        checks.into_problems()
    }
}

impl Schedule {
    fn check_once(&self, checks: &mut PlanChecks) {
        let Self::Once { days, at, jitter, lasts, chance } = self else { return };
        if days.is_empty() {
            checks.add("days", "on no day; expected one at least".to_owned());
        }
        if *at >= DAY_MINUTES {
            checks.add("at", format!("minute {at} of the day; expected less than {DAY_MINUTES}"));
        }
        if *jitter > 240 {
            checks.add("jitter", format!("a jitter of {jitter} minutes; expected at most 240"));
        }
        if !(Duration::from_mins(1)..=Duration::from_hours(12)).contains(lasts) {
            checks.add("lasts", format!("it lasts {lasts:?}; expected 1 minute to 12 hours"));
        }
        if !(*chance > 0.0 && *chance <= 1.0) {
            checks
                .add("chance", format!("chance {chance}: expected a number above 0 and at most 1"));
        }
    }

    fn check_heating(&self, watts: f64, checks: &mut PlanChecks) {
        let Self::Heating { annual_kwh, run } = self else { return };
        if !(Duration::from_mins(5)..=Duration::from_hours(4)).contains(run) {
            checks.add("run", format!("it runs {run:?} at a time; expected 5 minutes to 4 hours"));
        }
        let max = max_heating_kwh(watts);
        if !(0.0..=max).contains(annual_kwh) {
            checks.add(
                "annual_kwh",
                format!(
                    "{annual_kwh} kWh: {watts} W give at most {max:.0} kWh in a heating season"
                ),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_loads_have_no_problems() {
        for load in [LoadPlan::heat_pump(), LoadPlan::boiler(), LoadPlan::ev()] {
            assert_eq!(load.problems(), [], "{}", load.name);
        }
    }
}
