//! The built-in houses do what their names promise.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use wwsim::decimal::Decimal;
use wwsim::device::Snapshot;
use wwsim::house::House;
use wwsim::meter::{self, Quantity};

use crate::support::house::TestHouse;

/// Starts a built-in house on free ports with a manual clock.
async fn start(name: &str) -> TestHouse {
    let house = House::builder().builtin(name).manual_clock().any_port().start().await.unwrap();
    TestHouse { house }
}

/// Returns the ids of a house's actions.
async fn action_ids(house: &TestHouse) -> Vec<String> {
    let definition = house.get("/api/v1/actions").await.json();
    let actions = definition["actions"].as_array().unwrap();
    actions.iter().map(|action| action["id"].as_str().unwrap().to_owned()).collect()
}

/// Calls an action, and returns the codes of its requests, as the API shows them after `duration`.
async fn codes_after(house: &TestHouse, action: &str, duration: Duration) -> Vec<i64> {
    let ids = house.run(action, duration).await;
    let status = house.status(&ids).await;
    let entries = status.as_array().unwrap();
    assert_eq!(entries.len(), ids.len(), "{status}");
    assert!(entries.iter().all(|entry| entry["exe_time"] != 0), "not finished: {status}");
    entries.iter().map(|entry| entry["code"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn default_serves_the_examples_of_its_header() {
    let house = start("default").await;
    let device = house.device();
    let ids = device.call("1").unwrap();
    assert_eq!(house.call("1").await.status, 409, "action 1 is slow enough to show it");
    assert_eq!(house.call("nonexistent").await.status, 404);
    assert_eq!(house.call("disabled_action").await.status, 400);
    let toggle = device.call("light_toggle").unwrap();
    let write = house.run("modbus_write", Duration::from_secs(10)).await;
    for entry in device.status(&[ids, toggle].concat()) {
        assert!(!entry.exe_time.is_zero() && (200..300).contains(&entry.code), "{entry:?}");
    }
    device.assert_codes(&write, &[1]);
}

#[tokio::test]
async fn default_runs_the_definition_of_the_vendors_page() {
    let house = start("default").await;
    let definition = include_str!("../../fixtures/actions/page.json");
    assert_eq!(house.post("/api/v1/actions", definition).await.status, 200);
    for (action, expected) in [("1", &[200, 200][..]), ("2", &[200]), ("3", &[200]), ("4", &[1])] {
        let ids = house.run(action, Duration::from_secs(10)).await;
        house.device().assert_codes(&ids, expected);
    }
}

#[tokio::test]
async fn disabled_actions_are_refused_until_the_rule_is_disarmed() {
    let house = start("disabled-actions").await;
    let mut refused = 0;
    for action in action_ids(&house).await {
        refused += usize::from(house.call(&action).await.status == 400);
    }
    assert!(refused > 0, "nothing is disabled");
}

#[tokio::test]
async fn slow_slaves_are_slow() {
    let house = start("slow-slaves").await;
    let mut slowest = Duration::ZERO;
    for action in action_ids(&house).await {
        let ids = house.run(&action, Duration::from_mins(1)).await;
        let times = house.device().status(&ids).into_iter().map(|entry| entry.exe_time);
        slowest = times.fold(slowest, Duration::max);
    }
    assert!(slowest >= Duration::from_millis(500), "the slowest took {slowest:?}");
}

#[tokio::test]
async fn queue_saturation_refuses_calls_with_429() {
    let house = start("queue-saturation").await;
    let mut statuses = Vec::new();
    for action in action_ids(&house).await {
        statuses.push(house.call(&action).await.status);
    }
    assert!(statuses.contains(&429), "{statuses:?}");
}

#[tokio::test]
async fn flaky_modbus_succeeds_and_fails() {
    let house = start("flaky-modbus").await;
    let mut codes = Vec::new();
    for _ in 0..10 {
        for action in action_ids(&house).await {
            codes.extend(codes_after(&house, &action, Duration::from_secs(30)).await);
        }
    }
    assert!(codes.contains(&1), "{codes:?}");
    assert!(codes.iter().any(|code| *code < 0), "{codes:?}");
}

#[tokio::test]
async fn every_result_code_provokes_all_possible_codes() {
    let house = start("every-result-code").await;
    let mut seen = BTreeSet::new();
    for action in action_ids(&house).await {
        seen.extend(codes_after(&house, &action, Duration::from_secs(30)).await);
    }
    let modbus = [1, -1, -2, -3, -4, -5, -7, -8, -9, -10, -11, -12, -13, -14, -15, -16, -17, -19];
    let expected = modbus.into_iter().chain(-111..=-101).chain([-18, -20, 200]);
    let missing: Vec<i64> = expected.filter(|code| !seen.contains(code)).collect();
    assert_eq!(missing, [0; 0], "seen: {seen:?}");
    let rules = house.control_get("faults").await;
    let rules = rules["faults"].as_array().unwrap();
    assert!(rules.len() > 20, "{} rules", rules.len());
    let idle: Vec<&Value> = rules.iter().filter(|rule| rule["fired"] == 0).collect();
    assert!(idle.is_empty(), "rules that did nothing: {idle:?}");
}

/// Returns the snapshot of the first device of a house.
fn snapshot(house: &TestHouse) -> Snapshot {
    house.device().snapshot()
}

/// Returns a number of the newest reading, 0 if the reading lacks it.
fn value(snapshot: &Snapshot, quantity: Quantity) -> f64 {
    let reading = snapshot.meter.reading.as_ref().expect("there is a reading");
    reading.get(quantity).map_or(0.0, Decimal::to_f64)
}

#[tokio::test]
async fn family_house_has_a_day_of_loads_and_both_tariffs() {
    let house = start("family-house").await;
    house.advance(Duration::from_mins(1)).await;
    let midnight = snapshot(&house);
    let (mut levels, mut tariffs) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..24 * 4 {
        house.clock().jump(Duration::from_mins(15)).await.unwrap();
        let now = snapshot(&house);
        levels.insert(format!("{:.1}", value(&now, Quantity::ImportPower)));
        tariffs.insert(now.meter.reading.as_ref().unwrap().tariff);
    }
    let kwh = value(&snapshot(&house), Quantity::ActiveImportEnergy)
        - value(&midnight, Quantity::ActiveImportEnergy);
    assert!((3.0..30.0).contains(&kwh), "{kwh} kWh in a day");
    assert!(levels.len() >= 4, "appliances come and go: {levels:?}");
    assert_eq!(tariffs, [Some(1), Some(2)].into());
}

#[tokio::test]
async fn pv_and_battery_exports_at_noon_and_feeds_the_evening() {
    let house = start("pv-and-battery").await;
    let at = async |hours: u64| {
        let now = house.clock().now().since_start();
        let left = Duration::from_hours(hours).checked_sub(now).unwrap();
        house.clock().jump(left).await.unwrap();
        snapshot(&house)
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
async fn heat_pump_winter_draws_power_and_lists_its_objects() {
    let house = start("heat-pump-winter").await;
    let mut highest = 0.0_f64;
    for _ in 0..3 * 96 {
        house.clock().jump(Duration::from_mins(15)).await.unwrap();
        highest = highest.max(value(&snapshot(&house), Quantity::ImportPower));
    }
    assert!(highest > 6.0, "{highest} kW: the car or the boiler beside the heat pump");
    let now = snapshot(&house);
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
async fn single_phase_shows_floating_voltages_on_two_phases() {
    let house = start("single-phase").await;
    house.advance(Duration::from_mins(1)).await;
    let now = snapshot(&house);
    assert!(value(&now, Quantity::VoltageL1) > 207.0);
    for unused in [Quantity::VoltageL2, Quantity::VoltageL3] {
        assert!((32.0..37.0).contains(&value(&now, unused)));
    }
    assert!(value(&now, Quantity::CurrentL1) > 0.0);
    assert!(value(&now, Quantity::CurrentL2) == 0.0);
}

#[tokio::test]
async fn clock_change_october_repeats_an_hour_and_counters_rise() {
    let house = start("clock-change-october").await;
    let zone = jiff::tz::TimeZone::get("Europe/Zurich").unwrap();
    let (mut local, mut counted) = (Vec::new(), Vec::new());
    for _ in 0..100 {
        house.clock().jump(Duration::from_mins(15)).await.unwrap();
        let now = snapshot(&house);
        local.push(zone.to_datetime(now.time).to_string());
        counted.push(value(&now, Quantity::ActiveImportEnergy));
    }
    let twice = local.iter().filter(|time| time.contains("T02:")).count();
    assert_eq!((twice, local.last().unwrap().as_str()), (8, "2026-10-26T00:00:00"));
    assert!(counted.is_sorted(), "{counted:?}");
}

#[tokio::test]
async fn meter_trouble_fires_every_rule_once_an_hour() {
    let house = start("meter-trouble").await;
    let (mut statuses, mut fallen, mut restarted) = (BTreeSet::new(), 0, 0);
    let (mut energy, mut id) = (0.0, 0);
    for _ in 0..120 {
        house.advance(Duration::from_secs(30)).await;
        let now = snapshot(&house);
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
    let rules = house.control_get("faults").await;
    let rules = rules["faults"].as_array().unwrap();
    assert!(rules.len() >= expected.len(), "{rules:?}");
    for rule in rules {
        assert_eq!(rule["fired"], 1, "{rule}");
    }
}
