//! The identity of a device: its id and its licence; and firmware versions.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::net::http::json::{self, AppendText};

/// A device's id: twelve upper-case hexadecimal digits, its MAC address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(Arc<str>);

impl DeviceId {
    /// Returns the id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the id as shared text, for journal entries.
    #[must_use]
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    /// Returns the id of a MAC address that is given as a number, of which the lower 48 bits count.
    #[must_use]
    pub fn from_number(number: u64) -> Self {
        Self(format!("{:012X}", number & 0xFFFF_FFFF_FFFF).into())
    }

    /// Returns the MAC address as a number.
    #[must_use]
    pub fn number(&self) -> u64 {
        // An id is twelve hexadecimal digits by construction.
        u64::from_str_radix(&self.0, 16).unwrap_or(0)
    }

    /// Returns the MAC address.
    #[must_use]
    pub fn bytes(&self) -> [u8; 6] {
        let [_, _, bytes @ ..] = self.number().to_be_bytes();
        bytes
    }

    /// Returns the last six digits, which host names and mDNS names end in (ACCESS-3, DISCOVERY-2).
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0[6..]
    }
}

/// A text that is not a [`DeviceId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("device id `{0}`: expected 12 hexadecimal digits, as A842E39F8124")]
pub struct InvalidDeviceId(String);

impl FromStr for DeviceId {
    type Err = InvalidDeviceId;

    fn from_str(text: &str) -> Result<Self, InvalidDeviceId> {
        if text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            Ok(Self(text.to_ascii_uppercase().into()))
        } else {
            Err(InvalidDeviceId(text.to_owned()))
        }
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A firmware version. Its features follow from it (`docs/device/firmware.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Firmware {
    /// The major number.
    pub major: u8,
    /// The minor number.
    pub minor: u8,
    /// The release number.
    pub release: u8,
}

impl Firmware {
    /// The firmware of a device if the scenario names none.
    pub const DEFAULT: Self = Self { major: 2, minor: 0, release: 2 };
}

/// A text that is not a [`Firmware`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("firmware `{0}`: expected three numbers up to 255, as 2.0.2")]
pub struct InvalidFirmware(String);

impl FromStr for Firmware {
    type Err = InvalidFirmware;

    fn from_str(text: &str) -> Result<Self, InvalidFirmware> {
        let wrong = || InvalidFirmware(text.to_owned());
        // `u8` would accept a sign, too.
        if !text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            return Err(wrong());
        }
        let mut numbers = text.split('.').map(|part| part.parse::<u8>().map_err(|_| wrong()));
        let mut next = || numbers.next().ok_or_else(wrong)?;
        let firmware = Self { major: next()?, minor: next()?, release: next()? };
        if numbers.next().is_some() { Err(wrong()) } else { Ok(firmware) }
    }
}

impl AppendText for Firmware {
    fn append_to(&self, out: &mut String) {
        self.major.append_to(out);
        out.push('.');
        self.minor.append_to(out);
        out.push('.');
        self.release.append_to(out);
    }
}

impl fmt::Display for Firmware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        json::display(self, f)
    }
}

/// The licence of a device (`docs/device/access.md`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum License {
    /// No actions, no reports over the API.
    Free,
    /// Everything that the vendor documents.
    #[default]
    Plus,
    /// The same as PLUS.
    Pro,
}

impl License {
    /// All licences, by their words in scenarios. The device prints the words in upper case.
    pub const NAMES: [(&'static str, Self); 3] =
        [("free", Self::Free), ("plus", Self::Plus), ("pro", Self::Pro)];

    /// Returns the word for it in scenarios.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Plus => "plus",
            Self::Pro => "pro",
        }
    }
}

/// The identity of a device. Nothing changes it, not even a factory reset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The id.
    pub id: DeviceId,
    /// The licence.
    pub license: License,
}

impl Identity {
    /// The model of the device.
    pub const MODEL: &'static str = "WW_Go_1.2";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_twelve_hexadecimal_digits() {
        let id: DeviceId = "a842e39f8124".parse().unwrap();
        assert_eq!((id.as_str(), id.short()), ("A842E39F8124", "9F8124"));
        assert_eq!(DeviceId::from_number(0xA842_E39F_8124), id);
        for wrong in ["", "A842E39F812", "A842E39F81240", "A842E39F812X", "ä842E39F812"] {
            assert!(wrong.parse::<DeviceId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn firmware_versions_compare_by_number() {
        let firmware = |text: &str| text.parse::<Firmware>().unwrap();
        assert!(firmware("1.10.0") > firmware("1.9.0"));
        for wrong in ["", "2", "2.0", "2.0.2.1", "2.0.x", "2.0.256", "2..2", "+2.0.2", "2.0.2 "] {
            assert!(wrong.parse::<Firmware>().is_err(), "{wrong}");
        }
    }
}
