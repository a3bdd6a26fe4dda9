//! Carries one prepared request of an action out: from the host it names to its result code.
//!
//! The way is the same for both protocols: find the peer, ask the fault engine about the connector,
//! resolve, connect on a socket of its own, exchange. Each step ends in an [`ExchangeEnd`], of which
//! [`super::classify`] makes the code.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::rustls::ClientConfig;

use super::classifier::{self, ExchangeEnd, ResultCode};
use super::resolver::{ResolveError, Resolver, reachable};
use super::{http, modbus};
use crate::clock::{Clock, VirtualTime};
use crate::device::actions::{PreparedHttpRequest, PreparedModbusRequest, PreparedRequest};
use crate::fault::{self, ActionCall, Connect, ConnectFault, Engine, SlaveRequest, TargetRequest};
use crate::journal::{Event, Journal};
use crate::net::inflight::{ActionOrigin, ConnectionRegistry, TrackedStream};
use crate::net::sockets;
use crate::outbound::{Peer, PeerKind};

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RequestOutcome {
    pub(super) code: ResultCode,
    /// What stands behind the code, for the journal.
    pub(super) cause: String,
}

impl From<ResultCode> for RequestOutcome {
    fn from(code: ResultCode) -> Self {
        Self { code, cause: code.to_string() }
    }
}

/// A request that ended before it was sent.
#[derive(Debug)]
struct Stopped {
    ending: ExchangeEnd,
    cause: Option<String>,
}

impl From<ExchangeEnd> for Stopped {
    fn from(ending: ExchangeEnd) -> Self {
        Self { ending, cause: None }
    }
}

impl Stopped {
    fn because(ending: ExchangeEnd, cause: impl Into<String>) -> Self {
        Self { ending, cause: Some(cause.into()) }
    }

    fn outcome(self, classify: impl FnOnce(ExchangeEnd) -> ResultCode) -> RequestOutcome {
        let code = classify(self.ending);
        RequestOutcome { code, cause: self.cause.unwrap_or_else(|| code.to_string()) }
    }
}

/// A fresh connection on which nothing was sent yet.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) stream: TrackedStream,
    /// A rule wants it lost before the request is sent.
    pub(super) lost: bool,
}

/// What all requests of a house need.
#[derive(Debug)]
pub(super) struct Requester {
    pub(super) clock: Clock,
    pub(super) engine: Arc<Engine>,
    pub(super) journal: Arc<Journal>,
    pub(super) resolver: Arc<Resolver>,
    pub(super) links: ConnectionRegistry,
    pub(super) tls: Arc<ClientConfig>,
    /// The newest Modbus transaction id of each device.
    pub(super) transactions: Mutex<HashMap<Arc<str>, u16>>,
}

impl Requester {
    /// Sends a request and waits for what becomes of it, at most for its own timeout from now.
    pub(super) async fn carry_out(
        &self,
        caller: &ActionOrigin,
        prepared: &PreparedRequest,
    ) -> RequestOutcome {
        match prepared {
            PreparedRequest::Modbus(request) => self.modbus(caller, request).await,
            // Boxed: a TLS session is large, and most requests have none.
            PreparedRequest::Http(request) => Box::pin(self.http(caller, request)).await,
        }
    }

    /// Back to the start: transaction ids count from 1 again.
    pub(super) fn reset(&self) {
        self.transactions.lock().clear();
    }

    async fn modbus(
        &self,
        caller: &ActionOrigin,
        request: &PreparedModbusRequest,
    ) -> RequestOutcome {
        let deadline = self.clock.now().after(request.timeout);
        let values = request.write.values();
        let seam = |slave: &str| {
            self.engine.connect(&Connect {
                call: ActionCall::from(caller),
                peer: fault::PeerRef::Slave(SlaveRequest {
                    slave,
                    unit: request.unit_id,
                    function: request.write.function(),
                    address: request.write.address(),
                    quantity: request.write.quantity(),
                    values: &values,
                    from: Some(ActionCall::from(caller)),
                }),
            })
        };
        let reached =
            self.reach(caller, PeerKind::Slave, (&request.host, request.port), deadline, seam);
        match reached.await {
            Ok(connected) => {
                let transaction_id = self.next_transaction(caller);
                modbus::exchange(&self.clock, connected, request, transaction_id, deadline)
                    .await
                    .into()
            }
            Err(stopped) => stopped.outcome(|ending| classifier::modbus(&[], &[], ending)),
        }
    }

    async fn http(&self, caller: &ActionOrigin, request: &PreparedHttpRequest) -> RequestOutcome {
        let deadline = self.clock.now().after(request.timeout);
        let path = request.target.split('?').next().unwrap_or_default();
        let seam = |target: &str| {
            self.engine.connect(&Connect {
                call: ActionCall::from(caller),
                peer: fault::PeerRef::Target(TargetRequest {
                    target,
                    method: request.method.as_str(),
                    path,
                    from: Some(ActionCall::from(caller)),
                }),
            })
        };
        let reached =
            self.reach(caller, PeerKind::Target, (&request.host, request.port), deadline, seam);
        match reached.await {
            Ok(connected) => {
                http::exchange(&self.clock, &self.tls, connected, request, deadline).await.into()
            }
            Err(stopped) => stopped.outcome(|ending| classifier::http(&[], ending)),
        }
    }

    /// Connects to the host of a request, by way of the fault engine, which is asked with the name
    /// of the house's own peer where the host is one of the protocol.
    async fn reach(
        &self,
        caller: &ActionOrigin,
        kind: PeerKind,
        (host, port): (&str, u16),
        deadline: VirtualTime,
        seam: impl Fn(&str) -> Option<ConnectFault>,
    ) -> Result<Connected, Stopped> {
        let peer = self.resolver.house(kind, host, port);
        let fault = match peer {
            Some(peer) if peer.kind == kind => seam(&peer.name),
            _ => {
                let peer = match kind {
                    PeerKind::Slave => fault::PeerRef::OutsideSlave,
                    PeerKind::Target => fault::PeerRef::OutsideTarget,
                };
                self.engine.connect(&Connect { call: ActionCall::from(caller), peer })
            }
        };
        let lost = match fault {
            Some(ConnectFault::Resolve) => return Err(ExchangeEnd::Unresolved.into()),
            Some(ConnectFault::Refused) => return Err(ExchangeEnd::NotConnected.into()),
            Some(ConnectFault::NoSocket) => return Err(ExchangeEnd::NoSocket.into()),
            Some(ConnectFault::Tls) => return Err(ExchangeEnd::NoTls.into()),
            Some(ConnectFault::Unsent(code)) => {
                let code = ResultCode::of(code);
                if code == ResultCode::Timeout {
                    self.clock.sleep_until(deadline).await;
                }
                return Err(ExchangeEnd::Provoked(code).into());
            }
            Some(ConnectFault::SendLost) => true,
            None => false,
        };
        let stream = match peer {
            Some(peer) => self.to_peer(caller, peer, deadline).await,
            None => self.to_outside(caller, host, port, deadline).await,
        };
        match stream {
            Ok(stream) => Ok(Connected { stream, lost }),
            // What a rule says is certain, also where there was no connection to lose.
            Err(_) if lost => Err(ExchangeEnd::SendLost.into()),
            Err(stopped) => Err(stopped),
        }
    }

    async fn to_peer(
        &self,
        caller: &ActionOrigin,
        peer: &Peer,
        deadline: VirtualTime,
    ) -> Result<TrackedStream, Stopped> {
        // Until the link accounts for it: our own listener decides a connect without any timer.
        let _motion = self.clock.activity().enter();
        let stream = self.connect(&[reachable(peer.address)], deadline).await?;
        Ok(self.links.requester(stream, caller.clone()))
    }

    async fn to_outside(
        &self,
        caller: &ActionOrigin,
        host: &str,
        port: u16,
        deadline: VirtualTime,
    ) -> Result<TrackedStream, Stopped> {
        let resolved = {
            // A resolver of the host answers in real time, whatever this clock does.
            let _motion = self.clock.activity().enter();
            self.clock.timeout_at(deadline, self.resolver.outside(host, port)).await
        };
        let addresses = match resolved {
            Ok(Ok(addresses)) => addresses,
            Ok(Err(refused)) => return Err(self.refused(caller, host, refused)),
            Err(_) => {
                return Err(Stopped::because(
                    ExchangeEnd::Unresolved,
                    "name did not resolve in time",
                ));
            }
        };
        Ok(TrackedStream::outside(self.connect(&addresses, deadline).await?))
    }

    fn refused(&self, caller: &ActionOrigin, host: &str, refused: ResolveError) -> Stopped {
        let ending = match refused {
            ResolveError::Unknown => return ExchangeEnd::Unresolved.into(),
            ResolveError::Name => ExchangeEnd::Unresolved,
            ResolveError::Address => ExchangeEnd::NotConnected,
        };
        let policy = self.resolver.policy().name();
        self.journal.write(Event::OutboundDenied {
            device: Arc::clone(&caller.device),
            host: host.to_owned(),
            policy,
        });
        Stopped::because(ending, format!("{refused} (outbound: {policy})"))
    }

    /// Connects to the first of `addresses` that takes the connection.
    async fn connect(
        &self,
        addresses: &[SocketAddr],
        deadline: VirtualTime,
    ) -> Result<TcpStream, Stopped> {
        let mut stopped = Stopped::from(ExchangeEnd::NotConnected);
        for address in addresses {
            match self.clock.timeout_at(deadline, open(*address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(ending)) => stopped = ending.into(),
                Err(_) => {
                    return Err(Stopped::because(
                        ExchangeEnd::NotConnected,
                        "not connected in time",
                    ));
                }
            }
        }
        Err(stopped)
    }

    fn next_transaction(&self, caller: &ActionOrigin) -> u16 {
        let mut all = self.transactions.lock();
        let id = all.entry(Arc::clone(&caller.device)).or_default();
        *id = id.wrapping_add(1);
        *id
    }
}

/// A connected socket.
async fn open(address: SocketAddr) -> Result<TcpStream, ExchangeEnd> {
    let socket = sockets::for_address(address).map_err(|_| ExchangeEnd::NoSocket)?;
    let stream = socket.connect(address).await.map_err(|_| ExchangeEnd::NotConnected)?;
    // Requests are single small segments; where the option fails they are merely slower.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}
