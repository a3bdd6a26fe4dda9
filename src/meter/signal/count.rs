//! Counting: what a stretch of seconds adds to the registers, exactly, without going through it
//! second by second.

use super::noise::Noise;

/// What registers count, in mW·s (mvar·s). Arrays of two are of tariff 1 and 2.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct EnergyCounters {
    pub import: [u64; 2],
    pub export: [u64; 2],
    /// Quadrants I to IV.
    pub quadrants: [[u64; 2]; 4],
}

/// A stretch of seconds in which power goes straight: `active` mW in its first second and `slope` mW
/// more in each that follows, the noise on top.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stretch {
    /// Its first second, since 1970: what the noise goes by.
    pub second: i64,
    pub seconds: i64,
    pub active: i64,
    pub slope: i64,
    pub reactive: i64,
}

impl Stretch {
    /// Its last `seconds - first` seconds.
    fn from(self, first: i64) -> Self {
        Self {
            second: self.second + first,
            seconds: self.seconds - first,
            active: self.active + self.slope * first,
            ..self
        }
    }

    /// Its first `seconds` seconds.
    fn up_to(self, seconds: i64) -> Self {
        Self { seconds, ..self }
    }

    /// Power in its last second.
    fn last(&self) -> i64 {
        self.active + self.slope * (self.seconds - 1)
    }

    /// The sum of its straight line, in mW·s.
    pub(super) fn sum(&self) -> i64 {
        self.active * self.seconds + self.slope * (self.seconds * (self.seconds - 1) / 2)
    }

    /// Splits it where its line passes `limit`: what comes before, and what from there on. One of
    /// the two may be empty.
    pub(super) fn split(self, limit: i64) -> (Self, Self) {
        let at = if self.slope == 0 || self.seconds <= 0 {
            self.seconds.max(0)
        } else {
            // The first second on the other side of the limit: at or above it when the line climbs,
            // below it when it falls.
            let climbs = self.slope > 0;
            let (way, step) = if climbs {
                (limit - self.active, self.slope)
            } else {
                (self.active - limit + 1, -self.slope)
            };
            if way <= 0 { 0 } else { ((way + step - 1) / step).min(self.seconds) }
        };
        (self.up_to(at), self.from(at))
    }
}

impl EnergyCounters {
    /// Counts a stretch to a tariff (0 or 1).
    pub(super) fn count(&mut self, stretch: Stretch, tariff: usize, noise: &Noise) {
        if stretch.seconds <= 0 {
            return;
        }
        let margin = noise.margin();
        let (low, high) = ordered(stretch.active, stretch.last());
        if low >= margin {
            self.import_all(stretch, tariff, noise);
        } else if high < -margin {
            self.export_all(stretch, tariff, noise);
        } else {
            self.count_near_zero(stretch, tariff, noise);
        }
    }

    /// A stretch that comes so near to zero that the noise may decide which way power flows.
    #[cold]
    fn count_near_zero(&mut self, stretch: Stretch, tariff: usize, noise: &Noise) {
        let margin = noise.margin();
        let climbs = stretch.slope > 0;
        let (first, second) = if climbs { (-margin, margin) } else { (margin, -margin) };
        let (before, rest) = stretch.split(first);
        let (near, after) = rest.split(second);
        for clear in [before, after] {
            if clear.seconds > 0 && clear.active >= margin && clear.last() >= margin {
                self.import_all(clear, tariff, noise);
            } else if clear.seconds > 0 && clear.active < -margin && clear.last() < -margin {
                self.export_all(clear, tariff, noise);
            } else {
                self.second_by_second(clear, tariff, noise);
            }
        }
        self.second_by_second(near, tariff, noise);
    }

    fn second_by_second(&mut self, stretch: Stretch, tariff: usize, noise: &Noise) {
        for passed in 0..stretch.seconds {
            let second = stretch.second + passed;
            let power = stretch.active + stretch.slope * passed + noise.total(second);
            self.add(power, stretch.reactive, 1, tariff);
        }
    }

    fn import_all(&mut self, stretch: Stretch, tariff: usize, noise: &Noise) {
        let sum = stretch.sum() + noise.sum(stretch.second, stretch.seconds);
        self.import[tariff] += sum.unsigned_abs();
        self.add_reactive(true, stretch.reactive, stretch.seconds, tariff);
    }

    fn export_all(&mut self, stretch: Stretch, tariff: usize, noise: &Noise) {
        let sum = stretch.sum() + noise.sum(stretch.second, stretch.seconds);
        self.export[tariff] += sum.unsigned_abs();
        self.add_reactive(false, stretch.reactive, stretch.seconds, tariff);
    }

    /// Counts so many units of time at one power.
    pub(super) fn add(&mut self, active: i64, reactive: i64, times: i64, tariff: usize) {
        let amount = (active * times).unsigned_abs();
        if active >= 0 {
            self.import[tariff] += amount;
        } else {
            self.export[tariff] += amount;
        }
        self.add_reactive(active >= 0, reactive, times, tariff);
    }

    fn add_reactive(&mut self, imports: bool, reactive: i64, times: i64, tariff: usize) {
        let quadrant = match (imports, reactive >= 0) {
            (true, true) => 0,
            (false, true) => 1,
            (false, false) => 2,
            (true, false) => 3,
        };
        self.quadrants[quadrant][tariff] += (reactive * times).unsigned_abs();
    }

    /// Imported and exported energy over both tariffs.
    pub(super) fn totals(&self) -> [u64; 2] {
        [self.import[0] + self.import[1], self.export[0] + self.export[1]]
    }

    /// Every register, combined with the same one of another.
    pub(super) fn zip(&self, other: &Self, with: impl Fn(u64, u64) -> u64) -> Self {
        let pair = |a: [u64; 2], b: [u64; 2]| [with(a[0], b[0]), with(a[1], b[1])];
        Self {
            import: pair(self.import, other.import),
            export: pair(self.export, other.export),
            quadrants: std::array::from_fn(|i| pair(self.quadrants[i], other.quadrants[i])),
        }
    }
}

fn ordered(a: i64, b: i64) -> (i64, i64) {
    if a <= b { (a, b) } else { (b, a) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rng::RandomStream;

    proptest! {
        /// However steep, however near to zero: the same as second by second.
        #[test]
        fn a_stretch_counts_what_its_seconds_count(
            second in -1_000_000_000_i64..4_000_000_000,
            seconds in 0_i64..400,
            active in -20_000_i64..20_000,
            slope in prop_oneof![Just(0_i64), -300_i64..300, -3_i64..=3],
            reactive in -5000_i64..5000,
            tariff in 0_usize..2,
        ) {
            let noise = Noise::new([2400, 1000, 600], 9, RandomStream::named("n"));
            let stretch = Stretch { second, seconds, active, slope, reactive };
            let (mut fast, mut slow) = (EnergyCounters::default(), EnergyCounters::default());
            fast.count(stretch, tariff, &noise);
            slow.second_by_second(stretch, tariff, &noise);
            prop_assert_eq!(fast, slow);
        }

        #[test]
        fn a_split_parts_at_the_limit(
            seconds in 0_i64..400, active in -20_000_i64..20_000, slope in -300_i64..300,
            limit in -20_000_i64..20_000,
        ) {
            let stretch = Stretch { second: 0, seconds, active, slope, reactive: 0 };
            let (before, after) = stretch.split(limit);
            prop_assert_eq!(before.seconds + after.seconds, seconds);
            prop_assert_eq!(before.sum() + after.sum(), stretch.sum());
            if slope != 0 && before.seconds > 0 && after.seconds > 0 {
                let above = |power: i64| power >= limit;
                prop_assert_eq!(above(before.active), above(before.last()));
                prop_assert_eq!(above(after.active), above(after.last()));
                prop_assert_ne!(above(before.last()), above(after.active));
            }
        }
    }
}
