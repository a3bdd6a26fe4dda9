//! The request bodies and responses of the operations: the part of the description that is in no other
//! table.

use serde_json::{Value, json};

use super::super::{ApiEndpoint, ApiRoute};
use crate::net::http::Method;

/// An operation of `OpenAPI`: a method of a path.
#[derive(Debug)]
pub(super) struct Operation {
    method: Method,
    /// The path of the route.
    route: &'static str,
    /// The suffix that replaces `*` at the end of the route's path.
    suffix: PathSuffix,
    pub(super) query: &'static [Parameter],
    pub(super) body: RequestBody,
    pub(super) responses: &'static [OperationReply],
}

/// The suffix of the path of a route that ends in `/*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PathSuffix {
    /// No suffix.
    None,
    /// A slash: the folder itself.
    Slash,
    /// A file or folder below it.
    Path,
}

/// A parameter of the query.
#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) required: bool,
    pub(super) about: &'static str,
    pub(super) schema: fn() -> Value,
}

/// The body of a request.
#[derive(Debug, Clone, Copy)]
pub(super) enum RequestBody {
    /// No body; one that is sent is ignored.
    None,
    /// JSON with the schema of this name.
    Json(&'static str),
    /// Text with this description.
    Text(&'static str),
    /// A firmware image in a form.
    Image,
}

/// A response of an operation, beside those that every operation may have.
#[derive(Debug)]
pub(super) struct OperationReply {
    pub(super) status: u16,
    pub(super) about: &'static str,
    pub(super) content: MediaContent,
}

/// The body of a response.
#[derive(Debug, Clone, Copy)]
pub(super) enum MediaContent {
    /// No body.
    Empty,
    /// No body, but a `Location` header.
    Location,
    /// JSON with the schema of this name.
    Json(&'static str),
    /// An error.
    Error,
    /// Text.
    Text,
    /// HTML.
    Html,
    /// Server-Sent Events; the schema of this name describes their data.
    Events(&'static str),
    /// The contents of a file.
    File,
}

impl Operation {
    const fn new(method: Method, route: &'static str) -> Self {
        Self {
            method,
            route,
            suffix: PathSuffix::None,
            query: &[],
            body: RequestBody::None,
            responses: &[],
        }
    }

    const fn with_suffix(mut self, suffix: PathSuffix) -> Self {
        self.suffix = suffix;
        self
    }

    const fn with_query(mut self, query: &'static [Parameter]) -> Self {
        self.query = query;
        self
    }

    const fn with_body(mut self, body: RequestBody) -> Self {
        self.body = body;
        self
    }

    const fn with_responses(mut self, responses: &'static [OperationReply]) -> Self {
        self.responses = responses;
        self
    }

    /// Returns true if this is an operation of the endpoint.
    pub(super) fn belongs_to(&self, route: &ApiRoute, endpoint: &ApiEndpoint) -> bool {
        self.route == route.path && self.method == endpoint.method
    }

    /// Returns the path as `OpenAPI` writes it.
    pub(super) fn path(&self) -> String {
        let base = self.route.strip_suffix("/*").unwrap_or(self.route);
        match self.suffix {
            PathSuffix::None => base.to_owned(),
            PathSuffix::Slash => format!("{base}/"),
            PathSuffix::Path => format!("{base}/{{path}}"),
        }
    }

    /// Returns the parameter for the rest of the path. `None` if the path has none.
    pub(super) fn path_parameter(&self) -> Option<Value> {
        (self.suffix == PathSuffix::Path).then(|| {
            json!({
                "name": "path",
                "in": "path",
                "required": true,
                "description": "A file; with a slash at its end, a folder.",
                "schema": { "type": "string", "minLength": 1 },
                "example": "20260115.CSV",
            })
        })
    }

    /// Returns the operation id, such as `get_api_v1_actions`.
    pub(super) fn id(&self) -> String {
        let words = self.path().replace(|c: char| !c.is_ascii_alphanumeric(), " ");
        let words: Vec<&str> = words.split_whitespace().collect();
        let method = self.method.as_str().to_ascii_lowercase();
        let name = if words.is_empty() { "page".to_owned() } else { words.join("_") };
        let folder = if self.suffix == PathSuffix::Slash { "_root" } else { "" };
        format!("{method}_{name}{folder}")
    }
}

/// A 200 with JSON.
const fn ok(about: &'static str, schema: &'static str) -> OperationReply {
    OperationReply { status: 200, about, content: MediaContent::Json(schema) }
}

const fn response(status: u16, about: &'static str, content: MediaContent) -> OperationReply {
    OperationReply { status, about, content }
}

const fn error(status: u16, about: &'static str) -> OperationReply {
    OperationReply { status, about, content: MediaContent::Error }
}

/// A 204.
const fn no_content(about: &'static str) -> OperationReply {
    OperationReply { status: 204, about, content: MediaContent::Empty }
}

const REFUSED: OperationReply =
    error(400, "The body is not JSON, or a field is invalid; `details` names the field.");

use Method::{Delete, Get, Post, Put};

/// All operations.
pub(super) static ALL: &[Operation] = &[
    Operation::new(Get, "/").with_responses(&[response(200, "The page.", MediaContent::Html)]),
    Operation::new(Get, "/api/v1/system").with_responses(&[ok("The device.", "System")]),
    Operation::new(Get, "/api/v1/report")
        .with_responses(&[ok("The newest reading; empty before the first.", "Report")]),
    Operation::new(Get, "/api/v1/report/objects")
        .with_responses(&[ok("The meter's objects; an empty list if the meter is not DLMS.", "ReportObjects")]),
    Operation::new(Get, "/api/v1/variables")
        .with_responses(&[ok("Each variable as an object of its own.", "Variables")]),
    Operation::new(Post, "/api/v1/template/test")
        .with_body(RequestBody::Text("A template with `${variable}` in it."))
        .with_responses(&[
            response(200, "The rendered text.", MediaContent::Text),
            error(400, "The template is too long or not UTF-8."),
        ]),
    Operation::new(Get, "/api/v1/live").with_responses(&[response(
        200,
        "An event for each reading, until another client takes the stream over.",
        MediaContent::Events("Live"),
    )]),
    Operation::new(Get, "/api/v1/actions").with_responses(&[
        ok("The definition.", "Actions"),
        error(404, "No definition is stored."),
    ]),
    Operation::new(Post, "/api/v1/actions")
        .with_body(RequestBody::Json("Actions"))
        .with_responses(&[ok("The definition as stored.", "Actions"), REFUSED]),
    Operation::new(Delete, "/api/v1/actions").with_responses(&[no_content("The definition is deleted.")]),
    Operation::new(Post, "/api/v1/actions/call")
        .with_query(&[Parameter {
            name: "id",
            required: true,
            about: "The action.",
            schema: || json!({ "type": "string", "minLength": 1, "examples": ["1"] }),
        }])
        .with_responses(&[
            response(
                202,
                "At least one request was queued. With `call_route: rest` the reply has a body \
                 (`StatusIds`) and no `Location`.",
                MediaContent::Location,
            ),
            error(400, "The `id` is missing, or the action is disabled or has no enabled request."),
            error(404, "No action has this id."),
            error(409, "A request of an earlier run has not finished."),
            error(429, "20 requests are in progress."),
        ]),
    Operation::new(Get, "/api/v1/actions/status")
        .with_query(&[Parameter {
            name: "id",
            required: true,
            about: "Status ids, with commas between them.",
            schema: || json!({ "type": "string", "pattern": "^[0-9]{1,9}(,[0-9]{1,9})*$" }),
        }])
        .with_responses(&[
            ok("The requests that the device remembers, in the order of the query.", "Statuses"),
            error(400, "The `id` is missing or not a list of numbers."),
            error(404, "The device remembers none of the requests."),
        ]),
    Operation::new(Get, "/api/v1/settings").with_responses(&[ok("The settings.", "Settings")]),
    Operation::new(Put, "/api/v1/settings")
        .with_body(RequestBody::Json("SettingsWrite"))
        .with_responses(&[ok("The settings after the change.", "Settings"), REFUSED]),
    Operation::new(Post, "/api/v1/settings")
        .with_body(RequestBody::Json("SettingsWrite"))
        .with_responses(&[ok("The settings after the change.", "Settings"), REFUSED]),
    Operation::new(Get, "/api/v1/meter/settings")
        .with_responses(&[ok("The settings.", "MeterSettings")]),
    Operation::new(Put, "/api/v1/meter/settings")
        .with_body(RequestBody::Json("MeterSettingsWrite"))
        .with_responses(&[ok("The settings after the change.", "MeterSettings"), REFUSED]),
    Operation::new(Post, "/api/v1/meter/settings")
        .with_body(RequestBody::Json("MeterSettingsWrite"))
        .with_responses(&[ok("The settings after the change.", "MeterSettings"), REFUSED]),
    Operation::new(Get, "/api/v1/meter/scalers/current")
        .with_responses(&[ok("The scalers; an empty list if the meter is not DLMS.", "Scalers")]),
    Operation::new(Get, "/api/v1/meter/scalers/custom")
        .with_responses(&[ok("The user's scalers.", "Scalers")]),
    Operation::new(Post, "/api/v1/meter/scalers/custom")
        .with_body(RequestBody::Json("Scalers"))
        .with_responses(&[ok("The user's scalers after the change.", "Scalers"), REFUSED]),
    Operation::new(Get, "/api/v1/modbus")
        .with_query(&[Parameter {
            name: "address_format",
            required: false,
            about: "Selects the detailed listing, with addresses in this format; from firmware 2.0.2 on.",
            schema: || json!({ "enum": ["dec", "hex"] }),
        }])
        .with_responses(&[ok("The map in force.", "RegisterMap"), error(400, "The format is unknown.")]),
    Operation::new(Post, "/api/v1/modbus")
        .with_body(RequestBody::Json("RegisterMapWrite"))
        .with_responses(&[ok("The map in force.", "RegisterMap"), REFUSED]),
    Operation::new(Delete, "/api/v1/modbus").with_responses(&[no_content("The default map is in force.")]),
    Operation::new(Get, "/api/v1/mqtt/settings").with_responses(&[ok("The settings.", "MqttSettings")]),
    Operation::new(Put, "/api/v1/mqtt/settings")
        .with_body(RequestBody::Json("MqttSettingsWrite"))
        .with_responses(&[ok("The settings after the change.", "MqttSettings"), REFUSED]),
    Operation::new(Post, "/api/v1/mqtt/settings")
        .with_body(RequestBody::Json("MqttSettingsWrite"))
        .with_responses(&[ok("The settings after the change.", "MqttSettings"), REFUSED]),
    Operation::new(Get, "/api/v1/wifi/scan")
        .with_responses(&[ok("The networks, after some seconds.", "WifiNetworks")]),
    Operation::new(Get, "/api/v1/wifi/sta/settings")
        .with_responses(&[ok("The settings.", "WifiSettings")]),
    Operation::new(Put, "/api/v1/wifi/sta/settings")
        .with_body(RequestBody::Json("WifiSettingsWrite"))
        .with_responses(&[ok("The settings after the change.", "WifiSettings"), REFUSED]),
    Operation::new(Post, "/api/v1/wifi/sta/settings")
        .with_body(RequestBody::Json("WifiSettingsWrite"))
        .with_responses(&[ok("The settings after the change.", "WifiSettings"), REFUSED]),
    Operation::new(Delete, "/api/v1/wifi/sta/settings").with_responses(&[no_content("The client is off.")]),
    Operation::new(Post, "/api/v1/wifi/wps").with_responses(&[no_content("The window is open.")]),
    Operation::new(Get, "/api/v1/eth/settings").with_responses(&[ok("The settings.", "EthSettings")]),
    Operation::new(Put, "/api/v1/eth/settings")
        .with_body(RequestBody::Json("EthSettingsWrite"))
        .with_responses(&[ok("The settings after the change.", "EthSettings"), REFUSED]),
    Operation::new(Post, "/api/v1/eth/settings")
        .with_body(RequestBody::Json("EthSettingsWrite"))
        .with_responses(&[ok("The settings after the change.", "EthSettings"), REFUSED]),
    Operation::new(Post, "/api/v1/reboot").with_responses(&[no_content("The device reboots.")]),
    Operation::new(Post, "/api/v1/restore")
        .with_responses(&[no_content("The device restores the factory settings and reboots.")]),
    Operation::new(Post, "/load").with_body(RequestBody::Image).with_responses(&[
        response(200, "A report of the upload; the device reboots.", MediaContent::Text),
        error(400, "The form has no field `file` with an image."),
        error(415, "The body is not `multipart/form-data`."),
        error(503, "Another upload is in progress."),
    ]),
    Operation::new(Get, "/sdcard/*").with_suffix(PathSuffix::Slash).with_responses(&[
        ok("The contents of the card.", "Listing"),
        NO_CARD,
    ]),
    Operation::new(Delete, "/sdcard/*")
        .with_suffix(PathSuffix::Slash)
        .with_responses(&[error(400, "The card itself cannot be deleted."), NO_CARD]),
    Operation::new(Get, "/sdcard/*").with_suffix(PathSuffix::Path).with_responses(&[
        response(200, "The file, with a media type by its extension, or the listing of a folder.", MediaContent::File),
        error(400, "The path is invalid."),
        error(404, "There is no such file or folder; from firmware 2.8.2 on 500."),
        response(500, "There is no such file or folder; before firmware 2.8.2 404.", MediaContent::Text),
        NO_CARD,
    ]),
    Operation::new(Delete, "/sdcard/*").with_suffix(PathSuffix::Path).with_responses(&[
        no_content("The file, or the folder with its contents, is deleted."),
        error(400, "The path is invalid, or is that of the card itself."),
        error(404, "There is no such file or folder."),
        NO_CARD,
    ]),
    Operation::new(Get, "/api/v1/berry").with_responses(&[
        response(200, "The script.", MediaContent::Text),
        error(404, "No script is stored."),
    ]),
    Operation::new(Post, "/api/v1/berry").with_body(RequestBody::Text("The script.")).with_responses(&[
        response(200, "The script as stored.", MediaContent::Text),
        error(400, "The script is not UTF-8."),
    ]),
    Operation::new(Put, "/api/v1/berry")
        .with_query(&[Parameter {
            name: "run",
            required: false,
            about: "Starts or stops the script; without it, the reply has the present state.",
            schema: || json!({ "type": "boolean" }),
        }])
        .with_responses(&[ok("The state of the script.", "Run"), error(400, "The value is neither true nor false.")]),
    Operation::new(Delete, "/api/v1/berry").with_responses(&[no_content("The script is deleted.")]),
    Operation::new(Get, "/api/v1/berry/console").with_responses(&[
        response(200, "The output of the script.", MediaContent::Events("Console")),
        error(503, "Another client has the console."),
    ]),
];

const NO_CARD: OperationReply = error(503, "There is no card, or it does not answer.");

#[cfg(test)]
mod tests {
    use super::super::super::ROUTES;
    use super::*;

    #[test]
    fn the_operations_are_those_of_the_routes() {
        let endpoints =
            || ROUTES.iter().flat_map(|route| route.endpoints.iter().map(move |it| (route, it)));
        for (route, endpoint) in endpoints() {
            let described = ALL.iter().any(|operation| operation.belongs_to(route, endpoint));
            assert!(described, "{} {}", endpoint.method.as_str(), route.path);
        }
        for operation in ALL {
            let exists = endpoints().any(|(route, endpoint)| operation.belongs_to(route, endpoint));
            assert!(exists, "{}", operation.id());
        }
    }
}
