//! A recording of the device's SD card, which drives a meter in place of the model.
//!
//! The columns are those of `sd_csv_columns.csv`, by their names: `TIME` has to be there, others that
//! are known count, and what is not known is left alone. `TIME` is local time although it ends in `Z`
//! (`docs/device/sd-card.md`). Only the time between rows matters: the first row is the scenario's
//! start.

use std::fmt;

use jiff::civil::DateTime;

use super::{Interface, MeterKind, MeterTexts, Protocol, Quantity};
use crate::clock::local_zone;
use crate::decimal::Decimal;
use crate::limits;

/// A recording: what a meter said, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// ms since the first row, rising.
    times: Vec<i64>,
    tariffs: Vec<u8>,
    columns: Vec<Column>,
    texts: MeterTexts,
    interface: Option<Interface>,
    protocol: Option<Protocol>,
}

/// What a meter said of one quantity.
#[derive(Debug, Clone, PartialEq)]
struct Column {
    quantity: Quantity,
    places: u8,
    /// By row, in units of the last place; [`NOTHING`] where the row says nothing.
    values: Vec<i64>,
}

const NOTHING: i64 = i64::MIN;

/// What comes after the last row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum ReplayMode {
    /// The first one, after as much time as lay between the last two; counters go on from where they
    /// stood.
    #[default]
    Loop,
    /// Nothing.
    End,
}

/// Why a recording cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordingError {
    /// The line, from 1; 0 where it is the file as a whole.
    pub line: u64,
    /// The column, by its name; empty where it is the line as a whole.
    pub column: String,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for RecordingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        if !self.column.is_empty() {
            write!(f, "column {}: ", self.column)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for RecordingError {}

/// What a column of a file means.
enum Meaning {
    Time,
    Status,
    Tariff,
    Value(usize),
    LogicalName,
    Id,
    Model,
    Interface,
    Protocol,
    Nothing,
}

/// A recording under way.
struct RecordingReader {
    recording: Recording,
    headers: Vec<String>,
    meanings: Vec<Meaning>,
    /// The last row's moment, in ms of UTC.
    last: Option<i64>,
    first: i64,
}

impl Recording {
    /// Reads the text of a CSV file. Rows in which the meter's status is not `OK` are gaps.
    ///
    /// # Errors
    /// The first mistake, with its line and column.
    pub fn parse(text: &str) -> Result<Self, RecordingError> {
        let whole = |message: String| RecordingError { line: 0, column: String::new(), message };
        if text.len() > limits::RECORDING_BYTES {
            let most = limits::RECORDING_BYTES;
            return Err(whole(format!("{} bytes; a recording may have {most}", text.len())));
        }
        let text = text.trim_start_matches('\u{feff}');
        let mut csv = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
        let headers = csv.headers().map_err(|error| broken(&error))?;
        let mut reader = RecordingReader::new(headers)?;
        for record in csv.records() {
            let record = record.map_err(|error| broken(&error))?;
            let line = record.position().map_or(0, csv::Position::line);
            reader.row(&record, line)?;
        }
        let RecordingReader { mut recording, .. } = reader;
        if recording.times.len() < 2 {
            let rows = recording.times.len();
            let message = format!(
                "{rows} rows with MSTAT OK; a recording needs two, to know how time passes"
            );
            return Err(whole(message));
        }
        recording.columns.retain(|column| column.values.iter().any(|value| *value != NOTHING));
        if recording.columns.is_empty() {
            return Err(whole("no column with a number in it".to_owned()));
        }
        recording.align();
        Ok(recording)
    }

    /// What is measured in one unit gets the same places, so that sums and differences are exact.
    fn align(&mut self) {
        let places: Vec<u8> = self
            .columns
            .iter()
            .map(|column| {
                let unit = column.quantity.unit();
                let same = self.columns.iter().filter(|other| other.quantity.unit() == unit);
                same.map(|other| other.places).max().unwrap_or(column.places)
            })
            .collect();
        for (column, places) in self.columns.iter_mut().zip(places) {
            column.refine(places);
        }
    }

    /// The kind of meter that it is a recording of, where it says so.
    #[must_use]
    pub fn kind(&self) -> Option<MeterKind> {
        MeterKind::ALL.into_iter().find(|kind| {
            let facts = kind.facts();
            Some(facts.protocol) == self.protocol
                && self.interface.is_none_or(|interface| interface == facts.interface)
        })
    }

    /// Who the meter was, as far as it says so.
    #[must_use]
    pub fn texts(&self) -> MeterTexts {
        self.texts.clone()
    }

    /// How long it lasts, from the first row to the last, in ms.
    #[must_use]
    pub fn lasts(&self) -> i64 {
        self.times.last().copied().unwrap_or(0)
    }

    /// How long its last row stands: as long as the one before it, in ms.
    fn pause(&self) -> i64 {
        let mut newest = self.times.iter().rev();
        let (last, before) = (newest.next(), newest.next());
        last.zip(before).map_or(0, |(last, before)| last - before)
    }

    /// How long it plays, to the end of its last row, in ms.
    #[must_use]
    pub fn plays(&self) -> i64 {
        self.lasts().saturating_add(self.pause())
    }

    /// The quantities it has, in the order of the file.
    pub fn quantities(&self) -> impl Iterator<Item = Quantity> {
        self.columns.iter().map(|column| column.quantity)
    }

    /// What was measured so many ms after its start. In a loop it never ends; else the last row
    /// stands from there on.
    pub(super) fn at(&self, ms: i64, mode: ReplayMode, interpolate: bool) -> Played<'_> {
        let last = self.times.len() - 1;
        let round = self.plays().max(1);
        let (rounds, within) = match mode {
            ReplayMode::Loop => (ms.div_euclid(round).max(0), ms.max(0).rem_euclid(round)),
            ReplayMode::End => (0, ms.clamp(0, self.lasts())),
        };
        let row = self.times.partition_point(|time| *time <= within).saturating_sub(1);
        let next = (row + 1).min(last);
        let (from, to) = (self.times[row], self.times[next]);
        let way = if interpolate && to > from { (within - from, to - from) } else { (0, 1) };
        Played { recording: self, rounds, row, next, way }
    }
}

fn broken(error: &csv::Error) -> RecordingError {
    let line = error.position().map_or(0, csv::Position::line);
    RecordingError { line, column: String::new(), message: error.to_string() }
}

impl RecordingReader {
    fn new(headers: &csv::StringRecord) -> Result<Self, RecordingError> {
        let mut columns: Vec<Column> = Vec::new();
        let mut meanings = Vec::with_capacity(headers.len());
        for (index, header) in headers.iter().enumerate() {
            let header = header.trim();
            if headers.iter().take(index).any(|other| other.trim() == header) {
                let message = "this column is there twice".to_owned();
                return Err(RecordingError { line: 1, column: header.to_owned(), message });
            }
            let quantity = Quantity::ALL.iter().find(|quantity| quantity.sd_column() == header);
            meanings.push(match (header, quantity) {
                (_, Some(quantity)) => {
                    columns.push(Column { quantity: *quantity, places: 0, values: Vec::new() });
                    Meaning::Value(columns.len() - 1)
                }
                ("TIME", _) => Meaning::Time,
                ("MSTAT", _) => Meaning::Status,
                ("TARIFF", _) => Meaning::Tariff,
                ("MIDENT", _) => Meaning::LogicalName,
                ("MID", _) => Meaning::Id,
                ("MMODEL", _) => Meaning::Model,
                ("MIF", _) => Meaning::Interface,
                ("MPROT", _) => Meaning::Protocol,
                _ => Meaning::Nothing,
            });
        }
        if !meanings.iter().any(|meaning| matches!(meaning, Meaning::Time)) {
            let message = "there is no column TIME; expected the header that the device writes, as RID,TIME,MID,…".to_owned();
            return Err(RecordingError { line: 1, column: String::new(), message });
        }
        Ok(Self {
            recording: Recording {
                times: Vec::new(),
                tariffs: Vec::new(),
                columns,
                texts: MeterTexts::default(),
                interface: None,
                protocol: None,
            },
            headers: headers.iter().map(|header| header.trim().to_owned()).collect(),
            meanings,
            last: None,
            first: 0,
        })
    }

    fn row(&mut self, record: &csv::StringRecord, line: u64) -> Result<(), RecordingError> {
        let wrong = |column: &str, message: String| RecordingError {
            line,
            column: column.to_owned(),
            message,
        };
        if record.len() != self.headers.len() {
            let (has, expected) = (record.len(), self.headers.len());
            return Err(wrong("", format!("{has} fields; the header has {expected}")));
        }
        let silent = |(field, meaning): (&str, &Meaning)| {
            matches!(meaning, Meaning::Status) && field.trim() != "OK"
        };
        if record.iter().zip(&self.meanings).any(silent) {
            return Ok(());
        }
        if self.recording.times.len() == limits::RECORDING_ROWS {
            return Err(wrong("", format!("more than {} rows", limits::RECORDING_ROWS)));
        }
        // Until the row says otherwise.
        self.recording.tariffs.push(0);
        for (index, field) in record.iter().enumerate() {
            self.field(index, field.trim())
                .map_err(|message| wrong(&self.headers[index], message))?;
        }
        Ok(())
    }

    /// A field of the newest row.
    fn field(&mut self, index: usize, field: &str) -> Result<(), String> {
        let recording = &mut self.recording;
        match &self.meanings[index] {
            Meaning::Time => {
                let time = moment(field, self.last)?;
                if self.last.is_none() {
                    self.first = time;
                }
                self.last = Some(time);
                recording.times.push(time - self.first);
            }
            Meaning::Tariff if !field.is_empty() => {
                let tariff = field.parse().ok().filter(|tariff| *tariff <= 2);
                let tariff =
                    tariff.ok_or_else(|| format!("`{}`: expected 1 or 2", shown(field)))?;
                if let Some(newest) = recording.tariffs.last_mut() {
                    *newest = tariff;
                }
            }
            Meaning::Value(column) => recording.columns[*column].push(field)?,
            Meaning::LogicalName => note(&mut recording.texts.logical_name, field),
            Meaning::Id => note(&mut recording.texts.id, field),
            Meaning::Model => note(&mut recording.texts.model, field),
            Meaning::Interface => {
                let interfaces = [Interface::P1, Interface::Mbus, Interface::Ttl, Interface::Mep];
                let known = interfaces.into_iter().find(|known| known.as_str() == field);
                recording.interface = recording.interface.or(known);
            }
            Meaning::Protocol => {
                let protocols = [Protocol::Dsmr, Protocol::Dlms, Protocol::Kmp, Protocol::Mep];
                let known = protocols.into_iter().find(|known| known.as_str() == field);
                recording.protocol = recording.protocol.or(known);
            }
            Meaning::Status | Meaning::Tariff | Meaning::Nothing => {}
        }
        Ok(())
    }
}

/// The first one that a file says counts.
fn note(text: &mut Option<String>, field: &str) {
    if text.is_none() && !field.is_empty() && field.len() <= limits::METER_TEXT {
        *text = Some(field.to_owned());
    }
}

fn shown(field: &str) -> String {
    field.chars().take(40).collect()
}

/// The moment of a local time that ends in `Z`, in ms of UTC, after `last`. In the hour that comes
/// twice it is the first one that is later than that.
fn moment(field: &str, last: Option<i64>) -> Result<i64, String> {
    let local: DateTime = field
        .strip_suffix('Z')
        .and_then(|local| local.parse().ok())
        .ok_or_else(|| format!("`{}`: expected a time as 2025-10-07T20:21:11Z", shown(field)))?;
    let both = local_zone().to_ambiguous_timestamp(local);
    let moment = |resolved: Result<jiff::Timestamp, jiff::Error>| {
        resolved.map(jiff::Timestamp::as_millisecond).map_err(|error| error.to_string())
    };
    let earlier = moment(both.earlier())?;
    let Some(last) = last else { return Ok(earlier) };
    let later = moment(both.later())?;
    [earlier, later]
        .into_iter()
        .find(|time| *time > last)
        .ok_or_else(|| format!("{} is not later than the row before", shown(field)))
}

impl Column {
    /// Takes the next row's field, in the places of the finest one so far.
    fn push(&mut self, field: &str) -> Result<(), String> {
        if field.is_empty() {
            self.values.push(NOTHING);
            return Ok(());
        }
        let wrong = || format!("`{}`: expected a decimal number, as 75.133", shown(field));
        let (negative, digits) =
            field.strip_prefix('-').map_or((false, field), |digits| (true, digits));
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) {
            return Err(wrong());
        }
        let places =
            u8::try_from(fraction.len()).ok().filter(|places| *places <= Decimal::MAX_PLACES);
        let places = places.ok_or_else(|| {
            format!("`{}`: expected at most {} decimal places", shown(field), Decimal::MAX_PLACES)
        })?;
        let most = limits::RECORDED_NUMBER;
        let mantissa = format!("{whole}{fraction}").parse::<i64>().ok();
        let mantissa = mantissa.filter(|mantissa| *mantissa <= most * power(places));
        let mantissa = mantissa.ok_or_else(|| {
            format!("`{}`: expected a number from -{most} to {most}", shown(field))
        })?;
        if places > self.places {
            self.refine(places);
        }
        let scaled = mantissa * power(self.places - places);
        self.values.push(if negative { -scaled } else { scaled });
        Ok(())
    }

    /// More places from here on: with the most there are, what was read still fits.
    fn refine(&mut self, places: u8) {
        let scale = power(places - self.places);
        for value in self.values.iter_mut().filter(|value| **value != NOTHING) {
            *value *= scale;
        }
        self.places = places;
    }

    /// How much a round of a loop adds.
    fn gain(&self) -> i64 {
        let mut values = self.values.iter().filter(|value| **value != NOTHING);
        let first = values.next().copied().unwrap_or(0);
        values.next_back().copied().unwrap_or(first).saturating_sub(first).max(0)
    }
}

const fn power(places: u8) -> i64 {
    10_i64.pow(places as u32)
}

// The largest number with the most places, and two of them added or subtracted, fit.
const _: () = assert!(limits::RECORDED_NUMBER <= i64::MAX / 2 / power(Decimal::MAX_PLACES));

/// A moment of a recording: on the way from one row to the next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Played<'a> {
    recording: &'a Recording,
    /// Rounds of the loop that are over.
    rounds: i64,
    row: usize,
    next: usize,
    /// So much of so much of the way, in ms.
    way: (i64, i64),
}

impl Played<'_> {
    /// The tariff; none where it was not recorded.
    pub fn tariff(&self) -> Option<u8> {
        self.recording.tariffs.get(self.row).copied().filter(|tariff| *tariff > 0)
    }

    /// A quantity; none where it was not recorded.
    pub fn value(&self, quantity: Quantity) -> Option<Decimal> {
        if let Some([first, second]) = quantity.tariffs()
            && let Some(sum) = self.sum(quantity, first, second)
        {
            return Some(sum);
        }
        if let Some(other) = quantity.counterpart()
            && let (Some(own), Some(other)) = (self.column(quantity), self.column(other))
        {
            // Only one of the two directions is above zero, also on the way from one to the other;
            // both look at the same net, which counts import.
            let imports = own.quantity < other.quantity;
            let (import, export) = if imports { (own, other) } else { (other, own) };
            let net = self.net(import, export)?;
            return Some(Decimal::new(
                if imports { net } else { net.saturating_neg() }.max(0),
                own.places,
            ));
        }
        let column = self.column(quantity)?;
        Some(Decimal::new(self.between(column)?, column.places))
    }

    /// The total as the sum of its tariffs, where it is so in the rows.
    fn sum(&self, total: Quantity, first: Quantity, second: Quantity) -> Option<Decimal> {
        let columns = [self.column(total)?, self.column(first)?, self.column(second)?];
        let [total, first, second] = columns;
        let exact = |row: usize| {
            let [total, first, second] = columns.map(|column| column.values[row]);
            total != NOTHING && first.checked_add(second) == Some(total)
        };
        let ends = [0, self.row, self.next, self.recording.times.len() - 1];
        if !ends.into_iter().all(exact) {
            return None;
        }
        let sum = self.between(first)?.checked_add(self.between(second)?)?;
        Some(Decimal::new(sum, total.places))
    }

    /// Import less export; of a total the sum of its phases, where it is so in the rows.
    fn net(&self, import: &Column, export: &Column) -> Option<i64> {
        let (from, to) = self.net_of_rows(import, export)?;
        let whole = || self.nearest(from, to);
        if !matches!(import.quantity, Quantity::ImportPower | Quantity::ReactiveImportPower) {
            return Some(whole());
        }
        let phases = [1, 2, 3].map(|phase| {
            // In the table each total is followed by its phases.
            let import = self.column(Quantity::ALL[import.quantity.index() + phase])?;
            let export = self.column(import.quantity.counterpart()?)?;
            let (from, to) = self.net_of_rows(import, export)?;
            Some((from, to?))
        });
        let [Some(first), Some(second), Some(third)] = phases else { return Some(whole()) };
        let sum = |one: i64, two: i64, three: i64| one.checked_add(two)?.checked_add(three);
        if sum(first.0, second.0, third.0) != Some(from) || sum(first.1, second.1, third.1) != to {
            return Some(whole());
        }
        let [first, second, third] =
            [first, second, third].map(|(from, to)| self.nearest(from, Some(to)));
        Some(sum(first, second, third).unwrap_or_else(whole))
    }

    /// Import less export in the row, and in the next one where that says anything.
    fn net_of_rows(&self, import: &Column, export: &Column) -> Option<(i64, Option<i64>)> {
        let at = |row: usize| net(import.values[row], export.values[row]);
        Some((at(self.row)?, at(self.next)))
    }

    fn column(&self, quantity: Quantity) -> Option<&Column> {
        self.recording.columns.iter().find(|column| column.quantity == quantity)
    }

    /// A column between the two rows, and a counter with what the rounds before have added.
    fn between(&self, column: &Column) -> Option<i64> {
        let known = |row: usize| Some(column.values[row]).filter(|value| *value != NOTHING);
        let (from, to) = (known(self.row)?, known(self.next));
        if !column.quantity.is_counter() {
            return Some(self.nearest(from, to));
        }
        // A counter is cut, as a meter cuts it.
        let (value, of) = self.way(from, to);
        let value = i64::try_from(value.div_euclid(of)).unwrap_or(from);
        Some(value.saturating_add(column.gain().saturating_mul(self.rounds)))
    }

    /// On the way from one row to the next; halves go away from zero, so that import and export are
    /// rounded alike.
    fn nearest(&self, from: i64, to: Option<i64>) -> i64 {
        let (value, of) = self.way(from, to);
        i64::try_from((value + value.signum() * (of / 2)) / of).unwrap_or(from)
    }

    /// Where one is on the way from one row to the next, as so many parts and how many are one; at the
    /// first one where the next says nothing. It lies between the two.
    fn way(&self, from: i64, to: Option<i64>) -> (i128, i128) {
        let (done, of) = (i128::from(self.way.0), i128::from(self.way.1));
        let whole = i128::from(to.unwrap_or(from)) - i128::from(from);
        (i128::from(from) * of + whole * done, of)
    }
}

/// Import less export of a row.
fn net(import: i64, export: i64) -> Option<i64> {
    if import == NOTHING || export == NOTHING { None } else { import.checked_sub(export) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEAD: &str = "RID,TIME,MSTAT,TARIFF,EAP_T,EAP_T1,EAP_T2,IPAP_T,IPAN_T,V_L1,NEW,MPROT";

    fn text(rows: &[&str]) -> String {
        format!("{HEAD}\n{}\n", rows.join("\n"))
    }

    fn three_rows() -> Recording {
        Recording::parse(&text(&[
            r#"1,"2026-06-10T11:00:00Z","OK",1,10.5,10.25,0.25,0.4,0,233,x,"KMP""#,
            r#"5,"2026-06-10T11:00:10Z","OK",1,10.501,10.251,0.25,0,0.2,234,x,"KMP""#,
            r#"9,"2026-06-10T11:00:20Z","OK",2,11,10.5,0.5,0,1,235.5,,"KMP""#,
        ]))
        .unwrap()
    }

    fn values(played: Played<'_>) -> [String; 5] {
        use Quantity as Q;
        [
            Q::ActiveImportEnergy,
            Q::ActiveImportEnergyT1,
            Q::ImportPower,
            Q::ExportPower,
            Q::VoltageL1,
        ]
        .map(|quantity| played.value(quantity).unwrap().to_string())
    }

    #[test]
    fn rows_stand_where_they_were_and_values_lie_between_them() {
        let recording = three_rows();
        assert_eq!((recording.kind(), recording.lasts()), (Some(MeterKind::Kamstrup), 20_000));
        let at = |ms| values(recording.at(ms, ReplayMode::Loop, true));
        assert_eq!(at(0), ["10.5", "10.25", "0.4", "0", "233"]);
        assert_eq!(at(5000), ["10.5", "10.25", "0.1", "0", "233.5"]);
        assert_eq!(at(7500), ["10.5", "10.25", "0", "0.1", "233.8"]);
        assert_eq!(at(10_000), ["10.501", "10.251", "0", "0.2", "234"]);
        assert_eq!(at(15_000), ["10.75", "10.375", "0", "0.6", "234.8"]);
        let held = |ms| values(recording.at(ms, ReplayMode::Loop, false));
        assert_eq!(held(9999), at(0));
    }

    const POWERS: &str = "TIME,IPAP_T,IPAN_T,IPAP_L1,IPAN_L1,IPAP_L2,IPAN_L2,IPAP_L3,IPAN_L3";

    /// What is shown of power: total and phases, import less export.
    fn nets(played: Played<'_>) -> [i64; 4] {
        use Quantity as Q;
        [
            (Q::ImportPower, Q::ExportPower),
            (Q::ImportPowerL1, Q::ExportPowerL1),
            (Q::ImportPowerL2, Q::ExportPowerL2),
            (Q::ImportPowerL3, Q::ExportPowerL3),
        ]
        .map(|(import, export)| {
            let [import, export] = [import, export].map(|one| played.value(one).unwrap());
            assert!(import.mantissa() == 0 || export.mantissa() == 0);
            import.mantissa() - export.mantissa()
        })
    }

    proptest! {
        #[test]
        fn both_directions_are_rounded_alike_and_phases_sum_up(
            rows in prop::collection::vec(prop::array::uniform3(-9_i64..10), 2),
            ms in 0..10_000_i64,
            interpolate: bool,
        ) {
            let recording = |sign: i64| {
                let row = |(second, phases): (usize, &[i64; 3])| {
                    let total: i64 = phases.iter().sum();
                    let fields = [total, phases[0], phases[1], phases[2]].map(|net| {
                        let net = net * sign;
                        format!("{},{}", net.max(0), (-net).max(0))
                    });
                    format!("2026-06-10T11:00:{second}0Z,{}\n", fields.join(","))
                };
                let rows: String = rows.iter().enumerate().map(row).collect();
                Recording::parse(&format!("{POWERS}\n{rows}")).unwrap()
            };
            let [import, export] = [1, -1].map(|sign| {
                nets(recording(sign).at(ms, ReplayMode::End, interpolate))
            });
            prop_assert_eq!(import, export.map(|net| -net));
            prop_assert_eq!(import[0], import[1] + import[2] + import[3]);
            for (phase, net) in import[1..].iter().enumerate() {
                let (from, to) = (rows[0][phase], rows[1][phase]);
                prop_assert!((from.min(to)..=from.max(to)).contains(net));
            }
        }
    }

    #[test]
    fn the_largest_powers_there_are_have_both_directions() {
        for (import, export, shown) in [
            ("-0.000000001", "1000000000", ["0", "1000000000.000000001"]),
            ("1000000000.000000000", "-1000000000", ["2000000000", "0"]),
            ("1000000000", "1000000000.000000000", ["0", "0"]),
        ] {
            let rows = ["11:00:00", "11:00:10"]
                .map(|time| format!("2026-06-10T{time}Z,{import},{export}"))
                .join("\n");
            let recording = Recording::parse(&format!("TIME,IPAP_T,IPAN_T\n{rows}\n")).unwrap();
            let played = recording.at(5000, ReplayMode::Loop, true);
            let values = [Quantity::ImportPower, Quantity::ExportPower]
                .map(|quantity| played.value(quantity).unwrap().to_string());
            assert_eq!(values, shown);
        }
    }

    #[test]
    fn a_loop_goes_on_counting_and_an_end_stands_still() {
        let recording = three_rows();
        let at = |ms| values(recording.at(ms, ReplayMode::Loop, true));
        // The last row has its ten seconds, too.
        assert_eq!(at(29_999), ["11", "10.5", "0", "1", "235.5"]);
        assert_eq!(at(30_000), ["11", "10.5", "0.4", "0", "233"]);
        assert_eq!(at(3 * 30_000 + 10_000), ["12.001", "11.001", "0", "0.2", "234"]);
        let end = recording.at(1_000_000, ReplayMode::End, true);
        assert_eq!(values(end), at(20_000));
        assert_eq!(end.tariff(), Some(2));
    }

    #[test]
    fn the_hour_that_comes_twice_is_told_apart_by_order() {
        let row = |time: &str, energy: u32| format!("1,{time},OK,1,{energy},,,0,0,230,,");
        let rows: Vec<String> =
            ["2026-10-25T02:59:50Z", "2026-10-25T02:00:00Z", "2026-10-25T03:00:00Z"]
                .into_iter()
                .zip(0..)
                .map(|(time, n)| row(time, n))
                .collect();
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        let recording = Recording::parse(&text(&rows)).unwrap();
        assert_eq!(recording.times, [0, 10_000, 3_610_000]);
    }

    #[test]
    fn the_devices_own_sample_is_read() {
        let recording = Recording::parse(&text(&[
            r#"3093,"2025-10-07T20:21:11Z","OK",2,75.133,,,0,0,234,,"DLMS""#,
            r#"3094,"2025-10-07T20:21:18Z","NO DATA",2,,,,,,,,"DLMS""#,
            r#"3096,"2025-10-07T20:21:31Z","OK",2,75.133,,,0,0,235,,"DLMS""#,
        ]))
        .unwrap();
        assert_eq!((recording.kind(), recording.lasts()), (Some(MeterKind::LandisGyr), 20_000));
        let quantities: Vec<Quantity> = recording.quantities().collect();
        assert!(!quantities.contains(&Quantity::ActiveImportEnergyT1), "it is empty throughout");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line_and_column() {
        let good = "1,2026-06-10T11:00:00Z,OK,1,1,,,0,0,230,,";
        let message = |rows: &[&str]| Recording::parse(&text(rows)).unwrap_err().to_string();
        for (row, expected) in [
            (
                "1,2026-06-10T11:00:10Z,OK,1,x,,,0,0,230,,",
                "line 3: column EAP_T: `x`: expected a decimal number, as 75.133",
            ),
            (
                "1,2026-06-10T11:00:10,OK,1,1,,,0,0,230,,",
                "line 3: column TIME: `2026-06-10T11:00:10`: expected a time as 2025-10-07T20:21:11Z",
            ),
            (
                "1,2026-06-10T11:00:00Z,OK,1,1,,,0,0,230,,",
                "line 3: column TIME: 2026-06-10T11:00:00Z is not later than the row before",
            ),
            (
                "1,2026-06-10T11:00:10Z,OK,7,1,,,0,0,230,,",
                "line 3: column TARIFF: `7`: expected 1 or 2",
            ),
            (
                "1,2026-06-10T11:00:10Z,OK,1,1,,,0,0,1e3,,",
                "line 3: column V_L1: `1e3`: expected a decimal number, as 75.133",
            ),
            (
                "1,2026-06-10T11:00:10Z,OK,1,99999999999999999999,,,0,0,1,,",
                "line 3: column EAP_T: `99999999999999999999`: expected a number from -1000000000 to 1000000000",
            ),
            (
                "1,2026-06-10T11:00:10Z,OK,1,1,,,-1000000000.001,0,1,,",
                "line 3: column IPAP_T: `-1000000000.001`: expected a number from -1000000000 to 1000000000",
            ),
            ("1,2026-06-10T11:00:10Z,OK", "line 3: 3 fields; the header has 12"),
        ] {
            assert_eq!(message(&[good, row]), expected);
        }
        assert!(message(&[good]).starts_with("1 rows with MSTAT OK"));
        let parse = |text: &str| Recording::parse(text).unwrap_err().to_string();
        assert!(parse("A,B\n1,2\n").starts_with("line 1: there is no column TIME"));
        assert_eq!(parse("TIME,EAP_T,EAP_T\n"), "line 1: column EAP_T: this column is there twice");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(RID|TIME|MSTAT|EAP_T|IPAP_T|[,\"\n0-9.TZ:-]|2026-06-10T11:00:0|OK){0,200}") {
            let _ = Recording::parse(&text);
        }

        #[test]
        fn counters_never_fall_and_tariffs_sum_up(
            ms in prop::collection::vec(0..200_000_i64, 2..40),
            interpolate: bool,
        ) {
            let recording = three_rows();
            let mut ms = ms;
            ms.sort_unstable();
            let mut last = 0;
            for ms in ms {
                let played = recording.at(ms, ReplayMode::Loop, interpolate);
                let value = |quantity| played.value(quantity).unwrap().mantissa();
                let total = value(Quantity::ActiveImportEnergy);
                prop_assert!(total >= last);
                prop_assert_eq!(total, value(Quantity::ActiveImportEnergyT1) + value(Quantity::ActiveImportEnergyT2));
                prop_assert!(value(Quantity::ImportPower) == 0 || value(Quantity::ExportPower) == 0);
                last = total;
            }
        }
    }
}
