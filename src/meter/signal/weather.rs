//! The weather over the house: temperature anomalies and clouds. Both depend on the seed alone, so that
//! all devices of a house share one sky.

use std::f64::consts::TAU;

use super::calendar::LocalDay;
use super::climate::{ANOMALY_DEVIATION, winter_weight};
use super::math::{ordinal, to_f64};
use crate::rng::{Draws, RandomStream};

/// Days between the nodes of the temperature anomaly.
const ANOMALY_NODE_DAYS: i64 = 4;

/// Points of a day's clouds at most; a day of broken clouds has some 500. After the last point, the sky
/// stays constant until sunset.
const MAX_CLOUD_POINTS: u32 = 1000;

/// Returns the difference of a day's temperature from the norm, in K.
pub(super) fn temperature_anomaly(seed: u64, day: &LocalDay) -> f64 {
    let stream = RandomStream::named("temperature");
    let number = day.number();
    let node = |index: i64| Draws::new(seed, stream, ordinal(index)).normal();
    let index = number.div_euclid(ANOMALY_NODE_DAYS);
    let position = to_f64(number.rem_euclid(ANOMALY_NODE_DAYS)) / to_f64(ANOMALY_NODE_DAYS);
    // The squares of the weights add up to 1, so that the variance is the same at and between nodes.
    let (from, to) = (libm::cos(position * TAU / 4.0), libm::sin(position * TAU / 4.0));
    ANOMALY_DEVIATION * (from * node(index) + to * node(index + 1))
}

/// The state of the sky.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SkyState {
    Clear,
    Broken,
    Overcast,
}

/// A kind of day: the parameters of a Markov chain over the states of the sky.
#[derive(Debug)]
struct WeatherKind {
    /// Mean duration of each state, in seconds.
    clear: f64,
    broken: f64,
    overcast: f64,
    /// Probability that the sky is clear after broken clouds; otherwise it is overcast.
    clearing: f64,
    initial: SkyState,
}

const SUNNY: WeatherKind = WeatherKind {
    clear: 12_000.0,
    broken: 900.0,
    overcast: 300.0,
    clearing: 0.97,
    initial: SkyState::Clear,
};
const MIXED: WeatherKind = WeatherKind {
    clear: 1800.0,
    broken: 2400.0,
    overcast: 1500.0,
    clearing: 0.5,
    initial: SkyState::Broken,
};
const DULL: WeatherKind = WeatherKind {
    clear: 500.0,
    broken: 1200.0,
    overcast: 9000.0,
    clearing: 0.15,
    initial: SkyState::Overcast,
};

/// Shares of sunny and of dull days in July and January. With them, January is clear for about a fifth of
/// its daylight, as in Zürich, and a year yields about 1000 kWh a kWp.
const SUNNY_DAYS: (f64, f64) = (0.42, 0.13);
const DULL_DAYS: (f64, f64) = (0.22, 0.60);

/// A point of a piecewise linear function: seconds since sunrise, and transmittance.
type CloudPoint = (f64, f64);

/// The clouds of a day: the transmittance of the sky (the share of sunlight that reaches the ground) as
/// a piecewise linear function of the seconds since sunrise. It can only be read forward in time.
#[derive(Debug)]
pub(super) struct Clouds {
    draws: Draws,
    kind: &'static WeatherKind,
    state: SkyState,
    /// Seconds until the state ends.
    state_remaining: f64,
    /// The two points between which the function is at present.
    from: CloudPoint,
    to: CloudPoint,
    /// The segment after `to` if it is drawn already: its duration, and the transmittance at its end.
    next_ramp: Option<(f64, f64)>,
    points: u32,
}

impl Clouds {
    /// Returns the clouds of a solar day. They depend on the seed and the number of the day alone.
    pub(super) fn new(seed: u64, solar_day: i64, day_of_year: f64) -> Self {
        let mut draws = Draws::new(seed, RandomStream::named("clouds"), ordinal(solar_day));
        let winter = winter_weight(day_of_year);
        let interpolate = |(july, january): (f64, f64)| july + (january - july) * winter;
        let kind = draws.unit();
        let kind = if kind < interpolate(SUNNY_DAYS) {
            &SUNNY
        } else if kind < 1.0 - interpolate(DULL_DAYS) {
            &MIXED
        } else {
            &DULL
        };
        let mut clouds = Self { draws, kind, ..Self::constant(1.0) };
        clouds.enter_state(kind.initial);
        let transmittance = clouds.draw_transmittance();
        clouds.from = (0.0, transmittance);
        clouds.to = (0.0, transmittance);
        clouds.points = 0;
        clouds
    }

    /// Returns a sky of constant transmittance.
    pub(super) fn constant(transmittance: f64) -> Self {
        Self {
            draws: Draws::new(0, RandomStream::named("clouds"), 0),
            kind: &SUNNY,
            state: SkyState::Clear,
            state_remaining: 0.0,
            from: (0.0, transmittance),
            to: (f64::INFINITY, transmittance),
            next_ramp: None,
            points: MAX_CLOUD_POINTS,
        }
    }

    /// Moves to `second` and returns the time of the next point after it.
    pub(super) fn next_change(&mut self, second: f64) -> f64 {
        while self.to.0 <= second {
            self.from = self.to;
            let (duration, transmittance) = if self.points < MAX_CLOUD_POINTS {
                self.next_segment()
            } else {
                (f64::INFINITY, self.from.1)
            };
            self.to = (self.from.0 + duration, transmittance);
            self.points = self.points.saturating_add(1);
        }
        self.to.0
    }

    /// Returns the transmittance at `second`, which lies between the present two points.
    pub(super) fn transmittance_at(&self, second: f64) -> f64 {
        let (from, to) = (self.from, self.to);
        if to.0 <= from.0 {
            return to.1;
        }
        from.1 + (to.1 - from.1) * ((second - from.0) / (to.0 - from.0)).clamp(0.0, 1.0)
    }

    /// Draws the next segment: its duration, and the transmittance at its end.
    fn next_segment(&mut self) -> (f64, f64) {
        if let Some((duration, transmittance)) = self.next_ramp.take() {
            self.state_remaining -= duration;
            return (duration, transmittance);
        }
        if self.state_remaining <= 0.0 {
            let next = match self.state {
                SkyState::Clear | SkyState::Overcast => SkyState::Broken,
                SkyState::Broken if self.draws.chance(self.kind.clearing) => SkyState::Clear,
                SkyState::Broken => SkyState::Overcast,
            };
            self.enter_state(next);
        }
        // The duration of a constant segment, and of the ramp after it.
        let (constant, ramp) = match self.state {
            SkyState::Clear => (self.draw_exponential(1800.0), 120.0),
            SkyState::Broken => (self.draw_exponential(140.0), self.draws.uniform(15.0, 60.0)),
            SkyState::Overcast => (self.draw_exponential(240.0), self.draws.uniform(300.0, 900.0)),
        };
        let constant = constant.max(5.0);
        self.next_ramp = Some((ramp, self.draw_transmittance()));
        self.state_remaining -= constant;
        (constant, self.from.1)
    }

    fn enter_state(&mut self, state: SkyState) {
        let mean = match state {
            SkyState::Clear => self.kind.clear,
            SkyState::Broken => self.kind.broken,
            SkyState::Overcast => self.kind.overcast,
        };
        self.state = state;
        self.state_remaining = self.draw_exponential(mean);
    }

    /// Draws a transmittance of the present state.
    fn draw_transmittance(&mut self) -> f64 {
        match self.state {
            SkyState::Clear => self.draws.uniform(0.97, 1.0),
            SkyState::Broken if self.draws.chance(0.5) => self.draws.uniform(0.3, 0.5),
            SkyState::Broken => self.draws.uniform(0.65, 0.9),
            SkyState::Overcast => self.draws.uniform(0.15, 0.3),
        }
    }

    fn draw_exponential(&mut self, mean: f64) -> f64 {
        -mean * libm::log(1.0 - self.draws.unit())
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn temperature_anomalies_have_their_variance_and_last_days() {
        let mut day = LocalDay::on(date(2020, 1, 1));
        let mut anomalies = Vec::new();
        for _ in 0..4000 {
            anomalies.push(temperature_anomaly(7, &day));
            day = day.next();
        }
        let count = 4000.0;
        let deviation =
            (anomalies.iter().map(|anomaly| anomaly * anomaly).sum::<f64>() / count).sqrt();
        assert!(
            (ANOMALY_DEVIATION * 0.9..ANOMALY_DEVIATION * 1.1).contains(&deviation),
            "{deviation}"
        );
        let next: f64 = anomalies.windows(2).map(|pair| pair[0] * pair[1]).sum::<f64>() / count;
        assert!(next > 0.5 * deviation * deviation, "tomorrow is like today: {next}");
    }

    #[test]
    fn clouds_move_forward_between_overcast_and_clear() {
        for solar_day in 0..200 {
            let mut clouds = Clouds::new(3, solar_day, 180.0);
            let mut at = 0.0;
            let mut points = 0;
            while at < 16.0 * 3600.0 {
                let next = clouds.next_change(at);
                assert!(next > at);
                assert!((0.15..=1.0).contains(&clouds.transmittance_at(f64::midpoint(at, next))));
                at = next;
                points += 1;
            }
            assert!(points < 1000, "{points}");
        }
    }
}
