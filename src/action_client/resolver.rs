//! Resolves the host and port of a request to addresses: the house's own slaves and targets first,
//! under the names and addresses that real definitions use, then the hosts that the outbound policy
//! allows.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::limits;
use crate::net::logged_names::LoggedNames;
use crate::notation::shortened;
use crate::outbound::{Broker, LOCALHOST, PeerAddress, PeerKind, Policy, address_of, listens_at};

/// The refused hosts that are logged at most: as many as the log shows at once.
const LOGGED_HOSTS: usize = limits::LOG_REPEATS as usize;

/// The reason why a host outside the house has no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The policy denies the name (−16).
    #[error("the outbound policy keeps this name in")]
    Name,
    /// The policy denies the address (−17).
    #[error("the outbound policy keeps this address in")]
    Address,
    /// The name does not resolve (−16).
    #[error("the name does not resolve")]
    Unresolved,
}

/// The hosts that a house knows.
#[derive(Debug)]
pub struct Resolver {
    peers: Vec<PeerAddress>,
    brokers: Vec<Broker>,
    policy: Policy,
    refused: LoggedNames<LOGGED_HOSTS>,
}

impl Resolver {
    /// Creates a resolver for these slaves and targets and the hosts that `policy` allows.
    #[must_use]
    pub fn new(peers: Vec<PeerAddress>, policy: Policy) -> Self {
        Self { peers, brokers: Vec::new(), policy, refused: LoggedNames::default() }
    }

    /// Adds the brokers of the house.
    #[must_use]
    pub fn with_brokers(self, brokers: Vec<Broker>) -> Self {
        Self { brokers, ..self }
    }

    /// Returns the outbound policy.
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// Returns the slave or target that an action means by `host` and `port`. If a name belongs to
    /// peers of both kinds, the one that speaks the request's protocol is meant.
    #[must_use]
    pub fn find_peer(&self, kind: PeerKind, host: &str, port: u16) -> Option<&PeerAddress> {
        let candidates = || self.peers.iter().filter(|peer| refers_to(peer, host, port));
        candidates().find(|peer| peer.kind == kind).or_else(|| candidates().next())
    }

    /// Returns the host and port of the broker that a device means by `host` and `port`. `None` if
    /// the house has no such broker.
    ///
    /// Slaves and targets speak no MQTT, and brokers nothing else, so one name may lead actions to
    /// a target and the MQTT client to a broker.
    #[must_use]
    pub fn broker<'a>(&'a self, host: &str, port: u16) -> Option<(&'a str, u16)> {
        let broker = self.brokers.iter().find(|broker| broker.matches(host, port))?;
        Some((&broker.address.host, broker.address.port.unwrap_or(port)))
    }

    /// Resolves a host outside the house to its addresses, best first.
    ///
    /// # Errors
    /// [`ResolveError`] if the policy denies the host or its name does not resolve.
    pub async fn resolve_outside(
        &self,
        host: &str,
        port: u16,
    ) -> Result<Vec<SocketAddr>, ResolveError> {
        let resolved = self.resolve_by_policy(host, port).await;
        if let Err(ResolveError::Name | ResolveError::Address) = resolved
            && self.refused.is_new(format!("{}:{port}", host.to_ascii_lowercase()))
        {
            tracing::warn!(
                host = shortened(host),
                port,
                "refused a connection to this host and port, which nobody in the house has; give it to a \
                 slave, target or broker with `hosts`, or let it out (outbound: {})",
                self.policy.name()
            );
        }
        resolved
    }

    async fn resolve_by_policy(
        &self,
        host: &str,
        port: u16,
    ) -> Result<Vec<SocketAddr>, ResolveError> {
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
                let resolved = tokio::net::lookup_host((host, port)).await;
                let addresses: Vec<SocketAddr> =
                    resolved.map_err(|_| ResolveError::Unresolved)?.collect();
                if addresses.is_empty() { Err(ResolveError::Unresolved) } else { Ok(addresses) }
            }
        }
    }
}

/// Returns true if `host` and `port` refer to this peer, by its hosts or by its own address.
fn refers_to(peer: &PeerAddress, host: &str, port: u16) -> bool {
    if peer.hosts.iter().any(|known| known.matches(host, port)) {
        return true;
    }
    port == peer.address.port()
        && address_of(host).is_some_and(|ip| listens_at(peer.address.ip(), ip))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(kind: PeerKind, name: &str, address: &str, hosts: &[&str]) -> PeerAddress {
        PeerAddress {
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
    fn a_peer_is_found_by_its_hosts_and_its_own_address() {
        let resolver = resolver(Policy::Deny);
        let name = |host: &str, port| {
            resolver.find_peer(PeerKind::Slave, host, port).map(|peer| peer.name.as_str())
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
    fn an_ambiguous_name_means_the_peer_of_the_protocol() {
        let resolver = resolver(Policy::Deny);
        for (kind, expected) in [(PeerKind::Slave, "pump"), (PeerKind::Target, "bulb")] {
            assert_eq!(resolver.find_peer(kind, "box.local", 80).unwrap().name, expected);
        }
    }

    #[tokio::test]
    async fn the_policy_decides_about_all_other_hosts() {
        let resolve_outside = async |policy, host| resolver(policy).resolve_outside(host, 80).await;
        let addresses =
            |list: &[&str]| Ok(list.iter().map(|address| address.parse().unwrap()).collect());
        assert_eq!(resolve_outside(Policy::Deny, "localhost").await, Err(ResolveError::Name));
        assert_eq!(resolve_outside(Policy::Deny, "127.0.0.1").await, Err(ResolveError::Address));
        assert_eq!(
            resolve_outside(Policy::Loopback, "localhost").await,
            addresses(&["127.0.0.1:80", "[::1]:80"])
        );
        assert_eq!(resolve_outside(Policy::Loopback, "::1").await, addresses(&["[::1]:80"]));
        assert_eq!(resolve_outside(Policy::Loopback, "example.org").await, Err(ResolveError::Name));
        assert_eq!(resolve_outside(Policy::Loopback, "10.0.0.1").await, Err(ResolveError::Address));
        assert_eq!(resolve_outside(Policy::Allow, "10.0.0.1").await, addresses(&["10.0.0.1:80"]));
        assert_eq!(
            resolve_outside(Policy::Allow, "no such name").await,
            Err(ResolveError::Unresolved)
        );
    }

    #[test]
    fn a_broker_is_found_by_its_hosts_and_its_own_address() {
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
        let target = resolver.find_peer(PeerKind::Target, "box.local", 1883).unwrap();
        assert_eq!(target.name, "bulb", "actions do not see brokers");
    }
}
