//! Scenario files: valid ones load, and all mistakes of invalid ones are reported at once with their
//! spans. `UPDATE_EXPECTED=1 cargo test scenario` updates the expected reports and the schema.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use wwsim::problem::Problem;
use wwsim::scenario::{self, LoadError, LoadOverrides, Scenario, raw};

#[path = "../properties/scenario.rs"]
mod property;

/// Returns the files of a folder with this extension, sorted by name.
fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| extension.is_empty() || file.extension().is_some_and(|e| e == extension));
    files.sort();
    assert!(!files.is_empty());
    files
}

/// Compares with the expected text in a file, or updates the file.
fn assert_expected(actual: &str, path: &Path) {
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(path, actual).unwrap();
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    assert_eq!(actual, expected, "{} (UPDATE_EXPECTED=1 updates it)", path.display());
}

/// Reads a file as the validator of an editor does, with an independent parser.
fn as_json(file: &Path) -> Value {
    let mut value: serde_yaml::Value =
        serde_yaml::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    value.apply_merge().unwrap();
    to_json(value)
}

fn to_json(value: serde_yaml::Value) -> Value {
    match value {
        serde_yaml::Value::Sequence(items) => items.into_iter().map(to_json).collect(),
        serde_yaml::Value::Mapping(members) => members
            .into_iter()
            .map(|(key, value)| {
                let key = match key {
                    serde_yaml::Value::String(key) => key,
                    other => serde_yaml::to_string(&other).unwrap().trim().to_owned(),
                };
                (key, to_json(value))
            })
            .collect(),
        scalar => serde_json::to_value(scalar).unwrap(),
    }
}

fn validator() -> jsonschema::Validator {
    jsonschema::validator_for(&serde_json::from_str(&scenario::json_schema()).unwrap()).unwrap()
}

fn load(text: &str) -> Scenario {
    scenario::load(text, "test.yaml", None).unwrap_or_else(|error| panic!("{error}"))
}

/// Joins this number of lines.
fn lines(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).map(line).collect::<Vec<_>>().join("\n")
}

/// Returns the mistakes of a text, one on each line.
fn mistakes(text: &str) -> String {
    scenario::load(text, "test.yaml", None).unwrap_err().to_string()
}

#[test]
fn good_files_load_and_match_the_schema() {
    let schema = validator();
    let mut all = files("fixtures/scenarios/good", "yaml");
    all.extend(files("scenarios", "yaml"));
    for file in all {
        scenario::load_file(&file).unwrap_or_else(|error| panic!("{error}"));
        let json = as_json(&file);
        // An empty file is null, which the schema of a mapping cannot express.
        if !json.is_null() {
            let errors: Vec<_> = schema.iter_errors(&json).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{}: {errors:#?}", file.display());
        }
    }
}

#[test]
fn every_mistake_of_a_bad_file_is_reported_at_its_span() {
    for kind in ["syntax", "structure", "meaning"] {
        for file in files(&format!("fixtures/scenarios/bad/{kind}"), "yaml") {
            let name = file.file_name().unwrap().to_string_lossy();
            let text = fs::read_to_string(&file).unwrap();
            let report = match scenario::load(&text, &name, file.parent()) {
                Ok(_) => panic!("{} is accepted", file.display()),
                Err(mistakes) => format!("{mistakes}\n"),
            };
            // The message on a missing file contains the folder of the repository.
            let report = report.replace(&*file.parent().unwrap().to_string_lossy(), ".");
            assert_expected(&report, &file.with_extension("txt"));
        }
    }
}

#[test]
fn the_schema_refuses_structural_mistakes_only() {
    let schema = validator();
    for file in files("fixtures/scenarios/bad/structure", "yaml") {
        assert!(!schema.is_valid(&as_json(&file)), "{} is valid", file.display());
    }
    for file in files("fixtures/scenarios/bad/meaning", "yaml") {
        let json = as_json(&file);
        // The device's own JSON has its own rules, of which the schema contains some for editors.
        let name = file.file_stem().unwrap().to_string_lossy();
        if !["actions", "modbus_map", "site"].contains(&&*name) {
            let errors: Vec<_> = schema.iter_errors(&json).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{}: {errors:#?}", file.display());
        }
    }
}

#[test]
fn the_schema_refuses_each_malformed_rule() {
    let schema = validator();
    let rules = as_json(Path::new("fixtures/scenarios/bad/structure/faults.yaml"));
    for rule in rules["faults"].as_array().unwrap() {
        let house = json!({ "faults": [rule] });
        assert!(!schema.is_valid(&house), "{house}");
    }
}

#[test]
fn the_committed_schema_is_fresh() {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/scenario.schema.json");
    assert_expected(&scenario::json_schema(), &committed);
}

// Ruling: FIRMWARE-9.
#[test]
fn an_empty_file_is_a_healthy_device() {
    for text in ["", "# nothing\n", "{}", "device:\n", "\u{feff}"] {
        let mut house = load(text);
        assert_eq!(&*house.source, text);
        house.source = "".into();
        assert_eq!(house, Scenario::default(), "{text:?}");
    }
    let house = Scenario::default();
    assert_eq!(house.devices[0].identity.id.as_str(), "A842E39F8124");
    assert_eq!(house.devices[0].http, "127.0.0.1:8080".parse().unwrap());
    assert_eq!(house.control, "127.0.0.1:8090".parse().unwrap());
}

#[test]
fn anchors_have_a_place_and_are_merged() {
    let text = fs::read_to_string("fixtures/scenarios/good/merged.yaml").unwrap();
    let house = load(&text);
    let slave = |name: &str| house.slaves.iter().find(|slave| &*slave.name == name).unwrap();
    let (pump, boiler) = (slave("pump"), slave("boiler"));
    assert_eq!((pump.latency, pump.max_connections), (Duration::from_secs(2), 4));
    assert_eq!((boiler.latency, boiler.max_connections), (Duration::from_secs(1), 2));
    assert_eq!(boiler.hosts[0].to_string(), "boiler.local");
    assert_eq!(boiler.units[0].1.holding, pump.units[0].1.holding);
    assert_eq!(boiler.units[1].1, pump.units[0].1);
    // A mistake in what is merged stands where it is written.
    let report = mistakes("x-a: &a {latncy: 1s}\nslaves: {p: {<<: *a, units: {}}}\n");
    assert!(
        report.starts_with("test.yaml:1:10: slaves.p.latncy: unknown key `latncy`"),
        "{report}"
    );
    assert!(mistakes("y-a: 1").contains("unknown key `y-a`"));
    assert!(mistakes("device: {x-a: 1}").contains("unknown key `x-a`"));
}

#[test]
fn a_scenario_in_json_may_hold_pairs_of_surrogates_and_begin_with_a_mark() {
    let json = "\u{feff}{\n\t\"name\":\"\\ud83d\\ude00 \\/ \\u00e4\\\\ud83d\",\"seed\":7}";
    let house = load(json);
    assert_eq!((&*house.name, house.seed), ("\u{1f600} / \u{e4}\\ud83d", 7));
    assert_eq!(&*house.source, json);
    // The keys behind a pair on its line are found at their place.
    let report =
        mistakes(r#"{"name":"\ud83d\ude00","sede":7,"slaves":{"p":{"units":{"1":{"coil":[]}}}}}"#);
    let lines: Vec<&str> = report.lines().collect();
    assert!(lines[0].starts_with("test.yaml:1:24: sede:"), "{report}");
    assert!(lines[1].starts_with("test.yaml:1:62: slaves.p.units.1.coil:"), "{report}");
    // In YAML that is no JSON they are text.
    assert_eq!(load(r"name: '\ud83d\ude00'").name, r"\ud83d\ude00");
    assert!(mistakes(r#"{"name":"\ud83d"}"#).contains("not YAML"));
}

/// Returns the warnings of a text, one on each line.
fn warnings(text: &str) -> String {
    load(text).warnings("test.yaml").to_string()
}

#[test]
fn hosts_that_nobody_has_are_warned_of_once() {
    let house = |outbound: &str, host: &str| {
        format!(
            "outbound: {outbound}
slaves: {{pump: {{hosts: ['pump.local:502'], listen: '127.0.0.1:1503', units: {{1: {{coils: [{{address: 0}}]}}}}}}}}
http_targets: {{bulb: {{hosts: [bulb.local]}}}}
device:
  actions:
    const: {{name: {host}}}
    actions:
      - id: a
        requests:
          - http: {{url: 'http://${{name}}/x'}}
          - http: {{url: 'http://${{name}}/y'}}
          - modbus: {{host: pump.local, func: 6, address: 0, value: '0001'}}
          - modbus: {{host: localhost, port: 1503, func: 6, address: 0, value: '0001'}}
          - http: {{url: 'http://off.local/', enable: false}}
"
        )
    };
    for (outbound, host, line) in [
        ("deny", "bulb.local", ""),
        ("deny", "BULB.local:8080", ""),
        (
            "deny",
            "blub.local",
            "no slave or target of the house has the host `blub.local` on port 80; did you mean `bulb.local`?",
        ),
        (
            "deny",
            "pump.local",
            "no slave or target of the house has the host `pump.local` on port 80",
        ),
        (
            "deny",
            "10.0.0.1:81",
            "no slave or target of the house has the host `10.0.0.1` on port 81",
        ),
        (
            "deny",
            "localhost",
            "no slave or target of the house has the host `localhost` on port 80",
        ),
        ("loopback", "127.0.0.1:9", ""),
        ("loopback", "localhost", ""),
        (
            "loopback",
            "other.example",
            "no slave or target of the house has the host `other.example` on port 80",
        ),
        ("allow", "blub.local", ""),
        // Names and addresses that lead nowhere are meant to.
        ("deny", "nobody.invalid", ""),
        ("deny", "192.0.2.1", ""),
    ] {
        let report = warnings(&house(outbound, host));
        let place = "test.yaml:10:25: device.actions.actions[0].requests[0].http.url: ";
        if line.is_empty() {
            assert_eq!(report, "", "{outbound} {host}");
        } else {
            assert!(report.starts_with(&format!("{place}warning: {line}")), "{report}");
            assert_eq!(report.lines().count(), 1, "{report}");
        }
    }
}

#[test]
fn constants_that_are_not_defined_are_warned_of() {
    let house = |host: &str| {
        format!(
            "slaves: {{pump: {{hosts: [pump.local], units: {{1: {{coils: [{{address: 0}}]}}}}}}}}
device:
  actions:
    const: {{pump: pump.local, nothing: null}}
    actions: [{{id: a, requests: [{{modbus: {{host: '{host}', func: 6, address: 0, value: '0001'}}}}]}}]
"
        )
    };
    for host in ["${pump}", "${nothing}"] {
        assert_eq!(warnings(&house(host)), "", "{host}");
    }
    assert_eq!(
        warnings(&house("${pupm}")),
        "test.yaml:5:50: device.actions.actions[0].requests[0].modbus.host: warning: no constant `pupm`: the request cannot be sent; did you mean `pump`?; define it under `const`"
    );
}

#[test]
fn brokers_that_nobody_has_are_warned_of() {
    let house = |enable: bool, url: &str| {
        format!(
            "mqtt_brokers: {{lab: {{address: 127.0.0.1, hosts: [broker.example.com]}}}}
devices: [{{}}, {{mqtt: {{enable: {enable}, url: '{url}', publish: {{topic: t, template: x}}}}}}]
"
        )
    };
    assert_eq!(warnings(&house(true, "mqtt://broker.example.com")), "");
    assert_eq!(warnings(&house(true, "mqtts://127.0.0.1:8884")), "");
    assert_eq!(warnings(&house(false, "mqtt://broker.example.org")), "");
    let report = warnings(&house(true, "mqtt://brokr.example.com"));
    assert!(
        report.starts_with("test.yaml:2:42: devices[1].mqtt.url: warning: no broker of the house has the host `brokr.example.com` on port 1883; did you mean `broker.example.com`?"),
        "{report}"
    );
}

#[test]
fn what_says_nothing_is_warned_of() {
    for text in ["", "# nothing\n", "{}", "x-a: 1"] {
        assert!(warnings(text).contains("the file says nothing"), "{text:?}");
    }
    assert_eq!(warnings("seed: 1"), "");
    let slaves = "slaves: {a: {}, b: {units: {}}, c: {units: {1: {}, 2: {coils: [{address: 0}]}}}}";
    let report = warnings(slaves);
    let lines: Vec<&str> = report.lines().collect();
    assert!(lines[0].contains("slaves.a: warning: slave `a` has no units"), "{report}");
    assert!(lines[1].contains("slaves.b: warning: slave `b` has no units"), "{report}");
    assert!(lines[2].contains("slaves.c.units.1: warning: unit 1 has no registers"), "{report}");
    assert_eq!(lines.len(), 3, "{report}");
}

#[test]
fn houses_that_are_built_in_or_examples_have_no_warnings() {
    for file in files("scenarios", "yaml") {
        let house = scenario::load_file(&file).unwrap();
        assert_eq!(house.warnings(&file.display().to_string()).to_string(), "");
    }
}

#[test]
fn default_ids_and_ports_count_up_past_those_in_use() {
    let house = load("devices: [{id: A842E39F8125}, {}, {}]");
    let ids: Vec<_> = house.devices.iter().map(|device| device.identity.id.as_str()).collect();
    assert_eq!(ids, ["A842E39F8125", "A842E39F8124", "A842E39F8126"]);
    let ports: Vec<_> = house.devices.iter().map(|device| device.http.port()).collect();
    assert_eq!(ports, [8080, 8081, 8082]);
    let many = "{http: '127.0.0.1:0'}, ".repeat(1000);
    assert_eq!(load(&format!("devices: [{many}]")).devices.len(), 1000);
    assert!(mistakes(&format!("devices: [{many} {{}}]")).contains("a house takes 1000"));
}

/// Loads a house with these listeners, and returns the ports: control plane, APIs, Modbus servers, slaves.
fn ports(yaml: &str, listeners: &LoadOverrides) -> Vec<u16> {
    let house = scenario::load_with(yaml, "test.yaml", None, listeners)
        .unwrap_or_else(|error| panic!("{yaml}: {error}"));
    let apis = house.devices.iter().map(|device| device.http);
    let servers = house.devices.iter().map(|device| device.modbus.listen);
    let slaves = house.slaves.iter().map(|slave| slave.listen);
    let all = std::iter::once(house.control).chain(apis).chain(servers).chain(slaves);
    all.map(|address| address.port()).collect()
}

#[test]
fn default_ports_pass_over_those_of_others() {
    let default = LoadOverrides::default();
    let house = ports(&format!("devices: [{}]", "{}, ".repeat(12)), &default);
    assert_eq!(house[0], 8090, "the control plane");
    assert_eq!(
        house[1..13],
        [8080, 8081, 8082, 8083, 8084, 8085, 8086, 8087, 8088, 8089, 8091, 8092]
    );
    assert_eq!(house[13..], (1502..1514).collect::<Vec<u16>>());
    let thousand = ports(&format!("devices: [{}]", "{}, ".repeat(1000)), &default);
    let distinct: HashSet<_> = thousand.iter().collect();
    assert_eq!((thousand.len(), distinct.len()), (2001, 2001));

    for (yaml, expected) in [
        ("control: 127.0.0.1:8081\ndevices: [{}, {}]", vec![8081, 8080, 8082, 1502, 1503]),
        ("control: 0.0.0.0:8080", vec![8080, 8081, 1502]),
        ("control: '[::]:8080'", vec![8080, 8081, 1502]),
        ("control: '[::ffff:127.0.0.1]:8080'", vec![8080, 8081, 1502]),
        ("control: 127.0.0.2:8080", vec![8080, 8080, 1502]),
        ("device: {http: 127.0.0.1:8090}", vec![8091, 8090, 1502]),
        (
            "devices: [{}, {http: 127.0.0.1:8082}, {}]",
            vec![8090, 8080, 8082, 8083, 1502, 1503, 1504],
        ),
        (
            "device: {modbus: {function_3: true}}\nslaves: {a: {listen: 127.0.0.1:1502}}",
            vec![8090, 8080, 1503, 1502],
        ),
        ("device: {http: 127.0.0.1:1502}", vec![8090, 1502, 1503]),
    ] {
        assert_eq!(ports(yaml, &default), expected, "{yaml}");
    }
}

#[test]
fn listeners_are_compared_as_they_will_be_bound() {
    let any = LoadOverrides { any_port: true, ..LoadOverrides::default() };
    let shared = "control: 127.0.0.1:7000\ndevice: {http: 127.0.0.1:7000, modbus: 127.0.0.1:7000}\n\
                  slaves: {a: {listen: 127.0.0.1:7000}}";
    assert_eq!(ports(shared, &any), [0; 4]);
    let house = format!("devices: [{}]", "{}, ".repeat(11));
    assert!(ports(&house, &any).iter().all(|port| *port == 0));

    let at_address = |address: &str| Some(address.parse().unwrap());
    let at =
        |http, modbus, control| LoadOverrides { http, modbus, control, ..LoadOverrides::default() };
    let two = "devices: [{}, {}]\nslaves: {a: {listen: '127.0.0.1:9001'}}";
    let first = at(at_address("127.0.0.1:9000"), None, None);
    assert_eq!(ports(two, &first), [8090, 9000, 9002, 1502, 1503, 9001]);
    let both = at(at_address("127.0.0.1:9000"), at_address("127.0.0.1:9002"), None);
    assert_eq!(ports(two, &both), [8090, 9000, 9003, 9002, 9004, 9001]);
    let control = at(at_address("127.0.0.1:8089"), None, at_address("127.0.0.1:8080"));
    assert_eq!(ports("devices: [{}, {}]", &control), [8080, 8089, 8090, 1502, 1503]);
    assert_eq!(
        ports("devices: [{}, {}]", &at(at_address("127.0.0.1:8090"), None, None))[..3],
        [8091, 8090, 8092]
    );
    // An address that the command line replaces is in nobody's way.
    let moved =
        at(at_address("127.0.0.1:9000"), at_address("127.0.0.1:0"), at_address("127.0.0.1:0"));
    assert_eq!(ports(shared, &moved), [0, 9000, 0, 7000]);
    let any_but_one = LoadOverrides { any_port: true, ..first };
    assert_eq!(ports(two, &any_but_one), [0, 9000, 9001, 0, 0, 0]);
}

#[test]
fn addresses_that_cannot_be_used_are_refused() {
    let at_address = |address: &str| Some(address.parse().unwrap());
    let refusal = |http, control| {
        let listeners = LoadOverrides { http, control, ..LoadOverrides::default() };
        let yaml = "devices: [{}, {}]\nslaves: {a: {listen: '127.0.0.1:9001'}}";
        scenario::load_with(yaml, "test.yaml", None, &listeners).unwrap_err().to_string()
    };
    assert_eq!(
        refusal(at_address("127.0.0.1:65535"), None),
        "127.0.0.1:65535: 2 devices do not find a free port each between this one and 65535"
    );
    assert_eq!(
        refusal(at_address("0.0.0.0:9000"), at_address("127.0.0.1:9000")),
        "the control plane and device A842E39F8124 would both listen on 0.0.0.0:9000; give one of them \
         another port"
    );
    assert_eq!(
        refusal(at_address("127.0.0.1:9001"), None),
        "test.yaml:2:22: slaves.a.listen: device A842E39F8124 and slave a both listen on 127.0.0.1:9001; \
         give one of them another port, or port 0 for any free one"
    );
}

#[test]
fn the_windows_of_the_rules_of_a_meter_are_bounded() {
    let house = |rules: usize| {
        let rule = "  - {at: meter, when: {for: 10s, every: 1m}, effect: no_data}\n";
        format!("faults:\n{}", rule.repeat(rules))
    };
    scenario::load(&house(41), "house.yaml", None).unwrap();
    let report = scenario::load(&house(50), "house.yaml", None).unwrap_err();
    let objects: Vec<_> = report.to_json().collect();
    let expected = (1, &json!("faults[41].when.every"));
    assert_eq!((objects.len(), &objects[0]["path"]), expected, "{objects:?}");
    let message = objects[0]["message"].as_str().unwrap();
    assert!(message.ends_with("begin 60480 times a day; at most 60000 are taken"), "{message}");
}

#[test]
fn mistakes_are_bounded_and_the_rest_is_counted() {
    let text = lines(150, |n| format!("key{n}: 1"));
    let report = scenario::load(&text, "test.yaml", None).unwrap_err();
    assert_eq!((report.mistakes().len(), report.omitted()), (100, 50));
    assert!(report.to_string().ends_with("and 50 more"));
}

#[test]
fn reports_are_formatted_as_json_and_github_annotations() {
    let text = "sede: 7\nfaults:\n  - {at: {slave: a}, effect: silence}\n";
    let report = scenario::load(text, "a,b.yaml", None).unwrap_err();
    let objects: Vec<_> = report.to_json().collect();
    assert_eq!(
        objects[0],
        json!({
            "severity": "error", "file": "a,b.yaml", "line": 1, "column": 1, "path": "sede",
            "message": "unknown key `sede`", "suggestion": "seed",
            "help": "known here: name, seed, clock, control, outbound, meter, mdns, device, devices, slaves, http_targets, mqtt_brokers, faults",
        })
    );
    assert_eq!(objects[1]["path"], "faults[0].at.slave");
    assert_eq!(
        report.github().lines().nth(1).unwrap(),
        "::error file=a%2Cb.yaml,line=3,col=18,title=faults[0].at.slave::there is no slave `a`%0Athe house has no slave"
    );
}

#[cfg(feature = "cli")]
#[test]
fn reports_for_people_show_the_lines_of_the_file() {
    let text = "clock:\n  start: 2026-01-15T18:00:00Z\n  sped: 60\nseed: 1\nseed: 2\n";
    let rendered = scenario::load(text, "house.yaml", None).unwrap_err().human(false);
    assert_eq!(
        rendered,
        "\
error: unknown key `sped`
 --> house.yaml:3:3
  |
1 | clock:
2 |   start: 2026-01-15T18:00:00Z
3 |   sped: 60
  |   ^^^^ clock.sped
  |
  = help: did you mean `speed`?
  = help: known here: start, speed

error: the key stands here twice
 --> house.yaml:5:1
  |
3 |   sped: 60
4 | seed: 1
  | ---- first
5 | seed: 2
  | ^^^^ seed
  |
  = help: remove one of them

house.yaml: 2 mistakes
"
    );
}

/// Real time after which a file has kept the loader busy for ever: no valid load takes nearly as long on
/// any machine.
const FOR_EVER: Duration = Duration::from_mins(5);

#[test]
fn hostile_files_end_in_an_error() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for n in 1..20 {
        let list = vec![format!("*a{}", n - 1); 10].join(", ");
        writeln!(bomb, "a{n}: &a{n} [{list}]").unwrap();
    }
    let many_keys = lines(80_000, |n| format!("k{n}: 1"));
    let texts = [
        bomb,
        "x".repeat(10 << 20),
        "[".repeat(1 << 20),
        "- ".repeat(1 << 19),
        "{a: ".repeat(1 << 18),
        format!("seed: \"{}\"", "\\u00e4".repeat(150_000)),
        format!("{}: 1", "k".repeat(1_000_000)),
        many_keys,
        format!("devices: [{}]", "5,".repeat(90_000)),
        format!("faults: [{}]", "{at: x},".repeat(40_000)),
        format!("slaves: {{{}}}", "a: {},".repeat(60_000)),
    ];
    for text in texts {
        let start: String = text.chars().take(20).collect();
        let (done, report) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let report = scenario::load(&text, "test.yaml", None).map(|_| ()).unwrap_err();
            done.send(report.to_string())
        });
        let report =
            report.recv_timeout(FOR_EVER).unwrap_or_else(|error| panic!("{start}… {error}"));
        assert!(report.len() < 200_000, "{} bytes of report", report.len());
    }
}

#[test]
fn a_file_that_is_not_utf_8_is_refused_at_its_span() {
    let file = std::env::temp_dir().join(format!("wwsim-latin1-{}.yaml", std::process::id()));
    fs::write(&file, b"seed: 1\nname: W\xe4rme\n").unwrap();
    let error = scenario::load_file(&file).unwrap_err();
    fs::remove_file(&file).unwrap();
    let LoadError::Invalid(report) = error else { panic!("{error}") };
    let span = report.mistakes()[0].span;
    assert_eq!((span.line, span.column), (2, 8));
}

#[test]
fn a_rule_in_json_is_checked_as_in_a_file() {
    let house = load("slaves: {pump: {units: {1: {holding: [{address: 10}]}}}}");
    let rule =
        |value: &Value| scenario::rule_from_json(value, &house, &house.device_actions(), "fault-9");
    let valid =
        rule(&json!({"at": {"slave": "pump", "unit": 1}, "effect": {"result": -9}})).unwrap();
    assert_eq!(&*valid.id, "fault-9");
    assert_eq!(
        rule(&json!({"at": {"slave": "pmp"}, "effect": "silense", "when": {"probability": 2}}))
            .unwrap_err()
            .iter()
            .map(Problem::to_line)
            .collect::<Vec<_>>(),
        ["effect: unknown word `silense`; did you mean `silence`?"]
    );
    assert_eq!(
        rule(&json!({"at": {"slave": "pmp"}, "effect": "silence", "when": {"probability": 2}}))
            .unwrap_err()
            .len(),
        2
    );
    for invalid in [json!(null), json!(5), json!([]), json!({}), json!("queue")] {
        assert!(rule(&invalid).is_err(), "{invalid}");
    }
}

#[test]
fn a_rule_survives_a_round_trip_through_json() {
    let text = fs::read_to_string("fixtures/scenarios/good/every_key.yaml").unwrap();
    let base = Path::new("fixtures/scenarios/good");
    let house = scenario::load(&text, "every_key.yaml", Some(base)).unwrap();
    for rule in &house.faults {
        let written = scenario::rule_to_json(rule);
        let parsed = scenario::rule_from_json(&written, &house, &house.device_actions(), "other")
            .unwrap_or_else(|problems| panic!("{written}: {problems:?}"));
        assert_eq!(parsed, *rule, "{written}");
    }
    let written = scenario::rule_to_json(&house.faults[18]);
    assert_eq!(
        written,
        json!({
            "id": "fault-19",
            "at": {"slave": "pump", "unit": 1, "function": 16, "address": "10..11", "value": 16812, "action": "both"},
            "when": {"nth": 3},
            "effect": {"exception": 4},
        })
    );
}

#[test]
fn built_in_houses_have_a_purpose_and_a_command_to_try() {
    for builtin in scenario::builtins() {
        builtin.load().unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let mut lines = builtin.text.lines();
        assert_eq!(
            lines.next(),
            Some("# yaml-language-server: $schema=../schema/scenario.schema.json")
        );
        let comment: Vec<_> = lines.take_while(|line| line.starts_with('#')).collect();
        assert!(
            comment.iter().any(|line| line.contains("curl")),
            "{}: nothing to try",
            builtin.name
        );
        assert!(!builtin.purpose.is_empty());
    }
    assert_eq!(scenario::builtin("default").unwrap().name, "default");
    assert!(scenario::builtin("nobody").is_none());
}

#[test]
fn any_bytes_load_or_are_refused() {
    for file in files("fixtures/corpus/scenario", "") {
        property::holds(&fs::read(&file).unwrap());
    }
}

// ---------------------------------------------------------------------------------------------
// Round trips of raw scenarios through YAML
// ---------------------------------------------------------------------------------------------

fn duration() -> impl Strategy<Value = raw::DurationText> {
    (0_u64..10_000_000_000_000).prop_map(|nanos| raw::DurationText(Duration::from_nanos(nanos)))
}

fn text() -> impl Strategy<Value = raw::PlainText> {
    prop_oneof![
        // The YAML writer breaks lines at two characters that are not line breaks since YAML 1.2.
        "[\\PC&&[^\u{2028}\u{2029}]]{0,12}",
        Just("true".to_owned()),
        Just("1e3".to_owned()),
        Just("007".to_owned()),
        Just("null".to_owned()),
        Just("~".to_owned()),
        Just("- a: b".to_owned()),
        Just("two\nlines\n".to_owned()),
    ]
    .prop_map(raw::PlainText)
}

fn name() -> impl Strategy<Value = raw::NameText> {
    prop_oneof!["[A-Za-z0-9_.-]{1,12}", Just("1".to_owned()), Just("null".to_owned())]
        .prop_map(raw::NameText)
}

fn range() -> impl Strategy<Value = raw::RangeText> {
    (any::<u16>(), any::<u16>())
        .prop_map(|(a, b)| raw::RangeText { first: a.min(b), last: a.max(b) })
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![any::<i32>().prop_map(f64::from), -1e6_f64..1e6]
}

fn listen() -> impl Strategy<Value = raw::Listen> {
    (any::<[u8; 4]>(), any::<u16>()).prop_map(|(ip, port)| raw::Listen((ip, port).into()))
}

fn register_value() -> impl Strategy<Value = raw::RegisterValue> {
    prop_oneof![
        any::<i64>().prop_map(raw::RegisterValue::Integer),
        // JSON writes a whole float like an integer.
        (-1e6_f64..1e6)
            .prop_filter("whole", |n| n.fract() != 0.0)
            .prop_map(raw::RegisterValue::Number),
        text().prop_map(|text| raw::RegisterValue::Text(text.0)),
    ]
}

prop_compose! {
    fn register()(
        address in range(),
        count in proptest::option::of(1_u32..=65_536),
        name in proptest::option::of(text()),
        value in proptest::option::of(register_value()),
        sine in proptest::option::of((number(), number(), duration())),
        kind in proptest::sample::select(vec![None, Some(raw::ValueType::Hex), Some(raw::ValueType::Double)]),
        read_only in any::<Option<bool>>(),
        min in proptest::option::of(number()),
        reaction in proptest::option::of((duration(), any::<u16>(), register_value())),
    ) -> raw::Register {
        raw::Register {
            address, count, name, value, read_only, min,
            r#type: kind,
            words: None,
            word_order: Some(raw::WordOrder::Lsw),
            byte_order: None,
            ramp: None,
            sine: sine.map(|(mean, amplitude, period)| raw::Sine { mean, amplitude, period, phase: None }),
            counter: None,
            random_walk: None,
            uptime: None,
            write_exception: None,
            max: None,
            on_write: reaction.map(|(after, address, value)| vec![raw::OnWrite {
                after: Some(after),
                set: Some(raw::StoredRegister::Input(address)),
                copy: None,
                ramp: None,
                value: Some(value),
                per_second: None,
            }]),
        }
    }
}

prop_compose! {
    fn slave()(
        listen in proptest::option::of(listen()),
        latency in proptest::option::of(duration()),
        unknown in proptest::sample::select(vec![
            None,
            Some(raw::UnknownUnit::Silence),
            Some(raw::UnknownUnit::Exception(11)),
        ]),
        units in proptest::collection::btree_map(
            any::<u8>().prop_map(raw::UnitId),
            proptest::collection::vec(register(), 0..3),
            0..3,
        ),
    ) -> raw::Slave {
        let unit = |holding| raw::Unit { holding: Some(holding), ..raw::Unit::default() };
        raw::Slave {
            listen, latency,
            hosts: Some(vec!["pump.local:502".parse().unwrap()]),
            units: Some(units.into_iter().map(|(id, holding)| (id, unit(holding))).collect()),
            unknown_unit: unknown,
            max_connections: Some(5),
            idle: None,
        }
    }
}

fn delay() -> impl Strategy<Value = serde_json::Value> {
    prop_oneof![
        duration().prop_map(|fixed| json!(fixed)),
        [duration(), duration()].prop_map(|ends| json!({ "uniform": ends })),
        (duration(), duration())
            .prop_map(|(median, p95)| json!({ "lognormal": { "median": median, "p95": p95 } })),
    ]
}

fn effect() -> impl Strategy<Value = raw::Effect> {
    use raw::{Choice, EffectKeyword, EffectWithParameters};
    let word = |word: &str| Choice::Word(EffectKeyword::named(word).unwrap());
    let with =
        |word: &str, parameters| Choice::Map(EffectWithParameters::new(word, parameters).unwrap());
    prop_oneof![
        proptest::sample::select(vec!["hold", "off_by_one", "malformed_json"]).prop_map(word),
        delay().prop_map(move |delay| with("delay", delay)),
        any::<i32>().prop_map(move |code| with("result", json!(code))),
        duration().prop_map(move |lasts| with("hold", json!(lasts))),
        Just(with("close", json!("middle"))),
        (200_u16..600, any::<u32>()).prop_map(move |(code, after)| {
            with("status", json!({ "code": code, "retry_after": after }))
        }),
        (200_u16..600).prop_map(move |code| with("status", json!(code))),
    ]
}

prop_compose! {
    fn rule()(
        id in proptest::option::of(name()),
        word in any::<bool>(),
        slave in text(),
        address in proptest::option::of(range()),
        nth in proptest::option::of(proptest::collection::vec(any::<u64>(), 1..3)),
        probability in proptest::option::of(0.0_f64..1.0),
        effect in effect(),
    ) -> raw::Rule {
        let place = raw::Place { slave: Some(slave), address, unit: Some(1), ..raw::Place::default() };
        let nth = nth.map(|nth| match nth.as_slice() {
            [one] => raw::OneOrMany::One(*one),
            _ => raw::OneOrMany::Many(nth),
        });
        raw::Rule {
            id,
            at: if word { raw::Choice::Word(raw::PlaceWord::Queue) } else { raw::Choice::Map(place) },
            when: Some(raw::When { nth, probability, ..raw::When::default() }),
            effect,
        }
    }
}

prop_compose! {
    fn house()(
        name in proptest::option::of(text()),
        seed in any::<Option<u64>>(),
        device in proptest::option::of((listen(), proptest::option::of(text()))),
        slaves in proptest::collection::btree_map(name(), slave(), 0..3),
        body in text(),
        header in text(),
        faults in proptest::collection::vec(rule(), 0..4),
    ) -> raw::Scenario {
        let route = raw::Route {
            method: Some("POST".parse().unwrap()),
            path: "/light/0".parse().unwrap(),
            status: Some(201),
            headers: Some([("X-A".to_owned(), header)].into()),
            body: Some(body),
            latency: None,
            replies: None,
        };
        let target = raw::Target { routes: Some(vec![route]), ..raw::Target::default() };
        raw::Scenario {
            name, seed,
            clock: Some(raw::Clock { start: None, speed: Some("manual".parse().unwrap()) }),
            control: None,
            outbound: Some(raw::Outbound::Loopback),
            meter: None,
            mdns: Some(raw::Mdns::Off),
            fleet: None,
            device: device.map(|(http, file)| raw::Device {
                http: Some(http),
                license: Some(raw::License::Pro),
                modbus: Some(raw::Choice::Word(http)),
                modbus_map: Some(raw::RegisterMapText(json!([{"start_address": 1, "registers": []}]))),
                actions: Some(raw::Actions(json!({"const": {"a": null, "b": 1.5}, "actions": []}))),
                actions_file: file,
                ..raw::Device::default()
            }),
            devices: None,
            slaves: Some(slaves),
            http_targets: Some([(raw::NameText("bulb".into()), target)].into()),
            mqtt_brokers: Some(
                [(raw::NameText("lab".into()), raw::Broker {
                    address: "127.0.0.1:1883".parse().unwrap(),
                    hosts: Some(vec!["broker.example.com".parse().unwrap()]),
                })]
                .into(),
            ),
            faults: Some(faults),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_raw_scenario_survives_a_round_trip_through_yaml(house in house()) {
        let mut yaml = Vec::new();
        let mut serializer = serde_yaml::Serializer::new(&mut yaml);
        serde_yaml::with::singleton_map_recursive::serialize(&house, &mut serializer).unwrap();
        let yaml = String::from_utf8(yaml).unwrap();
        let parsed = scenario::read_raw(&yaml)
            .map_err(|error| TestCaseError::fail(format!("{error}\n{yaml}")))?;
        prop_assert_eq!(parsed, house, "{}", yaml);
    }

    #[test]
    fn any_text_loads_or_is_refused(text in "(\\PC|[\n:{}\\[\\],&* -]|slaves|faults|at|effect){0,60}") {
        property::holds(text.as_bytes());
    }
}
