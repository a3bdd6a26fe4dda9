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
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use super::request::{ControlRequest, missing};
use super::resource::Resource;
use super::{Controls, Token, clock, faults, journal, registers, security};
use crate::fault::Method;
use crate::limits;
use crate::net::http::WriteLimited;
use crate::net::http::{HttpReply, ReplyBody, body, method_not_allowed};
use crate::net::http::{TcpAcceptor, http_builder};
use crate::surface::http::openapi;
use crate::tasks::Tasks;

/// The control plane of a house. Dropping it closes the listener and all connections.
#[derive(Debug)]
pub struct ControlServer {
    listening: TcpAcceptor,
    resets: Arc<Tasks>,
}

impl ControlServer {
    /// Serves the control plane of `house` on a bound listener, within a tokio runtime. A `token`
    /// is asked for where there is one.
    ///
    /// # Errors
    /// Where others than this machine reach the listener and there is no token.
    pub fn start(
        listener: TcpListener,
        house: Arc<dyn Controls>,
        token: Option<Token>,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        if !address.ip().to_canonical().is_loopback() && token.is_none() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("control plane on {address}: beyond loopback it needs a token"),
            ));
        }
        let resets = Arc::default();
        let plane = Arc::new(Plane { house, token, resets: Arc::clone(&resets) });
        let serve = move |stream| connection(stream, Arc::clone(&plane));
        Ok(Self { listening: TcpAcceptor::start(listener, serve)?, resets })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listening.address()
    }

    /// Closes the listener and all connections, and with them the movements of the clock that they
    /// asked for; resets go on.
    pub async fn hang_up(&self) {
        self.listening.release().await;
    }

    /// Gives up the resets that are not done, and returns when they are gone.
    pub async fn end_resets(&self) {
        self.resets.abort_all().await;
    }
}

struct Plane {
    house: Arc<dyn Controls>,
    token: Option<Token>,
    /// Apart from the connections: a client that gives up must not leave the house half reset.
    resets: Arc<Tasks>,
}

async fn connection(stream: TcpStream, plane: Arc<Plane>) {
    // Without an address the client is gone already.
    let Ok(own) = stream.local_addr() else { return };
    let service = service_fn(move |request| {
        let plane = Arc::clone(&plane);
        async move { Ok::<_, Infallible>(plane.serve(request, own.ip()).await) }
    });
    let stream = TokioIo::new(WriteLimited::new(stream));
    if let Err(error) = http_builder().serve_connection(stream, service).await {
        tracing::trace!(%error, "control connection ended");
    }
}

impl Plane {
    async fn serve(&self, request: hyper::Request<Incoming>, own: IpAddr) -> Response<ReplyBody> {
        let reply = self.answer(request, own).await;
        reply.unwrap_or_else(|refused| refused).into_response(())
    }

    async fn answer(
        &self,
        request: hyper::Request<Incoming>,
        own: IpAddr,
    ) -> Result<HttpReply, HttpReply> {
        let (head, incoming) = request.into_parts();
        match self.check(&head, own) {
            Ok((resource, method)) => {
                let body = body::read(incoming, limits::CONTROL_BODY_BYTES).await?;
                self.act(&resource, method, &ControlRequest { uri: &head.uri, body }).await
            }
            Err(refused) if body::discard(incoming).await => Err(refused),
            Err(refused) => Err(refused.with_close()),
        }
    }

    /// All checks that need no body: who asks, for what, with which method.
    fn check(&self, head: &Parts, own: IpAddr) -> Result<(Resource, Method), HttpReply> {
        let resource = Resource::at(head.uri.path());
        // Who asks whether it is well learns nothing else, and needs no token.
        let token = self.token.as_ref().filter(|_| !matches!(resource, Ok(Resource::Health)));
        security::check(head, own, token)?;
        let resource = resource?;
        let methods = resource.methods();
        let method = methods.iter().find(|method| method.as_str() == head.method.as_str());
        method.map(|method| (resource, *method)).ok_or_else(|| {
            let allowed: Vec<&str> = methods.iter().map(|method| method.as_str()).collect();
            method_not_allowed(head.method.as_str(), &allowed.join(", "))
        })
    }

    async fn act(
        &self,
        resource: &Resource,
        method: Method,
        request: &ControlRequest<'_>,
    ) -> Result<HttpReply, HttpReply> {
        let house = &*self.house;
        match (resource, method) {
            (Resource::Health, _) => {
                Ok(HttpReply::json(StatusCode::OK, &json!({ "status": "ok" })))
            }
            (Resource::Description, _) => Ok(HttpReply::raw_json(StatusCode::OK, openapi::text())),
            (Resource::State, _) => Ok(HttpReply::json(StatusCode::OK, &state(house))),
            (Resource::Scenario, _) => {
                let text = house.scenario().to_owned();
                Ok(HttpReply::content(StatusCode::OK, "application/yaml", text))
            }
            (Resource::Faults, Method::Post) => faults::add(house, request).await,
            (Resource::Faults, _) => Ok(faults::list(house)),
            (Resource::Fault(id), Method::Patch) => faults::patch(house, id, request).await,
            (Resource::Fault(id), Method::Delete) => faults::remove(house, id).await,
            (Resource::Fault(id), _) => faults::get(house, id),
            (Resource::Registers(at), Method::Put) => registers::put(house, at, request),
            (Resource::Registers(at), _) => registers::get(house, at, request),
            (Resource::Requests(target), Method::Delete) => forget_requests(house, target),
            (Resource::Requests(target), _) => requests(house, target),
            (Resource::Journal, _) => journal::list(house, request),
            (Resource::JournalWait, _) => journal::wait(house, request).await,
            (Resource::Clock, Method::Post) => clock::change(house, request).await,
            (Resource::Clock, _) => {
                Ok(HttpReply::json(StatusCode::OK, &clock::show(house.clock())))
            }
            (Resource::Reset, _) => {
                self.resets.run_to_completion(Arc::clone(&self.house).reset()).await;
                Ok(HttpReply::json(StatusCode::OK, &state(house)))
            }
        }
    }
}

/// What the house consists of, and how it is.
fn state(house: &dyn Controls) -> Value {
    let rules = house.engine().list();
    let mut state = json!({
        "clock": clock::show(house.clock()),
        "faults": {
            "rules": rules.len(),
            "armed": rules.iter().filter(|rule| rule.armed).count(),
            "fired": rules.iter().map(|rule| rule.fired).sum::<u64>(),
            "holding": rules.iter().map(|rule| rule.holding).sum::<usize>(),
        },
    });
    // A summary is an object; its fields stand beside the others.
    if let (Value::Object(state), Ok(Value::Object(summary))) =
        (&mut state, serde_json::to_value(house.summary()))
    {
        state.extend(summary);
    }
    state
}

fn requests(house: &dyn Controls, target: &str) -> Result<HttpReply, HttpReply> {
    let requests = house.requests(target).ok_or_else(|| no_target(house, target))?;
    Ok(HttpReply::json(StatusCode::OK, &json!({ "target": target, "requests": requests })))
}

fn forget_requests(house: &dyn Controls, target: &str) -> Result<HttpReply, HttpReply> {
    if house.forget_requests(target) {
        Ok(HttpReply::empty(StatusCode::NO_CONTENT))
    } else {
        Err(no_target(house, target))
    }
}

fn no_target(house: &dyn Controls, target: &str) -> HttpReply {
    let targets = house.summary().http_targets;
    let names: Vec<String> = targets.into_iter().map(|target| target.name).collect();
    missing("target", target, &names)
}
