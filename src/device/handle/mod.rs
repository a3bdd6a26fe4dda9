//! The handle of a device: its pure core behind a lock, with the clock, the journal and the fault rules.
//!
//! Every operation has the same form: it takes the state lock, runs one transition of the
//! `core`, and publishes the result. The rules are asked and the journal is written
//! under the lock, so that both know the order in which things happened, and a client that sees a final
//! status finds it in the journal. Neither of them ever calls a device. Nothing is awaited or encoded
//! under the lock.

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
        let sd = hardware.sd_card.clone().map(|plan| SdCard::new(plan, setup.sd_dir));
        let spec = DeviceSpec {
            identity,
            action_policy: setup.actions,
            access: setup.access,
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

    /// Returns the behaviour of its actions.
    #[must_use]
    pub fn action_policy(&self) -> ActionPolicy {
        self.spec.action_policy
    }

    /// Returns the access policy.
    #[must_use]
    pub fn access(&self) -> &AccessPolicy {
        &self.spec.access
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

    /// Returns the count of the changes of the house's fault rules.
    pub(crate) fn rule_changes(&self) -> watch::Receiver<u64> {
        self.engine.changes()
    }

    /// Returns the current state, without the meter.
    #[must_use]
    pub fn view(&self) -> View {
        self.state().view()
    }

    /// Returns whether the MQTT client is connected to a broker.
    #[must_use]
    pub fn broker_connected(&self) -> bool {
        self.broker_connected.load(Ordering::Acquire)
    }

    /// Notes whether the MQTT client is connected to a broker.
    pub fn set_broker_connected(&self, connected: bool) {
        self.broker_connected.store(connected, Ordering::Release);
    }

    /// Writes an event of this device to the journal. `event` is given the device's id.
    pub fn record(&self, event: impl FnOnce(Arc<str>) -> Event) {
        self.journal.record(event(self.spec.identity.id.shared()));
    }

    /// Locks the state. The caller holds no other lock of the device.
    fn state(&self) -> StateGuard<'_, NoLock> {
        self.locks.state(NoLock)
    }

    /// Writes the events of a transition to the journal, counts it, and then releases the lock. A
    /// follower therefore never acts on a change that does not count yet, and that a reply would not
    /// wait for.
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
        outcome
    }
}
