//! A measurement: the values at one instant, rounded as a meter shows them.

use super::Quantity;
use super::replay::PlaybackSample;
use super::signal::{Energies, Energy, PhasePowers};
use crate::decimal::Decimal;

/// The rounding of the tariff registers of a meter. Registers are always rounded down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum RegisterRounding {
    /// Tariffs to Wh; the total is their sum.
    #[default]
    Exact,
    /// Tariffs to 10 Wh, the total to Wh: the sum of the tariffs is up to 0.019 kWh less than the total, as
    /// in some real meters.
    Separate,
}

/// The values of all quantities at one instant.
#[expect(clippy::large_enum_variant, reason = "lives on the stack for one reading")]
pub(super) enum Measurement<'a> {
    Model(ModelMeasurement),
    Replay(ReplayMeasurement<'a>),
}

impl Measurement<'_> {
    /// Returns the tariff in force. `None` if it was not recorded.
    pub(super) fn tariff(&self) -> Option<u8> {
        match self {
            Self::Model(model) => Some(model.tariff),
            Self::Replay(replay) => replay.sample.tariff(),
        }
    }

    /// Returns the value of a quantity, that of a model with `places` decimal places. `unused` holds the
    /// voltages of unused phases, in mV.
    pub(super) fn value(
        &self,
        quantity: Quantity,
        places: u8,
        unused: [u32; 3],
    ) -> Option<Decimal> {
        match self {
            Self::Model(model) => Some(model.value(quantity, places, unused)),
            Self::Replay(replay) => replay.value(quantity, unused),
        }
    }
}

/// A measurement of a recording, with the faults of the meter.
pub(super) struct ReplayMeasurement<'a> {
    pub sample: PlaybackSample<'a>,
    /// Phases that are not measured.
    pub missing: [bool; 3],
    /// Wh by which the registers of imported energy are too low.
    pub jump_back_wh: u64,
}

impl ReplayMeasurement<'_> {
    fn value(&self, quantity: Quantity, unused: [u32; 3]) -> Option<Decimal> {
        use Quantity as Q;
        let value = self.sample.value(quantity)?;
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
                if self.jump_back_wh > 0 =>
            {
                Some(self.jump_back(quantity, value))
            }
            _ => Some(value),
        }
    }

    /// Subtracts the missing phases from a total. Only phases recorded with the same decimal places can be
    /// subtracted.
    fn without_missing(&self, total: Quantity, value: Decimal) -> Decimal {
        let (Some(other), places) = (total.opposite_direction(), value.places()) else {
            return value;
        };
        let recorded = |quantity| {
            let value = self.sample.value(quantity).filter(|value| value.places() == places);
            i128::from(value.map_or(0, Decimal::mantissa))
        };
        let phases = |total: Quantity| {
            // In the table, the phases follow their total.
            let phases = (1..=3).map(move |phase| Quantity::ALL[total.index() + phase]);
            phases.zip(self.missing).filter(|(_, missing)| *missing).map(|(phase, _)| phase)
        };
        // A sum of few 64-bit numbers fits into 128 bits.
        let missing: i128 =
            phases(total).map(recorded).sum::<i128>() - phases(other).map(recorded).sum::<i128>();
        let net = i128::from(value.mantissa()) - recorded(other);
        let remaining = (net - missing).clamp(0, i128::from(i64::MAX));
        Decimal::new(i64::try_from(remaining).unwrap_or(i64::MAX), places)
    }

    /// Lowers a register by the jump: tariff 1 first, and tariff 2 by the rest.
    fn jump_back(&self, quantity: Quantity, value: Decimal) -> Decimal {
        let unit = 10_i64.pow(value.places().into());
        let jump = i64::try_from(i128::from(self.jump_back_wh) * i128::from(unit) / 1000);
        let jump = jump.unwrap_or(i64::MAX);
        let reduction = match quantity {
            Quantity::ActiveImportEnergyT2 => {
                let first = self.sample.value(Quantity::ActiveImportEnergyT1);
                let first = first.filter(|first| first.places() == value.places());
                jump.saturating_sub(first.map_or(0, Decimal::mantissa)).max(0)
            }
            _ => jump,
        };
        Decimal::new(value.mantissa().saturating_sub(reduction).max(0), value.places())
    }
}

/// A measurement of the model's signal.
pub(super) struct ModelMeasurement {
    pub powers: PhasePowers,
    pub energies: Energies,
    pub tariff: u8,
    /// Phases that are not measured.
    pub missing: [bool; 3],
    /// Wh by which the registers of imported energy are too low.
    pub jump_back_wh: u64,
    pub rounding: RegisterRounding,
}

impl ModelMeasurement {
    /// Returns the value of a quantity with `places` decimal places. `unused` holds the voltages of unused
    /// phases, in mV.
    pub(super) fn value(&self, quantity: Quantity, places: u8, unused: [u32; 3]) -> Decimal {
        use Quantity as Q;
        let positive = |value: i64| decimal(value.max(0), places);
        let negative = |value: i64| decimal(value.saturating_neg().max(0), places);
        let (active, reactive) = (&self.powers.active, &self.powers.reactive);
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
            Q::ApparentPower => milli_of_kilo(self.powers.total_apparent(), places),
            Q::VoltageL1 => self.voltage(0, places, unused),
            Q::VoltageL2 => self.voltage(1, places, unused),
            Q::VoltageL3 => self.voltage(2, places, unused),
            Q::CurrentL1 => thousandths(self.powers.current(0), places),
            Q::CurrentL2 => thousandths(self.powers.current(1), places),
            Q::CurrentL3 => thousandths(self.powers.current(2), places),
            Q::PowerFactor => thousandths(self.powers.power_factor(), places),
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
        let used = phase < self.powers.phases && !self.missing[phase];
        let milli = if used { self.powers.voltage[phase] } else { unused[phase] };
        thousandths(milli.into(), places)
    }

    /// Returns the value of an energy register, in kWh or kvarh.
    fn register(&self, quantity: Quantity, places: u8) -> Decimal {
        use Quantity as Q;
        let energies = &self.energies;
        let (tariffs, tariff) = match quantity {
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
        let tariffs = if imported { jump_back(tariffs, self.jump_back_wh) } else { tariffs };
        let wh = match (self.rounding, tariff) {
            (RegisterRounding::Exact, None) => tariffs[0].wh() + tariffs[1].wh(),
            (RegisterRounding::Exact, Some(tariff)) => tariffs[tariff].wh(),
            (RegisterRounding::Separate, None) => (tariffs[0] + tariffs[1]).wh(),
            (RegisterRounding::Separate, Some(tariff)) => tariffs[tariff].wh() / 10 * 10,
        };
        let wh = i64::try_from(wh).unwrap_or(i64::MAX);
        let places = places.min(3);
        decimal(wh / 10_i64.pow(3 - u32::from(places)), places)
    }
}

/// Returns the powers without those of missing phases.
pub(super) fn without_phases(mut powers: PhasePowers, missing: [bool; 3]) -> PhasePowers {
    for phase in (0..3).filter(|phase| missing[*phase]) {
        powers.active[phase] = 0;
        powers.reactive[phase] = 0;
    }
    powers
}

/// Returns the active or reactive power of a phase, in units of the last decimal place.
fn phase(milli: i64, places: u8) -> i64 {
    rounded(milli, power_step(places))
}

/// Returns the net power of all phases: the sum of their rounded powers.
fn net(milli: &[i64; 3], places: u8) -> i64 {
    milli.iter().map(|milli| phase(*milli, places)).sum()
}

/// Lowers registers by the jump: tariff 1 first, and tariff 2 by the rest.
fn jump_back(tariffs: [Energy; 2], jump_wh: u64) -> [Energy; 2] {
    let jump = Energy::from_wh(jump_wh).mw_ms();
    let [first, second] = tariffs.map(Energy::mw_ms);
    let rest = jump.saturating_sub(first);
    [first.saturating_sub(jump), second.saturating_sub(rest)].map(Energy::from_mw_ms)
}

const fn decimal(mantissa: i64, places: u8) -> Decimal {
    Decimal::new(mantissa, places)
}

/// Returns the mW of one unit in the last of `places` decimal places of a kW.
fn power_step(places: u8) -> i64 {
    10_i64.pow(6_u32.saturating_sub(places.into()))
}

/// Rounds to the nearest step, halves away from zero.
fn rounded(value: i64, step: i64) -> i64 {
    let half = step / 2 * value.signum();
    value.saturating_add(half) / step
}

/// Returns a number of mVA in kVA, rounded.
fn milli_of_kilo(milli: u64, places: u8) -> Decimal {
    let milli = i64::try_from(milli).unwrap_or(i64::MAX);
    decimal(rounded(milli, power_step(places)), places)
}

/// Returns a number of thousandths, rounded.
fn thousandths(milli: u64, places: u8) -> Decimal {
    let milli = i64::try_from(milli).unwrap_or(i64::MAX);
    decimal(rounded(milli, 10_i64.pow(3_u32.saturating_sub(places.into()))), places.min(3))
}

/// Returns the higher of two demands in mW, in kW, rounded down.
fn demand(milliwatts: [u64; 2], places: u8) -> Decimal {
    let highest = i64::try_from(milliwatts[0].max(milliwatts[1])).unwrap_or(i64::MAX);
    decimal(highest / power_step(places), places)
}
