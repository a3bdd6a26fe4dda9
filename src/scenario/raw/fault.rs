//! Fault rules as they are written. The written forms of the effects belong to the seams
//! ([`crate::fault`]).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Choice, DeviceIdText, DurationText, MethodWord, NameText, OneOrMany, PlainText, RangeText,
    UrlPath,
};
use crate::modbus::wire::FunctionCode;
use crate::notation::{Share, join_numbers};

/// A fault rule: a place, conditions and an effect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The name under which it is counted, armed and removed; fault-1, fault-2, … unless given.
    pub id: Option<NameText>,
    /// A word for all places of a kind, as slave, or a mapping that says more, as {slave: pump}.
    pub at: At,
    /// The conditions under which the rule fires; always unless given.
    pub when: Option<When>,
    /// A keyword, as silence, or a mapping with parameters, as {delay: 250ms}.
    pub effect: Effect,
}

/// The place of a rule.
pub type At = Choice<PlaceWord, Place>;

/// All places of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlaceWord {
    /// Every call of a device's HTTP API.
    Api,
    /// Every action: its calls, and each of its requests.
    Action,
    /// The slots for requests in progress.
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
    /// An action, its calls and each of its requests: its id, or any.
    pub action: Option<PlainText>,
    /// The slots for requests in progress: any. With `device`, those of that device.
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
    /// The device, by id, if there are several (api, action, queue, modbus, meter, mqtt, live).
    pub device: Option<DeviceIdText>,
    /// A share of the devices, in place of `device`: those that are drawn from the seed and the rule's id, the
    /// same in each run (api, action, queue, modbus, meter, mqtt, live).
    pub devices: Option<Share>,
    /// The HTTP method (target).
    pub method: Option<MethodWord>,
    /// The path without its query (target).
    pub path: Option<UrlPath>,
    /// The unit id (slave, modbus).
    pub unit: Option<u8>,
    /// The function code.
    #[schemars(
        description = format!("The function code; of a slave {} (slave, modbus).", supported_functions())
    )]
    pub function: Option<u8>,
    /// Registers or coils of which the request touches at least one; with function 23, of those that it
    /// writes (slave, modbus).
    pub address: Option<RangeText>,
    /// A register value that the request writes, or a range of them (slave).
    pub value: Option<RangeText>,
}

/// Returns the function codes that slaves support, for texts.
#[must_use]
pub fn supported_functions() -> String {
    join_numbers(FunctionCode::SUPPORTED.map(|function| function.0), "or")
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

/// The conditions under which a rule fires. They are checked in this order: armed, the window, `first` and
/// `nth`, probability.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// True if the rule is armed at the start; true unless given.
    pub armed: Option<bool>,
    /// The time from arming to the beginning of the window; 0 unless given.
    pub after: Option<DurationText>,
    /// The length of the window; without an end unless given.
    pub r#for: Option<DurationText>,
    /// The time from the beginning of a window to that of the next; needs `for`.
    pub every: Option<DurationText>,
    /// Only this many matches, the first ones since arming.
    pub first: Option<u64>,
    /// Only this match, or these, counted from 1 since arming.
    pub nth: Option<OneOrMany<u64>>,
    /// The probability that the rule fires on a match that meets the other conditions, above 0 and at most 1;
    /// 1 unless given.
    pub probability: Option<f64>,
}

/// The effect, composed from the written forms of all seams.
pub type Effect = crate::fault::WrittenEffect;
