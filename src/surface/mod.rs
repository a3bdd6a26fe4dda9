//! Surfaces: what clients of a device see.

pub mod http;
#[cfg(feature = "mdns")]
pub mod mdns;
pub mod modbus;
#[cfg(feature = "mqtt")]
pub mod mqtt;
