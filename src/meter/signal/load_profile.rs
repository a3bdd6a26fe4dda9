//! The rhythm of a household: how active its people are at each hour of each day of a year.
//!
//! Source: the profile H25 of the BDEW (standard load profiles of 2025, households), hourly, of
//! January and July, workday and Sunday, with the day's level and the factor over the year. It is
//! the mean of thousands of houses; here it is only the rate at which appliances are started.

use std::f64::consts::TAU;
use std::sync::LazyLock;

use jiff::civil::Weekday;

use super::calendar::LocalDay;

/// Something for each hour of a day by the wall clock.
pub(super) type Hours = [f64; 24];

/// A day of H25: its level, and its shape with a mean of 1.
struct LoadProfile {
    level: f64,
    shape: Hours,
}

const JANUARY_WORKDAY: LoadProfile = LoadProfile {
    level: 25.8,
    shape: [
        0.72, 0.62, 0.59, 0.58, 0.61, 0.69, 0.89, 0.97, 0.91, 0.88, 0.89, 0.97, 1.02, 1.01, 0.98,
        1.02, 1.16, 1.45, 1.61, 1.60, 1.46, 1.30, 1.15, 0.92,
    ],
};
const JANUARY_SUNDAY: LoadProfile = LoadProfile {
    level: 30.2,
    shape: [
        0.72, 0.62, 0.56, 0.53, 0.51, 0.52, 0.58, 0.70, 0.89, 1.07, 1.22, 1.39, 1.37, 1.26, 1.20,
        1.18, 1.24, 1.43, 1.49, 1.41, 1.26, 1.11, 0.98, 0.79,
    ],
};
const JULY_WORKDAY: LoadProfile = LoadProfile {
    level: 30.4,
    shape: [
        0.80, 0.69, 0.65, 0.63, 0.66, 0.72, 0.85, 0.93, 0.92, 0.93, 0.95, 1.04, 1.08, 1.04, 1.01,
        1.02, 1.09, 1.23, 1.38, 1.43, 1.39, 1.33, 1.24, 1.00,
    ],
};
const JULY_SUNDAY: LoadProfile = LoadProfile {
    level: 35.0,
    shape: [
        0.77, 0.67, 0.61, 0.57, 0.56, 0.57, 0.63, 0.77, 0.98, 1.15, 1.28, 1.42, 1.37, 1.24, 1.16,
        1.12, 1.11, 1.19, 1.27, 1.27, 1.23, 1.16, 1.06, 0.85,
    ],
};

/// What of the profile is there without anybody: base load and fridges, which are modelled by
/// themselves. The least of the profile, at four in the morning, is nearly all of that kind.
const UNATTENDED: f64 = 0.45;

/// A day as the rhythm sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ProfileDay {
    /// Day of the year, from 1.
    pub of_year: f64,
    /// The day of the week.
    pub weekday: Weekday,
}

impl From<&LocalDay> for ProfileDay {
    fn from(day: &LocalDay) -> Self {
        Self { of_year: day.of_year(), weekday: day.weekday() }
    }
}

/// How active people are in each hour of a day; 1 is the mean of a year.
pub(super) fn activity(day: ProfileDay) -> Hours {
    let mut hours = raw_activity(day);
    for hour in &mut hours {
        *hour /= MEANS.activity;
    }
    hours
}

/// The same while it is dark outside, else 0; 1 is the mean of a year.
pub(super) fn activity_in_the_dark(day: ProfileDay) -> Hours {
    let mut hours = raw_dark(day);
    for hour in &mut hours {
        *hour /= MEANS.dark;
    }
    hours
}

/// The mean activity of each hour over a year.
pub(super) fn mean_activity() -> &'static Hours {
    &MEANS.hours
}

fn raw_activity(day: ProfileDay) -> Hours {
    let winter = winter(day.of_year);
    let between = |january: &LoadProfile, july: &LoadProfile, hour: usize| {
        let of =
            |profile: &LoadProfile| profile.level * (profile.shape[hour] - UNATTENDED).max(0.0);
        winter * of(january) + (1.0 - winter) * of(july)
    };
    let sunday = match day.weekday {
        Weekday::Sunday => 1.0,
        Weekday::Saturday => 0.5,
        _ => 0.0,
    };
    let level = over_the_year(day.of_year);
    std::array::from_fn(|hour| {
        let workday = between(&JANUARY_WORKDAY, &JULY_WORKDAY, hour);
        let rest = between(&JANUARY_SUNDAY, &JULY_SUNDAY, hour);
        level * (sunday * rest + (1.0 - sunday) * workday)
    })
}

fn raw_dark(day: ProfileDay) -> Hours {
    let mut hours = raw_activity(day);
    // Light from half an hour after sunrise to half an hour before sunset at 47° N; noon is at half
    // past twelve by the wall clock, in summer an hour later.
    let half = 6.0 + 2.0 * -libm::cos(TAU * (day.of_year + 10.0) / 365.25) - 0.5;
    let noon = if (88.0..300.0).contains(&day.of_year) { 13.5 } else { 12.5 };
    for (hour, activity) in (0_u8..).zip(&mut hours) {
        let (from, to) = (f64::from(hour), f64::from(hour) + 1.0);
        let light = (to.min(noon + half) - from.max(noon - half)).clamp(0.0, 1.0);
        *activity *= 1.0 - light;
    }
    hours
}

/// 1 in the middle of January, 0 in the middle of July.
pub(super) fn winter(of_year: f64) -> f64 {
    0.5 + 0.5 * libm::cos(TAU * (of_year - 15.0) / 365.25)
}

/// The factor over the year of the standard load profiles of households (VDEW 1999, kept by H25).
fn over_the_year(d: f64) -> f64 {
    (((-3.92e-10 * d + 3.2e-7) * d - 7.02e-5) * d + 2.1e-3) * d + 1.24
}

struct Means {
    /// Of all hours of a year.
    activity: f64,
    /// Of all hours of a year, in the light 0.
    dark: f64,
    /// Of each hour, by the mean of all as 1.
    hours: Hours,
}

static MEANS: LazyLock<Means> = LazyLock::new(|| {
    let mut sums: Hours = [0.0; 24];
    let mut dark = 0.0;
    // 52 weeks; which day of the year is which weekday does not matter to the mean.
    let mut weekday = Weekday::Monday;
    for of_year in 1..=364_u16 {
        let day = ProfileDay { of_year: f64::from(of_year), weekday };
        for (sum, activity) in sums.iter_mut().zip(raw_activity(day)) {
            *sum += activity / 364.0;
        }
        dark += raw_dark(day).iter().sum::<f64>() / (364.0 * 24.0);
        weekday = weekday.next();
    }
    let activity = sums.iter().sum::<f64>() / 24.0;
    Means { activity, dark, hours: sums.map(|sum| sum / activity) }
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evenings_in_winter_are_the_busiest_and_sundays_busier_than_workdays() {
        let day = |of_year, weekday| activity(ProfileDay { of_year, weekday });
        let january = day(20.0, Weekday::Tuesday);
        let july = day(200.0, Weekday::Tuesday);
        let sum = |hours: Hours| hours.iter().sum::<f64>();
        assert!(january[18] > 2.0 * january[3]);
        assert!(sum(january) > 1.2 * sum(july), "{} {}", sum(january), sum(july));
        assert!(sum(day(20.0, Weekday::Sunday)) > 1.1 * sum(january));
    }

    #[test]
    fn lamps_are_lit_when_it_is_dark() {
        let day = |of_year| activity_in_the_dark(ProfileDay { of_year, weekday: Weekday::Monday });
        assert_eq!(day(172.0)[13].total_cmp(&0.0), std::cmp::Ordering::Equal);
        assert!(day(172.0)[20] < 0.01, "a summer evening is light until nine");
        assert!(day(355.0)[17] > 1.0);
    }
}
