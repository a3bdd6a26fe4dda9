//! What each built-in house is for, shown by doing it.

use std::time::Duration;

use serde_json::Value;
use wwsim::clock::Speed;
use wwsim::house::House;
use wwsim::scenario;

use crate::harness::Twin;

/// A built-in house on free ports and a manual clock.
async fn house(name: &str) -> Twin {
    let mut scenario = scenario::builtin(name).unwrap().load().unwrap();
    scenario.any_port();
    scenario.speed = Speed::Manual;
    Twin { house: House::start(scenario).await.unwrap() }
}

/// The ids of a house's actions.
async fn actions(twin: &Twin) -> Vec<String> {
    let definition = twin.get("/api/v1/actions").await.json();
    let actions = definition["actions"].as_array().unwrap();
    actions.iter().map(|action| action["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn default_serves_every_line_of_the_action_page() {
    let twin = house("default").await;
    let ids = twin.ids("1").await;
    assert_eq!(twin.call("1").await.status, 409, "action 1 is slow enough to show it");
    assert_eq!(twin.call("nonexistent").await.status, 404);
    assert_eq!(twin.call("disabled_action").await.status, 400);
    let toggle = twin.ids("light_toggle").await;
    let write = twin.ids("modbus_write").await;
    twin.advance(Duration::from_secs(10)).await;
    for ids in [ids, toggle] {
        assert!(twin.final_codes(&ids).await.iter().all(|code| (200..300).contains(code)));
    }
    assert_eq!(twin.final_codes(&write).await, [1]);
}

#[tokio::test]
async fn default_runs_a_definition_as_on_the_vendors_page() {
    let twin = house("default").await;
    let definition = include_str!("../../fixtures/actions/page.json");
    assert_eq!(twin.post("/api/v1/actions", definition).await.status, 200);
    for (action, expected) in
        [("1", vec![200, 200]), ("2", vec![200]), ("3", vec![200]), ("4", vec![1])]
    {
        assert_eq!(
            twin.codes_after(action, Duration::from_secs(10)).await,
            expected,
            "action {action}"
        );
    }
}

#[tokio::test]
async fn disabled_actions_are_refused_until_the_rule_is_disarmed() {
    let twin = house("disabled-actions").await;
    let mut refused = 0;
    for action in actions(&twin).await {
        refused += usize::from(twin.call(&action).await.status == 400);
    }
    assert!(refused > 0, "nothing is disabled");
}

#[tokio::test]
async fn slow_slaves_are_slow() {
    let twin = house("slow-slaves").await;
    let mut slowest = 0.0_f64;
    for action in actions(&twin).await {
        let ids = twin.ids(&action).await;
        twin.advance(Duration::from_mins(1)).await;
        let status = twin.status(&ids).await;
        for entry in status.as_array().unwrap() {
            slowest = slowest.max(entry["exe_time"].as_f64().unwrap());
        }
    }
    assert!(slowest >= 0.5, "the slowest took {slowest} s");
}

#[tokio::test]
async fn queue_saturation_gives_429() {
    let twin = house("queue-saturation").await;
    let mut statuses = Vec::new();
    for action in actions(&twin).await {
        statuses.push(twin.call(&action).await.status);
    }
    assert!(statuses.contains(&429), "{statuses:?}");
}

#[tokio::test]
async fn flaky_modbus_fails_now_and_then() {
    let twin = house("flaky-modbus").await;
    let mut codes = Vec::new();
    for _ in 0..10 {
        for action in actions(&twin).await {
            codes.extend(twin.codes_after(&action, Duration::from_secs(30)).await);
        }
    }
    assert!(codes.contains(&1), "{codes:?}");
    assert!(codes.iter().any(|code| *code < 0), "{codes:?}");
}

#[tokio::test]
async fn every_result_code_gives_every_code_that_can_happen() {
    let twin = house("every-result-code").await;
    let mut seen = std::collections::BTreeSet::new();
    for action in actions(&twin).await {
        seen.extend(twin.codes_after(&action, Duration::from_secs(30)).await);
    }
    let modbus = [1, -1, -2, -3, -4, -5, -7, -8, -9, -10, -11, -12, -13, -14, -15, -16, -17, -19];
    let expected = modbus.into_iter().chain(-111..=-101).chain([-18, -20, 200]);
    let missing: Vec<i64> = expected.filter(|code| !seen.contains(code)).collect();
    assert_eq!(missing, [0; 0], "seen: {seen:?}");
    let rules = twin.control_get("faults").await;
    let idle: Vec<&Value> =
        rules["faults"].as_array().unwrap().iter().filter(|rule| rule["fired"] == 0).collect();
    assert!(idle.is_empty(), "rules that did nothing: {idle:?}");
}
