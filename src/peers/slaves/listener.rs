//! The listener of a slave, which fault rules can close.

use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::net::TcpStream;

use super::Slave;
use super::session::SlaveSession;
use crate::clock::Sleep;
use crate::fault::{FaultListener, Refusing};
use crate::journal::Event;
use crate::modbus::server::{ACCEPT_RETRY, Acceptor, BACKLOG};
use crate::net::inflight::ConnectionRegistry;
use crate::net::sockets::Port;
use crate::tasks::Tasks;

/// Serves a slave's port, and opens and closes it as the fault rules require.
#[derive(Debug)]
pub(crate) struct Supervisor {
    slave: Arc<Slave>,
    port: Arc<Mutex<Port>>,
    acceptor: Acceptor,
    registry: ConnectionRegistry,
    refusing: bool,
    /// The last state in the journal. The first listening state is not recorded, because a slave
    /// normally listens.
    recorded_listening: bool,
}

impl Supervisor {
    /// Creates a supervisor that has not evaluated the rules yet.
    pub(crate) fn new(
        slave: Arc<Slave>,
        port: Arc<Mutex<Port>>,
        registry: ConnectionRegistry,
        connections: Arc<Tasks>,
    ) -> Self {
        let activity = slave.clock().activity().clone();
        let acceptor = Acceptor::new(connections, activity, slave.max_connections);
        Self { slave, port, acceptor, registry, refusing: false, recorded_listening: true }
    }

    /// Evaluates the rules, and returns when the listener follows them.
    pub(crate) async fn apply_rules(&mut self) -> Refusing {
        let rules_state =
            self.slave.engine.refusing(FaultListener::Slave(&self.slave.name), self.refusing);
        if rules_state.refuse {
            if !self.refusing {
                self.acceptor.close();
                self.port().close();
                self.acceptor.wait_drained().await;
            }
        } else {
            self.open();
        }
        self.refusing = rules_state.refuse;
        self.publish_state();
        self.slave.applied.send_replace(rules_state.generation);
        rules_state
    }

    /// Serves for ever, beginning with an evaluation of the rules.
    pub(crate) async fn run(mut self, mut rules_state: Refusing) {
        loop {
            self.serve(&mut rules_state.until).await;
            // The previous evaluation lives until the new one is in effect, and with it the
            // activity of its timer.
            rules_state = self.apply_rules().await;
        }
    }

    /// Accepts connections until the rules must be evaluated again.
    async fn serve(&mut self, until: &mut Sleep) {
        loop {
            tokio::select! {
                biased;
                () = &mut *until => return,
                accepted = self.acceptor.accept((!self.refusing).then_some(ACCEPT_RETRY)) => {
                    if let Some(stream) = accepted {
                        self.admit(stream);
                    } else {
                        self.open();
                        self.publish_state();
                    }
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream) {
        let stream = self.registry.track_server(stream);
        let session =
            SlaveSession { slave: Arc::clone(&self.slave), peer_info: stream.peer_info() };
        self.acceptor.admit(stream, session);
    }

    fn open(&mut self) {
        if self.acceptor.is_open() {
            return;
        }
        let opened = self.port().open(BACKLOG);
        match opened {
            Ok(listener) => self.acceptor.open(listener),
            Err(error) => {
                let (slave, address) = (&self.slave.name, self.slave.address);
                tracing::warn!(%slave, %address, %error, "cannot listen again, trying on");
            }
        }
    }

    /// Publishes whether connections are accepted, and records a change.
    fn publish_state(&mut self) {
        let listening = self.acceptor.is_open();
        self.slave.listening.store(listening, Ordering::Release);
        if listening != self.recorded_listening {
            self.recorded_listening = listening;
            let slave = Arc::clone(&self.slave.name);
            self.slave.journal.record(Event::SlaveListening { slave, listening });
        }
    }

    fn port(&self) -> MutexGuard<'_, Port> {
        self.port.lock()
    }
}
