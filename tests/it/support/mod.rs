//! The means of the tests: a house, a device without a house, peers without a house, a folder, the log, and a
//! runtime whose real time stands still.

pub(crate) mod device;
pub(crate) mod folder;
pub(crate) mod frozen;
pub(crate) mod house;
pub(crate) mod log;
pub(crate) mod peers;

use std::time::Duration;

/// A second, of virtual or real time.
pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// The real time after which a test fails because it hangs. On a manual clock nothing takes nearly as long,
/// so that only a bug reaches it.
const HANG_TIMEOUT: Duration = Duration::from_secs(20);

/// Awaits a future, and fails the test if it hangs.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(HANG_TIMEOUT, future).await.expect("the test hangs")
}
