//! The device's API in the words of `OpenAPI` 3.1: paths, methods, licence and firmware from the table of
//! routes, fields from the tables of the configuration, and what each operation takes and answers
//! from [`operations`]. A test holds the two tables to each other, and the answers of a running
//! device to this.
//!
//! Served by the control plane as `/openapi.json`, kept as `schema/device.openapi.json`.

mod operations;
mod schemas;

use serde_json::{Map, Value, json};

use self::operations::{MediaContent, Operation, Parameter, Takes};
use super::{ApiEndpoint, ApiRoute, ROUTES};

/// The description, as JSON for people: indented, with a line end.
#[must_use]
pub fn text() -> String {
    format!("{:#}\n", document())
}

/// Whether it answers only to a query.
pub(super) fn needs_query(route: &ApiRoute, endpoint: &ApiEndpoint) -> bool {
    operations_of(route, endpoint)
        .flat_map(|operation| operation.query)
        .any(|parameter| parameter.required)
}

fn operations_of(
    route: &ApiRoute,
    endpoint: &ApiEndpoint,
) -> impl Iterator<Item = &'static Operation> {
    operations::ALL.iter().filter(|operation| operation.is_of(route, endpoint))
}

/// The description.
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
        // Open unless protected.
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
                    "description": "MD5-sess, without user name. From firmware 1.10.0 on, where \
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
     answers 404 with the text `License required` where the licence is FREE. Every reply carries \
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
    let parameters: Vec<Value> =
        operation.path_parameter().into_iter().chain(operation.query.iter().map(query)).collect();
    if !parameters.is_empty() {
        described["parameters"] = parameters.into();
    }
    if let Some(body) = request_body(operation.takes) {
        described["requestBody"] = body;
    }
    described
}

fn query(parameter: &Parameter) -> Value {
    json!({
        "name": parameter.name,
        "in": "query",
        "required": parameter.required,
        "description": parameter.about,
        "schema": (parameter.schema)(),
    })
}

fn request_body(takes: Takes) -> Option<Value> {
    let content = match takes {
        Takes::Nothing => return None,
        // The device looks at the body alone; this is what clients that say anything say.
        Takes::Json(name) => json!({ "application/json": { "schema": reference(name) } }),
        Takes::Text(about) => {
            json!({ "text/plain": { "schema": { "type": "string", "description": about } } })
        }
        Takes::Image => json!({ "multipart/form-data": { "schema": {
            "type": "object",
            "required": ["file"],
            "properties": { "file": { "type": "string", "format": "binary" } },
        } } }),
    };
    // An empty text is one, too.
    let required = !matches!(takes, Takes::Text(_));
    Some(json!({ "required": required, "content": content }))
}

/// What every operation may answer, beside its own.
const COMMON: [(u16, &str); 5] = [
    (400, "The body broke off."),
    (401, "A password is needed."),
    (404, "The page that asks has an origin without access, or the firmware does not have this."),
    (408, "The body did not come in time."),
    (413, "The body is too large."),
];

fn responses(route: &ApiRoute, endpoint: &ApiEndpoint, operation: &Operation) -> Value {
    let mut responses = Map::new();
    for answer in operation.answers {
        add(&mut responses, answer.status, answer.about, answer.content);
    }
    for (status, about) in COMMON {
        add(&mut responses, status, about, MediaContent::Error);
    }
    if route.licensed {
        add(&mut responses, 404, "The licence is FREE.", MediaContent::Text);
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

/// Adds an answer; of several with one status the descriptions and contents stand together.
fn add(responses: &mut Map<String, Value>, status: u16, about: &str, content: MediaContent) {
    let entry = responses.entry(status.to_string()).or_insert_with(|| json!({}));
    let said = entry["description"].as_str().map_or_else(String::new, |said| format!("{said} "));
    entry["description"] = format!("{said}{about}").into();
    match content {
        MediaContent::Empty => {}
        MediaContent::Location => {
            entry["headers"] = json!({ "Location": {
                "description": "Where the status of the requests is; with `call_route: page`.",
                "schema": { "type": "string", "pattern": "^/api/v1/actions/status\\?id=[0-9]+(,[0-9]+)*$" },
            } });
        }
        MediaContent::Json(name) => media(entry, "application/json", reference(name)),
        MediaContent::Error => media(entry, "application/json", reference("Error")),
        MediaContent::Text => media(entry, "text/plain", json!({ "type": "string" })),
        MediaContent::Html => media(entry, "text/html", json!({ "type": "string" })),
        MediaContent::Events(name) => {
            let mut schema = json!({ "type": "string" });
            schema["x-events"] = reference(name);
            media(entry, "text/event-stream", schema);
        }
        MediaContent::File => media(entry, "*/*", json!({})),
    }
}

fn media(entry: &mut Value, kind: &str, schema: Value) {
    let schemas = Map::from_iter([("schema".to_owned(), schema)]);
    entry["content"][kind] = Value::Object(schemas);
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}
