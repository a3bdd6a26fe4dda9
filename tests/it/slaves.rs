//! Slaves of a whole house, as a Modbus client sees them over sockets: tokio-modbus as an independent
//! client, and raw bytes for requests that a library refuses to send. `peer_slaves.rs` tests slaves
//! without a house.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_modbus::ExceptionCode;
use tokio_modbus::client::Context;
use tokio_modbus::client::tcp::connect_slave;
use tokio_modbus::prelude::{Client as _, Reader as _, Request, Response, Slave, Writer as _};
use wwsim::house::inject;

use crate::support::SECOND;
use crate::support::house::{TestHouse, within};
use crate::support::peers::{connect, frame, read_frame, read_one, read_to_end};

const HOUSE: &str = r#"
slaves:
  plc:
    units:
      1:
        coils: [{address: 0..15, value: true}, {address: 20, read_only: true}]
        discrete: [{address: 0..7}]
        holding:
          - {address: 0, type: short, value: -2}
          - {address: 1, type: ushort, value: 65535}
          - {address: 2, type: int, value: -70000}
          - {address: 4, type: uint, value: 4000000000}
          - {address: 6, type: long, value: -5000000000}
          - {address: 10, type: float, value: 21.5}
          - {address: 12, type: double, value: 3.25}
          - {address: 16, type: string, words: 4, value: Wärme}
          - {address: 20, type: hex, words: 2, value: "0A0B0C0D"}
          - {address: 30, type: int, word_order: lsw, value: 70000}
          - {address: 32, type: int, byte_order: little, value: 70000}
          - {address: 40, type: short, value: 50, min: 20, max: 60}
          - {address: 41, type: short, value: 7, read_only: true}
          - {address: 50, type: short, value: 0, on_write: [{after: 2s, set: {input: 0}, value: 1}]}
          - {address: 51, type: float, value: 20, on_write: [{after: 0s, ramp: {input: 1}, per_second: 0.5}]}
        input:
          - {address: 0, type: short, value: 0}
          - {address: 1, type: float, value: 20}
          - {address: 10, type: ushort, ramp: {from: 0, to: 100, over: 10s}}
          - {address: 11, type: ushort, counter: {start: 65530, step: 2, every: 1s}}
          - {address: 12, type: uint, uptime: true}
          - {address: 14, type: float, sine: {mean: 10, amplitude: 5, period: 4s}}
      2:
        holding: [{address: 0..9, type: short, value: 0}]
"#;

async fn client(house: &TestHouse, unit: u8) -> Context {
    connect_slave(house.slave("plc").address(), Slave(unit)).await.unwrap()
}

/// Returns a `float` as it stands on the wire.
fn words_of(number: f32) -> [u16; 2] {
    let [a, b, c, d] = number.to_be_bytes();
    [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])]
}

#[tokio::test]
async fn every_type_is_encoded_as_clients_expect() {
    let house = TestHouse::start(HOUSE).await;
    let mut client = client(&house, 1).await;
    let mut read = async |address, count| {
        client.read_holding_registers(address, count).await.unwrap().unwrap()
    };
    assert_eq!(read(0, 2).await, [0xfffe, 0xffff]);
    assert_eq!(read(2, 2).await, [0xfffe, 0xee90]);
    assert_eq!(read(4, 2).await, [0xee6b, 0x2800]);
    assert_eq!(read(6, 4).await, [0xffff, 0xfffe, 0xd5fa, 0x0e00]);
    assert_eq!(read(10, 2).await, [0x41ac, 0x0000]);
    assert_eq!(read(12, 4).await, [0x400a, 0, 0, 0]);
    assert_eq!(read(16, 4).await, [0x57c3, 0xa472, 0x6d65, 0]);
    assert_eq!(read(20, 2).await, [0x0a0b, 0x0c0d]);
    assert_eq!(read(30, 2).await, [0x1170, 0x0001]);
    assert_eq!(read(32, 2).await, [0x0100, 0x7011]);
}

#[tokio::test]
async fn every_function_is_served() {
    let house = TestHouse::start(HOUSE).await;
    let mut client = client(&house, 1).await;
    client.write_single_coil(3, false).await.unwrap().unwrap();
    client.write_multiple_coils(8, &[false, true, false]).await.unwrap().unwrap();
    let coils = client.read_coils(0, 12).await.unwrap().unwrap();
    let t = true;
    assert_eq!(coils, [t, t, t, false, t, t, t, t, false, t, false, t]);
    assert_eq!(client.read_discrete_inputs(0, 8).await.unwrap().unwrap(), [false; 8]);
    client.write_single_register(0, 5).await.unwrap().unwrap();
    client.write_multiple_registers(2, &[1, 2]).await.unwrap().unwrap();
    client.masked_write_register(0, 0x00f2, 0x0025).await.unwrap().unwrap();
    assert_eq!(client.read_holding_registers(0, 4).await.unwrap().unwrap(), [0x05, 0xffff, 1, 2]);
    let swapped = client.read_write_multiple_registers(0, 2, 1, &[9]).await.unwrap().unwrap();
    assert_eq!(swapped, [5, 9], "function 23 writes before it reads");
    assert_eq!(client.read_input_registers(0, 1).await.unwrap().unwrap(), [0]);
    let id = client.call(Request::ReportServerId).await.unwrap().unwrap();
    assert!(matches!(id, Response::ReportServerId(_, true, _)), "{id:?}");
}

#[tokio::test]
async fn received_requests_are_in_the_journal() {
    let house = TestHouse::start(HOUSE).await;
    let mut client = client(&house, 1).await;
    client.write_multiple_registers(2, &[1, 2]).await.unwrap().unwrap();
    client.read_holding_registers(2, 2).await.unwrap().unwrap();
    let received = house.control_get("journal?event=slave_request").await;
    let expected = json!([
        {"function": 16, "address": 2, "quantity": 2, "values": [1, 2], "outcome": "ok"},
        {"function": 3, "address": 2, "quantity": 2, "outcome": "ok"},
    ]);
    let (entries, expected) =
        (received["entries"].as_array().unwrap(), expected.as_array().unwrap());
    assert_eq!(entries.len(), expected.len(), "{received}");
    for (entry, expected) in entries.iter().zip(expected) {
        for (key, value) in expected.as_object().unwrap() {
            assert_eq!(entry[key], *value, "{entry}");
        }
    }
    let written: Vec<_> = house.slave("plc").writes(1).unwrap();
    assert_eq!(written[0].words, [1, 2]);
}

#[tokio::test]
async fn requests_are_checked_in_the_specified_order() {
    let house = TestHouse::start(HOUSE).await;
    // A library refuses to send these, so the PDUs are written by hand.
    let mut stream = connect(house.slave("plc").address()).await;
    for (pdu, reply) in [
        (&[0x2b, 0x0e, 1, 0][..], [0xab, 1]),
        (&[3, 0, 0], [0x83, 3]),
        (&[3, 0, 0, 0, 126], [0x83, 3]),
        (&[3, 0xff, 0xff, 0, 0], [0x83, 3]),
        (&[15, 0, 0, 0, 9, 2, 0xff], [0x8f, 3]),
        (&[5, 0, 0, 0x12, 0x34], [0x85, 3]),
    ] {
        stream.write_all(&frame(1, 1, pdu)).await.unwrap();
        assert_eq!(read_frame(&mut stream).await.2, reply, "{pdu:?}");
    }

    let mut client = client(&house, 1).await;
    let mut exception =
        async |request: Request<'static>| client.call(request).await.unwrap().unwrap_err();
    assert_eq!(
        exception(Request::ReadHoldingRegisters(0, 125)).await,
        ExceptionCode::IllegalDataAddress
    );
    assert_eq!(
        exception(Request::ReadHoldingRegisters(65535, 2)).await,
        ExceptionCode::IllegalDataAddress
    );
    assert_eq!(
        exception(Request::WriteSingleCoil(20, true)).await,
        ExceptionCode::IllegalDataAddress
    );
    assert_eq!(
        exception(Request::WriteSingleRegister(41, 1)).await,
        ExceptionCode::IllegalDataAddress
    );
    assert_eq!(
        exception(Request::WriteSingleRegister(40, 61)).await,
        ExceptionCode::IllegalDataValue
    );
    let both: Request<'static> = Request::WriteMultipleRegisters(40, vec![30, 1].into());
    assert_eq!(exception(both).await, ExceptionCode::IllegalDataAddress);
    assert_eq!(
        client.read_holding_registers(40, 2).await.unwrap().unwrap(),
        [50, 7],
        "a refused write changes nothing"
    );
}

#[tokio::test]
async fn computed_values_depend_on_the_clock_and_not_on_reads() {
    let house = TestHouse::start(HOUSE).await;
    let mut client = client(&house, 1).await;
    let mut at = async |advance: u64| {
        house.advance(Duration::from_secs(advance)).await;
        let words = client.read_input_registers(10, 6).await.unwrap().unwrap();
        let again = client.read_input_registers(10, 6).await.unwrap().unwrap();
        assert_eq!(words, again, "reading changes nothing");
        let sine = f32::from_bits(u32::from(words[4]) << 16 | u32::from(words[5]));
        (words[0], words[1], words[3], sine)
    };
    assert_eq!(at(0).await, (0, 65530, 0, 10.0));
    assert_eq!(at(1).await, (10, 65532, 1, 15.0));
    assert_eq!(at(3).await, (40, 2, 4, 10.0), "the counter wraps as the register does");
    assert_eq!(at(100).await.0, 100, "the ramp stays at its end");
}

#[tokio::test]
async fn a_write_causes_its_reactions() {
    let house = TestHouse::start(HOUSE).await;
    let mut client = client(&house, 1).await;
    client.write_single_register(50, 1).await.unwrap().unwrap();
    house.advance(Duration::from_millis(1999)).await;
    assert_eq!(client.read_input_registers(0, 1).await.unwrap().unwrap(), [0]);
    house.advance(Duration::from_millis(1)).await;
    assert_eq!(client.read_input_registers(0, 1).await.unwrap().unwrap(), [1]);

    client.write_multiple_registers(51, &words_of(25.0)).await.unwrap().unwrap();
    house.advance(Duration::from_secs(4)).await;
    let words = client.read_input_registers(1, 2).await.unwrap().unwrap();
    assert_eq!(words, words_of(22.0));
    house.advance(Duration::from_mins(1)).await;
    let words = client.read_input_registers(1, 2).await.unwrap().unwrap();
    assert_eq!(words, words_of(25.0));
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let house = TestHouse::start(HOUSE).await;
    let mut stream = connect(house.slave("plc").address()).await;
    let all: Vec<u8> = (1..=200).flat_map(|transaction| read_one(transaction, 1)).collect();
    stream.write_all(&all).await.unwrap();
    for transaction in 1..=200 {
        assert_eq!(read_frame(&mut stream).await.0, transaction);
    }
}

#[tokio::test]
async fn a_slow_unit_delays_no_other_unit_and_no_other_connection() {
    let house = TestHouse::start(HOUSE).await;
    let _slow = house.inject(inject::slave("plc").unit(1).delay(10 * SECOND));
    let mut one = connect(house.slave("plc").address()).await;
    one.write_all(&[read_one(1, 1), read_one(2, 2), read_one(3, 1)].concat()).await.unwrap();
    assert_eq!(read_frame(&mut one).await.0, 2, "the other unit answers at once");
    let mut other = connect(house.slave("plc").address()).await;
    other.write_all(&read_one(4, 2)).await.unwrap();
    assert_eq!(read_frame(&mut other).await.0, 4, "and so does another connection");
    house.advance(Duration::from_secs(20)).await;
    assert_eq!(read_frame(&mut one).await.0, 1);
    assert_eq!(read_frame(&mut one).await.0, 3);
}

#[tokio::test]
async fn an_invalid_frame_ends_only_its_connection() {
    let house = TestHouse::start(HOUSE).await;
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0, 1, 0, 0, 0, 0, 1],
        &[0, 1, 0, 0, 1, 0, 1],
        &[0, 1, 0, 9, 0, 6, 1, 3],
    ] {
        let mut stream = connect(house.slave("plc").address()).await;
        stream.write_all(garbage).await.unwrap();
        // A reset is also a valid end, because bytes were left unread.
        let rest = read_to_end(&mut stream).await;
        assert!(rest.is_empty(), "{garbage:?} got {rest:?}");
    }
    let mut stream = connect(house.slave("plc").address()).await;
    stream.write_all(&read_one(1, 1)).await.unwrap();
    assert_eq!(read_frame(&mut stream).await.0, 1);
}

#[tokio::test]
async fn a_refusing_slave_closes_and_reopens_its_port() {
    let house = TestHouse::start(HOUSE).await;
    let refuse = inject::slave("plc").refuse().after(10 * SECOND).lasting(5 * SECOND);
    let off = house.inject(refuse);
    let mut open = connect(house.slave("plc").address()).await;
    house.advance(Duration::from_secs(10)).await;
    let refused = TcpStream::connect(house.slave("plc").address()).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    let _ = within(open.read(&mut [0; 1])).await;
    house.advance(Duration::from_secs(5)).await;
    let mut stream = connect(house.slave("plc").address()).await;
    stream.write_all(&read_one(1, 1)).await.unwrap();
    assert_eq!(read_frame(&mut stream).await.0, 1);
    off.assert_fired(1);
}

#[tokio::test]
async fn a_refuse_rule_is_in_effect_once_it_was_accepted() {
    let house = TestHouse::start(HOUSE).await;
    house.add_fault(json!({"id": "off", "at": {"slave": "plc"}, "effect": "refuse"})).await;
    assert!(TcpStream::connect(house.slave("plc").address()).await.is_err());
    house.control_send("PATCH", "faults/off", &json!({"armed": false})).await;
    connect(house.slave("plc").address()).await;
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed() {
    let house = HOUSE.replace("  plc:\n", "  plc:\n    max_connections: 2\n");
    let house = TestHouse::start(&house).await;
    let mut open = Vec::new();
    for transaction in 1..=2 {
        let mut stream = connect(house.slave("plc").address()).await;
        stream.write_all(&read_one(transaction, 1)).await.unwrap();
        assert_eq!(read_frame(&mut stream).await.0, transaction);
        open.push(stream);
    }
    let mut third = connect(house.slave("plc").address()).await;
    let ended = within(third.read(&mut [0; 1])).await;
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
}

#[tokio::test]
async fn a_table_can_be_filled_to_its_last_address_with_values_of_any_type() {
    let value = |kind: &str| match kind {
        "hex" => "type: hex, words: 2, value: '0000FFFF'".to_owned(),
        "string" => "type: string, words: 2, value: abcd".to_owned(),
        kind => format!("type: {kind}, value: 7"),
    };
    let counted = |words: u32| 65_536 / words;
    for (kind, words) in [
        ("hex", 2),
        ("short", 1),
        ("ushort", 1),
        ("int", 2),
        ("uint", 2),
        ("long", 4),
        ("float", 2),
        ("double", 4),
        ("string", 2),
    ] {
        let (value, count) = (value(kind), counted(words));
        let yaml = format!(
            "slaves:
  plc:
    units:
      1:
        coils: [{{address: 0..65535, value: true}}]
        discrete: [{{address: 0..65534, value: true}}, {{address: 65535, value: true}}]
        holding: [{{address: 0..65535, {value}}}]
        input: [{{address: 0, count: {count}, {value}}}]
"
        );
        let house = TestHouse::start(&yaml).await;
        let mut client = client(&house, 1).await;
        let last = u16::try_from(65_536 - words).unwrap();
        let words = u16::try_from(words).unwrap();
        let ends = within(client.read_holding_registers(0, words)).await.unwrap().unwrap();
        assert!(ends.iter().any(|word| *word != 0), "{kind}");
        let read = within(client.read_holding_registers(last, words)).await.unwrap().unwrap();
        assert_eq!(read, ends, "{kind}");
        let read = within(client.read_input_registers(last, words)).await.unwrap().unwrap();
        assert_eq!(read, ends, "{kind}");
        assert_eq!(within(client.read_coils(65_534, 2)).await.unwrap().unwrap(), [true; 2]);
        assert_eq!(
            within(client.read_discrete_inputs(65_534, 2)).await.unwrap().unwrap(),
            [true; 2]
        );
        let beyond = within(client.read_holding_registers(65_535, 2)).await.unwrap();
        assert_eq!(beyond.unwrap_err(), ExceptionCode::IllegalDataAddress, "{kind}");
    }
}
