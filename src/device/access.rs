//! Who gets in: how strictly Digest is read, and which pages may use the API
//! (`docs/device/access.md`).

use std::fmt;
use std::str::FromStr;

use crate::limits;

/// What a scenario says about access; the password is a setting of the device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessPolicy {
    /// How strictly Digest is read.
    pub digest: DigestMode,
    /// The origins that may use the API from a browser, beside the device's own.
    pub origins: Vec<OriginPattern>,
}

/// How strictly Digest is read (ACCESS-11).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum DigestMode {
    /// As real client libraries write it, too.
    #[default]
    Tolerant,
    /// RFC 7616 with exactly what the challenge offered.
    Strict,
}

/// Where a page comes from, as its browser says: `scheme://host[:port]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin<'a> {
    /// `http`, `https`, or what an app calls its own pages.
    pub scheme: &'a str,
    /// A name, an IPv4 address, or an IPv6 address in brackets; in any case.
    pub host: &'a str,
    /// Where it is not the scheme's own.
    pub port: Option<u16>,
}

impl<'a> Origin<'a> {
    /// Reads an `Origin` header; `null` and all that is no origin are none.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let (scheme, host, port) = split(text)?;
        let port = match port {
            None => None,
            Some(port) => Some(number(port)?),
        };
        Some(Self { scheme, host, port })
    }

    /// The port, the scheme's own where none is given.
    #[must_use]
    pub fn effective_port(&self) -> Option<u16> {
        self.port.or_else(|| default_port(self.scheme))
    }
}

/// Origins that a scenario allows: one, one at any port, `null`, or all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OriginPattern {
    /// `*`: every page.
    Any,
    /// `null`: pages from a file.
    Null,
    /// One scheme and host.
    Host {
        /// In lower case.
        scheme: String,
        /// In lower case.
        host: String,
        /// Which of its ports.
        port: PortPattern,
    },
}

/// The ports of an [`OriginPattern`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortPattern {
    /// `:*`.
    Any,
    /// The one given, or the scheme's own.
    One(Option<u16>),
}

impl OriginPattern {
    /// Whether an `Origin` header is among these.
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

impl FromStr for OriginPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "*" => return Ok(Self::Any),
            "null" => return Ok(Self::Null),
            _ => {}
        }
        let wrong = || {
            format!(
                "origin `{}`: expected scheme://host, with :port or :* where it has one, as \
                 http://localhost:5173",
                text.chars().take(limits::ORIGIN_CHARS).collect::<String>()
            )
        };
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

/// Scheme, host and the text of the port.
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
    // The colons of an IPv6 address stand within its brackets.
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
    // `u16` would read a sign, too.
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
