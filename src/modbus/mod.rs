//! Modbus TCP, the server side: frames and PDUs ([`wire`]), the registers and coils of a unit
//! ([`bank`]), and the server kit that slaves and the device's own server are built from
//! ([`server`]).

pub mod wire;
pub mod bank;
pub(crate) mod server;
