//! Photovoltaic panels: position of the sun, clouds and inverter, as ramps of whole milliwatts.

use std::f64::consts::{PI, TAU};

use super::calendar::LocalDay;
use super::edges::push_compact;
use super::math::{floor_seconds, to_f64};
use super::plan::{PvPlan, Sky};
use super::weather::Clouds;

/// A linear piece of a day's power: `power` mW over all phases at second `at` since midnight, and `slope`
/// mW more with each second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PowerRamp {
    pub at: u32,
    pub power: i32,
    pub slope: i32,
}

impl PowerRamp {
    /// Returns the power at second `at`, not before the begin of the ramp.
    #[inline]
    pub(super) fn power_at(&self, at: u32) -> i64 {
        i64::from(self.power) + i64::from(self.slope) * (i64::from(at) - i64::from(self.at))
    }
}

/// Seconds of a ramp at most. The position of the sun is computed at both ends.
const MAX_RAMP_SECONDS: f64 = 300.0;
/// Share of the power under standard conditions that remains after heat, dirt, cables and inverter.
const PERFORMANCE_RATIO: f64 = 0.8;
/// Diffuse share of the light of a clear sky.
const DIFFUSE_SHARE: f64 = 0.15;
/// Share of light that the ground reflects.
const ALBEDO: f64 = 0.2;
/// Transmittance of an overcast sky that never changes.
const OVERCAST_TRANSMITTANCE: f64 = 0.2;
/// Seconds of a day.
const SECONDS_PER_DAY: f64 = 86_400.0;

/// The model of the panels.
#[derive(Debug)]
pub(super) struct PvModel {
    plan: PvPlan,
    seed: u64,
    /// Sine and cosine of latitude, tilt and azimuth.
    latitude: (f64, f64),
    tilt: (f64, f64),
    azimuth: (f64, f64),
}

/// The course of the sun on one solar day.
struct SolarDay {
    number: i64,
    /// Solar noon, in seconds since 1970.
    noon: f64,
    /// Sine and cosine of the declination.
    declination: (f64, f64),
    /// Seconds from sunrise to noon.
    half_day: f64,
    day_of_year: f64,
}

impl PvModel {
    pub(super) fn new(plan: &PvPlan, seed: u64) -> Self {
        let angle = |degrees: f64| {
            let radians = degrees / 180.0 * PI;
            (libm::sin(radians), libm::cos(radians))
        };
        Self {
            latitude: angle(plan.latitude.clamp(-66.0, 66.0)),
            tilt: angle(plan.tilt),
            azimuth: angle(plan.azimuth),
            plan: plan.clone(),
            seed,
        }
    }

    /// Replaces `ramps` by those of `day`. The first ramp begins at midnight.
    pub(super) fn build_ramps(&self, day: &LocalDay, ramps: &mut Vec<PowerRamp>) {
        ramps.clear();
        ramps.push(PowerRamp::default());
        let end = day.begin + i64::from(day.length);
        // At any longitude, daylight within this local day belongs to the solar days of its two ends or
        // between them.
        let shift = self.plan.longitude / 360.0;
        let solar_day_at = |second: i64| floor_seconds(to_f64(second) / SECONDS_PER_DAY + shift);
        for number in solar_day_at(day.begin)..=solar_day_at(end) {
            self.add_solar_day(&self.solar_day(number), day, ramps);
        }
    }

    fn solar_day(&self, number: i64) -> SolarDay {
        // 1970 began on day 1. The error of leap years stays below a day.
        let day_of_year = to_f64(number.rem_euclid(146_097)) % 365.2425 + 1.0;
        // Cooper 1969.
        let declination = 23.45 / 180.0 * PI * libm::sin(TAU * (284.0 + day_of_year) / 365.0);
        let declination = (libm::sin(declination), libm::cos(declination));
        // Equation of time (Spencer, in the short form of Duffie and Beckman), in minutes.
        let b = TAU * (day_of_year - 81.0) / 364.0;
        let ahead = 9.87 * libm::sin(2.0 * b) - 7.53 * libm::cos(b) - 1.5 * libm::sin(b);
        let noon =
            (to_f64(number) + 0.5 - self.plan.longitude / 360.0) * SECONDS_PER_DAY - ahead * 60.0;
        let horizon = -self.latitude.0 * declination.0 / (self.latitude.1 * declination.1);
        let half_day = libm::acos(horizon.clamp(-1.0, 1.0)) / TAU * SECONDS_PER_DAY;
        SolarDay { number, noon, declination, half_day, day_of_year }
    }

    /// Adds the ramps from sunrise to sunset of a solar day that lie within `day`.
    fn add_solar_day(&self, sun: &SolarDay, day: &LocalDay, ramps: &mut Vec<PowerRamp>) {
        let (sunrise, sunset) = (sun.noon - sun.half_day, sun.noon + sun.half_day);
        let (begin, end) = (to_f64(day.begin), to_f64(day.begin + i64::from(day.length)));
        if sunset <= begin || sunrise >= end {
            return;
        }
        let mut clouds = match self.plan.sky {
            Sky::Changing => Clouds::new(self.seed, sun.number, sun.day_of_year),
            Sky::Clear => Clouds::constant(1.0),
            Sky::Overcast => Clouds::constant(OVERCAST_TRANSMITTANCE),
        };
        let mut builder = RampBuilder { ramps, day, second: floor_seconds(sunrise), power: 0 };
        // Time counts from sunrise: the ramps do not depend on a midnight in between, and the numbers
        // stay small, so that sums keep their precision.
        let (daylight, until_midnight) = (sunset - sunrise, end - sunrise);
        let mut elapsed = 0.0;
        while elapsed < daylight && elapsed < until_midnight {
            let next = (elapsed + MAX_RAMP_SECONDS).min(clouds.next_change(elapsed)).min(daylight);
            let at = sunrise + next;
            let power = if next < daylight {
                self.power(sun, at, clouds.transmittance_at(next))
            } else {
                0.0
            };
            builder.ramp_to(floor_seconds(at), power);
            elapsed = next;
        }
        builder.finish();
    }

    /// Returns the power at a second since 1970 under a sky of this transmittance, in mW.
    fn power(&self, sun: &SolarDay, second: f64, transmittance: f64) -> f64 {
        let angle = (second - sun.noon) / SECONDS_PER_DAY * TAU;
        let (sin, cos) = (libm::sin(angle), libm::cos(angle));
        let (latitude, declination) = (self.latitude, sun.declination);
        // Sine of the sun's elevation.
        let height = latitude.0 * declination.0 + latitude.1 * declination.1 * cos;
        if height <= 0.0 {
            return 0.0;
        }
        // Haurwitz 1945: global irradiance of a clear sky on a horizontal plane, in W/m².
        let horizontal = 1098.0 * height * libm::exp(-0.059 / height);
        let north = latitude.1 * declination.0 - latitude.0 * declination.1 * cos;
        let east = -declination.1 * sin;
        // Cosine of the angle of incidence on the panels.
        let incidence =
            self.tilt.1 * height + self.tilt.0 * (north * self.azimuth.1 + east * self.azimuth.0);
        let beam = (1.0 - DIFFUSE_SHARE) * incidence.max(0.0) / height.max(0.05);
        let diffuse =
            DIFFUSE_SHARE * (1.0 + self.tilt.1) / 2.0 + ALBEDO * (1.0 - self.tilt.1) / 2.0;
        // Under thick clouds all light is diffuse, and the orientation does not matter.
        let clear_share = ((transmittance - 0.25) / 0.5).clamp(0.0, 1.0);
        let tilted =
            clear_share * (beam + diffuse) + (1.0 - clear_share) * (1.0 + self.tilt.1) / 2.0;
        let kw = self.plan.kwp * horizontal * tilted * transmittance * PERFORMANCE_RATIO / 1000.0;
        kw.min(self.plan.inverter_kw.unwrap_or(f64::INFINITY)).max(0.0) * 1e6
    }
}

/// Builds the ramps of a day from points of power.
struct RampBuilder<'a> {
    ramps: &'a mut Vec<PowerRamp>,
    day: &'a LocalDay,
    /// End of the newest ramp, in seconds since 1970.
    second: i64,
    /// Power at that time, in mW.
    power: i64,
}

impl RampBuilder<'_> {
    /// Appends a ramp up to `second`, whose power there is `power` mW or, because slopes are whole
    /// numbers, a little less far.
    #[expect(clippy::cast_possible_truncation, reason = "a cast from f64 saturates")]
    fn ramp_to(&mut self, second: i64, power: f64) {
        let duration = second - self.second;
        if duration <= 0 {
            return;
        }
        let slope = (power as i64 - self.power) / duration;
        if second > self.day.begin {
            let from = self.second.max(self.day.begin);
            self.push(from, self.power + slope * (from - self.second), slope);
        }
        self.power += slope * duration;
        self.second = second;
    }

    /// Ends the last ramp: power is zero from there on.
    fn finish(&mut self) {
        if self.second >= self.day.begin {
            self.push(self.second, 0, 0);
        }
    }

    fn push(&mut self, second: i64, power: i64, slope: i64) {
        // These conversions succeed: a day has few seconds, and panels at most 500 kW.
        if let (Ok(at), Ok(power), Ok(slope)) =
            (u32::try_from(second - self.day.begin), i32::try_from(power), i32::try_from(slope))
            && at < self.day.length
        {
            push_compact(self.ramps, PowerRamp { at, power, slope });
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    /// Returns horizontal panels whose power in kW is the irradiance in kW/m².
    fn horizontal() -> PvModel {
        PvModel::new(
            &PvPlan {
                kwp: 1.0 / PERFORMANCE_RATIO,
                tilt: 0.0,
                latitude: 47.0,
                longitude: 8.5,
                sky: Sky::Clear,
                ..PvPlan::default()
            },
            1,
        )
    }

    fn power_by_second(panels: &PvModel, date: jiff::civil::Date) -> Vec<i64> {
        let day = LocalDay::on(date);
        let mut ramps = Vec::new();
        panels.build_ramps(&day, &mut ramps);
        assert!(ramps.is_sorted_by_key(|ramp| ramp.at));
        let mut ramp = 0;
        (0..day.length)
            .map(|at| {
                while ramps.get(ramp + 1).is_some_and(|next| next.at <= at) {
                    ramp += 1;
                }
                ramps[ramp].power_at(at)
            })
            .collect()
    }

    /// Reference values of Haurwitz's formula at 47° N: 944 and 308 W/m² at noon, 8.7 and 1.55 kWh/m².
    #[test]
    #[expect(clippy::cast_precision_loss, reason = "figures of a day")]
    fn a_clear_sky_has_the_irradiance_of_the_formula() {
        for (date, noon, sum) in
            [(date(2026, 6, 21), 944.0, 8.7), (date(2026, 12, 21), 308.0, 1.55)]
        {
            let power = power_by_second(&horizontal(), date);
            let most = *power.iter().max().unwrap() as f64 / 1000.0;
            assert!((most / noon - 1.0).abs() < 0.01, "{date}: {most} W/m² at noon");
            let kwh = power.iter().sum::<i64>() as f64 / 3.6e9;
            assert!((kwh / sum - 1.0).abs() < 0.02, "{date}: {kwh} kWh/m²");
            assert!(power.iter().all(|power| *power >= 0));
            assert_eq!(power[0], 0);
        }
    }

    #[test]
    fn the_inverter_caps_power_and_the_azimuth_moves_its_peak() {
        let with = |azimuth, inverter_kw| {
            PvModel::new(&PvPlan { azimuth, inverter_kw, sky: Sky::Clear, ..PvPlan::default() }, 1)
        };
        let june = date(2026, 6, 21);
        let peak =
            |power: &[i64]| power.iter().enumerate().max_by_key(|(_, power)| **power).unwrap().0;
        let capped = power_by_second(&with(180.0, Some(3.0)), june);
        assert!((2_990_000..=3_000_000).contains(capped.iter().max().unwrap()));
        let (east, west) =
            (power_by_second(&with(90.0, None), june), power_by_second(&with(270.0, None), june));
        assert!(peak(&east) + 7200 < peak(&west));
    }

    #[test]
    fn panels_at_any_longitude_cross_local_midnight() {
        let panels = PvModel::new(&PvPlan { longitude: 170.0, ..PvPlan::default() }, 5);
        let first = power_by_second(&panels, date(2026, 6, 21));
        let second = power_by_second(&panels, date(2026, 6, 22));
        let (last, next) = (*first.last().unwrap(), second[0]);
        assert!(last > 0, "the sun is up there at midnight here");
        assert!((last - next).abs() < 100_000, "{last} mW, then {next} mW");
    }
}
