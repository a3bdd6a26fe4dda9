//! The errors that end a command, and the exit codes. This is the only place that turns a failure
//! into an exit code.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use super::capture::CaptureError;
use super::log::FilterError;
use super::output::{is_styled, report};
use super::trace::TraceError;
use crate::house::{StartError, TokenError};
use crate::scenario::{Diagnostics, OverrideError};

/// The exit codes, as `--help` and `docs/command-line.md` list them.
pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  The command did what it was asked to do
  1  A scenario has mistakes, a house cannot start, or a device cannot be captured
  2  The command line is wrong, or a file cannot be read or written";

/// The exit status of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ExitStatus {
    /// The command did what it was asked to do.
    Success,
    /// A scenario has mistakes, a house cannot start, or a device cannot be captured.
    Failure,
    /// The command line is wrong, or a file cannot be read or written.
    Usage,
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(match status {
            ExitStatus::Success => 0,
            ExitStatus::Failure => 1,
            ExitStatus::Usage => 2,
        })
    }
}

/// An error that ends a command.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    /// The scenario has mistakes.
    #[error(transparent)]
    InvalidScenario(#[from] Diagnostics),
    /// The async runtime cannot be built.
    #[error("cannot start: {0}")]
    Runtime(io::Error),
    /// The house cannot start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The device cannot be read.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// The scenario is neither a file nor a built-in house.
    #[error(
        "no scenario `{name}`: neither a file nor one of the built-in houses {builtins}{}",
        did_you_mean(suggestion.as_ref())
    )]
    UnknownScenario {
        /// The name on the command line.
        name: String,
        /// The file or house that was probably meant.
        suggestion: Option<String>,
        /// The names of the built-in houses.
        builtins: String,
    },
    /// The scenario file cannot be read.
    #[error("cannot read {path}: {source}{}", did_you_mean(suggestion.as_ref()), path = path.display())]
    ReadScenario {
        /// The path of the file.
        path: PathBuf,
        /// The file or house that was probably meant.
        suggestion: Option<String>,
        /// The error of the system.
        source: io::Error,
    },
    /// Two arguments ask for standard input.
    #[error(
        "{0} and {1} both read standard input, which can be read once; give a file in its place"
    )]
    StdinTwice(&'static str, &'static str),
    /// `WWSIM_LOG` is malformed.
    #[error(transparent)]
    LogFilter(#[from] FilterError),
    /// The addresses on the command line cannot be used.
    #[error(transparent)]
    Override(#[from] OverrideError),
    /// The arguments of `trace` do not fit the scenario.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The ready file cannot be written.
    #[error("cannot write the ready file {path}: {source}", path = path.display())]
    WriteReadyFile {
        /// The path of the file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The file of the token cannot be used.
    #[error("cannot use the token file {path}: {source}", path = path.display())]
    ReadTokenFile {
        /// The path of the file.
        path: PathBuf,
        /// The error of the system, or the mistake in the token.
        source: io::Error,
    },
    /// The token in the environment cannot be used.
    #[error("cannot use WWSIM_TOKEN: {0}; unset it to start without a token")]
    TokenVariable(TokenError),
    /// A file cannot be written.
    #[error("cannot write {path}: {source}", path = path.display())]
    WriteFile {
        /// The path of the file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// Standard output cannot be written.
    #[error("cannot write to standard output: {0}")]
    Stdout(io::Error),
}

impl CliError {
    /// Returns the exit status of a command that this error ends.
    pub(super) fn status(&self) -> ExitStatus {
        match self {
            Self::UnknownScenario { .. }
            | Self::ReadScenario { .. }
            | Self::StdinTwice(..)
            | Self::LogFilter(_)
            | Self::Override(_)
            | Self::Trace(_)
            | Self::WriteReadyFile { .. }
            | Self::ReadTokenFile { .. }
            | Self::TokenVariable(_)
            | Self::WriteFile { .. }
            | Self::Stdout(_) => ExitStatus::Usage,
            Self::InvalidScenario(_) | Self::Runtime(_) | Self::Start(_) | Self::Capture(_) => {
                ExitStatus::Failure
            }
        }
    }

    /// Returns the lines that report the error, in colour if `styled`.
    pub(super) fn text(&self, styled: bool) -> String {
        match self {
            Self::InvalidScenario(diagnostics) => diagnostics.human(styled),
            error => format!("wwsim: {error}\n"),
        }
    }

    /// Prints the error to standard error.
    pub(super) fn report(&self) {
        report(&self.text(is_styled(&io::stderr())));
    }
}

fn did_you_mean(suggestion: Option<&String>) -> String {
    suggestion.map(|word| format!("; did you mean `{word}`?")).unwrap_or_default()
}
