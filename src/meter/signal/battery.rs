//! A battery that keeps the house from importing and exporting.
//!
//! What it can do is settled for five minutes at a time from how full it is at their begin, so that
//! it never takes more than it holds; it slows down as it gets full or empty, as real ones do. Within
//! such a slot its power is a function of the house's power alone.

use super::count::Stretch;
use super::plan::BatteryPlan;

/// Seconds of a slot.
pub(super) const SLOT: i64 = 300;

/// A battery made ready.
#[derive(Debug)]
pub(super) struct BatteryModel {
    /// What it holds, in mW·s.
    capacity: i64,
    /// What it takes or gives at the most, in mW.
    power: i64,
    /// Thousandths of what goes in that are stored, and of what is stored that come out.
    efficiency: i64,
    /// What it leaves to the grid, in mW.
    leave: i64,
    /// What it holds at the first midnight.
    initial: i64,
}

/// What it does in a slot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Slot {
    /// What it may take and give, in mW.
    takes: i64,
    gives: i64,
    /// What it has taken and given since the slot began, in mW·s.
    taken: i64,
    given: i64,
}

impl BatteryModel {
    pub(super) fn new(plan: &BatteryPlan) -> Self {
        let capacity = whole(plan.kwh * 3.6e9);
        Self {
            capacity,
            power: whole(plan.kw * 1e6),
            efficiency: whole(plan.efficiency * 1000.0).clamp(1, 1000),
            leave: whole(plan.leave_watts * 1000.0),
            initial: whole(plan.kwh * plan.initial * 3.6e9).clamp(0, capacity),
        }
    }

    pub(super) fn initial(&self) -> i64 {
        self.initial
    }

    /// What it may do in a slot that begins with so much in it, in mW·s.
    pub(super) fn slot(&self, held: i64) -> Slot {
        let room = (self.capacity - held).max(0);
        Slot {
            takes: self.power.min(room * 1000 / self.efficiency / SLOT),
            gives: self.power.min(held * self.efficiency / 1000 / SLOT),
            taken: 0,
            given: 0,
        }
    }

    /// What it holds at the end of a slot.
    pub(super) fn held_after(&self, held: i64, slot: &Slot) -> i64 {
        let stored = slot.taken * self.efficiency / 1000;
        let drawn = (slot.given * 1000 + self.efficiency - 1) / self.efficiency;
        (held + stored - drawn).clamp(0, self.capacity)
    }

    /// What it gives (or, below zero, takes) while the house draws so many mW.
    pub(super) fn gives(&self, slot: &Slot, house: i64) -> i64 {
        (house - self.leave).clamp(-slot.takes, slot.gives)
    }

    /// Follows the house through a stretch within a slot; calls `grid` with what is left to the grid.
    pub(super) fn follow(&self, slot: &mut Slot, house: Stretch, mut grid: impl FnMut(Stretch)) {
        let (most, least) = (self.leave + slot.gives, self.leave - slot.takes);
        let (first, second) = if house.slope > 0 { (least, most) } else { (most, least) };
        let (before, rest) = house.split(first);
        let (between, after) = rest.split(second);
        for part in [before, between, after] {
            if part.seconds <= 0 {
                continue;
            }
            // A part lies on one side of each limit, so that its first second speaks for it.
            let rest = if part.active >= most {
                slot.given += slot.gives * part.seconds;
                Stretch { active: part.active - slot.gives, ..part }
            } else if part.active < least {
                slot.taken += slot.takes * part.seconds;
                Stretch { active: part.active + slot.takes, ..part }
            } else {
                self.regulate(slot, part)
            };
            grid(rest);
        }
    }

    /// It can do all that the house asks for; gives and takes are told apart.
    fn regulate(&self, slot: &mut Slot, house: Stretch) -> Stretch {
        let (one, other) = house.split(self.leave);
        for part in [one, other] {
            let given = part.sum() - self.leave * part.seconds;
            if given >= 0 {
                slot.given += given;
            } else {
                slot.taken -= given;
            }
        }
        Stretch { active: self.leave, slope: 0, ..house }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a cast from f64 saturates")]
fn whole(value: f64) -> i64 {
    libm::round(value) as i64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Within a slot: what reaches the grid is the house less the battery in every second.
        #[test]
        fn a_stretch_is_followed_as_its_seconds_are(
            held in 0.0..1.0_f64,
            active in -8_000_000_i64..8_000_000,
            slope in prop_oneof![Just(0_i64), -60_000_i64..60_000],
            seconds in 1_i64..=300,
        ) {
            let plan = BatteryPlan { kwh: 2.0, kw: 3.0, ..BatteryPlan::default() };
            let battery = BatteryModel::new(&plan);
            #[expect(clippy::cast_precision_loss, reason = "a share")]
            let held = whole(battery.capacity as f64 * held);
            let mut slot = battery.slot(held);
            let empty = slot;
            let house = Stretch { second: 0, seconds, active, slope, reactive: 0 };
            let mut grid = Vec::new();
            battery.follow(&mut slot, house, |part| {
                for passed in 0..part.seconds {
                    grid.push((part.second + passed, part.active + part.slope * passed));
                }
            });
            prop_assert_eq!(i64::try_from(grid.len()).unwrap(), seconds);
            let (mut taken, mut given) = (0, 0);
            for (second, power) in grid {
                let house = active + slope * second;
                let gives = battery.gives(&empty, house);
                prop_assert_eq!(power, house - gives);
                if gives >= 0 { given += gives } else { taken -= gives }
            }
            prop_assert_eq!((slot.taken, slot.given), (taken, given));
            let after = battery.held_after(held, &slot);
            prop_assert!((0..=battery.capacity).contains(&after));
        }
    }
}
