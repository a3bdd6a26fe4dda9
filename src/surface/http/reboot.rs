//! `/api/v1/reboot` and `/api/v1/restore` (POWER-1, POWER-2).

use std::sync::Arc;

use hyper::StatusCode;

use super::{Call, HttpReply};
use crate::device::RebootCause;

/// Reboots the device after the reply is sent.
pub(super) fn reboot(call: &Call<'_>) -> HttpReply {
    reboot_after(call, HttpReply::empty(StatusCode::NO_CONTENT), RebootCause::Requested)
}

/// Restores the factory settings and reboots the device after the reply is sent.
pub(super) fn restore(call: &Call<'_>) -> HttpReply {
    call.device().restore_factory_settings();
    reboot_after(call, HttpReply::empty(StatusCode::NO_CONTENT), RebootCause::FactoryReset)
}

/// Returns the reply, after which the device reboots.
pub(super) fn reboot_after(call: &Call<'_>, reply: HttpReply, cause: RebootCause) -> HttpReply {
    let device = Arc::clone(call.device());
    device.announce_reboot();
    reply.after_delivery(move || device.reboot(cause))
}
