//! The addresses of the devices of a fleet, and the expansion of the fleet.
//!
//! A fleet has a first address, from which the addresses of all its devices are counted, also of those on other
//! shards: so a device has the same address whatever the number of shards. An address that another listener of
//! the house has is passed over.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::super::OverrideError;
use super::super::diagnostics::{Mistake, Mistakes};
use super::super::fleet::{FleetListen, FleetPlan};
use super::super::model::{DevicePlan, ModbusBind, Scenario};
use super::super::path::FieldPath;
use super::super::raw;
use super::fleet::{FleetSource, device};
use super::listeners::{LoadOverrides, Taken, modbus_address};

/// Adds the devices of the fleet that the shard has, each with its addresses.
pub(super) fn expand(
    scenario: &mut Scenario,
    raw: &raw::Scenario,
    overrides: &LoadOverrides,
    taken: &mut Taken,
    mistakes: &mut Mistakes,
) -> Result<(), OverrideError> {
    let (Some(plan), Some(source)) = (&mut scenario.fleet, FleetSource::new(raw, overrides)) else {
        return Ok(());
    };
    if !(1..=crate::limits::FLEET_DEVICES).contains(&plan.count) {
        return Err(OverrideError::FleetSize(plan.count));
    }
    let mut assignment = Assignment { plan, source: &source, overrides, taken, mistakes };
    let Some(http) = assignment.http()? else { return Ok(()) };
    let Some(modbus) = assignment.modbus(&http)? else { return Ok(()) };
    if let (FleetListen::Shared { address, .. }, AssignedAddresses::Common(common)) =
        (&mut plan.listen, &http)
    {
        *address = *common;
    }
    for index in 0..plan.count {
        if overrides.shard.is_none_or(|shard| shard.has(plan.written + index)) {
            let mut device = device(plan, scenario.seed, index);
            (device.http, device.modbus.listen) = (http.of(index), modbus.of(index));
            device.modbus.bind = ModbusBind::WhenOn;
            scenario.devices.push(device);
        }
    }
    Ok(())
}

/// The addresses of the devices of a fleet for one service.
enum AssignedAddresses {
    /// One for all, also if each takes any free port.
    Common(SocketAddr),
    /// Ports on one address.
    Ports(IpAddr, Vec<u16>),
    /// Addresses with one port.
    Hosts(Vec<Ipv4Addr>, u16),
}

impl AssignedAddresses {
    fn of(&self, index: u32) -> SocketAddr {
        let index = index as usize;
        match self {
            Self::Common(address) => *address,
            // There is one for each device.
            Self::Ports(ip, ports) => SocketAddr::new(*ip, ports.get(index).copied().unwrap_or(0)),
            Self::Hosts(hosts, port) => {
                let ip = hosts.get(index).copied().unwrap_or(Ipv4Addr::LOCALHOST);
                SocketAddr::new(ip.into(), *port)
            }
        }
    }
}

/// The first address of a fleet.
struct First {
    address: SocketAddr,
    /// The path in the file. `None` if the caller gave it.
    path: Option<FieldPath>,
    /// The number of devices of the house that count up from the same address before the fleet.
    before: u32,
}

/// The assignment of the addresses of a fleet.
struct Assignment<'a> {
    plan: &'a FleetPlan,
    source: &'a FleetSource<'a>,
    overrides: &'a LoadOverrides,
    taken: &'a mut Taken,
    mistakes: &'a mut Mistakes,
}

impl Assignment<'_> {
    /// Returns the addresses of the devices' APIs. `None` after a mistake.
    fn http(&mut self) -> Result<Option<AssignedAddresses>, OverrideError> {
        let written = self.source.http().map(|http| http.0);
        let path = self.source.template_path().key("http");
        let first = self.first(self.overrides.http, written, &path, DevicePlan::HTTP);
        match self.plan.listen {
            FleetListen::Shared { .. } if first.address.port() == 0 => {
                Ok(Some(AssignedAddresses::Common(first.address)))
            }
            // A shared address is counted like that of one more device.
            FleetListen::Shared { .. } => Ok(self.ports(first, 1)?.map(|one| {
                let address = one.of(0);
                self.taken.take(address, "the fleet");
                AssignedAddresses::Common(address)
            })),
            FleetListen::Ports => self.ports(first, self.plan.count),
            FleetListen::Addresses => self.hosts(first),
        }
    }

    /// Returns the addresses of the devices' Modbus servers, which begin to listen when a client switches them on.
    fn modbus(
        &mut self,
        http: &AssignedAddresses,
    ) -> Result<Option<AssignedAddresses>, OverrideError> {
        let written = self.source.modbus().and_then(modbus_address);
        let path = self.source.template_path().key("modbus");
        let any = SocketAddr::new(http.of(0).ip(), 0);
        let first = self.first(self.overrides.modbus, written, &path, any);
        if let AssignedAddresses::Hosts(hosts, _) = http {
            return Ok(Some(AssignedAddresses::Hosts(hosts.clone(), first.address.port())));
        }
        if let AssignedAddresses::Ports(ip, ports) = http
            && first.address.port() != 0
        {
            for port in ports {
                self.taken.take(SocketAddr::new(*ip, *port), "the fleet");
            }
        }
        self.ports(first, self.plan.count)
    }

    /// Returns the first address: of the caller, of the file, or the default.
    fn first(
        &self,
        caller: Option<SocketAddr>,
        written: Option<SocketAddr>,
        path: &FieldPath,
        default: SocketAddr,
    ) -> First {
        let any = |mut address: SocketAddr| {
            if self.overrides.any_port {
                address.set_port(0);
            }
            address
        };
        let before = self.plan.written;
        match (caller, written) {
            (Some(address), _) => First { address, path: None, before },
            (None, Some(address)) => {
                First { address: any(address), path: Some(path.clone()), before: 0 }
            }
            (None, None) => First { address: any(default), path: Some(self.source.path()), before },
        }
    }

    /// Counts free ports from the first one on.
    fn ports(
        &mut self,
        first: First,
        count: u32,
    ) -> Result<Option<AssignedAddresses>, OverrideError> {
        let First { address, path, before } = first;
        if address.port() == 0 {
            return Ok(Some(AssignedAddresses::Common(address)));
        }
        let from = u32::from(address.port()).saturating_add(before);
        let candidates = (from..).map_while(|port| u16::try_from(port).ok());
        let is_free = |port: &u16| self.taken.is_free(SocketAddr::new(address.ip(), *port));
        let ports: Vec<u16> = candidates.filter(is_free).take(count as usize).collect();
        if ports.len() == count as usize {
            return Ok(Some(AssignedAddresses::Ports(address.ip(), ports)));
        }
        let Some(path) = path else {
            return Err(OverrideError::PortRange { first: address, devices: count as usize });
        };
        let message = format!("{count} devices, and {} free ports from {from} on", ports.len());
        let help = "give a lower first port, let them share one with `listen: shared`, or give each an \
                    address with `listen: addresses`";
        self.mistakes.push(Mistake::new(path, message).help(help).on_key());
        Ok(None)
    }

    /// Counts free addresses in 127.0.0.0/8 from the first one on.
    fn hosts(&mut self, first: First) -> Result<Option<AssignedAddresses>, OverrideError> {
        /// The last address of the network is that of a broadcast.
        const LAST: Ipv4Addr = Ipv4Addr::new(127, 255, 255, 254);
        let First { address, path, before } = first;
        let (port, count) = (address.port(), self.plan.count as usize);
        let hosts: Vec<Ipv4Addr> = match address.ip() {
            IpAddr::V4(ip) if ip.is_loopback() && !self.taken.has_everywhere(port) => {
                let from = ip.to_bits().saturating_add(before);
                let candidates = (from..=LAST.to_bits()).map(Ipv4Addr::from_bits);
                let is_free = |ip: &Ipv4Addr| {
                    port == 0 || self.taken.is_free(SocketAddr::new((*ip).into(), port))
                };
                candidates.filter(is_free).take(count).collect()
            }
            _ => Vec::new(),
        };
        if hosts.len() == count {
            return Ok(Some(AssignedAddresses::Hosts(hosts, port)));
        }
        let Some(path) = path else {
            return Err(OverrideError::AddressRange { first: address, devices: self.plan.count });
        };
        let message = format!("{count} devices do not find an address each from {address} on");
        let help = "the devices take the addresses of 127.0.0.0/8 that nobody else of the house has: give the \
                    first one, as 127.1.0.1:8080";
        self.mistakes.push(Mistake::new(path, message).help(help).on_key());
        Ok(None)
    }
}
