//! `/api/v1/meter/scalers/current` and `/api/v1/meter/scalers/custom` (METER-18, METER-19).

use hyper::StatusCode;
use serde_json::{Value, json};

use super::settings::{body, refused};
use super::{Call, HttpReply};
use crate::device::config::table::accessor;
use crate::device::scalers;

/// The scalers in force; an empty list for a meter that is not DLMS.
pub(super) fn current(call: &Call<'_>) -> HttpReply {
    let snapshot = call.device().snapshot();
    let scalers: Vec<Value> = scalers::effective(&snapshot.view.config, &snapshot.meter)
        .into_iter()
        .map(|(quantity, scaler)| json!({ "obis": quantity.obis(), "scaler": scaler }))
        .collect();
    HttpReply::json(StatusCode::OK, &scalers)
}

/// The user's own scalers.
pub(super) fn custom(call: &Call<'_>) -> HttpReply {
    let body = call.kept(|| scalers::to_json(&call.view.config.custom_scalers).to_string().into());
    HttpReply::raw_json(StatusCode::OK, body)
}

/// Other scalers of the user's own.
pub(super) fn replace(call: &Call<'_>) -> HttpReply {
    let parsed = body(call).map_err(|error| vec![error]).and_then(|given| scalers::parse(&given));
    match parsed {
        Ok(own) => {
            let reply = HttpReply::json(StatusCode::OK, &scalers::to_json(&own));
            call.device().replace_part(scalers::JOURNAL_NAME, accessor!(custom_scalers), &own);
            reply
        }
        Err(errors) => {
            call.device().record_refused_write(scalers::JOURNAL_NAME, &errors);
            refused(&errors)
        }
    }
}
