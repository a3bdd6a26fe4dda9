//! Firmware uploads.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Answer, TestHouse, hex, parse, within};
use crate::state::{self, Folder};

const SECOND: Duration = Duration::from_secs(1);
const IMAGE: &[u8] = b"hello image";

const KNOWN: &str = r"
device:
  images:
    - {md5: 00000000000000000000000000000000, name: upgrade.bin, firmware: 9.9.9}
    - {size: 12, firmware: 9.9.8}
    - {name: upgrade.bin, firmware: 2.8.2}
";

/// A form with one file in one field.
fn form(field: &str, name: &str, image: &[u8]) -> Vec<u8> {
    let head = format!(
        "--XX\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"{name}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    );
    [head.as_bytes(), image, b"\r\n--XX--\r\n"].concat()
}

async fn send(twin: &TestHouse, kind: &str, body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(twin.device()).await.unwrap();
    let head = format!(
        "POST /load HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // Who is refused early may see the other side close.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _ = within(stream.read_to_end(&mut answer)).await;
    parse(&String::from_utf8_lossy(&answer))
}

pub async fn upload(twin: &TestHouse, name: &str, image: &[u8]) -> Answer {
    send(twin, "multipart/form-data; boundary=XX", &form("file", name, image)).await
}

fn firmware(twin: &TestHouse) -> String {
    twin.house.devices().next().unwrap().view().firmware.to_string()
}

async fn up(twin: &TestHouse) -> bool {
    TcpStream::connect(twin.device()).await.is_ok()
}

#[tokio::test]
async fn a_known_image_is_taken_and_runs_after_the_reboot() {
    let twin = TestHouse::start(KNOWN).await;
    let answer = upload(&twin, "upgrade.bin", IMAGE).await;
    assert_eq!((answer.status, answer.header("Content-Type")), (200, Some("text/plain")));
    assert!(answer.body.contains("11 bytes"), "{}", answer.body);
    twin.settle().await;
    assert!(!up(&twin).await, "it reboots");
    assert_eq!(firmware(&twin), "2.0.2");
    twin.advance(3 * SECOND).await;
    assert_eq!(firmware(&twin), "2.8.2");
    // Routes follow at once: a missing file is a 500 from there on.
    assert_eq!(twin.get("/sdcard/nothing").await.status, 500);
    twin.house.reset().await;
    assert_eq!(firmware(&twin), "2.0.2");
}

// Ruling: FIRMWARE-5.
#[tokio::test]
async fn an_unknown_image_is_taken_and_changes_nothing() {
    let twin = TestHouse::start(KNOWN).await;
    assert_eq!(upload(&twin, "other.BIN", IMAGE).await.status, 200);
    twin.advance(3 * SECOND).await;
    assert_eq!(firmware(&twin), "2.0.2");
    assert_eq!(twin.house.devices().next().unwrap().view().boot.ordinal, 1);
}

// Ruling: FIRMWARE-5.
#[tokio::test]
async fn what_is_no_image_is_refused_and_nothing_reboots() {
    let twin = TestHouse::start(KNOWN).await;
    let multipart = "multipart/form-data; boundary=XX";
    let whole = form("file", "upgrade.bin", IMAGE);
    for (kind, body, status, error) in [
        ("application/octet-stream", IMAGE.to_vec(), 415, "unsupported_media_type"),
        ("application/json", b"{}".to_vec(), 415, "unsupported_media_type"),
        ("multipart/form-data", whole.clone(), 400, "missing_boundary"),
        (multipart, form("image", "upgrade.bin", IMAGE), 400, "missing_file"),
        (multipart, form("file", "upgrade.txt", IMAGE), 400, "invalid_file"),
        (multipart, form("file", "", IMAGE), 400, "invalid_file"),
        (multipart, form("file", "upgrade.bin", b""), 400, "invalid_file"),
        (multipart, whole[..whole.len() - 10].to_vec(), 400, "invalid_form"),
        (multipart, b"nothing of it".to_vec(), 400, "invalid_form"),
        (multipart, vec![b'x'; 1024 * 1024], 400, "invalid_form"),
        (multipart, [b"--XX\r\nX: ", &vec![b'x'; 1024 * 1024][..]].concat(), 400, "invalid_form"),
        (multipart, Vec::new(), 400, "invalid_form"),
    ] {
        let answer = send(&twin, kind, &body).await;
        assert_eq!((answer.status, &answer.json()["error"]), (status, &error.into()), "{kind}");
    }
    twin.settle().await;
    assert!(up(&twin).await);
    assert_eq!(twin.get("/load").await.header("Allow"), Some("POST"));
}

// Ruling: FIRMWARE-5.
#[tokio::test]
async fn an_image_is_at_most_4_mib() {
    let twin = TestHouse::start(KNOWN).await;
    let most = vec![7; 4 * 1024 * 1024];
    assert_eq!(upload(&twin, "upgrade.bin", &most).await.status, 200);
    twin.advance(3 * SECOND).await;
    assert_eq!(firmware(&twin), "2.8.2");
    let more = vec![7; 4 * 1024 * 1024 + 1];
    let answer = upload(&twin, "upgrade.bin", &more).await;
    assert_eq!((answer.status, &answer.json()["error"]), (413, &"payload_too_large".into()));
    let mut stream = TcpStream::connect(twin.device()).await.unwrap();
    let head = "POST /load HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=XX\r\nContent-Length: 99999999\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    within(stream.read_to_end(&mut answer)).await.unwrap();
    assert_eq!(parse(&String::from_utf8_lossy(&answer)).status, 413, "not even begun");
}

/// With its heads and its data in one piece, on a connection that has much to read.
#[tokio::test]
async fn an_image_may_come_right_behind_other_requests() {
    let twin = TestHouse::start(KNOWN).await;
    let mut stream = TcpStream::connect(twin.device()).await.unwrap();
    let image = form("file", "upgrade.bin", &vec![7; 200 * 1024]);
    let kind = "Content-Type: multipart/form-data; boundary=XX";
    let settings = format!("{{{}}}", " ".repeat(7 * 1024));
    let mut bytes = Vec::new();
    for _ in 0..20 {
        let length = settings.len();
        let head =
            format!("PUT /api/v1/settings HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
        bytes.extend_from_slice(head.as_bytes());
        bytes.extend_from_slice(settings.as_bytes());
    }
    let length = image.len();
    let head =
        format!("POST /load HTTP/1.1\r\nHost: x\r\n{kind}\r\nContent-Length: {length}\r\n\r\n");
    bytes.extend_from_slice(head.as_bytes());
    bytes.extend_from_slice(&image);
    stream.write_all(&bytes).await.unwrap();
    let mut answers = Vec::new();
    within(stream.read_to_end(&mut answers)).await.unwrap();
    let answers = String::from_utf8_lossy(&answers);
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 21, "{answers}");
}

// Ruling: FIRMWARE-6.
#[tokio::test]
async fn one_upload_at_a_time() {
    let twin = TestHouse::start(KNOWN).await;
    let mut first = TcpStream::connect(twin.device()).await.unwrap();
    let body = form("file", "upgrade.bin", IMAGE);
    let head = format!(
        "POST /load HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=XX\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    first.write_all(&[head.as_bytes(), &body[..50]].concat()).await.unwrap();
    let answer = loop {
        let answer = send(&twin, "multipart/form-data; boundary=XX", b"x").await;
        if answer.status == 503 {
            break answer;
        }
        assert_eq!(answer.status, 400);
    };
    assert_eq!(answer.json()["error"], "busy");
    first.write_all(&body[50..]).await.unwrap();
    let mut answer = Vec::new();
    within(first.read_to_end(&mut answer)).await.unwrap();
    assert_eq!(parse(&String::from_utf8_lossy(&answer)).status, 200);
}

#[tokio::test]
async fn uploads_are_under_authentication() {
    let twin = TestHouse::start(KNOWN).await;
    twin.protect("secret");
    assert_eq!(upload(&twin, "upgrade.bin", IMAGE).await.status, 401);
    twin.settle().await;
    assert!(up(&twin).await);
}

#[tokio::test]
async fn a_new_firmware_outlives_the_process_once_it_was_answered() {
    let folder = Folder::new();
    let twin = state::start(KNOWN, &folder).await.unwrap();
    assert_eq!(upload(&twin, "upgrade.bin", IMAGE).await.status, 200);
    within(twin.house.stop()).await;
    let twin = state::start(KNOWN, &folder).await.unwrap();
    assert_eq!(firmware(&twin), "2.8.2");
}

#[tokio::test]
async fn an_image_is_known_by_its_sum_too() {
    use md5::{Digest, Md5};
    let sum: String = hex(&Md5::digest(IMAGE));
    let twin = TestHouse::start(&format!(
        "device: {{images: [{{md5: {sum}, size: 11, firmware: 1.10.0}}]}}"
    ))
    .await;
    assert_eq!(upload(&twin, "any.bin", b"hello imag!").await.status, 200);
    twin.advance(3 * SECOND).await;
    assert_eq!(firmware(&twin), "2.0.2");
    assert_eq!(upload(&twin, "any.bin", IMAGE).await.status, 200);
    twin.advance(3 * SECOND).await;
    assert_eq!(firmware(&twin), "1.10.0");
    let load = |yaml: &str| wwsim::scenario::load(yaml, "a.yaml", None).unwrap_err().to_string();
    assert!(load("device: {images: [{firmware: 2.0.2}]}").contains("nothing tells this image"));
    assert!(
        load("device: {images: [{md5: xyz, firmware: 2.0.2}]}").contains("`xyz` is no MD5 sum")
    );
}
