//! The arguments of the command line. The doc comments are the texts of `--help`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::error::EXIT_CODES;
use crate::clock::Speed;
use crate::outbound::Policy;
use crate::scenario::Shard;
use crate::scenario::raw::{Listen, SpeedText};

/// The environment of `wwsim run`, as `--help` lists it.
const RUN_ENVIRONMENT: &str = "\
Environment:
  WWSIM_LOG    The filter of the log on standard error [default: warn]: a level (error,
               warn, info, debug, trace or off), or levels for parts of the program, as
               WWSIM_LOG=warn,wwsim=debug
  WWSIM_TOKEN  The token of the control plane, unless --token-file gives one
  NO_COLOR     Any value: no colours";

/// The digital twin of the whatwatt Go energy gateway.
#[derive(Debug, Parser)]
#[command(
    name = "wwsim",
    version,
    about,
    disable_help_subcommand = true,
    after_help = format!("Without a command, the built-in house `default` is started.\n\n{EXIT_CODES}")
)]
pub(super) struct Arguments {
    /// The command; `run` by default
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Start a house from a scenario file, or a built-in house by its name
    #[command(after_help = format!("{RUN_ENVIRONMENT}\n\n{EXIT_CODES}"))]
    Run(RunArguments),
    /// Check scenario files and report every mistake at once
    #[command(after_help = EXIT_CODES)]
    Check(CheckArguments),
    /// Print the signal of a house's meter, without starting the house
    #[command(after_help = EXIT_CODES)]
    Trace(TraceArguments),
    /// Read a device and print a scenario that behaves like it
    #[command(after_help = EXIT_CODES)]
    Capture(CaptureArguments),
    /// Print the JSON Schema of scenario files
    Schema,
    /// List the built-in houses
    List,
    /// Print the `OpenAPI` description of the device, for scripts/regenerate; the control plane serves it
    #[command(hide = true)]
    Openapi,
}

impl Command {
    /// The command that an empty command line means.
    pub(super) fn default_run() -> Self {
        Self::Run(RunArguments::default())
    }
}

/// The arguments of `wwsim run`.
#[derive(Debug, Default, Args)]
pub(super) struct RunArguments {
    /// A scenario file, the name of a built-in house, or `-` for standard input [default: default]
    pub scenario: Option<String>,
    /// The address of the device's API; further devices take the free ports after it
    #[arg(long, value_name = "ADDRESS", value_parser = parse_address, allow_hyphen_values = true)]
    pub http: Option<SocketAddr>,
    /// The address of the device's own Modbus server; further devices take the free ports after it
    #[arg(long, value_name = "ADDRESS", value_parser = parse_address, allow_hyphen_values = true)]
    pub modbus: Option<SocketAddr>,
    /// The address of the control plane
    #[arg(long, value_name = "ADDRESS", value_parser = parse_address, allow_hyphen_values = true)]
    pub control: Option<SocketAddr>,
    /// The seed of all randomness, in place of that of the scenario
    #[arg(long, value_name = "NUMBER", value_parser = parse_seed, allow_hyphen_values = true)]
    pub seed: Option<u64>,
    /// The number of devices of the fleet, in place of that of the scenario; a scenario without a fleet gets one of
    /// devices like its own
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub fleet: Option<u32>,
    /// The shard of the house that this process has, as 0/3 for the first of three: every third device
    #[arg(long, value_name = "I/N", allow_hyphen_values = true)]
    pub shard: Option<Shard>,
    /// The virtual seconds in a real second, or `manual`: time passes only by the control plane
    #[arg(long, value_name = "NUMBER|manual", value_parser = parse_speed, allow_hyphen_values = true)]
    pub speed: Option<Speed>,
    /// Let every listener of the house take a free port
    #[arg(long)]
    pub any_port: bool,
    /// The hosts that actions may reach outside the house
    #[arg(long, value_enum, value_name = "POLICY")]
    pub outbound: Option<PolicyArgument>,
    /// Persist the state in this directory, and continue from it at the next start
    #[arg(long, value_name = "DIRECTORY")]
    pub state_dir: Option<PathBuf>,
    /// Write the addresses to this JSON file once the house listens: a new or empty file, or that of an earlier house
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
    /// The permissions of the ready file in octal, as 0644; 0600 unless given, because it may have the token
    #[arg(long, value_name = "MODE", value_parser = parse_mode, requires = "ready_file")]
    pub ready_file_mode: Option<u32>,
    /// Let the control plane require the token in the first line of this file; other users do not see
    /// `WWSIM_TOKEN` in the environment either
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// End in order when standard input ends, such as a pipe from the program that started this one
    #[arg(long)]
    pub exit_with_stdin: bool,
    /// End in order when the parent process is gone
    #[cfg(unix)]
    #[arg(long)]
    pub exit_with_parent: bool,
}

/// The arguments of `wwsim capture`.
#[derive(Debug, Args)]
pub(super) struct CaptureArguments {
    /// The device: its host name or address, with or without `http://`
    #[arg(value_name = "URL")]
    pub url: String,
    /// The password of the device, if it has one; other users do not see `WWSIM_PASSWORD` in the environment
    #[arg(long, value_name = "PASSWORD")]
    pub password: Option<String>,
    /// Write to a new file in place of standard output, which is `-`
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// The arguments of `wwsim check`.
#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    /// The files; `-` is standard input, and other names are those of built-in houses
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The form of the report
    #[arg(long, value_enum, default_value_t = ReportFormat::Human)]
    pub format: ReportFormat,
}

/// The arguments of `wwsim trace`.
#[derive(Debug, Args)]
pub(super) struct TraceArguments {
    /// A scenario file, the name of a built-in house, or `-` for standard input
    pub scenario: String,
    /// The id of the device [default: the first]
    #[arg(long, value_name = "ID")]
    pub device: Option<String>,
    /// The time of the first row: a moment with its offset, or a time after the house's start, as 6h
    #[arg(long, value_name = "TIME", default_value = "0", allow_hyphen_values = true)]
    pub from: String,
    /// The duration of the trace
    #[arg(long = "for", value_name = "TIME", default_value = "1d", value_parser = crate::scenario::parse_duration, allow_hyphen_values = true)]
    pub duration: Duration,
    /// The time between two rows
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = crate::scenario::parse_duration, allow_hyphen_values = true)]
    pub every: Duration,
    /// The form of the rows
    #[arg(long, value_enum, default_value_t = TraceFormat::Csv)]
    pub format: TraceFormat,
}

/// The form of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum TraceFormat {
    /// A header, and a line for each row; unknown values are empty
    Csv,
    /// A JSON array with an object on each line; unknown values are null
    Json,
}

/// The form of a report of mistakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ReportFormat {
    /// Text for people, with the line and a caret
    Human,
    /// One JSON array
    Json,
    /// Annotations of GitHub Actions
    Github,
}

/// A [`Policy`] on the command line.
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

/// Parses the permissions of a file.
fn parse_mode(text: &str) -> Result<u32, &'static str> {
    let octal = text.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| octal && *mode <= 0o777);
    mode.ok_or("expected an octal mode from 0 to 0777, as 0644")
}

/// An error of a value; clap adds the argument to the message.
type ArgumentError = Box<dyn std::error::Error + Send + Sync>;

/// Parses the address of a listener, as a scenario writes it.
fn parse_address(text: &str) -> Result<SocketAddr, ArgumentError> {
    let Listen(address) = text.parse()?;
    Ok(address)
}

/// Parses a seed.
fn parse_seed(text: &str) -> Result<u64, ArgumentError> {
    text.parse().map_err(|_| format!("expected a whole number from 0 to {}", u64::MAX).into())
}

/// Parses a speed, as a scenario writes it.
fn parse_speed(text: &str) -> Result<Speed, ArgumentError> {
    let SpeedText(speed) = text.parse()?;
    Ok(speed)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_definition_is_valid() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn speeds_are_numbers_or_manual() {
        assert_eq!(parse_speed("60").unwrap(), Speed::Times(60.0));
        assert_eq!(parse_speed("manual").unwrap(), Speed::Manual);
        for wrong in ["", "0", "-1", "NaN", "inf", "fast", "1e9"] {
            assert!(parse_speed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_reference_names_every_command_flag_and_exit_code() {
        let reference = include_str!("../../docs/command-line.md");
        let contains = |text: &str| assert!(reference.contains(text), "{text}");
        let arguments = Arguments::command();
        for command in arguments.get_subcommands().filter(|command| !command.is_hide_set()) {
            contains(&format!("`{}`", command.get_name()));
            for flag in command.get_arguments().filter_map(clap::Arg::get_long) {
                contains(&format!("`--{flag}"));
            }
        }
        for line in EXIT_CODES.lines().skip(1) {
            let (code, meaning) = line.trim().split_once("  ").unwrap();
            contains(&format!("| {code} | {meaning} |"));
        }
    }
}
