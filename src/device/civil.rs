//! Civil time in the forms of the API: local, local with the offset, UTC (METER-4, METER-5).

use std::fmt::{self, Write};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Dst, Offset};

use crate::net::http::json::{self, AppendText};
use crate::zone::local_zone;

/// A time in the device's time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CivilTime {
    timestamp: Timestamp,
    offset: Offset,
    is_dst: bool,
}

impl CivilTime {
    /// Returns the civil time at a timestamp.
    #[must_use]
    pub fn new(timestamp: Timestamp) -> Self {
        let info = local_zone().to_offset_info(timestamp);
        Self { timestamp, offset: info.offset(), is_dst: info.dst() == Dst::Yes }
    }

    /// Returns the timestamp.
    #[must_use]
    pub fn timestamp(&self) -> Timestamp {
        self.timestamp
    }

    /// Returns the local date and time.
    #[must_use]
    pub fn local(&self) -> DateTime {
        self.offset.to_datetime(self.timestamp)
    }

    /// Returns `true` if daylight saving time is in force.
    #[must_use]
    pub fn is_dst(&self) -> bool {
        self.is_dst
    }

    /// Formats `date_time`: the local time, although it ends in `Z`, such as 2025-10-07T14:26:10Z.
    #[must_use]
    pub fn date_time(&self) -> FormattedTime {
        FormattedTime { date: true, time: true, zone: Zone::Z, value: self.local() }
    }

    /// Formats `date_time_local`: the local time with its offset, such as
    /// 2025-10-07T14:26:10+02:00.
    #[must_use]
    pub fn date_time_local(&self) -> FormattedTime {
        let zone = Zone::Offset(self.offset);
        FormattedTime { date: true, time: true, zone, value: self.local() }
    }

    /// Formats `date_time_utc`, such as 2025-10-07T12:26:10Z.
    #[must_use]
    pub fn date_time_utc(&self) -> FormattedTime {
        let value = Offset::UTC.to_datetime(self.timestamp);
        FormattedTime { date: true, time: true, zone: Zone::Z, value }
    }

    /// Formats the local time without a zone, such as 2025-10-07T14:26:10.
    #[must_use]
    pub fn date_time_without_zone(&self) -> FormattedTime {
        FormattedTime { date: true, time: true, zone: Zone::Omitted, value: self.local() }
    }

    /// Formats the local date, such as 2025-10-07.
    #[must_use]
    pub fn date(&self) -> FormattedTime {
        FormattedTime { date: true, time: false, zone: Zone::Omitted, value: self.local() }
    }

    /// Formats the local time of day, such as 14:26:10.
    #[must_use]
    pub fn time(&self) -> FormattedTime {
        FormattedTime { date: false, time: true, zone: Zone::Omitted, value: self.local() }
    }
}

/// The text form of a date, a time or both.
#[derive(Debug, Clone, Copy)]
pub struct FormattedTime {
    date: bool,
    time: bool,
    zone: Zone,
    value: DateTime,
}

#[derive(Debug, Clone, Copy)]
enum Zone {
    Omitted,
    Z,
    Offset(Offset),
}

impl AppendText for FormattedTime {
    fn append_to(&self, out: &mut String) {
        let value = self.value;
        if self.date {
            append_year(out, value.year());
            out.push('-');
            append_pair(out, value.month().into());
            out.push('-');
            append_pair(out, value.day().into());
        }
        if self.date && self.time {
            out.push('T');
        }
        if self.time {
            append_pair(out, value.hour().into());
            out.push(':');
            append_pair(out, value.minute().into());
            out.push(':');
            append_pair(out, value.second().into());
        }
        match self.zone {
            Zone::Omitted => {}
            Zone::Z => out.push('Z'),
            Zone::Offset(offset) => {
                let seconds = offset.seconds();
                out.push(if seconds < 0 { '-' } else { '+' });
                // An offset is less than 26 hours.
                let minutes = i16::try_from(seconds.abs() / 60).unwrap_or_default();
                append_pair(out, minutes / 60);
                out.push(':');
                append_pair(out, minutes % 60);
            }
        }
    }
}

/// Appends a year, which is less than 10 000.
fn append_year(out: &mut String, year: i16) {
    if year < 0 {
        // Writing to a `String` cannot fail.
        let _ = write!(out, "{year:04}");
        return;
    }
    append_pair(out, year / 100);
    append_pair(out, year % 100);
}

/// Appends the last two decimal digits of a number that is not negative.
fn append_pair(out: &mut String, number: i16) {
    let digit = |value: i16| char::from(b'0' + u8::try_from(value % 10).unwrap_or_default());
    out.push(digit(number / 10));
    out.push(digit(number));
}

impl fmt::Display for FormattedTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        json::display(self, f)
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    fn formatted(timestamp: &str) -> [String; 3] {
        let time = CivilTime::new(timestamp.parse().unwrap());
        [
            time.date_time().to_string(),
            time.date_time_local().to_string(),
            time.date_time_utc().to_string(),
        ]
    }

    // Ruling: METER-5.
    #[test]
    fn each_format_is_that_of_the_vendors_sample() {
        assert_eq!(
            formatted("2025-10-07T12:26:10.999Z"),
            ["2025-10-07T14:26:10Z", "2025-10-07T14:26:10+02:00", "2025-10-07T12:26:10Z"]
        );
        let time = CivilTime::new("2026-01-04T23:05:09Z".parse().unwrap());
        assert_eq!(
            [
                time.date().to_string(),
                time.time().to_string(),
                time.date_time_without_zone().to_string()
            ],
            ["2026-01-05", "00:05:09", "2026-01-05T00:05:09"]
        );
        assert!(!time.is_dst());
    }

    #[test]
    fn the_repeated_hour_in_autumn_differs_in_its_offset() {
        let first = ["2026-10-25T02:30:00Z", "2026-10-25T02:30:00+02:00", "2026-10-25T00:30:00Z"];
        let second = ["2026-10-25T02:30:00Z", "2026-10-25T02:30:00+01:00", "2026-10-25T01:30:00Z"];
        assert_eq!(formatted("2026-10-25T00:30:00Z"), first);
        assert_eq!(formatted("2026-10-25T01:30:00Z"), second);
        assert_eq!(formatted("2026-03-29T00:59:59Z")[0], "2026-03-29T01:59:59Z");
        assert_eq!(formatted("2026-03-29T01:00:00Z")[0], "2026-03-29T03:00:00Z");
    }

    // Ruling: METER-4.
    #[test]
    fn the_documented_rule_agrees_with_the_time_zone_database() {
        let zurich = TimeZone::get("Europe/Zurich").unwrap();
        for hour in 0..24 * 365 * 60 {
            let timestamp = Timestamp::from_second(820_454_400 + 3600 * hour).unwrap();
            let info = zurich.to_offset_info(timestamp);
            let time = CivilTime::new(timestamp);
            let expected = (info.offset(), info.dst() == Dst::Yes);
            assert_eq!((time.offset, time.is_dst), expected, "{timestamp}");
        }
    }
}
