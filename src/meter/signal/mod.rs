//! What flows at the meter: one coherent signal, a pure function of (seed, device, virtual time).
//!
//! Power is piecewise constant on a grid of whole seconds, in integer milliwatts; energy is its exact
//! sum in mW·ms. A house is a sum of rectangles (`household`, `loads`) less the ramps of the sun
//! (`pv`), which a battery follows (`battery`). A `day` is made at once, from draws that depend on its
//! date alone, and walked along its edges; `history` keeps what was made. Nothing depends on what was
//! asked before.
//!
//! The same house at the same civil time draws the same power, whenever its scenario started; the
//! registers count from the start. Weather hangs on the seed alone, so that all devices of a house
//! stand under one sky. Figures and their sources: `docs/signal-model.md`.

mod battery;
mod calendar;
mod count;
mod day;
mod energy;
mod history;
mod site_model;
mod household;
mod loads;
mod phase_powers;
mod noise;
pub mod plan;
mod pulse;
mod pv;
mod load_profile;
mod voltage;
mod weather;

use parking_lot::{Mutex, MutexGuard};

use jiff::Timestamp;

use self::history::{History, Sample};
use self::site_model::SiteModel;
use crate::clock::VirtualTime;

pub use self::energy::{Energies, Energy};
pub use self::phase_powers::PhasePowers;
pub use self::plan::SignalPlan;

/// The signal of one house. Cheap to ask, at any moment, in any order: a day that was not asked for
/// yet has to be made once, as does every day on the way there.
#[derive(Debug)]
pub struct Signal {
    house: SiteModel,
    start: Timestamp,
    registers: Energies,
    /// Made when first asked, so that an idle device costs nothing. The lock is short: whoever waits
    /// for it waits for a day that would have to be made for them as well.
    history: Mutex<Option<History>>,
}

/// Everything about one moment, from one look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignalSample {
    /// What flows, and the voltage.
    pub moment: PhasePowers,
    /// What the registers have counted.
    pub energies: Energies,
    /// The tariff in force: 1 or 2.
    pub tariff: u8,
}

impl Signal {
    /// The signal of a house that starts at `start`; all its randomness comes from `seed` and
    /// `device`.
    #[must_use]
    pub fn new(plan: &SignalPlan, seed: u64, device: &str, start: Timestamp) -> Self {
        Self {
            house: SiteModel::new(plan, seed, device),
            start,
            registers: Energies::of(plan),
            history: Mutex::new(None),
        }
    }

    /// What flows at `now`, and the voltage.
    #[must_use]
    pub fn at(&self, now: VirtualTime) -> PhasePowers {
        self.sample(now).moment
    }

    /// What the registers have counted at `now`.
    #[must_use]
    pub fn energy(&self, now: VirtualTime) -> Energies {
        self.counted(&self.sample(now))
    }

    /// The tariff in force at `now`: 1 or 2.
    #[must_use]
    pub fn tariff(&self, now: VirtualTime) -> u8 {
        number_of(self.sample(now).tariff)
    }

    /// All of it at `now`, at the price of one.
    #[must_use]
    pub fn state(&self, now: VirtualTime) -> SignalSample {
        let sample = self.sample(now);
        SignalSample {
            moment: sample.moment,
            energies: self.counted(&sample),
            tariff: number_of(sample.tariff),
        }
    }

    /// Bytes of memory that it takes, with all that it keeps.
    #[must_use]
    pub fn memory(&self) -> usize {
        let history = self.history();
        size_of::<Self>()
            + self.house.heap_bytes()
            + history.as_ref().map_or(0, History::heap_bytes)
    }

    fn sample(&self, now: VirtualTime) -> Sample {
        let start = self.start.as_nanosecond();
        let now = (start + i128::from(now.as_nanos())).min(Timestamp::MAX.as_nanosecond());
        let milliseconds =
            |nanos: i128| i64::try_from(nanos.div_euclid(1_000_000)).unwrap_or(i64::MAX);
        self.history()
            .get_or_insert_with(|| History::new(&self.house, milliseconds(start)))
            .sample(&self.house, milliseconds(now))
    }

    fn history(&self) -> MutexGuard<'_, Option<History>> {
        self.history.lock()
    }

    fn counted(&self, sample: &Sample) -> Energies {
        let Sample { earlier, today, before, walk, .. } = sample;
        let add = |register: Energy, earlier: u64, today: u64, before: u64| {
            let counted = u128::from(earlier) * 1000 + u128::from(today) - u128::from(before);
            register + Energy::from_mw_ms(counted)
        };
        let mut energies = self.registers;
        for tariff in 0..2 {
            let import = &mut energies.import[tariff];
            *import =
                add(*import, earlier.import[tariff], today.import[tariff], before.import[tariff]);
            let export = &mut energies.export[tariff];
            *export =
                add(*export, earlier.export[tariff], today.export[tariff], before.export[tariff]);
            for (index, quadrant) in energies.quadrants.iter_mut().enumerate() {
                let [earlier, today, before] =
                    [earlier, today, before].map(|counters| counters.quadrants[index][tariff]);
                quadrant[tariff] = add(quadrant[tariff], earlier, today, before);
            }
        }
        energies.import_demand = walk.demand.import;
        energies.export_demand = walk.demand.export;
        energies
    }
}

/// Tariffs are numbered from 1.
fn number_of(tariff: usize) -> u8 {
    if tariff == 0 { 1 } else { 2 }
}

#[cfg(test)]
mod tests;
