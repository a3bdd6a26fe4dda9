//! Replies: the headers and bodies that all of the device's have in common (contract §1).
//!
//! The order of the headers is that of the vendor's published call reply: what describes the body,
//! what belongs to this reply, then the two that every reply carries.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use hyper::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};

use super::stream::Afterwards;

/// A reply: its status, its body, and the headers that it alone has.
#[derive(Debug)]
pub struct Reply {
    status: StatusCode,
    content: Option<Content>,
    headers: Vec<(HeaderName, HeaderValue)>,
    closes: bool,
    afterwards: Option<Afterwards>,
}

#[derive(Debug, Clone, PartialEq)]
struct Content {
    kind: &'static str,
    bytes: Bytes,
}

const JSON: &str = "application/json; charset=utf-8";

impl Reply {
    /// A reply without a body: `Content-Length: 0`, and not even that for a 204.
    #[must_use]
    pub fn empty(status: StatusCode) -> Self {
        Self { status, content: None, headers: Vec::new(), closes: false, afterwards: None }
    }

    /// A reply of this media type.
    #[must_use]
    pub fn content(status: StatusCode, kind: &'static str, bytes: impl Into<Bytes>) -> Self {
        let content = Content { kind, bytes: bytes.into() };
        Self { content: Some(content), ..Self::empty(status) }
    }

    /// A reply whose body is JSON already.
    #[must_use]
    pub fn raw_json(status: StatusCode, json: impl Into<Bytes>) -> Self {
        Self::content(status, JSON, json)
    }

    /// A reply with this value as JSON.
    #[must_use]
    pub fn json(status: StatusCode, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(json) => Self::raw_json(status, json),
            // Only a map with keys that are no strings, which no reply has, gets here.
            Err(error) => Self::error(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal_error",
                &format!("the reply has no JSON form: {error}"),
            ),
        }
    }

    /// An error, in the shape all of the device's errors have: `error` for programs, `message` for
    /// people.
    #[must_use]
    pub fn error(status: StatusCode, key: &str, message: &str) -> Self {
        Self::json(status, &json!({ "error": key, "message": message }))
    }

    /// An error with `details`.
    #[must_use]
    pub fn error_with(status: StatusCode, key: &str, message: &str, details: &Value) -> Self {
        Self::json(status, &json!({ "error": key, "message": message, "details": details }))
    }

    /// The same with a header of its own; `value` is visible ASCII.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    /// The same as the last reply of its connection.
    #[must_use]
    pub fn closing(mut self) -> Self {
        self.closes = true;
        self
    }

    /// The same, and `effect` follows once it is out, or cannot go out any more.
    #[must_use]
    pub(super) fn then(mut self, effect: impl FnOnce() + Send + Sync + 'static) -> Self {
        self.afterwards = Some(Afterwards::new(effect));
        self
    }

    /// What follows once this is out.
    pub(super) fn take_afterwards(&mut self) -> Option<Afterwards> {
        self.afterwards.take()
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The body; empty where there is none.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        self.content.as_ref().map(|content| content.bytes.clone()).unwrap_or_default()
    }

    /// Whether its connection ends with it.
    #[must_use]
    pub fn closes(&self) -> bool {
        self.closes
    }

    /// The same with a JSON body that breaks off in the middle and says it is whole. What has no
    /// JSON body gets the beginning of one, a 204 as a 200, because a 204 cannot have a body.
    #[must_use]
    pub(super) fn malformed(mut self) -> Self {
        if self.status == StatusCode::NO_CONTENT {
            self.status = StatusCode::OK;
        }
        let bytes = match self.content {
            // Every JSON body is an object or an array: no beginning of one is valid.
            Some(Content { kind: JSON, bytes }) => bytes.slice(..bytes.len().div_ceil(2)),
            _ => Bytes::from_static(b"{\""),
        };
        self.content = Some(Content { kind: JSON, bytes });
        self
    }

    /// The reply as hyper sends it; `handed_over` is dropped when hyper has all of its body.
    pub(crate) fn into_response<G>(self, handed_over: G) -> Response<Body<G>> {
        let mut response = Response::new(Body { rest: None, _handed_over: handed_over });
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        let mut rest = Some(Bytes::new()).filter(|_| self.status != StatusCode::NO_CONTENT);
        if let Some(content) = self.content {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content.kind));
            rest = Some(content.bytes);
        }
        if let Some(bytes) = &rest {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
        }
        headers.extend(self.headers);
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store, no-cache"));
        if self.closes {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response.body_mut().rest = rest;
        response
    }
}

/// The body of a [`Reply`], one piece.
///
/// hyper drops a `Content-Length: 0` from its place and writes it behind all other headers where the
/// body says that it has ended before it was asked. So this one, though empty, has not.
#[derive(Debug)]
pub struct Body<G = ()> {
    rest: Option<Bytes>,
    _handed_over: G,
}

impl<G: Unpin> hyper::body::Body for Body<G> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.rest.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_body_is_never_json() {
        let broken = |reply: Reply| {
            let reply = reply.malformed();
            serde_json::from_slice::<Value>(&reply.bytes()).unwrap_err();
            assert_ne!(reply.status(), StatusCode::NO_CONTENT);
            reply.bytes()
        };
        assert_eq!(broken(Reply::raw_json(StatusCode::OK, "[]")), "[");
        assert_eq!(broken(Reply::raw_json(StatusCode::OK, "{\"a\":1}")), "{\"a\"");
        assert_eq!(broken(Reply::empty(StatusCode::NO_CONTENT)), "{\"");
        assert_eq!(broken(Reply::content(StatusCode::OK, "text/html", "<p>")), "{\"");
    }
}
