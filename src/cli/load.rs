//! Loading of the scenario that a command line names.

use std::fs;
use std::io;
use std::path::Path;

use super::error::CliError;
use super::output::Patient;
use crate::scenario::{self, LoadError, LoadOverrides, Scenario};

/// The name of standard input.
pub(super) const STDIN: &str = "-";

/// Returns true if a scenario or a file of this name is read from standard input.
pub(super) fn is_stdin(path: &Path) -> bool {
    const NAMES: [&str; 4] = [STDIN, "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"];
    NAMES.iter().any(|name| path == Path::new(name))
}
/// The files of a folder that are compared with a misspelt name.
const COMPARED_FILES: usize = 1000;

/// Loads standard input, a built-in house by name, or else a file.
pub(super) fn load(name: &str) -> Result<Scenario, CliError> {
    load_with(name, &LoadOverrides::default())
}

/// Loads a scenario as [`load`] does, for a house with some overrides at other addresses.
pub(super) fn load_with(name: &str, overrides: &LoadOverrides) -> Result<Scenario, CliError> {
    let path = Path::new(name);
    let loaded = match scenario::builtin(name) {
        _ if name == STDIN => load_stdin(overrides),
        Some(builtin) => builtin.load_with(overrides),
        None if path.exists() => scenario::load_file_with(path, overrides),
        None => {
            let names: Vec<&str> =
                scenario::builtins().iter().map(|builtin| builtin.name).collect();
            let suggestion = suggestion(path);
            let (name, builtins) = (name.to_owned(), names.join(", "));
            return Err(CliError::UnknownScenario { name, suggestion, builtins });
        }
    };
    loaded.map_err(|error| cannot_load(path, error))
}

/// Loads standard input, a file, or else a built-in house by name: `wwsim check` is there for files.
pub(super) fn load_file(path: &Path) -> Result<Scenario, CliError> {
    let loaded = match path.to_str() {
        Some(STDIN) => load_stdin(&LoadOverrides::default()),
        Some(name) if !path.exists() => match scenario::builtin(name) {
            Some(builtin) => builtin.load_with(&LoadOverrides::default()),
            None => scenario::load_file(path),
        },
        _ => scenario::load_file(path),
    };
    loaded.map_err(|error| cannot_load(path, error))
}

/// Loads standard input. Paths in it are relative to the working directory.
fn load_stdin(overrides: &LoadOverrides) -> Result<Scenario, LoadError> {
    let stdin = Patient(io::stdin().lock());
    scenario::load_from(stdin, "<standard input>", Some(Path::new("")), overrides)
}

fn cannot_load(path: &Path, error: LoadError) -> CliError {
    match error {
        LoadError::Invalid(diagnostics) => diagnostics.into(),
        LoadError::Read(source) => {
            let is_missing = source.kind() == io::ErrorKind::NotFound;
            let suggestion = is_missing.then(|| suggestion(path)).flatten();
            CliError::ReadScenario { path: path.to_owned(), suggestion, source }
        }
        LoadError::Override(error) => error.into(),
    }
}

/// Returns the built-in house, or the file of the same folder, that a misspelt name probably means.
pub(super) fn suggestion(path: &Path) -> Option<String> {
    let (name, stem) = (path.file_name()?.to_str()?, path.file_stem()?.to_str()?);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    // Each word with what it stands for.
    let mut known: Vec<(String, String)> = Vec::new();
    if folder.is_none() {
        let builtins = scenario::builtins().iter().map(|builtin| builtin.name.to_owned());
        known.extend(builtins.map(|name| (name.clone(), name)));
    }
    let files = fs::read_dir(folder.unwrap_or(Path::new("."))).into_iter().flatten().flatten();
    for file in files.take(COMPARED_FILES).filter_map(|entry| entry.file_name().into_string().ok())
    {
        let Some((stem, "yaml" | "yml" | "json")) = file.rsplit_once('.') else { continue };
        let shown =
            folder.map_or_else(|| file.clone(), |folder| folder.join(&file).display().to_string());
        known.extend([(stem.to_owned(), shown.clone()), (file.clone(), shown)]);
    }
    let words = || known.iter().map(|(word, _)| word.as_str());
    let word = scenario::nearest(name, words()).or_else(|| scenario::nearest(stem, words()))?;
    known.iter().find(|(known, _)| known == word).map(|(_, shown)| shown.clone())
}
