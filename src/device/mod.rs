//! The device: its identity, its state and its behaviour.
//!
//! `core` is pure: state, and transitions that take a command and return what changed. [`Device`], the
//! handle that surfaces hold, is the core behind a short lock, with the clock, the journal and the fault
//! rules. Nothing here waits for the clock. The services that do are in [`crate::services`], below this
//! module in the list of `lib.rs`.

mod access;
pub mod actions;
mod civil;
pub mod config;
mod core;
mod handle;
mod hardware;
mod identity;
pub(crate) mod json;
pub mod network;
pub mod plug;
mod power;
mod profile;
pub mod registers;
pub mod scalers;
mod script;
pub mod sd;
mod setup;
mod snapshot;
pub mod template;
pub mod variables;

pub use self::access::{
    AccessPolicy, DigestMode, DigestPolicy, InvalidOrigin, Origin, OriginPattern, PortPattern,
    WhenFull,
};
pub use self::actions::{
    ActionPolicy, Admission, CallRefusal, CallReplyFormat, Execution, HttpFailureCode,
};
pub use self::civil::CivilTime;
pub use self::config::Config;
pub use self::core::{DeviceDocument, ResumeError, ResumePoint};
pub use self::handle::{ChangeObserver, Console, Device, Run, Ticket};
pub use self::hardware::{FirmwareImage, Hardware};
pub use self::identity::{DeviceId, Firmware, Identity, InvalidDeviceId, InvalidFirmware, License};
pub use self::power::{Power, RebootCause};
pub use self::profile::{FEATURES, Feature, FeatureRow, LicensedFeature, Profile};
pub use self::setup::Setup;
pub use self::snapshot::{Boot, BootId, Snapshot, View};
