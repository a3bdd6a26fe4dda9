//! The settings objects, which have field tables: GET returns an object, PUT changes the fields in the
//! body, POST replaces the whole object (SETTING-1).

use hyper::StatusCode;
use serde_json::{Value, json};

use super::{Call, HttpReply};
use crate::device::View;
use crate::device::config::table::{SettingsObject, WriteMode};
use crate::notation::without_bom;
use crate::problem::Problem;

/// Returns the object.
pub(super) fn show<T>(call: &Call<'_>, object: &SettingsObject<T>) -> HttpReply {
    let View { config, firmware, .. } = &call.view;
    let body = call.cached_body(|| object.to_json((object.accessor.get)(config), *firmware).into());
    HttpReply::raw_json(StatusCode::OK, body)
}

/// Changes the fields in the body (PUT).
pub(super) fn merge<T: Clone>(call: &Call<'_>, object: &SettingsObject<T>) -> HttpReply {
    write(call, object, WriteMode::Merge)
}

/// Replaces the object (POST).
pub(super) fn replace<T: Clone>(call: &Call<'_>, object: &SettingsObject<T>) -> HttpReply {
    write(call, object, WriteMode::Replace)
}

fn write<T: Clone>(call: &Call<'_>, object: &SettingsObject<T>, write: WriteMode) -> HttpReply {
    let body = match parse_body(call) {
        Ok(body) => body,
        Err(error) => {
            call.device().record_refused_write(object.name, std::slice::from_ref(&error));
            return invalid_settings(&[error]);
        }
    };
    match call.device().write_object(object, &body, write) {
        Ok(value) => {
            let body = object.to_json(&value, call.view.firmware);
            HttpReply::raw_json(StatusCode::OK, body)
        }
        Err(errors) => invalid_settings(&errors),
    }
}

/// Parses the body as JSON, whatever its `Content-Type`.
///
/// # Errors
/// If the body is not JSON.
pub(super) fn parse_body(call: &Call<'_>) -> Result<Value, Problem> {
    serde_json::from_slice(without_bom(&call.body))
        .map_err(|error| Problem::new("", format!("no JSON: {error}")))
}

/// Returns the 400 that names the first invalid field.
pub(super) fn invalid_settings(errors: &[Problem]) -> HttpReply {
    let Some(first) = errors.first() else {
        // Callers pass at least one error.
        return HttpReply::error(StatusCode::BAD_REQUEST, "invalid_settings", "refused");
    };
    let details = json!({ "field": first.path });
    HttpReply::error_with(StatusCode::BAD_REQUEST, "invalid_settings", &first.to_string(), &details)
}
