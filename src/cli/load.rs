//! Loading of the scenario that a command line names.

use std::path::Path;

use super::error::CliError;
use crate::scenario::{self, ListenerOverrides, LoadError, Scenario};

/// Loads a built-in house by name, or else a file.
pub(super) fn load(name: &str) -> Result<Scenario, CliError> {
    load_with(name, &ListenerOverrides::default())
}

/// Loads a scenario as [`load`] does, for a house with some listeners at other addresses.
pub(super) fn load_with(name: &str, listeners: &ListenerOverrides) -> Result<Scenario, CliError> {
    let path = Path::new(name);
    let loaded = match scenario::builtin(name) {
        Some(builtin) => builtin.load_with(listeners),
        None if path.exists() => scenario::load_file_with(path, listeners),
        None => {
            let names: Vec<&str> =
                scenario::builtins().iter().map(|builtin| builtin.name).collect();
            let (name, builtins) = (name.to_owned(), names.join(", "));
            return Err(CliError::UnknownScenario { name, builtins });
        }
    };
    loaded.map_err(|error| match error {
        LoadError::Invalid(diagnostics) => diagnostics.into(),
        LoadError::Read(source) => CliError::ReadScenario { path: path.to_owned(), source },
        LoadError::Override(error) => error.into(),
    })
}
