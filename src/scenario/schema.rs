//! The JSON Schema of scenarios, generated from the raw types: for editors and for the structural
//! check.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::raw;

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<raw::Scenario>().to_value();
    join_lines(&mut schema);
    with_id(schema)
});

/// The address of the schema, by which editors and validators tell it from others. It is the text's own
/// and leads nowhere.
const ID: &str = "urn:wwsim:scenario";

/// Puts the id behind `$schema`, which is first.
fn with_id(schema: Value) -> Value {
    let Value::Object(members) = schema else { return schema };
    let mut identified = serde_json::Map::new();
    for (key, member) in members {
        let is_dialect = key == "$schema";
        identified.insert(key, member);
        if is_dialect {
            identified.insert("$id".to_owned(), ID.into());
        }
    }
    Value::Object(identified)
}

/// Joins the lines of descriptions, which come from wrapped comments.
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

/// Returns the JSON Schema of scenario files, draft 2020-12, as it is committed in
/// `schema/scenario.schema.json`.
#[must_use]
pub fn json_schema() -> String {
    format!("{:#}\n", *SCHEMA)
}

/// Returns the schema of an action definition, as the device's API accepts it.
#[must_use]
pub fn actions_schema() -> Value {
    let mut schema = definition("Actions").clone();
    if let Some(members) = schema.as_object_mut() {
        // A mark for the structural check of scenarios.
        members.remove("x-json");
    }
    schema
}

/// Returns the schema of a whole file.
pub(super) fn root() -> &'static Value {
    &SCHEMA
}

/// Returns the schema of one of the types that scenarios consist of.
pub(super) fn definition(name: &str) -> &'static Value {
    &SCHEMA["$defs"][name]
}

/// Returns the forms that a value may have, with references and alternatives resolved.
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

/// Returns true if a form allows a value of this JSON type.
pub(super) fn allows(form: &Value, kind: &str) -> bool {
    match &form["type"] {
        Value::String(one) => one == kind,
        Value::Array(several) => several.iter().any(|one| one == kind),
        _ => false,
    }
}

/// Returns the words of a form that is one of several words.
pub(super) fn words(form: &'static Value) -> impl Iterator<Item = &'static str> {
    let constant = form["const"].as_str();
    let listed = form["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
    constant.into_iter().chain(listed)
}

/// Returns the key of a form that is a mapping with exactly one key.
pub(super) fn single_key(form: &'static Value) -> Option<&'static str> {
    let [key] = form["required"].as_array()?.as_slice() else { return None };
    let properties = form["properties"].as_object()?;
    (properties.len() == 1).then_some(key.as_str()).flatten()
}
