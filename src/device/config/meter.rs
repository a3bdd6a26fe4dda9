//! `/api/v1/meter/settings` and `/api/v1/meter/scalers/custom` (`docs/device/settings.md`,
//! `meter_settings_fields.csv`).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::table::{Field, FieldKind, Object, Unset, lens, whole, word};
use crate::decimal::Decimal;
use crate::limits;

/// How the device talks to its meter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is named as in the API")]
#[expect(clippy::struct_excessive_bools, reason = "the device's own shape")]
pub struct MeterSettings {
    pub baudrate: u32,
    pub parity: Parity,
    pub stop_bits: StopBits,
    pub buffer_size: u8,
    pub encryption: bool,
    /// None where it is cleared.
    pub encryption_key: Option<MeterKey>,
    /// None where it is cleared.
    pub authentication_key: Option<MeterKey>,
    pub tx_invert: bool,
    pub rx_invert: bool,
    pub auto_baudrate: bool,
    pub if_type: InterfaceType,
    pub protocol: MeterProtocol,
    pub if_mode: InterfaceMode,
    /// Multiplies power, energy, current and maximum demand.
    pub conv_factor: Decimal,
    /// Seconds.
    pub time_offset: i32,
    pub sync_time_offset_with_ntp: bool,
    pub scalers_set: ScalersSet,
}

/// A key of 128 bits.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeterKey(pub [u8; 16]);

/// A secret: logs and failed assertions do not show it.
impl fmt::Debug for MeterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// A scaler of the user's own for an OBIS code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustomScaler {
    /// `A.B.C` of the code, each 0..=254 but the last, which is 0..=255.
    pub obis: [u8; 3],
    /// A power of ten, −6..=6.
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

/// `parity`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is named as in the API")]
pub enum Parity {
    #[default]
    None,
    Odd,
    Even,
}

impl Parity {
    /// All of them, by the words of the API.
    pub const NAMES: &[(&'static str, Self)] =
        &[("none", Self::None), ("odd", Self::Odd), ("even", Self::Even)];
}

/// `stop_bits`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is named as in the API")]
pub enum StopBits {
    #[default]
    One,
    OneAndHalf,
    Two,
}

impl StopBits {
    /// All of them, by the words of the API.
    pub const NAMES: &[(&'static str, Self)] =
        &[("1", Self::One), ("1.5", Self::OneAndHalf), ("2", Self::Two)];
}

/// `if_type`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is named as in the API")]
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
    /// All of them, by the words of the API.
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

/// `protocol`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is named as in the API")]
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
    /// All of them, by the words of the API.
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

/// `if_mode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is named as in the API")]
pub enum InterfaceMode {
    #[default]
    Auto,
    Push,
    Pull,
}

impl InterfaceMode {
    /// All of them, by the words of the API.
    pub const NAMES: &[(&'static str, Self)] =
        &[("auto", Self::Auto), ("push", Self::Push), ("pull", Self::Pull)];
}

/// `scalers_set`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is named as in the API")]
pub enum ScalersSet {
    #[default]
    Default,
    Custom,
    Lge570,
}

impl ScalersSet {
    /// All of them, by the words of the API.
    pub const NAMES: &[(&'static str, Self)] =
        &[("default", Self::Default), ("custom", Self::Custom), ("lge570", Self::Lge570)];
}

/// `/api/v1/meter/settings`, field by field.
pub static METER_SETTINGS: Object<MeterSettings> = Object {
    name: "meter/settings",
    fields: FIELDS,
    left_out: Unset::Default,
    of: lens!(meter),
    rules: |_, _| Ok(()),
};

type MeterField = Field<MeterSettings>;

const FIELDS: &[MeterField] = &[
    MeterField::new(
        "baudrate",
        whole!(baudrate, limits::BAUDRATE),
        "Bits a second on the serial line.",
    )
    .stored_only(),
    MeterField::new("parity", word!(parity, Parity), "Parity on the serial line.").stored_only(),
    MeterField::new(
        "stop_bits",
        word!(stop_bits, StopBits),
        "Stop bits on the serial line, a string.",
    )
    .stored_only(),
    MeterField::new(
        "buffer_size",
        whole!(buffer_size, limits::METER_BUFFER),
        "Bytes of the serial receive buffer.",
    )
    .stored_only(),
    MeterField::new("method", FieldKind::Constant("Passive Push"), "How data is acquired."),
    MeterField::new(
        "encryption",
        FieldKind::Flag(lens!(encryption)),
        "Whether the meter's data is encrypted.",
    ),
    MeterField::new(
        "encryption_key",
        FieldKind::Key(lens!(encryption_key)),
        "The key of the encryption; 32 zeros clear it.",
    )
    .secret(),
    MeterField::new(
        "authentication_key",
        FieldKind::Key(lens!(authentication_key)),
        "The key that the meter's data is authenticated with; 32 zeros clear it.",
    )
    .secret(),
    MeterField::new("rx_invert", FieldKind::Flag(lens!(rx_invert)), "Inverts the receiving line.")
        .stored_only(),
    MeterField::new("tx_invert", FieldKind::Flag(lens!(tx_invert)), "Inverts the sending line.")
        .stored_only(),
    MeterField::new(
        "auto_baudrate",
        FieldKind::Flag(lens!(auto_baudrate)),
        "Whether the parameters of the serial line are found out.",
    )
    .stored_only(),
    MeterField::new("if_type", word!(if_type, InterfaceType), "The plug that the meter is on.")
        .stored_only(),
    MeterField::new("protocol", word!(protocol, MeterProtocol), "What the meter speaks.")
        .stored_only(),
    MeterField::new(
        "if_mode",
        word!(if_mode, InterfaceMode),
        "Whether the meter sends or is asked.",
    )
    .stored_only(),
    MeterField::new(
        "conv_factor",
        FieldKind::Number {
            get: |settings| settings.conv_factor,
            set: |settings, factor| settings.conv_factor = factor,
            range: limits::CONVERSION_FACTOR,
            step: 0.0,
            places: limits::CONVERSION_FACTOR_PLACES,
        },
        "Multiplies power, energy, current and maximum demand.",
    ),
    MeterField::new(
        "time_offset",
        whole!(time_offset, limits::TIME_OFFSET),
        "Seconds that the meter's clock is corrected by.",
    ),
    MeterField::new(
        "sync_time_offset_with_ntp",
        FieldKind::Flag(lens!(sync_time_offset_with_ntp)),
        "Whether that correction follows NTP.",
    ),
    MeterField::new(
        "scalers_set",
        word!(scalers_set, ScalersSet),
        "Where the scalers of a DLMS meter's values come from.",
    ),
];
