//! A read of 125 registers of the device's default map: from a snapshot to the words, and with the
//! snapshot itself, as for each request. A test checks that the read does not allocate
//! (`device::registers::tests::a_read_allocates_nothing`).

#![expect(clippy::expect_used, reason = "a bench with an error must fail")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use jiff::Timestamp;
use wwsim::clock::{Clock, Speed};
use wwsim::device::config::RegisterMap;
use wwsim::device::{self, Device, Identity, License};
use wwsim::fault::Engine;
use wwsim::journal::Journal;
use wwsim::modbus::limits;

fn read(c: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let clock = Clock::new(Timestamp::UNIX_EPOCH, Speed::Manual);
    let journal = Arc::new(Journal::new(clock.clone()));
    let engine = Arc::new(Engine::new(0, clock.clone(), Arc::clone(&journal), Vec::new()));
    let identity = Identity { id: "A842E39F8124".parse().expect("an id"), license: License::Plus };
    let device = Device::new(device::Setup::new(identity), clock.clone(), engine, journal);
    let advanced = runtime.block_on(clock.advance(Duration::from_mins(1)));
    advanced.expect("nothing is under way");
    let (map, id) = (RegisterMap::factory(), &device.identity().id);
    let mut words = [0; *limits::READ_REGISTERS.end() as usize];

    let mut group = c.benchmark_group("device_modbus");
    let snapshot = device.snapshot();
    // The longest set: energies and padding, four words each.
    group.bench_function("125 registers, doubles", |b| {
        b.iter(|| map.read(black_box(id), &snapshot, 801, &mut words));
    });
    group.bench_function("42 registers, floats", |b| {
        b.iter(|| map.read(black_box(id), &snapshot, 1, &mut words[..42]));
    });
    group.bench_function("snapshot and 125 registers", |b| {
        b.iter(|| map.read(black_box(id), &device.snapshot(), 801, &mut words));
    });
    group.finish();
}

criterion_group!(benches, read);
criterion_main!(benches);
