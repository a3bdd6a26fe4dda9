//! The little unrest of a household's load from second to second.
//!
//! It is a difference: the noise of a second is h(second + 1) − h(second), where h is uniform up to an
//! amplitude. So it is bounded by the amplitude, its mean is zero, and its sum over any stretch is
//! the difference of two values of h: exact, at no cost.

use super::household::ordinal;
use crate::rng::{Draws, RandomStream};

/// The noise of a house.
#[derive(Debug)]
pub(super) struct Noise {
    /// Of each phase, in mW.
    amplitudes: [i64; 3],
    seed: u64,
    stream: RandomStream,
}

impl Noise {
    pub(super) fn new(amplitudes: [u32; 3], seed: u64, stream: RandomStream) -> Self {
        Self { amplitudes: amplitudes.map(i64::from), seed, stream }
    }

    /// How far the total may stray at the most, in mW.
    pub(super) fn margin(&self) -> i64 {
        self.amplitudes.iter().sum()
    }

    /// The noise of each phase in a second since 1970, in mW.
    pub(super) fn phases(&self, second: i64) -> [i64; 3] {
        let (now, next) = (self.height(second), self.height(second + 1));
        std::array::from_fn(|phase| next[phase] - now[phase])
    }

    /// The noise of the total in a second.
    pub(super) fn total(&self, second: i64) -> i64 {
        self.sum(second, 1)
    }

    /// The sum of the total's noise over so many seconds, in mW·s.
    pub(super) fn sum(&self, second: i64, seconds: i64) -> i64 {
        let height = |second| self.height(second).iter().sum::<i64>();
        height(second + seconds) - height(second)
    }

    fn height(&self, second: i64) -> [i64; 3] {
        let bits = Draws::new(self.seed, self.stream, ordinal(second)).bits();
        std::array::from_fn(|phase| {
            let field = (bits >> (21 * phase)) & 0x1f_ffff;
            (field.cast_signed() * self.amplitudes[phase]) >> 21
        })
    }
}
