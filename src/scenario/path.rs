//! Where in a scenario something stands, as people write it: `faults[2].at.slave`.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Segment {
    /// A key of a mapping.
    Key(Arc<str>),
    /// An item of a list.
    Index(usize),
}

/// The way from the top of the file to a value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct FieldPath(Vec<Segment>);

impl FieldPath {
    /// The top of the file.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// The value under a key.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        let mut path = self.clone();
        path.push(Segment::Key(key.into()));
        path
    }

    /// An item of a list.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        let mut path = self.clone();
        path.push(Segment::Index(index));
        path
    }

    /// The value that `field` names from here, as the domain's own validators name it:
    /// `actions[0].requests[1].http.url`.
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

    /// What stands there in a JSON value.
    pub(super) fn find_in<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        self.0.iter().try_fold(value, |value, segment| match segment {
            Segment::Key(key) => value.get(&**key),
            Segment::Index(index) => value.get(*index),
        })
    }

    /// Its steps.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// Whether this is `other` or lies below it.
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
                    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
                    if !key.is_empty() && key.len() <= 64 && key.chars().all(plain) {
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
    fn paths_read_as_people_write_them() {
        let path = FieldPath::root().key("faults").index(2).key("at").key("slave");
        assert_eq!(path.to_string(), "faults[2].at.slave");
        assert_eq!(FieldPath::root().key("a.b").key("c").to_string(), "\"a.b\".c");
    }

    #[test]
    fn fields_of_validators_are_joined() {
        let base = FieldPath::root().key("device").key("actions");
        assert_eq!(
            base.join("actions[0].requests[1].http.url").to_string(),
            "device.actions.actions[0].requests[1].http.url"
        );
        assert_eq!(base.join(""), base);
    }
}
