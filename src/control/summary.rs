//! `state`: the clock, the counts of rules, and the parts of the house.

use std::net::SocketAddr;

use serde::Serialize;
use serde_json::{Value, json};

use super::clock;
use crate::device::actions::Definition;
use crate::peers::{Slave, Target};
use crate::runtime::{DeviceRuntime, HouseCore};
use crate::surface::modbus;

/// The parts of a house.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct HouseSummary {
    /// The name of the scenario.
    name: String,
    /// The seed of the house's randomness.
    seed: u64,
    /// The number of resets so far.
    epoch: u64,
    devices: Vec<DeviceSummary>,
    slaves: Vec<SlaveSummary>,
    http_targets: Vec<TargetSummary>,
}

/// A device of a house.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct DeviceSummary {
    id: String,
    /// The firmware that runs, such as `2.0.2`.
    firmware: String,
    /// The licence, by its name in scenarios.
    license: &'static str,
    /// The address of its API.
    http: SocketAddr,
    /// The device's own Modbus server.
    modbus: modbus::ModbusSummary,
    /// The number of requests in progress.
    in_progress: usize,
    /// The ids of its actions. `None` if no definition is set.
    actions: Option<Vec<String>>,
    /// The state of its MQTT client.
    #[cfg(feature = "mqtt")]
    mqtt: crate::surface::mqtt::MqttStatus,
}

/// A slave of a house.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct SlaveSummary {
    name: String,
    address: SocketAddr,
    /// The names and addresses by which actions reach it.
    hosts: Vec<String>,
    /// The unit ids, ascending.
    units: Vec<u8>,
    /// False while a rule keeps its listener closed.
    listening: bool,
}

/// An HTTP target of a house.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct TargetSummary {
    name: String,
    address: SocketAddr,
    /// The names and addresses by which actions reach it.
    hosts: Vec<String>,
    /// The number of requests that it remembers.
    requests: usize,
}

/// Returns the body of `state`.
pub(super) fn state(house: &HouseCore) -> Value {
    let rules = house.engine().list();
    let mut state = json!({
        "clock": clock::to_json(house.clock()),
        "faults": {
            "rules": rules.len(),
            "armed": rules.iter().filter(|rule| rule.armed).count(),
            "fired": rules.iter().map(|rule| rule.fired).sum::<u64>(),
            "holding": rules.iter().map(|rule| rule.holding).sum::<usize>(),
        },
    });
    // A summary is an object; its fields are added to the others.
    if let (Value::Object(state), Ok(Value::Object(summary))) =
        (&mut state, serde_json::to_value(HouseSummary::new(house)))
    {
        state.extend(summary);
    }
    state
}

impl HouseSummary {
    fn new(house: &HouseCore) -> Self {
        let (scenario, peers) = (house.scenario(), house.peers());
        Self {
            name: scenario.name.clone(),
            seed: scenario.seed,
            epoch: house.epoch(),
            devices: house.devices().iter().map(|runtime| DeviceSummary::new(runtime)).collect(),
            slaves: peers.slaves().map(|slave| SlaveSummary::new(house, slave)).collect(),
            http_targets: peers.targets().map(|target| TargetSummary::new(house, target)).collect(),
        }
    }
}

impl DeviceSummary {
    fn new(runtime: &DeviceRuntime) -> Self {
        let device = &runtime.device;
        let identity = device.identity();
        let ids = |definition: &Definition| {
            definition.actions().iter().map(|action| action.id.to_string()).collect()
        };
        Self {
            id: identity.id.to_string(),
            firmware: device.view().firmware.to_string(),
            license: identity.license.name(),
            http: runtime.http.address(),
            modbus: runtime.modbus.summary(),
            in_progress: device.in_progress(),
            actions: device.definition().map(|definition| ids(&definition)),
            #[cfg(feature = "mqtt")]
            mqtt: runtime.mqtt.status(),
        }
    }
}

impl SlaveSummary {
    fn new(house: &HouseCore, slave: &Slave) -> Self {
        Self {
            name: slave.name().to_owned(),
            address: slave.address(),
            hosts: hosts(house, slave.name(), slave.address()),
            units: slave.units().collect(),
            listening: slave.is_listening(),
        }
    }
}

impl TargetSummary {
    fn new(house: &HouseCore, target: &Target) -> Self {
        Self {
            name: target.name().to_owned(),
            address: target.address(),
            hosts: hosts(house, target.name(), target.address()),
            requests: target.received_count(),
        }
    }
}

/// Returns the hosts by which actions reach the peer with this name and address. No two peers share
/// an address.
fn hosts(house: &HouseCore, name: &str, address: SocketAddr) -> Vec<String> {
    let peers = house.peers().peer_addresses().iter();
    let peer = peers.filter(|peer| peer.address == address).find(|peer| peer.name == name);
    peer.map(|peer| peer.hosts.iter().map(ToString::to_string).collect()).unwrap_or_default()
}
