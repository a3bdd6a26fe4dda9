//! What the API consists of, and the order in which a call is checked (HTTP-4).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

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
use crate::device::{Device, Feature, Firmware, License, Licensed, Run, View};
use crate::fault::{Engine, Method};
use crate::limits;
use crate::net::http::query::Query;
use crate::net::http::{body, method_not_allowed};
use crate::tasks::Tasks;

/// A path and all that is known of it.
#[derive(Debug)]
pub struct ApiRoute {
    /// The path, exactly; with `/*` at its end also everything below it.
    pub path: &'static str,
    /// The first firmware that has it.
    pub since: Firmware,
    /// Whether it takes a licence.
    pub licensed: bool,
    /// What can be done with it.
    pub endpoints: &'static [ApiEndpoint],
}

/// A method of a path.
#[derive(Debug)]
pub struct ApiEndpoint {
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
    Now(fn(&Call<'_>) -> HttpReply),
    /// With waiting.
    Later(for<'a> fn(&'a Call<'a>) -> Pin<Box<dyn Future<Output = HttpReply> + Send + 'a>>),
    /// With waiting, and it reads the body itself.
    Streaming(Streaming),
}

/// A handler that reads the body itself.
type Streaming = for<'a> fn(
    &'a Call<'a>,
    body::BodyStream,
) -> Pin<Box<dyn Future<Output = HttpReply> + Send + 'a>>;

/// Every path of the device.
pub static ROUTES: &[ApiRoute] = &[
    ApiRoute {
        path: "/",
        since: ANY,
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
                .up_to(limits::DEFINITION_BYTES),
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
        since: ANY,
        licensed: false,
        endpoints: &[get("The device and what it is connected to.", system::show)],
    },
    ApiRoute {
        path: "/api/v1/report",
        since: ANY,
        licensed: true,
        endpoints: &[get("The newest reading of the meter.", report::show)],
    },
    ApiRoute {
        path: "/api/v1/report/objects",
        since: ANY,
        licensed: true,
        endpoints: &[get("What a DLMS meter sent, as it sent it.", report::objects)],
    },
    ApiRoute {
        path: "/api/v1/live",
        since: ANY,
        licensed: false,
        endpoints: &[get("Each reading of the meter as an event, for one client.", live::follow)],
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
        since: ANY,
        licensed: false,
        endpoints: &[
            get("The settings.", |call| settings::show(call, &SETTINGS)),
            put("Changes the settings it names.", |call| settings::merge(call, &SETTINGS)),
            post("Replaces the settings.", |call| settings::replace(call, &SETTINGS)),
        ],
    },
    ApiRoute {
        path: "/api/v1/meter/settings",
        since: ANY,
        licensed: false,
        endpoints: &[
            get("How the device talks to its meter.", |call| settings::show(call, &METER_SETTINGS)),
            put("Changes what it names of that.", |call| settings::merge(call, &METER_SETTINGS)),
            post("Replaces all of that.", |call| settings::replace(call, &METER_SETTINGS)),
        ],
    },
    ApiRoute {
        path: "/api/v1/wifi/sta/settings",
        since: ANY,
        licensed: false,
        endpoints: &[
            get("The settings of the Wi-Fi client.", |call| settings::show(call, &WIFI_SETTINGS)),
            put("Changes what it names of them.", |call| settings::merge(call, &WIFI_SETTINGS)),
            post("Replaces them.", |call| settings::replace(call, &WIFI_SETTINGS)),
            delete("Forgets them; the client is off.", wifi::forget),
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
        since: ANY,
        licensed: false,
        endpoints: &[
            get("The user's own scalers.", scalers::custom),
            post("Replaces the user's own scalers.", scalers::replace),
        ],
    },
    ApiRoute {
        path: "/api/v1/wifi/scan",
        since: ANY,
        licensed: false,
        endpoints: &[later(Method::Get, "The Wi-Fi networks around.", wifi::scan)],
    },
    ApiRoute {
        path: "/api/v1/wifi/wps",
        since: ANY,
        licensed: false,
        endpoints: &[post("Opens the window of a WPS pairing.", wifi::pair)],
    },
    ApiRoute {
        path: "/api/v1/eth/settings",
        since: ANY,
        licensed: false,
        endpoints: &[
            get("The settings of Ethernet.", |call| settings::show(call, &ETH_SETTINGS)),
            put("Changes what it names of them.", |call| settings::merge(call, &ETH_SETTINGS)),
            post("Replaces them.", |call| settings::replace(call, &ETH_SETTINGS)),
        ],
    },
    ApiRoute {
        path: "/sdcard/*",
        since: ANY,
        licensed: false,
        endpoints: &[
            later(Method::Get, "What is on the SD card: a folder's listing, or a file.", sd::get),
            later(Method::Delete, "Deletes a file or folder of the SD card.", sd::delete),
        ],
    },
    ApiRoute {
        path: "/api/v1/berry",
        since: Feature::Berry.since(),
        licensed: false,
        endpoints: &[
            get("The stored Berry script.", berry::show),
            post("Replaces the script.", berry::store).up_to(limits::SCRIPT_BYTES),
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
        since: ANY,
        licensed: false,
        endpoints: &[streaming(
            "Takes a firmware image, and reboots.",
            limits::UPLOAD_BYTES,
            load::upload,
        )],
    },
    ApiRoute {
        path: "/api/v1/reboot",
        since: ANY,
        licensed: false,
        endpoints: &[post("Reboots the device.", power::reboot)],
    },
    ApiRoute {
        path: "/api/v1/restore",
        since: ANY,
        licensed: false,
        endpoints: &[post(
            "Puts everything back to what it was from the factory, and reboots.",
            power::restore,
        )],
    },
    ApiRoute {
        path: "/api/v1/mqtt/settings",
        since: ANY,
        licensed: false,
        endpoints: &[
            get("The settings of the MQTT client.", |call| settings::show(call, &MQTT_SETTINGS)),
            put("Changes what it names of them.", |call| settings::merge(call, &MQTT_SETTINGS)),
            post("Replaces them.", |call| settings::replace(call, &MQTT_SETTINGS)),
        ],
    },
    ApiRoute {
        path: "/api/v1/variables",
        since: ANY,
        licensed: true,
        endpoints: &[get("The template variables with their values.", variables::list)],
    },
    ApiRoute {
        path: "/api/v1/template/test",
        since: ANY,
        licensed: true,
        endpoints: &[post("Renders the template in the body.", variables::render)],
    },
];

const ANY: Firmware = Firmware { major: 0, minor: 0, release: 0 };

const fn get(about: &'static str, handler: fn(&Call<'_>) -> HttpReply) -> ApiEndpoint {
    ApiEndpoint {
        method: Method::Get,
        about,
        body_limit: limits::JSON_BODY_BYTES,
        handler: Handler::Now(handler),
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

/// A handler that waits.
const fn later(
    method: Method,
    about: &'static str,
    handler: for<'a> fn(&'a Call<'a>) -> Pin<Box<dyn Future<Output = HttpReply> + Send + 'a>>,
) -> ApiEndpoint {
    ApiEndpoint {
        method,
        about,
        body_limit: limits::JSON_BODY_BYTES,
        handler: Handler::Later(handler),
    }
}

/// An endpoint whose handler reads the body itself.
const fn streaming(about: &'static str, body_limit: usize, handler: Streaming) -> ApiEndpoint {
    ApiEndpoint { method: Method::Post, about, body_limit, handler: Handler::Streaming(handler) }
}

impl ApiEndpoint {
    const fn up_to(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }
}

impl ApiRoute {
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

    /// Whether this licence is enough for it.
    #[must_use]
    pub fn open_to(&self, license: License) -> bool {
        !self.licensed || license.includes(Licensed::Routes)
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
    pub(super) live: SubscriberSlot,
    /// What feeds the streams of its clients.
    pub(super) streams: Arc<Tasks>,
    guard: Authenticator,
    strangers: RefusedOrigins,
    /// What the GETs of [`ROUTES`] show over and over, one each.
    kept: Box<[ReplyCache]>,
    run: Box<dyn Fn(Run) + Send + Sync>,
    /// One upload at a time.
    upload: Semaphore,
}

/// What a request that passed all checks is for.
#[derive(Clone, Copy)]
struct Found<'a> {
    endpoint: &'static ApiEndpoint,
    kept: &'a ReplyCache,
}

/// A call that passed all checks.
pub struct Call<'a> {
    api: &'a Api,
    head: &'a Parts,
    kept: &'a ReplyCache,
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
        let guard = Authenticator::new(device.access().digest);
        let strangers = RefusedOrigins::default();
        let (live, streams, upload) =
            (SubscriberSlot::default(), Arc::default(), Semaphore::new(1));
        let kept = ROUTES.iter().map(|_| ReplyCache::default()).collect();
        let run = Box::new(run);
        Arc::new(Self { device, engine, clock, live, streams, guard, strangers, kept, run, upload })
    }

    /// Answers a request, its faults aside: those lie between this and the socket.
    pub async fn answer<B>(&self, request: Request<B>) -> HttpReply
    where
        B: hyper::body::Body<Data = Bytes> + Send + Unpin + 'static,
    {
        self.answer_at(None, request).await
    }

    /// Answers a request that came in at `local`.
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
        let from = OriginDecision::of(&head, local, &self.device, &view);
        if from == OriginDecision::Stranger {
            self.strangers.tell(&head, &self.device);
            return refuse(cors::refusal(), body).await;
        }
        if let Some(reply) = from.preflight(&head) {
            return refuse(reply, body).await;
        }
        from.open(self.answer_anyone(&head, view, body).await)
    }

    /// A reply of the fault layer, with what a page needs to be let to see it.
    pub(super) fn open(
        &self,
        local: Option<LocalAddr>,
        head: &Parts,
        reply: HttpReply,
    ) -> HttpReply {
        OriginDecision::of(head, local, &self.device, &self.device.view()).open(reply)
    }

    /// The reply, for whoever may ask.
    async fn answer_anyone<B>(&self, head: &Parts, view: View, body: B) -> HttpReply
    where
        B: hyper::body::Body<Data = Bytes> + Send + Unpin + 'static,
    {
        match self.guard.check(head, &view) {
            AuthDecision::Open => {}
            AuthDecision::Closed(refusal) => {
                return refuse(self.unauthorized(&view, refusal), body).await;
            }
            AuthDecision::Body => return self.answer_with_body(head, view, body).await,
        }
        match self.check(head, &view) {
            Ok(found) if matches!(found.endpoint.handler, Handler::Streaming(_)) => {
                let call = found.call(self, head, view, Bytes::new());
                self.finish(found, &call, || body::stream_body(body)).await
            }
            Ok(found) => match body::read(body, found.endpoint.body_limit).await {
                Ok(body) => self.handle(found, head, view, body).await,
                Err(unread) => unread.into(),
            },
            Err(refused) => refuse(refused, body).await,
        }
    }

    /// The reply where authentication needs the body: it is read first, but what is wrong with it or
    /// with anything else is told only to who is in.
    async fn answer_with_body<B>(&self, head: &Parts, view: View, body: B) -> HttpReply
    where
        B: hyper::body::Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let found = self.check(head, &view);
        let limit = found.as_ref().map_or(0, |found| found.endpoint.body_limit);
        let Ok(body) = body::read(body, limits::AUTH_INT_BYTES).await else {
            return self.unauthorized(&view, AuthRefusal::NoBody).with_close();
        };
        if let Err(refusal) = self.guard.settle(head, &view, &body) {
            return self.unauthorized(&view, refusal);
        }
        match found {
            Ok(_) if body.len() > limit => body::BodyReadError::TooLarge(limit).into(),
            Ok(found) => self.handle(found, head, view, body).await,
            Err(refused) => refused,
        }
    }

    async fn handle(&self, found: Found<'_>, head: &Parts, view: View, body: Bytes) -> HttpReply {
        let call = found.call(self, head, view, body);
        self.finish(found, &call, || body::buffered_body(call.body.clone())).await
    }

    /// Has the call answered; `upload` is the body for a handler that reads it itself.
    async fn finish(
        &self,
        found: Found<'_>,
        call: &Call<'_>,
        upload: impl FnOnce() -> body::BodyStream,
    ) -> HttpReply {
        let reply = match found.endpoint.handler {
            Handler::Now(handler) => handler(call),
            Handler::Later(handler) => handler(call).await,
            Handler::Streaming(handler) => handler(call, upload()).await,
        };
        if found.endpoint.method != Method::Get {
            // Whoever is told that something is set finds it set, come what may.
            self.device.wait_persisted().await;
            self.device.wait_modbus_applied(limits::MODBUS_FOLLOWS).await;
        }
        reply
    }

    fn unauthorized(&self, view: &View, refusal: AuthRefusal) -> HttpReply {
        tracing::debug!(device = self.device.identity().id.as_str(), %refusal, "unauthorized");
        self.guard.challenge(view, refusal)
    }

    /// Path, method and licence.
    fn check(&self, head: &Parts, view: &View) -> Result<Found<'_>, HttpReply> {
        let path = head.uri.path();
        let mut routes = ROUTES.iter().zip(&self.kept);
        let found = routes.find(|(route, _)| route.matches(path) && route.exists(view.firmware));
        let Some((route, kept)) = found else {
            let message = "there is nothing at this path";
            return Err(HttpReply::error(StatusCode::NOT_FOUND, "not_found", message));
        };
        let endpoint = route.endpoint(head.method.as_str())?;
        self.check_license(route)?;
        Ok(Found { endpoint, kept })
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

/// A reply that does not depend on the body. Its connection goes on where the body can be read past.
async fn refuse<B>(reply: HttpReply, body: B) -> HttpReply
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    if body::discard(body).await { reply } else { reply.with_close() }
}

impl ApiRoute {
    fn endpoint(&self, method: &str) -> Result<&ApiEndpoint, HttpReply> {
        let found = self.endpoints.iter().find(|endpoint| endpoint.method.as_str() == method);
        found.ok_or_else(|| method_not_allowed(method, &self.methods()))
    }
}

impl<'a> Found<'a> {
    fn call(self, api: &'a Api, head: &'a Parts, view: View, body: Bytes) -> Call<'a> {
        Call { api, head, kept: self.kept, view, body }
    }
}

impl Call<'_> {
    /// The body of a reply that follows from configuration and firmware alone, whatever was asked:
    /// `make` makes it, for the first of the GETs that see the two.
    pub(super) fn kept(&self, make: impl FnOnce() -> Bytes) -> Bytes {
        self.kept.body(&self.view, make)
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &Arc<Device> {
        &self.api.device
    }

    pub(super) fn query(&self) -> Query<'_> {
        Query::from_uri(&self.head.uri)
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

    /// The API that was called.
    pub(super) fn api(&self) -> &Api {
        self.api
    }

    /// The scenario's clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.api.clock
    }

    /// Keeps other uploads away until the returned value is dropped; none where there is one.
    pub(super) fn begin_upload(&self) -> Option<SemaphorePermit<'_>> {
        self.api.upload.try_acquire().ok()
    }

    /// Has an admitted call carried out.
    pub(super) fn start(&self, run: Run) {
        (self.api.run)(run);
    }
}
