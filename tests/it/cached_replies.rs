//! Cached reply bodies: every change shows in the next GET.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::harness::{TestHouse, http};
use crate::load::upload;

/// The paths whose reply follows from configuration and firmware, each with a write that changes it.
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

async fn shown(twin: &TestHouse) -> BTreeMap<&'static str, String> {
    let mut shown = BTreeMap::new();
    for (path, _, _) in PATHS {
        shown.insert(path, twin.get(path).await.body);
    }
    shown
}

async fn write_all(twin: &TestHouse) {
    for (path, method, body) in PATHS {
        let mut before = shown(twin).await;
        let answer = http(twin.device(), method, path, body).await;
        assert_eq!(answer.status, 200, "{method} {path} {body}: {}", answer.body);
        let after = shown(twin).await;
        assert_eq!(answer.body, after[path], "{path} shows what was written");
        assert_ne!(before.insert(path, after[path].clone()), Some(answer.body), "{path} changed");
        assert_eq!(before, after, "{method} {path} changed nothing else");
    }
}

async fn rebooted(twin: &TestHouse) {
    twin.settle().await;
    twin.advance(Duration::from_secs(3)).await;
}

#[tokio::test]
async fn a_write_a_reset_and_a_factory_reset_are_seen_by_the_next_get() {
    let twin = TestHouse::start("").await;
    let out_of_the_box = shown(&twin).await;
    write_all(&twin).await;
    twin.house.reset().await;
    assert_eq!(shown(&twin).await, out_of_the_box, "after a reset");
    write_all(&twin).await;
    assert_eq!(twin.post("/api/v1/restore", "").await.status, 204);
    rebooted(&twin).await;
    assert_eq!(shown(&twin).await, out_of_the_box, "after a factory reset");
}

#[tokio::test]
async fn a_delete_is_seen_by_the_next_get() {
    let twin = TestHouse::start("").await;
    let out_of_the_box = shown(&twin).await;
    write_all(&twin).await;
    for path in ["/api/v1/wifi/sta/settings", "/api/v1/modbus", "/api/v1/berry"] {
        assert_eq!(http(twin.device(), "DELETE", path, "").await.status, 204);
        assert_eq!(twin.get(path).await.body, out_of_the_box[path], "{path}");
    }
}

#[tokio::test]
async fn another_firmware_shows_at_once_what_it_has() {
    let twin = TestHouse::start("device: {images: [{name: old.bin, firmware: 2.0.0}]}").await;
    let settings = "/services/sd/recorder_mode";
    let newer = [twin.get("/").await, twin.get("/api/v1/modbus").await];
    assert!(twin.get_json("/api/v1/settings").await.pointer(settings).is_some());
    assert_eq!(upload(&twin, "old.bin", b"image").await.status, 200);
    rebooted(&twin).await;
    assert!(twin.get_json("/api/v1/settings").await.pointer(settings).is_none());
    let older = [twin.get("/").await, twin.get("/api/v1/modbus").await];
    assert!(newer[0].body.contains("2.0.2") && older[0].body.contains("2.0.0"));
    assert!(!newer[1].body.contains("end_address") && older[1].body.contains("end_address"));
}

#[tokio::test]
async fn the_listing_of_the_map_follows_the_query() {
    let twin = TestHouse::start("").await;
    let compact = twin.get("/api/v1/modbus").await.body;
    for _ in 0..2 {
        let [dec, hex] =
            ["dec", "hex"].map(|format| format!("/api/v1/modbus?address_format={format}"));
        let (dec, hex) = (twin.get(&dec).await.body, twin.get(&hex).await.body);
        assert!(
            dec.contains("end_address") && hex.contains("0x") && !dec.contains("0x"),
            "{dec} {hex}"
        );
        assert_eq!(twin.get("/api/v1/modbus").await.body, compact);
    }
}
