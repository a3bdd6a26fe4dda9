//! The parser of recordings.
//!
//! The columns are those of `sd_csv_columns.csv`, by name. `TIME` is required, other known columns count,
//! and unknown ones are ignored. `TIME` is local time although it ends in `Z` (`docs/device/sd-card.md`).

use std::collections::HashSet;
use std::fmt;

use jiff::Timestamp;
use jiff::civil::DateTime;
use thiserror::Error;

use super::{Column, NO_VALUE, Recording, power_of_ten};
use crate::decimal::Decimal;
use crate::limits;
use crate::meter::{Interface, MeterTexts, Protocol, Quantity};
use crate::notation::first_chars;
use crate::zone::local_zone;

/// Characters of a field that an error message shows.
const SHOWN_CHARS: usize = 40;

/// The first mistake of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordingError {
    /// The line, counted from 1; 0 if the mistake is in the file as a whole.
    pub line: u64,
    /// The name of the column; empty if the mistake is in the line as a whole.
    pub column: String,
    /// The mistake.
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

impl RecordingError {
    fn file(message: String) -> Self {
        Self { line: 0, column: String::new(), message }
    }

    fn header(column: &str, message: &str) -> Self {
        Self { line: 1, column: column.to_owned(), message: message.to_owned() }
    }
}

impl From<csv::Error> for RecordingError {
    fn from(error: csv::Error) -> Self {
        let line = error.position().map_or(0, csv::Position::line);
        Self { line, column: String::new(), message: error.to_string() }
    }
}

/// The mistake of one field. Each variant has the field, shortened.
#[derive(Debug, Error)]
enum FieldError {
    #[error("`{0}`: expected a time as 2025-10-07T20:21:11Z")]
    Time(String),
    #[error("{0} is not later than the row before")]
    Order(String),
    #[error(transparent)]
    Timestamp(#[from] jiff::Error),
    #[error("`{0}`: expected 1 or 2")]
    Tariff(String),
    #[error("`{0}`: expected a decimal number, as 75.133")]
    Number(String),
    #[error("`{0}`: expected at most {max} decimal places", max = Decimal::MAX_PLACES)]
    Places(String),
    #[error("`{0}`: expected a number from -{max} to {max}", max = limits::RECORDED_NUMBER)]
    Range(String),
}

/// The meaning of a column.
enum ColumnKind {
    Time,
    Status,
    Tariff,
    /// The values of the column at this index of the recording.
    Value(usize),
    LogicalName,
    Id,
    Model,
    Interface,
    Protocol,
    Ignored,
}

/// A parser that has read a header and some rows.
struct RecordingParser {
    recording: Recording,
    headers: Vec<String>,
    kinds: Vec<ColumnKind>,
    /// The times of the first and of the newest row, in ms since 1970.
    first: i64,
    newest: Option<i64>,
}

impl Recording {
    /// Parses the text of a CSV file. Rows in which the status of the meter is not `OK` are gaps.
    ///
    /// # Errors
    /// The first mistake, with its line and column.
    pub fn parse(text: &str) -> Result<Self, RecordingError> {
        if text.len() > limits::RECORDING_BYTES {
            let max = limits::RECORDING_BYTES;
            let message = format!("{} bytes; a recording may have {max}", text.len());
            return Err(RecordingError::file(message));
        }
        let text = text.trim_start_matches('\u{feff}');
        let mut csv = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
        let mut parser = RecordingParser::new(csv.headers()?)?;
        for record in csv.records() {
            let record = record?;
            let line = record.position().map_or(0, csv::Position::line);
            parser.parse_row(&record, line)?;
        }
        parser.finish()
    }

    /// Gives all columns of one unit the same number of decimal places, so that sums and differences are
    /// exact.
    fn align_places(&mut self) {
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
            column.raise_places(places);
        }
    }
}

impl RecordingParser {
    fn new(headers: &csv::StringRecord) -> Result<Self, RecordingError> {
        let mut columns: Vec<Column> = Vec::new();
        let mut kinds = Vec::with_capacity(headers.len());
        let mut names = HashSet::with_capacity(headers.len());
        for header in headers {
            let header = header.trim();
            if !names.insert(header) {
                return Err(RecordingError::header(header, "this column is there twice"));
            }
            kinds.push(column_kind(header, &mut columns));
        }
        if !kinds.iter().any(|kind| matches!(kind, ColumnKind::Time)) {
            return Err(RecordingError::header(
                "",
                "there is no column TIME; expected the header that the device writes, as RID,TIME,MID,…",
            ));
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
            kinds,
            first: 0,
            newest: None,
        })
    }

    fn parse_row(&mut self, record: &csv::StringRecord, line: u64) -> Result<(), RecordingError> {
        let error = |column: &str, message: String| RecordingError {
            line,
            column: column.to_owned(),
            message,
        };
        if record.len() != self.headers.len() {
            let (fields, expected) = (record.len(), self.headers.len());
            return Err(error("", format!("{fields} fields; the header has {expected}")));
        }
        let is_gap = |(field, kind): (&str, &ColumnKind)| {
            matches!(kind, ColumnKind::Status) && field.trim() != "OK"
        };
        if record.iter().zip(&self.kinds).any(is_gap) {
            return Ok(());
        }
        if self.recording.times.len() == limits::RECORDING_ROWS {
            return Err(error("", format!("more than {} rows", limits::RECORDING_ROWS)));
        }
        // No tariff unless a field of the row has one.
        self.recording.tariffs.push(0);
        for (index, field) in record.iter().enumerate() {
            self.parse_field(index, field.trim())
                .map_err(|mistake| error(&self.headers[index], mistake.to_string()))?;
        }
        Ok(())
    }

    /// Parses a field of the newest row.
    fn parse_field(&mut self, index: usize, field: &str) -> Result<(), FieldError> {
        let recording = &mut self.recording;
        match &self.kinds[index] {
            ColumnKind::Time => {
                let time = parse_time(field, self.newest)?;
                if self.newest.is_none() {
                    self.first = time;
                }
                self.newest = Some(time);
                recording.times.push(time - self.first);
            }
            ColumnKind::Tariff if !field.is_empty() => {
                let tariff = field.parse().ok().filter(|tariff| *tariff <= 2);
                let tariff = tariff.ok_or_else(|| FieldError::Tariff(shortened(field)))?;
                if let Some(newest) = recording.tariffs.last_mut() {
                    *newest = tariff;
                }
            }
            ColumnKind::Value(column) => recording.columns[*column].push(field)?,
            ColumnKind::LogicalName => set_first(&mut recording.texts.logical_name, field),
            ColumnKind::Id => set_first(&mut recording.texts.id, field),
            ColumnKind::Model => set_first(&mut recording.texts.model, field),
            ColumnKind::Interface => {
                let interfaces = [Interface::P1, Interface::Mbus, Interface::Ttl, Interface::Mep];
                let found = interfaces.into_iter().find(|interface| interface.as_str() == field);
                recording.interface = recording.interface.or(found);
            }
            ColumnKind::Protocol => {
                let protocols = [Protocol::Dsmr, Protocol::Dlms, Protocol::Kmp, Protocol::Mep];
                let found = protocols.into_iter().find(|protocol| protocol.as_str() == field);
                recording.protocol = recording.protocol.or(found);
            }
            ColumnKind::Status | ColumnKind::Tariff | ColumnKind::Ignored => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<Recording, RecordingError> {
        let mut recording = self.recording;
        if recording.times.len() < 2 {
            return Err(RecordingError::file(format!(
                "{} rows with MSTAT OK; a recording needs two, to know how time passes",
                recording.times.len()
            )));
        }
        recording.columns.retain(|column| column.values.iter().any(|value| *value != NO_VALUE));
        if recording.columns.is_empty() {
            return Err(RecordingError::file("no column with a number in it".to_owned()));
        }
        recording.align_places();
        Ok(recording)
    }
}

/// Returns the meaning of a header, and adds the column of a quantity to `columns`.
fn column_kind(header: &str, columns: &mut Vec<Column>) -> ColumnKind {
    if let Some(quantity) = Quantity::ALL.iter().find(|quantity| quantity.sd_column() == header) {
        columns.push(Column { quantity: *quantity, places: 0, values: Vec::new() });
        return ColumnKind::Value(columns.len() - 1);
    }
    match header {
        "TIME" => ColumnKind::Time,
        "MSTAT" => ColumnKind::Status,
        "TARIFF" => ColumnKind::Tariff,
        "MIDENT" => ColumnKind::LogicalName,
        "MID" => ColumnKind::Id,
        "MMODEL" => ColumnKind::Model,
        "MIF" => ColumnKind::Interface,
        "MPROT" => ColumnKind::Protocol,
        _ => ColumnKind::Ignored,
    }
}

/// Sets a text to the first field of its column that is neither empty nor too long.
fn set_first(text: &mut Option<String>, field: &str) {
    if text.is_none() && !field.is_empty() && field.len() <= limits::METER_TEXT {
        *text = Some(field.to_owned());
    }
}

fn shortened(field: &str) -> String {
    first_chars(field, SHOWN_CHARS).to_owned()
}

/// Parses a local time that ends in `Z`, and returns it in ms since 1970. In the hour that occurs twice, it
/// is the first time that is later than `newest`.
fn parse_time(field: &str, newest: Option<i64>) -> Result<i64, FieldError> {
    let local: DateTime = field
        .strip_suffix('Z')
        .and_then(|local| local.parse().ok())
        .ok_or_else(|| FieldError::Time(shortened(field)))?;
    let ambiguous = local_zone().to_ambiguous_timestamp(local);
    let earlier = ambiguous.earlier().map(Timestamp::as_millisecond)?;
    let Some(newest) = newest else { return Ok(earlier) };
    let later = ambiguous.later().map(Timestamp::as_millisecond)?;
    [earlier, later]
        .into_iter()
        .find(|time| *time > newest)
        .ok_or_else(|| FieldError::Order(shortened(field)))
}

impl Column {
    /// Appends the field of the next row. The column has the most decimal places of its fields so far.
    fn push(&mut self, field: &str) -> Result<(), FieldError> {
        if field.is_empty() {
            self.values.push(NO_VALUE);
            return Ok(());
        }
        let (negative, digits) =
            field.strip_prefix('-').map_or((false, field), |digits| (true, digits));
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) {
            return Err(FieldError::Number(shortened(field)));
        }
        let places =
            u8::try_from(fraction.len()).ok().filter(|places| *places <= Decimal::MAX_PLACES);
        let places = places.ok_or_else(|| FieldError::Places(shortened(field)))?;
        let max = limits::RECORDED_NUMBER * power_of_ten(places);
        let mantissa = format!("{whole}{fraction}").parse::<i64>().ok();
        let mantissa = mantissa
            .filter(|mantissa| *mantissa <= max)
            .ok_or_else(|| FieldError::Range(shortened(field)))?;
        if places > self.places {
            self.raise_places(places);
        }
        let scaled = mantissa * power_of_ten(self.places - places);
        self.values.push(if negative { -scaled } else { scaled });
        Ok(())
    }
}
