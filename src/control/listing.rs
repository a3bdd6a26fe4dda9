//! Listings of numbered logs: the journal, and the requests that a target received.
//!
//! A listing has the entries that the log holds when the listing begins, and is written page by page, so
//! that it neither holds up other requests nor copies the log. Entries that the log discards before they
//! are written are missing in it; the last field, `forgotten`, tells that.

use std::fmt;

use hyper::StatusCode;
use serde::Serialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Number, Value};

use super::request::{ControlRequest, ControlResult, bad_request};
use crate::net::http::{
    BodyStart, HttpReply, PAGE_BYTES, PageError, PageProgress, PageSource, PageWriter,
};

/// Entries that are read under one lock, so that reading never delays writers.
const ENTRIES_AT_ONCE: usize = 16;
/// Entries that are compared with the filters in one go: a millisecond's worth of the largest.
const SEARCHED_AT_ONCE: usize = 64;

/// A bounded log whose entries are numbered from 1.
pub(super) trait NumberedLog: Send + 'static {
    /// An entry; its JSON form is an object.
    type Item: Serialize;

    /// Returns the entries after number `seq`, at most `limit` of them, and the state of the log at the
    /// same moment.
    fn page(&self, seq: u64, limit: usize) -> LogPage<Self::Item>;

    /// Returns the number of an entry.
    fn number(entry: &Self::Item) -> u64;
}

/// Some entries of a log, and what the log held when they were read.
pub(super) struct LogPage<E> {
    /// The number of times that the log began anew.
    pub(super) generation: u64,
    /// The number of the newest entry.
    pub(super) newest: u64,
    /// The number of entries that were discarded.
    pub(super) discarded: u64,
    /// The entries, oldest first.
    pub(super) entries: Vec<E>,
}

/// The entries that a client asks for.
#[derive(Debug, Clone)]
pub(super) struct EntryQuery {
    /// The number after which the entries begin.
    after: u64,
    limit: usize,
    filters: Filters,
}

impl EntryQuery {
    /// Parses `after`, `limit` (at most `most`, which applies if it is absent) and the filters of a
    /// request, which may have the parameters of `more`, too.
    pub(super) fn parse(
        request: &ControlRequest<'_>,
        most: usize,
        filters: &[&str],
        more: &[&str],
    ) -> Result<Self, HttpReply> {
        let known: Vec<&str> =
            ["after", "limit"].iter().chain(more).chain(filters).copied().collect();
        request.allow_only(&known)?;
        let limit = request.number("limit", most, most)?;
        if limit == 0 {
            return Err(bad_request("`limit=0`: expected 1 or more"));
        }
        let filters = request.query().pairs().filter(|(name, _)| filters.contains(&&**name));
        let filters = filters.map(|(name, value)| (name.into_owned(), value.into_owned()));
        let after = request.number("after", 0, u64::MAX)?;
        Ok(Self { after, limit, filters: Filters(filters.collect()) })
    }

    /// Returns the query for the entries after number `seq` alone.
    pub(super) fn not_before(&self, seq: u64) -> Self {
        Self { after: self.after.max(seq), ..self.clone() }
    }
}

/// The texts around the entries of a listing.
#[derive(Debug, Clone)]
pub(super) struct ListingFrame {
    /// The beginning of the JSON object, up to the bracket before the first entry.
    pub(super) begin: String,
    /// The key of the number of the newest entry.
    pub(super) newest_key: &'static str,
}

/// A listing that is being written.
pub(super) struct LogListing<L> {
    log: L,
    frame: ListingFrame,
    /// The number of times that the log had begun anew when the listing began.
    generation: u64,
    /// The number of the newest entry when the listing began.
    newest: u64,
    /// The number of the last entry that was read.
    position: u64,
    remaining: usize,
    filters: Filters,
    has_begun: bool,
    has_entries: bool,
}

impl<L: NumberedLog> LogListing<L> {
    pub(super) fn new(log: L, query: &EntryQuery, frame: ListingFrame) -> Self {
        let LogPage { generation, newest, .. } = log.page(u64::MAX, 0);
        Self {
            log,
            frame,
            generation,
            newest,
            position: query.after,
            remaining: query.limit,
            filters: query.filters.clone(),
            has_begun: false,
            has_entries: false,
        }
    }

    /// Returns true if an entry was written.
    pub(super) fn has_entries(&self) -> bool {
        self.has_entries
    }

    /// Writes the entry if it matches.
    fn write_entry(&mut self, entry: &L::Item, page: &mut Vec<u8>) {
        let before = page.len();
        if self.has_entries {
            page.push(b',');
        }
        let begin = page.len();
        let written = serde_json::to_writer(&mut *page, entry);
        if written.is_ok() && self.filters.match_entry(&page[begin..]) {
            self.has_entries = true;
            self.remaining -= 1;
        } else {
            page.truncate(before);
        }
    }
}

impl<L: NumberedLog> PageSource for LogListing<L> {
    fn write_some(&mut self, page: &mut Vec<u8>) -> Result<PageProgress, PageError> {
        if !self.has_begun {
            page.extend(self.frame.begin.as_bytes());
            self.has_begun = true;
        }
        let mut searched = 0;
        loop {
            let log = self.log.page(self.position, ENTRIES_AT_ONCE);
            if log.generation != self.generation {
                // The log began anew. Its entries do not belong to this listing.
                return Err(PageError::Outdated);
            }
            let mut is_end = true;
            for entry in &log.entries {
                if self.remaining == 0 || L::number(entry) > self.newest {
                    is_end = true;
                    break;
                }
                if page.len() >= PAGE_BYTES || searched >= SEARCHED_AT_ONCE {
                    return Ok(PageProgress::More);
                }
                self.write_entry(entry, page);
                self.position = L::number(entry);
                searched += 1;
                is_end = false;
            }
            if is_end {
                let newest_key = self.frame.newest_key;
                let (newest, forgotten) = (self.newest, log.discarded.min(self.newest));
                let end = format!("],\"{newest_key}\":{newest},\"forgotten\":{forgotten}}}");
                page.extend(end.into_bytes());
                return Ok(PageProgress::Done);
            }
        }
    }
}

/// Returns the reply with the listing that `begin` begins. It is begun anew if the log is cleared meanwhile.
pub(super) async fn reply<S: PageSource>(
    writer: &PageWriter,
    begin: impl FnMut() -> S,
) -> ControlResult {
    Ok(writer.finish(StatusCode::OK, start(writer, begin).await?))
}

/// Writes the beginning of the listing that `begin` begins. It is begun anew if the log is cleared meanwhile.
pub(super) async fn start<S: PageSource>(
    writer: &PageWriter,
    mut begin: impl FnMut() -> S,
) -> Result<BodyStart<S>, HttpReply> {
    loop {
        match writer.start(begin()).await {
            Ok(start) => return Ok(start),
            Err(PageError::Outdated) => tokio::task::yield_now().await,
            Err(error @ PageError::Failed) => {
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                return Err(HttpReply::error(status, "internal_error", &error.to_string()));
            }
        }
    }
}

/// Returns a text as a part of a body.
pub(super) fn text(text: &str) -> impl Iterator<Item = Vec<u8>> + Send + use<> {
    std::iter::once(text.as_bytes().to_vec())
}

/// Returns the elements of a JSON array as parts of a body, without the brackets.
pub(super) fn elements<T: Serialize>(
    values: impl Iterator<Item = T> + Send,
) -> impl Iterator<Item = Vec<u8>> + Send {
    values.enumerate().map(|(index, value)| {
        let mut part = if index == 0 { Vec::new() } else { vec![b','] };
        // Texts, numbers and lists of them always have a JSON form.
        let _ = serde_json::to_writer(&mut part, &value);
        part
    })
}

/// Filters: an entry matches if the field of each filter has the given value.
#[derive(Debug, Clone, Default)]
struct Filters(Vec<(String, String)>);

impl Filters {
    /// Returns true if an entry, as JSON text, matches.
    fn match_entry(&self, json: &[u8]) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let mut json = serde_json::Deserializer::from_slice(json);
        // Entries are flat objects. No tree is made of them, because one may have 2000 values.
        self.deserialize(&mut json).is_ok_and(|matching| matching == self.0.len())
    }
}

/// Counts the filters that match an object.
impl<'de> DeserializeSeed<'de> for &Filters {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for &Filters {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an entry")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entry: A) -> Result<usize, A::Error> {
        let mut matching = 0;
        // The names of fields need no escapes.
        while let Some(name) = entry.next_key::<&str>()? {
            let filters = self.0.iter().filter(|(filtered, _)| filtered == name);
            if filters.clone().next().is_none() {
                entry.next_value::<IgnoredAny>()?;
                continue;
            }
            let value: Value = entry.next_value()?;
            matching += filters.filter(|(_, expected)| has_value(&value, expected)).count();
        }
        Ok(matching)
    }
}

fn has_value(value: &Value, expected: &str) -> bool {
    match value {
        Value::String(text) => text == expected,
        Value::Number(number) => expected.parse().is_ok_and(|expected: Number| expected == *number),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_matches_if_every_filter_does() {
        let entry = br#"{"seq":1,"t":0.5,"event":"slave_request","unit":1,"values":[1,2]}"#;
        let matches = |filters: &[(&str, &str)]| {
            let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            Filters(filters.iter().map(owned).collect()).match_entry(entry)
        };
        assert!(matches(&[]));
        assert!(matches(&[("event", "slave_request"), ("unit", "1")]));
        assert!(matches(&[("unit", "1"), ("unit", "1")]));
        assert!(!matches(&[("unit", "1"), ("unit", "2")]));
        assert!(!matches(&[("event", "slave_request"), ("slave", "pump")]), "has no such field");
        assert!(!matches(&[("values", "1")]));
    }
}
