//! What lies outside the devices: the slaves and HTTP targets that their actions reach, and the
//! requesters that reach them.
//!
//! A [`Runner`] carries out what a device admitted: it [`resolve`]s the host (the house's own peers
//! first, then what the outbound policy allows), sends the request on a connection of its own, and
//! has the result code from [`classify`], a pure function over the bytes. [`Slave`]s and [`Target`]s
//! are real listeners. Between the two, [`crate::inflight`] accounts for what is on its way through the kernel.
//!
//! ```text
//! Run ─► runner ─► requester ─► resolve ─► modbus | http ─► tap ─► link ═ link ─► slaves | targets
//!                                                            └─► classify ─► Ticket::finish
//! ```

pub mod classify;
mod dial;
mod http;
mod modbus;
mod requester;
pub mod resolve;
mod runner;
mod slaves;
mod tap;
mod targets;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use self::dial::Dialer;
use self::requester::Requester;
use self::resolve::Resolver;
pub use self::runner::Runner;
pub use self::slaves::Slave;
use self::slaves::Supervisor;
pub use self::targets::{ReceivedHttpRequest, Target};
use self::targets::{TargetCertificate, TargetServer};
use crate::bank::LayoutError;
use crate::clock::Clock;
use crate::fault::Engine;
use crate::inflight::ConnectionRegistry;
use crate::journal::Journal;
use crate::modbus::BACKLOG;
use crate::outbound::{Broker, Dial, HostAddress, Peer, PeerKind, Policy};
use crate::scenario::{SlavePlan, TargetPlan};
use crate::sockets::Port;
use crate::surface::http::ListenerPause;
use crate::surface::http::server::bind;
use crate::tasks::Tasks;

/// What everything outside shares with the rest of the house.
#[derive(Debug, Clone)]
pub struct Context {
    /// The house's clock.
    pub clock: Clock,
    /// The house's rules.
    pub engine: Arc<Engine>,
    /// The house's log.
    pub journal: Arc<Journal>,
    /// What the house's randomness comes from.
    pub seed: u64,
    /// What actions and MQTT clients may reach beside the house itself.
    pub policy: Policy,
    /// The brokers that MQTT clients reach whatever the policy.
    pub brokers: Vec<Broker>,
}

/// Why nothing outside could be built. Nothing is left behind: no listener, no task.
#[derive(Debug, thiserror::Error)]
pub enum OutsideError {
    /// A slave's address cannot be bound.
    #[error("slave `{name}` cannot listen on {address}: {source}; free the port or give another")]
    BindSlave {
        /// The slave.
        name: Arc<str>,
        /// Where it was to listen.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// A target's address cannot be bound.
    #[error(
        "HTTP target `{name}` cannot listen on {address}: {source}; free the port or give another"
    )]
    BindTarget {
        /// The target.
        name: Arc<str>,
        /// Where it was to listen.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// A unit's layout makes no bank.
    #[error("slave `{slave}`, unit {unit}: {}", all(errors))]
    Layout {
        /// The slave.
        slave: Arc<str>,
        /// The unit id.
        unit: u8,
        /// Everything that is wrong with it.
        errors: Vec<LayoutError>,
    },
    /// A TLS target has no certificate.
    #[error("no certificate for the HTTP targets: {0}")]
    Certificate(String),
}

fn all(errors: &[LayoutError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// The slaves, targets and requesters of a house. Dropping it ends their tasks and closes their
/// listeners; [`Outside::close`] also waits for it.
#[derive(Debug)]
pub struct Outside {
    slaves: Vec<SlaveServer>,
    targets: Vec<(Arc<Target>, TargetServer)>,
    peers: Vec<Peer>,
    runner: Arc<Runner>,
    dialer: Arc<Dialer>,
    links: ConnectionRegistry,
    /// The slaves' listeners; ended before the connections, which they add to.
    supervisors: Tasks,
    connections: Arc<Tasks>,
}

#[derive(Debug)]
struct SlaveServer {
    slave: Arc<Slave>,
    port: Arc<Mutex<Port>>,
}

/// A target whose listener is bound and not yet served.
struct BoundTarget {
    target: Arc<Target>,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
}

impl Outside {
    /// Binds every listener, and only then serves the targets; slaves wait for [`Outside::start`],
    /// and connections to them meanwhile wait with the kernel.
    ///
    /// # Errors
    /// [`OutsideError`] names what cannot be built.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn bind(
        slaves: &[SlavePlan],
        targets: &[TargetPlan],
        context: Context,
    ) -> Result<Self, OutsideError> {
        let mut peers = Vec::new();
        let slaves = slaves
            .iter()
            .map(|plan| {
                let server = SlaveServer::bind(plan, &context)?;
                peers.push(peer(PeerKind::Slave, &plan.name, server.slave.address(), &plan.hosts));
                Ok(server)
            })
            .collect::<Result<Vec<_>, OutsideError>>()?;
        let (mut bound, mut roots) = (Vec::new(), Vec::new());
        for plan in targets {
            let certificate = plan.tls.then(|| TargetCertificate::new(plan)).transpose();
            let certificate = certificate.map_err(OutsideError::Certificate)?;
            roots.extend(certificate.as_ref().map(|certificate| certificate.root.clone()));
            let tls = certificate.map(|certificate| certificate.acceptor);
            let target = BoundTarget::bind(plan, tls, &context)?;
            let address = target.target.address();
            peers.push(peer(PeerKind::Target, &plan.name, address, &plan.hosts));
            bound.push(target);
        }
        let links = ConnectionRegistry::new(context.clock.activity().clone());
        let targets = bound.into_iter().map(|target| target.serve(&links));
        let targets = targets.collect::<Result<_, _>>()?;
        let resolver = Resolver::new(peers.clone(), context.policy).with_brokers(context.brokers);
        let resolver = Arc::new(resolver);
        let requester = Requester {
            clock: context.clock,
            engine: context.engine,
            journal: context.journal,
            resolver: Arc::clone(&resolver),
            links: links.clone(),
            tls: targets::client_config(roots).map_err(OutsideError::Certificate)?,
            transactions: Mutex::default(),
        };
        Ok(Self {
            slaves,
            targets,
            peers,
            runner: Arc::new(Runner::new(Arc::new(requester))),
            dialer: Arc::new(Dialer(resolver)),
            links,
            supervisors: Tasks::default(),
            connections: Arc::default(),
        })
    }

    /// Serves the slaves, and returns when each listener is open or closed as the rules say.
    pub async fn start(&self) {
        for SlaveServer { slave, port } in &self.slaves {
            let (slave, port) = (Arc::clone(slave), Arc::clone(port));
            let motions = slave.clock().activity().clone();
            let connections = Arc::clone(&self.connections);
            let mut supervisor = Supervisor::new(slave, port, self.links.clone(), connections);
            let asked = supervisor.follow().await;
            self.supervisors.spawn(motions.track(supervisor.run(asked)));
        }
    }

    /// Ends everything under way and drops all connections, waits until nothing of it is left, and
    /// puts registers, routes, transaction ids and received requests back to the start. Listeners
    /// stay. [`Outside::start`] goes on from there, once clock and rules are back at the start too;
    /// until the returned value is dropped, whoever connects to a target waits.
    pub async fn stop(&self) -> Vec<ListenerPause> {
        self.runner.stop().await;
        self.supervisors.end_all().await;
        self.connections.end_all().await;
        for server in &self.slaves {
            server.slave.reset();
        }
        let mut paused = Vec::with_capacity(self.targets.len());
        for (target, server) in &self.targets {
            paused.push(server.pause().await);
            target.reset();
        }
        paused
    }

    /// Ends everything, and waits until no task, connection or listener is left.
    pub async fn close(&self) {
        let _paused = self.stop().await;
        for (_, server) in &self.targets {
            server.close().await;
        }
        self.lose_ports();
    }

    /// Closes the slaves' listeners; their supervisors, which hold them too, go with the tasks.
    fn lose_ports(&self) {
        for server in &self.slaves {
            server.port.lock().unwrap_or_else(PoisonError::into_inner).give_back();
        }
    }

    /// Carries out what the devices of the house admit.
    #[must_use]
    pub fn runner(&self) -> &Arc<Runner> {
        &self.runner
    }

    /// Connects the devices' MQTT clients.
    #[must_use]
    pub fn dialer(&self) -> Arc<dyn Dial> {
        self.dialer.clone()
    }

    /// The connections between ends of the house.
    #[must_use]
    pub fn links(&self) -> &ConnectionRegistry {
        &self.links
    }

    /// Its slaves and targets, as actions know them.
    #[must_use]
    pub fn peers(&self) -> &[Peer] {
        &self.peers
    }

    /// The slaves, in the order of the scenario.
    pub fn slaves(&self) -> impl Iterator<Item = &Arc<Slave>> {
        self.slaves.iter().map(|server| &server.slave)
    }

    /// A slave, by name.
    #[must_use]
    pub fn slave(&self, name: &str) -> Option<&Arc<Slave>> {
        self.slaves().find(|slave| slave.name() == name)
    }

    /// The targets, in the order of the scenario.
    pub fn targets(&self) -> impl Iterator<Item = &Arc<Target>> {
        self.targets.iter().map(|(target, _)| target)
    }

    /// A target, by name.
    #[must_use]
    pub fn target(&self, name: &str) -> Option<&Arc<Target>> {
        self.targets().find(|target| target.name() == name)
    }

    /// Waits until every listener follows the rules of this generation
    /// ([`Engine::generation`](crate::fault::Engine::generation)).
    pub async fn applied(&self, generation: u64) {
        for slave in self.slaves() {
            slave.applied(generation).await;
        }
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        self.lose_ports();
    }
}

impl SlaveServer {
    fn bind(plan: &SlavePlan, context: &Context) -> Result<Self, OutsideError> {
        let port = Port::bind(plan.listen, BACKLOG).map_err(|source| {
            let (name, address) = (Arc::clone(&plan.name), plan.listen);
            OutsideError::BindSlave { name, address, source }
        })?;
        let slave = Arc::new(Slave::new(plan, port.address(), context)?);
        Ok(Self { slave, port: Arc::new(Mutex::new(port)) })
    }
}

impl BoundTarget {
    fn bind(
        plan: &TargetPlan,
        tls: Option<TlsAcceptor>,
        context: &Context,
    ) -> Result<Self, OutsideError> {
        let failed = |source| OutsideError::BindTarget {
            name: Arc::clone(&plan.name),
            address: plan.listen,
            source,
        };
        let listener = bind(plan.listen).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { target: Arc::new(Target::new(plan, address, context)), listener, tls })
    }

    fn serve(
        self,
        links: &ConnectionRegistry,
    ) -> Result<(Arc<Target>, TargetServer), OutsideError> {
        let Self { target, listener, tls } = self;
        let server = TargetServer::start(Arc::clone(&target), listener, tls, links.clone());
        let server = server.map_err(|source| OutsideError::BindTarget {
            name: target.name().into(),
            address: target.address(),
            source,
        })?;
        Ok((target, server))
    }
}

fn peer(kind: PeerKind, name: &str, address: SocketAddr, hosts: &[HostAddress]) -> Peer {
    Peer { kind, name: name.to_owned(), address, hosts: hosts.to_vec() }
}
