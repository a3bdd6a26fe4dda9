//! The electrical signal at the meter: a pure function of (seed, device, virtual time).
//!
//! Power is piecewise constant on a grid of whole seconds, in integer milliwatts. Energy is the exact
//! integral of power, in mW·ms. The power of a house is a sum of rectangular pulses (`household`,
//! `loads`) less the ramps of the panels (`pv`), and a battery reacts to the result (`battery`). A day
//! is built at once (`day`) from draws that depend on its date alone, and `day_cache` holds the days
//! that were built. No answer depends on what was asked before.
//!
//! The same house at the same civil time has the same power, whenever its scenario starts; the registers
//! count from the start. The weather depends on the seed alone, so that all devices of a house share
//! one sky. `docs/signal-model.md` lists the figures and their sources.

mod battery;
mod calendar;
mod climate;
mod day;
mod day_cache;
mod edges;
mod energies;
mod household;
mod integration;
mod load_profile;
mod loads;
mod math;
mod noise;
mod phase_powers;
pub mod plan;
mod pv;
mod site_model;
mod voltage;
mod weather;

use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};

use self::day_cache::{CachedSample, DayCache};
use self::site_model::SiteModel;
use crate::clock::VirtualTime;

pub use self::energies::{Energies, Energy};
pub use self::phase_powers::PhasePowers;
pub use self::plan::{SharedSignalPlan, SignalPlan};

/// The signal of one house. A sample is cheap at any time and in any order; a day that was not sampled
/// yet is built once, and so is each day on the way to it.
#[derive(Debug)]
pub struct Signal {
    plan: SharedSignalPlan,
    seed: u64,
    device: Box<str>,
    start: Timestamp,
    /// Created by the first sample, so that an idle device costs nothing. The lock is held while a day
    /// is built: whoever waits for it would have to build that day as well.
    model: Mutex<Option<Box<SignalModel>>>,
}

/// The part of a signal that is necessary for a sample.
#[derive(Debug)]
struct SignalModel {
    site: SiteModel,
    initial_registers: Energies,
    days: DayCache,
}

/// All values of the signal at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignalSample {
    /// Powers and voltages.
    pub powers: PhasePowers,
    /// The energy registers.
    pub energies: Energies,
    /// The tariff in force: 1 or 2.
    pub tariff: u8,
}

impl Signal {
    /// Returns the signal of a house whose scenario starts at `start`. All randomness comes from `seed`
    /// and `device`.
    #[must_use]
    pub fn new(
        plan: impl Into<SharedSignalPlan>,
        seed: u64,
        device: &str,
        start: Timestamp,
    ) -> Self {
        Self { plan: plan.into(), seed, device: device.into(), start, model: Mutex::new(None) }
    }

    /// Returns the powers and voltages at `now`.
    #[must_use]
    #[cfg(any(test, feature = "internals"))]
    pub fn powers_and_voltages(&self, now: VirtualTime) -> PhasePowers {
        self.sample(now).powers
    }

    /// Returns the energy registers at `now`.
    #[must_use]
    #[cfg(any(test, feature = "internals"))]
    pub fn energy(&self, now: VirtualTime) -> Energies {
        self.sample(now).energies
    }

    /// Returns the tariff in force at `now`: 1 or 2.
    #[must_use]
    #[cfg(any(test, feature = "internals"))]
    pub fn tariff(&self, now: VirtualTime) -> u8 {
        self.sample(now).tariff
    }

    /// Returns all values at `now`, at the cost of one of them.
    #[must_use]
    pub fn sample(&self, now: VirtualTime) -> SignalSample {
        let start = self.start.as_nanosecond();
        let now = (start + i128::from(now.as_nanos())).min(Timestamp::MAX.as_nanosecond());
        let mut model = self.model();
        let model = model.get_or_insert_with(|| {
            let site = SiteModel::new(&self.plan, self.seed, &self.device);
            let days = DayCache::new(&site, milliseconds(start));
            let initial_registers = Energies::initial(&self.plan);
            Box::new(SignalModel { site, initial_registers, days })
        });
        let sample = model.days.sample(&model.site, milliseconds(now));
        SignalSample {
            powers: sample.powers,
            energies: registers(model.initial_registers, &sample),
            tariff: tariff_number(sample.tariff),
        }
    }

    /// Returns the bytes of memory that the signal takes, its cache included.
    #[must_use]
    #[cfg(any(test, feature = "internals"))]
    pub fn memory(&self) -> usize {
        let heap_bytes = |model: &SignalModel| {
            size_of::<SignalModel>() + model.site.heap_bytes() + model.days.heap_bytes()
        };
        size_of::<Self>() + self.device.len() + self.model().as_deref().map_or(0, heap_bytes)
    }

    fn model(&self) -> MutexGuard<'_, Option<Box<SignalModel>>> {
        self.model.lock()
    }
}

/// Returns the registers: their initial values and the energy counted since the start.
fn registers(initial: Energies, sample: &CachedSample) -> Energies {
    let CachedSample { earlier_days, today, before_start, demand, .. } = sample;
    let add = |register: Energy, earlier_days: u64, today: u64, before_start: u64| {
        let counted =
            u128::from(earlier_days) * 1000 + u128::from(today) - u128::from(before_start);
        register + Energy::from_mw_ms(counted)
    };
    let mut energies = initial;
    for tariff in 0..2 {
        let import = [earlier_days, today, before_start].map(|part| part.import[tariff]);
        let export = [earlier_days, today, before_start].map(|part| part.export[tariff]);
        energies.import[tariff] = add(energies.import[tariff], import[0], import[1], import[2]);
        energies.export[tariff] = add(energies.export[tariff], export[0], export[1], export[2]);
        for (index, quadrant) in energies.quadrants.iter_mut().enumerate() {
            let [earlier_days, today, before_start] =
                [earlier_days, today, before_start].map(|part| part.quadrants[index][tariff]);
            quadrant[tariff] = add(quadrant[tariff], earlier_days, today, before_start);
        }
    }
    energies.import_demand = demand.import;
    energies.export_demand = demand.export;
    energies
}

fn milliseconds(nanos: i128) -> i64 {
    i64::try_from(nanos.div_euclid(1_000_000)).unwrap_or(i64::MAX)
}

/// Returns the number of a tariff, counted from 1.
fn tariff_number(tariff: usize) -> u8 {
    if tariff == 0 { 1 } else { 2 }
}

#[cfg(test)]
mod tests;
