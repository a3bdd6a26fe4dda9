//! The time of a reading, corrected as the meter settings say, is one on every surface.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_modbus::client::tcp::connect;
use tokio_modbus::prelude::Reader as _;
use wwsim::device::CivilTime;

use crate::harness::{TestHouse, within};
use crate::mqtt_broker::{Subscriber, broker, topic};
use crate::mqtt_settings::MQTT;

const TIMES: &str = "${timestamp}|${meter.date_time}|${meter.date_time_local}";
const MAP: &str = r#"[{"start_address": 0, "registers": [
    {"id": "report.timestamp", "type": "int"}, {"id": "report.date_time"}]}]"#;

async fn house(topic: &str) -> TestHouse {
    let twin = TestHouse::start(&format!(
        "mqtt_brokers: {{lab: {{address: '{}', hosts: [broker.example.com]}}}}\n\
         device: {{meter: {{kind: ensor}}, sd_card: {{}}, settings: {{services: {{\
         report_interval: 1, sd: {{enable: true, frequency: 1}}, modbus: {{enable: true}}}}}}}}",
        broker().await.open
    ))
    .await;
    assert_eq!(twin.post("/api/v1/modbus", MAP).await.status, 200);
    let settings = json!({
        "enable": true,
        "url": "mqtt://broker.example.com",
        "client_id": topic.replace('/', "-"),
        "publish": {"topic": topic, "template": TIMES},
    });
    twin.set("PUT", MQTT, &settings).await;
    twin.settle().await;
    twin
}

/// Follows the live stream, and then waits for the data of its next event.
pub async fn follow(twin: &TestHouse) -> impl Future<Output = String> {
    let mut stream = BufReader::new(TcpStream::connect(twin.device()).await.unwrap());
    stream.write_all(b"GET /api/v1/live HTTP/1.1\r\nHost: device\r\n\r\n").await.unwrap();
    let mut lines = stream.lines();
    while !within(lines.next_line()).await.unwrap().expect("a head").is_empty() {}
    async move {
        loop {
            let line = within(lines.next_line()).await.unwrap().expect("the stream goes on");
            if let Some(data) = line.strip_prefix("data: ") {
                break data.to_owned();
            }
        }
    }
}

/// The registers of [`MAP`].
async fn registers(twin: &TestHouse) -> Vec<u16> {
    let mut client = connect(twin.house.addresses().devices[0].modbus).await.unwrap();
    within(client.read_input_registers(0, 6)).await.unwrap().unwrap()
}

/// Brings the next reading, and holds everything that shows its time against what it is to be.
async fn agrees(
    twin: &TestHouse,
    messages: &mut Subscriber,
    expected: impl Fn(&TestHouse) -> Timestamp,
) {
    let device = twin.house.devices().next().unwrap();
    let live = follow(twin).await;
    twin.advance(device.next_reading().unwrap().since(twin.house.clock().now())).await;
    let time = CivilTime::new(expected(twin));
    let (shown, local) = (time.date_time().to_string(), time.date_time_local().to_string());
    let second = time.timestamp().as_second();

    let report = twin.get("/api/v1/report").await.json()["report"].clone();
    assert_eq!(
        [&report["date_time"], &report["date_time_local"], &report["date_time_utc"]],
        [&shown, &local, &time.date_time_utc().to_string()]
    );
    let event: Value = serde_json::from_str(&live.await).unwrap();
    assert_eq!((&event["Date"], &event["Time"]), (&json!(shown[..10]), &json!(shown[11..19])));
    let system = twin.get("/api/v1/system").await.json()["meter"].clone();
    assert_eq!((&system["date"], &system["time"]), (&event["Date"], &event["Time"]));

    let words = registers(twin).await;
    assert_eq!(i64::from(words[0]) << 16 | i64::from(words[1]), second);
    let date: Vec<u8> = words[2..].iter().flat_map(|word| word.to_be_bytes()).collect();
    let (at, year) = (time.local(), u16::from_be_bytes([date[0], date[1]]));
    let fields = [at.month(), at.day(), at.hour(), at.minute(), at.second(), 0];
    assert_eq!(
        (i32::from(year), &date[2..]),
        (at.year().into(), &fields.map(i8::unsigned_abs)[..])
    );

    let row = twin.get("/sdcard/20260115.CSV").await.body;
    let newest: Vec<_> = row.lines().last().unwrap().split(',').collect();
    assert_eq!(newest[..2], [report["id"].to_string(), format!("\"{shown}\"")]);
    let rendered = format!("{second}|{shown}|{local}");
    assert_eq!(twin.render(TIMES).await, rendered);
    assert_eq!(twin.variable("timestamp").await, Some(second.to_string()));
    assert_eq!(messages.next().await, rendered);
}

// Ruling: METER-2.
#[tokio::test]
async fn a_corrected_clock_of_the_meter_is_corrected_everywhere() {
    let topic = topic();
    let mut messages = Subscriber::to(&topic).await;
    let twin = house(&topic).await;
    let newest = |twin: &TestHouse| twin.house.devices().next().unwrap().snapshot().meter.reading;
    let by_meter = |twin: &TestHouse| newest(twin).unwrap().meter_time;
    agrees(&twin, &mut messages, by_meter).await;
    twin.set("PUT", "/api/v1/meter/settings", &json!({"time_offset": -3607})).await;
    agrees(&twin, &mut messages, |twin| by_meter(twin) - Duration::from_secs(3607)).await;
    twin.set("PUT", "/api/v1/meter/settings", &json!({"sync_time_offset_with_ntp": true})).await;
    agrees(&twin, &mut messages, |twin| twin.house.clock().civil(newest(twin).unwrap().at)).await;
}
