//! One port for all devices of a fleet: who a request is for, and what happens to the others when a device goes
//! down or a fault affects it.

use std::io::ErrorKind;
use std::time::Duration;

use digest_auth::{AuthContext, HttpMethod};
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::support::SECOND;
use crate::support::device::{Client, body, error, eventually, header, status};
use crate::support::folder::Folder;
use crate::support::house::{TestHouse, describe, within};

const FIRST: &str = "A842E3000001";
const SECOND_ID: &str = "A842E3000002";
const THIRD: &str = "A842E3000003";

/// Starts a house whose only devices are three of a fleet behind one port.
async fn start(route_by: &str, template: &str, rest: &str) -> TestHouse {
    TestHouse::start(&scenario(route_by, template, rest)).await
}

fn scenario(route_by: &str, template: &str, rest: &str) -> String {
    format!(
        "fleet: {{count: 3, listen: shared, route_by: {route_by}, template: {{id: {FIRST}{template}}}}}\n{rest}"
    )
}

async fn connect(house: &TestHouse) -> Client {
    Client(TcpStream::connect(house.device_with_id(FIRST).api_address()).await.unwrap())
}

fn request_to(method: &str, host: &str, path: &str, headers: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n{headers}\r\n")
}

/// Sends a GET on a connection of its own.
async fn get(house: &TestHouse, host: &str, path: &str) -> String {
    let mut client = connect(house).await;
    client.send(&request_to("GET", host, path, "")).await;
    client.response().await
}

/// Sends a GET on an open connection.
async fn get_on(client: &mut Client, path: &str) -> String {
    client.send(&request_to("GET", "x", path, "")).await;
    client.response().await
}

fn system_of(id: &str) -> String {
    format!("/{id}/api/v1/system")
}

/// Returns true if a request on an open connection is answered by a reset.
async fn is_reset(client: &mut Client, path: &str) -> bool {
    client.send(&request_to("GET", "x", path, "")).await;
    match client.read_to_end().await {
        Ok(read) => {
            assert_eq!(read, "", "a reply");
            false
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            true
        }
    }
}

/// Waits until the other end closes the connection, and returns whether it did so with FIN.
async fn ends_with_fin(client: &mut Client) -> bool {
    client.read_to_end().await.is_ok()
}

async fn reboot(house: &TestHouse, id: &str) {
    let mut client = connect(house).await;
    client.send(&request_to("POST", "x", &format!("/{id}/api/v1/reboot"), "")).await;
    assert_eq!(status(&client.response().await), 204);
    house.settle().await;
}

/// Opens a live stream and reads the head of its reply.
async fn follow(house: &TestHouse, id: &str) -> Client {
    let mut client = connect(house).await;
    client.send(&request_to("GET", "x", &format!("/{id}/api/v1/live"), "")).await;
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head.push(char::from(within(client.0.read_u8()).await.unwrap()));
    }
    assert_eq!(status(&head), 200, "{head}");
    client
}

// Ruling: HTTP-12.
#[tokio::test]
async fn the_host_of_a_request_names_its_device() {
    let house = start("host", "", "").await;
    for (host, id) in [
        (FIRST, FIRST),
        ("a842e3000002", SECOND_ID),
        ("A842E3000003.local", THIRD),
        ("a842e3000002.localhost:8080", SECOND_ID),
        ("a842e3000002.fleet.example.com.", SECOND_ID),
        ("whatwatt-000003", THIRD),
        ("WhatWatt-000003.local", THIRD),
        ("whatwatt-000001.localhost:1", FIRST),
    ] {
        let answer = get(&house, host, "/api/v1/system").await;
        assert_eq!(status(&answer), 200, "{host}");
        assert!(body(&answer).contains(id), "{host}: {answer}");
    }
    // The target in absolute form counts more than the header.
    let answer = get(&house, FIRST, &format!("http://{THIRD}.local/api/v1/system")).await;
    assert!(body(&answer).contains(THIRD), "{answer}");
    for device in &house.addresses().devices {
        let host = device.host.as_deref().unwrap();
        let answer = get(&house, host, "/api/v1/system").await;
        assert!(body(&answer).contains(&device.id), "{host}: {answer}");
    }
    let state = house.control_get("state").await;
    assert_eq!(state["devices"][1]["host"], "a842e3000002.localhost");
    assert_eq!(state["devices"][1]["prefix"], serde_json::Value::Null);
}

// Ruling: HTTP-12.
#[tokio::test]
async fn a_host_that_names_no_device_is_told_what_to_send() {
    let house = start("host", "", "").await;
    for host in ["127.0.0.1:8080", "[::1]:8080", "A842E3000004", "whatwatt-000003.example.com", ""]
    {
        let answer = get(&house, host, "/api/v1/system").await;
        assert_eq!((status(&answer), error(&answer).as_str()), (404, "unknown_device"), "{host}");
        assert!(body(&answer).contains("3 devices"), "{answer}");
        assert!(body(&answer).contains("`Host: A842E3000001.local`"), "{answer}");
    }
}

// Ruling: HTTP-12.
#[tokio::test]
async fn a_host_name_of_several_devices_is_the_name_of_none() {
    let (folder, scenario) = (Folder::created(), scenario("host", "", ""));
    let begin = async || TestHouse {
        house: describe(&scenario).state_dir(&folder.0).start().await.unwrap(),
    };
    let house = begin().await;
    for id in [FIRST, THIRD] {
        let named = house.device_with_id(id).configure(|config| {
            config.settings.system.host_name = "Meter.local".to_owned();
            Ok::<_, std::convert::Infallible>(())
        });
        named.unwrap();
    }
    let answer = get(&house, "meter", "/api/v1/system").await;
    assert!(body(&answer).contains("no device has the host name `meter`"), "{answer}");
    house.house.stop().await;
    let house = begin().await;
    let answer = get(&house, "meter.local", "/api/v1/system").await;
    assert_eq!(status(&answer), 404);
    assert!(body(&answer).contains("several devices have the name `meter.local`"), "{answer}");
    for (host, id) in [("whatwatt-000002.local", SECOND_ID), ("whatwatt-000003", THIRD)] {
        let answer = get(&house, host, "/api/v1/system").await;
        assert!(body(&answer).contains(id), "{answer}");
    }
}

// Ruling: HTTP-12.
#[tokio::test]
async fn the_path_of_a_request_names_its_device() {
    let house = start("path", "", "").await;
    for (name, id) in [(FIRST, FIRST), ("a842e3000002", SECOND_ID), ("whatwatt-000003", THIRD)] {
        let answer = get(&house, "x", &format!("/{name}/api/v1/system")).await;
        assert_eq!(status(&answer), 200, "{name}");
        assert!(body(&answer).contains(id), "{name}: {answer}");
    }
    for path in ["/", "/api/v1/system", "/A842E3000004/api/v1/system", "*", "//api/v1/system"] {
        let answer = get(&house, FIRST, path).await;
        assert_eq!((status(&answer), error(&answer).as_str()), (404, "unknown_device"), "{path}");
        assert!(body(&answer).contains("as /A842E3000001/api/v1/system"), "{answer}");
    }
    let answer = get(&house, "x", &format!("/{FIRST}/api/v1/nothing")).await;
    assert_eq!(error(&answer), "not_found", "the device has the rest of the path");
    for device in &house.addresses().devices {
        assert!(device.http.ends_with(&format!("/{}", device.id)), "{}", device.http);
        assert_eq!(device.host, None);
    }
    let state = house.control_get("state").await;
    assert_eq!(state["devices"][1]["prefix"], format!("/{SECOND_ID}"));
}

// Ruling: HTTP-12.
#[tokio::test]
async fn what_a_device_links_to_has_the_prefix_of_the_path() {
    let actions =
        r#", actions: {actions: [{id: light, requests: [{http: {url: "http://bulb.local/"}}]}]}"#;
    let house = start("path", actions, "").await;
    let answer = get(&house, "x", &format!("/{FIRST}?a=b")).await;
    assert_eq!(status(&answer), 308);
    let page = header(&answer, "Location").unwrap();
    assert_eq!(page, format!("/{FIRST}/?a=b"));
    let page = get(&house, "x", page).await;
    assert!(page.contains(FIRST), "{page}");
    let links: Vec<&str> =
        page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(links.contains(&"api/v1/actions"), "{links:?}");
    assert!(links.iter().all(|link| !link.starts_with('/')), "{links:?}");

    let mut client = connect(&house).await;
    let call = format!("/{FIRST}/api/v1/actions/call?id=light");
    client.send(&request_to("POST", "x", &call, "")).await;
    let answer = client.response().await;
    assert_eq!(status(&answer), 202, "{answer}");
    let location = header(&answer, "Location").unwrap();
    assert!(location.starts_with(&format!("/{FIRST}/api/v1/actions/status?id=")), "{location}");
    assert_eq!(status(&get(&house, "x", location).await), 200);
}

// Ruling: HTTP-12.
#[tokio::test]
async fn a_client_signs_the_path_that_it_sees() {
    let house =
        start("path", ", settings: {system: {protection: true, password: geheim}}", "").await;
    let path = system_of(SECOND_ID);
    let challenge = get(&house, "x", &path).await;
    assert_eq!(status(&challenge), 401);
    let challenge = header(&challenge, "WWW-Authenticate").unwrap();
    for (signed, expected) in [(path.as_str(), 200), ("/api/v1/system", 401)] {
        let mut session = digest_auth::parse(challenge).unwrap();
        let context =
            AuthContext::new_with_method("", "geheim", signed, None::<&[u8]>, HttpMethod::GET);
        let answer = session.respond(&context).unwrap();
        let mut client = connect(&house).await;
        let header = format!("Authorization: {answer}\r\n");
        client.send(&request_to("GET", "x", &path, &header)).await;
        assert_eq!(status(&client.response().await), expected, "{signed}");
    }
}

// Ruling: HTTP-14.
#[tokio::test]
async fn the_own_origin_of_a_device_is_no_name_of_other_people() {
    let house = start("host", "", "").await;
    let port = house.device_with_id(FIRST).api_address().port();
    for (origin, expected) in [
        (format!("http://a842e3000001.localhost:{port}"), 200),
        (format!("http://A842E3000001:{port}"), 200),
        (format!("http://whatwatt-000001.local:{port}"), 200),
        (format!("http://a842e3000001.example.com:{port}"), 404),
        (format!("http://a842e3000002.localhost:{port}"), 404),
    ] {
        let mut client = connect(&house).await;
        let headers = format!("Origin: {origin}\r\n");
        client
            .send(&request_to("GET", "a842e3000001.example.com", "/api/v1/system", &headers))
            .await;
        let answer = client.response().await;
        assert_eq!(status(&answer), expected, "{origin}");
        let allowed = header(&answer, "Access-Control-Allow-Origin");
        assert_eq!(allowed, (expected == 200).then_some(&*origin));
    }
}

// Ruling: HTTP-13.
#[tokio::test]
async fn a_device_that_reboots_takes_its_connections_along_and_no_others() {
    let house = start("path", "", "").await;
    let (mut first, mut second) = (connect(&house).await, connect(&house).await);
    get_on(&mut first, &system_of(FIRST)).await;
    get_on(&mut second, &system_of(SECOND_ID)).await;
    let (mut stream, mut other_stream) = (follow(&house, FIRST).await, follow(&house, THIRD).await);
    reboot(&house, FIRST).await;
    assert!(ends_with_fin(&mut first).await, "it waited for a request to this device");
    assert!(ends_with_fin(&mut stream).await, "a stream of this device");
    for _ in 0..2 {
        let mut client = connect(&house).await;
        assert!(is_reset(&mut client, &system_of(FIRST)).await);
    }
    assert_eq!(status(&get_on(&mut second, &system_of(SECOND_ID)).await), 200);
    assert_eq!(other_stream.try_read(), "");
    house.advance(10 * SECOND).await;
    let mut events = String::new();
    eventually(|| {
        events += &other_stream.try_read();
        events.contains("event: live")
    })
    .await;
    // On one connection, a device that is down ends it, and one that is up again is served.
    assert_eq!(status(&get_on(&mut second, &system_of(FIRST)).await), 200);
    assert_eq!(status(&get_on(&mut second, &system_of(THIRD)).await), 200);
    reboot(&house, FIRST).await;
    assert!(is_reset(&mut second, &system_of(FIRST)).await, "the connection was of another device");
}

// Ruling: HTTP-13.
#[tokio::test]
async fn others_are_answered_behind_the_last_reply_of_a_device() {
    let house = start("path", "", "").await;
    let mut client = connect(&house).await;
    let last = request_to("POST", "x", &format!("/{FIRST}/api/v1/reboot"), "");
    let next = request_to("GET", "x", &system_of(SECOND_ID), "");
    client.send(&(last + &next)).await;
    assert_eq!(status(&client.response().await), 204);
    let answer = client.response().await;
    assert!(body(&answer).contains(SECOND_ID), "{answer}");
    house.settle().await;
    assert!(is_reset(&mut client, &system_of(FIRST)).await, "it reboots");
}

// Ruling: HTTP-13.
#[tokio::test]
async fn a_device_without_network_is_out_of_reach_on_a_shared_port() {
    let house = start(
        "path",
        ", power: {usb: false}, settings: {services: {sd: {recorder_mode: true}}}",
        "",
    )
    .await;
    let mut client = connect(&house).await;
    assert!(is_reset(&mut client, &system_of(FIRST)).await);
}

#[tokio::test]
async fn a_fault_affects_one_device_and_one_connection() {
    let rule = |id: &str, device: &str, effect: &str| {
        format!(
            "  - {{id: {id}, at: {{api: any, device: {device}}}, when: {{first: 1}}, effect: {effect}}}\n"
        )
    };
    let faults =
        format!("faults:\n{}{}", rule("reset", FIRST, "reset"), rule("hang", SECOND_ID, "hang"));
    let house = start("path", "", &faults).await;
    let mut hanging = connect(&house).await;
    hanging.send(&request_to("GET", "x", &system_of(SECOND_ID), "")).await;
    eventually(|| house.counts("hang").1 == 1).await;
    let mut third = connect(&house).await;
    assert_eq!(status(&get_on(&mut third, &system_of(THIRD)).await), 200);
    let mut client = connect(&house).await;
    assert!(is_reset(&mut client, &system_of(FIRST)).await);
    for id in [FIRST, SECOND_ID, THIRD] {
        assert_eq!(status(&get_on(&mut third, &system_of(id)).await), 200, "{id}");
    }
    assert_eq!(hanging.try_read(), "");
    reboot(&house, SECOND_ID).await;
    assert!(ends_with_fin(&mut hanging).await, "a request that hangs ends with its device");
}

#[tokio::test]
async fn a_rule_sees_the_path_of_the_device_and_delivers_as_it_says() {
    let house = start("path", "", "").await;
    house
        .add_fault(json!({
            "at": { "api": { "route": "/api/v1/system" }, "device": FIRST },
            "effect": { "cut": 20 },
        }))
        .await;
    let mut client = connect(&house).await;
    client.send(&request_to("GET", "x", &system_of(FIRST), "")).await;
    assert_eq!(client.read_to_end().await.unwrap().len(), 20);
    assert_eq!(status(&get(&house, "x", &system_of(SECOND_ID)).await), 200);
}

// Ruling: HOUSE-1.
#[tokio::test]
async fn a_reset_of_the_house_keeps_connections_that_wait_and_ends_streams() {
    let house = start("path", "", "").await;
    let mut control = Client(TcpStream::connect(house.control_address()).await.unwrap());
    let mut waiting = connect(&house).await;
    for round in 0..20 {
        let mut stream = follow(&house, SECOND_ID).await;
        control.send("POST /control/v1/reset HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert_eq!(status(&control.response().await), 200);
        let _ = stream.read_to_end().await;
        for id in [FIRST, SECOND_ID] {
            assert_eq!(status(&get_on(&mut waiting, &system_of(id)).await), 200, "round {round}");
        }
    }
    // A device that was down is up after a reset.
    reboot(&house, FIRST).await;
    control.send("POST /control/v1/reset HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(status(&control.response().await), 200);
    assert_eq!(status(&get(&house, "x", &system_of(FIRST)).await), 200);
}

#[tokio::test]
async fn a_live_client_replaces_only_the_one_of_its_device() {
    let house = start("path", ", meter: {kind: ensor}", "").await;
    let (mut first, mut second) = (follow(&house, FIRST).await, follow(&house, SECOND_ID).await);
    let mut newer = follow(&house, FIRST).await;
    assert!(first.read_to_end().await.unwrap().ends_with("0\r\n\r\n"), "its proper end");
    house.advance(Duration::from_secs(5)).await;
    for stream in [&mut newer, &mut second] {
        assert!(stream.try_read().matches("event: live").count() >= 4);
    }
}

#[tokio::test]
async fn a_shared_port_serves_more_clients_than_a_device_alone() {
    let house = start("path", "", "").await;
    let mut clients = Vec::new();
    for _ in 0..=wwsim::limits::HTTP_CONNECTIONS {
        clients.push(connect(&house).await);
    }
    let mut last = clients.pop().unwrap();
    assert_eq!(status(&get_on(&mut last, &system_of(THIRD)).await), 200);
}
