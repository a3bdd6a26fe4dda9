//! Local days: their begin and length in UTC, and the wall clock within them.

use jiff::civil::{Date, Weekday};
use jiff::{Timestamp, ToSpan};

use super::plan::DailyWindow;
use crate::zone::local_zone;

/// Seconds of a day without a clock change.
pub(super) const DAY: i64 = 86_400;

/// A local day. Times within it are elapsed seconds since its midnight, so that a day with a clock
/// change has 82 800 or 90 000 of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LocalDay {
    pub date: Date,
    /// Midnight, in seconds since 1970.
    pub begin: i64,
    /// Elapsed seconds from this midnight to the next.
    pub length: u32,
    /// The clock change of this day: elapsed seconds since midnight, and seconds by which the wall clock
    /// is put forward.
    change: Option<(u32, i64)>,
}

impl LocalDay {
    /// Returns the day that contains `second` since 1970.
    pub(super) fn of(second: i64) -> Self {
        Self::on(local_zone().to_datetime(timestamp(second)).date())
    }

    /// Returns the day of a date.
    pub(super) fn on(date: Date) -> Self {
        let begin = midnight(date);
        let end = date.tomorrow().map_or(begin + DAY, midnight);
        let length = u32::try_from(end - begin).unwrap_or(86_400);
        let change = (i64::from(length) != DAY).then(|| change_in(begin, end)).flatten();
        Self { date, begin, length, change }
    }

    /// Returns the day after this one.
    pub(super) fn next(&self) -> Self {
        Self::on(self.date.saturating_add(1.day()))
    }

    /// Returns the day before this one.
    pub(super) fn previous(&self) -> Self {
        Self::on(self.date.saturating_sub(1.day()))
    }

    /// Returns `true` if the day contains `second` since 1970.
    pub(super) fn contains(&self, second: i64) -> bool {
        (self.begin..self.begin + i64::from(self.length)).contains(&second)
    }

    /// Returns the days since 1970-01-01 by the calendar.
    pub(super) fn number(&self) -> i64 {
        // Local noon falls on the same date in UTC.
        (self.begin + DAY / 2).div_euclid(DAY)
    }

    /// Returns the day of the year, counted from 1.
    pub(super) fn day_of_year(&self) -> f64 {
        f64::from(self.date.day_of_year())
    }

    pub(super) fn weekday(&self) -> Weekday {
        self.date.weekday()
    }

    /// Returns the elapsed seconds since midnight when the wall clock shows `local` seconds: the first
    /// time if it shows them twice, and an hour later if it never does.
    pub(super) fn elapsed_at(&self, local: i64) -> i64 {
        match self.change {
            Some((at, shift)) if local >= i64::from(at) + shift.max(0) => local - shift,
            _ => local,
        }
    }

    /// Calls `visit` with each interval of this day that lies within `window` by the wall clock, in
    /// elapsed seconds.
    pub(super) fn intervals(&self, window: DailyWindow, mut visit: impl FnMut(u32, u32)) {
        let (from, to) = (i64::from(window.from) * 60, i64::from(window.to) * 60);
        let today = window.days.contains(self.weekday());
        let yesterday = window.days.contains(self.weekday().previous());
        let overnight = from >= to;
        let local = [
            (today && !overnight).then_some((from, to)),
            (today && overnight).then_some((from, 2 * DAY)),
            (yesterday && overnight).then_some((0, to)),
        ];
        // Two intervals in which the wall clock runs evenly: elapsed = local − shift.
        let length = i64::from(self.length);
        let (at, shift) = self.change.map_or((length, 0), |(at, shift)| (i64::from(at), shift));
        for (from, to) in local.into_iter().flatten() {
            for (begin, end, shift) in [(0, at, 0), (at, length, shift)] {
                let first = (from - shift).clamp(begin, end);
                let last = (to - shift).clamp(begin, end);
                if let (Ok(first), Ok(last)) = (u32::try_from(first), u32::try_from(last))
                    && first < last
                {
                    visit(first, last);
                }
            }
        }
    }
}

/// Returns a second since 1970 as a timestamp, clamped to the range of timestamps.
fn timestamp(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap_or(if second < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}

/// Returns local midnight in seconds since 1970.
fn midnight(date: Date) -> i64 {
    local_zone().to_timestamp(date.at(0, 0, 0, 0)).map_or_else(
        // Before the first or after the last timestamp. The limits are days of their own.
        |_| match date.year() {
            ..0 => Timestamp::MIN.as_second(),
            _ => Timestamp::MAX.as_second() + 1,
        },
        Timestamp::as_second,
    )
}

/// Returns the clock change between two seconds since 1970: elapsed seconds since `begin`, and seconds by
/// which the wall clock is put forward. `None` if there is none.
fn change_in(begin: i64, end: i64) -> Option<(u32, i64)> {
    let change = local_zone().following(timestamp(begin)).next()?;
    let at = change.timestamp().as_second();
    if at >= end {
        return None;
    }
    let before = local_zone().to_offset(timestamp(begin)).seconds();
    let shift = i64::from(change.offset().seconds()) - i64::from(before);
    Some((u32::try_from(at - begin).ok()?, shift))
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::meter::signal::plan::Days;

    #[test]
    fn days_with_a_clock_change_have_92_and_100_quarters() {
        for (date, quarters) in [
            (date(2026, 3, 29), 92),
            (date(2026, 10, 25), 100),
            (date(2026, 10, 26), 96),
            (date(2024, 2, 29), 96),
        ] {
            let day = LocalDay::on(date);
            assert_eq!(day.length / 900, quarters, "{date}");
            assert_eq!(day.next().begin, day.begin + i64::from(day.length));
            assert_eq!(day.next().previous(), day);
            assert_eq!(LocalDay::of(day.begin), day);
            assert_eq!(LocalDay::of(day.begin - 1), day.previous());
            assert_eq!(day.next().number(), day.number() + 1);
        }
    }

    #[test]
    fn every_timestamp_has_a_day() {
        for second in [Timestamp::MIN.as_second(), Timestamp::MAX.as_second()] {
            let day = LocalDay::of(second);
            assert!(day.contains(second), "{second}: {day:?}");
        }
    }

    #[test]
    fn windows_follow_the_wall_clock_through_a_change() {
        let window = |from, to| DailyWindow { days: Days::ALL, from, to };
        let intervals = |date, window: DailyWindow| {
            let mut intervals = Vec::new();
            LocalDay::on(date).intervals(window, |from, to| intervals.push((from, to)));
            intervals
        };
        let (spring, autumn) = (date(2026, 3, 29), date(2026, 10, 25));
        // 07:00 is six elapsed hours after midnight in spring, and eight in autumn.
        assert_eq!(intervals(spring, window(420, 480)), [(21_600, 25_200)]);
        assert_eq!(intervals(autumn, window(420, 480)), [(28_800, 32_400)]);
        // 02:15 to 02:45 does not exist in spring and occurs twice in autumn.
        assert_eq!(intervals(spring, window(135, 165)), []);
        assert_eq!(intervals(autumn, window(135, 165)), [(8_100, 9_900), (11_700, 13_500)]);
        // A window over midnight, and the whole day.
        assert_eq!(
            intervals(date(2026, 1, 15), window(1320, 360)),
            [(79_200, 86_400), (0, 21_600)]
        );
        assert_eq!(intervals(autumn, window(0, 1440)), [(0, 10_800), (10_800, 90_000)]);
    }

    // Ruling: SIGNAL-6.
    #[test]
    fn wall_clock_times_map_to_elapsed_seconds() {
        let spring = LocalDay::on(date(2026, 3, 29));
        assert_eq!([3600, 9000, 10_800].map(|local| spring.elapsed_at(local)), [3600, 9000, 7200]);
        let autumn = LocalDay::on(date(2026, 10, 25));
        assert_eq!(
            [3600, 9000, 10_800].map(|local| autumn.elapsed_at(local)),
            [3600, 9000, 14_400]
        );
    }
}
