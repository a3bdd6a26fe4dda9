//! Sockets of an address's family, bound or not yet.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

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

/// The port of a listener that can close and come back. While it is closed, a socket that is bound
/// and does not listen refuses connections just as well, and nobody else can take the port.
#[derive(Debug)]
pub(crate) enum Port {
    /// Connections are taken.
    Open(Arc<TcpListener>),
    /// Connections are refused, and the port is kept.
    Reserved(TcpSocket),
    /// Connections are refused, and the port could not be kept.
    Lost,
}

impl Port {
    /// An open port, with room for `backlog` connections that wait to be accepted.
    pub(crate) fn bind(address: SocketAddr, backlog: u32) -> io::Result<(Self, SocketAddr)> {
        let listener = bound(address)?.listen(backlog)?;
        let bound = listener.local_addr()?;
        Ok((Self::Open(Arc::new(listener)), bound))
    }

    /// A port that is kept and refuses.
    pub(crate) fn reserve(address: SocketAddr) -> io::Result<(Self, SocketAddr)> {
        let socket = bound(address)?;
        let bound = socket.local_addr()?;
        Ok((Self::Reserved(socket), bound))
    }

    /// Takes connections, again or still.
    pub(crate) fn open(
        &mut self,
        address: SocketAddr,
        backlog: u32,
    ) -> io::Result<Arc<TcpListener>> {
        let listener = match std::mem::replace(self, Self::Lost) {
            Self::Open(listener) => listener,
            Self::Reserved(socket) => Arc::new(socket.listen(backlog)?),
            Self::Lost => Arc::new(bound(address)?.listen(backlog)?),
        };
        *self = Self::Open(Arc::clone(&listener));
        Ok(listener)
    }

    /// Takes connections no more, once nobody else holds the listener.
    pub(crate) fn close(&mut self, address: SocketAddr) {
        if let Self::Reserved(_) = self {
            return;
        }
        *self = Self::Lost;
        match Self::reserve(address) {
            Ok((port, _)) => *self = port,
            Err(error) => tracing::warn!(%address, %error, "port not kept while it refuses"),
        }
    }
}
