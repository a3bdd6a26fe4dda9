//! A meter: the signal of its house, seen through what its kind sends.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp, Unit};

use super::link::{Delivered, Line};
use super::measured::{Measured, Measurement, Replayed, without};
use super::signal::{Signal, SignalPlan};
use super::{
    Cadence, Kind, KindFacts, Link, MeterIdentity, Observation, Quantity, Reading, Recording,
    RegisterCut, ReplayMode, Volume,
};
use crate::clock::VirtualTime;
use crate::decimal::Decimal;
use crate::fault::{Episodes, MeterState, Silence};
use crate::rng::{Draws, Stream};

/// What a scenario says of a meter.
#[derive(Debug, Clone, PartialEq)]
pub struct MeterPlan {
    /// Which it is; none where nothing is plugged in.
    pub kind: Option<Kind>,
    /// What it measures.
    pub signal: SignalPlan,
    /// Its texts, where they are not its kind's own.
    pub texts: MeterTexts,
    /// How its tariff registers are cut.
    pub registers: RegisterCut,
    /// What it encrypts its readings with, where it does.
    pub encryption_key: Option<[u8; 16]>,
    /// What it measures in place of the signal.
    pub replay: Option<ReplayPlan>,
}

impl Default for MeterPlan {
    fn default() -> Self {
        Self {
            kind: Some(Kind::default()),
            signal: SignalPlan::default(),
            texts: MeterTexts::default(),
            registers: RegisterCut::default(),
            encryption_key: None,
            replay: None,
        }
    }
}

/// Texts of a meter's identity that a scenario gives itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named as in `/report`")]
pub struct MeterTexts {
    pub logical_name: Option<String>,
    pub id: Option<String>,
    pub model: Option<String>,
}

/// A recording that drives a meter in place of the model.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplayPlan {
    /// What was recorded. Meters share it.
    pub recording: Arc<Recording>,
    /// What comes after its last row.
    pub mode: ReplayMode,
    /// Whether values between two rows lie between theirs, in place of the earlier row's.
    pub interpolate: bool,
}

/// What a meter measures.
#[derive(Debug)]
enum Source {
    Model(Box<Signal>),
    Replay(ReplayPlan),
}

/// A meter. Cheap to ask, at any moment, in any order.
#[derive(Debug)]
pub struct Meter {
    facts: &'static KindFacts,
    plugged: bool,
    identity: Arc<MeterIdentity>,
    source: Source,
    registers: RegisterCut,
    encryption_key: Option<[u8; 16]>,
    cadence: Cadence,
    clock: MeterClock,
    device: Box<str>,
    volume_meter: Arc<str>,
    seed: u64,
    stream: Stream,
    start: Timestamp,
    /// The newest reading that was put together, for all who ask before the next one comes.
    newest: Mutex<Option<Made>>,
}

/// A reading, and what it was made of.
#[derive(Debug)]
struct Made {
    of: Delivered,
    under: Arc<Episodes>,
    reading: Arc<Reading>,
}

/// What the device brings along when it asks its meter.
#[derive(Debug, Clone, Copy)]
pub struct Listener<'a> {
    /// What befalls the meter.
    pub episodes: &'a Arc<Episodes>,
    /// The key that the device decrypts with, where it does.
    pub key: Option<&'a [u8; 16]>,
}

/// The meter's own clock: behind the device's, and drifting a little.
#[derive(Debug, Clone, Copy)]
struct MeterClock {
    /// Behind by so many ms at the start.
    behind: f64,
    /// And by so many ms more with each day.
    per_day: f64,
}

impl MeterClock {
    fn new(facts: &KindFacts, seed: u64, stream: Stream) -> Self {
        let mut draws = Draws::new(seed, stream.child(Stream::named("clock").number()), 0);
        let (least, most) = facts.clock_behind;
        // Half a millionth: the drift of a good quartz.
        Self { behind: draws.uniform(least, most) * 1000.0, per_day: draws.uniform(-43.2, 43.2) }
    }

    /// How many ms it is behind at `at`.
    #[expect(clippy::cast_possible_truncation, reason = "a cast from f64 saturates")]
    fn behind_at(self, at: VirtualTime) -> i64 {
        (self.behind + self.per_day * at.as_secs_f64() / 86_400.0) as i64
    }
}

impl Meter {
    /// A meter in a house that starts at `start`; all its randomness comes from `seed` and `device`.
    #[must_use]
    pub fn new(plan: &MeterPlan, seed: u64, device: &str, start: Timestamp) -> Self {
        let facts = plan.kind.unwrap_or_default().facts();
        let stream = Stream::named("meter").child(Stream::named(device).number());
        let number = Draws::new(seed, stream.child(Stream::named("number").number()), 0).bits();
        let (source, recorded) = match &plan.replay {
            Some(replay) => (Source::Replay(replay.clone()), replay.recording.texts()),
            None => {
                let signal = Signal::new(&plan.signal, seed, device, start);
                (Source::Model(Box::new(signal)), MeterTexts::default())
            }
        };
        Self {
            facts,
            plugged: plan.kind.is_some(),
            identity: Arc::new(identity(facts, &plan.texts.clone().or(recorded), number)),
            source,
            registers: plan.registers,
            encryption_key: plan.encryption_key,
            cadence: Cadence::new(facts, seed, stream),
            clock: MeterClock::new(facts, seed, stream),
            device: device.into(),
            volume_meter: filled("2000####", number / 7).into(),
            seed,
            stream,
            start,
            newest: Mutex::default(),
        }
    }

    /// Brings the device's link to it up to `now`. What befalls the meter, and the device's key, are
    /// those that were in force all the way from where the link stands.
    pub fn follow(&self, link: &mut Link, now: VirtualTime, listener: Listener<'_>) {
        link.follow(&self.line(listener), now);
    }

    /// What the device knows of it at the moment that the link was brought up to.
    #[must_use]
    pub fn observe(&self, link: &Link, listener: Listener<'_>) -> Observation {
        let (status, newest) = link.seen(&self.line(listener));
        let reading = newest.map(|of| self.reading(of, listener.episodes));
        let meter = reading.as_ref().map(|_| Arc::clone(&self.identity));
        Observation { status, meter, reading }
    }

    /// When the device gets the next reading after the moment that the link was brought up to; none
    /// where none will come. With rules over the meter that change very often it may be a moment at
    /// which there is none: then one asks again.
    #[must_use]
    pub fn next_reading(&self, link: &Link, listener: Listener<'_>) -> Option<VirtualTime> {
        link.next(&self.line(listener))
    }

    fn line<'a>(&'a self, listener: Listener<'a>) -> Line<'a> {
        let locked = match (&self.encryption_key, listener.key) {
            _ if !self.plugged => Some(Silence::NotConnected),
            (Some(_), None) => Some(Silence::KeyRequired),
            (Some(own), Some(key)) if own != key => Some(Silence::EncryptionKey),
            _ => None,
        };
        Line {
            cadence: &self.cadence,
            recognition: Duration::from_millis(self.facts.recognition),
            device: &self.device,
            episodes: listener.episodes,
            locked,
            ends: self.ends(),
        }
    }

    fn reading(&self, of: Delivered, episodes: &Arc<Episodes>) -> Arc<Reading> {
        let lock = || self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = &*lock()
            && made.of == of
            && Arc::ptr_eq(&made.under, episodes)
        {
            return Arc::clone(&made.reading);
        }
        // Not under the lock: a day that nobody asked about yet takes its time.
        let reading = Arc::new(self.put_together(of, episodes));
        let made = Made { of, under: Arc::clone(episodes), reading: Arc::clone(&reading) };
        let replaced = lock().replace(made);
        drop(replaced);
        reading
    }

    fn put_together(&self, of: Delivered, episodes: &Episodes) -> Reading {
        let at = self.cadence.time(of.n);
        let state = episodes.at(&self.device, at);
        let measured = state.frozen.unwrap_or(at);
        let interval = of.before.map_or(self.cadence.period(), |n| at.since(self.cadence.time(n)));
        let mut reading = Reading::new(of.id, at, interval, self.meter_time(at, &state));
        let still = state.frozen.map(|since| self.cadence.first_from(since));
        let unused = self.unused_phases(still.unwrap_or(of.n));
        let measurement = self.measurement(measured, &state);
        if self.facts.tariff {
            reading.tariff = self.tariff(measured);
        }
        match &self.source {
            Source::Model(_) => {
                for (quantity, places) in self.facts.sends {
                    reading.set(*quantity, measurement.value(*quantity, *places, unused));
                }
            }
            Source::Replay(replay) => {
                for quantity in replay.recording.quantities() {
                    reading.set(quantity, measurement.value(quantity, Decimal::PLACES, unused));
                }
            }
        }
        if self.facts.volume_bus {
            let meter_id = Arc::clone(&self.volume_meter);
            reading.volumes.push(Volume { bus: 1, meter_id, meter_time: None, cumulative: None });
        }
        reading
    }

    /// What is measured at `at`, with what befalls the meter.
    fn measurement(&self, at: VirtualTime, state: &MeterState) -> Measurement<'_> {
        match &self.source {
            Source::Model(signal) => Measurement::Model(Measured {
                moment: without(signal.at(at), state.missing),
                energies: signal.energy(at),
                missing: state.missing,
                lost: state.lost,
                cut: self.registers,
            }),
            Source::Replay(ReplayPlan { recording, mode, interpolate }) => {
                Measurement::Replay(Replayed {
                    played: recording.at(millis(at), *mode, *interpolate),
                    missing: state.missing,
                    lost: state.lost,
                })
            }
        }
    }

    /// The tariff in force at `at`; none where nobody knows.
    #[must_use]
    pub fn tariff(&self, at: VirtualTime) -> Option<u8> {
        match &self.source {
            Source::Model(signal) => Some(signal.tariff(at)),
            Source::Replay(ReplayPlan { recording, mode, interpolate }) => {
                recording.at(millis(at), *mode, *interpolate).tariff()
            }
        }
    }

    /// What could be measured at `at`: every quantity in its finest places, in the order of
    /// [`Quantity::ALL`], whether this kind of meter sends it or not, and whatever befalls it.
    #[must_use]
    pub fn trace(&self, at: VirtualTime) -> [Option<Decimal>; Quantity::COUNT] {
        let measurement = self.measurement(at, &MeterState::default());
        let mut values = [None; Quantity::COUNT];
        for (value, quantity) in values.iter_mut().zip(Quantity::ALL) {
            *value = measurement.value(*quantity, 6, [0; 3]);
        }
        values
    }

    /// When there is nothing more to measure.
    fn ends(&self) -> VirtualTime {
        match &self.source {
            Source::Replay(ReplayPlan { recording, mode: ReplayMode::End, .. }) => {
                let lasts = u64::try_from(recording.lasts()).unwrap_or(u64::MAX);
                VirtualTime::ZERO.after(Duration::from_millis(lasts))
            }
            _ => VirtualTime::MAX,
        }
    }

    /// The time by the meter's clock, which has whole seconds.
    fn meter_time(&self, at: VirtualTime, state: &MeterState) -> Timestamp {
        let off = state.clock.saturating_sub(self.clock.behind_at(at));
        let since_start = SignedDuration::try_from(at.since_start()).unwrap_or(SignedDuration::MAX);
        let since_start = since_start.saturating_add(SignedDuration::from_millis(off));
        let time = self.start.saturating_add(since_start).unwrap_or(Timestamp::MAX);
        let whole = jiff::TimestampRound::new().smallest(Unit::Second).mode(jiff::RoundMode::Floor);
        time.round(whole).unwrap_or(time)
    }

    /// What phases without a load on them show, in mV.
    fn unused_phases(&self, n: u64) -> [u32; 3] {
        let (least, most) = self.facts.unused_phase;
        if least == most {
            return [least; 3];
        }
        let mut draws =
            Draws::new(self.seed, self.stream.child(Stream::named("unused").number()), n);
        let spread = u64::from(most - least) + 1;
        [(); 3].map(|()| least + u32::try_from(draws.bits() % spread).unwrap_or(0))
    }
}

/// ms since the start.
fn millis(at: VirtualTime) -> i64 {
    i64::try_from(at.since_start().as_millis()).unwrap_or(i64::MAX)
}

impl MeterTexts {
    /// These, and `others` where one is missing.
    fn or(self, others: Self) -> Self {
        Self {
            logical_name: self.logical_name.or(others.logical_name),
            id: self.id.or(others.id),
            model: self.model.or(others.model),
        }
    }
}

/// Who a meter with this number is.
fn identity(facts: &KindFacts, texts: &MeterTexts, number: u64) -> MeterIdentity {
    let text =
        |own: &Option<String>, pattern| own.clone().unwrap_or_else(|| filled(pattern, number));
    MeterIdentity {
        interface: facts.interface,
        protocol: facts.protocol,
        protocol_version: facts.protocol_version.to_owned(),
        logical_name: text(&texts.logical_name, facts.logical_name),
        id: text(&texts.id, facts.id),
        model: text(&texts.model, facts.model),
        vendor: facts.vendor.to_owned(),
        prefix: facts.prefix.to_owned(),
    }
}

/// The pattern with the last digits of `number` in place of its `#`.
fn filled(pattern: &str, mut number: u64) -> String {
    let mut digits: Vec<char> = pattern.chars().collect();
    for place in digits.iter_mut().rev().filter(|place| **place == '#') {
        *place = char::from_digit(u32::try_from(number % 10).unwrap_or(0), 10).unwrap_or('0');
        number /= 10;
    }
    digits.into_iter().collect()
}
