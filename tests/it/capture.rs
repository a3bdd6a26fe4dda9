//! `wwsim capture`: a house that is started from a captured scenario behaves like the original.

use std::process::{Output, Stdio};

use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use tokio::process::Command;
use wwsim::house::House;

use crate::support::house::{Answer, http, within};

/// A house in which every value that can be captured differs from the default.
const ORIGINAL: &str = r#"
seed: 3
clock: {speed: 60}
meter: {kind: ensor, phases: 1, start: {import: [120.133, 69.877]}, pv: {kwp: 5}}
device:
  id: ECC9FF5C7F14
  firmware: 2.8.2
  build: 11b8102-68dfd692
  license: pro
  activation_date: 2025-09-24T11:05:41Z
  cable: false
  settings:
    system: {name: cellar, host_name: cellar-twin}
    services: {report_interval: 12, broadcast: false, sd: {enable: true, frequency: 60}}
  meter_settings: {conv_factor: 2, if_type: p1}
  scalers: [{obis: 1.8.0, scaler: -1}]
  wifi: {enable: true, name: home, password: home sweet home, max_tx_power: 11.5}
  networks: [{ssid: home, bssid: DC15C84FBAB6, channel: 13, rssi: -40}, {ssid: other, rssi: -70}]
  mqtt:
    url: "mqtt://broker.example.com"
    username: demo
    publish: {topic: house, template: "${1_7_0}"}
  modbus_map: [{start_address: 7, word_order: lsw, registers: [{id: 1.7.0, type: float, scaler: 3}]}]
  script: "print('hello')\n"
  actions:
    const: {lamp: 10.0.0.9}
    actions: [{id: "1", requests: [{http: {url: "http://${lamp}/"}}]}]
"#;

async fn start(text: &str) -> House {
    let started = House::builder().scenario(text).any_port().start().await;
    started.unwrap_or_else(|error| panic!("{error}"))
}

async fn capture(house: &House, arguments: &[&str]) -> Output {
    capture_at(&house.device().url(), arguments).await
}

async fn capture_at(url: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wwsim"));
    command.env_remove("WWSIM_PASSWORD").stdin(Stdio::null()).kill_on_drop(true);
    command.arg("capture").arg(url).args(arguments);
    within(command.output()).await.unwrap()
}

/// Sends a GET request to the first device.
async fn request(house: &House, path: &str) -> Answer {
    let device = house.device().url().replace("http://", "").parse().unwrap();
    http(device, "GET", path, "").await
}

/// Returns the body at a path as JSON, or as text if it is not JSON.
async fn get(house: &House, path: &str) -> Value {
    let answer = request(house, path).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    serde_json::from_str(&answer.body).unwrap_or(Value::String(answer.body))
}

/// Collects the leaves of a document with their paths, in order.
fn leaves(value: &Value, path: &str, into: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(key, member)| leaves(member, &format!("{path}/{key}"), into));
        }
        Value::Array(items) => items.iter().for_each(|item| leaves(item, path, into)),
        leaf => into.push((path.to_owned(), leaf.clone())),
    }
}

/// Returns true for fields that differ between any two instants of one device.
fn changes_with_time(path: &str) -> bool {
    let last = path.rsplit('/').next().unwrap();
    path.starts_with("/report/")
        || path.contains("last_reboot")
        || last.starts_with("date")
        || last.starts_with("v_")
        || ["time", "time_since_boot", "boot_id", "rssi", "signal", "report_interval", "tariff"]
            .contains(&last)
}

/// Captures a house, and returns the scenario and the text on standard error.
async fn capture_text(house: &House) -> (String, String) {
    let output = capture(house, &[]).await;
    let text = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}\n{text}");
    (text, stderr)
}

/// Advances the clock by a minute, within which the device receives its meter if it can.
async fn advance(house: &House) {
    house.clock().advance(std::time::Duration::from_mins(1)).await.unwrap();
}

/// Starts a copy of a house from its captured scenario, and returns both; nothing may be left out.
async fn copy_of(original: &House) -> (House, String) {
    let (text, stderr) = capture_text(original).await;
    assert_eq!(stderr, "", "{text}");
    let copy = start(&text).await;
    advance(&copy).await;
    (copy, text)
}

/// Starts a copy as [`copy_of`], and checks that it shows the same as the original.
async fn checked_copy_of(original: &House) -> (House, String) {
    let (copy, text) = copy_of(original).await;
    assert_same(original, &copy).await;
    (copy, text)
}

/// Checks that both show the same, without the fields that change with time.
async fn assert_same(original: &House, copy: &House) {
    for path in [
        "/api/v1/system",
        "/api/v1/settings",
        "/api/v1/meter/settings",
        "/api/v1/meter/scalers/custom",
        "/api/v1/wifi/sta/settings",
        "/api/v1/eth/settings",
        "/api/v1/mqtt/settings",
        "/api/v1/modbus?address_format=hex",
        "/api/v1/actions",
        "/api/v1/berry",
        "/api/v1/report",
    ] {
        let (ours, theirs) = (request(original, path).await, request(copy, path).await);
        assert_eq!(theirs.status, ours.status, "{path}");
        if ours.status != 200 {
            continue;
        }
        let of = |body: &str| {
            let value = serde_json::from_str(body).unwrap_or_else(|_| Value::from(body));
            let mut found = Vec::new();
            leaves(&value, "", &mut found);
            found
        };
        let (ours, theirs) = (of(&ours.body), of(&theirs.body));
        let names = |leaves: &[(String, Value)]| {
            leaves.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(&theirs), names(&ours), "{path}");
        for (theirs, ours) in theirs.into_iter().zip(ours) {
            assert!(
                changes_with_time(&ours.0) || theirs == ours,
                "{path}: {theirs:?} is not {ours:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_shows_the_same_as_its_original() {
    let original = start(ORIGINAL).await;
    advance(&original).await;
    let (copy, _) = checked_copy_of(&original).await;
    // Both counters go on from what the original's report showed, which conv_factor doubles.
    let energy = "/report/energy/active/positive/total";
    let of = async |house: &House| {
        get(house, "/api/v1/report").await.pointer(energy).unwrap().as_f64().unwrap()
    };
    let (ours, theirs) = (of(&original).await, of(&copy).await);
    assert!((ours - theirs).abs() < 1.0, "{ours} and {theirs} kWh");
    original.stop().await;
    copy.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_needed_and_not_captured() {
    for firmware in ["1.9.0", "2.0.2"] {
        let house = start(&format!(
            "clock: {{speed: 60}}\ndevice:\n  firmware: {firmware}\n  settings: \
             {{system: {{protection: true, password: open sesame}}}}\n"
        ))
        .await;
        let refused = capture(&house, &[]).await;
        assert!(!refused.status.success() && refused.stdout.is_empty());
        assert!(String::from_utf8_lossy(&refused.stderr).contains("asks for a password"));
        let wrong = capture(&house, &["--password", "close"]).await;
        assert!(String::from_utf8_lossy(&wrong.stderr).contains("does not take this password"));
        let captured = capture(&house, &["--password", "open sesame"]).await;
        let text = String::from_utf8(captured.stdout).unwrap();
        assert!(captured.status.success(), "{}", String::from_utf8_lossy(&captured.stderr));
        assert!(
            text.contains("protection: true") && text.contains("password: capturedcap\n"),
            "{text}"
        );
        assert!(!text.contains("sesame"), "{text}");
        house.stop().await;
    }
}

#[tokio::test]
async fn the_key_of_an_mqtt_client_becomes_a_placeholder() {
    let pair = KeyPair::generate().unwrap();
    let certificate = CertificateParams::default().self_signed(&pair).unwrap().pem();
    let mut settings = json!({"client": {"certificate": certificate, "key": pair.serialize_pem()}});
    for secret in [None, Some("five!")] {
        if let Some(secret) = secret {
            settings["client"]["key_password"] = json!(secret);
        }
        let original = start(&format!("device: {{mqtt: {settings}}}")).await;
        advance(&original).await;
        let (copy, text) = checked_copy_of(&original).await;
        assert!(!text.contains(&pair.serialize_pem()[40..60]), "{text}");
        assert!(text.contains("# What stands in for the key of the MQTT client"), "{text}");
        let shown = get(&copy, "/api/v1/mqtt/settings").await;
        assert_eq!(shown["client"]["certificate"], certificate);
        assert_eq!(shown["client"]["key_password_len"], json!(secret.map(str::len)));
    }
}

#[tokio::test]
async fn a_sub_meter_is_captured_and_gaps_are_noted() {
    let original = start("seed: 77\nmeter: {kind: ensor}\ndevice: {script: \"print(1)\"}").await;
    advance(&original).await;
    original.device().set_script_running(true);
    let (copy, text) = copy_of(&original).await;
    let behind = async |house: &House| {
        let report = get(house, "/api/v1/report").await;
        report["report"]["volume"][0]["meter_id"].clone()
    };
    let id = behind(&original).await;
    assert!(id.as_str().is_some_and(|id| id.starts_with("2000")), "{id}");
    assert_eq!(behind(&copy).await, id);
    assert!(text.contains("# The script runs on the device"), "{text}");

    let free = start("meter: {kind: ensor}\ndevice: {license: free}").await;
    advance(&free).await;
    let (_, text) = copy_of(&free).await;
    assert!(text.contains("# The report could not be read"), "{text}");
}

/// A firmware of each generation of the API.
const FIRMWARES: [&str; 4] = ["1.2.10", "1.9.0", "2.0.2", "2.8.2"];

#[tokio::test(flavor = "multi_thread")]
async fn a_copied_wifi_client_joins_its_network() {
    for firmware in FIRMWARES {
        for (network, secured) in
            [("auth_mode: WPA2, password: home sweet home", true), ("auth_mode: open", false)]
        {
            // The meter powers the device, so that Wi-Fi is its only network.
            let original = start(&format!(
                "clock: {{speed: 60}}\nmeter: {{kind: landis_gyr}}\ndevice:\n  firmware: {firmware}\n  \
                 power: {{usb: false}}\n  wifi: {{enable: true, name: home{}}}\n  networks: \
                 [{{ssid: home, channel: 6, {network}}}]\n",
                if secured { ", password: home sweet home" } else { "" },
            ))
            .await;
            advance(&original).await;
            assert_eq!(get(&original, "/api/v1/system").await["wifi"]["status"], "OK");
            let (copy, text) = checked_copy_of(&original).await;
            assert!(!text.contains("sweet"), "{text}");
            assert_eq!(text.contains("password: captured\n"), secured, "{text}");
            original.stop().await;
            copy.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_wifi_client_is_refused_in_the_copy() {
    let original = start(
        "clock: {speed: 60}\ndevice: {wifi: {enable: true, name: home, password: not this one}, \
         networks: [{ssid: home, password: home sweet home}]}",
    )
    .await;
    advance(&original).await;
    assert_eq!(get(&original, "/api/v1/system").await["wifi"]["status"], "Error");
    let (copy, _) = checked_copy_of(&original).await;
    original.stop().await;
    copy.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_are_captured_without_conversions() {
    let scaled = "conv_factor: 40, scalers_set: custom";
    let own = "{obis: 1.8.0, scaler: -3}, {obis: 2.8.255, scaler: 2}, {obis: 32.7.0, scaler: -1}";
    for (settings, kind) in [
        (scaled, "landis_gyr"),
        // Scalers have no effect if they are not selected, or for a meter without them.
        ("conv_factor: 40", "landis_gyr"),
        (scaled, "ensor"),
    ] {
        let original = start(&format!(
            "clock: {{speed: 60}}\ndevice: {{meter_settings: {{{settings}}}, scalers: [{own}]}}\n\
             meter: {{kind: {kind}, household: {{annual_kwh: 0, base_watts: 0, noise_watts: 0}}, \
             phases: 1, start: {{import: [12345.678, 321.5], export: [77.25, 11]}}}}\n"
        ))
        .await;
        advance(&original).await;
        let (copy, text) = checked_copy_of(&original).await;
        for counter in ["positive", "negative"] {
            let path = format!("/report/energy/active/{counter}/total");
            let of = async |house: &House| {
                get(house, "/api/v1/report").await.pointer(&path).unwrap().as_f64().unwrap()
            };
            let (ours, theirs) = (of(&original).await, of(&copy).await);
            let off = (ours - theirs).abs() / ours;
            assert!(off < 1e-4, "{settings}, {kind}, {counter}: {ours} and {theirs}\n{text}");
        }
        original.stop().await;
        copy.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_are_not_devices_are_refused() {
    let house = start(
        "http_targets:\n  lamp: {routes: [{path: /api/v1/system, body: '{\"on\": true}'}]}\n  page: \
         {routes: [{path: /api/v1/system, body: <html></html>}]}\n",
    )
    .await;
    let targets = &house.addresses().http_targets;
    for (url, why) in [
        (&house.addresses().control, "answered with 404"),
        (&targets["lamp"], "answered without `device.id`"),
        (&targets["page"], "answered with no JSON"),
    ] {
        let output = capture_at(url, &[]).await;
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && output.stdout.is_empty(), "{url}: {stderr}");
        assert!(stderr.contains(url.trim_end_matches('/')), "{url}: {stderr}");
        assert!(stderr.contains(why) && stderr.contains("/api/v1/system"), "{url}: {stderr}");
    }
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_meter_is_unreadable_in_the_copy() {
    let key = "encryption_key: \"0123456789ABCDEF0123456789ABCDEF\"";
    let other = "encryption_key: \"00112233445566778899AABBCCDDEEFF\"";
    let fault = |effect: &str| format!("faults: [{{id: dead, at: meter, effect: {effect}}}]");
    for (status, kind, meter, settings, fault) in [
        ("KEY REQUIRED", "landis_gyr", key, "", String::new()),
        ("KEY REQUIRED", "ensor", key, "encryption: true", String::new()),
        (
            "ENCRYPTION KEY",
            "landis_gyr",
            key,
            &*format!("encryption: true, {other}, authentication_key: \"{:032}\"", 7),
            String::new(),
        ),
        ("NOT RECOGNIZED", "kamstrup", "", "", fault("not_recognized")),
        ("NO DATA", "ensor", "", "", fault("no_data")),
        ("NO DATA", "ensor", "", "", fault("no_data, when: {after: 20s}")),
        ("NOT CONNECTED", "none", "", "", String::new()),
    ] {
        let comma = if meter.is_empty() { "" } else { ", " };
        let original = start(&format!(
            "clock: {{speed: 60}}\nmeter: {{kind: {kind}{comma}{meter}}}\ndevice: {{meter_settings: \
             {{{settings}}}}}\n{fault}\n"
        ))
        .await;
        advance(&original).await;
        advance(&original).await;
        assert_eq!(get(&original, "/api/v1/system").await["meter"]["status"], status);
        let (copy, text) = checked_copy_of(&original).await;
        assert!(text.contains(&format!("kind: {kind}\n")), "{text}");
        assert!(!text.contains("0123456789ABCDEF") && !text.contains("00112233"), "{text}");
        original.stop().await;
        copy.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_point_is_one_in_the_copy() {
    let original = start("clock: {speed: 60}\ndevice: {access_point: true}").await;
    advance(&original).await;
    assert_eq!(get(&original, "/api/v1/system").await["wifi"]["mode"], "AP");
    let (copy, _) = checked_copy_of(&original).await;
    original.stop().await;
    copy.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_cannot_be_read_are_noted() {
    let original = start(
        "clock: {speed: 60}\nmeter: {kind: ensor, start: {export: 7}}\n\
         device: {script: 'print(1)', sd_card: {files: {logs/a.csv: x}}}\n\
         faults: [{id: berry, at: {api: {route: /api/v1/berry}}, effect: {status: 500}}]",
    )
    .await;
    advance(&original).await;
    let (text, stderr) = capture_text(&original).await;
    assert!(stderr.contains("left out: /api/v1/berry: answered with 500"), "{stderr}");
    for note in [
        "# Left out: /api/v1/berry: answered with 500",
        "# The house exports: a device cannot tell its panels;",
        "# The card is empty here;",
    ] {
        assert!(text.contains(note), "{text}");
    }
    original.stop().await;
}

/// A scan takes seconds of virtual time, which never pass.
#[tokio::test(flavor = "multi_thread")]
async fn a_house_on_a_manual_clock_is_captured_without_a_scan() {
    let original = start(
        "clock: {speed: manual}\ndevice: {wifi: {enable: true, name: home, password: home sweet \
         home}, networks: [{ssid: home, channel: 6, wps: true}, {ssid: other}]}",
    )
    .await;
    advance(&original).await;
    let (text, stderr) = capture_text(&original).await;
    assert!(
        stderr.contains("left out: ") && stderr.contains("/api/v1/wifi/scan within 10s"),
        "{stderr}"
    );
    assert!(text.contains("# Left out: ") && text.contains("/api/v1/wifi/scan"), "{text}");
    let copy = start(&text).await;
    advance(&copy).await;
    assert_same(&original, &copy).await;
    original.stop().await;
    copy.stop().await;
}
