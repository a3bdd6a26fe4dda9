//! The live stream, seen from the socket: every byte of it, on the manual clock.

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

use crate::device_harness::{Client, Setup, TestDevice, eventually, request, status, within};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

fn of(kind: MeterKind) -> MeterPlan {
    MeterPlan { kind: Some(kind), ..MeterPlan::default() }
}

async fn bench(kind: MeterKind) -> TestDevice {
    TestDevice::start(Setup { meter: of(kind), ..Setup::default() }).await
}

/// A client of the live stream.
struct Live(Client);

impl Live {
    async fn follow(bench: &TestDevice) -> Self {
        let mut client = bench.connect().await;
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

    /// The next chunk; none at the end of the stream.
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

    /// The data of the next event.
    async fn data(&mut self) -> String {
        let event = self.chunk().await.expect("the stream ended");
        let data = event.strip_prefix("event: live\ndata: ").unwrap();
        data.strip_suffix("\n\n").unwrap().to_owned()
    }

    /// The data of what has arrived and is not read yet; a movement of the clock brought all of it.
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

/// A number of the newest reading, as it is to be shown.
fn value(device: &Device, quantity: Quantity) -> String {
    device.snapshot().value(quantity).unwrap().to_string()
}

// Ruling: LIVE-1, LIVE-3.
#[tokio::test]
async fn a_reading_is_an_event_byte_for_byte() {
    use Quantity as Q;
    let bench = bench(MeterKind::Ensor).await;
    let mut live = Live::follow(&bench).await;
    bench.clock.advance(Duration::ZERO).await.unwrap();
    assert!(!live.is_readable(), "nothing before the first reading");
    let first = bench.device.next_reading().unwrap();
    bench.clock.advance(first.since_start()).await.unwrap();
    let snapshot = bench.device.snapshot();
    let v = |quantity| value(&bench.device, quantity);
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
    let bench = bench(MeterKind::LandisGyr).await;
    let mut live = Live::follow(&bench).await;
    bench.clock.advance(MINUTE * 10).await.unwrap();
    let events = live.arrived().await;
    assert_eq!(events.len() as u64, bench.device.snapshot().reading().unwrap().id);
    assert!(events.len() > 100, "{}", events.len());
    // The reading that was there before a client came is not for it.
    drop(live);
    let live = Live::follow(&bench).await;
    bench.clock.advance(Duration::ZERO).await.unwrap();
    assert!(!live.is_readable());
}

// Ruling: LIVE-4.
#[tokio::test]
async fn a_jump_sends_the_newest_reading_alone() {
    let bench = bench(MeterKind::Ensor).await;
    let mut live = Live::follow(&bench).await;
    bench.clock.jump(Duration::from_hours(24 * 30)).await.unwrap();
    let events = live.arrived().await;
    assert_eq!(events.len(), 1);
    let energy = value(&bench.device, Quantity::ActiveImportEnergy);
    assert!(events[0].contains(&format!("\"E_In\":{energy},")), "{}", events[0]);
    assert!(events[0].ends_with(",\"Uptime\":720}") || events[0].ends_with(",\"Uptime\":719.99}"));
}

// Ruling: LIVE-1.
#[tokio::test]
async fn a_new_client_ends_the_stream_of_the_one_before() {
    let bench = bench(MeterKind::Ensor).await;
    let mut first = Live::follow(&bench).await;
    bench.clock.advance(MINUTE).await.unwrap();
    let seen = first.arrived().await.len();
    let mut second = Live::follow(&bench).await;
    bench.clock.advance(Duration::ZERO).await.unwrap();
    assert_eq!(first.0.rest().await.unwrap(), "0\r\n\r\n", "a proper end");
    bench.clock.advance(MINUTE).await.unwrap();
    let total = usize::try_from(bench.device.snapshot().reading().unwrap().id).unwrap();
    assert_eq!(second.arrived().await.len(), total - seen);
}

#[tokio::test]
async fn a_silent_meter_is_a_silent_stream() {
    let meter = MeterPlan { kind: None, ..MeterPlan::default() };
    let bench = TestDevice::start(Setup { meter, ..Setup::default() }).await;
    let live = Live::follow(&bench).await;
    bench.clock.advance(Duration::from_hours(1)).await.unwrap();
    assert!(!live.is_readable());
}

#[tokio::test]
async fn no_licence_is_needed() {
    let setup = Setup { license: License::Free, ..Setup::default() };
    let bench = TestDevice::start(setup).await;
    let mut live = Live::follow(&bench).await;
    bench.clock.advance(MINUTE).await.unwrap();
    assert!(!live.arrived().await.is_empty());
    assert_eq!(status(&bench.exchange(&request("POST", "/api/v1/live", "")).await), 405);
}

// Ruling: LIVE-3, LIVE-5.
#[tokio::test]
async fn firmware_1_fills_in_what_the_meter_does_not_send() {
    let setup = Setup { firmware: "1.10.0", meter: of(MeterKind::Ensor), ..Setup::default() };
    let old = TestDevice::start(setup).await;
    let new = bench(MeterKind::Ensor).await;
    let (mut old_live, mut new_live) = (Live::follow(&old).await, Live::follow(&new).await);
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
    let left_out =
        old.replace(zero, "").replace(counters, "").replace(",\"DT\":\"\",\"Cum\":0", "");
    assert_eq!(left_out, new);
}

#[tokio::test]
async fn hours_of_readings_with_sun_arrive_whole_and_in_order() {
    let pv = SignalPlan { pv: Some(PvPlan::default()), ..SignalPlan::default() };
    let meter = MeterPlan { signal: pv, ..of(MeterKind::Kamstrup) };
    let from = "2026-06-21T09:00:00+02:00".parse().unwrap();
    let bench = TestDevice::start(Setup { meter, from, ..Setup::default() }).await;
    let mut live = Live::follow(&bench).await;
    let reader = tokio::spawn(async move {
        let mut events = Vec::new();
        while let Some(event) = live.chunk().await {
            let data = event.strip_prefix("event: live\ndata: ").unwrap();
            events.push(serde_json::from_str::<serde_json::Value>(data).unwrap());
        }
        events
    });
    eventually(|| bench.server.connections() == 1).await;
    bench.clock.advance(Duration::from_hours(8)).await.unwrap();
    // Ends the stream.
    let _second = Live::follow(&bench).await;
    let events = reader.await.unwrap();
    let snapshot = bench.device.snapshot();
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
    let bench = bench(MeterKind::Ensor).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut live = Client(socket.connect(bench.server.address()).await.unwrap());
    live.send(&request("GET", "/api/v1/live", "")).await;
    eventually(|| bench.server.connections() == 1).await;
    // More than any kernel buffers for it, some 4 MB.
    bench.clock.advance(Duration::from_hours(3)).await.unwrap();
    eventually(|| bench.server.connections() == 0).await;
    drop(live);
    let mut live = Live::follow(&bench).await;
    bench.clock.advance(SECOND * 2).await.unwrap();
    assert!(!live.arrived().await.is_empty(), "the next client is served");
}

#[tokio::test]
async fn a_client_that_leaves_is_forgotten_at_once() {
    let bench = bench(MeterKind::Ensor).await;
    drop(Live::follow(&bench).await);
    eventually(|| bench.server.connections() == 0).await;
    bench.clock.advance(MINUTE).await.unwrap();
}

fn live(effect: LiveEffect) -> Fault {
    Fault::Live { device: None, effect }
}

fn nth(nth: u64) -> Trigger {
    Trigger { nth: vec![nth], ..Trigger::default() }
}

#[tokio::test]
async fn a_stall_holds_events_back_for_its_time() {
    let bench = bench(MeterKind::Ensor).await;
    bench.add_rule(live(LiveEffect::Stall { lasts: Some(SECOND * 10) }), nth(3));
    let mut stream = Live::follow(&bench).await;
    bench.clock.advance(SECOND * 12).await.unwrap();
    assert_eq!(stream.arrived().await.len(), 2, "the third and all after it wait");
    assert_eq!(bench.engine.get("fault").unwrap().holding, 1);
    bench.clock.advance(SECOND * 10).await.unwrap();
    let total = bench.device.snapshot().reading().unwrap().id;
    assert_eq!(stream.arrived().await.len() as u64, total - 2, "none is lost");
}

#[tokio::test]
async fn a_stall_can_be_released_and_counts_every_event() {
    let bench = bench(MeterKind::Ensor).await;
    bench.add_rule(live(LiveEffect::Stall { lasts: None }), Trigger::default());
    let mut stream = Live::follow(&bench).await;
    bench.clock.advance(MINUTE).await.unwrap();
    assert!(!stream.is_readable());
    let total = bench.device.snapshot().reading().unwrap().id;
    assert_eq!(bench.engine.get("fault").unwrap().fired, total);
    assert_eq!(bench.engine.release("fault").unwrap() as u64, total);
    bench.clock.advance(Duration::ZERO).await.unwrap();
    assert_eq!(stream.arrived().await.len() as u64, total);
}

#[tokio::test]
async fn a_cut_ends_the_connection_in_mid_event() {
    for (after, left) in [(0, ""), (1, "1\r\ne\r\n"), (20, "14\r\nevent: live\ndata: {\"\r\n")] {
        let bench = bench(MeterKind::Ensor).await;
        bench.add_rule(live(LiveEffect::Cut { after }), nth(2));
        let mut stream = Live::follow(&bench).await;
        bench.clock.advance(MINUTE).await.unwrap();
        stream.data().await;
        assert_eq!(stream.0.rest().await.unwrap(), left, "and no end");
    }
}

#[tokio::test]
async fn a_duplicate_comes_twice() {
    let bench = bench(MeterKind::Ensor).await;
    bench.add_rule(live(LiveEffect::Duplicate), nth(2));
    let mut stream = Live::follow(&bench).await;
    bench.clock.advance(SECOND * 20).await.unwrap();
    let events = stream.arrived().await;
    assert_eq!(events[1], events[2]);
    assert_eq!(events.len() as u64, bench.device.snapshot().reading().unwrap().id + 1);
}

#[tokio::test]
async fn a_takeover_throws_the_client_out_in_place_of_an_event() {
    let bench = bench(MeterKind::Ensor).await;
    bench.add_rule(live(LiveEffect::Takeover), nth(2));
    let mut stream = Live::follow(&bench).await;
    bench.clock.advance(MINUTE).await.unwrap();
    stream.data().await;
    assert_eq!(stream.0.rest().await.unwrap(), "0\r\n\r\n");
    let mut again = Live::follow(&bench).await;
    bench.clock.advance(SECOND * 10).await.unwrap();
    assert!(!again.arrived().await.is_empty(), "it may come again");
}

/// A client that asks and never reads; without a socket, so that time can be paused.
async fn asks_only(bench: &TestDevice) -> HttpReply {
    let live = Request::get("/api/v1/live").body(http_body_util::Empty::<Bytes>::new()).unwrap();
    bench.api.answer(live).await
}

/// How the streams ended, in order.
fn endings(bench: &TestDevice) -> Vec<&'static str> {
    let cause = |entry: JournalEntry| match entry.event {
        Event::LiveEnded { cause, .. } => Some(cause),
        _ => None,
    };
    bench.journal.entries_after(0, usize::MAX, |_| true).into_iter().filter_map(cause).collect()
}

// Ruling: LIVE-6.
#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_holds_a_movement_up_for_a_moment_only() {
    let bench = bench(MeterKind::Ensor).await;
    let _unread = asks_only(&bench).await;
    let before = tokio::time::Instant::now();
    bench.clock.advance(MINUTE * 60).await.unwrap();
    assert_eq!(before.elapsed(), LIVE_GRACE);
    assert_eq!(endings(&bench), ["not read"]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_loses_its_seat_at_once() {
    let bench = bench(MeterKind::Ensor).await;
    let _unread = asks_only(&bench).await;
    let before = tokio::time::Instant::now();
    let clock = bench.clock.clone();
    let advance = tokio::spawn(async move { clock.advance(MINUTE * 60).await });
    // Its queue is full after so many readings. Somebody is always awake, so that no time passes.
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
    }
    assert!(!advance.is_finished(), "the movement waits for it");
    let _other = asks_only(&bench).await;
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(before.elapsed(), Duration::ZERO);
    assert_eq!(endings(&bench), ["taken over"]);
    advance.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_delay_keeps_the_order() {
    let bench = bench(MeterKind::Ensor).await;
    bench.add_rule(live(LiveEffect::Delay(Delay::Fixed(SECOND * 5))), nth(1));
    let mut stream = Live::follow(&bench).await;
    let first = bench.device.next_reading().unwrap();
    bench.clock.advance(first.since_start()).await.unwrap();
    let text = value(&bench.device, Quantity::ActiveImportEnergy);
    bench.clock.advance(Duration::from_millis(4999)).await.unwrap();
    assert!(!stream.is_readable());
    bench.clock.advance(Duration::from_millis(1)).await.unwrap();
    let events = stream.arrived().await;
    assert!(events.len() >= 5, "{}", events.len());
    assert!(events[0].contains(&format!("\"E_In\":{text},")));
}
