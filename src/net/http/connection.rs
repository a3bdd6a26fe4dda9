//! The requests of one HTTP connection, up to its end or to a pause of its listener.
//!
//! A pause ends a connection with a request in flight and keeps one that waits for its next request. hyper does
//! not tell the two apart, so the requests are counted here, from their head to the last byte of their reply.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::{Service, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::acceptor::http_builder;
use super::on_wake::OnWake;
use crate::net::gate::Pass;

/// The way in which serving a connection ended.
#[derive(Debug)]
pub(crate) enum Served {
    /// The listener pauses, and the connection waits for its next request. It can be served again.
    Idle,
    /// The connection has to be dropped: it has ended, or the listener pauses and a request was in flight.
    Ended(hyper::Result<()>),
}

/// Serves the requests on `stream` until the connection ends, or until `pass` is recalled.
pub(crate) async fn serve_requests<S, V, B>(stream: S, service: V, pass: &mut Pass) -> Served
where
    S: AsyncRead + AsyncWrite + Unpin,
    V: Service<Request<Incoming>, Response = Response<B>>,
    V::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let progress = Arc::new(Progress::default());
    let counted = service_fn(|request| {
        let request_in_flight = InFlight::begin(&progress);
        let reply = service.call(request);
        async move {
            Ok::<_, V::Error>(
                reply.await?.map(|body| CountedBody { body, _request: request_in_flight }),
            )
        }
    });
    let stream = CountedStream { inner: stream, progress: Arc::clone(&progress) };
    let mut connection = http_builder().serve_connection(TokioIo::new(stream), counted);
    let mut recalled = OnWake::new(pass.recalled());
    tokio::select! {
        biased;
        () = &mut recalled => {}
        ended = &mut connection => return Served::Ended(ended),
    }
    let half_read = !connection.into_parts().read_buf.is_empty();
    if half_read || progress.is_busy() { Served::Ended(Ok(())) } else { Served::Idle }
}

/// The progress of the requests of a connection.
#[derive(Debug, Default)]
struct Progress {
    /// The number of requests of whose reply hyper does not have everything.
    unanswered: AtomicUsize,
    /// True while hyper may have bytes of a reply that it has not written.
    unflushed: AtomicBool,
    /// True once the sending direction is shut down.
    is_ending: AtomicBool,
}

impl Progress {
    // The stream, the service and the body are polled by the one task of the connection, so nothing is written
    // between a load and its store.
    fn is_busy(&self) -> bool {
        self.unanswered() > 0
            || self.unflushed.load(Ordering::Relaxed)
            || self.is_ending.load(Ordering::Relaxed)
    }

    fn unanswered(&self) -> usize {
        self.unanswered.load(Ordering::Relaxed)
    }
}

/// A request from its head to the end of the body of its reply.
#[derive(Debug)]
struct InFlight(Arc<Progress>);

impl InFlight {
    fn begin(progress: &Arc<Progress>) -> Self {
        progress.unanswered.store(progress.unanswered() + 1, Ordering::Relaxed);
        Self(Arc::clone(progress))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.unflushed.store(true, Ordering::Relaxed);
        self.0.unanswered.store(self.0.unanswered() - 1, Ordering::Relaxed);
    }
}

/// The body of a reply, which hyper drops when it has all of it.
struct CountedBody<B> {
    body: B,
    _request: InFlight,
}

impl<B: Body + Unpin> Body for CountedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The stream below hyper. It sees when hyper has written everything that it had.
struct CountedStream<S> {
    inner: S,
    progress: Arc<Progress>,
}

impl<S: AsyncRead + Unpin> AsyncRead for CountedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for CountedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    /// hyper flushes the stream only after it has written all of its own buffer.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.inner).poll_flush(context))?;
        self.progress.unflushed.store(false, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.progress.is_ending.store(true, Ordering::Relaxed);
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
