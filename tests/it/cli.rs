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

#[tokio::test]
async fn mistakes_of_the_command_line_say_what_to_write() {
    let folder = std::env::temp_dir().join(format!("wwsim-mistakes-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("house.yaml"), "seed: 7\n").unwrap();
    for (arguments, expected) in [
        (&["house.yaml"][..], "did you mean `wwsim run house.yaml`?"),
        (&["missing.yml"], "did you mean `wwsim run missing.yml`?"),
        (&["family-house"], "did you mean `wwsim run family-house`?"),
        (&["defualt"], "did you mean `wwsim run default`?"),
        (&["hous.yaml"], "did you mean `wwsim run hous.yaml`?"),
        (&["-"], "did you mean `wwsim run -`?"),
        (&["rnu"], "did you mean `wwsim run`?"),
        (&["chek", "house.yaml"], "did you mean `wwsim check`?"),
        (&["help"], "did you mean `wwsim --help`?"),
        (&["version"], "did you mean `wwsim --version`?"),
        (&["--http", "127.0.0.1:0"], "wwsim run --http"),
        (&["--any-port"], "wwsim run --any-port"),
        (&["run", "defualt"], "did you mean `default`?"),
        (&["run", "hous.yaml"], "did you mean `house.yaml`?"),
        (&["run", "house"], "did you mean `house.yaml`?"),
        (&["run", "default.yaml"], "did you mean `default`?"),
        (&["run", "./house.yml"], "did you mean `./house.yaml`?"),
        (&["trace", "family-hose"], "did you mean `family-house`?"),
        (&["check", "defualt"], "did you mean `default`?"),
        (&["check", "house.yml"], "did you mean `house.yaml`?"),
        (&["run", "--http", "8080"], "write 127.0.0.1:8080"),
        (&["run", "--modbus", ":1502"], "write 127.0.0.1:1502"),
        (&["run", "--control", "localhost:8090"], "write 127.0.0.1:8090"),
        (&["run", "--http", "http://127.0.0.1:8080/"], "write 127.0.0.1:8080"),
        (&["run", "--http", "::1"], "write [::1]:8080"),
        (&["run", "--http", "example.com:80"], "expected an IP address and a port"),
        (&["run", "--http", "-1"], "expected an IP address and a port"),
        (&["run", "--seed", "x"], "expected a whole number from 0 to 18446744073709551615"),
        (&["run", "--seed", "-1"], "expected a whole number from 0 to 18446744073709551615"),
        (&["run", "--seed", "1e3"], "expected a whole number from 0 to 18446744073709551615"),
        (&["run", "--speed", "-1"], "expected a number above 0"),
        (&["run", "--speed", "0"], "expected a number above 0"),
        (&["run", "--speed", "Manual"], "expected a number above 0, or `manual`"),
        (&["run", "--outbound", "alow"], "a similar value exists: 'allow'"),
        (&["trace", "default", "--from", "-1h"], "or a time after the start, as 6h"),
        (&["trace", "default", "--for", "-1d"], "`-1d` is no time: expected a number with"),
        (&["trace", "default", "--every", "-5"], "`-5` is no time: expected a number with"),
    ] {
        let command = wwsim().args(arguments).current_dir(&folder).stderr(Stdio::piped()).output();
        let output = within(command).await.unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
    let (code, valid, _) = run(&["check", "default", "family-house"]).await;
    assert_eq!((code, &*valid), (Some(0), "default: valid\nfamily-house: valid\n"));
    let (_, help, _) = run(&["run", "--help"]).await;
    assert!(help.contains("WWSIM_LOG"), "{help}");
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Colours follow the environment, as those of clap's errors do. `script` gives the command a terminal.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn colours_are_for_terminals_that_want_them() {
    let check = concat!(
        env!("CARGO_BIN_EXE_wwsim"),
        " check ",
        env!("CARGO_MANIFEST_DIR"),
        "/fixtures/scenarios/bad/meaning/house.yaml"
    );
    // The same mistakes on standard error, from `run`.
    let run = check.replace(" check ", " run ");
    for (variable, value, coloured) in [
        ("TERM", "xterm", true),
        ("NO_COLOR", "1", false),
        ("NO_COLOR", "", true),
        ("TERM", "dumb", false),
    ] {
        for command in [check, &run] {
            let mut script = Command::new("script");
            script.args(["-qec", command, "/dev/null"]).env("TERM", "xterm").kill_on_drop(true);
            for forced in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "CI"] {
                script.env_remove(forced);
            }
            script.env(variable, value).stdin(Stdio::null());
            let output = within(script.output()).await.unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            assert!(text.contains("mistake"), "{text}");
            assert_eq!(text.contains('\u{1b}'), coloured, "{variable}={value}: {command}: {text}");
        }
    }
}
