//! Constants: `${name}` in a request's URL, payload, host and value, nowhere else, and
//! the request that results.
//!
//! A name is whatever stands between `${` and the next `}`. `${` without `}` is text. What a constant
//! expands to is not searched again. The limits are checked a second time here, on the result.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::location::{Location, Scheme};
use super::{ActionRequest, Const, HttpMethod, HttpRequest, ModbusRequest, ModbusWrite};
use crate::device::json::check_length;
use crate::limits;

/// A request as it goes out.
#[derive(Debug, Clone, PartialEq)]
pub enum Prepared {
    /// To an HTTP target.
    Http(PreparedHttp),
    /// To a Modbus slave.
    Modbus(PreparedModbus),
}

/// An HTTP request as it goes out.
#[derive(Debug, Clone, PartialEq)]
pub struct PreparedHttp {
    /// Whether to speak TLS.
    pub scheme: Scheme,
    /// The name or address in the URL, an IPv6 one without its brackets.
    pub host: String,
    /// The port, that of the scheme where the URL has none.
    pub port: u16,
    /// What goes into the `Host` header: host, and port where it is not that of the scheme; or the
    /// definition's own `Host` header as it stands.
    pub authority: String,
    /// Path and query, beginning with `/`.
    pub target: String,
    /// The method.
    pub method: HttpMethod,
    /// The definition's headers in their order, each name once, whatever its case (the later value
    /// counts). `Host` is in [`PreparedHttp::authority`]; `Content-Length` and `Transfer-Encoding`
    /// are left out, as only the sender knows how it frames the body.
    pub headers: Vec<(String, String)>,
    /// The body; empty for GET and DELETE.
    pub body: String,
    /// How long the request may take.
    pub timeout: Duration,
}

/// A Modbus request as it goes out.
#[derive(Debug, Clone, PartialEq)]
pub struct PreparedModbus {
    /// The slave's name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The unit behind it.
    pub unit_id: u8,
    /// What is written.
    pub write: ModbusWrite,
    /// How long the request may take.
    pub timeout: Duration,
}

/// Why a request cannot be sent as it stands after expansion; it ends with −1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct Unprepared {
    /// The field, as `http.url`.
    pub field: &'static str,
    /// What is wrong with it.
    pub message: String,
}

/// Whether `text` names a constant, known or not.
pub(super) fn has_constants(text: &str) -> bool {
    split_first(text).is_some()
}

/// The request with its constants expanded, ready to send.
pub(super) fn prepare(
    request: &ActionRequest,
    constants: &[(String, Const)],
) -> Result<Prepared, Unprepared> {
    match request {
        ActionRequest::Http(request) => prepare_http(request, constants).map(Prepared::Http),
        ActionRequest::Modbus(request) => prepare_modbus(request, constants).map(Prepared::Modbus),
    }
}

fn prepare_http(
    request: &HttpRequest,
    constants: &[(String, Const)],
) -> Result<PreparedHttp, Unprepared> {
    let url = expand("http.url", &request.url, constants, limits::URL_CHARS)?;
    let location =
        Location::parse(&url).map_err(|message| Unprepared { field: "http.url", message })?;
    let payload = request.payload.as_deref().unwrap_or_default();
    let body = expand("http.payload", payload, constants, limits::PAYLOAD_CHARS)?;
    let mut headers = request.headers.iter().fold(Vec::new(), with_header);
    let host = take_header(&mut headers, "Host");
    take_header(&mut headers, "Content-Length");
    take_header(&mut headers, "Transfer-Encoding");
    let typed = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("Content-Type"));
    if !body.is_empty() && !typed {
        headers.push(("Content-Type".to_owned(), "text/plain".to_owned()));
    }
    Ok(PreparedHttp {
        authority: host.unwrap_or_else(|| location.authority()),
        scheme: location.scheme,
        host: location.host,
        port: location.port,
        target: location.target,
        method: request.method,
        headers,
        body,
        timeout: request.timeout,
    })
}

fn prepare_modbus(
    request: &ModbusRequest,
    constants: &[(String, Const)],
) -> Result<PreparedModbus, Unprepared> {
    let host = expand("modbus.host", &request.host, constants, limits::MODBUS_HOST_CHARS)?;
    check_host(&host).map_err(|message| Unprepared { field: "modbus.host", message })?;
    let value = expand("modbus.value", &request.value, constants, limits::MODBUS_VALUE_CHARS)?;
    let write = ModbusWrite::encode(request.function, request.address, request.value_type, &value)
        .map_err(|error| Unprepared { field: "modbus.value", message: error.to_string() })?;
    Ok(PreparedModbus {
        host,
        port: request.port,
        unit_id: request.unit_id,
        write,
        timeout: request.timeout,
    })
}

/// Whether this could be a slave's name or address; what it resolves to is another matter.
pub(super) fn check_host(host: &str) -> Result<(), String> {
    let foreign = |c: &char| c.is_whitespace() || c.is_control() || *c == '/';
    match host.chars().find(foreign) {
        Some(wrong) => Err(format!("{wrong:?} in the host: expected a name or an address alone")),
        None => Ok(()),
    }
}

/// Expands the constants of `text`, and checks that the result has as many characters as its field
/// may have.
fn expand(
    field: &'static str,
    text: &str,
    constants: &[(String, Const)],
    chars: RangeInclusive<usize>,
) -> Result<String, Unprepared> {
    let wrong = |message| Unprepared { field, message };
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, name, after)) = split_first(rest) {
        expanded.push_str(before);
        expanded.push_str(&value_of(name, constants).map_err(wrong)?);
        // Checked on the way, too, as two hundred names of a long constant make a megabyte.
        if expanded.len() > chars.end() * char::MAX.len_utf8() {
            return Err(wrong(format!("more than {} characters once expanded", chars.end())));
        }
        rest = after;
    }
    expanded.push_str(rest);
    check_length(&expanded, &chars).map_err(|message| wrong(format!("{message}, expanded")))?;
    Ok(expanded)
}

fn value_of(name: &str, constants: &[(String, Const)]) -> Result<String, String> {
    match constants.iter().find(|(known, _)| known == name) {
        Some((_, Const::Text(text))) => Ok(text.clone()),
        Some((_, Const::Number(number))) => Ok(number.to_string()),
        Some((_, Const::Bool(truth))) => Ok(truth.to_string()),
        Some((_, Const::Null)) => Err(format!("constant `{name}` is null")),
        None => Err(format!("no constant `{name}`")),
    }
}

/// The text before the first constant, its name, and the text after it.
fn split_first(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once("${")?;
    let (name, after) = rest.split_once('}')?;
    Some((before, name, after))
}

fn with_header(
    mut headers: Vec<(String, String)>,
    (name, value): &(String, String),
) -> Vec<(String, String)> {
    take_header(&mut headers, name);
    headers.push((name.clone(), value.clone()));
    headers
}

fn take_header(headers: &mut Vec<(String, String)>, name: &str) -> Option<String> {
    let index = headers.iter().position(|(known, _)| known.eq_ignore_ascii_case(name))?;
    Some(headers.remove(index).1)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::device::actions::Definition;

    /// Prepares the only request of a definition with these constants.
    fn prepared(constants: &Value, request: &Value) -> Result<Prepared, Unprepared> {
        let definition = Definition::parse_value(&json!({
            "const": constants,
            "actions": [{"id": "a", "requests": [request]}],
        }))
        .unwrap();
        definition.prepare(&definition.actions()[0].requests[0])
    }

    fn http(constants: &Value, http: &Value) -> PreparedHttp {
        match prepared(constants, &json!({ "http": http })) {
            Ok(Prepared::Http(http)) => http,
            other => panic!("{other:?}"),
        }
    }

    fn refused(constants: &Value, request: &Value) -> String {
        prepared(constants, request).unwrap_err().to_string()
    }

    // Ruling: ACTION-10.
    #[test]
    fn constants_expand_in_url_and_payload_and_not_in_headers() {
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
        let Ok(Prepared::Modbus(modbus)) = prepared(&json!({"pump": "heat", "t": -3}), &request)
        else {
            panic!("not prepared");
        };
        assert_eq!(modbus.host, "heat.local");
        assert_eq!(modbus.write.values(), [0xFFFD]);
    }

    #[test]
    fn an_expanded_text_is_not_searched_again() {
        let constants = json!({"a": "${b}", "b": "x"});
        let http = http(
            &constants,
            &json!({"url": "http://host/", "method": "PUT", "payload": "${a}${b}"}),
        );
        assert_eq!(http.body, "${b}x");
    }

    #[test]
    fn an_open_brace_is_text() {
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
    fn the_limits_hold_for_what_results() {
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
    fn host_and_framing_headers_do_not_come_twice() {
        let own = json!({"Host": "bulb", "content-length": "3", "X-A": "1", "x-a": "2"});
        let request =
            json!({"url": "http://h:81/", "method": "POST", "payload": "x", "headers": own});
        let http = http(&json!({}), &request);
        assert_eq!((http.authority.as_str(), http.host.as_str(), http.port), ("bulb", "h", 81));
        let names: Vec<_> = http.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["x-a", "Content-Type"]);
    }
}
