//! The definition of a device's actions, as a client posted it (`docs/device/actions.md`).
//!
//! A [`Definition`] is valid by construction: parsing checks every limit. Beside the parsed actions
//! it stores the JSON that the API returns: the keys that were posted, in the order of the field
//! table, without defaults.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Number, Value};

use super::decode::{decode, normalized};
use super::{PrepareError, PreparedRequest, UndefinedConstant, ValueType, expand};
use crate::limits;
use crate::modbus::wire::FunctionCode;
use crate::notation::without_bom;
use crate::problem::Problem;

/// The actions of a device and their constants.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    constants: Vec<(String, Const)>,
    actions: Vec<Action>,
    /// The JSON that the API returns.
    text: Bytes,
}

/// The value of a constant.
#[derive(Debug, Clone, PartialEq)]
pub enum Const {
    /// A string, which expands to itself.
    Text(String),
    /// A number, which expands to its JSON form.
    Number(Number),
    /// A boolean, which expands to `true` or `false`.
    Bool(bool),
    /// `null`, which does not expand: a request that uses it fails when it runs.
    Null,
}

/// An action: requests under one id.
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    /// The id, 1 to 15 characters.
    pub id: Arc<str>,
    /// `true` if the action can be called.
    pub enable: bool,
    /// The requests in order, including the disabled ones.
    pub requests: Vec<Arc<ActionRequest>>,
}

impl Action {
    /// Returns the requests that a call executes, in order.
    pub fn enabled_requests(&self) -> impl Iterator<Item = &Arc<ActionRequest>> {
        self.requests.iter().filter(|request| request.enable())
    }
}

/// A request of an action.
#[derive(Debug, Clone, PartialEq)]
pub enum ActionRequest {
    /// A request to an HTTP target.
    Http(HttpRequest),
    /// A request to a Modbus slave.
    Modbus(ModbusRequest),
}

impl ActionRequest {
    /// Returns `true` if a call executes the request.
    #[must_use]
    pub const fn enable(&self) -> bool {
        match self {
            Self::Http(request) => request.enable,
            Self::Modbus(request) => request.enable,
        }
    }
}

/// The methods of `http.method`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is named as on the wire")]
pub enum HttpMethod {
    Get,
    Post,
    Put,
    Delete,
}

impl HttpMethod {
    /// All variants with their names on the wire.
    pub const NAMES: [(&'static str, Self); 4] =
        [("GET", Self::Get), ("POST", Self::Post), ("PUT", Self::Put), ("DELETE", Self::Delete)];

    /// Returns the name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }

    /// Returns `true` if requests with this method have a payload.
    #[must_use]
    pub const fn has_payload(self) -> bool {
        matches!(self, Self::Post | Self::Put)
    }
}

/// An HTTP request of a definition, before constants are expanded.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpRequest {
    /// `true` if a call executes the request.
    pub enable: bool,
    /// The URL, 8 to 255 characters; may contain constants.
    pub url: String,
    /// The method; the default is GET.
    pub method: HttpMethod,
    /// The payload, at most 1023 characters; empty if the method has none; may contain constants.
    pub payload: Option<String>,
    /// At most 4 headers, in the posted order; constants are not expanded.
    pub headers: Vec<(String, String)>,
    /// The timeout, 0.1 to 10 s; the default is 5 s.
    pub timeout: Duration,
}

/// A Modbus request of a definition, before constants are expanded.
#[derive(Debug, Clone, PartialEq)]
pub struct ModbusRequest {
    /// `true` if a call executes the request.
    pub enable: bool,
    /// The host, 4 to 63 characters; may contain constants.
    pub host: String,
    /// The port; the default is 502.
    pub port: u16,
    /// The unit id; the default is 0.
    pub unit_id: u8,
    /// The function code, one of [`super::ModbusWrite::FUNCTIONS`].
    pub function: FunctionCode,
    /// The address of the first register or coil.
    pub address: u16,
    /// The type of the value; the default is `hex`.
    pub value_type: ValueType,
    /// The value, 1 to 492 characters; may contain constants.
    pub value: String,
    /// The timeout, 0.1 to 10 s; the default is 5 s.
    pub timeout: Duration,
}

impl Definition {
    /// Parses the body of a POST. The caller has checked its size against
    /// [`limits::DEFINITION_BYTES`], because a body that is too large is a 413.
    ///
    /// # Errors
    /// The first violation, in the order of `action_fields.csv`.
    pub fn parse(json: &[u8]) -> Result<Self, Problem> {
        let whole_body = |message| Problem::of_document(message);
        let value: Value = serde_json::from_slice(without_bom(json))
            .map_err(|error| whole_body(format!("no JSON: {error}")))?;
        Self::parse_value(&value).map_err(|violations| {
            // The list is never empty.
            violations.into_iter().next().unwrap_or_else(|| whole_body("refused".to_owned()))
        })
    }

    /// Parses a definition that is part of a scenario.
    ///
    /// # Errors
    /// All violations, in the order of the fields, at most [`limits::SCENARIO_MISTAKES`] of them.
    pub fn parse_value(json: &Value) -> Result<Self, Vec<Problem>> {
        let (constants, actions) = decode(json)?;
        let text = normalized(json).to_string();
        // The device must accept the JSON that it returns. Numbers may be longer here than they were
        // written (`1e15`), and nothing else checks the size of a scenario's definition.
        if text.len() > limits::DEFINITION_BYTES {
            let message = format!(
                "{} bytes as the device stores it: expected {} at the most",
                text.len(),
                limits::DEFINITION_BYTES
            );
            return Err(vec![Problem::of_document(message)]);
        }
        Ok(Self { constants, actions, text: text.into() })
    }

    /// Returns the JSON of the API: the posted keys without the unknown ones, and without defaults.
    /// Parsing it gives the same definition.
    #[must_use]
    pub fn to_json(&self) -> Bytes {
        self.text.clone()
    }

    /// Returns the actions in the posted order.
    #[must_use]
    pub fn actions(&self) -> &[Action] {
        &self.actions
    }

    /// Returns the action with this id; `None` if there is none.
    #[must_use]
    pub fn action(&self, id: &str) -> Option<&Action> {
        self.actions.iter().find(|action| &*action.id == id)
    }

    /// Expands the constants of one of the definition's requests, and checks the limits again.
    ///
    /// # Errors
    /// [`PrepareError`] if a constant is unknown or null, or if the result breaks a limit. The
    /// request then ends with −1.
    pub fn prepare(&self, request: &ActionRequest) -> Result<PreparedRequest, PrepareError> {
        expand::prepare(request, &self.constants)
    }

    /// Returns the names of the constants.
    pub fn constant_names(&self) -> impl Iterator<Item = &str> {
        self.constants.iter().map(|(name, _)| name.as_str())
    }

    /// Returns the first constant in one of the definition's requests that the definition does not have.
    #[must_use]
    pub fn undefined_constant(&self, request: &ActionRequest) -> Option<UndefinedConstant> {
        expand::undefined_constant(request, &self.constants)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::property;
    use super::*;

    /// Returns a definition of one action with this request.
    fn with(request: &Value) -> Value {
        json!({"actions": [{"id": "a", "requests": [request]}]})
    }

    fn with_http(field: &str, value: Value) -> Value {
        let mut http = json!({"url": "http://host/"});
        http[field] = value;
        with(&json!({ "http": http }))
    }

    fn with_modbus(field: &str, value: Value) -> Value {
        let mut modbus =
            json!({"host": "pump", "func": 16, "address": 10, "type": "short", "value": "1"});
        modbus[field] = value;
        with(&json!({ "modbus": modbus }))
    }

    /// Returns the message of the only violation, which must be at `field`. A field that begins with
    /// a dot is relative to the request.
    fn refused(definition: &Value, field: &str) -> String {
        let Err(violations) = Definition::parse_value(definition) else {
            panic!("accepted: {definition}");
        };
        let parent = if field.starts_with('.') { "actions[0].requests[0]" } else { "" };
        assert_eq!(violations.len(), 1, "{violations:?}");
        assert_eq!(violations[0].path, format!("{parent}{field}"), "{violations:?}");
        violations[0].message.clone()
    }

    fn accepted(definition: &Value) -> Definition {
        match Definition::parse_value(definition) {
            Ok(definition) => definition,
            Err(violations) => panic!("{violations:?}: {definition}"),
        }
    }

    // Ruling: ACTION-8.
    #[test]
    fn omitted_fields_have_defaults_that_are_not_returned() {
        let http = with(&json!({"http": {"url": "http://a"}}));
        let definition = accepted(&http);
        assert_eq!(definition.to_json(), http.to_string());
        let action = &definition.actions()[0];
        assert!(action.enable && action.requests[0].enable());
        let ActionRequest::Http(http) = &*action.requests[0] else { panic!("{action:?}") };
        assert_eq!((http.method, http.timeout), (HttpMethod::Get, Duration::from_secs(5)));
        let modbus = json!({"host": "pump", "func": 6, "address": 0, "value": "0001"});
        let definition = accepted(&with(&json!({ "modbus": modbus })));
        let ActionRequest::Modbus(modbus) = &*definition.actions()[0].requests[0] else { panic!() };
        assert_eq!((modbus.port, modbus.unit_id, modbus.value_type), (502, 0, ValueType::Hex));
        assert_eq!(modbus.timeout, Duration::from_secs(5));
    }

    // Ruling: ACTION-8.
    #[test]
    fn the_json_has_the_posted_keys_in_field_order() {
        let posted = r#"{"surplus": 1, "actions": [{"requests": [{"x": 2, "http": {"timeout": 2.50,
            "headers": {"B": "1", "A": "2"}, "payload": "", "method": "GET", "note": [],
            "url": "http://a", "enable": true}}, {"modbus": {"value": "1", "address": 5.0,
            "type": "short", "func": 6, "host": "pump"}}], "enable": false, "id": "a"}],
            "const": {"z": 1, "a": null, "m": 0.10}}"#;
        let expected = concat!(
            r#"{"const":{"z":1,"a":null,"m":0.1},"actions":[{"id":"a","enable":false,"requests":["#,
            r#"{"http":{"enable":true,"url":"http://a","method":"GET","payload":"","headers":"#,
            r#"{"B":"1","A":"2"},"timeout":2.5}},{"modbus":{"host":"pump","func":6,"#,
            r#""address":5.0,"type":"short","value":"1"}}]}]}"#
        );
        assert_eq!(Definition::parse(posted.as_bytes()).unwrap().to_json(), expected);
    }

    #[test]
    fn invalid_json_is_refused() {
        let two_marks = "\u{feff}\u{feff}{}";
        for text in ["", "{", "{\"actions\": []} x", two_marks, &"[".repeat(8000)] {
            let error = Definition::parse(text.as_bytes()).unwrap_err();
            assert_eq!(error.path, "");
            assert!(error.to_string().starts_with("no JSON: "), "{error}");
        }
        assert!(Definition::parse(b"{\"actions\": [\xff]}").is_err());
    }

    #[test]
    fn a_definition_is_an_object_with_actions() {
        assert_eq!(refused(&json!([]), ""), "an array: expected an object");
        assert_eq!(refused(&json!({}), "actions"), "missing: expected an array");
        assert_eq!(refused(&json!({"actions": null}), "actions"), "null: expected an array");
        assert_eq!(accepted(&json!({"actions": []})).to_json(), r#"{"actions":[]}"#);
    }

    #[test]
    fn constants_are_strings_numbers_booleans_or_null() {
        let of = |value: Value| json!({"const": {"name of it": value}, "actions": []});
        for value in [json!("x"), json!(1), json!(-0.5), json!(false), json!(null)] {
            accepted(&of(value));
        }
        let expected = "expected a string, a number, a boolean or null";
        assert_eq!(refused(&of(json!({})), "const.name of it"), format!("an object: {expected}"));
        assert_eq!(refused(&of(json!([])), "const.name of it"), format!("an array: {expected}"));
        let constants = json!({"const": [], "actions": []});
        assert_eq!(refused(&constants, "const"), "an array: expected an object");
    }

    #[test]
    fn action_ids_are_short_and_unique() {
        let of = |id: Value| json!({"actions": [{"id": id, "requests": []}]});
        accepted(&of(json!("ü".repeat(15))));
        for (id, message) in [
            (json!(""), "0 characters: expected 1 to 15"),
            (json!("x".repeat(16)), "16 characters: expected 1 to 15"),
            (json!(1), "a number: expected a string"),
        ] {
            assert_eq!(refused(&of(id), "actions[0].id"), message);
        }
        let missing = json!({"actions": [{"requests": []}]});
        assert_eq!(refused(&missing, "actions[0].id"), "missing: expected a string");
        let twice = json!({"actions": [
            {"id": "a", "requests": []}, {"id": "b", "requests": []}, {"id": "a", "requests": []}
        ]});
        assert_eq!(refused(&twice, "actions[2].id"), "`a` is the id of actions[0] already");
    }

    #[test]
    fn an_action_has_requests_and_may_be_disabled() {
        let of = |field: &str, value: Value| {
            let mut action = json!({"id": "a", "requests": []});
            action[field] = value;
            json!({"actions": [action]})
        };
        let definition = accepted(&of("enable", json!(false)));
        assert!(!definition.action("a").unwrap().enable);
        assert_eq!(
            refused(&of("enable", json!(1)), "actions[0].enable"),
            "a number: expected true or false"
        );
        assert_eq!(
            refused(&of("requests", json!({})), "actions[0].requests"),
            "an object: expected an array"
        );
        let missing = json!({"actions": [{"id": "a"}]});
        assert_eq!(refused(&missing, "actions[0].requests"), "missing: expected an array");
        let text = json!({"actions": ["a"]});
        assert_eq!(refused(&text, "actions[0]"), "a string: expected an object");
    }

    // Ruling: ACTION-1.
    #[test]
    fn a_request_is_either_http_or_modbus() {
        let http = json!({"url": "http://a"});
        let both = json!({"http": http, "modbus": {}});
        assert!(refused(&with(&both), "actions[0].requests[0]").starts_with("both"));
        assert!(refused(&with(&json!({})), "actions[0].requests[0]").starts_with("neither"));
        assert_eq!(refused(&with(&json!({"http": null})), ".http"), "null: expected an object");
        assert_eq!(
            refused(&with(&json!(7)), "actions[0].requests[0]"),
            "a number: expected an object"
        );
    }

    #[test]
    fn the_limits_of_an_http_request_are_exact() {
        let url = |chars: usize| json!(format!("http://{}", "a".repeat(chars - 7)));
        let payload = |chars: usize| json!("ü".repeat(chars));
        let post = |payload: Value| {
            with(&json!({"http": {"url": "http://a", "method": "POST", "payload": payload}}))
        };
        accepted(&with_http("url", url(8)));
        accepted(&with_http("url", url(255)));
        accepted(&post(payload(1023)));
        assert_eq!(
            refused(&with_http("url", json!("http://")), ".http.url"),
            "7 characters: expected 8 to 255"
        );
        assert_eq!(
            refused(&with_http("url", url(256)), ".http.url"),
            "256 characters: expected 8 to 255"
        );
        assert_eq!(refused(&with(&json!({"http": {}})), ".http.url"), "missing: expected a string");
        assert_eq!(
            refused(&post(payload(1024)), ".http.payload"),
            "1024 characters: expected 0 to 1023"
        );
        assert_eq!(refused(&post(json!({})), ".http.payload"), "an object: expected a string");
        assert!(
            refused(&with_http("enable", json!("true")), ".http.enable").contains("true or false")
        );
        for timeout in [json!(0.1), json!(10), json!(2.5)] {
            accepted(&with_http("timeout", timeout));
        }
        for timeout in [json!(0.09), json!(10.1), json!(0), json!(-1), json!("5"), json!(null)] {
            assert!(refused(&with_http("timeout", timeout), ".http.timeout").contains("0.1 to 10"));
        }
    }

    #[test]
    fn only_the_four_methods_in_capitals_are_accepted() {
        for (name, _) in HttpMethod::NAMES {
            accepted(&with_http("method", json!(name)));
        }
        for method in ["get", "PATCH", ""] {
            let message = refused(&with_http("method", json!(method)), ".http.method");
            assert_eq!(message, format!("`{method}`: expected GET, POST, PUT or DELETE"));
        }
    }

    // Ruling: ACTION-2.
    #[test]
    fn a_payload_requires_post_or_put() {
        for method in ["GET", "DELETE"] {
            let of = |payload: &str| json!({"http": {"url": "http://a", "method": method, "payload": payload}});
            accepted(&with(&of("")));
            assert!(refused(&with(&of("x")), ".http.payload").contains(method));
        }
        assert!(refused(&with_http("payload", json!("x")), ".http.payload").contains("GET"));
    }

    #[test]
    fn a_url_without_constants_must_be_valid() {
        accepted(&with_http("url", json!("ftp://${host}")));
        assert!(refused(&with_http("url", json!("ftp://host")), ".http.url").contains("http://"));
        assert!(refused(&with_http("url", json!("http://a b/${c")), ".http.url").contains("host"));
    }

    // Ruling: ACTION-4.
    #[test]
    fn headers_are_limited_in_number_length_and_characters() {
        let four = json!({"A": "", "B": "x", "C": "\t", "D": "ü"});
        accepted(&with_http("headers", four.clone()));
        accepted(&with_http("headers", json!({"A": "x".repeat(252)})));
        let mut five = four;
        five["E"] = json!("x");
        assert_eq!(
            refused(&with_http("headers", five), ".http.headers"),
            "5 headers: expected 4 at the most"
        );
        assert_eq!(
            refused(&with_http("headers", json!([])), ".http.headers"),
            "an array: expected an object"
        );
        for (name, value, reason) in [
            ("A", json!("x".repeat(253)), "254 characters"),
            ("A", json!(1), "a number: expected a string"),
            ("A", json!("x\r\nB: y"), "control character"),
            ("A", json!("\u{7f}"), "control character"),
            ("", json!("x"), "header name"),
            ("A B", json!("x"), "header name"),
            ("A:", json!("x"), "header name"),
            ("Ü", json!("x"), "header name"),
        ] {
            let message = refused(
                &with_http("headers", json!({ name: value })),
                &format!(".http.headers.{name}"),
            );
            assert!(message.contains(reason), "{name}: {message}");
        }
    }

    // Ruling: ACTION-11.
    #[test]
    fn the_limits_of_a_modbus_request_are_exact() {
        for (field, accepts, refuses, reason) in [
            ("host", json!("pump"), json!("pum"), "3 characters: expected 4 to 63"),
            (
                "host",
                json!("p".repeat(63)),
                json!("p".repeat(64)),
                "64 characters: expected 4 to 63",
            ),
            ("host", json!("fe80::1"), json!("pump/1"), "'/' in the host"),
            ("host", json!("10.0.0.1"), json!("10.0.0 1"), "' ' in the host"),
            ("port", json!(1), json!(0), "0: expected a whole number from 1 to 65535"),
            ("port", json!(65535), json!(65536), "65536: expected a whole number from 1 to 65535"),
            ("port", json!(502.0), json!(502.5), "502.5: expected a whole number"),
            ("port", json!(502), json!("502"), "a string: expected a whole number"),
            ("port", json!(502), json!(null), "null: expected a whole number"),
            ("unit_id", json!(255), json!(256), "256: expected a whole number from 0 to 255"),
            ("unit_id", json!(0), json!(-1), "-1: expected a whole number from 0 to 255"),
            ("unit_id", json!(1e1), json!(1e300), "expected a whole number from 0 to 255"),
            (
                "address",
                json!(65535),
                json!(65536),
                "65536: expected a whole number from 0 to 65535",
            ),
            ("func", json!(6), json!(3), "3: expected 5, 6, 15 or 16"),
            ("func", json!(16.0), json!("16"), "a string: expected 5, 6, 15 or 16"),
            (
                "type",
                json!("int"),
                json!("INT"),
                "`INT`: expected hex, short, int, long, float or double",
            ),
            ("value", json!("-1"), json!(""), "0 characters: expected 1 to 492"),
            ("value", json!("1"), json!(1), "a number: expected a string"),
            ("value", json!("1"), json!("x".repeat(493)), "493 characters: expected 1 to 492"),
            (
                "value",
                json!("${x}"),
                json!("65536"),
                "`65536`: expected a whole number from -32768 to 65535",
            ),
            ("value", json!("${x}"), json!("${x"), "`${x`: expected a whole number"),
            ("timeout", json!(0.1), json!(0.05), "0.05: expected 0.1 to 10 seconds"),
        ] {
            accepted(&with_modbus(field, accepts));
            let message = refused(&with_modbus(field, refuses), &format!(".modbus.{field}"));
            assert!(message.contains(reason), "{message}");
        }
        for field in ["host", "func", "address", "value"] {
            let mut definition = with_modbus("port", json!(502));
            let modbus = definition["actions"][0]["requests"][0]["modbus"].as_object_mut().unwrap();
            modbus.shift_remove(field);
            let message = refused(&definition, &format!(".modbus.{field}"));
            assert!(message.starts_with("missing: expected"), "{message}");
        }
    }

    #[test]
    fn all_violations_are_found_and_the_api_returns_the_first() {
        let definition = json!({"const": {"a": []}, "actions": [
            {"id": "", "requests": [{"http": {"url": "", "method": "x"}}, {}, {"modbus": {"func": 7}}]},
            7,
        ]});
        let violations = Definition::parse_value(&definition).unwrap_err();
        let fields: Vec<_> = violations.iter().map(|violation| violation.path.as_str()).collect();
        let first = "actions[0].requests[0].http";
        let last = "actions[0].requests[2].modbus";
        assert_eq!(
            fields,
            [
                "const.a",
                "actions[0].id",
                &format!("{first}.url"),
                &format!("{first}.method"),
                "actions[0].requests[1]",
                &format!("{last}.host"),
                &format!("{last}.func"),
                &format!("{last}.address"),
                &format!("{last}.value"),
                "actions[1]",
            ]
        );
        assert_eq!(
            Definition::parse(definition.to_string().as_bytes()).unwrap_err(),
            violations[0]
        );
    }

    #[test]
    fn the_number_of_violations_is_limited() {
        let definition = json!({"actions": vec![7; 10_000]});
        let violations = Definition::parse_value(&definition).unwrap_err();
        assert_eq!(violations.len(), limits::SCENARIO_MISTAKES);
    }

    #[test]
    fn a_definition_too_large_to_post_back_is_refused() {
        let numbers: serde_json::Map<_, _> =
            (0..700).map(|n| (format!("{n:03}"), json!(1e15))).collect();
        let definition = json!({"const": numbers, "actions": []});
        assert!(refused(&definition, "").contains("expected 8191 at the most"));
    }

    #[test]
    fn the_corpus_of_the_fuzzer_holds() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/corpus/action_definition");
        let mut accepted = 0;
        for entry in std::fs::read_dir(corpus).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            property::holds(&bytes);
            accepted += usize::from(Definition::parse(&bytes).is_ok());
        }
        assert!(accepted > 5, "the corpus contains valid definitions: {accepted}");
    }

    /// Generates JSON that is close to a definition, so that many values are accepted.
    fn definition_like_json() -> impl Strategy<Value = Value> {
        let text = prop_oneof![
            4 => "[a-z${}]{0,12}",
            1 => "\\PC{0,20}",
        ];
        let number = prop_oneof![
            any::<f64>().prop_map(|number| json!(number)),
            (-2_i64..70_000).prop_map(|number| json!(number)),
            any::<u64>().prop_map(|number| json!(number)),
        ];
        let scalar = prop_oneof![
            text.clone().prop_map(Value::from),
            number,
            any::<bool>().prop_map(Value::from),
            Just(Value::Null),
        ];
        let http = (
            prop::sample::select(vec!["http://a/", "http://${c}/", "https://[::1]:8/?q", "x"]),
            prop::option::weighted(0.5, prop::sample::select(vec!["GET", "PUT", "POST", "DELETE"])),
            prop::option::weighted(0.3, text.clone()),
            prop::option::weighted(0.3, prop::collection::btree_map("[A-Z]{1,3}", text, 0..4)),
            prop::option::weighted(0.3, 0.1..10.0),
        )
            .prop_map(|(url, method, payload, headers, timeout)| {
                let fields = [
                    ("timeout", timeout.map(Value::from)),
                    ("headers", headers.map(|headers| json!(headers))),
                    ("url", Some(json!(url))),
                    ("payload", payload.map(Value::from)),
                    ("method", method.map(Value::from)),
                ];
                json!({ "http": present(fields) })
            });
        let modbus = (
            prop::sample::select(vec!["pump", "${c}", "10.0.0.1"]),
            prop::sample::select(vec![5, 6, 15, 16]),
            any::<u16>(),
            prop::option::weighted(0.8, prop::sample::select(vec!["hex", "short", "double"])),
            prop::sample::select(vec!["1", "0001", "${c}", "-1", "1e3"]),
            prop::option::weighted(0.3, any::<u8>()),
        )
            .prop_map(|(host, function, address, value_type, value, unit_id)| {
                let fields = [
                    ("value", Some(json!(value))),
                    ("unit_id", unit_id.map(Value::from)),
                    ("host", Some(json!(host))),
                    ("surplus", Some(json!(1))),
                    ("func", Some(json!(function))),
                    ("address", Some(json!(address))),
                    ("type", value_type.map(Value::from)),
                ];
                json!({ "modbus": present(fields) })
            });
        let requests = prop::collection::vec(prop_oneof![http, modbus], 0..3);
        let action = ("[a-z]{1,3}", prop::option::of(any::<bool>()), requests).prop_map(
            |(id, enable, requests)| {
                present([
                    ("requests", Some(json!(requests))),
                    ("enable", enable.map(Value::from)),
                    ("id", Some(json!(id))),
                ])
            },
        );
        let constants = prop::collection::btree_map("[a-d]", scalar, 0..4);
        (prop::option::of(constants), prop::collection::vec(action, 0..3)).prop_map(
            |(constants, actions)| {
                present([
                    ("actions", Some(json!(actions))),
                    ("const", constants.map(|constants| json!(constants))),
                ])
            },
        )
    }

    fn present<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
        let given = fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
        Value::Object(given.collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn posting_the_returned_json_changes_nothing(definition in definition_like_json()) {
            property::holds(definition.to_string().as_bytes());
        }

        #[test]
        fn parsing_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            property::holds(&bytes);
        }
    }
}
