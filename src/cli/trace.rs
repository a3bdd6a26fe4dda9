//! `wwsim trace`: what a house's meter would measure, without a server.
//!
//! Rows are written as they are computed, so that a long trace takes no more memory than a short one.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::time::Duration;

use jiff::Timestamp;

use super::CliOutcome;
use super::args::{TraceArguments, TraceFormat};
use super::load::{self, Unloadable};
use crate::clock::{self, VirtualTime};
use crate::decimal::Decimal;
use crate::meter::{Meter, Quantity};
use crate::scenario::Scenario;

/// The columns before those of the quantities.
const TIMES: [&str; 4] = ["time", "local", "t", "tariff"];

/// The command.
pub(super) fn trace(arguments: &TraceArguments) -> CliOutcome {
    let scenario = match load::load(&arguments.scenario) {
        Ok(scenario) => scenario,
        Err(Unloadable::Wrong(diagnostics)) => {
            eprint!("{}", diagnostics.human(io::stderr().is_terminal()));
            return CliOutcome::Invalid;
        }
        Err(Unloadable::Unreadable(message)) => {
            eprintln!("wwsim: {message}");
            return CliOutcome::Usage;
        }
    };
    let trace = match Trace::of(&scenario, arguments) {
        Ok(trace) => trace,
        Err(message) => {
            eprintln!("wwsim: {message}");
            return CliOutcome::Usage;
        }
    };
    match trace.write(BufWriter::new(io::stdout().lock()), arguments.format) {
        // A reader that has seen enough is no mistake of ours.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("wwsim: cannot write to standard output: {error}");
            CliOutcome::Usage
        }
        _ => CliOutcome::Done,
    }
}

struct Trace {
    meter: Meter,
    start: Timestamp,
    from: VirtualTime,
    end: VirtualTime,
    every: Duration,
}

impl Trace {
    fn of(scenario: &Scenario, arguments: &TraceArguments) -> Result<Self, String> {
        let TraceArguments { device, from, lasts, every, .. } = arguments;
        let device = match device {
            None => scenario.devices.first(),
            Some(id) => scenario
                .devices
                .iter()
                .find(|plan| plan.identity.id.as_str().eq_ignore_ascii_case(id)),
        };
        let plan = device.ok_or_else(|| {
            let ids: Vec<&str> =
                scenario.devices.iter().map(|plan| plan.identity.id.as_str()).collect();
            let shown = ids.iter().take(10).copied().collect::<Vec<_>>().join(", ");
            format!("the house has no device {}; it has {shown}", device_or_none(arguments))
        })?;
        if every.is_zero() {
            return Err("--every 0 never ends; expected a time, as 15m".to_owned());
        }
        let start = scenario.start.unwrap_or_else(clock::real_time);
        let from = begin(from, start)?;
        let id = plan.identity.id.as_str();
        Ok(Self {
            meter: Meter::new(&plan.meter, scenario.seed, id, start),
            start,
            from,
            end: from.after(*lasts),
            every: *every,
        })
    }

    fn write(&self, mut out: impl Write, format: TraceFormat) -> io::Result<()> {
        match format {
            TraceFormat::Csv => {
                let columns = TIMES.into_iter().chain(Quantity::ALL.iter().map(|q| q.sd_column()));
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

    /// UTC, local time with its offset, and seconds since the start.
    fn times(&self, at: VirtualTime) -> [String; 3] {
        let since =
            jiff::SignedDuration::try_from(at.since_start()).unwrap_or(jiff::SignedDuration::MAX);
        let time = self.start.saturating_add(since).unwrap_or(Timestamp::MAX);
        let local = time.display_with_offset(clock::local_zone().to_offset(time)).to_string();
        let millis = i64::try_from(at.since_start().as_millis()).unwrap_or(i64::MAX);
        [time.to_string(), local, Decimal::new(millis, 3).to_string()]
    }
}

fn device_or_none(arguments: &TraceArguments) -> &str {
    arguments.device.as_deref().unwrap_or("at all")
}

/// A moment, or a time after the start.
fn begin(from: &str, start: Timestamp) -> Result<VirtualTime, String> {
    if let Ok(after) = crate::scenario::parse_duration(from) {
        return Ok(VirtualTime::ZERO.after(after));
    }
    let time: Timestamp = from.parse().map_err(|_| {
        format!("--from {from}: expected a moment, as 2026-01-15T18:00:00+01:00, or a time after the start, as 6h")
    })?;
    let since = time.duration_since(start);
    Duration::try_from(since).map(|since| VirtualTime::ZERO.after(since)).map_err(|_| {
        format!("--from {from} lies before the house starts, at {start}; set `clock: {{start: …}}` in the scenario")
    })
}
