//! The settings of the MQTT client.

use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

use crate::support::house::TestHouse;

pub(crate) const MQTT: &str = "/api/v1/mqtt/settings";

/// Generates a certificate and its key.
fn certificate_and_key() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    (CertificateParams::new(vec![]).unwrap().self_signed(&key).unwrap().pem(), key.serialize_pem())
}

#[tokio::test]
async fn the_mqtt_client_of_a_new_device_is_off() {
    let house = TestHouse::start("").await;
    assert_eq!(
        house.get(MQTT).await.body,
        concat!(
            r#"{"enable":false,"url":"","username":"","client_id":"","skip_cn_check":false,"#,
            r#""publish":{"topic":"","template":""},"password_len":0}"#
        )
    );
}

// Ruling: MQTT-4.
#[tokio::test]
async fn the_vendors_example_is_accepted_and_returned_without_secrets() {
    let house = TestHouse::start("").await;
    let (certificate, key) = certificate_and_key();
    let current = house
        .set(
            "POST",
            MQTT,
            &json!({
                "enable": true,
                "url": "mqtts://192.168.99.186:8883",
                "skip_cn_check": true,
                "client_id": "whatwatt-001",
                "username": "demo",
                "password": "geheim\u{fc}",
                "publish": {"topic": "lab/energy", "template": "{ \"P_In\": ${1_7_0} }"},
                "broker": {"certificate": certificate},
                "client": {"certificate": certificate, "key": key, "key_password": "x"},
            }),
        )
        .await;
    assert_eq!(
        current,
        json!({
            "enable": true,
            "url": "mqtts://192.168.99.186:8883",
            "username": "demo",
            "client_id": "whatwatt-001",
            "skip_cn_check": true,
            "publish": {"topic": "lab/energy", "template": "{ \"P_In\": ${1_7_0} }"},
            "broker": {"certificate": certificate},
            "client": {"certificate": certificate, "key_len": key.len(), "key_password_len": 1},
            "password_len": 7,
        })
    );
}

// Ruling: MQTT-4.
#[tokio::test]
async fn put_keeps_secrets_and_null_deletes_them() {
    let house = TestHouse::start("").await;
    let (certificate, key) = certificate_and_key();
    let client = json!({"certificate": certificate, "key": key, "key_password": "x"});
    let all = json!({
        "password": "geheim", "broker": {"certificate": certificate}, "client": client,
    });
    house.set("POST", MQTT, &all).await;
    let current = house.set("PUT", MQTT, &json!({"username": "demo"})).await;
    assert_eq!(
        (&current["password_len"], &current["client"]["key_len"]),
        (&json!(6), &json!(key.len()))
    );

    for (body, cleared) in [
        (json!({"password": null}), "/password_len"),
        (json!({"client": {"key_password": null}}), "/client/key_password_len"),
        (json!({"client": {"key": null}}), "/client/key_len"),
        (json!({"client": {"certificate": null}}), "/client"),
        (json!({"broker": {"certificate": null}}), "/broker"),
    ] {
        assert!(house.get_json(MQTT).await.pointer(cleared).is_some(), "{cleared}");
        let current = house.set("PUT", MQTT, &body).await;
        let rest = current.pointer(cleared).filter(|value| **value != 0);
        assert_eq!(rest, None, "{body}");
    }

    house.set("POST", MQTT, &all).await;
    let empty = json!({"password": "", "broker": {"certificate": ""}, "client": {
        "certificate": "", "key": "", "key_password": "",
    }});
    let current = house.set("PUT", MQTT, &empty).await;
    assert_eq!(current["password_len"], 0, "an empty string clears a secret like null");
    assert!(current.get("client").is_none() && current.get("broker").is_none(), "{current}");

    house.set("POST", MQTT, &all).await;
    let current = house.set("POST", MQTT, &json!({"enable": false})).await;
    assert_eq!(current["password_len"], 0, "POST replaces the whole object");
    assert!(current.get("client").is_none() && current.get("broker").is_none(), "{current}");
}

// Ruling: MQTT-3, MQTT-4, MQTT-5.
#[tokio::test]
async fn invalid_fields_are_refused_by_name() {
    let house = TestHouse::start("").await;
    let (certificate, key) = certificate_and_key();
    house.set("POST", MQTT, &json!({"url": "mqtt://a", "password": "geheim"})).await;
    let long = |count: usize| Value::String("x".repeat(count));
    for (field, body) in [
        ("enable", json!({"enable": 1})),
        ("enable", json!({"enable": null})),
        ("url", json!({"url": "http://broker"})),
        ("url", json!({"url": "mqtt://"})),
        ("url", json!({"url": "mqtt://a:0"})),
        ("url", json!({"url": "mqtt://a:b"})),
        ("url", json!({"url": "mqtt://user:password@a"})),
        ("url", json!({"url": format!("mqtt://{}", "x".repeat(121))})),
        ("username", json!({"username": long(128)})),
        ("password", json!({"password": long(128)})),
        ("client_id", json!({"client_id": long(64)})),
        ("skip_cn_check", json!({"skip_cn_check": "true"})),
        ("publish", json!({"publish": []})),
        ("publish.topic", json!({"publish": {"topic": long(128)}})),
        ("publish.topic", json!({"publish": {"topic": "house/#"}})),
        ("publish.topic", json!({"publish": {"topic": "house/+/power"}})),
        ("publish.topic", json!({"publish": {"topic": "house\0"}})),
        ("username", json!({"username": "de\0mo"})),
        ("client_id", json!({"client_id": "\0"})),
        ("publish.template", json!({"publish": {"template": long(1024)}})),
        ("broker.certificate", json!({"broker": {"certificate": "x"}})),
        ("broker.certificate", json!({"broker": {"certificate": key}})),
        ("client.certificate", json!({"client": {"certificate": 1}})),
        ("client.key", json!({"client": {"key": certificate}})),
        ("client.key_password", json!({"client": {"key_password": long(256)}})),
    ] {
        for method in ["PUT", "POST"] {
            assert_eq!(house.refused_field(method, MQTT, &body.to_string()).await, field, "{body}");
        }
    }
    assert_eq!(house.refused_field("PUT", MQTT, "{").await, "");
    let answer = house.post(MQTT, &format!("{{\"a\": \"{}\"}}", "x".repeat(8184))).await;
    assert_eq!(answer.status, 413);
    for longest in [
        json!({"url": format!("mqtt://{}xx", "x.".repeat(59)), "username": long(127)}),
        json!({"client_id": long(63), "publish": {"topic": long(127), "template": long(1023)}}),
        json!({"client": {"key_password": long(255)}, "password": long(127), "url": ""}),
    ] {
        house.set("PUT", MQTT, &longest).await;
    }
}

#[tokio::test]
async fn the_settings_need_no_licence_and_lengths_are_read_only() {
    let house = TestHouse::start("device: {license: free}").await;
    let current = house.set("PUT", MQTT, &json!({"enable": true, "password_len": 9})).await;
    assert_eq!((&current["enable"], &current["password_len"]), (&json!(true), &json!(0)));
}
