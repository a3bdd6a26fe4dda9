//! What a GET shows: the fields in the order of the table, groups as objects.

use serde::Serialize;

use super::{Field, FieldKind, Object};
use crate::device::Firmware;

impl<T> Object<T> {
    /// The object as JSON; without secrets, and without what this firmware does not have.
    #[must_use]
    pub fn print(&self, object: &T, firmware: Firmware) -> String {
        let mut text = String::with_capacity(1024);
        let mut open: Vec<&str> = Vec::new();
        text.push('{');
        for field in self.fields.iter().filter(|field| !field.secret && field.exists(firmware)) {
            let Some(value) = field.shown(object) else { continue };
            let mut groups: Vec<&str> = field.path.split('.').collect();
            let key = groups.pop().unwrap_or_default();
            let common = open.iter().zip(&groups).take_while(|(one, other)| one == other).count();
            for _ in common..open.len() {
                text.push('}');
            }
            open.truncate(common);
            comma(&mut text);
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

/// A comma between two members; none behind the beginning of an object.
fn comma(text: &mut String) {
    if !text.ends_with('{') {
        text.push(',');
    }
}

impl<T> Field<T> {
    /// Its value as JSON; none where it is not shown.
    fn shown(&self, object: &T) -> Option<String> {
        Some(match &self.kind {
            FieldKind::Flag(lens) => json((lens.get)(object)),
            FieldKind::Text(lens, _) => json((lens.get)(object)),
            FieldKind::OptionalText(lens, _) => json((lens.get)(object).as_ref()?),
            FieldKind::Whole { get, .. } => json(&get(object)),
            FieldKind::Number { get, .. } => json(&get(object)),
            FieldKind::Word { word, get, .. } => json(&word(get(object))?),
            FieldKind::Address(lens) => json((lens.get)(object)),
            FieldKind::Key(_) => return None,
            FieldKind::Constant(word) => json(word),
            FieldKind::Length(of) => json(&of(object)?),
        })
    }
}

fn json(value: &impl Serialize) -> String {
    // Numbers, booleans and strings always have a JSON form.
    serde_json::to_string(value).unwrap_or_default()
}
