//! Modbus TCP, server side: frames and PDUs ([`wire`]), the registers and bits of a unit ([`bank`]),
//! faults of replies ([`fault`]), and the server kit that the slaves and the device's own server use
//! ([`server`]).

pub mod limits;
pub mod problem;
pub mod wire;
pub mod bank;
pub mod fault;
pub mod trigger;
pub mod slave;
pub mod server;
