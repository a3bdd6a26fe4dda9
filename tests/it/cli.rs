//! The binary, as a script uses it.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::support::device::eventually;
use crate::support::folder::Folder;
use crate::support::house::{exchange, http, parse, within};

fn wwsim() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wwsim"));
    command.stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    command
}

#[tokio::test]
async fn a_start_that_fails_removes_an_old_ready_file() {
    let folder = Folder::created();
    let (scenario, ready) = (folder.join("house.yaml"), folder.join("ready.json"));
    std::fs::write(&scenario, "slavs: {}\n").unwrap();
    std::fs::write(&ready, r#"{"control": "http://127.0.0.1:1", "devices": []}"#).unwrap();
    let run = wwsim().arg("run").arg(&scenario).arg("--ready-file").arg(&ready).status();
    assert_eq!(within(run).await.unwrap().code(), Some(1));
    assert!(!ready.exists());
}

/// Starts a house, and returns it with the lines that it prints, up to the last.
async fn start(command: &mut Command) -> (Child, Vec<String>) {
    let mut house = command.spawn().unwrap();
    let mut lines = BufReader::new(house.stdout.take().unwrap()).lines();
    let mut printed = Vec::new();
    while printed.last().is_none_or(|line: &String| !line.starts_with("Ctrl-C")) {
        printed.push(within(lines.next_line()).await.unwrap().expect("the start prints more"));
    }
    (house, printed)
}

/// Returns the second word of the printed line that begins with this one.
fn printed<'a>(lines: &'a [String], kind: &str) -> &'a str {
    let line = lines.iter().find(|line| line.split_whitespace().next() == Some(kind));
    line.unwrap_or_else(|| panic!("no {kind}: {lines:?}")).trim_start()[kind.len()..].trim()
}

/// Returns the status of a request to the control plane at a printed URL, with the `Host` that a client
/// derives from it.
async fn control_status(url: &str, token: Option<&str>) -> u16 {
    let authority = url.strip_prefix("http://").unwrap();
    let authorization =
        token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let request = format!(
        "GET /control/v1/state HTTP/1.1\r\nHost: {authority}\r\n{authorization}Connection: close\r\n\r\n"
    );
    let reply = exchange(authority.parse().unwrap(), request.as_bytes()).await;
    parse(&String::from_utf8_lossy(&reply)).status
}

#[tokio::test]
async fn beyond_loopback_what_is_printed_works() {
    for control in ["0.0.0.0:0", "[::]:0"] {
        let mut command = wwsim();
        command.args(["run", "default", "--any-port", "--control", control]);
        let (_house, lines) = start(&mut command).await;
        let (url, token) = (printed(&lines, "control"), printed(&lines, "token"));
        assert_eq!(control_status(url, None).await, 401);
        assert_eq!(control_status(url, Some(token)).await, 200, "{url}");
        let command = lines.iter().find(|line| line.contains("/control/v1/faults")).unwrap();
        assert!(command.contains(url) && command.contains(token), "{command}");
        let open = lines.iter().any(|line| line.contains("other machines can reach the control"));
        assert!(open, "{lines:?}");
    }
}

#[tokio::test]
async fn a_house_says_what_it_opens() {
    let mut command = wwsim();
    command.args(["run", "default", "--any-port", "--outbound", "loopback"]);
    let (_house, lines) = start(&mut command).await;
    assert!(printed(&lines, "open").starts_with("outbound loopback"), "{lines:?}");
    let mut closed = wwsim();
    closed.args(["run", "default", "--any-port"]);
    let (_house, lines) = start(&mut closed).await;
    assert!(lines.iter().all(|line| !line.trim_start().starts_with("open ")), "{lines:?}");
}

#[tokio::test]
async fn a_token_comes_from_a_file_or_the_environment() {
    let folder = Folder::created();
    let (token, of_file) = ("0123456789abcdef", "fedcba9876543210");
    let file = folder.join("token");
    std::fs::write(&file, format!("{of_file}\nanything else\n")).unwrap();
    let mut command = wwsim();
    command.args(["run", "default", "--any-port"]).env("WWSIM_TOKEN", token);
    let (_house, lines) = start(&mut command).await;
    let url = printed(&lines, "control").to_owned();
    assert_eq!(control_status(&url, None).await, 401, "also on loopback");
    assert_eq!(control_status(&url, Some(token)).await, 200);
    assert!(!lines.concat().contains(token), "the secret is not printed: {lines:?}");

    let ready = folder.join("ready.json");
    command.arg("--token-file").arg(&file).arg("--ready-file").arg(&ready);
    let (_house, lines) = start(&mut command).await;
    let url = printed(&lines, "control").to_owned();
    assert_eq!(control_status(&url, Some(of_file)).await, 200, "the file has precedence");
    assert!(!lines.concat().contains(of_file));
    let found: serde_json::Value = serde_json::from_slice(&std::fs::read(&ready).unwrap()).unwrap();
    assert_eq!((&found["token"], &found["control"]), (&of_file.into(), &url.into()));
}

#[tokio::test]
async fn a_token_that_cannot_be_used_is_refused() {
    let folder = Folder::created();
    for (token, message) in [
        ("", "a token of 0 characters: expected 16 to 1024"),
        ("0123456789abcde", "a token of 15 characters"),
        ("0123456789 abcdef", "character 11 of the token"),
    ] {
        let file = folder.join("token");
        std::fs::write(&file, token).unwrap();
        let (mut by_variable, mut by_file) = (wwsim(), wwsim());
        by_variable.args(["run", "default", "--any-port"]).env("WWSIM_TOKEN", token);
        by_file.args(["run", "default", "--any-port", "--token-file"]).arg(&file);
        for mut command in [by_variable, by_file] {
            let output = within(command.stderr(Stdio::piped()).output()).await.unwrap();
            let error = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{error}");
            assert!(error.contains(message), "{error}");
            assert!(token.is_empty() || !error.contains(token), "{error}");
        }
    }
}

#[cfg(unix)]
#[tokio::test]
async fn the_ready_file_has_the_mode_that_is_asked_for() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::created();
    for (arguments, mode) in [
        (&[][..], 0o600),
        (&["--ready-file-mode", "0644"], 0o644),
        (&["--ready-file-mode", "640"], 0o640),
    ] {
        let ready = folder.join(format!("ready-{mode:o}.json"));
        let mut command = wwsim();
        command.args(["run", "default", "--any-port", "--ready-file"]).arg(&ready).args(arguments);
        let _house = start(&mut command).await;
        let found = std::fs::metadata(&ready).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{found:o}");
    }
    for wrong in ["0888", "1777", "-1", "rw", ""] {
        let ready = folder.join("ready.json").to_str().unwrap().to_owned();
        let arguments = ["run", "--ready-file", &ready, "--ready-file-mode", wrong];
        let (code, _, error) = run(&arguments).await;
        assert_eq!(code, Some(2), "{wrong}: {error}");
    }
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
    let folder = Folder::created();
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
    // Without the warnings of slaves that have no registers.
    command.env("WWSIM_LOG", "error");
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
    let folder = Folder::created();
    let scenario = large_house(&folder.0, 40);
    for limit in ["-n 12", "-n 90", "-n 122"] {
        let (printed, mut house) = run_with_limit(limit, &scenario).await;
        assert_eq!(within(house.wait()).await.unwrap().code(), Some(1), "{printed}");
        let start =
            format!("wwsim: too many open files: this process may have {} of them", &limit[3..]);
        assert!(printed.starts_with(&start), "{printed}");
        let enough = printed.split("`ulimit ").nth(1).unwrap().split('`').next().unwrap();
        let (printed, _house) = run_with_limit(enough, &scenario).await;
        assert!(printed.ends_with("Ctrl-C ends it.\n"), "{enough}: {printed}");
    }
    // One for each listener: of the control plane, of the devices, each of which has two, and of the peers.
    let (printed, _house) = run_with_limit("-n 123", &scenario).await;
    assert!(printed.ends_with("Ctrl-C ends it.\n"), "{printed}");
    // A soft limit that is too low is raised.
    let (printed, _house) = run_with_limit("-S -n 90", &scenario).await;
    assert!(printed.ends_with("Ctrl-C ends it.\n"), "{printed}");
}

#[cfg(unix)]
#[tokio::test]
async fn the_start_prints_a_dozen_of_each_kind() {
    let folder = Folder::created();
    for (devices, shown, more) in [(11, 11, None), (12, 12, None), (20, 12, Some("and 8 more"))] {
        let scenario = large_house(&folder.0, devices);
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
}

const MISTYPED: &str = "
slaves: {pump: {hosts: [pump.local]}}
device:
  actions:
    actions: [{id: a, requests: [{modbus: {host: pmp.local, func: 6, address: 1, value: '0001'}}]}]
";

#[tokio::test]
async fn check_warns_of_what_is_probably_not_meant() {
    let folder = Folder::created();
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
    let folder = Folder::created();
    let house = folder.file("house.yaml", MISTYPED);
    let (ready, log) = (folder.join("ready.json"), folder.join("log"));
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

#[tokio::test]
async fn mistakes_of_the_command_line_say_what_to_write() {
    let folder = Folder::created();
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
        let command =
            wwsim().args(arguments).current_dir(&folder.0).stderr(Stdio::piped()).output();
        let output = within(command).await.unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
    let (code, valid, _) = run(&["check", "default", "family-house"]).await;
    assert_eq!((code, &*valid), (Some(0), "default: valid\nfamily-house: valid\n"));
    let (_, help, _) = run(&["run", "--help"]).await;
    assert!(help.contains("WWSIM_LOG"), "{help}");
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
