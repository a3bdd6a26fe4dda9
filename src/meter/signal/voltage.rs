//! Voltage: slow noise about its mean, less the voltage drop of the load.
//!
//! EN 50160 allows 230 V ± 10 % for 95 % of ten-minute means and never more than +10/−15 %. The noise is
//! bounded (a sum of uniform draws), and the result is clamped to the wider band.

use super::math::{ordinal, round};
use super::phase_powers::PhasePowers;
use super::plan::ConnectionPlan;
use crate::rng::{Draws, RandomStream};

/// Limits of the voltage, in mV (EN 50160: 230 V −15 % +10 %).
const BAND: (i64, i64) = (195_500, 253_000);

/// The octaves of the noise: seconds between nodes, and share of the total variance. The grid moves all
/// phases alike, slowly and fast; the loads of neighbours move each phase for itself.
const SLOW: (i64, f64) = (1800, 0.5);
const FAST: (i64, f64) = (90, 0.15);
const PER_PHASE: (i64, f64) = (600, 0.35);

/// Variance of a linear interpolation between independent nodes, relative to that of the nodes.
const INTERPOLATION_VARIANCE: f64 = 2.0 / 3.0;

/// The model of the voltages at a connection.
#[derive(Debug)]
pub(super) struct VoltageModel {
    /// Mean voltage without load, in mV.
    mean: i64,
    /// Impedance in mΩ.
    resistance: i64,
    reactance: i64,
    octaves: [Octave; 3],
    seed: u64,
}

/// Noise that is linear between random nodes.
#[derive(Debug, Clone, Copy)]
struct Octave {
    stream: RandomStream,
    /// Seconds between nodes.
    node_seconds: i64,
    /// Voltage of one unit of a node, in nV.
    scale: i64,
}

impl VoltageModel {
    pub(super) fn new(plan: &ConnectionPlan, seed: u64, house: RandomStream) -> Self {
        let octave = |(node_seconds, share): (i64, f64), index| Octave {
            stream: house.child(index),
            node_seconds,
            scale: round(
                plan.noise_volts * libm::sqrt(share / INTERPOLATION_VARIANCE) * 1e9
                    / NODE_DEVIATION,
            ),
        };
        Self {
            mean: round(plan.volts * 1000.0),
            resistance: round(plan.resistance * 1000.0),
            reactance: round(plan.reactance * 1000.0),
            octaves: [octave(SLOW, 0), octave(FAST, 1), octave(PER_PHASE, 2)],
            seed,
        }
    }

    /// Sets the voltages at a second since 1970. The powers of that second are already set.
    pub(super) fn apply(&self, second: i64, powers: &mut PhasePowers) {
        let [slow, fast, per_phase] = &self.octaves;
        let common = slow.at(self.seed, second, 0) + fast.at(self.seed, second, 0);
        for (phase, series) in (0..powers.phases).zip(1..) {
            let own = per_phase.at(self.seed, second, series);
            // mΩ · mW / mV is mV.
            let load =
                self.resistance * powers.active[phase] + self.reactance * powers.reactive[phase];
            let drop = load / self.mean.max(1);
            let voltage = (self.mean + (common + own) / 1_000_000 - drop).clamp(BAND.0, BAND.1);
            powers.voltage[phase] = u32::try_from(voltage).unwrap_or(0);
        }
    }
}

/// The standard deviation of [`node`].
const NODE_DEVIATION: f64 = 37_837.0;

/// Draws a bounded number that is nearly normally distributed: the sum of four uniform draws of 16 bits,
/// less its mean.
fn node(seed: u64, stream: RandomStream, index: i64) -> i64 {
    let bits = Draws::new(seed, stream, ordinal(index)).bits();
    let sum: u64 = (0..4).map(|field| (bits >> (16 * field)) & 0xffff).sum();
    sum.cast_signed() - 2 * 65_535
}

impl Octave {
    /// Returns the noise at a second since 1970, in nV. Each of up to four series has nodes of its own.
    fn at(&self, seed: u64, second: i64, series: i64) -> i64 {
        let (index, elapsed) =
            (second.div_euclid(self.node_seconds), second.rem_euclid(self.node_seconds));
        let node = |index: i64| node(seed, self.stream, index * 4 + series);
        let (from, to) = (node(index), node(index + 1));
        (from * (self.node_seconds - elapsed) + to * elapsed) / self.node_seconds * self.scale
    }
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, reason = "figures")]
mod tests {
    use super::*;

    fn volts(plan: &ConnectionPlan, seconds: impl Iterator<Item = i64>, mw: i64) -> Vec<f64> {
        let model = VoltageModel::new(plan, 7, RandomStream::named("v"));
        seconds
            .map(|second| {
                let mut powers =
                    PhasePowers { phases: 3, active: [mw, 0, 0], ..PhasePowers::default() };
                model.apply(second, &mut powers);
                f64::from(powers.voltage[0]) / 1000.0
            })
            .collect()
    }

    #[test]
    fn voltage_varies_slowly_about_its_mean_as_planned() {
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
    fn load_lowers_the_voltage_and_export_raises_it() {
        let at = |mw| volts(&ConnectionPlan::default(), 1000..1001, mw)[0];
        let drop = at(0) - at(3_680_000);
        assert!((drop - 0.08 * 3680.0 / 234.0).abs() < 0.01, "{drop}");
        assert!(at(-3_000_000) > at(0) + 1.0);
    }

    #[test]
    fn voltage_stays_within_the_band_of_en_50160() {
        let high = ConnectionPlan { volts: 253.0, noise_volts: 4.0, ..ConnectionPlan::default() };
        let low = ConnectionPlan { volts: 207.0, resistance: 0.5, ..high.clone() };
        for (plan, mw) in [(high, -30_000_000), (low, 30_000_000)] {
            for volts in volts(&plan, (0..10_000).map(|step| step * 97), mw) {
                assert!((195.5..=253.0).contains(&volts), "{volts}");
            }
        }
    }
}
