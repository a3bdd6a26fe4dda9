//! The control plane: the HTTP API by which a test or a person operates a running house.
//!
//! The control plane has a port of its own, because the device's port serves the device alone. Its paths
//! begin with `/control/v1`, except `/healthz` and `/openapi.json`. Bodies are JSON, except the text of the
//! scenario, and an error names what was expected. The connections are not counted as activity of the house ([`crate::clock::ActivityTracker`]), because
//! a movement of the clock runs inside a control request and would wait for itself.

mod clock;
mod faults;
mod journal;
mod listing;
mod registers;
mod request;
mod resource;
mod security;
mod server;
mod summary;
mod targets;
mod token;

pub(crate) use self::server::{ControlServer, ControlStartError};
pub(crate) use self::token::Token;
pub use self::token::TokenError;
