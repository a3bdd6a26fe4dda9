//! `/api/v1/wifi/scan` and `/api/v1/wifi/wps`, and DELETE of the client's settings (NETWORK-4,
//! NETWORK-5, SETTING-15).

use hyper::StatusCode;
use serde_json::{Value, json};

use super::routes::ReplyFuture;
use super::{Call, HttpReply};
use crate::device::config::{WIFI_SETTINGS, WifiSettings};
use crate::device::network::ScanResult;
use crate::limits;

/// Lists the networks in range, after the seconds that a scan takes.
pub(super) fn scan<'a>(call: &'a Call<'a>) -> ReplyFuture<'a> {
    Box::pin(async move {
        call.clock().sleep(limits::WIFI_SCAN).await;
        let networks: Vec<Value> = call.device().scan().iter().map(network_json).collect();
        HttpReply::json(StatusCode::OK, &networks)
    })
}

/// Returns a network as a scan lists it (`wifi_scan_fields.csv`).
fn network_json(sighting: &ScanResult) -> Value {
    let network = &sighting.network;
    let (pairwise, group) = network.auth_mode.ciphers();
    json!({
        "ssid": network.ssid,
        "bssid": network.bssid.as_str(),
        "channel": network.channel,
        "ht": network.ht.as_str(),
        "rssi": sighting.rssi,
        "signal": sighting.signal_percent(),
        "auth_mode": network.auth_mode.as_str(),
        "pairwise_cipher": pairwise,
        "group_cipher": group,
        "phy": "bgn",
        // A string here, a boolean in `/system`.
        "wps": network.wps.to_string(),
        "country": network.country,
    })
}

/// Opens the window of a WPS pairing.
pub(super) fn pair(call: &Call<'_>) -> HttpReply {
    call.device().start_pairing();
    HttpReply::empty(StatusCode::NO_CONTENT)
}

/// Resets the settings of the Wi-Fi client to the factory settings, with which it is off.
pub(super) fn reset(call: &Call<'_>) -> HttpReply {
    call.device().replace_part(
        WIFI_SETTINGS.name,
        WIFI_SETTINGS.accessor,
        &WifiSettings::default(),
    );
    HttpReply::empty(StatusCode::NO_CONTENT)
}
