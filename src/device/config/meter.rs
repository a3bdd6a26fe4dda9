//! The meter settings of `/api/v1/meter/settings` and the type of the scalers of
//! `/api/v1/meter/scalers/custom` (`docs/device/settings.md`, `meter_settings_fields.csv`).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::table::{Field, FieldKind, SettingsObject, Unset, accessor, enumeration, int};
use crate::decimal::Decimal;
use crate::limits;

/// The number of decimal places of `conv_factor` that are stored (SETTING-10).
const CONVERSION_FACTOR_PLACES: u8 = 6;

/// The settings of the meter interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each is named as in the API")]
#[expect(clippy::struct_excessive_bools, reason = "the device's own shape")]
pub struct MeterSettings {
    pub baudrate: u32,
    pub parity: Parity,
    pub stop_bits: StopBits,
    pub buffer_size: u8,
    pub encryption: bool,
    /// `None` if the key is cleared.
    pub encryption_key: Option<MeterKey>,
    /// `None` if the key is cleared.
    pub authentication_key: Option<MeterKey>,
    pub tx_invert: bool,
    pub rx_invert: bool,
    pub auto_baudrate: bool,
    pub if_type: InterfaceType,
    pub protocol: MeterProtocol,
    pub if_mode: InterfaceMode,
    /// The factor on power, energy, current and maximum demand.
    pub conv_factor: Decimal,
    /// In seconds.
    pub time_offset: i32,
    pub sync_time_offset_with_ntp: bool,
    pub scalers_set: ScalersSet,
}

/// A key of 128 bits.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeterKey(pub [u8; 16]);

/// Hides the key from logs and failed assertions, because it is a secret.
impl fmt::Debug for MeterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// A custom scaler for an OBIS code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustomScaler {
    /// The three parts of the code: 0..=254, 0..=254 and 0..=255.
    pub obis: [u8; 3],
    /// The power of ten, −6..=6.
    pub scaler: i8,
}

impl Default for MeterSettings {
    fn default() -> Self {
        Self {
            baudrate: 115_200,
            parity: Parity::default(),
            stop_bits: StopBits::default(),
            buffer_size: 64,
            encryption: false,
            encryption_key: None,
            authentication_key: None,
            tx_invert: false,
            rx_invert: false,
            auto_baudrate: true,
            if_type: InterfaceType::default(),
            protocol: MeterProtocol::default(),
            if_mode: InterfaceMode::default(),
            conv_factor: Decimal::new(1, 0),
            time_offset: 0,
            sync_time_offset_with_ntp: false,
            scalers_set: ScalersSet::default(),
        }
    }
}

/// The values of `parity`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each is named as in the API")]
pub enum Parity {
    #[default]
    None,
    Odd,
    Even,
}

impl Parity {
    /// All variants with their names in the API.
    pub const NAMES: &[(&'static str, Self)] =
        &[("none", Self::None), ("odd", Self::Odd), ("even", Self::Even)];
}

/// The values of `stop_bits`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each is named as in the API")]
pub enum StopBits {
    #[default]
    One,
    OneAndHalf,
    Two,
}

impl StopBits {
    /// All variants with their names in the API.
    pub const NAMES: &[(&'static str, Self)] =
        &[("1", Self::One), ("1.5", Self::OneAndHalf), ("2", Self::Two)];
}

/// The values of `if_type`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each is named as in the API")]
pub enum InterfaceType {
    #[default]
    Auto,
    P1,
    Mbus,
    Ttl,
    Mep,
    Irda,
    Uart,
    P1Adapter,
    TtlPush,
}

impl InterfaceType {
    /// All variants with their names in the API.
    pub const NAMES: &[(&'static str, Self)] = &[
        ("auto", Self::Auto),
        ("p1", Self::P1),
        ("mbus", Self::Mbus),
        ("ttl", Self::Ttl),
        ("mep", Self::Mep),
        ("irda", Self::Irda),
        ("uart", Self::Uart),
        ("p1_adapter", Self::P1Adapter),
        ("ttl_push", Self::TtlPush),
    ];
}

/// The values of `protocol`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each is named as in the API")]
pub enum MeterProtocol {
    #[default]
    Auto,
    Dsmr,
    Hdlc,
    Kmp,
    Mep,
    Mbus,
    Mbtr,
}

impl MeterProtocol {
    /// All variants with their names in the API.
    pub const NAMES: &[(&'static str, Self)] = &[
        ("auto", Self::Auto),
        ("dsmr", Self::Dsmr),
        ("hdlc", Self::Hdlc),
        ("kmp", Self::Kmp),
        ("mep", Self::Mep),
        ("mbus", Self::Mbus),
        ("mbtr", Self::Mbtr),
    ];
}

/// The values of `if_mode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each is named as in the API")]
pub enum InterfaceMode {
    #[default]
    Auto,
    Push,
    Pull,
}

impl InterfaceMode {
    /// All variants with their names in the API.
    pub const NAMES: &[(&'static str, Self)] =
        &[("auto", Self::Auto), ("push", Self::Push), ("pull", Self::Pull)];
}

/// The values of `scalers_set`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each is named as in the API")]
pub enum ScalersSet {
    #[default]
    Default,
    Custom,
    Lge570,
}

impl ScalersSet {
    /// All variants with their names in the API.
    pub const NAMES: &[(&'static str, Self)] =
        &[("default", Self::Default), ("custom", Self::Custom), ("lge570", Self::Lge570)];
}

/// The field table of `/api/v1/meter/settings`.
pub static METER_SETTINGS: SettingsObject<MeterSettings> = SettingsObject {
    name: "meter/settings",
    fields: FIELDS,
    unset: Unset::Default,
    accessor: accessor!(meter),
    normalize: |_, _| Ok(()),
};

type MeterField = Field<MeterSettings>;

const FIELDS: &[MeterField] = &[
    MeterField::new(
        "baudrate",
        int!(baudrate, limits::BAUDRATE),
        "Bits per second on the serial line.",
    )
    .stored_only(),
    MeterField::new("parity", enumeration!(parity, Parity), "Parity on the serial line.")
        .stored_only(),
    MeterField::new(
        "stop_bits",
        enumeration!(stop_bits, StopBits),
        "Stop bits on the serial line, as a string.",
    )
    .stored_only(),
    MeterField::new(
        "buffer_size",
        int!(buffer_size, limits::METER_BUFFER),
        "Bytes of the serial receive buffer.",
    )
    .stored_only(),
    MeterField::new("method", FieldKind::Constant("Passive Push"), "How data is acquired."),
    MeterField::new(
        "encryption",
        FieldKind::Bool(accessor!(encryption)),
        "Decrypts the meter's data.",
    ),
    MeterField::new(
        "encryption_key",
        FieldKind::Key(accessor!(encryption_key)),
        "The encryption key; 32 zeros clear it.",
    )
    .secret(),
    MeterField::new(
        "authentication_key",
        FieldKind::Key(accessor!(authentication_key)),
        "The key that authenticates the meter's data; 32 zeros clear it.",
    )
    .secret(),
    MeterField::new(
        "rx_invert",
        FieldKind::Bool(accessor!(rx_invert)),
        "Inverts the receiving line.",
    )
    .stored_only(),
    MeterField::new(
        "tx_invert",
        FieldKind::Bool(accessor!(tx_invert)),
        "Inverts the sending line.",
    )
    .stored_only(),
    MeterField::new(
        "auto_baudrate",
        FieldKind::Bool(accessor!(auto_baudrate)),
        "Detects the parameters of the serial line.",
    )
    .stored_only(),
    MeterField::new(
        "if_type",
        enumeration!(if_type, InterfaceType),
        "The interface that the meter is plugged into.",
    )
    .stored_only(),
    MeterField::new(
        "protocol",
        enumeration!(protocol, MeterProtocol),
        "The protocol of the meter.",
    )
    .stored_only(),
    MeterField::new(
        "if_mode",
        enumeration!(if_mode, InterfaceMode),
        "The direction of the readout: the meter sends, or the device polls it.",
    )
    .stored_only(),
    MeterField::new(
        "conv_factor",
        FieldKind::Number {
            get: |settings| settings.conv_factor,
            set: |settings, factor| settings.conv_factor = factor,
            range: limits::CONVERSION_FACTOR,
            step: 0.0,
            places: CONVERSION_FACTOR_PLACES,
        },
        "The factor on power, energy, current and maximum demand.",
    ),
    MeterField::new(
        "time_offset",
        int!(time_offset, limits::TIME_OFFSET),
        "The correction of the meter's clock, in seconds.",
    ),
    MeterField::new(
        "sync_time_offset_with_ntp",
        FieldKind::Bool(accessor!(sync_time_offset_with_ntp)),
        "Derives that correction from NTP.",
    ),
    MeterField::new(
        "scalers_set",
        enumeration!(scalers_set, ScalersSet),
        "The source of the scalers of a DLMS meter's values.",
    ),
];
