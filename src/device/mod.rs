//! The device: who it is and what it does, without sockets, async or locks inside its rules.
//!
//! [`Device`] is the handle that surfaces hold: a short lock over pure state. Nobody awaits or
//! encodes while holding it; what has to happen outside is returned as a value.

mod access;
pub mod actions;
pub mod config;
mod handle;
mod identity;
mod json;
pub mod network;
mod profile;
mod reception;
mod snapshot;

pub use self::access::{Access, DigestMode, Origin, OriginPattern, PortPattern};
pub use self::config::Config;
pub use self::handle::{
    ActionSettings, Admission, CallRefused, CallRoute, Device, Execution, Run, Setup, Ticket, View,
};
pub use self::identity::{DeviceId, Firmware, Identity, License};
pub use self::profile::{FEATURES, Feature, FeatureRow, Licensed, Profile};
pub use self::reception::ReadingKey;
pub use self::snapshot::{Boot, BootId, Snapshot};
