//! The error type that all validators share.

use std::fmt;

/// A mistake in a document: a settings object, an action definition, a register map, a unit's
/// registers, or a trigger.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problem {
    /// The path of the field below the document, such as `actions[0].requests[1].http.url`. Empty if
    /// the document as a whole is wrong.
    pub path: String,
    /// The value that was found and what was expected.
    pub message: String,
    /// The text to write instead. `None` if the message says it already.
    pub help: Option<String>,
}

impl Problem {
    /// Creates a problem of the field at `path`, without help.
    #[must_use]
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into(), help: None }
    }

    /// Creates a problem of the document as a whole.
    #[must_use]
    pub fn of_document(message: impl Into<String>) -> Self {
        Self::new("", message)
    }

    /// Adds the value to write instead.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Formats the problem on one line, as `path: message; help`.
    #[must_use]
    pub fn to_line(&self) -> String {
        match &self.help {
            Some(help) => format!("{self}; {help}"),
            None => self.to_string(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}
