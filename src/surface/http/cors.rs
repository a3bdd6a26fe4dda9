//! CORS: the origins whose pages may use the API, and the headers that their browsers need (ACCESS-2 to
//! ACCESS-7).

use std::net::{IpAddr, SocketAddr};

use hyper::StatusCode;
use hyper::header::{HeaderValue, ORIGIN};
use hyper::http::request::Parts;

use super::HttpReply;
use super::host_names::is_local_name_of;
use crate::device::{Device, Origin, View};
use crate::limits;
use crate::net::http::cors;
use crate::net::logged_names::LoggedNames;

/// The local address of a connection, which is the origin of the device's own pages.
#[derive(Debug, Clone, Copy)]
pub(super) struct LocalAddr {
    pub(super) address: SocketAddr,
    /// True if the device's id is a host name of the device, too (HTTP-12).
    pub(super) is_named_by_id: bool,
}

impl LocalAddr {
    /// Returns the local address of a connection at the device's own port.
    pub(super) const fn of_own_port(address: SocketAddr) -> Self {
        Self { address, is_named_by_id: false }
    }
}

/// The decision about the `Origin` of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum OriginDecision {
    /// The request has no `Origin`, so it does not come from a page of another origin.
    NoOrigin,
    /// The pages of this origin may use the API.
    Allow(HeaderValue),
    /// The pages of this origin may not use the API.
    Deny,
}

/// Response headers that a page may read beside those that every page may: the address of a call's
/// status, the challenge, and the time to wait.
const EXPOSED_HEADERS: &str = "Location, WWW-Authenticate, Retry-After";
/// The methods of the API, for every path, because a preflight is answered before the path is matched.
const ALLOWED_METHODS: &str = "GET, POST, PUT, DELETE";
/// Refused origins that the log names at most; a page has one origin, so more are no accident.
const LOGGED_ORIGINS: usize = 64;

impl OriginDecision {
    /// Decides about the origin of a request to this device.
    pub(super) fn evaluate(
        head: &Parts,
        local: Option<LocalAddr>,
        device: &Device,
        view: &View,
    ) -> Self {
        let mut origins = head.headers.get_all(ORIGIN).iter();
        let Some(header) = origins.next() else { return Self::NoOrigin };
        let allowed = origins.next().is_none()
            && header.to_str().is_ok_and(|origin| {
                is_own_origin(origin, device, &view.config.settings.system.host_name, local)
                    || device.access_policy().origins.iter().any(|pattern| pattern.matches(origin))
            });
        if allowed { Self::Allow(header.clone()) } else { Self::Deny }
    }

    /// Adds the headers without which a browser does not let its page see the reply.
    pub(super) fn add_headers(&self, reply: HttpReply) -> HttpReply {
        let Self::Allow(origin) = self else { return reply };
        cors::let_page_read(reply, origin, EXPOSED_HEADERS)
    }

    /// Returns the reply to a preflight. `None` if the request is not a preflight.
    pub(super) fn preflight_reply(&self, head: &Parts) -> Option<HttpReply> {
        let Self::Allow(origin) = self else { return None };
        cors::is_preflight(head).then(|| cors::preflight_reply(head, origin, ALLOWED_METHODS))
    }
}

/// Returns true if an origin is the device itself: its host name with or without `.local`, the local
/// address of the connection, or an address that `/system` shows, with the port of the connection
/// or, as on hardware, port 80.
fn is_own_origin(origin: &str, device: &Device, host_name: &str, local: Option<LocalAddr>) -> bool {
    let Some(origin) = Origin::parse(origin) else { return false };
    let port = origin.effective_port();
    if !origin.scheme.eq_ignore_ascii_case("http")
        || (port != Some(80) && port != local.map(|local| local.address.port()))
    {
        return false;
    }
    // Either side may have the suffix: the vendor's documents write some host names with `.local`.
    let bare = |name: &str| {
        let name = name.to_ascii_lowercase();
        name.strip_suffix(".local").map_or_else(|| name.clone(), str::to_owned)
    };
    if !host_name.is_empty() && bare(origin.host) == bare(host_name) {
        return true;
    }
    if local.is_some_and(|local| local.is_named_by_id) && is_local_name_of(device, origin.host) {
        return true;
    }
    let host = origin.host.trim_start_matches('[').trim_end_matches(']');
    let Ok(address) = host.parse::<IpAddr>() else { return false };
    let address = address.to_canonical();
    local.is_some_and(|local| address == local.address.ip().to_canonical())
        || has_address(device, address)
}

/// Returns true if `/system` shows this address for Wi-Fi or Ethernet.
fn has_address(device: &Device, address: IpAddr) -> bool {
    let network = device.network(&device.snapshot());
    let addresses = [network.wifi.address, network.eth.address];
    addresses.into_iter().flatten().any(|own| address == own.ip)
}

/// Returns the 404 for a page that may not use the API. It has no CORS headers, so that the browser does
/// not show it to the page.
pub(super) fn refusal_reply() -> HttpReply {
    HttpReply::error(StatusCode::NOT_FOUND, "not_found", "pages of this origin have no access")
}

/// The refused origins that the log has named.
#[derive(Debug, Default)]
pub(super) struct RefusedOrigins(LoggedNames<LOGGED_ORIGINS>);

impl RefusedOrigins {
    /// Logs how to allow a refused origin, once for each.
    pub(super) fn log_once(&self, head: &Parts, device: &Device) {
        let text = |header: &HeaderValue| {
            let text: String = String::from_utf8_lossy(header.as_bytes()).into_owned();
            text.chars().filter(|c| !c.is_control()).take(limits::ORIGIN_CHARS).collect::<String>()
        };
        let Some(origin) = head.headers.get(ORIGIN).map(text) else { return };
        if !self.0.is_new(origin.clone()) {
            return;
        }
        let device = device.identity().id.as_str();
        tracing::warn!(
            device,
            origin,
            "refused a page of this origin, as the device does; to let it in, write \
             `cors: {{origins: [\"{origin}\"]}}` under the device in the scenario"
        );
    }
}
