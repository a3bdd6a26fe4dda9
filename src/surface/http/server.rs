//! Connections: accepting them, serving them, dropping them.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, OwnedMutexGuard, Semaphore};

use super::cors::Local;
use super::stream::{FaultyStream, Wire};
use super::{Api, fault};
use crate::limits;
use crate::sockets;
use crate::tasks::Tasks;

/// A device's API on a socket. Dropping it closes the listener and all connections.
#[derive(Debug)]
pub struct Server(Listening);

impl Server {
    /// Serves `api` on a bound listener, within a tokio runtime.
    ///
    /// # Errors
    /// Where the listener does not tell its address.
    pub fn start(listener: TcpListener, api: Arc<Api>) -> io::Result<Self> {
        let motions = api.clock.motions().clone();
        let serve = move |stream| motions.track(connection(stream, Arc::clone(&api)));
        Listening::start(listener, serve).map(Self)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// How many connections are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.0.connections.count()
    }

    /// Drops all connections, and returns when they are gone. The listener stays; whoever connects
    /// waits until the returned value is dropped.
    pub async fn pause(&self) -> Paused {
        self.0.pause().await
    }

    /// Closes the listener and all connections, and returns when they are gone.
    pub async fn close(&self) {
        self.0.close().await;
    }
}

/// Serves one connection to its end.
async fn connection(stream: TcpStream, api: Arc<Api>) {
    // Where the socket does not tell, the client is gone already.
    let local = stream.local_addr().ok().map(Local);
    let wire = Arc::new(Wire::default());
    let stream = FaultyStream::new(stream, Arc::clone(&wire), api.clock.clone());
    let service = service_fn(move |mut request: Request<Incoming>| {
        if let Some(local) = local {
            request.extensions_mut().insert(local);
        }
        fault::answer(Arc::clone(&api), request, Arc::clone(&wire))
    });
    if let Err(error) = http().serve_connection(TokioIo::new(stream), service).await {
        // The client left or sent nonsense, or a fault broke the connection.
        tracing::trace!(%error, "connection ended");
    }
}

/// hyper's side of the bytes: the device sends neither `Date` nor `Server` (contract §1, ruling) and
/// writes header names in title case, as in the published call reply.
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
#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) address: SocketAddr,
    connections: Arc<Tasks>,
    accepting: Tasks,
    /// Passed by every connection on its way in.
    gate: Arc<Mutex<()>>,
}

/// A listener whose new connections wait until this is dropped.
#[derive(Debug)]
#[must_use = "connections are taken again once this is dropped"]
pub struct Paused {
    _gate: OwnedMutexGuard<()>,
}

impl Listening {
    /// Accepts connections and hands each to `serve`, at most [`limits::HTTP_CONNECTIONS`] at once:
    /// further ones wait in the listener's backlog.
    pub(crate) fn start<F>(
        listener: TcpListener,
        serve: impl Fn(TcpStream) -> F + Send + 'static,
    ) -> io::Result<Self>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let address = listener.local_addr()?;
        let (connections, accepting) = (Arc::new(Tasks::default()), Tasks::default());
        let gate = Arc::default();
        accepting.spawn(accept(
            listener,
            limits::HTTP_CONNECTIONS,
            Arc::clone(&gate),
            Arc::clone(&connections),
            serve,
        ));
        Ok(Self { address, connections, accepting, gate })
    }

    /// Drops all connections, and returns when they are gone; new ones wait at the gate.
    pub(crate) async fn pause(&self) -> Paused {
        // The gate first: a connection that has passed it is among those that are dropped.
        let gate = Arc::clone(&self.gate).lock_owned().await;
        self.connections.end_all().await;
        Paused { _gate: gate }
    }

    /// Closes the listener and all connections, and returns when they are gone.
    pub(crate) async fn close(&self) {
        // The listener first: it adds to the connections.
        self.accepting.end_all().await;
        self.connections.end_all().await;
    }
}

async fn accept<F>(
    listener: TcpListener,
    most: usize,
    gate: Arc<Mutex<()>>,
    connections: Arc<Tasks>,
    serve: impl Fn(TcpStream) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(most));
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
        accepting.spawn(accept(listener, 2, Arc::default(), Arc::clone(&connections), echo));
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
