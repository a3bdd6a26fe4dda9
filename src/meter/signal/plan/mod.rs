//! The plan of a house's electricity, as a scenario describes it: consumers, generators, connection and
//! billing.
//!
//! Each type has a default and a method `problems` that lists its mistakes by field, so that a scenario
//! can point at them. Powers are in watts, energies in kWh, times of day in minutes of local time
//! (Europe/Zurich).

mod billing;
mod checks;
mod generation;
mod household;
mod load;
mod week;

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use self::checks::PlanChecks;
use super::household::HouseholdTables;
use crate::limits::LOADS;
use crate::problem::Problem;

pub use self::billing::{DemandPlan, RegisterPlan, TariffPlan};
pub use self::generation::{BatteryPlan, PvPlan, Sky};
pub use self::household::{Appliance, ApplianceStep, HouseholdPlan, UsagePattern};
pub use self::load::{LoadPlan, Schedule};
pub use self::week::{DAY_MINUTES, DailyWindow, Days};

/// All parameters of a signal.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SignalPlan {
    /// The residents and their appliances.
    pub household: HouseholdPlan,
    /// Photovoltaic panels.
    pub pv: Option<PvPlan>,
    /// A battery that keeps the house from importing and exporting.
    pub battery: Option<BatteryPlan>,
    /// Heat pump, boiler, car and other large loads.
    pub loads: Vec<LoadPlan>,
    /// The connection to the grid.
    pub connection: ConnectionPlan,
    /// The hours of each tariff.
    pub tariff: TariffPlan,
    /// The measurement of maximum demand.
    pub demand: DemandPlan,
    /// The energy registers at the start of the scenario.
    pub registers: RegisterPlan,
}

/// The plan of a signal, which many houses share with what follows from it alone.
#[derive(Debug, Clone)]
pub struct SharedSignalPlan(Arc<PlanWithTables>);

#[derive(Debug, Default)]
struct PlanWithTables {
    plan: SignalPlan,
    /// Made by the first sample.
    household: OnceLock<HouseholdTables>,
}

impl SharedSignalPlan {
    /// Returns the tables of the household.
    pub(super) fn household(&self) -> &HouseholdTables {
        self.0
            .household
            .get_or_init(|| HouseholdTables::new(&self.household, self.connection.phases.count()))
    }
}

impl Default for SharedSignalPlan {
    fn default() -> Self {
        Self::from(SignalPlan::default())
    }
}

impl From<SignalPlan> for SharedSignalPlan {
    fn from(plan: SignalPlan) -> Self {
        Self(Arc::new(PlanWithTables { plan, household: OnceLock::new() }))
    }
}

impl From<&SignalPlan> for SharedSignalPlan {
    fn from(plan: &SignalPlan) -> Self {
        plan.clone().into()
    }
}

impl From<&Self> for SharedSignalPlan {
    fn from(plan: &Self) -> Self {
        plan.clone()
    }
}

impl Deref for SharedSignalPlan {
    type Target = SignalPlan;

    fn deref(&self) -> &SignalPlan {
        &self.0.plan
    }
}

impl PartialEq for SharedSignalPlan {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || **self == **other
    }
}

impl SignalPlan {
    /// Returns the problems of the parts together. Each part has a method for its own problems.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut checks = PlanChecks::default();
        if self.connection.phases == Phases::One {
            let absent = |place: Placement| matches!(place, Placement::L2 | Placement::L3);
            for load in self.loads.iter().filter(|load| absent(load.placement)) {
                checks.add(
                    "loads",
                    format!(
                        "load {:?} is on {}, and the connection has one phase; put it on l1",
                        load.name,
                        load.placement.name()
                    ),
                );
            }
        }
        if self.loads.len() > LOADS {
            checks.add("loads", format!("{} loads; expected at most {LOADS}", self.loads.len()));
        }
        checks.into_problems()
    }
}

/// The number of phases of a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Phases {
    /// One phase: everything is on L1.
    One,
    /// Three phases.
    #[default]
    Three,
}

impl Phases {
    /// Returns the number of phases.
    #[must_use]
    pub const fn count(self) -> usize {
        match self {
            Self::One => 1,
            Self::Three => 3,
        }
    }
}

/// The phases that a load or generator is connected to. With one phase, everything is on L1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "L1 to L3 are the names of the phases")]
pub enum Placement {
    #[default]
    L1,
    L2,
    L3,
    /// All three phases in equal parts.
    All,
}

impl Placement {
    /// Returns the word of scenarios.
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
    /// Voltage without load, in V; 207..=253 (EN 50160: 230 V ± 10 %).
    pub volts: f64,
    /// Standard deviation of the slow noise of the voltage, in V; 0..=4.
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
    /// Returns the fields that are out of range.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut checks = PlanChecks::default();
        checks.range("volts", self.volts, 207.0, 253.0, "V");
        checks.range("noise_volts", self.noise_volts, 0.0, 4.0, "V");
        checks.range("resistance", self.resistance, 0.0, 0.5, "Ω");
        checks.range("reactance", self.reactance, 0.0, 0.5, "Ω");
        checks.into_problems()
    }
}
