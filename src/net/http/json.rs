//! Writes JSON straight into a buffer, without a tree, for replies that clients request often.

use std::fmt;
use std::net::Ipv4Addr;

use crate::decimal::Decimal;

/// A value that appends its text form without the costs of a formatter.
pub(crate) trait AppendText {
    /// Appends the text form.
    fn append_to(&self, out: &mut String);
}

/// Writes the text form of a value for its `Display`, so that the two cannot differ.
pub(crate) fn display(value: &impl AppendText, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut text = String::new();
    value.append_to(&mut text);
    f.write_str(&text)
}

impl AppendText for str {
    fn append_to(&self, out: &mut String) {
        out.push_str(self);
    }
}

impl<T: AppendText + ?Sized> AppendText for &T {
    fn append_to(&self, out: &mut String) {
        (**self).append_to(out);
    }
}

impl AppendText for bool {
    fn append_to(&self, out: &mut String) {
        out.push_str(if *self { "true" } else { "false" });
    }
}

impl AppendText for Decimal {
    fn append_to(&self, out: &mut String) {
        Self::append_to(*self, out);
    }
}

impl AppendText for Ipv4Addr {
    fn append_to(&self, out: &mut String) {
        for (index, octet) in self.octets().iter().enumerate() {
            if index > 0 {
                out.push('.');
            }
            octet.append_to(out);
        }
    }
}

/// Bytes as upper-case hexadecimal digits.
pub(crate) struct UpperHex<'a>(pub(crate) &'a [u8]);

impl AppendText for UpperHex<'_> {
    fn append_to(&self, out: &mut String) {
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        for byte in self.0 {
            for digit in [byte >> 4, byte & 15] {
                out.push(char::from(DIGITS[usize::from(digit)]));
            }
        }
    }
}

macro_rules! append_integers {
    ($($integer:ty)*) => {$(
        impl AppendText for $integer {
            fn append_to(&self, out: &mut String) {
                out.push_str(itoa::Buffer::new().format(*self));
            }
        }
    )*};
}

append_integers!(i8 u8 i16 u16 i32 u32 i64 u64 usize);

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
    pub(crate) fn object(&mut self, key: &str) {
        self.write_key(key);
        self.out.push('{');
    }

    /// Ends an object.
    pub(crate) fn end(&mut self) {
        self.out.push('}');
    }

    /// Begins an array that is the whole text.
    pub(crate) fn begin_array(&mut self) {
        self.out.push('[');
    }

    /// Begins an array under a key.
    pub(crate) fn array(&mut self, key: &str) {
        self.write_key(key);
        self.out.push('[');
    }

    /// Ends an array.
    pub(crate) fn end_array(&mut self) {
        self.out.push(']');
    }

    /// Writes a value whose text form is its JSON form: numbers and truth values.
    pub(crate) fn plain(&mut self, key: &str, value: impl AppendText) {
        self.write_key(key);
        value.append_to(&mut self.out);
    }

    /// Writes a string whose characters need no escaping: times, addresses, fixed words.
    pub(crate) fn word(&mut self, key: &str, value: impl AppendText) {
        self.write_key(key);
        self.out.push('"');
        value.append_to(&mut self.out);
        self.out.push('"');
    }

    /// Writes any string.
    pub(crate) fn text(&mut self, key: &str, value: &str) {
        if value.bytes().any(|byte| byte < b' ' || matches!(byte, b'"' | b'\\')) {
            self.write_key(key);
            // A string always has a JSON form.
            self.out.push_str(&serde_json::to_string(value).unwrap_or_default());
        } else {
            self.word(key, value);
        }
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
