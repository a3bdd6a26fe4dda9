//! Errors of loading and adapting a scenario.

use std::io;
use std::net::SocketAddr;

use super::Diagnostics;

/// An error of loading a scenario file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file cannot be read.
    #[error(transparent)]
    Read(io::Error),
    /// The text has mistakes.
    #[error(transparent)]
    Invalid(Diagnostics),
    /// The addresses that the caller gives cannot be used.
    #[error(transparent)]
    Override(OverrideError),
}

/// An error of the addresses that the caller gives in place of those of the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OverrideError {
    /// The devices do not fit into the ports from the given one on.
    #[error("{first}: {devices} devices do not find a free port each between this one and 65535")]
    PortRange {
        /// The address of the first device.
        first: SocketAddr,
        /// The number of devices.
        devices: usize,
    },
    /// Two listeners have the same address.
    #[error("{one} and {other} would both listen on {address}; give one of them another port")]
    SameAddress {
        /// The owner of one listener.
        one: String,
        /// The owner of the other one.
        other: String,
        /// The address.
        address: SocketAddr,
    },
}
