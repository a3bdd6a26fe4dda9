//! The headers and the content that RFC 9110 requires of a reply with a status, or forbids.

use hyper::header::{
    ALLOW, CONTENT_RANGE, CONTENT_TYPE, HeaderName, PROXY_AUTHENTICATE, UPGRADE, WWW_AUTHENTICATE,
};

use crate::problem::Problem;

/// The protocols that a 426 offers in place of plain HTTP, as in RFC 2817.
pub(crate) const UPGRADE_OFFER: &str = "TLS/1.2, HTTP/1.1";

/// Returns the header that a reply with this status must have. The sections are those of RFC 9110.
pub(crate) fn required_header(status: u16) -> Option<HeaderName> {
    Some(match status {
        206 => CONTENT_RANGE,      // 15.3.7
        401 => WWW_AUTHENTICATE,   // 15.5.2
        405 => ALLOW,              // 15.5.6
        407 => PROXY_AUTHENTICATE, // 15.5.8
        426 => UPGRADE,            // 15.5.22
        _ => return None,
    })
}

/// Returns true if a reply with this status has no content: 204 (15.3.5), 205 (15.3.6), 304 (15.4.5).
pub(crate) const fn forbids_content(status: u16) -> bool {
    matches!(status, 204 | 205 | 304)
}

/// Checks that a reply with this status can be sent if nothing but the status is given.
///
/// # Errors
/// A problem that says what is missing.
pub(crate) fn check_alone(status: u16) -> Result<(), Problem> {
    match status {
        100..=199 => Err(Problem::of_document(format!(
            "status {status} is not the end of a reply; expected 200 to 599"
        ))),
        206 => Err(Problem::of_document(
            "status 206 answers a request for a part, and needs `Content-Range`; give both in a route of a target",
        )),
        200..=599 => Ok(()),
        _ => Err(Problem::of_document(format!("status {status}: expected 200 to 599"))),
    }
}

/// Checks that a reply with this status and these headers can be sent.
///
/// # Errors
/// A problem that says what is missing.
pub(crate) fn check_headers(status: u16, headers: &[(String, String)]) -> Result<(), Problem> {
    let value = |wanted: &HeaderName| {
        headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted.as_str()))
    };
    let in_parts = || {
        value(&CONTENT_TYPE).is_some_and(|(_, value)| {
            value.trim_start().to_ascii_lowercase().starts_with("multipart/byteranges")
        })
    };
    if status == 206 && value(&CONTENT_RANGE).is_none() && !in_parts() {
        return Err(Problem::of_document(
            "a reply with status 206 says which part it is; add the header `Content-Range`, as `bytes 0-3/10`",
        ));
    }
    Ok(())
}
