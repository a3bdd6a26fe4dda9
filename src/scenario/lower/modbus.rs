//! The device's own Modbus server, and its register map.

use std::sync::Arc;

use super::super::diagnostics::{Mistake, Mistakes};
use super::super::model::{DevicePlan, ModbusPlan};
use super::super::path::FieldPath;
use super::super::raw;
use crate::device::config::RegisterMap;
use crate::device::{Feature, Firmware, Profile};
use crate::limits;

/// Lowers the server of the `index`-th device.
pub(super) fn server(
    raw: Option<&raw::DeviceModbus>,
    index: usize,
    path: &FieldPath,
    mistakes: &mut Mistakes,
) -> ModbusPlan {
    let (listen, function_3) = match raw {
        None => (None, None),
        Some(raw::Choice::Word(listen)) => (Some(*listen), None),
        Some(raw::Choice::Map(server)) => (server.listen, server.function_3),
    };
    let listen = listen.map(|listen| listen.0).or_else(|| DevicePlan::default_modbus(index));
    let listen = listen.unwrap_or_else(|| {
        let message = format!("the Modbus server of device {} has no default port left", index + 1);
        mistakes.push(Mistake::new(path.clone(), message).help("give it `modbus: 127.0.0.1:0`"));
        ModbusPlan::default().listen
    });
    ModbusPlan { listen, function_3: function_3.unwrap_or(false) }
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
