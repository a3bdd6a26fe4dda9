//! A reset of the house as clients with open connections see it, on every listener.

use digest_auth::AuthContext;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use wwsim::house::inject;
use wwsim::modbus::fault::{ReplyFault, WireFault};

use crate::support::SECOND;
use crate::support::device::{Client, body, header, request, request_with, status};
use crate::support::house::{TestHouse, within};
use crate::support::peers::{connect, read_frame, read_one, read_to_end};

const HOUSE: &str = r#"
device:
  settings: {services: {modbus: {enable: true}}}
  actions: {actions: [{id: "light", requests: [{http: {url: "http://bulb.local/toggle"}}]}]}
slaves:
  pump: {units: {1: {holding: [{address: 1, type: short, value: 7}]}}}
http_targets:
  bulb: {hosts: [bulb.local], routes: [{path: /toggle, replies: [{body: "on"}, {body: "off"}]}]}
"#;

const TOGGLE: &str = "/toggle";

async fn http_client(house: &TestHouse) -> Client {
    Client(TcpStream::connect(house.api_address()).await.unwrap())
}

async fn get(client: &mut Client, path: &str) -> String {
    client.send(&request("GET", path, "")).await;
    client.response().await
}

/// Resets the house over a connection that stays open, as a client with a connection pool does.
async fn reset(control: &mut Client) {
    control.send("POST /control/v1/reset HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let answer = control.response().await;
    assert_eq!(status(&answer), 200, "{answer}");
}

/// Reads one register of unit 1 by function 4 or 3.
async fn read_register(stream: &mut TcpStream, transaction: u16) -> Vec<u8> {
    stream.write_all(&read_one(transaction, 1)).await.unwrap();
    let (answered, _, pdu) = read_frame(stream).await;
    assert_eq!(answered, transaction);
    pdu
}

// Ruling: HOUSE-1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_wait_for_a_request_survive_every_reset() {
    let house = TestHouse::start(HOUSE).await;
    let mut control = Client(TcpStream::connect(house.control_address()).await.unwrap());
    let mut device = http_client(&house).await;
    let mut bulb = Client(TcpStream::connect(house.target("bulb").address()).await.unwrap());
    let mut pump = connect(house.slave("pump").address()).await;
    let mut modbus = connect(house.addresses().devices[0].modbus.unwrap()).await;
    for round in 0..200 {
        assert_eq!(status(&get(&mut device, "/api/v1/system").await), 200, "round {round}");
        assert_eq!(body(&get(&mut bulb, TOGGLE).await), "on", "round {round}");
        read_register(&mut pump, round).await;
        read_register(&mut modbus, round).await;
        reset(&mut control).await;
    }
    assert_eq!(house.control_get("state").await["epoch"], 200);
}

// Ruling: HOUSE-1.
#[tokio::test]
async fn what_is_in_flight_ends_with_its_connection() {
    let house = TestHouse::start(HOUSE).await;
    let _slow = house.inject(inject::api().path("/api/v1/system").delay(SECOND));
    // The slave has read the half request when it has answered the whole one before it, because both came as one.
    let mut half_pump = connect(house.slave("pump").address()).await;
    half_pump.write_all(&[&read_one(1, 1)[..], &read_one(1, 1)[..5]].concat()).await.unwrap();
    read_frame(&mut half_pump).await;
    let slow_pump = house.inject(inject::slave("pump").delay(SECOND));
    let _silent_bulb = house.inject(inject::target("bulb").hang());
    let (mut held, mut stream, mut half) =
        (http_client(&house).await, http_client(&house).await, http_client(&house).await);
    held.send(&request("GET", "/api/v1/system", "")).await;
    stream.send(&request("GET", "/api/v1/live", "")).await;
    within(stream.0.read_u8()).await.unwrap();
    half.send("GET /api/v1/rep").await;
    let mut pump = connect(house.slave("pump").address()).await;
    pump.write_all(&read_one(1, 1)).await.unwrap();
    let mut bulb = Client(TcpStream::connect(house.target("bulb").address()).await.unwrap());
    bulb.send(&request("GET", TOGGLE, "")).await;
    house.device().call("light").unwrap();
    // The API has read all of it when it answers a later request.
    assert_eq!(house.get("/api/v1/report").await.status, 200);
    crate::support::device::eventually(|| house.target("bulb").received_count() == 2).await;
    crate::support::device::eventually(|| slow_pump.fired() == 1).await;
    house.settle().await;

    house.reset().await;
    for mut client in [held, half, bulb] {
        assert_eq!(client.read_to_end().await.unwrap(), "");
    }
    assert!(stream.read_to_end().await.is_ok());
    for mut stream in [pump, half_pump] {
        assert!(read_to_end(&mut stream).await.is_empty());
    }
    house.advance(5 * SECOND).await;
    let journal = serde_json::to_string(&house.journal_entries()).unwrap();
    assert!(
        !journal.contains("request_finished") && !journal.contains("slave_request"),
        "{journal}"
    );
}

// Ruling: HOUSE-1.
#[tokio::test]
async fn a_connection_remembers_nothing_of_the_time_before() {
    let house = TestHouse::start(HOUSE).await;
    let mut pump = connect(house.slave("pump").address()).await;
    let mut modbus = connect(house.addresses().devices[0].modbus.unwrap()).await;
    read_register(&mut pump, 1).await;
    read_register(&mut modbus, 1).await;
    house.reset().await;
    let _stale = house.inject(inject::slave("pump").reply(ReplyFault::Wire(WireFault::StaleReply)));
    house.add_fault(json!({"at": "modbus", "effect": "stale_reply"})).await;
    for stream in [&mut pump, &mut modbus] {
        stream.write_all(&read_one(2, 1)).await.unwrap();
        // Without an earlier reply, the transaction id is one that no request had.
        assert_ne!(read_frame(stream).await.0, 1, "the reply of the time before");
    }
}

// Ruling: HOUSE-1, ACCESS-9.
#[tokio::test]
async fn a_reset_makes_every_nonce_stale() {
    let house =
        TestHouse::start("device: {settings: {system: {protection: true, password: geheim}}}")
            .await;
    let mut device = http_client(&house).await;
    let path = "/api/v1/system";
    let challenge = get(&mut device, path).await;
    let mut prompt = digest_auth::parse(header(&challenge, "WWW-Authenticate").unwrap()).unwrap();
    let mut ask = async || {
        let credentials = prompt.respond(&AuthContext::new("", "geheim", path)).unwrap();
        let headers = [("Authorization", &*credentials.to_string())];
        device.send(&request_with("GET", path, &headers, "")).await;
        device.response().await
    };
    assert_eq!(status(&ask().await), 200);
    house.reset().await;
    let answer = ask().await;
    assert_eq!(status(&answer), 401);
    assert!(header(&answer, "WWW-Authenticate").unwrap().ends_with(", stale=true"), "{answer}");
    let injected = house.inject(inject::api().stale_nonce());
    assert_eq!(status(&ask().await), 401);
    injected.assert_fired(1);
}

// Ruling: HOUSE-1, MODBUS-18.
#[tokio::test]
async fn connections_of_a_listener_that_a_reset_closes_or_moves_are_reset() {
    let yaml = HOUSE.replace("enable: true", "enable: false");
    for (scenario, elsewhere) in [(HOUSE, true), (&*yaml, false)] {
        let house = TestHouse::start(scenario).await;
        let port = crate::support::house::FreePort::new();
        let device = house.device();
        let configured = device.configure(|config| {
            let modbus = &mut config.settings.services.modbus;
            modbus.enable = true;
            if elsewhere {
                modbus.port = port.number();
            }
            Ok::<_, std::convert::Infallible>(())
        });
        configured.unwrap();
        house.settle().await;
        let address =
            if elsewhere { port.address() } else { house.addresses().devices[0].modbus.unwrap() };
        let mut stream = connect(address).await;
        read_register(&mut stream, 1).await;
        house.reset().await;
        let ended = within(stream.read_u8()).await.unwrap_err();
        assert_eq!(ended.kind(), std::io::ErrorKind::ConnectionReset);
    }
}

// Ruling: HOUSE-1.
#[tokio::test]
async fn a_rule_of_the_scenario_that_refuses_ends_the_connections() {
    let yaml = format!(
        "{HOUSE}\nfaults:\n  - {{id: off, at: {{slave: pump}}, effect: refuse}}\n\
         \x20 - {{id: mute, at: modbus, effect: refuse}}\n"
    );
    let house = TestHouse::start(&yaml).await;
    for rule in ["off", "mute"] {
        let answer =
            house.control_send("PATCH", &format!("faults/{rule}"), &json!({"armed": false})).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    let mut pump = connect(house.slave("pump").address()).await;
    let mut modbus = connect(house.addresses().devices[0].modbus.unwrap()).await;
    read_register(&mut pump, 1).await;
    read_register(&mut modbus, 1).await;
    let answer = house.control_send("POST", "reset", &Value::Null).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    for mut stream in [pump, modbus] {
        let ended = within(stream.read_u8()).await.unwrap_err();
        assert_eq!(ended.kind(), std::io::ErrorKind::ConnectionReset);
    }
}

#[tokio::test]
async fn a_reply_after_a_reset_has_the_headers_of_any_reply() {
    let house = TestHouse::start(HOUSE).await;
    let mut device = http_client(&house).await;
    let before = get(&mut device, "/api/v1/settings").await;
    house.reset().await;
    let after = get(&mut device, "/api/v1/settings").await;
    assert_eq!(before, after);
    assert_eq!(header(&after, "Connection"), None);
}
