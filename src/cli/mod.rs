//! The command line.

mod args;
mod capture;
mod check;
mod end;
mod error;
mod load;
mod files;
mod log;
mod openings;
mod output;
mod ready;
mod run;
mod token;
mod trace;
mod usage;

use std::process::ExitCode;

use clap::Parser;

use self::args::{Arguments, Command};
use self::error::{CliError, ExitStatus};
use self::output::print;
use crate::scenario;
use crate::surface::http::openapi;

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let status = match Arguments::try_parse() {
        Ok(arguments) => execute(arguments.command.unwrap_or_else(Command::default_run)),
        Err(error) => usage::report(error),
    };
    let status = status.unwrap_or_else(|error| {
        error.report();
        error.status()
    });
    status.into()
}

fn execute(command: Command) -> Result<ExitStatus, CliError> {
    match command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Check(arguments) => check::check(&arguments),
        Command::Trace(arguments) => trace::trace(&arguments),
        Command::Capture(arguments) => capture::capture(&arguments),
        Command::Schema => success(&scenario::json_schema()),
        Command::List => success(&builtin_list()),
        Command::Openapi => success(&openapi::text()),
    }
}

fn success(result: &str) -> Result<ExitStatus, CliError> {
    print(result)?;
    Ok(ExitStatus::Success)
}

fn builtin_list() -> String {
    let houses = scenario::builtins();
    let width = houses.iter().map(|house| house.name.len()).max().unwrap_or(0);
    let lines = houses.iter().map(|house| format!("{:width$}  {}\n", house.name, house.purpose));
    lines.collect::<Vec<_>>().concat()
}
