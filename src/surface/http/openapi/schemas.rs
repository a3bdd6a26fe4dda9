//! The schemas of request bodies and responses. Those of the configuration come from its field tables.
//!
//! Schemas of responses are closed: a key that is not listed is a mistake. Those of request bodies are
//! open, because the device ignores keys that it does not know.

use serde_json::{Map, Value, json};

use crate::device::config::table::SchemaSide;
use crate::device::config::{ETH_SETTINGS, METER_SETTINGS, MQTT_SETTINGS, SETTINGS, WIFI_SETTINGS};
use crate::device::variables::VARIABLES;
use crate::device::{Config, DeviceId};
use crate::limits;
use crate::meter::Quantity;
use crate::scenario;

/// Returns all schemas by their names.
pub(super) fn all() -> Map<String, Value> {
    let factory = Config::factory(&DeviceId::from_number(0xA842_E39F_8124));
    let mut all = Map::new();
    let mut add = |name: &str, schema: Value| all.insert(name.to_owned(), schema);
    macro_rules! object {
        ($name:literal, $object:ident, $part:ident) => {
            let [read, write] = [SchemaSide::Read, SchemaSide::Write]
                .map(|side| $object.schema(side, &factory.$part));
            add($name, closed(read));
            add(concat!($name, "Write"), write);
        };
    }
    object!("Settings", SETTINGS, settings);
    object!("MeterSettings", METER_SETTINGS, meter);
    object!("MqttSettings", MQTT_SETTINGS, mqtt);
    object!("WifiSettings", WIFI_SETTINGS, wifi);
    object!("EthSettings", ETH_SETTINGS, eth);
    add("Error", error());
    add("Actions", scenario::actions_schema());
    add("StatusIds", fields(&[("status_ids[]", "count")]));
    add("Statuses", list(fields(STATUS)));
    add("Scalers", list(scaler()));
    add("RegisterMap", list(register_set(true)));
    add("RegisterMapWrite", list(register_set(false)));
    add("WifiNetworks", list(fields(WIFI_NETWORK)));
    add("System", fields(SYSTEM));
    add("Report", report());
    add("ReportObjects", report_objects());
    add("Variables", variables());
    add("Live", live());
    add("Listing", fields(LISTING));
    add("Run", fields(&[("run", "flag")]));
    add("Console", json!({ "type": "string" }));
    all
}

fn error() -> Value {
    json!({
        "type": "object",
        "required": ["error", "message"],
        "properties": {
            "error": { "type": "string", "description": "For programs.", "pattern": "^[a-z0-9_]+$" },
            "message": { "type": "string", "description": "For people." },
            "details": { "type": "object", "properties": {
                "field": { "type": "string", "description": "The field that was refused." },
            } },
        },
        "additionalProperties": false,
    })
}

fn list(items: Value) -> Value {
    let mut list = json!({ "type": "array" });
    list["items"] = items;
    list
}

/// Closes an object's schema and those within it: unknown keys become invalid.
fn closed(mut schema: Value) -> Value {
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        for property in properties.values_mut() {
            *property = closed(property.take());
        }
        schema["additionalProperties"] = false.into();
    }
    if let Some(items) = schema.get_mut("items") {
        *items = closed(items.take());
    }
    schema
}

/// Returns the schema of an object from a field table in the notation of `docs/device`: a dotted path, with
/// `[]` after a list and `?` after an optional field, and the kind of value, see [`kind`].
fn fields(table: &[(&str, &str)]) -> Value {
    let mut schema = object();
    for (path, kind_name) in table {
        add_field(&mut schema, path, kind(kind_name));
    }
    schema
}

fn object() -> Value {
    json!({ "type": "object", "properties": {}, "required": [], "additionalProperties": false })
}

/// Adds the field at a dotted path to an object's schema, with the objects that contain it.
fn add_field(parent: &mut Value, path: &str, schema: Value) {
    let (first, rest) =
        path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let (name, optional) = first.strip_suffix('?').map_or((first, false), |name| (name, true));
    let (name, is_list) = name.strip_suffix("[]").map_or((name, false), |name| (name, true));
    if !optional
        && let Some(required) = parent["required"].as_array_mut()
        && !required.iter().any(|present| present == name)
    {
        required.push(name.into());
    }
    let property = &mut parent["properties"][name];
    let Some(rest) = rest else {
        *property = if is_list { list(schema) } else { schema };
        return;
    };
    if property.is_null() {
        *property = if is_list { list(object()) } else { object() };
    }
    add_field(if is_list { &mut property["items"] } else { property }, rest, schema);
}

/// Returns the schema of a kind of value: `text`, `number`, `integer`, `count` (from 0), `flag`, `date`,
/// `time`, `date_time`, `ipv4` or `mac`; or the values of an enumeration with `|` between them.
fn kind(name: &str) -> Value {
    match name {
        "text" => json!({ "type": "string" }),
        "number" => json!({ "type": "number" }),
        "integer" => json!({ "type": "integer" }),
        "count" => json!({ "type": "integer", "minimum": 0 }),
        "flag" => json!({ "type": "boolean" }),
        // Empty if it is unknown.
        "date" => json!({ "type": "string", "pattern": "^([0-9]{4}-[0-9]{2}-[0-9]{2})?$" }),
        "time" => json!({ "type": "string", "pattern": "^([0-9]{2}:[0-9]{2}:[0-9]{2})?$" }),
        "date_time" => json!({
            "type": "string",
            "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-][0-9]{2}:?[0-9]{2})?$",
        }),
        "ipv4" => json!({ "type": "string", "format": "ipv4" }),
        "mac" => json!({ "type": "string", "pattern": "^[0-9A-F]{12}$" }),
        values => json!({ "enum": values.split('|').collect::<Vec<_>>() }),
    }
}

const STATUS: &[(&str, &str)] =
    &[("action_id", "text"), ("id", "count"), ("code", "integer"), ("exe_time", "number")];

const LISTING: &[(&str, &str)] = &[
    ("path", "text"),
    ("files[].name", "text"),
    ("files[].size", "count"),
    ("files[].type", "file|dir"),
];

const WIFI_NETWORK: &[(&str, &str)] = &[
    ("ssid", "text"),
    ("bssid", "mac"),
    ("channel", "count"),
    ("ht", "20|40+|40-"),
    ("rssi", "integer"),
    ("signal", "count"),
    ("auth_mode", "text"),
    ("pairwise_cipher", "text"),
    ("group_cipher", "text"),
    ("phy", "text"),
    ("wps", "true|false"),
    ("country", "text"),
];

const SYSTEM: &[(&str, &str)] = &[
    ("device.name", "text"),
    ("device.id", "mac"),
    ("device.model", "text"),
    ("device.firmware", "text"),
    ("device.build", "text"),
    ("device.upgrade_capable", "flag"),
    ("device.date", "date"),
    ("device.time", "time"),
    ("device.time_since_boot", "count"),
    ("device.last_reboot.date", "date"),
    ("device.last_reboot.time", "time"),
    ("device.plug.v_usb", "number"),
    ("device.plug.v_mbus", "number"),
    ("device.plug.v_p1", "number"),
    ("device.plug.v_scap", "number"),
    ("device.license.type", "FREE|PLUS|PRO"),
    ("device.license.activation_date?", "date_time"),
    ("clouds.whatwatt.enabled", "flag"),
    ("clouds.whatwatt.connected", "flag"),
    ("clouds.whatwatt.registered", "flag"),
    ("clouds.mystrom.enabled", "flag"),
    (
        "clouds.mystrom.status",
        "DISABLED|DISCONNECTED|WAITING TIME|CONNECTING|DO HANDSHAKE|CONNECTED|REGISTERED",
    ),
    ("clouds.solar_manager.enabled", "flag"),
    ("clouds.solar_manager.connected", "flag"),
    ("clouds.mqtc.enabled", "flag"),
    ("clouds.mqtc.connected", "flag"),
    ("clouds.stromkonto.enabled", "flag"),
    ("clouds.stromkonto.connected", "flag"),
    ("services?.berry.execution_status.state", "IDLE|RUNNING|ERROR"),
    ("meter.status", METER_STATUS),
    ("meter.interface", "NONE|P1|MBUS|TTL|MEP"),
    ("meter.id", "text"),
    ("meter.manufacturer", "text"),
    ("meter.type", "text"),
    ("meter.model", "text"),
    ("meter.protocol", "|DSMR|DLMS|KMP|MEP|MBUS"),
    ("meter.protocol_version", "text"),
    ("meter.report_interval", "number"),
    ("meter.enc_en", "flag"),
    ("meter.auth_en", "flag"),
    ("meter.tariff?", "count"),
    ("meter.date", "date"),
    ("meter.time", "time"),
    ("wifi.ssid?", "text"),
    ("wifi.bssid?", "mac"),
    ("wifi.channel?", "count"),
    ("wifi.ht?", "20|40+|40-"),
    ("wifi.rssi?", "integer"),
    ("wifi.signal?", "count"),
    ("wifi.auth_mode?", "text"),
    ("wifi.pairwise_cipher?", "text"),
    ("wifi.group_cipher?", "text"),
    ("wifi.phy?", "text"),
    ("wifi.wps?", "flag"),
    ("wifi.country?", "text"),
    ("wifi.mac", "mac"),
    ("wifi.ip?", "ipv4"),
    ("wifi.mask?", "ipv4"),
    ("wifi.gateway?", "ipv4"),
    ("wifi.dns?", "ipv4"),
    ("wifi.status", "OK|Error|Disabled|Disconnected"),
    ("wifi.mode", "OFF|STA|AP"),
    ("ethernet.mac", "mac"),
    ("ethernet.status", "Up|Down"),
    ("ethernet.ip?", "ipv4"),
    ("ethernet.mask?", "ipv4"),
    ("ethernet.gateway?", "ipv4"),
    ("ethernet.dns?", "ipv4"),
    ("sd_card.installed", "flag"),
    ("sd_card.type?", "text"),
    ("sd_card.size?", "count"),
    ("sd_card.speed?", "count"),
];

const METER_STATUS: &str =
    "NOT CONNECTED|NO DATA|RECOGNITION|OK|ENCRYPTION KEY|KEY REQUIRED|NOT RECOGNIZED";

/// The fields of a report beside its quantities. Before the first reading, `report` is empty.
const REPORT: &[(&str, &str)] = &[
    ("report.id?", "count"),
    ("report.interval?", "number"),
    ("report.tariff?", "count"),
    ("report.date_time?", "date_time"),
    ("report.date_time_local?", "date_time"),
    ("report.date_time_utc?", "date_time"),
    ("report.conv_factor?", "number"),
    ("report.volume[]?.bus", "count"),
    ("report.volume[]?.meter_id", "text"),
    ("report.volume[]?.date_time?", "date_time"),
    ("report.volume[]?.cumulative?", "number"),
    ("meter.status", METER_STATUS),
    ("meter.interface?", "P1|MBUS|TTL|MEP"),
    ("meter.protocol?", "DSMR|DLMS|KMP|MEP|MBUS"),
    ("meter.protocol_version?", "text"),
    ("meter.logical_name?", "text"),
    ("meter.id?", "text"),
    ("meter.model?", "text"),
    ("meter.vendor?", "text"),
    ("meter.prefix?", "text"),
    ("system.id", "mac"),
    ("system.date_time", "date_time"),
    ("system.date_time_local", "date_time"),
    ("system.date_time_utc", "date_time"),
    ("system.boot_id", "text"),
    ("system.time_since_boot", "count"),
];

fn report() -> Value {
    let mut schema = fields(REPORT);
    for quantity in Quantity::ALL {
        // Each group of quantities is optional.
        let path = format!("report.{}?", quantity.report_path().replace('.', "?."));
        let mut number = kind("number");
        number["description"] =
            format!("{} {}", quantity.obis(), quantity.unit().symbol()).trim_end().into();
        add_field(&mut schema, &path, number);
    }
    schema
}

fn report_objects() -> Value {
    let mut schema = fields(&[
        ("objects[].logical_name", "text"),
        ("objects[].class", "count"),
        ("objects[].tag?", "count"),
        ("objects[].size?", "count"),
        ("objects[].unit?", "count"),
        ("objects[].scaler?", "integer"),
        ("objects[].push_object_list[]?.logical_name", "text"),
        ("objects[].push_object_list[]?.class", "count"),
        ("objects[].push_object_list[]?.attribute", "integer"),
        ("objects[].push_object_list[]?.data_index", "integer"),
    ]);
    let value = json!({ "type": ["number", "string"], "description": "A number, or bytes in hexadecimal." });
    add_field(&mut schema, "objects[].value?", value);
    schema
}

fn variables() -> Value {
    let names: Vec<&str> = VARIABLES.iter().map(|variable| variable.name).collect();
    list(json!({
        "type": "object",
        // The pattern covers the variables of meters behind the meter.
        "propertyNames": { "anyOf": [{ "enum": names }, { "pattern": "^vol\\[[0-9]+\\]\\." }] },
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": { "type": "string" },
    }))
}

/// The data of a live event. From firmware 2.0.0 on, values that the meter does not send are left out.
fn live() -> Value {
    let mut schema = fields(&[
        ("T?", "count"),
        ("Vol[]?.Bus", "count"),
        ("Vol[]?.M_ID", "text"),
        ("Vol[]?.DT?", "text"),
        ("Vol[]?.Cum?", "number"),
        ("Date", "date"),
        ("Time", "time"),
        ("Uptime", "number"),
    ]);
    for quantity in Quantity::ALL {
        if let Some(name) = quantity.live_field() {
            add_field(&mut schema, &format!("{name}?"), kind("number"));
        }
    }
    schema
}

fn scaler() -> Value {
    json!({
        "type": "object",
        "required": ["obis", "scaler"],
        "properties": {
            "obis": {
                "type": "string",
                "description": "0..254, 0..254 and 0..255 with dots between them.",
                "pattern": r"^[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}$",
            },
            "scaler": { "type": "integer", "minimum": -6, "maximum": 6 },
        },
    })
}

/// Returns the schema of a register set, of a response or of a request body.
fn register_set(is_response: bool) -> Value {
    let number = |max: usize| json!({ "type": "integer", "minimum": 0, "maximum": max });
    let last = usize::from(*limits::MODBUS_ADDRESSES.end());
    let address = |max: usize| {
        if is_response {
            json!({ "anyOf": [number(max), { "type": "string", "pattern": "^0x[0-9A-F]{4}$" }] })
        } else {
            number(max)
        }
    };
    let register = json!({
        "type": "object",
        "required": ["id"],
        "properties": {
            "id": { "type": "string" },
            "type": { "enum": ["short", "int", "long", "float", "double"] },
            "scaler": { "type": "integer", "minimum": -6, "maximum": 6 },
        },
    });
    let mut set = json!({
        "type": "object",
        "required": ["start_address", "registers"],
        "properties": {
            "start_address": address(last),
            "word_order": { "enum": ["msw", "lsw"] },
            "registers": list(register),
        },
    });
    if is_response {
        let properties = &mut set["properties"];
        properties["end_address"] = address(last + 1);
        properties["size"] = number(last + 1);
        properties["registers"]["items"]["properties"]["address"] = address(last);
        properties["registers"]["items"]["properties"]["size"] = number(last);
        return closed(set);
    }
    set
}
