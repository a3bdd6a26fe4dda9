//! Connects the devices' MQTT clients to brokers. How they speak to them is no business of this.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;

use super::resolver::{ResolveError, Resolver};
use crate::net::sockets;
use crate::outbound::{Dial, Dialing, Unreached};

/// The way of a house to its brokers and, as far as the policy allows, to others.
#[derive(Debug)]
pub(super) struct Dialer(pub(super) Arc<Resolver>);

impl Dial for Dialer {
    fn dial<'a>(&'a self, host: &'a str, port: u16) -> Dialing<'a> {
        Box::pin(self.connect(host, port))
    }
}

impl Dialer {
    async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, Unreached> {
        let addresses: Vec<SocketAddr> = match self.0.broker(host, port) {
            Some(broker) => {
                tokio::net::lookup_host(broker).await.map_err(|_| Unreached::Unknown)?.collect()
            }
            None => self.0.outside(host, port).await.map_err(|refused| match refused {
                ResolveError::Name | ResolveError::Address => Unreached::Denied(self.0.policy()),
                ResolveError::Unknown => Unreached::Unknown,
            })?,
        };
        let mut last = Unreached::Unknown;
        for address in addresses {
            match open(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error.into(),
            }
        }
        Err(last)
    }
}

async fn open(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = sockets::for_address(address)?.connect(address).await?;
    // Messages are single small segments; where the option fails they are merely slower.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}
