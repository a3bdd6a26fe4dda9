//! The clock, the outbound policy and the devices.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Choice, DeviceIdText, DeviceModbus, DurationText, EthSettings, FirmwareText, Listen, Meter,
    MeterSettings, MqttSettings, Network, OriginText, PlainText, Power, RegisterMapText, Scalers,
    Settings, SpeedText, TimestampText, WifiSettings, Wps,
};
use crate::device::WhenFull;
use crate::device::actions::{HttpMethod, ModbusWrite, ValueType};
use crate::limits;
use crate::notation::scalar::{scalar, scalar_error};
use crate::notation::{ScalarError, shortened};

/// The start of the house and the speed of its time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Clock {
    /// The civil time at which the house starts; the real time of the start unless given.
    pub start: Option<TimestampText>,
    /// The speed of time; 1 unless given.
    pub speed: Option<SpeedText>,
}

/// The hosts that actions may reach outside the house.
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

/// The services that the devices announce on the network by mDNS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mdns {
    /// Nothing.
    Off,
    /// Services that other machines can reach.
    Auto,
    /// Also services that only this machine can reach, announced to this machine.
    Loopback,
}

/// A whatwatt Go.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// The id of the device; A842E39F8124 for the first, counting up for the next, unless given.
    pub id: Option<DeviceIdText>,
    /// The firmware; 2.0.2 unless given.
    pub firmware: Option<FirmwareText>,
    /// The build of the firmware that /api/v1/system shows; derived from the firmware unless given.
    pub build: Option<PlainText>,
    /// The licence; plus unless given.
    pub license: Option<License>,
    /// The time at which the licence was activated; 2025-01-15T09:00:00Z unless given.
    pub activation_date: Option<TimestampText>,
    /// The address of its API; 127.0.0.1:8080 for the first, 8081 for the second and so on, past the ports
    /// of other listeners, unless given.
    pub http: Option<Listen>,
    /// The device's own Modbus server: the address at which it listens once the device's settings switch it
    /// on, or a mapping that says more; 127.0.0.1:1502 for the first, 1503 for the second and so on, past the
    /// ports of other listeners, unless given.
    pub modbus: Option<DeviceModbus>,
    /// The registers of that server, in the device's own JSON form; those of a new device unless given.
    pub modbus_map: Option<RegisterMapText>,
    /// Digest authentication: its strictness, or a mapping that says more; tolerant unless given.
    pub digest: Option<Choice<DigestMode, Digest>>,
    /// The pages that may use its API from a browser, besides its own.
    pub cors: Option<Cors>,
    /// The settings at the start; those of a new device unless given.
    pub settings: Option<Settings>,
    /// The settings of the meter's interface at the start; those of a new device unless given.
    pub meter_settings: Option<MeterSettings>,
    /// The user's own scalers at the start; none unless given.
    pub scalers: Option<Scalers>,
    /// The settings of the Wi-Fi client at the start; off unless given.
    pub wifi: Option<WifiSettings>,
    /// True if it starts as an access point, as a new device that waits to be set up; false unless given.
    pub access_point: Option<bool>,
    /// The settings of Ethernet at the start; on, with DHCP, unless given.
    pub eth: Option<EthSettings>,
    /// The settings of the MQTT client at the start; off unless given.
    pub mqtt: Option<MqttSettings>,
    /// The power source; USB unless given.
    pub power: Option<Power>,
    /// True if an Ethernet cable is plugged in; true unless given.
    pub cable: Option<bool>,
    /// The Wi-Fi networks around it, and no others. Unless given, there are generated ones and the one
    /// that its client is set to.
    pub networks: Option<Vec<Network>>,
    /// The router whose button is pressed when a WPS pairing is started; none unless given.
    pub wps: Option<Wps>,
    /// The form of the reply to a call of an action; page unless given.
    pub call_route: Option<CallRoute>,
    /// The treatment of a call with fewer free slots than requests; fit unless given.
    pub admission: Option<Admission>,
    /// The order in which the requests of one action run; sequential unless given.
    pub execution: Option<Execution>,
    /// The first status id since boot; 1 unless given.
    #[schemars(range(min = 1))]
    pub first_status_id: Option<u64>,
    /// The result code of an HTTP request without a response; code unless given.
    pub http_failure: Option<HttpFailure>,
    /// The time for which it is unreachable when it reboots; 3s unless given.
    pub reboot_time: Option<DurationText>,
    /// The SD card; false for none, an empty one of 7618 MiB unless given.
    pub sd_card: Option<Choice<bool, SdCard>>,
    /// The firmware of the images that are uploaded to it. The first entry that matches applies; after any
    /// other image the device reboots with the firmware it had.
    pub images: Option<Vec<Image>>,
    /// True if downloads from the SD card drain the supercapacitor while only the meter powers the device,
    /// until it reboots; false unless given.
    pub power_model: Option<bool>,
    /// The meter of this device, in place of the house's `meter` as a whole.
    pub meter: Option<Meter>,
    /// The Berry script that is stored at the start, at most 8191 bytes; none unless given.
    pub script: Option<PlainText>,
    /// The actions at the start, in the device's own JSON form; none unless given.
    pub actions: Option<Actions>,
    /// A JSON file with the actions, as a device exports them, relative to this file; in place of
    /// `actions`.
    pub actions_file: Option<PlainText>,
}

/// An SD card.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SdCard {
    /// The size in MiB; 7618 unless given.
    #[schemars(range(min = 1))]
    pub size: Option<u32>,
    /// The content of the files, by their paths.
    pub files: Option<BTreeMap<String, PlainText>>,
}

/// A firmware image, identified by its name, size or MD5 sum; all that are given must match.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// The name of the file, as upgrade.bin.
    pub name: Option<PlainText>,
    /// The size in bytes.
    pub size: Option<u64>,
    /// The MD5 sum, 32 hexadecimal digits.
    pub md5: Option<PlainText>,
    /// The firmware that the image contains.
    pub firmware: FirmwareText,
}

/// A licence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum License {
    /// Reports, raw objects, variables, template test and actions are 404; MQTT publishing, the Modbus
    /// server, myStrom and Berry scripts can be set, and stay off.
    Free,
    /// All functions.
    Plus,
    /// All functions, as plus.
    Pro,
}

/// The strictness of Digest authentication.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DigestMode {
    /// Deviations of client libraries are accepted: plain MD5, values in quotes or not, nonce counts from any
    /// number.
    Tolerant,
    /// RFC 7616 with exactly the parameters that the device offers.
    Strict,
}

/// Digest authentication.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Digest {
    /// The strictness; tolerant unless given.
    pub mode: Option<DigestMode>,
    /// The time on the scenario's clock for which a nonce is good; 5m unless given.
    pub nonce_life: Option<DurationText>,
    /// The number of nonces that the device remembers at once, those included that no client has used; 1024
    /// unless given.
    #[schemars(range(min = *limits::NONCES.start(), max = *limits::NONCES.end()))]
    pub nonces: Option<usize>,
    /// The reply to a client that needs one more nonce: `oldest` issues one, and the oldest that no client has
    /// used expires, or the oldest of all; 429 issues none. `oldest` unless given.
    pub when_full: Option<WhenFullText>,
}

/// The reply to a client that needs one more nonce than the device remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WhenFullText(pub WhenFull);

scalar!(
    WhenFullText,
    "WhenFull",
    "`oldest` or 429.",
    { "enum": ["oldest", 429] }
);

impl FromStr for WhenFullText {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        match text {
            "oldest" => Ok(Self(WhenFull::Oldest)),
            "429" => Ok(Self(WhenFull::Refuse)),
            _ => Err(scalar_error!("`{}`: expected `oldest` or 429", shortened(text))),
        }
    }
}

impl fmt::Display for WhenFullText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            WhenFull::Oldest => "oldest",
            WhenFull::Refuse => "429",
        })
    }
}

/// The pages that may use the API from a browser.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cors {
    /// The origins of these pages.
    pub origins: Option<Vec<OriginText>>,
}

/// The form of the reply to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallRoute {
    /// A `Location` header and no body.
    Page,
    /// A body such as `{"status_ids": [139]}`.
    Rest,
}

/// The treatment of a call with fewer free slots than requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Admission {
    /// As many requests as fit are queued; the rest is dropped.
    Fit,
    /// All requests are queued, or none.
    All,
}

/// The order in which the requests of one action run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Execution {
    /// One after another.
    Sequential,
    /// All at the same time.
    Parallel,
}

/// The result code of an HTTP request without a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HttpFailure {
    /// The negative codes of Modbus requests, such as -17.
    Code,
    /// Always 0.
    Zero,
}

/// Actions as the device's API accepts them. Unknown keys are passed to the device, which ignores them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Actions(pub Value);

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
                        "id": text(&limits::ACTION_ID_CHARS),
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

/// Returns the schema of a text with this number of characters.
fn text(chars: &RangeInclusive<usize>) -> Value {
    let mut schema = json!({ "type": "string" });
    if *chars.start() > 0 {
        schema["minLength"] = (*chars.start()).into();
    }
    schema["maxLength"] = (*chars.end()).into();
    schema
}

/// Returns a number as JSON has it, without a decimal point if it is whole.
fn decimal(number: f64) -> Value {
    number.to_string().parse().map_or(Value::Null, Value::Number)
}

/// Returns the keys of any request.
fn request() -> Schema {
    json_schema!({
        "enable": { "type": "boolean", "description": "true unless given" },
        "timeout": {
            "type": "number",
            "minimum": decimal(*limits::TIMEOUT_SECONDS.start()),
            "maximum": decimal(*limits::TIMEOUT_SECONDS.end()),
            "description": "Seconds; 5 unless given",
        },
    })
}

/// Returns the keys of an HTTP request.
fn http_request() -> Schema {
    let mut http = request();
    for (key, schema) in [
        ("url", text(&limits::URL_CHARS)),
        ("method", json!({ "enum": HttpMethod::NAMES.map(|(name, _)| name) })),
        ("payload", text(&limits::PAYLOAD_CHARS)),
        (
            "headers",
            json!({
                "type": "object",
                "maxProperties": limits::HEADERS,
                "additionalProperties": { "type": "string" },
            }),
        ),
    ] {
        http.insert(key.into(), schema);
    }
    http
}

/// Returns the keys of a Modbus request.
fn modbus_request() -> Schema {
    let number = |max: u16| json!({ "type": "integer", "minimum": 0, "maximum": max });
    let mut modbus = request();
    for (key, schema) in [
        ("host", text(&limits::MODBUS_HOST_CHARS)),
        ("port", number(u16::MAX)),
        ("unit_id", number(u8::MAX.into())),
        ("func", json!({ "enum": ModbusWrite::FUNCTIONS })),
        ("address", number(u16::MAX)),
        ("type", json!({ "enum": ValueType::NAMES.map(|(name, _)| name) })),
        ("value", text(&limits::MODBUS_VALUE_CHARS)),
    ] {
        modbus.insert(key.into(), schema);
    }
    modbus
}
