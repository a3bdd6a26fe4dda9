//! The control plane on a socket.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

use super::request::{ControlRequest, ControlResult};
use super::resource::Resource;
use super::security::{self, Token};
use super::{clock, faults, journal, registers, summary, targets};
use crate::limits;
use crate::net::http::Method;
use crate::net::http::WriteTimeoutStream;
use crate::net::http::{HttpReply, ReplyBody, body, method_not_allowed};
use crate::net::http::{TcpAcceptor, http_builder};
use crate::runtime::HouseCore;
use crate::surface::http::openapi;
use crate::tasks::Tasks;

/// The control plane of a house. Dropping it closes the listener and all connections.
#[derive(Debug)]
pub(crate) struct ControlServer {
    acceptor: TcpAcceptor,
    token: Option<Token>,
    resets: Arc<Tasks>,
}

/// An error that keeps the control plane from starting.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControlStartError {
    /// The listener cannot be used.
    #[error(transparent)]
    Listener(io::Error),
    /// A token is required, and the system gives no random bytes.
    #[error(transparent)]
    Token(io::Error),
}

impl ControlServer {
    /// Serves the control plane of `house` on a bound listener, within a tokio runtime. If other
    /// machines can reach the listener, clients must send a token, which is generated here.
    ///
    /// # Errors
    /// Returns a [`ControlStartError`] if the listener or the token fails.
    pub(crate) fn start(
        listener: TcpListener,
        house: Arc<HouseCore>,
    ) -> Result<Self, ControlStartError> {
        let address = listener.local_addr().map_err(ControlStartError::Listener)?;
        let token = if address.ip().to_canonical().is_loopback() {
            None
        } else {
            Some(Token::random().map_err(ControlStartError::Token)?)
        };
        let resets = Arc::default();
        let service =
            Arc::new(ControlService { house, token: token.clone(), resets: Arc::clone(&resets) });
        // The gate stays open: a reset of the house keeps the connections by which it is operated.
        let serve = move |stream, _| serve_connection(stream, Arc::clone(&service));
        let acceptor = TcpAcceptor::start(listener, serve).map_err(ControlStartError::Listener)?;
        Ok(Self { acceptor, token, resets })
    }

    /// Returns the address of the listener.
    pub(crate) fn address(&self) -> SocketAddr {
        self.acceptor.address()
    }

    /// Returns the token that clients must send. `None` if only this machine can reach the listener.
    pub(crate) fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }

    /// Closes the listener and all connections, and cancels the movements of the clock that they
    /// requested. Resets in progress are not cancelled.
    pub(crate) async fn close(&self) {
        self.acceptor.release().await;
    }

    /// Aborts the resets that are not done, and returns when they are gone.
    pub(crate) async fn abort_resets(&self) {
        self.resets.abort_all().await;
    }
}

/// The requests of all connections: their checks, and their handlers.
struct ControlService {
    house: Arc<HouseCore>,
    token: Option<Token>,
    /// Resets in progress. They are not tasks of the connections, because a client that disconnects
    /// must not leave the house half reset.
    resets: Arc<Tasks>,
}

async fn serve_connection(stream: TcpStream, service: Arc<ControlService>) {
    // Without an address the client has disconnected already.
    let Ok(local_addr) = stream.local_addr() else { return };
    let handler = service_fn(move |request| {
        let service = Arc::clone(&service);
        async move { Ok::<_, Infallible>(service.serve(request, local_addr.ip()).await) }
    });
    let stream = TokioIo::new(WriteTimeoutStream::new(stream));
    if let Err(error) = http_builder().serve_connection(stream, handler).await {
        tracing::trace!(%error, "control connection ended");
    }
}

impl ControlService {
    async fn serve(
        &self,
        request: hyper::Request<Incoming>,
        local_ip: IpAddr,
    ) -> Response<ReplyBody> {
        let reply = self.reply(request, local_ip).await;
        reply.unwrap_or_else(|refusal| refusal).into_response(())
    }

    async fn reply(&self, request: hyper::Request<Incoming>, local_ip: IpAddr) -> ControlResult {
        let (head, incoming) = request.into_parts();
        match self.check(&head, local_ip) {
            Ok((resource, method)) => {
                let body = body::read(incoming, limits::CONTROL_BODY_BYTES).await?;
                self.execute(&resource, method, &ControlRequest { uri: &head.uri, body }).await
            }
            Err(refusal) if body::discard(incoming).await => Err(refusal),
            Err(refusal) => Err(refusal.with_close()),
        }
    }

    /// Makes all checks that need no body: host, origin, token, path and method.
    fn check(&self, head: &Parts, local_ip: IpAddr) -> Result<(Resource, Method), HttpReply> {
        let resource = Resource::parse(head.uri.path());
        // The health check reveals nothing else, and needs no token.
        let token = self.token.as_ref().filter(|_| !matches!(resource, Ok(Resource::Health)));
        security::check(head, local_ip, token)?;
        let resource = resource?;
        let methods = resource.methods();
        let method = methods.iter().find(|method| method.as_str() == head.method.as_str());
        method.map(|method| (resource, *method)).ok_or_else(|| {
            let allowed: Vec<&str> = methods.iter().map(|method| method.as_str()).collect();
            method_not_allowed(head.method.as_str(), &allowed.join(", "))
        })
    }

    async fn execute(
        &self,
        resource: &Resource,
        method: Method,
        request: &ControlRequest<'_>,
    ) -> ControlResult {
        let house = &*self.house;
        // A request that comes during a reset is answered after it, and a reset begins after the requests
        // that came before. Those that may take long delay none: a reset waits for a movement of the clock by
        // itself, and the journal is waited for across resets.
        let delay = if resource.concerns_house() { Some(house.delay_resets().await) } else { None };
        let _delay = delay.filter(|_| !resource.may_take_long());
        match (resource, method) {
            (Resource::Health, _) => {
                Ok(HttpReply::json(StatusCode::OK, &json!({ "status": "ok" })))
            }
            (Resource::Description, _) => Ok(HttpReply::raw_json(StatusCode::OK, openapi::text())),
            (Resource::State, _) => Ok(HttpReply::json(StatusCode::OK, &summary::state(house))),
            (Resource::Scenario, _) => {
                let text = house.scenario().source.to_string();
                Ok(HttpReply::content(StatusCode::OK, "application/yaml", text))
            }
            (Resource::Faults, Method::Post) => faults::add(house, request).await,
            (Resource::Faults, _) => Ok(faults::list(house)),
            (Resource::Fault(id), Method::Patch) => faults::patch(house, id, request).await,
            (Resource::Fault(id), Method::Delete) => faults::remove(house, id).await,
            (Resource::Fault(id), _) => faults::get(house, id),
            (Resource::Registers(start), Method::Put) => registers::put(house, start, request),
            (Resource::Registers(start), _) => registers::get(house, start, request),
            (Resource::Requests(target), Method::Delete) => targets::clear_requests(house, target),
            (Resource::Requests(target), _) => targets::requests(house, target),
            (Resource::Journal, _) => journal::list(house, request),
            (Resource::JournalWait, _) => journal::wait(house, request).await,
            (Resource::Clock, Method::Post) => clock::change(house, request).await,
            (Resource::Clock, _) => {
                Ok(HttpReply::json(StatusCode::OK, &clock::to_json(house.clock())))
            }
            (Resource::Reset, _) => {
                self.resets.run_to_completion(Arc::clone(&self.house).reset()).await;
                Ok(HttpReply::json(StatusCode::OK, &summary::state(house)))
            }
        }
    }
}
