//! Where a device's actions may go: the house's own slaves and targets by the names and addresses
//! that real definitions use, and beyond them what the outbound policy lets through.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;

use tokio::net::TcpStream;

/// What actions may reach beside the slaves and targets of the house.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Policy {
    /// Nothing.
    #[default]
    Deny,
    /// Loopback addresses.
    Loopback,
    /// Anything; names go to the host's resolver.
    Allow,
}

impl Policy {
    /// All of them, by the words that scenarios and the command line use.
    pub const NAMES: [(&'static str, Self); 3] =
        [("deny", Self::Deny), ("loopback", Self::Loopback), ("allow", Self::Allow)];

    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::Loopback => "loopback",
            Self::Allow => "allow",
        }
    }

    /// Whether an address outside the house may be connected to.
    #[must_use]
    pub const fn allows(self, address: IpAddr) -> bool {
        match self {
            Self::Deny => false,
            Self::Loopback => address.is_loopback(),
            Self::Allow => true,
        }
    }
}

/// A name or address by which actions know a slave or a target, on one port or on all.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostAddress {
    /// Host name, lower case, or an IP address.
    pub host: String,
    /// The port; any where none.
    pub port: Option<u16>,
}

impl HostAddress {
    /// Whether an action that names `host` and `port` means this one.
    #[must_use]
    pub fn matches(&self, host: &str, port: u16) -> bool {
        self.port.is_none_or(|own| own == port) && self.host.eq_ignore_ascii_case(host)
    }
}

impl FromStr for HostAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("host `{text}`: expected a name or address, with or without `:port`");
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

impl fmt::Display for HostAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// A slave or a target of the house: its name, where it is reached, what it is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Which of the two.
    pub kind: PeerKind,
    /// Its name in the scenario.
    pub name: String,
    /// Where it is bound.
    pub address: SocketAddr,
    /// What it is known by.
    pub hosts: Vec<HostAddress>,
}

/// An MQTT broker beside the house, which its devices may reach whatever the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// Its name in the scenario.
    pub name: Arc<str>,
    /// Where it is; on the port of the device's own URL where it says none.
    pub address: HostAddress,
    /// What devices know it by.
    pub hosts: Vec<HostAddress>,
}

/// Connects the devices of a house to brokers, the house's own and those the policy lets through.
pub trait Dial: fmt::Debug + Send + Sync {
    /// Connects to a host and port as a device's settings have them.
    fn dial<'a>(&'a self, host: &'a str, port: u16) -> Dialing<'a>;
}

/// A connect under way.
pub type Dialing<'a> = Pin<Box<dyn Future<Output = Result<TcpStream, Unreached>> + Send + 'a>>;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum Unreached {
    /// The policy keeps it in.
    #[error("the outbound policy keeps it in (outbound: {})", .0.name())]
    Denied(Policy),
    /// Nobody knows the name.
    #[error("the name does not resolve")]
    Unknown,
    /// Nobody takes the connection.
    #[error("{0}")]
    Refused(#[from] io::Error),
}

/// What a peer speaks.
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
    fn hosts_are_read_with_and_without_port() {
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
    fn a_host_without_port_means_all_ports() {
        let host: HostAddress = "bulb.local".parse().unwrap();
        assert!(host.matches("BULB.local", 80) && host.matches("bulb.local", 8080));
        let host: HostAddress = "bulb.local:80".parse().unwrap();
        assert!(host.matches("bulb.local", 80) && !host.matches("bulb.local", 8080));
    }
}
