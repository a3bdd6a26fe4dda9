//! Faults at the place `api`, observed at the socket.

use std::io::ErrorKind;
use std::time::Duration;

use digest_auth::AuthContext;
use serde_json::Value;
use wwsim::fault::{ApiEffect, Delay, Trigger};

use crate::support::SECOND;
use crate::support::device::{
    Client, Setup, TestDevice, body, eventually, header, request, request_with, status,
};

const CALL: &str = "/api/v1/actions/call?id=1";

async fn call(fixture: &TestDevice) -> Client {
    let mut client = fixture.connect().await;
    client.send(&request("POST", CALL, "")).await;
    client
}

#[tokio::test]
async fn a_status_replaces_the_call() {
    let fixture =
        TestDevice::with_fault(ApiEffect::Status { code: 429, retry_after: Some(5) }).await;
    assert_eq!(
        fixture.post(CALL, "").await,
        "HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json; charset=utf-8\r\n\
         Content-Length: 59\r\nRetry-After: 5\r\nX-Content-Type-Options: nosniff\r\n\
         Cache-Control: no-store, no-cache\r\n\r\n\
         {\"error\":\"too_many_requests\",\"message\":\"too many requests\"}"
    );
    assert_eq!(fixture.device.in_progress(), 0);
}

// Ruling: FAULT-7.
#[tokio::test]
async fn an_injected_status_has_the_header_that_it_requires() {
    for (code, firmware, name, value) in [
        (401, "2.0.2", "WWW-Authenticate", "Digest realm=\"whatwatt-9F8124\", qop="),
        (401, "1.9.0", "WWW-Authenticate", "Basic realm=\"whatwatt-9F8124\""),
        (405, "2.0.2", "Allow", "POST, DELETE"),
        (407, "2.0.2", "Proxy-Authenticate", "Basic realm=\"proxy\""),
        (426, "2.0.2", "Upgrade", "TLS/1.2, HTTP/1.1"),
    ] {
        let fixture = TestDevice::start(Setup { firmware, ..Setup::default() }).await;
        fixture.add_fault(ApiEffect::Status { code, retry_after: None }, Trigger::default());
        let answer = fixture.get("/api/v1/actions").await;
        assert_eq!(status(&answer), code);
        assert!(header(&answer, name).unwrap().starts_with(value), "{answer}");
        assert_eq!(header(&answer, "Connection"), (code == 426).then_some("Upgrade"), "{answer}");
    }
    let fixture = TestDevice::with_fault(ApiEffect::Status { code: 405, retry_after: None }).await;
    assert!(fixture.get("/nowhere").await.contains("\r\nAllow: \r\n"), "no method, but the header");
}

// Ruling: FAULT-7.
#[tokio::test]
async fn an_injected_challenge_can_be_answered() {
    let fixture = TestDevice::start(Setup::default()).await;
    let once = Trigger { first: Some(1), ..Trigger::default() };
    fixture.add_fault(ApiEffect::Status { code: 401, retry_after: None }, once);
    let answer = fixture.get("/api/v1/actions").await;
    let mut prompt = digest_auth::parse(header(&answer, "WWW-Authenticate").unwrap()).unwrap();
    let credentials = prompt.respond(&AuthContext::new("", "", "/api/v1/actions")).unwrap();
    let headers = [("Authorization", &*credentials.to_string())];
    let request = request_with("GET", "/api/v1/actions", &headers, "");
    assert_eq!(status(&fixture.exchange_one(&request).await), 200);
}

// Ruling: FAULT-1.
#[tokio::test]
async fn a_delay_delays_the_answer_and_not_the_call() {
    let fixture = TestDevice::with_fault(ApiEffect::Delay(Delay::Fixed(SECOND))).await;
    let mut client = call(&fixture).await;
    fixture.wait_evaluated(1).await;
    assert_eq!(fixture.device.in_progress(), 1);
    fixture.clock.advance(Duration::from_millis(999)).await.unwrap();
    assert_eq!(client.try_read(), "");
    fixture.clock.advance(Duration::from_millis(1)).await.unwrap();
    assert_eq!(status(&client.response().await), 202);
}

#[tokio::test]
async fn a_reset_resets_the_connection_and_prevents_the_call() {
    let fixture = TestDevice::with_fault(ApiEffect::Reset).await;
    let mut client = call(&fixture).await;
    assert_eq!(client.read_to_end().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(fixture.device.in_progress(), 0);
}

#[tokio::test]
async fn a_hang_lasts_until_the_client_leaves() {
    let fixture = TestDevice::with_fault(ApiEffect::Hang).await;
    let mut client = fixture.connect().await;
    client.send(&request("POST", "/api/v1/actions", &"x".repeat(100_000))).await;
    fixture.wait_evaluated(1).await;
    fixture.clock.advance(Duration::from_hours(1)).await.unwrap();
    assert_eq!(client.try_read(), "");
    assert_eq!(fixture.server.connection_count(), 1);
    drop(client);
    eventually(|| fixture.server.connection_count() == 0).await;
}

#[tokio::test]
async fn a_cut_ends_the_connection_after_so_many_bytes() {
    for after in [0, 1, 12, 40] {
        let fixture = TestDevice::with_fault(ApiEffect::Cut { after }).await;
        let received = call(&fixture).await.read_to_end().await.unwrap();
        let whole = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nLocation: /api";
        assert_eq!(received, whole[..after]);
        assert_eq!(fixture.device.in_progress(), 1, "the call was carried out");
    }
    let fixture = TestDevice::with_fault(ApiEffect::Cut { after: 100_000 }).await;
    let received = call(&fixture).await.read_to_end().await.unwrap();
    assert!(received.ends_with("no-cache\r\n\r\n"), "{received}");
}

#[tokio::test]
async fn a_drip_follows_the_clock() {
    let fixture = TestDevice::start(Setup::default()).await;
    let drip = ApiEffect::Drip { bytes: 5, every: SECOND };
    fixture.add_fault(drip, Trigger { first: Some(1), ..Trigger::default() });
    let mut client = fixture.connect().await;
    // The fault of the first request does not affect a second one that is sent ahead.
    client.send(&request("POST", CALL, "").repeat(2)).await;
    let mut received = String::new();
    fixture.wait_evaluated(1).await;
    let whole = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n";
    for part in 1..=8 {
        eventually(|| {
            received.push_str(&client.try_read());
            received.len() == 5 * part
        })
        .await;
        assert_eq!(received, whole[..5 * part]);
        fixture.clock.advance(SECOND).await.unwrap();
    }
    fixture.clock.advance(SECOND * 3600).await.unwrap();
    received.push_str(&client.response().await);
    assert_eq!(received.matches("HTTP/1.1").count(), 1, "{received}");
    assert_eq!(status(&client.response().await), 409);
    fixture.clock.advance(SECOND * 3600).await.unwrap();
}

#[tokio::test]
async fn malformed_json_breaks_off_with_a_matching_length() {
    let fixture = TestDevice::with_fault(ApiEffect::MalformedJson).await;
    let mut client = fixture.connect().await;
    for (method, path) in [("GET", "/api/v1/actions"), ("GET", "/nowhere"), ("POST", CALL)] {
        client.send(&request(method, path, "")).await;
        let answer = client.response().await;
        assert_eq!(header(&answer, "Content-Type"), Some("application/json; charset=utf-8"));
        assert_eq!(header(&answer, "Content-Length").unwrap(), body(&answer).len().to_string());
        assert!(!body(&answer).is_empty());
        serde_json::from_str::<Value>(body(&answer)).unwrap_err();
    }
}

#[tokio::test]
async fn a_call_is_carried_out_if_its_client_leaves_in_a_delay() {
    let fixture = TestDevice::with_fault(ApiEffect::Delay(Delay::Fixed(SECOND))).await;
    let client = call(&fixture).await;
    fixture.wait_evaluated(1).await;
    drop(client);
    eventually(|| fixture.server.connection_count() == 0).await;
    assert_eq!(fixture.device.in_progress(), 1);
    fixture.clock.advance(SECOND * 2).await.unwrap();
}
