//! What may be written in a scenario, exactly as it is written.
//!
//! These types are the one statement of the language: the JSON Schema is made from them, the walk
//! that finds the mistakes of a file goes by that schema, and serde decodes into them. What they
//! mean is [`super::model`]. Every key is optional unless its type is not an `Option`; null counts
//! as left out. The comments are what editors show.

mod broker;
mod device;
mod fault;
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
    Actions, Admission, CallRoute, Clock, Cors, Device, Digest, Execution, HttpFailure, Image,
    License, Mdns, Outbound, SdCard,
};
pub use self::fault::{
    At, Calls, DelayOf, Distribution, Drift, Drip, Effect, EffectOf, EffectWord, Lognormal, Moment,
    Normal, Phase, Place, PlaceWord, Rule, Split, StatusCode, StatusOf, When, Wildcard,
};
pub use self::meter::{
    Battery, Count, Counters, Day, Grid, Household, Load, LoadWord, Meter, MeterKind, PhaseCount,
    PhaseWord, Pv, Replay, ReplayMode, Sky, TariffOf, TariffRegisters, TariffWord, Window,
};
pub use self::modbus::{DeviceModbus, ModbusServer, RegisterMapText};
pub use self::scalar::{
    DeviceIdText, FirmwareText, Host, KeyText, Listen, Mac, MeterText, MethodWord, NameText,
    OriginText, PlainText, RangeText, SpeedText, TimeOfDay, TimestampText, UnitId, UrlPath,
    scalar_named, scalar_with_pattern,
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
pub use crate::notation::{Choice, DurationText, OneOrMany, Seconds};

/// A wwsim scenario: a house of whatwatt Go gateways, what their actions reach, and the faults that
/// befall it. Every key is optional; an empty file is a healthy device.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "wwsim scenario")]
pub struct Scenario {
    /// What the house is called, for people.
    pub name: Option<PlainText>,
    /// What all randomness of the house comes from. Same file, same seed, same requests: same
    /// answers. 0 unless given.
    pub seed: Option<u64>,
    /// When the house starts and how its time passes.
    pub clock: Option<Clock>,
    /// Where the control plane listens; 127.0.0.1:8090 unless given.
    pub control: Option<Listen>,
    /// What actions may reach beside the slaves and targets of the house; `deny` unless given.
    pub outbound: Option<Outbound>,
    /// The meter of every device that has none of its own, each with its own number and its own
    /// household; a healthy kamstrup unless given.
    pub meter: Option<Meter>,
    /// What the devices announce on the network by mDNS; `auto` unless given.
    pub mdns: Option<Mdns>,
    /// The gateway, where the house has one.
    pub device: Option<Device>,
    /// The gateways, where the house has several; in place of `device`.
    #[schemars(length(min = 1))]
    pub devices: Option<Vec<Device>>,
    /// The Modbus slaves, by name.
    pub slaves: Option<BTreeMap<NameText, Slave>>,
    /// The HTTP targets, by name.
    pub http_targets: Option<BTreeMap<NameText, Target>>,
    /// The MQTT brokers beside the house, by name.
    pub mqtt_brokers: Option<BTreeMap<NameText, Broker>>,
    /// What befalls the house. Rules are asked in this order: delays of several add up, the first
    /// effect that decides the outcome wins.
    pub faults: Option<Vec<Rule>>,
}
