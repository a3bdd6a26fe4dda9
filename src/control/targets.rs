//! `targets/{name}/requests`: the requests that an HTTP target received, oldest first. Takes `after` (a
//! `seq`) and `limit`, as the journal does.

use std::sync::Arc;

use hyper::StatusCode;

use super::listing::{self, EntryQuery, ListingFrame, LogListing, LogPage, NumberedLog};
use super::request::{ControlRequest, ControlResult, not_found};
use crate::limits;
use crate::net::http::{HttpReply, PageWriter};
use crate::peers::{ReceivedHttpRequest, ReceivedPage, Target};
use crate::runtime::HouseCore;

impl NumberedLog for Arc<Target> {
    type Item = Arc<ReceivedHttpRequest>;

    fn page(&self, seq: u64, limit: usize) -> LogPage<Arc<ReceivedHttpRequest>> {
        let ReceivedPage { generation, total, discarded, requests } =
            self.received_page(seq, limit);
        LogPage { generation, newest: total, discarded, entries: requests }
    }

    fn number(request: &Arc<ReceivedHttpRequest>) -> u64 {
        request.seq
    }
}

/// Returns the requests that a target received.
pub(super) async fn requests(
    house: &HouseCore,
    name: &str,
    writer: &PageWriter,
    request: &ControlRequest<'_>,
) -> ControlResult {
    let target = target(house, name)?;
    let query = EntryQuery::parse(request, limits::TARGET_REQUESTS, &[], &[])?;
    // A text always has a JSON form.
    let name = serde_json::to_string(name).unwrap_or_default();
    let frame = ListingFrame {
        begin: format!("{{\"target\":{name},\"requests\":["),
        newest_key: "received",
    };
    let begin = || LogListing::new(Arc::clone(target), &query, frame.clone());
    listing::reply(writer, begin).await
}

/// Clears the requests that a target received.
pub(super) fn clear_requests(house: &HouseCore, name: &str) -> ControlResult {
    target(house, name)?.clear_received();
    Ok(HttpReply::empty(StatusCode::NO_CONTENT))
}

fn target<'a>(house: &'a HouseCore, name: &str) -> Result<&'a Arc<Target>, HttpReply> {
    house.peers().target(name).ok_or_else(|| {
        let names: Vec<String> =
            house.peers().targets().map(|target| target.name().to_owned()).collect();
        not_found("target", name, &names)
    })
}
