//! Faults: rules that affect a house, and the engine that evaluates them.
//!
//! A [`Rule`] is a place with an effect ([`Fault`]), and the conditions under which it fires
//! ([`Trigger`]). The [`Engine`] is asked at each seam (admission, connect, slave reply, API call …).
//! The engine counts, decides and explains. The layer at the seam asks the engine and carries the
//! verdict out, for example the session of a slave or the HTTP server of a device. The engine changes
//! neither a device nor a slave.
//!
//! # Adding an effect
//!
//! 1. Add a variant to the effect type of the place, in its file below `seam`. An effect on the bytes of
//!    a Modbus reply is a variant of `WireFault` in `modbus/fault/mod.rs`; `Display` there has its text
//!    in the journal.
//! 2. Add its written form to `FORMS` in the file below `seam`: the keyword, the text, and its
//!    parameters if any. No test finds a variant without a written form.
//! 3. Let the layer that asks the engine carry it out. The compiler shows most `match`es, but no
//!    `matches!` and no `_ =>` arm.
//! 4. Test it at the layer; if it has parameters, add an example of them to the tests below.
//!
//! `docs/how-to-extend.md` names the files of each seam, the arms that stay silent, and the fixtures,
//! recordings and documents that follow.

mod delay;
mod effect;
mod engine;
mod episode;
mod parameters;
mod index;
pub mod result;
mod seam;
mod share;
mod window_schedule;
mod written_form;

pub use self::delay::Delay;
pub use self::effect::{EffectKeyword, EffectWithParameters, WrittenEffect};
pub use self::engine::{Engine, EngineError, Rule, RuleStatus, SentReadings, Verdict};
pub use self::episode::{ActiveFaults, Episode, Episodes, MeterState};
pub use self::seam::{
    ActionEffect, ActionOrigin, ActionOriginRef, ActionPlace, AddressRange, AdmissionVerdict,
    ApiCall, ApiEffect, ApiPlace, ClockDrift, Connect, ConnectFault, DeviceModbusRequest, Fault,
    FaultListener, FaultTarget, Hold, LiveEffect, LiveVerdict, MeterEffect, ModbusPlace,
    MqttEffect, MqttMessage, PeerRef, QueueEffect, Silence, SlaveEffect, SlavePlace, SlaveRequest,
    TargetEffect, TargetPlace, TargetRequest, WindowBudget,
};
pub use self::share::DrawnShare;
pub use self::window_schedule::{Interruption, ScheduledWindow, WindowSchedule};
pub use crate::modbus::trigger::{Trigger, TriggerState};

#[cfg(test)]
mod tests {
    use super::seam::forms;
    use super::*;

    /// One place of each kind.
    fn targets() -> [FaultTarget; 9] {
        [
            FaultTarget::Api(ApiPlace::default()),
            FaultTarget::Action(ActionPlace::default()),
            FaultTarget::Queue(None),
            FaultTarget::Slave(SlavePlace::default()),
            FaultTarget::Modbus(ModbusPlace::default()),
            FaultTarget::Target(TargetPlace::default()),
            FaultTarget::Mqtt(None),
            FaultTarget::Live(None),
            FaultTarget::Meter(None),
        ]
    }

    #[test]
    fn every_keyword_reads_back_as_the_same_effect() {
        for target in targets() {
            for keyword in target.keywords() {
                let Some(keyword) = EffectKeyword::named(keyword) else { continue };
                let Ok(fault) = target.clone().with(&WrittenEffect::Word(keyword)) else {
                    // Here the keyword has parameters; at another place it has none.
                    continue;
                };
                let written = fault.written_effect();
                assert_ne!(written.keyword(), "", "{fault:?} has no written form");
                assert_eq!(target.clone().with(&written).as_ref(), Ok(&fault), "{written:?}");
            }
        }
    }

    #[test]
    fn a_keyword_has_the_same_parameters_at_each_place() {
        let mut generator = schemars::SchemaGenerator::default();
        let mut schemas = std::collections::BTreeMap::new();
        for form in forms() {
            let Some(parameters) = form.parameters else { continue };
            let schema = parameters.schema(&mut generator);
            let first = schemas.entry(form.keyword).or_insert_with(|| schema.clone());
            // The schema and the parser of the language have one type for each keyword.
            assert_eq!(*first, schema, "{} at {}", form.keyword, form.place);
        }
        assert!(schemas.len() > 10, "{schemas:?}");
    }

    #[test]
    fn effects_with_parameters_read_back_as_the_same_effect() {
        use serde_json::json;
        let examples = [
            ("delay", json!("250ms")),
            ("status", json!({ "code": 503, "retry_after": 5 })),
            ("status", json!(503)),
            ("result", json!(-9)),
            ("result", json!(-17)),
            ("hold", json!("30s")),
            ("occupy", json!(20)),
            ("limit", json!(0)),
            ("exception", json!(2)),
            ("reset", json!("middle")),
            ("close", json!("after")),
            ("stall", json!("2s")),
            ("cut", json!(40)),
            ("drip", json!({ "bytes": 10, "every": "100ms" })),
            ("protocol_id", json!(7)),
            ("length_too_short", json!(0)),
            ("length_too_long", json!(300)),
            ("mbap_length", json!(42)),
            ("truncated", json!(3)),
            ("extra_bytes", json!(2)),
            ("dribble", json!({ "every": "50ms" })),
            ("split", json!({ "at": 7, "gap": "100ms" })),
            ("jump_back", json!(12.5)),
            ("clock_drift", json!({ "behind": "90s", "per_day": "2s" })),
            ("missing_phase", json!(["l1", "l3"])),
        ];
        for form in forms().filter(|form| form.parameters.is_some()) {
            assert!(
                examples.iter().any(|(keyword, _)| *keyword == form.keyword),
                "{} lacks one",
                form.keyword
            );
        }
        for (keyword, parameters) in examples {
            let written =
                WrittenEffect::Map(EffectWithParameters::new(keyword, parameters).unwrap());
            let mut places = 0;
            for target in targets() {
                let Ok(fault) = target.clone().with(&written) else { continue };
                places += 1;
                let again = fault.written_effect();
                assert_eq!(target.with(&again).as_ref(), Ok(&fault), "{written:?} as {again:?}");
            }
            assert!(places > 0, "no place takes {keyword}");
        }
    }
}
