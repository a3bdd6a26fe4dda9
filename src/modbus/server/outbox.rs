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
use crate::modbus::fault::{End, ReplyPlan};

/// Frames and send plans in the order in which they are sent.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Bytes that may be sent now. The first `sent` of them are sent.
    ready: Vec<u8>,
    sent: usize,
    plans: VecDeque<SendPlan>,
    /// Set if bytes were sent since the last call of [`Outbox::take_progress`].
    progressed: bool,
}

#[derive(Debug)]
struct SendPlan {
    steps: VecDeque<(Duration, Vec<u8>)>,
    end: End,
    /// The timer of the pause before the next step.
    pause: Option<Sleep>,
}

/// The result of sending.
#[derive(Debug)]
pub(super) enum SendProgress {
    /// Everything is sent.
    Sent,
    /// Everything is sent, and the connection ends in this way.
    Ended(End),
    /// The bytes cannot be sent, because the client has left.
    Failed,
}

impl Outbox {
    /// Adds a frame that is sent as it is.
    pub(super) fn push(&mut self, frame: &[u8]) {
        if self.plans.is_empty() {
            self.ready.extend_from_slice(frame);
        } else {
            let steps = VecDeque::from([(Duration::ZERO, frame.to_vec())]);
            self.plans.push_back(SendPlan { steps, end: End::Keep, pause: None });
        }
    }

    /// Adds a reply that a fault has changed.
    pub(super) fn push_plan(&mut self, plan: ReplyPlan) {
        self.plans.push_back(SendPlan { steps: plan.steps.into(), end: plan.end, pause: None });
    }

    /// Returns the number of plans that wait, and the number of bytes in the buffer, which is emptied
    /// once the kernel has taken all of them.
    pub(super) fn backlog(&self) -> (usize, usize) {
        (self.plans.len(), self.ready.len())
    }

    /// Returns true if sending waits for the clock and not for the client.
    pub(super) fn is_pausing(&self) -> bool {
        self.plans.front().is_some_and(|plan| plan.pause.is_some())
    }

    /// Returns true if bytes were sent since the last call.
    pub(super) fn take_progress(&mut self) -> bool {
        std::mem::take(&mut self.progressed)
    }

    /// Sends the bytes that may be sent now.
    pub(super) fn poll<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        clock: &Clock,
        context: &mut Context<'_>,
    ) -> Poll<SendProgress> {
        loop {
            if ready!(self.poll_write(stream, context)).is_err() {
                return Poll::Ready(SendProgress::Failed);
            }
            let Some(plan) = self.plans.front_mut() else { return Poll::Ready(SendProgress::Sent) };
            if let Some((pause, _)) = plan.steps.front() {
                let pause = *pause;
                let sleep = plan.pause.get_or_insert_with(|| clock.sleep(pause));
                ready!(Pin::new(sleep).poll(context));
                if let Some((_, bytes)) = plan.steps.pop_front() {
                    self.ready.extend_from_slice(&bytes);
                }
                plan.pause = None;
                continue;
            }
            match plan.end {
                End::Keep => drop(self.plans.pop_front()),
                end => return Poll::Ready(SendProgress::Ended(end)),
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
                    self.progressed = true;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        self.ready.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }
}
