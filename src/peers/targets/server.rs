//! A target's listener and its connections.

use std::error::Error as _;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::{Answered, ReceivedHttpRequest, RouteReply, Target};
use crate::limits;
use crate::net::http::ListenerPause;
use crate::net::http::body::{self, Unread};
use crate::net::http::{Resettable, WriteLimited};
use crate::net::http::{TcpAcceptor, http};
use crate::net::inflight::{ConnectionRegistry, PeerInfo, TrackedStream};
use crate::scenario::TargetReply;

/// A target on its socket. Dropping it closes the listener and all connections.
#[derive(Debug)]
pub(crate) struct TargetServer(TcpAcceptor);

impl TargetServer {
    /// Serves a target on a bound listener.
    pub(crate) fn start(
        target: Arc<Target>,
        listener: TcpListener,
        tls: Option<TlsAcceptor>,
        links: ConnectionRegistry,
    ) -> io::Result<Self> {
        let motions = target.clock.activity().clone();
        let serve = move |stream: TcpStream| {
            let stream = links.server(stream);
            motions.track(accepted(stream, Arc::clone(&target), tls.clone()))
        };
        TcpAcceptor::start(listener, serve).map(Self)
    }

    /// Drops all connections, and returns when they are gone. The listener stays; whoever connects
    /// waits until the returned value is dropped.
    pub(crate) async fn pause(&self) -> ListenerPause {
        self.0.pause().await
    }

    /// Closes the listener and all connections, and returns when they are gone.
    pub(crate) async fn close(&self) {
        self.0.close().await;
    }
}

impl<S: Resettable> Resettable for TlsStream<S> {
    fn reset_on_close(&self) {
        self.get_ref().0.reset_on_close();
    }
}

async fn accepted(stream: TrackedStream, target: Arc<Target>, tls: Option<TlsAcceptor>) {
    let line = stream.line();
    let stream = WriteLimited::new(stream);
    let Some(tls) = tls else { return serve(stream, line, target).await };
    // Real time: it guards the process against clients that never finish their handshake.
    let handshake = tokio::time::timeout(limits::HTTP_HEADER_TIMEOUT, tls.accept(stream));
    if let Ok(Ok(stream)) = handshake.await {
        serve(stream, line, target).await;
    }
}

/// Why a connection ends in place of a response.
#[derive(Debug, thiserror::Error)]
enum BrokenReply {
    /// With RST.
    #[error("reset")]
    Reset,
    /// With a head of our own, which hyper would not send.
    #[error("bad content length")]
    BadContentLength(TargetReply),
}

/// Serves one connection to its end.
async fn serve<S>(stream: S, line: PeerInfo, target: Arc<Target>)
where
    S: AsyncRead + AsyncWrite + Resettable + Unpin,
{
    let service =
        service_fn(move |request| Box::pin(answer(Arc::clone(&target), line.clone(), request)));
    let mut connection = http().serve_connection(TokioIo::new(stream), service);
    let Err(error) = (&mut connection).await else { return };
    let mut stream = connection.into_parts().io.into_inner();
    match error.source().and_then(|source| source.downcast_ref()) {
        Some(BrokenReply::Reset) => stream.reset_on_close(),
        Some(BrokenReply::BadContentLength(reply)) => {
            // Where the client has left meanwhile, nobody misses it.
            let _ = stream.write_all(bad_length(reply).as_bytes()).await;
            let _ = stream.shutdown().await;
        }
        // The client left or sent nonsense.
        None => {}
    }
}

async fn answer(
    target: Arc<Target>,
    line: PeerInfo,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, BrokenReply> {
    let (mut received, mut content) = taken_apart(&target, &line, request);
    let (method, path) = (received.method.clone(), received.path.clone());
    match body::read(&mut content, limits::TARGET_BODY_BYTES).await {
        Ok(bytes) => received.body = String::from_utf8_lossy(&bytes).into_owned(),
        Err(unread) => {
            let status = refusal(unread, &mut content).await;
            target.refuse(received, status.as_u16());
            target.explain(method, path, status.as_u16());
            return Ok(closing(status));
        }
    }
    let RouteReply { delay, outcome } = target.receive(received, line.caller().as_ref());
    if !delay.is_zero() {
        target.clock.sleep(delay).await;
    }
    if let Some(status) = outcome.status() {
        target.explain(method, path, status);
    }
    match outcome {
        Answered::Reply(reply) => Ok(response(reply)),
        Answered::Reset => Err(BrokenReply::Reset),
        Answered::BadContentLength(reply) => Err(BrokenReply::BadContentLength(reply)),
        Answered::Hang => std::future::pending().await,
    }
}

fn taken_apart(
    target: &Target,
    line: &PeerInfo,
    request: Request<Incoming>,
) -> (ReceivedHttpRequest, Incoming) {
    let (head, content) = request.into_parts();
    let caller = line.caller();
    let path = head.uri.path_and_query().map_or_else(|| head.uri.to_string(), ToString::to_string);
    let received = ReceivedHttpRequest {
        t: target.clock.now().as_secs_f64(),
        method: head.method.to_string(),
        path,
        headers: texts(&head.headers),
        body: String::new(),
        status: None,
        device: caller.as_ref().map(|caller| Arc::clone(&caller.device)),
        action: caller.map(|caller| caller.action),
    };
    (received, content)
}

fn texts(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

/// The status for a body that was not read to its end. The rest of it is thrown away for a moment:
/// a connection closed on unread bytes is reset by the kernel, and the answer lost.
async fn refusal(unread: Unread, content: &mut Incoming) -> StatusCode {
    let rest = async {
        let mut read = 0;
        while read < limits::HTTP_LINGER_BYTES
            && let Some(Ok(frame)) = content.frame().await
        {
            read += frame.data_ref().map_or(0, Bytes::len);
        }
    };
    match unread {
        Unread::TooLarge(_) => {
            // Real time: this is between the two kernels.
            let _ = tokio::time::timeout(limits::HTTP_LINGER, rest).await;
            StatusCode::PAYLOAD_TOO_LARGE
        }
        Unread::Stalled => StatusCode::REQUEST_TIMEOUT,
        Unread::Broken => StatusCode::BAD_REQUEST,
    }
}

fn closing(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// A reply of the scenario as hyper sends it; 500 where a header is not one.
fn response(reply: TargetReply) -> Response<Full<Bytes>> {
    let mut response = Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(name, value);
    }
    response.body(Full::from(reply.body)).unwrap_or_else(|error| {
        tracing::warn!(%error, "a reply of the scenario cannot be sent");
        closing(StatusCode::INTERNAL_SERVER_ERROR)
    })
}

/// A response whose `Content-Length` is no number.
fn bad_length(reply: &TargetReply) -> String {
    let status = StatusCode::from_u16(reply.status).unwrap_or_default();
    let reason = status.canonical_reason().unwrap_or_default();
    let code = reply.status;
    format!("HTTP/1.1 {code} {reason}\r\nContent-Length: unknown\r\n\r\n{}", reply.body)
}
