//! The start of the Berry script some time after the boot.

use std::sync::Arc;
use std::time::Duration;

use crate::device::Device;

/// Starts the script `services.berry.run_delay` seconds after the boot, if `services.berry.auto_run`
/// says so at that time.
pub async fn start_script(device: Arc<Device>) {
    let mut changes = device.changes();
    loop {
        changes.borrow_and_update();
        let view = device.view();
        let delay = view.config.settings.services.berry_run_delay;
        let due = view.boot.at.after(Duration::from_secs(delay.into()));
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
