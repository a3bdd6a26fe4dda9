//! The connection of one request.

use crate::net::inflight::TrackedStream;

/// A fresh connection on which no byte was sent yet.
#[derive(Debug)]
pub(super) struct RequestConnection {
    pub(super) stream: TrackedStream,
    /// True if a fault rule loses the connection before the request is sent.
    pub(super) is_lost: bool,
}
