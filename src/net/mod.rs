//! Networking shared by everything that listens: sockets, bytes in flight, and the HTTP server kit.
//! The Modbus server kit is [`crate::modbus::server`].

pub mod http;
pub mod inflight;
pub(crate) mod sockets;
