//! HTTP replies with the headers and the error format that all replies of the device have
//! (`docs/device/http.md`). The control plane uses them too.
//!
//! The order of the headers is that of the vendor's published call reply: first the headers that
//! describe the body, then those of this reply, then the two that every reply carries.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName,
    HeaderValue, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::header_case;
use super::json::JsonWriter;
use super::pages::PagedBody;
use super::stream::{AfterDelivery, DeliveryControl};

/// An HTTP reply: its status, its body, and the headers that only this reply has.
#[derive(Debug)]
pub struct HttpReply {
    status: StatusCode,
    content: ReplyContent,
    headers: Vec<(HeaderName, HeaderValue)>,
    closes_connection: bool,
    after_delivery: Option<AfterDelivery>,
}

/// The body of a reply before it is sent.
#[derive(Debug)]
enum ReplyContent {
    /// No body.
    Empty,
    /// One piece that is known as a whole.
    Full { media_type: &'static str, bytes: Bytes },
    /// A known number of bytes that arrive piece by piece.
    Sized { media_type: &'static str, pieces: SizedBody },
    /// JSON of an unknown size, page by page.
    Pages(PagedBody),
    /// Server-Sent Events, each sent when it arrives.
    Events(Events),
}

#[derive(Debug)]
struct SizedBody {
    remaining: u64,
    queue: mpsc::Receiver<Bytes>,
}

#[derive(Debug)]
struct Events {
    queue: mpsc::Receiver<Bytes>,
    stream_control: EventStreamControl,
}

/// Controls how a stream of Server-Sent Events ends once its sender is dropped: with a complete body,
/// unless one of the methods was called.
#[derive(Debug, Clone, Default)]
pub(crate) struct EventStreamControl(Arc<EventStreamState>);

#[derive(Debug, Default)]
struct EventStreamState {
    /// True if the end of the body is left out.
    ends_incomplete: AtomicBool,
    /// The delivery of the stream. Empty until it is sent.
    delivery: OnceLock<Arc<DeliveryControl>>,
}

impl EventStreamControl {
    /// Makes the connection end after the last event without the end of the body, so that the client
    /// can tell that something is missing.
    pub(crate) fn end_incomplete(&self) {
        self.0.ends_incomplete.store(true, Ordering::Release);
    }

    /// Resets the connection at once; events that wait are lost.
    pub(crate) fn reset(&self) {
        self.end_incomplete();
        if let Some(delivery) = self.0.delivery.get() {
            delivery.reset();
        }
    }
}

const JSON: &str = "application/json; charset=utf-8";
const EVENTS: &str = "text/event-stream";

impl HttpReply {
    /// Creates a reply without a body: `Content-Length: 0`, or no such header if the status is 204.
    #[must_use]
    pub fn empty(status: StatusCode) -> Self {
        Self {
            status,
            content: ReplyContent::Empty,
            headers: Vec::new(),
            closes_connection: false,
            after_delivery: None,
        }
    }

    /// Creates a reply of this media type.
    #[must_use]
    pub fn content(status: StatusCode, media_type: &'static str, bytes: impl Into<Bytes>) -> Self {
        let content = ReplyContent::Full { media_type, bytes: bytes.into() };
        Self { content, ..Self::empty(status) }
    }

    /// Creates a reply of this media type whose `size` bytes arrive piece by piece from `queue`.
    /// The connection is broken off if the sender is dropped too early.
    #[must_use]
    pub(crate) fn sized_stream(
        media_type: &'static str,
        size: u64,
        queue: mpsc::Receiver<Bytes>,
    ) -> Self {
        let pieces = SizedBody { remaining: size, queue };
        let content = ReplyContent::Sized { media_type, pieces };
        Self { content, ..Self::empty(StatusCode::OK) }
    }

    /// Creates a stream of Server-Sent Events: each message from `queue` is sent at once and
    /// unchanged, as one chunk. The stream and its connection end when the sender is dropped. The
    /// receiver is dropped when the client leaves, so [`mpsc::Sender::closed`] completes then.
    #[must_use]
    pub fn events(queue: mpsc::Receiver<Bytes>) -> Self {
        Self::events_with_control(queue, EventStreamControl::default())
    }

    /// Creates a stream of Server-Sent Events that `stream_control` can break off.
    #[must_use]
    pub(crate) fn events_with_control(
        queue: mpsc::Receiver<Bytes>,
        stream_control: EventStreamControl,
    ) -> Self {
        let content = ReplyContent::Events(Events { queue, stream_control });
        Self { content, closes_connection: true, ..Self::empty(StatusCode::OK) }
    }

    /// Creates a reply whose body is JSON text.
    #[must_use]
    pub fn raw_json(status: StatusCode, json: impl Into<Bytes>) -> Self {
        Self::content(status, JSON, json)
    }

    /// Creates a reply whose body is JSON that is sent page by page.
    pub(super) fn json_pages(status: StatusCode, pages: PagedBody) -> Self {
        Self { content: ReplyContent::Pages(pages), ..Self::empty(status) }
    }

    /// Creates a reply with a value as JSON.
    #[must_use]
    pub fn json(status: StatusCode, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(json) => Self::raw_json(status, json),
            // Only a map with keys that are no strings fails, and no reply has one.
            Err(error) => Self::error(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal_error",
                &format!("the reply has no JSON form: {error}"),
            ),
        }
    }

    /// Creates an error in the format of all errors of the device: an error code for programs, and a
    /// message for people.
    #[must_use]
    pub fn error(status: StatusCode, error_code: &str, message: &str) -> Self {
        let mut json = JsonWriter::with_capacity(32 + error_code.len() + message.len());
        json.begin();
        json.word("error", error_code);
        json.text("message", message);
        json.end();
        Self::raw_json(status, json.into_string())
    }

    /// Creates an error with `details`.
    #[must_use]
    pub fn error_with(
        status: StatusCode,
        error_code: &str,
        message: &str,
        details: &Value,
    ) -> Self {
        let body = json!({ "error": error_code, "message": message, "details": details });
        Self::json(status, &body)
    }

    /// Adds a header. A value that is not visible ASCII adds no header, so the caller must not pass
    /// text of a client or of a scenario.
    #[must_use]
    pub fn with_header(self, name: HeaderName, value: &str) -> Self {
        match HeaderValue::from_str(value) {
            Ok(value) => self.with_header_value(name, value),
            Err(_) => self,
        }
    }

    /// Adds a header.
    #[must_use]
    pub(crate) fn with_header_value(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Makes this the last reply of its connection.
    #[must_use]
    pub fn with_close(mut self) -> Self {
        self.closes_connection = true;
        self
    }

    /// Runs `effect` once the reply is delivered, or cannot be delivered any more.
    #[must_use]
    pub(crate) fn after_delivery(mut self, effect: impl FnOnce() + Send + Sync + 'static) -> Self {
        self.after_delivery = Some(AfterDelivery::new(effect));
        self
    }

    /// Connects the reply with the delivery that sends it.
    pub(crate) fn attach_delivery(&self, delivery: &Arc<DeliveryControl>) {
        if let ReplyContent::Events(events) = &self.content {
            // A reply is sent once, so this is the first call.
            let _ = events.stream_control.0.delivery.set(Arc::clone(delivery));
        }
    }

    /// Takes the effect that runs after delivery.
    pub(crate) fn take_after_delivery(&mut self) -> Option<AfterDelivery> {
        self.after_delivery.take()
    }

    /// Returns the status.
    #[must_use]
    #[cfg(any(test, feature = "internals"))]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the body. It is empty if there is none or if it is a stream.
    #[must_use]
    #[cfg(any(test, feature = "internals"))]
    pub fn bytes(&self) -> Bytes {
        match &self.content {
            ReplyContent::Full { bytes, .. } => bytes.clone(),
            ReplyContent::Empty
            | ReplyContent::Sized { .. }
            | ReplyContent::Pages(_)
            | ReplyContent::Events(_) => Bytes::new(),
        }
    }

    /// Returns the names and values of the headers that only this reply has.
    #[cfg(any(test, feature = "internals"))]
    pub fn headers(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.headers.iter().map(|(name, value)| (name, value))
    }

    /// Returns true if the connection ends with this reply.
    #[must_use]
    pub fn closes_connection(&self) -> bool {
        self.closes_connection
    }

    /// Replaces the body with JSON text that breaks off in the middle but has the right length. A
    /// reply without a JSON body gets the beginning of one. A 204 becomes a 200, because a 204
    /// cannot have a body.
    #[must_use]
    pub(crate) fn truncate_json(mut self) -> Self {
        if self.status == StatusCode::NO_CONTENT {
            self.status = StatusCode::OK;
        }
        let bytes = match self.content {
            // Every JSON body is an object or an array, so no beginning of one is valid.
            ReplyContent::Full { media_type: JSON, bytes } => {
                bytes.slice(..bytes.len().div_ceil(2))
            }
            _ => Bytes::from_static(b"{\""),
        };
        self.content = ReplyContent::Full { media_type: JSON, bytes };
        self
    }

    /// Returns the reply as hyper sends it. `consumed` is dropped when hyper has all of its body.
    #[must_use]
    pub fn into_response<G>(self, consumed: G) -> Response<ReplyBody<G>> {
        self.into_response_within(HeaderMap::with_capacity(COMMON_HEADERS), consumed)
    }

    /// Returns the reply as [`HttpReply::into_response`] does. Its headers take the place of `request_headers`,
    /// whose allocation hyper then uses for the next request.
    #[must_use]
    pub(crate) fn into_response_within<G>(
        self,
        request_headers: HeaderMap,
        consumed: G,
    ) -> Response<ReplyBody<G>> {
        let mut headers = if request_headers.capacity() > KEPT_HEADERS {
            HeaderMap::with_capacity(COMMON_HEADERS)
        } else {
            request_headers
        };
        headers.clear();
        let (media_type, rest) = match self.content {
            ReplyContent::Full { media_type, bytes } => (Some(media_type), BodyRest::Piece(bytes)),
            ReplyContent::Sized { media_type, pieces } => {
                (Some(media_type), BodyRest::Sized(pieces))
            }
            ReplyContent::Pages(pages) => (Some(JSON), BodyRest::Pages(pages)),
            ReplyContent::Events(events) => (Some(EVENTS), BodyRest::Events(events)),
            ReplyContent::Empty if self.status == StatusCode::NO_CONTENT => (None, BodyRest::Done),
            ReplyContent::Empty => (None, BodyRest::Piece(Bytes::new())),
        };
        if let Some(media_type) = media_type {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        }
        match &rest {
            BodyRest::Piece(bytes) => {
                headers.insert(CONTENT_LENGTH, length_value(bytes.len() as u64));
            }
            BodyRest::Sized(pieces) => {
                headers.insert(CONTENT_LENGTH, length_value(pieces.remaining));
            }
            BodyRest::Pages(_) | BodyRest::Events(_) | BodyRest::Incomplete | BodyRest::Done => {}
        }
        let has_own_case = self.headers.iter().any(|(name, _)| header_case::has_own_case(name));
        for (name, value) in self.headers {
            headers.append(name, value);
        }
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store, no-cache"));
        if self.closes_connection {
            headers.append(CONNECTION, HeaderValue::from_static("close"));
        }
        let mut response = Response::new(ReplyBody { rest, _consumed: consumed });
        *response.status_mut() = self.status;
        *response.headers_mut() = headers;
        if has_own_case {
            header_case::apply_header_case(&mut response);
        }
        response
    }
}

/// The headers of most replies: type, length, the two that every reply carries, and one of its own.
const COMMON_HEADERS: usize = 6;
/// The capacity up to which the headers of a request are kept for its reply and for the next request.
const KEPT_HEADERS: usize = 48;

/// Returns the value of `Content-Length`.
fn length_value(bytes: u64) -> HeaderValue {
    // Digits are always a value. The conversion of a number would take two allocations.
    HeaderValue::from_str(itoa::Buffer::new().format(bytes))
        .unwrap_or_else(|_| HeaderValue::from(bytes))
}

/// The body of a [`HttpReply`].
#[derive(Debug)]
pub struct ReplyBody<G = ()> {
    rest: BodyRest,
    _consumed: G,
}

/// The part of a body that is still to be sent.
///
/// hyper removes a `Content-Length: 0` from its position and writes it after all other headers if
/// the body reports its end before it was polled. Therefore an empty piece does not count as the
/// end.
#[derive(Debug)]
enum BodyRest {
    Piece(Bytes),
    Sized(SizedBody),
    /// Pages of a body without a length, sent as the next one is.
    Pages(PagedBody),
    /// A body without a length is sent in chunks, or to HTTP/1.0 clients up to the end of the
    /// connection.
    Events(Events),
    /// Nothing; the body ends with an error, so that its end is missing on the wire.
    Incomplete,
    Done,
}

/// The error of a body that ends incomplete on purpose, or whose source is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body breaks off")]
pub struct BodyInterrupted;

impl<G> ReplyBody<G> {
    /// Returns the next piece of a body with a length. `None` means that the source is gone.
    fn take_piece(&mut self, piece: Option<Bytes>) -> Result<Frame<Bytes>, BodyInterrupted> {
        if let (BodyRest::Sized(pieces), Some(mut piece)) = (&mut self.rest, piece) {
            // Bytes beyond the promised length would be taken for the next reply.
            piece.truncate(usize::try_from(pieces.remaining).unwrap_or(usize::MAX));
            pieces.remaining -= piece.len() as u64;
            return Ok(Frame::data(piece));
        }
        self.rest = BodyRest::Done;
        Err(BodyInterrupted)
    }
}

impl<G: Unpin> hyper::body::Body for ReplyBody<G> {
    type Data = Bytes;
    type Error = BodyInterrupted;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyInterrupted>>> {
        if let BodyRest::Sized(SizedBody { remaining: 1.., queue }) = &mut self.rest {
            let piece = ready!(queue.poll_recv(context));
            return Poll::Ready(Some(self.take_piece(piece)));
        }
        if let BodyRest::Pages(pages) = &mut self.rest {
            let page = ready!(pages.poll_page(context));
            if !matches!(page, Some(Ok(_))) {
                self.rest = BodyRest::Done;
            }
            return Poll::Ready(page.map(|page| page.map(Frame::data)));
        }
        if let BodyRest::Events(Events { queue, stream_control }) = &mut self.rest {
            if let Some(event) = ready!(queue.poll_recv(context)) {
                return Poll::Ready(Some(Ok(Frame::data(event))));
            }
            if stream_control.0.ends_incomplete.load(Ordering::Acquire) {
                // hyper writes its buffer only when the body has nothing more for the moment, and
                // discards it on an error. So the error comes with the next poll.
                self.rest = BodyRest::Incomplete;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        Poll::Ready(match std::mem::replace(&mut self.rest, BodyRest::Done) {
            BodyRest::Piece(bytes) => Some(Ok(Frame::data(bytes))),
            BodyRest::Incomplete => Some(Err(BodyInterrupted)),
            BodyRest::Sized(_) | BodyRest::Pages(_) | BodyRest::Events(_) | BodyRest::Done => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.rest, BodyRest::Done | BodyRest::Sized(SizedBody { remaining: 0, .. }))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.rest {
            BodyRest::Piece(bytes) => SizeHint::with_exact(bytes.len() as u64),
            BodyRest::Sized(pieces) => SizeHint::with_exact(pieces.remaining),
            BodyRest::Done => SizeHint::with_exact(0),
            BodyRest::Pages(_) | BodyRest::Events(_) | BodyRest::Incomplete => SizeHint::default(),
        }
    }
}

/// Creates a 405 that lists the allowed methods.
pub(crate) fn method_not_allowed(method: &str, allowed: &str) -> HttpReply {
    let message = format!("{method} is not possible here; this path takes {allowed}");
    HttpReply::error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", &message)
        .with_header(ALLOW, allowed)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use jiff::Timestamp;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::super::http_builder;
    use super::super::stream::{DeliveryPlan, FaultyStream};
    use super::*;
    use crate::clock::{Clock, Speed};

    #[test]
    fn a_truncated_json_body_is_never_valid() {
        let broken = |reply: HttpReply| {
            let reply = reply.truncate_json();
            serde_json::from_slice::<Value>(&reply.bytes()).unwrap_err();
            assert_ne!(reply.status(), StatusCode::NO_CONTENT);
            reply.bytes()
        };
        assert_eq!(broken(HttpReply::raw_json(StatusCode::OK, "[]")), "[");
        assert_eq!(broken(HttpReply::raw_json(StatusCode::OK, "{\"a\":1}")), "{\"a\"");
        assert_eq!(broken(HttpReply::empty(StatusCode::NO_CONTENT)), "{\"");
        assert_eq!(broken(HttpReply::content(StatusCode::OK, "text/html", "<p>")), "{\"");
    }

    /// Serves one connection whose request gets the events of `queue`.
    async fn stream(plan: DeliveryPlan) -> (TcpStream, mpsc::Sender<Bytes>, EventStreamControl) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let (sender, queue) = mpsc::channel(4);
        let stream_control = EventStreamControl::default();
        let reply = HttpReply::events_with_control(queue, stream_control.clone());
        let delivery = Arc::new(DeliveryControl::default());
        let clock = Clock::new(Timestamp::UNIX_EPOCH, Speed::REAL);
        tokio::spawn({
            let clock = clock.clone();
            async move { clock.drive().await }
        });
        let accepted = FaultyStream::new(accepted, Arc::clone(&delivery), clock);
        let reply = parking_lot::Mutex::new(Some(reply));
        let service = service_fn(move |_| {
            let reply = reply.lock().take().unwrap();
            let delivery = Arc::clone(&delivery);
            async move {
                Ok::<_, BodyInterrupted>(
                    reply.into_response(delivery.start_reply(plan, None).await),
                )
            }
        });
        tokio::spawn(async move {
            let _ = http_builder().serve_connection(TokioIo::new(accepted), service).await;
        });
        (client, sender, stream_control)
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
    async fn events_are_sent_at_once_and_end_with_their_sender() {
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
    async fn an_http_1_0_client_gets_events_without_chunks() {
        let (mut client, events, _) = stream(DeliveryPlan::Whole).await;
        client.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
        events.send(Bytes::from_static(b"event: a\n\n")).await.unwrap();
        drop(events);
        let mut all = String::new();
        client.read_to_string(&mut all).await.unwrap();
        assert!(all.ends_with("close\r\n\r\nevent: a\n\n"), "{all}");
    }

    #[tokio::test]
    async fn the_queue_closes_when_the_client_leaves() {
        let (mut client, events, _) = stream(DeliveryPlan::Whole).await;
        client.write_all(GET).await.unwrap();
        read(&mut client, HEAD).await;
        assert!(!events.is_closed());
        drop(client);
        events.closed().await;
    }

    #[tokio::test]
    async fn a_broken_stream_has_no_last_chunk() {
        let (mut client, events, stream_control) = stream(DeliveryPlan::Whole).await;
        client.write_all(GET).await.unwrap();
        read(&mut client, HEAD).await;
        events.send(Bytes::from_static(b"eve")).await.unwrap();
        stream_control.end_incomplete();
        drop(events);
        let mut rest = String::new();
        client.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "3\r\neve\r\n");
    }

    #[tokio::test]
    async fn a_stream_can_be_cut_and_can_drip() {
        let (mut client, events, _) = stream(DeliveryPlan::Cut { remaining: HEAD.len() + 4 }).await;
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
    async fn an_idle_stream_is_cut_at_its_last_byte() {
        let (mut client, events, _) = stream(DeliveryPlan::Cut { remaining: HEAD.len() }).await;
        client.write_all(GET).await.unwrap();
        let mut all = String::new();
        client.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, HEAD);
        events.closed().await;
    }
}
