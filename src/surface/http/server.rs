//! The device's HTTP server: an [`Api`] on a socket.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use tokio::net::{TcpListener, TcpStream};

use super::cors::LocalAddr;
use super::fault::{self, BrokenConnection};
use super::shared::{Door, SharedPort};
use super::{Api, ReplyBody};
use crate::clock::Clock;
use crate::net::gate::{ClosedGate, Gate};
use crate::net::http::{
    BodyConsumed, DeliveryControl, FaultyStream, OnWake, Served, TcpAcceptor, WriteTimeoutStream,
    serve_requests,
};
use crate::net::sockets::{Port, reachable_address};
use crate::scenario::RouteBy;

/// A device's API on a socket of its own or on a shared port. Dropping it closes a listener of its own and
/// all its connections.
pub struct ApiServer {
    api: Arc<Api>,
    entrance: Entrance,
}

/// The port at which the clients of a device come in.
enum Entrance {
    /// A listener of the device.
    Own(TcpAcceptor),
    /// A port that other devices have, too.
    Shared(Arc<Door>),
}

impl fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiServer").field("address", &self.address()).finish_non_exhaustive()
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
        if let Entrance::Own(listening) = &server.entrance {
            listening.close_port();
        }
        server
    }

    /// Makes a server behind a shared port that refuses requests until [`ApiServer::open`].
    pub(crate) fn start_behind(shared: &SharedPort, api: Arc<Api>) -> Self {
        let entrance = Entrance::Shared(shared.add(&api));
        Self { api, entrance }
    }

    fn new(port: Port, api: Arc<Api>) -> Self {
        let (activity, served) = (api.clock.activity().clone(), Arc::clone(&api));
        let serve =
            move |stream, gate| activity.track(serve_connection(stream, gate, Arc::clone(&served)));
        Self { api, entrance: Entrance::Own(TcpAcceptor::new(port, serve)) }
    }

    /// Returns the address of the listener.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        match &self.entrance {
            Entrance::Own(listening) => listening.address(),
            Entrance::Shared(door) => door.address(),
        }
    }

    /// Returns the URL under which this machine reaches the API, without a slash at the end. On a port that
    /// is shared by host, it leads to the device only with [`ApiServer::host`].
    pub(crate) fn url(&self) -> String {
        let prefix = self.prefix().unwrap_or_default();
        format!("http://{}{prefix}", reachable_address(self.address()))
    }

    /// Returns the prefix that a path needs so that it leads to this device. `None` if there is none.
    pub(crate) fn prefix(&self) -> Option<String> {
        match &self.entrance {
            Entrance::Shared(door) if door.route_by() == RouteBy::Path => {
                Some(format!("/{}", self.api.device.identity().id))
            }
            Entrance::Own(_) | Entrance::Shared(_) => None,
        }
    }

    /// Returns the host that a request needs so that it reaches this device. `None` if any will do.
    pub(crate) fn host(&self) -> Option<String> {
        match &self.entrance {
            Entrance::Shared(door) if door.route_by() == RouteBy::Host => {
                Some(format!("{}.localhost", self.api.device.identity().id).to_ascii_lowercase())
            }
            Entrance::Own(_) | Entrance::Shared(_) => None,
        }
    }

    /// Returns the number of open connections; of a shared port, those whose latest request was for this
    /// device.
    #[must_use]
    #[cfg(any(test, feature = "internals"))]
    pub fn connection_count(&self) -> usize {
        match &self.entrance {
            Entrance::Own(listening) => listening.connection_count(),
            Entrance::Shared(door) => door.connection_count(),
        }
    }

    /// Ends the connections with a request in flight, and returns when they have ended. The listener stays
    /// open; connections that wait for their next request, and new ones, wait until the returned value is
    /// dropped. A shared port returns none: [`SharedPort::pause`] is called first.
    pub async fn pause(&self) -> Option<ClosedGate> {
        let paused = match &self.entrance {
            Entrance::Own(listening) => Some(listening.pause().await),
            Entrance::Shared(_) => None,
        };
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
        match &self.entrance {
            Entrance::Own(listening) => listening.close().await,
            Entrance::Shared(door) => door.close().await,
        }
        self.api.streams.abort_all().await;
    }

    /// Accepts connections again. Does nothing if the server is open.
    ///
    /// # Errors
    /// If the port could not be reserved and another process has it.
    pub fn open(&self) -> io::Result<()> {
        match &self.entrance {
            Entrance::Own(listening) => return listening.open(),
            Entrance::Shared(door) => door.open(),
        }
        Ok(())
    }

    /// Closes the listener and all connections and frees the port, and returns when they are gone. A shared
    /// port stays open for the others.
    pub async fn release(&self) {
        match &self.entrance {
            Entrance::Own(listening) => listening.release().await,
            Entrance::Shared(door) => door.close().await,
        }
        self.api.streams.abort_all().await;
    }
}

/// The party that answers the requests of a connection: a device, or a port that passes them on.
pub(super) trait AnswerRequests: Send + Sync {
    /// Returns the clock of the house.
    fn clock(&self) -> &Clock;

    /// Waits until the connection is to end, whatever it waits for.
    fn ended(&self) -> impl Future<Output = ()> + Send;

    /// Answers a request.
    fn answer(
        &self,
        request: Request<Incoming>,
        local: Option<LocalAddr>,
        delivery: &Arc<DeliveryControl>,
    ) -> impl Future<Output = Result<Response<ReplyBody<BodyConsumed>>, BrokenConnection>> + Send;
}

impl AnswerRequests for Arc<Api> {
    fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Waits for ever: the acceptor ends the connections of a device.
    fn ended(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        local: Option<LocalAddr>,
        delivery: &Arc<DeliveryControl>,
    ) -> Result<Response<ReplyBody<BodyConsumed>>, BrokenConnection> {
        fault::answer(self, request, local, delivery).await
    }
}

/// Serves one connection to its end.
pub(super) async fn serve_connection(
    mut stream: TcpStream,
    gate: Gate,
    answers: impl AnswerRequests,
) {
    // A socket without a local address has lost its client already.
    let local = stream.local_addr().ok().map(LocalAddr::of_own_port);
    loop {
        let mut pass = gate.enter().await;
        // New after each pause: nothing of the requests before it is left.
        let delivery = Arc::new(DeliveryControl::default());
        let stream = WriteTimeoutStream::new(&mut stream);
        let stream = FaultyStream::new(stream, Arc::clone(&delivery), answers.clock().clone());
        let service =
            service_fn(|request: Request<Incoming>| answers.answer(request, local, &delivery));
        let mut ended = OnWake::new(async {
            tokio::select! {
                biased;
                () = delivery.reset_requested() => {}
                () = answers.ended() => {}
            }
        });
        let served = tokio::select! {
            biased;
            () = &mut ended => return,
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
