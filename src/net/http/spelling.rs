//! Header names that are not in title case on the wire.
//!
//! hyper writes names in lower case or in title case, `Www-Authenticate` among them, and otherwise only
//! as a message was spelled that it read itself (`preserve_header_case`). So it is given one to read,
//! once, and its note of the spelling goes with each response that has such a header.

use std::future::{Future, ready};
use std::pin::pin;
use std::sync::{Arc, LazyLock, OnceLock};
use std::task::{Context, Waker};

use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::header::WWW_AUTHENTICATE;
use hyper::http::Extensions;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

/// A request with the names that are spelled otherwise.
const SPELLED: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\nWWW-Authenticate: x\r\n\r\n";

/// hyper's note of them. Were there none, names would be in title case.
static NOTE: LazyLock<Extensions> = LazyLock::new(|| read(SPELLED).unwrap_or_default());

/// Has a response's header names spelled as they should be.
pub(crate) fn spell<B>(response: &mut Response<B>) {
    if response.headers().contains_key(WWW_AUTHENTICATE) {
        response.extensions_mut().extend(NOTE.clone());
    }
}

/// What hyper notes of a request beside its head.
fn read(request: &'static [u8]) -> Option<Extensions> {
    let noted = Arc::new(OnceLock::new());
    let note = Arc::clone(&noted);
    let service = service_fn(move |request: Request<Incoming>| {
        let _ = note.set(request.into_parts().0.extensions);
        ready(Ok::<_, std::convert::Infallible>(Response::new(Empty::<Bytes>::new())))
    });
    let io = TokioIo::new(tokio::io::join(request, tokio::io::sink()));
    let mut connection = pin!(
        http1::Builder::new()
            .preserve_header_case(true)
            .header_read_timeout(None)
            .serve_connection(io, service)
    );
    // Nothing of it waits: all is there, and all is taken.
    let _ = connection.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    noted.get().cloned()
}
