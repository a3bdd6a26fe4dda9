//! The scenario that a command line names.

use std::path::Path;

use crate::scenario::{self, Diagnostics, Scenario};

/// Why there is none.
pub(super) enum Unloadable {
    /// It is no valid scenario.
    Wrong(Diagnostics),
    /// It is not there.
    Unreadable(String),
}

/// A built-in house by name, else a file.
pub(super) fn load(name: &str) -> Result<Scenario, Unloadable> {
    if let Some(builtin) = scenario::builtin(name) {
        return builtin.load().map_err(Unloadable::Wrong);
    }
    let path = Path::new(name);
    if !path.exists() {
        let names: Vec<&str> = scenario::builtins().iter().map(|builtin| builtin.name).collect();
        return Err(Unloadable::Unreadable(format!(
            "no scenario `{name}`: neither a file nor one of the built-in houses {}",
            names.join(", ")
        )));
    }
    match scenario::load_file(path) {
        Ok(loaded) => loaded.map_err(Unloadable::Wrong),
        Err(error) => Err(Unloadable::Unreadable(format!("cannot read {name}: {error}"))),
    }
}
