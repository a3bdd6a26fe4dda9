//! A meter: the signal of its house, seen through what its kind sends.

use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp, Unit};

use super::measured::{Measured, Measurement, Replayed, without};
use super::reception::{ReceivedTelegram, ReceptionConditions};
use super::signal::{Signal, SignalPlan};
use super::{
    Cadence, Interface, KindFacts, MeterIdentity, MeterKind, Observation, Quantity, Reading,
    ReceptionCursor, Recording, RegisterCut, ReplayMode, Volume,
};
use crate::clock::VirtualTime;
use crate::decimal::Decimal;
use crate::fault::{Episodes, MeterState, Silence};
use crate::rng::{Draws, RandomStream};

/// What a scenario says of a meter.
#[derive(Debug, Clone, PartialEq)]
pub struct MeterPlan {
    /// Which it is; none where nothing is plugged in.
    pub kind: Option<MeterKind>,
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
            kind: Some(MeterKind::default()),
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
    /// `volume[].meter_id`, of the gas meter behind it.
    pub volume_id: Option<String>,
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
enum MeterSource {
    Model(Box<Signal>),
    Replay(ReplayPlan),
}

/// A meter. Cheap to ask, at any moment, in any order.
#[derive(Debug)]
pub struct Meter {
    facts: &'static KindFacts,
    plugged: bool,
    identity: Arc<MeterIdentity>,
    source: MeterSource,
    registers: RegisterCut,
    encryption_key: Option<[u8; 16]>,
    cadence: Cadence,
    clock: MeterClock,
    device: Box<str>,
    /// The id of the gas meter behind it, where it has one.
    behind: Arc<str>,
    seed: u64,
    stream: RandomStream,
    start: Timestamp,
    /// The newest reading that was put together, for all who ask before the next one comes.
    newest: Mutex<Option<Made>>,
}

/// A reading, and what it was made of.
#[derive(Debug)]
struct Made {
    of: ReceivedTelegram,
    under: Arc<Episodes>,
    reading: Arc<Reading>,
}

/// What the device brings along when it asks its meter.
#[derive(Debug, Clone, Copy)]
pub struct MeterListener<'a> {
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
    fn new(facts: &KindFacts, seed: u64, stream: RandomStream) -> Self {
        let mut draws = Draws::new(seed, stream.child(RandomStream::named("clock").number()), 0);
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
        let stream = RandomStream::named("meter").child(RandomStream::named(device).number());
        let number =
            Draws::new(seed, stream.child(RandomStream::named("number").number()), 0).bits();
        let (source, recorded) = if let Some(replay) = &plan.replay {
            (MeterSource::Replay(replay.clone()), replay.recording.texts())
        } else {
            let signal = Signal::new(&plan.signal, seed, device, start);
            (MeterSource::Model(Box::new(signal)), MeterTexts::default())
        };
        let texts = plan.texts.clone().or(recorded);
        let behind = texts.volume_id.clone().unwrap_or_else(|| filled("2000####", number / 7));
        Self {
            facts,
            plugged: plan.kind.is_some(),
            identity: Arc::new(identity(facts, &texts, number)),
            source,
            registers: plan.registers,
            encryption_key: plan.encryption_key,
            cadence: Cadence::new(facts, seed, stream),
            clock: MeterClock::new(facts, seed, stream),
            device: device.into(),
            behind: behind.into(),
            seed,
            stream,
            start,
            newest: Mutex::default(),
        }
    }

    /// The plug that it is on; none where nothing is plugged in.
    #[must_use]
    pub fn interface(&self) -> Option<Interface> {
        self.plugged.then_some(self.identity.interface)
    }

    /// Brings the device's link to it up to `now`. What befalls the meter, and the device's key, are
    /// those that were in force all the way from where the link stands.
    pub fn follow(
        &self,
        link: &mut ReceptionCursor,
        now: VirtualTime,
        listener: MeterListener<'_>,
    ) {
        link.advance_to_inclusive(&self.line(listener), now);
    }

    /// Brings the link up to right before `end`, as [`Meter::follow`] does.
    pub fn follow_to(
        &self,
        link: &mut ReceptionCursor,
        end: VirtualTime,
        listener: MeterListener<'_>,
    ) {
        link.advance_to(&self.line(listener), end);
    }

    /// What the device knows of it at the moment that the link was brought up to.
    #[must_use]
    pub fn observe(&self, link: &ReceptionCursor, listener: MeterListener<'_>) -> Observation {
        let (status, newest) = link.seen(&self.line(listener));
        let reading = newest.map(|of| self.reading(of, listener.episodes));
        let meter = reading.as_ref().map(|_| Arc::clone(&self.identity));
        Observation { status, meter, reading }
    }

    /// When the device gets the next reading after the moment that the link was brought up to; none
    /// where none will come. With rules over the meter that change very often it may be a moment at
    /// which there is none: then one asks again.
    #[must_use]
    pub fn next_reading(
        &self,
        link: &ReceptionCursor,
        listener: MeterListener<'_>,
    ) -> Option<VirtualTime> {
        link.next(&self.line(listener))
    }

    /// Whether `link` can be that of a device which came up at `up_since` and has listened to this
    /// meter until `now` at the latest.
    #[must_use]
    pub fn fits(&self, link: &ReceptionCursor, up_since: VirtualTime, now: VirtualTime) -> bool {
        link.fits(&self.cadence, up_since, now)
    }

    fn line<'a>(&'a self, listener: MeterListener<'a>) -> ReceptionConditions<'a> {
        let locked = match (&self.encryption_key, listener.key) {
            _ if !self.plugged => Some(Silence::NotConnected),
            (Some(_), None) => Some(Silence::KeyRequired),
            (Some(own), Some(key)) if own != key => Some(Silence::EncryptionKey),
            _ => None,
        };
        ReceptionConditions {
            cadence: &self.cadence,
            recognition: Duration::from_millis(self.facts.recognition),
            befalling: listener.episodes.of(&self.device),
            locked,
            ends: self.ends(),
        }
    }

    fn reading(&self, of: ReceivedTelegram, episodes: &Arc<Episodes>) -> Arc<Reading> {
        let lock = || self.newest.lock();
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

    fn put_together(&self, of: ReceivedTelegram, episodes: &Episodes) -> Reading {
        let at = self.cadence.time(of.n);
        let state = episodes.at(&self.device, at);
        let measured = state.frozen.unwrap_or(at);
        let interval = of.before.map_or(self.cadence.period(), |n| at.since(self.cadence.time(n)));
        let mut reading = Reading::new(of.id, at, interval, self.meter_time(at, &state));
        let still = state.frozen.map(|since| self.cadence.first_from(since));
        let unused = self.unused_phases(still.unwrap_or(of.n));
        let measurement = self.measurement(measured, &state);
        if self.facts.tariff {
            reading.tariff = measurement.tariff();
        }
        match &self.source {
            MeterSource::Model(_) => {
                for (quantity, places) in self.facts.sends {
                    reading.set(*quantity, measurement.value(*quantity, *places, unused));
                }
            }
            MeterSource::Replay(replay) => {
                for quantity in replay.recording.quantities() {
                    reading.set(quantity, measurement.value(quantity, Decimal::MAX_PLACES, unused));
                }
            }
        }
        if self.facts.volume_bus {
            let meter_id = Arc::clone(&self.behind);
            reading.volumes.push(Volume { bus: 1, meter_id, meter_time: None, cumulative: None });
        }
        reading
    }

    /// What is measured at `at`, with what befalls the meter.
    fn measurement(&self, at: VirtualTime, state: &MeterState) -> Measurement<'_> {
        match &self.source {
            MeterSource::Model(signal) => {
                let signal = signal.state(at);
                Measurement::Model(Measured {
                    moment: without(signal.moment, state.missing),
                    energies: signal.energies,
                    tariff: signal.tariff,
                    missing: state.missing,
                    lost: state.lost,
                    cut: self.registers,
                })
            }
            MeterSource::Replay(ReplayPlan { recording, mode, interpolate }) => {
                Measurement::Replay(Replayed {
                    played: recording.at(millis(at), *mode, *interpolate),
                    missing: state.missing,
                    lost: state.lost,
                })
            }
        }
    }

    /// What could be measured at `at`: the tariff, and every quantity in its finest places in the
    /// order of [`Quantity::ALL`], whether this kind of meter sends it or not, and whatever befalls
    /// it.
    #[must_use]
    pub fn trace(&self, at: VirtualTime) -> (Option<u8>, [Option<Decimal>; Quantity::COUNT]) {
        let measurement = self.measurement(at, &MeterState::default());
        let mut values = [None; Quantity::COUNT];
        for (value, quantity) in values.iter_mut().zip(Quantity::ALL) {
            *value = measurement.value(*quantity, 6, [0; 3]);
        }
        (measurement.tariff(), values)
    }

    /// When there is nothing more to measure.
    fn ends(&self) -> VirtualTime {
        match &self.source {
            MeterSource::Replay(ReplayPlan { recording, mode: ReplayMode::End, .. }) => {
                let plays = u64::try_from(recording.plays()).unwrap_or(u64::MAX);
                VirtualTime::ZERO.after(Duration::from_millis(plays))
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
            Draws::new(self.seed, self.stream.child(RandomStream::named("unused").number()), n);
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
            volume_id: self.volume_id.or(others.volume_id),
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fault::{ClockDrift, Episode, MeterEffect, Trigger};
    use crate::limits;
    use crate::meter::MeterStatus;
    use crate::meter::signal::plan::{LoadPlan, PvPlan, RegisterPlan};

    const DEVICE: &str = "A842E39F8124";

    fn at(seconds: u64) -> VirtualTime {
        VirtualTime::ZERO.after(Duration::from_secs(seconds))
    }

    fn plan(kind: MeterKind) -> MeterPlan {
        let signal = SignalPlan {
            pv: Some(PvPlan { kwp: 9.0, ..PvPlan::default() }),
            loads: vec![LoadPlan::heat_pump(), LoadPlan::boiler()],
            registers: RegisterPlan {
                import: [7_000_001, 20],
                export: [3, 4],
                ..RegisterPlan::default()
            },
            ..SignalPlan::default()
        };
        MeterPlan { kind: Some(kind), signal, ..MeterPlan::default() }
    }

    fn meter(plan: &MeterPlan, seed: u64) -> Meter {
        let start: Timestamp = "2026-10-24T09:00:00+02:00".parse().unwrap();
        Meter::new(plan, seed, DEVICE, start)
    }

    fn seen(meter: &Meter, now: VirtualTime, effects: &[MeterEffect]) -> Observation {
        let episode = |effect: &MeterEffect| Episode {
            device: None,
            effect: *effect,
            when: Trigger { after: Duration::from_mins(5), ..Trigger::default() },
            armed_at: VirtualTime::ZERO,
            until: VirtualTime::MAX,
        };
        let episodes = Episodes::new(effects.iter().map(episode).collect());
        let listener = MeterListener { episodes: &episodes, key: None };
        let mut link = ReceptionCursor::new(VirtualTime::ZERO);
        meter.follow(&mut link, now, listener);
        meter.observe(&link, listener)
    }

    fn reading(meter: &Meter, now: VirtualTime, effects: &[MeterEffect]) -> Reading {
        let observation = seen(meter, now, effects);
        assert_eq!(observation.status, MeterStatus::Ok);
        Reading::clone(&observation.reading.unwrap())
    }

    /// In units of 10^−`places`; 0 where it is not sent.
    fn number(reading: &Reading, quantity: Quantity) -> i64 {
        reading.get(quantity).map_or(0, Decimal::mantissa)
    }

    const COUNTERS: [Quantity; 8] = [
        Quantity::ActiveImportEnergy,
        Quantity::ActiveImportEnergyT1,
        Quantity::ActiveImportEnergyT2,
        Quantity::ActiveExportEnergy,
        Quantity::ActiveExportEnergyT1,
        Quantity::ActiveExportEnergyT2,
        Quantity::ReactiveImportEnergy,
        Quantity::ReactiveExportEnergy,
    ];

    fn check(reading: &Reading, kind: MeterKind) -> Result<(), TestCaseError> {
        use Quantity as Q;
        let n = |quantity| number(reading, quantity);
        for (quantity, places) in kind.facts().sends {
            prop_assert_eq!(reading.get(*quantity).map(Decimal::places), Some(*places));
        }
        let phases = n(Q::ImportPowerL1) + n(Q::ImportPowerL2) + n(Q::ImportPowerL3)
            - n(Q::ExportPowerL1)
            - n(Q::ExportPowerL2)
            - n(Q::ExportPowerL3);
        prop_assert_eq!(n(Q::ImportPower) - n(Q::ExportPower), phases);
        prop_assert!(n(Q::ImportPower) == 0 || n(Q::ExportPower) == 0);
        if kind != MeterKind::LandisGyr {
            for total in [Q::ActiveImportEnergy, Q::ActiveExportEnergy] {
                let [first, second] = total.tariffs().unwrap();
                prop_assert_eq!(n(total), n(first) + n(second));
            }
        }
        if kind == MeterKind::LandisGyr {
            for (phase, [p_in, p_out, q_in, q_out, volts, amperes]) in [
                [
                    Q::ImportPowerL1,
                    Q::ExportPowerL1,
                    Q::ReactiveImportPowerL1,
                    Q::ReactiveExportPowerL1,
                    Q::VoltageL1,
                    Q::CurrentL1,
                ],
                [
                    Q::ImportPowerL2,
                    Q::ExportPowerL2,
                    Q::ReactiveImportPowerL2,
                    Q::ReactiveExportPowerL2,
                    Q::VoltageL2,
                    Q::CurrentL2,
                ],
                [
                    Q::ImportPowerL3,
                    Q::ExportPowerL3,
                    Q::ReactiveImportPowerL3,
                    Q::ReactiveExportPowerL3,
                    Q::VoltageL3,
                    Q::CurrentL3,
                ],
            ]
            .into_iter()
            .enumerate()
            {
                let f = |quantity| reading.get(quantity).unwrap().to_f64();
                let (p, q) = (f(p_in) - f(p_out), f(q_in) - f(q_out));
                let apparent = (p * p + q * q).sqrt() * 1000.0;
                let shown = f(volts) * f(amperes);
                // Half a volt, half a hundredth of an ampere, half a watt.
                let slack = 0.5 * f(amperes) + 0.005 * f(volts) + 2.0;
                prop_assert!(
                    (apparent - shown).abs() <= slack,
                    "L{}: {} VA, {} VA",
                    phase + 1,
                    apparent,
                    shown
                );
            }
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        /// Over two days, the night in which the clocks go back among them.
        // Ruling: METER-7.
        #[test]
        fn readings_fit_together_and_counters_never_fall(
            seed: u64,
            kind in prop::sample::select(MeterKind::ALL.to_vec()),
            mut moments in prop::collection::vec(60..180_000_u64, 2..12),
        ) {
            let meter = meter(&plan(kind), seed);
            let asked_at_random: Vec<_> =
                moments.iter().map(|moment| reading(&meter, at(*moment), &[])).collect();
            let fresh = self::meter(&plan(kind), seed);
            let mut order: Vec<usize> = (0..moments.len()).collect();
            order.sort_by_key(|index| moments[*index]);
            let mut last: Option<&Reading> = None;
            for index in order {
                let now = reading(&fresh, at(moments[index]), &[]);
                prop_assert_eq!(&now, &asked_at_random[index], "whatever was asked before");
                check(&now, kind)?;
                if let Some(last) = last {
                    for counter in COUNTERS {
                        prop_assert!(number(&now, counter) >= number(last, counter), "{}", counter);
                    }
                    prop_assert!(now.id >= last.id);
                }
                last = Some(&asked_at_random[index]);
            }
            moments.clear();
        }
    }

    #[test]
    fn energy_is_power_times_time_to_the_last_digit() {
        let meter = meter(&MeterPlan::default(), 3);
        let mut link = ReceptionCursor::new(VirtualTime::ZERO);
        let episodes = Episodes::none();
        let listener = MeterListener { episodes: &episodes, key: None };
        meter.follow(&mut link, at(3600), listener);
        let before = meter.observe(&link, listener).reading.unwrap();
        let (mut joules, mut last) = (0, Arc::clone(&before));
        for _ in 0..200 {
            let next = meter.next_reading(&link, listener).unwrap();
            meter.follow(&mut link, next, listener);
            let reading = meter.observe(&link, listener).reading.unwrap();
            assert_eq!(reading.at, next);
            assert_eq!(reading.interval, reading.at.since(last.at));
            let watts = number(&reading, Quantity::ImportPower);
            joules += watts * i64::try_from(reading.interval.as_millis()).unwrap();
            last = reading;
        }
        let counted = number(&last, Quantity::ActiveImportEnergy)
            - number(&before, Quantity::ActiveImportEnergy);
        // Loads switch between two readings now and then.
        assert!((counted - joules / 3_600_000).abs() <= 8, "{counted} Wh, {joules} mJ");
    }

    #[test]
    fn registers_cut_on_their_own_miss_the_total_by_little() {
        let meter = meter(
            &MeterPlan { registers: RegisterCut::Separately, ..plan(MeterKind::Kamstrup) },
            1,
        );
        let mut misses = Vec::new();
        for minute in 5..200 {
            let reading = reading(&meter, at(minute * 60), &[]);
            misses.push(
                number(&reading, Quantity::ActiveImportEnergy)
                    - number(&reading, Quantity::ActiveImportEnergyT1)
                    - number(&reading, Quantity::ActiveImportEnergyT2),
            );
        }
        assert!(misses.iter().all(|miss| (0..20).contains(miss)), "{misses:?}");
        assert!(misses.contains(&9), "{misses:?}");
    }

    // Ruling: SIGNAL-5.
    #[test]
    fn unused_phases_float_on_p1_and_are_dead_elsewhere() {
        for kind in MeterKind::ALL {
            let mut plan = plan(kind);
            plan.signal.loads.clear();
            plan.signal.pv = None;
            plan.signal.connection.phases = crate::meter::signal::plan::Phases::One;
            let reading = reading(&meter(&plan, 1), at(100), &[]);
            let volts = |quantity| reading.get(quantity).unwrap().to_f64();
            for unused in [Quantity::VoltageL2, Quantity::VoltageL3] {
                let expected = if kind == MeterKind::Ensor { 32.0..=36.5 } else { 0.0..=0.0 };
                assert!(expected.contains(&volts(unused)), "{kind}: {}", volts(unused));
            }
            assert!((207.0..=253.0).contains(&volts(Quantity::VoltageL1)));
            assert_eq!(number(&reading, Quantity::CurrentL2), 0);
        }
    }

    // Ruling: METER-12.
    #[test]
    fn the_meters_clock_is_behind_and_has_whole_seconds() {
        for (kind, range) in [(MeterKind::LandisGyr, 11_000..23_000), (MeterKind::Ensor, 200..2800)]
        {
            for seed in 0..20 {
                let meter = meter(&plan(kind), seed);
                let reading = reading(&meter, at(5000), &[]);
                let civil = meter
                    .start
                    .checked_add(SignedDuration::try_from(reading.at.since_start()).unwrap())
                    .unwrap();
                let behind = civil.as_millisecond() - reading.meter_time.as_millisecond();
                assert!(range.contains(&behind), "{kind}: {behind} ms");
                assert_eq!(reading.meter_time.subsec_nanosecond(), 0);
            }
        }
    }

    // Ruling: METER-16.
    #[test]
    fn each_fault_changes_what_it_names() {
        let meter = meter(&plan(MeterKind::Kamstrup), 5);
        let healthy = reading(&meter, at(1000), &[]);
        let with = |effect| reading(&meter, at(1000), &[effect]);

        let back = with(MeterEffect::JumpBack(5000));
        for quantity in [Quantity::ActiveImportEnergy, Quantity::ActiveImportEnergyT1] {
            assert_eq!(number(&healthy, quantity) - number(&back, quantity), 5000);
        }
        assert_eq!(
            number(&back, Quantity::ActiveImportEnergyT2),
            number(&healthy, Quantity::ActiveImportEnergyT2)
        );

        let drift = with(MeterEffect::ClockDrift(ClockDrift { offset: 90_000, per_day: 0 }));
        assert_eq!(drift.meter_time.as_second() - healthy.meter_time.as_second(), 90);

        let missing = with(MeterEffect::MissingPhases([false, true, false]));
        assert_eq!(missing.get(Quantity::VoltageL2), Some(Decimal::ZERO));
        assert_eq!(
            number(&missing, Quantity::ImportPowerL2) + number(&missing, Quantity::ExportPowerL2),
            0
        );
        check(&missing, MeterKind::Kamstrup).unwrap();

        let frozen = with(MeterEffect::Frozen);
        let later = reading(&meter, at(9000), &[MeterEffect::Frozen]);
        assert!(later.id > frozen.id && later.meter_time > frozen.meter_time);
        for quantity in Quantity::ALL {
            assert_eq!(later.get(*quantity), frozen.get(*quantity), "{quantity}");
        }
        assert_ne!(
            healthy.get(Quantity::ActiveImportEnergy),
            frozen.get(Quantity::ActiveImportEnergy)
        );
    }

    fn recorded(mode: ReplayMode) -> MeterPlan {
        let recording = Recording::parse(
            "TIME,EAP_T,IPAP_T,IPAN_T,IPAP_L1,IPAP_L2,IPAP_L3,IPAN_L1,IPAN_L2,IPAN_L3,V_L1,MIDENT\n\
             2026-06-10T11:00:00Z,10.000,0.6,0,0.1,0.2,0.3,0,0,0,233,LGZ1\n\
             2026-06-10T11:30:00Z,10.300,0.6,0,0.1,0.2,0.3,0,0,0,233,LGZ1\n",
        );
        let recording = Arc::new(recording.unwrap());
        let replay = ReplayPlan { recording, mode, interpolate: true };
        MeterPlan { replay: Some(replay), ..MeterPlan::default() }
    }

    #[test]
    fn a_recording_drives_the_meter_and_ends_with_no_data() {
        let looped = meter(&recorded(ReplayMode::Loop), 1);
        let reading = self::reading(&looped, at(7200), &[]);
        assert!((10_590..=10_600).contains(&number(&reading, Quantity::ActiveImportEnergy)));
        assert_eq!(reading.get(Quantity::PowerFactor), None, "it was not recorded");
        let identity = seen(&looped, at(7200), &[]).meter.unwrap();
        assert_eq!(identity.logical_name, "LGZ1");

        let ended = meter(&recorded(ReplayMode::End), 1);
        for (second, status) in
            [(1810, MeterStatus::Ok), (3599, MeterStatus::Ok), (3601, MeterStatus::NoData)]
        {
            let seen = seen(&ended, at(second), &[]);
            assert_eq!(seen.status, status, "{second}");
            let counted = seen.reading.unwrap().get(Quantity::ActiveImportEnergy).unwrap();
            assert_eq!(counted.to_string(), "10.3", "the last row stands as long as the first");
        }
    }

    #[test]
    fn the_most_that_phases_come_to_is_shown() {
        let most = limits::RECORDED_NUMBER;
        for (row, expected) in [
            (format!("0,1,{most},{most},{most},0,0,0"), [0, 3 * most + 1]),
            (format!("5,0,0,0,0,{most},{most},{most}"), [3 * most + 5, 0]),
            (format!("-{most},1,0,0,0,0,0,0"), [0, most + 1]),
        ] {
            let head = "TIME,IPAP_T,IPAN_T,IPAP_L1,IPAP_L2,IPAP_L3,IPAN_L1,IPAN_L2,IPAN_L3";
            let rows =
                ["2026-06-10T11:00:00Z", "2026-06-10T11:30:00Z"].map(|at| format!("{at},{row}"));
            let recording = Recording::parse(&format!("{head}\n{}\n", rows.join("\n"))).unwrap();
            let replay = ReplayPlan {
                recording: Arc::new(recording),
                mode: ReplayMode::Loop,
                interpolate: true,
            };
            let plan = MeterPlan { replay: Some(replay), ..MeterPlan::default() };
            let reading =
                reading(&meter(&plan, 1), at(1000), &[MeterEffect::MissingPhases([true; 3])]);
            let powers = [Quantity::ImportPower, Quantity::ExportPower];
            assert_eq!(powers.map(|power| number(&reading, power)), expected, "{row}");
        }
    }

    #[test]
    fn faults_befall_a_recording_too() {
        let meter = meter(&recorded(ReplayMode::Loop), 1);
        let missing =
            reading(&meter, at(1000), &[MeterEffect::MissingPhases([false, true, false])]);
        assert_eq!(missing.get(Quantity::ImportPowerL2), Some(Decimal::ZERO));
        assert_eq!(missing.get(Quantity::ImportPower), Some(Decimal::new(4, 1)));
        let healthy = number(&reading(&meter, at(1000), &[]), Quantity::ActiveImportEnergy);
        let back = number(
            &reading(&meter, at(1000), &[MeterEffect::JumpBack(5000)]),
            Quantity::ActiveImportEnergy,
        );
        assert_eq!(healthy - back, 5000);
    }
}
