//! Simulated time for services under test, on [tokio](https://docs.rs/tokio).
//!
//! - [`clock`]: a clock that runs at a multiple of real time, or stands still until it is moved. A movement
//!   returns when everything that was due has happened: the timers have fired, and the tasks that they woke
//!   have come to rest.
//! - [`rng`]: draws that are a function of a seed, a stream and an ordinal.
//! - [`tasks`]: sets of tasks that are aborted together.
//! - [`gate`]: a gate that is closed for a while over the work of many tasks.
//! - [`inflight`]: connections whose bytes in flight count as something that is due.
//! - [`sockets`]: the port of a listener that closes and reopens.
//!
//! ```
//! use std::time::Duration;
//! use wwsim_time::clock::{Clock, Speed};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! let clock = Clock::new("2026-01-15T00:00:00Z".parse().unwrap(), Speed::Manual);
//! let service = {
//!     let clock = clock.clone();
//!     async move { clock.sleep(Duration::from_secs(3600)).await }
//! };
//! let service = tokio::spawn(clock.activity().track(service));
//! clock.advance(Duration::from_secs(3600)).await?;
//! assert!(service.is_finished());
//! # Ok::<(), wwsim_time::clock::NotQuiescent>(())
//! # }).unwrap();
//! ```

pub mod clock;
pub mod gate;
pub mod inflight;
pub mod limits;
pub mod rng;
pub mod sockets;
pub mod tasks;
