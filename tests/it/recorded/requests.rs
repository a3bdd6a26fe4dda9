//! The fixed list of requests, but for the faults.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use digest_auth::{AuthContext, HttpMethod};
use serde_json::Value;

use super::lists::*;
use super::player::{Device, Place, Player, Slave, frame, in_one_line};
use super::process::{Connection, Process, quiet, request, text};
use super::transcript::Transcript;

/// The number of newest requests whose status is read.
const STATUSES: usize = 4;

/// The house that plays the whole list. Some replies depend on the program alone, as those to most mistakes
/// do. The other houses leave them out because longer transcripts would not be read.
const WHOLE: &str = "default";

/// Sends the requests to a house and returns the transcript.
pub(super) fn play(house: &str) -> Transcript {
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

impl Player {
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
        assert_eq!(quiet(control.address, "GET", "/control/v1/scenario", "").1, text);
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
        let before = Self::kept_definition(device);
        for body in self.last(2, DEFINITIONS) {
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
    pub(super) fn call(&mut self, device: &Device, action: &str) {
        let path = format!("/api/v1/actions/call?id={action}");
        self.send(device, "POST", &path, "");
        self.settle();
    }

    /// The state of the newest requests.
    pub(super) fn status(&mut self, device: &Device) {
        let journal = self.ask_quietly("GET", "journal?event=call_admitted", &Value::Null);
        let entries = journal["entries"].as_array().unwrap().iter().rev();
        let mut ids: Vec<String> = entries
            .filter(|entry| entry["device"] == device.id())
            .flat_map(|entry| entry["status_ids"].as_array().unwrap().iter().rev())
            .map(ToString::to_string)
            .take(STATUSES)
            .collect();
        ids.reverse();
        self.get(device, &format!("/api/v1/actions/status?id={}", ids.join(",")));
    }

    /// The definition of a device. `None` if it has none.
    fn kept_definition(device: &Device) -> Option<String> {
        let (head, body) = quiet(device.api.address, "GET", "/api/v1/actions", "");
        head.starts_with("HTTP/1.1 200").then_some(body)
    }

    fn settings(&mut self, device: &Device) {
        self.transcript.heading("Settings");
        for (path, writes) in SETTINGS {
            for (method, body) in self.first(3, writes) {
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
        for body in self.last(1, MAPS) {
            self.send(device, "POST", "/api/v1/modbus", body);
        }
        self.get(device, "/api/v1/modbus?address_format=hex");
        self.send(device, "DELETE", "/api/v1/modbus", "");
        self.get(device, "/api/v1/modbus");
        for (method, path, body) in self.last(1, SCRIPTS) {
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
        for (method, path) in self.first(3, CARD) {
            self.send(device, method, path, "");
        }
        let log = r#"{"services":{"sd":{"enable":true,"frequency":20}}}"#;
        self.send(device, "PUT", "/api/v1/settings", log);
        self.advance("1m");
        self.send(device, "PUT", "/api/v1/settings", &log.replace("true", "false"));
        self.get(device, "/sdcard/");
        if let Some(file) = Self::logged(device) {
            self.get(device, &format!("/sdcard/{file}"));
            self.send(device, "DELETE", &format!("/sdcard/{file}"), "");
            self.get(device, "/sdcard/");
        }
    }

    /// The name of the newest log on the card. `None` if there is none.
    fn logged(device: &Device) -> Option<String> {
        let (_, listing) = quiet(device.api.address, "GET", "/sdcard/", "");
        let listing: Value = serde_json::from_str(&listing).unwrap();
        let files = listing["files"].as_array()?.iter();
        let names = files.filter_map(|file| file["name"].as_str());
        names.filter(|name| name.starts_with("20")).max().map(str::to_owned)
    }

    fn network(&mut self, device: &Device) {
        self.transcript.heading("MQTT without a broker");
        let path = "/api/v1/mqtt/settings";
        for (method, body) in self.first(3, MQTT) {
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
            self.transcript.sent(&device.api.name, &in_one_line(raw));
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
        self.frames(&device.modbus, "another unit", &frame(8, 99, &[4, 0, 1, 0, 2]), 1);
        self.common_frames(&device.modbus, 1);
        self.control("GET", "state", "");
    }

    fn live(&mut self, device: &Device) {
        self.transcript.heading("The live stream");
        let first = Self::follow(device);
        self.advance("25s");
        let second = Self::follow(device);
        self.settle();
        self.ended(first, "taken over");
        self.advance("10s");
        self.leave(second);
    }

    /// Follows the live stream of a device.
    pub(super) fn follow(device: &Device) -> Stream {
        let mut connection = Connection::open(device.api.address);
        connection.send(&request("GET", "/api/v1/live", &[], ""));
        let head = connection.read_past(b"\r\n\r\n");
        Stream { name: device.api.name.clone(), head, connection }
    }

    /// Leaves a live stream, and waits until the device knows it.
    pub(super) fn leave(&mut self, stream: Stream) {
        stream.connection.finish();
        self.ended(stream, "ended by the client");
        self.settle();
    }

    /// Records everything that came on a live stream that is at its end.
    fn ended(&mut self, stream: Stream, how: &str) {
        let (rest, end) = stream.connection.rest();
        self.transcript.sent(&stream.name, &format!("GET /api/v1/live, {how}"));
        self.transcript.received_http(&[stream.head, rest].concat(), end);
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
                            write!(line, " {address}={value}").unwrap();
                        }
                    }
                    self.transcript.note(&line);
                }
            }
        }
    }

    fn clock(&mut self) {
        self.transcript.heading("The control plane: the clock");
        for body in self.last(2, CLOCK) {
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
        let (head, _) = quiet(device.api.address, "GET", "/", "");
        let challenge = head.lines().find_map(|line| line.strip_prefix("WWW-Authenticate: "));
        let challenge = challenge.expect("the device asks for its password");
        let http_method = if method == "GET" { HttpMethod::GET } else { HttpMethod::PUT };
        let context =
            AuthContext::new_with_method("", password, path, Some(body.as_bytes()), http_method);
        let answer = if challenge.starts_with("Basic") {
            format!("Basic {}", BASE64.encode(format!(":{password}")))
        } else {
            digest_auth::parse(challenge).unwrap().respond(&context).unwrap().to_string()
        };
        for _ in 0..2 {
            let body_line = in_one_line(body);
            let line = format!("{method} {path} [with the password {password}] {body_line}");
            self.transcript.sent(&device.api.name, line.trim_end());
            let mut connection = Connection::open(device.api.address);
            connection.send(&request(method, path, &[("Authorization", &answer)], body));
            let (bytes, end) = connection.rest();
            self.transcript.received_http(&bytes, end);
        }
    }

    fn power(&mut self, device: &Device) {
        self.transcript.heading("Uploads, reboot, restore");
        for (kind, body) in self.last(2, UPLOADS) {
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
}

/// A live stream that is being followed.
pub(super) struct Stream {
    name: String,
    head: Vec<u8>,
    connection: Connection,
}
