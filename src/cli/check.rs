//! `wwsim check`: reports every mistake of every file.

use std::fmt::Write as _;
use std::io::IsTerminal;

use serde_json::Value;

use super::args::{CheckArguments, ReportFormat};
use super::error::{CliError, ExitStatus};
use super::print;
use crate::scenario::{self, Diagnostics, LoadError};

/// Runs the command. A file that cannot be read does not keep the others from being checked.
pub(super) fn check(arguments: &CheckArguments) -> Result<ExitStatus, CliError> {
    let mut status = ExitStatus::Success;
    let mut invalid: Vec<Diagnostics> = Vec::new();
    let mut valid = String::new();
    for path in &arguments.files {
        match scenario::load_file(path) {
            Ok(_) => {
                // Writing to a string cannot fail.
                let _ = writeln!(valid, "{}: valid", path.display());
            }
            Err(LoadError::Invalid(diagnostics)) => {
                status = status.max(ExitStatus::Failure);
                invalid.push(diagnostics);
            }
            Err(LoadError::Read(source)) => {
                let error = CliError::ReadScenario { path: path.clone(), source };
                error.report();
                status = status.max(error.status());
            }
            // Without addresses on the command line there is no such error.
            Err(LoadError::Override(error)) => return Err(error.into()),
        }
    }
    print(&report(arguments.format, &invalid, &valid))?;
    Ok(status)
}

fn report(format: ReportFormat, invalid: &[Diagnostics], valid: &str) -> String {
    let styled = std::io::stdout().is_terminal();
    match format {
        ReportFormat::Human => {
            invalid.iter().map(|file| file.human(styled)).collect::<String>() + valid
        }
        ReportFormat::Json => {
            format!("{:#}\n", invalid.iter().flat_map(Diagnostics::to_json).collect::<Value>())
        }
        ReportFormat::Github => invalid.iter().map(Diagnostics::github).collect(),
    }
}
