//! Durations as text.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::scalar::{ScalarError, scalar, scalar_error};
use super::text::shortened;

/// A duration: `250ms`, `30s`, `5m`, `2h`, `30d`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DurationText(pub Duration);

scalar!(
    number DurationText,
    "Duration",
    "A time with its unit: 250ms, 1.5s, 30s, 5m, 2h, 30d. Only 0 needs no unit.",
    {
        "type": ["string", "integer"],
        "pattern": r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)$|^0$",
        "minimum": 0,
        "maximum": 0,
        "examples": ["250ms", "30s", "5m"],
    }
);

impl DurationText {
    const UNITS: [(&'static str, u128); 5] = [
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60 * 1_000_000_000),
        ("h", 3600 * 1_000_000_000),
        ("d", 86400 * 1_000_000_000),
    ];
    /// The longest duration. Virtual time ends after 584 years, so that several can be added.
    const LONGEST: Duration = Duration::from_hours(36_525 * 24);
}

impl FromStr for DurationText {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        let excerpt = shortened(text);
        let invalid = || {
            scalar_error!(
                "`{excerpt}` is no time: expected a number with ms, s, m, h or d, as 250ms or 30s"
            )
        };
        if text == "0" {
            return Ok(Self(Duration::ZERO));
        }
        let digits = text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
        let (number, unit) = text.split_at(digits);
        if !number.is_empty() && unit.is_empty() {
            return Err(scalar_error!(
                "`{excerpt}` has no unit: write {excerpt}s for seconds, {excerpt}ms for milliseconds"
            ));
        }
        let (_, nanos) = Self::UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(invalid)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        if whole.is_empty() || fraction.is_empty() || whole.len() > 18 || fraction.len() > 15 {
            return Err(invalid());
        }
        let whole: u128 = whole.parse().map_err(|_| invalid())?;
        let parts: u128 = fraction.parse().map_err(|_| invalid())?;
        let scale = 10_u128.pow(u32::try_from(fraction.len()).unwrap_or(0));
        if !(parts * nanos).is_multiple_of(scale) {
            return Err(scalar_error!("`{excerpt}` is finer than a nanosecond"));
        }
        let total = whole * nanos + parts * nanos / scale;
        u64::try_from(total)
            .ok()
            .map(Duration::from_nanos)
            .filter(|duration| *duration <= Self::LONGEST)
            .map(Self)
            .ok_or_else(|| scalar_error!("`{excerpt}` is longer than 100 years"))
    }
}

impl fmt::Display for DurationText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        if nanos == 0 {
            return f.write_str("0");
        }
        let whole = Self::UNITS.iter().rev().find(|(_, unit)| nanos.is_multiple_of(*unit));
        if let Some((name, unit)) = whole {
            return write!(f, "{}{name}", nanos / unit);
        }
        let fraction = format!("{:06}", nanos % 1_000_000);
        write!(f, "{}.{}ms", nanos / 1_000_000, fraction.trim_end_matches('0'))
    }
}

/// Whole seconds, as in HTTP's `Retry-After`: `30` or `30s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seconds(pub u32);

scalar!(number Seconds, "Seconds", "Whole seconds: 30, 30s or 5m.", {
    "type": ["integer", "string"],
    "minimum": 0,
    "maximum": u32::MAX,
    "pattern": "^[0-9]+(s|m|h|d)?$",
    "examples": [30, "30s"],
});

impl FromStr for Seconds {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        if let Ok(seconds) = text.parse::<u32>() {
            return Ok(Self(seconds));
        }
        let duration = text.parse::<DurationText>()?.0;
        u32::try_from(duration.as_secs())
            .ok()
            .filter(|_| duration.subsec_nanos() == 0)
            .map(Self)
            .ok_or_else(|| {
                scalar_error!("`{}`: expected whole seconds, as 30 or 30s", shortened(text))
            })
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn duration(text: &str) -> Result<Duration, String> {
        text.parse().map(|DurationText(duration)| duration).map_err(|error| error.to_string())
    }

    #[test]
    fn durations_are_parsed_with_their_unit() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("0.000001ms"), Ok(Duration::from_nanos(1)));
        assert_eq!(duration("5m"), Ok(Duration::from_mins(5)));
        assert_eq!(duration("2h"), Ok(Duration::from_hours(2)));
        assert_eq!(duration("30d"), Ok(Duration::from_hours(720)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        for wrong in [
            "",
            "5",
            "s",
            "-1s",
            "1 s",
            "1S",
            "1.s",
            ".5s",
            "1..5s",
            "1e3s",
            "400000d",
            "0.0000001ms",
        ] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            duration("5"),
            Err("`5` has no unit: write 5s for seconds, 5ms for milliseconds".into())
        );
    }

    #[test]
    fn durations_are_formatted_in_the_largest_whole_unit() {
        for text in ["250ms", "1500ms", "30s", "5m", "2h", "30d", "0", "0.25ms", "1.000001ms"] {
            assert_eq!(text.parse::<DurationText>().unwrap().to_string(), text);
        }
        assert_eq!("90s".parse::<DurationText>().unwrap().to_string(), "90s");
        assert_eq!("60s".parse::<DurationText>().unwrap().to_string(), "1m");
    }
}
