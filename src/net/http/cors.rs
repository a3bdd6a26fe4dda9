//! CORS: the headers without which a browser does not let a page send a request or see its reply. Who may
//! is decided by the server.
//!
//! `Vary: Origin` is not sent, because every reply is `no-store`, so that no cache can give the reply for
//! one page to another.

use hyper::StatusCode;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderName, HeaderValue,
};
use hyper::http::request::Parts;

use super::HttpReply;

/// The header of a private-network preflight.
const REQUEST_PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-request-private-network");
/// The header of the reply to a private-network preflight.
const ALLOW_PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-allow-private-network");

/// Request headers that a page may send if its browser does not ask for any.
const ALLOWED_HEADERS: &str = "Authorization, Content-Type";
/// Seconds for which a browser may cache a preflight: a change of what is allowed takes effect by then.
const MAX_AGE: &str = "600";

/// Adds the headers without which a browser does not let a page of `origin` see the reply, and the
/// response headers that the page may read beside those that every page may.
pub(crate) fn let_page_read(
    reply: HttpReply,
    origin: &HeaderValue,
    exposed_headers: &str,
) -> HttpReply {
    reply
        .with_header_value(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone())
        .with_header(ACCESS_CONTROL_EXPOSE_HEADERS, exposed_headers)
}

/// Returns true if the request of a page asks whether the page may send another one.
pub(crate) fn is_preflight(head: &Parts) -> bool {
    head.method == hyper::Method::OPTIONS
        && head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Returns the reply that lets a page of `origin` send a request with one of these methods, and with the
/// headers that it asks for.
pub(crate) fn preflight_reply(head: &Parts, origin: &HeaderValue, methods: &str) -> HttpReply {
    let mut reply = HttpReply::empty(StatusCode::NO_CONTENT)
        .with_header_value(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone())
        .with_header(ACCESS_CONTROL_ALLOW_METHODS, methods);
    reply = match head.headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        Some(requested) => reply.with_header_value(ACCESS_CONTROL_ALLOW_HEADERS, requested.clone()),
        None => reply.with_header(ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS),
    };
    if head.headers.get(REQUEST_PRIVATE_NETWORK).is_some_and(|value| value == "true") {
        reply = reply.with_header(ALLOW_PRIVATE_NETWORK, "true");
    }
    reply.with_header(ACCESS_CONTROL_MAX_AGE, MAX_AGE)
}
