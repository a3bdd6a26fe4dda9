//! Solar panels: the sun's way over the day, clouds, the inverter; as ramps of whole milliwatts.

use std::f64::consts::{PI, TAU};

use super::calendar::{DAY, LocalDay};
use super::household::{precise, seconds};
use super::plan::{PvPlan, Sky};
use super::pulse::append;
use super::weather::Clouds;

/// From `at` on (seconds since midnight) the panels give `power` mW over all phases, and `slope` mW
/// more with each second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PowerRamp {
    pub at: u32,
    pub power: i32,
    pub slope: i32,
}

impl PowerRamp {
    /// What they give at second `at`, not before this ramp's.
    #[inline]
    pub(super) fn power_at(&self, at: u32) -> i64 {
        i64::from(self.power) + i64::from(self.slope) * (i64::from(at) - i64::from(self.at))
    }
}

/// How often the sun's height is looked at, in seconds; between, power goes straight.
const LOOK: f64 = 300.0;
/// What comes of the panels' power under standard conditions, after heat, dirt, cables and inverter.
const YIELD: f64 = 0.8;
/// How much of the light of a clear sky is diffuse.
const DIFFUSE: f64 = 0.15;
/// How much light the ground gives back.
const ALBEDO: f64 = 0.2;

/// Panels made ready to be asked for their days.
#[derive(Debug)]
pub(super) struct Panels {
    plan: PvPlan,
    seed: u64,
    /// Sine and cosine of latitude, tilt and azimuth.
    latitude: (f64, f64),
    tilt: (f64, f64),
    azimuth: (f64, f64),
}

/// The sun of one solar day.
struct Sun {
    /// Solar noon, in seconds since 1970.
    noon: f64,
    /// Sine and cosine of the declination.
    declination: (f64, f64),
    /// From sunrise to noon, in seconds.
    half: f64,
    of_year: f64,
}

impl Panels {
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

    /// Puts the ramps of `day` into `ramps`, which begin at its midnight.
    pub(super) fn add(&self, day: &LocalDay, ramps: &mut Vec<PowerRamp>) {
        ramps.clear();
        ramps.push(PowerRamp::default());
        let end = day.begin + i64::from(day.length);
        // Wherever the panels stand, the sun that is up in this local day has its noon near it.
        let shift = self.plan.longitude / 360.0;
        let number = |second: i64| seconds(precise(second) / precise(DAY) + shift);
        for number in number(day.begin)..=number(end) {
            self.add_sun(&self.sun(number), number, day, ramps);
        }
    }

    fn sun(&self, number: i64) -> Sun {
        // 1970 began on a day 1; the drift of leap years stays below a day.
        let of_year = precise(number.rem_euclid(146_097)) % 365.2425 + 1.0;
        // Cooper 1969.
        let declination = 23.45 / 180.0 * PI * libm::sin(TAU * (284.0 + of_year) / 365.0);
        let declination = (libm::sin(declination), libm::cos(declination));
        // Equation of time (Spencer's in the short form of Duffie and Beckman), in minutes.
        let b = TAU * (of_year - 81.0) / 364.0;
        let ahead = 9.87 * libm::sin(2.0 * b) - 7.53 * libm::cos(b) - 1.5 * libm::sin(b);
        let noon =
            (precise(number) + 0.5 - self.plan.longitude / 360.0) * precise(DAY) - ahead * 60.0;
        let horizon = -self.latitude.0 * declination.0 / (self.latitude.1 * declination.1);
        let half = libm::acos(horizon.clamp(-1.0, 1.0)) / TAU * precise(DAY);
        Sun { noon, declination, half, of_year }
    }

    /// Adds the ramps of one sun, from its rise to its set, as far as they are in the day.
    fn add_sun(&self, sun: &Sun, number: i64, day: &LocalDay, ramps: &mut Vec<PowerRamp>) {
        let (rise, set) = (sun.noon - sun.half, sun.noon + sun.half);
        let (begin, end) = (precise(day.begin), precise(day.begin + i64::from(day.length)));
        if set <= begin || rise >= end {
            return;
        }
        let mut clouds = match self.plan.sky {
            Sky::Changing => Clouds::new(self.seed, number, sun.of_year),
            Sky::Clear => Clouds::still(1.0),
            Sky::Overcast => Clouds::still(0.2),
        };
        let mut line = Line { ramps, day, at: seconds(rise), power: 0 };
        // Counted from the rise, so that a midnight in between changes nothing, and so that times are
        // small numbers, which add up exactly enough to go on.
        let (light, within) = (set - rise, end - rise);
        let mut passed = 0.0;
        while passed < light && passed < within {
            let next = (passed + LOOK).min(clouds.next_change(passed)).min(light);
            let at = rise + next;
            let power = if next < light { self.power(sun, at, clouds.share_at(next)) } else { 0.0 };
            line.to(seconds(at), power);
            passed = next;
        }
        line.end();
    }

    /// What the panels give, in mW, at second `at` under a sky that lets `share` of the light through.
    fn power(&self, sun: &Sun, at: f64, share: f64) -> f64 {
        let angle = (at - sun.noon) / precise(DAY) * TAU;
        let (sin, cos) = (libm::sin(angle), libm::cos(angle));
        let (latitude, declination) = (self.latitude, sun.declination);
        let height = latitude.0 * declination.0 + latitude.1 * declination.1 * cos;
        if height <= 0.0 {
            return 0.0;
        }
        // Haurwitz 1945: all light of a clear sky on the flat ground, in W/m².
        let flat = 1098.0 * height * libm::exp(-0.059 / height);
        let north = latitude.1 * declination.0 - latitude.0 * declination.1 * cos;
        let east = -declination.1 * sin;
        let facing =
            self.tilt.1 * height + self.tilt.0 * (north * self.azimuth.1 + east * self.azimuth.0);
        let direct = (1.0 - DIFFUSE) * facing.max(0.0) / height.max(0.05);
        let around = DIFFUSE * (1.0 + self.tilt.1) / 2.0 + ALBEDO * (1.0 - self.tilt.1) / 2.0;
        // Under thick clouds all light is diffuse, and the tilt does not matter.
        let beam = ((share - 0.25) / 0.5).clamp(0.0, 1.0);
        let tilted = beam * (direct + around) + (1.0 - beam) * (1.0 + self.tilt.1) / 2.0;
        let kw = self.plan.kwp * flat * tilted * share * YIELD / 1000.0;
        kw.min(self.plan.inverter_kw.unwrap_or(f64::INFINITY)).max(0.0) * 1e6
    }
}

/// A line drawn through a day in ramps of whole milliwatts a second.
struct Line<'a> {
    ramps: &'a mut Vec<PowerRamp>,
    day: &'a LocalDay,
    /// How far it is drawn, in seconds since 1970.
    at: i64,
    /// The power there, in mW.
    power: i64,
}

impl Line<'_> {
    /// Draws it on to `second`, to `power` mW or, as slopes are whole, a little less far.
    #[expect(clippy::cast_possible_truncation, reason = "a cast from f64 saturates")]
    fn to(&mut self, second: i64, power: f64) {
        let lasts = second - self.at;
        if lasts <= 0 {
            return;
        }
        let slope = (power as i64 - self.power) / lasts;
        if second > self.day.begin {
            let from = self.at.max(self.day.begin);
            self.ramp(from, self.power + slope * (from - self.at), slope);
        }
        self.power += slope * lasts;
        self.at = second;
    }

    /// Nothing from here on.
    fn end(&mut self) {
        if self.at >= self.day.begin {
            self.ramp(self.at, 0, 0);
        }
    }

    fn ramp(&mut self, second: i64, power: i64, slope: i64) {
        // Of a day's seconds and of at most 500 kW.
        if let (Ok(at), Ok(power), Ok(slope)) =
            (u32::try_from(second - self.day.begin), i32::try_from(power), i32::try_from(slope))
            && at < self.day.length
        {
            append(self.ramps, PowerRamp { at, power, slope });
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    /// A plate of 1 kWp on flat ground whose power in kW is the light in kW/m².
    fn flat() -> Panels {
        Panels::new(
            &PvPlan {
                kwp: 1.0 / YIELD,
                tilt: 0.0,
                latitude: 47.0,
                longitude: 8.5,
                sky: Sky::Clear,
                ..PvPlan::default()
            },
            1,
        )
    }

    fn day(panels: &Panels, date: jiff::civil::Date) -> Vec<i64> {
        let day = LocalDay::on(date);
        let mut ramps = Vec::new();
        panels.add(&day, &mut ramps);
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

    /// The figures to check Haurwitz by at 47° N: 944 and 308 W/m² at noon, 8.7 and 1.55 kWh/m².
    #[test]
    #[expect(clippy::cast_precision_loss, reason = "figures of a day")]
    fn a_clear_sky_gives_what_the_formula_promises() {
        for (date, noon, sum) in
            [(date(2026, 6, 21), 944.0, 8.7), (date(2026, 12, 21), 308.0, 1.55)]
        {
            let power = day(&flat(), date);
            let most = *power.iter().max().unwrap() as f64 / 1000.0;
            assert!((most / noon - 1.0).abs() < 0.01, "{date}: {most} W/m² at noon");
            let kwh = power.iter().sum::<i64>() as f64 / 3.6e9;
            assert!((kwh / sum - 1.0).abs() < 0.02, "{date}: {kwh} kWh/m²");
            assert!(power.iter().all(|power| *power >= 0));
            assert_eq!(power[0], 0);
        }
    }

    #[test]
    fn the_inverter_caps_it_and_the_panels_azimuth_moves_its_peak() {
        let with = |azimuth, inverter_kw| {
            Panels::new(&PvPlan { azimuth, inverter_kw, sky: Sky::Clear, ..PvPlan::default() }, 1)
        };
        let june = date(2026, 6, 21);
        let peak =
            |power: &[i64]| power.iter().enumerate().max_by_key(|(_, power)| **power).unwrap().0;
        let capped = day(&with(180.0, Some(3.0)), june);
        assert!((2_990_000..=3_000_000).contains(capped.iter().max().unwrap()));
        let (east, west) = (day(&with(90.0, None), june), day(&with(270.0, None), june));
        assert!(peak(&east) + 7200 < peak(&west));
    }

    #[test]
    fn panels_anywhere_go_on_through_the_local_midnight() {
        let panels = Panels::new(&PvPlan { longitude: 170.0, ..PvPlan::default() }, 5);
        let first = day(&panels, date(2026, 6, 21));
        let second = day(&panels, date(2026, 6, 22));
        let (last, next) = (*first.last().unwrap(), second[0]);
        assert!(last > 0, "it is light there at midnight here");
        assert!((last - next).abs() < 100_000, "{last} mW, then {next} mW");
    }
}
