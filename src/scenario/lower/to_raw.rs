//! Rules in the form in which they could be written, for the control plane.

use super::super::raw::{
    At, Calls, Choice, DurationText, MethodWord, NameText, OneOrMany, Place, PlaceWord, PlainText,
    RangeText, Rule as RawRule, UrlPath, When, Wildcard,
};
use crate::fault::{ApiPlace, Fault, ModbusPlace, Rule, SlavePlace, TargetPlace, Trigger};
use crate::notation::Share;

/// Returns the rule as it could be written. A shorthand (`result`) comes back as the effect for which
/// it stands, unless only the shorthand expresses that.
pub(in super::super) fn rule_to_raw(rule: &Rule) -> RawRule {
    RawRule {
        id: Some(NameText(rule.id.to_string())),
        at: with_share(place(&rule.fault), rule.devices),
        when: when(&rule.when),
        effect: rule.fault.written_effect(),
    }
}

/// Returns a place with the share of the devices that a rule affects.
fn with_share(at: At, devices: Option<Share>) -> At {
    if devices.is_none() {
        return at;
    }
    let map = match at {
        Choice::Map(map) => map,
        Choice::Word(word) => bare(word),
    };
    Choice::Map(Place { devices, ..map })
}

/// Returns the place of a fault.
fn place(fault: &Fault) -> At {
    let any = Some(Wildcard::Any);
    match fault {
        Fault::Api(place, _) => at(PlaceWord::Api, api(place)),
        Fault::Action(place, _) => {
            let action = Some(name_or_any(place.action.as_ref()));
            at(PlaceWord::Action, Place { action, ..on_device(place.device.as_ref()) })
        }
        Fault::Queue { device, .. } => {
            at(PlaceWord::Queue, Place { queue: any, ..on_device(device.as_ref()) })
        }
        Fault::Slave(place, _) => at(PlaceWord::Slave, slave(place)),
        Fault::Modbus(place, _) => at(PlaceWord::Modbus, modbus(place)),
        Fault::Target(place, _) => at(PlaceWord::Target, target(place)),
        Fault::Mqtt { device, .. } => {
            at(PlaceWord::Mqtt, Place { mqtt: any, ..on_device(device.as_ref()) })
        }
        Fault::Live { device, .. } => {
            at(PlaceWord::Live, Place { live: any, ..on_device(device.as_ref()) })
        }
        Fault::Meter { device, .. } => {
            at(PlaceWord::Meter, Place { meter: any, ..on_device(device.as_ref()) })
        }
    }
}

/// Returns a place that names a device, or any.
fn on_device(device: Option<&String>) -> Place {
    // An id in a rule was parsed as one.
    Place { device: device.and_then(|id| id.parse().ok()), ..Place::default() }
}

fn api(place: &ApiPlace) -> Place {
    let api = match (&place.route, place.method) {
        (route, None) => Choice::Word(PlainText(route.clone().unwrap_or_else(any))),
        (route, method) => {
            Choice::Map(Calls { route: route.clone().map(UrlPath), method: method.map(MethodWord) })
        }
    };
    Place { api: Some(api), ..on_device(place.device.as_ref()) }
}

fn slave(place: &SlavePlace) -> Place {
    Place {
        slave: Some(name_or_any(place.slave.as_ref())),
        unit: place.unit,
        function: place.function.map(|function| function.0),
        address: place.address.as_ref().map(range),
        value: place.value.as_ref().map(range),
        action: place.action.clone().map(PlainText),
        ..Place::default()
    }
}

fn modbus(place: &ModbusPlace) -> Place {
    Place {
        modbus: Some(Wildcard::Any),
        unit: place.unit,
        function: place.function.map(|function| function.0),
        address: place.address.as_ref().map(range),
        ..on_device(place.device.as_ref())
    }
}

fn target(place: &TargetPlace) -> Place {
    Place {
        target: Some(name_or_any(place.target.as_ref())),
        method: place.method.map(MethodWord),
        path: place.path.clone().map(UrlPath),
        action: place.action.clone().map(PlainText),
        ..Place::default()
    }
}

/// Returns the bare word if the place says no more than `any`.
fn at(word: PlaceWord, map: Place) -> At {
    if map == bare(word) { Choice::Word(word) } else { Choice::Map(map) }
}

/// Returns the mapping that says as much as a word.
fn bare(word: PlaceWord) -> Place {
    let any = PlainText(any());
    match word {
        PlaceWord::Api => Place { api: Some(Choice::Word(any)), ..Place::default() },
        PlaceWord::Action => Place { action: Some(any), ..Place::default() },
        PlaceWord::Queue => Place { queue: Some(Wildcard::Any), ..Place::default() },
        PlaceWord::Slave => Place { slave: Some(any), ..Place::default() },
        PlaceWord::Target => Place { target: Some(any), ..Place::default() },
        PlaceWord::Mqtt => Place { mqtt: Some(Wildcard::Any), ..Place::default() },
        PlaceWord::Modbus => Place { modbus: Some(Wildcard::Any), ..Place::default() },
        PlaceWord::Meter => Place { meter: Some(Wildcard::Any), ..Place::default() },
        PlaceWord::Live => Place { live: Some(Wildcard::Any), ..Place::default() },
    }
}

fn range(range: &std::ops::RangeInclusive<u16>) -> RangeText {
    RangeText { first: *range.start(), last: *range.end() }
}

fn any() -> String {
    NameText::ANY.to_owned()
}

fn name_or_any(name: Option<&String>) -> PlainText {
    PlainText(name.cloned().unwrap_or_else(any))
}

fn when(trigger: &Trigger) -> Option<When> {
    let default = Trigger::default();
    if *trigger == default {
        return None;
    }
    Some(When {
        armed: (!trigger.armed).then_some(false),
        after: (!trigger.after.is_zero()).then_some(DurationText(trigger.after)),
        r#for: trigger.duration.map(DurationText),
        every: trigger.every.map(DurationText),
        first: trigger.first,
        nth: match trigger.nth.as_slice() {
            [] => None,
            [one] => Some(OneOrMany::One(*one)),
            several => Some(OneOrMany::Many(several.to_vec())),
        },
        #[expect(clippy::float_cmp, reason = "1 is the value that is left out, not a result")]
        probability: (trigger.probability != default.probability).then_some(trigger.probability),
    })
}
