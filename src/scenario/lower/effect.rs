//! The effects of fault rules: which befall which place, and what their figures mean.

use std::time::Duration;

use super::super::raw::{self, EffectOf, EffectWord};
use super::place::{FaultTarget, Sends};
use crate::fault::{
    ActionEffect, ApiEffect, ClockDrift, Delay, Fault, LiveEffect, MeterEffect, MqttEffect,
    QueueEffect, ReplyPhase, Silence, SlaveEffect, TargetEffect, WireFault, result,
};
use crate::limits;

/// The effects on a slave; all but the last also befall the device's own Modbus server.
static OF_SLAVES: [&str; 23] = [
    "delay",
    "silence",
    "exception",
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
    "mbap_length",
    "truncated",
    "extra_bytes",
    "exception_without_code",
    "changed_echo",
    "dribble",
    "split",
    "duplicate",
    "result",
];

/// The kind of a place, and the effects that befall it.
pub(super) fn known_effects(place: &FaultTarget) -> (&'static str, &'static [&'static str]) {
    match place {
        FaultTarget::Api(_) => {
            ("the API", &["delay", "status", "reset", "hang", "cut", "drip", "malformed_json"])
        }
        FaultTarget::Action(_) => ("an action", &["disable", "hold", "result"]),
        FaultTarget::Queue(_) => ("the queue", &["occupy", "limit"]),
        FaultTarget::Slave(_) => ("a slave", &OF_SLAVES),
        FaultTarget::Modbus(_) => {
            // A result code is what the device makes of a slave's answer.
            let [wire @ .., _result] = &OF_SLAVES;
            ("the device's Modbus server", wire)
        }
        FaultTarget::Target(_) => {
            ("a target", &["delay", "status", "reset", "hang", "bad_content_length", "result"])
        }
        FaultTarget::Mqtt(_) => ("the MQTT client", &["delay", "lose", "drop", "refuse"]),
        FaultTarget::Live(_) => {
            ("the live stream", &["delay", "stall", "cut", "duplicate", "takeover"])
        }
        FaultTarget::Meter(_) => (
            "a meter",
            &[
                "not_connected",
                "no_data",
                "recognition",
                "key_required",
                "encryption_key",
                "not_recognized",
                "frozen",
                "jump_back",
                "clock_drift",
                "missing_phase",
                "restart_ids",
            ],
        ),
    }
}

/// The word an effect is written with.
pub(super) fn name_of(effect: &raw::Effect) -> String {
    // The names are serde's; both forms are a word or a mapping with one key.
    match serde_json::to_value(effect) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(serde_json::Value::Object(map)) => map.keys().next().cloned().unwrap_or_default(),
        _ => String::new(),
    }
}

/// The fault of an effect at a place. The caller has checked that the effect's name fits the place.
///
/// # Errors
/// What is wrong with its figures.
pub(super) fn effect_at(
    place: FaultTarget,
    effect: &raw::Effect,
    sends: Sends,
) -> Result<Fault, String> {
    Ok(match place {
        FaultTarget::Api(place) => Fault::Api(place, api_effect(effect)?),
        FaultTarget::Action(place) => Fault::Action(place, action_effect(effect, sends)?),
        FaultTarget::Queue(device) => Fault::Queue { device, effect: queue_effect(effect)? },
        FaultTarget::Slave(place) => Fault::Slave(place, slave_effect(effect)?),
        FaultTarget::Target(place) => Fault::Target(place, target_effect(effect)?),
        FaultTarget::Mqtt(device) => Fault::Mqtt { device, effect: mqtt_effect(effect)? },
        FaultTarget::Live(device) => Fault::Live { device, effect: live_effect(effect)? },
        FaultTarget::Modbus(place) => Fault::Modbus(place, slave_effect(effect)?),
        FaultTarget::Meter(device) => Fault::Meter { device, effect: meter_effect(effect)? },
    })
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
                raw::Choice::Map(of) => (of.code.0, of.retry_after.map(|seconds| seconds.0)),
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

/// The words for a meter from which no reading gets through.
pub(super) const SILENCES: [(EffectWord, Silence); 6] = [
    (EffectWord::NotConnected, Silence::NotConnected),
    (EffectWord::NoData, Silence::NoData),
    (EffectWord::Recognition, Silence::Recognition),
    (EffectWord::KeyRequired, Silence::KeyRequired),
    (EffectWord::EncryptionKey, Silence::EncryptionKey),
    (EffectWord::NotRecognized, Silence::NotRecognized),
];

fn meter_effect(effect: &raw::Effect) -> Result<MeterEffect, String> {
    match effect {
        raw::Choice::Word(EffectWord::Frozen) => Ok(MeterEffect::Frozen),
        raw::Choice::Word(EffectWord::RestartIds) => Ok(MeterEffect::RestartIds),
        raw::Choice::Word(word) => {
            let silence = SILENCES.iter().find(|(own, _)| own == word);
            silence.map(|(_, silence)| MeterEffect::Silent(*silence)).ok_or_else(|| OTHER.into())
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range")]
        raw::Choice::Map(EffectOf::JumpBack(kwh)) if (0.001..=1e6).contains(kwh) => {
            Ok(MeterEffect::JumpBack((kwh * 1000.0).round() as u64))
        }
        raw::Choice::Map(EffectOf::ClockDrift(drift)) => clock_drift(drift),
        raw::Choice::Map(EffectOf::MissingPhase(phases)) => {
            let missing = |phase| phases.as_slice().contains(&phase);
            let missing = [raw::Phase::L1, raw::Phase::L2, raw::Phase::L3].map(missing);
            Ok(MeterEffect::MissingPhases(missing))
        }
        raw::Choice::Map(_) => Err(OTHER.to_owned()),
    }
}

fn live_effect(effect: &raw::Effect) -> Result<LiveEffect, String> {
    Ok(match effect {
        raw::Choice::Word(EffectWord::Stall) => LiveEffect::Stall { lasts: None },
        raw::Choice::Word(EffectWord::Duplicate) => LiveEffect::Duplicate,
        raw::Choice::Word(EffectWord::Takeover) => LiveEffect::Takeover,
        raw::Choice::Map(EffectOf::Delay(raw)) => LiveEffect::Delay(delay(raw)?),
        raw::Choice::Map(EffectOf::Stall(lasts)) if lasts.0.is_zero() => {
            return Err(
                "a stall of 0 is none; the bare word `stall` lasts until it is released".to_owned()
            );
        }
        raw::Choice::Map(EffectOf::Stall(lasts)) => LiveEffect::Stall { lasts: Some(lasts.0) },
        raw::Choice::Map(EffectOf::Cut(after)) => LiveEffect::Cut { after: *after as usize },
        _ => return Err(OTHER.to_owned()),
    })
}

fn clock_drift(raw: &raw::Choice<raw::DurationText, raw::Drift>) -> Result<MeterEffect, String> {
    let millis = |lapse: Option<raw::DurationText>| {
        lapse.map_or(0, |lapse| i64::try_from(lapse.0.as_millis()).unwrap_or(i64::MAX))
    };
    let drift = match raw {
        raw::Choice::Word(ahead) => ClockDrift { offset: millis(Some(*ahead)), per_day: 0 },
        raw::Choice::Map(raw::Drift { ahead: Some(_), behind: Some(_), .. }) => {
            return Err("a clock is `ahead` or `behind`, not both".to_owned());
        }
        raw::Choice::Map(raw::Drift { ahead, behind: None, per_day }) => {
            ClockDrift { offset: millis(*ahead), per_day: millis(*per_day) }
        }
        raw::Choice::Map(raw::Drift { behind, per_day, .. }) => {
            ClockDrift { offset: -millis(*behind), per_day: -millis(*per_day) }
        }
    };
    if drift == ClockDrift::default() {
        return Err("a clock that is off by 0 is right; say by how much, as 90s".to_owned());
    }
    Ok(MeterEffect::ClockDrift(drift))
}

fn slave_word(word: EffectWord) -> Result<SlaveEffect, String> {
    let pause = Duration::from_millis(50);
    Ok(SlaveEffect::Wire(match word {
        EffectWord::Silence => return Ok(SlaveEffect::Silence),
        EffectWord::Refuse => return Ok(SlaveEffect::Refuse),
        EffectWord::Reset => return Ok(SlaveEffect::Reset(ReplyPhase::Before)),
        EffectWord::Close => return Ok(SlaveEffect::Close(ReplyPhase::Before)),
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
        | EffectWord::BadContentLength
        | EffectWord::Lose
        | EffectWord::Drop
        | EffectWord::Stall
        | EffectWord::Takeover
        | EffectWord::NotConnected
        | EffectWord::NoData
        | EffectWord::Recognition
        | EffectWord::KeyRequired
        | EffectWord::EncryptionKey
        | EffectWord::NotRecognized
        | EffectWord::Frozen
        | EffectWord::RestartIds => return Err(OTHER.to_owned()),
    }))
}

fn slave_figures(of: &EffectOf) -> Result<SlaveEffect, String> {
    let moment = |moment: raw::Moment| match moment {
        raw::Moment::Before => ReplyPhase::Before,
        raw::Moment::Middle => ReplyPhase::Middle,
        raw::Moment::After => ReplyPhase::After,
    };
    Ok(SlaveEffect::Wire(match of {
        EffectOf::Delay(raw) => return Ok(SlaveEffect::Delay(delay(raw)?)),
        EffectOf::Result(code) => return result::of_slave(*code),
        EffectOf::Exception(code) => return Ok(SlaveEffect::Exception(*code)),
        EffectOf::Reset(at) => return Ok(SlaveEffect::Reset(moment(*at))),
        EffectOf::Close(at) => return Ok(SlaveEffect::Close(moment(*at))),
        EffectOf::ProtocolId(id) => WireFault::ProtocolId(*id),
        EffectOf::LengthTooShort(length)
        | EffectOf::LengthTooLong(length)
        | EffectOf::MbapLength(length) => WireFault::MbapLength(*length),
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
        | EffectOf::Stall(_)
        | EffectOf::Cut(_)
        | EffectOf::Drip(_)
        | EffectOf::JumpBack(_)
        | EffectOf::ClockDrift(_)
        | EffectOf::MissingPhase(_) => return Err(OTHER.to_owned()),
    }))
}

fn target_effect(effect: &raw::Effect) -> Result<TargetEffect, String> {
    Ok(match effect {
        raw::Choice::Word(EffectWord::Reset) => TargetEffect::Reset,
        raw::Choice::Word(EffectWord::Hang) => TargetEffect::Hang,
        raw::Choice::Word(EffectWord::BadContentLength) => TargetEffect::BadContentLength,
        raw::Choice::Map(EffectOf::Delay(raw)) => TargetEffect::Delay(delay(raw)?),
        raw::Choice::Map(EffectOf::Result(code)) => return result::of_target(*code),
        raw::Choice::Map(EffectOf::Status(status)) => {
            let code = match status {
                raw::Choice::Word(code) => code,
                raw::Choice::Map(of) if of.retry_after.is_none() => &of.code,
                raw::Choice::Map(_) => {
                    let message =
                        "Retry-After is known to the API only; for a target write a route";
                    return Err(message.to_owned());
                }
            };
            TargetEffect::Status(code.0)
        }
        raw::Choice::Map(EffectOf::Reset(_)) => {
            return Err("a moment is known to slaves only; write the bare word `reset`".to_owned());
        }
        _ => return Err(OTHER.to_owned()),
    })
}

fn mqtt_effect(effect: &raw::Effect) -> Result<MqttEffect, String> {
    Ok(match effect {
        raw::Choice::Word(EffectWord::Lose) => MqttEffect::Lose,
        raw::Choice::Word(EffectWord::Drop) => MqttEffect::Drop,
        raw::Choice::Word(EffectWord::Refuse) => MqttEffect::Refuse,
        raw::Choice::Map(EffectOf::Delay(raw)) => MqttEffect::Delay(delay(raw)?),
        _ => return Err(OTHER.to_owned()),
    })
}
