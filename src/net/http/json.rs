//! JSON written straight into a buffer, for replies that are asked for often: no tree in between.

use std::fmt::{Display, Write};

/// A JSON text in the making. Keys are the device's own names and need no escaping.
#[derive(Debug, Default)]
pub(crate) struct Json {
    out: String,
}

impl Json {
    /// Room for so many bytes.
    pub(crate) fn with_room(bytes: usize) -> Self {
        Self { out: String::with_capacity(bytes) }
    }

    /// Begins an object: the text itself, or an element of an array.
    pub(crate) fn begin(&mut self) {
        self.separate();
        self.out.push('{');
    }

    /// Begins an object under a key.
    pub(crate) fn object(&mut self, key: &str) {
        self.key(key);
        self.out.push('{');
    }

    /// Ends an object.
    pub(crate) fn end(&mut self) {
        self.out.push('}');
    }

    /// Begins an array under a key.
    pub(crate) fn array(&mut self, key: &str) {
        self.key(key);
        self.out.push('[');
    }

    /// Ends an array.
    pub(crate) fn end_array(&mut self) {
        self.out.push(']');
    }

    /// A value whose text form is its JSON form: numbers and truth values.
    pub(crate) fn plain(&mut self, key: &str, value: impl Display) {
        self.key(key);
        // A String takes whatever is written to it.
        let _ = write!(self.out, "{value}");
    }

    /// A text whose characters need no escaping: times, addresses, fixed words.
    pub(crate) fn word(&mut self, key: &str, value: impl Display) {
        self.key(key);
        let _ = write!(self.out, "\"{value}\"");
    }

    /// Any text.
    pub(crate) fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        // Texts always have a JSON form.
        self.out.push_str(&serde_json::to_string(value).unwrap_or_default());
    }

    /// What stands around the JSON.
    pub(crate) fn raw(&mut self, text: &str) {
        self.out.push_str(text);
    }

    /// What has been written.
    pub(crate) fn into_string(self) -> String {
        self.out
    }

    fn key(&mut self, key: &str) {
        self.separate();
        self.out.push('"');
        self.out.push_str(key);
        self.out.push_str("\":");
    }

    fn separate(&mut self) {
        // A value has come before, and nothing else that could: a container just begun, or what
        // stands around the JSON, ends differently.
        if !matches!(self.out.as_bytes().last(), None | Some(b'{' | b'[' | b' ')) {
            self.out.push(',');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_separated_and_texts_escaped() {
        let mut json = Json::default();
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
