//! The SD card: listing, download, delete, what leads off the card, and the log.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Answer, TestHouse, http, within};
use crate::state::{self, Folder};

const SECOND: Duration = Duration::from_secs(1);

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

/// The columns of the vendor's format, in order.
const HEADER: &str = "RID,TIME,MID,MSTAT,TARIFF,PF,EAP_T,EAP_T1,EAP_T2,EAN_T,EAN_T1,EAN_T2,ERP_T,ERP_T1,ERP_T2,ERN_T,ERN_T1,ERN_T2,ERII_T,ERII_T1,ERII_T2,ERIC_T,ERIC_T1,ERIC_T2,EREI_T,EREI_T1,EREI_T2,EREC_T,EREC_T1,EREC_T2,MDAP_T,MDAP_T1,MDAP_T2,MDAN_T,MDAN_T1,MDAN_T2,IPAP_T,IPAP_L1,IPAP_L2,IPAP_L3,IPAN_T,IPAN_L1,IPAN_L2,IPAN_L3,IPRP_T,IPRP_L1,IPRP_L2,IPRP_L3,IPRN_T,IPRN_L1,IPRN_L2,IPRN_L3,IPA_T,V_L1,V_L2,V_L3,I_L1,I_L2,I_L3,MIDENT,MMODEL,MIF,MPROT,RP";

async fn delete(twin: &TestHouse, path: &str) -> Answer {
    http(twin.device(), "DELETE", path, "").await
}

async fn names(twin: &TestHouse, path: &str) -> Vec<String> {
    let listing = twin.get(path).await.json();
    let files = listing["files"].as_array().unwrap();
    files.iter().map(|file| file["name"].as_str().unwrap().to_owned()).collect()
}

/// Switches the log on.
async fn log(twin: &TestHouse, frequency: u16) {
    let body = json!({"services": {"sd": {"enable": true, "frequency": frequency}}}).to_string();
    let answer = http(twin.device(), "PUT", "/api/v1/settings", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    twin.settle().await;
}

/// The rows of a file, behind its header.
async fn rows(twin: &TestHouse, file: &str) -> Vec<Vec<String>> {
    let answer = twin.get(&format!("/sdcard/{file}")).await;
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
async fn a_folder_is_listed() {
    let twin = TestHouse::start(CARD).await;
    for path in ["/sdcard", "/sdcard/"] {
        let answer = twin.get(path).await;
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
    let below = twin.get("/sdcard/SYSTEM%7E1/").await.json();
    assert_eq!(below["path"], "/sdcard/SYSTEM~1/");
    assert_eq!(names(&twin, "/sdcard/SYSTEM~1/").await, ["b", "logs"]);
    assert_eq!(names(&twin, "/sdcard/SYSTEM~1/logs/").await, ["a.csv"]);
}

#[tokio::test]
async fn a_file_comes_whole_with_the_type_of_its_extension() {
    let twin = TestHouse::start(CARD).await;
    for (path, kind, body) in [
        ("20250127.CSV", "text/csv", "RID\n1\n"),
        ("NIHAO.TXT", "text/plain", "ni hao, world"),
        ("page.html", "text/html", "<p>"),
        ("data.bin", "application/octet-stream", "x"),
        ("SYSTEM~1/b", "application/octet-stream", "b"),
        ("SYSTEM~1/logs/a.csv", "text/csv", "a"),
        ("empty.txt", "text/plain", ""),
    ] {
        let answer = twin.get(&format!("/sdcard/{path}")).await;
        assert_eq!((answer.status, answer.header("Content-Type")), (200, Some(kind)), "{path}");
        assert_eq!(answer.header("Content-Length"), Some(&*body.len().to_string()), "{path}");
        assert_eq!(answer.body, body, "{path}");
    }
    let request = "GET /sdcard/NIHAO.TXT HTTP/1.1\r\nHost: x\r\nRange: bytes=0-1\r\nConnection: close\r\n\r\n";
    let mut stream = TcpStream::connect(twin.device()).await.unwrap();
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
        let twin = TestHouse::start(&format!("device: {{firmware: {firmware}}}")).await;
        for path in ["/sdcard/nothing.csv", "/sdcard/nothing/", "/sdcard/no/thing"] {
            let answer = twin.get(path).await;
            assert_eq!((answer.status, answer.header("Content-Type")), (status, Some(kind)));
        }
        assert_eq!(delete(&twin, "/sdcard/nothing.csv").await.status, 404);
    }
    let twin = TestHouse::start(CARD).await;
    assert_eq!(twin.get("/sdcard/SYSTEM~1").await.status, 404, "a folder is no file");
    assert_eq!(twin.get("/sdcard/NIHAO.TXT/").await.status, 404, "a file is no folder");
}

#[tokio::test]
async fn files_and_folders_are_deleted() {
    let twin = TestHouse::start(CARD).await;
    let gone = delete(&twin, "/sdcard/NIHAO.TXT").await;
    assert_eq!((gone.status, gone.body.as_str()), (204, ""));
    assert_eq!(delete(&twin, "/sdcard/NIHAO.TXT").await.status, 404);
    assert_eq!(delete(&twin, "/sdcard/data.bin/").await.status, 404, "it is no folder");
    assert_eq!(delete(&twin, "/sdcard/SYSTEM~1").await.status, 404, "it is no file");
    assert_eq!(delete(&twin, "/sdcard/SYSTEM~1/logs").await.status, 404, "it is no file");
    assert_eq!(twin.get("/sdcard/SYSTEM~1/logs/a.csv").await.status, 200);
    assert_eq!(delete(&twin, "/sdcard/SYSTEM~1/").await.status, 204);
    assert_eq!(twin.get("/sdcard/SYSTEM~1/logs/a.csv").await.status, 404);
    assert_eq!(
        names(&twin, "/sdcard/").await,
        ["20250127.CSV", "data.bin", "empty.txt", "page.html"]
    );
    for root in ["/sdcard", "/sdcard/"] {
        assert_eq!(delete(&twin, root).await.status, 400);
    }
    twin.house.reset().await;
    assert_eq!(names(&twin, "/sdcard/").await.len(), 6, "a reset puts the card back");
}

// Ruling: SD-5.
#[tokio::test]
async fn a_card_on_disk_goes_by_the_slash_too() {
    let folder = Folder::new();
    let twin = state::start(CARD, &folder).await.unwrap();
    for wrong in ["/sdcard/SYSTEM~1", "/sdcard/SYSTEM~1/logs", "/sdcard/data.bin/"] {
        assert_eq!(delete(&twin, wrong).await.status, 404, "{wrong}");
    }
    assert_eq!(twin.get("/sdcard/SYSTEM~1/logs/a.csv").await.status, 200);
    assert_eq!(delete(&twin, "/sdcard/SYSTEM~1/logs/").await.status, 204);
    assert_eq!(delete(&twin, "/sdcard/data.bin").await.status, 204);
    assert_eq!(names(&twin, "/sdcard/SYSTEM~1/").await, ["b"]);
}

#[tokio::test]
async fn nothing_leads_off_the_card() {
    let folder = Folder::new();
    let twin = state::start(CARD, &folder).await.unwrap();
    std::fs::write(folder.0.join("secret"), "secret").unwrap();
    let before = names(&twin, "/sdcard/").await;
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
        let answer = twin.get(path).await;
        assert_eq!(answer.status, 400, "{path}: {}", answer.body);
        assert_eq!(answer.json()["error"], "invalid_path");
        assert_eq!(delete(&twin, path).await.status, 400, "{path}");
    }
    assert_eq!(twin.get("/sdcardx").await.status, 404);
    assert_eq!(names(&twin, "/sdcard/").await, before);
    assert!(folder.0.join("secret").exists());
}

#[cfg(unix)]
#[tokio::test]
async fn links_are_not_followed() {
    let folder = Folder::new();
    let twin = state::start(CARD, &folder).await.unwrap();
    assert_eq!(twin.get("/sdcard/NIHAO.TXT").await.status, 200);
    let (card, outside) = (folder.0.join("A842E39F8124/sdcard"), folder.0.join("outside"));
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret"), "secret").unwrap();
    std::os::unix::fs::symlink(&outside, card.join("link")).unwrap();
    std::os::unix::fs::symlink(outside.join("secret"), card.join("file")).unwrap();
    for path in ["/sdcard/link/", "/sdcard/link/secret", "/sdcard/file"] {
        assert_eq!(twin.get(path).await.status, 404, "{path}");
    }
    for path in ["/sdcard/link/secret", "/sdcard/link/", "/sdcard/file"] {
        assert_eq!(delete(&twin, path).await.status, 404, "{path}");
    }
    assert!(!names(&twin, "/sdcard/").await.iter().any(|name| name == "link" || name == "file"));
    assert!(outside.join("secret").exists());
}

#[tokio::test]
async fn without_a_card_everything_is_503() {
    let twin = TestHouse::start("device: {sd_card: false}").await;
    for path in ["/sdcard", "/sdcard/", "/sdcard/a.csv", "/sdcard/../a"] {
        assert_eq!(twin.get(path).await.status, 503, "{path}");
        assert_eq!(delete(&twin, path).await.status, 503, "{path}");
    }
    log(&twin, 1).await;
    twin.advance(10 * SECOND).await;
    assert_eq!(twin.get("/sdcard").await.status, 503);
}

#[tokio::test]
async fn the_card_is_under_authentication() {
    let twin = TestHouse::start(CARD).await;
    twin.protect("secret");
    for path in ["/sdcard/", "/sdcard/NIHAO.TXT", "/sdcard/../x"] {
        assert_eq!(twin.get(path).await.status, 401, "{path}");
        assert_eq!(delete(&twin, path).await.status, 401, "{path}");
    }
}

#[tokio::test]
async fn other_methods_are_405() {
    let twin = TestHouse::start(CARD).await;
    let answer = twin.post("/sdcard/new.txt", "text").await;
    assert_eq!((answer.status, answer.header("Allow")), (405, Some("GET, DELETE")));
}

// Ruling: SD-1.
#[tokio::test]
async fn a_row_comes_with_the_first_reading_after_the_set_time() {
    let twin = TestHouse::start(CARD).await;
    let device = twin.house.devices().next().unwrap().clone();
    twin.advance(10 * SECOND).await;
    log(&twin, 15).await;
    twin.advance(14 * SECOND).await;
    assert_eq!(twin.get("/sdcard/20260115.CSV").await.status, 404);
    twin.advance(52 * SECOND).await;
    let rows = rows(&twin, "20260115.CSV").await;
    assert!((3..=4).contains(&rows.len()), "{rows:?}");
    let ids: Vec<u64> = rows.iter().map(|row| row[0].parse().unwrap()).collect();
    for pair in ids.windows(2) {
        assert!((15..=16).contains(&(pair[1] - pair[0])), "one reading a second: {ids:?}");
    }
    // The newest row, against what every surface shows.
    twin.advance(Duration::ZERO).await;
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
async fn a_rows_numbers_are_those_of_its_reading() {
    let twin = TestHouse::start(CARD).await;
    let device = twin.house.devices().next().unwrap().clone();
    log(&twin, 1).await;
    twin.advance(30 * SECOND).await;
    let snapshot = device.snapshot();
    let reading = snapshot.reading().unwrap();
    let rows = rows(&twin, "20260115.CSV").await;
    let row = rows.iter().rev().find(|row| row[0] == reading.id.to_string()).unwrap();
    for quantity in wwsim::meter::Quantity::ALL {
        let shown = snapshot.value(*quantity).map_or_else(String::new, |value| value.to_string());
        assert_eq!(row[column(quantity.sd_column())], shown, "{quantity}");
    }
    let tariff = reading.tariff.map_or_else(String::new, |tariff| tariff.to_string());
    assert_eq!(row[column("TARIFF")], tariff);
}

// Ruling: SD-3.
#[tokio::test]
async fn the_file_changes_at_local_midnight() {
    let scenario =
        "clock: {start: 2026-01-15T23:59:30+01:00, speed: manual}\ndevice: {meter: {kind: ensor}}";
    let twin = TestHouse::start(scenario).await;
    log(&twin, 5).await;
    twin.advance(60 * SECOND).await;
    let (before, after) = (rows(&twin, "20260115.CSV").await, rows(&twin, "20260116.CSV").await);
    assert!(before.len() >= 4 && after.len() >= 4, "{} {}", before.len(), after.len());
    let last: u64 = before.last().unwrap()[0].parse().unwrap();
    let gap = after[0][0].parse::<u64>().unwrap() - last;
    assert!((5..=6).contains(&gap), "no row is lost at midnight: {gap}");
}

#[tokio::test]
async fn the_log_stops_and_goes_on_when_told_and_with_another_frequency() {
    let twin = TestHouse::start(CARD).await;
    log(&twin, 1).await;
    twin.advance(20 * SECOND).await;
    let fast = rows(&twin, "20260115.CSV").await.len();
    assert!(fast > 10);
    let off = json!({"services": {"sd": {"enable": false}}}).to_string();
    http(twin.device(), "PUT", "/api/v1/settings", &off).await;
    twin.advance(20 * SECOND).await;
    assert_eq!(rows(&twin, "20260115.CSV").await.len(), fast);
    log(&twin, 10).await;
    twin.advance(25 * SECOND).await;
    assert_eq!(rows(&twin, "20260115.CSV").await.len(), fast + 2);
}

// Ruling: SD-4.
#[tokio::test]
async fn the_listed_size_of_the_open_file_lags() {
    let twin = TestHouse::start(CARD).await;
    log(&twin, 1).await;
    twin.advance(30 * SECOND).await;
    let size = async |twin: &TestHouse| {
        let listing = twin.get("/sdcard/").await.json();
        let files = listing["files"].as_array().unwrap().clone();
        files.iter().find(|file| file["name"] == "20260115.CSV").unwrap()["size"].as_u64().unwrap()
    };
    let whole = twin.get("/sdcard/20260115.CSV").await.body.len() as u64;
    let listed = size(&twin).await;
    assert!(listed > 0 && listed < whole, "{listed} of {whole}");
    twin.advance(60 * SECOND).await;
    assert!(size(&twin).await > whole, "it catches up");
    let off = json!({"services": {"sd": {"enable": false}}}).to_string();
    http(twin.device(), "PUT", "/api/v1/settings", &off).await;
    twin.settle().await;
    assert_eq!(size(&twin).await, twin.get("/sdcard/20260115.CSV").await.body.len() as u64);
}

// Ruling: SD-6.
#[tokio::test]
async fn a_full_card_takes_no_more_rows_and_says_so_once() {
    let scenario = format!("clock: {{start: 2026-01-15T18:00:00+01:00, speed: manual}}\n{CARD}");
    let mut scenario = wwsim::scenario::load(&scenario, "test.yaml", None).unwrap();
    scenario.any_port();
    let card = scenario.devices[0].hardware.sd_card.as_mut().unwrap();
    card.size = 1;
    card.files.insert("NIHAO.TXT".into(), "y".repeat(1024 * 1024 - 1500).into());
    let twin = TestHouse { house: wwsim::house::House::start(scenario).await.unwrap() };
    log(&twin, 1).await;
    twin.advance(60 * SECOND).await;
    let written = rows(&twin, "20260115.CSV").await.len();
    assert!((1..5).contains(&written), "{written}");
    let told = |twin: &TestHouse| {
        let text = serde_json::to_string(&twin.journal()).unwrap();
        (text.matches("sd_not_written").count(), text.matches("sd_goes_on").count())
    };
    assert_eq!(told(&twin), (1, 0));
    assert_eq!(delete(&twin, "/sdcard/NIHAO.TXT").await.status, 204);
    twin.advance(10 * SECOND).await;
    assert!(rows(&twin, "20260115.CSV").await.len() > written);
    assert_eq!(told(&twin), (1, 1));
}

#[tokio::test]
async fn a_card_on_disk_outlives_the_process() {
    let folder = Folder::new();
    let twin = state::start(CARD, &folder).await.unwrap();
    log(&twin, 1).await;
    twin.advance(20 * SECOND).await;
    assert_eq!(delete(&twin, "/sdcard/NIHAO.TXT").await.status, 204);
    let before = twin.get("/sdcard/20260115.CSV").await.body;
    within(twin.house.stop()).await;
    let file = folder.0.join("A842E39F8124/sdcard/20260115.CSV");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), before);
    // A process that was killed within a row.
    std::fs::write(&file, format!("{before}12,\"20")).unwrap();

    let twin = state::start(CARD, &folder).await.unwrap();
    assert_eq!(twin.get("/sdcard/NIHAO.TXT").await.status, 404, "what was deleted stays so");
    twin.advance(5 * SECOND).await;
    let after = twin.get("/sdcard/20260115.CSV").await.body;
    let rest = after.strip_prefix(&format!("{before}12,\"20\n")).unwrap();
    assert!(rest.lines().count() >= 3 && rest.lines().all(|row| row.split(',').count() == 64));
    twin.house.reset().await;
    assert_eq!(twin.get("/sdcard/NIHAO.TXT").await.status, 200);
    assert_eq!(twin.get("/sdcard/20260115.CSV").await.status, 404);
}

#[tokio::test]
async fn a_large_file_streams_whole_from_memory_and_from_disk() {
    let folder = Folder::new();
    let line = "0123456789abcdef".repeat(64) + "\n";
    let text = line.repeat(700);
    let scenario = format!("device: {{sd_card: {{files: {{big.txt: {}}}}}}}", json!(text));
    for twin in [TestHouse::start(&scenario).await, state::start(&scenario, &folder).await.unwrap()]
    {
        let answer = twin.get("/sdcard/big.txt").await;
        assert_eq!(answer.header("Content-Length"), Some(&*text.len().to_string()));
        assert_eq!(answer.body.len(), text.len());
        assert!(answer.body == text, "it comes as it is");
        // Who leaves in the middle leaves nothing behind.
        let mut stream = TcpStream::connect(twin.device()).await.unwrap();
        stream.write_all(b"GET /sdcard/big.txt HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        within(stream.read_u8()).await.unwrap();
        drop(stream);
        within(twin.house.stop()).await;
    }
}

#[tokio::test]
async fn of_a_download_that_nobody_reads_a_reset_leaves_nothing() {
    let folder = Folder::new();
    let twin = state::start(CARD, &folder).await.unwrap();
    let card = folder.0.join("A842E39F8124/sdcard");
    assert_eq!(twin.get("/sdcard/").await.status, 200, "the card is there");
    // More than all buffers on the way hold.
    std::fs::File::create(card.join("big.bin")).unwrap().set_len(64 << 20).unwrap();
    let device = Arc::clone(twin.house.devices().next().unwrap());
    twin.settle().await;
    let before = Arc::strong_count(&device);
    let mut stream = TcpStream::connect(twin.device()).await.unwrap();
    stream.write_all(b"GET /sdcard/big.bin HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    within(stream.read_u8()).await.unwrap();
    assert_eq!(Arc::strong_count(&device), before + 1, "what feeds it");
    twin.house.reset().await;
    assert_eq!(Arc::strong_count(&device), before);
}

/// A house whose device has the meter's power alone.
async fn on_the_meters_power(yaml: &str) -> TestHouse {
    let yaml = format!("clock: {{start: 2026-01-15T18:00:00+01:00, speed: manual}}\n{yaml}");
    let mut scenario = wwsim::scenario::load(&yaml, "test.yaml", None).unwrap();
    scenario.any_port();
    scenario.devices[0].site.usb = false;
    TestHouse { house: wwsim::house::House::start(scenario).await.unwrap() }
}

// Ruling: POWER-3.
#[tokio::test]
async fn downloads_on_the_meters_power_drain_the_device_until_it_reboots() {
    let text = "0123456789abcdef".repeat(64 * 1024 / 16);
    let card = |size: usize| json!({"files": {"big.txt": text.repeat(size)}});
    let scenario = |size: usize| format!("device: {{power_model: true, sd_card: {}}}", card(size));
    // 256 KiB cost 0.55 V of the 0.56 there are.
    let twin = on_the_meters_power(&scenario(4)).await;
    let device = twin.house.devices().next().unwrap().clone();
    assert_eq!(device.supercapacitor_volts(), Some(3.76));
    assert_eq!(twin.get("/sdcard/big.txt").await.body.len(), 4 * 64 * 1024);
    twin.settle().await;
    let low = device.supercapacitor_volts().unwrap();
    assert!((3.2..3.3).contains(&low), "{low}");
    let shown = device.plug_voltages(&device.snapshot()).scap.to_f64();
    assert!((shown - low).abs() < 0.0006, "{shown} is {low} to the millivolt");
    twin.advance(60 * SECOND).await;
    assert_eq!(device.supercapacitor_volts(), Some(3.76), "the plug fills it again");
    assert_eq!(device.view().boot.ordinal, 0);

    let twin = on_the_meters_power(&scenario(12)).await;
    let device = twin.house.devices().next().unwrap().clone();
    let mut stream = TcpStream::connect(twin.device()).await.unwrap();
    stream.write_all(b"GET /sdcard/big.txt HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut received = Vec::new();
    let _ = within(stream.read_to_end(&mut received)).await;
    assert!(received.len() < 12 * 64 * 1024, "it broke off: {}", received.len());
    twin.advance(3 * SECOND).await;
    assert_eq!(device.view().boot.ordinal, 1);
    let told = serde_json::to_string(&twin.journal()).unwrap();
    assert!(told.contains("supercapacitor empty"), "{told}");

    let usb = TestHouse::start(&scenario(12)).await;
    assert_eq!(usb.get("/sdcard/big.txt").await.body.len(), 12 * 64 * 1024);
    usb.settle().await;
    let device = usb.house.devices().next().unwrap();
    assert_eq!((device.supercapacitor_volts(), device.view().boot.ordinal), (None, 0));
}

// Ruling: SD-7.
#[tokio::test]
async fn in_recorder_mode_on_the_meters_power_a_device_only_records() {
    let twin = on_the_meters_power("device: {meter: {kind: ensor}}").await;
    let device = twin.house.devices().next().unwrap().clone();
    let body = json!({"services": {"sd": {"enable": true, "frequency": 1, "recorder_mode": true}}});
    let answer = http(twin.device(), "PUT", "/api/v1/settings", &body.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(!device.is_offline(), "it begins with the next start");
    assert_eq!(twin.post("/api/v1/reboot", "").await.status, 204);
    twin.advance(30 * SECOND).await;
    assert!(device.is_offline());
    let refused = TcpStream::connect(twin.device()).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    let path = wwsim::device::sd::SdPath::parse("/20260115.CSV").unwrap();
    let logged = device.sd().unwrap().read(&path).await.unwrap();
    assert!(logged.size > 1000, "{}", logged.size);
    twin.house.reset().await;
    assert_eq!(twin.get("/").await.status, 200, "a reset takes it back");
}

#[tokio::test]
async fn who_only_records_from_the_start_never_answers() {
    let yaml = "clock: {start: 2026-01-15T18:00:00+01:00, speed: manual}\ndevice: {}";
    let mut scenario = wwsim::scenario::load(yaml, "test.yaml", None).unwrap();
    scenario.any_port();
    let plan = &mut scenario.devices[0];
    plan.site.usb = false;
    std::sync::Arc::make_mut(&mut plan.config).settings.services.sd.recorder_mode = true;
    let twin = TestHouse { house: wwsim::house::House::start(scenario).await.unwrap() };
    // Without a turn for any task of the house.
    let refused = || std::net::TcpStream::connect(twin.device()).unwrap_err().kind();
    assert_eq!(refused(), std::io::ErrorKind::ConnectionRefused);
    twin.settle().await;
    assert_eq!(refused(), std::io::ErrorKind::ConnectionRefused);
    twin.house.reset().await;
    assert_eq!(refused(), std::io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_card_that_is_written_badly_in_a_scenario_is_refused_in_its_place() {
    let load =
        |yaml: &str| wwsim::scenario::load(yaml, "house.yaml", None).unwrap_err().to_string();
    let slash = load("device: {sd_card: {files: {../x: a}}}");
    assert!(slash.contains("`../x` is no path of a file on the card"), "{slash}");
    let both = load("device: {sd_card: {files: {a: x, a/b: y}}}");
    assert!(both.contains("`a` is a file and a folder"), "{both}");
    let word = load("device: {sd_card: nothing}");
    assert!(word.contains("device.sd_card"), "{word}");
}
