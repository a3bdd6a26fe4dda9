//! `state`: the clock, the counts of rules, and the parts of the house.

use std::net::SocketAddr;
use std::sync::Arc;

use serde::Serialize;
use serde_json::json;

use super::clock;
use super::listing::{elements, text};
use crate::device::actions::Definition;
use crate::net::http::{PageSource, Parts};
use crate::net::sockets::reachable_address;
use crate::peers::{Slave, Target};
use crate::runtime::{DeviceRuntime, HouseCore};
use crate::surface::modbus;

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
    /// The host that a request needs if the port is shared by host.
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    /// The prefix that a path needs if the port is shared by path.
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<String>,
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

/// Returns the source of the body of `state`. Each part of the house is described when it is written.
pub(super) fn state(house: &Arc<HouseCore>) -> impl PageSource + use<> {
    let devices = of_each(house, house.devices().len(), |house, index| {
        house.devices().get(index).map(|runtime| DeviceSummary::new(runtime))
    });
    let slaves = of_each(house, house.peers().slaves().count(), |house, index| {
        house.peers().slaves().nth(index).map(|slave| SlaveSummary::new(house, slave))
    });
    let targets = of_each(house, house.peers().targets().count(), |house, index| {
        house.peers().targets().nth(index).map(|target| TargetSummary::new(house, target))
    });
    let parts = text(&beginning(house))
        .chain(text("\"devices\":["))
        .chain(elements(devices))
        .chain(text("],\"slaves\":["))
        .chain(elements(slaves))
        .chain(text("],\"http_targets\":["))
        .chain(elements(targets))
        .chain(text("]}"));
    Parts(parts)
}

/// Returns the beginning of the body, up to the lists of the parts.
fn beginning(house: &HouseCore) -> String {
    let rules = house.engine().list();
    let scenario = house.scenario();
    let mut text = json!({
        "clock": clock::to_json(house.clock()),
        "faults": {
            "rules": rules.len(),
            "armed": rules.iter().filter(|rule| rule.armed).count(),
            "fired": rules.iter().map(|rule| rule.fired).sum::<u64>(),
            "holding": rules.iter().map(|rule| rule.holding).sum::<usize>(),
        },
        "name": scenario.name,
        "seed": scenario.seed,
        // The number of resets so far.
        "epoch": house.epoch(),
    })
    .to_string();
    text.pop();
    text.push(',');
    text
}

/// Returns the descriptions of all parts of a kind.
fn of_each<T, F>(
    house: &Arc<HouseCore>,
    count: usize,
    describe: F,
) -> impl Iterator<Item = T> + Send + use<T, F>
where
    F: Fn(&HouseCore, usize) -> Option<T> + Send,
{
    let house = Arc::clone(house);
    (0..count).filter_map(move |index| describe(&house, index))
}

impl DeviceSummary {
    fn new(runtime: &DeviceRuntime) -> Self {
        let device = &runtime.device;
        let identity = device.identity();
        let mut modbus = runtime.modbus.summary();
        modbus.address = modbus.address.map(reachable_address);
        let ids = |definition: &Definition| {
            definition.actions().iter().map(|action| action.id.to_string()).collect()
        };
        Self {
            id: identity.id.to_string(),
            firmware: device.view().firmware.to_string(),
            license: identity.license.name(),
            http: reachable_address(runtime.http.address()),
            host: runtime.http.host(),
            prefix: runtime.http.prefix(),
            modbus,
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
            address: reachable_address(slave.address()),
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
            address: reachable_address(target.address()),
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
