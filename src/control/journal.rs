//! `journal` and `journal/wait`: the journal's entries, at once or as soon as there are any.
//!
//! Both take `after` (a `seq`), `limit`, and filters: an entry matches if the field of each filter
//! has the given value. `journal/wait` also takes `timeout_ms`, in real time; once it has passed, the
//! list is empty.

use std::time::Duration;

use hyper::StatusCode;
use serde_json::{Number, Value, json};

use super::request::{ControlRequest, ControlResult, bad_request};
use crate::journal::{Journal, JournalCounts, JournalEntry};
use crate::limits;
use crate::net::http::HttpReply;
use crate::runtime::HouseCore;

/// Journal entries that are read under one lock, so that reading never delays writers.
const PAGE_ENTRIES: usize = 256;

/// The fields by which entries can be filtered.
const FILTERS: [&str; 8] = ["event", "device", "action", "rule", "seam", "slave", "unit", "target"];

/// A query for journal entries.
#[derive(Debug)]
struct EntryQuery {
    after: u64,
    limit: usize,
    filters: Vec<(String, String)>,
}

/// Returns the entries that match.
pub(super) fn list(house: &HouseCore, request: &ControlRequest<'_>) -> ControlResult {
    let query = EntryQuery::parse(request, &[])?;
    Ok(reply(house.journal(), &query.entries_after(query.after, house.journal())))
}

/// Returns the entries that match, or waits for the first that does.
pub(super) async fn wait(house: &HouseCore, request: &ControlRequest<'_>) -> ControlResult {
    let query = EntryQuery::parse(request, &["timeout_ms"])?;
    let longest = u64::try_from(limits::JOURNAL_WAIT.as_millis()).unwrap_or(u64::MAX);
    let timeout = Duration::from_millis(request.number("timeout_ms", longest, longest)?);
    let journal = house.journal();
    let first = journal.read_until(|read_to| {
        let entries = query.entries_after(query.after.max(read_to), journal);
        (!entries.is_empty()).then_some(entries)
    });
    // Real time, because a client waits in real time.
    let entries = tokio::time::timeout(timeout, first).await.unwrap_or_default();
    Ok(reply(journal, &entries))
}

fn reply(journal: &Journal, entries: &[Value]) -> HttpReply {
    let JournalCounts { recorded, discarded } = journal.counts();
    HttpReply::json(
        StatusCode::OK,
        &json!({ "entries": entries, "written": recorded, "forgotten": discarded }),
    )
}

impl EntryQuery {
    /// Parses the query of a request, which may have the parameters of `more`, too.
    fn parse(request: &ControlRequest<'_>, more: &[&str]) -> Result<Self, HttpReply> {
        let known: Vec<&str> =
            ["after", "limit"].iter().chain(more).chain(&FILTERS).copied().collect();
        request.allow_only(&known)?;
        let limit = request.number("limit", limits::JOURNAL_ENTRIES, limits::JOURNAL_ENTRIES)?;
        if limit == 0 {
            return Err(bad_request("`limit=0`: expected 1 or more"));
        }
        let filters = request.query().pairs().filter(|(name, _)| FILTERS.contains(&&**name));
        let filters = filters.map(|(name, value)| (name.into_owned(), value.into_owned()));
        let after = request.number("after", 0, u64::MAX)?;
        Ok(Self { after, limit, filters: filters.collect() })
    }

    /// Returns the matching entries after a `seq` as JSON. The journal is read page by page, and the
    /// entries are filtered outside its lock.
    fn entries_after(&self, mut after: u64, journal: &Journal) -> Vec<Value> {
        let mut found = Vec::new();
        loop {
            let page = journal.entries_after(after, PAGE_ENTRIES, |_| true);
            let Some(last) = page.last() else { return found };
            after = last.seq;
            for entry in &page {
                found.extend(self.filter(entry));
                if found.len() == self.limit {
                    return found;
                }
            }
        }
    }

    /// Returns the entry as JSON, or `None` if it does not match.
    fn filter(&self, entry: &JournalEntry) -> Option<Value> {
        // Entries are flat objects of texts and numbers.
        let entry = serde_json::to_value(entry).ok()?;
        let matches = |(name, expected): &(String, String)| match entry.get(name) {
            Some(Value::String(text)) => text == expected,
            Some(Value::Number(number)) => {
                expected.parse().is_ok_and(|expected: Number| expected == *number)
            }
            _ => false,
        };
        self.filters.iter().all(matches).then_some(entry)
    }
}
