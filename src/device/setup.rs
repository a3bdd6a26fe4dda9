//! The setup of a device before its first start.

use std::sync::Arc;

use super::actions::{ActionPolicy, Definition};
use super::network::Site;
use super::sd::CardFolder;
use super::{AccessPolicy, Config, Firmware, Hardware, Identity, ResumePoint};
use crate::meter::MeterPlan;

/// Everything that a device is created from.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The identity.
    pub identity: Identity,
    /// The firmware of the first start. [`View::firmware`](super::View::firmware) is the one that runs.
    pub firmware: Firmware,
    /// The action policy.
    pub action_policy: ActionPolicy,
    /// The action definition at the first start.
    pub definition: Option<Arc<Definition>>,
    /// The configuration at the first start.
    pub config: Arc<Config>,
    /// The access policy.
    pub access_policy: Arc<AccessPolicy>,
    /// The meter.
    pub meter: Arc<MeterPlan>,
    /// The plugs and networks around it.
    pub site: Arc<Site>,
    /// The hardware.
    pub hardware: Arc<Hardware>,
    /// The seed of all random values.
    pub seed: u64,
    /// The point to resume from. `None` if the device starts for the first time.
    pub resumed: Option<ResumePoint>,
    /// The directory that holds the files of the SD card. `None` if they are in memory.
    pub sd_folder: Option<CardFolder>,
}

impl Setup {
    /// Returns the setup of a device with factory settings.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        Self {
            firmware: Firmware::DEFAULT,
            action_policy: ActionPolicy::default(),
            definition: None,
            config: Arc::new(Config::factory(&identity.id)),
            access_policy: Arc::default(),
            meter: Arc::default(),
            site: Arc::default(),
            hardware: Arc::default(),
            seed: 0,
            resumed: None,
            sd_folder: None,
            identity,
        }
    }
}
