//! Sockets for an address: unbound, bound, and the port of a listener that can close and reopen.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// The real time before the next attempt after the system refused a socket, which takes real time
/// to become free.
pub const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Creates a socket of the family of `address`.
pub fn new_socket(address: SocketAddr) -> io::Result<TcpSocket> {
    match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }
}

/// A socket that is bound to an address and does not listen.
#[derive(Debug)]
pub struct BoundSocket(Socket);

/// Creates a socket that is bound to `address` and does not listen yet.
pub fn bind_socket(address: SocketAddr) -> io::Result<BoundSocket> {
    if address.port() != 0 {
        let socket = unbound_socket(address)?;
        // Earlier connections may still linger on the port.
        set_reuse(&socket, true)?;
        socket.bind(&address.into())?;
        return Ok(BoundSocket(socket));
    }
    // Without the option: with it, the system looks at every port that is taken before it finds one that is
    // free, which takes milliseconds if many are.
    let chosen = unbound_socket(address)?;
    chosen.bind(&address.into())?;
    if !Port::STAYS_BOUND {
        return Ok(BoundSocket(chosen));
    }
    // A port that the system chose ends with the listening, and one that was asked for stays until the socket
    // is closed. So the port is asked for, beside the socket that holds it meanwhile.
    set_reuse(&chosen, true)?;
    let address = local_addr(&chosen)?;
    let socket = unbound_socket(address)?;
    set_reuse(&socket, true)?;
    socket.bind(&address.into())?;
    Ok(BoundSocket(socket))
}

impl BoundSocket {
    /// Returns the address.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        local_addr(&self.0)
    }

    /// Accepts connections, of which `backlog` may wait.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn listen(self, backlog: u32) -> io::Result<TcpListener> {
        self.start_listening(backlog)?;
        self.into_listener()
    }

    fn start_listening(&self, backlog: u32) -> io::Result<()> {
        let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
        // Without the option first: with it, another process could take the port until the socket listens. It
        // is necessary only beside connections that linger on the port.
        if self.0.listen(backlog).is_err() {
            set_reuse(&self.0, true)?;
            self.0.listen(backlog)?;
        }
        // Connections inherit the option, so that they are in nobody's way when they linger.
        set_reuse(&self.0, true)
    }

    fn into_listener(self) -> io::Result<TcpListener> {
        TcpListener::from_std(self.0.into())
    }
}

fn unbound_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn local_addr(socket: &Socket) -> io::Result<SocketAddr> {
    let address = socket.local_addr()?.as_socket();
    // The socket was made for an address of this kind.
    address.ok_or_else(|| io::Error::other("a TCP socket without an internet address"))
}

/// Sets `SO_REUSEADDR`. Not on Windows, where the option lets another process take a port that is in use.
#[cfg_attr(not(unix), expect(unused_variables, clippy::unnecessary_wraps, reason = "see above"))]
fn set_reuse(socket: &Socket, reuse: bool) -> io::Result<()> {
    #[cfg(unix)]
    socket.set_reuse_address(reuse)?;
    Ok(())
}

/// Returns the address under which a client on this machine reaches a listener: one that is bound to every
/// address is reached over loopback.
#[must_use]
pub fn reachable_address(listen_address: SocketAddr) -> SocketAddr {
    let ip = match listen_address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        // 0.0.0.0, written as an IPv6 address.
        ip if ip.to_canonical().is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen_address.port())
}

/// True if an accepted connection has the options of its listener, so that they are set once.
const OPTIONS_ARE_INHERITED: bool = cfg!(target_os = "linux");

/// An accepted connection with the addresses of its two ends, as far as no system call has to ask for them.
#[derive(Debug)]
pub struct Accepted {
    /// The connection.
    pub stream: TcpStream,
    /// The address of the client.
    pub client: SocketAddr,
    /// The address that the client connected to. `None` if the listener is bound to every address.
    pub server: Option<SocketAddr>,
}

/// A listening socket that one task can stop while another waits for its next connection.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    /// The address of the connections. `None` if the socket is bound to every address.
    address: Option<SocketAddr>,
    /// True once [`Listener::stop`] was called: what `accept` fails with from then on is no error.
    stopped: AtomicBool,
    /// True while the system refuses to accept, so that the log says it once.
    failing: AtomicBool,
}

impl Listener {
    /// Takes over a listening socket.
    #[must_use]
    pub fn new(socket: TcpListener) -> Self {
        if OPTIONS_ARE_INHERITED {
            // Replies are only slower without it.
            let _ = SockRef::from(&socket).set_tcp_nodelay(true);
        }
        let address = socket.local_addr().ok().filter(|address| !address.ip().is_unspecified());
        Self { socket, address, stopped: AtomicBool::new(false), failing: AtomicBool::new(false) }
    }

    /// Returns the socket.
    #[must_use]
    pub const fn socket(&self) -> &TcpListener {
        &self.socket
    }

    /// Waits for the next connection. `None` if the listener was stopped.
    pub async fn accept(&self) -> Option<TcpStream> {
        self.accept_with_addresses().await.map(|accepted| accepted.stream)
    }

    /// Waits for the next connection, and returns it with its addresses. `None` if the listener was stopped.
    pub async fn accept_with_addresses(&self) -> Option<Accepted> {
        loop {
            match self.socket.accept().await {
                Ok((stream, client)) => {
                    self.failing.store(false, Ordering::Relaxed);
                    if !OPTIONS_ARE_INHERITED {
                        // If it fails, the client has left already.
                        let _ = stream.set_nodelay(true);
                    }
                    return Some(Accepted { stream, client, server: self.address });
                }
                Err(_) if self.stopped.load(Ordering::Acquire) => return None,
                // The client left before it was accepted.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => self.wait_to_retry(&error).await,
            }
        }
    }

    /// Logs the first failure of many, and waits. The process is out of file descriptors, most probably.
    async fn wait_to_retry(&self, error: &io::Error) {
        if !self.failing.swap(true, Ordering::Relaxed) {
            let address = self.socket.local_addr().ok();
            tracing::warn!(?address, %error, "accept failed, trying on");
        }
        tokio::time::sleep(ACCEPT_RETRY).await;
    }

    /// Makes the kernel refuse connections at once. Closing the socket is not enough if another process
    /// has a copy of it, such as a child process between its fork and its exec. Until it is closed, no other
    /// process can bind its port.
    pub fn stop(&self) {
        // First, because a task that waits in `accept` wakes with an error. A second shutdown would end
        // every connection that the socket accepts when it listens again.
        if self.stopped.swap(true, Ordering::AcqRel) {
            return;
        }
        let socket = SockRef::from(&self.socket);
        // Before it stops: beside a socket that only is bound, another one with the option could be bound.
        // If that fails, the port may be lost until the listener comes back.
        let _ = set_reuse(&socket, false);
        // If the system does not support it for a listener, closing the socket is what remains.
        let _ = socket.shutdown(Shutdown::Both);
    }

    /// Returns the socket, which stays bound.
    fn into_socket(self) -> io::Result<Socket> {
        Ok(self.socket.into_std()?.into())
    }
}

/// The port of a listener that can close and reopen.
///
/// A port takes one socket. While it refuses connections, this socket is bound and does not listen: the
/// kernel refuses connections, and gives the port to no other process. There is no moment in which another
/// process can bind a listener to the port: a socket that listens excludes all others, and one that only is
/// bound excludes them if it has no `SO_REUSEADDR`, which is cleared before the listening ends. Only if
/// connections of before linger on the port, it has the option again for the instant before it listens.
#[derive(Debug)]
pub struct Port {
    address: SocketAddr,
    /// The socket that keeps the port while there is no listener. `None` if it is not kept.
    reservation: Option<BoundSocket>,
    /// The listener. `None` while connections are refused.
    listener: Option<Arc<Listener>>,
}

impl Port {
    /// True if a listener that was stopped keeps its port and can listen again. On other systems the port is
    /// bound anew when the listener is closed.
    const STAYS_BOUND: bool = cfg!(target_os = "linux");

    /// Binds and opens a port. `backlog` connections may wait to be accepted.
    pub fn bind(address: SocketAddr, backlog: u32) -> io::Result<Self> {
        let mut port = Self::reserve(address)?;
        port.open(backlog)?;
        Ok(port)
    }

    /// Reserves a port, which refuses connections until it is opened.
    pub fn reserve(address: SocketAddr) -> io::Result<Self> {
        let reservation = bind_socket(address)?;
        set_reuse(&reservation.0, false)?;
        Ok(Self {
            address: reservation.local_addr()?,
            reservation: Some(reservation),
            listener: None,
        })
    }

    /// Creates a port that is not bound until it is opened. With port 0, its address is known then.
    #[must_use]
    pub const fn unbound(address: SocketAddr) -> Self {
        Self { address, reservation: None, listener: None }
    }

    /// Takes over the port of a listener.
    pub fn from_listener(listener: TcpListener) -> io::Result<Self> {
        let address = listener.local_addr()?;
        Ok(Self { address, reservation: None, listener: Some(Arc::new(Listener::new(listener))) })
    }

    /// Returns the address of the port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts connections. Returns the existing listener if the port is open already.
    pub fn open(&mut self, backlog: u32) -> io::Result<Arc<Listener>> {
        if let Some(listener) = &self.listener {
            return Ok(Arc::clone(listener));
        }
        let socket = match self.reservation.take() {
            Some(reservation) => reservation,
            None => bind_socket(self.address)?,
        };
        let address = socket.local_addr()?;
        if let Err(error) = socket.start_listening(backlog) {
            // If that fails, too, the port may be lost.
            let _ = set_reuse(&socket.0, false);
            self.reservation = Some(socket);
            return Err(error);
        }
        let listener = socket.into_listener()?;
        self.address = address;
        Ok(Arc::clone(self.listener.insert(Arc::new(Listener::new(listener)))))
    }

    /// Refuses connections, and keeps the port if it was open or reserved.
    pub fn close(&mut self) {
        let Some(listener) = self.stop_listener() else { return };
        match self.kept_socket(listener) {
            Ok(socket) => self.reservation = Some(socket),
            Err(error) => {
                tracing::warn!(address = %self.address, %error, "port not reserved while it refuses");
            }
        }
    }

    /// Refuses connections and frees the port.
    pub fn release(&mut self) {
        self.stop_listener();
        self.reservation = None;
    }

    fn stop_listener(&mut self) -> Option<Arc<Listener>> {
        let listener = self.listener.take()?;
        listener.stop();
        Some(listener)
    }

    /// Returns a socket that keeps the port of a stopped listener.
    fn kept_socket(&self, listener: Arc<Listener>) -> io::Result<BoundSocket> {
        if let Some(socket) = stopped_socket(listener)? {
            // The port of a listener that was bound elsewhere may have ended with the listening.
            if local_addr(&socket)? == self.address {
                return Ok(BoundSocket(socket));
            }
        }
        let socket = bind_socket(self.address)?;
        set_reuse(&socket.0, false)?;
        Ok(socket)
    }
}

/// Returns the socket of a stopped listener. `None` if it does not stay bound.
fn stopped_socket(listener: Arc<Listener>) -> io::Result<Option<Socket>> {
    if !Port::STAYS_BOUND {
        return Ok(None);
    }
    match Arc::try_unwrap(listener) {
        Ok(listener) => listener.into_socket().map(Some),
        // Another owner is about to drop it.
        Err(shared) => SockRef::from(&shared.socket).try_clone().map(Some),
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.stop_listener();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    #[test]
    fn a_listener_on_every_address_is_reached_over_loopback() {
        let reached =
            |listen_address: &str| reachable_address(listen_address.parse().unwrap()).to_string();
        assert_eq!(reached("0.0.0.0:80"), "127.0.0.1:80");
        assert_eq!(reached("[::]:80"), "[::1]:80");
        assert_eq!(reached("127.0.0.2:80"), "127.0.0.2:80");
    }

    #[tokio::test]
    async fn accepted_connections_send_at_once_and_know_their_addresses() {
        for (listens_at, has_address) in [("127.0.0.1:0", true), ("0.0.0.0:0", false)] {
            let mut port = Port::bind(listens_at.parse().unwrap(), 1).unwrap();
            let listener = port.open(1).unwrap();
            let client = TcpStream::connect(reachable_address(port.address())).await.unwrap();
            let accepted = listener.accept_with_addresses().await.unwrap();
            assert!(accepted.stream.nodelay().unwrap(), "{listens_at}");
            assert_eq!(accepted.client, client.local_addr().unwrap());
            assert_eq!(accepted.server, has_address.then(|| client.peer_addr().unwrap()));
        }
    }

    #[tokio::test]
    async fn a_closed_port_stays_reserved() {
        let mut port = Port::bind(any(), 1).unwrap();
        let address = port.address();
        let reached = async || new_socket(address).unwrap().connect(address).await.is_ok();
        for _ in 0..3 {
            assert!(reached().await);
            assert!(
                bind_socket(address).and_then(|socket| socket.listen(1)).is_err(),
                "while it listens"
            );
            // A child process has such a copy while it starts.
            let copy = SockRef::from(port.open(1).unwrap().socket()).try_clone().unwrap();
            port.close();
            assert!(!reached().await);
            drop(copy);
            if Port::STAYS_BOUND {
                assert!(bind_socket(address).is_err(), "while it refuses");
            }
            port.open(1).unwrap();
        }
        port.release();
        bind_socket(address).unwrap().listen(1).unwrap();
    }

    #[tokio::test]
    async fn reserved_ports_and_ports_of_listeners_reopen() {
        let listener = bind_socket(any()).unwrap().listen(1).unwrap();
        for mut port in [Port::reserve(any()).unwrap(), Port::from_listener(listener).unwrap()] {
            for _ in 0..3 {
                let listener = port.open(1).unwrap();
                assert_eq!(listener.socket().local_addr().unwrap(), port.address());
                drop(listener);
                port.close();
            }
        }
    }

    #[tokio::test]
    async fn a_stopped_listener_ends_those_who_wait_for_a_connection() {
        let mut port = Port::bind(any(), 1).unwrap();
        let listener = port.open(1).unwrap();
        let waiting = tokio::spawn({
            let listener = Arc::clone(&listener);
            async move { listener.accept().await.is_none() }
        });
        TcpStream::connect(port.address()).await.unwrap();
        assert!(!waiting.await.unwrap(), "a connection came first");
        let waiting = tokio::spawn(async move { listener.accept().await.is_none() });
        tokio::task::yield_now().await;
        drop(port);
        assert!(waiting.await.unwrap());
    }
}
