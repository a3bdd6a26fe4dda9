//! A Modbus request and its reply in memory: split the frame, let the bank answer, write the frame
//! into a reused buffer. The goal is under 1 µs for a healthy read. A test ensures that it
//! allocates nothing (`bank::tests::a_read_allocates_nothing`).

#![expect(clippy::expect_used, reason = "a bench that cannot begin fails")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use wwsim::clock::VirtualTime;
use wwsim::modbus::bank::{
    Bank, BitRange, Computed, Register, RegisterAccess, RegisterSource, RegisterType,
    RegisterValue, UnitLayout,
};
use wwsim::modbus::limits;
use wwsim::modbus::wire::{ReplyPdu, split_frame, write_frame};
use wwsim::rng::RandomStream;

/// Returns a unit whose registers are all defined one by one, which makes a look-up most expensive.
fn bank() -> Bank {
    let zero = || RegisterSource::Stored(RegisterValue::Integer(0));
    let within = 0.0..=100.0;
    let walk =
        Computed::RandomWalk { start: 50.0, step: 1.0, every: Duration::from_secs(1), within };
    let layout = UnitLayout {
        coils: vec![BitRange {
            addresses: 3..=2500,
            name: None,
            value: true,
            access: RegisterAccess::ReadWrite,
        }],
        holding: (0..1000)
            .map(|index| Register::new(index * 3, RegisterType::Short, zero()))
            .chain((5000..5125).map(|address| Register::new(address, RegisterType::Short, zero())))
            .collect(),
        input: vec![
            Register::new(0, RegisterType::Float, RegisterSource::Computed(Computed::Uptime)),
            Register::new(2, RegisterType::Float, RegisterSource::Computed(walk)),
        ],
        ..UnitLayout::default()
    };
    Bank::new(&layout, 7, RandomStream::named("bench")).expect("the layout has no mistakes")
}

fn requests(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("modbus");
    let cases: [(&str, &[u8]); 8] = [
        ("read 1 register", &[3, 0x05, 0xDC, 0, 1]),
        ("read 10 registers", &[3, 0x13, 0x88, 0, 10]),
        ("read 125 registers", &[3, 0x13, 0x88, 0, 125]),
        ("read 2000 coils", &[1, 0, 5, 0x07, 0xD0]),
        ("read a computed register", &[4, 0, 0, 0, 2]),
        ("read a random walk after a month", &[4, 0, 2, 0, 2]),
        ("write 1 register", &[6, 0x05, 0xDC, 0, 7]),
        ("exception", &[3, 0xFF, 0, 0, 1]),
    ];
    let now = VirtualTime::ZERO.after(Duration::from_hours(30 * 24));
    for (name, pdu) in cases {
        let (mut bank, mut reply) = (bank(), ReplyPdu::default());
        let mut received = Vec::new();
        write_frame(1, 1, pdu, &mut received);
        let mut out = Vec::with_capacity(limits::ADU_BYTES);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                if let Ok(Some((frame, _))) = split_frame(black_box(&received)) {
                    bank.handle(frame.pdu, now, &mut reply);
                    out.clear();
                    let header = frame.header;
                    write_frame(header.transaction_id, header.unit_id, reply.pdu(), &mut out);
                }
                black_box(out.last().copied())
            });
        });
        assert_eq!(reply.as_exception().is_some(), name == "exception", "{name}: {reply:?}");
    }
    group.finish();
}

criterion_group!(benches, requests);
criterion_main!(benches);
