//! The engine: counts requests at each seam, evaluates the rules and records each firing in the journal.
//!
//! Rules are evaluated in the order of the file. Each rule whose place matches counts the match,
//! whether it fires or not, so that "the third request" does not depend on other rules. Delays of
//! several rules add up. The first effect that decides the outcome wins; a later one that would have
//! fired is counted as overruled.
//!
//! The engine does not know what a seam is about, except which one has episodes ([`Seam::OF_EPISODES`]).
//! A seam gives it the fields of a request ([`IndexKey`]) and a closure that compares a rule's place and
//! takes its effect. The index finds the rules to compare, so that a rule for another slave costs
//! nothing, and a seam without rules does not take the lock.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use super::episode::{Episode, EpisodeLog, Episodes};
use super::index::{IndexKey, KeyField, RuleIndex};
use super::seam::{Fault, Seam};
use super::{Delay, DrawnShare, Trigger, TriggerState, WindowBudget};
use crate::clock::{Clock, Sleep, VirtualTime, WakeHandle};
use crate::journal::{Event, Journal, truncate_text};
use crate::limits;
use crate::modbus::trigger::WindowState;
use crate::notation::Share;
use crate::rng::{Draws, RandomStream};

/// A rule: a place with its effect, whom it affects, when it fires, and the name under which it is counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// The name, unique in the house.
    pub id: Arc<str>,
    /// The place and the effect.
    pub fault: Fault,
    /// The share of the devices that it affects. `None` for all that the place includes.
    pub devices: Option<Share>,
    /// The conditions.
    pub when: Trigger,
}

/// A rule with its counts, as the control plane returns it.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleStatus {
    /// The rule.
    pub rule: Arc<Rule>,
    /// True if the rule is armed.
    pub armed: bool,
    /// The number of requests that matched its place. A rule on a meter counts the readings that the meters
    /// of its place sent while the rule was armed, and a rule on a listener each time that the listener began
    /// to refuse connections.
    pub evaluated: u64,
    /// The number of times it fired.
    pub fired: u64,
    /// The number of times it would have fired if no earlier rule had decided the outcome.
    pub overruled: u64,
    /// The number of requests that it holds now.
    pub holding: usize,
}

/// A reason why a rule cannot be added or found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The name is in use.
    #[error("a rule `{0}` exists already; give this one another id, or remove that one first")]
    Duplicate(Arc<str>),
    /// There is no such rule.
    #[error("no rule `{0}`")]
    Unknown(String),
    /// There are [`limits::FAULT_RULES`] rules already.
    #[error("the house has {} rules, the maximum; remove some first", limits::FAULT_RULES)]
    Full,
    /// The windows of the rules on one meter would begin this many times a day.
    #[error(
        "the windows of the rules over one meter would begin {0} times a day, at most {most} are \
         allowed; let this one recur less often with `every`, or remove some first",
        most = limits::METER_WINDOWS_A_DAY
    )]
    TooManyWindows(u64),
}

/// The decision on a request: how long it is delayed, and the effect that decides its outcome.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict<E> {
    /// The sum of all delays.
    pub delay: Duration,
    /// The decisive effect. `None` if the request goes on as usual.
    pub effect: Option<E>,
}

impl<E> Default for Verdict<E> {
    fn default() -> Self {
        Self { delay: Duration::ZERO, effect: None }
    }
}

/// An effect that may be a delay. All others of the type decide the outcome.
pub(super) trait SeamEffect: Clone {
    /// Returns the delay, or `None` if the effect decides the outcome.
    fn delay(&self) -> Option<Delay>;
}

/// A meter, as the engine counts its readings for the rules on it.
pub trait SentReadings: fmt::Debug + Send + Sync {
    /// Returns the number of readings that the meter has sent up to `at`, whether or not they reached its
    /// device.
    fn sent_until(&self, at: VirtualTime) -> u64;
}

/// The most devices of one house, with a fleet.
const MOST_DEVICES: usize = limits::DEVICES + limits::FLEET_DEVICES as usize;

/// The meters of a house, by the ids of their devices.
type Meters = BTreeMap<String, Arc<dyn SentReadings>>;

/// The engine of a house.
#[derive(Debug)]
pub struct Engine {
    seed: u64,
    clock: Clock,
    journal: Arc<Journal>,
    inner: Mutex<Inner>,
    /// The number of rules by seam, so that a seam without rules does not take the lock.
    rule_counts: [AtomicUsize; Seam::COUNT],
    /// The number of episodes, past and possible, for the same reason.
    episode_count: AtomicUsize,
}

#[derive(Debug, Default)]
pub(super) struct Inner {
    rules: Vec<RuleEntry>,
    /// At most [`MOST_DEVICES`] meters.
    meters: Meters,
    index: RuleIndex,
    /// The rules that a lookup found. Kept, so that a lookup does not allocate.
    found: Vec<u32>,
    generation: u64,
    /// The sleeps that the next change of the rules ends: those of listeners, which wait for the beginning
    /// or the end of a window. A sleep that ends is activity in flight, so that a movement of the clock
    /// waits until the listener has applied the change.
    watchers: Vec<WakeHandle>,
    /// Sends the generation to [`Engine::changes`], for tasks that wait for several sources at once and
    /// need no window.
    generations: watch::Sender<u64>,
    episode_log: EpisodeLog,
}

/// A rule with its counts and everything it holds.
#[derive(Debug)]
pub(super) struct RuleEntry {
    rule: Arc<Rule>,
    share: Option<DrawnShare>,
    stream: RandomStream,
    state: TriggerState,
    /// Without the readings since the rule was armed, if it is a rule on a meter.
    evaluated: u64,
    /// The readings that the meters of its place had sent when the rule was armed (meter rules only).
    sent_when_armed: u64,
    fired: u64,
    overruled: u64,
    holds: Vec<WakeHandle>,
    /// The beginning of the newest window that was counted, for each device (meter rules only). At most
    /// [`MOST_DEVICES`] entries.
    counted_windows: BTreeMap<String, VirtualTime>,
}

impl Engine {
    /// Creates an engine with the rules of a scenario.
    #[must_use]
    pub fn new(seed: u64, clock: Clock, journal: Arc<Journal>, rules: Vec<Rule>) -> Self {
        let engine = Self {
            seed,
            clock,
            journal,
            inner: Mutex::default(),
            rule_counts: Default::default(),
            episode_count: AtomicUsize::new(0),
        };
        engine.replace(rules);
        engine
    }

    /// Replaces all rules and resets all counts. Releases every held request. The rules are those of a
    /// scenario, which checked what [`Engine::add`] checks: unique names, and the limits on the number of
    /// rules and of windows.
    pub fn replace(&self, rules: Vec<Rule>) {
        let mut inner = self.inner();
        let now = self.clock.now();
        for entry in &mut inner.rules {
            entry.release();
        }
        inner.episode_log.clear();
        let entry = |rule| RuleEntry::new(rule, self.seed, now);
        inner.rules = rules.into_iter().map(entry).collect();
        let Inner { rules, meters, .. } = &mut *inner;
        // The rules on all meters have the same number.
        let mut all = None;
        for entry in rules {
            entry.sent_when_armed = entry.sent_until(meters, &mut all, now);
        }
        self.publish(&mut inner);
    }

    /// Adds the meter of a device, whose readings the rules on meters count.
    pub fn add_meter(&self, device: &str, meter: &Arc<dyn SentReadings>) {
        let mut inner = self.inner();
        let Inner { rules, meters, .. } = &mut *inner;
        let replaced = meters.insert(device.to_owned(), Arc::clone(meter));
        for entry in rules {
            if matches!(&entry.rule.fault, Fault::Meter { device: place, .. }
                if place.as_deref().is_none_or(|place| place == device))
                && entry.share.is_none_or(|share| share.includes(device))
            {
                let at = entry.state.armed_at;
                let before = replaced.as_ref().map_or(0, |meter| meter.sent_until(at));
                entry.sent_when_armed =
                    (entry.sent_when_armed + meter.sent_until(at)).saturating_sub(before);
            }
        }
    }

    /// Adds a rule, effective for the next request.
    ///
    /// # Errors
    /// [`EngineError::Duplicate`], [`EngineError::Full`] or [`EngineError::TooManyWindows`].
    pub fn add(&self, rule: Rule) -> Result<(), EngineError> {
        let mut inner = self.inner();
        // Read under the lock: everybody who asked about a meter before saw an earlier time.
        let now = self.clock.now();
        if inner.rules.iter().any(|entry| entry.rule.id == rule.id) {
            return Err(EngineError::Duplicate(rule.id));
        }
        if inner.rules.len() >= limits::FAULT_RULES {
            return Err(EngineError::Full);
        }
        let mut budget = WindowBudget::default();
        for entry in &inner.rules {
            // The rules in force are within the budget: it was checked when they were added.
            let _ = budget.add(&entry.rule);
        }
        budget.add(&rule).map_err(EngineError::TooManyWindows)?;
        let id = Arc::clone(&rule.id);
        let mut entry = RuleEntry::new(rule, self.seed, now);
        entry.sent_when_armed = entry.sent_until(&inner.meters, &mut None, now);
        inner.rules.push(entry);
        self.publish(&mut inner);
        // Recorded when the rule is in force, so that whoever reads the entry meets the rule.
        self.record_change(&id, "added");
        Ok(())
    }

    /// Removes a rule and releases the requests that it holds.
    ///
    /// # Errors
    /// [`EngineError::Unknown`].
    pub fn remove(&self, id: &str) -> Result<(), EngineError> {
        let mut inner = self.inner();
        let now = self.clock.now();
        let position = inner.position(id)?;
        let mut entry = inner.rules.remove(position);
        inner.episode_log.end(entry.episode(now));
        // Recorded before the held requests go on, whose entries follow.
        self.record_change(&entry.rule.id, "removed");
        entry.release();
        self.publish(&mut inner);
        Ok(())
    }

    /// Arms or disarms a rule. Its windows, `first` and `nth` count from now. Disarming releases the
    /// requests that it holds.
    ///
    /// # Errors
    /// [`EngineError::Unknown`].
    pub fn arm(&self, id: &str, armed: bool) -> Result<(), EngineError> {
        let mut inner = self.inner();
        let now = self.clock.now();
        let position = inner.position(id)?;
        let Inner { rules, meters, .. } = &mut *inner;
        let entry = &mut rules[position];
        let ended = entry.episode(now);
        let sent = entry.sent_until(meters, &mut None, now);
        entry.evaluated = entry.evaluated_with(sent);
        entry.sent_when_armed = sent;
        entry.state = TriggerState { armed, armed_at: now, ordinal: 0 };
        self.record_change(&entry.rule.id, if armed { "armed" } else { "disarmed" });
        if !armed {
            entry.release();
        }
        inner.episode_log.end(ended);
        self.publish(&mut inner);
        Ok(())
    }

    /// Releases the requests that a rule holds now, and returns their number. The rule stays.
    ///
    /// # Errors
    /// [`EngineError::Unknown`].
    pub fn release(&self, id: &str) -> Result<usize, EngineError> {
        let mut inner = self.inner();
        let position = inner.position(id)?;
        let entry = &mut inner.rules[position];
        self.record_change(&entry.rule.id, "released");
        Ok(entry.release())
    }

    /// Returns the rules with their counts, in the order in which they are evaluated.
    #[must_use]
    pub fn list(&self) -> Vec<RuleStatus> {
        let mut inner = self.inner();
        let now = self.clock.now();
        let Inner { rules, meters, .. } = &mut *inner;
        // The rules on all meters have the same number.
        let mut all = None;
        let status = |entry: &mut RuleEntry| {
            let sent = entry.sent_until(meters, &mut all, now);
            entry.status(sent)
        };
        rules.iter_mut().map(status).collect()
    }

    /// Returns one rule with its counts.
    ///
    /// # Errors
    /// [`EngineError::Unknown`].
    pub fn get(&self, id: &str) -> Result<RuleStatus, EngineError> {
        let mut inner = self.inner();
        let position = inner.position(id)?;
        let now = self.clock.now();
        let Inner { rules, meters, .. } = &mut *inner;
        let sent = rules[position].sent_until(meters, &mut None, now);
        Ok(rules[position].status(sent))
    }

    /// Returns the number of changes of the rules. A verdict names the generation that it belongs to
    /// ([`ListenerVerdict::generation`](crate::modbus::slave::ListenerVerdict::generation)).
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.inner().generation
    }

    /// Returns the number of changes of the rules as a value that can be awaited.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.inner().generations.subscribe()
    }

    /// Makes a change of the rules effective.
    fn publish(&self, inner: &mut Inner) {
        inner.rebuild();
        for (seam, count) in Seam::ALL.into_iter().zip(&self.rule_counts) {
            count.store(inner.index.count(seam), Ordering::Release);
        }
        let possible = inner.index.count(Seam::OF_EPISODES);
        self.episode_count.store(inner.episode_log.past() + possible, Ordering::Release);
    }

    /// Returns `true` if no rule applies at a seam.
    pub(super) fn is_empty(&self, seam: Seam) -> bool {
        self.rule_counts[seam as usize].load(Ordering::Acquire) == 0
    }

    /// Returns `true` if no episode exists or can begin.
    pub(super) fn has_no_episodes(&self) -> bool {
        self.episode_count.load(Ordering::Acquire) == 0
    }

    /// Evaluates the rules on a request whose effects are delays or decide the outcome.
    /// `matching_effect` returns the effect of a rule whose place matches. The other parameters are those
    /// of [`Engine::evaluate`].
    pub(super) fn verdict<E: SeamEffect>(
        &self,
        seam: Seam,
        add_fields: impl FnOnce(IndexKey) -> IndexKey,
        label: impl Fn() -> String,
        matching_effect: impl Fn(&Fault) -> Option<&E>,
    ) -> Verdict<E> {
        let mut verdict = Verdict::default();
        self.evaluate(seam, add_fields, label, |fault, evaluation| {
            let Some(effect) = matching_effect(fault) else { return };
            if let Some(delay) = effect.delay() {
                verdict.delay += evaluation.delay(delay);
            } else if evaluation.count_and_decide(verdict.effect.is_none()) {
                verdict.effect = Some(effect.clone());
            }
        });
        verdict
    }

    /// Evaluates the rules on a request, in order. `add_fields` adds the fields of the request to a key,
    /// and `label` returns the name of the request in the journal. `decide` compares the place of a rule,
    /// and calls [`RuleEvaluation::count_and_decide`] or [`RuleEvaluation::delay`] once if it matches.
    /// `decide` runs under the lock and must not call the engine.
    pub(super) fn evaluate(
        &self,
        seam: Seam,
        add_fields: impl FnOnce(IndexKey) -> IndexKey,
        label: impl Fn() -> String,
        mut decide: impl FnMut(&Fault, &mut RuleEvaluation<'_>),
    ) {
        if self.is_empty(seam) {
            return;
        }
        let request = add_fields(IndexKey::new(seam));
        let mut inner = self.inner();
        let mut now = None;
        inner.visit(&request, |entry| {
            let mut evaluation = RuleEvaluation {
                // Read under the lock, and the same for all rules on the request.
                now: *now.get_or_insert_with(|| self.clock.now()),
                engine: self,
                id: &entry.rule.id,
                when: &entry.rule.when,
                stream: entry.stream,
                state: &mut entry.state,
                evaluated: &mut entry.evaluated,
                overruled: &mut entry.overruled,
                holds: &mut entry.holds,
                draws: None,
                fired: false,
            };
            decide(&entry.rule.fault, &mut evaluation);
            if evaluation.fired {
                entry.record_fired(&self.journal, seam, truncate_text(label()));
            }
        });
    }

    pub(super) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(super) fn journal(&self) -> &Journal {
        &self.journal
    }

    fn record_change(&self, rule: &Arc<str>, change: &'static str) {
        self.journal.record(Event::RuleChanged { rule: Arc::clone(rule), change });
    }
}

/// The evaluation of one rule on one request.
pub(super) struct RuleEvaluation<'a> {
    pub id: &'a Arc<str>,
    engine: &'a Engine,
    when: &'a Trigger,
    stream: RandomStream,
    state: &'a mut TriggerState,
    evaluated: &'a mut u64,
    overruled: &'a mut u64,
    holds: &'a mut Vec<WakeHandle>,
    /// The draws of this match, once it is counted.
    draws: Option<Draws>,
    now: VirtualTime,
    fired: bool,
}

impl RuleEvaluation<'_> {
    /// Counts the match, and returns `true` if the rule fires. Each call counts one match, so a match is
    /// decided by exactly one call. `undecided` is `true` if the effect of the rule can still decide the
    /// outcome; otherwise, a rule that would have fired is counted as overruled.
    pub(super) fn count_and_decide(&mut self, undecided: bool) -> bool {
        let draws = Draws::new(self.engine.seed, self.stream, *self.evaluated);
        let draws = self.draws.insert(draws);
        *self.evaluated += 1;
        let fires = self.state.count_and_decide(self.when, self.now, draws);
        self.fired = fires && undecided;
        *self.overruled += u64::from(fires && !undecided);
        self.fired
    }

    /// Counts the match as [`RuleEvaluation::count_and_decide`] does, and returns the delay, which is zero
    /// if the rule does not fire.
    pub(super) fn delay(&mut self, delay: Delay) -> Duration {
        if !self.count_and_decide(true) {
            return Duration::ZERO;
        }
        self.draws.as_mut().map_or(Duration::ZERO, |draws| delay.draw(draws))
    }

    /// Holds the request for this time, or until the rule is released if it is `None`.
    pub(super) fn hold(&mut self, duration: Option<Duration>) -> Sleep {
        let until = duration.map_or(VirtualTime::MAX, |duration| self.now.after(duration));
        let sleep = self.engine.clock.sleep_until(until);
        self.holds.retain(|handle| !handle.is_finished());
        self.holds.push(sleep.wake_handle());
        sleep
    }
}

impl Inner {
    fn position(&self, id: &str) -> Result<usize, EngineError> {
        let found = self.rules.iter().position(|entry| &*entry.rule.id == id);
        found.ok_or_else(|| EngineError::Unknown(id.to_owned()))
    }

    /// Renews everything that follows from the rules, and wakes the watchers.
    fn rebuild(&mut self) {
        self.index = RuleIndex::new(self.rules.iter().map(|entry| entry.rule.fault.keys()));
        let open_episode = |entry: &RuleEntry| entry.episode(VirtualTime::MAX);
        self.episode_log.renew(self.rules.iter().filter_map(open_episode));
        self.generation += 1;
        for watcher in self.watchers.drain(..) {
            watcher.wake();
        }
        self.generations.send_replace(self.generation);
    }

    /// Visits the rules that a request may match, in order.
    pub(super) fn visit(&mut self, request: &IndexKey, mut visit: impl FnMut(&mut RuleEntry)) {
        let Self { rules, index, found, .. } = self;
        index.lookup(request, found);
        let device = request.hash_of(KeyField::Device);
        for position in &*found {
            // The index was built from these rules.
            if let Some(entry) = rules.get_mut(*position as usize)
                && entry.affects_device(device)
            {
                visit(entry);
            }
        }
    }

    /// Registers a sleep that the next change of the rules ends, and returns the generation.
    pub(super) fn watch(&mut self, sleep: &Sleep) -> u64 {
        self.watchers.retain(|handle| !handle.is_finished());
        self.watchers.push(sleep.wake_handle());
        self.generation
    }

    /// Returns the episodes, past and present.
    pub(super) fn episodes(&self) -> Arc<Episodes> {
        self.episode_log.all()
    }
}

impl RuleEntry {
    fn new(rule: Rule, seed: u64, now: VirtualTime) -> Self {
        Self {
            share: DrawnShare::of(&rule, seed),
            stream: RandomStream::named(&rule.id),
            state: TriggerState::begin(&rule.when, now),
            rule: Arc::new(rule),
            evaluated: 0,
            sent_when_armed: 0,
            fired: 0,
            overruled: 0,
            holds: Vec::new(),
            counted_windows: BTreeMap::new(),
        }
    }

    /// Returns true if the device of a request, by its hash, belongs to the share that the rule affects.
    fn affects_device(&self, device: Option<u64>) -> bool {
        let Some(share) = self.share else { return true };
        device.is_some_and(|device| share.includes_hash(device))
    }

    /// Returns the episode of a rule on meters until `until`. `None` if the rule is disarmed, or is on something
    /// else.
    fn episode(&self, until: VirtualTime) -> Option<Episode> {
        self.rule.episode(&self.state, self.share, until)
    }

    pub(super) fn fault(&self) -> &Fault {
        &self.rule.fault
    }

    /// Returns the state of the rule's window at `now`. `None` if the rule is disarmed.
    pub(super) fn window(&self, now: VirtualTime) -> Option<WindowState> {
        let TriggerState { armed, armed_at, .. } = self.state;
        armed.then(|| self.rule.when.window(armed_at, now))
    }

    /// Counts an evaluation of a rule on a state.
    pub(super) fn count_evaluation(&mut self) {
        self.evaluated += 1;
    }

    /// Returns `true` if `device` is in a window that was not counted for it, and counts the window. A
    /// window that began before the newest counted one of the device is ignored, so that a caller that
    /// is late counts none twice.
    pub(super) fn count_window(&mut self, device: &str, since: VirtualTime) -> bool {
        if let Some(newest) = self.counted_windows.get_mut(device) {
            let is_new = *newest < since;
            *newest = since.max(*newest);
            return is_new;
        }
        // A house has at most this many devices, so each of them has an entry.
        let has_room = self.counted_windows.len() < MOST_DEVICES;
        if has_room {
            self.counted_windows.insert(device.to_owned(), since);
        }
        has_room
    }

    /// Counts that the rule fired, and records it. `label` is the name of the request or of the device.
    pub(super) fn record_fired(&mut self, journal: &Journal, seam: Seam, label: String) {
        self.fired += 1;
        let rule = Arc::clone(&self.rule.id);
        journal.record(Event::FaultFired { rule, seam: seam.as_str(), at: label });
    }

    fn release(&mut self) -> usize {
        let held = self.holds.iter().filter(|handle| !handle.is_finished()).count();
        for handle in self.holds.drain(..) {
            handle.wake();
        }
        held
    }

    /// Returns the readings that the meters of the place have sent up to `now`; 0 for a rule on something
    /// else. `all` is that of all meters, once it is known.
    fn sent_until(&self, meters: &Meters, all: &mut Option<u64>, now: VirtualTime) -> u64 {
        let sent = |meter: &Arc<dyn SentReadings>| meter.sent_until(now);
        match (&self.rule.fault, self.share) {
            (Fault::Meter { device: Some(device), .. }, None) => meters.get(device).map_or(0, sent),
            (Fault::Meter { .. }, None) => {
                *all.get_or_insert_with(|| meters.values().map(sent).sum())
            }
            (Fault::Meter { .. }, Some(share)) => {
                let drawn = meters.iter().filter(|(device, _)| share.includes(device));
                drawn.map(|(_, meter)| sent(meter)).sum()
            }
            _ => 0,
        }
    }

    /// Returns the number of evaluations, if the meters of the place have sent this many readings.
    fn evaluated_with(&self, sent: u64) -> u64 {
        let since_armed =
            if self.state.armed { sent.saturating_sub(self.sent_when_armed) } else { 0 };
        self.evaluated + since_armed
    }

    fn status(&mut self, sent: u64) -> RuleStatus {
        self.holds.retain(|handle| !handle.is_finished());
        RuleStatus {
            rule: Arc::clone(&self.rule),
            armed: self.state.armed,
            evaluated: self.evaluated_with(sent),
            fired: self.fired,
            overruled: self.overruled,
            holding: self.holds.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::clock::Speed;
    use crate::fault::{
        ActionEffect, ActionOriginRef, ActionPlace, AdmissionVerdict, ApiCall, ApiEffect, ApiPlace,
        FaultListener, MeterEffect, QueueEffect, Silence, SlaveEffect, SlavePlace,
    };

    const CALL: ActionOriginRef<'_> = ActionOriginRef { device: "A842E39F8124", action: "pump" };
    const API: ApiCall<'_> =
        ApiCall { device: "A842E39F8124", method: "GET", path: "/x", has_nonce: false };

    fn rule(id: &str, fault: Fault, when: Trigger) -> Rule {
        Rule { id: id.into(), fault, devices: None, when }
    }

    fn engine(rules: Vec<Rule>) -> Engine {
        let clock = Clock::new(Timestamp::UNIX_EPOCH, Speed::Manual);
        Engine::new(1, clock.clone(), Arc::new(Journal::new(clock)), rules)
    }

    fn api(effect: ApiEffect) -> Fault {
        Fault::Api(ApiPlace::default(), effect)
    }

    fn counts(engine: &Engine, id: &str) -> (u64, u64, u64) {
        let status = engine.get(id).unwrap();
        (status.evaluated, status.fired, status.overruled)
    }

    #[test]
    fn delays_add_up_and_the_first_decisive_effect_wins() {
        let second = ApiEffect::Delay(Delay::Fixed(Duration::from_secs(1)));
        let engine = engine(vec![
            rule("slow", api(second.clone()), Trigger::default()),
            rule("broken", api(ApiEffect::Hang), Trigger::default()),
            rule("slower", api(second), Trigger::default()),
            rule("late", api(ApiEffect::Reset), Trigger::default()),
        ]);
        let verdict = engine.api(&API);
        assert_eq!(
            verdict,
            Verdict { delay: Duration::from_secs(2), effect: Some(ApiEffect::Hang) }
        );
        assert_eq!(counts(&engine, "broken"), (1, 1, 0));
        assert_eq!(counts(&engine, "late"), (1, 0, 1));
    }

    #[test]
    fn a_rule_counts_only_requests_to_its_place() {
        let place = ApiPlace { route: Some("/y".into()), ..ApiPlace::default() };
        let engine =
            engine(vec![rule("r", Fault::Api(place, ApiEffect::Hang), Trigger::default())]);
        assert_eq!(engine.api(&API), Verdict::default());
        assert_eq!(counts(&engine, "r"), (0, 0, 0));
        assert_eq!(engine.api(&ApiCall { path: "/y", ..API }).effect, Some(ApiEffect::Hang));
        assert_eq!(counts(&engine, "r"), (1, 1, 0));
    }

    #[test]
    fn arming_resets_the_count() {
        let when = Trigger { first: Some(1), armed: false, ..Trigger::default() };
        let engine = engine(vec![rule("once", api(ApiEffect::Hang), when)]);
        assert_eq!(engine.api(&API).effect, None);
        engine.arm("once", true).unwrap();
        assert_eq!(engine.api(&API).effect, Some(ApiEffect::Hang));
        assert_eq!(engine.api(&API).effect, None);
        assert_eq!(counts(&engine, "once"), (3, 1, 0));
    }

    #[test]
    fn queue_rules_reduce_the_free_slots() {
        let queue = |effect| Fault::Queue { device: None, effect };
        let engine = engine(vec![
            rule("a", queue(QueueEffect::Occupy(3)), Trigger::default()),
            rule("b", queue(QueueEffect::Occupy(4)), Trigger::default()),
            rule("c", queue(QueueEffect::Limit(9)), Trigger::default()),
        ]);
        assert_eq!(
            engine.admission(&CALL),
            AdmissionVerdict { disabled: false, occupied: 7, limit: 9 }
        );
    }

    #[tokio::test]
    async fn a_hold_lasts_until_it_is_released() {
        let hold = Fault::Action(ActionPlace::default(), ActionEffect::Hold { duration: None });
        let engine = engine(vec![rule("hold", hold, Trigger::default())]);
        let hold = engine.hold(&CALL).unwrap();
        assert_eq!(engine.get("hold").unwrap().holding, 1);
        assert_eq!(engine.release("hold"), Ok(1));
        hold.sleep.await;
        assert_eq!(engine.get("hold").unwrap().holding, 0);
    }

    #[tokio::test]
    async fn a_change_of_the_rules_ends_the_sleep_of_a_listener_verdict() {
        let engine = engine(vec![]);
        let before = engine.listener(FaultListener::Slave("pump"), false);
        assert!(!before.refuse);
        let refuse = Fault::Slave(SlavePlace::default(), SlaveEffect::Refuse);
        engine.add(rule("off", refuse, Trigger::default())).unwrap();
        before.until.await;
        let after = engine.listener(FaultListener::Slave("pump"), false);
        assert!(after.refuse);
        assert_eq!(after.generation, engine.generation());
        assert_eq!(counts(&engine, "off"), (1, 1, 0));
    }

    #[test]
    fn rules_are_unique_and_bounded() {
        let engine = engine(vec![rule("r0", api(ApiEffect::Hang), Trigger::default())]);
        let again = rule("r0", api(ApiEffect::Hang), Trigger::default());
        assert_eq!(engine.add(again), Err(EngineError::Duplicate("r0".into())));
        for n in 1..limits::FAULT_RULES {
            engine.add(rule(&format!("r{n}"), api(ApiEffect::Hang), Trigger::default())).unwrap();
        }
        assert_eq!(
            engine.add(rule("x", api(ApiEffect::Hang), Trigger::default())),
            Err(EngineError::Full)
        );
        assert_eq!(engine.remove("nobody"), Err(EngineError::Unknown("nobody".into())));
    }

    #[test]
    fn a_meter_window_counts_once_for_each_device() {
        let effect = MeterEffect::Silent(Silence::NoData);
        let when = Trigger {
            duration: Some(Duration::from_secs(10)),
            every: Some(Duration::from_mins(1)),
            ..Trigger::default()
        };
        let engine = engine(vec![rule("any", Fault::Meter { device: None, effect }, when)]);
        let fired_after = |device: &str, seconds: u64| {
            let now = VirtualTime::ZERO.after(Duration::from_secs(seconds));
            let _ = engine.meter(device, now);
            engine.get("any").unwrap().fired
        };
        assert_eq!(fired_after("A", 2), 1);
        assert_eq!(fired_after("B", 3), 2, "the window of another device");
        assert_eq!(fired_after("A", 65), 3, "the next window");
        assert_eq!(fired_after("B", 4), 3, "a window that was counted");
        assert_eq!(fired_after("A", 5), 3, "a window before the newest counted one");
        assert_eq!(fired_after("A", 66), 3, "again the newest window");
        assert_eq!(fired_after("B", 66), 4);
    }

    #[test]
    fn the_windows_on_one_meter_are_bounded() {
        let minutely = |id: &str, device: Option<&str>| {
            let effect = MeterEffect::Silent(Silence::NoData);
            let when = Trigger {
                duration: Some(Duration::from_secs(10)),
                every: Some(Duration::from_mins(1)),
                ..Trigger::default()
            };
            rule(id, Fault::Meter { device: device.map(str::to_owned), effect }, when)
        };
        let any = (0..20).map(|n| minutely(&n.to_string(), None));
        let engine = engine(any.collect());
        for n in 0..21 {
            for device in ["A", "B"] {
                engine.add(minutely(&format!("{device}{n}"), Some(device))).unwrap();
            }
        }
        let refused = Err(EngineError::TooManyWindows(42 * 1440));
        assert_eq!(engine.add(minutely("x", Some("A"))), refused);
        assert_eq!(engine.add(minutely("x", None)), refused);
        engine.add(minutely("x", Some("C"))).unwrap();
        engine.add(rule("y", api(ApiEffect::Hang), Trigger::default())).unwrap();
        engine.remove("A3").unwrap();
        engine.add(minutely("z", Some("A"))).unwrap();
    }
}
