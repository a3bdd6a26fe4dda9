//! The command line.

mod args;
mod capture;
mod check;
mod load;
mod ready;
mod run;
mod trace;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use self::args::{Arguments, Command};
use crate::scenario;
use crate::surface::http::openapi;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CliOutcome {
    /// It did what was asked.
    Done,
    /// The scenario is wrong, or the house could not start.
    Invalid,
    /// The command line is wrong, or a file could not be read.
    Usage,
}

impl From<CliOutcome> for ExitCode {
    fn from(outcome: CliOutcome) -> Self {
        match outcome {
            CliOutcome::Done => Self::SUCCESS,
            CliOutcome::Invalid => Self::from(1),
            CliOutcome::Usage => Self::from(2),
        }
    }
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.command.unwrap_or(Command::Run(args::RunArguments::default())) {
        Command::Run(arguments) => run::run(&arguments),
        Command::Check(arguments) => check::check(&arguments),
        Command::Trace(arguments) => trace::trace(&arguments),
        Command::Capture(arguments) => capture::capture(&arguments),
        Command::Schema => print(&scenario::json_schema()),
        Command::List => print(&list()),
        Command::Openapi => print(&openapi::text()),
    };
    outcome.into()
}

fn list() -> String {
    let houses = scenario::builtins();
    let width = houses.iter().map(|house| house.name.len()).max().unwrap_or(0);
    let lines = houses.iter().map(|house| format!("{:width$}  {}\n", house.name, house.purpose));
    lines.collect::<Vec<_>>().concat()
}

/// Prints to standard output; a reader that has gone away is no mistake of ours.
fn print(text: &str) -> CliOutcome {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("wwsim: cannot write to standard output: {error}");
            CliOutcome::Usage
        }
        _ => CliOutcome::Done,
    }
}
