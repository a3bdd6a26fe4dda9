//! The API of a device: the checks of a call in their order (HTTP-4), and its handler.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use hyper::http::request::Parts;
use hyper::{Request, StatusCode};
use tokio::sync::Semaphore;

use super::auth::{AuthDecision, AuthRefusal, Authenticator, NonceTreatment};
use super::cors::{self, LocalAddr, OriginDecision, RefusedOrigins};
use super::live::SubscriberSlot;
use super::reply_cache::ReplyCache;
use super::routes::Handler;
use super::{ApiEndpoint, ApiRoute, Call, HttpReply, ROUTES};
use crate::clock::Clock;
use crate::device::{Device, Run, View};
use crate::fault::Engine;
use crate::limits;
use crate::net::http::{Method, body};
use crate::tasks::Tasks;

/// Real time that a reply waits until the device's Modbus server applies a change of the settings: far
/// longer than that takes. A server that cannot apply it must not block the API.
const APPLY_TIMEOUT: Duration = Duration::from_secs(1);

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
    /// The cached GET replies, one for each of [`ROUTES`]. Empty before the first request.
    reply_caches: OnceLock<Box<[ReplyCache]>>,
    pub(super) start_run: Box<dyn Fn(Run) + Send + Sync>,
    /// Permits one upload at a time.
    pub(super) upload_permit: Semaphore,
}

/// The endpoint of a request, with the cache of its path.
#[derive(Clone, Copy)]
struct MatchedEndpoint<'a> {
    endpoint: &'static ApiEndpoint,
    reply_cache: &'a ReplyCache,
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
            live: SubscriberSlot::default(),
            streams: Arc::default(),
            authenticator: Authenticator::new(device.access_policy().digest, clock.clone()),
            clock,
            refused_origins: RefusedOrigins::default(),
            reply_caches: OnceLock::new(),
            start_run: Box::new(start_run),
            upload_permit: Semaphore::new(1),
            device,
        })
    }

    /// Forgets the nonces that were issued to clients.
    pub(super) fn forget_clients(&self) {
        self.authenticator.forget_nonces();
    }

    /// Answers a request without fault rules, which are applied between this and the socket.
    #[cfg(any(test, feature = "internals"))]
    pub async fn answer<B>(&self, request: Request<B>) -> HttpReply
    where
        B: hyper::body::Body<Data = Bytes> + Send + Unpin + 'static,
    {
        self.answer_at(None, request, NonceTreatment::Accept).await
    }

    /// Answers a request on a connection with this local address.
    ///
    /// The order of the checks is that of HTTP-4: origin, preflight, authentication, path,
    /// method, licence, body.
    pub(super) async fn answer_at<B>(
        &self,
        local: Option<LocalAddr>,
        request: Request<B>,
        treatment: NonceTreatment,
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
        origin.add_headers(self.authenticate_and_answer(&head, view, body, treatment).await)
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
    async fn authenticate_and_answer<B>(
        &self,
        head: &Parts,
        view: View,
        body: B,
        treatment: NonceTreatment,
    ) -> HttpReply
    where
        B: hyper::body::Body<Data = Bytes> + Send + Unpin + 'static,
    {
        match self.authenticator.check_head(head, &view, treatment) {
            AuthDecision::Allow => {}
            AuthDecision::Deny(refusal) => {
                return discard_body(self.unauthorized(&view, refusal), body).await;
            }
            AuthDecision::NeedsBody => {
                return self.answer_auth_int(head, view, body, treatment).await;
            }
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
    /// only an authenticated client gets the errors of other checks.
    async fn answer_auth_int<B>(
        &self,
        head: &Parts,
        view: View,
        body: B,
        treatment: NonceTreatment,
    ) -> HttpReply
    where
        B: hyper::body::Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let matched = self.match_endpoint(head, &view);
        let limit = matched.as_ref().map_or(0, |matched| matched.endpoint.body_limit);
        let Ok(body) = body::read(body, limits::AUTH_INT_BYTES).await else {
            return self.unauthorized(&view, AuthRefusal::UnreadableBody).with_close();
        };
        let checked = self.authenticator.check_with_body(head, &view, &body, treatment);
        if let Err(refusal) = checked {
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

    /// Returns the challenge of a 401 that a fault rule wants.
    pub(super) fn injected_challenge(&self, view: &View) -> String {
        self.authenticator.injected_challenge(view)
    }

    fn unauthorized(&self, view: &View, refusal: AuthRefusal) -> HttpReply {
        tracing::debug!(device = self.device.identity().id.as_str(), %refusal, "unauthorized");
        self.authenticator.refuse(view, refusal)
    }

    /// Checks path, method and licence, in this order.
    fn match_endpoint(&self, head: &Parts, view: &View) -> Result<MatchedEndpoint<'_>, HttpReply> {
        let path = head.uri.path();
        let new_caches = || ROUTES.iter().map(|_| ReplyCache::default()).collect();
        let mut routes = ROUTES.iter().zip(self.reply_caches.get_or_init(new_caches));
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

impl<'a> MatchedEndpoint<'a> {
    fn call(self, api: &'a Api, head: &'a Parts, view: View, body: Bytes) -> Call<'a> {
        Call { api, head, reply_cache: self.reply_cache, view, body }
    }
}
