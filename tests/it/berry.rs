//! Berry scripts: storing, starting and stopping them, and the console.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::state;
use crate::support::SECOND;
use crate::support::folder::Folder;
use crate::support::house::{Answer, TestHouse, http, within};

const SCRIPT: &str = "import ww\nprint('hello')\ndef f()\n  print('not me')\nend\nprint(42)\n";

async fn set_run(house: &TestHouse, query: &str) -> Answer {
    http(house.api_address(), "PUT", &format!("/api/v1/berry{query}"), "").await
}

async fn runs(house: &TestHouse, query: &str) -> bool {
    let answer = set_run(house, query).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["run"].as_bool().unwrap()
}

/// Connects a client to the console and reads the head of the response.
async fn console(house: &TestHouse) -> TcpStream {
    let mut stream = TcpStream::connect(house.api_address()).await.unwrap();
    stream.write_all(b"GET /api/v1/berry/console HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head.push(char::from(within(stream.read_u8()).await.unwrap()));
    }
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(head.contains("text/event-stream"), "{head}");
    stream
}

/// Reads the console until `last` was printed.
async fn read_until(console: &mut TcpStream, last: &str) -> String {
    let mut text = String::new();
    while !text.contains(last) {
        text.push(char::from(within(console.read_u8()).await.unwrap()));
    }
    text
}

#[tokio::test]
async fn a_script_is_stored_returned_and_deleted() {
    let house = TestHouse::start("").await;
    assert_eq!(house.get("/api/v1/berry").await.status, 404);
    let stored = house.post("/api/v1/berry", SCRIPT).await;
    assert_eq!((stored.status, stored.body.as_str()), (200, SCRIPT));
    assert_eq!(stored.header("Content-Type"), Some("text/plain; charset=utf-8"));
    let reply = house.get("/api/v1/berry").await;
    assert_eq!((reply.status, reply.body.as_str()), (200, SCRIPT));
    assert_eq!(house.post("/api/v1/berry", "print('ü')").await.body, "print('ü')");
    for _ in 0..2 {
        assert_eq!(http(house.api_address(), "DELETE", "/api/v1/berry", "").await.status, 204);
        assert_eq!(house.get("/api/v1/berry").await.status, 404);
    }
}

#[tokio::test]
async fn a_script_has_at_most_8191_bytes_and_is_text() {
    let house = TestHouse::start("").await;
    assert_eq!(house.post("/api/v1/berry", &"x".repeat(8191)).await.status, 200);
    let large = house.post("/api/v1/berry", &"y".repeat(8192)).await;
    assert_eq!((large.status, large.json()["error"].clone()), (413, json!("payload_too_large")));
    let mut stream = TcpStream::connect(house.api_address()).await.unwrap();
    let head =
        "POST /api/v1/berry HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nConnection: close\r\n\r\n";
    stream.write_all(&[head.as_bytes(), &[0xFF]].concat()).await.unwrap();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert_eq!(house.get("/api/v1/berry").await.body, "x".repeat(8191), "nothing changed");
    assert_eq!(house.post("/api/v1/berry", "").await.status, 200);
    assert_eq!(house.get("/api/v1/berry").await.status, 404, "an empty script is no script");
}

// Ruling: BERRY-1, BERRY-3.
#[tokio::test]
async fn a_script_is_started_and_stopped() {
    let house = TestHouse::start("").await;
    assert!(!runs(&house, "").await);
    assert!(!runs(&house, "?run=true").await, "there is no script");
    house.post("/api/v1/berry", SCRIPT).await;
    assert!(!runs(&house, "").await, "storing does not start it");
    for _ in 0..2 {
        assert!(runs(&house, "?run=true").await);
        assert!(runs(&house, "").await);
    }
    house.post("/api/v1/berry", "print(2)").await;
    assert!(runs(&house, "").await, "storing does not stop it");
    http(house.api_address(), "DELETE", "/api/v1/berry", "").await;
    assert!(runs(&house, "").await, "deleting does not stop it");
    for _ in 0..2 {
        assert!(!runs(&house, "?run=false").await);
    }
    for query in ["?run=", "?run=yes", "?run=1", "?run=true&run=true", "?run=TRUE"] {
        assert_eq!(set_run(&house, query).await.status, 400, "{query}");
    }
    house.post("/api/v1/berry", SCRIPT).await;
    assert!(runs(&house, "?run=true").await);
    house.post("/api/v1/reboot", "").await;
    house.advance(3 * SECOND).await;
    assert!(!runs(&house, "").await, "a reboot stops the script");
    assert_eq!(house.get("/api/v1/berry").await.body, SCRIPT, "a reboot keeps the script");
}

// Ruling: FIRMWARE-4, BERRY-1.
#[tokio::test]
async fn scripts_need_a_licence_to_run_and_firmware_1_10() {
    let free = TestHouse::start("device: {license: free}").await;
    assert_eq!(free.post("/api/v1/berry", SCRIPT).await.status, 200);
    assert!(!runs(&free, "?run=true").await);
    let old = TestHouse::start("device: {firmware: 1.9.0}").await;
    for path in ["/api/v1/berry", "/api/v1/berry/console"] {
        assert_eq!(old.get(path).await.status, 404);
    }
}

// Ruling: BERRY-2, BERRY-3.
#[tokio::test]
async fn the_console_prints_literals_when_the_script_starts() {
    let house = TestHouse::start("").await;
    house.post("/api/v1/berry", SCRIPT).await;
    let mut first = console(&house).await;
    assert!(runs(&house, "?run=true").await);
    let text = read_until(&mut first, "data: 42\n\n").await;
    assert!(text.contains("data: hello\n\n"), "{text}");
    assert!(!text.contains("not me"), "{text}");
    let second = house.get("/api/v1/berry/console").await;
    assert_eq!((second.status, second.json()["error"].clone()), (503, json!("console_in_use")));
    drop(first);
    // The device detects the end of the connection with a delay.
    let mut again = loop {
        house.settle().await;
        if house.get("/api/v1/settings").await.status == 200 && house.device().console().is_free() {
            break console(&house).await;
        }
        tokio::task::yield_now().await;
    };
    runs(&house, "?run=false").await;
    assert!(runs(&house, "?run=true").await);
    read_until(&mut again, "data: hello\n\n").await;
}

#[tokio::test]
async fn every_line_break_begins_a_new_data_line() {
    let house = TestHouse::start("").await;
    house.post("/api/v1/berry", "print('a\\rb\\r\\nc\\nd\\r')\nprint('e\rf')\nprint('end')").await;
    let mut console = console(&house).await;
    assert!(runs(&house, "?run=true").await);
    let text = read_until(&mut console, "data: end\n\n").await;
    assert!(text.contains("data: a\ndata: b\ndata: c\ndata: d\ndata: \n\n"), "{text:?}");
    assert!(text.contains("data: e\ndata: f\n\n"), "{text:?}");
}

// Ruling: BERRY-4.
#[tokio::test]
async fn auto_run_starts_the_script_after_a_boot() {
    let house = TestHouse::start("").await;
    house.post("/api/v1/berry", SCRIPT).await;
    let body = json!({"services": {"berry": {"auto_run": true, "run_delay": 60}}}).to_string();
    let set = http(house.api_address(), "PUT", "/api/v1/settings", &body).await;
    assert_eq!(set.status, 200, "{}", set.body);
    house.advance(59 * SECOND).await;
    assert!(!runs(&house, "").await);
    house.advance(SECOND).await;
    assert!(runs(&house, "").await);
    runs(&house, "?run=false").await;
    house.advance(1000 * SECOND).await;
    assert!(!runs(&house, "").await, "once per boot");
    house.post("/api/v1/reboot", "").await;
    house.advance(62 * SECOND).await;
    assert!(!runs(&house, "").await);
    house.advance(SECOND).await;
    assert!(runs(&house, "").await);
}

// Ruling: BERRY-4.
#[tokio::test]
async fn auto_run_is_decided_once_per_boot() {
    let folder = Folder::new();
    let set = async |house: &TestHouse, auto_run: bool, run_delay: u32| {
        let body = json!({"services": {"berry": {"auto_run": auto_run, "run_delay": run_delay}}});
        http(house.api_address(), "PUT", "/api/v1/settings", &body.to_string()).await;
        house.advance(SECOND).await;
    };
    let house = state::start("", &folder).await.unwrap();
    house.post("/api/v1/berry", SCRIPT).await;
    house.advance(400 * SECOND).await;
    set(&house, true, 300).await;
    within(house.house.stop()).await;
    let house = state::start("", &folder).await.unwrap();
    house.advance(SECOND).await;
    assert!(!runs(&house, "").await, "the delay was over before `auto_run` was enabled");

    house.post("/api/v1/reboot", "").await;
    house.advance(100 * SECOND).await;
    assert!(!runs(&house, "").await);
    set(&house, true, 60).await;
    assert!(runs(&house, "").await, "the shorter delay is already over");
}

// Ruling: BERRY-4.
#[tokio::test]
async fn auto_run_skips_a_script_that_a_user_started_or_stopped() {
    let auto = "settings: {services: {berry: {auto_run: true, run_delay: 60}}}";
    let scenario = format!("device: {{script: \"print('hello')\", {auto}}}");
    let folder = Folder::new();
    for command in ["?run=false", "?run=true"] {
        let house = state::start(&scenario, &folder).await.unwrap();
        runs(&house, command).await;
        runs(&house, "?run=false").await;
        house.advance(30 * SECOND).await;
        within(house.house.stop()).await;
        let house = state::start(&scenario, &folder).await.unwrap();
        house.advance(100 * SECOND).await;
        assert!(!runs(&house, "").await, "{command}");
        house.post("/api/v1/reboot", "").await;
        house.advance(63 * SECOND).await;
        assert!(runs(&house, "").await, "the next boot starts the script");
        house.reset().await;
        within(house.house.stop()).await;
    }
}

#[tokio::test]
async fn a_running_script_survives_a_restart() {
    let folder = Folder::new();
    let house = state::start("", &folder).await.unwrap();
    house.post("/api/v1/berry", SCRIPT).await;
    assert!(runs(&house, "?run=true").await);
    within(house.house.stop()).await;
    let house = state::start("", &folder).await.unwrap();
    assert!(runs(&house, "").await);
    assert_eq!(house.get("/api/v1/berry").await.body, SCRIPT);
}
