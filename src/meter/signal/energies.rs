//! The energy registers of a meter.

use std::ops::{Add, AddAssign};
use std::time::Duration;

use super::plan::SignalPlan;

/// An exact amount of energy, in mW·ms (mvar·ms).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Energy(u128);

impl Energy {
    /// mW·ms in a Wh.
    pub const WH: u128 = 1000 * 3_600_000;

    /// Returns an energy given in mW·ms.
    #[must_use]
    pub const fn from_mw_ms(mw_ms: u128) -> Self {
        Self(mw_ms)
    }

    /// Returns an energy given in Wh.
    #[must_use]
    pub const fn from_wh(wh: u64) -> Self {
        Self(wh as u128 * Self::WH)
    }

    /// Returns the energy in mW·ms.
    #[must_use]
    pub const fn mw_ms(self) -> u128 {
        self.0
    }

    /// Returns the energy in whole Wh, rounded down, as a register of 0.001 kWh shows it.
    #[must_use]
    pub fn wh(self) -> u64 {
        u64::try_from(self.0 / Self::WH).unwrap_or(u64::MAX)
    }
}

impl Add for Energy {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Energy {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// The energy registers and the maximum demand of the month. Arrays of two hold tariff 1 and 2.
///
/// Quadrants are those of IEC 62053-23: I imports active and reactive energy (OBIS 5.8.x, Ri+), II exports
/// active and imports reactive (6.8.x, Rc+), III exports both (7.8.x, Ri−), IV imports active and exports
/// reactive (8.8.x, Rc−).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Energies {
    /// Imported active energy (1.8.1, 1.8.2).
    pub import: [Energy; 2],
    /// Exported active energy (2.8.1, 2.8.2).
    pub export: [Energy; 2],
    /// Reactive energy of the quadrants I to IV.
    pub quadrants: [[Energy; 2]; 4],
    /// Highest mean import of a demand period of this month, in mW (1.6.1, 1.6.2).
    pub import_demand: [u64; 2],
    /// Highest mean export of a demand period of this month, in mW (2.6.1, 2.6.2).
    pub export_demand: [u64; 2],
    /// Length of a demand period.
    pub demand_period: Duration,
}

impl Energies {
    /// Returns the registers at the start of the scenario.
    pub(super) fn initial(plan: &SignalPlan) -> Self {
        let wh = |values: [u64; 2]| values.map(Energy::from_wh);
        Self {
            import: wh(plan.registers.import),
            export: wh(plan.registers.export),
            quadrants: plan.registers.quadrants.map(wh),
            demand_period: plan.demand.period(),
            ..Self::default()
        }
    }

    /// Returns imported active energy over both tariffs (1.8.0).
    #[must_use]
    #[cfg(any(test, feature = "internals"))]
    pub fn total_import(&self) -> Energy {
        self.import[0] + self.import[1]
    }

    /// Returns exported active energy over both tariffs (2.8.0).
    #[must_use]
    #[cfg(any(test, feature = "internals"))]
    pub fn total_export(&self) -> Energy {
        self.export[0] + self.export[1]
    }

    /// Returns imported reactive energy by tariff (3.8.1, 3.8.2): quadrants I and II.
    #[must_use]
    pub fn reactive_import(&self) -> [Energy; 2] {
        [0, 1].map(|tariff| self.quadrants[0][tariff] + self.quadrants[1][tariff])
    }

    /// Returns exported reactive energy by tariff (4.8.1, 4.8.2): quadrants III and IV.
    #[must_use]
    pub fn reactive_export(&self) -> [Energy; 2] {
        [0, 1].map(|tariff| self.quadrants[2][tariff] + self.quadrants[3][tariff])
    }
}
