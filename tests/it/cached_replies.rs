//! Kept reply bodies: every change shows in the next GET.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::Request;
use wwsim::fault::Engine;
use wwsim::journal::Journal;
use wwsim::surface::http::Api;

use crate::load::upload;
use crate::support::house::{TestHouse, http};

/// The paths whose replies depend on configuration and firmware, each with a write that changes it.
const PATHS: [(&str, &str, &str); 8] = [
    ("/api/v1/settings", "PUT", r#"{"system": {"name": "cellar"}}"#),
    ("/api/v1/meter/settings", "PUT", r#"{"conv_factor": 40}"#),
    ("/api/v1/meter/scalers/custom", "POST", r#"[{"obis": "1.7.0", "scaler": 3}]"#),
    (
        "/api/v1/wifi/sta/settings",
        "PUT",
        r#"{"enable": true, "name": "home", "password": "longenough"}"#,
    ),
    ("/api/v1/eth/settings", "PUT", r#"{"enable": false}"#),
    ("/api/v1/mqtt/settings", "PUT", r#"{"client_id": "cellar"}"#),
    ("/api/v1/modbus", "POST", r#"[{"start_address": 7, "registers": [{"id": "1.7.0"}]}]"#),
    ("/api/v1/berry", "POST", "print(1)"),
];

async fn replies(house: &TestHouse) -> BTreeMap<&'static str, String> {
    let mut replies = BTreeMap::new();
    for (path, _, _) in PATHS {
        replies.insert(path, house.get(path).await.body);
    }
    replies
}

async fn write_all(house: &TestHouse) {
    for (path, method, body) in PATHS {
        let mut before = replies(house).await;
        let answer = http(house.api_address(), method, path, body).await;
        assert_eq!(answer.status, 200, "{method} {path} {body}: {}", answer.body);
        let after = replies(house).await;
        assert_eq!(answer.body, after[path], "{path} shows what was written");
        assert_ne!(before.insert(path, after[path].clone()), Some(answer.body), "{path} changed");
        assert_eq!(before, after, "{method} {path} changed nothing else");
    }
}

async fn wait_rebooted(house: &TestHouse) {
    house.settle().await;
    house.advance(Duration::from_secs(3)).await;
}

#[tokio::test]
async fn the_next_get_shows_a_write_and_a_reset() {
    let house = TestHouse::start("").await;
    let factory = replies(&house).await;
    write_all(&house).await;
    house.reset().await;
    assert_eq!(replies(&house).await, factory, "after a reset");
    write_all(&house).await;
    assert_eq!(house.post("/api/v1/restore", "").await.status, 204);
    wait_rebooted(&house).await;
    assert_eq!(replies(&house).await, factory, "after a factory reset");
}

#[tokio::test]
async fn the_next_get_shows_a_delete() {
    let house = TestHouse::start("").await;
    let factory = replies(&house).await;
    write_all(&house).await;
    for path in ["/api/v1/wifi/sta/settings", "/api/v1/modbus", "/api/v1/berry"] {
        assert_eq!(http(house.api_address(), "DELETE", path, "").await.status, 204);
        assert_eq!(house.get(path).await.body, factory[path], "{path}");
    }
}

#[tokio::test]
async fn the_next_get_shows_another_firmware() {
    let house = TestHouse::start("device: {images: [{name: old.bin, firmware: 2.0.0}]}").await;
    let settings = "/services/sd/recorder_mode";
    let newer = [house.get("/").await, house.get("/api/v1/modbus").await];
    assert!(house.get_json("/api/v1/settings").await.pointer(settings).is_some());
    assert_eq!(upload(&house, "old.bin", b"image").await.status, 200);
    wait_rebooted(&house).await;
    assert!(house.get_json("/api/v1/settings").await.pointer(settings).is_none());
    let older = [house.get("/").await, house.get("/api/v1/modbus").await];
    assert!(newer[0].body.contains("2.0.2") && older[0].body.contains("2.0.0"));
    assert!(!newer[1].body.contains("end_address") && older[1].body.contains("end_address"));
}

#[tokio::test]
async fn the_register_map_depends_on_the_query() {
    let house = TestHouse::start("").await;
    let compact = house.get("/api/v1/modbus").await.body;
    for _ in 0..2 {
        let [dec, hex] =
            ["dec", "hex"].map(|format| format!("/api/v1/modbus?address_format={format}"));
        let (dec, hex) = (house.get(&dec).await.body, house.get(&hex).await.body);
        assert!(
            dec.contains("end_address") && hex.contains("0x") && !dec.contains("0x"),
            "{dec} {hex}"
        );
        assert_eq!(house.get("/api/v1/modbus").await.body, compact);
    }
}

/// The paths whose replies show the time or the meter.
const SNAPSHOT_PATHS: [&str; 4] =
    ["/api/v1/report", "/api/v1/report/objects", "/api/v1/system", "/api/v1/variables"];

/// The paths of [`SNAPSHOT_PATHS`] whose replies a change changes.
const REPORT: &[&str] = &["/api/v1/report"];
const SYSTEM: &[&str] = &["/api/v1/system"];
const SHOWN: &[&str] = &["/api/v1/report", "/api/v1/system", "/api/v1/variables"];

/// Returns the replies as an API renders them that has never been asked.
async fn rendered(house: &TestHouse) -> BTreeMap<&'static str, String> {
    let clock = house.clock();
    let journal = Arc::new(Journal::new(clock.clone()));
    let engine = Arc::new(Engine::new(1, clock.clone(), journal, Vec::new()));
    let api = Api::new(Arc::clone(&house.device()), engine, clock.clone(), |_| {});
    let mut replies = BTreeMap::new();
    for path in SNAPSHOT_PATHS {
        let request = Request::get(path).body(Empty::<Bytes>::new()).unwrap();
        let body = api.answer(request).await.bytes().to_vec();
        replies.insert(path, String::from_utf8(body).unwrap());
    }
    replies
}

/// Requests each path until its reply is kept, compares each reply, and returns them.
async fn kept(house: &TestHouse, after: &str) -> BTreeMap<&'static str, String> {
    let expected = rendered(house).await;
    for path in SNAPSHOT_PATHS {
        for _ in 0..3 {
            assert_eq!(house.get(path).await.body, expected[path], "{path} after {after}");
        }
    }
    expected
}

/// Checks that the replies are right after a change, and that those of `changed` have changed.
async fn check_change(
    house: &TestHouse,
    before: &mut BTreeMap<&'static str, String>,
    change: &str,
    changed: &[&str],
) {
    let after = kept(house, change).await;
    for path in changed {
        assert_ne!(before[path], after[path], "{change} changes {path}");
    }
    *before = after;
}

async fn send(house: &TestHouse, method: &str, path: &str, body: &str) {
    let answer = http(house.api_address(), method, path, body).await;
    assert!(answer.status < 300, "{method} {path}: {}", answer.body);
}

/// The house of the tests below: its seconds, those of its device and those of civil time begin at three instants
/// once the device has rebooted, and its meter supplies the power.
const FRACTIONS: &str = "
    clock: {start: 2026-01-15T18:00:00.300+01:00, speed: manual}
    device: {power: {usb: false}, power_model: true}
";

#[tokio::test]
async fn each_instant_shows_its_own_seconds_and_readings() {
    let house = TestHouse::start(FRACTIONS).await;
    house.advance(Duration::from_millis(7_600)).await;
    send(&house, "POST", "/api/v1/reboot", "").await;
    wait_rebooted(&house).await;
    let mut ids = std::collections::BTreeSet::new();
    for step in 0..200 {
        house.advance(Duration::from_millis(100)).await;
        let replies = kept(&house, &format!("step {step}")).await;
        let report: serde_json::Value = serde_json::from_str(&replies["/api/v1/report"]).unwrap();
        ids.extend(report["report"]["id"].as_u64());
    }
    assert!(ids.len() > 1, "readings came: {ids:?}");
}

#[tokio::test]
async fn a_new_reading_shows_within_its_second() {
    let house = TestHouse::start("").await;
    let until_next = || house.device().next_reading().unwrap().since(house.clock().now());
    house.advance(until_next()).await;
    for _ in 0..5 {
        let wait = until_next();
        house.advance(wait.saturating_sub(Duration::from_nanos(1))).await;
        let mut before = kept(&house, "the instant before a reading").await;
        house.advance(Duration::from_nanos(1)).await;
        check_change(&house, &mut before, "a reading", REPORT).await;
    }
}

#[tokio::test]
async fn each_change_shows_at_the_same_instant() {
    let house = TestHouse::start("device: {power: {usb: false}, power_model: true}").await;
    house.advance(house.device().next_reading().unwrap().since(house.clock().now())).await;
    house.advance(Duration::from_secs(30)).await;
    let mut before = kept(&house, "the start").await;
    let factor = r#"{"conv_factor": 40}"#;
    send(&house, "PUT", "/api/v1/meter/settings", factor).await;
    check_change(&house, &mut before, "a factor", &["/api/v1/report", "/api/v1/variables"]).await;
    let scaler = r#"[{"obis": "1.7.0", "scaler": 3}]"#;
    send(&house, "POST", "/api/v1/meter/scalers/custom", scaler).await;
    check_change(&house, &mut before, "a scaler that this meter does not use", &[]).await;
    send(&house, "PUT", "/api/v1/settings", r#"{"system": {"name": "cellar"}}"#).await;
    check_change(&house, &mut before, "a name", &["/api/v1/system", "/api/v1/variables"]).await;
    send(&house, "POST", "/api/v1/berry", "print(1)").await;
    send(&house, "PUT", "/api/v1/berry?run=true", "").await;
    check_change(&house, &mut before, "the start of a script", SYSTEM).await;
    send(&house, "PUT", "/api/v1/berry?run=false", "").await;
    check_change(&house, &mut before, "the stop of a script", SYSTEM).await;
    house.device().set_broker_connected(true);
    check_change(&house, &mut before, "a connection to a broker", SYSTEM).await;
    house.device().set_broker_connected(false);
    check_change(&house, &mut before, "the end of that connection", SYSTEM).await;
    house.device().drain_supercapacitor(100_000);
    check_change(&house, &mut before, "a download from the card", SYSTEM).await;
    let wifi = r#"{"enable": true, "name": "home", "password": "longenough"}"#;
    send(&house, "PUT", "/api/v1/wifi/sta/settings", wifi).await;
    check_change(&house, &mut before, "a network", &["/api/v1/system", "/api/v1/variables"]).await;
    send(&house, "POST", "/api/v1/wifi/wps", "").await;
    check_change(&house, &mut before, "a pairing", &["/api/v1/system", "/api/v1/variables"]).await;
    house.add_fault(serde_json::json!({"at": "meter", "effect": "no_data"})).await;
    house.advance(Duration::from_mins(1)).await;
    check_change(&house, &mut before, "a silent meter", SHOWN).await;
    house.reset().await;
    check_change(&house, &mut before, "a reset", SHOWN).await;
}

// Ruling: NETWORK-7.
#[tokio::test]
async fn signal_strengths_change_from_second_to_second() {
    let house = TestHouse::start("").await;
    let wifi = r#"{"enable": true, "name": "home", "password": "longenough"}"#;
    send(&house, "PUT", "/api/v1/wifi/sta/settings", wifi).await;
    let rssi = async || house.get("/api/v1/system").await.json()["wifi"]["rssi"].as_i64().unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..240 {
        let strength = rssi().await;
        seen.insert(strength);
        house.advance(Duration::from_millis(999)).await;
        assert_eq!(rssi().await, strength, "within the second");
        house.advance(Duration::from_millis(1)).await;
    }
    assert!(seen.len() > 1, "{seen:?}");
}
