//! The kinds of meters, as data: what each is, what it sends, and how often.
//!
//! Sources: `docs/device/meter.md` and the examples `report_mbus_dlms.json`, `report_p1_dsmr.json`,
//! `report_objects.json` and `sd_card.csv` beside it. What they leave open: METER-12 and METER-13.

use std::fmt;

#[allow(
    clippy::enum_glob_use,
    clippy::wildcard_imports,
    reason = "a table of them reads best by their bare names"
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

/// What is to be known of a kind.
#[derive(Debug)]
pub struct KindFacts {
    /// The word of scenarios.
    pub name: &'static str,
    /// The plug.
    pub interface: Interface,
    /// What it speaks.
    pub protocol: Protocol,
    /// Its version; empty where the device shows none.
    pub protocol_version: &'static str,
    /// Who made it.
    pub vendor: &'static str,
    /// The maker's three letters.
    pub prefix: &'static str,
    /// `meter.logical_name`; the `#` are the last digits of the meter's number.
    pub logical_name: &'static str,
    /// `meter.id`, likewise; empty where the meter sends none.
    pub id: &'static str,
    /// `meter.model`, likewise.
    pub model: &'static str,
    /// The mean time between two readings, in ms.
    pub period: u64,
    /// How far a reading strays from its time, in ms either way; below half the period.
    pub jitter: u64,
    /// One reading of so many is skipped.
    pub skip_one_of: u64,
    /// How long the device takes to find out what it hears, in ms.
    pub recognition: u64,
    /// What it sends, with its decimal places.
    pub sends: &'static [(Quantity, u8)],
    /// Whether it tells the tariff in force.
    pub tariff: bool,
    /// How far its clock is behind the device's, in s: drawn from the seed between these.
    pub clock_behind: (f64, f64),
    /// What an unused phase shows, in mV: drawn for each reading between these.
    pub unused_phase: (u32, u32),
    /// Whether a meter on its M-Bus (gas, water) is told of.
    pub volume_bus: bool,
    /// The raw objects of `/report/objects`; empty for meters that are not DLMS.
    pub objects: &'static [DlmsObject],
}

impl MeterKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::LandisGyr, Self::Ensor, Self::Kamstrup];

    /// What is to be known of it.
    #[must_use]
    pub const fn facts(self) -> &'static KindFacts {
        match self {
            Self::LandisGyr => &LANDIS_GYR,
            Self::Ensor => &ENSOR,
            Self::Kamstrup => &KAMSTRUP,
        }
    }

    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.facts().name
    }
}

impl KindFacts {
    /// The decimal places of a quantity; none where it does not send it.
    #[must_use]
    pub fn places(&self, quantity: Quantity) -> Option<u8> {
        self.sends.iter().find(|(sent, _)| *sent == quantity).map(|(_, places)| *places)
    }
}

impl fmt::Display for MeterKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Interval 2.7 to 6.8 s (observed), so 4.75 ± 1.025 s a side.
static LANDIS_GYR: KindFacts = KindFacts {
    name: "landis_gyr",
    interface: Interface::Mbus,
    protocol: Protocol::Dlms,
    protocol_version: "",
    vendor: "Landis+Gyr",
    prefix: "LGZ",
    logical_name: "LGZ1030#########",
    id: "",
    model: "",
    period: 4750,
    jitter: 1025,
    skip_one_of: 64,
    recognition: 3000,
    sends: &[
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
    tariff: true,
    clock_behind: (11.0, 22.0),
    unused_phase: (0, 0),
    volume_bus: false,
    objects: &LANDIS_GYR_OBJECTS,
};

static ENSOR: KindFacts = KindFacts {
    name: "ensor",
    interface: Interface::P1,
    protocol: Protocol::Dsmr,
    protocol_version: "5.0",
    vendor: "Ensor",
    prefix: "ESR",
    logical_name: "ESR510307########",
    id: "1ESR00########",
    model: "1ESR00########",
    period: 1000,
    jitter: 4,
    skip_one_of: 512,
    recognition: 1500,
    sends: &[
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
    tariff: true,
    clock_behind: (0.2, 1.8),
    unused_phase: (32_000, 36_500),
    volume_bus: true,
    objects: &[],
};

static KAMSTRUP: KindFacts = KindFacts {
    name: "kamstrup",
    interface: Interface::Ttl,
    protocol: Protocol::Kmp,
    protocol_version: "",
    vendor: "Kamstrup",
    prefix: "KAM",
    logical_name: "KAM########",
    id: "########",
    model: "OMNIA",
    period: 4200,
    jitter: 40,
    skip_one_of: 128,
    recognition: 3000,
    sends: &[
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
    tariff: true,
    clock_behind: (11.0, 22.0),
    unused_phase: (0, 0),
    volume_bus: false,
    objects: &[],
};

/// An object that a DLMS meter pushes, as `/report/objects` lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DlmsObject {
    /// The OBIS code in `A-B:C.D.E` notation.
    pub logical_name: &'static str,
    /// The COSEM class: 1 data, 3 register, 40 push setup.
    pub class: u8,
    /// The DLMS type of the value; 0 for the push setup, which has none. 6 is an unsigned number of
    /// 4 bytes, 20 and 21 a signed and an unsigned one of 8, 9 a text in hexadecimal digits.
    pub tag: u8,
    /// Bytes of the value; for the push setup, how many objects it lists as [`DlmsObject::PUSHED`].
    pub size: u8,
    /// What it says.
    pub value: ObjectValue,
}

/// What an object says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectValue {
    /// The list of all objects, this one among them (class 40).
    PushList,
    /// The meter's logical name.
    LogicalName,
    /// `RATE1` or `RATE2`, filled with zero bytes.
    Tariff,
    /// A fixed text.
    Text(&'static str),
    /// A register: the quantity in W, var, Wh, varh, V or A is the value × 10^`scaler`.
    Register {
        /// What it counts or measures.
        quantity: Quantity,
        /// The DLMS unit: 27 W, 29 var, 30 Wh, 32 varh, 33 A, 35 V.
        unit: u8,
        /// A power of ten.
        scaler: i8,
    },
}

/// The raw objects of a meter, as `/report/objects` lists them; empty for meters that are not DLMS.
#[must_use]
pub fn objects(meter: &MeterIdentity) -> &'static [DlmsObject] {
    match meter.protocol {
        Protocol::Dlms => LANDIS_GYR.objects,
        Protocol::Dsmr | Protocol::Kmp | Protocol::Mep => &[],
    }
}

impl DlmsObject {
    /// The number of a register at a reading, cut to what its type holds; none for other objects, and
    /// where the reading lacks it.
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
            // A recording that goes round for ages counts to the end of what there is.
            value.mantissa().saturating_mul(scale)
        };
        let (least, most) = match self.tag {
            6 => (0, u32::MAX.into()),
            21 => (0, i64::MAX),
            _ => (i64::MIN, i64::MAX),
        };
        Some(number.clamp(least, most))
    }

    /// The attribute and data index under which the push setup lists an object.
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

/// `report_objects.json`, in its order.
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
    fn the_tables_fit_together() {
        for kind in MeterKind::ALL {
            let facts = kind.facts();
            assert!(facts.jitter * 2 < facts.period, "{kind}: readings keep their order");
            assert!(facts.skip_one_of > 2, "{kind}");
            assert!(facts.sends.is_sorted_by_key(|(quantity, _)| *quantity), "{kind}");
            for object in facts.objects {
                if let ObjectValue::Register { quantity, .. } = object.value {
                    assert!(object.logical_name.ends_with(&format!(":{}", quantity.obis())));
                    assert!(facts.places(quantity).is_some(), "{kind} sends {quantity}");
                }
                if object.value == ObjectValue::PushList {
                    assert_eq!(usize::from(object.size), facts.objects.len());
                }
            }
        }
    }

    #[test]
    fn objects_carry_the_number_in_their_own_scale() {
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
    fn a_number_is_cut_to_what_its_type_holds() {
        let number = |name: &str, quantity, value| {
            let at = VirtualTime::ZERO;
            let mut reading = Reading::new(1, at, Duration::ZERO, Timestamp::UNIX_EPOCH);
            reading.set(quantity, value);
            let object = LANDIS_GYR_OBJECTS.iter().find(|object| object.logical_name == name);
            object.unwrap().number(&reading)
        };
        let most = Decimal::new(i64::MAX, 0);
        let least = Decimal::new(i64::MIN, 0);
        assert_eq!(number("1-1:1.8.0", ActiveImportEnergy, most), Some(i64::MAX));
        assert_eq!(number("1-1:1.8.0", ActiveImportEnergy, least), Some(0));
        assert_eq!(number("1-0:1.7.0", ImportPower, least), Some(i64::MIN));
        assert_eq!(number("1-0:31.7.0", CurrentL1, most), Some(i64::MAX));
        assert_eq!(number("1-4:21.7.0", ImportPowerL1, most), Some(u32::MAX.into()));
        assert_eq!(number("1-4:21.7.0", ImportPowerL1, Decimal::new(-1, 0)), Some(0));
    }
}
