//! The access policy: how Digest is carried out, and which pages may use the API
//! (`docs/device/access.md`).

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::limits;

/// The access policy of a scenario. The password is not part of it: it is a setting of the device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessPolicy {
    /// The treatment of Digest.
    pub digest: DigestPolicy,
    /// The origins that may use the API from a browser, beside the device's own.
    pub origins: Vec<OriginPattern>,
}

/// The treatment of Digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DigestPolicy {
    /// The strictness with which it is parsed.
    pub mode: DigestMode,
    /// The time on the scenario's clock for which a nonce is good (ACCESS-9).
    pub nonce_life: Duration,
    /// The number of nonces that are remembered at once (ACCESS-10).
    pub nonces: usize,
    /// The treatment of a client that needs one more.
    pub when_full: WhenFull,
}

impl Default for DigestPolicy {
    fn default() -> Self {
        Self {
            mode: DigestMode::default(),
            nonce_life: limits::NONCE_LIFE,
            nonces: limits::DEFAULT_NONCES,
            when_full: WhenFull::default(),
        }
    }
}

/// The treatment of a client that needs a nonce if all of them are in use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// The oldest one expires (ACCESS-10).
    #[default]
    Oldest,
    /// The client gets a 429 (ACCESS-14).
    Refuse,
}

/// The strictness with which Digest is parsed (ACCESS-11).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum DigestMode {
    /// Accepts the deviations of real client libraries, too.
    #[default]
    Tolerant,
    /// Accepts RFC 7616 alone, with exactly the values of the challenge.
    Strict,
}

/// The origin of a page, as its browser sends it: `scheme://host[:port]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin<'a> {
    /// `http`, `https`, or the own scheme of an app.
    pub scheme: &'a str,
    /// A name, an IPv4 address, or an IPv6 address in brackets, in upper or lower case.
    pub host: &'a str,
    /// The port. `None` if it is the default of the scheme.
    pub port: Option<u16>,
}

impl<'a> Origin<'a> {
    /// Parses an `Origin` header. `None` if it is `null` or not an origin.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let (scheme, host, port) = split(text)?;
        let port = match port {
            None => None,
            Some(port) => Some(number(port)?),
        };
        Some(Self { scheme, host, port })
    }

    /// Returns the port, or the default of the scheme.
    #[must_use]
    pub fn effective_port(&self) -> Option<u16> {
        self.port.or_else(|| default_port(self.scheme))
    }
}

/// A pattern of origins that a scenario allows: one, one at any port, `null`, or all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OriginPattern {
    /// `*`: every page.
    Any,
    /// `null`: pages from a file.
    Null,
    /// One scheme and host.
    Host {
        /// The scheme, in lower case.
        scheme: String,
        /// The host, in lower case.
        host: String,
        /// The ports of the host.
        port: PortPattern,
    },
}

/// The ports of an [`OriginPattern`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortPattern {
    /// `:*`.
    Any,
    /// One port. `None` means the default of the scheme.
    One(Option<u16>),
}

impl OriginPattern {
    /// Returns `true` if an `Origin` header matches the pattern.
    #[must_use]
    pub fn matches(&self, header: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Null => header == "null",
            Self::Host { scheme, host, port } => Origin::parse(header).is_some_and(|origin| {
                origin.scheme.eq_ignore_ascii_case(scheme)
                    && origin.host.eq_ignore_ascii_case(host)
                    && port.includes(&origin)
            }),
        }
    }
}

impl PortPattern {
    fn includes(self, origin: &Origin<'_>) -> bool {
        match self {
            Self::Any => true,
            Self::One(port) => {
                port.or_else(|| default_port(origin.scheme)) == origin.effective_port()
            }
        }
    }
}

/// A text that is not an [`OriginPattern`], cut to the length of the longest origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "origin `{0}`: expected scheme://host, with :port or :* where it has one, as \
     http://localhost:5173"
)]
pub struct InvalidOrigin(String);

impl FromStr for OriginPattern {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        match text {
            "*" => return Ok(Self::Any),
            "null" => return Ok(Self::Null),
            _ => {}
        }
        let wrong = || InvalidOrigin(text.chars().take(limits::ORIGIN_CHARS).collect());
        let (scheme, host, port) = split(text).ok_or_else(wrong)?;
        let port = match port {
            None => PortPattern::One(None),
            Some("*") => PortPattern::Any,
            Some(port) => PortPattern::One(Some(number(port).ok_or_else(wrong)?)),
        };
        Ok(Self::Host {
            scheme: scheme.to_ascii_lowercase(),
            host: host.to_ascii_lowercase(),
            port,
        })
    }
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Null => f.write_str("null"),
            Self::Host { scheme, host, port } => {
                write!(f, "{scheme}://{host}")?;
                match port {
                    PortPattern::Any => f.write_str(":*"),
                    PortPattern::One(None) => Ok(()),
                    PortPattern::One(Some(port)) => write!(f, ":{port}"),
                }
            }
        }
    }
}

/// Splits an origin into the scheme, the host and the text of the port. `None` if it is not an origin.
fn split(text: &str) -> Option<(&str, &str, Option<&str>)> {
    if text.len() > limits::ORIGIN_CHARS {
        return None;
    }
    let (scheme, rest) = text.split_once("://")?;
    let scheme_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    if !scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        || !scheme.bytes().all(scheme_byte)
    {
        return None;
    }
    // The colons of an IPv6 address are within its brackets.
    let end = rest.find(']').map_or(0, |bracket| bracket + 1);
    let (host, port) = match rest[end..].find(':') {
        Some(colon) => (&rest[..end + colon], Some(&rest[end + colon + 1..])),
        None => (rest, None),
    };
    is_host(host).then_some((scheme, host, port))
}

fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[') {
        let address = address.strip_suffix(']').unwrap_or_default();
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let host_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !host.is_empty() && host.bytes().all(host_byte)
}

fn number(port: &str) -> Option<u16> {
    // `u16` would accept a sign, too.
    port.bytes().all(|byte| byte.is_ascii_digit()).then(|| port.parse().ok())?
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        scheme if scheme.eq_ignore_ascii_case("http") => Some(80),
        scheme if scheme.eq_ignore_ascii_case("https") => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_by_scheme_host_and_port() {
        for (pattern, yes, no) in [
            ("http://localhost:5173", "http://LOCALHOST:5173", "http://localhost:5174"),
            ("http://localhost:*", "http://localhost", "https://localhost"),
            ("http://localhost:*", "http://localhost:1", "http://localhost.example:1"),
            ("http://localhost", "http://localhost:80", "http://localhost:8080"),
            ("https://app.example", "https://app.example:443", "https://app.example:80"),
            ("capacitor://localhost", "capacitor://localhost", "capacitor://localhost:1"),
            ("http://[::1]:*", "http://[::1]:3000", "http://[::2]:3000"),
            ("null", "null", "http://null"),
        ] {
            let parsed: OriginPattern = pattern.parse().unwrap();
            assert!(parsed.matches(yes), "{pattern} {yes}");
            assert!(!parsed.matches(no), "{pattern} {no}");
            assert_eq!(parsed.to_string(), pattern);
        }
        assert!("*".parse::<OriginPattern>().unwrap().matches("anything at all"));
    }

    #[test]
    fn what_no_browser_sends_is_no_origin() {
        for wrong in [
            "",
            "localhost",
            "http://",
            "http://host/",
            "http://host:",
            "http://host:x",
            "http://host:65536",
            "http://host:+1",
            "http://user@host",
            "http://a b",
            "http://[::1",
            "http://[x]",
            "http://[::1]x:1",
            "://host",
            "1ttp://host",
        ] {
            // An empty port is a text that has no number.
            assert_eq!(Origin::parse(wrong), None, "{wrong}");
            assert!(wrong.parse::<OriginPattern>().is_err(), "{wrong}");
        }
        assert_eq!(Origin::parse(&format!("http://{}", "x".repeat(limits::ORIGIN_CHARS))), None);
    }
}
