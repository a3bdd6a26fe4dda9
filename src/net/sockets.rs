//! Sockets of an address's family, bound or not yet.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket};

/// A socket that can reach `address`.
pub(crate) fn for_address(address: SocketAddr) -> io::Result<TcpSocket> {
    match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }
}

/// A socket bound to `address`, which does not listen yet.
pub(crate) fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = for_address(address)?;
    // Connections of before may still linger on the port. Not on Windows, where the option lets
    // another process take a port that is in use.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// The port of a listener that can close and come back.
///
/// A socket that is bound and never listens, the anchor, keeps it all along: while nothing listens,
/// connections are refused just as well, and the system gives the port to nobody. It does not go by
/// `SO_REUSEADDR` but while we bind a listener beside it, so that nobody else can who asks for this very
/// port; before the first listener that is up to the system.
#[derive(Debug)]
pub(crate) struct Port {
    address: SocketAddr,
    anchor: Option<TcpSocket>,
    /// Set while connections are taken.
    listener: Option<Arc<TcpListener>>,
}

impl Port {
    /// Whether a listener can be bound beside an anchor; elsewhere the anchor becomes the listener, and
    /// comes back when that is closed.
    const BESIDE: bool = cfg!(target_os = "linux");

    /// An open port, with room for `backlog` connections that wait to be accepted.
    pub(crate) fn bind(address: SocketAddr, backlog: u32) -> io::Result<Self> {
        let mut port = Self::reserve(address)?;
        port.open(backlog)?;
        Ok(port)
    }

    /// A port that is kept and refuses.
    pub(crate) fn reserve(address: SocketAddr) -> io::Result<Self> {
        let anchor = bound(address)?;
        Ok(Self { address: anchor.local_addr()?, anchor: Some(anchor), listener: None })
    }

    /// A port that is nobody's until it is opened.
    pub(crate) const fn free(address: SocketAddr) -> Self {
        Self { address, anchor: None, listener: None }
    }

    /// The port of a listener that is there; it has no anchor before it is closed.
    pub(crate) fn of(listener: TcpListener) -> io::Result<Self> {
        let address = listener.local_addr()?;
        Ok(Self { address, anchor: None, listener: Some(Arc::new(listener)) })
    }

    /// Where it is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes connections, again or still.
    pub(crate) fn open(&mut self, backlog: u32) -> io::Result<Arc<TcpListener>> {
        if let Some(listener) = &self.listener {
            return Ok(Arc::clone(listener));
        }
        let anchor = match self.anchor.take() {
            Some(anchor) => anchor,
            None => bound(self.address)?,
        };
        let listener = if Self::BESIDE {
            let listener = beside(&anchor, self.address, backlog);
            self.anchor = Some(anchor);
            listener?
        } else {
            anchor.listen(backlog)?
        };
        Ok(Arc::clone(self.listener.insert(Arc::new(listener))))
    }

    /// Takes connections no more, once nobody else holds the listener, and keeps the port.
    pub(crate) fn close(&mut self) {
        self.stop();
        if self.anchor.is_none() {
            match bound(self.address) {
                Ok(anchor) => self.anchor = Some(anchor),
                Err(error) => {
                    tracing::warn!(address = %self.address, %error, "port not kept while it refuses");
                }
            }
        }
    }

    /// Takes connections no more, and gives the port back.
    pub(crate) fn give_back(&mut self) {
        self.stop();
        self.anchor = None;
    }

    fn stop(&mut self) {
        if let Some(listener) = self.listener.take() {
            stop_listening(&listener);
        }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Has the kernel refuse connections at once. Closing the socket would not do where another process
/// has a copy of it: one that somebody beside us is starting right now, between its fork and its exec.
pub(crate) fn stop_listening(listener: &TcpListener) {
    // Where the system does not know it of a listener, closing has to do.
    let _ = SockRef::from(listener).shutdown(Shutdown::Both);
}

/// A listener on the address of an anchor, which lets it alone in.
fn beside(anchor: &TcpSocket, address: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    anchor.set_reuseaddr(true)?;
    let listener = bound(address).and_then(|socket| socket.listen(backlog));
    anchor.set_reuseaddr(false)?;
    listener
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    #[tokio::test]
    async fn a_port_stays_our_own_while_it_refuses() {
        let mut port = Port::bind(any(), 1).unwrap();
        let address = port.address();
        let reached = async || for_address(address).unwrap().connect(address).await.is_ok();
        for _ in 0..3 {
            assert!(reached().await);
            assert!(
                bound(address).and_then(|socket| socket.listen(1)).is_err(),
                "while it listens"
            );
            // As a process has it that is being started.
            let copy = SockRef::from(&*port.open(1).unwrap()).try_clone().unwrap();
            port.close();
            assert!(!reached().await);
            drop(copy);
            if Port::BESIDE {
                assert!(bound(address).is_err(), "while it refuses");
            }
            port.open(1).unwrap();
        }
        port.give_back();
        bound(address).unwrap().listen(1).unwrap();
    }

    #[tokio::test]
    async fn a_reserved_port_and_one_of_a_listener_open_and_close_too() {
        let listener = bound(any()).unwrap().listen(1).unwrap();
        for mut port in [Port::reserve(any()).unwrap(), Port::of(listener).unwrap()] {
            for _ in 0..3 {
                let listener = port.open(1).unwrap();
                assert_eq!(listener.local_addr().unwrap(), port.address());
                drop(listener);
                port.close();
            }
        }
    }
}
