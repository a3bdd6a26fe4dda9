//! MQTT brokers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Host;

/// An MQTT broker beside the house, mosquitto say, which the devices may reach whatever `outbound`
/// says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Broker {
    /// Where it is: a name or IPv4 address, on the port of the device's URL unless one is given.
    pub address: Host,
    /// The names and IPv4 addresses by which devices know it.
    pub hosts: Option<Vec<Host>>,
}
