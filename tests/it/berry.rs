//! Berry scripts: stored, toggled, and what they print at once.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Answer, TestHouse, http, within};
use crate::state::{self, Folder};

const SECOND: Duration = Duration::from_secs(1);
const SCRIPT: &str = "import ww\nprint('hello')\ndef f()\n  print('not me')\nend\nprint(42)\n";

async fn run(twin: &TestHouse, query: &str) -> Answer {
    http(twin.device(), "PUT", &format!("/api/v1/berry{query}"), "").await
}

async fn runs(twin: &TestHouse, query: &str) -> bool {
    let answer = run(twin, query).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["run"].as_bool().unwrap()
}

/// A client of the console, past the head of its answer.
async fn console(twin: &TestHouse) -> TcpStream {
    let mut stream = TcpStream::connect(twin.device()).await.unwrap();
    stream.write_all(b"GET /api/v1/berry/console HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head.push(char::from(within(stream.read_u8()).await.unwrap()));
    }
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(head.contains("text/event-stream"), "{head}");
    stream
}

/// Reads up to where this was printed.
async fn printed(console: &mut TcpStream, last: &str) -> String {
    let mut text = String::new();
    while !text.contains(last) {
        text.push(char::from(within(console.read_u8()).await.unwrap()));
    }
    text
}

#[tokio::test]
async fn a_script_is_stored_shown_and_deleted() {
    let twin = TestHouse::start("").await;
    assert_eq!(twin.get("/api/v1/berry").await.status, 404);
    let stored = twin.post("/api/v1/berry", SCRIPT).await;
    assert_eq!((stored.status, stored.body.as_str()), (200, SCRIPT));
    assert_eq!(stored.header("Content-Type"), Some("text/plain; charset=utf-8"));
    let shown = twin.get("/api/v1/berry").await;
    assert_eq!((shown.status, shown.body.as_str()), (200, SCRIPT));
    assert_eq!(twin.post("/api/v1/berry", "print('ü')").await.body, "print('ü')");
    for _ in 0..2 {
        assert_eq!(http(twin.device(), "DELETE", "/api/v1/berry", "").await.status, 204);
        assert_eq!(twin.get("/api/v1/berry").await.status, 404);
    }
}

#[tokio::test]
async fn a_script_has_at_most_8191_bytes_and_is_text() {
    let twin = TestHouse::start("").await;
    assert_eq!(twin.post("/api/v1/berry", &"x".repeat(8191)).await.status, 200);
    let large = twin.post("/api/v1/berry", &"y".repeat(8192)).await;
    assert_eq!((large.status, large.json()["error"].clone()), (413, json!("payload_too_large")));
    let mut stream = TcpStream::connect(twin.device()).await.unwrap();
    let head =
        "POST /api/v1/berry HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nConnection: close\r\n\r\n";
    stream.write_all(&[head.as_bytes(), &[0xFF]].concat()).await.unwrap();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert_eq!(twin.get("/api/v1/berry").await.body, "x".repeat(8191), "nothing changed");
    assert_eq!(twin.post("/api/v1/berry", "").await.status, 200);
    assert_eq!(twin.get("/api/v1/berry").await.status, 404, "an empty one is none");
}

// Ruling: BERRY-1, BERRY-3.
#[tokio::test]
async fn a_script_is_started_and_stopped() {
    let twin = TestHouse::start("").await;
    assert!(!runs(&twin, "").await);
    assert!(!runs(&twin, "?run=true").await, "there is no script");
    twin.post("/api/v1/berry", SCRIPT).await;
    assert!(!runs(&twin, "").await, "storing does not start it");
    for _ in 0..2 {
        assert!(runs(&twin, "?run=true").await);
        assert!(runs(&twin, "").await);
    }
    twin.post("/api/v1/berry", "print(2)").await;
    assert!(runs(&twin, "").await, "storing does not stop it");
    http(twin.device(), "DELETE", "/api/v1/berry", "").await;
    assert!(runs(&twin, "").await, "deleting does not stop it");
    for _ in 0..2 {
        assert!(!runs(&twin, "?run=false").await);
    }
    for wrong in ["?run=", "?run=yes", "?run=1", "?run=true&run=true", "?run=TRUE"] {
        assert_eq!(run(&twin, wrong).await.status, 400, "{wrong}");
    }
    twin.post("/api/v1/berry", SCRIPT).await;
    assert!(runs(&twin, "?run=true").await);
    twin.post("/api/v1/reboot", "").await;
    twin.advance(3 * SECOND).await;
    assert!(!runs(&twin, "").await, "a reboot stops it");
    assert_eq!(twin.get("/api/v1/berry").await.body, SCRIPT, "and it is still there");
}

// Ruling: FIRMWARE-4, BERRY-1.
#[tokio::test]
async fn without_a_licence_it_does_not_run_and_before_1_10_it_is_not_there() {
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
async fn the_console_shows_literals_when_the_script_starts() {
    let twin = TestHouse::start("").await;
    twin.post("/api/v1/berry", SCRIPT).await;
    let mut first = console(&twin).await;
    assert!(runs(&twin, "?run=true").await);
    let text = printed(&mut first, "data: 42\n\n").await;
    assert!(text.contains("data: hello\n\n"), "{text}");
    assert!(!text.contains("not me"), "{text}");
    let second = twin.get("/api/v1/berry/console").await;
    assert_eq!((second.status, second.json()["error"].clone()), (503, json!("console_in_use")));
    drop(first);
    // The device notices the end of the connection in its own time.
    let mut again = loop {
        twin.settle().await;
        if twin.get("/api/v1/settings").await.status == 200
            && twin.house.devices().next().unwrap().console().is_free()
        {
            break console(&twin).await;
        }
        tokio::task::yield_now().await;
    };
    runs(&twin, "?run=false").await;
    assert!(runs(&twin, "?run=true").await);
    printed(&mut again, "data: hello\n\n").await;
}

#[tokio::test]
async fn every_end_of_a_line_begins_another_data_line() {
    let twin = TestHouse::start("").await;
    twin.post("/api/v1/berry", "print('a\\rb\\r\\nc\\nd\\r')\nprint('e\rf')\nprint('end')").await;
    let mut console = console(&twin).await;
    assert!(runs(&twin, "?run=true").await);
    let text = printed(&mut console, "data: end\n\n").await;
    assert!(text.contains("data: a\ndata: b\ndata: c\ndata: d\ndata: \n\n"), "{text:?}");
    assert!(text.contains("data: e\ndata: f\n\n"), "{text:?}");
}

// Ruling: BERRY-4.
#[tokio::test]
async fn a_script_starts_by_itself_after_the_boot() {
    let twin = TestHouse::start("").await;
    twin.post("/api/v1/berry", SCRIPT).await;
    let body = json!({"services": {"berry": {"auto_run": true, "run_delay": 60}}}).to_string();
    let set = http(twin.device(), "PUT", "/api/v1/settings", &body).await;
    assert_eq!(set.status, 200, "{}", set.body);
    twin.advance(59 * SECOND).await;
    assert!(!runs(&twin, "").await);
    twin.advance(SECOND).await;
    assert!(runs(&twin, "").await);
    runs(&twin, "?run=false").await;
    twin.advance(1000 * SECOND).await;
    assert!(!runs(&twin, "").await, "once a boot");
    twin.post("/api/v1/reboot", "").await;
    twin.advance(62 * SECOND).await;
    assert!(!runs(&twin, "").await);
    twin.advance(SECOND).await;
    assert!(runs(&twin, "").await);
}

// Ruling: BERRY-4.
#[tokio::test]
async fn whether_a_script_starts_by_itself_is_settled_once_a_boot() {
    let folder = Folder::new();
    let set = async |twin: &TestHouse, auto_run: bool, run_delay: u32| {
        let body = json!({"services": {"berry": {"auto_run": auto_run, "run_delay": run_delay}}});
        http(twin.device(), "PUT", "/api/v1/settings", &body.to_string()).await;
        twin.advance(SECOND).await;
    };
    let twin = state::start("", &folder).await.unwrap();
    twin.post("/api/v1/berry", SCRIPT).await;
    twin.advance(400 * SECOND).await;
    set(&twin, true, 300).await;
    within(twin.house.stop()).await;
    let twin = state::start("", &folder).await.unwrap();
    twin.advance(SECOND).await;
    assert!(!runs(&twin, "").await, "its time was before it was switched on");

    twin.post("/api/v1/reboot", "").await;
    twin.advance(100 * SECOND).await;
    assert!(!runs(&twin, "").await);
    set(&twin, true, 60).await;
    assert!(runs(&twin, "").await, "a shorter delay is over already");
}

// Ruling: BERRY-4.
#[tokio::test]
async fn a_script_that_a_user_has_started_or_stopped_does_not_start_by_itself() {
    let auto = "settings: {services: {berry: {auto_run: true, run_delay: 60}}}";
    let house = format!("device: {{script: \"print('hello')\", {auto}}}");
    let folder = Folder::new();
    for by_hand in ["?run=false", "?run=true"] {
        let twin = state::start(&house, &folder).await.unwrap();
        runs(&twin, by_hand).await;
        runs(&twin, "?run=false").await;
        twin.advance(30 * SECOND).await;
        within(twin.house.stop()).await;
        let twin = state::start(&house, &folder).await.unwrap();
        twin.advance(100 * SECOND).await;
        assert!(!runs(&twin, "").await, "{by_hand}");
        twin.post("/api/v1/reboot", "").await;
        twin.advance(63 * SECOND).await;
        assert!(runs(&twin, "").await, "the next boot is another one");
        twin.house.reset().await;
        within(twin.house.stop()).await;
    }
}

#[tokio::test]
async fn a_running_script_outlives_the_process() {
    let folder = Folder::new();
    let twin = state::start("", &folder).await.unwrap();
    twin.post("/api/v1/berry", SCRIPT).await;
    assert!(runs(&twin, "?run=true").await);
    within(twin.house.stop()).await;
    let twin = state::start("", &folder).await.unwrap();
    assert!(runs(&twin, "").await);
    assert_eq!(twin.get("/api/v1/berry").await.body, SCRIPT);
}
