//! What ends a WPS pairing: the router's button, or the end of its window.

use std::sync::Arc;

use crate::clock::Clock;
use crate::device::Device;

/// Follows the pairings of a device, for as long as there is one who would hear of them.
pub(super) async fn follow(device: Arc<Device>, clock: Clock) {
    let mut changes = device.changes();
    loop {
        changes.borrow_and_update();
        let told = match device.view().pairing {
            None => changes.changed().await,
            Some(pairing) => {
                let (end, _) = pairing.end(device.site());
                tokio::select! {
                    told = changes.changed() => told,
                    () = clock.sleep_until(end) => {
                        device.end_pairing(pairing);
                        Ok(())
                    }
                }
            }
        };
        if told.is_err() {
            return;
        }
    }
}
