//! The rulings that no other test covers. `docs/device` contains their text.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wwsim::clock::VirtualTime;
use wwsim::house::inject;
use wwsim::journal::Event;
use wwsim::meter::MeterStatus;
use wwsim::meter::signal::plan::{
    Appliance, ApplianceStep, BatteryPlan, HouseholdPlan, Placement, PvPlan, UsagePattern,
};
use wwsim::meter::signal::{Signal, SignalPlan};

use crate::load::upload;
use crate::mqtt_settings::MQTT;
use crate::state;
use crate::support::SECOND;
use crate::support::folder::Folder;
use crate::support::house::{TestHouse, exchange, http, within};

const SETTINGS: &str = "/api/v1/settings";
const METER: &str = "/api/v1/meter/settings";

async fn advance_to_next_reading(house: &TestHouse) {
    let next = house.device().next_reading().unwrap();
    house.advance(next.since(house.clock().now())).await;
}

// ---- HTTP ----

/// Sends bytes and returns the reply up to the end of the connection.
async fn reply_to(house: &TestHouse, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(house.api_address()).await.unwrap();
    // The server may refuse the request before it has read all of it.
    let _ = stream.write_all(bytes).await;
    let mut reply = Vec::new();
    let _ = within(stream.read_to_end(&mut reply)).await;
    String::from_utf8(reply).unwrap()
}

// Ruling: HTTP-6.
#[tokio::test]
async fn invalid_http_gets_a_bare_reply() {
    let house = TestHouse::start("").await;
    let many = "A: b\r\n".repeat(101);
    let long = "x".repeat(16 * 1024);
    for (head, status) in [
        ("no request at all\r\n\r\n".to_owned(), "HTTP/1.1 400 "),
        (format!("GET / HTTP/1.1\r\nHost: x\r\n{many}\r\n"), "HTTP/1.1 431 "),
        (format!("GET / HTTP/1.1\r\nHost: x\r\nA: {long}\r\n\r\n"), "HTTP/1.1 431 "),
    ] {
        let reply = reply_to(&house, head.as_bytes()).await;
        assert!(reply.starts_with(status), "{reply}");
        assert!(!reply.contains("nosniff") && reply.ends_with("\r\n\r\n"), "{reply}");
    }
    assert_eq!(reply_to(&house, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await, "");
}

// Ruling: HTTP-7.
#[tokio::test]
async fn a_client_that_closes_its_sending_side_gets_no_reply() {
    let house = TestHouse::start("faults: [{id: slow, at: api, effect: {delay: 5s}}]").await;
    let mut stream = TcpStream::connect(house.api_address()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut reply = Vec::new();
    // Virtual time does not pass, so the delay has not ended.
    let _ = within(stream.read_to_end(&mut reply)).await;
    assert!(reply.is_empty(), "{}", String::from_utf8_lossy(&reply));
}

// Ruling: HTTP-10.
#[tokio::test]
async fn integers_may_be_written_as_5_0_and_lengths_are_in_characters() {
    let house = TestHouse::start("").await;
    let frequency = |value: Value| json!({"services": {"sd": {"frequency": value}}});
    let current = house.set("PUT", SETTINGS, &frequency(json!(20.0))).await;
    assert_eq!(current["services"]["sd"]["frequency"], 20);
    for wrong in [json!(20.5), Value::Null] {
        let field = house.refused_field("PUT", SETTINGS, &frequency(wrong).to_string()).await;
        assert_eq!(field, "services.sd.frequency");
    }
    let name = |length: usize| json!({"system": {"name": "é".repeat(length)}});
    house.set("PUT", SETTINGS, &name(31)).await;
    assert_eq!(house.refused_field("PUT", SETTINGS, &name(32).to_string()).await, "system.name");
}

// ---- settings ----

// Ruling: SETTING-4.
#[tokio::test]
async fn a_write_is_refused_with_its_first_mistake() {
    let house = TestHouse::start("").await;
    for (body, field) in [
        (r#"{"services":{"sd":{"frequency":0}},"system":{"name":1}}"#, "services.sd.frequency"),
        (r#"{"system":{"name":1},"services":{"sd":{"frequency":0}}}"#, "system.name"),
    ] {
        for method in ["PUT", "POST"] {
            assert_eq!(house.refused_field(method, SETTINGS, body).await, field, "{method}");
        }
    }
}

// Ruling: SETTING-10.
#[tokio::test]
async fn the_conversion_factor_has_six_decimal_places() {
    let house = TestHouse::start("").await;
    let current = house.set("PUT", METER, &json!({"conv_factor": 1.234_567_89})).await;
    assert_eq!(current["conv_factor"].to_string(), "1.234568");
}

// Ruling: SETTING-14.
#[tokio::test]
async fn a_device_name_may_contain_any_character() {
    let house = TestHouse::start("").await;
    let name = "Käfer \"2\"\n\u{1}${sys.id}";
    house.set("PUT", SETTINGS, &json!({"system": {"name": name}})).await;
    assert_eq!(house.get("/api/v1/system").await.json()["device"]["name"], name);
    let rendered = house.post("/api/v1/template/test", "<${sys.name}>").await;
    assert_eq!(rendered.body, format!("<{name}>"));
}

// ---- system and firmware ----

// Ruling: SYSTEM-1.
#[tokio::test]
async fn the_build_depends_on_the_firmware() {
    let current = async |firmware: &str| {
        let house = TestHouse::start(&format!("device: {{firmware: {firmware}}}")).await;
        let current = house.get("/api/v1/system").await.json()["device"].clone();
        (current["build"].as_str().unwrap().to_owned(), current["license"].clone())
    };
    let (build, license) = current("2.0.2").await;
    assert_eq!(license["activation_date"], "2025-01-15T09:00:00Z");
    assert_eq!(current("2.0.2").await.0, build);
    assert_ne!(current("2.0.1").await.0, build);
}

// Ruling: SYSTEM-4.
#[tokio::test]
async fn an_unknown_meter_has_no_interface_and_empty_texts() {
    let house = TestHouse::start("").await;
    let meter = house.get("/api/v1/system").await.json()["meter"].clone();
    assert_eq!((&meter["interface"], &meter["report_interval"]), (&json!("NONE"), &json!(0)));
    for text in
        ["id", "manufacturer", "type", "model", "protocol", "protocol_version", "date", "time"]
    {
        assert_eq!(meter[text], "", "{text}");
    }
    assert_eq!(meter.get("tariff"), None);
    house.advance(30 * SECOND).await;
    assert_eq!(house.get("/api/v1/system").await.json()["meter"]["interface"], "TTL");
}

// Ruling: FIRMWARE-3.
#[tokio::test]
async fn an_upload_adds_the_features_of_the_new_firmware() {
    let house = TestHouse::start(
        "device: {firmware: 1.2.15, images: [{name: new.bin, firmware: 2.0.2}], script: print(1), \
         actions: {actions: [{id: a, requests: [{http: {url: 'http://bulb.local/'}}]}]}, \
         modbus_map: [{start_address: 7, registers: [{id: 1.8.0}]}]}",
    )
    .await;
    let paths = ["/api/v1/actions", "/api/v1/berry", "/api/v1/modbus"];
    for path in paths {
        assert_eq!(house.get(path).await.status, 404, "{path}");
    }
    assert_eq!(upload(&house, "new.bin", b"image").await.status, 200);
    house.advance(10 * SECOND).await;
    for (path, part) in paths.into_iter().zip(["bulb.local", "print(1)", "\"start_address\":7"]) {
        let answer = house.get(path).await;
        assert!(answer.status == 200 && answer.body.contains(part), "{path}: {}", answer.body);
    }
}

// Ruling: POWER-2.
#[tokio::test]
async fn a_factory_reset_keeps_the_card() {
    let house = TestHouse::start("device: {sd_card: {files: {NIHAO.TXT: ni hao}}}").await;
    assert_eq!(house.post("/api/v1/restore", "").await.status, 204);
    house.advance(10 * SECOND).await;
    assert_eq!(house.get("/sdcard/NIHAO.TXT").await.body, "ni hao");
}

// ---- network ----

// Ruling: NETWORK-4.
#[tokio::test]
async fn the_signal_in_percent_is_linear_in_the_rssi() {
    let networks = (0..8).map(|n| format!("{{ssid: n{n}, rssi: {}}}", -25 - 12 * n));
    let networks = networks.collect::<Vec<_>>().join(", ");
    let house = TestHouse::start(&format!("device: {{networks: [{networks}]}}")).await;
    let to = house.api_address();
    let asked = tokio::spawn(async move { http(to, "GET", "/api/v1/wifi/scan", "").await });
    within(async {
        while !asked.is_finished() {
            house.advance(SECOND / 10).await;
            tokio::task::yield_now().await;
        }
    })
    .await;
    let answer = asked.await.unwrap();
    let found = answer.json();
    assert_eq!(found.as_array().unwrap().len(), 8);
    for network in found.as_array().unwrap() {
        let rssi = network["rssi"].as_f64().unwrap();
        let line = (1.5 * rssi + 162.5).clamp(0.0, 100.0);
        assert!((network["signal"].as_f64().unwrap() - line).abs() <= 0.5, "{network}");
    }
}

// ---- the meter ----

// Ruling: METER-9, METER-11.
#[tokio::test]
async fn a_meter_is_identified_before_its_first_reading() {
    for (kind, recognition, longest) in
        [("kamstrup", 3.0, 4.3), ("landis_gyr", 3.0, 6.9), ("ensor", 1.5, 1.1)]
    {
        let house = TestHouse::start(&format!("meter: {{kind: {kind}}}")).await;
        let mut seen = vec![house.device().snapshot().meter.status];
        while !seen.contains(&MeterStatus::Ok) {
            house.advance(SECOND / 100).await;
            seen.push(house.device().snapshot().meter.status);
        }
        seen.dedup();
        let others = seen.iter().filter(|status| **status != MeterStatus::Recognition);
        assert!(others.eq(&[MeterStatus::NoData, MeterStatus::Ok]), "{kind}: {seen:?}");
        if kind == "ensor" {
            assert_eq!(seen.len(), 3, "a telegram comes while it is recognized");
        }
        let read = house.clock().now().since_start().as_secs_f64();
        assert!((recognition..recognition + longest).contains(&read), "{kind}: {read}");
        let reading = house.device().snapshot().meter.reading.unwrap();
        let interval = reading.interval.as_secs_f64();
        assert_eq!(reading.id, 1, "{kind}");
        assert!(interval > 0.9 && interval < longest, "{kind}: {interval}");
    }
}

// Ruling: METER-14.
#[tokio::test]
async fn an_unencrypted_meter_ignores_the_key() {
    let house = TestHouse::start(
        "device: {meter_settings: {encryption: true, encryption_key: '00112233445566778899AABBCCDDEEFF'}}",
    )
    .await;
    house.advance(30 * SECOND).await;
    assert_eq!(house.device().snapshot().meter.status, MeterStatus::Ok);
}

// Ruling: METER-15.
#[tokio::test]
async fn a_fault_takes_effect_after_a_reading_at_the_same_time() {
    let house = TestHouse::start("").await;
    house.advance(30 * SECOND).await;
    let id = || house.device().snapshot().meter.reading.unwrap().id;
    let before = id();
    advance_to_next_reading(&house).await;
    let _out = house.inject(inject::meter().no_data());
    assert_eq!(house.device().snapshot().meter.status, MeterStatus::NoData);
    house.advance(60 * SECOND).await;
    assert_eq!(id(), before + 1, "the reading that came at the moment of the fault");
}

// Ruling: METER-17.
#[tokio::test]
async fn a_counter_without_tariffs_starts_in_tariff_1() {
    for (start, expected) in [("100", [100.0, 100.0, 0.0]), ("[30, 70]", [100.0, 30.0, 70.0])] {
        let house = TestHouse::start(&format!(
            "meter: {{kind: ensor, household: {{annual_kwh: 0}}, start: {{import: {start}}}}}"
        ))
        .await;
        house.advance(30 * SECOND).await;
        let report = house.get("/api/v1/report").await.json();
        let energy = &report["report"]["energy"]["active"]["positive"];
        let current = ["total", "t1", "t2"].map(|register| energy[register].as_f64().unwrap());
        assert_eq!(current.map(f64::to_bits), expected.map(f64::to_bits), "{energy}");
    }
}

// Ruling: MODBUS-19, VARIABLE-2.
#[tokio::test]
async fn times_before_1970_are_negative_registers_and_0_as_variables() {
    let house = TestHouse::start(
        "device: {meter_settings: {time_offset: -2147483648}, settings: {services: {modbus: {enable: true}}}, \
         modbus_map: [{start_address: 0, registers: [{id: report.timestamp, type: int}]}]}",
    )
    .await;
    house.advance(30 * SECOND).await;
    assert_eq!(house.variable("timestamp").await.as_deref(), Some("0"));
    let modbus = house.addresses().devices[0].modbus.unwrap();
    // The invalid frame ends the connection after the reply.
    let reply = exchange(modbus, b"\0\x01\0\0\0\x06\x01\x04\0\0\0\x02GET / HTTP/1.1\r\n\r\n").await;
    let seconds = i32::from_be_bytes(reply[9..13].try_into().unwrap());
    let snapshot = house.device().snapshot();
    assert!(seconds < 0, "{seconds}");
    assert_eq!(i64::from(seconds), snapshot.meter_time().unwrap().timestamp().as_second());
}

// ---- actions, faults, MQTT ----

// Ruling: ACTION-10.
#[tokio::test]
async fn a_number_expands_to_its_json_form() {
    let house = TestHouse::start("http_targets: {bulb: {hosts: [bulb.local]}}").await;
    let definition = r#"{"const": {"a": 1.50, "b": 1E2, "c": true}, "actions": [{"id": "x", "requests": [
        {"http": {"url": "http://bulb.local/", "method": "POST", "payload": "${a} ${b} ${c}"}}]}]}"#;
    assert_eq!(house.post("/api/v1/actions", definition).await.status, 200);
    let ids = house.run("x", Duration::ZERO).await;
    house.device().assert_codes(&ids, &[200]);
    assert_eq!(house.target("bulb").requests()[0].body, "1.5 100.0 true");
}

// Ruling: FAULT-2.
#[tokio::test]
async fn a_reply_that_is_never_sent_advances_its_route() {
    for (effect, code) in [("hang", -3), ("bad_content_length", -20)] {
        let house = TestHouse::start(&format!(
            "http_targets: {{bulb: {{hosts: [bulb.local], routes: [{{path: /, replies: [{{status: 201}}, {{status: 202}}]}}]}}}}\n\
             faults: [{{id: once, at: {{target: bulb}}, when: {{first: 1}}, effect: {effect}}}]"
        ))
        .await;
        house
            .define(json!([{"id": "x", "requests": [{"http": {"url": "http://bulb.local/"}}]}]))
            .await;
        let (first, second) =
            (house.run("x", 6 * SECOND).await, house.run("x", Duration::ZERO).await);
        house.device().assert_codes(&first, &[code]);
        house.device().assert_codes(&second, &[202]);
    }
}

// Ruling: FAULT-3.
#[tokio::test]
async fn state_effects_accept_no_count_and_no_probability() {
    let house = TestHouse::start("slaves: {pump: {units: {1: {}}}}").await;
    for (at, effect) in
        [("slave", "refuse"), ("modbus", "refuse"), ("mqtt", "refuse"), ("meter", "no_data")]
    {
        let at = if at == "slave" { json!({"slave": "pump"}) } else { json!(at) };
        for when in [json!({"first": 1}), json!({"nth": 2}), json!({"probability": 0.5})] {
            let rule = json!({"id": "r", "at": at, "effect": effect, "when": when});
            let answer = house.control_send("POST", "faults", &rule).await;
            assert_eq!(answer.status, 400, "{rule}");
        }
        let rule = json!({"id": "r", "at": at, "effect": effect, "when": {"after": "1h"}});
        let answer = house.control_send("POST", "faults", &rule).await;
        assert!(answer.status < 300, "{rule}: {}", answer.body);
        house.control_send("DELETE", "faults/r", &Value::Null).await;
    }
}

// Ruling: MQTT-6.
#[cfg(feature = "mqtt")]
#[tokio::test]
async fn a_client_without_url_or_topic_is_accepted_and_idle() {
    let house = TestHouse::start("").await;
    let current = house.set("PUT", MQTT, &json!({"enable": true})).await;
    assert_eq!((&current["enable"], &current["url"]), (&json!(true), &json!("")));
    house.advance(120 * SECOND).await;
    let state = house.control_get("state").await["devices"][0]["mqtt"].clone();
    assert_eq!((&state["state"], &state["published"]), (&json!("off"), &json!(0)), "{state}");

    let broker = crate::mqtt_broker::broker().await.open;
    let yaml =
        format!("mqtt_brokers: {{lab: {{address: '{broker}', hosts: [broker.example.com]}}}}");
    let house = TestHouse::start(&yaml).await;
    let settings = json!({"enable": true, "url": "mqtt://broker.example.com",
        "client_id": "no-topic", "publish": {"template": "x"}});
    house.set("PUT", MQTT, &settings).await;
    house.advance(120 * SECOND).await;
    let published = |event: &Event| matches!(event, Event::MqttPublished { .. });
    assert!(!house.journal_entries().iter().any(|entry| published(&entry.event)));
}

// ---- the signal ----

// Ruling: SIGNAL-4.
#[test]
fn a_battery_starts_from_the_midnight_before_the_scenario() {
    let plan = SignalPlan {
        pv: Some(PvPlan::default()),
        battery: Some(BatteryPlan::default()),
        ..SignalPlan::default()
    };
    let start = |text: &str| Signal::new(&plan, 3, "d", text.parse().unwrap());
    let midnight = start("2026-06-15T00:00:00+02:00");
    let afternoon = start("2026-06-15T15:00:00+02:00");
    let hours = |hours| VirtualTime::ZERO.after(Duration::from_hours(hours));
    for hour in 0..24 {
        assert_eq!(
            midnight.powers_and_voltages(hours(15 + hour)),
            afternoon.powers_and_voltages(hours(hour)),
            "{hour}"
        );
    }
}

// Ruling: SIGNAL-8.
#[test]
fn an_appliance_may_run_twice_at_once() {
    let program = vec![ApplianceStep { watts: 1000.0, lasts: Duration::from_hours(2) }];
    let usage = UsagePattern::OnDemand { a_year: 5000.0, from_hour: 0, until_hour: 24 };
    let television = Appliance {
        name: "television".to_owned(),
        program,
        usage,
        placement: Placement::L1,
        power_factor: 1.0,
        capacitive: false,
    };
    let household = HouseholdPlan {
        annual_kwh: 10_000.0,
        appliances: vec![television],
        ..HouseholdPlan::default()
    };
    let plan = SignalPlan { household, ..SignalPlan::default() };
    let signal = Signal::new(&plan, 1, "d", "2026-01-15T00:00:00+01:00".parse().unwrap());
    let most = (0..48 * 12).map(|step| {
        signal.powers_and_voltages(VirtualTime::ZERO.after(Duration::from_mins(5 * step))).import()
    });
    let most = most.max().unwrap();
    assert!(most > 1_900_000, "{most} mW");
}

// ---- the state directory ----

// Ruling: STATE-3.
#[tokio::test]
async fn a_write_to_disk_that_fails_does_not_fail_the_request() {
    let folder = Folder::new();
    let house = state::start("", &folder).await.unwrap();
    house.set("PUT", SETTINGS, &json!({"system": {"name": "attic"}})).await;
    let own = folder.0.join("A842E39F8124");
    std::fs::rename(&own, folder.0.join("gone")).unwrap();
    // A file replaces the directory.
    std::fs::write(&own, "").unwrap();
    let body = json!({"system": {"name": "cellar"}});
    let current = house.set("PUT", SETTINGS, &body).await;
    assert_eq!(current["system"]["name"], "cellar");
    let is_not_written = |event: &Event| matches!(event, Event::StateWriteFailed { .. });
    assert!(
        house.journal_entries().iter().any(|entry| is_not_written(&entry.event)),
        "{:?}",
        house.journal_entries()
    );
}
