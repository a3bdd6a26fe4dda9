//! The listener of a slave, which rules can close.
//!
//! A slave that refuses really closes its listening socket, so that a connect gets what the kernel
//! says (ECONNREFUSED), and resets what is open. Its port stays reserved meanwhile, see [`Port`].

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use super::Slave;
use super::connection::Connection;
use crate::clock::Sleep;
use crate::fault::Refusing;
use crate::journal::Event;
use crate::limits;
use crate::outside::link::Links;
use crate::sockets::Port;
use crate::tasks::Tasks;

/// Connections that wait to be accepted.
pub(crate) const BACKLOG: u32 = 1024;
/// Real time before another try after the system refused a socket; it takes that to get one back.
const RETRY: Duration = Duration::from_millis(50);

/// Serves a slave's port, and opens and closes it as the rules say.
#[derive(Debug)]
pub(crate) struct Supervisor {
    slave: Arc<Slave>,
    port: Arc<Mutex<Port>>,
    links: Links,
    connections: Arc<Tasks>,
    /// Set while connections are taken.
    listener: Option<Arc<TcpListener>>,
    refusing: bool,
    /// What the journal was told last; that a slave listens goes without saying.
    announced: bool,
    /// One for each client that may be there at once.
    places: Arc<Semaphore>,
    /// One for each connection that may be alive, those without a client among them; and how many
    /// there are in all.
    lives: (Arc<Semaphore>, u32),
    /// Tells open connections to reset themselves.
    cut: watch::Sender<()>,
}

impl Supervisor {
    /// A supervisor that follows no rules yet.
    pub(crate) fn new(
        slave: Arc<Slave>,
        port: Arc<Mutex<Port>>,
        links: Links,
        connections: Arc<Tasks>,
    ) -> Self {
        let semaphore = |most: usize| Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        let places = semaphore(slave.max_connections);
        let alive = slave.max_connections.saturating_add(limits::SLAVE_ABANDONED);
        let all = u32::try_from(alive.min(Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        let lives = semaphore(usize::try_from(all).unwrap_or(usize::MAX));
        Self {
            slave,
            port,
            links,
            connections,
            listener: None,
            refusing: false,
            announced: true,
            places,
            lives: (lives, all),
            cut: watch::Sender::new(()),
        }
    }

    /// Asks the rules, and returns when what they say is in force.
    pub(crate) async fn follow(&mut self) -> Refusing {
        let asked = self.slave.engine.refusing(&self.slave.name, self.refusing);
        if asked.refuse {
            if !self.refusing {
                self.close().await;
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
                accepted = accept(self.listener.as_deref(), self.refusing) => {
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
        let (Ok(place), Ok(life)) = (
            Arc::clone(&self.places).try_acquire_owned(),
            Arc::clone(&self.lives.0).try_acquire_owned(),
        ) else {
            return;
        };
        stream.takes(place);
        let connection = Connection::new(Arc::clone(&self.slave), stream);
        let cut = self.cut.subscribe();
        self.connections.spawn(self.slave.clock.motions().track(async move {
            connection.serve(cut).await;
            drop(life);
        }));
    }

    fn open(&mut self) {
        if self.listener.is_some() {
            return;
        }
        let opened = self.port().open(self.slave.address, BACKLOG);
        match opened {
            Ok(listener) => self.listener = Some(listener),
            Err(error) => {
                let (slave, address) = (&self.slave.name, self.slave.address);
                tracing::warn!(%slave, %address, %error, "cannot listen again, trying on");
            }
        }
    }

    async fn close(&mut self) {
        self.listener = None;
        self.port().close(self.slave.address);
        self.cut.send_replace(());
        let (lives, all) = &self.lives;
        // All are free again once every connection is gone. The semaphore is never closed.
        let _ = lives.acquire_many(*all).await;
    }

    /// Lets be known whether connections are taken.
    fn announce(&mut self) {
        let listening = self.listener.is_some();
        self.slave.listening.store(listening, Ordering::Release);
        if listening != self.announced {
            self.announced = listening;
            let slave = Arc::clone(&self.slave.name);
            self.slave.journal.write(Event::SlaveListening { slave, listening });
        }
    }

    fn port(&self) -> MutexGuard<'_, Port> {
        self.port.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The next connection; none where the port is to be opened, after a pause. Waits for good while
/// the slave refuses.
async fn accept(listener: Option<&TcpListener>, refusing: bool) -> Option<TcpStream> {
    loop {
        match listener {
            None if refusing => return std::future::pending().await,
            None => {
                tokio::time::sleep(RETRY).await;
                return None;
            }
            Some(listener) => match listener.accept().await {
                Ok((stream, _)) => {
                    // Where it fails, the client is gone already.
                    let _ = stream.set_nodelay(true);
                    return Some(stream);
                }
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(RETRY).await;
                }
            },
        }
    }
}
