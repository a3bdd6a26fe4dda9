//! The end of a WPS pairing: the router's button, or the end of the window.

use std::sync::Arc;

use crate::clock::Clock;
use crate::device::Device;

/// Ends the pairings of a device, each at its time. Returns when the device is gone.
pub async fn end_pairings(device: Arc<Device>, clock: Clock) {
    let mut changes = device.changes();
    loop {
        changes.borrow_and_update();
        let result = match device.view().pairing {
            None => changes.changed().await,
            Some(pairing) => {
                let (end, _) = pairing.end(device.site());
                tokio::select! {
                    result = changes.changed() => result,
                    () = clock.sleep_until(end) => {
                        device.end_pairing(pairing);
                        Ok(())
                    }
                }
            }
        };
        if result.is_err() {
            return;
        }
    }
}
