//! The HTTP requester: one request on a fresh connection, through hyper, over TLS if the URL says
//! so.
//!
//! Rulings: ACTION-4 and ACTION-5 for the request, ACTION-15 and RESULT-6 for its end.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::classifier::{self, ExchangeEnd, ResultCode};
use super::connection::RequestConnection;
use super::tap::{StreamEnd, Tap, TapeReader};
use crate::clock::{Clock, VirtualTime};
use crate::device::actions::{HttpMethod, PreparedHttpRequest, Scheme};
use crate::limits;
use crate::net::inflight::TrackedStream;

/// Creates the TLS configuration of the actions, which trusts `root_certificates` and nothing else.
pub(super) fn tls_config(
    root_certificates: impl IntoIterator<Item = CertificateDer<'static>>,
) -> Result<Arc<ClientConfig>, tokio_rustls::rustls::Error> {
    let mut store = RootCertStore::empty();
    for certificate in root_certificates {
        store.add(certificate)?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?;
    Ok(Arc::new(builder.with_root_certificates(store).with_no_client_auth()))
}

/// Sends `request` and waits for its response and the body, at most until `deadline`.
pub(super) async fn exchange(
    clock: &Clock,
    tls: &Arc<ClientConfig>,
    connection: RequestConnection,
    request: &PreparedHttpRequest,
    deadline: VirtualTime,
) -> ResultCode {
    let RequestConnection { stream, is_lost } = connection;
    // A request to the house is one segment. Others may be several, and a handshake is always.
    if request.scheme == Scheme::Https || !stream.is_tracked() {
        stream.send_at_once();
    }
    match request.scheme {
        Scheme::Http => {
            if is_lost {
                stream.shutdown_both();
            }
            send_on_stream(clock, stream, request, deadline).await
        }
        Scheme::Https => match clock.timeout_at(deadline, handshake(tls, stream, request)).await {
            Ok(Some(stream)) => {
                if is_lost {
                    stream.get_ref().0.shutdown_both();
                }
                send_on_stream(clock, stream, request, deadline).await
            }
            Ok(None) => classifier::classify_http(&[], ExchangeEnd::TlsFailed),
            Err(_) => classifier::classify_http(&[], ExchangeEnd::TimedOut),
        },
    }
}

async fn handshake(
    tls: &Arc<ClientConfig>,
    stream: TrackedStream,
    request: &PreparedHttpRequest,
) -> Option<TlsStream<TrackedStream>> {
    let name = ServerName::try_from(request.host.clone()).ok()?;
    TlsConnector::from(Arc::clone(tls)).connect(name, stream).await.ok()
}

/// Sends a request on a stream and waits for its response.
async fn send_on_stream<S>(
    clock: &Clock,
    stream: S,
    request: &PreparedHttpRequest,
    deadline: VirtualTime,
) -> ResultCode
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    // The tape keeps as many bytes as hyper reads of a head, so that the classification sees every head
    // that hyper saw.
    let (tap, tape) = Tap::new(stream, limits::RESPONSE_HEAD_BYTES);
    let Some(message) = build_message(request) else {
        return classifier::classify_http(&[], ExchangeEnd::Unencodable);
    };
    match clock.timeout_at(deadline, receive_status(tap, message)).await {
        Ok(Some(status)) => ResultCode::Status(status),
        Ok(None) => classify_incomplete(&tape),
        Err(_) => classifier::classify_http(&[], ExchangeEnd::TimedOut),
    }
}

/// Returns the status of the response once its body is received, as far as it is read. `None` if
/// the response broke off.
async fn receive_status<S>(stream: S, message: Request<Full<Bytes>>) -> Option<u16>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut builder = http1::Builder::new();
    builder.title_case_headers(true).max_buf_size(limits::RESPONSE_HEAD_BYTES);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.ok()?;
    let exchange = async move {
        let response = sender.send_request(message).await.ok()?;
        read_body(response).await
    };
    // The connection transports the bytes. When it ends, the exchange notices.
    let transport = async move {
        let _ = connection.await;
        pending::<Infallible>().await
    };
    tokio::select! {
        status = exchange => status,
        never = transport => match never {},
    }
}

/// Reads the body of a response as far as it counts, and returns the status. `None` if the body
/// broke off.
async fn read_body(response: Response<Incoming>) -> Option<u16> {
    let status = response.status().as_u16();
    let mut body = response.into_body();
    let mut read = 0;
    while read < limits::RESPONSE_BODY_BYTES {
        let Some(frame) = body.frame().await else { break };
        read += frame.ok()?.data_ref().map_or(0, Bytes::len);
    }
    Some(status)
}

fn classify_incomplete(tape: &TapeReader) -> ResultCode {
    let tape = tape.tape();
    let end = match tape.end {
        // A target may respond and close before it has read everything.
        Some(StreamEnd::SendLost) if tape.received.is_empty() => ExchangeEnd::SendLost,
        Some(StreamEnd::Reset | StreamEnd::SendLost) => ExchangeEnd::Reset,
        Some(StreamEnd::Closed) => ExchangeEnd::Closed,
        // hyper gave up on the bytes that it read.
        None => ExchangeEnd::Complete,
    };
    classifier::classify_http(&tape.received, end)
}

/// Returns the request as hyper sends it. `None` if a header is invalid.
fn build_message(request: &PreparedHttpRequest) -> Option<Request<Full<Bytes>>> {
    let mut message = Request::builder().method(request.method.as_str()).uri(&request.target);
    let headers = message.headers_mut()?;
    for (name, value) in &request.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        // The length follows from the body, even if the definition gives another.
        if name != header::CONTENT_LENGTH && name != header::TRANSFER_ENCODING {
            headers.append(name, HeaderValue::from_str(value).ok()?);
        }
    }
    if !headers.contains_key(header::HOST) {
        headers.insert(header::HOST, HeaderValue::from_str(&request.authority).ok()?);
    }
    if matches!(request.method, HttpMethod::Post | HttpMethod::Put) {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(request.body.len()));
        if !request.body.is_empty() && !headers.contains_key(header::CONTENT_TYPE) {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        }
    }
    message.body(Full::new(Bytes::from(request.body.clone()))).ok()
}
