//! HTTP targets without a house, built by `support/peers.rs` with an action client, as the requests of
//! actions and other clients see them.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use wwsim::fault::{Delay, Fault, TargetEffect, TargetPlace, result};
use wwsim::journal::Event;
use wwsim::net::http::Method;
use wwsim::scenario::TargetRoute;

use crate::support::peers::{
    PeersPlan, SECOND, TestPeers, always, connect, get, on_target, read_to_end, reply, route,
    slave, target, within,
};

async fn start_bulb(
    routes: Vec<TargetRoute>,
    faults: impl IntoIterator<Item = Fault>,
) -> TestPeers {
    let rules = faults.into_iter().enumerate();
    let rules = rules.map(|(index, fault)| always(&format!("r{index}"), fault)).collect();
    PeersPlan { targets: vec![target("bulb", routes)], rules, ..PeersPlan::default() }.start().await
}

/// Returns the whole response to a request from outside the house.
async fn exchange(fixture: &TestPeers, request: &str) -> String {
    let mut stream = connect(fixture.target("bulb")).await;
    stream.write_all(request.as_bytes()).await.unwrap();
    String::from_utf8(read_to_end(&mut stream).await).unwrap()
}

#[tokio::test]
async fn routes_match_in_order_and_an_unknown_path_is_404() {
    let put = TargetRoute { method: Some(Method::Put), ..route("/light/0", 201, "") };
    let routes = vec![put, route("/light/0", 200, ""), route("/light/*", 202, "")];
    let fixture = start_bulb(routes, []).await;
    let put = json!({"http": {"url": "http://bulb.local/light/0", "method": "PUT"}});
    let ids = fixture.call(&[
        put,
        get("http://bulb.local/light/0?turn=on"),
        get("http://bulb.local/light/9"),
        get("http://bulb.local/lamp"),
    ]);
    fixture.wait_quiescent().await;
    assert_eq!(fixture.codes(&ids), [201, 200, 202, 404]);
}

#[tokio::test]
async fn a_route_cycles_through_its_replies() {
    let toggle = TargetRoute {
        method: None,
        path: "/toggle".into(),
        replies: vec![reply(200, "on"), reply(200, "off")],
    };
    let fixture = start_bulb(vec![toggle], []).await;
    let mut bodies = Vec::new();
    for _ in 0..3 {
        let request = "GET /toggle HTTP/1.1\r\nHost: bulb\r\nConnection: close\r\n\r\n";
        let response = exchange(&fixture, request).await;
        bodies.push(response.split("\r\n\r\n").nth(1).unwrap().to_owned());
    }
    assert_eq!(bodies, ["on", "off", "on"]);
}

#[tokio::test]
async fn a_response_is_byte_for_byte_that_of_the_scenario() {
    let mut answer = reply(200, r#"{"on":true}"#);
    answer.headers = vec![("Content-Type".into(), "application/json".into())];
    let route = TargetRoute { method: None, path: "/".into(), replies: vec![answer] };
    let fixture = start_bulb(vec![route], []).await;
    let request = "GET / HTTP/1.1\r\nHost: bulb\r\nConnection: close\r\n\r\n";
    assert_eq!(
        exchange(&fixture, request).await,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\
         Content-Length: 11\r\n\r\n{\"on\":true}"
    );
}

#[tokio::test]
async fn latency_and_delays_pass_on_the_virtual_clock() {
    let mut slow = reply(200, "");
    slow.latency = Duration::from_millis(300);
    let route = TargetRoute { method: None, path: "/".into(), replies: vec![slow] };
    let fixture =
        start_bulb(vec![route], [on_target(TargetEffect::Delay(Delay::Fixed(SECOND / 2)))]).await;
    let ids = fixture.call(&[get("http://bulb.local/")]);
    fixture.advance(Duration::from_millis(799)).await;
    assert_eq!(fixture.codes(&ids), [-1]);
    fixture.advance(Duration::from_millis(1)).await;
    assert_eq!(fixture.codes(&ids), [200]);
    assert_eq!(fixture.status(ids[0]).exe_time, Duration::from_millis(800));
}

#[tokio::test]
async fn a_target_that_never_answers_is_a_timeout() {
    let fixture = start_bulb(vec![route("/", 200, "")], [on_target(TargetEffect::Hang)]).await;
    let ids = fixture.call(&[get("http://bulb.local/")]);
    fixture.advance(SECOND).await;
    assert_eq!(fixture.codes(&ids), [-3]);
    assert_eq!(fixture.peers.target("bulb").unwrap().received_requests()[0].status, None);
}

#[tokio::test]
async fn rules_on_target_and_action_cause_every_result_code() {
    for code in [-3, -4, -7, -16, -17, -18, -19, -20, 201, 404, 503] {
        let on_the_target = on_target(result::of_target(code).unwrap());
        let on_the_action =
            Fault::Action(wwsim::fault::ActionPlace::default(), result::of_action(code).unwrap());
        for fault in [on_the_target, on_the_action] {
            for tls in [false, true] {
                let mut plan = target("bulb", vec![route("/", 200, "on")]);
                plan.tls = tls;
                let rules = vec![always("it", fault.clone())];
                let fixture =
                    PeersPlan { targets: vec![plan], rules, ..PeersPlan::default() }.start().await;
                let scheme = if tls { "https" } else { "http" };
                let ids = fixture.call(&[get(&format!("{scheme}://bulb.local/"))]);
                fixture.advance(SECOND).await;
                assert_eq!(fixture.codes(&ids), [code], "{fault:?} over {scheme}");
            }
        }
    }
}

// Ruling: FAULT-2.
#[tokio::test]
async fn a_replaced_reply_does_not_advance_the_route() {
    let toggle = TargetRoute {
        method: None,
        path: "/".into(),
        replies: vec![reply(200, ""), reply(201, "")],
    };
    let fixture = start_bulb(vec![toggle], [on_target(TargetEffect::Status(500))]).await;
    assert_eq!(fixture.code(get("http://bulb.local/")).await, 500);
    fixture.engine.arm("r0", false).unwrap();
    assert_eq!(fixture.code(get("http://bulb.local/")).await, 200);
    assert_eq!(fixture.code(get("http://bulb.local/")).await, 201);
}

#[tokio::test]
async fn a_rule_can_name_method_path_and_action() {
    let place = TargetPlace {
        target: Some("bulb".into()),
        method: Some(Method::Get),
        path: Some("/a".into()),
        action: Some("it".into()),
    };
    let fixture =
        start_bulb(vec![route("*", 200, "")], [Fault::Target(place, TargetEffect::Status(418))])
            .await;
    let post = json!({"http": {"url": "http://bulb.local/a", "method": "POST"}});
    let ids = fixture.call(&[get("http://bulb.local/a?x"), get("http://bulb.local/b"), post]);
    fixture.wait_quiescent().await;
    assert_eq!(fixture.codes(&ids), [418, 200, 200]);
    let request = "GET /a HTTP/1.1\r\nHost: bulb\r\nConnection: close\r\n\r\n";
    assert!(
        exchange(&fixture, request).await.starts_with("HTTP/1.1 200 "),
        "a client outside the house"
    );
}

#[tokio::test]
async fn a_target_holds_the_requests_it_received() {
    let fixture = start_bulb(vec![route("/light", 200, "on")], []).await;
    fixture.advance(SECOND).await;
    let request = json!({"http": {
        "url": "http://bulb.local/light?turn=on", "method": "PUT", "payload": "Wärme",
        "headers": {"X-Key": "1"},
    }});
    assert_eq!(fixture.code(request).await, 200);
    let target = fixture.peers.target("bulb").unwrap();
    let received = target.received_requests().remove(0);
    assert_eq!((received.method.as_str(), received.path.as_str()), ("PUT", "/light?turn=on"));
    assert_eq!((received.body.as_str(), received.status, received.t), ("Wärme", Some(200), 1.0));
    assert!(received.headers.contains(&("x-key".to_owned(), "1".to_owned())));
    assert_eq!(received.device.as_deref(), Some("A842E39F8124"));
    assert_eq!(received.action.as_deref(), Some("it"));
    let answered = fixture.journal.entries_after(0, 9, |entry| {
        matches!(&entry.event, Event::TargetRequest { status: 200, method, .. } if method == "PUT")
    });
    assert_eq!(answered.len(), 1);
    target.clear_received();
    assert_eq!(target.received_count(), 0);
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_413_and_not_held() {
    let fixture = start_bulb(vec![route("/", 200, "")], []).await;
    let body = "x".repeat(65_537);
    let request =
        format!("POST / HTTP/1.1\r\nHost: bulb\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    assert!(exchange(&fixture, &request).await.starts_with("HTTP/1.1 413 "));
    let received = fixture.peers.target("bulb").unwrap().received_requests().remove(0);
    assert_eq!((received.body.as_str(), received.status), ("", Some(413)));
}

#[tokio::test]
async fn the_journal_truncates_long_texts_of_a_request() {
    let fixture = start_bulb(vec![route("*", 200, "")], []).await;
    let (method, path) = ("M".repeat(5_000), "p".repeat(5_000));
    let request = format!("{method} /{path} HTTP/1.1\r\nHost: bulb\r\nConnection: close\r\n\r\n");
    assert!(exchange(&fixture, &request).await.starts_with("HTTP/1.1 200 "));
    let event = fixture.journal.entries_after(0, 9, |_| true).remove(0).event;
    let Event::TargetRequest { method, path, .. } = event else { panic!("{event:?}") };
    assert_eq!((method.len(), path.len()), (255, 255));
}

// Ruling: RESULT-6.
#[tokio::test]
async fn https_reaches_a_tls_target_by_all_its_names() {
    let mut safe = target("safe", vec![route("/", 200, "")]);
    safe.tls = true;
    safe.hosts.push("192.168.99.101".parse().unwrap());
    let plan = PeersPlan {
        targets: vec![safe, target("bulb", vec![route("/", 200, "")])],
        slaves: vec![slave("pump")],
        ..PeersPlan::default()
    };
    let fixture = plan.start().await;
    let port = fixture.target("safe").port();
    assert_eq!(fixture.code(get("https://safe.local/")).await, 200);
    assert_eq!(fixture.code(get("https://192.168.99.101/")).await, 200);
    assert_eq!(fixture.code(get(&format!("https://127.0.0.1:{port}/"))).await, 200);
    assert_eq!(fixture.code(get(&format!("https://localhost:{port}/"))).await, 200);
    assert_eq!(fixture.code(get("https://bulb.local/")).await, -18, "a plain target");
    let modbus = fixture.slave("pump").port();
    assert_eq!(fixture.code(get(&format!("https://127.0.0.1:{modbus}/"))).await, -18, "a slave");
    assert_eq!(fixture.code(get(&format!("http://127.0.0.1:{modbus}/"))).await, -4, "in plain");
}

#[tokio::test]
async fn a_connection_serves_several_requests_until_a_stop() {
    let fixture = start_bulb(vec![route("/", 200, "a")], []).await;
    let mut stream = connect(fixture.target("bulb")).await;
    for _ in 0..3 {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: bulb\r\n\r\n").await.unwrap();
        let mut response = Vec::new();
        while !response.ends_with(b"\r\n\r\na") {
            assert_ne!(within(stream.read_buf(&mut response)).await.unwrap(), 0);
        }
    }
    let target = fixture.peers.target("bulb").unwrap();
    assert_eq!(target.received_count(), 3);
    let paused = fixture.peers.pause().await;
    fixture.peers.reset_contents();
    assert_eq!(target.received_count(), 0);
    fixture.peers.start().await;
    drop(paused);
    assert_eq!(fixture.code(get("http://bulb.local/")).await, 200);
}

// Ruling: HOUSE-1.
#[tokio::test]
async fn a_pause_keeps_tls_connections_before_their_handshake_and_between_requests() {
    let mut safe = target("safe", vec![route("/", 200, "a")]);
    safe.tls = true;
    let fixture = PeersPlan { targets: vec![safe], ..PeersPlan::default() }.start().await;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(fixture.peers.root_certificates().iter().cloned());
    let provider = Arc::new(ring::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.unwrap().with_root_certificates(roots).with_no_client_auth();
    let tls = TlsConnector::from(Arc::new(config));
    let fresh = connect(fixture.target("safe")).await;
    let mut begun = connect(fixture.target("safe")).await;
    // The head of a TLS record, without the record.
    begun.write_all(&[22, 3, 1]).await.unwrap();
    // The server has looked at both when a later client is answered.
    let port = fixture.target("safe").port();
    assert_eq!(fixture.code(get(&format!("https://localhost:{port}/"))).await, 200);
    drop(fixture.peers.pause().await);
    assert!(read_to_end(&mut begun).await.is_empty(), "a handshake that has begun ends");
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = within(tls.connect(name, fresh)).await.unwrap();
    for _ in 0..2 {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: safe\r\n\r\n").await.unwrap();
        let mut response = Vec::new();
        while !response.ends_with(b"\r\n\r\na") {
            assert_ne!(within(stream.read_buf(&mut response)).await.unwrap(), 0);
        }
        drop(fixture.peers.pause().await);
    }
}

// Ruling: FAULT-7.
#[tokio::test]
async fn a_status_has_the_header_that_it_requires_and_no_content_that_it_forbids() {
    for (code, expected) in [
        (204, ""),
        (205, "Content-Length: 0\r\n"),
        (304, ""),
        (401, "Www-Authenticate: Basic realm=\"bulb\"\r\nContent-Length: 0\r\n"),
        (405, "Allow: POST\r\nContent-Length: 0\r\n"),
        (407, "Proxy-Authenticate: Basic realm=\"bulb\"\r\nContent-Length: 0\r\n"),
        (426, "Connection: Upgrade\r\nUpgrade: TLS/1.2, HTTP/1.1\r\nContent-Length: 0\r\n"),
    ] {
        let mut post = route("/", 200, "ok");
        post.method = Some(Method::Post);
        let mut given = route("/given", code, "");
        let own = [("www-authenticate", "Bearer"), ("Allow", "PUT"), ("upgrade", "h2c")];
        given.replies[0].headers = own.map(|(name, value)| (name.into(), value.into())).into();
        let routes = vec![post, route("/route", code, ""), given, route("/", 200, "ok")];
        let place = TargetPlace { path: Some("/".into()), ..TargetPlace::default() };
        let fault = Fault::Target(place, TargetEffect::Status(code));
        let fixture = start_bulb(routes, [fault]).await;
        let get = async |path: &str| {
            let request = format!("GET {path} HTTP/1.1\r\nHost: bulb\r\n\r\n");
            let mut stream = connect(fixture.target("bulb")).await;
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut response = Vec::new();
            while !response.ends_with(b"\r\n\r\n") {
                assert_ne!(within(stream.read_buf(&mut response)).await.unwrap(), 0);
            }
            String::from_utf8(response).unwrap().split_once("\r\n").unwrap().1.to_owned()
        };
        assert_eq!(get("/").await, format!("{expected}\r\n"), "rule with {code}");
        let of_route = expected.replace("Allow: POST", "Allow: ");
        assert_eq!(get("/route").await, format!("{of_route}\r\n"), "route with {code}");
        let given = get("/given").await;
        assert_eq!(
            given.matches("uthenticate: B").count(),
            if code == 407 { 2 } else { 1 },
            "{given}"
        );
        assert!(
            given.contains("Allow: PUT") && given.contains("Connection: Upgrade\r\nUpgrade: h2c")
        );
    }
}

// Ruling: RESULT-1.
#[tokio::test]
async fn a_bad_content_length_is_minus_20_whatever_the_status_of_the_route() {
    for status in [200, 204, 205, 304, 401, 404] {
        let fixture =
            start_bulb(vec![route("/", status, "")], [on_target(TargetEffect::BadContentLength)])
                .await;
        assert_eq!(fixture.code(get("http://bulb.local/")).await, -20, "{status}");
    }
}
