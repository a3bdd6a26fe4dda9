//! The power of a device: up or rebooting, and the supercapacitor.

use crate::clock::VirtualTime;

/// The power state of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// The device is up.
    Up,
    /// The device reboots.
    Down {
        /// The time of the next start.
        until: VirtualTime,
    },
}

impl Power {
    /// Off, until somebody switches the device on.
    pub const OFF: Self = Self::Down { until: VirtualTime::MAX };

    /// Returns true if the device is off and does not start by itself.
    #[must_use]
    pub fn is_off(self) -> bool {
        self == Self::OFF
    }
}

/// The cause of a reboot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RebootCause {
    /// `/api/v1/reboot`.
    Requested,
    /// `/api/v1/restore`.
    FactoryReset,
    /// The upload of a firmware image.
    FirmwareUpload,
    /// The supercapacitor is empty.
    SupercapacitorEmpty,
    /// A stage of the fleet.
    Stage,
}

impl RebootCause {
    /// Returns the cause as the journal has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "asked to",
            Self::FactoryReset => "factory reset",
            Self::FirmwareUpload => "firmware upload",
            Self::SupercapacitorEmpty => "supercapacitor empty",
            Self::Stage => "stage of the fleet",
        }
    }
}

/// The supercapacitor that powers the device beside its meter's plug (POWER-3).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Supercapacitor {
    volts: f64,
    /// The time at which it had this voltage.
    at: VirtualTime,
}

impl Default for Supercapacitor {
    fn default() -> Self {
        Self { volts: Self::FULL_VOLTS, at: VirtualTime::ZERO }
    }
}

impl Supercapacitor {
    /// The voltage at which a meter's plug holds it (observed).
    const FULL_VOLTS: f64 = 3.76;
    /// The voltage below which the device goes down (observed).
    const EMPTY_VOLTS: f64 = 3.2;
    /// The voltage at which the device starts again (POWER-3).
    const START_VOLTS: f64 = 3.5;
    /// The voltage that one byte of a download costs: 3.76 to 3.2 V for 265 KB (observed).
    const VOLTS_PER_BYTE: f64 = (3.76 - 3.2) / 265_000.0;
    /// The voltage that the meter's plug restores in a second (POWER-3).
    const VOLTS_PER_SECOND: f64 = 0.02;

    /// Returns the voltage at `now`.
    pub(super) fn volts(&self, now: VirtualTime) -> f64 {
        let restored = now.since(self.at).as_secs_f64() * Self::VOLTS_PER_SECOND;
        (self.volts + restored).min(Self::FULL_VOLTS)
    }

    /// Takes the charge that a download of so many bytes costs, and returns whether it is empty.
    pub(super) fn drain(&mut self, bytes: usize, now: VirtualTime) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "a piece of a file is small")]
        let volts = self.volts(now) - bytes as f64 * Self::VOLTS_PER_BYTE;
        *self = Self { volts, at: now };
        volts < Self::EMPTY_VOLTS
    }

    /// Charges it to the voltage that a start needs.
    pub(super) fn recharge_for_start(&mut self, now: VirtualTime) {
        *self = Self { volts: self.volts(now).max(Self::START_VOLTS), at: now };
    }
}
