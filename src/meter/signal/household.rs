//! The household: what people and fridges switch on and off, as a sum of rectangles.

use std::time::Duration;

use super::calendar::LocalDay;
use super::load_profile::{self, Hours, ProfileDay};
use super::plan::{Appliance, ApplianceStep, HOURS_A_YEAR, HouseholdPlan, Placement, Runs};
use super::pulse::{Pulses, Strength};
use crate::rng::{Draws, RandomStream};

/// The appliances of a house where a family lives.
///
/// Watts, minutes and starts a year of the demand model of CREST (Richardson and others 2010), with
/// the mean of washing machine and dishwasher spread over heating and turning; lamps, phases and
/// hours are our own.
#[must_use]
pub(super) fn appliances() -> Vec<Appliance> {
    use Placement::{L1, L2, L3};
    let cycling = |name: &str, watts, on, pause, phase| Appliance {
        name: name.to_owned(),
        program: vec![step(watts, on)],
        runs: Runs::Cycling { pause: minutes(pause) },
        placement: phase,
        power_factor: 0.8,
        capacitive: false,
    };
    let started = |name: &str, program: &[(f64, f64)], a_year, (from_hour, until_hour), phase| {
        let program = program.iter().map(|(watts, minutes)| step(*watts, *minutes)).collect();
        let runs = Runs::Started { a_year, from_hour, until_hour };
        let name = name.to_owned();
        Appliance { name, program, runs, placement: phase, power_factor: 1.0, capacitive: false }
    };
    let lamps = |name: &str, watts, lasts, a_year, phase| Appliance {
        name: name.to_owned(),
        program: vec![step(watts, lasts)],
        runs: Runs::InTheDark { a_year },
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

/// 2400 W by a thermostat: full at first, then in bursts.
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
/// 2125 W until it is hot, then kept so.
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
/// 1131 Wh in 80 minutes: heats twice, the rest is pumping.
const DISHWASHER: [(f64, f64); 6] =
    [(70.0, 8.0), (2050.0, 17.0), (80.0, 20.0), (2050.0, 13.0), (70.0, 10.0), (25.0, 12.0)];
/// 930 Wh in 138 minutes: heats once, turns, spins.
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

/// A household made ready to be asked for its days.
#[derive(Debug)]
pub(super) struct HouseholdModel {
    /// What is always on, on each phase.
    pub base: [Strength; 3],
    /// How far each phase may stray from its level, in mW.
    pub noise: [u32; 3],
    appliances: Vec<Ready>,
    seed: u64,
}

/// An appliance made ready.
#[derive(Debug)]
struct Ready {
    stream: RandomStream,
    placement: Placement,
    steps: Vec<(Strength, f64)>,
    runs: ReadyRuns,
}

#[derive(Debug)]
enum ReadyRuns {
    /// So many starts in an hour of activity 1, from hour to hour.
    Started(f64, usize, usize),
    /// So many starts in an hour of activity 1 in the dark.
    InTheDark(f64),
    /// A start every so many seconds, the first ones shifted by so many.
    Cycling(f64, f64),
}

/// How the base load spreads over three phases.
const SPREAD: [f64; 3] = [0.6, 0.25, 0.15];
/// Power factor of what is always on: small power supplies, capacitive.
const BASE_POWER_FACTOR: f64 = 0.85;

/// How long a run lasts by its program: people are not machines.
const LASTS: (f64, f64) = (0.75, 1.25);
/// How much power it takes by its program.
const TAKES: (f64, f64) = (0.98, 1.02);
/// How far a cycle of a fridge strays from its place, by its length: what keeps two fridges from
/// dancing together.
const STRAYS: f64 = 0.06;

impl HouseholdModel {
    pub(super) fn new(plan: &HouseholdPlan, phases: usize, seed: u64, house: RandomStream) -> Self {
        let lived_in = plan.annual_kwh > 0.0;
        let started: f64 = plan
            .appliances
            .iter()
            .map(|appliance| match appliance.runs {
                Runs::Started { a_year, .. } | Runs::InTheDark { a_year } => {
                    a_year * appliance.program_wh() / 1000.0
                }
                Runs::Cycling { .. } => 0.0,
            })
            .sum();
        let left = (plan.annual_kwh - plan.least_annual_kwh()).max(0.0);
        // Where there is nothing to start, the base load takes what is left.
        let (scale, filling) =
            if started > 0.0 { (left / started, 0.0) } else { (0.0, left * 1000.0 / HOURS_A_YEAR) };
        let base = if lived_in { plan.base_watts + filling } else { 0.0 };
        let noise = if lived_in { plan.noise_watts } else { 0.0 };
        let spread = if phases == 1 { [1.0, 0.0, 0.0] } else { SPREAD };
        let appliances = plan.appliances.iter().zip(0_u64..).filter(|_| lived_in);
        Self {
            base: spread.map(|share| Strength::new(base * share, BASE_POWER_FACTOR, true)),
            noise: spread.map(|share| milliwatts(noise * share)),
            appliances: appliances
                .map(|(appliance, index)| Ready::new(appliance, scale, seed, house.child(index)))
                .collect(),
            seed,
        }
    }

    /// Adds all rectangles that reach into `day`.
    pub(super) fn add(&self, day: &LocalDay, yesterday: &LocalDay, pulses: &mut Pulses) {
        let begin = day.begin - yesterday.begin;
        for (day, offset) in [(yesterday, -begin), (day, 0)] {
            let activity = load_profile::activity(ProfileDay::from(day));
            let dark = load_profile::activity_in_the_dark(ProfileDay::from(day));
            for appliance in &self.appliances {
                match appliance.runs {
                    ReadyRuns::Started(rate, from, until) => {
                        let mut hours: Hours = [0.0; 24];
                        hours[from..until].copy_from_slice(&activity[from..until]);
                        self.add_started(appliance, rate, &hours, day, offset, pulses);
                    }
                    ReadyRuns::InTheDark(rate) => {
                        self.add_started(appliance, rate, &dark, day, offset, pulses);
                    }
                    ReadyRuns::Cycling(..) => {}
                }
            }
        }
        for appliance in &self.appliances {
            if let ReadyRuns::Cycling(period, shift) = appliance.runs {
                self.add_cycles(appliance, period, shift, day, pulses);
            }
        }
    }

    /// Bytes that it takes beside its own size.
    pub(super) fn heap_bytes(&self) -> usize {
        let steps = |ready: &Ready| ready.steps.capacity() * size_of::<(Strength, f64)>();
        self.appliances.capacity() * size_of::<Ready>()
            + self.appliances.iter().map(steps).sum::<usize>()
    }

    /// The runs that people start on `day`, which begins `offset` after the day being made.
    fn add_started(
        &self,
        appliance: &Ready,
        rate: f64,
        hours: &Hours,
        day: &LocalDay,
        offset: i64,
        pulses: &mut Pulses,
    ) {
        let expected = rate * hours.iter().sum::<f64>();
        let mut draws = Draws::new(self.seed, appliance.stream, ordinal(day.number()));
        for _ in 0..poisson(expected, &mut draws) {
            let local = second_of(hours, &mut draws);
            let lasts = draws.uniform(LASTS.0, LASTS.1);
            let takes = draws.uniform(TAKES.0, TAKES.1);
            appliance.run(offset + day.passed(local), lasts, takes, pulses);
        }
    }

    fn add_cycles(
        &self,
        appliance: &Ready,
        period: f64,
        shift: f64,
        day: &LocalDay,
        pulses: &mut Pulses,
    ) {
        let whole = |cycles: f64| seconds(libm::floor(cycles));
        let from = whole((precise(day.begin) - shift) / period) - 1;
        let to = whole((precise(day.begin + i64::from(day.length)) - shift) / period) + 1;
        for cycle in from..=to {
            let mut draws = Draws::new(self.seed, appliance.stream, ordinal(cycle));
            let strays = draws.uniform(-STRAYS, STRAYS) * period;
            let begin = precise(cycle) * period + shift + strays;
            let lasts = draws.uniform(0.9, 1.1);
            let takes = draws.uniform(TAKES.0, TAKES.1);
            appliance.run(seconds(begin) - day.begin, lasts, takes, pulses);
        }
    }
}

impl Ready {
    fn new(appliance: &Appliance, scale: f64, seed: u64, stream: RandomStream) -> Self {
        const DAYS_A_YEAR: f64 = HOURS_A_YEAR / 24.0;
        let runs = match appliance.runs {
            Runs::Started { a_year, from_hour, until_hour } => {
                let until = usize::from(until_hour).min(24);
                let from = usize::from(from_hour).min(until);
                let mean: f64 = load_profile::mean_activity()[from..until].iter().sum();
                let a_day = scale * a_year / DAYS_A_YEAR;
                ReadyRuns::Started(if mean > 0.0 { a_day / mean } else { 0.0 }, from, until)
            }
            Runs::InTheDark { a_year } => ReadyRuns::InTheDark(scale * a_year / DAYS_A_YEAR / 24.0),
            Runs::Cycling { pause } => {
                let period = (appliance.program_lasts() + pause).as_secs_f64().max(600.0);
                // Beside any cycle's ordinal, so that the shift is a draw of its own.
                let shift = Draws::new(seed, stream, u64::MAX / 2).unit() * period;
                ReadyRuns::Cycling(period, shift)
            }
        };
        let strength = |step: &ApplianceStep| {
            let watts = Strength::new(step.watts, appliance.power_factor, appliance.capacitive);
            (watts, step.lasts.as_secs_f64())
        };
        Self {
            stream,
            placement: appliance.placement,
            steps: appliance.program.iter().map(strength).collect(),
            runs,
        }
    }

    /// Adds one run of its program; times in seconds of the day being made.
    fn run(&self, begin: i64, lasts: f64, takes: f64, pulses: &mut Pulses) {
        let mut at = precise(begin);
        for (strength, step) in &self.steps {
            let end = at + step * lasts;
            pulses.add(seconds(at), seconds(end), self.placement, strength.times(takes));
            at = end;
        }
    }
}

/// How many events of a Poisson process happen where `expected` do on average (Knuth; for the few
/// dozen starts a day that a plan allows).
fn poisson(expected: f64, draws: &mut Draws) -> u32 {
    const MOST: u32 = 400;
    let least = libm::exp(-expected.min(200.0));
    let mut product = draws.unit();
    let mut count = 0;
    while product > least && count < MOST {
        product *= draws.unit();
        count += 1;
    }
    count
}

/// A second of the day by the wall clock, each hour as likely as its weight.
fn second_of(hours: &Hours, draws: &mut Draws) -> i64 {
    let mut left = draws.unit() * hours.iter().sum::<f64>();
    let within = draws.unit();
    let mut last = 0.0;
    for (hour, weight) in (0_u8..).zip(hours) {
        if *weight > 0.0 {
            last = f64::from(hour);
            if left < *weight {
                break;
            }
        }
        left -= weight;
    }
    seconds((last + within) * 3600.0)
}

/// A whole number of seconds; far from where it could be cut.
#[expect(clippy::cast_possible_truncation, reason = "a cast from f64 saturates")]
pub(super) fn seconds(seconds: f64) -> i64 {
    libm::floor(seconds) as i64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast from f64 saturates"
)]
fn milliwatts(watts: f64) -> u32 {
    libm::round(watts * 1000.0) as u32
}

/// Seconds since 1970 and numbers of days and cycles are far below 2⁵³.
#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
pub(super) fn precise(whole: i64) -> f64 {
    whole as f64
}

/// A number that may be negative, as an ordinal of draws.
pub(super) fn ordinal(number: i64) -> u64 {
    number.cast_unsigned()
}
