//! `/api/v1/meter/scalers`: the powers of ten that a DLMS meter's values are multiplied by.
//!
//! The device finds the scaler of each register out when it recognizes the meter; a set that the user
//! chooses goes before what it found. Scalers belong to registers of COSEM class 3, which here are all
//! the numbers a meter sends.

use serde_json::{Map, Value, json};

use super::Snapshot;
use super::config::{Config, CustomScaler, ScalersSet};
use super::json;
use crate::limits;
use crate::meter::{Protocol, Quantity, QuantityUnit};
use crate::problem::Problem;

/// What the journal calls the user's own scalers.
pub const NAME: &str = "meter/scalers/custom";

/// The scalers in force, in the order of the quantities; none for a meter that does not speak DLMS,
/// or was not read yet.
#[must_use]
pub fn current(snapshot: &Snapshot) -> Vec<(Quantity, i8)> {
    let Some(reading) = snapshot.reading().filter(|_| is_dlms(snapshot)) else { return Vec::new() };
    let sent = Quantity::ALL.iter().copied().filter(|quantity| reading.get(*quantity).is_some());
    sent.map(|quantity| (quantity, in_force(&snapshot.view.config, quantity))).collect()
}

/// By how many powers of ten a value is off what the meter meant, because the user's scalers say
/// something else than the device found; 0 for a meter that does not speak DLMS.
#[must_use]
pub fn shift(snapshot: &Snapshot, quantity: Quantity) -> i8 {
    let config = &snapshot.view.config;
    // Most devices leave their meter's scalers alone, and every number passes here.
    if config.meter.scalers_set == ScalersSet::Custom && is_dlms(snapshot) {
        shift_by(&config.custom_scalers, quantity)
    } else {
        0
    }
}

/// The same where these scalers of the user's own are in force.
#[must_use]
pub fn shift_by(scalers: &[CustomScaler], quantity: Quantity) -> i8 {
    own(scalers, quantity).map_or(0, |own| own - detected(quantity))
}

fn is_dlms(snapshot: &Snapshot) -> bool {
    snapshot.meter.meter.as_ref().is_some_and(|meter| meter.protocol == Protocol::Dlms)
}

fn in_force(config: &Config, quantity: Quantity) -> i8 {
    match config.meter.scalers_set {
        ScalersSet::Custom => own(&config.custom_scalers, quantity),
        // The figures of the set for the E570 are not published; it is the meter whose scalers the
        // device finds out right.
        ScalersSet::Default | ScalersSet::Lge570 => None,
    }
    .unwrap_or_else(|| detected(quantity))
}

/// What the device finds out: hundredths of an ampere, ones of everything else (vendor, sample).
fn detected(quantity: Quantity) -> i8 {
    match quantity.unit() {
        QuantityUnit::Ampere => -2,
        _ => 0,
    }
}

/// The user's own scaler; one for exactly this code goes before one for all tariffs, a later one
/// before an earlier one.
fn own(scalers: &[CustomScaler], quantity: Quantity) -> Option<i8> {
    let code = obis(quantity.obis()).ok()?;
    let exact = scalers.iter().rev().find(|own| own.obis == code);
    let all = || scalers.iter().rev().find(|own| own.obis == [code[0], code[1], ANY]);
    exact.or_else(all).map(|own| own.scaler)
}

/// E of a code that stands for all of them.
const ANY: u8 = 255;

/// The user's own scalers as JSON.
#[must_use]
pub fn print(scalers: &[CustomScaler]) -> Value {
    let one = |own: &CustomScaler| {
        let [c, d, e] = own.obis;
        json!({ "obis": format!("{c}.{d}.{e}"), "scaler": own.scaler })
    };
    scalers.iter().map(one).collect()
}

/// Reads the user's own scalers.
///
/// # Errors
/// Every mistake with its field, as `[2].obis`; at most [`limits::SCENARIO_MISTAKES`].
pub fn parse(given: &Value) -> Result<Vec<CustomScaler>, Vec<Problem>> {
    let whole = |message: String| vec![Problem::new("", message)];
    let items = json::array(given).map_err(whole)?;
    if items.len() > limits::CUSTOM_SCALERS {
        let message =
            format!("{} scalers: expected {} at the most", items.len(), limits::CUSTOM_SCALERS);
        return Err(whole(message));
    }
    let mut errors = Vec::new();
    let mut scalers = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let place = format!("[{index}]");
        match json::object(item) {
            Err(message) => errors.push(Problem::new(place, message)),
            Ok(item) => {
                let code = member(item, &place, "obis", |value| obis(json::string(value)?));
                let scaler =
                    member(item, &place, "scaler", |value| json::integer(value, limits::SCALER));
                match (code, scaler) {
                    (Ok(obis), Ok(scaler)) => scalers.push(CustomScaler { obis, scaler }),
                    (code, scaler) => errors.extend(code.err().into_iter().chain(scaler.err())),
                }
            }
        }
    }
    errors.truncate(limits::SCENARIO_MISTAKES);
    if errors.is_empty() { Ok(scalers) } else { Err(errors) }
}

fn member<T>(
    item: &Map<String, Value>,
    place: &str,
    key: &str,
    read: impl FnOnce(&Value) -> Result<T, String>,
) -> Result<T, Problem> {
    let missing = || Err("missing: expected it beside the other".to_owned());
    item.get(key)
        .map_or_else(missing, read)
        .map_err(|message| Problem::new(format!("{place}.{key}"), message))
}

/// C, D and E of a code.
fn obis(text: &str) -> Result<[u8; 3], String> {
    let wrong = || {
        let shown = json::shortened(text);
        format!(
            "`{shown}`: expected an OBIS code as 1.8.0, the parts up to 254, the last up to 255"
        )
    };
    let part = |part: &str| {
        let digits = part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse::<u8>().ok().filter(|_| digits)
    };
    let parts: Option<Vec<u8>> = text.split('.').map(part).collect();
    match parts.as_deref() {
        Some(&[c, d, e]) if c < ANY && d < ANY => Ok([c, d, e]),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::clock::VirtualTime;
    use crate::decimal::Decimal;
    use crate::device::{Boot, Firmware, View};
    use crate::meter::{Interface, MeterIdentity, MeterStatus, Observation, Reading};

    fn with(set: ScalersSet, scalers: &Value) -> Config {
        let mut config = Config::factory(&"A842E39F8124".parse().unwrap());
        config.meter.scalers_set = set;
        config.custom_scalers = parse(scalers).unwrap();
        config
    }

    // Ruling: METER-19, METER-20.
    #[test]
    fn own_scalers_go_before_what_was_found_where_they_are_chosen() {
        let scalers = json!([
            {"obis": "1.8.255", "scaler": 3}, {"obis": "1.8.1", "scaler": 1},
            {"obis": "31.7.0", "scaler": -1}, {"obis": "31.7.0", "scaler": -3},
        ]);
        let (energy, t1, current, volts) = (
            Quantity::ActiveImportEnergy,
            Quantity::ActiveImportEnergyT1,
            Quantity::CurrentL1,
            Quantity::VoltageL1,
        );
        let shifts = |protocol, set| {
            let snapshot = snapshot(protocol, with(set, &scalers));
            [energy, t1, current, volts].map(|quantity| shift(&snapshot, quantity))
        };
        assert_eq!(shifts(Protocol::Dlms, ScalersSet::Custom), [3, 1, -1, 0]);
        assert_eq!(shifts(Protocol::Dlms, ScalersSet::Default), [0; 4]);
        assert_eq!(shifts(Protocol::Dlms, ScalersSet::Lge570), [0; 4]);
        assert_eq!(shifts(Protocol::Kmp, ScalersSet::Custom), [0; 4]);
        let snapshot = snapshot(Protocol::Dlms, with(ScalersSet::Custom, &scalers));
        // The readings of these tests are 1 all over.
        assert_eq!(snapshot.value(energy), Some(Decimal::new(1000, 0)));
        assert_eq!(snapshot.value(current), Some(Decimal::new(1, 1)));
        assert_eq!(snapshot.value(volts), Some(Decimal::new(1, 0)));
    }

    /// What a device knows that reads a meter of this protocol.
    fn snapshot(protocol: Protocol, config: Config) -> Snapshot {
        let id = "A842E39F8124".parse().unwrap();
        let time = jiff::Timestamp::UNIX_EPOCH;
        let mut reading = Reading::new(1, VirtualTime::ZERO, Duration::ZERO, time);
        for quantity in [Quantity::CurrentL1, Quantity::ActiveImportEnergy, Quantity::VoltageL1] {
            reading.set(quantity, Decimal::new(1, 0));
        }
        let text = String::new;
        let meter = MeterIdentity {
            interface: Interface::Mbus,
            protocol,
            protocol_version: text(),
            logical_name: text(),
            id: text(),
            model: text(),
            vendor: text(),
            prefix: text(),
        };
        Snapshot {
            now: VirtualTime::ZERO,
            time,
            view: View {
                config: Arc::new(config),
                firmware: Firmware::DEFAULT,
                boot: Boot::first(&id, 0),
                pairing: None,
            },
            meter: Observation {
                status: MeterStatus::Ok,
                meter: Some(Arc::new(meter)),
                reading: Some(Arc::new(reading)),
            },
        }
    }

    // Ruling: METER-18.
    #[test]
    fn a_dlms_meter_has_a_scaler_for_each_number_it_sends_and_others_have_none() {
        let config = || with(ScalersSet::Custom, &json!([{"obis": "32.7.0", "scaler": -1}]));
        assert_eq!(
            current(&snapshot(Protocol::Dlms, config())),
            [
                (Quantity::ActiveImportEnergy, 0),
                (Quantity::VoltageL1, -1),
                (Quantity::CurrentL1, -2)
            ]
        );
        assert_eq!(current(&snapshot(Protocol::Kmp, config())), []);
        let mut unread = snapshot(Protocol::Dlms, config());
        unread.meter.reading = None;
        assert_eq!(current(&unread), []);
    }

    #[test]
    fn codes_have_three_parts_of_which_only_the_last_can_be_255() {
        assert_eq!(obis("254.0.255"), Ok([254, 0, 255]));
        for wrong in
            ["", "1.8", "1.8.0.0", "255.8.0", "1.255.0", "1.8.256", "1.8.x", "+1.8.0", "1..0"]
        {
            assert!(obis(wrong).is_err(), "{wrong}");
        }
    }
}
