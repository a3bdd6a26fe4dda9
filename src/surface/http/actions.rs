//! `/api/v1/actions`, `/api/v1/actions/call`, `/api/v1/actions/status` (`docs/device/actions.md`).

use std::borrow::Cow;
use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::LOCATION;
use serde_json::json;

use super::{Call, HttpReply};
use crate::decimal::Decimal;
use crate::device::actions::{Definition, RequestStatus};
use crate::device::{CallRefusal, CallReplyFormat};
use crate::net::http::json::JsonWriter;

/// Returns the definition as it was stored.
pub(super) fn definition(call: &Call<'_>) -> HttpReply {
    match call.device().definition() {
        Some(definition) => HttpReply::raw_json(StatusCode::OK, definition.to_json()),
        None => HttpReply::error(StatusCode::NOT_FOUND, "no_actions", "no actions are defined"),
    }
}

/// Replaces the definition. An invalid one changes nothing.
pub(super) fn replace(call: &Call<'_>) -> HttpReply {
    match Definition::parse(&call.body) {
        Ok(definition) => {
            let reply = HttpReply::raw_json(StatusCode::OK, definition.to_json());
            call.device().set_definition(Arc::new(definition));
            reply
        }
        Err(error) => {
            let details = json!({ "field": error.path });
            let message =
                if error.path.is_empty() { error.message.clone() } else { error.to_string() };
            HttpReply::error_with(StatusCode::BAD_REQUEST, "invalid_definition", &message, &details)
        }
    }
}

/// Deletes the definition, if there is one.
pub(super) fn delete(call: &Call<'_>) -> HttpReply {
    call.device().delete_definition();
    HttpReply::empty(StatusCode::NO_CONTENT)
}

/// Calls an action.
pub(super) fn call(call: &Call<'_>) -> HttpReply {
    let id = match require_id(call, "of the action to call, as ?id=1") {
        Ok(id) => id,
        Err(refused) => return refused,
    };
    let run = match call.device().call(&id) {
        Ok(run) => run,
        Err(refused) => return refusal_reply(refused),
    };
    let ids: Vec<u64> = run.requests.iter().map(|(ticket, _)| ticket.id()).collect();
    call.start(run);
    match call.device().action_policy().call_reply_format {
        CallReplyFormat::LocationHeader => {
            let ids: Vec<String> = ids.iter().map(u64::to_string).collect();
            let location = format!("/api/v1/actions/status?id={}", ids.join(","));
            HttpReply::empty(StatusCode::ACCEPTED).with_header(LOCATION, &location)
        }
        CallReplyFormat::JsonBody => {
            HttpReply::json(StatusCode::ACCEPTED, &json!({ "status_ids": ids }))
        }
    }
}

fn refusal_reply(refused: CallRefusal) -> HttpReply {
    let key = match refused {
        CallRefusal::Unknown => "unknown_action",
        CallRefusal::Disabled => "action_disabled",
        CallRefusal::NothingEnabled => "no_enabled_request",
        CallRefusal::Busy => "action_running",
        CallRefusal::Full => "too_many_requests",
    };
    let status = StatusCode::from_u16(refused.status()).unwrap_or(StatusCode::BAD_REQUEST);
    HttpReply::error(status, key, &refused.to_string())
}

/// Returns the status of requests, in the order of their ids in the query.
pub(super) fn status(call: &Call<'_>) -> HttpReply {
    let ids = match require_id(call, "of the requests to look up, as ?id=139,140") {
        Ok(ids) => ids,
        Err(refused) => return refused,
    };
    // The bound on the URL bounds their number.
    let entries = match parse_status_ids(&ids) {
        Ok(ids) => call.device().status(&ids),
        Err(error) => {
            let message = error.to_string();
            return HttpReply::error(StatusCode::BAD_REQUEST, "invalid_id", &message);
        }
    };
    if entries.is_empty() {
        let message = "no request has this id, or it was too long ago";
        return HttpReply::error(StatusCode::NOT_FOUND, "unknown_status", message);
    }
    HttpReply::raw_json(StatusCode::OK, render_statuses(&entries))
}

fn render_statuses(entries: &[RequestStatus]) -> String {
    let mut json = JsonWriter::with_capacity(64 * entries.len());
    json.begin_array();
    for RequestStatus { action, id, code, exe_time } in entries {
        json.begin();
        json.text("action_id", action);
        json.plain("id", *id);
        json.plain("code", *code);
        json.plain("exe_time", Decimal::seconds(*exe_time));
        json.end();
    }
    json.end_array();
    json.into_string()
}

/// The error of a text that is not a status id.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("id `{0}`: expected status ids, whole numbers joined by commas, as 139,140")]
struct InvalidStatusId(String);

fn parse_status_ids(text: &str) -> Result<Vec<u64>, InvalidStatusId> {
    // As many as the requests of most actions.
    let mut ids = Vec::with_capacity(4);
    for id in text.split(',') {
        ids.push(parse_status_id(id)?);
    }
    Ok(ids)
}

fn parse_status_id(text: &str) -> Result<u64, InvalidStatusId> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or_else(|| InvalidStatusId(text.to_owned()))
}

/// Returns the parameter `id`, or the error reply if it is missing. `purpose` completes the message.
fn require_id<'a>(call: &'a Call<'_>, purpose: &str) -> Result<Cow<'a, str>, HttpReply> {
    match call.query().single("id") {
        Ok(Some(id)) if !id.is_empty() => Ok(id),
        Ok(_) => {
            let message = format!("the id {purpose}, is missing");
            Err(HttpReply::error(StatusCode::BAD_REQUEST, "missing_id", &message))
        }
        Err(repeated) => {
            Err(HttpReply::error(StatusCode::BAD_REQUEST, "invalid_id", &repeated.to_string()))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_have_no_exponent_and_no_trailing_zeros() {
        let printed_entry = |millis| {
            let status = RequestStatus {
                action: "1".into(),
                id: 139,
                code: 200,
                exe_time: Duration::from_millis(millis),
            };
            render_statuses(&[status])
        };
        for (millis, printed) in [
            (0, "0"),
            (1, "0.001"),
            (133, "0.133"),
            (500, "0.5"),
            (2000, "2"),
            (12_340, "12.34"),
            (86_400_001, "86400.001"),
        ] {
            let expected =
                format!(r#"[{{"action_id":"1","id":139,"code":200,"exe_time":{printed}}}]"#);
            assert_eq!(printed_entry(millis), expected);
        }
    }

    #[test]
    fn status_ids_are_digits() {
        assert_eq!(parse_status_id("139"), Ok(139));
        for wrong in ["", " 1", "+1", "-1", "1x", "0x1", "99999999999999999999999"] {
            assert!(parse_status_id(wrong).is_err(), "{wrong:?}");
        }
    }
}
