//! The meter that the device reads: a pure function of the seed and virtual time.
//!
//! [`Quantity`] is the one table of what a meter can send, by which report, variables, live stream,
//! Modbus map and SD log find their numbers; a [`Reading`] is what a meter sent at one moment.

mod model;
mod quantity;
mod reading;
pub mod signal;

pub use self::model::{Link, Meter, MeterPlan};
pub use self::quantity::{Quantity, Unit};
pub use self::reading::{Interface, MeterIdentity, Observation, Protocol, Reading, Status, Volume};
