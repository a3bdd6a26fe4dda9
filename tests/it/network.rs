//! Wi-Fi, WPS, Ethernet and scalers, in the API and in scenarios.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::{Value, json};
use wwsim::device::network::{NetworkState, WifiMode, WifiStatus};
use wwsim::journal::Event;
use wwsim::scenario;

use crate::support::house::{Answer, TestHouse, http, within};

const WIFI: &str = "/api/v1/wifi/sta/settings";
const CUSTOM: &str = "/api/v1/meter/scalers/custom";

/// The duration of a scan.
const SCAN: Duration = Duration::from_secs(3);

impl TestHouse {
    /// Returns the current network state of the first device.
    fn network(&self) -> NetworkState {
        let device = self.device();
        device.network(&device.snapshot())
    }

    fn wifi(&self) -> (WifiMode, WifiStatus, Option<String>) {
        let wifi = self.network().wifi;
        assert_eq!(wifi.network.is_some(), wifi.address.is_some());
        (wifi.mode, wifi.status, wifi.network.map(|result| result.network.ssid))
    }

    async fn send(&self, method: &str, path: &str, body: &Value) -> Answer {
        let answer = http(self.api_address(), method, path, &body.to_string()).await;
        assert!(answer.status < 300, "{method} {path} {body}: {}", answer.body);
        answer
    }

    /// Scans for networks and advances the clock until the scan ends.
    async fn scan(&self) -> Vec<Value> {
        let to = self.api_address();
        let request = tokio::spawn(async move { http(to, "GET", "/api/v1/wifi/scan", "").await });
        let clock = self.clock();
        within(async {
            while !request.is_finished() {
                clock.advance(Duration::from_millis(100)).await.unwrap();
                tokio::task::yield_now().await;
            }
        })
        .await;
        let answer = request.await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json().as_array().unwrap().clone()
    }

    fn wps_outcomes(&self) -> Vec<&'static str> {
        let outcomes = self.journal_entries().into_iter().filter_map(|entry| match entry.event {
            Event::WpsPairing { outcome, .. } => Some(outcome),
            _ => None,
        });
        outcomes.collect()
    }
}

fn ssids(found: &[Value]) -> Vec<&str> {
    found.iter().map(|network| network["ssid"].as_str().unwrap()).collect()
}

fn connected(name: &str) -> (WifiMode, WifiStatus, Option<String>) {
    (WifiMode::Sta, WifiStatus::Ok, Some(name.to_owned()))
}

// Ruling: NETWORK-4.
#[tokio::test]
async fn a_scan_takes_seconds_and_lists_networks_as_documented() {
    let house = TestHouse::start("").await;
    let started = house.clock().now();
    let found = house.scan().await;
    assert!(house.clock().now().since(started) >= SCAN);
    assert!(found.len() >= 3, "{found:?}");
    let keys = [
        "ssid",
        "bssid",
        "channel",
        "ht",
        "rssi",
        "signal",
        "auth_mode",
        "pairwise_cipher",
        "group_cipher",
        "phy",
        "wps",
        "country",
    ];
    for network in &found {
        assert!(network.as_object().unwrap().keys().eq(keys), "{network}");
        let bssid = network["bssid"].as_str().unwrap();
        assert!(bssid.len() == 12 && bssid.bytes().all(|b| b"0123456789ABCDEF".contains(&b)));
        assert!((1..=13).contains(&network["channel"].as_u64().unwrap()), "{network}");
        assert!((-127..=0).contains(&network["rssi"].as_i64().unwrap()), "{network}");
        assert!((0..=100).contains(&network["signal"].as_u64().unwrap()), "{network}");
        assert!(network["wps"] == "true" || network["wps"] == "false", "{network}");
        assert_eq!((&network["phy"], &network["country"]), (&json!("bgn"), &json!("CH")));
    }
    let rssi: Vec<_> = found.iter().map(|network| network["rssi"].as_i64().unwrap()).collect();
    assert!(rssi.is_sorted_by(|one, other| one >= other), "{rssi:?}");
    let other = TestHouse::start("").await;
    assert_eq!(other.scan().await, found, "the same seed and time give the same networks");
    let seeded = TestHouse::start("seed: 5").await;
    assert_ne!(ssids(&seeded.scan().await), ssids(&found));
}

#[tokio::test]
async fn a_scenario_defines_the_networks_in_range() {
    let yaml = r"
device:
  networks:
    - {ssid: attic, bssid: dc15c84fbab6, channel: 13, ht: 40-, rssi: -80, auth_mode: WPA2-WPA3, wps: false, country: DE}
    - {ssid: cellar, rssi: -51, auth_mode: open}
";
    let house = TestHouse::start(yaml).await;
    let found = house.scan().await;
    assert_eq!(ssids(&found), ["cellar", "attic"]);
    let mut attic = found[1].clone();
    let rssi = attic["rssi"].as_i64().unwrap();
    assert!((-84..=-76).contains(&rssi), "{rssi}");
    attic["rssi"] = 0.into();
    attic["signal"] = 0.into();
    assert_eq!(
        attic,
        json!({"ssid": "attic", "bssid": "DC15C84FBAB6", "channel": 13, "ht": "40-", "rssi": 0,
            "signal": 0, "auth_mode": "WPA2-WPA3", "pairwise_cipher": "CCMP",
            "group_cipher": "CCMP", "phy": "bgn", "wps": "false", "country": "DE"})
    );
    assert_eq!(found[0]["pairwise_cipher"], "none");
    assert_eq!(TestHouse::start("device: {networks: []}").await.scan().await.len(), 0);
}

// Ruling: NETWORK-2, NETWORK-3, SETTING-13.
#[tokio::test]
async fn the_client_connects_if_the_network_accepts_its_password() {
    let house = TestHouse::start("").await;
    assert_eq!(house.wifi(), (WifiMode::Off, WifiStatus::Disabled, None));
    for (password, status) in [
        ("x".repeat(63), WifiStatus::Ok),
        ("x".repeat(64), WifiStatus::Error),
        ("F".repeat(64), WifiStatus::Ok),
    ] {
        let settings = json!({"enable": true, "name": "home", "password": password});
        house.send("PUT", WIFI, &settings).await;
        assert_eq!(house.wifi().1, status, "64 characters must be a raw key");
    }
    house.send("PUT", WIFI, &json!({"enable": true, "name": "home", "password": "12345678"})).await;
    assert_eq!(house.wifi(), connected("home"));
    assert_eq!(house.scan().await[0]["ssid"], "home");
    house.send("DELETE", WIFI, &Value::Null).await;
    assert_eq!(house.wifi(), (WifiMode::Off, WifiStatus::Disabled, None));

    let yaml = r"
device:
  wifi: {enable: true, name: home, password: right-one}
  networks:
    - {ssid: home, password: right-one}
    - {ssid: open, auth_mode: open}
    - {ssid: office, auth_mode: EAP}
";
    let house = TestHouse::start(yaml).await;
    assert_eq!(house.wifi(), connected("home"));
    for (change, status) in [
        (json!({"password": "wrong-one"}), WifiStatus::Error),
        (json!({"password": "right-one"}), WifiStatus::Ok),
        (json!({"password": ""}), WifiStatus::Error),
        (json!({"name": "elsewhere"}), WifiStatus::Disconnected),
        (json!({"name": "open"}), WifiStatus::Ok),
        (json!({"name": "office", "password": "12345678"}), WifiStatus::Error),
        (json!({"enable": false}), WifiStatus::Disabled),
    ] {
        house.send("PUT", WIFI, &change).await;
        assert_eq!(house.wifi().1, status, "{change}");
    }
}

// Ruling: NETWORK-1.
#[tokio::test]
async fn addresses_are_leased_by_the_router_or_static() {
    let house = TestHouse::start("devices: [{wifi: {enable: true, name: home}}, {}, {}]").await;
    let mut leased = HashSet::new();
    for device in house.devices() {
        let state = device.network(&device.snapshot());
        let addresses = [state.wifi.address, state.eth.address];
        for address in addresses.into_iter().flatten() {
            assert_eq!(address.gateway, Ipv4Addr::new(192, 168, 1, 1));
            assert!(leased.insert(address.ip), "{} is leased twice", address.ip);
        }
        assert_eq!(state.wifi.mac, device.identity().id);
        assert_ne!(state.eth.mac, state.wifi.mac);
    }
    assert_eq!(leased.len(), 4);
    let set = json!({"static_ip": true, "ip": "10.0.0.7", "netmask": "255.255.0.0",
        "gateway": "10.0.0.1", "dns": "9.9.9.9"});
    house.send("PUT", WIFI, &set).await;
    house.send("PUT", "/api/v1/eth/settings", &set).await;
    let state = house.network();
    assert_eq!(state.wifi.address, state.eth.address);
    let address = state.eth.address.unwrap();
    assert_eq!(address.ip, Ipv4Addr::new(10, 0, 0, 7));
    assert_eq!(address.mask, Ipv4Addr::new(255, 255, 0, 0));
    assert_eq!((address.gateway, address.dns), ([10, 0, 0, 1].into(), [9, 9, 9, 9].into()));
}

#[tokio::test]
async fn the_signal_strength_varies_slowly_within_bounds() {
    let house = TestHouse::start("device: {wifi: {enable: true, name: home}, networks: [{ssid: home, rssi: -60, auth_mode: open}]}").await;
    let mut strengths = Vec::new();
    for _ in 0..120 {
        let result = house.network().wifi.network.unwrap();
        assert!((-64..=-56).contains(&result.rssi));
        strengths.push(i32::from(result.rssi));
        house.advance(Duration::from_secs(10)).await;
    }
    assert!(strengths.windows(2).all(|pair| (pair[0] - pair[1]).abs() <= 3), "{strengths:?}");
    assert!(strengths.iter().collect::<HashSet<_>>().len() >= 4, "{strengths:?}");
}

// Ruling: NETWORK-6, SETTING-8.
#[tokio::test]
async fn ethernet_needs_usb_power_a_cable_enable_and_no_power_save() {
    let up = async |device: &str| TestHouse::start(device).await.network().eth.is_up();
    assert!(up("").await);
    assert!(!up("device: {power: {usb: false}}").await);
    assert!(!up("device: {cable: false}").await);
    assert!(!up("device: {eth: {enable: false}}").await);
    assert!(!up("device: {settings: {system: {power_save: true}}}").await);
    // `power_save` is accepted if the link is down.
    let house = TestHouse::start("device: {power: {usb: false}}").await;
    house.send("PUT", "/api/v1/settings", &json!({"system": {"power_save": true}})).await;
}

#[tokio::test]
async fn wifi_sleeps_if_power_is_scarce() {
    let sleeps = async |yaml: &str| TestHouse::start(yaml).await.network().wifi.power_save;
    assert!(!sleeps("").await);
    assert!(sleeps("device: {settings: {system: {power_save: true}}}").await);
    assert!(sleeps("device: {power: {usb: false}}").await, "there is no P1 plug, hence no boost");
    // A P1 plug supplies power even if the device cannot read the meter.
    let on_p1 = |boost: bool| {
        format!(
            "meter: {{kind: ensor}}\n\
             device: {{power: {{usb: false}}, settings: {{system: {{p1_wifi_boost: {boost}}}}}}}\n\
             faults: [{{id: dead, at: meter, effect: no_data}}]"
        )
    };
    assert!(!sleeps(&on_p1(true)).await);
    assert!(sleeps(&on_p1(false)).await);
}

#[tokio::test]
async fn the_plug_voltages_depend_on_usb_power() {
    let usb = async |yaml: &str| {
        let house = TestHouse::start(yaml).await;
        let device = house.device();
        let plug = device.plug_voltages(&device.snapshot(), None);
        (plug.usb.to_f64(), plug.scap.to_f64())
    };
    let (on, full) = usb("").await;
    assert!((5.0..5.3).contains(&on) && full > 4.5, "{on} {full}");
    let (off, partial) = usb("device: {power: {usb: false}}").await;
    assert!(off < 0.1 && partial < 4.5, "{off} {partial}");
}

// Ruling: NETWORK-5.
#[tokio::test]
async fn a_successful_pairing_sets_the_client() {
    let house =
        TestHouse::start("device: {wps: {network: home, password: handed over, after: 20s}}").await;
    let answer = house.send("POST", "/api/v1/wifi/wps", &json!({})).await;
    assert_eq!((answer.status, &*answer.body), (204, ""));
    assert_eq!(house.wifi(), (WifiMode::Sta, WifiStatus::Disconnected, None));
    house.advance(Duration::from_millis(19_999)).await;
    assert_eq!(house.get(WIFI).await.json()["enable"], false, "the settings do not change yet");
    house.advance(Duration::from_millis(1)).await;
    assert_eq!(house.wifi(), connected("home"));
    let settings = house.get(WIFI).await.json();
    assert_eq!((&settings["enable"], &settings["name"]), (&json!(true), &json!("home")));
    assert_eq!(house.wps_outcomes(), ["started", "paired"]);
}

// Ruling: NETWORK-5.
#[tokio::test]
async fn a_pairing_without_a_router_times_out_after_two_minutes() {
    let client = "device: {wifi: {enable: true, name: home}, wps: {network: late, after: 120s}}";
    let house = TestHouse::start(client).await;
    let before = house.get(WIFI).await.body;
    house.send("POST", "/api/v1/wifi/wps", &Value::Null).await;
    house.advance(Duration::from_mins(1)).await;
    // A second pairing restarts the two minutes.
    house.send("POST", "/api/v1/wifi/wps", &Value::Null).await;
    house.advance(Duration::from_millis(119_999)).await;
    assert_eq!(house.wifi().1, WifiStatus::Disconnected);
    house.advance(Duration::from_millis(1)).await;
    assert_eq!(house.wifi(), connected("home"));
    assert_eq!(house.get(WIFI).await.body, before);
    assert_eq!(house.wps_outcomes(), ["started", "started", "timed out"]);
}

// Ruling: NETWORK-2.
#[tokio::test]
async fn a_failed_pairing_of_an_access_point_turns_wifi_off() {
    let house = TestHouse::start("device: {access_point: true}").await;
    assert_eq!(house.wifi().0, WifiMode::Ap);
    house.send("POST", "/api/v1/wifi/wps", &Value::Null).await;
    house.advance(Duration::from_mins(2)).await;
    assert_eq!(house.wifi().0, WifiMode::Off);
    let house = TestHouse::start("device: {access_point: true}").await;
    house.send("PUT", WIFI, &json!({"enable": true, "name": "home"})).await;
    assert_eq!(house.wifi(), connected("home"), "the client ends the access point");
}

// Ruling: NETWORK-5.
#[tokio::test]
async fn a_write_of_wifi_settings_or_a_reset_ends_a_pairing() {
    let house = TestHouse::start("device: {wps: {network: home}}").await;
    house.send("POST", "/api/v1/wifi/wps", &Value::Null).await;
    house.send("PUT", WIFI, &json!({"enable": true, "name": "mine"})).await;
    assert_eq!(house.wifi(), connected("mine"));
    house.advance(Duration::from_mins(3)).await;
    assert_eq!(house.wifi(), connected("mine"));
    assert_eq!(house.wps_outcomes(), ["started", "given up"]);

    house.send("POST", "/api/v1/wifi/wps", &Value::Null).await;
    house.reset().await;
    assert_eq!(house.wifi().0, WifiMode::Off);
    house.advance(Duration::from_mins(3)).await;
    assert_eq!(house.wifi().0, WifiMode::Off);
}

#[tokio::test]
async fn custom_scalers_are_replaced_as_a_whole_or_refused() {
    let house = TestHouse::start("").await;
    assert_eq!(house.get(CUSTOM).await.json(), json!([]));
    let custom =
        json!([{"obis": "1.8.255", "scaler": 3}, {"obis": "254.254.255", "scaler": -6, "x": 1}]);
    let stored = json!([{"obis": "1.8.255", "scaler": 3}, {"obis": "254.254.255", "scaler": -6}]);
    let answer = house.send("POST", CUSTOM, &custom).await;
    assert_eq!((answer.json(), house.get(CUSTOM).await.json()), (stored.clone(), stored.clone()));
    for (invalid, field) in [
        (json!({}), ""),
        (json!(null), ""),
        (json!([1]), "[0]"),
        (json!([{"obis": "1.8.0", "scaler": 0}, {"obis": "1.8", "scaler": 0}]), "[1].obis"),
        (json!([{"obis": "255.8.0", "scaler": 0}]), "[0].obis"),
        (json!([{"obis": 1, "scaler": 0}]), "[0].obis"),
        (json!([{"scaler": 0}]), "[0].obis"),
        (json!([{"obis": "1.8.0"}]), "[0].scaler"),
        (json!([{"obis": "1.8.0", "scaler": 7}]), "[0].scaler"),
        (json!([{"obis": "1.8.0", "scaler": -7}]), "[0].scaler"),
        (json!([{"obis": "1.8.0", "scaler": 0.5}]), "[0].scaler"),
        (json!([{"obis": "1.8.0", "scaler": "1"}]), "[0].scaler"),
        (json!([{"obis": "1.8.0", "scaler": null}]), "[0].scaler"),
    ] {
        let answer = house.post(CUSTOM, &invalid.to_string()).await;
        assert_eq!(answer.status, 400, "{invalid}");
        assert_eq!(answer.json()["details"]["field"], field, "{invalid}");
        assert_eq!(house.get(CUSTOM).await.json(), stored, "{invalid}");
    }
    assert_eq!(house.post(CUSTOM, "[").await.status, 400);
    house.send("POST", CUSTOM, &json!([])).await;
    assert_eq!(house.get(CUSTOM).await.json(), json!([]));
}

#[tokio::test]
async fn a_pairing_that_the_network_refuses_times_out() {
    for wps in ["{network: new, password: '87654321', after: 5s}", "{network: shy, after: 5s}"] {
        let house = TestHouse::start(&format!(
            "device:\n  networks: [{{ssid: old, password: '11111111'}}, {{ssid: new, password: \
             '12345678'}}, {{ssid: shy, wps: false}}]\n  wifi: {{enable: true, name: old, \
             password: '11111111'}}\n  wps: {wps}"
        ))
        .await;
        house.send("POST", "/api/v1/wifi/wps", &json!({})).await;
        house.advance(Duration::from_mins(3)).await;
        assert_eq!(house.wps_outcomes(), ["started", "timed out"], "{wps}");
        let wifi = house.get("/api/v1/system").await.json()["wifi"].clone();
        assert_eq!((&wifi["ssid"], &wifi["status"]), (&json!("old"), &json!("OK")), "{wifi}");
    }
}

#[tokio::test]
async fn a_router_supplies_its_networks_password_by_default() {
    let house = TestHouse::start(
        "device: {networks: [{ssid: home, password: '12345678'}], wps: {network: home}}",
    )
    .await;
    house.send("POST", "/api/v1/wifi/wps", &json!({})).await;
    house.advance(Duration::from_mins(3)).await;
    assert_eq!(house.get("/api/v1/system").await.json()["wifi"]["status"], "OK");
}

#[tokio::test]
async fn the_meters_plug_supplies_power_before_the_first_reading() {
    let fault = "{id: out, at: meter, when: {after: 60s}, effect: not_connected}";
    let house = TestHouse::start(&format!(
        "device: {{power: {{usb: false}}, meter: {{kind: ensor}}}}\nfaults: [{fault}]"
    ))
    .await;
    let p1 = async || {
        let system = house.get("/api/v1/system").await.json();
        system["device"]["plug"]["v_p1"].as_f64().unwrap()
    };
    assert!(p1().await > 4.9, "there is no reading yet");
    house.advance(Duration::from_secs(30)).await;
    assert!(p1().await > 4.9);
    house.advance(Duration::from_secs(31)).await;
    assert!(p1().await < 3.0, "the plug is disconnected");
}

#[tokio::test]
async fn scan_wps_and_scalers_allow_the_documented_methods() {
    let house = TestHouse::start("").await;
    for (path, allowed) in [
        ("/api/v1/wifi/scan", "GET"),
        ("/api/v1/wifi/wps", "POST"),
        (CUSTOM, "GET, POST"),
        ("/api/v1/meter/scalers/current", "GET"),
    ] {
        for method in ["PUT", "DELETE", "PATCH"] {
            let answer = http(house.api_address(), method, path, "").await;
            assert_eq!((answer.status, answer.header("allow")), (405, Some(allowed)), "{path}");
        }
    }
    assert_eq!(house.post(CUSTOM, &" ".repeat(8193)).await.status, 413);
    let old = TestHouse::start("device: {firmware: 1.2.14}").await;
    assert_eq!(old.get("/api/v1/meter/scalers/current").await.status, 404);
    assert_eq!(old.get(CUSTOM).await.status, 200);
}

#[tokio::test]
async fn a_device_starts_with_the_settings_of_the_scenario() {
    let yaml = r#"
device:
  settings: {system: {name: Keller, host_name: go, password: geheim}, services: {log: true}}
  meter_settings: {if_type: p1, conv_factor: 40, encryption_key: "00112233445566778899AABBCCDDEEFF"}
  scalers: [{obis: 1.8.0, scaler: -1}]
  wifi: {enable: true, name: home, max_power: 10.5}
  eth: {enable: false}
"#;
    let house = TestHouse::start(yaml).await;
    let settings = house.get("/api/v1/settings").await.json();
    assert_eq!(settings["system"]["name"], "Keller");
    assert_eq!(settings["system"]["password_len"], 6);
    assert_eq!(settings["services"]["report_interval"], 30);
    let meter = house.get("/api/v1/meter/settings").await.json();
    assert_eq!((&meter["if_type"], &meter["conv_factor"]), (&json!("p1"), &json!(40)));
    assert_eq!(house.get(CUSTOM).await.json(), json!([{"obis": "1.8.0", "scaler": -1}]));
    assert_eq!(house.get(WIFI).await.json()["max_tx_power"], 10.5);
    assert_eq!(house.get("/api/v1/eth/settings").await.json()["enable"], false);
    house.send("PUT", "/api/v1/settings", &json!({"system": {"name": "Estrich"}})).await;
    house.reset().await;
    assert_eq!(
        house.get("/api/v1/settings").await.json(),
        settings,
        "a reset restores the settings of the scenario"
    );
}

// Ruling: FIRMWARE-2.
#[test]
fn every_mistake_in_the_settings_of_a_scenario_is_reported() {
    let yaml = r#"device:
  firmware: 2.0.0
  settings:
    system: {host_name: "a b", protecton: true}
    services: {sd: {frequency: 0, recorder_mode: true}}
  meter_settings: {parity: evn}
  wifi: {static_ip: 1, password: 12345678}
"#;
    let report = scenario::load(yaml, "t.yaml", None).unwrap_err().to_string();
    for part in [
        "t.yaml:4:25: device.settings.system.host_name: `a b`: expected letters",
        "device.settings.system.protecton: unknown key `protecton`, which the device ignores; did you mean `protection`?",
        "t.yaml:5:32: device.settings.services.sd.frequency: 0: expected a whole number from 1 to 1440",
        "device.meter_settings.parity: `evn`: expected none, odd or even",
        "device.wifi.static_ip: a number: expected true or false",
        "device.wifi.password: a number: expected a string; write it in quotes",
    ] {
        assert!(report.contains(part), "{part}\nis not in\n{report}");
    }
    let report = scenario::load(
        "device: {firmware: 2.0.0, settings: {services: {sd: {recorder_mode: true}}}}",
        "t.yaml",
        None,
    )
    .unwrap_err()
    .to_string();
    assert!(report.contains("firmware 2.0.0 has no `services.sd.recorder_mode`"), "{report}");
}

// Ruling: METER-20.
#[tokio::test]
async fn custom_scalers_of_a_dlms_meter_scale_its_values() {
    let house = TestHouse::start(
        "device: {meter_settings: {scalers_set: custom}}\nmeter: {kind: landis_gyr}",
    )
    .await;
    house.advance(Duration::from_mins(5)).await;
    let current = async || house.get("/api/v1/meter/scalers/current").await.json();
    let scaler = |list: &Value, code: &str| {
        let item = list.as_array().unwrap().iter().find(|item| item["obis"] == code);
        item.map(|item| item["scaler"].as_i64().unwrap())
    };
    let found = current().await;
    assert_eq!(scaler(&found, "1.8.0"), Some(0));
    assert_eq!(scaler(&found, "31.7.0"), Some(-2));
    assert_eq!(scaler(&found, "1.8.1"), None, "the meter has no tariff registers");
    let voltage = async || {
        let report = house.get("/api/v1/report").await.json();
        report["report"]["voltage"]["l1"].as_f64().unwrap()
    };
    let before = voltage().await;
    house.send("POST", CUSTOM, &json!([{"obis": "32.7.255", "scaler": -1}])).await;
    assert_eq!(scaler(&current().await, "32.7.0"), Some(-1));
    assert!((voltage().await - before / 10.0).abs() < 1e-9);

    let other = TestHouse::start("meter: {kind: kamstrup}").await;
    other.advance(Duration::from_mins(5)).await;
    assert_eq!(other.get("/api/v1/meter/scalers/current").await.json(), json!([]));
}
