//! The digital twin of the whatwatt Go energy gateway (model `WW_Go_1.2`).
//!
//! One process is a house: one or many devices with their API, the Modbus slaves and HTTP targets that
//! their *actions* reach, and the faults that affect all of it, as one scenario describes them.
//!
//! [`House::builder`] is the entry point:
//!
//! ```
//! use std::time::Duration;
//! use wwsim::{House, inject};
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let house = House::builder().manual_clock().any_port().start().await?;
//! println!("the device's API is at {}", house.device().url());
//! let slow = house.inject(inject::api().delay(Duration::from_secs(3)).nth([1]));
//! // … the client under test calls the device …
//! house.clock().advance(Duration::from_secs(3)).await.unwrap();
//! # drop(slow);
//! # house.stop().await;
//! # Ok::<(), wwsim::BuildError>(())
//! # }).unwrap();
//! ```
//!
//! `examples/` has a fixture, a broken slave and a recorded day. The Modbus slaves can be used without a
//! house: `wwsim-modbus`, re-exported as [`modbus`].

// A module imports only modules above it in the list of this file; `tests/it/module_order.rs` checks it.

// With the feature `internals`, the modules below are public, and so is what they re-export.
#![cfg_attr(not(feature = "internals"), allow(unreachable_pub, unused_imports))]
// The command line uses parts that a house alone does not.
#![cfg_attr(not(feature = "cli"), allow(dead_code))]

pub use wwsim_modbus as modbus;
pub use wwsim_modbus::problem;
pub use wwsim_time::clock;
#[cfg(not(feature = "internals"))]
use wwsim_time::{rng, tasks};
#[cfg(feature = "internals")]
#[doc(hidden)]
pub use wwsim_time::{rng, tasks};

pub use self::device::CallRefusal;
pub use self::device::actions::RequestStatus;
pub use self::house::{BuildError, House, HouseBuilder, inject};
pub use self::journal::{Event, Journal, JournalEntry};
pub use self::peers::ReceivedHttpRequest;
pub use self::scenario::{Diagnostics, LoadError, Scenario};

#[cfg(not(feature = "internals"))]
mod limits;
#[cfg(not(feature = "internals"))]
mod zone;
#[cfg(not(feature = "internals"))]
mod decimal;
#[cfg(not(feature = "internals"))]
mod notation;
#[cfg(not(feature = "internals"))]
mod folder;
#[cfg(not(feature = "internals"))]
mod net;
#[cfg(not(feature = "internals"))]
mod journal;
#[cfg(not(feature = "internals"))]
mod fault;
#[cfg(not(feature = "internals"))]
mod outbound;
#[cfg(not(feature = "internals"))]
mod meter;
#[cfg(not(feature = "internals"))]
mod device;
#[cfg(not(feature = "internals"))]
mod scenario;
#[cfg(not(feature = "internals"))]
mod state;
#[cfg(not(feature = "internals"))]
mod services;
#[cfg(not(feature = "internals"))]
mod surface;
#[cfg(not(feature = "internals"))]
mod peers;
#[cfg(not(feature = "internals"))]
mod action_client;
mod runtime;
mod control;
pub mod house;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;

// The same modules for our own tests, benches and fuzz targets. They may change with any version.
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod limits;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod zone;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod decimal;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod notation;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod folder;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod net;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod journal;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod fault;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod outbound;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod meter;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod device;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod scenario;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod state;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod services;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod surface;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod peers;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod action_client;

/// The examples of the guide for tests, which are run as doc tests.
#[cfg(doctest)]
#[doc = include_str!("../docs/test-fixture.md")]
struct TestFixtureGuide;

/// The example of the README, which is run as a doc test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExample;
