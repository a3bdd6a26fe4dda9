//! The limits of simulated time.

use std::time::Duration;

// ---------------------------------------------------------------------------------------------
// Simulated time (chosen)
// ---------------------------------------------------------------------------------------------

/// Real time a clock movement waits for everything it set in motion. Activity that has not come to rest
/// by then waits for something outside.
pub const QUIESCENCE_TIMEOUT: Duration = Duration::from_secs(10);
