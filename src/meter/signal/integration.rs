//! Integration of power over time: the exact amount that a piece of signal adds to the energy
//! registers, without a loop over its seconds.

use super::noise::Noise;

/// Energy registers, in mW·s (mvar·s). Arrays of two hold tariff 1 and 2.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct EnergyCounters {
    pub import: [u64; 2],
    pub export: [u64; 2],
    /// Quadrants I to IV.
    pub quadrants: [[u64; 2]; 4],
}

/// A run of seconds over which active power is linear: `active` mW in the first second, and `slope` mW
/// more in each that follows. Noise is added on top.
#[derive(Debug, Clone, Copy)]
pub(super) struct LinearSegment {
    /// The first second, since 1970. Noise depends on it.
    pub start: i64,
    pub seconds: i64,
    pub active: i64,
    pub slope: i64,
    pub reactive: i64,
}

impl LinearSegment {
    /// Returns the segment without its first `count` seconds.
    fn skip(self, count: i64) -> Self {
        Self {
            start: self.start + count,
            seconds: self.seconds - count,
            active: self.active + self.slope * count,
            ..self
        }
    }

    /// Returns the first `count` seconds.
    fn take(self, count: i64) -> Self {
        Self { seconds: count, ..self }
    }

    /// Returns the power in the last second.
    fn last_power(&self) -> i64 {
        self.active + self.slope * (self.seconds - 1)
    }

    /// Returns the energy without noise, in mW·s.
    pub(super) fn energy(&self) -> i64 {
        self.active * self.seconds + self.slope * (self.seconds * (self.seconds - 1) / 2)
    }

    /// Splits the segment where its power crosses `limit`. Either part may be empty.
    pub(super) fn split_at_power(self, limit: i64) -> (Self, Self) {
        let count = if self.slope == 0 || self.seconds <= 0 {
            self.seconds.max(0)
        } else {
            // The first second on the other side of the limit: at or above it if power rises, below
            // it if power falls.
            let rises = self.slope > 0;
            let (distance, step) = if rises {
                (limit - self.active, self.slope)
            } else {
                (self.active - limit + 1, -self.slope)
            };
            if distance <= 0 { 0 } else { ((distance + step - 1) / step).min(self.seconds) }
        };
        (self.take(count), self.skip(count))
    }
}

impl EnergyCounters {
    /// Adds the energy of a segment to the registers of a tariff (0 or 1).
    pub(super) fn integrate(&mut self, segment: LinearSegment, tariff: usize, noise: &Noise) {
        if segment.seconds <= 0 {
            return;
        }
        let max_noise = noise.max_total();
        let (low, high) = ordered(segment.active, segment.last_power());
        if low >= max_noise {
            self.integrate_import(segment, tariff, noise);
        } else if high < -max_noise {
            self.integrate_export(segment, tariff, noise);
        } else {
            self.integrate_near_zero(segment, tariff, noise);
        }
    }

    /// Integrates a segment that comes so near to zero that noise may decide the direction of power.
    #[cold]
    fn integrate_near_zero(&mut self, segment: LinearSegment, tariff: usize, noise: &Noise) {
        let max_noise = noise.max_total();
        let rises = segment.slope > 0;
        let (first, second) = if rises { (-max_noise, max_noise) } else { (max_noise, -max_noise) };
        let (before, rest) = segment.split_at_power(first);
        let (near_zero, after) = rest.split_at_power(second);
        for part in [before, after] {
            if part.seconds > 0 && part.active >= max_noise && part.last_power() >= max_noise {
                self.integrate_import(part, tariff, noise);
            } else if part.seconds > 0 && part.active < -max_noise && part.last_power() < -max_noise
            {
                self.integrate_export(part, tariff, noise);
            } else {
                self.integrate_by_second(part, tariff, noise);
            }
        }
        self.integrate_by_second(near_zero, tariff, noise);
    }

    fn integrate_by_second(&mut self, segment: LinearSegment, tariff: usize, noise: &Noise) {
        for elapsed in 0..segment.seconds {
            let power =
                segment.active + segment.slope * elapsed + noise.total_at(segment.start + elapsed);
            self.add_constant(power, segment.reactive, 1, tariff);
        }
    }

    fn integrate_import(&mut self, segment: LinearSegment, tariff: usize, noise: &Noise) {
        let energy = segment.energy() + noise.total_over(segment.start, segment.seconds);
        self.import[tariff] += energy.unsigned_abs();
        self.add_reactive(true, segment.reactive, segment.seconds, tariff);
    }

    fn integrate_export(&mut self, segment: LinearSegment, tariff: usize, noise: &Noise) {
        let energy = segment.energy() + noise.total_over(segment.start, segment.seconds);
        self.export[tariff] += energy.unsigned_abs();
        self.add_reactive(false, segment.reactive, segment.seconds, tariff);
    }

    /// Adds the energy of `duration` units of time at constant power.
    pub(super) fn add_constant(
        &mut self,
        active: i64,
        reactive: i64,
        duration: i64,
        tariff: usize,
    ) {
        let energy = (active * duration).unsigned_abs();
        if active >= 0 {
            self.import[tariff] += energy;
        } else {
            self.export[tariff] += energy;
        }
        self.add_reactive(active >= 0, reactive, duration, tariff);
    }

    fn add_reactive(&mut self, imports: bool, reactive: i64, duration: i64, tariff: usize) {
        let quadrant = match (imports, reactive >= 0) {
            (true, true) => 0,
            (false, true) => 1,
            (false, false) => 2,
            (true, false) => 3,
        };
        self.quadrants[quadrant][tariff] += (reactive * duration).unsigned_abs();
    }

    /// Returns imported and exported energy over both tariffs.
    pub(super) fn totals(&self) -> [u64; 2] {
        [self.import[0] + self.import[1], self.export[0] + self.export[1]]
    }

    /// Applies `operation` to each register and the same register of `other`.
    pub(super) fn combine(&self, other: &Self, operation: impl Fn(u64, u64) -> u64) -> Self {
        let pair = |a: [u64; 2], b: [u64; 2]| [operation(a[0], b[0]), operation(a[1], b[1])];
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
        /// Integration in one step equals integration by second, for any slope and near zero.
        #[test]
        fn a_segment_integrates_like_its_seconds(
            start in -1_000_000_000_i64..4_000_000_000,
            seconds in 0_i64..400,
            active in -20_000_i64..20_000,
            slope in prop_oneof![Just(0_i64), -300_i64..300, -3_i64..=3],
            reactive in -5000_i64..5000,
            tariff in 0_usize..2,
        ) {
            let noise = Noise::new([2400, 1000, 600], 9, RandomStream::named("n"));
            let segment = LinearSegment { start, seconds, active, slope, reactive };
            let (mut fast, mut slow) = (EnergyCounters::default(), EnergyCounters::default());
            fast.integrate(segment, tariff, &noise);
            slow.integrate_by_second(segment, tariff, &noise);
            prop_assert_eq!(fast, slow);
        }

        #[test]
        fn a_segment_is_split_where_it_crosses_the_limit(
            seconds in 0_i64..400, active in -20_000_i64..20_000, slope in -300_i64..300,
            limit in -20_000_i64..20_000,
        ) {
            let segment = LinearSegment { start: 0, seconds, active, slope, reactive: 0 };
            let (before, after) = segment.split_at_power(limit);
            prop_assert_eq!(before.seconds + after.seconds, seconds);
            prop_assert_eq!(before.energy() + after.energy(), segment.energy());
            if slope != 0 && before.seconds > 0 && after.seconds > 0 {
                let above = |power: i64| power >= limit;
                prop_assert_eq!(above(before.active), above(before.last_power()));
                prop_assert_eq!(above(after.active), above(after.last_power()));
                prop_assert_ne!(above(before.last_power()), above(after.active));
            }
        }
    }
}
