//! The model of a house, as lowered from a valid scenario.
//!
//! A model that [`super::load`] returns is consistent: names are unique and known, no two listeners
//! share a port, and every rule can fire.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::fleet::{FleetListen, FleetPlan, Shard};
use crate::clock::Speed;
use crate::device::actions::Definition;
use crate::device::network::Site;
use crate::device::{
    AccessPolicy, ActionPolicy, Config, DeviceId, Firmware, Hardware, Identity, License, Setup,
};
use crate::fault::Rule;
use crate::meter::MeterPlan;
use crate::modbus::bank::UnitLayout;
use crate::modbus::slave::SlaveConfig;
use crate::net::http::Method;
use crate::outbound::{Broker, HostAddress, Policy};

/// The plan of a house.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// The name of the house.
    pub name: String,
    /// The seed of all its randomness.
    pub seed: u64,
    /// The civil time of its start. `None` for the real time at which the house is built.
    pub start: Option<Timestamp>,
    /// The speed of its clock.
    pub speed: Speed,
    /// The address of the control plane; by default port 8090 on loopback.
    pub control: SocketAddr,
    /// The hosts that actions may reach outside the house.
    pub outbound: Policy,
    /// The announcements of the devices on the network.
    pub mdns: Mdns,
    /// The devices that this process has, at least one: those of its shard, the fleet's after the others.
    pub devices: Vec<DevicePlan>,
    /// The fleet, of all shards. `None` if the house has none.
    pub fleet: Option<FleetPlan>,
    /// The shard that this process has. `None` if it has the whole house.
    pub shard: Option<Shard>,
    /// The Modbus slaves.
    pub slaves: Vec<SlavePlan>,
    /// The HTTP targets.
    pub http_targets: Vec<TargetPlan>,
    /// The MQTT brokers that devices may reach outside the house.
    pub mqtt_brokers: Vec<Broker>,
    /// The fault rules, in the order of the file.
    pub faults: Vec<Rule>,
    /// The directory for persistent state. `None` if the state ends with the process.
    pub state_dir: Option<PathBuf>,
    /// The text of the scenario, which the control plane shows.
    pub source: Arc<str>,
}

/// The mDNS announcements of the devices of a house.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Mdns {
    /// Nothing.
    Off,
    /// Services that other machines can reach.
    #[default]
    Auto,
    /// Also services that only this machine can reach, announced to this machine.
    Loopback,
}

/// Returns the plan of an empty scenario: a healthy device without actions, slaves and targets.
impl Default for Scenario {
    fn default() -> Self {
        Self {
            name: "house".into(),
            seed: 0,
            start: None,
            speed: Speed::REAL,
            control: loopback(Self::CONTROL_PORT),
            outbound: Policy::default(),
            mdns: Mdns::default(),
            devices: vec![DevicePlan::default()],
            fleet: None,
            shard: None,
            slaves: Vec::new(),
            http_targets: Vec::new(),
            mqtt_brokers: Vec::new(),
            faults: Vec::new(),
            state_dir: None,
            source: "".into(),
        }
    }
}

impl Scenario {
    /// The default port of the control plane.
    pub const CONTROL_PORT: u16 = 8090;

    /// Returns the actions with which each device starts, in the order of the devices.
    #[must_use]
    pub fn device_actions(&self) -> Vec<Option<Arc<Definition>>> {
        self.devices.iter().map(|plan| plan.actions.clone()).collect()
    }

    /// Sets the port of every listener to 0, so that each takes a free one.
    pub fn any_port(&mut self) {
        self.control.set_port(0);
        self.devices.iter_mut().for_each(|device| device.http.set_port(0));
        self.devices.iter_mut().for_each(|device| device.modbus.listen.set_port(0));
        if let Some(FleetListen::Shared { address, .. }) =
            self.fleet.as_mut().map(|fleet| &mut fleet.listen)
        {
            address.set_port(0);
        }
        self.slaves.iter_mut().for_each(|slave| slave.listen.set_port(0));
        self.http_targets.iter_mut().for_each(|target| target.listen.set_port(0));
    }
}

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
}

/// The plan of a device. Cheap to clone: devices share the parts that are equal.
#[derive(Debug, Clone, PartialEq)]
pub struct DevicePlan {
    /// The number of the device in the house, counted from 0. The devices of other shards count, too.
    pub index: u32,
    /// The number of the device in the fleet, counted from 0. `None` if it is not one of the fleet.
    pub fleet_index: Option<u32>,
    /// True if it is off at the start of the house, and goes online later.
    pub starts_off: bool,
    /// The identity of the device.
    pub identity: Identity,
    /// The firmware of its first start.
    pub firmware: Firmware,
    /// The address of its API; the common one if it shares that.
    pub http: SocketAddr,
    /// The device's own Modbus server.
    pub modbus: ModbusPlan,
    /// The behaviour of its actions for which the vendor leaves a choice.
    pub action_policy: ActionPolicy,
    /// The actions with which it starts. `None` if no definition is set.
    pub actions: Option<Arc<Definition>>,
    /// The configuration at the start.
    pub config: Arc<Config>,
    /// The access to its API.
    pub access_policy: Arc<AccessPolicy>,
    /// The meter.
    pub meter: Arc<MeterPlan>,
    /// The power, cable and Wi-Fi environment.
    pub site: Arc<Site>,
    /// The hardware.
    pub hardware: Arc<Hardware>,
}

impl Default for DevicePlan {
    fn default() -> Self {
        let id = Self::default_id(0);
        let config = Arc::new(Config::factory(&id));
        Self {
            index: 0,
            fleet_index: None,
            starts_off: false,
            identity: Identity { id, license: License::default() },
            firmware: Firmware::DEFAULT,
            http: Self::HTTP,
            modbus: ModbusPlan::default(),
            action_policy: ActionPolicy::default(),
            actions: None,
            config,
            access_policy: Arc::default(),
            meter: Arc::default(),
            site: Arc::default(),
            hardware: Arc::default(),
        }
    }
}

impl DevicePlan {
    /// The default address of the first device's API; those of the others count up.
    pub const HTTP: SocketAddr = loopback(8080);
    /// The default port of the first device's Modbus server; those of the others count up.
    pub const MODBUS_PORT: u16 = 1502;
    /// The default id of the first device; those of the others count up.
    const FIRST_ID: u64 = 0xA842_E39F_8124;

    /// Returns the setup of the device in a house with this seed.
    #[must_use]
    pub fn setup(&self, seed: u64) -> Setup {
        Setup {
            identity: self.identity.clone(),
            firmware: self.firmware,
            action_policy: self.action_policy,
            definition: self.actions.clone(),
            config: Arc::clone(&self.config),
            access_policy: Arc::clone(&self.access_policy),
            meter: Arc::clone(&self.meter),
            site: Arc::clone(&self.site),
            hardware: Arc::clone(&self.hardware),
            seed,
            resumed: None,
            sd_folder: None,
        }
    }

    /// Shares the parts that are equal to those of `other`.
    pub(crate) fn share_parts_with(&mut self, other: &Self) {
        share(&mut self.actions, &other.actions);
        share(&mut self.config, &other.config);
        share(&mut self.access_policy, &other.access_policy);
        share(&mut self.meter, &other.meter);
        share(&mut self.site, &other.site);
        share(&mut self.hardware, &other.hardware);
    }

    /// Returns the id of the `index`-th device without an id of its own.
    #[must_use]
    pub fn default_id(index: u64) -> DeviceId {
        DeviceId::from_number(Self::FIRST_ID.wrapping_add(index))
    }
}

fn share<T: Clone + PartialEq>(own: &mut T, other: &T) {
    if own == other {
        own.clone_from(other);
    }
}

/// The plan of a device's own Modbus server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModbusPlan {
    /// The address at which it listens once the device's settings switch it on.
    pub listen: SocketAddr,
    /// The time from which the house holds the port.
    pub bind: ModbusBind,
    /// True if function 3 reads the registers, too.
    pub function_3: bool,
}

/// The time from which the house holds the port of a device's Modbus server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum ModbusBind {
    /// From the start of the house, if the scenario leaves the choice of the port to the system: its number
    /// is known before the service is on, and stays.
    #[default]
    AtStart,
    /// From when the service is switched on until it is switched off. Without it, the device needs no
    /// descriptor for Modbus.
    WhenOn,
}

impl ModbusPlan {
    /// Returns true if the house holds the port from its start, whether the service is on or not.
    #[must_use]
    pub fn reserves_port(&self) -> bool {
        self.bind == ModbusBind::AtStart && self.listen.port() == 0
    }
}

impl Default for ModbusPlan {
    fn default() -> Self {
        Self {
            listen: loopback(DevicePlan::MODBUS_PORT),
            bind: ModbusBind::AtStart,
            function_3: false,
        }
    }
}

/// The plan of a Modbus slave, which is one listener with several units.
#[derive(Debug, Clone, PartialEq)]
pub struct SlavePlan {
    /// The name.
    pub name: Arc<str>,
    /// The address at which it listens.
    pub listen: SocketAddr,
    /// The names and addresses by which actions reach it.
    pub hosts: Vec<HostAddress>,
    /// The units, by unit id, ascending.
    pub units: Vec<(u8, UnitLayout)>,
    /// The exception for an unknown unit id. `None` if it gets no reply, as on a bus behind a gateway.
    pub unknown_unit: Option<u8>,
    /// The time that a reply takes without a fault.
    pub latency: Duration,
    /// The maximum number of connections; further ones are closed immediately.
    pub max_connections: usize,
    /// The real idle time after which it closes a connection.
    pub idle: Duration,
}

impl SlavePlan {
    /// The default address, with a free port.
    pub const DEFAULT_LISTENER: SocketAddr = loopback(0);

    /// Returns the description of the slave without the house around it.
    #[must_use]
    pub fn config(&self) -> SlaveConfig {
        SlaveConfig {
            name: Arc::clone(&self.name),
            listen: self.listen,
            units: self.units.clone(),
            unknown_unit: self.unknown_unit,
            latency: self.latency,
            max_connections: self.max_connections,
            idle: self.idle,
        }
    }
}

/// The plan of an HTTP target.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetPlan {
    /// The name.
    pub name: Arc<str>,
    /// The address at which it listens.
    pub listen: SocketAddr,
    /// True for `https`, with a certificate that the devices of the house trust.
    pub tls: bool,
    /// The names and addresses by which actions reach it.
    pub hosts: Vec<HostAddress>,
    /// The routes, of which the first match replies; without a match the reply is 404.
    pub routes: Vec<TargetRoute>,
}

impl TargetPlan {
    /// The default address, with a free port.
    pub const DEFAULT_LISTENER: SocketAddr = loopback(0);
}

/// A route of a target.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetRoute {
    /// The method. `None` for any.
    pub method: Option<Method>,
    /// The path without its query; a `*` at the end matches any rest.
    pub path: String,
    /// The replies, in turn, beginning anew after the last: a light that toggles.
    pub replies: Vec<TargetReply>,
}

impl TargetRoute {
    /// Returns true if this route matches a request with this method and path, without its query.
    #[must_use]
    pub fn matches(&self, method: &str, path: &str) -> bool {
        self.method.is_none_or(|own| own.as_str() == method) && self.matches_path(path)
    }

    /// Returns true if this route matches the path with some method.
    #[must_use]
    pub fn matches_path(&self, path: &str) -> bool {
        match self.path.strip_suffix('*') {
            Some(prefix) => path.starts_with(prefix),
            None => path == self.path,
        }
    }

    /// Returns true if this route matches every request that `later` matches.
    #[must_use]
    pub fn covers(&self, later: &Self) -> bool {
        let covers_path = match later.path.strip_suffix('*') {
            Some(prefix) => self.path.strip_suffix('*').is_some_and(|own| prefix.starts_with(own)),
            None => self.matches_path(&later.path),
        };
        covers_path && (self.method.is_none() || self.method == later.method)
    }
}

/// A reply of a target.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetReply {
    /// The status, 200..=599.
    pub status: u16,
    /// Headers, in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
    /// The time until it is sent.
    pub latency: Duration,
}

impl Default for TargetReply {
    fn default() -> Self {
        Self { status: 200, headers: Vec::new(), body: String::new(), latency: Duration::ZERO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_at_the_end_of_a_route_matches_any_rest() {
        let route = |method, path: &str| TargetRoute { method, path: path.into(), replies: vec![] };
        assert!(route(None, "/light/0").matches("PUT", "/light/0"));
        assert!(!route(None, "/light/0").matches("PUT", "/light/01"));
        assert!(route(None, "/light/*").matches("GET", "/light/"));
        assert!(route(None, "*").matches("GET", "/"));
        assert!(!route(Some(Method::Put), "*").matches("GET", "/"));
    }
}
