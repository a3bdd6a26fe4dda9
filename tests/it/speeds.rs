//! The speed of the clock changes when something is seen, and nothing of what is seen.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use wwsim::clock::Speed;

use crate::harness::{Twin, within};

/// A house whose meter has something to say every second.
async fn house() -> Twin {
    let card = "sd_card: {}, settings: {services: {sd: {enable: true, frequency: 1}}}";
    Twin::start(&format!("device: {{meter: {{kind: ensor}}, {card}}}")).await
}

/// Follows the live stream, and then waits for so many events.
pub async fn follow(
    twin: &Twin,
    events: usize,
) -> impl Future<Output = Vec<String>> + Send + 'static {
    let mut stream = BufReader::new(TcpStream::connect(twin.device()).await.unwrap());
    stream.write_all(b"GET /api/v1/live HTTP/1.1\r\nHost: device\r\n\r\n").await.unwrap();
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        within(stream.read_line(&mut line)).await.unwrap();
    }
    async move {
        let mut lines = stream.lines();
        let mut data = Vec::new();
        while data.len() < events {
            let line = within(lines.next_line()).await.unwrap().expect("the stream goes on");
            data.extend(line.strip_prefix("data: ").map(str::to_owned));
        }
        data
    }
}

/// The rows of the day's log.
async fn rows(twin: &Twin) -> Vec<String> {
    let log = twin.get("/sdcard/20260115.CSV").await;
    log.body.lines().skip(1).map(str::to_owned).collect()
}

fn same(fast: &[String], slow: &[String]) {
    for (n, (fast, slow)) in fast.iter().zip(slow).enumerate() {
        assert_eq!(fast, slow, "line {n}");
    }
}

#[tokio::test]
async fn however_fast_the_clock_every_reading_is_an_event_and_a_row() {
    let (slow, fast) = (house().await, house().await);
    let expected = tokio::spawn(follow(&slow, 1000).await);
    slow.advance(Duration::from_mins(20)).await;
    let expected = expected.await.unwrap();

    let events = follow(&fast, 1000).await;
    fast.house.clock().set_speed(Speed::Times(20_000.0));
    let events = events.await;
    fast.house.clock().set_speed(Speed::Manual);
    fast.settle().await;
    same(&events, &expected);

    let (written, expected) = (rows(&fast).await, rows(&slow).await);
    assert!(written.len() >= 990 && expected.len() >= 990, "{} {}", written.len(), expected.len());
    same(&written, &expected);
}
