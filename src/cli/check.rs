//! `wwsim check`: every mistake of every file.

use std::fmt::Write as _;
use std::io::IsTerminal;

use serde_json::Value;

use super::args::{CheckArguments, ReportFormat};
use super::{CliOutcome, print};
use crate::scenario::{self, Diagnostics};

/// The command.
pub(super) fn check(arguments: &CheckArguments) -> CliOutcome {
    let mut outcome = CliOutcome::Done;
    let mut wrong: Vec<Diagnostics> = Vec::new();
    let mut right = String::new();
    for path in &arguments.files {
        match scenario::load_file(path) {
            Ok(Ok(_)) => {
                // Writing to a string cannot fail.
                let _ = writeln!(right, "{}: valid", path.display());
            }
            Ok(Err(diagnostics)) => wrong.push(diagnostics),
            Err(error) => {
                eprintln!("wwsim: cannot read {}: {error}", path.display());
                outcome = CliOutcome::Usage;
            }
        }
    }
    if outcome == CliOutcome::Done && !wrong.is_empty() {
        outcome = CliOutcome::Invalid;
    }
    let styled = std::io::stdout().is_terminal();
    let text = match arguments.format {
        ReportFormat::Human => {
            wrong.iter().map(|file| file.human(styled)).collect::<String>() + &right
        }
        ReportFormat::Json => {
            format!("{:#}\n", wrong.iter().flat_map(Diagnostics::to_json).collect::<Value>())
        }
        ReportFormat::Github => wrong.iter().map(Diagnostics::github).collect(),
    };
    match print(&text) {
        CliOutcome::Done => outcome,
        unprinted => unprinted,
    }
}
