//! The live stream at the socket, byte for byte, on a manual clock.

use std::time::Duration;

use bytes::Bytes;
use hyper::Request;
use tokio::io::AsyncReadExt;
use tokio::net::TcpSocket;
use wwsim::device::{Device, License};
use wwsim::fault::{Delay, Fault, LiveEffect, Trigger};
use wwsim::journal::{Event, JournalEntry};
use wwsim::limits::LIVE_GRACE;
use wwsim::meter::signal::SignalPlan;
use wwsim::meter::signal::plan::PvPlan;
use wwsim::meter::{MeterKind, MeterPlan, Quantity};
use wwsim::surface::http::HttpReply;

use crate::support::SECOND;
use crate::support::device::{Client, Setup, TestDevice, eventually, request, status, within};

const MINUTE: Duration = Duration::from_mins(1);

fn plan(kind: MeterKind) -> MeterPlan {
    MeterPlan { kind: Some(kind), ..MeterPlan::default() }
}

async fn start_device(kind: MeterKind) -> TestDevice {
    TestDevice::start(Setup { meter: plan(kind), ..Setup::default() }).await
}

/// A client of the live stream.
struct Live(Client);

impl Live {
    async fn connect(test: &TestDevice) -> Self {
        let mut client = test.connect().await;
        client.send(&request("GET", "/api/v1/live", "")).await;
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            head.push(char::from(within(client.0.read_u8()).await.unwrap()));
        }
        assert_eq!(
            head,
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
             X-Content-Type-Options: nosniff\r\nCache-Control: no-store, no-cache\r\n\
             Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        Self(client)
    }

    /// Returns the next chunk. `None` at the end of the stream.
    async fn chunk(&mut self) -> Option<String> {
        let mut size = String::new();
        while !size.ends_with("\r\n") {
            size.push(char::from(within(self.0.0.read_u8()).await.ok()?));
        }
        let size = usize::from_str_radix(size.trim_end(), 16).unwrap();
        let mut bytes = vec![0; size + 2];
        within(self.0.0.read_exact(&mut bytes)).await.unwrap();
        assert_eq!(bytes.split_off(size), *b"\r\n");
        (size > 0).then(|| String::from_utf8(bytes).unwrap())
    }

    /// Returns the data of the next event.
    async fn data(&mut self) -> String {
        let event = self.chunk().await.expect("the stream ended");
        let data = event.strip_prefix("event: live\ndata: ").unwrap();
        data.strip_suffix("\n\n").unwrap().to_owned()
    }

    /// Returns the data of the events that have arrived and were not read. After a movement of the clock,
    /// these are all that came in it.
    async fn arrived(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        while self.is_readable() {
            all.push(self.data().await);
        }
        all
    }

    fn is_readable(&self) -> bool {
        let mut byte = [0];
        let mut buffer = tokio::io::ReadBuf::new(&mut byte);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        self.0.0.poll_peek(&mut context, &mut buffer).is_ready() && !buffer.filled().is_empty()
    }
}

/// Returns a value of the newest reading, as the stream has to show it.
fn value(device: &Device, quantity: Quantity) -> String {
    device.snapshot().value(quantity).unwrap().to_string()
}

// Ruling: LIVE-1, LIVE-3.
#[tokio::test]
async fn a_reading_is_an_event_byte_for_byte() {
    use Quantity as Q;
    let test = start_device(MeterKind::Ensor).await;
    let mut live = Live::connect(&test).await;
    test.clock.advance(Duration::ZERO).await.unwrap();
    assert!(!live.is_readable(), "nothing before the first reading");
    let first = test.device.next_reading().unwrap();
    test.clock.advance(first.since_start()).await.unwrap();
    let snapshot = test.device.snapshot();
    let v = |quantity| value(&test.device, quantity);
    let expected = format!(
        "event: live\ndata: {{\"P_In\":{},\"P_Out\":{},\"P_P1_In\":{},\"P_P2_In\":{},\
         \"P_P3_In\":{},\"P_P1_Out\":{},\"P_P2_Out\":{},\"P_P3_Out\":{},\"I_P1\":{},\"I_P2\":{},\
         \"I_P3\":{},\"V_P1\":{},\"V_P2\":{},\"V_P3\":{},\"E_In\":{},\"E_In_T1\":{},\
         \"E_In_T2\":{},\"E_Out\":{},\"E_Out_T1\":{},\"E_Out_T2\":{},\"T\":{},\
         \"Vol\":[{{\"Bus\":1,\"M_ID\":\"{}\"}}],\"Date\":\"{}\",\"Time\":\"{}\",\
         \"Uptime\":0}}\n\n",
        v(Q::ImportPower),
        v(Q::ExportPower),
        v(Q::ImportPowerL1),
        v(Q::ImportPowerL2),
        v(Q::ImportPowerL3),
        v(Q::ExportPowerL1),
        v(Q::ExportPowerL2),
        v(Q::ExportPowerL3),
        v(Q::CurrentL1),
        v(Q::CurrentL2),
        v(Q::CurrentL3),
        v(Q::VoltageL1),
        v(Q::VoltageL2),
        v(Q::VoltageL3),
        v(Q::ActiveImportEnergy),
        v(Q::ActiveImportEnergyT1),
        v(Q::ActiveImportEnergyT2),
        v(Q::ActiveExportEnergy),
        v(Q::ActiveExportEnergyT1),
        v(Q::ActiveExportEnergyT2),
        snapshot.reading().unwrap().tariff.unwrap(),
        snapshot.reading().unwrap().volumes[0].meter_id,
        snapshot.meter_time().unwrap().date(),
        snapshot.meter_time().unwrap().time(),
    );
    assert_eq!(live.chunk().await.unwrap(), expected);
    assert!(!live.is_readable());
}

// Ruling: LIVE-2.
#[tokio::test]
async fn each_reading_is_sent_once_and_nothing_else() {
    let test = start_device(MeterKind::LandisGyr).await;
    let mut live = Live::connect(&test).await;
    test.clock.advance(MINUTE * 10).await.unwrap();
    let events = live.arrived().await;
    assert_eq!(events.len() as u64, test.device.snapshot().reading().unwrap().id);
    assert!(events.len() > 100, "{}", events.len());
    // A client does not get the reading that came before it.
    drop(live);
    let live = Live::connect(&test).await;
    test.clock.advance(Duration::ZERO).await.unwrap();
    assert!(!live.is_readable());
}

// Ruling: LIVE-4.
#[tokio::test]
async fn a_jump_sends_only_the_newest_reading() {
    let test = start_device(MeterKind::Ensor).await;
    let mut live = Live::connect(&test).await;
    test.clock.jump(Duration::from_hours(24 * 30)).await.unwrap();
    let events = live.arrived().await;
    assert_eq!(events.len(), 1);
    let energy = value(&test.device, Quantity::ActiveImportEnergy);
    assert!(events[0].contains(&format!("\"E_In\":{energy},")), "{}", events[0]);
    assert!(events[0].ends_with(",\"Uptime\":720}") || events[0].ends_with(",\"Uptime\":719.99}"));
}

// Ruling: LIVE-1.
#[tokio::test]
async fn a_new_client_ends_the_stream_of_the_previous_one() {
    let test = start_device(MeterKind::Ensor).await;
    let mut first = Live::connect(&test).await;
    test.clock.advance(MINUTE).await.unwrap();
    let seen = first.arrived().await.len();
    let mut second = Live::connect(&test).await;
    test.clock.advance(Duration::ZERO).await.unwrap();
    assert_eq!(first.0.read_to_end().await.unwrap(), "0\r\n\r\n", "a proper end");
    test.clock.advance(MINUTE).await.unwrap();
    let total = usize::try_from(test.device.snapshot().reading().unwrap().id).unwrap();
    assert_eq!(second.arrived().await.len(), total - seen);
}

#[tokio::test]
async fn a_silent_meter_is_a_silent_stream() {
    let meter = MeterPlan { kind: None, ..MeterPlan::default() };
    let test = TestDevice::start(Setup { meter, ..Setup::default() }).await;
    let live = Live::connect(&test).await;
    test.clock.advance(Duration::from_hours(1)).await.unwrap();
    assert!(!live.is_readable());
}

#[tokio::test]
async fn no_licence_is_needed() {
    let setup = Setup { license: License::Free, ..Setup::default() };
    let test = TestDevice::start(setup).await;
    let mut live = Live::connect(&test).await;
    test.clock.advance(MINUTE).await.unwrap();
    assert!(!live.arrived().await.is_empty());
    assert_eq!(status(&test.exchange_one(&request("POST", "/api/v1/live", "")).await), 405);
}

// Ruling: LIVE-3, LIVE-5.
#[tokio::test]
async fn firmware_1_fills_in_what_the_meter_does_not_send() {
    let setup = Setup { firmware: "1.10.0", meter: plan(MeterKind::Ensor), ..Setup::default() };
    let old = TestDevice::start(setup).await;
    let new = start_device(MeterKind::Ensor).await;
    let (mut old_live, mut new_live) = (Live::connect(&old).await, Live::connect(&new).await);
    old.clock.advance(SECOND * 4).await.unwrap();
    new.clock.advance(SECOND * 4).await.unwrap();
    let (old, new) = (old_live.data().await, new_live.data().await);
    let keys = |event: &str| -> Vec<String> {
        let json: serde_json::Value = serde_json::from_str(event).unwrap();
        let mut keys: Vec<String> = json.as_object().unwrap().keys().cloned().collect();
        keys.sort_by_key(|key| event.find(&format!("\"{key}\":")));
        keys
    };
    let all = "P_In P_Out P_P1_In P_P2_In P_P3_In P_P1_Out P_P2_Out P_P3_Out P_P_In P_P_In_T1 \
               P_P_In_T2 rP_In rP_Out rP_P1_In rP_P2_In rP_P3_In rP_P1_Out rP_P2_Out rP_P3_Out PF \
               I_P1 I_P2 I_P3 V_P1 V_P2 V_P3 \
               E_In E_In_T1 E_In_T2 E_Out E_Out_T1 E_Out_T2 rE_In rE_Out rEii rEic rEei rEec T Vol \
               Date Time Uptime";
    assert_eq!(keys(&old), all.split_whitespace().collect::<Vec<_>>());
    assert!(old.contains("\"rP_In\":0,") && old.contains("\"DT\":\"\",\"Cum\":0}"), "{old}");
    let zero = "\"P_P_In\":0,\"P_P_In_T1\":0,\"P_P_In_T2\":0,\"rP_In\":0,\"rP_Out\":0,\"rP_P1_In\":0,\"rP_P2_In\":0,\"rP_P3_In\":0,\
                \"rP_P1_Out\":0,\"rP_P2_Out\":0,\"rP_P3_Out\":0,\"PF\":0,";
    let counters = "\"rE_In\":0,\"rE_Out\":0,\"rEii\":0,\"rEic\":0,\"rEei\":0,\"rEec\":0,";
    let without_zeros =
        old.replace(zero, "").replace(counters, "").replace(",\"DT\":\"\",\"Cum\":0", "");
    assert_eq!(without_zeros, new);
}

#[tokio::test]
async fn hours_of_readings_arrive_complete_and_in_order() {
    let pv = SignalPlan { pv: Some(PvPlan::default()), ..SignalPlan::default() };
    let meter = MeterPlan { signal: pv.into(), ..plan(MeterKind::Kamstrup) };
    let from = "2026-06-21T09:00:00+02:00".parse().unwrap();
    let test = TestDevice::start(Setup { meter, from, ..Setup::default() }).await;
    let mut live = Live::connect(&test).await;
    let reader = tokio::spawn(async move {
        let mut events = Vec::new();
        while let Some(event) = live.chunk().await {
            let data = event.strip_prefix("event: live\ndata: ").unwrap();
            events.push(serde_json::from_str::<serde_json::Value>(data).unwrap());
        }
        events
    });
    eventually(|| test.server.connection_count() == 1).await;
    test.clock.advance(Duration::from_hours(8)).await.unwrap();
    // A second client ends the stream.
    let _second = Live::connect(&test).await;
    let events = reader.await.unwrap();
    let snapshot = test.device.snapshot();
    assert_eq!(events.len() as u64, snapshot.reading().unwrap().id);
    let number = |event: &serde_json::Value, key: &str| event[key].as_f64().unwrap();
    let mut exported = 0;
    for pair in events.windows(2) {
        for counter in ["E_In", "E_Out", "rE_In"] {
            assert!(number(&pair[1], counter) >= number(&pair[0], counter), "{pair:?}");
        }
        let (import, export) = (number(&pair[1], "P_In"), number(&pair[1], "P_Out"));
        assert!(import == 0.0 || export == 0.0, "{pair:?}");
        exported += u32::from(export > 0.0);
    }
    assert!(exported > 3000, "the sun shone: {exported}");
    let last = events.last().unwrap();
    let shown = snapshot.value(Quantity::ActiveExportEnergy).unwrap().to_f64();
    assert!((number(last, "E_Out") - shown).abs() < 1e-9);
}

// Ruling: LIVE-6.
#[tokio::test]
async fn a_client_that_does_not_read_is_dropped() {
    let test = start_device(MeterKind::Ensor).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut live = Client(socket.connect(test.server.address()).await.unwrap());
    live.send(&request("GET", "/api/v1/live", "")).await;
    eventually(|| test.server.connection_count() == 1).await;
    // Some 4 MB, more than any kernel buffers.
    test.clock.advance(Duration::from_hours(3)).await.unwrap();
    eventually(|| test.server.connection_count() == 0).await;
    drop(live);
    let mut live = Live::connect(&test).await;
    test.clock.advance(SECOND * 2).await.unwrap();
    assert!(!live.arrived().await.is_empty(), "the next client is served");
}

#[tokio::test]
async fn a_client_that_disconnects_is_removed_at_once() {
    let test = start_device(MeterKind::Ensor).await;
    drop(Live::connect(&test).await);
    eventually(|| test.server.connection_count() == 0).await;
    test.clock.advance(MINUTE).await.unwrap();
}

fn live(effect: LiveEffect) -> Fault {
    Fault::Live { device: None, effect }
}

fn nth(nth: u64) -> Trigger {
    Trigger { nth: vec![nth], ..Trigger::default() }
}

#[tokio::test]
async fn a_stall_holds_events_back_for_its_time() {
    let test = start_device(MeterKind::Ensor).await;
    test.add_rule(live(LiveEffect::Stall { duration: Some(SECOND * 10) }), nth(3));
    let mut stream = Live::connect(&test).await;
    test.clock.advance(SECOND * 12).await.unwrap();
    assert_eq!(stream.arrived().await.len(), 2, "the third and all after it wait");
    assert_eq!(test.engine.get("fault").unwrap().holding, 1);
    test.clock.advance(SECOND * 10).await.unwrap();
    let total = test.device.snapshot().reading().unwrap().id;
    assert_eq!(stream.arrived().await.len() as u64, total - 2, "none is lost");
}

#[tokio::test]
async fn a_stall_can_be_released_and_counts_every_event() {
    let test = start_device(MeterKind::Ensor).await;
    test.add_rule(live(LiveEffect::Stall { duration: None }), Trigger::default());
    let mut stream = Live::connect(&test).await;
    test.clock.advance(MINUTE).await.unwrap();
    assert!(!stream.is_readable());
    let total = test.device.snapshot().reading().unwrap().id;
    assert_eq!(test.engine.get("fault").unwrap().fired, total);
    assert_eq!(test.engine.release("fault").unwrap() as u64, total);
    test.clock.advance(Duration::ZERO).await.unwrap();
    assert_eq!(stream.arrived().await.len() as u64, total);
}

#[tokio::test]
async fn a_cut_ends_the_connection_within_an_event() {
    for (after, left) in [(0, ""), (1, "1\r\ne\r\n"), (20, "14\r\nevent: live\ndata: {\"\r\n")] {
        let test = start_device(MeterKind::Ensor).await;
        test.add_rule(live(LiveEffect::Cut { after }), nth(2));
        let mut stream = Live::connect(&test).await;
        test.clock.advance(MINUTE).await.unwrap();
        stream.data().await;
        assert_eq!(stream.0.read_to_end().await.unwrap(), left, "and no end");
    }
}

#[tokio::test]
async fn a_duplicate_comes_twice() {
    let test = start_device(MeterKind::Ensor).await;
    test.add_rule(live(LiveEffect::Duplicate), nth(2));
    let mut stream = Live::connect(&test).await;
    test.clock.advance(SECOND * 20).await.unwrap();
    let events = stream.arrived().await;
    assert_eq!(events[1], events[2]);
    assert_eq!(events.len() as u64, test.device.snapshot().reading().unwrap().id + 1);
}

#[tokio::test]
async fn a_takeover_ends_the_stream_in_place_of_an_event() {
    let test = start_device(MeterKind::Ensor).await;
    test.add_rule(live(LiveEffect::Takeover), nth(2));
    let mut stream = Live::connect(&test).await;
    test.clock.advance(MINUTE).await.unwrap();
    stream.data().await;
    assert_eq!(stream.0.read_to_end().await.unwrap(), "0\r\n\r\n");
    let mut second = Live::connect(&test).await;
    test.clock.advance(SECOND * 10).await.unwrap();
    assert!(!second.arrived().await.is_empty(), "the client may connect again");
}

/// A client that sends a request and never reads. It has no socket, so that real time can be paused.
async fn request_without_reading(test: &TestDevice) -> HttpReply {
    let live = Request::get("/api/v1/live").body(http_body_util::Empty::<Bytes>::new()).unwrap();
    test.api.answer(live).await
}

/// Returns the causes for which the streams ended, in order.
fn end_causes(test: &TestDevice) -> Vec<&'static str> {
    let cause = |entry: JournalEntry| match entry.event {
        Event::LiveEnded { cause, .. } => Some(cause),
        _ => None,
    };
    test.journal.entries_after(0, usize::MAX, |_| true).into_iter().filter_map(cause).collect()
}

// Ruling: LIVE-6.
#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_delays_the_clock_briefly() {
    let test = start_device(MeterKind::Ensor).await;
    let _unread = request_without_reading(&test).await;
    let before = tokio::time::Instant::now();
    test.clock.advance(MINUTE * 60).await.unwrap();
    assert_eq!(before.elapsed(), LIVE_GRACE);
    assert_eq!(end_causes(&test), ["not read"]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_replaced_at_once() {
    let test = start_device(MeterKind::Ensor).await;
    let _unread = request_without_reading(&test).await;
    let before = tokio::time::Instant::now();
    let clock = test.clock.clone();
    let advance = tokio::spawn(async move { clock.advance(MINUTE * 60).await });
    // The queue of the client is full after so many readings. A task is always awake, so no time passes.
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
    }
    assert!(!advance.is_finished(), "the movement waits for the client");
    let _other = request_without_reading(&test).await;
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(before.elapsed(), Duration::ZERO);
    assert_eq!(end_causes(&test), ["taken over"]);
    advance.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_delay_keeps_the_order() {
    let test = start_device(MeterKind::Ensor).await;
    test.add_rule(live(LiveEffect::Delay(Delay::Fixed(SECOND * 5))), nth(1));
    let mut stream = Live::connect(&test).await;
    let first = test.device.next_reading().unwrap();
    test.clock.advance(first.since_start()).await.unwrap();
    let energy = value(&test.device, Quantity::ActiveImportEnergy);
    test.clock.advance(Duration::from_millis(4999)).await.unwrap();
    assert!(!stream.is_readable());
    test.clock.advance(Duration::from_millis(1)).await.unwrap();
    let events = stream.arrived().await;
    assert!(events.len() >= 5, "{}", events.len());
    assert!(events[0].contains(&format!("\"E_In\":{energy},")));
}
