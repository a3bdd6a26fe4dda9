//! The binary as a process, and connections to it that keep every byte.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

/// Real time after which a test is stuck. The clock of the house is manual, so nothing takes long.
const STUCK: Duration = Duration::from_mins(1);

/// The house that is not built in: it has what the others do not have.
pub(super) const WORKSHOP: &str = "workshop";

/// When a house starts if its file does not say it.
const START: &str = "clock: {start: 2026-01-15T18:00:00+01:00}\n";

/// A running house. The process ends when this is dropped.
pub(super) struct Process {
    child: Child,
    /// Kept open because a process that cannot print may end.
    _stdout: BufReader<ChildStdout>,
    folder: PathBuf,
    /// The output of the process at its start.
    pub welcome: String,
    /// The ready file.
    pub ready: Value,
}

impl Process {
    /// Starts a house on a manual clock and free ports, at a fixed moment.
    pub(super) fn start(house: &str) -> Self {
        let folder =
            std::env::temp_dir().join(format!("wwsim-recorded-{}-{house}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (file, ready) = (folder.join("house.yaml"), folder.join("ready.json"));
        fs::write(&file, text(house)).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_wwsim"))
            .arg("run")
            .arg(&file)
            .args(["--any-port", "--speed", "manual", "--ready-file"])
            .arg(&ready)
            .env_remove("WWSIM_LOG")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut welcome = String::new();
        while !welcome.ends_with("Ctrl-C ends it.\n") {
            assert_ne!(stdout.read_line(&mut welcome).unwrap(), 0, "{house} ended: {welcome}");
        }
        let ready = serde_json::from_slice(&fs::read(ready).unwrap()).unwrap();
        Self { child, _stdout: stdout, folder, welcome, ready }
    }

    /// Every address of the house with the name that stands for it in a transcript.
    pub(super) fn addresses(&self) -> Vec<(SocketAddr, String)> {
        let mut found = vec![(address(&self.ready["control"]), "control".to_owned())];
        for device in self.ready["devices"].as_array().unwrap() {
            let id = device["id"].as_str().unwrap();
            found.push((address(&device["http"]), format!("device-{id}")));
            found.push((address(&device["modbus"]), format!("modbus-{id}")));
        }
        for (kind, part) in [("slave", "slaves"), ("target", "http_targets")] {
            for (name, at) in self.ready[part].as_object().unwrap() {
                // Only a TLS client gets anything from such a target.
                let tls = if at.as_str().unwrap().starts_with("https") { "tls-" } else { "" };
                found.push((address(at), format!("{tls}{kind}-{name}")));
            }
        }
        found
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing can be done about a process or a folder that is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The text of a house, with a start of its clock.
pub(super) fn text(house: &str) -> String {
    let folder = if house == WORKSHOP { "fixtures/recorded" } else { "scenarios" };
    let path = format!("{}/{folder}/{house}.yaml", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(path).unwrap();
    if text.contains("\nclock:") { text } else { text + START }
}

/// Runs a command of the binary to its end, in the folder of the project.
pub(super) fn output(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wwsim"));
    command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).env_remove("WWSIM_LOG");
    command.output().unwrap()
}

fn address(url: &Value) -> SocketAddr {
    let url = url.as_str().unwrap();
    let authority = url.rsplit('/').next().unwrap();
    authority.parse().unwrap_or_else(|error| panic!("{url}: {error}"))
}

/// The end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Refused,
    Closed,
    Reset,
}

/// A connection to the house. `None` if it was refused.
pub(super) struct Connection(Option<TcpStream>);

impl Connection {
    pub(super) fn open(to: SocketAddr) -> Self {
        match TcpStream::connect(to) {
            Ok(stream) => {
                stream.set_read_timeout(Some(STUCK)).unwrap();
                stream.set_nodelay(true).unwrap();
                Self(Some(stream))
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}");
                Self(None)
            }
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.0.is_some()
    }

    /// Sends bytes. If the other side has reset the connection, the next read says so.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        if let Some(stream) = &mut self.0 {
            let _ = stream.write_all(bytes);
        }
    }

    /// Sends the end of the stream. The other side still answers what it has.
    pub(super) fn finish(&self) {
        if let Some(stream) = &self.0 {
            let _ = stream.shutdown(Shutdown::Write);
        }
    }

    /// Reads until the bytes end with `mark`.
    pub(super) fn read_past(&mut self, mark: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let stream = self.0.as_mut().expect("the connection was refused");
        while !bytes.ends_with(mark) {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            bytes.push(byte[0]);
        }
        bytes
    }

    /// Reads until the other side ends the connection.
    pub(super) fn rest(mut self) -> (Vec<u8>, End) {
        let Some(stream) = &mut self.0 else { return (Vec::new(), End::Refused) };
        let mut bytes = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            match stream.read(&mut chunk) {
                Ok(0) => return (bytes, End::Closed),
                Ok(count) => bytes.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    return (bytes, End::Reset);
                }
                Err(error) => panic!("stuck after {} bytes: {error}", bytes.len()),
            }
        }
    }
}

/// Sends a request that is not recorded. Returns head and body of the reply.
pub(super) fn quiet(to: SocketAddr, method: &str, path: &str, body: &str) -> (String, String) {
    let mut connection = Connection::open(to);
    connection.send(&request(method, path, &[], body));
    let (bytes, end) = connection.rest();
    assert_eq!(end, End::Closed, "{method} {path}");
    let reply = String::from_utf8(bytes).unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

/// A request whose connection ends with its response.
pub(super) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    if !body.is_empty() || matches!(method, "POST" | "PUT" | "PATCH") {
        write!(head, "Content-Length: {}\r\n", body.len()).unwrap();
    }
    (head + "\r\n" + body).into_bytes()
}
