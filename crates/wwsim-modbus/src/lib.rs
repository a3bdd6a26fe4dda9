//! A Modbus TCP slave simulator for tests.
//!
//! [`SlaveSimulator`](simulator::SlaveSimulator) is the entry point: a slave with registers that store what
//! is written or follow a clock, and with faults on the wire.
//!
//! ```
//! use std::time::Duration;
//!
//! use wwsim_modbus::bank::{Computed, Register, RegisterType, UnitLayout};
//! use wwsim_modbus::fault::WireFault;
//! use wwsim_modbus::simulator::{SlaveRule, SlaveSimulator};
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let ramp = Computed::Ramp { from: 0.0, to: 100.0, over: Duration::from_secs(100), repeat: false };
//! let slave = SlaveSimulator::builder()
//!     .manual_clock()
//!     .unit(1, UnitLayout::new().with_holding(Register::computed(0, RegisterType::Short, ramp)))
//!     .start()
//!     .await?;
//! println!("the slave is at {}", slave.address());
//!
//! slave.clock().advance(Duration::from_secs(42)).await.unwrap();
//! assert_eq!(slave.holding(1, 0), Some(42));
//!
//! let fault = slave.inject(SlaveRule::reply(WireFault::WrongTransactionId).nth([3]));
//! // … the client under test reads three times …
//! assert_eq!(fault.fired(), 0);
//! drop(fault);
//! # slave.stop().await;
//! # Ok::<(), wwsim_modbus::slave::SlaveError>(())
//! # }).unwrap();
//! ```
//!
//! Each part can be used alone: frames and PDUs ([`wire`]), the registers and bits of a unit
//! ([`bank`]), faults of replies ([`fault`]) and the conditions of rules ([`trigger`]), a server whose
//! requests any [`ModbusHandler`](server::ModbusHandler) answers ([`server`]), and a slave with rules and
//! events of your own ([`slave`]).

pub use wwsim_time::clock;

pub mod limits;
pub mod problem;
pub mod wire;
pub mod bank;
pub mod fault;
pub mod trigger;
pub mod server;
pub mod slave;
pub mod simulator;

/// The programs of the README, which are compiled as doc tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;
