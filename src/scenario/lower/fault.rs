//! Fault rules: a place, conditions and an effect that fit each other.

use super::super::diagnostics::{Mistake, Mistakes, join_and};
use super::super::path::FieldPath;
use super::super::raw;
use super::Names;
use super::place::RequestKinds;
use crate::fault::{Fault, FaultTarget, Rule, Trigger, result};
use crate::limits;

/// Lowers a rule. Returns `None` after a mistake that leaves no rule.
pub(super) fn rule(
    raw: &raw::Rule,
    default_id: &str,
    path: &FieldPath,
    names: &Names<'_>,
    mistakes: &mut Mistakes,
) -> Option<Rule> {
    let id = raw.id.as_ref().map_or(default_id, raw::NameText::as_str).into();
    let mut validator = RuleValidator { names, path, mistakes };
    let when = validator.trigger(raw.when.as_ref());
    let devices = validator.devices(&raw.at);
    let place = validator.place(&raw.at)?;
    let fault = validator.fault(place, &raw.effect)?;
    validator.check_state(&fault, raw.when.as_ref());
    Some(Rule { id, fault, devices, when })
}

/// The validator of one rule.
pub(super) struct RuleValidator<'a> {
    pub names: &'a Names<'a>,
    /// The path of the rule.
    pub path: &'a FieldPath,
    pub mistakes: &'a mut Mistakes,
}

impl RuleValidator<'_> {
    pub(super) fn mistake(&mut self, mistake: Mistake) {
        self.mistakes.push(mistake);
    }

    /// Returns a mistake at a key of the place.
    pub(super) fn place_mistake(&self, key: &str, message: impl Into<String>) -> Mistake {
        Mistake::new(self.path.key("at").key(key), message)
    }

    fn trigger(&mut self, raw: Option<&raw::When>) -> Trigger {
        let Some(raw) = raw else { return Trigger::default() };
        let default = Trigger::default();
        let trigger = Trigger {
            armed: raw.armed.unwrap_or(default.armed),
            after: raw.after.map_or(default.after, |after| after.0),
            duration: raw.r#for.map(|duration| duration.0),
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

    /// Checks a fault that is a state of something and not an event of a request: it has a time, but
    /// there is no request to count or to draw for.
    fn check_state(&mut self, fault: &Fault, when: Option<&raw::When>) {
        let Some(reason) = fault.state_reason() else { return };
        for key in fault.unusable_keys() {
            let mistake = self
                .place_mistake(key, format!("`refuse` closes the whole listener, before any request, so `{key}` cannot be compared"))
                .help("leave it out; to fail single requests use another effect, as `reset`")
                .on_key();
            self.mistake(mistake);
        }
        self.check_window(when, reason);
        if matches!(fault, Fault::Meter { .. })
            && let Some(every) = when.and_then(|when| when.every)
            && every.0 < limits::METER_FAULT_EVERY
        {
            let message = format!(
                "{every}: expected {} or more for a rule at `meter`",
                raw::DurationText(limits::METER_FAULT_EVERY)
            );
            self.mistake(Mistake::new(self.path.key("when").key("every"), message));
        }
    }

    /// Reports conditions that count or draw: a state has windows alone.
    fn check_window(&mut self, when: Option<&raw::When>, reason: &str) {
        let Some(when) = when else { return };
        let counted = [
            ("first", when.first.is_some()),
            ("nth", when.nth.is_some()),
            ("probability", when.probability.is_some()),
        ];
        for (key, _) in counted.into_iter().filter(|(_, given)| *given) {
            let message = format!("{reason}: there are no requests that `{key}` could count");
            let path = self.path.key("when").key(key);
            self.mistake(
                Mistake::new(path, message).help("use `after`, `for` and `every`").on_key(),
            );
        }
    }

    /// Combines a place and an effect. Reports an effect that is not possible at the place.
    fn fault(&mut self, place: FaultTarget, effect: &raw::Effect) -> Option<Fault> {
        let (noun, keywords, keyword) = (place.noun(), place.keywords(), effect.keyword());
        let path = self.path.key("effect");
        if !keywords.contains(&keyword) {
            let mistake = Mistake::new(path, format!("`{keyword}` is no effect on {noun}"))
                .help(format!("effects on {noun}: {}", join_and(keywords.iter().copied())));
            self.mistake(mistake);
            return None;
        }
        let kinds = match &place {
            FaultTarget::Action(place) => self.request_kinds(place),
            _ => RequestKinds::ANY,
        };
        let fault = place.with(effect).and_then(|fault| {
            if let Fault::Action(_, effect) = &fault
                && let Some(code) = effect.result_code()
            {
                result::check_action(code, kinds.modbus, kinds.http)?;
            }
            Ok(fault)
        });
        match fault {
            Ok(fault) => Some(fault),
            Err(problem) => {
                let path = match effect {
                    raw::Choice::Word(_) => path,
                    raw::Choice::Map(_) => path.key(keyword),
                };
                self.mistake(Mistake::new(path, problem.message));
                None
            }
        }
    }
}
