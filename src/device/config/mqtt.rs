//! The settings object of `/api/v1/mqtt/settings` (`docs/device/mqtt.md`,
//! `mqtt_settings_fields.csv`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::pem;
use super::settings::is_host;
use super::table::{Accessor, Field, FieldKind, SettingsObject, TextRule, Unset, accessor};
use crate::device::json::shortened;
use crate::limits;

/// The settings of the MQTT client. The API never returns secrets, only their lengths.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each is named as in the API")]
pub struct MqttSettings {
    pub enable: bool,
    pub url: String,
    pub username: String,
    /// A secret.
    pub password: Option<String>,
    pub client_id: String,
    pub skip_cn_check: bool,
    /// `publish.topic`.
    pub topic: String,
    /// `publish.template`.
    pub template: String,
    /// `broker.certificate`, PEM.
    pub broker_certificate: Option<String>,
    /// `client.certificate`, PEM.
    pub client_certificate: Option<String>,
    /// `client.key`, PEM; a secret.
    pub client_key: Option<String>,
    /// `client.key_password`; a secret.
    pub client_key_password: Option<String>,
}

/// The field table of `/api/v1/mqtt/settings`.
pub static MQTT_SETTINGS: SettingsObject<MqttSettings> = SettingsObject {
    name: "mqtt/settings",
    fields: FIELDS,
    unset: Unset::Zero,
    accessor: accessor!(mqtt),
    normalize: |settings, _| {
        settings.clear_empty();
        Ok(())
    },
};

type MqttField = Field<MqttSettings>;

const FIELDS: &[MqttField] = &[
    MqttField::new("enable", FieldKind::Bool(accessor!(enable)), "Turns the MQTT client on."),
    MqttField::new(
        "url",
        FieldKind::Text(
            accessor!(url),
            TextRule::max_chars(limits::MQTT_TEXT_CHARS)
                .with_check(check_url, "empty, mqtt://host[:port] or mqtts://host[:port]"),
        ),
        "The URL of the broker; TLS is used with mqtts.",
    ),
    MqttField::new("username", text(accessor!(username)), "The user name; no user if empty."),
    MqttField::new(
        "password",
        FieldKind::OptionalText(accessor!(password), TextRule::max_chars(limits::MQTT_TEXT_CHARS)),
        "The password; not sent without a user name.",
    )
    .secret(),
    MqttField::new(
        "client_id",
        FieldKind::Text(
            accessor!(client_id),
            TextRule::max_chars(limits::MQTT_CLIENT_ID_CHARS)
                .with_check(check_no_nul, NO_NUL)
                .with_pattern(NO_NUL_PATTERN),
        ),
        "The client id; derived from the device's id if empty.",
    ),
    MqttField::new(
        "skip_cn_check",
        FieldKind::Bool(accessor!(skip_cn_check)),
        "Accepts a broker certificate for another name.",
    ),
    MqttField::new(
        "publish.topic",
        FieldKind::Text(
            accessor!(topic),
            TextRule::max_chars(limits::MQTT_TEXT_CHARS)
                .with_check(check_topic, "no wildcard (`#`, `+`) and no NUL character")
                .with_pattern("^[^#+\\u0000]*$"),
        ),
        "The topic that messages are published to.",
    ),
    MqttField::new(
        "publish.template",
        FieldKind::Text(accessor!(template), TextRule::max_chars(limits::TEMPLATE_CHARS)),
        "The payload of a message, with ${variable} for values.",
    ),
    MqttField::new(
        "broker.certificate",
        certificates(accessor!(broker_certificate)),
        "The authority that issued the broker's certificate, or that certificate itself.",
    ),
    MqttField::new(
        "client.certificate",
        certificates(accessor!(client_certificate)),
        "The client's certificate; shown if `client.key` is set too.",
    ),
    MqttField::new(
        "client.key",
        FieldKind::OptionalText(
            accessor!(client_key),
            TextRule::max_bytes(limits::JSON_BODY_BYTES)
                .with_check(check_key, "a private key in PEM"),
        ),
        "The key of the client's certificate.",
    )
    .secret(),
    MqttField::new(
        "client.key_password",
        FieldKind::OptionalText(
            accessor!(client_key_password),
            TextRule::max_chars(limits::MQTT_KEY_PASSWORD_CHARS),
        ),
        "The password of an encrypted `client.key`.",
    )
    .secret(),
    MqttField::new(
        "client.key_len",
        FieldKind::Length(|settings| settings.client_key.as_ref().map(String::len)),
        "The length of `client.key`.",
    ),
    MqttField::new(
        "client.key_password_len",
        FieldKind::Length(|settings| length(settings.client_key_password.as_ref())),
        "The length of `client.key_password`.",
    ),
    MqttField::new(
        "password_len",
        FieldKind::Length(|settings| Some(length(settings.password.as_ref()).unwrap_or(0))),
        "The length of the password; 0 if none is set.",
    ),
];

const fn text(accessor: Accessor<MqttSettings, String>) -> FieldKind<MqttSettings> {
    let rule = TextRule::max_chars(limits::MQTT_TEXT_CHARS);
    FieldKind::Text(accessor, rule.with_check(check_no_nul, NO_NUL).with_pattern(NO_NUL_PATTERN))
}

const NO_NUL: &str = "no NUL character";
const NO_NUL_PATTERN: &str = "^[^\\u0000]*$";

const fn certificates(accessor: Accessor<MqttSettings, Option<String>>) -> FieldKind<MqttSettings> {
    let rule = TextRule::max_bytes(limits::JSON_BODY_BYTES);
    FieldKind::OptionalText(accessor, rule.with_check(check_certificates, "certificates in PEM"))
}

fn check_url(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    let parsed = text.parse::<BrokerUrl>();
    parsed.map(drop).map_err(|error| format!("`{}`: {error}", shortened(text)))
}

/// Refuses NUL characters. A broker must close the connection of a client that sends one (MQTT 3.1.1
/// §1.5.3).
fn check_no_nul(text: &str) -> Result<(), String> {
    if text.contains('\0') { Err(format!("a NUL character: expected {NO_NUL}")) } else { Ok(()) }
}

/// Refuses wildcards, which only subscriptions may contain (MQTT 3.1.1 §3.3.2.1).
fn check_topic(text: &str) -> Result<(), String> {
    if text.contains(['#', '+']) {
        let shown = shortened(text);
        return Err(format!("`{shown}`: expected a topic without the wildcards # and +"));
    }
    check_no_nul(text)
}

/// Checks certificates. An empty text is valid and clears them ([`MqttSettings::clear_empty`]).
fn check_certificates(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    pem::certificates(text).map(drop).map_err(|error| error.to_string())
}

/// Checks a private key. An empty text is valid and clears it ([`MqttSettings::clear_empty`]).
fn check_key(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    pem::key(text).map(drop).map_err(|error| error.to_string())
}

/// Returns the length in characters, the unit of the ranges.
fn length(secret: Option<&String>) -> Option<usize> {
    secret.map(|secret| secret.chars().count())
}

impl MqttSettings {
    /// Clears the optional fields that were set to an empty string.
    fn clear_empty(&mut self) {
        for text in [
            &mut self.password,
            &mut self.broker_certificate,
            &mut self.client_certificate,
            &mut self.client_key,
            &mut self.client_key_password,
        ] {
            if text.as_deref() == Some("") {
                *text = None;
            }
        }
    }
}

/// The URL of a broker: `mqtt://host[:port]` or `mqtts://host[:port]`. A path is ignored, because
/// MQTT has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerUrl {
    /// `true` if the connection uses TLS.
    pub tls: bool,
    /// The host name or address; an IPv6 address without brackets.
    pub host: String,
    /// The port. The default is 1883, or 8883 with TLS.
    pub port: u16,
}

/// The error of parsing a [`BrokerUrl`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BrokerUrlError {
    /// The URL begins with another scheme, or with none.
    #[error("expected mqtt://host[:port] or mqtts://host[:port]")]
    Scheme,
    /// The URL contains a user.
    #[error("the URL takes no user; use `username` and `password`")]
    User,
    /// The closing bracket of an IPv6 address is missing.
    #[error("expected `]` behind the address")]
    Bracket,
    /// The text between the brackets is no IPv6 address.
    #[error("expected an IPv6 address between the brackets")]
    Ipv6,
    /// The host is neither a name nor an address.
    #[error("expected a host name or an address behind ://")]
    Host,
    /// The port is no number from 1 to 65535.
    #[error("expected a port from 1 to 65535")]
    Port,
}

impl FromStr for BrokerUrl {
    type Err = BrokerUrlError;

    fn from_str(text: &str) -> Result<Self, BrokerUrlError> {
        let (tls, rest) = match (text.strip_prefix("mqtt://"), text.strip_prefix("mqtts://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err(BrokerUrlError::Scheme),
        };
        let authority = rest.split('/').next().unwrap_or_default();
        if authority.contains('@') {
            return Err(BrokerUrlError::User);
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or(BrokerUrlError::Bracket)?;
                host.parse::<std::net::Ipv6Addr>().map_err(|_| BrokerUrlError::Ipv6)?;
                (host, port)
            }
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        if !is_host(host) {
            return Err(BrokerUrlError::Host);
        }
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => {
                if tls {
                    8883
                } else {
                    1883
                }
            }
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                let port = digits.parse().ok().filter(|port| *port != 0);
                port.ok_or(BrokerUrlError::Port)?
            }
            _ => return Err(BrokerUrlError::Port),
        };
        Ok(Self { tls, host: host.to_owned(), port })
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tls, host, port } = self;
        let scheme = if *tls { "mqtts" } else { "mqtt" };
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}")
        } else {
            write!(f, "{scheme}://{host}:{port}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Ruling: MQTT-3.
    #[test]
    fn a_broker_url_has_a_scheme_a_host_and_an_optional_port() {
        for (text, expected) in [
            ("mqtt://broker.example.com", "mqtt://broker.example.com:1883"),
            ("mqtts://broker.example.com", "mqtts://broker.example.com:8883"),
            ("mqtt://192.168.99.186:1884/x", "mqtt://192.168.99.186:1884"),
            ("mqtts://[::1]:1", "mqtts://[::1]:1"),
            ("mqtt://[fe80::1]", "mqtt://[fe80::1]:1883"),
        ] {
            assert_eq!(text.parse::<BrokerUrl>().unwrap().to_string(), expected);
        }
        for invalid in [
            "",
            "broker",
            "http://a",
            "MQTT://a",
            "mqtt://",
            "mqtt://:1883",
            "mqtt://a:",
            "mqtt://a:0",
            "mqtt://a:65536",
            "mqtt://a:+1",
            "mqtt://a:1:2",
            "mqtt://u:p@a",
            "mqtt://a b",
            "mqtt://[::1",
            "mqtt://[a]",
            "mqtt://[::1]x",
            "mqtt://-a",
            "mqtt://a..b",
            "mqtt://1.2.3.4.5",
            "mqtt:///a",
        ] {
            assert!(invalid.parse::<BrokerUrl>().is_err(), "{invalid}");
        }
    }
}
