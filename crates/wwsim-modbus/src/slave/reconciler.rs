//! The reconciler of a slave's listener: it opens and closes the listener as the fault rules require.

use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use wwsim_time::clock::Sleep;
use wwsim_time::inflight::ConnectionRegistry;
use wwsim_time::sockets::{ACCEPT_RETRY, Accepted, Port};

use super::session::SlaveSession;
use super::{ListenerVerdict, Slave, SlaveEvent};
use crate::limits::MODBUS_BACKLOG;
use crate::server::{Acceptor, Connections};

/// Keeps the listener in its desired state, and accepts connections.
#[derive(Debug)]
pub(super) struct SlaveListenerReconciler {
    slave: Arc<Slave>,
    port: Arc<Mutex<Port>>,
    acceptor: Acceptor,
    connection_registry: ConnectionRegistry,
    /// True if a fault rule refuses connections.
    refusing: bool,
    /// True if the listener has to be open but cannot be opened, so that the log says it once.
    open_failed: bool,
    /// The last state that was recorded. The first listening state is not recorded, because a slave
    /// normally listens.
    recorded_listening: bool,
}

impl SlaveListenerReconciler {
    /// Creates a reconciler that has not evaluated the rules yet.
    pub(super) fn new(
        slave: Arc<Slave>,
        port: Arc<Mutex<Port>>,
        connection_registry: ConnectionRegistry,
        connections: Arc<Connections>,
    ) -> Self {
        Self {
            slave,
            port,
            acceptor: Acceptor::new(connections),
            connection_registry,
            refusing: false,
            open_failed: false,
            recorded_listening: true,
        }
    }

    /// Evaluates the rules, and returns the verdict when the listener follows it.
    pub(super) async fn reconcile(&mut self) -> ListenerVerdict {
        let verdict = self.slave.rules.listener(self.refusing);
        if verdict.refuse {
            if !self.refusing {
                self.acceptor.close();
                self.port().close();
                self.acceptor.connections().wait_drained().await;
            }
        } else {
            self.open();
        }
        self.refusing = verdict.refuse;
        self.publish_state();
        self.slave.applied_generation.send_replace(verdict.generation);
        verdict
    }

    /// Accepts connections and reconciles for ever. `verdict` is that of the previous reconciliation.
    pub(super) async fn run(mut self, mut verdict: ListenerVerdict) {
        loop {
            self.accept_until(&mut verdict.until).await;
            // The previous verdict is dropped only when the new one is in effect, because a movement
            // of the clock waits until a timer that fired is dropped.
            verdict = self.reconcile().await;
        }
    }

    /// Accepts connections until the rules must be evaluated again.
    async fn accept_until(&mut self, until: &mut Sleep) {
        loop {
            tokio::select! {
                biased;
                () = &mut *until => return,
                accepted = self.acceptor.accept((!self.refusing).then_some(ACCEPT_RETRY)) => {
                    if let Some(accepted) = accepted {
                        self.admit(accepted);
                    } else {
                        self.open();
                        self.publish_state();
                    }
                }
            }
        }
    }

    fn admit(&self, accepted: Accepted) {
        let stream = self.connection_registry.track_accepted(accepted);
        let session =
            SlaveSession { slave: Arc::clone(&self.slave), peer_info: stream.peer_info() };
        self.acceptor.connections().admit(stream, session);
    }

    fn open(&mut self) {
        if self.acceptor.is_open() {
            return;
        }
        let opened = self.port().open(MODBUS_BACKLOG);
        let failed_before = std::mem::replace(&mut self.open_failed, opened.is_err());
        match opened {
            Ok(listener) => self.acceptor.open(listener),
            Err(error) if !failed_before => {
                let (slave, address) = (&self.slave.name, self.slave.address);
                tracing::warn!(%slave, %address, %error, "cannot listen again, trying on");
            }
            Err(_) => {}
        }
    }

    /// Publishes the state of the listener, and records a change.
    fn publish_state(&mut self) {
        let listening = self.acceptor.is_open();
        self.slave.listening.store(listening, Ordering::Release);
        if listening != self.recorded_listening {
            self.recorded_listening = listening;
            self.slave.events.record(SlaveEvent::Listening { listening });
        }
    }

    fn port(&self) -> MutexGuard<'_, Port> {
        self.port.lock()
    }
}
