//! A listener that opens and closes, with its connections.
//!
//! The owner runs the accept loop: it calls [`Acceptor::accept`] and passes each connection to
//! [`Connections::admit`]. A server that refuses closes its listening socket, so that the kernel refuses
//! a connection attempt (ECONNREFUSED), and resets its open connections. The owner decides about
//! the port meanwhile ([`wwsim_time::sockets::Port`]).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};

use super::{Connection, ModbusHandler};
use wwsim_time::clock::ActivityTracker;
use wwsim_time::gate::{ClosedGate, Gate};
use wwsim_time::inflight::TrackedStream;
use wwsim_time::sockets::{Accepted, Listener};
use wwsim_time::tasks::Tasks;

/// The maximum number of connections whose client has left while its request is in its delay. The
/// request is still carried out, and takes no permit from a client that is connected.
const MAX_ABANDONED: usize = 1000;

/// The connections of a server, from one listener after another. Dropping this ends them.
#[derive(Debug)]
pub struct Connections {
    tasks: Tasks,
    activity: ActivityTracker,
    /// Closed while the server pauses.
    gate: Gate,
    /// One permit for each client that may be connected at once.
    client_permits: Arc<Semaphore>,
    /// One permit for each connection that may exist, including those whose client has left.
    connection_permits: Arc<Semaphore>,
    /// The number of connection permits in total.
    permit_count: u32,
    /// Notifies open connections that they have to reset themselves.
    reset_signal: watch::Sender<()>,
}

impl Connections {
    /// Creates an empty set for at most `max_clients` clients at once.
    #[must_use]
    pub fn new(activity: ActivityTracker, max_clients: usize) -> Self {
        let semaphore =
            |permits: usize| Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)));
        let limit = max_clients.saturating_add(MAX_ABANDONED).min(Semaphore::MAX_PERMITS);
        let permit_count = u32::try_from(limit).unwrap_or(u32::MAX);
        Self {
            tasks: Tasks::default(),
            activity,
            gate: Gate::default(),
            client_permits: semaphore(max_clients),
            connection_permits: semaphore(usize::try_from(permit_count).unwrap_or(usize::MAX)),
            permit_count,
            reset_signal: watch::Sender::new(()),
        }
    }

    /// Ends the connections with a request in progress or half received, and returns when they have ended.
    /// The others, and new ones, wait until the returned value is dropped; what a connection remembers of
    /// earlier requests is gone then.
    pub async fn pause(&self) -> ClosedGate {
        self.gate.close().await
    }

    /// Drops all connections, and returns when their tasks have ended.
    pub async fn drop_all(&self) {
        self.tasks.abort_all().await;
    }

    /// Notifies all connections to reset themselves, also those that wait for the end of a pause.
    pub fn reset_all(&self) {
        self.reset_signal.send_replace(());
    }

    /// Waits until no connection is left.
    pub async fn wait_drained(&self) {
        // All permits are free once every connection has ended. The semaphore is never closed.
        let _ = self.connection_permits.acquire_many(self.permit_count).await;
    }

    /// Serves a connection in a task of its own. Drops it if there are too many.
    pub fn admit<H>(&self, stream: TrackedStream, handler: H)
    where
        H: ModbusHandler + Send + 'static,
    {
        let (Ok(client_permit), Ok(connection_permit)) = (
            Arc::clone(&self.client_permits).try_acquire_owned(),
            Arc::clone(&self.connection_permits).try_acquire_owned(),
        ) else {
            return;
        };
        stream.hold_permit(client_permit);
        let connection = Box::new(Connection::new(handler, stream));
        let (gate, reset_signal) = (self.gate.clone(), self.reset_signal.subscribe());
        self.tasks.spawn(self.activity.track(async move {
            connection.serve(gate, reset_signal).await;
            drop(connection_permit);
        }));
    }
}

/// A listener that adds to the connections of its server.
#[derive(Debug)]
pub struct Acceptor {
    connections: Arc<Connections>,
    /// The listener. `None` while connections are refused.
    listener: Option<Arc<Listener>>,
}

impl Acceptor {
    /// Creates a closed acceptor.
    #[must_use]
    pub fn new(connections: Arc<Connections>) -> Self {
        Self { connections, listener: None }
    }

    /// Returns the connections of the server.
    #[must_use]
    pub fn connections(&self) -> &Connections {
        &self.connections
    }

    /// Returns true if connections are accepted.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.listener.is_some()
    }

    /// Stores the listener from which [`Acceptor::accept`] takes connections.
    pub fn open(&mut self, listener: Arc<Listener>) {
        self.listener = Some(listener);
    }

    /// Drops the listener and notifies all connections to reset themselves.
    pub fn close(&mut self) {
        if let Some(listener) = self.listener.take() {
            listener.stop();
        }
        self.connections.reset_all();
    }

    /// Waits for the next connection. A closed acceptor returns `None` after `open_retry` of real
    /// time, so that the owner tries to open it again; without `open_retry` it waits for ever.
    pub async fn accept(&self, open_retry: Option<Duration>) -> Option<Accepted> {
        let Some(listener) = self.listener.as_deref() else {
            let Some(open_retry) = open_retry else { return std::future::pending().await };
            tokio::time::sleep(open_retry).await;
            return None;
        };
        match listener.accept_with_addresses().await {
            Some(accepted) => Some(accepted),
            // The port was closed by its owner, who also ends the task that waits here.
            None => std::future::pending().await,
        }
    }
}
