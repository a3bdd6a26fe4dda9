//! `/api/v1/mqtt/settings` (contract §2 and §8, `mqtt_settings_fields.csv`).

use serde::{Deserialize, Serialize};

/// The MQTT client's settings. Secrets never come back over the API, only their lengths.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is named as in the API")]
pub struct MqttSettings {
    pub enable: bool,
    pub url: String,
    pub username: String,
    pub password: String,
    pub client_id: String,
    pub skip_cn_check: bool,
    /// `publish.topic`.
    pub topic: String,
    /// `publish.template`.
    pub template: String,
    /// `broker.certificate`, PEM.
    pub broker_certificate: Option<String>,
    /// `client.certificate`, PEM.
    pub client_certificate: Option<String>,
    /// `client.key`, PEM; a secret.
    pub client_key: Option<String>,
    /// `client.key_password`; a secret.
    pub client_key_password: Option<String>,
}
