//! A listener that opens and closes, with its connections.
//!
//! The owner runs the accept loop: it calls [`Acceptor::accept`] and passes each connection to
//! [`Acceptor::admit`]. A server that refuses closes its listening socket, so that the kernel refuses
//! a connection attempt (ECONNREFUSED), and resets its open connections. The owner decides about
//! the port meanwhile ([`wwsim_time::sockets::Port`]).

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};

use super::{Connection, ModbusHandler};
use wwsim_time::clock::ActivityTracker;
use wwsim_time::inflight::TrackedStream;
use wwsim_time::sockets::Listener;
use wwsim_time::tasks::Tasks;

/// The maximum number of connections whose client has left while its request is in its delay. The
/// request is still carried out, and takes no permit from a client that is connected.
const MAX_ABANDONED: usize = 1000;

/// A listener with its connections.
#[derive(Debug)]
pub struct Acceptor {
    /// The tasks that serve the connections.
    connection_tasks: Arc<Tasks>,
    activity: ActivityTracker,
    /// The listener. `None` while connections are refused.
    listener: Option<Arc<Listener>>,
    /// One permit for each client that may be connected at once.
    client_permits: Arc<Semaphore>,
    /// One permit for each connection that may exist, including those whose client has left.
    connection_permits: Arc<Semaphore>,
    /// The number of connection permits in total.
    max_connections: u32,
    /// Notifies open connections that they have to reset themselves.
    reset_signal: watch::Sender<()>,
}

impl Acceptor {
    /// Creates a closed acceptor for at most `max_clients` clients at once.
    pub fn new(
        connection_tasks: Arc<Tasks>,
        activity: ActivityTracker,
        max_clients: usize,
    ) -> Self {
        let semaphore =
            |permits: usize| Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)));
        let limit = max_clients.saturating_add(MAX_ABANDONED).min(Semaphore::MAX_PERMITS);
        let max_connections = u32::try_from(limit).unwrap_or(u32::MAX);
        Self {
            connection_tasks,
            activity,
            listener: None,
            client_permits: semaphore(max_clients),
            connection_permits: semaphore(usize::try_from(max_connections).unwrap_or(usize::MAX)),
            max_connections,
            reset_signal: watch::Sender::new(()),
        }
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
        self.reset_signal.send_replace(());
    }

    /// Waits until no connection is left.
    pub async fn wait_drained(&self) {
        // All permits are free once every connection has ended. The semaphore is never closed.
        let _ = self.connection_permits.acquire_many(self.max_connections).await;
    }

    /// Waits for the next connection. A closed acceptor returns `None` after `open_retry` of real
    /// time, so that the owner tries to open it again; without `open_retry` it waits for ever.
    pub async fn accept(&self, open_retry: Option<Duration>) -> Option<TcpStream> {
        let Some(listener) = self.listener.as_deref() else {
            let Some(open_retry) = open_retry else { return std::future::pending().await };
            tokio::time::sleep(open_retry).await;
            return None;
        };
        match listener.accept().await {
            Some(stream) => Some(stream),
            // The port was closed by its owner, who also ends the task that waits here.
            None => std::future::pending().await,
        }
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
        let connection = Connection::new(handler, stream);
        let reset_signal = self.reset_signal.subscribe();
        self.connection_tasks.spawn(self.activity.track(async move {
            connection.serve(reset_signal).await;
            drop(connection_permit);
        }));
    }
}
