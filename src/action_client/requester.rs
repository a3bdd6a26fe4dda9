//! Processes one request of an action: prepares it, sends it, and determines its result code.
//!
//! The steps are the same for both protocols: find the peer, evaluate the fault rules of the
//! connector, resolve the host, connect on a new socket, exchange the bytes. Each step can end the
//! request with an [`ExchangeEnd`], from which [`super::classifier`] derives the code.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::rustls::ClientConfig;

use super::classifier::{self, ExchangeEnd, ResultCode};
use super::connection::RequestConnection;
use super::connector::{Connector, ConnectorError};
use super::resolver::{ResolveError, Resolver};
use super::{http, modbus};
use crate::clock::{Clock, VirtualTime};
use crate::device::actions::{
    ActionRequest, Definition, PrepareError, PreparedHttpRequest, PreparedModbusRequest,
    PreparedRequest, Scheme,
};
use crate::device::{HttpFailureCode, Ticket};
use crate::fault::{
    self, ActionOrigin, ActionOriginRef, Connect, ConnectFault, Engine, SlaveRequest, TargetRequest,
};
use crate::journal::{Event, Journal};
use crate::net::inflight::{ConnectionRegistry, TrackedStream};
use crate::net::sockets::reachable_address;
use crate::outbound::{CONTROL_PLANE, PeerAddress, PeerKind};

/// The outcome of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
struct RequestOutcome {
    code: ResultCode,
    /// The reason for the code, for the journal.
    cause: String,
}

impl From<ResultCode> for RequestOutcome {
    fn from(code: ResultCode) -> Self {
        Self { code, cause: code.to_string() }
    }
}

/// The end of a request that was not sent.
#[derive(Debug)]
struct UnsentRequest {
    end: ExchangeEnd,
    cause: Option<String>,
}

impl From<ExchangeEnd> for UnsentRequest {
    fn from(end: ExchangeEnd) -> Self {
        Self { end, cause: None }
    }
}

impl UnsentRequest {
    fn with_cause(end: ExchangeEnd, cause: impl Into<String>) -> Self {
        Self { end, cause: Some(cause.into()) }
    }

    fn into_outcome(self, classify: impl FnOnce(ExchangeEnd) -> ResultCode) -> RequestOutcome {
        let code = classify(self.end);
        RequestOutcome { code, cause: self.cause.unwrap_or_else(|| code.to_string()) }
    }
}

/// The parts of the house that all requests share.
#[derive(Debug)]
pub(super) struct Requester {
    pub(super) clock: Clock,
    pub(super) engine: Arc<Engine>,
    pub(super) journal: Arc<Journal>,
    pub(super) resolver: Arc<Resolver>,
    pub(super) connector: Connector,
    pub(super) connection_registry: ConnectionRegistry,
    pub(super) tls: Arc<ClientConfig>,
    /// The newest Modbus transaction id of each device.
    pub(super) transaction_ids: Mutex<HashMap<Arc<str>, u16>>,
}

impl Requester {
    /// Processes one request from its ticket to its result.
    pub(super) async fn process(
        &self,
        ticket: Ticket,
        definition: &Definition,
        request: &ActionRequest,
    ) {
        let origin = ActionOrigin {
            device: ticket.device().identity().id.shared(),
            action: Arc::clone(ticket.action()),
        };
        if let Some(hold) = self.engine.hold(&ActionOriginRef::from(&origin)) {
            hold.sleep.await;
        }
        let prepared = definition.prepare(request);
        ticket.start(|| destination(&prepared, request));
        let outcome = match &prepared {
            Ok(prepared) => self.send(&origin, prepared).await,
            Err(error) => not_sent(error),
        };
        // The scenario can choose that a failed HTTP request ends with 0 in place of its code.
        let ends_with_zero = ticket.device().action_policy().http_failure == HttpFailureCode::Zero
            && matches!(prepared, Ok(PreparedRequest::Http(_)))
            && !matches!(outcome.code, ResultCode::Status(_));
        let code = if ends_with_zero { 0 } else { outcome.code.number() };
        ticket.finish(code, outcome.cause);
    }

    /// Sends a request and waits for its outcome, at most for its own timeout from now.
    async fn send(&self, origin: &ActionOrigin, prepared: &PreparedRequest) -> RequestOutcome {
        match prepared {
            PreparedRequest::Modbus(request) => self.send_modbus(origin, request).await,
            // Boxed, because a TLS session is large and most requests have none.
            PreparedRequest::Http(request) => Box::pin(self.send_http(origin, request)).await,
        }
    }

    /// Makes the Modbus transaction ids of every device begin with 1 again.
    pub(super) fn reset_transaction_ids(&self) {
        self.transaction_ids.lock().clear();
    }

    async fn send_modbus(
        &self,
        origin: &ActionOrigin,
        request: &PreparedModbusRequest,
    ) -> RequestOutcome {
        let deadline = self.clock.now().after(request.timeout);
        let values = request.write.values();
        let evaluate = |slave: &str| {
            self.engine.connect(&Connect {
                call: ActionOriginRef::from(origin),
                peer: fault::PeerRef::Slave(SlaveRequest {
                    slave,
                    unit: request.unit_id,
                    function: request.write.function(),
                    address: request.write.address(),
                    quantity: request.write.quantity(),
                    values: &values,
                    from: Some(ActionOriginRef::from(origin)),
                }),
            })
        };
        let connected = self.connect_peer(
            origin,
            PeerKind::Slave,
            (&request.host, request.port),
            deadline,
            evaluate,
        );
        match connected.await {
            Ok(connection) => {
                let transaction_id = self.next_transaction_id(origin);
                modbus::exchange(&self.clock, connection, request, transaction_id, deadline)
                    .await
                    .into()
            }
            Err(unsent) => unsent.into_outcome(|end| classifier::classify_modbus(&[], &[], end)),
        }
    }

    async fn send_http(
        &self,
        origin: &ActionOrigin,
        request: &PreparedHttpRequest,
    ) -> RequestOutcome {
        let deadline = self.clock.now().after(request.timeout);
        let path = request.target.split('?').next().unwrap_or_default();
        let evaluate = |target: &str| {
            self.engine.connect(&Connect {
                call: ActionOriginRef::from(origin),
                peer: fault::PeerRef::Target(TargetRequest {
                    target,
                    method: request.method.as_str(),
                    path,
                    from: Some(ActionOriginRef::from(origin)),
                }),
            })
        };
        let connected = self.connect_peer(
            origin,
            PeerKind::Target,
            (&request.host, request.port),
            deadline,
            evaluate,
        );
        match connected.await {
            Ok(connection) => {
                http::exchange(&self.clock, &self.tls, connection, request, deadline).await.into()
            }
            Err(unsent) => unsent.into_outcome(|end| classifier::classify_http(&[], end)),
        }
    }

    /// Connects to the host of a request. The fault rules of the connector are evaluated first,
    /// with the name of the house's own peer if the host is one of this protocol.
    async fn connect_peer(
        &self,
        origin: &ActionOrigin,
        kind: PeerKind,
        (host, port): (&str, u16),
        deadline: VirtualTime,
        evaluate: impl Fn(&str) -> Option<ConnectFault>,
    ) -> Result<RequestConnection, UnsentRequest> {
        let peer = self.resolver.find_peer(kind, host, port);
        let fault = match peer {
            Some(peer) if peer.kind == kind => evaluate(&peer.name),
            _ => {
                let peer = match kind {
                    PeerKind::Slave => fault::PeerRef::OutsideSlave,
                    PeerKind::Target => fault::PeerRef::OutsideTarget,
                };
                self.engine.connect(&Connect { call: ActionOriginRef::from(origin), peer })
            }
        };
        let is_lost = match fault {
            Some(ConnectFault::Resolve) => return Err(ExchangeEnd::Unresolved.into()),
            Some(ConnectFault::Refused) => return Err(ExchangeEnd::NotConnected.into()),
            Some(ConnectFault::NoSocket) => return Err(ExchangeEnd::NoSocket.into()),
            Some(ConnectFault::Tls) => return Err(ExchangeEnd::TlsFailed.into()),
            Some(ConnectFault::Unsent(code)) => {
                let code = ResultCode::from_number(code);
                if code == ResultCode::Timeout {
                    self.clock.sleep_until(deadline).await;
                }
                return Err(ExchangeEnd::Forced(code).into());
            }
            Some(ConnectFault::SendLost) => true,
            None => false,
        };
        let stream = match peer {
            Some(peer) => self.connect_inside(origin, peer, deadline).await,
            None => self.connect_outside(origin, host, port, deadline).await,
        };
        match stream {
            Ok(stream) => Ok(RequestConnection { stream, is_lost }),
            // The effect of the rule applies even if there was no connection to lose.
            Err(_) if is_lost => Err(ExchangeEnd::SendLost.into()),
            Err(unsent) => Err(unsent),
        }
    }

    async fn connect_inside(
        &self,
        origin: &ActionOrigin,
        peer: &PeerAddress,
        deadline: VirtualTime,
    ) -> Result<TrackedStream, UnsentRequest> {
        // Held until the registry accounts for the connection. The house's own listener decides a
        // connection attempt without any timer.
        let _activity = self.clock.activity().enter();
        let address = reachable_address(peer.address);
        let stream = self.connect_first(origin, &peer.name, &[address], deadline).await?;
        Ok(self.connection_registry.track_client(stream, address, Arc::new(origin.clone())))
    }

    async fn connect_outside(
        &self,
        origin: &ActionOrigin,
        host: &str,
        port: u16,
        deadline: VirtualTime,
    ) -> Result<TrackedStream, UnsentRequest> {
        let resolved = {
            // The operating system's resolver answers in real time, independent of the clock.
            let _activity = self.clock.activity().enter();
            self.clock.timeout_at(deadline, self.resolver.resolve_outside(host, port)).await
        };
        let addresses = match resolved {
            Ok(Ok(addresses)) => addresses,
            Ok(Err(error)) => return Err(self.policy_refusal(origin, host, error)),
            Err(_) => {
                return Err(UnsentRequest::with_cause(
                    ExchangeEnd::Unresolved,
                    "name did not resolve in time",
                ));
            }
        };
        Ok(TrackedStream::external(self.connect_first(origin, host, &addresses, deadline).await?))
    }

    fn policy_refusal(
        &self,
        origin: &ActionOrigin,
        host: &str,
        error: ResolveError,
    ) -> UnsentRequest {
        let end = match error {
            ResolveError::Unresolved => return ExchangeEnd::Unresolved.into(),
            ResolveError::Name => ExchangeEnd::Unresolved,
            ResolveError::Address => ExchangeEnd::NotConnected,
        };
        let policy = self.resolver.policy().name();
        self.record_denied(origin, host, policy);
        UnsentRequest::with_cause(end, format!("{error} (outbound: {policy})"))
    }

    fn record_denied(&self, origin: &ActionOrigin, host: &str, policy: &'static str) {
        self.journal.record(Event::OutboundDenied {
            device: Arc::clone(&origin.device),
            host: host.to_owned(),
            policy,
        });
    }

    /// Connects to the first of `addresses` of a host that accepts.
    async fn connect_first(
        &self,
        origin: &ActionOrigin,
        host: &str,
        addresses: &[SocketAddr],
        deadline: VirtualTime,
    ) -> Result<TcpStream, UnsentRequest> {
        let mut unsent = UnsentRequest::from(ExchangeEnd::NotConnected);
        for address in addresses {
            match self.clock.timeout_at(deadline, self.connector.connect(*address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error @ ConnectorError::ControlPlane)) => {
                    self.record_denied(origin, host, CONTROL_PLANE);
                    let cause = error.to_string();
                    unsent = UnsentRequest::with_cause(ExchangeEnd::NotConnected, cause);
                }
                Ok(Err(ConnectorError::NoSocket(_))) => unsent = ExchangeEnd::NoSocket.into(),
                Ok(Err(ConnectorError::Failed(_))) => unsent = ExchangeEnd::NotConnected.into(),
                Err(_) => {
                    return Err(UnsentRequest::with_cause(
                        ExchangeEnd::NotConnected,
                        "not connected in time",
                    ));
                }
            }
        }
        Err(unsent)
    }

    fn next_transaction_id(&self, origin: &ActionOrigin) -> u16 {
        let mut all = self.transaction_ids.lock();
        let id = all.entry(Arc::clone(&origin.device)).or_default();
        *id = id.wrapping_add(1);
        *id
    }
}

fn not_sent(error: &PrepareError) -> RequestOutcome {
    RequestOutcome { code: ResultCode::Generic, cause: format!("not sent: {error}") }
}

/// Returns the destination of a request for the journal. A request that cannot be sent has the
/// destination that its definition gives, with constants that are not expanded.
fn destination(
    prepared: &Result<PreparedRequest, PrepareError>,
    request: &ActionRequest,
) -> String {
    match (prepared, request) {
        (Ok(PreparedRequest::Http(http)), _) => {
            let scheme = match http.scheme {
                Scheme::Http => "http",
                Scheme::Https => "https",
            };
            format!("{scheme}://{}{}", http.authority, http.target)
        }
        (Ok(PreparedRequest::Modbus(modbus)), _) => {
            format!("modbus {}:{}", modbus.host, modbus.port)
        }
        (Err(_), ActionRequest::Http(http)) => http.url.clone(),
        (Err(_), ActionRequest::Modbus(modbus)) => {
            format!("modbus {}:{}", modbus.host, modbus.port)
        }
    }
}
