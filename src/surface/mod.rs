//! Surfaces: what clients of a device see.

pub mod http;
pub mod modbus;
