//! Surrogate pairs in JSON. A scenario may be JSON, which is YAML but for one escape: JSON writes a
//! character beyond U+FFFF as two escapes, `\ud83d\ude00`, and YAML as one, `\U0001F600`.

use serde::de::IgnoredAny;

/// The length in bytes of `\ud83d`.
const ESCAPE_BYTES: usize = 6;
/// The number of characters by which the YAML form is shorter.
pub(super) const SHORTER_BY: usize = 2;

/// A JSON text in which every pair is one escape of YAML.
#[derive(Debug)]
pub(super) struct JoinedText {
    pub text: String,
    /// The byte of the original at which each character begins.
    pub bytes: Vec<u32>,
    /// The positions, in characters of this text, of the escapes that were pairs.
    pub escapes: Vec<usize>,
}

/// Returns the text with its surrogate pairs joined. `None` if it is no JSON or has no pair.
pub(super) fn join(original: &str) -> Option<JoinedText> {
    let has_pair = original.contains("\\ud") || original.contains("\\uD");
    let json = original.strip_prefix('\u{feff}').unwrap_or(original);
    if !has_pair || serde_json::from_str::<IgnoredAny>(json).is_err() {
        return None;
    }
    let mut joined = JoinedText { text: String::new(), bytes: Vec::new(), escapes: Vec::new() };
    let mut at = 0;
    while let Some(char) = original[at..].chars().next() {
        if let Some(code) = pair(&original.as_bytes()[at..]) {
            joined.escapes.push(joined.bytes.len());
            joined.push(&format!("\\U{code:08X}"), at);
            at += 2 * ESCAPE_BYTES;
            continue;
        }
        // In JSON a backslash stands in strings alone, and what it escapes is no beginning of a pair.
        let length = if char == '\\' { 2 } else { char.len_utf8() };
        let end = (at + length).min(original.len());
        for (offset, char) in original[at..end].char_indices() {
            joined.push(char.encode_utf8(&mut [0; 4]), at + offset);
        }
        at = end;
    }
    (!joined.escapes.is_empty()).then_some(joined)
}

impl JoinedText {
    /// Appends characters that stand for the original from this byte on.
    fn push(&mut self, characters: &str, byte: usize) {
        let byte = u32::try_from(byte).unwrap_or(u32::MAX);
        self.bytes.extend(characters.chars().map(|_| byte));
        self.text.push_str(characters);
    }
}

/// Returns the character for which the pair at the beginning of the text stands. `None` if there is none.
fn pair(text: &[u8]) -> Option<u32> {
    let high = escape(text)?.checked_sub(0xD800).filter(|high| *high < 0x400)?;
    let low = escape(text.get(ESCAPE_BYTES..)?)?.checked_sub(0xDC00).filter(|low| *low < 0x400)?;
    Some(0x1_0000 + (high << 10) + low)
}

/// Returns the number of the escape at the beginning of the text.
fn escape(text: &[u8]) -> Option<u32> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    let is_hex = digits.iter().all(u8::is_ascii_hexdigit);
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok().filter(|_| is_hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_in_json_become_one_escape() {
        let joined = join(r#"{"ä":"\ud83d\uDE00","b":"\\ud83d\\ude00"}"#).unwrap();
        assert_eq!(joined.text, r#"{"ä":"\U0001F600","b":"\\ud83d\\ude00"}"#);
        assert_eq!(joined.escapes, [6]);
        let behind = joined.text.chars().position(|char| char == 'b').unwrap();
        assert_eq!(joined.bytes[behind], 22);
    }

    #[test]
    fn other_texts_are_left_alone() {
        for text in [r"a: '\ud83d\ude00'", r#"{"a":"\u00e4"}"#, r#"{"a":"\ud83d"}"#, "{}", ""] {
            assert!(join(text).is_none(), "{text}");
        }
    }
}
