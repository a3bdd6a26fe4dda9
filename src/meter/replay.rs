//! A recording of the device's SD card, which drives a meter in place of the model.
//!
//! The columns are those of `sd_csv_columns.csv`, by their names: `TIME` has to be there, others that
//! are known count, and what is not known is left alone. `TIME` is local time although it ends in `Z`
//! (device contract §9). Only the time between rows matters: the first row is the scenario's start.

use std::fmt;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::{Interface, Kind, MeterTexts, Protocol, Quantity};
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
struct Reader {
    recording: Recording,
    headers: Vec<String>,
    meanings: Vec<Meaning>,
    zone: TimeZone,
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
        let mut reader = Reader::new(headers)?;
        for record in csv.records() {
            let record = record.map_err(|error| broken(&error))?;
            let line = record.position().map_or(0, csv::Position::line);
            reader.row(&record, line)?;
        }
        let Reader { mut recording, .. } = reader;
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
        Ok(recording)
    }

    /// The kind of meter that it is a recording of, where it says so.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| {
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

    /// The quantities it has, in the order of the file.
    pub fn quantities(&self) -> impl Iterator<Item = Quantity> {
        self.columns.iter().map(|column| column.quantity)
    }

    /// What was measured so many ms after its start. In a loop it never ends; else the last row
    /// stands from there on.
    pub(super) fn at(&self, ms: i64, mode: ReplayMode, interpolate: bool) -> Played<'_> {
        let last = self.times.len() - 1;
        let pause = self.times[last] - self.times[last - 1];
        let round = self.lasts().saturating_add(pause).max(1);
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

impl Reader {
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
            zone: TimeZone::get(limits::ZONE).unwrap_or(TimeZone::UTC),
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
        let mut tariff = 0;
        for (index, field) in record.iter().enumerate() {
            let (field, header) = (field.trim(), &self.headers[index]);
            match &self.meanings[index] {
                Meaning::Time => {
                    let time = moment(field, &self.zone, self.last)
                        .map_err(|message| wrong(header, message))?;
                    if self.last.is_none() {
                        self.first = time;
                    }
                    self.last = Some(time);
                    self.recording.times.push(time - self.first);
                }
                Meaning::Tariff if !field.is_empty() => {
                    tariff = field.parse().ok().filter(|tariff| *tariff <= 2).ok_or_else(|| {
                        wrong(header, format!("`{}`: expected 1 or 2", shown(field)))
                    })?;
                }
                Meaning::Value(column) => {
                    let column = &mut self.recording.columns[*column];
                    column.push(field).map_err(|message| wrong(header, message))?;
                }
                Meaning::LogicalName => note(&mut self.recording.texts.logical_name, field),
                Meaning::Id => note(&mut self.recording.texts.id, field),
                Meaning::Model => note(&mut self.recording.texts.model, field),
                Meaning::Interface => {
                    let interfaces =
                        [Interface::P1, Interface::Mbus, Interface::Ttl, Interface::Mep];
                    let known = interfaces.into_iter().find(|known| known.as_str() == field);
                    self.recording.interface = self.recording.interface.or(known);
                }
                Meaning::Protocol => {
                    let protocols = [Protocol::Dsmr, Protocol::Dlms, Protocol::Kmp, Protocol::Mep];
                    let known = protocols.into_iter().find(|known| known.as_str() == field);
                    self.recording.protocol = self.recording.protocol.or(known);
                }
                Meaning::Status | Meaning::Tariff | Meaning::Nothing => {}
            }
        }
        self.recording.tariffs.push(tariff);
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
fn moment(field: &str, zone: &TimeZone, last: Option<i64>) -> Result<i64, String> {
    let local: DateTime = field
        .strip_suffix('Z')
        .and_then(|local| local.parse().ok())
        .ok_or_else(|| format!("`{}`: expected a time as 2025-10-07T20:21:11Z", shown(field)))?;
    let both = zone.to_ambiguous_timestamp(local);
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
        let places = u8::try_from(fraction.len()).ok().filter(|places| *places <= Decimal::PLACES);
        let places = places.ok_or_else(|| {
            format!("`{}`: expected at most {} decimal places", shown(field), Decimal::PLACES)
        })?;
        if places > self.places {
            self.refine(places).ok_or_else(wrong)?;
        }
        let mantissa: i64 = format!("{whole}{fraction}").parse().map_err(|_| wrong())?;
        let scaled = mantissa.checked_mul(power(self.places - places)).ok_or_else(wrong)?;
        self.values.push(if negative { -scaled } else { scaled });
        Ok(())
    }

    /// More places from here on; none where what was read does not fit then.
    fn refine(&mut self, places: u8) -> Option<()> {
        let scale = power(places - self.places);
        for value in self.values.iter_mut().filter(|value| **value != NOTHING) {
            *value = value.checked_mul(scale)?;
        }
        self.places = places;
        Some(())
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
            && own.places == other.places
        {
            // Only one of the two directions is above zero, also on the way from one to the other.
            let net = self.between(own)?.saturating_sub(self.between(other)?);
            return Some(Decimal::new(net.max(0), own.places));
        }
        let column = self.column(quantity)?;
        Some(Decimal::new(self.between(column)?, column.places))
    }

    /// The total as the sum of its tariffs, where it is so in the rows.
    fn sum(&self, total: Quantity, first: Quantity, second: Quantity) -> Option<Decimal> {
        let columns = [self.column(total)?, self.column(first)?, self.column(second)?];
        let [total, first, second] = columns;
        let same = total.places == first.places && total.places == second.places;
        let exact = |row: usize| {
            let [total, first, second] = columns.map(|column| column.values[row]);
            total != NOTHING && first.checked_add(second) == Some(total)
        };
        let ends = [0, self.row, self.next, self.recording.times.len() - 1];
        if !same || !ends.into_iter().all(exact) {
            return None;
        }
        let sum = self.between(first)?.checked_add(self.between(second)?)?;
        Some(Decimal::new(sum, total.places))
    }

    fn column(&self, quantity: Quantity) -> Option<&Column> {
        self.recording.columns.iter().find(|column| column.quantity == quantity)
    }

    /// Between the two rows, rounded down, and a counter with what the rounds before have added.
    fn between(&self, column: &Column) -> Option<i64> {
        let (from, to) = (column.values[self.row], column.values[self.next]);
        if from == NOTHING {
            return None;
        }
        let to = if to == NOTHING { from } else { to };
        let (done, of) = (i128::from(self.way.0), i128::from(self.way.1));
        let gone = (i128::from(to) - i128::from(from)) * done;
        let value = i128::from(from) + gone.div_euclid(of);
        let added = if column.quantity.is_counter() {
            i128::from(column.gain()) * i128::from(self.rounds)
        } else {
            0
        };
        i64::try_from(value + added).ok()
    }
}
