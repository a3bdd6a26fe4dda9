//! Clients that keep to the protocols: they call, set, arm, move the clock, reboot and reset at random.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Soak;
use crate::draws::Draws;
use crate::house::{ACTION_IDS, ACTIONS, BESIEGED, CALLED, DEVICES, REBOOTED, SLAVES, UNDISTURBED};
use crate::http::{Answer, Client, connect};

/// The longest time for which a device that nobody disturbs may be silent.
const SILENCE: Duration = Duration::from_secs(5);

/// Returns the status ids of a call's answer, from `Location` or from the body. `None` if a fault broke the body.
fn ids_of(answer: &Answer) -> Option<Vec<u64>> {
    if let Some(location) = &answer.location {
        let ids = location.rsplit("id=").next().unwrap_or_default();
        return Some(ids.split(',').filter_map(|id| id.parse().ok()).collect());
    }
    let body = answer.json().ok()?;
    let ids = body["status_ids"].as_array().into_iter().flatten();
    Some(ids.filter_map(Value::as_u64).collect())
}

/// Calls actions of a device, and asks for their status.
pub(crate) fn caller(soak: &Soak, draws: &mut Draws, device: usize) {
    let patience = Duration::from_secs(3);
    let mut client = Client::with_patience(soak.house.devices[device], patience);
    while soak.goes_on(draws) {
        let epoch = soak.watch.epoch();
        let action = draws.pick(&ACTION_IDS);
        let path = match device {
            REBOOTED => format!("/api/v1/actions/call/{action}"),
            _ => format!("/api/v1/actions/call?id={action}"),
        };
        let path = if draws.one_in(4) { format!("/api/v1/actions/call?id={action}") } else { path };
        // Faults take answers, and a device that reboots gives none.
        let Ok(answer) = client.send("POST", &path, b"") else { continue };
        soak.count("calls");
        soak.judge_status(&path, &answer);
        if answer.status != 202 {
            continue;
        }
        let Some(ids) = ids_of(&answer) else { continue };
        if ids.is_empty() {
            soak.find(format!("{path} is answered with 202 and no ids"));
        }
        if draws.one_in(2) {
            let ids: Vec<String> = ids.iter().map(u64::to_string).collect();
            let _ = client.get(&format!("/api/v1/actions/status?id={}", ids.join(",")));
        }
        soak.watch.promise(DEVICES[device], ids, epoch);
    }
}

/// Asks a device for what clients poll.
pub(crate) fn poller(soak: &Soak, draws: &mut Draws, device: usize) {
    const PATHS: [&str; 10] = [
        "/api/v1/report",
        "/api/v1/report/objects",
        "/api/v1/system",
        "/api/v1/variables",
        "/api/v1/settings",
        "/api/v1/mqtt/settings",
        "/api/v1/modbus",
        "/api/v1/wifi/scan",
        "/api/v1/actions/status?id=1,2,3,4,5",
        "/",
    ];
    let mut client = Client::with_patience(soak.house.devices[device], Duration::from_secs(3));
    while soak.goes_on(draws) {
        let path = draws.pick(&PATHS);
        if let Ok(answer) = client.get(path) {
            soak.judge_status(path, &answer);
            soak.count("polls");
        }
    }
}

/// Asks the device that nobody disturbs, which has to answer in time, however the others are treated.
pub(crate) fn prober(soak: &Soak, draws: &mut Draws) {
    let mut client = Client::new(soak.house.devices[UNDISTURBED]);
    while soak.goes_on(draws) {
        // A reset and a movement of the clock may hold an answer up; they are held up themselves then.
        let begin = Instant::now();
        match client.get("/api/v1/settings") {
            Ok(answer) if answer.status == 200 => {}
            Ok(answer) => soak.find(format!("the undisturbed device answers {}", answer.status)),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {} // by a reset of the house
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {}
            Err(error) => soak.find(format!("the undisturbed device: {error}")),
        }
        if begin.elapsed() > SILENCE {
            soak.find(format!("the undisturbed device answered after {:?}", begin.elapsed()));
        }
        soak.count("probes");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Changes settings and definitions; some of the changes are invalid.
pub(crate) fn configurator(soak: &Soak, draws: &mut Draws) {
    while soak.goes_on(draws) {
        let device = [CALLED, REBOOTED][draws.index(2)];
        let mut client = Client::with_patience(soak.house.devices[device], Duration::from_secs(3));
        let number = draws.below(7200);
        let text = draws.number().to_string();
        let (method, path, body) = match draws.below(12) {
            0..3 => ("POST", "/api/v1/actions", ACTIONS.to_owned()),
            3 => ("POST", "/api/v1/actions", ACTIONS.replace("slow", &text[..5])),
            4 => ("POST", "/api/v1/actions", ACTIONS[..draws.index(ACTIONS.len())].to_owned()),
            5 => ("DELETE", "/api/v1/actions", String::new()),
            6 => (
                "PUT",
                "/api/v1/settings",
                format!("{{\"services\":{{\"report_interval\":{number}}}}}"),
            ),
            7 => {
                let is_on = draws.one_in(2);
                (
                    "PUT",
                    "/api/v1/settings",
                    format!("{{\"services\":{{\"modbus\":{{\"enable\":{is_on}}}}}}}"),
                )
            }
            8 => ("PUT", "/api/v1/settings", format!("{{\"system\":{{\"name\":\"{text}\"}}}}")),
            9 => {
                let is_on = draws.one_in(2);
                (
                    "PUT",
                    "/api/v1/mqtt/settings",
                    format!("{{\"enable\":{is_on},\"url\":\"mqtt://broker.local\"}}"),
                )
            }
            10 => ("POST", "/api/v1/template/test", "${P_In} ${unknown}".to_owned()),
            _ => ("PUT", "/api/v1/settings", random_text(draws)),
        };
        if let Ok(answer) = client.send(method, path, body.as_bytes()) {
            soak.judge_status(path, &answer);
            soak.count("settings");
        }
        thread::sleep(Duration::from_millis(draws.below(60)));
    }
}

fn random_text(draws: &mut Draws) -> String {
    let pieces = ["{", "}", "\"", ":", "[", "]", ",", "services", "1e999", "null", "\\u0000", "é"];
    (0..draws.below(200)).map(|_| draws.pick(&pieces)).collect()
}

/// Adds, arms, releases and removes fault rules of every place.
pub(crate) fn saboteur(soak: &Soak, draws: &mut Draws) {
    let mut control = Client::new(soak.house.control);
    let mut mine = Vec::new();
    while soak.goes_on(draws) {
        let (what, answer) = if mine.is_empty() || (mine.len() < 40 && draws.one_in(2)) {
            let id = soak.new_rule();
            let rule = rule(draws, &id);
            mine.push(id);
            let answer = control.send("POST", "/control/v1/faults", rule.as_bytes());
            (rule, answer)
        } else {
            let index = draws.index(mine.len());
            let path = format!("/control/v1/faults/{}", mine[index]);
            let change = draws.below(4);
            if change == 0 {
                mine.swap_remove(index);
            }
            let (method, body) = match change {
                0 => ("DELETE", ""),
                1 => ("PATCH", r#"{"armed": true}"#),
                2 => ("PATCH", r#"{"armed": false}"#),
                _ => ("PATCH", r#"{"release": true}"#),
            };
            let answer = control.send(method, &path, body.as_bytes());
            (path, answer)
        };
        // 404 after a reset, which removes the rules.
        soak.judge_control_answer(&what, &answer, &[404], "rules");
        thread::sleep(Duration::from_millis(draws.below(40)));
    }
}

/// Returns a rule as the control plane takes it.
fn rule(draws: &mut Draws, id: &str) -> String {
    const SLAVE: [&str; 15] = [
        r#"{"delay": "1s"}"#,
        r#""silence""#,
        r#"{"exception": 2}"#,
        r#""wrong_transaction_id""#,
        r#""stale_reply""#,
        r#""wrong_unit""#,
        r#"{"protocol_id": 7}"#,
        r#""length_too_long""#,
        r#"{"truncated": 3}"#,
        r#""changed_echo""#,
        r#""dribble""#,
        r#""duplicate""#,
        r#"{"close": "middle"}"#,
        r#"{"reset": "before"}"#,
        r#"{"reset": "after"}"#,
    ];
    const API: [&str; 8] = [
        r#"{"delay": "500ms"}"#,
        r#"{"status": 503}"#,
        r#""reset""#,
        r#""hang""#,
        r#"{"cut": 40}"#,
        r#""drip""#,
        r#""malformed_json""#,
        r#"{"status": {"code": 429, "retry_after": 5}}"#,
    ];
    const ACTION: [&str; 6] = [
        r#""disable""#,
        r#""hold""#,
        r#"{"hold": "5s"}"#,
        r#"{"result": -9}"#,
        r#"{"result": -3}"#,
        r#"{"result": -17}"#,
    ];
    const TARGET: [&str; 6] = [
        r#"{"delay": "2s"}"#,
        r#"{"status": 500}"#,
        r#""reset""#,
        r#""hang""#,
        r#""bad_content_length""#,
        r#"{"result": -20}"#,
    ];
    const LIVE: [&str; 5] = [
        r#"{"delay": "2s"}"#,
        r#"{"stall": "10s"}"#,
        r#"{"cut": 40}"#,
        r#""duplicate""#,
        r#""takeover""#,
    ];
    const MQTT: [&str; 3] = [r#"{"delay": "2s"}"#, r#""lose""#, r#""drop""#];
    const METER: [&str; 4] =
        [r#""no_data""#, r#""not_connected""#, r#""frozen""#, r#"{"missing_phase": "l2"}"#];
    let device = DEVICES[[CALLED, REBOOTED][draws.index(2)]];
    let trigger = match draws.below(6) {
        0 => r#"{"probability": 0.3}"#,
        1 => r#"{"first": 5}"#,
        2 => r#"{"nth": [1, 3, 8]}"#,
        3 => r#"{"after": "2s", "for": "20s", "every": "2m"}"#,
        4 => r#"{"for": "30s", "probability": 0.5}"#,
        _ => r#"{"armed": true}"#,
    };
    let window = r#"{"for": "20s", "every": "2m"}"#;
    let (at, trigger, effect) = match draws.below(11) {
        0 => (
            format!(r#"{{"api": "/api/v1/actions/call", "device": "{device}"}}"#),
            trigger,
            draws.pick(&API),
        ),
        1 => (
            format!(r#"{{"api": "any", "device": "{device}"}}"#),
            r#"{"probability": 0.1}"#,
            draws.pick(&API),
        ),
        2 | 3 => {
            (format!(r#"{{"action": "any", "device": "{device}"}}"#), trigger, draws.pick(&ACTION))
        }
        4 => (
            format!(r#"{{"queue": "any", "device": "{device}"}}"#),
            trigger,
            draws.pick(&[r#"{"occupy": 5}"#, r#"{"limit": 2}"#]),
        ),
        5 => (r#"{"slave": "pump", "unit": 1}"#.to_owned(), trigger, draws.pick(&SLAVE)),
        6 if draws.one_in(4) => (r#"{"slave": "pump"}"#.to_owned(), window, r#""refuse""#),
        6 => (format!(r#"{{"modbus": "any", "device": "{device}"}}"#), trigger, draws.pick(&SLAVE)),
        7 => (r#"{"target": "bulb"}"#.to_owned(), trigger, draws.pick(&TARGET)),
        8 => (format!(r#"{{"live": "any", "device": "{device}"}}"#), trigger, draws.pick(&LIVE)),
        9 => (format!(r#"{{"mqtt": "any", "device": "{device}"}}"#), trigger, draws.pick(&MQTT)),
        _ => (format!(r#"{{"meter": "any", "device": "{device}"}}"#), window, draws.pick(&METER)),
    };
    format!(r#"{{"id": "{id}", "at": {at}, "when": {trigger}, "effect": {effect}}}"#)
}

/// Moves the clock and sets its speed.
pub(crate) fn clockmaker(soak: &Soak, draws: &mut Draws) {
    let mut control = Client::with_patience(soak.house.control, Duration::from_mins(1));
    while soak.goes_on(draws) {
        let body = match draws.below(6) {
            0 | 1 => format!(r#"{{"advance": "{}s"}}"#, 1 + draws.below(120)),
            2 => format!(r#"{{"jump": "{}m"}}"#, 1 + draws.below(3 * 1440)),
            3 => r#"{"speed": 60}"#.to_owned(),
            4 => r#"{"speed": 1}"#.to_owned(),
            _ => r#"{"speed": 20}"#.to_owned(),
        };
        let answer = control.send("POST", "/control/v1/clock", body.as_bytes());
        soak.judge_control_answer(&body, &answer, &[], "movements");
        thread::sleep(Duration::from_millis(200 + draws.below(800)));
    }
}

/// Reboots a device, restores its factory settings, and uploads firmware.
pub(crate) fn rebooter(soak: &Soak, draws: &mut Draws) {
    while soak.goes_on(draws) {
        let device = [REBOOTED, REBOOTED, REBOOTED, CALLED][draws.index(4)];
        let mut client = Client::with_patience(soak.house.devices[device], Duration::from_secs(3));
        let path = match draws.below(5) {
            0 => "/api/v1/restore",
            1 => "/load",
            _ => "/api/v1/reboot",
        };
        let done = if path == "/load" {
            upload(soak.house.devices[device]).is_ok()
        } else {
            client.send("POST", path, b"").is_ok()
        };
        if done {
            soak.count("reboots");
        }
        thread::sleep(Duration::from_millis(300 + draws.below(1500)));
    }
}

fn upload(device: SocketAddr) -> std::io::Result<()> {
    let form = "--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"upgrade.bin\"\r\n\
                Content-Type: application/octet-stream\r\n\r\nimage\r\n--XX--\r\n";
    let head = format!(
        "POST /load HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=XX\r\n\
         Content-Length: {}\r\n\r\n{form}",
        form.len()
    );
    let mut stream = connect(device, Duration::from_secs(3))?;
    stream.write_all(head.as_bytes())?;
    stream.read_exact(&mut [0; 12])
}

/// Resets the house, a few times in a round.
pub(crate) fn resetter(soak: &Soak, draws: &mut Draws) {
    while soak.goes_on(draws) {
        soak.sleep(Duration::from_millis(2000 + draws.below(4000)));
        if soak.goes_on(draws) {
            soak.find_error(soak.watch.reset());
        }
    }
}

/// Reads and writes registers of a slave or of a device.
pub(crate) fn modbus_client(soak: &Soak, draws: &mut Draws) {
    while soak.goes_on(draws) {
        let (slaves, devices) = (&soak.house.slaves, &soak.house.device_modbus);
        let address = [slaves[0], slaves[0], devices[CALLED], devices[UNDISTURBED]][draws.index(4)];
        let Ok(mut stream) = connect(address, Duration::from_secs(2)) else { continue };
        for _ in 0..draws.below(50) {
            if !soak.goes_on(draws) || stream.write_all(&modbus_request(draws)).is_err() {
                break;
            }
            let mut reply = [0; 300];
            if stream.read(&mut reply).is_ok_and(|length| length > 0) {
                soak.count("modbus requests");
            } else {
                break;
            }
        }
    }
}

/// Returns a request, mostly to registers that exist.
pub(crate) fn modbus_request(draws: &mut Draws) -> Vec<u8> {
    let address = [0, 1, 3, 100, 211, 60_000][draws.index(6)] + u16::from(draws.byte() % 4);
    let function = [1, 2, 3, 4, 5, 6, 15, 16, 23, 99][draws.index(10)];
    let mut pdu = vec![function];
    pdu.extend(address.to_be_bytes());
    match function {
        5 => pdu.extend([0xFF, 0]),
        6 => pdu.extend([draws.byte(), draws.byte()]),
        15 => pdu.extend([0, 8, 1, draws.byte()]),
        16 => pdu.extend([0, 1, 2, draws.byte(), draws.byte()]),
        23 => pdu.extend([0, 2, 0, 1, 0, 1, 2, 0, draws.byte()]),
        _ => pdu.extend([0, 1 + draws.byte() % 20]),
    }
    let unit = [1, 1, 1, 2, 9][draws.index(5)];
    let length = u16::try_from(pdu.len() + 1).unwrap_or(0).to_be_bytes();
    [&[draws.byte(), draws.byte(), 0, 0, length[0], length[1], unit], pdu.as_slice()].concat()
}

/// Follows the live stream of a device, and leaves it.
pub(crate) fn follower(soak: &Soak, draws: &mut Draws) {
    while soak.goes_on(draws) {
        let device = [CALLED, REBOOTED, BESIEGED, UNDISTURBED][draws.index(4)];
        let Ok(mut stream) = connect(soak.house.devices[device], Duration::from_secs(1)) else {
            continue;
        };
        let _ = stream.write_all(b"GET /api/v1/live HTTP/1.1\r\nHost: x\r\n\r\n");
        let mut bytes = [0; 4096];
        for _ in 0..draws.below(60) {
            if !soak.goes_on(draws) || !stream.read(&mut bytes).is_ok_and(|length| length > 0) {
                break;
            }
            soak.count("live reads");
        }
    }
}

/// Reads registers, the journal and the state at the control plane, and writes registers.
pub(crate) fn operator(soak: &Soak, draws: &mut Draws) {
    let mut control = Client::with_patience(soak.house.control, Duration::from_mins(1));
    while soak.goes_on(draws) {
        let slave = SLAVES[0];
        let (method, path, body) = match draws.below(6) {
            0 => ("GET", "/control/v1/state".to_owned(), ""),
            1 => ("GET", format!("/control/v1/slaves/{slave}/units/1/holding/0?count=20"), ""),
            2 => (
                "PUT",
                format!("/control/v1/slaves/{slave}/units/2/holding/7"),
                r#"{"values": [42]}"#,
            ),
            3 => ("GET", "/control/v1/journal?limit=50&event=request_finished".to_owned(), ""),
            4 => ("GET", "/control/v1/targets/bulb/requests?limit=20".to_owned(), ""),
            _ => ("DELETE", "/control/v1/targets/bulb/requests".to_owned(), ""),
        };
        let answer = control.send(method, &path, body.as_bytes());
        soak.judge_control_answer(&format!("{method} {path}"), &answer, &[], "control calls");
        thread::sleep(Duration::from_millis(draws.below(50)));
    }
}

/// A broker that accepts every client, and breaks some connections.
pub(crate) fn broker(listener: &TcpListener, stops: &AtomicBool) {
    let mut number = 0;
    let mut clients: Vec<(TcpStream, u64)> = Vec::new();
    while !stops.load(Ordering::Relaxed) {
        if let Ok((mut stream, _)) = listener.accept() {
            number += 1;
            let _ = stream.set_nonblocking(true);
            // CONNACK: the client is accepted, with a new session.
            let _ = stream.write_all(&[0x20, 2, 0, 0]);
            clients.push((stream, number));
        }
        let mut bytes = [0; 4096];
        clients.retain_mut(|(stream, number)| match stream.read(&mut bytes) {
            Ok(0) => false,
            Ok(_) => {
                *number += 1;
                *number % 50 != 0
            }
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        });
        thread::sleep(Duration::from_millis(20));
    }
}
