//! Fleets: devices that are described once, shards, shares of the devices, the ramp and the stages.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpStream;
use wwsim::house::{House, inject};
use wwsim::journal::Event;
use wwsim::scenario::{self, LoadOverrides, Scenario};

use crate::support::SECOND;
use crate::support::folder::Folder;
use crate::support::house::{TestHouse, address, describe, http, within};

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

/// Loads a scenario as `wwsim run` does.
fn load(yaml: &str, overrides: &LoadOverrides) -> Scenario {
    match scenario::load_with(yaml, "fleet.yaml", None, overrides) {
        Ok(scenario) => scenario,
        Err(error) => panic!("{error}"),
    }
}

fn refusal(yaml: &str, overrides: &LoadOverrides) -> String {
    scenario::load_with(yaml, "fleet.yaml", None, overrides).unwrap_err().to_string()
}

fn shard(text: &str) -> LoadOverrides {
    LoadOverrides { shard: Some(text.parse().unwrap()), ..LoadOverrides::default() }
}

fn ids(scenario: &Scenario) -> Vec<&str> {
    scenario.devices.iter().map(|device| device.identity.id.as_str()).collect()
}

/// Returns the address of each device's API, by its id.
fn apis(house: &House) -> BTreeMap<String, SocketAddr> {
    let devices = &house.addresses().devices;
    devices.iter().map(|device| (device.id.clone(), address(&device.http))).collect()
}

/// Returns the ids of the devices that answer this path with this status.
async fn answering(house: &House, path: &str, status: u16) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (id, api) in apis(house) {
        if http(api, "GET", path, "").await.status == status {
            found.insert(id);
        }
    }
    found
}

/// Returns the ids of the devices that accept connections.
async fn reachable(house: &House) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (id, api) in apis(house) {
        if TcpStream::connect(api).await.is_ok() {
            found.insert(id);
        }
    }
    found
}

/// Returns the stages that the journal has, as times in seconds, ids, and states.
fn stages(house: &House) -> Vec<(f64, String, &'static str, &'static str)> {
    let entries = house.journal().entries_after(0, usize::MAX, |_| true);
    let stage = |entry: wwsim::journal::JournalEntry| match entry.event {
        Event::StageEntered { device, from, to } => Some((entry.t, device.to_string(), from, to)),
        _ => None,
    };
    entries.into_iter().filter_map(stage).collect()
}

// Ruling: HOUSE-4.
#[tokio::test]
async fn each_device_of_a_fleet_has_its_own_id_name_and_port() {
    let house = TestHouse::start(
        "device: {id: A842E39F8125}\nfleet: {count: 3, template: {settings: {system: {name: Meter}}}}",
    )
    .await;
    let apis = apis(&house);
    let ports: HashSet<u16> = apis.values().map(SocketAddr::port).collect();
    assert_eq!(ports.len(), 4, "{apis:?}");
    let expected =
        [("A842E39F8124", "Meter 0"), ("A842E39F8126", "Meter 1"), ("A842E39F8127", "Meter 2")];
    for (id, name) in expected {
        let system = http(apis[id], "GET", "/api/v1/system", "").await.json();
        assert_eq!(system["device"]["id"], id, "{system}");
        let settings = http(apis[id], "GET", "/api/v1/settings", "").await.json();
        assert_eq!(settings["system"]["name"], name);
        assert_eq!(settings["system"]["host_name"], format!("whatwatt-{}", &id[6..]));
    }
    // Each has a household of its own.
    house.advance(MINUTE).await;
    let mut reports = HashSet::new();
    for api in apis.values() {
        let report = http(*api, "GET", "/api/v1/report", "").await.json();
        reports.insert(report["report"]["instantaneous_power"].to_string());
    }
    assert!(reports.len() > 1, "{reports:?}");
}

#[test]
fn ports_count_up_past_those_of_other_listeners() {
    let house = load("control: 127.0.0.1:8081\nfleet: {count: 3}", &LoadOverrides::default());
    let ports: Vec<u16> = house.devices.iter().map(|device| device.http.port()).collect();
    assert_eq!(ports, [8080, 8082, 8083]);
    let after = load("device: {}\nfleet: {count: 2}", &LoadOverrides::default());
    let ports: Vec<u16> = after.devices.iter().map(|device| device.http.port()).collect();
    assert_eq!(ports, [8080, 8081, 8082]);
    let http = Some("127.0.0.1:9000".parse().unwrap());
    let given = load("fleet: {count: 2}", &LoadOverrides { http, ..LoadOverrides::default() });
    assert_eq!(given.devices[1].http, "127.0.0.1:9001".parse().unwrap());
    let too_many = refusal("fleet: {count: 60000}", &LoadOverrides::default());
    assert!(too_many.contains("60000 devices, and 5745") && too_many.contains("listen: shared"));
}

#[tokio::test]
async fn each_device_can_have_an_address_of_its_own() {
    let yaml = "fleet: {count: 300, listen: addresses, template: {http: '127.7.0.1:8080'}}";
    let plan = load(yaml, &LoadOverrides::default());
    assert_eq!(plan.devices[0].http, "127.7.0.1:8080".parse().unwrap());
    assert_eq!(plan.devices[299].http, "127.7.1.44:8080".parse().unwrap());
    let house = TestHouse::start(&yaml.replace("300", "3")).await;
    let hosts: Vec<String> = apis(&house).values().map(|api| api.ip().to_string()).collect();
    assert_eq!(hosts, ["127.7.0.1", "127.7.0.2", "127.7.0.3"]);
    assert_eq!(answering(&house, "/api/v1/system", 200).await.len(), 3);
    let beyond = refusal(
        "fleet: {count: 3, listen: addresses, template: {http: '192.0.2.1:8080'}}",
        &LoadOverrides::default(),
    );
    assert!(beyond.contains("3 devices do not find an address each"), "{beyond}");
}

#[test]
fn the_number_of_devices_can_be_given_from_outside() {
    let fleet = |count| LoadOverrides { fleet: Some(count), ..LoadOverrides::default() };
    assert_eq!(load("fleet: {count: 3}", &fleet(5)).devices.len(), 5);
    assert_eq!(load("", &fleet(4)).devices.len(), 4);
    // The device of the scenario is the template.
    let house = load("device: {id: A842E3000001, firmware: 2.8.2}", &fleet(3));
    assert_eq!(ids(&house), ["A842E3000001", "A842E3000002", "A842E3000003"]);
    assert!(house.devices.iter().all(|device| device.firmware.to_string() == "2.8.2"));
    // Several devices stay beside the fleet.
    assert_eq!(load("devices: [{}, {}]", &fleet(3)).devices.len(), 5);
    for wrong in [0, 100_001] {
        let text = refusal("", &fleet(wrong));
        assert!(text.contains(&format!("a fleet of {wrong} devices: expected 1 to 100000")));
    }
}

const MIXED: &str = "
meter: {kind: kamstrup}
fleet:
  count: 1000
  template: {firmware: 2.0.2, settings: {services: {report_interval: 5}}}
  mix:
    - {weight: 3}
    - {firmware: 2.8.2, license: free, meter: {household: {annual_kwh: 6500}}, settings: {services: {log: true}}}
";

#[test]
fn kinds_of_devices_are_drawn_by_weight_and_merged_over_the_template() {
    let house = load(MIXED, &LoadOverrides::default());
    let newer: Vec<_> =
        house.devices.iter().filter(|device| device.firmware.to_string() == "2.8.2").collect();
    assert!((200..300).contains(&newer.len()), "{}", newer.len());
    for device in &newer {
        assert_eq!(device.identity.license.name(), "free");
        let services = &device.config.settings.services;
        assert!(services.log && services.report_interval == 5, "merged over the template");
    }
    let plain = house.devices.iter().find(|device| device.firmware.to_string() == "2.0.2").unwrap();
    assert!(!plain.config.settings.services.log);
    assert_ne!(plain.meter, newer[0].meter);
    assert_eq!(house, load(MIXED, &LoadOverrides::default()), "the same in each run");
    let seeded = LoadOverrides { seed: Some(8), ..LoadOverrides::default() };
    let other = load(MIXED, &seeded);
    let firmware = |house: &Scenario| -> Vec<String> {
        house.devices.iter().map(|device| device.firmware.to_string()).collect()
    };
    assert_ne!(firmware(&house), firmware(&other), "drawn from the seed");
}

// Ruling: HOUSE-9.
#[test]
fn shards_have_the_devices_of_the_house_among_them() {
    let yaml = format!("device: {{}}{MIXED}");
    let whole = load(&yaml, &LoadOverrides::default());
    let mut found = BTreeMap::new();
    for text in ["0/3", "1/3", "2/3"] {
        let part = load(&yaml, &shard(text));
        assert!((333..=334).contains(&part.devices.len()));
        for device in part.devices {
            assert!(found.insert(device.index, device).is_none());
        }
    }
    let found: Vec<_> = found.into_values().collect();
    assert_eq!(found, whole.devices, "every device is the same on its shard");
    // Without a fleet, the devices count, too.
    assert_eq!(ids(&load("devices: [{}, {}, {}]", &shard("1/2"))), ["A842E39F8125"]);
    let empty = refusal("", &shard("1/2"));
    assert!(empty.contains("shard 1/2 has no device: the house has 1"), "{empty}");
}

const SLOW: &str = "
seed: 4
faults: [{id: busy, at: {api: any, devices: 30%}, effect: {status: 503}}]
fleet: {count: 60}
";

// Ruling: HOUSE-6.
#[tokio::test]
async fn a_fault_for_a_share_affects_the_same_devices_in_each_run_and_on_each_shard() {
    let whole = TestHouse::start(SLOW).await;
    let busy = answering(&whole, "/api/v1/system", 503).await;
    assert!((8..30).contains(&busy.len()), "{busy:?}");
    assert_eq!(answering(&whole, "/api/v1/system", 503).await, busy, "not drawn for each request");
    whole.reset().await;
    assert_eq!(answering(&whole, "/api/v1/system", 503).await, busy, "after a reset");
    let mut on_shards = BTreeSet::new();
    for index in 0..3 {
        let part = describe(SLOW).shard(index, 3).start().await.unwrap();
        assert_eq!(part.addresses().devices.len(), 20);
        on_shards.extend(answering(&part, "/api/v1/system", 503).await);
    }
    assert_eq!(on_shards, busy);
    let other_seed = describe(SLOW).seed(5).start().await.unwrap();
    assert_ne!(answering(&other_seed, "/api/v1/system", 503).await, busy);
}

#[tokio::test]
async fn a_share_comes_back_from_the_control_plane_as_it_was_written() {
    let house = TestHouse::start("fleet: {count: 40}").await;
    let places = [
        json!({"api": "any", "devices": "10%"}),
        json!({"action": "any", "devices": "0.5%"}),
        json!({"queue": "any", "devices": "10%"}),
        json!({"modbus": "any", "devices": "10%", "unit": 1}),
        json!({"meter": "any", "devices": "100%"}),
        json!({"mqtt": "any", "devices": "10%"}),
        json!({"live": "any", "devices": "33.3333%"}),
    ];
    let effects = ["reset", "hold", "", "silence", "frozen", "lose", "duplicate"];
    for (number, (place, effect)) in places.into_iter().zip(effects).enumerate() {
        let effect = if effect.is_empty() { json!({"limit": 3}) } else { json!(effect) };
        let id = format!("share-{number}");
        house.add_fault(json!({"id": id, "at": place, "effect": effect})).await;
        assert_eq!(house.control_get(&format!("faults/{id}")).await["rule"]["at"], place);
    }
    for (at, expected) in [
        (json!({"slave": "any", "devices": "10%"}), "says nothing about"),
        (json!({"api": "any", "devices": "10"}), "is no share"),
        (json!({"api": "any", "devices": "0%"}), "is no share"),
        (json!({"api": "any", "device": "A842E39F8124", "devices": "10%"}), "not both"),
        (json!({"api": "any", "device": "A842E39F9999"}), "the fleet has 40"),
    ] {
        let rule = json!({"at": at, "effect": "reset"});
        let answer = house.control_send("POST", "faults", &rule).await;
        assert!(answer.status == 400 || answer.status == 422, "{at}: {}", answer.status);
        assert!(answer.body.contains(expected), "{at}: {}", answer.body);
    }
}

#[tokio::test]
async fn a_rule_can_name_a_device_of_another_shard() {
    let yaml = "fleet: {count: 4}\n\
                faults: [{at: {api: any, device: A842E39F8125}, effect: {status: 503}}]";
    let first = describe(yaml).shard(0, 2).start().await.unwrap();
    assert!(answering(&first, "/api/v1/system", 503).await.is_empty());
    let second = describe(yaml).shard(1, 2).start().await.unwrap();
    assert_eq!(
        answering(&second, "/api/v1/system", 503).await,
        BTreeSet::from(["A842E39F8125".to_owned()])
    );
}

#[tokio::test]
async fn a_share_of_the_meters_stands_still() {
    let house = TestHouse::start("fleet: {count: 40}").await;
    let fault = house.inject(inject::meter().no_data().devices(25.0));
    house.advance(5 * MINUTE).await;
    let mut silent = 0;
    for api in apis(&house).into_values() {
        let system = http(api, "GET", "/api/v1/system", "").await.json();
        silent += usize::from(system["meter"]["status"] != "OK");
    }
    assert!((3..25).contains(&silent), "{silent}");
    assert_eq!(fault.fired(), silent as u64, "a window of each silent meter");
}

#[tokio::test]
async fn an_injected_fault_affects_a_share() {
    let house = TestHouse::start("fleet: {count: 40}").await;
    let fault = house.inject(inject::api().status(503).devices(50.0));
    let busy = answering(&house, "/api/v1/system", 503).await;
    assert!((10..30).contains(&busy.len()), "{busy:?}");
    assert_eq!(fault.fired(), busy.len() as u64);
    drop(fault);
    assert!(answering(&house, "/api/v1/system", 503).await.is_empty());
}

// Ruling: HOUSE-5.
#[tokio::test]
async fn a_fleet_goes_online_one_device_after_another() {
    let house = TestHouse::start("fleet: {count: 4, ramp: 8s}").await;
    let all: Vec<String> = apis(&house).into_keys().collect();
    let up = |count: usize| -> BTreeSet<String> { all[..count].iter().cloned().collect() };
    house.settle().await;
    assert_eq!(reachable(&house).await, up(1));
    house.advance(2 * SECOND).await;
    assert_eq!(reachable(&house).await, up(2));
    house.advance(4 * SECOND).await;
    assert_eq!(reachable(&house).await, up(4));
    let last = http(apis(&house)[&all[3]], "GET", "/api/v1/system", "").await;
    assert_eq!(last.status, 200, "{}", last.body);
    let online: Vec<_> =
        stages(&house).into_iter().map(|(at, _, from, to)| (at, from, to)).collect();
    assert_eq!(online, [(2.0, "off", "online"), (4.0, "off", "online"), (6.0, "off", "online")]);
    house.reset().await;
    house.settle().await;
    assert_eq!(reachable(&house).await, up(1), "a reset begins anew");
    house.clock().jump(HOUR).await.unwrap();
    assert_eq!(reachable(&house).await, up(4), "a jump goes past the ramp");
}

#[tokio::test]
async fn a_stage_reboots_each_device_in_its_own_time() {
    let house = TestHouse::start(
        "fleet: {count: 20, template: {reboot_time: 5s}, \
         stages: [{from: online, to: rebooting, delay: 1h, jitter: 30m}]}",
    )
    .await;
    house.advance(Duration::from_secs(3599)).await;
    assert_eq!(stages(&house), []);
    house.advance(30 * MINUTE + 10 * SECOND).await;
    let first = stages(&house);
    let times: HashSet<String> = first.iter().map(|(at, ..)| at.to_string()).collect();
    assert!(first.len() == 20 && times.len() > 15, "{first:?}");
    assert!(first.iter().all(|(at, _, from, to)| {
        (3600.0..=5400.0).contains(at) && (*from, *to) == ("online", "rebooting")
    }));
    let (_, id, ..) = first.last().unwrap();
    let system = http(apis(&house)[id], "GET", "/api/v1/system", "").await.json();
    assert!(system["device"]["time_since_boot"].as_u64().unwrap() < 1800, "{system}");
    house.reset().await;
    house.advance(90 * MINUTE + 10 * SECOND).await;
    assert_eq!(stages(&house), first, "a reset begins anew");
}

#[tokio::test]
async fn a_device_goes_and_comes_back() {
    let house = TestHouse::start(
        "fleet: {count: 2, stages: [{from: online, to: gone, delay: 10m}, \
         {from: gone, to: online, delay: 5m}]}",
    )
    .await;
    house.advance(10 * MINUTE).await;
    assert_eq!(reachable(&house).await.len(), 0);
    house.advance(5 * MINUTE).await;
    assert_eq!(answering(&house, "/api/v1/system", 200).await.len(), 2);
    let changes: Vec<_> =
        stages(&house).into_iter().map(|(at, _, from, to)| (at, from, to)).collect();
    assert_eq!(changes[0], (600.0, "online", "gone"));
    assert_eq!(changes[2], (900.0, "gone", "online"));
    // Nobody looked in between.
    house.clock().jump(10 * MINUTE).await.unwrap();
    assert_eq!(reachable(&house).await.len(), 0);
}

#[tokio::test]
async fn a_share_of_the_devices_is_updated() {
    let house = TestHouse::start(
        "fleet: {count: 30, template: {reboot_time: 5s}, stages: [\
         {from: online, to: {updated: 2.8.2}, delay: 10m, devices: 40%, firmware: 2.0.2}, \
         {from: updated, to: weak_wifi, delay: 1h}]}",
    )
    .await;
    house.advance(10 * MINUTE + 5 * SECOND).await;
    let mut versions: BTreeMap<String, usize> = BTreeMap::new();
    for api in apis(&house).into_values() {
        let system = http(api, "GET", "/api/v1/system", "").await.json();
        *versions
            .entry(system["device"]["firmware"].as_str().unwrap_or("?").to_owned())
            .or_default() += 1;
    }
    let updated = stages(&house).len();
    assert!((4..25).contains(&updated), "{updated}");
    assert_eq!(versions.get("2.8.2"), Some(&updated), "{versions:?}");
    assert_eq!(versions.get("2.0.2"), Some(&(30 - updated)), "{versions:?}");
}

// Ruling: HOUSE-7.
#[tokio::test]
async fn weak_wifi_is_30_db_weaker() {
    let house = TestHouse::start(
        "fleet: {count: 1, template: {wifi: {enable: true, name: home, password: secret123}, \
         networks: [{ssid: home, password: secret123, rssi: -50}, {ssid: far, rssi: -88}]}, \
         stages: [{from: online, to: weak_wifi, delay: 10m}, {from: weak_wifi, to: online, delay: 10m}]}",
    )
    .await;
    let strengths =
        || -> Vec<i8> { house.device().scan().iter().map(|result| result.rssi).collect() };
    let before = strengths();
    assert!(before[0] > -56 && before[1] < -82, "{before:?}");
    house.advance(10 * MINUTE).await;
    let weak = strengths();
    assert!((-86..=-74).contains(&weak[0]) && weak[1] >= -93, "{weak:?}");
    house.advance(10 * MINUTE).await;
    assert!(strengths()[0] > -56);
}

// Ruling: HOUSE-8.
#[tokio::test]
async fn a_shard_that_continues_is_what_it_was() {
    let folder = Folder::new();
    let yaml = "fleet: {count: 12, ramp: 6m, stages: [\
                {from: online, to: gone, delay: 20m, jitter: 30m}, \
                {from: gone, to: online, delay: 10m}, \
                {from: online, to: updated, delay: 30m, jitter: 30m}]}";
    let describe = || describe(yaml).shard(1, 3).state_dir(&folder.0);
    let states = async |house: &House| {
        let up = reachable(house).await;
        let boots: Vec<String> = house
            .devices()
            .map(|device| format!("{:?} {}", device.view().boot, device.view().firmware))
            .collect();
        (up, boots)
    };
    let first = describe().start().await.unwrap();
    first.clock().advance(3 * MINUTE).await.unwrap();
    let in_ramp = states(&first).await;
    assert!((1..4).contains(&in_ramp.0.len()), "{in_ramp:?}");
    within(first.stop()).await;
    let second = describe().start().await.unwrap();
    second.clock().advance(Duration::ZERO).await.unwrap();
    assert_eq!(states(&second).await, in_ramp);
    second.clock().advance(HOUR).await.unwrap();
    let later = states(&second).await;
    let stages_of_second = stages(&second).len();
    within(second.stop()).await;
    let third = describe().start().await.unwrap();
    third.clock().advance(Duration::ZERO).await.unwrap();
    assert_eq!(states(&third).await, later);
    within(third.stop()).await;
    // A house that never stopped is there, too.
    let whole = TestHouse { house: crate::support::house::describe(yaml).start().await.unwrap() };
    whole.advance(3 * MINUTE).await;
    let before = stages(&whole).len();
    whole.advance(HOUR).await;
    let own: Vec<String> = apis(&whole).into_keys().skip(1).step_by(3).collect();
    let all = reachable(&whole).await;
    let up: BTreeSet<String> = own.iter().filter(|id| all.contains(*id)).cloned().collect();
    assert_eq!(up, later.0);
    let of_shard =
        stages(&whole).into_iter().skip(before).filter(|(_, id, ..)| own.contains(id)).count();
    assert_eq!(of_shard, stages_of_second);
}

#[tokio::test]
async fn the_control_plane_lists_the_devices_of_the_shard() {
    let house = describe("fleet: {count: 30}").shard(0, 3).start().await.unwrap();
    let house = TestHouse { house };
    let state = house.control_get("state").await;
    let devices = state["devices"].as_array().map_or(0, Vec::len);
    assert_eq!(devices, 10, "{state}");
    let first = &state["devices"][1];
    assert_eq!(first["id"], Value::from("A842E39F8127"));
}

/// A shard of a house, as a process of its own.
#[cfg(feature = "cli")]
struct ShardProcess {
    child: tokio::process::Child,
    ready: Value,
}

#[cfg(feature = "cli")]
impl ShardProcess {
    /// Starts shard `index` of three, which keeps its state in a folder of its own.
    async fn start(folder: &Folder, scenario: &std::path::Path, index: u32) -> Self {
        let ready_file = folder.0.join(format!("ready-{index}.json"));
        let _ = std::fs::remove_file(&ready_file);
        let child = tokio::process::Command::new(env!("CARGO_BIN_EXE_wwsim"))
            .arg("run")
            .arg(scenario)
            .args(["--any-port", "--speed", "manual", "--shard", &format!("{index}/3")])
            .arg("--state-dir")
            .arg(folder.0.join(format!("state-{index}")))
            .arg("--ready-file")
            .arg(&ready_file)
            .stdout(std::process::Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        crate::support::device::eventually(|| ready_file.exists()).await;
        let ready = serde_json::from_slice(&std::fs::read(&ready_file).unwrap()).unwrap();
        Self { child, ready }
    }

    fn apis(&self) -> BTreeMap<String, SocketAddr> {
        let devices = self.ready["devices"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        devices.map(|device| (text(&device["id"]), address(&text(&device["http"])))).collect()
    }

    /// Returns what each device says of itself, and whether the fault affects it.
    async fn devices(&self) -> BTreeMap<String, (u16, Value)> {
        let mut found = BTreeMap::new();
        for (id, api) in self.apis() {
            let settings = http(api, "GET", "/api/v1/settings", "").await;
            let system = http(api, "GET", "/api/v1/system", "").await;
            let own =
                if system.status == 200 { system.json()["device"].clone() } else { Value::Null };
            found.insert(id, (system.status, json!([own, settings.json()])));
        }
        found
    }
}

#[cfg(feature = "cli")]
#[tokio::test]
async fn three_processes_are_one_house_and_one_that_is_killed_comes_back() {
    let folder = Folder::new();
    std::fs::create_dir_all(&folder.0).unwrap();
    let scenario = folder.0.join("town.yaml");
    let yaml = "seed: 4\nclock: {start: 2026-01-15T18:00:00+01:00}\nfleet: {count: 24}\n\
                faults: [{id: busy, at: {api: /api/v1/system, devices: 30%}, effect: {status: 503}}]\n";
    std::fs::write(&scenario, yaml).unwrap();
    let whole = TestHouse::start(yaml).await;
    let busy = answering(&whole, "/api/v1/system", 503).await;
    let mut shards = Vec::new();
    for index in 0..3 {
        shards.push(ShardProcess::start(&folder, &scenario, index).await);
    }
    let mut union = BTreeMap::new();
    for shard in &shards {
        let devices = shard.devices().await;
        assert_eq!(devices.len(), 8);
        union.extend(devices);
    }
    assert_eq!(
        union.keys().cloned().collect::<Vec<_>>(),
        apis(&whole).into_keys().collect::<Vec<_>>()
    );
    let is_busy =
        |(id, (status, _)): (&String, &(u16, Value))| (*status == 503).then(|| id.clone());
    assert_eq!(union.iter().filter_map(is_busy).collect::<BTreeSet<_>>(), busy);
    // One gets another name and is killed.
    let mut killed = shards.remove(1);
    let renamed = killed.apis().into_values().next().unwrap();
    let name = r#"{"system": {"name": "renamed"}}"#;
    assert_eq!(http(renamed, "PUT", "/api/v1/settings", name).await.status, 200);
    let before = killed.devices().await;
    within(killed.child.kill()).await.unwrap();
    let again = ShardProcess::start(&folder, &scenario, 1).await;
    assert_eq!(again.devices().await, before);
}
