//! Access to the control plane.
//!
//! The control plane has no password on loopback, so a page in the user's browser must not reach it.
//! A `Host` that is not a local name belongs to a page whose name was made to resolve to this machine
//! (DNS rebinding); an `Origin` that is not local belongs to a page from another site. Beyond loopback
//! a token is required as well.

use std::fmt::{self, Write};
use std::net::IpAddr;

use hyper::header::{AUTHORIZATION, HOST, HeaderValue, ORIGIN, WWW_AUTHENTICATE};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use hyper::{StatusCode, Uri};
use subtle::ConstantTimeEq;
use tokio_rustls::rustls::crypto::ring;

use crate::net::http::HttpReply;

/// The token that `Authorization: Bearer` must carry if the control plane is bound beyond loopback.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(String);

impl Token {
    /// Generates a token of 128 random bits.
    ///
    /// # Errors
    /// Returns an error if the system gives no random bytes.
    pub(crate) fn random() -> std::io::Result<Self> {
        let mut bytes = [0; 16];
        let random = ring::default_provider().secure_random;
        random.fill(&mut bytes).map_err(|error| std::io::Error::other(format!("{error:?}")))?;
        let mut text = String::with_capacity(2 * bytes.len());
        for byte in bytes {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Ok(Self(text))
    }

    /// Returns the token as the ready file contains it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns true if the header carries this token. The comparison takes constant time.
    fn matches(&self, header: &HeaderValue) -> bool {
        let Some((scheme, value)) = header.as_bytes().split_at_checked(7) else { return false };
        scheme.eq_ignore_ascii_case(b"bearer ") && value.ct_eq(self.0.as_bytes()).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Checks host, origin and token of a request. `local_ip` is the local address of its connection.
pub(super) fn check(
    head: &Parts,
    local_ip: IpAddr,
    token: Option<&Token>,
) -> Result<(), HttpReply> {
    check_host(head, local_ip)?;
    check_origin(head, local_ip)?;
    check_token(head, token)
}

fn check_host(head: &Parts, local_ip: IpAddr) -> Result<(), HttpReply> {
    let mut hosts = head.headers.get_all(HOST).iter().peekable();
    // A request target in absolute form (RFC 9112, §3.2.2) names the host as well.
    let target_authority = head.uri.authority();
    let has_host = hosts.peek().is_some() || target_authority.is_some();
    let local = |authority: &Authority| is_local(authority, local_ip);
    let all_local =
        hosts.all(|host| Authority::try_from(host.as_bytes()).is_ok_and(|host| local(&host)));
    if has_host && all_local && target_authority.is_none_or(local) {
        return Ok(());
    }
    Err(HttpReply::error(
        StatusCode::FORBIDDEN,
        "forbidden_host",
        "the Host header must be localhost, a loopback address, or the address this listens on",
    ))
}

fn check_origin(head: &Parts, local_ip: IpAddr) -> Result<(), HttpReply> {
    let mut origins = head.headers.get_all(ORIGIN).iter();
    let local = origins.all(|origin| {
        let origin = Uri::try_from(origin.as_bytes());
        origin.is_ok_and(|origin| {
            matches!(origin.scheme_str(), Some("http" | "https"))
                && origin.authority().is_some_and(|authority| is_local(authority, local_ip))
        })
    });
    if local {
        return Ok(());
    }
    Err(HttpReply::error(
        StatusCode::FORBIDDEN,
        "forbidden_origin",
        "pages may use this only when they come from localhost, a loopback address, or here",
    ))
}

fn check_token(head: &Parts, token: Option<&Token>) -> Result<(), HttpReply> {
    let Some(token) = token else { return Ok(()) };
    if head.headers.get(AUTHORIZATION).is_some_and(|header| token.matches(header)) {
        return Ok(());
    }
    let reply = HttpReply::error(
        StatusCode::UNAUTHORIZED,
        "unauthorized",
        "expected `Authorization: Bearer` with the token that the start printed",
    );
    Err(reply.with_header(WWW_AUTHENTICATE, "Bearer"))
}

/// Returns true if a `Host` or an origin names this machine itself, or the local address of the
/// connection.
fn is_local(authority: &Authority, local_ip: IpAddr) -> bool {
    if authority.as_str().contains('@') {
        return false;
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = host.parse::<IpAddr>() {
        let address = address.to_canonical();
        return address.is_loopback() || address == local_ip.to_canonical();
    }
    let host = host.to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    const OWN: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 1, 5));

    fn status(headers: &[(&str, &str)], token: Option<&Token>) -> u16 {
        let mut request = Request::builder().uri("/control/v1/state");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        check(&head, OWN, token).map_or_else(|reply| reply.status().as_u16(), |()| 200)
    }

    #[test]
    fn only_local_hosts_are_accepted() {
        for host in [
            "localhost",
            "LocalHost:8090",
            "wwsim.localhost",
            "127.0.0.1:8090",
            "127.9.9.9",
            "[::1]:8090",
            "[::ffff:127.0.0.1]",
            "192.168.1.5:8090",
        ] {
            assert_eq!(status(&[("host", host)], None), 200, "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "192.168.1.6",
            "127.0.0.1.nip.io",
            "localhost@evil.example",
            "evil@localhost",
            "0.0.0.0",
            "",
        ] {
            assert_eq!(status(&[("host", host)], None), 403, "{host}");
        }
        assert_eq!(status(&[], None), 403, "no Host at all");
        assert_eq!(status(&[("host", "localhost"), ("host", "evil.example")], None), 403);
    }

    #[test]
    fn only_local_origins_are_accepted() {
        let origin = |origin| status(&[("host", "localhost"), ("origin", origin)], None);
        for local in
            ["http://localhost:5173", "https://127.0.0.1", "http://[::1]:1", "http://192.168.1.5"]
        {
            assert_eq!(origin(local), 200, "{local}");
        }
        for other in ["null", "http://evil.example", "file://localhost", "localhost", ""] {
            assert_eq!(origin(other), 403, "{other}");
        }
    }

    #[test]
    fn a_token_is_required_if_there_is_one() {
        let token = Token::random().unwrap();
        assert_eq!(token.as_str().len(), 32);
        assert_ne!(token, Token::random().unwrap());
        let with_authorization = |header: &str| {
            status(&[("host", "localhost"), ("authorization", header)], Some(&token))
        };
        assert_eq!(with_authorization(&format!("Bearer {}", token.as_str())), 200);
        assert_eq!(with_authorization(&format!("bearer {}", token.as_str())), 200);
        for wrong in ["Bearer", "Bearer ", "Basic abc", "Bearer 0123", ""] {
            assert_eq!(with_authorization(wrong), 401, "{wrong}");
        }
        assert_eq!(status(&[("host", "localhost")], Some(&token)), 401);
    }
}
