//! Computed registers, whose values depend on the clock.
//!
//! Each value is a pure function of virtual time: a read changes nothing, the clock may jump, and
//! two readers see the same value.

use std::f64::consts::TAU;
use std::time::Duration;

use super::Computed;
use super::codec::{Number, RegisterFormat};
use wwsim_time::clock::VirtualTime;
use wwsim_time::rng::{Draws, RandomStream};

/// The seed and stream of a register's draws.
#[derive(Debug, Clone, Copy)]
pub(super) struct Randomness {
    pub(super) seed: u64,
    pub(super) stream: RandomStream,
}

/// Returns the value at `now`. The register takes the nearest number that fits its type.
pub(super) fn value_at(
    computed: &Computed,
    format: RegisterFormat,
    now: VirtualTime,
    randomness: Randomness,
) -> Number {
    Number::Float(match computed {
        Computed::Ramp { from, to, over, repeat } => {
            let (elapsed, over) = (now.as_nanos(), nanos(*over));
            let elapsed = if *repeat { elapsed % over } else { elapsed.min(over) };
            from + (to - from) * fraction(elapsed, over)
        }
        Computed::Sine { mean, amplitude, period, phase } => {
            let period = nanos(*period);
            let into = now.as_nanos() % period + nanos(*phase) % period;
            mean + amplitude * libm::sin(TAU * fraction(into % period, period))
        }
        Computed::Counter { start, step, every } => {
            return count(*start, *step, now.as_nanos() / nanos(*every), format);
        }
        Computed::RandomWalk { start, step, every, within } => {
            let walked = walk(now.as_nanos() / nanos(*every), randomness);
            reflect(start + step * walked, *within.start(), *within.end())
        }
        Computed::Uptime => {
            if format.is_integer() {
                let seconds = now.since_start().as_secs();
                return Number::Integer(i64::try_from(seconds).unwrap_or(i64::MAX));
            }
            now.as_secs_f64()
        }
    })
}

/// Checks that a value is a function of time.
pub(super) fn check(computed: &Computed) -> Result<(), String> {
    let time = |what: &str, duration: &Duration| {
        if duration.is_zero() {
            Err(format!("{what} 0: expected a time above zero"))
        } else {
            Ok(())
        }
    };
    let finite = |what: &str, number: &f64| {
        if number.is_finite() {
            Ok(())
        } else {
            Err(format!("{what} {number}: expected a finite number"))
        }
    };
    match computed {
        Computed::Ramp { from, to, over, .. } => {
            time("a ramp over", over)?;
            finite("a ramp from", from)?;
            finite("a ramp to", to)
        }
        Computed::Sine { mean, amplitude, period, .. } => {
            time("a sine with period", period)?;
            finite("a sine with mean", mean)?;
            finite("a sine with amplitude", amplitude)
        }
        Computed::Counter { start, step, every } => {
            time("a counter every", every)?;
            finite("a counter with start", start)?;
            finite("a counter with step", step)
        }
        Computed::RandomWalk { start, step, every, within } => {
            time("a random walk every", every)?;
            finite("a random walk with step", step)?;
            let (low, high) = (within.start(), within.end());
            finite("a random walk within", low)?;
            finite("a random walk within", high)?;
            if *step < 0.0 {
                return Err(format!("a random walk with step {step}: expected 0 or more"));
            }
            if low >= high {
                return Err(format!(
                    "a random walk within {low}..{high}: expected the first below the second"
                ));
            }
            if !within.contains(start) {
                return Err(format!(
                    "a random walk from {start}: expected a start within {low}..{high}"
                ));
            }
            Ok(())
        }
        Computed::Uptime => Ok(()),
    }
}

/// Returns a duration in nanoseconds; at least one, so that no division is by zero.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).max(1)
}

#[expect(clippy::cast_precision_loss, reason = "the nearest number is what is meant")]
fn fraction(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

/// Returns a counter after `ticks` steps. It is exact in the integer types and wraps around in
/// them.
fn count(start: f64, step: f64, ticks: u64, format: RegisterFormat) -> Number {
    #[expect(clippy::cast_possible_truncation, reason = "casts from floats saturate")]
    let whole = |number: f64| (number.fract() == 0.0).then_some(number as i128);
    #[expect(clippy::cast_precision_loss, reason = "the nearest number is what is meant")]
    let real = start + step * ticks as f64;
    if !format.is_integer() {
        return Number::Float(real);
    }
    let exact = match (whole(start), whole(step)) {
        (Some(start), Some(step)) => start.wrapping_add(step.wrapping_mul(i128::from(ticks))),
        #[expect(clippy::cast_possible_truncation, reason = "casts from floats saturate")]
        _ => libm::floor(real) as i128,
    };
    format.wrap(exact)
}

/// Returns a free random walk after `steps` standard normal steps: W(n), with W(0) = 0.
///
/// Each integer has one draw. The draw of a power of two is the walk's increment since the previous
/// power. The draw of any other integer displaces the middle of the dyadic interval that it halves
/// (Lévy's construction: the middle is the mean of the ends, plus a normal with a quarter of the
/// length as variance). One value takes at most one draw for each bit of `steps` on the way up, and
/// one on the way down.
fn walk(steps: u64, randomness: Randomness) -> f64 {
    let Some(octave) = steps.checked_ilog2() else { return 0.0 };
    let normal = |point: u64| Draws::new(randomness.seed, randomness.stream, point).normal();
    let root = |variance: u64| libm::sqrt(fraction(variance, 1));
    let mut low = normal(1);
    for power in 0..octave {
        low += root(1 << power) * normal(1 << (power + 1));
    }
    let mut left = 1_u64 << octave;
    if steps == left {
        return low;
    }
    // The interval is left ..= left + length. In the last octave of u64 its end is 2⁶⁴, which wraps
    // to 0; no other point uses the draw of 0.
    let mut length = left;
    let mut high = low + root(length) * normal(left.wrapping_add(length));
    while length > 1 {
        length /= 2;
        let spread = root(length) / std::f64::consts::SQRT_2;
        let middle = low.midpoint(high) + spread * normal(left + length);
        if steps >= left + length {
            (left, low) = (left + length, middle);
        } else {
            high = middle;
        }
        if steps == left {
            break;
        }
    }
    low
}

/// Folds `value` back at the bounds as often as necessary.
fn reflect(value: f64, low: f64, high: f64) -> f64 {
    let width = high - low;
    let folded = (value - low).rem_euclid(2.0 * width);
    if folded.is_nan() {
        // The bounds are so far apart that the width overflowed.
        return value.clamp(low, high);
    }
    (low + if folded > width { 2.0 * width - folded } else { folded }).clamp(low, high)
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "what is computed must be the same to the last bit")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bank::{ByteOrder, RegisterType, WordOrder};

    fn randomness() -> Randomness {
        Randomness { seed: 7, stream: RandomStream::named("tests") }
    }

    fn value(computed: &Computed, value_type: RegisterType, seconds: f64) -> f64 {
        let format =
            RegisterFormat { value_type, word_order: WordOrder::Msw, byte_order: ByteOrder::Big };
        let now = VirtualTime::ZERO.after(Duration::from_secs_f64(seconds));
        value_at(computed, format, now, randomness()).as_f64()
    }

    fn values<const N: usize>(computed: &Computed, seconds: [f64; N]) -> [f64; N] {
        seconds.map(|seconds| value(computed, RegisterType::Double, seconds))
    }

    #[test]
    fn a_ramp_ends_or_repeats() {
        let over = Duration::from_secs(10);
        let once = Computed::Ramp { from: 20.0, to: 0.0, over, repeat: false };
        assert_eq!(values(&once, [0.0, 2.5, 10.0, 12.5]), [20.0, 15.0, 0.0, 0.0]);
        let again = Computed::Ramp { from: 20.0, to: 0.0, over, repeat: true };
        assert_eq!(values(&again, [0.0, 2.5, 10.0, 12.5]), [20.0, 15.0, 20.0, 15.0]);
    }

    #[test]
    fn a_sine_has_its_period_and_phase() {
        let sine = Computed::Sine {
            mean: 230.0,
            amplitude: 10.0,
            period: Duration::from_mins(1),
            phase: Duration::from_secs(75),
        };
        for (seconds, expected) in [(0.0, 240.0), (15.0, 230.0), (30.0, 220.0), (60.0, 240.0)] {
            let actual = value(&sine, RegisterType::Double, seconds);
            assert!((actual - expected).abs() < 1e-9, "{seconds} s: {actual}");
        }
    }

    #[test]
    fn a_counter_steps_and_wraps_like_its_type() {
        let every = Duration::from_secs(2);
        let counter = Computed::Counter { start: 65_534.0, step: 1.0, every };
        let seconds = [0.0, 1.9, 2.0, 3.9, 4.0, 6.0];
        assert_eq!(
            seconds.map(|s| value(&counter, RegisterType::Ushort, s)),
            [65_534.0, 65_534.0, 65_535.0, 65_535.0, 0.0, 1.0]
        );
        assert_eq!(value(&counter, RegisterType::Float, 4.0), 65_536.0);
        let half = Computed::Counter { start: 0.0, step: -0.5, every };
        assert_eq!(value(&half, RegisterType::Double, 6.0), -1.5);
        assert_eq!(value(&half, RegisterType::Ushort, 6.0), 65_534.0);
        let huge = Computed::Counter { start: f64::MAX, step: f64::MAX, every };
        assert!(value(&huge, RegisterType::Short, 1e9).is_finite());
    }

    #[test]
    fn uptime_has_whole_seconds_in_integer_types() {
        assert_eq!(value(&Computed::Uptime, RegisterType::Uint, 12.75), 12.0);
        assert_eq!(value(&Computed::Uptime, RegisterType::Float, 12.75), 12.75);
    }

    /// A random walk is defined by its increments: normal, with the variance of the distance.
    #[test]
    fn the_walk_has_independent_normal_steps() {
        for distance in [1_u64, 7, 64] {
            let steps = 4000;
            let increments: Vec<f64> = (0..steps)
                .map(|n| walk((n + 1) * distance, randomness()) - walk(n * distance, randomness()))
                .collect();
            let count = fraction(steps, 1);
            let variance = increments.iter().map(|x| x * x).sum::<f64>() / count;
            let neighbours = increments.windows(2).map(|pair| pair[0] * pair[1]).sum::<f64>();
            let expected = fraction(distance, 1);
            assert!((variance / expected - 1.0).abs() < 0.1, "{distance}: variance {variance}");
            let correlation = neighbours / count / expected;
            assert!(correlation.abs() < 0.06, "{distance}: correlation {correlation}");
        }
    }

    #[test]
    fn the_walk_reaches_every_number_of_steps() {
        for steps in [0, 1, 2, 3, u64::MAX / 2, u64::MAX / 2 + 1, u64::MAX / 2 + 2, u64::MAX] {
            assert!(walk(steps, randomness()).is_finite(), "{steps}");
        }
        assert_eq!(walk(0, randomness()), 0.0);
    }

    /// A replay that one version wrote must run the same on the next version.
    #[test]
    fn the_random_walk_stays_the_same() {
        let walked = [1, 5, 1_000_000].map(|steps| walk(steps, randomness()).to_bits());
        assert_eq!(
            walked,
            [13_835_338_204_680_372_917, 4_601_256_218_588_626_528, 13_847_517_413_207_410_339]
        );
    }

    #[test]
    fn a_walk_between_bounds_as_far_apart_as_can_be_stays_a_number() {
        for value in [-1.0e300, 0.0, 1.7e308] {
            let folded = reflect(value, -1.7e308, 1.7e308);
            assert!((-1.7e308..=1.7e308).contains(&folded), "{value}: {folded}");
        }
    }

    proptest! {
        #[test]
        fn a_walk_stays_within_its_bounds(
            seconds in 0.0..1e7_f64, low in -50.0..0.0_f64, width in 0.1..50.0_f64
        ) {
            let within = low..=low + width;
            let start = low + width / 3.0;
            let every = Duration::from_millis(100);
            let walk = Computed::RandomWalk { start, step: 5.0, every, within: within.clone() };
            let value = value(&walk, RegisterType::Double, seconds);
            prop_assert!(within.contains(&value), "{value}");
        }

        #[test]
        fn reflection_folds_at_both_bounds(value in -100.0..100.0_f64) {
            let folded = reflect(value, 2.0, 5.0);
            prop_assert!((2.0..=5.0).contains(&folded));
            prop_assert!((reflect(4.0 - value, 2.0, 5.0) - folded).abs() < 1e-9, "mirror at 2");
            prop_assert!((reflect(10.0 - value, 2.0, 5.0) - folded).abs() < 1e-9, "mirror at 5");
        }
    }

    #[test]
    fn a_value_that_is_no_function_of_time_is_refused() {
        let second = Duration::from_secs(1);
        let zero = Duration::ZERO;
        let walk =
            |start, step, within| Computed::RandomWalk { start, step, every: second, within };
        let bad = [
            Computed::Ramp { from: 0.0, to: 1.0, over: zero, repeat: true },
            Computed::Ramp { from: 0.0, to: f64::NAN, over: second, repeat: true },
            Computed::Sine { mean: 0.0, amplitude: 1.0, period: zero, phase: zero },
            Computed::Counter { start: 0.0, step: 1.0, every: zero },
            Computed::RandomWalk { start: 0.0, step: 1.0, every: zero, within: 0.0..=1.0 },
            walk(0.0, -1.0, 0.0..=1.0),
            walk(0.0, 1.0, 1.0..=1.0),
            walk(2.0, 1.0, 0.0..=1.0),
            walk(f64::NAN, 1.0, 0.0..=1.0),
            walk(0.0, 1.0, 0.0..=f64::INFINITY),
        ];
        for computed in bad {
            assert!(check(&computed).is_err(), "{computed:?}");
        }
        assert_eq!(check(&walk(0.5, 0.0, 0.0..=1.0)), Ok(()));
    }
}
