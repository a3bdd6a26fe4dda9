//! `clock`: reading it, moving it, setting its speed.

use std::time::Duration;

use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Controls;
use super::request::{ControlRequest, bad};
use crate::clock::{Clock, NotQuiescent, Speed, VirtualTime};
use crate::journal::Event;
use crate::net::http::HttpReply;

const EXPECTED: &str =
    r#"{"advance": "15m"}, {"jump": "30d"}, {"speed": 60} or {"speed": "manual"}"#;

/// What is asked of the clock; exactly one of them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockChange {
    advance: Option<String>,
    jump: Option<String>,
    speed: Option<Value>,
}

/// The time and how it passes. `t` is in seconds since the scenario's start.
pub(super) fn show(clock: &Clock) -> Value {
    shown(clock, clock.now())
}

fn shown(clock: &Clock, now: VirtualTime) -> Value {
    let speed = match clock.speed() {
        Speed::Times(times) => json!(times),
        Speed::Manual => json!("manual"),
    };
    json!({ "t": now.as_secs_f64(), "time": clock.civil(now).to_string(), "speed": speed })
}

/// Moves the clock, or sets its speed; answers when all that was due has happened.
pub(super) async fn change(
    house: &dyn Controls,
    request: &ControlRequest<'_>,
) -> Result<HttpReply, HttpReply> {
    let clock = house.clock();
    let reached = match request.json(EXPECTED)? {
        ClockChange { advance: Some(text), jump: None, speed: None } => {
            let by = duration(house, "advance", &text)?;
            let moved = clock.advance(by).await;
            note(house, "advance", text);
            moved.map_err(|error| unsettled(&error))?
        }
        ClockChange { advance: None, jump: Some(text), speed: None } => {
            let by = duration(house, "jump", &text)?;
            let moved = clock.jump(by).await;
            note(house, "jump", text);
            moved.map_err(|error| unsettled(&error))?
        }
        ClockChange { advance: None, jump: None, speed: Some(to) } => {
            let to = speed(&to)?;
            note(house, "speed", to.to_string());
            clock.set_speed(to);
            clock.now()
        }
        _ => return Err(bad(&format!("the body: expected exactly one of {EXPECTED}"))),
    };
    Ok(HttpReply::json(StatusCode::OK, &shown(clock, reached)))
}

fn duration(house: &dyn Controls, how: &'static str, text: &str) -> Result<Duration, HttpReply> {
    house.parse_duration(text).map_err(|error| bad(&format!("`{how}`: {error}")))
}

/// Notes a movement behind everything it brought about: what was under way when it began comes to
/// rest first, so that a replay writes the same lines in the same order.
fn note(house: &dyn Controls, how: &'static str, value: String) {
    house.journal().record(Event::ClockMoved { how, value });
}

fn speed(value: &Value) -> Result<Speed, HttpReply> {
    if value == "manual" {
        return Ok(Speed::Manual);
    }
    let times = value.as_f64().ok_or_else(|| {
        bad(&format!("`speed`: {value}: expected a number above 0, or \"manual\""))
    })?;
    Speed::times(times).map_err(|error| bad(&error.to_string()))
}

fn unsettled(error: &NotQuiescent) -> HttpReply {
    let details = json!({ "t": error.reached.as_secs_f64() });
    let message = error.to_string();
    HttpReply::error_with(StatusCode::INTERNAL_SERVER_ERROR, "unsettled", &message, &details)
}
