//! `journal` and `journal/wait`: the journal's entries, at once or as soon as there are any.
//!
//! Both take `after` (a `seq`), `limit`, and filters: an entry matches if the field of each filter
//! has the given value. `journal/wait` also takes `timeout_ms`, in real time; once it has passed, the
//! list is empty.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use tokio::time::{Instant, sleep_until};

use super::listing::{self, EntryQuery, ListingFrame, LogListing, LogPage, NumberedLog};
use super::request::{ControlRequest, ControlResult};
use crate::journal::{Journal, JournalEntry, JournalPage};
use crate::limits;
use crate::net::http::{HttpReply, PageWriter};

/// The fields by which entries can be filtered.
const FILTERS: [&str; 8] = ["event", "device", "action", "rule", "seam", "slave", "unit", "target"];

impl NumberedLog for Arc<Journal> {
    type Item = JournalEntry;

    fn page(&self, seq: u64, limit: usize) -> LogPage<JournalEntry> {
        let JournalPage { generation, newest, discarded, entries } =
            Journal::page(self, seq, limit);
        LogPage { generation, newest, discarded, entries }
    }

    fn number(entry: &JournalEntry) -> u64 {
        entry.seq
    }
}

/// Returns the entries that match.
pub(super) async fn list(
    journal: &Arc<Journal>,
    writer: &PageWriter,
    request: &ControlRequest<'_>,
) -> ControlResult {
    let query = parse(request, &[])?;
    listing::reply(writer, || entries(journal, &query)).await
}

/// Returns the entries that match, or waits for the first that does.
pub(super) async fn wait(
    journal: &Arc<Journal>,
    writer: &PageWriter,
    request: &ControlRequest<'_>,
) -> ControlResult {
    let query = parse(request, &["timeout_ms"])?;
    let longest = u64::try_from(limits::JOURNAL_WAIT.as_millis()).unwrap_or(u64::MAX);
    let timeout = Duration::from_millis(request.number("timeout_ms", longest, longest)?);
    // Real time, because a client waits in real time. It ends the wait for a change, but never a search: what
    // the journal has is found, and `written` of an empty list is the last entry that was searched.
    let deadline = Instant::now() + timeout;
    let mut reader = journal.reader();
    loop {
        let unread = || entries(journal, &query.not_before(reader.begin()));
        let start = listing::start(writer, unread).await?;
        if start.source.has_entries() || Instant::now() >= deadline {
            return Ok(writer.finish(StatusCode::OK, start));
        }
        tokio::select! {
            biased;
            () = reader.changed() => {}
            () = sleep_until(deadline) => return Ok(writer.finish(StatusCode::OK, start)),
        }
    }
}

fn parse(request: &ControlRequest<'_>, more: &[&str]) -> Result<EntryQuery, HttpReply> {
    EntryQuery::parse(request, limits::JOURNAL_ENTRIES, &FILTERS, more)
}

fn entries(journal: &Arc<Journal>, query: &EntryQuery) -> LogListing<Arc<Journal>> {
    let frame = ListingFrame { begin: "{\"entries\":[".to_owned(), newest_key: "written" };
    LogListing::new(Arc::clone(journal), query, frame)
}
