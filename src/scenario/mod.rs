//! Scenario files: parsing, checking and lowering.
//!
//! A file passes through these stages: [`tree`] parses it into a bounded tree with spans;
//! [`structure`] finds every structural mistake by the JSON Schema that [`schema`] generates from the
//! [`raw`] types; serde decodes the valid parts; [`lower`] turns the result into a [`Scenario`] and
//! finds the semantic mistakes. All mistakes are reported at once ([`Diagnostics`]). The raw types and
//! the [`Scenario`] are separate, so that the language and the model can each have the best form.

mod builtin;
mod diagnostics;
#[cfg(feature = "cli")]
mod render;
mod error;
mod fleet;
mod life;
mod lower;
mod model;
mod path;
pub mod raw;
mod schema;
mod structure;
mod surrogates;
mod tree;
mod warnings;

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_path_to_error::{Deserializer, Segment as Step, Track};
use serde_yaml::Value;
use serde_yaml::with::singleton_map_recursive;

pub use self::builtin::{Builtin, builtin, builtins};
#[cfg(feature = "cli")]
pub(crate) use self::diagnostics::nearest;
pub use self::diagnostics::{Diagnostic, Diagnostics};
use self::diagnostics::{Mistake, Mistakes};
pub use self::error::{LoadError, OverrideError};
pub use self::fleet::{
    FleetIds, FleetListen, FleetPlan, InvalidShard, LifeState, MixPlan, RouteBy, Shard, StagePlan,
};
pub use self::life::{Life, LifeStep};
use self::lower::LoadContext;
pub use self::lower::{DeviceActions, LoadOverrides};
pub use self::model::*;
pub use self::path::{FieldPath, Segment};
pub use self::raw::ScalarError;
pub use self::schema::{actions_schema, json_schema};
use self::structure::Checked;
pub use self::tree::Span;
use self::tree::{Node, ParseError};
use crate::fault::Rule;
use crate::limits;
use crate::problem::Problem;

/// Loads a scenario from its text. Mistakes are reported under `file_name`. Paths in the scenario
/// (`actions_file`) are relative to `base_dir`; without one they are refused.
///
/// # Errors
/// Returns all mistakes of the text.
///
/// ```
/// let house = wwsim::scenario::load("seed: 7", "house.yaml", None).unwrap();
/// assert_eq!(house.devices[0].identity.id.as_str(), "A842E39F8124");
///
/// let mistakes = wwsim::scenario::load("sede: 7", "house.yaml", None).unwrap_err();
/// assert_eq!(mistakes.mistakes()[0].suggestion.as_deref(), Some("seed"));
/// ```
pub fn load(text: &str, file_name: &str, base_dir: Option<&Path>) -> Result<Scenario, Diagnostics> {
    let loaded = load_text(text, file_name, base_dir, &LoadOverrides::default())?;
    // Only the addresses of a caller can be refused.
    Ok(loaded.scenario)
}

/// Loads a scenario as [`load`] does, for a house in which the caller decides some things.
///
/// # Errors
/// Returns a [`LoadError`] with all mistakes of the text, or if what the caller gives cannot be used.
pub fn load_with(
    text: &str,
    file_name: &str,
    base_dir: Option<&Path>,
    overrides: &LoadOverrides,
) -> Result<Scenario, LoadError> {
    let loaded = load_text(text, file_name, base_dir, overrides).map_err(LoadError::Invalid)?;
    loaded.overrides.map_err(LoadError::Override)?;
    Ok(loaded.scenario)
}

/// A scenario without mistakes.
struct Loaded {
    scenario: Scenario,
    /// The outcome of giving it what the caller decides.
    overrides: Result<(), OverrideError>,
}

fn load_text(
    text: &str,
    file_name: &str,
    base_dir: Option<&Path>,
    overrides: &LoadOverrides,
) -> Result<Loaded, Diagnostics> {
    let tree =
        tree::parse(text).map_err(|error| Diagnostics::from_parse_error(file_name, text, error))?;
    let mut mistakes = Mistakes::default();
    for duplicate in &tree.duplicates {
        mistakes.push(Mistake::duplicate(duplicate));
    }
    let loaded = check_and_lower(&tree.root, base_dir, overrides, &mut mistakes);
    match loaded {
        Some(Loaded { scenario, overrides }) if mistakes.is_empty() => {
            Ok(Loaded { scenario: Scenario { source: text.into(), ..scenario }, overrides })
        }
        _ => Err(Diagnostics::from_mistakes(file_name, text, &tree.root, mistakes)),
    }
}

/// Parses a scenario into its raw form, without a semantic check: for programs that write scenarios.
///
/// # Errors
/// Returns all structural mistakes of the text.
#[cfg(any(test, feature = "internals"))]
pub fn read_raw(text: &str) -> Result<raw::Scenario, Diagnostics> {
    let name = "scenario";
    let tree =
        tree::parse(text).map_err(|error| Diagnostics::from_parse_error(name, text, error))?;
    let mut mistakes = Mistakes::default();
    let checked = structure::check_structure(&tree.root, schema::root(), &mut mistakes);
    match decode_scenario(&checked, &mut mistakes) {
        Some(raw) if mistakes.is_empty() => Ok(raw),
        _ => Err(Diagnostics::from_mistakes(name, text, &tree.root, mistakes)),
    }
}

fn decode_scenario(checked: &Checked, mistakes: &mut Mistakes) -> Option<raw::Scenario> {
    match checked.value {
        Some(Value::Null) => Some(raw::Scenario::default()),
        _ => decode(checked, mistakes),
    }
}

/// Takes a tree through the structural check, the decoding and the lowering. `None` if there are too
/// many mistakes to go on.
fn check_and_lower(
    root: &Node,
    base_dir: Option<&Path>,
    overrides: &LoadOverrides,
    mistakes: &mut Mistakes,
) -> Option<Loaded> {
    let checked = structure::check_structure(root, schema::root(), mistakes);
    if mistakes.is_full() {
        return None;
    }
    let raw = decode_scenario(&checked, mistakes)?;
    let structural = mistakes.len();
    let structural_paths: Vec<FieldPath> = mistakes.paths().cloned().collect();
    let has_mistakes = |path: &FieldPath| {
        let path = checked.path_in_file(path);
        structural_paths.iter().any(|mistake| mistake.starts_with(&path))
    };
    let context = LoadContext { base_dir, root, has_mistakes: &has_mistakes };
    let mut scenario = lower::scenario(&raw, &context, overrides, mistakes);
    let overrides = lower::assign_listeners(&mut scenario, &raw, overrides, mistakes);
    mistakes.rewrite_after(structural, |path| checked.path_in_file(path));
    Some(Loaded { scenario, overrides })
}

/// Loads a scenario file. Paths in it are relative to its folder.
///
/// # Errors
/// Returns a [`LoadError`] if the file cannot be read, or with all mistakes of its text.
pub fn load_file(path: &Path) -> Result<Scenario, LoadError> {
    load_file_with(path, &LoadOverrides::default())
}

/// Loads a scenario file as [`load_file`] does, for a house in which the caller decides some things.
///
/// # Errors
/// Returns a [`LoadError`] if the file cannot be read, with all mistakes of its text, or if what the
/// caller gives cannot be used.
pub fn load_file_with(path: &Path, overrides: &LoadOverrides) -> Result<Scenario, LoadError> {
    let file = File::open(path).map_err(LoadError::Read)?;
    load_from(file, &path.display().to_string(), path.parent(), overrides)
}

/// Loads a scenario from a stream, as [`load_with`] does from a text.
///
/// # Errors
/// As [`load_file_with`].
pub(crate) fn load_from(
    stream: impl Read,
    name: &str,
    base_dir: Option<&Path>,
    overrides: &LoadOverrides,
) -> Result<Scenario, LoadError> {
    // One byte more than allowed shows that a file is too large without reading all of it.
    let mut bytes = Vec::new();
    stream
        .take(limits::SCENARIO_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(LoadError::Read)?;
    match String::from_utf8(bytes) {
        Ok(text) => load_with(&text, name, base_dir, overrides),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            Err(LoadError::Invalid(not_utf8(name, error.as_bytes(), valid)))
        }
    }
}

/// Reports bytes of which the first `valid` are UTF-8 and the next one is not.
fn not_utf8(name: &str, bytes: &[u8], valid: usize) -> Diagnostics {
    let error = if bytes.len() > limits::SCENARIO_BYTES {
        let message = format!(
            "the file has more than the {} bytes a scenario may have",
            limits::SCENARIO_BYTES
        );
        ParseError::new(Span { line: 1, column: 1, ..Span::default() }, message)
    } else {
        let before = String::from_utf8_lossy(&bytes[..valid]);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let message = "this is not UTF-8; save the file as UTF-8";
        ParseError::new(Span { line, column, ..Span::default() }, message)
    };
    Diagnostics::from_parse_error(name, "", error)
}

/// Parses a duration as written in scenarios: `250ms`, `30s`, `5m`, `2h`, `30d`, or 0.
///
/// # Errors
/// Returns a [`ScalarError`] with the text and what was expected.
///
/// ```
/// use std::time::Duration;
/// assert_eq!(wwsim::scenario::parse_duration("1.5s"), Ok(Duration::from_millis(1500)));
/// ```
pub fn parse_duration(text: &str) -> Result<Duration, ScalarError> {
    text.parse().map(|raw::DurationText(duration)| duration)
}

/// Parses a rule for a running house, in the same form and with the same checks as in its scenario.
/// The rule may name the actions that the devices have now, which are `actions`, in the order of the devices of
/// `house`. A rule without an id gets `default_id`.
///
/// # Errors
/// Returns all mistakes, each with the path of its field.
pub fn rule_from_json(
    value: &serde_json::Value,
    house: &Scenario,
    actions: &DeviceActions,
    default_id: &str,
) -> Result<Rule, Vec<Problem>> {
    let mut mistakes = Mistakes::default();
    let node = Node::from_json(value);
    let checked = structure::check_structure(&node, schema::definition("Rule"), &mut mistakes);
    let rule = decode(&checked, &mut mistakes)
        .and_then(|raw| lower::single_rule(&raw, default_id, (house, actions), &mut mistakes));
    match rule {
        Some(rule) if mistakes.is_empty() => Ok(rule),
        _ => Err(mistakes.into_problems()),
    }
}

/// Returns a rule as written in scenarios; [`rule_from_json`] parses it again.
#[must_use]
pub fn rule_to_json(rule: &Rule) -> serde_json::Value {
    // Numbers, texts and mappings with texts as keys always become JSON.
    let mut value = serde_json::to_value(lower::rule_to_raw(rule)).unwrap_or_default();
    remove_nulls(&mut value);
    value
}

/// Removes the nulls, which are the absent keys of the raw types.
fn remove_nulls(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(remove_nulls);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(remove_nulls),
        _ => {}
    }
}

/// Decodes the parts that passed the structural check. serde should find no further mistake; one that
/// it does find, such as a number beyond the range of its type, is reported with its path.
fn decode<T: DeserializeOwned>(checked: &Checked, mistakes: &mut Mistakes) -> Option<T> {
    decode_value(checked.value.clone()?)
        .map_err(|(path, message)| {
            mistakes.push(Mistake::new(checked.path_in_file(&path), message));
        })
        .ok()
}

/// Decodes a value.
///
/// # Errors
/// Returns the path of the first mistake and its message.
fn decode_value<T: DeserializeOwned>(value: Value) -> Result<T, (FieldPath, String)> {
    let mut track = Track::new();
    singleton_map_recursive::deserialize(Deserializer::new(value, &mut track)).map_err(|error| {
        let mut path = FieldPath::root();
        for step in &track.path() {
            match step {
                Step::Seq { index } => path = path.index(*index),
                Step::Map { key } | Step::Enum { variant: key } => path = path.key(key),
                Step::Unknown => {}
            }
        }
        (path, error.to_string())
    })
}
