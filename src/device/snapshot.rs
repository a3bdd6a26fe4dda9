//! A device at one instant.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::network::Pairing;
use super::{CivilTime, Config, DeviceId, Firmware, scalers};
use crate::clock::VirtualTime;
use crate::decimal::Decimal;
use crate::meter::{Observation, Quantity, Reading};
use crate::net::http::json::{self, AppendText, UpperHex};
use crate::rng::{Draws, RandomStream};

/// The state of a device and its meter at one instant. A surface takes everything that it shows from one
/// snapshot, so that all values of a reply belong to the same instant.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The instant.
    pub now: VirtualTime,
    /// The instant by the device's own clock.
    pub time: Timestamp,
    /// The device.
    pub view: View,
    /// The meter.
    pub meter: Observation,
}

/// The state of a device at one instant, without its meter. Cheap to copy.
#[derive(Debug, Clone)]
pub struct View {
    /// The configuration.
    pub config: Arc<Config>,
    /// The firmware that runs.
    pub firmware: Firmware,
    /// The current boot.
    pub boot: Boot,
    /// The WPS pairing in progress.
    pub pairing: Option<Pairing>,
}

/// The decimal places of a value that was multiplied by `conv_factor`, if the meter sends no more: watts
/// and watt-hours (METER-1).
const CONVERTED_PLACES: u8 = 3;

impl Snapshot {
    /// Returns the newest reading. `None` before the first one.
    #[must_use]
    pub fn reading(&self) -> Option<&Reading> {
        self.meter.reading.as_deref()
    }

    /// Returns a value of the newest reading as the device shows it: in the quantity's unit, with the
    /// user's scalers and `conv_factor` applied. `None` if the meter does not send it (METER-1, METER-20).
    #[must_use]
    pub fn value(&self, quantity: Quantity) -> Option<Decimal> {
        self.value_in(self.reading()?, quantity)
    }

    /// Returns a value of any reading, as [`Snapshot::value`] does.
    #[must_use]
    #[inline]
    pub fn value_in(&self, reading: &Reading, quantity: Quantity) -> Option<Decimal> {
        let value = reading.get(quantity)?;
        let meter = self.meter.meter.as_deref();
        let value = value.shift(scalers::shift(&self.view.config, meter, quantity));
        let factor = self.view.config.meter.conv_factor;
        if !quantity.unit().has_conversion_factor() || factor == Decimal::ONE {
            return Some(value);
        }
        Some(value.multiply(factor, value.places().max(CONVERTED_PLACES)))
    }

    /// Returns the imported minus the exported active power in kW: of a phase 1 to 3, or of all phases for
    /// 0. `None` if the meter sends neither.
    #[must_use]
    pub fn active_power(&self, phase: u8) -> Option<Decimal> {
        use Quantity::{
            ExportPower, ExportPowerL1, ExportPowerL2, ExportPowerL3, ImportPower, ImportPowerL1,
            ImportPowerL2, ImportPowerL3,
        };
        self.balance(match phase {
            0 => (ImportPower, ExportPower),
            1 => (ImportPowerL1, ExportPowerL1),
            2 => (ImportPowerL2, ExportPowerL2),
            3 => (ImportPowerL3, ExportPowerL3),
            _ => return None,
        })
    }

    /// Returns the imported minus the exported reactive power in kvar, as [`Snapshot::active_power`] does.
    #[must_use]
    pub fn reactive_power(&self, phase: u8) -> Option<Decimal> {
        use Quantity::{
            ReactiveExportPower, ReactiveExportPowerL1, ReactiveExportPowerL2,
            ReactiveExportPowerL3, ReactiveImportPower, ReactiveImportPowerL1,
            ReactiveImportPowerL2, ReactiveImportPowerL3,
        };
        self.balance(match phase {
            0 => (ReactiveImportPower, ReactiveExportPower),
            1 => (ReactiveImportPowerL1, ReactiveExportPowerL1),
            2 => (ReactiveImportPowerL2, ReactiveExportPowerL2),
            3 => (ReactiveImportPowerL3, ReactiveExportPowerL3),
            _ => return None,
        })
    }

    /// Returns the current of a phase 1 to 3 in A, negative while the phase exports. `None` if the meter does
    /// not send it.
    #[must_use]
    pub fn signed_current(&self, phase: u8) -> Option<Decimal> {
        let current = self.value(match phase {
            1 => Quantity::CurrentL1,
            2 => Quantity::CurrentL2,
            3 => Quantity::CurrentL3,
            _ => return None,
        })?;
        let exports = self.active_power(phase).is_some_and(|power| power.mantissa() < 0);
        Some(if exports { current.negate() } else { current })
    }

    fn balance(&self, (import, export): (Quantity, Quantity)) -> Option<Decimal> {
        match (self.value(import), self.value(export)) {
            (None, None) => None,
            (import, export) => {
                Some(import.unwrap_or_default().subtract(export.unwrap_or_default()))
            }
        }
    }

    /// Returns the time since the boot.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.now.since(self.view.boot.at)
    }

    /// Returns the time by the device's clock.
    #[must_use]
    pub fn system_time(&self) -> CivilTime {
        CivilTime::new(self.time)
    }

    /// Returns the time of the newest reading by the meter's clock, as the device corrects it. `None`
    /// before the first one.
    #[must_use]
    pub fn meter_time(&self) -> Option<CivilTime> {
        self.reading().map(|reading| self.meter_time_of(reading))
    }

    /// Returns the time of any reading, as [`Snapshot::meter_time`] does: `time_offset` seconds are added,
    /// or, with `sync_time_offset_with_ntp`, it is the time by the device's own clock (METER-2).
    #[must_use]
    pub fn meter_time_of(&self, reading: &Reading) -> CivilTime {
        let settings = &self.view.config.meter;
        CivilTime::new(if settings.sync_time_offset_with_ntp {
            let age = SignedDuration::try_from(self.now.since(reading.at)).unwrap_or_default();
            self.time.checked_sub(age).unwrap_or(self.time)
        } else {
            let offset = SignedDuration::from_secs(settings.time_offset.into());
            reading.meter_time.checked_add(offset).unwrap_or(reading.meter_time)
        })
    }
}

/// A boot of the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Boot {
    /// The time of the boot.
    pub at: VirtualTime,
    /// The id, which is new with each boot.
    pub id: BootId,
    /// The number of earlier boots.
    pub ordinal: u64,
}

/// The id of a boot: eight hexadecimal digits (`system.boot_id`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BootId(u32);

impl Boot {
    /// Returns the boot at the start of the house.
    #[must_use]
    pub fn first(device: &DeviceId, seed: u64) -> Self {
        Self::new(device, seed, 0, VirtualTime::ZERO)
    }

    /// Returns the boot with this ordinal at `at`.
    #[must_use]
    pub fn new(device: &DeviceId, seed: u64, ordinal: u64, at: VirtualTime) -> Self {
        let stream =
            RandomStream::named("boot").child(RandomStream::named(device.as_str()).number());
        let bits = Draws::new(seed, stream, ordinal).bits();
        #[expect(clippy::cast_possible_truncation, reason = "any 32 of its bits will do")]
        Self { at, id: BootId(bits as u32), ordinal }
    }
}

impl std::fmt::Display for BootId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        json::display(self, f)
    }
}

impl AppendText for BootId {
    fn append_to(&self, out: &mut String) {
        UpperHex(&self.0.to_be_bytes()).append_to(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::MeterStatus;

    fn snapshot(set: impl FnOnce(&mut Config)) -> Snapshot {
        let id: DeviceId = "A842E39F8124".parse().unwrap();
        let mut config = Config::factory(&id);
        set(&mut config);
        let at = VirtualTime::ZERO.after(Duration::from_mins(1));
        let mut reading = Reading::new(
            1,
            at,
            Duration::from_secs(1),
            "2026-01-15T17:00:43Z".parse::<Timestamp>().unwrap(),
        );
        for (quantity, value) in [
            (Quantity::ActiveImportEnergy, Decimal::new(75_133, 3)),
            (Quantity::ExportPower, Decimal::new(15, 3)),
            (Quantity::ImportPowerL1, Decimal::new(36, 3)),
            (Quantity::ExportPowerL1, Decimal::ZERO),
            (Quantity::ImportPowerL2, Decimal::ZERO),
            (Quantity::ExportPowerL2, Decimal::new(51, 3)),
            (Quantity::CurrentL1, Decimal::new(26, 2)),
            (Quantity::CurrentL2, Decimal::new(26, 2)),
            (Quantity::CurrentL3, Decimal::new(7, 2)),
            (Quantity::VoltageL1, Decimal::new(23_401, 2)),
            (Quantity::PowerFactor, Decimal::new(98, 2)),
        ] {
            reading.set(quantity, value);
        }
        let now = at.after(Duration::from_secs(2));
        Snapshot {
            now,
            time: "2026-01-15T17:01:02Z".parse().unwrap(),
            view: View {
                config: Arc::new(config),
                firmware: Firmware::DEFAULT,
                boot: Boot::first(&id, 0),
                pairing: None,
            },
            meter: Observation {
                status: MeterStatus::Ok,
                meter: None,
                reading: Some(Arc::new(reading)),
            },
        }
    }

    fn text(value: Option<Decimal>) -> String {
        value.map_or("none".to_owned(), |value| value.to_string())
    }

    // Ruling: METER-1.
    #[test]
    fn the_factor_applies_to_power_energy_and_current_alone() {
        let factor = |factor| snapshot(|config| config.meter.conv_factor = factor);
        for (snapshot, expected) in [
            (factor(Decimal::new(10, 1)), ["75.133", "0.015", "0.26", "234.01", "0.98"]),
            (factor(Decimal::new(40, 0)), ["3005.32", "0.6", "10.4", "234.01", "0.98"]),
            (factor(Decimal::new(1, 3)), ["0.075", "0", "0", "234.01", "0.98"]),
        ] {
            let values = [
                Quantity::ActiveImportEnergy,
                Quantity::ExportPower,
                Quantity::CurrentL1,
                Quantity::VoltageL1,
                Quantity::PowerFactor,
            ]
            .map(|quantity| text(snapshot.value(quantity)));
            assert_eq!(values, expected);
        }
        assert_eq!(factor(Decimal::ONE).value(Quantity::ReactiveImportEnergy), None);
    }

    // Ruling: METER-3.
    #[test]
    fn import_is_positive_and_export_negative() {
        let snapshot = snapshot(|_| {});
        let power = [0, 1, 2, 3, 4].map(|phase| text(snapshot.active_power(phase)));
        assert_eq!(power, ["-0.015", "0.036", "-0.051", "none", "none"]);
        let current = [0, 1, 2, 3].map(|phase| text(snapshot.signed_current(phase)));
        assert_eq!(current, ["none", "0.26", "-0.26", "0.07"]);
        assert_eq!(snapshot.reactive_power(0), None);
    }

    // Ruling: METER-2.
    #[test]
    fn the_time_of_the_meter_can_be_corrected() {
        let time = |snapshot: &Snapshot| snapshot.meter_time().unwrap().date_time().to_string();
        assert_eq!(time(&snapshot(|_| {})), "2026-01-15T18:00:43Z");
        let earlier = snapshot(|config| config.meter.time_offset = -43);
        assert_eq!(time(&earlier), "2026-01-15T18:00:00Z");
        let synced = snapshot(|config| {
            config.meter.time_offset = 9;
            config.meter.sync_time_offset_with_ntp = true;
        });
        assert_eq!(time(&synced), "2026-01-15T18:01:00Z");
        assert_eq!(synced.system_time().date_time_utc().to_string(), "2026-01-15T17:01:02Z");
    }
}
