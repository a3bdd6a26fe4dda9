//! The JSON Schema of the language, made from the raw types: for editors, and for the walk.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::raw;

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<raw::Scenario>().to_value();
    join_lines(&mut schema);
    schema
});

/// Descriptions come from comments, which break their lines for the source.
fn join_lines(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            for (key, member) in members {
                match member {
                    Value::String(text) if key == "description" => *text = text.replace('\n', " "),
                    _ => join_lines(member),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(join_lines),
        _ => {}
    }
}

/// The JSON Schema of scenario files, draft 2020-12, as it is committed in
/// `schema/scenario.schema.json`.
#[must_use]
pub fn json_schema() -> String {
    format!("{:#}\n", *SCHEMA)
}

/// The schema of an action definition, as the device's API takes it.
#[must_use]
pub fn actions_schema() -> Value {
    let mut schema = definition("Actions").clone();
    if let Some(members) = schema.as_object_mut() {
        // For the walk over scenarios.
        members.remove("x-json");
    }
    schema
}

/// The schema of a whole file.
pub(super) fn root() -> &'static Value {
    &SCHEMA
}

/// The schema of one of the types it is made of.
pub(super) fn definition(name: &str) -> &'static Value {
    &SCHEMA["$defs"][name]
}

/// The forms a value may have, references and alternatives resolved.
pub(super) fn forms(schema: &'static Value) -> Vec<&'static Value> {
    let mut forms = Vec::new();
    collect(schema, &mut forms);
    forms
}

fn collect(schema: &'static Value, forms: &mut Vec<&'static Value>) {
    if let Some(name) = schema["$ref"].as_str().and_then(|name| name.strip_prefix("#/$defs/")) {
        collect(definition(name), forms);
    } else if let Some(alternatives) =
        schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array())
    {
        for alternative in alternatives {
            collect(alternative, forms);
        }
    } else {
        forms.push(schema);
    }
}

/// Returns whether a form allows a value of this JSON type.
pub(super) fn allows(form: &Value, kind: &str) -> bool {
    match &form["type"] {
        Value::String(one) => one == kind,
        Value::Array(several) => several.iter().any(|one| one == kind),
        _ => false,
    }
}

/// The words of a form that is a word out of a list.
pub(super) fn words(form: &'static Value) -> impl Iterator<Item = &'static str> {
    let constant = form["const"].as_str();
    let listed = form["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
    constant.into_iter().chain(listed)
}

/// The key of a form that is a mapping with exactly this one key.
pub(super) fn single_key(form: &'static Value) -> Option<&'static str> {
    let [key] = form["required"].as_array()?.as_slice() else { return None };
    let properties = form["properties"].as_object()?;
    (properties.len() == 1).then_some(key.as_str()).flatten()
}
