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
use wwsim::limits::{MQTT_RETRY, MQTT_STEADY};

use crate::device_harness::{eventually, within};
use crate::frozen::Frozen;
use crate::harness::{FreePort, TestHouse};
use crate::mqtt_broker::{Door, Subscriber, broker, topic};
use crate::mqtt_settings::MQTT;
use crate::state::{self, Folder};

const DEVICE: &str = "A842E39F8124";

impl TestHouse {
    /// Returns the client's state, as the control plane shows it.
    async fn mqtt(&self) -> Value {
        self.control_get("state").await["devices"][0]["mqtt"].clone()
    }

    /// Moves the clock to the next reading, and returns when that was.
    async fn to_next_reading(&self) -> VirtualTime {
        let device = self.house.devices().next().unwrap();
        let (now, next) = (self.house.clock().now(), device.next_reading().unwrap());
        self.advance(next.since(now)).await;
        next
    }

    /// Waits, in real time, until the journal has such an entry.
    async fn until(&self, wanted: impl Fn(&Event) -> bool) {
        eventually(|| self.journal().iter().any(|entry| wanted(&entry.event))).await;
    }

    fn count(&self, wanted: impl Fn(&Event) -> bool) -> usize {
        self.journal().iter().filter(|entry| wanted(&entry.event)).count()
    }
}

/// A house whose device reaches a broker as `broker.example.com`, with what else it has.
async fn house(address: SocketAddr, more: &str) -> TestHouse {
    TestHouse::start(&format!(
        "mqtt_brokers: {{lab: {{address: '{address}', hosts: [broker.example.com]}}}}\n{more}"
    ))
    .await
}

/// Settings that publish `template` under `topic`, as a client that no other test has: a broker
/// drops the one before of the same id.
fn settings(topic: &str, template: &str) -> Value {
    json!({
        "enable": true,
        "url": "mqtt://broker.example.com",
        "client_id": topic.replace('/', "-"),
        "publish": {"topic": topic, "template": template},
    })
}

fn connected(event: &Event) -> bool {
    matches!(event, Event::MqttConnected { .. })
}

fn published(event: &Event) -> bool {
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
async fn a_subscriber_receives_what_the_variables_say_at_that_instant() {
    let (twin, topic) = (house(broker().await.open, "").await, topic());
    let mut subscriber = Subscriber::to(&topic).await;
    twin.set("PUT", MQTT, &settings(&topic, VALUES)).await;
    twin.to_next_reading().await;
    let received = subscriber.next().await;
    assert_eq!(received, twin.render(VALUES).await);
    let mut names = VALUES.split('|').map(|name| name.trim_matches(['$', '{', '}']));
    for value in received.split('|') {
        match names.next().unwrap() {
            "no.such" => assert_eq!(value, "${no.such}"),
            name => assert_eq!(Some(value), twin.variable(name).await.as_deref(), "{name}"),
        }
    }
    let state = twin.mqtt().await;
    assert_eq!(
        state,
        json!({"state": "connected", "broker": "mqtt://broker.example.com:1883", "published": 1})
    );
    let mqtc = || async { twin.get("/api/v1/system").await.json()["clouds"]["mqtc"].clone() };
    assert_eq!(mqtc().await, json!({"enabled": true, "connected": true}));
    twin.set("PUT", MQTT, &json!({"enable": false})).await;
    twin.settle().await;
    assert_eq!(mqtc().await, json!({"enabled": false, "connected": false}));
}

// Ruling: MQTT-8.
#[tokio::test]
async fn messages_come_at_the_first_reading_after_the_interval() {
    let (twin, topic) = (house(broker().await.open, "").await, topic());
    let mut subscriber = Subscriber::to(&topic).await;
    twin.set("PUT", "/api/v1/settings", &json!({"services": {"report_interval": 20}})).await;
    twin.set("PUT", MQTT, &settings(&topic, "${timestamp}")).await;
    let (mut expected, mut last, mut cadence) = (Vec::new(), None, Duration::MAX);
    let mut before = twin.house.clock().now();
    while expected.len() < 4 {
        let at = twin.to_next_reading().await;
        cadence = cadence.min(at.since(before));
        before = at;
        let due = last.is_none_or(|last| at.since(last) >= Duration::from_secs(20));
        if due {
            last = Some(at);
            expected.push(twin.variable("timestamp").await.unwrap());
        }
        assert_eq!(twin.count(published), expected.len(), "at {at:?}");
    }
    assert!(cadence < Duration::from_secs(20), "or else nothing was stretched");
    for expected in expected {
        assert_eq!(subscriber.next().await, expected);
    }
}

// Ruling: MQTT-8, SD-2.
#[tokio::test]
async fn a_meter_that_sends_each_second_has_a_message_each_second() {
    let meter = "device: {meter: {kind: ensor}}";
    let (twin, topic) = (house(broker().await.open, meter).await, topic());
    twin.set("PUT", "/api/v1/settings", &json!({"services": {"report_interval": 1}})).await;
    twin.set("PUT", MQTT, &settings(&topic, "x")).await;
    twin.advance(Duration::from_secs(10)).await;
    let before = twin.count(published);
    twin.advance(Duration::from_secs(100)).await;
    assert_eq!(twin.count(published) - before, 100);
}

// Ruling: MQTT-9.
#[tokio::test]
async fn a_shorter_interval_is_in_force_at_once() {
    let (twin, topic) = (house(broker().await.open, "").await, topic());
    twin.set("PUT", "/api/v1/settings", &json!({"services": {"report_interval": 3600}})).await;
    twin.set("PUT", MQTT, &settings(&topic, "x")).await;
    twin.advance(Duration::from_mins(10)).await;
    assert_eq!(twin.count(published), 1);
    twin.set("PUT", "/api/v1/settings", &json!({"services": {"report_interval": 60}})).await;
    twin.to_next_reading().await;
    assert_eq!(twin.count(published), 2);
    assert_eq!(twin.count(connected), 1, "the connection stays");
}

#[tokio::test]
async fn a_silent_meter_has_nothing_published() {
    let fault = "faults: [{id: silence, at: meter, when: {after: 60s, for: 10m}, effect: no_data}]";
    let (twin, topic) = (house(broker().await.open, fault).await, topic());
    twin.set("PUT", MQTT, &settings(&topic, "x")).await;
    twin.advance(Duration::from_secs(59)).await;
    let before = twin.count(published);
    assert!(before > 0, "{:?}", twin.journal());
    twin.advance(Duration::from_mins(10)).await;
    assert_eq!(twin.count(published), before);
    twin.advance(Duration::from_mins(1)).await;
    assert!(twin.count(published) > before, "and again once it speaks");
}

#[tokio::test]
async fn a_jump_publishes_once_at_its_end() {
    let (twin, topic) = (house(broker().await.open, "").await, topic());
    let mut subscriber = Subscriber::to(&topic).await;
    twin.set("PUT", MQTT, &settings(&topic, "${sys.date_time}")).await;
    twin.settle().await;
    twin.house.clock().jump(Duration::from_hours(24)).await.unwrap();
    assert_eq!(twin.count(published), 1);
    assert_eq!(subscriber.next().await, "2026-01-16T18:00:00Z");
}

#[tokio::test]
async fn user_and_password_are_the_brokers_to_judge() {
    let (twin, topic) = (house(broker().await.closed, "").await, topic());
    let mut subscriber = Subscriber::to(&topic).await;
    let mut with = settings(&topic, "x");
    with["username"] = json!("demo");
    with["password"] = json!("falsch");
    twin.set("PUT", MQTT, &with).await;
    twin.settle().await;
    let state = twin.mqtt().await;
    assert_eq!(state["state"], "connecting", "{state}");
    assert!(state["reason"].is_string(), "{state}");
    twin.set("PUT", MQTT, &json!({"password": "geheim"})).await;
    twin.to_next_reading().await;
    assert_eq!(subscriber.next().await, "x");
}

#[tokio::test]
async fn a_scenario_says_what_the_client_starts_with() {
    let topic = topic();
    let mut subscriber = Subscriber::to(&topic).await;
    let device = json!({"mqtt": settings(&topic, "x"), "reboot_time": "3s"});
    let twin = house(broker().await.open, &format!("device: {device}")).await;
    twin.to_next_reading().await;
    assert_eq!(subscriber.next().await, "x");

    let answer = twin.post("/api/v1/reboot", "").await;
    assert_eq!(answer.status, 204);
    twin.advance(Duration::from_secs(1)).await;
    let state = twin.mqtt().await;
    assert_eq!((&state["state"], &state["reason"]), (&json!("off"), &json!("the device is down")));
    twin.advance(Duration::from_secs(30)).await;
    assert_eq!(twin.count(connected), 2, "a reboot begins a new connection");
    assert_eq!(subscriber.next().await, "x");
}

// Ruling: MQTT-9.
#[tokio::test]
async fn settings_that_change_are_followed_at_once() {
    let (twin, first, second) = (house(broker().await.open, "").await, topic(), topic());
    let mut subscriber = Subscriber::to(&second).await;
    assert_eq!(
        twin.mqtt().await,
        json!({"state": "off", "reason": "switched off", "published": 0})
    );
    twin.set("PUT", MQTT, &settings(&first, "x")).await;
    eventually(|| twin.count(connected) == 1).await;
    assert_eq!(twin.mqtt().await["state"], "connected");
    // Under another client id, so that the broker has no connection to take over, which takes its time.
    let publish = json!({"topic": second, "template": "y"});
    twin.set("PUT", MQTT, &json!({"client_id": "another", "publish": publish})).await;
    eventually(|| twin.count(connected) == 2).await;
    twin.to_next_reading().await;
    assert_eq!(subscriber.next().await, "y");
    twin.set("PUT", MQTT, &json!({"enable": false})).await;
    twin.advance(Duration::from_mins(5)).await;
    assert_eq!(twin.count(published), 1);
    assert_eq!(twin.mqtt().await["state"], "off");
    let left = twin.count(|event| reason(event) == Some("the settings changed"));
    assert_eq!(left, 2);
}

// Ruling: MQTT-13.
#[tokio::test]
async fn a_connection_comes_back_after_the_broker_does() {
    let mut door = Door::to(broker().await.open, None).await;
    let (twin, topic) = (house(door.address, "").await, topic());
    let mut subscriber = Subscriber::to(&topic).await;
    twin.set("PUT", MQTT, &settings(&topic, "x")).await;
    twin.to_next_reading().await;
    assert_eq!(subscriber.next().await, "x");
    door.shut();
    twin.until(|event| matches!(event, Event::MqttDisconnected { .. })).await;
    twin.until(|event| matches!(event, Event::MqttNotConnected { .. })).await;
    twin.advance(Duration::from_mins(5)).await;
    assert_eq!(twin.count(published), 1, "what was due meanwhile is lost");
    door.open().await;
    eventually(|| twin.count(connected) == 2).await;
    twin.to_next_reading().await;
    assert_eq!(subscriber.next().await, "x");
    let tries = twin.count(|event| matches!(event, Event::MqttNotConnected { .. }));
    assert_eq!(tries, 1, "the same reason is told once");
}

/// A broker that takes each client, and drops it after so long. Tells of each one that came.
async fn fickle(keeps: Duration) -> (SocketAddr, mpsc::UnboundedReceiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, (came, clients)) = (listener.local_addr().unwrap(), mpsc::unbounded_channel());
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let _ = came.send(());
            // CONNECT, of less than 128 bytes.
            let [_, length] = client.read_u16().await.unwrap().to_be_bytes();
            client.read_exact(&mut vec![0; length.into()]).await.unwrap();
            client.write_all(b"\x20\x02\x00\x00").await.unwrap();
            sleep(keeps).await;
        }
    });
    (address, clients)
}

/// The pauses before a client comes again to a broker that keeps it so long each time.
async fn pauses(frozen: &Frozen, keeps: Duration, count: usize) -> Vec<Duration> {
    let (address, mut clients) = fickle(keeps).await;
    let (twin, mut pauses) = (house(address, "").await, Vec::new());
    twin.set("PUT", MQTT, &settings("x", "x")).await;
    clients.recv().await.unwrap();
    while pauses.len() < count {
        let round = pauses.len() + 1;
        frozen.until(|| twin.count(connected) == round).await;
        // A timer goes off at a whole millisecond.
        frozen.pass(keeps + Duration::from_millis(1)).await;
        frozen.until(|| twin.count(|event| reason(event).is_some()) == round).await;
        let left = Instant::now();
        while clients.try_recv().is_err() {
            assert!(left.elapsed() < 2 * *MQTT_RETRY.end(), "it stays away");
            frozen.pass(*MQTT_RETRY.start() / 2).await;
            // A client that is on its way arrives.
            twin.settle().await;
        }
        pauses.push(left.elapsed());
    }
    pauses
}

// Ruling: MQTT-13.
#[tokio::test(start_paused = true)]
async fn a_broker_that_drops_its_client_at_once_is_left_in_peace() {
    let (frozen, shortest, longest) = (Frozen::start(), *MQTT_RETRY.start(), *MQTT_RETRY.end());
    // As two clients of one id have it, of which each lasts until the other comes again.
    for keeps in [Duration::from_millis(1), longest] {
        let pauses = pauses(&frozen, keeps, 12).await;
        assert!(pauses[0] < 2 * shortest, "{pauses:?}");
        assert!(pauses.windows(2).take(5).all(|pair| pair[1] > pair[0]), "{pauses:?}");
        assert!(pauses[6..].iter().all(|pause| *pause >= longest), "{pauses:?}");
    }
    let steady = pauses(&frozen, MQTT_STEADY, 4).await;
    assert!(steady.iter().all(|pause| *pause < 2 * shortest), "{steady:?}");
}

// Ruling: HOUSE-2.
#[tokio::test(start_paused = true)]
async fn a_broker_that_is_gone_holds_up_no_clock() {
    let (frozen, free) = (Frozen::start(), FreePort::new());
    let twin = house(free.address(), "").await;
    twin.set("PUT", MQTT, &settings("x", "x")).await;
    let at_once = *MQTT_RETRY.start();
    // After five seconds it is in the middle of a pause of four.
    for _ in 0..20 {
        frozen.pass(at_once).await;
    }
    let step = Duration::from_millis(1);
    let rule = json!({
        "id": "away", "at": "mqtt", "when": {"after": "5s", "for": "5s"}, "effect": "refuse",
    });
    frozen.passing(step, at_once, twin.add_fault(rule)).await;
    for _ in 0..3 {
        frozen.passing(step, at_once, twin.advance(Duration::from_secs(4))).await;
    }
}

#[tokio::test]
async fn a_reset_begins_anew() {
    let (twin, topic) = (house(broker().await.open, "").await, topic());
    twin.set("PUT", MQTT, &settings(&topic, "x")).await;
    twin.advance(Duration::from_mins(2)).await;
    assert!(twin.mqtt().await["published"].as_u64().unwrap() > 1);
    twin.house.reset().await;
    assert_eq!(twin.mqtt().await["published"], 0);
}

#[tokio::test]
async fn without_a_licence_nothing_is_published() {
    let twin = house(broker().await.open, "device: {license: free}").await;
    twin.set("PUT", MQTT, &settings(&topic(), "x")).await;
    twin.advance(Duration::from_mins(5)).await;
    let state = twin.mqtt().await;
    assert_eq!(
        (&state["state"], &state["reason"]),
        (&json!("off"), &json!("the licence does not cover MQTT"))
    );
    assert_eq!(twin.count(connected), 0);
}

#[tokio::test]
async fn a_broker_beside_the_house_is_reached_as_far_as_the_policy_goes() {
    let at = broker().await.open;
    for (policy, url, denied) in [
        ("deny", format!("mqtt://{at}"), true),
        ("deny", "mqtt://localhost".to_owned(), true),
        ("loopback", format!("mqtt://{at}"), false),
        ("loopback", "mqtt://192.0.2.1".to_owned(), true),
    ] {
        let twin = TestHouse::start(&format!("outbound: {policy}")).await;
        twin.set("PUT", MQTT, &json!({"enable": true, "url": url})).await;
        twin.settle().await;
        let told = twin.count(|event| {
            matches!(event, Event::OutboundDenied { policy: said, device, .. }
                if *said == policy && &**device == DEVICE)
        });
        assert_eq!(told, usize::from(denied), "{policy} {url}");
        assert_eq!(twin.count(connected), usize::from(!denied), "{policy} {url}");
    }
}

// Ruling: MQTT-7.
#[tokio::test]
async fn a_client_without_an_id_makes_one_from_the_devices() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let twin = house(listener.local_addr().unwrap(), "").await;
    twin.set("PUT", MQTT, &json!({"enable": true, "url": "mqtt://broker.example.com"})).await;
    let (mut stream, _) = within(listener.accept()).await.unwrap();
    let mut sent = [0; 29];
    within(stream.read_exact(&mut sent)).await.unwrap();
    assert_eq!(&sent, b"\x10\x1b\x00\x04MQTT\x04\x02\x00\x3c\x00\x0fwhatwatt-9F8124");
}

#[tokio::test]
async fn a_broker_that_does_not_answer_holds_up_no_clock() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let twin = house(listener.local_addr().unwrap(), "").await;
    twin.set("PUT", MQTT, &json!({"enable": true, "url": "mqtt://broker.example.com"})).await;
    let _silent = within(listener.accept()).await.unwrap();
    twin.advance(Duration::from_hours(1)).await;
    assert_eq!(twin.mqtt().await["state"], "connecting");
}

#[tokio::test]
async fn actions_do_not_see_brokers() {
    let action = "device: {actions: {actions: [{id: a, requests: \
                  [{http: {url: 'http://broker.example.com/'}}]}]}}";
    let twin = house(broker().await.open, action).await;
    assert_eq!(twin.codes("a").await, [-16]);
}

// ---------------------------------------------------------------------------------------------
// Faults
// ---------------------------------------------------------------------------------------------

/// A house with one rule over its client, which publishes the time of each message once a minute.
async fn with_fault(rule: &str) -> (TestHouse, Subscriber) {
    let fault = format!("faults: [{{id: rule, at: mqtt, {rule}}}]");
    let (twin, topic) = (house(broker().await.open, &fault).await, topic());
    let subscriber = Subscriber::to(&topic).await;
    twin.set("PUT", "/api/v1/settings", &json!({"services": {"report_interval": 60}})).await;
    twin.set("PUT", MQTT, &settings(&topic, "${timestamp}")).await;
    (twin, subscriber)
}

/// When the messages were handed over, in seconds.
fn sent(twin: &TestHouse) -> Vec<f64> {
    let entries = twin.journal().into_iter();
    entries.filter(|entry| published(&entry.event)).map(|entry| entry.t).collect()
}

#[tokio::test]
async fn lose_keeps_a_message_in_and_the_connection() {
    let (twin, mut subscriber) = with_fault("when: {nth: 2}, effect: lose").await;
    twin.advance(Duration::from_mins(4)).await;
    let lost = twin.count(|event| {
        matches!(event, Event::MqttNotPublished { reason, .. } if *reason == "lost by a rule")
    });
    assert_eq!((lost, twin.count(connected)), (1, 1));
    assert_eq!(twin.counts("rule").await, (4, 1));
    assert_eq!(sent(&twin).len(), 3);
    for _ in 0..3 {
        subscriber.next().await;
    }
}

#[tokio::test]
async fn drop_ends_the_connection_at_a_message_and_the_next_one_is_there_at_once() {
    let (twin, mut subscriber) = with_fault("when: {nth: 2}, effect: drop").await;
    twin.advance(Duration::from_mins(4)).await;
    assert_eq!(twin.count(|event| reason(event) == Some("dropped by a rule")), 1);
    assert_eq!(twin.count(connected), 2);
    assert_eq!(sent(&twin).len(), 3);
    for _ in 0..3 {
        subscriber.next().await;
    }
}

#[tokio::test]
async fn delay_has_a_message_go_out_later_as_it_was() {
    let (twin, mut subscriber) = with_fault("when: {first: 1}, effect: {delay: 7s}").await;
    twin.to_next_reading().await;
    let (read_at, timestamp) =
        (twin.house.clock().now().as_secs_f64(), twin.variable("timestamp").await.unwrap());
    twin.advance(Duration::from_millis(6999)).await;
    assert_eq!(sent(&twin), [0.0; 0]);
    twin.advance(Duration::from_millis(1)).await;
    assert_eq!(sent(&twin), [read_at + 7.0]);
    assert_eq!(subscriber.next().await, timestamp);
}

#[tokio::test]
async fn refuse_follows_its_window() {
    let (twin, _subscriber) = with_fault("when: {after: 90s, for: 120s}, effect: refuse").await;
    twin.advance(Duration::from_secs(89)).await;
    let before = sent(&twin).len();
    assert!(before > 0);
    twin.advance(Duration::from_secs(1)).await;
    let state = twin.mqtt().await;
    assert_eq!(
        (&state["state"], &state["reason"]),
        (&json!("connecting"), &json!("refused by a rule"))
    );
    twin.advance(Duration::from_secs(119)).await;
    assert_eq!(sent(&twin).len(), before);
    twin.advance(Duration::from_secs(70)).await;
    assert_eq!(twin.count(connected), 2);
    assert!(sent(&twin).len() > before);
    assert_eq!(twin.counts("rule").await, (1, 1));
}

#[tokio::test]
async fn a_rule_added_and_removed_is_followed_at_once() {
    let (twin, _subscriber) = with_fault("when: {armed: false}, effect: refuse").await;
    twin.settle().await;
    twin.control_send("PATCH", "faults/rule", &json!({"armed": true})).await;
    twin.settle().await;
    assert_eq!(twin.mqtt().await["state"], "connecting");
    twin.control_send("DELETE", "faults/rule", &Value::Null).await;
    twin.settle().await;
    assert_eq!(twin.mqtt().await["state"], "connected");
}

#[tokio::test]
async fn a_rule_means_the_device_it_names() {
    let (at, topic) = (broker().await.open, topic());
    let twin = TestHouse::start(&format!(
        "outbound: loopback\ndevices: [{{}}, {{}}]\nfaults: [{{at: {{mqtt: any, device: {DEVICE}}}, effect: lose}}]"
    ))
    .await;
    for device in twin.house.devices() {
        device
            .configure(|config| -> Result<(), ()> {
                config.mqtt.enable = true;
                config.mqtt.url = format!("mqtt://{at}");
                config.mqtt.topic.clone_from(&topic);
                config.mqtt.client_id =
                    format!("{}-{}", device.identity().id.short(), topic.replace('/', "-"));
                config.mqtt.template = "x".into();
                Ok(())
            })
            .unwrap();
    }
    twin.advance(Duration::from_secs(20)).await;
    for entry in twin.journal() {
        match entry.event {
            Event::MqttPublished { device, .. } => assert_ne!(&*device, DEVICE),
            Event::MqttNotPublished { device, .. } => assert_eq!(&*device, DEVICE),
            _ => {}
        }
    }
    assert_eq!(twin.count(published), 1);
}

// ---------------------------------------------------------------------------------------------
// TLS
// ---------------------------------------------------------------------------------------------

/// An authority that signs for a broker and a client.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key.
struct Certified {
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

    fn signs(&self, name: &str, usage: ExtendedKeyUsagePurpose) -> Certified {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Certified { pem: certificate.pem(), der: certificate.der().clone(), key }
    }

    /// A door to the broker as `broker.example.com` that asks clients for this authority's word.
    async fn door(&self) -> Door {
        let server = self.signs("broker.example.com", ExtendedKeyUsagePurpose::ServerAuth);
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
        Door::to(broker().await.open, Some(TlsAcceptor::from(Arc::new(config)))).await
    }
}

/// Settings with this authority, certificate and key.
fn secure(topic: &str, authority: &Authority, client: Option<&Certified>) -> Value {
    let mut settings = settings(topic, "x");
    settings["url"] = json!("mqtts://broker.example.com");
    settings["broker"] = json!({"certificate": authority.0.pem()});
    if let Some(client) = client {
        settings["client"] = json!({"certificate": client.pem, "key": client.key.serialize_pem()});
    }
    settings
}

/// Returns the reason for which the broker refuses a client.
async fn kept_out(twin: &TestHouse, settings: &Value) -> String {
    twin.set("POST", MQTT, settings).await;
    // From here on, the state belongs to these settings.
    twin.settle().await;
    let found = within(async {
        loop {
            let state = twin.mqtt().await;
            assert_ne!(state["published"], 1, "{state}");
            if let Some(reason) = state["reason"].as_str().filter(|_| state["state"] != "off") {
                break reason.to_owned();
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    found.await
}

#[tokio::test]
async fn tls_with_a_client_certificate_reaches_the_broker_under_its_name() {
    let authority = Authority::new();
    let door = authority.door().await;
    let (twin, topic) = (house(door.address, "").await, topic());
    let mut subscriber = Subscriber::to(&topic).await;
    let client = authority.signs("whatwatt-001", ExtendedKeyUsagePurpose::ClientAuth);
    twin.set("POST", MQTT, &secure(&topic, &authority, Some(&client))).await;
    twin.to_next_reading().await;
    assert_eq!(subscriber.next().await, "x");
    assert_eq!(twin.mqtt().await["broker"], "mqtts://broker.example.com:8883");
}

// Ruling: MQTT-10.
#[tokio::test]
async fn tls_keeps_out_who_is_not_known() {
    let authority = Authority::new();
    let door = authority.door().await;
    let (twin, topic) = (house(door.address, "outbound: loopback").await, topic());
    let client = authority.signs("whatwatt-001", ExtendedKeyUsagePurpose::ClientAuth);
    let good = || secure(&topic, &authority, Some(&client));

    let said = kept_out(&twin, &secure(&topic, &Authority::new(), Some(&client))).await;
    assert!(said.contains("invalid peer certificate"), "another authority: {said}");
    let mut system = good();
    system["broker"]["certificate"] = Value::Null;
    let said = kept_out(&twin, &system).await;
    assert!(said.contains("UnknownIssuer"), "nobody but the system's: {said}");
    kept_out(&twin, &secure(&topic, &authority, None)).await;
    let stranger = Authority::new().signs("whatwatt-001", ExtendedKeyUsagePurpose::ClientAuth);
    kept_out(&twin, &secure(&topic, &authority, Some(&stranger))).await;

    let mut elsewhere = good();
    elsewhere["url"] = json!(format!("mqtts://{}", door.address));
    let said = kept_out(&twin, &elsewhere).await;
    assert!(said.contains("not valid for name \"127.0.0.1\""), "another name: {said}");
    elsewhere["skip_cn_check"] = json!(true);
    let mut subscriber = Subscriber::to(&topic).await;
    twin.set("POST", MQTT, &elsewhere).await;
    twin.to_next_reading().await;
    assert_eq!(subscriber.next().await, "x", "and without the check");
}

/// A key in PEM, encrypted with the password `geheim`.
fn encrypted(key: &KeyPair) -> String {
    let der = key.serialize_der();
    let parameters = pbes2::Parameters::pbkdf2_sha256_aes256cbc(1000, &[7; 16], &[9; 16]).unwrap();
    let key = PrivateKeyInfo::try_from(&*der).unwrap();
    let key = key.encrypt_with_params(parameters, "geheim").unwrap();
    key.to_pem("ENCRYPTED PRIVATE KEY", LineEnding::LF).unwrap().to_string()
}

/// Runs a test on one thread, with one more for what blocks.
fn on_one_thread(test: impl Future<Output = ()>) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().max_blocking_threads(1).build().unwrap().block_on(test);
}

/// Occupies the thread for what blocks until it is dropped: a key that takes so long.
struct Busy {
    _until_dropped: std::sync::mpsc::Sender<()>,
}

impl Busy {
    fn begin() -> Self {
        let (sender, receiver) = std::sync::mpsc::channel();
        tokio::task::spawn_blocking(move || receiver.recv());
        Self { _until_dropped: sender }
    }
}

/// The client is at its key all along, the API answers, and the clock waits.
async fn nobody_is_held_up(twin: &TestHouse) {
    let answers = async {
        for _ in 0..20 {
            assert_eq!(twin.get("/api/v1/system").await.status, 200);
            let at_it = json!({
                "state": "connecting", "broker": "mqtts://broker.example.com:8883", "published": 0
            });
            assert_eq!(twin.mqtt().await, at_it);
        }
    };
    tokio::select! {
        biased;
        () = twin.settle() => panic!("the clock did not wait"),
        () = answers => {}
    }
}

/// Settings whose key is encrypted.
fn with_encrypted_key(topic: &str, authority: &Authority) -> Value {
    let client = authority.signs("whatwatt-001", ExtendedKeyUsagePurpose::ClientAuth);
    let mut settings = secure(topic, authority, Some(&client));
    settings["client"]["key"] = json!(encrypted(&client.key));
    settings["client"]["key_password"] = json!("geheim");
    settings
}

#[test]
fn a_key_that_takes_its_time_holds_up_nobody() {
    on_one_thread(async {
        let authority = Authority::new();
        let door = authority.door().await;
        let (twin, topic) = (house(door.address, "").await, topic());
        let mut subscriber = Subscriber::to(&topic).await;
        let busy = Busy::begin();
        twin.set("POST", MQTT, &with_encrypted_key(&topic, &authority)).await;
        nobody_is_held_up(&twin).await;
        // Others in its place, and back: what is begun is not begun twice.
        twin.set("PUT", MQTT, &json!({"client": {"key_password": "falsch"}})).await;
        nobody_is_held_up(&twin).await;
        drop(busy);
        twin.settle().await;
        let reason = twin.mqtt().await["reason"].as_str().unwrap().to_owned();
        assert!(reason.contains("cannot be decrypted"), "{reason}");
        twin.set("PUT", MQTT, &json!({"client": {"key_password": "geheim"}})).await;
        twin.to_next_reading().await;
        assert_eq!(subscriber.next().await, "x");
    });
}

#[test]
fn nor_does_it_at_a_start() {
    on_one_thread(async {
        let mut settings = with_encrypted_key(&topic(), &Authority::new());
        settings["client"]["key_password"] = json!("falsch");
        let twin = TestHouse::start(&format!("device: {}", json!({"mqtt": settings}))).await;
        let found_out = async || {
            twin.settle().await;
            let state = twin.mqtt().await;
            assert!(state["reason"].as_str().unwrap().contains("cannot be decrypted"), "{state}");
        };
        found_out().await;
        let busy = Busy::begin();
        within(twin.house.reset()).await;
        nobody_is_held_up(&twin).await;
        drop(busy);
        found_out().await;
    });
}

#[test]
fn a_house_that_goes_on_decrypts_the_key_it_was_given() {
    on_one_thread(async {
        let (authority, topic, folder) = (Authority::new(), topic(), Folder::new());
        let door = authority.door().await;
        let mut subscriber = Subscriber::to(&topic).await;
        let yaml = format!(
            "mqtt_brokers: {{lab: {{address: '{}', hosts: [broker.example.com]}}}}",
            door.address
        );
        let twin = state::start(&yaml, &folder).await.unwrap();
        twin.set("POST", MQTT, &with_encrypted_key(&topic, &authority)).await;
        within(twin.house.stop()).await;
        let twin = state::start(&yaml, &folder).await.unwrap();
        assert_eq!(twin.get("/api/v1/system").await.status, 200);
        twin.to_next_reading().await;
        assert_eq!(subscriber.next().await, "x");
    });
}

// Ruling: MQTT-2.
#[tokio::test]
async fn without_a_network_there_is_no_connection() {
    let (twin, topic) = (house(broker().await.open, "").await, topic());
    twin.set("PUT", MQTT, &settings(&topic, "x")).await;
    eventually(|| twin.count(connected) == 1).await;
    twin.set("PUT", "/api/v1/eth/settings", &json!({"enable": false})).await;
    twin.settle().await;
    let state = twin.mqtt().await;
    assert_eq!(
        (&state["state"], &state["reason"]),
        (&json!("off"), &json!("the device has no network"))
    );
    twin.set("PUT", "/api/v1/eth/settings", &json!({"enable": true})).await;
    eventually(|| twin.count(connected) == 2).await;
}
