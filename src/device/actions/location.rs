//! Where an HTTP request goes: the parts of a URL that a request needs.
//!
//! Which URLs are taken: ACTION-3.

use std::net::Ipv6Addr;

/// How a target is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// The port where the URL names none.
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// A URL, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) scheme: Scheme,
    /// A name or an address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// Path and query, beginning with `/`.
    pub(super) target: String,
}

impl Location {
    /// Takes a URL apart; the error is a message for whoever wrote it.
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
            host: plain_host(host)?,
            port: port.map_or(Ok(scheme.default_port()), parse_port)?,
            target: target(rest)?,
        })
    }

    /// What a `Host` header says of it.
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

/// The host, and the port as typed; the colons within brackets belong to the host.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

fn parse_port(port: &str) -> Result<u16, String> {
    // `u16` would read a sign, too.
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    port.parse()
        .ok()
        .filter(|port| digits && *port != 0)
        .ok_or_else(|| format!("port `{port}`: expected 1 to 65535"))
}

fn plain_host(host: &str) -> Result<String, String> {
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        let known = address.parse::<Ipv6Addr>().is_ok();
        return if known {
            Ok(address.to_owned())
        } else {
            Err(format!("host `{host}`: expected an IPv6 address between the brackets"))
        };
    }
    let name_like = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if host.is_empty() {
        Err("no host after the scheme".to_owned())
    } else if host.chars().all(name_like) {
        Ok(host.to_owned())
    } else {
        Err(format!(
            "host `{host}`: expected a name of letters, digits, `.`, `-`, `_`, an address, or an IPv6 address in brackets"
        ))
    }
}

/// Path and query as a request line carries them; `rest` is what follows the authority.
fn target(rest: &str) -> Result<String, String> {
    let sent = rest.split_once('#').map_or(rest, |(sent, _fragment)| sent);
    let target = if sent.starts_with('/') { sent.to_owned() } else { format!("/{sent}") };
    if let Some(wrong) = target.chars().find(|c| c.is_whitespace() || c.is_control()) {
        return Err(format!("{wrong:?} in the path or query: percent-encode it"));
    }
    // What the HTTP library cannot put into a request line, a request could not be sent with.
    match target.parse::<hyper::Uri>() {
        Ok(_) => Ok(target),
        Err(error) => Err(format!("path or query `{target}`: {error}; percent-encode it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> (String, u16, String, String) {
        let location = Location::parse(url).unwrap();
        let authority = location.authority();
        (location.host, location.port, authority, location.target)
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
    fn a_url_comes_apart() {
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
    fn what_cannot_be_sent_is_refused_with_the_reason() {
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
            let error = Location::parse(url).unwrap_err();
            assert!(error.contains(reason), "{url}: {error}");
        }
    }
}
