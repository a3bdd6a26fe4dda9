//! The control plane over a house that is not there: what it reads, checks and refuses.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use wwsim::clock::{Clock, Speed};
use wwsim::control::{
    ControlServer, Controls, HouseSummary, Pending, RegisterError, RegisterRange, SlaveSummary,
    TargetSummary, Token,
};
use wwsim::fault::{ApiCall, ApiEffect, ApiPlace, Engine, Fault, Rule, Trigger};
use wwsim::journal::{Event, Journal};
use wwsim::modbus::bank::Table;

use crate::device_harness::{Client, body, error, header, status, within};

/// A house of one slave with three holding registers and a coil, and of one target.
struct House {
    clock: Clock,
    engine: Engine,
    journal: Arc<Journal>,
    words: Mutex<BTreeMap<(Table, u16), u16>>,
    requests: Mutex<Vec<Value>>,
    epoch: AtomicU64,
    stuck: AtomicBool,
}

impl House {
    fn new() -> Arc<Self> {
        let clock = Clock::new(Timestamp::UNIX_EPOCH, Speed::Manual);
        let journal = Arc::new(Journal::new(clock.clone()));
        let words = (10..13).map(|address| ((Table::HoldingRegisters, address), address));
        Arc::new(Self {
            engine: Engine::new(7, clock.clone(), Arc::clone(&journal), vec![]),
            words: Mutex::new(words.chain([((Table::Coils, 0), 0)]).collect()),
            requests: Mutex::new(vec![json!({"path": "/light/0"})]),
            epoch: AtomicU64::new(0),
            stuck: AtomicBool::new(false),
            clock,
            journal,
        })
    }
}

impl Controls for House {
    fn clock(&self) -> &Clock {
        &self.clock
    }

    fn engine(&self) -> &Engine {
        &self.engine
    }

    fn journal(&self) -> &Journal {
        &self.journal
    }

    fn summary(&self) -> HouseSummary {
        let address = "127.0.0.1:1503".parse().unwrap();
        HouseSummary {
            name: "test".into(),
            seed: 7,
            epoch: self.epoch.load(Ordering::SeqCst),
            devices: vec![],
            slaves: vec![SlaveSummary {
                name: "pump".into(),
                address,
                hosts: vec!["pump.local:502".into()],
                units: vec![1],
                listening: true,
            }],
            http_targets: vec![TargetSummary {
                name: "bulb".into(),
                address,
                hosts: vec![],
                requests: self.requests.lock().unwrap().len(),
            }],
        }
    }

    fn scenario(&self) -> &'static str {
        "name: test\n"
    }

    fn peek(&self, at: &RegisterRange, count: u16) -> Result<Vec<u16>, RegisterError> {
        if at.slave != "pump" {
            return Err(RegisterError::NoSlave);
        }
        if at.unit != 1 {
            return Err(RegisterError::NoUnit);
        }
        let words = self.words.lock().unwrap();
        (0..count)
            .map(|offset| {
                let word = words.get(&(at.table, at.address + offset)).copied();
                word.ok_or(RegisterError::NoRegister)
            })
            .collect()
    }

    fn poke(&self, at: &RegisterRange, values: &[u16]) -> Result<(), RegisterError> {
        self.peek(at, u16::try_from(values.len()).unwrap())?;
        if values.contains(&666) {
            return Err(RegisterError::Refused("not this number".into()));
        }
        let places = at.address..;
        self.words
            .lock()
            .unwrap()
            .extend(places.zip(values).map(|(address, word)| ((at.table, address), *word)));
        Ok(())
    }

    fn requests(&self, target: &str) -> Option<Vec<Value>> {
        (target == "bulb").then(|| self.requests.lock().unwrap().clone())
    }

    fn forget_requests(&self, target: &str) -> bool {
        let known = target == "bulb";
        if known {
            self.requests.lock().unwrap().clear();
        }
        known
    }

    fn parse_rule(&self, rule: &Value) -> Result<Rule, Vec<String>> {
        let id = rule["id"].as_str().ok_or_else(|| vec!["id: expected a name".to_owned()])?;
        let fault = Fault::Api(ApiPlace::default(), ApiEffect::Hang);
        Ok(Rule { id: id.into(), fault, when: Trigger::default() })
    }

    fn show_rule(&self, rule: &Rule) -> Value {
        json!({"id": &*rule.id, "at": "api", "effect": "hang"})
    }

    fn parse_duration(&self, text: &str) -> Result<Duration, String> {
        let minutes = text.strip_suffix('m').and_then(|minutes| minutes.parse().ok());
        minutes
            .map(|minutes: u64| Duration::from_secs(60 * minutes))
            .ok_or_else(|| format!("`{text}`: expected a duration"))
    }

    fn follows(&self, _: u64) -> Pending<'_, ()> {
        if self.stuck.load(Ordering::SeqCst) {
            Box::pin(std::future::pending())
        } else {
            Box::pin(async {})
        }
    }

    fn reset(self: Arc<Self>) -> Pending<'static, ()> {
        self.epoch.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move { self.clock.lock_movement().await.reset(Speed::Manual) })
    }
}

struct Plane {
    house: Arc<House>,
    server: ControlServer,
}

impl Plane {
    async fn start() -> Self {
        let (house, listener) = (House::new(), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let server = ControlServer::start(listener, house.clone(), None).unwrap();
        Self { house, server }
    }

    async fn send(&self, method: &str, path: &str, content: &str) -> String {
        let path = format!("/control/v1/{path}");
        self.raw(&format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{content}",
            content.len()
        ))
        .await
    }

    async fn raw(&self, request: &str) -> String {
        let mut client = Client(TcpStream::connect(self.server.address()).await.unwrap());
        client.send(request).await;
        client.response().await
    }

    /// The JSON of a reply that is a success.
    async fn json(&self, method: &str, path: &str, content: &str) -> Value {
        let answer = self.send(method, path, content).await;
        assert!(status(&answer) < 300, "{answer}");
        serde_json::from_str(body(&answer)).unwrap()
    }

    /// The status and the message of a refusal.
    async fn refusal(&self, method: &str, path: &str, content: &str) -> (u16, String) {
        let answer = self.send(method, path, content).await;
        error(&answer);
        let json: Value = serde_json::from_str(body(&answer)).unwrap();
        (status(&answer), json["message"].as_str().unwrap().to_owned())
    }
}

fn note() -> Event {
    Event::RuleChanged { rule: "r".into(), change: "armed" }
}

#[tokio::test]
async fn the_state_is_one_object() {
    let state = Plane::start().await.json("GET", "state", "").await;
    assert_eq!(state["name"], "test");
    assert_eq!(state["epoch"], 0);
    assert_eq!(
        state["clock"],
        json!({"t": 0.0, "time": "1970-01-01T00:00:00Z", "speed": "manual"})
    );
    assert_eq!(state["slaves"][0]["units"], json!([1]));
    assert_eq!(state["faults"], json!({"rules": 0, "armed": 0, "fired": 0, "holding": 0}));
}

#[tokio::test]
async fn a_rule_is_added_counted_disarmed_and_removed() {
    let plane = Plane::start().await;
    let added = plane.send("POST", "faults", r#"{"id": "slow pump"}"#).await;
    assert_eq!(status(&added), 201);
    assert_eq!(header(&added, "Location"), Some("/control/v1/faults/slow%20pump"));

    let call = ApiCall { device: "A842E39F8124", method: "GET", path: "/" };
    assert!(plane.house.engine.api(&call).effect.is_some());
    let rule = plane.json("GET", "faults/slow%20pump", "").await;
    assert_eq!(
        rule,
        json!({"id": "slow pump", "armed": true, "evaluated": 1, "fired": 1, "overruled": 0,
            "holding": 0, "rule": {"id": "slow pump", "at": "api", "effect": "hang"}})
    );
    let changed = plane.json("PATCH", "faults/slow%20pump", r#"{"armed": false}"#).await;
    assert_eq!(changed["armed"], false);
    assert!(plane.house.engine.api(&call).effect.is_none());
    plane.json("PATCH", "faults/slow%20pump", r#"{"release": true}"#).await;
    let list = plane.json("GET", "faults", "").await;
    assert_eq!(list["faults"][0]["evaluated"], 2);

    assert_eq!(status(&plane.send("DELETE", "faults/slow%20pump", "").await), 204);
    assert_eq!(plane.refusal("GET", "faults/slow%20pump", "").await.0, 404);
    assert_eq!(plane.refusal("DELETE", "faults/slow%20pump", "").await.0, 404);
}

#[tokio::test]
async fn rules_that_make_no_sense_are_refused_with_all_their_mistakes() {
    let plane = Plane::start().await;
    assert_eq!(
        plane.refusal("POST", "faults", "{}").await,
        (400, "id: expected a name".to_owned())
    );
    let (code, message) = plane.refusal("POST", "faults", "{").await;
    assert!(code == 400 && message.contains("a rule as in a scenario"), "{message}");
    plane.json("POST", "faults", r#"{"id": "r"}"#).await;
    assert_eq!(plane.refusal("POST", "faults", r#"{"id": "r"}"#).await.0, 409);
    for nothing in ["{}", r#"{"release": false}"#, r#"{"arm": true}"#, r#"{"armed": 1}"#, "", "[]"]
    {
        let (code, message) = plane.refusal("PATCH", "faults/r", nothing).await;
        assert!(code == 400 && message.contains(r#"{"armed": true}"#), "{nothing}: {message}");
    }
    assert_eq!(plane.refusal("PATCH", "faults/x", r#"{"armed": true}"#).await.0, 404);
}

#[tokio::test]
async fn a_change_that_no_listener_follows_is_not_called_effective() {
    let plane = Plane::start().await;
    plane.house.stuck.store(true, Ordering::SeqCst);
    assert_eq!(error(&plane.send("POST", "faults", r#"{"id": "r"}"#).await), "not_effective");
}

#[tokio::test]
async fn registers_are_read_and_written() {
    let plane = Plane::start().await;
    let registers = "slaves/pump/units/1/holding/10";
    assert_eq!(
        plane.json("GET", &format!("{registers}?count=3"), "").await,
        json!({"slave": "pump", "unit": 1, "table": "holding", "address": 10,
            "values": [10, 11, 12]})
    );
    let written = plane.json("PUT", registers, r#"{"values": [65535, 0]}"#).await;
    assert_eq!(written["values"], json!([65535, 0]));
    assert_eq!(plane.json("GET", registers, "").await["values"], json!([65535]));
    let coil = plane.json("PUT", "slaves/pump/units/1/coils/0", r#"{"values": [true]}"#).await;
    assert_eq!(coil["values"], json!([1]));
    let logged = plane.json("GET", "journal?event=registers_set&slave=pump&unit=1", "").await;
    assert_eq!(logged["entries"][0]["count"], 2);
    assert_eq!(logged["entries"][1]["table"], "coils");
}

#[tokio::test]
async fn registers_that_cannot_be_are_named() {
    let plane = Plane::start().await;
    for (method, path, content, code, part) in [
        ("GET", "pomp/units/1/holding/10", "", 404, "no slave `pomp`; there are: pump"),
        ("GET", "pump/units/2/holding/10", "", 404, "no unit `2`; there are: 1"),
        ("GET", "pump/units/1/holding/10?count=4", "", 404, "has not all of these registers"),
        ("GET", "pump/units/1/holding/10?count=0", "", 400, "expected 1 or more"),
        ("GET", "pump/units/1/holding/10?count=x", "", 400, "expected a whole number"),
        ("GET", "pump/units/1/holding/10?cnt=4", "", 400, "known: `count`"),
        ("GET", "pump/units/1/holding/65535?count=2", "", 400, "the last address is 65535"),
        ("PUT", "pump/units/1/holding/10", r#"{"values": []}"#, 400, "expected 1 to 65535"),
        ("PUT", "pump/units/1/holding/10", r#"{"values": [1, 65536]}"#, 400, "`values[1]`: 65536"),
        ("PUT", "pump/units/1/holding/10", r#"{"values": [-1]}"#, 400, "0 to 65535"),
        ("PUT", "pump/units/1/holding/10", r#"{"values": [1.5]}"#, 400, "a whole number"),
        ("PUT", "pump/units/1/holding/10", r#"{"values": [true]}"#, 400, "a word"),
        ("PUT", "pump/units/1/coils/0", r#"{"values": [2]}"#, 400, "a bit"),
        ("PUT", "pump/units/1/holding/10", r#"{"value": [1]}"#, 400, "unknown field `value`"),
        ("PUT", "pump/units/1/holding/10", r#"{"values": [666]}"#, 400, "not this number"),
    ] {
        let (found, message) = plane.refusal(method, &format!("slaves/{path}"), content).await;
        assert_eq!(found, code, "{path} {content}: {message}");
        assert!(message.contains(part), "{path} {content}: {message}");
    }
    let values = plane.json("GET", "slaves/pump/units/1/holding/10?count=3", "").await;
    assert_eq!(values["values"], json!([10, 11, 12]), "nothing was written");
}

#[tokio::test]
async fn what_a_target_received_is_shown_and_forgotten() {
    let plane = Plane::start().await;
    let shown = plane.json("GET", "targets/bulb/requests", "").await;
    assert_eq!(shown["requests"], json!([{"path": "/light/0"}]));
    assert_eq!(status(&plane.send("DELETE", "targets/bulb/requests", "").await), 204);
    assert_eq!(plane.json("GET", "targets/bulb/requests", "").await["requests"], json!([]));
    for method in ["GET", "DELETE"] {
        let (code, message) = plane.refusal(method, "targets/lamp/requests", "").await;
        assert_eq!((code, &*message), (404, "no target `lamp`; there are: bulb"));
    }
}

#[tokio::test]
async fn the_clock_moves_and_says_how_far() {
    let plane = Plane::start().await;
    let moved = plane.json("POST", "clock", r#"{"advance": "15m"}"#).await;
    assert_eq!(moved, json!({"t": 900.0, "time": "1970-01-01T00:15:00Z", "speed": "manual"}));
    assert_eq!(plane.json("POST", "clock", r#"{"jump": "45m"}"#).await["t"], 3600.0);
    assert_eq!(plane.json("GET", "clock", "").await["t"], 3600.0);
    assert_eq!(plane.json("POST", "clock", r#"{"speed": 60}"#).await["speed"], 60.0);
    assert_eq!(plane.json("POST", "clock", r#"{"speed": "manual"}"#).await["speed"], "manual");
    let log = plane.json("GET", "journal?event=clock_moved", "").await;
    let how: Vec<&Value> =
        log["entries"].as_array().unwrap().iter().map(|entry| &entry["how"]).collect();
    assert_eq!(how, ["advance", "jump", "speed", "speed"]);
}

#[tokio::test]
async fn a_clock_that_is_told_nonsense_stays() {
    let plane = Plane::start().await;
    for (content, part) in [
        ("", "expected {\"advance\": \"15m\"}"),
        ("{}", "exactly one of"),
        (r#"{"advance": "1m", "jump": "1m"}"#, "exactly one of"),
        (r#"{"advance": "soon"}"#, "`advance`: `soon`: expected a duration"),
        (r#"{"advance": 5}"#, "expected a string"),
        (r#"{"speed": 0}"#, "above 0"),
        (r#"{"speed": "fast"}"#, "or \"manual\""),
        (r#"{"rewind": "1m"}"#, "unknown field `rewind`"),
    ] {
        let (code, message) = plane.refusal("POST", "clock", content).await;
        assert!(code == 400 && message.contains(part), "{content}: {message}");
    }
    assert_eq!(plane.json("GET", "clock", "").await["t"], 0.0);
    assert_eq!(plane.house.journal.counts(), (0, 0));
}

#[tokio::test]
async fn the_journal_is_filtered_and_paged() {
    let plane = Plane::start().await;
    for n in 0..600 {
        let device = if n % 2 == 0 { "A842E39F8124" } else { "A842E39F8125" };
        plane.house.journal.record(Event::DefinitionDeleted { device: device.into() });
    }
    plane.house.journal.record(note());
    let page = plane.json("GET", "journal?device=A842E39F8125&after=300&limit=2", "").await;
    let seqs: Vec<&Value> =
        page["entries"].as_array().unwrap().iter().map(|entry| &entry["seq"]).collect();
    assert_eq!(seqs, [302, 304]);
    assert_eq!((&page["written"], &page["forgotten"]), (&json!(601), &json!(0)));
    let changes = plane.json("GET", "journal?event=rule_changed", "").await;
    assert_eq!(changes["entries"].as_array().unwrap().len(), 1);
    for wrong in
        ["journal?evnt=rule_changed", "journal?after=x", "journal?limit=0", "journal?limit=10001"]
    {
        assert_eq!(plane.refusal("GET", wrong, "").await.0, 400, "{wrong}");
    }
}

#[tokio::test]
async fn waiting_ends_with_the_first_entry_that_matches() {
    let plane = Plane::start().await;
    let mut client = Client(TcpStream::connect(plane.server.address()).await.unwrap());
    client
        .send("GET /control/v1/journal/wait?event=rule_changed HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    plane.house.journal.record(Event::DefinitionDeleted { device: "A842E39F8124".into() });
    plane.house.journal.record(note());
    let answer = within(client.response()).await;
    let found: Value = serde_json::from_str(body(&answer)).unwrap();
    assert_eq!(found["entries"][0]["seq"], 2);

    client
        .send("GET /control/v1/journal/wait?event=rule_changed&after=2 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    plane.json("GET", "state", "").await;
    plane.house.journal.clear();
    for _ in 0..5 {
        plane.house.journal.record(Event::DefinitionDeleted { device: "A842E39F8124".into() });
    }
    plane.house.journal.record(note());
    let answer = within(client.response()).await;
    let found: Value = serde_json::from_str(body(&answer)).unwrap();
    assert_eq!(found["entries"][0]["seq"], 6, "also over a journal that begins anew");

    let late = plane.json("GET", "journal/wait?after=6&timeout_ms=1", "").await;
    assert_eq!(late["entries"], json!([]));
    assert_eq!(plane.refusal("GET", "journal/wait?timeout_ms=60001", "").await.0, 400);
}

#[tokio::test]
async fn a_reset_shows_the_new_state() {
    let plane = Plane::start().await;
    plane.json("POST", "clock", r#"{"advance": "1m"}"#).await;
    let state = plane.json("POST", "reset", "").await;
    assert_eq!((&state["epoch"], &state["clock"]["t"]), (&json!(1), &json!(0.0)));
}

#[tokio::test]
async fn the_scenario_is_shown_as_written() {
    let answer = Plane::start().await.send("GET", "scenario", "").await;
    assert_eq!(header(&answer, "Content-Type"), Some("application/yaml"));
    assert_eq!(body(&answer), "name: test\n");
}

#[tokio::test]
async fn strangers_are_refused_before_anything_else() {
    let plane = Plane::start().await;
    for (headers, expected) in [
        ("Host: evil.example\r\n", "forbidden_host"),
        ("", "forbidden_host"),
        ("Host: localhost\r\nOrigin: http://evil.example\r\n", "forbidden_origin"),
    ] {
        for path in ["/control/v1/reset", "/healthz", "/nowhere"] {
            let answer = plane.raw(&format!("POST {path} HTTP/1.1\r\n{headers}\r\n")).await;
            assert_eq!((status(&answer), &*error(&answer)), (403, expected), "{headers}");
        }
    }
    assert_eq!(plane.house.epoch.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn beyond_loopback_a_token_is_needed() {
    let bind = || async { TcpListener::bind("0.0.0.0:0").await.unwrap() };
    let refused = ControlServer::start(bind().await, House::new(), None).unwrap_err();
    assert!(refused.to_string().contains("needs a token"), "{refused}");

    let token = Token::random().unwrap();
    let house = House::new();
    let server = ControlServer::start(bind().await, house.clone(), Some(token.clone())).unwrap();
    let address = (std::net::Ipv4Addr::LOCALHOST, server.address().port());
    let ask = async |path: &str, headers: String| {
        let mut client = Client(TcpStream::connect(address).await.unwrap());
        client.send(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")).await;
        client.response().await
    };
    let without = ask("/control/v1/state", String::new()).await;
    assert_eq!((status(&without), header(&without, "WWW-Authenticate")), (401, Some("Bearer")));
    let bearer = format!("Authorization: Bearer {}\r\n", token.as_str());
    assert_eq!(status(&ask("/control/v1/state", bearer).await), 200);
    assert_eq!(status(&ask("/healthz", String::new()).await), 200);
}

#[tokio::test]
async fn unknown_paths_are_404_and_wrong_methods_405() {
    let plane = Plane::start().await;
    let (code, message) = plane.refusal("GET", "fault", "").await;
    assert!(code == 404 && message.contains("journal/wait"), "{message}");
    for (method, path, allowed) in [
        ("POST", "state", "GET"),
        ("PUT", "faults", "GET, POST"),
        ("POST", "faults/r", "GET, PATCH, DELETE"),
        ("DELETE", "slaves/pump/units/1/holding/10", "GET, PUT"),
        ("GET", "reset", "POST"),
    ] {
        let answer = plane.send(method, path, "").await;
        assert_eq!((status(&answer), header(&answer, "Allow")), (405, Some(allowed)), "{path}");
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_unread() {
    let plane = Plane::start().await;
    let answer = plane
        .raw("POST /control/v1/faults HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1048577\r\n\r\n")
        .await;
    assert_eq!((status(&answer), &*error(&answer)), (413, "payload_too_large"));
}
