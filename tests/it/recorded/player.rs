//! A client that plays requests to a house and records them.
//!
//! The clock of the house is manual, and the house does not wait for clients outside. So the client never
//! moves the clock before the house has its request: rules that never strike count what arrives.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::process::{Connection, Process, quiet, request};
use super::transcript::Transcript;

/// Milliseconds of real time after which a request that the house does not see is lost.
const STUCK: u32 = 30_000;

/// Bytes of a request body from which on only their number is written down.
const LONG: usize = 2000;

/// A listener and its name in the transcript.
#[derive(Clone)]
pub(super) struct Place {
    pub name: String,
    pub address: SocketAddr,
}

/// A device: its API, its Modbus server and the ids of its actions.
#[derive(Clone)]
pub(super) struct Device {
    pub api: Place,
    pub modbus: Place,
    pub actions: Vec<String>,
}

impl Device {
    /// The id in the scenario.
    pub(super) fn id(&self) -> &str {
        self.api.name.strip_prefix("device-").unwrap()
    }
}

/// A slave and its units.
#[derive(Clone)]
pub(super) struct Slave {
    pub place: Place,
    /// The name in the scenario.
    pub name: String,
    pub units: Vec<u64>,
}

/// The client and its transcript.
pub(super) struct Player {
    /// True if the whole list is played.
    pub whole: bool,
    pub transcript: Transcript,
    pub control: Place,
    pub devices: Vec<Device>,
    pub slaves: Vec<Slave>,
    pub targets: Vec<Place>,
}

impl Player {
    pub(super) fn new(process: &Process, whole: bool) -> Self {
        let places: Vec<Place> = process
            .addresses()
            .into_iter()
            .map(|(address, name)| Place { name, address })
            .collect();
        let of = |prefix: &str| {
            let places = places.iter().filter(|place| place.name.starts_with(prefix)).cloned();
            places.collect::<Vec<_>>()
        };
        let mut player = Self {
            whole,
            transcript: Transcript::masking(process.addresses()),
            control: places[0].clone(),
            devices: Vec::new(),
            slaves: Vec::new(),
            targets: of("target-"),
        };
        let state = player.ask_quietly("GET", "state", &Value::Null);
        for (index, (api, modbus)) in of("device-").into_iter().zip(of("modbus-")).enumerate() {
            let actions = &state["devices"][index]["actions"];
            let actions = actions.as_array().cloned().unwrap_or_default();
            let actions = actions.iter().map(|id| id.as_str().unwrap().to_owned()).collect();
            player.devices.push(Device { api, modbus, actions });
        }
        for place in of("slave-") {
            let name = place.name.strip_prefix("slave-").unwrap().to_owned();
            let slaves = state["slaves"].as_array().unwrap();
            let slave = slaves.iter().find(|slave| slave["name"] == *name).unwrap();
            let units = slave["units"].as_array().unwrap().iter();
            let units = units.map(|unit| unit.as_u64().unwrap()).collect();
            player.slaves.push(Slave { place, name, units });
        }
        player
    }

    /// Sends a request to an HTTP server and records the reply.
    pub(super) fn http(
        &mut self,
        to: &Place,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) {
        self.say(to, method, path, headers, body);
        let mut connection = Connection::open(to.address);
        connection.send(&request(method, path, headers, body));
        let (bytes, end) = connection.rest();
        self.transcript.received_http(&bytes, end);
    }

    fn say(&mut self, to: &Place, method: &str, path: &str, headers: &[(&str, &str)], body: &str) {
        let mut line = format!("{method} {path}");
        for (name, value) in headers {
            write!(line, " [{name}: {value}]").unwrap();
        }
        if body.len() > LONG {
            write!(line, " ({} bytes)", body.len()).unwrap();
        } else if !body.is_empty() {
            write!(line, " {}", in_one_line(body)).unwrap();
        }
        self.transcript.sent(&to.name, &line);
    }

    /// Records a GET of the device's API.
    pub(super) fn get(&mut self, to: &Device, path: &str) {
        self.http(&to.api, "GET", path, &[], "");
    }

    /// Records a request to the device's API.
    pub(super) fn send(&mut self, to: &Device, method: &str, path: &str, body: &str) {
        self.http(&to.api, method, path, &[], body);
    }

    /// Sends a request that the house answers later, moves the clock, ends the sending side and records
    /// what came until then.
    pub(super) fn http_later(
        &mut self,
        to: &Place,
        method: &str,
        path: &str,
        body: &str,
        wait: &str,
    ) {
        self.say(to, method, path, &[], body);
        self.transcript.note(&format!("({wait} later)"));
        let before = self.arrived();
        let mut connection = Connection::open(to.address);
        connection.send(&request(method, path, &[], body));
        self.await_arrival(before + 1);
        self.advance(wait);
        connection.finish();
        let (bytes, end) = connection.rest();
        self.transcript.received_http(&bytes, end);
    }

    /// Sends bytes to a Modbus server, moves the clock, and records what came until then. `arrivals` says
    /// how many requests the server sees at once.
    pub(super) fn frames(&mut self, to: &Place, what: &str, bytes: &[u8], arrivals: u64) {
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        self.transcript.sent(&to.name, &format!("{what}: {}", hex.join(" ")));
        let before = self.arrived();
        let mut connection = Connection::open(to.address);
        if connection.is_open() {
            connection.send(bytes);
            if arrivals > 0 {
                self.await_arrival(before + arrivals);
                self.advance("30s");
            }
            connection.finish();
        }
        let (bytes, end) = connection.rest();
        self.transcript.received_frames(&bytes, end);
    }

    /// Calls the control plane and records the reply.
    pub(super) fn control(&mut self, method: &str, path: &str, body: &str) {
        let to = self.control.clone();
        self.http(&to, method, &format!("/control/v1/{path}"), &[], body);
    }

    /// Calls the control plane and records nothing. Returns null if the call was refused.
    pub(super) fn ask_quietly(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let path = format!("/control/v1/{path}");
        let (head, body) = quiet(self.control.address, method, &path, &body);
        if head.starts_with("HTTP/1.1 2") && !body.is_empty() {
            serde_json::from_str(&body).unwrap()
        } else {
            Value::Null
        }
    }

    /// The first of a list, or all of it in the house that plays the whole list.
    pub(super) fn first<T>(&self, count: usize, list: &'static [T]) -> &'static [T] {
        if self.whole { list } else { &list[..count.min(list.len())] }
    }

    /// The last of a list, or all of it.
    pub(super) fn last<T>(&self, count: usize, list: &'static [T]) -> &'static [T] {
        if self.whole { list } else { &list[list.len().saturating_sub(count)..] }
    }

    /// Moves the clock; everything inside the house that is due happens first.
    pub(super) fn advance(&self, by: &str) {
        let moved = self.ask_quietly("POST", "clock", &json!({"advance": by}));
        assert!(!moved.is_null(), "the clock was not moved by {by}");
    }

    /// Waits until nothing is under way inside the house.
    pub(super) fn settle(&self) {
        self.advance("0s");
    }

    /// Adds the rules that count requests and never strike.
    pub(super) fn add_probes(&self) {
        let delay = json!({"delay": "1ms"});
        for place in ["api", "slave", "modbus", "target"] {
            if place == "slave" && self.slaves.is_empty() {
                continue;
            }
            if place == "target" && self.targets.is_empty() {
                continue;
            }
            let rule = json!({"id": format!("probe-{place}"), "at": place,
                "when": {"nth": 1_000_000_000}, "effect": delay});
            assert!(!self.ask_quietly("POST", "faults", &rule).is_null(), "{rule}");
        }
    }

    /// Returns the number of requests at all places.
    pub(super) fn arrived(&self) -> u64 {
        let rules = self.ask_quietly("GET", "faults", &Value::Null);
        let rules = rules["faults"].as_array().unwrap().iter();
        let probes = rules.filter(|rule| rule["id"].as_str().unwrap().starts_with("probe-"));
        probes.map(|rule| rule["evaluated"].as_u64().unwrap()).sum()
    }

    fn await_arrival(&self, count: u64) {
        for _ in 0..STUCK {
            if self.arrived() >= count {
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
        panic!("the house did not see the request");
    }
}

/// Text with its line ends written out.
pub(super) fn in_one_line(text: &str) -> String {
    text.replace('\r', "\\r").replace('\n', "\\n")
}

/// A Modbus TCP frame.
pub(super) fn frame(transaction: u16, unit: u8, pdu: &[u8]) -> Vec<u8> {
    let length = u16::try_from(pdu.len() + 1).unwrap();
    let mut bytes = transaction.to_be_bytes().to_vec();
    bytes.extend([0, 0]);
    bytes.extend(length.to_be_bytes());
    bytes.push(unit);
    bytes.extend(pdu);
    bytes
}
