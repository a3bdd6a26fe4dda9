//! `/variables` and `/template/test` over a real socket.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::TestHouse;

impl TestHouse {
    /// A variable as `/variables` has it.
    pub async fn variable(&self, name: &str) -> Option<String> {
        let answer = self.get("/api/v1/variables").await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let all = answer.json();
        let mut found = all.as_array().unwrap().iter().filter_map(|pair| pair.get(name));
        let value = found.next().map(|value| value.as_str().unwrap().to_owned());
        assert!(found.next().is_none(), "{name} is there once");
        value
    }

    /// What a template renders to now.
    pub async fn rendered(&self, template: &str) -> String {
        let answer = self.post("/api/v1/template/test", template).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    }
}

// Ruling: VARIABLE-1.
#[tokio::test]
async fn variables_are_pairs_of_texts_in_the_vendors_order() {
    let twin = TestHouse::start("").await;
    twin.advance(Duration::from_secs(10)).await;
    let answer = twin.get("/api/v1/variables").await;
    assert_eq!(answer.header("Content-Type"), Some("application/json; charset=utf-8"));
    let all = answer.json();
    let names: Vec<&str> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|pair| {
            let pair = pair.as_object().unwrap();
            assert!(pair.len() == 1 && pair.values().all(Value::is_string), "{pair:?}");
            pair.keys().next().unwrap().as_str()
        })
        .collect();
    let place = |name: &str| names.iter().position(|known| *known == name).unwrap();
    let sample = [
        "sys.name",
        "sys.id",
        "sys.firmware",
        "sys.date_time",
        "1_8_0",
        "energy.in",
        "1_8_1",
        "2_8_0",
        "energy.out",
        "3_8_0",
        "4_8_2",
        "1_7_0",
        "power.in",
        "21_7_0",
        "2_7_0",
        "power.out",
        "62_7_0",
        "31_7_0",
        "71_7_0",
        "32_7_0",
        "72_7_0",
        "tariff",
        "conv_factor",
        "timestamp",
        "meter.date_time",
        "meter.id",
        "meter.type",
        "meter.vendor",
        "meter.model",
        "meter.interface",
        "meter.protocol",
        "meter.protocol_ver",
        "meter.status",
        "plug.interface",
        "plug.voltage.usb",
        "plug.voltage.p1",
        "plug.voltage.mbus",
        "wifi.mode",
        "wifi.sta.status",
        "wifi.sta.ssid",
        "wifi.sta.bssid",
        "wifi.sta.rssi",
        "wifi.sta.channel",
        "wifi.sta.mac",
        "wifi.sta.ip",
        "wifi.sta.mask",
        "wifi.sta.gw",
        "wifi.sta.dns",
    ];
    assert!(sample.map(place).is_sorted(), "{names:?}");
    assert_eq!(names.len(), 102, "all that are documented");
}

#[tokio::test]
async fn a_template_shows_what_the_variables_say() {
    let twin = TestHouse::start("device: {id: A842E39F8124}").await;
    twin.advance(Duration::from_secs(10)).await;
    let (energy, time) =
        (twin.variable("1_8_0").await.unwrap(), twin.variable("sys.date_time").await.unwrap());
    assert_ne!(energy, "null");
    assert_eq!(time, "2026-01-15T18:00:10Z", "local, though it says Z");
    assert_eq!(
        twin.rendered("{\"E\": ${1_8_0}, \"at\": \"${sys.date_time}\", \"id\": \"${sys.id}\"}")
            .await,
        format!("{{\"E\": {energy}, \"at\": \"{time}\", \"id\": \"A842E39F8124\"}}")
    );
    assert_eq!(twin.rendered("${unknown} ${1_8_0").await, "${unknown} ${1_8_0");
    assert_eq!(twin.rendered("").await, "");
}

// Ruling: VARIABLE-2.
#[tokio::test]
async fn before_the_first_reading_numbers_are_null_and_texts_empty() {
    let twin = TestHouse::start("").await;
    assert_eq!(twin.variable("1_8_0").await.as_deref(), Some("null"));
    assert_eq!(twin.variable("tariff").await.as_deref(), Some("null"));
    assert_eq!(twin.variable("meter.vendor").await.as_deref(), Some(""));
    assert_eq!(twin.rendered("${1_8_0}|${meter.vendor}|").await, "null||");
}

#[tokio::test]
async fn the_network_shows_in_them() {
    let twin = TestHouse::start("device: {id: A842E39F8124}").await;
    for (name, value) in [
        ("wifi.mode", "off"),
        ("wifi.sta.status", "disabled"),
        ("wifi.sta.ssid", ""),
        ("wifi.sta.rssi", "null"),
        ("wifi.sta.mac", "A842E39F8124"),
        ("wifi.sta.ip", ""),
        ("eth.state", "up"),
        ("eth.mac", "A842E39F8127"),
        ("plug.interface", "NONE"),
    ] {
        assert_eq!(twin.variable(name).await.as_deref(), Some(value), "{name}");
    }
    let settings = json!({
        "enable": true, "name": "sjj", "static_ip": true, "ip": "192.168.99.176",
        "netmask": "255.255.255.0", "gateway": "192.168.99.1", "dns": "192.168.99.2",
    });
    twin.set("PUT", "/api/v1/wifi/sta/settings", &settings).await;
    twin.set("PUT", "/api/v1/eth/settings", &json!({"enable": false})).await;
    twin.advance(Duration::from_secs(10)).await;
    assert_eq!(
        twin.rendered("${wifi.mode} ${wifi.sta.status} ${wifi.sta.ssid} ${wifi.sta.ip}").await,
        "sta ok sjj 192.168.99.176"
    );
    assert_eq!(
        twin.rendered("${wifi.sta.mask} ${wifi.sta.gw} ${wifi.sta.dns} ${eth.state}|${eth.ip}|")
            .await,
        "255.255.255.0 192.168.99.1 192.168.99.2 down||"
    );
    let signal: i32 = twin.variable("wifi.sta.rssi").await.unwrap().parse().unwrap();
    assert!((-127..0).contains(&signal));
    let usb: f64 = twin.variable("plug.voltage.usb").await.unwrap().parse().unwrap();
    assert!((4.5..5.5).contains(&usb));
    assert_ne!(twin.variable("plug.interface").await.as_deref(), Some("NONE"));
}

#[tokio::test]
async fn the_factor_of_the_meter_is_in_them() {
    let twin = TestHouse::start("").await;
    twin.advance(Duration::from_secs(10)).await;
    let energy = async || twin.variable("1_8_0").await.unwrap().parse::<f64>().unwrap();
    let before = energy().await;
    twin.set("PUT", "/api/v1/meter/settings", &json!({"conv_factor": 40})).await;
    assert!((energy().await - 40.0 * before).abs() < 1e-6);
    assert_eq!(twin.variable("conv_factor").await.as_deref(), Some("40"));
}

// Ruling: VARIABLE-4.
#[tokio::test]
async fn a_template_is_a_text_of_at_most_1023_characters() {
    let twin = TestHouse::start("").await;
    assert_eq!(twin.rendered(&"ä".repeat(1023)).await, "ä".repeat(1023));
    let answer = twin.post("/api/v1/template/test", &"ä".repeat(1024)).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["error"], "invalid_template");
    let bytes = b"POST /api/v1/template/test HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nConnection: close\r\n\r\n\xff";
    let received = crate::harness::exchange(twin.device(), bytes).await;
    assert!(received.starts_with(b"HTTP/1.1 400 "));
    let answer = twin.post("/api/v1/template/test", &"x".repeat(8193)).await;
    assert_eq!(answer.status, 413);
}

// Ruling: VARIABLE-4.
#[tokio::test]
async fn without_a_licence_there_are_none() {
    let twin = TestHouse::start("device: {license: free}").await;
    for answer in
        [twin.get("/api/v1/variables").await, twin.post("/api/v1/template/test", "x").await]
    {
        assert_eq!((answer.status, &*answer.body), (404, "License required"));
    }
}
