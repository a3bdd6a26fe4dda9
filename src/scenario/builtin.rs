//! The scenarios that are part of the binary; their files are `scenarios/*.yaml`.

#[cfg(any(test, feature = "internals"))]
use super::Diagnostics;
use super::{LoadError, LoadOverrides, Scenario, load_with};

/// A built-in scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Builtin {
    /// The name on the command line.
    pub name: &'static str,
    /// The purpose, in one line.
    pub purpose: &'static str,
    /// The text of its file.
    pub text: &'static str,
}

impl Builtin {
    /// Loads the scenario.
    ///
    /// # Errors
    /// Returns its mistakes; there are none in a released version, because a test loads each of them.
    #[cfg(any(test, feature = "internals"))]
    pub fn load(&self) -> Result<Scenario, Diagnostics> {
        super::load(self.text, &self.file_name(), None)
    }

    /// Loads the scenario for a house with some listeners at other addresses.
    ///
    /// # Errors
    /// Returns a [`LoadError`] if the addresses cannot be used.
    pub fn load_with(&self, overrides: &LoadOverrides) -> Result<Scenario, LoadError> {
        load_with(self.text, &self.file_name(), None, overrides)
    }

    fn file_name(&self) -> String {
        format!("scenarios/{}.yaml", self.name)
    }
}

macro_rules! builtins {
    ($($name:literal: $purpose:literal,)*) => {
        [$(Builtin {
            name: $name,
            purpose: $purpose,
            text: include_str!(concat!("../../scenarios/", $name, ".yaml")),
        }),*]
    };
}

static BUILTINS: [Builtin; 12] = builtins! {
    "default": "a healthy house: every curl line of the action page works",
    "disabled-actions": "actions that answer 400, for good and for a time",
    "slow-slaves": "slaves that take their time: running statuses, 409, timeouts",
    "queue-saturation": "20 requests in progress: 429, with and without load",
    "flaky-modbus": "replies that are wrong now and then, as on a bad line",
    "every-result-code": "one action for each result code that can happen",
    "family-house": "a family of four and its meter: appliances, tariffs, a reading every 4.2 s",
    "pv-and-battery": "a clear day in June: import, export, and a battery between them",
    "heat-pump-winter": "heat pump, boiler and car on three phases; a DLMS meter with its raw objects",
    "single-phase": "a flat on one phase, with what floats on the other two",
    "clock-change-october": "the night in which 02:00 comes twice",
    "meter-trouble": "a meter with which everything goes wrong, one thing after another",
};

/// Returns the built-in scenarios, the default one first.
#[must_use]
pub fn builtins() -> &'static [Builtin] {
    &BUILTINS
}

/// Returns a built-in scenario by its name.
#[must_use]
pub fn builtin(name: &str) -> Option<&'static Builtin> {
    BUILTINS.iter().find(|builtin| builtin.name == name)
}
