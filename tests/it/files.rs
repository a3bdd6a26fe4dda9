//! The paths that a user names, and links, pipes and other programs in their way: what is not ours is
//! neither overwritten nor deleted, and nothing waits for the other end of a pipe.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::process::{Child, Command};
use wwsim::journal::Event;

use crate::state;
use crate::support::SECOND;
use crate::support::device::eventually;
use crate::support::folder::Folder;
use crate::support::house::{TestHouse, http, within};

/// A file that a user does not want to lose.
const KEPT: &str = "name: my house\n";
/// The ready file of an earlier house.
const OLD_READY: &str = r#"{"control":"http://127.0.0.1:1","seed":0,"devices":[],"slaves":{}}"#;

fn pipe(path: &Path) {
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// Returns the names in a folder.
fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

fn run(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wwsim"));
    command.arg("run").args(arguments).stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Runs a house that does not start, and returns its exit code and what it reports.
async fn refused(arguments: &[&str]) -> (Option<i32>, String) {
    let output = within(run(arguments).output()).await.unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Starts a house, and waits until `ready` has its addresses.
async fn start_ready(ready: &Path, contents: &Path) -> Child {
    let child = run(&["--any-port", "--ready-file", text(ready)]).spawn().unwrap();
    eventually(|| is_ready(contents)).await;
    child
}

fn is_ready(path: &Path) -> bool {
    let addresses = fs::read_to_string(path).unwrap_or_default();
    let addresses = serde_json::from_str::<Value>(&addresses).unwrap_or_default();
    addresses["control"].as_str().is_some_and(|url| url != "http://127.0.0.1:1")
}

#[tokio::test]
async fn a_ready_file_with_other_content_is_refused_before_anything_starts() {
    let folder = Folder::created();
    let path = |name: &str| folder.0.join(name);
    let scenario = json!({"control": "127.0.0.1:0", "devices": [{"http": "127.0.0.1:0"}]});
    fs::write(path("house.yaml"), KEPT).unwrap();
    fs::write(path("empty.yaml"), "").unwrap();
    fs::write(path("house.json"), scenario.to_string()).unwrap();
    // Scenarios with a mistake in `control`.
    for (name, control) in [("name.json", json!("localhost:8090")), ("port.json", json!(8090))] {
        let scenario = json!({"control": control, "devices": [{"http": "127.0.0.1:0"}]});
        fs::write(path(name), scenario.to_string()).unwrap();
    }
    fs::write(path("array.json"), "[1]").unwrap();
    fs::write(path("object.json"), "{}").unwrap();
    fs::write(path("half.json"), &OLD_READY[..OLD_READY.len() - 1]).unwrap();
    fs::create_dir(path("folder")).unwrap();
    let _socket = UnixListener::bind(path("socket")).unwrap();
    symlink(path("house.yaml"), path("link.yaml")).unwrap();
    symlink(path("loop"), path("loop")).unwrap();
    let state = path("state");
    for (name, reason) in [
        ("house.yaml", "it is neither empty nor a ready file; remove it, or give another file"),
        ("empty.yaml", "it is the scenario; give another file"),
        ("house.json", "it is neither empty nor a ready file"),
        ("name.json", "it is neither empty nor a ready file"),
        ("port.json", "it is neither empty nor a ready file"),
        ("array.json", "it is neither empty nor a ready file"),
        ("object.json", "it is neither empty nor a ready file"),
        ("half.json", "it is neither empty nor a ready file"),
        ("link.yaml", "it is neither empty nor a ready file"),
        ("folder", "it is a folder"),
        ("folder/", "it names no file"),
        ("folder/..", "it names no file"),
        ("socket", "it is a socket"),
        ("loop", "it is a link to a link, too many times"),
        ("nowhere/ready.json", "No such file or directory"),
        ("house.yaml/ready.json", "Not a directory"),
    ] {
        let before = names(&folder.0);
        let house = path(if name == "empty.yaml" { name } else { "house.yaml" });
        let ready = format!("{}/{name}", text(&folder.0));
        let arguments =
            [text(&house), "--any-port", "--state-dir", text(&state), "--ready-file", &ready];
        let (code, error) = refused(&arguments).await;
        assert_eq!(code, Some(2), "{name}: {error}");
        assert!(error.contains(&format!("cannot write the ready file {ready}: ")), "{error}");
        assert!(error.contains(reason), "{name}: {error}");
        assert_eq!(names(&folder.0), before, "{name}");
    }
    assert_eq!(fs::read_to_string(path("house.yaml")).unwrap(), KEPT);
    assert_eq!(fs::read_to_string(path("house.json")).unwrap(), scenario.to_string());
    assert!(!state.exists(), "nothing was started");
}

#[tokio::test]
async fn an_empty_or_earlier_ready_file_is_replaced_also_behind_a_link() {
    let folder = Folder::created();
    let path = |name: &str| folder.0.join(name);
    fs::write(path("empty"), "").unwrap();
    fs::write(path("old"), OLD_READY).unwrap();
    fs::create_dir(path("elsewhere")).unwrap();
    fs::write(path("elsewhere/old"), OLD_READY).unwrap();
    symlink("elsewhere/old", path("link")).unwrap();
    symlink("link", path("link-to-link")).unwrap();
    symlink("elsewhere/new", path("dangling")).unwrap();
    for (name, file) in [
        ("empty", "empty"),
        ("old", "old"),
        ("new", "new"),
        ("link", "elsewhere/old"),
        ("link-to-link", "elsewhere/old"),
        ("dangling", "elsewhere/new"),
    ] {
        let mut house = start_ready(&path(name), &path(file)).await;
        let mode = fs::metadata(path(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
        within(house.kill()).await.unwrap();
        fs::write(path(file), OLD_READY).unwrap();
    }
    assert!(path("link").is_symlink() && path("dangling").is_symlink());
    let expected = ["dangling", "elsewhere", "empty", "link", "link-to-link", "new", "old"];
    assert_eq!(names(&folder.0), expected, "no temporary file is left");
}

#[tokio::test]
async fn pipes_and_descriptors_are_written_in_place() {
    let folder = Folder::created();
    let path = |name: &str| folder.0.join(name);
    let shell = |script: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", script, env!("CARGO_BIN_EXE_wwsim")]).current_dir(&folder.0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.kill_on_drop(true);
        command
    };
    pipe(&path("pipe"));
    let house = run(&["--any-port", "--ready-file", text(&path("pipe"))]).spawn().unwrap();
    let reading = tokio::task::spawn_blocking({
        let pipe = path("pipe");
        move || fs::read_to_string(pipe).unwrap()
    });
    let addresses: Value = serde_json::from_str(&within(reading).await.unwrap()).unwrap();
    assert!(addresses["control"].as_str().unwrap().starts_with("http://"));
    drop(house);

    for (file, script) in [
        ("number", "exec \"$0\" run --any-port --ready-file /dev/fd/3 3>number"),
        ("process", "exec \"$0\" run --any-port --ready-file /proc/self/fd/4 4>process"),
        ("output", "exec \"$0\" run --any-port --ready-file /dev/stderr 2>output"),
    ] {
        let house = shell(script).spawn().unwrap();
        eventually(|| is_ready(&path(file))).await;
        drop(house);
    }
    fs::write(path("log"), "first line\n").unwrap();
    let house = shell("exec \"$0\" run --any-port --ready-file /dev/fd/3 3>>log").spawn().unwrap();
    let log = || fs::read_to_string(path("log")).unwrap();
    eventually(|| log().ends_with("}\n")).await;
    assert!(log().starts_with("first line\n{\"control\":"), "{}", log());
    drop(house);

    fs::write(path("house.yaml"), KEPT).unwrap();
    for (script, reason) in [
        ("exec \"$0\" run --any-port --ready-file /dev/fd/3 3<house.yaml", "open for reading only"),
        ("exec \"$0\" run --any-port --ready-file /dev/fd/77", "No such file or directory"),
        ("exec \"$0\" run --any-port --ready-file /dev/full", "No space left on device"),
    ] {
        let output = within(shell(script).output()).await.unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{script}: {error}");
        assert!(error.contains("cannot write the ready file /dev/f"), "{script}: {error}");
        assert!(error.contains(reason), "{script}: {error}");
    }
    assert_eq!(fs::read_to_string(path("house.yaml")).unwrap(), KEPT);
}

#[tokio::test]
async fn a_pipe_that_nobody_reads_does_not_hold_up_the_house() {
    let folder = Folder::created();
    let (ready, scenario) = (folder.0.join("pipe"), folder.0.join("house.yaml"));
    pipe(&ready);
    let free = crate::support::house::FreePort::new();
    let address = free.address();
    fs::write(&scenario, format!("control: 127.0.0.1:0\ndevice: {{http: '{address}'}}")).unwrap();
    let mut house = run(&[text(&scenario), "--ready-file", text(&ready)]).spawn().unwrap();
    eventually(|| std::net::TcpStream::connect(address).is_ok()).await;
    assert_eq!(http(address, "GET", "/api/v1/system", "").await.status, 200);
    let process = house.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").arg(process).status().unwrap().success());
    assert_eq!(within(house.wait()).await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn a_planted_temporary_file_of_the_ready_file_is_not_followed() {
    let folder = Folder::created();
    let path = |name: &str| folder.0.join(name);
    fs::write(path("kept"), KEPT).unwrap();
    let script = "ln -s kept ready.json.$$-0.tmp; ln kept ready.json.$$-1.tmp
                  exec \"$0\" run --any-port --ready-file ready.json";
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_wwsim")]).current_dir(&folder.0);
    let house = command.stdout(Stdio::null()).kill_on_drop(true).spawn().unwrap();
    eventually(|| is_ready(&path("ready.json"))).await;
    drop(house);
    assert_eq!(fs::read_to_string(path("kept")).unwrap(), KEPT);
    assert!(!path("ready.json").is_symlink());
}

#[tokio::test]
async fn what_comes_in_the_way_while_the_house_starts_is_kept() {
    let folder = Folder::created();
    let (ready, scenario) = (folder.0.join("ready.json"), folder.0.join("scenario"));
    pipe(&scenario);
    let mut house =
        run(&[text(&scenario), "--any-port", "--ready-file", text(&ready)]).spawn().unwrap();
    // The house opens its scenario after it has looked at the ready file.
    let give = tokio::task::spawn_blocking({
        let (ready, scenario) = (ready.clone(), scenario.clone());
        move || {
            let pipe = fs::OpenOptions::new().write(true).open(scenario).unwrap();
            fs::write(ready, KEPT).unwrap();
            drop(pipe);
        }
    });
    within(give).await.unwrap();
    assert_eq!(within(house.wait()).await.unwrap().code(), Some(2));
    assert_eq!(fs::read_to_string(&ready).unwrap(), KEPT);
    assert_eq!(names(&folder.0), ["ready.json", "scenario"]);
}

#[tokio::test]
async fn a_start_that_fails_leaves_the_ready_file_of_the_house_that_runs() {
    let folder = Folder::created();
    let ready = folder.0.join("ready.json");
    let _running = start_ready(&ready, &ready).await;
    let before = fs::read_to_string(&ready).unwrap();
    let control = serde_json::from_str::<Value>(&before).unwrap();
    let address = control["control"].as_str().unwrap().trim_start_matches("http://");
    for (arguments, code) in [
        (["nosuch", "--any-port"].as_slice(), 2),
        (&["default", "--control", address], 1),
        (&["default", "--any-port", "--token-file", "/nonexistent"], 2),
    ] {
        let arguments = [arguments, &["--ready-file", text(&ready)]].concat();
        let (actual, error) = refused(&arguments).await;
        assert!(actual.is_some_and(|actual| actual != 0), "{code}: {error}");
        assert_eq!(fs::read_to_string(&ready).unwrap(), before, "{arguments:?}: {error}");
        assert_eq!(names(&folder.0), ["ready.json"]);
    }
}

#[tokio::test]
async fn capture_overwrites_nothing_and_says_so_before_it_reads_the_device() {
    let folder = Folder::created();
    let path = |name: &str| folder.0.join(name);
    fs::write(path("house.yaml"), KEPT).unwrap();
    fs::write(path("empty"), "").unwrap();
    symlink("house.yaml", path("link")).unwrap();
    for (name, reason) in [
        ("house.yaml", "it exists already; remove it, or give another file"),
        ("empty", "it exists already"),
        ("link", "it exists already"),
        ("nowhere/house.yaml", "No such file or directory"),
        (".", "it is a folder"),
        ("nowhere/..", "it names no file"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wwsim"));
        // There is no device.
        let output = path(name);
        command.args(["capture", "http://127.0.0.1:1", "--output"]).arg(&output);
        let output = within(command.output()).await.unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{name}: {error}");
        assert!(error.contains(reason), "{name}: {error}");
    }
    assert_eq!(fs::read_to_string(path("house.yaml")).unwrap(), KEPT);

    let device = TestHouse::start("").await;
    let capture = async |output: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wwsim"));
        command.args(["capture", &device.device().url(), "--output"]).arg(output);
        within(command.output()).await.unwrap().status.code()
    };
    symlink("new", path("dangling")).unwrap();
    assert_eq!(capture(&path("dangling")).await, Some(0));
    let captured = fs::read_to_string(path("new")).unwrap();
    assert!(captured.starts_with("# Captured from "), "{captured}");
    pipe(&path("pipe"));
    let reading = tokio::task::spawn_blocking({
        let pipe = path("pipe");
        move || fs::read_to_string(pipe).unwrap()
    });
    assert_eq!(capture(&path("pipe")).await, Some(0));
    assert_eq!(within(reading).await.unwrap(), captured);
}

/// Puts something else in the place of a file, and returns what the start says about it.
async fn refusal_with(name: &str, plant: impl Fn(&Path, &Path)) -> String {
    let folder = Folder::new();
    let test = state::start("", &folder).await.unwrap();
    within(test.house.stop()).await;
    let (planted, kept) = (folder.0.join(name), folder.0.join("kept"));
    fs::create_dir(&kept).unwrap();
    fs::write(kept.join("file"), KEPT).unwrap();
    if planted.is_dir() {
        fs::rename(&planted, folder.0.join("moved")).unwrap();
    } else {
        let _ = fs::remove_file(&planted);
    }
    plant(&planted, &kept);
    let refused = match within(state::start("", &folder)).await {
        Ok(_) => panic!("{name}: it started"),
        Err(error) => error.to_string(),
    };
    assert_eq!(names(&kept), ["file"], "{name}");
    assert_eq!(fs::read_to_string(kept.join("file")).unwrap(), KEPT, "{name}");
    assert!(fs::symlink_metadata(&planted).is_ok(), "{name} is still there");
    assert!(refused.contains(&format!("{} is ", planted.display())), "{name}: {refused}");
    refused
}

// Ruling: STATE-4.
#[tokio::test]
async fn what_is_no_regular_file_in_a_state_directory_is_refused() {
    let files = [
        "wwsim.lock",
        "house.json",
        "house.json.tmp",
        "A842E39F8124/device.json",
        "A842E39F8124/device.json.tmp",
    ];
    for name in files {
        let refused = refusal_with(name, |at, kept| symlink(kept.join("file"), at).unwrap()).await;
        assert!(refused.ends_with(" is a link, expected a file; move it away"), "{refused}");
        let refused = refusal_with(name, |at, kept| symlink(kept.join("new"), at).unwrap()).await;
        assert!(refused.ends_with(" is a link, expected a file; move it away"), "{refused}");
        let refused = refusal_with(name, |at, _| pipe(at)).await;
        assert!(refused.contains(" is a pipe, a socket or a device, expected a file"), "{refused}");
        let refused = refusal_with(name, |at, _| fs::create_dir(at).unwrap()).await;
        assert!(refused.contains(" is a folder, expected a file"), "{refused}");
    }
    let name = "A842E39F8124";
    let refused = refusal_with(name, |at, kept| symlink(kept, at).unwrap()).await;
    assert!(refused.ends_with(" is a link, expected a folder; move it away"), "{refused}");
    let refused = refusal_with(name, |at, _| fs::write(at, KEPT).unwrap()).await;
    assert!(refused.contains(" is a file, expected a folder"), "{refused}");
}

#[tokio::test]
async fn a_link_that_is_planted_while_the_house_runs_is_not_followed() {
    let folder = Folder::new();
    let test = state::start("", &folder).await.unwrap();
    let kept = folder.0.join("kept");
    fs::write(&kept, KEPT).unwrap();
    eventually(|| folder.0.join("A842E39F8124/device.json").exists()).await;
    for name in ["house.json.tmp", "A842E39F8124/device.json.tmp"] {
        let _ = fs::remove_file(folder.0.join(name));
        symlink(&kept, folder.0.join(name)).unwrap();
    }
    let defined = test.post("/api/v1/actions", &json!({"actions": []}).to_string()).await;
    assert_eq!(defined.status, 200, "{}", defined.body);
    test.advance(SECOND).await;
    assert_eq!(fs::read_to_string(&kept).unwrap(), KEPT);
    let failed = test.journal_entries().into_iter().filter_map(|entry| match entry.event {
        Event::StateWriteFailed { what, .. } => Some(what.to_string()),
        _ => None,
    });
    let mut failed: Vec<String> = failed.collect();
    failed.sort();
    assert_eq!(failed, ["A842E39F8124", "the house"]);
}

#[tokio::test]
async fn a_state_directory_may_be_a_link_and_its_path_may_have_dots() {
    let folder = Folder::created();
    let path = |name: &str| folder.0.join(name);
    fs::create_dir(path("real")).unwrap();
    symlink("real", path("link")).unwrap();
    let start =
        async |state: PathBuf| crate::support::house::describe("").state_dir(state).start().await;
    let house = start(path("link")).await.unwrap();
    for same in [path("real"), path("link/../real"), path("real/.")] {
        let error = start(same).await.unwrap_err().to_string();
        assert!(error.contains(" is in use by another process"), "{error}");
    }
    within(house.stop()).await;
    let house = start(path("new/../real/a/b")).await.unwrap();
    within(house.stop()).await;
    assert!(path("real/house.json").exists() && path("real/a/b/house.json").exists());
}

// Ruling: SD-8.
#[tokio::test]
async fn a_card_may_be_a_link_which_a_reset_leaves_alone() {
    let folder = Folder::created();
    let (card, own) = (folder.0.join("A842E39F8124/sdcard"), folder.0.join("own"));
    fs::create_dir(&own).unwrap();
    fs::create_dir_all(card.parent().unwrap()).unwrap();
    fs::write(own.join("mine.txt"), "mine").unwrap();
    fs::write(own.join("other.txt"), "other").unwrap();
    symlink(&own, &card).unwrap();
    let house = state::start("device: {sd_card: {files: {a.txt: a}}}", &folder).await.unwrap();
    assert_eq!(house.get("/sdcard/mine.txt").await.body, "mine");
    assert_eq!(http(house.api_address(), "DELETE", "/sdcard/mine.txt", "").await.status, 204);
    assert_eq!(names(&own), ["other.txt"]);
    within(house.reset()).await;
    assert_eq!(house.get("/sdcard/a.txt").await.body, "a");
    assert_eq!(house.get("/sdcard/other.txt").await.status, 404);
    assert_eq!(names(&own), ["other.txt"], "what the link led to is not ours to delete");
}

// Ruling: SD-8.
#[tokio::test]
async fn pipes_on_a_card_are_no_files() {
    let folder = Folder::new();
    let house = state::start("meter: {kind: ensor}", &folder).await.unwrap();
    assert_eq!(house.get("/sdcard/").await.status, 200);
    let card = folder.0.join("A842E39F8124/sdcard");
    pipe(&card.join("pipe"));
    pipe(&card.join("20260115.CSV"));
    assert_eq!(house.get("/sdcard/pipe").await.status, 404);
    assert_eq!(http(house.api_address(), "DELETE", "/sdcard/pipe", "").await.status, 404);
    let log = json!({"services": {"sd": {"enable": true, "frequency": 1}}}).to_string();
    assert_eq!(http(house.api_address(), "PUT", "/api/v1/settings", &log).await.status, 200);
    house.advance(10 * SECOND).await;
    let not_written = |event: &Event| matches!(event, Event::SdWriteFailed { .. });
    assert!(house.journal_entries().iter().any(|entry| not_written(&entry.event)));
    assert_eq!(house.get("/sdcard/").await.json()["files"], json!([]));
}

/// While another program exchanges a folder for a link to another one, deletions stay on the card.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_cannot_be_led_off_the_card() {
    let folder = Folder::new();
    let house = state::start("", &folder).await.unwrap();
    assert_eq!(house.get("/sdcard/").await.status, 200);
    let (card, outside) = (folder.0.join("A842E39F8124/sdcard"), folder.0.join("outside"));
    for kept in [card.join("x"), outside.join("x")] {
        fs::create_dir_all(&kept).unwrap();
        fs::write(kept.join("secret"), "secret").unwrap();
    }
    symlink(outside.join("x"), card.join("link")).unwrap();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let exchanging = std::thread::spawn({
        let (card, one, other) = (card.clone(), card.join("x"), card.join("link"));
        move || {
            let aside = card.join("aside");
            while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                fs::rename(&one, &aside).unwrap();
                fs::rename(&other, &one).unwrap();
                fs::rename(&one, &other).unwrap();
                fs::rename(&aside, &one).unwrap();
            }
        }
    });
    for _ in 0..300 {
        // Deleted or not found: both are right.
        for path in ["/sdcard/x/secret", "/sdcard/link/secret", "/sdcard/x/secret/"] {
            http(house.api_address(), "DELETE", path, "").await;
        }
        let _ = fs::write(card.join("x/again"), "");
    }
    drop(stop);
    exchanging.join().unwrap();
    let mut kept = String::new();
    fs::File::open(outside.join("x/secret")).unwrap().read_to_string(&mut kept).unwrap();
    assert_eq!(kept, "secret");
}
