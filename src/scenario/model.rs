//! A house as it is to be built: what a scenario means once it was found right.
//!
//! Everything here is valid by construction of [`super::load`]: names are unique and known, no two
//! listeners share a port, no rule is one that can never fire.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::clock::Speed;
use crate::device::actions::Definition;
use crate::device::network::Site;
use crate::device::{
    AccessPolicy, ActionPolicy, Config, DeviceId, Firmware, Hardware, Identity, License, Setup,
};
use crate::fault::{Method, Rule};
use crate::meter::MeterPlan;
use crate::modbus::bank::UnitLayout;
use crate::outbound::{Broker, HostAddress, Policy};

/// A house.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// What it is called.
    pub name: String,
    /// What all its randomness comes from.
    pub seed: u64,
    /// When it starts; where none, at the real time at which the house is built.
    pub start: Option<Timestamp>,
    /// How its time passes.
    pub speed: Speed,
    /// Where the control plane listens; loopback port 8090 unless the scenario says otherwise.
    pub control: SocketAddr,
    /// What the actions may reach beside the house itself.
    pub outbound: Policy,
    /// What the devices announce on the network.
    pub mdns: Mdns,
    /// The devices, one or more.
    pub devices: Vec<DevicePlan>,
    /// The Modbus slaves.
    pub slaves: Vec<SlavePlan>,
    /// The HTTP targets.
    pub http_targets: Vec<TargetPlan>,
    /// The MQTT brokers beside it.
    pub mqtt_brokers: Vec<Broker>,
    /// The faults, in the order of the file.
    pub faults: Vec<Rule>,
    /// Where what a user has set and stored outlives the process; it ends with it where none.
    pub state_dir: Option<PathBuf>,
    /// The text it was read from, for people who ask a running house what it is.
    pub source: Arc<str>,
}

/// What the devices of a house announce on the network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Mdns {
    /// Nothing.
    Off,
    /// What others than this machine can reach.
    #[default]
    Auto,
    /// Also what only this machine can reach, to this machine.
    Loopback,
}

/// A healthy device without actions, and nothing around it: what an empty file means.
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
    /// The port of the control plane unless the scenario says otherwise.
    pub const CONTROL_PORT: u16 = 8090;

    /// Lets every listener of the house take a free port.
    pub fn any_port(&mut self) {
        self.control.set_port(0);
        self.devices.iter_mut().for_each(|device| device.http.set_port(0));
        self.devices.iter_mut().for_each(|device| device.modbus.listen.set_port(0));
        self.slaves.iter_mut().for_each(|slave| slave.listen.set_port(0));
        self.http_targets.iter_mut().for_each(|target| target.listen.set_port(0));
    }

    /// Lets the first device listen at `address` and the others at the ports after it; with port 0
    /// each takes a free one.
    ///
    /// # Errors
    /// A message where there are more devices than ports.
    pub fn listen_http(&mut self, address: SocketAddr) -> Result<(), String> {
        self.listen(address, |device| &mut device.http)
    }

    /// The same for the devices' own Modbus servers.
    ///
    /// # Errors
    /// As [`Scenario::listen_http`].
    pub fn listen_modbus(&mut self, address: SocketAddr) -> Result<(), String> {
        self.listen(address, |device| &mut device.modbus.listen)
    }

    fn listen(
        &mut self,
        address: SocketAddr,
        of: impl Fn(&mut DevicePlan) -> &mut SocketAddr,
    ) -> Result<(), String> {
        let devices = self.devices.len();
        for (index, device) in self.devices.iter_mut().enumerate() {
            let port = match (address.port(), u16::try_from(index)) {
                (0, _) => Some(0),
                (first, Ok(index)) => first.checked_add(index),
                (_, Err(_)) => None,
            };
            let port = port.ok_or_else(|| {
                format!("{address}: {devices} devices do not fit between this port and 65535")
            })?;
            *of(device) = SocketAddr::new(address.ip(), port);
        }
        Ok(())
    }
}

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
}

/// A device.
#[derive(Debug, Clone, PartialEq)]
pub struct DevicePlan {
    /// Who it is.
    pub identity: Identity,
    /// The firmware of its first start.
    pub firmware: Firmware,
    /// Where its API listens.
    pub http: SocketAddr,
    /// Its own Modbus server.
    pub modbus: ModbusPlan,
    /// How its actions behave where the vendor leaves a choice.
    pub settings: ActionPolicy,
    /// The actions it starts with; none is as deleted.
    pub actions: Option<Arc<Definition>>,
    /// What it is set to at the start.
    pub config: Arc<Config>,
    /// Who gets in.
    pub access: AccessPolicy,
    /// Its meter.
    pub meter: MeterPlan,
    /// What it is plugged into and what is around it.
    pub site: Site,
    /// What it is built of.
    pub hardware: Hardware,
}

impl Default for DevicePlan {
    fn default() -> Self {
        let id = Self::default_id(0);
        let config = Arc::new(Config::factory(&id));
        Self {
            identity: Identity { id, license: License::default() },
            firmware: Firmware::DEFAULT,
            http: loopback(Self::HTTP_PORT),
            modbus: ModbusPlan::default(),
            settings: ActionPolicy::default(),
            actions: None,
            config,
            access: AccessPolicy::default(),
            meter: MeterPlan::default(),
            site: Site::default(),
            hardware: Hardware::default(),
        }
    }
}

impl DevicePlan {
    /// The port of the first device unless the scenario says otherwise; the next ones count up.
    pub const HTTP_PORT: u16 = 8080;
    /// The port of the first device's Modbus server unless the scenario says otherwise; the next ones
    /// count up.
    pub const MODBUS_PORT: u16 = 1502;
    /// The id of the first device unless the scenario says otherwise; the next ones count up.
    const FIRST_ID: u64 = 0xA842_E39F_8124;

    /// The device as it comes up in a house of this seed.
    #[must_use]
    pub fn setup(&self, seed: u64) -> Setup {
        Setup {
            identity: self.identity.clone(),
            firmware: self.firmware,
            actions: self.settings,
            definition: self.actions.clone(),
            config: Arc::clone(&self.config),
            access: self.access.clone(),
            meter: self.meter.clone(),
            site: self.site.clone(),
            hardware: self.hardware.clone(),
            seed,
            resumed: None,
            sd_dir: None,
        }
    }

    /// The id of the `index`-th device that has none of its own.
    #[must_use]
    pub fn default_id(index: u64) -> DeviceId {
        DeviceId::from_number(Self::FIRST_ID.wrapping_add(index))
    }

    /// Where the `index`-th device listens where the scenario does not say; none where the ports
    /// are used up.
    #[must_use]
    pub fn default_listener(index: usize) -> Option<SocketAddr> {
        let offset = u16::try_from(index).ok()?;
        Self::HTTP_PORT.checked_add(offset).map(loopback)
    }

    /// Where the Modbus server of the `index`-th device listens where the scenario does not say; none
    /// where the ports are used up.
    #[must_use]
    pub fn default_modbus(index: usize) -> Option<SocketAddr> {
        let offset = u16::try_from(index).ok()?;
        Self::MODBUS_PORT.checked_add(offset).map(loopback)
    }
}

/// A device's own Modbus server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModbusPlan {
    /// Where it listens once the device's settings switch it on.
    pub listen: SocketAddr,
    /// Whether function 3 reads the registers too.
    pub function_3: bool,
}

impl Default for ModbusPlan {
    fn default() -> Self {
        Self { listen: loopback(DevicePlan::MODBUS_PORT), function_3: false }
    }
}

/// A Modbus slave: one listener, several units.
#[derive(Debug, Clone, PartialEq)]
pub struct SlavePlan {
    /// Its name.
    pub name: Arc<str>,
    /// Where it listens.
    pub listen: SocketAddr,
    /// The names and addresses that actions reach it by.
    pub hosts: Vec<HostAddress>,
    /// Its units, by unit id, ascending. Requests to other unit ids get no answer, as on a bus
    /// behind a gateway, unless `unknown_unit` says otherwise.
    pub units: Vec<(u8, UnitLayout)>,
    /// The exception for a unit id that is not there; silence where none.
    pub unknown_unit: Option<u8>,
    /// How long a healthy reply takes.
    pub latency: Duration,
    /// Connections it serves at once; more are closed at once.
    pub max_connections: usize,
    /// Real idle time after which it closes a connection.
    pub idle: Duration,
}

impl SlavePlan {
    /// Where it listens where the scenario does not say: a free port.
    pub const DEFAULT_LISTENER: SocketAddr = loopback(0);
}

/// An HTTP target.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetPlan {
    /// Its name.
    pub name: Arc<str>,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Whether it speaks TLS, with a certificate the devices of the house trust.
    pub tls: bool,
    /// The names and addresses that actions reach it by.
    pub hosts: Vec<HostAddress>,
    /// What it answers, the first match; 404 where none matches.
    pub routes: Vec<TargetRoute>,
}

impl TargetPlan {
    /// Where it listens where the scenario does not say: a free port.
    pub const DEFAULT_LISTENER: SocketAddr = loopback(0);
}

/// One answer of a target.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetRoute {
    /// The method; any where none.
    pub method: Option<Method>,
    /// The path without its query; a `*` at the end matches what follows.
    pub path: String,
    /// The answers: one, or those it goes through one after another, beginning anew at the end (a
    /// light that toggles).
    pub replies: Vec<TargetReply>,
}

impl TargetRoute {
    /// Whether a request with this method and path, its query left away, is answered here.
    #[must_use]
    pub fn matches(&self, method: &str, path: &str) -> bool {
        self.method.is_none_or(|own| own.as_str() == method) && self.matches_path(path)
    }

    /// Whether a path is answered here by some method.
    #[must_use]
    pub fn matches_path(&self, path: &str) -> bool {
        match self.path.strip_suffix('*') {
            Some(begin) => path.starts_with(begin),
            None => path == self.path,
        }
    }

    /// Whether everything that `later` matches is answered here.
    #[must_use]
    pub fn covers(&self, later: &Self) -> bool {
        let exact = later.path.strip_suffix('*').map_or(self.matches_path(&later.path), |begin| {
            self.path.strip_suffix('*').is_some_and(|own| begin.starts_with(own))
        });
        exact && (self.method.is_none() || self.method == later.method)
    }
}

/// What a target answers.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetReply {
    /// The status, 200..=599.
    pub status: u16,
    /// Headers, in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
    /// How long it takes.
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
    fn a_route_serves_its_path_and_a_star_what_follows() {
        let route = |method, path: &str| TargetRoute { method, path: path.into(), replies: vec![] };
        assert!(route(None, "/light/0").matches("PUT", "/light/0"));
        assert!(!route(None, "/light/0").matches("PUT", "/light/01"));
        assert!(route(None, "/light/*").matches("GET", "/light/"));
        assert!(route(None, "*").matches("GET", "/"));
        assert!(!route(Some(Method::Put), "*").matches("GET", "/"));
    }
}
