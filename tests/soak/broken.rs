//! Clients that break the protocols or do not keep pace. Their connections end with them.

use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use crate::Soak;
use crate::clients::modbus_request;
use crate::draws::Draws;
use crate::house::{BESIEGED, CALLED};
use crate::http::{connect, read_answer};

const PATIENCE: Duration = Duration::from_secs(3);

/// Breaks in another way each time.
pub(crate) fn vandal(soak: &Soak, draws: &mut Draws) {
    while soak.goes_on(draws) {
        let house = &soak.house;
        let http =
            [house.devices[BESIEGED], house.devices[CALLED], house.targets[0], house.control];
        let modbus = [house.slaves[0], house.device_modbus[BESIEGED]];
        let (http, modbus) = (http[draws.index(4)], modbus[draws.index(2)]);
        // A connection that is refused or broken is the way of the house to defend itself.
        let _ = match draws.below(9) {
            0 => half_head(soak, draws, http),
            1 => half_body(soak, draws, http),
            2 => oversized_head(soak, draws, http),
            3 => oversized_body(soak, draws),
            4 => garbage(soak, draws, http),
            5 => garbage(soak, draws, modbus),
            6 => half_frame(soak, draws, modbus),
            7 => leave(soak, draws, http),
            _ => half_closed(soak, draws, http),
        };
        soak.count("broken clients");
    }
}

fn pause(soak: &Soak, draws: &mut Draws) {
    soak.sleep(Duration::from_millis(draws.below(1500)));
}

/// Sends a part of a head, and stays.
fn half_head(soak: &Soak, draws: &mut Draws, address: SocketAddr) -> std::io::Result<()> {
    let head = b"GET /api/v1/report HTTP/1.1\r\nHost: x\r\nX-Some: header\r\n";
    let mut stream = connect(address, PATIENCE)?;
    stream.write_all(&head[..draws.index(head.len())])?;
    pause(soak, draws);
    Ok(())
}

/// Sends a head and a part of its body, and stays.
fn half_body(soak: &Soak, draws: &mut Draws, address: SocketAddr) -> std::io::Result<()> {
    let mut stream = connect(address, PATIENCE)?;
    let path = draws.pick(&["/api/v1/actions", "/load", "/control/v1/faults", "/quick"]);
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=XX\r\n\
         Content-Length: 500\r\n\r\n--XX\r\n"
    )?;
    pause(soak, draws);
    Ok(())
}

/// Sends a head that no server has to take.
fn oversized_head(soak: &Soak, draws: &mut Draws, address: SocketAddr) -> std::io::Result<()> {
    let mut stream = connect(address, PATIENCE)?;
    let size = 10_000 + draws.index(200_000);
    let long = "x".repeat(size);
    let head = match draws.below(3) {
        0 => format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n"),
        1 => format!("GET / HTTP/1.1\r\nHost: x\r\nX-Long: {long}\r\n\r\n"),
        _ => format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "X-Many: 1\r\n".repeat(size / 11)),
    };
    stream.write_all(head.as_bytes())?;
    let (answer, _) = read_answer(&mut BufReader::new(stream))?;
    if size > 20_000 && answer.status < 400 {
        soak.find(format!("a head of {size} bytes is answered with {}", answer.status));
    }
    Ok(())
}

/// Announces or sends a body that is refused.
fn oversized_body(soak: &Soak, draws: &mut Draws) -> std::io::Result<()> {
    let mut stream = connect(soak.house.devices[BESIEGED], PATIENCE)?;
    let size = 8192 + draws.index(100_000);
    let head =
        format!("POST /api/v1/actions HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    // The server may close before it has read all of it.
    let _ = stream.write_all(&vec![b' '; size]);
    let (answer, _) = read_answer(&mut BufReader::new(stream))?;
    if answer.status != 413 {
        soak.find(format!("a definition of {size} bytes is answered with {}", answer.status));
    }
    Ok(())
}

/// Sends bytes at random.
fn garbage(soak: &Soak, draws: &mut Draws, address: SocketAddr) -> std::io::Result<()> {
    let mut stream = connect(address, PATIENCE)?;
    let bytes: Vec<u8> = (0..=draws.below(2000)).map(|_| draws.byte()).collect();
    stream.write_all(&bytes)?;
    stream.set_read_timeout(Some(Duration::from_millis(300)))?;
    let _ = stream.read(&mut [0; 512])?;
    pause(soak, draws);
    Ok(())
}

/// Sends a part of a Modbus request, and stays.
fn half_frame(soak: &Soak, draws: &mut Draws, address: SocketAddr) -> std::io::Result<()> {
    let mut stream = connect(address, PATIENCE)?;
    let request = modbus_request(draws);
    stream.write_all(&request[..draws.index(request.len())])?;
    pause(soak, draws);
    Ok(())
}

/// Leaves without the answer, which resets the connection if some of it has come.
fn leave(soak: &Soak, draws: &mut Draws, address: SocketAddr) -> std::io::Result<()> {
    for _ in 0..draws.below(30) {
        let mut stream = connect(address, PATIENCE)?;
        stream.write_all(b"GET /api/v1/variables HTTP/1.1\r\nHost: x\r\n\r\n")?;
        if draws.one_in(2) {
            soak.sleep(Duration::from_millis(draws.below(5)));
        }
    }
    Ok(())
}

/// Sends a request and closes its own direction.
fn half_closed(soak: &Soak, draws: &mut Draws, address: SocketAddr) -> std::io::Result<()> {
    let mut stream = connect(address, PATIENCE)?;
    stream.write_all(b"GET /api/v1/live HTTP/1.1\r\nHost: x\r\n\r\n")?;
    stream.shutdown(Shutdown::Write)?;
    pause(soak, draws);
    Ok(())
}

/// Reads the answers of many requests, or a listing, a little at a time.
pub(crate) fn slow_reader(soak: &Soak, draws: &mut Draws) {
    while soak.goes_on(draws) {
        let (address, path) = match draws.below(3) {
            0 => (soak.house.devices[BESIEGED], "/api/v1/variables"),
            1 => (soak.house.devices[BESIEGED], "/api/v1/live"),
            _ => (soak.house.control, "/control/v1/journal"),
        };
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
        let repeats = if path == "/api/v1/variables" { 100 } else { 1 };
        let Ok(mut stream) = connect(address, PATIENCE) else { continue };
        let _ = stream.write_all(request.repeat(repeats).as_bytes());
        let mut bytes = [0; 512];
        for _ in 0..draws.below(100) {
            soak.sleep(Duration::from_millis(20));
            if !soak.goes_on(draws) || !stream.read(&mut bytes).is_ok_and(|length| length > 0) {
                break;
            }
        }
        soak.count("slow readers");
    }
}

/// Sends many requests at once, and reads every answer.
pub(crate) fn flooder(soak: &Soak, draws: &mut Draws) {
    while soak.goes_on(draws) {
        let Ok(mut stream) = connect(soak.house.devices[BESIEGED], PATIENCE) else { continue };
        let requests = 1 + draws.index(100);
        let request = "GET /api/v1/report HTTP/1.1\r\nHost: x\r\n\r\n";
        if stream.write_all(request.repeat(requests).as_bytes()).is_err() {
            continue;
        }
        let mut reader = BufReader::new(stream);
        for _ in 0..requests {
            // A reset of the house may end the connection.
            let Ok((answer, _)) = read_answer(&mut reader) else { break };
            soak.judge_status("/api/v1/report in a flood", &answer);
            soak.count("flood requests");
        }
    }
}

/// Opens connections that do nothing, spread over listeners, and keeps them until the round ends.
pub(crate) fn idler(soak: &Soak, draws: &mut Draws) {
    let house = &soak.house;
    // The last two serve few at once, and their backlogs are short.
    let listeners = [
        (house.devices[BESIEGED], 4),
        (house.targets[1], 4),
        (house.slaves[1], 1),
        (house.device_modbus[BESIEGED], 1),
    ];
    let mut idle: Vec<TcpStream> = Vec::new();
    for (address, share) in listeners {
        for _ in 0..soak.idle_connections * share / 10 {
            if !soak.goes_on_at_once() {
                break;
            }
            match TcpStream::connect_timeout(&address, Duration::from_secs(5)) {
                Ok(stream) => idle.push(stream),
                Err(error) => {
                    soak.note_idle_failure(&error);
                    break;
                }
            }
        }
    }
    soak.note_idle(idle.len());
    while soak.goes_on(draws) {
        soak.sleep(Duration::from_millis(100));
    }
}
