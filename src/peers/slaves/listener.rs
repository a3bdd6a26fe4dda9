//! The listener of a slave, which rules can close.

use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::net::TcpStream;

use super::Slave;
use super::session::SlaveSession;
use crate::clock::Sleep;
use crate::fault::{FaultListener, Refusing};
use crate::journal::Event;
use crate::modbus::server::{Acceptor, BACKLOG, RETRY};
use crate::net::inflight::ConnectionRegistry;
use crate::net::sockets::Port;
use crate::tasks::Tasks;

/// Serves a slave's port, and opens and closes it as the rules say.
#[derive(Debug)]
pub(crate) struct Supervisor {
    slave: Arc<Slave>,
    port: Arc<Mutex<Port>>,
    door: Acceptor,
    links: ConnectionRegistry,
    refusing: bool,
    /// What the journal was told last; that a slave listens goes without saying.
    announced: bool,
}

impl Supervisor {
    /// A supervisor that follows no rules yet.
    pub(crate) fn new(
        slave: Arc<Slave>,
        port: Arc<Mutex<Port>>,
        links: ConnectionRegistry,
        connections: Arc<Tasks>,
    ) -> Self {
        let motions = slave.clock().activity().clone();
        let door = Acceptor::new(connections, motions, slave.max_connections);
        Self { slave, port, door, links, refusing: false, announced: true }
    }

    /// Asks the rules, and returns when what they say is in force.
    pub(crate) async fn follow(&mut self) -> Refusing {
        let asked =
            self.slave.engine.refusing(FaultListener::Slave(&self.slave.name), self.refusing);
        if asked.refuse {
            if !self.refusing {
                self.door.close();
                self.port().close();
                self.door.drained().await;
            }
        } else {
            self.open();
        }
        self.refusing = asked.refuse;
        self.announce();
        self.slave.applied.send_replace(asked.generation);
        asked
    }

    /// Serves for good, beginning with the rules as they were `asked`.
    pub(crate) async fn run(mut self, mut asked: Refusing) {
        loop {
            self.serve(&mut asked.until).await;
            // The answer before lives on until the new one is in force, and with it the motion of
            // its timer.
            asked = self.follow().await;
        }
    }

    /// Takes connections until the rules are to be asked again.
    async fn serve(&mut self, until: &mut Sleep) {
        loop {
            tokio::select! {
                biased;
                () = &mut *until => return,
                accepted = self.door.accept((!self.refusing).then_some(RETRY)) => {
                    if let Some(stream) = accepted {
                        self.admit(stream);
                    } else {
                        self.open();
                        self.announce();
                    }
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream) {
        let stream = self.links.server(stream);
        let session = SlaveSession { slave: Arc::clone(&self.slave), line: stream.line() };
        self.door.admit(stream, session);
    }

    fn open(&mut self) {
        if self.door.is_open() {
            return;
        }
        let opened = self.port().open(BACKLOG);
        match opened {
            Ok(listener) => self.door.open(listener),
            Err(error) => {
                let (slave, address) = (&self.slave.name, self.slave.address);
                tracing::warn!(%slave, %address, %error, "cannot listen again, trying on");
            }
        }
    }

    /// Lets be known whether connections are taken.
    fn announce(&mut self) {
        let listening = self.door.is_open();
        self.slave.listening.store(listening, Ordering::Release);
        if listening != self.announced {
            self.announced = listening;
            let slave = Arc::clone(&self.slave.name);
            self.slave.journal.write(Event::SlaveListening { slave, listening });
        }
    }

    fn port(&self) -> MutexGuard<'_, Port> {
        self.port.lock()
    }
}
