//! Paths of fields in a scenario, such as `faults[2].at.slave`.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

/// A step of a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Segment {
    /// A key of a mapping.
    Key(Arc<str>),
    /// An item of a list.
    Index(usize),
}

/// The path from the top of a document to a value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct FieldPath(Vec<Segment>);

impl FieldPath {
    /// Returns the path of the document as a whole.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// Returns the path of the value under a key.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        let mut path = self.clone();
        path.push(Segment::Key(key.into()));
        path
    }

    /// Returns the path of an item of a list.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        let mut path = self.clone();
        path.push(Segment::Index(index));
        path
    }

    /// Appends a path that a validator reported, such as `actions[0].requests[1].http.url`.
    #[must_use]
    pub fn join(&self, field: &str) -> Self {
        let mut path = self.clone();
        for part in field.split('.').filter(|part| !part.is_empty()) {
            let (key, indices) = part.split_once('[').unwrap_or((part, ""));
            if !key.is_empty() {
                path.push(Segment::Key(key.into()));
            }
            for index in indices.split('[') {
                if let Ok(index) = index.trim_end_matches(']').parse() {
                    path.push(Segment::Index(index));
                }
            }
        }
        path
    }

    /// Returns the value at this path in a JSON value. `None` if there is none.
    pub(super) fn find_in<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        self.0.iter().try_fold(value, |value, segment| match segment {
            Segment::Key(key) => value.get(&**key),
            Segment::Index(index) => value.get(*index),
        })
    }

    /// Returns the steps of the path.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// Returns true if this is `other` or below it.
    #[must_use]
    pub fn starts_with(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }

    pub(super) fn push(&mut self, segment: Segment) {
        self.0.push(segment);
    }

    pub(super) fn pop(&mut self) {
        self.0.pop();
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Key(key) => {
                    if position > 0 {
                        f.write_str(".")?;
                    }
                    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
                    if !key.is_empty() && key.len() <= 64 && key.chars().all(is_plain) {
                        f.write_str(key)?;
                    } else {
                        write!(f, "{:?}", crate::notation::shortened(key))?;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_formatted_with_dots_and_brackets() {
        let path = FieldPath::root().key("faults").index(2).key("at").key("slave");
        assert_eq!(path.to_string(), "faults[2].at.slave");
        assert_eq!(FieldPath::root().key("a.b").key("c").to_string(), "\"a.b\".c");
    }

    #[test]
    fn a_path_of_a_validator_is_appended() {
        let base = FieldPath::root().key("device").key("actions");
        assert_eq!(
            base.join("actions[0].requests[1].http.url").to_string(),
            "device.actions.actions[0].requests[1].http.url"
        );
        assert_eq!(base.join(""), base);
    }
}
