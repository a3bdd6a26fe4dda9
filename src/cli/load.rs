//! Loading of the scenario that a command line names.

use std::path::Path;

use super::error::CliError;
use crate::scenario::{self, LoadError, Scenario};

/// Loads a built-in house by name, or else a file.
pub(super) fn load(name: &str) -> Result<Scenario, CliError> {
    if let Some(builtin) = scenario::builtin(name) {
        return Ok(builtin.load()?);
    }
    let path = Path::new(name);
    if !path.exists() {
        let names: Vec<&str> = scenario::builtins().iter().map(|builtin| builtin.name).collect();
        let (name, builtins) = (name.to_owned(), names.join(", "));
        return Err(CliError::UnknownScenario { name, builtins });
    }
    scenario::load_file(path).map_err(|error| match error {
        LoadError::Invalid(diagnostics) => diagnostics.into(),
        LoadError::Read(source) => CliError::ReadScenario { path: path.to_owned(), source },
    })
}
