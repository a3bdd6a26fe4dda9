//! A device with its peers and action client on a manual clock, without the HTTP surface. Also
//! peers outside the house whose bytes a test chooses.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use wwsim::action_client::{ActionClient, ClientContext};
use wwsim::clock::{Clock, Speed};
use wwsim::device::actions::{Definition, RequestStatus};
use wwsim::device::{ActionPolicy, Device, Identity, License, Setup};
use wwsim::fault::{
    Engine, Fault, Rule, SlaveEffect, SlavePlace, TargetEffect, TargetPlace, Trigger,
};
use wwsim::journal::{Event, Journal};
use wwsim::modbus::bank::{
    BitRange, ByteOrder, Register, RegisterAccess, RegisterSource, RegisterType, RegisterValue,
    UnitLayout, WordOrder,
};
use wwsim::outbound::Policy;
use wwsim::peers::{PeerContext, Peers, PeersError};
use wwsim::scenario::{SlavePlan, TargetPlan, TargetReply, TargetRoute};

pub(crate) use super::{SECOND, within};

/// A device, its peers and its action client.
pub(crate) struct TestPeers {
    pub clock: Clock,
    pub engine: Arc<Engine>,
    pub journal: Arc<Journal>,
    pub device: Arc<Device>,
    pub peers: Peers,
    pub actions: ActionClient,
}

/// The parts of a [`TestPeers`].
#[derive(Default)]
pub(crate) struct PeersPlan {
    pub slaves: Vec<SlavePlan>,
    pub targets: Vec<TargetPlan>,
    pub rules: Vec<Rule>,
    pub action_policy: ActionPolicy,
    pub policy: Policy,
}

impl PeersPlan {
    pub(crate) async fn start(self) -> TestPeers {
        self.try_start().await.unwrap()
    }

    pub(crate) async fn try_start(self) -> Result<TestPeers, PeersError> {
        let clock = Clock::new(Timestamp::UNIX_EPOCH, Speed::Manual);
        let journal = Arc::new(Journal::new(clock.clone()));
        let engine = Arc::new(Engine::new(1, clock.clone(), Arc::clone(&journal), self.rules));
        let context = PeerContext {
            clock: clock.clone(),
            engine: Arc::clone(&engine),
            journal: Arc::clone(&journal),
            seed: 1,
        };
        let peers = Peers::bind(&self.slaves, &self.targets, &context)?;
        let actions = ActionClient::new(ClientContext {
            clock: clock.clone(),
            engine: Arc::clone(&engine),
            journal: Arc::clone(&journal),
            peers: peers.peer_addresses().to_vec(),
            policy: self.policy,
            control: None,
            brokers: Vec::new(),
            connection_registry: peers.connection_registry().clone(),
            root_certificates: peers.root_certificates().to_vec(),
        })
        .unwrap();
        peers.start().await;
        let identity = Identity { id: "A842E39F8124".parse().unwrap(), license: License::Plus };
        let setup = Setup { action_policy: self.action_policy, ..Setup::new(identity) };
        let (rules, log) = (Arc::clone(&engine), Arc::clone(&journal));
        let device = Device::new(setup, clock.clone(), rules, log);
        Ok(TestPeers { clock, engine, journal, device, peers, actions })
    }
}

impl TestPeers {
    /// Defines one action `it` with these requests, calls it, and returns its status ids.
    pub(crate) fn call(&self, requests: &[Value]) -> Vec<u64> {
        self.call_as("it", requests)
    }

    pub(crate) fn call_as(&self, id: &str, requests: &[Value]) -> Vec<u64> {
        let definition = json!({"actions": [{"id": id, "requests": requests}]}).to_string();
        self.device.set_definition(Arc::new(Definition::parse(definition.as_bytes()).unwrap()));
        let run = self.device.call(id).unwrap();
        let ids = run.requests.iter().map(|(ticket, _)| ticket.id()).collect();
        self.actions.runner().start_run(run);
        ids
    }

    /// Returns the code of one request to a peer of the house. The clock does not move.
    pub(crate) async fn code(&self, request: Value) -> i32 {
        let ids = self.call(&[request]);
        self.wait_quiescent().await;
        self.status(ids[0]).code
    }

    /// Waits until the house is quiescent.
    pub(crate) async fn wait_quiescent(&self) {
        self.advance(Duration::ZERO).await;
    }

    pub(crate) async fn advance(&self, duration: Duration) {
        within(self.clock.advance(duration)).await.unwrap();
    }

    pub(crate) fn status(&self, id: u64) -> RequestStatus {
        self.device.status(&[id]).remove(0)
    }

    pub(crate) fn codes(&self, ids: &[u64]) -> Vec<i32> {
        self.device.status(ids).into_iter().map(|status| status.code).collect()
    }

    /// Waits until a request to a peer outside the house has ended, and returns its code.
    pub(crate) async fn finished(&self, status_id: u64) -> i32 {
        let ended =
            |event: &Event| matches!(event, Event::RequestFinished { id, .. } if *id == status_id);
        within(self.journal.read_until(|after| {
            self.journal.entries_after(after, 1, |entry| ended(&entry.event)).pop()
        }))
        .await;
        self.status(status_id).code
    }

    pub(crate) fn slave(&self, name: &str) -> SocketAddr {
        self.peers.slave(name).unwrap().address()
    }

    pub(crate) fn target(&self, name: &str) -> SocketAddr {
        self.peers.target(name).unwrap().address()
    }

    /// Returns a holding register of unit 1 of the first slave.
    pub(crate) fn register(&self, address: u16) -> u16 {
        use wwsim::modbus::bank::Table;
        let slave = self.peers.slaves().next().unwrap();
        slave.peek(1, Table::HoldingRegisters, address, 1).unwrap()[0]
    }

    /// Returns the outcomes of the requests that slaves carried out, from the journal.
    pub(crate) fn outcomes(&self) -> Vec<String> {
        let events = self.journal.entries_after(0, usize::MAX, |_| true);
        let outcome = |event| match event {
            Event::SlaveRequest { outcome, .. } => Some(outcome.into_owned()),
            _ => None,
        };
        events.into_iter().filter_map(|entry| outcome(entry.event)).collect()
    }

    /// Returns the cause that the journal gives for the end of a request.
    pub(crate) fn cause(&self, status_id: u64) -> String {
        let ended = self.journal.entries_after(0, usize::MAX, |_| true);
        let cause = |event| match event {
            Event::RequestFinished { id, cause, .. } if id == status_id => Some(cause),
            _ => None,
        };
        ended.into_iter().find_map(|entry| cause(entry.event)).unwrap()
    }
}

/// Returns a slave with units 1 and 2: holding registers and coils 0..=99, all zero.
pub(crate) fn slave(name: &str) -> SlavePlan {
    let zeros = Register {
        address: 0,
        count: 100,
        name: None,
        value_type: RegisterType::Ushort,
        word_order: WordOrder::Msw,
        byte_order: ByteOrder::Big,
        source: RegisterSource::Stored(RegisterValue::Integer(0)),
        access: RegisterAccess::ReadWrite,
        limits: None,
        reactions: Vec::new(),
    };
    let coils =
        BitRange { addresses: 0..=99, name: None, value: false, access: RegisterAccess::ReadWrite };
    let layout = UnitLayout { coils: vec![coils], holding: vec![zeros], ..UnitLayout::default() };
    SlavePlan {
        name: name.into(),
        listen: loopback(),
        hosts: vec![format!("{name}.local:502").parse().unwrap()],
        units: vec![(1, layout.clone()), (2, layout)],
        unknown_unit: None,
        latency: Duration::ZERO,
        max_connections: 8,
        idle: wwsim::modbus::limits::SLAVE_IDLE,
    }
}

/// Returns a target with these routes.
pub(crate) fn target(name: &str, routes: Vec<TargetRoute>) -> TargetPlan {
    TargetPlan {
        name: name.into(),
        listen: loopback(),
        tls: false,
        hosts: vec![format!("{name}.local").parse().unwrap()],
        routes,
    }
}

/// Returns a route for all methods with one reply.
pub(crate) fn route(path: &str, status: u16, body: &str) -> TargetRoute {
    TargetRoute { method: None, path: path.into(), replies: vec![reply(status, body)] }
}

pub(crate) fn reply(status: u16, body: &str) -> TargetReply {
    TargetReply { status, headers: Vec::new(), body: body.into(), latency: Duration::ZERO }
}

pub(crate) fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// Returns a rule that always fires.
pub(crate) fn always(id: &str, fault: Fault) -> Rule {
    Rule { id: id.into(), fault, devices: None, when: Trigger::default() }
}

pub(crate) fn on_slave(effect: SlaveEffect) -> Fault {
    Fault::Slave(SlavePlace::default(), effect)
}

pub(crate) fn on_target(effect: TargetEffect) -> Fault {
    Fault::Target(TargetPlace::default(), effect)
}

/// Returns a request of an action: `value` to register `address` of unit 1, with a timeout of a
/// second.
pub(crate) fn write(host: &str, port: u16, address: u16, value: u16) -> Value {
    json!({"modbus": {
        "host": host, "port": port, "unit_id": 1, "func": 6, "address": address,
        "type": "short", "value": value.to_string(), "timeout": 1,
    }})
}

/// Returns a request of an action: GET, with a timeout of a second.
pub(crate) fn get(url: &str) -> Value {
    json!({"http": {"url": url, "timeout": 1}})
}

pub(crate) async fn connect(to: SocketAddr) -> TcpStream {
    within(TcpStream::connect(to)).await.unwrap()
}

/// Returns a PDU in a frame.
pub(crate) fn frame(transaction: u16, unit: u8, pdu: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    wwsim::modbus::wire::write_frame(transaction, unit, pdu, &mut frame);
    frame
}

/// Returns a frame that reads holding register 0.
pub(crate) fn read_one(transaction: u16, unit: u8) -> Vec<u8> {
    frame(transaction, unit, &[3, 0, 0, 0, 1])
}

/// Reads one frame and returns its transaction id, unit and PDU.
pub(crate) async fn read_frame(stream: &mut TcpStream) -> (u16, u8, Vec<u8>) {
    let mut header = [0; 7];
    within(stream.read_exact(&mut header)).await.unwrap();
    let mut pdu = vec![0; usize::from(u16::from_be_bytes([header[4], header[5]])) - 1];
    within(stream.read_exact(&mut pdu)).await.unwrap();
    (u16::from_be_bytes([header[0], header[1]]), header[6], pdu)
}

/// Reads until the other side ends the connection, by FIN or RST.
pub(crate) async fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = within(stream.read_to_end(&mut bytes)).await;
    bytes
}

/// The way in which an outside peer ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnectionEnd {
    /// The peer waits until the client ends it.
    Keep,
    Fin,
    Rst,
}

/// Starts a peer outside the house that serves one connection: it reads until `is_whole` accepts
/// the bytes as a request, sends the pieces that `answer` returns, and ends the connection. Its
/// task returns the request.
pub(crate) async fn outside_peer(
    is_whole: fn(&[u8]) -> bool,
    answer: impl FnOnce(&[u8]) -> Vec<Vec<u8>> + Send + 'static,
    end: ConnectionEnd,
) -> (SocketAddr, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind(loopback()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut request = Vec::new();
        while !is_whole(&request) {
            if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                return request;
            }
        }
        for piece in answer(&request) {
            stream.write_all(&piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        match end {
            ConnectionEnd::Fin => {}
            ConnectionEnd::Rst => stream.set_zero_linger().unwrap(),
            ConnectionEnd::Keep => {
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest).await;
            }
        }
        request
    });
    (address, task)
}

/// Returns true if the bytes are a whole Modbus frame.
pub(crate) fn is_frame(bytes: &[u8]) -> bool {
    matches!(wwsim::modbus::wire::split_frame(bytes), Ok(Some(_)))
}

/// Returns true if the bytes are a whole HTTP request without a body, or with a body of its length.
pub(crate) fn is_http(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
    });
    body.len() >= length.unwrap_or(0)
}
