//! Files that the command line names to be written.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::folder::{EntryKind, Folder};

/// Links that are followed one after another, as many as Linux follows.
const LINKS: usize = 40;

/// The bits of a descriptor's flags that say for which access it is open (`O_ACCMODE`).
const ACCESS_MODE: u32 = 0o3;
/// Open for reading only (`O_RDONLY`).
const READ_ONLY: u32 = 0;

/// The place that a path leads to.
#[derive(Debug)]
pub(super) enum OutputPlace {
    /// A regular file in a folder, or none yet.
    File {
        /// The folder.
        folder: Folder,
        /// The name of the file.
        name: PathBuf,
    },
    /// A pipe, a device, or a file that the caller has opened for this process: `/dev/fd/3`. It is written
    /// in place.
    Opened(PathBuf),
}

impl OutputPlace {
    /// Resolves a path; links are followed.
    ///
    /// # Errors
    /// Returns an error if nothing can be written there.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let mut path = path.to_owned();
        for _ in 0..LINKS {
            let is_folder = path.as_os_str().as_encoded_bytes().ends_with(b"/");
            let (Some(name), false) = (path.file_name().map(PathBuf::from), is_folder) else {
                return Err(refusal("it names no file"));
            };
            let parent = path.parent().unwrap_or(Path::new("")).to_owned();
            if is_descriptor_folder(&parent) {
                return opened_by_caller(path, &name);
            }
            let folder = Folder::open(&parent)?;
            match folder.kind(&name)? {
                None | Some(EntryKind::File) => return Ok(Self::File { folder, name }),
                Some(EntryKind::Folder) => return Err(refusal("it is a folder")),
                Some(EntryKind::Special) => {
                    refuse_unwritable(&path)?;
                    return Ok(Self::Opened(path));
                }
                Some(EntryKind::Link) => path = parent.join(folder.read_link(&name)?),
            }
        }
        Err(refusal("it is a link to a link, too many times"))
    }
}

/// Returns an error with this text.
pub(super) fn refusal(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

/// Writes to a place that is written in place. Waits until a pipe has a reader.
///
/// # Errors
/// Returns the error of the system.
pub(super) fn write_opened(path: &Path, text: &[u8]) -> io::Result<()> {
    // A file that the caller has opened may have content; nothing of it is overwritten.
    let mut opened = OpenOptions::new().append(true).open(path)?;
    let is_file = opened.metadata()?.is_file();
    if is_file && !is_descriptor_folder(path.parent().unwrap_or(Path::new(""))) {
        return Err(refusal("a file has taken its place"));
    }
    match opened.write_all(text) {
        // The reader has what it wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Returns the place of a descriptor of this process.
fn opened_by_caller(path: PathBuf, descriptor: &Path) -> io::Result<OutputPlace> {
    refuse_unwritable(&path)?;
    // The system would let it be opened for writing once more.
    let info = Path::new("/proc/self/fdinfo").join(descriptor);
    let flags = fs::read_to_string(info).ok().and_then(|info| {
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
        u32::from_str_radix(flags.trim(), 8).ok()
    });
    if flags.is_some_and(|flags| flags & ACCESS_MODE == READ_ONLY) {
        return Err(refusal("it is open for reading only"));
    }
    Ok(OutputPlace::Opened(path))
}

/// Returns an error if this is a socket or a folder, which cannot be opened for writing, or nothing.
fn refuse_unwritable(path: &Path) -> io::Result<()> {
    let kind = fs::metadata(path)?.file_type();
    #[cfg(unix)]
    if std::os::unix::fs::FileTypeExt::is_socket(&kind) {
        return Err(refusal("it is a socket; expected a file or a pipe"));
    }
    if kind.is_dir() { Err(refusal("it is a folder")) } else { Ok(()) }
}

/// Returns true if the entries of this folder are descriptors of this process: `/dev/fd`, and
/// `/proc/self/fd`.
fn is_descriptor_folder(path: &Path) -> bool {
    let Ok(path) = fs::canonicalize(path) else { return false };
    path == Path::new("/dev/fd") || (path.starts_with("/proc") && path.ends_with("fd"))
}
