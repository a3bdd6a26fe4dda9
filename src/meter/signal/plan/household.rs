//! The household: base load, fridges, lamps, and the appliances that residents start.

use std::time::Duration;

use super::Placement;
use super::checks::PlanChecks;
use crate::meter::signal::math::HOURS_PER_YEAR;
use crate::problem::Problem;

/// Appliances of a household at most, so that a day of them takes little memory.
pub(super) const MAX_APPLIANCES: usize = 24;
/// Steps of an appliance's program at most, for the same reason.
pub(super) const MAX_PROGRAM_STEPS: usize = 16;

/// The consumption of the residents: base load, fridges, lamps, and appliances that someone starts.
#[derive(Debug, Clone, PartialEq)]
pub struct HouseholdPlan {
    /// Consumption of a year without the loads of the scenario, in kWh; 0..=100 000. The energy beyond
    /// base load and fridges decides how often appliances and lamps are switched on. 0 is an empty
    /// house, in which even the base load is off.
    pub annual_kwh: f64,
    /// Base load that is always on, in W; 0..=2000.
    pub base_watts: f64,
    /// Largest deviation of the load from its level from second to second, in W; at most half of
    /// `base_watts`.
    pub noise_watts: f64,
    /// Appliances, fridges and lamps; at most [`MAX_APPLIANCES`].
    pub appliances: Vec<Appliance>,
}

impl Default for HouseholdPlan {
    fn default() -> Self {
        Self {
            annual_kwh: 4500.0,
            base_watts: 72.0,
            noise_watts: 4.0,
            appliances: family_appliances(),
        }
    }
}

impl HouseholdPlan {
    /// Returns the fields that are out of range. Each appliance has a method for its own problems.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut checks = PlanChecks::default();
        checks.range("annual_kwh", self.annual_kwh, 0.0, 100_000.0, "kWh");
        checks.range("base_watts", self.base_watts, 0.0, 2000.0, "W");
        if !(0.0..=self.base_watts.max(0.0) / 2.0).contains(&self.noise_watts) {
            checks.add(
                "noise_watts",
                format!(
                    "noise of {} W: expected at most half of the base load, {} W",
                    self.noise_watts,
                    self.base_watts / 2.0
                ),
            );
        }
        if self.appliances.len() > MAX_APPLIANCES {
            checks.add(
                "appliances",
                format!("{} appliances; expected at most {MAX_APPLIANCES}", self.appliances.len()),
            );
        }
        let min = self.min_annual_kwh();
        if self.annual_kwh > 0.0 && self.annual_kwh < min {
            checks.add(
                "annual_kwh",
                format!(
                    "{} kWh: base load and fridges alone take {min:.0} kWh a year; expected more than that, or a lower `base_watts`, or 0 for an empty house",
                    self.annual_kwh
                ),
            );
        }
        checks.into_problems()
    }

    /// Returns the energy of base load and fridges in a year, in kWh.
    #[must_use]
    pub fn min_annual_kwh(&self) -> f64 {
        let cycling: f64 = self.appliances.iter().map(Appliance::mean_cycling_watts).sum();
        (self.base_watts + cycling) * HOURS_PER_YEAR / 1000.0
    }
}

/// An appliance that runs a program from time to time.
#[derive(Debug, Clone, PartialEq)]
pub struct Appliance {
    /// A name for people.
    pub name: String,
    /// Power from the start to the end of a run; at most [`MAX_PROGRAM_STEPS`] steps and 12 hours.
    pub program: Vec<ApplianceStep>,
    /// The times at which it starts.
    pub usage: UsagePattern,
    /// The phases that it is connected to.
    pub placement: Placement,
    /// Power factor, above 0 and at most 1; see [`Appliance::capacitive`].
    pub power_factor: f64,
    /// `true` if its current leads the voltage (switched power supplies), `false` if it lags (motors).
    pub capacitive: bool,
}

/// A step of a program.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ApplianceStep {
    /// Power, in W; 0..=50 000.
    pub watts: f64,
    /// Duration; at least a second.
    pub lasts: Duration,
}

/// The times at which an appliance starts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum UsagePattern {
    /// A resident starts it, within these hours of the day, as often as the load profile says.
    OnDemand {
        /// Starts a year at the default consumption; 0..=20 000.
        a_year: f64,
        /// The first hour of the day in which it is started; 0..=23.
        from_hour: u8,
        /// The hour of the day from which on it is no longer started; 1..=24.
        until_hour: u8,
    },
    /// A resident starts it while it is dark.
    InTheDark {
        /// Starts a year at the default consumption; 0..=20 000.
        a_year: f64,
    },
    /// The appliance starts by itself, day and night, with a pause after each program.
    Cycling {
        /// The pause.
        pause: Duration,
    },
}

impl Appliance {
    /// Returns the fields that are out of range.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut checks = PlanChecks::default();
        checks.power_factor(self.power_factor);
        if self.program.is_empty() || self.program.len() > MAX_PROGRAM_STEPS {
            checks.add(
                "program",
                format!("{} steps; expected 1 to {MAX_PROGRAM_STEPS}", self.program.len()),
            );
        }
        for step in &self.program {
            checks.range("watts", step.watts, 0.0, 50_000.0, "W");
            if step.lasts < Duration::from_secs(1) {
                checks
                    .add("lasts", format!("a step of {:?}; expected a second or more", step.lasts));
            }
        }
        let whole = self.program_duration();
        if whole > Duration::from_hours(12) {
            checks.add("program", format!("a program of {whole:?}; expected at most 12 hours"));
        }
        self.usage.check(whole, &mut checks);
        checks.into_problems()
    }

    /// Returns the duration of the program.
    #[must_use]
    pub fn program_duration(&self) -> Duration {
        self.program.iter().fold(Duration::ZERO, |sum, step| sum.saturating_add(step.lasts))
    }

    /// Returns the energy of one program, in Wh.
    #[must_use]
    pub fn program_wh(&self) -> f64 {
        self.program.iter().map(|step| step.watts * step.lasts.as_secs_f64() / 3600.0).sum()
    }

    /// Returns the mean power of an appliance that cycles, in W; 0 for appliances that residents start.
    fn mean_cycling_watts(&self) -> f64 {
        match self.usage {
            UsagePattern::Cycling { pause } => {
                let hours = (self.program_duration() + pause).as_secs_f64() / 3600.0;
                if hours > 0.0 { self.program_wh() / hours } else { 0.0 }
            }
            UsagePattern::OnDemand { .. } | UsagePattern::InTheDark { .. } => 0.0,
        }
    }
}

impl UsagePattern {
    fn check(&self, program: Duration, checks: &mut PlanChecks) {
        match *self {
            Self::OnDemand { a_year, from_hour, until_hour } => {
                checks.range("a_year", a_year, 0.0, 20_000.0, "starts");
                if from_hour >= until_hour || until_hour > 24 {
                    checks.add(
                        "hours",
                        format!(
                            "from {from_hour} to {until_hour}: expected hours of one day, the first below the second, at most 24"
                        ),
                    );
                }
            }
            Self::InTheDark { a_year } => {
                checks.range("a_year", a_year, 0.0, 20_000.0, "starts");
            }
            Self::Cycling { pause } => {
                // The edges of a day of such cycles have to fit into the memory of a day.
                if program + pause < Duration::from_mins(10) || pause > Duration::from_hours(12) {
                    checks.add(
                        "pause",
                        format!(
                            "a pause of {pause:?} after a program of {program:?}; expected at least 10 minutes in all, and a pause of at most 12 hours"
                        ),
                    );
                }
            }
        }
    }
}

/// Returns the appliances of a family.
///
/// Watts, minutes and starts a year are those of the CREST demand model (Richardson and others 2010); its
/// means of washing machine and dishwasher are distributed over heating and turning. Lamps, phases and
/// hours are our own.
fn family_appliances() -> Vec<Appliance> {
    use Placement::{L1, L2, L3};
    let cycling = |name: &str, watts, on, pause, phase| Appliance {
        name: name.to_owned(),
        program: vec![step(watts, on)],
        usage: UsagePattern::Cycling { pause: minutes(pause) },
        placement: phase,
        power_factor: 0.8,
        capacitive: false,
    };
    let started = |name: &str, program: &[(f64, f64)], a_year, (from_hour, until_hour), phase| {
        let program = program.iter().map(|(watts, minutes)| step(*watts, *minutes)).collect();
        let usage = UsagePattern::OnDemand { a_year, from_hour, until_hour };
        let name = name.to_owned();
        Appliance { name, program, usage, placement: phase, power_factor: 1.0, capacitive: false }
    };
    let lamps = |name: &str, watts, lasts, a_year, phase| Appliance {
        name: name.to_owned(),
        program: vec![step(watts, lasts)],
        usage: UsagePattern::InTheDark { a_year },
        placement: phase,
        power_factor: 0.9,
        capacitive: true,
    };
    let motor = |appliance| Appliance { power_factor: 0.8, ..appliance };
    let electronic = |appliance| Appliance { power_factor: 0.9, capacitive: true, ..appliance };
    vec![
        cycling("fridge", 110.0, 18.0, 36.0, L1),
        cycling("fridge-freezer", 190.0, 22.0, 44.0, L2),
        started("kettle", &[(2000.0, 3.0)], 1520.0, (5, 23), L2),
        started("hob", &HOB, 418.0, (6, 22), L3),
        started("oven", &OVEN, 220.0, (9, 22), L2),
        started("microwave", &[(1250.0, 3.0)], 950.0, (6, 23), L2),
        motor(started("dishwasher", &DISHWASHER, 241.0, (7, 23), L1)),
        motor(started("washing machine", &WASHING_MACHINE, 196.0, (7, 21), L3)),
        motor(started("dryer", &[(2500.0, 60.0)], 122.0, (8, 22), L3)),
        started("vacuum cleaner", &[(1200.0, 20.0)], 110.0, (8, 20), L1),
        electronic(started("television", &[(124.0, 73.0)], 1464.0, (6, 24), L1)),
        electronic(started("computer", &[(141.0, 120.0)], 1100.0, (7, 24), L3)),
        started("hair dryer", &[(1200.0, 5.0)], 350.0, (6, 23), L3),
        lamps("living room", 48.0, 75.0, 1100.0, L1),
        lamps("kitchen", 30.0, 35.0, 1500.0, L2),
        lamps("bath", 24.0, 12.0, 2200.0, L3),
        lamps("bedrooms", 18.0, 40.0, 1100.0, L1),
    ]
}

/// 2400 W behind a thermostat: first all the time, then in bursts.
const HOB: [(f64, f64); 8] = [
    (2400.0, 5.0),
    (0.0, 0.5),
    (2400.0, 0.6),
    (0.0, 1.0),
    (2400.0, 0.5),
    (0.0, 1.3),
    (1400.0, 4.0),
    (900.0, 3.5),
];
/// 2125 W until it is hot, then in bursts that hold the temperature.
const OVEN: [(f64, f64); 8] = [
    (2125.0, 9.0),
    (30.0, 2.0),
    (2125.0, 1.5),
    (30.0, 3.0),
    (2125.0, 1.5),
    (30.0, 4.0),
    (2125.0, 1.5),
    (30.0, 4.5),
];
/// 1131 Wh in 80 minutes: two heating phases; the rest is pumping.
const DISHWASHER: [(f64, f64); 6] =
    [(70.0, 8.0), (2050.0, 17.0), (80.0, 20.0), (2050.0, 13.0), (70.0, 10.0), (25.0, 12.0)];
/// 930 Wh in 138 minutes: one heating phase, then turning and spinning.
const WASHING_MACHINE: [(f64, f64); 8] = [
    (60.0, 6.0),
    (2050.0, 19.0),
    (180.0, 35.0),
    (90.0, 20.0),
    (320.0, 6.0),
    (110.0, 30.0),
    (420.0, 8.0),
    (60.0, 14.0),
];

fn minutes(minutes: f64) -> Duration {
    Duration::from_secs_f64(minutes * 60.0)
}

fn step(watts: f64, lasts: f64) -> ApplianceStep {
    ApplianceStep { watts, lasts: minutes(lasts) }
}
