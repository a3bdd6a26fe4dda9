//! A broker for tests: rumqttd in this process behind a gate, doors to it that can be shut, and a
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

use crate::device_harness::within;
use crate::harness::FreePort;

/// The listeners of the one broker that all tests share.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    /// To everyone.
    pub open: SocketAddr,
    /// To `demo` with the password `geheim`.
    pub closed: SocketAddr,
}

/// The broker; it runs until the process ends, as rumqttd cannot be stopped.
pub async fn broker() -> Ports {
    static BROKER: OnceLock<(Ports, [FreePort; 2])> = OnceLock::new();
    let (ports, own) = BROKER.get_or_init(|| {
        // rumqttd binds by itself.
        let own = [FreePort::new(), FreePort::new()];
        let [open, closed] = [&own[0], &own[1]].map(|port| {
            let listener = StdListener::bind("127.0.0.1:0").unwrap();
            listener.set_nonblocking(true).unwrap();
            (listener, port.address())
        });
        let listens = |gate: &(StdListener, SocketAddr)| gate.0.local_addr().unwrap();
        let ports = Ports { open: listens(&open), closed: listens(&closed) };
        let config = config(open.1, closed.1);
        std::thread::spawn(move || Broker::new(config).start().unwrap());
        std::thread::spawn(move || keep_gate([open, closed]));
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

fn config(open: SocketAddr, closed: SocketAddr) -> Config {
    let users: HashMap<_, _> = [("demo".to_owned(), "geheim".to_owned())].into();
    let v4 = [("open", open, None), ("closed", closed, Some(users))];
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

/// Lets clients in while none is leaving. rumqttd ends a connection at its DISCONNECT and once more
/// when it closes, by a number that it gives to the next one that comes: a client that came in between
/// would be thrown out in place of the one that left.
fn keep_gate(doors: [(StdListener, SocketAddr); 2]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let gate = Arc::new(RwLock::new(()));
    runtime.block_on(async {
        let mut accepting = JoinSet::new();
        for (listener, broker) in doors {
            accepting.spawn(let_in(listener, broker, Arc::clone(&gate)));
        }
        accepting.join_all().await;
    });
}

async fn let_in(listener: StdListener, broker: SocketAddr, gate: Arc<RwLock<()>>) {
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        tokio::spawn(pass_gate(client, broker, Arc::clone(&gate)));
    }
}

/// Whoever comes has the gate alone until the broker has answered; those who leave share it until the
/// broker has closed, too.
async fn pass_gate(client: TcpStream, broker: SocketAddr, gate: Arc<RwLock<()>>) {
    const DISCONNECT: [u8; 2] = [0xE0, 0];
    client.set_nodelay(true).unwrap();
    let broker = TcpStream::connect(broker).await.unwrap();
    broker.set_nodelay(true).unwrap();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_broker, mut to_broker) = broker.into_split();

    let mut bytes = [0; 4096];
    // CONNECT, which clients send in one piece.
    let count = from_client.read(&mut bytes).await.unwrap_or(0);
    let comes = gate.write().await;
    let _ = to_broker.write_all(&bytes[..count]).await;
    let count = if count == 0 { 0 } else { from_broker.read(&mut bytes).await.unwrap_or(0) };
    drop(comes);
    if count == 0 {
        return;
    }
    let _ = to_client.write_all(&bytes[..count]).await;

    let up = async {
        let (mut bytes, mut leaves) = ([0; 4096], None);
        loop {
            // One that is cut off leaves as well.
            let count = from_client.read(&mut bytes).await.unwrap_or(0);
            if leaves.is_none() && (count == 0 || bytes[..count].ends_with(&DISCONNECT)) {
                leaves = Some(gate.read().await);
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

/// A way to the broker that can be shut, and that speaks TLS where it is told to.
pub struct Door {
    pub address: SocketAddr,
    /// Held while it is shut, too.
    _port: FreePort,
    to: SocketAddr,
    tls: Option<TlsAcceptor>,
    accepting: Option<AbortHandle>,
}

impl Door {
    pub async fn to(to: SocketAddr, tls: Option<TlsAcceptor>) -> Self {
        let port = FreePort::new();
        let mut door = Self { address: port.address(), _port: port, to, tls, accepting: None };
        door.open().await;
        door
    }

    /// Refuses connections and drops those that are open: the broker is gone.
    pub fn shut(&mut self) {
        self.accepting.take().unwrap().abort();
    }

    /// The broker is back.
    pub async fn open(&mut self) {
        let bound = within(async {
            loop {
                // Until the runtime has dropped the listener of before.
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
        let (to, tls) = (self.to, self.tls.clone());
        let accepting = tokio::spawn(async move {
            // Dropped, and so ended, with this task.
            let mut open = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let tls = tls.clone();
                open.spawn(async move {
                    match tls {
                        None => pass(stream, to).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                pass(stream, to).await;
                            }
                        }
                    }
                });
            }
        });
        self.accepting = Some(accepting.abort_handle());
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if let Some(accepting) = &self.accepting {
            accepting.abort();
        }
    }
}

async fn pass(mut stream: impl AsyncRead + AsyncWrite + Unpin, to: SocketAddr) {
    let mut broker = TcpStream::connect(to).await.unwrap();
    let _ = copy_bidirectional(&mut stream, &mut broker).await;
}

/// A topic that no other test uses.
pub fn topic() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("twin/{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A client of its own that receives the messages of one topic.
pub struct Subscriber(mpsc::UnboundedReceiver<(String, bool)>);

impl Subscriber {
    pub async fn to(topic: &str) -> Self {
        let at = broker().await.open;
        // rumqttd takes no `/` in a client id.
        let id = format!("subscriber-{}", topic.replace('/', "-"));
        let mut options = MqttOptions::new(id, at.ip().to_string(), at.port());
        options.set_max_packet_size(1 << 20, 1 << 20);
        let (client, mut events) = AsyncClient::new(options, 10);
        client.subscribe(topic, QoS::AtMostOnce).await.unwrap();
        let (sender, receiver) = mpsc::unbounded_channel();
        let (ready, subscribed) = tokio::sync::oneshot::channel::<()>();
        tokio::spawn(async move {
            let (_client, mut ready) = (client, Some(ready));
            loop {
                // A broker that is gone is a mistake of the test.
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

    /// The next message.
    pub async fn next(&mut self) -> String {
        let (text, retained) = within(self.0.recv()).await.unwrap();
        assert!(!retained);
        text
    }
}
