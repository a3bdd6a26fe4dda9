//! The simulated peers of a house: the Modbus slaves and HTTP targets that actions reach.
//!
//! Each [`Slave`] and each [`Target`] listens on a real socket. [`crate::net::inflight`] accounts for
//! the bytes on the connections between them and the action client of the same house.

mod slaves;
mod targets;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::CertificateDer;

use self::slaves::HouseSlave;
pub use self::targets::CertificateError;
pub(crate) use self::targets::ReceivedPage;
pub use self::targets::{ReceivedHttpRequest, Target};
use self::targets::{TargetCertificate, TargetServer};
use crate::clock::Clock;
use crate::fault::Engine;
use crate::journal::Journal;
pub use crate::modbus::slave::Slave;
use crate::modbus::slave::{SlaveError, SlaveServer};
use crate::net::gate::ClosedGate;
use crate::net::http::bind_listener;
use crate::net::inflight::ConnectionRegistry;
use crate::outbound::{HostAddress, PeerAddress, PeerKind};
use crate::scenario::{SlavePlan, TargetPlan};

/// Everything that the peers share with the rest of the house.
#[derive(Debug, Clone)]
pub struct PeerContext {
    /// The clock of the house.
    pub clock: Clock,
    /// The fault rules of the house.
    pub engine: Arc<Engine>,
    /// The journal of the house.
    pub journal: Arc<Journal>,
    /// The seed of the house's randomness.
    pub seed: u64,
}

/// An error that prevents the peers from starting. No listener and no task is left behind.
#[derive(Debug, thiserror::Error)]
pub enum PeersError {
    /// A slave cannot be built.
    #[error(transparent)]
    Slave(#[from] SlaveError),
    /// A target's address cannot be bound.
    #[error(
        "HTTP target `{name}` cannot listen on {address}: {source}; free the port or give another"
    )]
    BindTarget {
        /// The target.
        name: Arc<str>,
        /// The address that it should listen on.
        address: SocketAddr,
        /// The error of the system.
        source: io::Error,
    },
    /// A TLS target cannot get a certificate.
    #[error("no certificate for the HTTP targets: {0}")]
    Certificate(#[from] CertificateError),
}

/// The slaves and targets of a house. Dropping this aborts their tasks and closes their listeners;
/// [`Peers::shutdown`] also waits until they have ended.
#[derive(Debug)]
pub struct Peers {
    slaves: Vec<SlaveServer>,
    targets: Vec<(Arc<Target>, TargetServer)>,
    peer_addresses: Vec<PeerAddress>,
    root_certificates: Vec<CertificateDer<'static>>,
    connection_registry: ConnectionRegistry,
}

/// A target whose listener is bound and not yet served.
struct BoundTarget {
    target: Arc<Target>,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
}

impl Peers {
    /// Binds every listener, and only then serves the targets. Slaves are served from
    /// [`Peers::start`] on; until then the kernel holds connections to them.
    ///
    /// # Errors
    /// [`PeersError`] names the peer that cannot be built.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn bind(
        slaves: &[SlavePlan],
        targets: &[TargetPlan],
        context: &PeerContext,
    ) -> Result<Self, PeersError> {
        let connection_registry = ConnectionRegistry::new(context.clock.activity().clone());
        let mut peer_addresses = Vec::new();
        let slaves = slaves
            .iter()
            .map(|plan| {
                let context = HouseSlave::context(plan, context, &connection_registry);
                let server = SlaveServer::bind(&plan.config(), context)?;
                let address = server.slave().address();
                peer_addresses.push(peer_address(
                    PeerKind::Slave,
                    &plan.name,
                    address,
                    &plan.hosts,
                ));
                Ok(server)
            })
            .collect::<Result<Vec<_>, PeersError>>()?;
        let (mut bound, mut root_certificates) = (Vec::new(), Vec::new());
        for plan in targets {
            let certificate = plan.tls.then(|| TargetCertificate::new(plan)).transpose()?;
            let root = certificate.as_ref().map(|certificate| certificate.root.clone());
            root_certificates.extend(root);
            let tls = certificate.map(|certificate| certificate.acceptor);
            let target = BoundTarget::bind(plan, tls, context)?;
            let address = target.target.address();
            peer_addresses.push(peer_address(PeerKind::Target, &plan.name, address, &plan.hosts));
            bound.push(target);
        }
        let targets = bound.into_iter().map(|target| target.serve(&connection_registry));
        Ok(Self {
            slaves,
            targets: targets.collect::<Result<_, _>>()?,
            peer_addresses,
            root_certificates,
            connection_registry,
        })
    }

    /// Serves the slaves, and returns when each listener is open or closed as the fault rules
    /// require.
    pub async fn start(&self) {
        for server in &self.slaves {
            server.start().await;
        }
    }

    /// Ends the connections with a request in flight, and returns when they have ended. Listeners stay open,
    /// but no connection is served: those that wait for their next request, and new ones, wait until the
    /// returned gates are dropped, and connections to slaves until the next [`Peers::start`], too.
    ///
    /// A reset of the house calls [`Peers::reset_contents`] and, once the rules are reset,
    /// [`Peers::start`] after this.
    pub async fn pause(&self) -> Vec<ClosedGate> {
        let mut paused = Vec::with_capacity(self.slaves.len() + self.targets.len());
        for server in &self.slaves {
            paused.push(server.pause().await);
        }
        for (_, server) in &self.targets {
            paused.push(server.pause().await);
        }
        paused
    }

    /// Resets registers, routes and received requests. The caller has reset the clock before.
    pub fn reset_contents(&self) {
        for server in &self.slaves {
            server.slave().reset();
        }
        for (target, _) in &self.targets {
            target.reset();
        }
    }

    /// Closes all listeners and connections, and returns when their tasks have ended and the ports
    /// are free.
    pub async fn shutdown(&self) {
        for server in &self.slaves {
            server.stop().await;
        }
        for (_, server) in &self.targets {
            server.release().await;
        }
        for server in &self.slaves {
            server.release();
        }
    }

    /// Returns the registry of connections between two endpoints of the house.
    #[must_use]
    pub fn connection_registry(&self) -> &ConnectionRegistry {
        &self.connection_registry
    }

    /// Returns the addresses of the slaves and targets, with the hosts that actions use for them.
    #[must_use]
    pub fn peer_addresses(&self) -> &[PeerAddress] {
        &self.peer_addresses
    }

    /// Returns the root certificates of the TLS targets.
    #[must_use]
    pub fn root_certificates(&self) -> &[CertificateDer<'static>] {
        &self.root_certificates
    }

    /// Returns the slaves, in the order of the scenario.
    pub fn slaves(&self) -> impl Iterator<Item = &Arc<Slave>> {
        self.slaves.iter().map(SlaveServer::slave)
    }

    /// Returns a slave by name. `None` if there is none.
    #[must_use]
    pub fn slave(&self, name: &str) -> Option<&Arc<Slave>> {
        self.slaves().find(|slave| slave.name() == name)
    }

    /// Returns the targets, in the order of the scenario.
    pub fn targets(&self) -> impl Iterator<Item = &Arc<Target>> {
        self.targets.iter().map(|(target, _)| target)
    }

    /// Returns a target by name. `None` if there is none.
    #[must_use]
    pub fn target(&self, name: &str) -> Option<&Arc<Target>> {
        self.targets().find(|target| target.name() == name)
    }

    /// Waits until every listener follows the fault rules of this generation
    /// ([`Engine::generation`](crate::fault::Engine::generation)).
    pub async fn wait_rules_applied(&self, generation: u64) {
        for slave in self.slaves() {
            slave.wait_rules_applied(generation).await;
        }
    }
}

impl BoundTarget {
    fn bind(
        plan: &TargetPlan,
        tls: Option<TlsAcceptor>,
        context: &PeerContext,
    ) -> Result<Self, PeersError> {
        let failed = |source| PeersError::BindTarget {
            name: Arc::clone(&plan.name),
            address: plan.listen,
            source,
        };
        let listener = bind_listener(plan.listen).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { target: Arc::new(Target::new(plan, address, context)), listener, tls })
    }

    fn serve(
        self,
        registry: &ConnectionRegistry,
    ) -> Result<(Arc<Target>, TargetServer), PeersError> {
        let Self { target, listener, tls } = self;
        let server = TargetServer::start(Arc::clone(&target), listener, tls, registry.clone());
        let server = server.map_err(|source| PeersError::BindTarget {
            name: target.name().into(),
            address: target.address(),
            source,
        })?;
        Ok((target, server))
    }
}

fn peer_address(
    kind: PeerKind,
    name: &str,
    address: SocketAddr,
    hosts: &[HostAddress],
) -> PeerAddress {
    PeerAddress { kind, name: name.to_owned(), address, hosts: hosts.to_vec() }
}
