//! From the host and port of a request to addresses: the house's own slaves and targets first, by
//! the names and addresses that real definitions use, then what the outbound policy lets through.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::outbound::{Broker, HostAddress, Peer, PeerKind, Policy};

/// The only name that needs no resolver.
const LOCALHOST: &str = "localhost";

/// Why a host outside the house gave no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// A name the policy does not let out (−16).
    #[error("the outbound policy keeps this name in")]
    Name,
    /// An address the policy does not let out (−17).
    #[error("the outbound policy keeps this address in")]
    Address,
    /// A name nobody knows (−16).
    #[error("the name does not resolve")]
    Unknown,
}

/// What a house knows of hosts.
#[derive(Debug)]
pub struct Resolver {
    peers: Vec<Peer>,
    brokers: Vec<Broker>,
    policy: Policy,
}

impl Resolver {
    /// A resolver for these slaves and targets and what `policy` allows beside them.
    #[must_use]
    pub fn new(peers: Vec<Peer>, policy: Policy) -> Self {
        Self { peers, brokers: Vec::new(), policy }
    }

    /// The same for a house with brokers.
    #[must_use]
    pub fn with_brokers(self, brokers: Vec<Broker>) -> Self {
        Self { brokers, ..self }
    }

    /// What is let through beside the house itself.
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// The slave or target that an action means by `host` and `port`. Where a name belongs to both
    /// kinds, the one that speaks the request's protocol is meant.
    #[must_use]
    pub fn house(&self, kind: PeerKind, host: &str, port: u16) -> Option<&Peer> {
        let known = || self.peers.iter().filter(|peer| is_known_as(peer, host, port));
        known().find(|peer| peer.kind == kind).or_else(|| known().next())
    }

    /// Where the broker is that a device means by `host` and `port`; none where the house has no such
    /// broker. Slaves and targets speak no MQTT, and brokers nothing else: a name may lead actions
    /// to the one and the MQTT client to the other.
    #[must_use]
    pub fn broker<'a>(&'a self, host: &str, port: u16) -> Option<(&'a str, u16)> {
        let known = self.brokers.iter().find(|broker| {
            let HostAddress { host: own, port: own_port } = &broker.address;
            broker.hosts.iter().any(|known| known.matches(host, port))
                || (own.eq_ignore_ascii_case(host) && own_port.is_none_or(|own| own == port))
        })?;
        Some((&known.address.host, known.address.port.unwrap_or(port)))
    }

    /// The addresses of a host outside the house, best first.
    ///
    /// # Errors
    /// [`ResolveError`].
    pub async fn outside(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, ResolveError> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            let address = SocketAddr::new(ip, port);
            return if self.policy.allows(ip) {
                Ok(vec![address])
            } else {
                Err(ResolveError::Address)
            };
        }
        match self.policy {
            Policy::Loopback if host.eq_ignore_ascii_case(LOCALHOST) => {
                let both = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
                Ok(both.map(|ip| SocketAddr::new(ip, port)).to_vec())
            }
            Policy::Deny | Policy::Loopback => Err(ResolveError::Name),
            Policy::Allow => {
                let found = tokio::net::lookup_host((host, port)).await;
                let addresses: Vec<SocketAddr> =
                    found.map_err(|_| ResolveError::Unknown)?.collect();
                if addresses.is_empty() { Err(ResolveError::Unknown) } else { Ok(addresses) }
            }
        }
    }
}

/// Whether `host` and `port` name this peer, by its names or by where it is bound.
fn is_known_as(peer: &Peer, host: &str, port: u16) -> bool {
    if peer.hosts.iter().any(|known| known.matches(host, port)) {
        return true;
    }
    let ip = if host.eq_ignore_ascii_case(LOCALHOST) {
        Some(IpAddr::V4(Ipv4Addr::LOCALHOST))
    } else {
        host.parse().ok()
    };
    let bound = peer.address.ip();
    port == peer.address.port()
        && ip.is_some_and(|ip: IpAddr| ip == bound || (bound.is_unspecified() && ip.is_loopback()))
}

/// Where a peer is connected to: one that is bound to every address is reached over loopback.
#[must_use]
pub fn reachable(bound: SocketAddr) -> SocketAddr {
    let ip = match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, bound.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(kind: PeerKind, name: &str, address: &str, hosts: &[&str]) -> Peer {
        Peer {
            kind,
            name: name.to_owned(),
            address: address.parse().unwrap(),
            hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(),
        }
    }

    fn resolver(policy: Policy) -> Resolver {
        let pump =
            peer(PeerKind::Slave, "pump", "127.0.0.1:1503", &["heatpump.local:502", "box.local"]);
        let bulb = peer(PeerKind::Target, "bulb", "0.0.0.0:8081", &["192.168.99.101", "box.local"]);
        Resolver::new(vec![pump, bulb], policy)
    }

    #[test]
    fn peers_are_known_by_their_hosts_and_by_where_they_are_bound() {
        let resolver = resolver(Policy::Deny);
        let name = |host: &str, port| {
            resolver.house(PeerKind::Slave, host, port).map(|peer| peer.name.as_str())
        };
        assert_eq!(name("HeatPump.local", 502), Some("pump"));
        assert_eq!(name("heatpump.local", 503), None);
        assert_eq!(name("127.0.0.1", 1503), Some("pump"));
        assert_eq!(name("localhost", 1503), Some("pump"));
        assert_eq!(name("127.0.0.1", 502), None);
        assert_eq!(name("192.168.99.101", 80), Some("bulb"));
        assert_eq!(name("127.0.0.1", 8081), Some("bulb"), "bound to every address");
        assert_eq!(name("10.0.0.1", 8081), None);
    }

    #[test]
    fn a_name_of_two_peers_means_the_one_that_speaks_the_protocol() {
        let resolver = resolver(Policy::Deny);
        for (kind, expected) in [(PeerKind::Slave, "pump"), (PeerKind::Target, "bulb")] {
            assert_eq!(resolver.house(kind, "box.local", 80).unwrap().name, expected);
        }
    }

    #[tokio::test]
    async fn the_policy_decides_about_everything_else() {
        let outside = async |policy, host| resolver(policy).outside(host, 80).await;
        let addresses =
            |list: &[&str]| Ok(list.iter().map(|address| address.parse().unwrap()).collect());
        assert_eq!(outside(Policy::Deny, "localhost").await, Err(ResolveError::Name));
        assert_eq!(outside(Policy::Deny, "127.0.0.1").await, Err(ResolveError::Address));
        assert_eq!(
            outside(Policy::Loopback, "localhost").await,
            addresses(&["127.0.0.1:80", "[::1]:80"])
        );
        assert_eq!(outside(Policy::Loopback, "::1").await, addresses(&["[::1]:80"]));
        assert_eq!(outside(Policy::Loopback, "example.org").await, Err(ResolveError::Name));
        assert_eq!(outside(Policy::Loopback, "10.0.0.1").await, Err(ResolveError::Address));
        assert_eq!(outside(Policy::Allow, "10.0.0.1").await, addresses(&["10.0.0.1:80"]));
        assert_eq!(outside(Policy::Allow, "no such name").await, Err(ResolveError::Unknown));
    }

    #[test]
    fn brokers_are_known_by_their_hosts_and_by_where_they_are() {
        let broker = |name: &str, address: &str, hosts: &[&str]| Broker {
            name: name.into(),
            address: address.parse().unwrap(),
            hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(),
        };
        let resolver = resolver(Policy::Deny).with_brokers(vec![
            broker("lab", "127.0.0.1:1884", &["broker.example.com", "box.local:1883"]),
            broker("other", "mosquitto", &["10.0.0.7"]),
        ]);
        for (host, port, expected) in [
            ("Broker.example.com", 8883, Some(("127.0.0.1", 1884))),
            ("box.local", 1883, Some(("127.0.0.1", 1884))),
            ("127.0.0.1", 1884, Some(("127.0.0.1", 1884))),
            ("10.0.0.7", 8883, Some(("mosquitto", 8883))),
            ("mosquitto", 1883, Some(("mosquitto", 1883))),
            ("box.local", 80, None),
            ("127.0.0.1", 1883, None),
            ("127.0.0.1", 1503, None),
        ] {
            assert_eq!(resolver.broker(host, port), expected, "{host}:{port}");
        }
        let target = resolver.house(PeerKind::Target, "box.local", 1883).unwrap();
        assert_eq!(target.name, "bulb", "actions do not see brokers");
    }

    #[test]
    fn a_peer_bound_to_every_address_is_reached_over_loopback() {
        let reached = |bound: &str| reachable(bound.parse().unwrap()).to_string();
        assert_eq!(reached("0.0.0.0:80"), "127.0.0.1:80");
        assert_eq!(reached("[::]:80"), "[::1]:80");
        assert_eq!(reached("127.0.0.2:80"), "127.0.0.2:80");
    }
}
