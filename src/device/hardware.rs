//! The hardware of a device, as a scenario describes it. No client can change it.

use std::time::Duration;

use jiff::Timestamp;

use super::Firmware;
use super::sd::CardPlan;
use crate::rng::{Draws, RandomStream};

/// The hardware of a device.
#[derive(Debug, Clone, PartialEq)]
pub struct Hardware {
    /// The virtual time for which a reboot takes the device away.
    pub reboot_time: Duration,
    /// `device.build`. `None` if it follows from the firmware.
    pub build: Option<String>,
    /// The time at which the licence was activated.
    pub activated: Timestamp,
    /// The SD card. `None` if the slot is empty.
    pub sd_card: Option<CardPlan>,
    /// The firmware images that may be uploaded. The first that matches an upload counts.
    pub images: Vec<FirmwareImage>,
    /// True if downloads drain the supercapacitor while the meter alone feeds the device.
    pub power_model: bool,
}

/// A firmware image, described by any of its properties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirmwareImage {
    /// The name of the file, as the upload gives it.
    pub name: Option<String>,
    /// The size in bytes.
    pub size: Option<u64>,
    /// The MD5 sum.
    pub md5: Option<[u8; 16]>,
    /// The firmware that the image contains.
    pub firmware: Firmware,
}

impl FirmwareImage {
    /// Returns `true` if an upload is this image.
    #[must_use]
    pub fn matches(&self, name: &str, size: u64, md5: &[u8; 16]) -> bool {
        self.name.as_ref().is_none_or(|own| own == name)
            && self.size.is_none_or(|own| own == size)
            && self.md5.as_ref().is_none_or(|own| own == md5)
    }
}

impl Hardware {
    /// The default of [`Hardware::reboot_time`]. Real hardware takes 30 to 60 s (documented); a
    /// simulation need not make its users wait.
    pub const REBOOT_TIME: Duration = Duration::from_secs(3);
    /// The default of [`Hardware::activated`]: 2025-01-15T09:00:00Z.
    pub const ACTIVATED: Timestamp = Timestamp::constant(1_736_931_600, 0);

    /// Returns `device.build` of a firmware: seven and eight hexadecimal digits, as in the vendor's
    /// sample.
    #[must_use]
    pub fn build(&self, firmware: Firmware) -> String {
        self.build.clone().unwrap_or_else(|| {
            let bits = Draws::new(0, RandomStream::named(&format!("build {firmware}")), 0).bits();
            format!("{:07x}-{:08x}", bits >> 36, bits & 0xFFFF_FFFF)
        })
    }
}

impl Default for Hardware {
    fn default() -> Self {
        Self {
            reboot_time: Self::REBOOT_TIME,
            build: None,
            activated: Self::ACTIVATED,
            sd_card: Some(CardPlan::default()),
            images: Vec::new(),
            power_model: false,
        }
    }
}
