//! The device's HTTP server. Replies are compared byte for byte if `docs/device` defines them.

use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use wwsim::device::{ActionPolicy, CallReplyFormat, License};

use crate::support::device::{
    ACTIONS, Setup, TestDevice, body, error, eventually, header, request, status,
};
use crate::support::house::{TestHouse, http};

const COMMON: &str = "X-Content-Type-Options: nosniff\r\nCache-Control: no-store, no-cache\r\n";

// Ruling: HTTP-1, ACTION-14.
#[tokio::test]
async fn a_call_reply_equals_the_published_sample() {
    let fixture = TestDevice::start(Setup::default()).await;
    assert_eq!(
        fixture.post("/api/v1/actions/call?id=1", "").await,
        format!(
            "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\
             Location: /api/v1/actions/status?id=139\r\n{COMMON}\r\n"
        )
    );
    let two = fixture.post("/api/v1/actions/call?id=two", "").await;
    assert_eq!(header(&two, "Location"), Some("/api/v1/actions/status?id=140,141"));
    assert_eq!(fixture.runs.lock().unwrap().len(), 2);
}

// Ruling: ACTION-14.
#[tokio::test]
async fn call_route_rest_answers_in_json() {
    let action_policy = ActionPolicy {
        call_reply_format: CallReplyFormat::JsonBody,
        ..Setup::default().action_policy
    };
    let fixture = TestDevice::start(Setup { action_policy, ..Setup::default() }).await;
    assert_eq!(
        fixture.post("/api/v1/actions/call?id=two", "").await,
        format!(
            "HTTP/1.1 202 Accepted\r\nContent-Type: application/json; charset=utf-8\r\n\
             Content-Length: 24\r\n{COMMON}\r\n{{\"status_ids\":[139,140]}}"
        )
    );
}

// Ruling: ACTION-19, ACTION-20.
#[tokio::test]
async fn status_entries_are_in_the_order_of_the_query() {
    let fixture = TestDevice::start(Setup::default()).await;
    fixture.post("/api/v1/actions/call?id=two", "").await;
    let run = fixture.runs.lock().unwrap().pop().unwrap();
    for (ticket, _) in run.requests.into_iter().take(1) {
        ticket.finish(200, "answered");
    }
    let done = r#"{"action_id":"two","id":139,"code":200,"exe_time":0.001}"#;
    // The second request ended when its run was dropped.
    let dropped = r#"{"action_id":"two","id":140,"code":-1,"exe_time":0.001}"#;
    let answer = fixture.get("/api/v1/actions/status?id=140,7,139").await;
    assert_eq!(header(&answer, "Content-Type"), Some("application/json; charset=utf-8"));
    assert_eq!(body(&answer), format!("[{dropped},{done}]"));

    fixture.post("/api/v1/actions/call?id=1", "").await;
    let answer = fixture.get("/api/v1/actions/status?id=141").await;
    assert_eq!(body(&answer), r#"[{"action_id":"1","id":141,"code":-1,"exe_time":0}]"#);
}

// Ruling: HTTP-9, ACTION-12.
#[tokio::test]
async fn calls_are_refused_in_the_documented_order() {
    let fixture = TestDevice::start(Setup::default()).await;
    for (query, expected) in [
        ("", (400, "missing_id")),
        ("?id=", (400, "missing_id")),
        ("?ID=1", (400, "missing_id")),
        ("?id=1&id=1", (400, "invalid_id")),
        ("?id=nobody", (404, "unknown_action")),
        ("?id=a%20b%2Bd", (404, "unknown_action")),
        ("?id=off", (400, "action_disabled")),
        ("?id=none", (400, "no_enabled_request")),
    ] {
        let answer = fixture.post(&format!("/api/v1/actions/call{query}"), "").await;
        assert_eq!((status(&answer), &*error(&answer)), expected, "{query}");
    }
    let admitted = fixture.post("/api/v1/actions/call?x=y&id=a+b%2Bc", "{\"ignored\":1}").await;
    assert_eq!(status(&admitted), 202);
    let again = fixture.post("/api/v1/actions/call?id=a%20b%2Bc", "").await;
    assert_eq!((status(&again), &*error(&again)), (409, "action_running"));
}

#[tokio::test]
async fn the_twenty_first_request_in_progress_is_429() {
    let fixture = TestDevice::start(Setup { actions: None, ..Setup::default() }).await;
    let actions: Vec<Value> = (0..21)
        .map(
            |n| json!({"id": n.to_string(), "requests": [{"http": {"url": "http://bulb.local/"}}]}),
        )
        .collect();
    let stored = fixture.post("/api/v1/actions", &json!({"actions": actions}).to_string()).await;
    assert_eq!(status(&stored), 200, "{stored}");
    for n in 0..20 {
        assert_eq!(status(&fixture.post(&format!("/api/v1/actions/call?id={n}"), "").await), 202);
    }
    let full = fixture.post("/api/v1/actions/call?id=20", "").await;
    assert_eq!((status(&full), &*error(&full)), (429, "too_many_requests"));
}

// Ruling: ACTION-20.
#[tokio::test]
async fn an_invalid_status_id_is_400_and_an_unknown_one_404() {
    let fixture = TestDevice::start(Setup::default()).await;
    for (query, expected) in [
        ("", (400, "missing_id")),
        ("?id=x", (400, "invalid_id")),
        ("?id=1,", (400, "invalid_id")),
        ("?id=-1", (400, "invalid_id")),
        ("?id=7,8", (404, "unknown_status")),
    ] {
        let answer = fixture.get(&format!("/api/v1/actions/status{query}")).await;
        assert_eq!((status(&answer), &*error(&answer)), expected, "{query}");
    }
}

// Ruling: HTTP-8, ACTION-21.
#[tokio::test]
async fn a_definition_is_stored_returned_and_deleted() {
    let fixture = TestDevice::start(Setup { actions: None, ..Setup::default() }).await;
    let path = "/api/v1/actions";
    let none = fixture.get(path).await;
    assert_eq!((status(&none), &*error(&none)), (404, "no_actions"));

    let stored = fixture.post(path, ACTIONS).await;
    assert_eq!(status(&stored), 200);
    assert_eq!(fixture.get(path).await, stored);
    let definition: Value = serde_json::from_str(body(&stored)).unwrap();
    assert_eq!(definition["actions"][1]["id"], "a b+c");

    let invalid = fixture.post(path, r#"{"actions":[{"id":"1","requests":[{"http":{}}]}]}"#).await;
    assert_eq!((status(&invalid), &*error(&invalid)), (400, "invalid_definition"));
    let refused: Value = serde_json::from_str(body(&invalid)).unwrap();
    assert_eq!(refused["details"]["field"], "actions[0].requests[0].http.url");
    assert_eq!(fixture.get(path).await, stored, "the old definition stays");

    let deleted = fixture.exchange_one(&request("DELETE", path, "")).await;
    assert_eq!(deleted, format!("HTTP/1.1 204 No Content\r\n{COMMON}\r\n"));
    assert_eq!(status(&fixture.get(path).await), 404);
    assert_eq!(status(&fixture.exchange_one(&request("DELETE", path, "")).await), 204);
}

#[tokio::test]
async fn a_definition_has_at_most_8191_bytes() {
    let fixture = TestDevice::start(Setup { actions: None, ..Setup::default() }).await;
    let fits = format!("{{\"actions\":[]{}}}", " ".repeat(8191 - 14));
    assert_eq!(fits.len(), 8191);
    assert_eq!(status(&fixture.post("/api/v1/actions", &fits).await), 200);
    let answer = fixture.post("/api/v1/actions", &format!("{fits} ")).await;
    assert_eq!((status(&answer), &*error(&answer)), (413, "payload_too_large"));
    assert_eq!(fixture.device.definition().unwrap().actions().len(), 0);
}

// Ruling: HTTP-3.
#[tokio::test]
async fn a_body_declared_too_large_is_refused_at_once() {
    let fixture = TestDevice::start(Setup::default()).await;
    for (path, length) in [("/api/v1/actions", 8192), ("/api/v1/actions/call?id=1", 8193)] {
        let mut client = fixture.connect().await;
        client
            .send(&format!(
                "POST {path} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\
                 Content-Length: {length}\r\n\r\n"
            ))
            .await;
        let answer = client.read_to_end().await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        assert_eq!(header(&answer, "Connection"), Some("close"));
    }
    assert_eq!(fixture.device.in_progress(), 0);
}

#[tokio::test]
async fn a_chunked_body_over_the_limit_still_gets_its_reply() {
    let fixture = TestDevice::start(Setup::default()).await;
    let mut client = fixture.connect().await;
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
    let head = "POST /api/v1/actions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    // Two chunks exceed the limit by one byte. The body never ends, and is longer than the bytes that the
    // server discards.
    client.send(&format!("{head}{chunk}{chunk}{chunk}{chunk}")).await;
    let answer = client.read_to_end().await.unwrap();
    assert_eq!((status(&answer), &*error(&answer)), (413, "payload_too_large"));
}

#[tokio::test]
async fn an_unexpected_body_still_gets_its_reply() {
    let fixture = TestDevice::start(Setup::default()).await;
    let mut client = fixture.connect().await;
    client.send(&request("POST", "/nowhere", &"x".repeat(8192))).await;
    assert_eq!(status(&client.response().await), 404);
    client.send(&request("POST", "/nowhere", &"x".repeat(30_000))).await;
    let answer = client.read_to_end().await.unwrap();
    assert_eq!(status(&answer), 404, "the path is checked before the size");
    assert_eq!(header(&answer, "Connection"), Some("close"));
}

// Ruling: HTTP-2.
#[tokio::test]
async fn unknown_paths_are_404_and_wrong_methods_405() {
    let fixture = TestDevice::start(Setup::default()).await;
    for path in ["/api/v1/action", "/api/v1/actions/", "/API/v1/actions", "/api/v1/actions%2Fcall"]
    {
        let answer = fixture.get(path).await;
        assert_eq!((status(&answer), &*error(&answer)), (404, "not_found"), "{path}");
    }
    for (method, path, allowed) in [
        ("PUT", "/api/v1/actions", "GET, POST, DELETE"),
        ("GET", "/api/v1/actions/call?id=1", "POST"),
        ("POST", "/api/v1/actions/status?id=1", "GET"),
        ("FETCH", "/?x", "GET"),
    ] {
        let answer = fixture.exchange_one(&request(method, path, "")).await;
        assert_eq!((status(&answer), &*error(&answer)), (405, "method_not_allowed"), "{path}");
        assert_eq!(header(&answer, "Allow"), Some(allowed));
    }
    let mut client = fixture.connect().await;
    client.send("HEAD /api/v1/actions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    let head = client.read_to_end().await.unwrap();
    assert_eq!((status(&head), body(&head)), (405, ""));
}

// Ruling: HTTP-4, ACCESS-1.
#[tokio::test]
async fn without_a_licence_actions_are_404() {
    let fixture = TestDevice::start(Setup { license: License::Free, ..Setup::default() }).await;
    let expected = format!(
        "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: 16\r\n{COMMON}\r\nLicense required"
    );
    assert_eq!(fixture.get("/api/v1/actions").await, expected);
    assert_eq!(fixture.get("/api/v1/actions/status").await, expected);
    assert_eq!(fixture.post("/api/v1/actions/call?id=1", "").await, expected);
    assert_eq!(fixture.post("/api/v1/actions", "nonsense").await, expected, "before the body");
    assert_eq!(status(&fixture.get("/api/v1/actions/call").await), 405, "after the method");
    assert!(body(&fixture.get("/").await).contains("Needs a licence"));
}

#[tokio::test]
async fn old_firmware_has_no_actions() {
    let fixture = TestDevice::start(Setup { firmware: "1.6.0", ..Setup::default() }).await;
    for path in ["/api/v1/actions", "/api/v1/actions/status?id=1"] {
        assert_eq!(error(&fixture.get(path).await), "not_found");
    }
    assert!(!body(&fixture.get("/").await).contains("/api/v1/actions"));
    let fixture = TestDevice::start(Setup { firmware: "1.6.1", ..Setup::default() }).await;
    assert_eq!(status(&fixture.get("/api/v1/actions").await), 200);
}

// Ruling: HTTP-5.
#[tokio::test]
async fn the_page_shows_the_device_and_links_to_its_routes() {
    let fixture = TestDevice::start(Setup::default()).await;
    let page = fixture.get("/").await;
    assert_eq!(header(&page, "Content-Type"), Some("text/html; charset=utf-8"));
    for part in ["WW_Go_1.2", "A842E39F8124", "2.0.2", "PLUS", "<a href=\"api/v1/actions\">"] {
        assert!(page.contains(part), "{part} in {page}");
    }
    for placeholder in ["{model}", "{id}", "{firmware}", "{license}", "{routes}"] {
        assert!(!page.contains(placeholder), "{placeholder} was not replaced");
    }
    let links: Vec<_> =
        page.split("href=\"api/").skip(1).filter_map(|rest| rest.split_once('"')).collect();
    assert!(links.len() > 15, "{}", links.len());
    for (path, _) in links {
        assert_ne!(path, "", "a page needs no link to itself");
        // A stream has no end, and a scan takes some seconds.
        if !["live", "console", "scan"].iter().any(|end| path.ends_with(end)) {
            assert_ne!(status(&fixture.get(&format!("/api/{path}")).await), 400, "{path}");
        }
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let fixture = TestDevice::start(Setup::default()).await;
    let mut client = fixture.connect().await;
    let call = request("POST", "/api/v1/actions/call?id=1", "");
    client.send(&format!("{call}{call}{}", request("GET", "/api/v1/actions", ""))).await;
    assert_eq!(status(&client.response().await), 202);
    assert_eq!(status(&client.response().await), 409);
    assert_eq!(status(&client.response().await), 200);
}

// Ruling: HOUSE-1.
#[tokio::test]
async fn a_pause_keeps_the_connections_that_wait_for_a_request() {
    let fixture = TestDevice::start(Setup::default()).await;
    let get = request("GET", "/", "");
    let (mut idle, mut fresh, mut half) =
        (fixture.connect().await, fixture.connect().await, fixture.connect().await);
    idle.send(&get).await;
    idle.response().await;
    half.send(&get).await;
    half.response().await;
    half.send(&get[..9]).await;
    eventually(|| fixture.server.connection_count() == 3).await;
    let mut streaming = fixture.connect().await;
    streaming.send(&request("GET", "/api/v1/live", "")).await;
    streaming.0.read_u8().await.unwrap();
    // The server has read the half request when a later one is answered.
    fixture.get("/").await;

    let paused = fixture.server.pause().await;
    assert_eq!(half.read_to_end().await.unwrap(), "");
    assert!(!streaming.read_to_end().await.unwrap().ends_with("0\r\n\r\n"), "no end of the stream");
    let mut new = fixture.connect().await;
    for client in [&mut idle, &mut fresh, &mut new] {
        client.send(&get).await;
    }
    // Another server answers meanwhile.
    TestDevice::start(Setup::default()).await.get("/").await;
    for client in [&mut idle, &mut fresh, &mut new] {
        assert_eq!(client.try_read(), "", "it waits");
    }
    drop(paused);
    for client in [&mut idle, &mut fresh, &mut new] {
        assert_eq!(status(&client.response().await), 200);
    }
}

#[tokio::test]
async fn a_dropped_server_closes_its_listener() {
    let fixture = TestDevice::start(Setup::default()).await;
    let (mut client, address) = (fixture.connect().await, fixture.server.address());
    client.send(&request("GET", "/", "")).await;
    client.response().await;
    drop(fixture);
    assert_eq!(client.read_to_end().await.unwrap(), "");
    eventually(|| std::net::TcpStream::connect(address).is_err()).await;
}

// Ruling: HTTP-10.
#[tokio::test]
async fn json_may_begin_with_a_byte_order_mark() {
    let house = TestHouse::start("").await;
    for (method, path, body) in [
        ("POST", "/api/v1/actions", r#"{"actions":[]}"#),
        ("PUT", "/api/v1/settings", r#"{"system":{"name":"x"}}"#),
        ("POST", "/api/v1/modbus", r#"[{"start_address":0,"registers":[{"id":"1.7.0"}]}]"#),
        ("POST", "/api/v1/meter/scalers/custom", r#"[{"obis":"1.8.0","scaler":1}]"#),
    ] {
        let reply = http(house.api_address(), method, path, &format!("\u{feff}{body}")).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
    }
}
