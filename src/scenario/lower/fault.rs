//! Fault rules: a place, a moment and an effect that fit each other.

use super::super::diagnostics::{Mistake, Mistakes, join_and};
use super::super::path::FieldPath;
use super::super::raw;
use super::Names;
use super::effect::{effect_at, known_effects, name_of};
use super::place::{FaultTarget, Sends};
use crate::fault::{Fault, MqttEffect, Rule, SlaveEffect, Trigger};
use crate::limits;

/// The rule that is meant.
pub(super) fn rule(
    raw: &raw::Rule,
    default_id: &str,
    path: &FieldPath,
    known: &Names<'_>,
    mistakes: &mut Mistakes,
) -> Option<Rule> {
    let id = raw.id.as_ref().map_or(default_id, raw::NameText::as_str).into();
    let mut judge = RuleValidator { known, path, mistakes };
    let when = judge.trigger(raw.when.as_ref());
    let place = judge.place(&raw.at)?;
    let fault = judge.fault(place, &raw.effect)?;
    judge.check_state(&fault, raw.when.as_ref());
    Some(Rule { id, fault, when })
}

/// Judges one rule.
pub(super) struct RuleValidator<'a> {
    pub known: &'a Names<'a>,
    /// The rule's own path.
    pub path: &'a FieldPath,
    pub mistakes: &'a mut Mistakes,
}

impl RuleValidator<'_> {
    pub fn mistake(&mut self, mistake: Mistake) {
        self.mistakes.push(mistake);
    }

    /// A mistake at a key of `at`.
    pub fn at(&self, key: &str, message: impl Into<String>) -> Mistake {
        Mistake::new(self.path.key("at").key(key), message)
    }

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
        for problem in trigger.problems() {
            self.mistake(Mistake::new(path.key(&problem.path), problem.message));
        }
        trigger
    }

    /// Some effects are states of a thing, not events of a request: they have a time, but nothing
    /// that is counted or drawn.
    fn check_state(&mut self, fault: &Fault, when: Option<&raw::When>) {
        match fault {
            Fault::Slave(place, SlaveEffect::Refuse) => {
                self.check_refuse(&[
                    ("unit", place.unit.is_some()),
                    ("function", place.function.is_some()),
                    ("address", place.address.is_some()),
                    ("value", place.value.is_some()),
                    ("action", place.action.is_some()),
                ]);
                self.check_window(when, "`refuse` is a state of the listener");
            }
            Fault::Modbus(place, SlaveEffect::Refuse) => {
                self.check_refuse(&[
                    ("unit", place.unit.is_some()),
                    ("function", place.function.is_some()),
                    ("address", place.address.is_some()),
                ]);
                self.check_window(when, "`refuse` is a state of the listener");
            }
            Fault::Meter { .. } => {
                self.check_window(when, "what befalls a meter is a state of it");
                let often = when.and_then(|when| when.every);
                if often.is_some_and(|every| every.0 < limits::METER_FAULT_EVERY) {
                    let message = format!(
                        "a meter's window comes round after {} at the soonest",
                        raw::DurationText(limits::METER_FAULT_EVERY)
                    );
                    self.mistake(Mistake::new(self.path.key("when").key("every"), message));
                }
            }
            Fault::Mqtt { effect: MqttEffect::Refuse, .. } => {
                self.check_window(when, "`refuse` is a state of the broker");
            }
            _ => {}
        }
    }

    fn check_refuse(&mut self, given: &[(&str, bool)]) {
        for (key, _) in given.iter().filter(|(_, given)| *given) {
            let mistake = self
                .at(key, format!("`refuse` closes the whole listener, before any request: no `{key}` is known there"))
                .help("leave it out; to fail single requests use another effect, as `reset`")
                .on_key();
            self.mistake(mistake);
        }
    }

    /// A state has a window, and nothing that counts.
    fn check_window(&mut self, when: Option<&raw::When>, what: &str) {
        let Some(when) = when else { return };
        let counted = [
            ("first", when.first.is_some()),
            ("nth", when.nth.is_some()),
            ("probability", when.probability.is_some()),
        ];
        for (key, _) in counted.into_iter().filter(|(_, given)| *given) {
            let message = format!("{what}: no request is there for `{key}` to count");
            let path = self.path.key("when").key(key);
            self.mistake(
                Mistake::new(path, message).help("use `after`, `for` and `every`").on_key(),
            );
        }
    }

    fn fault(&mut self, place: FaultTarget, effect: &raw::Effect) -> Option<Fault> {
        let (kind, known) = known_effects(&place);
        let name = name_of(effect);
        let path = self.path.key("effect");
        if !known.contains(&name.as_str()) {
            let mistake = Mistake::new(path, format!("`{name}` does not befall {kind}"))
                .help(format!("{kind} knows {}", join_and(known.iter().copied())));
            self.mistake(mistake);
            return None;
        }
        let sends = match &place {
            FaultTarget::Action(place) => self.sends(place),
            _ => Sends::ANYTHING,
        };
        match effect_at(place, effect, sends) {
            Ok(fault) => Some(fault),
            Err(message) => {
                let path = match effect {
                    raw::Choice::Word(_) => path,
                    raw::Choice::Map(_) => path.key(&name),
                };
                self.mistake(Mistake::new(path, message));
                None
            }
        }
    }
}
