//! HTTP clients that ask and do not read, or read slowly. Real time is moved: nothing waits for it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, timeout};
use wwsim::fault::ApiEffect;
use wwsim::limits::HTTP_WRITE_TIMEOUT as LIMIT;

use crate::harness::Twin;
use crate::state::{self, Folder};
use crate::surface_kit::{Bench, Setup, body, request, status};

const CARD: &str = "device: {sd_card: {}}";

/// A client with little room of its own.
async fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(address).await.unwrap()
}

/// Asks on and on, reads nothing, and returns how that ended.
async fn ask_on(mut client: TcpStream, path: &str) -> io::ErrorKind {
    let requests = request("GET", path, "").repeat(64);
    let asking = async {
        loop {
            if let Err(error) = client.write_all(requests.as_bytes()).await {
                return error.kind();
            }
        }
    };
    timeout(3 * LIMIT, asking).await.expect("the connection is kept for ever")
}

async fn is_reset(address: SocketAddr, path: &str) {
    let began = Instant::now();
    assert_eq!(ask_on(connect(address).await, path).await, io::ErrorKind::ConnectionReset);
    let took = began.elapsed();
    assert!(took >= LIMIT && took < LIMIT + Duration::from_secs(1), "{path}: {took:?}");
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_is_reset_and_takes_no_place_any_more() {
    let bench = Bench::start(Setup::default()).await;
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let client = connect(bench.server.address()).await;
        asking.spawn(async move { ask_on(client, "/").await });
    }
    sleep(LIMIT / 2).await;
    assert_eq!(bench.server.connections(), 4);
    assert_eq!(asking.join_all().await, [io::ErrorKind::ConnectionReset; 4]);
    assert_eq!(bench.server.connections(), 0);
    assert_eq!(status(&bench.get("/").await), 200);
}

#[tokio::test(start_paused = true)]
async fn control_plane_and_targets_wait_no_longer() {
    let twin = Twin::start("http_targets: {bulb: {}}").await;
    is_reset(twin.control(), "/v1/state").await;
    is_reset(twin.target("bulb"), "/").await;
}

/// A house whose card holds a file of so many bytes.
async fn with_file(folder: &Folder, bytes: u64) -> Twin {
    let twin = state::start(CARD, folder).await.unwrap();
    let card = folder.0.join("A842E39F8124/sdcard");
    assert_eq!(twin.get("/sdcard/").await.status, 200, "the card is there");
    std::fs::File::create(card.join("big.bin")).unwrap().set_len(bytes).unwrap();
    twin
}

#[tokio::test(start_paused = true)]
async fn a_download_that_is_not_read_ends() {
    let folder = Folder::new();
    let twin = with_file(&folder, 16 << 20).await;
    let mut client = connect(twin.device()).await;
    client.write_all(request("GET", "/sdcard/big.bin", "").as_bytes()).await.unwrap();
    sleep(2 * LIMIT).await;
    let mut bytes = Vec::new();
    let error = timeout(LIMIT, client.read_to_end(&mut bytes)).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

/// The kernel lets the device write only where much room has come about: it has to be little enough.
#[tokio::test(start_paused = true)]
async fn a_download_that_is_read_slowly_comes_whole() {
    let folder = Folder::new();
    let size = 8 << 20;
    let twin = with_file(&folder, size).await;
    let mut client = TcpStream::connect(twin.device()).await.unwrap();
    client.write_all(request("GET", "/sdcard/big.bin", "").as_bytes()).await.unwrap();
    let (mut bytes, began) = (vec![0; 256 << 10], Instant::now());
    let mut left = usize::try_from(size).unwrap();
    while left > 0 {
        sleep(LIMIT.saturating_sub(Duration::from_secs(1))).await;
        let most = left.min(bytes.len());
        client.read_exact(&mut bytes[..most]).await.unwrap();
        left -= most;
    }
    assert!(began.elapsed() > 20 * LIMIT);
}

#[tokio::test(start_paused = true)]
async fn what_a_rule_holds_back_is_no_time_in_which_to_read() {
    let every = Duration::from_mins(1);
    let bench = Bench::with_fault(ApiEffect::Drip { bytes: 32, every }).await;
    let mut client = bench.connect().await;
    client.send(&request("GET", "/api/v1/actions", "")).await;
    for _ in 0..40 {
        sleep(2 * LIMIT).await;
        bench.clock.advance(every).await.unwrap();
    }
    let answer = client.response().await;
    assert_eq!(status(&answer), 200);
    assert!(body(&answer).len() > 10 * 32);
}
