//! Header names that are not in title case on the wire.
//!
//! hyper writes names in lower case or in title case, such as `Www-Authenticate`, or as they were
//! spelled in a message that it read itself (`preserve_header_case`). So hyper reads one message
//! here, once, and its record of the spelling is added to each response that has such a header.

use std::future::{Future, ready};
use std::pin::pin;
use std::sync::{Arc, LazyLock, OnceLock};
use std::task::{Context, Waker};

use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderName, WWW_AUTHENTICATE};
use hyper::http::Extensions;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

/// A request that contains the names with their own spelling.
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\nWWW-Authenticate: x\r\n\r\n";

/// hyper's record of the spelling. If it were empty, names would be in title case.
static HEADER_CASE: LazyLock<Extensions> = LazyLock::new(|| read(REQUEST).unwrap_or_default());

/// Returns true if a header name has its own spelling.
pub(crate) fn has_own_case(name: &HeaderName) -> bool {
    name == WWW_AUTHENTICATE
}

/// Gives those header names of a response that have one their own spelling.
pub(crate) fn apply_header_case<B>(response: &mut Response<B>) {
    response.extensions_mut().extend(HEADER_CASE.clone());
}

/// Reads a request with hyper and returns the extensions, which contain its spelling.
fn read(request: &'static [u8]) -> Option<Extensions> {
    let recorded = Arc::new(OnceLock::new());
    let record = Arc::clone(&recorded);
    let service = service_fn(move |request: Request<Incoming>| {
        let _ = record.set(request.into_parts().0.extensions);
        ready(Ok::<_, std::convert::Infallible>(Response::new(Empty::<Bytes>::new())))
    });
    let io = TokioIo::new(tokio::io::join(request, tokio::io::sink()));
    let mut connection = pin!(
        http1::Builder::new()
            .preserve_header_case(true)
            .header_read_timeout(None)
            .serve_connection(io, service)
    );
    // The connection never waits: all input is there, and all output is accepted.
    let _ = connection.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    recorded.get().cloned()
}
