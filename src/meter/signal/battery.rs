//! A battery that keeps the house from importing and exporting.
//!
//! The power limits hold for an interval of five minutes. They follow from the energy that is stored when
//! the interval begins, so that the battery never delivers more than it stores. The limits shrink as it gets full or empty,
//! as those of real batteries do. Within an interval its power is a function of the load alone.

use super::integration::LinearSegment;
use super::math::round;
use super::plan::BatteryPlan;

/// Seconds for which the power limits hold.
pub(super) const INTERVAL_SECONDS: i64 = 300;

/// The constant parameters of a battery.
#[derive(Debug)]
pub(super) struct BatteryModel {
    /// Usable energy, in mW·s.
    capacity: i64,
    /// Maximum power of charge and discharge, in mW.
    max_power: i64,
    /// Thousandths of the charged energy that are stored, and of the stored energy that are delivered.
    efficiency: i64,
    /// Power that the controller leaves to the grid, in mW.
    grid_setpoint: i64,
    /// Energy stored at the first midnight, in mW·s.
    initial: i64,
}

/// The limits of one interval, and the energy moved in it so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct BatteryInterval {
    /// Maximum power of charge and discharge, in mW.
    charge_limit: i64,
    discharge_limit: i64,
    /// Energy taken from and delivered to the house since the interval began, in mW·s.
    charged: i64,
    discharged: i64,
}

impl BatteryModel {
    pub(super) fn new(plan: &BatteryPlan) -> Self {
        let capacity = round(plan.kwh * 3.6e9);
        Self {
            capacity,
            max_power: round(plan.kw * 1e6),
            efficiency: round(plan.efficiency * 1000.0).clamp(1, 1000),
            grid_setpoint: round(plan.leave_watts * 1000.0),
            initial: round(plan.kwh * plan.initial * 3.6e9).clamp(0, capacity),
        }
    }

    pub(super) fn initial(&self) -> i64 {
        self.initial
    }

    /// Returns the limits of an interval that begins with this much energy stored, in mW·s.
    pub(super) fn begin_interval(&self, stored: i64) -> BatteryInterval {
        let free = (self.capacity - stored).max(0);
        BatteryInterval {
            charge_limit: self.max_power.min(free * 1000 / self.efficiency / INTERVAL_SECONDS),
            discharge_limit: self.max_power.min(stored * self.efficiency / 1000 / INTERVAL_SECONDS),
            charged: 0,
            discharged: 0,
        }
    }

    /// Returns the energy stored at the end of an interval that began with `stored`, in mW·s.
    pub(super) fn stored_after(&self, stored: i64, interval: &BatteryInterval) -> i64 {
        let added = interval.charged * self.efficiency / 1000;
        let removed = (interval.discharged * 1000 + self.efficiency - 1) / self.efficiency;
        (stored + added - removed).clamp(0, self.capacity)
    }

    /// Returns the power that the battery delivers at a load of the house, in mW; below zero it charges.
    pub(super) fn discharge_power(&self, interval: &BatteryInterval, load: i64) -> i64 {
        (load - self.grid_setpoint).clamp(-interval.charge_limit, interval.discharge_limit)
    }

    /// Counts the energy that the battery moves over a segment of load within an interval, and calls
    /// `grid` with the segments of power that remain for the grid.
    pub(super) fn dispatch(
        &self,
        interval: &mut BatteryInterval,
        load: LinearSegment,
        mut grid: impl FnMut(LinearSegment),
    ) {
        let max_load = self.grid_setpoint + interval.discharge_limit;
        let min_load = self.grid_setpoint - interval.charge_limit;
        let (first, second) =
            if load.slope > 0 { (min_load, max_load) } else { (max_load, min_load) };
        let (before, rest) = load.split_at_power(first);
        let (controlled, after) = rest.split_at_power(second);
        for part in [before, controlled, after] {
            if part.seconds <= 0 {
                continue;
            }
            // A part lies on one side of each limit, so that its first second decides for all of it.
            let remainder = if part.active >= max_load {
                interval.discharged += interval.discharge_limit * part.seconds;
                LinearSegment { active: part.active - interval.discharge_limit, ..part }
            } else if part.active < min_load {
                interval.charged += interval.charge_limit * part.seconds;
                LinearSegment { active: part.active + interval.charge_limit, ..part }
            } else {
                self.hold_setpoint(interval, part)
            };
            grid(remainder);
        }
    }

    /// Dispatches a segment within both limits: the grid sees the setpoint. Charge and discharge are
    /// counted separately, because each has its own loss.
    fn hold_setpoint(&self, interval: &mut BatteryInterval, load: LinearSegment) -> LinearSegment {
        let (one, other) = load.split_at_power(self.grid_setpoint);
        for part in [one, other] {
            let discharged = part.energy() - self.grid_setpoint * part.seconds;
            if discharged >= 0 {
                interval.discharged += discharged;
            } else {
                interval.charged -= discharged;
            }
        }
        LinearSegment { active: self.grid_setpoint, slope: 0, ..load }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Within an interval, the grid sees the load less the battery's power in each second.
        #[test]
        fn a_segment_is_dispatched_like_its_seconds(
            charge in 0.0..1.0_f64,
            active in -8_000_000_i64..8_000_000,
            slope in prop_oneof![Just(0_i64), -60_000_i64..60_000],
            seconds in 1_i64..=300,
        ) {
            let plan = BatteryPlan { kwh: 2.0, kw: 3.0, ..BatteryPlan::default() };
            let battery = BatteryModel::new(&plan);
            #[expect(clippy::cast_precision_loss, reason = "a share")]
            let stored = round(battery.capacity as f64 * charge);
            let mut interval = battery.begin_interval(stored);
            let limits = interval;
            let load = LinearSegment { start: 0, seconds, active, slope, reactive: 0 };
            let mut grid = Vec::new();
            battery.dispatch(&mut interval, load, |part| {
                for elapsed in 0..part.seconds {
                    grid.push((part.start + elapsed, part.active + part.slope * elapsed));
                }
            });
            prop_assert_eq!(i64::try_from(grid.len()).unwrap(), seconds);
            let (mut charged, mut discharged) = (0, 0);
            for (second, power) in grid {
                let load = active + slope * second;
                let delivered = battery.discharge_power(&limits, load);
                prop_assert_eq!(power, load - delivered);
                if delivered >= 0 { discharged += delivered } else { charged -= delivered }
            }
            prop_assert_eq!((interval.charged, interval.discharged), (charged, discharged));
            let after = battery.stored_after(stored, &interval);
            prop_assert!((0..=battery.capacity).contains(&after));
        }
    }
}
