//! Randomness as a function: the same (seed, stream, ordinal) always gives the same draw.
//!
//! Nothing in the house shares a generator, so no draw depends on what else was drawn before it:
//! a fault of 10 % hits the same of its matches whether requests arrive alone or in a crowd, and a
//! replay is the same to the byte. The formulae are our own because a replay must outlive the
//! versions of a library; [`Draws`] carries `rand`'s trait for everything whose exact values do not
//! matter.

use std::convert::Infallible;
use std::f64::consts::TAU;

/// Names an independent series of draws: the hash of a rule id, a register's place, and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RandomStream(u64);

impl RandomStream {
    /// The stream of a name (FNV-1a, then mixed).
    ///
    /// ```
    /// use wwsim::rng::RandomStream;
    /// assert_eq!(RandomStream::named("slow-pump"), RandomStream::named("slow-pump"));
    /// assert_ne!(RandomStream::named("slow-pump"), RandomStream::named("slow-pumq"));
    /// ```
    #[must_use]
    pub fn named(name: &str) -> Self {
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Self(mix(hash))
    }

    /// The stream as a number, to derive another from by [`RandomStream::child`].
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// A stream derived from this one, as a register's from its unit's.
    #[must_use]
    pub fn child(self, index: u64) -> Self {
        Self(mix(self.0 ^ mix(index.wrapping_add(0x9e37_79b9_7f4a_7c15))))
    }
}

/// The draws of one (seed, stream, ordinal): as many as the decision needs, always the same.
#[derive(Debug, Clone)]
pub struct Draws {
    key: u64,
    counter: u64,
}

impl Draws {
    /// The draws that belong to the `ordinal`-th decision of `stream` in a house seeded with `seed`.
    #[must_use]
    pub fn new(seed: u64, stream: RandomStream, ordinal: u64) -> Self {
        let key = mix(mix(seed ^ 0xd1b5_4a32_d192_ed03) ^ stream.0).wrapping_add(mix(ordinal));
        Self { key, counter: 0 }
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.counter = self.counter.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.key ^ mix(self.counter))
    }

    /// A number in `0.0..1.0`, uniform over 2⁵³ steps.
    pub fn unit(&mut self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits are exact in an f64")]
        let steps = (self.bits() >> 11) as f64;
        steps / 9_007_199_254_740_992.0
    }

    /// A number in `low..=high`, uniform.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// True with the given probability; 0 never, 1 always.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// A standard normal number (Box–Muller; `libm`, so that machines agree to the last bit).
    pub fn normal(&mut self) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - self.unit()));
        radius * libm::cos(TAU * self.unit())
    }
}

impl rand::TryRng for Draws {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((self.bits() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.bits())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.bits().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

/// The finalizer of `SplitMix64` (Steele, Lea, Flood 2014): every input bit reaches every output bit.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_percent_is_ten_percent_with_any_seed() {
        for seed in [0, 1, 7, u64::MAX] {
            let stream = RandomStream::named("rule");
            let hits = (0..100_000)
                .filter(|ordinal| Draws::new(seed, stream, *ordinal).chance(0.1))
                .count();
            assert!((9_700..10_300).contains(&hits), "seed {seed}: {hits} of 100000");
        }
    }

    #[test]
    fn streams_and_seeds_are_independent() {
        let first = |seed, name: &str| Draws::new(seed, RandomStream::named(name), 0).bits();
        assert_ne!(first(1, "a"), first(1, "b"));
        assert_ne!(first(1, "a"), first(2, "a"));
    }

    #[test]
    fn normal_has_mean_zero_and_deviation_one() {
        let stream = RandomStream::named("normal");
        let draws: Vec<f64> =
            (0..50_000).map(|ordinal| Draws::new(3, stream, ordinal).normal()).collect();
        let mean = draws.iter().sum::<f64>() / 50_000.0;
        let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 50_000.0;
        assert!(mean.abs() < 0.02, "mean {mean}");
        assert!((variance - 1.0).abs() < 0.03, "variance {variance}");
    }

    /// A replay written by one version must run the same on the next.
    #[test]
    fn the_formulae_do_not_drift() {
        let mut draws = Draws::new(7, RandomStream::named("slow-pump"), 3);
        let first_two = [draws.bits(), draws.bits()];
        assert_eq!(first_two, [14_619_638_125_236_293_997, 15_542_616_666_222_643_290]);
    }
}
