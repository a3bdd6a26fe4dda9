//! The kinds of meters as data: identity, quantities and cadence.
//!
//! Sources: `docs/device/meter.md` and the examples `report_mbus_dlms.json`, `report_p1_dsmr.json`,
//! `report_objects.json` and `sd_card.csv` beside it. Rulings METER-12 and METER-13 fill their gaps.

use std::fmt;

#[allow(
    clippy::enum_glob_use,
    clippy::wildcard_imports,
    reason = "the tables are most readable with bare names"
)]
use super::Quantity::{self, *};
use super::{Interface, MeterIdentity, Protocol, Reading};

/// A kind of meter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum MeterKind {
    /// Landis+Gyr on M-Bus, DLMS.
    LandisGyr,
    /// Ensor on the P1 port, DSMR 5.0.
    Ensor,
    /// Kamstrup on the TTL port, KMP.
    #[default]
    Kamstrup,
}

/// The profile of a kind of meter: its identity, quantities and cadence.
#[derive(Debug)]
pub struct MeterProfile {
    /// The word of scenarios.
    pub name: &'static str,
    /// The physical interface.
    pub interface: Interface,
    /// The protocol.
    pub protocol: Protocol,
    /// The version of the protocol; empty if the device shows none.
    pub protocol_version: &'static str,
    /// The manufacturer.
    pub vendor: &'static str,
    /// The manufacturer's three letters.
    pub prefix: &'static str,
    /// Pattern of `meter.logical_name`: each `#` is a digit of the meter's number, the last digits at the
    /// end.
    pub logical_name: &'static str,
    /// Pattern of `meter.id`; empty if the meter sends none.
    pub id: &'static str,
    /// Pattern of `meter.model`.
    pub model: &'static str,
    /// Mean time between two telegrams, in ms.
    pub period_ms: u64,
    /// Largest deviation of a telegram from its mean time, in ms; below half the period.
    pub jitter_ms: u64,
    /// One telegram of this many is skipped.
    pub skip_one_of: u64,
    /// Time that the device takes to recognize the protocol, in ms.
    pub recognition_ms: u64,
    /// The quantities that the meter sends, with their decimal places.
    pub quantities: &'static [(Quantity, u8)],
    /// `true` if the meter sends the tariff in force.
    pub sends_tariff: bool,
    /// Range of the lag of the meter's clock behind the device's, in s. The seed decides.
    pub clock_lag: (f64, f64),
    /// Range of the voltage of an unused phase, in mV. Each reading draws its own.
    pub unused_phase_mv: (u32, u32),
    /// `true` if the meter reports a gas or water meter on its M-Bus.
    pub reports_mbus_meter: bool,
    /// The objects of `/report/objects`; empty for meters that do not use DLMS.
    pub objects: &'static [DlmsObject],
}

impl MeterKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::LandisGyr, Self::Ensor, Self::Kamstrup];

    /// Returns the profile of the kind.
    #[must_use]
    pub const fn profile(self) -> &'static MeterProfile {
        match self {
            Self::LandisGyr => &LANDIS_GYR,
            Self::Ensor => &ENSOR,
            Self::Kamstrup => &KAMSTRUP,
        }
    }

    /// Returns the word of scenarios.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.profile().name
    }
}

impl MeterProfile {
    /// Returns the decimal places of a quantity. `None` if the meter does not send it.
    #[must_use]
    pub fn places(&self, quantity: Quantity) -> Option<u8> {
        self.quantities.iter().find(|(sent, _)| *sent == quantity).map(|(_, places)| *places)
    }
}

impl fmt::Display for MeterKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Observed interval: 2.7 to 6.8 s, so 4.75 s with a jitter of 1.025 s at each end.
static LANDIS_GYR: MeterProfile = MeterProfile {
    name: "landis_gyr",
    interface: Interface::Mbus,
    protocol: Protocol::Dlms,
    protocol_version: "",
    vendor: "Landis+Gyr",
    prefix: "LGZ",
    logical_name: "LGZ1030#########",
    id: "",
    model: "",
    period_ms: 4750,
    jitter_ms: 1025,
    skip_one_of: 64,
    recognition_ms: 3000,
    quantities: &[
        (ActiveImportEnergy, 3),
        (ActiveExportEnergy, 3),
        (ReactiveImportEnergy, 3),
        (ReactiveExportEnergy, 3),
        (ImportPower, 3),
        (ImportPowerL1, 3),
        (ImportPowerL2, 3),
        (ImportPowerL3, 3),
        (ExportPower, 3),
        (ExportPowerL1, 3),
        (ExportPowerL2, 3),
        (ExportPowerL3, 3),
        (ReactiveImportPowerL1, 3),
        (ReactiveImportPowerL2, 3),
        (ReactiveImportPowerL3, 3),
        (ReactiveExportPowerL1, 3),
        (ReactiveExportPowerL2, 3),
        (ReactiveExportPowerL3, 3),
        (VoltageL1, 0),
        (VoltageL2, 0),
        (VoltageL3, 0),
        (CurrentL1, 2),
        (CurrentL2, 2),
        (CurrentL3, 2),
    ],
    sends_tariff: true,
    clock_lag: (11.0, 22.0),
    unused_phase_mv: (0, 0),
    reports_mbus_meter: false,
    objects: &LANDIS_GYR_OBJECTS,
};

static ENSOR: MeterProfile = MeterProfile {
    name: "ensor",
    interface: Interface::P1,
    protocol: Protocol::Dsmr,
    protocol_version: "5.0",
    vendor: "Ensor",
    prefix: "ESR",
    logical_name: "ESR510307########",
    id: "1ESR00########",
    model: "1ESR00########",
    period_ms: 1000,
    jitter_ms: 4,
    skip_one_of: 512,
    recognition_ms: 1500,
    quantities: &[
        (ActiveImportEnergy, 3),
        (ActiveImportEnergyT1, 3),
        (ActiveImportEnergyT2, 3),
        (ActiveExportEnergy, 3),
        (ActiveExportEnergyT1, 3),
        (ActiveExportEnergyT2, 3),
        (ImportPower, 3),
        (ImportPowerL1, 3),
        (ImportPowerL2, 3),
        (ImportPowerL3, 3),
        (ExportPower, 3),
        (ExportPowerL1, 3),
        (ExportPowerL2, 3),
        (ExportPowerL3, 3),
        (VoltageL1, 2),
        (VoltageL2, 2),
        (VoltageL3, 2),
        (CurrentL1, 2),
        (CurrentL2, 2),
        (CurrentL3, 2),
    ],
    sends_tariff: true,
    clock_lag: (0.2, 1.8),
    unused_phase_mv: (32_000, 36_500),
    reports_mbus_meter: true,
    objects: &[],
};

static KAMSTRUP: MeterProfile = MeterProfile {
    name: "kamstrup",
    interface: Interface::Ttl,
    protocol: Protocol::Kmp,
    protocol_version: "",
    vendor: "Kamstrup",
    prefix: "KAM",
    logical_name: "KAM########",
    id: "########",
    model: "OMNIA",
    period_ms: 4200,
    jitter_ms: 40,
    skip_one_of: 128,
    recognition_ms: 3000,
    quantities: &[
        (ActiveImportEnergy, 3),
        (ActiveImportEnergyT1, 3),
        (ActiveImportEnergyT2, 3),
        (ActiveExportEnergy, 3),
        (ActiveExportEnergyT1, 3),
        (ActiveExportEnergyT2, 3),
        (ReactiveImportEnergy, 3),
        (ReactiveExportEnergy, 3),
        (ImportDemand, 3),
        (ImportPower, 3),
        (ImportPowerL1, 3),
        (ImportPowerL2, 3),
        (ImportPowerL3, 3),
        (ExportPower, 3),
        (ExportPowerL1, 3),
        (ExportPowerL2, 3),
        (ExportPowerL3, 3),
        (ReactiveImportPower, 3),
        (ReactiveExportPower, 3),
        (VoltageL1, 0),
        (VoltageL2, 0),
        (VoltageL3, 0),
        (CurrentL1, 2),
        (CurrentL2, 2),
        (CurrentL3, 2),
        (PowerFactor, 3),
    ],
    sends_tariff: true,
    clock_lag: (11.0, 22.0),
    unused_phase_mv: (0, 0),
    reports_mbus_meter: false,
    objects: &[],
};

/// An object that a DLMS meter pushes, as `/report/objects` lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DlmsObject {
    /// The OBIS code in `A-B:C.D.E` notation.
    pub logical_name: &'static str,
    /// The COSEM class: 1 data, 3 register, 40 push setup.
    pub class: u8,
    /// The DLMS type of the value; 0 for the push setup, which has no value. 6 is an unsigned number of 4
    /// bytes, 20 and 21 are a signed and an unsigned number of 8 bytes, 9 is a text in hexadecimal digits.
    pub tag: u8,
    /// Bytes of the value; for the push setup, the number of objects that it lists as
    /// [`DlmsObject::PUSHED`].
    pub size: u8,
    /// The value.
    pub value: ObjectValue,
}

/// The value of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectValue {
    /// The list of all objects, this one included (class 40).
    PushList,
    /// The meter's logical name.
    LogicalName,
    /// `RATE1` or `RATE2`, filled with zero bytes.
    Tariff,
    /// A fixed text.
    Text(&'static str),
    /// A register: the quantity in W, var, Wh, varh, V or A is the value × 10^`scaler`.
    Register {
        /// The quantity.
        quantity: Quantity,
        /// The DLMS unit: 27 W, 29 var, 30 Wh, 32 varh, 33 A, 35 V.
        unit: u8,
        /// The exponent of the power of ten.
        scaler: i8,
    },
}

/// Returns the objects of a meter, as `/report/objects` lists them; empty for meters that do not use DLMS.
#[must_use]
pub fn objects(meter: &MeterIdentity) -> &'static [DlmsObject] {
    match meter.protocol {
        Protocol::Dlms => LANDIS_GYR.objects,
        Protocol::Dsmr | Protocol::Kmp | Protocol::Mep => &[],
    }
}

impl DlmsObject {
    /// Returns the number of a register in a reading, clamped to the range of its type. `None` for other
    /// objects, and if the reading lacks the quantity.
    #[must_use]
    pub fn number(&self, reading: &Reading) -> Option<i64> {
        let ObjectValue::Register { quantity, scaler, .. } = self.value else { return None };
        let value = reading.get(quantity)?;
        // Readings are in kW and kWh, in V and A.
        let kilo = if quantity.unit().is_kilo() { 3 } else { 0 };
        let power = kilo - i32::from(value.places()) - i32::from(scaler);
        let scale = 10_i64.pow(power.unsigned_abs().min(18));
        let number = if power < 0 {
            value.mantissa() / scale
        } else {
            // The counters of a looped recording may reach the end of the type.
            value.mantissa().saturating_mul(scale)
        };
        let (min, max) = match self.tag {
            6 => (0, u32::MAX.into()),
            21 => (0, i64::MAX),
            _ => (i64::MIN, i64::MAX),
        };
        Some(number.clamp(min, max))
    }

    /// Attribute and data index of an object in the list of the push setup.
    pub const PUSHED: (u8, u8) = (2, 0);
}

const fn data(logical_name: &'static str, size: u8, value: ObjectValue) -> DlmsObject {
    DlmsObject { logical_name, class: 1, tag: 9, size, value }
}

const fn register(
    logical_name: &'static str,
    tag: u8,
    quantity: Quantity,
    unit: u8,
    scaler: i8,
) -> DlmsObject {
    let size = if tag == 6 { 4 } else { 8 };
    let value = ObjectValue::Register { quantity, unit, scaler };
    DlmsObject { logical_name, class: 3, tag, size, value }
}

/// The objects of `report_objects.json`, in its order.
static LANDIS_GYR_OBJECTS: [DlmsObject; 28] = [
    DlmsObject {
        logical_name: "0-8:25.9.0",
        class: 40,
        tag: 0,
        size: 28,
        value: ObjectValue::PushList,
    },
    data("0-0:42.0.0", 16, ObjectValue::LogicalName),
    register("1-1:1.8.0", 21, ActiveImportEnergy, 30, 0),
    register("1-1:2.8.0", 21, ActiveExportEnergy, 30, 0),
    register("1-1:3.8.0", 21, ReactiveImportEnergy, 32, 0),
    register("1-1:4.8.0", 21, ReactiveExportEnergy, 32, 0),
    data("0-0:96.14.0", 8, ObjectValue::Tariff),
    register("1-0:1.7.0", 20, ImportPower, 27, 0),
    register("1-0:2.7.0", 20, ExportPower, 27, 0),
    register("1-0:32.7.0", 20, VoltageL1, 35, 0),
    register("1-0:52.7.0", 20, VoltageL2, 35, 0),
    register("1-0:72.7.0", 20, VoltageL3, 35, 0),
    register("1-0:31.7.0", 20, CurrentL1, 33, -2),
    register("1-0:51.7.0", 20, CurrentL2, 33, -2),
    register("1-0:71.7.0", 20, CurrentL3, 33, -2),
    register("1-4:21.7.0", 6, ImportPowerL1, 27, 0),
    register("1-4:41.7.0", 6, ImportPowerL2, 27, 0),
    register("1-4:61.7.0", 6, ImportPowerL3, 27, 0),
    register("1-4:22.7.0", 6, ExportPowerL1, 27, 0),
    register("1-4:42.7.0", 6, ExportPowerL2, 27, 0),
    register("1-4:62.7.0", 6, ExportPowerL3, 27, 0),
    register("1-4:23.7.0", 6, ReactiveImportPowerL1, 29, 0),
    register("1-4:43.7.0", 6, ReactiveImportPowerL2, 29, 0),
    register("1-4:63.7.0", 6, ReactiveImportPowerL3, 29, 0),
    register("1-4:24.7.0", 6, ReactiveExportPowerL1, 29, 0),
    register("1-4:44.7.0", 6, ReactiveExportPowerL2, 29, 0),
    register("1-4:64.7.0", 6, ReactiveExportPowerL3, 29, 0),
    data("0-0:96.13.0", 21, ObjectValue::Text("Consumer Message Text")),
];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;
    use crate::clock::VirtualTime;
    use crate::decimal::Decimal;

    #[test]
    fn the_tables_are_consistent() {
        for kind in MeterKind::ALL {
            let profile = kind.profile();
            assert!(profile.jitter_ms * 2 < profile.period_ms, "{kind}: readings keep their order");
            assert!(profile.skip_one_of > 2, "{kind}");
            assert!(profile.quantities.is_sorted_by_key(|(quantity, _)| *quantity), "{kind}");
            for object in profile.objects {
                if let ObjectValue::Register { quantity, .. } = object.value {
                    assert!(object.logical_name.ends_with(&format!(":{}", quantity.obis())));
                    assert!(profile.places(quantity).is_some(), "{kind} sends {quantity}");
                }
                if object.value == ObjectValue::PushList {
                    assert_eq!(usize::from(object.size), profile.objects.len());
                }
            }
        }
    }

    #[test]
    fn objects_have_numbers_in_their_own_scale() {
        let mut reading = Reading::new(1, VirtualTime::ZERO, Duration::ZERO, Timestamp::UNIX_EPOCH);
        reading.set(ActiveImportEnergy, Decimal::new(75_133, 3));
        reading.set(CurrentL1, Decimal::new(26, 2));
        reading.set(VoltageL1, Decimal::new(234, 0));
        let number = |name: &str| {
            let object = LANDIS_GYR_OBJECTS.iter().find(|object| object.logical_name == name);
            object.unwrap().number(&reading)
        };
        assert_eq!(number("1-1:1.8.0"), Some(75_133));
        assert_eq!(number("1-0:31.7.0"), Some(26));
        assert_eq!(number("1-0:32.7.0"), Some(234));
        assert_eq!(number("1-0:1.7.0"), None);
        assert_eq!(number("0-0:42.0.0"), None);
    }

    #[test]
    fn a_number_is_clamped_to_the_range_of_its_type() {
        let number = |name: &str, quantity, value| {
            let at = VirtualTime::ZERO;
            let mut reading = Reading::new(1, at, Duration::ZERO, Timestamp::UNIX_EPOCH);
            reading.set(quantity, value);
            let object = LANDIS_GYR_OBJECTS.iter().find(|object| object.logical_name == name);
            object.unwrap().number(&reading)
        };
        let max = Decimal::new(i64::MAX, 0);
        let min = Decimal::new(i64::MIN, 0);
        assert_eq!(number("1-1:1.8.0", ActiveImportEnergy, max), Some(i64::MAX));
        assert_eq!(number("1-1:1.8.0", ActiveImportEnergy, min), Some(0));
        assert_eq!(number("1-0:1.7.0", ImportPower, min), Some(i64::MIN));
        assert_eq!(number("1-0:31.7.0", CurrentL1, max), Some(i64::MAX));
        assert_eq!(number("1-4:21.7.0", ImportPowerL1, max), Some(u32::MAX.into()));
        assert_eq!(number("1-4:21.7.0", ImportPowerL1, Decimal::new(-1, 0)), Some(0));
    }
}
