//! Applies the body of a PUT or POST to an object, in one pass that collects every error with its
//! field.

use serde_json::{Map, Value};

use super::{Field, FieldKind, SettingsObject, Unset, WriteContext};
use crate::device::config::Config;
use crate::device::{Firmware, json};
use crate::journal;
use crate::limits;
use crate::problem::Problem;

/// The fields that a write changes (documented for PUT; SETTING-1 for POST).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WriteMode {
    /// PUT: the fields that the body contains.
    Merge,
    /// POST: all fields.
    Replace,
}

/// The result of a write.
#[derive(Debug)]
pub struct WriteOutcome<T> {
    /// The object after the write.
    pub value: T,
    /// The paths of the fields that changed, in table order.
    pub changed: Vec<&'static str>,
    /// The paths in the body that the device does not know, at most
    /// [`limits::JOURNAL_UNKNOWN_KEYS`].
    pub unknown: Vec<String>,
}

impl<T: Clone> SettingsObject<T> {
    /// Applies `body` to a copy of `current` and returns the result.
    ///
    /// # Errors
    /// One problem for each refused field, at most [`limits::SCENARIO_MISTAKES`].
    pub fn apply(
        &self,
        current: &T,
        body: &Value,
        mode: WriteMode,
        firmware: Firmware,
        context: &WriteContext<'_>,
    ) -> Result<WriteOutcome<T>, Vec<Problem>> {
        let top = json::object(body).map_err(|message| vec![Problem::new("", message)])?;
        let mut reader = WriteReader {
            fields: self.fields,
            firmware,
            value: current.clone(),
            named: vec![NamedBy::Not; self.fields.len()],
            unknown: Vec::new(),
            errors: Vec::new(),
        };
        reader.read_object(top, "");
        let WriteReader { mut value, named, unknown, errors, .. } = reader;
        if !errors.is_empty() {
            return Err(errors);
        }
        if mode == WriteMode::Replace {
            let factory = Config::factory(context.id);
            self.reset_unset_fields(&mut value, (self.accessor.get)(&factory), &named, firmware);
        }
        (self.normalize)(&mut value, context).map_err(|error| vec![error])?;
        let changed = self.fields.iter().filter(|field| !field.kind.is_equal(&value, current));
        let changed = changed.map(|field| field.path).collect();
        Ok(WriteOutcome { value, changed, unknown })
    }

    /// Sets the fields that a POST did not contain.
    fn reset_unset_fields(
        &self,
        value: &mut T,
        factory: &T,
        named: &[NamedBy],
        firmware: Firmware,
    ) {
        for (field, named) in self.fields.iter().zip(named) {
            if *named != NamedBy::Not || !field.exists_in(firmware) {
                continue;
            }
            let unset = field.unset.unwrap_or(self.unset);
            if unset == Unset::Default || !field.kind.clear(value) {
                field.kind.copy_from(value, factory);
            }
        }
    }
}

/// The name under which a write contained a field, if at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NamedBy {
    Not,
    ByAlias,
    ByPath,
}

/// The state of one pass over the body of a write.
struct WriteReader<T: 'static> {
    fields: &'static [Field<T>],
    firmware: Firmware,
    value: T,
    named: Vec<NamedBy>,
    unknown: Vec<String>,
    errors: Vec<Problem>,
}

impl<T: Clone> WriteReader<T> {
    /// Reads the members of the group at `group`. The depth of the table bounds the recursion.
    fn read_object(&mut self, members: &Map<String, Value>, group: &str) {
        for (key, value) in members {
            // A key that contains a dot must not be read as the path of a nested field.
            let path = if key.contains('.') {
                None
            } else if group.is_empty() {
                Some(key.clone())
            } else {
                Some(format!("{group}.{key}"))
            };
            match path {
                Some(path) => self.read_member(path, value),
                None => self.push_unknown(group, key),
            }
        }
    }

    fn read_member(&mut self, path: String, value: &Value) {
        let (fields, firmware) = (self.fields, self.firmware);
        let existing = fields.iter().enumerate().filter(|(_, field)| field.exists_in(firmware));
        for (index, field) in existing.clone() {
            let named = if field.path == path {
                NamedBy::ByPath
            } else if field.alias == Some(&*path) {
                NamedBy::ByAlias
            } else {
                continue;
            };
            return self.read_field(index, named, path, value);
        }
        if !existing.clone().any(|(_, field)| field.is_in_group(&path)) {
            return self.push_unknown("", &path);
        }
        match json::object(value) {
            Ok(group) => self.read_object(group, &path),
            Err(message) => self.push_error(path, message),
        }
    }

    fn read_field(&mut self, index: usize, named: NamedBy, path: String, value: &Value) {
        let field = &self.fields[index];
        if matches!(field.kind, FieldKind::Key(_)) && value == "" {
            // A client that never received the key returns an empty string, which changes nothing.
            return;
        }
        // An error found under the alias is kept even if the path itself supplies the value.
        let overridden = named == NamedBy::ByAlias && self.named[index] == NamedBy::ByPath;
        let result = if overridden {
            field.kind.set_from_json(&mut self.value.clone(), value)
        } else {
            self.named[index] = named;
            field.kind.set_from_json(&mut self.value, value)
        };
        if let Err(message) = result {
            self.push_error(path, message);
        }
    }

    fn push_error(&mut self, path: String, message: String) {
        if self.errors.len() < limits::SCENARIO_MISTAKES {
            self.errors.push(Problem::new(path, message));
        }
    }

    fn push_unknown(&mut self, group: &str, key: &str) {
        if self.unknown.len() < limits::JOURNAL_UNKNOWN_KEYS {
            let path = if group.is_empty() { key.to_owned() } else { format!("{group}.{key}") };
            self.unknown.push(journal::truncate_text(path));
        }
    }
}
