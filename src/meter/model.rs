//! A meter: the signal of its house, seen through what its kind sends.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp, Unit};

use super::link::{Delivered, Line};
use super::signal::{Energies, Energy, Moment, Signal, SignalPlan};
use super::{
    Cadence, Kind, KindFacts, Link, MeterIdentity, Observation, Quantity, Reading, Volume,
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
}

impl Default for MeterPlan {
    fn default() -> Self {
        Self {
            kind: Some(Kind::default()),
            signal: SignalPlan::default(),
            texts: MeterTexts::default(),
            registers: RegisterCut::default(),
            encryption_key: None,
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

/// How the tariff registers of a meter are cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum RegisterCut {
    /// To Wh, and the total is their sum.
    #[default]
    Together,
    /// To 10 Wh each, the total to Wh: together they miss it by up to 0.019 kWh, as real meters do.
    Separately,
}

/// A meter. Cheap to ask, at any moment, in any order.
#[derive(Debug)]
pub struct Meter {
    facts: &'static KindFacts,
    plugged: bool,
    identity: Arc<MeterIdentity>,
    signal: Signal,
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
        Self {
            facts,
            plugged: plan.kind.is_some(),
            identity: Arc::new(identity(facts, &plan.texts, number)),
            signal: Signal::new(&plan.signal, seed, device, start),
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
        if self.facts.tariff {
            reading.tariff = Some(self.signal.tariff(measured));
        }
        if self.facts.volume_bus {
            let meter_id = Arc::clone(&self.volume_meter);
            reading.volumes.push(Volume { bus: 1, meter_id, meter_time: None, cumulative: None });
        }
        let shown = Shown {
            moment: without(self.signal.at(measured), state.missing),
            energies: self.signal.energy(measured),
            missing: state.missing,
            lost: state.lost,
            cut: self.registers,
        };
        let still = state.frozen.map(|since| self.cadence.first_from(since));
        let unused = self.unused_phases(still.unwrap_or(of.n));
        for (quantity, places) in self.facts.sends {
            reading.set(*quantity, shown.value(*quantity, *places, unused));
        }
        reading
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

/// What a meter measured at one moment, as it is going to show it.
struct Shown {
    moment: Moment,
    energies: Energies,
    missing: [bool; 3],
    lost: u64,
    cut: RegisterCut,
}

impl Shown {
    /// A quantity to so many places.
    fn value(&self, quantity: Quantity, places: u8, unused: [u32; 3]) -> Decimal {
        use Quantity as Q;
        let positive = |value: i64| decimal(value.max(0), places);
        let negative = |value: i64| decimal(value.saturating_neg().max(0), places);
        let (active, reactive) = (&self.moment.active, &self.moment.reactive);
        match quantity {
            Q::ImportPower => positive(net(active, places)),
            Q::ImportPowerL1 => positive(phase(active[0], places)),
            Q::ImportPowerL2 => positive(phase(active[1], places)),
            Q::ImportPowerL3 => positive(phase(active[2], places)),
            Q::ExportPower => negative(net(active, places)),
            Q::ExportPowerL1 => negative(phase(active[0], places)),
            Q::ExportPowerL2 => negative(phase(active[1], places)),
            Q::ExportPowerL3 => negative(phase(active[2], places)),
            Q::ReactiveImportPower => positive(net(reactive, places)),
            Q::ReactiveImportPowerL1 => positive(phase(reactive[0], places)),
            Q::ReactiveImportPowerL2 => positive(phase(reactive[1], places)),
            Q::ReactiveImportPowerL3 => positive(phase(reactive[2], places)),
            Q::ReactiveExportPower => negative(net(reactive, places)),
            Q::ReactiveExportPowerL1 => negative(phase(reactive[0], places)),
            Q::ReactiveExportPowerL2 => negative(phase(reactive[1], places)),
            Q::ReactiveExportPowerL3 => negative(phase(reactive[2], places)),
            Q::ApparentPower => milli_of_kilo(self.moment.total_apparent(), places),
            Q::VoltageL1 => self.voltage(0, places, unused),
            Q::VoltageL2 => self.voltage(1, places, unused),
            Q::VoltageL3 => self.voltage(2, places, unused),
            Q::CurrentL1 => thousandths(self.moment.current(0), places),
            Q::CurrentL2 => thousandths(self.moment.current(1), places),
            Q::CurrentL3 => thousandths(self.moment.current(2), places),
            Q::PowerFactor => thousandths(self.moment.power_factor(), places),
            Q::ImportDemand => demand(self.energies.import_demand, places),
            Q::ImportDemandT1 => demand([self.energies.import_demand[0]; 2], places),
            Q::ImportDemandT2 => demand([self.energies.import_demand[1]; 2], places),
            Q::ExportDemand => demand(self.energies.export_demand, places),
            Q::ExportDemandT1 => demand([self.energies.export_demand[0]; 2], places),
            Q::ExportDemandT2 => demand([self.energies.export_demand[1]; 2], places),
            _ => self.register(quantity, places),
        }
    }

    fn voltage(&self, phase: usize, places: u8, unused: [u32; 3]) -> Decimal {
        let used = phase < self.moment.phases && !self.missing[phase];
        let milli = if used { self.moment.voltage[phase] } else { unused[phase] };
        thousandths(milli.into(), places)
    }

    /// A counter, in Wh or varh.
    fn register(&self, quantity: Quantity, places: u8) -> Decimal {
        use Quantity as Q;
        let energies = &self.energies;
        let (tariffs, which) = match quantity {
            Q::ActiveImportEnergy => (energies.import, None),
            Q::ActiveImportEnergyT1 => (energies.import, Some(0)),
            Q::ActiveImportEnergyT2 => (energies.import, Some(1)),
            Q::ActiveExportEnergy => (energies.export, None),
            Q::ActiveExportEnergyT1 => (energies.export, Some(0)),
            Q::ActiveExportEnergyT2 => (energies.export, Some(1)),
            Q::ReactiveImportEnergy => (energies.reactive_import(), None),
            Q::ReactiveImportEnergyT1 => (energies.reactive_import(), Some(0)),
            Q::ReactiveImportEnergyT2 => (energies.reactive_import(), Some(1)),
            Q::ReactiveExportEnergy => (energies.reactive_export(), None),
            Q::ReactiveExportEnergyT1 => (energies.reactive_export(), Some(0)),
            Q::ReactiveExportEnergyT2 => (energies.reactive_export(), Some(1)),
            Q::InductiveImportEnergy => (energies.quadrants[0], None),
            Q::InductiveImportEnergyT1 => (energies.quadrants[0], Some(0)),
            Q::InductiveImportEnergyT2 => (energies.quadrants[0], Some(1)),
            Q::CapacitiveImportEnergy => (energies.quadrants[1], None),
            Q::CapacitiveImportEnergyT1 => (energies.quadrants[1], Some(0)),
            Q::CapacitiveImportEnergyT2 => (energies.quadrants[1], Some(1)),
            Q::InductiveExportEnergy => (energies.quadrants[2], None),
            Q::InductiveExportEnergyT1 => (energies.quadrants[2], Some(0)),
            Q::InductiveExportEnergyT2 => (energies.quadrants[2], Some(1)),
            Q::CapacitiveExportEnergy => (energies.quadrants[3], None),
            Q::CapacitiveExportEnergyT1 => (energies.quadrants[3], Some(0)),
            Q::CapacitiveExportEnergyT2 => (energies.quadrants[3], Some(1)),
            _ => return Decimal::ZERO,
        };
        let imported = matches!(
            quantity,
            Q::ActiveImportEnergy | Q::ActiveImportEnergyT1 | Q::ActiveImportEnergyT2
        );
        let tariffs = if imported { jumped_back(tariffs, self.lost) } else { tariffs };
        let wh = match (self.cut, which) {
            (RegisterCut::Together, None) => tariffs[0].wh() + tariffs[1].wh(),
            (RegisterCut::Together, Some(tariff)) => tariffs[tariff].wh(),
            (RegisterCut::Separately, None) => (tariffs[0] + tariffs[1]).wh(),
            (RegisterCut::Separately, Some(tariff)) => tariffs[tariff].wh() / 10 * 10,
        };
        let wh = i64::try_from(wh).unwrap_or(i64::MAX);
        decimal(wh / 10_i64.pow(u32::from(3 - places.min(3))), places.min(3))
    }
}

/// What is measured without these phases.
fn without(mut moment: Moment, missing: [bool; 3]) -> Moment {
    for phase in (0..3).filter(|phase| missing[*phase]) {
        moment.active[phase] = 0;
        moment.reactive[phase] = 0;
    }
    moment
}

/// The active or reactive power of a phase, in steps of the last place.
fn phase(milli: i64, places: u8) -> i64 {
    rounded(milli, power_step(places))
}

/// The net over the phases: the sum of what they show.
fn net(milli: &[i64; 3], places: u8) -> i64 {
    milli.iter().map(|milli| phase(*milli, places)).sum()
}

/// Tariff 1 gives first, what is left tariff 2.
fn jumped_back(tariffs: [Energy; 2], lost: u64) -> [Energy; 2] {
    let lost = Energy::from_wh(lost).mw_ms();
    let [first, second] = tariffs.map(Energy::mw_ms);
    let rest = lost.saturating_sub(first);
    [first.saturating_sub(lost), second.saturating_sub(rest)].map(Energy::from_mw_ms)
}

const fn decimal(mantissa: i64, places: u8) -> Decimal {
    Decimal::new(mantissa, places)
}

/// mW in a step of the last of so many places of a kW.
fn power_step(places: u8) -> i64 {
    10_i64.pow(6_u32.saturating_sub(places.into()))
}

/// To the nearest step, halves away from zero.
fn rounded(value: i64, step: i64) -> i64 {
    let half = step / 2 * value.signum();
    value.saturating_add(half) / step
}

fn milli_of_kilo(milli: u64, places: u8) -> Decimal {
    let milli = i64::try_from(milli).unwrap_or(i64::MAX);
    decimal(rounded(milli, power_step(places)), places)
}

/// A number of thousandths, rounded.
fn thousandths(milli: u64, places: u8) -> Decimal {
    let milli = i64::try_from(milli).unwrap_or(i64::MAX);
    decimal(rounded(milli, 10_i64.pow(3_u32.saturating_sub(places.into()))), places.min(3))
}

/// The higher of two demands, in mW, cut.
fn demand(milliwatts: [u64; 2], places: u8) -> Decimal {
    let highest = i64::try_from(milliwatts[0].max(milliwatts[1])).unwrap_or(i64::MAX);
    decimal(highest / power_step(places), places)
}
