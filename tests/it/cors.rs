//! CORS: allowed origins, preflight requests, and refused pages.

use std::convert::Infallible;

use wwsim::device::{AccessPolicy, License};
use wwsim::fault::{ApiEffect, ApiPlace, Fault, Rule, Trigger};
use wwsim::net::http::Method;

use crate::support::device::{Setup, TestDevice, body, error, header, request_with, status};

const ACTIONS: &str = "/api/v1/actions";
const PAGE: &str = "http://localhost:5173";

async fn with_origins(origins: &[&str]) -> TestDevice {
    let origins = origins.iter().map(|origin| origin.parse().unwrap()).collect();
    let access_policy = AccessPolicy { origins, ..AccessPolicy::default() };
    TestDevice::start(Setup { access_policy, ..Setup::default() }).await
}

async fn from(fixture: &TestDevice, origin: &str, method: &str, path: &str) -> String {
    fixture.exchange_one(&request_with(method, path, &[("Origin", origin)], "")).await
}

async fn preflight(fixture: &TestDevice, path: &str, more: &[(&str, &str)]) -> String {
    let mut headers = vec![("Origin", PAGE), ("Access-Control-Request-Method", "PUT")];
    headers.extend_from_slice(more);
    fixture.exchange_one(&request_with("OPTIONS", path, &headers, "")).await
}

fn allowed(response: &str) -> Option<&str> {
    header(response, "Access-Control-Allow-Origin")
}

fn protect(fixture: &TestDevice) {
    let changed: Result<(), Infallible> = fixture.device.configure(|config| {
        config.settings.system.protection = true;
        "secret".clone_into(&mut config.settings.system.password);
        Ok(())
    });
    changed.unwrap();
}

// Ruling: ACCESS-2, ACCESS-3, ACCESS-5.
#[tokio::test]
async fn only_the_devices_own_origins_are_allowed() {
    let fixture = TestDevice::start(Setup::default()).await;
    let port = fixture.server.address().port();
    for own in [
        "http://whatwatt-9F8124",
        "http://whatwatt-9F8124.local",
        "http://WHATWATT-9f8124.LOCAL:80",
        "http://127.0.0.1",
        &format!("http://whatwatt-9f8124.local:{port}"),
        &format!("http://127.0.0.1:{port}"),
    ] {
        let answer = from(&fixture, own, "GET", ACTIONS).await;
        assert_eq!((status(&answer), allowed(&answer)), (200, Some(own)));
    }
    for other in [
        PAGE,
        "null",
        "http://whatwatt-9F8125.local",
        "http://whatwatt_9F8124.local",
        "http://whatwatt-9F8124.local.example",
        "https://whatwatt-9F8124.local",
        "http://whatwatt-9F8124.local:5173",
        "http://127.0.0.1:5173",
        "http://192.168.1.1",
        "whatwatt-9F8124",
        "",
    ] {
        let answer = from(&fixture, other, "GET", ACTIONS).await;
        assert_eq!((status(&answer), &*error(&answer)), (404, "not_found"), "{other}");
        assert!(!answer.contains("Access-Control-"), "{answer}");
    }
    let twice = [("Origin", "http://127.0.0.1"), ("Origin", PAGE)];
    assert_eq!(status(&fixture.exchange_one(&request_with("GET", ACTIONS, &twice, "")).await), 404);
}

// Ruling: ACCESS-2.
#[tokio::test]
async fn the_addresses_in_system_are_own_origins() {
    let fixture = TestDevice::start(Setup::default()).await;
    let changed: Result<(), Infallible> = fixture.device.configure(|config| {
        config.wifi.enable = true;
        "home".clone_into(&mut config.wifi.name);
        Ok(())
    });
    changed.unwrap();
    let system = fixture.get("/api/v1/system").await;
    let system: serde_json::Value = serde_json::from_str(body(&system)).unwrap();
    let port = fixture.server.address().port();
    for own in ["wifi", "ethernet"].map(|link| system[link]["ip"].as_str().unwrap()) {
        for origin in [format!("http://{own}"), format!("http://{own}:{port}")] {
            let answer = from(&fixture, &origin, "GET", ACTIONS).await;
            assert_eq!((status(&answer), allowed(&answer)), (200, Some(&*origin)));
        }
        for origin in [format!("http://{own}:5173"), format!("https://{own}")] {
            assert_eq!(status(&from(&fixture, &origin, "GET", ACTIONS).await), 404, "{origin}");
        }
    }
    let wifi = format!("http://{}", system["wifi"]["ip"].as_str().unwrap());
    let left: Result<(), Infallible> = fixture.device.configure(|config| {
        config.wifi.enable = false;
        Ok(())
    });
    left.unwrap();
    assert_eq!(
        status(&from(&fixture, &wifi, "GET", ACTIONS).await),
        404,
        "the device no longer has that address"
    );
}

// Ruling: HTTP-4.
#[tokio::test]
async fn a_refused_page_changes_nothing() {
    let fixture = TestDevice::start(Setup::default()).await;
    assert_eq!(status(&from(&fixture, PAGE, "DELETE", ACTIONS).await), 404);
    assert!(fixture.device.definition().is_some());
    let answer = preflight(&fixture, ACTIONS, &[]).await;
    assert_eq!((status(&answer), allowed(&answer)), (404, None));
}

// Ruling: ACCESS-2, ACCESS-3.
#[tokio::test]
async fn the_own_origins_follow_the_host_name() {
    let fixture = TestDevice::start(Setup::default()).await;
    let renamed: Result<(), Infallible> = fixture.device.configure(|config| {
        config.settings.system.host_name = "my_meter".to_owned();
        Ok(())
    });
    renamed.unwrap();
    for (origin, expected) in [
        ("http://my_meter", 200),
        ("http://my_meter.local", 200),
        ("http://my-meter.local", 404),
        ("http://whatwatt-9F8124", 404),
    ] {
        assert_eq!(status(&from(&fixture, origin, "GET", ACTIONS).await), expected, "{origin}");
    }
}

// Ruling: ACCESS-4.
#[tokio::test]
async fn a_scenario_can_allow_further_origins() {
    let fixture = with_origins(&["http://localhost:*", "https://app.example"]).await;
    for origin in [PAGE, "http://localhost", "https://app.example"] {
        assert_eq!(allowed(&from(&fixture, origin, "GET", ACTIONS).await), Some(origin));
    }
    for origin in ["http://127.0.0.1:5173", "http://app.example", "https://localhost:5173"] {
        assert_eq!(status(&from(&fixture, origin, "GET", ACTIONS).await), 404, "{origin}");
    }
}

// Ruling: ACCESS-7.
#[tokio::test]
async fn a_page_can_read_the_location_of_its_call() {
    let fixture = with_origins(&[PAGE]).await;
    let call = from(&fixture, PAGE, "POST", "/api/v1/actions/call?id=1").await;
    assert_eq!(
        call,
        "HTTP/1.1 202 Accepted\r\n\
         Content-Length: 0\r\n\
         Location: /api/v1/actions/status?id=139\r\n\
         Access-Control-Allow-Origin: http://localhost:5173\r\n\
         Access-Control-Expose-Headers: Location, WWW-Authenticate, Retry-After\r\n\
         X-Content-Type-Options: nosniff\r\n\
         Cache-Control: no-store, no-cache\r\n\r\n"
    );
}

#[tokio::test]
async fn a_page_can_read_errors() {
    let access_policy =
        AccessPolicy { origins: vec![PAGE.parse().unwrap()], ..AccessPolicy::default() };
    let fixture =
        TestDevice::start(Setup { access_policy, license: License::Free, ..Setup::default() })
            .await;
    for (method, path, expected) in [
        ("GET", "/nowhere", 404),
        ("GET", ACTIONS, 404),
        ("PUT", ACTIONS, 405),
        // Without a requested method this is no preflight request.
        ("OPTIONS", ACTIONS, 405),
    ] {
        let answer = from(&fixture, PAGE, method, path).await;
        assert_eq!((status(&answer), allowed(&answer)), (expected, Some(PAGE)), "{method} {path}");
    }
    let large = request_with("POST", "/nowhere", &[("Origin", PAGE)], &"x".repeat(9000));
    let mut client = fixture.connect().await;
    client.send(&large).await;
    assert_eq!(allowed(&client.read_to_end().await.unwrap()), Some(PAGE));
    protect(&fixture);
    let answer = from(&fixture, PAGE, "GET", ACTIONS).await;
    assert_eq!((status(&answer), allowed(&answer)), (401, Some(PAGE)));
    assert_eq!(
        header(&answer, "Access-Control-Expose-Headers"),
        Some("Location, WWW-Authenticate, Retry-After")
    );
}

// Ruling: ACCESS-6, HTTP-4.
#[tokio::test]
async fn a_preflight_needs_no_authentication_for_any_path() {
    let fixture = with_origins(&[PAGE]).await;
    protect(&fixture);
    for path in [ACTIONS, "/nowhere"] {
        let headers = [("Access-Control-Request-Headers", "authorization,content-type")];
        let answer = preflight(&fixture, path, &headers).await;
        assert_eq!(
            answer,
            "HTTP/1.1 204 No Content\r\n\
             Access-Control-Allow-Origin: http://localhost:5173\r\n\
             Access-Control-Allow-Methods: GET, POST, PUT, DELETE\r\n\
             Access-Control-Allow-Headers: authorization,content-type\r\n\
             Access-Control-Max-Age: 600\r\n\
             X-Content-Type-Options: nosniff\r\n\
             Cache-Control: no-store, no-cache\r\n\r\n"
        );
    }
    let private = [("Access-Control-Request-Private-Network", "true")];
    let answer = preflight(&fixture, ACTIONS, &private).await;
    assert_eq!(header(&answer, "Access-Control-Allow-Private-Network"), Some("true"));
    assert_eq!(
        header(&answer, "Access-Control-Allow-Headers"),
        Some("Authorization, Content-Type")
    );
}

// Ruling: FAULT-5.
#[tokio::test]
async fn a_page_receives_the_same_faults_as_other_clients() {
    let fixture = with_origins(&[PAGE]).await;
    fixture.add_fault(ApiEffect::Status { code: 503, retry_after: Some(3) }, Trigger::default());
    assert_eq!(status(&preflight(&fixture, ACTIONS, &[]).await), 204);
    assert_eq!(fixture.engine.get("fault").unwrap().evaluated, 0, "a preflight is no match");
    let answer = from(&fixture, PAGE, "GET", ACTIONS).await;
    assert_eq!((status(&answer), allowed(&answer)), (503, Some(PAGE)));
    let answer = from(&fixture, "http://evil.example", "GET", ACTIONS).await;
    assert_eq!((status(&answer), allowed(&answer)), (503, None));

    let place = ApiPlace { method: Some(Method::Options), ..ApiPlace::default() };
    let fault = Fault::Api(place, ApiEffect::Status { code: 500, retry_after: None });
    fixture
        .engine
        .add(Rule { id: "preflights".into(), fault, devices: None, when: Trigger::default() })
        .unwrap();
    assert_eq!(status(&preflight(&fixture, ACTIONS, &[]).await), 500, "a rule can name OPTIONS");
}

/// Runs in a separate process, because other tests of this process write to the same log.
#[cfg(feature = "cli")]
#[tokio::test]
async fn the_log_says_once_how_to_allow_an_origin() {
    let folder = crate::support::folder::Folder::created();
    let (scenario, ready, log) =
        (folder.join("house.yaml"), folder.join("ready.json"), folder.join("log"));
    std::fs::write(&scenario, "device: {}\n").unwrap();
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_wwsim"));
    command.arg("run").arg(&scenario).args(["--any-port", "--ready-file"]).arg(&ready);
    command.env_remove("WWSIM_LOG").stdout(std::process::Stdio::null()).kill_on_drop(true);
    let mut house = command.stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap();
    crate::support::device::eventually(|| ready.exists()).await;
    let ready: serde_json::Value = serde_json::from_slice(&std::fs::read(&ready).unwrap()).unwrap();
    let device = ready["devices"][0]["http"].as_str().unwrap();
    let device: std::net::SocketAddr = device.strip_prefix("http://").unwrap().parse().unwrap();
    let ask = async |origin: &str| {
        let request = format!(
            "GET {ACTIONS} HTTP/1.1\r\nHost: x\r\nOrigin: {origin}\r\nConnection: close\r\n\r\n"
        );
        let answer = crate::support::house::exchange(device, request.as_bytes()).await;
        assert!(String::from_utf8_lossy(&answer).contains("not_found"), "{origin}");
    };
    for origin in [PAGE, PAGE, "http://127.0.0.1:3"] {
        ask(origin).await;
    }
    // A thread of its own writes the log.
    let text = || std::fs::read_to_string(&log).unwrap();
    crate::support::device::eventually(|| text().contains("http://127.0.0.1:3")).await;
    let text = text();
    assert_eq!(text.matches("`cors: {origins: [\"http://localhost:5173\"]}`").count(), 1, "{text}");
    assert_eq!(text.matches("A842E39F8124").count(), 2, "{text}");
    for n in 0..200 {
        ask(&format!("http://{n}.example")).await;
    }
    crate::support::device::eventually(|| {
        std::fs::read_to_string(&log).unwrap().contains("http://61.example")
    })
    .await;
    house.kill().await.unwrap();
    let lines = std::fs::read_to_string(&log).unwrap().lines().count();
    assert_eq!(lines, 64, "the log is limited to 64 origins");
}
