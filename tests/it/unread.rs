//! HTTP clients that send requests and do not read the replies, or read slowly. The tests move real time.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;
use wwsim::fault::ApiEffect;
use wwsim::limits::{HTTP_SEND_BUFFER, HTTP_WRITE_TIMEOUT as LIMIT};

use crate::state;
use crate::support::SECOND;
use crate::support::device::{Setup, TestDevice, body, request, status};
use crate::support::folder::Folder;
use crate::support::frozen::Frozen;
use crate::support::house::TestHouse;

const CARD: &str = "device: {sd_card: {}}";

/// Connects with a receive buffer of `buffer` bytes.
async fn connect(address: SocketAddr, buffer: usize) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(buffer.try_into().unwrap()).unwrap();
    socket.connect(address).await.unwrap()
}

/// Sends requests without reading until the connection breaks, and returns the error.
async fn send_until_broken(address: SocketAddr, path: &str) -> io::ErrorKind {
    let mut client = connect(address, 4096).await;
    let requests = request("GET", path, "").repeat(64);
    loop {
        if let Err(error) = client.write_all(requests.as_bytes()).await {
            return error.kind();
        }
    }
}

/// Waits for the end of a future, which must come after [`LIMIT`] and within three times that, because the
/// time until the buffers are full is added.
async fn wait_past_limit<F: Future>(frozen: &Frozen, ending: F) -> F::Output {
    let (output, elapsed) = frozen.run(SECOND, 3 * LIMIT, ending).await;
    assert!(elapsed >= LIMIT, "{elapsed:?}");
    output
}

async fn expect_reset(frozen: &Frozen, address: SocketAddr, path: &str) {
    let error = wait_past_limit(frozen, send_until_broken(address, path)).await;
    assert_eq!(error, io::ErrorKind::ConnectionReset, "{path}");
}

// Ruling: HTTP-11.
#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_reset() {
    let (frozen, fixture) = (Frozen::start(), TestDevice::start(Setup::default()).await);
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..4 {
        clients.spawn(send_until_broken(fixture.server.address(), "/"));
    }
    frozen.until(|| fixture.server.connection_count() == 4).await;
    frozen.pass(LIMIT.saturating_sub(SECOND)).await;
    assert_eq!(fixture.server.connection_count(), 4);
    let errors = frozen.run(SECOND, 3 * LIMIT, clients.join_all()).await.0;
    assert_eq!(errors, [io::ErrorKind::ConnectionReset; 4]);
    frozen.until(|| fixture.server.connection_count() == 0).await;
    assert_eq!(status(&fixture.get("/").await), 200);
}

#[tokio::test(start_paused = true)]
async fn control_plane_and_targets_reset_slow_readers_too() {
    let (frozen, house) = (Frozen::start(), TestHouse::start("http_targets: {bulb: {}}").await);
    expect_reset(&frozen, house.control_address(), "/control/v1/state").await;
    expect_reset(&frozen, house.target("bulb").address(), "/").await;
}

/// Starts a house with a file of this size on the SD card.
async fn house_with_file(folder: &Folder, bytes: usize) -> TestHouse {
    let house = state::start(CARD, folder).await.unwrap();
    let card = folder.0.join("A842E39F8124/sdcard");
    assert_eq!(house.get("/sdcard/").await.status, 200, "the card is there");
    std::fs::File::create(card.join("big.bin")).unwrap().set_len(bytes as u64).unwrap();
    house
}

#[tokio::test(start_paused = true)]
async fn a_download_without_reader_is_reset() {
    let (frozen, folder) = (Frozen::start(), Folder::new());
    let house = house_with_file(&folder, 16 << 20).await;
    expect_reset(&frozen, house.api_address(), "/sdcard/big.bin").await;
}

/// Each read takes more than all buffers hold, so that some of it was sent after the read before. The kernel
/// allocates twice the requested buffer.
// Ruling: HTTP-11.
#[tokio::test(start_paused = true)]
async fn a_slow_download_is_complete() {
    const BUFFER: usize = 256 << 10;
    const PIECE: usize = 1 << 20;
    const { assert!(PIECE > 2 * (BUFFER + HTTP_SEND_BUFFER) + BUFFER) };
    let (frozen, folder, pieces) = (Frozen::start(), Folder::new(), 16);
    let house = house_with_file(&folder, pieces * PIECE).await;
    let mut client = connect(house.api_address(), BUFFER).await;
    client.write_all(request("GET", "/sdcard/big.bin", "").as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.unwrap());
    }
    let (mut bytes, began) = (vec![0; PIECE], Instant::now());
    for _ in 0..pieces {
        frozen.pass(LIMIT.saturating_sub(SECOND)).await;
        client.read_exact(&mut bytes).await.unwrap();
    }
    assert!(began.elapsed() > 10 * LIMIT);
}

#[tokio::test(start_paused = true)]
async fn time_of_a_delay_rule_does_not_count_against_the_reader() {
    let (frozen, every) = (Frozen::start(), Duration::from_mins(1));
    let fixture = TestDevice::with_fault(ApiEffect::Drip { bytes: 32, every }).await;
    let mut client = fixture.connect().await;
    client.send(&request("GET", "/api/v1/actions", "")).await;
    for _ in 0..40 {
        frozen.pass(2 * LIMIT).await;
        fixture.clock.advance(every).await.unwrap();
    }
    let answer = client.response().await;
    assert_eq!(status(&answer), 200);
    assert!(body(&answer).len() > 10 * 32);
}
