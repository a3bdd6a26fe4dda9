//! Fault rules: where, when, what.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Choice, DeviceIdText, DurationText, MethodWord, NameText, OneOrMany, PlainText, RangeText,
    Seconds, UrlPath,
};

/// A fault: a place, a moment and an effect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The name under which it is counted, armed and removed; fault-1, fault-2, … unless given.
    pub id: Option<NameText>,
    /// Where: a word for all of a kind, as slave, or a mapping that says more, as {slave: pump}.
    pub at: At,
    /// When; always unless given.
    pub when: Option<When>,
    /// What happens: a word, as silence, or a mapping with figures, as {delay: 250ms}.
    pub effect: Effect,
}

/// Where a fault strikes.
pub type At = Choice<PlaceWord, Place>;

/// All places of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlaceWord {
    /// Every call of a device's HTTP API.
    Api,
    /// Every run of an action.
    Action,
    /// The places for requests in progress.
    Queue,
    /// Every request to a slave.
    Slave,
    /// Every request to a target.
    Target,
    /// Every request to a device's own Modbus server.
    Modbus,
    /// The meter of every device.
    Meter,
    /// The MQTT client of every device.
    Mqtt,
    /// Every event of a live stream.
    Live,
}

/// A place. One of `slave`, `target`, `api`, `queue`, `modbus`, `meter`, `mqtt`, `live` and `action`
/// says which kind it is; `action` beside `slave` or `target` means the action that sent the request.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
pub struct Place {
    /// Calls of the device's API: any, the path as /api/v1/actions/call, or a mapping with `route` and
    /// `method`.
    pub api: Option<Choice<PlainText, Calls>>,
    /// Runs of an action: its id, or any.
    pub action: Option<PlainText>,
    /// The places for requests in progress: any. With `device`, those of that device.
    pub queue: Option<Wildcard>,
    /// Requests to a slave: its name, or any.
    pub slave: Option<PlainText>,
    /// Requests to a target: its name, or any.
    pub target: Option<PlainText>,
    /// Requests to the device's own Modbus server: any. With `device`, to that device's.
    pub modbus: Option<Wildcard>,
    /// The meter: any. With `device`, the one of that device.
    pub meter: Option<Wildcard>,
    /// The MQTT client: any. With `device`, the one of that device.
    pub mqtt: Option<Wildcard>,
    /// The events of the live stream: any. With `device`, those of that device.
    pub live: Option<Wildcard>,
    /// The device, by id, where there are several (api, action, queue, modbus, meter, mqtt, live).
    pub device: Option<DeviceIdText>,
    /// The HTTP method (target).
    pub method: Option<MethodWord>,
    /// The path without its query (target).
    pub path: Option<UrlPath>,
    /// The unit id (slave, modbus).
    pub unit: Option<u8>,
    /// The function code; of a slave 1 to 6, 15, 16, 17, 22 or 23 (slave, modbus).
    pub function: Option<u8>,
    /// Registers or coils of which the request touches at least one (slave, modbus).
    pub address: Option<RangeText>,
    /// A register value that the request writes, or a range of them (slave).
    pub value: Option<RangeText>,
}

/// Calls of the device's API.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
pub struct Calls {
    /// The path without its query, as /api/v1/actions/call; any unless given.
    pub route: Option<UrlPath>,
    /// The HTTP method; any unless given.
    pub method: Option<MethodWord>,
}

/// All of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Any")]
pub enum Wildcard {
    /// All of them.
    Any,
}

/// When a fault strikes. The conditions are asked in this order: armed; in the window; one of the
/// first, or the nth; by chance.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// Whether the rule is armed at the start; true unless given.
    pub armed: Option<bool>,
    /// How long after arming it begins; 0 unless given.
    pub after: Option<DurationText>,
    /// How long it lasts from there; for good unless given.
    pub r#for: Option<DurationText>,
    /// After how much time that comes round again; needs `for`.
    pub every: Option<DurationText>,
    /// Only the first so many matches.
    pub first: Option<u64>,
    /// Only this match, or these, counted from 1.
    pub nth: Option<OneOrMany<u64>>,
    /// How often a match that got this far is struck, above 0 and at most 1; 1 unless given.
    pub probability: Option<f64>,
}

/// What happens.
pub type Effect = Choice<EffectWord, EffectOf>;

/// An effect that needs no figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EffectWord {
    /// action: refused as disabled (400).
    Disable,
    /// action: its requests keep running until the rule is released, disarmed or removed.
    Hold,
    /// api, target: never answered; an API call has no effect.
    Hang,
    /// slave, modbus: never answered, although carried out.
    Silence,
    /// slave, modbus: all its units refuse connections, open ones are reset. mqtt: so does the broker.
    Refuse,
    /// mqtt: a message never goes out, and nobody notices.
    Lose,
    /// mqtt: the connection is lost in place of a message.
    Drop,
    /// api, slave, modbus, target: the connection is reset before the answer.
    Reset,
    /// slave, modbus: the connection is closed before the reply.
    Close,
    /// api: the response trickles out, 16 bytes every 100 ms.
    Drip,
    /// api: the JSON of the answer breaks off in the middle.
    MalformedJson,
    /// target: the answer's Content-Length is no number (-20).
    BadContentLength,
    /// slave, modbus: another transaction id (-9).
    WrongTransactionId,
    /// slave, modbus: the transaction id of the next request (-9).
    OffByOne,
    /// slave, modbus: the reply to an earlier request comes first (-9).
    StaleReply,
    /// slave, modbus: another unit id (-12).
    WrongUnit,
    /// slave, modbus: another function code (-10).
    WrongFunction,
    /// slave, modbus: a protocol id that is not 0 (-8).
    ProtocolId,
    /// slave, modbus: a length field under 2 (-5).
    LengthTooShort,
    /// slave, modbus: a length field over 254 (-2).
    LengthTooLong,
    /// slave, modbus: the last byte is missing (-13).
    Truncated,
    /// slave, modbus: one byte too many (-15).
    ExtraBytes,
    /// slave, modbus: an exception reply without its code (-11).
    ExceptionWithoutCode,
    /// slave, modbus: the echoed address, value or quantity differs (-14).
    ChangedEcho,
    /// slave, modbus: the reply comes byte by byte, every 50 ms; correct, but slow.
    Dribble,
    /// slave, modbus: the reply comes in two segments, 50 ms apart; correct.
    Split,
    /// slave, modbus: the reply comes twice; correct. live: the event comes twice.
    Duplicate,
    /// live: the event and those after it are held back until the rule is released, disarmed or removed.
    Stall,
    /// live: the client is thrown out in place of the event, as if another had connected.
    Takeover,
    /// meter: nothing is plugged in.
    NotConnected,
    /// meter: plugged in, and silent.
    NoData,
    /// meter: the device does not get beyond finding out what it hears.
    Recognition,
    /// meter: what it sends is encrypted, and the device has no key.
    KeyRequired,
    /// meter: what it sends is encrypted with another key.
    EncryptionKey,
    /// meter: what it sends is nothing that the device knows.
    NotRecognized,
    /// meter: its values stand still, its readings go on.
    Frozen,
    /// meter: report.id begins again at 1.
    RestartIds,
}

/// An effect with its figures; exactly one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EffectOf {
    /// api, slave, modbus, target: answered later. mqtt: a message goes out later. live: sent
    /// later, with the events after it behind it.
    Delay(DelayOf),
    /// api, target: answered with this status.
    Status(Choice<StatusCode, StatusOf>),
    /// action, slave, target: whatever makes the request end with exactly this code.
    Result(i32),
    /// action: its requests keep running for this time.
    Hold(DurationText),
    /// queue: so many places are taken by someone else.
    Occupy(#[schemars(range(min = 1, max = 20))] u8),
    /// queue: there are only so many places.
    Limit(#[schemars(range(min = 0, max = 19))] u8),
    /// slave, modbus: answered with this exception, not carried out.
    Exception(u8),
    /// slave, modbus: the connection is reset at this moment.
    Reset(Moment),
    /// slave, modbus: the connection is closed at this moment.
    Close(Moment),
    /// live: the event and those after it are held back for this time.
    Stall(DurationText),
    /// api: the connection ends after so many bytes of the response. live: after so many of the event.
    Cut(#[schemars(range(max = 1_048_576))] u32),
    /// api: the response trickles out.
    Drip(Drip),
    /// slave, modbus: this protocol id, which should be 0 (-8).
    ProtocolId(#[schemars(range(min = 1))] u16),
    /// slave, modbus: this length field, 0 or 1 (-5).
    LengthTooShort(#[schemars(range(max = 1))] u16),
    /// slave, modbus: this length field, above 254 (-2).
    LengthTooLong(#[schemars(range(min = 255))] u16),
    /// slave, modbus: this number in the length field, the bytes themselves unchanged.
    MbapLength(u16),
    /// slave, modbus: so many bytes missing at the end (-13).
    Truncated(#[schemars(range(min = 1, max = 252))] u8),
    /// slave, modbus: so many bytes too many (-15).
    ExtraBytes(#[schemars(range(min = 1, max = 240))] u8),
    /// slave, modbus: so many bytes at a time; correct, but slow.
    Dribble(Drip),
    /// slave, modbus: two segments; correct.
    Split(Split),
    /// meter: the counter of imported energy stands so many kWh too low.
    JumpBack(#[schemars(range(min = 0.001, max = 1_000_000))] f64),
    /// meter: its clock is ahead by so much, or off as a mapping says.
    ClockDrift(Choice<DurationText, Drift>),
    /// meter: this phase, or these, are not measured.
    MissingPhase(OneOrMany<Phase>),
}

/// How far a clock is off.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
pub struct Drift {
    /// Ahead by so much.
    pub ahead: Option<DurationText>,
    /// Behind by so much; in place of `ahead`.
    pub behind: Option<DurationText>,
    /// By so much more with each day, in the same direction; 0 unless given.
    pub per_day: Option<DurationText>,
}

/// A phase of the grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is named as on the terminals")]
pub enum Phase {
    L1,
    L2,
    L3,
}

/// An HTTP status, 200 to 599; an API fault has 400 to 599.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct StatusCode(#[schemars(range(min = 200, max = 599))] pub u16);

/// A status with a `Retry-After` header (api).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StatusOf {
    /// The status.
    pub code: StatusCode,
    /// What `Retry-After` says, in whole seconds.
    pub retry_after: Option<Seconds>,
}

/// A delay: always the same, or drawn anew for each request.
pub type DelayOf = Choice<DurationText, Distribution>;

/// A delay's distribution; exactly one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Distribution {
    /// Always the same.
    Fixed(DurationText),
    /// Anything between the two, alike.
    Uniform([DurationText; 2]),
    /// Normal, cut off at zero.
    Normal(Normal),
    /// Log-normal: many near the median, few far above it.
    Lognormal(Lognormal),
}

/// A normal distribution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Normal {
    /// The middle.
    pub mean: DurationText,
    /// The standard deviation.
    pub deviation: DurationText,
}

/// A log-normal distribution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lognormal {
    /// Half of the delays are longer.
    pub median: DurationText,
    /// One in twenty is longer.
    pub p95: DurationText,
}

/// When, relative to the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// Before its first byte; the request is not carried out.
    Before,
    /// Half of it is out.
    Middle,
    /// It is out.
    After,
}

/// Bytes that come slowly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Drip {
    /// Bytes at a time; 1 unless given.
    #[schemars(range(min = 1, max = 65536))]
    pub bytes: Option<u32>,
    /// The pause between them.
    pub every: DurationText,
}

/// Two segments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// Bytes of the first one.
    #[schemars(range(min = 1, max = 259))]
    pub at: u16,
    /// The pause before the second one.
    pub gap: DurationText,
}
