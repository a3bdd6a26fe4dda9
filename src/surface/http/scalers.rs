//! `/api/v1/meter/scalers/current` and `/api/v1/meter/scalers/custom` (METER-18, METER-19).

use hyper::StatusCode;
use serde_json::{Value, json};

use super::settings::{body, refused};
use super::{Call, HttpReply};
use crate::device::config::table::lens;
use crate::device::scalers;

/// The scalers in force; an empty list for a meter that is not DLMS.
pub(super) fn current(call: &Call<'_>) -> HttpReply {
    let scalers: Vec<Value> = scalers::current(&call.device().snapshot())
        .into_iter()
        .map(|(quantity, scaler)| json!({ "obis": quantity.obis(), "scaler": scaler }))
        .collect();
    HttpReply::json(StatusCode::OK, &scalers)
}

/// The user's own scalers.
pub(super) fn custom(call: &Call<'_>) -> HttpReply {
    let body = call.kept(|| scalers::print(&call.view.config.custom_scalers).to_string().into());
    HttpReply::raw_json(StatusCode::OK, body)
}

/// Other scalers of the user's own.
pub(super) fn replace(call: &Call<'_>) -> HttpReply {
    let parsed = body(call).map_err(|error| vec![error]).and_then(|given| scalers::parse(&given));
    match parsed {
        Ok(own) => {
            let reply = HttpReply::json(StatusCode::OK, &scalers::print(&own));
            call.device().replace_part(scalers::NAME, lens!(custom_scalers), &own);
            reply
        }
        Err(errors) => {
            call.device().record_refused_write(scalers::NAME, &errors);
            refused(&errors)
        }
    }
}
