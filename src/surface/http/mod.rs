//! The device's HTTP server (`docs/device/http.md`).
//!
//! `router` holds the table of routes and the order of the checks; each group of endpoints has a file of
//! its own with its handlers. `server` serves an [`Api`] on a socket. `fault` lies between the two and
//! applies the fault rules of the `api` seam; the handlers do not know about it.

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
