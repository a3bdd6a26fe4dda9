//! The behaviour that depends on firmware and licence, in one table each (`docs/device/firmware.md`,
//! `access.md`).
//!
//! No other module states the version from which a behaviour exists. Other code asks [`Profile::has`], or
//! compares a version with [`Feature::since`], as the table of routes and the tables of settings do.

use super::{Firmware, License};

/// A capability or behaviour that only firmware from a certain version on has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Feature {
    /// `/api/v1/meter/scalers/current`.
    CurrentScalers,
    /// The device's own Modbus TCP server, and `/api/v1/modbus`.
    ModbusServer,
    /// `/api/v1/actions` and the paths below it.
    Actions,
    /// Authentication by Digest; earlier firmware uses Basic.
    Digest,
    /// `/api/v1/berry` and `services.berry`.
    Berry,
    /// Live events omit values that the meter does not send; earlier firmware sends 0.
    LiveOmitsMissing,
    /// `services.sd.recorder_mode`.
    RecorderMode,
    /// `word_order` in the Modbus map; earlier firmware always uses `msw`.
    WordOrder,
    /// `GET /api/v1/modbus` returns the map as it was set, and `?address_format=dec|hex` the detailed
    /// listing. Earlier firmware only has the detailed listing with decimal addresses.
    CompactModbusListing,
    /// The reply for a missing file on the SD card is a 500 with `text/plain`; earlier firmware
    /// replies 404.
    MissingFileIs500,
}

/// A row of [`FEATURES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeatureRow {
    /// The feature.
    pub feature: Feature,
    /// The first firmware that has the feature.
    pub since: Firmware,
    /// The behaviour of earlier firmware.
    pub before: &'static str,
    /// The source: the vendor's documents or samples, an observation, or a ruling.
    pub source: &'static str,
}

/// The firmware table, in ascending order of version.
pub static FEATURES: &[FeatureRow] = &[
    row(Feature::CurrentScalers, (1, 2, 15), "404", "documented"),
    row(Feature::ModbusServer, (1, 2, 20), "404, and nothing listens", "documented"),
    row(Feature::Actions, (1, 6, 1), "404", "documented"),
    row(Feature::Digest, (1, 10, 0), "Basic", "documented"),
    row(Feature::Berry, (1, 10, 0), "404, and no `services.berry`", "from the samples; FIRMWARE-4"),
    row(Feature::LiveOmitsMissing, (2, 0, 0), "0 where unknown", "observed; LIVE-5"),
    row(Feature::RecorderMode, (2, 0, 1), "no such setting", "documented"),
    row(Feature::WordOrder, (2, 0, 2), "`msw`, no such key", "documented"),
    row(Feature::CompactModbusListing, (2, 0, 2), "detailed listing alone", "documented"),
    // Observed on 2.8.2. The documents, which state 404, describe firmware up to 2.0.2. FIRMWARE-1
    // rules that the change came with 2.8.2.
    row(Feature::MissingFileIs500, (2, 8, 2), "404", "observed; FIRMWARE-1"),
];

/// A feature that requires a licence: FREE includes none, PLUS and PRO include all
/// (`docs/device/access.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LicensedFeature {
    /// Under `/api/v1`: `report`, `report/objects`, `variables`, `template/test`, `actions`,
    /// `actions/call`, `actions/status`. The table of routes marks them.
    Routes,
    /// MQTT publishing. The settings exist without the licence.
    Mqtt,
    /// The Modbus TCP server. The settings and the map exist without the licence.
    ModbusServer,
    /// The meter proxy. The setting exists without the licence.
    MeterProxy,
    /// The myStrom cloud. The setting exists without the licence.
    MyStrom,
    /// Running Berry scripts. Storing them is possible without the licence.
    BerryRun,
}

impl License {
    /// Returns `true` if the licence includes the feature.
    #[must_use]
    pub const fn includes(self, _: LicensedFeature) -> bool {
        // The documents distinguish only "without" and "Plus or higher".
        !matches!(self, Self::Free)
    }
}

/// The features of a firmware.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile(Firmware);

impl Profile {
    /// Returns the profile of a firmware.
    #[must_use]
    pub const fn new(firmware: Firmware) -> Self {
        Self(firmware)
    }

    /// Returns `true` if the firmware has the feature.
    #[must_use]
    pub fn has(self, feature: Feature) -> bool {
        feature.since() <= self.0
    }
}

impl Feature {
    /// Returns the first firmware that has the feature.
    #[must_use]
    pub const fn since(self) -> Firmware {
        // A test proves that the table has the order of the enumeration.
        FEATURES[self as usize].since
    }
}

const fn row(
    feature: Feature,
    (major, minor, release): (u8, u8, u8),
    before: &'static str,
    source: &'static str,
) -> FeatureRow {
    FeatureRow { feature, since: Firmware { major, minor, release }, before, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_in_the_order_of_features_and_of_versions() {
        for (index, row) in FEATURES.iter().enumerate() {
            assert_eq!(row.feature as usize, index, "{:?}", row.feature);
        }
        assert!(FEATURES.is_sorted_by_key(|row| row.since));
        assert_eq!(Feature::MissingFileIs500 as usize, FEATURES.len() - 1, "all have a row");
    }

    /// Compares the firmware versions that scenarios usually name with `docs/device/firmware.md`.
    // Ruling: FIRMWARE-1, FIRMWARE-4.
    #[test]
    fn each_firmware_has_the_features_of_the_reference() {
        use Feature::{
            Actions, Berry, CompactModbusListing, CurrentScalers, Digest, LiveOmitsMissing,
            MissingFileIs500, ModbusServer, RecorderMode, WordOrder,
        };
        let gained: [(&str, &[Feature]); 10] = [
            ("1.2.14", &[]),
            ("1.2.15", &[CurrentScalers]),
            ("1.2.20", &[ModbusServer]),
            ("1.6.1", &[Actions]),
            ("1.9.0", &[]),
            ("1.10.0", &[Digest, Berry]),
            ("2.0.0", &[LiveOmitsMissing]),
            ("2.0.1", &[RecorderMode]),
            ("2.0.2", &[WordOrder, CompactModbusListing]),
            ("2.8.2", &[MissingFileIs500]),
        ];
        let mut expected = Vec::new();
        for (firmware, more) in gained {
            expected.extend_from_slice(more);
            let profile = Profile::new(firmware.parse().unwrap());
            let features = FEATURES.iter().map(|row| row.feature);
            let features: Vec<_> = features.filter(|feature| profile.has(*feature)).collect();
            assert_eq!(features, expected, "{firmware}");
        }
    }

    #[test]
    fn the_licence_free_includes_no_licensed_feature() {
        for licensed in
            [LicensedFeature::Routes, LicensedFeature::ModbusServer, LicensedFeature::Mqtt]
        {
            assert!(!License::Free.includes(licensed));
            assert!(License::Plus.includes(licensed) && License::Pro.includes(licensed));
        }
    }
}
