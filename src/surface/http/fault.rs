//! The layer between the API and the socket that carries out faults at the place `api`.
//!
//! The engine is asked before anything else looks at a call, unless the device is down already. A
//! delay holds back the answer, not the call: it is carried out in the order in which it came, and a
//! client that gives up waiting learns nothing of what happened meanwhile, as with a slow device.

use std::sync::Arc;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::RETRY_AFTER;
use hyper::{Request, Response, StatusCode};

use super::cors::LocalAddr;
use super::{Api, HttpReply, ReplyBody};
use crate::clock::VirtualTime;
use crate::device::Power;
use crate::fault::{ApiCall, ApiEffect, Verdict};
use crate::net::http::body;
use crate::net::http::{BodyConsumed, DeliveryControl, DeliveryEnd, DeliveryPlan};

/// The connection ends in place of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection is broken on purpose")]
pub(super) struct BrokenConnection;

/// Answers a request of one connection, with all that befalls it.
pub(super) async fn answer(
    api: &Api,
    request: Request<Incoming>,
    local: Option<LocalAddr>,
    wire: &Arc<DeliveryControl>,
) -> Result<Response<ReplyBody<BodyConsumed>>, BrokenConnection> {
    if wire.is_after_last_response() || api.device.power() != Power::Up {
        // Nobody is there any more; the connection drops as soon as whoever serves it has noticed.
        return hang(request).await;
    }
    let Verdict { delay, effect } = api.engine.api(&ApiCall {
        device: api.device.identity().id.as_str(),
        method: request.method().as_str(),
        path: request.uri().path(),
    });
    let due = (!delay.is_zero()).then(|| api.clock.now().after(delay));
    let (mut reply, plan) = match effect {
        // The engine adds delays up; none comes as an effect.
        None | Some(ApiEffect::Delay(_)) => {
            (api.answer_at(local, request).await, DeliveryPlan::Whole)
        }
        Some(ApiEffect::Cut { after }) => {
            (api.answer_at(local, request).await, DeliveryPlan::Cut { remaining: after })
        }
        Some(ApiEffect::Drip { bytes, every }) => {
            (api.answer_at(local, request).await, DeliveryPlan::Drip { bytes, every })
        }
        Some(ApiEffect::MalformedJson) => {
            (api.answer_at(local, request).await.truncate_json(), DeliveryPlan::Whole)
        }
        Some(ApiEffect::Status { code, retry_after }) => {
            (refuse(api, local, request, code, retry_after).await, DeliveryPlan::Whole)
        }
        Some(ApiEffect::Reset) => {
            wait(api, due).await;
            wire.set_end(DeliveryEnd::Reset);
            return Err(BrokenConnection);
        }
        Some(ApiEffect::Hang) => return hang(request).await,
    };
    wait(api, due).await;
    if reply.closes_connection() {
        wire.set_end(DeliveryEnd::Linger);
    }
    let afterwards = reply.take_afterwards();
    reply.attach_delivery(wire);
    let handed_over = wire.start_response(plan, afterwards).await;
    Ok(reply.into_response(handed_over))
}

/// Waits for the end of the delay. The timer is set only now: one that goes off while a client is
/// still sending its body would keep a manual clock waiting for that client.
async fn wait(api: &Api, due: Option<VirtualTime>) {
    if let Some(due) = due {
        api.clock.sleep_until(due).await;
    }
}

/// The status in place of the real answer, in the shape of the device's own errors.
async fn refuse(
    api: &Api,
    local: Option<LocalAddr>,
    request: Request<Incoming>,
    code: u16,
    retry_after: Option<u32>,
) -> HttpReply {
    let (head, body) = request.into_parts();
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let reason = status.canonical_reason().unwrap_or("Error");
    let key = reason.to_ascii_lowercase().replace([' ', '-'], "_").replace('\'', "");
    let mut reply = HttpReply::error(status, &key, &reason.to_ascii_lowercase());
    if let Some(seconds) = retry_after {
        reply = reply.with_header(RETRY_AFTER, &seconds.to_string());
    }
    let reply = api.open(local, &head, reply);
    if body::discard(body).await { reply } else { reply.with_close() }
}

/// Never answers. The body is read past, because hyper notices that the client left only where
/// nothing is left to read.
async fn hang<T>(request: Request<Incoming>) -> T {
    let mut body = request.into_body();
    while let Some(Ok(_)) = body.frame().await {}
    std::future::pending().await
}
