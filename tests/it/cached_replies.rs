//! Cached reply bodies: every change shows in the next GET.

use std::collections::BTreeMap;
use std::time::Duration;

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
