//! Sockets of an address's family, bound or not yet.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpSocket;

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
