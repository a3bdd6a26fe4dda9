//! `faults`: the rules with their counters; adding, arming, releasing and removing them.
//!
//! A change is answered once the next request is subject to it. Most rules apply at once; a slave's
//! listener closes and opens again a moment later, and the reply waits for that.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::LOCATION;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::listing::{elements, text};
use super::request::{ControlRequest, ControlResult, bad_request};
use crate::fault::{EngineError, RuleStatus};
use crate::net::http::{HttpReply, PageSource, Parts};
use crate::problem::Problem;
use crate::runtime::HouseCore;
use crate::scenario;

/// The longest real time that a reply waits until every listener follows a change of the rules.
const RULES_APPLIED_TIMEOUT: Duration = Duration::from_secs(2);

const EXPECTED_PATCH: &str = r#"{"armed": true}, {"armed": false} or {"release": true}"#;

/// A change of a rule.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RulePatch {
    armed: Option<bool>,
    release: Option<bool>,
}

/// Returns the source of a list of all rules, in the order in which they are evaluated.
pub(super) fn list(house: &HouseCore) -> impl PageSource + use<> {
    let rules = house.engine().list().into_iter().map(|status| to_json(&status));
    Parts(text("{\"faults\":[").chain(elements(rules)).chain(text("]}")))
}

/// Returns one rule.
pub(super) fn get(house: &HouseCore, id: &str) -> ControlResult {
    let status = house.engine().get(id).map_err(refusal)?;
    Ok(HttpReply::json(StatusCode::OK, &to_json(&status)))
}

/// Adds a rule after the existing ones.
pub(super) async fn add(house: &HouseCore, request: &ControlRequest<'_>) -> ControlResult {
    let written: Value =
        request.json(r#"a rule as in a scenario: {"id": …, "at": …, "when": …, "effect": …}"#)?;
    let has_id = written.get("id").is_some_and(|id| !id.is_null());
    let id = loop {
        let rule = house.parse_rule(&written, &free_rule_id(house)).map_err(|problems| {
            let mistakes: Vec<String> = problems.iter().map(Problem::to_line).collect();
            let message = mistakes.join("; ");
            let details = json!({ "mistakes": mistakes });
            HttpReply::error_with(StatusCode::BAD_REQUEST, "invalid_rule", &message, &details)
        })?;
        let id = rule.id.clone();
        match house.engine().add(rule) {
            Ok(()) => break id,
            // Another client used the free id in the meantime. There are more ids than rules, so
            // that this ends.
            Err(EngineError::Duplicate(_)) if !has_id => {}
            Err(error) => return Err(refusal(error)),
        }
    };
    wait_applied(house).await?;
    let status = house.engine().get(&id).map_err(refusal)?;
    let location = format!("/control/v1/faults/{}", utf8_percent_encode(&id, NON_ALPHANUMERIC));
    Ok(HttpReply::json(StatusCode::CREATED, &to_json(&status)).with_header(LOCATION, &location))
}

/// Arms, disarms or releases a rule.
pub(super) async fn patch(
    house: &HouseCore,
    id: &str,
    request: &ControlRequest<'_>,
) -> ControlResult {
    let RulePatch { armed, release } = request.json(EXPECTED_PATCH)?;
    if release == Some(false) || (armed, release) == (None, None) {
        return Err(bad_request(&format!("the body: expected {EXPECTED_PATCH}")));
    }
    if let Some(armed) = armed {
        house.engine().arm(id, armed).map_err(refusal)?;
    }
    if release.is_some() {
        // The request of a call that was answered a moment ago may still be on its way to the hold.
        let _ = house.clock().activity().wait_quiescent(RULES_APPLIED_TIMEOUT).await;
        house.engine().release(id).map_err(refusal)?;
    }
    wait_applied(house).await?;
    get(house, id)
}

/// Removes a rule, and releases the requests that it holds.
pub(super) async fn remove(house: &HouseCore, id: &str) -> ControlResult {
    house.engine().remove(id).map_err(refusal)?;
    wait_applied(house).await?;
    Ok(HttpReply::empty(StatusCode::NO_CONTENT))
}

/// Returns the first of `fault-1`, `fault-2` and so on that no rule has.
fn free_rule_id(house: &HouseCore) -> String {
    let ids: HashSet<Arc<str>> =
        house.engine().list().iter().map(|status| Arc::clone(&status.rule.id)).collect();
    let mut names = (1..).map(|n| format!("fault-{n}"));
    // There are fewer rules than numbers.
    names.find(|name| !ids.contains(name.as_str())).unwrap_or_default()
}

/// Waits until every listener follows the current rules.
async fn wait_applied(house: &HouseCore) -> Result<(), HttpReply> {
    let applied = house.wait_rules_applied(house.engine().generation());
    // Real time, because sockets close and open independently of the house's clock.
    tokio::time::timeout(RULES_APPLIED_TIMEOUT, applied).await.map_err(|_| {
        let message = format!(
            "the rules were changed, but not every listener followed within {RULES_APPLIED_TIMEOUT:?}"
        );
        HttpReply::error(StatusCode::INTERNAL_SERVER_ERROR, "not_effective", &message)
    })
}

fn to_json(status: &RuleStatus) -> Value {
    json!({
        "id": &*status.rule.id,
        "armed": status.armed,
        "evaluated": status.evaluated,
        "fired": status.fired,
        "overruled": status.overruled,
        "holding": status.holding,
        "rule": scenario::rule_to_json(&status.rule),
    })
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn refusal(error: EngineError) -> HttpReply {
    let (status, key) = match error {
        EngineError::Unknown(_) => (StatusCode::NOT_FOUND, "not_found"),
        EngineError::Duplicate(_) => (StatusCode::CONFLICT, "duplicate_rule"),
        EngineError::Full => (StatusCode::INSUFFICIENT_STORAGE, "too_many_rules"),
        EngineError::TooManyWindows(_) => (StatusCode::INSUFFICIENT_STORAGE, "too_many_windows"),
    };
    HttpReply::error(status, key, &error.to_string())
}
