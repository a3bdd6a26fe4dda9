//! The hosts that actions and MQTT clients reach: never the control plane of their own house.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::json;
use tokio::net::TcpListener;
use wwsim::journal::{Event, JournalEntry};

use crate::support::house::TestHouse;

/// The code of a request that could not connect.
const NOT_CONNECTED: i64 = -17;

/// Returns the code of an action that would add a rule, and the reasons of the denials in the journal.
async fn try_to_add_a_rule(house: &TestHouse, url: &str) -> (i64, Vec<&'static str>) {
    let request = json!({"http": {
        "url": url, "method": "POST", "payload": r#"{"at": "api", "effect": "hang"}"#,
    }});
    code_of(house, request).await
}

async fn code_of(house: &TestHouse, request: serde_json::Value) -> (i64, Vec<&'static str>) {
    let seen = house.journal().counts().recorded;
    house.define(json!([{"id": "x", "requests": [request]}])).await;
    let ids = house.run("x", Duration::from_secs(10)).await;
    let code = house.status(&ids).await[0]["code"].as_i64().unwrap();
    let denials = house.journal().entries_after(seen, usize::MAX, |_| true);
    let denials = denials.into_iter().filter_map(|entry| match entry.event {
        Event::OutboundDenied { policy, .. } => Some(policy),
        _ => None,
    });
    (code, denials.collect())
}

// Ruling: HOUSE-3.
#[tokio::test]
async fn an_action_never_reaches_the_control_plane() {
    for (yaml, hosts) in [
        ("outbound: loopback\n", &["127.0.0.1", "localhost"][..]),
        (
            "outbound: allow\n",
            &["127.0.0.1", "localhost", "0.0.0.0", "[::ffff:127.0.0.1]", "127.1", "2130706433"],
        ),
        (
            "outbound: allow\ncontrol: 0.0.0.0:0\n",
            &["127.0.0.1", "127.9.9.9", "0.0.0.0", "localhost", "[::ffff:127.0.0.2]"],
        ),
        ("outbound: allow\ncontrol: '[::]:0'\n", &["127.0.0.1", "[::1]", "[::]", "0.0.0.0"]),
    ] {
        let house = TestHouse::start(yaml).await;
        let port = house.control_address().port();
        for host in hosts {
            let url = format!("http://{host}:{port}/control/v1/faults");
            let denied = try_to_add_a_rule(&house, &url).await;
            assert_eq!(denied.0, NOT_CONNECTED, "{yaml}{host}");
            assert!(denied.1.contains(&"control plane"), "{yaml}{host}: {denied:?}");
        }
        let modbus = json!({"modbus": {
            "host": "127.0.0.1", "port": port, "func": 6, "address": 0, "value": "0001",
        }});
        let (code, denials) = code_of(&house, modbus).await;
        assert_eq!((code, denials), (NOT_CONNECTED, vec!["control plane"]), "{yaml}modbus");
        assert!(house.engine().list().is_empty(), "{yaml}");
    }
}

#[tokio::test]
async fn an_address_of_this_machine_is_no_way_around() {
    // The address by which this machine would reach others, if it has one.
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let own = socket.connect("192.0.2.1:9").and_then(|()| socket.local_addr());
    let own = own.map_or(Ipv4Addr::LOCALHOST.into(), |address| address.ip());
    let house = TestHouse::start("outbound: allow\ncontrol: 0.0.0.0:0\n").await;
    let url = format!("http://{own}:{}/control/v1/faults", house.control_address().port());
    let (code, denials) = try_to_add_a_rule(&house, &url).await;
    assert_eq!((code, denials), (NOT_CONNECTED, vec!["control plane"]), "{url}");
}

#[tokio::test]
async fn other_listeners_of_this_machine_are_reached() {
    // The clock does not wait for peers outside the house, so it runs here.
    let house = TestHouse::start("outbound: loopback\nclock: {speed: 1}\n").await;
    let url = format!("http://{}/api/v1/nothing", house.api_address());
    house.define(json!([{"id": "x", "requests": [{"http": {"url": url}}]}])).await;
    house.device().call("x").unwrap();
    let finished = |entry: &JournalEntry| matches!(entry.event, Event::RequestFinished { .. });
    let finished = house.wait_for(finished, Duration::from_secs(30)).await.unwrap();
    assert!(matches!(finished.event, Event::RequestFinished { code: 404, .. }), "{finished:?}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let house = TestHouse::start(&format!(
        "outbound: allow\nhttp_targets: {{bulb: {{hosts: [bulb.local], routes: [{{path: /, status: 307, \
         headers: {{Location: 'http://127.0.0.1:{port}/control/v1/reset'}}}}]}}}}"
    ))
    .await;
    let (code, _) = try_to_add_a_rule(&house, "http://bulb.local/").await;
    assert_eq!(code, 307);
}

// Ruling: HOUSE-3.
#[cfg(feature = "mqtt")]
#[tokio::test]
async fn an_mqtt_client_never_reaches_the_control_plane() {
    let house = TestHouse::start("outbound: loopback\n").await;
    let url = format!("mqtt://127.0.0.1:{}", house.control_address().port());
    let settings = json!({"enable": true, "url": url}).to_string();
    let set =
        crate::support::house::http(house.api_address(), "PUT", "/api/v1/mqtt/settings", &settings);
    assert!(set.await.status < 300);
    house.settle().await;
    let state = house.control_get("state").await["devices"][0]["mqtt"].clone();
    assert!(state["reason"].as_str().unwrap().contains("control plane"), "{state}");
    let denied = house
        .journal_entries()
        .into_iter()
        .any(|entry| matches!(entry.event, Event::OutboundDenied { policy: "control plane", .. }));
    assert!(denied);
}
