//! The log: which reading becomes a row, and in which file.

use std::sync::Arc;

use super::{SdCard, SdError, row};
use crate::device::civil::CivilTime;
use crate::device::{Device, Snapshot};
use crate::journal::Event;

impl Device {
    /// Writes rows while `services.sd.enable` says so: one at the first reading that comes
    /// `services.sd.frequency` whole seconds after the row before, or after the log was switched on
    /// (SD-1). Ends never; without a card, at once.
    pub async fn log_to_sd(self: Arc<Self>) {
        let Some(card) = self.sd() else { return };
        let mut changes = self.changes();
        let mut readings = self.readings();
        let mut last = None;
        let mut full = false;
        loop {
            changes.borrow_and_update();
            let service = self.view().config.settings.services.sd;
            if !service.enable {
                card.close();
                last = None;
                if changes.changed().await.is_err() {
                    return;
                }
                continue;
            }
            let since = *last.get_or_insert_with(|| {
                // Switched on: nothing that is past becomes a row.
                readings = self.readings();
                self.clock().now()
            });
            let snapshot = tokio::select! {
                biased;
                // The log may have been switched off, or its frequency changed.
                seen = changes.changed() => if seen.is_err() { return } else { continue },
                snapshot = readings.next_after(Some(since), service.frequency.into()) => snapshot,
            };
            let Some(reading) = snapshot.reading() else { continue };
            last = Some(reading.at);
            let written = self.write_row(card, &snapshot).await;
            if full != written.is_err() {
                full = written.is_err();
                self.journal().record(match written {
                    Ok(()) => Event::SdGoesOn { device: self.identity().id.shared() },
                    Err(error) => Event::SdNotWritten {
                        device: self.identity().id.shared(),
                        error: error.to_string(),
                    },
                });
            }
        }
    }

    /// Adds a row to the file of the day by the device's own clock.
    async fn write_row(&self, card: &SdCard, snapshot: &Snapshot) -> Result<(), SdError> {
        let Some(reading) = snapshot.reading() else { return Ok(()) };
        // A movement of the clock waits until the row is written.
        let _motion = self.clock().activity().enter();
        let today = CivilTime::of(snapshot.time).local();
        let name = format!("{:04}{:02}{:02}.CSV", today.year(), today.month(), today.day());
        card.append(&name, &row::HEADER, row::row(snapshot, reading), snapshot.now).await
    }
}
