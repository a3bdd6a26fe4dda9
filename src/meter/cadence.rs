//! When a meter sends: telegram n comes at a moment that follows from the seed and n alone.
//!
//! The meter does not know its device. Telegrams come from before the first boot to the end of time;
//! which of them become readings is the business of [`super::ReceptionCursor`].

use std::time::Duration;

use super::KindFacts;
use crate::clock::VirtualTime;
use crate::rng::{Draws, RandomStream};

/// The telegrams of a meter, numbered from 0, at whole milliseconds. One of so many in a row is
/// skipped, never two one after another.
#[derive(Debug, Clone)]
pub struct Cadence {
    seed: u64,
    stream: RandomStream,
    /// All in ms.
    phase: u64,
    period: u64,
    jitter: u64,
    block: u64,
}

const NANOS: u64 = 1_000_000;

impl Cadence {
    /// The cadence of a kind; `stream` tells one meter from another.
    #[must_use]
    pub fn new(facts: &KindFacts, seed: u64, stream: RandomStream) -> Self {
        let stream = stream.child(RandomStream::named("cadence").number());
        let period = facts.period.max(1);
        let phase = facts.jitter + Draws::new(seed, stream.child(0), 0).bits() % period;
        Self { seed, stream, phase, period, jitter: facts.jitter, block: facts.skip_one_of.max(3) }
    }

    /// When telegram `n` comes.
    #[must_use]
    pub fn time(&self, n: u64) -> VirtualTime {
        let spread = 2 * self.jitter + 1;
        let strayed = Draws::new(self.seed, self.stream.child(1), n).bits() % spread;
        let millis = n
            .saturating_mul(self.period)
            .saturating_add(self.phase - self.jitter)
            .saturating_add(strayed);
        VirtualTime::from_nanos(millis.saturating_mul(NANOS))
    }

    /// The first telegram at or after `at`, skipped ones among them.
    #[must_use]
    pub fn first_from(&self, at: VirtualTime) -> u64 {
        let millis = at.as_nanos().div_ceil(NANOS);
        // Telegram n comes within its jitter around phase + n × period, and the jitter is less than
        // half a period: of three candidates the first that fits is the one.
        let mut n = (millis.saturating_sub(self.phase) / self.period).saturating_sub(1);
        while self.time(n) < at {
            n += 1;
        }
        n
    }

    /// Whether telegram `n` is skipped: one in each block of so many, not the last of it, so that
    /// never two follow each other.
    #[must_use]
    pub fn is_skipped(&self, n: u64) -> bool {
        n % self.block == self.skipped_in(n / self.block)
    }

    fn skipped_in(&self, block: u64) -> u64 {
        Draws::new(self.seed, self.stream.child(2), block).bits() % (self.block - 1)
    }

    /// How many of the telegrams before `n` come.
    #[must_use]
    pub fn come_before(&self, n: u64) -> u64 {
        let (block, within) = (n / self.block, n % self.block);
        n - block - u64::from(self.skipped_in(block) < within)
    }

    /// The last telegram before `n` that comes; none where there is none.
    #[must_use]
    pub fn last_before(&self, n: u64) -> Option<u64> {
        let last = n.checked_sub(1)?;
        if self.is_skipped(last) { last.checked_sub(1) } else { Some(last) }
    }

    /// The first telegram from `n` on that comes.
    #[must_use]
    pub fn next_from(&self, n: u64) -> u64 {
        n + u64::from(self.is_skipped(n))
    }

    /// The mean time between two telegrams.
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
        Cadence::new(kind.facts(), seed, RandomStream::named("A842E39F8124"))
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
            let period = u128::from(kind.facts().period);
            assert!((sum / 10_000).abs_diff(period) <= 2, "{kind}: {}", sum / 10_000);
        }
    }

    #[test]
    fn one_of_so_many_is_skipped_and_never_two_in_a_row() {
        let cadence = cadence(MeterKind::Kamstrup, 3);
        let skipped: Vec<u64> = (0..128 * 50).filter(|n| cadence.is_skipped(*n)).collect();
        assert_eq!(skipped.len(), 50);
        assert!(skipped.windows(2).all(|pair| pair[1] - pair[0] > 1));
    }

    proptest! {
        #[test]
        fn every_question_has_the_same_answer_as_counting(
            seed: u64,
            kind in prop::sample::select(MeterKind::ALL.to_vec()),
            at in 0..4_000_000_000_000_u64,
        ) {
            let cadence = cadence(kind, seed);
            let at = VirtualTime::from_nanos(at);
            let first = cadence.first_from(at);
            prop_assert!(cadence.time(first) >= at);
            prop_assert!(first == 0 || cadence.time(first - 1) < at);
            let come: Vec<u64> = (0..first).filter(|n| !cadence.is_skipped(*n)).collect();
            prop_assert_eq!(cadence.come_before(first), come.len() as u64);
            prop_assert_eq!(cadence.last_before(first), come.last().copied());
            prop_assert!(!cadence.is_skipped(cadence.next_from(first)));
        }
    }

    #[test]
    fn the_end_of_time_is_reached() {
        let cadence = cadence(MeterKind::Ensor, 0);
        let last = cadence.first_from(VirtualTime::from_nanos(u64::MAX - 1));
        assert!(cadence.time(last) >= VirtualTime::from_nanos(u64::MAX - 1));
    }
}
