//! Recordings of the device's SD card, which drive a meter in place of the model.
//!
//! `parse` reads a file, and `playback` interpolates between its rows. Only the time between rows
//! matters: the first row is the start of the scenario.

mod parse;
mod playback;

use super::{Interface, MeterKind, MeterTexts, Protocol, Quantity};
use crate::decimal::Decimal;
use crate::limits;

pub use self::parse::RecordingError;
pub(super) use self::playback::PlaybackSample;

/// The values of a meter, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// Milliseconds since the first row, ascending.
    times: Vec<i64>,
    /// The tariff of each row: 1, 2, or 0 if the row has none.
    tariffs: Vec<u8>,
    columns: Vec<Column>,
    texts: MeterTexts,
    interface: Option<Interface>,
    protocol: Option<Protocol>,
}

/// The values of one quantity.
#[derive(Debug, Clone, PartialEq)]
struct Column {
    quantity: Quantity,
    places: u8,
    /// The value of each row, in units of the last decimal place; [`NO_VALUE`] if the row has none.
    values: Vec<i64>,
}

const NO_VALUE: i64 = i64::MIN;

/// The continuation after the last row of a recording.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum ReplayMode {
    /// The recording starts again, and the registers continue from their last values. The last row lasts
    /// as long as the one before it.
    #[default]
    Loop,
    /// The meter sends nothing more.
    End,
}

impl Recording {
    /// Returns the kind of meter that the recording names. `None` if it names none.
    #[must_use]
    pub fn kind(&self) -> Option<MeterKind> {
        MeterKind::ALL.into_iter().find(|kind| {
            let profile = kind.profile();
            Some(profile.protocol) == self.protocol
                && self.interface.is_none_or(|interface| interface == profile.interface)
        })
    }

    /// Returns the texts of the recorded meter's identity.
    #[must_use]
    pub fn texts(&self) -> MeterTexts {
        self.texts.clone()
    }

    /// Returns the time from the first row to the last, in ms.
    #[must_use]
    pub fn duration(&self) -> i64 {
        self.times.last().copied().unwrap_or(0)
    }

    /// Returns the time that the last row lasts, in ms: as long as the one before it.
    fn last_row_duration(&self) -> i64 {
        let mut newest = self.times.iter().rev();
        let (last, previous) = (newest.next(), newest.next());
        last.zip(previous).map_or(0, |(last, previous)| last - previous)
    }

    /// Returns the time from the first row to the end of the last, in ms.
    #[must_use]
    pub fn total_duration(&self) -> i64 {
        self.duration().saturating_add(self.last_row_duration())
    }

    /// Returns the recorded quantities, in the order of the file.
    pub fn quantities(&self) -> impl Iterator<Item = Quantity> {
        self.columns.iter().map(|column| column.quantity)
    }

    /// Returns the values `ms` milliseconds after the start. A loop has values for ever; otherwise the
    /// last row holds after the end.
    pub(super) fn sample(
        &self,
        ms: i64,
        mode: ReplayMode,
        interpolate: bool,
    ) -> PlaybackSample<'_> {
        PlaybackSample::new(self, ms, mode, interpolate)
    }
}

impl Column {
    /// Raises the number of decimal places. A value within [`limits::RECORDED_NUMBER`] fits with any number
    /// of places.
    fn raise_places(&mut self, places: u8) {
        let scale = power_of_ten(places - self.places);
        for value in self.values.iter_mut().filter(|value| **value != NO_VALUE) {
            *value *= scale;
        }
        self.places = places;
    }

    /// Returns the growth of a register over the recording.
    fn growth(&self) -> i64 {
        let mut values = self.values.iter().filter(|value| **value != NO_VALUE);
        let first = values.next().copied().unwrap_or(0);
        values.next_back().copied().unwrap_or(first).saturating_sub(first).max(0)
    }
}

const fn power_of_ten(places: u8) -> i64 {
    10_i64.pow(places as u32)
}

// The largest number with the most decimal places, and two of them added or subtracted, fit.
const _: () = assert!(limits::RECORDED_NUMBER <= i64::MAX / 2 / power_of_ten(Decimal::MAX_PLACES));

#[cfg(test)]
mod tests;
