//! The core of a device: its state, and the transitions from one state to the next.
//!
//! The core is pure. A transition takes the state, a command, and the time if it needs one. It returns
//! a [`Transition`]: the outcome for the caller, the events for the journal, and whether the change
//! counts. The core has no clock, no lock, no task, no file, no journal and no fault engine; the
//! `handle` module has those. A verdict of the fault rules comes in as an argument, or as a closure if it may
//! be asked for only after some checks.
//!
//! [`Device`](super::Device) runs a transition and publishes its events under one lock, so that the journal has the
//! events in the order in which they happened.

mod calls;
mod configuration;
mod lifecycle;
mod persistence;
mod reception;
mod script;

use std::sync::Arc;

pub(super) use self::calls::AdmittedRequest;
pub(super) use self::configuration::ConfigChange;
pub use self::persistence::{DeviceDocument, ResumeError, ResumePoint};
pub(super) use self::reception::{MeterInput, encryption_key, listener};
pub(super) use self::script::ScriptChange;
use super::actions::{ActionPolicy, Definition, Queue, RequestStatus};
use super::network::{Pairing, Site};
use super::power::Supercapacitor;
use super::script::ScriptState;
use super::{AccessPolicy, Boot, Config, Firmware, Hardware, Identity, Power, View};
use crate::clock::VirtualTime;
use crate::journal::Event;
use crate::meter::ReceptionCursor;

/// The facts of a device that do not change while its process runs.
#[derive(Debug)]
pub(super) struct DeviceSpec {
    pub identity: Identity,
    pub action_policy: ActionPolicy,
    pub access_policy: Arc<AccessPolicy>,
    pub hardware: Arc<Hardware>,
    pub site: Arc<Site>,
    /// The seed of all random values of the device.
    pub seed: u64,
    pub initial: InitialState,
}

/// The part of the state that the scenario sets, and to which a reset returns.
#[derive(Debug)]
pub(super) struct InitialState {
    pub firmware: Firmware,
    pub definition: Option<Arc<Definition>>,
    pub config: Arc<Config>,
}

/// The state of a device.
#[derive(Debug)]
pub(super) struct DeviceState {
    definition: Option<Arc<Definition>>,
    config: Arc<Config>,
    firmware: Firmware,
    boot: Boot,
    power: Power,
    /// True if a reboot follows as soon as the current reply is sent.
    reboot_pending: bool,
    /// The firmware that the next start runs. `None` if it is the current one.
    next_firmware: Option<Firmware>,
    /// True if the device has no network until its next start (`services.sd.recorder_mode`).
    offline: bool,
    supercapacitor: Supercapacitor,
    script: ScriptState,
    reception: ReceptionCursor,
    /// The WPS pairing in progress. It belongs to the boot in which it was started, so each new boot
    /// ends it.
    pairing: Option<Pairing>,
    queue: Queue,
    /// The number of resets and reboots. A request that was admitted in an earlier epoch has no effect.
    epoch: u64,
}

/// The result of a transition. `E` is the collection of its events: an array or an option on the path
/// of a call, so that nothing is allocated there.
#[derive(Debug)]
#[must_use = "the events of a transition belong in the journal"]
pub(super) struct Transition<T, E = Vec<Event>> {
    /// The value for the caller.
    pub outcome: T,
    /// The events for the journal, in their order.
    pub events: E,
    /// True if the transition increments the change count of the device: it changed state that outlives the
    /// process, or on which a follower acts.
    pub counts: bool,
}

impl<T> Transition<T, Option<Event>> {
    /// A transition that changed nothing.
    fn unchanged(outcome: T) -> Self {
        Self { outcome, events: None, counts: false }
    }

    /// A change that counts, with its event.
    fn counted(outcome: T, event: Event) -> Self {
        Self { outcome, events: Some(event), counts: true }
    }
}

impl DeviceState {
    /// Returns the state of a device that starts for the first time.
    pub(super) fn new(spec: &DeviceSpec) -> Self {
        let DeviceSpec { identity, initial, site, seed, .. } = spec;
        Self {
            definition: initial.definition.clone(),
            config: Arc::clone(&initial.config),
            firmware: initial.firmware,
            boot: Boot::first(&identity.id, *seed),
            power: Power::Up,
            reboot_pending: false,
            next_firmware: None,
            offline: lifecycle::only_records(&initial.config, initial.firmware, site),
            supercapacitor: Supercapacitor::default(),
            script: ScriptState::default(),
            reception: ReceptionCursor::new(VirtualTime::ZERO),
            pairing: None,
            queue: Queue::new(spec.action_policy.first_status_id()),
            epoch: 0,
        }
    }

    pub(super) fn view(&self) -> View {
        View {
            config: Arc::clone(&self.config),
            firmware: self.firmware,
            boot: self.boot,
            pairing: self.pairing,
        }
    }

    pub(super) fn definition(&self) -> Option<&Arc<Definition>> {
        self.definition.as_ref()
    }

    pub(super) fn power(&self) -> Power {
        self.power
    }

    pub(super) fn is_offline(&self) -> bool {
        self.offline
    }

    pub(super) fn is_script_running(&self) -> bool {
        self.script.running
    }

    /// Returns the voltage of the supercapacitor at `now`.
    pub(super) fn supercapacitor_volts(&self, now: VirtualTime) -> f64 {
        self.supercapacitor.volts(now)
    }

    /// Returns the entries of these status ids in the given order, without the unknown ones.
    pub(super) fn request_statuses(&self, ids: &[u64]) -> Vec<RequestStatus> {
        self.queue.status(ids)
    }

    /// Returns the number of requests in progress.
    pub(super) fn requests_in_progress(&self) -> usize {
        self.queue.in_progress()
    }
}
