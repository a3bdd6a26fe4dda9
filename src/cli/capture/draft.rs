//! From what a device says to the scenario that behaves like it.
//!
//! Whatever the device says of itself is carried over in its own shape, so that nothing is lost on the
//! way; what it does not say is left to the scenario's defaults.

use serde_json::{Map, Value, json};

/// What was read from a device. What it does not have, or keeps to itself, is none.
#[derive(Debug, Default)]
pub(super) struct Captured {
    pub system: Value,
    pub settings: Option<Value>,
    pub meter_settings: Option<Value>,
    pub custom_scalers: Option<Value>,
    pub wifi: Option<Value>,
    pub eth: Option<Value>,
    pub networks: Option<Value>,
    pub mqtt: Option<Value>,
    pub modbus: Option<Value>,
    pub actions: Option<Value>,
    pub script: Option<String>,
    pub report: Option<Value>,
}

/// What stands in for a password that was not captured.
const PLACEHOLDER: &str = "captured";

/// The scenario, in the shape of [`crate::scenario::raw::Scenario`].
pub(super) fn scenario(name: &str, captured: &Captured) -> Value {
    let mut device = Map::new();
    let about = &captured.system["device"];
    copy(&mut device, "id", &about["id"]);
    copy(&mut device, "firmware", &about["firmware"]);
    copy(&mut device, "build", &about["build"]);
    let license = about["license"]["type"].as_str().map(str::to_ascii_lowercase);
    device.insert("license".into(), json!(license));
    copy(&mut device, "activation_date", &about["license"]["activation_date"]);
    device.insert("settings".into(), settings(captured));
    device.insert(
        "meter_settings".into(),
        without(captured.meter_settings.as_ref(), SECRETS_OF_METER),
    );
    device.insert("scalers".into(), without(captured.custom_scalers.as_ref(), &[]));
    device.insert("wifi".into(), without(captured.wifi.as_ref(), &["password", "password_len"]));
    device.insert("eth".into(), without(captured.eth.as_ref(), &[]));
    device.insert("power".into(), power(about));
    device.insert("cable".into(), cable(captured));
    device.insert("networks".into(), networks(captured));
    device.insert("mqtt".into(), mqtt(captured));
    device.insert("modbus_map".into(), without(captured.modbus.as_ref(), &[]));
    device.insert("actions".into(), without(captured.actions.as_ref(), &[]));
    device.insert("script".into(), json!(captured.script));
    device.insert("sd_card".into(), sd_card(&captured.system["sd_card"]));
    device.retain(|_, value| !value.is_null());
    let mut scenario = json!({ "name": name, "device": device });
    if let Some(meter) = meter(captured) {
        scenario["meter"] = meter;
    }
    scenario
}

/// Keys come back from no device; the switch that needs one stays as it is.
const SECRETS_OF_METER: &[&str] = &["encryption_key", "authentication_key"];

fn copy(into: &mut Map<String, Value>, key: &str, value: &Value) {
    if value.as_str().is_some_and(|text| !text.is_empty()) {
        into.insert(key.into(), value.clone());
    }
}

/// A part as the device gives it, without these members.
fn without(part: Option<&Value>, members: &[&str]) -> Value {
    let mut part = part.cloned().unwrap_or_default();
    if let Value::Object(object) = &mut part {
        object.retain(|name, _| !members.contains(&name.as_str()));
    }
    part
}

fn settings(captured: &Captured) -> Value {
    let mut settings = without(captured.settings.as_ref(), &[]);
    if let Some(system) = settings.get_mut("system").and_then(Value::as_object_mut) {
        let protected = system.remove("password_len").is_some_and(|length| length != 0)
            || system.get("protection") == Some(&Value::Bool(true));
        if protected {
            system.insert("password".into(), json!(PLACEHOLDER));
        }
    }
    settings
}

fn mqtt(captured: &Captured) -> Value {
    let mut mqtt = without(captured.mqtt.as_ref(), &[]);
    if let Some(object) = mqtt.as_object_mut() {
        if object.remove("password_len").is_some_and(|length| length != 0) {
            object.insert("password".into(), json!(PLACEHOLDER));
        }
        if let Some(client) = object.get_mut("client").and_then(Value::as_object_mut) {
            client.retain(|name, _| !name.ends_with("_len"));
        }
    }
    mqtt
}

/// Whether the device is on USB power: 5 V give or take what a charger does.
fn power(about: &Value) -> Value {
    about["plug"]["v_usb"].as_f64().map_or(Value::Null, |volts| json!({ "usb": volts > 4.0 }))
}

/// Whether Ethernet has a cable: without one the link is down although all else lets it be up.
fn cable(captured: &Captured) -> Value {
    let enabled = captured.eth.as_ref().is_some_and(|eth| eth["enable"] == true);
    let saving = captured.settings.as_ref().is_some_and(|all| all["system"]["power_save"] == true);
    let fed = power(&captured.system["device"])["usb"] != false;
    let down = captured.system["ethernet"]["status"] == "Down";
    if enabled && fed && !saving && down { json!(false) } else { Value::Null }
}

/// The neighbourhood; the network the device is in has the level that `/system` shows.
fn networks(captured: &Captured) -> Value {
    let found = captured.networks.as_ref().and_then(Value::as_array);
    let keys = ["ssid", "bssid", "channel", "ht", "rssi", "auth_mode", "country"];
    let network = |found: &Value| {
        let mut network: Map<String, Value> =
            keys.iter().map(|key| ((*key).to_owned(), found[*key].clone())).collect();
        network.insert("wps".into(), json!(found["wps"] == "true" || found["wps"] == true));
        network.retain(|_, value| !value.is_null() && *value != "");
        Value::Object(network)
    };
    // A hidden network has no name to be found by.
    let named = |found: &&Value| found["ssid"].as_str().is_some_and(|name| !name.is_empty());
    found.map_or(Value::Null, |found| found.iter().filter(named).map(network).collect())
}

fn sd_card(card: &Value) -> Value {
    match card["installed"].as_bool() {
        Some(true) => card["size"]
            .as_u64()
            .filter(|size| *size > 0)
            .map_or_else(|| json!(true), |size| json!({ "size": size })),
        Some(false) => json!(false),
        None => Value::Null,
    }
}

/// The meter: its kind by what it speaks, and what it counted.
fn meter(captured: &Captured) -> Option<Value> {
    let of_system = &captured.system["meter"];
    let nothing = Value::Null;
    let document = captured.report.as_ref().unwrap_or(&nothing);
    let protocol = [&document["meter"]["protocol"], &of_system["protocol"]];
    let kind = match protocol.into_iter().find_map(Value::as_str) {
        Some("DLMS") => "landis_gyr",
        Some("DSMR") => "ensor",
        Some("KMP") => "kamstrup",
        _ if of_system["status"] == "NOT CONNECTED" => "none",
        _ => return None,
    };
    let mut meter = Map::new();
    meter.insert("kind".into(), json!(kind));
    copy(&mut meter, "id", &of_system["id"]);
    copy(&mut meter, "model", &of_system["model"]);
    copy(&mut meter, "logical_name", &of_system["type"]);
    if let Some(phases) = phases(&document["report"]["voltage"]) {
        meter.insert("phases".into(), json!(phases));
    }
    let energy = &document["report"]["energy"];
    // What is reported is multiplied; the meter itself counts without.
    let factor = captured.meter_settings.as_ref().and_then(|all| all["conv_factor"].as_f64());
    let factor = factor.filter(|factor| *factor > 0.0).unwrap_or(1.0);
    let mut start = Map::new();
    for (key, path) in [
        ("import", ["active", "positive"]),
        ("export", ["active", "negative"]),
        ("reactive_import", ["reactive", "positive"]),
        ("reactive_export", ["reactive", "negative"]),
    ] {
        if let Some(count) = count(&energy[path[0]][path[1]], factor) {
            start.insert(key.into(), count);
        }
    }
    if !start.is_empty() {
        meter.insert("start".into(), Value::Object(start));
    }
    Some(Value::Object(meter))
}

/// What a register counted, in kWh to the Wh: by tariff where the meter tells them apart, else in all.
fn count(register: &Value, factor: f64) -> Option<Value> {
    let own = |shown: &Value| shown.as_f64().map(|shown| (shown / factor * 1e3).round() / 1e3);
    match (own(&register["t1"]), own(&register["t2"])) {
        (Some(t1), Some(t2)) => Some(json!([t1, t2])),
        _ => own(&register["total"]).map(Value::from),
    }
}

/// Phases without a wire float at some 30 V, or read 0.
fn phases(voltage: &Value) -> Option<u8> {
    let live = |phase: &str| voltage[phase].as_f64().is_some_and(|volts| volts > 100.0);
    match (live("l1"), live("l2") || live("l3")) {
        (_, true) => Some(3),
        (true, false) => Some(1),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_become_placeholders_and_lengths_go() {
        let captured = Captured {
            settings: Some(json!({"system": {"protection": true, "password_len": 6}})),
            mqtt: Some(json!({"enable": true, "password_len": 4, "client": {"key_len": 9}})),
            ..Captured::default()
        };
        let device = &scenario("house", &captured)["device"];
        let system = json!({"protection": true, "password": "captured"});
        assert_eq!(device["settings"]["system"], system);
        let mqtt = json!({"enable": true, "client": {}, "password": "captured"});
        assert_eq!(device["mqtt"], mqtt);
    }

    #[test]
    fn a_meter_is_known_by_what_it_speaks_and_begins_with_what_it_counted() {
        let report = json!({
            "report": {
                "voltage": {"l1": 234.01, "l2": 36.12, "l3": 36.48},
                "energy": {"active": {
                    "positive": {"total": 190.01, "t1": 120.133, "t2": 69.877},
                    "negative": {"total": 0},
                }},
            },
            "meter": {"protocol": "DSMR"},
        });
        let system = json!({"meter": {"type": "ESR51030712084367", "id": "", "model": "1ESR"}});
        let captured = Captured { system, report: Some(report), ..Captured::default() };
        let expected = json!({
            "kind": "ensor",
            "model": "1ESR",
            "logical_name": "ESR51030712084367",
            "phases": 1,
            "start": {"import": [120.133, 69.877], "export": 0.0},
        });
        assert_eq!(scenario("house", &captured)["meter"], expected);
    }
}
