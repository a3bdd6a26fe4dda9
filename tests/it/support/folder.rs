//! A folder of a test.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder of its own, which is removed with its files after the test.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    /// Returns a folder that does not exist yet.
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("wwsim-test-{}-{number}", std::process::id()));
        // An earlier process of the same id may have left one.
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    /// Creates an empty folder.
    pub(crate) fn created() -> Self {
        let folder = Self::new();
        std::fs::create_dir_all(&folder.0).unwrap();
        folder
    }

    /// Returns the path of a name in the folder.
    pub(crate) fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file, and returns its path.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let file = self.join(name);
        std::fs::write(&file, content).unwrap();
        file
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
