//! A house as a whole: start, clock, reset, end.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use wwsim::clock::{ActivityGuard, Speed};
use wwsim::house::{House, inject};
use wwsim::limits::METER_WINDOWS_A_DAY;
use wwsim::scenario;

use crate::support::SECOND;
use crate::support::device::eventually;
use crate::support::house::{FreePort, TestHouse, describe, http, within};
use crate::support::log::logged_by;

const HOUSE: &str = r#"
device:
  actions:
    actions:
      - {id: write, requests: [{modbus: {host: pump.local, unit_id: 1, func: 6, address: 10, type: short, value: "7", timeout: 5}}]}
slaves:
  pump: {hosts: [pump.local], units: {1: {holding: [{address: 10, type: short, value: 1}]}}}
http_targets:
  bulb: {hosts: [bulb.local], routes: [{path: /toggle, replies: [{body: on}, {body: off}]}]}
faults:
  - {id: slow, at: {slave: pump}, when: {first: 1}, effect: {delay: 2s}}
"#;

#[tokio::test]
async fn a_manual_clock_moves_only_on_command() {
    let test = TestHouse::start(HOUSE).await;
    let ids = test.run("write", Duration::from_millis(1999)).await;
    assert_eq!(test.device().status(&ids)[0].code, -1);
    let advanced = test.control_send("POST", "clock", &json!({"advance": "1ms"})).await;
    assert_eq!(advanced.status, 200, "{}", advanced.body);
    test.device().assert_codes(&ids, &[1]);
    assert_eq!(test.device().status(&ids)[0].exe_time, 2 * SECOND);
}

#[tokio::test]
async fn events_that_fall_due_in_a_jump_happen_at_its_end() {
    let test = TestHouse::start(HOUSE).await;
    let month = Duration::from_hours(30 * 24);
    let ids = test.run("write", Duration::ZERO).await;
    test.clock().jump(month).await.unwrap();
    // The reply and the deadline fall due in the same jump; the reply was due first.
    assert_eq!(test.device().status(&ids)[0].exe_time, month);
    assert_eq!(test.clock().speed(), Speed::Manual);
}

#[tokio::test]
async fn a_reset_restores_everything_and_keeps_the_listeners() {
    let test = TestHouse::start(HOUSE).await;
    let before = test.control_get("state").await;
    let ids = test.run("write", 2 * SECOND).await;
    test.device().assert_codes(&ids, &[1]);
    test.slave("pump").set_holding(10, 99);
    assert_eq!(http(test.target("bulb").address(), "GET", "/toggle", "").await.body, "on");
    test.define(json!([])).await;
    let _extra = test.inject(inject::meter().frozen());

    let answer = test.control_send("POST", "reset", &Value::Null).await;
    assert!(answer.status < 300, "{}", answer.body);

    let mut after = test.control_get("state").await;
    assert_ne!(before["epoch"], after["epoch"]);
    after["epoch"] = before["epoch"].clone();
    assert_eq!(before, after);
    assert_eq!(
        http(test.target("bulb").address(), "GET", "/toggle", "").await.body,
        "on",
        "target states restart"
    );
    assert_eq!(test.engine().list().len(), 1, "the injected rule is gone");
    test.slave("pump").assert_holding(10, 1);
    assert_eq!(test.run("write", 2 * SECOND).await, [1], "status ids restart");
    assert_eq!(test.counts("slow"), (1, 1), "counters restart");
}

// Ruling: HOUSE-1.
#[tokio::test]
async fn requests_in_progress_at_a_reset_leave_no_trace() {
    let test = TestHouse::start(HOUSE).await;
    let ids = test.device().call("write").unwrap();
    test.reset().await;
    test.advance(Duration::from_mins(1)).await;
    assert_eq!(test.device().status(&ids), []);
    let events = serde_json::to_string(&test.journal_entries()).unwrap();
    assert!(!events.contains("request_finished"), "{events}");
    test.slave("pump").assert_holding(10, 1);
}

/// Begins a reset that cannot complete: it waits for a movement of the clock, which waits for the returned
/// guard.
async fn stuck_reset(test: &TestHouse) -> (ActivityGuard, TcpStream) {
    let mut client = TcpStream::connect(test.api_address()).await.unwrap();
    client.write_all(b"GET /api/v1/live HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    within(client.read_u8()).await.unwrap();
    let activity = test.clock().activity().enter();
    let clock = test.clock().clone();
    tokio::spawn(async move { clock.advance(Duration::from_secs(1)).await });
    let mut reset = TcpStream::connect(test.control_address()).await.unwrap();
    let request = b"POST /control/v1/reset HTTP/1.1\r\nHost: localhost\r\n\r\n";
    reset.write_all(request).await.unwrap();
    // The reset has begun when the stream of the device has ended.
    let _ = within(client.read_to_end(&mut Vec::new())).await;
    (activity, reset)
}

// Ruling: HOUSE-1.
#[tokio::test]
async fn a_call_during_a_reset_is_answered_after_it() {
    let test = TestHouse::start(HOUSE).await;
    let (activity, _reset) = stuck_reset(&test).await;
    let call = test.call("write");
    let complete = async {
        is_alive(&test).await;
        drop(activity);
    };
    let (answer, ()) = tokio::join!(call, complete);
    assert_eq!(answer.status, 202, "{}", answer.body);
    test.advance(2 * SECOND).await;
    test.device().assert_codes(&[1], &[1]);
    assert_eq!(test.control_get("state").await["epoch"], 1);
}

// Ruling: HOUSE-1.
#[tokio::test]
async fn a_rule_that_comes_during_a_reset_is_in_force_after_it() {
    let test = TestHouse::start(HOUSE).await;
    let (activity, _reset) = stuck_reset(&test).await;
    let rule = json!({"id": "late", "at": {"slave": "pump"}, "effect": "refuse"});
    let add = test.control_send("POST", "faults", &rule);
    let read = test.control_get("state");
    let complete = async {
        is_alive(&test).await;
        assert!(test.engine().get("late").is_err(), "the reset would remove it");
        drop(activity);
    };
    let (added, state, ()) = tokio::join!(add, read, complete);
    assert_eq!(added.status, 201, "{}", added.body);
    assert_eq!(state["epoch"], 1);
    assert!(test.engine().get("late").is_ok() && !test.slave("pump").is_listening());
}

/// Asks the control plane for what it answers during a reset, too.
async fn is_alive(test: &TestHouse) {
    assert_eq!(http(test.control_address(), "GET", "/healthz", "").await.status, 200);
}

#[tokio::test]
async fn a_reset_completes_even_if_its_client_has_left() {
    let test = TestHouse::start(HOUSE).await;
    let (activity, reset) = stuck_reset(&test).await;
    drop(reset);
    for _ in 0..20 {
        is_alive(&test).await;
    }
    drop(activity);
    within(async { while test.control_get("state").await["epoch"] != 1 {} }).await;
    let ids = test.run("write", 2 * SECOND).await;
    test.device().assert_codes(&ids, &[1]);
}

#[tokio::test]
async fn a_dropped_house_leaves_nothing_behind() {
    let test = TestHouse::start(HOUSE).await;
    let addresses = [
        test.api_address(),
        test.control_address(),
        test.slave("pump").address(),
        test.target("bulb").address(),
    ];
    test.run("write", Duration::ZERO).await;
    let mut clients = Vec::new();
    for address in addresses {
        clients.push(TcpStream::connect(address).await.unwrap());
    }
    let (activity, reset) = stuck_reset(&test).await;
    clients.push(reset);
    let device = Arc::downgrade(&test.device());
    let slave = Arc::downgrade(&test.slave("pump"));
    let target = Arc::downgrade(&test.target("bulb"));
    drop(test);
    for mut client in clients {
        let _ = within(client.read_to_end(&mut Vec::new())).await;
    }
    eventually(|| addresses.iter().all(|at| std::net::TcpStream::connect(at).is_err())).await;
    let references = || (device.strong_count(), slave.strong_count(), target.strong_count());
    eventually(|| references() == (0, 0, 0)).await;
    drop(activity);
}

#[tokio::test]
async fn a_stopped_house_has_released_its_ports() {
    let ports = [(); 5].map(|()| FreePort::new());
    let mut scenario = scenario::load(HOUSE, "test.yaml", None).unwrap();
    let device = &mut scenario.devices[0];
    let listening = [
        &mut device.http,
        &mut device.modbus.listen,
        &mut scenario.control,
        &mut scenario.slaves[0].listen,
        &mut scenario.http_targets[0].listen,
    ];
    listening.into_iter().zip(&ports).for_each(|(listen, port)| *listen = port.address());
    let test = TestHouse { house: House::start(scenario).await.unwrap() };
    test.device().call("write").unwrap();
    test.house.stop().await;
    for port in ports {
        port.listen();
    }
}

#[tokio::test]
async fn a_house_that_cannot_listen_starts_nothing() {
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let occupied = held.local_addr().unwrap();
    let free = FreePort::new();
    let yaml = format!(
        "device: {{http: '{}'}}\ncontrol: 127.0.0.1:0\nslaves: {{pump: {{listen: '{occupied}'}}}}\n",
        free.address()
    );
    let error = House::builder().scenario(&yaml).start().await.unwrap_err().to_string();
    assert!(error.contains(&occupied.to_string()) && error.contains("pump"), "{error}");
    free.listen();
    drop(held);
}

#[tokio::test]
async fn a_failed_start_releases_the_ports_that_were_bound() {
    let (free, occupied) = (FreePort::new(), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let modbus = "settings: {services: {modbus: {enable: true}}}";
    let text = format!(
        "control: 127.0.0.1:0\nslaves: {{pump: {{listen: 127.0.0.1:0, units: {{1: {{}}}}}}}}\n\
         devices: [{{http: '{}', modbus: 127.0.0.1:0}}, {{http: 127.0.0.1:0, modbus: '{}', {modbus}}}]",
        free.address(),
        occupied.local_addr().unwrap()
    );
    let error = House::builder().scenario(&text).start().await.unwrap_err();
    assert!(error.to_string().contains("cannot listen on"), "{error}");
    free.listen();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_house_can_be_stopped_while_a_reset_waits() {
    const MILLISECOND: Duration = Duration::from_millis(1);
    let test = TestHouse::start("").await;
    let clock = test.clock().clone();
    let ticking = tokio::spawn(clock.activity().track({
        let clock = clock.clone();
        async move {
            loop {
                clock.sleep(MILLISECOND).await;
            }
        }
    }));
    let moving = tokio::spawn({
        let clock = clock.clone();
        async move { clock.advance(Duration::from_hours(1_000_000)).await }
    });
    eventually(|| clock.is_moving()).await;
    tokio::select! {
        biased;
        () = test.reset() => panic!("the clock moves"),
        () = tokio::time::sleep(10 * MILLISECOND) => {}
    }
    within(test.house.stop()).await;
    moving.abort();
    ticking.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rules_without_an_id_get_different_ones() {
    let test = TestHouse::start("").await;
    let control = test.control_address();
    let mut adding = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let rule = r#"{"at":"api","effect":"hang"}"#;
        adding.spawn(async move { http(control, "POST", "/control/v1/faults", rule).await });
    }
    for answer in within(adding.join_all()).await {
        assert_eq!(answer.status, 201, "{}", answer.body);
    }
}

#[tokio::test]
async fn too_many_windows_over_a_meter_are_refused() {
    let test = TestHouse::start("").await;
    let rule = json!({"at": "meter", "effect": "no_data", "when": {"every": "1m", "for": "10s"}});
    let most = METER_WINDOWS_A_DAY / (24 * 60);
    for _ in 0..most {
        test.add_fault(rule.clone()).await;
    }
    let refused = test.control_send("POST", "faults", &rule).await;
    assert_eq!((refused.status, refused.json()["error"].as_str()), (507, Some("too_many_windows")));
    assert!(refused.body.contains(&METER_WINDOWS_A_DAY.to_string()), "{}", refused.body);
    test.advance(Duration::from_hours(1)).await;
    assert_eq!(test.get("/api/v1/report").await.status, 200);
}

#[tokio::test]
async fn each_device_of_a_house_has_its_own_queue() {
    let action = "{id: a, requests: [{http: {url: 'http://slow.local/'}}]}";
    let test = TestHouse::start(&format!(
        "
devices:
  - {{id: A842E39F8124, actions: {{actions: [{action}]}}}}
  - {{id: A842E39F8125, license: free, actions: {{actions: [{action}]}}}}
  - {{id: A842E39F8126, firmware: 1.6.0}}
http_targets:
  slow: {{hosts: [slow.local], routes: [{{path: /, latency: 1s}}]}}
"
    ))
    .await;
    let device =
        |n: usize| test.addresses().devices[n].http.replace("http://", "").parse().unwrap();
    let call = async |n: usize| http(device(n), "POST", "/api/v1/actions/call?id=a", "").await;
    assert_eq!(call(0).await.status, 202);
    assert_eq!(call(0).await.status, 409);
    let free = call(1).await;
    assert_eq!((free.status, free.body.as_str()), (404, "License required"));
    let old = call(2).await;
    assert_eq!(old.status, 404);
    assert_ne!(old.body, "License required");
}

#[tokio::test]
async fn every_built_in_house_starts() {
    for builtin in scenario::builtins() {
        let started = House::builder().builtin(builtin.name).any_port().start().await;
        let house = started.unwrap_or_else(|error| panic!("{error}"));
        let device = house.device().url().replace("http://", "").parse().unwrap();
        let system = http(device, "GET", "/api/v1/system", "").await;
        assert_eq!(system.status, 200, "{}: {}", builtin.name, system.body);
        house.stop().await;
    }
}

#[test]
fn a_house_that_is_dropped_or_does_not_start_logs_no_failed_accept() {
    const MODBUS_ON: &str = "settings: {services: {modbus: {enable: true}}}";
    let dropped = logged_by(async {
        for _ in 0..20 {
            let yaml = format!("{HOUSE}  - {{at: {{slave: pump}}, effect: {{delay: 1s}}}}");
            let house = describe(&yaml.replacen("device:", &format!("device:\n  {MODBUS_ON}"), 1));
            drop(house.start().await.unwrap());
        }
    });
    assert_eq!(dropped, Vec::<String>::new());
    let failed = logged_by(async {
        // The first device and the peers listen when the Modbus server of the second cannot.
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = taken.local_addr().unwrap();
        let yaml = format!(
            "control: 127.0.0.1:0\n\
             devices: [{{http: 127.0.0.1:0, modbus: 127.0.0.1:0, {MODBUS_ON}}}, \
                       {{http: 127.0.0.1:0, modbus: '{address}', {MODBUS_ON}}}]\n\
             slaves: {{pump: {{units: {{1: {{holding: [{{address: 10, type: short}}]}}}}}}}}\n"
        );
        for _ in 0..20 {
            let scenario = scenario::load(&yaml, "house.yaml", None).unwrap();
            let error = House::start(scenario).await.unwrap_err().to_string();
            assert!(error.contains(&address.to_string()), "{error}");
        }
    });
    assert_eq!(failed, Vec::<String>::new());
}
