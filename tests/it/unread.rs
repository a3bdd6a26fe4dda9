//! HTTP clients that ask and do not read, or read slowly. Real time is moved: nothing waits for it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;
use wwsim::fault::ApiEffect;
use wwsim::limits::{HTTP_SEND_BUFFER, HTTP_WRITE_TIMEOUT as LIMIT};

use crate::device_harness::{Setup, TestDevice, body, request, status};
use crate::frozen::Frozen;
use crate::harness::TestHouse;
use crate::state::{self, Folder};

const SECOND: Duration = Duration::from_secs(1);

const CARD: &str = "device: {sd_card: {}}";

/// A client with so much room of its own.
async fn connect(address: SocketAddr, room: usize) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(room.try_into().unwrap()).unwrap();
    socket.connect(address).await.unwrap()
}

/// Asks on and on, reads nothing, and returns how that ended.
async fn ask_on(address: SocketAddr, path: &str) -> io::ErrorKind {
    let mut client = connect(address, 4096).await;
    let requests = request("GET", path, "").repeat(64);
    loop {
        if let Err(error) = client.write_all(requests.as_bytes()).await {
            return error.kind();
        }
    }
}

/// Waits for an end that follows [`LIMIT`] after the bytes that it stopped at, however long those were
/// on their way: some of the time passes before.
async fn in_time<F: Future>(frozen: &Frozen, ending: F) -> F::Output {
    let (ended, took) = frozen.passing(SECOND, 3 * LIMIT, ending).await;
    assert!(took >= LIMIT, "{took:?}");
    ended
}

async fn is_reset(frozen: &Frozen, address: SocketAddr, path: &str) {
    let ended = in_time(frozen, ask_on(address, path)).await;
    assert_eq!(ended, io::ErrorKind::ConnectionReset, "{path}");
}

// Ruling: HTTP-11.
#[tokio::test(start_paused = true)]
async fn who_does_not_read_is_reset_and_takes_no_place_any_more() {
    let (frozen, bench) = (Frozen::start(), TestDevice::start(Setup::default()).await);
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..4 {
        asking.spawn(ask_on(bench.server.address(), "/"));
    }
    frozen.until(|| bench.server.connections() == 4).await;
    frozen.pass(LIMIT.saturating_sub(SECOND)).await;
    assert_eq!(bench.server.connections(), 4);
    let ended = frozen.passing(SECOND, 3 * LIMIT, asking.join_all()).await.0;
    assert_eq!(ended, [io::ErrorKind::ConnectionReset; 4]);
    frozen.until(|| bench.server.connections() == 0).await;
    assert_eq!(status(&bench.get("/").await), 200);
}

#[tokio::test(start_paused = true)]
async fn control_plane_and_targets_wait_no_longer() {
    let (frozen, twin) = (Frozen::start(), TestHouse::start("http_targets: {bulb: {}}").await);
    is_reset(&frozen, twin.control(), "/v1/state").await;
    is_reset(&frozen, twin.target("bulb"), "/").await;
}

/// A house whose card holds a file of so many bytes.
async fn with_file(folder: &Folder, bytes: usize) -> TestHouse {
    let twin = state::start(CARD, folder).await.unwrap();
    let card = folder.0.join("A842E39F8124/sdcard");
    assert_eq!(twin.get("/sdcard/").await.status, 200, "the card is there");
    std::fs::File::create(card.join("big.bin")).unwrap().set_len(bytes as u64).unwrap();
    twin
}

#[tokio::test(start_paused = true)]
async fn a_download_that_is_not_read_ends() {
    let (frozen, folder) = (Frozen::start(), Folder::new());
    let twin = with_file(&folder, 16 << 20).await;
    is_reset(&frozen, twin.device(), "/sdcard/big.bin").await;
}

/// More is read at a time than can be on its way, so that each time some of it was sent after the time
/// before. The kernel makes twice the room that it is asked for.
// Ruling: HTTP-11.
#[tokio::test(start_paused = true)]
async fn a_download_that_is_read_slowly_comes_whole() {
    const ROOM: usize = 256 << 10;
    const PIECE: usize = 1 << 20;
    const { assert!(PIECE > 2 * (ROOM + HTTP_SEND_BUFFER) + ROOM) };
    let (frozen, folder, pieces) = (Frozen::start(), Folder::new(), 16);
    let twin = with_file(&folder, pieces * PIECE).await;
    let mut client = connect(twin.device(), ROOM).await;
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
async fn what_a_rule_holds_back_is_no_time_in_which_to_read() {
    let (frozen, every) = (Frozen::start(), Duration::from_mins(1));
    let bench = TestDevice::with_fault(ApiEffect::Drip { bytes: 32, every }).await;
    let mut client = bench.connect().await;
    client.send(&request("GET", "/api/v1/actions", "")).await;
    for _ in 0..40 {
        frozen.pass(2 * LIMIT).await;
        bench.clock.advance(every).await.unwrap();
    }
    let answer = client.response().await;
    assert_eq!(status(&answer), 200);
    assert!(body(&answer).len() > 10 * 32);
}
