//! The `OpenAPI` description, compared with the replies of a device.

use serde_json::{Value, json};
use wwsim::device::License;
use wwsim::surface::http::openapi;

use crate::support::device::{Setup, TestDevice, body, header, request, status};

/// Returns the schema of a response, with the components that it refers to.
fn response_schema(document: &Value, path: &str, method: &str, status: u16, kind: &str) -> Value {
    let answer = &document["paths"][path][method]["responses"][status.to_string()];
    let mut schema = answer["content"][kind]["schema"].clone();
    assert!(schema.is_object(), "{method} {path} {status} {kind} is not described: {answer}");
    schema["components"] = document["components"].clone();
    schema
}

/// Sends a request and checks that the reply is as described. Returns the status.
async fn check_reply(fixture: &TestDevice, method: &str, path: &str, sent: &str) -> u16 {
    let document = openapi::document();
    let answer = fixture.exchange_one(&request(method, path, sent)).await;
    let (status, described) = (status(&answer), path.split('?').next().unwrap());
    let method = method.to_ascii_lowercase();
    let kind = header(&answer, "Content-Type");
    let kind = kind.map(|kind| kind.split(';').next().unwrap());
    let Some(kind) = kind else {
        let answers = &document["paths"][described][&method]["responses"];
        assert!(answers[status.to_string()].is_object(), "{method} {path} {status}");
        return status;
    };
    let schema = response_schema(&document, described, &method, status, kind);
    if kind == "application/json" {
        let instance: Value = serde_json::from_str(body(&answer)).unwrap();
        let errors = jsonschema::validator_for(&schema).unwrap();
        let errors: Vec<String> = errors
            .iter_errors(&instance)
            .map(|error| format!("{} at {}", error, error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{method} {path}: {errors:?}: {instance:#}");
    }
    status
}

#[tokio::test]
async fn replies_to_get_are_as_described() {
    let fixture = TestDevice::start(Setup::default()).await;
    let document = openapi::document();
    let mut checked = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        // Streams do not end, a scan takes some seconds, and paths with a parameter are checked below.
        let excluded = ["/api/v1/live", "/api/v1/berry/console", "/api/v1/wifi/scan"];
        if methods["get"].is_null() || excluded.contains(&path.as_str()) || path.contains('{') {
            continue;
        }
        let id = if path.ends_with("/status") { "?id=1" } else { "" };
        check_reply(&fixture, "GET", &format!("{path}{id}"), "").await;
        checked += 1;
    }
    assert!(checked >= 10, "{checked}");
}

#[tokio::test]
async fn replies_to_calls_and_writes_are_as_described() {
    let fixture = TestDevice::start(Setup::default()).await;
    for (method, path, sent, expected) in [
        ("POST", "/api/v1/actions", "nonsense", 400),
        ("POST", "/api/v1/actions/call?id=1", "", 202),
        ("POST", "/api/v1/actions/call?id=1", "", 409),
        ("POST", "/api/v1/actions/call?id=nobody", "", 404),
        ("POST", "/api/v1/actions/call", "", 400),
        ("GET", "/api/v1/actions/status?id=139", "", 200),
        ("GET", "/api/v1/actions/status?id=x", "", 400),
        ("DELETE", "/api/v1/actions", "", 204),
        ("GET", "/api/v1/actions", "", 404),
        ("PUT", "/api/v1/settings", r#"{"system":{"name":"x"}}"#, 200),
        ("PUT", "/api/v1/settings", r#"{"system":{"name":1}}"#, 400),
        ("POST", "/api/v1/meter/settings", "{}", 200),
        ("POST", "/api/v1/meter/scalers/custom", r#"[{"obis":"1.7.0","scaler":3}]"#, 200),
        ("POST", "/api/v1/meter/scalers/custom", r#"[{"obis":"1.7.0","scaler":7}]"#, 400),
        ("PUT", "/api/v1/eth/settings", r#"{"enable":true}"#, 200),
        ("DELETE", "/api/v1/wifi/sta/settings", "", 204),
        ("POST", "/api/v1/template/test", "${sys.id}", 200),
        ("PUT", "/api/v1/mqtt/settings", r#"{"username":"me","password":"secret"}"#, 200),
        ("PUT", "/api/v1/mqtt/settings", r#"{"url":"http://no"}"#, 400),
        ("POST", "/api/v1/berry", "print(1)", 200),
        ("PUT", "/api/v1/berry?run=true", "", 200),
        ("GET", "/api/v1/berry", "", 200),
        ("GET", "/sdcard/", "", 200),
        ("DELETE", "/sdcard/", "", 400),
        ("POST", "/load", "", 415),
        ("POST", "/api/v1/modbus", r#"[{"start_address":0,"registers":[{"id":"1.7.0"}]}]"#, 200),
        ("GET", "/api/v1/modbus?address_format=hex", "", 200),
        ("GET", "/api/v1/modbus?address_format=oct", "", 400),
        ("DELETE", "/api/v1/modbus", "", 204),
    ] {
        assert_eq!(
            check_reply(&fixture, method, path, sent).await,
            expected,
            "{method} {path} {sent}"
        );
    }
    let large = "x".repeat(9000);
    assert_eq!(check_reply(&fixture, "PUT", "/api/v1/settings", &large).await, 413);
    let fixture = TestDevice::start(Setup { license: License::Free, ..Setup::default() }).await;
    assert_eq!(check_reply(&fixture, "GET", "/api/v1/actions", "").await, 404);
}

#[test]
fn the_description_has_firmware_licence_and_limits() {
    let document = openapi::document();
    assert_eq!(document["openapi"], "3.1.0");
    let call = &document["paths"]["/api/v1/actions/call"]["post"];
    assert_eq!((&call["x-since"], &call["x-license"]), (&json!("1.6.1"), &json!("PLUS")));
    assert_eq!(call["responses"]["404"]["content"]["text/plain"]["schema"]["type"], "string");
    assert_eq!(
        call["responses"]["202"]["headers"]["Location"]["schema"]["pattern"],
        "^/api/v1/actions/status\\?id=[0-9]+(,[0-9]+)*$"
    );
    let settings = &document["components"]["schemas"]["SettingsWrite"]["properties"];
    assert_eq!(settings["system"]["properties"]["name"]["maxLength"], 31);
}

#[test]
fn references_resolve_and_schemas_are_valid() {
    fn check_references(value: &Value, document: &Value) {
        match value {
            Value::Object(members) => {
                if let Some(target) = value["$ref"].as_str() {
                    let found = document.pointer(target.trim_start_matches('#'));
                    assert!(found.is_some(), "{target}");
                }
                members.values().for_each(|member| check_references(member, document));
            }
            Value::Array(items) => items.iter().for_each(|item| check_references(item, document)),
            _ => {}
        }
    }
    let document = openapi::document();
    check_references(&document, &document);
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        jsonschema::meta::validate(schema).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn the_committed_description_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/device.openapi.json");
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        std::fs::write(path, openapi::text()).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap();
    assert!(committed == openapi::text(), "stale: run scripts/regenerate and commit the result");
}
