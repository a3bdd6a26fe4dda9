//! The device's HTTP server (`docs/device/http.md`).
//!
//! `router` holds the table of what exists and the order of the checks, one file per group of
//! endpoints what they do, `reply` the bytes they have in common. `server` puts an [`Api`] on a
//! socket; between the two lies `fault`, which breaks calls on demand and of which the handlers
//! know nothing.

mod actions;
mod auth;
pub(crate) mod body;
mod cors;
pub mod digest;
mod fault;
mod json;
mod reply_cache;
mod live;
mod modbus;
pub mod openapi;
mod page;
mod power;
mod sd;
mod berry;
mod load;
pub(crate) mod query;
mod reply;
mod report;
mod router;
mod scalers;
pub(crate) mod server;
mod settings;
mod spelling;
mod stream;
mod variables;
mod system;
mod wifi;
pub(crate) mod write_limit;

pub use self::reply::{Body, BrokenOff, HttpReply};
pub(crate) use self::router::method_not_allowed;
pub use self::router::{Api, ApiEndpoint, ApiRoute, Call, ROUTES};
pub use self::server::{ApiServer, ListenerPause};
