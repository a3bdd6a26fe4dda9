//! The same file, seed and requests give the same bytes: decisions, statuses and registers. The test
//! runs two processes, so that nothing that they share can make them agree.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::support::house::{http, within};

const HOUSE: &str = r#"
name: the same again
seed: 11
clock: {start: 2026-01-15T18:00:00+01:00, speed: manual}
device:
  actions:
    actions:
      - {id: write, requests: [{modbus: {host: pump.local, unit_id: 1, func: 16, address: 10, type: float, value: "21.5", timeout: 3}}]}
      - {id: both, requests: [{http: {url: "http://bulb.local/toggle"}}, {modbus: {host: pump.local, unit_id: 1, func: 6, address: 20, type: short, value: "3"}}]}
slaves:
  pump:
    hosts: [pump.local]
    latency: 20ms
    units:
      1:
        holding:
          - {address: 10, type: float, value: 20, on_write: [{after: 5s, set: {holding: 20}, value: 9}]}
          - {address: 20, type: short, value: 1}
          - {address: 30, type: float, random_walk: {start: 20, step: 0.5, every: 1s, min: 15, max: 25}}
http_targets:
  bulb:
    hosts: [bulb.local]
    routes: [{path: /toggle, latency: 35ms, replies: [{body: on}, {body: off}]}]
faults:
  - {id: lossy, at: {slave: pump}, when: {probability: 0.3}, effect: wrong_transaction_id}
  - {id: slow, at: {slave: pump}, when: {probability: 0.5}, effect: {delay: {lognormal: {median: 400ms, p95: 3s}}}}
  - {id: broken, at: {target: bulb}, when: {nth: [3, 5]}, effect: {status: 503}}
"#;

/// A process of the binary with the addresses at which it listens.
struct Process {
    child: Child,
    device: SocketAddr,
    control: SocketAddr,
}

impl Process {
    async fn start(scenario: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_wwsim"))
            .arg("run")
            .arg(scenario)
            .args(["--any-port"])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (mut device, mut control) = (None, None);
        while device.is_none() || control.is_none() {
            let line =
                within(lines.next_line()).await.unwrap().expect("the process prints its addresses");
            let words: Vec<&str> = line.split_whitespace().collect();
            let address = words.last().and_then(|word| word.strip_prefix("http://")?.parse().ok());
            match words.first() {
                Some(&"device") => device = address,
                Some(&"control") => control = address,
                _ => {}
            }
        }
        Self { child, device: device.unwrap(), control: control.unwrap() }
    }

    async fn request(&self, method: &str, path: &str, body: Value) -> String {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        http(self.control, method, &format!("/control/v1/{path}"), &body).await.body
    }
}

/// Returns everything that a client can observe of one replay: statuses, registers and journal.
async fn replay(scenario: &Path) -> String {
    let process = Process::start(scenario).await;
    let mut observed = String::new();
    for n in 0..20 {
        let action = if n % 3 == 0 { "both" } else { "write" };
        let call =
            http(process.device, "POST", &format!("/api/v1/actions/call?id={action}"), "").await;
        let location = call.header("Location").unwrap_or_else(|| panic!("{call:?}")).to_owned();
        process.request("POST", "clock", json!({"advance": "10s"})).await;
        observed += &http(process.device, "GET", &location, "").await.body;
        observed +=
            &process.request("GET", "slaves/pump/units/1/holding/10?count=2", Value::Null).await;
        observed += &process.request("GET", "slaves/pump/units/1/holding/20", Value::Null).await;
        observed +=
            &process.request("GET", "slaves/pump/units/1/holding/30?count=2", Value::Null).await;
        observed.push('\n');
    }
    observed += &process.request("GET", "faults", Value::Null).await;
    observed += &process.request("GET", "journal?limit=10000", Value::Null).await;
    let mut child = process.child;
    child.kill().await.unwrap();
    observed
}

#[tokio::test]
async fn two_processes_produce_the_same_bytes() {
    let scenario = std::env::temp_dir().join(format!("wwsim-same-{}.yaml", std::process::id()));
    std::fs::write(&scenario, HOUSE).unwrap();
    let first = replay(&scenario).await;
    let second = replay(&scenario).await;
    std::fs::remove_file(&scenario).unwrap();
    assert_eq!(first, second);
    for expected in ["\"code\":-9", "\"code\":1", "\"code\":503", "fault_fired"] {
        assert!(first.contains(expected), "the replay shows no {expected}: {first}");
    }
}
