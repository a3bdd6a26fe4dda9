//! The ready file, which contains the addresses of a house once it listens.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::files::{OutputPlace, refusal, write_opened};
use crate::folder::Folder;
use crate::house::Addresses;

/// Bytes of a file that is looked at: more than the ready file of the largest house has.
const READY_FILE_BYTES: u64 = 16 * 1024 * 1024;
/// Real time in which the control plane of an earlier house accepts a connection if it runs.
const EARLIER_HOUSE_TIMEOUT: Duration = Duration::from_millis(500);
/// Names of temporary files that are tried. Killed processes may have left some.
const TEMPORARY_NAMES: u32 = 100;

/// A ready file that may be written.
#[derive(Debug)]
pub(super) struct ReadyFile {
    path: PathBuf,
    /// `None` if the start of the house has yet to create the folder of the file.
    place: Option<OutputPlace>,
    /// The file of an earlier house while this one starts.
    earlier: Option<EarlierFile>,
}

/// The file of an earlier house, under a temporary name.
#[derive(Debug)]
struct EarlierFile {
    name: PathBuf,
    /// The address of the control plane of that house. `None` if it is no address.
    control: Option<SocketAddr>,
}

impl ReadyFile {
    /// Checks that the file can be written. Nothing is changed. A file in the state directory may be given
    /// before there is one.
    ///
    /// # Errors
    /// Returns an error if the file can neither be written nor replaced.
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
            replaceable(folder, name)?;
            let (_, probe) = temporary_file(folder, name)?;
            folder.remove(probe)?;
        }
        Ok(Self { path: path.to_owned(), place, earlier: None })
    }

    /// Takes away the file of an earlier house, which would be taken for that of this one while it starts, or
    /// after it has failed to. If this is dropped before [`ReadyFile::write`], the file comes back if the earlier
    /// house still runs.
    ///
    /// # Errors
    /// Returns an error if the file has got other content meanwhile, or cannot be renamed.
    pub(super) fn set_earlier_aside(&mut self) -> io::Result<()> {
        let Some(OutputPlace::File { folder, name }) = &self.place else { return Ok(()) };
        if let Some(Content::Ready { control }) = replaceable(folder, name)? {
            let (_, aside) = temporary_file(folder, name)?;
            folder.rename(name, &aside)?;
            self.earlier = Some(EarlierFile { name: aside, control });
        }
        Ok(())
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
    pub(super) fn write(mut self, mode: Option<u32>, addresses: &Addresses) -> io::Result<()> {
        let mut text = serde_json::to_vec(addresses)?;
        text.push(b'\n');
        let place = match &self.place {
            Some(place) => place,
            None => self.place.insert(OutputPlace::of(&self.path)?),
        };
        let (folder, name) = match place {
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
        renamed?;
        if let Some(earlier) = self.earlier.take() {
            folder.remove(earlier.name)?;
        }
        Ok(())
    }
}

impl Drop for ReadyFile {
    fn drop(&mut self) {
        if let (Some(OutputPlace::File { folder, name }), Some(earlier)) =
            (&self.place, self.earlier.take())
        {
            let is_running = earlier.control.is_some_and(|address| {
                TcpStream::connect_timeout(&address, EARLIER_HOUSE_TIMEOUT).is_ok()
            });
            // If either fails, the file keeps its temporary name.
            let _ = if is_running && matches!(folder.kind(name), Ok(None)) {
                folder.rename(earlier.name, name)
            } else {
                folder.remove(earlier.name)
            };
        }
    }
}

/// The content of a file that may be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    /// Nothing, as in a file that `mktemp` made.
    Empty,
    /// The addresses of a house.
    Ready {
        /// The address of its control plane. `None` if it is no address.
        control: Option<SocketAddr>,
    },
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
    } else if let Some(url) = control_url(&bytes) {
        Ok(Some(Content::Ready { control: url.trim_end_matches('/').parse().ok() }))
    } else {
        Err(refusal("it is neither empty nor a ready file; remove it, or give another file"))
    }
}

/// Returns the URL of the control plane in a ready file, without its scheme. `None` if this is no ready file. A
/// scenario in JSON may have the same keys; its `control` is an address, and that of a ready file a URL.
fn control_url(bytes: &[u8]) -> Option<String> {
    let Ok(Value::Object(members)) = serde_json::from_slice(bytes) else { return None };
    let url = members.get("control")?.as_str()?.strip_prefix("http://")?;
    members.contains_key("devices").then(|| url.to_owned())
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
