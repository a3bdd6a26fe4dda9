//! A tap on the byte stream of a request: the bytes that were sent and received, and the end of the
//! stream.
//!
//! Result codes come from these bytes alone ([`super::classifier`]), never from a client library's
//! interpretation. No byte is read before one was sent. A library that looks for the end of the
//! connection first (as hyper does) would find it or not depending on the order in which threads
//! run, and the same peer would cause −7 in one run and −4 in another.

use parking_lot::{Mutex, MutexGuard};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The recording of a tap.
#[derive(Debug)]
pub(super) struct Tape {
    /// The bytes that were sent, as they stand on the wire, up to the limit.
    pub(super) sent: Vec<u8>,
    /// The bytes that were received, up to the limit.
    pub(super) received: Vec<u8>,
    /// The end of the stream. `None` while it is open.
    pub(super) end: Option<StreamEnd>,
    /// The number of bytes that are kept of each direction.
    limit: usize,
}

/// The end of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StreamEnd {
    /// The other side closed it in good order.
    Closed,
    /// A reset or another error occurred during a read.
    Reset,
    /// An error occurred during a write; not all bytes were sent.
    SendLost,
}

/// A stream whose bytes are recorded on a tape.
#[derive(Debug)]
pub(super) struct Tap<S> {
    inner: S,
    tape: Arc<Mutex<Tape>>,
    /// Applied to the first bytes of each direction by exclusive or, see [`Tap::with_mask`].
    mask: [u8; 2],
    written: usize,
    read: usize,
    /// The waker of a reader that came before any byte was sent.
    early_reader: Option<Waker>,
}

/// A handle to the tape of a [`Tap`], which outlives the tap.
#[derive(Debug, Clone)]
pub(super) struct TapeReader(Arc<Mutex<Tape>>);

impl TapeReader {
    /// Locks and returns the recording. Not to be held across an await.
    pub(super) fn tape(&self) -> MutexGuard<'_, Tape> {
        lock(&self.0)
    }
}

fn lock(tape: &Mutex<Tape>) -> MutexGuard<'_, Tape> {
    tape.lock()
}

impl<S> Tap<S> {
    /// Creates a tap that keeps `limit` bytes of each direction.
    pub(super) fn new(inner: S, limit: usize) -> (Self, TapeReader) {
        Self::with_mask(inner, limit, [0; 2])
    }

    /// Creates a tap that changes the first two bytes of each direction, a Modbus transaction id,
    /// into another id by exclusive or. The client behind it sees its own id exactly if the id on
    /// the wire matches, and need not know that they differ.
    pub(super) fn with_mask(inner: S, limit: usize, mask: [u8; 2]) -> (Self, TapeReader) {
        let tape = Tape { sent: Vec::new(), received: Vec::new(), end: None, limit };
        let tape = Arc::new(Mutex::new(tape));
        (
            Self { inner, tape: Arc::clone(&tape), mask, written: 0, read: 0, early_reader: None },
            TapeReader(tape),
        )
    }
}

/// Applies the mask to `bytes`, which stand at `position` of their stream.
fn apply_mask(mask: [u8; 2], position: usize, bytes: &mut [u8]) {
    let rest = mask.iter().skip(position);
    bytes.iter_mut().zip(rest).for_each(|(byte, mask)| *byte ^= mask);
}

/// Appends `bytes` to a track as far as there is room.
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
            self.early_reader = Some(context.waker().clone());
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
        apply_mask(self.mask, self.read, read);
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
            apply_mask(self.mask, self.written, &mut copy);
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
                if let Some(early_reader) = self.early_reader.take() {
                    early_reader.wake();
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
    async fn the_mask_applies_to_the_first_two_bytes_of_each_direction() {
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
    async fn the_end_of_the_stream_is_recorded() {
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
    async fn no_byte_is_read_before_one_was_sent() {
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
