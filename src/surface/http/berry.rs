//! `/api/v1/berry` and `/api/v1/berry/console` (`docs/device/berry.md`).

use hyper::StatusCode;
use serde_json::json;

use super::{Call, HttpReply};

const TEXT: &str = "text/plain; charset=utf-8";

/// Returns the script.
pub(super) fn show(call: &Call<'_>) -> HttpReply {
    match &call.view.config.script {
        Some(script) => {
            let body = call.cached_body(|| script.to_string().into());
            HttpReply::content(StatusCode::OK, TEXT, body)
        }
        None => HttpReply::error(StatusCode::NOT_FOUND, "no_script", "no script is stored"),
    }
}

/// Replaces the script. A running script continues.
pub(super) fn store(call: &Call<'_>) -> HttpReply {
    let Ok(script) = std::str::from_utf8(&call.body) else {
        let message = "the script is not UTF-8";
        return HttpReply::error(StatusCode::BAD_REQUEST, "invalid_script", message);
    };
    set_script(call, Some(script).filter(|script| !script.is_empty()));
    HttpReply::content(StatusCode::OK, TEXT, call.body.clone())
}

/// Deletes the script, if there is one. A running script continues.
pub(super) fn delete(call: &Call<'_>) -> HttpReply {
    set_script(call, None);
    HttpReply::empty(StatusCode::NO_CONTENT)
}

fn set_script(call: &Call<'_>, script: Option<&str>) {
    let changed: Result<(), std::convert::Infallible> = call.device().configure(|config| {
        config.script = script.map(Into::into);
        Ok(())
    });
    // The error type has no values.
    let Ok(()) = changed;
}

/// Starts or stops the script, or only returns its state.
pub(super) fn run(call: &Call<'_>) -> HttpReply {
    let invalid = |message: &str| HttpReply::error(StatusCode::BAD_REQUEST, "invalid_run", message);
    let running = match call.query().single("run") {
        Ok(None) => call.device().is_script_running(),
        Ok(Some(run)) if run == "true" => call.device().set_script_running(true),
        Ok(Some(run)) if run == "false" => call.device().set_script_running(false),
        Ok(Some(_)) => return invalid("run: expected true or false"),
        Err(repeated) => return invalid(&repeated.to_string()),
    };
    HttpReply::json(StatusCode::OK, &json!({ "run": running }))
}

/// Streams the output of the script.
pub(super) fn console(call: &Call<'_>) -> HttpReply {
    match call.device().console().connect() {
        Some(lines) => HttpReply::events(lines),
        None => HttpReply::error(
            StatusCode::SERVICE_UNAVAILABLE,
            "console_in_use",
            "another client has the console; it takes one at a time",
        ),
    }
}
