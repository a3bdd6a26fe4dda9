//! The Wi-Fi of a captured device: its client, its access point, and the networks that it sees.

use serde_json::{Map, Value, json};

use super::draft::{CapturedDevice, MAX_PASSWORD_CHARS, placeholder, secret_length, without};
use crate::limits;

/// Returns the settings of the client. Simulated networks with a password accept any password that is
/// not empty, so that a placeholder is inserted unless the network is known to be open.
pub(super) fn settings(captured: &CapturedDevice) -> Value {
    let mut settings = without(captured.wifi.as_ref(), &["password"]);
    let Some(client) = settings.as_object_mut() else { return settings };
    let reported = client.remove("password_len");
    let has_name =
        client.get("name").is_some_and(|name| name.as_str().is_some_and(|n| !n.is_empty()));
    let open = auth_mode(captured).is_some_and(|mode| mode.eq_ignore_ascii_case("open"));
    // Without a password the client is refused, as the device was by its network.
    let refused = captured.system["wifi"]["status"] == "Error";
    let is_empty = reported.as_ref().is_some_and(|length| *length == 0);
    if has_name && !open && !refused && !is_empty {
        let length = secret_length(reported.as_ref(), MAX_PASSWORD_CHARS).map(|length| {
            // A longer one would be a raw key, which must consist of hexadecimal digits.
            length
                .clamp(*limits::WIFI_PASSWORD_CHARS.start(), *limits::WIFI_PASSWORD_CHARS.end() - 1)
        });
        client.insert("password".into(), json!(placeholder(length)));
    }
    settings
}

/// Returns the authentication mode of the client's network: as the device reports it for the network
/// that it has joined, or as a scan found it. `None` if neither knows it.
fn auth_mode(captured: &CapturedDevice) -> Option<&str> {
    let name = captured.wifi.as_ref()?["name"].as_str()?;
    let joined = Some(&captured.system["wifi"]).filter(|network| network["ssid"] == name);
    let found = captured.networks.as_ref().and_then(Value::as_array).into_iter().flatten();
    let mut networks = joined.into_iter().chain(found.filter(|found| found["ssid"] == name));
    networks.find_map(|network| network["auth_mode"].as_str())
}

/// Returns true if the device is an access point, as before its first setup; else null.
pub(super) fn access_point(captured: &CapturedDevice, notes: &mut Vec<String>) -> Value {
    if captured.system["wifi"]["mode"] != "AP" {
        return Value::Null;
    }
    if captured.wifi.as_ref().is_some_and(|wifi| wifi["enable"] == true) {
        notes.push(
            "The device is an access point although its Wi-Fi client is on; here it is a client."
                .into(),
        );
        return Value::Null;
    }
    json!(true)
}

/// Returns the networks around the device. The network that it has joined is included even if the scan
/// did not find it; without a scan it is the only one.
pub(super) fn networks(captured: &CapturedDevice, notes: &mut Vec<String>) -> Value {
    let scan = captured.networks.as_ref().and_then(Value::as_array);
    let joined = Some(&captured.system["wifi"]).filter(|own| has_ssid(own));
    let on = captured.wifi.as_ref().is_some_and(|wifi| wifi["enable"] == true);
    let disconnected = on && captured.system["wifi"]["status"] == "Disconnected";
    if scan.is_none() {
        if joined.is_none() && !disconnected {
            notes.push("Without a scan the Wi-Fi networks around are made up.".into());
            return Value::Null;
        }
        notes.push(
            "Without a scan there is no Wi-Fi network around but the one that the device is in."
                .into(),
        );
    }
    // Hidden networks have no name in a scan, and are left out.
    let mut found: Vec<&Value> =
        scan.into_iter().flatten().filter(|found| has_ssid(found)).collect();
    if let Some(own) = joined
        && !found.iter().any(|found| found["bssid"] == own["bssid"])
    {
        found.insert(0, own);
    }
    found.into_iter().map(network).collect()
}

fn has_ssid(network: &Value) -> bool {
    network["ssid"].as_str().is_some_and(|name| !name.is_empty())
}

fn network(found: &Value) -> Value {
    let keys = ["ssid", "bssid", "channel", "ht", "rssi", "auth_mode", "country"];
    let mut network: Map<String, Value> =
        keys.iter().map(|key| ((*key).to_owned(), found[*key].clone())).collect();
    // This is a string in a scan and a boolean in `/system`.
    network.insert("wps".into(), json!(found["wps"] == "true" || found["wps"] == true));
    network.retain(|_, value| !value.is_null() && *value != "");
    Value::Object(network)
}
