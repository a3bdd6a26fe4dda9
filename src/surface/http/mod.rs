//! The device's HTTP server (`docs/device/http.md`).
//!
//! `router` holds the table of what exists and the order of the checks, one file per group of
//! endpoints what they do, `reply` the bytes they have in common. `server` puts an [`Api`] on a
//! socket; between the two lies `fault`, which breaks calls on demand and of which the handlers
//! know nothing.

mod actions;
mod auth;
mod cors;
pub mod digest;
mod fault;
mod reply_cache;
mod live;
mod modbus;
pub mod openapi;
mod page;
mod power;
mod sd;
mod berry;
mod load;
mod report;
mod router;
mod scalers;
mod server;
mod settings;
mod variables;
mod system;
mod wifi;

pub use self::router::{Api, ApiEndpoint, ApiRoute, Call, ROUTES};
pub use self::server::ApiServer;
pub use crate::net::http::{BodyInterrupted, HttpReply, ListenerPause, ReplyBody};
