//! Lowering of a fleet: its kinds of devices, its stages, and the expansion into devices.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::super::diagnostics::{Mistake, Mistakes};
use super::super::fleet::{
    FleetIds, FleetListen, FleetPlan, LifeState, MixPlan, RouteBy, StagePlan,
};
use super::super::model::DevicePlan;
use super::super::path::FieldPath;
use super::super::{decode_value, raw, remove_nulls};
use super::listeners::LoadOverrides;
use super::{LoadContext, Lowered, device, meter};
use crate::device::config::Settings;
use crate::device::{DeviceId, FEATURES, Firmware};
use crate::limits;
use crate::meter::MeterPlan;
use crate::notation::{DurationText, first_chars};

/// The fleet as it is written, or as the caller asks for it.
pub(super) struct FleetSource<'a> {
    raw: Option<&'a raw::Fleet>,
    template: Option<&'a raw::Device>,
    count: u32,
}

impl<'a> FleetSource<'a> {
    /// Returns the fleet of a house. `None` if it has none. A fleet that only the caller asks for consists of
    /// devices like the one of the scenario.
    pub(super) fn new(raw: &'a raw::Scenario, overrides: &LoadOverrides) -> Option<Self> {
        match (&raw.fleet, overrides.fleet) {
            (Some(fleet), count) => Some(Self {
                raw: Some(fleet),
                template: fleet.template.as_ref(),
                count: count.unwrap_or(fleet.count),
            }),
            (None, Some(count)) => {
                let template = raw.device.as_ref().filter(|_| raw.devices.is_none());
                Some(Self { raw: None, template, count })
            }
            (None, None) => None,
        }
    }

    /// Returns true if the device of the scenario is the template, and no device beside the fleet.
    pub(super) fn replaces_device(&self) -> bool {
        self.raw.is_none() && self.template.is_some()
    }

    /// Returns the path of the fleet.
    pub(super) fn path(&self) -> FieldPath {
        FieldPath::root().key(if self.raw.is_some() { "fleet" } else { "device" })
    }

    /// Returns the path of the template.
    pub(super) fn template_path(&self) -> FieldPath {
        if self.raw.is_some() { self.path().key("template") } else { self.path() }
    }

    /// Returns the address of the first device's API, as it is written.
    pub(super) fn http(&self) -> Option<raw::Listen> {
        self.template?.http
    }

    /// Returns the Modbus server of the first device, as it is written.
    pub(super) fn modbus(&self) -> Option<&'a raw::DeviceModbus> {
        self.template?.modbus.as_ref()
    }
}

/// Lowers a fleet without the addresses of its devices.
pub(super) fn fleet(
    source: &FleetSource<'_>,
    written: &[Lowered<DevicePlan>],
    (house, house_meter): (&raw::Scenario, &Arc<MeterPlan>),
    context: &LoadContext<'_>,
    mistakes: &mut Mistakes,
) -> Lowered<FleetPlan> {
    let mistakes_before = mistakes.len();
    let others = written.iter().map(|device| &device.plan.identity.id);
    let given = source.template.and_then(|template| template.id.as_ref());
    let first = given.map_or_else(|| DevicePlan::default_id(0), |id| id.0.clone());
    let ids = FleetIds::new(first.number(), source.count, others);
    if let Some(id) = given
        && ids.id(0) != id.0
    {
        let mistake = Mistake::new(
            source.template_path().key("id"),
            format!("another device has the id {id}"),
        )
        .help("the ids of a fleet count up from this one; give it another");
        mistakes.push(mistake);
    }
    let mut kinds = KindLowering {
        source,
        house,
        house_meter,
        id: ids.id(0),
        context,
        mistakes: &mut *mistakes,
    };
    let mix = kinds.mix();
    let raw = source.raw;
    let plan = FleetPlan {
        count: source.count,
        written: u32::try_from(written.len()).unwrap_or(u32::MAX),
        ids,
        listen: listen(raw, mistakes),
        ramp: ramp(raw, mistakes),
        mix,
        stages: stages(raw, mistakes),
    };
    Lowered { plan, valid: mistakes.len() == mistakes_before }
}

/// The lowering of the kinds of devices of a fleet.
struct KindLowering<'a, 'm> {
    source: &'a FleetSource<'a>,
    house: &'a raw::Scenario,
    house_meter: &'a Arc<MeterPlan>,
    /// The id of the first device.
    id: DeviceId,
    context: &'a LoadContext<'a>,
    mistakes: &'m mut Mistakes,
}

impl KindLowering<'_, '_> {
    /// Lowers all kinds: the template, or the template with each of its variations.
    fn mix(&mut self) -> Vec<MixPlan> {
        let none = raw::Device::default();
        let template = self.source.template.unwrap_or(&none);
        let before = self.mistakes.len();
        let path = self.source.template_path();
        let alike = self.kind(template, None, &path);
        let template_is_valid = self.mistakes.len() == before;
        let Some(mix) = self.source.raw.and_then(|raw| raw.mix.as_ref()) else {
            return vec![MixPlan { weight: 1, device: alike }];
        };
        let path = self.source.path().key("mix");
        let mut kinds = Vec::with_capacity(mix.len());
        for (index, entry) in mix.iter().enumerate() {
            let path = path.index(index);
            let weight = entry.0.get(raw::MixEntry::WEIGHT).and_then(Value::as_u64);
            let weight = weight.and_then(|weight| u32::try_from(weight).ok()).unwrap_or(1);
            let Some(device) = self.merged(template, entry, &path) else { continue };
            // The mistakes of the template are reported once, at their own place.
            let mut found = Mistakes::default();
            let outer = std::mem::take(self.mistakes);
            let plan = self.kind(&device, Some((entry, &alike.meter)), &path);
            std::mem::swap(&mut found, self.mistakes);
            *self.mistakes = outer;
            let root = self.context.root;
            self.mistakes
                .append(found, |mistake| template_is_valid || root.find(&mistake.path).is_some());
            kinds.push(MixPlan { weight, device: plan });
        }
        kinds
    }

    /// Lowers one kind. `variation` is its entry in the mix, and the meter of the template.
    fn kind(
        &mut self,
        raw: &raw::Device,
        variation: Option<(&raw::MixEntry, &Arc<MeterPlan>)>,
        path: &FieldPath,
    ) -> DevicePlan {
        let settings = raw.settings.as_ref().map(|settings| &settings.0);
        if settings.is_some_and(|settings| settings.pointer("/system/host_name").is_some()) {
            let path = path.key("settings").key("system").key("host_name");
            let mistake = Mistake::new(path, "the devices of a fleet cannot have one host name")
                .help("leave it out: each has its own, from its id")
                .on_key();
            self.mistakes.push(mistake);
        }
        let mut plan = device::device(raw, self.id.clone(), path, self.context, self.mistakes).plan;
        plan.meter = match (&raw.meter, variation) {
            (_, Some((entry, of_template))) if !entry.0.contains_key("meter") => {
                Arc::clone(of_template)
            }
            (Some(own), _) => {
                let path = path.key("meter");
                Arc::new(meter::meter(own, &path, self.context.base_dir, self.mistakes))
            }
            (None, _) => Arc::clone(self.house_meter),
        };
        plan
    }

    /// Returns the template with an entry of the mix on top. `None` after a mistake.
    fn merged(
        &mut self,
        template: &raw::Device,
        entry: &raw::MixEntry,
        path: &FieldPath,
    ) -> Option<raw::Device> {
        // Numbers, texts and mappings with texts as keys always become JSON.
        let mut base = serde_json::to_value(template).unwrap_or_default();
        remove_nulls(&mut base);
        let Value::Object(mut base) = base else { return None };
        if let (Some(meter), false) = (&self.house.meter, base.contains_key("meter")) {
            let mut meter = serde_json::to_value(meter).unwrap_or_default();
            remove_nulls(&mut meter);
            base.insert("meter".to_owned(), meter);
        }
        let mut entry = entry.0.clone();
        entry.remove(raw::MixEntry::WEIGHT);
        // They are two forms of one thing.
        for (one, other) in [("actions", "actions_file"), ("actions_file", "actions")] {
            if entry.get(one).is_some_and(|given| !given.is_null()) {
                base.remove(other);
            }
        }
        merge(&mut base, entry);
        // Whatever is JSON is a value of YAML.
        let merged = serde_yaml::to_value(base).unwrap_or_default();
        decode_value(merged)
            .map_err(|(inner, message)| {
                self.mistakes.push(Mistake::new(path.join(&inner.to_string()), message));
            })
            .ok()
    }
}

/// Merges `over` into `base`: mappings key by key, anything else as a whole. A null says nothing.
fn merge(base: &mut Map<String, Value>, over: Map<String, Value>) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (_, Value::Null) => {}
            (Some(Value::Object(base)), Value::Object(over)) => merge(base, over),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

fn listen(raw: Option<&raw::Fleet>, mistakes: &mut Mistakes) -> FleetListen {
    let path = FieldPath::root().key("fleet");
    let route_by = raw.and_then(|raw| raw.route_by);
    let listen = raw.and_then(|raw| raw.listen).unwrap_or(raw::FleetListen::Ports);
    if listen != raw::FleetListen::Shared && route_by.is_some() {
        let mistake = Mistake::new(path.key("route_by"), "each device has an address of its own")
            .help("`route_by` tells devices apart that share one: add `listen: shared`, or leave it out")
            .on_key();
        mistakes.push(mistake);
    }
    match listen {
        raw::FleetListen::Ports => FleetListen::Ports,
        raw::FleetListen::Addresses => FleetListen::Addresses,
        raw::FleetListen::Shared => FleetListen::Shared {
            address: DevicePlan::HTTP,
            route_by: match route_by {
                None | Some(raw::RouteBy::Host) => RouteBy::Host,
                Some(raw::RouteBy::Path) => RouteBy::Path,
            },
        },
    }
}

fn ramp(raw: Option<&raw::Fleet>, mistakes: &mut Mistakes) -> std::time::Duration {
    let ramp = raw.and_then(|raw| raw.ramp).unwrap_or_default();
    if ramp.0 > limits::FLEET_RAMP {
        let message = format!("{ramp}: expected {} or less", DurationText(limits::FLEET_RAMP));
        mistakes.push(Mistake::new(FieldPath::root().key("fleet").key("ramp"), message));
    }
    ramp.0
}

fn stages(raw: Option<&raw::Fleet>, mistakes: &mut Mistakes) -> Vec<StagePlan> {
    let path = FieldPath::root().key("fleet").key("stages");
    let stages = raw.and_then(|raw| raw.stages.as_ref()).into_iter().flatten().enumerate();
    stages.map(|(index, raw)| stage(raw, &path.index(index), mistakes)).collect()
}

fn stage(raw: &raw::Stage, path: &FieldPath, mistakes: &mut Mistakes) -> StagePlan {
    let from: Vec<LifeState> = raw.from.as_slice().iter().copied().map(from).collect();
    let (to, update) = match &raw.to {
        raw::Choice::Word(raw::StageTo::Updated) => (LifeState::Updated, Some(newest_firmware())),
        raw::Choice::Word(word) => (self::to(*word), None),
        raw::Choice::Map(update) => (LifeState::Updated, Some(update.updated.0)),
    };
    if raw.delay.0 < limits::FLEET_STAGE_DELAY {
        let least = DurationText(limits::FLEET_STAGE_DELAY);
        let message = format!("{}: expected {least} or more", raw.delay);
        mistakes.push(Mistake::new(path.key("delay"), message));
    }
    // A device may reboot or be updated again and again.
    let is_event = matches!(to, LifeState::Rebooting | LifeState::Updated);
    if from.contains(&to) && !is_event {
        let message = format!("a device that is {} is so already", to.name());
        let help = "leave it out of `from`, or give another state";
        mistakes.push(Mistake::new(path.key("to"), message).help(help));
    }
    if from.contains(&LifeState::Gone) && to != LifeState::Online && to != LifeState::Gone {
        let message = format!("a device that is gone cannot become {}", to.name());
        let help = "let it be `online` first; another stage can lead on from there";
        mistakes.push(Mistake::new(path.key("to"), message).help(help));
    }
    StagePlan {
        from,
        to,
        update,
        weight: raw.weight.unwrap_or(1),
        delay: raw.delay.0,
        jitter: raw.jitter.unwrap_or_default().0,
        devices: raw.devices,
        firmware: raw.firmware.map(|firmware| firmware.0),
    }
}

fn from(word: raw::StageFrom) -> LifeState {
    match word {
        raw::StageFrom::Online => LifeState::Online,
        raw::StageFrom::WeakWifi => LifeState::WeakWifi,
        raw::StageFrom::Updated => LifeState::Updated,
        raw::StageFrom::Gone => LifeState::Gone,
    }
}

fn to(word: raw::StageTo) -> LifeState {
    match word {
        raw::StageTo::Online => LifeState::Online,
        raw::StageTo::WeakWifi => LifeState::WeakWifi,
        raw::StageTo::Rebooting => LifeState::Rebooting,
        raw::StageTo::Updated => LifeState::Updated,
        raw::StageTo::Gone => LifeState::Gone,
    }
}

/// Returns the device of a fleet with this number, at the addresses of the template.
pub(super) fn device(plan: &FleetPlan, seed: u64, index: u32) -> DevicePlan {
    let id = plan.ids.id(index);
    let mut device = plan.kind_of(seed, &id).device.clone();
    let config = Arc::make_mut(&mut device.config);
    let system = &mut config.settings.system;
    let name = if system.name.is_empty() { "Fleet" } else { &system.name };
    let number = format!(" {index}");
    let room = limits::NAME_CHARS - number.len();
    system.name = format!("{}{number}", first_chars(name, room));
    system.host_name = Settings::default_host_name(&id);
    device.index = plan.written + index;
    device.fleet_index = Some(index);
    device.starts_off = !plan.online_at(index).is_zero();
    device.identity.id = id;
    device
}

/// Returns the newest firmware that this version knows.
fn newest_firmware() -> Firmware {
    FEATURES.iter().map(|row| row.since).max().unwrap_or(Firmware::DEFAULT)
}
