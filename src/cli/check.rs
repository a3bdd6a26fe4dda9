//! `wwsim check`: reports every mistake of every file.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use serde_json::Value;

use super::args::{CheckArguments, ReportFormat};
use super::error::{CliError, ExitStatus};
use super::load::{STDIN, load_file};
use super::output::{is_styled, print};
use crate::scenario::Diagnostics;

/// Runs the command. A file that cannot be read does not keep the others from being checked.
pub(super) fn check(arguments: &CheckArguments) -> Result<ExitStatus, CliError> {
    let is_stdin = |path: &&std::path::PathBuf| path.as_path() == Path::new(STDIN);
    if arguments.files.iter().filter(is_stdin).count() > 1 {
        return Err(CliError::StdinTwice("`-` and `-`"));
    }
    let mut status = ExitStatus::Success;
    let mut invalid: Vec<Diagnostics> = Vec::new();
    let mut valid = String::new();
    for path in &arguments.files {
        match load_file(path) {
            Ok(_) => {
                // Writing to a string cannot fail.
                let _ = writeln!(valid, "{}: valid", path.display());
            }
            Err(CliError::InvalidScenario(diagnostics)) => {
                status = status.max(ExitStatus::Failure);
                invalid.push(diagnostics);
            }
            Err(error) => {
                error.report();
                status = status.max(error.status());
            }
        }
    }
    print(&report(arguments.format, &invalid, &valid))?;
    Ok(status)
}

fn report(format: ReportFormat, invalid: &[Diagnostics], valid: &str) -> String {
    match format {
        ReportFormat::Human => {
            let styled = is_styled(&io::stdout());
            invalid.iter().map(|file| file.human(styled)).collect::<String>() + valid
        }
        ReportFormat::Json => {
            format!("{:#}\n", invalid.iter().flat_map(Diagnostics::to_json).collect::<Value>())
        }
        ReportFormat::Github => invalid.iter().map(Diagnostics::github).collect(),
    }
}
