//! Replies: the headers and bodies that all of the device's have in common (`docs/device/http.md`).
//!
//! The order of the headers is that of the vendor's published call reply: what describes the body,
//! what belongs to this reply, then the two that every reply carries.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::spelling;
use super::stream::{Afterwards, DeliveryControl};

/// A reply: its status, its body, and the headers that it alone has.
#[derive(Debug)]
pub struct HttpReply {
    status: StatusCode,
    content: ReplyContent,
    headers: Vec<(HeaderName, HeaderValue)>,
    closes: bool,
    afterwards: Option<Afterwards>,
}

/// What a reply has for a body.
#[derive(Debug)]
enum ReplyContent {
    /// None.
    Nothing,
    /// One piece, known as a whole.
    Whole { kind: &'static str, bytes: Bytes },
    /// So many bytes, each piece when it comes.
    Pieces { kind: &'static str, pieces: Pieces },
    /// Server-Sent Events, each when it comes.
    Events(Events),
}

#[derive(Debug)]
struct Pieces {
    left: u64,
    queue: mpsc::Receiver<Bytes>,
}

#[derive(Debug)]
struct Events {
    queue: mpsc::Receiver<Bytes>,
    breaks: Breaks,
}

/// How a stream of events ends once its sender is gone: properly, unless it was told to break.
#[derive(Debug, Clone, Default)]
pub(crate) struct Breaks(Arc<BreaksOf>);

#[derive(Debug, Default)]
struct BreaksOf {
    off: AtomicBool,
    /// What carries the stream, once it does.
    wire: OnceLock<Arc<DeliveryControl>>,
}

impl Breaks {
    /// The connection drops behind the last event, and the client can tell that something is missing.
    pub(crate) fn off(&self) {
        self.0.off.store(true, Ordering::Release);
    }

    /// The connection is reset, whatever is still to be sent.
    pub(crate) fn now(&self) {
        self.off();
        if let Some(wire) = self.0.wire.get() {
            wire.break_off();
        }
    }
}

const JSON: &str = "application/json; charset=utf-8";
const EVENTS: &str = "text/event-stream";

impl HttpReply {
    /// A reply without a body: `ReplyContent-Length: 0`, and not even that for a 204.
    #[must_use]
    pub fn empty(status: StatusCode) -> Self {
        Self {
            status,
            content: ReplyContent::Nothing,
            headers: Vec::new(),
            closes: false,
            afterwards: None,
        }
    }

    /// A reply of this media type.
    #[must_use]
    pub fn content(status: StatusCode, kind: &'static str, bytes: impl Into<Bytes>) -> Self {
        let content = ReplyContent::Whole { kind, bytes: bytes.into() };
        Self { content, ..Self::empty(status) }
    }

    /// A reply of this media type whose `size` bytes come out of `queue` piece by piece. Where the
    /// sender is dropped before, the connection breaks off.
    #[must_use]
    pub(crate) fn file(kind: &'static str, size: u64, queue: mpsc::Receiver<Bytes>) -> Self {
        let content = ReplyContent::Pieces { kind, pieces: Pieces { left: size, queue } };
        Self { content, ..Self::empty(StatusCode::OK) }
    }

    /// A stream of Server-Sent Events: whatever comes out of `queue` is sent as it is and at once,
    /// one chunk each. It ends, and the connection with it, when the sender is dropped; the receiver
    /// is dropped when the client leaves, which [`mpsc::Sender::closed`] tells.
    #[must_use]
    pub fn events(queue: mpsc::Receiver<Bytes>) -> Self {
        Self::breakable_events(queue, Breaks::default())
    }

    /// The same, and it can be broken off.
    #[must_use]
    pub(crate) fn breakable_events(queue: mpsc::Receiver<Bytes>, breaks: Breaks) -> Self {
        let content = ReplyContent::Events(Events { queue, breaks });
        Self { content, closes: true, ..Self::empty(StatusCode::OK) }
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
    pub fn with(self, name: HeaderName, value: &str) -> Self {
        match HeaderValue::from_str(value) {
            Ok(value) => self.with_value(name, value),
            Err(_) => self,
        }
    }

    /// The same with a header of its own.
    #[must_use]
    pub(crate) fn with_value(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
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
    pub(crate) fn then(mut self, effect: impl FnOnce() + Send + Sync + 'static) -> Self {
        self.afterwards = Some(Afterwards::new(effect));
        self
    }

    /// Says what is going to carry it.
    pub(crate) fn carried_by(&self, wire: &Arc<DeliveryControl>) {
        if let ReplyContent::Events(events) = &self.content {
            // It is carried once.
            let _ = events.breaks.0.wire.set(Arc::clone(wire));
        }
    }

    /// What follows once this is out.
    pub(crate) fn take_afterwards(&mut self) -> Option<Afterwards> {
        self.afterwards.take()
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The body; empty where there is none or it is a stream.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        match &self.content {
            ReplyContent::Whole { bytes, .. } => bytes.clone(),
            ReplyContent::Nothing | ReplyContent::Pieces { .. } | ReplyContent::Events(_) => {
                Bytes::new()
            }
        }
    }

    /// The headers that it alone has, by name and value.
    pub fn headers(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.headers.iter().map(|(name, value)| (name, value))
    }

    /// Whether its connection ends with it.
    #[must_use]
    pub fn closes(&self) -> bool {
        self.closes
    }

    /// The same with a JSON body that breaks off in the middle and says it is whole. What has no
    /// JSON body gets the beginning of one, a 204 as a 200, because a 204 cannot have a body.
    #[must_use]
    pub(crate) fn malformed(mut self) -> Self {
        if self.status == StatusCode::NO_CONTENT {
            self.status = StatusCode::OK;
        }
        let bytes = match self.content {
            // Every JSON body is an object or an array: no beginning of one is valid.
            ReplyContent::Whole { kind: JSON, bytes } => bytes.slice(..bytes.len().div_ceil(2)),
            _ => Bytes::from_static(b"{\""),
        };
        self.content = ReplyContent::Whole { kind: JSON, bytes };
        self
    }

    /// The reply as hyper sends it; `handed_over` is dropped when hyper has all of its body.
    #[must_use]
    pub fn into_response<G>(self, handed_over: G) -> Response<Body<G>> {
        let (kind, rest) = match self.content {
            ReplyContent::Whole { kind, bytes } => (Some(kind), BodyRest::Piece(bytes)),
            ReplyContent::Pieces { kind, pieces } => (Some(kind), BodyRest::Pieces(pieces)),
            ReplyContent::Events(events) => (Some(EVENTS), BodyRest::Events(events)),
            ReplyContent::Nothing if self.status == StatusCode::NO_CONTENT => {
                (None, BodyRest::Over)
            }
            ReplyContent::Nothing => (None, BodyRest::Piece(Bytes::new())),
        };
        let mut response = Response::new(());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        if let Some(kind) = kind {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        match &rest {
            BodyRest::Piece(bytes) => {
                headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
            }
            BodyRest::Pieces(pieces) => {
                headers.insert(CONTENT_LENGTH, HeaderValue::from(pieces.left));
            }
            BodyRest::Events(_) | BodyRest::Broken | BodyRest::Over => {}
        }
        headers.extend(self.headers);
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store, no-cache"));
        if self.closes {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        spelling::spell(&mut response);
        response.map(|()| Body { rest, _handed_over: handed_over })
    }
}

/// The body of a [`HttpReply`].
#[derive(Debug)]
pub struct Body<G = ()> {
    rest: BodyRest,
    _handed_over: G,
}

/// What of a body is still to be sent.
///
/// hyper drops a `ReplyContent-Length: 0` from its place and writes it behind all other headers where the
/// body says that it has ended before it was asked. So a piece, though empty, has not.
#[derive(Debug)]
enum BodyRest {
    Piece(Bytes),
    Pieces(Pieces),
    /// What has no length is sent in chunks, to HTTP/1.0 up to the end of the connection.
    Events(Events),
    /// Nothing, and the end of the body is missing.
    Broken,
    Over,
}

/// A body that was told to break off, or has no source any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body breaks off")]
pub struct BrokenOff;

impl<G> Body<G> {
    /// The next piece of what has a length; none came where it breaks off.
    fn take(&mut self, piece: Option<Bytes>) -> Result<Frame<Bytes>, BrokenOff> {
        if let (BodyRest::Pieces(pieces), Some(mut piece)) = (&mut self.rest, piece) {
            // More than was promised would be taken for the next reply.
            piece.truncate(usize::try_from(pieces.left).unwrap_or(usize::MAX));
            pieces.left -= piece.len() as u64;
            return Ok(Frame::data(piece));
        }
        self.rest = BodyRest::Over;
        Err(BrokenOff)
    }
}

impl<G: Unpin> hyper::body::Body for Body<G> {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        if let BodyRest::Pieces(Pieces { left: 1.., queue }) = &mut self.rest {
            let piece = ready!(queue.poll_recv(context));
            return Poll::Ready(Some(self.take(piece)));
        }
        if let BodyRest::Events(Events { queue, breaks }) = &mut self.rest {
            if let Some(event) = ready!(queue.poll_recv(context)) {
                return Poll::Ready(Some(Ok(Frame::data(event))));
            }
            if breaks.0.off.load(Ordering::Acquire) {
                // hyper writes what it has only when there is nothing more for the moment, and
                // throws it away on an error: so the error comes with the next poll.
                self.rest = BodyRest::Broken;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        Poll::Ready(match std::mem::replace(&mut self.rest, BodyRest::Over) {
            BodyRest::Piece(bytes) => Some(Ok(Frame::data(bytes))),
            BodyRest::Broken => Some(Err(BrokenOff)),
            BodyRest::Pieces(_) | BodyRest::Events(_) | BodyRest::Over => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.rest, BodyRest::Over | BodyRest::Pieces(Pieces { left: 0, .. }))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.rest {
            BodyRest::Piece(bytes) => SizeHint::with_exact(bytes.len() as u64),
            BodyRest::Pieces(pieces) => SizeHint::with_exact(pieces.left),
            BodyRest::Over => SizeHint::with_exact(0),
            BodyRest::Events(_) | BodyRest::Broken => SizeHint::default(),
        }
    }
}

/// 405 with the methods that there are.
pub(crate) fn method_not_allowed(method: &str, allowed: &str) -> HttpReply {
    let message = format!("{method} is not possible here; this path takes {allowed}");
    HttpReply::error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", &message)
        .with(ALLOW, allowed)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use jiff::Timestamp;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::super::http;
    use super::super::stream::{DeliveryPlan, FaultyStream};
    use super::*;
    use crate::clock::{Clock, Speed};

    #[test]
    fn a_malformed_body_is_never_json() {
        let broken = |reply: HttpReply| {
            let reply = reply.malformed();
            serde_json::from_slice::<Value>(&reply.bytes()).unwrap_err();
            assert_ne!(reply.status(), StatusCode::NO_CONTENT);
            reply.bytes()
        };
        assert_eq!(broken(HttpReply::raw_json(StatusCode::OK, "[]")), "[");
        assert_eq!(broken(HttpReply::raw_json(StatusCode::OK, "{\"a\":1}")), "{\"a\"");
        assert_eq!(broken(HttpReply::empty(StatusCode::NO_CONTENT)), "{\"");
        assert_eq!(broken(HttpReply::content(StatusCode::OK, "text/html", "<p>")), "{\"");
    }

    /// Serves one connection whose every request gets the events of `queue`.
    async fn stream(plan: DeliveryPlan) -> (TcpStream, mpsc::Sender<Bytes>, Breaks) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let (sender, queue) = mpsc::channel(4);
        let breaks = Breaks::default();
        let reply = HttpReply::breakable_events(queue, breaks.clone());
        let wire = Arc::new(DeliveryControl::default());
        let clock = Clock::new(Timestamp::UNIX_EPOCH, Speed::REAL);
        tokio::spawn({
            let clock = clock.clone();
            async move { clock.drive().await }
        });
        let accepted = FaultyStream::new(accepted, Arc::clone(&wire), clock);
        let reply = parking_lot::Mutex::new(Some(reply));
        let service = service_fn(move |_| {
            let reply = reply.lock().take().unwrap();
            let wire = Arc::clone(&wire);
            async move { Ok::<_, BrokenOff>(reply.into_response(wire.begin(plan, None).await)) }
        });
        tokio::spawn(async move {
            let _ = http().serve_connection(TokioIo::new(accepted), service).await;
        });
        (client, sender, breaks)
    }

    async fn read(client: &mut TcpStream, expected: &str) {
        let mut bytes = vec![0; expected.len()];
        client.read_exact(&mut bytes).await.unwrap();
        assert_eq!(String::from_utf8(bytes).unwrap(), expected);
    }

    const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
        X-Content-Type-Options: nosniff\r\nCache-Control: no-store, no-cache\r\n\
        Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n";

    #[tokio::test]
    async fn events_go_out_at_once_and_end_with_their_sender() {
        let (mut client, events, _) = stream(DeliveryPlan::Whole).await;
        client.write_all(GET).await.unwrap();
        read(&mut client, HEAD).await;
        events.send(Bytes::from_static(b"event: a\n\n")).await.unwrap();
        read(&mut client, "A\r\nevent: a\n\n\r\n").await;
        events.send(Bytes::from_static(b"event: b\n\n")).await.unwrap();
        read(&mut client, "A\r\nevent: b\n\n\r\n").await;
        drop(events);
        let mut rest = String::new();
        client.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "0\r\n\r\n");
    }

    #[tokio::test]
    async fn an_old_client_gets_events_without_chunks() {
        let (mut client, events, _) = stream(DeliveryPlan::Whole).await;
        client.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
        events.send(Bytes::from_static(b"event: a\n\n")).await.unwrap();
        drop(events);
        let mut all = String::new();
        client.read_to_string(&mut all).await.unwrap();
        assert!(all.ends_with("close\r\n\r\nevent: a\n\n"), "{all}");
    }

    #[tokio::test]
    async fn the_sender_knows_at_once_that_the_client_left() {
        let (mut client, events, _) = stream(DeliveryPlan::Whole).await;
        client.write_all(GET).await.unwrap();
        read(&mut client, HEAD).await;
        assert!(!events.is_closed());
        drop(client);
        events.closed().await;
    }

    #[tokio::test]
    async fn a_stream_that_breaks_off_has_no_end() {
        let (mut client, events, breaks) = stream(DeliveryPlan::Whole).await;
        client.write_all(GET).await.unwrap();
        read(&mut client, HEAD).await;
        events.send(Bytes::from_static(b"eve")).await.unwrap();
        breaks.off();
        drop(events);
        let mut rest = String::new();
        client.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "3\r\neve\r\n");
    }

    #[tokio::test]
    async fn a_stream_can_be_cut_and_can_drip() {
        let (mut client, events, _) = stream(DeliveryPlan::Cut { left: HEAD.len() + 4 }).await;
        client.write_all(GET).await.unwrap();
        read(&mut client, HEAD).await;
        events.send(Bytes::from_static(b"event: a\n\n")).await.unwrap();
        let mut rest = String::new();
        client.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "A\r\ne");

        let drip = DeliveryPlan::Drip { bytes: 100, every: Duration::from_millis(1) };
        let (mut client, events, _) = stream(drip).await;
        client.write_all(GET).await.unwrap();
        events.send(Bytes::from_static(b"event: a\n\n")).await.unwrap();
        read(&mut client, HEAD).await;
        read(&mut client, "A\r\nevent: a\n\n\r\n").await;
    }

    #[tokio::test]
    async fn a_stream_is_cut_where_it_has_no_more_to_say() {
        let (mut client, events, _) = stream(DeliveryPlan::Cut { left: HEAD.len() }).await;
        client.write_all(GET).await.unwrap();
        let mut all = String::new();
        client.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, HEAD);
        events.closed().await;
    }
}
