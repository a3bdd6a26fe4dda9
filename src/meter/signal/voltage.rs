//! Voltage: slow noise about its mean, and what the load pulls it down.
//!
//! EN 50160 allows 230 V ± 10 % for 95 % of ten-minute means and never more than +10/−15 %; the noise
//! is bounded (a sum of uniform draws), and what would still leave the wider band is cut.

use super::household::ordinal;
use super::phase_powers::PhasePowers;
use super::plan::ConnectionPlan;
use crate::rng::{Draws, RandomStream};

/// The band that voltage never leaves, in mV (EN 50160: 230 V −15 % +10 %).
const BAND: (i64, i64) = (195_500, 253_000);

/// How the noise is made up: seconds between its nodes, and its share of the whole variance.
/// The grid moves all phases alike by the hour and the minute; a phase has its neighbours' loads.
const HOURLY: (i64, f64) = (1800, 0.5);
const MINUTELY: (i64, f64) = (90, 0.15);
const NEIGHBOURS: (i64, f64) = (600, 0.35);

/// The variance that straight lines between independent nodes keep.
const KEPT: f64 = 2.0 / 3.0;

/// A connection made ready to be asked for its voltages.
#[derive(Debug)]
pub(super) struct Voltage {
    mean: i64,
    /// Impedance in mΩ.
    resistance: i64,
    reactance: i64,
    octaves: [Octave; 3],
    seed: u64,
}

#[derive(Debug, Clone, Copy)]
struct Octave {
    stream: RandomStream,
    every: i64,
    /// What a node's unit is worth, in nV.
    scale: i64,
}

impl Voltage {
    pub(super) fn new(plan: &ConnectionPlan, seed: u64, house: RandomStream) -> Self {
        let octave = |(every, share): (i64, f64), index| Octave {
            stream: house.child(index),
            every,
            scale: whole(plan.noise_volts * libm::sqrt(share / KEPT) * 1e9 / NODE_DEVIATION),
        };
        Self {
            mean: whole(plan.volts * 1000.0),
            resistance: whole(plan.resistance * 1000.0),
            reactance: whole(plan.reactance * 1000.0),
            octaves: [octave(HOURLY, 0), octave(MINUTELY, 1), octave(NEIGHBOURS, 2)],
            seed,
        }
    }

    /// Puts the voltages at a second since 1970 into `moment`, whose powers are known.
    pub(super) fn put(&self, second: i64, moment: &mut PhasePowers) {
        let [hourly, minutely, neighbours] = &self.octaves;
        let common = hourly.at(self.seed, second, 0) + minutely.at(self.seed, second, 0);
        for (phase, node) in (0..moment.phases).zip(1..) {
            let own = neighbours.at(self.seed, second, node);
            // mΩ · mW / mV is mV.
            let load =
                self.resistance * moment.active[phase] + self.reactance * moment.reactive[phase];
            let drop = load / self.mean.max(1);
            let voltage = (self.mean + (common + own) / 1_000_000 - drop).clamp(BAND.0, BAND.1);
            moment.voltage[phase] = u32::try_from(voltage).unwrap_or(0);
        }
    }
}

/// The standard deviation of [`node`].
const NODE_DEVIATION: f64 = 37_837.0;

/// A number that is nearly normal, and bounded: four uniform draws of 16 bits, less their mean.
fn node(seed: u64, stream: RandomStream, index: i64) -> i64 {
    let bits = Draws::new(seed, stream, ordinal(index)).bits();
    let sum: u64 = (0..4).map(|field| (bits >> (16 * field)) & 0xffff).sum();
    sum.cast_signed() - 2 * 65_535
}

impl Octave {
    /// The noise at a second, in nV: a straight line between nodes. Phases have their own nodes.
    fn at(&self, seed: u64, second: i64, phase: i64) -> i64 {
        let (index, passed) = (second.div_euclid(self.every), second.rem_euclid(self.every));
        let node = |index: i64| node(seed, self.stream, index * 4 + phase);
        let (from, to) = (node(index), node(index + 1));
        (from * (self.every - passed) + to * passed) / self.every * self.scale
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a cast from f64 saturates")]
fn whole(value: f64) -> i64 {
    libm::round(value) as i64
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, reason = "figures")]
mod tests {
    use super::*;

    fn volts(plan: &ConnectionPlan, seconds: impl Iterator<Item = i64>, mw: i64) -> Vec<f64> {
        let voltage = Voltage::new(plan, 7, RandomStream::named("v"));
        seconds
            .map(|second| {
                let mut moment =
                    PhasePowers { phases: 3, active: [mw, 0, 0], ..PhasePowers::default() };
                voltage.put(second, &mut moment);
                f64::from(moment.voltage[0]) / 1000.0
            })
            .collect()
    }

    #[test]
    fn it_strays_about_its_mean_as_planned_and_slowly() {
        let volts = volts(&ConnectionPlan::default(), (0..200_000).map(|step| step * 61), 0);
        let count = volts.len() as f64;
        let mean = volts.iter().sum::<f64>() / count;
        let deviation = (volts.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count).sqrt();
        assert!((mean - 234.0).abs() < 0.1, "{mean}");
        assert!((1.4..1.6).contains(&deviation), "{deviation}");
        let slow = self::volts(&ConnectionPlan::default(), 0..10_000, 0);
        assert!(slow.windows(2).all(|pair| (pair[0] - pair[1]).abs() < 0.1));
    }

    #[test]
    fn load_pulls_it_down_and_export_lifts_it() {
        let at = |mw| volts(&ConnectionPlan::default(), 1000..1001, mw)[0];
        let drop = at(0) - at(3_680_000);
        assert!((drop - 0.08 * 3680.0 / 234.0).abs() < 0.01, "{drop}");
        assert!(at(-3_000_000) > at(0) + 1.0);
    }

    #[test]
    fn it_never_leaves_the_band_of_en_50160() {
        let high = ConnectionPlan { volts: 253.0, noise_volts: 4.0, ..ConnectionPlan::default() };
        let low = ConnectionPlan { volts: 207.0, resistance: 0.5, ..high.clone() };
        for (plan, mw) in [(high, -30_000_000), (low, 30_000_000)] {
            for volts in volts(&plan, (0..10_000).map(|step| step * 97), mw) {
                assert!((195.5..=253.0).contains(&volts), "{volts}");
            }
        }
    }
}
