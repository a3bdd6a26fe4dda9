//! Parses a definition from JSON, in one pass that collects every violation with its field.
//!
//! The parser is written by hand, because serde stops at the first error and does not report the
//! path of a field. Types and ranges are those of `action_fields.csv`. Unknown keys are ignored at
//! every level. Rulings: HTTP-10, ACTION-1 and ACTION-2.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderName;
use serde_json::{Map, Value};

use super::expand::{check_host, has_constants};
use super::url::UrlParts;
use super::{
    Action, ActionRequest, Const, HttpMethod, HttpRequest, ModbusRequest, ModbusWrite, ValueType,
};
use crate::device::json::{
    array, boolean, integer, object, required, string, text, unexpected, whole, word,
};
use crate::limits;
use crate::modbus::wire::FunctionCode;
use crate::problem::Problem;

/// The default of `timeout`.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
/// The default of `modbus.port`.
const DEFAULT_MODBUS_PORT: u16 = 502;
/// The default of `modbus.unit_id`.
const DEFAULT_UNIT_ID: u8 = 0;

/// The constants by name, and the actions.
type DefinitionParts = (Vec<(String, Const)>, Vec<Action>);

/// Returns the constants and the actions of a definition, or all its violations.
pub(super) fn decode(json: &Value) -> Result<DefinitionParts, Vec<Problem>> {
    let mut violations = Violations::default();
    let parts = JsonFields::new(json, String::new(), &mut violations).and_then(|mut fields| {
        let constants = constants(&mut fields);
        Some((constants?, actions(&mut fields)?))
    });
    match parts {
        Some(parts) if violations.0.is_empty() => Ok(parts),
        _ => Err(violations.0),
    }
}

/// Returns the part of a valid definition that the device stores, in output order.
pub(super) fn normalized(json: &Value) -> Value {
    DEFINITION.filter(json)
}

fn constants(fields: &mut JsonFields<'_, '_>) -> Option<Vec<(String, Const)>> {
    let Some(members) = fields.optional("const", None, |value| object(value).map(Some))? else {
        return Some(Vec::new());
    };
    let mut constants = fields.nested("const", members);
    let parse = |(name, value): (&String, _)| {
        let value = constants.check(name, constant(value))?;
        Some((name.clone(), value))
    };
    Some(members.iter().filter_map(parse).collect())
}

fn constant(value: &Value) -> Result<Const, String> {
    Ok(match value {
        Value::String(text) => Const::Text(text.clone()),
        Value::Number(number) => Const::Number(number.clone()),
        Value::Bool(flag) => Const::Bool(*flag),
        Value::Null => Const::Null,
        _ => return Err(unexpected(value, "a string, a number, a boolean or null")),
    })
}

fn actions(fields: &mut JsonFields<'_, '_>) -> Option<Vec<Action>> {
    let mut ids = HashMap::new();
    let items = fields.required("actions", "an array", array)?;
    let parse = |(index, value): (usize, &Value)| {
        let path = format!("actions[{index}]");
        action(index, &mut JsonFields::new(value, path, fields.violations)?, &mut ids)
    };
    Some(items.iter().enumerate().filter_map(parse).collect())
}

fn action(
    index: usize,
    fields: &mut JsonFields<'_, '_>,
    ids: &mut HashMap<Arc<str>, usize>,
) -> Option<Action> {
    let id = fields.required("id", "a string", |value| {
        let id: Arc<str> = text(value, limits::ACTION_ID_CHARS)?.into();
        match ids.insert(Arc::clone(&id), index) {
            Some(other) => Err(format!("`{id}` is the id of actions[{other}] already")),
            None => Ok(id),
        }
    });
    let enable = fields.optional("enable", true, boolean);
    let items = fields.required("requests", "an array", array)?;
    let parse = |(index, value): (usize, &Value)| {
        let path = format!("{}.requests[{index}]", fields.path);
        request(&mut JsonFields::new(value, path, fields.violations)?).map(Arc::new)
    };
    let requests = items.iter().enumerate().filter_map(parse).collect();
    Some(Action { id: id?, enable: enable?, requests })
}

fn request(fields: &mut JsonFields<'_, '_>) -> Option<ActionRequest> {
    match (fields.object.get("http"), fields.object.get("modbus")) {
        (Some(value), None) => {
            let members = fields.check("http", object(value))?;
            http(&mut fields.nested("http", members)).map(ActionRequest::Http)
        }
        (None, Some(value)) => {
            let members = fields.check("modbus", object(value))?;
            modbus(&mut fields.nested("modbus", members)).map(ActionRequest::Modbus)
        }
        (Some(_), Some(_)) => fields.reject("both `http` and `modbus`: make two requests of it"),
        (None, None) => fields.reject("neither `http` nor `modbus`: expected one of them"),
    }
}

fn http(fields: &mut JsonFields<'_, '_>) -> Option<HttpRequest> {
    let enable = fields.optional("enable", true, boolean);
    let url = fields.required("url", "a string", |value| {
        let url = text(value, limits::URL_CHARS)?;
        if !has_constants(url) {
            UrlParts::parse(url)?;
        }
        Ok(url.to_owned())
    });
    let method =
        fields.optional("method", HttpMethod::Get, |value| word(value, &HttpMethod::NAMES));
    let payload = fields.optional("payload", None, |value| {
        let payload = text(value, limits::PAYLOAD_CHARS)?;
        match method {
            Some(method) if !method.has_payload() && !payload.is_empty() => {
                Err(format!("a payload with {}: only POST and PUT have one", method.as_str()))
            }
            _ => Ok(Some(payload.to_owned())),
        }
    });
    let headers = headers(fields);
    let timeout = fields.optional("timeout", DEFAULT_TIMEOUT, timeout);
    Some(HttpRequest {
        enable: enable?,
        url: url?,
        method: method?,
        payload: payload?,
        headers: headers?,
        timeout: timeout?,
    })
}

fn headers(fields: &mut JsonFields<'_, '_>) -> Option<Vec<(String, String)>> {
    let members = fields.optional("headers", None, |value| {
        let headers = object(value)?;
        if headers.len() > limits::HEADERS {
            let (count, max) = (headers.len(), limits::HEADERS);
            return Err(format!("{count} headers: expected {max} at the most"));
        }
        Ok(Some(headers))
    })?;
    let Some(members) = members else { return Some(Vec::new()) };
    let mut headers = fields.nested("headers", members);
    let parse = |(name, value): (&String, _)| {
        let value = headers.check(name, header(name, value))?;
        Some((name.clone(), value))
    };
    Some(members.iter().filter_map(parse).collect())
}

fn header(name: &str, value: &Value) -> Result<String, String> {
    let value = string(value)?;
    let chars = name.chars().count() + value.chars().count();
    if chars > limits::HEADER_CHARS {
        let max = limits::HEADER_CHARS;
        return Err(format!("{chars} characters of name and value: expected {max} at the most"));
    }
    if HeaderName::from_bytes(name.as_bytes()).is_err() {
        return Err(format!(
            "`{name}` is no header name: expected letters, digits and -_.!#$%&'*+^`|~"
        ));
    }
    // A tab is the only control character that a header value may contain.
    match value.chars().find(|c| c.is_control() && *c != '\t') {
        Some(control) => {
            Err(format!("control character {control:?}: a header is one line of text"))
        }
        None => Ok(value.to_owned()),
    }
}

fn modbus(fields: &mut JsonFields<'_, '_>) -> Option<ModbusRequest> {
    let enable = fields.optional("enable", true, boolean);
    let host = fields.required("host", "a string", |value| {
        let host = text(value, limits::MODBUS_HOST_CHARS)?;
        if !has_constants(host) {
            check_host(host)?;
        }
        Ok(host.to_owned())
    });
    let port = fields.optional("port", DEFAULT_MODBUS_PORT, |value| integer(value, 1..=u16::MAX));
    let unit_id = fields.optional("unit_id", DEFAULT_UNIT_ID, |value| integer(value, 0..=u8::MAX));
    let function = fields.required("func", &ModbusWrite::function_names(), function);
    let address =
        fields.required("address", "a whole number", |value| integer(value, 0..=u16::MAX));
    let value_type =
        fields.optional("type", ValueType::default(), |value| word(value, &ValueType::NAMES));
    let value = fields.required("value", "a string", |value| {
        let value = text(value, limits::MODBUS_VALUE_CHARS)?;
        if let (Some(function), Some(address), Some(value_type)) = (function, address, value_type)
            && !has_constants(value)
        {
            ModbusWrite::encode(function, address, value_type, value)
                .map_err(|error| error.to_string())?;
        }
        Ok(value.to_owned())
    });
    let timeout = fields.optional("timeout", DEFAULT_TIMEOUT, timeout);
    Some(ModbusRequest {
        enable: enable?,
        host: host?,
        port: port?,
        unit_id: unit_id?,
        function: function?,
        address: address?,
        value_type: value_type?,
        value: value?,
        timeout: timeout?,
    })
}

// ---------------------------------------------------------------------------------------------
// Single values: the value, or a message that says what was expected
// ---------------------------------------------------------------------------------------------

fn function(value: &Value) -> Result<FunctionCode, String> {
    let expected = ModbusWrite::function_names;
    let Value::Number(number) = value else { return Err(unexpected(value, &expected())) };
    let code = whole(number);
    ModbusWrite::FUNCTIONS
        .into_iter()
        .find(|function| code == Some(i64::from(function.0)))
        .ok_or_else(|| format!("{number}: expected {}", expected()))
}

fn timeout(value: &Value) -> Result<Duration, String> {
    let (min, max) = limits::TIMEOUT_SECONDS.into_inner();
    let expected = format!("{min} to {max} seconds");
    let seconds = value.as_f64().ok_or_else(|| unexpected(value, &expected))?;
    Some(seconds)
        .filter(|seconds| limits::TIMEOUT_SECONDS.contains(seconds))
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| format!("{seconds}: expected {expected}"))
}

// ---------------------------------------------------------------------------------------------
// Paths and violations
// ---------------------------------------------------------------------------------------------

/// The violations found so far.
#[derive(Debug, Default)]
struct Violations(Vec<Problem>);

/// An object of the definition with its path, and the list that collects its violations. Reading an
/// invalid field records the violation and returns `None`, so that parsing continues with the next
/// field.
struct JsonFields<'a, 'v> {
    path: String,
    object: &'a Map<String, Value>,
    violations: &'v mut Violations,
}

impl<'a, 'v> JsonFields<'a, 'v> {
    fn new(value: &'a Value, path: String, violations: &'v mut Violations) -> Option<Self> {
        match object(value) {
            Ok(object) => Some(Self { path, object, violations }),
            Err(message) => violations.add(path, message),
        }
    }

    fn nested<'n>(&'n mut self, key: &str, object: &'a Map<String, Value>) -> JsonFields<'a, 'n> {
        JsonFields { path: self.path_of(key), object, violations: self.violations }
    }

    fn required<T>(
        &mut self,
        key: &str,
        expected: &str,
        parse: impl FnOnce(&'a Value) -> Result<T, String>,
    ) -> Option<T> {
        let result = required(self.object, key, expected).and_then(parse);
        self.check(key, result)
    }

    fn optional<T>(
        &mut self,
        key: &str,
        default: T,
        parse: impl FnOnce(&'a Value) -> Result<T, String>,
    ) -> Option<T> {
        let result = self.object.get(key).map_or(Ok(default), parse);
        self.check(key, result)
    }

    /// Returns the value of a field, or records the violation and returns `None`.
    fn check<T>(&mut self, key: &str, result: Result<T, String>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(message) => self.violations.add(self.path_of(key), message),
        }
    }

    /// Records a violation of the object as a whole and returns `None`.
    fn reject<T>(&mut self, message: &str) -> Option<T> {
        self.violations.add(self.path.clone(), message.to_owned())
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

impl Violations {
    /// Adds a violation. Always returns `None`, the value of an invalid field.
    fn add<T>(&mut self, path: String, message: String) -> Option<T> {
        if self.0.len() < limits::SCENARIO_MISTAKES {
            self.0.push(Problem::new(path, message));
        }
        None
    }
}

// ---------------------------------------------------------------------------------------------
// The stored part of a definition
// ---------------------------------------------------------------------------------------------

/// The keys of a JSON value that the device stores, in output order.
enum KeyFilter {
    All,
    Object(&'static [(&'static str, Self)]),
    Items(&'static Self),
}

static DEFINITION: KeyFilter =
    KeyFilter::Object(&[("const", KeyFilter::All), ("actions", KeyFilter::Items(&ACTION))]);

static ACTION: KeyFilter = KeyFilter::Object(&[
    ("id", KeyFilter::All),
    ("enable", KeyFilter::All),
    ("requests", KeyFilter::Items(&REQUEST)),
]);

static REQUEST: KeyFilter = KeyFilter::Object(&[
    (
        "http",
        KeyFilter::Object(&[
            ("enable", KeyFilter::All),
            ("url", KeyFilter::All),
            ("method", KeyFilter::All),
            ("payload", KeyFilter::All),
            ("headers", KeyFilter::All),
            ("timeout", KeyFilter::All),
        ]),
    ),
    (
        "modbus",
        KeyFilter::Object(&[
            ("enable", KeyFilter::All),
            ("host", KeyFilter::All),
            ("port", KeyFilter::All),
            ("unit_id", KeyFilter::All),
            ("func", KeyFilter::All),
            ("address", KeyFilter::All),
            ("type", KeyFilter::All),
            ("value", KeyFilter::All),
            ("timeout", KeyFilter::All),
        ]),
    ),
]);

impl KeyFilter {
    fn filter(&self, json: &Value) -> Value {
        match (self, json) {
            (Self::Object(keys), Value::Object(members)) => keys
                .iter()
                .filter_map(|(key, filter)| {
                    Some(((*key).to_owned(), filter.filter(members.get(*key)?)))
                })
                .collect(),
            (Self::Items(filter), Value::Array(items)) => {
                items.iter().map(|item| filter.filter(item)).collect()
            }
            _ => json.clone(),
        }
    }
}
