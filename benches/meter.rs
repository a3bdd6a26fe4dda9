//! Readings of a meter, and snapshots of a device after short and long intervals.

#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up has nothing to measure")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use jiff::Timestamp;
use wwsim::clock::{Clock, Speed, VirtualTime};
use wwsim::device::{Device, DeviceId, Identity, License, Setup};
use wwsim::fault::{Engine, Episodes, Fault, MeterEffect, Rule, Silence, Trigger};
use wwsim::journal::Journal;
use wwsim::meter::signal::plan::{LoadPlan, PvPlan, SignalPlan};
use wwsim::meter::{Meter, MeterKind, MeterListener, MeterPlan, ReceptionCursor};

fn plan(kind: MeterKind) -> MeterPlan {
    let signal = SignalPlan {
        pv: Some(PvPlan::default()),
        loads: vec![LoadPlan::heat_pump(), LoadPlan::boiler(), LoadPlan::ev()],
        ..SignalPlan::default()
    };
    MeterPlan { kind: Some(kind), signal: signal.into(), ..MeterPlan::default() }
}

/// Measures the readings of a day one after another, as subscribers get them: each is built once.
fn readings(criterion: &mut Criterion) {
    let start: Timestamp = "2026-01-15T00:00:00+01:00".parse().unwrap();
    let episodes = Episodes::none();
    let listener = MeterListener { episodes: &episodes, key: None };
    for kind in MeterKind::ALL {
        let meter = Meter::new(&plan(kind), 7, "A842E39F8124", start);
        let mut cursor = ReceptionCursor::new(VirtualTime::ZERO);
        let begin = VirtualTime::ZERO.after(Duration::from_hours(10));
        let end = VirtualTime::ZERO.after(Duration::from_hours(22));
        meter.advance_to_inclusive(&mut cursor, begin, listener);
        let first = cursor;
        criterion.bench_function(&format!("reading/{kind}"), |bencher| {
            bencher.iter(|| {
                let next = meter.next_reading(&cursor, listener).unwrap_or(end);
                if next >= end {
                    cursor = first;
                }
                meter.advance_to_inclusive(&mut cursor, next.min(end), listener);
                black_box(meter.observe(&cursor, listener))
            });
        });
    }
}

fn device() -> (Clock, Arc<Device>) {
    device_with(Vec::new())
}

/// Returns rules with windows of 10 s in which no telegram gets through. The windows of the nth rule
/// recur after `every(n)`, and begin `after` later than those of the rule before.
fn silences(rules: u32, every: impl Fn(u32) -> Duration, after: Duration) -> Vec<Rule> {
    let rule = |n: u32| Rule {
        id: n.to_string().into(),
        devices: None,
        fault: Fault::Meter { device: None, effect: MeterEffect::Silent(Silence::NoData) },
        when: Trigger {
            after: n * after,
            duration: Some(Duration::from_secs(10)),
            every: Some(every(n)),
            ..Trigger::default()
        },
    };
    (0..rules).map(rule).collect()
}

fn device_with(rules: Vec<Rule>) -> (Clock, Arc<Device>) {
    let clock = Clock::new("2026-01-15T00:00:00+01:00".parse().unwrap(), Speed::Manual);
    let journal = Arc::new(Journal::new(clock.clone()));
    let engine = Arc::new(Engine::new(7, clock.clone(), Arc::clone(&journal), rules));
    let identity =
        Identity { id: "A842E39F8124".parse::<DeviceId>().unwrap(), license: License::Plus };
    let setup = Setup { meter: plan(MeterKind::Kamstrup).into(), ..Setup::new(identity) };
    let device = Device::new(setup, clock.clone(), engine, journal);
    (clock, device)
}

/// Measures a snapshot between two readings, and the first snapshot after a year.
fn snapshots(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (clock, device) = device();
    runtime.block_on(clock.jump(Duration::from_hours(12))).unwrap();
    criterion.bench_function("snapshot/between readings", |bencher| {
        bencher.iter(|| black_box(device.snapshot()));
    });
    let mut year = criterion.benchmark_group("snapshot");
    year.sample_size(10);
    let minute = |_| Duration::from_mins(1);
    let differing = |n: u32| Duration::from_mins(1) + Duration::from_millis((n * 37).into());
    for (name, rules) in [
        ("after a year", Vec::new()),
        ("after a year with a rule each minute", silences(1, minute, Duration::ZERO)),
        ("after a year with forty", silences(40, minute, Duration::ZERO)),
        ("after a year with forty apart", silences(40, minute, Duration::from_millis(500))),
        ("after a year with forty rhythms", silences(40, differing, Duration::from_secs(1))),
    ] {
        year.bench_function(name, |bencher| {
            bencher.iter_batched(
                || {
                    let (clock, device) = device_with(rules.clone());
                    runtime.block_on(clock.jump(Duration::from_hours(365 * 24))).unwrap();
                    device
                },
                |device| black_box(device.snapshot()),
                BatchSize::PerIteration,
            );
        });
    }
}

/// Measures a snapshot with rules, 10 s after the one before.
fn snapshots_with_rules(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let minute = |_| Duration::from_mins(1);
    for rules in [1, 40] {
        let (clock, device) = device_with(silences(rules, minute, Duration::ZERO));
        criterion.bench_function(&format!("look/rules {rules}"), |bencher| {
            bencher.iter(|| {
                runtime.block_on(clock.jump(Duration::from_secs(10))).unwrap();
                black_box(device.snapshot())
            });
        });
    }
}

criterion_group!(benches, readings, snapshots, snapshots_with_rules);
criterion_main!(benches);
