//! The endpoint `/api/v1/system`, and its consistency with the report and the live stream.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::house::{TestHouse, http, within};

const SYSTEM: &str = "/api/v1/system";

async fn system(house: &TestHouse) -> Value {
    let answer = house.get(SYSTEM).await;
    assert_eq!(answer.status, 200);
    answer.json()
}

async fn put(house: &TestHouse, path: &str, body: &str) {
    assert_eq!(http(house.api_address(), "PUT", path, body).await.status, 200, "{path} {body}");
}

#[tokio::test]
async fn a_scenario_defines_the_identity_of_the_device() {
    let house = TestHouse::start(
        "device: {id: A842E39F8124, firmware: 1.10.0, build: 1234abc-00112233, license: pro,
                  activation_date: 2025-09-24T13:05:41+02:00}",
    )
    .await;
    house.clock().advance(Duration::from_secs(3601)).await.unwrap();
    let device = system(&house).await["device"].clone();
    let plug = device["plug"].as_object().unwrap();
    assert_eq!(plug.keys().collect::<Vec<_>>(), ["v_usb", "v_mbus", "v_p1", "v_scap"]);
    assert!(plug.values().all(Value::is_number));
    assert!((5.0..5.3).contains(&plug["v_usb"].as_f64().unwrap()));
    assert_eq!(
        device,
        json!({
            "name": "", "id": "A842E39F8124", "model": "WW_Go_1.2", "firmware": "1.10.0",
            "build": "1234abc-00112233", "upgrade_capable": true,
            "date": "2026-01-15", "time": "19:00:01", "time_since_boot": 3601,
            "last_reboot": { "date": "2026-01-15", "time": "18:00:00" },
            "plug": plug,
            "license": { "type": "PRO", "activation_date": "2025-09-24T11:05:41Z" },
        })
    );
}

#[tokio::test]
async fn the_parts_have_the_order_of_the_vendors_sample() {
    let house = TestHouse::start("").await;
    let body = house.get(SYSTEM).await.body;
    let parts = [
        "{\"device\":{\"name\":",
        "\"clouds\":{\"whatwatt\":{\"enabled\":true,\"connected\":true,\"registered\":true},\
         \"mystrom\":{\"enabled\":true,\"status\":\"REGISTERED\"},\
         \"solar_manager\":{\"enabled\":false,\"connected\":false},\
         \"mqtc\":{\"enabled\":false,\"connected\":false},\
         \"stromkonto\":{\"enabled\":false,\"connected\":false}}",
        "\"services\":{\"berry\":{\"execution_status\":{\"state\":\"IDLE\"}}}",
        "\"meter\":{\"status\":",
        "\"wifi\":{",
        "\"ethernet\":{\"mac\":\"",
        "\"sd_card\":{\"installed\":",
    ];
    let places: Vec<_> = parts.iter().map(|part| body.find(part)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?} {body}");
}

// Ruling: SYSTEM-3, SYSTEM-5.
#[tokio::test]
async fn changed_settings_take_effect_at_once() {
    let house = TestHouse::start("").await;
    put(
        &house,
        "/api/v1/settings",
        r#"{"system":{"name":"Käfer \"2\""},
            "services":{"cloud":{"what_watt":false,"stromkonto":true,"mystrom":false}}}"#,
    )
    .await;
    let now = system(&house).await;
    assert_eq!(now["device"]["name"], "Käfer \"2\"");
    let off = json!({ "enabled": false, "connected": false, "registered": false });
    assert_eq!(now["clouds"]["whatwatt"], off);
    assert_eq!(now["clouds"]["stromkonto"], json!({ "enabled": true, "connected": true }));
    assert_eq!(now["clouds"]["mystrom"], json!({ "enabled": false, "status": "DISABLED" }));
    assert_eq!(now["ethernet"]["status"], "Up");
    put(&house, "/api/v1/eth/settings", r#"{"enable":false}"#).await;
    let now = system(&house).await;
    assert_eq!(now["ethernet"]["status"], "Down");
    assert_eq!(now["ethernet"].get("ip"), None);
    assert_eq!(now["clouds"]["stromkonto"], json!({ "enabled": true, "connected": false }));
    put(&house, "/api/v1/meter/settings", r#"{"encryption":true}"#).await;
    assert_eq!(system(&house).await["meter"]["enc_en"], true);
}

// Ruling: SYSTEM-5.
#[tokio::test]
async fn wifi_contains_the_connected_network() {
    let house = TestHouse::start("").await;
    let before = system(&house).await["wifi"].clone();
    assert_eq!(before.get("ssid"), None, "{before}");
    put(
        &house,
        "/api/v1/wifi/sta/settings",
        r#"{"enable":true,"name":"home","password":"12345678"}"#,
    )
    .await;
    let wifi = system(&house).await["wifi"].clone();
    assert_eq!((&wifi["ssid"], &wifi["status"]), (&json!("home"), &json!("OK")), "{wifi}");
    assert_eq!((&wifi["phy"], &wifi["mode"]), (&json!("bgn"), &json!("STA")));
    assert!(wifi["rssi"].as_i64().unwrap() < 0 && wifi["ip"].is_string(), "{wifi}");
}

#[tokio::test]
async fn the_card_and_the_script_state_are_included() {
    let house = TestHouse::start("device: {sd_card: {size: 1024}}").await;
    let now = system(&house).await;
    assert_eq!(
        now["sd_card"],
        json!({ "installed": true, "type": "SDHC/SDXC", "size": 1024, "speed": 20 })
    );
    assert_eq!(house.post("/api/v1/berry", "print('on')").await.status, 200);
    assert_eq!(http(house.api_address(), "PUT", "/api/v1/berry?run=true", "").await.status, 200);
    let state = system(&house).await["services"]["berry"]["execution_status"]["state"].clone();
    assert_eq!(state, "RUNNING");
    let without = TestHouse::start("device: {sd_card: false}").await;
    assert_eq!(system(&without).await["sd_card"], json!({ "installed": false }));
}

#[tokio::test]
async fn the_start_is_the_one_of_the_last_reboot() {
    let house = TestHouse::start("device: {reboot_time: 40s}").await;
    house.clock().advance(Duration::from_secs(20)).await.unwrap();
    assert_eq!(house.post("/api/v1/reboot", "").await.status, 204);
    house.clock().advance(Duration::from_secs(100)).await.unwrap();
    let device = system(&house).await["device"].clone();
    assert_eq!(device["time_since_boot"], 60);
    assert_eq!(device["last_reboot"], json!({ "date": "2026-01-15", "time": "18:01:00" }));
}

// Ruling: SYSTEM-2.
#[tokio::test]
async fn without_licence_there_is_no_date_and_no_mystrom() {
    let house = TestHouse::start("device: {license: free, firmware: 1.9.0}").await;
    let now = system(&house).await;
    assert_eq!(now["device"]["license"], json!({ "type": "FREE" }));
    assert_eq!(now["clouds"]["mystrom"], json!({ "enabled": true, "status": "DISABLED" }));
    assert_eq!(now.get("services"), None, "Berry came with 1.10.0");
}

// Ruling: LIVE-4.
#[tokio::test]
async fn report_live_stream_and_system_return_the_same_reading() {
    let house = TestHouse::start("").await;
    let mut live = TcpStream::connect(house.api_address()).await.unwrap();
    live.write_all(b"GET /api/v1/live HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head.push(char::from(within(live.read_u8()).await.unwrap()));
    }
    for _ in 0..20 {
        house.clock().advance(Duration::from_secs(7)).await.unwrap();
        let report = house.get("/api/v1/report").await.json();
        let meter = system(&house).await["meter"].clone();
        // `advance` returns when the client's socket has received all events.
        let mut bytes = vec![0; 65536];
        let count = within(live.read(&mut bytes)).await.unwrap();
        let text = String::from_utf8(bytes[..count].to_vec()).unwrap();
        let newest = text.rsplit("data: ").next().unwrap().lines().next().unwrap();
        let event: Value = serde_json::from_str(newest).unwrap();
        let reading = &report["report"];
        for (field, path) in [
            ("P_In", "/instantaneous_power/active/positive/total"),
            ("P_P1_Out", "/instantaneous_power/active/negative/l1"),
            ("E_In", "/energy/active/positive/total"),
            ("V_P1", "/voltage/l1"),
            ("I_P1", "/current/l1"),
            ("T", "/tariff"),
        ] {
            assert_eq!(event[field], *reading.pointer(path).unwrap(), "{field}");
        }
        let time = reading["date_time"].as_str().unwrap();
        for (date, of_day) in [(&event["Date"], &event["Time"]), (&meter["date"], &meter["time"])] {
            let date_time = format!("{}T{}Z", date.as_str().unwrap(), of_day.as_str().unwrap());
            assert_eq!(date_time, time);
        }
        assert_eq!(meter["report_interval"], reading["interval"]);
        assert_eq!(meter["type"], report["meter"]["logical_name"]);
        assert_eq!(meter["tariff"], reading["tariff"]);
    }
}
