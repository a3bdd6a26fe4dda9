//! A device with its HTTP server, without a house, and a client that returns every byte.

use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use wwsim::clock::{Clock, Speed};
use wwsim::device::actions::Definition;
use wwsim::device::{self, AccessPolicy, ActionPolicy, Device, Identity, License, Run};
use wwsim::fault::{ApiEffect, ApiPlace, Engine, Fault, Rule, Trigger};
use wwsim::journal::Journal;
use wwsim::meter::MeterPlan;
use wwsim::surface::http::{Api, ApiServer};

pub(crate) use super::within;

/// Two actions that can run, a disabled one, one with disabled requests, and one with two requests.
pub(crate) const ACTIONS: &str = r#"{"actions":[
    {"id":"1","requests":[{"http":{"url":"http://bulb.local/"}}]},
    {"id":"a b+c","requests":[{"http":{"url":"http://bulb.local/"}}]},
    {"id":"off","enable":false,"requests":[{"http":{"url":"http://bulb.local/"}}]},
    {"id":"none","requests":[{"http":{"enable":false,"url":"http://bulb.local/"}}]},
    {"id":"two","requests":[{"http":{"url":"http://bulb.local/"}},{"http":{"url":"http://bulb.local/"}}]}
]}"#;

/// A device on a manual clock. Admitted calls are collected in `runs`, not executed.
pub(crate) struct TestDevice {
    pub server: ApiServer,
    pub api: Arc<Api>,
    pub journal: Arc<Journal>,
    pub device: Arc<Device>,
    pub engine: Arc<Engine>,
    pub clock: Clock,
    pub runs: Arc<Mutex<Vec<Run>>>,
}

/// The device that a test starts.
pub(crate) struct Setup {
    pub firmware: &'static str,
    pub license: License,
    pub action_policy: ActionPolicy,
    pub actions: Option<&'static str>,
    pub access_policy: AccessPolicy,
    pub meter: MeterPlan,
    /// The time at which the clock starts.
    pub from: Timestamp,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            firmware: "2.0.2",
            license: License::Plus,
            action_policy: ActionPolicy { first_status_id: Some(139), ..ActionPolicy::default() },
            actions: Some(ACTIONS),
            access_policy: AccessPolicy::default(),
            meter: MeterPlan::default(),
            from: Timestamp::UNIX_EPOCH,
        }
    }
}

impl TestDevice {
    pub(crate) async fn start(setup: Setup) -> Self {
        let clock = Clock::new(setup.from, Speed::Manual);
        let journal = Arc::new(Journal::new(clock.clone()));
        let engine = Arc::new(Engine::new(1, clock.clone(), Arc::clone(&journal), vec![]));
        let identity = Identity { id: "A842E39F8124".parse().unwrap(), license: setup.license };
        let actions =
            setup.actions.map(|json| Arc::new(Definition::parse(json.as_bytes()).unwrap()));
        let device = device::Setup {
            firmware: setup.firmware.parse().unwrap(),
            action_policy: setup.action_policy,
            definition: actions,
            access_policy: setup.access_policy.into(),
            meter: setup.meter.into(),
            ..device::Setup::new(identity)
        };
        let device = Device::new(device, clock.clone(), Arc::clone(&engine), Arc::clone(&journal));
        let runs = Arc::new(Mutex::new(Vec::new()));
        let collected = Arc::clone(&runs);
        let api = Api::new(Arc::clone(&device), Arc::clone(&engine), clock.clone(), move |run| {
            collected.lock().unwrap().push(run);
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = ApiServer::start(listener, Arc::clone(&api)).unwrap();
        Self { server, api, journal, device, engine, clock, runs }
    }

    /// Starts a device with a rule that has this effect on every call.
    pub(crate) async fn with_fault(effect: ApiEffect) -> Self {
        let fixture = Self::start(Setup::default()).await;
        fixture.add_fault(effect, Trigger::default());
        fixture
    }

    pub(crate) fn add_fault(&self, effect: ApiEffect, when: Trigger) {
        self.add_rule(Fault::Api(ApiPlace::default(), effect), when);
    }

    /// Adds a rule with the id `fault`.
    pub(crate) fn add_rule(&self, fault: Fault, when: Trigger) {
        self.engine.add(Rule { id: "fault".into(), fault, devices: None, when }).unwrap();
    }

    /// Waits until the rule was evaluated `count` times and the house is quiescent.
    pub(crate) async fn wait_evaluated(&self, count: u64) {
        eventually(|| self.engine.get("fault").unwrap().evaluated == count).await;
        self.clock.advance(Duration::ZERO).await.unwrap();
    }

    pub(crate) async fn connect(&self) -> Client {
        Client(TcpStream::connect(self.server.address()).await.unwrap())
    }

    /// Sends bytes on a new connection and reads one response.
    pub(crate) async fn exchange_one(&self, request: &str) -> String {
        let mut client = self.connect().await;
        client.send(request).await;
        client.response().await
    }

    pub(crate) async fn get(&self, path: &str) -> String {
        self.exchange_one(&request("GET", path, "")).await
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> String {
        self.exchange_one(&request("POST", path, body)).await
    }
}

/// One connection.
pub(crate) struct Client(pub TcpStream);

impl Client {
    pub(crate) async fn send(&mut self, bytes: &str) {
        self.0.write_all(bytes.as_bytes()).await.unwrap();
    }

    /// Reads one response, to the end of its body.
    pub(crate) async fn response(&mut self) -> String {
        let mut response = String::new();
        while !response.ends_with("\r\n\r\n") {
            response.push(char::from(within(self.0.read_u8()).await.unwrap()));
        }
        let length = header(&response, "Content-Length").map_or(0, |text| text.parse().unwrap());
        let mut body = vec![0; length];
        within(self.0.read_exact(&mut body)).await.unwrap();
        response + std::str::from_utf8(&body).unwrap()
    }

    /// Reads everything up to the end of the connection.
    pub(crate) async fn read_to_end(&mut self) -> io::Result<String> {
        let mut bytes = Vec::new();
        within(self.0.read_to_end(&mut bytes)).await?;
        Ok(String::from_utf8(bytes).unwrap())
    }

    /// Returns the bytes that have arrived, without waiting.
    pub(crate) fn try_read(&mut self) -> String {
        let mut bytes = [0; 4096];
        match self.0.try_read(&mut bytes) {
            Ok(count) => String::from_utf8(bytes[..count].to_vec()).unwrap(),
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                String::new()
            }
        }
    }
}

pub(crate) fn request(method: &str, path: &str, body: &str) -> String {
    request_with(method, path, &[], body)
}

/// Returns a request with additional headers.
pub(crate) fn request_with(
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> String {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\n");
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    if !body.is_empty() {
        write!(head, "Content-Length: {}\r\n", body.len()).unwrap();
    }
    head + "\r\n" + body
}

/// Returns the value of a header. The case of its name does not matter.
pub(crate) fn header<'a>(response: &'a str, name: &str) -> Option<&'a str> {
    let head = response.split("\r\n\r\n").next().unwrap();
    head.lines().skip(1).find_map(|line| {
        let (found, value) = line.split_once(": ")?;
        found.eq_ignore_ascii_case(name).then_some(value)
    })
}

pub(crate) fn status(response: &str) -> u16 {
    response.split(' ').nth(1).unwrap().parse().unwrap()
}

pub(crate) fn body(response: &str) -> &str {
    response.split_once("\r\n\r\n").unwrap().1
}

/// Returns the key of an error reply.
pub(crate) fn error(response: &str) -> String {
    let json: serde_json::Value = serde_json::from_str(body(response)).unwrap();
    assert!(json["message"].is_string(), "{json}");
    json["error"].as_str().unwrap().to_owned()
}

pub(crate) async fn eventually(mut condition: impl FnMut() -> bool) {
    within(async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}
