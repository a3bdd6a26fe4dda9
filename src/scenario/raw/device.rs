//! The clock, the outbound policy and the gateways.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Choice, DeviceIdText, DeviceModbus, DurationText, EthSettings, FirmwareText, Listen, Meter,
    MeterSettings, MqttSettings, Network, OriginText, PlainText, Power, RegisterMapText, Scalers,
    Settings, SpeedText, TimestampText, WifiSettings, Wps,
};

/// When the house starts and how its time passes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Clock {
    /// The moment at which the house starts; the real time of the start unless given.
    pub start: Option<TimestampText>,
    /// How fast time passes; 1 unless given.
    pub speed: Option<SpeedText>,
}

/// What actions may reach beside the slaves and targets of the house.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outbound {
    /// Nothing.
    Deny,
    /// Loopback addresses.
    Loopback,
    /// Anything.
    Allow,
}

/// What the devices announce on the network by mDNS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mdns {
    /// Nothing.
    Off,
    /// What others than this machine can reach.
    Auto,
    /// Also what only this machine can reach, to this machine.
    Loopback,
}

/// A whatwatt Go.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// Its id; A842E39F8124 for the first, counting up for the next, unless given.
    pub id: Option<DeviceIdText>,
    /// Its firmware; 2.0.2 unless given.
    pub firmware: Option<FirmwareText>,
    /// What /api/v1/system gives as the build of its firmware; made up from the firmware unless given.
    pub build: Option<PlainText>,
    /// Its licence; plus unless given.
    pub license: Option<License>,
    /// When its licence was activated; 2025-01-15T09:00:00Z unless given.
    pub activation_date: Option<TimestampText>,
    /// Where its API listens; 127.0.0.1:8080 for the first, 8081 for the second and so on, unless
    /// given.
    pub http: Option<Listen>,
    /// Its own Modbus server: where it listens once the device's settings switch it on, or a mapping
    /// that says more; 127.0.0.1:1502 for the first, 1503 for the second and so on, unless given.
    pub modbus: Option<DeviceModbus>,
    /// The registers of that server, in the device's own JSON shape; those of a device out of the box
    /// unless given.
    pub modbus_map: Option<RegisterMapText>,
    /// How strictly Digest authentication is read; tolerant unless given.
    pub digest: Option<Digest>,
    /// Which pages may use its API from a browser, beside its own.
    pub cors: Option<Cors>,
    /// What it is set to at the start; as out of the box unless given.
    pub settings: Option<Settings>,
    /// How it is set to talk to its meter at the start; as out of the box unless given.
    pub meter_settings: Option<MeterSettings>,
    /// The user's own scalers at the start; none unless given.
    pub scalers: Option<Scalers>,
    /// What its Wi-Fi client is set to at the start; off unless given.
    pub wifi: Option<WifiSettings>,
    /// Whether it starts as an access point, as a new device waits to be set up; false unless given.
    pub access_point: Option<bool>,
    /// What Ethernet is set to at the start; on, with DHCP, unless given.
    pub eth: Option<EthSettings>,
    /// What its MQTT client is set to at the start; off unless given.
    pub mqtt: Option<MqttSettings>,
    /// Where its power comes from; USB unless given.
    pub power: Option<Power>,
    /// Whether an Ethernet cable is plugged in; true unless given.
    pub cable: Option<bool>,
    /// The Wi-Fi networks around it, and no others; unless given some are made up, and the one that
    /// its client is set to is there.
    pub networks: Option<Vec<Network>>,
    /// The router whose button is pressed when a WPS pairing is started; nobody does unless given.
    pub wps: Option<Wps>,
    /// How a call of an action is answered; page unless given.
    pub call_route: Option<CallRoute>,
    /// What happens to a call with fewer free places than requests; fit unless given.
    pub admission: Option<Admission>,
    /// How the requests of one action run; sequential unless given.
    pub execution: Option<Execution>,
    /// The first status id since boot; 1 unless given.
    #[schemars(range(min = 1))]
    pub first_status_id: Option<u64>,
    /// How an HTTP request without a response ends; code unless given.
    pub http_failure: Option<HttpFailure>,
    /// How long it is gone for when it reboots; 3s unless given.
    pub reboot_time: Option<DurationText>,
    /// Its SD card; false for none, an empty one of 7618 MiB unless given.
    pub sd_card: Option<Choice<bool, SdCard>>,
    /// Which firmware the images are that are uploaded to it. The first that fits counts; with any
    /// other image the device reboots as it was.
    pub images: Option<Vec<Image>>,
    /// Whether downloads from the SD card drain the supercapacitor while the meter alone feeds the
    /// device, until it reboots; false unless given.
    pub power_model: Option<bool>,
    /// Its meter, in place of the house's `meter` as a whole.
    pub meter: Option<Meter>,
    /// The Berry script that is stored on it at the start, at most 8191 bytes; none unless given.
    pub script: Option<PlainText>,
    /// The actions it starts with, in the device's own JSON shape; none unless given.
    pub actions: Option<Actions>,
    /// A JSON file with the actions, as a device exports them, relative to this file; in place of
    /// `actions`.
    pub actions_file: Option<PlainText>,
}

/// An SD card.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SdCard {
    /// Its size in MiB; 7618 unless given.
    #[schemars(range(min = 1))]
    pub size: Option<u32>,
    /// Files on it, by their paths, with what is in them.
    pub files: Option<BTreeMap<String, PlainText>>,
}

/// A firmware image, known by its name, its size or its MD5 sum; all that are given have to fit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// The name of its file, as upgrade.bin.
    pub name: Option<PlainText>,
    /// Its size in bytes.
    pub size: Option<u64>,
    /// Its MD5 sum, 32 hexadecimal digits.
    pub md5: Option<PlainText>,
    /// The firmware that it is.
    pub firmware: FirmwareText,
}

/// A licence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum License {
    /// Without reports, raw objects, variables, template test and actions, which are 404; MQTT
    /// publishing, the Modbus server, myStrom and Berry scripts can be set, and stay off.
    Free,
    /// Everything.
    Plus,
    /// As plus.
    Pro,
}

/// How strictly Digest authentication is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Digest {
    /// As client libraries write it, too: plain MD5, values in quotes or not, counts from anywhere.
    Tolerant,
    /// RFC 7616 with exactly what the device offers.
    Strict,
}

/// Pages in a browser.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cors {
    /// The origins of these pages.
    pub origins: Option<Vec<OriginText>>,
}

/// How a call is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallRoute {
    /// With a `Location` header and no body.
    Page,
    /// With `{"status_ids": [139]}`.
    Rest,
}

/// What happens to a call with fewer free places than requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Admission {
    /// As many as fit are queued, the rest is dropped.
    Fit,
    /// All or nothing.
    All,
}

/// How the requests of one action run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Execution {
    /// One after another.
    Sequential,
    /// Beside each other.
    Parallel,
}

/// How an HTTP request without a response ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HttpFailure {
    /// With the negative codes of the Modbus family, as -17.
    Code,
    /// With 0, whatever went wrong.
    Zero,
}

/// Actions as the device's API takes them. Unknown keys are left to the device, which ignores them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Actions(pub serde_json::Value);

impl JsonSchema for Actions {
    fn schema_name() -> Cow<'static, str> {
        "Actions".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let (http, modbus) = (http_request(), modbus_request());
        json_schema!({
            "description": "The device's own shape, as POST /api/v1/actions takes it.",
            "type": "object",
            "x-json": true,
            "required": ["actions"],
            "properties": {
                "const": {
                    "type": "object",
                    "description": "Constants, written ${name} in url, payload, host and value",
                    "additionalProperties": { "type": ["string", "number", "boolean", "null"] },
                },
                "actions": { "type": "array", "items": {
                    "type": "object",
                    "required": ["id", "requests"],
                    "properties": {
                        "id": { "type": "string", "minLength": 1, "maxLength": 15 },
                        "enable": { "type": "boolean", "description": "true unless given" },
                        "requests": { "type": "array", "items": {
                            "type": "object",
                            "properties": {
                                "http": { "type": "object", "required": ["url"], "properties": http },
                                "modbus": {
                                    "type": "object",
                                    "required": ["host", "func", "address", "value"],
                                    "properties": modbus,
                                },
                            },
                        } },
                    },
                } },
            },
        })
    }
}

/// The keys of any request.
fn request() -> Schema {
    json_schema!({
        "enable": { "type": "boolean", "description": "true unless given" },
        "timeout": { "type": "number", "minimum": 0.1, "maximum": 10, "description": "Seconds; 5 unless given" },
    })
}

/// The keys of an HTTP request.
fn http_request() -> Schema {
    let mut http = request();
    for (key, schema) in [
        ("url", json!({ "type": "string", "minLength": 8, "maxLength": 255 })),
        ("method", json!({ "enum": ["GET", "POST", "PUT", "DELETE"] })),
        ("payload", json!({ "type": "string", "maxLength": 1023 })),
        (
            "headers",
            json!({ "type": "object", "maxProperties": 4, "additionalProperties": { "type": "string" } }),
        ),
    ] {
        http.insert(key.into(), schema);
    }
    http
}

/// The keys of a Modbus request.
fn modbus_request() -> Schema {
    let number = |max: u32| json!({ "type": "integer", "minimum": 0, "maximum": max });
    let mut modbus = request();
    for (key, schema) in [
        ("host", json!({ "type": "string", "minLength": 4, "maxLength": 63 })),
        ("port", number(65535)),
        ("unit_id", number(255)),
        ("func", json!({ "enum": [5, 6, 15, 16] })),
        ("address", number(65535)),
        ("type", json!({ "enum": ["hex", "short", "int", "long", "float", "double"] })),
        ("value", json!({ "type": "string", "minLength": 1, "maxLength": 492 })),
    ] {
        modbus.insert(key.into(), schema);
    }
    modbus
}
