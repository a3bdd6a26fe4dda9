//! MQTT brokers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Host;

/// An MQTT broker outside the house, such as mosquitto, which the devices may reach with any value of
/// `outbound`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Broker {
    /// The name or IPv4 address of the broker, on the port of the device's URL unless one is given.
    pub address: Host,
    /// The names and IPv4 addresses by which devices know it.
    pub hosts: Option<Vec<Host>>,
}
