//! Lowering of the raw types to the model, with the semantic checks.
//!
//! The checks find unknown references, two listeners on one port, rules that can never fire, and the
//! like. Every function goes on after a mistake and returns the best result that it can; the results
//! are used only if no mistake was found.

mod device;
mod fault;
mod fleet;
mod fleet_listeners;
mod listeners;
mod meter;
mod modbus;
mod place;
mod site;
mod slave;
mod target;
mod to_raw;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

pub use self::listeners::LoadOverrides;
pub(super) use self::listeners::assign_listeners;
pub(super) use self::to_raw::rule_to_raw;
use super::diagnostics::{Mistake, Mistakes, join_and, nearest};
use super::fleet::FleetPlan;
use super::model::{DevicePlan, Mdns, Scenario, SlavePlan, TargetPlan, TargetRoute};
use super::path::FieldPath;
use super::raw;
use super::tree::{Node, NodeContent};
use crate::device::DeviceId;
use crate::device::actions::Definition;
use crate::fault::{Rule, WindowBudget};
use crate::limits;
use crate::modbus::bank::UnitLayout;
use crate::notation::shortened;
use crate::outbound::{Broker, HostAddress, Policy};

/// The circumstances of loading a file.
pub(super) struct LoadContext<'a> {
    /// The folder to which the paths in the file are relative. `None` for a text without a file.
    pub base_dir: Option<&'a std::path::Path>,
    /// The tree of the file, which has the names of parts that could not be decoded, too.
    pub root: &'a Node,
    /// Returns true if the structural check found a mistake at or below a path of the decoded file.
    pub has_mistakes: &'a dyn Fn(&FieldPath) -> bool,
}

/// A lowered part of a scenario.
#[derive(Debug)]
pub(super) struct Lowered<T> {
    pub plan: T,
    /// True if lowering found no mistake in it.
    pub valid: bool,
}

/// The names to which rules can refer, with their details. The details are `None` if the part that
/// has the name has mistakes itself; a reference to it is not checked further then.
#[derive(Debug, Default)]
pub(super) struct Names<'a> {
    /// The devices that are not of the fleet.
    pub devices: Vec<NameEntry<'a, Option<&'a Definition>>>,
    /// The devices of the fleet, of all shards.
    pub fleet: Option<FleetNames<'a>>,
    /// True if the ids of all devices are known.
    pub devices_complete: bool,
    pub slaves: Vec<NameEntry<'a, Units<'a>>>,
    pub targets: Vec<NameEntry<'a, &'a [TargetRoute]>>,
}

/// The devices of a fleet, by their actions: there are too many to list them.
#[derive(Debug)]
pub(super) struct FleetNames<'a> {
    plan: &'a FleetPlan,
    seed: u64,
    /// True if the fleet has no mistakes.
    valid: bool,
    /// Actions that devices have now, which may be others than those of the plan: each once, and by device.
    current: Option<CurrentActions<'a>>,
}

/// The actions of a device. `None` if it has none.
type OwnActions<'a> = Option<&'a Definition>;

/// The actions that the devices of a running fleet have.
#[derive(Debug)]
struct CurrentActions<'a> {
    by_index: HashMap<u32, OwnActions<'a>>,
    distinct: Vec<OwnActions<'a>>,
}

impl<'a> FleetNames<'a> {
    /// Returns the number of the device with this id. `None` if it is none of the fleet.
    pub(super) fn index_of(&self, id: &str) -> Option<u32> {
        self.plan.index_of(&id.parse().ok()?)
    }

    /// Returns the first and the last id, and the number of devices.
    pub(super) fn range(&self) -> (DeviceId, DeviceId, u32) {
        let ids = &self.plan.ids;
        (ids.id(0), ids.id(self.plan.count.saturating_sub(1)), self.plan.count)
    }

    /// Returns the actions of one device of the fleet, or those that devices of the fleet have, each once.
    pub(super) fn definitions(&self, id: Option<&str>) -> Vec<Option<OwnActions<'a>>> {
        let Some(id) = id else {
            let current = self.current.iter().flat_map(|current| current.distinct.iter().copied());
            let kinds = self.plan.mix.iter().map(|kind| kind.device.actions.as_deref());
            return current
                .chain(kinds)
                .map(|definition| self.valid.then_some(definition))
                .collect();
        };
        let Some(index) = self.index_of(id) else { return Vec::new() };
        let current = self.current.as_ref().and_then(|current| current.by_index.get(&index));
        let planned = || {
            let kind = self.plan.kind_of(self.seed, &self.plan.ids.id(index));
            kind.device.actions.as_deref()
        };
        let definition = current.copied().unwrap_or_else(planned);
        vec![self.valid.then_some(definition)]
    }
}

/// The actions that each device of a running house has, in the order of its scenario.
pub type DeviceActions = [Option<Arc<Definition>>];

/// A name and its details.
pub(super) type NameEntry<'a, T> = (&'a str, Option<T>);

/// The units of a slave, by unit id.
pub(super) type Units<'a> = &'a [(u8, UnitLayout)];

impl<'a> Names<'a> {
    /// Collects the names of a running house.
    pub(super) fn from_scenario(scenario: &'a Scenario, actions: &'a DeviceActions) -> Self {
        let devices = scenario.devices.iter().zip(actions);
        let written = devices.clone().filter(|(plan, _)| plan.fleet_index.is_none());
        let device = |(plan, actions): (&'a DevicePlan, &'a Option<Arc<Definition>>)| {
            (plan.identity.id.as_str(), Some(actions.as_deref()))
        };
        let fleet = scenario.fleet.as_ref().map(|plan| {
            let by_index: HashMap<u32, _> = devices
                .filter_map(|(plan, actions)| Some((plan.fleet_index?, actions.as_deref())))
                .collect();
            let mut distinct: Vec<Option<&Definition>> = by_index.values().copied().collect();
            let address = |actions: OwnActions<'_>| actions.map(std::ptr::from_ref);
            distinct.sort_unstable_by_key(|actions| address(*actions));
            distinct.dedup_by_key(|actions| address(*actions));
            let current = Some(CurrentActions { by_index, distinct });
            FleetNames { plan, seed: scenario.seed, valid: true, current }
        });
        let slave = |plan: &'a SlavePlan| (&*plan.name, Some(&*plan.units));
        let target = |plan: &'a TargetPlan| (&*plan.name, Some(&*plan.routes));
        Self {
            devices: written.map(device).collect(),
            fleet,
            devices_complete: true,
            slaves: scenario.slaves.iter().map(slave).collect(),
            targets: scenario.http_targets.iter().map(target).collect(),
        }
    }

    /// Collects the names of a scenario that is being lowered, also those of parts that could not be
    /// decoded.
    fn collect(
        (devices, fleet, seed): (&'a [Lowered<DevicePlan>], Option<&'a Lowered<FleetPlan>>, u64),
        slaves: &'a [Lowered<SlavePlan>],
        targets: &'a [Lowered<TargetPlan>],
        context: &LoadContext<'a>,
    ) -> Self {
        let (root, has_mistakes) = (FieldPath::root(), context.has_mistakes);
        let (slaves_path, targets_path) = (root.key("slaves"), root.key("http_targets"));
        let sections = ["device", "devices", "fleet"];
        let devices_complete = !sections.iter().any(|section| has_mistakes(&root.key(section)));
        let fleet = fleet.map(|Lowered { plan, valid }| {
            let valid = *valid && devices_complete;
            FleetNames { plan, seed, valid, current: None }
        });
        let device = |Lowered { plan, valid }: &'a Lowered<DevicePlan>| {
            let valid = *valid && devices_complete;
            (plan.identity.id.as_str(), valid.then_some(plan.actions.as_deref()))
        };
        let slave = |Lowered { plan, valid }: &'a Lowered<SlavePlan>| {
            let valid = *valid && !has_mistakes(&slaves_path.key(&plan.name));
            (&*plan.name, valid.then_some(&*plan.units))
        };
        let target = |Lowered { plan, valid }: &'a Lowered<TargetPlan>| {
            let valid = *valid && !has_mistakes(&targets_path.key(&plan.name));
            (&*plan.name, valid.then_some(&*plan.routes))
        };
        let mut names = Self {
            devices: devices.iter().map(device).collect(),
            fleet,
            devices_complete,
            slaves: slaves.iter().map(slave).collect(),
            targets: targets.iter().map(target).collect(),
        };
        add_undecoded(context.root, "slaves", &mut names.slaves);
        add_undecoded(context.root, "http_targets", &mut names.targets);
        names
    }
}

/// Lowers a whole file.
pub(super) fn scenario(
    raw: &raw::Scenario,
    context: &LoadContext<'_>,
    overrides: &LoadOverrides,
    mistakes: &mut Mistakes,
) -> Scenario {
    let default = Scenario::default();
    let root = FieldPath::root();
    let clock = raw.clock.clone().unwrap_or_default();
    let meter = raw
        .meter
        .as_ref()
        .map(|raw| meter::meter(raw, &root.key("meter"), context.base_dir, mistakes));
    let meter = Arc::new(meter.unwrap_or_default());
    let seed = overrides.seed.or(raw.seed).unwrap_or(default.seed);
    let source = fleet::FleetSource::new(raw, overrides);
    let mut devices = if source.as_ref().is_some_and(fleet::FleetSource::replaces_device) {
        Vec::new()
    } else {
        device::devices(raw, &meter, context, mistakes)
    };
    let fleet =
        source.map(|source| fleet::fleet(&source, &devices, (raw, &meter), context, mistakes));
    let slaves = slave::slaves(raw, context, mistakes);
    let targets = target::targets(raw, mistakes);

    let names = Names::collect((&devices, fleet.as_ref(), seed), &slaves, &targets, context);
    let faults = rules(raw.faults.as_deref().unwrap_or_default(), &names, mistakes);

    if devices.is_empty() && fleet.is_none() {
        let plan = DevicePlan { meter, ..DevicePlan::default() };
        devices.push(Lowered { plan, valid: true });
    }
    let scenario = Scenario {
        name: raw.name.as_ref().map_or(default.name, |name| name.0.clone()),
        seed,
        start: clock.start.map(|start| start.0),
        speed: clock.speed.map_or(default.speed, |speed| speed.0),
        control: raw.control.map_or(default.control, |control| control.0),
        outbound: raw.outbound.map_or(default.outbound, policy),
        mdns: raw.mdns.map_or(default.mdns, mdns),
        devices: devices.into_iter().map(|device| device.plan).collect(),
        fleet: fleet.map(|fleet| fleet.plan),
        shard: None,
        slaves: slaves.into_iter().map(|slave| slave.plan).collect(),
        http_targets: targets.into_iter().map(|target| target.plan).collect(),
        mqtt_brokers: brokers(raw),
        faults,
        state_dir: None,
        source: default.source,
    };
    check_all_hosts(&scenario, mistakes);
    scenario
}

/// Checks that each host belongs to one slave or target, and to one broker.
fn check_all_hosts(scenario: &Scenario, mistakes: &mut Mistakes) {
    let peers = scenario.slaves.iter().map(|plan| ("slaves", &plan.name, &plan.hosts));
    let targets =
        scenario.http_targets.iter().map(|plan| ("http_targets", &plan.name, &plan.hosts));
    check_hosts(peers.chain(targets), mistakes);
    // Only MQTT clients reach brokers, and they reach nothing else.
    let brokers = scenario.mqtt_brokers.iter();
    check_hosts(brokers.map(|broker| ("mqtt_brokers", &broker.name, &broker.hosts)), mistakes);
}

/// Adds the names of a section of the file that could not be decoded, without details.
fn add_undecoded<'a, T>(root: &'a Node, section: &str, names: &mut Vec<NameEntry<'a, T>>) {
    let NodeContent::Map(entries) = &root.content else { return };
    let Some(section) = entries.iter().find(|entry| &*entry.key == section) else { return };
    let NodeContent::Map(entries) = &section.value.content else { return };
    // The names are searched one by one, so this is skipped if all of them were decoded.
    if entries.len() > names.len() {
        for entry in entries {
            if !names.iter().any(|(name, _)| *name == &*entry.key) {
                names.push((&entry.key, None));
            }
        }
    }
}

/// Lowers the rules of a file.
fn rules(raw: &[raw::Rule], names: &Names<'_>, mistakes: &mut Mistakes) -> Vec<Rule> {
    let base = FieldPath::root().key("faults");
    if raw.len() > limits::FAULT_RULES {
        let message = format!("{} rules; a house takes {}", raw.len(), limits::FAULT_RULES);
        mistakes.push(Mistake::new(base, message).on_key());
        return Vec::new();
    }
    let mut ids: HashMap<String, usize> = HashMap::new();
    let mut rules = Vec::with_capacity(raw.len());
    let (mut budget, mut is_exceeded) = (WindowBudget::default(), false);
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
        let Some(rule) = fault::rule(rule, &default_id, &path, names, mistakes) else { continue };
        // Only the first rule over the budget is reported: all that follow are over it, too.
        if let Err(windows) = budget.add(&rule)
            && !std::mem::replace(&mut is_exceeded, true)
        {
            let message = format!(
                "with this rule the windows of those over one meter begin {windows} times a day; at \
                 most {} are taken",
                limits::METER_WINDOWS_A_DAY
            );
            let help = "let some of them recur less often";
            mistakes.push(Mistake::new(path.key("when").key("every"), message).help(help));
        }
        rules.push(rule);
    }
    rules
}

/// Lowers a rule for a running house.
pub(super) fn single_rule(
    raw: &raw::Rule,
    default_id: &str,
    (house, actions): (&Scenario, &DeviceActions),
    mistakes: &mut Mistakes,
) -> Option<Rule> {
    let names = Names::from_scenario(house, actions);
    fault::rule(raw, default_id, &FieldPath::root(), &names, mistakes)
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

/// The owners of a host by port. The owner of all ports has the key `None`, which is the first.
type PortOwners<'a> = BTreeMap<Option<u16>, (&'a HostAddress, FieldPath, &'a str)>;

/// Checks that each host and port has one owner. `all` has the section, name and hosts of each owner.
fn check_hosts<'a>(
    all: impl Iterator<Item = (&'a str, &'a Arc<str>, &'a Vec<HostAddress>)>,
    mistakes: &mut Mistakes,
) {
    let mut by_host: HashMap<&str, PortOwners<'_>> = HashMap::new();
    for (section, name, hosts) in all {
        for (index, host) in hosts.iter().enumerate() {
            let path = FieldPath::root().key(section).key(name).key("hosts").index(index);
            let others = by_host.entry(&host.host).or_default();
            let owned = match host.port {
                None => others.values().next(),
                port => others.get(&None).or_else(|| others.get(&port)),
            };
            if let Some((other, first, owner)) = owned {
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

/// Creates the mistake of a reference to a name that does not exist.
fn unknown_name<'a>(
    path: FieldPath,
    kind: &str,
    name: &str,
    known: impl Iterator<Item = &'a str>,
) -> Mistake {
    let known: Vec<_> = known.collect();
    let help = match known.as_slice() {
        [] => format!("the house has no {kind}"),
        few if few.len() <= 10 => {
            format!("the house has {}", join_and(few.iter().copied()))
        }
        many => format!("the house has {} of them", many.len()),
    };
    Mistake::new(path, format!("there is no {kind} `{}`", shortened(name)))
        .suggest(nearest(name, known.iter().copied()))
        .help(help)
}
