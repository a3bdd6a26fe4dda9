//! The noise of a household's load from second to second.
//!
//! The noise of a second is a difference, h(second + 1) − h(second), where h is uniform up to an
//! amplitude. The noise is therefore bounded by the amplitude and has a mean of zero, and its sum over
//! any number of seconds is the difference of two values of h: exact, at constant cost.

use super::math::ordinal;
use crate::rng::{Draws, RandomStream};

/// The load noise of a house.
#[derive(Debug)]
pub(super) struct Noise {
    /// Amplitude of each phase, in mW.
    amplitudes: [i64; 3],
    seed: u64,
    stream: RandomStream,
}

impl Noise {
    pub(super) fn new(amplitudes: [u32; 3], seed: u64, stream: RandomStream) -> Self {
        Self { amplitudes: amplitudes.map(i64::from), seed, stream }
    }

    /// Returns the bound of the total noise over all phases, in mW.
    pub(super) fn max_total(&self) -> i64 {
        self.amplitudes.iter().sum()
    }

    /// Returns the noise of each phase in a second since 1970, in mW.
    pub(super) fn phases_at(&self, second: i64) -> [i64; 3] {
        let (now, next) = (self.cumulative(second), self.cumulative(second + 1));
        std::array::from_fn(|phase| next[phase] - now[phase])
    }

    /// Returns the total noise in a second since 1970, in mW.
    pub(super) fn total_at(&self, second: i64) -> i64 {
        self.total_over(second, 1)
    }

    /// Returns the sum of the total noise over `seconds` seconds from `second` on, in mW·s.
    pub(super) fn total_over(&self, second: i64, seconds: i64) -> i64 {
        let cumulative = |second| self.cumulative(second).iter().sum::<i64>();
        cumulative(second + seconds) - cumulative(second)
    }

    /// Returns h(second) of each phase.
    fn cumulative(&self, second: i64) -> [i64; 3] {
        let bits = Draws::new(self.seed, self.stream, ordinal(second)).bits();
        std::array::from_fn(|phase| {
            let field = (bits >> (21 * phase)) & 0x1f_ffff;
            (field.cast_signed() * self.amplitudes[phase]) >> 21
        })
    }
}
