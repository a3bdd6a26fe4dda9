//! Surfaces: what clients of a device see.

pub mod http;
#[cfg(feature = "mqtt")]
pub mod mqtt;
