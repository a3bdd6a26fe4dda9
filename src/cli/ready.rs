//! The ready file, which contains the addresses of a house once it listens.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::files::{OutputPlace, refusal, write_opened};
use crate::folder::Folder;
use crate::house::Addresses;

/// Bytes of a file that is looked at: more than the ready file of the largest house has.
const READY_FILE_BYTES: u64 = 16 * 1024 * 1024;
/// Names of temporary files that are tried. Killed processes may have left some.
const TEMPORARY_NAMES: u32 = 100;

/// A ready file that may be written.
#[derive(Debug)]
pub(super) struct ReadyFile {
    path: PathBuf,
    /// `None` if the start of the house has yet to create the folder of the file.
    place: Option<OutputPlace>,
}

impl ReadyFile {
    /// Checks that the file can be written, and removes that of an earlier house, which would be taken for
    /// that of this one while it starts. A file in the state directory may be given before there is one.
    ///
    /// # Errors
    /// Returns an error if the file can neither be written nor replaced; nothing is changed then.
    pub(super) fn prepare(path: &Path, state_dir: Option<&Path>) -> io::Result<Self> {
        let place = match OutputPlace::of(path) {
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    && state_dir.is_some_and(|dir| path.starts_with(dir)) =>
            {
                None
            }
            place => Some(place?),
        };
        if let Some(OutputPlace::File { folder, name }) = &place {
            let content = replaceable(folder, name)?;
            let (_, probe) = temporary_file(folder, name)?;
            folder.remove(probe)?;
            if content == Some(Content::Ready) {
                folder.remove(name)?;
            }
        }
        Ok(Self { path: path.to_owned(), place })
    }

    /// Returns the path, as the user gave it.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns true if the file is, or will be, at this path.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        let same = |here| std::fs::canonicalize(path).is_ok_and(|other| here == other);
        std::fs::canonicalize(&self.path).is_ok_and(same)
    }

    /// Returns true if [`ReadyFile::write`] may wait for a reader.
    pub(super) fn may_wait(&self) -> bool {
        matches!(self.place, Some(OutputPlace::Opened(_)))
    }

    /// Writes the file. A reader sees all of it or none: it is written to a temporary file and renamed. A
    /// pipe, a device, or a file that the caller has opened is written in place, which waits for the
    /// reader of a pipe. `mode` is the permissions of the file, whatever the umask of the process; by default
    /// only its owner can read it.
    ///
    /// # Errors
    /// Returns the error of the file system, or an error if something else has taken the place of the file.
    pub(super) fn write(self, mode: Option<u32>, addresses: &Addresses) -> io::Result<()> {
        let mut text = serde_json::to_vec(addresses)?;
        text.push(b'\n');
        let place = match self.place {
            Some(place) => place,
            None => OutputPlace::of(&self.path)?,
        };
        let (folder, name) = match &place {
            OutputPlace::Opened(path) => return write_opened(path, &text),
            OutputPlace::File { folder, name } => (folder, name),
        };
        let (mut file, temporary) = temporary_file(folder, name)?;
        let written = set_mode(&file, mode)
            .and_then(|()| file.write_all(&text))
            .and_then(|()| file.sync_all());
        // The house may have taken long to start.
        let checked = written.and_then(|()| replaceable(folder, name));
        let renamed = checked.and_then(|_| folder.rename(&temporary, name));
        if renamed.is_err() {
            // If the temporary file cannot be removed either, it stays.
            let _ = folder.remove(&temporary);
        }
        renamed
    }
}

/// The content of a file that may be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    /// Nothing, as in a file that `mktemp` made.
    Empty,
    /// The addresses of a house.
    Ready,
}

/// Returns the content of a file that may be replaced. `None` if there is no file.
///
/// # Errors
/// Returns an error if the file has other content, which is not ours to delete.
fn replaceable(folder: &Folder, name: &Path) -> io::Result<Option<Content>> {
    let file = match folder.read(name) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(READY_FILE_BYTES).read_to_end(&mut bytes)?;
    if bytes.is_empty() {
        Ok(Some(Content::Empty))
    } else if is_ready_file(&bytes) {
        Ok(Some(Content::Ready))
    } else {
        Err(refusal("it is neither empty nor a ready file; remove it, or give another file"))
    }
}

/// Returns true if these are the addresses of a house. A scenario in JSON may have the same keys; its
/// `control` is an address, and that of a ready file a URL.
fn is_ready_file(bytes: &[u8]) -> bool {
    let Ok(Value::Object(members)) = serde_json::from_slice(bytes) else { return false };
    let is_address =
        |value: &Value| value.as_str().is_some_and(|text| text.parse::<SocketAddr>().is_ok());
    members.contains_key("devices") && members.get("control").is_some_and(|url| !is_address(url))
}

/// Creates a file beside the ready file. Only its owner can read it, because it contains the token.
fn temporary_file(folder: &Folder, name: &Path) -> io::Result<(File, PathBuf)> {
    let mut number = 0;
    loop {
        let mut temporary = name.as_os_str().to_owned();
        temporary.push(format!(".{}-{number}.tmp", std::process::id()));
        match folder.create_file_with(&temporary, 0o600) {
            Err(error)
                if error.kind() == io::ErrorKind::AlreadyExists && number < TEMPORARY_NAMES =>
            {
                number += 1;
            }
            created => return Ok((created?, temporary.into())),
        }
    }
}

#[cfg(unix)]
fn set_mode(file: &File, mode: Option<u32>) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    mode.map_or(Ok(()), |mode| file.set_permissions(std::fs::Permissions::from_mode(mode)))
}

/// Other systems have no such permissions.
#[cfg(not(unix))]
fn set_mode(_: &File, _: Option<u32>) -> io::Result<()> {
    Ok(())
}
