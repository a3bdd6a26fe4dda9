//! Expands constants (`${name}`) in a request's URL, payload, host and value, and prepares the request
//! for sending.
//!
//! A name is the text between `${` and the next `}`. `${` without `}` is literal text. Values are not
//! searched for constants. The limits are checked a second time here, on the result.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::url::{Scheme, UrlParts};
use super::{ActionRequest, Const, HttpMethod, HttpRequest, ModbusRequest, ModbusWrite};
use crate::device::json::check_length;
use crate::limits;

/// A request ready to send.
#[derive(Debug, Clone, PartialEq)]
pub enum PreparedRequest {
    /// A request to an HTTP target.
    Http(PreparedHttpRequest),
    /// A request to a Modbus slave.
    Modbus(PreparedModbusRequest),
}

/// An HTTP request ready to send.
#[derive(Debug, Clone, PartialEq)]
pub struct PreparedHttpRequest {
    /// The scheme.
    pub scheme: Scheme,
    /// The name or address in the URL; an IPv6 address without brackets.
    pub host: String,
    /// The port; that of the scheme if the URL has none.
    pub port: u16,
    /// The value of the `Host` header: the host, with the port if it is not that of the scheme; or
    /// the definition's own `Host` header unchanged.
    pub authority: String,
    /// Path and query, beginning with `/`.
    pub target: String,
    /// The method.
    pub method: HttpMethod,
    /// The definition's headers in order. Each name occurs once regardless of case; the last value
    /// wins. `Host` is in [`PreparedHttpRequest::authority`]. `Content-Length` and
    /// `Transfer-Encoding` are removed, because only the sender knows how it frames the body.
    pub headers: Vec<(String, String)>,
    /// The body; empty for GET and DELETE.
    pub body: String,
    /// The maximum duration of the request.
    pub timeout: Duration,
}

/// A Modbus request ready to send.
#[derive(Debug, Clone, PartialEq)]
pub struct PreparedModbusRequest {
    /// The slave's name or address.
    pub host: String,
    /// The slave's port.
    pub port: u16,
    /// The unit id.
    pub unit_id: u8,
    /// The write.
    pub write: ModbusWrite,
    /// The maximum duration of the request.
    pub timeout: Duration,
}

/// The error of a request that cannot be sent after expansion. The request ends with −1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct PrepareError {
    /// The field, such as `http.url`.
    pub field: &'static str,
    /// The reason.
    pub message: String,
}

/// Returns `true` if `text` contains a constant, defined or not.
pub(super) fn has_constants(text: &str) -> bool {
    split_first(text).is_some()
}

/// Returns the request with its constants expanded, ready to send.
pub(super) fn prepare(
    request: &ActionRequest,
    constants: &[(String, Const)],
) -> Result<PreparedRequest, PrepareError> {
    match request {
        ActionRequest::Http(request) => prepare_http(request, constants).map(PreparedRequest::Http),
        ActionRequest::Modbus(request) => {
            prepare_modbus(request, constants).map(PreparedRequest::Modbus)
        }
    }
}

/// A constant that a request names and that its definition does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndefinedConstant {
    /// The field, such as `http.url`.
    pub field: &'static str,
    /// The name of the constant.
    pub name: String,
}

/// Returns the first constant in a request that is not among these.
pub(super) fn undefined_constant(
    request: &ActionRequest,
    constants: &[(String, Const)],
) -> Option<UndefinedConstant> {
    let fields = match request {
        ActionRequest::Http(http) => [
            ("http.url", http.url.as_str()),
            ("http.payload", http.payload.as_deref().unwrap_or_default()),
        ],
        ActionRequest::Modbus(modbus) => {
            [("modbus.host", modbus.host.as_str()), ("modbus.value", modbus.value.as_str())]
        }
    };
    fields.into_iter().find_map(|(field, text)| {
        let mut rest = text;
        while let Some((_, name, after)) = split_first(rest) {
            if !constants.iter().any(|(other, _)| other == name) {
                return Some(UndefinedConstant { field, name: name.to_owned() });
            }
            rest = after;
        }
        None
    })
}

fn prepare_http(
    request: &HttpRequest,
    constants: &[(String, Const)],
) -> Result<PreparedHttpRequest, PrepareError> {
    let url = expand("http.url", &request.url, constants, limits::URL_CHARS)?;
    let url =
        UrlParts::parse(&url).map_err(|message| PrepareError { field: "http.url", message })?;
    let payload = request.payload.as_deref().unwrap_or_default();
    let body = expand("http.payload", payload, constants, limits::PAYLOAD_CHARS)?;
    let mut headers = request.headers.iter().fold(Vec::new(), set_header);
    let host = remove_header(&mut headers, "Host");
    remove_header(&mut headers, "Content-Length");
    remove_header(&mut headers, "Transfer-Encoding");
    let mut names = headers.iter().map(|(name, _)| name);
    let has_content_type = names.any(|name| name.eq_ignore_ascii_case("Content-Type"));
    if !body.is_empty() && !has_content_type {
        headers.push(("Content-Type".to_owned(), "text/plain".to_owned()));
    }
    Ok(PreparedHttpRequest {
        authority: host.unwrap_or_else(|| url.authority()),
        scheme: url.scheme,
        host: url.host,
        port: url.port,
        target: url.target,
        method: request.method,
        headers,
        body,
        timeout: request.timeout,
    })
}

fn prepare_modbus(
    request: &ModbusRequest,
    constants: &[(String, Const)],
) -> Result<PreparedModbusRequest, PrepareError> {
    let host = expand("modbus.host", &request.host, constants, limits::MODBUS_HOST_CHARS)?;
    check_host(&host).map_err(|message| PrepareError { field: "modbus.host", message })?;
    let value = expand("modbus.value", &request.value, constants, limits::MODBUS_VALUE_CHARS)?;
    let write = ModbusWrite::encode(request.function, request.address, request.value_type, &value)
        .map_err(|error| PrepareError { field: "modbus.value", message: error.to_string() })?;
    Ok(PreparedModbusRequest {
        host,
        port: request.port,
        unit_id: request.unit_id,
        write,
        timeout: request.timeout,
    })
}

/// Checks that a slave's name or address contains no characters that neither can have. The resolver
/// does the rest.
pub(super) fn check_host(host: &str) -> Result<(), String> {
    let invalid = |c: &char| c.is_whitespace() || c.is_control() || *c == '/';
    match host.chars().find(invalid) {
        Some(c) => Err(format!("{c:?} in the host: expected a name or an address alone")),
        None => Ok(()),
    }
}

/// Expands the constants of `text`, and checks the length of the result.
fn expand(
    field: &'static str,
    text: &str,
    constants: &[(String, Const)],
    chars: RangeInclusive<usize>,
) -> Result<String, PrepareError> {
    let error = |message| PrepareError { field, message };
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, name, after)) = split_first(rest) {
        expanded.push_str(before);
        expanded.push_str(&constant_value(name, constants).map_err(error)?);
        // The length is also checked in the loop, because two hundred uses of a long constant would
        // grow to a megabyte.
        if expanded.len() > chars.end() * char::MAX.len_utf8() {
            return Err(error(format!("more than {} characters once expanded", chars.end())));
        }
        rest = after;
    }
    expanded.push_str(rest);
    check_length(&expanded, &chars).map_err(|message| error(format!("{message}, expanded")))?;
    Ok(expanded)
}

fn constant_value(name: &str, constants: &[(String, Const)]) -> Result<String, String> {
    match constants.iter().find(|(other, _)| other == name) {
        Some((_, Const::Text(text))) => Ok(text.clone()),
        Some((_, Const::Number(number))) => Ok(number.to_string()),
        Some((_, Const::Bool(flag))) => Ok(flag.to_string()),
        Some((_, Const::Null)) => Err(format!("constant `{name}` is null")),
        None => Err(format!("no constant `{name}`")),
    }
}

/// Returns the text before the first constant, its name, and the text after it; `None` if there is no
/// constant.
fn split_first(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once("${")?;
    let (name, after) = rest.split_once('}')?;
    Some((before, name, after))
}

fn set_header(
    mut headers: Vec<(String, String)>,
    (name, value): &(String, String),
) -> Vec<(String, String)> {
    remove_header(&mut headers, name);
    headers.push((name.clone(), value.clone()));
    headers
}

fn remove_header(headers: &mut Vec<(String, String)>, name: &str) -> Option<String> {
    let index = headers.iter().position(|(other, _)| other.eq_ignore_ascii_case(name))?;
    Some(headers.remove(index).1)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::device::actions::Definition;

    /// Prepares `request`, the only request of a definition with these constants.
    fn prepared(constants: &Value, request: &Value) -> Result<PreparedRequest, PrepareError> {
        let definition = Definition::parse_value(&json!({
            "const": constants,
            "actions": [{"id": "a", "requests": [request]}],
        }))
        .unwrap();
        definition.prepare(&definition.actions()[0].requests[0])
    }

    fn http(constants: &Value, http: &Value) -> PreparedHttpRequest {
        match prepared(constants, &json!({ "http": http })) {
            Ok(PreparedRequest::Http(http)) => http,
            other => panic!("{other:?}"),
        }
    }

    fn refused(constants: &Value, request: &Value) -> String {
        prepared(constants, request).unwrap_err().to_string()
    }

    // Ruling: ACTION-10.
    #[test]
    fn constants_expand_in_url_and_payload_but_not_in_headers() {
        let constants = json!({"bulb": "192.168.99.101", "bri": 20, "on": true, "half": 0.5});
        let request = json!({
            "url": "http://${bulb}/light/0?on=${on}&brightness=${bri}",
            "method": "POST",
            "payload": "${half}-${half}",
            "headers": {"X-Bulb": "${bulb}"},
        });
        let http = http(&constants, &request);
        assert_eq!((http.host.as_str(), http.port), ("192.168.99.101", 80));
        assert_eq!(http.target, "/light/0?on=true&brightness=20");
        assert_eq!(http.body, "0.5-0.5");
        assert_eq!(http.headers[0], ("X-Bulb".to_owned(), "${bulb}".to_owned()));
    }

    #[test]
    fn constants_expand_in_host_and_value() {
        let request = json!({"modbus": {
            "host": "${pump}.local", "func": 16, "address": 10, "type": "short", "value": "${t}"
        }});
        let Ok(PreparedRequest::Modbus(modbus)) =
            prepared(&json!({"pump": "heat", "t": -3}), &request)
        else {
            panic!("not prepared");
        };
        assert_eq!(modbus.host, "heat.local");
        assert_eq!(modbus.write.values(), [0xFFFD]);
    }

    #[test]
    fn values_are_not_searched_for_constants() {
        let constants = json!({"a": "${b}", "b": "x"});
        let http = http(
            &constants,
            &json!({"url": "http://host/", "method": "PUT", "payload": "${a}${b}"}),
        );
        assert_eq!(http.body, "${b}x");
    }

    #[test]
    fn an_open_brace_is_literal_text() {
        let http = http(
            &json!({"a": "x"}),
            &json!({"url": "http://host/", "method": "PUT", "payload": "$a {a} ${a} ${a"}),
        );
        assert_eq!(http.body, "$a {a} x ${a");
    }

    // Ruling: ACTION-9.
    #[test]
    fn unknown_and_null_constants_fail_when_run() {
        let constants = json!({"nothing": null});
        let request = json!({"http": {"url": "http://${nothing}/"}});
        assert_eq!(refused(&constants, &request), "http.url: constant `nothing` is null");
        let request = json!({"modbus": {"host": "${}", "func": 6, "address": 1, "value": "0001"}});
        let short =
            Definition::parse_value(&json!({"actions": [{"id": "a", "requests": [request]}]}));
        assert!(short.is_err(), "three characters are too few for a host");
        let request = json!({
            "modbus": {"host": "${who}", "func": 6, "address": 1, "value": "0001"}
        });
        assert_eq!(refused(&constants, &request), "modbus.host: no constant `who`");
    }

    // Ruling: ACTION-10.
    #[test]
    fn the_limits_apply_to_the_expanded_text() {
        let long = json!({"long": "x".repeat(300), "empty": "", "no": "a b"});
        for (request, field) in [
            (json!({"http": {"url": "http://a/${long}"}}), "http.url: 309 characters"),
            (json!({"http": {"url": "${empty}http://"}}), "http.url: 7 characters"),
            (json!({"http": {"url": "ftp://${long}"}}), "http.url: 306 characters"),
            (json!({"http": {"url": "${no}://host/"}}), "http.url: expected http"),
            (
                json!({"http": {"url": "http://host", "method": "POST", "payload": "${long}".repeat(4)}}),
                "http.payload: 1200 characters",
            ),
            (
                json!({"http": {"url": "http://host", "method": "POST", "payload": "${long}".repeat(140)}}),
                "http.payload: more than 1023 characters",
            ),
            (
                json!({"modbus": {"host": "${empty}", "func": 6, "address": 1, "value": "0001"}}),
                "modbus.host: 0 characters",
            ),
            (
                json!({"modbus": {"host": "${no}.local", "func": 6, "address": 1, "value": "0001"}}),
                "modbus.host: ' ' in the host",
            ),
            (
                json!({"modbus": {"host": "pump", "func": 6, "address": 1, "value": "${no}"}}),
                "modbus.value: `a b`: expected hexadecimal",
            ),
        ] {
            let error = refused(&long, &request);
            assert!(error.starts_with(field), "{error}");
        }
    }

    // Ruling: ACTION-5.
    #[test]
    fn a_payload_without_content_type_is_plain_text() {
        let headers = |request: &Value| http(&json!({}), request).headers;
        let plain = vec![("Content-Type".to_owned(), "text/plain".to_owned())];
        let url = "http://host/";
        assert_eq!(headers(&json!({"url": url, "method": "POST", "payload": "x"})), plain);
        assert_eq!(headers(&json!({"url": url, "method": "POST", "payload": ""})), []);
        assert_eq!(headers(&json!({"url": url, "payload": ""})), []);
        let own = json!({"content-type": "a/b"});
        assert_eq!(
            headers(&json!({"url": url, "method": "PUT", "payload": "x", "headers": own})),
            [("content-type".to_owned(), "a/b".to_owned())]
        );
    }

    // Ruling: ACTION-4.
    #[test]
    fn host_and_framing_headers_are_not_duplicated() {
        let own = json!({"Host": "bulb", "content-length": "3", "X-A": "1", "x-a": "2"});
        let request =
            json!({"url": "http://h:81/", "method": "POST", "payload": "x", "headers": own});
        let http = http(&json!({}), &request);
        assert_eq!((http.authority.as_str(), http.host.as_str(), http.port), ("bulb", "h", 81));
        let names: Vec<_> = http.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["x-a", "Content-Type"]);
    }
}
