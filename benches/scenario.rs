//! The cost of loading a scenario: the built-in default house, and a generated one with a hundred
//! slaves of a hundred registers each.

#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up has nothing to measure")]

use std::fmt::Write as _;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use wwsim::scenario;

/// Returns the text of a house with this number of slaves.
fn generate(slaves: usize) -> String {
    let mut text = String::from("slaves:\n");
    for slave in 0..slaves {
        writeln!(text, "  slave_{slave}:\n    hosts: [\"slave{slave}.local:502\"]\n    units:\n      1:\n        holding:").unwrap();
        for register in 0..100 {
            writeln!(
                text,
                "          - {{address: {}, name: register {register}, type: float, value: {register}.5}}",
                register * 2
            )
            .unwrap();
        }
    }
    text.push_str("faults:\n");
    for slave in 0..slaves {
        writeln!(text, "  - {{at: {{slave: slave_{slave}, unit: 1, address: 10..20}}, effect: {{delay: 250ms}}}}")
            .unwrap();
    }
    text
}

fn load(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("scenario: load");
    let houses = [
        ("default", scenario::builtin("default").unwrap().text.to_owned()),
        ("100 slaves of 100 registers", generate(100)),
    ];
    for (name, text) in &houses {
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(*name, |bencher| {
            bencher.iter(|| scenario::load(black_box(text), "bench.yaml", None).unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, load);
criterion_main!(benches);
