//! What each operation takes and answers: the part of the description that is in no other table.

use serde_json::{Value, json};

use super::super::{ApiEndpoint, ApiRoute};
use crate::fault::Method;

/// A method of a path, as `OpenAPI` has them.
#[derive(Debug)]
pub(super) struct Operation {
    method: Method,
    /// The path of its route.
    route: &'static str,
    /// What stands for `*` at the end of the route's path.
    rest: PathSuffix,
    pub(super) query: &'static [Parameter],
    pub(super) takes: Takes,
    pub(super) answers: &'static [OperationReply],
}

/// What follows the path of a route that ends in `/*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PathSuffix {
    /// Nothing.
    No,
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

/// A request's body.
#[derive(Debug, Clone, Copy)]
pub(super) enum Takes {
    /// None that is looked at.
    Nothing,
    /// JSON, by the name of its schema.
    Json(&'static str),
    /// Text.
    Text(&'static str),
    /// A firmware image in a form.
    Image,
}

/// An answer, beside those that every operation may give.
#[derive(Debug)]
pub(super) struct OperationReply {
    pub(super) status: u16,
    pub(super) about: &'static str,
    pub(super) content: MediaContent,
}

/// An answer's body.
#[derive(Debug, Clone, Copy)]
pub(super) enum MediaContent {
    /// None.
    Empty,
    /// None, and a `Location`.
    Location,
    /// JSON, by the name of its schema.
    Json(&'static str),
    /// An error.
    Error,
    /// Text.
    Text,
    /// HTML.
    Html,
    /// Server-Sent Events, by the name of the schema of their data.
    Events(&'static str),
    /// Whatever is in the file.
    File,
}

impl Operation {
    const fn of(method: Method, route: &'static str) -> Self {
        Self {
            method,
            route,
            rest: PathSuffix::No,
            query: &[],
            takes: Takes::Nothing,
            answers: &[],
        }
    }

    const fn under(mut self, rest: PathSuffix) -> Self {
        self.rest = rest;
        self
    }

    const fn asked(mut self, query: &'static [Parameter]) -> Self {
        self.query = query;
        self
    }

    const fn takes(mut self, takes: Takes) -> Self {
        self.takes = takes;
        self
    }

    const fn answers(mut self, answers: &'static [OperationReply]) -> Self {
        self.answers = answers;
        self
    }

    /// Whether it is one of this endpoint's.
    pub(super) fn is_of(&self, route: &ApiRoute, endpoint: &ApiEndpoint) -> bool {
        self.route == route.path && self.method == endpoint.method
    }

    /// The path as `OpenAPI` writes it.
    pub(super) fn path(&self) -> String {
        let base = self.route.strip_suffix("/*").unwrap_or(self.route);
        match self.rest {
            PathSuffix::No => base.to_owned(),
            PathSuffix::Slash => format!("{base}/"),
            PathSuffix::Path => format!("{base}/{{path}}"),
        }
    }

    pub(super) fn path_parameter(&self) -> Option<Value> {
        (self.rest == PathSuffix::Path).then(|| {
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

    /// As `get_api_v1_actions`.
    pub(super) fn id(&self) -> String {
        let words = self.path().replace(|c: char| !c.is_ascii_alphanumeric(), " ");
        let words: Vec<&str> = words.split_whitespace().collect();
        let method = self.method.as_str().to_ascii_lowercase();
        let name = if words.is_empty() { "page".to_owned() } else { words.join("_") };
        let folder = if self.rest == PathSuffix::Slash { "_root" } else { "" };
        format!("{method}_{name}{folder}")
    }
}

const fn ok(about: &'static str, schema: &'static str) -> OperationReply {
    OperationReply { status: 200, about, content: MediaContent::Json(schema) }
}

const fn answer(status: u16, about: &'static str, content: MediaContent) -> OperationReply {
    OperationReply { status, about, content }
}

const fn error(status: u16, about: &'static str) -> OperationReply {
    OperationReply { status, about, content: MediaContent::Error }
}

const fn done(about: &'static str) -> OperationReply {
    OperationReply { status: 204, about, content: MediaContent::Empty }
}

const REFUSED: OperationReply =
    error(400, "It is no JSON, or a field was refused; `details` names it.");

use Method::{Delete, Get, Post, Put};

/// All of them.
pub(super) static ALL: &[Operation] = &[
    Operation::of(Get, "/").answers(&[answer(200, "What this is.", MediaContent::Html)]),
    Operation::of(Get, "/api/v1/system").answers(&[ok("The device.", "System")]),
    Operation::of(Get, "/api/v1/report")
        .answers(&[ok("The newest reading; empty before the first.", "Report")]),
    Operation::of(Get, "/api/v1/report/objects")
        .answers(&[ok("The meter's objects; none of a meter that is not DLMS.", "ReportObjects")]),
    Operation::of(Get, "/api/v1/variables")
        .answers(&[ok("Each variable as an object of its own.", "Variables")]),
    Operation::of(Post, "/api/v1/template/test")
        .takes(Takes::Text("A template with `${variable}` in it."))
        .answers(&[
            answer(200, "The text that comes of it.", MediaContent::Text),
            error(400, "It is too long, or no UTF-8."),
        ]),
    Operation::of(Get, "/api/v1/live").answers(&[answer(
        200,
        "An event for each reading, until another client takes the stream over.",
        MediaContent::Events("Live"),
    )]),
    Operation::of(Get, "/api/v1/actions").answers(&[
        ok("The definition.", "Actions"),
        error(404, "There is none."),
    ]),
    Operation::of(Post, "/api/v1/actions")
        .takes(Takes::Json("Actions"))
        .answers(&[ok("The definition as stored.", "Actions"), REFUSED]),
    Operation::of(Delete, "/api/v1/actions").answers(&[done("There is none any more.")]),
    Operation::of(Post, "/api/v1/actions/call")
        .asked(&[Parameter {
            name: "id",
            required: true,
            about: "The action.",
            schema: || json!({ "type": "string", "minLength": 1, "examples": ["1"] }),
        }])
        .answers(&[
            answer(
                202,
                "At least one of its requests was queued. With `call_route: rest` a body says which, \
                 as `StatusIds`, and there is no `Location`.",
                MediaContent::Location,
            ),
            error(400, "No `id`, or the action is disabled or has no enabled request."),
            error(404, "There is no such action."),
            error(409, "A request of an earlier run has not finished."),
            error(429, "20 requests are in progress."),
        ]),
    Operation::of(Get, "/api/v1/actions/status")
        .asked(&[Parameter {
            name: "id",
            required: true,
            about: "Status ids, with commas between them.",
            schema: || json!({ "type": "string", "pattern": "^[0-9]{1,9}(,[0-9]{1,9})*$" }),
        }])
        .answers(&[
            ok("The requests that are known, in the order asked.", "Statuses"),
            error(400, "No `id`, or one that is no number."),
            error(404, "None is known."),
        ]),
    Operation::of(Get, "/api/v1/settings").answers(&[ok("The settings.", "Settings")]),
    Operation::of(Put, "/api/v1/settings")
        .takes(Takes::Json("SettingsWrite"))
        .answers(&[ok("The settings now.", "Settings"), REFUSED]),
    Operation::of(Post, "/api/v1/settings")
        .takes(Takes::Json("SettingsWrite"))
        .answers(&[ok("The settings now.", "Settings"), REFUSED]),
    Operation::of(Get, "/api/v1/meter/settings")
        .answers(&[ok("The settings.", "MeterSettings")]),
    Operation::of(Put, "/api/v1/meter/settings")
        .takes(Takes::Json("MeterSettingsWrite"))
        .answers(&[ok("The settings now.", "MeterSettings"), REFUSED]),
    Operation::of(Post, "/api/v1/meter/settings")
        .takes(Takes::Json("MeterSettingsWrite"))
        .answers(&[ok("The settings now.", "MeterSettings"), REFUSED]),
    Operation::of(Get, "/api/v1/meter/scalers/current")
        .answers(&[ok("The scalers; none of a meter that is not DLMS.", "Scalers")]),
    Operation::of(Get, "/api/v1/meter/scalers/custom")
        .answers(&[ok("The user's scalers.", "Scalers")]),
    Operation::of(Post, "/api/v1/meter/scalers/custom")
        .takes(Takes::Json("Scalers"))
        .answers(&[ok("The user's scalers now.", "Scalers"), REFUSED]),
    Operation::of(Get, "/api/v1/modbus")
        .asked(&[Parameter {
            name: "address_format",
            required: false,
            about: "Asks for the detailed listing, with addresses of this kind; from firmware 2.0.2 on.",
            schema: || json!({ "enum": ["dec", "hex"] }),
        }])
        .answers(&[ok("The map in force.", "RegisterMap"), error(400, "No such format.")]),
    Operation::of(Post, "/api/v1/modbus")
        .takes(Takes::Json("RegisterMapWrite"))
        .answers(&[ok("The map in force.", "RegisterMap"), REFUSED]),
    Operation::of(Delete, "/api/v1/modbus").answers(&[done("The default map is in force.")]),
    Operation::of(Get, "/api/v1/mqtt/settings").answers(&[ok("The settings.", "MqttSettings")]),
    Operation::of(Put, "/api/v1/mqtt/settings")
        .takes(Takes::Json("MqttSettingsWrite"))
        .answers(&[ok("The settings now.", "MqttSettings"), REFUSED]),
    Operation::of(Post, "/api/v1/mqtt/settings")
        .takes(Takes::Json("MqttSettingsWrite"))
        .answers(&[ok("The settings now.", "MqttSettings"), REFUSED]),
    Operation::of(Get, "/api/v1/wifi/scan")
        .answers(&[ok("The networks, after some seconds.", "WifiNetworks")]),
    Operation::of(Get, "/api/v1/wifi/sta/settings")
        .answers(&[ok("The settings.", "WifiSettings")]),
    Operation::of(Put, "/api/v1/wifi/sta/settings")
        .takes(Takes::Json("WifiSettingsWrite"))
        .answers(&[ok("The settings now.", "WifiSettings"), REFUSED]),
    Operation::of(Post, "/api/v1/wifi/sta/settings")
        .takes(Takes::Json("WifiSettingsWrite"))
        .answers(&[ok("The settings now.", "WifiSettings"), REFUSED]),
    Operation::of(Delete, "/api/v1/wifi/sta/settings").answers(&[done("The client is off.")]),
    Operation::of(Post, "/api/v1/wifi/wps").answers(&[done("The window is open.")]),
    Operation::of(Get, "/api/v1/eth/settings").answers(&[ok("The settings.", "EthSettings")]),
    Operation::of(Put, "/api/v1/eth/settings")
        .takes(Takes::Json("EthSettingsWrite"))
        .answers(&[ok("The settings now.", "EthSettings"), REFUSED]),
    Operation::of(Post, "/api/v1/eth/settings")
        .takes(Takes::Json("EthSettingsWrite"))
        .answers(&[ok("The settings now.", "EthSettings"), REFUSED]),
    Operation::of(Post, "/api/v1/reboot").answers(&[done("It is about to.")]),
    Operation::of(Post, "/api/v1/restore").answers(&[done("It is about to.")]),
    Operation::of(Post, "/load").takes(Takes::Image).answers(&[
        answer(200, "How it went; the device reboots.", MediaContent::Text),
        error(400, "The form has no `file` that is an image."),
        error(415, "It is no `multipart/form-data`."),
        error(503, "Another upload is under way."),
    ]),
    Operation::of(Get, "/sdcard/*").under(PathSuffix::Slash).answers(&[
        ok("What is on the card.", "Listing"),
        NO_CARD,
    ]),
    Operation::of(Delete, "/sdcard/*")
        .under(PathSuffix::Slash)
        .answers(&[error(400, "The card itself cannot be deleted."), NO_CARD]),
    Operation::of(Get, "/sdcard/*").under(PathSuffix::Path).answers(&[
        answer(200, "The file; its type is by its extension. A folder's listing.", MediaContent::File),
        error(400, "The path is none."),
        error(404, "There is no such file or folder; from firmware 2.8.2 on 500."),
        answer(500, "There is no such file or folder; before firmware 2.8.2 404.", MediaContent::Text),
        NO_CARD,
    ]),
    Operation::of(Delete, "/sdcard/*").under(PathSuffix::Path).answers(&[
        done("It is gone, and all that was in it."),
        error(400, "The path is none, or the card itself."),
        error(404, "There is no such file or folder."),
        NO_CARD,
    ]),
    Operation::of(Get, "/api/v1/berry").answers(&[
        answer(200, "The script.", MediaContent::Text),
        error(404, "There is none."),
    ]),
    Operation::of(Post, "/api/v1/berry").takes(Takes::Text("The script.")).answers(&[
        answer(200, "The script as stored.", MediaContent::Text),
        error(400, "It is no UTF-8."),
    ]),
    Operation::of(Put, "/api/v1/berry")
        .asked(&[Parameter {
            name: "run",
            required: false,
            about: "Starts the script or stops it; only asks where left out.",
            schema: || json!({ "type": "boolean" }),
        }])
        .answers(&[ok("Whether it runs.", "Run"), error(400, "Neither true nor false.")]),
    Operation::of(Delete, "/api/v1/berry").answers(&[done("There is none any more.")]),
    Operation::of(Get, "/api/v1/berry/console").answers(&[
        answer(200, "What the script prints.", MediaContent::Events("Console")),
        error(503, "Another client has the console."),
    ]),
];

const NO_CARD: OperationReply = error(503, "There is no card, or it does not answer.");

#[cfg(test)]
mod tests {
    use super::super::super::ROUTES;
    use super::*;

    #[test]
    fn every_endpoint_is_described_and_nothing_else() {
        let endpoints =
            || ROUTES.iter().flat_map(|route| route.endpoints.iter().map(move |it| (route, it)));
        for (route, endpoint) in endpoints() {
            let described = ALL.iter().any(|operation| operation.is_of(route, endpoint));
            assert!(described, "{} {}", endpoint.method.as_str(), route.path);
        }
        for operation in ALL {
            let exists = endpoints().any(|(route, endpoint)| operation.is_of(route, endpoint));
            assert!(exists, "{}", operation.id());
        }
    }
}
