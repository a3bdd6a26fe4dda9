//! HTTP targets: small servers that actions call, with replies from the scenario.
//!
//! A request takes its reply when it was received as a whole. A route with several replies advances
//! then, in the order of arrival, independent of the latency of each reply. FAULT-2 rules the
//! effect of a fault that replaces a reply.

mod server;
mod tls;

use parking_lot::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{ALLOW, PROXY_AUTHENTICATE, UPGRADE, WWW_AUTHENTICATE};
use serde::Serialize;

pub(super) use self::server::TargetServer;
pub use self::tls::CertificateError;
pub(super) use self::tls::TargetCertificate;
use super::PeerContext;
use crate::clock::Clock;
use crate::fault::{ActionOrigin, ActionOriginRef, Engine, TargetEffect, TargetRequest};
use crate::journal::{Event, Journal, truncate_text};
use crate::limits;
use crate::net::http::{Method, status};
use crate::net::sockets::reachable_address;
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
    /// The number of replies taken, for each route.
    replies_taken: Vec<usize>,
    received: VecDeque<Arc<ReceivedHttpRequest>>,
    /// The requests since the start, or since the last reset.
    received_total: u64,
    /// The number of resets.
    generation: u64,
}

/// Some requests that a target received, and what it held when they were read.
#[derive(Debug)]
pub(crate) struct ReceivedPage {
    /// The number of times that the target was reset.
    pub(crate) generation: u64,
    /// The requests that it received.
    pub(crate) total: u64,
    /// The received requests that it no longer holds.
    pub(crate) discarded: u64,
    /// The requests, oldest first.
    pub(crate) requests: Vec<Arc<ReceivedHttpRequest>>,
}

/// A request that a target received.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ReceivedHttpRequest {
    /// The number of the request. The requests of a target count from 1, including those that it no longer
    /// holds.
    pub seq: u64,
    /// Seconds of virtual time since the scenario's start.
    pub t: f64,
    /// The method.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The headers, in order.
    pub headers: Vec<(String, String)>,
    /// The body as text; bytes that are no UTF-8 are replaced.
    pub body: String,
    /// The status of the reply. `None` if no reply is sent.
    pub status: Option<u16>,
    /// The device whose action sent the request. `None` if it came from outside the house.
    pub device: Option<Arc<str>>,
    /// The action that sent the request.
    pub action: Option<Arc<str>>,
}

/// The reply to a request, and the delay before it.
#[derive(Debug)]
struct RouteReply {
    delay: Duration,
    outcome: ReplyOutcome,
}

#[derive(Debug, Clone)]
enum ReplyOutcome {
    Reply(TargetReply),
    Reset,
    Hang,
    BadContentLength(TargetReply),
}

impl ReplyOutcome {
    fn status(&self) -> Option<u16> {
        match self {
            Self::Reply(reply) | Self::BadContentLength(reply) => Some(reply.status),
            Self::Reset | Self::Hang => None,
        }
    }
}

impl Target {
    /// Creates the target of a plan, bound to `address`.
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

    /// Returns the name in the scenario.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the address that it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the URL under which this machine reaches it, without a path.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}", reachable_address(self.address))
    }

    /// Returns the newest requests that it received, at most [`limits::TARGET_REQUESTS`], oldest
    /// first.
    #[must_use]
    pub fn received_requests(&self) -> Vec<ReceivedHttpRequest> {
        self.state().received.iter().map(|request| (**request).clone()).collect()
    }

    /// Returns the received requests after number `seq`, at most `limit` of them, and the state of the
    /// target at the same moment.
    pub(crate) fn received_page(&self, seq: u64, limit: usize) -> ReceivedPage {
        let state = self.state();
        let discarded = state.received_total - state.received.len() as u64;
        // The requests are numbered without a gap.
        let skipped = usize::try_from(seq.saturating_sub(discarded)).unwrap_or(usize::MAX);
        let requests = state.received.range(skipped.min(state.received.len())..);
        ReceivedPage {
            generation: state.generation,
            total: state.received_total,
            discarded,
            requests: requests.take(limit).cloned().collect(),
        }
    }

    /// Returns the number of requests that it holds.
    #[must_use]
    pub fn received_count(&self) -> usize {
        self.state().received.len()
    }

    /// Discards the received requests. Its routes keep their position, and the numbers of later requests
    /// go on.
    pub fn clear_received(&self) {
        self.state().received.clear();
    }

    /// Resets the target: no received requests, every route at its first reply.
    pub fn reset(&self) {
        let mut state = self.state();
        *state = TargetState { generation: state.generation + 1, ..TargetState::default() };
    }

    /// Receives a request: stores it, evaluates the fault rules, and takes a reply.
    fn receive(
        &self,
        mut request: ReceivedHttpRequest,
        origin: Option<&ActionOrigin>,
    ) -> RouteReply {
        let path = request.path.split('?').next().unwrap_or_default();
        let verdict = self.engine.target(&TargetRequest {
            target: &self.name,
            method: &request.method,
            path,
            from: origin.map(ActionOriginRef::from),
        });
        let mut state = self.state();
        let route = self.routes.iter().position(|route| route.matches(&request.method, path));
        let replaced =
            matches!(verdict.effect, Some(TargetEffect::Status(_) | TargetEffect::Reset));
        let reply = route.map_or_else(not_found, |route| {
            let taken = state.replies_taken_of(route);
            let replies = &self.routes[route].replies;
            let reply = replies.get(*taken % replies.len().max(1)).cloned();
            *taken += usize::from(!replaced);
            reply.unwrap_or_else(not_found)
        });
        let delay = reply.latency.saturating_add(verdict.delay);
        let reply = self.with_required_header(reply, &request.method, path);
        let outcome =
            match verdict.effect {
                Some(TargetEffect::Status(status)) => ReplyOutcome::Reply(
                    self.with_required_header(empty_reply(status), &request.method, path),
                ),
                Some(TargetEffect::Reset) => ReplyOutcome::Reset,
                Some(TargetEffect::Hang) => ReplyOutcome::Hang,
                Some(TargetEffect::BadContentLength) => ReplyOutcome::BadContentLength(reply),
                // The engine has added the delays up, and evaluates the other effects for the
                // connector.
                Some(TargetEffect::Delay(_) | TargetEffect::Connect(_)) | None => {
                    ReplyOutcome::Reply(reply)
                }
            };
        request.status = outcome.status();
        state.store(request);
        RouteReply { delay, outcome }
    }

    /// Adds the header that the status of a reply requires, if the scenario does not give it (FAULT-7).
    fn with_required_header(
        &self,
        mut reply: TargetReply,
        method: &str,
        path: &str,
    ) -> TargetReply {
        let Some(header) = status::required_header(reply.status) else { return reply };
        if reply.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(header.as_str())) {
            return reply;
        }
        let challenge = || format!("Basic realm=\"{}\"", self.name);
        let (name, value) = match header {
            WWW_AUTHENTICATE => ("WWW-Authenticate", challenge()),
            PROXY_AUTHENTICATE => ("Proxy-Authenticate", challenge()),
            ALLOW => ("Allow", self.other_methods(method, path)),
            UPGRADE => ("Upgrade", status::UPGRADE_OFFER.to_owned()),
            // A scenario without the header of a 206 is refused.
            _ => return reply,
        };
        reply.headers.push((name.to_owned(), value));
        reply
    }

    /// Returns the methods that routes of this path name but this one, as in an `Allow` header.
    fn other_methods(&self, method: &str, path: &str) -> String {
        let mut others: Vec<&str> = Vec::new();
        for other in self.routes.iter().filter_map(|route| route.method).map(Method::as_str) {
            let routed = self
                .routes
                .iter()
                .any(|route| route.method.is_some() && route.matches(other, path));
            if other != method && routed && !others.contains(&other) {
                others.push(other);
            }
        }
        others.join(", ")
    }

    /// Stores a request whose body was too large, without its body.
    fn store_refused(&self, mut request: ReceivedHttpRequest, status: u16) {
        request.status = Some(status);
        self.state().store(request);
    }

    fn record_reply(&self, method: String, path: String, status: u16) {
        let target = Arc::clone(&self.name);
        let (method, path) = (truncate_text(method), truncate_text(path));
        self.journal.record(Event::TargetRequest { target, method, path, status });
    }

    fn state(&self) -> MutexGuard<'_, TargetState> {
        self.state.lock()
    }
}

impl TargetState {
    fn replies_taken_of(&mut self, route: usize) -> &mut usize {
        if self.replies_taken.len() <= route {
            self.replies_taken.resize(route + 1, 0);
        }
        &mut self.replies_taken[route]
    }

    fn store(&mut self, mut request: ReceivedHttpRequest) {
        self.received_total += 1;
        request.seq = self.received_total;
        if self.received.len() == limits::TARGET_REQUESTS {
            self.received.pop_front();
        }
        self.received.push_back(Arc::new(request));
    }
}

fn empty_reply(status: u16) -> TargetReply {
    TargetReply { status, headers: Vec::new(), body: String::new(), latency: Duration::ZERO }
}

fn not_found() -> TargetReply {
    empty_reply(404)
}
