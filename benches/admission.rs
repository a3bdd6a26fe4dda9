//! The cost of a call: of the queue alone, and of the whole device (rules, journal, clock), from the call
//! to the final status.

#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up has nothing to measure")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use jiff::Timestamp;
use serde_json::json;
use wwsim::clock::{Clock, Speed, VirtualTime};
use wwsim::device::actions::{Capacity, Definition, Queue};
use wwsim::device::{Device, Identity, License, Setup};
use wwsim::fault::Engine;
use wwsim::journal::Journal;
use wwsim::limits;

const CAPACITY: Capacity = Capacity { limit: limits::REQUESTS_IN_PROGRESS, all_or_nothing: false };

/// Measures admission, start, end and status of one request while so many others run.
fn queue(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("queue: admit, start, finish, status");
    for others in [0, 19] {
        group.bench_function(format!("{others} others running"), |bencher| {
            let mut queue = Queue::new(1);
            if others > 0 {
                queue.admit(&"other".into(), others, CAPACITY).unwrap();
            }
            let action: Arc<str> = "light_toggle".into();
            let end = VirtualTime::ZERO.after(Duration::from_millis(133));
            bencher.iter(|| {
                let id = queue.admit(&action, 1, CAPACITY).unwrap().start;
                queue.start(id, VirtualTime::ZERO);
                queue.finish(id, 200, end);
                black_box(queue.status(&[id]))
            });
        });
    }
    group.finish();
}

/// Measures the same through the device, without rules, on a real and on a manual clock.
fn device(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("device: call, start, finish, status");
    for (name, speed) in [("real clock", Speed::REAL), ("manual clock", Speed::Manual)] {
        let device = device_without_rules(speed);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let run = device.call("light_toggle").unwrap();
                let mut last = 0;
                for (ticket, _) in run.requests {
                    last = ticket.id();
                    ticket.start(String::new);
                    ticket.finish(200, String::new());
                }
                black_box(device.status(&[last]))
            });
        });
    }
    group.finish();
}

fn device_without_rules(speed: Speed) -> Arc<Device> {
    let clock = Clock::new(Timestamp::UNIX_EPOCH, speed);
    let journal = Arc::new(Journal::new(clock.clone()));
    let engine = Arc::new(Engine::new(7, clock.clone(), Arc::clone(&journal), Vec::new()));
    let identity = Identity { id: "A842E39F8124".parse().unwrap(), license: License::Plus };
    let definition = Definition::parse_value(&json!({"actions": [
        {"id": "1", "requests": []},
        {"id": "light_toggle", "requests": [{"http": {"url": "http://lamp.local/toggle"}}]},
    ]}));
    let initial = Arc::new(definition.unwrap());
    let setup = Setup { definition: Some(initial), ..Setup::new(identity) };
    Device::new(setup, clock, engine, journal)
}

criterion_group!(benches, queue, device);
criterion_main!(benches);
