//! How long a fault holds something up.

use std::time::Duration;

use crate::rng::Draws;

/// The 95th percentile of the standard normal distribution.
const Z95: f64 = 1.644_853_626_951_472_2;

/// A delay, fixed or drawn anew for each request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Delay {
    /// Always the same.
    Fixed(Duration),
    /// Anything from the first to the second, alike.
    Uniform(Duration, Duration),
    /// Normal, cut off at zero.
    Normal {
        /// The middle.
        mean: Duration,
        /// The standard deviation.
        deviation: Duration,
    },
    /// Log-normal: many near the median, few far above it, as networks and slow devices are.
    Lognormal {
        /// Half of the delays are longer.
        median: Duration,
        /// One in twenty is longer; not below the median.
        p95: Duration,
    },
}

impl Delay {
    /// The longest delay a draw gives: a day, far beyond every timeout of the device.
    pub const LONGEST: Duration = Duration::from_hours(24);

    /// The delay of one request.
    #[must_use]
    pub fn draw(&self, draws: &mut Draws) -> Duration {
        let seconds = match *self {
            Self::Fixed(fixed) => return fixed.min(Self::LONGEST),
            Self::Uniform(low, high) => draws.uniform(low.as_secs_f64(), high.as_secs_f64()),
            Self::Normal { mean, deviation } => {
                mean.as_secs_f64() + deviation.as_secs_f64() * draws.normal()
            }
            Self::Lognormal { median, p95 } => {
                let sigma = libm::log(p95.as_secs_f64() / median.as_secs_f64()) / Z95;
                median.as_secs_f64() * libm::exp(sigma * draws.normal())
            }
        };
        // Also where the arithmetic gave no number, as for a median of zero.
        Duration::try_from_secs_f64(seconds.clamp(0.0, Self::LONGEST.as_secs_f64()))
            .unwrap_or(Duration::ZERO)
    }

    /// What makes this delay impossible, if anything.
    ///
    /// # Errors
    /// A message with the values, what was expected and why.
    pub fn check(&self) -> Result<(), String> {
        match *self {
            Self::Uniform(low, high) if low > high => Err(format!(
                "uniform from {low:?} to {high:?}: the first must not be above the second"
            )),
            Self::Lognormal { median, .. } if median.is_zero() => {
                Err("lognormal with median 0: expected a median above zero".to_owned())
            }
            Self::Lognormal { median, p95 } if p95 < median => {
                Err(format!("lognormal with p95 {p95:?} below its median {median:?}"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::RandomStream;

    fn drawn(delay: Delay) -> Vec<Duration> {
        let mut all: Vec<Duration> = (0..10_000)
            .map(|ordinal| delay.draw(&mut Draws::new(1, RandomStream::named("delay"), ordinal)))
            .collect();
        all.sort();
        all
    }

    fn near(actual: Duration, expected_ms: f64, tolerance: f64) {
        let actual_ms = actual.as_secs_f64() * 1000.0;
        assert!(
            (actual_ms / expected_ms - 1.0).abs() < tolerance,
            "{actual_ms} ms, expected {expected_ms}"
        );
    }

    #[test]
    fn lognormal_has_its_median_and_percentile() {
        let median = Duration::from_millis(800);
        let all = drawn(Delay::Lognormal { median, p95: Duration::from_secs(3) });
        near(all[5_000], 800.0, 0.05);
        near(all[9_500], 3000.0, 0.05);
    }

    #[test]
    fn uniform_stays_within_its_bounds() {
        let all = drawn(Delay::Uniform(Duration::from_millis(10), Duration::from_millis(20)));
        assert!(all[0] >= Duration::from_millis(10) && all[9_999] <= Duration::from_millis(20));
        near(all[5_000], 15.0, 0.03);
    }

    #[test]
    fn normal_is_cut_off_at_zero() {
        let all = drawn(Delay::Normal {
            mean: Duration::from_millis(10),
            deviation: Duration::from_millis(20),
        });
        assert_eq!(all[0], Duration::ZERO);
        near(all[5_000], 10.0, 0.1);
    }
}
