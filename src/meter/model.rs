//! A meter: the signal or the recording of its house, as its kind of meter sends it.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp, Unit};
use parking_lot::Mutex;

use super::measurement::{Measurement, ModelMeasurement, ReplayMeasurement, without_phases};
use super::reception::{ReceivedTelegram, ReceptionConditions};
use super::signal::{SharedSignalPlan, Signal};
use super::{
    Cadence, Interface, MeterIdentity, MeterKind, MeterProfile, Observation, Quantity, Reading,
    ReceptionCursor, Recording, RegisterRounding, ReplayMode, Volume,
};
use crate::clock::VirtualTime;
use crate::decimal::Decimal;
use crate::fault::{Episodes, MeterState, SentReadings, Silence};
use crate::rng::{Draws, RandomStream};

/// The parameters of a meter, as a scenario describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct MeterPlan {
    /// The kind. `None` if no meter is plugged in.
    pub kind: Option<MeterKind>,
    /// The signal that it measures.
    pub signal: SharedSignalPlan,
    /// Texts of its identity that replace those of its kind.
    pub texts: MeterTexts,
    /// The rounding of its tariff registers.
    pub rounding: RegisterRounding,
    /// The key with which it encrypts its telegrams. `None` if it does not encrypt.
    pub encryption_key: Option<[u8; 16]>,
    /// A recording that replaces the signal.
    pub replay: Option<ReplayPlan>,
}

impl Default for MeterPlan {
    fn default() -> Self {
        Self {
            kind: Some(MeterKind::default()),
            signal: SharedSignalPlan::default(),
            texts: MeterTexts::default(),
            rounding: RegisterRounding::default(),
            encryption_key: None,
            replay: None,
        }
    }
}

/// Texts of a meter's identity. `None` stands for the text of the meter's kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is named as in `/report`")]
pub struct MeterTexts {
    pub logical_name: Option<String>,
    pub id: Option<String>,
    pub model: Option<String>,
    /// `volume[].meter_id`, of the gas meter on the meter's M-Bus.
    pub volume_id: Option<String>,
}

/// A recording that drives a meter in place of the signal.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplayPlan {
    /// The recording. Meters share it.
    pub recording: Arc<Recording>,
    /// The continuation after its last row.
    pub mode: ReplayMode,
    /// `true` if values between two rows are interpolated, `false` if the earlier row holds.
    pub interpolate: bool,
}

/// The source of a meter's values.
#[derive(Debug)]
enum MeterSource {
    Model(Box<Signal>),
    Replay(ReplayPlan),
}

/// A meter. Queries are cheap, at any time and in any order.
#[derive(Debug)]
pub struct Meter {
    profile: &'static MeterProfile,
    plugged_in: bool,
    identity: Arc<MeterIdentity>,
    source: MeterSource,
    rounding: RegisterRounding,
    encryption_key: Option<[u8; 16]>,
    cadence: Cadence,
    clock: MeterClock,
    device: Box<str>,
    /// The id of the gas meter on its M-Bus, if its kind reports one.
    gas_meter_id: Arc<str>,
    seed: u64,
    stream: RandomStream,
    start: Timestamp,
    /// The newest reading that was built, for all queries before the next one.
    cache: Mutex<Option<CachedReading>>,
}

/// The count of the readings of a meter.
#[derive(Debug)]
struct SentByCadence {
    /// `None` if no meter is plugged in.
    cadence: Option<Cadence>,
    end_of_data: VirtualTime,
}

impl SentReadings for SentByCadence {
    fn sent_until(&self, at: VirtualTime) -> u64 {
        let end = at.after(Duration::from_nanos(1)).min(self.end_of_data);
        self.cadence.as_ref().map_or(0, |cadence| cadence.sent_before(cadence.first_from(end)))
    }
}

/// A reading with everything that it was built from.
#[derive(Debug)]
struct CachedReading {
    telegram: ReceivedTelegram,
    episodes: Arc<Episodes>,
    reading: Arc<Reading>,
}

/// The state of the device that decides how it sees its meter.
#[derive(Debug, Clone, Copy)]
pub struct MeterListener<'a> {
    /// The faults of the meter.
    pub episodes: &'a Arc<Episodes>,
    /// The key with which the device decrypts. `None` if it does not decrypt.
    pub key: Option<&'a [u8; 16]>,
}

/// The meter's own clock, which lags behind the device's and drifts a little.
#[derive(Debug, Clone, Copy)]
struct MeterClock {
    /// Lag at the start, in ms.
    initial_lag: f64,
    /// Growth of the lag with each day, in ms.
    drift_per_day: f64,
}

impl MeterClock {
    /// Largest drift either way, in ms a day: half a millionth, as a good quartz.
    const MAX_DRIFT_PER_DAY: f64 = 43.2;

    fn new(profile: &MeterProfile, seed: u64, stream: RandomStream) -> Self {
        let mut draws = Draws::new(seed, stream.child(RandomStream::named("clock").number()), 0);
        let (min, max) = profile.clock_lag;
        Self {
            initial_lag: draws.uniform(min, max) * 1000.0,
            drift_per_day: draws.uniform(-Self::MAX_DRIFT_PER_DAY, Self::MAX_DRIFT_PER_DAY),
        }
    }

    /// Returns the lag at `at`, in ms.
    #[expect(clippy::cast_possible_truncation, reason = "a cast from f64 saturates")]
    fn lag_at(self, at: VirtualTime) -> i64 {
        (self.initial_lag + self.drift_per_day * at.as_secs_f64() / 86_400.0) as i64
    }
}

impl Meter {
    /// Returns the meter of a device in a house that starts at `start`. All randomness comes from `seed`
    /// and `device`.
    #[must_use]
    pub fn new(plan: &MeterPlan, seed: u64, device: &str, start: Timestamp) -> Self {
        let profile = plan.kind.unwrap_or_default().profile();
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
        let gas_meter_id =
            texts.volume_id.clone().unwrap_or_else(|| fill_digits("2000####", number / 7));
        Self {
            profile,
            plugged_in: plan.kind.is_some(),
            identity: Arc::new(identity(profile, &texts, number)),
            source,
            rounding: plan.rounding,
            encryption_key: plan.encryption_key,
            cadence: Cadence::new(profile, seed, stream),
            clock: MeterClock::new(profile, seed, stream),
            device: device.into(),
            gas_meter_id: gas_meter_id.into(),
            seed,
            stream,
            start,
            cache: Mutex::default(),
        }
    }

    /// Returns the interface of the meter. `None` if no meter is plugged in.
    #[must_use]
    pub fn interface(&self) -> Option<Interface> {
        self.plugged_in.then_some(self.identity.interface)
    }

    /// Advances a cursor up to and including `now`. The listener's faults and key are those in force from
    /// the cursor's position on.
    pub fn advance_to_inclusive(
        &self,
        cursor: &mut ReceptionCursor,
        now: VirtualTime,
        listener: MeterListener<'_>,
    ) {
        cursor.advance_to_inclusive(&self.conditions(listener), now);
    }

    /// Advances a cursor up to but excluding `end`, otherwise as [`Meter::advance_to_inclusive`].
    pub fn advance_to(
        &self,
        cursor: &mut ReceptionCursor,
        end: VirtualTime,
        listener: MeterListener<'_>,
    ) {
        cursor.advance_to(&self.conditions(listener), end);
    }

    /// Returns the state of the meter as the device sees it at the cursor's position.
    #[must_use]
    pub fn observe(&self, cursor: &ReceptionCursor, listener: MeterListener<'_>) -> Observation {
        let (status, newest) = cursor.observe(&self.conditions(listener));
        let reading = newest.map(|telegram| self.reading(telegram, listener.episodes));
        let meter = reading.as_ref().map(|_| Arc::clone(&self.identity));
        Observation { status, meter, reading }
    }

    /// Returns the time of the next reading after the cursor's position. `None` if there will be no
    /// reading. If rules over the meter change its state very often, there may be no reading at the
    /// returned time; the caller then asks again from there.
    #[must_use]
    pub fn next_reading(
        &self,
        cursor: &ReceptionCursor,
        listener: MeterListener<'_>,
    ) -> Option<VirtualTime> {
        cursor.next_reading(&self.conditions(listener))
    }

    /// Returns `true` if a device that booted at `up_since` and received this meter's telegrams until
    /// `now` at the latest can have this cursor.
    #[must_use]
    pub fn is_consistent(
        &self,
        cursor: &ReceptionCursor,
        up_since: VirtualTime,
        now: VirtualTime,
    ) -> bool {
        cursor.is_consistent(&self.cadence, up_since, now)
    }

    fn conditions<'a>(&'a self, listener: MeterListener<'a>) -> ReceptionConditions<'a> {
        let permanent_silence = match (&self.encryption_key, listener.key) {
            _ if !self.plugged_in => Some(Silence::NotConnected),
            (Some(_), None) => Some(Silence::KeyRequired),
            (Some(own), Some(key)) if own != key => Some(Silence::EncryptionKey),
            _ => None,
        };
        ReceptionConditions {
            cadence: &self.cadence,
            recognition: Duration::from_millis(self.profile.recognition_ms),
            faults: listener.episodes.of(&self.device),
            permanent_silence,
            end_of_data: self.end_of_data(),
        }
    }

    fn reading(&self, telegram: ReceivedTelegram, episodes: &Arc<Episodes>) -> Arc<Reading> {
        if let Some(cached) = &*self.cache.lock()
            && cached.telegram == telegram
            && Arc::ptr_eq(&cached.episodes, episodes)
        {
            return Arc::clone(&cached.reading);
        }
        // Not under the lock, because a day that was not sampled yet takes a while to build.
        let reading = Arc::new(self.build_reading(telegram, episodes));
        let cached = CachedReading {
            telegram,
            episodes: Arc::clone(episodes),
            reading: Arc::clone(&reading),
        };
        let replaced = self.cache.lock().replace(cached);
        drop(replaced);
        reading
    }

    fn build_reading(&self, telegram: ReceivedTelegram, episodes: &Episodes) -> Reading {
        let at = self.cadence.time(telegram.number);
        let state = episodes.at(&self.device, at);
        let interval = telegram
            .previous
            .map_or(self.cadence.period(), |previous| at.since(self.cadence.time(previous)));
        let mut reading = Reading::new(telegram.id, at, interval, self.meter_time(at, &state));
        // A frozen meter repeats the values of the time and the telegram at which it froze.
        let measured_at = state.frozen.unwrap_or(at);
        let measured_telegram = state.frozen.map(|since| self.cadence.first_from(since));
        let unused = self.unused_phases(measured_telegram.unwrap_or(telegram.number));
        let measurement = self.measurement(measured_at, &state);
        if self.profile.sends_tariff {
            reading.tariff = measurement.tariff();
        }
        match &self.source {
            MeterSource::Model(_) => {
                for (quantity, places) in self.profile.quantities {
                    reading.set(*quantity, measurement.value(*quantity, *places, unused));
                }
            }
            MeterSource::Replay(replay) => {
                for quantity in replay.recording.quantities() {
                    reading.set(quantity, measurement.value(quantity, Decimal::MAX_PLACES, unused));
                }
            }
        }
        if self.profile.reports_mbus_meter {
            let meter_id = Arc::clone(&self.gas_meter_id);
            reading.volumes.push(Volume {
                channel: 1,
                meter_id,
                meter_time: None,
                cumulative: None,
            });
        }
        reading
    }

    /// Returns the measurement at `at`, with the faults of `state`.
    fn measurement(&self, at: VirtualTime, state: &MeterState) -> Measurement<'_> {
        match &self.source {
            MeterSource::Model(signal) => {
                let sample = signal.sample(at);
                Measurement::Model(ModelMeasurement {
                    powers: without_phases(sample.powers, state.missing),
                    energies: sample.energies,
                    tariff: sample.tariff,
                    missing: state.missing,
                    jump_back_wh: state.lost,
                    rounding: self.rounding,
                })
            }
            MeterSource::Replay(ReplayPlan { recording, mode, interpolate }) => {
                Measurement::Replay(ReplayMeasurement {
                    sample: recording.sample(milliseconds(at), *mode, *interpolate),
                    missing: state.missing,
                    jump_back_wh: state.lost,
                })
            }
        }
    }

    /// Returns the tariff and all quantities at `at`, in the order of [`Quantity::ALL`] and with the most
    /// decimal places. Includes quantities that this kind of meter does not send, and ignores faults.
    #[must_use]
    pub fn trace(&self, at: VirtualTime) -> (Option<u8>, [Option<Decimal>; Quantity::COUNT]) {
        let measurement = self.measurement(at, &MeterState::default());
        let mut values = [None; Quantity::COUNT];
        for (value, quantity) in values.iter_mut().zip(Quantity::ALL) {
            *value = measurement.value(*quantity, 6, [0; 3]);
        }
        (measurement.tariff(), values)
    }

    /// Returns the count of the readings that this meter sends.
    #[must_use]
    pub fn sent_readings(&self) -> Arc<dyn SentReadings> {
        Arc::new(SentByCadence {
            cadence: self.plugged_in.then(|| self.cadence.clone()),
            end_of_data: self.end_of_data(),
        })
    }

    /// Returns the end of a recording that does not loop; otherwise there is no end.
    fn end_of_data(&self) -> VirtualTime {
        match &self.source {
            MeterSource::Replay(ReplayPlan { recording, mode: ReplayMode::End, .. }) => {
                let duration = u64::try_from(recording.total_duration()).unwrap_or(u64::MAX);
                VirtualTime::ZERO.after(Duration::from_millis(duration))
            }
            _ => VirtualTime::MAX,
        }
    }

    /// Returns the time of the meter's clock, which has whole seconds.
    fn meter_time(&self, at: VirtualTime, state: &MeterState) -> Timestamp {
        let offset = state.clock.saturating_sub(self.clock.lag_at(at));
        let since_start = SignedDuration::try_from(at.since_start()).unwrap_or(SignedDuration::MAX);
        let since_start = since_start.saturating_add(SignedDuration::from_millis(offset));
        let time = self.start.saturating_add(since_start).unwrap_or(Timestamp::MAX);
        let whole = jiff::TimestampRound::new().smallest(Unit::Second).mode(jiff::RoundMode::Floor);
        time.round(whole).unwrap_or(time)
    }

    /// Returns the voltages that a telegram shows for phases without a connection, in mV.
    fn unused_phases(&self, telegram: u64) -> [u32; 3] {
        let (min, max) = self.profile.unused_phase_mv;
        if min == max {
            return [min; 3];
        }
        let stream = self.stream.child(RandomStream::named("unused").number());
        let mut draws = Draws::new(self.seed, stream, telegram);
        let values = u64::from(max - min) + 1;
        [(); 3].map(|()| min + u32::try_from(draws.bits() % values).unwrap_or(0))
    }
}

/// Returns the milliseconds since the start.
fn milliseconds(at: VirtualTime) -> i64 {
    i64::try_from(at.since_start().as_millis()).unwrap_or(i64::MAX)
}

impl MeterTexts {
    /// Returns these texts, and those of `others` for texts that are missing here.
    fn or(self, others: Self) -> Self {
        Self {
            logical_name: self.logical_name.or(others.logical_name),
            id: self.id.or(others.id),
            model: self.model.or(others.model),
            volume_id: self.volume_id.or(others.volume_id),
        }
    }
}

/// Returns the identity of a meter with this number.
fn identity(profile: &MeterProfile, texts: &MeterTexts, number: u64) -> MeterIdentity {
    let text =
        |own: &Option<String>, pattern| own.clone().unwrap_or_else(|| fill_digits(pattern, number));
    MeterIdentity {
        interface: profile.interface,
        protocol: profile.protocol,
        protocol_version: profile.protocol_version.to_owned(),
        logical_name: text(&texts.logical_name, profile.logical_name),
        id: text(&texts.id, profile.id),
        model: text(&texts.model, profile.model),
        vendor: profile.vendor.to_owned(),
        prefix: profile.prefix.to_owned(),
    }
}

/// Replaces the `#` of a pattern by the last digits of `number`.
fn fill_digits(pattern: &str, mut number: u64) -> String {
    let mut digits: Vec<char> = pattern.chars().collect();
    for digit in digits.iter_mut().rev().filter(|digit| **digit == '#') {
        *digit = char::from_digit(u32::try_from(number % 10).unwrap_or(0), 10).unwrap_or('0');
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
    use crate::meter::signal::plan::{
        ConnectionPlan, LoadPlan, Phases, PvPlan, RegisterPlan, SignalPlan,
    };

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
        MeterPlan { kind: Some(kind), signal: signal.into(), ..MeterPlan::default() }
    }

    fn meter(plan: &MeterPlan, seed: u64) -> Meter {
        let start: Timestamp = "2026-10-24T09:00:00+02:00".parse().unwrap();
        Meter::new(plan, seed, DEVICE, start)
    }

    fn observation(meter: &Meter, now: VirtualTime, effects: &[MeterEffect]) -> Observation {
        let episode = |effect: &MeterEffect| Episode {
            device: None,
            share: None,
            effect: *effect,
            when: Trigger { after: Duration::from_mins(5), ..Trigger::default() },
            armed_at: VirtualTime::ZERO,
            until: VirtualTime::MAX,
        };
        let episodes = Episodes::new(effects.iter().map(episode).collect());
        let listener = MeterListener { episodes: &episodes, key: None };
        let mut cursor = ReceptionCursor::new(VirtualTime::ZERO);
        meter.advance_to_inclusive(&mut cursor, now, listener);
        meter.observe(&cursor, listener)
    }

    fn reading(meter: &Meter, now: VirtualTime, effects: &[MeterEffect]) -> Reading {
        let observation = observation(meter, now, effects);
        assert_eq!(observation.status, MeterStatus::Ok);
        Reading::clone(&observation.reading.unwrap())
    }

    /// Returns a value in units of its last decimal place; 0 if the meter does not send it.
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

    fn assert_consistent(reading: &Reading, kind: MeterKind) -> Result<(), TestCaseError> {
        use Quantity as Q;
        let n = |quantity| number(reading, quantity);
        for (quantity, places) in kind.profile().quantities {
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
                let [first, second] = total.tariff_registers().unwrap();
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

        /// Over two days that include the night in which clocks go back.
        // Ruling: METER-7.
        #[test]
        fn readings_are_consistent_and_registers_never_decrease(
            seed: u64,
            kind in prop::sample::select(MeterKind::ALL.to_vec()),
            mut times in prop::collection::vec(60..180_000_u64, 2..12),
        ) {
            let meter = meter(&plan(kind), seed);
            let in_random_order: Vec<_> =
                times.iter().map(|time| reading(&meter, at(*time), &[])).collect();
            let fresh = self::meter(&plan(kind), seed);
            let mut order: Vec<usize> = (0..times.len()).collect();
            order.sort_by_key(|index| times[*index]);
            let mut last: Option<&Reading> = None;
            for index in order {
                let now = reading(&fresh, at(times[index]), &[]);
                prop_assert_eq!(&now, &in_random_order[index], "queries do not change later results");
                assert_consistent(&now, kind)?;
                if let Some(last) = last {
                    for counter in COUNTERS {
                        prop_assert!(number(&now, counter) >= number(last, counter), "{}", counter);
                    }
                    prop_assert!(now.id >= last.id);
                }
                last = Some(&in_random_order[index]);
            }
            times.clear();
        }
    }

    #[test]
    fn energy_is_power_times_time_to_the_last_digit() {
        let meter = meter(&MeterPlan::default(), 3);
        let mut cursor = ReceptionCursor::new(VirtualTime::ZERO);
        let episodes = Episodes::none();
        let listener = MeterListener { episodes: &episodes, key: None };
        meter.advance_to_inclusive(&mut cursor, at(3600), listener);
        let before = meter.observe(&cursor, listener).reading.unwrap();
        let (mut joules, mut last) = (0, Arc::clone(&before));
        for _ in 0..200 {
            let next = meter.next_reading(&cursor, listener).unwrap();
            meter.advance_to_inclusive(&mut cursor, next, listener);
            let reading = meter.observe(&cursor, listener).reading.unwrap();
            assert_eq!(reading.at, next);
            assert_eq!(reading.interval, reading.at.since(last.at));
            let watts = number(&reading, Quantity::ImportPower);
            joules += watts * i64::try_from(reading.interval.as_millis()).unwrap();
            last = reading;
        }
        let counted = number(&last, Quantity::ActiveImportEnergy)
            - number(&before, Quantity::ActiveImportEnergy);
        // The difference comes from loads that switch between two readings.
        assert!((counted - joules / 3_600_000).abs() <= 8, "{counted} Wh, {joules} mJ");
    }

    #[test]
    fn separately_rounded_tariffs_miss_the_total_slightly() {
        let meter = meter(
            &MeterPlan { rounding: RegisterRounding::Separate, ..plan(MeterKind::Kamstrup) },
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
    fn unused_phases_have_a_voltage_on_p1_only() {
        for kind in MeterKind::ALL {
            let mut plan = plan(kind);
            let connection = ConnectionPlan { phases: Phases::One, ..ConnectionPlan::default() };
            plan.signal = SignalPlan { connection, ..SignalPlan::default() }.into();
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
    fn the_meters_clock_lags_in_whole_seconds() {
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
    fn each_fault_changes_the_values_it_names() {
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
        assert_consistent(&missing, MeterKind::Kamstrup).unwrap();

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
        let identity = observation(&looped, at(7200), &[]).meter.unwrap();
        assert_eq!(identity.logical_name, "LGZ1");

        let ended = meter(&recorded(ReplayMode::End), 1);
        for (second, status) in
            [(1810, MeterStatus::Ok), (3599, MeterStatus::Ok), (3601, MeterStatus::NoData)]
        {
            let observation = observation(&ended, at(second), &[]);
            assert_eq!(observation.status, status, "{second}");
            let counted = observation.reading.unwrap().get(Quantity::ActiveImportEnergy).unwrap();
            assert_eq!(counted.to_string(), "10.3", "the last row lasts as long as the first");
        }
    }

    #[test]
    fn the_largest_sum_of_phases_is_shown() {
        let max = limits::RECORDED_NUMBER;
        for (row, expected) in [
            (format!("0,1,{max},{max},{max},0,0,0"), [0, 3 * max + 1]),
            (format!("5,0,0,0,0,{max},{max},{max}"), [3 * max + 5, 0]),
            (format!("-{max},1,0,0,0,0,0,0"), [0, max + 1]),
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
    fn faults_apply_to_recordings() {
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
