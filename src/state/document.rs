//! A document on disk: written so that a reader finds the whole of one version or of the one before.
//!
//! Its first line says what it is, in which version of the form, and the length and MD5 sum of the
//! JSON that follows. MD5 tells a torn file from a whole one; it guards against no one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use md5::{Digest, Md5};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::limits;

/// What a document's first line begins with.
const MAGIC: &str = "wwsim-state";
/// The version of the form. A document of another one is set aside.
const VERSION: u32 = 1;

/// Writes a document in place of the one before: beside it first, then renamed, and on the disk when
/// this returns.
pub(super) fn write(path: &Path, kind: &str, value: &impl Serialize) -> io::Result<()> {
    let body = serde_json::to_vec(value)?;
    let mut text = head(kind, &body).into_bytes();
    text.extend_from_slice(&body);
    text.push(b'\n');
    let beside = beside(path);
    let mut file = private_file(&beside)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    sync_folder(path)
}

/// Makes a folder where there is none, so that it outlives a power cut, as do those on the way to it
/// that were not there either.
pub(super) fn make_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_folder(parent)?;
    }
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_folder(path),
    }
}

/// Makes a new name in the folder of `path` outlive a power cut.
#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(here) if here.as_os_str().is_empty() => File::open(".")?.sync_all(),
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

fn head(kind: &str, body: &[u8]) -> String {
    use std::fmt::Write;
    let mut head = format!("{MAGIC} {VERSION} {kind} {} ", body.len());
    for byte in Md5::digest(body) {
        // Writing to a String cannot fail.
        let _ = write!(head, "{byte:02x}");
    }
    head.push('\n');
    head
}

/// Where a document is written before it is renamed; what is left of one there never counts.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    name.into()
}

/// A new file that only its owner can read: it carries passwords, or a token.
pub(crate) fn private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Reads a document; none where there is none. What is torn, foreign, or of another version is set
/// aside and counts as none.
pub(super) fn read<T: DeserializeOwned>(path: &Path, kind: &str) -> io::Result<Option<T>> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(file) => {
            // One byte more than allowed tells a file that is too large without reading all of it.
            file.take(limits::STATE_DOCUMENT_BYTES + 1).read_to_end(&mut bytes)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    match decode(&bytes, kind) {
        Ok(value) => Ok(Some(value)),
        Err(reason) => set_aside(path, &reason).map(|()| None),
    }
}

fn decode<T: DeserializeOwned>(bytes: &[u8], kind: &str) -> Result<T, String> {
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or("it has no first line")?;
    let (first, rest) = bytes.split_at(end + 1);
    let body = rest.strip_suffix(b"\n").ok_or("it breaks off")?;
    if first != head(kind, body).as_bytes() {
        let other = format!("{MAGIC} {VERSION} {kind} ");
        return Err(if first.starts_with(other.as_bytes()) {
            "its checksum is not that of what it says".to_owned()
        } else {
            format!("its first line does not begin with `{other}`")
        });
    }
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

/// Moves a file that cannot be used out of the way, under a name that says so, and warns.
pub(super) fn set_aside(path: &Path, reason: &str) -> io::Result<()> {
    let names = (1..=limits::STATE_BROKEN_FILES).map(|number| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".broken-{number}"));
        PathBuf::from(name)
    });
    let free = names.into_iter().find(|name| fs::symlink_metadata(name).is_err());
    let to = free.ok_or_else(|| {
        io::Error::other(format!(
            "{} cannot be used ({reason}), and {} files like it are there already: look at them and remove them",
            path.display(),
            limits::STATE_BROKEN_FILES
        ))
    })?;
    fs::rename(path, &to)?;
    tracing::warn!(file = %path.display(), aside = %to.display(), %reason, "a state file cannot be used and is set aside");
    eprintln!("wwsim: {} cannot be used: {reason}; it is now {}", path.display(), to.display());
    Ok(())
}
