//! The objects of the configuration that have a field table: GET shows one, PUT changes what it names,
//! POST replaces all of it (SETTING-1).

use hyper::StatusCode;
use serde_json::{Value, json};

use super::{Call, HttpReply};
use crate::device::View;
use crate::device::config::table::{SettingsObject, WriteMode};
use crate::problem::Problem;

/// The object as it is.
pub(super) fn show<T>(call: &Call<'_>, object: &SettingsObject<T>) -> HttpReply {
    let View { config, firmware, .. } = &call.view;
    let body = call.kept(|| object.to_json((object.accessor.get)(config), *firmware).into());
    HttpReply::raw_json(StatusCode::OK, body)
}

/// PUT.
pub(super) fn merge<T: Clone>(call: &Call<'_>, object: &SettingsObject<T>) -> HttpReply {
    write(call, object, WriteMode::Merge)
}

/// POST.
pub(super) fn replace<T: Clone>(call: &Call<'_>, object: &SettingsObject<T>) -> HttpReply {
    write(call, object, WriteMode::Replace)
}

fn write<T: Clone>(call: &Call<'_>, object: &SettingsObject<T>, write: WriteMode) -> HttpReply {
    let given = match body(call) {
        Ok(given) => given,
        Err(error) => {
            call.device().record_refused_write(object.name, std::slice::from_ref(&error));
            return refused(&[error]);
        }
    };
    match call.device().write_object(object, &given, write) {
        Ok(now) => {
            let body = object.to_json(&now, call.view.firmware);
            HttpReply::raw_json(StatusCode::OK, body)
        }
        Err(errors) => refused(&errors),
    }
}

/// The body as JSON, whatever its `Content-Type`.
pub(super) fn body(call: &Call<'_>) -> Result<Value, Problem> {
    serde_json::from_slice(&call.body)
        .map_err(|error| Problem::new("", format!("no JSON: {error}")))
}

/// 400, naming the first field that was refused.
pub(super) fn refused(errors: &[Problem]) -> HttpReply {
    let Some(first) = errors.first() else {
        // There is always a first one.
        return HttpReply::error(StatusCode::BAD_REQUEST, "invalid_settings", "refused");
    };
    let details = json!({ "field": first.path });
    HttpReply::error_with(StatusCode::BAD_REQUEST, "invalid_settings", &first.to_string(), &details)
}
