//! Decimal numbers as a meter sends them: a whole number of thousandths, hundredths or ones.
//!
//! Every surface prints the same reading from the same number, so that they agree to the last digit.
//! The device prints neither exponent nor trailing zeros (`docs/device/meter.md`): 0.015, 75.133, 0.

use std::fmt;

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
    /// Decimal places at the most: what a power of ten in an `i64` leaves room for.
    pub const PLACES: u8 = 9;

    /// `mantissa` × 10^−`places`; of more than [`Decimal::PLACES`] places the last ones are cut.
    #[must_use]
    pub const fn new(mantissa: i64, places: u8) -> Self {
        if places > Self::PLACES {
            // Beyond 18 places nothing is left of an i64.
            let Some(scale) = 10_i64.checked_pow((places - Self::PLACES) as u32) else {
                return Self::ZERO;
            };
            Self { mantissa: mantissa / scale, places: Self::PLACES }
        } else {
            Self { mantissa, places }
        }
    }

    /// The number nearest to `value` with so many places; what is no number or too large is cut to
    /// what fits.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "a cast from f64 saturates")]
    pub fn rounded(value: f64, places: u8) -> Self {
        let places = places.min(Self::PLACES);
        let scaled = libm::round(value * POWERS[usize::from(places)]);
        Self { mantissa: scaled as i64, places }
    }

    /// The whole number of 10^−`places`.
    #[must_use]
    pub const fn mantissa(self) -> i64 {
        self.mantissa
    }

    /// How many decimal places it was measured with; trailing zeros among them.
    #[must_use]
    pub const fn places(self) -> u8 {
        self.places
    }

    /// The nearest `f64`.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "meters stay far below 2^53")]
    pub fn to_f64(self) -> f64 {
        self.mantissa as f64 / POWERS[usize::from(self.places)]
    }

    /// The number without its sign.
    #[must_use]
    pub const fn abs(self) -> Self {
        Self { mantissa: self.mantissa.saturating_abs(), places: self.places }
    }

    /// The number with the other sign.
    #[must_use]
    pub const fn negated(self) -> Self {
        Self { mantissa: self.mantissa.saturating_neg(), places: self.places }
    }

    /// The product, rounded to so many places (half away from zero) and cut to what fits.
    #[must_use]
    pub fn times(self, factor: Self, places: u8) -> Self {
        let places = places.min(Self::PLACES);
        // Two `i64` and a power of ten up to 10^9 stay within an `i128`; more places than a `Decimal`
        // has do not exist.
        let product = i128::from(self.mantissa) * i128::from(factor.mantissa);
        let exact = self.places + factor.places;
        let scaled = if exact <= places {
            product.saturating_mul(10_i128.pow(u32::from(places - exact)))
        } else {
            let unit = 10_i128.pow(u32::from(exact - places));
            (product + product.signum() * (unit / 2)) / unit
        };
        let most = if scaled < 0 { i64::MIN } else { i64::MAX };
        Self { mantissa: i64::try_from(scaled).unwrap_or(most), places }
    }

    /// This less `other`, with the places of the finer one; cut to what fits.
    #[must_use]
    pub fn less(self, other: Self) -> Self {
        let places = self.places.max(other.places);
        let scaled = |number: Self| {
            i128::from(number.mantissa) * 10_i128.pow(u32::from(places - number.places))
        };
        let difference = scaled(self) - scaled(other);
        let most = if difference < 0 { i64::MIN } else { i64::MAX };
        Self { mantissa: i64::try_from(difference).unwrap_or(most), places }
    }

    /// The number × 10^`by`; what does not fit is cut.
    #[must_use]
    pub const fn shifted(self, by: i8) -> Self {
        let Self { mut mantissa, mut places } = self;
        if by < 0 {
            return Self::new(mantissa, places.saturating_add(by.unsigned_abs()));
        }
        let mut left = by;
        while left > 0 {
            if places > 0 {
                places -= 1;
            } else {
                mantissa = mantissa.saturating_mul(10);
            }
            left -= 1;
        }
        Self { mantissa, places }
    }

    /// The same value without trailing zeros.
    #[must_use]
    pub const fn shortest(self) -> Self {
        let Self { mut mantissa, mut places } = self;
        while places > 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            places -= 1;
        }
        Self { mantissa, places }
    }
}

/// 10^n.
const POWERS: [f64; Decimal::PLACES as usize + 1] =
    [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

/// By value: 0.50 is 0.5.
impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (self.shortest(), other.shortest());
        (a.mantissa, a.places) == (b.mantissa, b.places)
    }
}

impl Eq for Decimal {}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mantissa, places } = self.shortest();
        let scale = 10_u64.pow(u32::from(places));
        let (whole, rest) = (mantissa.unsigned_abs() / scale, mantissa.unsigned_abs() % scale);
        if mantissa < 0 {
            f.write_str("-")?;
        }
        write!(f, "{whole}")?;
        if places > 0 { write!(f, ".{rest:0width$}", width = usize::from(places)) } else { Ok(()) }
    }
}

impl Serialize for Decimal {
    /// A JSON number with exactly the digits of its text form.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { mantissa, places } = self.shortest();
        // The shortest decimal form of an f64 has an exponent below 1e-5 only.
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
    /// The decimal number nearest to a JSON number, which is the one that was written wherever that
    /// has at most 15 digits.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        f64::deserialize(deserializer).map(|value| Self::rounded(value, Self::PLACES).shortest())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_neither_exponent_nor_trailing_zero() {
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
    fn shifting_moves_the_point() {
        for (by, printed) in
            [(0, "12.34"), (1, "123.4"), (3, "12340"), (-2, "0.1234"), (-9, "0.000000012")]
        {
            assert_eq!(Decimal::new(1234, 2).shifted(by).to_string(), printed);
        }
        assert_eq!(Decimal::new(i64::MAX, 0).shifted(6).mantissa(), i64::MAX);
    }

    #[test]
    fn equality_is_by_value_and_rounding_by_the_nearest() {
        assert_eq!(Decimal::new(50, 2), Decimal::new(5, 1));
        assert_ne!(Decimal::new(50, 2), Decimal::new(5, 2));
        assert_eq!(Decimal::rounded(0.0149, 3), Decimal::new(15, 3));
        assert_eq!(Decimal::rounded(-2.5, 0), Decimal::new(-3, 0));
        assert_eq!(Decimal::rounded(f64::NAN, 3), Decimal::ZERO);
        assert_eq!(Decimal::new(123_456_789_012_345, 12), Decimal::new(123_456_789_012, 9));
    }

    #[test]
    fn products_and_differences_are_exact_up_to_their_last_place() {
        let product = |a, b, places| Decimal::times(a, b, places).to_string();
        let number = Decimal::new;
        assert_eq!(product(number(75_133, 3), number(40, 0), 3), "3005.32");
        assert_eq!(product(number(15, 3), number(1, 3), 3), "0");
        assert_eq!(product(number(1500, 3), number(1, 3), 3), "0.002");
        assert_eq!(product(number(-1500, 3), number(1, 3), 3), "-0.002");
        assert_eq!(product(number(1499, 3), number(1, 3), 3), "0.001");
        assert_eq!(product(number(26, 2), number(333, 2), 3), "0.866");
        assert_eq!(product(number(3, 0), number(3, 0), 9), "9");
        assert_eq!(product(number(i64::MAX, 0), number(i64::MIN, 0), 9), "-9223372036.854775808");
        assert_eq!(number(36, 3).less(number(1, 1)).to_string(), "-0.064");
        assert_eq!(number(5, 0).less(number(25, 2)).to_string(), "4.75");
        assert_eq!(number(i64::MIN, 0).less(number(1, 0)), number(i64::MIN, 0));
    }
}
