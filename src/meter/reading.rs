//! A reading: what a meter sent at one moment, and what the device knows of the meter.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::Quantity;
use crate::clock::VirtualTime;
use crate::decimal::Decimal;

/// What a meter sent at one moment, as it sent it: nothing converted, nothing filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// `report.id`: counts the readings from 1.
    pub id: u64,
    /// When the device had it.
    pub at: VirtualTime,
    /// The time since the reading before, in whole milliseconds.
    pub interval: Duration,
    /// The time by the meter's own clock, which drifts from the device's.
    pub meter_time: Timestamp,
    /// The tariff in force, 1 or 2; none where the meter does not say.
    pub tariff: Option<u8>,
    /// Meters on its M-Bus (gas, water); empty where there are none.
    pub volumes: Vec<Volume>,
    values: [Option<Decimal>; Quantity::COUNT],
}

/// A reading of a meter behind the meter.
#[derive(Debug, Clone, PartialEq)]
pub struct Volume {
    /// The M-Bus channel, 1 to 4.
    pub bus: u8,
    /// Its meter's id.
    pub meter_id: Arc<str>,
    /// When it was read, by its meter's clock; none where it never was.
    pub meter_time: Option<Timestamp>,
    /// What it counted, in m³; none where it never was read.
    pub cumulative: Option<Decimal>,
}

impl Reading {
    /// A reading without any number.
    #[must_use]
    pub fn new(id: u64, at: VirtualTime, interval: Duration, meter_time: Timestamp) -> Self {
        Self {
            id,
            at,
            interval,
            meter_time,
            tariff: None,
            volumes: Vec::new(),
            values: [None; Quantity::COUNT],
        }
    }

    /// A number; none where the meter does not send it.
    #[must_use]
    pub fn get(&self, quantity: Quantity) -> Option<Decimal> {
        self.values[quantity.index()]
    }

    /// Sets a number, or leaves it out.
    pub fn set(&mut self, quantity: Quantity, value: impl Into<Option<Decimal>>) {
        self.values[quantity.index()] = value.into();
    }
}

/// How the device gets on with its meter (METER-9, METER-10).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum MeterStatus {
    /// Nothing is plugged in.
    NotConnected,
    /// Plugged in, and silent.
    NoData,
    /// Bytes come, and the device finds out what they are.
    Recognition,
    /// Readings come.
    #[default]
    Ok,
    /// The key is wrong.
    EncryptionKey,
    /// The readings are encrypted and there is no key.
    KeyRequired,
    /// Bytes come that are nothing the device knows.
    NotRecognized,
}

impl MeterStatus {
    /// As `/report` and `/system` write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotConnected => "NOT CONNECTED",
            Self::NoData => "NO DATA",
            Self::Recognition => "RECOGNITION",
            Self::Ok => "OK",
            Self::EncryptionKey => "ENCRYPTION KEY",
            Self::KeyRequired => "KEY REQUIRED",
            Self::NotRecognized => "NOT RECOGNIZED",
        }
    }
}

/// The plug that the meter is on (`meter.interface`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is named as the device prints it")]
pub enum Interface {
    P1,
    Mbus,
    Ttl,
    Mep,
}

impl Interface {
    /// As the device prints it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::P1 => "P1",
            Self::Mbus => "MBUS",
            Self::Ttl => "TTL",
            Self::Mep => "MEP",
        }
    }
}

/// What the meter speaks (`meter.protocol`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is named as the device prints it")]
pub enum Protocol {
    Dsmr,
    Dlms,
    Kmp,
    Mep,
}

impl Protocol {
    /// As the device prints it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dsmr => "DSMR",
            Self::Dlms => "DLMS",
            Self::Kmp => "KMP",
            Self::Mep => "MEP",
        }
    }
}

/// Who the meter is. Texts that it does not send are empty: `/report` leaves them out, `/system`,
/// `/variables` and the SD log show them empty.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named as in `/report`")]
pub struct MeterIdentity {
    pub interface: Interface,
    pub protocol: Protocol,
    pub protocol_version: String,
    /// `logical_name` in `/report`, `type` in `/system` and `/variables`, `42.0.0` in the Modbus map.
    pub logical_name: String,
    pub id: String,
    pub model: String,
    /// `manufacturer` in `/system`.
    pub vendor: String,
    pub prefix: String,
}

/// What the device knows of its meter at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// How it gets on with it.
    pub status: MeterStatus,
    /// Who it is; none before it was recognized.
    pub meter: Option<Arc<MeterIdentity>>,
    /// The newest reading; none before the first one.
    pub reading: Option<Arc<Reading>>,
}
