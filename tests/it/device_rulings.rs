//! Rulings that no other test shows. `docs/device` has their text.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wwsim::clock::VirtualTime;
use wwsim::device::Device;
use wwsim::journal::Event;
use wwsim::meter::MeterStatus;
use wwsim::meter::signal::plan::{
    Appliance, ApplianceStep, BatteryPlan, HouseholdPlan, Placement, PvPlan, UsagePattern,
};
use wwsim::meter::signal::{Signal, SignalPlan};

use crate::harness::{TestHouse, exchange, http, within};
use crate::load::upload;
use crate::mqtt_settings::MQTT;
use crate::state::{self, Folder};

const SECOND: Duration = Duration::from_secs(1);
const SETTINGS: &str = "/api/v1/settings";
const METER: &str = "/api/v1/meter/settings";

fn device(twin: &TestHouse) -> &Device {
    twin.house.devices().next().unwrap()
}

async fn to_next_reading(twin: &TestHouse) {
    let next = device(twin).next_reading().unwrap();
    twin.advance(next.since(twin.house.clock().now())).await;
}

// ---- HTTP ----

/// Sends bytes and returns what comes back until the connection ends, in whatever way.
async fn reply_to(twin: &TestHouse, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(twin.device()).await.unwrap();
    // A server that has refused the beginning may not read the rest.
    let _ = stream.write_all(bytes).await;
    let mut reply = Vec::new();
    let _ = within(stream.read_to_end(&mut reply)).await;
    String::from_utf8(reply).unwrap()
}

// Ruling: HTTP-6.
#[tokio::test]
async fn invalid_http_gets_a_bare_reply() {
    let twin = TestHouse::start("").await;
    let many = "A: b\r\n".repeat(101);
    let long = "x".repeat(16 * 1024);
    for (head, status) in [
        ("no request at all\r\n\r\n".to_owned(), "HTTP/1.1 400 "),
        (format!("GET / HTTP/1.1\r\nHost: x\r\n{many}\r\n"), "HTTP/1.1 431 "),
        (format!("GET / HTTP/1.1\r\nHost: x\r\nA: {long}\r\n\r\n"), "HTTP/1.1 431 "),
    ] {
        let reply = reply_to(&twin, head.as_bytes()).await;
        assert!(reply.starts_with(status), "{reply}");
        assert!(!reply.contains("nosniff") && reply.ends_with("\r\n\r\n"), "{reply}");
    }
    assert_eq!(reply_to(&twin, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await, "");
}

// Ruling: HTTP-7.
#[tokio::test]
async fn a_client_that_closes_its_sending_side_gets_no_reply() {
    let twin = TestHouse::start("faults: [{id: slow, at: api, effect: {delay: 5s}}]").await;
    let mut stream = TcpStream::connect(twin.device()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut reply = Vec::new();
    // The clock stands still, so the delay is not over.
    let _ = within(stream.read_to_end(&mut reply)).await;
    assert!(reply.is_empty(), "{}", String::from_utf8_lossy(&reply));
}

// Ruling: HTTP-10.
#[tokio::test]
async fn whole_numbers_go_by_their_value_and_lengths_by_characters() {
    let twin = TestHouse::start("").await;
    let frequency = |value: Value| json!({"services": {"sd": {"frequency": value}}});
    let shown = twin.set("PUT", SETTINGS, &frequency(json!(20.0))).await;
    assert_eq!(shown["services"]["sd"]["frequency"], 20);
    for wrong in [json!(20.5), Value::Null] {
        let field = twin.refused("PUT", SETTINGS, &frequency(wrong).to_string()).await;
        assert_eq!(field, "services.sd.frequency");
    }
    let name = |length: usize| json!({"system": {"name": "é".repeat(length)}});
    twin.set("PUT", SETTINGS, &name(31)).await;
    assert_eq!(twin.refused("PUT", SETTINGS, &name(32).to_string()).await, "system.name");
}

// ---- settings ----

// Ruling: SETTING-4.
#[tokio::test]
async fn a_write_is_refused_for_its_first_mistake() {
    let twin = TestHouse::start("").await;
    for (body, field) in [
        (r#"{"services":{"sd":{"frequency":0}},"system":{"name":1}}"#, "services.sd.frequency"),
        (r#"{"system":{"name":1},"services":{"sd":{"frequency":0}}}"#, "system.name"),
    ] {
        for method in ["PUT", "POST"] {
            assert_eq!(twin.refused(method, SETTINGS, body).await, field, "{method}");
        }
    }
}

// Ruling: SETTING-10.
#[tokio::test]
async fn the_conversion_factor_has_six_decimal_places() {
    let twin = TestHouse::start("").await;
    let shown = twin.set("PUT", METER, &json!({"conv_factor": 1.234_567_89})).await;
    assert_eq!(shown["conv_factor"].to_string(), "1.234568");
}

// Ruling: SETTING-14.
#[tokio::test]
async fn a_device_name_may_hold_any_character() {
    let twin = TestHouse::start("").await;
    let name = "Käfer \"2\"\n\u{1}${sys.id}";
    twin.set("PUT", SETTINGS, &json!({"system": {"name": name}})).await;
    assert_eq!(twin.get("/api/v1/system").await.json()["device"]["name"], name);
    let rendered = twin.post("/api/v1/template/test", "<${sys.name}>").await;
    assert_eq!(rendered.body, format!("<{name}>"));
}

// ---- system and firmware ----

// Ruling: SYSTEM-1.
#[tokio::test]
async fn the_build_follows_the_firmware_and_the_activation_date_is_fixed() {
    let shown = async |firmware: &str| {
        let twin = TestHouse::start(&format!("device: {{firmware: {firmware}}}")).await;
        let shown = twin.get("/api/v1/system").await.json()["device"].clone();
        (shown["build"].as_str().unwrap().to_owned(), shown["license"].clone())
    };
    let (build, license) = shown("2.0.2").await;
    assert_eq!(license["activation_date"], "2025-01-15T09:00:00Z");
    assert_eq!(shown("2.0.2").await.0, build);
    assert_ne!(shown("2.0.1").await.0, build);
}

// Ruling: SYSTEM-4.
#[tokio::test]
async fn an_unknown_meter_has_no_interface_and_empty_texts() {
    let twin = TestHouse::start("").await;
    let meter = twin.get("/api/v1/system").await.json()["meter"].clone();
    assert_eq!((&meter["interface"], &meter["report_interval"]), (&json!("NONE"), &json!(0)));
    for text in
        ["id", "manufacturer", "type", "model", "protocol", "protocol_version", "date", "time"]
    {
        assert_eq!(meter[text], "", "{text}");
    }
    assert_eq!(meter.get("tariff"), None);
    twin.advance(30 * SECOND).await;
    assert_eq!(twin.get("/api/v1/system").await.json()["meter"]["interface"], "TTL");
}

// Ruling: FIRMWARE-3.
#[tokio::test]
async fn what_a_firmware_lacks_is_there_after_an_upload() {
    let twin = TestHouse::start(
        "device: {firmware: 1.2.15, images: [{name: new.bin, firmware: 2.0.2}], script: print(1), \
         actions: {actions: [{id: a, requests: [{http: {url: 'http://bulb.local/'}}]}]}, \
         modbus_map: [{start_address: 7, registers: [{id: 1.8.0}]}]}",
    )
    .await;
    let paths = ["/api/v1/actions", "/api/v1/berry", "/api/v1/modbus"];
    for path in paths {
        assert_eq!(twin.get(path).await.status, 404, "{path}");
    }
    assert_eq!(upload(&twin, "new.bin", b"image").await.status, 200);
    twin.advance(10 * SECOND).await;
    for (path, part) in paths.into_iter().zip(["bulb.local", "print(1)", "\"start_address\":7"]) {
        let answer = twin.get(path).await;
        assert!(answer.status == 200 && answer.body.contains(part), "{path}: {}", answer.body);
    }
}

// Ruling: POWER-2.
#[tokio::test]
async fn a_factory_reset_leaves_the_card_alone() {
    let twin = TestHouse::start("device: {sd_card: {files: {NIHAO.TXT: ni hao}}}").await;
    assert_eq!(twin.post("/api/v1/restore", "").await.status, 204);
    twin.advance(10 * SECOND).await;
    assert_eq!(twin.get("/sdcard/NIHAO.TXT").await.body, "ni hao");
}

// ---- network ----

// Ruling: NETWORK-4.
#[tokio::test]
async fn the_signal_of_a_network_is_a_line_over_its_rssi() {
    let networks = (0..8).map(|n| format!("{{ssid: n{n}, rssi: {}}}", -25 - 12 * n));
    let networks = networks.collect::<Vec<_>>().join(", ");
    let twin = TestHouse::start(&format!("device: {{networks: [{networks}]}}")).await;
    let to = twin.device();
    let asked = tokio::spawn(async move { http(to, "GET", "/api/v1/wifi/scan", "").await });
    within(async {
        while !asked.is_finished() {
            twin.advance(SECOND / 10).await;
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
async fn a_meter_is_recognized_before_its_first_reading() {
    for (kind, recognition, longest) in
        [("kamstrup", 3.0, 4.3), ("landis_gyr", 3.0, 6.9), ("ensor", 1.5, 1.1)]
    {
        let twin = TestHouse::start(&format!("meter: {{kind: {kind}}}")).await;
        let mut seen = vec![device(&twin).snapshot().meter.status];
        while !seen.contains(&MeterStatus::Ok) {
            twin.advance(SECOND / 100).await;
            seen.push(device(&twin).snapshot().meter.status);
        }
        seen.dedup();
        let others = seen.iter().filter(|status| **status != MeterStatus::Recognition);
        assert!(others.eq(&[MeterStatus::NoData, MeterStatus::Ok]), "{kind}: {seen:?}");
        if kind == "ensor" {
            assert_eq!(seen.len(), 3, "a telegram comes while it is recognized");
        }
        let read = twin.house.clock().now().since_start().as_secs_f64();
        assert!((recognition..recognition + longest).contains(&read), "{kind}: {read}");
        let reading = device(&twin).snapshot().meter.reading.unwrap();
        let interval = reading.interval.as_secs_f64();
        assert_eq!(reading.id, 1, "{kind}");
        assert!(interval > 0.9 && interval < longest, "{kind}: {interval}");
    }
}

// Ruling: METER-14.
#[tokio::test]
async fn a_key_does_not_matter_to_a_meter_that_sends_in_the_clear() {
    let twin = TestHouse::start(
        "device: {meter_settings: {encryption: true, encryption_key: '00112233445566778899AABBCCDDEEFF'}}",
    )
    .await;
    twin.advance(30 * SECOND).await;
    assert_eq!(device(&twin).snapshot().meter.status, MeterStatus::Ok);
}

// Ruling: METER-15.
#[tokio::test]
async fn a_fault_takes_effect_after_the_reading_of_its_moment() {
    let twin = TestHouse::start("").await;
    twin.advance(30 * SECOND).await;
    let id = || device(&twin).snapshot().meter.reading.unwrap().id;
    let before = id();
    to_next_reading(&twin).await;
    twin.add_fault(json!({"id": "out", "at": "meter", "effect": "no_data"})).await;
    assert_eq!(device(&twin).snapshot().meter.status, MeterStatus::NoData);
    twin.advance(60 * SECOND).await;
    assert_eq!(id(), before + 1, "the reading that came at the moment of the fault");
}

// Ruling: METER-17.
#[tokio::test]
async fn a_counter_without_tariffs_starts_in_tariff_1() {
    for (start, expected) in [("100", [100.0, 100.0, 0.0]), ("[30, 70]", [100.0, 30.0, 70.0])] {
        let twin = TestHouse::start(&format!(
            "meter: {{kind: ensor, household: {{annual_kwh: 0}}, start: {{import: {start}}}}}"
        ))
        .await;
        twin.advance(30 * SECOND).await;
        let report = twin.get("/api/v1/report").await.json();
        let energy = &report["report"]["energy"]["active"]["positive"];
        let shown = ["total", "t1", "t2"].map(|register| energy[register].as_f64().unwrap());
        assert_eq!(shown.map(f64::to_bits), expected.map(f64::to_bits), "{energy}");
    }
}

// Ruling: MODBUS-19, VARIABLE-2.
#[tokio::test]
async fn a_clock_before_1970_is_negative_in_registers_and_0_in_variables() {
    let twin = TestHouse::start(
        "device: {meter_settings: {time_offset: -2147483648}, settings: {services: {modbus: {enable: true}}}, \
         modbus_map: [{start_address: 0, registers: [{id: report.timestamp, type: int}]}]}",
    )
    .await;
    twin.advance(30 * SECOND).await;
    assert_eq!(twin.variable("timestamp").await.as_deref(), Some("0"));
    let modbus = twin.house.addresses().devices[0].modbus;
    // Bytes that are no frame end the connection after the reply.
    let reply = exchange(modbus, b"\0\x01\0\0\0\x06\x01\x04\0\0\0\x02GET / HTTP/1.1\r\n\r\n").await;
    let seconds = i32::from_be_bytes(reply[9..13].try_into().unwrap());
    let snapshot = device(&twin).snapshot();
    assert!(seconds < 0, "{seconds}");
    assert_eq!(i64::from(seconds), snapshot.meter_time().unwrap().timestamp().as_second());
}

// ---- actions, faults, MQTT ----

// Ruling: ACTION-10.
#[tokio::test]
async fn a_number_expands_as_json_writes_its_value() {
    let twin = TestHouse::start("http_targets: {bulb: {hosts: [bulb.local]}}").await;
    let definition = r#"{"const": {"a": 1.50, "b": 1E2, "c": true}, "actions": [{"id": "x", "requests": [
        {"http": {"url": "http://bulb.local/", "method": "POST", "payload": "${a} ${b} ${c}"}}]}]}"#;
    assert_eq!(twin.post("/api/v1/actions", definition).await.status, 200);
    assert_eq!(twin.codes("x").await, [200]);
    let received = twin.control_get("targets/bulb/requests").await;
    assert!(received.to_string().contains("\"1.5 100.0 true\""), "{received}");
}

// Ruling: FAULT-2.
#[tokio::test]
async fn an_answer_that_never_comes_moves_its_route_on() {
    for (effect, code) in [("hang", -3), ("bad_content_length", -20)] {
        let twin = TestHouse::start(&format!(
            "http_targets: {{bulb: {{hosts: [bulb.local], routes: [{{path: /, replies: [{{status: 201}}, {{status: 202}}]}}]}}}}\n\
             faults: [{{id: once, at: {{target: bulb}}, when: {{first: 1}}, effect: {effect}}}]"
        ))
        .await;
        twin.define(json!([{"id": "x", "requests": [{"http": {"url": "http://bulb.local/"}}]}]))
            .await;
        assert_eq!(twin.codes_after("x", 6 * SECOND).await, [code], "{effect}");
        assert_eq!(twin.codes("x").await, [202], "{effect}");
    }
}

// Ruling: FAULT-3.
#[tokio::test]
async fn states_take_no_count_and_no_probability() {
    let twin = TestHouse::start("slaves: {pump: {units: {1: {}}}}").await;
    for (at, effect) in
        [("slave", "refuse"), ("modbus", "refuse"), ("mqtt", "refuse"), ("meter", "no_data")]
    {
        let at = if at == "slave" { json!({"slave": "pump"}) } else { json!(at) };
        for when in [json!({"first": 1}), json!({"nth": 2}), json!({"probability": 0.5})] {
            let rule = json!({"id": "r", "at": at, "effect": effect, "when": when});
            let answer = twin.control_send("POST", "faults", &rule).await;
            assert_eq!(answer.status, 400, "{rule}");
        }
        let rule = json!({"id": "r", "at": at, "effect": effect, "when": {"after": "1h"}});
        let answer = twin.control_send("POST", "faults", &rule).await;
        assert!(answer.status < 300, "{rule}: {}", answer.body);
        twin.control_send("DELETE", "faults/r", &Value::Null).await;
    }
}

// Ruling: MQTT-6.
#[cfg(feature = "mqtt")]
#[tokio::test]
async fn a_client_without_url_or_topic_is_taken_and_does_nothing() {
    let twin = TestHouse::start("").await;
    let shown = twin.set("PUT", MQTT, &json!({"enable": true})).await;
    assert_eq!((&shown["enable"], &shown["url"]), (&json!(true), &json!("")));
    twin.advance(120 * SECOND).await;
    let state = twin.control_get("state").await["devices"][0]["mqtt"].clone();
    assert_eq!((&state["state"], &state["published"]), (&json!("off"), &json!(0)), "{state}");

    let broker = crate::mqtt_broker::broker().await.open;
    let yaml =
        format!("mqtt_brokers: {{lab: {{address: '{broker}', hosts: [broker.example.com]}}}}");
    let twin = TestHouse::start(&yaml).await;
    let settings = json!({"enable": true, "url": "mqtt://broker.example.com",
        "client_id": "no-topic", "publish": {"template": "x"}});
    twin.set("PUT", MQTT, &settings).await;
    twin.advance(120 * SECOND).await;
    let published = |event: &Event| matches!(event, Event::MqttPublished { .. });
    assert!(!twin.journal().iter().any(|entry| published(&entry.event)));
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
        assert_eq!(midnight.powers(hours(15 + hour)), afternoon.powers(hours(hour)), "{hour}");
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
    let most = (0..48 * 12)
        .map(|step| signal.powers(VirtualTime::ZERO.after(Duration::from_mins(5 * step))).import());
    let most = most.max().unwrap();
    assert!(most > 1_900_000, "{most} mW");
}

// ---- the state directory ----

// Ruling: STATE-3.
#[tokio::test]
async fn a_write_to_disk_that_fails_does_not_fail_the_request() {
    let folder = Folder::new();
    let twin = state::start("", &folder).await.unwrap();
    twin.set("PUT", SETTINGS, &json!({"system": {"name": "attic"}})).await;
    let own = folder.0.join("A842E39F8124");
    std::fs::rename(&own, folder.0.join("gone")).unwrap();
    // A file where the directory was.
    std::fs::write(&own, "").unwrap();
    let body = json!({"system": {"name": "cellar"}});
    let shown = twin.set("PUT", SETTINGS, &body).await;
    assert_eq!(shown["system"]["name"], "cellar");
    let told = |event: &Event| matches!(event, Event::StateNotWritten { .. });
    assert!(twin.journal().iter().any(|entry| told(&entry.event)), "{:?}", twin.journal());
}
