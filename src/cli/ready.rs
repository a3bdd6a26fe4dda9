//! The ready file, which contains the addresses of a house once it listens.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use crate::house::Addresses;
use crate::state::private_file;

/// Writes the file to a temporary path and renames it, so that a reader sees all of it or none. `mode` is its
/// permissions, whatever the umask of the process; by default only its owner can read it.
///
/// # Errors
/// Returns the error of the file system.
pub(super) fn write(path: &Path, mode: Option<u32>, addresses: &Addresses) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let written = private_file(Path::new(&temporary)).and_then(|mut file| {
        file.write_all(serde_json::to_string(addresses)?.as_bytes())?;
        file.write_all(b"\n")?;
        set_mode(&file, mode)?;
        file.sync_all()
    });
    let renamed = written.and_then(|()| fs::rename(&temporary, path));
    if renamed.is_err() {
        // If the temporary file cannot be removed either, it stays.
        let _ = fs::remove_file(&temporary);
    }
    renamed
}

#[cfg(unix)]
fn set_mode(file: &fs::File, mode: Option<u32>) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    mode.map_or(Ok(()), |mode| file.set_permissions(fs::Permissions::from_mode(mode)))
}

/// Other systems have no such permissions.
#[cfg(not(unix))]
fn set_mode(_: &fs::File, _: Option<u32>) -> io::Result<()> {
    Ok(())
}

/// Removes the file of an earlier house, which would be taken for that of this one while it starts.
pub(super) fn remove(path: &Path) {
    // If the file cannot be removed, it cannot be written either, and that error is reported.
    let _ = fs::remove_file(path);
}
