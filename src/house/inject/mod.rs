//! Faults that a test injects: typed descriptions, and a guard that removes the rule.
//!
//! ```
//! use std::time::Duration;
//! use wwsim::house::inject;
//! use wwsim::modbus::fault::WireFault;
//!
//! // The third write to register 10 gets a reply with a wrong transaction id.
//! let wrong = inject::slave("pump").addresses(10..=10).reply(WireFault::WrongTransactionId).nth([3]);
//! // The API refuses one call in ten.
//! let busy = inject::api().status(503).probability(0.1);
//! // The meter says nothing from the tenth minute on, for one minute.
//! let minute = Duration::from_secs(60);
//! let silent = inject::meter().no_data().after(10 * minute).lasting(minute);
//! # let _ = (wrong, busy, silent);
//! ```

mod device;
mod peers;

use std::sync::Arc;
use std::time::Duration;

pub use self::device::{
    ActionFault, ApiFault, DeviceModbusFault, LiveFault, MeterFault, MeterPhase, MqttFault,
    QueueFault, action, api, device_modbus, live, meter, mqtt, queue,
};
pub use self::peers::{SlaveFault, TargetFault, slave, target};
use super::wait::wait_until;
use super::{House, WaitTimeout, excerpt};
use crate::device::DeviceId;
use crate::fault::{Engine, Fault, Rule, Trigger};
use crate::notation::Share;
use crate::problem::Problem;
use crate::scenario;

/// A fault with its conditions. Without further calls it fires on each match.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "a fault does nothing until `House::inject`"]
pub struct FaultRule {
    fault: Fault,
    devices: Option<Share>,
    when: Trigger,
}

impl FaultRule {
    fn new(fault: Fault) -> Self {
        Self { fault, devices: None, when: Trigger::default() }
    }

    /// Affects only this share of the devices, in percent. Which they are follows from the house's seed and from the
    /// number of faults that were injected before.
    ///
    /// # Panics
    /// If the share is not above 0 and at most 100.
    #[track_caller]
    pub fn devices(mut self, percent: f64) -> Self {
        self.devices = Share::percent(percent);
        assert!(self.devices.is_some(), "devices: {percent} %; expected above 0 and at most 100");
        self
    }

    /// Fires only on these matches, counted from 1.
    ///
    /// # Panics
    /// If there are none.
    #[track_caller]
    pub fn nth(mut self, matches: impl IntoIterator<Item = u64>) -> Self {
        self.when.nth = matches.into_iter().collect();
        assert!(!self.when.nth.is_empty(), "nth: no match is given; expected one or more, from 1");
        self
    }

    /// Fires only on this many matches.
    pub fn first(mut self, matches: u64) -> Self {
        self.when.first = Some(matches);
        self
    }

    /// Fires on a match with this probability, from 0 to 1. The draws follow from the house's seed.
    pub fn probability(mut self, probability: f64) -> Self {
        self.when.probability = probability;
        self
    }

    /// Fires only after this time since the rule was injected.
    pub fn after(mut self, after: Duration) -> Self {
        self.when.after = after;
        self
    }

    /// Fires only for this long after that.
    pub fn lasting(mut self, duration: Duration) -> Self {
        self.when.duration = Some(duration);
        self
    }

    /// Repeats the window with this period. Needs [`FaultRule::lasting`].
    pub fn every(mut self, period: Duration) -> Self {
        self.when.every = Some(period);
        self
    }
}

/// A fault that was injected. Dropping it removes the rule.
#[derive(Debug)]
pub struct InjectedFault<'h> {
    house: &'h House,
    id: Arc<str>,
    generation: u64,
}

impl<'h> InjectedFault<'h> {
    #[track_caller]
    pub(super) fn new(house: &'h House, id: String, rule: FaultRule) -> Self {
        let id: Arc<str> = id.into();
        let FaultRule { fault, devices, when } = rule;
        let rule = Rule { id: Arc::clone(&id), fault, devices, when };
        // The checks of a scenario's rules apply to the written form.
        if let Some(id) = rule.fault.device().filter(|id| id.parse::<DeviceId>().is_err()) {
            panic!("the fault cannot be injected: `{id}` is no device id, as A842E39F8124");
        }
        if let Err(problems) = house.core.parse_rule(&scenario::rule_to_json(&rule), &id) {
            let problems: Vec<String> = problems.iter().map(Problem::to_line).collect();
            panic!("the fault cannot be injected: {}", problems.join("; "));
        }
        if let Err(error) = engine(house).add(rule) {
            panic!("the fault cannot be injected: {error}");
        }
        Self { house, id, generation: engine(house).generation() }
    }

    /// Returns the id of the rule, as the journal and the control plane show it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns how often it has fired.
    #[must_use]
    pub fn fired(&self) -> u64 {
        engine(self.house).get(&self.id).map_or(0, |status| status.fired)
    }

    /// Lets the requests go on that it holds now, and returns their number.
    #[must_use = "the number says whether a request was there"]
    pub fn release(&self) -> usize {
        engine(self.house).release(&self.id).unwrap_or(0)
    }

    /// Waits until every listener is open or closed as the rule requires.
    pub async fn applied(&self) {
        self.house.core.wait_rules_applied(self.generation).await;
    }

    /// Waits until it has fired this many times in all, at most for `timeout` of real time: for a client
    /// outside the test's own task.
    ///
    /// # Errors
    /// [`WaitTimeout`], which shows the newest entries of the journal.
    pub async fn wait_fired(&self, times: u64, timeout: Duration) -> Result<(), WaitTimeout> {
        // Each time is an entry of the journal.
        let fired = |_| (self.fired() >= times).then_some(());
        wait_until(self.house, fired, timeout).await
    }

    /// Removes the rule, as dropping the guard does, and waits until every listener is open or closed as
    /// the other rules require.
    pub async fn remove(self) {
        let house = self.house;
        drop(self);
        house.core.wait_rules_applied(house.engine().generation()).await;
    }

    /// Asserts how often it has fired. A test that asserts it proves that the fault really happened.
    ///
    /// # Panics
    /// If it has fired another number of times.
    #[track_caller]
    pub fn assert_fired(&self, expected: u64) {
        let fired = self.fired();
        if fired != expected {
            let journal = excerpt(self.house, &[("rule", self.id())]);
            panic!("fault `{}` fired {fired} times, expected {expected}{journal}", self.id);
        }
    }
}

impl Drop for InjectedFault<'_> {
    fn drop(&mut self) {
        // A reset of the house may have removed it.
        let _ = engine(self.house).remove(&self.id);
    }
}

fn engine(house: &House) -> &Engine {
    house.engine()
}
