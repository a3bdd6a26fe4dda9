//! Writes JSON straight into a buffer, without a tree, for replies that clients request often.

use std::fmt::{Display, Write};

/// A JSON text under construction. Keys are the device's own names and need no escaping.
#[derive(Debug, Default)]
pub(crate) struct JsonWriter {
    out: String,
}

impl JsonWriter {
    /// Creates a writer with a capacity of `bytes`.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self { out: String::with_capacity(bytes) }
    }

    /// Begins an object: the whole text, or an element of an array.
    pub(crate) fn begin(&mut self) {
        self.separate();
        self.out.push('{');
    }

    /// Begins an object under a key.
    pub(crate) fn object(&mut self, write_key: &str) {
        self.write_key(write_key);
        self.out.push('{');
    }

    /// Ends an object.
    pub(crate) fn end(&mut self) {
        self.out.push('}');
    }

    /// Begins an array under a key.
    pub(crate) fn array(&mut self, write_key: &str) {
        self.write_key(write_key);
        self.out.push('[');
    }

    /// Ends an array.
    pub(crate) fn end_array(&mut self) {
        self.out.push(']');
    }

    /// Writes a value whose text form is its JSON form: numbers and truth values.
    pub(crate) fn plain(&mut self, write_key: &str, value: impl Display) {
        self.write_key(write_key);
        // Writing to a `String` cannot fail.
        let _ = write!(self.out, "{value}");
    }

    /// Writes a string whose characters need no escaping: times, addresses, fixed words.
    pub(crate) fn word(&mut self, write_key: &str, value: impl Display) {
        self.write_key(write_key);
        let _ = write!(self.out, "\"{value}\"");
    }

    /// Writes any string.
    pub(crate) fn text(&mut self, write_key: &str, value: &str) {
        self.write_key(write_key);
        // A string always has a JSON form.
        self.out.push_str(&serde_json::to_string(value).unwrap_or_default());
    }

    /// Writes text around the JSON as it is.
    pub(crate) fn raw(&mut self, string: &str) {
        self.out.push_str(string);
    }

    /// Returns the text.
    pub(crate) fn into_string(self) -> String {
        self.out
    }

    fn write_key(&mut self, key: &str) {
        self.separate();
        self.out.push('"');
        self.out.push_str(key);
        self.out.push_str("\":");
    }

    fn separate(&mut self) {
        // A value has been written before. Nothing else ends in another character: neither a
        // container that was just begun, nor the text around the JSON.
        if !matches!(self.out.as_bytes().last(), None | Some(b'{' | b'[' | b' ')) {
            self.out.push(',');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_separated_and_strings_escaped() {
        let mut json = JsonWriter::default();
        json.begin();
        json.object("empty");
        json.end();
        json.text("a", "\"ä\"\n");
        json.array("list");
        for n in 0..2 {
            json.begin();
            json.plain("n", n);
            json.word("w", "x");
            json.end();
        }
        json.end_array();
        json.plain("last", true);
        json.end();
        let expected =
            r#"{"empty":{},"a":"\"ä\"\n","list":[{"n":0,"w":"x"},{"n":1,"w":"x"}],"last":true}"#;
        assert_eq!(json.into_string(), expected);
    }
}
