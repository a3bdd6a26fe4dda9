//! The endpoints `/variables` and `/template/test` over a socket.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::house::TestHouse;

impl TestHouse {
    /// Returns the value of a variable from `/variables`; `None` if it is not listed.
    pub(crate) async fn variable(&self, name: &str) -> Option<String> {
        let answer = self.get("/api/v1/variables").await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let all = answer.json();
        let mut values = all.as_array().unwrap().iter().filter_map(|pair| pair.get(name));
        let value = values.next().map(|value| value.as_str().unwrap().to_owned());
        assert!(values.next().is_none(), "{name} is listed once");
        value
    }

    /// Renders a template with `/template/test`.
    pub(crate) async fn render(&self, template: &str) -> String {
        let answer = self.post("/api/v1/template/test", template).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    }
}

// Ruling: VARIABLE-1.
#[tokio::test]
async fn variables_are_pairs_of_strings_in_the_vendors_order() {
    let house = TestHouse::start("").await;
    house.advance(Duration::from_secs(10)).await;
    let answer = house.get("/api/v1/variables").await;
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
    let position = |name: &str| names.iter().position(|other| *other == name).unwrap();
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
    assert!(sample.map(position).is_sorted(), "{names:?}");
    assert_eq!(names.len(), 102, "all documented variables");
}

#[tokio::test]
async fn a_template_renders_the_values_of_the_variables() {
    let house = TestHouse::start("device: {id: A842E39F8124}").await;
    house.advance(Duration::from_secs(10)).await;
    let (energy, time) =
        (house.variable("1_8_0").await.unwrap(), house.variable("sys.date_time").await.unwrap());
    assert_ne!(energy, "null");
    assert_eq!(time, "2026-01-15T18:00:10Z", "local, although it ends in Z");
    assert_eq!(
        house
            .render("{\"E\": ${1_8_0}, \"at\": \"${sys.date_time}\", \"id\": \"${sys.id}\"}")
            .await,
        format!("{{\"E\": {energy}, \"at\": \"{time}\", \"id\": \"A842E39F8124\"}}")
    );
    assert_eq!(house.render("${unknown} ${1_8_0").await, "${unknown} ${1_8_0");
    assert_eq!(house.render("").await, "");
}

// Ruling: VARIABLE-2.
#[tokio::test]
async fn without_a_reading_numbers_are_null_and_texts_are_empty() {
    let house = TestHouse::start("").await;
    assert_eq!(house.variable("1_8_0").await.as_deref(), Some("null"));
    assert_eq!(house.variable("tariff").await.as_deref(), Some("null"));
    assert_eq!(house.variable("meter.vendor").await.as_deref(), Some(""));
    assert_eq!(house.render("${1_8_0}|${meter.vendor}|").await, "null||");
}

#[tokio::test]
async fn variables_contain_the_network_state() {
    let house = TestHouse::start("device: {id: A842E39F8124}").await;
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
        assert_eq!(house.variable(name).await.as_deref(), Some(value), "{name}");
    }
    let settings = json!({
        "enable": true, "name": "sjj", "static_ip": true, "ip": "192.168.99.176",
        "netmask": "255.255.255.0", "gateway": "192.168.99.1", "dns": "192.168.99.2",
    });
    house.set("PUT", "/api/v1/wifi/sta/settings", &settings).await;
    house.set("PUT", "/api/v1/eth/settings", &json!({"enable": false})).await;
    house.advance(Duration::from_secs(10)).await;
    assert_eq!(
        house.render("${wifi.mode} ${wifi.sta.status} ${wifi.sta.ssid} ${wifi.sta.ip}").await,
        "sta ok sjj 192.168.99.176"
    );
    assert_eq!(
        house
            .render("${wifi.sta.mask} ${wifi.sta.gw} ${wifi.sta.dns} ${eth.state}|${eth.ip}|")
            .await,
        "255.255.255.0 192.168.99.1 192.168.99.2 down||"
    );
    let signal: i32 = house.variable("wifi.sta.rssi").await.unwrap().parse().unwrap();
    assert!((-127..0).contains(&signal));
    let usb: f64 = house.variable("plug.voltage.usb").await.unwrap().parse().unwrap();
    assert!((4.5..5.5).contains(&usb));
    assert_ne!(house.variable("plug.interface").await.as_deref(), Some("NONE"));
}

#[tokio::test]
async fn variables_apply_the_conversion_factor() {
    let house = TestHouse::start("").await;
    house.advance(Duration::from_secs(10)).await;
    let energy = async || house.variable("1_8_0").await.unwrap().parse::<f64>().unwrap();
    let before = energy().await;
    house.set("PUT", "/api/v1/meter/settings", &json!({"conv_factor": 40})).await;
    assert!((energy().await - 40.0 * before).abs() < 1e-6);
    assert_eq!(house.variable("conv_factor").await.as_deref(), Some("40"));
}

// Ruling: VARIABLE-4.
#[tokio::test]
async fn a_template_has_at_most_1023_characters() {
    let house = TestHouse::start("").await;
    assert_eq!(house.render(&"ä".repeat(1023)).await, "ä".repeat(1023));
    let answer = house.post("/api/v1/template/test", &"ä".repeat(1024)).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["error"], "invalid_template");
    let bytes = b"POST /api/v1/template/test HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nConnection: close\r\n\r\n\xff";
    let received = crate::support::house::exchange(house.api_address(), bytes).await;
    assert!(received.starts_with(b"HTTP/1.1 400 "));
    let answer = house.post("/api/v1/template/test", &"x".repeat(8193)).await;
    assert_eq!(answer.status, 413);
}

// Ruling: VARIABLE-4.
#[tokio::test]
async fn variables_and_templates_need_a_licence() {
    let house = TestHouse::start("device: {license: free}").await;
    for answer in
        [house.get("/api/v1/variables").await, house.post("/api/v1/template/test", "x").await]
    {
        assert_eq!((answer.status, &*answer.body), (404, "License required"));
    }
}
