//! The fixed list of requests.
//!
//! The clock of the house is manual, and the house does not wait for clients outside. So this one never
//! moves the clock before the house has its request: a rule that never strikes counts what came (`probe`).

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use digest_auth::{AuthContext, HttpMethod};
use serde_json::{Value, json};

use super::process::{Connection, End, Process, request, text};
use super::transcript::Transcript;

/// Milliseconds of real time after which a request that the house does not see is lost.
const STUCK: u32 = 30_000;

/// How many of the newest requests are asked about.
const STATUSES: usize = 8;

/// Bytes of a request body from which on only their number is written down.
const LONG: usize = 2000;

/// The house that plays the whole list. What depends on the program and not on the house, as most mistakes
/// do, is recorded with this one alone: everything twelve times would be more than anybody reads.
const WHOLE: &str = "default";

/// Plays the requests to a built-in house.
pub fn play(house: &str) -> Transcript {
    let process = Process::start(house);
    let mut player = Player::new(&process, house == WHOLE);
    player.beginning(&process.welcome, &text(house));
    for (index, device) in player.devices.clone().into_iter().enumerate() {
        player.readings(&device);
        player.actions(&device);
        if index > 0 {
            continue;
        }
        player.settings(&device);
        player.stored(&device);
        player.network(&device);
        if player.whole {
            player.pages(&device);
            player.refusals(&device);
        }
        player.modbus(&device);
        player.live(&device);
    }
    for (index, slave) in player.slaves.clone().iter().enumerate() {
        player.slave(slave, index == 0);
    }
    for target in player.targets.clone() {
        player.target(&target);
    }
    if player.whole {
        player.control_errors();
        player.refused_rules();
        player.triggers();
    }
    player.registers();
    player.faults();
    player.clock();
    for device in player.devices.clone() {
        player.password(&device);
        player.power(&device);
    }
    player.ending();
    player.reset();
    player.transcript
}

/// A listener and its name in the transcript.
#[derive(Clone)]
struct Place {
    name: String,
    address: SocketAddr,
}

/// A device: its API, and its Modbus server.
#[derive(Clone)]
struct Device {
    api: Place,
    modbus: Place,
    actions: Vec<String>,
}

#[derive(Clone)]
struct Slave {
    place: Place,
    /// The name in the scenario.
    name: String,
    units: Vec<u64>,
}

struct Player {
    /// Whether everything is played.
    whole: bool,
    transcript: Transcript,
    control: Place,
    devices: Vec<Device>,
    slaves: Vec<Slave>,
    targets: Vec<Place>,
}

impl Player {
    fn new(process: &Process, whole: bool) -> Self {
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

    // Sending.

    /// Sends a request to an HTTP server and records the reply.
    fn http(&mut self, to: &Place, method: &str, path: &str, headers: &[(&str, &str)], body: &str) {
        self.say(to, method, path, headers, body);
        let mut connection = Connection::open(to.address);
        connection.send(&request(method, path, headers, body));
        let (bytes, end) = connection.rest();
        self.transcript.received_http(&bytes, end);
    }

    fn say(&mut self, to: &Place, method: &str, path: &str, headers: &[(&str, &str)], body: &str) {
        let mut line = format!("{method} {path}");
        for (name, value) in headers {
            line += &format!(" [{name}: {value}]");
        }
        if body.len() > LONG {
            line += &format!(" ({} bytes)", body.len());
        } else if !body.is_empty() {
            line += &format!(" {}", body.escape_debug());
        }
        self.transcript.sent(&to.name, &line);
    }

    fn get(&mut self, to: &Device, path: &str) {
        self.http(&to.api, "GET", path, &[], "");
    }

    fn send(&mut self, to: &Device, method: &str, path: &str, body: &str) {
        self.http(&to.api, method, path, &[], body);
    }

    /// Sends a request that the house answers later, moves the clock, ends the sending side and records
    /// what came until then.
    fn http_later(&mut self, to: &Place, method: &str, path: &str, body: &str, wait: &str) {
        self.say(to, method, path, &[], &format!("{body} ({wait} later)"));
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
    fn frames(&mut self, to: &Place, what: &str, bytes: &[u8], arrivals: u64) {
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
    fn control(&mut self, method: &str, path: &str, body: &str) {
        let to = self.control.clone();
        self.http(&to, method, &format!("/control/v1/{path}"), &[], body);
    }

    /// Calls the control plane and records nothing.
    fn ask_quietly(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let path = format!("/control/v1/{path}");
        let mut connection = Connection::open(self.control.address);
        connection.send(&request(method, &path, &[], &body));
        let (bytes, end) = connection.rest();
        assert_eq!(end, End::Closed);
        let reply = String::from_utf8(bytes).unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        if head.starts_with("HTTP/1.1 2") && !body.is_empty() {
            serde_json::from_str(body).unwrap()
        } else {
            Value::Null
        }
    }

    /// Moves the clock; everything inside the house that is due happens first.
    fn advance(&self, by: &str) {
        let moved = self.ask_quietly("POST", "clock", &json!({"advance": by}));
        assert!(!moved.is_null(), "the clock was not moved by {by}");
    }

    /// Waits until nothing is under way inside the house.
    fn settle(&self) {
        self.advance("0s");
    }

    // The probe.

    /// Adds the rules that count requests and never strike.
    fn add_probes(&self) {
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

    /// How many requests came to all places.
    fn arrived(&self) -> u64 {
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

    // What is played.

    fn beginning(&mut self, welcome: &str, text: &str) {
        self.transcript.heading("The start");
        self.transcript.printed(welcome);
        self.control("GET", "state", "");
        self.control("GET", "clock", "");
        self.control("GET", "journal", "");
        self.control("GET", "faults", "");
        self.control("HEAD", "state", "");
        let control = self.control.clone();
        self.http(&control, "GET", "/healthz", &[], "");
        // Comments in the file may change, so its text is compared and not recorded.
        let mut connection = Connection::open(control.address);
        connection.send(&request("GET", "/control/v1/scenario", &[], ""));
        let reply = String::from_utf8(connection.rest().0).unwrap();
        assert_eq!(reply.split_once("\r\n\r\n").unwrap().1, text);
        self.add_probes();
    }

    fn readings(&mut self, device: &Device) {
        self.transcript.heading("The device before its first reading, and with one");
        self.get(device, "/api/v1/report");
        self.get(device, "/api/v1/report/objects");
        self.advance("20s");
        for path in PATHS {
            self.get(device, path);
        }
        if self.whole {
            self.get(device, "/");
            self.get(device, "/api/v1/modbus?address_format=dec");
            self.get(device, "/api/v1/modbus?address_format=hex");
            self.get(device, "/api/v1/modbus?address_format=octal");
        }
        self.http_later(&device.api, "GET", "/api/v1/wifi/scan", "", "3s");
        self.advance("100s");
        self.get(device, "/api/v1/report");
        self.get(device, "/api/v1/system");
        self.advance("1h");
        self.get(device, "/api/v1/report");
        self.get(device, "/api/v1/variables");
        for template in [
            "P ${1_7_0} kW at ${report.date_time}",
            "${nothing} $${} ${",
            r#"{"id":"${sys.id}","power":${1_7_0}}"#,
            "",
        ] {
            self.send(device, "POST", "/api/v1/template/test", template);
        }
    }

    fn actions(&mut self, device: &Device) {
        self.transcript.heading("Actions, one after another");
        for action in &device.actions {
            self.call(device, action);
            self.call(device, action);
            self.advance("10s");
            self.status(device);
        }
        self.transcript.heading("Actions, all at once");
        for action in &device.actions {
            self.call(device, action);
        }
        self.status(device);
        for _ in 0..3 {
            self.advance("500ms");
            self.status(device);
        }
        self.advance("1m");
        self.status(device);
        for target in self.targets.clone() {
            let name = target.name.strip_prefix("target-").unwrap();
            self.control("GET", &format!("targets/{name}/requests"), "");
            self.control("DELETE", &format!("targets/{name}/requests"), "");
            self.control("GET", &format!("targets/{name}/requests"), "");
        }
        for path in [
            "/api/v1/actions/call",
            "/api/v1/actions/call?id=",
            "/api/v1/actions/call?id=nowhere",
            "/api/v1/actions/call?id=1&id=2",
            "/api/v1/actions/call/1",
        ] {
            self.send(device, "POST", path, "");
        }
        for ids in ["?id=1", "?id=0", "?id=x", "", "?id=", "?id=1,1", "?id=99999", "?id=1&id=2"] {
            self.get(device, &format!("/api/v1/actions/status{ids}"));
        }
        let before = self.kept_definition(device);
        for body in DEFINITIONS {
            self.send(device, "POST", "/api/v1/actions", body);
            self.get(device, "/api/v1/actions");
        }
        self.call(device, "a");
        self.call(device, "b");
        self.call(device, "c");
        self.advance("20s");
        self.status(device);
        self.send(device, "DELETE", "/api/v1/actions", "");
        self.get(device, "/api/v1/actions");
        self.call(device, "a");
        self.send(device, "DELETE", "/api/v1/actions", "");
        if let Some(before) = before {
            self.send(device, "POST", "/api/v1/actions", &before);
        }
    }

    /// Calls an action and waits until what it sets off stands still.
    fn call(&mut self, device: &Device, action: &str) {
        let path = format!("/api/v1/actions/call?id={action}");
        self.send(device, "POST", &path, "");
        self.settle();
    }

    /// The state of the newest requests.
    fn status(&mut self, device: &Device) {
        let journal = self.ask_quietly("GET", "journal?event=call_admitted", &Value::Null);
        let entries = journal["entries"].as_array().unwrap().iter().rev();
        let id = device.api.name.strip_prefix("device-").unwrap();
        let mut ids: Vec<String> = entries
            .filter(|entry| entry["device"] == id)
            .flat_map(|entry| entry["status_ids"].as_array().unwrap().iter().rev())
            .map(ToString::to_string)
            .take(STATUSES)
            .collect();
        ids.reverse();
        self.get(device, &format!("/api/v1/actions/status?id={}", ids.join(",")));
    }

    /// The definition of a device. `None` if it has none.
    fn kept_definition(&self, device: &Device) -> Option<String> {
        let mut connection = Connection::open(device.api.address);
        connection.send(&request("GET", "/api/v1/actions", &[], ""));
        let reply = String::from_utf8(connection.rest().0).unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
    }

    fn settings(&mut self, device: &Device) {
        self.transcript.heading("Settings");
        for (path, writes) in SETTINGS {
            for (method, body) in *writes {
                self.send(device, method, path, body);
            }
            self.get(device, path);
        }
        self.settle();
        self.advance("1m");
        self.get(device, "/api/v1/system");
        self.get(device, "/api/v1/report");
        self.http_later(&device.api, "GET", "/api/v1/wifi/scan", "", "3s");
        self.send(device, "POST", "/api/v1/wifi/wps", "");
        self.advance("3m");
        self.send(device, "DELETE", "/api/v1/wifi/sta/settings", "");
        self.get(device, "/api/v1/wifi/sta/settings");
        self.get(device, "/api/v1/system");
    }

    fn stored(&mut self, device: &Device) {
        self.transcript.heading("Register map, script, SD card");
        for body in MAPS {
            self.send(device, "POST", "/api/v1/modbus", body);
        }
        self.get(device, "/api/v1/modbus?address_format=hex");
        self.send(device, "DELETE", "/api/v1/modbus", "");
        self.get(device, "/api/v1/modbus");
        for (method, path, body) in SCRIPTS {
            self.send(device, method, path, body);
        }
        let mut console = Connection::open(device.api.address);
        console.send(&request("GET", "/api/v1/berry/console", &[], ""));
        let mut heard = console.read_past(b"\r\n\r\n");
        self.get(device, "/api/v1/berry/console");
        self.send(device, "PUT", "/api/v1/berry?run=true", "");
        self.advance("10s");
        self.send(device, "PUT", "/api/v1/berry?run=false", "");
        self.settle();
        console.finish();
        let (rest, end) = console.rest();
        heard.extend(rest);
        self.transcript.sent(&device.api.name, "GET /api/v1/berry/console, until its end");
        self.transcript.received_http(&heard, end);
        self.send(device, "DELETE", "/api/v1/berry", "");
        for (method, path) in CARD {
            self.send(device, method, path, "");
        }
    }

    fn network(&mut self, device: &Device) {
        self.transcript.heading("MQTT without a broker");
        let path = "/api/v1/mqtt/settings";
        for (method, body) in MQTT {
            self.send(device, method, path, body);
            self.settle();
        }
        self.advance("2m");
        self.control("GET", "state", "");
        self.send(device, "PUT", path, r#"{"enable":false}"#);
        self.settle();
    }

    fn pages(&mut self, device: &Device) {
        self.transcript.heading("Pages of other origins");
        let own = format!("http://{}", device.api.address);
        for origin in [
            "http://example.com",
            "http://localhost:5173",
            "null",
            "http://whatwatt-9F8124.local",
            &own,
        ] {
            let headers = [("Origin", origin)];
            self.http(&device.api, "GET", "/api/v1/eth/settings", &headers, "");
            let headers = [
                ("Origin", origin),
                ("Access-Control-Request-Method", "PUT"),
                ("Access-Control-Request-Headers", "content-type"),
                ("Access-Control-Request-Private-Network", "true"),
            ];
            self.http(&device.api, "OPTIONS", "/api/v1/settings", &headers, "");
        }
    }

    fn refusals(&mut self, device: &Device) {
        self.transcript.heading("Paths and methods that are not there");
        for path in PATHS {
            self.send(device, "PATCH", path, "");
        }
        for path in ["/api/v1/actions/call", "/api/v1/reboot", "/api/v1/restore", "/load"] {
            self.get(device, path);
        }
        for path in ["/nowhere", "/api/v1", "/api/v1/system/", "/api/v2/system", "//", "/%2e%2e/"] {
            self.get(device, path);
        }
        for method in ["HEAD", "OPTIONS", "TRACE", "BREW"] {
            self.send(device, method, "/api/v1/system", "");
        }
        self.send(device, "POST", "/api/v1/settings", &"x".repeat(70_000));
        for raw in [
            "GET /api/v1/eth/settings HTTP/1.1\r\nHost: x\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n\
             GET /api/v1/eth/settings HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            "GET /api/v1/eth/settings HTTP/1.0\r\n\r\n",
            "GET /api/v1/eth/settings HTTP/1.1\r\nConnection: close\r\n\r\n",
            "what is this\r\n\r\n",
            "PUT /api/v1/eth/settings HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Transfer-Encoding: chunked\r\n\r\nf\r\n{\"enable\":false}\r\n0\r\n\r\n",
            "PUT /api/v1/eth/settings HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Transfer-Encoding: chunked\r\n\r\nf\r\n{\"enable\":true }\r\n0\r\n\r\n",
        ] {
            self.transcript.sent(&device.api.name, &format!("{}", raw.escape_debug()));
            let mut connection = Connection::open(device.api.address);
            connection.send(raw.as_bytes());
            let (bytes, end) = connection.rest();
            self.transcript.received_http(&bytes, end);
        }
    }

    fn modbus(&mut self, device: &Device) {
        self.transcript.heading("The device's Modbus server");
        self.frames(&device.modbus, "while it is off", &frame(1, 1, &[4, 0, 0, 0, 2]), 1);
        let enable = r#"{"services":{"modbus":{"enable":true}}}"#;
        self.send(device, "PUT", "/api/v1/settings", enable);
        for (what, pdu) in MODBUS {
            self.frames(&device.modbus, what, &frame(7, 1, pdu), 1);
        }
        self.frames(&device.modbus, "another unit", &frame(8, 99, &[4, 0, 0, 0, 8]), 1);
        self.common_frames(&device.modbus, 1);
        self.control("GET", "state", "");
    }

    fn live(&mut self, device: &Device) {
        self.transcript.heading("The live stream");
        let mut first = self.follow(device);
        self.advance("25s");
        let second = self.follow(device);
        self.settle();
        first.end(self, "taken over");
        self.advance("10s");
        let mut second = second;
        second.connection.as_ref().unwrap().finish();
        second.end(self, "ended by the client");
        self.settle();
    }

    fn follow(&mut self, device: &Device) -> Stream {
        let mut connection = Connection::open(device.api.address);
        connection.send(&request("GET", "/api/v1/live", &[], ""));
        let head = connection.read_past(b"\r\n\r\n");
        Stream { name: device.api.name.clone(), head, connection: Some(connection) }
    }

    fn slave(&mut self, slave: &Slave, first: bool) {
        self.transcript.heading(&format!("The slave {}", slave.name));
        let strangers = [0, 9, 255].into_iter().map(|unit| (unit, &READS[..2]));
        let units: Vec<_> = slave.units.iter().map(|unit| (*unit, READS)).collect();
        for (unit, requests) in units.into_iter().chain(strangers) {
            let unit = u8::try_from(unit).unwrap();
            for (what, pdu) in requests {
                let what = format!("{what}, unit {unit}");
                self.frames(&slave.place, &what, &frame(0x0102, unit, pdu), 1);
            }
        }
        if first {
            self.common_frames(&slave.place, 1);
        }
    }

    /// Frames that any Modbus server has to take or refuse.
    fn common_frames(&mut self, place: &Place, unit: u8) {
        for (what, pdu) in ODD {
            self.frames(place, what, &frame(3, unit, pdu), 1);
        }
        let several: Vec<u8> = (1..=3).flat_map(|id| frame(id, unit, &[4, 0, 0, 0, 1])).collect();
        self.frames(place, "three requests at once", &several, 1);
        let mixed = [frame(1, unit, &[3, 0, 10, 0, 1]), frame(2, 9, &[3, 0, 10, 0, 1])].concat();
        self.frames(place, "two units at once", &mixed, 1);
        for (what, bytes) in GARBAGE {
            self.frames(place, what, bytes, 0);
        }
    }

    fn target(&mut self, target: &Place) {
        self.transcript.heading(&format!("The target {}", target.name));
        for path in ["/", "/toggle", "/report", "/light/0?turn=on", "/api/v1/device/self", "/a/b"] {
            for method in ["GET", "POST"] {
                let body = if method == "POST" { "action=toggle" } else { "" };
                self.http_later(target, method, path, body, "10s");
            }
        }
        self.http_later(target, "HEAD", "/light/0", "", "10s");
        let name = target.name.strip_prefix("target-").unwrap();
        self.control("GET", &format!("targets/{name}/requests"), "");
    }

    fn control_errors(&mut self) {
        self.transcript.heading("The control plane: mistakes");
        for (method, path, body) in CONTROL {
            self.control(method, path, body);
        }
        let control = self.control.clone();
        for path in ["/", "/control/v1", "/control/v2/state", "/control/v1/state/"] {
            self.http(&control, "GET", path, &[], "");
        }
        self.http(&control, "GET", "/control/v1/clock", &[("Origin", "http://example.com")], "");
        self.http(&control, "GET", "/control/v1/clock", &[("Origin", "http://localhost:80")], "");
        self.transcript.sent("control", "GET /control/v1/clock [Host: example.com]");
        let mut connection = Connection::open(control.address);
        connection.send(
            b"GET /control/v1/clock HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n",
        );
        let (bytes, end) = connection.rest();
        self.transcript.received_http(&bytes, end);
    }

    fn registers(&mut self) {
        self.transcript.heading("The control plane: registers");
        for slave in self.slaves.clone() {
            for unit in &slave.units {
                let base = format!("slaves/{}/units/{unit}", slave.name);
                self.control("GET", &format!("{base}/holding/10"), "");
                self.control("GET", &format!("{base}/holding/10?count=2"), "");
                self.control("PUT", &format!("{base}/holding/10"), r#"{"values":[42]}"#);
                self.control("PUT", &format!("{base}/holding/11"), r#"{"values":[1,65535]}"#);
                self.control("GET", &format!("{base}/coils/0?count=2"), "");
                self.control("PUT", &format!("{base}/coils/0"), r#"{"values":[true]}"#);
                self.control("PUT", &format!("{base}/coils/0"), r#"{"values":[1,0,2]}"#);
                self.control("PUT", &format!("{base}/input/0"), r#"{"values":[7]}"#);
                self.control("PUT", &format!("{base}/input/4"), r#"{"values":[7]}"#);
                self.control("PUT", &format!("{base}/discrete/1"), r#"{"values":[1]}"#);
                if self.whole {
                    self.register_mistakes(&base);
                }
            }
            self.control("GET", &format!("slaves/{}/units/77/holding/0", slave.name), "");
            self.control("GET", &format!("slaves/{}/units/256/holding/0", slave.name), "");
        }
        self.all_registers();
    }

    fn register_mistakes(&mut self, base: &str) {
        self.control("GET", &format!("{base}/holding/65535?count=2"), "");
        self.control("GET", &format!("{base}/holding/10?count=0"), "");
        self.control("GET", &format!("{base}/holding/10?count=x"), "");
        self.control("GET", &format!("{base}/holding/10?size=2"), "");
        self.control("GET", &format!("{base}/holding/65536"), "");
        self.control("GET", &format!("{base}/nothing/0"), "");
        for body in [r#"{"values":[]}"#, r#"{"values":[-1]}"#, r#"{"value":[1]}"#, "{"] {
            self.control("PUT", &format!("{base}/holding/10"), body);
        }
    }

    /// The content of every unit, in one line for each table.
    fn all_registers(&mut self) {
        for slave in self.slaves.clone() {
            for unit in &slave.units {
                for table in ["coils", "discrete", "holding", "input"] {
                    let mut line = format!("{} unit {unit} {table}:", slave.name);
                    for address in 0..40 {
                        let path = format!("slaves/{}/units/{unit}/{table}/{address}", slave.name);
                        let found = self.ask_quietly("GET", &path, &Value::Null);
                        if let Some(value) = found["values"][0].as_u64() {
                            line += &format!(" {address}={value}");
                        }
                    }
                    self.transcript.note(&line);
                }
            }
        }
    }

    fn clock(&mut self) {
        self.transcript.heading("The control plane: the clock");
        for body in CLOCK {
            self.control("POST", "clock", body);
        }
        let device = self.devices[0].clone();
        if let Some(action) = device.actions.first() {
            self.call(&device, action);
            self.control("POST", "clock", r#"{"jump":"15m"}"#);
            self.status(&device);
        }
        self.control("GET", "clock", "");
    }

    fn password(&mut self, device: &Device) {
        self.transcript.heading("A device that asks for its password");
        let path = "/api/v1/eth/settings";
        let protect = r#"{"system":{"protection":true,"password":"geheim"}}"#;
        self.send(device, "PUT", "/api/v1/settings", protect);
        self.get(device, path);
        self.get(device, "/nowhere");
        self.http(&device.api, "GET", path, &[("Authorization", "Basic OmdlaGVpbQ==")], "");
        self.http(&device.api, "GET", path, &[("Authorization", "Digest")], "");
        self.http(&device.api, "POST", "/api/v1/actions/call?id=1", &[("Origin", "null")], "");
        self.proven(device, "GET", path, "", "geheim");
        self.proven(device, "GET", path, "", "falsch");
        self.proven(device, "PUT", path, r#"{"enable":"yes"}"#, "geheim");
        let open = r#"{"system":{"protection":false}}"#;
        self.proven(device, "PUT", "/api/v1/settings", open, "geheim");
        self.get(device, path);
    }

    /// A request with the password, as a client sends it behind a challenge. Then the same once more.
    fn proven(&mut self, device: &Device, method: &str, path: &str, body: &str, password: &str) {
        let mut connection = Connection::open(device.api.address);
        connection.send(&request("GET", "/", &[], ""));
        let challenge = String::from_utf8(connection.rest().0).unwrap();
        let challenge = challenge
            .lines()
            .find_map(|line| line.strip_prefix("WWW-Authenticate: "))
            .expect("a challenge");
        let http_method = if method == "GET" { HttpMethod::GET } else { HttpMethod::PUT };
        let context =
            AuthContext::new_with_method("", password, path, Some(body.as_bytes()), http_method);
        let answer = digest_auth::parse(challenge).unwrap().respond(&context).unwrap().to_string();
        for _ in 0..2 {
            self.transcript.sent(
                &device.api.name,
                &format!("{method} {path} [with the password {password}] {}", body.escape_debug()),
            );
            let mut connection = Connection::open(device.api.address);
            connection.send(&request(method, path, &[("Authorization", &answer)], body));
            let (bytes, end) = connection.rest();
            self.transcript.received_http(&bytes, end);
        }
    }

    fn power(&mut self, device: &Device) {
        self.transcript.heading("Uploads, reboot, restore");
        for (kind, body) in UPLOADS {
            let headers = [("Content-Type", *kind)];
            self.http(&device.api, "POST", "/load", &headers, body);
            self.settle();
        }
        self.get(device, "/api/v1/system");
        self.advance("3s");
        self.get(device, "/api/v1/system");
        for path in ["/api/v1/reboot", "/api/v1/restore"] {
            self.send(device, "POST", path, "");
            self.settle();
            self.get(device, "/api/v1/system");
            self.frames(&device.modbus, "while it is down", &frame(1, 1, &[4, 0, 0, 0, 2]), 1);
            self.advance("3s");
            self.get(device, "/api/v1/system");
            self.advance("20s");
            self.get(device, "/api/v1/report");
            self.get(device, "/api/v1/actions");
            self.get(device, "/api/v1/settings");
        }
    }

    fn ending(&mut self) {
        self.transcript.heading("The end");
        self.control("GET", "state", "");
        self.control("GET", "faults", "");
        self.all_registers();
        self.control("GET", "journal?event=fault_fired&limit=3", "");
        self.control("GET", "journal?event=slave_request&unit=1&after=200&limit=3", "");
        self.control("GET", "journal/wait?after=5&limit=2", "");
        self.control("GET", "journal/wait?event=nothing&timeout_ms=1", "");
        self.journal();
    }

    /// The whole journal, page by page.
    fn journal(&mut self) {
        let journal = self.ask_quietly("GET", "journal?limit=1", &Value::Null);
        let written = journal["written"].as_u64().unwrap();
        for after in (0..written).step_by(100) {
            self.control("GET", &format!("journal?after={after}&limit=100"), "");
        }
    }

    fn reset(&mut self) {
        self.transcript.heading("After a reset");
        // The reply shows the MQTT client before it follows, or after: so the state is asked for again.
        self.ask_quietly("POST", "reset", &Value::Null);
        self.settle();
        self.control("GET", "state", "");
        self.control("GET", "faults", "");
        self.all_registers();
        let device = self.devices[0].clone();
        self.get(&device, "/api/v1/system");
        if let Some(action) = device.actions.first() {
            self.call(&device, action);
            self.advance("10s");
            self.status(&device);
        }
        self.journal();
    }

    // Faults.

    fn refused_rules(&mut self) {
        self.transcript.heading("Faults: rules that are refused");
        for body in BAD_RULES {
            self.control("POST", "faults", body);
        }
    }

    /// The first effects of a list, or all of them.
    fn some(&self, effects: &'static [&'static str]) -> &'static [&'static str] {
        if self.whole { effects } else { &effects[..effects.len().min(4)] }
    }

    fn faults(&mut self) {
        let device = self.devices[0].clone();
        self.transcript.heading("Faults at the API");
        for effect in self.some(API_EFFECTS) {
            let at = r#"{"api":{"method":"GET","route":"/api/v1/eth/settings"}}"#;
            let rule = self.add(at, effect);
            self.http_later(&device.api, "GET", "/api/v1/eth/settings", "", "1m");
            self.remove(&rule);
        }
        self.transcript.heading("Faults at actions and the queue");
        if let Some(action) = device.actions.first() {
            let effects = if self.whole { ACTION_EFFECTS } else { &ACTION_EFFECTS[..3] };
            for (at, effect) in effects {
                let rule = self.add(at, effect);
                self.call(&device, action);
                self.status(&device);
                self.control("PATCH", &format!("faults/{rule}"), r#"{"release":true}"#);
                self.advance("1m");
                self.status(&device);
                self.remove(&rule);
                self.advance("1m");
            }
        }
        if let Some(slave) = self.slaves.first().cloned() {
            self.transcript.heading("Faults at slaves");
            // One slave alone: several that close at once write the journal in any order.
            let at = format!(r#"{{"slave":"{}"}}"#, slave.name);
            for effect in self.some(MODBUS_EFFECTS) {
                let rule = self.add(&at, effect);
                self.faulty_frames(&slave.place);
                self.remove(&rule);
            }
            for at in self.some(SLAVE_PLACES) {
                let rule = self.add(at, r#"{"exception":4}"#);
                self.faulty_frames(&slave.place);
                self.remove(&rule);
            }
            let rule = self.add(r#"{"slave":"any"}"#, r#"{"result":-109}"#);
            self.faulty_frames(&slave.place);
            self.remove(&rule);
        }
        self.transcript.heading("Faults at the device's Modbus server");
        let enable = r#"{"services":{"modbus":{"enable":true}}}"#;
        self.send(&device, "PUT", "/api/v1/settings", enable);
        let id = device.api.name.strip_prefix("device-").unwrap();
        let at = format!(r#"{{"modbus":"any","device":"{id}"}}"#);
        for effect in &MODBUS_EFFECTS[..8] {
            let rule = self.add(&at, effect);
            self.faulty_frames(&device.modbus);
            self.remove(&rule);
        }
        if let Some(target) = self.targets.first().cloned() {
            self.transcript.heading("Faults at targets");
            for effect in self.some(TARGET_EFFECTS) {
                let rule = self.add(r#""target""#, effect);
                self.http_later(&target, "GET", "/light/0", "", "1m");
                self.remove(&rule);
            }
        }
        self.transcript.heading("Faults at MQTT and at the meter");
        for effect in [r#"{"delay":"2s"}"#, r#""lose""#, r#""drop""#, r#""refuse""#] {
            let rule = self.add(r#""mqtt""#, effect);
            self.remove(&rule);
        }
        for effect in METER_EFFECTS {
            let rule = self.add(r#""meter""#, effect);
            self.advance("20s");
            self.get(&device, "/api/v1/report");
            self.remove(&rule);
            self.advance("20s");
        }
        self.transcript.heading("Faults at the live stream");
        for effect in self.some(LIVE_EFFECTS) {
            let rule = self.add(r#""live""#, effect);
            let mut stream = self.follow(&device);
            self.advance("9s");
            self.control("PATCH", &format!("faults/{rule}"), r#"{"release":true}"#);
            self.settle();
            stream.connection.as_ref().unwrap().finish();
            stream.end(self, "ended by the client");
            self.settle();
            self.remove(&rule);
        }
    }

    fn triggers(&mut self) {
        let device = self.devices[0].clone();
        self.transcript.heading("Faults: when they strike");
        for when in TRIGGERS {
            let body = format!(
                r#"{{"id":"when","at":{{"api":"/api/v1/eth/settings"}},"when":{when},"effect":{{"status":418}}}}"#
            );
            self.control("POST", "faults", &body);
            let mut seen = String::new();
            for _ in 0..12 {
                let mut connection = Connection::open(device.api.address);
                connection.send(&request("GET", "/api/v1/eth/settings", &[], ""));
                seen += &String::from_utf8(connection.rest().0).unwrap()[8..12];
                self.advance("5s");
            }
            self.transcript.note(&format!("12 requests, one each 5 s:{seen}"));
            self.control("PATCH", "faults/when", r#"{"armed":false}"#);
            self.control("PATCH", "faults/when", r#"{"armed":true}"#);
            self.control("GET", "faults/when", "");
            self.control("DELETE", "faults/when", "");
        }
        for body in [r#"{"armed":1}"#, "{}", r#"{"arm":true}"#, ""] {
            self.control("PATCH", "faults/probe-api", body);
        }
    }

    /// Adds a rule, and returns its name.
    fn add(&mut self, at: &str, effect: &str) -> String {
        self.control("POST", "faults", &format!(r#"{{"id":"rule","at":{at},"effect":{effect}}}"#));
        "rule".to_owned()
    }

    fn remove(&mut self, rule: &str) {
        self.control("GET", &format!("faults/{rule}"), "");
        self.control("DELETE", &format!("faults/{rule}"), "");
    }

    /// A write and two reads on one connection.
    fn faulty_frames(&mut self, place: &Place) {
        let write = frame(0x0201, 1, &[6, 0, 10, 0, 5]);
        let read = frame(0x0202, 1, &[3, 0, 10, 0, 1]);
        let input = frame(0x0203, 1, &[4, 0, 0, 0, 2]);
        self.frames(place, "a write and two reads", &[write, read, input].concat(), 1);
    }
}

/// A live stream that is being followed.
struct Stream {
    name: String,
    head: Vec<u8>,
    connection: Option<Connection>,
}

impl Stream {
    /// Records everything that came, once the stream is at its end.
    fn end(&mut self, player: &mut Player, how: &str) {
        let (rest, end) = self.connection.take().unwrap().rest();
        self.head.extend(rest);
        player.transcript.sent(&self.name, &format!("GET /api/v1/live, {how}"));
        player.transcript.received_http(&self.head, end);
    }
}

/// A Modbus TCP frame.
fn frame(transaction: u16, unit: u8, pdu: &[u8]) -> Vec<u8> {
    let length = u16::try_from(pdu.len() + 1).unwrap();
    let mut bytes = transaction.to_be_bytes().to_vec();
    bytes.extend([0, 0]);
    bytes.extend(length.to_be_bytes());
    bytes.push(unit);
    bytes.extend(pdu);
    bytes
}

/// Paths that a GET may ask for without an end of the stream.
const PATHS: &[&str] = &[
    "/api/v1/actions",
    "/api/v1/actions/status",
    "/api/v1/system",
    "/api/v1/report",
    "/api/v1/report/objects",
    "/api/v1/modbus",
    "/api/v1/settings",
    "/api/v1/meter/settings",
    "/api/v1/wifi/sta/settings",
    "/api/v1/meter/scalers/current",
    "/api/v1/meter/scalers/custom",
    "/api/v1/wifi/wps",
    "/api/v1/eth/settings",
    "/sdcard",
    "/api/v1/berry",
    "/api/v1/mqtt/settings",
    "/api/v1/variables",
    "/api/v1/template/test",
];

const DEFINITIONS: &[&str] = &[
    "",
    "{",
    "[]",
    "{}",
    r#"{"actions":[{"id":"a"}]}"#,
    r#"{"actions":[{"id":"a","requests":[{"http":{"url":"nowhere"}}]}]}"#,
    r#"{"actions":[{"id":"a","requests":[{"modbus":{"host":"x","func":3,"address":1,"type":"short","value":"1"}}]}]}"#,
    r#"{"actions":[{"id":"a","requests":[{"modbus":{"host":"x","func":6,"address":1,"type":"float","value":"1"}}]}]}"#,
    r#"{"actions":[{"id":"a","requests":[]},{"id":"a","requests":[]}]}"#,
    r#"{"surprise":1,"const":{"host":"nobody.local"},"actions":[
        {"id":"a","more":true,"requests":[{"http":{"url":"http://${host}/${1_7_0}?t=${report.timestamp}","method":"PUT","payload":"P=${1_7_0}"}}]},
        {"id":"b","requests":[{"modbus":{"host":"${host}","port":1502,"unit_id":3,"func":16,"address":10,"type":"double","value":"${1_8_0}","timeout":1}}]},
        {"id":"c","enable":false,"requests":[{"http":{"url":"http://192.0.2.1/"}}]}]}"#,
];

const SETTINGS: &[(&str, &[(&str, &str)])] = &[
    (
        "/api/v1/settings",
        &[
            ("PUT", r#"{"system":{"name":"Keller"}}"#),
            ("PUT", r#"{"services":{"report_interval":10,"sd":{"enable":true,"frequency":30}}}"#),
            ("PUT", r#"{"services":{"sd":{"frequency":0}}}"#),
            ("PUT", r#"{"services":{"sd":{"frequency":"often"}},"system":{"name":7}}"#),
            ("PUT", r#"{"system":{"name":"a name that is longer than what the device takes"}}"#),
            ("PUT", r#"{"system":{"host_name":"no host name"}}"#),
            ("PUT", r#"{"system":{"power_save":true}}"#),
            (
                "PUT",
                r#"{"system":{"custom_ntp_server":"not a server","use_custom_ntp_server":true}}"#,
            ),
            ("PUT", r#"{"system":{"surprise":1},"surprise":{}}"#),
            ("PUT", r#"{"services":{"cloud":{"what_watt":false,"stromkonto":true}}}"#),
            ("PUT", "{}"),
            ("PUT", ""),
            ("PUT", "{"),
            ("PUT", "[]"),
            ("POST", r#"{"system":{"name":"Estrich"},"services":{"report_interval":60}}"#),
            ("POST", r#"{"services":{"report_interval":0}}"#),
            ("DELETE", ""),
        ],
    ),
    (
        "/api/v1/meter/settings",
        &[
            ("PUT", r#"{"conv_factor":2,"if_type":"p1"}"#),
            ("PUT", r#"{"conv_factor":0}"#),
            ("PUT", r#"{"parity":"perhaps"}"#),
            ("PUT", r#"{"encryption_key":"00112233445566778899AABBCCDDEEFF"}"#),
            ("PUT", r#"{"encryption_key":"short"}"#),
            ("POST", r#"{"baudrate":9600}"#),
        ],
    ),
    (
        "/api/v1/wifi/sta/settings",
        &[
            ("PUT", r#"{"enable":true}"#),
            ("PUT", r#"{"enable":true,"name":"home","password":"12345678"}"#),
            ("PUT", r#"{"static_ip":true}"#),
            (
                "PUT",
                r#"{"static_ip":true,"ip":"10.0.0.7","netmask":"255.0.255.0","gateway":"10.0.0.1","dns":"9.9.9.9"}"#,
            ),
            (
                "PUT",
                r#"{"static_ip":true,"ip":"10.0.0.7","netmask":"255.255.0.0","gateway":"10.0.0.1","dns":"9.9.9.9"}"#,
            ),
            ("POST", r#"{"enable":true,"name":"home","password":"12345678"}"#),
        ],
    ),
    (
        "/api/v1/eth/settings",
        &[
            ("PUT", r#"{"enable":"yes"}"#),
            (
                "PUT",
                r#"{"static_ip":true,"ip":"10.0.0.8","netmask":"255.255.0.0","gateway":"10.0.0.1","dns":"9.9.9.9"}"#,
            ),
            ("POST", r#"{"enable":true}"#),
        ],
    ),
    (
        "/api/v1/meter/scalers/custom",
        &[
            ("POST", r#"[{"obis":"1.8.255","scaler":3}]"#),
            ("POST", r#"{"scalers":[{"obis":"1.7.255","scaler":-1}]}"#),
            ("POST", r#"[{"obis":"1.8","scaler":300}]"#),
            ("POST", "[]"),
        ],
    ),
];

const MQTT: &[(&str, &str)] = &[
    ("PUT", r#"{"enable":true}"#),
    ("PUT", r#"{"enable":true,"url":"ftp://broker.example.com"}"#),
    (
        "PUT",
        r#"{"enable":true,"url":"mqtt://broker.example.com","publish":{"topic":"lab/power","template":"P ${1_7_0}"}}"#,
    ),
    ("PUT", r#"{"publish":{"topic":"a/#"}}"#),
    ("PUT", r#"{"client":{"id":"go","key":"no key"}}"#),
    ("POST", r#"{"enable":true,"url":"mqtt://192.0.2.1:1884","username":"u","password":"p"}"#),
    ("GET", ""),
];

const MAPS: &[&str] = &[
    "",
    "{}",
    "[]",
    r#"[{"start_address":0,"registers":[{"id":"nothing","type":"float"}]}]"#,
    r#"[{"start_address":0,"registers":[{"id":"1.7.0","type":"float"}]},{"start_address":1,"registers":[{"id":"2.7.0","type":"float"}]}]"#,
    r#"[{"start_address":65535,"registers":[{"id":"1.7.0","type":"double"}]}]"#,
    r#"[{"start_address":0,"registers":[{"id":"1.7.0","type":"float","scaler":3},{"id":"0","type":"int"},{"id":"sys.id"}]},
        {"start_address":100,"word_order":"lsw","registers":[{"id":"report.date_time"},{"id":"1.8.0","type":"long","scaler":3}]}]"#,
];

const SCRIPTS: &[(&str, &str, &str)] = &[
    ("GET", "/api/v1/berry", ""),
    ("PUT", "/api/v1/berry?run=true", ""),
    ("PUT", "/api/v1/berry", ""),
    ("PUT", "/api/v1/berry?run=perhaps", ""),
    ("POST", "/api/v1/berry", "print('hello')\nprint(1 + 2)\n"),
    ("GET", "/api/v1/berry", ""),
    ("POST", "/api/v1/berry", ""),
    ("GET", "/api/v1/berry", ""),
    ("POST", "/api/v1/berry", "print('hello')\n"),
];

const CARD: &[(&str, &str)] = &[
    ("GET", "/sdcard"),
    ("GET", "/sdcard/"),
    ("GET", "/sdcard/NOTHING.TXT"),
    ("GET", "/sdcard/../etc"),
    ("GET", "/sdcard/a%2Fb"),
    ("GET", "/sdcard/nothing/"),
    ("DELETE", "/sdcard/"),
    ("DELETE", "/sdcard/NOTHING.TXT"),
    ("DELETE", "/sdcard/a:b"),
];

/// Requests to the device's Modbus server.
const MODBUS: &[(&str, &[u8])] = &[
    ("input registers 0 to 7", &[4, 0, 0, 0, 8]),
    ("input registers 0 to 99", &[4, 0, 0, 0, 100]),
    ("input registers 100 to 199", &[4, 0, 100, 0, 100]),
    ("one half of a value", &[4, 0, 1, 0, 1]),
    ("input registers 125 of them", &[4, 0, 0, 0, 125]),
    ("holding registers", &[3, 0, 0, 0, 2]),
    ("a write", &[6, 0, 0, 0, 2]),
];

/// Requests to a slave.
const READS: &[(&str, &[u8])] = &[
    ("holding register 10", &[3, 0, 10, 0, 1]),
    ("coils 0 to 3", &[1, 0, 0, 0, 4]),
    ("coil 0", &[1, 0, 0, 0, 1]),
    ("discrete inputs 0 to 3", &[2, 0, 0, 0, 4]),
    ("holding registers 10 to 12", &[3, 0, 10, 0, 3]),
    ("holding registers 30 to 37", &[3, 0, 30, 0, 8]),
    ("input registers 0 to 7", &[4, 0, 0, 0, 8]),
    ("input register 0", &[4, 0, 0, 0, 1]),
    ("coil 0 on", &[5, 0, 0, 0xff, 0]),
    ("coil 0 off", &[5, 0, 0, 0, 0]),
    ("coil 0 half on", &[5, 0, 0, 0x12, 0x34]),
    ("register 10 = 21", &[6, 0, 10, 0, 21]),
    ("register 10 = 32768", &[6, 0, 10, 0x80, 0]),
    ("register 11 = 1", &[6, 0, 11, 0, 1]),
    ("coils 0 to 2", &[15, 0, 0, 0, 3, 1, 5]),
    ("coils 0 to 15", &[15, 0, 0, 0, 16, 2, 0xff, 0xff]),
    ("registers 10 and 11", &[16, 0, 10, 0, 2, 4, 0, 21, 0, 22]),
    ("registers 14 and 15", &[16, 0, 14, 0, 2, 4, 0x41, 0xac, 0, 0]),
    ("registers 20 to 23", &[16, 0, 20, 0, 4, 8, 1, 2, 3, 4, 5, 6, 7, 8]),
    ("register 12 again", &[3, 0, 12, 0, 1]),
];

/// Requests that are refused, or odd.
const ODD: &[(&str, &[u8])] = &[
    ("address 999", &[3, 0x03, 0xe7, 0, 1]),
    ("beyond address 65535", &[3, 0xff, 0xff, 0, 2]),
    ("no registers", &[3, 0, 0, 0, 0]),
    ("too many registers", &[4, 0, 0, 0, 126]),
    ("too many coils", &[1, 0, 0, 0x07, 0xd1]),
    ("a byte count that is wrong", &[16, 0, 10, 0, 2, 3, 0, 21, 0]),
    ("a request that is cut short", &[3, 0, 10]),
    ("a function alone", &[6]),
    ("function 7", &[7]),
    ("function 23", &[23, 0, 0, 0, 1, 0, 10, 0, 1, 2, 0, 1]),
    ("function 43", &[43, 14, 1, 0]),
    ("function 100", &[100, 1, 2, 3]),
    ("function 131", &[131, 1]),
    ("function 0", &[0]),
];

/// Bytes that are no frames.
const GARBAGE: &[(&str, &[u8])] = &[
    ("another protocol", &[0, 1, 0, 1, 0, 6, 1, 3, 0, 0, 0, 1]),
    ("a length of 0", &[0, 1, 0, 0, 0, 0, 1, 3, 0, 0, 0, 1]),
    ("a length of 1", &[0, 1, 0, 0, 0, 1, 1]),
    ("a length of 300", &[0, 1, 0, 0, 1, 44, 1, 3, 0, 0, 0, 1]),
    ("half a header", &[0, 1, 0]),
    ("text", b"GET / HTTP/1.1\r\n\r\n"),
    ("nothing", b""),
];

const CONTROL: &[(&str, &str, &str)] = &[
    ("POST", "state", ""),
    ("DELETE", "journal", ""),
    ("GET", "reset", ""),
    ("GET", "nothing", ""),
    ("GET", "faults/nothing", ""),
    ("DELETE", "faults/nothing", ""),
    ("PATCH", "faults/nothing", r#"{"armed":true}"#),
    ("GET", "slaves/nothing/units/1/holding/0", ""),
    ("GET", "slaves/nothing", ""),
    ("GET", "targets/nothing/requests", ""),
    ("DELETE", "targets/nothing/requests", ""),
    ("GET", "journal?limit=0", ""),
    ("GET", "journal?limit=x", ""),
    ("GET", "journal?after=-1", ""),
    ("GET", "journal?sort=t", ""),
    ("GET", "journal?limit=1&limit=2", ""),
    ("GET", "journal?timeout_ms=5", ""),
    ("GET", "journal/wait?timeout_ms=60001", ""),
    ("GET", "state?more=1", ""),
    ("POST", "faults", ""),
    ("POST", "faults", "{"),
    ("POST", "faults", "[]"),
    ("POST", "faults", "{}"),
    ("POST", "faults", "true"),
];

const CLOCK: &[&str] = &[
    "",
    "{",
    "{}",
    r#"{"advance":"soon"}"#,
    r#"{"advance":5}"#,
    r#"{"advance":"-5s"}"#,
    r#"{"advance":"1s","jump":"1s"}"#,
    r#"{"forward":"1s"}"#,
    r#"{"jump":""}"#,
    r#"{"speed":0}"#,
    r#"{"speed":-1}"#,
    r#"{"speed":"fast"}"#,
    r#"{"speed":1e12}"#,
    r#"{"speed":"manual"}"#,
    r#"{"advance":"250ms"}"#,
    r#"{"advance":"15m"}"#,
    r#"{"jump":"2h"}"#,
];

const UPLOADS: &[(&str, &str)] = &[
    ("", ""),
    ("application/octet-stream", "image"),
    ("multipart/form-data", "image"),
    ("multipart/form-data; boundary=x", "image"),
    (
        "multipart/form-data; boundary=x",
        "--x\r\nContent-Disposition: form-data; name=\"other\"\r\n\r\n1\r\n--x--\r\n",
    ),
    (
        "multipart/form-data; boundary=x",
        "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\n1\r\n--x--\r\n",
    ),
    (
        "multipart/form-data; boundary=x",
        "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.bin\"\r\n\r\n\r\n--x--\r\n",
    ),
    (
        "multipart/form-data; boundary=x",
        "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.bin\"\r\n\r\nimage\r\n--x--\r\n",
    ),
];

const BAD_RULES: &[&str] = &[
    r#"{"at":"nowhere","effect":"hang"}"#,
    r#"{"at":"api"}"#,
    r#"{"effect":"hang"}"#,
    r#"{"at":"api","effect":"silence"}"#,
    r#"{"at":{"slave":"nothing"},"effect":"silence"}"#,
    r#"{"at":{"target":"nothing"},"effect":"hang"}"#,
    r#"{"at":{"action":"nothing"},"effect":"hold"}"#,
    r#"{"at":{"api":{"route":"/nowhere","method":"FETCH"}},"effect":"hang"}"#,
    r#"{"at":"api","effect":{"status":42}}"#,
    r#"{"at":"api","effect":{"delay":"soon"}}"#,
    r#"{"at":"api","effect":{"delay":{"uniform":["2s","1s"]}}}"#,
    r#"{"at":"api","effect":"hang","when":{"probability":2}}"#,
    r#"{"at":"api","effect":"hang","when":{"nth":0}}"#,
    r#"{"at":"api","effect":"hang","when":{"every":"10s","for":"20s"}}"#,
    r#"{"at":"meter","effect":"frozen","when":{"first":1}}"#,
    r#"{"at":"queue","effect":{"occupy":-1}}"#,
    r#"{"at":"api","effect":"hang","surprise":1}"#,
    r#"{"id":"","at":"api","effect":"hang"}"#,
    r#"{"id":"probe-api","at":"api","effect":"hang"}"#,
    r#"{"at":{"api":"any","device":"000000000000"},"effect":"hang"}"#,
];

const API_EFFECTS: &[&str] = &[
    r#"{"delay":"2s"}"#,
    r#"{"delay":{"uniform":["100ms","2s"]}}"#,
    r#"{"status":503}"#,
    r#"{"status":{"code":429,"retry_after":5}}"#,
    r#""reset""#,
    r#""hang""#,
    r#"{"cut":40}"#,
    r#""drip""#,
    r#"{"drip":{"bytes":50,"every":"100ms"}}"#,
    r#""malformed_json""#,
];

const ACTION_EFFECTS: &[(&str, &str)] = &[
    (r#""action""#, r#""disable""#),
    (r#""action""#, r#""hold""#),
    (r#"{"action":"any"}"#, r#"{"hold":"30s"}"#),
    (r#""action""#, r#"{"result":-3}"#),
    (r#""action""#, r#"{"result":-9}"#),
    (r#""action""#, r#"{"result":-17}"#),
    (r#""action""#, r#"{"result":-102}"#),
    (r#""action""#, r#"{"result":503}"#),
    (r#""queue""#, r#"{"occupy":20}"#),
    (r#"{"queue":"any"}"#, r#"{"limit":0}"#),
];

const MODBUS_EFFECTS: &[&str] = &[
    r#"{"delay":"2s"}"#,
    r#""silence""#,
    r#"{"exception":2}"#,
    r#""wrong_transaction_id""#,
    r#""refuse""#,
    r#"{"close":"middle"}"#,
    r#"{"reset":"after"}"#,
    r#""duplicate""#,
    r#"{"delay":{"lognormal":{"median":"800ms","p95":"3s"}}}"#,
    r#"{"delay":{"normal":{"mean":"1s","deviation":"200ms"}}}"#,
    r#""off_by_one""#,
    r#""stale_reply""#,
    r#""wrong_unit""#,
    r#""wrong_function""#,
    r#""protocol_id""#,
    r#"{"protocol_id":7}"#,
    r#""length_too_short""#,
    r#""length_too_long""#,
    r#"{"mbap_length":42}"#,
    r#""truncated""#,
    r#"{"truncated":3}"#,
    r#""extra_bytes""#,
    r#"{"extra_bytes":2}"#,
    r#""exception_without_code""#,
    r#""changed_echo""#,
    r#""dribble""#,
    r#"{"dribble":{"bytes":2,"every":"50ms"}}"#,
    r#""split""#,
    r#"{"split":{"at":7,"gap":"100ms"}}"#,
    r#""close""#,
    r#"{"close":"after"}"#,
    r#"{"reset":"before"}"#,
    r#"{"reset":"middle"}"#,
];

const SLAVE_PLACES: &[&str] = &[
    r#""slave""#,
    r#"{"slave":"any","unit":1}"#,
    r#"{"slave":"any","unit":2}"#,
    r#"{"slave":"any","function":6}"#,
    r#"{"slave":"any","address":"10..20"}"#,
    r#"{"slave":"any","value":5}"#,
];

const TARGET_EFFECTS: &[&str] = &[
    r#"{"delay":"2s"}"#,
    r#"{"status":503}"#,
    r#""reset""#,
    r#""hang""#,
    r#""bad_content_length""#,
    r#"{"result":-20}"#,
    r#"{"result":-17}"#,
];

const METER_EFFECTS: &[&str] = &[
    r#""not_connected""#,
    r#""no_data""#,
    r#""recognition""#,
    r#""key_required""#,
    r#""encryption_key""#,
    r#""not_recognized""#,
    r#""frozen""#,
    r#"{"jump_back":5}"#,
    r#"{"clock_drift":{"behind":"1m","per_day":"30s"}}"#,
    r#"{"missing_phase":"l2"}"#,
    r#""restart_ids""#,
];

const LIVE_EFFECTS: &[&str] = &[
    r#"{"delay":"2s"}"#,
    r#""stall""#,
    r#"{"stall":"5s"}"#,
    r#"{"cut":40}"#,
    r#""duplicate""#,
    r#""takeover""#,
];

const TRIGGERS: &[&str] = &[
    "{}",
    r#"{"armed":false}"#,
    r#"{"first":2}"#,
    r#"{"nth":[2,5]}"#,
    r#"{"nth":3}"#,
    r#"{"probability":0.5}"#,
    r#"{"after":"10s","for":"15s"}"#,
    r#"{"for":"5s","every":"20s"}"#,
    r#"{"after":"5s","first":3,"probability":0.7}"#,
];
