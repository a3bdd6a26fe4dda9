//! A broker for tests: rumqttd in this process behind a gate, proxies to it that can be closed, and a
//! subscriber.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{RwLock, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::support::device::within;
use crate::support::house::FreePort;

/// The listeners of the one broker that all tests share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    /// The address without authentication.
    pub open: SocketAddr,
    /// The address for the user `demo` with the password `geheim`.
    pub protected: SocketAddr,
}

/// Returns the addresses of the broker, and starts it if necessary. The broker runs until the process ends,
/// because rumqttd cannot be stopped.
pub(crate) async fn broker() -> Ports {
    static BROKER: OnceLock<(Ports, [FreePort; 2])> = OnceLock::new();
    let (ports, own) = BROKER.get_or_init(|| {
        // rumqttd binds its ports by itself.
        let own = [FreePort::new(), FreePort::new()];
        let [open, protected] = [&own[0], &own[1]].map(|port| {
            let listener = StdListener::bind("127.0.0.1:0").unwrap();
            listener.set_nonblocking(true).unwrap();
            (listener, port.address())
        });
        let address = |gate: &(StdListener, SocketAddr)| gate.0.local_addr().unwrap();
        let ports = Ports { open: address(&open), protected: address(&protected) };
        let config = config(open.1, protected.1);
        std::thread::spawn(move || Broker::new(config).start().unwrap());
        std::thread::spawn(move || run_gate([open, protected]));
        (ports, own)
    });
    for port in own {
        within(async {
            while TcpStream::connect(port.address()).await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
    *ports
}

fn config(open: SocketAddr, protected: SocketAddr) -> Config {
    let users: HashMap<_, _> = [("demo".to_owned(), "geheim".to_owned())].into();
    let v4 = [("open", open, None), ("protected", protected, Some(users))];
    let server = |(name, listen, auth): (&str, SocketAddr, Option<HashMap<String, String>>)| {
        let settings = ServerSettings {
            name: name.to_owned(),
            listen,
            tls: None,
            next_connection_delay_ms: 0,
            connections: ConnectionSettings {
                connection_timeout_ms: 5000,
                max_payload_size: 65536,
                max_inflight_count: 100,
                auth,
                external_auth: None,
                dynamic_filters: true,
            },
        };
        (name.to_owned(), settings)
    };
    Config {
        router: RouterConfig {
            max_connections: 1000,
            max_outgoing_packet_count: 200,
            max_segment_size: 1 << 20,
            max_segment_count: 10,
            ..RouterConfig::default()
        },
        v4: Some(v4.map(server).into_iter().collect()),
        ..Config::default()
    }
}

/// Admits clients while none is disconnecting. rumqttd ends a connection at its DISCONNECT and again when the
/// socket closes, by a number that it reuses for the next client: a client that connects in between
/// would be dropped in place of the one that left.
fn run_gate(listeners: [(StdListener, SocketAddr); 2]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let gate = Arc::new(RwLock::new(()));
    runtime.block_on(async {
        let mut acceptors = JoinSet::new();
        for (listener, broker) in listeners {
            acceptors.spawn(accept_clients(listener, broker, Arc::clone(&gate)));
        }
        acceptors.join_all().await;
    });
}

async fn accept_clients(listener: StdListener, broker: SocketAddr, gate: Arc<RwLock<()>>) {
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        tokio::spawn(forward_through_gate(client, broker, Arc::clone(&gate)));
    }
}

/// Forwards a client to the broker. A client that connects holds the gate exclusively until the broker has
/// answered; clients that disconnect share it until the broker has closed the connection too.
async fn forward_through_gate(client: TcpStream, broker: SocketAddr, gate: Arc<RwLock<()>>) {
    const DISCONNECT: [u8; 2] = [0xE0, 0];
    client.set_nodelay(true).unwrap();
    let broker = TcpStream::connect(broker).await.unwrap();
    broker.set_nodelay(true).unwrap();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_broker, mut to_broker) = broker.into_split();

    let mut bytes = [0; 4096];
    // This is CONNECT, which clients send in one piece.
    let count = from_client.read(&mut bytes).await.unwrap_or(0);
    let exclusive = gate.write().await;
    let _ = to_broker.write_all(&bytes[..count]).await;
    let count = if count == 0 { 0 } else { from_broker.read(&mut bytes).await.unwrap_or(0) };
    drop(exclusive);
    if count == 0 {
        return;
    }
    let _ = to_client.write_all(&bytes[..count]).await;

    let up = async {
        let (mut bytes, mut shared) = ([0; 4096], None);
        loop {
            // A connection that breaks counts as a disconnect.
            let count = from_client.read(&mut bytes).await.unwrap_or(0);
            if shared.is_none() && (count == 0 || bytes[..count].ends_with(&DISCONNECT)) {
                shared = Some(gate.read().await);
            }
            if count == 0 {
                break;
            }
            let _ = to_broker.write_all(&bytes[..count]).await;
        }
        let _ = to_broker.shutdown().await;
        std::future::pending::<()>().await;
    };
    let down = async {
        let mut bytes = [0; 4096];
        loop {
            match from_broker.read(&mut bytes).await.unwrap_or(0) {
                0 => break,
                count => {
                    let _ = to_client.write_all(&bytes[..count]).await;
                }
            }
        }
    };
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}

/// A proxy to the broker that can be closed, and that optionally terminates TLS.
pub(crate) struct BrokerProxy {
    pub address: SocketAddr,
    /// Reserves the port while the proxy is closed.
    _port: FreePort,
    broker: SocketAddr,
    tls: Option<TlsAcceptor>,
    accept_task: Option<AbortHandle>,
}

impl BrokerProxy {
    pub(crate) async fn start(broker: SocketAddr, tls: Option<TlsAcceptor>) -> Self {
        let port = FreePort::new();
        let mut proxy =
            Self { address: port.address(), _port: port, broker, tls, accept_task: None };
        proxy.open().await;
        proxy
    }

    /// Refuses connections and drops the open ones, as a broker that stops.
    pub(crate) fn close(&mut self) {
        self.accept_task.take().unwrap().abort();
    }

    /// Accepts connections again.
    pub(crate) async fn open(&mut self) {
        let bound = within(async {
            loop {
                // Fails until the runtime has dropped the previous listener.
                match TcpListener::bind(self.address).await {
                    Ok(listener) => break listener,
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        });
        let listener = bound.await;
        self.serve(listener);
    }

    fn serve(&mut self, listener: TcpListener) {
        let (broker, tls) = (self.broker, self.tls.clone());
        let task = tokio::spawn(async move {
            // The connections are dropped with this task.
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let tls = tls.clone();
                connections.spawn(async move {
                    match tls {
                        None => forward(stream, broker).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                forward(stream, broker).await;
                            }
                        }
                    }
                });
            }
        });
        self.accept_task = Some(task.abort_handle());
    }
}

impl Drop for BrokerProxy {
    fn drop(&mut self) {
        if let Some(task) = &self.accept_task {
            task.abort();
        }
    }
}

async fn forward(mut stream: impl AsyncRead + AsyncWrite + Unpin, broker: SocketAddr) {
    let mut broker = TcpStream::connect(broker).await.unwrap();
    let _ = copy_bidirectional(&mut stream, &mut broker).await;
}

/// Returns a topic that no other test uses.
pub(crate) fn unique_topic() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("twin/{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A client of its own that receives the messages of one topic.
pub(crate) struct Subscriber(mpsc::UnboundedReceiver<(String, bool)>);

impl Subscriber {
    pub(crate) async fn start(topic: &str) -> Self {
        let address = broker().await.open;
        // rumqttd accepts no `/` in a client id.
        let id = format!("subscriber-{}", topic.replace('/', "-"));
        let mut options = MqttOptions::new(id, address.ip().to_string(), address.port());
        options.set_max_packet_size(1 << 20, 1 << 20);
        let (client, mut events) = AsyncClient::new(options, 10);
        client.subscribe(topic, QoS::AtMostOnce).await.unwrap();
        let (sender, receiver) = mpsc::unbounded_channel();
        let (ready, subscribed) = tokio::sync::oneshot::channel::<()>();
        tokio::spawn(async move {
            let (_client, mut ready) = (client, Some(ready));
            loop {
                // The broker runs as long as the process.
                let event = events.poll().await.unwrap();
                match event {
                    Event::Incoming(Packet::SubAck(_)) => drop(ready.take()),
                    Event::Incoming(Packet::Publish(publish)) => {
                        let text = String::from_utf8(publish.payload.to_vec()).unwrap();
                        if sender.send((text, publish.retain)).is_err() {
                            break;
                        }
                    }
                    _ => {}
                }
            }
        });
        let _ = within(subscribed).await;
        Self(receiver)
    }

    /// Waits for the next message.
    pub(crate) async fn next(&mut self) -> String {
        let (text, retained) = within(self.0.recv()).await.unwrap();
        assert!(!retained);
        text
    }
}
