//! The device's HTTP server: an [`Api`] on a socket.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use tokio::net::{TcpListener, TcpStream};

use super::cors::LocalAddr;
use super::{Api, fault};
use crate::net::gate::{ClosedGate, Gate};
use crate::net::http::{
    DeliveryControl, FaultyStream, OnWake, Served, TcpAcceptor, WriteTimeoutStream, serve_requests,
};
use crate::net::sockets::Port;

/// A device's API on a socket. Dropping it closes the listener and all connections.
pub struct ApiServer {
    api: Arc<Api>,
    listening: TcpAcceptor,
}

impl fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiServer").field("listening", &self.listening).finish_non_exhaustive()
    }
}

impl ApiServer {
    /// Serves `api` on a bound listener, within a tokio runtime.
    ///
    /// # Errors
    /// If the listener has no local address.
    #[cfg(any(test, feature = "internals"))]
    pub fn start(listener: TcpListener, api: Arc<Api>) -> io::Result<Self> {
        Self::start_on(Port::from_listener(listener)?, api)
    }

    /// Serves `api` on an open port.
    pub(crate) fn start_on(port: Port, api: Arc<Api>) -> io::Result<Self> {
        let server = Self::new(port, api);
        server.open()?;
        Ok(server)
    }

    /// Makes a server that refuses connections until [`ApiServer::open`]. Connections that wait on the
    /// port are refused too.
    pub(crate) fn start_closed(port: Port, api: Arc<Api>) -> Self {
        let server = Self::new(port, api);
        server.listening.close_port();
        server
    }

    fn new(port: Port, api: Arc<Api>) -> Self {
        let (activity, served) = (api.clock.activity().clone(), Arc::clone(&api));
        let serve =
            move |stream, gate| activity.track(serve_connection(stream, gate, Arc::clone(&served)));
        Self { api, listening: TcpAcceptor::new(port, serve) }
    }

    /// Returns the address of the listener.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listening.address()
    }

    /// Returns the number of open connections.
    #[must_use]
    #[cfg(any(test, feature = "internals"))]
    pub fn connection_count(&self) -> usize {
        self.listening.connection_count()
    }

    /// Ends the connections with a request in flight, and returns when they have ended. The listener stays
    /// open; connections that wait for their next request, and new ones, wait until the returned value is
    /// dropped.
    pub async fn pause(&self) -> ClosedGate {
        let paused = self.listening.pause().await;
        self.api.streams.abort_all().await;
        paused
    }

    /// Forgets what is remembered of clients: the nonces that were issued to them.
    pub(crate) fn forget_clients(&self) {
        self.api.forget_clients();
    }

    /// Refuses new connections and drops the open ones, and returns when they are gone. The port stays
    /// reserved.
    pub async fn close(&self) {
        self.listening.close().await;
        self.api.streams.abort_all().await;
    }

    /// Accepts connections again. Does nothing if the server is open.
    ///
    /// # Errors
    /// If the port could not be reserved and another process has it.
    pub fn open(&self) -> io::Result<()> {
        self.listening.open()
    }

    /// Closes the listener and all connections and frees the port, and returns when they are gone.
    pub async fn release(&self) {
        self.listening.release().await;
        self.api.streams.abort_all().await;
    }
}

/// Serves one connection to its end.
async fn serve_connection(mut stream: TcpStream, gate: Gate, api: Arc<Api>) {
    // A socket without a local address has lost its client already.
    let local = stream.local_addr().ok().map(LocalAddr);
    loop {
        let mut pass = gate.enter().await;
        // New after each pause: nothing of the requests before it is left.
        let delivery = Arc::new(DeliveryControl::default());
        let stream = WriteTimeoutStream::new(&mut stream);
        let stream = FaultyStream::new(stream, Arc::clone(&delivery), api.clock.clone());
        let service =
            service_fn(|request: Request<Incoming>| fault::answer(&api, request, local, &delivery));
        let mut reset = OnWake::new(delivery.reset_requested());
        let served = tokio::select! {
            biased;
            () = &mut reset => return,
            served = serve_requests(stream, service, &mut pass) => served,
        };
        match served {
            Served::Idle => {}
            Served::Ended(Ok(())) => return,
            Served::Ended(Err(error)) => {
                // The client disconnected or sent invalid HTTP, or a fault rule broke the connection.
                tracing::trace!(%error, "connection ended");
                return;
            }
        }
    }
}
