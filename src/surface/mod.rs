//! The surfaces of a device: HTTP, Modbus, MQTT and mDNS, as clients see them.

pub mod http;
#[cfg(feature = "mdns")]
pub mod mdns;
pub mod modbus;
#[cfg(feature = "mqtt")]
pub mod mqtt;
