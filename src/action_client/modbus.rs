//! The Modbus requester: one request on a fresh connection, sent by tokio-modbus, judged by the
//! bytes on its tap.
//!
//! tokio-modbus puts the request into bytes and would decode the reply; its verdict is not used,
//! because it does not tell all the codes of RESULT-1 apart and waits for oversized lengths.

use std::borrow::Cow;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use tokio_modbus::client::{Client as _, tcp};
use tokio_modbus::{Request, Slave};

use super::classifier::{self, ExchangeEnd, ResultCode};
use super::requester::Connected;
use super::tap::{StreamEnd, Tap, TapeReader};
use crate::clock::{Clock, VirtualTime};
use crate::device::actions::{ModbusWrite, PreparedModbusRequest};
use crate::limits;

/// Bytes of each direction on the tape: the largest frame and a little of what should not follow.
const TAPE_BYTES: usize = 2 * limits::ADU_BYTES;

/// Sends `request` under `transaction_id` and waits for its reply, at most until `deadline`.
pub(super) async fn exchange(
    clock: &Clock,
    connected: Connected,
    request: &PreparedModbusRequest,
    transaction_id: u16,
    deadline: VirtualTime,
) -> ResultCode {
    let Connected { stream, lost } = connected;
    if lost {
        stream.cut();
    }
    // Its own ids begin at 0 on each connection, so that a stale reply would match.
    let (tap, tape) = Tap::with_mask(stream, TAPE_BYTES, transaction_id.to_be_bytes());
    let mut client = tcp::attach_slave(tap, Slave(request.unit_id));
    let ending = {
        let mut call = pin!(client.call(frame(&request.write)));
        // The tape changes only while the call is polled, so it is looked at after each poll.
        let exchange = poll_fn(|context| {
            let called = call.as_mut().poll(context);
            match ending(&tape) {
                Some(ending) => Poll::Ready(ending),
                // The client gave up by itself: there was nothing it could send.
                None => called.map(|_| ExchangeEnd::Unsendable),
            }
        });
        clock.timeout_at(deadline, exchange).await.unwrap_or(ExchangeEnd::TimedOut)
    };
    let tape = tape.tape();
    classifier::modbus(&tape.sent, &tape.received, ending)
}

/// How the exchange ended, as soon as it did.
fn ending(tape: &TapeReader) -> Option<ExchangeEnd> {
    let tape = tape.tape();
    if classifier::is_decided(&tape.received) {
        return Some(ExchangeEnd::Complete);
    }
    tape.end.map(|end| match end {
        StreamEnd::Closed => ExchangeEnd::Closed,
        StreamEnd::Reset => ExchangeEnd::Reset,
        StreamEnd::SendLost => ExchangeEnd::SendLost,
    })
}

fn frame(write: &ModbusWrite) -> Request<'_> {
    match write {
        ModbusWrite::SingleCoil { address, on } => Request::WriteSingleCoil(*address, *on),
        ModbusWrite::SingleRegister { address, word } => {
            Request::WriteSingleRegister(*address, *word)
        }
        ModbusWrite::MultipleCoils { address, coils } => {
            Request::WriteMultipleCoils(*address, Cow::Borrowed(coils))
        }
        ModbusWrite::MultipleRegisters { address, words } => {
            Request::WriteMultipleRegisters(*address, Cow::Borrowed(words))
        }
    }
}
