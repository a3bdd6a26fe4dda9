//! A share of the devices: `10%`.

use std::fmt;
use std::str::FromStr;

use super::scalar::{ScalarError, scalar, scalar_error};
use super::text::shortened;
use crate::rng::{Draws, RandomStream};

/// A share of the devices, above 0 % and at most 100 %, in steps of 0.0001 %.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share {
    /// Devices of a million.
    millionths: u32,
}

scalar!(
    Share,
    "Share",
    "A share of the devices, drawn by their ids: 10%, 0.5%.",
    {
        "type": "string",
        "pattern": r"^[0-9]+(\.[0-9]{1,4})?%$",
        "examples": ["10%", "0.5%"],
    }
);

impl Share {
    const ALL: u32 = 1_000_000;
    /// Decimal places of a percentage.
    const PLACES: usize = 4;

    /// Returns a share in percent. `None` unless it is above 0 and at most 100, or if it rounds to 0 in steps
    /// of 0.0001 %.
    #[must_use]
    pub fn percent(percent: f64) -> Option<Self> {
        let millionths = (percent * 10_000.0).round();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range")]
        (1.0..=f64::from(Self::ALL))
            .contains(&millionths)
            .then_some(Self { millionths: millionths as u32 })
    }

    /// Returns true if a device belongs to the share that `stream` draws in a house with this seed. `device` is a
    /// number that stands for its id. The answer depends on these three alone, so that it is the same in each run and
    /// on each shard.
    #[must_use]
    pub fn includes(self, seed: u64, stream: RandomStream, device: u64) -> bool {
        let mut draws = Draws::new(seed, stream, device);
        draws.unit() * f64::from(Self::ALL) < f64::from(self.millionths)
    }
}

impl FromStr for Share {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        let excerpt = shortened(text);
        let invalid = || {
            scalar_error!(
                "`{excerpt}` is no share: expected a percentage above 0 and up to 100, as 10%"
            )
        };
        let number = text.strip_suffix('%').ok_or_else(invalid)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let digits =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || fraction.len() > Self::PLACES {
            return Err(invalid());
        }
        let percent = number.parse::<f64>().map_err(|_| invalid())?;
        Self::percent(percent).ok_or_else(invalid)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", f64::from(self.millionths) / 10_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_percentages() {
        for text in ["10%", "0.5%", "100%", "0.0001%", "33.3333%"] {
            assert_eq!(text.parse::<Share>().unwrap().to_string(), text);
        }
        for wrong in ["", "%", "10", "0%", "100.1%", "-1%", "1e1%", "0.00001%", ".5%", "5.%", " 5%"]
        {
            assert!(wrong.parse::<Share>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_share_is_drawn_by_id_and_holds() {
        let ids: Vec<u64> = (0xA842_E39F_8124..).take(10_000).collect();
        let tenth: Share = "10%".parse().unwrap();
        let drawn = |seed, name: &str| -> Vec<&u64> {
            let stream = RandomStream::named(name);
            ids.iter().filter(|id| tenth.includes(seed, stream, **id)).collect()
        };
        let slow = drawn(7, "slow");
        assert!((900..1100).contains(&slow.len()), "{}", slow.len());
        assert_eq!(slow, drawn(7, "slow"));
        assert_ne!(slow, drawn(8, "slow"));
        assert_ne!(slow, drawn(7, "silent"));
        let all: Share = "100%".parse().unwrap();
        assert!(ids.iter().all(|id| all.includes(7, RandomStream::named("slow"), *id)));
    }
}
