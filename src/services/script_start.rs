//! The start of the Berry script some time after the boot.

use std::sync::Arc;

use crate::device::Device;

/// Starts the script `services.berry.run_delay` seconds after the boot. Returns once that is decided: it was
/// started, or the settings say at that time that it does not start.
pub async fn start_script(device: Arc<Device>) {
    let mut changes = device.changes();
    loop {
        changes.borrow_and_update();
        let Some(due) = device.script_start() else { return };
        // The time may be past: the clock is fast, or the delay was made shorter.
        if due <= device.clock().now() {
            device.start_script_after_boot();
            return;
        }
        tokio::select! {
            biased;
            result = changes.changed() => if result.is_err() { return },
            () = device.clock().sleep_until(due) => {}
        }
    }
}
