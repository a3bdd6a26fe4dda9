//! Requests that a device's own Modbus server receives. The effects are those of a slave, without
//! `result`: a result code is the device's verdict on the answer of a slave.

use std::sync::LazyLock;

use super::{AddressRange, Fault, Seam, SlaveEffect, affects, last_address, slave};
use crate::fault::Engine;
use crate::fault::index::{IndexKey, KeyField};
use crate::fault::written_form::WrittenForms;
use crate::modbus::fault::ReplyDecision;
use crate::modbus::wire::FunctionCode;

/// The requests to a device's own Modbus server that a rule affects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModbusPlace {
    /// The id of the device. `None` for every device.
    pub device: Option<String>,
    /// The unit id. The device answers all of them. `None` for every unit.
    pub unit: Option<u8>,
    /// The function code. `None` for every function.
    pub function: Option<FunctionCode>,
    /// Registers of which the request touches at least one. `None` for every request.
    pub address: Option<AddressRange>,
}

/// A request to a device's own Modbus server.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs, reason = "the fields are those that a rule can name")]
pub struct DeviceModbusRequest<'a> {
    pub device: &'a str,
    pub unit: u8,
    pub function: FunctionCode,
    pub address: u16,
    /// The number of registers from `address` on that the request touches.
    pub quantity: u16,
}

pub(super) static FORMS: LazyLock<WrittenForms<SlaveEffect>> = LazyLock::new(|| {
    let mut forms = slave::forms();
    forms.retain(|form| form.keyword_name() != "result");
    WrittenForms::new("modbus", "the device's Modbus server", forms)
});

impl ModbusPlace {
    /// Returns the key of a rule. A connect effect is not possible here, and is never asked for.
    pub(super) fn key(&self, effect: &SlaveEffect) -> IndexKey {
        let device = self.device.as_deref();
        if *effect == SlaveEffect::Refuse {
            return IndexKey::new(Seam::Listener).name(KeyField::Device, device);
        }
        IndexKey::new(Seam::Modbus)
            .name(KeyField::Device, device)
            .number(KeyField::Unit, self.unit)
            .number(KeyField::Function, self.function.map(|function| function.0))
            .addresses(self.address.clone())
    }

    /// Returns `true` if the place includes a request.
    #[must_use]
    pub fn matches(&self, request: &DeviceModbusRequest<'_>) -> bool {
        let last = last_address(request.address, request.quantity);
        affects(&self.device, request.device)
            && self.unit.is_none_or(|unit| unit == request.unit)
            && self.function.is_none_or(|function| function == request.function)
            && self.address.as_ref().is_none_or(|range| {
                request.quantity > 0 && *range.start() <= last && request.address <= *range.end()
            })
    }

    /// Returns the keys of the place that need a request.
    pub(super) fn request_keys(&self) -> Vec<&'static str> {
        let keys = [
            ("unit", self.unit.is_some()),
            ("function", self.function.is_some()),
            ("address", self.address.is_some()),
        ];
        keys.into_iter().filter(|(_, given)| *given).map(|(key, _)| key).collect()
    }
}

impl Engine {
    /// Evaluates the rules on a request that a device's own Modbus server received.
    #[must_use]
    pub fn modbus(&self, request: &DeviceModbusRequest<'_>) -> ReplyDecision {
        self.verdict(
            Seam::Modbus,
            |key| {
                let last = last_address(request.address, request.quantity);
                key.name(KeyField::Device, Some(request.device))
                    .number(KeyField::Unit, Some(request.unit))
                    .number(KeyField::Function, Some(request.function.0))
                    .addresses(Some(request.address..=last))
            },
            || format!("{} unit {} function {}", request.device, request.unit, request.function),
            |fault| match fault {
                Fault::Modbus(place, effect)
                    if !matches!(effect, SlaveEffect::Connect(_)) && place.matches(request) =>
                {
                    Some(effect)
                }
                _ => None,
            },
        )
        .into()
    }
}
