//! Billing: tariffs, maximum demand, and the energy registers at the start.

use std::time::Duration;

use super::checks::PlanChecks;
use super::week::{DailyWindow, Days};
use crate::problem::Problem;

/// The hours of each tariff: tariff 1 within windows, tariff 2 outside of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum TariffPlan {
    /// The classic Swiss high tariff: Monday to Friday 07–20, Saturday 07–13.
    #[default]
    Swiss,
    /// Tariff 1 all the time.
    Single,
    /// High tariff 06–22 on every day.
    HtNt,
    /// These windows of tariff 1; at most [`WEEK_WINDOWS`](crate::limits::WEEK_WINDOWS).
    Windows(Vec<DailyWindow>),
}

impl TariffPlan {
    /// Returns the windows that are not valid.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut checks = PlanChecks::default();
        if let Self::Windows(windows) = self {
            checks.windows("windows", windows);
        }
        checks.into_problems()
    }

    /// Returns the windows of tariff 1.
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

/// The measurement of maximum demand: the highest mean of a whole period of the month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DemandPlan {
    /// Minutes of a period: 5, 10, 15, 30 or 60. Periods begin at multiples of it since midnight.
    pub period_minutes: u8,
}

impl Default for DemandPlan {
    fn default() -> Self {
        Self { period_minutes: 15 }
    }
}

impl DemandPlan {
    /// Returns the problem of a period that no meter has.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut checks = PlanChecks::default();
        if ![5, 10, 15, 30, 60].contains(&self.period_minutes) {
            checks.add(
                "period_minutes",
                format!(
                    "a period of {} minutes; expected 5, 10, 15, 30 or 60",
                    self.period_minutes
                ),
            );
        }
        checks.into_problems()
    }

    /// Returns the length of a period.
    #[must_use]
    pub const fn period(&self) -> Duration {
        Duration::from_mins(self.period_minutes as u64)
    }
}

/// The energy registers at the start of the scenario, in Wh (varh), for tariff 1 and 2.
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
    /// Maximum of a register, in Wh: a hundred gigawatt hours.
    pub const MAX_WH: u64 = 100_000_000_000;

    /// Returns the registers that are out of range.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut checks = PlanChecks::default();
        let quadrants = self.quadrants.as_flattened();
        for (field, values) in [
            ("import", self.import.as_slice()),
            ("export", self.export.as_slice()),
            ("quadrants", quadrants),
        ] {
            for value in values.iter().filter(|value| **value > Self::MAX_WH) {
                checks.add(
                    field,
                    format!("a register at {value} Wh; expected at most {}", Self::MAX_WH),
                );
            }
        }
        checks.into_problems()
    }
}
