//! Requests that a Modbus slave receives, and wrong replies on the wire.
//!
//! The effects are also those of the device's own Modbus server. [`reply_plan`](crate::modbus::fault::reply_plan)
//! carries them out.

use std::ops::RangeInclusive;
use std::sync::LazyLock;
use std::time::Duration;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{ActionEffect, ActionOriginRef, ConnectFault, Fault, Seam, affects, last_address};
use crate::fault::engine::SeamEffect;
use crate::fault::index::{IndexKey, KeyField};
use crate::fault::parameters::DripParameters;
use crate::fault::written_form::{WrittenForm, WrittenForms};
use crate::fault::{Delay, Engine, Verdict, result};
use crate::modbus::fault::{ReplyDecision, ReplyFault, ReplyPhase, WireFault};
use crate::modbus::limits;
use crate::modbus::wire::FunctionCode;
use crate::notation::DurationText;

/// The requests to a slave that a rule affects.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SlavePlace {
    /// The name of the slave. `None` for every slave.
    pub slave: Option<String>,
    /// The unit id. `None` for every unit.
    pub unit: Option<u8>,
    /// The function code. `None` for every function.
    pub function: Option<FunctionCode>,
    /// Registers or coils of which the request touches at least one. `None` for every request.
    pub address: Option<AddressRange>,
    /// Values of which the request writes at least one (coils: 0 or 1). `None` for every request.
    pub value: Option<RangeInclusive<u16>>,
    /// The id of the action that sent the request. `None` for every client, those outside the house
    /// included.
    pub action: Option<String>,
}

/// A range of addresses, both ends included.
pub type AddressRange = RangeInclusive<u16>;

/// An effect on a request to a slave, or to the device's own Modbus server.
#[derive(Debug, Clone, PartialEq)]
pub enum SlaveEffect {
    /// The reply comes later. Requests to the same unit on that connection wait behind it.
    Delay(Delay),
    /// The server replies in another way.
    Reply(ReplyFault),
    /// The listener of the slave is closed: all its units refuse connections, and open ones are reset.
    Refuse,
    /// The request fails before it is sent, in the action that sends it.
    Connect(ConnectFault),
}

/// A request to a slave.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs, reason = "the fields are those that a rule can name")]
pub struct SlaveRequest<'a> {
    pub slave: &'a str,
    pub unit: u8,
    pub function: FunctionCode,
    pub address: u16,
    /// The number of registers or coils from `address` on that the request touches.
    pub quantity: u16,
    /// The values that the request writes: registers, or coils as 0 and 1.
    pub values: &'a [u16],
    /// The action that sent the request, if a device of the house did.
    pub from: Option<ActionOriginRef<'a>>,
}

/// A moment relative to the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Moment")]
enum WrittenPhase {
    /// Before its first byte; the request is not carried out.
    Before,
    /// In the middle: half of it is sent.
    Middle,
    /// After its last byte.
    After,
}

impl From<WrittenPhase> for ReplyPhase {
    fn from(phase: WrittenPhase) -> Self {
        match phase {
            WrittenPhase::Before => Self::Before,
            WrittenPhase::Middle => Self::Middle,
            WrittenPhase::After => Self::After,
        }
    }
}

impl From<ReplyPhase> for WrittenPhase {
    fn from(phase: ReplyPhase) -> Self {
        match phase {
            ReplyPhase::Before => Self::Before,
            ReplyPhase::Middle => Self::Middle,
            ReplyPhase::After => Self::After,
        }
    }
}

/// Two segments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Split")]
struct SplitParameters {
    /// The number of bytes of the first segment.
    #[schemars(range(min = 1, max = 259))]
    at: u16,
    /// The pause before the second segment.
    gap: DurationText,
}

pub(super) static FORMS: LazyLock<WrittenForms<SlaveEffect>> =
    LazyLock::new(|| WrittenForms::new("slave", "a slave", forms()));

/// The pause between two pieces of a reply, unless a rule says otherwise.
const PAUSE: Duration = Duration::from_millis(50);

/// Returns the written forms of the effects, `result` last.
pub(super) fn forms() -> Vec<WrittenForm<SlaveEffect>> {
    let mut forms = outcome_forms();
    forms.extend(header_forms());
    forms.extend(body_forms());
    forms.extend(delivery_forms());
    forms.push(WrittenForm::with_parameters("result", result::TEXT, result::of_slave, |effect| {
        match effect {
            SlaveEffect::Connect(fault) => Some(fault.result_code()),
            _ => None,
        }
    }));
    forms
}

/// Returns the forms of all other outcomes than a wrong reply.
fn outcome_forms() -> Vec<WrittenForm<SlaveEffect>> {
    vec![
        WrittenForm::delay("the reply comes later.", SlaveEffect::Delay),
        WrittenForm::keyword(
            "silence",
            "the request is carried out and gets no reply.",
            SlaveEffect::Reply(ReplyFault::Silence),
        ),
        WrittenForm::with_parameters(
            "exception",
            "the reply is this exception, and the request is not carried out.",
            |code| Ok(SlaveEffect::Reply(ReplyFault::Exception(code))),
            |effect| match effect {
                SlaveEffect::Reply(ReplyFault::Exception(code)) => Some(*code),
                _ => None,
            },
        ),
        WrittenForm::keyword(
            "refuse",
            "the listener refuses connections, and open connections are reset.",
            SlaveEffect::Refuse,
        ),
        WrittenForm::with_parameters(
            "close",
            "the connection is closed at this moment of the reply.",
            |phase: WrittenPhase| Ok(SlaveEffect::Reply(ReplyFault::Close(phase.into()))),
            |effect| match effect {
                SlaveEffect::Reply(ReplyFault::Close(phase)) => Some((*phase).into()),
                _ => None,
            },
        ),
        WrittenForm::keyword(
            "close",
            "the connection is closed before the reply.",
            SlaveEffect::Reply(ReplyFault::Close(ReplyPhase::Before)),
        ),
        WrittenForm::with_parameters(
            "reset",
            "the connection is reset at this moment of the reply.",
            |phase: WrittenPhase| Ok(SlaveEffect::Reply(ReplyFault::Reset(phase.into()))),
            |effect| match effect {
                SlaveEffect::Reply(ReplyFault::Reset(phase)) => Some((*phase).into()),
                _ => None,
            },
        ),
        WrittenForm::keyword(
            "reset",
            "the connection is reset before the reply.",
            SlaveEffect::Reply(ReplyFault::Reset(ReplyPhase::Before)),
        ),
    ]
}

/// Returns the form of a keyword alone for a wire fault.
fn wire(keyword: &'static str, text: &'static str, fault: WireFault) -> WrittenForm<SlaveEffect> {
    WrittenForm::keyword(keyword, text, SlaveEffect::Reply(ReplyFault::Wire(fault)))
}

/// Returns a form with a number for a wire fault.
fn wire_number<T>(
    keyword: &'static str,
    text: &'static str,
    fault: fn(T) -> WireFault,
    number: fn(&WireFault) -> Option<T>,
) -> WrittenForm<SlaveEffect>
where
    T: Serialize + DeserializeOwned + JsonSchema + 'static,
{
    WrittenForm::with_parameters(
        keyword,
        text,
        move |parameter| Ok(SlaveEffect::Reply(ReplyFault::Wire(fault(parameter)))),
        move |effect| match effect {
            SlaveEffect::Reply(ReplyFault::Wire(fault)) => number(fault),
            _ => None,
        },
    )
}

/// Returns the forms of errors in the MBAP header and the function code.
fn header_forms() -> Vec<WrittenForm<SlaveEffect>> {
    vec![
        wire(
            "wrong_transaction_id",
            "the reply has another transaction id (-9).",
            WireFault::WrongTransactionId,
        ),
        wire(
            "off_by_one",
            "the reply has the transaction id of the next request (-9).",
            WireFault::TransactionIdOffByOne,
        ),
        wire(
            "stale_reply",
            "the reply to an earlier request comes first (-9).",
            WireFault::StaleReply,
        ),
        wire("wrong_unit", "the reply has another unit id (-12).", WireFault::WrongUnit),
        wire(
            "wrong_function",
            "the reply has another function code (-10).",
            WireFault::WrongFunction,
        ),
        wire_number(
            "protocol_id",
            "the reply has this protocol id, which should be 0 (-8).",
            WireFault::ProtocolId,
            |fault| match fault {
                WireFault::ProtocolId(id) => Some(*id),
                _ => None,
            },
        )
        .at_least(1),
        wire(
            "protocol_id",
            "the reply has a protocol id that is not 0 (-8).",
            WireFault::ProtocolId(1),
        ),
        wire_number(
            "length_too_short",
            "the length field has this value, 0 or 1 (-5).",
            WireFault::MbapLength,
            |fault| mbap_length(fault).filter(|length| length < limits::MBAP_LENGTH.start()),
        )
        .at_most(1),
        wire(
            "length_too_short",
            "the length field has a value below 2 (-5).",
            WireFault::MbapLength(1),
        ),
        wire_number(
            "length_too_long",
            "the length field has this value, above 254 (-2).",
            WireFault::MbapLength,
            |fault| mbap_length(fault).filter(|length| length > limits::MBAP_LENGTH.end()),
        )
        .at_least(255),
        wire(
            "length_too_long",
            "the length field has a value above 254 (-2).",
            WireFault::MbapLength(255),
        ),
        wire_number(
            "mbap_length",
            "the length field has this value, and the bytes are unchanged.",
            WireFault::MbapLength,
            mbap_length,
        ),
    ]
}

fn mbap_length(fault: &WireFault) -> Option<u16> {
    match fault {
        WireFault::MbapLength(length) => Some(*length),
        _ => None,
    }
}

/// Returns the forms of errors in the body of the reply.
fn body_forms() -> Vec<WrittenForm<SlaveEffect>> {
    vec![
        wire_number(
            "truncated",
            "this many bytes are missing at the end (-13).",
            WireFault::Truncated,
            |fault| match fault {
                WireFault::Truncated(bytes) => Some(*bytes),
                _ => None,
            },
        )
        .at_least(1)
        .at_most(252),
        wire("truncated", "the last byte is missing (-13).", WireFault::Truncated(1)),
        wire_number(
            "extra_bytes",
            "the reply has this many bytes too many (-15).",
            WireFault::ExtraBytes,
            |fault| match fault {
                WireFault::ExtraBytes(bytes) => Some(*bytes),
                _ => None,
            },
        )
        .at_least(1)
        .at_most(240),
        wire("extra_bytes", "the reply has one byte too many (-15).", WireFault::ExtraBytes(1)),
        wire(
            "exception_without_code",
            "the reply is an exception without its code (-11).",
            WireFault::ExceptionWithoutCode,
        ),
        wire(
            "changed_echo",
            "the echoed address, value or quantity differs (-14).",
            WireFault::ChangedEcho,
        ),
    ]
}

/// Returns the forms of correct replies that are sent in an unusual way.
fn delivery_forms() -> Vec<WrittenForm<SlaveEffect>> {
    vec![
        WrittenForm::with_parameters(
            "dribble",
            "the reply is sent this many bytes at a time; correct, but slow.",
            |drip: DripParameters| {
                let (bytes, every) = drip.values()?;
                Ok(SlaveEffect::Reply(ReplyFault::Wire(WireFault::Dribble { bytes, every })))
            },
            |effect| match effect {
                SlaveEffect::Reply(ReplyFault::Wire(WireFault::Dribble { bytes, every })) => {
                    Some(DripParameters::new(*bytes, *every))
                }
                _ => None,
            },
        ),
        wire(
            "dribble",
            "the reply is sent byte by byte, every 50 ms; correct, but slow.",
            WireFault::Dribble { bytes: 1, every: PAUSE },
        ),
        wire_number(
            "split",
            "the reply is sent in two segments; correct.",
            |SplitParameters { at, gap }| WireFault::Split { at: usize::from(at), gap: gap.0 },
            |fault| match fault {
                WireFault::Split { at, gap } => Some(SplitParameters {
                    at: u16::try_from(*at).unwrap_or(u16::MAX),
                    gap: DurationText(*gap),
                }),
                _ => None,
            },
        ),
        wire(
            "split",
            "the reply is sent in two segments, 50 ms apart; correct.",
            WireFault::Split { at: limits::MBAP_BYTES, gap: PAUSE },
        ),
        wire("duplicate", "the reply is sent twice; correct.", WireFault::Duplicate),
    ]
}

/// Returns the seam at which an effect on a slave is asked for.
pub(super) fn seam_of(effect: &SlaveEffect) -> Seam {
    match effect {
        SlaveEffect::Refuse => Seam::Listener,
        SlaveEffect::Connect(_) => Seam::Connect,
        _ => Seam::Slave,
    }
}

impl SeamEffect for SlaveEffect {
    fn delay(&self) -> Option<Delay> {
        if let Self::Delay(delay) = self { Some(*delay) } else { None }
    }
}

impl SlavePlace {
    pub(super) fn key(&self, seam: Seam) -> IndexKey {
        let key = IndexKey::new(seam).name(KeyField::Peer, self.slave.as_deref());
        if seam == Seam::Listener {
            // A listener has no request.
            return key;
        }
        key.number(KeyField::Unit, self.unit)
            .number(KeyField::Function, self.function.map(|function| function.0))
            .name(KeyField::Action, self.action.as_deref())
            .flag(KeyField::Value, self.value.is_some())
            .addresses(self.address.clone())
    }

    /// Returns `true` if the place includes a request.
    #[must_use]
    pub fn matches(&self, request: &SlaveRequest<'_>) -> bool {
        let last = last_address(request.address, request.quantity);
        affects(&self.slave, request.slave)
            && self.unit.is_none_or(|unit| unit == request.unit)
            && self.function.is_none_or(|function| function == request.function)
            && self
                .address
                .as_ref()
                .is_none_or(|range| *range.start() <= last && request.address <= *range.end())
            && self
                .value
                .as_ref()
                .is_none_or(|range| request.values.iter().any(|value| range.contains(value)))
            && self
                .action
                .as_deref()
                .is_none_or(|action| request.from.is_some_and(|from| from.action == action))
    }

    /// Returns the keys of the place that need a request.
    pub(super) fn request_keys(&self) -> Vec<&'static str> {
        let keys = [
            ("unit", self.unit.is_some()),
            ("function", self.function.is_some()),
            ("address", self.address.is_some()),
            ("value", self.value.is_some()),
            ("action", self.action.is_some()),
        ];
        keys.into_iter().filter(|(_, given)| *given).map(|(key, _)| key).collect()
    }
}

impl SlaveRequest<'_> {
    pub(super) fn fields(&self, key: IndexKey) -> IndexKey {
        let key = key
            .name(KeyField::Peer, Some(self.slave))
            .number(KeyField::Unit, Some(self.unit))
            .number(KeyField::Function, Some(self.function.0))
            .flag(KeyField::Value, !self.values.is_empty())
            .addresses(Some(self.address..=last_address(self.address, self.quantity)));
        match &self.from {
            Some(from) => from.fields(key),
            None => key,
        }
    }
}

impl From<Verdict<SlaveEffect>> for ReplyDecision {
    fn from(Verdict { delay, effect }: Verdict<SlaveEffect>) -> Self {
        let fault = effect.and_then(|effect| match effect {
            SlaveEffect::Reply(fault) => Some(fault),
            // These take effect elsewhere: before the reply, at the listener, before the request is sent.
            SlaveEffect::Delay(_) | SlaveEffect::Refuse | SlaveEffect::Connect(_) => None,
        });
        Self { delay, fault }
    }
}

impl Engine {
    /// Evaluates the rules on a request that a slave received: those on the slave, and those on the
    /// action that sent it.
    #[must_use]
    pub fn slave(&self, request: &SlaveRequest<'_>) -> ReplyDecision {
        self.verdict(
            Seam::Slave,
            |key| request.fields(key),
            || format!("{} unit {} function {}", request.slave, request.unit, request.function),
            |fault| match fault {
                Fault::Slave(place, effect) if place.matches(request) => Some(effect),
                Fault::Action(place, ActionEffect::Reply { slave: Some(effect), .. }) => {
                    request.from.is_some_and(|from| place.matches(&from)).then_some(&**effect)
                }
                _ => None,
            },
        )
        .into()
    }
}
