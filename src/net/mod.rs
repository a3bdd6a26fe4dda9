//! Networking shared by everything that listens: sockets, bytes in flight, and the HTTP server kit.
//! The Modbus server kit is [`crate::modbus::server`].

pub use wwsim_time::{gate, inflight, sockets};

pub mod http;
pub(crate) mod logged_names;
