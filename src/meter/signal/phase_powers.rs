//! Powers and voltages of the phases at one instant.

/// Powers and voltages of the phases at one instant, as integers. Totals, apparent power and currents are
/// computed from these, so that all numbers agree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PhasePowers {
    /// Number of phases, 1 or 3. The values of other phases are 0.
    pub phases: usize,
    /// Active power, in mW; positive from the grid to the house.
    pub active: [i64; 3],
    /// Reactive power, in mvar; positive if the current lags (inductive, from the view of a house that
    /// imports).
    pub reactive: [i64; 3],
    /// Voltage, in mV.
    pub voltage: [u32; 3],
}

impl PhasePowers {
    /// Returns the net active power of all phases, in mW: an importing and an exporting phase cancel.
    #[must_use]
    pub fn total_active(&self) -> i64 {
        self.active.iter().sum()
    }

    /// Returns the net reactive power of all phases, in mvar.
    #[must_use]
    pub fn total_reactive(&self) -> i64 {
        self.reactive.iter().sum()
    }

    /// Returns the imported power of all phases, in mW; 0 while power is exported.
    #[must_use]
    #[cfg(any(test, feature = "internals"))]
    pub fn import(&self) -> u64 {
        self.total_active().max(0).unsigned_abs()
    }

    /// Returns the exported power of all phases, in mW; 0 while power is imported.
    #[must_use]
    #[cfg(any(test, feature = "internals"))]
    pub fn export(&self) -> u64 {
        self.total_active().min(0).unsigned_abs()
    }

    /// Returns the apparent power of a phase (0 to 2), in mVA: S² = P² + Q².
    #[must_use]
    pub fn apparent(&self, phase: usize) -> u64 {
        apparent_power(self.active[phase], self.reactive[phase])
    }

    /// Returns the apparent power of the totals, in mVA: S² = P² + Q².
    #[must_use]
    pub fn total_apparent(&self) -> u64 {
        apparent_power(self.total_active(), self.total_reactive())
    }

    /// Returns the current of a phase (0 to 2), in mA, unsigned: I = S/V.
    #[must_use]
    pub fn current(&self, phase: usize) -> u64 {
        let volts = u64::from(self.voltage[phase]);
        (self.apparent(phase) * 1000 + volts / 2).checked_div(volts).unwrap_or(0)
    }

    /// Returns the power factor of the totals, in thousandths: |P|/S; 1000 if there is no power.
    #[must_use]
    pub fn power_factor(&self) -> u64 {
        let apparent = self.total_apparent();
        let active = self.total_active().unsigned_abs();
        (active * 1000 + apparent / 2)
            .checked_div(apparent)
            .map_or(1000, |permille| permille.min(1000))
    }
}

/// Returns √(p² + q²), rounded to the nearest whole number.
fn apparent_power(p: i64, q: i64) -> u64 {
    let square = |x: i64| u128::from(x.unsigned_abs()) * u128::from(x.unsigned_abs());
    let sum = square(p) + square(q);
    let floor = sum.isqrt();
    let nearest = if sum - floor * floor > floor { floor + 1 } else { floor };
    u64::try_from(nearest).unwrap_or(u64::MAX)
}
