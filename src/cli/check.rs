//! `wwsim check`: reports every mistake of every file, and the warnings of valid ones.

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
        return Err(CliError::StdinTwice("`-`", "`-`"));
    }
    let mut status = ExitStatus::Success;
    let mut reports: Vec<Diagnostics> = Vec::new();
    let mut valid = String::new();
    for path in &arguments.files {
        match load_file(path) {
            Ok(house) => {
                let warnings = house.warnings(&path.display().to_string());
                // Writing to a string cannot fail.
                let _ = match warnings.mistakes() {
                    [] => writeln!(valid, "{}: valid", path.display()),
                    _ => writeln!(valid, "{}: valid, {}", path.display(), warnings.summary()),
                };
                reports.push(warnings);
            }
            Err(CliError::InvalidScenario(diagnostics)) => {
                status = status.max(ExitStatus::Failure);
                reports.push(diagnostics);
            }
            Err(error) => {
                error.report();
                status = status.max(error.status());
            }
        }
    }
    print(&report(arguments.format, &reports, &valid))?;
    Ok(status)
}

fn report(format: ReportFormat, reports: &[Diagnostics], valid: &str) -> String {
    match format {
        ReportFormat::Human => {
            let styled = is_styled(&io::stdout());
            reports.iter().map(|file| file.human(styled)).collect::<String>() + valid
        }
        ReportFormat::Json => {
            format!("{:#}\n", reports.iter().flat_map(Diagnostics::to_json).collect::<Value>())
        }
        ReportFormat::Github => reports.iter().map(Diagnostics::github).collect(),
    }
}
