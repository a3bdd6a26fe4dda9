//! The SD card: listing, download, deletion, invalid paths, and the log.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::state;
use crate::support::SECOND;
use crate::support::folder::Folder;
use crate::support::house::{Answer, TestHouse, http, within};

const CARD: &str = r#"
device:
  meter: {kind: ensor}
  sd_card:
    size: 64
    files:
      NIHAO.TXT: "ni hao, world"
      20250127.CSV: "RID\n1\n"
      data.bin: "x"
      page.html: "<p>"
      empty.txt: ""
      SYSTEM~1/logs/a.csv: "a"
      SYSTEM~1/b: "b"
"#;

/// The header of the vendor's format.
const HEADER: &str = "RID,TIME,MID,MSTAT,TARIFF,PF,EAP_T,EAP_T1,EAP_T2,EAN_T,EAN_T1,EAN_T2,ERP_T,ERP_T1,ERP_T2,ERN_T,ERN_T1,ERN_T2,ERII_T,ERII_T1,ERII_T2,ERIC_T,ERIC_T1,ERIC_T2,EREI_T,EREI_T1,EREI_T2,EREC_T,EREC_T1,EREC_T2,MDAP_T,MDAP_T1,MDAP_T2,MDAN_T,MDAN_T1,MDAN_T2,IPAP_T,IPAP_L1,IPAP_L2,IPAP_L3,IPAN_T,IPAN_L1,IPAN_L2,IPAN_L3,IPRP_T,IPRP_L1,IPRP_L2,IPRP_L3,IPRN_T,IPRN_L1,IPRN_L2,IPRN_L3,IPA_T,V_L1,V_L2,V_L3,I_L1,I_L2,I_L3,MIDENT,MMODEL,MIF,MPROT,RP";

async fn delete(house: &TestHouse, path: &str) -> Answer {
    http(house.api_address(), "DELETE", path, "").await
}

async fn names(house: &TestHouse, path: &str) -> Vec<String> {
    let listing = house.get(path).await.json();
    let files = listing["files"].as_array().unwrap();
    files.iter().map(|file| file["name"].as_str().unwrap().to_owned()).collect()
}

/// Enables the log.
async fn enable_log(house: &TestHouse, frequency: u16) {
    let body = json!({"services": {"sd": {"enable": true, "frequency": frequency}}}).to_string();
    let answer = http(house.api_address(), "PUT", "/api/v1/settings", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    house.settle().await;
}

/// Returns the rows of a file after its header.
async fn rows(house: &TestHouse, file: &str) -> Vec<Vec<String>> {
    let answer = house.get(&format!("/sdcard/{file}")).await;
    assert_eq!((answer.status, answer.header("Content-Type")), (200, Some("text/csv")));
    let mut lines = answer.body.lines();
    assert_eq!(lines.next(), Some(HEADER));
    assert!(answer.body.ends_with('\n'));
    lines.map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

fn column(name: &str) -> usize {
    HEADER.split(',').position(|column| column == name).unwrap()
}

#[tokio::test]
async fn a_folder_lists_its_files_and_folders() {
    let house = TestHouse::start(CARD).await;
    for path in ["/sdcard", "/sdcard/"] {
        let answer = house.get(path).await;
        assert_eq!(answer.header("Content-Type"), Some("application/json; charset=utf-8"));
        let listing = answer.json();
        assert_eq!(listing["path"], "/sdcard/");
        let file = |name: &str| {
            let files = listing["files"].as_array().unwrap();
            files.iter().find(|file| file["name"] == name).unwrap().clone()
        };
        assert_eq!(file("NIHAO.TXT"), json!({"name": "NIHAO.TXT", "size": 13, "type": "file"}));
        assert_eq!(file("SYSTEM~1"), json!({"name": "SYSTEM~1", "size": 0, "type": "dir"}));
    }
    let below = house.get("/sdcard/SYSTEM%7E1/").await.json();
    assert_eq!(below["path"], "/sdcard/SYSTEM~1/");
    assert_eq!(names(&house, "/sdcard/SYSTEM~1/").await, ["b", "logs"]);
    assert_eq!(names(&house, "/sdcard/SYSTEM~1/logs/").await, ["a.csv"]);
}

#[tokio::test]
async fn a_download_has_the_whole_file_and_the_type_of_its_extension() {
    let house = TestHouse::start(CARD).await;
    for (path, kind, body) in [
        ("20250127.CSV", "text/csv", "RID\n1\n"),
        ("NIHAO.TXT", "text/plain", "ni hao, world"),
        ("page.html", "text/html", "<p>"),
        ("data.bin", "application/octet-stream", "x"),
        ("SYSTEM~1/b", "application/octet-stream", "b"),
        ("SYSTEM~1/logs/a.csv", "text/csv", "a"),
        ("empty.txt", "text/plain", ""),
    ] {
        let answer = house.get(&format!("/sdcard/{path}")).await;
        assert_eq!((answer.status, answer.header("Content-Type")), (200, Some(kind)), "{path}");
        assert_eq!(answer.header("Content-Length"), Some(&*body.len().to_string()), "{path}");
        assert_eq!(answer.body, body, "{path}");
    }
    let request = "GET /sdcard/NIHAO.TXT HTTP/1.1\r\nHost: x\r\nRange: bytes=0-1\r\nConnection: close\r\n\r\n";
    let mut stream = TcpStream::connect(house.api_address()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ni hao, world"), "{answer}");
}

// Ruling: FIRMWARE-1.
#[tokio::test]
async fn a_missing_file_is_404_or_500_by_firmware() {
    for (firmware, status, kind) in
        [("2.0.2", 404, "application/json; charset=utf-8"), ("2.8.2", 500, "text/plain")]
    {
        let house = TestHouse::start(&format!("device: {{firmware: {firmware}}}")).await;
        for path in ["/sdcard/nothing.csv", "/sdcard/nothing/", "/sdcard/no/thing"] {
            let answer = house.get(path).await;
            assert_eq!((answer.status, answer.header("Content-Type")), (status, Some(kind)));
        }
        assert_eq!(delete(&house, "/sdcard/nothing.csv").await.status, 404);
    }
    let house = TestHouse::start(CARD).await;
    assert_eq!(house.get("/sdcard/SYSTEM~1").await.status, 404, "a folder is no file");
    assert_eq!(house.get("/sdcard/NIHAO.TXT/").await.status, 404, "a file is no folder");
}

#[tokio::test]
async fn files_and_folders_can_be_deleted() {
    let house = TestHouse::start(CARD).await;
    let deleted = delete(&house, "/sdcard/NIHAO.TXT").await;
    assert_eq!((deleted.status, deleted.body.as_str()), (204, ""));
    assert_eq!(delete(&house, "/sdcard/NIHAO.TXT").await.status, 404);
    assert_eq!(delete(&house, "/sdcard/data.bin/").await.status, 404, "a file is no folder");
    assert_eq!(delete(&house, "/sdcard/SYSTEM~1").await.status, 404, "a folder is no file");
    assert_eq!(delete(&house, "/sdcard/SYSTEM~1/logs").await.status, 404, "a folder is no file");
    assert_eq!(house.get("/sdcard/SYSTEM~1/logs/a.csv").await.status, 200);
    assert_eq!(delete(&house, "/sdcard/SYSTEM~1/").await.status, 204);
    assert_eq!(house.get("/sdcard/SYSTEM~1/logs/a.csv").await.status, 404);
    assert_eq!(
        names(&house, "/sdcard/").await,
        ["20250127.CSV", "data.bin", "empty.txt", "page.html"]
    );
    for root in ["/sdcard", "/sdcard/"] {
        assert_eq!(delete(&house, root).await.status, 400);
    }
    house.reset().await;
    assert_eq!(names(&house, "/sdcard/").await.len(), 6, "a reset restores the card");
}

// Ruling: SD-5.
#[tokio::test]
async fn a_card_on_disk_distinguishes_files_and_folders_by_the_slash() {
    let folder = Folder::new();
    let house = state::start(CARD, &folder).await.unwrap();
    for path in ["/sdcard/SYSTEM~1", "/sdcard/SYSTEM~1/logs", "/sdcard/data.bin/"] {
        assert_eq!(delete(&house, path).await.status, 404, "{path}");
    }
    assert_eq!(house.get("/sdcard/SYSTEM~1/logs/a.csv").await.status, 200);
    assert_eq!(delete(&house, "/sdcard/SYSTEM~1/logs/").await.status, 204);
    assert_eq!(delete(&house, "/sdcard/data.bin").await.status, 204);
    assert_eq!(names(&house, "/sdcard/SYSTEM~1/").await, ["b"]);
}

#[tokio::test]
async fn no_path_leads_outside_the_card() {
    let folder = Folder::new();
    let house = state::start(CARD, &folder).await.unwrap();
    std::fs::write(folder.0.join("secret"), "secret").unwrap();
    let before = names(&house, "/sdcard/").await;
    for path in [
        "/sdcard/../device.json",
        "/sdcard/..",
        "/sdcard/%2e%2e/device.json",
        "/sdcard/..%2fdevice.json",
        "/sdcard/%2e%2e%2f%2e%2e%2fsecret",
        "/sdcard/SYSTEM~1/../..",
        "/sdcard/..%5c..%5csecret",
        "/sdcard/%00",
        "/sdcard/NIHAO.TXT%00.csv",
        "/sdcard//etc/passwd",
        "/sdcard/%2fetc%2fpasswd",
        "/sdcard/./NIHAO.TXT",
        "/sdcard/C:%5Cx",
        "/sdcard/%ff",
    ] {
        let answer = house.get(path).await;
        assert_eq!(answer.status, 400, "{path}: {}", answer.body);
        assert_eq!(answer.json()["error"], "invalid_path");
        assert_eq!(delete(&house, path).await.status, 400, "{path}");
    }
    assert_eq!(house.get("/sdcardx").await.status, 404);
    assert_eq!(names(&house, "/sdcard/").await, before);
    assert!(folder.0.join("secret").exists());
}

#[cfg(unix)]
#[tokio::test]
async fn links_are_not_followed() {
    let folder = Folder::new();
    let house = state::start(CARD, &folder).await.unwrap();
    assert_eq!(house.get("/sdcard/NIHAO.TXT").await.status, 200);
    let (card, outside) = (folder.0.join("A842E39F8124/sdcard"), folder.0.join("outside"));
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret"), "secret").unwrap();
    std::os::unix::fs::symlink(&outside, card.join("link")).unwrap();
    std::os::unix::fs::symlink(outside.join("secret"), card.join("file")).unwrap();
    for path in ["/sdcard/link/", "/sdcard/link/secret", "/sdcard/file"] {
        assert_eq!(house.get(path).await.status, 404, "{path}");
    }
    for path in ["/sdcard/link/secret", "/sdcard/link/", "/sdcard/file"] {
        assert_eq!(delete(&house, path).await.status, 404, "{path}");
    }
    assert!(!names(&house, "/sdcard/").await.iter().any(|name| name == "link" || name == "file"));
    assert!(outside.join("secret").exists());
}

#[tokio::test]
async fn without_a_card_every_request_is_503() {
    let house = TestHouse::start("device: {sd_card: false}").await;
    for path in ["/sdcard", "/sdcard/", "/sdcard/a.csv", "/sdcard/../a"] {
        assert_eq!(house.get(path).await.status, 503, "{path}");
        assert_eq!(delete(&house, path).await.status, 503, "{path}");
    }
    enable_log(&house, 1).await;
    house.advance(10 * SECOND).await;
    assert_eq!(house.get("/sdcard").await.status, 503);
}

#[tokio::test]
async fn the_card_requires_authentication() {
    let house = TestHouse::start(CARD).await;
    house.protect("secret");
    for path in ["/sdcard/", "/sdcard/NIHAO.TXT", "/sdcard/../x"] {
        assert_eq!(house.get(path).await.status, 401, "{path}");
        assert_eq!(delete(&house, path).await.status, 401, "{path}");
    }
}

#[tokio::test]
async fn the_card_allows_only_get_and_delete() {
    let house = TestHouse::start(CARD).await;
    let answer = house.post("/sdcard/new.txt", "text").await;
    assert_eq!((answer.status, answer.header("Allow")), (405, Some("GET, DELETE")));
}

// Ruling: SD-1.
#[tokio::test]
async fn a_row_is_written_at_the_first_reading_after_the_frequency() {
    let house = TestHouse::start(CARD).await;
    let device = house.device();
    house.advance(10 * SECOND).await;
    enable_log(&house, 15).await;
    house.advance(14 * SECOND).await;
    assert_eq!(house.get("/sdcard/20260115.CSV").await.status, 404);
    house.advance(52 * SECOND).await;
    let rows = rows(&house, "20260115.CSV").await;
    assert!((3..=4).contains(&rows.len()), "{rows:?}");
    let ids: Vec<u64> = rows.iter().map(|row| row[0].parse().unwrap()).collect();
    for pair in ids.windows(2) {
        assert!((15..=16).contains(&(pair[1] - pair[0])), "one reading a second: {ids:?}");
    }
    // Compares the newest row with the snapshot that every surface uses.
    house.advance(Duration::ZERO).await;
    let snapshot = device.snapshot();
    let (meter, row) = (snapshot.meter.meter.clone().unwrap(), rows.last().unwrap());
    assert_eq!(row.len(), 64);
    assert!(row[1].starts_with("\"2026-01-15T18:0") && row[1].ends_with("Z\""), "{}", row[1]);
    assert_eq!(row[2], format!("\"{}\"", meter.id));
    assert_eq!(row[3], "\"OK\"");
    assert_eq!(row[column("MIF")], "\"P1\"");
    assert_eq!(row[column("MPROT")], format!("\"{}\"", meter.protocol.as_str()));
    let interval: u64 = row[column("RP")].parse().unwrap();
    assert!((900..1100).contains(&interval), "milliseconds: {interval}");
}

#[tokio::test]
async fn the_numbers_of_a_row_are_those_of_its_reading() {
    let house = TestHouse::start(CARD).await;
    let device = house.device();
    enable_log(&house, 1).await;
    house.advance(30 * SECOND).await;
    let snapshot = device.snapshot();
    let reading = snapshot.reading().unwrap();
    let rows = rows(&house, "20260115.CSV").await;
    let row = rows.iter().rev().find(|row| row[0] == reading.id.to_string()).unwrap();
    for quantity in wwsim::meter::Quantity::ALL {
        let expected =
            snapshot.value(*quantity).map_or_else(String::new, |value| value.to_string());
        assert_eq!(row[column(quantity.sd_column())], expected, "{quantity}");
    }
    let tariff = reading.tariff.map_or_else(String::new, |tariff| tariff.to_string());
    assert_eq!(row[column("TARIFF")], tariff);
}

// Ruling: SD-3.
#[tokio::test]
async fn the_file_changes_at_local_midnight() {
    let scenario =
        "clock: {start: 2026-01-15T23:59:30+01:00, speed: manual}\ndevice: {meter: {kind: ensor}}";
    let house = TestHouse::start(scenario).await;
    enable_log(&house, 5).await;
    house.advance(60 * SECOND).await;
    let (before, after) = (rows(&house, "20260115.CSV").await, rows(&house, "20260116.CSV").await);
    assert!(before.len() >= 4 && after.len() >= 4, "{} {}", before.len(), after.len());
    let last: u64 = before.last().unwrap()[0].parse().unwrap();
    let gap = after[0][0].parse::<u64>().unwrap() - last;
    assert!((5..=6).contains(&gap), "no row is lost at midnight: {gap}");
}

#[tokio::test]
async fn the_log_can_be_disabled_and_enabled_with_another_frequency() {
    let house = TestHouse::start(CARD).await;
    enable_log(&house, 1).await;
    house.advance(20 * SECOND).await;
    let fast = rows(&house, "20260115.CSV").await.len();
    assert!(fast > 10);
    let off = json!({"services": {"sd": {"enable": false}}}).to_string();
    http(house.api_address(), "PUT", "/api/v1/settings", &off).await;
    house.advance(20 * SECOND).await;
    assert_eq!(rows(&house, "20260115.CSV").await.len(), fast);
    enable_log(&house, 10).await;
    house.advance(25 * SECOND).await;
    assert_eq!(rows(&house, "20260115.CSV").await.len(), fast + 2);
}

// Ruling: SD-4.
#[tokio::test]
async fn the_listed_size_of_the_log_file_lags() {
    let house = TestHouse::start(CARD).await;
    enable_log(&house, 1).await;
    house.advance(30 * SECOND).await;
    let size = async |house: &TestHouse| {
        let listing = house.get("/sdcard/").await.json();
        let files = listing["files"].as_array().unwrap().clone();
        files.iter().find(|file| file["name"] == "20260115.CSV").unwrap()["size"].as_u64().unwrap()
    };
    let size_now = house.get("/sdcard/20260115.CSV").await.body.len() as u64;
    let listed = size(&house).await;
    assert!(listed > 0 && listed < size_now, "{listed} of {size_now}");
    house.advance(60 * SECOND).await;
    assert!(size(&house).await > size_now, "the listing catches up");
    let off = json!({"services": {"sd": {"enable": false}}}).to_string();
    http(house.api_address(), "PUT", "/api/v1/settings", &off).await;
    // No settling: who has read the reply sees the real size.
    assert_eq!(size(&house).await, house.get("/sdcard/20260115.CSV").await.body.len() as u64);
}

// Ruling: SD-6.
#[tokio::test]
async fn a_full_card_drops_rows_and_records_that_once() {
    let card = CARD.replace("size: 64", "size: 1");
    let card = card.replace("ni hao, world", &"y".repeat(1024 * 1024 - 1500));
    let house = TestHouse::start(&card).await;
    enable_log(&house, 1).await;
    house.advance(60 * SECOND).await;
    let written = rows(&house, "20260115.CSV").await.len();
    assert!((1..5).contains(&written), "{written}");
    let events = |house: &TestHouse| {
        let text = serde_json::to_string(&house.journal_entries()).unwrap();
        (text.matches("sd_not_written").count(), text.matches("sd_goes_on").count())
    };
    assert_eq!(events(&house), (1, 0));
    assert_eq!(delete(&house, "/sdcard/NIHAO.TXT").await.status, 204);
    house.advance(10 * SECOND).await;
    assert!(rows(&house, "20260115.CSV").await.len() > written);
    assert_eq!(events(&house), (1, 1));
}

#[tokio::test]
async fn a_card_on_disk_survives_a_restart() {
    let folder = Folder::new();
    let house = state::start(CARD, &folder).await.unwrap();
    enable_log(&house, 1).await;
    house.advance(20 * SECOND).await;
    assert_eq!(delete(&house, "/sdcard/NIHAO.TXT").await.status, 204);
    let before = house.get("/sdcard/20260115.CSV").await.body;
    within(house.house.stop()).await;
    let file = folder.0.join("A842E39F8124/sdcard/20260115.CSV");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), before);
    // Simulates a process that was killed while it wrote a row.
    std::fs::write(&file, format!("{before}12,\"20")).unwrap();

    let house = state::start(CARD, &folder).await.unwrap();
    assert_eq!(house.get("/sdcard/NIHAO.TXT").await.status, 404, "a deleted file stays deleted");
    house.advance(5 * SECOND).await;
    let after = house.get("/sdcard/20260115.CSV").await.body;
    let rest = after.strip_prefix(&format!("{before}12,\"20\n")).unwrap();
    assert!(rest.lines().count() >= 3 && rest.lines().all(|row| row.split(',').count() == 64));
    house.reset().await;
    assert_eq!(house.get("/sdcard/NIHAO.TXT").await.status, 200);
    assert_eq!(house.get("/sdcard/20260115.CSV").await.status, 404);
}

#[tokio::test]
async fn a_large_file_is_streamed_from_memory_and_from_disk() {
    let folder = Folder::new();
    let line = "0123456789abcdef".repeat(64) + "\n";
    let text = line.repeat(700);
    let scenario = format!("device: {{sd_card: {{files: {{big.txt: {}}}}}}}", json!(text));
    for house in
        [TestHouse::start(&scenario).await, state::start(&scenario, &folder).await.unwrap()]
    {
        let answer = house.get("/sdcard/big.txt").await;
        assert_eq!(answer.header("Content-Length"), Some(&*text.len().to_string()));
        assert_eq!(answer.body.len(), text.len());
        assert!(answer.body == text, "the content is unchanged");
        // A client that disconnects during the download must not stop the house from stopping.
        let mut stream = TcpStream::connect(house.api_address()).await.unwrap();
        stream.write_all(b"GET /sdcard/big.txt HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        within(stream.read_u8()).await.unwrap();
        drop(stream);
        within(house.house.stop()).await;
    }
}

#[tokio::test]
async fn a_reset_ends_a_download_that_nobody_reads() {
    let folder = Folder::new();
    let house = state::start(CARD, &folder).await.unwrap();
    let card = folder.0.join("A842E39F8124/sdcard");
    assert_eq!(house.get("/sdcard/").await.status, 200, "the card exists");
    // Larger than all buffers between server and client.
    std::fs::File::create(card.join("big.bin")).unwrap().set_len(64 << 20).unwrap();
    let device = Arc::clone(&house.device());
    house.settle().await;
    let before = Arc::strong_count(&device);
    let mut stream = TcpStream::connect(house.api_address()).await.unwrap();
    stream.write_all(b"GET /sdcard/big.bin HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    within(stream.read_u8()).await.unwrap();
    assert_eq!(
        Arc::strong_count(&device),
        before + 1,
        "the download holds a reference to the device"
    );
    house.reset().await;
    assert_eq!(Arc::strong_count(&device), before);
}

// Ruling: POWER-3.
#[tokio::test]
async fn downloads_on_meter_power_drain_the_device_until_it_reboots() {
    let text = "0123456789abcdef".repeat(64 * 1024 / 16);
    let card = |size: usize| json!({"files": {"big.txt": text.repeat(size)}});
    let scenario = |usb: bool, size: usize| {
        format!("device: {{power_model: true, power: {{usb: {usb}}}, sd_card: {}}}", card(size))
    };
    // 256 KiB use 0.55 V of the available 0.56 V.
    let house = TestHouse::start(&scenario(false, 4)).await;
    let device = house.device();
    assert_eq!(device.supercapacitor_volts(), Some(3.76));
    assert_eq!(house.get("/sdcard/big.txt").await.body.len(), 4 * 64 * 1024);
    house.settle().await;
    let low = device.supercapacitor_volts().unwrap();
    assert!((3.2..3.3).contains(&low), "{low}");
    let voltage = device.plug_voltages(&device.snapshot(), Some(low)).scap.to_f64();
    assert!((voltage - low).abs() < 0.0006, "{voltage} is {low} to the millivolt");
    house.advance(60 * SECOND).await;
    assert_eq!(device.supercapacitor_volts(), Some(3.76), "the plug charges the capacitor again");
    assert_eq!(device.view().boot.ordinal, 0);

    let house = TestHouse::start(&scenario(false, 12)).await;
    let device = house.device();
    let mut stream = TcpStream::connect(house.api_address()).await.unwrap();
    stream.write_all(b"GET /sdcard/big.txt HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut received = Vec::new();
    let _ = within(stream.read_to_end(&mut received)).await;
    assert!(received.len() < 12 * 64 * 1024, "the download ended early: {}", received.len());
    house.advance(3 * SECOND).await;
    assert_eq!(device.view().boot.ordinal, 1);
    let journal = serde_json::to_string(&house.journal_entries()).unwrap();
    assert!(journal.contains("supercapacitor empty"), "{journal}");

    let usb = TestHouse::start(&scenario(true, 12)).await;
    assert_eq!(usb.get("/sdcard/big.txt").await.body.len(), 12 * 64 * 1024);
    usb.settle().await;
    let device = usb.device();
    assert_eq!((device.supercapacitor_volts(), device.view().boot.ordinal), (None, 0));
}

// Ruling: SD-7.
#[tokio::test]
async fn recorder_mode_on_meter_power_turns_the_network_off() {
    let house = TestHouse::start("device: {power: {usb: false}, meter: {kind: ensor}}").await;
    let device = house.device();
    let body = json!({"services": {"sd": {"enable": true, "frequency": 1, "recorder_mode": true}}});
    let answer = http(house.api_address(), "PUT", "/api/v1/settings", &body.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(!device.is_offline(), "the mode begins with the next boot");
    assert_eq!(house.post("/api/v1/reboot", "").await.status, 204);
    house.advance(30 * SECOND).await;
    assert!(device.is_offline());
    let refused = TcpStream::connect(house.api_address()).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    let logged = device.sd_file("/20260115.CSV").await.unwrap().len();
    assert!(logged > 1000, "{logged}");
    house.reset().await;
    assert_eq!(house.get("/").await.status, 200, "a reset ends the mode");
}

#[tokio::test]
async fn a_device_that_starts_in_recorder_mode_never_answers() {
    let recorder = "settings: {services: {sd: {recorder_mode: true}}}";
    let house = TestHouse::start(&format!("device: {{power: {{usb: false}}, {recorder}}}")).await;
    // A blocking connect, so that no task of the house runs before it.
    let refused = || std::net::TcpStream::connect(house.api_address()).unwrap_err().kind();
    assert_eq!(refused(), std::io::ErrorKind::ConnectionRefused);
    house.settle().await;
    assert_eq!(refused(), std::io::ErrorKind::ConnectionRefused);
    house.reset().await;
    assert_eq!(refused(), std::io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn an_invalid_card_in_a_scenario_is_refused() {
    let load =
        |yaml: &str| wwsim::scenario::load(yaml, "house.yaml", None).unwrap_err().to_string();
    let slash = load("device: {sd_card: {files: {../x: a}}}");
    assert!(slash.contains("`../x` is no path of a file on the card"), "{slash}");
    let both = load("device: {sd_card: {files: {a: x, a/b: y}}}");
    assert!(both.contains("`a` is a file and a folder"), "{both}");
    let word = load("device: {sd_card: nothing}");
    assert!(word.contains("device.sd_card"), "{word}");
}
