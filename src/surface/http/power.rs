//! `/api/v1/reboot` and `/api/v1/restore` (contract §2).

use std::sync::Arc;

use hyper::StatusCode;

use super::{Call, Reply};
use crate::device::RebootCause;

/// The device reboots once the reply is out.
pub(super) fn reboot(call: &Call<'_>) -> Reply {
    down(call, Reply::empty(StatusCode::NO_CONTENT), RebootCause::Asked)
}

/// Everything a user has set is gone; the device reboots once the reply is out.
pub(super) fn restore(call: &Call<'_>) -> Reply {
    call.device().restore();
    down(call, Reply::empty(StatusCode::NO_CONTENT), RebootCause::Restored)
}

/// The reply, and behind it the reboot.
pub(super) fn down(call: &Call<'_>, reply: Reply, cause: RebootCause) -> Reply {
    let device = Arc::clone(call.device());
    device.leave();
    reply.then(move || device.reboot(cause))
}
