//! Pages in a browser: who may, what their browsers are told, what is refused.

use std::convert::Infallible;

use wwsim::device::{AccessPolicy, License};
use wwsim::fault::{ApiEffect, ApiPlace, Fault, Method, Rule, Trigger};

use crate::device_harness::{Setup, TestDevice, body, error, header, request_with, status};

const ACTIONS: &str = "/api/v1/actions";
const PAGE: &str = "http://localhost:5173";

async fn with_origins(origins: &[&str]) -> TestDevice {
    let origins = origins.iter().map(|origin| origin.parse().unwrap()).collect();
    let access = AccessPolicy { origins, ..AccessPolicy::default() };
    TestDevice::start(Setup { access, ..Setup::default() }).await
}

async fn from(bench: &TestDevice, origin: &str, method: &str, path: &str) -> String {
    bench.exchange(&request_with(method, path, &[("Origin", origin)], "")).await
}

async fn preflight(bench: &TestDevice, path: &str, more: &[(&str, &str)]) -> String {
    let mut headers = vec![("Origin", PAGE), ("Access-Control-Request-Method", "PUT")];
    headers.extend_from_slice(more);
    bench.exchange(&request_with("OPTIONS", path, &headers, "")).await
}

fn allowed(response: &str) -> Option<&str> {
    header(response, "Access-Control-Allow-Origin")
}

fn protect(bench: &TestDevice) {
    let changed: Result<(), Infallible> = bench.device.configure(|config| {
        config.settings.system.protection = true;
        "secret".clone_into(&mut config.settings.system.password);
        Ok(())
    });
    changed.unwrap();
}

// Ruling: ACCESS-2, ACCESS-3, ACCESS-5.
#[tokio::test]
async fn a_device_lets_in_its_own_pages_and_no_others() {
    let bench = TestDevice::start(Setup::default()).await;
    let port = bench.server.address().port();
    for own in [
        "http://whatwatt-9F8124",
        "http://whatwatt-9F8124.local",
        "http://WHATWATT-9f8124.LOCAL:80",
        "http://127.0.0.1",
        &format!("http://whatwatt-9f8124.local:{port}"),
        &format!("http://127.0.0.1:{port}"),
    ] {
        let answer = from(&bench, own, "GET", ACTIONS).await;
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
        let answer = from(&bench, other, "GET", ACTIONS).await;
        assert_eq!((status(&answer), &*error(&answer)), (404, "not_found"), "{other}");
        assert!(!answer.contains("Access-Control-"), "{answer}");
    }
    let twice = [("Origin", "http://127.0.0.1"), ("Origin", PAGE)];
    assert_eq!(status(&bench.exchange(&request_with("GET", ACTIONS, &twice, "")).await), 404);
}

// Ruling: ACCESS-2.
#[tokio::test]
async fn the_addresses_that_system_shows_are_its_own() {
    let bench = TestDevice::start(Setup::default()).await;
    let changed: Result<(), Infallible> = bench.device.configure(|config| {
        config.wifi.enable = true;
        "home".clone_into(&mut config.wifi.name);
        Ok(())
    });
    changed.unwrap();
    let system = bench.get("/api/v1/system").await;
    let system: serde_json::Value = serde_json::from_str(body(&system)).unwrap();
    let port = bench.server.address().port();
    for own in ["wifi", "ethernet"].map(|link| system[link]["ip"].as_str().unwrap()) {
        for origin in [format!("http://{own}"), format!("http://{own}:{port}")] {
            let answer = from(&bench, &origin, "GET", ACTIONS).await;
            assert_eq!((status(&answer), allowed(&answer)), (200, Some(&*origin)));
        }
        for origin in [format!("http://{own}:5173"), format!("https://{own}")] {
            assert_eq!(status(&from(&bench, &origin, "GET", ACTIONS).await), 404, "{origin}");
        }
    }
    let wifi = format!("http://{}", system["wifi"]["ip"].as_str().unwrap());
    let left: Result<(), Infallible> = bench.device.configure(|config| {
        config.wifi.enable = false;
        Ok(())
    });
    left.unwrap();
    assert_eq!(status(&from(&bench, &wifi, "GET", ACTIONS).await), 404, "it has none there now");
}

// Ruling: HTTP-4.
#[tokio::test]
async fn a_refused_page_changes_nothing() {
    let bench = TestDevice::start(Setup::default()).await;
    assert_eq!(status(&from(&bench, PAGE, "DELETE", ACTIONS).await), 404);
    assert!(bench.device.definition().is_some());
    let answer = preflight(&bench, ACTIONS, &[]).await;
    assert_eq!((status(&answer), allowed(&answer)), (404, None));
}

// Ruling: ACCESS-2, ACCESS-3.
#[tokio::test]
async fn the_own_pages_follow_the_host_name() {
    let bench = TestDevice::start(Setup::default()).await;
    let renamed: Result<(), Infallible> = bench.device.configure(|config| {
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
        assert_eq!(status(&from(&bench, origin, "GET", ACTIONS).await), expected, "{origin}");
    }
}

// Ruling: ACCESS-4.
#[tokio::test]
async fn a_scenario_lets_in_others() {
    let bench = with_origins(&["http://localhost:*", "https://app.example"]).await;
    for origin in [PAGE, "http://localhost", "https://app.example"] {
        assert_eq!(allowed(&from(&bench, origin, "GET", ACTIONS).await), Some(origin));
    }
    for origin in ["http://127.0.0.1:5173", "http://app.example", "https://localhost:5173"] {
        assert_eq!(status(&from(&bench, origin, "GET", ACTIONS).await), 404, "{origin}");
    }
}

// Ruling: ACCESS-7.
#[tokio::test]
async fn a_page_can_read_where_the_status_of_its_call_is() {
    let bench = with_origins(&[PAGE]).await;
    let call = from(&bench, PAGE, "POST", "/api/v1/actions/call?id=1").await;
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
async fn errors_are_for_the_page_too() {
    let access = AccessPolicy { origins: vec![PAGE.parse().unwrap()], ..AccessPolicy::default() };
    let bench =
        TestDevice::start(Setup { access, license: License::Free, ..Setup::default() }).await;
    for (method, path, expected) in [
        ("GET", "/nowhere", 404),
        ("GET", ACTIONS, 404),
        ("PUT", ACTIONS, 405),
        // No preflight without a method that is asked for.
        ("OPTIONS", ACTIONS, 405),
    ] {
        let answer = from(&bench, PAGE, method, path).await;
        assert_eq!((status(&answer), allowed(&answer)), (expected, Some(PAGE)), "{method} {path}");
    }
    let large = request_with("POST", "/nowhere", &[("Origin", PAGE)], &"x".repeat(9000));
    let mut client = bench.connect().await;
    client.send(&large).await;
    assert_eq!(allowed(&client.rest().await.unwrap()), Some(PAGE));
    protect(&bench);
    let answer = from(&bench, PAGE, "GET", ACTIONS).await;
    assert_eq!((status(&answer), allowed(&answer)), (401, Some(PAGE)));
    assert_eq!(
        header(&answer, "Access-Control-Expose-Headers"),
        Some("Location, WWW-Authenticate, Retry-After")
    );
}

// Ruling: ACCESS-6, HTTP-4.
#[tokio::test]
async fn a_preflight_is_answered_without_authentication_and_for_any_path() {
    let bench = with_origins(&[PAGE]).await;
    protect(&bench);
    for path in [ACTIONS, "/nowhere"] {
        let wanted = [("Access-Control-Request-Headers", "authorization,content-type")];
        let answer = preflight(&bench, path, &wanted).await;
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
    let answer = preflight(&bench, ACTIONS, &private).await;
    assert_eq!(header(&answer, "Access-Control-Allow-Private-Network"), Some("true"));
    assert_eq!(
        header(&answer, "Access-Control-Allow-Headers"),
        Some("Authorization, Content-Type")
    );
}

// Ruling: FAULT-5.
#[tokio::test]
async fn a_fault_is_what_a_page_sees_as_a_program_does() {
    let bench = with_origins(&[PAGE]).await;
    bench.add_fault(ApiEffect::Status { code: 503, retry_after: Some(3) }, Trigger::default());
    assert_eq!(status(&preflight(&bench, ACTIONS, &[]).await), 204);
    assert_eq!(bench.engine.get("fault").unwrap().evaluated, 0, "nor does it count");
    let answer = from(&bench, PAGE, "GET", ACTIONS).await;
    assert_eq!((status(&answer), allowed(&answer)), (503, Some(PAGE)));
    let answer = from(&bench, "http://evil.example", "GET", ACTIONS).await;
    assert_eq!((status(&answer), allowed(&answer)), (503, None));

    let place = ApiPlace { method: Some(Method::Options), ..ApiPlace::default() };
    let fault = Fault::Api(place, ApiEffect::Status { code: 500, retry_after: None });
    bench.engine.add(Rule { id: "preflights".into(), fault, when: Trigger::default() }).unwrap();
    assert_eq!(status(&preflight(&bench, ACTIONS, &[]).await), 500, "where it is named");
}

/// In a process of its own: within this one, other tests have a say in what is logged.
#[cfg(feature = "cli")]
#[tokio::test]
async fn the_log_says_once_how_to_let_a_page_in() {
    let folder = std::env::temp_dir().join(format!("wwsim-cors-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (scenario, ready, log) =
        (folder.join("house.yaml"), folder.join("ready.json"), folder.join("log"));
    std::fs::write(&scenario, "device: {}\n").unwrap();
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_wwsim"));
    command.arg("run").arg(&scenario).args(["--any-port", "--ready-file"]).arg(&ready);
    command.env_remove("WWSIM_LOG").stdout(std::process::Stdio::null()).kill_on_drop(true);
    let mut house = command.stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap();
    crate::device_harness::eventually(|| ready.exists()).await;
    let ready: serde_json::Value = serde_json::from_slice(&std::fs::read(&ready).unwrap()).unwrap();
    let device = ready["devices"][0]["http"].as_str().unwrap();
    let device: std::net::SocketAddr = device.strip_prefix("http://").unwrap().parse().unwrap();
    let ask = async |origin: &str| {
        let request = format!(
            "GET {ACTIONS} HTTP/1.1\r\nHost: x\r\nOrigin: {origin}\r\nConnection: close\r\n\r\n"
        );
        let answer = crate::harness::exchange(device, request.as_bytes()).await;
        assert!(String::from_utf8_lossy(&answer).contains("not_found"), "{origin}");
    };
    for origin in [PAGE, PAGE, "http://127.0.0.1:3"] {
        ask(origin).await;
    }
    let text = std::fs::read_to_string(&log).unwrap();
    assert_eq!(text.matches("`cors: {origins: [\"http://localhost:5173\"]}`").count(), 1, "{text}");
    assert_eq!(text.matches("A842E39F8124").count(), 2, "{text}");
    for n in 0..200 {
        ask(&format!("http://{n}.example")).await;
    }
    house.kill().await.unwrap();
    let lines = std::fs::read_to_string(&log).unwrap().lines().count();
    assert_eq!(lines, 64, "and does not drown in them");
    std::fs::remove_dir_all(&folder).unwrap();
}
