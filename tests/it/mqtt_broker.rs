//! A broker for tests: rumqttd in this process, doors to it that can be shut, and a subscriber.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::surface_kit::within;

/// Where the one broker of all tests listens.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    /// To everyone.
    pub open: SocketAddr,
    /// To `demo` with the password `geheim`.
    pub closed: SocketAddr,
}

/// The broker; it runs until the process ends, as rumqttd cannot be stopped.
pub async fn broker() -> Ports {
    static PORTS: OnceLock<Ports> = OnceLock::new();
    let ports = *PORTS.get_or_init(|| {
        // rumqttd binds by itself, so its ports are found by letting the kernel choose first.
        let free = || StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let ports = Ports { open: free(), closed: free() };
        let users: HashMap<_, _> = [("demo".to_owned(), "geheim".to_owned())].into();
        let v4 = [("open", ports.open, None), ("closed", ports.closed, Some(users))];
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
        let config = Config {
            router: RouterConfig {
                max_connections: 1000,
                max_outgoing_packet_count: 200,
                max_segment_size: 1 << 20,
                max_segment_count: 10,
                ..RouterConfig::default()
            },
            v4: Some(v4.map(server).into_iter().collect()),
            ..Config::default()
        };
        std::thread::spawn(move || Broker::new(config).start().unwrap());
        ports
    });
    for port in [ports.open, ports.closed] {
        within(async {
            while TcpStream::connect(port).await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
    ports
}

/// A way to the broker that can be shut, and that speaks TLS where it is told to.
pub struct Door {
    pub address: SocketAddr,
    to: SocketAddr,
    tls: Option<TlsAcceptor>,
    accepting: Option<AbortHandle>,
}

impl Door {
    pub async fn to(to: SocketAddr, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut door = Self { address, to, tls, accepting: None };
        door.serve(listener);
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

/// What was published under a topic, as a client of its own receives it.
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
