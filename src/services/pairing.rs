//! The end of a WPS pairing: the router's button, or the end of the window.

use std::sync::Arc;

use crate::clock::Clock;
use crate::device::Device;

/// Ends the pairing of a device at its time. Returns when none is in progress.
pub async fn end_pairing(device: Arc<Device>, clock: Clock) {
    let mut changes = device.changes();
    loop {
        changes.borrow_and_update();
        let Some(pairing) = device.view().pairing else { return };
        let (end, _) = pairing.end(device.site());
        tokio::select! {
            result = changes.changed() => if result.is_err() { return },
            () = clock.sleep_until(end) => device.end_pairing(pairing),
        }
    }
}
