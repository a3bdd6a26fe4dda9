//! Accounting of the bytes in flight on connections whose both ends are in this process, such as those
//! between a client and the servers that it is tested with.
//!
//! Between the two ends lies the kernel, where neither end can see the other. So that a clock
//! movement can wait for bytes on their way there, both ends are wrapped ([`TrackedStream`]) and
//! share a [`TrackedConnection`]. It holds an [`ActivityGuard`] while bytes or an end of stream
//! (FIN, RST) were written on one side and not yet read on the other. The shared part also tells
//! the server which client it is, which nothing on the wire does.
//!
//! The order of operations leaves no gap: bytes are counted before they are written, and subtracted
//! after they were read, inside a poll of the reader's tracked task, which is itself an activity.
//!
//! A connection from outside (`mbpoll`, a browser) has only a server side. It never counts as activity,
//! because the clock cannot know whether such a peer will ever answer.

use parking_lot::{Mutex, MutexGuard};
use std::any::Any;
use std::collections::HashMap;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

use crate::clock::{ActivityGuard, ActivityTracker};

/// The sender of the requests on a connection, as the owner of both ends knows it. Nothing on the wire
/// tells it.
pub type ConnectionOrigin = Arc<dyn Any + Send + Sync>;

/// The tracked connections of a house. Cheap to clone. An entry lives as long as one end of its
/// connection, so their number is bounded by the connections.
#[derive(Debug, Clone)]
pub struct ConnectionRegistry(Arc<Registry>);

#[derive(Debug)]
struct Registry {
    activity: ActivityTracker,
    connections: Mutex<HashMap<AddrPair, Arc<TrackedConnection>>>,
}

/// The client's address and the server's. The client's address alone is not unique, because the
/// kernel uses one local port for connections to different places.
type AddrPair = (SocketAddr, SocketAddr);

impl ConnectionRegistry {
    /// Creates an empty registry. Bytes in flight are counted in `activity`.
    #[must_use]
    pub fn new(activity: ActivityTracker) -> Self {
        Self(Arc::new(Registry { activity, connections: Mutex::default() }))
    }

    /// Wraps the client's end of a connection from an action to a slave or target of the house.
    #[must_use]
    pub fn track_client(&self, stream: TcpStream, origin: ConnectionOrigin) -> TrackedStream {
        // Without its addresses (the connection is lost already) there is nothing to account for:
        // the first read or write fails at once.
        let addresses = stream.local_addr().ok().zip(stream.peer_addr().ok());
        let endpoint =
            addresses.map(|(local, peer)| self.join((local, peer), Side::Client, Some(origin)));
        TrackedStream { endpoint, stream }
    }

    /// Wraps the server's end of an accepted connection.
    #[must_use]
    pub fn track_server(&self, stream: TcpStream) -> TrackedStream {
        let addresses = stream.peer_addr().ok().zip(stream.local_addr().ok());
        let endpoint = addresses.map(|(peer, local)| self.join((peer, local), Side::Server, None));
        TrackedStream { endpoint, stream }
    }

    /// Joins the shared part of a connection, which the side that comes first creates.
    fn join(
        &self,
        (client, server): AddrPair,
        side: Side,
        origin: Option<ConnectionOrigin>,
    ) -> Endpoint {
        let addresses = (canonical(client), canonical(server));
        let mut connections = self.0.connections();
        // An end of an earlier connection between the same two ports may still be open.
        let existing = connections
            .get(&addresses)
            .filter(|connection| connection.state().presence(side) == Presence::Absent);
        let connection = existing.cloned().unwrap_or_default();
        connections.insert(addresses, Arc::clone(&connection));
        connection.change(&self.0.activity, |state| {
            *state.presence_mut(side) = Presence::Here;
            if origin.is_some() {
                state.origin = origin;
            }
        });
        Endpoint { registry: Arc::clone(&self.0), addresses, connection, side }
    }
}

/// Returns an address as the other end of the connection names it: a socket that listens on `::`
/// sees IPv4 peers as IPv6 addresses.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

impl Registry {
    fn connections(&self) -> MutexGuard<'_, HashMap<AddrPair, Arc<TrackedConnection>>> {
        self.connections.lock()
    }
}

/// The shared part of a connection of which both ends belong to the house.
#[derive(Debug, Default)]
struct TrackedConnection(Mutex<ConnectionState>);

#[derive(Debug, Default)]
struct ConnectionState {
    origin: Option<ConnectionOrigin>,
    client: Presence,
    server: Presence,
    to_server: Direction,
    to_client: Direction,
    /// See [`TrackedStream::hold_permit`].
    permit: Option<OwnedSemaphorePermit>,
}

/// One direction of a connection.
#[derive(Debug, Default)]
struct Direction {
    /// Bytes that were written and not yet read.
    bytes: usize,
    /// The writer has ended the stream.
    ended: bool,
    /// The reader has seen the end.
    end_seen: bool,
    /// Held while bytes or an end are in flight.
    guard: Option<ActivityGuard>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Server,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Presence {
    #[default]
    Absent,
    Here,
    Gone,
}

impl TrackedConnection {
    /// Changes the state, and begins or ends the activity of each direction accordingly.
    fn change(&self, activity: &ActivityTracker, change: impl FnOnce(&mut ConnectionState)) {
        let ended = {
            let mut state = self.state();
            change(&mut state);
            let (to_server, to_client) = (state.server_reads(), state.client_reads());
            [
                state.to_server.update_activity(to_server, activity),
                state.to_client.update_activity(to_client, activity),
            ]
        };
        // After the lock is released, because the end of the last activity wakes a clock movement.
        drop(ended);
    }

    fn state(&self) -> MutexGuard<'_, ConnectionState> {
        self.0.lock()
    }
}

impl ConnectionState {
    fn presence(&self, side: Side) -> Presence {
        match side {
            Side::Client => self.client,
            Side::Server => self.server,
        }
    }

    fn presence_mut(&mut self, side: Side) -> &mut Presence {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    fn written_by(&mut self, side: Side) -> &mut Direction {
        match side {
            Side::Client => &mut self.to_server,
            Side::Server => &mut self.to_client,
        }
    }

    fn read_by(&mut self, side: Side) -> &mut Direction {
        match side {
            Side::Client => &mut self.to_client,
            Side::Server => &mut self.to_server,
        }
    }

    /// Returns true if the server reads, or will read once it has accepted the connection.
    fn server_reads(&self) -> bool {
        match self.server {
            Presence::Absent => self.client == Presence::Here,
            Presence::Here => self.client != Presence::Absent,
            Presence::Gone => false,
        }
    }

    fn client_reads(&self) -> bool {
        self.client == Presence::Here
    }
}

impl Direction {
    /// Begins the activity if something is in flight to a reader, or returns the guard of an
    /// activity that has ended.
    fn update_activity(
        &mut self,
        has_reader: bool,
        activity: &ActivityTracker,
    ) -> Option<ActivityGuard> {
        if has_reader && (self.bytes > 0 || (self.ended && !self.end_seen)) {
            self.guard.get_or_insert_with(|| activity.enter());
            None
        } else {
            self.guard.take()
        }
    }
}

/// One end's handle to the shared part of its connection.
#[derive(Debug)]
struct Endpoint {
    registry: Arc<Registry>,
    addresses: AddrPair,
    connection: Arc<TrackedConnection>,
    side: Side,
}

impl Endpoint {
    fn change(&self, change: impl FnOnce(&mut ConnectionState)) {
        self.connection.change(&self.registry.activity, change);
    }

    fn add_written(&self, bytes: usize) {
        self.change(|state| state.written_by(self.side).bytes += bytes);
    }

    fn subtract_unwritten(&self, bytes: usize) {
        self.change(|state| {
            let direction = state.written_by(self.side);
            direction.bytes = direction.bytes.saturating_sub(bytes);
        });
    }

    fn subtract_read(&self, bytes: usize) {
        // Saturating, because bytes from outside the house were never counted.
        self.change(|state| {
            let direction = state.read_by(self.side);
            direction.bytes = direction.bytes.saturating_sub(bytes);
        });
    }

    fn mark_end_seen(&self) {
        self.change(|state| {
            let direction = state.read_by(self.side);
            direction.bytes = 0;
            direction.end_seen = true;
            if self.side == Side::Server {
                state.permit = None;
            }
        });
    }

    fn mark_ended(&self) {
        self.change(|state| state.written_by(self.side).ended = true);
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.change(|state| {
            *state.presence_mut(self.side) = Presence::Gone;
            state.written_by(self.side).ended = true;
            state.permit = None;
        });
        let is_closed = {
            let state = self.connection.state();
            state.client != Presence::Here && state.server != Presence::Here
        };
        if is_closed {
            let mut connections = self.registry.connections();
            if connections
                .get(&self.addresses)
                .is_some_and(|existing| Arc::ptr_eq(existing, &self.connection))
            {
                connections.remove(&self.addresses);
            }
        }
    }
}

/// The other end of the connection that a request arrived on.
#[derive(Debug, Clone)]
pub struct PeerInfo(Option<Arc<TrackedConnection>>);

impl PeerInfo {
    /// Returns true if the other end is, or was, a client of the house. Known as [`PeerInfo::origin`] is.
    #[must_use]
    pub fn is_of_house(&self) -> bool {
        self.0.as_ref().is_some_and(|connection| connection.state().client != Presence::Absent)
    }

    /// Returns the action that opened the connection. `None` if no device of the house did. Known
    /// as soon as a byte of its request was read.
    #[must_use]
    pub fn origin<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        let origin = self.0.as_ref()?.state().origin.clone()?;
        origin.downcast().ok()
    }
}

/// One end of a connection whose bytes in flight are accounted for.
///
/// The owner must read from it until it is done with the connection: bytes that wait in the kernel
/// are in flight and block every clock movement.
#[derive(Debug)]
pub struct TrackedStream {
    // Dropped in this order, so that the end of stream counts as in flight before the socket sends
    // it.
    endpoint: Option<Endpoint>,
    stream: TcpStream,
}

impl TrackedStream {
    /// Wraps a connection to a peer outside the house.
    #[must_use]
    pub fn external(stream: TcpStream) -> Self {
        Self { endpoint: None, stream }
    }

    /// Returns information on the other end, which outlives the stream.
    #[must_use]
    pub fn peer_info(&self) -> PeerInfo {
        PeerInfo(self.endpoint.as_ref().map(|endpoint| Arc::clone(&endpoint.connection)))
    }

    /// Holds a connection permit of the server for as long as the client is there: for an action of
    /// the house until it drops its end, for an outside client until its end of stream was read. An
    /// action that reconnects at once therefore finds a free permit, even if the server has not
    /// looked at its earlier connection yet.
    pub fn hold_permit(&self, permit: OwnedSemaphorePermit) {
        if let Some(endpoint) = &self.endpoint {
            endpoint.change(|state| {
                state.permit = Some(permit).filter(|_| state.client != Presence::Gone);
            });
        }
    }

    /// Waits until there is something to read: a byte, or the end of the stream.
    pub async fn wait_received(&self) -> io::Result<()> {
        self.stream.peek(&mut [0]).await.map(drop)
    }

    /// Shuts down both directions: nothing can be sent or received any more.
    pub fn shutdown_both(&self) {
        if let Some(endpoint) = &self.endpoint {
            endpoint.mark_ended();
        }
        // A connection that cannot be shut down is lost already.
        let _ = SockRef::from(&self.stream).shutdown(Shutdown::Both);
    }

    /// Ends the connection with RST.
    pub fn reset(self) {
        self.reset_on_close();
    }

    /// Turns the close that follows into a reset.
    pub fn reset_on_close(&self) {
        // If the option cannot be set, the close sends a FIN, which is the best that is left.
        let _ = self.stream.set_zero_linger();
    }
}

impl AsyncRead for TrackedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (before, room) = (buffer.filled().len(), buffer.remaining());
        let result = ready!(Pin::new(&mut self.stream).poll_read(context, buffer));
        if let Some(endpoint) = &self.endpoint {
            match (&result, buffer.filled().len() - before) {
                (Ok(()), 0) if room == 0 => {}
                (Ok(()), 0) | (Err(_), _) => endpoint.mark_end_seen(),
                (Ok(()), read) => endpoint.subtract_read(read),
            }
        }
        Poll::Ready(result)
    }
}

impl AsyncWrite for TrackedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(endpoint) = &self.endpoint {
            endpoint.add_written(bytes.len());
        }
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        let written = match &result {
            Poll::Ready(Ok(written)) => *written,
            Poll::Ready(Err(_)) | Poll::Pending => 0,
        };
        if let Some(endpoint) = &self.endpoint {
            endpoint.subtract_unwritten(bytes.len() - written);
        }
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(endpoint) = &self.endpoint {
            endpoint.mark_ended();
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const SOON: Duration = Duration::from_millis(20);

    fn origin() -> ConnectionOrigin {
        Arc::new("pump")
    }

    struct Pair {
        activity: ActivityTracker,
        connections: ConnectionRegistry,
        client: TrackedStream,
        server: TrackedStream,
    }

    async fn pair(from_house: bool) -> Pair {
        let activity = ActivityTracker::default();
        let connections = ConnectionRegistry::new(activity.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let client = if from_house {
            connections.track_client(stream, origin())
        } else {
            TrackedStream::external(stream)
        };
        let (stream, _) = listener.accept().await.unwrap();
        let server = connections.track_server(stream);
        Pair { activity, connections, client, server }
    }

    #[tokio::test]
    async fn bytes_are_in_flight_from_write_to_read() {
        let Pair { activity, mut client, mut server, .. } = pair(true).await;
        assert!(activity.wait_quiescent(SOON).await);
        client.write_all(b"abcd").await.unwrap();
        assert!(!activity.wait_quiescent(SOON).await);
        let mut bytes = [0; 3];
        server.read_exact(&mut bytes).await.unwrap();
        assert!(!activity.wait_quiescent(SOON).await, "one byte is left");
        server.read_exact(&mut bytes[..1]).await.unwrap();
        assert!(activity.wait_quiescent(SOON).await);
        assert_eq!(server.peer_info().origin::<&str>().as_deref(), Some(&"pump"));
        assert_eq!(server.peer_info().origin::<u8>(), None, "of another type");
        assert!(server.peer_info().is_of_house());
    }

    #[tokio::test]
    async fn an_end_is_in_flight_until_it_is_read_or_has_no_reader() {
        let Pair { activity, client, mut server, connections } = pair(true).await;
        drop(client);
        assert!(!activity.wait_quiescent(SOON).await);
        assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0);
        assert!(activity.wait_quiescent(SOON).await);
        drop(server);
        assert!(connections.0.connections().is_empty());

        let Pair { activity, client, mut server, .. } = pair(true).await;
        server.write_all(b"late").await.unwrap();
        server.reset();
        assert!(!activity.wait_quiescent(SOON).await);
        drop(client);
        assert!(activity.wait_quiescent(SOON).await);
    }

    #[tokio::test]
    async fn bytes_are_in_flight_before_the_server_accepts() {
        let activity = ActivityTracker::default();
        let connections = ConnectionRegistry::new(activity.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut client = connections.track_client(stream, origin());
        client.write_all(b"abcd").await.unwrap();
        assert!(!activity.wait_quiescent(SOON).await);
        let (stream, _) = listener.accept().await.unwrap();
        let mut server = connections.track_server(stream);
        server.read_exact(&mut [0; 4]).await.unwrap();
        assert!(activity.wait_quiescent(SOON).await);
    }

    // Ruling: HOUSE-2.
    #[tokio::test]
    async fn bytes_of_outside_peers_are_never_in_flight() {
        let Pair { activity, mut client, mut server, connections } = pair(false).await;
        client.write_all(b"abcd").await.unwrap();
        server.write_all(b"efgh").await.unwrap();
        server.shutdown().await.unwrap();
        assert!(activity.wait_quiescent(SOON).await);
        assert_eq!(server.peer_info().origin::<&str>(), None);
        assert!(!server.peer_info().is_of_house());
        drop(server);
        assert!(connections.0.connections().is_empty());
    }
}
