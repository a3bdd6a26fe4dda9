//! A meter, asked for what it says at a moment.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Interface, MeterIdentity, Observation, Protocol, Quantity, Reading, Status};
use crate::clock::VirtualTime;
use crate::decimal::Decimal;

/// What a scenario says of a meter.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MeterPlan {}

/// What lies between the meter and the device at a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Link {
    /// Since when the device has been up: before its first reading it knows nothing of the meter.
    pub up_since: VirtualTime,
}

/// A meter. Cheap to ask, at any moment, in any order.
#[derive(Debug)]
pub struct Meter {
    start: Timestamp,
    identity: Arc<MeterIdentity>,
}

const CADENCE: Duration = Duration::from_millis(4200);

impl Meter {
    /// A meter in a house that starts at `start`; all its randomness comes from `seed` and `device`.
    #[must_use]
    pub fn new(_plan: &MeterPlan, _seed: u64, _device: &str, start: Timestamp) -> Self {
        let identity = Arc::new(MeterIdentity {
            interface: Interface::Ttl,
            protocol: Protocol::Kmp,
            protocol_version: String::new(),
            logical_name: "KAM40000001".to_owned(),
            id: "40000001".to_owned(),
            model: "OMNIA".to_owned(),
            vendor: "Kamstrup".to_owned(),
            prefix: "KAM".to_owned(),
        });
        Self { start, identity }
    }

    /// What the device knows of it at `now`.
    #[must_use]
    pub fn observe(&self, now: VirtualTime, link: &Link) -> Observation {
        let readings = now.since(link.up_since).as_nanos() / CADENCE.as_nanos();
        let id = u64::try_from(readings).unwrap_or(u64::MAX);
        if id == 0 {
            return Observation { status: Status::NoData, meter: None, reading: None };
        }
        let at = link.up_since.after(CADENCE.saturating_mul(u32::try_from(id).unwrap_or(u32::MAX)));
        let civil = SignedDuration::try_from(at.since_start())
            .ok()
            .and_then(|since| self.start.checked_add(since).ok())
            .unwrap_or(Timestamp::MAX);
        let mut reading = Reading::new(id, at, CADENCE, civil);
        reading.tariff = Some(1);
        let watts = i64::try_from(id % 700).unwrap_or(0);
        for (quantity, value) in [
            (Quantity::ImportPower, Decimal::new(watts, 3)),
            (Quantity::ImportPowerL1, Decimal::new(watts, 3)),
            (Quantity::ExportPower, Decimal::ZERO),
            (Quantity::ActiveImportEnergy, Decimal::new(24_087 + watts, 3)),
            (Quantity::VoltageL1, Decimal::new(234, 0)),
            (Quantity::CurrentL1, Decimal::new(watts * 100 / 234, 2)),
        ] {
            reading.set(quantity, value);
        }
        Observation {
            status: Status::Ok,
            meter: Some(Arc::clone(&self.identity)),
            reading: Some(Arc::new(reading)),
        }
    }

    /// When the device gets the next reading after `now`; none where none will come.
    #[must_use]
    pub fn next_reading(&self, now: VirtualTime, link: &Link) -> Option<VirtualTime> {
        let passed = now.since(link.up_since).as_nanos() / CADENCE.as_nanos();
        let next = u32::try_from(passed).ok()?.checked_add(1)?;
        Some(link.up_since.after(CADENCE.checked_mul(next)?))
    }
}
