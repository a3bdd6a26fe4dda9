//! The scalers of `/api/v1/meter/scalers`: the powers of ten that a DLMS meter's values are
//! multiplied by.
//!
//! The device detects the scaler of each register when it identifies the meter. A set that the user
//! chooses takes precedence over the detected one. Scalers belong to registers of COSEM class 3,
//! which are all numeric values of a meter here.

use serde_json::{Map, Value, json};

use super::config::{Config, CustomScaler, ScalersSet};
use super::json;
use crate::limits;
use crate::meter::{MeterIdentity, Observation, Protocol, Quantity, QuantityUnit};
use crate::problem::Problem;

/// The name of the custom scalers in the journal.
pub const JOURNAL_NAME: &str = "meter/scalers/custom";

/// Returns the scalers in force, in the order of the quantities. The list is empty if the meter does
/// not speak DLMS or has not been read yet.
#[must_use]
pub fn effective(config: &Config, observation: &Observation) -> Vec<(Quantity, i8)> {
    let reading = observation.reading.as_deref();
    let Some(reading) = reading.filter(|_| is_dlms(observation.meter.as_deref())) else {
        return Vec::new();
    };
    let sent = Quantity::ALL.iter().copied().filter(|quantity| reading.get(*quantity).is_some());
    sent.map(|quantity| (quantity, effective_scaler(config, quantity))).collect()
}

/// Returns the power of ten by which the device's value differs from the meter's, because a custom
/// scaler replaces the detected one; 0 if the meter does not speak DLMS.
#[must_use]
#[inline]
pub fn shift(config: &Config, meter: Option<&MeterIdentity>, quantity: Quantity) -> i8 {
    // This runs for every number. The first condition is false for most devices.
    if config.meter.scalers_set == ScalersSet::Custom && is_dlms(meter) {
        shift_from_custom(&config.custom_scalers, quantity)
    } else {
        0
    }
}

/// Returns the same power of ten for a DLMS meter with these custom scalers in force.
#[must_use]
pub fn shift_from_custom(scalers: &[CustomScaler], quantity: Quantity) -> i8 {
    custom_scaler(scalers, quantity).map_or(0, |custom| custom.saturating_sub(detected(quantity)))
}

fn is_dlms(meter: Option<&MeterIdentity>) -> bool {
    meter.is_some_and(|meter| meter.protocol == Protocol::Dlms)
}

fn effective_scaler(config: &Config, quantity: Quantity) -> i8 {
    match config.meter.scalers_set {
        ScalersSet::Custom => custom_scaler(&config.custom_scalers, quantity),
        // The values of the set for the E570 are not published. The device detects that meter's
        // scalers correctly.
        ScalersSet::Default | ScalersSet::Lge570 => None,
    }
    .unwrap_or_else(|| detected(quantity))
}

/// Returns the scaler that the device detects: −2 for currents, 0 for all others (vendor, sample).
fn detected(quantity: Quantity) -> i8 {
    match quantity.unit() {
        QuantityUnit::Ampere => -2,
        _ => 0,
    }
}

/// Returns the custom scaler of a quantity; `None` if there is none. A scaler for exactly this code
/// takes precedence over one for all tariffs, and a later one over an earlier one.
fn custom_scaler(scalers: &[CustomScaler], quantity: Quantity) -> Option<i8> {
    let code = parse_obis(quantity.obis()).ok()?;
    let all_tariffs = [code[0], code[1], ALL_TARIFFS];
    let exact = scalers.iter().rev().find(|custom| custom.obis == code);
    let general = || scalers.iter().rev().find(|custom| custom.obis == all_tariffs);
    exact.or_else(general).map(|custom| custom.scaler)
}

/// The last part of a code that applies to all tariffs.
const ALL_TARIFFS: u8 = 255;

/// Returns the custom scalers as JSON.
#[must_use]
pub fn to_json(scalers: &[CustomScaler]) -> Value {
    let item = |custom: &CustomScaler| {
        let [c, d, e] = custom.obis;
        json!({ "obis": format!("{c}.{d}.{e}"), "scaler": custom.scaler })
    };
    scalers.iter().map(item).collect()
}

/// Parses the custom scalers.
///
/// # Errors
/// One problem for each invalid field, such as `[2].obis`; at most [`limits::SCENARIO_MISTAKES`].
pub fn parse(body: &Value) -> Result<Vec<CustomScaler>, Vec<Problem>> {
    let whole_body = |message: String| vec![Problem::new("", message)];
    let items = json::array(body).map_err(whole_body)?;
    if items.len() > limits::CUSTOM_SCALERS {
        let message =
            format!("{} scalers: expected {} at the most", items.len(), limits::CUSTOM_SCALERS);
        return Err(whole_body(message));
    }
    let mut errors = Vec::new();
    let mut scalers = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let path = format!("[{index}]");
        match json::object(item) {
            Err(message) => errors.push(Problem::new(path, message)),
            Ok(item) => {
                let code =
                    parse_member(item, &path, "obis", |value| parse_obis(json::string(value)?));
                let scaler = parse_member(item, &path, "scaler", |value| {
                    json::integer(value, limits::SCALER)
                });
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

fn parse_member<T>(
    item: &Map<String, Value>,
    path: &str,
    key: &str,
    parse: impl FnOnce(&Value) -> Result<T, String>,
) -> Result<T, Problem> {
    let missing = || Err("missing: expected it beside the other".to_owned());
    item.get(key)
        .map_or_else(missing, parse)
        .map_err(|message| Problem::new(format!("{path}.{key}"), message))
}

/// Parses an OBIS code of three parts (C, D and E).
fn parse_obis(text: &str) -> Result<[u8; 3], String> {
    let invalid = || {
        let quoted = json::shortened(text);
        format!(
            "`{quoted}`: expected an OBIS code as 1.8.0, the parts up to 254, the last up to 255"
        )
    };
    let part = |part: &str| {
        let digits = part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse::<u8>().ok().filter(|_| digits)
    };
    let parts: Option<Vec<u8>> = text.split('.').map(part).collect();
    match parts.as_deref() {
        Some(&[c, d, e]) if c < ALL_TARIFFS && d < ALL_TARIFFS => Ok([c, d, e]),
        _ => Err(invalid()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::clock::VirtualTime;
    use crate::decimal::Decimal;
    use crate::device::{Boot, Firmware, Snapshot, View};
    use crate::meter::{Interface, MeterStatus, Reading};

    fn config_with(set: ScalersSet, scalers: &Value) -> Config {
        let mut config = Config::factory(&"A842E39F8124".parse().unwrap());
        config.meter.scalers_set = set;
        config.custom_scalers = parse(scalers).unwrap();
        config
    }

    // Ruling: METER-19, METER-20.
    #[test]
    fn custom_scalers_replace_detected_ones_only_if_chosen() {
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
            let snapshot = snapshot(protocol, config_with(set, &scalers));
            let (config, meter) = (&snapshot.view.config, snapshot.meter.meter.as_deref());
            [energy, t1, current, volts].map(|quantity| shift(config, meter, quantity))
        };
        assert_eq!(shifts(Protocol::Dlms, ScalersSet::Custom), [3, 1, -1, 0]);
        assert_eq!(shifts(Protocol::Dlms, ScalersSet::Default), [0; 4]);
        assert_eq!(shifts(Protocol::Dlms, ScalersSet::Lge570), [0; 4]);
        assert_eq!(shifts(Protocol::Kmp, ScalersSet::Custom), [0; 4]);
        let snapshot = snapshot(Protocol::Dlms, config_with(ScalersSet::Custom, &scalers));
        // Every value of the reading is 1.
        assert_eq!(snapshot.value(energy), Some(Decimal::new(1000, 0)));
        assert_eq!(snapshot.value(current), Some(Decimal::new(1, 1)));
        assert_eq!(snapshot.value(volts), Some(Decimal::new(1, 0)));
    }

    /// Returns the snapshot of a device with a meter of this protocol.
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
    fn only_a_dlms_meter_has_scalers_one_for_each_number() {
        let config = || config_with(ScalersSet::Custom, &json!([{"obis": "32.7.0", "scaler": -1}]));
        let effective = |snapshot: &Snapshot| effective(&snapshot.view.config, &snapshot.meter);
        assert_eq!(
            effective(&snapshot(Protocol::Dlms, config())),
            [
                (Quantity::ActiveImportEnergy, 0),
                (Quantity::VoltageL1, -1),
                (Quantity::CurrentL1, -2)
            ]
        );
        assert_eq!(effective(&snapshot(Protocol::Kmp, config())), []);
        let mut unread = snapshot(Protocol::Dlms, config());
        unread.meter.reading = None;
        assert_eq!(effective(&unread), []);
    }

    #[test]
    fn a_code_has_three_parts_and_only_the_last_can_be_255() {
        assert_eq!(parse_obis("254.0.255"), Ok([254, 0, 255]));
        for invalid in
            ["", "1.8", "1.8.0.0", "255.8.0", "1.255.0", "1.8.256", "1.8.x", "+1.8.0", "1..0"]
        {
            assert!(parse_obis(invalid).is_err(), "{invalid}");
        }
    }
}
