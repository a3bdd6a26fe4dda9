//! The addresses of the listeners, and the check that no two share one.
//!
//! An address is given, by the file or by the caller that starts the house, or it is counted: the house
//! has a first port for each kind of listener, and the devices count up from it. A counted port that
//! another listener of the house has is passed over. So only given addresses can be in each other's way,
//! and they are compared as they will be bound.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use super::super::OverrideError;
use super::super::diagnostics::{Mistake, Mistakes};
use super::super::fleet::Shard;
use super::super::model::{DevicePlan, ModbusPlan, Scenario};
use super::super::path::FieldPath;
use super::super::raw;

/// The values that the caller that loads a scenario gives in place of those of the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LoadOverrides {
    /// True if every listener takes a free port, except those that have an address here.
    pub any_port: bool,
    /// The address of the first device's API; those of the others count up from it.
    pub http: Option<SocketAddr>,
    /// The address of the first device's Modbus server; those of the others count up from it.
    pub modbus: Option<SocketAddr>,
    /// The address of the control plane.
    pub control: Option<SocketAddr>,
    /// The seed.
    pub seed: Option<u64>,
    /// The number of devices of the fleet. A scenario without a fleet gets one of devices like its `device`.
    pub fleet: Option<u32>,
    /// The shard of the house that the process has. `None` for the whole house.
    pub shard: Option<Shard>,
}

/// A listener of the house.
struct AssignedListener {
    /// The owner, for messages.
    owner: String,
    address: SocketAddr,
    source: AddressSource,
}

/// The source of an address.
enum AddressSource {
    /// The path in the file.
    File(FieldPath),
    Caller,
    Counted(Count),
}

/// A counted address: a first one, and the position from it on.
struct Count {
    first: SocketAddr,
    index: usize,
    /// The path of the owner in the file. `None` if the caller gave the first address.
    path: Option<FieldPath>,
}

/// Gives each listener its address, and reports those that share one with another.
///
/// # Errors
/// Returns an [`OverrideError`] if the addresses of the caller cannot be used.
pub(in super::super) fn assign_listeners(
    scenario: &mut Scenario,
    raw: &raw::Scenario,
    overrides: &LoadOverrides,
    mistakes: &mut Mistakes,
) -> Result<(), OverrideError> {
    let Planned { mut control, mut http, mut modbus, peers } = plan(scenario, raw, overrides);
    let mut taken = Taken::default();
    let devices = http.iter().zip(&modbus).flat_map(|(http, modbus)| [http, modbus]);
    for listener in std::iter::once(&control).chain(devices).chain(&peers) {
        taken.check_given(listener, mistakes)?;
    }
    let total = http.len();
    for series in [std::slice::from_mut(&mut control), &mut http, &mut modbus] {
        let mut next = 0;
        for listener in series {
            taken.count(listener, &mut next, total, mistakes)?;
        }
    }
    scenario.control = control.address;
    for (plan, (http, modbus)) in scenario.devices.iter_mut().zip(http.into_iter().zip(modbus)) {
        (plan.http, plan.modbus.listen) = (http.address, modbus.address);
    }
    super::fleet_listeners::expand(scenario, raw, overrides, &mut taken, mistakes)?;
    keep_shard(scenario, overrides.shard)?;
    if overrides.any_port {
        scenario.slaves.iter_mut().for_each(|slave| slave.listen.set_port(0));
        scenario.http_targets.iter_mut().for_each(|target| target.listen.set_port(0));
    }
    Ok(())
}

/// Removes the devices of other shards.
fn keep_shard(scenario: &mut Scenario, shard: Option<Shard>) -> Result<(), OverrideError> {
    let Some(shard) = shard else { return Ok(()) };
    scenario.shard = Some(shard);
    let fleet = scenario.fleet.as_ref();
    let devices = fleet.map_or(scenario.devices.len(), |plan| (plan.written + plan.count) as usize);
    scenario.devices.retain(|device| shard.has(device.index));
    if scenario.devices.is_empty() {
        return Err(OverrideError::EmptyShard { shard, devices });
    }
    Ok(())
}

/// The listeners of a house.
struct Planned {
    control: AssignedListener,
    /// The API of each device.
    http: Vec<AssignedListener>,
    /// The Modbus server of each device.
    modbus: Vec<AssignedListener>,
    /// The slaves and targets.
    peers: Vec<AssignedListener>,
}

fn plan(house: &Scenario, raw: &raw::Scenario, overrides: &LoadOverrides) -> Planned {
    let root = FieldPath::root();
    let written = |address: Option<SocketAddr>, path: FieldPath| {
        let mut address = address?;
        if overrides.any_port {
            address.set_port(0);
        }
        Some((address, AddressSource::File(path)))
    };
    let default = |first: SocketAddr, index: usize, path: FieldPath| {
        let any = SocketAddr::new(first.ip(), 0);
        let count = Count { first, index, path: Some(path) };
        if overrides.any_port {
            (any, AddressSource::Caller)
        } else {
            (first, AddressSource::Counted(count))
        }
    };
    let control = overrides
        .control
        .map(|address| (address, AddressSource::Caller))
        .or_else(|| written(raw.control.map(|control| control.0), root.key("control")));
    let (address, source) =
        control.unwrap_or_else(|| default(Scenario::default().control, 0, root.key("control")));
    let control = AssignedListener { owner: "the control plane".into(), address, source };
    let (mut http, mut modbus) = (Vec::new(), Vec::new());
    for (index, plan) in house.devices.iter().enumerate() {
        let (raw, path) = match &raw.devices {
            Some(devices) => (devices.get(index), root.key("devices").index(index)),
            None => (raw.device.as_ref(), root.key("device")),
        };
        let id = &plan.identity.id;
        let (address, source) = from_caller(overrides.http, index)
            .or_else(|| written(raw?.http.map(|http| http.0), path.key("http")))
            .unwrap_or_else(|| default(DevicePlan::HTTP, index, path.clone()));
        http.push(AssignedListener { owner: format!("device {id}"), address, source });
        let (address, source) = from_caller(overrides.modbus, index)
            .or_else(|| {
                let server = raw.and_then(|raw| raw.modbus.as_ref());
                written(server.and_then(modbus_address), path.key("modbus"))
            })
            .unwrap_or_else(|| default(ModbusPlan::default().listen, index, path));
        let owner = format!("the Modbus server of device {id}");
        modbus.push(AssignedListener { owner, address, source });
    }
    let peer = |kind: &str, section: &str, name: &str, listen| {
        let path = root.key(section).key(name).key("listen");
        let (address, source) = written(Some(listen), path)?;
        Some(AssignedListener { owner: format!("{kind} {name}"), address, source })
    };
    let slaves = house.slaves.iter();
    let slaves = slaves.filter_map(|plan| peer("slave", "slaves", &plan.name, plan.listen));
    let targets = house.http_targets.iter();
    let targets =
        targets.filter_map(|plan| peer("target", "http_targets", &plan.name, plan.listen));
    Planned { control, http, modbus, peers: slaves.chain(targets).collect() }
}

/// Returns the address of the `index`-th device if the caller gives that of the first one. With port 0
/// each device takes a free one.
fn from_caller(first: Option<SocketAddr>, index: usize) -> Option<(SocketAddr, AddressSource)> {
    let first = first?;
    let is_given = index == 0 || first.port() == 0;
    let count = Count { first, index, path: None };
    Some((first, if is_given { AddressSource::Caller } else { AddressSource::Counted(count) }))
}

pub(super) fn modbus_address(raw: &raw::DeviceModbus) -> Option<SocketAddr> {
    match raw {
        raw::Choice::Word(listen) => Some(listen.0),
        raw::Choice::Map(server) => server.listen.map(|listen| listen.0),
    }
}

/// The addresses that are taken, by port, each with its owner and its path in the file.
#[derive(Default)]
pub(super) struct Taken(HashMap<u16, Vec<TakenAddress>>);

struct TakenAddress {
    address: SocketAddr,
    owner: String,
    /// `None` if the caller gave the address.
    path: Option<FieldPath>,
}

impl Taken {
    /// Takes the address of a listener that has a given one. Port 0, which stands for a free one, is in
    /// nobody's way.
    fn check_given(
        &mut self,
        listener: &AssignedListener,
        mistakes: &mut Mistakes,
    ) -> Result<(), OverrideError> {
        let AssignedListener { owner, address, source } = listener;
        let path = match source {
            AddressSource::Counted(_) => return Ok(()),
            AddressSource::File(path) => Some(path.clone()),
            AddressSource::Caller => None,
        };
        if address.port() == 0 {
            return Ok(());
        }
        let others = self.0.entry(address.port()).or_default();
        if let Some(other) = others.iter().find(|other| collide(other.address, *address)) {
            let message = format!("{} and {owner} both listen on {address}", other.owner);
            let (path, related) = match (&path, &other.path) {
                (Some(path), related) => (path, related.as_ref()),
                (None, Some(path)) => (path, None),
                (None, None) => {
                    let (one, other) = (other.owner.clone(), owner.clone());
                    return Err(OverrideError::SameAddress { one, other, address: *address });
                }
            };
            let mut mistake = Mistake::new(path.clone(), message)
                .help("give one of them another port, or port 0 for any free one");
            if let Some(related) = related {
                mistake = mistake.related(related.clone(), other.owner.clone());
            }
            mistakes.push(mistake);
        }
        others.push(TakenAddress { address: *address, owner: owner.clone(), path });
        Ok(())
    }

    /// Gives a listener its counted address, if it has one: the first from its position on that nobody
    /// has. `next` is the port after that of the listener before it.
    fn count(
        &mut self,
        listener: &mut AssignedListener,
        next: &mut u32,
        devices: usize,
        mistakes: &mut Mistakes,
    ) -> Result<(), OverrideError> {
        let AddressSource::Counted(Count { first, index, path }) = &listener.source else {
            return Ok(());
        };
        let index = u32::try_from(*index).unwrap_or(u32::MAX);
        let own = u32::from(first.port()).saturating_add(index).max(*next);
        let candidates = (own..).map_while(|port| u16::try_from(port).ok());
        let mut candidates = candidates.map(|port| SocketAddr::new(first.ip(), port));
        let Some(address) = candidates.find(|address| self.is_free(*address)) else {
            let Some(path) = path else {
                return Err(OverrideError::PortRange { first: *first, devices });
            };
            let message = format!("{} has no default port left", listener.owner);
            mistakes.push(Mistake::new(path.clone(), message).help("give it one, as 127.0.0.1:0"));
            return Ok(());
        };
        *next = u32::from(address.port()) + 1;
        listener.address = address;
        let (owner, path) = (listener.owner.clone(), path.clone());
        self.0.entry(address.port()).or_default().push(TakenAddress { address, owner, path });
        Ok(())
    }

    /// Takes an address that was found free.
    pub(super) fn take(&mut self, address: SocketAddr, owner: &str) {
        let taken = TakenAddress { address, owner: owner.to_owned(), path: None };
        self.0.entry(address.port()).or_default().push(taken);
    }

    /// Returns true if a listener has this port on every address.
    pub(super) fn has_everywhere(&self, port: u16) -> bool {
        let others = self.0.get(&port).into_iter().flatten();
        others.into_iter().any(|other| other.address.ip().to_canonical().is_unspecified())
    }

    pub(super) fn is_free(&self, address: SocketAddr) -> bool {
        let others = self.0.get(&address.port());
        !others.is_some_and(|others| others.iter().any(|other| collide(other.address, address)))
    }
}

/// Returns true if the two cannot both be bound: they have the same port on one interface, or on all.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    // An IPv4 address can be written as an IPv6 one.
    let (one, other) = (a.ip().to_canonical(), b.ip().to_canonical());
    // A socket on every IPv6 address takes the IPv4 ones, too; one on every IPv4 address no IPv6 one.
    let covers = |all: IpAddr, ip: IpAddr| all.is_unspecified() && (all.is_ipv6() || ip.is_ipv4());
    a.port() == b.port() && (one == other || covers(one, other) || covers(other, one))
}
