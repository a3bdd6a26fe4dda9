//! The action client against peers whose bytes a test chooses: every result code by the bytes that
//! cause it.

use std::time::Duration;

use serde_json::json;
use wwsim::device::{ActionPolicy, Execution, HttpFailureCode};
use wwsim::fault::{ActionEffect, ActionPlace, ConnectFault, Delay, Fault, SlaveEffect};
use wwsim::journal::Event;
use wwsim::modbus::fault::{ReplyFault, WireFault};
use wwsim::outbound::Policy;

use crate::support::house::FreePort;
use crate::support::peers::{
    ConnectionEnd, PeersPlan, SECOND, always, get, is_frame, is_http, on_slave, outside_peer,
    reply, route, slave, target, write,
};

fn loopback_plan() -> PeersPlan {
    PeersPlan { policy: Policy::Loopback, ..PeersPlan::default() }
}

/// Returns the code of a write of 0x1234 to register 10, answered with the result of `answer`.
async fn modbus_code(answer: fn(&[u8]) -> Vec<Vec<u8>>, end: ConnectionEnd) -> i32 {
    let fixture = loopback_plan().start().await;
    let (peer, task) = outside_peer(is_frame, answer, end).await;
    let ids = fixture.call(&[write("127.0.0.1", peer.port(), 10, 0x1234)]);
    let code = fixture.finished(ids[0]).await;
    assert_eq!(task.await.unwrap()[2..], [0, 0, 0, 6, 1, 6, 0, 10, 0x12, 0x34]);
    code
}

/// The request with some bytes changed, as a reply.
macro_rules! changed {
    ($($index:literal => $byte:expr),*) => {
        |request| {
            let mut reply = request.to_vec();
            $(reply[$index] = $byte;)*
            vec![reply]
        }
    };
}

// Ruling: RESULT-1.
#[tokio::test]
async fn every_modbus_code_follows_from_the_bytes_of_the_reply() {
    assert_eq!(modbus_code(|request| vec![request.to_vec()], ConnectionEnd::Keep).await, 1);
    assert_eq!(modbus_code(|_| vec![], ConnectionEnd::Fin).await, -4);
    assert_eq!(modbus_code(|_| vec![], ConnectionEnd::Rst).await, -4);
    assert_eq!(modbus_code(|request| vec![request[..7].to_vec()], ConnectionEnd::Fin).await, -13);
    assert_eq!(modbus_code(|request| vec![request[..11].to_vec()], ConnectionEnd::Rst).await, -13);
    assert_eq!(modbus_code(changed!(5 => 255), ConnectionEnd::Keep).await, -2);
    assert_eq!(modbus_code(|_| vec![vec![0, 0, 0, 0, 1, 0]], ConnectionEnd::Keep).await, -2);
    assert_eq!(modbus_code(changed!(5 => 1), ConnectionEnd::Keep).await, -5);
    assert_eq!(modbus_code(changed!(5 => 0), ConnectionEnd::Keep).await, -5);
    assert_eq!(modbus_code(changed!(3 => 1), ConnectionEnd::Keep).await, -8);
    assert_eq!(modbus_code(changed!(0 => 0x77), ConnectionEnd::Keep).await, -9);
    assert_eq!(modbus_code(changed!(6 => 2), ConnectionEnd::Keep).await, -12);
    assert_eq!(modbus_code(changed!(7 => 5), ConnectionEnd::Keep).await, -10);
    assert_eq!(modbus_code(changed!(9 => 11), ConnectionEnd::Keep).await, -14);
    assert_eq!(modbus_code(changed!(11 => 0x35), ConnectionEnd::Keep).await, -14);
    assert_eq!(
        modbus_code(|r| vec![r[..4].to_vec(), vec![0, 2, 1, 0x86]], ConnectionEnd::Keep).await,
        -11
    );
    assert_eq!(
        modbus_code(|r| vec![r[..4].to_vec(), vec![0, 4, 1, 6, 0, 10]], ConnectionEnd::Keep).await,
        -13
    );
    let surplus = |r: &[u8]| vec![r[..4].to_vec(), vec![0, 7], r[6..].to_vec(), vec![0]];
    assert_eq!(modbus_code(surplus, ConnectionEnd::Keep).await, -15);
    assert_eq!(
        modbus_code(|r| vec![r[..4].to_vec(), vec![0, 3, 1, 0x86, 0]], ConnectionEnd::Keep).await,
        -1
    );
    assert_eq!(
        modbus_code(|r| vec![r[..4].to_vec(), vec![0, 3, 1, 0x86, 12]], ConnectionEnd::Keep).await,
        -1
    );
    assert_eq!(
        modbus_code(|r| vec![r[..4].to_vec(), vec![0, 3, 1, 0x86, 1]], ConnectionEnd::Keep).await,
        -101
    );
    assert_eq!(
        modbus_code(|r| vec![r[..4].to_vec(), vec![0, 3, 1, 0x86, 11]], ConnectionEnd::Keep).await,
        -111
    );
}

#[tokio::test]
async fn a_reply_in_pieces_and_with_bytes_after_it_is_correct() {
    let bytewise = |request: &[u8]| request.iter().map(|byte| vec![*byte]).collect();
    assert_eq!(modbus_code(bytewise, ConnectionEnd::Keep).await, 1);
    assert_eq!(
        modbus_code(|request| vec![[request, b"and more"].concat()], ConnectionEnd::Rst).await,
        1
    );
}

#[tokio::test]
async fn a_silent_peer_is_a_timeout_on_the_virtual_clock() {
    let fixture = loopback_plan().start().await;
    let (received_sender, received) = tokio::sync::oneshot::channel();
    let answer = |_: &[u8]| {
        received_sender.send(()).unwrap();
        vec![vec![0, 1, 0]]
    };
    let (peer, _task) = outside_peer(is_frame, answer, ConnectionEnd::Keep).await;
    let ids = fixture.call(&[write("127.0.0.1", peer.port(), 10, 1)]);
    received.await.unwrap();
    fixture.advance(Duration::from_millis(999)).await;
    assert_eq!(fixture.codes(&ids), [-1]);
    fixture.advance(Duration::from_millis(1)).await;
    assert_eq!(fixture.codes(&ids), [-3]);
    assert_eq!(fixture.status(ids[0]).exe_time, SECOND);
}

#[tokio::test]
async fn every_request_has_a_transaction_id_of_its_own() {
    let fixture = loopback_plan().start().await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let (peer, task) =
            outside_peer(is_frame, |request| vec![request.to_vec()], ConnectionEnd::Keep).await;
        let ids = fixture.call(&[write("127.0.0.1", peer.port(), 10, 1)]);
        assert_eq!(fixture.finished(ids[0]).await, 1);
        seen.push(task.await.unwrap()[..2].to_vec());
    }
    assert_eq!(seen, [[0, 1], [0, 2], [0, 3]]);
}

#[tokio::test]
async fn the_four_functions_are_encoded_as_specified() {
    let cases = [
        (json!({"func": 5, "type": "short", "value": "1"}), &[5, 0, 7, 0xFF, 0][..], 5),
        (json!({"func": 6, "type": "short", "value": "-2"}), &[6, 0, 7, 0xFF, 0xFE], 5),
        (json!({"func": 15, "value": "CD01"}), &[15, 0, 7, 0, 16, 2, 0xCD, 0x01], 5),
        (
            json!({"func": 16, "type": "float", "value": "21.5"}),
            &[16, 0, 7, 0, 2, 4, 0x41, 0xAC, 0, 0],
            5,
        ),
    ];
    for (mut fields, pdu, echo) in cases {
        let fixture = loopback_plan().start().await;
        let answer = move |request: &[u8]| {
            let mut reply = request[..7 + echo].to_vec();
            reply[5] = 6;
            vec![reply]
        };
        let (peer, task) = outside_peer(is_frame, answer, ConnectionEnd::Keep).await;
        let common = json!({"host": "localhost", "port": peer.port(), "unit_id": 17, "address": 7});
        fields.as_object_mut().unwrap().extend(common.as_object().unwrap().clone());
        let ids = fixture.call(&[json!({ "modbus": fields })]);
        assert_eq!(fixture.finished(ids[0]).await, 1, "{fields}");
        let request = task.await.unwrap();
        assert_eq!(request[6..], [&[17][..], pdu].concat(), "{fields}");
    }
}

#[tokio::test]
async fn a_refused_connection_is_17() {
    let fixture = loopback_plan().start().await;
    let closed = FreePort::new();
    let ids = fixture.call(&[
        write("127.0.0.1", closed.number(), 1, 1),
        get(&format!("http://127.0.0.1:{}/", closed.number())),
    ]);
    assert_eq!(fixture.finished(ids[1]).await, -17);
    assert_eq!(fixture.codes(&ids), [-17, -17]);
}

// Ruling: RESULT-4.
#[tokio::test]
async fn a_denied_name_is_16_and_a_denied_address_17() {
    for policy in [Policy::Deny, Policy::Loopback] {
        let fixture = PeersPlan { policy, ..PeersPlan::default() }.start().await;
        let ids = fixture.call(&[
            write("pump.example", 502, 1, 1),
            write("192.0.2.1", 502, 1, 1),
            get("http://pump.example/"),
            get("https://192.0.2.1/"),
        ]);
        fixture.wait_quiescent().await;
        assert_eq!(fixture.codes(&ids), [-16, -17, -16, -17]);
        let name = policy.name();
        let denied = fixture.journal.entries_after(
            0,
            9,
            |entry| matches!(&entry.event, Event::OutboundDenied { policy, .. } if *policy == name),
        );
        assert_eq!(denied.len(), 4);
        assert!(fixture.cause(ids[0]).contains(name), "{}", fixture.cause(ids[0]));
    }
    let fixture = PeersPlan::default().start().await;
    assert_eq!(fixture.code(write("localhost", 502, 1, 1)).await, -16, "localhost is a name, too");
}

#[tokio::test]
async fn a_rule_makes_the_connector_of_an_action_fail() {
    for (fault, code) in [
        (ConnectFault::Resolve, -16),
        (ConnectFault::Refused, -17),
        (ConnectFault::NoSocket, -19),
        (ConnectFault::SendLost, -7),
        (ConnectFault::Tls, -18),
    ] {
        let place = ActionPlace { action: Some("it".into()), ..ActionPlace::default() };
        let rule = always("broken", Fault::Action(place, ActionEffect::Connect(fault)));
        let mut safe = target("safe", vec![route("/", 200, "")]);
        safe.tls = true;
        let plan = PeersPlan {
            slaves: vec![slave("pump")],
            targets: vec![target("bulb", vec![route("/", 200, "")]), safe],
            rules: vec![rule],
            ..PeersPlan::default()
        };
        let fixture = plan.start().await;
        assert_eq!(fixture.code(write("pump.local", 502, 1, 1)).await, code, "{fault:?}");
        assert_eq!(fixture.code(get("http://bulb.local/")).await, code, "{fault:?}");
        assert_eq!(fixture.code(get("https://safe.local/")).await, code, "{fault:?}");
        assert_eq!(fixture.engine.get("broken").unwrap().fired, 3);
        assert!(fixture.outcomes().is_empty(), "nothing was received");
        assert!(fixture.peers.targets().all(|target| target.received_requests().is_empty()));
    }
}

/// Returns the code of a GET that is answered with these bytes.
async fn http_code(answer: &'static str, end: ConnectionEnd) -> i32 {
    let fixture = loopback_plan().start().await;
    let pieces = move |_: &[u8]| vec![answer.as_bytes().to_vec()];
    let (peer, _task) = outside_peer(is_http, pieces, end).await;
    let ids = fixture.call(&[get(&format!("http://127.0.0.1:{}/a?b=c", peer.port()))]);
    fixture.finished(ids[0]).await
}

// Ruling: RESULT-3, RESULT-6.
#[tokio::test]
async fn every_http_code_follows_from_the_bytes_of_the_response() {
    for (answer, end, code) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", ConnectionEnd::Keep, 200),
        ("HTTP/1.0 404 Not Found\r\n\r\nuntil it closes", ConnectionEnd::Fin, 404),
        ("HTTP/1.1 204 No Content\r\n\r\n", ConnectionEnd::Keep, 204),
        (
            "HTTP/1.1 301 Moved\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
            ConnectionEnd::Keep,
            301,
        ),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n",
            ConnectionEnd::Keep,
            503,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            ConnectionEnd::Keep,
            200,
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", ConnectionEnd::Fin, -4),
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", ConnectionEnd::Rst, -4),
        ("HTTP/1.1 200 OK\r\n\r\nuntil", ConnectionEnd::Rst, -4),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
            ConnectionEnd::Fin,
            -4,
        ),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", ConnectionEnd::Keep, -4),
        ("HTTP/1.1 200 OK\r\nContent-Le", ConnectionEnd::Fin, -4),
        ("220 mail.example ESMTP\r\n\r\n", ConnectionEnd::Keep, -4),
        ("", ConnectionEnd::Fin, -4),
        ("", ConnectionEnd::Rst, -4),
        ("HTTP/1.1 100 Continue\r\n\r\n", ConnectionEnd::Fin, -4),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", ConnectionEnd::Rst, 200),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok", ConnectionEnd::Keep, 200),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok", ConnectionEnd::Keep, 204),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
            ConnectionEnd::Keep,
            -20,
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nok", ConnectionEnd::Keep, -20),
        ("HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok", ConnectionEnd::Keep, -20),
        ("HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\nok", ConnectionEnd::Keep, -20),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\n",
            ConnectionEnd::Keep,
            -20,
        ),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            ConnectionEnd::Keep,
            -20,
        ),
        ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", ConnectionEnd::Keep, 101),
        ("HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok", ConnectionEnd::Keep, -20),
        ("HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok", ConnectionEnd::Fin, -20),
    ] {
        assert_eq!(http_code(answer, end).await, code, "{answer:?} then {end:?}");
    }
}

// Ruling: ACTION-15.
#[tokio::test]
async fn a_response_body_is_complete_after_64_kib() {
    let fixture = loopback_plan().start().await;
    let endless = |_: &[u8]| {
        vec![b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n".to_vec(), vec![b'x'; 65_536]]
    };
    let (peer, _task) = outside_peer(is_http, endless, ConnectionEnd::Keep).await;
    let ids = fixture.call(&[get(&format!("http://127.0.0.1:{}/", peer.port()))]);
    assert_eq!(fixture.finished(ids[0]).await, 200);
}

#[tokio::test]
async fn an_http_timeout_covers_the_whole_response() {
    for part in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"] {
        let fixture = loopback_plan().start().await;
        let (received_sender, received) = tokio::sync::oneshot::channel();
        let answer = move |_: &[u8]| {
            received_sender.send(()).unwrap();
            vec![part.as_bytes().to_vec()]
        };
        let (peer, _task) = outside_peer(is_http, answer, ConnectionEnd::Keep).await;
        let ids = fixture.call(&[get(&format!("http://127.0.0.1:{}/", peer.port()))]);
        received.await.unwrap();
        fixture.advance(SECOND).await;
        assert_eq!(fixture.codes(&ids), [-3], "{part:?}");
    }
}

// Ruling: ACTION-4, ACTION-5.
#[tokio::test]
async fn a_request_carries_its_own_headers_and_those_of_framing() {
    let fixture = loopback_plan().start().await;
    let answer = |_: &[u8]| vec![b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec()];
    let (peer, task) = outside_peer(is_http, answer, ConnectionEnd::Keep).await;
    let url = format!("http://127.0.0.1:{}/light/0?turn=on", peer.port());
    let headers = json!({"X-Key": "secret"});
    let ids = fixture.call(&[
        json!({"http": {"url": url, "method": "POST", "payload": "{}", "headers": headers}}),
    ]);
    assert_eq!(fixture.finished(ids[0]).await, 200);
    let sent = String::from_utf8(task.await.unwrap()).unwrap();
    let (head, body) = sent.split_once("\r\n\r\n").unwrap();
    let mut lines: Vec<&str> = head.lines().collect();
    assert_eq!(lines.remove(0), "POST /light/0?turn=on HTTP/1.1");
    lines.sort_unstable();
    let host = format!("Host: {peer}");
    let expected = ["Content-Length: 2", "Content-Type: text/plain", &host, "X-Key: secret"];
    assert_eq!(lines, expected);
    assert_eq!(body, "{}");
}

// Ruling: RESULT-3.
#[tokio::test]
async fn http_failures_are_0_if_the_scenario_says_so() {
    let action_policy =
        ActionPolicy { http_failure: HttpFailureCode::Zero, ..ActionPolicy::default() };
    let bulb = target("bulb", vec![route("/", 404, "")]);
    let fixture =
        PeersPlan { action_policy, targets: vec![bulb], ..PeersPlan::default() }.start().await;
    let ids = fixture.call(&[
        get("http://192.0.2.1/"),
        get("https://bulb.local:80/"),
        get("http://bulb.local/"),
        write("192.0.2.1", 502, 1, 1),
    ]);
    fixture.wait_quiescent().await;
    assert_eq!(fixture.codes(&ids), [0, 0, 404, -17], "Modbus keeps its codes, as statuses do");
}

// Ruling: ACTION-11.
#[tokio::test]
async fn an_expanded_value_that_does_not_fit_is_a_generic_error() {
    let fixture = PeersPlan { slaves: vec![slave("pump")], ..PeersPlan::default() }.start().await;
    let mut request = write("pump.local", 502, 1, 1);
    request["modbus"]["value"] = json!("${nobody}");
    let ids = fixture.call(&[request, write("pump.local", 502, 2, 7)]);
    fixture.wait_quiescent().await;
    assert_eq!(fixture.codes(&ids), [-1, 1], "the next request is sent all the same");
    assert!(fixture.cause(ids[0]).contains("nobody"), "{}", fixture.cause(ids[0]));
    assert_eq!(fixture.register(2), 7);
}

fn slow(by: Duration) -> wwsim::fault::Rule {
    always("slow", on_slave(SlaveEffect::Delay(Delay::Fixed(by))))
}

// Ruling: ACTION-17.
#[tokio::test]
async fn requests_of_one_action_run_sequentially_or_in_parallel() {
    for (execution, after_half_a_second) in
        [(Execution::Sequential, [1, -1, -1]), (Execution::Parallel, [1, 1, 1])]
    {
        let plan = PeersPlan {
            slaves: vec![slave("pump")],
            rules: vec![slow(SECOND / 2)],
            action_policy: ActionPolicy { execution, ..ActionPolicy::default() },
            ..PeersPlan::default()
        };
        let fixture = plan.start().await;
        let ids = fixture.call(&[1, 2, 3].map(|address| write("pump.local", 502, address, 9)));
        fixture.advance(SECOND / 2).await;
        assert_eq!(fixture.codes(&ids), after_half_a_second, "{execution:?}");
        fixture.advance(SECOND).await;
        assert_eq!(fixture.codes(&ids), [1, 1, 1]);
        assert!(ids.iter().all(|id| fixture.status(*id).exe_time == SECOND / 2));
    }
}

// Ruling: ACTION-15.
#[tokio::test]
async fn the_time_of_a_held_request_counts_from_its_release() {
    let hold = ActionEffect::Hold { duration: None };
    let plan = PeersPlan {
        slaves: vec![slave("pump")],
        rules: vec![always("hold", Fault::Action(ActionPlace::default(), hold))],
        ..PeersPlan::default()
    };
    let fixture = plan.start().await;
    let ids = fixture.call(&[write("pump.local", 502, 1, 5)]);
    fixture.advance(SECOND * 60).await;
    assert_eq!((fixture.codes(&ids), fixture.register(1)), (vec![-1], 0));
    fixture.engine.release("hold").unwrap();
    fixture.wait_quiescent().await;
    assert_eq!((fixture.codes(&ids), fixture.register(1)), (vec![1], 5));
    assert_eq!(fixture.status(ids[0]).exe_time, Duration::from_millis(1));
}

#[tokio::test]
async fn two_runs_of_the_same_requests_write_the_same_journal() {
    let mut journals = Vec::new();
    for _ in 0..2 {
        let toggle = wwsim::scenario::TargetRoute {
            method: None,
            path: "/".into(),
            replies: vec![reply(200, "on"), reply(201, "off")],
        };
        let plan = PeersPlan {
            slaves: vec![slave("pump")],
            targets: vec![target("bulb", vec![toggle])],
            rules: vec![
                slow(SECOND / 4),
                always(
                    "stale",
                    on_slave(SlaveEffect::Reply(ReplyFault::Wire(WireFault::StaleReply))),
                ),
            ],
            ..PeersPlan::default()
        };
        let fixture = plan.start().await;
        for _ in 0..3 {
            fixture.call(&[write("pump.local", 502, 1, 5), get("http://bulb.local/")]);
            fixture.advance(SECOND).await;
        }
        journals.push(fixture.journal.entries_after(0, usize::MAX, |_| true));
    }
    assert!(journals[0].len() > 12);
    assert_eq!(journals[0], journals[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_the_wrong_protocol_leave_the_house_quiescent() {
    let (mut full, mut safe) = (slave("full"), target("safe", vec![route("/", 200, "")]));
    full.max_connections = 0;
    safe.tls = true;
    let large = "x".repeat(3_000_000);
    let plan = PeersPlan {
        slaves: vec![slave("pump"), full],
        targets: vec![target("bulb", vec![route("/", 200, &large)]), safe],
        ..PeersPlan::default()
    };
    let fixture = plan.start().await;
    let (pump, full) = (fixture.slave("pump").port(), fixture.slave("full").port());
    let (bulb, safe) = (fixture.target("bulb").port(), fixture.target("safe").port());
    let post = |port: u16| {
        let url = format!("http://127.0.0.1:{port}/{}", "p".repeat(200));
        json!({"http": {"url": url, "method": "POST", "payload": "y".repeat(1023), "timeout": 1}})
    };
    let https = |port: u16| get(&format!("https://127.0.0.1:{port}/"));
    for (request, code) in [
        (write("127.0.0.1", bulb, 1, 1), -2),
        (write("127.0.0.1", safe, 1, 1), -2),
        (write("127.0.0.1", full, 1, 1), -4),
        (post(pump), -4),
        (post(full), -4),
        (post(safe), -4),
        (https(pump), -18),
        (https(full), -18),
        (https(bulb), -18),
        (get("http://bulb.local/"), 200),
    ] {
        for round in 0..5 {
            assert_eq!(fixture.code(request.clone()).await, code, "{request}, round {round}");
        }
    }
}
