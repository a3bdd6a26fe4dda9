//! Replies of the control plane whose size follows stored data.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wwsim::journal::Event;
use wwsim::limits;

use crate::support::house::{TestHouse, exchange, http, within};

/// Records that a client wrote as many coils as one request can name.
fn fill_journal(house: &TestHouse, entries: usize) {
    fill_journal_with(house, entries, 1968);
}

/// Records that a client wrote so many coils.
fn fill_journal_with(house: &TestHouse, entries: usize, quantity: u16) {
    let function = serde_json::from_value(json!(15)).unwrap();
    for _ in 0..entries {
        house.journal().record(Event::SlaveRequest {
            slave: "pump".into(),
            unit: 1,
            function,
            address: 0,
            quantity,
            values: vec![1; usize::from(quantity)],
            outcome: "ok".into(),
        });
    }
}

fn get(path: &str) -> String {
    format!("GET /control/v1/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
}

/// Decodes a body in chunks. `None` if its end is missing.
fn dechunk(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let Some(end) = rest.windows(2).position(|bytes| bytes == b"\r\n") else {
            return (body, false);
        };
        let size = std::str::from_utf8(&rest[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        rest = &rest[end + 2..];
        if size == 0 {
            return (body, true);
        }
        if rest.len() < size + 2 {
            return (body, false);
        }
        body.extend(&rest[..size]);
        rest = &rest[size + 2..];
    }
}

/// Returns the head and the body of a reply in chunks.
async fn listing(house: &TestHouse, path: &str) -> (String, Value) {
    let reply = exchange(house.control_address(), get(path).as_bytes()).await;
    let end = reply.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
    let head = String::from_utf8(reply[..end].to_vec()).unwrap();
    assert!(head.contains("Transfer-Encoding: chunked\r\n"), "{head}");
    let (body, complete) = dechunk(&reply[end..]);
    assert!(complete);
    (head, serde_json::from_slice(&body).unwrap())
}

/// A wait that has no time left finds what the journal has, however long the search takes, and the number that
/// it gives is that of the last entry that it searched.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_without_time_searches_the_whole_journal() {
    let house = TestHouse::start("").await;
    fill_journal(&house, 500);
    let rule = json!({"at": "api", "effect": "hang", "when": {"nth": 1000}});
    house.add_fault(rule).await;
    let newest = house.control_get("journal?limit=1").await["written"].as_u64().unwrap();
    let found = house.control_get("journal/wait?event=rule_changed&timeout_ms=0").await;
    assert_eq!(found["entries"].as_array().unwrap().len(), 1, "{found}");
    assert_eq!(found["written"], newest);
    let path = format!("journal/wait?event=rule_changed&after={newest}&timeout_ms=0");
    let nothing = house.control_get(&path).await;
    assert_eq!(nothing, json!({"entries": [], "written": newest, "forgotten": 0}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_journal_comes_page_by_page_and_complete() {
    let house = TestHouse::start("").await;
    // Some megabytes, which are many pages.
    fill_journal_with(&house, limits::JOURNAL_ENTRIES + 5, 100);
    let (_, all) = listing(&house, "journal").await;
    let entries = all["entries"].as_array().unwrap();
    assert_eq!(entries.len(), limits::JOURNAL_ENTRIES);
    let seqs = entries.iter().map(|entry| entry["seq"].as_u64().unwrap());
    let newest = limits::JOURNAL_ENTRIES as u64 + 5;
    assert!(seqs.eq(6..=newest), "every entry once, in order");
    assert_eq!(entries[0]["values"].as_array().unwrap().len(), 100);
    assert_eq!((&all["written"], &all["forgotten"]), (&json!(newest), &json!(5)));
    let (_, filtered) = listing(&house, "journal?unit=1&after=9000").await;
    assert_eq!(filtered["entries"].as_array().unwrap().len(), 1005);
    let nothing = house.control_get("journal?unit=2").await;
    assert_eq!(nothing, json!({"entries": [], "written": newest, "forgotten": 5}));
    let waited = house.control_get("journal/wait?unit=1&limit=2").await;
    let seqs: Vec<&Value> =
        waited["entries"].as_array().unwrap().iter().map(|entry| &entry["seq"]).collect();
    assert_eq!(seqs, [6, 7]);
}

#[tokio::test]
async fn entries_that_come_during_a_listing_are_for_the_next_one() {
    let house = TestHouse::start("").await;
    fill_journal(&house, 1000);
    let mut client = TcpStream::connect(house.control_address()).await.unwrap();
    client.write_all(get("journal").as_bytes()).await.unwrap();
    within(client.readable()).await.unwrap();
    fill_journal(&house, 1000);
    let mut reply = Vec::new();
    within(client.read_to_end(&mut reply)).await.unwrap();
    let end = reply.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
    let (body, complete) = dechunk(&reply[end..]);
    let all: Value = serde_json::from_slice(&body).unwrap();
    assert!(complete);
    assert_eq!(all["entries"].as_array().unwrap().len(), 1000);
    assert_eq!(all["written"], 1000, "so that `after=1000` goes on without a gap");
}

/// A listing that nobody reads must cost neither the device's time nor the memory of a copy.
#[tokio::test]
async fn unread_listings_hold_up_neither_device_nor_each_other() {
    let house = TestHouse::start("").await;
    fill_journal(&house, limits::JOURNAL_ENTRIES);
    let mut unread = Vec::new();
    for _ in 0..8 {
        let mut client = TcpStream::connect(house.control_address()).await.unwrap();
        client.write_all(get("journal").as_bytes()).await.unwrap();
        within(client.readable()).await.unwrap();
        unread.push(client);
    }
    assert_eq!(house.get("/api/v1/system").await.status, 200);
    assert_eq!(house.control_get("journal?limit=1").await["entries"][0]["seq"], 1);
    drop(unread);
}

#[tokio::test]
async fn a_reset_breaks_a_listing_off() {
    let house = TestHouse::start("").await;
    fill_journal(&house, limits::JOURNAL_ENTRIES);
    let mut client = TcpStream::connect(house.control_address()).await.unwrap();
    client.write_all(get("journal").as_bytes()).await.unwrap();
    within(client.readable()).await.unwrap();
    assert_eq!(house.control_send("POST", "reset", &Value::Null).await.status, 200);
    let mut reply = Vec::new();
    // The connection ends, with or without an error.
    let _ = within(client.read_to_end(&mut reply)).await;
    let end = reply.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
    let (_, complete) = dechunk(&reply[end..]);
    assert!(!complete, "entries of two lives of the house are never in one listing");
}

#[tokio::test]
async fn the_requests_of_a_target_are_listed_from_a_number_on() {
    let house = TestHouse::start("http_targets: {bulb: {routes: [{path: /light/0}]}}").await;
    let url = house.addresses().http_targets["bulb"].clone();
    let target = url.strip_prefix("http://").unwrap().parse().unwrap();
    for n in 1..=5 {
        http(target, "GET", &format!("/light/{n}"), "").await;
    }
    let seqs = async |query: &str| {
        let path = format!("targets/bulb/requests{query}");
        let list = house.control_get(&path).await;
        assert_eq!(list["target"], "bulb");
        let requests = list["requests"].as_array().unwrap().clone();
        let seqs: Vec<u64> =
            requests.iter().map(|request| request["seq"].as_u64().unwrap()).collect();
        (seqs, list["received"].as_u64().unwrap(), list["forgotten"].as_u64().unwrap())
    };
    assert_eq!(seqs("").await, (vec![1, 2, 3, 4, 5], 5, 0));
    assert_eq!(seqs("?limit=2").await, (vec![1, 2], 5, 0));
    assert_eq!(seqs("?after=2&limit=2").await, (vec![3, 4], 5, 0));
    house.control_send("DELETE", "targets/bulb/requests", &Value::Null).await;
    http(target, "GET", "/light/6", "").await;
    assert_eq!(seqs("").await, (vec![6], 6, 5));
    for wrong in ["limit=0", "limit=1001", "after=x", "event=x"] {
        let path = format!("targets/bulb/requests?{wrong}");
        let refused = house.control_send("GET", &path, &Value::Null).await;
        assert_eq!(refused.status, 400, "{wrong}");
    }
    house.reset().await;
    assert_eq!(seqs("").await, (vec![], 0, 0));
}

#[tokio::test]
async fn large_bodies_of_a_target_come_page_by_page() {
    let house = TestHouse::start("http_targets: {bulb: {routes: [{path: /}]}}").await;
    let url = house.addresses().http_targets["bulb"].clone();
    let target = url.strip_prefix("http://").unwrap().parse().unwrap();
    let body = "x".repeat(limits::TARGET_BODY_BYTES);
    for _ in 0..20 {
        http(target, "PUT", "/", &body).await;
    }
    let (_, list) = listing(&house, "targets/bulb/requests").await;
    let requests = list["requests"].as_array().unwrap();
    assert_eq!(requests.len(), 20);
    assert!(requests.iter().all(|request| request["body"] == *body));
}

#[tokio::test]
async fn the_state_of_a_large_house_comes_page_by_page() {
    let device = |n| {
        format!("{{id: A842E39F{n:04}, http: '127.0.0.1:0', modbus: {{listen: '127.0.0.1:0'}}}}")
    };
    let devices: Vec<String> = (0..300).map(device).collect();
    let house = TestHouse::start(&format!("devices: [{}]", devices.join(", "))).await;
    let (_, state) = listing(&house, "state").await;
    assert_eq!(state["devices"].as_array().unwrap().len(), 300);
    assert_eq!(state["devices"][299]["id"], "A842E39F0299");
    assert_eq!(state["http_targets"], json!([]));
    tokio::time::timeout(Duration::from_mins(1), house.house.stop()).await.unwrap();
}
