//! Times as the device shows them: local, local with its offset, UTC (METER-4, METER-5).

use std::fmt;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Dst, Offset};

use crate::clock::local_zone;

/// A moment in the device's time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CivilTime {
    at: Timestamp,
    offset: Offset,
    summer: bool,
}

impl CivilTime {
    /// The civil time of a moment.
    #[must_use]
    pub fn of(at: Timestamp) -> Self {
        let info = local_zone().to_offset_info(at);
        Self { at, offset: info.offset(), summer: info.dst() == Dst::Yes }
    }

    /// The moment.
    #[must_use]
    pub fn timestamp(&self) -> Timestamp {
        self.at
    }

    /// The wall clock's date and time.
    #[must_use]
    pub fn local(&self) -> DateTime {
        self.offset.to_datetime(self.at)
    }

    /// Whether it is summer time.
    #[must_use]
    pub fn is_summer(&self) -> bool {
        self.summer
    }

    /// `date_time`: local time that ends in `Z` all the same, 2025-10-07T14:26:10Z.
    #[must_use]
    pub fn date_time(&self) -> impl fmt::Display + use<> {
        FormattedTime { date: true, time: true, zone: Zone::Zulu, at: self.local() }
    }

    /// `date_time_local`: local time with its offset, 2025-10-07T14:26:10+02:00.
    #[must_use]
    pub fn date_time_local(&self) -> impl fmt::Display + use<> {
        FormattedTime { date: true, time: true, zone: Zone::Offset(self.offset), at: self.local() }
    }

    /// `date_time_utc`: 2025-10-07T12:26:10Z.
    #[must_use]
    pub fn date_time_utc(&self) -> impl fmt::Display + use<> {
        FormattedTime {
            date: true,
            time: true,
            zone: Zone::Zulu,
            at: Offset::UTC.to_datetime(self.at),
        }
    }

    /// The local time without any zone: 2025-10-07T14:26:10.
    #[must_use]
    pub fn bare(&self) -> impl fmt::Display + use<> {
        FormattedTime { date: true, time: true, zone: Zone::Unsaid, at: self.local() }
    }

    /// The local date: 2025-10-07.
    #[must_use]
    pub fn date(&self) -> impl fmt::Display + use<> {
        FormattedTime { date: true, time: false, zone: Zone::Unsaid, at: self.local() }
    }

    /// The local time of day: 14:26:10.
    #[must_use]
    pub fn time(&self) -> impl fmt::Display + use<> {
        FormattedTime { date: false, time: true, zone: Zone::Unsaid, at: self.local() }
    }
}

/// A date, a time or both.
struct FormattedTime {
    date: bool,
    time: bool,
    zone: Zone,
    at: DateTime,
}

enum Zone {
    Unsaid,
    Zulu,
    Offset(Offset),
}

impl fmt::Display for FormattedTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at;
        if self.date {
            write!(f, "{:04}-{:02}-{:02}", at.year(), at.month(), at.day())?;
        }
        if self.date && self.time {
            f.write_str("T")?;
        }
        if self.time {
            write!(f, "{:02}:{:02}:{:02}", at.hour(), at.minute(), at.second())?;
        }
        match self.zone {
            Zone::Unsaid => Ok(()),
            Zone::Zulu => f.write_str("Z"),
            Zone::Offset(offset) => {
                let minutes = offset.seconds() / 60;
                let sign = if minutes < 0 { '-' } else { '+' };
                write!(f, "{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    fn shown(at: &str) -> [String; 3] {
        let time = CivilTime::of(at.parse().unwrap());
        [
            time.date_time().to_string(),
            time.date_time_local().to_string(),
            time.date_time_utc().to_string(),
        ]
    }

    // Ruling: METER-5.
    #[test]
    fn each_form_is_that_of_the_vendors_sample() {
        assert_eq!(
            shown("2025-10-07T12:26:10.999Z"),
            ["2025-10-07T14:26:10Z", "2025-10-07T14:26:10+02:00", "2025-10-07T12:26:10Z"]
        );
        let time = CivilTime::of("2026-01-04T23:05:09Z".parse().unwrap());
        assert_eq!(
            [time.date().to_string(), time.time().to_string(), time.bare().to_string()],
            ["2026-01-05", "00:05:09", "2026-01-05T00:05:09"]
        );
        assert!(!time.is_summer());
    }

    #[test]
    fn the_hour_that_comes_twice_is_told_apart_by_its_offset() {
        let first = ["2026-10-25T02:30:00Z", "2026-10-25T02:30:00+02:00", "2026-10-25T00:30:00Z"];
        let second = ["2026-10-25T02:30:00Z", "2026-10-25T02:30:00+01:00", "2026-10-25T01:30:00Z"];
        assert_eq!(shown("2026-10-25T00:30:00Z"), first);
        assert_eq!(shown("2026-10-25T01:30:00Z"), second);
        assert_eq!(shown("2026-03-29T00:59:59Z")[0], "2026-03-29T01:59:59Z");
        assert_eq!(shown("2026-03-29T01:00:00Z")[0], "2026-03-29T03:00:00Z");
    }

    // Ruling: METER-4.
    #[test]
    fn the_documented_rule_is_that_of_the_time_zone_database() {
        let zurich = TimeZone::get("Europe/Zurich").unwrap();
        for hour in 0..24 * 365 * 60 {
            let at = Timestamp::from_second(820_454_400 + 3600 * hour).unwrap();
            let info = zurich.to_offset_info(at);
            let time = CivilTime::of(at);
            let known = (info.offset(), info.dst() == Dst::Yes);
            assert_eq!((time.offset, time.summer), known, "{at}");
        }
    }
}
