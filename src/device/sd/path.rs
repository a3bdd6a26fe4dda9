//! Paths on the card, parsed from URLs.

use percent_encoding::percent_decode_str;

use crate::limits;

/// A path that cannot lead outside the card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SdPath {
    parts: Vec<String>,
    folder: bool,
}

/// The error of a path that is not valid on the card, or that could lead outside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the path is malformed: expected at most {depth} names of at most {bytes} bytes joined by `/`, \
     without `.`, `..` or any of \\ : * ? \" < > |",
    depth = limits::SD_DEPTH,
    bytes = limits::SD_NAME_BYTES
)]
pub struct InvalidPath;

impl SdPath {
    /// Parses the percent-encoded part of a URL after `/sdcard`. Each name is decoded on its own, so
    /// that an encoded slash is part of a name, which is then refused.
    ///
    /// # Errors
    /// [`InvalidPath`]
    pub fn parse(encoded: &str) -> Result<Self, InvalidPath> {
        let rest = encoded.strip_prefix('/').unwrap_or(encoded);
        if rest.is_empty() {
            return Ok(Self { parts: Vec::new(), folder: true });
        }
        let (rest, folder) = rest.strip_suffix('/').map_or((rest, false), |rest| (rest, true));
        let parts = rest.split('/').map(parse_name).collect::<Result<Vec<_>, _>>()?;
        if parts.len() > limits::SD_DEPTH { Err(InvalidPath) } else { Ok(Self { parts, folder }) }
    }

    /// Returns the names from the root to the file or folder.
    #[must_use]
    pub fn parts(&self) -> &[String] {
        &self.parts
    }

    /// Returns `true` if the path can only be a folder, because it ends in a slash or is the root.
    #[must_use]
    pub fn is_folder(&self) -> bool {
        self.folder
    }

    /// Returns `true` if the path is the root of the card.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.parts.is_empty()
    }

    /// Returns the path as `/sdcard/…` with a slash at the end.
    #[must_use]
    pub fn display_path(&self) -> String {
        let mut path = "/sdcard/".to_owned();
        for part in &self.parts {
            path.push_str(part);
            path.push('/');
        }
        path
    }
}

fn parse_name(encoded: &str) -> Result<String, InvalidPath> {
    // The decoder accepts a percent sign without two hexadecimal digits. This does not.
    let escapes = encoded.split('%').skip(1);
    for escape in escapes {
        if !escape.as_bytes().get(..2).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)) {
            return Err(InvalidPath);
        }
    }
    let name = percent_decode_str(encoded).decode_utf8().map_err(|_| InvalidPath)?;
    if is_name(&name) { Ok(name.into_owned()) } else { Err(InvalidPath) }
}

/// Returns `true` if a file or folder may have this name, on FAT and on the file systems that
/// simulate it.
#[must_use]
pub(crate) fn is_name(name: &str) -> bool {
    let invalid = |c: char| c.is_control() || r#"/\:*?"<>|"#.contains(c);
    // FAT drops dots and spaces at the end, so one file would have two names.
    (1..=limits::SD_NAME_BYTES).contains(&name.len())
        && !name.ends_with(['.', ' '])
        && !name.contains(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_could_leave_the_card_is_refused() {
        for invalid in [
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
            assert_eq!(SdPath::parse(invalid), Err(InvalidPath), "{invalid}");
        }
        assert_eq!(SdPath::parse(&format!("/{}", "x".repeat(256))), Err(InvalidPath));
        assert_eq!(SdPath::parse(&"/x".repeat(100)), Err(InvalidPath));
    }

    #[test]
    fn each_name_is_decoded_on_its_own() {
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
        assert_eq!(SdPath::parse("/a/b").unwrap().display_path(), "/sdcard/a/b/");
    }
}
