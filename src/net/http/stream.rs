//! The byte stream of a connection, which can be made to break.
//!
//! The service decides what befalls a response before it returns it; this stream, between hyper and
//! the socket, carries it out on the bytes. The two share a [`DeliveryControl`].

use parking_lot::{Mutex, MutexGuard};
use std::fmt;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

use super::write_limit::Resettable;
use crate::clock::{Clock, Sleep, VirtualTime};
use crate::limits;

/// What happens to the bytes of one response.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum DeliveryPlan {
    /// They go out as they are.
    #[default]
    Whole,
    /// So many go out, then the connection ends; at the latest with the response.
    Cut { left: usize },
    /// So many at a time go out, with a pause between.
    Drip { bytes: usize, every: Duration },
}

/// What the service and the stream of a connection know of each other.
#[derive(Debug, Default)]
pub(crate) struct DeliveryControl {
    state: Mutex<DeliveryState>,
    /// Rung where the connection is not to go on, whatever it waits for.
    broken: Notify,
}

#[derive(Debug, Default)]
struct DeliveryState {
    plan: DeliveryPlan,
    phase: DeliveryPhase,
    /// The next response, waiting for this one to be out.
    next: Option<Waker>,
    /// What comes once this response is out.
    afterwards: Option<Afterwards>,
    /// Whether something comes after this response, or has come: it is the last of its connection.
    parting: bool,
    ending: DeliveryEnd,
}

/// How far the response that `plan` belongs to is.
#[derive(Debug, Default, PartialEq, Eq)]
enum DeliveryPhase {
    /// It is out, or there was none yet.
    #[default]
    Out,
    /// Its body is not complete.
    Begun,
    /// hyper has all of it.
    HandedOver,
}

/// How the connection ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum DeliveryEnd {
    /// As the two sides agree.
    #[default]
    Normal,
    /// With a RST.
    Reset,
    /// With a FIN, but what the client still sends is thrown away for a moment.
    Linger,
}

/// What happens once a response is out, or cannot go out any more: when this is dropped.
pub(crate) struct Afterwards(Option<Box<dyn FnOnce() + Send + Sync>>);

impl Afterwards {
    pub(crate) fn new(effect: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(effect)))
    }
}

impl Drop for Afterwards {
    fn drop(&mut self) {
        if let Some(effect) = self.0.take() {
            effect();
        }
    }
}

impl fmt::Debug for Afterwards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Afterwards")
    }
}

/// Held by the body of a response: dropped when hyper has all of it.
#[derive(Debug)]
pub(crate) struct BodyConsumed(Arc<DeliveryControl>);

impl DeliveryControl {
    /// Gives the response that follows its plan, and what comes after it, once the one before is
    /// out: pipelined requests are answered while bytes of the answer before still wait.
    pub(crate) async fn begin(
        self: &Arc<Self>,
        plan: DeliveryPlan,
        mut afterwards: Option<Afterwards>,
    ) -> BodyConsumed {
        std::future::poll_fn(|context| {
            let mut state = self.state();
            if state.phase == DeliveryPhase::Out {
                state.plan = plan;
                state.phase = DeliveryPhase::Begun;
                state.afterwards = afterwards.take();
                state.parting |= state.afterwards.is_some();
                return Poll::Ready(());
            }
            state.next = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
        BodyConsumed(Arc::clone(self))
    }

    /// Has the connection reset at once, also where it waits for a client that does not read.
    pub(crate) fn break_off(&self) {
        self.end(DeliveryEnd::Reset);
        self.broken.notify_one();
    }

    /// Waits until the connection is to be reset.
    pub(crate) async fn broken(&self) {
        self.broken.notified().await;
    }

    /// Whether nothing is answered on this connection any more, because of what comes after a response.
    pub(crate) fn is_parting(&self) -> bool {
        self.state().parting
    }

    /// Says how the connection is to end.
    pub(crate) fn end(&self, ending: DeliveryEnd) {
        self.state().ending = ending;
    }

    /// All that hyper had was written; where it had the whole response, that is over, and with it a
    /// connection that was to be cut. A stream may have no more to write for long: it is cut here.
    fn flushed(&self) -> io::Result<()> {
        let mut state = self.state();
        if matches!(state.plan, DeliveryPlan::Cut { left: 0 }) {
            return Err(cut());
        }
        if state.phase != DeliveryPhase::HandedOver {
            return Ok(());
        }
        if matches!(state.plan, DeliveryPlan::Cut { .. }) {
            return Err(cut());
        }
        state.plan = DeliveryPlan::Whole;
        state.phase = DeliveryPhase::Out;
        let afterwards = state.afterwards.take();
        if let Some(next) = state.next.take() {
            next.wake();
        }
        drop(state);
        drop(afterwards);
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, DeliveryState> {
        self.state.lock()
    }
}

/// What makes hyper give the connection up: it is dropped, which sends what was written and a FIN.
fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the connection is cut on purpose")
}

impl Drop for BodyConsumed {
    fn drop(&mut self) {
        self.0.state().phase = DeliveryPhase::HandedOver;
    }
}

/// The stream between hyper and the socket.
#[derive(Debug)]
pub(crate) struct FaultyStream<S: Resettable> {
    inner: S,
    wire: Arc<DeliveryControl>,
    clock: Clock,
    drip: Drip,
    linger: Option<Linger>,
}

/// When the next bytes may go. The timer is set only while bytes wait for it: one that goes off
/// without anybody waiting would keep a manual clock from coming to rest.
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
    pub(crate) fn new(inner: S, wire: Arc<DeliveryControl>, clock: Clock) -> Self {
        Self { inner, wire, clock, drip: Drip::default(), linger: None }
    }
}

impl Drip {
    /// Waits until the next bytes may go.
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
        let plan = this.wire.state().plan;
        let most = match plan {
            DeliveryPlan::Whole => bytes.len(),
            DeliveryPlan::Cut { left: 0 } => return Poll::Ready(Err(cut())),
            DeliveryPlan::Cut { left } => left,
            DeliveryPlan::Drip { bytes, .. } => {
                ready!(this.drip.poll_due(&this.clock, context));
                bytes.max(1)
            }
        };
        let piece = &bytes[..bytes.len().min(most)];
        let written = ready!(Pin::new(&mut this.inner).poll_write(context, piece))?;
        match plan {
            DeliveryPlan::Whole => {}
            DeliveryPlan::Cut { left } => {
                this.wire.state().plan = DeliveryPlan::Cut { left: left - written }
            }
            DeliveryPlan::Drip { every, .. } => this.drip.next = this.clock.now().after(every),
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.inner).poll_flush(context))?;
        Poll::Ready(self.wire.flushed())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(Pin::new(&mut this.inner).poll_shutdown(context))?;
        if this.wire.state().ending == DeliveryEnd::Linger {
            let linger = this.linger.get_or_insert_with(Linger::new);
            ready!(linger.poll(&mut this.inner, context));
        }
        Poll::Ready(Ok(()))
    }
}

impl Linger {
    fn new() -> Self {
        // Real time: this is between the two kernels, nothing the device does.
        let until = Box::pin(tokio::time::sleep(limits::HTTP_LINGER));
        Self { until, bytes: limits::HTTP_LINGER_BYTES }
    }

    /// Throws away what comes, until the client leaves, the time is over, or it was too much.
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
        if self.wire.state().ending == DeliveryEnd::Reset {
            self.inner.reset_on_close();
        }
    }
}
