//! The digital twin of the whatwatt Go energy gateway (model `WW_Go_1.2`).
//!
//! One process is a house: one or many devices with their API, the Modbus slaves and HTTP targets that
//! their *actions* reach, and the faults that affect all of it, as one scenario describes them.
//!
//! ```
//! use wwsim::{house::House, scenario};
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let mut scenario = scenario::builtin("default").unwrap().load().unwrap();
//! scenario.any_port();
//! let house = House::start(scenario).await?;
//! println!("the device's API is at {}", house.addresses().devices[0].http);
//! house.stop().await;
//! # Ok::<(), wwsim::house::StartError>(())
//! # }).unwrap();
//! ```
//!
//! A module imports only modules above it in this list; `tests/it/module_order.rs` checks it.

pub use wwsim_modbus as modbus;
pub use wwsim_modbus::problem;
pub use wwsim_time::{clock, rng, tasks};

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
