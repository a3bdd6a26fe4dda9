//! `clock`: reading it, moving it, setting its speed.

use std::time::Duration;

use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::request::{ControlRequest, ControlResult, bad_request};
use crate::clock::{Clock, NotQuiescent, Speed, VirtualTime};
use crate::journal::Event;
use crate::net::http::HttpReply;
use crate::runtime::HouseCore;
use crate::scenario;

const EXPECTED_CHANGE: &str =
    r#"{"advance": "15m"}, {"jump": "30d"}, {"speed": 60} or {"speed": "manual"}"#;

/// A change of the clock; exactly one field is set.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockChange {
    advance: Option<String>,
    jump: Option<String>,
    speed: Option<Value>,
}

/// Returns the current time and speed. `t` is in seconds since the start of the scenario.
pub(super) fn to_json(clock: &Clock) -> Value {
    to_json_at(clock, clock.now())
}

fn to_json_at(clock: &Clock, now: VirtualTime) -> Value {
    let speed = match clock.speed() {
        Speed::Times(times) => json!(times),
        Speed::Manual => json!("manual"),
    };
    json!({ "t": now.as_secs_f64(), "time": clock.civil(now).to_string(), "speed": speed })
}

/// Moves the clock, or sets its speed. A movement is answered when all that was due has happened.
pub(super) async fn change(house: &HouseCore, request: &ControlRequest<'_>) -> ControlResult {
    let clock = house.clock();
    let reached = match request.json(EXPECTED_CHANGE)? {
        ClockChange { advance: Some(text), jump: None, speed: None } => {
            let by = duration("advance", &text)?;
            let moved = clock.advance_then(by, || record(house, "advance", text)).await;
            moved.map_err(|error| not_quiescent(&error))?
        }
        ClockChange { advance: None, jump: Some(text), speed: None } => {
            let by = duration("jump", &text)?;
            let moved = clock.jump_then(by, || record(house, "jump", text)).await;
            moved.map_err(|error| not_quiescent(&error))?
        }
        ClockChange { advance: None, jump: None, speed: Some(value) } => {
            let new_speed = speed(&value)?;
            record(house, "speed", new_speed.to_string());
            clock.set_speed(new_speed);
            clock.now()
        }
        _ => {
            let message = format!("the body: expected exactly one of {EXPECTED_CHANGE}");
            return Err(bad_request(&message));
        }
    };
    Ok(HttpReply::json(StatusCode::OK, &to_json_at(clock, reached)))
}

fn duration(how: &'static str, text: &str) -> Result<Duration, HttpReply> {
    scenario::parse_duration(text).map_err(|error| bad_request(&format!("`{how}`: {error}")))
}

/// Records a change of the clock. A movement is recorded after everything that it caused, so that a
/// replay writes the same entries in the same order; a speed is recorded before it is set.
fn record(house: &HouseCore, how: &'static str, value: String) {
    house.journal().record(Event::ClockChanged { how, value });
}

fn speed(value: &Value) -> Result<Speed, HttpReply> {
    if value == "manual" {
        return Ok(Speed::Manual);
    }
    let times = value.as_f64().ok_or_else(|| {
        bad_request(&format!("`speed`: {value}: expected a number above 0, or \"manual\""))
    })?;
    Speed::times(times).map_err(|error| bad_request(&error.to_string()))
}

fn not_quiescent(error: &NotQuiescent) -> HttpReply {
    let details = json!({ "t": error.reached.as_secs_f64() });
    let message = error.to_string();
    HttpReply::error_with(StatusCode::INTERNAL_SERVER_ERROR, "unsettled", &message, &details)
}
