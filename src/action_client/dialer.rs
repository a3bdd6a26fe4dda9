//! Opens the connections of the devices' MQTT clients to brokers. It does not know the protocol.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;

use super::resolver::{ResolveError, Resolver};
use crate::net::sockets;
use crate::outbound::{Dial, DialError, Dialing};

/// The dialer of a house: it reaches the house's brokers, and other hosts as far as the policy
/// allows.
#[derive(Debug)]
pub(super) struct Dialer(pub(super) Arc<Resolver>);

impl Dial for Dialer {
    fn dial<'a>(&'a self, host: &'a str, port: u16) -> Dialing<'a> {
        Box::pin(self.connect(host, port))
    }
}

impl Dialer {
    async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, DialError> {
        let addresses: Vec<SocketAddr> = match self.0.broker(host, port) {
            Some(broker) => {
                tokio::net::lookup_host(broker).await.map_err(|_| DialError::Unresolved)?.collect()
            }
            None => self.0.resolve_outside(host, port).await.map_err(|error| match error {
                ResolveError::Name | ResolveError::Address => DialError::Denied(self.0.policy()),
                ResolveError::Unresolved => DialError::Unresolved,
            })?,
        };
        let mut last_error = DialError::Unresolved;
        for address in addresses {
            match open_stream(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last_error = error.into(),
            }
        }
        Err(last_error)
    }
}

async fn open_stream(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = sockets::new_socket(address)?.connect(address).await?;
    // Messages are single small segments; without the option they are only slower.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}
