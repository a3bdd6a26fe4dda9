//! The device's own Modbus server. The client is tokio-modbus, or raw bytes for requests that a
//! library refuses to send.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_modbus::ExceptionCode;
use tokio_modbus::client::Context;
use tokio_modbus::client::tcp::connect_slave;
use tokio_modbus::prelude::{Reader as _, Slave, Writer as _};
use wwsim::device::Snapshot;
use wwsim::house::{House, HouseBuilder};
use wwsim::journal::{Event, JournalEntry};
use wwsim::meter::Quantity;

use crate::support::folder::Folder;
use crate::support::house::{Answer, FreePort, TestHouse, exchange, http, within};

/// The map of the vendor's page, in three sets.
const PAGE: &str = r#"[
    {"start_address": 0, "word_order": "ORDER", "registers": [
        {"id": "1.7.0", "type": "float", "scaler": 3}, {"id": "21.7.0", "type": "float", "scaler": 3},
        {"id": "41.7.0", "type": "float", "scaler": 3}, {"id": "61.7.0", "type": "float", "scaler": 3},
        {"id": "31.7.0", "type": "float", "scaler": 0}, {"id": "51.7.0", "type": "float", "scaler": 0},
        {"id": "71.7.0", "type": "float", "scaler": 0}, {"id": "32.7.0", "type": "float", "scaler": 0},
        {"id": "52.7.0", "type": "float", "scaler": 0}, {"id": "72.7.0", "type": "float", "scaler": 0},
        {"id": "report.timestamp", "type": "int", "scaler": 0}]},
    {"start_address": 1000, "registers": [
        {"id": "1.8.0", "type": "int", "scaler": 3}, {"id": "1.8.1", "type": "int", "scaler": 3},
        {"id": "1.8.2", "type": "int", "scaler": 3}]},
    {"start_address": 2000, "registers": [
        {"id": "sys.id"}, {"id": "sys.firmware"}, {"id": "sys.date_time"}]}
]"#;

/// Configures the device's Modbus server and waits until the change is in force.
async fn configure(house: &TestHouse, enable: bool, port: Option<u16>) {
    let device = house.device();
    let Ok(()) = device.configure(|config| {
        let modbus = &mut config.settings.services.modbus;
        modbus.enable = enable;
        modbus.port = port.unwrap_or(modbus.port);
        Ok::<_, Infallible>(())
    });
    house.settle().await;
}

fn modbus_address(house: &TestHouse) -> SocketAddr {
    house.addresses().devices[0].modbus.unwrap()
}

/// Starts a house with the server on, and waits for a reading.
async fn start_with_server(scenario: &str) -> TestHouse {
    let house = TestHouse::start(scenario).await;
    configure(&house, true, None).await;
    house.advance(Duration::from_mins(1)).await;
    house
}

async fn client(address: SocketAddr, unit: u8) -> Context {
    connect_slave(address, Slave(unit)).await.unwrap()
}

async fn refused(address: SocketAddr) -> bool {
    TcpStream::connect(address).await.is_err()
}

fn snapshot(house: &TestHouse) -> Snapshot {
    house.device().snapshot()
}

/// Describes a house whose Modbus server listens on this address.
fn describe_at(modbus: SocketAddr) -> HouseBuilder {
    House::builder().scenario(&format!(
        "control: 127.0.0.1:0\ndevice: {{http: 127.0.0.1:0, modbus: '{modbus}'}}"
    ))
}

async fn state(house: &TestHouse) -> Value {
    house.control_get("state").await["devices"][0]["modbus"].clone()
}

async fn set_map(house: &TestHouse, map: &str) -> Answer {
    house.post("/api/v1/modbus", map).await
}

fn float(words: &[u16]) -> f32 {
    f32::from_bits(u32::from(words[0]) << 16 | u32::from(words[1]))
}

fn int(words: &[u16]) -> i64 {
    let bits = u32::from(words[0]) << 16 | u32::from(words[1]);
    i64::from(i32::from_be_bytes(bits.to_be_bytes()))
}

/// Returns the expected content of a register: the value × `factor`.
fn expected(at: &Snapshot, quantity: Quantity, factor: f64) -> f64 {
    let value = at.meter.reading.as_ref().unwrap().get(quantity);
    value.map_or(0.0, |value| value.to_f64() * factor)
}

fn assert_near(found: f32, expected: f64) {
    let difference = (f64::from(found) - expected).abs();
    assert!(difference <= expected.abs() * 1e-6, "found {found}, expected {expected}");
}

// Ruling: MODBUS-19.
#[tokio::test]
async fn the_map_of_the_vendors_page_agrees_with_the_report() {
    for order in ["msw", "lsw"] {
        let house = start_with_server("").await;
        let answer = set_map(&house, &PAGE.replace("ORDER", order)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let at = snapshot(&house);
        let mut client = client(modbus_address(&house), 1).await;
        let mut words = client.read_input_registers(0, 22).await.unwrap().unwrap();
        if order == "lsw" {
            words.chunks_mut(2).for_each(<[u16]>::reverse);
        }
        let quantities = [
            (Quantity::ImportPower, 1e3),
            (Quantity::ImportPowerL1, 1e3),
            (Quantity::ImportPowerL2, 1e3),
            (Quantity::ImportPowerL3, 1e3),
            (Quantity::CurrentL1, 1.0),
            (Quantity::CurrentL2, 1.0),
            (Quantity::CurrentL3, 1.0),
            (Quantity::VoltageL1, 1.0),
            (Quantity::VoltageL2, 1.0),
            (Quantity::VoltageL3, 1.0),
        ];
        for (pair, (quantity, factor)) in words.chunks(2).zip(quantities) {
            assert_near(float(pair), expected(&at, quantity, factor));
        }
        assert_near(float(&words[14..]), 234.0);
        let reading = at.meter.reading.as_ref().unwrap();
        assert_eq!(int(&words[20..]), reading.meter_time.as_second());
        let energies = client.read_input_registers(1000, 6).await.unwrap().unwrap();
        for (pair, quantity) in energies.chunks(2).zip([
            Quantity::ActiveImportEnergy,
            Quantity::ActiveImportEnergyT1,
            Quantity::ActiveImportEnergyT2,
        ]) {
            #[expect(clippy::cast_precision_loss, reason = "a few kWh")]
            let found = int(pair) as f64;
            assert!((found - expected(&at, quantity, 1e3)).abs() < 0.5, "{quantity}");
        }
        let system = client.read_input_registers(2000, 10).await.unwrap().unwrap();
        // The house started at 18:00, one minute ago.
        let date = [2026, 0x010F, 0x1201, 0x0000];
        assert_eq!(system, [&[0xA842, 0xE39F, 0x8124, 0x0200, 0x0200, 0], &date[..]].concat());
    }
}

#[tokio::test]
async fn the_default_map_is_read_in_one_request_by_any_unit() {
    let house = start_with_server("").await;
    let at = snapshot(&house);
    for unit in [0, 1, 247, 255] {
        let mut client = client(modbus_address(&house), unit).await;
        let words = client.read_input_registers(1, 42).await.unwrap().unwrap();
        assert_near(float(&words), expected(&at, Quantity::VoltageL1, 1.0));
        assert_near(float(&words[24..]), expected(&at, Quantity::ImportPowerL1, 1e3));
        assert_eq!(words[36..], [0; 6]);
        let tariff = client.read_input_registers(211, 2).await.unwrap().unwrap();
        assert_eq!(tariff, [0, 1]);
        let energies = client.read_input_registers(801, 125).await.unwrap().unwrap();
        assert_eq!(energies.len(), 125);
        assert_eq!(client.read_input_registers(960, 1).await.unwrap().unwrap(), [0]);
    }
}

#[tokio::test]
async fn an_unsupported_function_or_address_is_an_exception() {
    let house = start_with_server("").await;
    let mut client = client(modbus_address(&house), 1).await;
    let holding = client.read_holding_registers(1, 2).await.unwrap().unwrap_err();
    assert_eq!(holding, ExceptionCode::IllegalFunction);
    let written = client.write_single_register(1, 2).await.unwrap().unwrap_err();
    assert_eq!(written, ExceptionCode::IllegalFunction);
    let coils = client.read_coils(1, 1).await.unwrap().unwrap_err();
    assert_eq!(coils, ExceptionCode::IllegalFunction);
    for (address, quantity) in [(0, 1), (42, 2), (43, 1), (961, 1), (9998, 1), (65535, 125)] {
        let answer = client.read_input_registers(address, quantity).await.unwrap();
        assert_eq!(answer, Err(ExceptionCode::IllegalDataAddress), "{address} {quantity}");
    }
}

/// Sends raw bytes and returns the reply.
async fn send_raw(address: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut reply = Vec::new();
    within(stream.read_to_end(&mut reply)).await.unwrap();
    reply
}

// Ruling: MODBUS-14.
#[tokio::test]
async fn quantities_and_lengths_out_of_range_are_exception_3() {
    let house = start_with_server("").await;
    let ask = async |pdu: &[u8]| {
        let length = u8::try_from(pdu.len()).unwrap() + 1;
        send_raw(modbus_address(&house), &[&[0xAB, 0xCD, 0, 0, 0, length, 9][..], pdu].concat())
            .await
    };
    let exception = |function: u8, code| vec![0xAB, 0xCD, 0, 0, 0, 3, 9, function | 0x80, code];
    assert_eq!(ask(&[4, 0, 1, 0, 0]).await, exception(4, 3));
    assert_eq!(ask(&[4, 0, 1, 0, 126]).await, exception(4, 3));
    assert_eq!(ask(&[4, 0, 1, 0]).await, exception(4, 3));
    assert_eq!(ask(&[4, 0, 1, 0, 1, 0]).await, exception(4, 3));
    assert_eq!(ask(&[4, 0, 0, 0, 126]).await, exception(4, 3), "the quantity is checked first");
    // Other functions are unknown, regardless of other errors in the request.
    assert_eq!(ask(&[3]).await, exception(3, 1));
    assert_eq!(ask(&[43, 14, 1, 0]).await, exception(43, 1));
    assert_eq!(ask(&[0]).await, exception(0, 1));
}

// Ruling: MODBUS-1.
#[tokio::test]
async fn function_3_reads_the_same_if_the_scenario_enables_it() {
    let house = start_with_server("device: {modbus: {function_3: true}}").await;
    let mut client = client(modbus_address(&house), 1).await;
    let holding = client.read_holding_registers(1, 42).await.unwrap().unwrap();
    let input = client.read_input_registers(1, 42).await.unwrap().unwrap();
    assert_eq!(holding, input);
    let other = client.write_single_register(1, 2).await.unwrap().unwrap_err();
    assert_eq!(other, ExceptionCode::IllegalFunction);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let house = start_with_server("").await;
    let read = |id: u8, address: u8| [0, id, 0, 0, 0, 6, id, 4, 0, address, 0, 1];
    let requests: Vec<u8> = (1..=40).flat_map(|id| read(id, 211 + id % 2)).collect();
    let replies = send_raw(modbus_address(&house), &requests).await;
    let expected: Vec<u8> =
        (1..=40).flat_map(|id| [0, id, 0, 0, 0, 5, id, 4, 2, 0, id % 2]).collect();
    assert_eq!(replies, expected);
}

// Ruling: MODBUS-15.
#[tokio::test]
async fn invalid_frames_end_the_connection_after_pending_replies() {
    let house = start_with_server("").await;
    let request = [0, 1, 0, 0, 0, 6, 1, 4, 0, 211, 0, 2];
    for garbage in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0, 2, 0, 0, 0, 255, 1], &[0, 2, 0, 0, 0, 1, 1]]
    {
        let replies = exchange(modbus_address(&house), &[&request, garbage].concat()).await;
        assert_eq!(replies, [0, 1, 0, 0, 0, 7, 1, 4, 4, 0, 0, 0, 1]);
    }
    let journal = house.control_get("journal?event=modbus_garbage").await;
    assert!(journal.to_string().contains("protocol id 21536"), "{journal}");
}

// Ruling: MODBUS-16.
#[tokio::test]
async fn a_connection_beyond_the_limit_is_closed() {
    let house = start_with_server("").await;
    let mut clients = Vec::new();
    for _ in 0..wwsim::limits::MODBUS_CONNECTIONS {
        clients.push(client(modbus_address(&house), 1).await);
    }
    for client in &mut clients {
        assert_eq!(client.read_input_registers(211, 2).await.unwrap().unwrap(), [0, 1]);
    }
    let mut surplus = TcpStream::connect(modbus_address(&house)).await.unwrap();
    assert_eq!(within(surplus.read(&mut [0; 8])).await.unwrap_or(0), 0);
    drop(clients.pop());
    house.settle().await;
    let mut next = client(modbus_address(&house), 1).await;
    within(async {
        // The slot becomes free shortly after the client disconnects.
        while next.read_input_registers(211, 2).await.is_err() {
            next = client(modbus_address(&house), 1).await;
        }
    })
    .await;
}

#[tokio::test]
async fn one_request_reads_one_reading_while_time_passes() {
    let yaml = "clock: {start: 2026-01-15T18:00:00+01:00, speed: 5000}\ndevice: {modbus_map: [{start_address: 0, \
        registers: [{id: report.timestamp, type: int}, {id: 1.8.0, type: double}, {id: report.timestamp, \
        type: int}]}]}";
    let house = TestHouse::start(yaml).await;
    let device = house.device();
    let Ok(()) = device.configure(|config| {
        config.settings.services.modbus.enable = true;
        Ok::<_, Infallible>(())
    });
    while refused(modbus_address(&house)).await {
        tokio::task::yield_now().await;
    }
    let mut client = client(modbus_address(&house), 1).await;
    let mut timestamps = std::collections::HashSet::new();
    while timestamps.len() < 20 {
        let words = client.read_input_registers(0, 8).await.unwrap().unwrap();
        assert_eq!(words[..2], words[6..]);
        timestamps.insert(int(&words));
    }
}

// Ruling: MODBUS-18.
#[tokio::test]
async fn the_server_follows_its_setting_and_keeps_its_port() {
    let house = TestHouse::start("").await;
    let address = modbus_address(&house);
    assert!(refused(address).await, "the server of a new device is off");
    let off = json!({"enabled": false, "port": 502, "address": address, "listening": false, "note": null});
    assert_eq!(state(&house).await, off);
    for _ in 0..2 {
        configure(&house, true, None).await;
        let mut before = client(address, 1).await;
        before.read_input_registers(211, 2).await.unwrap().unwrap();
        let on = json!({"enabled": true, "port": 502, "address": address, "listening": true, "note": null});
        assert_eq!(state(&house).await, on);
        configure(&house, false, None).await;
        assert!(before.read_input_registers(211, 2).await.is_err(), "connections are closed");
        assert!(refused(address).await);
    }
    assert_eq!(modbus_address(&house), address);
}

// Ruling: MODBUS-17, MODBUS-18.
#[tokio::test]
async fn a_new_port_moves_the_listener_and_the_old_one_restores_it() {
    let house = TestHouse::start("").await;
    let address = modbus_address(&house);
    configure(&house, true, None).await;
    let mut before = client(address, 1).await;
    before.read_input_registers(211, 2).await.unwrap().unwrap();
    let free = FreePort::new();
    let port = free.number();
    configure(&house, true, Some(port)).await;
    let moved = SocketAddr::new(address.ip(), port);
    let shown =
        json!({"enabled": true, "port": port, "address": moved, "listening": true, "note": null});
    assert_eq!(state(&house).await, shown);
    assert!(before.read_input_registers(211, 2).await.is_err());
    assert!(refused(address).await);
    client(moved, 1).await.read_input_registers(211, 2).await.unwrap().unwrap();
    configure(&house, true, Some(502)).await;
    assert!(refused(moved).await);
    client(address, 1).await.read_input_registers(211, 2).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_to_a_write_means_that_the_listener_has_changed() {
    let house = TestHouse::start("").await;
    let address = modbus_address(&house);
    let free = FreePort::new();
    let moved = SocketAddr::new(address.ip(), free.number());
    for _ in 0..20 {
        for (settings, open, closed) in [
            (json!({"enable": true}), Some(address), moved),
            (json!({"port": moved.port()}), Some(moved), address),
            (json!({"enable": false, "port": 502}), None, moved),
        ] {
            let body = json!({"services": {"modbus": settings}}).to_string();
            let answer = http(house.api_address(), "PUT", "/api/v1/settings", &body).await;
            assert_eq!(answer.status, 200, "{}", answer.body);
            if let Some(open) = open {
                assert!(!refused(open).await, "{settings}");
            }
            assert!(refused(closed).await, "{settings}");
        }
    }
}

#[tokio::test]
async fn a_port_that_cannot_be_bound_delays_no_reply() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let house = describe_at(taken.local_addr().unwrap()).start().await.unwrap();
    let house = TestHouse { house };
    let body = json!({"services": {"modbus": {"enable": true}}}).to_string();
    let answer = http(house.api_address(), "PUT", "/api/v1/settings", &body).await;
    assert_eq!(
        (answer.status, &answer.json()["services"]["modbus"]["enable"]),
        (200, &json!(true))
    );
    assert_eq!(state(&house).await["listening"], false);
}

// Ruling: MODBUS-17.
#[tokio::test]
async fn a_port_that_cannot_be_bound_leaves_the_listener_in_place() {
    let house = TestHouse::start("").await;
    let address = modbus_address(&house);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    configure(&house, true, Some(port)).await;
    let shown = state(&house).await;
    assert_eq!((&shown["port"], &shown["listening"]), (&json!(port), &json!(true)));
    assert_eq!(shown["address"], json!(address));
    let note = shown["note"].as_str().unwrap();
    assert!(note.contains(&format!("cannot listen on 127.0.0.1:{port}")), "{note}");
    client(address, 1).await.read_input_registers(211, 2).await.unwrap().unwrap();
}

// Ruling: MODBUS-17.
#[tokio::test]
async fn an_occupied_initial_port_is_tried_again() {
    let free = FreePort::new();
    let address = free.address();
    let taken = std::net::TcpListener::bind(address).unwrap();
    // A server that is off binds no port.
    let house = TestHouse { house: describe_at(address).start().await.unwrap() };
    assert_eq!(modbus_address(&house), address);
    configure(&house, true, None).await;
    let shown = state(&house).await;
    assert_eq!(shown["listening"], false);
    assert!(shown["note"].as_str().unwrap().ends_with("tries again"), "{shown}");
    drop(taken);
    within(async {
        while refused(address).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    within(async {
        while state(&house).await["listening"] == false {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn without_the_licence_or_the_firmware_the_server_stays_off() {
    for (device, note) in [
        ("license: free", "the licence FREE has no Modbus server"),
        ("firmware: 1.2.19", "the firmware has no Modbus server before 1.2.20"),
    ] {
        let house = start_with_server(&format!("device: {{{device}}}")).await;
        assert!(refused(modbus_address(&house)).await);
        assert_eq!(state(&house).await["note"], note);
    }
    let old = start_with_server("device: {firmware: 1.2.20}").await;
    client(modbus_address(&old), 1).await.read_input_registers(1, 2).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_reboot_closes_and_reopens_the_listener() {
    let house = start_with_server("device: {reboot_time: 3s}").await;
    let address = modbus_address(&house);
    let mut before = client(address, 1).await;
    before.read_input_registers(211, 2).await.unwrap().unwrap();
    assert_eq!(house.post("/api/v1/reboot", "").await.status, 204);
    house.settle().await;
    assert!(before.read_input_registers(211, 2).await.is_err());
    assert!(refused(address).await);
    assert_eq!(state(&house).await["listening"], false);
    house.advance(Duration::from_secs(3)).await;
    client(address, 1).await.read_input_registers(211, 2).await.unwrap().unwrap();
    assert_eq!(state(&house).await["listening"], true);
    assert_eq!(listening_events(&house), [true, false, true]);
    house.reset().await;
    assert!(listening_events(&house).is_empty(), "off as at the start, and the journal is empty");
}

/// Returns the changes of the listener in the journal.
fn listening_events(house: &TestHouse) -> Vec<bool> {
    let listening = |entry: JournalEntry| match entry.event {
        Event::DeviceModbusListening { listening, .. } => Some(listening),
        _ => None,
    };
    house.journal_entries().into_iter().filter_map(listening).collect()
}

#[tokio::test]
async fn a_reset_restores_the_server_and_the_map() {
    let house = start_with_server("").await;
    let address = modbus_address(&house);
    set_map(&house, r#"[{"start_address": 5, "registers": [{"id": "1"}]}]"#).await;
    let free = FreePort::new();
    configure(&house, true, Some(free.number())).await;
    assert_eq!(state(&house).await["note"], Value::Null);
    house.reset().await;
    house.settle().await;
    assert!(refused(address).await, "off as at the start");
    configure(&house, true, None).await;
    let mut client = client(address, 1).await;
    assert_eq!(client.read_input_registers(37, 2).await.unwrap().unwrap(), [0, 0]);
}

#[tokio::test]
async fn a_stopped_house_leaves_no_listener() {
    let (house, free) = (start_with_server("").await, FreePort::new());
    configure(&house, true, Some(free.number())).await;
    let address = free.address();
    let mut connection = client(address, 1).await;
    connection.read_input_registers(211, 2).await.unwrap().unwrap();
    house.house.stop().await;
    assert!(refused(address).await);
    free.listen();
}

#[tokio::test]
async fn a_dropped_house_closes_its_connections() {
    let house = start_with_server("").await;
    let mut stream = TcpStream::connect(modbus_address(&house)).await.unwrap();
    stream.write_all(&[0, 1, 0, 0, 0, 6, 1, 4, 0, 211, 0, 2]).await.unwrap();
    within(stream.read_exact(&mut [0; 13])).await.unwrap();
    drop(house);
    assert_eq!(within(stream.read(&mut [0; 1])).await.unwrap_or(0), 0);
}

// ---- /api/v1/modbus ----

// Ruling: MODBUS-5, MODBUS-7.
#[tokio::test]
async fn posting_the_compact_listing_changes_nothing() {
    let house = TestHouse::start("").await;
    let first = house.get("/api/v1/modbus").await;
    assert_eq!(first.status, 200);
    let map = first.json();
    assert_eq!(map[0]["registers"][0], json!({"id": "32.7.0", "type": "float", "scaler": 0}));
    assert_eq!(map[0].as_object().unwrap().len(), 2, "{}", map[0]);
    let answer = set_map(&house, &first.body).await;
    assert_eq!((answer.status, &answer.body), (200, &first.body));
    assert_eq!(house.get("/api/v1/modbus").await.body, first.body);
}

// Ruling: MODBUS-5.
#[tokio::test]
async fn the_detailed_listing_contains_address_and_size() {
    let house = TestHouse::start("").await;
    set_map(&house, &PAGE.replace("ORDER", "lsw")).await;
    let listing =
        async |format| house.get(&format!("/api/v1/modbus?address_format={format}")).await.json();
    let dec = listing("dec").await;
    let last =
        json!({"id": "report.timestamp", "type": "int", "scaler": 0, "address": 20, "size": 2});
    assert_eq!(dec[0]["registers"][10], last);
    assert_eq!((&dec[0]["end_address"], &dec[0]["size"]), (&json!(22), &json!(22)));
    assert_eq!((&dec[0]["word_order"], &dec[1]["word_order"]), (&json!("lsw"), &json!("msw")));
    assert_eq!(dec[2]["registers"][2], json!({"id": "sys.date_time", "address": 2006, "size": 4}));
    let hex = listing("hex").await;
    assert_eq!(
        (&hex[2]["start_address"], &hex[2]["end_address"], &hex[2]["size"]),
        (&json!("0x07D0"), &json!("0x07DA"), &json!(10))
    );
    assert_eq!(hex[2]["registers"][2]["address"], "0x07D6");
    for wrong in ["oct", "", "dec&address_format=dec"] {
        let answer = house.get(&format!("/api/v1/modbus?address_format={wrong}")).await;
        assert_eq!(answer.status, 400, "{wrong}");
    }
}

// Ruling: MODBUS-6, MODBUS-7.
#[tokio::test]
async fn before_2_0_2_every_listing_is_detailed_without_word_order() {
    let house = TestHouse::start("device: {firmware: 1.2.20}").await;
    let answer = set_map(&house, &PAGE.replace("ORDER", "lsw")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let map = house.get("/api/v1/modbus?address_format=hex").await.json();
    assert_eq!(answer.json(), map);
    assert_eq!((&map[1]["end_address"], &map[1]["word_order"]), (&json!(1006), &Value::Null));
    let none = TestHouse::start("device: {firmware: 1.2.19}").await;
    assert_eq!(none.get("/api/v1/modbus").await.status, 404);
}

// Ruling: MODBUS-2, MODBUS-4.
#[tokio::test]
async fn an_invalid_map_is_refused_by_field_and_changes_nothing() {
    let house = TestHouse::start("").await;
    let before = house.get("/api/v1/modbus").await.body;
    for (body, field) in [
        ("", ""),
        ("{}", ""),
        (r#"[{"registers": []}]"#, "[0].start_address"),
        (r#"[{"start_address": 9999, "registers": []}]"#, "[0].start_address"),
        (r#"[{"start_address": 0, "registers": [{"id": "9.9.9"}]}]"#, "[0].registers[0].id"),
        (r#"[{"start_address": 9998, "registers": [{"id": "1.8.0"}]}]"#, "[0].registers[0]"),
        (
            r#"[{"start_address": 0, "registers": [{"id": "0"}]},
            {"start_address": 3, "registers": [{"id": "0"}]}]"#,
            "[1].registers[0]",
        ),
    ] {
        let answer = set_map(&house, body).await;
        assert_eq!(answer.status, 400, "{body}");
        let error = answer.json();
        assert_eq!(error["error"], "invalid_register_map");
        assert_eq!(error["details"]["field"], field, "{error}");
        assert!(error["message"].as_str().unwrap().starts_with(field), "{error}");
    }
    assert_eq!(house.get("/api/v1/modbus").await.body, before);
    let long = format!("[{}]", " ".repeat(8191));
    assert_eq!(set_map(&house, &long).await.status, 413);
    assert_eq!(set_map(&house, &long[1..]).await.status, 400, "8192 bytes are within the limit");
    assert_eq!(set_map(&house, "[]").await.body, "[]");
}

// Ruling: MODBUS-7, MODBUS-11.
#[tokio::test]
async fn deleting_the_map_restores_the_default_for_connected_clients() {
    let house = start_with_server(
        "device: {modbus_map: [{start_address: 7000, registers: [{id: '1', type: short}]}]}",
    )
    .await;
    let mut client = client(modbus_address(&house), 1).await;
    assert_eq!(client.read_input_registers(7000, 1).await.unwrap().unwrap(), [0xFFFF]);
    for _ in 0..2 {
        let answer = http(house.api_address(), "DELETE", "/api/v1/modbus", "").await;
        assert_eq!((answer.status, &*answer.body), (204, ""));
    }
    let unmapped = client.read_input_registers(7000, 1).await.unwrap();
    assert_eq!(unmapped, Err(ExceptionCode::IllegalDataAddress));
    client.read_input_registers(1, 2).await.unwrap().unwrap();
    assert_eq!(house.get("/api/v1/modbus").await.json().as_array().unwrap().len(), 6);
}

#[tokio::test]
async fn the_map_needs_no_licence() {
    let house = TestHouse::start("device: {license: free}").await;
    assert_eq!(house.get("/api/v1/modbus").await.status, 200);
    assert_eq!(set_map(&house, "[]").await.status, 200);
}

// ---- faults ----

/// Returns a rule for the device's server.
fn rule(id: &str, at: &Value, effect: &Value) -> Value {
    json!({"id": id, "at": at, "effect": effect})
}

#[tokio::test]
async fn a_fault_fires_only_on_matching_requests() {
    let house = start_with_server("").await;
    let at = json!({"modbus": "any", "unit": 7, "function": 4, "address": "211..212"});
    house.add_fault(rule("busy", &at, &json!({"exception": 6}))).await;
    let fault = house.control_get("faults/busy").await;
    assert_eq!(fault["rule"]["at"], at);
    let mut seven = client(modbus_address(&house), 7).await;
    let busy = seven.read_input_registers(210, 2).await.unwrap();
    assert_eq!(busy, Err(ExceptionCode::ServerDeviceBusy));
    seven.read_input_registers(209, 2).await.unwrap().unwrap();
    client(modbus_address(&house), 1).await.read_input_registers(211, 2).await.unwrap().unwrap();
    assert_eq!(house.counts("busy"), (1, 1));
    let journal = house.control_get("journal?event=modbus_request").await;
    assert!(journal.to_string().contains("exception 6"), "{journal}");
}

/// Returns `true` if data has arrived. Asks the kernel, because the runtime may not know yet.
fn has_more(stream: &TcpStream) -> bool {
    let mut byte = [std::mem::MaybeUninit::uninit()];
    match SockRef::from(stream).peek(&mut byte) {
        Ok(count) => count > 0,
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => false,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_delay_follows_virtual_time() {
    let house = start_with_server("").await;
    house.add_fault(rule("slow", &json!("modbus"), &json!({"delay": "3s"}))).await;
    let mut stream = TcpStream::connect(modbus_address(&house)).await.unwrap();
    stream.write_all(&[0, 1, 0, 0, 0, 6, 1, 4, 0, 211, 0, 2]).await.unwrap();
    within(async {
        while house.counts("slow").1 == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    house.advance(Duration::from_millis(2999)).await;
    // Data sent before this exchange has arrived when it ends.
    assert_eq!(house.get("/").await.status, 200);
    assert_eq!(house.counts("slow"), (1, 1));
    assert!(!has_more(&stream), "no reply yet");
    house.advance(Duration::from_millis(1)).await;
    let mut reply = [0; 13];
    within(stream.read_exact(&mut reply)).await.unwrap();
    assert_eq!(reply[7..], [4, 4, 0, 0, 0, 1]);
}

#[tokio::test]
async fn a_wire_fault_changes_only_its_bytes() {
    let request = [0x12, 0x34, 0, 0, 0, 6, 1, 4, 0, 211, 0, 2];
    let correct = [0x12, 0x34, 0, 0, 0, 7, 1, 4, 4, 0, 0, 0, 1];
    for (effect, expected) in [
        (json!("wrong_transaction_id"), [&[0xED, 0xCB][..], &correct[2..]].concat()),
        (json!("wrong_unit"), [&correct[..6], &[2], &correct[7..]].concat()),
        (json!({"protocol_id": 1}), [&correct[..2], &[0, 1], &correct[4..]].concat()),
        (json!({"truncated": 1}), [&correct[..5], &[6], &correct[6..12]].concat()),
        (json!("duplicate"), correct.repeat(2)),
        (json!("silence"), vec![]),
        (json!({"close": "middle"}), correct[..6].to_vec()),
        (json!({"close": "before"}), vec![]),
    ] {
        let house = start_with_server("").await;
        house.add_fault(rule("wire", &json!({"modbus": "any"}), &effect)).await;
        assert_eq!(send_raw(modbus_address(&house), &request).await, expected, "{effect}");
        assert_eq!(house.counts("wire"), (1, 1));
    }
}

#[tokio::test]
async fn refuse_closes_the_listener_and_resets_open_connections() {
    let house = start_with_server("").await;
    let mut before = client(modbus_address(&house), 1).await;
    before.read_input_registers(211, 2).await.unwrap().unwrap();
    let mut refuse = rule("off", &json!("modbus"), &json!("refuse"));
    refuse["when"] = json!({"for": "10s"});
    house.add_fault(refuse).await;
    assert!(refused(modbus_address(&house)).await);
    assert!(before.read_input_registers(211, 2).await.is_err());
    assert_eq!(state(&house).await["note"], "a fault rule has it refuse");
    house.advance(Duration::from_secs(10)).await;
    client(modbus_address(&house), 1).await.read_input_registers(211, 2).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_impossible_rule_is_refused_with_the_reason() {
    let house = TestHouse::start("").await;
    for (rule, message) in [
        (
            json!({"at": {"modbus": "any", "value": 5}, "effect": "silence"}),
            "`value` says nothing about `modbus`",
        ),
        (
            json!({"at": {"modbus": "any", "address": 9999}, "effect": "silence"}),
            "the last register is 9998",
        ),
        (
            json!({"at": "modbus", "effect": {"result": -9}}),
            "is no effect on the device's Modbus server",
        ),
        (
            json!({"at": {"modbus": "any", "unit": 3}, "effect": "refuse"}),
            "`unit` cannot be compared",
        ),
        (
            json!({"at": {"modbus": "any", "device": "0000000000FF"}, "effect": "refuse"}),
            "there is no device",
        ),
    ] {
        let answer = house.control_send("POST", "faults", &rule).await;
        assert_eq!(answer.status, 400, "{rule}");
        assert!(answer.body.contains(message), "{message}: {}", answer.body);
    }
}

/// Starts a house whose Modbus server listens on `interface`, where no other test binds ports.
async fn start_at(interface: &str, folder: &Folder) -> TestHouse {
    let house = describe_at(format!("{interface}:0").parse().unwrap()).state_dir(&folder.0);
    TestHouse { house: house.start().await.unwrap() }
}

#[tokio::test]
async fn a_moved_listener_stays_if_it_cannot_move_again() {
    let interface = "127.0.64.1";
    let port_of = |listener: &std::net::TcpListener| listener.local_addr().unwrap().port();
    let (first, taken) = (
        std::net::TcpListener::bind((interface, 0)).unwrap(),
        std::net::TcpListener::bind((interface, 0)).unwrap(),
    );
    let (free, taken_port, folder) = (port_of(&first), port_of(&taken), Folder::new());
    drop(first);
    let house = start_at(interface, &folder).await;
    configure(&house, true, Some(free)).await;
    let address = format!("{interface}:{free}").parse().unwrap();
    let mut before = client(address, 1).await;
    configure(&house, true, Some(taken_port)).await;
    let shown = state(&house).await;
    assert_eq!(shown["address"], json!(address));
    let note = shown["note"].as_str().unwrap();
    assert!(note.ends_with(&format!("stays on {address}")), "{note}");
    before.read_input_registers(211, 2).await.unwrap().unwrap();

    // After a restart the house reports the same address.
    configure(&house, true, Some(free)).await;
    house.house.stop().await;
    let house = start_at(interface, &folder).await;
    assert_eq!(modbus_address(&house), address);
    client(address, 1).await;
}
