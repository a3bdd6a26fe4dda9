//! From what is written to what it means: the mistakes that only sense can find.
//!
//! Unknown references, two listeners on one port, rules that can never fire. Every function goes on
//! after a mistake and gives the best it can; the result counts only where none was found.

mod to_raw;
mod device;
mod effect;
mod fault;
mod meter;
mod modbus;
mod place;
mod site;
mod slave;
mod target;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::Value;

pub(super) use self::to_raw::rule_to_raw;
use super::diagnostics::{Mistake, Mistakes, all_of, nearest};
use super::model::{DevicePlan, Mdns, Scenario, SlavePlan, TargetPlan, TargetRoute};
use super::path::FieldPath;
use super::raw;
use super::tree::{Node, NodeContent};
use crate::device::actions::Definition;
use crate::device::json;
use crate::fault::{Rule, WindowBudget};
use crate::limits;
use crate::modbus::bank::UnitLayout;
use crate::notation::shortened;
use crate::outbound::{Broker, HostAddress, Policy};

/// What is known beside the decoded file.
pub(super) struct LoadContext<'a> {
    /// Where the paths of the file start from; none for a text without a file.
    pub base_dir: Option<&'a std::path::Path>,
    /// The file's tree: the names of what was too wrong to be decoded are known all the same.
    pub root: &'a Node,
    /// Whether something at or below a path of the decoded file was found wrong before.
    pub damaged: &'a dyn Fn(&FieldPath) -> bool,
    /// Whether items of a list at or below a path of the decoded file were left out.
    pub shortened: &'a dyn Fn(&FieldPath) -> bool,
}

/// What rules can refer to. Where something is named but not known in detail, because it is wrong in
/// itself, its details are `None`, and nothing about them is called a mistake.
#[derive(Debug, Default)]
pub(super) struct Names<'a> {
    pub devices: Vec<Named<'a, Option<&'a Definition>>>,
    /// Whether the ids of all devices are known.
    pub devices_sound: bool,
    pub slaves: Vec<Named<'a, Units<'a>>>,
    pub targets: Vec<Named<'a, &'a [TargetRoute]>>,
}

/// A name, and what is known of what has it.
pub(super) type Named<'a, T> = (&'a str, Option<T>);

/// The units of a slave, by unit id.
pub(super) type Units<'a> = &'a [(u8, UnitLayout)];

impl<'a> Names<'a> {
    /// What a sound house offers.
    pub fn of(house: &'a Scenario) -> Self {
        let device =
            |plan: &'a DevicePlan| (plan.identity.id.as_str(), Some(plan.actions.as_deref()));
        Self {
            devices: house.devices.iter().map(device).collect(),
            devices_sound: true,
            slaves: house.slaves.iter().map(|plan| (&*plan.name, Some(&*plan.units))).collect(),
            targets: house
                .http_targets
                .iter()
                .map(|plan| (&*plan.name, Some(&*plan.routes)))
                .collect(),
        }
    }

    /// What a house under way offers: each part with whether it is sound, and the names of what was
    /// too wrong to be one.
    fn decoded(
        devices: &'a [(DevicePlan, bool)],
        slaves: &'a [(SlavePlan, bool)],
        targets: &'a [(TargetPlan, bool)],
        surroundings: &LoadContext<'a>,
    ) -> Self {
        let (root, damaged) = (FieldPath::root(), surroundings.damaged);
        let (slaves_path, targets_path) = (root.key("slaves"), root.key("http_targets"));
        let devices_sound = !damaged(&root.key("device")) && !damaged(&root.key("devices"));
        let device = |(plan, sound): &'a (DevicePlan, bool)| {
            let sound = *sound && devices_sound;
            (plan.identity.id.as_str(), sound.then_some(plan.actions.as_deref()))
        };
        let slave = |(plan, sound): &'a (SlavePlan, bool)| {
            let sound = *sound && !damaged(&slaves_path.key(&plan.name));
            (&*plan.name, sound.then_some(&*plan.units))
        };
        let target = |(plan, sound): &'a (TargetPlan, bool)| {
            let sound = *sound && !damaged(&targets_path.key(&plan.name));
            (&*plan.name, sound.then_some(&*plan.routes))
        };
        let mut known = Self {
            devices: devices.iter().map(device).collect(),
            devices_sound,
            slaves: slaves.iter().map(slave).collect(),
            targets: targets.iter().map(target).collect(),
        };
        add_names(surroundings.root, "slaves", &mut known.slaves);
        add_names(surroundings.root, "http_targets", &mut known.targets);
        known
    }
}

/// The house that a file means.
pub(super) fn house(
    raw: &raw::Scenario,
    surroundings: &LoadContext<'_>,
    mistakes: &mut Mistakes,
) -> Scenario {
    let default = Scenario::default();
    let root = FieldPath::root();
    let clock = raw.clock.clone().unwrap_or_default();
    let meter = raw
        .meter
        .as_ref()
        .map(|raw| meter::meter(raw, &root.key("meter"), surroundings.base_dir, mistakes));
    let meter = meter.unwrap_or_default();
    let mut devices = device::devices(raw, &meter, surroundings, mistakes);
    let slaves = slave::slaves(raw, surroundings, mistakes);
    let targets = target::targets(raw, mistakes);

    let known = Names::decoded(&devices, &slaves, &targets, surroundings);
    let faults = rules(raw.faults.as_deref().unwrap_or_default(), &known, mistakes);

    if devices.is_empty() {
        devices.push((DevicePlan { meter, ..DevicePlan::default() }, true));
    }
    let house = Scenario {
        name: raw.name.as_ref().map_or(default.name, |name| name.0.clone()),
        seed: raw.seed.unwrap_or(default.seed),
        start: clock.start.map(|start| start.0),
        speed: clock.speed.map_or(default.speed, |speed| speed.0),
        control: raw.control.map_or(default.control, |control| control.0),
        outbound: raw.outbound.map_or(default.outbound, policy),
        mdns: raw.mdns.map_or(default.mdns, mdns),
        devices: devices.into_iter().map(|(plan, _)| plan).collect(),
        slaves: slaves.into_iter().map(|(plan, _)| plan).collect(),
        http_targets: targets.into_iter().map(|(plan, _)| plan).collect(),
        mqtt_brokers: brokers(raw),
        faults,
        state_dir: None,
        source: default.source,
    };
    check_listeners(&house, raw, mistakes);
    check_all_hosts(&house, mistakes);
    house
}

/// A host is of one slave or target, and of one broker.
fn check_all_hosts(house: &Scenario, mistakes: &mut Mistakes) {
    let peers = house.slaves.iter().map(|plan| ("slaves", &plan.name, &plan.hosts));
    let targets = house.http_targets.iter().map(|plan| ("http_targets", &plan.name, &plan.hosts));
    check_hosts(peers.chain(targets), mistakes);
    // Brokers are known to MQTT clients alone, and these know nothing else.
    let brokers = house.mqtt_brokers.iter();
    check_hosts(brokers.map(|broker| ("mqtt_brokers", &broker.name, &broker.hosts)), mistakes);
}

/// Names of the file that were too wrong to be decoded.
fn add_names<'a, T>(root: &'a Node, section: &str, known: &mut Vec<Named<'a, T>>) {
    let NodeContent::Map(entries) = &root.content else { return };
    let Some(section) = entries.iter().find(|entry| &*entry.key == section) else { return };
    let NodeContent::Map(entries) = &section.value.content else { return };
    // Only where something was lost: the names are looked up one by one.
    if entries.len() > known.len() {
        for entry in entries {
            if !known.iter().any(|(name, _)| *name == &*entry.key) {
                known.push((&entry.key, None));
            }
        }
    }
}

/// The rules of a file.
fn rules(raw: &[raw::Rule], known: &Names<'_>, mistakes: &mut Mistakes) -> Vec<Rule> {
    let base = FieldPath::root().key("faults");
    if raw.len() > limits::FAULT_RULES {
        let message = format!("{} rules; a house takes {}", raw.len(), limits::FAULT_RULES);
        mistakes.push(Mistake::new(base, message).on_key());
        return Vec::new();
    }
    let mut ids: HashMap<String, usize> = HashMap::new();
    let mut rules = Vec::with_capacity(raw.len());
    let (mut rhythms, mut too_many) = (WindowBudget::default(), false);
    for (index, rule) in raw.iter().enumerate() {
        let path = base.index(index);
        let default_id = format!("fault-{}", index + 1);
        let id = rule.id.as_ref().map_or(&*default_id, raw::NameText::as_str).to_owned();
        if let Some(first) = ids.get(&id) {
            let mistake = Mistake::new(path.key("id"), format!("two rules are called `{id}`"))
                .help("give each its own id")
                .related(base.index(*first).key("id"), "first");
            mistakes.push(mistake);
        } else {
            ids.insert(id, index);
        }
        let Some(rule) = fault::rule(rule, &default_id, &path, known, mistakes) else { continue };
        let counted = rhythms.add(&rule);
        // All that follow would be too many as well.
        if let Err(windows) = counted
            && !std::mem::replace(&mut too_many, true)
        {
            let message = format!(
                "with this rule the windows of those over one meter begin {windows} times a day; at \
                 most {} are taken",
                limits::METER_WINDOWS_A_DAY
            );
            let help = "let some of them come round less often";
            mistakes.push(Mistake::new(path.key("when").key("every"), message).help(help));
        }
        rules.push(rule);
    }
    rules
}

/// A rule that came over the control plane.
pub(super) fn single_rule(
    raw: &raw::Rule,
    default_id: &str,
    house: &Scenario,
    mistakes: &mut Mistakes,
) -> Option<Rule> {
    fault::rule(raw, default_id, &FieldPath::root(), &Names::of(house), mistakes)
}

fn brokers(raw: &raw::Scenario) -> Vec<Broker> {
    let broker = |(name, raw): (&raw::NameText, &raw::Broker)| Broker {
        name: name.as_str().into(),
        address: raw.address.0.clone(),
        hosts: raw.hosts.iter().flatten().map(|host| host.0.clone()).collect(),
    };
    raw.mqtt_brokers.iter().flatten().map(broker).collect()
}

fn policy(word: raw::Outbound) -> Policy {
    match word {
        raw::Outbound::Deny => Policy::Deny,
        raw::Outbound::Loopback => Policy::Loopback,
        raw::Outbound::Allow => Policy::Allow,
    }
}

fn mdns(word: raw::Mdns) -> Mdns {
    match word {
        raw::Mdns::Off => Mdns::Off,
        raw::Mdns::Auto => Mdns::Auto,
        raw::Mdns::Loopback => Mdns::Loopback,
    }
}

/// A listener of the house: what it is, and where the file says so.
struct PlannedListener {
    address: SocketAddr,
    what: String,
    path: FieldPath,
}

/// No two on one port; port 0 takes any free one.
fn check_listeners(house: &Scenario, raw: &raw::Scenario, mistakes: &mut Mistakes) {
    let root = FieldPath::root();
    let mut listeners = vec![PlannedListener {
        address: house.control,
        what: "the control plane".into(),
        path: root.key("control"),
    }];
    for (index, plan) in house.devices.iter().enumerate() {
        let path = if raw.devices.is_some() {
            root.key("devices").index(index)
        } else {
            root.key("device")
        };
        let what = format!("device {}", plan.identity.id);
        listeners.push(PlannedListener { address: plan.http, what, path: path.key("http") });
        let written = raw.devices.as_ref().and_then(|devices| devices.get(index));
        let written = written.or(raw.device.as_ref()).is_some_and(|device| device.modbus.is_some());
        // One that is off and that nobody gave an address is in nobody's way.
        if written || plan.config.settings.services.modbus.enable {
            let what = format!("the Modbus server of device {}", plan.identity.id);
            let address = plan.modbus.listen;
            listeners.push(PlannedListener { address, what, path: path.key("modbus") });
        }
    }
    for SlavePlan { name, listen, .. } in &house.slaves {
        let path = root.key("slaves").key(name).key("listen");
        listeners.push(PlannedListener { address: *listen, what: format!("slave {name}"), path });
    }
    for TargetPlan { name, listen, .. } in &house.http_targets {
        let path = root.key("http_targets").key(name).key("listen");
        listeners.push(PlannedListener { address: *listen, what: format!("target {name}"), path });
    }
    let mut by_port: HashMap<u16, Vec<&PlannedListener>> = HashMap::new();
    for listener in listeners.iter().filter(|listener| listener.address.port() != 0) {
        let others = by_port.entry(listener.address.port()).or_default();
        if let Some(other) = others.iter().find(|other| collide(other.address, listener.address)) {
            let message =
                format!("{} and {} both listen on {}", other.what, listener.what, listener.address);
            let mistake = Mistake::new(listener.path.clone(), message)
                .help("give one of them another port, or port 0 for any free one")
                .related(other.path.clone(), other.what.clone());
            mistakes.push(mistake);
        }
        others.push(listener);
    }
}

/// Whether both cannot be bound: the same port on one interface, or on all of them.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port() && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
}

/// Who has which port of a name; who has all of them, without a port, comes first.
type Ports<'a> = BTreeMap<Option<u16>, (&'a HostAddress, FieldPath, &'a str)>;

/// A name leads to one place only: `all` is each section, name and hosts.
fn check_hosts<'a>(
    all: impl Iterator<Item = (&'a str, &'a Arc<str>, &'a Vec<HostAddress>)>,
    mistakes: &mut Mistakes,
) {
    let mut by_host: HashMap<&str, Ports<'_>> = HashMap::new();
    for (section, name, hosts) in all {
        for (index, host) in hosts.iter().enumerate() {
            let path = FieldPath::root().key(section).key(name).key("hosts").index(index);
            let others = by_host.entry(&host.host).or_default();
            let taken = match host.port {
                None => others.values().next(),
                port => others.get(&None).or_else(|| others.get(&port)),
            };
            if let Some((other, first, owner)) = taken {
                let message = format!("`{host}` already leads to `{owner}` as `{other}`");
                let mistake = Mistake::new(path.clone(), message)
                    .help("a name and port leads to one place; give ports to tell them apart")
                    .related(first.clone(), "first");
                mistakes.push(mistake);
            }
            others.entry(host.port).or_insert((host, path, name.as_ref()));
        }
    }
}

/// A mistake about a name that nothing has.
fn unknown<'a>(
    path: FieldPath,
    kind: &str,
    name: &str,
    known: impl Iterator<Item = &'a str>,
) -> Mistake {
    let known: Vec<_> = known.collect();
    let help = match known.as_slice() {
        [] => format!("the house has no {kind}"),
        few if few.len() <= 10 => {
            format!("the house has {}", all_of(few.iter().copied()))
        }
        many => format!("the house has {} of them", many.len()),
    };
    Mistake::new(path, format!("there is no {kind} `{}`", shortened(name)))
        .suggest(nearest(name, known.iter().copied()))
        .help(help)
}

/// What the device itself would refuse of `given`, each field with its message at its own place.
fn refused(
    given: &Value,
    path: &FieldPath,
    errors: impl IntoIterator<Item = (String, String)>,
    mistakes: &mut Mistakes,
) {
    for (field, message) in errors {
        let found = FieldPath::root().join(&field).find_in(given);
        let unquoted = found.is_some_and(|found| {
            (found.is_number() || found.is_boolean()) && json::no_string(found) == message
        });
        let mistake = Mistake::new(path.join(&field), message);
        mistakes.push(if unquoted { mistake.help("write it in quotes") } else { mistake });
    }
}
