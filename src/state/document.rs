//! Documents on disk, written atomically: a reader finds either the new version or the one before.
//!
//! The first line contains the kind of the document, the version of its format, and the length and MD5
//! sum of the JSON that follows. The MD5 sum detects a torn file; it is no protection against tampering.

use std::fmt;
use std::io::{self, Read, Write};

use md5::{Digest, Md5};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::folder::{EntryKind, Folder};

/// The first word of every document.
const MAGIC: &str = "wwsim-state";
/// The version of the format. A document of another version is set aside.
const VERSION: u32 = 1;
/// Bytes of a document. That of a device with every text at its longest has about 100 KiB, that of a house with the
/// ids of the largest fleet about 1.5 MiB.
const DOCUMENT_BYTES: u64 = 4 * 1024 * 1024;
/// Unusable files of one name that are kept. If there are more, the user must look at them.
const BROKEN_FILES: u32 = 100;

/// Replaces a document: writes it to a temporary file, syncs it and renames it. It is on the disk when
/// this returns.
pub(super) fn write(
    folder: &Folder,
    name: &str,
    kind: &str,
    value: &impl Serialize,
) -> io::Result<()> {
    let body = serde_json::to_vec(value)?;
    let mut text = first_line(kind, &body).into_bytes();
    text.extend_from_slice(&body);
    text.push(b'\n');
    let temporary = temporary_name(name);
    // The process before may have been killed while it wrote.
    folder.expect_kind(&temporary, EntryKind::File)?;
    if folder.kind(&temporary)?.is_some() {
        folder.remove(&temporary)?;
    }
    // Only its owner can read it, because it contains passwords.
    let mut file = folder.create_file_with(&temporary, 0o600)?;
    file.write_all(&text)?;
    file.sync_all()?;
    folder.rename(&temporary, name)?;
    folder.sync()
}

fn first_line(kind: &str, body: &[u8]) -> String {
    use std::fmt::Write;
    let mut line = format!("{MAGIC} {VERSION} {kind} {} ", body.len());
    for byte in Md5::digest(body) {
        // Writing to a String cannot fail.
        let _ = write!(line, "{byte:02x}");
    }
    line.push('\n');
    line
}

/// Returns the name under which a document is written before it is renamed. A file that is left there is
/// never read.
fn temporary_name(name: &str) -> String {
    format!("{name}.tmp")
}

/// Reads a document. `None` if there is none, or if it is torn, of another kind, or of another version;
/// such a file is set aside. A document that could not be written is refused, too.
pub(super) fn read<T: DeserializeOwned>(
    folder: &Folder,
    name: &str,
    kind: &str,
) -> io::Result<Option<T>> {
    folder.expect_kind(temporary_name(name), EntryKind::File)?;
    let mut bytes = Vec::new();
    match folder.read(name) {
        Ok(file) => {
            // One byte more than allowed shows that a file is too large without reading all of it.
            file.take(DOCUMENT_BYTES + 1).read_to_end(&mut bytes)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    let is_too_large = u64::try_from(bytes.len()).unwrap_or(u64::MAX) > DOCUMENT_BYTES;
    let decoded = if is_too_large { Err(DocumentDefect::TooLarge) } else { decode(&bytes, kind) };
    match decoded {
        Ok(value) => Ok(Some(value)),
        Err(defect) => set_aside(folder, name, &defect).map(|()| None),
    }
}

/// A defect of a document.
#[derive(Debug, thiserror::Error)]
enum DocumentDefect {
    #[error("it has no first line")]
    NoFirstLine,
    #[error("it has more than the {DOCUMENT_BYTES} bytes that such a document has at most")]
    TooLarge,
    #[error("it breaks off")]
    Torn,
    #[error("its checksum is not that of what it says")]
    Checksum,
    #[error("its first line does not begin with `{0}`")]
    Foreign(String),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

fn decode<T: DeserializeOwned>(bytes: &[u8], kind: &str) -> Result<T, DocumentDefect> {
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or(DocumentDefect::NoFirstLine)?;
    let (first, rest) = bytes.split_at(end + 1);
    let body = rest.strip_suffix(b"\n").ok_or(DocumentDefect::Torn)?;
    if first != first_line(kind, body).as_bytes() {
        let prefix = format!("{MAGIC} {VERSION} {kind} ");
        return Err(if first.starts_with(prefix.as_bytes()) {
            DocumentDefect::Checksum
        } else {
            DocumentDefect::Foreign(prefix)
        });
    }
    Ok(serde_json::from_slice(body)?)
}

/// Renames an unusable file to a name that says so, and warns.
pub(super) fn set_aside(folder: &Folder, name: &str, reason: &impl fmt::Display) -> io::Result<()> {
    let path = folder.path_of(name);
    let mut names = (1..=BROKEN_FILES).map(|number| format!("{name}.broken-{number}"));
    let free = names.find(|name| matches!(folder.kind(name), Ok(None)));
    let aside = free.ok_or_else(|| {
        io::Error::other(format!(
            "{} cannot be used ({reason}), and {} files like it are there already: look at them and remove them",
            path.display(),
            BROKEN_FILES
        ))
    })?;
    folder.rename(name, &aside)?;
    let to = folder.path_of(&aside);
    tracing::warn!(file = %path.display(), aside = %to.display(), %reason, "a state file cannot be used and is set aside");
    Ok(())
}
