//! Parses the URL of an HTTP request into the parts that sending needs. Ruling: ACTION-3.

use std::net::Ipv6Addr;

/// The scheme of a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

impl Scheme {
    /// Returns the port of a URL without one.
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// The parts of a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UrlParts {
    pub(super) scheme: Scheme,
    /// The name or address; an IPv6 address without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// Path and query, beginning with `/`.
    pub(super) target: String,
}

impl UrlParts {
    /// Parses a URL. The error is a message for the author of the definition.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let (scheme, rest) = scheme(url).ok_or("expected http://… or https://…")?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        if authority.contains('@') {
            return Err(
                "a user name in the URL is not sent: write an `Authorization` header".into()
            );
        }
        let (host, port) = split_port(authority);
        Ok(Self {
            scheme,
            host: parse_host(host)?,
            port: port.map_or(Ok(scheme.default_port()), parse_port)?,
            target: request_target(rest)?,
        })
    }

    /// Returns the value of the `Host` header.
    pub(super) fn authority(&self) -> String {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        let host = format!("{open}{}{close}", self.host);
        if self.port == self.scheme.default_port() { host } else { format!("{host}:{}", self.port) }
    }
}

fn scheme(url: &str) -> Option<(Scheme, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    match scheme.to_ascii_lowercase().as_str() {
        "http" => Some((Scheme::Http, rest)),
        "https" => Some((Scheme::Https, rest)),
        _ => None,
    }
}

/// Splits off the port, if there is one. Colons inside brackets belong to the host.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

fn parse_port(port: &str) -> Result<u16, String> {
    // Parsing a `u16` would accept a sign.
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    port.parse()
        .ok()
        .filter(|port| digits && *port != 0)
        .ok_or_else(|| format!("port `{port}`: expected 1 to 65535"))
}

fn parse_host(host: &str) -> Result<String, String> {
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return if address.parse::<Ipv6Addr>().is_ok() {
            Ok(address.to_owned())
        } else {
            Err(format!("host `{host}`: expected an IPv6 address between the brackets"))
        };
    }
    let is_name_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if host.is_empty() {
        Err("no host after the scheme".to_owned())
    } else if host.chars().all(is_name_char) {
        Ok(host.to_owned())
    } else {
        Err(format!(
            "host `{host}`: expected a name of letters, digits, `.`, `-`, `_`, an address, or an IPv6 address in brackets"
        ))
    }
}

/// Returns the path and query for the request line. `rest` is the URL after the authority.
fn request_target(rest: &str) -> Result<String, String> {
    let path = rest.split_once('#').map_or(rest, |(path, _fragment)| path);
    let target = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    if let Some(c) = target.chars().find(|c| c.is_whitespace() || c.is_control()) {
        return Err(format!("{c:?} in the path or query: percent-encode it"));
    }
    // The HTTP library must accept the target, or the request could not be sent.
    match target.parse::<hyper::Uri>() {
        Ok(_) => Ok(target),
        Err(error) => Err(format!("path or query `{target}`: {error}; percent-encode it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> (String, u16, String, String) {
        let url = UrlParts::parse(url).unwrap();
        let authority = url.authority();
        (url.host, url.port, authority, url.target)
    }

    fn parts(
        host: &str,
        port: u16,
        authority: &str,
        target: &str,
    ) -> (String, u16, String, String) {
        (host.into(), port, authority.into(), target.into())
    }

    // Ruling: ACTION-3.
    #[test]
    fn a_url_is_split_into_its_parts() {
        for (url, expected) in [
            ("http://a", parts("a", 80, "a", "/")),
            ("https://a.b", parts("a.b", 443, "a.b", "/")),
            ("HTTP://A:8080/x", parts("A", 8080, "A:8080", "/x")),
            ("http://a:80/x?y=1&z", parts("a", 80, "a", "/x?y=1&z")),
            ("https://a:80", parts("a", 80, "a:80", "/")),
            ("http://a?y=/", parts("a", 80, "a", "/?y=/")),
            ("http://a//b", parts("a", 80, "a", "//b")),
            ("http://a/b#c?d", parts("a", 80, "a", "/b")),
            ("http://a#c", parts("a", 80, "a", "/")),
            ("http://[::1]", parts("::1", 80, "[::1]", "/")),
            ("http://[fe80::1]:81/", parts("fe80::1", 81, "[fe80::1]:81", "/")),
            ("http://a/ü", parts("a", 80, "a", "/ü")),
            ("http://a/${open", parts("a", 80, "a", "/${open")),
        ] {
            assert_eq!(parsed(url), expected, "{url}");
        }
    }

    // Ruling: ACTION-3.
    #[test]
    fn a_url_that_cannot_be_sent_is_refused_with_the_reason() {
        for (url, reason) in [
            ("ftp://a/", "http://"),
            ("a/b", "http://"),
            ("http:/a", "http://"),
            ("http:///x", "no host"),
            ("http://:80/", "no host"),
            ("http://a:0/", "port `0`"),
            ("http://a:/", "port ``"),
            ("http://a:65536/", "port `65536`"),
            ("http://a:+80/", "port `+80`"),
            ("http://u:p@a/", "Authorization"),
            ("http://a b/", "host `a b`"),
            ("http://bücher/", "host `bücher`"),
            ("http://[::g]/", "IPv6"),
            ("http://::1/", "host `:`"),
            ("http://a/b c", "percent-encode"),
            ("http://a/b\nc", "percent-encode"),
            ("http://a/b\u{7f}c", "percent-encode"),
            ("http://a/<b>", "percent-encode"),
        ] {
            let error = UrlParts::parse(url).unwrap_err();
            assert!(error.contains(reason), "{url}: {error}");
        }
    }
}
