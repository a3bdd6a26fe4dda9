//! The Modbus requester: one request on a fresh connection, sent by tokio-modbus and classified by
//! the bytes on its tap.
//!
//! tokio-modbus encodes the request and would decode the reply. Its result is not used, because it
//! does not distinguish all the codes of RESULT-1 and waits after an oversized length.

use std::borrow::Cow;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use tokio_modbus::client::{Client as _, tcp};
use tokio_modbus::{Request, Slave};

use super::classifier::{self, ExchangeEnd, ResultCode};
use super::connection::RequestConnection;
use super::tap::{StreamEnd, Tap, TapeReader};
use crate::clock::{Clock, VirtualTime};
use crate::device::actions::{ModbusWrite, PreparedModbusRequest};
use crate::modbus::limits;

/// The number of bytes of each direction on the tape: the largest frame, and some bytes after it.
const TAPE_BYTES: usize = 2 * limits::ADU_BYTES;

/// Sends `request` with `transaction_id` and waits for its reply, at most until `deadline`.
pub(super) async fn exchange(
    clock: &Clock,
    connection: RequestConnection,
    request: &PreparedModbusRequest,
    transaction_id: u16,
    deadline: VirtualTime,
) -> ResultCode {
    let RequestConnection { stream, is_lost } = connection;
    if is_lost {
        stream.shutdown_both();
    }
    // tokio-modbus counts its ids from 0 on each connection, so that a stale reply would match.
    let (tap, tape) = Tap::with_mask(stream, TAPE_BYTES, transaction_id.to_be_bytes());
    let mut client = tcp::attach_slave(tap, Slave(request.unit_id));
    let end = {
        let mut call = pin!(client.call(encode_request(&request.write)));
        // The tape changes only while the call is polled, so it is examined after each poll.
        let exchange = poll_fn(|context| {
            let result = call.as_mut().poll(context);
            match exchange_end(&tape) {
                Some(end) => Poll::Ready(end),
                // The client gave up by itself, because it could not encode the request.
                None => result.map(|_| ExchangeEnd::Unencodable),
            }
        });
        clock.timeout_at(deadline, exchange).await.unwrap_or(ExchangeEnd::TimedOut)
    };
    let tape = tape.tape();
    classifier::classify_modbus(&tape.sent, &tape.received, end)
}

/// Returns the end of the exchange. `None` while it is in progress.
fn exchange_end(tape: &TapeReader) -> Option<ExchangeEnd> {
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

fn encode_request(write: &ModbusWrite) -> Request<'_> {
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
