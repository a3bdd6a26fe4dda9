//! A TCP listener with its HTTP connections: accepting, pausing, closing.

use parking_lot::Mutex as Locked;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::TokioTimer;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, OwnedMutexGuard, Semaphore};

use crate::limits;
use crate::net::sockets::{self, Port};
use crate::tasks::Tasks;

/// hyper's side of the bytes: the device sends neither `Date` nor `Server` (HTTP-1) and
/// writes header names in title case, as in the published call reply, but for those in [`spelling`].
///
/// [`spelling`]: super::spelling
pub(crate) fn http() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // Real time, also between the requests of a connection: it guards the process.
        .header_read_timeout(limits::HTTP_HEADER_TIMEOUT)
        .max_buf_size(limits::HTTP_HEAD_BYTES)
        .auto_date_header(false)
        .title_case_headers(true);
    builder
}

/// A listener on `address`, with room for a crowd of clients that come at once.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    sockets::bound(address)?.listen(limits::HTTP_BACKLOG)
}

/// A listener and its connections; all end when it is dropped.
pub(crate) struct TcpAcceptor {
    address: SocketAddr,
    port: Locked<Port>,
    connections: Arc<Tasks>,
    /// One task while connections are taken, none while they are refused.
    accepting: Tasks,
    /// Passed by every connection on its way in.
    gate: Arc<Mutex<()>>,
    places: Arc<Semaphore>,
    serve: Serve,
}

/// Serves a connection to its end.
type Serve = Arc<dyn Fn(TcpStream) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

impl fmt::Debug for TcpAcceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listening").field("address", &self.address).finish_non_exhaustive()
    }
}

/// A listener whose new connections wait until this is dropped.
#[derive(Debug)]
#[must_use = "connections are taken again once this is dropped"]
pub struct ListenerPause {
    _gate: OwnedMutexGuard<()>,
}

impl TcpAcceptor {
    /// Accepts connections and hands each to `serve`, at most [`limits::HTTP_CONNECTIONS`] at once:
    /// further ones wait in the listener's backlog.
    pub(crate) fn start<F>(
        listener: TcpListener,
        serve: impl Fn(TcpStream) -> F + Send + Sync + 'static,
    ) -> io::Result<Self>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listening = Self::new(Port::of(listener)?, serve);
        listening.open()?;
        Ok(listening)
    }

    /// The same, but nobody accepts before [`TcpAcceptor::open`].
    pub(crate) fn new<F>(port: Port, serve: impl Fn(TcpStream) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self {
            address: port.address(),
            port: Locked::new(port),
            connections: Arc::default(),
            accepting: Tasks::default(),
            gate: Arc::default(),
            places: Arc::new(Semaphore::new(limits::HTTP_CONNECTIONS)),
            serve: Arc::new(move |stream| Box::pin(serve(stream))),
        }
    }

    /// Takes connections again; nothing happens where it does.
    pub(crate) fn open(&self) -> io::Result<()> {
        let mut port = self.port.lock();
        if self.accepting.count() > 0 {
            return Ok(());
        }
        let listener = port.open(limits::HTTP_BACKLOG)?;
        // Handed down to its connections. Where it fails, the system's own size stands.
        let _ = SockRef::from(&*listener).set_send_buffer_size(limits::HTTP_SEND_BUFFER);
        let (places, gate) = (Arc::clone(&self.places), Arc::clone(&self.gate));
        let (connections, serve) = (Arc::clone(&self.connections), Arc::clone(&self.serve));
        self.accepting.spawn(accept(listener, places, gate, connections, serve));
        Ok(())
    }

    /// Refuses connections and drops those there are, and returns when they are gone.
    pub(crate) async fn shut(&self) {
        self.accepting.end_all().await;
        self.close_port();
        self.connections.end_all().await;
    }

    /// The address it listens on.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The number of open connections.
    pub(crate) fn connections(&self) -> usize {
        self.connections.count()
    }

    /// Has the kernel refuse connections, where nobody accepts any.
    pub(crate) fn close_port(&self) {
        self.port.lock().close();
    }

    /// Drops all connections, and returns when they are gone; new ones wait at the gate.
    pub(crate) async fn pause(&self) -> ListenerPause {
        // The gate first: a connection that has passed it is among those that are dropped.
        let gate = Arc::clone(&self.gate).lock_owned().await;
        self.connections.end_all().await;
        ListenerPause { _gate: gate }
    }

    /// Closes the listener and all connections, and returns when they are gone.
    pub(crate) async fn close(&self) {
        // The listener first: it adds to the connections.
        self.accepting.end_all().await;
        self.port.lock().give_back();
        self.connections.end_all().await;
    }
}

async fn accept(
    listener: Arc<TcpListener>,
    places: Arc<Semaphore>,
    gate: Arc<Mutex<()>>,
    connections: Arc<Tasks>,
    serve: Serve,
) {
    // The semaphore is never closed.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Where it fails, the client is gone already.
                let _ = stream.set_nodelay(true);
                let _passing = gate.lock().await;
                let connection = serve(stream);
                connections.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) => {
                // The process is out of files, or the client left before it was accepted. Real time:
                // it takes that to get files back.
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn above_the_limit_a_connection_waits_for_one_to_end() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, connections) = (listener.local_addr().unwrap(), Arc::new(Tasks::default()));
        let echo = |mut stream: TcpStream| async move {
            while let Ok(byte) = stream.read_u8().await {
                stream.write_u8(byte).await.unwrap();
            }
        };
        let accepting = Tasks::default();
        let serve: Serve = Arc::new(move |stream| Box::pin(echo(stream)));
        let places = Arc::new(Semaphore::new(2));
        let listener = Arc::new(listener);
        accepting.spawn(accept(listener, places, Arc::default(), Arc::clone(&connections), serve));
        let mut clients = Vec::new();
        for byte in 0..3 {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_u8(byte).await.unwrap();
            clients.push(client);
        }
        let mut third = clients.pop().unwrap();
        for (byte, client) in (0..).zip(&mut clients) {
            assert_eq!(client.read_u8().await.unwrap(), byte);
        }
        assert_eq!(connections.count(), 2);
        drop(clients.pop());
        assert_eq!(third.read_u8().await.unwrap(), 2);
    }
}
