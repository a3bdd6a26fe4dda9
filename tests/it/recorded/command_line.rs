//! The commands that start no house.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

use super::process::output;
use super::transcript::Transcript;

const BAD: &str = "fixtures/scenarios/bad";
const GOOD: &str = "fixtures/scenarios/good/every_key.yaml";

pub(super) fn play() -> Transcript {
    let mut transcript = Transcript::default();
    transcript.heading("check");
    let files = bad_files();
    for file in &files {
        for format in ["human", "json"] {
            run(&mut transcript, &["check", "--format", format, file]);
        }
    }
    run(&mut transcript, &["check", GOOD]);
    run(&mut transcript, &["check", "fixtures/no/such/file.yaml"]);
    run(&mut transcript, &["check", GOOD, &files[0], &files[2]]);
    run(&mut transcript, &["check", "--format", "github", GOOD, &files[0], &files[1]]);
    run(&mut transcript, &["check", "--format", "json", GOOD]);
    transcript.heading("list and schema");
    run(&mut transcript, &["list"]);
    schema(&mut transcript);
    transcript.heading("trace");
    for format in ["csv", "json"] {
        let range = ["--for", "2h", "--every", "15m", "--format", format];
        run(&mut transcript, &[&["trace", "heat-pump-winter"], &range[..]].concat());
        run(&mut transcript, &[&["trace", "pv-and-battery", "--from", "11h"], &range[..]].concat());
    }
    run(&mut transcript, &["trace", "clock-change-october", "--from", "1h", "--for", "3h"]);
    run(&mut transcript, &["trace", "no-such-house"]);
    run(&mut transcript, &["trace", "family-house", "--from", "2020-01-01T00:00:00Z"]);
    run(&mut transcript, &["trace", "family-house", "--every", "0"]);
    run(&mut transcript, &["trace", "family-house", "--device", "000000000000"]);
    transcript.heading("run, with mistakes");
    run(&mut transcript, &["run", "no-such-house"]);
    run(&mut transcript, &["run", &files[0]]);
    transcript
}

/// Runs a command and writes down what it printed and its exit code.
fn run(transcript: &mut Transcript, arguments: &[&str]) {
    let output = output(arguments);
    transcript.sent("wwsim", &arguments.join(" "));
    transcript.printed(&String::from_utf8(output.stdout).unwrap());
    if !output.stderr.is_empty() {
        transcript.note("(standard error)");
        transcript.printed(&String::from_utf8(output.stderr).unwrap());
    }
    transcript.note(&format!("(exit code {})", output.status.code().unwrap()));
}

/// Writes down the schema without its texts for people, and with numbers in place of the names of its
/// definitions: neither is part of what it accepts.
fn schema(transcript: &mut Transcript) {
    let output = output(&["schema"]);
    let schema: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut names = Names::default();
    let Value::Object(mut root) = schema else { panic!("the schema is no object") };
    let Some(Value::Object(definitions)) = root.remove("$defs") else { panic!("no definitions") };
    let mut shown = vec![("root".to_owned(), plain(Value::Object(root), &mut names))];
    while let Some(name) = names.found.get(shown.len() - 1).cloned() {
        let definition = plain(definitions[&name].clone(), &mut names);
        shown.push((shown.len().to_string(), definition));
    }
    assert_eq!(names.found.len(), definitions.len(), "a definition is never used");
    transcript.sent("wwsim", "schema, without descriptions and names of definitions");
    for (name, definition) in shown {
        transcript.printed(&format!("{name}: {definition}\n"));
    }
    transcript.note(&format!("(exit code {})", output.status.code().unwrap()));
}

/// The definitions in the order in which they are first used.
#[derive(Default)]
struct Names {
    found: Vec<String>,
    numbers: HashMap<String, usize>,
}

impl Names {
    fn number(&mut self, name: &str) -> usize {
        *self.numbers.entry(name.to_owned()).or_insert_with(|| {
            self.found.push(name.to_owned());
            self.found.len()
        })
    }
}

/// A part of the schema without descriptions, its references by number.
fn plain(value: Value, names: &mut Names) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.into_iter().filter_map(|(key, value)| match (key.as_str(), &value) {
                ("description" | "title", Value::String(_)) => None,
                ("$ref", Value::String(name)) => {
                    let name = name.strip_prefix("#/$defs/").unwrap();
                    Some((key, names.number(name).into()))
                }
                _ => Some((key, plain(value, names))),
            });
            Value::Object(kept.collect::<Map<String, Value>>())
        }
        Value::Array(values) => {
            Value::Array(values.into_iter().map(|value| plain(value, names)).collect())
        }
        other => other,
    }
}

/// Every scenario file with mistakes, in alphabetical order, relative to the project.
fn bad_files() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["meaning", "structure", "syntax"] {
        let folder = format!("{BAD}/{folder}");
        let entries = fs::read_dir(root.join(&folder)).unwrap();
        for entry in entries {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if Path::new(&name).extension().is_some_and(|extension| extension == "yaml") {
                files.push(format!("{folder}/{name}"));
            }
        }
    }
    files.sort();
    files
}
