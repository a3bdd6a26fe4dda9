//! Values of a recording at a time between two rows.

use super::{Column, NO_VALUE, Recording, ReplayMode};
use crate::decimal::Decimal;
use crate::meter::Quantity;

/// A position in a recording: between a row and the next one.
#[derive(Debug, Clone, Copy)]
pub(in crate::meter) struct PlaybackSample<'a> {
    recording: &'a Recording,
    /// Completed rounds of a loop.
    rounds: i64,
    row: usize,
    next_row: usize,
    /// Elapsed time since the row, and time between the two rows, in ms.
    elapsed: i64,
    row_duration: i64,
}

impl<'a> PlaybackSample<'a> {
    pub(super) fn new(
        recording: &'a Recording,
        ms: i64,
        mode: ReplayMode,
        interpolate: bool,
    ) -> Self {
        let last = recording.times.len() - 1;
        let round = recording.total_duration().max(1);
        let (rounds, within) = match mode {
            ReplayMode::Loop => (ms.div_euclid(round).max(0), ms.max(0).rem_euclid(round)),
            ReplayMode::End => (0, ms.clamp(0, recording.duration())),
        };
        let row = recording.times.partition_point(|time| *time <= within).saturating_sub(1);
        let next_row = (row + 1).min(last);
        let (from, to) = (recording.times[row], recording.times[next_row]);
        let (elapsed, row_duration) =
            if interpolate && to > from { (within - from, to - from) } else { (0, 1) };
        Self { recording, rounds, row, next_row, elapsed, row_duration }
    }
}

impl PlaybackSample<'_> {
    /// Returns the tariff. `None` if the row has none.
    pub(crate) fn tariff(&self) -> Option<u8> {
        self.recording.tariffs.get(self.row).copied().filter(|tariff| *tariff > 0)
    }

    /// Returns the value of a quantity. `None` if it was not recorded.
    pub(crate) fn value(&self, quantity: Quantity) -> Option<Decimal> {
        if let Some([first, second]) = quantity.tariff_registers()
            && let Some(sum) = self.tariff_sum(quantity, first, second)
        {
            return Some(sum);
        }
        if let Some(opposite) = quantity.opposite_direction()
            && let (Some(own), Some(opposite)) = (self.column(quantity), self.column(opposite))
        {
            // Only one of the two directions is above zero, also between two rows of different
            // direction. Both follow from the same net power, which is positive for import.
            let is_import = own.quantity < opposite.quantity;
            let (import, export) = if is_import { (own, opposite) } else { (opposite, own) };
            let net = self.net_power(import, export)?;
            let directed = if is_import { net } else { net.saturating_neg() };
            return Some(Decimal::new(directed.max(0), own.places));
        }
        let column = self.column(quantity)?;
        Some(Decimal::new(self.column_value(column)?, column.places))
    }

    /// Returns a total as the sum of its tariffs. `None` if it is not their sum in the rows.
    fn tariff_sum(&self, total: Quantity, first: Quantity, second: Quantity) -> Option<Decimal> {
        let columns = [self.column(total)?, self.column(first)?, self.column(second)?];
        let [total, first, second] = columns;
        let is_sum = |row: usize| {
            let [total, first, second] = columns.map(|column| column.values[row]);
            total != NO_VALUE && first.checked_add(second) == Some(total)
        };
        let rows = [0, self.row, self.next_row, self.recording.times.len() - 1];
        if !rows.into_iter().all(is_sum) {
            return None;
        }
        let sum = self.column_value(first)?.checked_add(self.column_value(second)?)?;
        Some(Decimal::new(sum, total.places))
    }

    /// Returns import less export. A total is the sum of its interpolated phases if it is the sum of its
    /// phases in the rows.
    fn net_power(&self, import: &Column, export: &Column) -> Option<i64> {
        let (from, to) = self.net_of_rows(import, export)?;
        let interpolated = || self.interpolate(from, to);
        if !matches!(import.quantity, Quantity::ImportPower | Quantity::ReactiveImportPower) {
            return Some(interpolated());
        }
        let phases = [1, 2, 3].map(|phase| {
            // In the table, the phases follow their total.
            let import = self.column(Quantity::ALL[import.quantity.index() + phase])?;
            let export = self.column(import.quantity.opposite_direction()?)?;
            let (from, to) = self.net_of_rows(import, export)?;
            Some((from, to?))
        });
        let [Some(first), Some(second), Some(third)] = phases else { return Some(interpolated()) };
        let sum = |one: i64, two: i64, three: i64| one.checked_add(two)?.checked_add(three);
        if sum(first.0, second.0, third.0) != Some(from) || sum(first.1, second.1, third.1) != to {
            return Some(interpolated());
        }
        let [first, second, third] =
            [first, second, third].map(|(from, to)| self.interpolate(from, Some(to)));
        Some(sum(first, second, third).unwrap_or_else(interpolated))
    }

    /// Returns import less export in the row, and in the next one if it has values.
    fn net_of_rows(&self, import: &Column, export: &Column) -> Option<(i64, Option<i64>)> {
        let net = |row: usize| difference(import.values[row], export.values[row]);
        Some((net(self.row)?, net(self.next_row)))
    }

    fn column(&self, quantity: Quantity) -> Option<&Column> {
        self.recording.columns.iter().find(|column| column.quantity == quantity)
    }

    /// Returns the value of a column; a register includes its growth in completed rounds.
    fn column_value(&self, column: &Column) -> Option<i64> {
        let value = |row: usize| Some(column.values[row]).filter(|value| *value != NO_VALUE);
        let (from, to) = (value(self.row)?, value(self.next_row));
        if !column.quantity.is_counter() {
            return Some(self.interpolate(from, to));
        }
        // A register is rounded down, as in a meter.
        let (numerator, denominator) = self.fraction(from, to);
        let value = i64::try_from(numerator.div_euclid(denominator)).unwrap_or(from);
        Some(value.saturating_add(column.growth().saturating_mul(self.rounds)))
    }

    /// Interpolates between the two rows. Halves are rounded away from zero, so that import and export
    /// are rounded alike.
    fn interpolate(&self, from: i64, to: Option<i64>) -> i64 {
        let (numerator, denominator) = self.fraction(from, to);
        let rounded = (numerator + numerator.signum() * (denominator / 2)) / denominator;
        i64::try_from(rounded).unwrap_or(from)
    }

    /// Returns the interpolated value as numerator and denominator. It lies between the two values; if
    /// the next row has none, it is `from`.
    fn fraction(&self, from: i64, to: Option<i64>) -> (i128, i128) {
        let (elapsed, duration) = (i128::from(self.elapsed), i128::from(self.row_duration));
        let change = i128::from(to.unwrap_or(from)) - i128::from(from);
        (i128::from(from) * duration + change * elapsed, duration)
    }
}

/// Returns import less export of a row. `None` if a value is missing.
fn difference(import: i64, export: i64) -> Option<i64> {
    if import == NO_VALUE || export == NO_VALUE { None } else { import.checked_sub(export) }
}
