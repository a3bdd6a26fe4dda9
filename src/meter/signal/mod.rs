//! What flows at the meter: one coherent signal, a pure function of (seed, device, virtual time).
//!
//! Power is piecewise constant on a grid of whole seconds, in integer milliwatts; energy is its
//! exact sum in mW·ms. Nothing here depends on what was asked before.

mod energy;
mod household;
mod loads;
mod moment;
pub mod plan;

use jiff::{SignedDuration, Timestamp};

pub use self::energy::{Energies, Energy};
pub use self::moment::Moment;
pub use self::plan::SignalPlan;
use crate::clock::VirtualTime;

/// The signal of one house. Cheap to ask, at any moment, in any order.
#[derive(Debug)]
pub struct Signal {
    plan: SignalPlan,
    start: Timestamp,
}

impl Signal {
    /// The signal of a house that starts at `start`; all its randomness comes from `seed` and
    /// `device`. The same house at the same civil time draws the same power, whenever it started;
    /// its registers count from the start.
    #[must_use]
    pub fn new(plan: &SignalPlan, _seed: u64, _device: &str, start: Timestamp) -> Self {
        Self { plan: plan.clone(), start }
    }

    /// What flows at `now`, and the voltage.
    #[must_use]
    pub fn at(&self, _now: VirtualTime) -> Moment {
        let phases = self.plan.connection.phases.count();
        let mut moment = Moment { phases, ..Moment::default() };
        moment.active[0] = self.base();
        moment.voltage[..phases].fill(self.volts());
        moment
    }

    /// What the registers have counted at `now`.
    #[must_use]
    pub fn energy(&self, now: VirtualTime) -> Energies {
        let mut energies = Energies::of(&self.plan);
        let ms = now.since_start().as_millis();
        energies.import[0] += Energy::from_mw_ms(u128::from(self.base().unsigned_abs()) * ms);
        energies
    }

    /// The tariff in force at `now`: 1 or 2.
    #[must_use]
    pub fn tariff(&self, now: VirtualTime) -> u8 {
        let zone = jiff::tz::TimeZone::get("Europe/Zurich").unwrap_or(jiff::tz::TimeZone::UTC);
        let civil = zone.to_datetime(self.civil(now));
        let minute =
            u16::try_from(i32::from(civil.hour()) * 60 + i32::from(civil.minute())).unwrap_or(0);
        let high = self.plan.tariff.windows();
        if high.iter().any(|window| window.holds(civil.weekday(), minute)) { 1 } else { 2 }
    }

    fn civil(&self, now: VirtualTime) -> Timestamp {
        SignedDuration::try_from(now.since_start())
            .ok()
            .and_then(|since| self.start.checked_add(since).ok())
            .unwrap_or(Timestamp::MAX)
    }

    #[expect(clippy::cast_possible_truncation, reason = "a cast from f64 saturates")]
    fn base(&self) -> i64 {
        (self.plan.household.base_watts * 1000.0) as i64
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast from f64 saturates"
    )]
    fn volts(&self) -> u32 {
        (self.plan.connection.volts * 1000.0) as u32
    }
}
