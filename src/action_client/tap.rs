//! A tap on a requester's byte stream: what went out, what came in, how it ended.
//!
//! Result codes come from these bytes alone ([`super::classify`]), never from what a client library
//! made of them. Nothing is read before something was sent: a library that looks for the end of the
//! connection first (hyper does) would find it or not as threads happen to run, and the same peer
//! would be −7 now and −4 then.

use parking_lot::{Mutex, MutexGuard};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a tap recorded.
#[derive(Debug)]
pub(super) struct Tape {
    /// What was sent, as it stands on the wire; its first bytes where it is long.
    pub(super) sent: Vec<u8>,
    /// What was received, likewise.
    pub(super) received: Vec<u8>,
    /// How the stream ended, where it did.
    pub(super) end: Option<StreamEnd>,
    /// Bytes kept of each direction.
    limit: usize,
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StreamEnd {
    /// By the other side, in good order.
    Closed,
    /// By a reset or another error while reading.
    Reset,
    /// By an error while writing: not all was sent.
    SendLost,
}

/// A stream with a tape running.
#[derive(Debug)]
pub(super) struct Tap<S> {
    inner: S,
    tape: Arc<Mutex<Tape>>,
    /// Laid over the first bytes of each direction by exclusive or, see [`Tap::with_mask`].
    mask: [u8; 2],
    written: usize,
    read: usize,
    /// Who tried to read before anything was sent.
    early: Option<Waker>,
}

/// The tape of a [`Tap`], which outlives it.
#[derive(Debug, Clone)]
pub(super) struct TapeReader(Arc<Mutex<Tape>>);

impl TapeReader {
    /// The recording so far; not to be held across an await.
    pub(super) fn tape(&self) -> MutexGuard<'_, Tape> {
        lock(&self.0)
    }
}

fn lock(tape: &Mutex<Tape>) -> MutexGuard<'_, Tape> {
    tape.lock()
}

impl<S> Tap<S> {
    /// A tap that keeps `limit` bytes of each direction.
    pub(super) fn new(inner: S, limit: usize) -> (Self, TapeReader) {
        Self::with_mask(inner, limit, [0; 2])
    }

    /// A tap that turns the first two bytes of each direction, a Modbus transaction id, into another
    /// one by exclusive or. The client behind it then sees its own id come back exactly where the
    /// one on the wire does, and needs not know that they differ.
    pub(super) fn with_mask(inner: S, limit: usize, mask: [u8; 2]) -> (Self, TapeReader) {
        let tape = Tape { sent: Vec::new(), received: Vec::new(), end: None, limit };
        let tape = Arc::new(Mutex::new(tape));
        (
            Self { inner, tape: Arc::clone(&tape), mask, written: 0, read: 0, early: None },
            TapeReader(tape),
        )
    }
}

/// Lays the mask over `bytes`, which stand at `position` of their stream.
fn lay(mask: [u8; 2], position: usize, bytes: &mut [u8]) {
    let rest = mask.iter().skip(position);
    bytes.iter_mut().zip(rest).for_each(|(byte, mask)| *byte ^= mask);
}

/// Records `bytes` as far as there is room.
fn record(track: &mut Vec<u8>, limit: usize, bytes: &[u8]) {
    let room = limit.saturating_sub(track.len());
    track.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

impl<S: AsyncRead + Unpin> AsyncRead for Tap<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.written == 0 {
            self.early = Some(context.waker().clone());
            return Poll::Pending;
        }
        let (before, room) = (buffer.filled().len(), buffer.remaining());
        let result = ready!(Pin::new(&mut self.inner).poll_read(context, buffer));
        let read = &mut buffer.filled_mut()[before..];
        {
            let mut tape = lock(&self.tape);
            let limit = tape.limit;
            record(&mut tape.received, limit, read);
            if result.is_err() {
                tape.end.get_or_insert(StreamEnd::Reset);
            } else if read.is_empty() && room > 0 {
                tape.end.get_or_insert(StreamEnd::Closed);
            }
        }
        lay(self.mask, self.read, read);
        self.read += read.len();
        Poll::Ready(result)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tap<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let masked;
        let bytes = if self.mask == [0; 2] || self.written >= self.mask.len() {
            bytes
        } else {
            let mut copy = bytes.to_vec();
            lay(self.mask, self.written, &mut copy);
            masked = copy;
            &masked
        };
        let result = ready!(Pin::new(&mut self.inner).poll_write(context, bytes));
        let mut tape = lock(&self.tape);
        match &result {
            Ok(written) => {
                let limit = tape.limit;
                record(&mut tape.sent, limit, &bytes[..*written]);
                drop(tape);
                self.written += written;
                if let Some(early) = self.early.take() {
                    early.wake();
                }
            }
            Err(_) => {
                tape.end.get_or_insert(StreamEnd::SendLost);
            }
        }
        Poll::Ready(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = ready!(Pin::new(&mut self.inner).poll_flush(context));
        if result.is_err() {
            lock(&self.tape).end.get_or_insert(StreamEnd::SendLost);
        }
        Poll::Ready(result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn the_mask_holds_for_the_first_two_bytes_of_each_direction_however_they_arrive() {
        let (near, mut far) = duplex(64);
        let (mut tap, reader) = Tap::with_mask(near, 3, [0x12, 0x34]);
        for part in [&[0][..], &[0, 7], &[0, 0]] {
            tap.write_all(part).await.unwrap();
        }
        let mut bytes = [0; 5];
        far.read_exact(&mut bytes).await.unwrap();
        assert_eq!(bytes, [0x12, 0x34, 7, 0, 0]);
        for part in [&[0x12][..], &[0x34, 9], &[1]] {
            far.write_all(part).await.unwrap();
        }
        let mut bytes = [0; 4];
        tap.read_exact(&mut bytes).await.unwrap();
        assert_eq!(bytes, [0, 0, 9, 1]);
        let tape = reader.tape();
        assert_eq!(
            (&tape.sent[..], &tape.received[..]),
            (&[0x12, 0x34, 7][..], &[0x12, 0x34, 9][..])
        );
        assert_eq!(tape.end, None);
    }

    #[tokio::test]
    async fn the_end_is_on_the_tape() {
        let (near, mut far) = duplex(64);
        let (mut tap, reader) = Tap::new(near, 3);
        tap.write_all(b"x").await.unwrap();
        far.read_u8().await.unwrap();
        drop(far);
        assert_eq!(tap.read(&mut [0; 4]).await.unwrap(), 0);
        assert_eq!(reader.tape().end, Some(StreamEnd::Closed));

        let (near, far) = duplex(64);
        let (mut tap, reader) = Tap::new(near, 3);
        drop(far);
        tap.write_all(b"x").await.unwrap_err();
        assert_eq!(reader.tape().end, Some(StreamEnd::SendLost));
    }

    #[tokio::test]
    async fn nothing_is_read_before_something_was_sent() {
        let (near, mut far) = duplex(64);
        far.write_all(b"early").await.unwrap();
        let (tap, tape) = Tap::new(near, 9);
        let (mut reader, mut writer) = tokio::io::split(tap);
        let reading = tokio::spawn(async move { reader.read_u8().await.unwrap() });
        tokio::task::yield_now().await;
        assert!(tape.tape().received.is_empty());
        writer.write_all(b"x").await.unwrap();
        assert_eq!(reading.await.unwrap(), b'e');
    }
}
