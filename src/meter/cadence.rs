//! The times at which a meter sends: the time of telegram n follows from the seed and n alone.
//!
//! A meter does not know its device. It sends telegrams from before the first boot to the end of time;
//! [`super::ReceptionCursor`] decides which of them become readings.

use std::time::Duration;

use super::MeterProfile;
use crate::clock::VirtualTime;
use crate::rng::{Draws, RandomStream};

/// The telegrams of a meter, numbered from 0, at whole milliseconds. In each block of telegrams one is
/// skipped, and never two in succession.
#[derive(Debug, Clone)]
pub struct Cadence {
    seed: u64,
    stream: RandomStream,
    /// Mean time of telegram 0, in ms.
    phase: u64,
    /// Mean time between two telegrams, in ms.
    period: u64,
    /// Largest deviation from the mean time, in ms; less than half a period.
    jitter: u64,
    /// Telegrams of a block, of which one is skipped.
    block: u64,
}

const NANOS_PER_MS: u64 = 1_000_000;

impl Cadence {
    /// Returns the cadence of a kind of meter. `stream` differs between meters.
    #[must_use]
    pub fn new(profile: &MeterProfile, seed: u64, stream: RandomStream) -> Self {
        let stream = stream.child(RandomStream::named("cadence").number());
        let period = profile.period_ms.max(1);
        let phase = profile.jitter_ms + Draws::new(seed, stream.child(0), 0).bits() % period;
        let block = profile.skip_one_of.max(3);
        Self { seed, stream, phase, period, jitter: profile.jitter_ms, block }
    }

    /// Returns the time of telegram `n`.
    #[must_use]
    pub fn time(&self, n: u64) -> VirtualTime {
        let spread = 2 * self.jitter + 1;
        let deviation = Draws::new(self.seed, self.stream.child(1), n).bits() % spread;
        let millis = n
            .saturating_mul(self.period)
            .saturating_add(self.phase - self.jitter)
            .saturating_add(deviation);
        VirtualTime::from_nanos(millis.saturating_mul(NANOS_PER_MS))
    }

    /// Returns the number of the first telegram at or after `at`. It may be one that is skipped.
    #[must_use]
    pub fn first_from(&self, at: VirtualTime) -> u64 {
        let millis = at.as_nanos().div_ceil(NANOS_PER_MS);
        // Telegram n is within its jitter around phase + n × period, and the jitter is less than half a
        // period, so that only three telegrams come into question.
        let mut n = (millis.saturating_sub(self.phase) / self.period).saturating_sub(1);
        while self.time(n) < at {
            n += 1;
        }
        n
    }

    /// Returns `true` if telegram `n` is skipped. The last telegram of a block is never skipped, so that
    /// two skipped telegrams are never adjacent.
    #[must_use]
    pub fn is_skipped(&self, n: u64) -> bool {
        n % self.block == self.skipped_in(n / self.block)
    }

    /// Returns the position of the skipped telegram in a block.
    fn skipped_in(&self, block: u64) -> u64 {
        Draws::new(self.seed, self.stream.child(2), block).bits() % (self.block - 1)
    }

    /// Returns the number of telegrams before `n` that are sent.
    #[must_use]
    pub fn sent_before(&self, n: u64) -> u64 {
        let (block, within) = (n / self.block, n % self.block);
        n - block - u64::from(self.skipped_in(block) < within)
    }

    /// Returns the last telegram before `n` that is sent. `None` if there is none.
    #[must_use]
    pub fn last_sent_before(&self, n: u64) -> Option<u64> {
        let last = n.checked_sub(1)?;
        if self.is_skipped(last) { last.checked_sub(1) } else { Some(last) }
    }

    /// Returns the first telegram from `n` on that is sent.
    #[must_use]
    pub fn first_sent_from(&self, n: u64) -> u64 {
        n + u64::from(self.is_skipped(n))
    }

    /// Returns the mean time between two telegrams.
    #[must_use]
    pub const fn period(&self) -> Duration {
        Duration::from_millis(self.period)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::meter::MeterKind;

    fn cadence(kind: MeterKind, seed: u64) -> Cadence {
        Cadence::new(kind.profile(), seed, RandomStream::named("A842E39F8124"))
    }

    #[test]
    fn the_intervals_are_those_seen_on_real_meters() {
        for (kind, low, high) in [
            (MeterKind::LandisGyr, 2700, 6800),
            (MeterKind::Ensor, 992, 1008),
            (MeterKind::Kamstrup, 4120, 4280),
        ] {
            let cadence = cadence(kind, 7);
            let mut sum = 0;
            for n in 0..10_000 {
                let interval = cadence.time(n + 1).since(cadence.time(n)).as_millis();
                assert!((low..=high).contains(&interval), "{kind}: {interval} ms");
                sum += interval;
            }
            let period = u128::from(kind.profile().period_ms);
            assert!((sum / 10_000).abs_diff(period) <= 2, "{kind}: {}", sum / 10_000);
        }
    }

    #[test]
    fn one_of_a_block_is_skipped_and_never_two_in_a_row() {
        let cadence = cadence(MeterKind::Kamstrup, 3);
        let skipped: Vec<u64> = (0..128 * 50).filter(|n| cadence.is_skipped(*n)).collect();
        assert_eq!(skipped.len(), 50);
        assert!(skipped.windows(2).all(|pair| pair[1] - pair[0] > 1));
    }

    proptest! {
        #[test]
        fn numbers_agree_with_counting_each_telegram(
            seed: u64,
            kind in prop::sample::select(MeterKind::ALL.to_vec()),
            at in 0..4_000_000_000_000_u64,
        ) {
            let cadence = cadence(kind, seed);
            let at = VirtualTime::from_nanos(at);
            let first = cadence.first_from(at);
            prop_assert!(cadence.time(first) >= at);
            prop_assert!(first == 0 || cadence.time(first - 1) < at);
            let sent: Vec<u64> = (0..first).filter(|n| !cadence.is_skipped(*n)).collect();
            prop_assert_eq!(cadence.sent_before(first), sent.len() as u64);
            prop_assert_eq!(cadence.last_sent_before(first), sent.last().copied());
            prop_assert!(!cadence.is_skipped(cadence.first_sent_from(first)));
        }
    }

    #[test]
    fn the_last_virtual_time_has_a_telegram() {
        let cadence = cadence(MeterKind::Ensor, 0);
        let last = cadence.first_from(VirtualTime::from_nanos(u64::MAX - 1));
        assert!(cadence.time(last) >= VirtualTime::from_nanos(u64::MAX - 1));
    }
}
