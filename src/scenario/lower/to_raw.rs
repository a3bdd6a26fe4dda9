//! A rule in the form in which it could be written, for the control plane.

use std::time::Duration;

use super::super::raw::{
    At, Calls, Choice, DelayOf, Distribution, Drift, Drip, DurationText, Effect, EffectOf,
    EffectWord, Lognormal, MethodWord, Moment as RawMoment, NameText, Normal, OneOrMany, Phase,
    Place, PlaceWord, PlainText, RangeText, Rule as RawRule, Seconds, Split, StatusCode, StatusOf,
    UrlPath, When, Wildcard,
};
use super::effect::SILENCES;
use crate::fault::{
    ActionEffect, ApiEffect, ApiPlace, ClockDrift, ConnectFault, Delay, Fault, LiveEffect,
    MeterEffect, ModbusPlace, MqttEffect, QueueEffect, ReplyPhase, Rule, SlaveEffect, SlavePlace,
    TargetEffect, TargetPlace, Trigger, WireFault,
};
use crate::limits;

/// The rule as it could be written. A shorthand (`result`) comes back as what it stands for, except
/// where only the shorthand says it.
pub(in super::super) fn rule_to_raw(rule: &Rule) -> RawRule {
    let (at, effect) = fault(&rule.fault);
    RawRule { id: Some(NameText(rule.id.to_string())), at, when: when(&rule.when), effect }
}

/// Where it is, and what it does.
fn fault(fault: &Fault) -> (At, Effect) {
    match fault {
        Fault::Api(place, effect) => (at(PlaceWord::Api, api(place)), api_effect(effect)),
        Fault::Action(place, effect) => {
            let action = Some(name_or_any(place.action.as_ref()));
            let place = Place { action, ..on(place.device.as_ref()) };
            (at(PlaceWord::Action, place), action_effect(effect))
        }
        Fault::Queue { device, effect } => {
            let place = Place { queue: Some(Wildcard::Any), ..on(device.as_ref()) };
            (at(PlaceWord::Queue, place), queue_effect(*effect))
        }
        Fault::Slave(place, effect) => (at(PlaceWord::Slave, slave(place)), slave_effect(effect)),
        Fault::Modbus(place, effect) => {
            (at(PlaceWord::Modbus, modbus(place)), slave_effect(effect))
        }
        Fault::Target(place, effect) => {
            (at(PlaceWord::Target, target(place)), target_effect(effect))
        }
        Fault::Mqtt { device, effect } => {
            let place = Place { mqtt: Some(Wildcard::Any), ..on(device.as_ref()) };
            (at(PlaceWord::Mqtt, place), mqtt_effect(*effect))
        }
        Fault::Live { device, effect } => {
            let place = Place { live: Some(Wildcard::Any), ..on(device.as_ref()) };
            (at(PlaceWord::Live, place), live_effect(*effect))
        }
        Fault::Meter { device, effect } => {
            let place = Place { meter: Some(Wildcard::Any), ..on(device.as_ref()) };
            (at(PlaceWord::Meter, place), meter_effect(*effect))
        }
    }
}

/// What a place says that is on this device alone.
fn on(device: Option<&String>) -> Place {
    // An id in a rule was read as one.
    Place { device: device.and_then(|id| id.parse().ok()), ..Place::default() }
}

fn api(place: &ApiPlace) -> Place {
    let api = match (&place.route, place.method) {
        (route, None) => Choice::Word(PlainText(route.clone().unwrap_or_else(any))),
        (route, method) => {
            Choice::Map(Calls { route: route.clone().map(UrlPath), method: method.map(MethodWord) })
        }
    };
    Place { api: Some(api), ..on(place.device.as_ref()) }
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
        ..on(place.device.as_ref())
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

/// The bare word where the place says no more than `any`.
fn at(word: PlaceWord, map: Place) -> At {
    let any = PlainText(any());
    let bare = match word {
        PlaceWord::Api => Place { api: Some(Choice::Word(any)), ..Place::default() },
        PlaceWord::Action => Place { action: Some(any), ..Place::default() },
        PlaceWord::Queue => Place { queue: Some(Wildcard::Any), ..Place::default() },
        PlaceWord::Slave => Place { slave: Some(any), ..Place::default() },
        PlaceWord::Target => Place { target: Some(any), ..Place::default() },
        PlaceWord::Mqtt => Place { mqtt: Some(Wildcard::Any), ..Place::default() },
        PlaceWord::Modbus => Place { modbus: Some(Wildcard::Any), ..Place::default() },
        PlaceWord::Meter => Place { meter: Some(Wildcard::Any), ..Place::default() },
        PlaceWord::Live => Place { live: Some(Wildcard::Any), ..Place::default() },
    };
    if map == bare { Choice::Word(word) } else { Choice::Map(map) }
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
        r#for: trigger.lasts.map(DurationText),
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

fn delay(delay: Delay) -> Effect {
    let of: DelayOf = match delay {
        Delay::Fixed(fixed) => Choice::Word(DurationText(fixed)),
        Delay::Uniform(low, high) => {
            Choice::Map(Distribution::Uniform([DurationText(low), DurationText(high)]))
        }
        Delay::Normal { mean, deviation } => Choice::Map(Distribution::Normal(Normal {
            mean: DurationText(mean),
            deviation: DurationText(deviation),
        })),
        Delay::Lognormal { median, p95 } => Choice::Map(Distribution::Lognormal(Lognormal {
            median: DurationText(median),
            p95: DurationText(p95),
        })),
    };
    Choice::Map(EffectOf::Delay(of))
}

fn drip(bytes: usize, every: Duration) -> Drip {
    Drip { bytes: Some(u32::try_from(bytes).unwrap_or(u32::MAX)), every: DurationText(every) }
}

fn api_effect(effect: &ApiEffect) -> Effect {
    Choice::Map(match effect {
        ApiEffect::Delay(of) => return delay(*of),
        ApiEffect::Reset => return Choice::Word(EffectWord::Reset),
        ApiEffect::Hang => return Choice::Word(EffectWord::Hang),
        ApiEffect::MalformedJson => return Choice::Word(EffectWord::MalformedJson),
        ApiEffect::Status { code, retry_after: None } => {
            EffectOf::Status(Choice::Word(StatusCode(*code)))
        }
        ApiEffect::Status { code, retry_after } => EffectOf::Status(Choice::Map(StatusOf {
            code: StatusCode(*code),
            retry_after: retry_after.map(Seconds),
        })),
        ApiEffect::Cut { after } => EffectOf::Cut(u32::try_from(*after).unwrap_or(u32::MAX)),
        ApiEffect::Drip { bytes, every } => EffectOf::Drip(drip(*bytes, *every)),
    })
}

fn action_effect(effect: &ActionEffect) -> Effect {
    Choice::Map(match effect {
        ActionEffect::Disable => return Choice::Word(EffectWord::Disable),
        ActionEffect::Hold { lasts: None } => return Choice::Word(EffectWord::Hold),
        ActionEffect::Hold { lasts: Some(lasts) } => EffectOf::Hold(DurationText(*lasts)),
        ActionEffect::Connect(fault) => EffectOf::Result(code_of(*fault)),
        // Only the shorthand makes one; the code is the one that gives it again.
        ActionEffect::Reply { code, .. } => EffectOf::Result(*code),
    })
}

const fn code_of(fault: ConnectFault) -> i32 {
    match fault {
        ConnectFault::Resolve => -16,
        ConnectFault::Refused => -17,
        ConnectFault::NoSocket => -19,
        ConnectFault::SendLost => -7,
        ConnectFault::Tls => -18,
        ConnectFault::Unsent(code) => code,
    }
}

fn queue_effect(effect: QueueEffect) -> Effect {
    let places = |places: usize| u8::try_from(places).unwrap_or(u8::MAX);
    Choice::Map(match effect {
        QueueEffect::Occupy(taken) => EffectOf::Occupy(places(taken)),
        QueueEffect::Limit(all) => EffectOf::Limit(places(all)),
    })
}

fn mqtt_effect(effect: MqttEffect) -> Effect {
    Choice::Word(match effect {
        MqttEffect::Delay(of) => return delay(of),
        MqttEffect::Lose => EffectWord::Lose,
        MqttEffect::Drop => EffectWord::Drop,
        MqttEffect::Refuse => EffectWord::Refuse,
    })
}

fn live_effect(effect: LiveEffect) -> Effect {
    Choice::Map(match effect {
        LiveEffect::Delay(of) => return delay(of),
        LiveEffect::Stall { lasts: None } => return Choice::Word(EffectWord::Stall),
        LiveEffect::Stall { lasts: Some(lasts) } => EffectOf::Stall(DurationText(lasts)),
        LiveEffect::Cut { after } => EffectOf::Cut(u32::try_from(after).unwrap_or(u32::MAX)),
        LiveEffect::Duplicate => return Choice::Word(EffectWord::Duplicate),
        LiveEffect::Takeover => return Choice::Word(EffectWord::Takeover),
    })
}

fn meter_effect(effect: MeterEffect) -> Effect {
    Choice::Map(match effect {
        MeterEffect::Silent(silence) => {
            let word = SILENCES.iter().find(|(_, own)| *own == silence).map(|(word, _)| *word);
            // Every silence has its word.
            return Choice::Word(word.unwrap_or(EffectWord::NoData));
        }
        MeterEffect::Frozen => return Choice::Word(EffectWord::Frozen),
        MeterEffect::RestartIds => return Choice::Word(EffectWord::RestartIds),
        #[expect(clippy::cast_precision_loss, reason = "it was read from an f64")]
        MeterEffect::JumpBack(watt_hours) => EffectOf::JumpBack(watt_hours as f64 / 1000.0),
        MeterEffect::ClockDrift(ClockDrift { offset, per_day }) => {
            let lapse = |millis: i64| {
                (millis != 0).then(|| DurationText(Duration::from_millis(millis.unsigned_abs())))
            };
            let (ahead, behind) =
                if offset.min(per_day) < 0 { (None, lapse(offset)) } else { (lapse(offset), None) };
            // Behind is said even where it begins at 0: it gives `per_day` its direction.
            let behind = behind.or((per_day < 0).then_some(DurationText(Duration::ZERO)));
            EffectOf::ClockDrift(Choice::Map(Drift { ahead, behind, per_day: lapse(per_day) }))
        }
        MeterEffect::MissingPhases(missing) => {
            let phases = [Phase::L1, Phase::L2, Phase::L3].into_iter().zip(missing);
            let phases = phases.filter(|(_, missing)| *missing).map(|(phase, _)| phase).collect();
            EffectOf::MissingPhase(OneOrMany::Many(phases))
        }
    })
}

fn slave_effect(effect: &SlaveEffect) -> Effect {
    let moment = |moment: &ReplyPhase| match moment {
        ReplyPhase::Before => RawMoment::Before,
        ReplyPhase::Middle => RawMoment::Middle,
        ReplyPhase::After => RawMoment::After,
    };
    match effect {
        SlaveEffect::Delay(of) => delay(*of),
        SlaveEffect::Silence => Choice::Word(EffectWord::Silence),
        SlaveEffect::Refuse => Choice::Word(EffectWord::Refuse),
        SlaveEffect::Exception(code) => Choice::Map(EffectOf::Exception(*code)),
        SlaveEffect::Close(at) => Choice::Map(EffectOf::Close(moment(at))),
        SlaveEffect::Reset(at) => Choice::Map(EffectOf::Reset(moment(at))),
        SlaveEffect::Connect(fault) => Choice::Map(EffectOf::Result(code_of(*fault))),
        SlaveEffect::Wire(fault) => wire_fault(fault),
    }
}

fn wire_fault(fault: &WireFault) -> Effect {
    let word = match fault {
        WireFault::WrongTransactionId => EffectWord::WrongTransactionId,
        WireFault::TransactionIdOffByOne => EffectWord::OffByOne,
        WireFault::StaleReply => EffectWord::StaleReply,
        WireFault::WrongUnit => EffectWord::WrongUnit,
        WireFault::WrongFunction => EffectWord::WrongFunction,
        WireFault::ExceptionWithoutCode => EffectWord::ExceptionWithoutCode,
        WireFault::ChangedEcho => EffectWord::ChangedEcho,
        WireFault::Duplicate => EffectWord::Duplicate,
        WireFault::ProtocolId(id) => return Choice::Map(EffectOf::ProtocolId(*id)),
        WireFault::MbapLength(length) if length < limits::MBAP_LENGTH.start() => {
            return Choice::Map(EffectOf::LengthTooShort(*length));
        }
        WireFault::MbapLength(length) if *length > *limits::MBAP_LENGTH.end() => {
            return Choice::Map(EffectOf::LengthTooLong(*length));
        }
        WireFault::MbapLength(length) => return Choice::Map(EffectOf::MbapLength(*length)),
        WireFault::Truncated(bytes) => return Choice::Map(EffectOf::Truncated(*bytes)),
        WireFault::ExtraBytes(bytes) => return Choice::Map(EffectOf::ExtraBytes(*bytes)),
        WireFault::Dribble { bytes, every } => {
            return Choice::Map(EffectOf::Dribble(drip(*bytes, *every)));
        }
        WireFault::Split { at, gap } => {
            let at = u16::try_from(*at).unwrap_or(u16::MAX);
            return Choice::Map(EffectOf::Split(Split { at, gap: DurationText(*gap) }));
        }
    };
    Choice::Word(word)
}

fn target_effect(effect: &TargetEffect) -> Effect {
    match effect {
        TargetEffect::Delay(of) => delay(*of),
        TargetEffect::Status(code) => {
            Choice::Map(EffectOf::Status(Choice::Word(StatusCode(*code))))
        }
        TargetEffect::Reset => Choice::Word(EffectWord::Reset),
        TargetEffect::Hang => Choice::Word(EffectWord::Hang),
        TargetEffect::BadContentLength => Choice::Word(EffectWord::BadContentLength),
        TargetEffect::Connect(fault) => Choice::Map(EffectOf::Result(code_of(*fault))),
    }
}
