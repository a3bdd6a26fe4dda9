//! Decimal numbers as a meter sends them: an integer mantissa and a number of decimal places.
//!
//! Every surface prints a reading from the same number, so that all of them agree to the last
//! digit. The device prints neither exponents nor trailing zeros (`docs/device/meter.md`): 0.015,
//! 75.133, 0.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A decimal number: `mantissa` × 10^−`places`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Decimal {
    mantissa: i64,
    places: u8,
}

impl Decimal {
    /// 0.
    pub const ZERO: Self = Self { mantissa: 0, places: 0 };
    /// 1.
    pub const ONE: Self = Self { mantissa: 1, places: 0 };
    /// The maximum number of decimal places. A power of ten with this exponent leaves room for
    /// digits in an `i64`.
    pub const MAX_PLACES: u8 = 9;

    /// Creates `mantissa` × 10^−`places`. Digits beyond [`Decimal::MAX_PLACES`] are cut off.
    #[must_use]
    pub const fn new(mantissa: i64, places: u8) -> Self {
        if places > Self::MAX_PLACES {
            // Nothing is left of an `i64` beyond 18 places.
            let Some(scale) = 10_i64.checked_pow((places - Self::MAX_PLACES) as u32) else {
                return Self::ZERO;
            };
            Self { mantissa: mantissa / scale, places: Self::MAX_PLACES }
        } else {
            Self { mantissa, places }
        }
    }

    /// Returns a duration in seconds with three decimal places; the rest is cut off. A duration out of range
    /// becomes the longest one.
    #[must_use]
    pub(crate) fn seconds(duration: Duration) -> Self {
        Self::new(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX), 3)
    }

    /// Returns the number with `places` decimal places that is nearest to `value`. NaN becomes 0,
    /// and a value out of range becomes the nearest representable number.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "a cast from f64 saturates")]
    pub fn from_f64(value: f64, places: u8) -> Self {
        let places = places.min(Self::MAX_PLACES);
        let scaled = libm::round(value * POWERS[usize::from(places)]);
        Self { mantissa: scaled as i64, places }
    }

    /// Returns the mantissa: the value in units of 10^−`places`.
    #[must_use]
    pub const fn mantissa(self) -> i64 {
        self.mantissa
    }

    /// Returns the number of decimal places of the measurement, including trailing zeros.
    #[must_use]
    pub const fn places(self) -> u8 {
        self.places
    }

    /// Returns the nearest `f64`.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "meters stay far below 2^53")]
    pub fn to_f64(self) -> f64 {
        self.mantissa as f64 / POWERS[usize::from(self.places)]
    }

    /// Returns the absolute value.
    #[must_use]
    pub const fn abs(self) -> Self {
        Self { mantissa: self.mantissa.saturating_abs(), places: self.places }
    }

    /// Returns the number with the opposite sign.
    #[must_use]
    pub const fn negate(self) -> Self {
        Self { mantissa: self.mantissa.saturating_neg(), places: self.places }
    }

    /// Returns the product, rounded to `places` decimal places (half away from zero). A result out
    /// of range becomes the nearest representable number.
    #[must_use]
    pub fn multiply(self, factor: Self, places: u8) -> Self {
        let places = places.min(Self::MAX_PLACES);
        // Two `i64` and a power of ten up to 10^9 stay within an `i128`, because a `Decimal` has at
        // most 9 places.
        let product = i128::from(self.mantissa) * i128::from(factor.mantissa);
        let exact = self.places + factor.places;
        let scaled = if exact <= places {
            product.saturating_mul(10_i128.pow(u32::from(places - exact)))
        } else {
            let unit = 10_i128.pow(u32::from(exact - places));
            (product + product.signum() * (unit / 2)) / unit
        };
        let limit = if scaled < 0 { i64::MIN } else { i64::MAX };
        Self { mantissa: i64::try_from(scaled).unwrap_or(limit), places }
    }

    /// Returns `self` − `other` with the larger number of places. A result out of range becomes the
    /// nearest representable number.
    #[must_use]
    pub fn subtract(self, other: Self) -> Self {
        let places = self.places.max(other.places);
        let scaled = |number: Self| {
            i128::from(number.mantissa) * 10_i128.pow(u32::from(places - number.places))
        };
        let difference = scaled(self) - scaled(other);
        let limit = if difference < 0 { i64::MIN } else { i64::MAX };
        Self { mantissa: i64::try_from(difference).unwrap_or(limit), places }
    }

    /// Returns the number × 10^`exponent`. A result out of range becomes the nearest representable
    /// number.
    #[must_use]
    pub const fn shift(self, exponent: i8) -> Self {
        let Self { mut mantissa, mut places } = self;
        if exponent < 0 {
            return Self::new(mantissa, places.saturating_add(exponent.unsigned_abs()));
        }
        let mut remaining = exponent;
        while remaining > 0 {
            if places > 0 {
                places -= 1;
            } else {
                mantissa = mantissa.saturating_mul(10);
            }
            remaining -= 1;
        }
        Self { mantissa, places }
    }

    /// Returns the same value without trailing zeros.
    #[must_use]
    pub const fn normalize(self) -> Self {
        let Self { mut mantissa, mut places } = self;
        while places > 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            places -= 1;
        }
        Self { mantissa, places }
    }
}

/// 10^n.
const POWERS: [f64; Decimal::MAX_PLACES as usize + 1] =
    [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

/// Compares by value: 0.50 equals 0.5.
impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (self.normalize(), other.normalize());
        (a.mantissa, a.places) == (b.mantissa, b.places)
    }
}

impl Eq for Decimal {}

impl Decimal {
    /// Calls `write` with the text form, piece by piece.
    fn write_pieces<E>(self, mut write: impl FnMut(&str) -> Result<(), E>) -> Result<(), E> {
        let Self { mantissa, places } = self.normalize();
        let mut digits = itoa::Buffer::new();
        if places == 0 {
            return write(digits.format(mantissa));
        }
        let scale = 10_u64.pow(u32::from(places));
        let (whole, rest) = (mantissa.unsigned_abs() / scale, mantissa.unsigned_abs() % scale);
        if mantissa < 0 {
            write("-")?;
        }
        write(digits.format(whole))?;
        write(".")?;
        // The scale adds a leading 1, which keeps the zeros after it.
        write(&digits.format(scale + rest)[1..])
    }

    /// Appends the text form, as `Display` does, without the costs of a formatter.
    pub(crate) fn append_to(self, out: &mut String) {
        let Ok(()) = self.write_pieces(|piece| {
            out.push_str(piece);
            Ok::<(), std::convert::Infallible>(())
        });
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_pieces(|piece| f.write_str(piece))
    }
}

impl Serialize for Decimal {
    /// Writes a JSON number with exactly the digits of the text form.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { mantissa, places } = self.normalize();
        // The shortest decimal form of an `f64` has an exponent only below 1e-5.
        if places == 0 {
            serializer.serialize_i64(mantissa)
        } else if places <= 4 && mantissa.unsigned_abs() < 1 << 53 {
            serializer.serialize_f64(self.to_f64())
        } else {
            let number = serde_json::value::RawValue::from_string(self.to_string());
            number.map_err(serde::ser::Error::custom)?.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Decimal {
    /// Reads the decimal number nearest to a JSON number. It is the number that was written if that
    /// has at most 15 digits.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        f64::deserialize(deserializer)
            .map(|value| Self::from_f64(value, Self::MAX_PLACES).normalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_exponent_and_no_trailing_zero_is_printed() {
        for (mantissa, places, printed) in [
            (0, 3, "0"),
            (15, 3, "0.015"),
            (75_133, 3, "75.133"),
            (190_010, 3, "190.01"),
            (-1500, 3, "-1.5"),
            (234, 0, "234"),
            (1, 6, "0.000001"),
            (-5, 9, "-0.000000005"),
            (i64::MIN, 0, "-9223372036854775808"),
        ] {
            let number = Decimal::new(mantissa, places);
            assert_eq!(number.to_string(), printed);
            assert_eq!(serde_json::to_string(&number).unwrap(), printed);
            if mantissa != i64::MIN {
                assert_eq!(serde_json::from_str::<Decimal>(printed).unwrap(), number);
            }
        }
    }

    #[test]
    fn shift_moves_the_decimal_point() {
        for (exponent, printed) in
            [(0, "12.34"), (1, "123.4"), (3, "12340"), (-2, "0.1234"), (-9, "0.000000012")]
        {
            assert_eq!(Decimal::new(1234, 2).shift(exponent).to_string(), printed);
        }
        assert_eq!(Decimal::new(i64::MAX, 0).shift(6).mantissa(), i64::MAX);
    }

    #[test]
    fn numbers_compare_by_value_and_round_to_nearest() {
        assert_eq!(Decimal::new(50, 2), Decimal::new(5, 1));
        assert_ne!(Decimal::new(50, 2), Decimal::new(5, 2));
        assert_eq!(Decimal::from_f64(0.0149, 3), Decimal::new(15, 3));
        assert_eq!(Decimal::from_f64(-2.5, 0), Decimal::new(-3, 0));
        assert_eq!(Decimal::from_f64(f64::NAN, 3), Decimal::ZERO);
        assert_eq!(Decimal::new(123_456_789_012_345, 12), Decimal::new(123_456_789_012, 9));
    }

    #[test]
    fn products_and_differences_are_exact_to_the_last_place() {
        let product = |a, b, places| Decimal::multiply(a, b, places).to_string();
        let number = Decimal::new;
        assert_eq!(product(number(75_133, 3), number(40, 0), 3), "3005.32");
        assert_eq!(product(number(15, 3), number(1, 3), 3), "0");
        assert_eq!(product(number(1500, 3), number(1, 3), 3), "0.002");
        assert_eq!(product(number(-1500, 3), number(1, 3), 3), "-0.002");
        assert_eq!(product(number(1499, 3), number(1, 3), 3), "0.001");
        assert_eq!(product(number(26, 2), number(333, 2), 3), "0.866");
        assert_eq!(product(number(3, 0), number(3, 0), 9), "9");
        assert_eq!(product(number(i64::MAX, 0), number(i64::MIN, 0), 9), "-9223372036.854775808");
        assert_eq!(number(36, 3).subtract(number(1, 1)).to_string(), "-0.064");
        assert_eq!(number(5, 0).subtract(number(25, 2)).to_string(), "4.75");
        assert_eq!(number(i64::MIN, 0).subtract(number(1, 0)), number(i64::MIN, 0));
    }
}
