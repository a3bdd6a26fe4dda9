//! The settings of a device, in the JSON of its API, and its surroundings, as written in a scenario.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::scalar::Mac;
use super::{DurationText, PlainText};
use crate::device::config::table::{SchemaSide, SettingsObject};
use crate::device::config::{
    Config, ETH_SETTINGS, METER_SETTINGS, MQTT_SETTINGS, SETTINGS, WIFI_SETTINGS,
};
use crate::device::network::{AuthMode, Ht};
use crate::device::{DeviceId, json};
use crate::limits;
use crate::notation::scalar::scalar;

/// Defines an object of the API that a field table describes. Unknown keys stay in it, because the
/// device ignores them.
macro_rules! object {
    ($(#[$doc:meta])* $type:ident, $object:expr, $about:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub struct $type(pub Value);

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                object_schema($object, $about)
            }
        }
    };
}

/// Returns the schema of an object of the API.
fn object_schema<T>(object: &SettingsObject<T>, about: &str) -> Schema {
    // One default depends on the id: it is that of the first device of a house.
    let factory = Config::factory(&DeviceId::from_number(0xA842_E39F_8124));
    let mut schema = object.schema(SchemaSide::Write, (object.accessor.get)(&factory));
    schema["description"] = about.into();
    schema["x-json"] = true.into();
    // Every JSON object is a schema.
    Schema::try_from(schema).unwrap_or_default()
}

object!(
    /// `/api/v1/settings`.
    Settings,
    &SETTINGS,
    "The device's own shape, as PUT /api/v1/settings takes it; what is not named is as out of the box."
);
object!(
    /// `/api/v1/meter/settings`.
    MeterSettings,
    &METER_SETTINGS,
    "The device's own shape, as PUT /api/v1/meter/settings takes it."
);
object!(
    /// `/api/v1/wifi/sta/settings`.
    WifiSettings,
    &WIFI_SETTINGS,
    "The device's own shape, as PUT /api/v1/wifi/sta/settings takes it."
);
object!(
    /// `/api/v1/eth/settings`.
    EthSettings,
    &ETH_SETTINGS,
    "The device's own shape, as PUT /api/v1/eth/settings takes it."
);
object!(
    /// `/api/v1/mqtt/settings`.
    MqttSettings,
    &MQTT_SETTINGS,
    "The device's own shape, as PUT /api/v1/mqtt/settings takes it."
);

/// `/api/v1/meter/scalers/custom`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scalers(pub Value);

impl JsonSchema for Scalers {
    fn schema_name() -> Cow<'static, str> {
        "Scalers".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let range = limits::SCALER;
        json_schema!({
            "description": "The device's own shape, as POST /api/v1/meter/scalers/custom takes it.",
            "type": "array",
            "x-json": true,
            "maxItems": limits::CUSTOM_SCALERS,
            "items": { "type": "object", "required": ["obis", "scaler"], "properties": {
                "obis": {
                    "type": "string",
                    "pattern": r"^[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}$",
                    "description": "C, D and E of an OBIS code, as 1.8.0; an E of 255 stands for all.",
                },
                "scaler": { "type": "integer", "minimum": range.start(), "maximum": range.end() },
            } },
        })
    }
}

/// The power supply of a device.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Power {
    /// `true` if USB supplies power; true unless given. Without it, the meter's interface alone powers the
    /// device: Ethernet is off, and Wi-Fi sleeps between beacons.
    pub usb: Option<bool>,
}

/// A Wi-Fi network in reach of the device, as a scan lists it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// The name, 1 to 32 bytes.
    pub ssid: PlainText,
    /// The address of the access point; generated unless given.
    pub bssid: Option<Mac>,
    /// The channel; generated unless given.
    #[schemars(range(min = 1, max = 13))]
    pub channel: Option<u8>,
    /// The width of the channel, and the position of its second half; 20 unless given.
    pub ht: Option<HtText>,
    /// Mean signal strength, in dBm; -60 unless given.
    #[schemars(range(min = -127, max = 0))]
    pub rssi: Option<i8>,
    /// The authentication; WPA2 unless given.
    pub auth_mode: Option<AuthText>,
    /// `true` if the network offers WPS; true unless given.
    pub wps: Option<bool>,
    /// The country, two letters; CH unless given.
    pub country: Option<PlainText>,
    /// The password that the device needs; any password is accepted unless given.
    pub password: Option<PlainText>,
}

/// The router that a WPS pairing finds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Wps {
    /// The network that the device joins.
    pub network: PlainText,
    /// The password that the router hands over; that of its network, or a generated one, unless given.
    pub password: Option<PlainText>,
    /// Time from the start of a pairing until the device has joined; 15s unless given. From 120s on, the
    /// pairing fails.
    pub after: Option<DurationText>,
}

/// Defines a scalar that is one of the words of a type of the device.
macro_rules! words {
    ($(#[$doc:meta])* $type:ident, $inner:ty, $name:literal, $about:literal, $words:tt) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $type(pub $inner);

        scalar!($type, $name, $about, $words);

        impl FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                json::word(&json!(text), <$inner>::NAMES).map(Self)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.0.as_str())
            }
        }
    };
}

words!(
    /// `ht`.
    HtText, Ht, "Ht", "One of 20, 40+ and 40-.", { "enum": ["20", "40+", "40-", 20] }
);
words!(
    /// `auth_mode`.
    AuthText, AuthMode, "AuthMode",
    "One of open, WEP, WPA, WPA2, WPA-WPA2, EAP, WPA3, WPA2-WPA3, WPA3-ENT.",
    { "enum": [
        "open", "WEP", "WPA", "WPA2", "WPA-WPA2", "EAP", "WPA3", "WPA2-WPA3", "WPA3-ENT",
    ] }
);
