//! What a scenario says of a house's electricity: who uses it, who makes it, how it is billed.
//!
//! Every type has a sensible default and names its own mistakes by `problems`, as pairs of field and
//! message, so that a scenario can place them. Powers are in watts, energies in kWh, times of day in
//! minutes of local time (Europe/Zurich).

use std::time::Duration;

use jiff::civil::Weekday;

use crate::limits::{APPLIANCES, LOADS, PROGRAM_STEPS, WEEK_WINDOWS};
use crate::problem::Problem;

/// Everything the signal is made of.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SignalPlan {
    /// The house's own load.
    pub household: HouseholdPlan,
    /// Solar panels.
    pub pv: Option<PvPlan>,
    /// A battery that keeps the house from importing and exporting.
    pub battery: Option<BatteryPlan>,
    /// Heat pump, boiler, car and the like.
    pub loads: Vec<LoadPlan>,
    /// The connection to the grid.
    pub connection: ConnectionPlan,
    /// When which tariff is in force.
    pub tariff: TariffPlan,
    /// How maximum demand is measured.
    pub demand: DemandPlan,
    /// What the registers show when the scenario starts.
    pub registers: RegisterPlan,
}

impl SignalPlan {
    /// What is wrong with how the parts fit each other; each part tells its own by itself.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.connection.phases == Phases::One {
            let beyond = |place: Placement| matches!(place, Placement::L2 | Placement::L3);
            for load in self.loads.iter().filter(|load| beyond(load.placement)) {
                let message = format!(
                    "load {:?} is on {}, and the connection has one phase; put it on l1",
                    load.name,
                    load.placement.name()
                );
                problems.push(Problem::new("loads", message));
            }
        }
        if self.loads.len() > LOADS {
            let message = format!("{} loads; expected at most {LOADS}", self.loads.len());
            problems.push(Problem::new("loads", message));
        }
        problems
    }
}

/// How many phases the house has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Phases {
    /// One: everything is on L1.
    One,
    /// Three.
    #[default]
    Three,
}

impl Phases {
    /// How many.
    #[must_use]
    pub const fn count(self) -> usize {
        match self {
            Self::One => 1,
            Self::Three => 3,
        }
    }
}

/// Which phases something is on. With one phase all of it is on L1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the phases are named as everyone names them")]
pub enum Placement {
    #[default]
    L1,
    L2,
    L3,
    /// On all three in equal parts.
    All,
}

impl Placement {
    /// As a scenario writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::L1 => "l1",
            Self::L2 => "l2",
            Self::L3 => "l3",
            Self::All => "all",
        }
    }
}

/// The connection to the grid.
#[derive(Debug, Clone, PartialEq)]
pub struct ConnectionPlan {
    /// One phase or three.
    pub phases: Phases,
    /// What the voltage would be without load, in V; 207..=253 (EN 50160: 230 V ± 10 %).
    pub volts: f64,
    /// Standard deviation of its slow noise, in V; 0..=4.
    pub noise_volts: f64,
    /// Resistance up to the meter, in Ω a phase; 0..=0.5.
    pub resistance: f64,
    /// Reactance up to the meter, in Ω a phase; 0..=0.5.
    pub reactance: f64,
}

impl Default for ConnectionPlan {
    fn default() -> Self {
        Self {
            phases: Phases::Three,
            volts: 234.0,
            noise_volts: 1.5,
            resistance: 0.08,
            reactance: 0.03,
        }
    }
}

impl ConnectionPlan {
    /// What is wrong with it.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Problems::default();
        problems.range("volts", self.volts, 207.0, 253.0, "V");
        problems.range("noise_volts", self.noise_volts, 0.0, 4.0, "V");
        problems.range("resistance", self.resistance, 0.0, 0.5, "Ω");
        problems.range("reactance", self.reactance, 0.0, 0.5, "Ω");
        problems.0
    }
}

/// What the people in the house use: what is always on, fridges, lamps, and appliances that someone
/// starts.
#[derive(Debug, Clone, PartialEq)]
pub struct HouseholdPlan {
    /// Consumption of a year without the scenario's loads, in kWh; 0..=100 000. What is left after
    /// base load and fridges decides how often appliances and lamps are switched on. 0: an empty
    /// house, where even the base load is off.
    pub annual_kwh: f64,
    /// What is always on, in W; 0..=2000.
    pub base_watts: f64,
    /// How far the load may stray from its level from second to second, in W; at most half of
    /// `base_watts`.
    pub noise_watts: f64,
    /// Appliances, fridges and lamps; at most [`APPLIANCES`].
    pub appliances: Vec<Appliance>,
}

impl Default for HouseholdPlan {
    fn default() -> Self {
        Self {
            annual_kwh: 4500.0,
            base_watts: 72.0,
            noise_watts: 4.0,
            appliances: super::household::appliances(),
        }
    }
}

impl HouseholdPlan {
    /// What is wrong with it.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Problems::default();
        problems.range("annual_kwh", self.annual_kwh, 0.0, 100_000.0, "kWh");
        problems.range("base_watts", self.base_watts, 0.0, 2000.0, "W");
        if !(0.0..=self.base_watts.max(0.0) / 2.0).contains(&self.noise_watts) {
            problems.add(
                "noise_watts",
                format!(
                    "noise of {} W: expected at most half of the base load, {} W",
                    self.noise_watts,
                    self.base_watts / 2.0
                ),
            );
        }
        if self.appliances.len() > APPLIANCES {
            problems.add(
                "appliances",
                format!("{} appliances; expected at most {APPLIANCES}", self.appliances.len()),
            );
        }
        let least = self.least_annual_kwh();
        if self.annual_kwh > 0.0 && self.annual_kwh < least {
            problems.add(
                "annual_kwh",
                format!(
                    "{} kWh: base load and fridges alone take {least:.0} kWh a year; expected more than that, or a lower `base_watts`, or 0 for an empty house",
                    self.annual_kwh
                ),
            );
        }
        problems.0
    }

    /// What base load and fridges take in a year, in kWh.
    #[must_use]
    pub fn least_annual_kwh(&self) -> f64 {
        let cycling: f64 = self.appliances.iter().map(Appliance::cycling_watts).sum();
        (self.base_watts + cycling) * HOURS_A_YEAR / 1000.0
    }
}

/// Hours of a mean year.
pub(super) const HOURS_A_YEAR: f64 = 8765.82;

/// Something that runs a program now and then.
#[derive(Debug, Clone, PartialEq)]
pub struct Appliance {
    /// What it is.
    pub name: String,
    /// What it draws from its start to its end; at most [`PROGRAM_STEPS`] steps and 12 hours.
    pub program: Vec<ApplianceStep>,
    /// When it starts.
    pub runs: Runs,
    /// Its phase; an appliance on all three is there in equal parts.
    pub placement: Placement,
    /// Power factor, above 0 and at most 1; see [`Appliance::capacitive`].
    pub power_factor: f64,
    /// Whether its current leads the voltage (switched power supplies) or lags behind (motors).
    pub capacitive: bool,
}

/// A part of a program.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ApplianceStep {
    /// Power, in W; 0..=50 000.
    pub watts: f64,
    /// For how long; at least a second.
    pub lasts: Duration,
}

/// What starts an appliance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Runs {
    /// Someone does, so often a year at the default consumption, between these hours of the day, by
    /// the rhythm of the household.
    Started {
        /// Starts a year; 0..=20 000.
        a_year: f64,
        /// The first hour of the day in which it is started; 0..=23.
        from_hour: u8,
        /// The hour of the day from which on it is no longer started; 1..=24.
        until_hour: u8,
    },
    /// Someone does, when it is dark: so often a year at the default consumption.
    InTheDark {
        /// Starts a year; 0..=20 000.
        a_year: f64,
    },
    /// It does so itself, day and night, with such a pause after each program.
    Cycling {
        /// The pause.
        pause: Duration,
    },
}

impl Appliance {
    /// What is wrong with it.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Problems::default();
        problems.power_factor(self.power_factor);
        if self.program.is_empty() || self.program.len() > PROGRAM_STEPS {
            problems.add(
                "program",
                format!("{} steps; expected 1 to {PROGRAM_STEPS}", self.program.len()),
            );
        }
        for step in &self.program {
            problems.range("watts", step.watts, 0.0, 50_000.0, "W");
            if step.lasts < Duration::from_secs(1) {
                problems
                    .add("lasts", format!("a step of {:?}; expected a second or more", step.lasts));
            }
        }
        let whole = self.program_lasts();
        if whole > Duration::from_hours(12) {
            problems.add("program", format!("a program of {whole:?}; expected at most 12 hours"));
        }
        match self.runs {
            Runs::Started { a_year, from_hour, until_hour } => {
                problems.range("a_year", a_year, 0.0, 20_000.0, "starts");
                if from_hour >= until_hour || until_hour > 24 {
                    problems.add(
                        "hours",
                        format!(
                            "from {from_hour} to {until_hour}: expected hours of one day, the first below the second, at most 24"
                        ),
                    );
                }
            }
            Runs::InTheDark { a_year } => {
                problems.range("a_year", a_year, 0.0, 20_000.0, "starts");
            }
            Runs::Cycling { pause } => {
                // A day of such cycles has to fit into what a day may take of memory.
                if whole + pause < Duration::from_mins(10) || pause > Duration::from_hours(12) {
                    problems.add(
                        "pause",
                        format!(
                            "a pause of {pause:?} after a program of {whole:?}; expected at least 10 minutes in all, and a pause of at most 12 hours"
                        ),
                    );
                }
            }
        }
        problems.0
    }

    /// How long its program lasts.
    #[must_use]
    pub fn program_lasts(&self) -> Duration {
        self.program.iter().fold(Duration::ZERO, |sum, step| sum.saturating_add(step.lasts))
    }

    /// What one program takes, in Wh.
    #[must_use]
    pub fn program_wh(&self) -> f64 {
        self.program.iter().map(|step| step.watts * step.lasts.as_secs_f64() / 3600.0).sum()
    }

    /// What it draws on average where nobody starts it, in W.
    fn cycling_watts(&self) -> f64 {
        match self.runs {
            Runs::Cycling { pause } => {
                let hours = (self.program_lasts() + pause).as_secs_f64() / 3600.0;
                if hours > 0.0 { self.program_wh() / hours } else { 0.0 }
            }
            Runs::Started { .. } | Runs::InTheDark { .. } => 0.0,
        }
    }
}

/// Something big that the scenario names: it runs by a schedule, beside the household.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadPlan {
    /// What it is.
    pub name: String,
    /// Power while it runs, over all its phases, in W; 0..=100 000.
    pub watts: f64,
    /// Its phases.
    pub placement: Placement,
    /// Power factor, above 0 and at most 1, inductive.
    pub power_factor: f64,
    /// When it runs.
    pub schedule: Schedule,
}

/// When a load runs.
#[derive(Debug, Clone, PartialEq)]
pub enum Schedule {
    /// All the time within these windows; at most [`WEEK_WINDOWS`].
    Windows(Vec<DailyWindow>),
    /// Once on each of these days: a car that comes home, a boiler heated at night.
    Once {
        /// On which days.
        days: Days,
        /// The mean time of its start, in minutes of the day; 0..1440.
        at: u16,
        /// How far the start strays from that, in minutes either way; 0..=240.
        jitter: u16,
        /// The mean time it runs; 1 minute to 12 hours. Single runs last between half and one and a
        /// half of it.
        lasts: Duration,
        /// How likely it is on each of these days; above 0 and at most 1.
        chance: f64,
    },
    /// As the cold outside asks: a heat pump, on for `run` at a time, with pauses that shrink as it
    /// gets colder.
    Heating {
        /// What it takes in a year, in kWh; at most what it takes when it never stops in winter.
        annual_kwh: f64,
        /// How long it runs at a time; 5 minutes to 4 hours.
        run: Duration,
    },
}

impl LoadPlan {
    /// A heat pump of a single house: 2.5 kW electric, three phases, 4500 kWh a year.
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

    /// An electric boiler that is heated at night: 4 kW for some two hours and a half.
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

    /// A car charged at 11 kW on three phases on three evenings of five.
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

    /// What is wrong with it.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Problems::default();
        problems.range("watts", self.watts, 0.0, 100_000.0, "W");
        problems.power_factor(self.power_factor);
        match &self.schedule {
            Schedule::Windows(windows) => problems.windows("windows", windows),
            Schedule::Once { days, at, jitter, lasts, chance } => {
                if days.is_empty() {
                    problems.add("days", "on no day; expected one at least".to_owned());
                }
                if *at >= DAY_MINUTES {
                    problems.add(
                        "at",
                        format!("minute {at} of the day; expected less than {DAY_MINUTES}"),
                    );
                }
                if *jitter > 240 {
                    problems.add(
                        "jitter",
                        format!("a jitter of {jitter} minutes; expected at most 240"),
                    );
                }
                if !(Duration::from_mins(1)..=Duration::from_hours(12)).contains(lasts) {
                    problems
                        .add("lasts", format!("it lasts {lasts:?}; expected 1 minute to 12 hours"));
                }
                if !(*chance > 0.0 && *chance <= 1.0) {
                    problems.add(
                        "chance",
                        format!("chance {chance}: expected a number above 0 and at most 1"),
                    );
                }
            }
            Schedule::Heating { annual_kwh, run } => {
                if !(Duration::from_mins(5)..=Duration::from_hours(4)).contains(run) {
                    problems.add(
                        "run",
                        format!("it runs {run:?} at a time; expected 5 minutes to 4 hours"),
                    );
                }
                let most = super::loads::most_heating_kwh(self.watts);
                if !(0.0..=most).contains(annual_kwh) {
                    problems.add(
                        "annual_kwh",
                        format!(
                            "{annual_kwh} kWh: {} W give at most {most:.0} kWh in a heating season",
                            self.watts
                        ),
                    );
                }
            }
        }
        problems.0
    }
}

/// Solar panels.
#[derive(Debug, Clone, PartialEq)]
pub struct PvPlan {
    /// Peak power of the panels, in kW; above 0 and at most 500.
    pub kwp: f64,
    /// Tilt from the horizontal, in degrees; 0..=90.
    pub tilt: f64,
    /// Where they look, in degrees from north by east; 0..=360, south is 180.
    pub azimuth: f64,
    /// What the inverter gives at the most, in kW; above 0.
    pub inverter_kw: Option<f64>,
    /// In degrees north; −66..=66, where the sun rises every day.
    pub latitude: f64,
    /// In degrees east; −180..=180.
    pub longitude: f64,
    /// The sky.
    pub sky: Sky,
    /// The phases it feeds.
    pub placement: Placement,
}

/// The sky over the panels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Sky {
    /// Clouds come and go, from the seed.
    #[default]
    Changing,
    /// Never a cloud.
    Clear,
    /// Never the sun.
    Overcast,
}

impl Default for PvPlan {
    fn default() -> Self {
        Self {
            kwp: 6.0,
            tilt: 30.0,
            azimuth: 180.0,
            inverter_kw: None,
            latitude: 47.38,
            longitude: 8.54,
            sky: Sky::Changing,
            placement: Placement::All,
        }
    }
}

impl PvPlan {
    /// What is wrong with it.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Problems::default();
        problems.above_zero("kwp", self.kwp, 500.0, "kW");
        problems.range("tilt", self.tilt, 0.0, 90.0, "degrees");
        problems.range("azimuth", self.azimuth, 0.0, 360.0, "degrees");
        if let Some(kw) = self.inverter_kw {
            problems.above_zero("inverter_kw", kw, 500.0, "kW");
        }
        problems.range("latitude", self.latitude, -66.0, 66.0, "degrees");
        problems.range("longitude", self.longitude, -180.0, 180.0, "degrees");
        problems.0
    }
}

/// A battery: it takes what the house would export and gives what it would import.
#[derive(Debug, Clone, PartialEq)]
pub struct BatteryPlan {
    /// What it holds, in kWh; above 0 and at most 1000.
    pub kwh: f64,
    /// What it takes or gives at the most, in kW; above 0 and at most 500.
    pub kw: f64,
    /// How much of what goes in is stored, and how much of that comes out; 0.5..=1 each way.
    pub efficiency: f64,
    /// How full it is at the midnight before the scenario starts; 0..=1.
    pub initial: f64,
    /// What it leaves to the grid while it works, in W; 0..=1000. Above the household's noise, so
    /// that the meter does not flicker between import and export.
    pub leave_watts: f64,
    /// The phases it is on.
    pub placement: Placement,
}

impl Default for BatteryPlan {
    fn default() -> Self {
        Self {
            kwh: 10.0,
            kw: 5.0,
            efficiency: 0.95,
            initial: 0.3,
            leave_watts: 15.0,
            placement: Placement::All,
        }
    }
}

impl BatteryPlan {
    /// What is wrong with it.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Problems::default();
        problems.above_zero("kwh", self.kwh, 1000.0, "kWh");
        problems.above_zero("kw", self.kw, 500.0, "kW");
        problems.range("efficiency", self.efficiency, 0.5, 1.0, "(a ratio)");
        problems.range("initial", self.initial, 0.0, 1.0, "(a ratio)");
        problems.range("leave_watts", self.leave_watts, 0.0, 1000.0, "W");
        problems.0
    }
}

/// When which tariff is in force: 1 within the windows, 2 beside them.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum TariffPlan {
    /// The classic Swiss high tariff: Monday to Friday 07–20, Saturday 07–13.
    #[default]
    Swiss,
    /// Tariff 1 all the time.
    Single,
    /// High tariff 06–22 on every day.
    HtNt,
    /// Own windows of tariff 1; at most [`WEEK_WINDOWS`].
    Windows(Vec<DailyWindow>),
}

impl TariffPlan {
    /// What is wrong with it.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Problems::default();
        if let Self::Windows(windows) = self {
            problems.windows("windows", windows);
        }
        problems.0
    }

    /// The windows of tariff 1.
    #[must_use]
    pub fn windows(&self) -> Vec<DailyWindow> {
        let window = |days, from: u16, to: u16| DailyWindow { days, from: from * 60, to: to * 60 };
        match self {
            Self::Swiss => {
                vec![window(Days::WORKDAYS, 7, 20), window(Days::SATURDAY, 7, 13)]
            }
            Self::Single => vec![window(Days::ALL, 0, 24)],
            Self::HtNt => vec![window(Days::ALL, 6, 22)],
            Self::Windows(windows) => windows.clone(),
        }
    }
}

/// How maximum demand is measured: the mean of each whole period, the highest of a month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DemandPlan {
    /// Minutes of a period: 5, 10, 15, 30 or 60. Periods begin at whole multiples of it.
    pub period_minutes: u8,
}

impl Default for DemandPlan {
    fn default() -> Self {
        Self { period_minutes: 15 }
    }
}

impl DemandPlan {
    /// What is wrong with it.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Problems::default();
        if ![5, 10, 15, 30, 60].contains(&self.period_minutes) {
            problems.add(
                "period_minutes",
                format!(
                    "a period of {} minutes; expected 5, 10, 15, 30 or 60",
                    self.period_minutes
                ),
            );
        }
        problems.0
    }

    /// How long a period is.
    #[must_use]
    pub const fn period(&self) -> Duration {
        Duration::from_mins(self.period_minutes as u64)
    }
}

/// What the registers show when the scenario starts, in Wh (varh), tariff 1 and 2.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RegisterPlan {
    /// Imported active energy.
    pub import: [u64; 2],
    /// Exported active energy.
    pub export: [u64; 2],
    /// Reactive energy of the quadrants I, II, III and IV.
    pub quadrants: [[u64; 2]; 4],
}

impl RegisterPlan {
    /// What a register may show at the most, in Wh: a hundred gigawatt hours.
    pub const MOST: u64 = 100_000_000_000;

    /// What is wrong with it.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Problems::default();
        let quadrants = self.quadrants.as_flattened();
        for (field, values) in [
            ("import", self.import.as_slice()),
            ("export", self.export.as_slice()),
            ("quadrants", quadrants),
        ] {
            for value in values.iter().filter(|value| **value > Self::MOST) {
                problems.add(
                    field,
                    format!("a register at {value} Wh; expected at most {}", Self::MOST),
                );
            }
        }
        problems.0
    }
}

/// Days of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Days(u8);

impl Days {
    /// Every day.
    pub const ALL: Self = Self(0b111_1111);
    /// Monday to Friday.
    pub const WORKDAYS: Self = Self(0b001_1111);
    /// Saturday.
    pub const SATURDAY: Self = Self(0b010_0000);
    /// Sunday.
    pub const SUNDAY: Self = Self(0b100_0000);
    /// Saturday and Sunday.
    pub const WEEKEND: Self = Self(0b110_0000);

    /// These days.
    #[must_use]
    pub fn of(days: &[Weekday]) -> Self {
        Self(days.iter().fold(0, |set, day| set | bit(*day)))
    }

    /// Whether `day` is one of them.
    #[must_use]
    pub const fn contain(self, day: Weekday) -> bool {
        self.0 & bit(day) != 0
    }

    /// Whether they are none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

const fn bit(day: Weekday) -> u8 {
    1 << day.to_monday_zero_offset()
}

/// Minutes of a day.
pub const DAY_MINUTES: u16 = 24 * 60;

/// Some hours of some days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DailyWindow {
    /// The days on which it begins.
    pub days: Days,
    /// The minute of the day at which it begins; 0..1440.
    pub from: u16,
    /// The minute of the day before which it ends; 0..=1440. Not after `from`: on the next day.
    pub to: u16,
}

impl DailyWindow {
    /// Whether it holds on `day` at `minute`.
    #[must_use]
    pub fn holds(&self, day: Weekday, minute: u16) -> bool {
        let today = self.days.contain(day);
        if self.from < self.to {
            return today && (self.from..self.to).contains(&minute);
        }
        (today && minute >= self.from) || (self.days.contain(day.previous()) && minute < self.to)
    }
}

/// Mistakes as they are found.
#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, field: &'static str, message: String) {
        self.0.push(Problem::new(field, message));
    }

    fn range(&mut self, field: &'static str, value: f64, low: f64, high: f64, unit: &str) {
        if !(low..=high).contains(&value) {
            self.add(field, format!("{value} {unit}: expected {low} to {high}"));
        }
    }

    fn above_zero(&mut self, field: &'static str, value: f64, high: f64, unit: &str) {
        if !(value > 0.0 && value <= high) {
            self.add(field, format!("{value} {unit}: expected more than 0 and at most {high}"));
        }
    }

    fn power_factor(&mut self, value: f64) {
        if !(0.1..=1.0).contains(&value) {
            self.add("power_factor", format!("power factor {value}: expected 0.1 to 1"));
        }
    }

    fn windows(&mut self, field: &'static str, windows: &[DailyWindow]) {
        if windows.len() > WEEK_WINDOWS {
            self.add(field, format!("{} windows; expected at most {WEEK_WINDOWS}", windows.len()));
        }
        for window in windows {
            if window.days.is_empty() {
                self.add(field, "a window on no day; expected one at least".to_owned());
            }
            if window.from >= DAY_MINUTES || window.to > DAY_MINUTES {
                self.add(
                    field,
                    format!(
                        "from minute {} to minute {} of the day; expected less than {DAY_MINUTES}, and at most that",
                        window.from, window.to
                    ),
                );
            }
        }
    }
}
