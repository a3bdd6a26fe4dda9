//! `/api/v1/mqtt/settings` (contract §2 and §8, `mqtt_settings_fields.csv`).

use std::fmt;
use std::str::FromStr;

/// The MQTT client's settings. Secrets never come back over the API, only their lengths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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
        let name_like = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if host.is_empty() || !host.chars().all(name_like) {
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
            "mqtt:///a",
        ] {
            assert!(wrong.parse::<BrokerUrl>().is_err(), "{wrong}");
        }
    }
}
