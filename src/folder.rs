//! Folders by handle: everything in a folder is reached through its open handle and by one name at a time,
//! and a link is not followed. So another program can replace what it likes meanwhile, and nothing outside
//! the folder is read, written or deleted.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use cap_fs_ext::{DirExt as _, FollowSymlinks, OpenOptionsFollowExt as _, OpenOptionsSyncExt as _};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, ReadDir};

/// An open folder.
#[derive(Debug)]
pub struct Folder {
    dir: Dir,
    /// The path by which it was opened, for messages and for links that a user may put in place.
    path: PathBuf,
}

/// The kind of an entry of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A pipe, a socket or a device.
    Special,
}

impl fmt::Display for EntryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "a file",
            Self::Folder => "a folder",
            Self::Link => "a link",
            Self::Special => "a pipe, a socket or a device",
        })
    }
}

impl Folder {
    /// Opens a folder that the user names; links on the way are followed.
    pub fn open(path: &Path) -> io::Result<Self> {
        let named = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let dir = Dir::open_ambient_dir(named, ambient_authority())?;
        Ok(Self { dir, path: path.to_owned() })
    }

    /// Opens a folder as [`Folder::open`] does. It and its missing parents are created, and synced, so that
    /// they survive a power cut.
    pub fn create(path: &Path) -> io::Result<Self> {
        match Self::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => return opened,
        }
        let Some(parent) = path.parent() else { return Self::open(path) };
        let parent = Self::create(parent)?;
        // A path that ends in `..` names a folder that is there once the one before it is.
        if let Some(name) = path.file_name() {
            match parent.dir.create_dir(name) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => parent.sync()?,
            }
        }
        Self::open(path)
    }

    /// Returns the path of an entry, for messages.
    #[must_use]
    pub fn path_of(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Returns the kind of an entry. `None` if there is no such entry.
    pub fn kind(&self, name: impl AsRef<Path>) -> io::Result<Option<EntryKind>> {
        let kind = match self.dir.symlink_metadata(name) {
            Ok(metadata) => metadata.file_type(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Some(if kind.is_file() {
            EntryKind::File
        } else if kind.is_dir() {
            EntryKind::Folder
        } else if kind.is_symlink() {
            EntryKind::Link
        } else {
            EntryKind::Special
        }))
    }

    /// Returns the path that a link leads to, as it is written in the link.
    pub fn read_link(&self, name: impl AsRef<Path>) -> io::Result<PathBuf> {
        self.dir.read_link_contents(name)
    }

    /// Returns an error if there is an entry of this name that is of another kind.
    pub fn expect_kind(&self, name: impl AsRef<Path>, expected: EntryKind) -> io::Result<()> {
        match self.kind(&name)? {
            Some(found) if found != expected => Err(self.wrong_kind(name, found, expected)),
            _ => Ok(()),
        }
    }

    /// Opens a folder.
    pub fn folder(&self, name: impl AsRef<Path>) -> io::Result<Self> {
        let opened = self.dir.open_dir_nofollow(&name);
        let dir = opened.map_err(|error| self.explain(&name, EntryKind::Folder, error))?;
        Ok(Self { dir, path: self.path_of(name) })
    }

    /// Opens a folder in place of which a user may put a link to another one.
    pub fn folder_or_link(&self, name: impl AsRef<Path>) -> io::Result<Self> {
        match self.kind(&name)? {
            Some(EntryKind::Link) => Self::open(&self.path_of(name)),
            _ => self.folder(name),
        }
    }

    /// Opens a folder, or creates it.
    pub fn add_folder(&self, name: impl AsRef<Path>) -> io::Result<Self> {
        match self.dir.create_dir(&name) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => self.folder(name),
        }
    }

    /// Opens a folder, or creates it so that it survives a power cut.
    pub fn add_folder_synced(&self, name: impl AsRef<Path>) -> io::Result<Self> {
        if self.kind(&name)?.is_some() {
            return self.folder(name);
        }
        let added = self.add_folder(name)?;
        self.sync()?;
        Ok(added)
    }

    /// Opens a regular file for reading.
    pub fn read(&self, name: impl AsRef<Path>) -> io::Result<File> {
        self.open_file(name, options().read(true))
    }

    /// Opens a regular file, or creates it, for appending; the end can be read.
    pub fn append(&self, name: impl AsRef<Path>) -> io::Result<File> {
        self.open_or_create(name, options().read(true).append(true))
    }

    /// Opens a regular file, or creates it, and leaves its content as it is.
    pub fn lock_file(&self, name: impl AsRef<Path>) -> io::Result<File> {
        self.open_or_create(name, options().write(true))
    }

    /// Creates a file.
    pub fn create_file(&self, name: impl AsRef<Path>) -> io::Result<File> {
        Ok(self.dir.open_with(name, options().write(true).create_new(true))?.into_std())
    }

    /// Creates a file with these permissions, less those that the process masks. Systems other than Unix
    /// have no such permissions.
    pub fn create_file_with(&self, name: impl AsRef<Path>, permissions: u32) -> io::Result<File> {
        let mut options = options();
        options.write(true).create_new(true);
        #[cfg(unix)]
        cap_std::fs::OpenOptionsExt::mode(&mut options, permissions);
        #[cfg(not(unix))]
        let _ = permissions;
        Ok(self.dir.open_with(name, &options)?.into_std())
    }

    /// Renames an entry. A file that has the new name is replaced.
    pub fn rename(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
        self.dir.rename(from, &self.dir, to)
    }

    /// Removes an entry that is no folder. Of a link, the link itself is removed.
    pub fn remove(&self, name: impl AsRef<Path>) -> io::Result<()> {
        self.dir.remove_file_or_symlink(name)
    }

    /// Removes a folder with its content. Links in it are removed, and not what they lead to.
    pub fn remove_folder(&self, name: impl AsRef<Path>) -> io::Result<()> {
        self.dir.remove_dir_all(name)
    }

    /// Returns the entries.
    pub fn entries(&self) -> io::Result<ReadDir> {
        self.dir.entries()
    }

    /// Syncs the folder, so that a new name in it survives a power cut.
    pub fn sync(&self) -> io::Result<()> {
        // Windows has no such operation.
        if cfg!(unix) { self.dir.open(".")?.sync_all() } else { Ok(()) }
    }

    fn open_or_create(
        &self,
        name: impl AsRef<Path>,
        options: &mut OpenOptions,
    ) -> io::Result<File> {
        match self.open_file(&name, options) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => return opened,
        }
        match self.dir.open_with(&name, options.create_new(true)) {
            Ok(created) => Ok(created.into_std()),
            // Another process was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.open_file(name, options.create_new(false))
            }
            Err(error) => Err(error),
        }
    }

    /// Opens a regular file. Others are not even opened if it can be avoided: that alone makes a device
    /// act, or waits for the other end of a pipe.
    fn open_file(&self, name: impl AsRef<Path>, options: &OpenOptions) -> io::Result<File> {
        self.expect_kind(&name, EntryKind::File)?;
        let opened = self.dir.open_with(&name, options);
        let opened = opened.map_err(|error| self.explain(&name, EntryKind::File, error))?;
        if opened.metadata()?.is_file() {
            Ok(opened.into_std())
        } else {
            Err(self.wrong_kind(name, EntryKind::Special, EntryKind::File))
        }
    }

    /// Replaces the error of the system by one that says what is in the way, if something is.
    fn explain(&self, name: impl AsRef<Path>, expected: EntryKind, error: io::Error) -> io::Error {
        self.expect_kind(name, expected).err().unwrap_or(error)
    }

    fn wrong_kind(
        &self,
        name: impl AsRef<Path>,
        found: EntryKind,
        expected: EntryKind,
    ) -> io::Error {
        let kind = match expected {
            EntryKind::Folder => io::ErrorKind::NotADirectory,
            _ => io::ErrorKind::InvalidInput,
        };
        let path = self.path_of(name);
        let text = format!("{} is {found}, expected {expected}; move it away", path.display());
        io::Error::new(kind, text)
    }
}

/// Returns options that follow no link and wait for nothing.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.follow(FollowSymlinks::No).nonblock(true);
    options
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_and_pipes_are_refused_and_only_removed_themselves() {
        let root = std::env::temp_dir().join(format!("wwsim-folder-{}", std::process::id()));
        let folder = Folder::create(&root.join("a/b")).unwrap();
        let outside = root.join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("secret"), "secret").unwrap();
        let inside = |name: &str| root.join("a/b").join(name);
        symlink(&outside, inside("folder")).unwrap();
        symlink(outside.join("secret"), inside("file")).unwrap();
        symlink(root.join("nowhere"), inside("dangling")).unwrap();
        assert!(
            std::process::Command::new("mkfifo").arg(inside("pipe")).status().unwrap().success()
        );

        for name in ["folder", "file", "dangling", "pipe"] {
            for result in [folder.read(name), folder.append(name), folder.lock_file(name)] {
                let error = result.unwrap_err().to_string();
                assert!(error.contains(", expected a file; move it away"), "{name}: {error}");
            }
            let error = folder.create_file(name).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists, "{name}");
            let error = folder.add_folder(name).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotADirectory, "{name}: {error}");
        }
        assert!(folder.folder_or_link("folder").unwrap().read("secret").is_ok());
        folder.remove("folder").unwrap();
        folder.remove("file").unwrap();
        symlink(&outside, inside("folder")).unwrap();
        folder.remove_folder("folder").unwrap();
        assert_eq!(std::fs::read(outside.join("secret")).unwrap(), b"secret");
        assert!(!root.join("nowhere").exists());
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn names_lead_to_the_open_folder_alone() {
        let root = std::env::temp_dir().join(format!("wwsim-names-{}", std::process::id()));
        let folder = Folder::create(&root.join("inside")).unwrap();
        std::fs::write(root.join("secret"), "secret").unwrap();
        for name in ["../secret", "..", "/etc/passwd", "x/../../secret"] {
            assert!(folder.read(name).is_err(), "{name}");
            assert!(folder.remove(name).is_err(), "{name}");
            assert!(folder.remove_folder(name).is_err(), "{name}");
        }
        assert!(root.join("secret").exists());
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn an_open_folder_stays_the_same_if_another_takes_its_path() {
        let root = std::env::temp_dir().join(format!("wwsim-taken-{}", std::process::id()));
        let parent = Folder::create(&root).unwrap();
        for name in ["inside", "outside"] {
            std::fs::create_dir(root.join(name)).unwrap();
            std::fs::write(root.join(name).join("file"), name).unwrap();
        }
        let inside = parent.folder("inside").unwrap();
        parent.rename("inside", "moved").unwrap();
        symlink(root.join("outside"), root.join("inside")).unwrap();
        inside.remove("file").unwrap();
        inside.create_file("new").unwrap();
        assert_eq!(std::fs::read_dir(root.join("outside")).unwrap().count(), 1);
        assert!(root.join("outside/file").exists() && root.join("moved/new").exists());
        std::fs::remove_dir_all(root).unwrap();
    }
}
