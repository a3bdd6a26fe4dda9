//! `journal` and `journal/wait`: the journal's entries, at once or as soon as there are any.
//!
//! Both take `after` (a `seq`), `limit`, and filters: an entry matches if the field of each filter
//! has the given value. `journal/wait` also takes `timeout_ms`, in real time; once it has passed, the
//! list is empty.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use serde_json::json;

use super::listing::{EntryQuery, ListingFrame, LogListing, LogPage, NumberedLog};
use super::request::{ControlRequest, ControlResult};
use crate::journal::{Journal, JournalCounts, JournalEntry, JournalPage};
use crate::limits;
use crate::net::http::{BodyInterrupted, HttpReply, PageWriter};

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
    loop {
        match writer.reply(StatusCode::OK, listing(journal, &query)).await {
            Ok(reply) => return Ok(reply),
            // The journal was cleared meanwhile.
            Err(BodyInterrupted) => tokio::task::yield_now().await,
        }
    }
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
    let first = journal.read_async_until(|read_to| {
        let query = query.not_before(read_to);
        async move {
            // If the journal is cleared meanwhile, it is read again at once.
            let start = writer.start(listing(journal, &query)).await.ok()?;
            start.source.has_entries().then_some(start)
        }
    });
    // Real time, because a client waits in real time.
    let Ok(start) = tokio::time::timeout(timeout, first).await else {
        let JournalCounts { recorded, discarded } = journal.counts();
        let nothing = json!({ "entries": [], "written": recorded, "forgotten": discarded });
        return Ok(HttpReply::json(StatusCode::OK, &nothing));
    };
    Ok(writer.finish(StatusCode::OK, start))
}

fn parse(request: &ControlRequest<'_>, more: &[&str]) -> Result<EntryQuery, HttpReply> {
    EntryQuery::parse(request, limits::JOURNAL_ENTRIES, &FILTERS, more)
}

fn listing(journal: &Arc<Journal>, query: &EntryQuery) -> LogListing<Arc<Journal>> {
    let frame = ListingFrame { begin: "{\"entries\":[".to_owned(), newest_key: "written" };
    LogListing::new(Arc::clone(journal), query, frame)
}
