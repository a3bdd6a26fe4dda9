//! What is measured at one moment, in the numbers of a meter.

use super::Quantity;
use super::replay::Played;
use super::signal::{Energies, Energy, PhasePowers};
use crate::decimal::Decimal;

/// How the tariff registers of a meter are cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum RegisterCut {
    /// To Wh, and the total is their sum.
    #[default]
    Together,
    /// To 10 Wh each, the total to Wh: together they miss it by up to 0.019 kWh, as real meters do.
    Separately,
}

/// What is measured at one moment.
#[expect(clippy::large_enum_variant, reason = "made on the stack for one reading, never kept")]
pub(super) enum Measurement<'a> {
    Model(Measured),
    Replay(Replayed<'a>),
}

impl Measurement<'_> {
    /// The tariff in force; none where it was not recorded.
    pub fn tariff(&self) -> Option<u8> {
        match self {
            Self::Model(measured) => Some(measured.tariff),
            Self::Replay(replayed) => replayed.played.tariff(),
        }
    }

    /// A quantity, of the model to so many places; `unused` is what phases without a load on them
    /// show, in mV.
    pub fn value(&self, quantity: Quantity, places: u8, unused: [u32; 3]) -> Option<Decimal> {
        match self {
            Self::Model(measured) => Some(measured.value(quantity, places, unused)),
            Self::Replay(replayed) => replayed.value(quantity, unused),
        }
    }
}

/// What was recorded, with what befalls the meter.
pub(super) struct Replayed<'a> {
    pub played: Played<'a>,
    /// Phases that are not measured.
    pub missing: [bool; 3],
    /// Wh that the counter of imported energy stands too low.
    pub lost: u64,
}

impl Replayed<'_> {
    fn value(&self, quantity: Quantity, unused: [u32; 3]) -> Option<Decimal> {
        use Quantity as Q;
        let value = self.played.value(quantity)?;
        if let Some(phase) = quantity.phase().filter(|phase| self.missing[*phase]) {
            let voltage = matches!(quantity, Q::VoltageL1 | Q::VoltageL2 | Q::VoltageL3);
            return Some(if voltage {
                thousandths(unused[phase].into(), value.places())
            } else {
                Decimal::new(0, value.places())
            });
        }
        match quantity {
            Q::ImportPower | Q::ExportPower | Q::ReactiveImportPower | Q::ReactiveExportPower
                if self.missing != [false; 3] =>
            {
                Some(self.without_missing(quantity, value))
            }
            Q::ActiveImportEnergy | Q::ActiveImportEnergyT1 | Q::ActiveImportEnergyT2
                if self.lost > 0 =>
            {
                Some(self.jumped_back(quantity, value))
            }
            _ => Some(value),
        }
    }

    /// A total less what its missing phases had, where those were recorded in the same places.
    fn without_missing(&self, total: Quantity, value: Decimal) -> Decimal {
        let (Some(other), places) = (total.counterpart(), value.places()) else { return value };
        let recorded = |quantity| {
            let value = self.played.value(quantity).filter(|value| value.places() == places);
            i128::from(value.map_or(0, Decimal::mantissa))
        };
        let phases = |total: Quantity| {
            // In the table each total is followed by its phases.
            let phases = (1..=3).map(move |phase| Quantity::ALL[total.index() + phase]);
            phases.zip(self.missing).filter(|(_, missing)| *missing).map(|(phase, _)| phase)
        };
        // What a few numbers of 64 bits come to fits into 128.
        let gone: i128 =
            phases(total).map(recorded).sum::<i128>() - phases(other).map(recorded).sum::<i128>();
        let net = i128::from(value.mantissa()) - recorded(other);
        let left = (net - gone).clamp(0, i128::from(i64::MAX));
        Decimal::new(i64::try_from(left).unwrap_or(i64::MAX), places)
    }

    /// Tariff 1 gives first, what is left tariff 2.
    fn jumped_back(&self, quantity: Quantity, value: Decimal) -> Decimal {
        let unit = 10_i64.pow(value.places().into());
        let lost = i64::try_from(i128::from(self.lost) * i128::from(unit) / 1000);
        let lost = lost.unwrap_or(i64::MAX);
        let gone = match quantity {
            Quantity::ActiveImportEnergyT2 => {
                let first = self.played.value(Quantity::ActiveImportEnergyT1);
                let first = first.filter(|first| first.places() == value.places());
                lost.saturating_sub(first.map_or(0, Decimal::mantissa)).max(0)
            }
            _ => lost,
        };
        Decimal::new(value.mantissa().saturating_sub(gone).max(0), value.places())
    }
}

/// What the signal is at one moment, as a meter shows it.
pub(super) struct Measured {
    pub moment: PhasePowers,
    pub energies: Energies,
    pub tariff: u8,
    /// Phases that are not measured.
    pub missing: [bool; 3],
    /// Wh that the counter of imported energy stands too low.
    pub lost: u64,
    pub cut: RegisterCut,
}

impl Measured {
    /// A quantity to so many places; `unused` is what phases without a load on them show, in mV.
    pub fn value(&self, quantity: Quantity, places: u8, unused: [u32; 3]) -> Decimal {
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
        let places = places.min(3);
        decimal(wh / 10_i64.pow(3 - u32::from(places)), places)
    }
}

/// What is measured without these phases.
pub(super) fn without(mut moment: PhasePowers, missing: [bool; 3]) -> PhasePowers {
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
