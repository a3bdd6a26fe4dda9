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

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::{House, excerpt};
use crate::fault::{
    ActionEffect, ActionPlace, ApiEffect, ApiPlace, Delay, Engine, Fault, MeterEffect, Rule,
    Silence, SlaveEffect, SlavePlace, TargetEffect, TargetPlace, Trigger, result,
};
use crate::modbus::fault::ReplyFault;
use crate::modbus::wire::FunctionCode;
use crate::problem::Problem;

/// A fault with its conditions. Without further calls it fires on each match.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "a fault does nothing until `House::inject`"]
pub struct FaultRule {
    fault: Fault,
    when: Trigger,
}

impl FaultRule {
    fn new(fault: Fault) -> Self {
        Self { fault, when: Trigger::default() }
    }

    /// Fires only on these matches, counted from 1.
    pub fn nth(mut self, matches: impl IntoIterator<Item = u64>) -> Self {
        self.when.nth = matches.into_iter().collect();
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

/// Requests to a slave of the house.
#[derive(Debug, Clone)]
#[must_use = "choose an effect"]
pub struct SlaveFault(SlavePlace);

/// Returns the description of a fault at the slave of this name.
pub fn slave(name: &str) -> SlaveFault {
    SlaveFault(SlavePlace { slave: Some(name.to_owned()), ..SlavePlace::default() })
}

impl SlaveFault {
    /// Affects only requests to this unit.
    pub fn unit(mut self, unit: u8) -> Self {
        self.0.unit = Some(unit);
        self
    }

    /// Affects only requests with this function code.
    pub fn function(mut self, function: FunctionCode) -> Self {
        self.0.function = Some(function);
        self
    }

    /// Affects only requests that touch one of these addresses. Of function 23, the written ones count.
    pub fn addresses(mut self, addresses: RangeInclusive<u16>) -> Self {
        self.0.address = Some(addresses);
        self
    }

    /// Affects only requests that write one of these values; coils as 0 and 1.
    pub fn value(mut self, values: RangeInclusive<u16>) -> Self {
        self.0.value = Some(values);
        self
    }

    /// Affects only requests of this action.
    pub fn action(mut self, action: &str) -> Self {
        self.0.action = Some(action.to_owned());
        self
    }

    /// The reply is missing, wrong on the wire, or an exception, or the connection ends.
    pub fn reply(self, fault: impl Into<ReplyFault>) -> FaultRule {
        FaultRule::new(Fault::Slave(self.0, SlaveEffect::Reply(fault.into())))
    }

    /// The reply is this exception. The request is not carried out.
    pub fn exception(self, code: u8) -> FaultRule {
        self.reply(ReplyFault::Exception(code))
    }

    /// The reply comes later.
    pub fn delay(self, delay: Duration) -> FaultRule {
        FaultRule::new(Fault::Slave(self.0, SlaveEffect::Delay(Delay::Fixed(delay))))
    }

    /// The listener refuses connections, and resets those that are open. [`InjectedFault::applied`] waits
    /// until it does.
    pub fn refuse(self) -> FaultRule {
        FaultRule::new(Fault::Slave(self.0, SlaveEffect::Refuse))
    }

    /// The request ends with this result code of the device.
    ///
    /// # Errors
    /// A problem if a Modbus request cannot end with that code.
    pub fn result(self, code: i32) -> Result<FaultRule, Problem> {
        Ok(FaultRule::new(Fault::Slave(self.0, result::of_slave(code)?)))
    }
}

/// Requests to an HTTP target of the house.
#[derive(Debug, Clone)]
#[must_use = "choose an effect"]
pub struct TargetFault(TargetPlace);

/// Returns the description of a fault at the target of this name.
pub fn target(name: &str) -> TargetFault {
    TargetFault(TargetPlace { target: Some(name.to_owned()), ..TargetPlace::default() })
}

impl TargetFault {
    /// Affects only requests to this path.
    pub fn path(mut self, path: &str) -> Self {
        self.0.path = Some(path.to_owned());
        self
    }

    /// Affects only requests of this action.
    pub fn action(mut self, action: &str) -> Self {
        self.0.action = Some(action.to_owned());
        self
    }

    /// The response has this status, 200 to 599.
    pub fn status(self, status: u16) -> FaultRule {
        self.rule(TargetEffect::Status(status))
    }

    /// The response comes later.
    pub fn delay(self, delay: Duration) -> FaultRule {
        self.rule(TargetEffect::Delay(Delay::Fixed(delay)))
    }

    /// The connection is reset in place of a response.
    pub fn reset(self) -> FaultRule {
        self.rule(TargetEffect::Reset)
    }

    /// There is no response.
    pub fn hang(self) -> FaultRule {
        self.rule(TargetEffect::Hang)
    }

    /// The request ends with this result code of the device.
    ///
    /// # Errors
    /// A problem if an HTTP request cannot end with that code.
    pub fn result(self, code: i32) -> Result<FaultRule, Problem> {
        Ok(self.rule(result::of_target(code)?))
    }

    fn rule(self, effect: TargetEffect) -> FaultRule {
        FaultRule::new(Fault::Target(self.0, effect))
    }
}

/// Calls of a device's API.
#[derive(Debug, Clone)]
#[must_use = "choose an effect"]
pub struct ApiFault(ApiPlace);

/// Returns the description of a fault at the API of every device.
pub fn api() -> ApiFault {
    ApiFault(ApiPlace::default())
}

impl ApiFault {
    /// Affects only the device with this id.
    pub fn device(mut self, id: &str) -> Self {
        self.0.device = Some(id.to_owned());
        self
    }

    /// Affects only calls of this path.
    pub fn path(mut self, path: &str) -> Self {
        self.0.route = Some(path.to_owned());
        self
    }

    /// The reply has this status, 400 to 599. The call has no effect.
    pub fn status(self, code: u16) -> FaultRule {
        self.rule(ApiEffect::Status { code, retry_after: None })
    }

    /// The reply comes later.
    pub fn delay(self, delay: Duration) -> FaultRule {
        self.rule(ApiEffect::Delay(Delay::Fixed(delay)))
    }

    /// The connection is reset in place of a reply. The call has no effect.
    pub fn reset(self) -> FaultRule {
        self.rule(ApiEffect::Reset)
    }

    /// There is no reply. The call has no effect.
    pub fn hang(self) -> FaultRule {
        self.rule(ApiEffect::Hang)
    }

    /// The JSON of the reply breaks off in the middle.
    pub fn malformed_json(self) -> FaultRule {
        self.rule(ApiEffect::MalformedJson)
    }

    fn rule(self, effect: ApiEffect) -> FaultRule {
        FaultRule::new(Fault::Api(self.0, effect))
    }
}

/// Calls and requests of an action.
#[derive(Debug, Clone)]
#[must_use = "choose an effect"]
pub struct ActionFault(ActionPlace);

/// Returns the description of a fault of the action with this id.
pub fn action(id: &str) -> ActionFault {
    ActionFault(ActionPlace { action: Some(id.to_owned()), ..ActionPlace::default() })
}

impl ActionFault {
    /// The call is refused, as if the action were disabled.
    pub fn disable(self) -> FaultRule {
        self.rule(ActionEffect::Disable)
    }

    /// Each request stays in progress for this time before it is sent.
    pub fn hold(self, duration: Duration) -> FaultRule {
        self.rule(ActionEffect::Hold { duration: Some(duration) })
    }

    /// Each request stays in progress before it is sent, until [`InjectedFault::release`].
    pub fn hold_until_released(self) -> FaultRule {
        self.rule(ActionEffect::Hold { duration: None })
    }

    /// Each request ends with this result code.
    ///
    /// # Errors
    /// A problem if no request can end with that code.
    pub fn result(self, code: i32) -> Result<FaultRule, Problem> {
        Ok(self.rule(result::of_action(code)?))
    }

    fn rule(self, effect: ActionEffect) -> FaultRule {
        FaultRule::new(Fault::Action(self.0, effect))
    }
}

/// The meter of a device.
#[derive(Debug, Clone)]
#[must_use = "choose an effect"]
pub struct MeterFault {
    device: Option<String>,
}

/// Returns the description of a fault of the meter of every device.
pub fn meter() -> MeterFault {
    MeterFault { device: None }
}

impl MeterFault {
    /// Affects only the meter of the device with this id.
    pub fn device(mut self, id: &str) -> Self {
        self.device = Some(id.to_owned());
        self
    }

    /// No telegram comes.
    pub fn no_data(self) -> FaultRule {
        self.rule(MeterEffect::Silent(Silence::NoData))
    }

    /// The meter is not connected.
    pub fn not_connected(self) -> FaultRule {
        self.rule(MeterEffect::Silent(Silence::NotConnected))
    }

    /// The values stand still. The readings go on.
    pub fn frozen(self) -> FaultRule {
        self.rule(MeterEffect::Frozen)
    }

    /// The counter of imported energy is this many watt-hours too low.
    pub fn jump_back(self, watt_hours: u64) -> FaultRule {
        self.rule(MeterEffect::JumpBack(watt_hours))
    }

    fn rule(self, effect: MeterEffect) -> FaultRule {
        FaultRule::new(Fault::Meter { device: self.device, effect })
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
        let problems = rule.when.problems();
        if let Some(problem) = problems.first() {
            panic!("the fault can never fire: {}", problem.to_line());
        }
        let added =
            engine(house).add(Rule { id: Arc::clone(&id), fault: rule.fault, when: rule.when });
        if let Err(error) = added {
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
