//! `/api/v1/modbus`: the register map of the device's own Modbus server (contract §6,
//! `modbus_identifiers.csv`).

use serde::{Deserialize, Serialize};

use crate::meter::Quantity;

/// A register map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterMap {
    /// Its sets, as given.
    pub sets: Vec<RegisterSet>,
}

/// Registers that follow each other from one address on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterSet {
    /// 0..=9998.
    pub start_address: u16,
    /// The order of the words of a number.
    pub word_order: WordOrder,
    /// Its registers, in order.
    pub registers: Vec<Register>,
}

/// The order of the words of a number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum WordOrder {
    /// `msw`: most significant word first.
    #[default]
    Msw,
    /// `lsw`: least significant word first.
    Lsw,
}

/// A value in the map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register {
    /// What it shows.
    pub id: RegisterId,
    /// How a number is written; texts and dates have their own form.
    pub number: NumberType,
    /// The register is the value × 10^scaler, −6..=6.
    pub scaler: i8,
}

/// How a number is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is named as in the API")]
pub enum NumberType {
    Short,
    Int,
    Long,
    Float,
    #[default]
    Double,
}

/// What a register shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RegisterId {
    /// `0`: all bits zero.
    Zeros,
    /// `1`: all bits one.
    Ones,
    /// A quantity of the meter, by its OBIS code.
    Quantity(Quantity),
    /// `power.active`, `power.active.l1` …: import less export; 0 is the total.
    ActivePower(u8),
    /// `power.reactive`, `power.reactive.l1` …; 0 is the total.
    ReactivePower(u8),
    /// `current.l1` …: negative while the phase exports.
    Current(u8),
    /// `96.14.0`.
    Tariff,
    /// `conv_factor`.
    ConversionFactor,
    /// `report.date_time`.
    ReportDateTime,
    /// `report.timestamp`.
    ReportTimestamp,
    /// `96.1.0`, 24 bytes.
    MeterId,
    /// `96.1.1`, 24 bytes.
    MeterModel,
    /// `42.0.0`, 24 bytes.
    MeterType,
    /// `sys.id`, 6 bytes.
    SystemId,
    /// `sys.firmware`, 6 bytes.
    SystemFirmware,
    /// `sys.timestamp`.
    SystemTimestamp,
    /// `sys.date_time`.
    SystemDateTime,
}
