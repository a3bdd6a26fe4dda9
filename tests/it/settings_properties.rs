//! Whatever JSON a client sends to an object of the configuration: it is refused with nothing changed,
//! or taken, and then what the schema says of it holds.

use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use jsonschema::Validator;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use wwsim::clock::{Clock, Speed};
use wwsim::device::config::table::{Object, SchemaSide, Write};
use wwsim::device::config::{ETH_SETTINGS, METER_SETTINGS, MQTT_SETTINGS, SETTINGS, WIFI_SETTINGS};
use wwsim::device::{self, Config, Device, Firmware, Identity, License};
use wwsim::fault::Engine;
use wwsim::journal::Journal;

/// Keys that lead somewhere, and some that do not.
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

/// The schemas of an object: of what it takes, and of what it shows.
type Schemas = LazyLock<[Validator; 2]>;

fn schemas<T>(object: &Object<T>) -> [Validator; 2] {
    let factory = Config::factory(&"A842E39F8124".parse().unwrap());
    let of = |side| object.schema(side, (object.of.get)(&factory));
    [SchemaSide::Write, SchemaSide::Read].map(|side| jsonschema::validator_for(&of(side)).unwrap())
}

static SETTINGS_SCHEMAS: Schemas = LazyLock::new(|| schemas(&SETTINGS));
static METER_SCHEMAS: Schemas = LazyLock::new(|| schemas(&METER_SETTINGS));
static WIFI_SCHEMAS: Schemas = LazyLock::new(|| schemas(&WIFI_SETTINGS));
static ETH_SCHEMAS: Schemas = LazyLock::new(|| schemas(&ETH_SETTINGS));
static MQTT_SCHEMAS: Schemas = LazyLock::new(|| schemas(&MQTT_SETTINGS));

/// Writes `given` to a device, and holds the outcome to what is promised.
fn hold<T: Clone>(
    object: &Object<T>,
    [taken, shows]: &[Validator; 2],
    given: &Value,
    write: Write,
) -> Result<(), TestCaseError> {
    let device = device();
    let before = device.view().config;
    let well_formed = taken.is_valid(given);
    match device.write_object(object, given, write) {
        Err(errors) => {
            prop_assert!(!errors.is_empty());
            prop_assert!(Arc::ptr_eq(&before, &device.view().config), "a refusal changes nothing");
        }
        Ok(now) => {
            prop_assert!(well_formed, "taken, but not by the schema: {given}");
            let printed = object.print(&now, Firmware::DEFAULT);
            let json: Value = serde_json::from_str(&printed).unwrap();
            prop_assert!(shows.is_valid(&json), "{printed}");
            // What is shown can be sent back, and says the same. Secrets are not shown, so that they
            // stay with a PUT.
            let again = device.write_object(object, &json, Write::Merge);
            let again = again.map_err(|errors| TestCaseError::fail(format!("{errors:?}")))?;
            prop_assert_eq!(object.print(&again, Firmware::DEFAULT), printed);
        }
    }
    Ok(())
}

fn write() -> impl Strategy<Value = Write> {
    prop::sample::select(vec![Write::Merge, Write::Replace])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn any_json_for_the_settings(given in object(), write in write()) {
        hold(&SETTINGS, &SETTINGS_SCHEMAS, &given, write)?;
    }

    #[test]
    fn any_json_for_the_meter(given in object(), write in write()) {
        hold(&METER_SETTINGS, &METER_SCHEMAS, &given, write)?;
    }

    #[test]
    fn any_json_for_wifi(given in object(), write in write()) {
        hold(&WIFI_SETTINGS, &WIFI_SCHEMAS, &given, write)?;
    }

    #[test]
    fn any_json_for_ethernet(given in object(), write in write()) {
        hold(&ETH_SETTINGS, &ETH_SCHEMAS, &given, write)?;
    }

    #[test]
    fn any_json_for_mqtt(given in object(), write in write()) {
        hold(&MQTT_SETTINGS, &MQTT_SCHEMAS, &given, write)?;
    }
}
