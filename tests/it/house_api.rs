//! The entry point for Rust tests: builder, views, injected faults, waiting, and the messages of assertions.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use serde_json::{Value, json};
use wwsim::house::{BuildError, House, inject};
use wwsim::journal::Event;
use wwsim::meter::Quantity;
use wwsim::modbus::fault::{ReplyFault, WireFault};

use crate::support::SECOND;
use crate::support::house::{TestHouse, http, within};

const SCENARIO: &str = "
clock: {start: 2026-01-15T18:00:00+01:00}
device:
  actions:
    actions:
      - {id: heat, requests: [{modbus: {host: pump.local, func: 6, address: 10, type: short, value: '21'}}]}
      - {id: light, requests: [{http: {url: 'http://bulb.local/on?level=3'}}]}
slaves:
  pump:
    hosts: [pump.local]
    units: {0: {holding: [{address: 10, type: short, value: 20}]}}
http_targets:
  bulb: {hosts: [bulb.local]}
";

async fn start() -> House {
    House::builder().scenario(SCENARIO).manual_clock().any_port().start().await.unwrap()
}

async fn settle(house: &House) {
    house.clock().advance(Duration::ZERO).await.unwrap();
}

/// Returns the message of the panic.
fn panic_message(assertion: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(assertion)).unwrap_err();
    panic.downcast_ref::<String>().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_changes_a_register_and_reaches_a_target() {
    let house = start().await;
    let device = house.device();
    let (heat, light) = (device.call("heat").unwrap(), device.call("light").unwrap());
    settle(&house).await;
    device.assert_codes(&heat, &[1]);
    device.assert_codes(&light, &[200]);
    house.slave("pump").assert_holding(10, 21);
    house.target("bulb").assert_requests(&["GET /on?level=3"]);
    assert_eq!(device.status(&heat)[0].action.as_ref(), "heat");
    house.slave("pump").unit(0).set_holding(10, 5);
    assert_eq!(house.slave("pump").holding(10), 5);
    assert!(device.call("cool").is_err());
    let address = device.api_address();
    let path = format!("/api/v1/actions/status?id={}", heat[0]);
    assert_eq!(http(address, "GET", &path, "").await.json()[0]["code"], 1);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_injected_fault_acts_until_its_guard_is_dropped() {
    let house = start().await;
    let device = house.device();
    let wrong = house.inject(inject::slave("pump").reply(WireFault::WrongTransactionId).nth([2]));
    for expected in [1, -9, 1] {
        let ids = device.call("heat").unwrap();
        settle(&house).await;
        device.assert_codes(&ids, &[expected]);
    }
    wrong.assert_fired(1);
    drop(wrong);
    assert!(house.engine().list().is_empty());
    let busy = house.inject(inject::slave("pump").addresses(10..=10).value(21..=21).exception(6));
    let unavailable = house.inject(inject::target("bulb").path("/on").status(503));
    let ids = [device.call("heat").unwrap(), device.call("light").unwrap()];
    settle(&house).await;
    device.assert_codes(&ids[0], &[-106]);
    device.assert_codes(&ids[1], &[503]);
    assert_eq!((busy.fired(), unavailable.fired()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_and_holds_follow_the_manual_clock() {
    let house = start().await;
    let device = house.device();
    for (fault, wait) in [
        (inject::action("heat").hold(5 * SECOND), 4 * SECOND),
        (inject::action("heat").hold_until_released(), 3600 * SECOND),
    ] {
        let hold = house.inject(fault);
        let ids = device.call("heat").unwrap();
        house.clock().advance(wait).await.unwrap();
        assert!(device.status(&ids)[0].exe_time.is_zero(), "in progress");
        assert_eq!(hold.release(), 1);
        settle(&house).await;
        device.assert_codes(&ids, &[1]);
    }
    let refuse = house.inject(inject::slave("pump").refuse().after(10 * SECOND).lasting(SECOND));
    refuse.applied().await;
    for (wait, expected) in [(9, 1), (1, -17), (1, 1)] {
        house.clock().advance(wait * SECOND).await.unwrap();
        let ids = device.call("heat").unwrap();
        settle(&house).await;
        device.assert_codes(&ids, &[expected]);
    }
    drop(refuse);
    let refuse = house.inject(inject::slave("pump").refuse());
    refuse.applied().await;
    assert!(!house.slave("pump").is_listening());
    refuse.remove().await;
    assert!(house.slave("pump").is_listening());
    let silent = house.inject(inject::slave("pump").reply(ReplyFault::Silence));
    let ids = device.call("heat").unwrap();
    house.clock().advance(20 * SECOND).await.unwrap();
    device.assert_codes(&ids, &[-3]);
    silent.assert_fired(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_code_can_be_asked_for() {
    let house = start().await;
    let fault = house.inject(inject::action("light").result(-18).unwrap());
    let ids = house.device().call("light").unwrap();
    settle(&house).await;
    house.device().assert_codes(&ids, &[-18]);
    drop(fault);
    let _fault = house.inject(inject::target("bulb").result(-20).unwrap());
    let ids = house.device().call("light").unwrap();
    settle(&house).await;
    house.device().assert_codes(&ids, &[-20]);
    inject::slave("pump").result(404).unwrap_err();
    inject::target("bulb").result(-9).unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn api_and_meter_faults_reach_clients() {
    let house = start().await;
    let address = house.device().api_address();
    let status = async || http(address, "GET", "/api/v1/report", "").await.status;
    let fault = house.inject(inject::api().path("/api/v1/report").status(503).first(1));
    assert_eq!((status().await, status().await), (503, 200));
    fault.assert_fired(1);
    house.clock().advance(60 * SECOND).await.unwrap();
    let before = house.device().snapshot().meter.reading.unwrap().id;
    let silent = house.inject(inject::meter().no_data());
    house.clock().advance(60 * SECOND).await.unwrap();
    let meter = house.device().snapshot().meter;
    assert_eq!(meter.reading.map(|reading| reading.id), Some(before));
    drop(silent);
    house.clock().advance(60 * SECOND).await.unwrap();
    assert!(house.device().snapshot().meter.reading.unwrap().id > before);
    let imported = || {
        let snapshot = house.device().snapshot();
        snapshot.value(Quantity::ActiveImportEnergy).unwrap().to_f64()
    };
    let before = imported();
    let _low = house.inject(inject::meter().jump_back(0.02));
    house.clock().advance(10 * SECOND).await.unwrap();
    assert!(imported() < before, "{before} kWh, then {} kWh", imported());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_a_call() {
    let house = start().await;
    let full = house.inject(inject::queue().occupy(20));
    let refused = house.device().call("heat").unwrap_err();
    assert_eq!(refused.to_string(), "too many requests in progress");
    full.assert_fired(1);
    full.wait_fired(1, Duration::ZERO).await.unwrap();
    full.wait_fired(2, Duration::ZERO).await.unwrap_err();
    drop(full);
    house.device().call("heat").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_typed_fault_is_a_rule_of_the_scenario_language() {
    let second = Duration::from_secs(1);
    let faults = [
        (inject::api().cut(10), json!({"at": "api", "effect": {"cut": 10}})),
        (
            inject::api().drip(2, second),
            json!({"at": "api", "effect": {"drip": {"bytes": 2, "every": "1s"}}}),
        ),
        (inject::queue().occupy(3), json!({"at": "queue", "effect": {"occupy": 3}})),
        (inject::queue().limit(0), json!({"at": "queue", "effect": {"limit": 0}})),
        (
            inject::device_modbus().unit(1).addresses(4..=5).exception(6),
            json!({"at": {"modbus": "any", "unit": 1, "address": "4..5"}, "effect": {"exception": 6}}),
        ),
        (inject::device_modbus().refuse(), json!({"at": "modbus", "effect": "refuse"})),
        (
            inject::target("bulb").bad_content_length(),
            json!({"at": {"target": "bulb"}, "effect": "bad_content_length"}),
        ),
        (inject::mqtt().lose(), json!({"at": "mqtt", "effect": "lose"})),
        (inject::mqtt().drop_connection(), json!({"at": "mqtt", "effect": "drop"})),
        (inject::mqtt().refuse(), json!({"at": "mqtt", "effect": "refuse"})),
        (inject::mqtt().delay(second), json!({"at": "mqtt", "effect": {"delay": "1s"}})),
        (inject::live().stall(second), json!({"at": "live", "effect": {"stall": "1s"}})),
        (inject::live().stall_until_released(), json!({"at": "live", "effect": "stall"})),
        (inject::live().cut(7), json!({"at": "live", "effect": {"cut": 7}})),
        (inject::live().duplicate(), json!({"at": "live", "effect": "duplicate"})),
        (inject::live().takeover(), json!({"at": "live", "effect": "takeover"})),
        (inject::meter().key_required(), json!({"at": "meter", "effect": "key_required"})),
        (inject::meter().encryption_key(), json!({"at": "meter", "effect": "encryption_key"})),
        (inject::meter().recognition(), json!({"at": "meter", "effect": "recognition"})),
        (inject::meter().not_recognized(), json!({"at": "meter", "effect": "not_recognized"})),
        (inject::meter().restart_ids(), json!({"at": "meter", "effect": "restart_ids"})),
        (
            inject::meter().missing_phases([inject::MeterPhase::L1, inject::MeterPhase::L3]),
            json!({"at": "meter", "effect": {"missing_phase": ["l1", "l3"]}}),
        ),
        (
            inject::meter().clock_behind(90 * second),
            json!({"at": "meter", "effect": {"clock_drift": {"behind": "90s"}}}),
        ),
    ];
    let test = TestHouse::start(SCENARIO).await;
    for (fault, written) in faults {
        let injected = test.inject(fault);
        test.add_fault(written.clone()).await;
        let list = test.control_get("faults").await;
        let rules: Vec<&Value> =
            list["faults"].as_array().unwrap().iter().map(|fault| &fault["rule"]).collect();
        let [typed, posted] = rules.as_slice() else { panic!("{list}") };
        assert_eq!(
            (&typed["at"], &typed["effect"]),
            (&posted["at"], &posted["effect"]),
            "{written}"
        );
        let id = posted["id"].as_str().unwrap();
        test.control_send("DELETE", &format!("faults/{id}"), &json!(null)).await;
        drop(injected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_returns_an_entry_that_is_there_or_comes() {
    let house = start().await;
    let finished = |entry: &wwsim::journal::JournalEntry| matches!(&entry.event, Event::RequestFinished { action, .. } if &**action == "heat");
    let entry = {
        let wait = within(house.wait_for(finished, 60 * SECOND));
        let call = async {
            house.device().call("heat").unwrap();
        };
        tokio::join!(wait, call).0.unwrap()
    };
    assert_eq!(house.wait_for(finished, SECOND).await.unwrap().seq, entry.seq);
    let error = house.wait_for(|_| false, Duration::ZERO).await.unwrap_err().to_string();
    assert!(
        error.contains("no entry") && error.contains(r#""event":"request_finished""#),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_assertion_shows_the_journal_of_its_part() {
    let house = start().await;
    let device = house.device();
    let ids = device.call("heat").unwrap();
    settle(&house).await;
    let codes = panic_message(|| device.assert_codes(&ids, &[-9]));
    assert!(codes.starts_with("codes of [") && codes.contains("[1], expected [-9]"), "{codes}");
    assert!(codes.contains(r#""event":"request_finished""#), "{codes}");
    let holding = panic_message(|| house.slave("pump").assert_holding(10, 22));
    assert!(holding.contains("holding register 10: 21, expected 22; the journal:"), "{holding}");
    assert!(holding.contains(r#""event":"slave_request""#), "{holding}");
    let requests = panic_message(|| house.target("bulb").assert_requests(&["GET /"]));
    assert!(requests.ends_with("the journal has nothing about it"), "{requests}");
    let fault = house.inject(inject::slave("pump").exception(4).first(1));
    let fired = panic_message(|| fault.assert_fired(1));
    assert!(
        fired.contains("fired 0 times, expected 1") && fired.contains("rule_changed"),
        "{fired}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_names_and_impossible_faults_say_what_there_is() {
    let house = start().await;
    let message = panic_message(|| {
        let _ = house.slave("pmup");
    });
    assert_eq!(message, r#"no slave `pmup`; the house has ["pump"]"#);
    let message = panic_message(|| {
        let _ = house.target("lamp");
    });
    assert_eq!(message, r#"no target `lamp`; the house has ["bulb"]"#);
    let message = panic_message(|| {
        let _ = house.device_with_id("A8");
    });
    assert!(message.starts_with("no device `A8`; the house has "), "{message}");
    let message = panic_message(|| {
        let _ = house.slave("pump").unit(3);
    });
    assert_eq!(message, "slave `pump` has no unit 3; it has [0]");
    let message = panic_message(|| {
        let _ = house.slave("pump").holding(99);
    });
    assert_eq!(message, "slave `pump`, unit 0 has no holding 99");
    let message = panic_message(|| {
        let _ = house.inject(inject::api().reset().probability(0.0));
    });
    assert!(message.starts_with("the fault cannot be injected: "), "{message}");
    for (impossible, reason) in [
        (inject::api().status(200), "status 200: expected an error, 400 to 599"),
        (inject::queue().occupy(21), "from 1 to 20, found 21"),
        (inject::queue().limit(20), "from 0 to 19, found 20"),
        (inject::target("bulb").status(42), "42"),
        (inject::target("bulb").status(206), "status 206 answers a request for a part"),
        (inject::slave("pmup").exception(4), "did you mean `pump`?"),
        (inject::queue().device("X").limit(3), "`X` is no device id"),
        (inject::live().device("A842E39F8125").takeover(), "there is no device `A842E39F8125`"),
        (inject::action("haet").disable(), "did you mean `heat`?"),
        (inject::meter().jump_back(0.0), "jump_back"),
        (inject::live().stall(Duration::ZERO), "stall"),
        (inject::api().drip(0, SECOND), "drip"),
    ] {
        let message = panic_message(|| {
            let _ = house.inject(impossible);
        });
        assert!(message.starts_with("the fault cannot be injected: "), "{message}");
        assert!(message.contains(reason), "{message}");
    }
    assert!(house.engine().list().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_builder_refuses_what_cannot_start() {
    let error = House::builder().builtin("castle").start().await.unwrap_err();
    assert!(matches!(error, BuildError::UnknownBuiltin(name) if name == "castle"));
    let error = House::builder().scenario("slaves: {pump: 7}").start().await.unwrap_err();
    assert!(matches!(error, BuildError::Scenario(_)), "{error}");
    let error = House::builder().file("/nowhere/house.yaml").start().await.unwrap_err();
    assert!(error.to_string().starts_with("/nowhere/house.yaml: "), "{error}");
    let house = start().await;
    let scenario = format!("control: {}", house.addresses().control.replace("http://", ""));
    let error = House::builder().scenario(&scenario).start().await.unwrap_err();
    assert!(matches!(error, BuildError::Start(_)), "{error}");
}
