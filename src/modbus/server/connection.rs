//! One connection to a Modbus server.
//!
//! A single task reads requests, gives turns and sends replies, with nothing handed over between
//! tasks. Requests that a [`ModbusService`] gives the same turn, those to one unit say, are carried out one
//! at a time, in their order, each at the end of its delay; others do not wait for each other, so their
//! replies may overtake one another.
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

use super::outbox::{Outbox, SendProgress};
use crate::clock::{Clock, Sleep};
use crate::fault::{End, ReplyPhase, SlaveEffect, Verdict, WireFault, reply_plan};
use crate::limits;
use crate::modbus::wire::{self, Exception};
use crate::net::inflight::TrackedStream;

/// Bytes read and not yet taken apart: a few frames, and always more than the longest one.
const INBOX_BYTES: usize = 1024;
/// Bytes of replies that the client has not taken before it is read no further.
const UNSENT_BYTES: usize = limits::SLAVE_PIPELINE * limits::ADU_BYTES;

/// Whoever answers the requests of one connection.
pub(crate) trait ModbusService: Unpin {
    /// The clock that delays go by.
    fn clock(&self) -> &Clock;

    /// Real idle time after which the connection is closed.
    fn idle(&self) -> Duration;

    /// Requests with the same number wait for each other.
    fn turn(&self, request: &ReceivedRequest) -> u8;

    /// What becomes of a request whose turn has come. How long a healthy reply takes is in the delay.
    fn ask(&self, request: &ReceivedRequest) -> Verdict<SlaveEffect>;

    /// Carries out a request. The reply stays empty where nothing answers.
    fn execute(&self, request: &ReceivedRequest, reply: &mut wire::ReplyPdu);

    /// Writes down what became of a request, before a byte of its reply is out: `ok`, `exception n`,
    /// or what a fault made of it.
    fn explain(&self, request: &ReceivedRequest, outcome: Cow<'static, str>);

    /// Writes down that what came is no Modbus.
    fn garbage(&self, reason: String);
}

/// A connection, from accept to its end.
#[derive(Debug)]
pub(crate) struct Connection<S> {
    service: S,
    stream: TrackedStream,
    input: Input,
    inbox: Vec<u8>,
    /// Requests behind an earlier one to the same unit.
    waiting: VecDeque<ReceivedRequest>,
    /// Requests in their delay, at most one of each unit.
    turns: Vec<Turn>,
    outbox: Outbox,
    /// Buffers that are used again for every request.
    reply: wire::ReplyPdu,
    frame: Vec<u8>,
    /// The correct reply before, as it stood on the wire.
    previous: Vec<u8>,
    idle: Idle,
}

/// What is still to be expected from the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    /// Requests.
    Open,
    /// Nothing: it has ended its side, or sent what is no Modbus.
    Over,
    /// Nothing that would be answered; read to notice when it leaves.
    Ignored,
}

/// A request, in a buffer of its own.
#[derive(Debug)]
pub(crate) struct ReceivedRequest {
    transaction_id: u16,
    pub(crate) unit: u8,
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

    pub(crate) fn pdu(&self) -> &[u8] {
        &self.pdu[..self.len]
    }

    pub(crate) fn function(&self) -> wire::FunctionCode {
        wire::FunctionCode(self.pdu[0])
    }
}

/// A request whose turn has come, and what the rules make of it.
#[derive(Debug)]
struct Turn {
    request: ReceivedRequest,
    effect: Option<SlaveEffect>,
    delay: Sleep,
}

impl<S: ModbusService> Connection<S> {
    pub(crate) fn new(service: S, stream: TrackedStream) -> Self {
        let idle = Idle::new(service.idle());
        Self {
            service,
            stream,
            input: Input::Open,
            inbox: Vec::with_capacity(INBOX_BYTES),
            waiting: VecDeque::new(),
            turns: Vec::new(),
            outbox: Outbox::default(),
            reply: wire::ReplyPdu::default(),
            frame: Vec::with_capacity(limits::ADU_BYTES),
            previous: Vec::new(),
            idle,
        }
    }

    /// Serves the connection until it ends, or resets it when `cut` says so.
    pub(crate) async fn serve(mut self, mut cut: watch::Receiver<()>) {
        let end = tokio::select! {
            biased;
            // Also where the supervisor is gone: then the slave is, too.
            _ = cut.changed() => End::Rst,
            end = poll_fn(|context| self.poll(context)) => end,
        };
        if end == End::Rst {
            self.stream.reset();
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<End> {
        loop {
            let moved = self.end_turns(context);
            let sent = match self.outbox.poll(&mut self.stream, self.service.clock(), context) {
                Poll::Ready(SendProgress::Ended(End::Hang)) => {
                    self.ignore();
                    true
                }
                Poll::Ready(SendProgress::Ended(end)) => return Poll::Ready(end),
                Poll::Ready(SendProgress::Lost) => {
                    // The next read says that the client is gone; nothing more is sent until then.
                    self.outbox = Outbox::default();
                    true
                }
                Poll::Ready(SendProgress::All) => true,
                Poll::Pending => false,
            };
            if self.outbox.has_moved() {
                self.idle.touch();
            }
            if moved | self.take_requests() {
                continue;
            }
            if self.poll_read(context).is_ready() {
                continue;
            }
            if self.input == Input::Over && sent && self.turns.is_empty() {
                return Poll::Ready(End::Fin);
            }
            return self.idle.poll(self.is_busy(), context).map(|()| End::Fin);
        }
    }

    /// Whether the client waits for the clock. One that only has to take what is there may not keep
    /// its place for ever.
    fn is_busy(&self) -> bool {
        !self.turns.is_empty() || self.outbox.is_pausing()
    }

    /// Whether another request may be taken. Where not, the client is read no further, and the
    /// kernel makes it wait.
    fn has_room(&self) -> bool {
        let (plans, bytes) = self.outbox.backlog();
        self.waiting.len() + self.turns.len() + plans < limits::SLAVE_PIPELINE
            && bytes < UNSENT_BYTES
    }

    /// From here on nothing is answered.
    fn ignore(&mut self) {
        self.input = Input::Ignored;
        self.outbox = Outbox::default();
        self.waiting.clear();
        self.turns.clear();
        self.inbox.clear();
    }

    /// Carries out the requests whose delay is over; the next ones of their units have their turn.
    fn end_turns(&mut self, context: &mut Context<'_>) -> bool {
        let mut index = 0;
        let mut any = false;
        while let Some(turn) = self.turns.get_mut(index) {
            if Pin::new(&mut turn.delay).poll(context).is_pending() {
                index += 1;
                continue;
            }
            let Turn { request, effect, delay } = self.turns.remove(index);
            self.carry_out(&request, effect.as_ref());
            drop(delay);
            self.next_of(self.service.turn(&request));
            any = true;
        }
        any
    }

    /// Gives the waiting requests of one turn their turn, up to one that takes its time.
    fn next_of(&mut self, turn: u8) {
        while !self.is_taken(turn)
            && let Some(index) = self.next_waiting(turn)
            && let Some(request) = self.waiting.remove(index)
        {
            self.begin(request);
        }
    }

    fn next_waiting(&self, turn: u8) -> Option<usize> {
        self.waiting.iter().position(|request| self.service.turn(request) == turn)
    }

    fn is_taken(&self, turn: u8) -> bool {
        self.turns.iter().any(|taken| self.service.turn(&taken.request) == turn)
    }

    /// Takes whole frames out of the inbox while there is room for them.
    fn take_requests(&mut self) -> bool {
        let mut taken = 0;
        while self.input == Input::Open && self.has_room() {
            match wire::split_frame(&self.inbox[taken..]) {
                Ok(Some((frame, length))) => {
                    let request = ReceivedRequest::new(&frame);
                    taken += length;
                    if self.is_taken(self.service.turn(&request)) {
                        self.waiting.push_back(request);
                    } else {
                        self.begin(request);
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    self.input = Input::Over;
                    self.service.garbage(error.to_string());
                }
            }
        }
        self.inbox.drain(..taken);
        taken > 0
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let room = INBOX_BYTES - self.inbox.len();
        if self.input == Input::Over || room == 0 || !self.has_room() {
            return Poll::Pending;
        }
        let mut chunk = [0; INBOX_BYTES];
        let mut buffer = ReadBuf::new(&mut chunk[..room]);
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer));
        self.idle.touch();
        if read.is_err() || buffer.filled().is_empty() {
            self.input = Input::Over;
        } else if self.input == Input::Open {
            self.inbox.extend_from_slice(buffer.filled());
        }
        Poll::Ready(())
    }

    /// A request's turn: the rules are asked, and it is carried out after its delay.
    fn begin(&mut self, request: ReceivedRequest) {
        let verdict = self.service.ask(&request);
        if verdict.delay.is_zero() {
            self.carry_out(&request, verdict.effect.as_ref());
        } else {
            let delay = self.service.clock().sleep(verdict.delay);
            self.turns.push(Turn { request, effect: verdict.effect, delay });
        }
    }

    /// Carries out a request as far as the rules let it, and puts what follows into the outbox.
    fn carry_out(&mut self, request: &ReceivedRequest, effect: Option<&SlaveEffect>) {
        self.execute(request, effect);
        let silent = self.reply.pdu().is_empty();
        let left = effect.filter(|_| silent).and_then(without_reply);
        let effect = if silent { left.as_ref() } else { effect };
        self.frame.clear();
        let pdu = if silent { request.pdu() } else { self.reply.pdu() };
        wire::write_frame(request.transaction_id, request.unit, pdu, &mut self.frame);
        // Written down before a byte is out, so that it stands before what the reply sets off.
        self.explain(request, effect);
        match effect {
            None if silent => {}
            None => self.outbox.push(&self.frame),
            Some(_) => {
                let previous = Some(&self.previous[..]).filter(|previous| !previous.is_empty());
                self.outbox.push_plan(reply_plan(effect, &self.frame, previous));
            }
        }
        if !silent {
            std::mem::swap(&mut self.previous, &mut self.frame);
        }
    }

    /// Leaves the reply in its buffer; none where nothing answers.
    fn execute(&mut self, request: &ReceivedRequest, effect: Option<&SlaveEffect>) {
        self.reply.clear();
        match effect {
            Some(SlaveEffect::Exception(code)) => {
                self.reply.exception(request.function(), Exception(*code));
            }
            Some(
                SlaveEffect::Close(ReplyPhase::Before) | SlaveEffect::Reset(ReplyPhase::Before),
            ) => {}
            _ => self.service.execute(request, &mut self.reply),
        }
    }

    fn explain(&self, request: &ReceivedRequest, effect: Option<&SlaveEffect>) {
        let outcome = match (effect, self.reply.as_exception()) {
            (Some(effect), _) => outcome(effect),
            (None, Some(exception)) => exception.to_string().into(),
            (None, None) if self.reply.pdu().is_empty() => "no such unit".into(),
            (None, None) => OK.into(),
        };
        self.service.explain(request, outcome);
    }
}

/// What became of a request that nothing befell, as the journal has it.
pub(crate) const OK: &str = "ok";

/// What is left of an effect where there is no reply: because the effect itself keeps the request
/// from being carried out, or because no such unit is there.
fn without_reply(effect: &SlaveEffect) -> Option<SlaveEffect> {
    match effect {
        SlaveEffect::Wire(_) => None,
        SlaveEffect::Close(_) => Some(SlaveEffect::Close(ReplyPhase::Before)),
        SlaveEffect::Reset(_) => Some(SlaveEffect::Reset(ReplyPhase::Before)),
        other => Some(other.clone()),
    }
}

/// What a rule made of a request, as the journal has it.
fn outcome(effect: &SlaveEffect) -> Cow<'static, str> {
    let moment = |moment: ReplyPhase| match moment {
        ReplyPhase::Before => "before the reply",
        ReplyPhase::Middle => "in the middle of the reply",
        ReplyPhase::After => "after the reply",
    };
    match effect {
        SlaveEffect::Silence => "no answer".into(),
        SlaveEffect::Exception(code) => Exception(*code).to_string().into(),
        SlaveEffect::Wire(fault) => format!("reply with {}", named(fault)).into(),
        SlaveEffect::Close(at) => format!("closed {}", moment(*at)).into(),
        SlaveEffect::Reset(at) => format!("reset {}", moment(*at)).into(),
        // The engine adds delays up, and is asked by listener and connector about the others.
        SlaveEffect::Delay(_) | SlaveEffect::Refuse | SlaveEffect::Connect(_) => OK.into(),
    }
}

fn named(fault: &WireFault) -> Cow<'static, str> {
    match fault {
        WireFault::WrongTransactionId => "a wrong transaction id".into(),
        WireFault::TransactionIdOffByOne => "the next transaction id".into(),
        WireFault::StaleReply => "an earlier reply before it".into(),
        WireFault::WrongUnit => "a wrong unit id".into(),
        WireFault::WrongFunction => "a wrong function".into(),
        WireFault::ProtocolId(id) => format!("protocol id {id}").into(),
        WireFault::MbapLength(length) => format!("MBAP length {length}").into(),
        WireFault::Truncated(bytes) => format!("{bytes} bytes missing").into(),
        WireFault::ExtraBytes(bytes) => format!("{bytes} surplus bytes").into(),
        WireFault::ExceptionWithoutCode => "an exception without its code".into(),
        WireFault::ChangedEcho => "a changed echo".into(),
        WireFault::Dribble { bytes, .. } => format!("{bytes} bytes at a time").into(),
        WireFault::Split { at, .. } => format!("a pause after {at} bytes").into(),
        WireFault::Duplicate => "a copy of it".into(),
    }
}

/// When a byte last moved on a connection. Real time: it guards the process against clients that keep
/// connections they do not use.
#[derive(Debug)]
struct Idle {
    limit: Duration,
    last: Instant,
    timer: Pin<Box<tokio::time::Sleep>>,
}

impl Idle {
    fn new(limit: Duration) -> Self {
        Self { limit, last: Instant::now(), timer: Box::pin(tokio::time::sleep(limit)) }
    }

    fn touch(&mut self) {
        self.last = Instant::now();
    }

    /// Ready once nothing moved for the whole limit; a busy connection is not idle.
    fn poll(&mut self, busy: bool, context: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(context));
            if busy {
                self.touch();
            }
            // The timer is only moved when it goes off, not with every request.
            let rest = self.limit.saturating_sub(self.last.elapsed());
            if rest.is_zero() {
                return Poll::Ready(());
            }
            self.timer.set(tokio::time::sleep(rest));
        }
    }
}
