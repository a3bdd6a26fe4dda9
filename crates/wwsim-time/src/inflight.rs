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
//!
//! The two ends also spare each other the way through the event loop of the runtime: an end that has
//! written, or is gone, wakes the other one, which reads at once what it knows to be there. The event loop
//! still wakes it for everything that neither end knows, such as a listener that closes before it accepts.

use parking_lot::{Mutex, MutexGuard};
use std::any::Any;
use std::collections::HashMap;
use std::io::{self, Read as _};
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::coop;

use crate::clock::{ActivityGuard, ActivityTracker};
use crate::sockets::Accepted;

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

    /// Wraps the client's end of a connection from an action to a slave or target of the house, which
    /// listens at `server`.
    #[must_use]
    pub fn track_client(
        &self,
        stream: TcpStream,
        server: SocketAddr,
        origin: ConnectionOrigin,
    ) -> TrackedStream {
        // Without its address (the connection is lost already) there is nothing to account for:
        // the first read or write fails at once.
        let client = stream.local_addr().ok();
        let endpoint = client.map(|client| self.join((client, server), Side::Client, Some(origin)));
        TrackedStream::new(endpoint, stream)
    }

    /// Wraps the server's end of an accepted connection.
    #[must_use]
    pub fn track_accepted(&self, accepted: Accepted) -> TrackedStream {
        let Accepted { stream, client, server } = accepted;
        self.track_server_at(stream, Some(client), server)
    }

    /// Wraps the server's end of an accepted connection whose addresses are not known.
    #[must_use]
    pub fn track_server(&self, stream: TcpStream) -> TrackedStream {
        self.track_server_at(stream, None, None)
    }

    /// Wraps the server's end of a connection, and asks the system for the addresses that are not known.
    fn track_server_at(
        &self,
        stream: TcpStream,
        client: Option<SocketAddr>,
        server: Option<SocketAddr>,
    ) -> TrackedStream {
        let client = client.or_else(|| stream.peer_addr().ok());
        let server = server.or_else(|| stream.local_addr().ok());
        let endpoint = client.zip(server).map(|addresses| self.join(addresses, Side::Server, None));
        TrackedStream::new(endpoint, stream)
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
        if side == Side::Client {
            connection.has_client.store(true, Ordering::Release);
        }
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
struct TrackedConnection {
    state: Mutex<ConnectionState>,
    /// True once the client's end has joined. The ends of other connections never wait for each other.
    has_client: AtomicBool,
}

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
    /// The waker of a reader that waits for the writer.
    reader: Option<Waker>,
}

/// The state of a direction, as its reader sees it before it asks the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Incoming {
    /// The system has to be asked by the runtime.
    Unknown,
    /// Bytes or an end were sent, or are being sent.
    Expected,
    /// The client is gone, and nothing is left to read but the end of the stream.
    End,
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
        self.state.lock()
    }

    /// Returns the state of the direction that `side` reads, as [`ConnectionState::incoming`] does.
    fn incoming(&self, side: Side, reader: &Waker) -> Incoming {
        if !self.has_client.load(Ordering::Acquire) {
            return Incoming::Unknown;
        }
        // Dropped after the lock is released, because the drop of a waker may run code of the runtime.
        let (incoming, _previous) = self.state().incoming(side, reader);
        incoming
    }

    /// Wakes the reader of what `side` writes.
    fn wake_reader(&self, side: Side) {
        if !self.has_client.load(Ordering::Acquire) {
            return;
        }
        let reader = self.state().written_by(side).reader.take();
        // After the lock is released, because the runtime may drop the task right here.
        if let Some(reader) = reader {
            reader.wake();
        }
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

    /// Returns the state of the direction that `side` reads, and keeps `reader` to be woken if there is
    /// nothing to read yet. Returns also the waker that `reader` replaces.
    fn incoming(&mut self, side: Side, reader: &Waker) -> (Incoming, Option<Waker>) {
        // A server may reset the connection when it goes, and a client does if it has not read everything.
        let closed = side == Side::Server && self.client == Presence::Gone;
        let is_end = closed && self.to_client.bytes == 0;
        let direction = self.read_by(side);
        if direction.bytes > 0 {
            return (Incoming::Expected, None);
        }
        if direction.ended && !direction.end_seen {
            return (if is_end { Incoming::End } else { Incoming::Expected }, None);
        }
        if direction.reader.as_ref().is_some_and(|waiting| waiting.will_wake(reader)) {
            return (Incoming::Unknown, None);
        }
        (Incoming::Unknown, direction.reader.replace(reader.clone()))
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

    fn incoming(&self, reader: &Waker) -> Incoming {
        self.connection.incoming(self.side, reader)
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
        let mut reader = None;
        self.change(|state| {
            *state.presence_mut(self.side) = Presence::Gone;
            state.written_by(self.side).ended = true;
            reader = state.read_by(self.side).reader.take();
            state.permit = None;
        });
        drop(reader);
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

/// The reader at the other end of a connection, which is woken at the latest when this is dropped.
#[derive(Debug)]
struct OtherEnd(Option<(Arc<TrackedConnection>, Side)>);

impl OtherEnd {
    fn wake(&self) {
        if let Some((connection, writer)) = &self.0 {
            connection.wake_reader(*writer);
        }
    }
}

impl Drop for OtherEnd {
    fn drop(&mut self) {
        self.wake();
    }
}

/// One end of a connection whose bytes in flight are accounted for.
///
/// The owner must read from it until it is done with the connection: bytes that wait in the kernel
/// are in flight and block every clock movement.
#[derive(Debug)]
pub struct TrackedStream {
    // Dropped in this order, so that the end of stream counts as in flight before the socket sends
    // it, and the other end looks for it after that.
    endpoint: Option<Endpoint>,
    stream: TcpStream,
    other_end: OtherEnd,
}

impl TrackedStream {
    fn new(endpoint: Option<Endpoint>, stream: TcpStream) -> Self {
        let other_end =
            endpoint.as_ref().map(|endpoint| (Arc::clone(&endpoint.connection), endpoint.side));
        Self { endpoint, stream, other_end: OtherEnd(other_end) }
    }

    /// Wraps a connection to a peer outside the house.
    #[must_use]
    pub fn external(stream: TcpStream) -> Self {
        Self::new(None, stream)
    }

    /// Returns true if the bytes in flight are accounted for: if the connection is within the house.
    #[must_use]
    pub fn is_tracked(&self) -> bool {
        self.endpoint.is_some()
    }

    /// Makes the system send each write at once, although earlier bytes are not acknowledged yet.
    pub fn send_at_once(&self) {
        // Requests are only slower without it.
        let _ = self.stream.set_nodelay(true);
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
        self.other_end.wake();
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

    /// Reads from the system, at once if the other end has written and the runtime does not know it yet.
    fn poll_system_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let incoming = match &self.endpoint {
            Some(endpoint) => endpoint.incoming(context.waker()),
            None => Incoming::Unknown,
        };
        if incoming == Incoming::End {
            return Poll::Ready(Ok(()));
        }
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if polled.is_ready() || incoming == Incoming::Unknown {
            return polled;
        }
        let budget = ready!(coop::poll_proceed(context));
        match (&*SockRef::from(&self.stream)).read(buffer.initialize_unfilled()) {
            // The other end is about to write. The runtime wakes this one.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            result => {
                budget.made_progress();
                Poll::Ready(result.map(|read| buffer.advance(read)))
            }
        }
    }
}

impl AsyncRead for TrackedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (before, room) = (buffer.filled().len(), buffer.remaining());
        let result = ready!(self.poll_system_read(context, buffer));
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
        if let Some(endpoint) = &self.endpoint
            && written < bytes.len()
        {
            endpoint.subtract_unwritten(bytes.len() - written);
        }
        if written > 0 {
            self.other_end.wake();
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
        let result = Pin::new(&mut self.stream).poll_shutdown(context);
        self.other_end.wake();
        result
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;
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
        let address = listener.local_addr().unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        let client = if from_house {
            connections.track_client(stream, address, origin())
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
        let address = listener.local_addr().unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        let mut client = connections.track_client(stream, address, origin());
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

    /// Counts the calls of its waker.
    #[derive(Debug, Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Polls a read once, and returns what it read without a turn of the runtime.
    fn poll_read(stream: &mut TrackedStream, count: &Arc<Wakes>) -> Poll<io::Result<Vec<u8>>> {
        let waker = Waker::from(Arc::clone(count));
        let (mut bytes, mut context) = ([0; 8], Context::from_waker(&waker));
        let mut buffer = ReadBuf::new(&mut bytes);
        let polled = Pin::new(stream).poll_read(&mut context, &mut buffer);
        polled.map_ok(|()| buffer.filled().to_vec())
    }

    /// Writes without a turn of the runtime.
    fn write_now(stream: &mut TrackedStream, bytes: &[u8]) {
        let mut context = Context::from_waker(Waker::noop());
        let polled = Pin::new(stream).poll_write(&mut context, bytes);
        assert!(matches!(polled, Poll::Ready(Ok(written)) if written == bytes.len()), "{polled:?}");
    }

    #[tokio::test]
    async fn the_other_end_is_woken_and_reads_without_a_turn_of_the_runtime() {
        let Pair { activity, mut client, mut server, .. } = pair(true).await;
        let (client_wakes, server_wakes) = (Arc::default(), Arc::default());
        assert!(poll_read(&mut server, &server_wakes).is_pending());
        write_now(&mut client, b"ab");
        assert_eq!(server_wakes.0.load(Ordering::SeqCst), 1);
        let read = poll_read(&mut server, &server_wakes);
        assert!(matches!(&read, Poll::Ready(Ok(bytes)) if bytes == b"ab"), "{read:?}");

        assert!(poll_read(&mut client, &client_wakes).is_pending());
        write_now(&mut server, b"cd");
        assert_eq!(client_wakes.0.load(Ordering::SeqCst), 1);
        let read = poll_read(&mut client, &client_wakes);
        assert!(matches!(&read, Poll::Ready(Ok(bytes)) if bytes == b"cd"), "{read:?}");

        assert!(poll_read(&mut server, &server_wakes).is_pending());
        drop(client);
        assert_eq!(server_wakes.0.load(Ordering::SeqCst), 2);
        let read = poll_read(&mut server, &server_wakes);
        assert!(matches!(&read, Poll::Ready(Ok(bytes)) if bytes.is_empty()), "{read:?}");
        assert!(activity.wait_quiescent(SOON).await);
    }

    #[tokio::test]
    async fn the_client_sees_how_the_server_ends_the_connection() {
        for resets in [false, true] {
            let Pair { activity, mut client, server, .. } = pair(true).await;
            let wakes = Arc::default();
            assert!(poll_read(&mut client, &wakes).is_pending());
            if resets {
                server.reset();
            } else {
                drop(server);
            }
            assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
            let ended = client.read(&mut [0; 8]).await.map_err(|error| error.kind());
            let expected = if resets { Err(io::ErrorKind::ConnectionReset) } else { Ok(0) };
            assert_eq!(ended, expected);
            assert!(activity.wait_quiescent(SOON).await);
        }
    }

    #[tokio::test]
    async fn the_ends_of_outside_connections_do_not_wait_for_each_other() {
        let Pair { mut client, mut server, .. } = pair(false).await;
        let wakes = Arc::default();
        assert!(poll_read(&mut server, &wakes).is_pending());
        assert!(server.endpoint.as_ref().unwrap().connection.state().to_server.reader.is_none());
        client.write_all(b"ab").await.unwrap();
        assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 2);
    }
}
