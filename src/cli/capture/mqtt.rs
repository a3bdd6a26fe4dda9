//! The MQTT client's settings as a device tells them. It keeps password and key to itself.

use serde_json::{Map, Value, json};

use super::draft::{Captured, LONGEST_PASSWORD, length, stand_in, without};
use crate::limits;

pub(super) fn settings(captured: &Captured, notes: &mut Vec<String>) -> Value {
    let mut mqtt = without(captured.mqtt.as_ref(), &[]);
    let Some(settings) = mqtt.as_object_mut() else { return mqtt };
    let told = settings.remove("password_len");
    if let Some(length) = length(told.as_ref(), LONGEST_PASSWORD) {
        settings.insert("password".into(), json!(stand_in(Some(length))));
    }
    if let Some(client) = settings.get_mut("client").and_then(Value::as_object_mut) {
        identify(client, notes);
    }
    mqtt
}

/// Puts something in place of the secrets of the client's certificate. Without a key the device would
/// not show the certificate either.
fn identify(client: &mut Map<String, Value>, notes: &mut Vec<String>) {
    let told = client.remove("key_password_len");
    let password = length(told.as_ref(), LONGEST_PASSWORD);
    if let Some(length) = password {
        client.insert("key_password".into(), json!(stand_in(Some(length))));
    }
    let told = client.remove("key_len");
    if let Some(length) = length(told.as_ref(), limits::JSON_BODY_BYTES) {
        notes.push(
            "What stands in for the key of the MQTT client is no key: until the true one is in its \
             place no broker is reached over TLS."
                .into(),
        );
        client.insert("key".into(), json!(stand_in_key(length, password.is_some())));
    }
}

/// Something in PEM of this length, where so little has room for it: `captured` in place of digits.
fn stand_in_key(length: usize, encrypted: bool) -> String {
    /// Digits of a line, as RFC 7468 has it.
    const LINE: usize = 64;
    /// Digits of base64 stand for bytes only in fours.
    const GROUP: usize = 4;
    let label = if encrypted { "ENCRYPTED PRIVATE KEY" } else { "PRIVATE KEY" };
    let (begin, end) = (format!("-----BEGIN {label}-----\n"), format!("-----END {label}-----"));
    let mut left = length.saturating_sub(begin.len() + end.len()).max(GROUP + 1);
    let mut key = begin;
    while left > GROUP {
        let digits = (left - 1).min(LINE) / GROUP * GROUP;
        key.push_str(&stand_in(Some(digits)));
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
    fn a_key_has_its_stand_in_of_any_length() {
        for length in 80..400 {
            for encrypted in [false, true] {
                let key = stand_in_key(length, encrypted);
                assert_eq!(key.len(), length);
                pem::key(&key).unwrap_or_else(|wrong| panic!("{wrong}: {key}"));
            }
        }
        pem::key(&stand_in_key(1, false)).unwrap();
    }
}
