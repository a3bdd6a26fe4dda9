//! The scenario file: what may be written, what it means, and every mistake in it at once.
//!
//! A file goes this way: [`tree`] reads it into a bounded tree with places; [`structure`] finds every
//! structural mistake by the JSON Schema that [`schema`] makes from the [`raw`] types; serde decodes
//! what is right; [`lower`] turns it into a [`Scenario`] and finds what only sense can find. What
//! is written and what it means are two types, so that neither bends to the other.

mod builtin;
mod diagnostics;
#[cfg(feature = "cli")]
mod render;
mod lower;
mod model;
mod path;
pub mod raw;
mod schema;
mod tree;
mod structure;

use std::fs::File;
use std::io::{self, Read};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_path_to_error::{Deserializer, Segment as Step, Track};
use serde_yaml::Value;
use serde_yaml::with::singleton_map_recursive;

pub use self::builtin::{Builtin, builtin, builtins};
pub use self::diagnostics::{Diagnostic, Diagnostics};
use self::diagnostics::{Mistake, Mistakes};
use self::lower::LoadContext;
pub use self::model::*;
pub use self::path::{FieldPath, Segment};
pub use self::schema::{actions_schema, json_schema};
use self::structure::Checked;
use self::tree::Node;
pub use self::tree::Span;
use crate::fault::Rule;
use crate::limits;
use crate::problem::Problem;

/// Reads a scenario. `file_name` is what mistakes are reported under; paths in it (`actions_file`)
/// start from `base_dir`, and are refused where there is none.
///
/// # Errors
/// All mistakes of the text.
///
/// ```
/// let house = wwsim::scenario::load("seed: 7", "house.yaml", None).unwrap();
/// assert_eq!(house.devices[0].identity.id.as_str(), "A842E39F8124");
///
/// let mistakes = wwsim::scenario::load("sede: 7", "house.yaml", None).unwrap_err();
/// assert_eq!(mistakes.mistakes()[0].suggestion.as_deref(), Some("seed"));
/// ```
pub fn load(
    text: &str,
    file_name: &str,
    base_dir: Option<&std::path::Path>,
) -> Result<Scenario, Diagnostics> {
    let tree =
        tree::parse(text).map_err(|refused| Diagnostics::refused(file_name, text, refused))?;
    let mut mistakes = Mistakes::default();
    for duplicate in &tree.duplicates {
        mistakes.push(Mistake::duplicate(duplicate));
    }
    let house = house(&tree.root, base_dir, &mut mistakes);
    match house {
        Some(house) if mistakes.is_empty() => Ok(Scenario { source: text.into(), ..house }),
        _ => Err(Diagnostics::of(file_name, text, &tree.root, mistakes)),
    }
}

/// Reads what is written in a scenario without asking what it means: for programs that write
/// scenarios.
///
/// # Errors
/// All structural mistakes of the text.
pub fn read_raw(text: &str) -> Result<raw::Scenario, Diagnostics> {
    let name = "scenario";
    let tree = tree::parse(text).map_err(|refused| Diagnostics::refused(name, text, refused))?;
    let mut mistakes = Mistakes::default();
    let walked = structure::walk(&tree.root, schema::root(), &mut mistakes);
    match decode_scenario(&walked, &mut mistakes) {
        Some(raw) if mistakes.is_empty() => Ok(raw),
        _ => Err(Diagnostics::of(name, text, &tree.root, mistakes)),
    }
}

fn decode_scenario(walked: &Checked, mistakes: &mut Mistakes) -> Option<raw::Scenario> {
    match walked.value {
        Some(Value::Null) => Some(raw::Scenario::default()),
        _ => decode(walked, mistakes),
    }
}

fn house(
    root: &Node,
    base_dir: Option<&std::path::Path>,
    mistakes: &mut Mistakes,
) -> Option<Scenario> {
    let walked = structure::walk(root, schema::root(), mistakes);
    if mistakes.is_full() {
        return None;
    }
    let raw = decode_scenario(&walked, mistakes)?;
    let structural = mistakes.len();
    let damaged: Vec<FieldPath> = mistakes.paths().cloned().collect();
    let damaged = |path: &FieldPath| {
        let path = walked.path_in_file(path);
        damaged.iter().any(|mistake| mistake.starts_with(&path))
    };
    let shortened = |path: &FieldPath| walked.is_shortened(&walked.path_in_file(path));
    let surroundings = LoadContext { base_dir, root, damaged: &damaged, shortened: &shortened };
    let house = lower::house(&raw, &surroundings, mistakes);
    mistakes.rewrite_since(structural, |path| walked.path_in_file(path));
    Some(house)
}

/// Reads a scenario file; paths in it start from its folder.
///
/// # Errors
/// The outer one where the file cannot be read, the inner one with all mistakes of its text.
pub fn load_file(path: &std::path::Path) -> io::Result<Result<Scenario, Diagnostics>> {
    let name = path.display().to_string();
    // One byte more than allowed tells a file that is too large without reading all of it.
    let mut bytes = Vec::new();
    File::open(path)?.take(limits::SCENARIO_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(match String::from_utf8(bytes) {
        Ok(text) => load(&text, &name, path.parent()),
        Err(error) => Err(not_utf8(&name, error.as_bytes(), error.utf8_error().valid_up_to())),
    })
}

fn not_utf8(name: &str, bytes: &[u8], valid: usize) -> Diagnostics {
    if bytes.len() > limits::SCENARIO_BYTES {
        let message = format!(
            "the file has more than the {} bytes a scenario may have",
            limits::SCENARIO_BYTES
        );
        return Diagnostics::unreadable(
            name,
            Span { line: 1, column: 1, ..Span::default() },
            message,
        );
    }
    let before = String::from_utf8_lossy(&bytes[..valid]);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let message = "this is not UTF-8; save the file as UTF-8".to_owned();
    Diagnostics::unreadable(name, Span { line, column, ..Span::default() }, message)
}

/// A time as scenarios write it: `250ms`, `30s`, `5m`, `2h`, `30d`, or 0.
///
/// # Errors
/// A message with the text and what was expected.
///
/// ```
/// use std::time::Duration;
/// assert_eq!(wwsim::scenario::parse_duration("1.5s"), Ok(Duration::from_millis(1500)));
/// ```
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    text.parse().map(|raw::DurationText(lapse)| lapse)
}

/// A rule as the control plane takes it, in the same form and with the same checks as in a file of
/// that house. Actions are those that `house` says its devices have; a caller whose devices were
/// given others puts those there. `default_id` is the rule's id where it has none.
///
/// # Errors
/// All mistakes, each with the path of its field.
pub fn rule_from_json(
    value: &serde_json::Value,
    house: &Scenario,
    default_id: &str,
) -> Result<Rule, Vec<Problem>> {
    let mut mistakes = Mistakes::default();
    let walked =
        structure::walk(&Node::from_json(value), schema::definition("Rule"), &mut mistakes);
    let rule = decode(&walked, &mut mistakes)
        .and_then(|raw| lower::single_rule(&raw, default_id, house, &mut mistakes));
    match rule {
        Some(rule) if mistakes.is_empty() => Ok(rule),
        _ => Err(mistakes.into_problems()),
    }
}

/// A rule in the form in which it could be written; [`rule_from_json`] reads it again.
#[must_use]
pub fn rule_to_json(rule: &Rule) -> serde_json::Value {
    // Numbers, texts and mappings with texts as keys always become JSON.
    let mut value = serde_json::to_value(lower::rule_to_raw(rule)).unwrap_or_default();
    leave_out_nulls(&mut value);
    value
}

/// Keys that were not given are null in the raw types.
fn leave_out_nulls(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(leave_out_nulls);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(leave_out_nulls),
        _ => {}
    }
}

/// Decodes what the walk found right. serde should find nothing more; what it does find (a number
/// beyond the range of its type) has a path all the same.
fn decode<T: DeserializeOwned>(walked: &Checked, mistakes: &mut Mistakes) -> Option<T> {
    let mut track = Track::new();
    let deserializer = Deserializer::new(walked.value.clone()?, &mut track);
    match singleton_map_recursive::deserialize(deserializer) {
        Ok(decoded) => Some(decoded),
        Err(error) => {
            let mut path = FieldPath::root();
            for step in &track.path() {
                match step {
                    Step::Seq { index } => path = path.index(*index),
                    Step::Map { key } | Step::Enum { variant: key } => path = path.key(key),
                    Step::Unknown => {}
                }
            }
            mistakes.push(Mistake::new(walked.path_in_file(&path), error.to_string()));
            None
        }
    }
}
