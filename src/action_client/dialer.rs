//! Opens the connections of the devices' MQTT clients to brokers. It does not know the protocol.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;

use super::connector::{Connector, ConnectorError};
use super::resolver::{ResolveError, Resolver};
use crate::outbound::{Dial, DialError, Dialing};

/// The dialer of a house: it reaches the house's brokers, and other hosts as far as the policy
/// allows.
#[derive(Debug)]
pub(super) struct Dialer {
    pub(super) resolver: Arc<Resolver>,
    pub(super) connector: Connector,
}

impl Dial for Dialer {
    fn dial<'a>(&'a self, host: &'a str, port: u16) -> Dialing<'a> {
        Box::pin(self.connect(host, port))
    }
}

impl Dialer {
    async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, DialError> {
        let resolver = &self.resolver;
        let addresses: Vec<SocketAddr> = match resolver.broker(host, port) {
            Some(broker) => {
                tokio::net::lookup_host(broker).await.map_err(|_| DialError::Unresolved)?.collect()
            }
            None => resolver.resolve_outside(host, port).await.map_err(|error| match error {
                ResolveError::Name | ResolveError::Address => DialError::Denied(resolver.policy()),
                ResolveError::Unresolved => DialError::Unresolved,
            })?,
        };
        let mut last_error = DialError::Unresolved;
        for address in addresses {
            match self.connector.connect(address).await {
                Ok(stream) => {
                    // Messages follow one another; without the option they are only slower.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(ConnectorError::ControlPlane) => last_error = DialError::ControlPlane,
                Err(ConnectorError::NoSocket(error) | ConnectorError::Failed(error)) => {
                    last_error = error.into();
                }
            }
        }
        Err(last_error)
    }
}
