//! The speed of the clock changes when something is seen, and nothing of what is seen.
//!
//! Without sockets, so that real time can be held: it goes on where nothing else can, and so a slow
//! machine falls behind no clock.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use tokio::time::Instant;
use wwsim::clock::Speed;
use wwsim::meter::{MeterKind, MeterPlan};
use wwsim::surface::http::ReplyBody;

use crate::device_harness::{Setup, TestDevice, within};

/// A device whose meter has something to say every second, and which writes all of it down.
async fn bench() -> TestDevice {
    let bench = TestDevice::start(Setup {
        meter: MeterPlan { kind: Some(MeterKind::Ensor), ..MeterPlan::default() },
        from: "2026-01-15T17:00:00Z".parse().unwrap(),
        ..Setup::default()
    })
    .await;
    let switched_on = bench.device.configure(|config| {
        config.settings.services.sd.enable = true;
        config.settings.services.sd.frequency = 1;
        Ok::<_, std::convert::Infallible>(())
    });
    switched_on.unwrap();
    let clock = bench.clock.clone();
    tokio::spawn(clock.activity().track(Arc::clone(&bench.device).log_to_sd()));
    tokio::spawn(async move { clock.drive().await });
    bench
}

async fn get(bench: &TestDevice, path: &str) -> ReplyBody {
    let request = Request::get(path).body(Empty::<Bytes>::new()).unwrap();
    bench.api.answer(request).await.into_response(()).into_body()
}

/// The next so many events of a live stream.
async fn events(mut stream: ReplyBody, count: usize) -> Vec<Bytes> {
    let mut events = Vec::new();
    while events.len() < count {
        let frame = within(stream.frame()).await.expect("the stream goes on").unwrap();
        events.push(frame.into_data().unwrap());
    }
    events
}

/// The rows of the day's log.
async fn rows(bench: &TestDevice) -> Vec<Bytes> {
    let log = within(get(bench, "/sdcard/20260115.CSV").await.collect()).await.unwrap().to_bytes();
    log.split(|byte| *byte == b'\n').skip(1).map(|row| log.slice_ref(row)).collect()
}

fn same(fast: &[Bytes], slow: &[Bytes]) {
    for (n, (fast, slow)) in fast.iter().zip(slow).enumerate() {
        assert_eq!(fast, slow, "line {n}");
    }
}

#[tokio::test(start_paused = true)]
async fn however_fast_the_clock_every_reading_is_an_event_and_a_row() {
    let (slow, fast) = (bench().await, bench().await);
    let expected = tokio::spawn(events(get(&slow, "/api/v1/live").await, 1000));
    slow.clock.advance(Duration::from_mins(20)).await.unwrap();
    let expected = expected.await.unwrap();

    let (stream, began) = (get(&fast, "/api/v1/live").await, Instant::now());
    fast.clock.set_speed(Speed::Times(20_000.0));
    let events = events(stream, 1000).await;
    fast.clock.set_speed(Speed::Manual);
    // A runtime wakes up once in a millisecond at the most.
    assert!(began.elapsed() <= Duration::from_millis(100), "or else few come at once");
    fast.clock.advance(Duration::ZERO).await.unwrap();
    same(&events, &expected);

    let (written, expected) = (rows(&fast).await, rows(&slow).await);
    assert!(written.len() >= 990 && expected.len() >= 990, "{} {}", written.len(), expected.len());
    // The last of each is what follows its last line end.
    same(&written[..written.len() - 1], &expected[..expected.len() - 1]);
}
