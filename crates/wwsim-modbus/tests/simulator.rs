//! The simulator as a client and a test see it, over real sockets.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_modbus::client::{Context, tcp};
use tokio_modbus::prelude::{Reader as _, Slave, Writer as _};
use wwsim_modbus::bank::{Computed, Register, RegisterType, Table, UnitLayout};
use wwsim_modbus::fault::{ReplyFault, WireFault};
use wwsim_modbus::simulator::{SlaveBuilder, SlaveRule, SlaveSimulator};
use wwsim_modbus::slave::{SlaveError, SlaveEvent};
use wwsim_modbus::wire::{Exception, FunctionCode};

const SECOND: Duration = Duration::from_secs(1);

fn builder() -> SlaveBuilder {
    let ramp = Computed::Ramp { from: 0.0, to: 100.0, over: 100 * SECOND, repeat: false };
    let unit = UnitLayout::new()
        .with_coils(0..=7, false)
        .with_holding(Register::computed(0, RegisterType::Short, ramp))
        .with_holding(Register::stored(10, RegisterType::Short, 7));
    SlaveSimulator::builder().manual_clock().unit(1, unit)
}

async fn client(simulator: &SlaveSimulator) -> Context {
    tcp::connect_slave(simulator.address(), Slave(1)).await.unwrap()
}

fn outcomes(simulator: &SlaveSimulator) -> Vec<String> {
    let outcome = |logged: wwsim_modbus::simulator::LoggedEvent| match logged.event {
        SlaveEvent::Request { outcome, .. } => outcome.into_owned(),
        other => format!("{other:?}"),
    };
    simulator.events().into_iter().map(outcome).collect()
}

#[tokio::test]
async fn registers_follow_the_clock_and_store_writes() {
    let simulator = builder().start().await.unwrap();
    let mut client = client(&simulator).await;
    simulator.clock().advance(42 * SECOND).await.unwrap();
    assert_eq!(client.read_holding_registers(0, 1).await.unwrap().unwrap(), [42]);
    client.write_single_register(10, 9).await.unwrap().unwrap();
    assert_eq!(simulator.holding(1, 10), Some(9));
    simulator.slave().poke(1, Table::HoldingRegisters, 10, &[11]).unwrap();
    assert_eq!(client.read_holding_registers(10, 1).await.unwrap().unwrap(), [11]);
    simulator.reset();
    assert_eq!(simulator.holding(1, 10), Some(7));
    assert_eq!(simulator.holding(1, 11), None);
    assert_eq!(outcomes(&simulator), ["ok", "ok", "ok"]);
    simulator.stop().await;
}

#[tokio::test]
async fn the_third_read_gets_a_wrong_transaction_id() {
    let simulator = builder().start().await.unwrap();
    let read = FunctionCode::READ_HOLDING_REGISTERS;
    let wrong =
        simulator.inject(SlaveRule::reply(WireFault::WrongTransactionId).function(read).nth([3]));
    let mut client = client(&simulator).await;
    for _ in 0..2 {
        client.write_single_register(10, 1).await.unwrap().unwrap();
        client.read_holding_registers(10, 1).await.unwrap().unwrap();
    }
    assert_eq!(wrong.fired(), 0);
    client.read_holding_registers(10, 1).await.unwrap_err();
    assert_eq!(wrong.fired(), 1);
    assert_eq!(outcomes(&simulator).last().unwrap(), "reply with a wrong transaction id");
}

#[tokio::test]
async fn a_dropped_guard_removes_its_rule() {
    let simulator = builder().start().await.unwrap();
    let mut client = client(&simulator).await;
    let busy = Exception::SERVER_DEVICE_BUSY;
    let rule = SlaveRule::reply(ReplyFault::Exception(busy.0)).addresses(5..=10).value(1..=1);
    let guard = simulator.inject(rule);
    client.write_single_register(10, 1).await.unwrap().unwrap_err();
    client.write_single_register(10, 2).await.unwrap().unwrap();
    assert_eq!(guard.fired(), 1);
    drop(guard);
    client.write_single_register(10, 1).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_first_rule_that_fires_decides_and_delays_add_up() {
    let rules = builder()
        .rule(SlaveRule::delay(SECOND))
        .rule(SlaveRule::reply(ReplyFault::Exception(4)).first(1))
        .rule(SlaveRule::reply(ReplyFault::Exception(6)))
        .rule(SlaveRule::delay(SECOND));
    let simulator = rules.start().await.unwrap();
    let mut client = client(&simulator).await;
    for (request, expected) in [(1, 4), (2, 6)] {
        let read = tokio::spawn(async move {
            let read = client.read_holding_registers(0, 1).await.unwrap();
            (client, read.unwrap_err())
        });
        simulator.wait_arrived(request, 20 * SECOND).await.unwrap();
        simulator.clock().advance(Duration::from_millis(1999)).await.unwrap();
        assert!(!read.is_finished(), "both delays count");
        simulator.clock().advance(Duration::from_millis(1)).await.unwrap();
        let (back, exception) = read.await.unwrap();
        client = back;
        assert_eq!(u8::from(exception), expected);
    }
}

#[tokio::test]
async fn a_window_closes_and_opens_the_listener() {
    let simulator = builder().start().await.unwrap();
    let connect = async || TcpStream::connect(simulator.address()).await.map(drop);
    connect().await.unwrap();
    let guard = simulator.inject(SlaveRule::refuse().after(10 * SECOND).lasting(5 * SECOND));
    guard.applied().await;
    connect().await.unwrap();
    simulator.clock().advance(12 * SECOND).await.unwrap();
    assert_eq!(connect().await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    assert_eq!(guard.fired(), 1);
    simulator.clock().advance(5 * SECOND).await.unwrap();
    connect().await.unwrap();
    let listening =
        [false, true].map(|listening| format!("{:?}", SlaveEvent::Listening { listening }));
    assert_eq!(outcomes(&simulator), listening);
}

#[tokio::test]
async fn a_removed_refusal_opens_the_listener() {
    let simulator = builder().start().await.unwrap();
    let connect = async || TcpStream::connect(simulator.address()).await.map(drop);
    for _ in 0..20 {
        let guard = simulator.inject(SlaveRule::refuse());
        guard.applied().await;
        connect().await.unwrap_err();
        guard.remove().await;
        connect().await.unwrap();
    }
    // Nobody waits for a listener that is gone.
    let guard = simulator.inject(SlaveRule::refuse().after(SECOND));
    simulator.stop().await;
    guard.applied().await;
}

#[tokio::test]
async fn rules_that_can_never_fire_are_refused() {
    let rules = [
        SlaveRule::delay(SECOND).nth([0]),
        SlaveRule::delay(SECOND).first(0),
        SlaveRule::delay(SECOND).probability(f64::NAN),
        SlaveRule::delay(SECOND).every(SECOND),
    ];
    for rule in rules {
        let error = builder().rule(rule.clone()).start().await.unwrap_err();
        assert!(matches!(error, SlaveError::Rule { .. }), "{rule:?}: {error}");
    }
}

#[tokio::test]
async fn a_wait_for_requests_that_do_not_come_says_how_many_came() {
    let simulator = builder().start().await.unwrap();
    let mut client = client(&simulator).await;
    client.read_holding_registers(0, 1).await.unwrap().unwrap();
    simulator.wait_arrived(1, SECOND).await.unwrap();
    let error = simulator.wait_arrived(2, Duration::ZERO).await.unwrap_err();
    assert_eq!(error.to_string(), "1 requests arrived within 0ns, expected 2");
}

#[tokio::test]
async fn the_same_seed_gives_the_same_losses() {
    let losses = async |seed| {
        let rule = SlaveRule::reply(ReplyFault::Exception(6)).probability(0.5);
        let simulator = builder().seed(seed).rule(rule).start().await.unwrap();
        let mut client = client(&simulator).await;
        let mut lost = Vec::new();
        for _ in 0..40 {
            lost.push(client.read_holding_registers(0, 1).await.unwrap().is_err());
        }
        lost
    };
    let first = losses(1).await;
    assert_eq!(first, losses(1).await);
    assert_ne!(first, losses(2).await);
    assert!(first.contains(&true) && first.contains(&false));
}

#[tokio::test]
async fn unknown_units_are_silent_or_get_an_exception() {
    let simulator = builder().unknown_unit(Exception(11)).start().await.unwrap();
    let mut client = tcp::connect_slave(simulator.address(), Slave(9)).await.unwrap();
    let exception = client.read_holding_registers(0, 1).await.unwrap().unwrap_err();
    assert_eq!(u8::from(exception), 11);
}

#[tokio::test]
async fn mistakes_and_taken_ports_are_errors() {
    let twice = UnitLayout::new()
        .with_holding(Register::stored(0, RegisterType::Int, 1))
        .with_holding(Register::stored(1, RegisterType::Short, 100_000));
    let error = SlaveSimulator::builder().unit(1, twice).start().await.unwrap_err();
    assert!(
        matches!(&error, SlaveError::Layout { unit: 1, problems, .. } if problems.len() == 2),
        "{error}"
    );
    let simulator = builder().start().await.unwrap();
    let error = builder().listen(simulator.address()).start().await.unwrap_err();
    assert!(matches!(error, SlaveError::Bind { .. }), "{error}");
    let address = simulator.address();
    simulator.stop().await;
    builder().listen(address).start().await.unwrap().stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_would_change_nothing_is_refused() {
    for (rule, reason) in [
        (
            SlaveRule::reply(WireFault::Dribble { bytes: 0, every: SECOND }),
            "expected 1 byte or more",
        ),
        (SlaveRule::reply(WireFault::Split { at: 0, gap: SECOND }), "expected 1 byte or more"),
        (SlaveRule::reply(WireFault::Truncated(0)), "0 bytes change nothing"),
        (SlaveRule::reply(WireFault::ProtocolId(0)), "protocol id 0 is the right one"),
        #[expect(clippy::reversed_empty_ranges, reason = "the mistake")]
        (SlaveRule::reply(ReplyFault::Silence).addresses(5..=4), "5..=4 contains nothing"),
        (SlaveRule::refuse().unit(1), "before any request"),
        (SlaveRule::refuse().nth([2]), "before any request"),
    ] {
        let error = builder().rule(rule).start().await.unwrap_err();
        assert!(matches!(error, SlaveError::Rule { .. }), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    }
}
