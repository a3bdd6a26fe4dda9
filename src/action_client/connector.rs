//! Opens the connections of actions and MQTT clients: the one place that does, so that none of them reaches
//! the control plane of its own house.
//!
//! An action that reached it could change the rules, the registers and the clock of the test that it is part
//! of. What counts is the address that is connected to, whatever name or notation led to it, so it is checked
//! here and not where names are resolved.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use tokio::net::TcpStream;

use crate::net::sockets;

/// Opens connections, but none to the control plane.
#[derive(Debug, Clone, Copy)]
pub(super) struct Connector {
    /// The address on which the control plane of the house listens. `None` if the house has none.
    control: Option<SocketAddr>,
}

/// The reason why a connection was not opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectorError {
    /// The address is that of the control plane.
    #[error("it is the control plane of this house, which its devices never reach")]
    ControlPlane,
    /// There is no socket left.
    #[error("{0}")]
    NoSocket(#[source] io::Error),
    /// The connection failed.
    #[error("{0}")]
    Failed(#[source] io::Error),
}

impl Connector {
    pub(super) fn new(control: Option<SocketAddr>) -> Self {
        Self { control }
    }

    /// Opens a connection. The system may hold a write back while earlier bytes are not acknowledged.
    pub(super) async fn connect(&self, address: SocketAddr) -> Result<TcpStream, ConnectorError> {
        if self.reaches_control_plane(address) {
            return Err(ConnectorError::ControlPlane);
        }
        let socket = sockets::new_socket(address).map_err(ConnectorError::NoSocket)?;
        socket.connect(address).await.map_err(ConnectorError::Failed)
    }

    /// Returns true if a connection to `address` is one to the control plane.
    fn reaches_control_plane(&self, address: SocketAddr) -> bool {
        let Some(control) = self.control.filter(|control| control.port() == address.port()) else {
            return false;
        };
        let (listens_on, reached) = (control.ip().to_canonical(), destination(address));
        if listens_on.is_unspecified() {
            reached.ip().is_loopback() || is_own_address(reached)
        } else {
            reached.ip() == listens_on
        }
    }
}

/// Returns the address that a connection to `address` reaches: the system connects to loopback if it is given the
/// unspecified address, and to an IPv4 address if it is given one in the form of IPv6.
fn destination(mut address: SocketAddr) -> SocketAddr {
    // The interface of a link-local address stays.
    address.set_ip(address.ip().to_canonical());
    address.set_ip(sockets::reachable_address(address).ip());
    address
}

/// Returns true unless it is certain that this machine does not have the address: a socket can be bound only to
/// one that it has, but that may fail for other reasons, too.
fn is_own_address(mut address: SocketAddr) -> bool {
    address.set_port(0);
    UdpSocket::bind(address)
        .map_or_else(|error| error.kind() != io::ErrorKind::AddrNotAvailable, |_| true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reaches(control: &str, address: &str) -> bool {
        let connector = Connector::new(Some(control.parse().unwrap()));
        connector.reaches_control_plane(address.parse().unwrap())
    }

    #[test]
    fn the_control_plane_is_known_under_every_notation() {
        for address in
            ["127.0.0.1:8090", "0.0.0.0:8090", "[::ffff:127.0.0.1]:8090", "[::ffff:0.0.0.0]:8090"]
        {
            assert!(reaches("127.0.0.1:8090", address), "{address}");
        }
        assert!(reaches("[::1]:8090", "[::]:8090"));
        assert!(reaches("[::ffff:127.0.0.1]:8090", "127.0.0.1:8090"));
        for other in ["127.0.0.1:8091", "127.0.0.2:8090", "[::1]:8090", "192.0.2.1:8090"] {
            assert!(!reaches("127.0.0.1:8090", other), "{other}");
        }
        assert!(!Connector::new(None).reaches_control_plane("127.0.0.1:8090".parse().unwrap()));
    }

    #[test]
    fn a_control_plane_on_every_address_is_known_under_every_own_address() {
        for control in ["0.0.0.0:8090", "[::]:8090"] {
            for address in ["127.0.0.1:8090", "127.9.9.9:8090", "0.0.0.0:8090", "[::1]:8090"] {
                assert!(reaches(control, address), "{control} {address}");
            }
            assert!(!reaches(control, "192.0.2.1:8090"), "that of another machine (RFC 5737)");
        }
    }
}
