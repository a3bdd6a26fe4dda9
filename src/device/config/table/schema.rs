//! The JSON Schema of an object, from its table: for scenarios, for the API's description, and for the
//! documentation.

use serde_json::{Map, Value, json};

use super::kind::words;
use super::{Field, FieldKind, FieldUnit, Object, TextRule};

/// Whose schema it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaSide {
    /// What a write takes.
    Write,
    /// What a GET shows.
    Read,
}

impl<T> Object<T> {
    /// The schema of the object, with `defaults` as the defaults. Unknown keys are allowed, as the
    /// device ignores them.
    #[must_use]
    pub fn schema(&self, side: SchemaSide, defaults: &T) -> Value {
        let mut whole = group();
        for field in self.fields {
            let there = match side {
                SchemaSide::Write => !field.kind.is_reply_only(),
                SchemaSide::Read => !field.secret,
            };
            if there {
                insert(&mut whole, field.path, field.schema(side, defaults));
            }
            if let (SchemaSide::Write, Some(alias)) = (side, field.alias) {
                let mut same = field.schema(side, defaults);
                same["description"] = format!("`{}` by its other name.", field.path).into();
                insert(&mut whole, alias, same);
            }
        }
        whole
    }
}

fn group() -> Value {
    json!({ "type": "object", "properties": {} })
}

/// Puts a schema where its path says.
fn insert(whole: &mut Value, path: &str, schema: Value) {
    let mut groups: Vec<&str> = path.split('.').collect();
    let key = groups.pop().unwrap_or_default();
    let mut at = whole;
    for name in groups {
        let properties = &mut at["properties"];
        if properties[name].is_null() {
            properties[name] = group();
        }
        at = &mut properties[name];
    }
    at["properties"][key] = schema;
}

impl<T> Field<T> {
    fn schema(&self, side: SchemaSide, defaults: &T) -> Value {
        let mut schema = self.kind.schema();
        let mut about = self.about.to_owned();
        if let FieldKind::Text(_, rule) | FieldKind::OptionalText(_, rule) = &self.kind
            && !rule.expected.is_empty()
        {
            about = format!("{about} Expected: {}.", rule.expected);
        }
        if self.stored_only {
            about.push_str(" Stored and shown, without effect.");
        }
        if let Some(feature) = self.needs {
            about = format!("{about} From firmware {} on.", feature.since());
        }
        schema.insert("description".into(), about.into());
        if self.secret {
            schema.insert("writeOnly".into(), true.into());
        }
        if self.kind.is_reply_only() {
            schema.insert("readOnly".into(), true.into());
        }
        if let Some(default) = self.default(defaults).filter(|_| side == SchemaSide::Write) {
            schema.insert("default".into(), default);
        }
        Value::Object(schema)
    }

    fn default(&self, defaults: &T) -> Option<Value> {
        Some(match &self.kind {
            FieldKind::Flag(lens) => (*(lens.get)(defaults)).into(),
            FieldKind::Text(lens, _) => (lens.get)(defaults).as_str().into(),
            FieldKind::OptionalText(lens, _) => (lens.get)(defaults).as_deref().into(),
            FieldKind::Whole { get, .. } => get(defaults).into(),
            FieldKind::Number { get, .. } => serde_json::to_value(get(defaults)).ok()?,
            FieldKind::Word { word, get, .. } => word(get(defaults))?.into(),
            FieldKind::Address(lens) => (lens.get)(defaults).to_string().into(),
            FieldKind::Key(_) => "".into(),
            FieldKind::Constant(word) => (*word).into(),
            FieldKind::Length(_) => return None,
        })
    }
}

impl<T> FieldKind<T> {
    fn schema(&self) -> Map<String, Value> {
        let schema = match self {
            Self::Flag(_) => json!({ "type": "boolean" }),
            Self::Text(_, rule) => text(rule, &json!("string")),
            Self::OptionalText(_, rule) => text(rule, &json!(["string", "null"])),
            Self::Whole { range, .. } => {
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
            Self::Word { word, .. } => json!({ "enum": words(*word).collect::<Vec<_>>() }),
            Self::Address(_) => json!({ "type": "string", "format": "ipv4" }),
            Self::Key(_) => json!({ "type": "string", "pattern": "^([0-9A-Fa-f]{32})?$" }),
            Self::Constant(word) => json!({ "enum": [word] }),
            Self::Length(_) => json!({ "type": "integer", "minimum": 0 }),
        };
        // Each of them is an object.
        schema.as_object().cloned().unwrap_or_default()
    }
}

fn text(rule: &TextRule, kind: &Value) -> Value {
    let mut schema = json!({ "type": kind, "maxLength": rule.length.end() });
    if *rule.length.start() > 0 {
        schema["minLength"] = (*rule.length.start()).into();
    }
    if !rule.pattern.is_empty() {
        schema["pattern"] = rule.pattern.into();
    }
    if rule.unit == FieldUnit::Bytes {
        schema["x-bytes"] = true.into();
    }
    schema
}
