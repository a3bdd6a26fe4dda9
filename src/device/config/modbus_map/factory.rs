//! The register map of a new device (`modbus_default_config.json`). It has the layout of a Siemens
//! PAC2200; registers that a whatwatt Go cannot supply are padding.

use super::NumberType::{Double, Float, Int};
use super::RegisterId::{ActivePower, Current, Quantity as Obis, ReactivePower, Tariff, Zeros};
use super::{MapWordOrder, MappedRegister, NumberType, RegisterId, RegisterSet};
use crate::meter::Quantity;

/// A count of equal registers, with their id, type and scaler.
type FactoryRow = (usize, RegisterId, NumberType, i8);

/// The sets: the start address and the registers of each. Powers and energies have the scaler 3, so
/// that their units are W, var, VA, Wh and varh. The power factor has it too, as in the vendor's map.
const SETS: [(u16, &[FactoryRow]); 6] = [
    (
        1,
        &[
            (1, Obis(Quantity::VoltageL1), Float, 0),
            (1, Obis(Quantity::VoltageL2), Float, 0),
            (1, Obis(Quantity::VoltageL3), Float, 0),
            (3, Zeros, Float, 0),
            (1, Current(1), Float, 0),
            (1, Current(2), Float, 0),
            (1, Current(3), Float, 0),
            (3, Zeros, Float, 0),
            (1, ActivePower(1), Float, 3),
            (1, ActivePower(2), Float, 3),
            (1, ActivePower(3), Float, 3),
            (1, ReactivePower(1), Float, 3),
            (1, ReactivePower(2), Float, 3),
            (1, ReactivePower(3), Float, 3),
            (3, Zeros, Float, 0),
        ],
    ),
    (
        55,
        &[
            (4, Zeros, Float, 0),
            (1, Obis(Quantity::ApparentPower), Float, 3),
            (1, ActivePower(0), Float, 3),
            (1, ReactivePower(0), Float, 3),
            (1, Obis(Quantity::PowerFactor), Float, 3),
        ],
    ),
    (205, &[(3, Zeros, Int, 0), (1, Tariff, Int, 0), (4, Zeros, Int, 0)]),
    (
        501,
        &[
            (1, Obis(Quantity::ImportPower), Float, 3),
            (1, Obis(Quantity::ReactiveImportPower), Float, 3),
            (1, Obis(Quantity::ExportPower), Float, 3),
            (1, Obis(Quantity::ReactiveExportPower), Float, 3),
            (4, Zeros, Float, 0),
            (2, Zeros, Int, 0),
        ],
    ),
    (
        549,
        &[
            (1, Obis(Quantity::ActiveImportEnergy), Float, 3),
            (1, Obis(Quantity::ReactiveImportEnergy), Float, 3),
            (1, Obis(Quantity::ActiveExportEnergy), Float, 3),
            (1, Obis(Quantity::ReactiveExportEnergy), Float, 3),
        ],
    ),
    (
        801,
        &[
            (1, Obis(Quantity::ActiveImportEnergyT1), Double, 3),
            (1, Obis(Quantity::ActiveImportEnergyT2), Double, 3),
            (1, Obis(Quantity::ActiveExportEnergyT1), Double, 3),
            (1, Obis(Quantity::ActiveExportEnergyT2), Double, 3),
            (1, Obis(Quantity::ReactiveImportEnergyT1), Double, 3),
            (1, Obis(Quantity::ReactiveImportEnergyT2), Double, 3),
            (1, Obis(Quantity::ReactiveExportEnergyT1), Double, 3),
            (1, Obis(Quantity::ReactiveExportEnergyT2), Double, 3),
            (32, Zeros, Double, 0),
        ],
    ),
];

/// Returns the sets.
pub(super) fn sets() -> Vec<RegisterSet> {
    let set = |(start_address, rows): &(u16, &[FactoryRow])| RegisterSet {
        start_address: *start_address,
        word_order: MapWordOrder::Msw,
        registers: rows
            .iter()
            .flat_map(|&(count, id, number, scaler)| {
                std::iter::repeat_n(MappedRegister { id, number, scaler }, count)
            })
            .collect(),
    };
    SETS.iter().map(set).collect()
}
