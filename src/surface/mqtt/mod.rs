//! The device's MQTT client (MQTT-1 to MQTT-13): it publishes the rendered template, and nothing else.
//!
//! [`MqttClient`] is an actor: it follows the device's settings, connects, publishes on the meter's
//! readings, and connects anew. `session` is one connection, `tls` what it trusts and shows, `x509` reads
//! the certificates that rustls does not. The packets are rumqttc's. Its event loop is not used: it
//! resolves and connects by itself, so that neither the house's brokers nor the outbound policy would
//! have a say, and with TLS it could verify and announce only the address that it connects to.
//!
//! Connecting, keep-alive and the pause before another try go by real time, as the broker's own
//! clock does; publishing goes by the scenario's clock.

mod client;
mod session;
mod tls;
mod x509;

pub use self::client::{ClientParts, MqttClient, MqttState, MqttStatus};
