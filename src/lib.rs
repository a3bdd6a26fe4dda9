//! The digital twin of the whatwatt Go energy gateway (model WW_Go_1.2).
//!
//! One process is a house: one or many gateways with their API, the Modbus slaves and HTTP targets
//! that their *actions* reach, and the faults that befall all of it, written down in one scenario.
//!
//! Modules import from their own level and those above it in this list.

pub mod limits;
pub mod clock;
pub mod rng;
pub mod journal;
pub mod wire;
pub mod fault;
pub mod bank;
pub mod outbound;
pub mod device;
pub mod scenario;
pub mod tasks;
pub mod surface;
pub mod outside;
pub mod control;
pub mod house;
#[cfg(feature = "cli")]
pub mod cli;
