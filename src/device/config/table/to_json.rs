//! Writes the JSON of a GET: the fields in table order, groups as nested objects.

use serde::Serialize;

use super::{Field, FieldKind, SettingsObject};
use crate::device::Firmware;

impl<T> SettingsObject<T> {
    /// Returns the object as JSON, without secrets and without the fields that this firmware does
    /// not have.
    #[must_use]
    pub fn to_json(&self, object: &T, firmware: Firmware) -> String {
        let mut text = String::with_capacity(1024);
        let mut open: Vec<&str> = Vec::new();
        text.push('{');
        for field in self.fields.iter().filter(|field| !field.secret && field.exists_in(firmware)) {
            let Some(value) = field.json_value(object) else { continue };
            let mut groups: Vec<&str> = field.path.split('.').collect();
            let key = groups.pop().unwrap_or_default();
            let common = open.iter().zip(&groups).take_while(|(a, b)| a == b).count();
            for _ in common..open.len() {
                text.push('}');
            }
            open.truncate(common);
            push_comma(&mut text);
            for group in &groups[common..] {
                text.push_str(&json(group));
                text.push_str(":{");
                open.push(group);
            }
            text.push_str(&json(&key));
            text.push(':');
            text.push_str(&value);
        }
        text.extend(open.iter().map(|_| '}'));
        text.push('}');
        text
    }
}

/// Appends the comma between two members, unless an object begins here.
fn push_comma(text: &mut String) {
    if !text.ends_with('{') {
        text.push(',');
    }
}

impl<T> Field<T> {
    /// Returns the value as JSON; `None` if replies omit it.
    fn json_value(&self, object: &T) -> Option<String> {
        Some(match &self.kind {
            FieldKind::Bool(accessor) => json((accessor.get)(object)),
            FieldKind::Text(accessor, _) => json((accessor.get)(object)),
            FieldKind::OptionalText(accessor, _) => json((accessor.get)(object).as_ref()?),
            FieldKind::Int { get, .. } => json(&get(object)),
            FieldKind::Number { get, .. } => json(&get(object)),
            FieldKind::Enum { name, get, .. } => json(&name(get(object))?),
            FieldKind::Address(accessor) => json((accessor.get)(object)),
            FieldKind::Key(_) => return None,
            FieldKind::Constant(text) => json(text),
            FieldKind::Length(length) => json(&length(object)?),
        })
    }
}

fn json(value: &impl Serialize) -> String {
    // Serializing numbers, booleans and strings never fails.
    serde_json::to_string(value).unwrap_or_default()
}
