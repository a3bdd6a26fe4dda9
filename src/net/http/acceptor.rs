//! A TCP listener with its HTTP connections: accepting, pausing, closing.
//!
//! Each way to stop serves one caller: [`TcpAcceptor::pause`] a reset of the house,
//! [`TcpAcceptor::close`] and [`TcpAcceptor::open`] a device that goes down and comes up again, and
//! [`TcpAcceptor::release`] the end of the house.

use parking_lot::Mutex;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use hyper::server::conn::http1;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::head_timer::HeadTimer;
use crate::limits;
use crate::net::gate::{ClosedGate, Gate};
use crate::net::sockets::{self, Listener, Port};
use crate::tasks::Tasks;

/// Returns hyper's configuration for one connection of a server of the house. The device sends neither `Date` nor
/// `Server` (HTTP-1), and writes header names in title case, as in the published call reply, except
/// for those in [`header_case`].
///
/// [`header_case`]: super::header_case
pub(crate) fn http_builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(HeadTimer::default())
        // Real time, also between the requests of a connection, because the limit protects the
        // process.
        .header_read_timeout(limits::HTTP_HEADER_TIMEOUT)
        .max_buf_size(limits::HTTP_HEAD_BYTES)
        .auto_date_header(false)
        .title_case_headers(true);
    builder
}

/// Binds a listener with a backlog for many clients that connect at once.
pub(crate) fn bind_listener(address: SocketAddr) -> io::Result<TcpListener> {
    sockets::bind_socket(address)?.listen(limits::HTTP_BACKLOG)
}

/// A TCP listener with its connections. Dropping it ends all of them.
pub(crate) struct TcpAcceptor {
    address: SocketAddr,
    port: Mutex<Port>,
    /// The tasks that serve the connections.
    connection_tasks: Arc<Tasks>,
    /// The task that accepts connections; empty while they are refused.
    accept_task: Tasks,
    /// Closed while the listener pauses.
    gate: Gate,
    permits: Arc<Semaphore>,
    serve: Serve,
}

/// Serves a connection to its end. It takes a pass of the gate for as long as it serves requests.
type Serve = Arc<dyn Fn(TcpStream, Gate) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

impl fmt::Debug for TcpAcceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpAcceptor").field("address", &self.address).finish_non_exhaustive()
    }
}

impl TcpAcceptor {
    /// Accepts connections and passes each to `serve`, at most [`limits::HTTP_CONNECTIONS`] at
    /// once. Further connections wait in the listener's backlog.
    pub(crate) fn start<F>(
        listener: TcpListener,
        serve: impl Fn(TcpStream, Gate) -> F + Send + Sync + 'static,
    ) -> io::Result<Self>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let acceptor = Self::new(Port::from_listener(listener)?, serve);
        acceptor.open()?;
        Ok(acceptor)
    }

    /// Creates an acceptor that accepts no connection before [`TcpAcceptor::open`].
    pub(crate) fn new<F>(
        port: Port,
        serve: impl Fn(TcpStream, Gate) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::with_connections(port, limits::HTTP_CONNECTIONS, serve)
    }

    /// Creates an acceptor as [`TcpAcceptor::new`] does, with at most `connections` at once.
    pub(crate) fn with_connections<F>(
        port: Port,
        connections: usize,
        serve: impl Fn(TcpStream, Gate) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self {
            address: port.address(),
            port: Mutex::new(port),
            connection_tasks: Arc::default(),
            accept_task: Tasks::default(),
            gate: Gate::default(),
            permits: Arc::new(Semaphore::new(connections)),
            serve: Arc::new(move |stream, gate| Box::pin(serve(stream, gate))),
        }
    }

    /// Accepts connections. Does nothing if it is open already.
    pub(crate) fn open(&self) -> io::Result<()> {
        let mut port = self.port.lock();
        if self.accept_task.count() > 0 {
            return Ok(());
        }
        let listener = port.open(limits::HTTP_BACKLOG)?;
        // Connections inherit the option. If it fails, the system's default size applies.
        let _ = SockRef::from(listener.socket()).set_send_buffer_size(limits::HTTP_SEND_BUFFER);
        let (permits, gate) = (Arc::clone(&self.permits), self.gate.clone());
        let (tasks, serve) = (Arc::clone(&self.connection_tasks), Arc::clone(&self.serve));
        self.accept_task.spawn(accept(listener, permits, gate, tasks, serve));
        Ok(())
    }

    /// Refuses connections, drops the open ones, and returns when they are gone. The port stays
    /// reserved for the next [`TcpAcceptor::open`].
    pub(crate) async fn close(&self) {
        self.accept_task.abort_all().await;
        self.close_port();
        self.connection_tasks.abort_all().await;
    }

    /// Returns the address of the listener.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the number of open connections.
    #[cfg(any(test, feature = "internals"))]
    pub(crate) fn connection_count(&self) -> usize {
        self.connection_tasks.count()
    }

    /// Makes the kernel refuse connections. Called while no task accepts any: by
    /// [`TcpAcceptor::close`], and by a server that starts closed.
    pub(crate) fn close_port(&self) {
        self.port.lock().close();
    }

    /// Ends the connections with a request in flight, and returns when they have ended. Those that wait
    /// for their next request, and new ones, wait until the returned value is dropped.
    pub(crate) async fn pause(&self) -> ClosedGate {
        self.gate.close().await
    }

    /// Closes the listener and all connections, frees the port, and returns when they are gone.
    pub(crate) async fn release(&self) {
        // The listener first, because it adds to the connections.
        self.accept_task.abort_all().await;
        self.port.lock().release();
        self.connection_tasks.abort_all().await;
    }
}

async fn accept(
    listener: Arc<Listener>,
    permits: Arc<Semaphore>,
    gate: Gate,
    connection_tasks: Arc<Tasks>,
    serve: Serve,
) {
    // The semaphore is never closed.
    while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
        // A stopped listener ends the task.
        let Some(stream) = listener.accept().await else { return };
        let connection = serve(stream, gate.clone());
        connection_tasks.spawn(async move {
            connection.await;
            drop(permit);
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn connections_above_the_limit_wait_for_a_permit() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, connections) = (listener.local_addr().unwrap(), Arc::new(Tasks::default()));
        let echo = |mut stream: TcpStream| async move {
            while let Ok(byte) = stream.read_u8().await {
                stream.write_u8(byte).await.unwrap();
            }
        };
        let accepting = Tasks::default();
        let serve: Serve = Arc::new(move |stream, _| Box::pin(echo(stream)));
        let permits = Arc::new(Semaphore::new(2));
        let listener = Arc::new(Listener::new(listener));
        accepting.spawn(accept(
            listener,
            permits,
            Gate::default(),
            Arc::clone(&connections),
            serve,
        ));
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
