//! The command line.

mod args;
mod capture;
mod check;
mod error;
mod load;
mod openings;
mod ready;
mod run;
mod token;
mod trace;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use self::args::{Arguments, Command};
use self::error::{CliError, ExitStatus};
use crate::scenario;
use crate::surface::http::openapi;

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let command = arguments.command.unwrap_or(Command::Run(args::RunArguments::default()));
    let status = execute(command).unwrap_or_else(|error| {
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
        Command::Schema => print(&scenario::json_schema()),
        Command::List => print(&builtin_list()),
        Command::Openapi => print(&openapi::text()),
    }
}

fn builtin_list() -> String {
    let houses = scenario::builtins();
    let width = houses.iter().map(|house| house.name.len()).max().unwrap_or(0);
    let lines = houses.iter().map(|house| format!("{:width$}  {}\n", house.name, house.purpose));
    lines.collect::<Vec<_>>().concat()
}

/// Prints to standard output. A reader that has closed the pipe is not an error.
fn print(text: &str) -> Result<ExitStatus, CliError> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(CliError::Stdout(error)),
        _ => Ok(ExitStatus::Success),
    }
}
