//! The admission of calls through the API: every refusal, and racing calls.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use wwsim::house::inject;
use wwsim::journal::Event;

use crate::support::SECOND;
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
    test.advance(2 * SECOND).await;
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
        let ids = test.run("many", Duration::from_millis(millis - 1)).await;
        assert_eq!(test.device().status(&ids)[6].code, -1, "{device}");
        test.advance(Duration::from_millis(1)).await;
        test.device().assert_codes(&ids, &[200; 7]);
        assert_eq!(test.device().status(&ids)[6].exe_time, 2 * SECOND, "{device}");
    }
}

// Ruling: ACTION-18.
#[tokio::test]
async fn the_newest_forty_statuses_are_available() {
    let test = TestHouse::start(&scenario("  license: pro")).await;
    let device = test.device();
    let _hold = test.inject(inject::action("a29").hold(Duration::from_hours(1)));
    let running = device.call("a29").unwrap();
    for n in 0..41 {
        let ids = test.run(&format!("a{}", n % 20), 2 * SECOND).await;
        device.assert_codes(&ids, &[200]);
    }
    assert_eq!(device.status(&running)[0].code, -1, "a request in progress is never removed");
    assert_eq!(test.get("/api/v1/actions/status?id=2").await.status, 404);
    let ids: Vec<u64> = device.status(&[2, 3, 4, 42]).iter().map(|entry| entry.id).collect();
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
    test.advance(2 * SECOND).await;
    let all: Vec<u64> = (1..=20).collect();
    test.device().assert_codes(&all, &[200; 20]);
    let mut finished = test.journal_entries();
    finished.retain(|entry| matches!(entry.event, Event::RequestFinished { .. }));
    assert_eq!(finished.len(), 20, "each id ends once");
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
    let _off = test.inject(inject::action("a0").disable());
    assert_eq!(test.call("a0").await.status, 400);
    let hold = test.inject(inject::action("a1").hold(Duration::from_hours(2)));
    let ids = test.run("a1", Duration::from_hours(1)).await;
    assert_eq!(test.call("a1").await.status, 409);
    assert_eq!(hold.release(), 1);
    test.advance(2 * SECOND).await;
    test.device().assert_codes(&ids, &[200]);
}

// Ruling: ACTION-16.
#[tokio::test]
async fn a_new_definition_does_not_affect_requests_in_progress() {
    let test = TestHouse::start(&scenario("  license: plus")).await;
    let ids = test.device().call("a0").unwrap();
    test.define(json!([{"id": "a0", "requests": [{"http": {"url": "http://slow.local/new"}}]}]))
        .await;
    assert_eq!(test.call("a0").await.status, 409, "409 follows the action's id");
    test.advance(2 * SECOND).await;
    test.device().assert_codes(&ids, &[200]);
    test.target("slow").assert_requests(&["GET /0"]);
}
