//! The handle of a device: [`Device`], the shared owner of its core.
//!
//! A `Device` holds the pure core behind a lock, with the clock, the journal and the fault rules. Servers
//! and services share it as an `Arc`.
//!
//! An operation that changes the state takes the state lock, runs one transition of the `core`, and
//! publishes the result with [`Device::publish`]. The fault rules are evaluated and the events of the
//! transition are recorded under the lock, so that the journal has the order in which things happened, and
//! a client that sees a final status finds it in the journal. Neither the rules nor the journal ever call a
//! device. Nothing is awaited or encoded under the lock.
//!
//! Three operations differ. The reception of telegrams (`reception`) and the drain of the supercapacitor
//! (`lifecycle`) change the state without events; the former does long work before it takes the state lock.
//! [`Device::record`] records an event that is no transition, without the state lock.

mod calls;
mod changes;
mod configuration;
mod console;
mod lifecycle;
mod locks;
mod network;
mod persistence;
mod reception;
mod script;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

pub use self::calls::{Run, Ticket};
pub use self::changes::ChangeObserver;
use self::changes::Changes;
pub use self::console::Console;
use self::locks::{Locks, NoLock, StateGuard};
use super::actions::ActionPolicy;
use super::core::{DeviceSpec, DeviceState, InitialState, Transition};
use super::network::Site;
use super::sd::SdCard;
use super::{AccessPolicy, Hardware, Identity, Setup, View};
use crate::clock::{Clock, VirtualTime};
use crate::fault::Engine;
use crate::journal::{Event, Journal};
use crate::meter::Meter;

/// A device of the house.
#[derive(Debug)]
pub struct Device {
    spec: DeviceSpec,
    meter: Meter,
    sd: Option<SdCard>,
    console: Console,
    clock: Clock,
    engine: Arc<Engine>,
    journal: Arc<Journal>,
    locks: Locks,
    changes: Changes,
    /// True if the MQTT client is connected to a broker.
    broker_connected: AtomicBool,
    /// True if the Wi-Fi networks around the device are weaker than the scenario says.
    weak_wifi: AtomicBool,
}

impl Device {
    /// Creates a device, which is up unless it resumes in the middle of a reboot.
    #[must_use]
    pub fn new(
        setup: Setup,
        clock: Clock,
        engine: Arc<Engine>,
        journal: Arc<Journal>,
    ) -> Arc<Self> {
        let Setup { identity, hardware, seed, .. } = setup;
        let start = clock.civil(VirtualTime::ZERO);
        let meter = Meter::new(&setup.meter, seed, identity.id.as_str(), start);
        engine.add_meter(identity.id.as_str(), &meter.sent_readings());
        let sd = hardware.sd_card.clone().map(|plan| SdCard::new(plan, setup.sd_folder));
        let spec = DeviceSpec {
            identity,
            action_policy: setup.action_policy,
            access_policy: setup.access_policy,
            hardware,
            site: setup.site,
            seed,
            initial: InitialState {
                firmware: setup.firmware,
                definition: setup.definition,
                config: setup.config,
            },
        };
        let state = match setup.resumed {
            Some(point) => DeviceState::resume(&spec, point, &meter, clock.now()),
            None => DeviceState::new(&spec),
        };
        Arc::new(Self {
            spec,
            meter,
            sd,
            console: Console::default(),
            clock,
            engine,
            journal,
            locks: Locks::new(state),
            changes: Changes::new(),
            broker_connected: AtomicBool::new(false),
            weak_wifi: AtomicBool::new(false),
        })
    }

    /// Returns the identity.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.spec.identity
    }

    /// Returns the plugs and networks around the device.
    #[must_use]
    pub fn site(&self) -> &Site {
        &self.spec.site
    }

    /// Returns the action policy.
    #[must_use]
    pub fn action_policy(&self) -> ActionPolicy {
        self.spec.action_policy
    }

    /// Returns the access policy.
    #[must_use]
    pub fn access_policy(&self) -> &AccessPolicy {
        &self.spec.access_policy
    }

    /// Returns the hardware.
    #[must_use]
    pub fn hardware(&self) -> &Hardware {
        &self.spec.hardware
    }

    /// Returns the SD card. `None` if the slot is empty.
    #[must_use]
    pub fn sd(&self) -> Option<&SdCard> {
        self.sd.as_ref()
    }

    /// Returns the console of the script.
    #[must_use]
    pub fn console(&self) -> &Console {
        &self.console
    }

    /// Returns the house's clock.
    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Returns the generation of the house's fault rules, as a value that can be awaited.
    pub(crate) fn rule_changes(&self) -> watch::Receiver<u64> {
        self.engine.changes()
    }

    /// Returns the current state, without the meter.
    #[must_use]
    pub fn view(&self) -> View {
        self.state().view()
    }

    /// Returns `true` if the MQTT client is connected to a broker.
    #[must_use]
    pub fn broker_connected(&self) -> bool {
        self.broker_connected.load(Ordering::Acquire)
    }

    /// Sets whether the MQTT client is connected to a broker.
    pub fn set_broker_connected(&self, connected: bool) {
        self.broker_connected.store(connected, Ordering::Release);
    }

    /// Records an event of this device. `event` is given the device's id.
    pub fn record(&self, event: impl FnOnce(Arc<str>) -> Event) {
        self.journal.record(event(self.spec.identity.id.shared()));
    }

    /// Locks the state. The caller holds no other lock of the device.
    fn state(&self) -> StateGuard<'_, NoLock> {
        self.locks.state(NoLock)
    }

    /// Records the events of a transition, increments the change count, and then releases the lock. A
    /// follower therefore never acts on a change that is not counted yet, and for which a reply would not
    /// wait. The observer is notified without the lock, and before the caller goes on.
    fn publish<T, E: IntoIterator<Item = Event>, L>(
        &self,
        state: StateGuard<'_, L>,
        transition: Transition<T, E>,
    ) -> T {
        let Transition { outcome, events, counts } = transition;
        for event in events {
            self.journal.record(event);
        }
        if counts {
            self.changes.increment();
        }
        drop(state);
        if counts {
            self.changes.notify_observer();
        }
        outcome
    }
}
