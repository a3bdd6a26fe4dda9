//! `/api/v1/system` (`docs/device/system.md`, `system_fields.csv`).

use std::time::Duration;

use hyper::StatusCode;
use jiff::SignedDuration;

use super::{Call, HttpReply, report};
use crate::decimal::Decimal;
use crate::device::network::{IpSettings, NetworkState, WifiMode};
use crate::device::{
    CivilTime, Device, Feature, Identity, License, LicensedFeature, Profile, Snapshot,
};
use crate::net::http::json::JsonWriter;

/// Returns the device and its connections.
pub(super) fn show(call: &Call<'_>) -> HttpReply {
    let (device, snapshot) = (call.device(), call.device().snapshot());
    let services = ServiceStates::of(device);
    let render = || render_system(device, &snapshot, services).into();
    HttpReply::raw_json(StatusCode::OK, call.snapshot_body(&snapshot, Some(services), render))
}

/// The states that a snapshot does not have, as they were when they were asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ServiceStates {
    is_script_running: bool,
    broker_connected: bool,
    /// `None` unless the supercapacitor is modelled.
    supercapacitor_volts: Option<f64>,
}

impl ServiceStates {
    fn of(device: &Device) -> Self {
        Self {
            is_script_running: device.is_script_running(),
            broker_connected: device.broker_connected(),
            supercapacitor_volts: device.supercapacitor_volts(),
        }
    }
}

fn render_system(device: &Device, snapshot: &Snapshot, services: ServiceStates) -> String {
    let network = device.network(snapshot);
    let mut json = JsonWriter::with_capacity(2048);
    json.begin();
    write_device(&mut json, device, snapshot, services);
    write_clouds(&mut json, device, snapshot, &network, services);
    if Profile::new(snapshot.view.firmware).has(Feature::Berry) {
        json.object("services");
        json.object("berry");
        json.object("execution_status");
        json.word("state", if services.is_script_running { "RUNNING" } else { "IDLE" });
        json.end();
        json.end();
        json.end();
    }
    write_meter(&mut json, snapshot);
    write_wifi(&mut json, &network);
    json.object("ethernet");
    json.word("mac", network.eth.mac.as_str());
    json.word("status", if network.eth.is_up() { "Up" } else { "Down" });
    write_address(&mut json, network.eth.address.as_ref());
    json.end();
    json.object("sd_card");
    json.plain("installed", device.sd().is_some());
    if let Some(card) = device.sd() {
        let card = card.summary();
        json.word("type", card.kind);
        json.plain("size", card.size);
        json.plain("speed", card.speed);
    }
    json.end();
    json.end();
    json.into_string()
}

fn write_device(
    json: &mut JsonWriter,
    device: &Device,
    snapshot: &Snapshot,
    services: ServiceStates,
) {
    let now = snapshot.system_time();
    json.object("device");
    json.text("name", &snapshot.view.config.settings.system.name);
    json.word("id", device.identity().id.as_str());
    json.word("model", Identity::MODEL);
    json.word("firmware", snapshot.view.firmware);
    json.text("build", &device.hardware().build(snapshot.view.firmware));
    json.plain("upgrade_capable", true);
    json.word("date", now.date());
    json.word("time", now.time());
    json.plain("time_since_boot", snapshot.uptime().as_secs());
    json.object("last_reboot");
    let booted = subtract(now, snapshot.uptime());
    json.word("date", booted.date());
    json.word("time", booted.time());
    json.end();
    let plugs = device.plug_voltages(snapshot, services.supercapacitor_volts);
    json.object("plug");
    for (key, volts) in
        [("v_usb", plugs.usb), ("v_mbus", plugs.mbus), ("v_p1", plugs.p1), ("v_scap", plugs.scap)]
    {
        json.plain(key, volts.multiply(Decimal::ONE, 2));
    }
    json.end();
    json.object("license");
    let license = device.identity().license;
    json.word("type", license.name().to_ascii_uppercase().as_str());
    if license != License::Free {
        let activated = CivilTime::new(device.hardware().activated);
        json.word("activation_date", activated.date_time_utc());
    }
    json.end();
    json.end();
}

/// Returns the time that lies `duration` before `time`.
fn subtract(time: CivilTime, duration: Duration) -> CivilTime {
    let duration = SignedDuration::try_from(duration).unwrap_or_default();
    CivilTime::new(time.timestamp().checked_sub(duration).unwrap_or(time.timestamp()))
}

/// Writes the cloud services. No cloud is simulated: each counts as connected as soon as it is enabled and
/// the device has a network (SYSTEM-3). The MQTT client is a real one.
fn write_clouds(
    json: &mut JsonWriter,
    device: &Device,
    snapshot: &Snapshot,
    network: &NetworkState,
    services: ServiceStates,
) {
    let cloud = &snapshot.view.config.settings.services.cloud;
    let online = network.is_online();
    json.object("clouds");
    json.object("whatwatt");
    json.plain("enabled", cloud.what_watt);
    json.plain("connected", cloud.what_watt && online);
    json.plain("registered", cloud.what_watt && online);
    json.end();
    json.object("mystrom");
    let licensed = device.identity().license.includes(LicensedFeature::MyStrom);
    json.plain("enabled", cloud.mystrom);
    json.word(
        "status",
        match (cloud.mystrom && licensed, online) {
            (false, _) => "DISABLED",
            (true, false) => "DISCONNECTED",
            (true, true) => "REGISTERED",
        },
    );
    json.end();
    for (key, enabled, connected) in [
        ("solar_manager", cloud.solar_manager, cloud.solar_manager && online),
        ("mqtc", snapshot.view.config.mqtt.enable, services.broker_connected),
        ("stromkonto", cloud.stromkonto, cloud.stromkonto && online),
    ] {
        json.object(key);
        json.plain("enabled", enabled);
        json.plain("connected", connected);
        json.end();
    }
    json.end();
}

/// Writes the meter. An unknown text is empty; an unknown number is left out.
fn write_meter(json: &mut JsonWriter, snapshot: &Snapshot) {
    let meter = snapshot.meter.meter.as_deref();
    let text = |of: fn(&crate::meter::MeterIdentity) -> &str| meter.map_or("", of);
    let settings = &snapshot.view.config.meter;
    json.object("meter");
    json.word("status", snapshot.meter.status.as_str());
    json.word("interface", meter.map_or("NONE", |meter| meter.interface.as_str()));
    json.text("id", text(|meter| &meter.id));
    json.text("manufacturer", text(|meter| &meter.vendor));
    json.text("type", text(|meter| &meter.logical_name));
    json.text("model", text(|meter| &meter.model));
    json.word("protocol", text(|meter| meter.protocol.as_str()));
    json.text("protocol_version", text(|meter| &meter.protocol_version));
    let reading = snapshot.reading();
    json.plain("report_interval", reading.map(report::interval_seconds).unwrap_or_default());
    json.plain("enc_en", settings.encryption);
    json.plain("auth_en", settings.authentication_key.is_some());
    if let Some(tariff) = reading.and_then(|reading| reading.tariff) {
        json.plain("tariff", tariff);
    }
    if let Some(time) = snapshot.meter_time() {
        json.word("date", time.date());
        json.word("time", time.time());
    } else {
        json.word("date", "");
        json.word("time", "");
    }
    json.end();
}

fn write_wifi(json: &mut JsonWriter, network: &NetworkState) {
    let wifi = &network.wifi;
    json.object("wifi");
    if let Some(sighting) = &wifi.network {
        let network = &sighting.network;
        let (pairwise, group) = network.auth_mode.ciphers();
        json.text("ssid", &network.ssid);
        json.word("bssid", network.bssid.as_str());
        json.plain("channel", network.channel);
        json.word("ht", network.ht.as_str());
        json.plain("rssi", sighting.rssi);
        json.plain("signal", sighting.signal_percent());
        json.word("auth_mode", network.auth_mode.as_str());
        json.word("pairwise_cipher", pairwise);
        json.word("group_cipher", group);
        json.word("phy", "bgn");
        json.plain("wps", network.wps);
        json.text("country", &network.country);
    }
    json.word("mac", wifi.mac.as_str());
    write_address(json, wifi.address.as_ref());
    json.word("status", wifi.status.as_str());
    json.word(
        "mode",
        match wifi.mode {
            WifiMode::Off => "OFF",
            WifiMode::Sta => "STA",
            WifiMode::Ap => "AP",
        },
    );
    json.end();
}

fn write_address(json: &mut JsonWriter, address: Option<&IpSettings>) {
    let Some(IpSettings { ip, mask, gateway, dns }) = address else { return };
    json.word("ip", ip);
    json.word("mask", mask);
    json.word("gateway", gateway);
    json.word("dns", dns);
}
