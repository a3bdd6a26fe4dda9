//! What was typed. What it means is decided in the commands.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::clock::Speed;
use crate::outbound::Policy;

/// The digital twin of the whatwatt Go energy gateway.
#[derive(Debug, Parser)]
#[command(
    name = "wwsim",
    version,
    about,
    disable_help_subcommand = true,
    after_help = "Without a command, the built-in house `default` is started."
)]
pub struct Arguments {
    /// What to do; `run` where nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a house: a scenario file, or a built-in one by name
    Run(RunArguments),
    /// Check scenario files and report every mistake at once (exit code 1 if there are any)
    Check(CheckArguments),
    /// Print what a house's meter measures, without starting the house
    Trace(TraceArguments),
    /// Read a device and print the scenario that behaves like it
    Capture(CaptureArguments),
    /// Print the JSON Schema of scenario files
    Schema,
    /// List the built-in houses
    List,
    /// Print the `OpenAPI` description of the device, for scripts/regenerate; the control plane serves it
    #[command(hide = true)]
    Openapi,
}

/// `wwsim run`.
#[derive(Debug, Default, Args)]
pub struct RunArguments {
    /// A scenario file, or the name of a built-in house [default: default]
    pub scenario: Option<String>,
    /// Where the device's API listens; further devices take the ports after it
    #[arg(long, value_name = "ADDRESS")]
    pub http: Option<SocketAddr>,
    /// Where the device's own Modbus server listens; further devices take the ports after it
    #[arg(long, value_name = "ADDRESS")]
    pub modbus: Option<SocketAddr>,
    /// Where the control plane listens
    #[arg(long, value_name = "ADDRESS")]
    pub control: Option<SocketAddr>,
    /// What all randomness comes from, in place of the scenario's seed
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
    /// Virtual seconds in a real one, or `manual`: time passes only through the control plane
    #[arg(long, value_name = "NUMBER|manual", value_parser = parse_speed)]
    pub speed: Option<Speed>,
    /// Let every listener of the house take a free port
    #[arg(long)]
    pub any_port: bool,
    /// What actions may reach beside the house itself
    #[arg(long, value_enum, value_name = "POLICY")]
    pub outbound: Option<PolicyArgument>,
    /// Keep what is set and stored in this directory, and go on from there at the next start
    #[arg(long, value_name = "DIRECTORY")]
    pub state_dir: Option<PathBuf>,
    /// Write a JSON file that says where everything listens, once it does
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
}

/// `wwsim capture`.
#[derive(Debug, Args)]
pub struct CaptureArguments {
    /// The device: its host name or address, with or without `http://`
    #[arg(value_name = "URL")]
    pub url: String,
    /// Its password, where it asks for one; `WWSIM_PASSWORD` in the environment is not seen by others
    #[arg(long, value_name = "PASSWORD")]
    pub password: Option<String>,
    /// Write to a new file in place of standard output
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `wwsim check`.
#[derive(Debug, Args)]
pub struct CheckArguments {
    /// The files
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// How to report
    #[arg(long, value_enum, default_value_t = ReportFormat::Human)]
    pub format: ReportFormat,
}

/// `wwsim trace`.
#[derive(Debug, Args)]
pub struct TraceArguments {
    /// A scenario file, or the name of a built-in house
    pub scenario: String,
    /// The device, by id, where the house has several [default: the first]
    #[arg(long, value_name = "ID")]
    pub device: Option<String>,
    /// Where it begins: a moment with its offset, or a time after the house's start, as 6h
    #[arg(long, value_name = "TIME", default_value = "0")]
    pub from: String,
    /// How long it goes on
    #[arg(long = "for", value_name = "TIME", default_value = "1d", value_parser = crate::scenario::parse_duration)]
    pub lasts: Duration,
    /// The time between two rows
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = crate::scenario::parse_duration)]
    pub every: Duration,
    /// The form of the rows
    #[arg(long, value_enum, default_value_t = TraceFormat::Csv)]
    pub format: TraceFormat,
}

/// The form of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TraceFormat {
    /// A header, and a line a row; what is not known is empty
    Csv,
    /// A JSON array with an object a line; what is not known is null
    Json,
}

/// How mistakes are reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// For people, with the line and a caret
    Human,
    /// One JSON array
    Json,
    /// Annotations of GitHub Actions
    Github,
}

/// [`Policy`], as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PolicyArgument {
    /// Nothing
    Deny,
    /// Loopback addresses
    Loopback,
    /// Anything
    Allow,
}

impl From<PolicyArgument> for Policy {
    fn from(argument: PolicyArgument) -> Self {
        match argument {
            PolicyArgument::Deny => Self::Deny,
            PolicyArgument::Loopback => Self::Loopback,
            PolicyArgument::Allow => Self::Allow,
        }
    }
}

fn parse_speed(text: &str) -> Result<Speed, String> {
    if text == "manual" {
        return Ok(Speed::Manual);
    }
    let times: f64 = text.parse().map_err(|_| "expected a number or `manual`".to_owned())?;
    Speed::times(times).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn speeds_are_numbers_or_manual() {
        assert_eq!(parse_speed("60"), Ok(Speed::Times(60.0)));
        assert_eq!(parse_speed("manual"), Ok(Speed::Manual));
        for wrong in ["", "0", "-1", "NaN", "inf", "fast", "1e9"] {
            assert!(parse_speed(wrong).is_err(), "{wrong}");
        }
    }
}
