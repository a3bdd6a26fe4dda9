//! The corrected time of a reading is the same on every surface.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_modbus::client::tcp::connect;
use tokio_modbus::prelude::Reader as _;
use wwsim::device::CivilTime;

use crate::mqtt_broker::{Subscriber, broker, unique_topic};
use crate::mqtt_settings::MQTT;
use crate::support::house::{TestHouse, within};

const TIMES: &str = "${timestamp}|${meter.date_time}|${meter.date_time_local}";
const MAP: &str = r#"[{"start_address": 0, "registers": [
    {"id": "report.timestamp", "type": "int"}, {"id": "report.date_time"}]}]"#;

async fn start_house(topic: &str) -> TestHouse {
    let house = TestHouse::start(&format!(
        "mqtt_brokers: {{lab: {{address: '{}', hosts: [broker.example.com]}}}}\n\
         device: {{meter: {{kind: ensor}}, sd_card: {{}}, settings: {{services: {{\
         report_interval: 1, sd: {{enable: true, frequency: 1}}, modbus: {{enable: true}}}}}}}}",
        broker().await.open
    ))
    .await;
    assert_eq!(house.post("/api/v1/modbus", MAP).await.status, 200);
    let settings = json!({
        "enable": true,
        "url": "mqtt://broker.example.com",
        "client_id": topic.replace('/', "-"),
        "publish": {"topic": topic, "template": TIMES},
    });
    house.set("PUT", MQTT, &settings).await;
    house.settle().await;
    house
}

/// Subscribes to the live stream, and returns a future of the data of its next event.
pub(crate) async fn next_live_event(house: &TestHouse) -> impl Future<Output = String> {
    let mut stream = BufReader::new(TcpStream::connect(house.api_address()).await.unwrap());
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

/// Reads the registers of [`MAP`].
async fn registers(house: &TestHouse) -> Vec<u16> {
    let mut client = connect(house.addresses().devices[0].modbus.unwrap()).await.unwrap();
    within(client.read_input_registers(0, 6)).await.unwrap().unwrap()
}

/// Advances to the next reading, and checks its time on every surface.
async fn assert_time_everywhere(
    house: &TestHouse,
    messages: &mut Subscriber,
    expected: impl Fn(&TestHouse) -> Timestamp,
) {
    let device = house.device();
    let live = next_live_event(house).await;
    house.advance(device.next_reading().unwrap().since(house.clock().now())).await;
    let time = CivilTime::new(expected(house));
    let (date_time, local) = (time.date_time().to_string(), time.date_time_local().to_string());
    let second = time.timestamp().as_second();

    let report = house.get("/api/v1/report").await.json()["report"].clone();
    assert_eq!(
        [&report["date_time"], &report["date_time_local"], &report["date_time_utc"]],
        [&date_time, &local, &time.date_time_utc().to_string()]
    );
    let event: Value = serde_json::from_str(&live.await).unwrap();
    assert_eq!(
        (&event["Date"], &event["Time"]),
        (&json!(date_time[..10]), &json!(date_time[11..19]))
    );
    let system = house.get("/api/v1/system").await.json()["meter"].clone();
    assert_eq!((&system["date"], &system["time"]), (&event["Date"], &event["Time"]));

    let words = registers(house).await;
    assert_eq!(i64::from(words[0]) << 16 | i64::from(words[1]), second);
    let date: Vec<u8> = words[2..].iter().flat_map(|word| word.to_be_bytes()).collect();
    let (at, year) = (time.local(), u16::from_be_bytes([date[0], date[1]]));
    let fields = [at.month(), at.day(), at.hour(), at.minute(), at.second(), 0];
    assert_eq!(
        (i32::from(year), &date[2..]),
        (at.year().into(), &fields.map(i8::unsigned_abs)[..])
    );

    let row = house.get("/sdcard/20260115.CSV").await.body;
    let newest: Vec<_> = row.lines().last().unwrap().split(',').collect();
    assert_eq!(newest[..2], [report["id"].to_string(), format!("\"{date_time}\"")]);
    let rendered = format!("{second}|{date_time}|{local}");
    assert_eq!(house.render(TIMES).await, rendered);
    assert_eq!(house.variable("timestamp").await, Some(second.to_string()));
    assert_eq!(messages.next().await, rendered);
}

// Ruling: METER-2.
#[tokio::test]
async fn a_clock_correction_applies_to_every_surface() {
    let topic = unique_topic();
    let mut messages = Subscriber::start(&topic).await;
    let house = start_house(&topic).await;
    let newest = |house: &TestHouse| house.device().snapshot().meter.reading;
    let by_meter = |house: &TestHouse| newest(house).unwrap().meter_time;
    assert_time_everywhere(&house, &mut messages, by_meter).await;
    house.set("PUT", "/api/v1/meter/settings", &json!({"time_offset": -3607})).await;
    assert_time_everywhere(&house, &mut messages, |house| {
        by_meter(house) - Duration::from_secs(3607)
    })
    .await;
    house.set("PUT", "/api/v1/meter/settings", &json!({"sync_time_offset_with_ntp": true})).await;
    assert_time_everywhere(&house, &mut messages, |house| {
        house.clock().civil(newest(house).unwrap().at)
    })
    .await;
}
