//! Errors of loading and adapting a scenario.

use std::io;
use std::net::SocketAddr;

use super::{Diagnostics, Shard};
use crate::limits;

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
    /// A value that the caller gives cannot be used.
    #[error(transparent)]
    Override(OverrideError),
}

/// An error of what the caller gives in place of what the file says.
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
    /// The fleet is too small or too large.
    #[error("a fleet of {0} devices: expected 1 to {most}", most = limits::FLEET_DEVICES)]
    FleetSize(u32),
    /// The devices of the fleet do not find an address each.
    #[error(
        "{first}: {devices} devices do not find an address each in 127.0.0.0/8 from this one on"
    )]
    AddressRange {
        /// The address of the first device.
        first: SocketAddr,
        /// The number of devices.
        devices: u32,
    },
    /// The shard has no device.
    #[error("shard {shard} has no device: the house has {devices}; start fewer shards")]
    EmptyShard {
        /// The shard.
        shard: Shard,
        /// The number of devices of the house.
        devices: usize,
    },
}
