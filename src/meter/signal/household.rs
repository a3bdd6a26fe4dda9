//! The household: the appliances, fridges and lamps of the residents, as a sum of rectangular pulses.

use super::calendar::LocalDay;
use super::edges::{EdgeList, LoadPower};
use super::load_profile::{self, HourlyValues, ProfileDay};
use super::math::{HOURS_PER_YEAR, floor_seconds, ordinal, to_f64};
use super::plan::{
    Appliance, ApplianceStep, HouseholdPlan, Placement, SharedSignalPlan, UsagePattern,
};
use crate::rng::{Draws, RandomStream};

/// Shares of the base load on the phases of a connection with three.
const PHASE_SHARES: [f64; 3] = [0.6, 0.25, 0.15];
/// Power factor of the base load: small power supplies, capacitive.
const BASE_POWER_FACTOR: f64 = 0.85;

/// Range of the duration of a run, relative to its program: people do not act to the second.
const DURATION_RANGE: (f64, f64) = (0.75, 1.25);
/// Range of the duration of a run of a cycling appliance, relative to its program.
const CYCLING_DURATION_RANGE: (f64, f64) = (0.9, 1.1);
/// Range of the power of a run, relative to its program.
const POWER_RANGE: (f64, f64) = (0.98, 1.02);
/// Jitter of a fridge's cycle, relative to its period. Without it, two fridges would stay in step.
const CYCLE_JITTER: f64 = 0.06;
/// Shortest period of a cycling appliance, in seconds.
const MIN_CYCLE: f64 = 600.0;
/// Events of one Poisson draw at most.
const MAX_STARTS: u32 = 400;

/// The model of a household.
#[derive(Debug)]
pub(super) struct HouseholdModel {
    plan: SharedSignalPlan,
    /// The stream of the household; each appliance has one of its own.
    stream: RandomStream,
    seed: u64,
}

/// The part of the model that follows from the plan alone, and is the same in every house with this plan.
#[derive(Debug)]
pub(super) struct HouseholdTables {
    /// Power that is always on, on each phase.
    base: [LoadPower; 3],
    /// Amplitude of the noise on each phase, in mW.
    noise: [u32; 3],
    appliances: Box<[ApplianceModel]>,
}

/// The model of one appliance.
#[derive(Debug)]
struct ApplianceModel {
    placement: Placement,
    /// Power and duration (in seconds) of each step of the program.
    steps: Box<[(LoadPower, f64)]>,
    usage: UsageModel,
}

#[derive(Debug)]
enum UsageModel {
    /// Starts an hour at an activity of 1, within these hours of the day.
    OnDemand { rate: f64, from_hour: usize, until_hour: usize },
    /// Starts an hour at an activity of 1, while it is dark.
    InTheDark { rate: f64 },
    /// A start in every period, in seconds, all shifted by a phase that each house draws.
    Cycling { period: f64 },
}

impl HouseholdTables {
    /// Returns the tables of a household whose connection has so many phases.
    pub(super) fn new(plan: &HouseholdPlan, phases: usize) -> Self {
        let inhabited = plan.annual_kwh > 0.0;
        let default_kwh: f64 = plan
            .appliances
            .iter()
            .map(|appliance| match appliance.usage {
                UsagePattern::OnDemand { a_year, .. } | UsagePattern::InTheDark { a_year } => {
                    a_year * appliance.program_wh() / 1000.0
                }
                UsagePattern::Cycling { .. } => 0.0,
            })
            .sum();
        let remaining_kwh = (plan.annual_kwh - plan.min_annual_kwh()).max(0.0);
        // Without appliances that anybody starts, the base load takes the remaining energy.
        let (scale, extra_base_watts) = if default_kwh > 0.0 {
            (remaining_kwh / default_kwh, 0.0)
        } else {
            (0.0, remaining_kwh * 1000.0 / HOURS_PER_YEAR)
        };
        let base = if inhabited { plan.base_watts + extra_base_watts } else { 0.0 };
        let noise = if inhabited { plan.noise_watts } else { 0.0 };
        let shares = if phases == 1 { [1.0, 0.0, 0.0] } else { PHASE_SHARES };
        let appliances = plan.appliances.iter().filter(|_| inhabited);
        Self {
            base: shares.map(|share| LoadPower::new(base * share, BASE_POWER_FACTOR, true)),
            noise: shares.map(|share| milliwatts(noise * share)),
            appliances: appliances.map(|appliance| ApplianceModel::new(appliance, scale)).collect(),
        }
    }
}

impl HouseholdModel {
    pub(super) fn new(plan: &SharedSignalPlan, seed: u64, stream: RandomStream) -> Self {
        Self { plan: plan.clone(), stream, seed }
    }

    /// Returns the power that is always on, on each phase.
    pub(super) fn base(&self) -> &[LoadPower; 3] {
        &self.plan.household().base
    }

    /// Returns the amplitude of the noise on each phase, in mW.
    pub(super) fn noise(&self) -> [u32; 3] {
        self.plan.household().noise
    }

    /// Returns the appliances, each with its stream.
    fn appliances(&self) -> impl Iterator<Item = (&ApplianceModel, RandomStream)> {
        let appliances = self.plan.household().appliances.iter();
        appliances.zip(0_u64..).map(|(appliance, index)| (appliance, self.stream.child(index)))
    }

    /// Adds all pulses that reach into `day`.
    pub(super) fn add_pulses(&self, day: &LocalDay, yesterday: &LocalDay, edges: &mut EdgeList) {
        for (run_day, offset) in [(yesterday, yesterday.begin - day.begin), (day, 0)] {
            let activity = load_profile::activity(ProfileDay::from(run_day));
            let dark = load_profile::activity_in_the_dark(ProfileDay::from(run_day));
            for appliance in self.appliances() {
                match appliance.0.usage {
                    UsageModel::OnDemand { rate, from_hour, until_hour } => {
                        let mut hours: HourlyValues = [0.0; 24];
                        let used = from_hour..until_hour;
                        hours[used.clone()].copy_from_slice(&activity[used]);
                        self.add_starts(appliance, rate, &hours, run_day, offset, edges);
                    }
                    UsageModel::InTheDark { rate } => {
                        self.add_starts(appliance, rate, &dark, run_day, offset, edges);
                    }
                    UsageModel::Cycling { .. } => {}
                }
            }
        }
        for appliance in self.appliances() {
            if let UsageModel::Cycling { period } = appliance.0.usage {
                self.add_cycles(appliance, period, day, edges);
            }
        }
    }

    /// Adds the runs that residents start on `day`, which begins `offset` seconds after the day being
    /// built.
    fn add_starts(
        &self,
        (appliance, stream): (&ApplianceModel, RandomStream),
        rate: f64,
        hours: &HourlyValues,
        day: &LocalDay,
        offset: i64,
        edges: &mut EdgeList,
    ) {
        let expected = rate * hours.iter().sum::<f64>();
        let mut draws = Draws::new(self.seed, stream, ordinal(day.number()));
        for _ in 0..poisson(expected, &mut draws) {
            let local = draw_second(hours, &mut draws);
            let duration = draws.uniform(DURATION_RANGE.0, DURATION_RANGE.1);
            let power = draws.uniform(POWER_RANGE.0, POWER_RANGE.1);
            appliance.add_run(offset + day.elapsed_at(local), duration, power, edges);
        }
    }

    /// Adds the runs of an appliance that cycles day and night.
    fn add_cycles(
        &self,
        (appliance, stream): (&ApplianceModel, RandomStream),
        period: f64,
        day: &LocalDay,
        edges: &mut EdgeList,
    ) {
        // No cycle has this ordinal, so that the phase is a draw of its own.
        let phase = Draws::new(self.seed, stream, u64::MAX / 2).unit() * period;
        let cycle_at = |second: i64| floor_seconds(libm::floor((to_f64(second) - phase) / period));
        let first = cycle_at(day.begin) - 1;
        let last = cycle_at(day.begin + i64::from(day.length)) + 1;
        for cycle in first..=last {
            let mut draws = Draws::new(self.seed, stream, ordinal(cycle));
            let jitter = draws.uniform(-CYCLE_JITTER, CYCLE_JITTER) * period;
            let begin = to_f64(cycle) * period + phase + jitter;
            let duration = draws.uniform(CYCLING_DURATION_RANGE.0, CYCLING_DURATION_RANGE.1);
            let power = draws.uniform(POWER_RANGE.0, POWER_RANGE.1);
            appliance.add_run(floor_seconds(begin) - day.begin, duration, power, edges);
        }
    }
}

impl ApplianceModel {
    /// `scale` is the number of starts relative to the default consumption.
    fn new(appliance: &Appliance, scale: f64) -> Self {
        const DAYS_PER_YEAR: f64 = HOURS_PER_YEAR / 24.0;
        let usage = match appliance.usage {
            UsagePattern::OnDemand { a_year, from_hour, until_hour } => {
                let until_hour = usize::from(until_hour).min(24);
                let from_hour = usize::from(from_hour).min(until_hour);
                let mean: f64 = load_profile::mean_activity()[from_hour..until_hour].iter().sum();
                let a_day = scale * a_year / DAYS_PER_YEAR;
                let rate = if mean > 0.0 { a_day / mean } else { 0.0 };
                UsageModel::OnDemand { rate, from_hour, until_hour }
            }
            UsagePattern::InTheDark { a_year } => {
                UsageModel::InTheDark { rate: scale * a_year / DAYS_PER_YEAR / 24.0 }
            }
            UsagePattern::Cycling { pause } => {
                let period = (appliance.program_duration() + pause).as_secs_f64().max(MIN_CYCLE);
                UsageModel::Cycling { period }
            }
        };
        let step = |step: &ApplianceStep| {
            let power = LoadPower::new(step.watts, appliance.power_factor, appliance.capacitive);
            (power, step.lasts.as_secs_f64())
        };
        Self {
            placement: appliance.placement,
            steps: appliance.program.iter().map(step).collect(),
            usage,
        }
    }

    /// Adds one run of the program, which begins at second `begin` of the day being built. `duration`
    /// and `power` are relative to the program.
    fn add_run(&self, begin: i64, duration: f64, power: f64, edges: &mut EdgeList) {
        let mut at = to_f64(begin);
        for (step_power, step_seconds) in &*self.steps {
            let end = at + step_seconds * duration;
            let (from, to) = (floor_seconds(at), floor_seconds(end));
            edges.add_pulse(from, to, self.placement, step_power.scaled(power));
            at = end;
        }
    }
}

/// Draws the number of events of a Poisson process with a mean of `expected` (algorithm of Knuth; for
/// the few dozen starts a day that a plan allows).
fn poisson(expected: f64, draws: &mut Draws) -> u32 {
    let limit = libm::exp(-expected.min(200.0));
    let mut product = draws.unit();
    let mut count = 0;
    while product > limit && count < MAX_STARTS {
        product *= draws.unit();
        count += 1;
    }
    count
}

/// Draws a second of the day by the wall clock, with the probability of each hour given by its weight.
fn draw_second(hours: &HourlyValues, draws: &mut Draws) -> i64 {
    let mut remaining = draws.unit() * hours.iter().sum::<f64>();
    let within_hour = draws.unit();
    let mut start_hour = 0.0;
    for (hour, weight) in (0_u8..).zip(hours) {
        if *weight > 0.0 {
            start_hour = f64::from(hour);
            if remaining < *weight {
                break;
            }
        }
        remaining -= weight;
    }
    floor_seconds((start_hour + within_hour) * 3600.0)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast from f64 saturates"
)]
fn milliwatts(watts: f64) -> u32 {
    libm::round(watts * 1000.0) as u32
}
