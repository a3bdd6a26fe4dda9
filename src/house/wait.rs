//! Waiting for the journal, and excerpts of it.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::time::Duration;

use super::House;
use crate::journal::{Journal, JournalEntry};

/// The number of entries that a message shows.
const SHOWN_ENTRIES: usize = 12;
/// The number of entries that are read under one lock.
const PAGE_ENTRIES: usize = 256;

/// The error of a wait in which no entry matched.
#[derive(thiserror::Error)]
#[error("no entry of the journal matched within {waited:?}{newest}")]
pub struct WaitTimeout {
    /// The real time that was waited.
    pub waited: Duration,
    /// The newest entries.
    newest: String,
}

/// The same as `Display`, because it is what a test that unwraps shows.
impl fmt::Debug for WaitTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Returns the first entry that matches, or waits for it.
pub(super) async fn wait_for(
    house: &House,
    mut matches: impl FnMut(&JournalEntry) -> bool,
    timeout: Duration,
) -> Result<JournalEntry, WaitTimeout> {
    let journal = house.journal();
    let first = |mut after| {
        loop {
            let page = journal.entries_after(after, PAGE_ENTRIES, |_| true);
            after = page.last()?.seq;
            if let Some(found) = page.into_iter().find(|entry| matches(entry)) {
                return Some(found);
            }
        }
    };
    wait_until(house, first, timeout).await
}

/// Calls `read` as [`Journal::read_until`] does, until it returns something.
pub(super) async fn wait_until<T>(
    house: &House,
    read: impl FnMut(u64) -> Option<T>,
    timeout: Duration,
) -> Result<T, WaitTimeout> {
    let journal = house.journal();
    // Real time, because what is waited for may come from a client outside.
    tokio::time::timeout(timeout, journal.read_until(read))
        .await
        .map_err(|_| WaitTimeout { waited: timeout, newest: show(journal, |_| true) })
}

/// Returns the newest entries in which one of these fields has this value, in lines of their own for the
/// end of a message.
pub(super) fn excerpt(house: &House, fields: &[(&str, &str)]) -> String {
    show(house.journal(), |entry| {
        let entry = serde_json::to_value(entry).unwrap_or_default();
        fields.iter().any(|(field, value)| entry[*field] == *value)
    })
}

fn show(journal: &Journal, matches: impl Fn(&JournalEntry) -> bool) -> String {
    let (mut entries, mut skipped, mut after) = (VecDeque::new(), 0, 0);
    loop {
        let page = journal.entries_after(after, PAGE_ENTRIES, |_| true);
        let Some(last) = page.last() else { break };
        after = last.seq;
        entries.extend(page.into_iter().filter(&matches));
        let surplus = entries.len().saturating_sub(SHOWN_ENTRIES);
        skipped += entries.drain(..surplus).count();
    }
    let mut text = match skipped {
        _ if entries.is_empty() => return "; the journal has nothing about it".to_owned(),
        0 => String::from("; the journal:"),
        _ => format!("; the journal, without {skipped} earlier entries:"),
    };
    for entry in &entries {
        let line = serde_json::to_string(entry).unwrap_or_default();
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  {line}");
    }
    text
}
