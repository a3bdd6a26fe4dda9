//! The control plane: requests, replies and refusals, against a running house.

use serde_json::{Value, json};
use tokio::net::TcpStream;
use wwsim::fault::ApiCall;
use wwsim::journal::{Event, JournalCounts};

use crate::support::device::{Client, body, error, header, status, within};
use crate::support::house::{TestHouse, http};

/// A house of one slave with three holding registers, a computed one and a coil, and of one target.
const SCENARIO: &str = "\
name: test
clock: {start: 1970-01-01T00:00:00Z, speed: manual}
slaves:
  pump:
    hosts: [\"pump.local:502\"]
    units:
      1:
        coils: [{address: 0}]
        holding:
          - {address: 10, value: 10}
          - {address: 11, value: 11}
          - {address: 12, value: 12}
          - {address: 20, type: ushort, uptime: true}
http_targets:
  bulb: {routes: [{path: /light/0, body: on}]}
";

/// A running house, seen from its control plane.
struct ControlPlane {
    house: TestHouse,
}

impl ControlPlane {
    async fn start() -> Self {
        Self { house: TestHouse::start(SCENARIO).await }
    }

    async fn send(&self, method: &str, path: &str, content: &str) -> String {
        let path = format!("/control/v1/{path}");
        self.send_raw(&format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{content}",
            content.len()
        ))
        .await
    }

    async fn send_raw(&self, request: &str) -> String {
        let mut client = self.connect().await;
        client.send(request).await;
        client.response().await
    }

    async fn connect(&self) -> Client {
        Client(TcpStream::connect(self.house.control_address()).await.unwrap())
    }

    /// Returns the JSON of a successful reply.
    async fn json(&self, method: &str, path: &str, content: &str) -> Value {
        let answer = self.send(method, path, content).await;
        assert!(status(&answer) < 300, "{answer}");
        serde_json::from_str(body(&answer)).unwrap()
    }

    /// Returns the status and the message of a refusal.
    async fn refusal(&self, method: &str, path: &str, content: &str) -> (u16, String) {
        let answer = self.send(method, path, content).await;
        error(&answer);
        let json: Value = serde_json::from_str(body(&answer)).unwrap();
        (status(&answer), json["message"].as_str().unwrap().to_owned())
    }

    fn record(&self, event: Event) {
        self.house.journal().record(event);
    }
}

fn rule_changed() -> Event {
    Event::RuleChanged { rule: "r".into(), change: "armed" }
}

fn definition_deleted(device: &str) -> Event {
    Event::DefinitionDeleted { device: device.into() }
}

/// A rule as written, with this id.
fn hang(id: &str) -> String {
    json!({"id": id, "at": "api", "effect": "hang"}).to_string()
}

#[tokio::test]
async fn the_state_is_one_object() {
    let state = ControlPlane::start().await.json("GET", "state", "").await;
    assert_eq!(state["name"], "test");
    assert_eq!(state["epoch"], 0);
    assert_eq!(
        state["clock"],
        json!({"t": 0.0, "time": "1970-01-01T00:00:00Z", "speed": "manual"})
    );
    assert_eq!(state["slaves"][0]["units"], json!([1]));
    assert_eq!(state["slaves"][0]["hosts"], json!(["pump.local:502"]));
    assert_eq!(state["http_targets"][0]["requests"], 0);
    assert_eq!(state["devices"][0]["actions"], Value::Null);
    assert_eq!(state["faults"], json!({"rules": 0, "armed": 0, "fired": 0, "holding": 0}));
}

#[tokio::test]
async fn a_rule_is_added_counted_disarmed_and_removed() {
    let plane = ControlPlane::start().await;
    let added = plane.send("POST", "faults", &hang("slow-pump")).await;
    assert_eq!(status(&added), 201);
    assert_eq!(header(&added, "Location"), Some("/control/v1/faults/slow%2Dpump"));

    let call = ApiCall { device: "A842E39F8124", method: "GET", path: "/", has_nonce: false };
    assert!(plane.house.engine().api(&call).effect.is_some());
    let rule = plane.json("GET", "faults/slow-pump", "").await;
    assert_eq!(
        rule,
        json!({"id": "slow-pump", "armed": true, "evaluated": 1, "fired": 1, "overruled": 0,
            "holding": 0, "rule": {"id": "slow-pump", "at": "api", "effect": "hang"}})
    );
    let changed = plane.json("PATCH", "faults/slow-pump", r#"{"armed": false}"#).await;
    assert_eq!(changed["armed"], false);
    assert!(plane.house.engine().api(&call).effect.is_none());
    plane.json("PATCH", "faults/slow-pump", r#"{"release": true}"#).await;
    let list = plane.json("GET", "faults", "").await;
    assert_eq!(list["faults"][0]["evaluated"], 2);

    assert_eq!(status(&plane.send("DELETE", "faults/slow-pump", "").await), 204);
    assert_eq!(plane.refusal("GET", "faults/slow-pump", "").await.0, 404);
    assert_eq!(plane.refusal("DELETE", "faults/slow-pump", "").await.0, 404);
}

#[tokio::test]
async fn an_invalid_rule_is_refused_with_all_its_mistakes() {
    let plane = ControlPlane::start().await;
    assert_eq!(
        plane.refusal("POST", "faults", "{}").await,
        (
            400,
            "the key `at` is missing; `at` is `api`, `action`, `queue`, `slave`, `target`, \
             `modbus`, `meter`, `mqtt` or `live`, or a mapping; the key `effect` is missing; \
             `effect` says: a keyword, as silence, or a mapping with parameters, as {delay: 250ms}"
                .to_owned()
        )
    );
    let (code, message) = plane.refusal("POST", "faults", "{").await;
    assert!(code == 400 && message.contains("a rule as in a scenario"), "{message}");
    plane.json("POST", "faults", &hang("r")).await;
    assert_eq!(plane.refusal("POST", "faults", &hang("r")).await.0, 409);
    for nothing in ["{}", r#"{"release": false}"#, r#"{"arm": true}"#, r#"{"armed": 1}"#, "", "[]"]
    {
        let (code, message) = plane.refusal("PATCH", "faults/r", nothing).await;
        assert!(code == 400 && message.contains(r#"{"armed": true}"#), "{nothing}: {message}");
    }
    assert_eq!(plane.refusal("PATCH", "faults/x", r#"{"armed": true}"#).await.0, 404);
}

#[tokio::test]
async fn registers_are_read_and_written() {
    let plane = ControlPlane::start().await;
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
async fn a_refusal_names_the_register_that_is_wrong() {
    let plane = ControlPlane::start().await;
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
        ("PUT", "pump/units/1/holding/20", r#"{"values": [1]}"#, 400, "a computed value"),
    ] {
        let (found, message) = plane.refusal(method, &format!("slaves/{path}"), content).await;
        assert_eq!(found, code, "{path} {content}: {message}");
        assert!(message.contains(part), "{path} {content}: {message}");
    }
    let values = plane.json("GET", "slaves/pump/units/1/holding/10?count=3", "").await;
    assert_eq!(values["values"], json!([10, 11, 12]), "nothing was written");
}

#[tokio::test]
async fn requests_of_a_target_are_listed_and_cleared() {
    let plane = ControlPlane::start().await;
    assert_eq!(http(plane.house.target("bulb").address(), "GET", "/light/0", "").await.body, "on");
    let listed = plane.json("GET", "targets/bulb/requests", "").await;
    assert_eq!(listed["target"], "bulb");
    assert_eq!(listed["requests"][0]["path"], "/light/0");
    assert_eq!(status(&plane.send("DELETE", "targets/bulb/requests", "").await), 204);
    assert_eq!(plane.json("GET", "targets/bulb/requests", "").await["requests"], json!([]));
    for method in ["GET", "DELETE"] {
        let (code, message) = plane.refusal(method, "targets/lamp/requests", "").await;
        assert_eq!((code, &*message), (404, "no target `lamp`; there are: bulb"));
    }
}

#[tokio::test]
async fn a_movement_returns_the_time_it_reached() {
    let plane = ControlPlane::start().await;
    let moved = plane.json("POST", "clock", r#"{"advance": "15m"}"#).await;
    assert_eq!(moved, json!({"t": 900.0, "time": "1970-01-01T00:15:00Z", "speed": "manual"}));
    assert_eq!(plane.json("POST", "clock", r#"{"jump": "45m"}"#).await["t"], 3600.0);
    assert_eq!(plane.json("GET", "clock", "").await["t"], 3600.0);
    assert_eq!(plane.json("POST", "clock", r#"{"speed": 60}"#).await["speed"], 60.0);
    assert_eq!(plane.json("POST", "clock", r#"{"speed": "manual"}"#).await["speed"], "manual");
    let log = plane.json("GET", "journal?event=clock_moved", "").await;
    let entries = log["entries"].as_array().unwrap().iter();
    let recorded: Vec<_> = entries.map(|entry| [&entry["how"], &entry["value"]]).collect();
    let expected = [["advance", "15m"], ["jump", "45m"], ["speed", "60"], ["speed", "manual"]];
    assert_eq!(recorded, expected);
}

#[tokio::test]
async fn an_invalid_movement_leaves_the_clock() {
    let plane = ControlPlane::start().await;
    for (content, part) in [
        ("", "expected {\"advance\": \"15m\"}"),
        ("{}", "exactly one of"),
        (r#"{"advance": "1m", "jump": "1m"}"#, "exactly one of"),
        (r#"{"advance": "soon"}"#, "`advance`: `soon` is no time: expected a number"),
        (r#"{"advance": 5}"#, "expected a string"),
        (r#"{"speed": 0}"#, "above 0"),
        (r#"{"speed": "fast"}"#, "or \"manual\""),
        (r#"{"rewind": "1m"}"#, "unknown field `rewind`"),
    ] {
        let (code, message) = plane.refusal("POST", "clock", content).await;
        assert!(code == 400 && message.contains(part), "{content}: {message}");
    }
    assert_eq!(plane.json("GET", "clock", "").await["t"], 0.0);
    assert_eq!(plane.house.journal().counts(), JournalCounts::default());
}

#[tokio::test]
async fn the_journal_is_filtered_and_paged() {
    let plane = ControlPlane::start().await;
    for n in 0..600 {
        let device = if n % 2 == 0 { "A842E39F8124" } else { "A842E39F8125" };
        plane.record(definition_deleted(device));
    }
    plane.record(rule_changed());
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
    let plane = ControlPlane::start().await;
    let mut client = plane.connect().await;
    client
        .send("GET /control/v1/journal/wait?event=rule_changed HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    plane.record(definition_deleted("A842E39F8124"));
    plane.record(rule_changed());
    let answer = within(client.response()).await;
    let found: Value = serde_json::from_str(body(&answer)).unwrap();
    assert_eq!(found["entries"][0]["seq"], 2);

    client
        .send("GET /control/v1/journal/wait?event=rule_changed&after=2 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    plane.json("GET", "state", "").await;
    plane.house.journal().clear();
    for _ in 0..5 {
        plane.record(definition_deleted("A842E39F8124"));
    }
    plane.record(rule_changed());
    let answer = within(client.response()).await;
    let found: Value = serde_json::from_str(body(&answer)).unwrap();
    assert_eq!(found["entries"][0]["seq"], 6, "also over a journal that begins anew");

    let late = plane.json("GET", "journal/wait?after=6&timeout_ms=1", "").await;
    assert_eq!(late["entries"], json!([]));
    assert_eq!(plane.refusal("GET", "journal/wait?timeout_ms=60001", "").await.0, 400);
}

#[tokio::test]
async fn a_reset_returns_the_new_state() {
    let plane = ControlPlane::start().await;
    plane.json("POST", "clock", r#"{"advance": "1m"}"#).await;
    let state = plane.json("POST", "reset", "").await;
    assert_eq!((&state["epoch"], &state["clock"]["t"]), (&json!(1), &json!(0.0)));
}

#[tokio::test]
async fn the_scenario_is_returned_as_written() {
    let answer = ControlPlane::start().await.send("GET", "scenario", "").await;
    assert_eq!(header(&answer, "Content-Type"), Some("application/yaml"));
    assert_eq!(body(&answer), SCENARIO);
}

#[tokio::test]
async fn foreign_hosts_and_origins_are_refused_first() {
    let plane = ControlPlane::start().await;
    for (headers, expected) in [
        ("Host: evil.example\r\n", "forbidden_host"),
        ("", "forbidden_host"),
        ("Host: localhost\r\nOrigin: http://evil.example\r\n", "forbidden_origin"),
    ] {
        for path in ["/control/v1/reset", "/healthz", "/nowhere"] {
            let answer = plane.send_raw(&format!("POST {path} HTTP/1.1\r\n{headers}\r\n")).await;
            assert_eq!((status(&answer), &*error(&answer)), (403, expected), "{headers}");
        }
    }
    assert_eq!(plane.json("GET", "state", "").await["epoch"], 0, "no reset");
}

#[tokio::test]
async fn beyond_loopback_a_token_is_required() {
    let plane = ControlPlane { house: TestHouse::start("control: 0.0.0.0:0").await };
    let token = plane.house.addresses().token.clone().unwrap();
    let address = (std::net::Ipv4Addr::LOCALHOST, plane.house.control_address().port());
    let ask = async |path: &str, headers: String| {
        let mut client = Client(TcpStream::connect(address).await.unwrap());
        client.send(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")).await;
        client.response().await
    };
    let without = ask("/control/v1/state", String::new()).await;
    assert_eq!((status(&without), header(&without, "WWW-Authenticate")), (401, Some("Bearer")));
    let bearer = format!("Authorization: Bearer {token}\r\n");
    assert_eq!(status(&ask("/control/v1/state", bearer).await), 200);
    assert_eq!(status(&ask("/healthz", String::new()).await), 200);
}

#[tokio::test]
async fn unknown_paths_are_404_and_wrong_methods_405() {
    let plane = ControlPlane::start().await;
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
async fn a_body_over_the_limit_is_refused_unread() {
    let plane = ControlPlane::start().await;
    let answer = plane
        .send_raw("POST /control/v1/faults HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1048577\r\n\r\n")
        .await;
    assert_eq!((status(&answer), &*error(&answer)), (413, "payload_too_large"));
}

#[tokio::test]
async fn texts_of_digits_are_shown_as_texts() {
    let house = TestHouse::start(
        "device: {actions: {actions: [{id: '1', requests: [{http: {url: 'http://b.local/'}}]}]}}
slaves: {'7': {units: {1: {holding: [{address: 10}]}}}}",
    )
    .await;
    for rule in [
        json!({"id": "1", "at": {"action": "1"}, "when": {"nth": 2}, "effect": {"hold": "1s"}}),
        json!({"id": "2", "at": {"slave": "7", "unit": 1, "address": 10}, "effect": "silence"}),
    ] {
        house.add_fault(rule.clone()).await;
        let shown = house.control_get(&format!("faults/{}", rule["id"].as_str().unwrap())).await;
        for (key, value) in rule.as_object().unwrap() {
            assert_eq!(&shown["rule"][key], value, "{shown}");
        }
    }
}

#[tokio::test]
async fn a_body_may_begin_with_a_byte_order_mark() {
    let house = TestHouse::start("").await;
    let to = house.control_address();
    let body = "\u{feff}{\"at\":\"api\",\"effect\":{\"status\":503}}";
    assert_eq!(http(to, "POST", "/control/v1/faults", body).await.status, 201);
    let body = "\u{feff}{\"advance\":\"1s\"}";
    assert_eq!(http(to, "POST", "/control/v1/clock", body).await.status, 200);
    let body = "\u{feff}\u{feff}{\"advance\":\"1s\"}";
    assert_eq!(http(to, "POST", "/control/v1/clock", body).await.status, 400);
}
