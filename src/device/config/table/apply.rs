//! The way from a PUT or POST to an object: one walk that collects every mistake with its field.

use serde_json::{Map, Value};

use super::{Field, FieldKind, Object, Unset, WriteContext};
use crate::device::config::Config;
use crate::device::{Firmware, json};
use crate::journal;
use crate::limits;
use crate::problem::Problem;

/// How much of an object a write changes (documented for PUT; SETTING-1 for POST).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Write {
    /// PUT: what it names.
    Merge,
    /// POST: all of it.
    Replace,
}

/// An object after a write.
#[derive(Debug)]
pub struct Applied<T> {
    /// The object.
    pub value: T,
    /// The fields that are not as before, in the order of the table.
    pub changed: Vec<&'static str>,
    /// What the write named that the device does not know, at most
    /// [`limits::JOURNAL_UNKNOWN_KEYS`].
    pub unknown: Vec<String>,
}

impl<T: Clone> Object<T> {
    /// The object as a write makes it; `now` is not touched.
    ///
    /// # Errors
    /// Every field that was refused, at most [`limits::SCENARIO_MISTAKES`].
    pub fn apply(
        &self,
        now: &T,
        given: &Value,
        write: Write,
        firmware: Firmware,
        around: &WriteContext<'_>,
    ) -> Result<Applied<T>, Vec<Problem>> {
        let top = json::object(given).map_err(|message| vec![Problem::new("", message)])?;
        let mut walk = WriteReader {
            fields: self.fields,
            firmware,
            value: now.clone(),
            named: vec![NamedBy::Not; self.fields.len()],
            unknown: Vec::new(),
            errors: Vec::new(),
        };
        walk.object(top, "");
        let WriteReader { mut value, named, unknown, errors, .. } = walk;
        if !errors.is_empty() {
            return Err(errors);
        }
        if write == Write::Replace {
            let factory = Config::factory(around.id);
            self.leave_out(&mut value, (self.of.get)(&factory), &named, firmware);
        }
        (self.rules)(&mut value, around).map_err(|error| vec![error])?;
        let changed = self.fields.iter().filter(|field| !field.kind.same(&value, now));
        let changed = changed.map(|field| field.path).collect();
        Ok(Applied { value, changed, unknown })
    }

    /// Sets what a POST did not name.
    fn leave_out(&self, value: &mut T, factory: &T, named: &[NamedBy], firmware: Firmware) {
        for (field, named) in self.fields.iter().zip(named) {
            if *named != NamedBy::Not || !field.exists(firmware) {
                continue;
            }
            let left_out = field.left_out.unwrap_or(self.left_out);
            if left_out == Unset::Default || !field.kind.clear(value) {
                field.kind.copy(value, factory);
            }
        }
    }
}

/// Whether a write named a field, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NamedBy {
    Not,
    ByAlias,
    ByPath,
}

struct WriteReader<T: 'static> {
    fields: &'static [Field<T>],
    firmware: Firmware,
    value: T,
    named: Vec<NamedBy>,
    unknown: Vec<String>,
    errors: Vec<Problem>,
}

impl<T: Clone> WriteReader<T> {
    /// Depth is bounded by that of the table.
    fn object(&mut self, given: &Map<String, Value>, place: &str) {
        for (key, value) in given {
            // A key with a dot in it is no way into a group.
            let path = if key.contains('.') {
                None
            } else if place.is_empty() {
                Some(key.clone())
            } else {
                Some(format!("{place}.{key}"))
            };
            match path {
                Some(path) => self.member(path, value),
                None => self.unknown(place, key),
            }
        }
    }

    fn member(&mut self, path: String, value: &Value) {
        let (fields, firmware) = (self.fields, self.firmware);
        let known = fields.iter().enumerate().filter(|(_, field)| field.exists(firmware));
        for (index, field) in known.clone() {
            let named = if field.path == path {
                NamedBy::ByPath
            } else if field.alias == Some(&*path) {
                NamedBy::ByAlias
            } else {
                continue;
            };
            return self.field(index, named, path, value);
        }
        if !known.clone().any(|(_, field)| field.is_within(&path)) {
            return self.unknown("", &path);
        }
        match json::object(value) {
            Ok(group) => self.object(group, &path),
            Err(message) => self.error(path, message),
        }
    }

    fn field(&mut self, index: usize, named: NamedBy, path: String, value: &Value) {
        let field = &self.fields[index];
        if matches!(field.kind, FieldKind::Key(_)) && value == "" {
            // What a client sends back that was never shown the key: as if it were not named.
            return;
        }
        // What is wrong under one name stays wrong where the other has its way.
        let outdone = named == NamedBy::ByAlias && self.named[index] == NamedBy::ByPath;
        let result = if outdone {
            field.kind.read(&mut self.value.clone(), value)
        } else {
            self.named[index] = named;
            field.kind.read(&mut self.value, value)
        };
        if let Err(message) = result {
            self.error(path, message);
        }
    }

    fn error(&mut self, field: String, message: String) {
        if self.errors.len() < limits::SCENARIO_MISTAKES {
            self.errors.push(Problem::new(field, message));
        }
    }

    fn unknown(&mut self, place: &str, key: &str) {
        if self.unknown.len() < limits::JOURNAL_UNKNOWN_KEYS {
            let path = if place.is_empty() { key.to_owned() } else { format!("{place}.{key}") };
            self.unknown.push(journal::truncate_text(path));
        }
    }
}
