//! The reconciler of the device's Modbus listener: it opens, closes and moves the listener until it is as
//! the device's settings and the fault rules require.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::session::DeviceSession;
use super::{ListenState, ServerShared, desired_port};
use crate::clock::{Sleep, VirtualTime};
use crate::fault::FaultListener;
use crate::modbus::limits::MODBUS_BACKLOG;
use crate::modbus::server::{Acceptor, Connections};
use crate::net::sockets::{self, Accepted, Listener};

/// Real time before the next attempt to bind a port that was in use.
const BIND_RETRY: Duration = Duration::from_secs(1);

/// Keeps the listener in its desired state, and accepts connections.
#[derive(Debug)]
pub(super) struct DeviceListenerReconciler {
    shared: Arc<ServerShared>,
    acceptor: Acceptor,
    /// The address of the listener. `None` if it is closed.
    address: Option<SocketAddr>,
    /// True if the device must not listen, whatever the rules say.
    off: bool,
    /// True if a fault rule refuses connections.
    refusing: bool,
    /// True if the listener has to be open but cannot be bound.
    bind_failed: bool,
    /// Ends when the fault rules have to be evaluated again.
    next_evaluation: Sleep,
}

/// The fault rules that the listener follows.
#[derive(Debug)]
struct AppliedRules {
    generation: u64,
    /// The timer of the previous evaluation. It lives until the new state is published, because a
    /// movement of the clock waits until a timer that fired is dropped.
    _previous: Sleep,
}

impl DeviceListenerReconciler {
    /// Makes a reconciler and brings the listener to its desired state.
    pub(super) fn new(shared: Arc<ServerShared>, connections: Arc<Connections>) -> Self {
        let mut reconciler = Self {
            acceptor: Acceptor::new(connections),
            address: None,
            off: false,
            refusing: false,
            bind_failed: false,
            next_evaluation: shared.parts.clock.sleep_until(VirtualTime::MAX),
            shared,
        };
        let change = *reconciler.shared.parts.device.changes().borrow();
        let rules = reconciler.reconcile();
        reconciler.publish_applied(rules, change);
        reconciler
    }

    /// Returns the address of the listener. `None` if it is closed.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Reconciles after each change, and accepts connections, until the device must not listen any more.
    pub(super) async fn run(mut self) {
        let mut changes = self.shared.parts.device.changes();
        // The first iteration handles the changes since `new`.
        changes.mark_changed();
        loop {
            let retry = self.bind_failed.then_some(BIND_RETRY);
            tokio::select! {
                biased;
                result = changes.changed() => if result.is_err() { return },
                () = &mut self.next_evaluation => {}
                accepted = self.acceptor.accept(retry) => {
                    if let Some(accepted) = accepted {
                        self.admit(accepted);
                        continue;
                    }
                }
            }
            let before = self.address;
            // Read before the device's state, so that a later change causes another iteration.
            let change = *changes.borrow_and_update();
            let rules = self.reconcile();
            if before.is_some() && before != self.address {
                self.acceptor.connections().wait_drained().await;
            }
            self.publish_applied(rules, change);
            if self.off {
                return;
            }
        }
    }

    /// Publishes that the listener follows these rules, and the device's changes up to `change`.
    #[expect(clippy::needless_pass_by_value, reason = "its timer is dropped after the publication")]
    fn publish_applied(&self, rules: AppliedRules, change: u64) {
        self.shared.published().applied_generation.send_replace(rules.generation);
        self.shared.parts.device.set_modbus_applied(Some(change));
    }

    fn admit(&self, accepted: Accepted) {
        let stream = self.shared.parts.connection_registry.track_accepted(accepted);
        self.acceptor.connections().admit(stream, DeviceSession::new(Arc::clone(&self.shared)));
    }

    /// Brings the listener to its desired state.
    fn reconcile(&mut self) -> AppliedRules {
        let parts = &self.shared.parts;
        let desired = desired_port(&parts.device);
        self.off = desired.is_err();
        let port = match desired {
            Ok(port) => port,
            Err(reason) => {
                self.refusing = false;
                let enabled = parts.device.view().config.settings.services.modbus.enable;
                self.close(enabled.then(|| reason.to_string()));
                // No rule can open the listener now, so every generation of the rules is applied.
                let never = self.shared.parts.clock.sleep_until(VirtualTime::MAX);
                return self.applied_rules(never, u64::MAX);
            }
        };
        let id = &parts.device.identity().id;
        let verdict = parts.engine.listener(FaultListener::Modbus(id.as_str()), self.refusing);
        self.refusing = verdict.refuse;
        if verdict.refuse {
            self.close(Some("a fault rule has it refuse".to_owned()));
        } else {
            self.open(port);
        }
        self.applied_rules(verdict.until, verdict.generation)
    }

    fn applied_rules(&mut self, next_evaluation: Sleep, generation: u64) -> AppliedRules {
        let previous = std::mem::replace(&mut self.next_evaluation, next_evaluation);
        AppliedRules { generation, _previous: previous }
    }

    fn close(&mut self, note: Option<String>) {
        self.bind_failed = false;
        if self.address.take().is_some() {
            self.acceptor.close();
        }
        // A reconciler before this one may have left the listener open.
        self.shared.close_scenario_port();
        self.publish_state(note);
    }

    /// Opens the listener at the address of the device's port. If that is impossible, the listener
    /// stays at its address, or opens at the address of the scenario.
    fn open(&mut self, device_port: u16) {
        let desired = self.shared.address_of(device_port);
        let scenario_address = self.shared.scenario_address();
        if self.address == Some(desired) {
            self.publish_state(None);
            return;
        }
        let Err(error) = self.move_to(desired) else {
            self.publish_state(None);
            return;
        };
        let fallback = match self.address {
            Some(address) => Some(address),
            None if desired == scenario_address => None,
            None => self.move_to(scenario_address).is_ok().then(|| self.shared.scenario_address()),
        };
        let then = fallback
            .map_or_else(|| "tries again".to_owned(), |address| format!("stays on {address}"));
        if fallback.is_none() && !self.bind_failed {
            let device = &self.shared.parts.device.identity().id;
            tracing::warn!(%device, wanted = %desired, %error, "the Modbus server cannot listen");
        }
        self.bind_failed = fallback.is_none();
        self.publish_state(Some(format!("cannot listen on {desired}: {error}; {then}")));
    }

    fn move_to(&mut self, address: SocketAddr) -> io::Result<()> {
        if address == self.shared.scenario_address() {
            let mut port = self.shared.port();
            let listener = port.open(MODBUS_BACKLOG)?;
            let address = port.address();
            drop(port);
            self.replace_listener(address, listener);
        } else {
            let listener = sockets::bind_socket(address)?.listen(MODBUS_BACKLOG)?;
            self.replace_listener(address, Arc::new(Listener::new(listener)));
            self.shared.close_scenario_port();
        }
        Ok(())
    }

    fn replace_listener(&mut self, address: SocketAddr, listener: Arc<Listener>) {
        self.bind_failed = false;
        if self.address.is_some() {
            self.acceptor.close();
        }
        self.address = Some(address);
        self.acceptor.open(listener);
    }

    /// Publishes the state of the listener.
    fn publish_state(&self, note: Option<String>) {
        let listening = self.address.filter(|_| self.acceptor.is_open());
        self.shared.update_state(ListenState { listening, note });
    }
}
