//! Access to the control plane.
//!
//! On loopback the control plane has no token unless one is given, so a page in the user's browser must not
//! reach it: a `Host` that is not a local name belongs to a page whose name was made to resolve to this
//! machine (DNS rebinding), and an `Origin` that is not local belongs to a page from another site. If there
//! is a token, who has it has been let in by the user, under whatever name this machine has for him, so the
//! `Host` is not looked at.

use std::net::IpAddr;

use hyper::header::{AUTHORIZATION, HOST, HeaderValue, ORIGIN, WWW_AUTHENTICATE};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use hyper::{StatusCode, Uri};

use super::token::Token;
use crate::net::http::HttpReply;

/// Checks the host of a request. `local_ip` is the local address of its connection.
pub(super) fn check_host(head: &Parts, local_ip: IpAddr) -> Result<(), HttpReply> {
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
        "the Host header must be localhost, a loopback address, or the address this listens on; a house \
         that was started with a token takes any",
    ))
}

/// Checks the origin of a request, and returns it if the request comes from a page.
pub(super) fn check_origin(
    head: &Parts,
    local_ip: IpAddr,
) -> Result<Option<&HeaderValue>, HttpReply> {
    let mut origins = head.headers.get_all(ORIGIN).iter();
    let Some(origin) = origins.next() else { return Ok(None) };
    let local = Uri::try_from(origin.as_bytes()).is_ok_and(|origin| {
        matches!(origin.scheme_str(), Some("http" | "https"))
            && origin.authority().is_some_and(|authority| is_local(authority, local_ip))
    });
    if local && origins.next().is_none() {
        return Ok(Some(origin));
    }
    Err(HttpReply::error(
        StatusCode::FORBIDDEN,
        "forbidden_origin",
        "pages may use this only when they come from localhost, a loopback address, or here",
    ))
}

/// Checks the token of a request.
pub(super) fn check_token(head: &Parts, token: &Token) -> Result<(), HttpReply> {
    if head.headers.get(AUTHORIZATION).is_some_and(|header| token.matches(header)) {
        return Ok(());
    }
    let reply = HttpReply::error(
        StatusCode::UNAUTHORIZED,
        "unauthorized",
        "expected `Authorization: Bearer` with the token that was given to the start, or that it printed",
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

    fn head(headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri("/control/v1/state");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn status<T>(checked: Result<T, HttpReply>) -> u16 {
        checked.map_or_else(|reply| reply.status().as_u16(), |_| 200)
    }

    #[test]
    fn only_local_hosts_are_accepted() {
        let host = |headers: &[(&str, &str)]| status(check_host(&head(headers), OWN));
        for local in [
            "localhost",
            "LocalHost:8090",
            "wwsim.localhost",
            "127.0.0.1:8090",
            "127.9.9.9",
            "[::1]:8090",
            "[::ffff:127.0.0.1]",
            "192.168.1.5:8090",
        ] {
            assert_eq!(host(&[("host", local)]), 200, "{local}");
        }
        for other in [
            "evil.example",
            "localhost.evil.example",
            "192.168.1.6",
            "127.0.0.1.nip.io",
            "localhost@evil.example",
            "evil@localhost",
            "0.0.0.0",
            "",
        ] {
            assert_eq!(host(&[("host", other)]), 403, "{other}");
        }
        assert_eq!(host(&[]), 403, "no Host at all");
        assert_eq!(host(&[("host", "localhost"), ("host", "evil.example")]), 403);
    }

    #[test]
    fn only_local_origins_are_accepted() {
        let origin = |origin| status(check_origin(&head(&[("origin", origin)]), OWN));
        for local in
            ["http://localhost:5173", "https://127.0.0.1", "http://[::1]:1", "http://192.168.1.5"]
        {
            assert_eq!(origin(local), 200, "{local}");
        }
        for other in ["null", "http://evil.example", "file://localhost", "localhost", ""] {
            assert_eq!(origin(other), 403, "{other}");
        }
        let two = head(&[("origin", "http://localhost"), ("origin", "http://evil.example")]);
        assert_eq!(status(check_origin(&two, OWN)), 403);
    }

    #[test]
    fn only_the_token_is_accepted() {
        let token = Token::random().unwrap();
        assert_eq!(token.as_str().len(), 32);
        assert_ne!(token, Token::random().unwrap());
        let with_authorization =
            |header: &str| status(check_token(&head(&[("authorization", header)]), &token));
        assert_eq!(with_authorization(&format!("Bearer {}", token.as_str())), 200);
        assert_eq!(with_authorization(&format!("bearer {}", token.as_str())), 200);
        for wrong in ["Bearer", "Bearer ", "Basic abc", "Bearer 0123", ""] {
            assert_eq!(with_authorization(wrong), 401, "{wrong}");
        }
        assert_eq!(status(check_token(&head(&[]), &token)), 401);
    }
}
