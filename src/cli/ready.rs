//! The ready file: where everything listens, once it does.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use crate::house::Addresses;
use crate::state::private_file;

/// Writes the file so that a reader sees the whole of it or nothing: beside its place first, then
/// renamed.
///
/// # Errors
/// Those of the file system.
pub(super) fn write(path: &Path, addresses: &Addresses) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.tmp", std::process::id()));
    let written = private_file(Path::new(&beside)).and_then(|mut file| {
        file.write_all(serde_json::to_string(addresses)?.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()
    });
    let renamed = written.and_then(|()| fs::rename(&beside, path));
    if renamed.is_err() {
        // Nothing more can be done about what is left behind.
        let _ = fs::remove_file(&beside);
    }
    renamed
}

/// Takes away the file of a house before, which would pass for this one's while it starts.
pub(super) fn forget(path: &Path) {
    // Where it cannot be taken away, it cannot be written either, and then that is said.
    let _ = fs::remove_file(path);
}
