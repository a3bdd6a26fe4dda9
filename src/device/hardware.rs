//! What a device is built of, as far as a scenario says so: nothing of it is a setting.

use std::time::Duration;

use super::Firmware;
use super::sd::CardPlan;

/// The device as a thing.
#[derive(Debug, Clone, PartialEq)]
pub struct Hardware {
    /// How long it is gone for when it reboots, in virtual time.
    pub reboot_time: Duration,
    /// The SD card in it; none where the slot is empty.
    pub sd_card: Option<CardPlan>,
    /// Which firmware the images that are uploaded are, by the first that fits.
    pub images: Vec<Image>,
    /// Whether downloads drain the supercapacitor while the meter alone feeds the device.
    pub power_model: bool,
}

/// A firmware image, by what is given of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its file's name, as the upload gives it.
    pub name: Option<String>,
    /// Its size in bytes.
    pub size: Option<u64>,
    /// Its MD5 sum.
    pub md5: Option<[u8; 16]>,
    /// The firmware that it is.
    pub firmware: Firmware,
}

impl Image {
    /// Whether an upload is this image.
    #[must_use]
    pub fn fits(&self, name: &str, size: u64, md5: &[u8; 16]) -> bool {
        self.name.as_ref().is_none_or(|own| own == name)
            && self.size.is_none_or(|own| own == size)
            && self.md5.as_ref().is_none_or(|own| own == md5)
    }
}

impl Hardware {
    /// [`Hardware::reboot_time`] where the scenario does not say (contract §2: 30 to 60 s on
    /// hardware; a twin does not keep its users waiting).
    pub const REBOOT_TIME: Duration = Duration::from_secs(3);
}

impl Default for Hardware {
    fn default() -> Self {
        Self {
            reboot_time: Self::REBOOT_TIME,
            sd_card: Some(CardPlan::default()),
            images: Vec::new(),
            power_model: false,
        }
    }
}
