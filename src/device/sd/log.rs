//! The log on the card: a reading becomes a row of the day's file.

use super::{SdCard, SdError, row};
use crate::device::Snapshot;
use crate::device::civil::CivilTime;

impl SdCard {
    /// Appends the reading of `snapshot` as a row to the file of the day by the device's own clock.
    /// Does nothing if there is no reading.
    ///
    /// # Errors
    /// [`SdError`] if the row is not written.
    pub(crate) async fn append_reading(&self, snapshot: &Snapshot) -> Result<(), SdError> {
        let Some(reading) = snapshot.reading() else { return Ok(()) };
        let today = CivilTime::new(snapshot.time).local();
        let name = format!("{:04}{:02}{:02}.CSV", today.year(), today.month(), today.day());
        self.append(&name, &row::HEADER, row::row(snapshot, reading), snapshot.now).await
    }
}
