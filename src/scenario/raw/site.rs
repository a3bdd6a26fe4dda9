//! What a device is set to, in its own JSON shapes, and what it is plugged into.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::scalar::Mac;
use super::{DurationText, PlainText};
use crate::device::config::table::{Object, SchemaSide};
use crate::device::config::{
    Config, ETH_SETTINGS, METER_SETTINGS, MQTT_SETTINGS, SETTINGS, WIFI_SETTINGS,
};
use crate::device::network::{AuthMode, Ht};
use crate::device::{DeviceId, json};
use crate::limits;
use crate::notation::scalar::scalar;

/// An object of the API that a field table describes. Unknown keys are left to the device, which
/// ignores them.
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
                of_object($object, $about)
            }
        }
    };
}

fn of_object<T>(object: &Object<T>, about: &str) -> Schema {
    // Any id: the one default that is made from it is what the first device of a house has.
    let factory = Config::factory(&DeviceId::from_number(0xA842_E39F_8124));
    let mut schema = object.schema(SchemaSide::Write, (object.of.get)(&factory));
    schema["description"] = about.into();
    schema["x-json"] = true.into();
    // An object is a schema.
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

/// Where a device's power comes from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Power {
    /// Whether there is power on USB; true unless given. Without, the meter's plug alone feeds the
    /// device: Ethernet is off, and Wi-Fi sleeps between beacons.
    pub usb: Option<bool>,
}

/// A Wi-Fi network where the device stands, as a scan lists it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Its name, 1 to 32 bytes.
    pub ssid: PlainText,
    /// The address of its access point; made up unless given.
    pub bssid: Option<Mac>,
    /// Its channel; made up unless given.
    #[schemars(range(min = 1, max = 13))]
    pub channel: Option<u8>,
    /// The width of its channel and where the other half lies; 20 unless given.
    pub ht: Option<HtText>,
    /// dBm about which its signal wavers; -60 unless given.
    #[schemars(range(min = -127, max = 0))]
    pub rssi: Option<i8>,
    /// How it is secured; WPA2 unless given.
    pub auth_mode: Option<AuthText>,
    /// Whether it offers WPS; true unless given.
    pub wps: Option<bool>,
    /// Its country, two letters; CH unless given.
    pub country: Option<PlainText>,
    /// Its password, which the device's has to equal; any password will do unless given.
    pub password: Option<PlainText>,
}

/// The router that a WPS pairing finds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Wps {
    /// The network that the device is in then.
    pub network: PlainText,
    /// The password that the router hands over; one is made up unless given.
    pub password: Option<PlainText>,
    /// How long after the start of a pairing the device is in; 15s unless given. From 120s on it is
    /// too late.
    pub after: Option<DurationText>,
}

/// One of the words that a type of the device has.
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
