//! The Wi-Fi of a captured device: its client, its access point, and the networks around it.

use serde_json::{Map, Value, json};

use super::draft::{Captured, LONGEST_PASSWORD, length, stand_in, without};
use crate::limits;

/// What the client is set to. Networks with a password take any but none at all, so that one is made
/// up unless the network is known to be open.
pub(super) fn settings(captured: &Captured) -> Value {
    let mut settings = without(captured.wifi.as_ref(), &["password"]);
    let Some(client) = settings.as_object_mut() else { return settings };
    let told = client.remove("password_len");
    let named = client.get("name").is_some_and(|name| name.as_str().is_some_and(|n| !n.is_empty()));
    let open = auth_mode(captured).is_some_and(|mode| mode.eq_ignore_ascii_case("open"));
    // A client that its network refuses is refused here, too.
    let refused = captured.system["wifi"]["status"] == "Error";
    let none = told.as_ref().is_some_and(|told| *told == 0);
    if named && !open && !refused && !none {
        let length = length(told.as_ref(), LONGEST_PASSWORD).map(|length| {
            // What is longer is a key of hexadecimal digits.
            length
                .clamp(*limits::WIFI_PASSWORD_CHARS.start(), *limits::WIFI_PASSWORD_CHARS.end() - 1)
        });
        client.insert("password".into(), json!(stand_in(length)));
    }
    settings
}

/// How the client's network is secured: as the device says of the one it is in, or as it was found.
fn auth_mode(captured: &Captured) -> Option<&str> {
    let wanted = captured.wifi.as_ref()?["name"].as_str()?;
    let of_system = Some(&captured.system["wifi"]).filter(|network| network["ssid"] == wanted);
    let found = captured.networks.as_ref().and_then(Value::as_array).into_iter().flatten();
    let mut seen = of_system.into_iter().chain(found.filter(|found| found["ssid"] == wanted));
    seen.find_map(|network| network["auth_mode"].as_str())
}

/// Whether the device is an access point, as it is before its first setup.
pub(super) fn access_point(captured: &Captured, notes: &mut Vec<String>) -> Value {
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

/// The neighbourhood. The network that the device is in is there even if no scan told of it; without
/// a scan it is the only one.
pub(super) fn networks(captured: &Captured, notes: &mut Vec<String>) -> Value {
    let scan = captured.networks.as_ref().and_then(Value::as_array);
    let joined = Some(&captured.system["wifi"]).filter(|own| is_named(own));
    let on = captured.wifi.as_ref().is_some_and(|wifi| wifi["enable"] == true);
    let lost = on && captured.system["wifi"]["status"] == "Disconnected";
    if scan.is_none() {
        if joined.is_none() && !lost {
            notes.push("Without a scan the Wi-Fi networks around are made up.".into());
            return Value::Null;
        }
        notes.push(
            "Without a scan there is no Wi-Fi network around but the one that the device is in."
                .into(),
        );
    }
    // A hidden network has no name to be found by.
    let mut found: Vec<&Value> =
        scan.into_iter().flatten().filter(|found| is_named(found)).collect();
    if let Some(own) = joined
        && !found.iter().any(|found| found["bssid"] == own["bssid"])
    {
        found.insert(0, own);
    }
    found.into_iter().map(network).collect()
}

fn is_named(network: &Value) -> bool {
    network["ssid"].as_str().is_some_and(|name| !name.is_empty())
}

fn network(found: &Value) -> Value {
    let keys = ["ssid", "bssid", "channel", "ht", "rssi", "auth_mode", "country"];
    let mut network: Map<String, Value> =
        keys.iter().map(|key| ((*key).to_owned(), found[*key].clone())).collect();
    // A string in a scan, a boolean in `/system`.
    network.insert("wps".into(), json!(found["wps"] == "true" || found["wps"] == true));
    network.retain(|_, value| !value.is_null() && *value != "");
    Value::Object(network)
}
