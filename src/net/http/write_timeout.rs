//! A byte stream with a timeout for writes, so that a client that does not read is not served for ever.
//!
//! The stream lies directly on the socket. Time during which a layer above holds bytes back, for example
//! because of a fault rule, is no time in which the client could have read.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use crate::limits;
use crate::net::inflight::TrackedStream;

/// A stream that can be closed with RST instead of FIN.
pub(crate) trait Resettable {
    /// Turns the close that follows into a reset.
    fn reset_on_close(&self);
}

impl Resettable for TcpStream {
    fn reset_on_close(&self) {
        // If it fails, the connection is lost already.
        let _ = self.set_zero_linger();
    }
}

impl<S: Resettable> Resettable for &mut S {
    fn reset_on_close(&self) {
        (**self).reset_on_close();
    }
}

impl Resettable for TrackedStream {
    fn reset_on_close(&self) {
        Self::reset_on_close(self);
    }
}

/// A stream with a write timeout: if the client reads nothing for [`limits::HTTP_WRITE_TIMEOUT`]
/// although bytes wait, writes fail and the connection is reset on close.
#[derive(Debug)]
pub(crate) struct WriteTimeoutStream<S> {
    inner: S,
    /// Set while bytes wait for room in the kernel's buffer. Real time, because it protects the
    /// process.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<S> WriteTimeoutStream<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner, deadline: None }
    }
}

impl<S: Resettable> WriteTimeoutStream<S> {
    /// Returns the result of a write, or an error if it waits too long.
    fn enforce_timeout(
        &mut self,
        written: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.deadline = None;
            return written;
        }
        let deadline =
            self.deadline.get_or_insert_with(|| Box::pin(sleep(limits::HTTP_WRITE_TIMEOUT)));
        if deadline.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        // Bytes that the kernel still holds for the client are discarded too.
        self.inner.reset_on_close();
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }
}

impl<S: Resettable> Resettable for WriteTimeoutStream<S> {
    fn reset_on_close(&self) {
        self.inner.reset_on_close();
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteTimeoutStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Resettable + Unpin> AsyncWrite for WriteTimeoutStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.enforce_timeout(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(context, pieces);
        self.enforce_timeout(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    /// A socket has nothing to flush; only a write waits.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::Instant;

    use super::*;

    const ROOM: usize = 64;
    const LIMIT: Duration = limits::HTTP_WRITE_TIMEOUT;

    #[derive(Debug)]
    struct Memory(DuplexStream, Arc<AtomicBool>);

    impl Resettable for Memory {
        fn reset_on_close(&self) {
            self.1.store(true, Ordering::Relaxed);
        }
    }

    impl AsyncWrite for Memory {
        fn poll_write(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.0).poll_write(context, bytes)
        }

        fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(context)
        }

        fn poll_shutdown(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_shutdown(context)
        }
    }

    fn pair() -> (WriteTimeoutStream<Memory>, DuplexStream, Arc<AtomicBool>) {
        let ((server, client), reset) = (duplex(ROOM), Arc::<AtomicBool>::default());
        (WriteTimeoutStream::new(Memory(server, Arc::clone(&reset))), client, reset)
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_reset_after_the_timeout() {
        let (mut server, _client, reset) = pair();
        server.write_all(&[0; ROOM]).await.unwrap();
        sleep(10 * LIMIT).await;
        assert!(!reset.load(Ordering::Relaxed), "nothing waited for it");
        let began = Instant::now();
        let error = server.write_all(b"more").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let took = began.elapsed();
        assert!(took >= LIMIT && took < LIMIT + Duration::from_millis(5), "{took:?}");
        assert!(reset.load(Ordering::Relaxed));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_slowly_is_served_to_the_end() {
        let (mut server, mut client, reset) = pair();
        let sent = 4 * ROOM;
        let writing = tokio::spawn(async move { server.write_all(&vec![0; sent]).await });
        for _ in 0..sent {
            sleep(LIMIT.saturating_sub(Duration::from_millis(5))).await;
            client.read_u8().await.unwrap();
        }
        writing.await.unwrap().unwrap();
        assert!(!reset.load(Ordering::Relaxed));
    }
}
