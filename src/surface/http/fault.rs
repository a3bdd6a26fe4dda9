//! The layer between the API and the socket that applies fault rules of the `api` seam.
//!
//! The rules are evaluated before anything else looks at a call, unless the device is down already. A
//! delay holds back the reply, not the call: calls are executed in the order of their arrival, and a
//! client that stops waiting does not learn the result, as with a slow device.

use std::sync::Arc;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{
    ALLOW, CONNECTION, HeaderMap, HeaderName, PROXY_AUTHENTICATE, RETRY_AFTER, UPGRADE,
    WWW_AUTHENTICATE,
};
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode};

use super::auth::{self, NonceTreatment};
use super::cors::LocalAddr;
use super::routes::other_methods;
use super::{Api, HttpReply, ReplyBody};
use crate::clock::VirtualTime;
use crate::device::Power;
use crate::fault::{ApiCall, ApiEffect, Verdict};
use crate::net::http::{BodyConsumed, DeliveryControl, DeliveryEnd, DeliveryPlan};
use crate::net::http::{body, status};

/// The error that ends the connection in place of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection is broken on purpose")]
pub(super) struct BrokenConnection;

/// Answers a request of one connection, with the effects of the fault rules.
pub(super) async fn answer(
    api: &Api,
    request: Request<Incoming>,
    local: Option<LocalAddr>,
    delivery: &Arc<DeliveryControl>,
) -> Result<Response<ReplyBody<BodyConsumed>>, BrokenConnection> {
    if delivery.is_after_last_reply() || api.device.power() != Power::Up {
        // The device is gone. The connection is dropped as soon as its task notices.
        return hang(request.into_body()).await;
    }
    let Verdict { delay, effect } = api.engine.api(&ApiCall {
        device: api.device.identity().id.as_str(),
        method: request.method().as_str(),
        path: request.uri().path(),
        has_nonce: auth::has_digest(request.headers()),
    });
    let due = (!delay.is_zero()).then(|| api.clock.now().after(delay));
    let treatment = match effect {
        Some(ApiEffect::StaleNonce) => NonceTreatment::Expire,
        _ => NonceTreatment::Accept,
    };
    let (mut head, body) = request.into_parts();
    let breaks_json = effect == Some(ApiEffect::MalformedJson);
    let plan = match effect {
        Some(ApiEffect::Cut { after }) => DeliveryPlan::Cut { remaining: after },
        Some(ApiEffect::Drip { bytes, every }) => DeliveryPlan::Drip { bytes, every },
        Some(ApiEffect::Reset) => {
            sleep_until(api, due).await;
            delivery.set_end(DeliveryEnd::Reset);
            return Err(BrokenConnection);
        }
        Some(ApiEffect::Hang) => return hang(body).await,
        // The engine adds delays up in `delay`, so none is an effect.
        None
        | Some(
            ApiEffect::Delay(_)
            | ApiEffect::StaleNonce
            | ApiEffect::MalformedJson
            | ApiEffect::Status { .. },
        ) => DeliveryPlan::Whole,
    };
    let mut reply = match effect {
        Some(ApiEffect::Status { code, retry_after }) => {
            // On the heap, because it would make the future of each request larger.
            Box::pin(error_reply(api, local, &head, body, code, retry_after)).await
        }
        _ => api.answer_at(local, &head, body, treatment).await,
    };
    if breaks_json {
        reply = reply.truncate_json();
    }
    sleep_until(api, due).await;
    Ok(send(reply, plan, std::mem::take(&mut head.headers), delivery).await)
}

/// Begins to send a reply, whose headers take the place of those of the request.
pub(super) async fn send(
    mut reply: HttpReply,
    plan: DeliveryPlan,
    request_headers: HeaderMap,
    delivery: &Arc<DeliveryControl>,
) -> Response<ReplyBody<BodyConsumed>> {
    if reply.closes_connection() {
        delivery.set_end(DeliveryEnd::Linger);
    }
    let after_delivery = reply.take_after_delivery();
    reply.attach_delivery(delivery);
    let consumed = delivery.start_reply(plan, after_delivery).await;
    reply.into_response_within(request_headers, consumed)
}

/// Waits until the end of the delay. The timer is set only now, because one that fires while a client
/// still sends its body would make a manual clock wait for that client.
async fn sleep_until(api: &Api, due: Option<VirtualTime>) {
    if let Some(due) = due {
        // On the heap, because it would make the future of each request larger.
        Box::pin(api.clock.sleep_until(due)).await;
    }
}

/// Returns the status that replaces the real reply, in the format of the device's own errors.
async fn error_reply(
    api: &Api,
    local: Option<LocalAddr>,
    head: &Parts,
    body: Incoming,
    code: u16,
    retry_after: Option<u32>,
) -> HttpReply {
    let replaced = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let reason = replaced.canonical_reason().unwrap_or("Error");
    let key = reason.to_ascii_lowercase().replace([' ', '-'], "_").replace('\'', "");
    let mut reply = HttpReply::error(replaced, &key, &reason.to_ascii_lowercase());
    if let Some(header) = status::required_header(code) {
        reply = add_required_header(api, head, reply, header);
    }
    if let Some(seconds) = retry_after {
        reply = reply.with_header(RETRY_AFTER, &seconds.to_string());
    }
    let reply = api.add_cors_headers(local, head, reply);
    if body::discard(body).await { reply } else { reply.with_close() }
}

/// Adds a header that the status of an injected reply requires (FAULT-7).
fn add_required_header(api: &Api, head: &Parts, reply: HttpReply, header: HeaderName) -> HttpReply {
    let view = api.device.view();
    match header {
        WWW_AUTHENTICATE => reply.with_header(header, &api.injected_challenge(&view)),
        ALLOW => {
            let (path, method) = (head.uri.path(), head.method.as_str());
            reply.with_header(header, &other_methods(path, method, view.firmware))
        }
        PROXY_AUTHENTICATE => reply.with_header(header, "Basic realm=\"proxy\""),
        UPGRADE => {
            reply.with_header(header, status::UPGRADE_OFFER).with_header(CONNECTION, "Upgrade")
        }
        // A status below 400 is never injected here.
        _ => reply,
    }
}

/// Never answers. The body is discarded, because hyper notices a disconnect only if nothing is left to
/// read.
async fn hang<T>(mut body: Incoming) -> T {
    while let Some(Ok(_)) = body.frame().await {}
    std::future::pending().await
}
