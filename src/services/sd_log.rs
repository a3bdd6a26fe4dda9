//! The log on the SD card.

use std::sync::Arc;

use crate::device::Device;
use crate::device::sd::SdError;
use crate::journal::Event;
use crate::services::Readings;

/// Writes the readings of a device to its SD card while `services.sd.enable` is on: a row for the first
/// reading that comes `services.sd.frequency` whole seconds after the previous row, or after the log was
/// switched on (SD-1). Returns at once if there is no card.
pub async fn log_to_sd(device: Arc<Device>) {
    let Some(card) = device.sd() else { return };
    let followed = FollowedChanges(&device);
    let mut changes = device.changes();
    let mut readings = Readings::new(Arc::clone(&device));
    let mut last_row = None;
    let mut failing = false;
    loop {
        let count = *changes.borrow_and_update();
        let service = device.view().config.settings.services.sd;
        if !service.enable {
            card.close();
            last_row = None;
            followed.applied(count);
            if changes.changed().await.is_err() {
                return;
            }
            continue;
        }
        let since = *last_row.get_or_insert_with(|| {
            // The log was switched on: no earlier reading becomes a row.
            readings = Readings::new(Arc::clone(&device));
            device.clock().now()
        });
        followed.applied(count);
        let snapshot = tokio::select! {
            biased;
            // The log may have been switched off, or its frequency changed.
            result = changes.changed() => if result.is_err() { return } else { continue },
            snapshot = readings.next_after(Some(since), service.frequency.into()) => snapshot,
        };
        let Some(reading) = snapshot.reading() else { continue };
        last_row = Some(reading.at);
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

/// Tells the device up to which of its changes the log is, until the log ends.
struct FollowedChanges<'d>(&'d Device);

impl FollowedChanges<'_> {
    fn applied(&self, count: u64) {
        self.0.set_sd_log_applied(Some(count));
    }
}

impl Drop for FollowedChanges<'_> {
    fn drop(&mut self) {
        self.0.set_sd_log_applied(None);
    }
}

/// Records that rows cannot be written, or can be written again.
fn record_outcome(device: &Device, written: Result<(), SdError>) {
    device.record(|device| match written {
        Ok(()) => Event::SdWriteRecovered { device },
        Err(error) => Event::SdWriteFailed { device, error: error.to_string() },
    });
}
