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
