//! Readings, and the state of the meter as its device sees it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::Quantity;
use crate::clock::VirtualTime;
use crate::decimal::Decimal;

/// A telegram that the device received, with the values as the meter sent them: not converted, and without
/// defaults.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// `report.id`: the count of readings from 1 on.
    pub id: u64,
    /// The time at which the device received it.
    pub at: VirtualTime,
    /// The time since the reading before, in whole milliseconds.
    pub interval: Duration,
    /// The time of the meter's clock, which drifts from the device's.
    pub meter_time: Timestamp,
    /// The tariff in force, 1 or 2. `None` if the meter does not send it.
    pub tariff: Option<u8>,
    /// Gas and water meters on the meter's M-Bus.
    pub volumes: Vec<Volume>,
    values: [Option<Decimal>; Quantity::COUNT],
}

/// A reading of a gas or water meter on the meter's M-Bus.
#[derive(Debug, Clone, PartialEq)]
pub struct Volume {
    /// The M-Bus channel, 1 to 4.
    pub channel: u8,
    /// The id of that meter.
    pub meter_id: Arc<str>,
    /// The time of the reading by that meter's clock. `None` if it was never read.
    pub meter_time: Option<Timestamp>,
    /// The volume counted, in m³. `None` if it was never read.
    pub cumulative: Option<Decimal>,
}

impl Reading {
    /// Returns a reading without values.
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

    /// Returns the value of a quantity. `None` if the meter does not send it.
    #[must_use]
    pub fn get(&self, quantity: Quantity) -> Option<Decimal> {
        self.values[quantity.index()]
    }

    /// Sets the value of a quantity, or removes it.
    pub fn set(&mut self, quantity: Quantity, value: impl Into<Option<Decimal>>) {
        self.values[quantity.index()] = value.into();
    }
}

/// The status of the meter as its device sees it (METER-9, METER-10).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum MeterStatus {
    /// Nothing is plugged in.
    NotConnected,
    /// A meter is plugged in, and no telegram arrives.
    NoData,
    /// Telegrams arrive, and the device recognizes their protocol.
    Recognition,
    /// Readings arrive.
    #[default]
    Ok,
    /// The telegrams are encrypted with another key.
    EncryptionKey,
    /// The telegrams are encrypted, and the device has no key.
    KeyRequired,
    /// The device does not recognize the protocol.
    NotRecognized,
}

impl MeterStatus {
    /// Returns the text of `/report` and `/system`.
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

/// The physical interface of a meter (`meter.interface`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is named as the device prints it")]
pub enum Interface {
    P1,
    Mbus,
    Ttl,
    Mep,
}

impl Interface {
    /// Returns the text that the device prints.
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

/// The protocol of a meter (`meter.protocol`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is named as the device prints it")]
pub enum Protocol {
    Dsmr,
    Dlms,
    Kmp,
    Mep,
}

impl Protocol {
    /// Returns the text that the device prints.
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

/// The identity of a meter. Texts that it does not send are empty: `/report` omits them; `/system`,
/// `/variables` and the SD log show them empty.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is named as in `/report`")]
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

/// The state of a meter as its device sees it at one instant.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// The status.
    pub status: MeterStatus,
    /// The identity. `None` before the meter was recognized.
    pub meter: Option<Arc<MeterIdentity>>,
    /// The newest reading. `None` before the first.
    pub reading: Option<Arc<Reading>>,
}
