//! `/api/v1/mqtt/settings` (`docs/device/mqtt.md`, `mqtt_settings_fields.csv`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::pem;
use super::settings::is_server;
use super::table::{Field, FieldKind, Object, TextRule, Unset, lens};
use crate::device::json::shortened;
use crate::limits;

/// The MQTT client's settings. Secrets never come back over the API, only their lengths.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is named as in the API")]
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

/// `/api/v1/mqtt/settings`, field by field.
pub static MQTT_SETTINGS: Object<MqttSettings> = Object {
    name: "mqtt/settings",
    fields: FIELDS,
    left_out: Unset::Zero,
    of: lens!(mqtt),
    rules: |settings, _| {
        settings.forget_empty();
        Ok(())
    },
};

type MqttField = Field<MqttSettings>;

const FIELDS: &[MqttField] = &[
    MqttField::new("enable", FieldKind::Flag(lens!(enable)), "Whether the MQTT client is on."),
    MqttField::new(
        "url",
        FieldKind::Text(
            lens!(url),
            TextRule::up_to(limits::MQTT_TEXT_CHARS)
                .that(url, "empty, mqtt://host[:port] or mqtts://host[:port]"),
        ),
        "The broker, over TLS with mqtts.",
    ),
    MqttField::new("username", text(lens!(username)), "The user's name; none where empty."),
    MqttField::new(
        "password",
        FieldKind::OptionalText(lens!(password), TextRule::up_to(limits::MQTT_TEXT_CHARS)),
        "The user's password; not sent without a name.",
    )
    .secret(),
    MqttField::new(
        "client_id",
        FieldKind::Text(
            lens!(client_id),
            TextRule::up_to(limits::MQTT_CLIENT_ID_CHARS).that(sendable, SENDABLE).matching(NO_NUL),
        ),
        "Who the client is to the broker; made from the device's id where empty.",
    ),
    MqttField::new(
        "skip_cn_check",
        FieldKind::Flag(lens!(skip_cn_check)),
        "Whether the broker's certificate may be for another name.",
    ),
    MqttField::new(
        "publish.topic",
        FieldKind::Text(
            lens!(topic),
            TextRule::up_to(limits::MQTT_TEXT_CHARS)
                .that(topic, "no wildcard (`#`, `+`) and no NUL character")
                .matching("^[^#+\\u0000]*$"),
        ),
        "What messages are published under.",
    ),
    MqttField::new(
        "publish.template",
        FieldKind::Text(lens!(template), TextRule::up_to(limits::TEMPLATE_CHARS)),
        "What a message says, with ${variable} for values.",
    ),
    MqttField::new(
        "broker.certificate",
        certificates(lens!(broker_certificate)),
        "The authority behind the broker's certificate, or that certificate itself.",
    ),
    MqttField::new(
        "client.certificate",
        certificates(lens!(client_certificate)),
        "The client's certificate; shown where `client.key` is there too.",
    ),
    MqttField::new(
        "client.key",
        FieldKind::OptionalText(
            lens!(client_key),
            TextRule::up_to_bytes(limits::JSON_BODY_BYTES).that(key, "a private key in PEM"),
        ),
        "The key of the client's certificate.",
    )
    .secret(),
    MqttField::new(
        "client.key_password",
        FieldKind::OptionalText(
            lens!(client_key_password),
            TextRule::up_to(limits::MQTT_KEY_PASSWORD_CHARS),
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
        "The length of the password; 0 where there is none.",
    ),
];

const fn text(lens: super::table::Lens<MqttSettings, String>) -> FieldKind<MqttSettings> {
    let rule = TextRule::up_to(limits::MQTT_TEXT_CHARS);
    FieldKind::Text(lens, rule.that(sendable, SENDABLE).matching(NO_NUL))
}

const SENDABLE: &str = "no NUL character";
const NO_NUL: &str = "^[^\\u0000]*$";

const fn certificates(
    lens: super::table::Lens<MqttSettings, Option<String>>,
) -> FieldKind<MqttSettings> {
    let rule = TextRule::up_to_bytes(limits::JSON_BODY_BYTES);
    FieldKind::OptionalText(lens, rule.that(certificate, "certificates in PEM"))
}

fn url(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    let parsed = text.parse::<BrokerUrl>();
    parsed.map(drop).map_err(|message| format!("`{}`: {message}", shortened(text)))
}

/// MQTT 3.1.1 §1.5.3: a broker has to drop who sends it.
fn sendable(text: &str) -> Result<(), String> {
    if text.contains('\0') { Err(format!("a NUL character: expected {SENDABLE}")) } else { Ok(()) }
}

/// MQTT 3.1.1 §3.3.2.1: messages are not published under wildcards, which are for subscribers.
fn topic(text: &str) -> Result<(), String> {
    if text.contains(['#', '+']) {
        let shown = shortened(text);
        return Err(format!("`{shown}`: expected a topic without the wildcards # and +"));
    }
    sendable(text)
}

/// Empty is none, see [`MqttSettings::forget_empty`].
fn certificate(text: &str) -> Result<(), String> {
    if text.is_empty() { Ok(()) } else { pem::certificates(text).map(drop) }
}

fn key(text: &str) -> Result<(), String> {
    if text.is_empty() { Ok(()) } else { pem::key(text).map(drop) }
}

/// In characters, as the ranges count.
fn length(secret: Option<&String>) -> Option<usize> {
    secret.map(|secret| secret.chars().count())
}

impl MqttSettings {
    /// What was set to nothing is not set.
    fn forget_empty(&mut self) {
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

/// Where a broker is: `mqtt://host[:port]` or `mqtts://host[:port]`; what follows a `/` is nothing
/// that MQTT knows of, and left aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerUrl {
    /// Whether to speak TLS.
    pub tls: bool,
    /// A name or an address, an IPv6 one without its brackets.
    pub host: String,
    /// The port; 1883 or, with TLS, 8883 where the URL has none.
    pub port: u16,
}

impl FromStr for BrokerUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (tls, rest) = match (text.strip_prefix("mqtt://"), text.strip_prefix("mqtts://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err("expected mqtt://host[:port] or mqtts://host[:port]".to_owned()),
        };
        let place = rest.split('/').next().unwrap_or_default();
        if place.contains('@') {
            return Err("the URL takes no user; use `username` and `password`".to_owned());
        }
        let (host, port) = match place.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or("expected `]` behind the address")?;
                host.parse::<std::net::Ipv6Addr>()
                    .map_err(|_| "expected an IPv6 address between the brackets".to_owned())?;
                (host, port)
            }
            None => place.split_at(place.find(':').unwrap_or(place.len())),
        };
        if !is_server(host) {
            return Err("expected a host name or an address behind ://".to_owned());
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
                port.ok_or("expected a port from 1 to 65535")?
            }
            _ => return Err("expected a port from 1 to 65535".to_owned()),
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
    fn urls_have_a_scheme_a_host_and_perhaps_a_port() {
        for (text, shown) in [
            ("mqtt://broker.example.com", "mqtt://broker.example.com:1883"),
            ("mqtts://broker.example.com", "mqtts://broker.example.com:8883"),
            ("mqtt://192.168.99.186:1884/x", "mqtt://192.168.99.186:1884"),
            ("mqtts://[::1]:1", "mqtts://[::1]:1"),
            ("mqtt://[fe80::1]", "mqtt://[fe80::1]:1883"),
        ] {
            assert_eq!(text.parse::<BrokerUrl>().unwrap().to_string(), shown);
        }
        for wrong in [
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
            assert!(wrong.parse::<BrokerUrl>().is_err(), "{wrong}");
        }
    }
}
