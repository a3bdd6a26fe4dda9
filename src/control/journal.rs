//! `journal` and `journal/wait`: what was decided, now or as soon as it is.
//!
//! Both take `after` (a `seq`), `limit`, and filters: an entry is wanted where each filter's field
//! has that value. `journal/wait` also takes `timeout_ms`, in real time; when it is over, the list is
//! empty.

use std::time::Duration;

use hyper::StatusCode;
use serde_json::{Number, Value, json};

use super::Controls;
use super::request::{ControlRequest, bad};
use crate::journal::{Journal, JournalEntry, JournalPosition};
use crate::limits;
use crate::net::http::HttpReply;

/// The fields of entries that can be filtered by.
const FILTERS: [&str; 8] = ["event", "device", "action", "rule", "seam", "slave", "unit", "target"];

/// Which entries are wanted.
#[derive(Debug)]
struct Wanted {
    after: u64,
    limit: usize,
    filters: Vec<(String, String)>,
}

/// The entries there are.
pub(super) fn list(
    house: &dyn Controls,
    request: &ControlRequest<'_>,
) -> Result<HttpReply, HttpReply> {
    let wanted = Wanted::read(request, &[])?;
    Ok(shown(house.journal(), &wanted.entries_after(wanted.after, house.journal())))
}

/// The entries there are, or the first to come.
pub(super) async fn wait(
    house: &dyn Controls,
    request: &ControlRequest<'_>,
) -> Result<HttpReply, HttpReply> {
    let wanted = Wanted::read(request, &["timeout_ms"])?;
    let longest = u64::try_from(limits::JOURNAL_WAIT.as_millis()).unwrap_or(u64::MAX);
    let timeout = Duration::from_millis(request.number("timeout_ms", longest, longest)?);
    let journal = house.journal();
    let mut newest = journal.subscribe();
    let first = async {
        // What was looked at is not looked at again, unless the journal has begun anew.
        let mut seen = JournalPosition::default();
        loop {
            // Marked as seen before it is looked at: what is written meanwhile wakes this again.
            let now = *newest.borrow_and_update();
            let looked_at = if now.generation == seen.generation { seen.seq } else { 0 };
            let entries = wanted.entries_after(wanted.after.max(looked_at), journal);
            if !entries.is_empty() || newest.changed().await.is_err() {
                return entries;
            }
            seen = now;
        }
    };
    // Real time: it is a client's patience.
    let entries = tokio::time::timeout(timeout, first).await.unwrap_or_default();
    Ok(shown(journal, &entries))
}

fn shown(journal: &Journal, entries: &[Value]) -> HttpReply {
    let (written, forgotten) = journal.counts();
    HttpReply::json(
        StatusCode::OK,
        &json!({ "entries": entries, "written": written, "forgotten": forgotten }),
    )
}

impl Wanted {
    fn read(request: &ControlRequest<'_>, more: &[&str]) -> Result<Self, HttpReply> {
        let known: Vec<&str> =
            ["after", "limit"].iter().chain(more).chain(&FILTERS).copied().collect();
        request.only(&known)?;
        let limit = request.number("limit", limits::JOURNAL_ENTRIES, limits::JOURNAL_ENTRIES)?;
        if limit == 0 {
            return Err(bad("`limit=0`: expected 1 or more"));
        }
        let filters = request.query().pairs().filter(|(name, _)| FILTERS.contains(&&**name));
        let filters = filters.map(|(name, value)| (name.into_owned(), value.into_owned()));
        let after = request.number("after", 0, u64::MAX)?;
        Ok(Self { after, limit, filters: filters.collect() })
    }

    /// The wanted entries after a `seq`, in the form they are shown in. Looked at page by page,
    /// outside the journal's lock.
    fn entries_after(&self, mut after: u64, journal: &Journal) -> Vec<Value> {
        let mut found = Vec::new();
        loop {
            let page = journal.entries_after(after, limits::JOURNAL_PAGE, |_| true);
            let Some(last) = page.last() else { return found };
            after = last.seq;
            for entry in &page {
                found.extend(self.wants(entry));
                if found.len() == self.limit {
                    return found;
                }
            }
        }
    }

    fn wants(&self, entry: &JournalEntry) -> Option<Value> {
        // Entries are flat objects of texts and numbers.
        let shown = serde_json::to_value(entry).ok()?;
        let has = |(name, wanted): &(String, String)| match shown.get(name) {
            Some(Value::String(text)) => text == wanted,
            Some(Value::Number(number)) => {
                wanted.parse().is_ok_and(|wanted: Number| wanted == *number)
            }
            _ => false,
        };
        self.filters.iter().all(has).then_some(shown)
    }
}
