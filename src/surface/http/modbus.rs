//! `/api/v1/modbus`: the register map of the device's own Modbus server (MODBUS-2 to MODBUS-7).

use std::sync::Arc;

use bytes::Bytes;
use hyper::StatusCode;
use serde_json::json;

use super::{Call, HttpReply};
use crate::device::config::{AddressFormat, Listing, RegisterMap};
use crate::device::{Feature, Firmware, Profile};

/// The map in force.
pub(super) fn show(call: &Call<'_>) -> HttpReply {
    let addresses = match address_format(call) {
        Ok(addresses) => addresses,
        Err(refused) => return refused,
    };
    let listed = || listed(call.view.config.register_map(), call.view.firmware, addresses);
    // The one form that needs no query is the one that is asked for over and over.
    let body = if addresses.is_none() { call.kept(listed) } else { listed() };
    HttpReply::raw_json(StatusCode::OK, body)
}

/// A new map; a wrong one leaves the old one in force.
pub(super) fn replace(call: &Call<'_>) -> HttpReply {
    let firmware = call.view.firmware;
    let word_order = Profile::of(firmware).has(Feature::WordOrder);
    let map = match RegisterMap::parse(&call.body, word_order) {
        Ok(map) => Arc::new(map),
        Err(error) => {
            let details = json!({ "field": error.path });
            let message = error.to_string();
            let status = StatusCode::BAD_REQUEST;
            return HttpReply::error_with(status, "invalid_register_map", &message, &details);
        }
    };
    set(call, Some(&map));
    HttpReply::raw_json(StatusCode::OK, listed(&map, firmware, None))
}

/// The map of a device out of the box again.
pub(super) fn delete(call: &Call<'_>) -> HttpReply {
    set(call, None);
    HttpReply::empty(StatusCode::NO_CONTENT)
}

fn set(call: &Call<'_>, map: Option<&Arc<RegisterMap>>) {
    let Ok(()) = call.device().configure(|config| {
        config.modbus = map.cloned();
        Ok::<_, std::convert::Infallible>(())
    });
}

/// `?address_format=`; none where it is not given, or the firmware does not know it.
fn address_format(call: &Call<'_>) -> Result<Option<AddressFormat>, HttpReply> {
    if !Profile::of(call.view.firmware).has(Feature::CompactModbusListing) {
        return Ok(None);
    }
    let given = match call.query().single("address_format") {
        Ok(given) => given,
        Err(repeated) => {
            let message = repeated.to_string();
            return Err(HttpReply::error(
                StatusCode::BAD_REQUEST,
                "invalid_address_format",
                &message,
            ));
        }
    };
    match given.as_deref() {
        None => Ok(None),
        Some("dec") => Ok(Some(AddressFormat::Dec)),
        Some("hex") => Ok(Some(AddressFormat::Hex)),
        Some(_) => {
            let message = "address_format: expected dec or hex";
            Err(HttpReply::error(StatusCode::BAD_REQUEST, "invalid_address_format", message))
        }
    }
}

fn listed(map: &RegisterMap, firmware: Firmware, addresses: Option<AddressFormat>) -> Bytes {
    let profile = Profile::of(firmware);
    let listing = match addresses {
        None if profile.has(Feature::CompactModbusListing) => Listing::Compact(map),
        addresses => Listing::Detailed {
            map,
            addresses: addresses.unwrap_or(AddressFormat::Dec),
            word_order: profile.has(Feature::WordOrder),
        },
    };
    // Its keys are texts, so that it always has a JSON form.
    serde_json::to_vec(&listing).unwrap_or_default().into()
}
