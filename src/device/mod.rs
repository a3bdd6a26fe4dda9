//! The device: who it is and what it does, without sockets, async or locks inside its rules.
//!
//! [`Device`] is the handle that surfaces hold: a short lock over pure state. Nobody awaits or
//! encodes while holding it; what has to happen outside is returned as a value.

mod access;
pub mod actions;
mod civil;
pub mod config;
mod watermark;
mod handle;
mod hardware;
mod identity;
pub(crate) mod json;
pub mod network;
pub mod plug;
mod power;
mod profile;
pub mod registers;
mod reception;
mod saved;
pub mod scalers;
mod script;
pub mod sd;
mod snapshot;
pub mod template;
pub mod variables;

pub use self::access::{AccessPolicy, DigestMode, Origin, OriginPattern, PortPattern};
pub use self::civil::CivilTime;
pub use self::config::Config;
pub use self::handle::{
    ActionPolicy, Admission, CallRefused, CallRoute, Device, Execution, Run, Setup, Ticket, View,
};
pub use self::hardware::{FirmwareImage, Hardware};
pub use self::identity::{DeviceId, Firmware, Identity, License};
pub use self::power::{Power, RebootCause};
pub use self::profile::{FEATURES, Feature, FeatureRow, LicensedFeature, Profile};
pub use self::reception::Readings;
pub use self::saved::{Resumed, Saved};
pub use self::snapshot::{Boot, BootId, Snapshot};
