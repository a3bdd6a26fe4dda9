//! Properties of the settings objects for any JSON: a write is refused and changes nothing, or it is
//! accepted and the result conforms to the schema.

use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use jsonschema::Validator;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use wwsim::clock::{Clock, Speed};
use wwsim::device::config::table::{SchemaSide, SettingsObject, WriteMode};
use wwsim::device::config::{ETH_SETTINGS, METER_SETTINGS, MQTT_SETTINGS, SETTINGS, WIFI_SETTINGS};
use wwsim::device::{self, Config, Device, Firmware, Identity, License};
use wwsim::fault::Engine;
use wwsim::journal::Journal;

/// Keys of the settings objects, and some unknown ones.
const KEYS: &[&str] = &[
    "system",
    "services",
    "cloud",
    "sd",
    "modbus",
    "berry",
    "local",
    "enable",
    "name",
    "host_name",
    "password",
    "power_save",
    "custom_ntp_server",
    "use_custom_ntp_server",
    "report_interval",
    "frequency",
    "port",
    "run_delay",
    "recorder_mode",
    "static_ip",
    "ip",
    "netmask",
    "gateway",
    "dns",
    "max_tx_power",
    "max_power",
    "baudrate",
    "parity",
    "stop_bits",
    "method",
    "encryption_key",
    "conv_factor",
    "time_offset",
    "scalers_set",
    "password_len",
    "x",
    "",
    "system.name",
];

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        (-2_i64..70_000).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-10.0..50.0).prop_map(|number: f64| json!((number * 4.0).round() / 4.0)),
        any::<f64>().prop_map(|number| json!(number)),
        ".{0,40}".prop_map(Value::from),
        "[a-z0-9_.-]{0,12}".prop_map(Value::from),
        "[0-9a-f]{32}".prop_map(Value::from),
        prop::sample::select(vec![
            "none",
            "even",
            "1",
            "1.5",
            "auto",
            "p1",
            "Passive Push",
            "default",
            "192.168.1.1",
            "0.0.0.0",
            "255.255.255.0",
            "home",
            "12345678",
        ])
        .prop_map(Value::from),
    ]
}

fn key() -> impl Strategy<Value = String> {
    prop::sample::select(KEYS).prop_map(str::to_owned)
}

fn object() -> impl Strategy<Value = Value> {
    let nested = scalar().prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            4 => prop::collection::vec((key(), inner.clone()), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
            1 => prop::collection::vec(inner, 0..3).prop_map(Value::Array),
        ]
    });
    prop::collection::vec((key(), nested), 0..5)
        .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>()))
}

fn device() -> Arc<Device> {
    let clock = Clock::new(Timestamp::UNIX_EPOCH, Speed::Manual);
    let journal = Arc::new(Journal::new(clock.clone()));
    let engine = Arc::new(Engine::new(1, clock.clone(), Arc::clone(&journal), vec![]));
    let identity = Identity { id: "A842E39F8124".parse().unwrap(), license: License::Plus };
    Device::new(device::Setup::new(identity), clock, engine, journal)
}

/// The schemas of an object for writing and for reading.
type Schemas = LazyLock<[Validator; 2]>;

fn schemas<T>(object: &SettingsObject<T>) -> [Validator; 2] {
    let factory = Config::factory(&"A842E39F8124".parse().unwrap());
    let schema = |side| object.schema(side, (object.accessor.get)(&factory));
    [SchemaSide::Write, SchemaSide::Read]
        .map(|side| jsonschema::validator_for(&schema(side)).unwrap())
}

static SETTINGS_SCHEMAS: Schemas = LazyLock::new(|| schemas(&SETTINGS));
static METER_SCHEMAS: Schemas = LazyLock::new(|| schemas(&METER_SETTINGS));
static WIFI_SCHEMAS: Schemas = LazyLock::new(|| schemas(&WIFI_SETTINGS));
static ETH_SCHEMAS: Schemas = LazyLock::new(|| schemas(&ETH_SETTINGS));
static MQTT_SCHEMAS: Schemas = LazyLock::new(|| schemas(&MQTT_SETTINGS));

/// Writes `body` to a device and checks the outcome.
fn check_write<T: Clone>(
    object: &SettingsObject<T>,
    [write_schema, read_schema]: &[Validator; 2],
    body: &Value,
    mode: WriteMode,
) -> Result<(), TestCaseError> {
    let device = device();
    let before = device.view().config;
    let conforms = write_schema.is_valid(body);
    match device.write_object(object, body, mode) {
        Err(errors) => {
            prop_assert!(!errors.is_empty());
            prop_assert!(Arc::ptr_eq(&before, &device.view().config), "a refusal changes nothing");
        }
        Ok(value) => {
            prop_assert!(conforms, "accepted, but the schema refuses it: {body}");
            let text = object.to_json(&value, Firmware::DEFAULT);
            let json: Value = serde_json::from_str(&text).unwrap();
            prop_assert!(read_schema.is_valid(&json), "{text}");
            // A PUT of the reply changes nothing. The reply omits secrets, which a PUT then keeps.
            let again = device.write_object(object, &json, WriteMode::Merge);
            let again = again.map_err(|errors| TestCaseError::fail(format!("{errors:?}")))?;
            prop_assert_eq!(object.to_json(&again, Firmware::DEFAULT), text);
        }
    }
    Ok(())
}

fn mode() -> impl Strategy<Value = WriteMode> {
    prop::sample::select(vec![WriteMode::Merge, WriteMode::Replace])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn a_write_of_any_json_to_the_settings_is_sound(body in object(), mode in mode()) {
        check_write(&SETTINGS, &SETTINGS_SCHEMAS, &body, mode)?;
    }

    #[test]
    fn a_write_of_any_json_to_the_meter_settings_is_sound(body in object(), mode in mode()) {
        check_write(&METER_SETTINGS, &METER_SCHEMAS, &body, mode)?;
    }

    #[test]
    fn a_write_of_any_json_to_the_wifi_settings_is_sound(body in object(), mode in mode()) {
        check_write(&WIFI_SETTINGS, &WIFI_SCHEMAS, &body, mode)?;
    }

    #[test]
    fn a_write_of_any_json_to_the_ethernet_settings_is_sound(body in object(), mode in mode()) {
        check_write(&ETH_SETTINGS, &ETH_SCHEMAS, &body, mode)?;
    }

    #[test]
    fn a_write_of_any_json_to_the_mqtt_settings_is_sound(body in object(), mode in mode()) {
        check_write(&MQTT_SETTINGS, &MQTT_SCHEMAS, &body, mode)?;
    }
}
