//! `/api/v1/meter/settings` and `/api/v1/meter/scalers/custom` (contract §2,
//! `meter_settings_fields.csv`).

use serde::{Deserialize, Serialize};

use crate::decimal::Decimal;

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
    pub encryption_key: Option<Key>,
    /// None where it is cleared.
    pub authentication_key: Option<Key>,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key(pub [u8; 16]);

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
