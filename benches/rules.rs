//! The cost of fault rules that do not match: slave reads and action calls with no rules and with a
//! thousand, spread over many places or all on the same slave and function.
//!
//! The first part measures over TCP, as a client does; the goal is 5 % more with a thousand rules. A round
//! trip between two threads varies by far more than that from second to second. So the three houses run
//! side by side and take turns, some requests each, and each turn is compared with the turn of the house
//! without rules right before it. The second part measures the engine alone.

#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up has nothing to measure")]

use std::hint::black_box;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use jiff::Timestamp;
use tokio::runtime::Runtime;
use wwsim::clock::{Clock, Speed};
use wwsim::fault::{
    ActionEffect, ActionOriginRef, ActionPlace, Engine, Fault, Rule, SlaveEffect, SlavePlace,
    SlaveRequest, TargetEffect, TargetPlace, Trigger, result,
};
use wwsim::house::House;
use wwsim::journal::Journal;
use wwsim::limits;
use wwsim::modbus::fault::ReplyFault;
use wwsim::modbus::wire::FunctionCode;
use wwsim::scenario;

const DEVICE: &str = "A842E39F8124";

const SCENARIO: &str = "
device:
  id: A842E39F8124
  actions:
    actions:
      - id: write
        requests:
          - modbus: {host: pump.local, unit_id: 1, func: 6, address: 0, type: short, value: '7'}
slaves:
  pump:
    hosts: [pump.local]
    units: {1: {holding: [{address: 0..99, type: short, value: 1}]}}
";

/// The sets of rules: none, a thousand on other slaves, targets and actions, and a thousand on the
/// slave and the function that are asked, at other addresses, and on the device's other actions.
fn rule_sets() -> [(&'static str, Vec<Rule>); 3] {
    let rules = |fault: fn(u16) -> Fault| {
        let count = u16::try_from(limits::FAULT_RULES).unwrap();
        let rule = |n| Rule {
            id: format!("rule-{n}").into(),
            fault: fault(n),
            devices: None,
            when: Trigger::default(),
        };
        (0..count).map(rule).collect()
    };
    [("no rules", Vec::new()), ("1000 spread", rules(spread)), ("1000 on one", rules(on_one))]
}

fn spread(n: u16) -> Fault {
    let name = Some(format!("other-{n}"));
    let action = ActionPlace { action: name.clone(), ..ActionPlace::default() };
    match n % 5 {
        0 => {
            let place = SlavePlace {
                slave: name,
                function: Some(FunctionCode::READ_HOLDING_REGISTERS),
                ..SlavePlace::default()
            };
            Fault::Slave(place, SlaveEffect::Reply(ReplyFault::Silence))
        }
        1 => {
            let place = TargetPlace { target: name, ..TargetPlace::default() };
            Fault::Target(place, TargetEffect::Hang)
        }
        2 => Fault::Action(action, ActionEffect::Disable),
        3 => Fault::Action(action, ActionEffect::Hold { duration: None }),
        _ => Fault::Action(action, result::of_action(-9).unwrap()),
    }
}

fn on_one(n: u16) -> Fault {
    let action =
        ActionPlace { device: Some(DEVICE.to_owned()), action: Some(format!("other-{n}")) };
    let slave = |function: FunctionCode| {
        let place = SlavePlace {
            slave: Some("pump".to_owned()),
            unit: Some(1),
            function: Some(function),
            address: Some(1000 + n..=1000 + n),
            ..SlavePlace::default()
        };
        Fault::Slave(place, SlaveEffect::Reply(ReplyFault::Silence))
    };
    match n % 5 {
        0 | 1 => slave(FunctionCode::READ_HOLDING_REGISTERS),
        2 => slave(FunctionCode::WRITE_SINGLE_REGISTER),
        3 => Fault::Action(action, ActionEffect::Disable),
        _ => Fault::Action(action, ActionEffect::Hold { duration: None }),
    }
}

fn start(runtime: &Runtime, rules: Vec<Rule>) -> House {
    let mut scenario = scenario::load(SCENARIO, "bench", None).unwrap();
    scenario.any_port();
    scenario.faults = rules;
    runtime.block_on(House::start(scenario)).unwrap()
}

/// Houses by name, each with a request to it.
type Requests<'a> = Vec<(&'a str, Box<dyn FnMut()>)>;

/// The number of turns of each house.
const TURNS: usize = 301;

/// Lets the houses take turns at some requests each, and prints how much longer each takes than the
/// first one.
#[expect(clippy::disallowed_methods, reason = "real time is measured")]
fn compare(what: &str, mut houses: Requests<'_>, requests: u32) {
    let mut turns: Vec<Vec<f64>> = vec![Vec::new(); houses.len()];
    // The first turns warm up.
    for turn in 0..TURNS + 20 {
        for (index, (_, request)) in houses.iter_mut().enumerate() {
            let start = Instant::now();
            for _ in 0..requests {
                request();
            }
            if turn >= 20 {
                turns[index].push(start.elapsed().as_secs_f64() * 1e6 / f64::from(requests));
            }
        }
    }
    let (without, with) = turns.split_first().unwrap();
    println!("rules: {what}: {}: {:.1} µs", houses[0].0, median(without.clone()));
    for ((name, _), with) in houses[1..].iter().zip(with) {
        let more = with.iter().zip(without).map(|(with, without)| (with / without - 1.0) * 100.0);
        let more = median(more.collect());
        println!(
            "rules: {what}: {name}: {:.1} µs, {more:+.1} % (median of pairs)",
            median(with.clone())
        );
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn slave_reads(_: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let houses: Vec<_> =
        rule_sets().into_iter().map(|(name, rules)| (name, start(&runtime, rules))).collect();
    let mut readers: Requests<'_> = Vec::new();
    for (name, house) in &houses {
        let mut stream = TcpStream::connect(house.addresses().slaves["pump"]).unwrap();
        stream.set_nodelay(true).unwrap();
        // As many requests at once as a connection has outstanding, so that the server is busy.
        let requests = [0, 1, 0, 0, 0, 6, 1, 3, 0, 0, 0, 10].repeat(16);
        let mut replies = [0; 29 * 16];
        readers.push((
            name,
            Box::new(move || {
                stream.write_all(&requests).unwrap();
                stream.read_exact(&mut replies).unwrap();
                assert_eq!(replies[28], 1, "{replies:?}");
            }),
        ));
    }
    compare("16 slave reads over TCP", readers, 30);
    for (_, house) in houses {
        runtime.block_on(house.stop());
    }
}

fn action_calls(_: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let houses: Vec<_> =
        rule_sets().into_iter().map(|(name, rules)| (name, start(&runtime, rules))).collect();
    let mut callers: Requests<'_> = Vec::new();
    for (name, house) in &houses {
        let address = house.addresses().devices[0].http.replace("http://", "");
        let mut client = HttpClient { stream: TcpStream::connect(address).unwrap() };
        client.stream.set_nodelay(true).unwrap();
        callers.push((
            name,
            Box::new(move || {
                // The call before may still be in progress, so ask until this one is admitted.
                while client.request("POST /api/v1/actions/call?id=write") != 202 {}
            }),
        ));
    }
    compare("an action call over HTTP, with its request to a slave", callers, 30);
    for (_, house) in houses {
        runtime.block_on(house.stop());
    }
}

/// An HTTP client on one connection.
struct HttpClient {
    stream: TcpStream,
}

impl HttpClient {
    /// Sends a request and returns the status of the response.
    fn request(&mut self, line: &str) -> u16 {
        let request = format!("{line} HTTP/1.1\r\nHost: device\r\nContent-Length: 0\r\n\r\n");
        self.stream.write_all(request.as_bytes()).unwrap();
        let mut received = [0; 4096];
        let mut length = 0;
        loop {
            length += self.stream.read(&mut received[length..]).unwrap();
            let text = std::str::from_utf8(&received[..length]).unwrap();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let expected = head
                .lines()
                .filter_map(|line| line.split_once(": "))
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                .map_or(0, |(_, value)| value.parse().unwrap());
            if body.len() >= expected {
                return head[9..12].parse().unwrap();
            }
        }
    }
}

fn engine(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rules: the engine alone");
    for (name, rules) in rule_sets() {
        let clock = Clock::new(Timestamp::UNIX_EPOCH, Speed::REAL);
        let journal = Arc::new(Journal::new(clock.clone()));
        let engine = Engine::new(7, clock, journal, rules);
        let read = SlaveRequest {
            slave: "pump",
            unit: 1,
            function: FunctionCode::READ_HOLDING_REGISTERS,
            address: 0,
            quantity: 10,
            values: &[],
            from: None,
        };
        group.bench_function(format!("{name}: a slave read"), |bencher| {
            bencher.iter(|| engine.slave(black_box(&read)));
        });
        let call = ActionOriginRef { device: DEVICE, action: "write" };
        group.bench_function(format!("{name}: an admission"), |bencher| {
            bencher.iter(|| engine.admission(black_box(&call)));
        });
    }
    group.finish();
}

criterion_group!(benches, slave_reads, action_calls, engine);
criterion_main!(benches);
