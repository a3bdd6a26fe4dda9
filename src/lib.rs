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
//!
//! A module imports only modules above it in this list; `tests/it/module_order.rs` checks it.

pub use wwsim_modbus as modbus;
pub use wwsim_modbus::problem;
pub use wwsim_time::{clock, rng, tasks};

pub use self::house::{BuildError, House, HouseBuilder, inject};

pub mod limits;
pub mod zone;
pub mod decimal;
pub mod notation;
pub mod net;
pub mod journal;
pub mod fault;
pub mod outbound;
pub mod meter;
pub mod device;
pub mod scenario;
pub mod state;
pub mod services;
pub mod surface;
pub mod peers;
pub mod action_client;
mod runtime;
mod control;
pub mod house;
#[cfg(feature = "cli")]
pub mod cli;

/// The examples of the guide for tests, which are compiled and run as doc tests.
#[cfg(doctest)]
#[doc = include_str!("../docs/test-fixture.md")]
struct TestFixtureGuide;

/// The example of the README, which is compiled as a doc test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExample;
