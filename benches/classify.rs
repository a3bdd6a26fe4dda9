//! The classifier of result codes, in memory: from the bytes of a reply to its code.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use wwsim::action_client::classifier::{ExchangeEnd, ResultCode, classify_http, classify_modbus};

/// Function 16: two registers from address 10 on.
const SENT: [u8; 17] = [0, 7, 0, 0, 0, 11, 1, 16, 0, 10, 0, 2, 4, 0, 1, 0, 2];

fn classify(c: &mut Criterion) {
    let mut group = c.benchmark_group("classify");
    let replies: [(&str, &[u8], ResultCode); 4] = [
        ("correct reply", &[0, 7, 0, 0, 0, 6, 1, 16, 0, 10, 0, 2], ResultCode::Success),
        ("exception", &[0, 7, 0, 0, 0, 3, 1, 0x90, 2], ResultCode::Exception(2)),
        (
            "wrong transaction",
            &[0, 8, 0, 0, 0, 6, 1, 16, 0, 10, 0, 2],
            ResultCode::TransactionMismatch,
        ),
        ("other quantity", &[0, 7, 0, 0, 0, 6, 1, 16, 0, 10, 0, 3], ResultCode::BodyMismatch),
    ];
    for (name, received, expected) in replies {
        assert_eq!(classify_modbus(&SENT, received, ExchangeEnd::Complete), expected, "{name}");
        group.bench_function(name, |b| {
            b.iter(|| {
                classify_modbus(black_box(&SENT), black_box(received), ExchangeEnd::Complete)
            });
        });
    }
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n";
    assert_eq!(classify_http(head, ExchangeEnd::Complete), ResultCode::InvalidContentLength);
    group.bench_function("http content length", |b| {
        b.iter(|| classify_http(black_box(head), ExchangeEnd::Complete));
    });
    group.finish();
}

criterion_group!(benches, classify);
criterion_main!(benches);
