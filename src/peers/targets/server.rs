//! The listener of a target and its connections.

use std::error::Error as _;
use std::fmt::Write as _;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::{ReceivedHttpRequest, ReplyOutcome, RouteReply, Target};
use crate::fault::ActionOrigin;
use crate::limits;
use crate::net::gate::{ClosedGate, Gate};
use crate::net::http::body::{self, BodyReadError};
use crate::net::http::status;
use crate::net::http::{Resettable, WriteTimeoutStream};
use crate::net::http::{Served, TcpAcceptor, serve_requests};
use crate::net::inflight::{ConnectionRegistry, PeerInfo, TrackedStream};
use crate::scenario::TargetReply;

/// A target with its listener. Dropping it closes the listener and all connections.
#[derive(Debug)]
pub(crate) struct TargetServer(TcpAcceptor);

impl TargetServer {
    /// Serves a target on a bound listener.
    pub(crate) fn start(
        target: Arc<Target>,
        listener: TcpListener,
        tls: Option<TlsAcceptor>,
        connection_registry: ConnectionRegistry,
    ) -> io::Result<Self> {
        let activity = target.clock.activity().clone();
        let serve = move |stream: TcpStream, gate| {
            let stream = connection_registry.track_server(stream);
            activity.track(serve_accepted(stream, gate, Arc::clone(&target), tls.clone()))
        };
        TcpAcceptor::start(listener, serve).map(Self)
    }

    /// Ends the connections with a request in flight, and returns when they have ended. The listener stays.
    /// Connections that wait for their next request, and new ones, wait until the returned value is dropped.
    pub(crate) async fn pause(&self) -> ClosedGate {
        self.0.pause().await
    }

    /// Closes the listener and all connections, frees the port, and returns when they are gone.
    pub(crate) async fn release(&self) {
        self.0.release().await;
    }
}

impl<S: Resettable> Resettable for TlsStream<S> {
    fn reset_on_close(&self) {
        self.get_ref().0.reset_on_close();
    }
}

async fn serve_accepted(
    stream: TrackedStream,
    gate: Gate,
    target: Arc<Target>,
    tls: Option<TlsAcceptor>,
) {
    let peer_info = stream.peer_info();
    let Some(tls) = tls else {
        return serve(WriteTimeoutStream::new(stream), peer_info, gate, target).await;
    };
    // Real time, because it protects the process from clients that never finish their handshake.
    let handshake = timeout(limits::HTTP_HEADER_TIMEOUT, shake_hands(stream, &gate, &tls));
    if let Ok(Some(stream)) = handshake.await {
        serve(stream, peer_info, gate, target).await;
    }
}

/// Performs the handshake of a connection. Returns `None` if it fails, or if the listener pauses once the client
/// has begun it.
async fn shake_hands(
    stream: TrackedStream,
    gate: &Gate,
    tls: &TlsAcceptor,
) -> Option<TlsStream<WriteTimeoutStream<TrackedStream>>> {
    loop {
        let mut pass = gate.enter().await;
        tokio::select! {
            biased;
            () = pass.recalled() => continue,
            begun = stream.wait_received() => begun.ok()?,
        }
        return tokio::select! {
            biased;
            () = pass.recalled() => None,
            accepted = tls.accept(WriteTimeoutStream::new(stream)) => accepted.ok(),
        };
    }
}

/// The reason why a connection ends in place of a reply.
#[derive(Debug, thiserror::Error)]
enum BrokenReply {
    /// The connection is reset.
    #[error("reset")]
    Reset,
    /// The reply has a malformed head, which hyper would not send.
    #[error("bad content length")]
    BadContentLength(TargetReply),
}

/// Serves one connection to its end.
async fn serve<S>(mut stream: S, peer_info: PeerInfo, gate: Gate, target: Arc<Target>)
where
    S: AsyncRead + AsyncWrite + Resettable + Unpin,
{
    let service =
        service_fn(|request| Box::pin(handle(Arc::clone(&target), peer_info.clone(), request)));
    let (error, pass) = loop {
        let mut pass = gate.enter().await;
        match serve_requests(&mut stream, &service, &mut pass).await {
            // A client of the house has no next request, and the end of its connection would be in flight
            // until it is read.
            Served::Idle if peer_info.is_of_house() => break (None, pass),
            Served::Idle => {}
            Served::Ended(ended) => break (ended.err(), pass),
        }
    };
    let broken_reply = error.as_ref().and_then(|error| error.source()?.downcast_ref());
    match broken_reply {
        Some(BrokenReply::Reset) => stream.reset_on_close(),
        Some(BrokenReply::BadContentLength(reply)) => {
            // An error means that the client has left.
            let _ = stream.write_all(malformed_length_reply(reply).as_bytes()).await;
            let _ = stream.shutdown().await;
        }
        // The connection has ended, or the client left or sent invalid bytes.
        None => {}
    }
    // Before the pass is given back, which says that the connection is gone.
    drop(stream);
    drop(pass);
}

/// Receives a request and returns its reply after the delay.
async fn handle(
    target: Arc<Target>,
    peer_info: PeerInfo,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, BrokenReply> {
    let (mut received, mut content) = split_request(&target, &peer_info, request);
    let (method, path) = (received.method.clone(), received.path.clone());
    match body::read(&mut content, limits::TARGET_BODY_BYTES).await {
        Ok(bytes) => received.body = String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => {
            let status = refusal_status(error, &mut content).await;
            target.store_refused(received, status.as_u16());
            target.record_reply(method, path, status.as_u16());
            return Ok(closing_reply(status));
        }
    }
    let RouteReply { delay, outcome } = target.receive(received, peer_info.origin().as_deref());
    if !delay.is_zero() {
        target.clock.sleep(delay).await;
    }
    if let Some(status) = outcome.status() {
        target.record_reply(method, path, status);
    }
    match outcome {
        ReplyOutcome::Reply(reply) => Ok(encode_reply(reply)),
        ReplyOutcome::Reset => Err(BrokenReply::Reset),
        ReplyOutcome::BadContentLength(reply) => Err(BrokenReply::BadContentLength(reply)),
        ReplyOutcome::Hang => std::future::pending().await,
    }
}

fn split_request(
    target: &Target,
    peer_info: &PeerInfo,
    request: Request<Incoming>,
) -> (ReceivedHttpRequest, Incoming) {
    let (head, content) = request.into_parts();
    let origin = peer_info.origin::<ActionOrigin>();
    let path = head.uri.path_and_query().map_or_else(|| head.uri.to_string(), ToString::to_string);
    let received = ReceivedHttpRequest {
        // Set when the request is stored.
        seq: 0,
        t: target.clock.now().as_secs_f64(),
        method: head.method.to_string(),
        path,
        headers: header_texts(&head.headers),
        body: String::new(),
        status: None,
        device: origin.as_ref().map(|origin| Arc::clone(&origin.device)),
        action: origin.map(|origin| Arc::clone(&origin.action)),
    };
    (received, content)
}

fn header_texts(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

/// Returns the status for a body that was not read to its end. The rest of the body is discarded
/// for a moment, because the kernel resets a connection that is closed with unread bytes, and the
/// reply would be lost.
async fn refusal_status(error: BodyReadError, content: &mut Incoming) -> StatusCode {
    let rest = async {
        let mut read = 0;
        while read < limits::HTTP_LINGER_BYTES
            && let Some(Ok(frame)) = content.frame().await
        {
            read += frame.data_ref().map_or(0, Bytes::len);
        }
    };
    match error {
        BodyReadError::TooLarge(_) => {
            // Real time, because this takes place between the two kernels.
            let _ = tokio::time::timeout(limits::HTTP_LINGER, rest).await;
            StatusCode::PAYLOAD_TOO_LARGE
        }
        BodyReadError::Stalled => StatusCode::REQUEST_TIMEOUT,
        BodyReadError::Broken => StatusCode::BAD_REQUEST,
    }
}

/// Returns an empty reply after which the connection is closed.
fn closing_reply(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Returns a reply of the scenario as hyper sends it; 500 if one of its headers is invalid.
fn encode_reply(reply: TargetReply) -> Response<Full<Bytes>> {
    let mut response = Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        if name.eq_ignore_ascii_case(header::UPGRADE.as_str()) {
            // RFC 9110, §7.8.
            response = response.header(header::CONNECTION, "Upgrade");
        }
        response = response.header(name, value);
    }
    response.body(Full::from(reply.body)).unwrap_or_else(|error| {
        tracing::warn!(%error, "a reply of the scenario cannot be sent");
        closing_reply(StatusCode::INTERNAL_SERVER_ERROR)
    })
}

/// Returns the bytes of a reply whose `Content-Length` is not a number. A status without content has no such
/// header for a client, so that it becomes a 200.
fn malformed_length_reply(reply: &TargetReply) -> String {
    let code = if status::forbids_content(reply.status) { 200 } else { reply.status };
    let reason = StatusCode::from_u16(code).unwrap_or_default();
    let reason = reason.canonical_reason().unwrap_or_default();
    let mut head = format!("HTTP/1.1 {code} {reason}\r\n");
    for (name, value) in &reply.headers {
        // Writing to a String cannot fail.
        let _ = write!(head, "{name}: {value}\r\n");
    }
    format!("{head}Content-Length: unknown\r\n\r\n{}", reply.body)
}
