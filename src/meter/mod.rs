//! The meter that the device reads: a pure function of the seed and virtual time.
//!
//! [`Quantity`] is the one table of what a meter can send, by which report, variables, live stream,
//! Modbus map and SD log find their numbers; a [`Reading`] is what a meter sent at one moment. What a
//! house uses and makes is the [`signal`]; a [`MeterKind`] says what of it a meter sends, a [`Cadence`]
//! when, a [`ReceptionCursor`] which of that reaches the device.

mod cadence;
mod kind;
mod reception;
mod measured;
mod model;
mod quantity;
mod reading;
mod replay;
pub mod signal;

pub use self::cadence::Cadence;
pub use self::kind::{DlmsObject, KindFacts, MeterKind, ObjectValue, objects};
pub use self::measured::RegisterCut;
pub use self::model::{Meter, MeterListener, MeterPlan, MeterTexts, ReplayPlan};
pub use self::quantity::{Quantity, QuantityUnit};
pub use self::reading::{
    Interface, MeterIdentity, MeterStatus, Observation, Protocol, Reading, Volume,
};
pub use self::reception::ReceptionCursor;
pub use self::replay::{Recording, RecordingError, ReplayMode};
