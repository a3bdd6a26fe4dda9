//! The scenario language, as types that have the form of the file.
//!
//! These types define the language once: the JSON Schema is generated from them, the structural check
//! follows that schema, and serde decodes into them. They are lowered to [`super::model`]. A key is
//! required only if its type is not an `Option`; null is the same as an absent key. Editors show the doc
//! comments, which become the descriptions of the schema.

mod broker;
mod device;
mod fault;
mod fleet;
mod meter;
mod modbus;
mod scalar;
mod site;
mod slave;
mod target;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::broker::Broker;
pub use self::device::{
    Actions, Admission, CallRoute, Clock, Cors, Device, Digest, DigestMode, Execution, HttpFailure,
    Image, License, Mdns, Outbound, SdCard, WhenFullText,
};
pub use self::fault::{
    At, Calls, Effect, Place, PlaceWord, Rule, When, Wildcard, supported_functions,
};
pub use self::fleet::{
    Fleet, FleetListen, MixEntry, RouteBy, Stage, StageFrom, StageTo, StageUpdate,
};
pub use self::meter::{
    Battery, Count, Counters, Day, Grid, Household, Load, LoadWord, Meter, MeterKind, PhaseCount,
    PhaseWord, Pv, Replay, ReplayMode, Sky, TariffOf, TariffRegisters, TariffWord, Window,
};
pub use self::modbus::{DeviceModbus, ModbusServer, RegisterMapText};
pub use self::scalar::{
    DeviceIdText, FirmwareText, Host, KeyText, Listen, Mac, MeterText, MethodWord, NameText,
    OriginText, PlainText, RangeText, ScalarCheck, SpeedText, TimeOfDay, TimestampText, UnitId,
    UrlPath, scalar_named, scalar_with_pattern,
};
pub use self::site::{
    AuthText, EthSettings, HtText, MeterSettings, MqttSettings, Network, Power, Scalers, Settings,
    WifiSettings, Wps,
};
pub use self::slave::{
    Bits, ByteOrder, Counter, OnWrite, Ramp, RandomWalk, Register, RegisterValue, Sine, Slave,
    StoredRegister, Unit, UnknownUnit, ValueType, WordOrder,
};
pub use self::target::{Reply, Route, Target};
pub use crate::fault::{EffectKeyword, EffectWithParameters};
pub use crate::notation::{Choice, DurationText, OneOrMany, ScalarError, Seconds};

/// The pattern of keys at the top whose values are not read.
pub const EXTENSION_PATTERN: &str = "^x-";

/// A wwsim scenario: a house of whatwatt Go gateways, the slaves and targets that their actions reach,
/// and the faults that affect it. Every key is optional; an empty file is a healthy device.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "wwsim scenario")]
#[schemars(extend("patternProperties" = {
    EXTENSION_PATTERN: { "description": "A place for anchors, which the house does not read." }
}))]
pub struct Scenario {
    /// The name of the house, for people.
    pub name: Option<PlainText>,
    /// The seed of all randomness of the house. The same file, seed and requests give the same answers.
    /// 0 unless given.
    pub seed: Option<u64>,
    /// The start of the house and the speed of its time.
    pub clock: Option<Clock>,
    /// The address of the control plane; 127.0.0.1:8090, or a port after it if another listener has that,
    /// unless given.
    pub control: Option<Listen>,
    /// The hosts that actions may reach outside the house; `deny` unless given.
    pub outbound: Option<Outbound>,
    /// The meter of every device that has none of its own. Each gets its own number and its own
    /// household; a healthy kamstrup unless given.
    pub meter: Option<Meter>,
    /// The services that the devices announce on the network by mDNS; `auto` unless given.
    pub mdns: Option<Mdns>,
    /// The device, if the house has one.
    pub device: Option<Device>,
    /// The devices, if the house has several; in place of `device`.
    #[schemars(length(min = 1))]
    pub devices: Option<Vec<Device>>,
    /// Many devices that are described once; they come after those of `device` or `devices`.
    pub fleet: Option<Fleet>,
    /// The Modbus slaves, by name.
    pub slaves: Option<BTreeMap<NameText, Slave>>,
    /// The HTTP targets, by name.
    pub http_targets: Option<BTreeMap<NameText, Target>>,
    /// The MQTT brokers outside the house that devices may reach, by name.
    pub mqtt_brokers: Option<BTreeMap<NameText, Broker>>,
    /// The fault rules. They are evaluated in this order: the delays of several add up, and the first
    /// effect that decides the outcome wins.
    pub faults: Option<Vec<Rule>>,
}
