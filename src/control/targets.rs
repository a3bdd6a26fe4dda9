//! `targets/{name}/requests`: the requests that an HTTP target received.

use hyper::StatusCode;
use serde_json::{Value, json};

use super::request::{ControlResult, not_found};
use crate::net::http::HttpReply;
use crate::peers::Target;
use crate::runtime::HouseCore;

/// Returns the requests that a target received, oldest first.
pub(super) fn requests(house: &HouseCore, name: &str) -> ControlResult {
    let received = target(house, name)?.received_requests();
    // Texts and numbers always have a JSON form.
    let requests: Vec<Value> =
        received.iter().filter_map(|request| serde_json::to_value(request).ok()).collect();
    Ok(HttpReply::json(StatusCode::OK, &json!({ "target": name, "requests": requests })))
}

/// Clears the requests that a target received.
pub(super) fn clear_requests(house: &HouseCore, name: &str) -> ControlResult {
    target(house, name)?.clear_received();
    Ok(HttpReply::empty(StatusCode::NO_CONTENT))
}

fn target<'a>(house: &'a HouseCore, name: &str) -> Result<&'a Target, HttpReply> {
    house.peers().target(name).map(|target| &**target).ok_or_else(|| {
        let names: Vec<String> =
            house.peers().targets().map(|target| target.name().to_owned()).collect();
        not_found("target", name, &names)
    })
}
