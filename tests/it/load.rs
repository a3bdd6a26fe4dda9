//! Firmware uploads.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::state;
use crate::support::SECOND;
use crate::support::folder::Folder;
use crate::support::house::{Answer, TestHouse, hex, parse, within};

const IMAGE: &[u8] = b"hello image";

const KNOWN: &str = r"
device:
  images:
    - {md5: 00000000000000000000000000000000, name: upgrade.bin, firmware: 9.9.9}
    - {size: 12, firmware: 9.9.8}
    - {name: upgrade.bin, firmware: 2.8.2}
";

/// Returns a multipart form with one file.
fn form(field: &str, name: &str, image: &[u8]) -> Vec<u8> {
    let head = format!(
        "--XX\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"{name}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    );
    [head.as_bytes(), image, b"\r\n--XX--\r\n"].concat()
}

async fn send(house: &TestHouse, kind: &str, body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(house.api_address()).await.unwrap();
    let head = format!(
        "POST /load HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // The server may close the connection when it refuses the request early.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _ = within(stream.read_to_end(&mut answer)).await;
    parse(&String::from_utf8_lossy(&answer))
}

pub(crate) async fn upload(house: &TestHouse, name: &str, image: &[u8]) -> Answer {
    send(house, "multipart/form-data; boundary=XX", &form("file", name, image)).await
}

fn firmware(house: &TestHouse) -> String {
    house.device().view().firmware.to_string()
}

async fn is_up(house: &TestHouse) -> bool {
    TcpStream::connect(house.api_address()).await.is_ok()
}

#[tokio::test]
async fn a_known_image_runs_after_the_reboot() {
    let house = TestHouse::start(KNOWN).await;
    let answer = upload(&house, "upgrade.bin", IMAGE).await;
    assert_eq!((answer.status, answer.header("Content-Type")), (200, Some("text/plain")));
    assert!(answer.body.contains("11 bytes"), "{}", answer.body);
    house.settle().await;
    assert!(!is_up(&house).await, "the device reboots");
    assert_eq!(firmware(&house), "2.0.2");
    house.advance(3 * SECOND).await;
    assert_eq!(firmware(&house), "2.8.2");
    // The routes follow the firmware: a missing file is now a 500.
    assert_eq!(house.get("/sdcard/nothing").await.status, 500);
    house.reset().await;
    assert_eq!(firmware(&house), "2.0.2");
}

// Ruling: FIRMWARE-5.
#[tokio::test]
async fn an_unknown_image_reboots_the_device_without_change() {
    let house = TestHouse::start(KNOWN).await;
    assert_eq!(upload(&house, "other.BIN", IMAGE).await.status, 200);
    house.advance(3 * SECOND).await;
    assert_eq!(firmware(&house), "2.0.2");
    assert_eq!(house.device().view().boot.ordinal, 1);
}

// Ruling: FIRMWARE-5.
#[tokio::test]
async fn an_invalid_upload_is_refused_without_a_reboot() {
    let house = TestHouse::start(KNOWN).await;
    let multipart = "multipart/form-data; boundary=XX";
    let valid = form("file", "upgrade.bin", IMAGE);
    for (kind, body, status, error) in [
        ("application/octet-stream", IMAGE.to_vec(), 415, "unsupported_media_type"),
        ("application/json", b"{}".to_vec(), 415, "unsupported_media_type"),
        ("multipart/form-data", valid.clone(), 400, "missing_boundary"),
        (multipart, form("image", "upgrade.bin", IMAGE), 400, "missing_file"),
        (multipart, form("file", "upgrade.txt", IMAGE), 400, "invalid_file"),
        (multipart, form("file", "", IMAGE), 400, "invalid_file"),
        (multipart, form("file", "upgrade.bin", b""), 400, "invalid_file"),
        (multipart, valid[..valid.len() - 10].to_vec(), 400, "invalid_form"),
        (multipart, b"nothing of it".to_vec(), 400, "invalid_form"),
        (multipart, vec![b'x'; 1024 * 1024], 400, "invalid_form"),
        (multipart, [b"--XX\r\nX: ", &vec![b'x'; 1024 * 1024][..]].concat(), 400, "invalid_form"),
        (multipart, Vec::new(), 400, "invalid_form"),
    ] {
        let answer = send(&house, kind, &body).await;
        assert_eq!((answer.status, &answer.json()["error"]), (status, &error.into()), "{kind}");
    }
    house.settle().await;
    assert!(is_up(&house).await);
    assert_eq!(house.get("/load").await.header("Allow"), Some("POST"));
}

// Ruling: FIRMWARE-5.
#[tokio::test]
async fn an_image_is_at_most_4_mib() {
    let house = TestHouse::start(KNOWN).await;
    let largest = vec![7; 4 * 1024 * 1024];
    assert_eq!(upload(&house, "upgrade.bin", &largest).await.status, 200);
    house.advance(3 * SECOND).await;
    assert_eq!(firmware(&house), "2.8.2");
    let too_large = vec![7; 4 * 1024 * 1024 + 1];
    let answer = upload(&house, "upgrade.bin", &too_large).await;
    assert_eq!((answer.status, &answer.json()["error"]), (413, &"payload_too_large".into()));
    let mut stream = TcpStream::connect(house.api_address()).await.unwrap();
    let head = "POST /load HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=XX\r\nContent-Length: 99999999\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    within(stream.read_to_end(&mut answer)).await.unwrap();
    assert_eq!(parse(&String::from_utf8_lossy(&answer)).status, 413, "refused before the body");
}

/// Sends part headers and data in one write, on a connection with many pipelined requests.
#[tokio::test]
async fn an_upload_can_follow_pipelined_requests() {
    let house = TestHouse::start(KNOWN).await;
    let mut stream = TcpStream::connect(house.api_address()).await.unwrap();
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
async fn a_second_upload_at_the_same_time_is_refused() {
    let house = TestHouse::start(KNOWN).await;
    let mut first = TcpStream::connect(house.api_address()).await.unwrap();
    let body = form("file", "upgrade.bin", IMAGE);
    let head = format!(
        "POST /load HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=XX\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    first.write_all(&[head.as_bytes(), &body[..50]].concat()).await.unwrap();
    let answer = loop {
        let answer = send(&house, "multipart/form-data; boundary=XX", b"x").await;
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
async fn uploads_require_authentication() {
    let house = TestHouse::start(KNOWN).await;
    house.protect("secret");
    assert_eq!(upload(&house, "upgrade.bin", IMAGE).await.status, 401);
    house.settle().await;
    assert!(is_up(&house).await);
}

#[tokio::test]
async fn an_upload_survives_a_restart_once_it_is_answered() {
    let folder = Folder::new();
    let house = state::start(KNOWN, &folder).await.unwrap();
    assert_eq!(upload(&house, "upgrade.bin", IMAGE).await.status, 200);
    within(house.house.stop()).await;
    let house = state::start(KNOWN, &folder).await.unwrap();
    assert_eq!(firmware(&house), "2.8.2");
}

#[tokio::test]
async fn an_image_can_be_identified_by_its_md5_sum() {
    use md5::{Digest, Md5};
    let sum: String = hex(&Md5::digest(IMAGE));
    let house = TestHouse::start(&format!(
        "device: {{images: [{{md5: {sum}, size: 11, firmware: 1.10.0}}]}}"
    ))
    .await;
    assert_eq!(upload(&house, "any.bin", b"hello imag!").await.status, 200);
    house.advance(3 * SECOND).await;
    assert_eq!(firmware(&house), "2.0.2");
    assert_eq!(upload(&house, "any.bin", IMAGE).await.status, 200);
    house.advance(3 * SECOND).await;
    assert_eq!(firmware(&house), "1.10.0");
    let load = |yaml: &str| wwsim::scenario::load(yaml, "a.yaml", None).unwrap_err().to_string();
    assert!(load("device: {images: [{firmware: 2.0.2}]}").contains("nothing tells this image"));
    assert!(
        load("device: {images: [{md5: xyz, firmware: 2.0.2}]}").contains("`xyz` is no MD5 sum")
    );
}
