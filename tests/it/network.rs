//! Wi-Fi, WPS, Ethernet and scalers, and what a scenario says of them.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::{Value, json};
use wwsim::device::network::{NetworkState, WifiMode, WifiStatus};
use wwsim::journal::Event;
use wwsim::scenario;

use crate::harness::{Answer, TestHouse, http, within};

const WIFI: &str = "/api/v1/wifi/sta/settings";
const CUSTOM: &str = "/api/v1/meter/scalers/custom";

/// Seconds that a scan takes.
const SCAN: Duration = Duration::from_secs(3);

impl TestHouse {
    /// The network of the first device now.
    fn network(&self) -> NetworkState {
        let device = self.house.devices().next().unwrap();
        device.network(&device.snapshot())
    }

    fn wifi(&self) -> (WifiMode, WifiStatus, Option<String>) {
        let wifi = self.network().wifi;
        assert_eq!(wifi.network.is_some(), wifi.address.is_some());
        (wifi.mode, wifi.status, wifi.network.map(|sighting| sighting.network.ssid))
    }

    async fn send(&self, method: &str, path: &str, body: &Value) -> Answer {
        let answer = http(self.device(), method, path, &body.to_string()).await;
        assert!(answer.status < 300, "{method} {path} {body}: {}", answer.body);
        answer
    }

    /// A scan, from its start to its end.
    async fn scan(&self) -> Vec<Value> {
        let to = self.device();
        let asked = tokio::spawn(async move { http(to, "GET", "/api/v1/wifi/scan", "").await });
        let clock = self.house.clock();
        within(async {
            while !asked.is_finished() {
                clock.advance(Duration::from_millis(100)).await.unwrap();
                tokio::task::yield_now().await;
            }
        })
        .await;
        let answer = asked.await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json().as_array().unwrap().clone()
    }

    fn wps(&self) -> Vec<&'static str> {
        let told = self.journal().into_iter().filter_map(|entry| match entry.event {
            Event::Wps { outcome, .. } => Some(outcome),
            _ => None,
        });
        told.collect()
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
async fn a_scan_takes_seconds_and_lists_networks_in_the_documented_form() {
    let twin = TestHouse::start("").await;
    let started = twin.house.clock().now();
    let found = twin.scan().await;
    assert!(twin.house.clock().now().since(started) >= SCAN);
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
async fn a_scenario_says_which_networks_there_are() {
    let yaml = r"
device:
  networks:
    - {ssid: attic, bssid: dc15c84fbab6, channel: 13, ht: 40-, rssi: -80, auth_mode: WPA2-WPA3, wps: false, country: DE}
    - {ssid: cellar, rssi: -51, auth_mode: open}
";
    let twin = TestHouse::start(yaml).await;
    let found = twin.scan().await;
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
async fn the_client_is_in_the_network_it_is_set_to_where_that_takes_it() {
    let twin = TestHouse::start("").await;
    assert_eq!(twin.wifi(), (WifiMode::Off, WifiStatus::Disabled, None));
    for (password, status) in [
        ("x".repeat(63), WifiStatus::Ok),
        ("x".repeat(64), WifiStatus::Error),
        ("F".repeat(64), WifiStatus::Ok),
    ] {
        let settings = json!({"enable": true, "name": "home", "password": password});
        twin.send("PUT", WIFI, &settings).await;
        assert_eq!(twin.wifi().1, status, "64 characters are a raw key, or nothing");
    }
    twin.send("PUT", WIFI, &json!({"enable": true, "name": "home", "password": "12345678"})).await;
    assert_eq!(twin.wifi(), connected("home"));
    assert_eq!(twin.scan().await[0]["ssid"], "home");
    twin.send("DELETE", WIFI, &Value::Null).await;
    assert_eq!(twin.wifi(), (WifiMode::Off, WifiStatus::Disabled, None));

    let yaml = r"
device:
  wifi: {enable: true, name: home, password: right-one}
  networks:
    - {ssid: home, password: right-one}
    - {ssid: open, auth_mode: open}
    - {ssid: office, auth_mode: EAP}
";
    let twin = TestHouse::start(yaml).await;
    assert_eq!(twin.wifi(), connected("home"));
    for (change, status) in [
        (json!({"password": "wrong-one"}), WifiStatus::Error),
        (json!({"password": "right-one"}), WifiStatus::Ok),
        (json!({"password": ""}), WifiStatus::Error),
        (json!({"name": "elsewhere"}), WifiStatus::Disconnected),
        (json!({"name": "open"}), WifiStatus::Ok),
        (json!({"name": "office", "password": "12345678"}), WifiStatus::Error),
        (json!({"enable": false}), WifiStatus::Disabled),
    ] {
        twin.send("PUT", WIFI, &change).await;
        assert_eq!(twin.wifi().1, status, "{change}");
    }
}

// Ruling: NETWORK-1.
#[tokio::test]
async fn addresses_come_from_the_router_or_are_those_that_are_set() {
    let twin = TestHouse::start("devices: [{wifi: {enable: true, name: home}}, {}, {}]").await;
    let mut given = HashSet::new();
    for device in twin.house.devices() {
        let state = device.network(&device.snapshot());
        let taken = [state.wifi.address, state.eth.address];
        for address in taken.into_iter().flatten() {
            assert_eq!(address.gateway, Ipv4Addr::new(192, 168, 1, 1));
            assert!(given.insert(address.ip), "{} is given twice", address.ip);
        }
        assert_eq!(state.wifi.mac, device.identity().id);
        assert_ne!(state.eth.mac, state.wifi.mac);
    }
    assert_eq!(given.len(), 4);
    let set = json!({"static_ip": true, "ip": "10.0.0.7", "netmask": "255.255.0.0",
        "gateway": "10.0.0.1", "dns": "9.9.9.9"});
    twin.send("PUT", WIFI, &set).await;
    twin.send("PUT", "/api/v1/eth/settings", &set).await;
    let state = twin.network();
    assert_eq!(state.wifi.address, state.eth.address);
    let address = state.eth.address.unwrap();
    assert_eq!(address.ip, Ipv4Addr::new(10, 0, 0, 7));
    assert_eq!(address.mask, Ipv4Addr::new(255, 255, 0, 0));
    assert_eq!((address.gateway, address.dns), ([10, 0, 0, 1].into(), [9, 9, 9, 9].into()));
}

#[tokio::test]
async fn the_signal_wavers_slowly_and_within_bounds() {
    let twin = TestHouse::start("device: {wifi: {enable: true, name: home}, networks: [{ssid: home, rssi: -60, auth_mode: open}]}").await;
    let mut seen = Vec::new();
    for _ in 0..120 {
        let sighting = twin.network().wifi.network.unwrap();
        assert!((-64..=-56).contains(&sighting.rssi));
        seen.push(i32::from(sighting.rssi));
        twin.advance(Duration::from_secs(10)).await;
    }
    assert!(seen.windows(2).all(|pair| (pair[0] - pair[1]).abs() <= 3), "{seen:?}");
    assert!(seen.iter().collect::<HashSet<_>>().len() >= 4, "{seen:?}");
}

// Ruling: NETWORK-6, SETTING-8.
#[tokio::test]
async fn ethernet_is_up_with_usb_power_a_cable_enable_and_without_power_save() {
    let up = async |device: &str| TestHouse::start(device).await.network().eth.is_up();
    assert!(up("").await);
    assert!(!up("device: {power: {usb: false}}").await);
    assert!(!up("device: {cable: false}").await);
    assert!(!up("device: {eth: {enable: false}}").await);
    assert!(!up("device: {settings: {system: {power_save: true}}}").await);
    // Where it is down, power may be saved.
    let twin = TestHouse::start("device: {power: {usb: false}}").await;
    twin.send("PUT", "/api/v1/settings", &json!({"system": {"power_save": true}})).await;
}

#[tokio::test]
async fn wifi_sleeps_where_power_is_short() {
    let sleeps = async |yaml: &str| TestHouse::start(yaml).await.network().wifi.power_save;
    assert!(!sleeps("").await);
    assert!(sleeps("device: {settings: {system: {power_save: true}}}").await);
    assert!(sleeps("device: {power: {usb: false}}").await, "no P1 plug, no boost");
    // A P1 plug gives power before its meter is understood.
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
async fn usb_power_shows_in_the_voltages() {
    let usb = async |yaml: &str| {
        let twin = TestHouse::start(yaml).await;
        let device = twin.house.devices().next().unwrap();
        let plug = device.plug_voltages(&device.snapshot());
        (plug.usb.to_f64(), plug.scap.to_f64())
    };
    let (on, full) = usb("").await;
    assert!((5.0..5.3).contains(&on) && full > 4.5, "{on} {full}");
    let (off, held) = usb("device: {power: {usb: false}}").await;
    assert!(off < 0.1 && held < 4.5, "{off} {held}");
}

// Ruling: NETWORK-5.
#[tokio::test]
async fn a_pairing_that_finds_a_router_sets_the_client() {
    let twin =
        TestHouse::start("device: {wps: {network: home, password: handed over, after: 20s}}").await;
    let answer = twin.send("POST", "/api/v1/wifi/wps", &json!({})).await;
    assert_eq!((answer.status, &*answer.body), (204, ""));
    assert_eq!(twin.wifi(), (WifiMode::Sta, WifiStatus::Disconnected, None));
    twin.advance(Duration::from_millis(19_999)).await;
    assert_eq!(twin.get(WIFI).await.json()["enable"], false, "nothing is set yet");
    twin.advance(Duration::from_millis(1)).await;
    assert_eq!(twin.wifi(), connected("home"));
    let settings = twin.get(WIFI).await.json();
    assert_eq!((&settings["enable"], &settings["name"]), (&json!(true), &json!("home")));
    assert_eq!(twin.wps(), ["started", "paired"]);
}

// Ruling: NETWORK-5.
#[tokio::test]
async fn a_pairing_that_finds_nobody_ends_after_two_minutes_as_it_began() {
    let client = "device: {wifi: {enable: true, name: home}, wps: {network: late, after: 120s}}";
    let twin = TestHouse::start(client).await;
    let before = twin.get(WIFI).await.body;
    twin.send("POST", "/api/v1/wifi/wps", &Value::Null).await;
    twin.advance(Duration::from_mins(1)).await;
    // A second one begins the two minutes anew.
    twin.send("POST", "/api/v1/wifi/wps", &Value::Null).await;
    twin.advance(Duration::from_millis(119_999)).await;
    assert_eq!(twin.wifi().1, WifiStatus::Disconnected);
    twin.advance(Duration::from_millis(1)).await;
    assert_eq!(twin.wifi(), connected("home"));
    assert_eq!(twin.get(WIFI).await.body, before);
    assert_eq!(twin.wps(), ["started", "started", "timed out"]);
}

// Ruling: NETWORK-2.
#[tokio::test]
async fn a_failed_pairing_of_an_access_point_switches_wifi_off() {
    let twin = TestHouse::start("device: {access_point: true}").await;
    assert_eq!(twin.wifi().0, WifiMode::Ap);
    twin.send("POST", "/api/v1/wifi/wps", &Value::Null).await;
    twin.advance(Duration::from_mins(2)).await;
    assert_eq!(twin.wifi().0, WifiMode::Off);
    let twin = TestHouse::start("device: {access_point: true}").await;
    twin.send("PUT", WIFI, &json!({"enable": true, "name": "home"})).await;
    assert_eq!(twin.wifi(), connected("home"), "a client is no access point");
}

// Ruling: NETWORK-5.
#[tokio::test]
async fn other_wifi_settings_and_a_reset_end_a_pairing() {
    let twin = TestHouse::start("device: {wps: {network: home}}").await;
    twin.send("POST", "/api/v1/wifi/wps", &Value::Null).await;
    twin.send("PUT", WIFI, &json!({"enable": true, "name": "mine"})).await;
    assert_eq!(twin.wifi(), connected("mine"));
    twin.advance(Duration::from_mins(3)).await;
    assert_eq!(twin.wifi(), connected("mine"));
    assert_eq!(twin.wps(), ["started", "given up"]);

    twin.send("POST", "/api/v1/wifi/wps", &Value::Null).await;
    twin.control_send("POST", "reset", &Value::Null).await;
    assert_eq!(twin.wifi().0, WifiMode::Off);
    twin.advance(Duration::from_mins(3)).await;
    assert_eq!(twin.wifi().0, WifiMode::Off);
}

#[tokio::test]
async fn own_scalers_are_replaced_as_a_whole_or_refused() {
    let twin = TestHouse::start("").await;
    assert_eq!(twin.get(CUSTOM).await.json(), json!([]));
    let own =
        json!([{"obis": "1.8.255", "scaler": 3}, {"obis": "254.254.255", "scaler": -6, "x": 1}]);
    let kept = json!([{"obis": "1.8.255", "scaler": 3}, {"obis": "254.254.255", "scaler": -6}]);
    let answer = twin.send("POST", CUSTOM, &own).await;
    assert_eq!((answer.json(), twin.get(CUSTOM).await.json()), (kept.clone(), kept.clone()));
    for (bad, field) in [
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
        let answer = twin.post(CUSTOM, &bad.to_string()).await;
        assert_eq!(answer.status, 400, "{bad}");
        assert_eq!(answer.json()["details"]["field"], field, "{bad}");
        assert_eq!(twin.get(CUSTOM).await.json(), kept, "{bad}");
    }
    assert_eq!(twin.post(CUSTOM, "[").await.status, 400);
    twin.send("POST", CUSTOM, &json!([])).await;
    assert_eq!(twin.get(CUSTOM).await.json(), json!([]));
}

#[tokio::test]
async fn a_pairing_that_hands_over_what_the_network_does_not_take_brings_the_earlier_settings_back()
{
    for wps in ["{network: new, password: '87654321', after: 5s}", "{network: shy, after: 5s}"] {
        let twin = TestHouse::start(&format!(
            "device:\n  networks: [{{ssid: old, password: '11111111'}}, {{ssid: new, password: \
             '12345678'}}, {{ssid: shy, wps: false}}]\n  wifi: {{enable: true, name: old, \
             password: '11111111'}}\n  wps: {wps}"
        ))
        .await;
        twin.send("POST", "/api/v1/wifi/wps", &json!({})).await;
        twin.advance(Duration::from_mins(3)).await;
        assert_eq!(twin.wps(), ["started", "timed out"], "{wps}");
        let wifi = twin.get("/api/v1/system").await.json()["wifi"].clone();
        assert_eq!((&wifi["ssid"], &wifi["status"]), (&json!("old"), &json!("OK")), "{wifi}");
    }
}

#[tokio::test]
async fn a_router_hands_over_its_networks_own_password_where_no_other_is_named() {
    let twin = TestHouse::start(
        "device: {networks: [{ssid: home, password: '12345678'}], wps: {network: home}}",
    )
    .await;
    twin.send("POST", "/api/v1/wifi/wps", &json!({})).await;
    twin.advance(Duration::from_mins(3)).await;
    assert_eq!(twin.get("/api/v1/system").await.json()["wifi"]["status"], "OK");
}

#[tokio::test]
async fn the_meters_plug_gives_power_before_the_meter_is_understood() {
    let fault = "{id: out, at: meter, when: {after: 60s}, effect: not_connected}";
    let twin = TestHouse::start(&format!(
        "device: {{power: {{usb: false}}, meter: {{kind: ensor}}}}\nfaults: [{fault}]"
    ))
    .await;
    let p1 = async || {
        let system = twin.get("/api/v1/system").await.json();
        system["device"]["plug"]["v_p1"].as_f64().unwrap()
    };
    assert!(p1().await > 4.9, "nothing was read yet");
    twin.advance(Duration::from_secs(30)).await;
    assert!(p1().await > 4.9);
    twin.advance(Duration::from_secs(31)).await;
    assert!(p1().await < 3.0, "it was pulled out");
}

#[tokio::test]
async fn the_methods_of_scan_wps_and_scalers_are_the_documented_ones() {
    let twin = TestHouse::start("").await;
    for (path, allowed) in [
        ("/api/v1/wifi/scan", "GET"),
        ("/api/v1/wifi/wps", "POST"),
        (CUSTOM, "GET, POST"),
        ("/api/v1/meter/scalers/current", "GET"),
    ] {
        for method in ["PUT", "DELETE", "PATCH"] {
            let answer = http(twin.device(), method, path, "").await;
            assert_eq!((answer.status, answer.header("allow")), (405, Some(allowed)), "{path}");
        }
    }
    assert_eq!(twin.post(CUSTOM, &" ".repeat(8193)).await.status, 413);
    let old = TestHouse::start("device: {firmware: 1.2.14}").await;
    assert_eq!(old.get("/api/v1/meter/scalers/current").await.status, 404);
    assert_eq!(old.get(CUSTOM).await.status, 200);
}

#[tokio::test]
async fn a_device_starts_as_the_scenario_sets_it() {
    let yaml = r#"
device:
  settings: {system: {name: Keller, host_name: go, password: geheim}, services: {log: true}}
  meter_settings: {if_type: p1, conv_factor: 40, encryption_key: "00112233445566778899AABBCCDDEEFF"}
  scalers: [{obis: 1.8.0, scaler: -1}]
  wifi: {enable: true, name: home, max_power: 10.5}
  eth: {enable: false}
"#;
    let twin = TestHouse::start(yaml).await;
    let settings = twin.get("/api/v1/settings").await.json();
    assert_eq!(settings["system"]["name"], "Keller");
    assert_eq!(settings["system"]["password_len"], 6);
    assert_eq!(settings["services"]["report_interval"], 30);
    let meter = twin.get("/api/v1/meter/settings").await.json();
    assert_eq!((&meter["if_type"], &meter["conv_factor"]), (&json!("p1"), &json!(40)));
    assert_eq!(twin.get(CUSTOM).await.json(), json!([{"obis": "1.8.0", "scaler": -1}]));
    assert_eq!(twin.get(WIFI).await.json()["max_tx_power"], 10.5);
    assert_eq!(twin.get("/api/v1/eth/settings").await.json()["enable"], false);
    twin.send("PUT", "/api/v1/settings", &json!({"system": {"name": "Estrich"}})).await;
    twin.control_send("POST", "reset", &Value::Null).await;
    assert_eq!(twin.get("/api/v1/settings").await.json(), settings, "and goes back to it");
}

// Ruling: FIRMWARE-2.
#[test]
fn every_mistake_of_a_start_configuration_is_reported_in_its_place() {
    let yaml = r#"device:
  firmware: 2.0.0
  settings:
    system: {host_name: "a b", protecton: true}
    services: {sd: {frequency: 0, recorder_mode: true}}
  meter_settings: {parity: evn}
  wifi: {static_ip: 1, password: 12345678}
"#;
    let told = scenario::load(yaml, "t.yaml", None).unwrap_err().to_string();
    for part in [
        "t.yaml:4:25: device.settings.system.host_name: `a b`: expected letters",
        "device.settings.system.protecton: unknown key `protecton`, which the device ignores; did you mean `protection`?",
        "t.yaml:5:32: device.settings.services.sd.frequency: 0: expected a whole number from 1 to 1440",
        "device.meter_settings.parity: `evn`: expected none, odd or even",
        "device.wifi.static_ip: a number: expected true or false",
        "device.wifi.password: a number: expected a string; write it in quotes",
    ] {
        assert!(told.contains(part), "{part}\nis not in\n{told}");
    }
    let told = scenario::load(
        "device: {firmware: 2.0.0, settings: {services: {sd: {recorder_mode: true}}}}",
        "t.yaml",
        None,
    )
    .unwrap_err()
    .to_string();
    assert!(told.contains("firmware 2.0.0 has no `services.sd.recorder_mode`"), "{told}");
}

// Ruling: METER-20.
#[tokio::test]
async fn a_dlms_meter_shows_its_scalers_and_the_users_own_move_the_point_of_its_values() {
    let twin = TestHouse::start(
        "device: {meter_settings: {scalers_set: custom}}\nmeter: {kind: landis_gyr}",
    )
    .await;
    twin.advance(Duration::from_mins(5)).await;
    let current = async || twin.get("/api/v1/meter/scalers/current").await.json();
    let scaler = |list: &Value, code: &str| {
        let found = list.as_array().unwrap().iter().find(|one| one["obis"] == code);
        found.map(|one| one["scaler"].as_i64().unwrap())
    };
    let found = current().await;
    assert_eq!(scaler(&found, "1.8.0"), Some(0));
    assert_eq!(scaler(&found, "31.7.0"), Some(-2));
    assert_eq!(scaler(&found, "1.8.1"), None, "it has no tariff registers");
    let voltage = async || {
        let report = twin.get("/api/v1/report").await.json();
        report["report"]["voltage"]["l1"].as_f64().unwrap()
    };
    let before = voltage().await;
    twin.send("POST", CUSTOM, &json!([{"obis": "32.7.255", "scaler": -1}])).await;
    assert_eq!(scaler(&current().await, "32.7.0"), Some(-1));
    assert!((voltage().await - before / 10.0).abs() < 1e-9);

    let other = TestHouse::start("meter: {kind: kamstrup}").await;
    other.advance(Duration::from_mins(5)).await;
    assert_eq!(other.get("/api/v1/meter/scalers/current").await.json(), json!([]));
}
