//! The byte stream of a connection whose delivery of replies fault rules can disturb.
//!
//! The service decides how a reply is delivered before it returns it. [`FaultyStream`], between
//! hyper and the socket, carries that out on the bytes. The two share a [`DeliveryControl`].

use parking_lot::{Mutex, MutexGuard};
use std::fmt;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

use super::write_timeout::Resettable;
use crate::clock::{Clock, Sleep, VirtualTime};
use crate::limits;

/// The way in which the bytes of one reply are delivered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum DeliveryPlan {
    /// Unchanged.
    #[default]
    Whole,
    /// The connection ends after this many bytes, or with the reply if that is shorter.
    Cut { remaining: usize },
    /// This many bytes at a time, with a pause after each piece.
    Drip { bytes: usize, every: Duration },
}

/// The state that the service and the stream of a connection share.
#[derive(Debug, Default)]
pub(crate) struct DeliveryControl {
    state: Mutex<DeliveryState>,
    /// Notified if the connection is to be reset at once, whatever it waits for.
    reset_requested: Notify,
}

#[derive(Debug, Default)]
struct DeliveryState {
    plan: DeliveryPlan,
    phase: DeliveryPhase,
    /// The waker of the next reply, which waits until this one is delivered.
    next: Option<Waker>,
    /// The effect that runs once this reply is delivered.
    after_delivery: Option<AfterDelivery>,
    /// Set once a reply has had an effect after its delivery: it is the last reply of its
    /// connection.
    last_reply: bool,
    end: DeliveryEnd,
}

/// The progress of the reply that `plan` belongs to.
#[derive(Debug, Default, PartialEq, Eq)]
enum DeliveryPhase {
    /// The reply is delivered, or there was none yet.
    #[default]
    Delivered,
    /// The body of the reply is not complete.
    Started,
    /// hyper has all bytes of the reply.
    Consumed,
}

/// The way in which the connection ends after its last reply.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum DeliveryEnd {
    /// With FIN, when hyper ends the connection.
    #[default]
    Normal,
    /// With RST.
    Reset,
    /// With FIN, but before the socket is closed, bytes that the client still sends are read and
    /// discarded ([`limits::HTTP_LINGER`]). Otherwise the kernel would send RST because of unread
    /// bytes, and the client would lose the reply.
    Linger,
}

/// An effect that runs once a reply is delivered, or cannot be delivered any more: when this is
/// dropped.
pub(crate) struct AfterDelivery(Option<Box<dyn FnOnce() + Send + Sync>>);

impl AfterDelivery {
    pub(crate) fn new(effect: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(effect)))
    }
}

impl Drop for AfterDelivery {
    fn drop(&mut self) {
        if let Some(effect) = self.0.take() {
            effect();
        }
    }
}

impl fmt::Debug for AfterDelivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AfterDelivery")
    }
}

/// A token that the body of a reply holds. It is dropped when hyper has all of the body.
#[derive(Debug)]
pub(crate) struct BodyConsumed(Arc<DeliveryControl>);

impl DeliveryControl {
    /// Starts a reply with its plan and the effect after its delivery. Waits until the previous
    /// reply is delivered, because pipelined requests are answered while bytes of the previous
    /// reply still wait.
    pub(crate) async fn start_reply(
        self: &Arc<Self>,
        plan: DeliveryPlan,
        mut after_delivery: Option<AfterDelivery>,
    ) -> BodyConsumed {
        std::future::poll_fn(|context| {
            let mut state = self.state();
            if state.phase == DeliveryPhase::Delivered {
                state.plan = plan;
                state.phase = DeliveryPhase::Started;
                state.after_delivery = after_delivery.take();
                state.last_reply |= state.after_delivery.is_some();
                return Poll::Ready(());
            }
            state.next = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
        BodyConsumed(Arc::clone(self))
    }

    /// Requests an immediate reset of the connection, also if it waits for a client that does not
    /// read.
    pub(crate) fn reset(&self) {
        self.set_end(DeliveryEnd::Reset);
        self.reset_requested.notify_one();
    }

    /// Waits until a reset of the connection is requested.
    pub(crate) async fn reset_requested(&self) {
        self.reset_requested.notified().await;
    }

    /// Returns true if no further request on this connection is answered, because of an effect
    /// after a reply.
    pub(crate) fn is_after_last_reply(&self) -> bool {
        self.state().last_reply
    }

    /// Answers requests again, because they are for another device than the last reply was of.
    pub(crate) fn continue_after_last_reply(&self) {
        self.state().last_reply = false;
    }

    /// Sets how the connection ends.
    pub(crate) fn set_end(&self, end: DeliveryEnd) {
        self.state().end = end;
    }

    /// Handles a flush: all bytes that hyper had are written. If hyper had the whole reply, the
    /// reply is delivered, and a connection that was to be cut ends. A stream may have nothing
    /// more to write for a long time, so it is cut here too.
    fn on_flush(&self) -> io::Result<()> {
        let mut state = self.state();
        if matches!(state.plan, DeliveryPlan::Cut { remaining: 0 }) {
            return Err(interrupted());
        }
        if state.phase != DeliveryPhase::Consumed {
            return Ok(());
        }
        if matches!(state.plan, DeliveryPlan::Cut { .. }) {
            return Err(interrupted());
        }
        state.plan = DeliveryPlan::Whole;
        state.phase = DeliveryPhase::Delivered;
        let after_delivery = state.after_delivery.take();
        if let Some(next) = state.next.take() {
            next.wake();
        }
        drop(state);
        drop(after_delivery);
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, DeliveryState> {
        self.state.lock()
    }
}

/// Returns the error that makes hyper give the connection up. hyper drops it, which sends the bytes
/// that were written and a FIN.
fn interrupted() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the connection is cut on purpose")
}

impl Drop for BodyConsumed {
    fn drop(&mut self) {
        self.0.state().phase = DeliveryPhase::Consumed;
    }
}

/// The stream between hyper and the socket.
#[derive(Debug)]
pub(crate) struct FaultyStream<S: Resettable> {
    inner: S,
    delivery: Arc<DeliveryControl>,
    clock: Clock,
    drip: Drip,
    linger: Option<Linger>,
}

/// The time at which the next bytes may be sent. The timer is set only while bytes wait for it,
/// because a timer that fires without a waiting task would keep a manual clock from becoming
/// quiescent.
#[derive(Debug, Default)]
struct Drip {
    next: VirtualTime,
    sleep: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug)]
struct Linger {
    until: Pin<Box<tokio::time::Sleep>>,
    bytes: usize,
}

impl<S: Resettable> FaultyStream<S> {
    pub(crate) fn new(inner: S, delivery: Arc<DeliveryControl>, clock: Clock) -> Self {
        Self { inner, delivery, clock, drip: Drip::default(), linger: None }
    }
}

impl Drip {
    /// Waits until the next bytes may be sent.
    fn poll_due(&mut self, clock: &Clock, context: &mut Context<'_>) -> Poll<()> {
        if self.sleep.is_none() && clock.now() >= self.next {
            return Poll::Ready(());
        }
        let next = self.next;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(clock.sleep_until(next)));
        ready!(sleep.as_mut().poll(context));
        self.sleep = None;
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Resettable + Unpin> AsyncRead for FaultyStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Resettable + Unpin> AsyncWrite for FaultyStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let plan = this.delivery.state().plan;
        let most = match plan {
            DeliveryPlan::Whole => bytes.len(),
            DeliveryPlan::Cut { remaining: 0 } => return Poll::Ready(Err(interrupted())),
            DeliveryPlan::Cut { remaining } => remaining,
            DeliveryPlan::Drip { bytes, .. } => {
                ready!(this.drip.poll_due(&this.clock, context));
                bytes.max(1)
            }
        };
        let piece = &bytes[..bytes.len().min(most)];
        let written = ready!(Pin::new(&mut this.inner).poll_write(context, piece))?;
        match plan {
            DeliveryPlan::Whole => {}
            DeliveryPlan::Cut { remaining } => {
                this.delivery.state().plan = DeliveryPlan::Cut { remaining: remaining - written }
            }
            DeliveryPlan::Drip { every, .. } => this.drip.next = this.clock.now().after(every),
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.inner).poll_flush(context))?;
        Poll::Ready(self.delivery.on_flush())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(Pin::new(&mut this.inner).poll_shutdown(context))?;
        if this.delivery.state().end == DeliveryEnd::Linger {
            let linger = this.linger.get_or_insert_with(Linger::new);
            ready!(linger.poll(&mut this.inner, context));
        }
        Poll::Ready(Ok(()))
    }
}

impl Linger {
    fn new() -> Self {
        // Real time, because the bytes that are discarded come from a real client, at a speed that
        // does not depend on the clock of the house.
        let until = Box::pin(tokio::time::sleep(limits::HTTP_LINGER));
        Self { until, bytes: limits::HTTP_LINGER_BYTES }
    }

    /// Discards received bytes until the client leaves, the time is over, or the limit of bytes is
    /// reached.
    fn poll(
        &mut self,
        inner: &mut (impl AsyncRead + Unpin),
        context: &mut Context<'_>,
    ) -> Poll<()> {
        let mut scratch = [0; 2048];
        while self.bytes > 0 && self.until.as_mut().poll(context).is_pending() {
            let mut buffer = ReadBuf::new(&mut scratch);
            let read = ready!(pin!(&mut *inner).poll_read(context, &mut buffer));
            let count = buffer.filled().len();
            if read.is_err() || count == 0 {
                break;
            }
            self.bytes = self.bytes.saturating_sub(count);
        }
        Poll::Ready(())
    }
}

impl<S: Resettable> Drop for FaultyStream<S> {
    fn drop(&mut self) {
        if self.delivery.state().end == DeliveryEnd::Reset {
            self.inner.reset_on_close();
        }
    }
}
