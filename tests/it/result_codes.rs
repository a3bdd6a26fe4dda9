//! Every possible result code, provoked by a rule on the house's own slave or target and read back
//! through the status endpoint. `peer_slaves`, `peer_targets` and `action_client` test the bytes on the
//! wire; this module tests the whole way.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::house::TestHouse;

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

/// Provokes `code` with a rule at `at`. Returns the final codes and the number of times the rule
/// fired.
async fn provoked(at: Value, action: &str, code: i64) -> (Vec<i64>, u64) {
    let house = TestHouse::start(HOUSE).await;
    house.add_fault(json!({"id": "it", "at": at, "effect": {"result": code}})).await;
    let ids = house.ids(action).await;
    house.advance(Duration::from_secs(1)).await;
    (house.final_codes(&ids).await, house.counts("it").await.1)
}

#[tokio::test]
async fn a_healthy_house_ends_with_1_and_the_http_status() {
    let house = TestHouse::start(HOUSE).await;
    assert_eq!(house.codes("write").await, [1]);
    assert_eq!(house.codes("get").await, [200]);
}

#[tokio::test]
async fn a_rule_on_a_slave_provokes_each_modbus_code() {
    let codes = [-1, -2, -3, -4, -5, -7, -8, -9, -10, -11, -12, -13, -14, -15, -16, -17, -19];
    for code in codes.into_iter().chain(-111..=-101) {
        let (codes, fired) = provoked(json!({"slave": "pump"}), "write", code).await;
        assert_eq!((codes, fired), (vec![code], 1), "result {code}");
    }
}

#[tokio::test]
async fn a_rule_on_an_action_provokes_each_modbus_code() {
    let codes = [-1, -2, -3, -4, -5, -7, -8, -9, -10, -11, -12, -13, -14, -15, -16, -17, -19];
    for code in codes.into_iter().chain(-111..=-101) {
        let (codes, fired) = provoked(json!({"action": "write"}), "write", code).await;
        assert_eq!((codes, fired), (vec![code], 1), "result {code}");
    }
}

#[tokio::test]
async fn a_rule_on_a_target_or_action_provokes_each_http_code() {
    for code in [-3, -4, -7, -16, -17, -18, -19, -20, 201, 404, 500] {
        for at in [json!({"target": "bulb"}), json!({"action": "get"})] {
            let (codes, fired) = provoked(at.clone(), "get", code).await;
            assert_eq!((codes, fired), (vec![code], 1), "result {code} at {at}");
        }
    }
}

#[tokio::test]
async fn http_failure_zero_reports_0_for_a_missing_response() {
    let scenario = HOUSE.replace("device:\n", "device:\n  http_failure: zero\n");
    let house = TestHouse::start(&scenario).await;
    house.add_fault(json!({"id": "it", "at": {"target": "bulb"}, "effect": {"result": -17}})).await;
    assert_eq!(house.codes("get").await, [0]);
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
    assert_eq!(house.codes("name").await, [-16]);
    assert_eq!(house.codes("address").await, [-17]);
    assert_eq!(house.codes("web").await, [-16, -17]);
    let denied = house.control_get("journal?event=outbound_denied").await;
    assert_eq!(denied["entries"].as_array().unwrap().len(), 4, "{denied}");
}

#[tokio::test]
async fn a_rule_provokes_codes_of_requests_that_leave_the_house() {
    let house = TestHouse::start(HOUSE).await;
    let outside = json!({"modbus": {"host": "192.0.2.1", "func": 6, "address": 1, "type": "short", "value": "1"}});
    let web = json!({"http": {"url": "http://192.0.2.1/", "timeout": 2}});
    house
        .define(json!([{"id": "modbus", "requests": [outside]}, {"id": "web", "requests": [web]}]))
        .await;
    for (action, code) in
        [("modbus", -9), ("modbus", -102), ("modbus", -7), ("web", -3), ("web", 503), ("web", -20)]
    {
        let rule = json!({"id": "it", "at": {"action": action}, "effect": {"result": code}});
        house.add_fault(rule).await;
        assert_eq!(house.codes_after(action, Duration::from_secs(5)).await, [code], "{action}");
        assert_eq!(house.counts("it").await.1, 1, "{action} {code}");
        house.control_send("DELETE", "faults/it", &Value::Null).await;
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
        assert_eq!(house.codes(action).await, [-1], "{action}");
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
    assert_eq!(house.codes("plain").await, [-18]);
    assert_eq!(house.codes("safe").await, [204]);
}
