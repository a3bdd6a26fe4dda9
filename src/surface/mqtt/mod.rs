//! The device's MQTT client (MQTT-1 to MQTT-15), which publishes the rendered template and nothing else.
//!
//! [`MqttClient`] is an actor: it connects as the device's settings say, publishes after readings of the
//! meter, and reconnects. `session` is one connection, `tls` its certificates and keys, and `x509`
//! parses the certificates that rustls does not. The packets are rumqttc's. Its event loop is not used,
//! because it resolves and connects by itself, so that neither the house's brokers nor the outbound
//! policy would apply, and because with TLS it verifies and sends only the address that it connects to.
//!
//! Connecting, keep-alive and the pause before a retry use real time, as the broker's own clock does;
//! publishing uses the scenario's clock.

mod client;
mod session;
mod tls;
mod x509;

pub use self::client::{ClientParts, ConnectSpread, MqttClient, MqttState, MqttStatus};
