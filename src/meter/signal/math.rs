//! Conversions between whole numbers and floating point that the models share.

/// Hours of a mean Gregorian year.
pub(super) const HOURS_PER_YEAR: f64 = 8765.82;

/// Returns the whole seconds of a time, rounded down. All times here are far below 2⁵³ s, so that no
/// second is lost.
#[expect(clippy::cast_possible_truncation, reason = "a cast from f64 saturates")]
pub(super) fn floor_seconds(seconds: f64) -> i64 {
    libm::floor(seconds) as i64
}

/// Returns the nearest whole number.
#[expect(clippy::cast_possible_truncation, reason = "a cast from f64 saturates")]
pub(super) fn round(value: f64) -> i64 {
    libm::round(value) as i64
}

/// Returns a whole number as `f64`. Seconds since 1970 and numbers of days and cycles are far below
/// 2⁵³, so that this is exact.
#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
pub(super) fn to_f64(whole: i64) -> f64 {
    whole as f64
}

/// Returns a number that may be negative as an ordinal of [`crate::rng::Draws`].
pub(super) fn ordinal(number: i64) -> u64 {
    number.cast_unsigned()
}
