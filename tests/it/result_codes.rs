//! Every possible result code, provoked by a fault of the house's own slave or target. `peer_slaves`,
//! `peer_targets` and `action_client` test the bytes on the wire, and `builtin` reads the codes of a
//! scenario through the API.

use std::time::Duration;

use serde_json::json;
use wwsim::house::inject::{self, FaultRule};
use wwsim::journal::Event;

use crate::support::SECOND;
use crate::support::house::TestHouse;

/// The codes with which a Modbus request can fail.
const MODBUS: [i32; 28] = [
    -1, -2, -3, -4, -5, -7, -8, -9, -10, -11, -12, -13, -14, -15, -16, -17, -19, -101, -102, -103,
    -104, -105, -106, -107, -108, -109, -110, -111,
];

const HOUSE: &str = r#"
device:
  actions:
    actions:
      - {id: write, requests: [{modbus: {host: pump.local, unit_id: 1, func: 6, address: 10, type: short, value: "7", timeout: 1}}]}
      - {id: get, requests: [{http: {url: "http://bulb.local/light/0", timeout: 1}}]}
slaves:
  pump:
    hosts: [pump.local]
    units: {1: {holding: [{address: 10, type: short, value: 1}]}}
http_targets:
  bulb:
    hosts: [bulb.local]
    routes: [{path: /light/0, status: 200, body: on}]
"#;

/// Asserts that the fault makes the action end with this code.
async fn assert_provoked(house: &TestHouse, fault: FaultRule, action: &str, code: i32) {
    let fault = house.inject(fault);
    let ids = house.run(action, SECOND).await;
    house.device().assert_codes(&ids, &[code]);
    fault.assert_fired(1);
}

/// Asserts that the action ends with these codes. The clock stands still meanwhile.
async fn assert_ends(house: &TestHouse, action: &str, codes: &[i32]) {
    let ids = house.run(action, Duration::ZERO).await;
    house.device().assert_codes(&ids, codes);
}

#[tokio::test]
async fn a_healthy_house_ends_with_1_and_the_http_status() {
    let house = TestHouse::start(HOUSE).await;
    assert_ends(&house, "write", &[1]).await;
    assert_ends(&house, "get", &[200]).await;
}

#[tokio::test]
async fn a_rule_on_a_slave_provokes_each_modbus_code() {
    for code in MODBUS {
        let house = TestHouse::start(HOUSE).await;
        assert_provoked(&house, inject::slave("pump").result(code).unwrap(), "write", code).await;
    }
}

#[tokio::test]
async fn a_rule_on_an_action_provokes_each_modbus_code() {
    for code in MODBUS {
        let house = TestHouse::start(HOUSE).await;
        assert_provoked(&house, inject::action("write").result(code).unwrap(), "write", code).await;
    }
}

#[tokio::test]
async fn a_rule_on_a_target_or_action_provokes_each_http_code() {
    for code in [-3, -4, -7, -16, -17, -18, -19, -20, 201, 404, 500] {
        let house = TestHouse::start(HOUSE).await;
        let rule = json!({"id": "it", "at": {"target": "bulb"}, "effect": {"result": code}});
        house.add_fault(rule).await;
        let ids = house.run("get", SECOND).await;
        house.device().assert_codes(&ids, &[code]);
        assert_eq!(house.counts("it").1, 1, "result {code}");
        let house = TestHouse::start(HOUSE).await;
        assert_provoked(&house, inject::action("get").result(code).unwrap(), "get", code).await;
    }
}

#[tokio::test]
async fn http_failure_zero_reports_0_for_a_missing_response() {
    let scenario = HOUSE.replace("device:\n", "device:\n  http_failure: zero\n");
    let house = TestHouse::start(&scenario).await;
    house.add_fault(json!({"id": "it", "at": {"target": "bulb"}, "effect": {"result": -17}})).await;
    assert_ends(&house, "get", &[0]).await;
}

#[tokio::test]
async fn an_unknown_name_is_16_and_an_outside_address_is_17() {
    let house = TestHouse::start(HOUSE).await;
    house.define(json!([
        {"id": "name", "requests": [{"modbus": {"host": "nobody.local", "func": 6, "address": 1, "type": "short", "value": "1"}}]},
        {"id": "address", "requests": [{"modbus": {"host": "192.0.2.1", "func": 6, "address": 1, "type": "short", "value": "1"}}]},
        {"id": "web", "requests": [{"http": {"url": "http://nobody.local/"}}, {"http": {"url": "http://192.0.2.1/"}}]},
    ]))
    .await;
    assert_ends(&house, "name", &[-16]).await;
    assert_ends(&house, "address", &[-17]).await;
    assert_ends(&house, "web", &[-16, -17]).await;
    let mut entries = house.journal_entries();
    entries.retain(|entry| matches!(entry.event, Event::OutboundDenied { .. }));
    assert_eq!(entries.len(), 4, "{entries:?}");
}

#[tokio::test]
async fn a_rule_provokes_codes_of_requests_that_leave_the_house() {
    let house = TestHouse::start(HOUSE).await;
    let outside = json!({"modbus": {"host": "192.0.2.1", "func": 6, "address": 1, "type": "short", "value": "1"}});
    let web = json!({"http": {"url": "http://192.0.2.1/", "timeout": 1}});
    house
        .define(json!([{"id": "modbus", "requests": [outside]}, {"id": "web", "requests": [web]}]))
        .await;
    for (action, code) in
        [("modbus", -9), ("modbus", -102), ("modbus", -7), ("web", -3), ("web", 503), ("web", -20)]
    {
        assert_provoked(&house, inject::action(action).result(code).unwrap(), action, code).await;
    }
}

#[tokio::test]
async fn a_value_that_does_not_fit_fails_when_the_action_runs() {
    let house = TestHouse::start(HOUSE).await;
    let definition = json!({
        "const": {"large": 70000, "nothing": null},
        "actions": [
            {"id": "large", "requests": [{"modbus": {"host": "pump.local", "func": 6, "address": 10, "type": "short", "value": "${large}"}}]},
            {"id": "null", "requests": [{"modbus": {"host": "pump.local", "func": 6, "address": 10, "type": "short", "value": "${nothing}"}}]},
            {"id": "unknown", "requests": [{"http": {"url": "http://${who}/"}}]},
        ],
    });
    assert_eq!(house.post("/api/v1/actions", &definition.to_string()).await.status, 200);
    for action in ["large", "null", "unknown"] {
        assert_ends(&house, action, &[-1]).await;
    }
}

#[tokio::test]
async fn https_is_18_at_a_plain_target_and_works_at_a_tls_target() {
    let scenario = format!(
        "{HOUSE}  safe: {{hosts: [safe.local], tls: true, routes: [{{path: /, status: 204}}]}}\n"
    );
    let house = TestHouse::start(&scenario).await;
    house
        .define(json!([
            {"id": "plain", "requests": [{"http": {"url": "https://bulb.local/light/0"}}]},
            {"id": "safe", "requests": [{"http": {"url": "https://safe.local/"}}]},
        ]))
        .await;
    assert_ends(&house, "plain", &[-18]).await;
    assert_ends(&house, "safe", &[204]).await;
}
