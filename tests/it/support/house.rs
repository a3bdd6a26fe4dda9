//! A house in a test, and a minimal HTTP client that shows every byte.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::ops::Deref;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use wwsim::house::{House, HouseBuilder};
use wwsim::journal::JournalEntry;

pub(crate) use super::within;

/// A running house on free ports, with what [`House`] itself lacks: raw HTTP and calls of the control plane.
pub(crate) struct TestHouse {
    pub house: House,
}

impl Deref for TestHouse {
    type Target = House;

    fn deref(&self) -> &House {
        &self.house
    }
}

/// A parsed response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: u16,
    /// The status line and headers, unchanged.
    pub head: String,
    pub body: String,
}

impl Answer {
    /// Returns the value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        super::device::header(&self.head, name)
    }

    /// Parses the body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

impl TestHouse {
    /// Starts the house that [`describe`] describes.
    pub(crate) async fn start(yaml: &str) -> Self {
        match describe(yaml).start().await {
            Ok(house) => Self { house },
            Err(error) => panic!("{error}"),
        }
    }

    /// Returns the address of the first device's API.
    pub(crate) fn api_address(&self) -> SocketAddr {
        address(&self.device().url())
    }

    /// Returns the address of the control plane.
    pub(crate) fn control_address(&self) -> SocketAddr {
        address(&self.addresses().control)
    }

    /// Sends a GET request to the first device.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        http(self.api_address(), "GET", path, "").await
    }

    /// Sends a POST request to the first device.
    pub(crate) async fn post(&self, path: &str, body: &str) -> Answer {
        http(self.api_address(), "POST", path, body).await
    }

    /// Calls an action through the API.
    pub(crate) async fn call(&self, action: &str) -> Answer {
        self.post(&format!("/api/v1/actions/call?id={action}"), "").await
    }

    /// Calls an action, and returns its status ids once `duration` has passed.
    pub(crate) async fn run(&self, action: &str, duration: Duration) -> Vec<u64> {
        let ids = self.device().call(action).unwrap();
        self.advance(duration).await;
        ids
    }

    /// Returns the entries of status ids, as the API shows them.
    pub(crate) async fn status(&self, ids: &[u64]) -> Value {
        let ids: Vec<String> = ids.iter().map(u64::to_string).collect();
        self.get(&format!("/api/v1/actions/status?id={}", ids.join(","))).await.json()
    }

    /// Waits until the house is quiescent.
    pub(crate) async fn settle(&self) {
        self.clock().advance(Duration::ZERO).await.unwrap();
    }

    /// Advances the clock.
    pub(crate) async fn advance(&self, duration: Duration) {
        self.clock().advance(duration).await.unwrap();
    }

    /// Protects the first device with a password, as a client would by its settings.
    pub(crate) fn protect(&self, password: &str) {
        let protected = self.device().configure(|config| {
            config.settings.system.protection = true;
            password.clone_into(&mut config.settings.system.password);
            Ok::<_, std::convert::Infallible>(())
        });
        protected.unwrap();
    }

    /// Sends a GET request to the control plane and returns the JSON of its reply.
    pub(crate) async fn control_get(&self, path: &str) -> Value {
        let answer = http(self.control_address(), "GET", &format!("/control/v1/{path}"), "").await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.json()
    }

    /// Sends a request to the control plane.
    pub(crate) async fn control_send(&self, method: &str, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        http(self.control_address(), method, &format!("/control/v1/{path}"), &body).await
    }

    /// Adds a fault rule through the control plane.
    pub(crate) async fn add_fault(&self, rule: Value) {
        let answer = self.control_send("POST", "faults", &rule).await;
        assert!(answer.status < 300, "{}: {}", answer.status, answer.body);
    }

    /// Returns the number of times that a rule of the scenario was evaluated and fired.
    pub(crate) fn counts(&self, rule: &str) -> (u64, u64) {
        let rule = self.engine().get(rule).unwrap();
        (rule.evaluated, rule.fired)
    }

    /// Stores an action definition.
    pub(crate) async fn define(&self, actions: Value) {
        let body = json!({ "actions": actions }).to_string();
        let answer = self.post("/api/v1/actions", &body).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    /// Returns the entries of the journal.
    pub(crate) fn journal_entries(&self) -> Vec<JournalEntry> {
        self.journal().entries_after(0, usize::MAX, |_| true)
    }
}

/// Describes a scenario with every listener on a free port, and a manual clock unless the scenario sets
/// one.
pub(crate) fn describe(yaml: &str) -> HouseBuilder {
    let yaml = if yaml.contains("clock:") {
        yaml.to_owned()
    } else {
        format!("clock: {{start: 2026-01-15T18:00:00+01:00, speed: manual}}\n{yaml}")
    };
    House::builder().scenario(&yaml).any_port()
}

/// A port that no other process gets while this lives: the socket is bound, so that the system does not
/// give the port away, and does not listen, so that a house can.
pub(crate) struct FreePort(TcpSocket);

impl FreePort {
    pub(crate) fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self(socket)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    pub(crate) fn number(&self) -> u16 {
        self.address().port()
    }

    /// Listens on the port, on which no other socket may listen.
    pub(crate) fn listen(self) -> TcpListener {
        self.0.listen(1).expect("another socket still listens")
    }
}

/// Sends one request on a connection of its own and reads the response to its end.
pub(crate) async fn http(to: SocketAddr, method: &str, path: &str, body: &str) -> Answer {
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {to}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    parse(&String::from_utf8_lossy(&exchange(to, request.as_bytes()).await))
}

/// Sends bytes and reads until the other end closes the connection.
pub(crate) async fn exchange(to: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut received = Vec::new();
    within(stream.read_to_end(&mut received)).await.unwrap();
    received
}

/// Parses a response.
pub(crate) fn parse(text: &str) -> Answer {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {text:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Answer {
        status: status.unwrap_or_else(|| panic!("no status: {head:?}")),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

/// Returns the address in a URL, or that stands for itself.
pub(crate) fn address(url: &str) -> SocketAddr {
    let authority = url.split_once("://").map_or(url, |(_, authority)| authority);
    authority.trim_end_matches('/').parse().unwrap_or_else(|error| panic!("{url}: {error}"))
}

/// Formats bytes as upper-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02X}").unwrap();
        text
    })
}
