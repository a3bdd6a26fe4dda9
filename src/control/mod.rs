//! The control plane: what a test or a person does to a house while it runs.
//!
//! It has a port of its own, because the device's port shows the device alone. All of it hangs
//! below `/control/v1`, in JSON both ways; an error says what was expected. Its connections do not
//! count as things under way in the house (`clock::ActivityTracker`): a clock movement runs inside one.

mod clock;
mod faults;
mod journal;
mod registers;
mod request;
mod resource;
mod security;
mod server;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

pub use self::registers::{RegisterError, RegisterRange};
pub use self::security::Token;
pub use self::server::ControlServer;
use crate::clock::Clock;
use crate::fault::{Engine, Rule};
use crate::journal::Journal;
use crate::surface::modbus;

/// A future that borrows from a house.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a house lets the control plane do.
pub trait Controls: Send + Sync + 'static {
    /// Its clock.
    fn clock(&self) -> &Clock;

    /// Its fault engine.
    fn engine(&self) -> &Engine;

    /// Its journal.
    fn journal(&self) -> &Journal;

    /// What it consists of, now.
    fn summary(&self) -> HouseSummary;

    /// The text of its scenario.
    fn scenario(&self) -> &str;

    /// Reads registers, or bits as 0 and 1, as a client would find them; `count` is 1 or more.
    ///
    /// # Errors
    /// [`RegisterError`].
    fn peek(&self, registers: &RegisterRange, count: u16) -> Result<Vec<u16>, RegisterError>;

    /// Writes registers, or bits as 0 and 1, whatever a client may write; one value or more.
    ///
    /// # Errors
    /// [`RegisterError`], with nothing written.
    fn poke(&self, registers: &RegisterRange, values: &[u16]) -> Result<(), RegisterError>;

    /// The requests a target received, oldest first; none where there is no such target.
    fn requests(&self, target: &str) -> Option<Vec<Value>>;

    /// Forgets the requests a target received; false where there is no such target.
    fn forget_requests(&self, target: &str) -> bool;

    /// A rule from its form in scenarios.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its place and what was expected.
    fn parse_rule(&self, rule: &Value) -> Result<Rule, Vec<String>>;

    /// A rule in its form in scenarios.
    fn show_rule(&self, rule: &Rule) -> Value;

    /// A duration from its form in scenarios, as `250ms`, `15m`, `30d`.
    ///
    /// # Errors
    /// A message with the text and what was expected.
    fn parse_duration(&self, text: &str) -> Result<Duration, String>;

    /// Ends when every listener follows the rules of this generation of the engine or a later one.
    fn follows(&self, generation: u64) -> Pending<'_, ()>;

    /// Goes back to the start: listeners stay, connections drop, what is under way ends without a
    /// trace, clock and counters begin anew. A house must not be left half reset: whoever calls this
    /// sees it through.
    fn reset(self: Arc<Self>) -> Pending<'static, ()>;
}

/// What a house consists of.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HouseSummary {
    /// The scenario's name.
    pub name: String,
    /// What all its randomness comes from.
    pub seed: u64,
    /// Counts the resets.
    pub epoch: u64,
    /// Its devices.
    pub devices: Vec<DeviceSummary>,
    /// Its slaves.
    pub slaves: Vec<SlaveSummary>,
    /// Its HTTP targets.
    pub http_targets: Vec<TargetSummary>,
}

/// A device of a house.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeviceSummary {
    /// Its id.
    pub id: String,
    /// Its firmware, as `2.0.2`.
    pub firmware: String,
    /// Its licence, by the word of scenarios.
    pub license: &'static str,
    /// Where its API listens.
    pub http: SocketAddr,
    /// Its own Modbus server.
    pub modbus: modbus::ModbusSummary,
    /// How many requests are in progress.
    pub in_progress: usize,
    /// The ids of its actions; none where no definition is set.
    pub actions: Option<Vec<String>>,
    /// How its MQTT client is doing.
    #[cfg(feature = "mqtt")]
    pub mqtt: crate::surface::mqtt::MqttStatus,
}

/// A slave of a house.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SlaveSummary {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// The names and addresses that actions reach it by.
    pub hosts: Vec<String>,
    /// Its unit ids, ascending.
    pub units: Vec<u8>,
    /// False while a rule keeps its listener closed.
    pub listening: bool,
}

/// An HTTP target of a house.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TargetSummary {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// The names and addresses that actions reach it by.
    pub hosts: Vec<String>,
    /// How many requests it remembers.
    pub requests: usize,
}
