//! What the API consists of, and the order in which a call is checked (contract §1).

use std::sync::Arc;

use bytes::Bytes;
use hyper::header::ALLOW;
use hyper::{Request, StatusCode};

use super::query::Query;
use super::{Reply, actions, body, page};
use crate::clock::Clock;
use crate::device::{Device, Firmware, License, Run};
use crate::fault::{Engine, Method};
use crate::limits;

/// A path and all that is known of it.
#[derive(Debug)]
pub struct Route {
    /// The path, exactly.
    pub path: &'static str,
    /// The first firmware that has it.
    pub since: Firmware,
    /// Whether the licence `FREE` leaves it out.
    pub licensed: bool,
    /// What can be done with it.
    pub endpoints: &'static [Endpoint],
}

/// A method of a path.
#[derive(Debug)]
pub struct Endpoint {
    /// The method.
    pub method: Method,
    /// What it does, in a sentence.
    pub about: &'static str,
    /// Bytes its request body may have; more is 413.
    pub body_limit: usize,
    handler: Handler,
}

type Handler = fn(&Call<'_>) -> Reply;

/// Every path of the device.
pub static ROUTES: &[Route] = &[
    Route {
        path: "/",
        since: ANY,
        licensed: false,
        endpoints: &[get("A page that says what this is.", page::show)],
    },
    Route {
        path: "/api/v1/actions",
        since: Firmware::ACTIONS,
        licensed: true,
        endpoints: &[
            get("The action definition.", actions::definition),
            post("Replaces the action definition.", actions::replace)
                .up_to(limits::DEFINITION_BYTES),
            delete("Deletes the action definition.", actions::delete),
        ],
    },
    Route {
        path: "/api/v1/actions/call",
        since: Firmware::ACTIONS,
        licensed: true,
        endpoints: &[post("Runs the action that ?id= names.", actions::call)],
    },
    Route {
        path: "/api/v1/actions/status",
        since: Firmware::ACTIONS,
        licensed: true,
        endpoints: &[get(
            "What became of the requests that ?id= names, one or several.",
            actions::status,
        )],
    },
];

const ANY: Firmware = Firmware { major: 0, minor: 0, release: 0 };

const fn get(about: &'static str, handler: Handler) -> Endpoint {
    Endpoint { method: Method::Get, about, body_limit: limits::JSON_BODY_BYTES, handler }
}

const fn post(about: &'static str, handler: Handler) -> Endpoint {
    Endpoint { method: Method::Post, ..get(about, handler) }
}

const fn delete(about: &'static str, handler: Handler) -> Endpoint {
    Endpoint { method: Method::Delete, ..get(about, handler) }
}

impl Endpoint {
    const fn up_to(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }
}

impl Route {
    /// Whether a device of this firmware has it.
    #[must_use]
    pub fn exists(&self, firmware: Firmware) -> bool {
        self.since <= firmware
    }

    /// The names of its methods, as in an `Allow` header.
    #[must_use]
    pub fn methods(&self) -> String {
        let names: Vec<&str> =
            self.endpoints.iter().map(|endpoint| endpoint.method.as_str()).collect();
        names.join(", ")
    }
}

/// The API of one device, without a socket: requests in, replies out.
pub struct Api {
    pub(super) device: Arc<Device>,
    pub(super) engine: Arc<Engine>,
    pub(super) clock: Clock,
    run: Box<dyn Fn(Run) + Send + Sync>,
}

/// A call that passed all checks.
pub struct Call<'a> {
    api: &'a Api,
    uri: &'a hyper::Uri,
    /// The request's body.
    pub body: Bytes,
}

impl Api {
    /// The API of `device`; `run` is given every admitted call, to be carried out.
    pub fn new(
        device: Arc<Device>,
        engine: Arc<Engine>,
        clock: Clock,
        run: impl Fn(Run) + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { device, engine, clock, run: Box::new(run) })
    }

    /// Answers a request, its faults aside: those lie between this and the socket.
    pub async fn answer<B>(&self, request: Request<B>) -> Reply
    where
        B: hyper::body::Body<Data = Bytes> + Unpin,
    {
        let (head, body) = request.into_parts();
        match self.check(head.method.as_str(), head.uri.path()) {
            Ok(endpoint) => match body::read(body, endpoint.body_limit).await {
                Ok(body) => (endpoint.handler)(&Call { api: self, uri: &head.uri, body }),
                Err(unread) => unread.into(),
            },
            Err(refused) if body::discard(body).await => refused,
            Err(refused) => refused.closing(),
        }
    }

    /// All checks that need no body, in the order of contract §1: origin, preflight and
    /// authentication stand before the path; path, method and licence follow.
    fn check(&self, method: &str, path: &str) -> Result<&'static Endpoint, Reply> {
        let route = self.route(path)?;
        let endpoint = route.endpoint(method)?;
        self.check_license(route)?;
        Ok(endpoint)
    }

    fn route(&self, path: &str) -> Result<&'static Route, Reply> {
        let firmware = self.device.identity().firmware;
        let found = ROUTES.iter().find(|route| route.path == path && route.exists(firmware));
        found.ok_or_else(|| {
            Reply::error(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path")
        })
    }

    fn check_license(&self, route: &Route) -> Result<(), Reply> {
        if route.licensed && self.device.identity().license == License::Free {
            // The one error without JSON (contract §1, seen).
            return Err(Reply::content(
                StatusCode::NOT_FOUND,
                "text/plain; charset=utf-8",
                "License required",
            ));
        }
        Ok(())
    }
}

impl Route {
    fn endpoint(&self, method: &str) -> Result<&Endpoint, Reply> {
        let found = self.endpoints.iter().find(|endpoint| endpoint.method.as_str() == method);
        found.ok_or_else(|| method_not_allowed(method, &self.methods()))
    }
}

/// 405 with the methods that there are.
pub(crate) fn method_not_allowed(method: &str, allowed: &str) -> Reply {
    let message = format!("{method} is not possible here; this path takes {allowed}");
    Reply::error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", &message)
        .with(ALLOW, allowed)
}

impl Call<'_> {
    /// The device.
    #[must_use]
    pub fn device(&self) -> &Arc<Device> {
        &self.api.device
    }

    pub(super) fn query(&self) -> Query<'_> {
        Query::of(self.uri)
    }

    /// Has an admitted call carried out.
    pub(super) fn start(&self, run: Run) {
        (self.api.run)(run);
    }
}
