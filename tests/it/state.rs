//! State directories: after an orderly end, after a kill, torn, and of another house.

use std::collections::HashSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::Rng;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use wwsim::clock::Speed;
use wwsim::house::{BuildError, inject};
use wwsim::journal::Event;
use wwsim::rng::{Draws, RandomStream};

use crate::support::SECOND;
use crate::support::device::eventually;
use crate::support::folder::Folder;
use crate::support::house::{TestHouse, describe, http, within};

/// The files of a state directory.
impl Folder {
    fn house(&self) -> PathBuf {
        self.0.join("house.json")
    }

    fn device(&self) -> PathBuf {
        self.0.join("A842E39F8124/device.json")
    }

    /// Returns the names of the files that were set aside.
    fn set_aside(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![self.0.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path());
                }
                let name = entry.file_name().into_string().unwrap();
                if name.contains(".broken-") {
                    found.push(name);
                }
            }
        }
        found.sort();
        found
    }
}

/// Starts a house whose state is in `folder`, on a manual clock unless the scenario says otherwise.
pub(crate) async fn start(yaml: &str, folder: &Folder) -> Result<TestHouse, BuildError> {
    Ok(TestHouse { house: describe(yaml).state_dir(&folder.0).start().await? })
}

async fn stop(test: TestHouse) {
    within(test.house.stop()).await;
}

fn refusal(started: Result<TestHouse, BuildError>) -> String {
    match started {
        Ok(_) => panic!("it started"),
        Err(error) => error.to_string(),
    }
}

fn action(name: &str) -> Value {
    json!([{"id": name, "requests": [{"http": {"url": "http://nobody.local/"}}]}])
}

#[tokio::test]
async fn a_reboot_resumes_in_the_next_process() {
    let (folder, yaml) = (Folder::new(), "device: {reboot_time: 40s}");
    let test = start(yaml, &folder).await.unwrap();
    test.define(action("a")).await;
    assert_eq!(test.device().call("a").unwrap(), [1]);
    assert_eq!(test.post("/api/v1/reboot", "").await.status, 204);
    test.advance(10 * SECOND).await;
    stop(test).await;

    let test = start(yaml, &folder).await.unwrap();
    let device = test.device();
    test.advance(29 * SECOND).await;
    assert!(TcpStream::connect(test.api_address()).await.is_err(), "it is still down");
    test.advance(SECOND).await;
    let boot = device.view().boot;
    assert_eq!((boot.ordinal, boot.at.since_start()), (1, 40 * SECOND));
    assert_eq!(test.device().call("a").unwrap(), [1], "ids restart with each boot");
    stop(test).await;
}

#[tokio::test]
async fn recorder_mode_waits_for_a_reboot_not_for_a_new_process() {
    let (folder, yaml) = (Folder::new(), "device: {sd_card: {}, power: {usb: false}}");
    let test = start(yaml, &folder).await.unwrap();
    let recorder = json!({"services": {"sd": {"enable": true, "recorder_mode": true}}});
    assert_eq!(
        http(test.api_address(), "PUT", "/api/v1/settings", &recorder.to_string()).await.status,
        200
    );
    stop(test).await;

    let test = start(yaml, &folder).await.unwrap();
    assert_eq!(test.post("/api/v1/reboot", "").await.status, 204);
    test.advance(60 * SECOND).await;
    assert!(TcpStream::connect(test.api_address()).await.is_err(), "now it only records");
    stop(test).await;

    let test = start(yaml, &folder).await.unwrap();
    assert!(TcpStream::connect(test.api_address()).await.is_err(), "as before");
    stop(test).await;
}

// Ruling: STATE-1.
#[tokio::test]
async fn a_house_resumes_where_it_ended() {
    let folder = Folder::new();
    let test = start("", &folder).await.unwrap();
    let device = test.device();
    test.define(action("a")).await;
    device
        .configure(|config| {
            config.settings.system.name = "cellar".into();
            Ok::<_, ()>(())
        })
        .unwrap();
    assert_eq!(test.device().call("a").unwrap(), [1]);
    test.post("/api/v1/reboot", "").await;
    test.advance(100 * SECOND).await;
    assert_eq!(test.device().call("a").unwrap(), [1]);
    test.settle().await;
    let (view, reading) = (device.view(), device.snapshot().meter.reading.unwrap());
    stop(test).await;

    let test = start("", &folder).await.unwrap();
    let again = test.device();
    assert_eq!(test.clock().now().since_start(), 100 * SECOND);
    assert_eq!(again.view().boot, view.boot, "it has not rebooted");
    assert_eq!(again.view().config, view.config);
    assert_eq!(again.snapshot().meter.reading.unwrap(), reading, "the same to the last digit");
    assert_eq!(test.get("/api/v1/actions").await.json()["actions"], action("a"));
    assert_eq!(
        test.get("/api/v1/actions/status?id=1").await.status,
        404,
        "statuses are not persisted"
    );
    assert_eq!(test.device().call("a").unwrap(), [2], "no id is given out twice");
    stop(test).await;
    assert_eq!(folder.set_aside(), Vec::<String>::new());
}

#[tokio::test]
async fn the_state_directory_takes_precedence_over_the_scenario() {
    let folder = Folder::new();
    let with = |id: &str| format!("device: {{actions: {{actions: {}}}}}", action(id));
    let test = start(&with("first"), &folder).await.unwrap();
    test.define(action("mine")).await;
    stop(test).await;
    let test = start(&with("second"), &folder).await.unwrap();
    assert_eq!(test.get("/api/v1/actions").await.json()["actions"], action("mine"));
    let deleted = http(test.api_address(), "DELETE", "/api/v1/actions", "").await;
    assert_eq!(deleted.status, 204);
    stop(test).await;
    let test = start(&with("second"), &folder).await.unwrap();
    assert_eq!(test.get("/api/v1/actions").await.status, 404);
}

#[tokio::test]
async fn a_reboot_is_persisted_before_it_is_answered() {
    for path in ["/api/v1/reboot", "/api/v1/restore"] {
        let (folder, killed) = (Folder::new(), Folder::new());
        let test = start("", &folder).await.unwrap();
        // Delays the reply to a command that is carried out at once.
        let held = test.inject(inject::api().path(path).delay(5 * SECOND));
        test.advance(10 * SECOND).await;
        let device = test.api_address();
        let reply = tokio::spawn(async move { http(device, "POST", path, "").await });
        eventually(|| document(&folder.device())["down_until"] == json!(13_000_000_000_u64)).await;
        // A copy of the directory, as a process finds it that follows a kill at this point.
        std::fs::create_dir_all(killed.device().parent().unwrap()).unwrap();
        for file in [Folder::house, Folder::device] {
            std::fs::copy(file(&folder), file(&killed)).unwrap();
        }
        test.advance(5 * SECOND).await;
        assert_eq!(within(reply).await.unwrap().status, 204);
        held.assert_fired(1);
        drop(held);
        stop(test).await;

        let test = start("", &killed).await.unwrap();
        let device = test.device();
        assert_eq!(device.view().boot.ordinal, 0, "{path}");
        test.advance(3 * SECOND).await;
        let boot = device.view().boot;
        assert_eq!((boot.ordinal, boot.at.since_start()), (1, 13 * SECOND), "{path}");
        stop(test).await;
    }
}

#[tokio::test]
async fn report_ids_continue_across_processes() {
    let key = "0123456789ABCDEF0123456789ABCDEF";
    let yaml = format!("meter: {{kind: ensor, encryption_key: \"{key}\"}}");
    let set = async |test: &TestHouse, key: &str| {
        let body = json!({"encryption": true, "encryption_key": key}).to_string();
        let set = http(test.api_address(), "PUT", "/api/v1/meter/settings", &body).await;
        assert_eq!(set.status, 200, "{}", set.body);
    };
    let folder = Folder::new();
    let mut reports = Vec::new();
    for restarts in [false, true] {
        let mut test = start(&yaml, &folder).await.unwrap();
        let again = async |test: TestHouse| {
            if !restarts {
                return test;
            }
            stop(test).await;
            start(&yaml, &folder).await.unwrap()
        };
        set(&test, key).await;
        test.advance(500 * SECOND).await;
        set(&test, &"0".repeat(32)).await;
        test.advance(10 * SECOND).await;
        test = again(test).await;
        set(&test, key).await;
        test.advance(2 * SECOND).await;
        test = again(test).await;
        test.advance(60 * SECOND).await;
        let out = test.inject(inject::meter().no_data());
        test.advance(100 * SECOND).await;
        drop(out);
        test = again(test).await;
        test.advance(30 * SECOND).await;
        let before = test.get("/api/v1/report").await.json();
        test = again(test).await;
        reports.push((before, test.get("/api/v1/report").await.json()));
        test.reset().await;
        stop(test).await;
    }
    let id = reports[0].0["report"]["id"].as_u64().unwrap();
    assert!((530..600).contains(&id), "{id}");
    assert_eq!(reports[0], reports[1]);
    assert_eq!(reports[0].0, reports[0].1);
}

#[tokio::test]
async fn a_pairing_resumes_in_the_next_process() {
    let folder = Folder::new();
    let yaml = "device: {wps: {network: home, password: right-one, after: 30s}}";
    let test = start(yaml, &folder).await.unwrap();
    assert_eq!(test.post("/api/v1/wifi/wps", "").await.status, 204);
    test.advance(10 * SECOND).await;
    stop(test).await;
    let test = start(yaml, &folder).await.unwrap();
    let name = async || test.get("/api/v1/wifi/sta/settings").await.json()["name"].clone();
    test.advance(19 * SECOND).await;
    assert_eq!(name().await, "");
    test.advance(SECOND).await;
    assert_eq!(name().await, "home");
}

#[tokio::test]
async fn a_reset_persists_the_state_of_the_scenario() {
    let folder = Folder::new();
    let test = start("", &folder).await.unwrap();
    test.define(action("a")).await;
    test.advance(10 * SECOND).await;
    test.reset().await;
    assert_eq!(document(&folder.device())["actions"], Value::Null, "after the reset");
    stop(test).await;
    let test = start("", &folder).await.unwrap();
    assert_eq!(test.get("/api/v1/actions").await.status, 404);
    assert_eq!(test.clock().now().since_start(), Duration::ZERO);
}

#[tokio::test]
async fn an_interrupted_reset_leaves_a_consistent_state() {
    let ids = ["A842E30000A1", "A842E30000A2", "A842E30000A3"];
    let devices = ids.map(|id| format!("{{id: {id}, settings: {{system: {{name: scenario}}}}}}"));
    let yaml = format!("devices: [{}]", devices.join(", "));
    for turns in (0..48).map(|step| step * 3) {
        let folder = Folder::new();
        let test = start(&yaml, &folder).await.unwrap();
        for device in test.devices() {
            let Ok(()) = device.configure(|config| {
                config.settings.system.name = "user".into();
                Ok::<_, Infallible>(())
            });
        }
        test.advance(10 * SECOND).await;
        tokio::select! {
            biased;
            () = test.reset() => panic!("a reset takes more than one turn"),
            () = std::future::ready(()) => {}
        }
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        if turns % 2 == 0 {
            stop(test).await;
        } else {
            within(test.house.stop_within(Duration::ZERO)).await;
        }
        for id in ids {
            let saved = document(&folder.0.join(format!("{id}/device.json")));
            let name = &saved["config"]["settings"]["system"]["name"];
            assert_eq!((name, &saved["at"]), (&json!("scenario"), &json!(0)), "{turns} turns");
        }
        assert_eq!(document(&folder.house())["at"], 0);
    }
}

#[tokio::test]
async fn a_change_is_on_disk_when_it_is_answered() {
    let folder = Folder::new();
    let test = start("", &folder).await.unwrap();
    test.define(action("told")).await;
    let written = std::fs::read_to_string(folder.device()).unwrap();
    assert!(written.contains("told"), "{written}");
    test.advance(5 * SECOND).await;
    let written = std::fs::read_to_string(folder.house()).unwrap();
    assert!(written.contains("\"at\":5000000000"), "{written}");
}

#[tokio::test]
async fn a_movement_of_the_clock_is_written_before_it_begins() {
    let folder = Folder::new();
    let test = start("", &folder).await.unwrap();
    let activity = test.clock().activity().enter();
    let clock = test.clock().clone();
    let moving = tokio::spawn(async move { clock.advance(60 * SECOND).await });
    let house = folder.house();
    eventually(|| {
        std::fs::read_to_string(&house).is_ok_and(|text| text.contains("\"at\":60000000000"))
    })
    .await;
    assert_eq!(test.clock().now().since_start(), Duration::ZERO);
    drop(activity);
    moving.await.unwrap().unwrap();
}

/// Returns the content of a document.
fn document(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap();
    let (_, json) = text.split_once('\n').unwrap();
    serde_json::from_str(json).unwrap()
}

/// Returns the time from which a house would resume in this folder, in seconds.
fn written_time(folder: &Folder) -> f64 {
    Duration::from_nanos(document(&folder.house())["at"].as_u64().unwrap()).as_secs_f64()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abandoned_movement_leaves_a_consistent_state() {
    let folder = Folder::new();
    let test = start("", &folder).await.unwrap();
    let clock = test.clock();
    for round in 0..300 {
        let mut movement = Box::pin(clock.advance(SECOND));
        // Polls as far as the write before the movement, or a little further.
        for _ in 0..=(round % 4) {
            tokio::select! {
                biased;
                _ = &mut movement => break,
                () = tokio::task::yield_now() => {}
            }
        }
        drop(movement);
        assert!(written_time(&folder) >= clock.now().as_secs_f64());
    }
    test.advance(SECOND).await;
    assert!((written_time(&folder) - clock.now().as_secs_f64()).abs() < 1e-9);
    let is_failure = |event: &Event| matches!(event, Event::StateWriteFailed { .. });
    assert!(
        !test.journal_entries().iter().any(|entry| is_failure(&entry.event)),
        "{:?}",
        test.journal_entries()
    );
}

// Ruling: STATE-1.
#[tokio::test]
async fn a_status_id_is_reserved_on_disk_before_it_is_given_out() {
    let folder = Folder::new();
    let request = json!({"http": {"url": "http://nobody.local/"}});
    let actions = json!({"actions": [{"id": "a", "requests": vec![request; 20]}]});
    let test = start(&format!("device: {{actions: {actions}}}"), &folder).await.unwrap();
    let next = || document(&folder.device())["next_status_id"].as_u64().unwrap();
    test.settle().await;
    assert_eq!(next(), 1, "no id was given out");
    for _ in 0..100 {
        let called = test.call("a").await;
        let (_, last) = called.header("Location").unwrap().rsplit_once(',').unwrap();
        let last: u64 = last.parse().unwrap();
        assert!(last < next(), "{last} was given out, {} is written", next());
        test.settle().await;
    }
    stop(test).await;
    assert_eq!(next(), 2001, "the reserved ids are released in the end");
}

#[tokio::test]
async fn the_clock_never_shows_a_later_time_than_the_written_one() {
    let folder = Folder::new();
    let test = start("clock: {speed: 1}", &folder).await.unwrap();
    let clock = test.clock();
    let shown = || {
        let now = clock.now().as_secs_f64();
        let written = written_time(&folder);
        assert!(now <= written, "{now} is shown, {written} is written");
        now
    };
    for round in 1..=3 {
        clock.set_speed(Speed::Times(Speed::FASTEST));
        // The clock waits until so much more is written, and no longer.
        eventually(|| shown() > f64::from(round) * 100_000.0).await;
        clock.set_speed(Speed::REAL);
        shown();
        clock.jump(100 * SECOND).await.unwrap();
        shown();
        let before = shown();
        clock.set_speed(Speed::Times(1000.0));
        eventually(|| shown() > before + 100.0).await;
    }
    test.reset().await;
    assert!(shown() < 100_000.0);
    eventually(|| shown() > 1.0).await;
}

#[tokio::test]
async fn two_processes_do_not_share_a_directory() {
    let folder = Folder::new();
    let test = start("", &folder).await.unwrap();
    let refused = refusal(start("", &folder).await);
    assert!(
        refused.ends_with("is in use by another process; end that, or give another --state-dir"),
        "{refused}"
    );
    stop(test).await;
    stop(start("", &folder).await.unwrap()).await;
}

// Ruling: STATE-2.
#[tokio::test]
async fn the_state_of_another_house_is_refused_and_not_changed() {
    let folder = Folder::new();
    stop(start("", &folder).await.unwrap()).await;
    let before = std::fs::read(folder.house()).unwrap();
    for (other, what) in [
        ("seed: 8", "its seed is 0, that of the scenario 8"),
        (
            "devices: [{}, {}]",
            "its devices are A842E39F8124, those of the scenario A842E39F8124, A842E39F8125",
        ),
    ] {
        let refused = refusal(start(other, &folder).await);
        assert!(refused.contains(what), "{refused}");
    }
    let refused = refusal(start("clock: {start: 2027-01-01T00:00:00Z}", &folder).await);
    assert!(refused.contains("it started at 2026-01-15T17:00:00Z"), "{refused}");
    assert_eq!(std::fs::read(folder.house()).unwrap(), before);
}

#[tokio::test]
async fn an_error_names_the_directory_that_cannot_be_used() {
    let folder = Folder::new();
    std::fs::write(&folder.0, "a file").unwrap();
    let refused = refusal(start("", &folder).await);
    assert!(refused.starts_with("cannot keep state in "), "{refused}");
    std::fs::remove_file(&folder.0).unwrap();
}

/// A device whose file is torn or foreign starts with the state of the scenario, never with half of the
/// file.
#[tokio::test]
async fn a_torn_or_foreign_device_file_is_set_aside() {
    let folder = Folder::new();
    let test = start("", &folder).await.unwrap();
    test.define(action("kept")).await;
    test.advance(50 * SECOND).await;
    stop(test).await;
    let whole = std::fs::read(folder.device()).unwrap();
    let mut bad_digit = whole.clone();
    let at = whole.len() - 20;
    bad_digit[at] ^= 1;
    let newer =
        String::from_utf8(whole.clone()).unwrap().replacen("wwsim-state 1", "wwsim-state 2", 1);
    let house_file = std::fs::read(folder.house()).unwrap();
    let damaged = [
        Vec::new(),
        whole[..whole.len() / 2].to_vec(),
        whole[..whole.len() - 1].to_vec(),
        [whole.clone(), b"x".to_vec()].concat(),
        bad_digit,
        newer.into_bytes(),
        house_file,
        b"{\"settings\": {}}\n".to_vec(),
        vec![0xFF; 3000],
    ];
    for (index, bytes) in damaged.iter().enumerate() {
        std::fs::write(folder.device(), bytes).unwrap();
        let test = start("", &folder).await.unwrap();
        assert_eq!(test.get("/api/v1/actions").await.status, 404, "{index}");
        assert_eq!(test.clock().now().since_start(), 50 * SECOND, "{index}");
        stop(test).await;
        assert_eq!(folder.set_aside().len(), index + 1);
    }
    assert_eq!(
        std::fs::read(folder.0.join("A842E39F8124/device.json.broken-2")).unwrap(),
        damaged[1]
    );
    std::fs::write(folder.device(), whole).unwrap();
    let test = start("", &folder).await.unwrap();
    assert_eq!(test.get("/api/v1/actions").await.status, 200);
}

#[tokio::test]
async fn a_torn_house_file_costs_no_device_and_no_time() {
    let folder = Folder::new();
    let test = start("", &folder).await.unwrap();
    test.advance(50 * SECOND).await;
    test.define(action("kept")).await;
    stop(test).await;
    std::fs::write(folder.house(), "wwsim-sta").unwrap();
    let test = start("", &folder).await.unwrap();
    assert_eq!(test.get("/api/v1/actions").await.status, 200);
    assert_eq!(test.clock().now().since_start(), 50 * SECOND);
    assert_eq!(folder.set_aside(), ["house.json.broken-1"]);
}

#[tokio::test]
async fn a_torn_house_file_does_not_change_the_calendar() {
    let folder = Folder::new();
    let test = start("clock: {speed: manual}", &folder).await.unwrap();
    test.define(action("kept")).await;
    let began = test.clock().start();
    stop(test).await;
    std::fs::write(folder.house(), "").unwrap();
    let test = start("clock: {speed: manual}", &folder).await.unwrap();
    assert_eq!(test.clock().start(), began);
    assert_eq!(folder.set_aside(), ["house.json.broken-1"]);
}

#[tokio::test]
async fn a_card_whose_reset_was_interrupted_is_a_new_one() {
    let folder = Folder::new();
    let yaml = "device: {sd_card: {files: {a.txt: first}}}";
    stop(start(yaml, &folder).await.unwrap()).await;
    let card = folder.0.join("A842E39F8124/sdcard");
    let listed = || async {
        let test = start(yaml, &folder).await.unwrap();
        let listed = test.get("/sdcard/").await.body;
        test.reset().await;
        stop(test).await;
        listed
    };
    let whole = listed().await;
    assert!(whole.contains("a.txt"), "{whole}");
    std::fs::write(card.join("b.txt"), "second").unwrap();
    std::fs::rename(&card, card.with_extension("old")).unwrap();
    assert_eq!(listed().await, whole);
    assert!(!card.with_extension("old").exists(), "a reset removes it");
}

#[tokio::test]
async fn other_files_in_the_directory_are_ignored() {
    let folder = Folder::new();
    let test = start("", &folder).await.unwrap();
    test.define(action("kept")).await;
    stop(test).await;
    let beside = folder.device().with_extension("json.tmp");
    std::fs::write(&beside, "half of a").unwrap();
    let test = start("", &folder).await.unwrap();
    assert_eq!(test.get("/api/v1/actions").await.status, 200);
    stop(test).await;
    assert_eq!(folder.set_aside(), Vec::<String>::new());
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_can_read_the_files() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    stop(start("", &folder).await.unwrap()).await;
    for file in [folder.house(), folder.device()] {
        assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o077, 0);
    }
}

/// A process of the binary with a state directory.
struct Process {
    child: Child,
    device: SocketAddr,
    control: SocketAddr,
}

impl Process {
    async fn start(folder: &Path, speed: &str) -> Self {
        let ready_file = folder.join("ready.json");
        let _ = std::fs::remove_file(&ready_file);
        let mut command = Command::new(env!("CARGO_BIN_EXE_wwsim"));
        command
            .args(["run", "default", "--any-port", "--speed", speed, "--state-dir"])
            .arg(folder)
            .arg("--ready-file")
            .arg(&ready_file)
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .kill_on_drop(true);
        let child = command.spawn().unwrap();
        eventually(|| ready_file.exists()).await;
        let ready: Value = serde_json::from_slice(&std::fs::read(&ready_file).unwrap()).unwrap();
        let address = |url: &Value| url.as_str().unwrap()["http://".len()..].parse().unwrap();
        Self {
            child,
            device: address(&ready["devices"][0]["http"]),
            control: address(&ready["control"]),
        }
    }

    /// Returns the time of the house, in seconds.
    async fn time(&self) -> f64 {
        let clock = http(self.control, "GET", "/control/v1/clock", "").await;
        clock.json()["t"].as_f64().unwrap()
    }

    /// Sends SIGKILL, and waits for the end of the process.
    async fn kill(mut self) {
        within(self.child.kill()).await.unwrap();
    }
}

/// Sends one request, and returns the status and the reply. `None` if the other side dies first.
async fn try_http(to: SocketAddr, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(to).await.ok()?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer))
}

/// Stores one definition after another until the process is gone. `answered` is the number of the last one
/// that was answered.
async fn store_definitions(device: SocketAddr, answered: Arc<AtomicU64>) {
    loop {
        let next = answered.load(Ordering::Relaxed) + 1;
        let definition = json!({"const": {"n": next}, "actions": action("a")}).to_string();
        match try_http(device, "POST", "/api/v1/actions", &definition).await {
            Some((200, _)) => answered.store(next, Ordering::Relaxed),
            Some((status, answer)) => panic!("{status}: {answer}"),
            None => return,
        }
    }
}

/// Starts the binary, and returns it with the device's URL and the ids of the status line to try.
async fn start_and_read_status_line(scenario: &Path, state: &Path) -> (Child, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wwsim"));
    command.arg("run").arg(scenario).args(["--any-port", "--state-dir"]).arg(state);
    let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    loop {
        let line = within(lines.next_line()).await.unwrap().expect("the status line comes");
        if let Some((command, ids)) = line.split_once("/api/v1/actions/status?id=") {
            let url = command.split('\'').nth(1).unwrap();
            return (child, url.to_owned(), ids.trim_end_matches('\'').to_owned());
        }
    }
}

#[tokio::test]
async fn the_status_line_to_try_has_the_ids_of_the_next_call() {
    let folder = Folder::new();
    std::fs::create_dir_all(&folder.0).unwrap();
    let (scenario, state) = (folder.0.join("house.yaml"), folder.0.join("state"));
    let request = json!({"http": {"url": "http://nobody.local/"}});
    let actions = json!([
        {"id": "off", "enable": false, "requests": [request]},
        {"id": "two", "requests": [request, request]},
    ]);
    let device = json!({"first_status_id": 139, "actions": {"actions": actions}});
    let yaml = json!({"control": "127.0.0.1:0", "device": device}).to_string();
    std::fs::write(&scenario, yaml).unwrap();
    let mut printed = Vec::new();
    for _ in 0..2 {
        let (mut process, url, ids) = start_and_read_status_line(&scenario, &state).await;
        let device = url["http://".len()..].parse().unwrap();
        let called = http(device, "POST", "/api/v1/actions/call?id=two", "").await;
        let location = format!("/api/v1/actions/status?id={ids}");
        assert_eq!(called.header("Location"), Some(&*location));
        within(process.kill()).await.unwrap();
        printed.push(ids);
    }
    assert_eq!(printed[0], "139,140");
    assert_ne!(printed[1], printed[0]);
}

#[tokio::test]
async fn a_status_id_from_before_a_kill_is_not_given_out_again() {
    let folder = Folder::new();
    let call = async |process: &Process| {
        let called = http(process.device, "POST", "/api/v1/actions/call?id=a", "").await;
        called.header("Location").unwrap().to_owned()
    };
    let process = Process::start(&folder.0, "1").await;
    let definition = json!({"actions": action("a")}).to_string();
    let defined = http(process.device, "POST", "/api/v1/actions", &definition).await;
    assert_eq!(defined.status, 200, "{}", defined.body);
    let first = call(&process).await;
    process.kill().await;
    let process = Process::start(&folder.0, "1").await;
    assert_ne!(call(&process).await, first);
    process.kill().await;
}

#[tokio::test]
async fn a_killed_house_loses_at_most_the_last_write() {
    let folder = Folder::new();
    let mut draws = Draws::new(11, RandomStream::named("kill"), 0);
    let (mut answered, mut time, mut given) = (0, 0.0_f64, HashSet::new());
    for round in 0..8 {
        let speed = if round % 2 == 0 { "1" } else { "3600" };
        let process = Process::start(&folder.0, speed).await;
        let begins = process.time().await;
        assert!(begins >= time, "round {round}: time fell from {time} to {begins}");
        if round > 0 {
            let stored = http(process.device, "GET", "/api/v1/actions", "").await.json();
            let stored = stored["const"]["n"].as_u64().unwrap();
            assert!(
                (answered..=answered + 1).contains(&stored),
                "round {round}: {answered} was answered, {stored} is there"
            );
            answered = stored;
            let called = http(process.device, "POST", "/api/v1/actions/call?id=a", "").await;
            assert_eq!(called.status, 202, "{}", called.body);
            let id = called.header("Location").unwrap().to_owned();
            assert!(given.insert(id.clone()), "round {round}: {id} was given before");
        }
        let last = Arc::new(AtomicU64::new(answered));
        let writer = tokio::spawn(store_definitions(process.device, Arc::clone(&last)));
        let enough = answered + 1 + draws.next_u64() % 20;
        eventually(|| last.load(Ordering::Relaxed) >= enough).await;
        if round % 4 > 1 {
            let moved = [r#"{"jump":"1h"}"#, r#"{"speed":100000}"#][round % 2];
            http(process.control, "POST", "/control/v1/clock", moved).await;
        }
        time = process.time().await;
        process.kill().await;
        within(writer).await.unwrap();
        answered = last.load(Ordering::Relaxed);
    }
    assert_eq!(folder.set_aside(), Vec::<String>::new());
}
