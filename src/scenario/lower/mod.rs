//! Lowering of the raw types to the model, with the semantic checks.
//!
//! The checks find unknown references, two listeners on one port, rules that can never fire, and the
//! like. Every function goes on after a mistake and returns the best result that it can; the results
//! are used only if no mistake was found.

mod device;
mod fault;
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

pub use self::listeners::ListenerOverrides;
pub(super) use self::listeners::assign_listeners;
pub(super) use self::to_raw::rule_to_raw;
use super::diagnostics::{Mistake, Mistakes, join_and, nearest};
use super::model::{DevicePlan, Mdns, Scenario, SlavePlan, TargetPlan, TargetRoute};
use super::path::FieldPath;
use super::raw;
use super::tree::{Node, NodeContent};
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
    pub devices: Vec<NameEntry<'a, Option<&'a Definition>>>,
    /// True if the ids of all devices are known.
    pub devices_complete: bool,
    pub slaves: Vec<NameEntry<'a, Units<'a>>>,
    pub targets: Vec<NameEntry<'a, &'a [TargetRoute]>>,
}

/// A name and its details.
pub(super) type NameEntry<'a, T> = (&'a str, Option<T>);

/// The units of a slave, by unit id.
pub(super) type Units<'a> = &'a [(u8, UnitLayout)];

impl<'a> Names<'a> {
    /// Collects the names of a valid scenario.
    pub(super) fn from_scenario(scenario: &'a Scenario) -> Self {
        let device =
            |plan: &'a DevicePlan| (plan.identity.id.as_str(), Some(plan.actions.as_deref()));
        let slave = |plan: &'a SlavePlan| (&*plan.name, Some(&*plan.units));
        let target = |plan: &'a TargetPlan| (&*plan.name, Some(&*plan.routes));
        Self {
            devices: scenario.devices.iter().map(device).collect(),
            devices_complete: true,
            slaves: scenario.slaves.iter().map(slave).collect(),
            targets: scenario.http_targets.iter().map(target).collect(),
        }
    }

    /// Collects the names of a scenario that is being lowered, also those of parts that could not be
    /// decoded.
    fn collect(
        devices: &'a [Lowered<DevicePlan>],
        slaves: &'a [Lowered<SlavePlan>],
        targets: &'a [Lowered<TargetPlan>],
        context: &LoadContext<'a>,
    ) -> Self {
        let (root, has_mistakes) = (FieldPath::root(), context.has_mistakes);
        let (slaves_path, targets_path) = (root.key("slaves"), root.key("http_targets"));
        let devices_complete =
            !has_mistakes(&root.key("device")) && !has_mistakes(&root.key("devices"));
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
    let mut devices = device::devices(raw, &meter, context, mistakes);
    let slaves = slave::slaves(raw, context, mistakes);
    let targets = target::targets(raw, mistakes);

    let names = Names::collect(&devices, &slaves, &targets, context);
    let faults = rules(raw.faults.as_deref().unwrap_or_default(), &names, mistakes);

    if devices.is_empty() {
        let plan = DevicePlan { meter, ..DevicePlan::default() };
        devices.push(Lowered { plan, valid: true });
    }
    let scenario = Scenario {
        name: raw.name.as_ref().map_or(default.name, |name| name.0.clone()),
        seed: raw.seed.unwrap_or(default.seed),
        start: clock.start.map(|start| start.0),
        speed: clock.speed.map_or(default.speed, |speed| speed.0),
        control: raw.control.map_or(default.control, |control| control.0),
        outbound: raw.outbound.map_or(default.outbound, policy),
        mdns: raw.mdns.map_or(default.mdns, mdns),
        devices: devices.into_iter().map(|device| device.plan).collect(),
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
    house: &Scenario,
    mistakes: &mut Mistakes,
) -> Option<Rule> {
    fault::rule(raw, default_id, &FieldPath::root(), &Names::from_scenario(house), mistakes)
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
