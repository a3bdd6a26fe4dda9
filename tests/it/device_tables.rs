//! Compares the product with the tables and examples of `docs/device`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wwsim::device::config::RegisterId;
use wwsim::meter::Quantity;

use crate::support::SECOND;
use crate::support::house::{TestHouse, http, within};

const SETTINGS: &str = "/api/v1/settings";
const METER: &str = "/api/v1/meter/settings";
const WIFI: &str = "/api/v1/wifi/sta/settings";
const ETH: &str = "/api/v1/eth/settings";
const MQTT: &str = "/api/v1/mqtt/settings";
const KINDS: [&str; 3] = ["landis_gyr", "ensor", "kamstrup"];

// ---- the tables ----

/// A row: its values by column name.
type Row = BTreeMap<String, String>;

fn text(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/device").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn table(name: &str) -> Vec<Row> {
    let text = text(&format!("tables/{name}"));
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let rows: Vec<Row> = reader.deserialize().map(Result::unwrap).collect();
    assert!(rows.len() > 4, "{name} has {} rows", rows.len());
    rows
}

/// Returns the values of one column.
fn column(rows: &[Row], name: &str) -> Vec<String> {
    rows.iter().map(|row| row[name].clone()).collect()
}

fn example(name: &str) -> Value {
    serde_json::from_str(&text(&format!("examples/{name}"))).unwrap()
}

// ---- JSON by paths ----

/// Returns the values of a JSON text with their paths, such as `volume[].bus`, in text order.
fn leaves(value: &Value) -> Vec<(String, Value)> {
    fn add(value: &Value, path: &str, found: &mut Vec<(String, Value)>) {
        match value {
            Value::Object(members) => {
                for (key, value) in members {
                    let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    add(value, &path, found);
                }
            }
            Value::Array(items) => {
                for item in items {
                    add(item, &format!("{path}[]"), found);
                }
            }
            value => found.push((path.to_owned(), value.clone())),
        }
    }
    let mut found = Vec::new();
    add(value, "", &mut found);
    found
}

fn paths(value: &Value) -> Vec<String> {
    leaves(value).into_iter().map(|(path, _)| path).collect()
}

/// Asserts that the common paths have the same order.
fn assert_same_order(shown: &[String], expected: &[String]) {
    let common = |one: &[String], other: &[String]| {
        let mut common: Vec<_> = one.iter().filter(|path| other.contains(path)).cloned().collect();
        common.dedup();
        common
    };
    assert_eq!(common(shown, expected), common(expected, shown));
}

/// Returns `{"a": {"b": value}}` for the path `a.b`.
fn nested(path: &str, value: Value) -> Value {
    path.rsplit('.').fold(value, |inner, key| {
        let mut object = Map::new();
        object.insert(key.to_owned(), inner);
        Value::Object(object)
    })
}

fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    value.pointer(&format!("/{}", path.replace('.', "/")))
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

/// Returns `true` if a value has a type of the tables.
fn is_of(value: &Value, kind: &str) -> bool {
    match kind {
        "boolean" => value.is_boolean(),
        "uint" | "uint8" => value.is_u64(),
        "int" => value.is_i64() || value.is_u64(),
        "double" | "float" | "real" => value.is_number(),
        "string" | "ISO8601" => value.is_string(),
        _ => panic!("the type `{kind}`"),
    }
}

// ---- settings ----

/// The valid values of a field, parsed from its row.
enum FieldRange {
    Numbers(f64, f64),
    Lengths(usize, usize),
    Words(Vec<String>),
    Key,
    Address,
    Anything,
}

fn field_range(row: &Row) -> FieldRange {
    let range = row.get("range").map_or("", String::as_str).trim_start_matches("length ");
    let range = range.replace("-2^31", "-2147483648").replace("2^31-1", "2147483647");
    let bounds = range.split_once("..").and_then(|(least, rest)| {
        let most: String =
            rest.chars().take_while(|c| c.is_ascii_digit() || ".-".contains(*c)).collect();
        // The range of `empty, or 8..64` begins at 8.
        let least = least.rsplit(' ').next()?;
        Some((least.parse::<f64>().ok()?, most.parse::<f64>().ok()?))
    });
    let is_text = row["type"] == "string";
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small lengths")]
    match bounds {
        Some((least, most)) if is_text => FieldRange::Lengths(least as usize, most as usize),
        Some((least, most)) => FieldRange::Numbers(least, most),
        None if range == "32 hexadecimal characters" => FieldRange::Key,
        None if range == "IPv4" => FieldRange::Address,
        None if is_text && !range.is_empty() => {
            FieldRange::Words(range.split(", ").map(str::to_owned).collect())
        }
        None => FieldRange::Anything,
    }
}

/// Returns the members without which a field is refused.
fn beside(path: &str, field: &str) -> Value {
    match (path, field) {
        (WIFI, "enable") => json!({"name": "home"}),
        (WIFI | ETH, "static_ip") => json!({
            "ip": "10.0.0.2", "netmask": "255.0.0.0", "gateway": "10.0.0.1", "dns": "10.0.0.1"}),
        _ => json!({}),
    }
}

/// Returns a text of this length that is valid for the field.
fn filled(field: &str, length: usize) -> String {
    match field {
        // A host name of short labels.
        "url" if length > 7 => format!("mqtt://{}x", &"x.".repeat(length)[..length - 8]),
        _ => "x".repeat(length),
    }
}

async fn write(house: &TestHouse, path: &str, body: &Value) -> (u16, Value) {
    let answer = http(house.api_address(), "PUT", path, &body.to_string()).await;
    (answer.status, answer.json())
}

/// Writes and returns the refused field; `None` if the write was accepted.
async fn refusal(house: &TestHouse, path: &str, body: &Value) -> Option<String> {
    let (status, answer) = write(house, path, body).await;
    match status {
        200 => None,
        400 => Some(answer["details"]["field"].as_str().unwrap().to_owned()),
        other => panic!("{path} {body}: {other}"),
    }
}

/// The secrets, which no reply contains.
const SECRETS: [&str; 6] = [
    "system.password",
    "encryption_key",
    "authentication_key",
    "password",
    "client.key",
    "client.key_password",
];

/// Checks an object against its table: the fields and defaults of its reply, and the types and ranges
/// that it accepts.
async fn check_settings(path: &str, name: &str) {
    let house = TestHouse::start("").await;
    // `power_save` requires that Ethernet is off.
    if path == SETTINGS {
        write(&house, ETH, &json!({"enable": false})).await;
    }
    let shown = house.get(path).await.json();
    let mut fields = BTreeSet::new();
    for row in table(name) {
        let (field, kind) = (&*row["path"], &*row["type"]);
        let written = match row["default"].as_str() {
            "\"\"" => json!(""),
            // ACCESS-3.
            "whatwatt_XXXXXX" => json!("whatwatt-9F8124"),
            "" => Value::Null,
            default if kind == "string" && default != "null" => json!(default),
            default => serde_json::from_str(default).unwrap(),
        };
        let in_replies = row.get("range").is_some_and(|range| range.starts_with("in replies only"));
        if SECRETS.contains(&field) || written.is_null() {
            assert_eq!(at(&shown, field), None, "{name}: {field}");
        } else {
            let value = at(&shown, field).unwrap_or_else(|| panic!("{name}: no {field}"));
            let same = value.as_f64().map_or(*value == written, |number| {
                written.as_f64().is_some_and(|written| (written - number).abs() < 1e-9)
            });
            assert!(same, "{name}: {field} is {value}, expected {written}");
            assert!(is_of(value, kind), "{name}: {field} is {value}, expected {kind}");
            fields.insert(field.to_owned());
        }
        if !in_replies {
            check_field(&house, path, &row).await;
        }
    }
    let found: BTreeSet<_> = paths(&shown).into_iter().collect();
    assert_eq!(found, fields, "{name}");
}

/// Checks a field against the type and range of its row.
async fn check_field(house: &TestHouse, path: &str, row: &Row) {
    let (field, kind) = (&*row["path"], &*row["type"]);
    let body = |value: Value| {
        let mut body = beside(path, field);
        merge(&mut body, &nested(field, value));
        body
    };
    let other_type = if kind == "string" { json!(1) } else { json!("1") };
    let refused = refusal(house, path, &body(other_type)).await;
    assert_eq!(refused.as_deref(), Some(field), "{field}: another type");
    let (taken, refused) = match field_range(row) {
        FieldRange::Numbers(least, most) => {
            let number = |number: f64| {
                #[expect(clippy::cast_possible_truncation, reason = "whole numbers of a range")]
                if number.fract() == 0.0 { json!(number as i64) } else { json!(number) }
            };
            let (below, above) = (number(least - 1.0), number(most + 1.0));
            (vec![number(least), number(most)], vec![below, above])
        }
        FieldRange::Lengths(least, most) => {
            let taken = [least, most].map(|length| json!(filled(field, length)));
            (taken.to_vec(), vec![json!(filled(field, most + 1))])
        }
        FieldRange::Words(words) => {
            (words.into_iter().map(Value::from).collect(), vec![json!("no such word")])
        }
        FieldRange::Key => {
            let key = "0123456789abcdefABCDEF0123456789";
            (vec![json!(key)], vec![json!(key[1..]), json!(key.replace('a', "g"))])
        }
        FieldRange::Address => (vec![json!("255.0.0.0")], vec![json!("10.0.0.256"), json!("host")]),
        FieldRange::Anything if kind == "boolean" => (vec![json!(true), json!(false)], vec![]),
        FieldRange::Anything => (vec![], vec![]),
    };
    for value in taken {
        assert_eq!(refusal(house, path, &body(value.clone())).await, None, "{field}: {value}");
    }
    for value in refused {
        let refused = refusal(house, path, &body(value.clone())).await;
        assert_eq!(refused.as_deref(), Some(field), "{field}: {value}");
    }
}

#[tokio::test]
async fn settings_agree_with_their_table() {
    check_settings(SETTINGS, "settings_fields.csv").await;
}

#[tokio::test]
async fn meter_settings_agree_with_their_table() {
    check_settings(METER, "meter_settings_fields.csv").await;
}

#[tokio::test]
async fn wifi_settings_agree_with_their_table() {
    check_settings(WIFI, "wifi_sta_settings_fields.csv").await;
}

#[tokio::test]
async fn ethernet_settings_agree_with_their_table() {
    check_settings(ETH, "eth_settings_fields.csv").await;
}

#[tokio::test]
async fn mqtt_settings_agree_with_their_table() {
    check_settings(MQTT, "mqtt_settings_fields.csv").await;
}

#[tokio::test]
async fn settings_come_in_the_order_of_the_examples() {
    let house = TestHouse::start("").await;
    for (path, name) in [(SETTINGS, "settings.json"), (MQTT, "mqtt_settings.json")] {
        let (shown, example) = (paths(&house.get(path).await.json()), paths(&example(name)));
        assert_same_order(&shown, &example);
        let missing: Vec<_> = example.iter().filter(|path| !shown.contains(path)).collect();
        assert!(missing.is_empty(), "{name}: {missing:?}");
    }
}

// ---- readings and state ----

/// Starts a house and waits for a reading.
async fn start_and_read(device: &str) -> TestHouse {
    let house = TestHouse::start(&format!("device: {{{device}}}")).await;
    house.advance(30 * SECOND).await;
    house
}

/// Checks replies against a table: they contain no other field, and each field has its type. Returns
/// the fields that no reply contains.
fn check_fields(rows: &[Row], name: &str, shown: &[Value]) -> Vec<String> {
    let mut missing: BTreeSet<_> = column(rows, name).into_iter().collect();
    for (path, value) in shown.iter().flat_map(leaves) {
        let row = rows.iter().find(|row| row[name] == path);
        let row = row.unwrap_or_else(|| panic!("{path} is in no table"));
        assert!(is_of(&value, &row["type"]), "{path}: {value}, expected {}", row["type"]);
        let words = row.get("values").or(row.get("unit_or_values"));
        if let Some(words) = words.filter(|words| words.contains(" / ")) {
            let shown = value.as_str().unwrap();
            assert!(words.split(" / ").any(|word| word == shown), "{path}: {value} of {words}");
        }
        missing.remove(&path);
    }
    missing.into_iter().collect()
}

#[tokio::test]
async fn the_state_of_the_device_has_the_fields_of_its_table() {
    let mut shown = Vec::new();
    for kind in KINDS {
        let wifi = "wifi: {enable: true, name: home, password: '12345678'}";
        let house = start_and_read(&format!("meter: {{kind: {kind}}}, {wifi}")).await;
        shown.push(house.get("/api/v1/system").await.json());
        assert_same_order(&paths(&shown[shown.len() - 1]), &paths(&example("system.json")));
    }
    let missing = check_fields(&table("system_fields.csv"), "path", &shown);
    assert_eq!(missing, [""; 0], "some reply contains each field of the table");
}

/// Fields of the report that no kind of meter sends.
const NOT_SENT: &[&str] = &[
    // The Kamstrup sends the power factor without the apparent power that it is derived from.
    "report.instantaneous_power.apparent.total",
    // Meters with only the totals of reactive energy: METER-13.
    "report.energy.reactive.positive.t1",
    "report.energy.reactive.positive.t2",
    "report.energy.reactive.negative.t1",
    "report.energy.reactive.negative.t2",
    // The variant of the Landis+Gyr is not built: METER-23.
    "report.energy.reactive.imported.inductive.total",
    "report.energy.reactive.imported.inductive.t1",
    "report.energy.reactive.imported.inductive.t2",
    "report.energy.reactive.imported.capacitive.total",
    "report.energy.reactive.imported.capacitive.t1",
    "report.energy.reactive.imported.capacitive.t2",
    "report.energy.reactive.exported.inductive.total",
    "report.energy.reactive.exported.inductive.t1",
    "report.energy.reactive.exported.inductive.t2",
    "report.energy.reactive.exported.capacitive.total",
    "report.energy.reactive.exported.capacitive.t1",
    "report.energy.reactive.exported.capacitive.t2",
    // Only the total of imported demand is sent: METER-13.
    "report.max_demand.active.positive.t1",
    "report.max_demand.active.positive.t2",
    "report.max_demand.active.negative.total",
    "report.max_demand.active.negative.t1",
    "report.max_demand.active.negative.t2",
    // The meter behind the Ensor is never read.
    "report.volume[].date_time",
    "report.volume[].cumulative",
];

#[tokio::test]
async fn a_report_has_the_fields_of_its_table() {
    let mut shown = Vec::new();
    for kind in KINDS {
        let house = start_and_read(&format!("meter: {{kind: {kind}}}")).await;
        shown.push(house.get("/api/v1/report").await.json());
    }
    for (index, name) in [(0, "report_mbus_dlms.json"), (1, "report_p1_dsmr.json")] {
        assert_eq!(paths(&shown[index]), paths(&example(name)), "{name}");
    }
    let missing = check_fields(&table("report_fields.csv"), "path", &shown);
    let known: BTreeSet<_> = NOT_SENT.iter().copied().collect();
    assert!(missing.iter().map(String::as_str).eq(known), "{missing:?}");
}

#[tokio::test]
async fn a_dlms_meter_returns_the_objects_of_the_example() {
    let house = start_and_read("meter: {kind: landis_gyr}").await;
    let known = |list: &Value| -> Vec<Value> {
        let objects = list["objects"].as_array().unwrap().iter();
        let keys =
            ["logical_name", "class", "attribute", "tag", "unit", "scaler", "push_object_list"];
        objects.map(|object| keys.map(|key| object[key].clone()).into()).collect()
    };
    let (shown, expected) =
        (house.get("/api/v1/report/objects").await.json(), example("report_objects.json"));
    assert_eq!(known(&shown), known(&expected));
}

/// Returns the data of the first event of the live stream.
async fn event(device: &str) -> Value {
    let house = TestHouse::start(&format!("device: {{{device}}}")).await;
    let mut stream = TcpStream::connect(house.api_address()).await.unwrap();
    stream.write_all(b"GET /api/v1/live HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut seen = String::new();
    while !seen.contains("\r\n\r\n") {
        seen.push(char::from(within(stream.read_u8()).await.unwrap()));
    }
    house.advance(30 * SECOND).await;
    while !seen.contains("\n\n\r\n") {
        seen.push(char::from(within(stream.read_u8()).await.unwrap()));
    }
    let data = seen.split_once("data: ").unwrap().1.lines().next().unwrap().to_owned();
    serde_json::from_str(&data).unwrap()
}

#[tokio::test]
async fn a_live_event_has_the_fields_of_its_table() {
    let mut rows = table("live_fields.csv");
    // The table lists the fields of a volume next to `Vol` itself.
    rows.retain(|row| row["field"] != "Vol");
    for kind in KINDS {
        check_fields(&rows, "field", &[event(&format!("meter: {{kind: {kind}}}")).await]);
    }
    // LIVE-5: firmware 1.x sends all of them.
    let old = event("firmware: 1.10.0, meter: {kind: ensor}").await;
    assert_eq!(check_fields(&rows, "field", std::slice::from_ref(&old)), [""; 0]);
    let demands = ["P_P_In", "P_P_In_T1", "P_P_In_T2"];
    let shown: Vec<_> =
        paths(&old).into_iter().filter(|field| !demands.contains(&field.as_str())).collect();
    assert_eq!(shown, paths(&example("live_event.json")), "LIVE-3");
}

#[tokio::test]
async fn variables_agree_with_their_table() {
    let house = start_and_read("meter: {kind: ensor}").await;
    let shown = house.get("/api/v1/variables").await.json();
    let bare = |paths: Vec<String>| -> Vec<String> {
        paths.iter().map(|path| path.trim_start_matches("[].").to_owned()).collect()
    };
    let names = bare(paths(&shown));
    let documented: BTreeSet<_> = column(&table("template_variables.csv"), "variable")
        .into_iter()
        // The meter has one volume.
        .map(|name| name.replace("[n]", "[0]"))
        .collect();
    assert_eq!(names.iter().cloned().collect::<BTreeSet<_>>(), documented);
    let sample = bare(paths(&example("variables.json")));
    assert_same_order(&names, &sample);
    assert!(sample.iter().all(|name| names.contains(name)), "{sample:?}");
}

#[tokio::test]
async fn the_log_has_the_columns_of_its_table() {
    let log = "settings: {services: {sd: {enable: true, frequency: 1}}}";
    let house = start_and_read(&format!("meter: {{kind: landis_gyr}}, {log}")).await;
    let file = house.get("/sdcard/20260115.CSV").await.body;
    let rows = table("sd_csv_columns.csv");
    let header = column(&rows, "column").join(",");
    assert_eq!(file.lines().next(), Some(&*header));
    let sample = text("examples/sd_card.csv");
    assert_eq!(sample.lines().next(), Some(&*header));
    // The row is empty and quoted in the same columns as the sample.
    let form = |row: &str| -> Vec<(bool, bool)> {
        row.split(',').map(|value| (value.is_empty(), value.starts_with('"'))).collect()
    };
    assert_eq!(form(file.lines().nth(1).unwrap()), form(sample.lines().nth(1).unwrap()));
    for row in rows.iter().filter(|row| row["type"] == "float" && !row["obis"].is_empty()) {
        let quantity = Quantity::from_obis(&row["obis"]).unwrap();
        assert_eq!(
            (quantity.sd_column(), quantity.unit().symbol()),
            (&*row["column"], &*row["unit"])
        );
    }
}

#[tokio::test]
async fn a_scan_has_the_fields_of_its_table() {
    let rows = table("wifi_scan_fields.csv");
    let modes = rows.iter().find(|row| row["field"] == "auth_mode").unwrap()["range"].clone();
    let modes: Vec<_> = modes.split(" / ").collect();
    let networks = modes.iter().map(|mode| format!("{{ssid: n, auth_mode: {mode}}}"));
    let networks = networks.collect::<Vec<_>>().join(", ");
    let house = TestHouse::start(&format!("device: {{networks: [{networks}]}}")).await;
    let to = house.api_address();
    let asked = tokio::spawn(async move { http(to, "GET", "/api/v1/wifi/scan", "").await });
    within(async {
        while !asked.is_finished() {
            house.advance(SECOND / 10).await;
            tokio::task::yield_now().await;
        }
    })
    .await;
    let found = asked.await.unwrap().json();
    let found = found.as_array().unwrap();
    let ciphers = rows.iter().find(|row| row["field"] == "group_cipher").unwrap();
    for network in found {
        assert_eq!(paths(network), column(&rows, "field"));
        for row in &rows {
            assert!(is_of(&network[&row["field"]], &row["type"]), "{network}");
        }
        let cipher = network["group_cipher"].as_str().unwrap();
        assert!(ciphers["range"].split(" / ").any(|known| known == cipher), "{cipher}");
    }
    let shown: BTreeSet<_> =
        found.iter().map(|network| network["auth_mode"].as_str().unwrap()).collect();
    assert_eq!(shown, modes.into_iter().collect());
}

// ---- actions ----

/// Returns a definition of one request that is valid if `value` is valid for `field`.
fn request(field: &str, value: Option<Value>) -> Value {
    let (kind, name) = field.split_once('.').unwrap();
    let mut request = match kind {
        "http" => json!({"url": "http://bulb.local/"}),
        _ => json!({"host": "pump.local", "func": 16, "address": 10, "value": "0001"}),
    };
    if name == "payload" {
        request["method"] = json!("POST");
    }
    if name == "func" && value.as_ref().is_some_and(|func| func == 5 || func == 6) {
        request["type"] = json!("short");
        request["value"] = json!("1");
    }
    if name == "type" {
        let wide = value.as_ref().is_some_and(|kind| kind != "hex");
        request["value"] = json!(if wide { "1" } else { "0001" });
    }
    if name == "value" && value.as_ref().is_some_and(|text| text == "1") {
        request["type"] = json!("short");
    }
    match value {
        Some(value) => request[name] = value,
        None => _ = request.as_object_mut().unwrap().remove(name),
    }
    let mut action = json!({"id": "a", "requests": [{}]});
    action["requests"][0][kind] = request;
    json!({"actions": [action]})
}

/// Posts a definition.
///
/// # Errors
/// The refused field.
async fn defined(house: &TestHouse, body: &Value) -> Result<(), String> {
    let answer = house.post("/api/v1/actions", &body.to_string()).await;
    match answer.status {
        200 => Ok(()),
        400 => Err(answer.json()["details"]["field"].as_str().unwrap().to_owned()),
        other => panic!("{body}: {other}"),
    }
}

/// Returns the valid and the invalid values at the limits of a row of the table of actions.
fn edges(row: &Row) -> (Vec<Value>, Vec<Value>) {
    let (field, range) = (&*row["path"], &*row["range"]);
    if range.contains(" / ") {
        let words = range.split(" / ").map(|word| match word.parse::<u64>() {
            Ok(number) => json!(number),
            Err(_) => json!(word),
        });
        let other = if row["type"] == "uint" { json!(7) } else { json!("other") };
        return (words.collect(), vec![other]);
    }
    let (least, rest) = range.split_once("..").unwrap();
    let most: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let most: usize = most.parse().unwrap();
    if row["type"] != "string" {
        let (least, below) = if field.ends_with("timeout") {
            (json!(0.1), json!(0.09))
        } else {
            let least: i64 = least.parse().unwrap();
            (json!(least), json!(least - 1))
        };
        return (vec![least, json!(most)], vec![below, json!(most + 1)]);
    }
    let least: usize = least.parse().unwrap();
    let text = |length: usize| match field {
        "http.url" => format!("http://{}", "x".repeat(length.saturating_sub(7))),
        "modbus.value" if length > 1 => "0".repeat(length),
        "modbus.value" => "1".repeat(length),
        _ => "x".repeat(length),
    };
    let mut refused = vec![json!(text(most + 1))];
    if least > 0 && field != "http.url" {
        refused.push(json!(text(least - 1)));
    }
    (vec![json!(text(least)), json!(text(most))], refused)
}

#[tokio::test]
async fn actions_accept_the_values_of_their_table() {
    let house = TestHouse::start("").await;
    let mut checked = 0;
    for row in table("action_fields.csv") {
        let field = &*row["path"];
        if !field.starts_with("http.") && !field.starts_with("modbus.") {
            continue;
        }
        checked += 1;
        let refused = |field: &str| Err(format!("actions[0].requests[0].{field}"));
        let without = defined(&house, &request(field, None)).await;
        if field != "http.headers.<name>" {
            let expected = if row["required"] == "yes" { refused(field) } else { Ok(()) };
            assert_eq!(without, expected, "without {field}");
        }
        let (taken, wrong) = match (field, &*row["type"]) {
            ("http.headers.<name>", _) => continue,
            (_, "boolean") => (vec![json!(true), json!(false)], vec![json!(1)]),
            _ => edges(&row),
        };
        for value in taken {
            let got = defined(&house, &request(field, Some(value.clone()))).await;
            assert_eq!(got, Ok(()), "{field}: {value}");
        }
        for value in wrong {
            let got = defined(&house, &request(field, Some(value.clone()))).await;
            assert_eq!(got, refused(field), "{field}: {value}");
        }
    }
    assert_eq!(checked, 15);
    let headers = |count: usize, length: usize| {
        let header = |n: usize| (format!("h{n}"), json!("v".repeat(length - 2)));
        let headers: Map<String, Value> = (0..count).map(header).collect();
        request("http.headers", Some(Value::Object(headers)))
    };
    assert_eq!(defined(&house, &headers(4, 253)).await, Ok(()));
    assert!(defined(&house, &headers(5, 10)).await.is_err());
    assert!(defined(&house, &headers(1, 254)).await.is_err());
    let action = |id: &str| {
        json!({"actions": [{"id": id, "requests": request("http.url",
        Some(json!("http://bulb.local/")))["actions"][0]["requests"]}]})
    };
    for (id, taken) in
        [("x", true), ("", false), (&*"x".repeat(15), true), (&*"x".repeat(16), false)]
    {
        assert_eq!(defined(&house, &action(id)).await.is_ok(), taken, "{id}");
    }
    assert_eq!(defined(&house, &example("actions.json")).await, Ok(()));
    assert_eq!(house.get("/api/v1/actions").await.json(), example("actions.json"), "ACTION-8");
}

/// The codes that cannot occur, because the device refuses such a definition.
const IMPOSSIBLE: [i64; 2] = [-6, -21];

#[test]
fn every_result_code_that_can_occur_can_be_provoked() {
    let codes = table("modbus_result_codes.csv");
    let house = text("../../scenarios/every-result-code.yaml");
    for row in &codes {
        let code: i64 = row["code"].parse().unwrap();
        let provoked =
            ["code", "http"].iter().any(|kind| house.contains(&format!("id: {kind}{code},")));
        assert_eq!(provoked, !IMPOSSIBLE.contains(&code), "{code}");
        assert_eq!(row["meaning"].contains("cannot happen"), IMPOSSIBLE.contains(&code), "{code}");
    }
}

// ---- Modbus ----

#[tokio::test]
async fn every_register_id_of_the_table_can_be_read() {
    let house = TestHouse::start("").await;
    let rows = table("modbus_identifiers.csv");
    let known: BTreeSet<_> = RegisterId::names().map(str::to_owned).collect();
    assert_eq!(known, column(&rows, "id").into_iter().collect());
    for row in &rows {
        let id = &*row["id"];
        let map = json!([{"start_address": 0, "registers": [{"id": id}]}]).to_string();
        assert_eq!(house.post("/api/v1/modbus", &map).await.status, 200, "{id}");
        let listing = house.get("/api/v1/modbus?address_format=dec").await.json();
        let register = &listing[0]["registers"][0];
        let bytes = match (&*row["kind"], row["meaning"].split_once("size ")) {
            ("hex", Some((_, size))) => size.trim_end_matches('B').parse().unwrap(),
            // A double, or a date as defined in docs/device/modbus.md.
            ("number" | "hex", _) => 8,
            (kind, _) => panic!("{id} is {kind}"),
        };
        assert_eq!(register["size"], bytes / 2, "{id}");
        assert_eq!(register.get("scaler").is_some(), row["kind"] == "number", "{id}");
        if let Some(quantity) = Quantity::from_obis(id) {
            assert_eq!(quantity.unit().symbol(), row["unit_before_scaler"], "{id}");
        }
    }
}

#[tokio::test]
async fn the_default_map_agrees_with_the_tables() {
    let house = TestHouse::start("").await;
    let config: Value = serde_json::from_str(&text("tables/modbus_default_config.json")).unwrap();
    assert_eq!(house.get("/api/v1/modbus").await.json(), config);
    let listing = house.get("/api/v1/modbus?address_format=dec").await.json();
    let shown = listing.as_array().unwrap().iter();
    let shown = shown.flat_map(|set| set["registers"].as_array().unwrap());
    let shown: Vec<_> = shown
        .map(|register| {
            ["address", "size", "id", "type", "scaler"].map(|key| match &register[key] {
                Value::String(text) => text.clone(),
                value => value.to_string(),
            })
        })
        .collect();
    let rows = table("modbus_default_layout.csv");
    let rows = rows
        .iter()
        .map(|row| ["address", "words", "id", "type", "scaler"].map(|key| row[key].clone()));
    assert_eq!(shown, rows.collect::<Vec<_>>());
}
