//! Connections between the house's own requesters and its own slaves and targets.
//!
//! Between the two ends lies the kernel, where nobody sees the other. So that a clock movement can
//! wait for what is on its way there, both ends are wrapped ([`TrackedStream`]) and share a link, which
//! holds a [`ActivityGuard`] while bytes or an end (FIN, RST) were written on one side and not yet read on
//! the other. The link also tells the server which action is asking, which nothing on the wire does.
//!
//! The order of operations leaves no gap: bytes are counted before they are written, and taken off
//! when they were read, inside a poll of the reader's tracked task, which is a motion of its own.
//!
//! A connection that comes from outside the house (`mbpoll`, a browser) has only a server side. It
//! never counts as under way: the clock cannot wait for strangers.

use parking_lot::{Mutex, MutexGuard};
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

/// The action that sends a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionOrigin {
    /// The device's id.
    pub device: Arc<str>,
    /// The action's id.
    pub action: Arc<str>,
}

/// All links of a house. Cheap to clone; bounded by its connections, since a link goes with its ends.
#[derive(Debug, Clone)]
pub struct ConnectionRegistry(Arc<Registry>);

#[derive(Debug)]
struct Registry {
    motions: ActivityTracker,
    links: Mutex<HashMap<AddrPair, Arc<TrackedConnection>>>,
}

/// The requester's address and the server's. The requester's alone would not do: the kernel gives
/// the same local port to connections that lead to different places.
type AddrPair = (SocketAddr, SocketAddr);

impl ConnectionRegistry {
    /// No links yet; what is under way is counted in `motions`.
    #[must_use]
    pub fn new(motions: ActivityTracker) -> Self {
        Self(Arc::new(Registry { motions, links: Mutex::default() }))
    }

    /// The requester's end of a connection to a slave or target of the house.
    #[must_use]
    pub fn requester(&self, stream: TcpStream, caller: ActionOrigin) -> TrackedStream {
        // Without its addresses (the connection is lost already) there is nothing to account for:
        // the first read or write says so at once.
        let ends = stream.local_addr().ok().zip(stream.peer_addr().ok());
        let tie = ends.map(|(local, peer)| self.tie((local, peer), Side::Requester, Some(caller)));
        TrackedStream { tie, stream }
    }

    /// The server's end of an accepted connection.
    #[must_use]
    pub fn server(&self, stream: TcpStream) -> TrackedStream {
        let ends = stream.peer_addr().ok().zip(stream.local_addr().ok());
        let tie = ends.map(|(peer, local)| self.tie((peer, local), Side::Server, None));
        TrackedStream { tie, stream }
    }

    /// Joins the link of a connection, which the side that comes first creates.
    fn tie(
        &self,
        (requester, server): AddrPair,
        side: Side,
        caller: Option<ActionOrigin>,
    ) -> Endpoint {
        let ends = (canonical(requester), canonical(server));
        let mut links = self.0.links();
        // An earlier connection between the same two ports may still have an end that lives.
        let known = links.get(&ends).filter(|link| link.state().presence(side) == Presence::Absent);
        let link = known.cloned().unwrap_or_default();
        links.insert(ends, Arc::clone(&link));
        link.change(&self.0.motions, |state| {
            *state.presence_mut(side) = Presence::Here;
            if caller.is_some() {
                state.caller = caller;
            }
        });
        Endpoint { registry: Arc::clone(&self.0), ends, link, side }
    }
}

/// An address as the other end of the connection names it too: a socket that listens on `::` sees
/// IPv4 peers as IPv6 addresses.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

impl Registry {
    fn links(&self) -> MutexGuard<'_, HashMap<AddrPair, Arc<TrackedConnection>>> {
        self.links.lock()
    }
}

/// One connection of which both ends belong to the house.
#[derive(Debug, Default)]
struct TrackedConnection(Mutex<ConnectionState>);

#[derive(Debug, Default)]
struct ConnectionState {
    caller: Option<ActionOrigin>,
    requester: Presence,
    server: Presence,
    to_server: Direction,
    to_requester: Direction,
    /// See [`TrackedStream::takes`].
    place: Option<OwnedSemaphorePermit>,
}

/// One direction of a connection.
#[derive(Debug, Default)]
struct Direction {
    /// Written and not yet read.
    bytes: usize,
    /// The writer has ended it.
    ended: bool,
    /// The reader knows.
    end_seen: bool,
    /// Held while any of that is on its way.
    motion: Option<ActivityGuard>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Requester,
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
    /// Changes the state, and begins or ends the motion of each way accordingly.
    fn change(&self, motions: &ActivityTracker, change: impl FnOnce(&mut ConnectionState)) {
        let ended = {
            let mut state = self.state();
            change(&mut state);
            let (to_server, to_requester) = (state.waits_for_server(), state.requester_reads());
            [
                state.to_server.settle(to_server, motions),
                state.to_requester.settle(to_requester, motions),
            ]
        };
        // After the lock: the end of the last motion wakes a clock movement.
        drop(ended);
    }

    fn state(&self) -> MutexGuard<'_, ConnectionState> {
        self.0.lock()
    }
}

impl ConnectionState {
    fn presence(&self, side: Side) -> Presence {
        match side {
            Side::Requester => self.requester,
            Side::Server => self.server,
        }
    }

    fn presence_mut(&mut self, side: Side) -> &mut Presence {
        match side {
            Side::Requester => &mut self.requester,
            Side::Server => &mut self.server,
        }
    }

    fn written_by(&mut self, side: Side) -> &mut Direction {
        match side {
            Side::Requester => &mut self.to_server,
            Side::Server => &mut self.to_requester,
        }
    }

    fn read_by(&mut self, side: Side) -> &mut Direction {
        match side {
            Side::Requester => &mut self.to_requester,
            Side::Server => &mut self.to_server,
        }
    }

    /// Whether the server reads, or will once it has accepted the connection.
    fn waits_for_server(&self) -> bool {
        match self.server {
            Presence::Absent => self.requester == Presence::Here,
            Presence::Here => self.requester != Presence::Absent,
            Presence::Gone => false,
        }
    }

    fn requester_reads(&self) -> bool {
        self.requester == Presence::Here
    }
}

impl Direction {
    /// Begins the motion where something is on its way to somebody, or hands it out to be ended.
    fn settle(&mut self, somebody: bool, motions: &ActivityTracker) -> Option<ActivityGuard> {
        if somebody && (self.bytes > 0 || (self.ended && !self.end_seen)) {
            self.motion.get_or_insert_with(|| motions.enter());
            None
        } else {
            self.motion.take()
        }
    }
}

/// One end's hold on its link.
#[derive(Debug)]
struct Endpoint {
    registry: Arc<Registry>,
    ends: AddrPair,
    link: Arc<TrackedConnection>,
    side: Side,
}

impl Endpoint {
    fn change(&self, change: impl FnOnce(&mut ConnectionState)) {
        self.link.change(&self.registry.motions, change);
    }

    fn writes(&self, bytes: usize) {
        self.change(|state| state.written_by(self.side).bytes += bytes);
    }

    fn did_not_write(&self, bytes: usize) {
        self.change(|state| {
            let way = state.written_by(self.side);
            way.bytes = way.bytes.saturating_sub(bytes);
        });
    }

    fn has_read(&self, bytes: usize) {
        // What a stranger sent was never counted, hence saturating.
        self.change(|state| {
            let way = state.read_by(self.side);
            way.bytes = way.bytes.saturating_sub(bytes);
        });
    }

    fn saw_the_end(&self) {
        self.change(|state| {
            let way = state.read_by(self.side);
            way.bytes = 0;
            way.end_seen = true;
            if self.side == Side::Server {
                state.place = None;
            }
        });
    }

    fn ends(&self) {
        self.change(|state| state.written_by(self.side).ended = true);
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.change(|state| {
            *state.presence_mut(self.side) = Presence::Gone;
            state.written_by(self.side).ended = true;
            state.place = None;
        });
        let over = {
            let state = self.link.state();
            state.requester != Presence::Here && state.server != Presence::Here
        };
        if over {
            let mut links = self.registry.links();
            if links.get(&self.ends).is_some_and(|known| Arc::ptr_eq(known, &self.link)) {
                links.remove(&self.ends);
            }
        }
    }
}

/// What a server asks about the connection that a request came on.
#[derive(Debug, Clone)]
pub struct PeerInfo(Option<Arc<TrackedConnection>>);

impl PeerInfo {
    /// The action behind the connection, where one of the house's devices opened it. Known as soon
    /// as a byte of its request was read.
    #[must_use]
    pub fn caller(&self) -> Option<ActionOrigin> {
        self.0.as_ref().and_then(|link| link.state().caller.clone())
    }
}

/// One end of a connection, with what is under way on it accounted for.
///
/// Whoever holds one reads from it until it is done with the connection: bytes that wait in the
/// kernel are under way, and hold up every clock movement.
#[derive(Debug)]
pub struct TrackedStream {
    // Dropped in this order: the end is on its way before the socket sends it.
    tie: Option<Endpoint>,
    stream: TcpStream,
}

impl TrackedStream {
    /// A connection to somebody outside the house.
    #[must_use]
    pub fn outside(stream: TcpStream) -> Self {
        Self { tie: None, stream }
    }

    /// Who is at the other end, also for those who do not hold the connection itself.
    #[must_use]
    pub fn line(&self) -> PeerInfo {
        PeerInfo(self.tie.as_ref().map(|tie| Arc::clone(&tie.link)))
    }

    /// Keeps one of the server's places taken while the client is there: a requester of the house
    /// until it drops its end, a stranger until its end was read. So a requester that comes back at
    /// once finds its place free, however late the server looks at the connection before.
    pub fn takes(&self, place: OwnedSemaphorePermit) {
        if let Some(tie) = &self.tie {
            tie.change(|state| {
                state.place = Some(place).filter(|_| state.requester != Presence::Gone);
            });
        }
    }

    /// Loses the connection: nothing can be sent or received any more.
    pub fn cut(&self) {
        if let Some(tie) = &self.tie {
            tie.ends();
        }
        // A connection that cannot be shut down is lost already.
        let _ = SockRef::from(&self.stream).shutdown(Shutdown::Both);
    }

    /// Ends the connection with RST.
    pub fn reset(self) {
        self.reset_on_close();
    }

    /// Makes the close that follows a reset.
    pub(crate) fn reset_on_close(&self) {
        // Without the option the close ends it with FIN, which is the best left to do.
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
        if let Some(tie) = &self.tie {
            match (&result, buffer.filled().len() - before) {
                (Ok(()), 0) if room == 0 => {}
                (Ok(()), 0) | (Err(_), _) => tie.saw_the_end(),
                (Ok(()), read) => tie.has_read(read),
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
        if let Some(tie) = &self.tie {
            tie.writes(bytes.len());
        }
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        let written = match &result {
            Poll::Ready(Ok(written)) => *written,
            Poll::Ready(Err(_)) | Poll::Pending => 0,
        };
        if let Some(tie) = &self.tie {
            tie.did_not_write(bytes.len() - written);
        }
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(tie) = &self.tie {
            tie.ends();
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

    fn caller() -> ActionOrigin {
        ActionOrigin { device: "A842E39F8124".into(), action: "pump".into() }
    }

    struct Pair {
        motions: ActivityTracker,
        links: ConnectionRegistry,
        requester: TrackedStream,
        server: TrackedStream,
    }

    async fn pair(from_the_house: bool) -> Pair {
        let motions = ActivityTracker::default();
        let links = ConnectionRegistry::new(motions.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let requester = if from_the_house {
            links.requester(stream, caller())
        } else {
            TrackedStream::outside(stream)
        };
        let (stream, _) = listener.accept().await.unwrap();
        let server = links.server(stream);
        Pair { motions, links, requester, server }
    }

    #[tokio::test]
    async fn bytes_are_under_way_from_write_to_read() {
        let Pair { motions, mut requester, mut server, .. } = pair(true).await;
        assert!(motions.wait_quiescent(SOON).await);
        requester.write_all(b"abcd").await.unwrap();
        assert!(!motions.wait_quiescent(SOON).await);
        let mut bytes = [0; 3];
        server.read_exact(&mut bytes).await.unwrap();
        assert!(!motions.wait_quiescent(SOON).await, "one byte is left");
        server.read_exact(&mut bytes[..1]).await.unwrap();
        assert!(motions.wait_quiescent(SOON).await);
        assert_eq!(server.line().caller(), Some(caller()));
    }

    #[tokio::test]
    async fn an_end_is_under_way_until_it_is_seen_or_nobody_is_left_to_see_it() {
        let Pair { motions, requester, mut server, links } = pair(true).await;
        drop(requester);
        assert!(!motions.wait_quiescent(SOON).await);
        assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0);
        assert!(motions.wait_quiescent(SOON).await);
        drop(server);
        assert!(links.0.links().is_empty());

        let Pair { motions, requester, mut server, .. } = pair(true).await;
        server.write_all(b"late").await.unwrap();
        server.reset();
        assert!(!motions.wait_quiescent(SOON).await);
        drop(requester);
        assert!(motions.wait_quiescent(SOON).await);
    }

    #[tokio::test]
    async fn bytes_count_before_the_server_has_accepted() {
        let motions = ActivityTracker::default();
        let links = ConnectionRegistry::new(motions.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut requester = links.requester(stream, caller());
        requester.write_all(b"abcd").await.unwrap();
        assert!(!motions.wait_quiescent(SOON).await);
        let (stream, _) = listener.accept().await.unwrap();
        let mut server = links.server(stream);
        server.read_exact(&mut [0; 4]).await.unwrap();
        assert!(motions.wait_quiescent(SOON).await);
    }

    // Ruling: HOUSE-2.
    #[tokio::test]
    async fn nothing_waits_for_a_stranger() {
        let Pair { motions, mut requester, mut server, links } = pair(false).await;
        requester.write_all(b"abcd").await.unwrap();
        server.write_all(b"efgh").await.unwrap();
        server.shutdown().await.unwrap();
        assert!(motions.wait_quiescent(SOON).await);
        assert_eq!(server.line().caller(), None);
        drop(server);
        assert!(links.0.links().is_empty());
    }
}
