//! Slaves over their sockets, as clients and as the house's own actions see them.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use wwsim::fault::{
    ActionPlace, Delay, Fault, ReplyPhase, SlaveEffect, SlavePlace, Trigger, WireFault, result,
};
use wwsim::journal::Event;
use wwsim::modbus::bank::Table;
use wwsim::peers::PeersError;

use crate::harness::FreePort;
use crate::peers_harness::{
    Plan, SECOND, TestPeers, always, connect, frame, on_slave, read_frame, read_to_end, slave,
    within, write,
};

const MODBUS_CODES: [i32; 18] =
    [-1, -2, -3, -4, -5, -7, -8, -9, -10, -11, -12, -13, -14, -15, -16, -17, -19, -109];

async fn pump(effects: impl IntoIterator<Item = Fault>) -> TestPeers {
    let rules = effects.into_iter().enumerate();
    let rules = rules.map(|(index, fault)| always(&format!("r{index}"), fault)).collect();
    Plan { slaves: vec![slave("pump")], rules, ..Plan::default() }.start().await
}

/// Function 6: `value` to `address`.
fn write_one(transaction: u16, unit: u8, address: u8, value: u8) -> Vec<u8> {
    frame(transaction, unit, &[6, 0, address, 0, value])
}

fn read_one(transaction: u16, unit: u8) -> Vec<u8> {
    frame(transaction, unit, &[3, 0, 0, 0, 1])
}

#[tokio::test]
async fn every_result_code_is_provoked_by_a_rule_on_the_slave_and_on_the_action() {
    for code in MODBUS_CODES.into_iter().chain(-111..=-101) {
        let on_the_slave = on_slave(result::of_slave(code).unwrap());
        let on_the_action = Fault::Action(ActionPlace::default(), result::of_action(code).unwrap());
        for fault in [on_the_slave, on_the_action] {
            let rig = pump([fault.clone()]).await;
            // Twice: what a slave remembers of the first must not change the second.
            for _ in 0..2 {
                let ids = rig.call(&[write("pump.local", 502, 10, 7)]);
                rig.advance(SECOND).await;
                assert_eq!(rig.codes(&ids), [code], "{fault:?}");
            }
            assert_eq!(rig.engine.get("r0").unwrap().fired, 2);
        }
    }
}

#[tokio::test]
async fn a_healthy_slave_answers_1_and_does_what_it_was_told() {
    let rig = pump([]).await;
    assert_eq!(rig.code(write("pump.local", 502, 10, 7)).await, 1);
    assert_eq!(rig.code(write("127.0.0.1", rig.slave("pump").port(), 11, 8)).await, 1);
    assert_eq!((rig.register(10), rig.register(11)), (7, 8));
    assert_eq!(rig.outcomes(), ["ok", "ok"]);
    let writes = rig.peers.slave("pump").unwrap().writes(1).unwrap();
    assert_eq!(writes.iter().map(|write| write.address).collect::<Vec<_>>(), [10, 11]);
}

#[tokio::test]
async fn what_is_not_carried_out_changes_no_register() {
    let reset = SlaveEffect::Reset(ReplyPhase::Before);
    let close = SlaveEffect::Close(ReplyPhase::Before);
    for (effect, code, stored) in [
        (SlaveEffect::Exception(6), -106, 0),
        (close, -4, 0),
        (reset, -4, 0),
        (SlaveEffect::Close(ReplyPhase::Middle), -13, 7),
        (SlaveEffect::Reset(ReplyPhase::Middle), -13, 7),
        (SlaveEffect::Close(ReplyPhase::After), 1, 7),
        (SlaveEffect::Reset(ReplyPhase::After), 1, 7),
        (SlaveEffect::Silence, -3, 7),
        (SlaveEffect::Wire(WireFault::ChangedEcho), -14, 7),
        (SlaveEffect::Wire(WireFault::Duplicate), 1, 7),
        (SlaveEffect::Wire(WireFault::Split { at: 3, gap: SECOND / 2 }), 1, 7),
        (SlaveEffect::Wire(WireFault::Dribble { bytes: 1, every: SECOND / 20 }), 1, 7),
        (SlaveEffect::Wire(WireFault::Dribble { bytes: 1, every: SECOND / 4 }), -3, 7),
    ] {
        let rig = pump([on_slave(effect.clone())]).await;
        let ids = rig.call(&[write("pump.local", 502, 10, 7)]);
        rig.advance(SECOND).await;
        assert_eq!((rig.codes(&ids)[0], rig.register(10)), (code, stored), "{effect:?}");
    }
}

#[tokio::test]
async fn a_delayed_write_takes_effect_when_it_is_answered() {
    let rig = pump([on_slave(SlaveEffect::Delay(Delay::Fixed(SECOND / 2)))]).await;
    let ids = rig.call(&[write("pump.local", 502, 10, 7)]);
    rig.advance(Duration::from_millis(499)).await;
    assert_eq!((rig.codes(&ids), rig.register(10)), (vec![-1], 0));
    rig.advance(Duration::from_millis(1)).await;
    assert_eq!((rig.codes(&ids), rig.register(10)), (vec![1], 7));
    assert_eq!(rig.status(ids[0]).exe_time, SECOND / 2);
}

// Ruling: PEER-2.
#[tokio::test]
async fn a_write_whose_client_gave_up_is_carried_out_all_the_same() {
    let rig = pump([on_slave(SlaveEffect::Delay(Delay::Fixed(SECOND * 3)))]).await;
    let ids = rig.call(&[write("pump.local", 502, 10, 7)]);
    rig.advance(SECOND * 2).await;
    assert_eq!((rig.codes(&ids), rig.register(10)), (vec![-3], 0));
    rig.advance(SECOND).await;
    assert_eq!(rig.register(10), 7);
}

#[tokio::test]
async fn the_latency_of_a_slave_and_the_delays_of_rules_add_up() {
    let mut plan = slave("pump");
    plan.latency = Duration::from_millis(100);
    let half = always("half", on_slave(SlaveEffect::Delay(Delay::Fixed(SECOND / 2))));
    let rig = Plan { slaves: vec![plan], rules: vec![half], ..Plan::default() }.start().await;
    let ids = rig.call(&[write("pump.local", 502, 10, 7)]);
    rig.advance(SECOND).await;
    assert_eq!(rig.status(ids[0]).exe_time, Duration::from_millis(600));
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let rig = pump([]).await;
    let mut stream = connect(rig.slave("pump")).await;
    let all: Vec<u8> = (1..=200).flat_map(|transaction| read_one(transaction, 1)).collect();
    within(stream.write_all(&all)).await.unwrap();
    for transaction in 1..=200 {
        assert_eq!(read_frame(&mut stream).await, (transaction, 1, vec![3, 2, 0, 0]));
    }
}

#[tokio::test]
async fn a_full_pipeline_is_read_no_further_and_loses_nothing() {
    let rig = pump([on_slave(SlaveEffect::Delay(Delay::Fixed(SECOND)))]).await;
    let mut stream = connect(rig.slave("pump")).await;
    let all: Vec<u8> = (1..=40).flat_map(|transaction| read_one(transaction, 1)).collect();
    within(stream.write_all(&all)).await.unwrap();
    for transaction in 1..=40 {
        // The clock cannot wait for a stranger's request, so it is moved once that one was taken.
        while rig.engine.get("r0").unwrap().fired < u64::from(transaction) {
            tokio::task::yield_now().await;
        }
        rig.advance(SECOND).await;
        assert_eq!(read_frame(&mut stream).await.0, transaction);
    }
}

#[tokio::test]
async fn a_slow_unit_delays_neither_another_unit_nor_another_connection() {
    let place = SlavePlace { unit: Some(1), ..SlavePlace::default() };
    let slow = SlaveEffect::Delay(Delay::Fixed(SECOND * 10));
    let rig = pump([Fault::Slave(place, slow)]).await;
    let mut one = connect(rig.slave("pump")).await;
    let mixed = [write_one(1, 1, 0, 1), read_one(2, 2), read_one(3, 1), read_one(4, 2)];
    one.write_all(&mixed.concat()).await.unwrap();
    assert_eq!(read_frame(&mut one).await.0, 2);
    assert_eq!(read_frame(&mut one).await.0, 4, "the other unit does not wait");
    let mut other = connect(rig.slave("pump")).await;
    other.write_all(&read_one(5, 2)).await.unwrap();
    assert_eq!(read_frame(&mut other).await.0, 5, "and neither does another connection");
    rig.advance(SECOND * 10).await;
    assert_eq!(read_frame(&mut one).await.0, 1);
    rig.advance(SECOND * 10).await;
    assert_eq!(read_frame(&mut one).await, (3, 1, vec![3, 2, 0, 1]), "read after it was written");
}

#[tokio::test]
async fn frames_never_mix_with_one_that_a_fault_splits() {
    let place = SlavePlace { unit: Some(1), ..SlavePlace::default() };
    let split = SlaveEffect::Wire(WireFault::Split { at: 5, gap: SECOND });
    let rig = pump([Fault::Slave(place, split)]).await;
    let mut stream = connect(rig.slave("pump")).await;
    stream.write_all(&[read_one(1, 1), read_one(2, 2)].concat()).await.unwrap();
    while rig.outcomes().len() < 2 {
        tokio::task::yield_now().await;
    }
    rig.advance(SECOND).await;
    assert_eq!(read_frame(&mut stream).await.0, 1);
    assert_eq!(read_frame(&mut stream).await.0, 2);
}

#[tokio::test]
async fn a_stale_reply_is_the_one_before_on_the_connection() {
    let rig = pump([on_slave(SlaveEffect::Wire(WireFault::StaleReply))]).await;
    let mut stream = connect(rig.slave("pump")).await;
    stream.write_all(&[read_one(1, 1), read_one(2, 1)].concat()).await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(read_frame(&mut stream).await.0);
    }
    assert_eq!(seen, [0xFFFF, 1, 1, 2]);
}

#[tokio::test]
async fn malformed_requests_get_an_exception() {
    let rig = pump([]).await;
    let mut stream = connect(rig.slave("pump")).await;
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
async fn bytes_that_are_no_modbus_end_the_connection_after_what_was_due() {
    let rig = pump([]).await;
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0, 2, 0, 0, 0, 1], &[0, 2, 0, 0, 0, 255]] {
        let mut stream = connect(rig.slave("pump")).await;
        stream.write_all(&[&read_one(1, 1), garbage].concat()).await.unwrap();
        assert_eq!(read_to_end(&mut stream).await, frame(1, 1, &[3, 2, 0, 0]), "{garbage:?}");
    }
    let noted = rig.journal.after(0, 9, |entry| matches!(entry.event, Event::SlaveGarbage { .. }));
    assert_eq!(noted.len(), 3);
}

// Ruling: PEER-1.
#[tokio::test]
async fn a_unit_that_is_not_there_is_silent_or_answers_with_its_exception() {
    let mut plan = slave("pump");
    plan.unknown_unit = Some(11);
    let rig = Plan { slaves: vec![plan, slave("bus")], ..Plan::default() }.start().await;
    let mut stream = connect(rig.slave("pump")).await;
    stream.write_all(&read_one(1, 9)).await.unwrap();
    assert_eq!(read_frame(&mut stream).await, (1, 9, vec![0x83, 11]));
    let mut stream = connect(rig.slave("bus")).await;
    stream.write_all(&[read_one(1, 9), read_one(2, 1)].concat()).await.unwrap();
    assert_eq!(read_frame(&mut stream).await.0, 2, "nothing came for the one before");
    assert_eq!(rig.outcomes(), ["exception 11", "no such unit", "ok"]);
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_at_once() {
    let mut plan = slave("pump");
    plan.max_connections = 2;
    let rig = Plan { slaves: vec![plan], ..Plan::default() }.start().await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut stream = connect(rig.slave("pump")).await;
        stream.write_all(&read_one(1, 1)).await.unwrap();
        read_frame(&mut stream).await;
        open.push(stream);
    }
    let mut third = connect(rig.slave("pump")).await;
    assert!(read_to_end(&mut third).await.is_empty());
    open[0].write_all(&read_one(2, 1)).await.unwrap();
    assert_eq!(read_frame(&mut open[0]).await.0, 2, "those inside are not affected");
}

#[tokio::test]
async fn a_client_that_gave_up_takes_no_place_from_the_next() {
    let mut plan = slave("pump");
    plan.max_connections = 1;
    let slow = always("slow", on_slave(SlaveEffect::Delay(Delay::Fixed(SECOND * 60))));
    let rig = Plan { slaves: vec![plan], rules: vec![slow], ..Plan::default() }.start().await;
    let ids = rig.call(&[1, 2, 3].map(|address| write("pump.local", 502, address, 9)));
    rig.advance(SECOND * 3).await;
    assert_eq!(rig.codes(&ids), [-3, -3, -3]);
    rig.advance(SECOND * 60).await;
    assert_eq!([1, 2, 3].map(|address| rig.register(address)), [9, 9, 9]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slave_with_one_place_serves_requests_that_follow_each_other_at_once() {
    let mut plan = slave("pump");
    plan.max_connections = 1;
    let rig = Plan { slaves: vec![plan], ..Plan::default() }.start().await;
    for round in 0..20 {
        let ids = rig.call(&[0; 10].map(|address| write("pump.local", 502, address, 9)));
        rig.settle().await;
        assert_eq!(rig.codes(&ids), [1; 10], "round {round}");
    }
}

// Ruling: MODBUS-16.
#[tokio::test]
async fn an_idle_connection_is_closed_after_its_real_time() {
    let mut plan = slave("pump");
    plan.idle = Duration::from_millis(30);
    let rig = Plan { slaves: vec![plan], ..Plan::default() }.start().await;
    let mut stream = connect(rig.slave("pump")).await;
    assert!(read_to_end(&mut stream).await.is_empty());
}

#[tokio::test]
async fn a_client_that_takes_no_replies_loses_its_place() {
    let mut plan = slave("pump");
    plan.idle = Duration::from_millis(30);
    plan.max_connections = 1;
    let rig = Plan { slaves: vec![plan], ..Plan::default() }.start().await;
    let address = rig.slave("pump");
    let mut greedy = connect(address).await;
    let flood = tokio::spawn(async move {
        // More replies than the kernel holds for a client that reads none.
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
    wwsim::fault::Rule { id: "off".into(), fault: on_slave(SlaveEffect::Refuse), when }
}

async fn is_refused(rig: &TestPeers) -> bool {
    match within(TcpStream::connect(rig.slave("pump"))).await {
        Ok(_) => false,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            true
        }
    }
}

#[tokio::test]
async fn a_refusing_slave_closes_its_port_resets_what_is_open_and_comes_back() {
    let when = Trigger { after: SECOND * 10, lasts: Some(SECOND * 5), ..Trigger::default() };
    let plan = Plan { slaves: vec![slave("pump")], rules: vec![refuse(when)], ..Plan::default() };
    let rig = plan.start().await;
    let door = rig.peers.slave("pump").unwrap();
    let mut open = connect(rig.slave("pump")).await;
    open.write_all(&read_one(1, 1)).await.unwrap();
    read_frame(&mut open).await;
    assert!(!is_refused(&rig).await && door.is_listening());

    rig.advance(SECOND * 10).await;
    assert!(is_refused(&rig).await && !door.is_listening());
    assert!(read_to_end(&mut open).await.is_empty());
    let ids = rig.call(&[write("pump.local", 502, 1, 1)]);
    rig.settle().await;
    assert_eq!(rig.codes(&ids), [-17]);

    rig.advance(SECOND * 5).await;
    assert!(!is_refused(&rig).await && door.is_listening());
    assert_eq!(rig.code(write("pump.local", 502, 1, 1)).await, 1);
    let changes =
        rig.journal.after(0, 9, |entry| matches!(entry.event, Event::SlaveListening { .. }));
    assert_eq!(changes.iter().map(|entry| entry.t).collect::<Vec<_>>(), [10.0, 15.0]);
}

#[tokio::test]
async fn a_rule_that_was_applied_is_in_force() {
    let plan = Plan {
        slaves: vec![slave("pump")],
        rules: vec![refuse(Trigger::default())],
        ..Plan::default()
    };
    let rig = plan.start().await;
    assert!(is_refused(&rig).await, "from the start");
    for round in 0..20 {
        let armed = round % 2 == 1;
        rig.engine.arm("off", armed).unwrap();
        within(rig.peers.applied(rig.engine.generation())).await;
        assert_eq!(is_refused(&rig).await, armed, "round {round}");
    }
}

#[tokio::test]
async fn a_stopped_house_starts_again_on_its_ports_with_fresh_registers() {
    let rig = pump([]).await;
    assert_eq!(rig.code(write("pump.local", 502, 10, 7)).await, 1);
    let mut open = connect(rig.slave("pump")).await;
    open.write_all(&read_one(1, 1)).await.unwrap();
    read_frame(&mut open).await;
    let _paused = rig.peers.stop().await;
    assert!(read_to_end(&mut open).await.is_empty());
    let waiting = connect(rig.slave("pump")).await;
    rig.peers.start().await;
    let mut stream = waiting;
    stream.write_all(&read_one(1, 1)).await.unwrap();
    read_frame(&mut stream).await;
    assert_eq!(rig.register(10), 0);
    assert_eq!(rig.code(write("pump.local", 502, 10, 8)).await, 1);
}

#[tokio::test]
async fn requests_under_way_end_with_a_stop() {
    let rig = pump([on_slave(SlaveEffect::Delay(Delay::Fixed(SECOND)))]).await;
    let ids = rig.call(&[write("pump.local", 502, 10, 7)]);
    rig.settle().await;
    let _paused = rig.peers.stop().await;
    assert_eq!(rig.codes(&ids), [-1]);
    rig.peers.start().await;
    rig.advance(SECOND * 2).await;
    assert_eq!(rig.register(10), 0, "what was under way is gone");
}

#[tokio::test]
async fn nothing_is_left_of_a_closed_house() {
    let free = [(); 3].map(|()| FreePort::new());
    let mut bulb = crate::peers_harness::target("bulb", vec![]);
    let (mut pump, mut bus) = (slave("pump"), slave("bus"));
    let listening = [&mut pump.listen, &mut bus.listen, &mut bulb.listen];
    listening.into_iter().zip(&free).for_each(|(listen, port)| *listen = port.address());
    let plan = Plan {
        slaves: vec![pump, bus],
        targets: vec![bulb],
        rules: vec![always(
            "off",
            Fault::Slave(
                SlavePlace { slave: Some("bus".into()), ..SlavePlace::default() },
                SlaveEffect::Refuse,
            ),
        )],
        ..Plan::default()
    };
    let rig = plan.start().await;
    let door = rig.peers.slave("pump").unwrap().clone();
    let mut open = connect(rig.slave("pump")).await;
    open.write_all(&read_one(1, 1)).await.unwrap();
    read_frame(&mut open).await;
    rig.peers.close().await;
    assert!(read_to_end(&mut open).await.is_empty());
    drop(open);
    for port in free {
        port.listen();
    }
    assert_eq!(
        door.peek(1, Table::Coils, 0, 2),
        Some(vec![0, 0]),
        "its registers can be looked at"
    );
}

#[tokio::test]
async fn a_taken_port_is_an_error_that_names_it_and_leaves_nothing_behind() {
    let taken = TcpListener::bind(crate::peers_harness::loopback()).await.unwrap();
    let free = FreePort::new();
    let (mut first, mut second) = (slave("pump"), slave("bus"));
    first.listen = free.address();
    second.listen = taken.local_addr().unwrap();
    let started = Plan { slaves: vec![first, second], ..Plan::default() }.try_start().await;
    let error = started.err().unwrap();
    assert!(matches!(&error, PeersError::BindSlave { name, .. } if &**name == "bus"));
    assert!(error.to_string().contains(&taken.local_addr().unwrap().to_string()), "{error}");
    free.listen();
}
