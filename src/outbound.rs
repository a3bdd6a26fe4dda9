//! The hosts that a device's actions may reach: the house's own slaves and targets, under the names
//! and addresses that real definitions use, and beyond them the hosts that the outbound policy
//! allows.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;

use tokio::net::TcpStream;

/// The hosts that actions may reach in addition to the slaves and targets of the house.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Policy {
    /// No other host.
    #[default]
    Deny,
    /// Loopback addresses.
    Loopback,
    /// Any host. The operating system's resolver resolves names.
    Allow,
}

impl Policy {
    /// All policies with their names in scenarios and on the command line.
    pub const NAMES: [(&'static str, Self); 3] =
        [("deny", Self::Deny), ("loopback", Self::Loopback), ("allow", Self::Allow)];

    /// Returns the name of the policy.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::Loopback => "loopback",
            Self::Allow => "allow",
        }
    }

    /// Returns true if the policy allows a connection to an address outside the house.
    #[must_use]
    pub const fn allows(self, address: IpAddr) -> bool {
        match self {
            Self::Deny => false,
            Self::Loopback => address.is_loopback(),
            Self::Allow => true,
        }
    }
}

/// The only name that needs no resolver.
pub(crate) const LOCALHOST: &str = "localhost";

/// Returns the address that a host stands for without a resolver: an IP address, or that of `localhost`. `None`
/// for any other name.
pub(crate) fn address_of(host: &str) -> Option<IpAddr> {
    if host.eq_ignore_ascii_case(LOCALHOST) {
        Some(IpAddr::V4(Ipv4Addr::LOCALHOST))
    } else {
        host.parse().ok()
    }
}

/// Returns true if a listener that is bound to `listen_address` is meant by `ip`.
pub(crate) fn listens_at(listen_address: IpAddr, ip: IpAddr) -> bool {
    ip == listen_address || (listen_address.is_unspecified() && ip.is_loopback())
}

/// A host name or address under which actions reach a slave or a target, on one port or on all
/// ports.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostAddress {
    /// The host name in lower case, or an IP address.
    pub host: String,
    /// The port. `None` stands for every port.
    pub port: Option<u16>,
}

impl HostAddress {
    /// Returns true if an action that names `host` and `port` refers to this address.
    #[must_use]
    pub fn matches(&self, host: &str, port: u16) -> bool {
        self.port.is_none_or(|expected| expected == port) && self.host.eq_ignore_ascii_case(host)
    }
}

impl FromStr for HostAddress {
    type Err = HostAddressError;

    fn from_str(text: &str) -> Result<Self, HostAddressError> {
        let wrong = || HostAddressError(text.to_owned());
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => {
                let port: u16 = port.parse().map_err(|_| wrong())?;
                (host, Some(port).filter(|port| *port != 0).ok_or_else(wrong)?.into())
            }
            None => (text, None),
        };
        let name_like = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if host.is_empty() || !host.chars().all(name_like) {
            return Err(wrong());
        }
        Ok(Self { host: host.to_ascii_lowercase(), port })
    }
}

/// A text that is not a host with or without a port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("host `{0}`: expected a name or address, with or without `:port`")]
pub struct HostAddressError(pub String);

impl fmt::Display for HostAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// The address of a slave or a target of the house, with the hosts that actions use for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerAddress {
    /// The protocol that the peer speaks.
    pub kind: PeerKind,
    /// The name in the scenario.
    pub name: String,
    /// The socket address that the peer listens on.
    pub address: SocketAddr,
    /// The hosts under which actions reach the peer.
    pub hosts: Vec<HostAddress>,
}

/// An MQTT broker outside the house that its devices may reach under every policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// The name in the scenario.
    pub name: Arc<str>,
    /// The broker's own address. If it has no port, the port of the device's URL applies.
    pub address: HostAddress,
    /// The hosts under which devices reach the broker.
    pub hosts: Vec<HostAddress>,
}

impl Broker {
    /// Returns true if a device that names `host` and `port` means this broker.
    #[must_use]
    pub fn matches(&self, host: &str, port: u16) -> bool {
        self.hosts.iter().chain([&self.address]).any(|own| own.matches(host, port))
    }
}

/// Opens connections from the devices of a house to brokers: the house's own brokers and those that
/// the policy allows.
pub trait Dial: fmt::Debug + Send + Sync {
    /// Connects to a host and port as they stand in a device's settings.
    fn dial<'a>(&'a self, host: &'a str, port: u16) -> Dialing<'a>;
}

/// The future of a connection attempt.
pub type Dialing<'a> = Pin<Box<dyn Future<Output = Result<TcpStream, DialError>> + Send + 'a>>;

/// The reason why a connection could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The policy denies the host.
    #[error("the outbound policy keeps it in (outbound: {})", .0.name())]
    Denied(Policy),
    /// The name does not resolve.
    #[error("the name does not resolve")]
    Unresolved,
    /// The host is the control plane of the house.
    #[error("it is the control plane of this house, which its devices never reach")]
    ControlPlane,
    /// The connection failed.
    #[error("{0}")]
    Failed(#[from] io::Error),
}

/// The word of the journal for a denial that no policy decides: the host is the control plane of the house.
pub const CONTROL_PLANE: &str = "control plane";

impl DialError {
    /// Returns the word of the journal for who denied the connection. `None` if nobody did.
    #[must_use]
    pub const fn denied_by(&self) -> Option<&'static str> {
        match self {
            Self::Denied(policy) => Some(policy.name()),
            Self::ControlPlane => Some(CONTROL_PLANE),
            Self::Unresolved | Self::Failed(_) => None,
        }
    }
}

/// The protocol that a peer speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PeerKind {
    /// Modbus TCP.
    Slave,
    /// HTTP.
    Target,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_parsed_with_and_without_port() {
        let parse = |text: &str| text.parse::<HostAddress>();
        assert_eq!(
            parse("HeatPump.local:502"),
            Ok(HostAddress { host: "heatpump.local".into(), port: Some(502) })
        );
        assert_eq!(
            parse("192.168.99.101"),
            Ok(HostAddress { host: "192.168.99.101".into(), port: None })
        );
        for wrong in ["", ":502", "a:0", "a:70000", "a b", "http://a"] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_host_without_port_matches_every_port() {
        let host: HostAddress = "bulb.local".parse().unwrap();
        assert!(host.matches("BULB.local", 80) && host.matches("bulb.local", 8080));
        let host: HostAddress = "bulb.local:80".parse().unwrap();
        assert!(host.matches("bulb.local", 80) && !host.matches("bulb.local", 8080));
    }
}
