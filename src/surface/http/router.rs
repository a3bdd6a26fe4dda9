//! The table of the API's routes, and the order in which a call is checked (HTTP-4).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::http::request::Parts;
use hyper::{Request, StatusCode};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::auth::{AuthDecision, AuthRefusal, Authenticator};
use super::cors::{self, LocalAddr, OriginDecision, RefusedOrigins};
use super::live::SubscriberSlot;
use super::reply_cache::ReplyCache;
use super::{
    HttpReply, actions, berry, live, load, modbus, page, power, report, scalers, sd, settings,
    system, variables, wifi,
};
use crate::clock::Clock;
use crate::device::config::{ETH_SETTINGS, METER_SETTINGS, MQTT_SETTINGS, SETTINGS, WIFI_SETTINGS};
use crate::device::{Device, Feature, Firmware, License, LicensedFeature, Run, View};
use crate::fault::Engine;
use crate::limits;
use crate::net::http::query::Query;
use crate::net::http::{Method, body, method_not_allowed};
use crate::tasks::Tasks;

/// A path of the API.
#[derive(Debug)]
pub struct ApiRoute {
    /// The exact path. If it ends in `/*`, the route also covers everything below.
    pub path: &'static str,
    /// The first firmware that has the path.
    pub since: Firmware,
    /// True if the path needs a licence.
    pub licensed: bool,
    /// The methods of the path.
    pub endpoints: &'static [ApiEndpoint],
}

/// A method of a path.
#[derive(Debug)]
pub struct ApiEndpoint {
    /// The method.
    pub method: Method,
    /// A sentence that describes the endpoint, as clients see it.
    pub about: &'static str,
    /// Maximum bytes of the request body; more is 413.
    pub body_limit: usize,
    handler: Handler,
}

/// The function that answers a call after all checks.
#[derive(Debug, Clone, Copy)]
enum Handler {
    /// Answers without waiting.
    Sync(fn(&Call<'_>) -> HttpReply),
    /// Answers after waiting.
    Async(for<'a> fn(&'a Call<'a>) -> ReplyFuture<'a>),
    /// Answers after waiting, and reads the body itself.
    Streaming(StreamingHandler),
}

/// The reply of a handler that waits.
pub(super) type ReplyFuture<'a> = Pin<Box<dyn Future<Output = HttpReply> + Send + 'a>>;

/// A handler that reads the body itself.
type StreamingHandler = for<'a> fn(&'a Call<'a>, body::BodyStream) -> ReplyFuture<'a>;

/// Real time that a reply waits until the device's Modbus server applies a change of the settings: far
/// longer than that takes. A server that cannot apply it must not block the API.
const APPLY_TIMEOUT: Duration = Duration::from_secs(1);

/// Every path of the device.
pub static ROUTES: &[ApiRoute] = &[
    ApiRoute {
        path: "/",
        since: ANY_FIRMWARE,
        licensed: false,
        endpoints: &[get("A page that says what this is.", page::show)],
    },
    ApiRoute {
        path: "/api/v1/actions",
        since: Feature::Actions.since(),
        licensed: true,
        endpoints: &[
            get("The action definition.", actions::definition),
            post("Replaces the action definition.", actions::replace)
                .with_body_limit(limits::DEFINITION_BYTES),
            delete("Deletes the action definition.", actions::delete),
        ],
    },
    ApiRoute {
        path: "/api/v1/actions/call",
        since: Feature::Actions.since(),
        licensed: true,
        endpoints: &[post("Runs the action that ?id= names.", actions::call)],
    },
    ApiRoute {
        path: "/api/v1/actions/status",
        since: Feature::Actions.since(),
        licensed: true,
        endpoints: &[get(
            "What became of the requests that ?id= names, one or several.",
            actions::status,
        )],
    },
    ApiRoute {
        path: "/api/v1/system",
        since: ANY_FIRMWARE,
        licensed: false,
        endpoints: &[get("The device and what it is connected to.", system::show)],
    },
    ApiRoute {
        path: "/api/v1/report",
        since: ANY_FIRMWARE,
        licensed: true,
        endpoints: &[get("The newest reading of the meter.", report::show)],
    },
    ApiRoute {
        path: "/api/v1/report/objects",
        since: ANY_FIRMWARE,
        licensed: true,
        endpoints: &[get("What a DLMS meter sent, as it sent it.", report::objects)],
    },
    ApiRoute {
        path: "/api/v1/live",
        since: ANY_FIRMWARE,
        licensed: false,
        endpoints: &[get(
            "Each reading of the meter as an event, for one client.",
            live::stream_events,
        )],
    },
    ApiRoute {
        path: "/api/v1/modbus",
        since: Feature::ModbusServer.since(),
        licensed: false,
        endpoints: &[
            get(
                "The register map, as POST takes it; with ?address_format=dec or hex, where each register stands.",
                modbus::show,
            ),
            post("Replaces the register map.", modbus::replace),
            delete("Goes back to the map of a device out of the box.", modbus::delete),
        ],
    },
    ApiRoute {
        path: "/api/v1/settings",
        since: ANY_FIRMWARE,
        licensed: false,
        endpoints: &[
            get("The settings.", |call| settings::show(call, &SETTINGS)),
            put("Changes the settings it names.", |call| settings::merge(call, &SETTINGS)),
            post("Replaces the settings.", |call| settings::replace(call, &SETTINGS)),
        ],
    },
    ApiRoute {
        path: "/api/v1/meter/settings",
        since: ANY_FIRMWARE,
        licensed: false,
        endpoints: &[
            get("How the device talks to its meter.", |call| settings::show(call, &METER_SETTINGS)),
            put("Changes what it names of that.", |call| settings::merge(call, &METER_SETTINGS)),
            post("Replaces all of that.", |call| settings::replace(call, &METER_SETTINGS)),
        ],
    },
    ApiRoute {
        path: "/api/v1/wifi/sta/settings",
        since: ANY_FIRMWARE,
        licensed: false,
        endpoints: &[
            get("The settings of the Wi-Fi client.", |call| settings::show(call, &WIFI_SETTINGS)),
            put("Changes what it names of them.", |call| settings::merge(call, &WIFI_SETTINGS)),
            post("Replaces them.", |call| settings::replace(call, &WIFI_SETTINGS)),
            delete("Forgets them; the client is off.", wifi::reset),
        ],
    },
    ApiRoute {
        path: "/api/v1/meter/scalers/current",
        since: Feature::CurrentScalers.since(),
        licensed: false,
        endpoints: &[get("The scalers in force, of a DLMS meter.", scalers::current)],
    },
    ApiRoute {
        path: "/api/v1/meter/scalers/custom",
        since: ANY_FIRMWARE,
        licensed: false,
        endpoints: &[
            get("The user's own scalers.", scalers::custom),
            post("Replaces the user's own scalers.", scalers::replace),
        ],
    },
    ApiRoute {
        path: "/api/v1/wifi/scan",
        since: ANY_FIRMWARE,
        licensed: false,
        endpoints: &[asynchronous(Method::Get, "The Wi-Fi networks around.", wifi::scan)],
    },
    ApiRoute {
        path: "/api/v1/wifi/wps",
        since: ANY_FIRMWARE,
        licensed: false,
        endpoints: &[post("Opens the window of a WPS pairing.", wifi::pair)],
    },
    ApiRoute {
        path: "/api/v1/eth/settings",
        since: ANY_FIRMWARE,
        licensed: false,
        endpoints: &[
            get("The settings of Ethernet.", |call| settings::show(call, &ETH_SETTINGS)),
            put("Changes what it names of them.", |call| settings::merge(call, &ETH_SETTINGS)),
            post("Replaces them.", |call| settings::replace(call, &ETH_SETTINGS)),
        ],
    },
    ApiRoute {
        path: "/sdcard/*",
        since: ANY_FIRMWARE,
        licensed: false,
        endpoints: &[
            asynchronous(
                Method::Get,
                "What is on the SD card: a folder's listing, or a file.",
                sd::get,
            ),
            asynchronous(Method::Delete, "Deletes a file or folder of the SD card.", sd::delete),
        ],
    },
    ApiRoute {
        path: "/api/v1/berry",
        since: Feature::Berry.since(),
        licensed: false,
        endpoints: &[
            get("The stored Berry script.", berry::show),
            post("Replaces the script.", berry::store).with_body_limit(limits::SCRIPT_BYTES),
            put("Whether the script runs; ?run=true starts it, ?run=false stops it.", berry::run),
            delete("Deletes the script; one that runs goes on.", berry::delete),
        ],
    },
    ApiRoute {
        path: "/api/v1/berry/console",
        since: Feature::Berry.since(),
        licensed: false,
        endpoints: &[get("What the script prints, as events.", berry::console)],
    },
    ApiRoute {
        path: "/load",
        since: ANY_FIRMWARE,
        licensed: false,
        endpoints: &[streaming(
            "Takes a firmware image, and reboots.",
            super::load::UPLOAD_BYTES,
            load::upload,
        )],
    },
    ApiRoute {
        path: "/api/v1/reboot",
        since: ANY_FIRMWARE,
        licensed: false,
        endpoints: &[post("Reboots the device.", power::reboot)],
    },
    ApiRoute {
        path: "/api/v1/restore",
        since: ANY_FIRMWARE,
        licensed: false,
        endpoints: &[post(
            "Puts everything back to what it was from the factory, and reboots.",
            power::restore,
        )],
    },
    ApiRoute {
        path: "/api/v1/mqtt/settings",
        since: ANY_FIRMWARE,
        licensed: false,
        endpoints: &[
            get("The settings of the MQTT client.", |call| settings::show(call, &MQTT_SETTINGS)),
            put("Changes what it names of them.", |call| settings::merge(call, &MQTT_SETTINGS)),
            post("Replaces them.", |call| settings::replace(call, &MQTT_SETTINGS)),
        ],
    },
    ApiRoute {
        path: "/api/v1/variables",
        since: ANY_FIRMWARE,
        licensed: true,
        endpoints: &[get("The template variables with their values.", variables::list)],
    },
    ApiRoute {
        path: "/api/v1/template/test",
        since: ANY_FIRMWARE,
        licensed: true,
        endpoints: &[post("Renders the template in the body.", variables::render)],
    },
];

/// The oldest firmware: the path exists in every version.
const ANY_FIRMWARE: Firmware = Firmware { major: 0, minor: 0, release: 0 };

const fn get(about: &'static str, handler: fn(&Call<'_>) -> HttpReply) -> ApiEndpoint {
    ApiEndpoint {
        method: Method::Get,
        about,
        body_limit: limits::JSON_BODY_BYTES,
        handler: Handler::Sync(handler),
    }
}

const fn post(about: &'static str, handler: fn(&Call<'_>) -> HttpReply) -> ApiEndpoint {
    ApiEndpoint { method: Method::Post, ..get(about, handler) }
}

const fn put(about: &'static str, handler: fn(&Call<'_>) -> HttpReply) -> ApiEndpoint {
    ApiEndpoint { method: Method::Put, ..get(about, handler) }
}

const fn delete(about: &'static str, handler: fn(&Call<'_>) -> HttpReply) -> ApiEndpoint {
    ApiEndpoint { method: Method::Delete, ..get(about, handler) }
}

/// An endpoint whose handler waits.
const fn asynchronous(
    method: Method,
    about: &'static str,
    handler: for<'a> fn(&'a Call<'a>) -> ReplyFuture<'a>,
) -> ApiEndpoint {
    ApiEndpoint {
        method,
        about,
        body_limit: limits::JSON_BODY_BYTES,
        handler: Handler::Async(handler),
    }
}

/// An endpoint whose handler reads the body itself.
const fn streaming(
    about: &'static str,
    body_limit: usize,
    handler: StreamingHandler,
) -> ApiEndpoint {
    ApiEndpoint { method: Method::Post, about, body_limit, handler: Handler::Streaming(handler) }
}

impl ApiEndpoint {
    const fn with_body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }
}

impl ApiRoute {
    /// Returns true if the route covers this path.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        match self.path.strip_suffix("/*") {
            Some(base) => {
                path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            None => path == self.path,
        }
    }

    /// Returns true if a device with this firmware has the path.
    #[must_use]
    pub fn exists(&self, firmware: Firmware) -> bool {
        self.since <= firmware
    }

    /// Returns true if this licence includes the path.
    #[must_use]
    pub fn open_to(&self, license: License) -> bool {
        !self.licensed || license.includes(LicensedFeature::Routes)
    }

    /// Returns the names of the methods, as in an `Allow` header.
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
    pub(super) live: SubscriberSlot,
    /// The tasks that send to the streams of clients.
    pub(super) streams: Arc<Tasks>,
    authenticator: Authenticator,
    refused_origins: RefusedOrigins,
    /// The cached GET replies, one for each of [`ROUTES`].
    reply_caches: Box<[ReplyCache]>,
    start_run: Box<dyn Fn(Run) + Send + Sync>,
    /// Permits one upload at a time.
    upload_permit: Semaphore,
}

/// The endpoint of a request, with the cache of its path.
#[derive(Clone, Copy)]
struct MatchedEndpoint<'a> {
    endpoint: &'static ApiEndpoint,
    reply_cache: &'a ReplyCache,
}

/// A call that passed all checks.
pub struct Call<'a> {
    api: &'a Api,
    head: &'a Parts,
    reply_cache: &'a ReplyCache,
    /// The device as it was when the call was checked.
    pub view: View,
    /// The request's body.
    pub body: Bytes,
}

impl Api {
    /// Makes the API of `device`. `start_run` is called with every admitted call and executes it.
    pub fn new(
        device: Arc<Device>,
        engine: Arc<Engine>,
        clock: Clock,
        start_run: impl Fn(Run) + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            engine,
            clock,
            live: SubscriberSlot::default(),
            streams: Arc::default(),
            authenticator: Authenticator::new(device.access_policy().digest),
            refused_origins: RefusedOrigins::default(),
            reply_caches: ROUTES.iter().map(|_| ReplyCache::default()).collect(),
            start_run: Box::new(start_run),
            upload_permit: Semaphore::new(1),
            device,
        })
    }

    /// Answers a request without fault rules, which are applied between this and the socket.
    pub async fn answer<B>(&self, request: Request<B>) -> HttpReply
    where
        B: hyper::body::Body<Data = Bytes> + Send + Unpin + 'static,
    {
        self.answer_at(None, request).await
    }

    /// Answers a request on a connection with this local address.
    ///
    /// The order of the checks is that of HTTP-4: origin, preflight, authentication, path,
    /// method, licence, body.
    pub(super) async fn answer_at<B>(
        &self,
        local: Option<LocalAddr>,
        request: Request<B>,
    ) -> HttpReply
    where
        B: hyper::body::Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let (head, body) = request.into_parts();
        let view = self.device.view();
        let origin = OriginDecision::evaluate(&head, local, &self.device, &view);
        if origin == OriginDecision::Deny {
            self.refused_origins.log_once(&head, &self.device);
            return discard_body(cors::refusal_reply(), body).await;
        }
        if let Some(reply) = origin.preflight_reply(&head) {
            return discard_body(reply, body).await;
        }
        origin.add_headers(self.authenticate_and_answer(&head, view, body).await)
    }

    /// Adds the CORS headers to a reply of the fault layer.
    pub(super) fn add_cors_headers(
        &self,
        local: Option<LocalAddr>,
        head: &Parts,
        reply: HttpReply,
    ) -> HttpReply {
        OriginDecision::evaluate(head, local, &self.device, &self.device.view()).add_headers(reply)
    }

    /// Answers a request of an allowed origin.
    async fn authenticate_and_answer<B>(&self, head: &Parts, view: View, body: B) -> HttpReply
    where
        B: hyper::body::Body<Data = Bytes> + Send + Unpin + 'static,
    {
        match self.authenticator.check_head(head, &view) {
            AuthDecision::Allow => {}
            AuthDecision::Deny(refusal) => {
                return discard_body(self.unauthorized(&view, refusal), body).await;
            }
            AuthDecision::NeedsBody => return self.answer_auth_int(head, view, body).await,
        }
        match self.match_endpoint(head, &view) {
            Ok(matched) if matches!(matched.endpoint.handler, Handler::Streaming(_)) => {
                let call = matched.call(self, head, view, Bytes::new());
                self.run_handler(matched, &call, || body::stream_body(body)).await
            }
            Ok(matched) => match body::read(body, matched.endpoint.body_limit).await {
                Ok(body) => self.handle(matched, head, view, body).await,
                Err(error) => error.into(),
            },
            Err(refused) => discard_body(refused, body).await,
        }
    }

    /// Answers a request whose authentication needs the body (`auth-int`). The body is read first, but
    /// only an authenticated client is told of other mistakes.
    async fn answer_auth_int<B>(&self, head: &Parts, view: View, body: B) -> HttpReply
    where
        B: hyper::body::Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let matched = self.match_endpoint(head, &view);
        let limit = matched.as_ref().map_or(0, |matched| matched.endpoint.body_limit);
        let Ok(body) = body::read(body, limits::AUTH_INT_BYTES).await else {
            return self.unauthorized(&view, AuthRefusal::UnreadableBody).with_close();
        };
        if let Err(refusal) = self.authenticator.check_with_body(head, &view, &body) {
            return self.unauthorized(&view, refusal);
        }
        match matched {
            Ok(_) if body.len() > limit => body::BodyReadError::TooLarge(limit).into(),
            Ok(matched) => self.handle(matched, head, view, body).await,
            Err(refused) => refused,
        }
    }

    async fn handle(
        &self,
        matched: MatchedEndpoint<'_>,
        head: &Parts,
        view: View,
        body: Bytes,
    ) -> HttpReply {
        let call = matched.call(self, head, view, body);
        self.run_handler(matched, &call, || body::buffered_body(call.body.clone())).await
    }

    /// Calls the handler. `upload` returns the body for a handler that reads it itself.
    async fn run_handler(
        &self,
        matched: MatchedEndpoint<'_>,
        call: &Call<'_>,
        upload: impl FnOnce() -> body::BodyStream,
    ) -> HttpReply {
        let reply = match matched.endpoint.handler {
            Handler::Sync(handler) => handler(call),
            Handler::Async(handler) => handler(call).await,
            Handler::Streaming(handler) => handler(call, upload()).await,
        };
        if matched.endpoint.method != Method::Get {
            // A client that has the reply must find the change in effect, also after a crash.
            self.device.wait_persisted().await;
            self.device.wait_applied(APPLY_TIMEOUT).await;
        }
        reply
    }

    fn unauthorized(&self, view: &View, refusal: AuthRefusal) -> HttpReply {
        tracing::debug!(device = self.device.identity().id.as_str(), %refusal, "unauthorized");
        self.authenticator.challenge(view, refusal)
    }

    /// Checks path, method and licence, in this order.
    fn match_endpoint(&self, head: &Parts, view: &View) -> Result<MatchedEndpoint<'_>, HttpReply> {
        let path = head.uri.path();
        let mut routes = ROUTES.iter().zip(&self.reply_caches);
        let matched = routes.find(|(route, _)| route.matches(path) && route.exists(view.firmware));
        let Some((route, reply_cache)) = matched else {
            let message = "there is nothing at this path";
            return Err(HttpReply::error(StatusCode::NOT_FOUND, "not_found", message));
        };
        let endpoint = route.endpoint(head.method.as_str())?;
        self.check_license(route)?;
        Ok(MatchedEndpoint { endpoint, reply_cache })
    }

    fn check_license(&self, route: &ApiRoute) -> Result<(), HttpReply> {
        if !route.open_to(self.device.identity().license) {
            // The one error without JSON (ACCESS-1).
            return Err(HttpReply::content(
                StatusCode::NOT_FOUND,
                "text/plain; charset=utf-8",
                "License required",
            ));
        }
        Ok(())
    }
}

/// Discards the body of a request and returns a reply that does not depend on it. If the body is too long
/// to be discarded, the connection is closed after the reply.
async fn discard_body<B>(reply: HttpReply, body: B) -> HttpReply
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    if body::discard(body).await { reply } else { reply.with_close() }
}

impl ApiRoute {
    fn endpoint(&self, method: &str) -> Result<&ApiEndpoint, HttpReply> {
        let endpoint = self.endpoints.iter().find(|endpoint| endpoint.method.as_str() == method);
        endpoint.ok_or_else(|| method_not_allowed(method, &self.methods()))
    }
}

impl<'a> MatchedEndpoint<'a> {
    fn call(self, api: &'a Api, head: &'a Parts, view: View, body: Bytes) -> Call<'a> {
        Call { api, head, reply_cache: self.reply_cache, view, body }
    }
}

impl Call<'_> {
    /// Returns the cached body of a reply that depends on configuration and firmware alone, not on
    /// the request. `render` is called for the first GET after a change of either.
    pub(super) fn cached_body(&self, render: impl FnOnce() -> Bytes) -> Bytes {
        self.reply_cache.get_or_render(&self.view, render)
    }

    /// Returns the device.
    #[must_use]
    pub fn device(&self) -> &Arc<Device> {
        &self.api.device
    }

    pub(super) fn query(&self) -> Query<'_> {
        Query::from_uri(&self.head.uri)
    }

    /// Returns the path of the request, percent-encoded.
    #[must_use]
    pub fn path(&self) -> &str {
        self.head.uri.path()
    }

    /// Returns the head of the request.
    #[must_use]
    pub fn head(&self) -> &Parts {
        self.head
    }

    /// Returns the API that was called.
    pub(super) fn api(&self) -> &Api {
        self.api
    }

    /// Returns the scenario's clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.api.clock
    }

    /// Acquires the permit for an upload. `None` if another upload is in progress.
    pub(super) fn acquire_upload_permit(&self) -> Option<SemaphorePermit<'_>> {
        self.api.upload_permit.try_acquire().ok()
    }

    /// Starts the execution of an admitted call.
    pub(super) fn start(&self, run: Run) {
        (self.api.start_run)(run);
    }
}
