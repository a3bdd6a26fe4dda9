//! Slaves without a house, built by `support/peers.rs` with an action client: what clients see over
//! sockets, and what the requests of actions see. `slaves.rs` tests the slaves of a whole house.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use wwsim::fault::{ActionPlace, Delay, Fault, SlaveEffect, SlavePlace, Trigger, result};
use wwsim::journal::Event;
use wwsim::modbus::bank::Table;
use wwsim::modbus::fault::{ReplyFault, ReplyPhase, WireFault};
use wwsim::modbus::slave::SlaveError;
use wwsim::peers::PeersError;

use crate::support::house::FreePort;
use crate::support::peers::{
    PeersPlan, SECOND, TestPeers, always, connect, frame, on_slave, read_frame, read_one,
    read_to_end, slave, within, write,
};

const MODBUS_CODES: [i32; 18] =
    [-1, -2, -3, -4, -5, -7, -8, -9, -10, -11, -12, -13, -14, -15, -16, -17, -19, -109];

async fn start_pump(effects: impl IntoIterator<Item = Fault>) -> TestPeers {
    let rules = effects.into_iter().enumerate();
    let rules = rules.map(|(index, fault)| always(&format!("r{index}"), fault)).collect();
    PeersPlan { slaves: vec![slave("pump")], rules, ..PeersPlan::default() }.start().await
}

/// Function 6: `value` to `address`.
fn write_one(transaction: u16, unit: u8, address: u8, value: u8) -> Vec<u8> {
    frame(transaction, unit, &[6, 0, address, 0, value])
}

#[tokio::test]
async fn rules_on_slave_and_action_cause_every_result_code() {
    for code in MODBUS_CODES.into_iter().chain(-111..=-101) {
        let on_the_slave = on_slave(result::of_slave(code).unwrap());
        let on_the_action = Fault::Action(ActionPlace::default(), result::of_action(code).unwrap());
        for fault in [on_the_slave, on_the_action] {
            let fixture = start_pump([fault.clone()]).await;
            // Twice, because the first request must not affect the second.
            for _ in 0..2 {
                let ids = fixture.call(&[write("pump.local", 502, 10, 7)]);
                fixture.advance(SECOND).await;
                assert_eq!(fixture.codes(&ids), [code], "{fault:?}");
            }
            assert_eq!(fixture.engine.get("r0").unwrap().fired, 2);
        }
    }
}

#[tokio::test]
async fn a_write_to_a_healthy_slave_is_1_and_changes_the_register() {
    let fixture = start_pump([]).await;
    assert_eq!(fixture.code(write("pump.local", 502, 10, 7)).await, 1);
    assert_eq!(fixture.code(write("127.0.0.1", fixture.slave("pump").port(), 11, 8)).await, 1);
    assert_eq!((fixture.register(10), fixture.register(11)), (7, 8));
    assert_eq!(fixture.outcomes(), ["ok", "ok"]);
    let writes = fixture.peers.slave("pump").unwrap().writes(1).unwrap();
    assert_eq!(writes.iter().map(|write| write.address).collect::<Vec<_>>(), [10, 11]);
}

#[tokio::test]
async fn only_effects_after_execution_change_registers() {
    let reset = SlaveEffect::Reply(ReplyFault::Reset(ReplyPhase::Before));
    let close = SlaveEffect::Reply(ReplyFault::Close(ReplyPhase::Before));
    for (effect, code, stored) in [
        (SlaveEffect::Reply(ReplyFault::Exception(6)), -106, 0),
        (close, -4, 0),
        (reset, -4, 0),
        (SlaveEffect::Reply(ReplyFault::Close(ReplyPhase::Middle)), -13, 7),
        (SlaveEffect::Reply(ReplyFault::Reset(ReplyPhase::Middle)), -13, 7),
        (SlaveEffect::Reply(ReplyFault::Close(ReplyPhase::After)), 1, 7),
        (SlaveEffect::Reply(ReplyFault::Reset(ReplyPhase::After)), 1, 7),
        (SlaveEffect::Reply(ReplyFault::Silence), -3, 7),
        (SlaveEffect::Reply(ReplyFault::Wire(WireFault::ChangedEcho)), -14, 7),
        (SlaveEffect::Reply(ReplyFault::Wire(WireFault::Duplicate)), 1, 7),
        (SlaveEffect::Reply(ReplyFault::Wire(WireFault::Split { at: 3, gap: SECOND / 2 })), 1, 7),
        (
            SlaveEffect::Reply(ReplyFault::Wire(WireFault::Dribble {
                bytes: 1,
                every: SECOND / 20,
            })),
            1,
            7,
        ),
        (
            SlaveEffect::Reply(ReplyFault::Wire(WireFault::Dribble {
                bytes: 1,
                every: SECOND / 4,
            })),
            -3,
            7,
        ),
    ] {
        let fixture = start_pump([on_slave(effect.clone())]).await;
        let ids = fixture.call(&[write("pump.local", 502, 10, 7)]);
        fixture.advance(SECOND).await;
        assert_eq!((fixture.codes(&ids)[0], fixture.register(10)), (code, stored), "{effect:?}");
    }
}

#[tokio::test]
async fn a_delayed_write_takes_effect_when_it_is_answered() {
    let fixture = start_pump([on_slave(SlaveEffect::Delay(Delay::Fixed(SECOND / 2)))]).await;
    let ids = fixture.call(&[write("pump.local", 502, 10, 7)]);
    fixture.advance(Duration::from_millis(499)).await;
    assert_eq!((fixture.codes(&ids), fixture.register(10)), (vec![-1], 0));
    fixture.advance(Duration::from_millis(1)).await;
    assert_eq!((fixture.codes(&ids), fixture.register(10)), (vec![1], 7));
    assert_eq!(fixture.status(ids[0]).exe_time, SECOND / 2);
}

// Ruling: PEER-2.
#[tokio::test]
async fn a_write_is_carried_out_after_its_client_gave_up() {
    let fixture = start_pump([on_slave(SlaveEffect::Delay(Delay::Fixed(SECOND * 3)))]).await;
    let ids = fixture.call(&[write("pump.local", 502, 10, 7)]);
    fixture.advance(SECOND * 2).await;
    assert_eq!((fixture.codes(&ids), fixture.register(10)), (vec![-3], 0));
    fixture.advance(SECOND).await;
    assert_eq!(fixture.register(10), 7);
}

#[tokio::test]
async fn latency_and_the_delays_of_rules_add_up() {
    let mut plan = slave("pump");
    plan.latency = Duration::from_millis(100);
    let half = always("half", on_slave(SlaveEffect::Delay(Delay::Fixed(SECOND / 2))));
    let fixture =
        PeersPlan { slaves: vec![plan], rules: vec![half], ..PeersPlan::default() }.start().await;
    let ids = fixture.call(&[write("pump.local", 502, 10, 7)]);
    fixture.advance(SECOND).await;
    assert_eq!(fixture.status(ids[0]).exe_time, Duration::from_millis(600));
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let fixture = start_pump([]).await;
    let mut stream = connect(fixture.slave("pump")).await;
    let all: Vec<u8> = (1..=200).flat_map(|transaction| read_one(transaction, 1)).collect();
    within(stream.write_all(&all)).await.unwrap();
    for transaction in 1..=200 {
        assert_eq!(read_frame(&mut stream).await, (transaction, 1, vec![3, 2, 0, 0]));
    }
}

#[tokio::test]
async fn a_full_pipeline_loses_no_request() {
    let fixture = start_pump([on_slave(SlaveEffect::Delay(Delay::Fixed(SECOND)))]).await;
    let mut stream = connect(fixture.slave("pump")).await;
    let all: Vec<u8> = (1..=40).flat_map(|transaction| read_one(transaction, 1)).collect();
    within(stream.write_all(&all)).await.unwrap();
    for transaction in 1..=40 {
        // The clock cannot wait for a request from outside the house, so it moves once the request
        // was read.
        while fixture.engine.get("r0").unwrap().fired < u64::from(transaction) {
            tokio::task::yield_now().await;
        }
        fixture.advance(SECOND).await;
        assert_eq!(read_frame(&mut stream).await.0, transaction);
    }
}

#[tokio::test]
async fn a_slow_unit_delays_no_other_unit_and_no_other_connection() {
    let place = SlavePlace { unit: Some(1), ..SlavePlace::default() };
    let slow = SlaveEffect::Delay(Delay::Fixed(SECOND * 10));
    let fixture = start_pump([Fault::Slave(place, slow)]).await;
    let mut one = connect(fixture.slave("pump")).await;
    let mixed = [write_one(1, 1, 0, 1), read_one(2, 2), read_one(3, 1), read_one(4, 2)];
    one.write_all(&mixed.concat()).await.unwrap();
    assert_eq!(read_frame(&mut one).await.0, 2);
    assert_eq!(read_frame(&mut one).await.0, 4, "the other unit does not wait");
    let mut other = connect(fixture.slave("pump")).await;
    other.write_all(&read_one(5, 2)).await.unwrap();
    assert_eq!(read_frame(&mut other).await.0, 5, "and neither does another connection");
    fixture.advance(SECOND * 10).await;
    assert_eq!(read_frame(&mut one).await.0, 1);
    fixture.advance(SECOND * 10).await;
    assert_eq!(read_frame(&mut one).await, (3, 1, vec![3, 2, 0, 1]), "read after it was written");
}

#[tokio::test]
async fn a_split_frame_never_mixes_with_other_frames() {
    let place = SlavePlace { unit: Some(1), ..SlavePlace::default() };
    let split = SlaveEffect::Reply(ReplyFault::Wire(WireFault::Split { at: 5, gap: SECOND }));
    let fixture = start_pump([Fault::Slave(place, split)]).await;
    let mut stream = connect(fixture.slave("pump")).await;
    stream.write_all(&[read_one(1, 1), read_one(2, 2)].concat()).await.unwrap();
    while fixture.outcomes().len() < 2 {
        tokio::task::yield_now().await;
    }
    fixture.advance(SECOND).await;
    assert_eq!(read_frame(&mut stream).await.0, 1);
    assert_eq!(read_frame(&mut stream).await.0, 2);
}

#[tokio::test]
async fn a_stale_reply_is_the_previous_one_on_the_connection() {
    let fixture =
        start_pump([on_slave(SlaveEffect::Reply(ReplyFault::Wire(WireFault::StaleReply)))]).await;
    let mut stream = connect(fixture.slave("pump")).await;
    stream.write_all(&[read_one(1, 1), read_one(2, 1)].concat()).await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(read_frame(&mut stream).await.0);
    }
    assert_eq!(seen, [0xFFFF, 1, 1, 2]);
}

#[tokio::test]
async fn malformed_requests_get_an_exception() {
    let fixture = start_pump([]).await;
    let mut stream = connect(fixture.slave("pump")).await;
    for (pdu, reply) in [
        (&[15, 0, 0, 0, 9, 1, 0xFF][..], [0x8F, 3]),
        (&[15, 0, 0, 0, 9, 2, 0xFF], [0x8F, 3]),
        (&[3, 0, 0], [0x83, 3]),
        (&[43, 14, 1, 0], [0xAB, 1]),
        (&[3, 0, 99, 0, 2], [0x83, 2]),
    ] {
        stream.write_all(&frame(1, 1, pdu)).await.unwrap();
        assert_eq!(read_frame(&mut stream).await.2, reply, "{pdu:?}");
    }
}

// Ruling: PEER-3.
#[tokio::test]
async fn an_invalid_frame_ends_the_connection_after_pending_replies() {
    let fixture = start_pump([]).await;
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0, 2, 0, 0, 0, 1], &[0, 2, 0, 0, 0, 255]] {
        let mut stream = connect(fixture.slave("pump")).await;
        stream.write_all(&[&read_one(1, 1), garbage].concat()).await.unwrap();
        assert_eq!(read_to_end(&mut stream).await, frame(1, 1, &[3, 2, 0, 0]), "{garbage:?}");
    }
    let entries = fixture
        .journal
        .entries_after(0, 9, |entry| matches!(entry.event, Event::SlaveInvalidFrame { .. }));
    assert_eq!(entries.len(), 3);
}

// Ruling: PEER-1.
#[tokio::test]
async fn an_unknown_unit_is_silent_or_answers_with_an_exception() {
    let mut plan = slave("pump");
    plan.unknown_unit = Some(11);
    let fixture =
        PeersPlan { slaves: vec![plan, slave("bus")], ..PeersPlan::default() }.start().await;
    let mut stream = connect(fixture.slave("pump")).await;
    stream.write_all(&read_one(1, 9)).await.unwrap();
    assert_eq!(read_frame(&mut stream).await, (1, 9, vec![0x83, 11]));
    let mut stream = connect(fixture.slave("bus")).await;
    stream.write_all(&[read_one(1, 9), read_one(2, 1)].concat()).await.unwrap();
    assert_eq!(read_frame(&mut stream).await.0, 2, "nothing came for the one before");
    assert_eq!(fixture.outcomes(), ["exception 11", "no such unit", "ok"]);
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_at_once() {
    let mut plan = slave("pump");
    plan.max_connections = 2;
    let fixture = PeersPlan { slaves: vec![plan], ..PeersPlan::default() }.start().await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut stream = connect(fixture.slave("pump")).await;
        stream.write_all(&read_one(1, 1)).await.unwrap();
        read_frame(&mut stream).await;
        open.push(stream);
    }
    let mut third = connect(fixture.slave("pump")).await;
    assert!(read_to_end(&mut third).await.is_empty());
    open[0].write_all(&read_one(2, 1)).await.unwrap();
    assert_eq!(read_frame(&mut open[0]).await.0, 2, "those inside are not affected");
}

#[tokio::test]
async fn a_client_that_gave_up_releases_its_permit() {
    let mut plan = slave("pump");
    plan.max_connections = 1;
    let slow = always("slow", on_slave(SlaveEffect::Delay(Delay::Fixed(SECOND * 60))));
    let fixture =
        PeersPlan { slaves: vec![plan], rules: vec![slow], ..PeersPlan::default() }.start().await;
    let ids = fixture.call(&[1, 2, 3].map(|address| write("pump.local", 502, address, 9)));
    fixture.advance(SECOND * 3).await;
    assert_eq!(fixture.codes(&ids), [-3, -3, -3]);
    fixture.advance(SECOND * 60).await;
    assert_eq!([1, 2, 3].map(|address| fixture.register(address)), [9, 9, 9]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_permit_serves_consecutive_requests() {
    let mut plan = slave("pump");
    plan.max_connections = 1;
    let fixture = PeersPlan { slaves: vec![plan], ..PeersPlan::default() }.start().await;
    for round in 0..20 {
        let ids = fixture.call(&[0; 10].map(|address| write("pump.local", 502, address, 9)));
        fixture.wait_quiescent().await;
        assert_eq!(fixture.codes(&ids), [1; 10], "round {round}");
    }
}

// Ruling: MODBUS-16.
#[tokio::test]
async fn an_idle_connection_is_closed_after_its_timeout() {
    let mut plan = slave("pump");
    plan.idle = Duration::from_millis(30);
    let fixture = PeersPlan { slaves: vec![plan], ..PeersPlan::default() }.start().await;
    let mut stream = connect(fixture.slave("pump")).await;
    assert!(read_to_end(&mut stream).await.is_empty());
}

#[tokio::test]
async fn a_client_that_reads_no_replies_loses_its_permit() {
    let mut plan = slave("pump");
    plan.idle = Duration::from_millis(30);
    plan.max_connections = 1;
    let fixture = PeersPlan { slaves: vec![plan], ..PeersPlan::default() }.start().await;
    let address = fixture.slave("pump");
    let mut greedy = connect(address).await;
    let flood = tokio::spawn(async move {
        // More replies than the kernel buffers for a client that reads none.
        let request = frame(1, 1, &[3, 0, 0, 0, 100]);
        while greedy.write_all(&request).await.is_ok() {}
    });
    within(flood).await.unwrap();
    loop {
        let mut next = connect(address).await;
        if next.write_all(&read_one(7, 1)).await.is_ok()
            && read_to_end(&mut next).await == frame(7, 1, &[3, 2, 0, 0])
        {
            break;
        }
    }
}

fn refuse(when: Trigger) -> wwsim::fault::Rule {
    wwsim::fault::Rule {
        id: "off".into(),
        fault: on_slave(SlaveEffect::Refuse),
        devices: None,
        when,
    }
}

async fn is_refused(fixture: &TestPeers) -> bool {
    match within(TcpStream::connect(fixture.slave("pump"))).await {
        Ok(_) => false,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            true
        }
    }
}

#[tokio::test]
async fn a_refusing_slave_closes_resets_and_reopens() {
    let when = Trigger { after: SECOND * 10, duration: Some(SECOND * 5), ..Trigger::default() };
    let plan = PeersPlan {
        slaves: vec![slave("pump")],
        rules: vec![refuse(when)],
        ..PeersPlan::default()
    };
    let fixture = plan.start().await;
    let slave_handle = fixture.peers.slave("pump").unwrap();
    let mut open = connect(fixture.slave("pump")).await;
    open.write_all(&read_one(1, 1)).await.unwrap();
    read_frame(&mut open).await;
    assert!(!is_refused(&fixture).await && slave_handle.is_listening());

    fixture.advance(SECOND * 10).await;
    assert!(is_refused(&fixture).await && !slave_handle.is_listening());
    assert!(read_to_end(&mut open).await.is_empty());
    let ids = fixture.call(&[write("pump.local", 502, 1, 1)]);
    fixture.wait_quiescent().await;
    assert_eq!(fixture.codes(&ids), [-17]);

    fixture.advance(SECOND * 5).await;
    assert!(!is_refused(&fixture).await && slave_handle.is_listening());
    assert_eq!(fixture.code(write("pump.local", 502, 1, 1)).await, 1);
    let changes = fixture
        .journal
        .entries_after(0, 9, |entry| matches!(entry.event, Event::SlaveListening { .. }));
    assert_eq!(changes.iter().map(|entry| entry.t).collect::<Vec<_>>(), [10.0, 15.0]);
}

#[tokio::test]
async fn an_applied_rule_is_in_effect() {
    let plan = PeersPlan {
        slaves: vec![slave("pump")],
        rules: vec![refuse(Trigger::default())],
        ..PeersPlan::default()
    };
    let fixture = plan.start().await;
    assert!(is_refused(&fixture).await, "from the start");
    for round in 0..20 {
        let armed = round % 2 == 1;
        fixture.engine.arm("off", armed).unwrap();
        within(fixture.peers.wait_rules_applied(fixture.engine.generation())).await;
        assert_eq!(is_refused(&fixture).await, armed, "round {round}");
    }
}

#[tokio::test]
async fn peers_restart_on_their_ports_with_fresh_registers() {
    let fixture = start_pump([]).await;
    assert_eq!(fixture.code(write("pump.local", 502, 10, 7)).await, 1);
    let mut open = connect(fixture.slave("pump")).await;
    open.write_all(&read_one(1, 1)).await.unwrap();
    read_frame(&mut open).await;
    let paused = fixture.peers.pause().await;
    fixture.peers.reset_contents();
    let mut waiting = connect(fixture.slave("pump")).await;
    fixture.peers.start().await;
    drop(paused);
    for stream in [&mut open, &mut waiting] {
        stream.write_all(&read_one(1, 1)).await.unwrap();
        read_frame(stream).await;
    }
    assert_eq!(fixture.register(10), 0);
    assert_eq!(fixture.code(write("pump.local", 502, 10, 8)).await, 1);
}

#[tokio::test]
async fn a_stop_aborts_requests_in_progress() {
    let fixture = start_pump([on_slave(SlaveEffect::Delay(Delay::Fixed(SECOND)))]).await;
    let ids = fixture.call(&[write("pump.local", 502, 10, 7)]);
    fixture.wait_quiescent().await;
    let _pauses = fixture.peers.pause().await;
    // A house aborts the action before. Here its client lives, and the end of the connection has woken it.
    assert_eq!(fixture.codes(&ids), [-4]);
    fixture.peers.start().await;
    fixture.advance(SECOND * 2).await;
    assert_eq!(fixture.register(10), 0, "what was under way is gone");
}

#[tokio::test]
async fn close_leaves_no_listener_and_no_connection() {
    let free = [(); 3].map(|()| FreePort::new());
    let mut bulb = crate::support::peers::target("bulb", vec![]);
    let (mut pump, mut bus) = (slave("pump"), slave("bus"));
    let listening = [&mut pump.listen, &mut bus.listen, &mut bulb.listen];
    listening.into_iter().zip(&free).for_each(|(listen, port)| *listen = port.address());
    let plan = PeersPlan {
        slaves: vec![pump, bus],
        targets: vec![bulb],
        rules: vec![always(
            "off",
            Fault::Slave(
                SlavePlace { slave: Some("bus".into()), ..SlavePlace::default() },
                SlaveEffect::Refuse,
            ),
        )],
        ..PeersPlan::default()
    };
    let fixture = plan.start().await;
    let slave_handle = fixture.peers.slave("pump").unwrap().clone();
    let mut open = connect(fixture.slave("pump")).await;
    open.write_all(&read_one(1, 1)).await.unwrap();
    read_frame(&mut open).await;
    fixture.peers.shutdown().await;
    assert!(read_to_end(&mut open).await.is_empty());
    drop(open);
    for port in free {
        port.listen();
    }
    assert_eq!(
        slave_handle.peek(1, Table::Coils, 0, 2),
        Some(vec![0, 0]),
        "its registers can be looked at"
    );
}

#[tokio::test]
async fn a_port_in_use_is_an_error_that_leaves_no_listener() {
    let taken = TcpListener::bind(crate::support::peers::loopback()).await.unwrap();
    let free = FreePort::new();
    let (mut first, mut second) = (slave("pump"), slave("bus"));
    first.listen = free.address();
    second.listen = taken.local_addr().unwrap();
    let started =
        PeersPlan { slaves: vec![first, second], ..PeersPlan::default() }.try_start().await;
    let error = started.err().unwrap();
    assert!(matches!(&error, PeersError::Slave(SlaveError::Bind { name, .. }) if &**name == "bus"));
    assert!(error.to_string().contains(&taken.local_addr().unwrap().to_string()), "{error}");
    free.listen();
}
