//! Pages in a browser: which may use the API, and what their browsers need to be told (ACCESS-2
//! to ACCESS-7).
//!
//! `Vary: Origin` is left out: every reply is `no-store`, so that no cache can give one page's reply
//! to another.

use parking_lot::Mutex;
use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderName, HeaderValue, ORIGIN,
};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};

use super::HttpReply;
use crate::device::{Device, Origin, View};
use crate::limits;

/// Where a connection came in at: what pages of the device itself have as their origin.
#[derive(Debug, Clone, Copy)]
pub(super) struct LocalAddr(pub(super) SocketAddr);

/// Where a request comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum OriginDecision {
    /// Not from a page of another origin.
    NoPage,
    /// From a page that may use the API.
    Page(HeaderValue),
    /// From one that may not.
    Stranger,
}

/// The request headers of a private-network preflight and its answer.
const REQUEST_PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-allow-private-network");

/// What a page may read beside the headers that every page may: where a call's status is, what to
/// authenticate with, when to come back.
const EXPOSED: &str = "Location, WWW-Authenticate, Retry-After";
/// The methods of the API, whatever the path: a preflight is answered before it is looked at.
const METHODS: &str = "GET, POST, PUT, DELETE";
/// What a page may send where its browser does not say what it wants to.
const HEADERS: &str = "Authorization, Content-Type";
/// Seconds that a browser may remember a preflight; a scenario changed meanwhile is met by then.
const MAX_AGE: &str = "600";

impl OriginDecision {
    /// Where a request to this device comes from.
    pub(super) fn of(head: &Parts, local: Option<LocalAddr>, device: &Device, view: &View) -> Self {
        let mut origins = head.headers.get_all(ORIGIN).iter();
        let Some(header) = origins.next() else { return Self::NoPage };
        let allowed = origins.next().is_none()
            && header.to_str().is_ok_and(|origin| {
                is_own(origin, device, &view.config.settings.system.host_name, local)
                    || device.access().origins.iter().any(|pattern| pattern.matches(origin))
            });
        if allowed { Self::Page(header.clone()) } else { Self::Stranger }
    }

    /// The reply with what a browser has to find in it to let its page see it.
    pub(super) fn open(&self, reply: HttpReply) -> HttpReply {
        let Self::Page(origin) = self else { return reply };
        reply
            .with_header_value(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone())
            .with_header(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED)
    }

    /// The answer to a preflight; none where the request is not one.
    pub(super) fn preflight(&self, head: &Parts) -> Option<HttpReply> {
        let Self::Page(origin) = self else { return None };
        let asks = head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if head.method != Method::OPTIONS || !asks {
            return None;
        }
        let mut reply = HttpReply::empty(StatusCode::NO_CONTENT)
            .with_header_value(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone())
            .with_header(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        reply = match head.headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
            Some(wanted) => reply.with_header_value(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone()),
            None => reply.with_header(ACCESS_CONTROL_ALLOW_HEADERS, HEADERS),
        };
        if head.headers.get(REQUEST_PRIVATE_NETWORK).is_some_and(|asks| asks == "true") {
            reply = reply.with_header(ALLOW_PRIVATE_NETWORK, "true");
        }
        Some(reply.with_header(ACCESS_CONTROL_MAX_AGE, MAX_AGE))
    }
}

/// Whether a page is the device's own: from its host name, with or without `.local`, from the address
/// that the request came in at, or from one that `/system` shows; on the port it has here or, as on
/// hardware, on HTTP's own.
fn is_own(origin: &str, device: &Device, host_name: &str, local: Option<LocalAddr>) -> bool {
    let Some(origin) = Origin::parse(origin) else { return false };
    let port = origin.effective_port();
    if !origin.scheme.eq_ignore_ascii_case("http")
        || (port != Some(80) && port != local.map(|local| local.0.port()))
    {
        return false;
    }
    // Both sides may have it: the documents write the host name with `.local` in places.
    let bare = |name: &str| {
        let name = name.to_ascii_lowercase();
        name.strip_suffix(".local").map_or_else(|| name.clone(), str::to_owned)
    };
    if !host_name.is_empty() && bare(origin.host) == bare(host_name) {
        return true;
    }
    let host = origin.host.trim_start_matches('[').trim_end_matches(']');
    let Ok(address) = host.parse::<IpAddr>() else { return false };
    let address = address.to_canonical();
    local.is_some_and(|local| address == local.0.ip().to_canonical())
        || has_address(device, address)
}

/// Whether an address is the device's over Wi-Fi or Ethernet, as `/system` shows it.
fn has_address(device: &Device, address: IpAddr) -> bool {
    let network = device.network(&device.snapshot());
    let addresses = [network.wifi.address, network.eth.address];
    addresses.into_iter().flatten().any(|own| address == own.ip)
}

/// The 404 of a page that may not use the API: without CORS headers, so that the browser keeps it
/// from the page.
pub(super) fn refusal() -> HttpReply {
    HttpReply::error(StatusCode::NOT_FOUND, "not_found", "pages of this origin have no access")
}

/// Origins that were refused, so that each is told once.
#[derive(Debug, Default)]
pub(super) struct RefusedOrigins(Mutex<HashSet<String>>);

impl RefusedOrigins {
    /// Tells the log what to do about a refused origin, the first time it is.
    pub(super) fn tell(&self, head: &Parts, device: &Device) {
        let text = |header: &HeaderValue| {
            let text: String = String::from_utf8_lossy(header.as_bytes()).into_owned();
            text.chars().filter(|c| !c.is_control()).take(limits::ORIGIN_CHARS).collect::<String>()
        };
        let Some(origin) = head.headers.get(ORIGIN).map(text) else { return };
        let mut told = self.0.lock();
        if told.len() >= limits::REFUSED_ORIGINS || !told.insert(origin.clone()) {
            return;
        }
        drop(told);
        let device = device.identity().id.as_str();
        tracing::warn!(
            device,
            origin,
            "refused a page of this origin, as the device does; to let it in, write \
             `cors: {{origins: [\"{origin}\"]}}` under the device in the scenario"
        );
    }
}
