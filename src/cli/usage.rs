//! Mistakes of the command line, as clap finds them, with what was probably meant.

use std::io;
use std::path::Path;

use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue};

use super::args::Arguments;
use super::error::{CliError, ExitStatus};
use super::load::{STDIN, suggestion};
use super::output::{Output, is_styled, print};
use crate::scenario;

/// Reports a mistake, or prints the help or the version that was asked for, and returns the exit status.
pub(super) fn report(error: clap::Error) -> Result<ExitStatus, CliError> {
    if !error.use_stderr() {
        // Help that cannot be printed is no failure.
        let _ = print(&text(&error, is_styled(&io::stdout())));
        return Ok(ExitStatus::Success);
    }
    // The command that was meant may be `run`, which waits for no reader.
    let output = Output::start("standard error", io::stderr()).map_err(CliError::Runtime)?;
    output.say(text(&explained(error), is_styled(&io::stderr())));
    output.finish();
    Ok(ExitStatus::Usage)
}

fn text(error: &clap::Error, styled: bool) -> String {
    let text = error.render();
    if styled { text.ansi().to_string() } else { text.to_string() }
}

/// Replaces the error of an unknown command, or of an argument before the command, by one that says what was
/// probably meant. Returns other errors as they are.
fn explained(error: clap::Error) -> clap::Error {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let mut commands = Arguments::command();
    let message = match (text(ContextKind::InvalidSubcommand), text(ContextKind::InvalidArg)) {
        (Some(word), _) => meant_by(word, &commands)
            .map(|meant| format!("`{word}` is no command; did you mean `{meant}`?")),
        (_, Some(argument)) if comes_first(argument) => {
            command_with(argument, &commands).map(|command| {
                format!("`{argument}` stands behind its command: wwsim {command} {argument}")
            })
        }
        _ => None,
    };
    message.map(|message| commands.error(error.kind(), message)).unwrap_or(error)
}

/// Returns the command line that is meant by a word that is no command.
fn meant_by(word: &str, commands: &clap::Command) -> Option<String> {
    if ["help", "version"].contains(&word) {
        return Some(format!("wwsim --{word}"));
    }
    if names_scenario(word) {
        return Some(format!("wwsim run {word}"));
    }
    let names = commands.get_subcommands().map(clap::Command::get_name);
    match scenario::nearest(word, names) {
        Some(command) => Some(format!("wwsim {command}")),
        None => suggestion(Path::new(word)).map(|scenario| format!("wwsim run {scenario}")),
    }
}

/// Returns true if the command line begins with this argument.
fn comes_first(argument: &str) -> bool {
    let first = std::env::args_os().nth(1);
    first.is_some_and(|first| first.to_str().is_some_and(|first| first.starts_with(argument)))
}

/// Returns the first command that has this argument.
fn command_with<'a>(argument: &str, commands: &'a clap::Command) -> Option<&'a str> {
    let name = argument.strip_prefix("--")?;
    let has_it = |command: &&clap::Command| {
        command.get_arguments().any(|argument| argument.get_long() == Some(name))
    };
    commands.get_subcommands().find(has_it).map(clap::Command::get_name)
}

/// Returns true if `wwsim run` might start this.
fn names_scenario(word: &str) -> bool {
    let path = Path::new(word);
    let is_written_so = path.extension().is_some_and(|extension| {
        ["yaml", "yml", "json"].iter().any(|known| extension.eq_ignore_ascii_case(known))
    });
    word == STDIN || scenario::builtin(word).is_some() || is_written_so || path.is_file()
}
