//! Checks that the device reference in `docs/device` is well formed, and that code, documents and tests
//! cite ids that exist.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The files and folders in which ids are cited.
const CITING: [&str; 11] = [
    "src",
    "crates",
    "tests",
    "benches",
    "fuzz/fuzz_targets",
    "docs",
    "scenarios",
    "scripts",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
];

/// Forms of citations that were in use before the rulings had ids.
const FORMER: [&str; 4] = ["ontract §", "(ruling", "ruling)", "docs/rulings.md"];

/// Returns the text files below a path, with their paths from the root of the repository.
fn files(below: &str) -> Vec<(String, String)> {
    let (mut found, mut paths) = (Vec::new(), vec![Path::new(ROOT).join(below)]);
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(path).unwrap();
            paths.extend(entries.map(|entry| entry.unwrap().path()));
        } else if let Ok(text) = std::fs::read_to_string(&path) {
            found.push((relative(&path), text));
        }
    }
    found.sort();
    found
}

/// Returns `true` if a file has this extension.
fn is_kind(path: &str, extension: &str) -> bool {
    Path::new(path).extension().is_some_and(|found| found == extension)
}

fn relative(path: &Path) -> String {
    path.strip_prefix(ROOT).unwrap().to_str().unwrap().replace('\\', "/")
}

/// A ruling, parsed from its section of `docs/device`.
#[derive(Debug)]
struct Ruling {
    prefix: String,
    number: usize,
    /// The items of the list: names and texts.
    fields: Vec<(String, String)>,
    /// The file and line of the heading.
    place: String,
}

impl Ruling {
    fn id(&self) -> String {
        format!("{}-{}", self.prefix, self.number)
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, text)| &**text)
    }

    fn is_built(&self) -> bool {
        self.field("Status").is_none()
    }
}

/// Splits `HTTP-7` into its prefix and number.
fn parse_id(text: &str) -> Option<(&str, usize)> {
    let (prefix, number) = text.split_once('-')?;
    let is_word = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_uppercase());
    let is_number = !number.starts_with('0') && number.bytes().all(|byte| byte.is_ascii_digit());
    (is_word && is_number).then(|| number.parse().ok().map(|number| (prefix, number)))?
}

/// Returns the sections of the reference, without the README.
fn sections() -> Vec<(String, String)> {
    let mut all = files("docs/device");
    all.retain(|(path, _)| is_kind(path, "md") && !path.ends_with("/README.md"));
    assert!(all.len() > 15, "{} sections", all.len());
    all
}

/// Returns all rulings, or the errors in their form.
fn rulings() -> Result<Vec<Ruling>, Vec<String>> {
    let (mut rulings, mut wrong) = (Vec::<Ruling>::new(), Vec::new());
    for (path, text) in sections() {
        let mut part = "";
        for (index, line) in text.lines().enumerate() {
            let place = format!("{path}:{}", index + 1);
            if let Some(heading) = line.strip_prefix("## ") {
                part = heading;
                if !["Facts", "Rulings"].contains(&part) {
                    wrong.push(format!("{place}: expected `## Facts` or `## Rulings`"));
                }
            } else if let Some(heading) = line.strip_prefix("### ") {
                let id = heading.split_once(": ").and_then(|(id, _)| parse_id(id));
                match id {
                    Some((prefix, number)) if part == "Rulings" => {
                        let prefix = prefix.to_owned();
                        rulings.push(Ruling { prefix, number, fields: Vec::new(), place });
                    }
                    _ => wrong.push(format!("{place}: expected a ruling, `### HTTP-1: title`")),
                }
            } else if let Some(item) = line.strip_prefix("- ") {
                let field = item.strip_prefix("**").and_then(|rest| rest.split_once("**"));
                match (part, field) {
                    ("Facts", Some(("Documented" | "Observed", _))) => {}
                    ("Rulings", Some((name, text))) if rulings.last().is_some() => {
                        let (name, text) =
                            (name.to_owned(), text.trim_start_matches(": ").to_owned());
                        rulings.last_mut().unwrap().fields.push((name, text));
                    }
                    _ => wrong.push(format!("{place}: expected a mark or a field, `- **Here**: `")),
                }
            } else if let (Some(rest), Some(ruling)) = (line.strip_prefix("  "), rulings.last_mut())
                && let Some((_, text)) = ruling.fields.last_mut()
                && part == "Rulings"
            {
                text.push(' ');
                text.push_str(rest);
            }
        }
    }
    if wrong.is_empty() { Ok(rulings) } else { Err(wrong) }
}

/// Finds the ids of these prefixes in a line.
fn cited<'a>(line: &'a str, prefixes: &BTreeSet<String>) -> Vec<&'a str> {
    let separates = |c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_');
    let words = line.split(separates);
    words
        .filter(|word| parse_id(word).is_some_and(|(prefix, _)| prefixes.contains(prefix)))
        .collect()
}

/// Returns each id that a comment above a test names, with the places of the comments, and the errors.
fn named_by_tests() -> (BTreeMap<String, Vec<String>>, Vec<String>) {
    let (mut named, mut wrong) = (BTreeMap::<String, Vec<String>>::new(), Vec::new());
    for (path, text) in ["src", "crates", "tests"].into_iter().flat_map(files) {
        if !is_kind(&path, "rs") {
            continue;
        }
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        for (index, line) in lines.iter().enumerate() {
            let Some(ids) = line.strip_prefix("// Ruling: ") else { continue };
            let place = format!("{path}:{}", index + 1);
            let below = lines[index + 1..].iter().take_while(|line| line.starts_with("#["));
            if !below.clone().any(|line| line.starts_with("#[test]") || line.contains("::test")) {
                wrong.push(format!("{place}: expected the attributes of a test below"));
            }
            let Some(ids) = ids.strip_suffix('.') else {
                wrong.push(format!("{place}: expected a full stop at the end"));
                continue;
            };
            for id in ids.split(", ") {
                named.entry(id.to_owned()).or_default().push(place.clone());
            }
        }
    }
    (named, wrong)
}

#[test]
fn every_ruling_is_well_formed_and_numbered() {
    let rulings = rulings().unwrap_or_else(|wrong| panic!("{}", wrong.join("\n")));
    assert!(rulings.len() > 150, "{} rulings", rulings.len());
    let (mut wrong, mut counts) = (Vec::new(), BTreeMap::<&str, (usize, &str)>::new());
    for ruling in &rulings {
        let (place, id) = (&ruling.place, ruling.id());
        let names: Vec<_> = ruling.fields.iter().map(|(name, _)| &**name).collect();
        if names != ["Vendor", "Here", "Setting"]
            && names != ["Vendor", "Here", "Setting", "Status"]
        {
            wrong.push(format!("{place}: {id} has the fields {names:?}"));
        }
        if ruling.fields.iter().any(|(_, text)| text.is_empty()) {
            wrong.push(format!("{place}: {id} has an empty field"));
        }
        if ruling.field("Status").is_some_and(|status| status != "not built") {
            wrong.push(format!("{place}: {id}: the only status is `not built`"));
        }
        let file = place.split(':').next().unwrap_or_default();
        let (count, home) = counts.entry(&ruling.prefix).or_insert((0, file));
        *count += 1;
        if (*count, *home) != (ruling.number, file) {
            wrong.push(format!("{place}: {id}: expected {}-{count} in {home}", ruling.prefix));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_ruling_is_in_the_index() {
    let index = std::fs::read_to_string(Path::new(ROOT).join("docs/device/README.md")).unwrap();
    for ruling in rulings().unwrap() {
        let (file, _) = ruling.place.rsplit_once(':').unwrap();
        let link = format!("- [{}]({}#", ruling.id(), file.rsplit('/').next().unwrap());
        assert!(index.contains(&link), "{link}: run scripts/regenerate");
    }
}

#[test]
fn every_cited_id_exists() {
    let rulings = rulings().unwrap();
    let known: BTreeSet<_> = rulings.iter().map(Ruling::id).collect();
    let prefixes: BTreeSet<_> = rulings.iter().map(|ruling| ruling.prefix.clone()).collect();
    let own = relative(&PathBuf::from(ROOT).join(file!()));
    let (mut count, mut wrong) = (0, Vec::new());
    for (path, text) in CITING.into_iter().flat_map(files).filter(|(path, _)| *path != own) {
        for (index, line) in text.lines().enumerate() {
            for id in cited(line, &prefixes) {
                count += 1;
                if !known.contains(id) {
                    wrong.push(format!("{path}:{}: there is no ruling {id}", index + 1));
                }
            }
            for former in FORMER.into_iter().filter(|former| line.contains(former)) {
                wrong.push(format!("{path}:{}: `{former}`: cite an id of docs/device", index + 1));
            }
        }
    }
    let (named, malformed) = named_by_tests();
    wrong.extend(malformed);
    for (id, places) in named {
        if !known.contains(&id) {
            wrong.push(format!("{}: there is no ruling {id}", places.join(", ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 300, "{count} citations");
}

#[test]
fn every_built_ruling_is_named_by_a_test() {
    if !Path::new(ROOT).join("crates").is_dir() {
        // The packaged crate has not the tests of the other crates.
        return;
    }
    let named = named_by_tests().0;
    let mut wrong = Vec::new();
    for ruling in rulings().unwrap() {
        let id = ruling.id();
        match named.get(&id) {
            None if ruling.is_built() => {
                wrong.push(format!("{}: no test names {id}", ruling.place));
            }
            Some(places) if !ruling.is_built() => {
                wrong.push(format!("{}: {id} is not built, says its status", places.join(", ")));
            }
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Returns the alternative schemas of a node of a JSON Schema.
fn alternatives<'a>(schema: &'a Value, node: &'a Value) -> Vec<&'a Value> {
    let mut found = vec![node];
    if let Some(name) = node["$ref"].as_str() {
        let target = schema.pointer(name.trim_start_matches('#')).unwrap();
        found.extend(alternatives(schema, target));
    }
    for key in ["anyOf", "oneOf"] {
        for option in node[key].as_array().into_iter().flatten() {
            found.extend(alternatives(schema, option));
        }
    }
    if node["items"].is_object() {
        found.extend(alternatives(schema, &node["items"]));
    }
    found
}

/// Returns `true` if the scenario language has a key. `*` matches a name that the user chooses.
fn is_key(schema: &Value, path: &str) -> bool {
    let mut nodes = vec![schema];
    for key in path.split('.') {
        let all: Vec<_> = nodes.iter().flat_map(|node| alternatives(schema, node)).collect();
        nodes = all
            .into_iter()
            .filter_map(|node| {
                let own = node["additionalProperties"].as_object();
                let own = own.map(|_| &node["additionalProperties"]);
                let of_pattern = || node["patternProperties"].as_object()?.values().next();
                if key == "*" { own.or_else(of_pattern) } else { node["properties"].get(key) }
            })
            .collect();
    }
    !nodes.is_empty()
}

#[test]
fn every_setting_of_a_ruling_is_a_scenario_key() {
    let path = Path::new(ROOT).join("schema/scenario.schema.json");
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(is_key(&schema, "device.digest") && !is_key(&schema, "device.nonsense"));
    let mut wrong = Vec::new();
    for ruling in rulings().unwrap().into_iter().filter(Ruling::is_built) {
        let setting = ruling.field("Setting").unwrap();
        if setting == "none" {
            continue;
        }
        let keys: Vec<_> = setting.split('`').skip(1).step_by(2).collect();
        let known = |key: &&str| is_key(&schema, key) || key.starts_with('.');
        if keys.is_empty() || !keys.iter().all(|key| known(key) || *key == "null") {
            wrong.push(format!("{}: {}: {setting}", ruling.place, ruling.id()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
