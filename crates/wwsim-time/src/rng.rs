//! Counter-based randomness: the same (seed, stream, ordinal) always gives the same draw.
//!
//! No two decisions of a house share a generator, so a draw does not depend on earlier draws. A
//! fault with a probability of 10 % affects the same matches whether requests arrive one by one or
//! concurrently, and a replay gives the same bytes. The formulae are defined here, because a replay
//! must outlive the versions of a library. [`Draws`] also implements `rand`'s generator trait for
//! uses in which the exact values do not matter.

use std::convert::Infallible;
use std::f64::consts::TAU;

/// An independent series of draws, derived for example from a rule's id or a register's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RandomStream(u64);

impl RandomStream {
    /// Returns the stream of a name (FNV-1a, then mixed).
    ///
    /// ```
    /// use wwsim_time::rng::RandomStream;
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

    /// Returns the stream as a number, from which [`RandomStream::child`] can derive another
    /// stream.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// Derives a stream from this one, such as a register's stream from its unit's.
    #[must_use]
    pub fn child(self, index: u64) -> Self {
        Self(mix(self.0 ^ mix(index.wrapping_add(0x9e37_79b9_7f4a_7c15))))
    }
}

/// The draws of one (seed, stream, ordinal): as many as the decision needs, always the same ones.
#[derive(Debug, Clone)]
pub struct Draws {
    key: u64,
    counter: u64,
}

impl Draws {
    /// Creates the draws of the `ordinal`-th decision of `stream` in a house seeded with `seed`.
    #[must_use]
    pub fn new(seed: u64, stream: RandomStream, ordinal: u64) -> Self {
        let key = mix(mix(seed ^ 0xd1b5_4a32_d192_ed03) ^ stream.0).wrapping_add(mix(ordinal));
        Self { key, counter: 0 }
    }

    /// Returns the next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.counter = self.counter.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.key ^ mix(self.counter))
    }

    /// Returns a number in `0.0..1.0`, uniform over 2⁵³ steps.
    pub fn unit(&mut self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits are exact in an f64")]
        let steps = (self.bits() >> 11) as f64;
        steps / 9_007_199_254_740_992.0
    }

    /// Returns a number in `low..=high`, uniformly distributed.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Returns true with the given probability: never if it is 0, always if it is 1.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Returns a standard normal number (Box–Muller). It uses `libm`, because then all machines
    /// agree to the last bit.
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

/// Applies the finalizer of `SplitMix64` (Steele, Lea, Flood 2014): every input bit affects every
/// output bit.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probability_of_ten_percent_holds_for_any_seed() {
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

    /// A replay that one version wrote must run the same on the next version.
    #[test]
    fn the_formulae_stay_the_same() {
        let mut draws = Draws::new(7, RandomStream::named("slow-pump"), 3);
        let first_two = [draws.bits(), draws.bits()];
        assert_eq!(first_two, [14_619_638_125_236_293_997, 15_542_616_666_222_643_290]);
    }
}
