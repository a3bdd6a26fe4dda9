//! The warnings of a valid scenario: what is allowed, and probably not meant.
//!
//! They are computed from the scenario as it will run, so that what the command line overrides counts.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;

use super::diagnostics::{Diagnostics, Mistake, Mistakes, Severity, nearest};
use super::model::{DevicePlan, Scenario, SlavePlan};
use super::path::FieldPath;
use super::raw::EXTENSION_PATTERN;
use super::tree::{self, Node, NodeContent, NodeKind};
use crate::device::actions::{PreparedRequest, UndefinedConstant};
use crate::device::config::BrokerUrl;
use crate::notation::shortened;
use crate::outbound::{HostAddress, LOCALHOST, Policy, address_of, listens_at};

impl Scenario {
    /// Returns what is allowed in this scenario and probably not meant: hosts in actions that nobody in
    /// the house has, constants that are not defined, slaves without units. They are reported under
    /// `file_name`.
    #[must_use]
    pub fn warnings(&self, file_name: &str) -> Diagnostics {
        let mut warnings = Mistakes::default();
        // The text was parsed before. A scenario that was not read from a text is like an empty one.
        let root = tree::parse(&self.source).map_or_else(|_| Node::nothing(), |tree| tree.root);
        if says_nothing(&root) {
            let message = "the file says nothing: the house is one device without actions";
            let help = "docs/scenarios.md shows what a house can have";
            warnings.push(Mistake::new(FieldPath::root(), message).help(help));
        }
        for slave in &self.slaves {
            check_slave(slave, &mut warnings);
        }
        HostCheck::new(self, &root).run(&mut warnings);
        Diagnostics::from_mistakes(file_name, &self.source, &root, warnings)
            .with_severity(Severity::Warning)
    }
}

/// Returns true if a document has no key that is read.
fn says_nothing(root: &Node) -> bool {
    match &root.content {
        NodeContent::Scalar(scalar) => scalar.kind == NodeKind::Null,
        NodeContent::Map(entries) => entries
            .iter()
            .all(|entry| entry.key.starts_with(EXTENSION_PATTERN.trim_start_matches('^'))),
        NodeContent::List(_) => false,
    }
}

fn check_slave(slave: &SlavePlan, warnings: &mut Mistakes) {
    let path = FieldPath::root().key("slaves").key(&slave.name);
    if slave.units.is_empty() {
        let message = format!("slave `{}` has no units: it answers no request", slave.name);
        let help = "give it `units`, as {1: {holding: [{address: 10}]}}";
        warnings.push(Mistake::new(path, message).help(help).on_key());
        return;
    }
    for (id, unit) in &slave.units {
        let tables = unit.coils.len() + unit.discrete.len() + unit.holding.len() + unit.input.len();
        if tables == 0 {
            let path = path.key("units").key(&id.to_string());
            let message = format!("unit {id} has no registers and no bits");
            let help = "give it `coils`, `discrete`, `holding` or `input`";
            warnings.push(Mistake::new(path, message).help(help).on_key());
        }
    }
}

/// The check of the hosts that devices name against those that they reach, as
/// `action_client::resolver` does it when they run.
struct HostCheck<'a> {
    house: &'a Scenario,
    /// The tree of the file, which says under which key the actions of a device are.
    root: &'a Node,
    /// The hosts of the slaves and targets, by name.
    peers: BTreeMap<&'a str, Vec<&'a HostAddress>>,
    /// The addresses on which slaves and targets listen, by port.
    listeners: HashMap<u16, Vec<IpAddr>>,
    /// The hosts that were reported: each is, once.
    reported: HashSet<(String, u16)>,
}

/// A host that a device names.
struct NamedHost<'a> {
    host: &'a str,
    port: u16,
    path: FieldPath,
}

impl<'a> HostCheck<'a> {
    fn new(house: &'a Scenario, root: &'a Node) -> Self {
        let slaves = house.slaves.iter().map(|plan| (&plan.hosts, plan.listen));
        let targets = house.http_targets.iter().map(|plan| (&plan.hosts, plan.listen));
        let mut peers: BTreeMap<&str, Vec<&HostAddress>> = BTreeMap::new();
        let mut listeners: HashMap<u16, Vec<IpAddr>> = HashMap::new();
        for (hosts, listen) in slaves.chain(targets) {
            for host in hosts {
                peers.entry(&host.host).or_default().push(host);
            }
            listeners.entry(listen.port()).or_default().push(listen.ip());
        }
        Self { house, root, peers, listeners, reported: HashSet::new() }
    }

    fn run(mut self, warnings: &mut Mistakes) {
        let house = self.house;
        for device in house.devices.iter().filter(|device| device.fleet_index.is_none()) {
            let path = self.device_path(device.index as usize);
            self.check_device(device, &path, &path, warnings);
        }
        // The devices of a fleet differ in nothing that is checked here but their kinds.
        let kinds = house.fleet.iter().flat_map(|fleet| fleet.mix.iter().enumerate());
        for (index, kind) in kinds {
            let root = FieldPath::root();
            let (template, entry) = match self.root.get("fleet") {
                Some(_) => {
                    let fleet = root.key("fleet");
                    (fleet.key("template"), fleet.key("mix").index(index))
                }
                None => (root.key("device"), root.key("device")),
            };
            self.check_device(&kind.device, &template, &entry, warnings);
        }
    }

    /// Checks a device that is written at `path`, apart from what is written at `own`.
    fn check_device(
        &mut self,
        device: &DevicePlan,
        path: &FieldPath,
        own: &FieldPath,
        warnings: &mut Mistakes,
    ) {
        if warnings.is_full() {
            return;
        }
        let at = |key: &str| if self.root.find(&own.key(key)).is_some() { own } else { path };
        let (actions, broker) = (at("actions"), at("mqtt"));
        let actions = if actions == path { at("actions_file") } else { actions };
        self.check_actions(device, actions, warnings);
        self.check_broker(device, broker, warnings);
    }

    /// Returns the path of a device in the file.
    fn device_path(&self, index: usize) -> FieldPath {
        let root = FieldPath::root();
        match self.root.get("devices") {
            Some(_) => root.key("devices").index(index),
            None => root.key("device"),
        }
    }

    fn check_actions(&mut self, device: &DevicePlan, path: &FieldPath, warnings: &mut Mistakes) {
        let Some(definition) = &device.actions else { return };
        let inline = path.key("actions");
        let is_inline = self.root.find(&inline).is_some();
        for (index, action) in definition.actions().iter().enumerate() {
            for (number, request) in action.requests.iter().enumerate() {
                if !request.enable() {
                    continue;
                }
                let place = |field: &str| {
                    if is_inline {
                        inline.join(&format!("actions[{index}].requests[{number}].{field}"))
                    } else {
                        path.key("actions_file")
                    }
                };
                if let Some(UndefinedConstant { field, name }) =
                    definition.undefined_constant(request)
                {
                    let message =
                        format!("no constant `{}`: the request cannot be sent", shortened(&name));
                    let near = nearest(&name, definition.constant_names());
                    let help = "define it under `const`";
                    warnings.push(Mistake::new(place(field), message).suggest(near).help(help));
                }
                // A request that cannot be sent reaches no host.
                if let Ok(prepared) = definition.prepare(request) {
                    self.check_host(&prepared, place, warnings);
                }
            }
        }
    }

    /// Checks the host of a request, whose fields are at these places.
    fn check_host(
        &mut self,
        request: &PreparedRequest,
        place: impl Fn(&str) -> FieldPath,
        warnings: &mut Mistakes,
    ) {
        let named = match request {
            PreparedRequest::Http(http) => {
                NamedHost { host: &http.host, port: http.port, path: place("http.url") }
            }
            PreparedRequest::Modbus(modbus) => {
                NamedHost { host: &modbus.host, port: modbus.port, path: place("modbus.host") }
            }
        };
        if !self.reaches_peer(&named) && !self.reaches_outside(&named) {
            let known = self.peers.values().flatten().map(ToString::to_string);
            self.report(&named, "slave or target", &known.collect::<Vec<_>>(), warnings);
        }
    }

    fn check_broker(&mut self, device: &DevicePlan, path: &FieldPath, warnings: &mut Mistakes) {
        let mqtt = &device.config.mqtt;
        let Ok(url) = mqtt.url.parse::<BrokerUrl>() else { return };
        let path = path.key("mqtt").key("url");
        let named = NamedHost { host: &url.host, port: url.port, path };
        let brokers = &self.house.mqtt_brokers;
        let is_known = brokers.iter().any(|broker| broker.matches(&url.host, url.port));
        if !mqtt.enable || is_known || self.reaches_outside(&named) {
            return;
        }
        let known = brokers.iter().flat_map(|broker| &broker.hosts).map(ToString::to_string);
        self.report(&named, "broker", &known.collect::<Vec<_>>(), warnings);
    }

    /// Returns true if a slave or target of the house has the host.
    fn reaches_peer(&self, named: &NamedHost<'_>) -> bool {
        let host = named.host.to_ascii_lowercase();
        let hosts = self.peers.get(&*host).into_iter().flatten();
        let is_heard = |ip: IpAddr| {
            let mut own = self.listeners.get(&named.port).into_iter().flatten();
            own.any(|own| listens_at(*own, ip))
        };
        hosts.into_iter().any(|own| own.matches(&host, named.port))
            || address_of(&host).is_some_and(is_heard)
    }

    /// Returns true if the policy allows the host, or if it is one that nobody can have.
    fn reaches_outside(&self, named: &NamedHost<'_>) -> bool {
        let policy = self.house.outbound;
        let ip: Option<IpAddr> = named.host.parse().ok();
        let is_allowed = match ip {
            Some(ip) => policy.allows(ip),
            None if named.host.eq_ignore_ascii_case(LOCALHOST) => policy != Policy::Deny,
            None => policy == Policy::Allow,
        };
        is_allowed || ip.map_or_else(|| is_reserved_name(named.host), is_reserved_address)
    }

    fn report(
        &mut self,
        named: &NamedHost<'_>,
        kind: &str,
        known: &[String],
        warnings: &mut Mistakes,
    ) {
        let NamedHost { host, port, path } = named;
        if !self.reported.insert((host.to_ascii_lowercase(), *port)) {
            return;
        }
        let host = shortened(host);
        let hosts = known.iter().map(|known| known.split(':').next().unwrap_or_default());
        let near = nearest(&host, hosts.filter(|other| *other != host)).map(str::to_owned);
        let message = format!("no {kind} of the house has the host `{host}` on port {port}");
        let help = format!(
            "add it to the `hosts` of a {kind}, or let it out with `outbound: loopback` or `allow`"
        );
        warnings.push(Mistake::new(path.clone(), message).suggest(near).help(help));
    }
}

/// Returns true for a name that leads nowhere on purpose (RFC 6761, section 6.4).
fn is_reserved_name(host: &str) -> bool {
    host.trim_end_matches('.').rsplit('.').next() == Some("invalid")
}

/// Returns true for an address that leads nowhere on purpose: one of the networks for documentation
/// (RFC 5737, RFC 3849).
fn is_reserved_address(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_documentation(),
        IpAddr::V6(ip) => ip.segments()[..2] == [0x2001, 0x0db8],
    }
}
