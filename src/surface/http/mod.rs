//! The device's HTTP server (`docs/device/http.md`).
//!
//! `routes` is the table of the routes, `router` makes the checks of a call in their order, and `call` is
//! the context of a call. Each group of endpoints has a file of its own with its handlers. `server` serves
//! an [`Api`] on a socket. `fault` lies between `router` and `server` and applies the fault rules of the
//! `api` seam; the handlers do not know about it. `shared` serves many of them on one port, and `host_names`
//! says which of them a request is for.

mod actions;
mod auth;
mod call;
mod cors;
pub mod digest;
mod fault;
mod host_names;
mod reply_cache;
mod live;
mod modbus;
mod nonces;
pub mod openapi;
mod page;
mod reboot;
mod sd;
mod berry;
mod firmware_upload;
mod report;
mod router;
mod routes;
mod scalers;
mod server;
mod settings;
mod shared;
mod variables;
mod system;
mod wifi;

pub use self::call::Call;
pub use self::router::Api;
pub use self::routes::{ApiEndpoint, ApiRoute, ROUTES};
pub use self::server::ApiServer;
pub(crate) use self::shared::SharedPort;
pub use crate::net::http::{BodyInterrupted, HttpReply, ReplyBody};
