//! The process under test: its scenario, its addresses, and what the system says about it.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// The devices by what is done to them.
pub(crate) const CALLED: usize = 0;
pub(crate) const REBOOTED: usize = 1;
pub(crate) const BESIEGED: usize = 2;
pub(crate) const UNDISTURBED: usize = 3;

pub(crate) const DEVICES: [&str; 4] =
    ["A842E3000001", "A842E3000002", "A842E3000003", "A842E3000004"];

pub(crate) const SLAVES: [&str; 2] = ["pump", "idle"];
pub(crate) const TARGETS: [&str; 2] = ["bulb", "idle"];

/// The ids of `ACTIONS`.
pub(crate) const ACTION_IDS: [&str; 14] = [
    "get", "post", "slow", "two", "three", "coil", "word", "coils", "words", "float", "nobody",
    "closed", "constant", "long",
];

/// A definition with requests of every kind: quick and slow ones, and some that cannot succeed.
pub(crate) const ACTIONS: &str = r#"{"const": {"bulb": "bulb.local", "value": 21}, "actions": [
{"id": "get", "requests": [{"http": {"url": "http://${bulb}/quick"}}]},
{"id": "post", "requests": [{"http": {"url": "http://${bulb}/quick", "method": "POST", "payload": "on"}}]},
{"id": "slow", "requests": [{"http": {"url": "http://bulb.local/slow"}}]},
{"id": "two", "requests": [{"http": {"url": "http://bulb.local/quick"}}, {"modbus": {"host": "pump.local", "func": 6, "address": 1, "type": "short", "value": "7"}}]},
{"id": "three", "requests": [{"http": {"url": "http://bulb.local/none"}}, {"http": {"url": "http://bulb.local/slow"}}, {"modbus": {"host": "pump.local", "unit_id": 2, "func": 6, "address": 1, "type": "short", "value": "7"}}]},
{"id": "coil", "requests": [{"modbus": {"host": "pump.local", "func": 5, "address": 3, "type": "short", "value": "1"}}]},
{"id": "word", "requests": [{"modbus": {"host": "pump.local", "func": 6, "address": 3, "type": "short", "value": "${value}"}}]},
{"id": "coils", "requests": [{"modbus": {"host": "pump.local", "func": 15, "address": 0, "type": "hex", "value": "55AA"}}]},
{"id": "words", "requests": [{"modbus": {"host": "pump.local", "func": 16, "address": 10, "type": "long", "value": "-5"}}]},
{"id": "float", "requests": [{"modbus": {"host": "pump.local", "func": 16, "address": 20, "type": "float", "value": "1.5"}}]},
{"id": "nobody", "requests": [{"http": {"url": "http://nobody.local/", "timeout": 0.5}}]},
{"id": "closed", "requests": [{"modbus": {"host": "pump.local", "unit_id": 9, "func": 6, "address": 500, "type": "short", "value": "1", "timeout": 1}}]},
{"id": "constant", "requests": [{"http": {"url": "http://bulb.local/${unknown}"}}]},
{"id": "long", "requests": [{"http": {"url": "http://bulb.local/long", "timeout": 10}}]}]}"#;

/// Returns the scenario. The broker is a listener of the soak itself.
fn scenario(seed: u64, broker: SocketAddr) -> String {
    let mut text = format!(
        "seed: {seed}
clock: {{start: 2026-01-15T06:00:00+01:00, speed: 20}}
mdns: off
meter: {{kind: ensor, household: {{annual_kwh: 4500}}, pv: {{kwp: 6}}}}
mqtt_brokers: {{broker: {{address: \"{broker}\", hosts: [broker.local]}}}}
slaves:
  pump:
    hosts: [pump.local]
    max_connections: 64
    units:
      1: &unit
        coils: [{{address: 0..63}}]
        holding: [{{address: 0..99}}, {{address: 100, on_write: [{{after: 1s, copy: {{holding: 101}}}}]}}, {{address: 101}}]
        input: [{{address: 0, type: float, sine: {{mean: 4, amplitude: 6, period: 1d}}}}]
      2: *unit
  idle: {{max_connections: 64, units: {{1: {{holding: [{{address: 0}}]}}}}}}
http_targets:
  bulb:
    hosts: [bulb.local]
    routes:
      - {{path: /quick}}
      - {{path: /slow, latency: 2s}}
      - {{path: /long, latency: 9s}}
  idle: {{}}
devices:
"
    );
    // A line of JSON is YAML, too.
    let actions = ACTIONS.replace('\n', " ");
    for (index, id) in DEVICES.iter().enumerate() {
        let more = match index {
            REBOOTED => "call_route: rest, execution: parallel, admission: all, ",
            _ => "",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "  - {{id: {id}, {more}settings: {{services: {{modbus: {{enable: true}}}}}}, \
             mqtt: {{enable: true, url: \"mqtt://broker.local\"}}, actions: {actions}}}"
        );
    }
    text
}

/// Settings of the allocator of glibc: one heap, whose free memory goes back to the system. By default it keeps several
/// heaps, each as large as it once had to be, so that the memory of the process says little about what it uses.
const ALLOCATOR: [(&str, &str); 3] = [
    ("MALLOC_ARENA_MAX", "1"),
    ("MALLOC_TRIM_THRESHOLD_", "131072"),
    ("MALLOC_MMAP_THRESHOLD_", "131072"),
];

/// The house as a process.
pub(crate) struct House {
    process: Child,
    log: PathBuf,
    pub(crate) control: SocketAddr,
    pub(crate) devices: Vec<SocketAddr>,
    pub(crate) device_modbus: Vec<SocketAddr>,
    pub(crate) slaves: Vec<SocketAddr>,
    pub(crate) targets: Vec<SocketAddr>,
}

/// The memory, descriptors and threads of a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) resident_kib: u64,
    pub(crate) descriptors: usize,
    pub(crate) threads: u64,
}

impl House {
    /// Starts the binary in a folder and waits until the house listens.
    pub(crate) fn start(
        binary: &Path,
        folder: &Path,
        seed: u64,
        broker: SocketAddr,
        is_persisted: bool,
    ) -> Result<Self, String> {
        let (file, ready, log) =
            (folder.join("house.yaml"), folder.join("ready.json"), folder.join("log"));
        fs::write(&file, scenario(seed, broker)).map_err(|error| error.to_string())?;
        let mut command = Command::new(binary);
        command.arg("run").arg(&file).args(["--any-port", "--exit-with-stdin", "--ready-file"]);
        command.arg(&ready).envs(ALLOCATOR);
        if is_persisted {
            command.arg("--state-dir").arg(folder.join("state"));
        }
        let stderr = File::create(&log).map_err(|error| error.to_string())?;
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(stderr);
        let mut process = command.spawn().map_err(|error| {
            format!("{} cannot be started ({error}); WWSIM names the binary", binary.display())
        })?;
        let begin = Instant::now();
        let addresses = loop {
            if let Some(addresses) = read_json(&ready) {
                break addresses;
            }
            let has_ended = process.try_wait().is_ok_and(|status| status.is_some());
            if has_ended || begin.elapsed() > Duration::from_secs(20) {
                let log = fs::read_to_string(&log).unwrap_or_default();
                let _ = process.kill();
                return Err(format!("the house did not start: {log}"));
            }
            thread::sleep(Duration::from_millis(20));
        };
        let of_devices = |key: &str| {
            let devices = addresses["devices"].as_array();
            devices
                .into_iter()
                .flatten()
                .map(|device| address(&device[key]))
                .collect::<Result<Vec<_>, _>>()
        };
        let by_name = |kind: &str, names: &[&str]| {
            names.iter().map(|name| address(&addresses[kind][*name])).collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            control: address(&addresses["control"])?,
            devices: of_devices("http")?,
            device_modbus: of_devices("modbus")?,
            slaves: by_name("slaves", &SLAVES)?,
            targets: by_name("http_targets", &TARGETS)?,
            process,
            log,
        })
    }

    /// Returns an error if the process has ended, or if a thread of it has panicked.
    pub(crate) fn check(&self) -> Result<(), String> {
        let status = self.status_text()?;
        if status.contains("State:\tZ") {
            return Err(format!("the house has ended:\n{}", self.end_of_log()));
        }
        if fs::read_to_string(&self.log).is_ok_and(|log| log.contains("panicked")) {
            return Err(format!("a panic:\n{}", self.end_of_log()));
        }
        Ok(())
    }

    pub(crate) fn usage(&self) -> Result<Usage, String> {
        let status = self.status_text()?;
        let number = |key: &str| {
            let line = status.lines().find(|line| line.starts_with(key));
            line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
        };
        let descriptors = fs::read_dir(format!("/proc/{}/fd", self.process.id()))
            .map_err(|error| format!("the descriptors of the house: {error}"))?;
        Ok(Usage {
            resident_kib: number("VmRSS:"),
            descriptors: descriptors.count(),
            threads: number("Threads:"),
        })
    }

    /// Closes standard input, which ends the house in order, and returns its exit status.
    pub(crate) fn stop(mut self) -> Result<ExitStatus, String> {
        drop(self.process.stdin.take());
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(30) {
            match self.process.try_wait().map_err(|error| error.to_string())? {
                Some(status) => return Ok(status),
                None => thread::sleep(Duration::from_millis(20)),
            }
        }
        Err("the house goes on 30 s after its standard input has ended".to_owned())
    }

    fn status_text(&self) -> Result<String, String> {
        fs::read_to_string(format!("/proc/{}/status", self.process.id()))
            .map_err(|error| format!("the house has ended ({error}):\n{}", self.end_of_log()))
    }

    fn end_of_log(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for House {
    fn drop(&mut self) {
        // Has ended already unless the soak failed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn read_json(file: &Path) -> Option<Value> {
    serde_json::from_slice(&fs::read(file).ok()?).ok()
}

fn address(value: &Value) -> Result<SocketAddr, String> {
    let text = value.as_str().unwrap_or_default();
    let text = text.strip_prefix("http://").unwrap_or(text);
    text.parse().map_err(|error| format!("the ready file has the address {text:?}: {error}"))
}

/// A folder that is removed after the soak.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("wwsim-soak-{}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
