//! What the API consists of, and the order in which a call is checked (contract §1).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use hyper::header::ALLOW;
use hyper::http::request::Parts;
use hyper::{Request, StatusCode};

use super::query::Query;
use super::{Reply, actions, body, page, variables};
use crate::clock::Clock;
use crate::device::{Device, Firmware, License, Run, View};
use crate::fault::{Engine, Method};
use crate::limits;

/// A path and all that is known of it.
#[derive(Debug)]
pub struct Route {
    /// The path, exactly; with `/*` at its end also everything below it.
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

/// What answers a call that passed all checks.
#[derive(Debug, Clone, Copy)]
enum Handler {
    /// At once.
    Now(fn(&Call<'_>) -> Reply),
    /// With waiting.
    Later(for<'a> fn(&'a Call<'a>) -> Pin<Box<dyn Future<Output = Reply> + Send + 'a>>),
}

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
    Route {
        path: "/api/v1/variables",
        since: ANY,
        licensed: true,
        endpoints: &[get("The template variables with their values.", variables::list)],
    },
    Route {
        path: "/api/v1/template/test",
        since: ANY,
        licensed: true,
        endpoints: &[post("Renders the template in the body.", variables::render)],
    },
];

const ANY: Firmware = Firmware { major: 0, minor: 0, release: 0 };

const fn get(about: &'static str, handler: fn(&Call<'_>) -> Reply) -> Endpoint {
    Endpoint {
        method: Method::Get,
        about,
        body_limit: limits::JSON_BODY_BYTES,
        handler: Handler::Now(handler),
    }
}

const fn post(about: &'static str, handler: fn(&Call<'_>) -> Reply) -> Endpoint {
    Endpoint { method: Method::Post, ..get(about, handler) }
}

const fn delete(about: &'static str, handler: fn(&Call<'_>) -> Reply) -> Endpoint {
    Endpoint { method: Method::Delete, ..get(about, handler) }
}

impl Endpoint {
    /// The same with a handler that waits.
    #[allow(dead_code, reason = "uploads and scans come next")]
    const fn later(
        mut self,
        handler: for<'a> fn(&'a Call<'a>) -> Pin<Box<dyn Future<Output = Reply> + Send + 'a>>,
    ) -> Self {
        self.handler = Handler::Later(handler);
        self
    }

    const fn up_to(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }
}

impl Route {
    /// Whether this path is the route's.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        match self.path.strip_suffix("/*") {
            Some(base) => {
                path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            None => path == self.path,
        }
    }

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
    head: &'a Parts,
    /// The device as it was when the call was checked.
    pub view: View,
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
        let view = self.device.view();
        match self.check(&head, &view) {
            Ok(endpoint) => match body::read(body, endpoint.body_limit).await {
                Ok(body) => {
                    let call = Call { api: self, head: &head, view, body };
                    match endpoint.handler {
                        Handler::Now(handler) => handler(&call),
                        Handler::Later(handler) => handler(&call).await,
                    }
                }
                Err(unread) => unread.into(),
            },
            Err(refused) if body::discard(body).await => refused,
            Err(refused) => refused.closing(),
        }
    }

    /// All checks that need no body, in the order of contract §1: origin, preflight and
    /// authentication stand before the path; path, method and licence follow.
    fn check(&self, head: &Parts, view: &View) -> Result<&'static Endpoint, Reply> {
        let route = route(head.uri.path(), view.firmware)?;
        let endpoint = route.endpoint(head.method.as_str())?;
        self.check_license(route)?;
        Ok(endpoint)
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

/// The route of a path on a device of this firmware.
fn route(path: &str, firmware: Firmware) -> Result<&'static Route, Reply> {
    let found = ROUTES.iter().find(|route| route.matches(path) && route.exists(firmware));
    found.ok_or_else(|| {
        Reply::error(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path")
    })
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
        Query::of(&self.head.uri)
    }

    /// The path as it was asked for, percent-encoded.
    #[must_use]
    pub fn path(&self) -> &str {
        self.head.uri.path()
    }

    /// The head of the request.
    #[must_use]
    pub fn head(&self) -> &Parts {
        self.head
    }

    /// The scenario's clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.api.clock
    }

    /// Has an admitted call carried out.
    pub(super) fn start(&self, run: Run) {
        (self.api.run)(run);
    }
}
