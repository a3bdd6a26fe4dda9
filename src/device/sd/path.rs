//! Paths on the card, as URLs have them.

use percent_encoding::percent_decode_str;

use crate::limits;

/// A path on the card that stays on the card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SdPath {
    parts: Vec<String>,
    folder: bool,
}

/// A path that is none of the card, or may lead elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the path is malformed: expected at most {depth} names of at most {bytes} bytes joined by `/`, \
     without `.`, `..` or any of \\ : * ? \" < > |",
    depth = limits::SD_DEPTH,
    bytes = limits::SD_NAME_BYTES
)]
pub struct InvalidPath;

impl SdPath {
    /// Reads what follows `/sdcard` in a URL, percent-encoded. Each part is decoded on its own, so
    /// that an encoded slash is part of a name, and then refused.
    ///
    /// # Errors
    /// [`InvalidPath`]
    pub fn parse(encoded: &str) -> Result<Self, InvalidPath> {
        let rest = encoded.strip_prefix('/').unwrap_or(encoded);
        if rest.is_empty() {
            return Ok(Self { parts: Vec::new(), folder: true });
        }
        let (rest, folder) = rest.strip_suffix('/').map_or((rest, false), |rest| (rest, true));
        let parts = rest.split('/').map(part).collect::<Result<Vec<_>, _>>()?;
        if parts.len() > limits::SD_DEPTH { Err(InvalidPath) } else { Ok(Self { parts, folder }) }
    }

    /// The names on the way.
    #[must_use]
    pub fn parts(&self) -> &[String] {
        &self.parts
    }

    /// Whether it can only be a folder: it ends in a slash, or is the root.
    #[must_use]
    pub fn is_folder(&self) -> bool {
        self.folder
    }

    /// Whether it is the card itself.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.parts.is_empty()
    }

    /// As `/sdcard/…` with a slash at its end.
    #[must_use]
    pub fn shown(&self) -> String {
        let mut shown = "/sdcard/".to_owned();
        for part in &self.parts {
            shown.push_str(part);
            shown.push('/');
        }
        shown
    }
}

fn part(encoded: &str) -> Result<String, InvalidPath> {
    // A percent sign that encodes nothing.
    let escapes = encoded.split('%').skip(1);
    for escape in escapes {
        if !escape.as_bytes().get(..2).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)) {
            return Err(InvalidPath);
        }
    }
    let name = percent_decode_str(encoded).decode_utf8().map_err(|_| InvalidPath)?;
    if is_name(&name) { Ok(name.into_owned()) } else { Err(InvalidPath) }
}

/// Whether a file or folder may be called so, on FAT and on the file systems that stand for it.
#[must_use]
pub(crate) fn is_name(name: &str) -> bool {
    let odd = |c: char| c.is_control() || r#"/\:*?"<>|"#.contains(c);
    // FAT forgets dots and spaces at the end, so that names would be two names of one file.
    (1..=limits::SD_NAME_BYTES).contains(&name.len())
        && !name.ends_with(['.', ' '])
        && !name.contains(odd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_lead_off_the_card_is_no_path() {
        for wrong in [
            "/..",
            "/.",
            "/../etc/passwd",
            "/a/../b",
            "/a/./b",
            "/%2e%2e/x",
            "/%2E%2e",
            "/a%2fb",
            "/..%2f..%2fetc",
            "/a%5cb",
            "/a\\b",
            "/%00",
            "/a%00.CSV",
            "//etc/passwd",
            "/a//b",
            "/a//",
            "/C:",
            "/C:/x",
            "/%",
            "/%2",
            "/%zz",
            "/%ff",
            "/a%0ab",
            "/a.",
            "/a%20",
            "/...",
            "/x%3f",
            "//",
        ] {
            assert_eq!(SdPath::parse(wrong), Err(InvalidPath), "{wrong}");
        }
        assert_eq!(SdPath::parse(&format!("/{}", "x".repeat(256))), Err(InvalidPath));
        assert_eq!(SdPath::parse(&"/x".repeat(100)), Err(InvalidPath));
    }

    #[test]
    fn names_are_decoded_part_by_part() {
        let path = |text| {
            let path = SdPath::parse(text).unwrap();
            (path.parts().join("|"), path.is_folder())
        };
        assert_eq!(path(""), (String::new(), true));
        assert_eq!(path("/"), (String::new(), true));
        assert_eq!(path("/20260115.CSV"), ("20260115.CSV".into(), false));
        assert_eq!(path("/SYSTEM~1/"), ("SYSTEM~1".into(), true));
        assert_eq!(path("/a%20b/%C3%BC.txt"), ("a b|ü.txt".into(), false));
        assert_eq!(path("/.hidden"), (".hidden".into(), false));
        assert_eq!(SdPath::parse("/a/b").unwrap().shown(), "/sdcard/a/b/");
    }
}
