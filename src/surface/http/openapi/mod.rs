//! The `OpenAPI` 3.1 description of the device's API. Paths, methods, licences and firmware come from the
//! table of routes, fields from the tables of the configuration, request bodies and responses from
//! [`operations`]. Tests check that the two tables agree, and that the replies of a running device
//! agree with the description.
//!
//! The control plane serves it as `/openapi.json`; the repository has it as
//! `schema/device.openapi.json`.

mod operations;
mod schemas;

use serde_json::{Map, Value, json};

use self::operations::{MediaContent, Operation, Parameter, RequestBody};
use super::{ApiEndpoint, ApiRoute, ROUTES};

/// Returns the description as indented JSON with a newline at its end.
#[must_use]
pub fn text() -> String {
    format!("{:#}\n", document())
}

/// Returns true if the endpoint has a required query parameter.
pub(super) fn needs_query(route: &ApiRoute, endpoint: &ApiEndpoint) -> bool {
    operations_of(route, endpoint)
        .flat_map(|operation| operation.query)
        .any(|parameter| parameter.required)
}

fn operations_of(
    route: &ApiRoute,
    endpoint: &ApiEndpoint,
) -> impl Iterator<Item = &'static Operation> {
    operations::ALL.iter().filter(|operation| operation.belongs_to(route, endpoint))
}

/// Returns the description.
#[must_use]
pub fn document() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        for endpoint in route.endpoints {
            for operation in operations_of(route, endpoint) {
                let methods = paths.entry(operation.path()).or_insert_with(|| json!({}));
                let name = endpoint.method.as_str().to_ascii_lowercase();
                methods[name] = describe(route, endpoint, operation);
            }
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "whatwatt Go, as its twin answers",
            "version": env!("CARGO_PKG_VERSION"),
            "description": DESCRIPTION,
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "http://127.0.0.1:8080", "description": "The first device of a house." }],
        // The empty requirement is for a device without password protection.
        "security": [{}, { "digest": [] }, { "basic": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas::all(),
            "headers": {
                "Allow": {
                    "description": "The methods of this path.",
                    "schema": { "type": "string" },
                },
            },
            "securitySchemes": {
                "digest": {
                    "type": "http",
                    "scheme": "digest",
                    "description": "MD5-sess, without user name. From firmware 1.10.0 on, if \
                                    `system.protection` is true and there is a password.",
                },
                "basic": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "Without user name. Before firmware 1.10.0.",
                },
            },
        },
    })
}

const DESCRIPTION: &str = "The HTTP API of the whatwatt Go energy gateway (WW_Go_1.2) as wwsim, its digital twin, answers. \
     `x-since` is the first firmware that has a path; older ones answer 404. A path with `x-license` \
     answers 404 with the text `License required` if the licence is FREE. Every reply carries \
     `X-Content-Type-Options: nosniff` and `Cache-Control: no-store, no-cache`. Faults of a scenario \
     add answers that are not listed here.";

fn describe(route: &ApiRoute, endpoint: &ApiEndpoint, operation: &Operation) -> Value {
    let mut described = json!({
        "operationId": operation.id(),
        "summary": endpoint.about,
        "responses": responses(route, endpoint, operation),
    });
    let since = route.since;
    if since.major > 0 {
        described["x-since"] = since.to_string().into();
    }
    if route.licensed {
        described["x-license"] = "PLUS".into();
    }
    let parameters: Vec<Value> = operation
        .path_parameter()
        .into_iter()
        .chain(operation.query.iter().map(describe_parameter))
        .collect();
    if !parameters.is_empty() {
        described["parameters"] = parameters.into();
    }
    if let Some(body) = request_body(operation.body) {
        described["requestBody"] = body;
    }
    described
}

fn describe_parameter(parameter: &Parameter) -> Value {
    json!({
        "name": parameter.name,
        "in": "query",
        "required": parameter.required,
        "description": parameter.about,
        "schema": (parameter.schema)(),
    })
}

fn request_body(body: RequestBody) -> Option<Value> {
    let content = match body {
        RequestBody::None => return None,
        // The device ignores the Content-Type; this is the one that clients send.
        RequestBody::Json(name) => json!({ "application/json": { "schema": reference(name) } }),
        RequestBody::Text(about) => {
            json!({ "text/plain": { "schema": { "type": "string", "description": about } } })
        }
        RequestBody::Image => json!({ "multipart/form-data": { "schema": {
            "type": "object",
            "required": ["file"],
            "properties": { "file": { "type": "string", "format": "binary" } },
        } } }),
    };
    // An empty text is a valid body.
    let required = !matches!(body, RequestBody::Text(_));
    Some(json!({ "required": required, "content": content }))
}

/// The responses of every operation, beside its own.
const COMMON: [(u16, &str); 6] = [
    (400, "The body ended early."),
    (401, "A password is needed."),
    (404, "The origin of the page has no access, or the firmware does not have this path."),
    (408, "The body did not come in time."),
    (413, "The body is too large."),
    (429, "All nonces are in use; with `when_full: 429` in the scenario."),
];

fn responses(route: &ApiRoute, endpoint: &ApiEndpoint, operation: &Operation) -> Value {
    let mut responses = Map::new();
    for response in operation.responses {
        add_response(&mut responses, response.status, response.about, response.content);
    }
    for (status, about) in COMMON {
        add_response(&mut responses, status, about, MediaContent::Error);
    }
    if route.licensed {
        add_response(&mut responses, 404, "The licence is FREE.", MediaContent::Text);
    }
    responses["401"]["headers"] = json!({ "WWW-Authenticate": {
        "description": "The challenge.",
        "schema": { "type": "string" },
    } });
    let limit = endpoint.body_limit;
    let too_large = format!("The body has more than {limit} bytes.");
    if responses["413"]["description"] == COMMON[4].1 {
        responses["413"]["description"] = too_large.into();
    }
    responses.sort_keys();
    Value::Object(responses)
}

/// Adds a response. Responses with the same status share an entry with all descriptions and contents.
fn add_response(
    responses: &mut Map<String, Value>,
    status: u16,
    about: &str,
    content: MediaContent,
) {
    let entry = responses.entry(status.to_string()).or_insert_with(|| json!({}));
    let before = entry["description"].as_str().map_or_else(String::new, |text| format!("{text} "));
    entry["description"] = format!("{before}{about}").into();
    match content {
        MediaContent::Empty => {}
        MediaContent::Location => {
            entry["headers"] = json!({ "Location": {
                "description": "The path of the status of the requests; with `call_route: page`.",
                "schema": { "type": "string", "pattern": "^/api/v1/actions/status\\?id=[0-9]+(,[0-9]+)*$" },
            } });
        }
        MediaContent::Json(name) => add_media(entry, "application/json", reference(name)),
        MediaContent::Error => add_media(entry, "application/json", reference("Error")),
        MediaContent::Text => add_media(entry, "text/plain", json!({ "type": "string" })),
        MediaContent::Html => add_media(entry, "text/html", json!({ "type": "string" })),
        MediaContent::Events(name) => {
            let mut schema = json!({ "type": "string" });
            schema["x-events"] = reference(name);
            add_media(entry, "text/event-stream", schema);
        }
        MediaContent::File => add_media(entry, "*/*", json!({})),
    }
}

fn add_media(entry: &mut Value, kind: &str, schema: Value) {
    let schemas = Map::from_iter([("schema".to_owned(), schema)]);
    entry["content"][kind] = Value::Object(schemas);
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}
