//! A listener that opens and closes, with its connections.
//!
//! A server that refuses really closes its listening socket, so that a connect gets what the kernel
//! says (ECONNREFUSED), and resets what is open. What becomes of the port meanwhile is its owner's to
//! say ([`crate::net::sockets::Port`]).

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use super::{Connection, ModbusService};
use crate::clock::ActivityTracker;
use crate::limits;
use crate::net::inflight::TrackedStream;
use crate::net::sockets::stop_listening;
use crate::tasks::Tasks;

/// Connections that wait to be accepted.
pub(crate) const BACKLOG: u32 = 1024;
/// Real time before another try after the system refused a socket; it takes that to get one back.
pub(crate) const RETRY: Duration = Duration::from_millis(50);

/// A listener with its connections.
#[derive(Debug)]
pub(crate) struct Acceptor {
    connections: Arc<Tasks>,
    motions: ActivityTracker,
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

impl Acceptor {
    /// A door that is shut, for so many clients at once.
    pub(crate) fn new(connections: Arc<Tasks>, motions: ActivityTracker, most: usize) -> Self {
        let semaphore = |most: usize| Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        let alive = most.saturating_add(limits::SLAVE_ABANDONED);
        let all = u32::try_from(alive.min(Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        let lives = semaphore(usize::try_from(all).unwrap_or(usize::MAX));
        Self {
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

    /// Takes the connections of `listener`.
    pub(crate) fn open(&mut self, listener: Arc<TcpListener>) {
        self.listener = Some(listener);
    }

    /// Lets go of the listener and tells all connections to reset themselves.
    pub(crate) fn close(&mut self) {
        if let Some(listener) = self.listener.take() {
            stop_listening(&listener);
        }
        self.cut.send_replace(());
    }

    /// Returns when no connection is left.
    pub(crate) async fn drained(&self) {
        let (lives, all) = &self.lives;
        // All are free again once every connection is gone. The semaphore is never closed.
        let _ = lives.acquire_many(*all).await;
    }

    /// The next connection. While the door is shut, none after `again`, where it is to be opened
    /// then, and waits for good where not.
    pub(crate) async fn accept(&self, again: Option<Duration>) -> Option<TcpStream> {
        let Some(listener) = self.listener.as_deref() else {
            let Some(again) = again else { return std::future::pending().await };
            tokio::time::sleep(again).await;
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
    pub(crate) fn admit<S>(&self, stream: TrackedStream, service: S)
    where
        S: ModbusService + Send + 'static,
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
