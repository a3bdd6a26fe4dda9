//! Access to the control plane: tokens, hosts, and pages of browsers.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::{Value, json};
use wwsim::house::{BuildError, House};

use crate::support::house::{Answer, TestHouse, describe, exchange, parse};

const TOKEN: &str = "0123456789abcdef";

/// Sends a request with these lines of its head to the control plane.
async fn ask(to: SocketAddr, method: &str, path: &str, head: &str, body: &str) -> Answer {
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\n{head}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    parse(&String::from_utf8_lossy(&exchange(to, request.as_bytes()).await))
}

async fn house_with_token(yaml: &str) -> TestHouse {
    TestHouse { house: describe(yaml).token(TOKEN).start().await.unwrap() }
}

#[tokio::test]
async fn a_given_token_is_required_on_loopback_too() {
    let house = house_with_token("").await;
    assert_eq!(house.addresses().token.as_deref(), Some(TOKEN));
    let to = house.control_address();
    let state = async |head: &str| ask(to, "GET", "/control/v1/state", head, "").await.status;
    assert_eq!(state("Host: localhost\r\n").await, 401);
    let wrong = "Host: localhost\r\nAuthorization: Bearer 0123456789abcdee\r\n";
    assert_eq!(state(wrong).await, 401);
    for host in ["localhost", "wwsim:8090", "devbox.lan", "192.0.2.7:18090"] {
        let head = format!("Host: {host}\r\nAuthorization: Bearer {TOKEN}\r\n");
        assert_eq!(state(&head).await, 200, "{host}");
        let health = ask(to, "GET", "/healthz", &format!("Host: {host}\r\n"), "").await;
        assert_eq!(health.status, 200, "{host}");
    }
}

#[tokio::test]
async fn a_token_that_is_too_short_starts_nothing() {
    let refused = House::builder().any_port().token("0123456789abcde").start().await;
    let error = refused.map(drop).unwrap_err();
    assert!(matches!(error, BuildError::Token(_)), "{error}");
    assert!(error.to_string().contains("expected 16"), "{error}");
    assert!(!error.to_string().contains("0123"), "the secret is not quoted: {error}");
}

#[tokio::test]
async fn announced_addresses_can_be_used() {
    let yaml = "\
control: 0.0.0.0:0
devices: [{id: A842E39F8124, http: '0.0.0.0:0', modbus: {listen: '0.0.0.0:0'}}]
slaves: {pump: {listen: '0.0.0.0:0', units: {1: {holding: [{address: 0}]}}}}
http_targets: {bulb: {listen: '0.0.0.0:0', routes: [{path: /}]}}
";
    let house = TestHouse::start(yaml).await;
    let addresses = house.addresses();
    let token = addresses.token.clone().unwrap();
    // As a client does that knows the URL alone.
    let to = house.control_address();
    assert!(to.ip().is_loopback(), "{to}");
    let head = format!("Host: {to}\r\nAuthorization: Bearer {token}\r\n");
    let state = ask(to, "GET", "/control/v1/state", &head, "").await;
    assert_eq!(state.status, 200, "{}", state.body);
    let state = state.json();
    let loopback = |value: &Value| value.as_str().unwrap().starts_with("127.0.0.1:");
    assert!(loopback(&state["devices"][0]["http"]), "{state}");
    assert!(loopback(&state["devices"][0]["modbus"]["address"]), "{state}");
    assert!(loopback(&state["slaves"][0]["address"]), "{state}");
    assert!(loopback(&state["http_targets"][0]["address"]), "{state}");
    assert!(addresses.devices[0].http.starts_with("http://127.0.0.1:"), "{addresses:?}");
    assert!(addresses.devices[0].modbus.unwrap().ip().is_loopback());
    assert!(addresses.slaves["pump"].ip().is_loopback());
    assert!(addresses.http_targets["bulb"].starts_with("http://127.0.0.1:"));
    assert_eq!(house.get("/api/v1/system").await.status, 200);
}

#[tokio::test]
async fn pages_of_loopback_origins_can_steer_the_house() {
    let house = TestHouse::start("").await;
    let to = house.control_address();
    for origin in ["http://localhost:5173", "http://127.0.0.1:3000", "https://app.localhost"] {
        let head = format!("Host: {to}\r\nOrigin: {origin}\r\n");
        let asks = format!(
            "{head}Access-Control-Request-Method: POST\r\n\
             Access-Control-Request-Headers: content-type\r\n"
        );
        let preflight = ask(to, "OPTIONS", "/control/v1/faults", &asks, "").await;
        assert_eq!(preflight.status, 204, "{origin}: {}", preflight.head);
        assert_eq!(preflight.header("Access-Control-Allow-Origin"), Some(origin));
        let methods = preflight.header("Access-Control-Allow-Methods").unwrap();
        assert!(["GET", "POST", "PUT", "PATCH", "DELETE"].iter().all(|one| methods.contains(one)));
        assert_eq!(preflight.header("Access-Control-Allow-Headers"), Some("content-type"));
        let rule = json!({"at": "api", "effect": "hang", "when": {"armed": false}}).to_string();
        let added = ask(to, "POST", "/control/v1/faults", &head, &rule).await;
        assert_eq!(added.status, 201, "{}", added.body);
        assert_eq!(added.header("Access-Control-Allow-Origin"), Some(origin));
        assert!(added.header("Access-Control-Expose-Headers").unwrap().contains("Location"));
        let wrong = ask(to, "GET", "/control/v1/nothing", &head, "").await;
        assert_eq!(
            (wrong.status, wrong.header("Access-Control-Allow-Origin")),
            (404, Some(origin))
        );
    }
    assert_eq!(house.engine().list().len(), 3);
    let alone = ask(to, "GET", "/control/v1/state", &format!("Host: {to}\r\n"), "").await;
    assert_eq!(alone.header("Access-Control-Allow-Origin"), None, "no page");
    let options = ask(to, "OPTIONS", "/control/v1/state", &format!("Host: {to}\r\n"), "").await;
    assert_eq!(options.status, 405, "no preflight");
}

#[tokio::test]
async fn a_preflight_needs_no_token_and_the_request_after_it_does() {
    let house = house_with_token("").await;
    let to = house.control_address();
    let head = "Host: wwsim:8090\r\nOrigin: http://localhost:5173\r\n";
    let asks = format!(
        "{head}Access-Control-Request-Method: POST\r\n\
         Access-Control-Request-Headers: authorization\r\n"
    );
    let preflight = ask(to, "OPTIONS", "/control/v1/reset", &asks, "").await;
    assert_eq!(preflight.status, 204);
    assert_eq!(preflight.header("Access-Control-Allow-Headers"), Some("authorization"));
    let without = ask(to, "POST", "/control/v1/reset", head, "").await;
    assert_eq!(without.status, 401);
    assert!(without.header("Access-Control-Allow-Origin").is_some(), "the page sees the reason");
    let head = format!("{head}Authorization: Bearer {TOKEN}\r\n");
    let reset = ask(to, "POST", "/control/v1/reset", &head, "").await;
    assert_eq!((reset.status, &reset.json()["epoch"]), (200, &json!(1)));
}

#[tokio::test]
async fn other_pages_change_nothing() {
    for house in [TestHouse::start("").await, house_with_token("").await] {
        let to = house.control_address();
        let own = format!("Host: {to}\r\n");
        let rule = json!({"at": "api", "effect": "hang"}).to_string();
        for head in [
            // As a browser sends it with `no-cors`: from a page, from a sandboxed one, and from a page whose
            // name resolves to this machine now.
            format!("{own}Origin: http://evil.example\r\nContent-Type: text/plain\r\n"),
            format!("{own}Origin: null\r\nContent-Type: text/plain\r\n"),
            format!("{own}Origin: http://localhost.evil.example\r\n"),
            format!("Host: evil.example:{0}\r\nOrigin: http://evil.example:{0}\r\n", to.port()),
            format!("Host: evil.example:{}\r\n", to.port()),
        ] {
            for (method, path, body) in
                [("POST", "/control/v1/faults", &*rule), ("POST", "/control/v1/reset", "")]
            {
                let refused = ask(to, method, path, &head, body).await;
                assert!(matches!(refused.status, 401 | 403), "{head}{}", refused.head);
                assert_eq!(refused.header("Access-Control-Allow-Origin"), None, "{head}");
            }
            let asks = format!("{head}Access-Control-Request-Method: POST\r\n");
            let preflight = ask(to, "OPTIONS", "/control/v1/reset", &asks, "").await;
            assert!(preflight.status >= 400, "{head}");
            assert_eq!(preflight.header("Access-Control-Allow-Origin"), None, "{head}");
        }
        assert!(house.engine().list().is_empty());
        assert_eq!(house.journal().counts().recorded, 0);
    }
}

#[tokio::test]
async fn without_a_token_the_host_must_be_local() {
    let house = TestHouse::start("").await;
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, house.control_address().port()));
    let refused = ask(to, "GET", "/control/v1/state", "Host: wwsim:8090\r\n", "").await;
    assert_eq!((refused.status, &refused.json()["error"]), (403, &json!("forbidden_host")));
}
