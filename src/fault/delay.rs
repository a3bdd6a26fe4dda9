//! Delays: fixed or drawn from a distribution, and how they are written.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::limits;
use crate::notation::{Choice, DurationText};
use crate::problem::Problem;
use crate::rng::Draws;

/// The 95th percentile of the standard normal distribution.
const Z95: f64 = 1.644_853_626_951_472_2;

/// A duration by which a fault delays a request: fixed, or drawn anew for each request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Delay {
    /// The same for each request.
    Fixed(Duration),
    /// A uniform distribution from the first to the second.
    Uniform(Duration, Duration),
    /// A normal distribution, cut off at zero.
    Normal {
        /// The mean.
        mean: Duration,
        /// The standard deviation.
        deviation: Duration,
    },
    /// A log-normal distribution: many delays near the median and few far above it, as of networks
    /// and slow devices.
    Lognormal {
        /// The median.
        median: Duration,
        /// The 95th percentile, which is not below the median.
        p95: Duration,
    },
}

impl Delay {
    /// Draws the delay of one request.
    #[must_use]
    pub fn draw(&self, draws: &mut Draws) -> Duration {
        let seconds = match *self {
            Self::Fixed(fixed) => return fixed.min(limits::FAULT_DELAY),
            Self::Uniform(low, high) => draws.uniform(low.as_secs_f64(), high.as_secs_f64()),
            Self::Normal { mean, deviation } => {
                mean.as_secs_f64() + deviation.as_secs_f64() * draws.normal()
            }
            Self::Lognormal { median, p95 } => {
                let sigma = libm::log(p95.as_secs_f64() / median.as_secs_f64()) / Z95;
                median.as_secs_f64() * libm::exp(sigma * draws.normal())
            }
        };
        // The arithmetic yields no number for a median of zero.
        Duration::try_from_secs_f64(seconds.clamp(0.0, limits::FAULT_DELAY.as_secs_f64()))
            .unwrap_or(Duration::ZERO)
    }

    /// Checks that the distribution exists.
    ///
    /// # Errors
    /// The values, what was expected and why.
    pub fn check(&self) -> Result<(), Problem> {
        let message = match *self {
            Self::Uniform(low, high) if low > high => {
                format!("uniform from {low:?} to {high:?}: the first must not be above the second")
            }
            Self::Lognormal { median, .. } if median.is_zero() => {
                "lognormal with median 0: expected a median above zero".to_owned()
            }
            Self::Lognormal { median, p95 } if p95 < median => {
                format!("lognormal with p95 {p95:?} below its median {median:?}")
            }
            _ => return Ok(()),
        };
        Err(Problem::of_document(message))
    }
}

/// A delay: always the same, or drawn anew for each request.
pub(super) type DelayParameters = Choice<DurationText, Distribution>;

/// A delay's distribution; exactly one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Distribution {
    /// The same delay for each request.
    Fixed(DurationText),
    /// A uniform distribution between the two.
    Uniform([DurationText; 2]),
    /// A normal distribution, cut off at zero.
    Normal(Normal),
    /// A log-normal distribution: many delays near the median, few far above it.
    Lognormal(Lognormal),
}

/// A normal distribution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Normal {
    /// The mean.
    mean: DurationText,
    /// The standard deviation.
    deviation: DurationText,
}

/// A log-normal distribution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Lognormal {
    /// Half of the delays are longer.
    median: DurationText,
    /// One in twenty is longer.
    p95: DurationText,
}

impl TryFrom<DelayParameters> for Delay {
    type Error = Problem;

    fn try_from(parameters: DelayParameters) -> Result<Self, Problem> {
        let delay = match parameters {
            Choice::Word(fixed) | Choice::Map(Distribution::Fixed(fixed)) => Self::Fixed(fixed.0),
            Choice::Map(Distribution::Uniform([low, high])) => Self::Uniform(low.0, high.0),
            Choice::Map(Distribution::Normal(Normal { mean, deviation })) => {
                Self::Normal { mean: mean.0, deviation: deviation.0 }
            }
            Choice::Map(Distribution::Lognormal(Lognormal { median, p95 })) => {
                Self::Lognormal { median: median.0, p95: p95.0 }
            }
        };
        delay.check()?;
        match delay {
            Self::Fixed(Duration::ZERO) => Err(Problem::of_document("a delay of 0 is none")),
            Self::Fixed(fixed) if fixed > limits::FAULT_DELAY => Err(Problem::of_document(
                "longer than a day; for an answer that never comes use `hang` or `silence`",
            )),
            _ => Ok(delay),
        }
    }
}

impl From<Delay> for DelayParameters {
    fn from(delay: Delay) -> Self {
        match delay {
            Delay::Fixed(fixed) => Self::Word(DurationText(fixed)),
            Delay::Uniform(low, high) => {
                Self::Map(Distribution::Uniform([DurationText(low), DurationText(high)]))
            }
            Delay::Normal { mean, deviation } => Self::Map(Distribution::Normal(Normal {
                mean: DurationText(mean),
                deviation: DurationText(deviation),
            })),
            Delay::Lognormal { median, p95 } => Self::Map(Distribution::Lognormal(Lognormal {
                median: DurationText(median),
                p95: DurationText(p95),
            })),
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
