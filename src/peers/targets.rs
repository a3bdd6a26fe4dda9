//! HTTP targets: small servers that actions hit, with answers from the scenario.
//!
//! A request takes its answer when it was received whole: a route that goes through several answers
//! moves on then, in the order of arrival, however long each of them takes. What an answer that a rule
//! replaces does to its route: FAULT-2.

mod server;
mod tls;

use parking_lot::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

pub(super) use self::server::TargetServer;
pub use self::tls::CertificateError;
pub(super) use self::tls::TargetCertificate;
use super::PeerContext;
use crate::clock::Clock;
use crate::fault::{ActionCall, Engine, TargetEffect, TargetRequest};
use crate::journal::{Event, Journal, shortened};
use crate::limits;
use crate::net::inflight::ActionOrigin;
use crate::scenario::{TargetPlan, TargetReply, TargetRoute};

/// A target of the house.
#[derive(Debug)]
pub struct Target {
    name: Arc<str>,
    address: SocketAddr,
    tls: bool,
    routes: Vec<TargetRoute>,
    clock: Clock,
    engine: Arc<Engine>,
    journal: Arc<Journal>,
    state: Mutex<TargetState>,
}

#[derive(Debug, Default)]
struct TargetState {
    /// Of each route, how many of its answers were taken.
    taken: Vec<usize>,
    received: VecDeque<ReceivedHttpRequest>,
}

/// A request that a target received.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReceivedHttpRequest {
    /// Seconds of virtual time since the scenario's start.
    pub t: f64,
    /// The method.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The headers, in order.
    pub headers: Vec<(String, String)>,
    /// The body, as text; what is no UTF-8 is replaced.
    pub body: String,
    /// The status of the answer; none where none is sent.
    pub status: Option<u16>,
    /// The device whose action sent it, where one of the house's did.
    pub device: Option<Arc<str>>,
    /// That action.
    pub action: Option<Arc<str>>,
}

/// What a target does about a request.
#[derive(Debug)]
struct RouteReply {
    delay: Duration,
    outcome: Answered,
}

#[derive(Debug, Clone)]
enum Answered {
    Reply(TargetReply),
    Reset,
    Hang,
    BadContentLength(TargetReply),
}

impl Answered {
    fn status(&self) -> Option<u16> {
        match self {
            Self::Reply(reply) | Self::BadContentLength(reply) => Some(reply.status),
            Self::Reset | Self::Hang => None,
        }
    }
}

impl Target {
    /// The target of a plan, bound to `address`.
    pub(super) fn new(plan: &TargetPlan, address: SocketAddr, context: &PeerContext) -> Self {
        Self {
            name: Arc::clone(&plan.name),
            address,
            tls: plan.tls,
            routes: plan.routes.clone(),
            clock: context.clock.clone(),
            engine: Arc::clone(&context.engine),
            journal: Arc::clone(&context.journal),
            state: Mutex::default(),
        }
    }

    /// Its name in the scenario.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL without a path.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.address)
    }

    /// The newest requests it received, at most [`limits::TARGET_REQUESTS`], oldest first.
    #[must_use]
    pub fn received(&self) -> Vec<ReceivedHttpRequest> {
        self.state().received.iter().cloned().collect()
    }

    /// How many requests it remembers.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.state().received.len()
    }

    /// Forgets the requests it received; its routes stay where they are.
    pub fn forget(&self) {
        self.state().received.clear();
    }

    /// Back to the start: no requests received, every route at its first answer.
    pub fn reset(&self) {
        *self.state() = TargetState::default();
    }

    /// Receives a request: remembers it, asks the rules, and takes an answer.
    fn receive(
        &self,
        mut request: ReceivedHttpRequest,
        caller: Option<&ActionOrigin>,
    ) -> RouteReply {
        let path = request.path.split('?').next().unwrap_or_default();
        let verdict = self.engine.target(&TargetRequest {
            target: &self.name,
            method: &request.method,
            path,
            from: caller.map(ActionCall::from),
        });
        let mut state = self.state();
        let route = self.routes.iter().position(|route| route.matches(&request.method, path));
        let replaced =
            matches!(verdict.effect, Some(TargetEffect::Status(_) | TargetEffect::Reset));
        let reply = route.map_or_else(not_found, |route| {
            let taken = state.taken_of(route);
            let replies = &self.routes[route].replies;
            let reply = replies.get(*taken % replies.len().max(1)).cloned();
            *taken += usize::from(!replaced);
            reply.unwrap_or_else(not_found)
        });
        let delay = reply.latency.saturating_add(verdict.delay);
        let outcome = match verdict.effect {
            Some(TargetEffect::Status(status)) => Answered::Reply(plain(status)),
            Some(TargetEffect::Reset) => Answered::Reset,
            Some(TargetEffect::Hang) => Answered::Hang,
            Some(TargetEffect::BadContentLength) => Answered::BadContentLength(reply),
            // The engine has added the delays up, and asks the connector about the others.
            Some(TargetEffect::Delay(_) | TargetEffect::Connect(_)) | None => {
                Answered::Reply(reply)
            }
        };
        request.status = outcome.status();
        state.remember(request);
        RouteReply { delay, outcome }
    }

    /// A request whose body was too large: remembered without it.
    fn refuse(&self, mut request: ReceivedHttpRequest, status: u16) {
        request.status = Some(status);
        self.state().remember(request);
    }

    fn explain(&self, method: String, path: String, status: u16) {
        let target = Arc::clone(&self.name);
        let (method, path) = (shortened(method), shortened(path));
        self.journal.write(Event::TargetRequest { target, method, path, status });
    }

    fn state(&self) -> MutexGuard<'_, TargetState> {
        self.state.lock()
    }
}

impl TargetState {
    fn taken_of(&mut self, route: usize) -> &mut usize {
        if self.taken.len() <= route {
            self.taken.resize(route + 1, 0);
        }
        &mut self.taken[route]
    }

    fn remember(&mut self, request: ReceivedHttpRequest) {
        if self.received.len() == limits::TARGET_REQUESTS {
            self.received.pop_front();
        }
        self.received.push_back(request);
    }
}

fn plain(status: u16) -> TargetReply {
    TargetReply { status, headers: Vec::new(), body: String::new(), latency: Duration::ZERO }
}

fn not_found() -> TargetReply {
    plain(404)
}
