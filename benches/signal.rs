//! The signal: a sample of a cached day, a jump of a year, and the memory of a device.

#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up has nothing to measure")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use wwsim::clock::VirtualTime;
use wwsim::meter::signal::Signal;
use wwsim::meter::signal::plan::{BatteryPlan, LoadPlan, PvPlan, SignalPlan};

const YEAR: Duration = Duration::from_hours(365 * 24);

/// Returns houses from the simplest to one with all parts.
fn houses() -> [(&'static str, SignalPlan); 3] {
    let family = SignalPlan::default();
    let solar = SignalPlan { pv: Some(PvPlan::default()), ..SignalPlan::default() };
    let everything = SignalPlan {
        battery: Some(BatteryPlan::default()),
        loads: vec![LoadPlan::heat_pump(), LoadPlan::boiler(), LoadPlan::ev()],
        ..solar.clone()
    };
    [("household", family), ("with pv", solar), ("with everything", everything)]
}

fn signal(plan: &SignalPlan) -> Signal {
    Signal::new(plan, 7, "A842E39F8124", "2026-01-15T18:00:00+01:00".parse().unwrap())
}

/// Measures a sample of power, voltage, energy and tariff, one after another in the interval of a meter.
fn readings(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("signal: a reading");
    for (name, plan) in houses() {
        let signal = signal(&plan);
        // June, when the sun has most ramps.
        let mut now = VirtualTime::ZERO.after(Duration::from_hours(24 * 150));
        black_box(signal.sample(now));
        group.bench_function(format!("{name}, every 4.2 s"), |bencher| {
            let day = 20 * 3_600_000 / 4200;
            let begin = now;
            let mut reading = 0;
            bencher.iter(|| {
                reading = (reading + 1) % day;
                now = begin.after(Duration::from_millis(reading * 4200));
                black_box(signal.sample(now))
            });
        });
    }
    group.finish();
}

/// Measures the first sample after a year, and the memory during it.
fn year(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("signal: a jump of a year");
    group.sample_size(20);
    for (name, plan) in houses() {
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || signal(&plan),
                |signal| black_box(signal.sample(VirtualTime::ZERO.after(YEAR))),
                BatchSize::PerIteration,
            );
        });
        let signal = signal(&plan);
        let mut most = 0;
        for day in 0..=365 {
            black_box(signal.sample(VirtualTime::ZERO.after(Duration::from_hours(24 * day))));
            most = most.max(signal.memory());
        }
        println!("signal: memory of a year, {name}: {} bytes at most {most}", signal.memory());
    }
    group.finish();
}

criterion_group!(benches, readings, year);
criterion_main!(benches);
