//! `/api/v1/modbus`: the register map of the device's own Modbus server (MODBUS-2 to MODBUS-7).

use std::sync::Arc;

use bytes::Bytes;
use hyper::StatusCode;
use serde_json::json;

use super::{Call, HttpReply};
use crate::device::config::{AddressFormat, Listing, RegisterMap};
use crate::device::{Feature, Firmware, Profile};

/// Returns the register map in force.
pub(super) fn show(call: &Call<'_>) -> HttpReply {
    let addresses = match address_format(call) {
        Ok(addresses) => addresses,
        Err(refused) => return refused,
    };
    let render = || render_map(call.view.config.register_map(), call.view.firmware, addresses);
    // Only the form without a query is cached, because clients poll that one.
    let body = if addresses.is_none() { call.cached_body(render) } else { render() };
    HttpReply::raw_json(StatusCode::OK, body)
}

/// Replaces the map. An invalid one changes nothing.
pub(super) fn replace(call: &Call<'_>) -> HttpReply {
    let firmware = call.view.firmware;
    let word_order = Profile::new(firmware).has(Feature::WordOrder);
    let map = match RegisterMap::parse(&call.body, word_order) {
        Ok(map) => Arc::new(map),
        Err(error) => {
            let details = json!({ "field": error.path });
            let message = error.to_string();
            let status = StatusCode::BAD_REQUEST;
            return HttpReply::error_with(status, "invalid_register_map", &message, &details);
        }
    };
    set_map(call, Some(&map));
    HttpReply::raw_json(StatusCode::OK, render_map(&map, firmware, None))
}

/// Restores the factory map.
pub(super) fn delete(call: &Call<'_>) -> HttpReply {
    set_map(call, None);
    HttpReply::empty(StatusCode::NO_CONTENT)
}

fn set_map(call: &Call<'_>, map: Option<&Arc<RegisterMap>>) {
    let Ok(()) = call.device().configure(|config| {
        config.modbus = map.cloned();
        Ok::<_, std::convert::Infallible>(())
    });
}

/// Parses `?address_format=`. `None` if it is missing, or if the firmware does not know it.
fn address_format(call: &Call<'_>) -> Result<Option<AddressFormat>, HttpReply> {
    if !Profile::new(call.view.firmware).has(Feature::CompactModbusListing) {
        return Ok(None);
    }
    let value = match call.query().single("address_format") {
        Ok(value) => value,
        Err(repeated) => {
            let message = repeated.to_string();
            return Err(HttpReply::error(
                StatusCode::BAD_REQUEST,
                "invalid_address_format",
                &message,
            ));
        }
    };
    match value.as_deref() {
        None => Ok(None),
        Some("dec") => Ok(Some(AddressFormat::Dec)),
        Some("hex") => Ok(Some(AddressFormat::Hex)),
        Some(_) => {
            let message = "address_format: expected dec or hex";
            Err(HttpReply::error(StatusCode::BAD_REQUEST, "invalid_address_format", message))
        }
    }
}

fn render_map(map: &RegisterMap, firmware: Firmware, addresses: Option<AddressFormat>) -> Bytes {
    let profile = Profile::new(firmware);
    let listing = match addresses {
        None if profile.has(Feature::CompactModbusListing) => Listing::Compact(map),
        addresses => Listing::Detailed {
            map,
            addresses: addresses.unwrap_or(AddressFormat::Dec),
            word_order: profile.has(Feature::WordOrder),
        },
    };
    // Serialization cannot fail, because all keys are strings.
    serde_json::to_vec(&listing).unwrap_or_default().into()
}
