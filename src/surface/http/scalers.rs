//! `/api/v1/meter/scalers/current` and `/api/v1/meter/scalers/custom` (METER-18, METER-19).

use hyper::StatusCode;
use serde_json::{Value, json};

use super::settings::{invalid_settings, parse_body};
use super::{Call, HttpReply};
use crate::device::config::table::lens;
use crate::device::scalers;

/// Returns the scalers in force, an empty list for a meter that is not DLMS.
pub(super) fn current(call: &Call<'_>) -> HttpReply {
    let scalers: Vec<Value> = scalers::current(&call.device().snapshot())
        .into_iter()
        .map(|(quantity, scaler)| json!({ "obis": quantity.obis(), "scaler": scaler }))
        .collect();
    HttpReply::json(StatusCode::OK, &scalers)
}

/// Returns the user's scalers.
pub(super) fn custom(call: &Call<'_>) -> HttpReply {
    let body =
        call.cached_body(|| scalers::print(&call.view.config.custom_scalers).to_string().into());
    HttpReply::raw_json(StatusCode::OK, body)
}

/// Replaces the user's scalers.
pub(super) fn replace(call: &Call<'_>) -> HttpReply {
    let parsed =
        parse_body(call).map_err(|error| vec![error]).and_then(|body| scalers::parse(&body));
    match parsed {
        Ok(custom) => {
            let reply = HttpReply::json(StatusCode::OK, &scalers::print(&custom));
            call.device().replace_part(scalers::NAME, lens!(custom_scalers), &custom);
            reply
        }
        Err(errors) => {
            call.device().record_refused_write(scalers::NAME, &errors);
            invalid_settings(&errors)
        }
    }
}
