//! What a device is built of, as far as a scenario says so: nothing of it is a setting.

use std::time::Duration;

/// The device as a thing.
#[derive(Debug, Clone, PartialEq)]
pub struct Hardware {
    /// How long it is gone for when it reboots, in virtual time.
    pub reboot_time: Duration,
}

impl Hardware {
    /// [`Hardware::reboot_time`] where the scenario does not say (contract §2: 30 to 60 s on
    /// hardware; a twin does not keep its users waiting).
    pub const REBOOT_TIME: Duration = Duration::from_secs(3);
}

impl Default for Hardware {
    fn default() -> Self {
        Self { reboot_time: Self::REBOOT_TIME }
    }
}
