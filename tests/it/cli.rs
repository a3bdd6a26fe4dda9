//! The binary, as a script uses it.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::support::house::{exchange, parse, within};

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
    std::fs::write(&ready, r#"{"control": "http://127.0.0.1:1", "devices": []}"#).unwrap();
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

/// Writes a house of many devices with all kinds of listeners.
#[cfg(unix)]
fn large_house(folder: &std::path::Path, devices: usize) -> std::path::PathBuf {
    std::fs::create_dir_all(folder).unwrap();
    let file = folder.join("house.yaml");
    let enabled = "settings: {services: {modbus: {enable: true}}}";
    let peers = |text: &str| {
        let lines = (1..=13).map(|number| format!("  p{number:02}: {{{text}}}"));
        lines.collect::<Vec<_>>().join("\n")
    };
    let yaml = format!(
        "devices: [{}]\nslaves:\n{}\nhttp_targets:\n{}\n",
        format!("{{{enabled}}}, ").repeat(devices),
        peers("units: {1: {}}"),
        peers("")
    );
    std::fs::write(&file, yaml).unwrap();
    file
}

/// Starts a house with this limit of descriptors, as `ulimit` takes it. Returns what it prints until it
/// runs or ends, and the house.
#[cfg(unix)]
async fn run_with_limit(
    limit: &str,
    scenario: &std::path::Path,
) -> (String, tokio::process::Child) {
    let mut command = Command::new("sh");
    let script = format!("ulimit {limit} && exec \"$0\" run \"$1\" --any-port 2>&1");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_wwsim")]).arg(scenario);
    let mut house = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(house.stdout.take().unwrap()).lines();
    let mut printed = String::new();
    while let Some(line) = within(lines.next_line()).await.unwrap() {
        printed.push_str(&line);
        printed.push('\n');
        if line.starts_with("Ctrl-C ends it") {
            break;
        }
    }
    (printed, house)
}

#[cfg(unix)]
#[tokio::test]
async fn too_few_descriptors_are_reported_with_the_number_that_is_enough() {
    let folder = std::env::temp_dir().join(format!("wwsim-descriptors-{}", std::process::id()));
    let scenario = large_house(&folder, 40);
    for limit in ["-n 12", "-n 90", "-n 150"] {
        let (printed, mut house) = run_with_limit(limit, &scenario).await;
        assert_eq!(within(house.wait()).await.unwrap().code(), Some(1), "{printed}");
        let start =
            format!("wwsim: too many open files: this process may have {} of them", &limit[3..]);
        assert!(printed.starts_with(&start), "{printed}");
        let enough = printed.split("`ulimit ").nth(1).unwrap().split('`').next().unwrap();
        let (printed, _house) = run_with_limit(enough, &scenario).await;
        assert!(printed.ends_with("Ctrl-C ends it.\n"), "{enough}: {printed}");
    }
    // A soft limit that is too low is raised.
    let (printed, _house) = run_with_limit("-S -n 90", &scenario).await;
    assert!(printed.ends_with("Ctrl-C ends it.\n"), "{printed}");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn the_start_prints_a_dozen_of_each_kind() {
    let folder = std::env::temp_dir().join(format!("wwsim-welcome-{}", std::process::id()));
    for (devices, shown, more) in [(11, 11, None), (12, 12, None), (20, 12, Some("and 8 more"))] {
        let scenario = large_house(&folder, devices);
        let (printed, _house) = run_with_limit("-S -n 1024", &scenario).await;
        let lines = |kind: &str| printed.lines().filter(|line| line.starts_with(kind)).count();
        assert_eq!(lines("  device   A842"), shown, "{printed}");
        assert_eq!(lines("  device   and "), usize::from(more.is_some()), "{printed}");
        assert!(printed.contains(more.unwrap_or_default()), "{printed}");
        for kind in ["  slave    ", "  target   "] {
            assert_eq!(lines(&format!("{kind}p")), 12, "{printed}");
            assert_eq!(lines(&format!("{kind}and 1 more")), 1, "{printed}");
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
