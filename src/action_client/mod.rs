//! The client side of a device's actions: sends the requests that a device admitted, and classifies
//! the end of each of them.
//!
//! A [`Runner`] starts the tasks of an admitted call. They pass its requests to the [`requester`],
//! which resolves the host ([`resolver`]: the house's own slaves and targets first, then the hosts
//! that the outbound policy allows), sends the request on a connection of its own, and takes the
//! result code from [`classifier`], a pure function of the bytes that were sent and received.
//!
//! ```text
//! Run ─► runner ─► requester ─► resolver ─► modbus | http ─► tap ─► connection to a slave or target
//!                                                             └─► classifier ─► Ticket::finish
//! ```

pub mod classifier;
mod connection;
mod connector;
mod dialer;
mod http;
mod modbus;
mod requester;
pub mod resolver;
mod runner;
mod tap;

use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio_rustls::rustls::pki_types::CertificateDer;

use self::connector::Connector;
use self::dialer::Dialer;
use self::requester::Requester;
use self::resolver::Resolver;
pub use self::runner::Runner;
use crate::clock::Clock;
use crate::fault::Engine;
use crate::journal::Journal;
use crate::net::inflight::ConnectionRegistry;
use crate::outbound::{Broker, Dial, PeerAddress, Policy};

/// Everything that an [`ActionClient`] is built from.
#[derive(Debug)]
pub struct ClientContext {
    /// The clock of the house.
    pub clock: Clock,
    /// The fault rules of the house.
    pub engine: Arc<Engine>,
    /// The journal of the house.
    pub journal: Arc<Journal>,
    /// The slaves and targets of the house, by the hosts that actions use for them.
    pub peers: Vec<PeerAddress>,
    /// Hosts outside the house that actions and MQTT clients may reach.
    pub policy: Policy,
    /// The address on which the control plane of the house listens, which no client reaches. `None` if the
    /// house has none.
    pub control: Option<SocketAddr>,
    /// The brokers that MQTT clients may reach under every policy.
    pub brokers: Vec<Broker>,
    /// The registry of connections between two endpoints of the house.
    pub connection_registry: ConnectionRegistry,
    /// The root certificates of the house's TLS targets.
    pub root_certificates: Vec<CertificateDer<'static>>,
}

/// The shared client of all devices of a house.
#[derive(Debug)]
pub struct ActionClient {
    runner: Arc<Runner>,
    dialer: Arc<Dialer>,
}

impl ActionClient {
    /// Creates the client. It opens no connection until a request is run.
    ///
    /// # Errors
    /// [`TlsSetupError`] if the root certificates cannot be used.
    pub fn new(context: ClientContext) -> Result<Self, TlsSetupError> {
        let resolver =
            Arc::new(Resolver::new(context.peers, context.policy).with_brokers(context.brokers));
        let connector = Connector::new(context.control);
        let requester = Requester {
            clock: context.clock,
            engine: context.engine,
            journal: context.journal,
            resolver: Arc::clone(&resolver),
            connector,
            connection_registry: context.connection_registry,
            tls: http::tls_config(context.root_certificates)?,
            transaction_ids: Mutex::default(),
        };
        Ok(Self {
            runner: Arc::new(Runner::new(Arc::new(requester))),
            dialer: Arc::new(Dialer { resolver, connector }),
        })
    }

    /// Returns the runner that sends the requests of admitted calls.
    #[must_use]
    pub fn runner(&self) -> &Arc<Runner> {
        &self.runner
    }

    /// Returns the dialer that opens the connections of the devices' MQTT clients.
    #[must_use]
    pub fn dialer(&self) -> Arc<dyn Dial> {
        self.dialer.clone()
    }

    /// Aborts all requests that are in progress and waits until their tasks have ended. Their tickets
    /// end with −1. The Modbus transaction ids of every device begin with 1 again.
    pub async fn abort_all(&self) {
        self.runner.abort_all().await;
    }
}

/// The TLS configuration of `https://` actions cannot be built.
#[derive(Debug, thiserror::Error)]
#[error("no TLS for the actions: {0}")]
pub struct TlsSetupError(#[from] tokio_rustls::rustls::Error);
