//! `/api/v1/system` (contract §2, `system_fields.csv`).

use hyper::StatusCode;

use super::json::Json;
use super::{Call, Reply};

pub(super) fn show(call: &Call<'_>) -> Reply {
    let _ = call;
    Reply::raw_json(StatusCode::OK, Json::default().into_string())
}
