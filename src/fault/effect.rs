//! What may befall each place. Place and effect are one type, so that no rule can ask a coil to
//! answer with a status line.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::{Delay, MeterEffect};
use crate::modbus::wire::FunctionCode;

/// A place and what befalls it.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// The device's HTTP API.
    Api(ApiPlace, ApiEffect),
    /// The run of an action.
    Action(ActionPlace, ActionEffect),
    /// The places for requests in progress.
    Queue {
        /// The device, by id; any where none.
        device: Option<String>,
        /// What befalls it.
        effect: QueueEffect,
    },
    /// A Modbus slave.
    Slave(SlavePlace, SlaveEffect),
    /// The device's own Modbus server.
    Modbus(ModbusPlace, SlaveEffect),
    /// An HTTP target.
    Target(TargetPlace, TargetEffect),
    /// The device's MQTT client.
    Mqtt {
        /// The device, by id; any where none.
        device: Option<String>,
        /// What befalls it.
        effect: MqttEffect,
    },
    /// The live stream.
    Live {
        /// The device, by id; any where none.
        device: Option<String>,
        /// What befalls its events.
        effect: LiveEffect,
    },
    /// The meter.
    Meter {
        /// The device, by id; any where none.
        device: Option<String>,
        /// What befalls it.
        effect: MeterEffect,
    },
}

/// Calls of the device's HTTP API.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApiPlace {
    /// The device, by id; any where none.
    pub device: Option<String>,
    /// The path, as `/api/v1/actions/call`; any where none.
    pub route: Option<String>,
    /// The method; any where none.
    pub method: Option<Method>,
}

/// HTTP methods that rules and target routes know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is named as on the wire")]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Get, Self::Head, Self::Post, Self::Put, Self::Patch, Self::Delete, Self::Options];

    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
        }
    }
}

/// Runs of actions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ActionPlace {
    /// The device, by id; any where none.
    pub device: Option<String>,
    /// The action, by id; any where none.
    pub action: Option<String>,
}

/// Requests to a Modbus slave.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SlavePlace {
    /// The slave, by name; any where none.
    pub slave: Option<String>,
    /// The unit id; any where none.
    pub unit: Option<u8>,
    /// The function code; any where none.
    pub function: Option<FunctionCode>,
    /// Registers or coils of which the request touches at least one; any where none.
    pub address: Option<AddressRange>,
    /// A value that the request writes at least once (coils: 0 or 1); any request where none.
    pub value: Option<RangeInclusive<u16>>,
    /// The action that sent the request, by id; anyone, outsiders too, where none.
    pub action: Option<String>,
}

/// Requests to a device's own Modbus server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModbusPlace {
    /// The device, by id; any where none.
    pub device: Option<String>,
    /// The unit id, of which the device answers all; any where none.
    pub unit: Option<u8>,
    /// The function code; any where none.
    pub function: Option<FunctionCode>,
    /// Registers of which the request touches at least one; any where none.
    pub address: Option<AddressRange>,
}

/// A range of addresses.
pub type AddressRange = RangeInclusive<u16>;

/// Requests to an HTTP target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TargetPlace {
    /// The target, by name; any where none.
    pub target: Option<String>,
    /// The method; any where none.
    pub method: Option<Method>,
    /// The path without its query; any where none.
    pub path: Option<String>,
    /// The action that sent the request, by id; anyone, outsiders too, where none.
    pub action: Option<String>,
}

/// What may befall a call of the device's API.
#[derive(Debug, Clone, PartialEq)]
pub enum ApiEffect {
    /// Answered later.
    Delay(Delay),
    /// Answered with this status in place of the real answer; the call has no effect.
    Status {
        /// The status, 400..=599.
        code: u16,
        /// Seconds for a `Retry-After` header.
        retry_after: Option<u32>,
    },
    /// The connection is reset in place of an answer; the call has no effect.
    Reset,
    /// Never answered; the call has no effect.
    Hang,
    /// The connection ends after so many bytes of the response, status line included.
    Cut {
        /// Bytes that still get out.
        after: usize,
    },
    /// The response trickles out.
    Drip {
        /// Bytes at a time.
        bytes: usize,
        /// The pause between them.
        every: Duration,
    },
    /// A JSON body that breaks off in the middle, with a matching `Content-Length`.
    MalformedJson,
}

/// What may befall the run of an action.
#[derive(Debug, Clone, PartialEq)]
pub enum ActionEffect {
    /// The call is refused as if the action were disabled (400).
    Disable,
    /// Each of its requests stays "running" before it is sent: for a time, or until released.
    Hold {
        /// How long; until released where none.
        lasts: Option<Duration>,
    },
    /// Ends in the action's own connector.
    Connect(ConnectFault),
    /// Whoever it reaches answers so that the run ends with a certain result.
    Reply {
        /// The result code.
        code: i32,
        /// What a slave does; nothing where none.
        slave: Option<Box<SlaveEffect>>,
        /// What a target does; nothing where none.
        target: Option<Box<TargetEffect>>,
    },
}

/// What happens in the connector of an action's request, where only the device itself can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConnectFault {
    /// The name does not resolve (−16).
    Resolve,
    /// The connection is refused (−17).
    Refused,
    /// There is no socket left (−19).
    NoSocket,
    /// The connection is lost between connect and send (−7).
    SendLost,
    /// The TLS handshake fails (−18).
    Tls,
    /// Whoever is asked lies outside the house, so that no wrong answer can be had from him: the
    /// request ends with this code, unsent; with −3 when its time is up.
    Unsent(i32),
}

/// What may befall the places for requests in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueEffect {
    /// So many places are taken by someone else.
    Occupy(usize),
    /// There are only so many places in all.
    Limit(usize),
}

/// What may befall a request to a slave, or to the device's own Modbus server.
#[derive(Debug, Clone, PartialEq)]
pub enum SlaveEffect {
    /// Answered later; requests to the same unit on that connection wait behind it.
    Delay(Delay),
    /// Never answered. The request is carried out.
    Silence,
    /// Answered with this exception, not carried out.
    Exception(u8),
    /// The reply is wrong on the wire. The request is carried out.
    Wire(WireFault),
    /// The connection is closed at this moment (FIN).
    Close(ReplyPhase),
    /// The connection is reset at this moment (RST).
    Reset(ReplyPhase),
    /// The slave's listener is closed: all its units refuse connections, open ones are reset.
    Refuse,
    /// Ends in the connector of the action that asked.
    Connect(ConnectFault),
}

/// When, relative to the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReplyPhase {
    /// Before its first byte. The request is not carried out.
    Before,
    /// Half of it is out.
    Middle,
    /// It is out.
    After,
}

/// What may be wrong with the bytes of a Modbus reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WireFault {
    /// Another transaction id, its bits turned round (−9).
    WrongTransactionId,
    /// The transaction id of the next request (−9).
    TransactionIdOffByOne,
    /// The reply to the request before is sent again, once more with its own transaction id; the
    /// very first request gets a reply with the id 0xFFFF before its own (−9).
    StaleReply,
    /// Another unit id (−12).
    WrongUnit,
    /// Another function code (−10).
    WrongFunction,
    /// This protocol id, which should be 0 (−8).
    ProtocolId(u16),
    /// This number in the MBAP length field, the bytes themselves unchanged (−5 under 2, −2 over 254).
    MbapLength(u16),
    /// So many bytes missing at the end, and the length field says so (−13).
    Truncated(u8),
    /// So many bytes too many, and the length field counts them (−15).
    ExtraBytes(u8),
    /// An exception reply without its code (−11).
    ExceptionWithoutCode,
    /// The echoed address, value or quantity differs in its lowest bit (−14); for a read, the data.
    ChangedEcho,
    /// So many bytes at a time, with pauses: correct, but slow.
    Dribble {
        /// Bytes at a time, 1 or more.
        bytes: usize,
        /// The pause between them.
        every: Duration,
    },
    /// Two segments, split after so many bytes, with a pause: correct.
    Split {
        /// Bytes of the first segment.
        at: usize,
        /// The pause.
        gap: Duration,
    },
    /// The reply twice (the second one is ignored by a device that closes after the first).
    Duplicate,
}

/// What may befall the device's MQTT client.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MqttEffect {
    /// A message goes out later; none is made meanwhile.
    Delay(Delay),
    /// A message never goes out, and nobody notices.
    Lose,
    /// The connection is lost in place of a message; the client connects anew at once.
    Drop,
    /// The broker refuses connections; an open one is lost.
    Refuse,
}

/// What may befall an event of the live stream.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LiveEffect {
    /// Sent later, with those after it behind it.
    Delay(Delay),
    /// It and those after it are held back: for a time, or until released.
    Stall {
        /// How long; until released where none.
        lasts: Option<Duration>,
    },
    /// The connection ends after so many bytes of it.
    Cut {
        /// Bytes that still get out.
        after: usize,
    },
    /// Sent twice.
    Duplicate,
    /// The client is thrown out in its place, as if another had connected.
    Takeover,
}

/// What may befall a request to a target.
#[derive(Debug, Clone, PartialEq)]
pub enum TargetEffect {
    /// Answered later.
    Delay(Delay),
    /// Answered with this status in place of its own.
    Status(u16),
    /// The connection is reset in place of an answer.
    Reset,
    /// Never answered.
    Hang,
    /// The answer's `Content-Length` is not a number (−20).
    BadContentLength,
    /// Ends in the connector of the action that asked.
    Connect(ConnectFault),
}
