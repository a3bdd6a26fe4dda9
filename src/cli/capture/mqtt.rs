//! The MQTT settings of a captured device, with placeholders for the secrets that it does not reveal.

use serde_json::{Map, Value, json};

use super::draft::{CapturedDevice, MAX_PASSWORD_CHARS, placeholder, secret_length, without};
use crate::limits;

/// Returns the MQTT settings of the scenario.
pub(super) fn settings(captured: &CapturedDevice, notes: &mut Vec<String>) -> Value {
    let mut mqtt = without(captured.mqtt.as_ref(), &[]);
    let Some(settings) = mqtt.as_object_mut() else { return mqtt };
    let reported = settings.remove("password_len");
    if let Some(length) = secret_length(reported.as_ref(), MAX_PASSWORD_CHARS) {
        settings.insert("password".into(), json!(placeholder(Some(length))));
    }
    if let Some(client) = settings.get_mut("client").and_then(Value::as_object_mut) {
        replace_secrets(client, notes);
    }
    mqtt
}

/// Puts placeholders in place of the secrets of the client's certificate. Without a key the simulated
/// device would not show the certificate either.
fn replace_secrets(client: &mut Map<String, Value>, notes: &mut Vec<String>) {
    let reported = client.remove("key_password_len");
    let password = secret_length(reported.as_ref(), MAX_PASSWORD_CHARS);
    if let Some(length) = password {
        client.insert("key_password".into(), json!(placeholder(Some(length))));
    }
    let reported = client.remove("key_len");
    if let Some(length) = secret_length(reported.as_ref(), limits::JSON_BODY_BYTES) {
        notes.push(
            "What stands in for the key of the MQTT client is no key: until the true one is in its \
             place no broker is reached over TLS."
                .into(),
        );
        client.insert("key".into(), json!(placeholder_key(length, password.is_some())));
    }
}

/// Returns a placeholder of a key in PEM, whose digits spell `captured`. It has this length, unless that
/// is too short for PEM.
fn placeholder_key(length: usize, encrypted: bool) -> String {
    /// Digits in a line (RFC 7468).
    const LINE: usize = 64;
    /// Base64 digits in a group; only whole groups are valid.
    const GROUP: usize = 4;
    let label = if encrypted { "ENCRYPTED PRIVATE KEY" } else { "PRIVATE KEY" };
    let (begin, end) = (format!("-----BEGIN {label}-----\n"), format!("-----END {label}-----"));
    let mut left = length.saturating_sub(begin.len() + end.len()).max(GROUP + 1);
    let mut key = begin;
    while left > GROUP {
        let digits = (left - 1).min(LINE) / GROUP * GROUP;
        key.push_str(&placeholder(Some(digits)));
        key.push('\n');
        left -= digits + 1;
    }
    key.push_str(&end);
    key.extend(std::iter::repeat_n('\n', left));
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::config::pem;

    #[test]
    fn placeholder_keys_of_any_length_are_valid_pem() {
        for length in 80..400 {
            for encrypted in [false, true] {
                let key = placeholder_key(length, encrypted);
                assert_eq!(key.len(), length);
                pem::key(&key).unwrap_or_else(|error| panic!("{error}: {key}"));
            }
        }
        pem::key(&placeholder_key(1, false)).unwrap();
    }
}
