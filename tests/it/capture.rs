//! `wwsim capture`: a twin of a twin.

use std::process::{Output, Stdio};

use serde_json::Value;
use tokio::process::Command;
use wwsim::house::House;
use wwsim::scenario;

use crate::harness::{http, within};

/// A device of which everything that can be captured is its own.
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
  wifi: {enable: true, name: home, max_tx_power: 11.5}
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
    let mut scenario =
        scenario::load(text, "house", None).unwrap_or_else(|wrong| panic!("{wrong}"));
    scenario.any_port();
    House::start(scenario).await.unwrap()
}

async fn capture(house: &House, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wwsim"));
    command.env_remove("WWSIM_PASSWORD").stdin(Stdio::null()).kill_on_drop(true);
    command.arg("capture").arg(&house.addresses().devices[0].http).args(arguments);
    within(command.output()).await.unwrap()
}

async fn get(house: &House, path: &str) -> Value {
    let device = house.addresses().devices[0].http.replace("http://", "").parse().unwrap();
    let answer = http(device, "GET", path, "").await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    serde_json::from_str(&answer.body).unwrap_or(Value::String(answer.body))
}

/// The leaves of a document by their paths, in their order.
fn leaves(value: &Value, path: &str, into: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(key, member)| leaves(member, &format!("{path}/{key}"), into));
        }
        Value::Array(items) => items.iter().for_each(|item| leaves(item, path, into)),
        leaf => into.push((path.to_owned(), leaf.clone())),
    }
}

/// What differs between any two moments of one device.
fn passes(path: &str) -> bool {
    let last = path.rsplit('/').next().unwrap();
    path.starts_with("/report/")
        || path.contains("last_reboot")
        || last.starts_with("date")
        || last.starts_with("v_")
        || ["time", "time_since_boot", "boot_id", "rssi", "signal", "report_interval", "tariff"]
            .contains(&last)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_captured_twin_shows_what_the_original_shows() {
    let original = start(ORIGINAL).await;
    // Its first readings.
    original.clock().advance(std::time::Duration::from_mins(1)).await.unwrap();
    let output = capture(&original, &[]).await;
    let text = String::from_utf8(output.stdout).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{text}");
    assert_eq!(said, "");

    let twin = start(&text).await;
    twin.clock().advance(std::time::Duration::from_mins(1)).await.unwrap();
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
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        leaves(&get(&original, path).await, "", &mut ours);
        leaves(&get(&twin, path).await, "", &mut theirs);
        let names = |leaves: &[(String, Value)]| {
            leaves.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(&theirs), names(&ours), "{path}");
        for (theirs, ours) in theirs.into_iter().zip(ours) {
            assert!(passes(&ours.0) || theirs == ours, "{path}: {theirs:?} is not {ours:?}");
        }
    }
    // Both counters go on from what the original's report showed, which conv_factor doubles.
    let energy = "/report/energy/active/positive/total";
    let of = async |house: &House| {
        get(house, "/api/v1/report").await.pointer(energy).unwrap().as_f64().unwrap()
    };
    let (ours, theirs) = (of(&original).await, of(&twin).await);
    assert!((ours - theirs).abs() < 1.0, "{ours} and {theirs} kWh");
    original.stop().await;
    twin.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protected_device_is_captured_with_its_password_and_keeps_it_to_itself() {
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
        assert!(text.contains("protection: true") && text.contains("password: captured"), "{text}");
        assert!(!text.contains("sesame"), "{text}");
        house.stop().await;
    }
}
