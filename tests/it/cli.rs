//! The binary, as a script uses it.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::support::device::eventually;
use crate::support::house::{exchange, http, parse, within};

fn wwsim() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wwsim"));
    command.stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    command
}

#[tokio::test]
async fn a_start_that_fails_removes_an_old_ready_file() {
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
        let line = within(lines.next_line()).await.unwrap().expect("the start prints the token");
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

/// Returns the exit code and the output of a trace.
async fn trace(arguments: &[&str]) -> (Option<i32>, String) {
    let output = within(wwsim().arg("trace").args(arguments).output()).await.unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[tokio::test]
async fn a_trace_is_csv_or_json_from_any_start() {
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
async fn invalid_arguments_of_a_trace_end_with_2() {
    for (arguments, code) in [
        (&["no-such-house"][..], 2),
        (&["family-house", "--from", "2020-01-01T00:00:00Z"], 2),
        (&["family-house", "--every", "0"], 2),
        (&["family-house", "--device", "000000000000"], 2),
    ] {
        assert_eq!(trace(arguments).await, (Some(code), String::new()), "{arguments:?}");
    }
}

/// Runs a command and returns its exit code, standard output and standard error.
async fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = within(wwsim().args(arguments).stderr(Stdio::piped()).output()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn exit_codes_tell_mistakes_from_unreadable_files() {
    let folder = std::env::temp_dir().join(format!("wwsim-exit-codes-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (valid, invalid) = (file("valid.yaml", "seed: 1\n"), file("invalid.yaml", "sede: 1\n"));
    let missing = folder.join("missing.yaml").to_str().unwrap().to_owned();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let control = taken.local_addr().unwrap().to_string();
    for (arguments, code, error) in [
        (&["check", &valid][..], 0, ""),
        (&["check", &valid, &invalid], 1, ""),
        (&["check", &invalid, &missing], 2, "wwsim: cannot read "),
        (&["run", &invalid], 1, "unknown key `sede`"),
        (&["run", &missing], 2, "wwsim: no scenario `"),
        (&["run", "--any-port", "--control", &control], 1, "the control plane cannot listen on"),
        (&["run", "clock-change-october", "--nonsense"], 2, "--nonsense"),
        (&["trace", &invalid], 1, "unknown key `sede`"),
        (&["capture", "https://127.0.0.1"], 1, "expected the URL of a device"),
        (&["list"], 0, ""),
        (&["schema"], 0, ""),
        (&["--help"], 0, ""),
    ] {
        let (found, _, printed) = run(arguments).await;
        assert_eq!(found, Some(code), "{arguments:?}: {printed}");
        assert!(printed.contains(error), "{arguments:?}: {printed}");
        assert_eq!(printed.is_empty(), error.is_empty(), "{arguments:?}: {printed}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn help_lists_the_exit_codes() {
    for arguments in [&["--help"][..], &["run", "--help"], &["check", "--help"]] {
        let (_, help, _) = run(arguments).await;
        assert!(help.contains("Exit codes:\n  0  "), "{arguments:?}: {help}");
    }
}

/// A folder of its own, which is removed with its files.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("wwsim-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn file(&self, name: &str, text: &str) -> std::path::PathBuf {
        let file = self.0.join(name);
        std::fs::write(&file, text).unwrap();
        file
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const MISTYPED: &str = "
slaves: {pump: {hosts: [pump.local]}}
device:
  actions:
    actions: [{id: a, requests: [{modbus: {host: pmp.local, func: 6, address: 1, value: '0001'}}]}]
";

#[tokio::test]
async fn check_warns_of_what_is_probably_not_meant() {
    let folder = Folder::new("warnings");
    let (house, fine) = (folder.file("house.yaml", MISTYPED), folder.file("fine.yaml", "seed: 1"));
    let check = async |format: &str| {
        let check = wwsim().args(["check", "--format", format]).arg(&house).arg(&fine).output();
        let output = within(check).await.unwrap();
        assert_eq!(output.status.code(), Some(0), "warnings are no mistakes");
        String::from_utf8(output.stdout).unwrap()
    };
    let human = check("human").await;
    assert!(human.contains("warning: slave `pump` has no units"), "{human}");
    assert!(human.contains("help: did you mean `pump.local`?"), "{human}");
    assert!(human.contains("house.yaml: valid, 2 warnings\n"), "{human}");
    assert!(human.ends_with("fine.yaml: valid\n"), "{human}");
    let objects: serde_json::Value = serde_json::from_str(&check("json").await).unwrap();
    assert_eq!(objects.as_array().unwrap().len(), 2);
    assert_eq!(objects[1]["severity"], "warning");
    assert_eq!(objects[1]["suggestion"], "pump.local");
    let lines = check("github").await;
    assert!(lines.lines().all(|line| line.starts_with("::warning file=")), "{lines}");
}

#[tokio::test]
async fn run_logs_the_warnings_and_each_refused_host_once() {
    let folder = Folder::new("refused");
    let house = folder.file("house.yaml", MISTYPED);
    let (ready, log) = (folder.0.join("ready.json"), folder.0.join("log"));
    let mut command = wwsim();
    command.env("WWSIM_LOG", "warn").arg("run").arg(&house).arg("--any-port");
    command.arg("--ready-file").arg(&ready);
    let mut house = command.stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap();
    eventually(|| ready.exists()).await;
    let addresses: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&ready).unwrap()).unwrap();
    let device = addresses["devices"][0]["http"].as_str().unwrap();
    let device = device.trim_start_matches("http://").parse().unwrap();
    for _ in 0..3 {
        let reply = http(device, "POST", "/api/v1/actions/call?id=a", "").await;
        let location = reply.header("Location").unwrap().to_owned();
        within(async {
            while http(device, "GET", &location, "").await.json()[0]["exe_time"] == 0 {}
        })
        .await;
    }
    house.kill().await.unwrap();
    let text = std::fs::read_to_string(&log).unwrap();
    let count = |part: &str| text.lines().filter(|line| line.contains(part)).count();
    assert_eq!(count("no slave or target of the house has the host `pmp.local`"), 1, "{text}");
    assert_eq!(count("slave `pump` has no units"), 1, "{text}");
    assert_eq!(count("refused a connection to this host"), 1, "{text}");
}
