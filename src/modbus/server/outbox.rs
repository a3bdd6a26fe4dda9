//! The bytes that a server has still to send on a connection.
//!
//! Whole frames are sent in their order. A frame that a fault splits holds up the frames behind it
//! until its last byte is sent, so that the bytes of two frames never mix.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::AsyncWrite;

use crate::clock::{Clock, Sleep};
use crate::modbus::fault::{End, ReplyPlan, ReplySegment};

/// Frames and segmented replies in the order in which they are sent.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Bytes that may be sent now. The first `sent` of them are sent.
    ready: Vec<u8>,
    sent: usize,
    /// Replies whose segments are not all in `ready` yet.
    segmented: VecDeque<SegmentedReply>,
    /// The number of bytes that were written since the last call of
    /// [`Outbox::take_bytes_written`].
    bytes_written: usize,
}

/// A reply that is sent in segments, with pauses or with an end of the connection after it.
#[derive(Debug)]
struct SegmentedReply {
    /// The segments that are still to be sent.
    segments: VecDeque<ReplySegment>,
    end: End,
    /// The timer of the pause before the next segment.
    pause: Option<Sleep>,
}

/// The result of sending.
#[derive(Debug)]
pub(super) enum SendOutcome {
    /// Everything is sent.
    AllSent,
    /// All bytes before this end of the connection are sent.
    ConnectionEnds(End),
    /// The bytes cannot be sent, because the client has left.
    Failed,
}

impl Outbox {
    /// Adds a frame that is sent as it is.
    pub(super) fn push(&mut self, frame: &[u8]) {
        if self.segmented.is_empty() {
            self.ready.extend_from_slice(frame);
        } else {
            let segment = ReplySegment { pause: Duration::ZERO, bytes: frame.to_vec() };
            self.push_plan(ReplyPlan { segments: vec![segment], end: End::Keep });
        }
    }

    /// Adds a reply that a fault has changed.
    pub(super) fn push_plan(&mut self, plan: ReplyPlan) {
        let ReplyPlan { segments, end } = plan;
        self.segmented.push_back(SegmentedReply { segments: segments.into(), end, pause: None });
    }

    /// Returns the number of segmented replies that wait, and the number of bytes in the buffer,
    /// which is emptied once the kernel has taken all of them.
    pub(super) fn backlog(&self) -> (usize, usize) {
        (self.segmented.len(), self.ready.len())
    }

    /// Returns true if sending waits for the clock and not for the client.
    pub(super) fn is_pausing(&self) -> bool {
        self.segmented.front().is_some_and(|reply| reply.pause.is_some())
    }

    /// Returns the number of bytes that were written since the last call.
    pub(super) fn take_bytes_written(&mut self) -> usize {
        std::mem::take(&mut self.bytes_written)
    }

    /// Sends the bytes that may be sent now.
    pub(super) fn poll<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        clock: &Clock,
        context: &mut Context<'_>,
    ) -> Poll<SendOutcome> {
        loop {
            if ready!(self.poll_write(stream, context)).is_err() {
                return Poll::Ready(SendOutcome::Failed);
            }
            let Some(reply) = self.segmented.front_mut() else {
                return Poll::Ready(SendOutcome::AllSent);
            };
            if let Some(segment) = reply.segments.front() {
                let sleep = reply.pause.get_or_insert_with(|| clock.sleep(segment.pause));
                ready!(Pin::new(sleep).poll(context));
                self.ready.extend_from_slice(&segment.bytes);
                reply.segments.pop_front();
                reply.pause = None;
                continue;
            }
            match reply.end {
                End::Keep => drop(self.segmented.pop_front()),
                end => return Poll::Ready(SendOutcome::ConnectionEnds(end)),
            }
        }
    }

    fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.sent < self.ready.len() {
            let bytes = &self.ready[self.sent..];
            match ready!(Pin::new(&mut *stream).poll_write(context, bytes)) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(written) => {
                    self.sent += written;
                    self.bytes_written += written;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        self.ready.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }
}
