//! The meter and the house that it measures, as written in a scenario.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Choice, DurationText, KeyText, MeterText, OneOrMany, PlainText, TimeOfDay};

/// A meter and the house that it measures. Power and energy follow from the seed, the device and the time, or
/// from a recording.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Meter {
    /// The kind of meter; kamstrup unless given.
    pub kind: Option<MeterKind>,
    /// The consumption of the residents; 4500 kWh a year unless given.
    pub household: Option<Household>,
    /// Photovoltaic panels; none unless given. {} alone stands for 6 kWp facing south.
    pub pv: Option<Pv>,
    /// A battery; none unless given.
    pub battery: Option<Battery>,
    /// Large loads such as heat pump, boiler and car, by name or with values; none unless given.
    #[schemars(length(max = 16))]
    pub loads: Option<Vec<Choice<LoadWord, Load>>>,
    /// The hours of each tariff; swiss unless given.
    pub tariff: Option<Choice<TariffWord, TariffOf>>,
    /// The number of phases, 1 or 3; 3 unless given.
    pub phases: Option<PhaseCount>,
    /// The grid: voltage, noise and impedance.
    pub grid: Option<Grid>,
    /// The period over which maximum demand is averaged: 5m, 10m, 15m, 30m or 60m; 15m unless given.
    pub demand_period: Option<DurationText>,
    /// The energy registers at the start; 0 unless given.
    pub start: Option<Counters>,
    /// The rounding of the tariff registers; exact unless given.
    pub tariff_registers: Option<TariffRegisters>,
    /// The number of the meter, if its kind sends one; from the seed unless given.
    pub id: Option<MeterText>,
    /// The model; that of the kind unless given.
    pub model: Option<MeterText>,
    /// The logical name; from the seed unless given.
    pub logical_name: Option<MeterText>,
    /// The number of the gas meter on its M-Bus, if its kind reports one; from the seed unless given.
    pub volume_id: Option<MeterText>,
    /// The key with which the meter encrypts its telegrams; no encryption unless given. The device needs
    /// the same key in its meter settings.
    pub encryption_key: Option<KeyText>,
    /// A recording that replaces the model.
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

/// A number of phases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct PhaseCount(#[schemars(range(min = 1, max = 3))] pub u8);

/// The consumption of the residents.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Household {
    /// Consumption of a year without `loads`, in kWh; 4500 unless given. 0 is an empty house.
    #[schemars(range(min = 0, max = 100_000))]
    pub annual_kwh: Option<f64>,
    /// Base load that is always on, in W; 72 unless given.
    #[schemars(range(min = 0, max = 2000))]
    pub base_watts: Option<f64>,
    /// Largest deviation of the load from its level, in W; 4 unless given.
    #[schemars(range(min = 0, max = 1000))]
    pub noise_watts: Option<f64>,
}

/// Photovoltaic panels.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pv {
    /// Peak power, in kW; 6 unless given.
    #[schemars(range(min = 0.001, max = 500))]
    pub kwp: Option<f64>,
    /// Tilt from the horizontal, in degrees; 30 unless given.
    #[schemars(range(min = 0, max = 90))]
    pub tilt: Option<f64>,
    /// Orientation, in degrees clockwise from north; 180, south, unless given.
    #[schemars(range(min = 0, max = 360))]
    pub azimuth: Option<f64>,
    /// Maximum power of the inverter, in kW; no limit unless given.
    #[schemars(range(min = 0.001, max = 500))]
    pub inverter_kw: Option<f64>,
    /// Latitude, in degrees north; 47.38 unless given.
    #[schemars(range(min = -66, max = 66))]
    pub latitude: Option<f64>,
    /// Longitude, in degrees east; 8.54 unless given.
    #[schemars(range(min = -180, max = 180))]
    pub longitude: Option<f64>,
    /// The sky; changing unless given.
    pub sky: Option<Sky>,
    /// The phase that they feed; all unless given.
    pub phase: Option<PhaseWord>,
}

/// The sky.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sky {
    /// Clouds change, as drawn from the seed.
    Changing,
    /// The sky is always clear.
    Clear,
    /// The sky is always overcast.
    Overcast,
}

/// A phase, or all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "each is named as on the terminals")]
pub enum PhaseWord {
    L1,
    L2,
    L3,
    /// All three phases, in equal parts.
    All,
}

/// A battery.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Battery {
    /// Capacity, in kWh; 10 unless given.
    #[schemars(range(min = 0.001, max = 1000))]
    pub kwh: Option<f64>,
    /// Maximum power of charge and discharge, in kW; 5 unless given.
    #[schemars(range(min = 0.001, max = 500))]
    pub kw: Option<f64>,
    /// Share of the charged energy that is stored, and of the stored energy that is delivered; 0.95 each
    /// unless given.
    #[schemars(range(min = 0.5, max = 1))]
    pub efficiency: Option<f64>,
    /// State of charge at the midnight before the start, 0 to 1; 0.3 unless given.
    #[schemars(range(min = 0, max = 1))]
    pub initial: Option<f64>,
    /// Import that the battery leaves to the grid while it works, in W; 15 unless given.
    #[schemars(range(min = 0, max = 1000))]
    pub leave_watts: Option<f64>,
    /// The phase that it is connected to; all unless given.
    pub phase: Option<PhaseWord>,
}

/// A predefined load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LoadWord {
    /// A heat pump: 2.5 kW on three phases, 4500 kWh a year, more often the colder it is.
    HeatPump,
    /// A boiler: 4 kW on three phases from 23:00 on, for some two and a half hours.
    Boiler,
    /// A car: 11 kW on three phases on three evenings of five.
    Ev,
}

/// A load with values. With `like`, missing values are those of that load; without, `watts` is required,
/// and either `windows`, or `at` and `lasts`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
pub struct Load {
    /// The predefined load from which missing values come.
    pub like: Option<LoadWord>,
    /// A name for people.
    pub name: Option<PlainText>,
    /// Power while the load is on, in W.
    #[schemars(range(min = 0, max = 100_000))]
    pub watts: Option<f64>,
    /// The phase that it is connected to; all unless given.
    pub phase: Option<PhaseWord>,
    /// The power factor; 1 unless given.
    #[schemars(range(min = 0.1, max = 1))]
    pub power_factor: Option<f64>,
    /// The hours in which the load is on.
    pub windows: Option<Vec<Window>>,
    /// The days on which the load is on once; all unless given.
    pub days: Option<OneOrMany<Day>>,
    /// Mean time of the day at which a run begins.
    pub at: Option<TimeOfDay>,
    /// Largest deviation of the begin from `at`; 0 unless given.
    pub jitter: Option<DurationText>,
    /// Mean duration of a run.
    pub lasts: Option<DurationText>,
    /// Probability of a run on each of the days; 1 unless given.
    #[schemars(range(min = 0.001, max = 1))]
    pub chance: Option<f64>,
    /// Energy of a year, in kWh, for a load that runs more often the colder it is (like a heat pump).
    #[schemars(range(min = 0, max = 100_000))]
    pub annual_kwh: Option<f64>,
    /// Duration of a run of such a load (like a heat pump).
    pub run: Option<DurationText>,
}

/// A window of time on some days.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// The days on which the window begins; all unless given.
    pub days: Option<OneOrMany<Day>>,
    /// The time at which the window begins.
    pub from: TimeOfDay,
    /// The time at which the window ends; on the next day if it is not later than `from`.
    pub to: TimeOfDay,
}

/// A day of the week, or several days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the usual short names of the days")]
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

/// A predefined tariff.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TariffWord {
    /// Tariff 1 Monday to Friday from 07 to 20 and Saturday from 07 to 13, otherwise tariff 2.
    Swiss,
    /// Tariff 1 all the time.
    Single,
    /// Tariff 1 every day from 06 to 22, otherwise tariff 2.
    HtNt,
}

/// A tariff with its own windows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TariffOf {
    /// The windows of tariff 1; otherwise tariff 2 is in force.
    #[schemars(length(min = 1, max = 32))]
    pub windows: Vec<Window>,
}

/// The grid: voltage, noise and impedance.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Grid {
    /// Voltage without load, in V; 234 unless given.
    #[schemars(range(min = 207, max = 253))]
    pub volts: Option<f64>,
    /// Standard deviation of the slow noise of the voltage, in V; 1.5 unless given.
    #[schemars(range(min = 0, max = 4))]
    pub noise_volts: Option<f64>,
    /// Resistance up to the meter, in Ω a phase; 0.08 unless given.
    #[schemars(range(min = 0, max = 0.5))]
    pub resistance: Option<f64>,
    /// Reactance up to the meter, in Ω a phase; 0.03 unless given.
    #[schemars(range(min = 0, max = 0.5))]
    pub reactance: Option<f64>,
}

/// The energy registers at the start, in kWh and kvarh: one number for tariff 1, or two for tariff 1 and
/// 2.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Counters {
    /// Imported active energy.
    pub import: Option<OneOrMany<Count>>,
    /// Exported active energy.
    pub export: Option<OneOrMany<Count>>,
    /// Imported reactive energy.
    pub reactive_import: Option<OneOrMany<Count>>,
    /// Exported reactive energy.
    pub reactive_export: Option<OneOrMany<Count>>,
}

/// The value of an energy register.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Count(#[schemars(range(min = 0, max = 100_000_000))] pub f64);

/// The rounding of the tariff registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TariffRegisters {
    /// The total is exactly the sum of the tariffs.
    Exact,
    /// Each tariff is rounded down to 0.01 kWh, so that their sum is slightly less than the total, as in
    /// some real meters.
    Separate,
}

/// A recording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Replay {
    /// A CSV file as the device writes it to its SD card, relative to this file.
    pub file: PlainText,
    /// The continuation after the last row; loop unless given.
    pub mode: Option<ReplayMode>,
    /// `true` if values between two rows are interpolated, `false` if the earlier row holds; true unless
    /// given.
    pub interpolate: Option<bool>,
}

/// The continuation after the last row of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReplayMode {
    /// The recording starts again, and the registers continue from their last values.
    Loop,
    /// The meter sends nothing more: NO DATA.
    End,
}
