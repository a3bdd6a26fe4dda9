//! Documents on disk, written atomically: a reader finds either the new version or the one before.
//!
//! The first line contains the kind of the document, the version of its format, and the length and MD5
//! sum of the JSON that follows. The MD5 sum detects a torn file; it is no protection against tampering.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use md5::{Digest, Md5};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The first word of every document.
const MAGIC: &str = "wwsim-state";
/// The version of the format. A document of another version is set aside.
const VERSION: u32 = 1;
/// Bytes of a document. The largest one, with every text of a device at its longest, has about 100 KiB.
const DOCUMENT_BYTES: u64 = 1024 * 1024;
/// Unusable files of one name that are kept. If there are more, the user must look at them.
const BROKEN_FILES: u32 = 100;

/// Replaces a document: writes it to a temporary path, syncs it and renames it. It is on the disk when
/// this returns.
pub(super) fn write(path: &Path, kind: &str, value: &impl Serialize) -> io::Result<()> {
    let body = serde_json::to_vec(value)?;
    let mut text = first_line(kind, &body).into_bytes();
    text.extend_from_slice(&body);
    text.push(b'\n');
    let temporary = temporary_path(path);
    let mut file = private_file(&temporary)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    sync_folder(path)
}

/// Creates a folder and its missing parents, and syncs them, so that they survive a power cut.
pub(super) fn create_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create_folder(parent)?;
    }
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_folder(path),
    }
}

/// Syncs the folder of `path`, so that a new name in it survives a power cut.
#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => File::open(".")?.sync_all(),
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
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

/// Returns the path at which a document is written before it is renamed. A file that is left there is
/// never read.
fn temporary_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    name.into()
}

/// Creates a file that only its owner can read, because it contains passwords or a token.
pub(crate) fn private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Reads a document. `None` if there is none, or if it is torn, of another kind, or of another version;
/// such a file is set aside.
pub(super) fn read<T: DeserializeOwned>(path: &Path, kind: &str) -> io::Result<Option<T>> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(file) => {
            // One byte more than allowed shows that a file is too large without reading all of it.
            file.take(DOCUMENT_BYTES + 1).read_to_end(&mut bytes)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    match decode(&bytes, kind) {
        Ok(value) => Ok(Some(value)),
        Err(defect) => set_aside(path, &defect).map(|()| None),
    }
}

/// A defect of a document.
#[derive(Debug, thiserror::Error)]
enum DocumentDefect {
    #[error("it has no first line")]
    NoFirstLine,
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
pub(super) fn set_aside(path: &Path, reason: &impl fmt::Display) -> io::Result<()> {
    let names = (1..=BROKEN_FILES).map(|number| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".broken-{number}"));
        PathBuf::from(name)
    });
    let free = names.into_iter().find(|name| fs::symlink_metadata(name).is_err());
    let to = free.ok_or_else(|| {
        io::Error::other(format!(
            "{} cannot be used ({reason}), and {} files like it are there already: look at them and remove them",
            path.display(),
            BROKEN_FILES
        ))
    })?;
    fs::rename(path, &to)?;
    tracing::warn!(file = %path.display(), aside = %to.display(), %reason, "a state file cannot be used and is set aside");
    Ok(())
}
