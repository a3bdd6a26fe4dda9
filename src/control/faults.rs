//! `faults`: the rules with their counts; adding, arming, releasing and removing them.
//!
//! A change is answered when the next request meets it. For most rules that is at once; a slave's
//! listener closes and comes back a moment later, which is waited for.

use hyper::StatusCode;
use hyper::header::LOCATION;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Controls;
use super::request::{ControlRequest, bad};
use crate::fault::{EngineError, RuleStatus};
use crate::limits;
use crate::net::http::HttpReply;

const EXPECTED: &str = r#"{"armed": true}, {"armed": false} or {"release": true}"#;

/// A change of a rule.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Patch {
    armed: Option<bool>,
    release: Option<bool>,
}

/// All rules, in the order in which they are asked.
pub(super) fn list(house: &dyn Controls) -> HttpReply {
    let rules: Vec<Value> =
        house.engine().list().iter().map(|status| shown(house, status)).collect();
    HttpReply::json(StatusCode::OK, &json!({ "faults": rules }))
}

/// One rule.
pub(super) fn get(house: &dyn Controls, id: &str) -> Result<HttpReply, HttpReply> {
    let status = house.engine().get(id).map_err(refused)?;
    Ok(HttpReply::json(StatusCode::OK, &shown(house, &status)))
}

/// A new rule, behind those there are.
pub(super) async fn add(
    house: &dyn Controls,
    request: &ControlRequest<'_>,
) -> Result<HttpReply, HttpReply> {
    let written: Value =
        request.json(r#"a rule as in a scenario: {"id": …, "at": …, "when": …, "effect": …}"#)?;
    let named = written.get("id").is_some_and(|id| !id.is_null());
    let id = loop {
        let rule = house.parse_rule(&written).map_err(|mistakes| {
            let message = mistakes.join("; ");
            let details = json!({ "mistakes": mistakes });
            HttpReply::error_with(StatusCode::BAD_REQUEST, "invalid_rule", &message, &details)
        })?;
        let id = rule.id.clone();
        match house.engine().add(rule) {
            Ok(()) => break id,
            // Somebody took the name that it was given just now; there are more names than rules.
            Err(EngineError::Duplicate(_)) if !named => {}
            Err(error) => return Err(refused(error)),
        }
    };
    effective(house).await?;
    let status = house.engine().get(&id).map_err(refused)?;
    let location = format!("/control/v1/faults/{}", utf8_percent_encode(&id, NON_ALPHANUMERIC));
    Ok(HttpReply::json(StatusCode::CREATED, &shown(house, &status)).with(LOCATION, &location))
}

/// Arms, disarms or releases a rule.
pub(super) async fn patch(
    house: &dyn Controls,
    id: &str,
    request: &ControlRequest<'_>,
) -> Result<HttpReply, HttpReply> {
    let Patch { armed, release } = request.json(EXPECTED)?;
    if release == Some(false) || (armed, release) == (None, None) {
        return Err(bad(&format!("the body: expected {EXPECTED}")));
    }
    if let Some(armed) = armed {
        house.engine().arm(id, armed).map_err(refused)?;
    }
    if release.is_some() {
        // A request whose call was answered a moment ago may be on its way into the hold still.
        let _ = house.clock().activity().wait_quiescent(limits::RULES_EFFECTIVE).await;
        house.engine().release(id).map_err(refused)?;
    }
    effective(house).await?;
    get(house, id)
}

/// Removes a rule, and releases what it holds.
pub(super) async fn remove(house: &dyn Controls, id: &str) -> Result<HttpReply, HttpReply> {
    house.engine().remove(id).map_err(refused)?;
    effective(house).await?;
    Ok(HttpReply::empty(StatusCode::NO_CONTENT))
}

/// Waits until every listener follows the rules as they are now.
async fn effective(house: &dyn Controls) -> Result<(), HttpReply> {
    let follows = house.follows(house.engine().generation());
    // Real time: sockets close and open, whatever the house's clock says.
    tokio::time::timeout(limits::RULES_EFFECTIVE, follows).await.map_err(|_| {
        let message = format!(
            "the rules were changed, but not every listener followed within {:?}",
            limits::RULES_EFFECTIVE
        );
        HttpReply::error(StatusCode::INTERNAL_SERVER_ERROR, "not_effective", &message)
    })
}

fn shown(house: &dyn Controls, status: &RuleStatus) -> Value {
    json!({
        "id": &*status.rule.id,
        "armed": status.armed,
        "evaluated": status.evaluated,
        "fired": status.fired,
        "overruled": status.overruled,
        "holding": status.holding,
        "rule": house.show_rule(&status.rule),
    })
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn refused(error: EngineError) -> HttpReply {
    let (status, key) = match error {
        EngineError::Unknown(_) => (StatusCode::NOT_FOUND, "not_found"),
        EngineError::Duplicate(_) => (StatusCode::CONFLICT, "duplicate_rule"),
        EngineError::Full => (StatusCode::INSUFFICIENT_STORAGE, "too_many_rules"),
        EngineError::TooManyWindows(_) => (StatusCode::INSUFFICIENT_STORAGE, "too_many_windows"),
    };
    HttpReply::error(status, key, &error.to_string())
}
