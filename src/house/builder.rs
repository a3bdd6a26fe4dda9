//! The description of a house that a test starts.

use std::fmt;
use std::path::PathBuf;

use super::{House, StartError, TokenError};
use crate::clock::Speed;
use crate::control::Token;
use crate::scenario::{self, Diagnostics, InvalidShard, LoadError, LoadOverrides, Scenario, Shard};

/// A house that is being described. [`House::builder`] begins with the built-in scenario `default`.
#[derive(Debug, Clone)]
pub struct HouseBuilder {
    source: ScenarioSource,
    any_port: bool,
    speed: Option<Speed>,
    seed: Option<u64>,
    fleet: Option<u32>,
    shard: Option<Result<Shard, InvalidShard>>,
    state_dir: Option<PathBuf>,
    token: Option<Result<Token, TokenError>>,
}

/// The place of a scenario.
#[derive(Debug, Clone)]
enum ScenarioSource {
    Builtin(String),
    Yaml(String),
    File(PathBuf),
    Loaded(Box<Scenario>),
}

/// The reason why a described house did not start.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// There is no built-in scenario of this name.
    #[error("there is no built-in scenario `{0}`; there are {names}", names = builtin_names())]
    UnknownBuiltin(String),
    /// The scenario has mistakes.
    #[error(transparent)]
    Scenario(#[from] Diagnostics),
    /// The scenario file cannot be loaded.
    #[error("{}: {}", .0.display(), .1)]
    File(PathBuf, #[source] LoadError),
    /// The token of the control plane cannot be used.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// There is no such shard.
    #[error(transparent)]
    Shard(#[from] InvalidShard),
    /// The house cannot start.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// The same as `Display`, because it is what a test that unwraps shows.
impl fmt::Debug for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn builtin_names() -> String {
    let names: Vec<&str> = scenario::builtins().iter().map(|builtin| builtin.name).collect();
    names.join(", ")
}

impl HouseBuilder {
    pub(super) fn new() -> Self {
        Self {
            source: ScenarioSource::Builtin("default".to_owned()),
            any_port: false,
            speed: None,
            seed: None,
            fleet: None,
            shard: None,
            state_dir: None,
            token: None,
        }
    }

    /// Takes this scenario, written in YAML as in a file.
    #[must_use]
    pub fn scenario(mut self, yaml: &str) -> Self {
        self.source = ScenarioSource::Yaml(yaml.to_owned());
        self
    }

    /// Takes a built-in scenario by its name.
    #[must_use]
    pub fn builtin(mut self, name: &str) -> Self {
        self.source = ScenarioSource::Builtin(name.to_owned());
        self
    }

    /// Takes a scenario file. Files that it names are found from its folder.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.source = ScenarioSource::File(path.into());
        self
    }

    /// Takes a scenario that is loaded already.
    #[must_use]
    pub fn loaded(mut self, scenario: Scenario) -> Self {
        self.source = ScenarioSource::Loaded(Box::new(scenario));
        self
    }

    /// Lets every listener take a free port, whatever the scenario says.
    #[must_use]
    pub fn any_port(mut self) -> Self {
        self.any_port = true;
        self
    }

    /// Stops time, so that it moves by [`Clock::advance`](crate::clock::Clock::advance) alone.
    #[must_use]
    pub fn manual_clock(self) -> Self {
        self.speed(Speed::Manual)
    }

    /// Sets the speed of the clock.
    #[must_use]
    pub fn speed(mut self, speed: Speed) -> Self {
        self.speed = Some(speed);
        self
    }

    /// Sets the seed of all random values. The same scenario, seed and requests give the same house.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Sets the number of devices of the fleet. A scenario without a fleet gets one of devices like its `device`.
    /// A scenario that is [loaded](Self::loaded) already keeps its own number.
    #[must_use]
    pub fn fleet(mut self, count: u32) -> Self {
        self.fleet = Some(count);
        self
    }

    /// Gives the house every `of`-th of its devices alone, from the one with the number `index` on, as one of
    /// several houses that have them among them. A scenario that is [loaded](Self::loaded) already keeps its
    /// devices.
    #[must_use]
    pub fn shard(mut self, index: u32, of: u32) -> Self {
        self.shard = Some(Shard::new(index, of));
        self
    }

    /// Lets the house continue from this directory, and keep its state there.
    #[must_use]
    pub fn state_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.state_dir = Some(directory.into());
        self
    }

    /// Makes the control plane require this token, also on loopback. Without one, a control plane that other
    /// machines can reach requires a random token ([`Addresses::token`](super::Addresses::token)).
    #[must_use]
    pub fn token(mut self, token: &str) -> Self {
        self.token = Some(Token::parse(token));
        self
    }

    /// Starts the house. When this returns, every listener is bound and every rule is in force.
    ///
    /// # Errors
    /// [`BuildError`]: all mistakes of the scenario, or the port that cannot be bound. Nothing is left
    /// behind.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn start(self) -> Result<House, BuildError> {
        let token = self.token.transpose()?;
        let overrides = LoadOverrides {
            any_port: self.any_port,
            seed: self.seed,
            fleet: self.fleet,
            shard: self.shard.transpose()?,
            ..LoadOverrides::default()
        };
        let mut scenario = match self.source {
            ScenarioSource::Yaml(text) => {
                scenario::load_with(&text, "scenario.yaml", None, &overrides).map_err(mistakes)?
            }
            ScenarioSource::File(path) => {
                let loaded = scenario::load_file_with(&path, &overrides);
                loaded.map_err(|error| BuildError::File(path, error))?
            }
            ScenarioSource::Loaded(mut scenario) => {
                if self.any_port {
                    scenario.any_port();
                }
                *scenario
            }
            ScenarioSource::Builtin(name) => match scenario::builtin(&name) {
                Some(builtin) => builtin.load_with(&overrides).map_err(mistakes)?,
                None => return Err(BuildError::UnknownBuiltin(name)),
            },
        };
        if let Some(speed) = self.speed {
            scenario.speed = speed;
        }
        if let Some(seed) = self.seed {
            scenario.seed = seed;
        }
        if let Some(directory) = self.state_dir {
            scenario.state_dir = Some(directory);
        }
        Ok(House::start_with_token(scenario, token).await?)
    }
}

/// Returns the error of a scenario that is no file.
fn mistakes(error: LoadError) -> BuildError {
    match error {
        LoadError::Invalid(mistakes) => BuildError::Scenario(mistakes),
        other => BuildError::File(PathBuf::from("scenario.yaml"), other),
    }
}
