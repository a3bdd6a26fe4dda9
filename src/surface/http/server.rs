//! The device's HTTP server: an [`Api`] on a socket.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use super::cors::LocalAddr;
use super::{Api, fault};
use crate::net::http::{
    DeliveryControl, FaultyStream, ListenerPause, TcpAcceptor, WriteTimeoutStream, http_builder,
};
use crate::net::sockets::Port;
use crate::tasks::Tasks;

/// A device's API on a socket. Dropping it closes the listener and all connections.
#[derive(Debug)]
pub struct ApiServer {
    listening: TcpAcceptor,
    /// The tasks that send to streams; they end with the connections.
    streams: Arc<Tasks>,
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
        let (activity, streams) = (api.clock.activity().clone(), Arc::clone(&api.streams));
        let serve = move |stream| activity.track(serve_connection(stream, Arc::clone(&api)));
        Self { listening: TcpAcceptor::new(port, serve), streams }
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

    /// Drops all connections, and returns when they are gone. The listener stays open; new connections
    /// wait until the returned value is dropped.
    pub async fn pause(&self) -> ListenerPause {
        let paused = self.listening.pause().await;
        self.streams.abort_all().await;
        paused
    }

    /// Refuses new connections and drops the open ones, and returns when they are gone. The port stays
    /// reserved.
    pub async fn close(&self) {
        self.listening.close().await;
        self.streams.abort_all().await;
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
        self.streams.abort_all().await;
    }
}

/// Serves one connection to its end.
async fn serve_connection(stream: TcpStream, api: Arc<Api>) {
    // A socket without a local address has lost its client already.
    let local = stream.local_addr().ok().map(LocalAddr);
    let delivery = Arc::new(DeliveryControl::default());
    let stream = WriteTimeoutStream::new(stream);
    let stream = FaultyStream::new(stream, Arc::clone(&delivery), api.clock.clone());
    let service =
        service_fn(|request: Request<Incoming>| fault::answer(&api, request, local, &delivery));
    let ended = tokio::select! {
        biased;
        () = delivery.reset_requested() => Ok(()),
        ended = http_builder().serve_connection(TokioIo::new(stream), service) => ended,
    };
    if let Err(error) = ended {
        // The client disconnected or sent invalid HTTP, or a fault rule broke the connection.
        tracing::trace!(%error, "connection ended");
    }
}
