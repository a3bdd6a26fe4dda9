//! The rules of a slave that runs by itself, in the order in which they were added.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use wwsim_time::clock::{Clock, VirtualTime, WakeHandle};
use wwsim_time::rng::{Draws, RandomStream};

use crate::fault::{ReplyDecision, ReplyFault};
use crate::problem::Problem;
use crate::slave::{ListenerVerdict, RequestDetails, Slave, SlaveRules};
use crate::trigger::{Trigger, TriggerState};
use crate::wire::FunctionCode;

/// A rule: which requests it affects, what happens to them, and when.
///
/// ```
/// use wwsim_modbus::fault::{ReplyFault, WireFault};
/// use wwsim_modbus::simulator::SlaveRule;
/// use wwsim_modbus::wire::FunctionCode;
///
/// // The third read of holding registers gets a reply with a wrong transaction id.
/// let read = FunctionCode::READ_HOLDING_REGISTERS;
/// let wrong = SlaveRule::reply(WireFault::WrongTransactionId).function(read).nth([3]);
/// // One in ten writes to register 10 of unit 1 is not answered.
/// let lost = SlaveRule::reply(ReplyFault::Silence).unit(1).addresses(10..=10).probability(0.1);
/// # let _ = (wrong, lost);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct SlaveRule {
    unit: Option<u8>,
    function: Option<FunctionCode>,
    addresses: Option<RangeInclusive<u16>>,
    value: Option<RangeInclusive<u16>>,
    effect: RuleEffect,
    when: Trigger,
}

#[derive(Debug, Clone, PartialEq)]
enum RuleEffect {
    Delay(Duration),
    Reply(ReplyFault),
    Refuse,
}

impl SlaveRule {
    /// Changes replies: an exception, silence, wrong bytes, the end of the connection. Of several rules
    /// that fire on one request, the first decides.
    #[must_use]
    pub fn reply(fault: impl Into<ReplyFault>) -> Self {
        Self::new(RuleEffect::Reply(fault.into()))
    }

    /// Delays replies. The delays of several rules add up.
    #[must_use]
    pub fn delay(delay: Duration) -> Self {
        Self::new(RuleEffect::Delay(delay))
    }

    /// Closes the listener: connections are refused, and open ones are reset. It follows the window of the
    /// rule alone, so that conditions on requests, `nth`, `first` and a probability are refused.
    /// [`InjectedRule::fired`] counts the windows that closed the listener.
    #[must_use]
    pub fn refuse() -> Self {
        Self::new(RuleEffect::Refuse)
    }

    fn new(effect: RuleEffect) -> Self {
        let when = Trigger::default();
        Self { unit: None, function: None, addresses: None, value: None, effect, when }
    }

    /// Affects only requests to this unit.
    #[must_use]
    pub fn unit(mut self, unit: u8) -> Self {
        self.unit = Some(unit);
        self
    }

    /// Affects only requests with this function code. A second call replaces the first.
    #[must_use]
    pub fn function(mut self, function: FunctionCode) -> Self {
        self.function = Some(function);
        self
    }

    /// Affects only requests that touch one of these addresses. Of function 23, the written ones count.
    #[must_use]
    pub fn addresses(mut self, addresses: RangeInclusive<u16>) -> Self {
        self.addresses = Some(addresses);
        self
    }

    /// Affects only requests that write one of these values; coils as 0 and 1. `0..=u16::MAX` is any write
    /// but that of function 22, which has masks and no values.
    #[must_use]
    pub fn value(mut self, value: RangeInclusive<u16>) -> Self {
        self.value = Some(value);
        self
    }

    /// Fires only on these matches, counted from 1. Requests that the rule does not affect are no matches:
    /// with [`SlaveRule::function`], `nth([3])` is the third request with that function code.
    ///
    /// # Panics
    /// If no match is given.
    #[must_use]
    #[track_caller]
    pub fn nth(mut self, matches: impl IntoIterator<Item = u64>) -> Self {
        self.when.nth = matches.into_iter().collect();
        assert!(!self.when.nth.is_empty(), "nth: no match is given; expected one or more, from 1");
        self
    }

    /// Fires only on the first matches, this many. A match on which an earlier rule decides counts, too.
    #[must_use]
    pub fn first(mut self, matches: u64) -> Self {
        self.when.first = Some(matches);
        self
    }

    /// Fires on a match with this probability, from 0 to 1. The draws follow from the seed.
    #[must_use]
    pub fn probability(mut self, probability: f64) -> Self {
        self.when.probability = probability;
        self
    }

    /// Fires only `after` this time since it was added.
    #[must_use]
    pub fn after(mut self, after: Duration) -> Self {
        self.when.after = after;
        self
    }

    /// Fires only for this long after that.
    #[must_use]
    pub fn lasting(mut self, duration: Duration) -> Self {
        self.when.duration = Some(duration);
        self
    }

    /// Repeats the window with this period. Needs [`SlaveRule::lasting`].
    #[must_use]
    pub fn every(mut self, period: Duration) -> Self {
        self.when.every = Some(period);
        self
    }

    /// Returns the reasons why the rule can never fire, or would change nothing.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut problems = self.when.problems();
        for (key, range) in [("addresses", &self.addresses), ("value", &self.value)] {
            if let Some(range) = range.as_ref().filter(|range| range.is_empty()) {
                let message = format!("{}..={} contains nothing", range.start(), range.end());
                problems.push(Problem::new(key, message));
            }
        }
        match &self.effect {
            RuleEffect::Refuse => problems.extend(self.problems_of_state()),
            RuleEffect::Reply(fault) => problems.extend(fault.problem()),
            RuleEffect::Delay(_) => {}
        }
        problems
    }

    /// Returns the conditions that need a request, of a rule that closes the listener before any.
    fn problems_of_state(&self) -> impl Iterator<Item = Problem> {
        let conditions = [
            ("unit", self.unit.is_some()),
            ("function", self.function.is_some()),
            ("addresses", self.addresses.is_some()),
            ("value", self.value.is_some()),
            ("nth", !self.when.nth.is_empty()),
            ("first", self.when.first.is_some()),
            ("probability", self.when.probability < 1.0),
        ];
        conditions.into_iter().filter(|(_, given)| *given).map(|(key, _)| {
            Problem::new(key, "`refuse` closes the listener before any request; use a window alone")
        })
    }

    fn matches(&self, request: &RequestDetails<'_>) -> bool {
        let last = request.address.saturating_add(request.quantity.saturating_sub(1));
        let touches = |range: &RangeInclusive<u16>| {
            request.quantity > 0 && *range.start() <= last && request.address <= *range.end()
        };
        let writes =
            |range: &RangeInclusive<u16>| request.values.iter().any(|value| range.contains(value));
        self.unit.is_none_or(|unit| unit == request.unit)
            && self.function.is_none_or(|function| function == request.function)
            && self.addresses.as_ref().is_none_or(touches)
            && self.value.as_ref().is_none_or(writes)
    }
}

/// A rule that was injected. Dropping it removes the rule.
#[derive(Debug)]
pub struct InjectedRule {
    rules: Arc<RuleSet>,
    slave: Arc<Slave>,
    id: u64,
    generation: u64,
}

impl InjectedRule {
    pub(super) fn new(rules: Arc<RuleSet>, slave: Arc<Slave>, id: u64, generation: u64) -> Self {
        Self { rules, slave, id, generation }
    }

    /// Returns how often the rule has fired.
    #[must_use]
    pub fn fired(&self) -> u64 {
        self.rules.fired(self.id)
    }

    /// Waits until the listener is open or closed as the rule requires. Returns at once if the simulator has
    /// ended.
    pub async fn applied(&self) {
        self.slave.wait_rules_applied(self.generation).await;
    }

    /// Removes the rule, as dropping the guard does, and waits until the listener is open or closed as the
    /// other rules require.
    pub async fn remove(self) {
        let slave = Arc::clone(&self.slave);
        let generation = self.rules.remove(self.id);
        drop(self);
        slave.wait_rules_applied(generation).await;
    }
}

impl Drop for InjectedRule {
    fn drop(&mut self) {
        self.rules.remove(self.id);
    }
}

/// The rules of a slave, with their counts.
#[derive(Debug)]
pub(super) struct RuleSet {
    clock: Clock,
    seed: u64,
    inner: Mutex<RuleList>,
    /// The number of requests that the rules were asked about.
    arrived: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct RuleList {
    rules: Vec<ActiveRule>,
    next_id: u64,
    /// The number of changes of the rules.
    generation: u64,
    /// Wakes the listener, which evaluates the rules again.
    listener: Option<WakeHandle>,
}

#[derive(Debug)]
struct ActiveRule {
    id: u64,
    rule: SlaveRule,
    state: TriggerState,
    stream: RandomStream,
    matched: u64,
    fired: u64,
}

impl RuleSet {
    pub(super) fn new(clock: Clock, seed: u64, rules: Vec<SlaveRule>) -> Self {
        let set = Self { clock, seed, inner: Mutex::default(), arrived: watch::Sender::new(0) };
        for rule in rules {
            set.add(rule);
        }
        set
    }

    /// Adds a rule. Returns its id, and the generation of the rules with it.
    pub(super) fn add(&self, rule: SlaveRule) -> (u64, u64) {
        let mut list = self.inner.lock();
        let id = list.next_id;
        list.next_id += 1;
        let state = TriggerState::begin(&rule.when, self.clock.now());
        let stream = RandomStream::named("rule").child(id);
        list.rules.push(ActiveRule { id, rule, state, stream, matched: 0, fired: 0 });
        (id, list.change())
    }

    /// Removes a rule, if it is there. Returns the generation of the rules without it.
    fn remove(&self, id: u64) -> u64 {
        let mut list = self.inner.lock();
        let before = list.rules.len();
        list.rules.retain(|active| active.id != id);
        if list.rules.len() == before { list.generation } else { list.change() }
    }

    fn fired(&self, id: u64) -> u64 {
        let list = self.inner.lock();
        list.rules.iter().find(|active| active.id == id).map_or(0, |active| active.fired)
    }

    /// Returns the number of requests that have arrived.
    pub(super) fn arrived(&self) -> watch::Receiver<u64> {
        self.arrived.subscribe()
    }

    /// Evaluates the rules on a request, in order.
    fn evaluate(&self, request: &RequestDetails<'_>) -> ReplyDecision {
        let mut decision = ReplyDecision::default();
        let mut list = self.inner.lock();
        let now = self.clock.now();
        for active in &mut list.rules {
            if active.rule.effect == RuleEffect::Refuse || !active.rule.matches(request) {
                continue;
            }
            let mut draws = Draws::new(self.seed, active.stream, active.matched);
            active.matched += 1;
            if !active.state.count_and_decide(&active.rule.when, now, &mut draws) {
                continue;
            }
            match &active.rule.effect {
                RuleEffect::Delay(delay) => decision.delay = decision.delay.saturating_add(*delay),
                RuleEffect::Reply(fault) if decision.fault.is_none() => {
                    decision.fault = Some(fault.clone());
                }
                // An earlier rule has decided.
                RuleEffect::Reply(_) | RuleEffect::Refuse => continue,
            }
            active.fired += 1;
        }
        decision
    }
}

impl RuleList {
    /// Makes a change effective, and returns its generation.
    fn change(&mut self) -> u64 {
        self.generation += 1;
        if let Some(listener) = self.listener.take() {
            listener.wake();
        }
        self.generation
    }
}

impl SlaveRules for RuleSet {
    fn decide(&self, request: &RequestDetails<'_>) -> ReplyDecision {
        let decision = self.evaluate(request);
        // This wakes a test, which then moves the clock. The movement waits until the task of the connection
        // has begun the delay.
        self.arrived.send_modify(|arrived| *arrived += 1);
        decision
    }

    fn listener(&self, refusing: bool) -> ListenerVerdict {
        let mut list = self.inner.lock();
        let now = self.clock.now();
        let (mut refuse, mut next) = (false, VirtualTime::MAX);
        for active in
            list.rules.iter_mut().filter(|active| active.rule.effect == RuleEffect::Refuse)
        {
            let window = active.rule.when.window(active.state.armed_at, now);
            next = next.min(window.next_change.unwrap_or(VirtualTime::MAX));
            if window.is_open() && !refuse && !refusing {
                active.fired += 1;
            }
            refuse |= window.is_open();
        }
        let until = self.clock.sleep_until(next);
        list.listener = Some(until.wake_handle());
        ListenerVerdict { refuse, generation: list.generation, until }
    }
}
