//! Connections: accepting them, serving them, dropping them.

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
    DeliveryControl, FaultyStream, ListenerPause, TcpAcceptor, WriteLimited, http_builder,
};
use crate::net::sockets::Port;
use crate::tasks::Tasks;

/// A device's API on a socket. Dropping it closes the listener and all connections.
#[derive(Debug)]
pub struct ApiServer {
    listening: TcpAcceptor,
    /// What feeds the streams of its connections; ends with them.
    streams: Arc<Tasks>,
}

impl ApiServer {
    /// Serves `api` on a bound listener, within a tokio runtime.
    ///
    /// # Errors
    /// Where the listener does not tell its address.
    pub fn start(listener: TcpListener, api: Arc<Api>) -> io::Result<Self> {
        Self::start_on(Port::from_listener(listener)?, api)
    }

    /// The same on a port that is open.
    pub(crate) fn start_on(port: Port, api: Arc<Api>) -> io::Result<Self> {
        let server = Self::new(port, api);
        server.open()?;
        Ok(server)
    }

    /// The same, but connections are refused until [`ApiServer::open`]. None that came before is taken.
    pub(crate) fn start_shut(port: Port, api: Arc<Api>) -> Self {
        let server = Self::new(port, api);
        server.listening.close_port();
        server
    }

    fn new(port: Port, api: Arc<Api>) -> Self {
        let (motions, streams) = (api.clock.activity().clone(), Arc::clone(&api.streams));
        let serve = move |stream| motions.track(connection(stream, Arc::clone(&api)));
        Self { listening: TcpAcceptor::new(port, serve), streams }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listening.address()
    }

    /// How many connections are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.listening.connections()
    }

    /// Drops all connections, and returns when they are gone. The listener stays; whoever connects
    /// waits until the returned value is dropped.
    pub async fn pause(&self) -> ListenerPause {
        let paused = self.listening.pause().await;
        self.streams.abort_all().await;
        paused
    }

    /// Refuses connections and drops those there are, and returns when they are gone. The port
    /// stays the server's own.
    pub async fn shut(&self) {
        self.listening.close().await;
        self.streams.abort_all().await;
    }

    /// Takes connections again; nothing happens where it does.
    ///
    /// # Errors
    /// Where the port could not be kept and somebody else has it.
    pub fn open(&self) -> io::Result<()> {
        self.listening.open()
    }

    /// Closes the listener and all connections, and returns when they are gone.
    pub async fn close(&self) {
        self.listening.release().await;
        self.streams.abort_all().await;
    }
}

/// Serves one connection to its end.
async fn connection(stream: TcpStream, api: Arc<Api>) {
    // Where the socket does not tell, the client is gone already.
    let local = stream.local_addr().ok().map(LocalAddr);
    let wire = Arc::new(DeliveryControl::default());
    let stream = WriteLimited::new(stream);
    let stream = FaultyStream::new(stream, Arc::clone(&wire), api.clock.clone());
    let service =
        service_fn(|request: Request<Incoming>| fault::answer(&api, request, local, &wire));
    let ended = tokio::select! {
        biased;
        () = wire.reset_requested() => Ok(()),
        ended = http_builder().serve_connection(TokioIo::new(stream), service) => ended,
    };
    if let Err(error) = ended {
        // The client left or sent nonsense, or a fault broke the connection.
        tracing::trace!(%error, "connection ended");
    }
}
