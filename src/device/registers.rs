//! The contents of the registers of the device's Modbus server (MODBUS-8 to MODBUS-13), as a pure
//! function of a snapshot, a map and a range of addresses.
//!
//! All registers of one read come from one snapshot and therefore from one reading of the meter.
//! Numbers are computed from the decimals that every surface returns, without binary fractions in
//! between: an integer register is the decimal × 10^scaler, rounded half away from zero and
//! saturated at the range of the type.

use super::config::{MapWordOrder, NumberType, RegisterId, RegisterMap, RegisterSlot, TEXT_BYTES};
use super::{CivilTime, DeviceId, Firmware, Snapshot};
use crate::decimal::Decimal;
use crate::limits;
use crate::meter::MeterIdentity;

/// The number of words of the largest value.
const MAX_WORDS: usize = TEXT_BYTES as usize / 2;

/// The error of a read at an address that is in no register of the map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the map has no register at {0}")]
pub struct UnmappedAddress(pub u32);

impl RegisterMap {
    /// Fills `words` with the registers of the device `id` from `address` on. A read may begin and
    /// end in the middle of a value.
    ///
    /// # Errors
    /// [`UnmappedAddress`]; the contents of `words` are then unspecified.
    pub fn read(
        &self,
        id: &DeviceId,
        snapshot: &Snapshot,
        address: u16,
        words: &mut [u16],
    ) -> Result<(), UnmappedAddress> {
        let slots = self.slots();
        let first = slots.partition_point(|slot| slot.address + slot.words <= address);
        let mut next = u32::from(address);
        let mut rest = words;
        let mut slots = slots[first..].iter();
        while !rest.is_empty() {
            let slot = slots.next().filter(|slot| u32::from(slot.address) <= next);
            let slot = slot.ok_or(UnmappedAddress(next))?;
            let value = slot_words(slot, id, snapshot);
            // Less than the words of one value.
            let skipped = next as usize - usize::from(slot.address);
            let part = &value[skipped..usize::from(slot.words)];
            let len = part.len().min(rest.len());
            let (filled, remaining) = rest.split_at_mut(len);
            filled.copy_from_slice(&part[..len]);
            rest = remaining;
            next += u32::from(slot.words) - u32::try_from(skipped).unwrap_or(0);
        }
        Ok(())
    }
}

/// Returns the contents of a slot in the first words of the array.
fn slot_words(slot: &RegisterSlot, id: &DeviceId, snapshot: &Snapshot) -> [u16; MAX_WORDS] {
    let register = &slot.register;
    let number = match register.id {
        RegisterId::Zeros => return [0; MAX_WORDS],
        RegisterId::Ones => return [u16::MAX; MAX_WORDS],
        RegisterId::ReportDateTime => {
            return pack_words(&snapshot.meter_time().map_or([0; 8], encode_date));
        }
        RegisterId::SystemDateTime => {
            return pack_words(&encode_date(CivilTime::new(snapshot.time)));
        }
        RegisterId::MeterId => return text(snapshot, |meter| &meter.id),
        RegisterId::MeterModel => return text(snapshot, |meter| &meter.model),
        RegisterId::MeterType => return text(snapshot, |meter| &meter.logical_name),
        RegisterId::SystemId => return pack_words(&id.bytes()),
        RegisterId::SystemFirmware => {
            let Firmware { major, minor, release } = snapshot.view.firmware;
            return pack_words(&[major, minor, release, 0, 0, 0]);
        }
        RegisterId::Quantity(quantity) => snapshot.value(quantity),
        RegisterId::ActivePower(phase) => snapshot.active_power(phase),
        RegisterId::ReactivePower(phase) => snapshot.reactive_power(phase),
        RegisterId::Current(phase) => snapshot.signed_current(phase),
        RegisterId::Tariff => snapshot
            .reading()
            .and_then(|reading| reading.tariff)
            .map(|tariff| Decimal::new(tariff.into(), 0)),
        RegisterId::ConversionFactor => Some(snapshot.view.config.meter.conv_factor),
        RegisterId::ReportTimestamp => {
            snapshot.meter_time().map(|time| Decimal::new(time.timestamp().as_second(), 0))
        }
        RegisterId::SystemTimestamp => Some(Decimal::new(snapshot.time.as_second(), 0)),
    };
    // A number that the meter does not send reads 0 (MODBUS-10).
    let number = number.unwrap_or(Decimal::ZERO);
    let (bytes, len) = encode_number(number, register.scaler, register.number);
    let mut words = pack_words(&bytes);
    if slot.order == MapWordOrder::Lsw {
        words[..len / 2].reverse();
    }
    words
}

fn text(snapshot: &Snapshot, field: impl Fn(&MeterIdentity) -> &String) -> [u16; MAX_WORDS] {
    let text = snapshot.meter.meter.as_deref().map_or("", |meter| field(meter));
    pack_words(text.as_bytes())
}

/// Packs two bytes into each word, the first byte in the high half. Pads with zeros and truncates.
fn pack_words(bytes: &[u8]) -> [u16; MAX_WORDS] {
    let mut words = [0; MAX_WORDS];
    for (word, pair) in words.iter_mut().zip(bytes.chunks(2)) {
        *word = u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]);
    }
    words
}

/// Encodes a local time: year, month, day, hour, minute, second, and 1 during daylight saving time.
fn encode_date(time: CivilTime) -> [u8; 8] {
    let local = time.local();
    let [high, low] = local.year().to_be_bytes();
    // The fields of jiff are never negative.
    let field = |field: i8| field.unsigned_abs();
    [
        high,
        low,
        field(local.month()),
        field(local.day()),
        field(local.hour()),
        field(local.minute()),
        field(local.second()),
        u8::from(time.is_dst()),
    ]
}

/// Encodes number × 10^scaler. Returns the bytes of the type and their count.
fn encode_number(number: Decimal, scaler: i8, number_type: NumberType) -> ([u8; 8], usize) {
    let mut bytes = [0; 8];
    let exponent = i32::from(scaler) - i32::from(number.places());
    let integer = || scale_to_integer(number.mantissa(), exponent);
    match number_type {
        NumberType::Short => {
            bytes[..2].copy_from_slice(&saturate::<i16>(integer()).to_be_bytes());
        }
        NumberType::Int => bytes[..4].copy_from_slice(&saturate::<i32>(integer()).to_be_bytes()),
        NumberType::Long => bytes = saturate::<i64>(integer()).to_be_bytes(),
        NumberType::Float => {
            #[expect(clippy::cast_possible_truncation, reason = "to the nearest float")]
            let float = scale_to_double(number.mantissa(), exponent) as f32;
            bytes[..4].copy_from_slice(&float.to_be_bytes());
        }
        NumberType::Double => bytes = scale_to_double(number.mantissa(), exponent).to_be_bytes(),
    }
    (bytes, usize::from(number_type.words()) * 2)
}

/// The powers of ten up to the largest that a scaler and the places of a decimal add up to.
const POWERS: [i64; 16] = {
    let mut powers = [1; 16];
    let mut n = 1;
    while n < powers.len() {
        powers[n] = powers[n - 1] * 10;
        n += 1;
    }
    powers
};

const _: () = assert!(
    limits::MODBUS_SCALER.end().unsigned_abs() as usize + (Decimal::MAX_PLACES as usize) < 16
);

fn power(exponent: u32) -> i64 {
    POWERS[usize::try_from(exponent).unwrap_or(usize::MAX).min(POWERS.len() - 1)]
}

/// Returns `mantissa` × 10^`exponent`, rounded half away from zero.
fn scale_to_integer(mantissa: i64, exponent: i32) -> i128 {
    let power = i128::from(power(exponent.unsigned_abs()));
    let mantissa = i128::from(mantissa);
    if exponent >= 0 {
        mantissa * power
    } else {
        let half = power / 2 * mantissa.signum();
        (mantissa + half) / power
    }
}

/// Returns the double nearest to `mantissa` × 10^`exponent`. Both operands are exact while a meter's
/// numbers stay below 2^53, and the one division rounds once.
#[expect(clippy::cast_precision_loss, reason = "meters stay far below 2^53")]
fn scale_to_double(mantissa: i64, exponent: i32) -> f64 {
    let power = power(exponent.unsigned_abs());
    if exponent >= 0 {
        (i128::from(mantissa) * i128::from(power)) as f64
    } else {
        mantissa as f64 / power as f64
    }
}

/// Converts a number to `T`, saturating at the range of `T`.
fn saturate<T: TryFrom<i128> + Bounds>(number: i128) -> T {
    T::try_from(number).unwrap_or(if number < 0 { T::LOWEST } else { T::HIGHEST })
}

/// The range of an integer type.
trait Bounds {
    const LOWEST: Self;
    const HIGHEST: Self;
}

macro_rules! impl_bounds {
    ($($integer:ty)*) => {
        $(impl Bounds for $integer {
            const LOWEST: Self = Self::MIN;
            const HIGHEST: Self = Self::MAX;
        })*
    };
}

impl_bounds! { i16 i32 i64 }

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::clock::VirtualTime;
    use crate::device::{Boot, Config, View};
    use crate::meter::{Interface, MeterStatus, Observation, Protocol, Quantity, Reading};

    fn id() -> DeviceId {
        "A842E39F8124".parse().unwrap()
    }

    /// Returns a snapshot with a reading of these values at that time.
    fn snapshot(time: &str, values: &[(Quantity, Decimal)]) -> Snapshot {
        let time: Timestamp = time.parse().unwrap();
        let now = VirtualTime::ZERO;
        let mut reading = Reading::new(1, now, std::time::Duration::ZERO, time);
        reading.tariff = Some(2);
        for (quantity, value) in values {
            reading.set(*quantity, *value);
        }
        let meter = MeterIdentity {
            interface: Interface::P1,
            protocol: Protocol::Dsmr,
            protocol_version: String::new(),
            logical_name: "LGZ1030655933512".to_owned(),
            id: "30655933".to_owned(),
            model: "a model with a name that goes beyond".to_owned(),
            vendor: String::new(),
            prefix: String::new(),
        };
        let (id, config) = (id(), Config::factory(&id()));
        let (config, firmware) = (Arc::new(config), "1.2.18".parse().unwrap());
        Snapshot {
            now,
            time,
            view: View { config, firmware, boot: Boot::first(&id, 0), pairing: None },
            meter: Observation {
                status: MeterStatus::Ok,
                meter: Some(Arc::new(meter)),
                reading: Some(Arc::new(reading)),
            },
        }
    }

    const WINTER: &str = "2025-03-17T17:34:20Z";

    fn map(sets: &Value) -> RegisterMap {
        RegisterMap::parse_value(sets, true).unwrap()
    }

    fn read(map: &RegisterMap, snapshot: &Snapshot, address: u16, quantity: usize) -> Vec<u16> {
        let mut words = vec![0xAAAA; quantity];
        map.read(&id(), snapshot, address, &mut words).unwrap();
        words
    }

    /// Returns all words of a map with one register.
    fn read_register(register: &Value, order: &str, snapshot: &Snapshot) -> Vec<u16> {
        let map = map(&json!([{"start_address": 0, "word_order": order, "registers": [register]}]));
        let words = map.sets()[0].words() as usize;
        read(&map, snapshot, 0, words)
    }

    #[test]
    fn system_registers_read_as_on_the_vendors_page() {
        let map = map(&json!([{"start_address": 2000, "registers": [
            {"id": "sys.id"}, {"id": "sys.firmware"}, {"id": "sys.date_time"}]}]));
        assert_eq!(
            read(&map, &snapshot(WINTER, &[]), 2000, 10),
            [0xA842, 0xE39F, 0x8124, 0x0102, 0x1200, 0, 0x07E9, 0x0311, 0x1222, 0x1400]
        );
    }

    #[test]
    fn daylight_saving_time_is_marked_in_the_repeated_hour_too() {
        let date = |time| {
            let register = json!({"id": "report.date_time", "type": "short", "scaler": 3});
            read_register(&register, "lsw", &snapshot(time, &[]))
        };
        assert_eq!(date("2026-07-01T10:00:59Z"), [2026, 0x0701, 0x0C00, 0x3B01]);
        assert_eq!(date("2026-10-25T00:30:00Z"), [2026, 0x0A19, 0x021E, 0x0001]);
        assert_eq!(date("2026-10-25T01:30:00Z"), [2026, 0x0A19, 0x021E, 0x0000]);
    }

    // Ruling: MODBUS-12.
    #[test]
    fn texts_are_padded_with_zeros_and_cut_at_24_bytes() {
        let text = |id: &str| {
            let words = read_register(&json!({"id": id}), "lsw", &snapshot(WINTER, &[]));
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
            String::from_utf8(bytes).unwrap()
        };
        assert_eq!(text("96.1.0"), format!("30655933{}", "\0".repeat(16)));
        assert_eq!(text("42.0.0"), format!("LGZ1030655933512{}", "\0".repeat(8)));
        assert_eq!(text("96.1.1"), "a model with a name that");
    }

    // Ruling: MODBUS-12.
    #[test]
    fn each_type_has_its_size_and_follows_the_word_order() {
        let at = snapshot(WINTER, &[(Quantity::ActiveImportEnergy, Decimal::new(-305_419_896, 3))]);
        let register = |number, scaler| json!({"id": "1.8.0", "type": number, "scaler": scaler});
        for (number, scaler, words) in [
            ("short", -2, vec![0xF412]),
            ("int", 3, vec![0xEDCB, 0xA988]),
            ("long", 3, vec![0xFFFF, 0xFFFF, 0xEDCB, 0xA988]),
            ("float", 3, vec![0xCD91, 0xA2B4]),
            ("double", 3, vec![0xC1B2, 0x3456, 0x7800, 0]),
        ] {
            assert_eq!(read_register(&register(number, scaler), "msw", &at), words, "{number}");
            let reversed: Vec<_> = words.into_iter().rev().collect();
            assert_eq!(read_register(&register(number, scaler), "lsw", &at), reversed, "{number}");
        }
    }

    // Ruling: MODBUS-8.
    #[test]
    fn integers_round_half_away_from_zero_and_saturate() {
        let encoded = |mantissa, places, scaler, number| {
            let (bytes, len) = encode_number(Decimal::new(mantissa, places), scaler, number);
            bytes[..len].iter().fold(String::new(), |text, byte| text + &format!("{byte:02X}"))
        };
        for (mantissa, rounded) in [(15, "0002"), (14, "0001"), (-15, "FFFE"), (-14, "FFFF")] {
            assert_eq!(encoded(mantissa, 1, 0, NumberType::Short), rounded);
        }
        assert_eq!(encoded(40_000, 0, 0, NumberType::Short), "7FFF");
        assert_eq!(encoded(-40_000, 0, 0, NumberType::Short), "8000");
        assert_eq!(encoded(5_000_000, 0, 3, NumberType::Int), "7FFFFFFF");
        assert_eq!(encoded(i64::MIN, 0, 6, NumberType::Long), "8000000000000000");
        assert_eq!(encoded(999_999_999, 9, -6, NumberType::Long), "0000000000000000");
        assert_eq!(encoded(24, 3, 3, NumberType::Float), "41C00000", "24 W");
    }

    // Ruling: MODBUS-9.
    #[test]
    fn signed_powers_and_currents_follow_the_phase() {
        let kilo = |mantissa| Decimal::new(mantissa, 3);
        let at = snapshot(
            WINTER,
            &[
                (Quantity::ImportPower, kilo(0)),
                (Quantity::ExportPower, Decimal::new(15, 1)),
                (Quantity::ImportPowerL1, kilo(250)),
                (Quantity::ExportPowerL2, kilo(1750)),
                (Quantity::CurrentL1, Decimal::new(109, 2)),
                (Quantity::CurrentL2, Decimal::new(76, 1)),
                (Quantity::CurrentL3, Decimal::new(3, 1)),
                (Quantity::ReactiveImportPowerL3, kilo(40)),
                (Quantity::ReactiveExportPowerL3, kilo(100)),
            ],
        );
        let number = |id: &str| {
            let words = read_register(&json!({"id": id, "type": "int", "scaler": 3}), "msw", &at);
            i32::from_be_bytes((u32::from(words[0]) << 16 | u32::from(words[1])).to_be_bytes())
        };
        assert_eq!(number("power.active"), -1500);
        assert_eq!(number("power.active.l1"), 250);
        assert_eq!(number("power.active.l2"), -1750);
        assert_eq!(number("power.active.l3"), 0, "not sent");
        assert_eq!(number("power.reactive.l3"), -60);
        assert_eq!(number("current.l1"), 1090);
        assert_eq!(number("current.l2"), -7600);
        assert_eq!(number("51.7.0"), 7600);
        assert_eq!(number("current.l3"), 300);
        assert_eq!(number("96.14.0"), 2000);
        assert_eq!(number("conv_factor"), 1000);
    }

    // Ruling: MODBUS-10.
    #[test]
    fn before_the_first_reading_the_meters_registers_are_zero() {
        let mut at = snapshot(WINTER, &[]);
        at.meter = Observation { status: MeterStatus::NoData, meter: None, reading: None };
        for id in [
            "1.8.0",
            "power.active",
            "current.l1",
            "96.14.0",
            "report.timestamp",
            "96.1.0",
            "report.date_time",
        ] {
            assert!(
                read_register(&json!({"id": id}), "msw", &at).iter().all(|word| *word == 0),
                "{id}"
            );
        }
        let time = read_register(&json!({"id": "sys.timestamp", "type": "int"}), "msw", &at);
        assert_eq!(time, [0x67D8, 0x5D1C]);
    }

    // Ruling: MODBUS-11.
    #[test]
    fn padding_has_all_bits_0_or_all_bits_1() {
        let at = snapshot(WINTER, &[]);
        let padding =
            |id: &str| read_register(&json!({"id": id, "type": "long", "scaler": 2}), "lsw", &at);
        assert_eq!(padding("0"), [0; 4]);
        assert_eq!(padding("1"), [0xFFFF; 4]);
    }

    // Ruling: MODBUS-13.
    #[test]
    fn a_read_crosses_adjacent_sets_and_fails_at_a_gap() {
        let map = map(&json!([
            {"start_address": 12, "registers": [{"id": "1", "type": "int"}]},
            {"start_address": 8, "registers": [{"id": "0", "type": "int"}, {"id": "1", "type": "int"}]},
            {"start_address": 9998, "registers": [{"id": "1", "type": "short"}]},
        ]));
        let at = snapshot(WINTER, &[]);
        assert_eq!(read(&map, &at, 9, 5), [0, 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF]);
        assert_eq!(read(&map, &at, 9998, 1), [0xFFFF]);
        for (address, quantity, unmapped) in
            [(7, 1, 7), (8, 7, 14), (14, 1, 14), (9998, 2, 9999), (65535, 2, 65535)]
        {
            let mut words = vec![0; quantity];
            assert_eq!(map.read(&id(), &at, address, &mut words), Err(UnmappedAddress(unmapped)));
        }
    }

    #[test]
    fn a_read_allocates_nothing() {
        let at = snapshot(WINTER, &[(Quantity::VoltageL1, Decimal::new(2341, 1))]);
        let (map, id) = (RegisterMap::factory(), id());
        let mut words = [0; 125];
        // The first use loads the time zone, which allocates.
        let _ = encode_date(CivilTime::new(at.time));
        let counted = allocation_counter::measure(|| {
            map.read(&id, &at, 801, &mut words).unwrap();
            map.read(&id, &at, 1, &mut words[..42]).unwrap();
        });
        assert_eq!(counted.count_total, 0);
    }

    proptest! {
        /// A read of a part returns the same words as a read of the whole map, wherever it begins.
        #[test]
        fn a_partial_read_equals_that_part_of_a_whole_read(first in 0_usize..160, count in 1_usize..125) {
            let at = snapshot(WINTER, &[
                (Quantity::ActiveImportEnergyT1, Decimal::new(123_456_789, 3)),
                (Quantity::ReactiveExportEnergyT2, Decimal::new(-5, 3)),
            ]);
            let map = RegisterMap::factory();
            let mut whole = vec![0; 160];
            map.read(&id(), &at, 801, &mut whole).unwrap();
            let count = count.min(160 - first);
            let address = 801 + u16::try_from(first).unwrap();
            prop_assert_eq!(read(map, &at, address, count), &whole[first..first + count]);
        }

        /// Compares with the double that the standard library parses from the number's text form.
        // Ruling: MODBUS-8.
        #[test]
        fn a_double_is_the_nearest_to_the_decimal(mantissa in -(1_i64 << 53)..1 << 53, places in 0_u8..=6, scaler in -6_i8..=6) {
            let (bytes, _) = encode_number(Decimal::new(mantissa, places), scaler, NumberType::Double);
            let exponent = i32::from(scaler) - i32::from(places);
            let nearest: f64 = format!("{mantissa}e{exponent}").parse().unwrap();
            // Adding 0.0 removes the sign of −0.
            prop_assert_eq!(f64::from_be_bytes(bytes).to_bits(), (nearest + 0.0).to_bits());
        }
    }
}
