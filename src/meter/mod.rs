//! The meter of a device: a pure function of the seed and virtual time.
//!
//! A house has a [`signal`]: its power, energy and voltage over time. A [`MeterKind`] decides which
//! quantities of it the meter sends, a [`Cadence`] when, and a [`ReceptionCursor`] which telegrams reach
//! the device as [`Reading`]s. [`Quantity`] is the one table of quantities, from which report, variables,
//! live stream, Modbus map and SD log take their names.

mod cadence;
mod kind;
mod measurement;
mod model;
mod quantity;
mod reading;
mod reception;
mod replay;
pub mod signal;

pub use self::cadence::Cadence;
pub use self::kind::{DlmsObject, MeterKind, MeterProfile, ObjectValue, objects};
pub use self::measurement::RegisterRounding;
pub use self::model::{Meter, MeterListener, MeterPlan, MeterTexts, ReplayPlan};
pub use self::quantity::{Quantity, QuantityUnit};
pub use self::reading::{
    Interface, MeterIdentity, MeterStatus, Observation, Protocol, Reading, Volume,
};
pub use self::reception::ReceptionCursor;
pub use self::replay::{Recording, RecordingError, ReplayMode};
