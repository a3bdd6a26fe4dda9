//! The log on the SD card.

use std::sync::Arc;

use crate::device::sd::SdError;
use crate::device::{Device, View};
use crate::journal::Event;
use crate::services::Readings;

/// Returns true if a device has a log on its SD card to write.
pub fn is_logging(device: &Device, view: &View) -> bool {
    device.sd().is_some() && view.config.settings.services.sd.enable
}

/// Writes the readings of a device to its SD card until `services.sd.enable` is off: a row for the first
/// reading that comes `services.sd.frequency` whole seconds after the previous row, or after the log was
/// switched on (SD-1).
pub async fn log_to_sd(device: Arc<Device>) {
    let Some(card) = device.sd() else { return };
    let mut changes = device.changes();
    // The log was switched on: no earlier reading becomes a row.
    let mut readings = Readings::new(Arc::clone(&device));
    let mut last_row = device.clock().now();
    let mut failing = false;
    loop {
        let count = *changes.borrow_and_update();
        let frequency = {
            let view = device.view();
            if !is_logging(&device, &view) {
                card.close();
                return;
            }
            view.config.settings.services.sd.frequency
        };
        device.set_sd_log_applied(Some(count));
        let snapshot = tokio::select! {
            biased;
            // The log may have been switched off, or its frequency changed.
            result = changes.changed() => if result.is_err() { return } else { continue },
            snapshot = readings.next_after(Some(last_row), frequency.into()) => snapshot,
        };
        let Some(reading) = snapshot.reading() else { continue };
        last_row = reading.at;
        let written = {
            // A movement of the clock waits until the row is written.
            let _activity = device.clock().activity().enter();
            card.append_reading(&snapshot).await
        };
        if failing != written.is_err() {
            failing = written.is_err();
            record_outcome(&device, written);
        }
    }
}

/// Records that rows cannot be written, or can be written again.
fn record_outcome(device: &Device, written: Result<(), SdError>) {
    device.record(|device| match written {
        Ok(()) => Event::SdWriteRecovered { device },
        Err(error) => Event::SdWriteFailed { device, error: error.to_string() },
    });
}
