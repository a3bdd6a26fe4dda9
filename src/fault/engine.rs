//! The engine: asked at every seam, it counts, decides and explains.
//!
//! Rules are asked in the order of the file. Every rule whose place matches counts the match, whether
//! it strikes or not, so that "the third request" does not depend on other rules. Delays of several
//! rules add up; the first effect that decides the outcome wins, and a later one that would have
//! struck is counted as overruled.

use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use super::{
    ActionEffect, ActionPlace, ApiEffect, ConnectFault, Delay, Episode, Episodes, Fault,
    LiveEffect, Method, ModbusPlace, MqttEffect, QueueEffect, SlaveEffect, SlavePlace,
    TargetEffect, TargetPlace, Trigger, TriggerState,
};
use crate::clock::{Clock, Sleep, VirtualTime, WakeHandle};
use crate::journal::{Event, Journal, truncate_text};
use crate::limits;
use crate::modbus::wire::FunctionCode;
use crate::net::inflight::ActionOrigin;
use crate::rng::{Draws, RandomStream};

/// A rule: what, when, and the name under which it is counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Its name, unique in the house.
    pub id: Arc<str>,
    /// What befalls which place.
    pub fault: Fault,
    /// When.
    pub when: Trigger,
}

/// How often the windows of rules over meters begin, per device.
#[derive(Debug, Clone, Default)]
pub struct WindowBudget {
    /// Times a day by rules for any device, and by those for one.
    any: u64,
    named: BTreeMap<String, u64>,
}

impl WindowBudget {
    /// Counts a rule in, armed or not.
    ///
    /// # Errors
    /// How often a day it is for the busiest meter that it befalls, where that is more than
    /// [`limits::METER_WINDOWS_A_DAY`].
    pub fn add(&mut self, rule: &Rule) -> Result<(), u64> {
        let (Fault::Meter { device, .. }, Some(every)) = (&rule.fault, rule.when.every) else {
            return Ok(());
        };
        let windows = DAY.as_nanos().div_ceil(every.as_nanos().max(1));
        let windows = u64::try_from(windows).unwrap_or(u64::MAX);
        let own = match device {
            None => {
                self.any = self.any.saturating_add(windows);
                self.named.values().max().copied().unwrap_or(0)
            }
            Some(device) => {
                let own = self.named.entry(device.clone()).or_default();
                *own = own.saturating_add(windows);
                *own
            }
        };
        let all = self.any.saturating_add(own);
        if all > limits::METER_WINDOWS_A_DAY { Err(all) } else { Ok(()) }
    }
}

const DAY: Duration = Duration::from_hours(24);

/// A rule's counts, as the control plane shows them.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleStatus {
    /// The rule.
    pub rule: Rule,
    /// Whether it is armed.
    pub armed: bool,
    /// How often a request came to its place.
    pub evaluated: u64,
    /// How often it struck.
    pub fired: u64,
    /// How often it would have struck, had no rule before it decided the outcome.
    pub overruled: u64,
    /// Requests it holds right now.
    pub holding: usize,
}

/// Why a rule could not be added or found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The name is taken.
    #[error("a rule `{0}` exists already; give this one another id, or remove that one first")]
    Duplicate(Arc<str>),
    /// There is no such rule.
    #[error("no rule `{0}`")]
    Unknown(String),
    /// There are too many.
    #[error("the house has {} rules, the most it takes; remove some first", limits::FAULT_RULES)]
    Full,
    /// Rules over a meter would come round too often.
    #[error(
        "the windows of the rules over one meter would begin {0} times a day, at most {most} are \
         taken; let this one come round less often with `every`, or remove some first",
        most = limits::METER_WINDOWS_A_DAY
    )]
    Often(u64),
}

/// What the rules made of a request: how long it is held up, and what then becomes of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict<E> {
    /// All delays, added up.
    pub delay: Duration,
    /// What decides the outcome; none where all is well.
    pub effect: Option<E>,
}

impl<E> Default for Verdict<E> {
    fn default() -> Self {
        Self { delay: Duration::ZERO, effect: None }
    }
}

/// A call of a device's API.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the fields are what a rule can name")]
pub struct ApiCall<'a> {
    pub device: &'a str,
    pub method: &'a str,
    pub path: &'a str,
}

/// A call or a request of an action.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the fields are what a rule can name")]
pub struct ActionCall<'a> {
    pub device: &'a str,
    pub action: &'a str,
}

/// What the rules say of a call before it is admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdmissionVerdict {
    /// The action is to be refused as disabled.
    pub disabled: bool,
    /// Places taken by someone else.
    pub occupied: usize,
    /// Places in all.
    pub limit: usize,
}

/// A request that is about to connect. `peer` is the slave or target of the house that the address
/// belongs to.
#[derive(Debug, Clone, Copy)]
pub struct Connect<'a> {
    /// The action.
    pub call: ActionCall<'a>,
    /// Where the request goes.
    pub peer: PeerRef<'a>,
}

/// Where a request of an action goes, and what of it a rule can name.
#[derive(Debug, Clone, Copy)]
pub enum PeerRef<'a> {
    /// A slave of the house.
    Slave(SlaveRequest<'a>),
    /// A target of the house.
    Target(TargetRequest<'a>),
    /// Someone outside, asked over Modbus.
    OutsideSlave,
    /// Someone outside, asked over HTTP.
    OutsideTarget,
}

/// A request to a slave.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the fields are what a rule can name")]
pub struct SlaveRequest<'a> {
    pub slave: &'a str,
    pub unit: u8,
    pub function: FunctionCode,
    pub address: u16,
    /// Registers or coils from `address` on that the request touches.
    pub quantity: u16,
    /// The values it writes: registers, or coils as 0 and 1.
    pub values: &'a [u16],
    /// The action that sent it, where one of the house's devices did.
    pub from: Option<ActionCall<'a>>,
}

/// A request to a device's own Modbus server.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the fields are what a rule can name")]
pub struct DeviceModbusRequest<'a> {
    pub device: &'a str,
    pub unit: u8,
    pub function: FunctionCode,
    pub address: u16,
    /// Registers from `address` on that the request touches.
    pub quantity: u16,
}

/// Whose listener a rule may close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultListener<'a> {
    /// That of a slave, by name.
    Slave(&'a str),
    /// That of a device's own Modbus server, by the device's id.
    Modbus(&'a str),
    /// That of the broker of a device, by the device's id.
    Broker(&'a str),
}

/// A request to a target.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the fields are what a rule can name")]
pub struct TargetRequest<'a> {
    pub target: &'a str,
    pub method: &'a str,
    pub path: &'a str,
    /// The action that sent it, where one of the house's devices did.
    pub from: Option<ActionCall<'a>>,
}

/// A message that a device's MQTT client is about to publish.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the fields are what a rule can name")]
pub struct MqttMessage<'a> {
    pub device: &'a str,
    pub topic: &'a str,
}

/// A request that is held. Await [`Hold::sleep`]; it ends by time or by release.
#[derive(Debug)]
pub struct Hold {
    /// The rule that holds it.
    pub rule: Arc<str>,
    /// Ends with the hold.
    pub sleep: Sleep,
}

/// What the rules made of an event of the live stream.
#[derive(Debug, Default)]
pub struct LiveVerdict {
    /// All delays, added up.
    pub delay: Duration,
    /// Ends when the event may go; none where it is not held back.
    pub stall: Option<Sleep>,
    /// What then becomes of it; none where all is well. Neither a delay nor a stall.
    pub effect: Option<LiveEffect>,
}

/// Whether a Modbus server, or a device's broker, refuses connections now.
#[derive(Debug)]
pub struct Refusing {
    /// Whether it does.
    pub refuse: bool,
    /// The rules this is true for; see [`Engine::generation`].
    pub generation: u64,
    /// Ends when the answer may have changed.
    pub until: Sleep,
}

/// The engine of a house.
#[derive(Debug)]
pub struct Engine {
    seed: u64,
    clock: Clock,
    journal: Arc<Journal>,
    inner: Mutex<Inner>,
    /// Rules in all: the healthy house asks nothing but this.
    rules: AtomicUsize,
    /// What ever befell a meter: a house with healthy meters asks nothing but this.
    episodes: AtomicUsize,
}

#[derive(Debug, Default)]
struct Inner {
    rules: Vec<RuleEntry>,
    generation: u64,
    /// Sleepers of [`Engine::refusing`], woken by each change of the rules.
    watchers: Vec<WakeHandle>,
    /// Tells the generation to [`Engine::changes`].
    told: watch::Sender<u64>,
    /// Episodes of meter rules that were disarmed or removed.
    past: VecDeque<Episode>,
    /// Those, and the ones of the rules that are armed.
    episodes: Arc<Episodes>,
}

#[derive(Debug)]
struct RuleEntry {
    rule: Rule,
    stream: RandomStream,
    state: TriggerState,
    evaluated: u64,
    fired: u64,
    overruled: u64,
    holds: Vec<WakeHandle>,
    /// The beginning of the window of a meter rule that was told last.
    window: Option<VirtualTime>,
}

impl Engine {
    /// An engine with the rules of a scenario.
    #[must_use]
    pub fn new(seed: u64, clock: Clock, journal: Arc<Journal>, rules: Vec<Rule>) -> Self {
        let engine = Self {
            seed,
            clock,
            journal,
            inner: Mutex::default(),
            rules: AtomicUsize::new(0),
            episodes: AtomicUsize::new(0),
        };
        engine.replace(rules);
        engine
    }

    /// Replaces all rules and counts; what was held is released.
    pub fn replace(&self, rules: Vec<Rule>) {
        let mut inner = self.inner();
        let now = self.clock.now();
        for entry in &mut inner.rules {
            entry.release();
        }
        inner.past.clear();
        inner.rules = rules.into_iter().map(|rule| RuleEntry::new(rule, now)).collect();
        self.changed(&mut inner);
    }

    /// Adds a rule, effective for the next request.
    ///
    /// # Errors
    /// [`EngineError::Duplicate`], [`EngineError::Full`] or [`EngineError::Often`].
    pub fn add(&self, rule: Rule) -> Result<(), EngineError> {
        let mut inner = self.inner();
        // Read under the lock: whoever asked about a meter before knew an earlier time.
        let now = self.clock.now();
        if inner.rules.iter().any(|entry| entry.rule.id == rule.id) {
            return Err(EngineError::Duplicate(rule.id));
        }
        if inner.rules.len() >= limits::FAULT_RULES {
            return Err(EngineError::Full);
        }
        let mut rhythms = WindowBudget::default();
        for entry in &inner.rules {
            let _ = rhythms.add(&entry.rule);
        }
        rhythms.add(&rule).map_err(EngineError::Often)?;
        self.explain(&rule.id, "added");
        inner.rules.push(RuleEntry::new(rule, now));
        self.changed(&mut inner);
        Ok(())
    }

    /// Removes a rule and releases what it holds.
    ///
    /// # Errors
    /// [`EngineError::Unknown`].
    pub fn remove(&self, id: &str) -> Result<(), EngineError> {
        let mut inner = self.inner();
        let now = self.clock.now();
        let index = inner.index(id)?;
        let mut entry = inner.rules.remove(index);
        entry.release();
        inner.remember(entry.episode(now));
        self.explain(&entry.rule.id, "removed");
        self.changed(&mut inner);
        Ok(())
    }

    /// Arms a rule: its windows, `first` and `nth` count from now. Disarming releases what it holds.
    ///
    /// # Errors
    /// [`EngineError::Unknown`].
    pub fn arm(&self, id: &str, armed: bool) -> Result<(), EngineError> {
        let mut inner = self.inner();
        let now = self.clock.now();
        let index = inner.index(id)?;
        let ended = inner.rules[index].episode(now);
        inner.remember(ended);
        let entry = &mut inner.rules[index];
        entry.state = TriggerState { armed, armed_at: now, ordinal: 0 };
        if !armed {
            entry.release();
        }
        self.explain(&entry.rule.id, if armed { "armed" } else { "disarmed" });
        self.changed(&mut inner);
        Ok(())
    }

    /// Releases what a rule holds right now; the rule stays.
    ///
    /// # Errors
    /// [`EngineError::Unknown`].
    pub fn release(&self, id: &str) -> Result<usize, EngineError> {
        let mut inner = self.inner();
        let index = inner.index(id)?;
        let entry = &mut inner.rules[index];
        let held = entry.release();
        self.explain(&entry.rule.id, "released");
        Ok(held)
    }

    /// The rules with their counts, in the order in which they are asked.
    #[must_use]
    pub fn list(&self) -> Vec<RuleStatus> {
        self.inner().rules.iter_mut().map(RuleEntry::status).collect()
    }

    /// One rule with its counts.
    ///
    /// # Errors
    /// [`EngineError::Unknown`].
    pub fn get(&self, id: &str) -> Result<RuleStatus, EngineError> {
        let mut inner = self.inner();
        let index = inner.index(id)?;
        Ok(inner.rules[index].status())
    }

    /// Counts the changes of the rules; [`Refusing::generation`] says which one an answer belongs to.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.inner().generation
    }

    /// Counts the changes of the rules, as a value that can be waited on.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.inner().told.subscribe()
    }

    fn changed(&self, inner: &mut Inner) {
        inner.changed();
        self.rules.store(inner.rules.len(), Ordering::Release);
        self.episodes.store(inner.past.len() + inner.meter_rules(), Ordering::Release);
    }

    /// What befell and befalls the meter of a device, which looks at it at `now`. This is a state,
    /// not a request: it follows the windows alone, and [`RuleStatus::fired`] counts the windows in
    /// which somebody looked.
    #[must_use]
    pub fn meter(&self, device: &str, now: VirtualTime) -> Arc<Episodes> {
        if self.episodes.load(Ordering::Acquire) == 0 {
            return Episodes::none();
        }
        let mut inner = self.inner();
        for entry in &mut inner.rules {
            let Fault::Meter { device: place, .. } = &entry.rule.fault else { continue };
            if !is(place, device) || !entry.state.armed {
                continue;
            }
            entry.evaluated += 1;
            let since = entry.rule.when.window_since(entry.state.armed_at, now).0;
            if since.is_some() && since != entry.window {
                entry.window = since;
                entry.fired += 1;
                let (rule, at) = (Arc::clone(&entry.rule.id), device.to_owned());
                self.journal.record(Event::FaultFired { rule, seam: "meter", at });
            }
        }
        Arc::clone(&inner.episodes)
    }

    /// What befell and befalls the meters of the house, for who only prepares a look.
    #[must_use]
    pub fn episodes(&self) -> Arc<Episodes> {
        if self.episodes.load(Ordering::Acquire) == 0 {
            return Episodes::none();
        }
        Arc::clone(&self.inner().episodes)
    }

    /// A call of the API, before anything else looks at it.
    #[must_use]
    pub fn api(&self, call: &ApiCall<'_>) -> Verdict<ApiEffect> {
        self.verdict(
            "api",
            |fault| match fault {
                Fault::Api(place, effect)
                    if is(&place.device, call.device)
                        && is(&place.route, call.path)
                        && is_meant(place.method, call.method) =>
                {
                    Some(effect)
                }
                _ => None,
            },
            |effect| match effect {
                ApiEffect::Delay(delay) => Some(*delay),
                _ => None,
            },
            &|| format!("{} {}", call.method, call.path),
        )
    }

    /// A call of an action, before it is admitted.
    #[must_use]
    pub fn admission(&self, call: &ActionCall<'_>) -> AdmissionVerdict {
        let mut verdict =
            AdmissionVerdict { disabled: false, occupied: 0, limit: limits::REQUESTS_IN_PROGRESS };
        self.ask("admission", &|| call.to_string(), |fault, strike| match fault {
            Fault::Action(place, ActionEffect::Disable) if place.matches(call) => {
                verdict.disabled |= strike.fires(true);
            }
            Fault::Queue { device, effect } if is(device, call.device) && strike.fires(true) => {
                match *effect {
                    QueueEffect::Occupy(places) => {
                        verdict.occupied = verdict.occupied.saturating_add(places);
                    }
                    QueueEffect::Limit(places) => verdict.limit = verdict.limit.min(places),
                }
            }
            _ => {}
        });
        verdict
    }

    /// A request of an action that is about to start: it may be held.
    #[must_use]
    pub fn hold(&self, call: &ActionCall<'_>) -> Option<Hold> {
        let mut hold = None;
        self.ask("run", &|| call.to_string(), |fault, strike| {
            if let Fault::Action(place, ActionEffect::Hold { lasts }) = fault
                && place.matches(call)
                && strike.fires(hold.is_none())
            {
                let sleep = strike.hold(&self.clock, *lasts);
                hold = Some(Hold { rule: strike.id.clone(), sleep });
            }
        });
        hold
    }

    /// An event of a device's live stream, as its reading comes.
    #[must_use]
    pub fn live(&self, device: &str) -> LiveVerdict {
        let mut verdict = LiveVerdict::default();
        self.ask("live", &|| device.to_owned(), |fault, strike| {
            let Fault::Live { device: place, effect } = fault else { return };
            if !is(place, device) {
                return;
            }
            match effect {
                LiveEffect::Delay(delay) => {
                    if strike.fires(true) {
                        verdict.delay += delay.draw(&mut strike.draws);
                    }
                }
                LiveEffect::Stall { lasts } => {
                    if strike.fires(verdict.stall.is_none()) {
                        verdict.stall = Some(strike.hold(&self.clock, *lasts));
                    }
                }
                LiveEffect::Cut { .. } | LiveEffect::Duplicate | LiveEffect::Takeover => {
                    if strike.fires(verdict.effect.is_none()) {
                        verdict.effect = Some(*effect);
                    }
                }
            }
        });
        verdict
    }

    /// A request of an action that is about to connect.
    #[must_use]
    pub fn connect(&self, connect: &Connect<'_>) -> Option<ConnectFault> {
        let mut found = None;
        let call = &connect.call;
        self.ask("connect", &|| call.to_string(), |fault, strike| {
            let fault = match (fault, connect.peer) {
                (Fault::Action(place, ActionEffect::Connect(fault)), _) if place.matches(call) => {
                    *fault
                }
                (
                    Fault::Action(place, ActionEffect::Reply { code, slave: Some(_), .. }),
                    PeerRef::OutsideSlave,
                )
                | (
                    Fault::Action(place, ActionEffect::Reply { code, target: Some(_), .. }),
                    PeerRef::OutsideTarget,
                ) if place.matches(call) => ConnectFault::Unsent(*code),
                (Fault::Slave(place, SlaveEffect::Connect(fault)), PeerRef::Slave(request))
                    if place.matches(&request) =>
                {
                    *fault
                }
                (Fault::Target(place, TargetEffect::Connect(fault)), PeerRef::Target(request))
                    if place.matches(&request) =>
                {
                    *fault
                }
                _ => return,
            };
            if strike.fires(found.is_none()) {
                found = Some(fault);
            }
        });
        found
    }

    /// A request that a slave received.
    #[must_use]
    pub fn slave(&self, request: &SlaveRequest<'_>) -> Verdict<SlaveEffect> {
        self.verdict(
            "slave",
            |fault| match fault {
                Fault::Slave(place, effect)
                    if !matches!(effect, SlaveEffect::Refuse | SlaveEffect::Connect(_))
                        && place.matches(request) =>
                {
                    Some(effect)
                }
                Fault::Action(place, ActionEffect::Reply { slave: Some(effect), .. }) => {
                    request.from.is_some_and(|from| place.matches(&from)).then_some(&**effect)
                }
                _ => None,
            },
            |effect| match effect {
                SlaveEffect::Delay(delay) => Some(*delay),
                _ => None,
            },
            &|| format!("{} unit {} function {}", request.slave, request.unit, request.function),
        )
    }

    /// A request that a device's own Modbus server received.
    #[must_use]
    pub fn modbus(&self, request: &DeviceModbusRequest<'_>) -> Verdict<SlaveEffect> {
        self.verdict(
            "modbus",
            |fault| match fault {
                Fault::Modbus(place, effect)
                    if !matches!(effect, SlaveEffect::Refuse | SlaveEffect::Connect(_))
                        && place.matches(request) =>
                {
                    Some(effect)
                }
                _ => None,
            },
            |effect| match effect {
                SlaveEffect::Delay(delay) => Some(*delay),
                _ => None,
            },
            &|| format!("{} unit {} function {}", request.device, request.unit, request.function),
        )
    }

    /// A request that a target received.
    #[must_use]
    pub fn target(&self, request: &TargetRequest<'_>) -> Verdict<TargetEffect> {
        self.verdict(
            "target",
            |fault| match fault {
                Fault::Target(place, effect)
                    if !matches!(effect, TargetEffect::Connect(_)) && place.matches(request) =>
                {
                    Some(effect)
                }
                Fault::Action(place, ActionEffect::Reply { target: Some(effect), .. }) => {
                    request.from.is_some_and(|from| place.matches(&from)).then_some(&**effect)
                }
                _ => None,
            },
            |effect| match effect {
                TargetEffect::Delay(delay) => Some(*delay),
                _ => None,
            },
            &|| format!("{} {} {}", request.target, request.method, request.path),
        )
    }

    /// A message of a device's MQTT client.
    #[must_use]
    pub fn mqtt(&self, message: &MqttMessage<'_>) -> Verdict<MqttEffect> {
        self.verdict(
            "mqtt",
            |fault| match fault {
                Fault::Mqtt { device, effect }
                    if *effect != MqttEffect::Refuse && is(device, message.device) =>
                {
                    Some(effect)
                }
                _ => None,
            },
            |effect| match effect {
                MqttEffect::Delay(delay) => Some(*delay),
                _ => None,
            },
            &|| format!("{} {}", message.device, message.topic),
        )
    }

    /// Whether a listener is to refuse connections now: that of a slave or of a device's own Modbus
    /// server, or the broker that a device's MQTT client would connect to. This is a state, not a
    /// request: it follows the windows alone, and [`RuleStatus::fired`] counts how often it began.
    #[must_use]
    pub fn refusing(&self, listener: FaultListener<'_>, before: bool) -> Refusing {
        let now = self.clock.now();
        let mut inner = self.inner();
        let (mut refuse, mut next) = (false, VirtualTime::MAX);
        for entry in &mut inner.rules {
            let meant = match (&entry.rule.fault, listener) {
                (Fault::Slave(place, SlaveEffect::Refuse), FaultListener::Slave(slave)) => {
                    is(&place.slave, slave)
                }
                (Fault::Modbus(place, SlaveEffect::Refuse), FaultListener::Modbus(device)) => {
                    is(&place.device, device)
                }
                (
                    Fault::Mqtt { device: at, effect: MqttEffect::Refuse },
                    FaultListener::Broker(device),
                ) => is(at, device),
                _ => false,
            };
            if !meant || !entry.state.armed {
                continue;
            }
            let (open, change) = entry.rule.when.window(entry.state.armed_at, now);
            next = next.min(change.unwrap_or(VirtualTime::MAX));
            if open && !refuse && !before {
                entry.evaluated += 1;
                entry.fired += 1;
                let rule = Arc::clone(&entry.rule.id);
                self.journal.record(Event::FaultFired {
                    rule,
                    seam: "listener",
                    at: listener.name().to_owned(),
                });
            }
            refuse |= open;
        }
        let until = self.clock.sleep_until(next);
        inner.watchers.retain(|alarm| !alarm.is_finished());
        inner.watchers.push(until.wake_handle());
        Refusing { refuse, generation: inner.generation, until }
    }

    /// The way of `api`, `slave`, `target` and `mqtt`: delays add up, the first decisive effect wins.
    fn verdict<E: Clone>(
        &self,
        seam: &'static str,
        matches: impl Fn(&Fault) -> Option<&E>,
        delay: impl Fn(&E) -> Option<Delay>,
        at: &dyn Fn() -> String,
    ) -> Verdict<E> {
        let mut verdict = Verdict::default();
        self.ask(seam, at, |fault, strike| {
            let Some(effect) = matches(fault) else { return };
            if let Some(delay) = delay(effect) {
                if strike.fires(true) {
                    verdict.delay += delay.draw(&mut strike.draws);
                }
            } else if strike.fires(verdict.effect.is_none()) {
                verdict.effect = Some(effect.clone());
            }
        });
        verdict
    }

    /// Shows each rule to `decide`, in order.
    fn ask(
        &self,
        seam: &'static str,
        at: &dyn Fn() -> String,
        mut decide: impl FnMut(&Fault, &mut RuleEvaluation<'_>),
    ) {
        if self.rules.load(Ordering::Acquire) == 0 {
            return;
        }
        let now = self.clock.now();
        let mut inner = self.inner();
        for entry in &mut inner.rules {
            let mut strike = RuleEvaluation {
                id: &entry.rule.id,
                when: &entry.rule.when,
                state: &mut entry.state,
                draws: Draws::new(self.seed, entry.stream, entry.evaluated),
                evaluated: &mut entry.evaluated,
                overruled: &mut entry.overruled,
                holds: &mut entry.holds,
                now,
                struck: false,
            };
            decide(&entry.rule.fault, &mut strike);
            if strike.struck {
                entry.fired += 1;
                let rule = Arc::clone(&entry.rule.id);
                self.journal.record(Event::FaultFired { rule, seam, at: truncate_text(at()) });
            }
        }
    }

    fn explain(&self, rule: &Arc<str>, change: &'static str) {
        self.journal.record(Event::RuleChanged { rule: Arc::clone(rule), change });
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }
}

/// A rule at its place, being asked.
struct RuleEvaluation<'a> {
    id: &'a Arc<str>,
    when: &'a Trigger,
    state: &'a mut TriggerState,
    draws: Draws,
    evaluated: &'a mut u64,
    overruled: &'a mut u64,
    holds: &'a mut Vec<WakeHandle>,
    now: VirtualTime,
    struck: bool,
}

impl RuleEvaluation<'_> {
    /// Counts the match and says whether the rule strikes; `open` is whether its effect can still
    /// have its way.
    fn fires(&mut self, open: bool) -> bool {
        *self.evaluated += 1;
        let strikes = self.state.strike(self.when, self.now, &mut self.draws);
        self.struck = strikes && open;
        *self.overruled += u64::from(strikes && !open);
        self.struck
    }

    /// Holds what was struck: for a time, or until the rule is released.
    fn hold(&mut self, clock: &Clock, lasts: Option<Duration>) -> Sleep {
        let until = lasts.map_or(VirtualTime::MAX, |lasts| self.now.after(lasts));
        let sleep = clock.sleep_until(until);
        self.holds.retain(|alarm| !alarm.is_finished());
        self.holds.push(sleep.wake_handle());
        sleep
    }
}

impl Inner {
    fn index(&self, id: &str) -> Result<usize, EngineError> {
        let found = self.rules.iter().position(|entry| &*entry.rule.id == id);
        found.ok_or_else(|| EngineError::Unknown(id.to_owned()))
    }

    fn changed(&mut self) {
        self.generation += 1;
        for watcher in self.watchers.drain(..) {
            watcher.wake();
        }
        let armed = self.rules.iter().filter_map(|entry| entry.episode(VirtualTime::MAX));
        self.episodes = Episodes::new(self.past.iter().cloned().chain(armed).collect());
        self.told.send_replace(self.generation);
    }

    fn meter_rules(&self) -> usize {
        self.rules.iter().filter(|entry| matches!(entry.rule.fault, Fault::Meter { .. })).count()
    }

    fn remember(&mut self, ended: Option<Episode>) {
        let Some(ended) = ended else { return };
        if self.past.len() == limits::PAST_EPISODES {
            self.past.pop_front();
        }
        self.past.push_back(ended);
    }
}

impl RuleEntry {
    fn new(rule: Rule, now: VirtualTime) -> Self {
        Self {
            stream: RandomStream::named(&rule.id),
            state: TriggerState::begin(&rule.when, now),
            rule,
            evaluated: 0,
            fired: 0,
            overruled: 0,
            holds: Vec::new(),
            window: None,
        }
    }

    /// What a rule over meters has to say until `until`; nothing where it is disarmed, or none. Both
    /// ends lie just after the moment of the change: what happened at that moment happened before
    /// it, whether or not somebody looked in between.
    fn episode(&self, until: VirtualTime) -> Option<Episode> {
        const JUST_AFTER: Duration = Duration::from_nanos(1);
        let Fault::Meter { device, effect } = &self.rule.fault else { return None };
        self.state.armed.then(|| Episode {
            device: device.clone(),
            effect: *effect,
            when: self.rule.when.clone(),
            armed_at: self.state.armed_at.after(JUST_AFTER),
            until: until.after(JUST_AFTER),
        })
    }

    fn release(&mut self) -> usize {
        let held = self.holds.iter().filter(|alarm| !alarm.is_finished()).count();
        for alarm in self.holds.drain(..) {
            alarm.wake();
        }
        held
    }

    fn status(&mut self) -> RuleStatus {
        self.holds.retain(|alarm| !alarm.is_finished());
        RuleStatus {
            rule: self.rule.clone(),
            armed: self.state.armed,
            evaluated: self.evaluated,
            fired: self.fired,
            overruled: self.overruled,
            holding: self.holds.len(),
        }
    }
}

impl FaultListener<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Slave(name) | Self::Modbus(name) | Self::Broker(name) => name,
        }
    }
}

impl ModbusPlace {
    /// Whether a request comes to this place.
    #[must_use]
    pub fn matches(&self, request: &DeviceModbusRequest<'_>) -> bool {
        let last = request.address.saturating_add(request.quantity.saturating_sub(1));
        is(&self.device, request.device)
            && self.unit.is_none_or(|unit| unit == request.unit)
            && self.function.is_none_or(|function| function == request.function)
            && self.address.as_ref().is_none_or(|range| {
                request.quantity > 0 && *range.start() <= last && request.address <= *range.end()
            })
    }
}

impl ActionPlace {
    /// Whether a call or a request of an action comes to this place.
    #[must_use]
    pub fn matches(&self, call: &ActionCall<'_>) -> bool {
        is(&self.device, call.device) && is(&self.action, call.action)
    }
}

impl SlavePlace {
    /// Whether a request comes to this place.
    #[must_use]
    pub fn matches(&self, request: &SlaveRequest<'_>) -> bool {
        let last = request.address.saturating_add(request.quantity.saturating_sub(1));
        is(&self.slave, request.slave)
            && self.unit.is_none_or(|unit| unit == request.unit)
            && self.function.is_none_or(|function| function == request.function)
            && self
                .address
                .as_ref()
                .is_none_or(|range| *range.start() <= last && request.address <= *range.end())
            && self
                .value
                .as_ref()
                .is_none_or(|range| request.values.iter().any(|value| range.contains(value)))
            && self
                .action
                .as_deref()
                .is_none_or(|action| request.from.is_some_and(|from| from.action == action))
    }
}

impl TargetPlace {
    /// Whether a request comes to this place.
    #[must_use]
    pub fn matches(&self, request: &TargetRequest<'_>) -> bool {
        is(&self.target, request.target)
            && is(&self.path, request.path)
            && self.method.is_none_or(|method| Method::as_str(method) == request.method)
            && self
                .action
                .as_deref()
                .is_none_or(|action| request.from.is_some_and(|from| from.action == action))
    }
}

impl<'a> From<&'a ActionOrigin> for ActionCall<'a> {
    fn from(origin: &'a ActionOrigin) -> Self {
        Self { device: &origin.device, action: &origin.action }
    }
}

impl fmt::Display for ActionCall<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} action {}", self.device, self.action)
    }
}

/// Whether `actual` is the one wanted; any is where none is.
#[expect(clippy::ref_option, reason = "the fields of places are given as they are")]
fn is(wanted: &Option<String>, actual: &str) -> bool {
    wanted.as_deref().is_none_or(|wanted| wanted == actual)
}

/// Whether a rule is about calls of this method. OPTIONS it has to name: with it a browser asks
/// whether its page may call, and a rule is to do to a page's calls what it does to a program's.
fn is_meant(wanted: Option<Method>, actual: &str) -> bool {
    wanted.map_or(actual != Method::Options.as_str(), |wanted| wanted.as_str() == actual)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::clock::Speed;
    use crate::fault::{ActionPlace, ApiPlace};
    use crate::fault::{MeterEffect, Silence};

    const CALL: ActionCall<'_> = ActionCall { device: "A842E39F8124", action: "pump" };
    const API: ApiCall<'_> = ApiCall { device: "A842E39F8124", method: "GET", path: "/x" };

    fn rule(id: &str, fault: Fault, when: Trigger) -> Rule {
        Rule { id: id.into(), fault, when }
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
    fn a_rule_counts_only_what_comes_to_its_place() {
        let place = ApiPlace { route: Some("/y".into()), ..ApiPlace::default() };
        let engine =
            engine(vec![rule("r", Fault::Api(place, ApiEffect::Hang), Trigger::default())]);
        assert_eq!(engine.api(&API), Verdict::default());
        assert_eq!(counts(&engine, "r"), (0, 0, 0));
        assert_eq!(engine.api(&ApiCall { path: "/y", ..API }).effect, Some(ApiEffect::Hang));
        assert_eq!(counts(&engine, "r"), (1, 1, 0));
    }

    #[test]
    fn arming_begins_the_count_anew() {
        let when = Trigger { first: Some(1), armed: false, ..Trigger::default() };
        let engine = engine(vec![rule("once", api(ApiEffect::Hang), when)]);
        assert_eq!(engine.api(&API).effect, None);
        engine.arm("once", true).unwrap();
        assert_eq!(engine.api(&API).effect, Some(ApiEffect::Hang));
        assert_eq!(engine.api(&API).effect, None);
        assert_eq!(counts(&engine, "once"), (3, 1, 0));
    }

    #[test]
    fn queue_rules_narrow_the_places() {
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
    async fn a_hold_lasts_until_released() {
        let hold = Fault::Action(ActionPlace::default(), ActionEffect::Hold { lasts: None });
        let engine = engine(vec![rule("hold", hold, Trigger::default())]);
        let hold = engine.hold(&CALL).unwrap();
        assert_eq!(engine.get("hold").unwrap().holding, 1);
        assert_eq!(engine.release("hold"), Ok(1));
        hold.sleep.await;
        assert_eq!(engine.get("hold").unwrap().holding, 0);
    }

    #[tokio::test]
    async fn a_change_of_the_rules_wakes_who_asked_about_refusing() {
        let engine = engine(vec![]);
        let before = engine.refusing(FaultListener::Slave("pump"), false);
        assert!(!before.refuse);
        let refuse = Fault::Slave(SlavePlace::default(), SlaveEffect::Refuse);
        engine.add(rule("off", refuse, Trigger::default())).unwrap();
        before.until.await;
        let after = engine.refusing(FaultListener::Slave("pump"), false);
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
    fn windows_over_one_meter_are_bounded() {
        let minutely = |id: &str, device: Option<&str>| {
            let effect = MeterEffect::Silent(Silence::NoData);
            let when = Trigger {
                lasts: Some(Duration::from_secs(10)),
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
        let refused = Err(EngineError::Often(42 * 1440));
        assert_eq!(engine.add(minutely("x", Some("A"))), refused);
        assert_eq!(engine.add(minutely("x", None)), refused);
        engine.add(minutely("x", Some("C"))).unwrap();
        engine.add(rule("y", api(ApiEffect::Hang), Trigger::default())).unwrap();
        engine.remove("A3").unwrap();
        engine.add(minutely("z", Some("A"))).unwrap();
    }
}
