//! Generates the JSON Schema of an object from its table, for scenarios, for the `OpenAPI` description
//! and for the documentation.

use serde_json::{Map, Value, json};

use super::kind::enum_names;
use super::{Field, FieldKind, LengthUnit, SettingsObject, TextRule};

/// The direction that a schema describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaSide {
    /// The body of a PUT or POST.
    Write,
    /// The reply to a GET.
    Read,
}

impl<T> SettingsObject<T> {
    /// Returns the schema of the object, with `defaults` as the defaults. Unknown keys are allowed,
    /// because the device ignores them.
    #[must_use]
    pub fn schema(&self, side: SchemaSide, defaults: &T) -> Value {
        let mut schema = group();
        for field in self.fields {
            let included = match side {
                SchemaSide::Write => !field.kind.is_read_only(),
                SchemaSide::Read => !field.secret,
            };
            if included {
                insert(&mut schema, field.path, field.schema(side, defaults));
            }
            if let (SchemaSide::Write, Some(alias)) = (side, field.alias) {
                let mut alias_schema = field.schema(side, defaults);
                alias_schema["description"] = format!("`{}` by its other name.", field.path).into();
                insert(&mut schema, alias, alias_schema);
            }
        }
        schema
    }
}

fn group() -> Value {
    json!({ "type": "object", "properties": {} })
}

/// Inserts the schema of a field at its path.
fn insert(schema: &mut Value, path: &str, field: Value) {
    let mut groups: Vec<&str> = path.split('.').collect();
    let key = groups.pop().unwrap_or_default();
    let mut parent = schema;
    for name in groups {
        let properties = &mut parent["properties"];
        if properties[name].is_null() {
            properties[name] = group();
        }
        parent = &mut properties[name];
    }
    parent["properties"][key] = field;
}

impl<T> Field<T> {
    fn schema(&self, side: SchemaSide, defaults: &T) -> Value {
        let mut schema = self.kind.schema();
        let mut description = self.description.to_owned();
        if let FieldKind::Text(_, rule) | FieldKind::OptionalText(_, rule) = &self.kind
            && !rule.expected.is_empty()
        {
            description = format!("{description} Expected: {}.", rule.expected);
        }
        if self.stored_only {
            description.push_str(" Stored and shown, without effect.");
        }
        if let Some(feature) = self.required_feature {
            description = format!("{description} From firmware {} on.", feature.since());
        }
        schema.insert("description".into(), description.into());
        if self.secret {
            schema.insert("writeOnly".into(), true.into());
        }
        if self.kind.is_read_only() {
            schema.insert("readOnly".into(), true.into());
        }
        if let Some(default) = self.default(defaults).filter(|_| side == SchemaSide::Write) {
            schema.insert("default".into(), default);
        }
        Value::Object(schema)
    }

    fn default(&self, defaults: &T) -> Option<Value> {
        Some(match &self.kind {
            FieldKind::Bool(accessor) => (*(accessor.get)(defaults)).into(),
            FieldKind::Text(accessor, _) => (accessor.get)(defaults).as_str().into(),
            FieldKind::OptionalText(accessor, _) => (accessor.get)(defaults).as_deref().into(),
            FieldKind::Int { get, .. } => get(defaults).into(),
            FieldKind::Number { get, .. } => serde_json::to_value(get(defaults)).ok()?,
            FieldKind::Enum { name, get, .. } => name(get(defaults))?.into(),
            FieldKind::Address(accessor) => (accessor.get)(defaults).to_string().into(),
            FieldKind::Key(_) => "".into(),
            FieldKind::Constant(text) => (*text).into(),
            FieldKind::Length(_) => return None,
        })
    }
}

impl<T> FieldKind<T> {
    fn schema(&self) -> Map<String, Value> {
        let schema = match self {
            Self::Bool(_) => json!({ "type": "boolean" }),
            Self::Text(_, rule) => text(rule, &json!("string")),
            Self::OptionalText(_, rule) => text(rule, &json!(["string", "null"])),
            Self::Int { range, .. } => {
                json!({ "type": "integer", "minimum": range.start(), "maximum": range.end() })
            }
            Self::Number { range, step, .. } => {
                let mut schema =
                    json!({ "type": "number", "minimum": range.start(), "maximum": range.end() });
                if *step > 0.0 {
                    schema["multipleOf"] = (*step).into();
                }
                schema
            }
            Self::Enum { name, .. } => json!({ "enum": enum_names(*name).collect::<Vec<_>>() }),
            Self::Address(_) => json!({ "type": "string", "format": "ipv4" }),
            Self::Key(_) => json!({ "type": "string", "pattern": "^([0-9A-Fa-f]{32})?$" }),
            Self::Constant(text) => json!({ "enum": [text] }),
            Self::Length(_) => json!({ "type": "integer", "minimum": 0 }),
        };
        // Every arm above is an object.
        schema.as_object().cloned().unwrap_or_default()
    }
}

fn text(rule: &TextRule, json_type: &Value) -> Value {
    let mut schema = json!({ "type": json_type, "maxLength": rule.length.end() });
    if *rule.length.start() > 0 {
        schema["minLength"] = (*rule.length.start()).into();
    }
    if !rule.pattern.is_empty() {
        schema["pattern"] = rule.pattern.into();
    }
    if rule.unit == LengthUnit::Bytes {
        schema["x-bytes"] = true.into();
    }
    schema
}
