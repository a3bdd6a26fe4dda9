//! The speed of the clock changes when output appears, and nothing of the output.
//!
//! The tests use no sockets, so that tokio can pause real time: it advances only when all tasks are idle,
//! and a slow machine cannot fall behind the clock.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use tokio::time::Instant;
use wwsim::clock::Speed;
use wwsim::meter::{MeterKind, MeterPlan};
use wwsim::services::log_to_sd;
use wwsim::surface::http::ReplyBody;

use crate::support::device::{Setup, TestDevice, within};

/// Starts a device with a reading each second that logs each of them to its SD card.
async fn start_device() -> TestDevice {
    let fixture = TestDevice::start(Setup {
        meter: MeterPlan { kind: Some(MeterKind::Ensor), ..MeterPlan::default() },
        from: "2026-01-15T17:00:00Z".parse().unwrap(),
        ..Setup::default()
    })
    .await;
    let switched_on = fixture.device.configure(|config| {
        config.settings.services.sd.enable = true;
        config.settings.services.sd.frequency = 1;
        Ok::<_, std::convert::Infallible>(())
    });
    switched_on.unwrap();
    let clock = fixture.clock.clone();
    tokio::spawn(clock.activity().track(log_to_sd(Arc::clone(&fixture.device))));
    tokio::spawn(async move { clock.drive().await });
    fixture
}

async fn get(fixture: &TestDevice, path: &str) -> ReplyBody {
    let request = Request::get(path).body(Empty::<Bytes>::new()).unwrap();
    fixture.api.answer(request).await.into_response(()).into_body()
}

/// Returns the next `count` events of a live stream.
async fn events(mut stream: ReplyBody, count: usize) -> Vec<Bytes> {
    let mut events = Vec::new();
    while events.len() < count {
        let frame = within(stream.frame()).await.expect("the stream goes on").unwrap();
        events.push(frame.into_data().unwrap());
    }
    events
}

/// Returns the rows of the day's log.
async fn rows(fixture: &TestDevice) -> Vec<Bytes> {
    let log =
        within(get(fixture, "/sdcard/20260115.CSV").await.collect()).await.unwrap().to_bytes();
    log.split(|byte| *byte == b'\n').skip(1).map(|row| log.slice_ref(row)).collect()
}

/// Checks that the first `count` lines of both are the same.
fn assert_same_lines(fast: &[Bytes], slow: &[Bytes], count: usize) {
    assert!(fast.len() >= count && slow.len() >= count, "{} {}", fast.len(), slow.len());
    for (n, (fast, slow)) in fast.iter().zip(slow).enumerate() {
        assert_eq!(fast, slow, "line {n}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_reading_is_an_event_and_a_row_at_any_speed() {
    let (slow, fast) = (start_device().await, start_device().await);
    let expected = tokio::spawn(events(get(&slow, "/api/v1/live").await, 1000));
    slow.clock.advance(Duration::from_mins(20)).await.unwrap();
    let expected = expected.await.unwrap();

    let (stream, began) = (get(&fast, "/api/v1/live").await, Instant::now());
    fast.clock.set_speed(Speed::Times(20_000.0));
    let events = events(stream, 1000).await;
    fast.clock.set_speed(Speed::Manual);
    // The timer of the runtime has a resolution of a millisecond.
    assert!(began.elapsed() <= Duration::from_millis(100), "else few readings come at once");
    fast.clock.advance(Duration::ZERO).await.unwrap();
    assert_same_lines(&events, &expected, 1000);

    let (written, expected) = (rows(&fast).await, rows(&slow).await);
    // The last element of each is the text after the last line end. The two clocks stopped at
    // different times, so one log is longer.
    assert_same_lines(&written[..written.len() - 1], &expected[..expected.len() - 1], 989);
}
