//! What each built-in house is for, shown by doing it.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use wwsim::clock::Speed;
use wwsim::decimal::Decimal;
use wwsim::device::Snapshot;
use wwsim::house::House;
use wwsim::meter::{self, Quantity};
use wwsim::scenario;

use crate::harness::TestHouse;

/// A built-in house on free ports and a manual clock.
async fn house(name: &str) -> TestHouse {
    let mut scenario = scenario::builtin(name).unwrap().load().unwrap();
    scenario.any_port();
    scenario.speed = Speed::Manual;
    TestHouse { house: House::start(scenario).await.unwrap() }
}

/// The ids of a house's actions.
async fn actions(twin: &TestHouse) -> Vec<String> {
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

/// What the first device of a house knows at this moment.
fn snapshot(twin: &TestHouse) -> Snapshot {
    twin.house.devices().next().unwrap().snapshot()
}

/// A number of the newest reading.
fn value(snapshot: &Snapshot, quantity: Quantity) -> f64 {
    let reading = snapshot.meter.reading.as_ref().expect("there is a reading");
    reading.get(quantity).map_or(0.0, Decimal::to_f64)
}

#[tokio::test]
async fn family_house_lives_through_a_day_and_both_tariffs() {
    let twin = house("family-house").await;
    twin.advance(Duration::from_mins(1)).await;
    let midnight = snapshot(&twin);
    let (mut levels, mut tariffs) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..24 * 4 {
        twin.house.clock().jump(Duration::from_mins(15)).await.unwrap();
        let now = snapshot(&twin);
        levels.insert(format!("{:.1}", value(&now, Quantity::ImportPower)));
        tariffs.insert(now.meter.reading.as_ref().unwrap().tariff);
    }
    let kwh = value(&snapshot(&twin), Quantity::ActiveImportEnergy)
        - value(&midnight, Quantity::ActiveImportEnergy);
    assert!((3.0..30.0).contains(&kwh), "{kwh} kWh in a day");
    assert!(levels.len() >= 4, "appliances come and go: {levels:?}");
    assert_eq!(tariffs, [Some(1), Some(2)].into());
}

#[tokio::test]
async fn pv_and_battery_exports_at_noon_and_rests_in_the_evening() {
    let twin = house("pv-and-battery").await;
    let at = async |hours: u64| {
        let now = twin.house.clock().now().since_start();
        let left = Duration::from_hours(hours).checked_sub(now).unwrap();
        twin.house.clock().jump(left).await.unwrap();
        snapshot(&twin)
    };
    let morning = at(5).await;
    let noon = at(14).await;
    assert!(value(&noon, Quantity::ExportPower) > 2.0, "the battery is full by then");
    assert!(value(&noon, Quantity::ImportPower) == 0.0);
    let evening = at(22).await;
    let imported =
        value(&evening, Quantity::ActiveImportEnergy) - value(&noon, Quantity::ActiveImportEnergy);
    assert!(imported < 1.5, "{imported} kWh: the battery feeds the house");
    assert!(
        value(&evening, Quantity::ActiveExportEnergy)
            > value(&morning, Quantity::ActiveExportEnergy) + 10.0
    );
}

#[tokio::test]
async fn heat_pump_winter_draws_on_three_phases_and_lists_its_objects() {
    let twin = house("heat-pump-winter").await;
    let mut highest = 0.0_f64;
    for _ in 0..3 * 96 {
        twin.house.clock().jump(Duration::from_mins(15)).await.unwrap();
        highest = highest.max(value(&snapshot(&twin), Quantity::ImportPower));
    }
    assert!(highest > 6.0, "{highest} kW: the car or the boiler beside the heat pump");
    let now = snapshot(&twin);
    assert!(value(&now, Quantity::ReactiveImportEnergy) > 2310.2);
    let kwh = value(&now, Quantity::ActiveImportEnergy) - 41_877.5;
    assert!((80.0..400.0).contains(&kwh), "{kwh} kWh in three days of January");
    let reading = now.meter.reading.as_ref().unwrap();
    let listed = meter::objects(now.meter.meter.as_ref().unwrap());
    let energy = listed.iter().find(|object| object.logical_name == "1-1:1.8.0").unwrap();
    let shown = reading.get(Quantity::ActiveImportEnergy).unwrap();
    assert_eq!(energy.number(reading), Some(shown.mantissa()), "in Wh");
}

#[tokio::test]
async fn single_phase_shows_what_floats_on_the_other_two() {
    let twin = house("single-phase").await;
    twin.advance(Duration::from_mins(1)).await;
    let now = snapshot(&twin);
    assert!(value(&now, Quantity::VoltageL1) > 207.0);
    for unused in [Quantity::VoltageL2, Quantity::VoltageL3] {
        assert!((32.0..37.0).contains(&value(&now, unused)));
    }
    assert!(value(&now, Quantity::CurrentL1) > 0.0);
    assert!(value(&now, Quantity::CurrentL2) == 0.0);
}

#[tokio::test]
async fn clock_change_october_has_an_hour_twice_and_counters_that_do_not_mind() {
    let twin = house("clock-change-october").await;
    let zone = jiff::tz::TimeZone::get("Europe/Zurich").unwrap();
    let (mut local, mut counted) = (Vec::new(), Vec::new());
    for _ in 0..100 {
        twin.house.clock().jump(Duration::from_mins(15)).await.unwrap();
        let now = snapshot(&twin);
        local.push(zone.to_datetime(now.time).to_string());
        counted.push(value(&now, Quantity::ActiveImportEnergy));
    }
    let twice = local.iter().filter(|time| time.contains("T02:")).count();
    assert_eq!((twice, local.last().unwrap().as_str()), (8, "2026-10-26T00:00:00"));
    assert!(counted.is_sorted(), "{counted:?}");
}

#[tokio::test]
async fn meter_trouble_shows_every_trouble_once_an_hour() {
    let twin = house("meter-trouble").await;
    let (mut statuses, mut fallen, mut restarted) = (BTreeSet::new(), 0, 0);
    let (mut energy, mut id) = (0.0, 0);
    for _ in 0..120 {
        twin.advance(Duration::from_secs(30)).await;
        let now = snapshot(&twin);
        statuses.insert(now.meter.status.as_str());
        let Some(reading) = &now.meter.reading else { continue };
        let next = value(&now, Quantity::ActiveImportEnergy);
        fallen += usize::from(next < energy);
        restarted += usize::from(reading.id < id);
        (energy, id) = (next, reading.id);
    }
    let expected =
        ["ENCRYPTION KEY", "KEY REQUIRED", "NO DATA", "NOT CONNECTED", "NOT RECOGNIZED", "OK"];
    for status in expected {
        assert!(statuses.contains(status), "{status}: {statuses:?}");
    }
    assert_eq!((fallen, restarted), (1, 1));
    let rules = twin.control_get("faults").await;
    for rule in rules["faults"].as_array().unwrap() {
        assert_eq!(rule["fired"], 1, "{rule}");
    }
}
