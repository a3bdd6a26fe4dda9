//! Reboot and factory reset, seen from the sockets.

use std::io::ErrorKind;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use wwsim::house::House;
use wwsim::scenario;

use crate::harness::{FreePort, TestHouse, within};

const SECOND: Duration = Duration::from_secs(1);

const HOUSE: &str = r#"
device:
  actions:
    actions:
      - {id: write, requests: [{modbus: {host: pump.local, unit_id: 1, func: 6, address: 10, type: short, value: "7", timeout: 10}}]}
slaves:
  pump: {hosts: [pump.local], units: {1: {holding: [{address: 10, type: short, value: 1}]}}}
faults:
  - {id: slow, at: {slave: pump}, when: {first: 1}, effect: {delay: 9s}}
"#;

async fn reboot(twin: &TestHouse) {
    let answer = twin.post("/api/v1/reboot", "").await;
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    twin.settle().await;
}

async fn refused(twin: &TestHouse) -> bool {
    match TcpStream::connect(twin.device()).await {
        Ok(_) => false,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            true
        }
    }
}

// Ruling: POWER-1.
#[tokio::test]
async fn the_reply_goes_out_and_then_every_connection_drops() {
    let twin = TestHouse::start(HOUSE).await;
    let mut other = TcpStream::connect(twin.device()).await.unwrap();
    other.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    within(other.read_u8()).await.unwrap();
    reboot(&twin).await;
    let mut rest = Vec::new();
    let ended = within(other.read_to_end(&mut rest)).await;
    assert!(ended.is_ok() || ended.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
    assert!(refused(&twin).await);
}

// Ruling: POWER-1.
#[tokio::test]
async fn nobody_is_answered_behind_the_reply_that_takes_the_device_down() {
    let twin = TestHouse::start(HOUSE).await;
    let mut client = TcpStream::connect(twin.device()).await.unwrap();
    let both = "POST /api/v1/reboot HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n\
                GET /api/v1/system HTTP/1.1\r\nHost: x\r\n\r\n";
    client.write_all(both.as_bytes()).await.unwrap();
    let mut answers = Vec::new();
    // Where the second request was not taken off the socket, the end is a reset.
    let _ = within(client.read_to_end(&mut answers)).await;
    let answers = String::from_utf8(answers).unwrap();
    assert_eq!(answers.matches("HTTP/1.1").count(), 1, "{answers}");
    assert!(answers.starts_with("HTTP/1.1 204"), "{answers}");
    // It answers again once it is back.
    twin.settle().await;
    twin.advance(Duration::from_secs(3)).await;
    assert_eq!(twin.get("/api/v1/system").await.status, 200);
}

// Ruling: POWER-1.
#[tokio::test]
async fn a_device_serves_until_the_reply_to_a_reboot_is_out() {
    let drip =
        "{api: {method: POST, route: /api/v1/reboot}}, effect: {drip: {bytes: 1, every: 1s}}";
    let twin = TestHouse::start(&format!("faults: [{{id: slow, at: {drip}}}]")).await;
    let mut client = TcpStream::connect(twin.device()).await.unwrap();
    let reboot = "POST /api/v1/reboot HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    client.write_all(reboot.as_bytes()).await.unwrap();
    assert_eq!(within(client.read_u8()).await.unwrap(), b'H');
    twin.advance(Duration::from_secs(5)).await;
    assert_eq!(twin.get("/api/v1/system").await.status, 200);
    twin.advance(Duration::from_mins(5)).await;
    assert_eq!(twin.house.devices().next().unwrap().view().boot.ordinal, 1);
}

#[tokio::test]
async fn it_is_gone_for_the_reboot_time_and_comes_back_at_the_same_address() {
    for (scenario, all_but) in [(HOUSE, 2999), ("device: {reboot_time: 45s}", 44_999)] {
        let twin = TestHouse::start(scenario).await;
        reboot(&twin).await;
        twin.advance(Duration::from_millis(all_but)).await;
        assert!(refused(&twin).await);
        twin.advance(Duration::from_millis(1)).await;
        assert_eq!(twin.get("/").await.status, 200);
    }
}

#[tokio::test]
async fn it_comes_up_with_a_new_boot_and_what_was_set() {
    let twin = TestHouse::start(HOUSE).await;
    let device = twin.house.devices().next().unwrap().clone();
    twin.advance(100 * SECOND).await;
    let before = (device.view(), device.snapshot().meter.reading.unwrap().id);
    device
        .configure(|config| {
            config.settings.system.name = "cellar".into();
            Ok::<_, ()>(())
        })
        .unwrap();
    reboot(&twin).await;
    twin.advance(3 * SECOND).await;
    let after = device.view();
    assert_ne!(after.boot.id, before.0.boot.id);
    assert_eq!((before.0.boot.ordinal, after.boot.ordinal), (0, 1));
    assert_eq!(after.boot.at.since_start(), 103 * SECOND, "uptime counts from here");
    assert_eq!(after.config.settings.system.name, "cellar");
    assert!(device.snapshot().meter.reading.is_none(), "no reading yet");
    twin.advance(10 * SECOND).await;
    let reading = device.snapshot().meter.reading.unwrap();
    assert!(reading.id < before.1, "report.id counts from 1 again: {}", reading.id);
    assert_eq!(twin.get("/api/v1/actions").await.status, 200);
}

// Ruling: ACTION-22.
#[tokio::test]
async fn requests_under_way_end_without_a_trace_and_status_ids_count_anew() {
    let twin = TestHouse::start(HOUSE).await;
    let ids = twin.ids("write").await;
    assert_eq!(ids, "1");
    twin.advance(SECOND).await;
    reboot(&twin).await;
    twin.advance(20 * SECOND).await;
    assert_eq!(twin.get("/api/v1/actions/status?id=1").await.status, 404);
    let told = serde_json::to_string(&twin.journal()).unwrap();
    assert!(!told.contains("request_finished"), "{told}");
    assert!(told.contains("rebooting") && told.contains(r#""event":"started""#), "{told}");
    assert_eq!(twin.ids("write").await, "1");
}

#[tokio::test]
async fn a_house_that_is_reset_while_its_device_reboots_is_there_at_once() {
    let twin = TestHouse::start(HOUSE).await;
    let first = twin.house.devices().next().unwrap().view().boot;
    reboot(&twin).await;
    assert!(refused(&twin).await);
    twin.control_send("POST", "reset", &Value::Null).await;
    assert_eq!(twin.get("/").await.status, 200);
    assert_eq!(twin.house.devices().next().unwrap().view().boot, first);
    twin.advance(10 * SECOND).await;
    assert_eq!(twin.house.devices().next().unwrap().view().boot, first);
    reboot(&twin).await;
    assert!(refused(&twin).await, "and it reboots as before");
}

#[tokio::test]
async fn a_house_can_be_stopped_while_its_device_reboots() {
    let port = FreePort::new();
    let house = format!("clock: {{speed: manual}}\n{HOUSE}");
    let mut scenario = scenario::load(&house, "test.yaml", None).unwrap();
    scenario.any_port();
    scenario.devices[0].http = port.address();
    let twin = TestHouse { house: House::start(scenario).await.unwrap() };
    reboot(&twin).await;
    within(twin.house.stop()).await;
    port.listen();
}

#[tokio::test]
async fn a_second_reboot_follows_the_first() {
    let twin = TestHouse::start("").await;
    for ordinal in 1..=3 {
        reboot(&twin).await;
        twin.advance(3 * SECOND).await;
        assert_eq!(twin.house.devices().next().unwrap().view().boot.ordinal, ordinal);
    }
}

#[tokio::test]
async fn too_many_reboots_are_a_fault_and_change_nothing() {
    let twin = TestHouse::start("").await;
    let route = json!({"api": {"method": "POST", "route": "/api/v1/reboot"}});
    twin.add_fault(json!({"id": "often", "at": route, "effect": {"status": 429}})).await;
    assert_eq!(twin.post("/api/v1/reboot", "").await.status, 429);
    twin.settle().await;
    assert!(!refused(&twin).await);
}

#[tokio::test]
async fn only_post_reboots() {
    let twin = TestHouse::start("").await;
    for path in ["/api/v1/reboot", "/api/v1/restore"] {
        let answer = twin.get(path).await;
        assert_eq!((answer.status, answer.header("Allow")), (405, Some("POST")));
    }
    twin.settle().await;
    assert!(!refused(&twin).await);
}

// Ruling: POWER-2.
#[tokio::test]
async fn a_factory_reset_erases_what_a_user_has_set_and_reboots() {
    let twin = TestHouse::start(HOUSE).await;
    let device = twin.house.devices().next().unwrap().clone();
    let factory = device.view();
    device
        .configure(|config| {
            config.settings.system.name = "cellar".into();
            config.settings.services.modbus.port = 1502;
            config.mqtt.password = Some("secret".into());
            config.script = Some("print(1)".into());
            config.wifi.name = "home".into();
            Ok::<_, ()>(())
        })
        .unwrap();
    let answer = twin.post("/api/v1/restore", "").await;
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    twin.settle().await;
    assert!(refused(&twin).await);
    twin.advance(3 * SECOND).await;
    let after = device.view();
    assert_eq!(after.config, factory.config);
    assert_eq!(after.firmware, factory.firmware);
    assert_eq!(after.boot.ordinal, 1);
    assert_eq!(twin.get("/api/v1/actions").await.status, 404, "the definition is gone");
}
