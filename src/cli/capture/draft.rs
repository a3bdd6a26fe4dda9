//! Drafting of the scenario that behaves like a captured device.
//!
//! The responses of the device are copied in their own form, so that nothing is lost. For all that the
//! device does not report, the scenario's defaults apply.

use serde_json::{Map, Value, json};

use super::{meter, mqtt, wifi};

/// The responses of a device. `None` for those that it does not have or that could not be read.
#[derive(Debug, Default)]
pub(super) struct CapturedDevice {
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
    /// The listing of the top folder of the SD card.
    pub sd_card: Option<Value>,
}

/// A draft of a scenario.
#[derive(Debug)]
pub(super) struct ScenarioDraft {
    /// The scenario, in the form of [`crate::scenario::raw::Scenario`].
    pub scenario: Value,
    /// Notes on all that the scenario does not contain, or only by a guess.
    pub notes: Vec<String>,
}

/// Returns the placeholder of a password, which a device does not reveal: the word `captured`, repeated
/// to the length that the device reports.
pub(super) fn placeholder(length: Option<usize>) -> String {
    const WORD: &str = "captured";
    WORD.chars().cycle().take(length.unwrap_or(WORD.len())).collect()
}

/// The longest placeholder of a password; no password of a device is longer.
pub(super) const MAX_PASSWORD_CHARS: usize = 256;

/// Returns the length of a secret that a device reported, limited to `maximum`. `None` if it reported
/// none, or if there is no secret.
pub(super) fn secret_length(reported: Option<&Value>, maximum: usize) -> Option<usize> {
    let length = usize::try_from(reported?.as_u64()?).unwrap_or(maximum).min(maximum);
    (length > 0).then_some(length)
}

/// Drafts the scenario of a device.
pub(super) fn scenario(name: &str, captured: &CapturedDevice) -> ScenarioDraft {
    let mut notes = Vec::new();
    let meter = meter::draft(captured, &mut notes);
    let mut device = Map::new();
    let about = &captured.system["device"];
    copy(&mut device, "id", &about["id"]);
    copy(&mut device, "firmware", &about["firmware"]);
    copy(&mut device, "build", &about["build"]);
    let license = about["license"]["type"].as_str().map(str::to_ascii_lowercase);
    device.insert("license".into(), json!(license));
    copy(&mut device, "activation_date", &about["license"]["activation_date"]);
    device.insert("settings".into(), settings(captured));
    device.insert("meter_settings".into(), meter.settings);
    device.insert("scalers".into(), without(captured.custom_scalers.as_ref(), &[]));
    device.insert("wifi".into(), wifi::settings(captured));
    device.insert("access_point".into(), wifi::access_point(captured, &mut notes));
    device.insert("eth".into(), without(captured.eth.as_ref(), &[]));
    device.insert("power".into(), power(about));
    device.insert("cable".into(), cable(captured));
    device.insert("networks".into(), wifi::networks(captured, &mut notes));
    device.insert("mqtt".into(), mqtt::settings(captured, &mut notes));
    device.insert("modbus_map".into(), without(captured.modbus.as_ref(), &[]));
    device.insert("actions".into(), without(captured.actions.as_ref(), &[]));
    device.insert("script".into(), json!(captured.script));
    let berry = &captured.system["services"]["berry"];
    if berry["execution_status"]["state"] == "RUNNING" {
        notes.push("The script runs on the device; here it is to be started.".into());
    }
    device.insert("sd_card".into(), sd_card(captured, &mut notes));
    device.retain(|_, value| !value.is_null());
    let mut scenario = json!({ "name": name, "device": device });
    for (key, part) in [("meter", meter.meter), ("faults", meter.faults)] {
        if !part.is_null() {
            scenario[key] = part;
        }
    }
    ScenarioDraft { scenario, notes }
}

/// Copies a text, unless it is absent or empty.
pub(super) fn copy(into: &mut Map<String, Value>, key: &str, value: &Value) {
    if value.as_str().is_some_and(|text| !text.is_empty()) {
        into.insert(key.into(), value.clone());
    }
}

/// Returns a part of the device's responses without these members.
pub(super) fn without(part: Option<&Value>, members: &[&str]) -> Value {
    let mut part = part.cloned().unwrap_or_default();
    if let Value::Object(object) = &mut part {
        object.retain(|name, _| !members.contains(&name.as_str()));
    }
    part
}

fn settings(captured: &CapturedDevice) -> Value {
    let mut settings = without(captured.settings.as_ref(), &[]);
    if let Some(system) = settings.get_mut("system").and_then(Value::as_object_mut) {
        let length = secret_length(system.remove("password_len").as_ref(), MAX_PASSWORD_CHARS);
        if length.is_some() || system.get("protection") == Some(&Value::Bool(true)) {
            system.insert("password".into(), json!(placeholder(length)));
        }
    }
    settings
}

/// Returns the power source. A device on USB power measures about 5 V.
fn power(about: &Value) -> Value {
    about["plug"]["v_usb"].as_f64().map_or(Value::Null, |volts| json!({ "usb": volts > 4.0 }))
}

/// Returns false if there is no Ethernet cable: the link is down for no other reason. Null if that is
/// not known.
fn cable(captured: &CapturedDevice) -> Value {
    let enabled = captured.eth.as_ref().is_some_and(|eth| eth["enable"] == true);
    let saving = captured.settings.as_ref().is_some_and(|all| all["system"]["power_save"] == true);
    let powered = power(&captured.system["device"])["usb"] != false;
    let down = captured.system["ethernet"]["status"] == "Down";
    if enabled && powered && !saving && down { json!(false) } else { Value::Null }
}

fn sd_card(captured: &CapturedDevice, notes: &mut Vec<String>) -> Value {
    let card = &captured.system["sd_card"];
    let files = captured.sd_card.as_ref().and_then(|listed| listed["files"].as_array());
    if files.is_some_and(|files| !files.is_empty()) {
        notes.push("The card is empty here; `sd_card.files` can say what is on it.".into());
    }
    match card["installed"].as_bool() {
        Some(true) => card["size"]
            .as_u64()
            .filter(|size| *size > 0)
            .map_or_else(|| json!(true), |size| json!({ "size": size })),
        Some(false) => json!(false),
        None => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_become_placeholders() {
        let captured = CapturedDevice {
            settings: Some(json!({"system": {"protection": true, "password_len": 6}})),
            mqtt: Some(json!({"enable": true, "password_len": 4, "client": {}})),
            ..CapturedDevice::default()
        };
        let device = &scenario("house", &captured).scenario["device"];
        let system = json!({"protection": true, "password": "captur"});
        assert_eq!(device["settings"]["system"], system);
        let mqtt = json!({"enable": true, "client": {}, "password": "capt"});
        assert_eq!(device["mqtt"], mqtt);
    }
}
