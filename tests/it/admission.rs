//! The admission of calls through the API: every refusal, and racing calls.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::support::house::TestHouse;

/// Returns a scenario whose target answers after two seconds, with the actions `a0`…`a29` of one request
/// each, and a few special ones.
fn scenario(device: &str) -> String {
    let mut actions = String::new();
    for n in 0..30 {
        writeln!(
            actions,
            "      - {{id: a{n}, requests: [{{http: {{url: 'http://slow.local/{n}'}}}}]}}"
        )
        .unwrap();
    }
    let many = r"{http: {url: 'http://slow.local/many'}}, ".repeat(7);
    format!(
        r"
device:
{device}
  actions:
    actions:
{actions}
      - {{id: many, requests: [{many}]}}
      - {{id: off, enable: false, requests: [{{http: {{url: 'http://slow.local/'}}}}]}}
      - {{id: none, requests: [{{http: {{enable: false, url: 'http://slow.local/'}}}}]}}
      - {{id: empty, requests: []}}
http_targets:
  slow: {{hosts: [slow.local], routes: [{{path: /*, status: 200, latency: 2s}}]}}
"
    )
}

#[tokio::test]
async fn the_checks_come_in_the_documented_order() {
    let test = TestHouse::start(&scenario("  license: plus")).await;
    assert_eq!(test.post("/api/v1/actions/call", "").await.status, 400);
    assert_eq!(test.post("/api/v1/actions/call?id=", "").await.status, 400);
    assert_eq!(test.call("nobody").await.status, 404);
    for disabled in ["off", "none", "empty"] {
        assert_eq!(test.call(disabled).await.status, 400, "{disabled}");
    }
    assert_eq!(test.call("a0").await.status, 202);
    assert_eq!(test.call("a0").await.status, 409);
    for n in 1..20 {
        assert_eq!(test.call(&format!("a{n}")).await.status, 202, "a{n}");
    }
    assert_eq!(test.call("a20").await.status, 429);
    assert_eq!(test.call("a1").await.status, 409, "409 is checked before 429");
    assert_eq!(test.call("off").await.status, 400, "400 is checked before 429");
    test.advance(Duration::from_secs(2)).await;
    assert_eq!(test.call("a20").await.status, 202);
}

// Ruling: ACTION-13.
#[tokio::test]
async fn a_call_that_does_not_fit_is_cut_or_refused() {
    for (device, expected) in [("  admission: fit", 202), ("  admission: all", 429)] {
        let test = TestHouse::start(&scenario(device)).await;
        for n in 0..17 {
            assert_eq!(test.call(&format!("a{n}")).await.status, 202);
        }
        let answer = test.call("many").await;
        assert_eq!(answer.status, expected, "{device}");
        if expected == 202 {
            assert_eq!(answer.header("Location"), Some("/api/v1/actions/status?id=18,19,20"));
        }
    }
}

#[tokio::test]
async fn the_rest_route_names_the_ids_in_its_body() {
    let test = TestHouse::start(&scenario("  call_route: rest\n  first_status_id: 139")).await;
    let answer = test.call("many").await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.header("Location"), None);
    assert_eq!(answer.json(), json!({"status_ids": [139, 140, 141, 142, 143, 144, 145]}));
}

// Ruling: ACTION-17.
#[tokio::test]
async fn requests_run_sequentially_or_in_parallel() {
    for (device, millis) in [("  execution: sequential", 14_000), ("  execution: parallel", 2000)] {
        let test = TestHouse::start(&scenario(device)).await;
        let ids = test.ids("many").await;
        test.advance(Duration::from_millis(millis - 1)).await;
        let last = test.status("7").await;
        assert_eq!(last[0]["code"], -1, "{device}");
        test.advance(Duration::from_millis(1)).await;
        assert_eq!(test.final_codes(&ids).await, [200; 7], "{device}");
        assert_eq!(test.status("7").await[0]["exe_time"], 2, "{device}");
    }
}

// Ruling: ACTION-18.
#[tokio::test]
async fn the_newest_forty_statuses_are_available() {
    let test = TestHouse::start(&scenario("  license: pro")).await;
    test.add_fault(json!({"id": "hold", "at": {"action": "a29"}, "effect": "hold"})).await;
    let running = test.ids("a29").await;
    for n in 0..41 {
        test.codes_after(&format!("a{}", n % 20), Duration::from_secs(2)).await;
    }
    assert_eq!(
        test.status(&running).await[0]["code"],
        -1,
        "a request in progress is never removed"
    );
    assert_eq!(test.get("/api/v1/actions/status?id=2").await.status, 404);
    let entries = test.status("2,3,4,42").await;
    let ids: Vec<_> = entries.as_array().unwrap().iter().map(|entry| entry["id"].clone()).collect();
    assert_eq!(ids, [4, 42], "the newest 40 of 41 requests and the running one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn racing_calls_stay_within_twenty_and_run_no_action_twice() {
    let test = Arc::new(TestHouse::start(&scenario("  license: plus")).await);
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..1000 {
        let test = Arc::clone(&test);
        calls.spawn(async move { (n % 30, test.call(&format!("a{}", n % 30)).await) });
    }
    let mut statuses: HashMap<u16, usize> = HashMap::new();
    let (mut actions, mut ids) = (HashSet::new(), HashSet::new());
    while let Some(call) = calls.join_next().await {
        let (action, answer) = call.unwrap();
        *statuses.entry(answer.status).or_default() += 1;
        if answer.status == 202 {
            assert!(actions.insert(action), "a{action} runs twice");
            assert!(
                ids.insert(answer.header("Location").unwrap().to_owned()),
                "an id given out twice"
            );
        }
    }
    assert_eq!(statuses[&202], 20, "{statuses:?}");
    assert_eq!(statuses[&409] + statuses[&429], 980, "{statuses:?}");
    test.advance(Duration::from_secs(2)).await;
    let all = (1..=20).map(|id| id.to_string()).collect::<Vec<_>>().join(",");
    assert_eq!(test.final_codes(&all).await, [200; 20]);
    let finished = test.control_get("journal?event=request_finished").await;
    assert_eq!(finished["entries"].as_array().unwrap().len(), 20, "each id ends once");
}

#[tokio::test]
async fn queue_rules_refuse_calls_with_429() {
    for effect in [json!({"occupy": 20}), json!({"limit": 0})] {
        let test = TestHouse::start(&scenario("  license: plus")).await;
        test.add_fault(json!({"id": "full", "at": "queue", "effect": effect})).await;
        assert_eq!(test.call("a0").await.status, 429, "{effect}");
        test.control_send("DELETE", "faults/full", &json!(null)).await;
        assert_eq!(test.call("a0").await.status, 202);
    }
}

#[tokio::test]
async fn a_disabled_action_is_400_and_a_held_one_409() {
    let test = TestHouse::start(&scenario("  license: plus")).await;
    test.add_fault(json!({"id": "off", "at": {"action": "a0"}, "effect": "disable"})).await;
    assert_eq!(test.call("a0").await.status, 400);
    test.add_fault(json!({"id": "hold", "at": {"action": "a1"}, "effect": "hold"})).await;
    let ids = test.ids("a1").await;
    test.advance(Duration::from_hours(1)).await;
    assert_eq!(test.call("a1").await.status, 409);
    assert_eq!(test.control_get("faults/hold").await["holding"], 1);
    test.control_send("PATCH", "faults/hold", &json!({"release": true})).await;
    test.advance(Duration::from_secs(2)).await;
    assert_eq!(test.final_codes(&ids).await, [200]);
}

// Ruling: ACTION-16.
#[tokio::test]
async fn a_new_definition_does_not_affect_requests_in_progress() {
    let test = TestHouse::start(&scenario("  license: plus")).await;
    let ids = test.ids("a0").await;
    test.define(json!([{"id": "a0", "requests": [{"http": {"url": "http://slow.local/new"}}]}]))
        .await;
    assert_eq!(test.call("a0").await.status, 409, "409 follows the action's id");
    test.advance(Duration::from_secs(2)).await;
    assert_eq!(test.final_codes(&ids).await, [200]);
    let requests = test.control_get("targets/slow/requests").await;
    assert_eq!(requests["requests"][0]["path"], "/0", "{requests}");
}
