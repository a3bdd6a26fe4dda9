//! `wwsim trace`: prints the signal of a house's meter, without starting the house.
//!
//! Rows are written as they are computed, so that a long trace takes no more memory than a short one.

use std::io::{self, BufWriter, Write};
use std::time::Duration;

use jiff::Timestamp;

use super::args::{TraceArguments, TraceFormat};
use super::error::{CliError, ExitStatus};
use super::load::load;
use super::output::{Patient, ended};
use crate::clock::{self, VirtualTime};
use crate::decimal::Decimal;
use crate::meter::{Meter, Quantity};
use crate::scenario::{self, Scenario};
use crate::zone;

/// The columns before those of the quantities.
const TIME_COLUMNS: [&str; 4] = ["time", "local", "t", "tariff"];

/// An error in the arguments of `trace`.
#[derive(Debug, thiserror::Error)]
pub(super) enum TraceError {
    #[error("the house has no device {id}; it has {ids}")]
    UnknownDevice { id: String, ids: String },
    #[error("--every 0 never ends; expected a time, as 15m")]
    ZeroStep,
    #[error(
        "--from {0}: expected a moment, as 2026-01-15T18:00:00+01:00, or a time after the start, as 6h"
    )]
    InvalidStart(String),
    #[error(
        "--from {from} lies before the house starts, at {start}; set `clock: {{start: …}}` in the scenario"
    )]
    BeforeStart { from: String, start: Timestamp },
}

/// Runs the command.
pub(super) fn trace(arguments: &TraceArguments) -> Result<ExitStatus, CliError> {
    let scenario = load(&arguments.scenario)?;
    let trace = Trace::new(&scenario, arguments)?;
    let out = BufWriter::new(Patient(io::stdout().lock()));
    ended(trace.write(out, arguments.format))?;
    Ok(ExitStatus::Success)
}

struct Trace {
    meter: Meter,
    start: Timestamp,
    from: VirtualTime,
    end: VirtualTime,
    every: Duration,
}

impl Trace {
    fn new(scenario: &Scenario, arguments: &TraceArguments) -> Result<Self, TraceError> {
        let TraceArguments { device, from, duration, every, .. } = arguments;
        let plan = match device {
            None => scenario.devices.first(),
            Some(id) => scenario
                .devices
                .iter()
                .find(|plan| plan.identity.id.as_str().eq_ignore_ascii_case(id)),
        };
        let plan = plan.ok_or_else(|| {
            let ids: Vec<&str> =
                scenario.devices.iter().map(|plan| plan.identity.id.as_str()).collect();
            TraceError::UnknownDevice {
                id: device.clone().unwrap_or_else(|| "at all".to_owned()),
                ids: ids.iter().take(10).copied().collect::<Vec<_>>().join(", "),
            }
        })?;
        if every.is_zero() {
            return Err(TraceError::ZeroStep);
        }
        let start = scenario.start.unwrap_or_else(clock::real_time);
        let from = parse_start(from, start)?;
        let id = plan.identity.id.as_str();
        Ok(Self {
            meter: Meter::new(&plan.meter, scenario.seed, id, start),
            start,
            from,
            end: from.after(*duration),
            every: *every,
        })
    }

    fn write(&self, mut out: impl Write, format: TraceFormat) -> io::Result<()> {
        match format {
            TraceFormat::Csv => {
                let columns =
                    TIME_COLUMNS.into_iter().chain(Quantity::ALL.iter().map(|q| q.sd_column()));
                writeln!(out, "{}", columns.collect::<Vec<_>>().join(","))?;
            }
            TraceFormat::Json => write!(out, "[")?,
        }
        let mut at = self.from;
        let mut first = true;
        while at < self.end {
            match format {
                TraceFormat::Csv => self.csv(&mut out, at)?,
                TraceFormat::Json => {
                    out.write_all(if first { b"\n" } else { b",\n" })?;
                    self.json(&mut out, at)?;
                }
            }
            first = false;
            at = at.after(self.every);
        }
        if format == TraceFormat::Json {
            writeln!(out, "\n]")?;
        }
        out.flush()
    }

    fn csv(&self, out: &mut impl Write, at: VirtualTime) -> io::Result<()> {
        let [time, local, t] = self.times(at);
        let (tariff, values) = self.meter.trace(at);
        let tariff = tariff.map_or_else(String::new, |tariff| tariff.to_string());
        write!(out, "{time},{local},{t},{tariff}")?;
        for value in values {
            match value {
                Some(value) => write!(out, ",{value}")?,
                None => write!(out, ",")?,
            }
        }
        writeln!(out)
    }

    fn json(&self, out: &mut impl Write, at: VirtualTime) -> io::Result<()> {
        let [time, local, t] = self.times(at);
        let (tariff, values) = self.meter.trace(at);
        let tariff = tariff.map_or_else(|| "null".to_owned(), |tariff| tariff.to_string());
        write!(out, r#"{{"time":"{time}","local":"{local}","t":{t},"tariff":{tariff}"#)?;
        for (quantity, value) in Quantity::ALL.iter().zip(values) {
            let value = value.map_or_else(|| "null".to_owned(), |value| value.to_string());
            write!(out, r#","{}":{value}"#, quantity.sd_column())?;
        }
        write!(out, "}}")
    }

    /// Returns the time in UTC, the local time with its offset, and the seconds since the start.
    fn times(&self, at: VirtualTime) -> [String; 3] {
        let since =
            jiff::SignedDuration::try_from(at.since_start()).unwrap_or(jiff::SignedDuration::MAX);
        let time = self.start.saturating_add(since).unwrap_or(Timestamp::MAX);
        let local = time.display_with_offset(zone::local_zone().to_offset(time)).to_string();
        let millis = i64::try_from(at.since_start().as_millis()).unwrap_or(i64::MAX);
        [time.to_string(), local, Decimal::new(millis, 3).to_string()]
    }
}

/// Parses a civil time, or a duration since the start.
fn parse_start(from: &str, start: Timestamp) -> Result<VirtualTime, TraceError> {
    if let Ok(since_start) = scenario::parse_duration(from) {
        return Ok(VirtualTime::ZERO.after(since_start));
    }
    let time: Timestamp = from.parse().map_err(|_| TraceError::InvalidStart(from.to_owned()))?;
    let since_start = Duration::try_from(time.duration_since(start))
        .map_err(|_| TraceError::BeforeStart { from: from.to_owned(), start })?;
    Ok(VirtualTime::ZERO.after(since_start))
}
