//! The device's own Modbus server, and its register map.

use std::sync::Arc;

use super::super::diagnostics::{Mistake, Mistakes};
use super::super::model::ModbusPlan;
use super::super::path::FieldPath;
use super::super::raw;
use crate::device::config::RegisterMap;
use crate::device::{Feature, Firmware, Profile};
use crate::limits;

/// Lowers the server of a device.
pub(super) fn server(raw: Option<&raw::DeviceModbus>) -> ModbusPlan {
    let default = ModbusPlan::default();
    match raw {
        None => default,
        Some(raw::Choice::Word(listen)) => ModbusPlan { listen: listen.0, ..default },
        Some(raw::Choice::Map(server)) => ModbusPlan {
            listen: server.listen.map_or(default.listen, |listen| listen.0),
            function_3: server.function_3.unwrap_or(default.function_3),
            ..default
        },
    }
}

/// Lowers the register map. Each mistake is reported at its own place.
pub(super) fn map(
    raw: Option<&raw::RegisterMapText>,
    firmware: Firmware,
    path: &FieldPath,
    mistakes: &mut Mistakes,
) -> Option<Arc<RegisterMap>> {
    let value = raw.map(|raw| &raw.0).filter(|value| !value.is_null())?;
    let bytes = value.to_string().len();
    if bytes > limits::JSON_BODY_BYTES {
        let message = format!(
            "the map has {bytes} bytes as JSON, more than the {} the device takes",
            limits::JSON_BODY_BYTES
        );
        mistakes.push(Mistake::new(path.clone(), message).on_key());
        return None;
    }
    let word_order = Profile::new(firmware).has(Feature::WordOrder);
    match RegisterMap::parse_value(value, word_order) {
        Ok(map) => Some(Arc::new(map)),
        Err(errors) => {
            mistakes.push_problems(value, path, errors);
            None
        }
    }
}
