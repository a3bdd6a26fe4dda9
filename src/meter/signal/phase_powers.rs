//! What flows at one moment.

/// What flows at one moment: per phase, in integers. What is derived of it (totals, apparent power,
/// currents) is computed from these, so that everything fits together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PhasePowers {
    /// How many phases there are, 1 or 3; beyond them everything is 0.
    pub phases: usize,
    /// Active power, in mW; above zero from the grid to the house.
    pub active: [i64; 3],
    /// Reactive power, in mvar; above zero where the current lags (inductive, as seen by a house
    /// that imports).
    pub reactive: [i64; 3],
    /// Voltage, in mV.
    pub voltage: [u32; 3],
}

impl PhasePowers {
    /// The net over the phases, in mW: an importing and an exporting phase cancel.
    #[must_use]
    pub fn total_active(&self) -> i64 {
        self.active.iter().sum()
    }

    /// The net over the phases, in mvar.
    #[must_use]
    pub fn total_reactive(&self) -> i64 {
        self.reactive.iter().sum()
    }

    /// Imported power over all phases, in mW; above zero only while export is zero.
    #[must_use]
    pub fn import(&self) -> u64 {
        self.total_active().max(0).unsigned_abs()
    }

    /// Exported power over all phases, in mW; above zero only while import is zero.
    #[must_use]
    pub fn export(&self) -> u64 {
        self.total_active().min(0).unsigned_abs()
    }

    /// Apparent power of a phase (0 to 2), in mVA: S² = P² + Q².
    #[must_use]
    pub fn apparent(&self, phase: usize) -> u64 {
        root(self.active[phase], self.reactive[phase])
    }

    /// Apparent power of the totals, in mVA: S² = P² + Q².
    #[must_use]
    pub fn total_apparent(&self) -> u64 {
        root(self.total_active(), self.total_reactive())
    }

    /// Current of a phase (0 to 2), in mA, unsigned: I = S/V.
    #[must_use]
    pub fn current(&self, phase: usize) -> u64 {
        let volts = u64::from(self.voltage[phase]);
        (self.apparent(phase) * 1000 + volts / 2).checked_div(volts).unwrap_or(0)
    }

    /// The power factor of the totals, in thousandths: |P|/S; 1000 where nothing flows.
    #[must_use]
    pub fn power_factor(&self) -> u64 {
        let apparent = self.total_apparent();
        let active = self.total_active().unsigned_abs();
        (active * 1000 + apparent / 2)
            .checked_div(apparent)
            .map_or(1000, |permille| permille.min(1000))
    }
}

/// √(p² + q²), to the nearest whole number.
fn root(p: i64, q: i64) -> u64 {
    let square = |x: i64| u128::from(x.unsigned_abs()) * u128::from(x.unsigned_abs());
    let sum = square(p) + square(q);
    let floor = sum.isqrt();
    let nearest = if sum - floor * floor > floor { floor + 1 } else { floor };
    u64::try_from(nearest).unwrap_or(u64::MAX)
}
