//! The register map of a device out of the box (`modbus_default_config.json`), laid out as the
//! registers of a Siemens PAC2200: what that meter has and a whatwatt Go does not is padding.

use super::NumberType::{Double, Float, Int};
use super::RegisterId::{ActivePower, Current, Quantity as Of, ReactivePower, Tariff, Zeros};
use super::{MapWordOrder, MappedRegister, NumberType, RegisterId, RegisterSet};
use crate::meter::Quantity;

/// A register, or several alike.
type FactoryRow = (usize, RegisterId, NumberType, i8);

/// The sets: where each starts, and its registers. Powers and energies have the scaler 3, so that
/// they read in W, var, VA, Wh and varh; so has the power factor, in the vendor's own map.
const SETS: [(u16, &[FactoryRow]); 6] = [
    (
        1,
        &[
            (1, Of(Quantity::VoltageL1), Float, 0),
            (1, Of(Quantity::VoltageL2), Float, 0),
            (1, Of(Quantity::VoltageL3), Float, 0),
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
            (1, Of(Quantity::ApparentPower), Float, 3),
            (1, ActivePower(0), Float, 3),
            (1, ReactivePower(0), Float, 3),
            (1, Of(Quantity::PowerFactor), Float, 3),
        ],
    ),
    (205, &[(3, Zeros, Int, 0), (1, Tariff, Int, 0), (4, Zeros, Int, 0)]),
    (
        501,
        &[
            (1, Of(Quantity::ImportPower), Float, 3),
            (1, Of(Quantity::ReactiveImportPower), Float, 3),
            (1, Of(Quantity::ExportPower), Float, 3),
            (1, Of(Quantity::ReactiveExportPower), Float, 3),
            (4, Zeros, Float, 0),
            (2, Zeros, Int, 0),
        ],
    ),
    (
        549,
        &[
            (1, Of(Quantity::ActiveImportEnergy), Float, 3),
            (1, Of(Quantity::ReactiveImportEnergy), Float, 3),
            (1, Of(Quantity::ActiveExportEnergy), Float, 3),
            (1, Of(Quantity::ReactiveExportEnergy), Float, 3),
        ],
    ),
    (
        801,
        &[
            (1, Of(Quantity::ActiveImportEnergyT1), Double, 3),
            (1, Of(Quantity::ActiveImportEnergyT2), Double, 3),
            (1, Of(Quantity::ActiveExportEnergyT1), Double, 3),
            (1, Of(Quantity::ActiveExportEnergyT2), Double, 3),
            (1, Of(Quantity::ReactiveImportEnergyT1), Double, 3),
            (1, Of(Quantity::ReactiveImportEnergyT2), Double, 3),
            (1, Of(Quantity::ReactiveExportEnergyT1), Double, 3),
            (1, Of(Quantity::ReactiveExportEnergyT2), Double, 3),
            (32, Zeros, Double, 0),
        ],
    ),
];

/// The sets, written out.
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
