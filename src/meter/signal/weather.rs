//! The weather over the house: how cold it is and what the sky does, from the seed alone, so that
//! all devices of a house stand under the same sky.

use std::f64::consts::TAU;

use super::calendar::LocalDay;
use super::household::{ordinal, precise};
use super::load_profile::winter;
use crate::limits::CLOUD_POINTS;
use crate::rng::{Draws, RandomStream};

/// Mean outdoor temperature over a year and how far its monthly means swing, in °C: Zürich/Fluntern,
/// norm 1991–2020 of the weather service (9.8 °C over the year, about 1 in January, 19 in July).
const MEAN: f64 = 9.8;
const SWING: f64 = 9.0;
/// How far afternoon and night are from the day's mean, in K.
const DAILY: f64 = 3.5;
/// How far spells of days are from the norm, in K (standard deviation).
pub(super) const SPELL: f64 = 3.5;
/// Days between the nodes of such spells.
const SPELL_DAYS: i64 = 4;

/// The norm of the temperature in an hour of a day of the year.
pub(super) fn norm(of_year: f64, hour: f64) -> f64 {
    MEAN + SWING * (1.0 - 2.0 * winter(of_year)) + DAILY * libm::cos(TAU * (hour - 15.0) / 24.0)
}

/// How far the temperature of a day is from the norm, in K.
pub(super) fn spell(seed: u64, day: &LocalDay) -> f64 {
    let stream = RandomStream::named("temperature");
    let number = day.number();
    let node = |index: i64| Draws::new(seed, stream, ordinal(index)).normal();
    let index = number.div_euclid(SPELL_DAYS);
    let share = precise(number.rem_euclid(SPELL_DAYS)) / precise(SPELL_DAYS);
    // The weights' squares add up to 1: as strange between the nodes as at them.
    let (from, to) = (libm::cos(share * TAU / 4.0), libm::sin(share * TAU / 4.0));
    SPELL * (from * node(index) + to * node(index + 1))
}

/// What the sky does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SkyState {
    Clear,
    Broken,
    Overcast,
}

/// A kind of day: how long, in seconds on average, each state lasts, and how likely the sky clears
/// up when broken clouds end.
#[derive(Debug)]
struct WeatherKind {
    clear: f64,
    broken: f64,
    overcast: f64,
    clears: f64,
    begins: SkyState,
}

const SUNNY: WeatherKind = WeatherKind {
    clear: 12_000.0,
    broken: 900.0,
    overcast: 300.0,
    clears: 0.97,
    begins: SkyState::Clear,
};
const MIXED: WeatherKind = WeatherKind {
    clear: 1800.0,
    broken: 2400.0,
    overcast: 1500.0,
    clears: 0.5,
    begins: SkyState::Broken,
};
const DULL: WeatherKind = WeatherKind {
    clear: 500.0,
    broken: 1200.0,
    overcast: 9000.0,
    clears: 0.15,
    begins: SkyState::Overcast,
};

/// How many days are of which kind, sunny and dull, in July and January: so that January is clear for
/// about a fifth of its daylight, as in Zürich, and a year gives about 1000 kWh a kWp.
const SUNNY_DAYS: (f64, f64) = (0.42, 0.13);
const DULL_DAYS: (f64, f64) = (0.22, 0.60);

/// The clouds of a day: what share of the sun's light they let through, a broken line over the
/// seconds since sunrise. It goes on in time only.
#[derive(Debug)]
pub(super) struct Clouds {
    draws: Draws,
    kind: &'static WeatherKind,
    state: SkyState,
    /// Seconds until the state ends.
    left: f64,
    /// The piece of the line in force: second and share at its begin and its end.
    from: (f64, f64),
    to: (f64, f64),
    /// The piece that follows, where it is drawn already: how long it lasts, the share at its end.
    ramp: Option<(f64, f64)>,
    points: u32,
}

impl Clouds {
    /// The clouds of a day of the sun, by its number; they are the same at any time of asking.
    pub(super) fn new(seed: u64, number: i64, of_year: f64) -> Self {
        let mut draws = Draws::new(seed, RandomStream::named("clouds"), ordinal(number));
        let winter = winter(of_year);
        let between = |(july, january): (f64, f64)| july + (january - july) * winter;
        let kind = draws.unit();
        let kind = if kind < between(SUNNY_DAYS) {
            &SUNNY
        } else if kind < 1.0 - between(DULL_DAYS) {
            &MIXED
        } else {
            &DULL
        };
        let mut clouds = Self { draws, kind, ..Self::still(1.0) };
        clouds.enter(kind.begins);
        let share = clouds.target();
        clouds.from = (0.0, share);
        clouds.to = (0.0, share);
        clouds.points = 0;
        clouds
    }

    /// A sky that never changes.
    pub(super) fn still(share: f64) -> Self {
        Self {
            draws: Draws::new(0, RandomStream::named("clouds"), 0),
            kind: &SUNNY,
            state: SkyState::Clear,
            left: 0.0,
            from: (0.0, share),
            to: (f64::INFINITY, share),
            ramp: None,
            points: CLOUD_POINTS,
        }
    }

    /// When, after `second`, the line bends next.
    pub(super) fn next_change(&mut self, second: f64) -> f64 {
        while self.to.0 <= second {
            self.from = self.to;
            let (lasts, share) = if self.points < CLOUD_POINTS {
                self.piece()
            } else {
                (f64::INFINITY, self.from.1)
            };
            self.to = (self.from.0 + lasts, share);
            self.points = self.points.saturating_add(1);
        }
        self.to.0
    }

    /// The share at `second`, within the piece in force.
    pub(super) fn share_at(&self, second: f64) -> f64 {
        let (from, to) = (self.from, self.to);
        if to.0 <= from.0 {
            return to.1;
        }
        from.1 + (to.1 - from.1) * ((second - from.0) / (to.0 - from.0)).clamp(0.0, 1.0)
    }

    /// The next piece of the line: how long it lasts, and the share at its end.
    fn piece(&mut self) -> (f64, f64) {
        if let Some((lasts, share)) = self.ramp.take() {
            self.left -= lasts;
            return (lasts, share);
        }
        if self.left <= 0.0 {
            let next = match self.state {
                SkyState::Clear | SkyState::Overcast => SkyState::Broken,
                SkyState::Broken if self.draws.chance(self.kind.clears) => SkyState::Clear,
                SkyState::Broken => SkyState::Overcast,
            };
            self.enter(next);
        }
        // How long the share stays as it is, and how fast it goes to the next one.
        let (stays, lasts) = match self.state {
            SkyState::Clear => (self.exponential(1800.0), 120.0),
            SkyState::Broken => (self.exponential(140.0), self.draws.uniform(15.0, 60.0)),
            SkyState::Overcast => (self.exponential(240.0), self.draws.uniform(300.0, 900.0)),
        };
        let stays = stays.max(5.0);
        self.ramp = Some((lasts, self.target()));
        self.left -= stays;
        (stays, self.from.1)
    }

    fn enter(&mut self, state: SkyState) {
        let mean = match state {
            SkyState::Clear => self.kind.clear,
            SkyState::Broken => self.kind.broken,
            SkyState::Overcast => self.kind.overcast,
        };
        self.state = state;
        self.left = self.exponential(mean);
    }

    /// A share that fits the state.
    fn target(&mut self) -> f64 {
        match self.state {
            SkyState::Clear => self.draws.uniform(0.97, 1.0),
            SkyState::Broken if self.draws.chance(0.5) => self.draws.uniform(0.3, 0.5),
            SkyState::Broken => self.draws.uniform(0.65, 0.9),
            SkyState::Overcast => self.draws.uniform(0.15, 0.3),
        }
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * libm::log(1.0 - self.draws.unit())
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn spells_are_as_strange_as_stated_and_last_for_days() {
        let mut day = LocalDay::on(date(2020, 1, 1));
        let mut spells = Vec::new();
        for _ in 0..4000 {
            spells.push(spell(7, &day));
            day = day.next();
        }
        let count = 4000.0;
        let deviation = (spells.iter().map(|spell| spell * spell).sum::<f64>() / count).sqrt();
        assert!((SPELL * 0.9..SPELL * 1.1).contains(&deviation), "{deviation}");
        let next: f64 = spells.windows(2).map(|pair| pair[0] * pair[1]).sum::<f64>() / count;
        assert!(next > 0.5 * deviation * deviation, "tomorrow is like today: {next}");
    }

    #[test]
    fn clouds_go_on_and_stay_between_dark_and_clear() {
        for number in 0..200 {
            let mut clouds = Clouds::new(3, number, 180.0);
            let mut at = 0.0;
            let mut points = 0;
            while at < 16.0 * 3600.0 {
                let next = clouds.next_change(at);
                assert!(next > at);
                assert!((0.15..=1.0).contains(&clouds.share_at(f64::midpoint(at, next))));
                at = next;
                points += 1;
            }
            assert!(points < 1000, "{points}");
        }
    }
}
