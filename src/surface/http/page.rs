//! The page at `/`, in place of the device's web interface (HTTP-5).

use std::fmt::Write;

use hyper::StatusCode;

use super::{ApiEndpoint, ApiRoute, Call, HttpReply, ROUTES, openapi};
use crate::device::{Firmware, Identity, License};
use crate::net::http::Method;

/// Shows the device and its routes.
pub(super) fn show(call: &Call<'_>) -> HttpReply {
    let html = call.cached_body(|| render_page(call).into());
    HttpReply::content(StatusCode::OK, "text/html; charset=utf-8", html)
}

fn render_page(call: &Call<'_>) -> String {
    let (identity, firmware) = (call.device().identity(), call.view.firmware);
    let license = identity.license.name().to_ascii_uppercase();
    TEMPLATE
        .replace("{model}", &escape(Identity::MODEL))
        .replace("{id}", &escape(identity.id.as_str()))
        .replace("{firmware}", &escape(&firmware.to_string()))
        .replace("{license}", &license)
        .replace("{routes}", &render_routes(firmware, identity.license))
}

fn render_routes(firmware: Firmware, license: License) -> String {
    let mut rows = String::new();
    let existing = ROUTES.iter().filter(|route| route.exists(firmware));
    for route in existing {
        let unlicensed = !route.open_to(license);
        for endpoint in route.endpoints {
            // A link cannot point to everything below a path, so it points to the path itself.
            let path = escape(route.path.trim_end_matches('*'));
            let path = if has_link(route, endpoint) && !unlicensed {
                // Relative, so that it leads to this device also behind a prefix (HTTP-12).
                format!("<a href=\"{}\">{path}</a>", path.trim_start_matches('/'))
            } else {
                path
            };
            let about = escape(endpoint.about);
            let note = if unlicensed { " <em>Needs a licence.</em>" } else { "" };
            let method = endpoint.method.as_str();
            // Writing to a String cannot fail.
            let _ = writeln!(
                rows,
                "<tr><td>{method}</td><td><code>{path}</code></td><td>{about}{note}</td></tr>"
            );
        }
    }
    rows
}

/// Returns true if a link to the endpoint shows something that is not on the page.
fn has_link(route: &ApiRoute, endpoint: &ApiEndpoint) -> bool {
    endpoint.method == Method::Get && route.path != "/" && !openapi::needs_query(route, endpoint)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const TEMPLATE: &str = include_str!("page.html");
