//! The binary, as a script meets it.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::harness::{exchange, parse, within};

fn wwsim() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wwsim"));
    command.stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    command
}

#[tokio::test]
async fn the_ready_file_of_a_house_before_does_not_pass_for_this_ones() {
    let folder = std::env::temp_dir().join(format!("wwsim-cli-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (scenario, ready) = (folder.join("house.yaml"), folder.join("ready.json"));
    std::fs::write(&scenario, "slavs: {}\n").unwrap();
    std::fs::write(&ready, "{}").unwrap();
    let run = wwsim().arg("run").arg(&scenario).arg("--ready-file").arg(&ready).status();
    assert_eq!(within(run).await.unwrap().code(), Some(1));
    assert!(!ready.exists());
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn beyond_loopback_the_start_prints_the_token() {
    let mut house =
        wwsim().args(["run", "default", "--any-port", "--control", "0.0.0.0:0"]).spawn().unwrap();
    let mut lines = BufReader::new(house.stdout.take().unwrap()).lines();
    let (mut port, mut token) = (None::<u16>, None);
    while token.is_none() {
        let line = within(lines.next_line()).await.unwrap().expect("the house says where it is");
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["control", url] => port = url.rsplit(':').next().and_then(|port| port.parse().ok()),
            ["token", printed] => token = Some(printed.to_owned()),
            _ => {}
        }
    }
    let (address, token) = (([127, 0, 0, 1], port.unwrap()).into(), token.unwrap());
    let status = async |authorization: &str| {
        let request = format!(
            "GET /control/v1/state HTTP/1.1\r\nHost: localhost\r\n{authorization}Connection: close\r\n\r\n"
        );
        parse(&String::from_utf8_lossy(&exchange(address, request.as_bytes()).await)).status
    };
    assert_eq!(status("").await, 401);
    assert_eq!(status(&format!("Authorization: Bearer {token}\r\n")).await, 200);
}

/// What a trace prints.
async fn trace(arguments: &[&str]) -> (Option<i32>, String) {
    let output = within(wwsim().arg("trace").args(arguments).output()).await.unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[tokio::test]
async fn a_trace_prints_the_signal_in_both_forms_from_any_moment() {
    let (code, csv) = trace(&["clock-change-october", "--for", "25h", "--every", "15m"]).await;
    assert_eq!(code, Some(0));
    let lines: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(lines.len(), 1 + 100, "a day of 25 hours, and the header");
    assert_eq!(lines[0][..5], ["time", "local", "t", "tariff", "EAP_T"]);
    assert!(lines.iter().all(|line| line.len() == lines[0].len()));
    assert_eq!(lines[9][1], "2026-10-25T02:00:00+02:00");
    assert_eq!(lines[13][1], "2026-10-25T02:00:00+01:00");
    let energy: Vec<f64> = lines[1..].iter().map(|line| line[4].parse().unwrap()).collect();
    assert!(energy.is_sorted());

    let from = "2026-10-25T01:00:00Z";
    let arguments = ["clock-change-october", "--from", from, "--for", "30m", "--format", "json"];
    let (_, json) = trace(&arguments).await;
    let rows: serde_json::Value = serde_json::from_str(&json).unwrap();
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!((rows[0]["time"].as_str(), rows[0]["t"].as_f64()), (Some(from), Some(10_800.0)));
    assert_eq!(rows[0]["EAP_T"].to_string(), lines[13][4]);
}

#[tokio::test]
async fn a_trace_that_cannot_be_says_why_by_its_exit_code() {
    for (arguments, code) in [
        (&["no-such-house"][..], 2),
        (&["family-house", "--from", "2020-01-01T00:00:00Z"], 2),
        (&["family-house", "--every", "0"], 2),
        (&["family-house", "--device", "000000000000"], 2),
    ] {
        assert_eq!(trace(arguments).await, (Some(code), String::new()), "{arguments:?}");
    }
}
