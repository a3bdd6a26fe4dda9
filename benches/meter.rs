//! What it costs to ask a meter.

#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up has nothing to measure")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use jiff::Timestamp;
use wwsim::clock::{Clock, Speed, VirtualTime};
use wwsim::device::{Device, DeviceId, Firmware, Identity, License, Setup};
use wwsim::fault::{Engine, Episodes};
use wwsim::journal::Journal;
use wwsim::meter::signal::plan::{LoadPlan, PvPlan, SignalPlan};
use wwsim::meter::{Kind, Link, Listener, Meter, MeterPlan};

fn plan(kind: Kind) -> MeterPlan {
    let signal = SignalPlan {
        pv: Some(PvPlan::default()),
        loads: vec![LoadPlan::heat_pump(), LoadPlan::boiler(), LoadPlan::ev()],
        ..SignalPlan::default()
    };
    MeterPlan { kind: Some(kind), signal, ..MeterPlan::default() }
}

/// Every reading of a day one after another, as those who listen get them: no reading is made twice.
fn readings(criterion: &mut Criterion) {
    let start: Timestamp = "2026-01-15T00:00:00+01:00".parse().unwrap();
    let episodes = Episodes::none();
    let listener = Listener { episodes: &episodes, key: None };
    for kind in Kind::ALL {
        let meter = Meter::new(&plan(kind), 7, "A842E39F8124", start);
        let mut link = Link::new(VirtualTime::ZERO);
        let begin = VirtualTime::ZERO.after(Duration::from_hours(10));
        let end = VirtualTime::ZERO.after(Duration::from_hours(22));
        meter.follow(&mut link, begin, listener);
        let first = link;
        criterion.bench_function(&format!("reading/{kind}"), |bencher| {
            bencher.iter(|| {
                let next = meter.next_reading(&link, listener).unwrap_or(end);
                if next >= end {
                    link = first;
                }
                meter.follow(&mut link, next.min(end), listener);
                black_box(meter.observe(&link, listener))
            });
        });
    }
}

fn device() -> (Clock, Arc<Device>) {
    let clock = Clock::new("2026-01-15T00:00:00+01:00".parse().unwrap(), Speed::Manual);
    let journal = Arc::new(Journal::new(clock.clone()));
    let engine = Arc::new(Engine::new(7, clock.clone(), Arc::clone(&journal), Vec::new()));
    let identity = Identity {
        id: "A842E39F8124".parse::<DeviceId>().unwrap(),
        firmware: Firmware::DEFAULT,
        license: License::Plus,
    };
    let setup = Setup { meter: plan(Kind::Kamstrup), ..Setup::of(identity) };
    let device = Device::new(setup, clock.clone(), engine, journal);
    (clock, device)
}

/// A snapshot between two readings, as polls take it; and the first one after a year.
fn snapshots(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (clock, device) = device();
    runtime.block_on(clock.jump(Duration::from_hours(12))).unwrap();
    criterion.bench_function("snapshot/between readings", |bencher| {
        bencher.iter(|| black_box(device.snapshot()));
    });
    let mut year = criterion.benchmark_group("snapshot");
    year.sample_size(10);
    year.bench_function("after a year", |bencher| {
        bencher.iter_batched(
            || {
                let (clock, device) = self::device();
                runtime.block_on(clock.jump(Duration::from_hours(365 * 24))).unwrap();
                device
            },
            |device| black_box(device.snapshot()),
            BatchSize::PerIteration,
        );
    });
}

criterion_group!(benches, readings, snapshots);
criterion_main!(benches);
