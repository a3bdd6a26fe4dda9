//! Fault rules: places that exist, effects that fit them, moments that come.

use std::time::Duration;

use super::super::diagnostics::{Mistake, Mistakes, nearest, one_of, shortened};
use super::super::path::Path;
use super::super::raw::{self, EffectOf, EffectWord, PlaceWord};
use super::{Known, unknown};
use crate::bank::UnitLayout;
use crate::device::actions::{Definition, Request};
use crate::fault::{
    ActionEffect, ActionPlace, ApiEffect, ApiPlace, Delay, Fault, Moment, QueueEffect, Rule,
    SlaveEffect, SlavePlace, TargetEffect, TargetPlace, Trigger, WireFault, result,
};
use crate::limits;

/// The functions a slave answers.
const FUNCTIONS: [u8; 11] = [1, 2, 3, 4, 5, 6, 15, 16, 17, 22, 23];
/// Those that carry values which a rule can name. Function 22 carries masks.
const WRITING: [u8; 5] = [5, 6, 15, 16, 23];

/// The paths of the device's API (contract §2).
const ROUTES: [&str; 24] = [
    "/",
    "/api/v1/actions",
    "/api/v1/actions/call",
    "/api/v1/actions/status",
    "/api/v1/berry",
    "/api/v1/berry/console",
    "/api/v1/eth/settings",
    "/api/v1/live",
    "/api/v1/meter/scalers/current",
    "/api/v1/meter/scalers/custom",
    "/api/v1/meter/settings",
    "/api/v1/modbus",
    "/api/v1/mqtt/settings",
    "/api/v1/reboot",
    "/api/v1/report",
    "/api/v1/report/objects",
    "/api/v1/restore",
    "/api/v1/settings",
    "/api/v1/system",
    "/api/v1/template/test",
    "/api/v1/variables",
    "/api/v1/wifi/scan",
    "/api/v1/wifi/sta/settings",
    "/api/v1/wifi/wps",
];

/// The rule that is meant.
pub(super) fn rule(
    raw: &raw::Rule,
    default_id: &str,
    path: &Path,
    known: &Known<'_>,
    mistakes: &mut Mistakes,
) -> Option<Rule> {
    let id = raw.id.as_ref().map_or(default_id, raw::Name::as_str).into();
    let mut judge = Judge { known, path, mistakes };
    let when = judge.trigger(raw.when.as_ref());
    let place = judge.place(&raw.at)?;
    let fault = judge.fault(place, &raw.effect)?;
    judge.check_state(&fault, raw.when.as_ref());
    Some(Rule { id, fault, when })
}

/// A place, before it is known what happens there.
enum Place {
    Api(ApiPlace),
    Action(ActionPlace),
    Queue(Option<String>),
    Slave(SlavePlace),
    Target(TargetPlace),
}

impl Place {
    /// The kind, and the effects it knows.
    const fn effects(&self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Api(_) => {
                ("the API", &["delay", "status", "reset", "hang", "cut", "drip", "malformed_json"])
            }
            Self::Action(_) => ("an action", &["disable", "hold", "result"]),
            Self::Queue(_) => ("the queue", &["occupy", "limit"]),
            Self::Slave(_) => (
                "a slave",
                &[
                    "delay",
                    "silence",
                    "exception",
                    "result",
                    "refuse",
                    "close",
                    "reset",
                    "wrong_transaction_id",
                    "off_by_one",
                    "stale_reply",
                    "wrong_unit",
                    "wrong_function",
                    "protocol_id",
                    "length_too_short",
                    "length_too_long",
                    "truncated",
                    "extra_bytes",
                    "exception_without_code",
                    "changed_echo",
                    "dribble",
                    "split",
                    "duplicate",
                ],
            ),
            Self::Target(_) => {
                ("a target", &["delay", "status", "reset", "hang", "bad_content_length", "result"])
            }
        }
    }
}

struct Judge<'a> {
    known: &'a Known<'a>,
    path: &'a Path,
    mistakes: &'a mut Mistakes,
}

impl Judge<'_> {
    fn mistake(&mut self, mistake: Mistake) {
        self.mistakes.push(mistake);
    }

    /// A mistake at a key of `at`.
    fn at(&self, key: &str, message: impl Into<String>) -> Mistake {
        Mistake::new(self.path.key("at").key(key), message)
    }

    // -----------------------------------------------------------------------------------------
    // When
    // -----------------------------------------------------------------------------------------

    fn trigger(&mut self, raw: Option<&raw::When>) -> Trigger {
        let Some(raw) = raw else { return Trigger::default() };
        let default = Trigger::default();
        let trigger = Trigger {
            armed: raw.armed.unwrap_or(default.armed),
            after: raw.after.map_or(default.after, |after| after.0),
            lasts: raw.r#for.map(|lasts| lasts.0),
            every: raw.every.map(|every| every.0),
            first: raw.first,
            nth: raw.nth.as_ref().map_or_else(Vec::new, |nth| nth.as_slice().to_vec()),
            probability: raw.probability.unwrap_or(default.probability),
        };
        let path = self.path.key("when");
        for (key, message) in trigger.problems() {
            self.mistake(Mistake::new(path.key(key), message));
        }
        trigger
    }

    /// Some effects are states of a thing, not events of a request: they have a time, but nothing
    /// that is counted or drawn.
    fn check_state(&mut self, fault: &Fault, when: Option<&raw::When>) {
        let Fault::Slave(place, SlaveEffect::Refuse) = fault else { return };
        let given = [
            ("unit", place.unit.is_some()),
            ("function", place.function.is_some()),
            ("address", place.address.is_some()),
            ("value", place.value.is_some()),
            ("action", place.action.is_some()),
        ];
        for (key, _) in given.into_iter().filter(|(_, given)| *given) {
            let mistake = self
                .at(key, format!("`refuse` closes the whole listener, before any request: no `{key}` is known there"))
                .help("leave it out; to fail single requests use another effect, as `reset`")
                .on_key();
            self.mistake(mistake);
        }
        let Some(when) = when else { return };
        let counted = [
            ("first", when.first.is_some()),
            ("nth", when.nth.is_some()),
            ("probability", when.probability.is_some()),
        ];
        for (key, _) in counted.into_iter().filter(|(_, given)| *given) {
            let message = format!(
                "`refuse` is a state of the slave: no request is there for `{key}` to count"
            );
            let path = self.path.key("when").key(key);
            self.mistake(
                Mistake::new(path, message).help("use `after`, `for` and `every`").on_key(),
            );
        }
    }

    // -----------------------------------------------------------------------------------------
    // Where
    // -----------------------------------------------------------------------------------------

    fn place(&mut self, at: &raw::At) -> Option<Place> {
        let place = match at {
            raw::Choice::Word(PlaceWord::Api) => Place::Api(ApiPlace::default()),
            raw::Choice::Word(PlaceWord::Action) => Place::Action(ActionPlace::default()),
            raw::Choice::Word(PlaceWord::Queue) => Place::Queue(None),
            raw::Choice::Word(PlaceWord::Slave) => Place::Slave(SlavePlace::default()),
            raw::Choice::Word(PlaceWord::Target) => Place::Target(TargetPlace::default()),
            raw::Choice::Map(map) => return self.place_of_map(map),
        };
        match &place {
            Place::Slave(_) if self.known.slaves.is_empty() => self.nothing_there("slave"),
            Place::Target(_) if self.known.targets.is_empty() => self.nothing_there("target"),
            _ => Some(place),
        }
    }

    fn nothing_there(&mut self, kind: &str) -> Option<Place> {
        let message = format!("this never fires: the house has no {kind}");
        self.mistake(Mistake::new(self.path.key("at"), message));
        None
    }

    fn place_of_map(&mut self, map: &raw::Place) -> Option<Place> {
        const KINDS: [&str; 4] = ["slave", "target", "api", "queue"];
        let given = keys(map);
        let mut kinds = KINDS.into_iter().filter(|kind| given.contains(kind));
        let (kind, allowed): (_, &[&str]) = match (kinds.next(), kinds.next()) {
            (Some(first), Some(second)) => {
                let message = format!("a place is a {first} or a {second}, not both");
                self.mistake(self.at(second, message).help("write two rules").on_key());
                return None;
            }
            (Some("slave"), None) => {
                ("slave", &["slave", "unit", "function", "address", "value", "action"])
            }
            (Some("target"), None) => ("target", &["target", "method", "path", "action"]),
            (Some("api"), None) => ("api", &["api", "method", "device"]),
            (Some(_), None) => ("queue", &["queue", "device"]),
            (None, _) if map.action.is_some() => ("action", &["action", "device"]),
            (None, _) => {
                let mistake = Mistake::new(self.path.key("at"), "this names no place")
                    .help("add one of `slave`, `target`, `api`, `queue` and `action`; `any` means all of them");
                self.mistake(mistake);
                return None;
            }
        };
        let mut fits = true;
        for key in given.iter().filter(|key| !allowed.contains(key)) {
            let message = format!("`{key}` says nothing about `{kind}`");
            let help =
                format!("beside `{kind}` may stand {}", one_of(allowed[1..].iter().copied()));
            self.mistake(self.at(key, message).help(help).on_key());
            fits = false;
        }
        let place = match kind {
            "slave" => self.slave_place(map),
            "target" => self.target_place(map),
            "api" => self.api_place(map),
            "queue" => self.device(map).map(Place::Queue),
            _ => self.action_place(map),
        };
        place.filter(|_| fits)
    }

    /// The device that a place names; `None` where it names one that is not there.
    #[expect(clippy::option_option, reason = "no such device; any device; this one")]
    fn device(&mut self, map: &raw::Place) -> Option<Option<String>> {
        let Some(id) = &map.device else { return Some(None) };
        let id = id.to_string();
        if self.known.devices_sound && !self.known.devices.iter().any(|(known, _)| *known == id) {
            let ids = self.known.devices.iter().map(|(id, _)| *id);
            self.mistakes.push(unknown(self.path.key("at").key("device"), "device", &id, ids));
            return None;
        }
        Some(Some(id))
    }

    fn api_place(&mut self, map: &raw::Place) -> Option<Place> {
        let route = named(map.api.as_ref());
        if let Some(route) = &route
            && !ROUTES.contains(&route.as_str())
            && !route.starts_with("/sdcard")
            && route != "/load"
        {
            let mistake = self
                .at("api", format!("the device has no path `{}`", shortened(route)))
                .suggest(nearest(route, ROUTES))
                .help("expected a path without query, as /api/v1/actions/call, or `any`");
            self.mistake(mistake);
            return None;
        }
        let method = map.method.map(|method| method.0);
        Some(Place::Api(ApiPlace { device: self.device(map)?, route, method }))
    }

    fn action_place(&mut self, map: &raw::Place) -> Option<Place> {
        let device = self.device(map)?;
        let action = named(map.action.as_ref());
        if let Some(id) = &action {
            self.action(id, device.as_deref())?;
        }
        Some(Place::Action(ActionPlace { device, action }))
    }

    /// What is known of an action; reports one that is not there, or that cannot be called.
    fn action(&mut self, id: &str, device: Option<&str>) -> Option<Sends> {
        let devices = self.known.devices.iter();
        let devices = devices.filter(|(known, _)| device.is_none_or(|device| device == *known));
        let mut ids = Vec::new();
        let (mut found, mut callable, mut certain) = (false, false, self.known.devices_sound);
        let mut sends = Sends::default();
        for (_, details) in devices {
            let Some(definition) = details else {
                certain = false;
                continue;
            };
            let actions = definition.map_or(&[][..], Definition::actions);
            ids.extend(actions.iter().map(|action| &*action.id));
            for action in actions.iter().filter(|action| &*action.id == id) {
                found = true;
                callable |= action.enable && action.enabled().next().is_some();
                for request in action.enabled() {
                    sends.modbus |= matches!(**request, Request::Modbus(_));
                    sends.http |= matches!(**request, Request::Http(_));
                }
            }
        }
        if !certain {
            return Some(Sends { modbus: true, http: true });
        }
        if found && callable {
            return Some(sends);
        }
        let path = self.path.key("at").key("action");
        let mistake = if found {
            Mistake::new(
                path,
                format!("this never fires: action `{id}` is disabled as it is defined"),
            )
            .help("enable it, or one of its requests; a rule with `disable` disables it for a time")
        } else {
            unknown(path, "action", id, ids.into_iter())
        };
        self.mistake(mistake);
        None
    }

    fn target_place(&mut self, map: &raw::Place) -> Option<Place> {
        let name = named(map.target.as_ref());
        let path = self.path.key("at");
        let before = self.mistakes.len();
        let mut candidates = Vec::new();
        match &name {
            Some(name) => match self.known.targets.iter().find(|(known, _)| known == name) {
                Some((_, details)) => candidates.push(*details),
                None => {
                    let names = self.known.targets.iter().map(|(name, _)| *name);
                    self.mistakes.push(unknown(path.key("target"), "target", name, names));
                }
            },
            None if self.known.targets.is_empty() => return self.nothing_there("target"),
            None => candidates.extend(self.known.targets.iter().map(|(_, details)| *details)),
        }
        let text = map.path.as_ref().map(raw::UrlPath::as_str);
        let method = map.method.map(|method| method.0);
        let reached = candidates.iter().any(|routes| {
            routes.is_none_or(|routes| {
                routes.iter().any(|route| {
                    text.is_none_or(|path| route.matches_path(path))
                        && method.is_none_or(|method| route.method.is_none_or(|own| own == method))
                })
            })
        });
        if !reached && self.mistakes.len() == before && (text.is_some() || method.is_some()) {
            let key = if text.is_some() { "path" } else { "method" };
            let routes = candidates.iter().flatten().flat_map(|routes| routes.iter());
            let paths: Vec<_> = routes.map(|route| route.path.as_str()).collect();
            let near = text.and_then(|path| nearest(path, paths.iter().copied()));
            let mistake = self
                .at(key, "this never fires: no route of the target answers this method and path")
                .suggest(near.map(str::to_owned));
            self.mistake(mistake);
        }
        let action = self.sender(map, "an HTTP request", |sends| sends.http);
        if self.mistakes.len() > before {
            return None;
        }
        Some(Place::Target(TargetPlace {
            target: name,
            method,
            path: text.map(str::to_owned),
            action,
        }))
    }

    /// The action beside a slave or a target: the one that sends the request.
    fn sender(
        &mut self,
        map: &raw::Place,
        what: &str,
        kind: impl Fn(Sends) -> bool,
    ) -> Option<String> {
        let id = named(map.action.as_ref())?;
        let sends = self.action(&id, None)?;
        if !kind(sends) {
            let message = format!(
                "this never fires: action `{id}` sends no {}",
                what.trim_start_matches("an ")
            );
            self.mistake(self.at("action", message));
            return None;
        }
        Some(id)
    }

    fn slave_place(&mut self, map: &raw::Place) -> Option<Place> {
        let name = named(map.slave.as_ref());
        let before = self.mistakes.len();
        let mut candidates = Vec::new();
        match &name {
            Some(name) => match self.known.slaves.iter().find(|(known, _)| known == name) {
                Some((_, details)) => candidates.push(*details),
                None => {
                    let path = self.path.key("at").key("slave");
                    let names = self.known.slaves.iter().map(|(name, _)| *name);
                    self.mistakes.push(unknown(path, "slave", name, names));
                }
            },
            None if self.known.slaves.is_empty() => return self.nothing_there("slave"),
            None => candidates.extend(self.known.slaves.iter().map(|(_, details)| *details)),
        }
        self.check_function(map);
        if self.mistakes.len() == before {
            self.check_unit(map, &candidates);
        }
        let action = self.sender(map, "a Modbus request", |sends| sends.modbus);
        if self.mistakes.len() > before {
            return None;
        }
        Some(Place::Slave(SlavePlace {
            slave: name,
            unit: map.unit,
            function: map.function,
            address: map.address.map(raw::Range::inclusive),
            value: map.value.map(raw::Range::inclusive),
            action,
        }))
    }

    /// The function is one that slaves answer, and carries what else is named.
    fn check_function(&mut self, map: &raw::Place) {
        let Some(function) = map.function else { return };
        if !FUNCTIONS.contains(&function) {
            let mistake = self
                .at("function", format!("this never fires: slaves have no function {function}"))
                .help("expected 1 to 6, 15, 16, 17, 22 or 23");
            self.mistake(mistake);
            return;
        }
        if function == 17 && map.address.is_some() {
            let message = "this never fires: function 17 names no address";
            self.mistake(self.at("address", message).on_key());
        }
        let Some(value) = map.value else { return };
        if !WRITING.contains(&function) {
            let message = format!("this never fires: function {function} writes no values");
            let help = "values are written by functions 5, 6, 15, 16 and 23";
            self.mistake(self.at("value", message).help(help).on_key());
        } else if matches!(function, 5 | 15) && value.first > 1 {
            let message = "this never fires: a coil's value is 0 or 1";
            self.mistake(self.at("value", message));
        }
    }

    /// The unit is there, and has something at the address.
    fn check_unit(&mut self, map: &raw::Place, slaves: &[Option<&[(u8, UnitLayout)]>]) {
        if slaves.iter().any(Option::is_none) {
            return;
        }
        let units = slaves.iter().flatten().flat_map(|units| units.iter());
        let units: Vec<_> =
            units.filter(|(id, _)| map.unit.is_none_or(|unit| unit == *id)).collect();
        if units.is_empty() {
            let mut ids: Vec<_> =
                slaves.iter().flatten().flat_map(|units| units.iter()).map(|(id, _)| *id).collect();
            ids.sort_unstable();
            ids.dedup();
            let Some(unit) = map.unit else { return };
            let ids: Vec<_> = ids.iter().map(u8::to_string).collect();
            let help = match ids.as_slice() {
                [] => "it has no units".to_owned(),
                _ => format!("it has {}", ids.join(", ")),
            };
            self.mistake(
                self.at("unit", format!("this never fires: there is no unit {unit}")).help(help),
            );
            return;
        }
        let Some(address) = map.address else { return };
        if !units.iter().any(|(_, unit)| has(unit, map.function, address)) {
            let which = match map.function {
                Some(1 | 5 | 15) => "coils",
                Some(2) => "discrete inputs",
                Some(4) => "input registers",
                Some(_) => "holding registers",
                None => "coils, inputs or registers",
            };
            let message = format!("this never fires: there are no {which} at {address}");
            self.mistake(self.at("address", message));
        }
    }

    // -----------------------------------------------------------------------------------------
    // What
    // -----------------------------------------------------------------------------------------

    fn fault(&mut self, place: Place, effect: &raw::Effect) -> Option<Fault> {
        let (kind, known) = place.effects();
        let name = name_of(effect);
        if !known.contains(&name.as_str()) {
            let mistake =
                Mistake::new(self.path.key("effect"), format!("`{name}` does not befall {kind}"))
                    .help(format!("{kind} knows {}", one_of(known.iter().copied())));
            self.mistake(mistake);
            return None;
        }
        let path = match effect {
            raw::Choice::Word(_) => self.path.key("effect"),
            raw::Choice::Map(_) => self.path.key("effect").key(&name),
        };
        let fault = match place {
            Place::Api(place) => api_effect(effect).map(|effect| Fault::Api(place, effect)),
            Place::Action(place) => {
                let sends = self.sends(&place);
                action_effect(effect, sends).map(|effect| Fault::Action(place, effect))
            }
            Place::Queue(device) => {
                queue_effect(effect).map(|effect| Fault::Queue { device, effect })
            }
            Place::Slave(place) => slave_effect(effect).map(|effect| Fault::Slave(place, effect)),
            Place::Target(place) => {
                target_effect(effect).map(|effect| Fault::Target(place, effect))
            }
        };
        match fault {
            Ok(fault) => Some(fault),
            Err(message) => {
                self.mistake(Mistake::new(path, message));
                None
            }
        }
    }

    /// What the named action sends; anything where none is named.
    fn sends(&mut self, place: &ActionPlace) -> Sends {
        let anything = Sends { modbus: true, http: true };
        let Some(action) = &place.action else { return anything };
        self.action(action, place.device.as_deref()).unwrap_or(anything)
    }
}

/// Which kinds of requests an action sends.
#[derive(Debug, Clone, Copy, Default)]
struct Sends {
    modbus: bool,
    http: bool,
}

/// The name in a place; none where it says `any`.
fn named(text: Option<&raw::Text>) -> Option<String> {
    text.map(|text| text.0.clone()).filter(|name| name != raw::Name::ANY)
}

/// The keys that a place has.
fn keys(map: &raw::Place) -> Vec<&'static str> {
    let given = [
        ("slave", map.slave.is_some()),
        ("target", map.target.is_some()),
        ("api", map.api.is_some()),
        ("queue", map.queue.is_some()),
        ("action", map.action.is_some()),
        ("device", map.device.is_some()),
        ("method", map.method.is_some()),
        ("path", map.path.is_some()),
        ("unit", map.unit.is_some()),
        ("function", map.function.is_some()),
        ("address", map.address.is_some()),
        ("value", map.value.is_some()),
    ];
    given.into_iter().filter(|(_, given)| *given).map(|(key, _)| key).collect()
}

/// Whether a unit has something at an address that the function reaches.
fn has(unit: &UnitLayout, function: Option<u8>, address: raw::Range) -> bool {
    let overlaps = |first: u16, count: u32| {
        let first = u32::from(first);
        first <= u32::from(address.last) && u32::from(address.first) < first + count
    };
    let bits = |bits: &[crate::bank::BitRange]| {
        bits.iter().any(|range| {
            let (first, last) = (*range.addresses.start(), *range.addresses.end());
            overlaps(first, u32::from(last.saturating_sub(first)) + 1)
        })
    };
    let registers = |registers: &[crate::bank::Register]| {
        registers.iter().any(|register| {
            overlaps(
                register.address,
                u32::from(register.count) * u32::from(register.value_type.words()),
            )
        })
    };
    match function {
        Some(1 | 5 | 15) => bits(&unit.coils),
        Some(2) => bits(&unit.discrete),
        Some(4) => registers(&unit.input),
        Some(_) => registers(&unit.holding),
        None => {
            bits(&unit.coils)
                || bits(&unit.discrete)
                || registers(&unit.holding)
                || registers(&unit.input)
        }
    }
}

/// The word an effect is written with.
fn name_of(effect: &raw::Effect) -> String {
    // The names are serde's; both forms are a word or a mapping with one key.
    match serde_json::to_value(effect) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(serde_json::Value::Object(map)) => map.keys().next().cloned().unwrap_or_default(),
        _ => String::new(),
    }
}

fn delay(raw: &raw::DelayOf) -> Result<Delay, String> {
    let delay = match raw {
        raw::Choice::Word(fixed) | raw::Choice::Map(raw::Distribution::Fixed(fixed)) => {
            Delay::Fixed(fixed.0)
        }
        raw::Choice::Map(raw::Distribution::Uniform([low, high])) => Delay::Uniform(low.0, high.0),
        raw::Choice::Map(raw::Distribution::Normal(normal)) => {
            Delay::Normal { mean: normal.mean.0, deviation: normal.deviation.0 }
        }
        raw::Choice::Map(raw::Distribution::Lognormal(lognormal)) => {
            Delay::Lognormal { median: lognormal.median.0, p95: lognormal.p95.0 }
        }
    };
    delay.check()?;
    match delay {
        Delay::Fixed(Duration::ZERO) => Err("a delay of 0 is none".to_owned()),
        Delay::Fixed(fixed) if fixed > Delay::LONGEST => {
            Err("longer than a day; for an answer that never comes use `hang` or `silence`"
                .to_owned())
        }
        _ => Ok(delay),
    }
}

/// The caller has checked that the effect's name fits; a word and a mapping of one name may still
/// differ in what they mean at a place.
const OTHER: &str = "this form of the effect does not fit here";

fn api_effect(effect: &raw::Effect) -> Result<ApiEffect, String> {
    Ok(match effect {
        raw::Choice::Word(EffectWord::Reset) => ApiEffect::Reset,
        raw::Choice::Word(EffectWord::Hang) => ApiEffect::Hang,
        raw::Choice::Word(EffectWord::Drip) => {
            ApiEffect::Drip { bytes: 16, every: Duration::from_millis(100) }
        }
        raw::Choice::Word(EffectWord::MalformedJson) => ApiEffect::MalformedJson,
        raw::Choice::Map(EffectOf::Delay(raw)) => ApiEffect::Delay(delay(raw)?),
        raw::Choice::Map(EffectOf::Status(status)) => {
            let (code, retry_after) = match status {
                raw::Choice::Word(code) => (code.0, None),
                raw::Choice::Map(of) => (of.code.0, of.retry_after.map(whole_seconds).transpose()?),
            };
            if !(400..=599).contains(&code) {
                return Err(format!("status {code}: expected an error, 400 to 599"));
            }
            ApiEffect::Status { code, retry_after }
        }
        raw::Choice::Map(EffectOf::Cut(after)) => ApiEffect::Cut { after: *after as usize },
        raw::Choice::Map(EffectOf::Drip(drip)) => {
            let (bytes, every) = pieces(drip)?;
            ApiEffect::Drip { bytes, every }
        }
        raw::Choice::Map(EffectOf::Reset(_)) => {
            return Err("a moment is known to slaves only; write the bare word `reset`".to_owned());
        }
        _ => return Err(OTHER.to_owned()),
    })
}

fn whole_seconds(lapse: raw::Lapse) -> Result<u32, String> {
    u32::try_from(lapse.0.as_secs())
        .ok()
        .filter(|_| lapse.0.subsec_nanos() == 0)
        .ok_or_else(|| format!("Retry-After takes whole seconds, not {lapse}"))
}

fn pieces(drip: &raw::Drip) -> Result<(usize, Duration), String> {
    if drip.every.0.is_zero() {
        return Err("`every` must be longer than 0".to_owned());
    }
    Ok((drip.bytes.unwrap_or(1) as usize, drip.every.0))
}

fn action_effect(effect: &raw::Effect, sends: Sends) -> Result<ActionEffect, String> {
    Ok(match effect {
        raw::Choice::Word(EffectWord::Disable) => ActionEffect::Disable,
        raw::Choice::Word(EffectWord::Hold) => ActionEffect::Hold { lasts: None },
        raw::Choice::Map(EffectOf::Hold(lasts)) if lasts.0.is_zero() => {
            return Err(
                "a hold of 0 is none; the bare word `hold` lasts until it is released".to_owned()
            );
        }
        raw::Choice::Map(EffectOf::Hold(lasts)) => ActionEffect::Hold { lasts: Some(lasts.0) },
        raw::Choice::Map(EffectOf::Result(code)) => {
            let effect = result::of_action(*code)?;
            match (result::of_slave(*code), result::of_target(*code)) {
                (Err(message), _) if !sends.http => return Err(message),
                (_, Err(message)) if !sends.modbus => return Err(message),
                _ => effect,
            }
        }
        _ => return Err(OTHER.to_owned()),
    })
}

fn queue_effect(effect: &raw::Effect) -> Result<QueueEffect, String> {
    let most = limits::REQUESTS_IN_PROGRESS;
    match effect {
        raw::Choice::Map(EffectOf::Occupy(places))
            if (1..=most).contains(&usize::from(*places)) =>
        {
            Ok(QueueEffect::Occupy(usize::from(*places)))
        }
        raw::Choice::Map(EffectOf::Limit(places)) if usize::from(*places) < most => {
            Ok(QueueEffect::Limit(usize::from(*places)))
        }
        _ => Err(OTHER.to_owned()),
    }
}

fn slave_effect(effect: &raw::Effect) -> Result<SlaveEffect, String> {
    match effect {
        raw::Choice::Word(word) => slave_word(*word),
        raw::Choice::Map(of) => slave_figures(of),
    }
}

fn slave_word(word: EffectWord) -> Result<SlaveEffect, String> {
    let pause = Duration::from_millis(50);
    Ok(SlaveEffect::Wire(match word {
        EffectWord::Silence => return Ok(SlaveEffect::Silence),
        EffectWord::Refuse => return Ok(SlaveEffect::Refuse),
        EffectWord::Reset => return Ok(SlaveEffect::Reset(Moment::Before)),
        EffectWord::Close => return Ok(SlaveEffect::Close(Moment::Before)),
        EffectWord::WrongTransactionId => WireFault::WrongTransactionId,
        EffectWord::OffByOne => WireFault::TransactionIdOffByOne,
        EffectWord::StaleReply => WireFault::StaleReply,
        EffectWord::WrongUnit => WireFault::WrongUnit,
        EffectWord::WrongFunction => WireFault::WrongFunction,
        EffectWord::ProtocolId => WireFault::ProtocolId(1),
        EffectWord::LengthTooShort => WireFault::MbapLength(1),
        EffectWord::LengthTooLong => WireFault::MbapLength(255),
        EffectWord::Truncated => WireFault::Truncated(1),
        EffectWord::ExtraBytes => WireFault::ExtraBytes(1),
        EffectWord::ExceptionWithoutCode => WireFault::ExceptionWithoutCode,
        EffectWord::ChangedEcho => WireFault::ChangedEcho,
        EffectWord::Dribble => WireFault::Dribble { bytes: 1, every: pause },
        EffectWord::Split => WireFault::Split { at: limits::MBAP_BYTES, gap: pause },
        EffectWord::Duplicate => WireFault::Duplicate,
        EffectWord::Disable
        | EffectWord::Hold
        | EffectWord::Hang
        | EffectWord::Drip
        | EffectWord::MalformedJson
        | EffectWord::BadContentLength => return Err(OTHER.to_owned()),
    }))
}

fn slave_figures(of: &EffectOf) -> Result<SlaveEffect, String> {
    let moment = |moment: raw::Moment| match moment {
        raw::Moment::Before => Moment::Before,
        raw::Moment::Middle => Moment::Middle,
        raw::Moment::After => Moment::After,
    };
    Ok(SlaveEffect::Wire(match of {
        EffectOf::Delay(raw) => return Ok(SlaveEffect::Delay(delay(raw)?)),
        EffectOf::Result(code) => return result::of_slave(*code),
        EffectOf::Exception(code) => return Ok(SlaveEffect::Exception(*code)),
        EffectOf::Reset(at) => return Ok(SlaveEffect::Reset(moment(*at))),
        EffectOf::Close(at) => return Ok(SlaveEffect::Close(moment(*at))),
        EffectOf::ProtocolId(id) => WireFault::ProtocolId(*id),
        EffectOf::LengthTooShort(length) | EffectOf::LengthTooLong(length) => {
            WireFault::MbapLength(*length)
        }
        EffectOf::Truncated(bytes) => WireFault::Truncated(*bytes),
        EffectOf::ExtraBytes(bytes) => WireFault::ExtraBytes(*bytes),
        EffectOf::Dribble(drip) => {
            let (bytes, every) = pieces(drip)?;
            WireFault::Dribble { bytes, every }
        }
        EffectOf::Split(split) => WireFault::Split { at: usize::from(split.at), gap: split.gap.0 },
        EffectOf::Status(_)
        | EffectOf::Hold(_)
        | EffectOf::Occupy(_)
        | EffectOf::Limit(_)
        | EffectOf::Cut(_)
        | EffectOf::Drip(_) => return Err(OTHER.to_owned()),
    }))
}

fn target_effect(effect: &raw::Effect) -> Result<TargetEffect, String> {
    Ok(match effect {
        raw::Choice::Word(EffectWord::Reset) => TargetEffect::Reset,
        raw::Choice::Word(EffectWord::Hang) => TargetEffect::Hang,
        raw::Choice::Word(EffectWord::BadContentLength) => TargetEffect::BadContentLength,
        raw::Choice::Map(EffectOf::Delay(raw)) => TargetEffect::Delay(delay(raw)?),
        raw::Choice::Map(EffectOf::Result(code)) => return result::of_target(*code),
        raw::Choice::Map(EffectOf::Status(raw::Choice::Word(code))) => TargetEffect::Status(code.0),
        raw::Choice::Map(EffectOf::Status(raw::Choice::Map(raw::StatusOf {
            code,
            retry_after: None,
        }))) => TargetEffect::Status(code.0),
        raw::Choice::Map(EffectOf::Status(_)) => {
            return Err(
                "Retry-After is known to the API only; for a target write a route".to_owned()
            );
        }
        raw::Choice::Map(EffectOf::Reset(_)) => {
            return Err("a moment is known to slaves only; write the bare word `reset`".to_owned());
        }
        _ => return Err(OTHER.to_owned()),
    })
}
