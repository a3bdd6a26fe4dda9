//! `/api/v1/reboot` and `/api/v1/restore` (POWER-1, POWER-2).

use std::sync::Arc;

use hyper::StatusCode;

use super::{Call, HttpReply};
use crate::device::RebootCause;

/// The device reboots once the reply is out.
pub(super) fn reboot(call: &Call<'_>) -> HttpReply {
    down(call, HttpReply::empty(StatusCode::NO_CONTENT), RebootCause::Asked)
}

/// Everything a user has set is gone; the device reboots once the reply is out.
pub(super) fn restore(call: &Call<'_>) -> HttpReply {
    call.device().restore();
    down(call, HttpReply::empty(StatusCode::NO_CONTENT), RebootCause::Restored)
}

/// The reply, and behind it the reboot.
pub(super) fn down(call: &Call<'_>, reply: HttpReply, cause: RebootCause) -> HttpReply {
    let device = Arc::clone(call.device());
    device.leave();
    reply.after_delivery(move || device.reboot(cause))
}
