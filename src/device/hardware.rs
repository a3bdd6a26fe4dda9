//! What a device is built of, as far as a scenario says so: nothing of it is a setting.

use std::time::Duration;

use jiff::Timestamp;

use super::Firmware;
use super::sd::CardPlan;
use crate::rng::{Draws, RandomStream};

/// The device as a thing.
#[derive(Debug, Clone, PartialEq)]
pub struct Hardware {
    /// How long it is gone for when it reboots, in virtual time.
    pub reboot_time: Duration,
    /// `device.build`; none where it follows from the firmware.
    pub build: Option<String>,
    /// When its licence was activated.
    pub activated: Timestamp,
    /// The SD card in it; none where the slot is empty.
    pub sd_card: Option<CardPlan>,
    /// Which firmware the images that are uploaded are, by the first that fits.
    pub images: Vec<FirmwareImage>,
    /// Whether downloads drain the supercapacitor while the meter alone feeds the device.
    pub power_model: bool,
}

/// A firmware image, by what is given of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirmwareImage {
    /// Its file's name, as the upload gives it.
    pub name: Option<String>,
    /// Its size in bytes.
    pub size: Option<u64>,
    /// Its MD5 sum.
    pub md5: Option<[u8; 16]>,
    /// The firmware that it is.
    pub firmware: Firmware,
}

impl FirmwareImage {
    /// Whether an upload is this image.
    #[must_use]
    pub fn fits(&self, name: &str, size: u64, md5: &[u8; 16]) -> bool {
        self.name.as_ref().is_none_or(|own| own == name)
            && self.size.is_none_or(|own| own == size)
            && self.md5.as_ref().is_none_or(|own| own == md5)
    }
}

impl Hardware {
    /// [`Hardware::reboot_time`] where the scenario does not say (documented: 30 to 60 s on
    /// hardware; a twin does not keep its users waiting).
    pub const REBOOT_TIME: Duration = Duration::from_secs(3);
    /// [`Hardware::activated`] where the scenario does not say: 2025-01-15T09:00:00Z.
    pub const ACTIVATED: Timestamp = Timestamp::constant(1_736_931_600, 0);

    /// `device.build` of a firmware: seven and eight hexadecimal digits, as the vendor's sample has.
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
