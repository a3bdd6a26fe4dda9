//! The load profile of a household: the activity of its residents in each hour of each day of a year.
//!
//! Source: profile H25 of the BDEW (standard load profiles of 2025, households), by the hour, for
//! January and July, workday and Sunday, with the level of the day and the factor over the year. H25 is
//! the mean of thousands of houses; this model uses it only as the rate at which appliances start.

use std::f64::consts::TAU;
use std::sync::LazyLock;

use jiff::civil::Weekday;

use super::calendar::LocalDay;
use super::climate::winter_weight;

/// A value for each hour of a day by the wall clock.
pub(super) type HourlyValues = [f64; 24];

/// A day of H25: its level, and its shape, which has a mean of 1.
struct LoadProfile {
    level: f64,
    shape: HourlyValues,
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

/// Share of the profile that does not depend on the residents: base load and fridges, which have models
/// of their own. The minimum of the profile, at four in the morning, is nearly all of that kind.
const UNATTENDED_SHARE: f64 = 0.45;

/// The properties of a day that the profile depends on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ProfileDay {
    /// Day of the year, counted from 1.
    pub day_of_year: f64,
    pub weekday: Weekday,
}

impl From<&LocalDay> for ProfileDay {
    fn from(day: &LocalDay) -> Self {
        Self { day_of_year: day.day_of_year(), weekday: day.weekday() }
    }
}

/// Returns the activity in each hour of a day; 1 is the mean of a year.
pub(super) fn activity(day: ProfileDay) -> HourlyValues {
    let mut hours = unscaled_activity(day);
    for hour in &mut hours {
        *hour /= MEANS.activity;
    }
    hours
}

/// Returns the activity in each hour while it is dark outside; 1 is the mean of a year.
pub(super) fn activity_in_the_dark(day: ProfileDay) -> HourlyValues {
    let mut hours = unscaled_activity_in_the_dark(day);
    for hour in &mut hours {
        *hour /= MEANS.dark;
    }
    hours
}

/// Returns the mean activity of each hour over a year.
pub(super) fn mean_activity() -> &'static HourlyValues {
    &MEANS.hours
}

fn unscaled_activity(day: ProfileDay) -> HourlyValues {
    let winter = winter_weight(day.day_of_year);
    let interpolate = |january: &LoadProfile, july: &LoadProfile, hour: usize| {
        let attended = |profile: &LoadProfile| {
            profile.level * (profile.shape[hour] - UNATTENDED_SHARE).max(0.0)
        };
        winter * attended(january) + (1.0 - winter) * attended(july)
    };
    let sunday_weight = match day.weekday {
        Weekday::Sunday => 1.0,
        Weekday::Saturday => 0.5,
        _ => 0.0,
    };
    let level = annual_factor(day.day_of_year);
    std::array::from_fn(|hour| {
        let workday = interpolate(&JANUARY_WORKDAY, &JULY_WORKDAY, hour);
        let sunday = interpolate(&JANUARY_SUNDAY, &JULY_SUNDAY, hour);
        level * (sunday_weight * sunday + (1.0 - sunday_weight) * workday)
    })
}

fn unscaled_activity_in_the_dark(day: ProfileDay) -> HourlyValues {
    let mut hours = unscaled_activity(day);
    // Light from half an hour after sunrise to half an hour before sunset at 47° N. Noon is at 12:30 by
    // the wall clock, and an hour later in summer.
    let half_day = 6.0 + 2.0 * -libm::cos(TAU * (day.day_of_year + 10.0) / 365.25) - 0.5;
    let noon = if (88.0..300.0).contains(&day.day_of_year) { 13.5 } else { 12.5 };
    for (hour, activity) in (0_u8..).zip(&mut hours) {
        let (from, to) = (f64::from(hour), f64::from(hour) + 1.0);
        let light = (to.min(noon + half_day) - from.max(noon - half_day)).clamp(0.0, 1.0);
        *activity *= 1.0 - light;
    }
    hours
}

/// Returns the factor over the year of the standard load profiles of households (VDEW 1999, unchanged in
/// H25) on day `d` of the year.
fn annual_factor(d: f64) -> f64 {
    (((-3.92e-10 * d + 3.2e-7) * d - 7.02e-5) * d + 2.1e-3) * d + 1.24
}

/// Means over a year.
struct AnnualMeans {
    /// Unscaled activity.
    activity: f64,
    /// Unscaled activity in the dark, which is 0 in daylight.
    dark: f64,
    /// Activity of each hour of the day, relative to the mean of all hours.
    hours: HourlyValues,
}

static MEANS: LazyLock<AnnualMeans> = LazyLock::new(|| {
    let mut sums: HourlyValues = [0.0; 24];
    let mut dark = 0.0;
    // 52 weeks. The weekday on which the year begins does not matter for the mean.
    let mut weekday = Weekday::Monday;
    for day_of_year in 1..=364_u16 {
        let day = ProfileDay { day_of_year: f64::from(day_of_year), weekday };
        for (sum, activity) in sums.iter_mut().zip(unscaled_activity(day)) {
            *sum += activity / 364.0;
        }
        dark += unscaled_activity_in_the_dark(day).iter().sum::<f64>() / (364.0 * 24.0);
        weekday = weekday.next();
    }
    let activity = sums.iter().sum::<f64>() / 24.0;
    AnnualMeans { activity, dark, hours: sums.map(|sum| sum / activity) }
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activity_peaks_on_winter_evenings_and_on_sundays() {
        let day = |day_of_year, weekday| activity(ProfileDay { day_of_year, weekday });
        let january = day(20.0, Weekday::Tuesday);
        let july = day(200.0, Weekday::Tuesday);
        let sum = |hours: HourlyValues| hours.iter().sum::<f64>();
        assert!(january[18] > 2.0 * january[3]);
        assert!(sum(january) > 1.2 * sum(july), "{} {}", sum(january), sum(july));
        assert!(sum(day(20.0, Weekday::Sunday)) > 1.1 * sum(january));
    }

    #[test]
    fn there_is_no_activity_in_the_dark_by_day() {
        let day = |day_of_year| {
            activity_in_the_dark(ProfileDay { day_of_year, weekday: Weekday::Monday })
        };
        assert_eq!(day(172.0)[13].total_cmp(&0.0), std::cmp::Ordering::Equal);
        assert!(day(172.0)[20] < 0.01, "a summer evening is light until nine");
        assert!(day(355.0)[17] > 1.0);
    }
}
