//! `/api/v1/meter/scalers/current` and `/api/v1/meter/scalers/custom` (METER-18, METER-19).

use hyper::StatusCode;
use serde_json::{Value, json};

use super::settings::{invalid_settings, parse_body};
use super::{Call, HttpReply};
use crate::device::config::table::accessor;
use crate::device::scalers;

/// Returns the scalers in force, an empty list for a meter that is not DLMS.
pub(super) fn current(call: &Call<'_>) -> HttpReply {
    let snapshot = call.device().snapshot();
    let scalers: Vec<Value> = scalers::effective(&snapshot.view.config, &snapshot.meter)
        .into_iter()
        .map(|(quantity, scaler)| json!({ "obis": quantity.obis(), "scaler": scaler }))
        .collect();
    HttpReply::json(StatusCode::OK, &scalers)
}

/// Returns the user's scalers.
pub(super) fn custom(call: &Call<'_>) -> HttpReply {
    let body =
        call.cached_body(|| scalers::to_json(&call.view.config.custom_scalers).to_string().into());
    HttpReply::raw_json(StatusCode::OK, body)
}

/// Replaces the user's scalers.
pub(super) fn replace(call: &Call<'_>) -> HttpReply {
    let parsed =
        parse_body(call).map_err(|error| vec![error]).and_then(|body| scalers::parse(&body));
    match parsed {
        Ok(custom) => {
            let reply = HttpReply::json(StatusCode::OK, &scalers::to_json(&custom));
            call.device().replace_part(scalers::JOURNAL_NAME, accessor!(custom_scalers), &custom);
            reply
        }
        Err(errors) => {
            call.device().record_refused_write(scalers::JOURNAL_NAME, &errors);
            invalid_settings(&errors)
        }
    }
}
