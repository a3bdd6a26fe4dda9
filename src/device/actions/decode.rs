//! The way from JSON to a definition: one walk that collects every violation with its field.
//!
//! By hand and not by serde, which stops at its first error and cannot say `http.url` of what. Types
//! and ranges are those of `action_fields.csv`; unknown keys are ignored anywhere. Rulings: HTTP-10,
//! ACTION-1 and ACTION-2.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderName;
use serde_json::{Map, Value};

use super::expand::{check_host, has_constants};
use super::location::Location;
use super::{
    Action, ActionRequest, Const, HttpMethod, HttpRequest, ModbusRequest, ModbusWrite, ValueType,
};
use crate::device::json::{
    array, boolean, integer, object, required, string, text, unexpected, whole, word,
};
use crate::limits;
use crate::modbus::wire::FunctionCode;
use crate::problem::Problem;

/// Constants by name, and actions.
type Decoded = (Vec<(String, Const)>, Vec<Action>);

/// The constants and the actions of a definition, or all its violations.
pub(super) fn decode(json: &Value) -> Result<Decoded, Vec<Problem>> {
    let mut violations = Violations::default();
    let decoded = JsonFields::of(json, String::new(), &mut violations).and_then(|mut whole| {
        let constants = constants(&mut whole);
        Some((constants?, actions(&mut whole)?))
    });
    match decoded {
        Some(decoded) if violations.0.is_empty() => Ok(decoded),
        _ => Err(violations.0),
    }
}

/// The part of a valid definition that the device keeps, in the order in which it shows it.
pub(super) fn shown(json: &Value) -> Value {
    DEFINITION.keep(json)
}

fn constants(whole: &mut JsonFields<'_, '_>) -> Option<Vec<(String, Const)>> {
    let Some(given) = whole.optional("const", None, |value| object(value).map(Some))? else {
        return Some(Vec::new());
    };
    let mut constants = whole.nested("const", given);
    let read = |(name, value): (&String, _)| {
        let value = constants.checked(name, constant(value))?;
        Some((name.clone(), value))
    };
    Some(given.iter().filter_map(read).collect())
}

fn constant(value: &Value) -> Result<Const, String> {
    Ok(match value {
        Value::String(text) => Const::Text(text.clone()),
        Value::Number(number) => Const::Number(number.clone()),
        Value::Bool(truth) => Const::Bool(*truth),
        Value::Null => Const::Null,
        _ => return Err(unexpected(value, "a string, a number, a boolean or null")),
    })
}

fn actions(whole: &mut JsonFields<'_, '_>) -> Option<Vec<Action>> {
    let mut ids = HashMap::new();
    let given = whole.required("actions", "an array", array)?;
    let read = |(index, value): (usize, &Value)| {
        let place = format!("actions[{index}]");
        action(index, &mut JsonFields::of(value, place, whole.violations)?, &mut ids)
    };
    Some(given.iter().enumerate().filter_map(read).collect())
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
    let given = fields.required("requests", "an array", array)?;
    let read = |(index, value): (usize, &Value)| {
        let place = format!("{}.requests[{index}]", fields.place);
        request(&mut JsonFields::of(value, place, fields.violations)?).map(Arc::new)
    };
    let requests = given.iter().enumerate().filter_map(read).collect();
    Some(Action { id: id?, enable: enable?, requests })
}

fn request(fields: &mut JsonFields<'_, '_>) -> Option<ActionRequest> {
    match (fields.object.get("http"), fields.object.get("modbus")) {
        (Some(given), None) => {
            let given = fields.checked("http", object(given))?;
            http(&mut fields.nested("http", given)).map(ActionRequest::Http)
        }
        (None, Some(given)) => {
            let given = fields.checked("modbus", object(given))?;
            modbus(&mut fields.nested("modbus", given)).map(ActionRequest::Modbus)
        }
        (Some(_), Some(_)) => fields.refuse("both `http` and `modbus`: make two requests of it"),
        (None, None) => fields.refuse("neither `http` nor `modbus`: expected one of them"),
    }
}

fn http(fields: &mut JsonFields<'_, '_>) -> Option<HttpRequest> {
    let enable = fields.optional("enable", true, boolean);
    let url = fields.required("url", "a string", |value| {
        let url = text(value, limits::URL_CHARS)?;
        if !has_constants(url) {
            Location::parse(url)?;
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
    let timeout = fields.optional("timeout", limits::DEFAULT_TIMEOUT, timeout);
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
    let given = fields.optional("headers", None, |value| {
        let headers = object(value)?;
        if headers.len() > limits::HEADERS {
            let (given, most) = (headers.len(), limits::HEADERS);
            return Err(format!("{given} headers: expected {most} at the most"));
        }
        Ok(Some(headers))
    })?;
    let Some(given) = given else { return Some(Vec::new()) };
    let mut headers = fields.nested("headers", given);
    let read = |(name, value): (&String, _)| {
        let value = headers.checked(name, header(name, value))?;
        Some((name.clone(), value))
    };
    Some(given.iter().filter_map(read).collect())
}

fn header(name: &str, value: &Value) -> Result<String, String> {
    let value = string(value)?;
    let chars = name.chars().count() + value.chars().count();
    if chars > limits::HEADER_CHARS {
        let most = limits::HEADER_CHARS;
        return Err(format!("{chars} characters of name and value: expected {most} at the most"));
    }
    if HeaderName::from_bytes(name.as_bytes()).is_err() {
        return Err(format!(
            "`{name}` is no header name: expected letters, digits and -_.!#$%&'*+^`|~"
        ));
    }
    // A tab is the one control character that a header may have.
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
    let port =
        fields.optional("port", limits::DEFAULT_MODBUS_PORT, |value| integer(value, 1..=u16::MAX));
    let unit_id =
        fields.optional("unit_id", limits::DEFAULT_UNIT_ID, |value| integer(value, 0..=u8::MAX));
    let function = fields.required("func", FUNCTIONS, function);
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
    let timeout = fields.optional("timeout", limits::DEFAULT_TIMEOUT, timeout);
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
// Single values: what was read, or a message that says what was expected
// ---------------------------------------------------------------------------------------------

const FUNCTIONS: &str = "5, 6, 15 or 16";

fn function(value: &Value) -> Result<FunctionCode, String> {
    let Value::Number(number) = value else { return Err(unexpected(value, FUNCTIONS)) };
    let code = whole(number);
    ModbusWrite::FUNCTIONS
        .into_iter()
        .find(|function| code == Some(i64::from(function.0)))
        .ok_or_else(|| format!("{number}: expected {FUNCTIONS}"))
}

fn timeout(value: &Value) -> Result<Duration, String> {
    let (least, most) = limits::TIMEOUT_SECONDS.into_inner();
    let expected = format!("{least} to {most} seconds");
    let seconds = value.as_f64().ok_or_else(|| unexpected(value, &expected))?;
    Some(seconds)
        .filter(|seconds| limits::TIMEOUT_SECONDS.contains(seconds))
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| format!("{seconds}: expected {expected}"))
}

// ---------------------------------------------------------------------------------------------
// The walk
// ---------------------------------------------------------------------------------------------

/// What was found wrong so far.
#[derive(Debug, Default)]
struct Violations(Vec<Problem>);

/// An object of the definition, its place, and where its violations go. A field that violates
/// something reads as `None`, so that the walk goes on to the next one.
struct JsonFields<'a, 'v> {
    place: String,
    object: &'a Map<String, Value>,
    violations: &'v mut Violations,
}

impl<'a, 'v> JsonFields<'a, 'v> {
    fn of(value: &'a Value, place: String, violations: &'v mut Violations) -> Option<Self> {
        match object(value) {
            Ok(object) => Some(Self { place, object, violations }),
            Err(message) => violations.add(place, message),
        }
    }

    fn nested<'n>(&'n mut self, key: &str, object: &'a Map<String, Value>) -> JsonFields<'a, 'n> {
        JsonFields { place: self.field(key), object, violations: self.violations }
    }

    fn required<T>(
        &mut self,
        key: &str,
        expected: &str,
        read: impl FnOnce(&'a Value) -> Result<T, String>,
    ) -> Option<T> {
        let result = required(self.object, key, expected).and_then(read);
        self.checked(key, result)
    }

    fn optional<T>(
        &mut self,
        key: &str,
        default: T,
        read: impl FnOnce(&'a Value) -> Result<T, String>,
    ) -> Option<T> {
        let result = self.object.get(key).map_or(Ok(default), read);
        self.checked(key, result)
    }

    fn checked<T>(&mut self, key: &str, result: Result<T, String>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(message) => self.violations.add(self.field(key), message),
        }
    }

    /// The object as a whole is wrong.
    fn refuse<T>(&mut self, message: &str) -> Option<T> {
        self.violations.add(self.place.clone(), message.to_owned())
    }

    fn field(&self, key: &str) -> String {
        if self.place.is_empty() { key.to_owned() } else { format!("{}.{key}", self.place) }
    }
}

impl Violations {
    /// Always `None`, what a field that violates something reads as.
    fn add<T>(&mut self, field: String, message: String) -> Option<T> {
        if self.0.len() < limits::SCENARIO_MISTAKES {
            self.0.push(Problem::new(field, message));
        }
        None
    }
}

// ---------------------------------------------------------------------------------------------
// What is shown
// ---------------------------------------------------------------------------------------------

/// Which keys of JSON are kept, and in which order.
enum Shape {
    Whole,
    Object(&'static [(&'static str, Self)]),
    Each(&'static Self),
}

static DEFINITION: Shape =
    Shape::Object(&[("const", Shape::Whole), ("actions", Shape::Each(&ACTION))]);

static ACTION: Shape = Shape::Object(&[
    ("id", Shape::Whole),
    ("enable", Shape::Whole),
    ("requests", Shape::Each(&REQUEST)),
]);

static REQUEST: Shape = Shape::Object(&[
    (
        "http",
        Shape::Object(&[
            ("enable", Shape::Whole),
            ("url", Shape::Whole),
            ("method", Shape::Whole),
            ("payload", Shape::Whole),
            ("headers", Shape::Whole),
            ("timeout", Shape::Whole),
        ]),
    ),
    (
        "modbus",
        Shape::Object(&[
            ("enable", Shape::Whole),
            ("host", Shape::Whole),
            ("port", Shape::Whole),
            ("unit_id", Shape::Whole),
            ("func", Shape::Whole),
            ("address", Shape::Whole),
            ("type", Shape::Whole),
            ("value", Shape::Whole),
            ("timeout", Shape::Whole),
        ]),
    ),
]);

impl Shape {
    fn keep(&self, json: &Value) -> Value {
        match (self, json) {
            (Self::Object(fields), Value::Object(given)) => fields
                .iter()
                .filter_map(|(key, shape)| Some(((*key).to_owned(), shape.keep(given.get(*key)?))))
                .collect(),
            (Self::Each(shape), Value::Array(items)) => {
                items.iter().map(|item| shape.keep(item)).collect()
            }
            _ => json.clone(),
        }
    }
}
