//! Names that the log gives once.

use std::collections::HashSet;

use parking_lot::Mutex;

/// The names that the log has given, at most `MOST` of them, so that a client that tries many does not fill the
/// log.
#[derive(Debug, Default)]
pub(crate) struct LoggedNames<const MOST: usize>(Mutex<HashSet<String>>);

impl<const MOST: usize> LoggedNames<MOST> {
    /// Returns true if the log is to give this name: for the first time.
    pub(crate) fn is_new(&self, name: String) -> bool {
        let mut names = self.0.lock();
        names.len() < MOST && names.insert(name)
    }
}
