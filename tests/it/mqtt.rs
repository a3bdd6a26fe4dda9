//! The MQTT client against a real broker.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pkcs8::PrivateKeyInfo;
use pkcs8::der::pem::LineEnding;
use pkcs8::pkcs5::pbes2;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use wwsim::clock::VirtualTime;
use wwsim::journal::Event;
use wwsim::limits::{MQTT_RETRY, MQTT_SPREAD, MQTT_STEADY};

use crate::mqtt_broker::{BrokerProxy, Subscriber, broker, unique_topic};
use crate::mqtt_settings::MQTT;
use crate::state;
use crate::support::device::{eventually, within};
use crate::support::folder::Folder;
use crate::support::frozen::Frozen;
use crate::support::house::{FreePort, TestHouse};

const DEVICE: &str = "A842E39F8124";

impl TestHouse {
    /// Returns the client's state, as the control plane shows it.
    async fn mqtt(&self) -> Value {
        self.control_get("state").await["devices"][0]["mqtt"].clone()
    }

    /// Advances the clock to the next reading, and returns its time.
    async fn advance_to_next_reading(&self) -> VirtualTime {
        let device = self.device();
        let (now, next) = (self.clock().now(), device.next_reading().unwrap());
        self.advance(next.since(now)).await;
        next
    }

    /// Waits, in real time, until the journal has an event that satisfies the predicate.
    async fn wait_event(&self, predicate: impl Fn(&Event) -> bool) {
        eventually(|| self.journal_entries().iter().any(|entry| predicate(&entry.event))).await;
    }

    fn count(&self, predicate: impl Fn(&Event) -> bool) -> usize {
        self.journal_entries().iter().filter(|entry| predicate(&entry.event)).count()
    }
}

/// Starts a house whose device reaches the broker at `address` as `broker.example.com`. `yaml` is the rest
/// of the scenario.
async fn start_house(address: SocketAddr, yaml: &str) -> TestHouse {
    TestHouse::start(&format!(
        "mqtt_brokers: {{lab: {{address: '{address}', hosts: [broker.example.com]}}}}\n{yaml}"
    ))
    .await
}

/// Returns settings that publish `template` under `topic`, with a client id that no other test uses, because
/// a broker drops the previous client with the same id.
fn settings(topic: &str, template: &str) -> Value {
    json!({
        "enable": true,
        "url": "mqtt://broker.example.com",
        "client_id": topic.replace('/', "-"),
        "publish": {"topic": topic, "template": template},
    })
}

fn is_connected(event: &Event) -> bool {
    matches!(event, Event::MqttConnected { .. })
}

fn is_published(event: &Event) -> bool {
    matches!(event, Event::MqttPublished { .. })
}

fn reason(event: &Event) -> Option<&str> {
    match event {
        Event::MqttNotConnected { reason, .. } | Event::MqttDisconnected { reason, .. } => {
            Some(reason)
        }
        _ => None,
    }
}

const VALUES: &str = "${timestamp}|${1_8_0}|${1_7_0}|${2_7_0}|${32_7_0}|${sys.date_time}|\
                      ${meter.date_time_local}|${meter.status}|${sys.id}|${5_8_0}|${no.such}";

// Ruling: SYSTEM-3.
#[tokio::test]
async fn a_message_has_the_variables_of_its_instant() {
    let (house, topic) = (start_house(broker().await.open, "").await, unique_topic());
    let mut subscriber = Subscriber::start(&topic).await;
    house.set("PUT", MQTT, &settings(&topic, VALUES)).await;
    house.advance_to_next_reading().await;
    let received = subscriber.next().await;
    assert_eq!(received, house.render(VALUES).await);
    let mut names = VALUES.split('|').map(|name| name.trim_matches(['$', '{', '}']));
    for value in received.split('|') {
        match names.next().unwrap() {
            "no.such" => assert_eq!(value, "${no.such}"),
            name => assert_eq!(Some(value), house.variable(name).await.as_deref(), "{name}"),
        }
    }
    let state = house.mqtt().await;
    assert_eq!(
        state,
        json!({"state": "connected", "broker": "mqtt://broker.example.com:1883", "published": 1})
    );
    let mqtc = || async { house.get("/api/v1/system").await.json()["clouds"]["mqtc"].clone() };
    assert_eq!(mqtc().await, json!({"enabled": true, "connected": true}));
    house.set("PUT", MQTT, &json!({"enable": false})).await;
    house.settle().await;
    assert_eq!(mqtc().await, json!({"enabled": false, "connected": false}));
}

// Ruling: MQTT-8.
#[tokio::test]
async fn a_message_follows_the_first_reading_after_the_interval() {
    let (house, topic) = (start_house(broker().await.open, "").await, unique_topic());
    let mut subscriber = Subscriber::start(&topic).await;
    house.set("PUT", "/api/v1/settings", &json!({"services": {"report_interval": 20}})).await;
    house.set("PUT", MQTT, &settings(&topic, "${timestamp}")).await;
    let (mut expected, mut last, mut cadence) = (Vec::new(), None, Duration::MAX);
    let mut before = house.clock().now();
    while expected.len() < 4 {
        let at = house.advance_to_next_reading().await;
        cadence = cadence.min(at.since(before));
        before = at;
        let due = last.is_none_or(|last| at.since(last) >= Duration::from_secs(20));
        if due {
            last = Some(at);
            expected.push(house.variable("timestamp").await.unwrap());
        }
        assert_eq!(house.count(is_published), expected.len(), "at {at:?}");
    }
    assert!(cadence < Duration::from_secs(20), "the interval is longer than the cadence");
    for expected in expected {
        assert_eq!(subscriber.next().await, expected);
    }
}

// Ruling: MQTT-8, SD-2.
#[tokio::test]
async fn a_reading_each_second_gives_a_message_each_second() {
    let meter = "device: {meter: {kind: ensor}}";
    let (house, topic) = (start_house(broker().await.open, meter).await, unique_topic());
    house.set("PUT", "/api/v1/settings", &json!({"services": {"report_interval": 1}})).await;
    house.set("PUT", MQTT, &settings(&topic, "x")).await;
    house.advance(Duration::from_secs(10)).await;
    let before = house.count(is_published);
    house.advance(Duration::from_secs(100)).await;
    assert_eq!(house.count(is_published) - before, 100);
}

// Ruling: MQTT-9.
#[tokio::test]
async fn a_shorter_interval_takes_effect_at_once() {
    let (house, topic) = (start_house(broker().await.open, "").await, unique_topic());
    house.set("PUT", "/api/v1/settings", &json!({"services": {"report_interval": 3600}})).await;
    house.set("PUT", MQTT, &settings(&topic, "x")).await;
    house.advance(Duration::from_mins(10)).await;
    assert_eq!(house.count(is_published), 1);
    house.set("PUT", "/api/v1/settings", &json!({"services": {"report_interval": 60}})).await;
    house.advance_to_next_reading().await;
    assert_eq!(house.count(is_published), 2);
    assert_eq!(house.count(is_connected), 1, "the connection stays");
}

#[tokio::test]
async fn nothing_is_published_without_readings() {
    let fault = "faults: [{id: silence, at: meter, when: {after: 60s, for: 10m}, effect: no_data}]";
    let (house, topic) = (start_house(broker().await.open, fault).await, unique_topic());
    house.set("PUT", MQTT, &settings(&topic, "x")).await;
    house.advance(Duration::from_secs(59)).await;
    let before = house.count(is_published);
    assert!(before > 0, "{:?}", house.journal_entries());
    house.advance(Duration::from_mins(10)).await;
    assert_eq!(house.count(is_published), before);
    house.advance(Duration::from_mins(1)).await;
    assert!(house.count(is_published) > before, "messages resume with the readings");
}

#[tokio::test]
async fn a_jump_publishes_once_at_its_end() {
    let (house, topic) = (start_house(broker().await.open, "").await, unique_topic());
    let mut subscriber = Subscriber::start(&topic).await;
    house.set("PUT", MQTT, &settings(&topic, "${sys.date_time}")).await;
    house.settle().await;
    house.clock().jump(Duration::from_hours(24)).await.unwrap();
    assert_eq!(house.count(is_published), 1);
    assert_eq!(subscriber.next().await, "2026-01-16T18:00:00Z");
}

#[tokio::test]
async fn the_broker_checks_user_and_password() {
    let (house, topic) = (start_house(broker().await.protected, "").await, unique_topic());
    let mut subscriber = Subscriber::start(&topic).await;
    let mut credentials = settings(&topic, "x");
    credentials["username"] = json!("demo");
    credentials["password"] = json!("falsch");
    house.set("PUT", MQTT, &credentials).await;
    house.settle().await;
    let state = house.mqtt().await;
    assert_eq!(state["state"], "connecting", "{state}");
    assert!(state["reason"].is_string(), "{state}");
    house.set("PUT", MQTT, &json!({"password": "geheim"})).await;
    house.advance_to_next_reading().await;
    assert_eq!(subscriber.next().await, "x");
}

#[tokio::test]
async fn the_client_starts_with_the_settings_of_the_scenario() {
    let topic = unique_topic();
    let mut subscriber = Subscriber::start(&topic).await;
    let device = json!({"mqtt": settings(&topic, "x"), "reboot_time": "3s"});
    let house = start_house(broker().await.open, &format!("device: {device}")).await;
    house.advance_to_next_reading().await;
    assert_eq!(subscriber.next().await, "x");

    let answer = house.post("/api/v1/reboot", "").await;
    assert_eq!(answer.status, 204);
    house.advance(Duration::from_secs(1)).await;
    let state = house.mqtt().await;
    assert_eq!((&state["state"], &state["reason"]), (&json!("off"), &json!("the device is down")));
    house.advance(Duration::from_secs(30)).await;
    assert_eq!(house.count(is_connected), 2, "a reboot opens a new connection");
    assert_eq!(subscriber.next().await, "x");
}

// Ruling: MQTT-9.
#[tokio::test]
async fn changed_settings_take_effect_at_once() {
    let (house, first, second) =
        (start_house(broker().await.open, "").await, unique_topic(), unique_topic());
    let mut subscriber = Subscriber::start(&second).await;
    assert_eq!(
        house.mqtt().await,
        json!({"state": "off", "reason": "switched off", "published": 0})
    );
    house.set("PUT", MQTT, &settings(&first, "x")).await;
    eventually(|| house.count(is_connected) == 1).await;
    assert_eq!(house.mqtt().await["state"], "connected");
    // Another client id, because it takes the broker some time to replace a connection.
    let publish = json!({"topic": second, "template": "y"});
    house.set("PUT", MQTT, &json!({"client_id": "another", "publish": publish})).await;
    eventually(|| house.count(is_connected) == 2).await;
    house.advance_to_next_reading().await;
    assert_eq!(subscriber.next().await, "y");
    house.set("PUT", MQTT, &json!({"enable": false})).await;
    house.advance(Duration::from_mins(5)).await;
    assert_eq!(house.count(is_published), 1);
    assert_eq!(house.mqtt().await["state"], "off");
    let disconnects = house.count(|event| reason(event) == Some("the settings changed"));
    assert_eq!(disconnects, 2);
}

// Ruling: MQTT-13.
#[tokio::test]
async fn the_client_reconnects_when_the_broker_is_back() {
    let mut proxy = BrokerProxy::start(broker().await.open, None).await;
    let (house, topic) = (start_house(proxy.address, "").await, unique_topic());
    let mut subscriber = Subscriber::start(&topic).await;
    house.set("PUT", MQTT, &settings(&topic, "x")).await;
    house.advance_to_next_reading().await;
    assert_eq!(subscriber.next().await, "x");
    proxy.close();
    house.wait_event(|event| matches!(event, Event::MqttDisconnected { .. })).await;
    house.wait_event(|event| matches!(event, Event::MqttNotConnected { .. })).await;
    house.advance(Duration::from_mins(5)).await;
    assert_eq!(house.count(is_published), 1, "messages due meanwhile are lost");
    proxy.open().await;
    eventually(|| house.count(is_connected) == 2).await;
    house.advance_to_next_reading().await;
    assert_eq!(subscriber.next().await, "x");
    let failures = house.count(|event| matches!(event, Event::MqttNotConnected { .. }));
    assert_eq!(failures, 1, "the same reason is recorded once");
}

/// Starts a broker that accepts each client and drops it after `lifetime`. The receiver gets a message for
/// each client.
async fn start_dropping_broker(lifetime: Duration) -> (SocketAddr, mpsc::UnboundedReceiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, (sender, clients)) = (listener.local_addr().unwrap(), mpsc::unbounded_channel());
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let _ = sender.send(());
            // CONNECT has less than 128 bytes.
            let [_, length] = client.read_u16().await.unwrap().to_be_bytes();
            client.read_exact(&mut vec![0; length.into()]).await.unwrap();
            client.write_all(b"\x20\x02\x00\x00").await.unwrap();
            sleep(lifetime).await;
        }
    });
    (address, clients)
}

/// Returns the pauses before a client reconnects to a broker that drops it after `lifetime` each time.
async fn reconnect_pauses(frozen: &Frozen, lifetime: Duration, count: usize) -> Vec<Duration> {
    let (address, mut clients) = start_dropping_broker(lifetime).await;
    let (house, mut pauses) = (start_house(address, "").await, Vec::new());
    house.set("PUT", MQTT, &settings("x", "x")).await;
    clients.recv().await.unwrap();
    while pauses.len() < count {
        let round = pauses.len() + 1;
        frozen.until(|| house.count(is_connected) == round).await;
        // Timers fire at whole milliseconds.
        frozen.pass(lifetime + Duration::from_millis(1)).await;
        frozen.until(|| house.count(|event| reason(event).is_some()) == round).await;
        let disconnected_at = Instant::now();
        while clients.try_recv().is_err() {
            let elapsed = disconnected_at.elapsed();
            assert!(elapsed < 2 * *MQTT_RETRY.end(), "the client does not reconnect");
            frozen.pass(*MQTT_RETRY.start() / 2).await;
            // Lets a connection attempt complete.
            house.settle().await;
        }
        pauses.push(disconnected_at.elapsed());
    }
    pauses
}

// Ruling: MQTT-13.
#[tokio::test(start_paused = true)]
async fn pauses_grow_if_the_broker_drops_the_client_at_once() {
    let (frozen, shortest, longest) = (Frozen::start(), *MQTT_RETRY.start(), *MQTT_RETRY.end());
    // The longest pause is the lifetime of two clients with one id, which replace each other.
    for lifetime in [Duration::from_millis(1), longest] {
        let pauses = reconnect_pauses(&frozen, lifetime, 12).await;
        assert!(pauses[0] < 2 * shortest, "{pauses:?}");
        assert!(pauses.windows(2).take(5).all(|pair| pair[1] > pair[0]), "{pauses:?}");
        assert!(pauses[6..].iter().all(|pause| *pause >= longest), "{pauses:?}");
    }
    let steady = reconnect_pauses(&frozen, MQTT_STEADY, 4).await;
    assert!(steady.iter().all(|pause| *pause < 2 * shortest), "{steady:?}");
}

/// Starts a broker that accepts every client and keeps it.
async fn start_keeping_broker() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                client.write_all(b"\x20\x02\x00\x00").await.unwrap();
                let mut received = Vec::new();
                let _ = client.read_to_end(&mut received).await;
            });
        }
    });
    address
}

// Ruling: MQTT-14.
#[tokio::test(start_paused = true)]
async fn the_clients_of_a_fleet_connect_one_after_another() {
    const COUNT: u32 = 60;
    let (frozen, address) = (Frozen::start(), start_keeping_broker().await);
    let connected = |house: &TestHouse| {
        let entries = house.journal_entries().into_iter();
        let mut ids: Vec<_> = entries
            .filter_map(|entry| match entry.event {
                Event::MqttConnected { device, .. } => Some(device),
                _ => None,
            })
            .collect();
        ids.sort();
        ids
    };
    let halfway = async |seed: u32| {
        let house = start_house(
            address,
            &format!(
                "seed: {seed}\nclock: {{speed: 1}}\nfleet: {{count: {COUNT}, listen: shared, template: \
                 {{mqtt: {{enable: true, url: 'mqtt://broker.example.com'}}}}}}"
            ),
        )
        .await;
        house.settle().await;
        assert_eq!(connected(&house).len(), 0, "at once");
        frozen.pass(MQTT_SPREAD * COUNT / 2).await;
        house.settle().await;
        let halfway = connected(&house);
        frozen.pass(MQTT_SPREAD * COUNT / 2 + Duration::from_millis(1)).await;
        house.settle().await;
        assert_eq!(connected(&house).len(), COUNT as usize);
        halfway
    };
    let first = halfway(1).await;
    assert!((15..45).contains(&first.len()), "{} of {COUNT}", first.len());
    assert_eq!(halfway(1).await, first, "the seed decides");
    assert_ne!(halfway(2).await, first);
}

// Ruling: HOUSE-2.
#[tokio::test(start_paused = true)]
async fn an_absent_broker_does_not_block_the_clock() {
    let (frozen, free) = (Frozen::start(), FreePort::new());
    let house = start_house(free.address(), "").await;
    house.set("PUT", MQTT, &settings("x", "x")).await;
    let at_once = *MQTT_RETRY.start();
    // After five seconds the client is in the middle of a pause of four seconds.
    for _ in 0..20 {
        frozen.pass(at_once).await;
    }
    let step = Duration::from_millis(1);
    let rule = json!({
        "id": "away", "at": "mqtt", "when": {"after": "5s", "for": "5s"}, "effect": "refuse",
    });
    frozen.run(step, at_once, house.add_fault(rule)).await;
    for _ in 0..3 {
        frozen.run(step, at_once, house.advance(Duration::from_secs(4))).await;
    }
}

#[tokio::test]
async fn a_reset_resets_the_message_count() {
    let (house, topic) = (start_house(broker().await.open, "").await, unique_topic());
    house.set("PUT", MQTT, &settings(&topic, "x")).await;
    house.advance(Duration::from_mins(2)).await;
    assert!(house.mqtt().await["published"].as_u64().unwrap() > 1);
    house.reset().await;
    assert_eq!(house.mqtt().await["published"], 0);
}

#[tokio::test]
async fn without_a_licence_nothing_is_published() {
    let house = start_house(broker().await.open, "device: {license: free}").await;
    house.set("PUT", MQTT, &settings(&unique_topic(), "x")).await;
    house.advance(Duration::from_mins(5)).await;
    let state = house.mqtt().await;
    assert_eq!(
        (&state["state"], &state["reason"]),
        (&json!("off"), &json!("the licence does not cover MQTT"))
    );
    assert_eq!(house.count(is_connected), 0);
}

#[tokio::test]
async fn the_outbound_policy_applies_to_external_brokers() {
    let address = broker().await.open;
    for (policy, url, denied) in [
        ("deny", format!("mqtt://{address}"), true),
        ("deny", "mqtt://localhost".to_owned(), true),
        ("loopback", format!("mqtt://{address}"), false),
        ("loopback", "mqtt://192.0.2.1".to_owned(), true),
    ] {
        let house = TestHouse::start(&format!("outbound: {policy}")).await;
        house.set("PUT", MQTT, &json!({"enable": true, "url": url})).await;
        house.settle().await;
        let denials = house.count(|event| {
            matches!(event, Event::OutboundDenied { policy: recorded, device, .. }
                if *recorded == policy && &**device == DEVICE)
        });
        assert_eq!(denials, usize::from(denied), "{policy} {url}");
        assert_eq!(house.count(is_connected), usize::from(!denied), "{policy} {url}");
    }
}

// Ruling: MQTT-7.
#[tokio::test]
async fn the_default_client_id_comes_from_the_device_id() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let house = start_house(listener.local_addr().unwrap(), "").await;
    house.set("PUT", MQTT, &json!({"enable": true, "url": "mqtt://broker.example.com"})).await;
    let (mut stream, _) = within(listener.accept()).await.unwrap();
    let mut sent = [0; 29];
    within(stream.read_exact(&mut sent)).await.unwrap();
    assert_eq!(&sent, b"\x10\x1b\x00\x04MQTT\x04\x02\x00\x3c\x00\x0fwhatwatt-9F8124");
}

#[tokio::test]
async fn a_silent_broker_does_not_block_the_clock() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let house = start_house(listener.local_addr().unwrap(), "").await;
    house.set("PUT", MQTT, &json!({"enable": true, "url": "mqtt://broker.example.com"})).await;
    let _silent = within(listener.accept()).await.unwrap();
    house.advance(Duration::from_hours(1)).await;
    assert_eq!(house.mqtt().await["state"], "connecting");
}

#[tokio::test]
async fn actions_do_not_resolve_the_hosts_of_brokers() {
    let action = "device: {actions: {actions: [{id: a, requests: \
                  [{http: {url: 'http://broker.example.com/'}}]}]}}";
    let house = start_house(broker().await.open, action).await;
    let ids = house.run("a", Duration::ZERO).await;
    house.device().assert_codes(&ids, &[-16]);
}

// ---------------------------------------------------------------------------------------------
// Faults
// ---------------------------------------------------------------------------------------------

/// Starts a house with one fault rule for its client, which publishes a timestamp once a minute.
async fn start_with_fault(rule: &str) -> (TestHouse, Subscriber) {
    let fault = format!("faults: [{{id: rule, at: mqtt, {rule}}}]");
    let (house, topic) = (start_house(broker().await.open, &fault).await, unique_topic());
    let subscriber = Subscriber::start(&topic).await;
    house.set("PUT", "/api/v1/settings", &json!({"services": {"report_interval": 60}})).await;
    house.set("PUT", MQTT, &settings(&topic, "${timestamp}")).await;
    (house, subscriber)
}

/// Returns the times at which messages were sent, in seconds.
fn sent_times(house: &TestHouse) -> Vec<f64> {
    let entries = house.journal_entries().into_iter();
    entries.filter(|entry| is_published(&entry.event)).map(|entry| entry.t).collect()
}

#[tokio::test]
async fn lose_drops_a_message_and_keeps_the_connection() {
    let (house, mut subscriber) = start_with_fault("when: {nth: 2}, effect: lose").await;
    house.advance(Duration::from_mins(4)).await;
    let lost = house.count(|event| {
        matches!(event, Event::MqttNotPublished { reason, .. } if *reason == "lost by a rule")
    });
    assert_eq!((lost, house.count(is_connected)), (1, 1));
    assert_eq!(house.counts("rule"), (4, 1));
    assert_eq!(sent_times(&house).len(), 3);
    for _ in 0..3 {
        subscriber.next().await;
    }
}

#[tokio::test]
async fn drop_ends_the_connection_and_the_client_reconnects() {
    let (house, mut subscriber) = start_with_fault("when: {nth: 2}, effect: drop").await;
    house.advance(Duration::from_mins(4)).await;
    assert_eq!(house.count(|event| reason(event) == Some("dropped by a rule")), 1);
    assert_eq!(house.count(is_connected), 2);
    assert_eq!(sent_times(&house).len(), 3);
    for _ in 0..3 {
        subscriber.next().await;
    }
}

#[tokio::test]
async fn a_delayed_message_keeps_its_contents() {
    let (house, mut subscriber) = start_with_fault("when: {first: 1}, effect: {delay: 7s}").await;
    house.advance_to_next_reading().await;
    let (read_at, timestamp) =
        (house.clock().now().as_secs_f64(), house.variable("timestamp").await.unwrap());
    house.advance(Duration::from_millis(6999)).await;
    assert_eq!(sent_times(&house), [0.0; 0]);
    house.advance(Duration::from_millis(1)).await;
    assert_eq!(sent_times(&house), [read_at + 7.0]);
    assert_eq!(subscriber.next().await, timestamp);
}

#[tokio::test]
async fn refuse_follows_its_window() {
    let (house, _subscriber) =
        start_with_fault("when: {after: 90s, for: 120s}, effect: refuse").await;
    house.advance(Duration::from_secs(89)).await;
    let before = sent_times(&house).len();
    assert!(before > 0);
    house.advance(Duration::from_secs(1)).await;
    let state = house.mqtt().await;
    assert_eq!(
        (&state["state"], &state["reason"]),
        (&json!("connecting"), &json!("refused by a rule"))
    );
    house.advance(Duration::from_secs(119)).await;
    assert_eq!(sent_times(&house).len(), before);
    house.advance(Duration::from_secs(70)).await;
    assert_eq!(house.count(is_connected), 2);
    assert!(sent_times(&house).len() > before);
    assert_eq!(house.counts("rule"), (1, 1));
}

#[tokio::test]
async fn an_armed_and_a_removed_rule_take_effect_at_once() {
    let (house, _subscriber) = start_with_fault("when: {armed: false}, effect: refuse").await;
    house.settle().await;
    house.control_send("PATCH", "faults/rule", &json!({"armed": true})).await;
    house.settle().await;
    assert_eq!(house.mqtt().await["state"], "connecting");
    house.control_send("DELETE", "faults/rule", &Value::Null).await;
    house.settle().await;
    assert_eq!(house.mqtt().await["state"], "connected");
}

#[tokio::test]
async fn a_rule_applies_to_the_device_it_names() {
    let (address, topic) = (broker().await.open, unique_topic());
    let house = TestHouse::start(&format!(
        "outbound: loopback\ndevices: [{{}}, {{}}]\nfaults: [{{at: {{mqtt: any, device: {DEVICE}}}, effect: lose}}]"
    ))
    .await;
    for device in house.devices() {
        device
            .configure(|config| -> Result<(), ()> {
                config.mqtt.enable = true;
                config.mqtt.url = format!("mqtt://{address}");
                config.mqtt.topic.clone_from(&topic);
                config.mqtt.client_id =
                    format!("{}-{}", device.identity().id.short(), topic.replace('/', "-"));
                config.mqtt.template = "x".into();
                Ok(())
            })
            .unwrap();
    }
    house.advance(Duration::from_secs(20)).await;
    let (mut published, mut lost) = (0, 0);
    for entry in house.journal_entries() {
        match entry.event {
            Event::MqttPublished { device, .. } => {
                assert_ne!(&*device, DEVICE);
                published += 1;
            }
            Event::MqttNotPublished { device, .. } => {
                assert_eq!(&*device, DEVICE);
                lost += 1;
            }
            _ => {}
        }
    }
    assert_eq!((published, lost), (1, 1));
}

// ---------------------------------------------------------------------------------------------
// TLS
// ---------------------------------------------------------------------------------------------

/// A certificate authority for a broker and a client.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key.
struct SignedKey {
    pem: String,
    der: CertificateDer<'static>,
    key: KeyPair,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn sign(&self, name: &str, usage: ExtendedKeyUsagePurpose) -> SignedKey {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        SignedKey { pem: certificate.pem(), der: certificate.der().clone(), key }
    }

    /// Starts a proxy to the broker as `broker.example.com`, which requires a client certificate of this
    /// authority.
    async fn start_proxy(&self) -> BrokerProxy {
        let server = self.sign("broker.example.com", ExtendedKeyUsagePurpose::ServerAuth);
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(server.key.serialize_der()));
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(vec![server.der], key)
            .unwrap();
        BrokerProxy::start(broker().await.open, Some(TlsAcceptor::from(Arc::new(config)))).await
    }
}

/// Returns TLS settings with this authority, certificate and key.
fn tls_settings(topic: &str, authority: &Authority, client: Option<&SignedKey>) -> Value {
    let mut settings = settings(topic, "x");
    settings["url"] = json!("mqtts://broker.example.com");
    settings["broker"] = json!({"certificate": authority.0.pem()});
    if let Some(client) = client {
        settings["client"] = json!({"certificate": client.pem, "key": client.key.serialize_pem()});
    }
    settings
}

/// Returns the reason for which the broker refuses a client.
async fn refusal_reason(house: &TestHouse, settings: &Value) -> String {
    house.set("POST", MQTT, settings).await;
    // From here on, the state belongs to these settings.
    house.settle().await;
    let reason = within(async {
        loop {
            let state = house.mqtt().await;
            assert_ne!(state["published"], 1, "{state}");
            if let Some(reason) = state["reason"].as_str().filter(|_| state["state"] != "off") {
                break reason.to_owned();
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    reason.await
}

#[tokio::test]
async fn tls_with_a_client_certificate_connects() {
    let authority = Authority::new();
    let proxy = authority.start_proxy().await;
    let (house, topic) = (start_house(proxy.address, "").await, unique_topic());
    let mut subscriber = Subscriber::start(&topic).await;
    let client = authority.sign("whatwatt-001", ExtendedKeyUsagePurpose::ClientAuth);
    house.set("POST", MQTT, &tls_settings(&topic, &authority, Some(&client))).await;
    house.advance_to_next_reading().await;
    assert_eq!(subscriber.next().await, "x");
    assert_eq!(house.mqtt().await["broker"], "mqtts://broker.example.com:8883");
}

// Ruling: MQTT-10.
#[tokio::test]
async fn tls_refuses_unknown_certificates_and_names() {
    let authority = Authority::new();
    let proxy = authority.start_proxy().await;
    let (house, topic) = (start_house(proxy.address, "outbound: loopback").await, unique_topic());
    let client = authority.sign("whatwatt-001", ExtendedKeyUsagePurpose::ClientAuth);
    let valid = || tls_settings(&topic, &authority, Some(&client));

    let reason =
        refusal_reason(&house, &tls_settings(&topic, &Authority::new(), Some(&client))).await;
    assert!(reason.contains("invalid peer certificate"), "another authority: {reason}");
    let mut system = valid();
    system["broker"]["certificate"] = Value::Null;
    let reason = refusal_reason(&house, &system).await;
    assert!(reason.contains("UnknownIssuer"), "only the system's authorities: {reason}");
    refusal_reason(&house, &tls_settings(&topic, &authority, None)).await;
    let unknown = Authority::new().sign("whatwatt-001", ExtendedKeyUsagePurpose::ClientAuth);
    refusal_reason(&house, &tls_settings(&topic, &authority, Some(&unknown))).await;

    let mut other_name = valid();
    other_name["url"] = json!(format!("mqtts://{}", proxy.address));
    let reason = refusal_reason(&house, &other_name).await;
    assert!(reason.contains("not valid for name \"127.0.0.1\""), "another name: {reason}");
    other_name["skip_cn_check"] = json!(true);
    let mut subscriber = Subscriber::start(&topic).await;
    house.set("POST", MQTT, &other_name).await;
    house.advance_to_next_reading().await;
    assert_eq!(subscriber.next().await, "x", "without the check of the name");
}

/// Returns a key in PEM, encrypted with the password `geheim`.
fn encrypt_key(key: &KeyPair) -> String {
    let der = key.serialize_der();
    let parameters = pbes2::Parameters::pbkdf2_sha256_aes256cbc(1000, &[7; 16], &[9; 16]).unwrap();
    let key = PrivateKeyInfo::try_from(&*der).unwrap();
    let key = key.encrypt_with_params(parameters, "geheim").unwrap();
    key.to_pem("ENCRYPTED PRIVATE KEY", LineEnding::LF).unwrap().to_string()
}

/// Runs a test on one thread, with a second one for blocking tasks.
fn on_one_thread(test: impl Future<Output = ()>) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().max_blocking_threads(1).build().unwrap().block_on(test);
}

/// Occupies the thread for blocking tasks until it is dropped, as a slow decryption of a key does.
struct BlockingTask {
    _until_dropped: std::sync::mpsc::Sender<()>,
}

impl BlockingTask {
    fn start() -> Self {
        let (sender, receiver) = std::sync::mpsc::channel();
        tokio::task::spawn_blocking(move || receiver.recv());
        Self { _until_dropped: sender }
    }
}

/// Checks that the API answers and the clock waits while the client decrypts its key.
async fn api_answers_and_clock_waits(house: &TestHouse) {
    let answers = async {
        for _ in 0..20 {
            assert_eq!(house.get("/api/v1/system").await.status, 200);
            let connecting = json!({
                "state": "connecting", "broker": "mqtts://broker.example.com:8883", "published": 0
            });
            assert_eq!(house.mqtt().await, connecting);
        }
    };
    tokio::select! {
        biased;
        () = house.settle() => panic!("the clock did not wait"),
        () = answers => {}
    }
}

/// Returns TLS settings with an encrypted key.
fn encrypted_key_settings(topic: &str, authority: &Authority) -> Value {
    let client = authority.sign("whatwatt-001", ExtendedKeyUsagePurpose::ClientAuth);
    let mut settings = tls_settings(topic, authority, Some(&client));
    settings["client"]["key"] = json!(encrypt_key(&client.key));
    settings["client"]["key_password"] = json!("geheim");
    settings
}

#[test]
fn a_slow_key_decryption_does_not_block_the_api() {
    on_one_thread(async {
        let authority = Authority::new();
        let proxy = authority.start_proxy().await;
        let (house, topic) = (start_house(proxy.address, "").await, unique_topic());
        let mut subscriber = Subscriber::start(&topic).await;
        let blocking = BlockingTask::start();
        house.set("POST", MQTT, &encrypted_key_settings(&topic, &authority)).await;
        api_answers_and_clock_waits(&house).await;
        // The settings change during the decryption, which must not start a second time.
        house.set("PUT", MQTT, &json!({"client": {"key_password": "falsch"}})).await;
        api_answers_and_clock_waits(&house).await;
        drop(blocking);
        house.settle().await;
        let reason = house.mqtt().await["reason"].as_str().unwrap().to_owned();
        assert!(reason.contains("cannot be decrypted"), "{reason}");
        house.set("PUT", MQTT, &json!({"client": {"key_password": "geheim"}})).await;
        house.advance_to_next_reading().await;
        assert_eq!(subscriber.next().await, "x");
    });
}

#[test]
fn a_slow_key_decryption_does_not_block_a_start() {
    on_one_thread(async {
        let mut settings = encrypted_key_settings(&unique_topic(), &Authority::new());
        settings["client"]["key_password"] = json!("falsch");
        let house = TestHouse::start(&format!("device: {}", json!({"mqtt": settings}))).await;
        let expect_decryption_failure = async || {
            house.settle().await;
            let state = house.mqtt().await;
            assert!(state["reason"].as_str().unwrap().contains("cannot be decrypted"), "{state}");
        };
        expect_decryption_failure().await;
        let blocking = BlockingTask::start();
        within(house.reset()).await;
        api_answers_and_clock_waits(&house).await;
        drop(blocking);
        expect_decryption_failure().await;
    });
}

#[test]
fn a_resumed_house_decrypts_its_persisted_key() {
    on_one_thread(async {
        let (authority, topic, folder) = (Authority::new(), unique_topic(), Folder::new());
        let proxy = authority.start_proxy().await;
        let mut subscriber = Subscriber::start(&topic).await;
        let yaml = format!(
            "mqtt_brokers: {{lab: {{address: '{}', hosts: [broker.example.com]}}}}",
            proxy.address
        );
        let house = state::start(&yaml, &folder).await.unwrap();
        house.set("POST", MQTT, &encrypted_key_settings(&topic, &authority)).await;
        within(house.house.stop()).await;
        let house = state::start(&yaml, &folder).await.unwrap();
        assert_eq!(house.get("/api/v1/system").await.status, 200);
        house.advance_to_next_reading().await;
        assert_eq!(subscriber.next().await, "x");
    });
}

// Ruling: MQTT-2.
#[tokio::test]
async fn without_a_network_there_is_no_connection() {
    let (house, topic) = (start_house(broker().await.open, "").await, unique_topic());
    house.set("PUT", MQTT, &settings(&topic, "x")).await;
    eventually(|| house.count(is_connected) == 1).await;
    house.set("PUT", "/api/v1/eth/settings", &json!({"enable": false})).await;
    house.settle().await;
    let state = house.mqtt().await;
    assert_eq!(
        (&state["state"], &state["reason"]),
        (&json!("off"), &json!("the device has no network"))
    );
    house.set("PUT", "/api/v1/eth/settings", &json!({"enable": true})).await;
    eventually(|| house.count(is_connected) == 2).await;
}
