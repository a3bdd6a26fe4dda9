//! The meter, and the house that it measures.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Choice, DurationText, KeyText, MeterText, OneOrMany, PlainText, TimeOfDay};

/// A meter: what it is, and what it measures. Power and energy follow from the seed and the time
/// alone, or from a recording.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Meter {
    /// Which meter it is; kamstrup unless given.
    pub kind: Option<MeterKind>,
    /// The people in the house; 4500 kWh a year unless given.
    pub household: Option<Household>,
    /// Solar panels; none unless given. The bare key with {} is 6 kWp to the south.
    pub pv: Option<Pv>,
    /// A battery; none unless given.
    pub battery: Option<Battery>,
    /// Heat pump, boiler, car and the like, by their names or with figures; none unless given.
    #[schemars(length(max = 16))]
    pub loads: Option<Vec<Choice<LoadWord, Load>>>,
    /// When which tariff is in force; swiss unless given.
    pub tariff: Option<Choice<TariffWord, TariffOf>>,
    /// How many phases the house has, 1 or 3; 3 unless given.
    pub phases: Option<PhaseCount>,
    /// The voltage and what the grid does to it.
    pub grid: Option<Grid>,
    /// Over how long maximum demand is averaged: 5m, 10m, 15m, 30m or 60m; 15m unless given.
    pub demand_period: Option<DurationText>,
    /// What the counters show when the house starts; 0 unless given.
    pub start: Option<Counters>,
    /// How the tariff registers are cut; exact unless given.
    pub tariff_registers: Option<TariffRegisters>,
    /// Its number, where the meter sends one; from the seed unless given.
    pub id: Option<MeterText>,
    /// Its model; its kind's own unless given.
    pub model: Option<MeterText>,
    /// Its logical name; from the seed unless given.
    pub logical_name: Option<MeterText>,
    /// The number of the gas meter behind it, where its kind tells of one; from the seed unless given.
    pub volume_id: Option<MeterText>,
    /// What it encrypts its readings with; nothing unless given. The device needs the same key in
    /// its meter settings.
    pub encryption_key: Option<KeyText>,
    /// A recording that drives the meter, in place of the model.
    pub replay: Option<Choice<PlainText, Replay>>,
}

/// A kind of meter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MeterKind {
    /// Landis+Gyr on M-Bus, DLMS: a reading every 2.7 to 6.8 s.
    LandisGyr,
    /// Ensor on P1, DSMR 5.0: a reading a second.
    Ensor,
    /// Kamstrup on TTL, KMP: a reading every 4.2 s.
    Kamstrup,
    /// No meter: NOT CONNECTED.
    None,
}

/// How many phases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct PhaseCount(#[schemars(range(min = 1, max = 3))] pub u8);

/// The people in the house.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Household {
    /// What they use in a year, the other loads aside, in kWh; 4500 unless given. 0 is an empty house.
    #[schemars(range(min = 0, max = 100_000))]
    pub annual_kwh: Option<f64>,
    /// What is always on, in W; 72 unless given.
    #[schemars(range(min = 0, max = 2000))]
    pub base_watts: Option<f64>,
    /// How far the load strays from its level, in W; 4 unless given.
    #[schemars(range(min = 0, max = 1000))]
    pub noise_watts: Option<f64>,
}

/// Solar panels.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pv {
    /// Their peak power, in kW; 6 unless given.
    #[schemars(range(min = 0.001, max = 500))]
    pub kwp: Option<f64>,
    /// Their tilt, in degrees; 30 unless given.
    #[schemars(range(min = 0, max = 90))]
    pub tilt: Option<f64>,
    /// Where they look, in degrees from north by east; 180, south, unless given.
    #[schemars(range(min = 0, max = 360))]
    pub azimuth: Option<f64>,
    /// What the inverter gives at the most, in kW; no limit unless given.
    #[schemars(range(min = 0.001, max = 500))]
    pub inverter_kw: Option<f64>,
    /// In degrees north; 47.38 unless given.
    #[schemars(range(min = -66, max = 66))]
    pub latitude: Option<f64>,
    /// In degrees east; 8.54 unless given.
    #[schemars(range(min = -180, max = 180))]
    pub longitude: Option<f64>,
    /// The sky; changing unless given.
    pub sky: Option<Sky>,
    /// The phase they feed; all unless given.
    pub phase: Option<PhaseWord>,
}

/// The sky.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sky {
    /// Clouds come and go, from the seed.
    Changing,
    /// Never a cloud.
    Clear,
    /// Never the sun.
    Overcast,
}

/// A phase, or all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is named as on the terminals")]
pub enum PhaseWord {
    L1,
    L2,
    L3,
    /// In equal parts on all three.
    All,
}

/// A battery.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Battery {
    /// What it holds, in kWh; 10 unless given.
    #[schemars(range(min = 0.001, max = 1000))]
    pub kwh: Option<f64>,
    /// What it takes or gives at the most, in kW; 5 unless given.
    #[schemars(range(min = 0.001, max = 500))]
    pub kw: Option<f64>,
    /// How much of what goes in is stored, and how much of that comes out; 0.95 unless given.
    #[schemars(range(min = 0.5, max = 1))]
    pub efficiency: Option<f64>,
    /// How full it is at the midnight before the start, 0 to 1; 0.3 unless given.
    #[schemars(range(min = 0, max = 1))]
    pub initial: Option<f64>,
    /// What it leaves to the grid while it works, in W; 15 unless given.
    #[schemars(range(min = 0, max = 1000))]
    pub leave_watts: Option<f64>,
    /// The phase it is on; all unless given.
    pub phase: Option<PhaseWord>,
}

/// A load that is known by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LoadWord {
    /// 2.5 kW on three phases as the cold asks, 4500 kWh a year.
    HeatPump,
    /// 4 kW on three phases from 23:00 on, for some two and a half hours.
    Boiler,
    /// 11 kW on three phases on three evenings of five.
    Ev,
}

/// A load with its figures. With `like`, what is left out is as there; without, it needs `watts` and
/// either `windows`, or `at` and `lasts`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
pub struct Load {
    /// A load that it is like.
    pub like: Option<LoadWord>,
    /// What it is called, for people.
    pub name: Option<PlainText>,
    /// What it draws, in W.
    #[schemars(range(min = 0, max = 100_000))]
    pub watts: Option<f64>,
    /// The phase it is on; all unless given.
    pub phase: Option<PhaseWord>,
    /// Its power factor; 1 unless given.
    #[schemars(range(min = 0.1, max = 1))]
    pub power_factor: Option<f64>,
    /// It is on in these hours.
    pub windows: Option<Vec<Window>>,
    /// It is on once on each of these days; all unless given.
    pub days: Option<OneOrMany<Day>>,
    /// The mean time of the day at which that begins.
    pub at: Option<TimeOfDay>,
    /// How far the beginning strays from it; 0 unless given.
    pub jitter: Option<DurationText>,
    /// How long that lasts, on the mean.
    pub lasts: Option<DurationText>,
    /// How likely it is on each of the days; 1 unless given.
    #[schemars(range(min = 0.001, max = 1))]
    pub chance: Option<f64>,
    /// What it takes in a year as the cold asks, in kWh (like a heat pump).
    #[schemars(range(min = 0, max = 100_000))]
    pub annual_kwh: Option<f64>,
    /// How long it runs at a time as the cold asks (like a heat pump).
    pub run: Option<DurationText>,
}

/// Some hours of some days.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// The days on which they begin; all unless given.
    pub days: Option<OneOrMany<Day>>,
    /// When they begin.
    pub from: TimeOfDay,
    /// When they end; on the next day where that is not later.
    pub to: TimeOfDay,
}

/// A day of the week, or some of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is named as everyone names it")]
pub enum Day {
    All,
    /// Monday to Friday.
    Weekdays,
    /// Saturday and Sunday.
    Weekend,
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// A tariff that is known by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TariffWord {
    /// Tariff 1 Monday to Friday from 07 to 20 and Saturday from 07 to 13, else 2.
    Swiss,
    /// Tariff 1 all the time.
    Single,
    /// Tariff 1 every day from 06 to 22, else 2.
    HtNt,
}

/// A tariff of one's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TariffOf {
    /// The hours of tariff 1; else tariff 2.
    #[schemars(length(min = 1, max = 32))]
    pub windows: Vec<Window>,
}

/// The voltage and what the grid does to it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Grid {
    /// What it would be without load, in V; 234 unless given.
    #[schemars(range(min = 207, max = 253))]
    pub volts: Option<f64>,
    /// The standard deviation of its slow noise, in V; 1.5 unless given.
    #[schemars(range(min = 0, max = 4))]
    pub noise_volts: Option<f64>,
    /// The resistance up to the meter, in Ω a phase; 0.08 unless given.
    #[schemars(range(min = 0, max = 0.5))]
    pub resistance: Option<f64>,
    /// The reactance up to the meter, in Ω a phase; 0.03 unless given.
    #[schemars(range(min = 0, max = 0.5))]
    pub reactance: Option<f64>,
}

/// What the counters show when the house starts, in kWh and kvarh: one number, which counts as of
/// tariff 1, or those of tariff 1 and 2.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Counters {
    /// Imported energy.
    pub import: Option<OneOrMany<Count>>,
    /// Exported energy.
    pub export: Option<OneOrMany<Count>>,
    /// Imported reactive energy.
    pub reactive_import: Option<OneOrMany<Count>>,
    /// Exported reactive energy.
    pub reactive_export: Option<OneOrMany<Count>>,
}

/// What a counter shows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Count(#[schemars(range(min = 0, max = 100_000_000))] pub f64);

/// How the tariff registers are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TariffRegisters {
    /// The total is exactly their sum.
    Exact,
    /// Each on its own, to 0.01 kWh, so that they miss the total by a little, as some real meters do.
    Separate,
}

/// A recording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Replay {
    /// A CSV file as the device writes it to its SD card, relative to this file.
    pub file: PlainText,
    /// What comes after its last row; loop unless given.
    pub mode: Option<ReplayMode>,
    /// Whether values between two rows lie between theirs, in place of the earlier row's; true unless
    /// given.
    pub interpolate: Option<bool>,
}

/// What comes after the last row of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReplayMode {
    /// The first one; the counters go on rising.
    Loop,
    /// Nothing: NO DATA.
    End,
}
