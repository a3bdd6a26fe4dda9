//! A fleet: many devices that are described once.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Choice, Device, DurationText, FirmwareText, OneOrMany};
use crate::limits;
use crate::notation::Share;

/// Many devices that are described once. They come after those of `device` or `devices`; a house with a fleet
/// and neither of these has the fleet alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fleet {
    /// The number of devices, of all shards together.
    #[schemars(range(min = 1, max = limits::FLEET_DEVICES))]
    pub count: u32,
    /// The addresses at which the devices are reached; ports unless given.
    pub listen: Option<FleetListen>,
    /// The part of a request that names the device if all share one port; host unless given.
    pub route_by: Option<RouteBy>,
    /// The time in which the devices go online one after another, evenly; 0, which is all at the start, unless
    /// given.
    pub ramp: Option<DurationText>,
    /// The device of which the fleet consists. Its `id` and its addresses are those of the first one, from which
    /// the others count up.
    pub template: Option<Device>,
    /// The kinds of devices, which are drawn by weight; all are like the template unless given.
    #[schemars(length(min = 1, max = limits::FLEET_MIX))]
    pub mix: Option<Vec<MixEntry>>,
    /// The changes of state that each device goes through by itself while the house runs; none unless given.
    #[schemars(length(min = 1, max = limits::FLEET_STAGES))]
    pub stages: Option<Vec<Stage>>,
}

/// The addresses of a fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FleetListen {
    /// Each device has a port of its own.
    Ports,
    /// Each device has an address of its own in 127.0.0.0/8, all on the same port.
    Addresses,
    /// All devices are behind one port.
    Shared,
}

/// The part of a request that names the device on a shared port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RouteBy {
    /// The first label of the `Host`, which is the id: `Host: a842e39f8124.localhost`.
    Host,
    /// The first segment of the path, which is the id: `/A842E39F8124/api/v1/system`.
    Path,
}

/// A kind of device in a fleet: a weight, and the keys in which it differs from the template. A mapping is merged
/// with that of the template, any other value takes its place.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MixEntry(pub Map<String, Value>);

impl MixEntry {
    /// The key of the weight.
    pub const WEIGHT: &'static str = "weight";
    /// The keys of a device that each device of a fleet has for itself.
    const OWN: [&'static str; 3] = ["id", "http", "modbus"];
}

impl JsonSchema for MixEntry {
    fn schema_name() -> Cow<'static, str> {
        "MixEntry".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = Device::json_schema(generator);
        schema.insert(
            "description".into(),
            "A kind of device in a fleet: a weight, and the keys in which it differs from the template. A mapping \
             is merged with that of the template, any other value takes its place."
                .into(),
        );
        let weight = json_schema!({
            "description": "The frequency with which it is drawn, compared with the others; 1 unless given.",
            "type": ["integer", "null"],
            "format": "uint32",
            "minimum": 1,
            "maximum": limits::FLEET_WEIGHT,
        });
        if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            let mut all = Map::new();
            all.insert(Self::WEIGHT.to_owned(), weight.to_value());
            let device = std::mem::take(properties);
            all.extend(device.into_iter().filter(|(key, _)| !Self::OWN.contains(&key.as_str())));
            *properties = all;
        }
        schema
    }
}

/// A change of state of the devices of a fleet. A device that enters a state draws one of the stages that lead on
/// from it, by weight, and follows it after the delay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// The states from which it leads.
    pub from: OneOrMany<StageFrom>,
    /// The state to which it leads.
    pub to: Choice<StageTo, StageUpdate>,
    /// The frequency with which it is drawn, compared with the other stages from the same state; 1 unless given.
    #[schemars(range(min = 1, max = limits::FLEET_WEIGHT))]
    pub weight: Option<u32>,
    /// The time that a device stays in the state before; 10s or more.
    pub delay: DurationText,
    /// The longest time that is added to the delay; each device draws its own each time. 0 unless given.
    pub jitter: Option<DurationText>,
    /// The share of the devices that it concerns; all unless given.
    pub devices: Option<Share>,
    /// The firmware that a device must run; any unless given.
    pub firmware: Option<FirmwareText>,
}

/// A state from which a stage leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StageFrom {
    /// The device is up.
    Online,
    /// The device is up, and its Wi-Fi is weak.
    WeakWifi,
    /// The device is up after a firmware update.
    Updated,
    /// The device is off.
    Gone,
}

/// A state to which a stage leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StageTo {
    /// The device is up: one that was off starts, and weak Wi-Fi is strong again.
    Online,
    /// The device is up, and each Wi-Fi network is 30 dB weaker.
    WeakWifi,
    /// The device reboots. It is online as soon as it is up again.
    Rebooting,
    /// The device gets the newest firmware and reboots.
    Updated,
    /// The device is switched off.
    Gone,
}

/// A firmware update to a version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StageUpdate {
    /// The device gets this firmware and reboots.
    pub updated: FirmwareText,
}
