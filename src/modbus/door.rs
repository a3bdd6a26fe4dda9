//! A port that opens and closes.
//!
//! A server that refuses really closes its listening socket, so that a connect gets what the kernel
//! says (ECONNREFUSED), and resets what is open. Its port may stay reserved meanwhile.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use super::{Connection, Service};
use crate::clock::Motions;
use crate::limits;
use crate::link::Linked;
use crate::sockets::Port;
use crate::tasks::Tasks;

/// Connections that wait to be accepted.
pub(crate) const BACKLOG: u32 = 1024;
/// Real time before another try after the system refused a socket; it takes that to get one back.
const RETRY: Duration = Duration::from_millis(50);

/// A port with its connections.
#[derive(Debug)]
pub(crate) struct Door {
    port: Arc<Mutex<Port>>,
    connections: Arc<Tasks>,
    motions: Motions,
    /// Set while connections are taken.
    listener: Option<Arc<TcpListener>>,
    /// One for each client that may be there at once.
    places: Arc<Semaphore>,
    /// One for each connection that may be alive, those without a client among them; and how many
    /// there are in all.
    lives: (Arc<Semaphore>, u32),
    /// Tells open connections to reset themselves.
    cut: watch::Sender<()>,
}

impl Door {
    /// A door that is not open yet.
    pub(crate) fn new(
        port: Arc<Mutex<Port>>,
        connections: Arc<Tasks>,
        motions: Motions,
        most: usize,
    ) -> Self {
        let semaphore = |most: usize| Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        let alive = most.saturating_add(limits::SLAVE_ABANDONED);
        let all = u32::try_from(alive.min(Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        let lives = semaphore(usize::try_from(all).unwrap_or(usize::MAX));
        Self {
            port,
            connections,
            motions,
            listener: None,
            places: semaphore(most),
            lives: (lives, all),
            cut: watch::Sender::new(()),
        }
    }

    /// Whether connections are taken.
    pub(crate) fn is_open(&self) -> bool {
        self.listener.is_some()
    }

    /// Takes connections at `address`, where it does not do so already.
    pub(crate) fn open(&mut self, address: SocketAddr) -> io::Result<()> {
        if self.listener.is_none() {
            self.listener = Some(port(&self.port).open(address, BACKLOG)?);
        }
        Ok(())
    }

    /// Goes over to a port that was opened beside this one; connections to this one are reset.
    pub(crate) async fn replace(&mut self, opened: Port) {
        self.listener = match &opened {
            Port::Open(listener) => Some(Arc::clone(listener)),
            Port::Reserved(_) | Port::Lost => None,
        };
        *port(&self.port) = opened;
        self.reset_connections().await;
    }

    /// Closes the port, resets all connections, and returns when they are gone.
    pub(crate) async fn close(&mut self, address: SocketAddr, keep: bool) {
        self.listener = None;
        {
            let mut port = port(&self.port);
            if keep {
                port.close(address);
            } else {
                *port = Port::Lost;
            }
        }
        self.reset_connections().await;
    }

    /// Resets all connections, and returns when they are gone.
    async fn reset_connections(&self) {
        self.cut.send_replace(());
        let (lives, all) = &self.lives;
        // All are free again once every connection is gone. The semaphore is never closed.
        let _ = lives.acquire_many(*all).await;
    }

    /// The next connection; none where the port is to be opened, after a pause. Waits for good where
    /// it is `closed` on purpose.
    pub(crate) async fn accept(&self, closed: bool) -> Option<TcpStream> {
        let Some(listener) = self.listener.as_deref() else {
            if closed {
                return std::future::pending().await;
            }
            tokio::time::sleep(RETRY).await;
            return None;
        };
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    // Where it fails, the client is gone already.
                    let _ = stream.set_nodelay(true);
                    return Some(stream);
                }
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// Serves a connection, or drops it where there are too many.
    pub(crate) fn admit<S>(&self, stream: Linked, service: S)
    where
        S: Service + Send + 'static,
    {
        let (Ok(place), Ok(life)) = (
            Arc::clone(&self.places).try_acquire_owned(),
            Arc::clone(&self.lives.0).try_acquire_owned(),
        ) else {
            return;
        };
        stream.takes(place);
        let connection = Connection::new(service, stream);
        let cut = self.cut.subscribe();
        self.connections.spawn(self.motions.track(async move {
            connection.serve(cut).await;
            drop(life);
        }));
    }
}

fn port(port: &Mutex<Port>) -> MutexGuard<'_, Port> {
    port.lock().unwrap_or_else(PoisonError::into_inner)
}
