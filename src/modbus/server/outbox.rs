//! What a server has still to send on a connection.
//!
//! Whole frames go out as they come. A frame that a fault splits holds up the ones behind it until
//! its last byte is out: bytes of two frames never mix.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::AsyncWrite;

use crate::clock::{Clock, Sleep};
use crate::fault::{End, ReplyPlan};

/// Frames and plans, in the order in which they go out.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Bytes that may go out now, and how many of them are out.
    ready: Vec<u8>,
    sent: usize,
    plans: VecDeque<SendPlan>,
    /// Bytes went out since this was last asked.
    moved: bool,
}

#[derive(Debug)]
struct SendPlan {
    steps: VecDeque<(Duration, Vec<u8>)>,
    end: End,
    /// The pause before the next step.
    pause: Option<Sleep>,
}

/// What became of all that was to be sent.
#[derive(Debug)]
pub(super) enum SendProgress {
    /// It is out.
    All,
    /// It is out, and the connection ends this way.
    Ended(End),
    /// It cannot be sent, the client is gone.
    Lost,
}

impl Outbox {
    /// A frame to be sent as it is.
    pub(super) fn push(&mut self, frame: &[u8]) {
        if self.plans.is_empty() {
            self.ready.extend_from_slice(frame);
        } else {
            let steps = VecDeque::from([(Duration::ZERO, frame.to_vec())]);
            self.plans.push_back(SendPlan { steps, end: End::Keep, pause: None });
        }
    }

    /// A reply that a fault changed.
    pub(super) fn push_plan(&mut self, plan: ReplyPlan) {
        self.plans.push_back(SendPlan { steps: plan.steps.into(), end: plan.end, pause: None });
    }

    /// Plans that wait, and bytes on their way to the kernel.
    pub(super) fn backlog(&self) -> (usize, usize) {
        (self.plans.len(), self.ready.len())
    }

    /// Whether it waits for the clock, and not for the client.
    pub(super) fn is_pausing(&self) -> bool {
        self.plans.front().is_some_and(|plan| plan.pause.is_some())
    }

    /// Whether the client took bytes since this was last asked.
    pub(super) fn has_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// Sends what may go out now.
    pub(super) fn poll<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        clock: &Clock,
        context: &mut Context<'_>,
    ) -> Poll<SendProgress> {
        loop {
            if ready!(self.poll_write(stream, context)).is_err() {
                return Poll::Ready(SendProgress::Lost);
            }
            let Some(plan) = self.plans.front_mut() else { return Poll::Ready(SendProgress::All) };
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
                    self.moved = true;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        self.ready.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }
}
