//! What outlives the process: state directories, ended in order, killed, torn and foreign.

use std::collections::HashSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use rand::Rng;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use wwsim::clock::Speed;
use wwsim::house::{House, StartError};
use wwsim::journal::Event;
use wwsim::rng::{Draws, RandomStream};
use wwsim::scenario;

use crate::device_harness::eventually;
use crate::harness::{TestHouse, http, within};

const SECOND: Duration = Duration::from_secs(1);

/// A directory that is gone after the test.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("wwsim-state-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    fn house(&self) -> PathBuf {
        self.0.join("house.json")
    }

    fn device(&self) -> PathBuf {
        self.0.join("A842E39F8124/device.json")
    }

    /// The files that were set aside.
    fn broken(&self) -> Vec<String> {
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

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A house on a manual clock, where it does not say otherwise, whose state is in a folder.
pub async fn start(yaml: &str, folder: &Folder) -> Result<TestHouse, StartError> {
    let yaml = if yaml.contains("clock:") {
        yaml.to_owned()
    } else {
        format!("clock: {{start: 2026-01-15T18:00:00+01:00, speed: manual}}\n{yaml}")
    };
    let mut scenario = scenario::load(&yaml, "test.yaml", None).unwrap();
    scenario.any_port();
    scenario.state_dir = Some(folder.0.clone());
    Ok(TestHouse { house: House::start(scenario).await? })
}

async fn stop(twin: TestHouse) {
    within(twin.house.stop()).await;
}

fn refusal(started: Result<TestHouse, StartError>) -> String {
    match started {
        Ok(_) => panic!("it started"),
        Err(error) => error.to_string(),
    }
}

fn action(name: &str) -> Value {
    json!([{"id": name, "requests": [{"http": {"url": "http://nobody.local/"}}]}])
}

#[tokio::test]
async fn a_reboot_goes_on_where_the_process_ended() {
    let (folder, house) = (Folder::new(), "device: {reboot_time: 40s}");
    let twin = start(house, &folder).await.unwrap();
    twin.define(action("a")).await;
    assert_eq!(twin.ids("a").await, "1");
    assert_eq!(twin.post("/api/v1/reboot", "").await.status, 204);
    twin.advance(10 * SECOND).await;
    stop(twin).await;

    let twin = start(house, &folder).await.unwrap();
    let device = twin.house.devices().next().unwrap().clone();
    twin.advance(29 * SECOND).await;
    assert!(TcpStream::connect(twin.device()).await.is_err(), "it is down still");
    twin.advance(SECOND).await;
    let boot = device.view().boot;
    assert_eq!((boot.ordinal, boot.at.since_start()), (1, 40 * SECOND));
    assert_eq!(twin.ids("a").await, "1", "ids count from each boot");
    stop(twin).await;
}

#[tokio::test]
async fn a_device_that_is_to_record_only_from_its_next_start_on_is_not_started_by_its_process() {
    let (folder, house) = (Folder::new(), "device: {sd_card: {}, power: {usb: false}}");
    let twin = start(house, &folder).await.unwrap();
    let recorder = json!({"services": {"sd": {"enable": true, "recorder_mode": true}}});
    assert_eq!(
        http(twin.device(), "PUT", "/api/v1/settings", &recorder.to_string()).await.status,
        200
    );
    stop(twin).await;

    let twin = start(house, &folder).await.unwrap();
    assert_eq!(twin.post("/api/v1/reboot", "").await.status, 204);
    twin.advance(60 * SECOND).await;
    assert!(TcpStream::connect(twin.device()).await.is_err(), "now it records only");
    stop(twin).await;

    let twin = start(house, &folder).await.unwrap();
    assert!(TcpStream::connect(twin.device()).await.is_err(), "as before");
    stop(twin).await;
}

// Ruling: STATE-1.
#[tokio::test]
async fn a_house_goes_on_where_it_ended() {
    let folder = Folder::new();
    let twin = start("", &folder).await.unwrap();
    let device = twin.house.devices().next().unwrap().clone();
    twin.define(action("a")).await;
    device
        .configure(|config| {
            config.settings.system.name = "cellar".into();
            Ok::<_, ()>(())
        })
        .unwrap();
    assert_eq!(twin.ids("a").await, "1");
    twin.post("/api/v1/reboot", "").await;
    twin.advance(100 * SECOND).await;
    assert_eq!(twin.ids("a").await, "1");
    twin.settle().await;
    let (view, reading) = (device.view(), device.snapshot().meter.reading.unwrap());
    stop(twin).await;

    let twin = start("", &folder).await.unwrap();
    let again = twin.house.devices().next().unwrap().clone();
    assert_eq!(twin.house.clock().now().since_start(), 100 * SECOND);
    assert_eq!(again.view().boot, view.boot, "it has not rebooted");
    assert_eq!(again.view().config, view.config);
    assert_eq!(again.snapshot().meter.reading.unwrap(), reading, "the same to the last digit");
    assert_eq!(twin.get("/api/v1/actions").await.json()["actions"], action("a"));
    assert_eq!(twin.get("/api/v1/actions/status?id=1").await.status, 404, "statuses are not kept");
    assert_eq!(twin.ids("a").await, "2", "and no id comes twice");
    stop(twin).await;
    assert_eq!(folder.broken(), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_kept_wins_over_what_the_scenario_begins_with() {
    let folder = Folder::new();
    let with = |id: &str| format!("device: {{actions: {{actions: {}}}}}", action(id));
    let twin = start(&with("first"), &folder).await.unwrap();
    twin.define(action("mine")).await;
    stop(twin).await;
    let twin = start(&with("second"), &folder).await.unwrap();
    assert_eq!(twin.get("/api/v1/actions").await.json()["actions"], action("mine"));
    let deleted = http(twin.device(), "DELETE", "/api/v1/actions", "").await;
    assert_eq!(deleted.status, 204);
    stop(twin).await;
    let twin = start(&with("second"), &folder).await.unwrap();
    assert_eq!(twin.get("/api/v1/actions").await.status, 404);
}

#[tokio::test]
async fn a_reboot_is_kept_before_it_is_answered() {
    for path in ["/api/v1/reboot", "/api/v1/restore"] {
        let (folder, killed) = (Folder::new(), Folder::new());
        let twin = start("", &folder).await.unwrap();
        // Holds back the answer of what is carried out at once.
        let rule = json!({"id": "held", "at": {"api": {"route": path}}, "effect": {"delay": "5s"}});
        twin.add_fault(rule).await;
        twin.advance(10 * SECOND).await;
        let device = twin.device();
        let asked = tokio::spawn(async move { http(device, "POST", path, "").await });
        eventually(|| document(&folder.device())["down_until"] == json!(13_000_000_000_u64)).await;
        // As it is for who comes after a process that is killed here.
        std::fs::create_dir_all(killed.device().parent().unwrap()).unwrap();
        for file in [Folder::house, Folder::device] {
            std::fs::copy(file(&folder), file(&killed)).unwrap();
        }
        twin.advance(5 * SECOND).await;
        assert_eq!(within(asked).await.unwrap().status, 204);
        stop(twin).await;

        let twin = start("", &killed).await.unwrap();
        let device = twin.house.devices().next().unwrap().clone();
        assert_eq!(device.view().boot.ordinal, 0, "{path}");
        twin.advance(3 * SECOND).await;
        let boot = device.view().boot;
        assert_eq!((boot.ordinal, boot.at.since_start()), (1, 13 * SECOND), "{path}");
        stop(twin).await;
    }
}

#[tokio::test]
async fn report_ids_go_on_as_if_the_process_had_not_ended() {
    let key = "0123456789ABCDEF0123456789ABCDEF";
    let house = format!("meter: {{kind: ensor, encryption_key: \"{key}\"}}");
    let set = async |twin: &TestHouse, key: &str| {
        let body = json!({"encryption": true, "encryption_key": key}).to_string();
        let set = http(twin.device(), "PUT", "/api/v1/meter/settings", &body).await;
        assert_eq!(set.status, 200, "{}", set.body);
    };
    let folder = Folder::new();
    let mut reports = Vec::new();
    for restarts in [false, true] {
        let mut twin = start(&house, &folder).await.unwrap();
        let again = async |twin: TestHouse| {
            if !restarts {
                return twin;
            }
            stop(twin).await;
            start(&house, &folder).await.unwrap()
        };
        set(&twin, key).await;
        twin.advance(500 * SECOND).await;
        set(&twin, &"0".repeat(32)).await;
        twin.advance(10 * SECOND).await;
        twin = again(twin).await;
        set(&twin, key).await;
        twin.advance(2 * SECOND).await;
        twin = again(twin).await;
        twin.advance(60 * SECOND).await;
        twin.add_fault(json!({"id": "out", "at": "meter", "effect": "no_data"})).await;
        twin.advance(100 * SECOND).await;
        http(twin.control(), "DELETE", "/control/v1/faults/out", "").await;
        twin = again(twin).await;
        twin.advance(30 * SECOND).await;
        let before = twin.get("/api/v1/report").await.json();
        twin = again(twin).await;
        reports.push((before, twin.get("/api/v1/report").await.json()));
        twin.house.reset().await;
        stop(twin).await;
    }
    let id = reports[0].0["report"]["id"].as_u64().unwrap();
    assert!((530..600).contains(&id), "{id}");
    assert_eq!(reports[0], reports[1]);
    assert_eq!(reports[0].0, reports[0].1);
}

#[tokio::test]
async fn a_pairing_goes_on_where_the_process_ended() {
    let folder = Folder::new();
    let house = "device: {wps: {network: home, password: right-one, after: 30s}}";
    let twin = start(house, &folder).await.unwrap();
    assert_eq!(twin.post("/api/v1/wifi/wps", "").await.status, 204);
    twin.advance(10 * SECOND).await;
    stop(twin).await;
    let twin = start(house, &folder).await.unwrap();
    let name = async || twin.get("/api/v1/wifi/sta/settings").await.json()["name"].clone();
    twin.advance(19 * SECOND).await;
    assert_eq!(name().await, "");
    twin.advance(SECOND).await;
    assert_eq!(name().await, "home");
}

#[tokio::test]
async fn a_reset_goes_back_to_the_scenario_on_disk_too() {
    let folder = Folder::new();
    let twin = start("", &folder).await.unwrap();
    twin.define(action("a")).await;
    twin.advance(10 * SECOND).await;
    twin.house.reset().await;
    assert_eq!(document(&folder.device())["actions"], Value::Null, "once it is over");
    stop(twin).await;
    let twin = start("", &folder).await.unwrap();
    assert_eq!(twin.get("/api/v1/actions").await.status, 404);
    assert_eq!(twin.house.clock().now().since_start(), Duration::ZERO);
}

#[tokio::test]
async fn a_house_that_ends_in_the_middle_of_a_reset_is_kept_whole() {
    let ids = ["A842E30000A1", "A842E30000A2", "A842E30000A3"];
    let devices = ids.map(|id| format!("{{id: {id}, settings: {{system: {{name: scenario}}}}}}"));
    let house = format!("devices: [{}]", devices.join(", "));
    for turns in (0..48).map(|step| step * 3) {
        let folder = Folder::new();
        let twin = start(&house, &folder).await.unwrap();
        for device in twin.house.devices() {
            let Ok(()) = device.configure(|config| {
                config.settings.system.name = "user".into();
                Ok::<_, Infallible>(())
            });
        }
        twin.advance(10 * SECOND).await;
        tokio::select! {
            biased;
            () = twin.house.reset() => panic!("a reset takes more than one turn"),
            () = std::future::ready(()) => {}
        }
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        if turns % 2 == 0 {
            stop(twin).await;
        } else {
            within(twin.house.stop_within(Duration::ZERO)).await;
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
async fn what_was_answered_is_on_disk() {
    let folder = Folder::new();
    let twin = start("", &folder).await.unwrap();
    twin.define(action("told")).await;
    let written = std::fs::read_to_string(folder.device()).unwrap();
    assert!(written.contains("told"), "{written}");
    twin.advance(5 * SECOND).await;
    let written = std::fs::read_to_string(folder.house()).unwrap();
    assert!(written.contains("\"at\":5000000000"), "{written}");
}

#[tokio::test]
async fn a_movement_is_written_down_before_it_begins() {
    let folder = Folder::new();
    let twin = start("", &folder).await.unwrap();
    let motion = twin.house.clock().activity().enter();
    let clock = twin.house.clock().clone();
    let moving = tokio::spawn(async move { clock.advance(60 * SECOND).await });
    let house = folder.house();
    eventually(|| {
        std::fs::read_to_string(&house).is_ok_and(|text| text.contains("\"at\":60000000000"))
    })
    .await;
    assert_eq!(twin.house.clock().now().since_start(), Duration::ZERO);
    drop(motion);
    moving.await.unwrap().unwrap();
}

/// What a document says.
fn document(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap();
    let (_, json) = text.split_once('\n').unwrap();
    serde_json::from_str(json).unwrap()
}

/// How far a house in this folder would go on from, in seconds.
fn kept(folder: &Folder) -> f64 {
    Duration::from_nanos(document(&folder.house())["at"].as_u64().unwrap()).as_secs_f64()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_movement_given_up_on_tears_nothing() {
    let folder = Folder::new();
    let twin = start("", &folder).await.unwrap();
    let clock = twin.house.clock();
    for round in 0..300 {
        let mut movement = Box::pin(clock.advance(SECOND));
        // As far as the write that comes before it, or a little further.
        for _ in 0..=(round % 4) {
            tokio::select! {
                biased;
                _ = &mut movement => break,
                () = tokio::task::yield_now() => {}
            }
        }
        drop(movement);
        assert!(kept(&folder) >= clock.now().as_secs_f64());
    }
    twin.advance(SECOND).await;
    assert!((kept(&folder) - clock.now().as_secs_f64()).abs() < 1e-9);
    let told = |event: &Event| matches!(event, Event::StateNotWritten { .. });
    assert!(!twin.journal().iter().any(|entry| told(&entry.event)), "{:?}", twin.journal());
}

// Ruling: STATE-1.
#[tokio::test]
async fn no_id_is_told_that_a_killed_process_would_give_out_again() {
    let folder = Folder::new();
    let request = json!({"http": {"url": "http://nobody.local/"}});
    let actions = json!({"actions": [{"id": "a", "requests": vec![request; 20]}]});
    let twin = start(&format!("device: {{actions: {actions}}}"), &folder).await.unwrap();
    let next = || document(&folder.device())["next_status_id"].as_u64().unwrap();
    twin.settle().await;
    assert_eq!(next(), 1, "none was given out");
    for _ in 0..100 {
        let ids = twin.ids("a").await;
        let last: u64 = ids.rsplit(',').next().unwrap().parse().unwrap();
        assert!(last < next(), "{last} was told, {} is kept", next());
        twin.settle().await;
    }
    stop(twin).await;
    assert_eq!(next(), 2001, "what was reserved is given back in the end");
}

#[tokio::test]
async fn no_later_time_is_shown_than_what_is_written_down() {
    let folder = Folder::new();
    let twin = start("clock: {speed: 1}", &folder).await.unwrap();
    let clock = twin.house.clock();
    let shown = || {
        let now = clock.now().as_secs_f64();
        let kept = kept(&folder);
        assert!(now <= kept, "{now} is shown, {kept} is kept");
        now
    };
    for round in 1..=3 {
        clock.set_speed(Speed::Times(Speed::FASTEST));
        // It stands still until so much more is written down, and no longer.
        eventually(|| shown() > f64::from(round) * 100_000.0).await;
        clock.set_speed(Speed::REAL);
        shown();
        clock.jump(100 * SECOND).await.unwrap();
        shown();
        let before = shown();
        clock.set_speed(Speed::Times(1000.0));
        eventually(|| shown() > before + 100.0).await;
    }
    twin.house.reset().await;
    assert!(shown() < 100_000.0);
    eventually(|| shown() > 1.0).await;
}

#[tokio::test]
async fn two_processes_do_not_share_a_directory() {
    let folder = Folder::new();
    let twin = start("", &folder).await.unwrap();
    let refused = refusal(start("", &folder).await);
    assert!(
        refused.ends_with("is in use by another process; end that, or give another --state-dir"),
        "{refused}"
    );
    stop(twin).await;
    stop(start("", &folder).await.unwrap()).await;
}

// Ruling: STATE-2.
#[tokio::test]
async fn the_state_of_another_house_is_refused_and_left_alone() {
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
    let mut scenario =
        scenario::load("clock: {start: 2027-01-01T00:00:00Z}", "test.yaml", None).unwrap();
    scenario.any_port();
    scenario.state_dir = Some(folder.0.clone());
    let refused = House::start(scenario).await.unwrap_err().to_string();
    assert!(refused.contains("it started at 2026-01-15T17:00:00Z"), "{refused}");
    assert_eq!(std::fs::read(folder.house()).unwrap(), before);
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_is_named() {
    let folder = Folder::new();
    std::fs::write(&folder.0, "a file").unwrap();
    let refused = refusal(start("", &folder).await);
    assert!(refused.starts_with("cannot keep state in "), "{refused}");
    std::fs::remove_file(&folder.0).unwrap();
}

/// What a device of a torn or foreign file comes up with: the scenario's, never half of the file.
#[tokio::test]
async fn a_torn_or_foreign_device_file_is_set_aside_whole() {
    let folder = Folder::new();
    let twin = start("", &folder).await.unwrap();
    twin.define(action("kept")).await;
    twin.advance(50 * SECOND).await;
    stop(twin).await;
    let whole = std::fs::read(folder.device()).unwrap();
    let mut bad_digit = whole.clone();
    let at = whole.len() - 20;
    bad_digit[at] ^= 1;
    let newer =
        String::from_utf8(whole.clone()).unwrap().replacen("wwsim-state 1", "wwsim-state 2", 1);
    let house = std::fs::read(folder.house()).unwrap();
    let damaged = [
        Vec::new(),
        whole[..whole.len() / 2].to_vec(),
        whole[..whole.len() - 1].to_vec(),
        [whole.clone(), b"x".to_vec()].concat(),
        bad_digit,
        newer.into_bytes(),
        house,
        b"{\"settings\": {}}\n".to_vec(),
        vec![0xFF; 3000],
    ];
    for (index, bytes) in damaged.iter().enumerate() {
        std::fs::write(folder.device(), bytes).unwrap();
        let twin = start("", &folder).await.unwrap();
        assert_eq!(twin.get("/api/v1/actions").await.status, 404, "{index}");
        assert_eq!(twin.house.clock().now().since_start(), 50 * SECOND, "{index}");
        stop(twin).await;
        assert_eq!(folder.broken().len(), index + 1);
    }
    assert_eq!(
        std::fs::read(folder.0.join("A842E39F8124/device.json.broken-2")).unwrap(),
        damaged[1]
    );
    std::fs::write(folder.device(), whole).unwrap();
    let twin = start("", &folder).await.unwrap();
    assert_eq!(twin.get("/api/v1/actions").await.status, 200);
}

#[tokio::test]
async fn a_torn_house_file_costs_no_device_and_no_time() {
    let folder = Folder::new();
    let twin = start("", &folder).await.unwrap();
    twin.advance(50 * SECOND).await;
    twin.define(action("kept")).await;
    stop(twin).await;
    std::fs::write(folder.house(), "wwsim-sta").unwrap();
    let twin = start("", &folder).await.unwrap();
    assert_eq!(twin.get("/api/v1/actions").await.status, 200);
    assert_eq!(twin.house.clock().now().since_start(), 50 * SECOND);
    assert_eq!(folder.broken(), ["house.json.broken-1"]);
}

#[tokio::test]
async fn a_torn_house_file_leaves_the_calendar_as_it_was() {
    let folder = Folder::new();
    let twin = start("clock: {speed: manual}", &folder).await.unwrap();
    twin.define(action("kept")).await;
    let began = twin.house.clock().start();
    stop(twin).await;
    std::fs::write(folder.house(), "").unwrap();
    let twin = start("clock: {speed: manual}", &folder).await.unwrap();
    assert_eq!(twin.house.clock().start(), began);
    assert_eq!(folder.broken(), ["house.json.broken-1"]);
}

#[tokio::test]
async fn a_card_that_was_being_replaced_is_there_as_a_new_one() {
    let folder = Folder::new();
    let yaml = "device: {sd_card: {files: {a.txt: first}}}";
    stop(start(yaml, &folder).await.unwrap()).await;
    let card = folder.0.join("A842E39F8124/sdcard");
    let listed = || async {
        let twin = start(yaml, &folder).await.unwrap();
        let listed = twin.get("/sdcard/").await.body;
        twin.house.reset().await;
        stop(twin).await;
        listed
    };
    let whole = listed().await;
    assert!(whole.contains("a.txt"), "{whole}");
    std::fs::write(card.join("b.txt"), "second").unwrap();
    std::fs::rename(&card, card.with_extension("old")).unwrap();
    assert_eq!(listed().await, whole);
    assert!(!card.with_extension("old").exists(), "a reset takes it away");
}

#[tokio::test]
async fn what_lies_beside_a_document_counts_for_nothing() {
    let folder = Folder::new();
    let twin = start("", &folder).await.unwrap();
    twin.define(action("kept")).await;
    stop(twin).await;
    let beside = folder.device().with_extension("json.tmp");
    std::fs::write(&beside, "half of a").unwrap();
    let twin = start("", &folder).await.unwrap();
    assert_eq!(twin.get("/api/v1/actions").await.status, 200);
    stop(twin).await;
    assert_eq!(folder.broken(), Vec::<String>::new());
}

#[cfg(unix)]
#[tokio::test]
async fn only_their_owner_can_read_the_files() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    stop(start("", &folder).await.unwrap()).await;
    for file in [folder.house(), folder.device()] {
        assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o077, 0);
    }
}

/// The binary with a state directory.
struct Process {
    child: Child,
    device: SocketAddr,
    control: SocketAddr,
}

impl Process {
    async fn start(folder: &Path, speed: &str) -> Self {
        let ready = folder.join("ready.json");
        let _ = std::fs::remove_file(&ready);
        let mut command = Command::new(env!("CARGO_BIN_EXE_wwsim"));
        command
            .args(["run", "default", "--any-port", "--speed", speed, "--state-dir"])
            .arg(folder)
            .arg("--ready-file")
            .arg(&ready)
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .kill_on_drop(true);
        let child = command.spawn().unwrap();
        eventually(|| ready.exists()).await;
        let said: Value = serde_json::from_slice(&std::fs::read(&ready).unwrap()).unwrap();
        let address = |url: &Value| url.as_str().unwrap()["http://".len()..].parse().unwrap();
        Self {
            child,
            device: address(&said["devices"][0]["http"]),
            control: address(&said["control"]),
        }
    }

    /// The time of the house, in seconds.
    async fn time(&self) -> f64 {
        let clock = http(self.control, "GET", "/control/v1/clock", "").await;
        clock.json()["t"].as_f64().unwrap()
    }

    /// SIGKILL, and its end.
    async fn kill(mut self) {
        within(self.child.kill()).await.unwrap();
    }
}

/// Sends one request and returns the body of its answer; none where the other side dies first.
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

/// Stores one definition after another until the process is gone; `answered` is the last one that was
/// answered.
async fn define_on(device: SocketAddr, answered: Arc<AtomicU64>) {
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

#[tokio::test]
async fn an_id_given_right_before_a_kill_is_not_given_again() {
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
async fn a_house_killed_at_any_moment_loses_at_most_the_last_write() {
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
        let writer = tokio::spawn(define_on(process.device, Arc::clone(&last)));
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
    assert_eq!(folder.broken(), Vec::<String>::new());
}
