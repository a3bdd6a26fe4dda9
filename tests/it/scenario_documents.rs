//! Whatever `check` takes, `run` starts, and nothing of it is dropped without a mistake: held over documents
//! that are made from the JSON Schema, with numbers and texts at the edges of their ranges.

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{TestError, TestRunner};
use serde_json::{Map, Value, json};
use wwsim::House;
use wwsim::limits;
use wwsim::modbus::bank::Table;
use wwsim::scenario::{self, Scenario, SlavePlan};

use crate::support::house::{TestHouse, http};
use crate::support::within;

/// Documents that are made. Many have a mistake of meaning; the others are started.
const DOCUMENTS: u32 = 1500;
/// The documents of them that start at least, so that the property says something.
const STARTS: usize = 200;

/// The keys that name files, which a document without a folder cannot have.
const FILE_KEYS: [&str; 2] = ["actions_file", "replay"];

/// The choices from which a document is made. Exhausted, it always takes the first, so that proptest makes a
/// document smaller by leaving choices out.
struct Choices<'a>(RefCell<std::slice::Iter<'a, u16>>);

impl Choices<'_> {
    /// Chooses a number below `count`.
    fn below(&self, count: usize) -> usize {
        usize::from(self.0.borrow_mut().next().copied().unwrap_or(0)) % count.max(1)
    }

    fn one_of(&self, values: &[Value]) -> Value {
        values[self.below(values.len())].clone()
    }
}

/// Makes documents from a schema.
struct Maker<'a> {
    schema: &'a Value,
    choices: Choices<'a>,
}

impl Maker<'_> {
    /// Makes a document: a whole one, or one around a part in which most can go wrong.
    fn document(&self) -> Value {
        match self.choices.below(8) {
            0 => {
                let table = ["holding", "input"][self.choices.below(2)];
                let registers = (0..=self.choices.below(2)).map(|_| self.definition("Register"));
                let registers: Value = registers.collect();
                json!({"slaves": {"a": {"units": {"1": {table: registers}}}}})
            }
            1 => json!({"slaves": {"a": {"units": {"255": self.definition("Unit")}}}}),
            2 => json!({"slaves": {"a": self.definition("Slave")}}),
            3 => json!({"http_targets": {"a": self.definition("Target")}}),
            4 => json!({"device": self.one_key_of("Device")}),
            5 => json!({
                "device": {"actions": {"actions": [
                    {"id": "a", "requests": [{"http": {"url": "http://a.local/"}}]},
                ]}},
                "slaves": {"a": {"units": {"1": {"holding": [{"address": "0..65535"}]}}}},
                "http_targets": {"a": {"hosts": ["a.local"]}},
                "faults": [self.definition("Rule"), self.definition("Rule")],
            }),
            6 => json!({"meter": self.definition("Meter"), "clock": self.definition("Clock")}),
            _ => self.value("", self.schema),
        }
    }

    fn definition(&self, name: &str) -> Value {
        self.value("", &self.schema["$defs"][name])
    }

    /// Makes a mapping with one key of a definition, which need not agree with others.
    fn one_key_of(&self, name: &str) -> Value {
        let properties = self.schema["$defs"][name]["properties"].as_object().unwrap();
        let keys: Vec<&String> =
            properties.keys().filter(|key| !FILE_KEYS.contains(&key.as_str())).collect();
        let key = keys[self.choices.below(keys.len())];
        json!({key: self.value(key, &properties[key])})
    }

    /// Makes a value of a schema. `key` is the one under which it stands.
    fn value(&self, key: &str, schema: &Value) -> Value {
        if let Some(name) = schema["$ref"].as_str() {
            let name = name.trim_start_matches("#/$defs/");
            return self.value(key, &self.schema["$defs"][name]);
        }
        if let Some(scalar) = schema["x-scalar"].as_str() {
            return self.scalar(key, scalar, schema);
        }
        if let Some(forms) = schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array()) {
            // `null` is the last form of an optional key, and seldom says anything.
            let forms: Vec<&Value> = forms.iter().filter(|form| form["type"] != "null").collect();
            return match self.choices.below(40) {
                39 if !key.is_empty() => Value::Null,
                choice => self.value(key, forms[choice % forms.len()]),
            };
        }
        if let Some(constant) = schema.get("const") {
            return constant.clone();
        }
        if let Some(words) = schema["enum"].as_array() {
            return self.choices.one_of(words);
        }
        let kinds = match &schema["type"] {
            Value::Array(kinds) => kinds.clone(),
            one => vec![one.clone()],
        };
        let kinds: Vec<&str> = kinds.iter().filter_map(Value::as_str).collect();
        let kinds: Vec<&str> = kinds.into_iter().filter(|kind| *kind != "null").collect();
        match kinds.get(self.choices.below(kinds.len())).copied() {
            Some("object") => self.object(schema),
            Some("array") => self.array(key, schema),
            Some("integer") => self.integer(key, schema),
            Some("number") => self.number(schema),
            Some("boolean") => json!(self.choices.below(2) == 0),
            _ => self.text(key),
        }
    }

    fn object(&self, schema: &Value) -> Value {
        let mut object = Map::new();
        let properties = schema["properties"].as_object();
        for key in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            object.insert(key.to_owned(), self.value(key, &schema["properties"][key]));
        }
        let names: Vec<&String> = properties
            .into_iter()
            .flat_map(Map::keys)
            .filter(|key| !FILE_KEYS.contains(&key.as_str()))
            .collect();
        // Few keys at a time, because most of them exclude each other.
        let more = if names.is_empty() { 0 } else { self.choices.below(4) };
        for _ in 0..more {
            let key = names[self.choices.below(names.len())];
            object.insert(key.clone(), self.value(key, &schema["properties"][key]));
        }
        let patterns = schema["patternProperties"].as_object().into_iter().flatten();
        for (pattern, of_key) in patterns.filter(|(pattern, _)| *pattern != "^x-") {
            let numbers = pattern.contains("25[0-5]");
            let names = if numbers { ["1", "0", "247", "255"] } else { ["a", "b", "1", "x.Y-_"] };
            for name in &names[..=self.choices.below(2)] {
                object.insert((*name).to_owned(), self.value(name, of_key));
            }
        }
        if schema["additionalProperties"].is_object() && properties.is_none() {
            let value = self.value("x", &schema["additionalProperties"]);
            object.insert("x".to_owned(), value);
        }
        Value::Object(object)
    }

    fn array(&self, key: &str, schema: &Value) -> Value {
        let least = usize::try_from(schema["minItems"].as_u64().unwrap_or(0)).unwrap();
        let most = schema["maxItems"].as_u64().map_or(usize::MAX, |most| most.try_into().unwrap());
        let count = (least + self.choices.below(3)).clamp(least, most);
        (0..count).map(|_| self.value(key, &schema["items"])).collect()
    }

    /// Chooses a whole number: an end of the range, its neighbour, or where types end.
    fn integer(&self, key: &str, schema: &Value) -> Value {
        let least = schema["minimum"].as_i64().map_or(i64::MIN.into(), i128::from);
        let most = schema["maximum"].as_i64().map_or(
            match schema["format"].as_str() {
                Some("uint64") => u64::MAX.into(),
                Some("uint32") => u32::MAX.into(),
                Some("int32") => i32::MAX.into(),
                _ => i64::MAX.into(),
            },
            i128::from,
        );
        let mut edges: Vec<i128> =
            vec![1, 0, 10, 2, 20, 200, 503, least, most, least + 1, most - 1];
        for bits in [7, 8, 15, 16, 31, 32, 53, 63] {
            edges.extend([(1_i128 << bits) - 1, 1 << bits, -(1 << bits)]);
        }
        if key == "function" {
            edges = vec![3, 4, 6, 16];
        }
        if most == limits::FLEET_DEVICES.into() {
            // More of them take longer and show no more.
            edges = vec![1, 2, 3];
        }
        edges.retain(|edge| (least..=most).contains(edge));
        match edges[self.choices.below(edges.len())] {
            edge if edge < 0 => json!(i64::try_from(edge).unwrap()),
            edge => json!(u64::try_from(edge).unwrap()),
        }
    }

    fn number(&self, schema: &Value) -> Value {
        let least = schema["minimum"].as_f64().unwrap_or(f64::MIN);
        let most = schema["maximum"].as_f64().unwrap_or(f64::MAX);
        let mut edges = vec![1.0, 0.0, 0.5, -1.0, 65_535.0, 65_536.0, 4_294_967_296.0, 1e-300];
        edges.extend([f64::MIN_POSITIVE, 1e18, f64::MAX, f64::MIN, least, most]);
        edges.retain(|edge| (least..=most).contains(edge));
        json!(edges[self.choices.below(edges.len())])
    }

    fn text(&self, key: &str) -> Value {
        let long = "x".repeat(300);
        let texts: &[&str] = match key {
            "url" => &["http://a.local/", "https://b.local:65535/x", "mqtt://a.local", "http://x"],
            "host" => &["a.local", "10.0.0.1", "x"],
            "value" => &["0001", "1", "", "-1", "1.5", "00000000"],
            "id" => &["a", "b", "1", "1.8.0", ""],
            "password" => &["12345678", "", "x"],
            "obis" => &["1.8.0", "255.255.255", "0.0.0"],
            _ => &["x", "", "0", "a.local", "192.168.0.1", "ä😀", &long],
        };
        json!(texts[self.choices.below(texts.len())])
    }

    /// Chooses a scalar with a form of its own.
    fn scalar(&self, key: &str, name: &str, schema: &Value) -> Value {
        let edges = match name {
            "Duration" => json!(["1s", 0, "0.000001ms", "1ms", "1m", "1d", "36525d", "100000h"]),
            "Range" => json!([
                0,
                "0..65535",
                1,
                10,
                65534,
                65535,
                "0..1",
                "0..3",
                "2..3",
                "10..20",
                "0..65535",
                "0..65534",
                "1..65535",
                "65534..65535",
                "65535..65535",
                "0xFFFE..0xFFFF",
                "32768..65535",
            ]),
            "Speed" => json!([1, "manual", 100_000, 1e-9]),
            "Timestamp" => json!([
                "2026-01-15T18:00:00+01:00",
                "1970-01-01T00:00:00Z",
                "2000-02-29T12:00:00Z",
                "2038-01-19T03:14:08Z",
                "1900-01-01T00:00:00Z",
                "0001-01-01T00:00:00Z",
                "-009999-01-03T00:00:00Z",
                "9999-12-29T00:00:00Z",
                "2262-04-11T23:47:17Z",
            ]),
            "SocketAddress" => json!(["127.0.0.1:0", "127.0.0.1:1", "127.0.0.1:65535"]),
            "Host" => json!(["a.local", "b.local:502", "10.0.0.1:65535", "x:1", "localhost"]),
            "Name" => json!(["a", "b", "1", "x.Y-_", "x".repeat(64)]),
            "Text" => match key {
                "slave" | "target" | "action" | "device" => json!(["a", "any", "b"]),
                "api" => json!(["any", "/api/v1/report"]),
                "name" | "network" | "ssid" => json!(["x", 1, true, "ä😀", "x".repeat(32)]),
                _ => json!(["x", "", 1, 1.50, true, "ä😀", "00", "x".repeat(300)]),
            },
            "Share" => json!(["10%", "0.0001%", "50%", "100%"]),
            "DeviceId" => {
                json!(["A842E39F8124", "FFFFFFFFFFFF", "000000000000", 123_456_789_012_u64])
            }
            "Firmware" => json!(["2.0.2", "0.0.0", "999.999.999", "1.6.0", "1.9.9", "1.2.20"]),
            "Origin" => json!(["*", "null", "http://localhost:*", "capacitor://localhost"]),
            "UrlPath" => json!(["/", "/light/0", "/*", "/api/v1/report"]),
            "Seconds" => json!([1, 0, "30s", "5m", u32::MAX]),
            "TimeOfDay" => json!(["07:00", "00:00", "24:00", "23:59"]),
            "Key" => json!(["0123456789ABCDEF0123456789ABCDEF", "F".repeat(32)]),
            "Mac" => json!(["DC15C84FBAB6", "000000000000", "FFFFFFFFFFFF"]),
            "MeterText" => json!(["LGZ1030784855204", "", 1, "~".repeat(24)]),
            _ => schema["enum"].clone(),
        };
        self.choices.one_of(edges.as_array().unwrap_or_else(|| panic!("no edges of {name}")))
    }
}

/// Returns the length of a list or mapping of the document; 0 if there is none.
fn length(value: &Value) -> usize {
    value.as_array().map_or_else(|| value.as_object().map_or(0, Map::len), Vec::len)
}

/// Asserts that a house has everything that its document has.
fn assert_complete(document: &Value, house: &Scenario) {
    let fleet = document["fleet"]["count"].as_u64();
    let devices: Vec<&Value> = match &document["devices"] {
        Value::Array(devices) => devices.iter().collect(),
        _ if fleet.is_some() && document["device"].is_null() => Vec::new(),
        _ => vec![&document["device"]],
    };
    let of_fleet = usize::try_from(fleet.unwrap_or(0)).unwrap();
    assert_eq!(house.devices.len(), devices.len() + of_fleet, "devices");
    for (device, plan) in devices.into_iter().zip(&house.devices) {
        let actions = plan.actions.as_ref().map_or(0, |definition| definition.actions().len());
        assert_eq!(actions, length(&device["actions"]["actions"]), "actions");
        assert_eq!(plan.hardware.images.len(), length(&device["images"]), "images");
        let networks = plan.site.networks.as_ref().map_or(0, |networks| networks.len());
        assert_eq!(networks, length(&device["networks"]), "networks");
        let files = plan.hardware.sd_card.as_ref().map_or(0, |card| card.files.len());
        assert_eq!(files, length(&device["sd_card"]["files"]), "files");
        assert_eq!(plan.access_policy.origins.len(), length(&device["cors"]["origins"]), "origins");
    }
    assert_eq!(house.slaves.len(), length(&document["slaves"]), "slaves");
    for plan in &house.slaves {
        let slave = &document["slaves"][&*plan.name];
        assert_eq!(plan.hosts.len(), length(&slave["hosts"]), "hosts of {}", plan.name);
        assert_eq!(plan.units.len(), length(&slave["units"]), "units of {}", plan.name);
        for (id, layout) in &plan.units {
            let unit = &slave["units"][id.to_string()];
            assert_eq!(layout.coils.len(), length(&unit["coils"]), "coils");
            assert_eq!(layout.discrete.len(), length(&unit["discrete"]), "discrete inputs");
            for (registers, table) in [(&layout.holding, "holding"), (&layout.input, "input")] {
                assert_eq!(registers.len(), length(&unit[table]), "{table}");
                let written = unit[table].as_array().into_iter().flatten();
                for (register, raw) in registers.iter().zip(written) {
                    let reactions = length(&raw["on_write"]);
                    assert_eq!(register.reactions.len(), reactions, "reactions");
                }
            }
        }
    }
    assert_eq!(house.http_targets.len(), length(&document["http_targets"]), "targets");
    for plan in &house.http_targets {
        let target = &document["http_targets"][&*plan.name];
        assert_eq!(plan.hosts.len(), length(&target["hosts"]), "hosts of {}", plan.name);
        if target["routes"].is_array() {
            assert_eq!(plan.routes.len(), length(&target["routes"]), "routes of {}", plan.name);
        }
    }
    assert_eq!(house.mqtt_brokers.len(), length(&document["mqtt_brokers"]), "brokers");
    assert_eq!(house.faults.len(), length(&document["faults"]), "rules");
}

/// Starts a house and uses all of it, before and after a reset.
async fn start(scenario: Scenario) {
    let plans = scenario.slaves.clone();
    let house = House::builder().loaded(scenario).manual_clock().any_port().start().await;
    let house = TestHouse { house: house.unwrap_or_else(|error| panic!("{error}")) };
    within(house.advance(Duration::from_secs(5))).await;
    use_house(&house, &plans).await;
    within(house.reset()).await;
    use_house(&house, &plans).await;
    house.house.stop().await;
}

/// Calls every action, moves the clock, looks at the devices, and reads the ends of all that slaves have.
async fn use_house(house: &TestHouse, plans: &[SlavePlan]) {
    for device in house.devices() {
        let definition = device.definition();
        for action in definition.iter().flat_map(|definition| definition.actions()) {
            // A call may be refused; it must not fail in another way.
            let _ = house.device_with_id(device.identity().id.as_str()).call(&action.id);
        }
    }
    within(house.advance(Duration::from_secs(1))).await;
    within(house.clock().jump(Duration::from_hours(24))).await.unwrap();
    read_slaves(house, plans);
    // The API may be gone or broken, as the document says; the control plane never is.
    for path in ["scenario", "faults", "journal", "clock"] {
        let path = format!("/control/v1/{path}");
        let reply = http(house.control_address(), "GET", &path, "");
        assert_eq!(within(reply).await.status, 200, "{path}");
    }
    let state = within(house.control_get("state")).await;
    assert_eq!(length(&state["devices"]), house.devices().count());
    for device in house.devices() {
        let _ = device.snapshot();
    }
}

fn read_slaves(house: &TestHouse, plans: &[SlavePlan]) {
    for plan in plans {
        let slave = house.slave(&plan.name);
        for (unit, layout) in &plan.units {
            let unit = *unit;
            let peek = |table, address: u16| {
                let read = slave.peek(unit, table, address, 1);
                assert!(read.is_some(), "unit {unit} has no {} {address}", table.name());
            };
            for (table, bits) in
                [(Table::Coils, &layout.coils), (Table::DiscreteInputs, &layout.discrete)]
            {
                for range in bits {
                    peek(table, *range.addresses.start());
                    peek(table, *range.addresses.end());
                }
            }
            for (table, registers) in
                [(Table::HoldingRegisters, &layout.holding), (Table::InputRegisters, &layout.input)]
            {
                for register in registers {
                    let words = u32::from(register.value_type.words()) * register.count;
                    let last = u32::from(register.address) + words - 1;
                    peek(table, register.address);
                    peek(table, u16::try_from(last).unwrap());
                }
            }
        }
    }
}

#[test]
fn what_check_takes_starts_with_all_that_it_says() {
    let schema: Value = serde_json::from_str(&scenario::json_schema()).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let started = AtomicUsize::new(0);
    let config = ProptestConfig { cases: DOCUMENTS, ..ProptestConfig::default() };
    let choices = proptest::collection::vec(any::<u16>(), 0..160);
    let outcome = TestRunner::new(config).run(&choices, |choices| {
        let choices = Choices(RefCell::new(choices.iter()));
        let document = Maker { schema: &schema, choices }.document();
        let text = document.to_string();
        let report = match scenario::load(&text, "house.json", None) {
            Ok(house) => {
                let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    assert_complete(&document, &house);
                    // A warning keeps no house from starting.
                    let _ = house.warnings("house.json").to_string();
                    runtime.block_on(start(house));
                }));
                started.fetch_add(1, Ordering::Relaxed);
                checked.map_err(|panic| {
                    let message = panic.downcast_ref::<String>().cloned().or_else(|| {
                        panic.downcast_ref::<&str>().map(|message| (*message).to_owned())
                    });
                    let message = message.unwrap_or_default();
                    TestCaseError::fail(format!("{text}: {message}"))
                })?;
                return Ok(());
            }
            Err(report) => report,
        };
        prop_assert!(!report.mistakes().is_empty(), "{} is refused without a reason", text);
        Ok(())
    });
    let started = started.into_inner();
    match outcome {
        Ok(()) => {}
        // The choices say nothing to a reader; the reason has the document.
        Err(TestError::Fail(reason, _)) => panic!("{reason}"),
        Err(error) => panic!("{error}"),
    }
    assert!(started >= STARTS, "{started} of {DOCUMENTS} documents started");
}
