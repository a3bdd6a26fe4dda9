//! One connection to a Modbus server.
//!
//! A single task reads requests, delays them, carries them out and sends the replies, so nothing is
//! passed between tasks. Requests to which a [`ModbusHandler`] gives the same ordering key, such as
//! those to one unit, are carried out one at a time, in their order, each at the end of its delay.
//! Requests with different ordering keys do not wait for each other, so their replies may overtake
//! one another.
//!
//! Rulings: PEER-2, PEER-3 and MODBUS-15.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::sync::watch;
use tokio::time::Instant;

use super::outbox::{Outbox, SendOutcome};
use crate::fault::{End, ReplyDecision, ReplyFault, reply_plan};
use crate::limits;
use crate::wire::{self, Exception};
use wwsim_time::clock::{Clock, Sleep};
use wwsim_time::gate::Gate;
use wwsim_time::inflight::TrackedStream;

/// The capacity of the buffer of received bytes: a few frames, and always more than the longest one.
const INBOX_CAPACITY: usize = 1024;
/// The number of reply bytes that may wait to be sent before no further request is read.
const MAX_UNSENT_BYTES: usize = limits::OUTSTANDING_REQUESTS * limits::ADU_BYTES;

/// A handler that answers the requests of one connection.
pub trait ModbusHandler: Unpin {
    /// Returns the clock that delays use.
    fn clock(&self) -> &Clock;

    /// Returns the real time after which an idle connection is closed: one on which no byte is
    /// received or sent, and no request is in its delay. A connection that a fault left without a
    /// reply is idle too, and so is one whose client does not read its replies.
    fn idle_timeout(&self) -> Duration;

    /// Returns the ordering key of a request. Requests of a connection with the same key are
    /// carried out one after another.
    fn ordering_key(&self, request: &ReceivedRequest) -> u8;

    /// Decides on a request whose turn has come, before it is carried out.
    fn decide(&self, request: &ReceivedRequest) -> ReplyDecision;

    /// Carries out a request and writes its reply. The reply stays empty if the unit does not exist.
    fn execute(&self, request: &ReceivedRequest, reply: &mut wire::ReplyPdu);

    /// Records the outcome of a request before a byte of its reply is sent: `ok`, `exception n`,
    /// `no such unit`, or the fault.
    fn record_outcome(&self, request: &ReceivedRequest, outcome: Cow<'static, str>);

    /// Records that the received bytes are no Modbus frame.
    fn record_invalid_frame(&self, reason: String);
}

/// A connection, from accept to its end.
#[derive(Debug)]
pub struct Connection<H> {
    handler: H,
    stream: TrackedStream,
    read_state: ReadState,
    inbox: Inbox,
    /// Requests that wait for an earlier one with the same ordering key.
    waiting: VecDeque<ReceivedRequest>,
    /// Requests in their delay, at most one for each ordering key.
    delayed: Vec<DelayedRequest>,
    outbox: Outbox,
    /// Buffers that every request reuses.
    reply: wire::ReplyPdu,
    frame: Vec<u8>,
    /// The correct reply to the previous request that has one, whatever a fault sent in its place.
    previous_reply: Vec<u8>,
    idle_timer: IdleTimer,
}

/// The state of the receiving direction of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReadState {
    /// Requests are read.
    Open,
    /// Nothing more is read, because the client has shut down its sending direction (FIN), or has
    /// sent bytes that are no Modbus frame. Replies to earlier requests are still sent.
    HalfClosed,
    /// Received bytes are discarded. They are read only to notice when the client leaves.
    Draining,
}

/// Received bytes of which no request is made yet, in a buffer that is cleared only once.
#[derive(Debug)]
struct Inbox {
    buffer: [u8; INBOX_CAPACITY],
    len: usize,
}

impl Default for Inbox {
    fn default() -> Self {
        Self { buffer: [0; INBOX_CAPACITY], len: 0 }
    }
}

impl Inbox {
    fn bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }

    /// Returns the part of the buffer to which bytes can be read.
    fn free(&mut self) -> &mut [u8] {
        &mut self.buffer[self.len..]
    }

    /// Adds the first `count` bytes of the free part.
    fn add(&mut self, count: usize) {
        self.len = (self.len + count).min(self.buffer.len());
    }

    /// Removes the first `count` bytes.
    fn remove(&mut self, count: usize) {
        let count = count.min(self.len);
        self.buffer.copy_within(count..self.len, 0);
        self.len -= count;
    }

    fn clear(&mut self) {
        self.len = 0;
    }
}

/// A received request in a buffer of its own.
#[derive(Debug)]
pub struct ReceivedRequest {
    transaction_id: u16,
    /// The unit id.
    pub unit: u8,
    pdu: [u8; limits::PDU_BYTES],
    len: usize,
}

impl ReceivedRequest {
    fn new(frame: &wire::Frame<'_>) -> Self {
        let mut pdu = [0; limits::PDU_BYTES];
        let len = frame.pdu.len().min(pdu.len());
        pdu[..len].copy_from_slice(&frame.pdu[..len]);
        let wire::MbapHeader { transaction_id, unit_id, .. } = frame.header;
        Self { transaction_id, unit: unit_id, pdu, len }
    }

    /// Returns the PDU: the function code and its data.
    #[must_use]
    pub fn pdu(&self) -> &[u8] {
        &self.pdu[..self.len]
    }

    /// Returns the function code.
    #[must_use]
    pub fn function(&self) -> wire::FunctionCode {
        wire::FunctionCode(self.pdu[0])
    }
}

/// A request in its delay, with the fault of its reply.
#[derive(Debug)]
struct DelayedRequest {
    request: ReceivedRequest,
    fault: Option<ReplyFault>,
    delay: Sleep,
}

impl<H: ModbusHandler> Connection<H> {
    /// Creates a connection whose requests `handler` answers.
    #[must_use]
    pub fn new(handler: H, stream: TrackedStream) -> Self {
        let idle_timer = IdleTimer::new(handler.idle_timeout());
        Self {
            handler,
            stream,
            read_state: ReadState::Open,
            inbox: Inbox::default(),
            waiting: VecDeque::new(),
            delayed: Vec::new(),
            outbox: Outbox::default(),
            reply: wire::ReplyPdu::default(),
            frame: Vec::with_capacity(limits::ADU_BYTES),
            previous_reply: Vec::new(),
            idle_timer,
        }
    }

    /// Serves the connection until it ends, or resets it when `reset_signal` is notified. While the gate is
    /// closed, a connection that waits for its next request waits on, and any other one ends.
    ///
    /// Boxed, because the buffers in it would be copied each time that the future is moved.
    pub async fn serve(mut self: Box<Self>, gate: Gate, mut reset_signal: watch::Receiver<()>) {
        let end = loop {
            let mut pass = tokio::select! {
                biased;
                // Also if the sender is gone, because then the server is too.
                _ = reset_signal.changed() => break End::Rst,
                pass = gate.enter() => pass,
            };
            tokio::select! {
                biased;
                _ = reset_signal.changed() => break End::Rst,
                () = pass.recalled() => {}
                end = poll_fn(|context| self.poll(context)) => break end,
            }
            if !self.waits_for_request() {
                // Dropped before the pass is given back.
                drop(self);
                return;
            }
            self.previous_reply.clear();
        };
        if end == End::Rst {
            self.stream.reset();
        }
    }

    /// Returns true if nothing of a request is received, in progress or still to be sent. A client of the
    /// house has no next request, and the end of its connection would be in flight until it is read.
    fn waits_for_request(&self) -> bool {
        self.read_state == ReadState::Open
            && self.inbox.bytes().is_empty()
            && self.waiting.is_empty()
            && self.delayed.is_empty()
            && self.outbox.backlog() == (0, 0)
            && !self.stream.peer_info().is_of_house()
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<End> {
        loop {
            let delay_finished = self.finish_delays(context);
            let sent = self.outbox.poll(&mut self.stream, self.handler.clock(), context);
            let outbox_empty = match sent {
                Poll::Ready(SendOutcome::AllSent) => true,
                Poll::Ready(SendOutcome::ConnectionEnds(End::Hang)) => {
                    self.drain();
                    true
                }
                Poll::Ready(SendOutcome::ConnectionEnds(end)) => return Poll::Ready(end),
                Poll::Ready(SendOutcome::Failed) => {
                    // The next read reports that the client has left; nothing more is sent until
                    // then.
                    self.outbox = Outbox::default();
                    true
                }
                Poll::Pending => false,
            };
            if self.outbox.take_bytes_written() > 0 {
                self.idle_timer.restart();
            }
            let requests_taken = self.take_requests();
            if delay_finished || requests_taken {
                continue;
            }
            if self.poll_read(context).is_ready() {
                continue;
            }
            let all_answered = outbox_empty && self.delayed.is_empty();
            if self.read_state == ReadState::HalfClosed && all_answered {
                return Poll::Ready(End::Fin);
            }
            return self.idle_timer.poll(self.is_busy(), context).map(|()| End::Fin);
        }
    }

    /// Returns true if the client waits for the clock. A client that only has to read is not busy,
    /// because it must not keep its permit for ever.
    fn is_busy(&self) -> bool {
        !self.delayed.is_empty() || self.outbox.is_pausing()
    }

    /// Returns true if another request may be read. Otherwise the kernel makes the client wait.
    fn has_room(&self) -> bool {
        let (plans, bytes) = self.outbox.backlog();
        let outstanding = self.waiting.len() + self.delayed.len() + plans;
        outstanding < limits::OUTSTANDING_REQUESTS && bytes < MAX_UNSENT_BYTES
    }

    /// Discards all requests and replies. Further requests are not answered.
    fn drain(&mut self) {
        self.read_state = ReadState::Draining;
        self.outbox = Outbox::default();
        self.waiting.clear();
        self.delayed.clear();
        self.inbox.clear();
    }

    /// Carries out the requests whose delay is over, and begins the next ones with the same ordering
    /// key. Returns true if there was one.
    fn finish_delays(&mut self, context: &mut Context<'_>) -> bool {
        let mut index = 0;
        let mut finished = false;
        while let Some(delayed) = self.delayed.get_mut(index) {
            if Pin::new(&mut delayed.delay).poll(context).is_pending() {
                index += 1;
                continue;
            }
            let DelayedRequest { request, fault, delay } = self.delayed.remove(index);
            self.carry_out(&request, fault.as_ref());
            drop(delay);
            self.begin_waiting(self.handler.ordering_key(&request));
            finished = true;
        }
        finished
    }

    /// Begins the waiting requests with an ordering key, up to one that has a delay.
    fn begin_waiting(&mut self, key: u8) {
        while !self.is_delayed(key)
            && let Some(index) = self.next_waiting(key)
            && let Some(request) = self.waiting.remove(index)
        {
            self.begin_request(request);
        }
    }

    /// Returns the index of the first waiting request with an ordering key.
    fn next_waiting(&self, key: u8) -> Option<usize> {
        self.waiting.iter().position(|request| self.handler.ordering_key(request) == key)
    }

    /// Returns true if a request with this ordering key is in its delay.
    fn is_delayed(&self, key: u8) -> bool {
        self.delayed.iter().any(|delayed| self.handler.ordering_key(&delayed.request) == key)
    }

    /// Takes whole frames out of the inbox while there is room for them. Returns true if there was
    /// one.
    fn take_requests(&mut self) -> bool {
        let mut consumed = 0;
        while self.read_state == ReadState::Open && self.has_room() {
            match wire::split_frame(&self.inbox.bytes()[consumed..]) {
                Ok(Some((frame, length))) => {
                    let request = ReceivedRequest::new(&frame);
                    consumed += length;
                    if self.is_delayed(self.handler.ordering_key(&request)) {
                        self.waiting.push_back(request);
                    } else {
                        self.begin_request(request);
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    self.read_state = ReadState::HalfClosed;
                    self.handler.record_invalid_frame(error.to_string());
                }
            }
        }
        self.inbox.remove(consumed);
        consumed > 0
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let has_room = !self.inbox.free().is_empty() && self.has_room();
        if self.read_state == ReadState::HalfClosed || !has_room {
            return Poll::Pending;
        }
        let mut buffer = ReadBuf::new(self.inbox.free());
        let result = ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer));
        let read = buffer.filled().len();
        self.idle_timer.restart();
        if result.is_err() || read == 0 {
            self.read_state = ReadState::HalfClosed;
        } else if self.read_state == ReadState::Open {
            self.inbox.add(read);
        }
        Poll::Ready(())
    }

    /// Begins a request: asks for the decision, and carries the request out after its delay.
    fn begin_request(&mut self, request: ReceivedRequest) {
        let ReplyDecision { delay, fault } = self.handler.decide(&request);
        if delay.is_zero() {
            self.carry_out(&request, fault.as_ref());
        } else {
            let delay = self.handler.clock().sleep(delay);
            self.delayed.push(DelayedRequest { request, fault, delay });
        }
    }

    /// Carries out a request as far as the fault permits, and adds the reply to the outbox.
    fn carry_out(&mut self, request: &ReceivedRequest, fault: Option<&ReplyFault>) {
        self.execute(request, fault);
        let silent = self.reply.pdu().is_empty();
        let remaining = fault.filter(|_| silent).and_then(ReplyFault::without_reply);
        let fault = if silent { remaining.as_ref() } else { fault };
        self.frame.clear();
        // Without a reply, the header and the function code of the request stand for those of the reply.
        let pdu = if silent { request.pdu() } else { self.reply.pdu() };
        wire::write_frame(request.transaction_id, request.unit, pdu, &mut self.frame);
        // Recorded before a byte is sent, so that the entry stands before everything that the reply
        // causes.
        self.record_outcome(request, fault);
        match fault {
            None if silent => {}
            None => self.outbox.push(&self.frame),
            Some(fault) => {
                let previous_reply = Some(&self.previous_reply[..])
                    .filter(|previous_reply| !previous_reply.is_empty());
                self.outbox.push_plan(reply_plan(fault, &self.frame, previous_reply));
            }
        }
        if !silent {
            std::mem::swap(&mut self.previous_reply, &mut self.frame);
        }
    }

    /// Writes the reply into its buffer. The buffer stays empty if the unit does not exist, or if
    /// the fault prevents the request.
    fn execute(&mut self, request: &ReceivedRequest, fault: Option<&ReplyFault>) {
        self.reply.clear();
        match fault {
            Some(ReplyFault::Exception(code)) => {
                self.reply.write_exception(request.function(), Exception(*code));
            }
            Some(fault) if !fault.carries_out() => {}
            _ => self.handler.execute(request, &mut self.reply),
        }
    }

    fn record_outcome(&self, request: &ReceivedRequest, fault: Option<&ReplyFault>) {
        let outcome = match (fault, self.reply.as_exception()) {
            (Some(fault), _) => fault.to_string().into(),
            (None, Some(exception)) => exception.to_string().into(),
            (None, None) if self.reply.pdu().is_empty() => "no such unit".into(),
            (None, None) => OUTCOME_OK.into(),
        };
        self.handler.record_outcome(request, outcome);
    }
}

/// The outcome of a request without a fault, as the journal shows it.
pub const OUTCOME_OK: &str = "ok";

/// The idle timer of a connection, which fires if no byte is received or sent for the whole limit.
/// A connection that a fault left without a reply ([`End::Hang`]) ends in this way too, and so does
/// one whose client does not read its replies. Real time, because it protects the process from clients
/// that keep connections they do not use.
#[derive(Debug)]
struct IdleTimer {
    limit: Duration,
    last: Instant,
    /// True if bytes were received or sent since the timer was last looked at, which is at the end of each
    /// poll of the connection.
    is_restarted: bool,
    timer: Pin<Box<tokio::time::Sleep>>,
}

impl IdleTimer {
    fn new(limit: Duration) -> Self {
        Self {
            limit,
            last: Instant::now(),
            is_restarted: false,
            timer: Box::pin(tokio::time::sleep(limit)),
        }
    }

    fn restart(&mut self) {
        self.is_restarted = true;
    }

    /// Completes once no byte was received or sent for the whole limit. While the connection is
    /// busy, the timer starts again.
    fn poll(&mut self, busy: bool, context: &mut Context<'_>) -> Poll<()> {
        if std::mem::take(&mut self.is_restarted) {
            self.last = Instant::now();
        }
        loop {
            ready!(self.timer.as_mut().poll(context));
            if busy {
                self.last = Instant::now();
            }
            // The timer is set anew only when it fires, not with every request.
            let rest = self.limit.saturating_sub(self.last.elapsed());
            if rest.is_zero() {
                return Poll::Ready(());
            }
            self.timer.set(tokio::time::sleep(rest));
        }
    }
}
