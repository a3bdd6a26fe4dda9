//! The settings of a device: GET, PUT, POST and refusals.

use serde_json::{Map, Value, json};
use wwsim::device::Config;
use wwsim::device::config::table::{SchemaSide, SettingsObject};
use wwsim::device::config::{ETH_SETTINGS, METER_SETTINGS, MQTT_SETTINGS, SETTINGS, WIFI_SETTINGS};
use wwsim::journal::Event;

use crate::mqtt_settings::MQTT;
use crate::support::house::{TestHouse, http};

const SETTINGS_PATH: &str = "/api/v1/settings";
const METER: &str = "/api/v1/meter/settings";
const WIFI: &str = "/api/v1/wifi/sta/settings";
const ETH: &str = "/api/v1/eth/settings";

impl TestHouse {
    /// Returns the JSON of a GET, which must succeed.
    pub(crate) async fn get_json(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.json()
    }

    /// Writes a valid body, checks that the reply equals that of a GET, and returns it.
    pub(crate) async fn set(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = http(self.api_address(), method, path, &body.to_string()).await;
        assert_eq!(answer.status, 200, "{method} {path} {body}: {}", answer.body);
        let current = self.get_json(path).await;
        assert_eq!(answer.json(), current, "{method} {path} returns the new state");
        current
    }

    /// Writes an invalid body, checks that nothing changed, and returns the refused field.
    pub(crate) async fn refused_field(&self, method: &str, path: &str, body: &str) -> String {
        let before = self.get(path).await.body;
        let answer = http(self.api_address(), method, path, body).await;
        assert_eq!(answer.status, 400, "{method} {path} {body}: {}", answer.body);
        let error = answer.json();
        assert!(error["error"].is_string() && error["message"].is_string(), "{error}");
        assert_eq!(self.get(path).await.body, before, "{method} {path} {body} changes nothing");
        error["details"]["field"].as_str().unwrap().to_owned()
    }
}

/// Returns an object with `value` at `path`, such as `{"a":{"b":value}}`.
fn nested(path: &str, value: Value) -> Value {
    path.rsplit('.').fold(value, |inner, key| {
        let mut object = Map::new();
        object.insert(key.to_owned(), inner);
        Value::Object(object)
    })
}

/// Converts a path to a JSON pointer.
fn pointer(path: &str) -> String {
    format!("/{}", path.replace('.', "/"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_writes_of_different_fields_all_take_effect() {
    let house = TestHouse::start("").await;
    for round in 1..=20_u32 {
        let text = |prefix: &str| json!(format!("{prefix}{round}"));
        let writes = [
            (SETTINGS_PATH, "system.name", text("name")),
            (SETTINGS_PATH, "system.custom_ntp_server", text("ntp")),
            (SETTINGS_PATH, "services.report_interval", json!(round)),
            (SETTINGS_PATH, "services.sd.frequency", json!(100 + round)),
            (SETTINGS_PATH, "services.berry.run_delay", json!(200 + round)),
            (METER, "conv_factor", json!(300 + round)),
            (METER, "time_offset", json!(400 + round)),
            (METER, "buffer_size", json!(100 + round)),
            (WIFI, "name", text("wifi")),
            (MQTT, "client_id", text("client")),
            (MQTT, "username", text("user")),
            (MQTT, "publish.topic", text("topic")),
        ];
        let (mut tasks, to) = (tokio::task::JoinSet::new(), house.api_address());
        for (path, field, value) in writes.clone() {
            let body = nested(field, value).to_string();
            tasks.spawn(async move { http(to, "PUT", path, &body).await.status });
        }
        // A script has its own path but is part of the same configuration.
        let script = format!("print({round})");
        let body = script.clone();
        tasks.spawn(async move { http(to, "POST", "/api/v1/berry", &body).await.status });
        assert!(tasks.join_all().await.iter().all(|status| *status == 200));
        for (path, field, value) in writes {
            let current = house.get_json(path).await;
            assert_eq!(current.pointer(&pointer(field)), Some(&value), "{path} {field}");
        }
        assert_eq!(house.get("/api/v1/berry").await.body, script);
    }
}

#[tokio::test]
async fn a_new_device_returns_the_documented_defaults_in_order() {
    let house = TestHouse::start("").await;
    let expected = concat!(
        r#"{"system":{"name":"","host_name":"whatwatt-9F8124","protection":false,"#,
        r#""power_save":false,"p1_wifi_boost":true,"use_dhcp_ntp_server":false,"#,
        r#""custom_ntp_server":"","use_custom_ntp_server":false,"password_len":0},"#,
        r#""services":{"cloud":{"what_watt":true,"solar_manager":false,"mystrom":true,"#,
        r#""stromkonto":false},"local":{"solar_manager":false},"broadcast":true,"#,
        r#""other_energy_provider":false,"report_interval":30,"low_power_report":false,"#,
        r#""log":false,"meter_proxy":false,"sd":{"enable":false,"frequency":15,"#,
        r#""recorder_mode":false},"modbus":{"enable":false,"port":502},"#,
        r#""berry":{"auto_run":false,"run_delay":300}}}"#,
    );
    let answer = house.get(SETTINGS_PATH).await;
    assert_eq!((answer.status, &*answer.body), (200, expected));
    assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));

    let expected = concat!(
        r#"{"baudrate":115200,"parity":"none","stop_bits":"1","buffer_size":64,"#,
        r#""method":"Passive Push","encryption":false,"rx_invert":false,"tx_invert":false,"#,
        r#""auto_baudrate":true,"if_type":"auto","protocol":"auto","if_mode":"auto","#,
        r#""conv_factor":1,"time_offset":0,"sync_time_offset_with_ntp":false,"#,
        r#""scalers_set":"default"}"#,
    );
    assert_eq!(house.get(METER).await.body, expected);

    let none = r#""static_ip":false,"ip":"0.0.0.0","netmask":"0.0.0.0","gateway":"0.0.0.0","dns":"0.0.0.0""#;
    let expected = format!(r#"{{"enable":false,"name":"",{none},"max_tx_power":17}}"#);
    assert_eq!(house.get(WIFI).await.body, expected);
    assert_eq!(house.get(ETH).await.body, format!(r#"{{"enable":true,{none}}}"#));
}

#[tokio::test]
async fn a_put_changes_only_the_fields_it_contains() {
    let house = TestHouse::start("").await;
    let before = house.get_json(SETTINGS_PATH).await;
    let change = json!({"system": {"name": "Küche"}, "services": {"sd": {"frequency": 60}}});
    let after = house.set("PUT", SETTINGS_PATH, &change).await;
    let mut expected = before;
    expected["system"]["name"] = "Küche".into();
    expected["services"]["sd"]["frequency"] = 60.into();
    assert_eq!(after, expected);
    assert_eq!(house.set("PUT", SETTINGS_PATH, &json!({})).await, expected);
}

// Ruling: SETTING-1.
#[tokio::test]
async fn a_post_sets_omitted_fields_to_zero_or_the_default() {
    let house = TestHouse::start("").await;
    let all = json!({"system": {
        "name": "a", "host_name": "b", "p1_wifi_boost": true, "password": "secret12", "protection": false}});
    house.set("PUT", SETTINGS_PATH, &all).await;
    let after = house.set("POST", SETTINGS_PATH, &json!({"services": {"log": true}})).await;
    assert_eq!(
        after,
        json!({
            "system": {
                "name": "", "host_name": "whatwatt-9F8124", "protection": false,
                "power_save": false, "p1_wifi_boost": false, "use_dhcp_ntp_server": false,
                "custom_ntp_server": "", "use_custom_ntp_server": false, "password_len": 0,
            },
            "services": {
                "cloud": {
                    "what_watt": false, "solar_manager": false, "mystrom": false,
                    "stromkonto": false,
                },
                "local": {"solar_manager": false}, "broadcast": false,
                "other_energy_provider": false, "report_interval": 30, "low_power_report": false,
                "log": true, "meter_proxy": false,
                "sd": {"enable": false, "frequency": 15, "recorder_mode": false},
                "modbus": {"enable": false, "port": 502},
                "berry": {"auto_run": false, "run_delay": 300},
            },
        })
    );

    let changed = json!({"baudrate": 9600, "auto_baudrate": false, "conv_factor": 40,
        "encryption": true, "encryption_key": "0123456789abcdef0123456789ABCDEF"});
    let before = house.get_json(METER).await;
    let after = house.set("PUT", METER, &changed).await;
    assert_eq!((&after["baudrate"], &after["conv_factor"]), (&json!(9600), &json!(40)));
    let after = house.set("POST", METER, &json!({"parity": "even"})).await;
    let mut expected = before;
    expected["parity"] = "even".into();
    assert_eq!(after, expected, "omitted meter settings get their defaults");

    house.set("PUT", ETH, &json!({"enable": true})).await;
    assert_eq!(house.set("POST", ETH, &json!({})).await["enable"], false);
    house.set("PUT", WIFI, &json!({"enable": true, "name": "home", "password": "12345678"})).await;
    let after = house.set("POST", WIFI, &json!({"name": "home"})).await;
    assert_eq!((&after["enable"], &after["max_tx_power"]), (&json!(false), &json!(0)));
}

#[tokio::test]
async fn secrets_are_never_returned() {
    let house = TestHouse::start("").await;
    let key = "0123456789abcdef0123456789abcdef";
    house.set("PUT", SETTINGS_PATH, &json!({"system": {"password": "grüezi"}})).await;
    house.set("PUT", METER, &json!({"encryption_key": key, "authentication_key": key})).await;
    house.set("PUT", WIFI, &json!({"name": "home", "password": "wpa-secret"})).await;
    for path in [SETTINGS_PATH, METER, WIFI] {
        let text = house.get(path).await.body;
        for secret in ["grüezi", "0123456789", "wpa-secret", "\"password\"", "_key"] {
            assert!(!text.contains(secret), "{path}: {text}");
        }
    }
    assert_eq!(house.get_json(SETTINGS_PATH).await["system"]["password_len"], 6);
    let journal = serde_json::to_string(&house.journal_entries()).unwrap();
    assert!(!journal.contains("grüezi") && !journal.contains(key) && !journal.contains("wpa-"));
}

// Ruling: SETTING-9.
#[tokio::test]
async fn zeros_clear_a_key_and_an_empty_string_keeps_it() {
    let house = TestHouse::start("").await;
    let key = || {
        let config = house.device().view().config;
        config.meter.encryption_key.map(|key| key.0)
    };
    let set = "00112233445566778899AABBCCDDEEFF";
    house.set("PUT", METER, &json!({"encryption_key": set})).await;
    let expected = Some(u128::from_str_radix(set, 16).unwrap().to_be_bytes());
    assert_eq!(key(), expected);
    house.set("PUT", METER, &json!({"encryption_key": "", "parity": "odd"})).await;
    assert_eq!(key(), expected);
    house.set("PUT", METER, &json!({"encryption_key": "0".repeat(32)})).await;
    assert_eq!(key(), None);
    house.set("PUT", METER, &json!({"encryption_key": set})).await;
    house.set("POST", METER, &json!({"encryption_key": ""})).await;
    assert_eq!(key(), None, "a POST without a key clears it");
    for wrong in ["0", "g0112233445566778899AABBCCDDEEFF", "00112233445566778899AABBCCDDEEFF0"] {
        let body = json!({"encryption_key": wrong}).to_string();
        assert_eq!(house.refused_field("PUT", METER, &body).await, "encryption_key");
    }
}

/// Collects the leaves of a schema with their paths.
fn leaves(schema: &Value, parent: &str, fields: &mut Vec<(String, Value)>) {
    for (key, member) in schema["properties"].as_object().unwrap() {
        let path = if parent.is_empty() { key.clone() } else { format!("{parent}.{key}") };
        if member["type"] == "object" {
            leaves(member, &path, fields);
        } else {
            fields.push((path, member.clone()));
        }
    }
}

/// Returns invalid values of a field, each invalid for another reason.
fn invalid_values(schema: &Value) -> Vec<Value> {
    let mut values = vec![json!([]), json!({}), json!([1])];
    // The type is an array if the field may be null.
    let nullable = schema["type"].is_array();
    let kind = schema["type"].as_str().or(schema["type"][0].as_str()).unwrap_or("string");
    if !nullable {
        values.push(Value::Null);
    }
    if kind != "boolean" {
        values.push(json!(true));
    }
    if kind != "string" {
        values.extend([json!("1"), json!("true"), json!("")]);
    }
    if kind == "string" || kind == "boolean" {
        values.extend([json!(0), json!(1), json!(1.5)]);
    }
    if let (Some(min), Some(max)) = (schema["minimum"].as_f64(), schema["maximum"].as_f64()) {
        values.extend([json!(max + 1.0), json!(min - 1.0), json!(1e300), json!(-1e300)]);
    }
    if kind == "integer" {
        values.extend([json!(1.5), json!(u64::MAX), json!(i64::MIN)]);
    }
    if let Some(step) = schema["multipleOf"].as_f64() {
        values.push(json!(step / 2.0));
    }
    if let Some(names) = schema["enum"].as_array() {
        let word = names[0].as_str().unwrap();
        values.extend([json!(""), json!(word.to_uppercase()), json!(format!("{word} "))]);
    }
    // A longer text would exceed the limit of the whole body first.
    if let Some(max) = schema["maxLength"].as_u64().filter(|max| *max < 4096) {
        values.push(json!("x".repeat(usize::try_from(max).unwrap() + 1)));
    }
    if schema["format"] == "ipv4" {
        values.extend(
            ["", "1.2.3", "1.2.3.256", "1.2.3.4.5", "01.2.3.4", "::1", "host", " 1.2.3.4"]
                .map(Value::from),
        );
    }
    if schema["pattern"] == "^([0-9A-Fa-f]{32})?$" {
        values.extend([json!("0".repeat(31)), json!("g".repeat(32))]);
    }
    // A string without letters equals its upper-case form, which is valid.
    values.retain(|value| !schema["enum"].as_array().is_some_and(|names| names.contains(value)));
    values
}

/// Writes each invalid value of each field, with PUT and POST.
async fn check_invalid_values<T: Clone>(path: &str, object: &SettingsObject<T>) {
    let house = TestHouse::start("").await;
    let id = "A842E39F8124".parse().unwrap();
    let factory = Config::factory(&id);
    let mut fields = Vec::new();
    leaves(&object.schema(SchemaSide::Write, (object.accessor.get)(&factory)), "", &mut fields);
    for (field, schema) in &fields {
        for value in invalid_values(schema) {
            let body = nested(field, value.clone()).to_string();
            for method in ["PUT", "POST"] {
                assert_eq!(
                    &house.refused_field(method, path, &body).await,
                    field,
                    "{method} {body}"
                );
            }
        }
        let group = field.rsplit_once('.').map(|(group, _)| group);
        if let Some(group) = group {
            let body = nested(group, json!(1)).to_string();
            assert_eq!(house.refused_field("PUT", path, &body).await, group);
        }
    }
    for body in ["", "{", "[]", "1", "null", "\"x\"", "{\"a\":1}}", "\u{feff}\u{feff}{}"] {
        assert_eq!(house.refused_field("PUT", path, body).await, "", "{body}");
        assert_eq!(house.refused_field("POST", path, body).await, "", "{body}");
    }
}

// Ruling: HTTP-10.
#[tokio::test]
async fn invalid_values_of_each_settings_field_are_refused() {
    check_invalid_values(SETTINGS_PATH, &SETTINGS).await;
}

#[tokio::test]
async fn invalid_values_of_each_meter_field_are_refused() {
    check_invalid_values(METER, &METER_SETTINGS).await;
}

// Ruling: SETTING-11.
#[tokio::test]
async fn invalid_values_of_each_wifi_field_are_refused() {
    check_invalid_values(WIFI, &WIFI_SETTINGS).await;
}

#[tokio::test]
async fn invalid_values_of_each_ethernet_field_are_refused() {
    check_invalid_values(ETH, &ETH_SETTINGS).await;
}

#[tokio::test]
async fn invalid_values_of_each_mqtt_field_are_refused() {
    check_invalid_values(crate::mqtt_settings::MQTT, &MQTT_SETTINGS).await;
}

/// Writes the minimum, the maximum and every string that the schema allows.
async fn check_limits<T: Clone>(path: &str, object: &SettingsObject<T>, with: &Value) {
    let house = TestHouse::start("").await;
    // `power_save` requires that Ethernet is off.
    house.set("PUT", ETH, &json!({"enable": false})).await;
    let id = "A842E39F8124".parse().unwrap();
    let factory = Config::factory(&id);
    let mut fields = Vec::new();
    leaves(&object.schema(SchemaSide::Write, (object.accessor.get)(&factory)), "", &mut fields);
    for (field, schema) in &fields {
        let mut values = vec![schema["default"].clone()];
        values
            .extend(["minimum", "maximum"].iter().filter_map(|bound| schema.get(*bound).cloned()));
        values.extend(schema["enum"].as_array().into_iter().flatten().cloned());
        if schema["type"] == "boolean" {
            values.extend([json!(true), json!(false)]);
        }
        if schema["format"] == "ipv4" {
            values.push(json!("255.255.255.255"));
        }
        if let Some(max) = schema["maxLength"].as_u64() {
            values.push(json!("x".repeat(usize::try_from(max).unwrap())));
        }
        for value in values {
            let mut body = with.clone();
            merge(&mut body, nested(field, value.clone()));
            let after = house.set("PUT", path, &body).await;
            if schema["writeOnly"] != true && field != "max_power" && field != "system.host_name"
                // An invalid host name is dropped.
                && field != "system.custom_ntp_server"
            {
                let stored = after.pointer(&pointer(field)).unwrap();
                assert!(is_equal(stored, &value), "{field}: {value} is returned as {stored}");
            }
        }
    }
}

/// Writes valid values to each stored-only field, and checks that the device and its meter do not
/// change.
async fn check_stored_only<T: Clone>(house: &TestHouse, path: &str, object: &SettingsObject<T>) {
    let replies = async || {
        let mut replies = Vec::new();
        for path in
            ["/api/v1/system", "/api/v1/report", "/api/v1/report/objects", "/api/v1/variables"]
        {
            replies.push(house.get(path).await.body);
        }
        replies
    };
    let before = replies().await;
    let factory = Config::factory(&"A842E39F8124".parse().unwrap());
    let mut fields = Vec::new();
    leaves(&object.schema(SchemaSide::Write, (object.accessor.get)(&factory)), "", &mut fields);
    let stored: Vec<_> = object.fields.iter().filter(|field| field.stored_only).collect();
    assert!(!stored.is_empty());
    for field in stored {
        let (_, schema) = fields.iter().find(|(name, _)| name == field.path).unwrap();
        let mut values: Vec<_> =
            ["minimum", "maximum"].iter().filter_map(|bound| schema.get(*bound).cloned()).collect();
        values.extend(schema["enum"].as_array().into_iter().flatten().cloned());
        if schema["type"] == "boolean" {
            values.extend([json!(true), json!(false), json!(true)]);
        }
        if schema["type"] == "string" {
            values.push(json!("time.example"));
        }
        assert!(!values.is_empty(), "{}", field.path);
        for value in values {
            let after = house.set("PUT", path, &nested(field.path, value.clone())).await;
            assert!(
                is_equal(after.pointer(&pointer(field.path)).unwrap(), &value),
                "{}",
                field.path
            );
            house.settle().await;
            assert_eq!(replies().await, before, "{}: {value}", field.path);
        }
    }
}

// Ruling: SETTING-16.
#[tokio::test]
async fn stored_only_settings_have_no_effect() {
    let yaml = "device: {meter: {kind: landis_gyr}, wifi: {enable: true, name: home, password: '12345678'}}";
    let house = TestHouse::start(yaml).await;
    house.advance(std::time::Duration::from_mins(1)).await;
    check_stored_only(&house, SETTINGS_PATH, &SETTINGS).await;
    check_stored_only(&house, METER, &METER_SETTINGS).await;
    check_stored_only(&house, WIFI, &WIFI_SETTINGS).await;
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

fn is_equal(one: &Value, other: &Value) -> bool {
    match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => one.to_bits() == other.to_bits(),
        _ => one == other,
    }
}

#[tokio::test]
async fn each_field_accepts_the_limits_of_its_range() {
    check_limits(SETTINGS_PATH, &SETTINGS, &json!({})).await;
    check_limits(METER, &METER_SETTINGS, &json!({})).await;
    let address = json!({"ip": "1.1.1.1", "netmask": "255.0.0.0", "gateway": "1.1.1.1", "dns": "1.1.1.1", "static_ip": false});
    check_limits(ETH, &ETH_SETTINGS, &address).await;
    let mut wifi = address;
    wifi["name"] = "home".into();
    check_limits(WIFI, &WIFI_SETTINGS, &wifi).await;
}

// Ruling: SETTING-2, SETTING-5.
#[tokio::test]
async fn unknown_keys_are_ignored_and_recorded_in_the_journal() {
    let house = TestHouse::start("").await;
    let before = house.get_json(SETTINGS_PATH).await;
    let body = json!({"system": {"colour": 1, "password_len": 7}, "x.y": 1, "services": {"sd": {"z": {}}},
        "system.name": "dotted"});
    assert_eq!(house.set("PUT", SETTINGS_PATH, &body).await, before);
    let keys: Vec<_> = house
        .journal_entries()
        .into_iter()
        .filter_map(|entry| match entry.event {
            Event::KeysIgnored { object, keys, .. } => Some((object, keys)),
            _ => None,
        })
        .collect();
    let expected = ["system.colour", "x.y", "services.sd.z", "system.name"].map(String::from);
    assert_eq!(keys, [("settings", expected.to_vec())]);
    let many: Map<String, Value> = (0..200).map(|n| (format!("k{n}"), json!(0))).collect();
    house.set("PUT", SETTINGS_PATH, &Value::Object(many)).await;
    let last = house.journal_entries().into_iter().rev().find_map(|entry| match entry.event {
        Event::KeysIgnored { keys, .. } => Some(keys.len()),
        _ => None,
    });
    assert_eq!(last, Some(16));
}

#[tokio::test]
async fn the_journal_names_changed_and_refused_fields() {
    let house = TestHouse::start("").await;
    let body = json!({"system": {"password": "x", "protection": false}, "services": {"log": true}});
    house.set("PUT", SETTINGS_PATH, &body).await;
    house.refused_field("PUT", ETH, r#"{"enable": 1}"#).await;
    let events: Vec<_> = house.journal_entries().into_iter().map(|entry| entry.event).collect();
    let device = || "A842E39F8124".into();
    let (fields, field) = (vec!["system.password", "services.log"], "enable".into());
    assert!(events.contains(&Event::SettingsChanged {
        device: device(),
        object: "settings",
        fields
    }));
    assert!(events.contains(&Event::SettingsRefused {
        device: device(),
        object: "eth/settings",
        field
    }));
}

// Ruling: SETTING-6.
#[tokio::test]
async fn a_host_name_is_one_label_and_empty_means_the_default() {
    let house = TestHouse::start("").await;
    for good in ["a", "whatwatt_9F8124", "Go-1", "0", &"x".repeat(31)] {
        let body = json!({"system": {"host_name": good}});
        assert_eq!(house.set("PUT", SETTINGS_PATH, &body).await["system"]["host_name"], *good);
    }
    for bad in ["-a", "a-", "a b", "a.b", "ü", "a\u{0}", &"x".repeat(32), "a/b", "_ "] {
        let body = json!({"system": {"host_name": bad}}).to_string();
        assert_eq!(
            house.refused_field("PUT", SETTINGS_PATH, &body).await,
            "system.host_name",
            "{bad:?}"
        );
    }
    let after = house.set("PUT", SETTINGS_PATH, &json!({"system": {"host_name": ""}})).await;
    assert_eq!(after["system"]["host_name"], "whatwatt-9F8124");
}

// Ruling: SETTING-7.
#[tokio::test]
async fn an_invalid_time_server_is_dropped_and_disabled() {
    let house = TestHouse::start("").await;
    let server = async |name: &str| {
        let body = json!({"system": {"custom_ntp_server": name, "use_custom_ntp_server": true}});
        let after = house.set("PUT", SETTINGS_PATH, &body).await;
        let system = &after["system"];
        (system["custom_ntp_server"].clone(), system["use_custom_ntp_server"].clone())
    };
    for good in ["time.cloudflare.com", "10.0.0.1", "2001:db8::1", "ntp", "0.ch.pool.ntp.org"] {
        assert_eq!(server(good).await, (json!(good), json!(true)));
    }
    for bad in ["a b", "-x.ch", "1.2.3.456", "x..y", "http://time.ch", &"y".repeat(64)] {
        assert_eq!(server(bad).await, (json!(""), json!(false)), "{bad}");
    }
    assert_eq!(server("").await, (json!(""), json!(true)), "an empty name is not dropped");
    let long = json!({"system": {"custom_ntp_server": "y".repeat(128)}}).to_string();
    assert_eq!(house.refused_field("PUT", SETTINGS_PATH, &long).await, "system.custom_ntp_server");
}

// Ruling: SETTING-8.
#[tokio::test]
async fn power_save_is_refused_while_ethernet_is_up() {
    let house = TestHouse::start("").await;
    let save = json!({"system": {"power_save": true}});
    let field = house.refused_field("PUT", SETTINGS_PATH, &save.to_string()).await;
    assert_eq!(field, "system.power_save");
    assert_eq!(house.refused_field("POST", SETTINGS_PATH, &save.to_string()).await, field);
    house.set("PUT", ETH, &json!({"enable": false})).await;
    assert_eq!(house.set("PUT", SETTINGS_PATH, &save).await["system"]["power_save"], true);
    // Ethernet may be enabled, but stays down while `power_save` is on.
    house.set("PUT", ETH, &json!({"enable": true})).await;
    house.set("PUT", SETTINGS_PATH, &save).await;
}

// Ruling: SETTING-12.
#[tokio::test]
async fn a_static_address_must_be_complete() {
    let complete = json!({"static_ip": true, "ip": "192.168.1.2", "netmask": "255.255.255.0",
        "gateway": "192.168.1.1", "dns": "8.8.8.8"});
    for path in [WIFI, ETH] {
        let house = TestHouse::start("").await;
        assert_eq!(house.refused_field("PUT", path, r#"{"static_ip":true}"#).await, "ip");
        for part in ["ip", "netmask", "gateway", "dns"] {
            let mut incomplete = complete.clone();
            incomplete[part] = "0.0.0.0".into();
            assert_eq!(house.refused_field("POST", path, &incomplete.to_string()).await, part);
        }
        for mask in ["255.0.255.0", "0.255.255.255", "255.255.255.253"] {
            let body = json!({"netmask": mask}).to_string();
            assert_eq!(house.refused_field("PUT", path, &body).await, "netmask");
        }
        for mask in ["128.0.0.0", "255.255.254.0", "255.255.255.255"] {
            house.set("PUT", path, &json!({"netmask": mask})).await;
        }
        let after = house.set("PUT", path, &complete).await;
        assert_eq!((&after["static_ip"], &after["ip"]), (&json!(true), &json!("192.168.1.2")));
        let field = house.refused_field("PUT", path, r#"{"dns":"0.0.0.0"}"#).await;
        assert_eq!(field, "dns", "even if the body contains only one part");
    }
}

// Ruling: SETTING-3, SETTING-11, SETTING-13.
#[tokio::test]
async fn the_wifi_client_needs_a_network_and_a_valid_password() {
    let house = TestHouse::start("").await;
    assert_eq!(house.refused_field("PUT", WIFI, r#"{"enable":true}"#).await, "name");
    // 17 characters of two bytes each: the limit of an SSID is in bytes.
    let long = json!({"name": "é".repeat(17)}).to_string();
    assert_eq!(house.refused_field("PUT", WIFI, &long).await, "name");
    for bad in ["1234567", &"x".repeat(65)] {
        let body = json!({"password": bad}).to_string();
        assert_eq!(house.refused_field("PUT", WIFI, &body).await, "password");
    }
    for good in ["", "12345678", &"f".repeat(64), &"x".repeat(64)] {
        let body = json!({"enable": true, "name": "home", "password": good});
        assert_eq!(house.set("PUT", WIFI, &body).await["name"], "home");
    }
    let after = house.set("PUT", WIFI, &json!({"max_power": 20.5})).await;
    assert_eq!(after["max_tx_power"], 20.5);
    let after = house.set("PUT", WIFI, &json!({"max_tx_power": 10, "max_power": 20})).await;
    assert_eq!(after["max_tx_power"], 10, "the path wins over the alias");
    let after = house.set("PUT", WIFI, &json!({"max_power": 20, "max_tx_power": 11})).await;
    assert_eq!(after["max_tx_power"], 11);
    let field = house.refused_field("PUT", WIFI, r#"{"max_tx_power":1,"max_power":99}"#).await;
    assert_eq!(field, "max_power");
}

// Ruling: SETTING-15.
#[tokio::test]
async fn deleting_the_wifi_settings_disables_the_client() {
    let house = TestHouse::start("").await;
    let factory = house.get(WIFI).await.body;
    house.set("PUT", WIFI, &json!({"enable": true, "name": "home", "max_tx_power": 3})).await;
    let answer = http(house.api_address(), "DELETE", WIFI, "").await;
    assert_eq!((answer.status, &*answer.body), (204, ""));
    assert_eq!(house.get(WIFI).await.body, factory);
}

// Ruling: HTTP-2, HTTP-3.
#[tokio::test]
async fn other_methods_are_405_and_large_bodies_413() {
    let house = TestHouse::start("").await;
    for (path, allowed) in [
        (SETTINGS_PATH, "GET, PUT, POST"),
        (METER, "GET, PUT, POST"),
        (WIFI, "GET, PUT, POST, DELETE"),
        (ETH, "GET, PUT, POST"),
    ] {
        for method in ["DELETE", "PATCH", "HEAD"] {
            if allowed.contains(method) {
                continue;
            }
            let answer = http(house.api_address(), method, path, "").await;
            assert_eq!((answer.status, answer.header("allow")), (405, Some(allowed)), "{method}");
        }
        let before = house.get(path).await.body;
        let padded = |bytes: usize| format!("{{{}}}", " ".repeat(bytes - 2));
        for method in ["PUT", "POST"] {
            let answer = http(house.api_address(), method, path, &padded(8193)).await;
            assert_eq!(answer.status, 413, "{method} {path}");
        }
        assert_eq!(house.get(path).await.body, before);
        assert_eq!(http(house.api_address(), "PUT", path, &padded(8192)).await.status, 200);
    }
}

// Ruling: FIRMWARE-2.
#[tokio::test]
async fn settings_that_the_firmware_lacks_are_ignored_and_omitted() {
    let old = TestHouse::start("device: {firmware: 2.0.0}").await;
    let body = json!({"services": {"sd": {"recorder_mode": true, "enable": true}}});
    let after = old.set("PUT", SETTINGS_PATH, &body).await;
    assert_eq!(after["services"]["sd"], json!({"enable": true, "frequency": 15}));
    let wrong = json!({"services": {"sd": {"recorder_mode": "what"}}});
    old.set("PUT", SETTINGS_PATH, &wrong).await;

    let older = TestHouse::start("device: {firmware: 1.2.15}").await;
    let settings = older.get_json(SETTINGS_PATH).await;
    assert!(settings["services"]["modbus"].is_null() && settings["services"]["berry"].is_null());
    older.set("PUT", SETTINGS_PATH, &json!({"services": {"modbus": 1}})).await;
}
