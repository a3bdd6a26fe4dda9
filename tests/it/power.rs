//! Reboots and factory resets, observed at the sockets.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wwsim::house::{House, inject};

use crate::support::SECOND;
use crate::support::house::{FreePort, TestHouse, within};

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

async fn reboot(test: &TestHouse) {
    let answer = test.post("/api/v1/reboot", "").await;
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    test.settle().await;
}

async fn refused(test: &TestHouse) -> bool {
    match TcpStream::connect(test.api_address()).await {
        Ok(_) => false,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            true
        }
    }
}

// Ruling: POWER-1.
#[tokio::test]
async fn a_reboot_is_answered_and_then_drops_every_connection() {
    let test = TestHouse::start(HOUSE).await;
    let mut other = TcpStream::connect(test.api_address()).await.unwrap();
    other.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    within(other.read_u8()).await.unwrap();
    reboot(&test).await;
    let mut rest = Vec::new();
    let ended = within(other.read_to_end(&mut rest)).await;
    assert!(ended.is_ok() || ended.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
    assert!(refused(&test).await);
}

// Ruling: POWER-1.
#[tokio::test]
async fn no_request_is_answered_after_the_reply_to_a_reboot() {
    let test = TestHouse::start(HOUSE).await;
    let mut client = TcpStream::connect(test.api_address()).await.unwrap();
    let both = "POST /api/v1/reboot HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n\
                GET /api/v1/system HTTP/1.1\r\nHost: x\r\n\r\n";
    client.write_all(both.as_bytes()).await.unwrap();
    let mut answers = Vec::new();
    // The end is a reset if the second request was not read from the socket.
    let _ = within(client.read_to_end(&mut answers)).await;
    let answers = String::from_utf8(answers).unwrap();
    assert_eq!(answers.matches("HTTP/1.1").count(), 1, "{answers}");
    assert!(answers.starts_with("HTTP/1.1 204"), "{answers}");
    // The device answers again after the reboot.
    test.settle().await;
    test.advance(Duration::from_secs(3)).await;
    assert_eq!(test.get("/api/v1/system").await.status, 200);
}

// Ruling: POWER-1.
#[tokio::test]
async fn a_device_serves_until_the_reply_to_a_reboot_is_sent() {
    let drip =
        "{api: {method: POST, route: /api/v1/reboot}}, effect: {drip: {bytes: 1, every: 1s}}";
    let test = TestHouse::start(&format!("faults: [{{id: slow, at: {drip}}}]")).await;
    let mut client = TcpStream::connect(test.api_address()).await.unwrap();
    let reboot = "POST /api/v1/reboot HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    client.write_all(reboot.as_bytes()).await.unwrap();
    assert_eq!(within(client.read_u8()).await.unwrap(), b'H');
    test.advance(Duration::from_secs(5)).await;
    assert_eq!(test.get("/api/v1/system").await.status, 200);
    test.advance(Duration::from_mins(5)).await;
    assert_eq!(test.device().view().boot.ordinal, 1);
}

#[tokio::test]
async fn a_reboot_takes_its_time_and_keeps_the_address() {
    for (scenario, just_before) in [(HOUSE, 2999), ("device: {reboot_time: 45s}", 44_999)] {
        let test = TestHouse::start(scenario).await;
        reboot(&test).await;
        test.advance(Duration::from_millis(just_before)).await;
        assert!(refused(&test).await);
        test.advance(Duration::from_millis(1)).await;
        assert_eq!(test.get("/").await.status, 200);
    }
}

#[tokio::test]
async fn a_reboot_gives_a_new_boot_with_the_same_settings() {
    let test = TestHouse::start(HOUSE).await;
    let device = test.device();
    test.advance(100 * SECOND).await;
    let before = (device.view(), device.snapshot().meter.reading.unwrap().id);
    device
        .configure(|config| {
            config.settings.system.name = "cellar".into();
            Ok::<_, ()>(())
        })
        .unwrap();
    reboot(&test).await;
    test.advance(3 * SECOND).await;
    let after = device.view();
    assert_ne!(after.boot.id, before.0.boot.id);
    assert_eq!((before.0.boot.ordinal, after.boot.ordinal), (0, 1));
    assert_eq!(after.boot.at.since_start(), 103 * SECOND, "uptime counts from here");
    assert_eq!(after.config.settings.system.name, "cellar");
    assert!(device.snapshot().meter.reading.is_none(), "no reading yet");
    test.advance(10 * SECOND).await;
    let reading = device.snapshot().meter.reading.unwrap();
    assert!(reading.id < before.1, "report.id counts from 1 again: {}", reading.id);
    assert_eq!(test.get("/api/v1/actions").await.status, 200);
}

// Ruling: ACTION-22.
#[tokio::test]
async fn a_reboot_discards_requests_and_restarts_status_ids() {
    let test = TestHouse::start(HOUSE).await;
    assert_eq!(test.run("write", SECOND).await, [1]);
    reboot(&test).await;
    test.advance(20 * SECOND).await;
    assert_eq!(test.device().status(&[1]), []);
    let journal = serde_json::to_string(&test.journal_entries()).unwrap();
    assert!(!journal.contains("request_finished"), "{journal}");
    assert!(journal.contains("rebooting") && journal.contains(r#""event":"started""#), "{journal}");
    assert_eq!(test.device().call("write").unwrap(), [1]);
}

#[tokio::test]
async fn a_reset_during_a_reboot_brings_the_device_up_at_once() {
    let test = TestHouse::start(HOUSE).await;
    let first = test.device().view().boot;
    reboot(&test).await;
    assert!(refused(&test).await);
    test.reset().await;
    assert_eq!(test.get("/").await.status, 200);
    assert_eq!(test.device().view().boot, first);
    test.advance(10 * SECOND).await;
    assert_eq!(test.device().view().boot, first);
    reboot(&test).await;
    assert!(refused(&test).await, "and it reboots as before");
}

#[tokio::test]
async fn a_house_can_be_stopped_during_a_reboot() {
    let port = FreePort::new();
    let yaml = format!(
        "control: 127.0.0.1:0\ndevice: {{http: '{}', modbus: 127.0.0.1:0}}",
        port.address()
    );
    let house = House::builder().scenario(&yaml).manual_clock().start().await.unwrap();
    let test = TestHouse { house };
    reboot(&test).await;
    within(test.house.stop()).await;
    port.listen();
}

#[tokio::test]
async fn a_second_reboot_follows_the_first() {
    let test = TestHouse::start("").await;
    for ordinal in 1..=3 {
        reboot(&test).await;
        test.advance(3 * SECOND).await;
        assert_eq!(test.device().view().boot.ordinal, ordinal);
    }
}

#[tokio::test]
async fn a_reboot_that_a_fault_refuses_changes_nothing() {
    let test = TestHouse::start("").await;
    let often = test.inject(inject::api().path("/api/v1/reboot").status(429));
    assert_eq!(test.post("/api/v1/reboot", "").await.status, 429);
    often.assert_fired(1);
    test.settle().await;
    assert!(!refused(&test).await);
}

#[tokio::test]
async fn only_post_reboots() {
    let test = TestHouse::start("").await;
    for path in ["/api/v1/reboot", "/api/v1/restore"] {
        let answer = test.get(path).await;
        assert_eq!((answer.status, answer.header("Allow")), (405, Some("POST")));
    }
    test.settle().await;
    assert!(!refused(&test).await);
}

// Ruling: POWER-2.
#[tokio::test]
async fn a_factory_reset_erases_all_settings_and_reboots() {
    let test = TestHouse::start(HOUSE).await;
    let device = test.device();
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
    let answer = test.post("/api/v1/restore", "").await;
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    test.settle().await;
    assert!(refused(&test).await);
    test.advance(3 * SECOND).await;
    let after = device.view();
    assert_eq!(after.config, factory.config);
    assert_eq!(after.firmware, factory.firmware);
    assert_eq!(after.boot.ordinal, 1);
    assert_eq!(test.get("/api/v1/actions").await.status, 404, "the definition is gone");
}
