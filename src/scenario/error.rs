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
}

/// An error of giving each device a port, from a first one on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{first}: {devices} devices do not fit between this port and 65535")]
pub struct PortRangeError {
    /// The address of the first device.
    pub first: SocketAddr,
    /// The number of devices.
    pub devices: usize,
}
