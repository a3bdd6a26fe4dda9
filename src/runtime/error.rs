//! Errors of starting a house.

use std::io;
use std::net::SocketAddr;

use super::descriptors;
use crate::action_client::TlsSetupError;
use crate::peers::PeersError;
use crate::state::StateError;

/// An error that keeps a house from starting. No listener and no task is left behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A listener of the control plane or of a device cannot be bound.
    #[error(
        "{owner} cannot listen on {address}: {source}; free the port, or give another (--any-port takes free ones)"
    )]
    Bind {
        /// The owner of the listener.
        owner: String,
        /// The address that was asked for.
        address: SocketAddr,
        /// The error of the system.
        source: io::Error,
    },
    /// A slave or an HTTP target cannot be built.
    #[error(transparent)]
    Peers(#[from] PeersError),
    /// The TLS configuration of the actions cannot be built.
    #[error(transparent)]
    Tls(#[from] TlsSetupError),
    /// The state directory cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The process may not open as many files and sockets as the house needs.
    #[error(
        "too many open files: this process may have {limit} of them, and this house needs {needed}; raise the limit with `ulimit -n {needed}`"
    )]
    Descriptors {
        /// The limit of the process.
        limit: u64,
        /// The number that the house needs, with some for its connections.
        needed: u64,
    },
    /// The control plane needs a token, and the system gives no random bytes.
    #[error("no token for the control plane: {0}")]
    Token(io::Error),
}

impl StartError {
    /// Returns the lack of descriptors for a house that needs so many.
    pub(crate) fn descriptors(needed: u64) -> Self {
        Self::Descriptors { limit: descriptors::limit(), needed }
    }

    /// Returns this error, or the lack of descriptors that it comes from.
    pub(crate) fn or_descriptors(self, needed: u64) -> Self {
        if descriptors::are_exhausted(&self) { Self::descriptors(needed) } else { self }
    }
}
