//! The control plane on a socket.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

use super::request::{ControlRequest, ControlResult};
use super::resource::Resource;
use super::security;
use super::token::Token;
use super::{clock, faults, journal, registers, summary, targets};
use crate::limits;
use crate::net::http::Method;
use crate::net::http::WriteTimeoutStream;
use crate::net::http::{
    HttpReply, PageSource, PageWriter, ReplyBody, body, cors, method_not_allowed,
};
use crate::net::http::{TcpAcceptor, http_builder};
use crate::runtime::HouseCore;
use crate::surface::http::openapi;
use crate::tasks::Tasks;

/// The methods of the control plane, for every path, because a preflight is answered before the path is
/// looked at.
const PAGE_METHODS: &str = "GET, POST, PUT, PATCH, DELETE";
/// Response headers that a page may read beside those that every page may.
const EXPOSED_HEADERS: &str = "Location, WWW-Authenticate, Allow";

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
    /// Serves the control plane of `house` on a bound listener, within a tokio runtime. Clients must send
    /// `token` if there is one. If there is none and other machines can reach the listener, one is
    /// generated here.
    ///
    /// # Errors
    /// Returns a [`ControlStartError`] if the listener or the token fails.
    pub(crate) fn start(
        listener: TcpListener,
        house: Arc<HouseCore>,
        token: Option<Token>,
    ) -> Result<Self, ControlStartError> {
        let address = listener.local_addr().map_err(ControlStartError::Listener)?;
        let token = match token {
            None if !address.ip().to_canonical().is_loopback() => {
                Some(Token::random().map_err(ControlStartError::Token)?)
            }
            token => token,
        };
        let resets = Arc::default();
        let service = Arc::new(ControlService {
            house,
            token: token.clone(),
            resets: Arc::clone(&resets),
            pages: PageWriter::new(),
        });
        // The gate stays open: a reset of the house keeps the connections by which it is operated.
        let serve = move |stream, _| serve_connection(stream, Arc::clone(&service));
        let acceptor = TcpAcceptor::start(listener, serve).map_err(ControlStartError::Listener)?;
        Ok(Self { acceptor, token, resets })
    }

    /// Returns the address of the listener.
    pub(crate) fn address(&self) -> SocketAddr {
        self.acceptor.address()
    }

    /// Returns the token that clients must send. `None` if none was given and only this machine can reach
    /// the listener.
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
    /// Writes the replies whose size follows data of the house.
    pages: PageWriter,
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
        let origin = match self.check_sender(&head, local_ip) {
            Ok(origin) => origin,
            Err(refusal) => return Err(after_body(refusal, incoming).await),
        };
        let Some(origin) = origin else { return self.handle(&head, incoming).await };
        if cors::is_preflight(&head) {
            // A preflight has no token, because browsers send none with it, and changes nothing.
            return Ok(cors::preflight_reply(&head, origin, PAGE_METHODS));
        }
        let reply = self.handle(&head, incoming).await.unwrap_or_else(|refusal| refusal);
        Ok(cors::let_page_read(reply, origin, EXPOSED_HEADERS))
    }

    /// Checks who sends a request: its host and origin. Returns the origin if it is the request of a page.
    fn check_sender<'a>(
        &self,
        head: &'a Parts,
        local_ip: IpAddr,
    ) -> Result<Option<&'a HeaderValue>, HttpReply> {
        if self.token.is_none() {
            security::check_host(head, local_ip)?;
        }
        security::check_origin(head, local_ip)
    }

    async fn handle(&self, head: &Parts, incoming: Incoming) -> ControlResult {
        match self.check(head) {
            Ok((resource, method)) => {
                let body = body::read(incoming, limits::CONTROL_BODY_BYTES).await?;
                self.execute(&resource, method, &ControlRequest { uri: &head.uri, body }).await
            }
            Err(refusal) => Err(after_body(refusal, incoming).await),
        }
    }

    /// Makes all further checks that need no body: token, path and method.
    fn check(&self, head: &Parts) -> Result<(Resource, Method), HttpReply> {
        let resource = Resource::parse(head.uri.path());
        // The health check reveals nothing else, and needs no token.
        let is_health = matches!(resource, Ok(Resource::Health));
        if let Some(token) = self.token.as_ref().filter(|_| !is_health) {
            security::check_token(head, token)?;
        }
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
        let house = &self.house;
        // A request that comes during a reset is answered after it, and a reset begins after the requests
        // that came before. Those that may take long delay none: a reset waits for a movement of the clock by
        // itself, and the journal is waited for across resets.
        let delay = if resource.concerns_house() { Some(house.delay_resets().await) } else { None };
        let _delay = delay.filter(|_| !resource.may_take_long());
        match (resource, method) {
            (Resource::Health, _) => {
                Ok(HttpReply::json(StatusCode::OK, &json!({ "status": "ok" })))
            }
            (Resource::Description, _) => {
                Ok(HttpReply::raw_json(StatusCode::OK, DESCRIPTION.clone()))
            }
            (Resource::State, _) => self.paged(summary::state(house)).await,
            (Resource::Scenario, _) => {
                let text = Bytes::from_owner(SourceText(Arc::clone(&house.scenario().source)));
                Ok(HttpReply::content(StatusCode::OK, "application/yaml", text))
            }
            (Resource::Faults, Method::Post) => faults::add(house, request).await,
            (Resource::Faults, _) => self.paged(faults::list(house)).await,
            (Resource::Fault(id), Method::Patch) => faults::patch(house, id, request).await,
            (Resource::Fault(id), Method::Delete) => faults::remove(house, id).await,
            (Resource::Fault(id), _) => faults::get(house, id),
            (Resource::Registers(start), Method::Put) => registers::put(house, start, request),
            (Resource::Registers(start), _) => registers::get(house, start, request),
            (Resource::Requests(target), Method::Delete) => targets::clear_requests(house, target),
            (Resource::Requests(target), _) => {
                targets::requests(house, target, &self.pages, request).await
            }
            (Resource::Journal, _) => journal::list(house.journal(), &self.pages, request).await,
            (Resource::JournalWait, _) => {
                journal::wait(house.journal(), &self.pages, request).await
            }
            (Resource::Clock, Method::Post) => clock::change(house, request).await,
            (Resource::Clock, _) => {
                Ok(HttpReply::json(StatusCode::OK, &clock::to_json(house.clock())))
            }
            (Resource::Reset, _) => {
                self.resets.run_to_completion(Arc::clone(&self.house).reset()).await;
                self.paged(summary::state(house)).await
            }
        }
    }

    /// Returns the reply whose body is written page by page.
    async fn paged(&self, source: impl PageSource) -> ControlResult {
        self.pages.reply(StatusCode::OK, source).await.map_err(|error| {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            HttpReply::error(status, "internal_error", &error.to_string())
        })
    }
}

/// Returns a refusal once the body of its request is discarded. If the body is too large for that, the
/// connection ends with the reply.
async fn after_body(refusal: HttpReply, incoming: Incoming) -> HttpReply {
    let is_reusable = body::discard(incoming).await;
    if is_reusable { refusal } else { refusal.with_close() }
}

/// The description of the device's API.
static DESCRIPTION: LazyLock<Bytes> = LazyLock::new(|| openapi::text().into());

/// The text of the scenario as the bytes of a body, which are not copied for each reply.
struct SourceText(Arc<str>);

impl AsRef<[u8]> for SourceText {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}
