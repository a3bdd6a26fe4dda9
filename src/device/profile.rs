//! What depends on firmware and licence: one table each (`docs/device/firmware.md`, `access.md`).
//!
//! Nothing else in the code names a firmware version to decide by.

use super::{Firmware, License};

/// Something that not every firmware has, or that firmware does in one of two ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Feature {
    /// `/api/v1/meter/scalers/current`.
    CurrentScalers,
    /// The device's own Modbus TCP server, and `/api/v1/modbus`.
    ModbusServer,
    /// `/api/v1/actions` and what is below it.
    Actions,
    /// Authentication is Digest; Basic before.
    Digest,
    /// `/api/v1/berry` and `services.berry`.
    Berry,
    /// Live events leave out what the meter does not send; a 0 stands for it before.
    LiveLeavesOut,
    /// `services.sd.recorder_mode`.
    RecorderMode,
    /// `word_order` in the Modbus map; `msw` before.
    WordOrder,
    /// `GET /api/v1/modbus` lists what was set, and `?address_format=dec|hex` asks for the detailed
    /// listing; the detailed listing with decimal addresses is the only one before.
    CompactModbusListing,
    /// A missing file of the SD card is a 500 with `text/plain`; a 404 before.
    MissingFileIs500,
}

/// A row of [`FEATURES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeatureRow {
    /// What the row is about.
    pub feature: Feature,
    /// The first firmware that has it.
    pub since: Firmware,
    /// What firmware does that does not have it.
    pub before: &'static str,
    /// What the row rests on: the vendor's documents or samples, an observation, or a ruling.
    pub source: &'static str,
}

/// The firmware table, by age.
pub static FEATURES: &[FeatureRow] = &[
    row(Feature::CurrentScalers, (1, 2, 15), "404", "documented"),
    row(Feature::ModbusServer, (1, 2, 20), "404, and nothing listens", "documented"),
    row(Feature::Actions, (1, 6, 1), "404", "documented"),
    row(Feature::Digest, (1, 10, 0), "Basic", "documented"),
    row(Feature::Berry, (1, 10, 0), "404, and no `services.berry`", "from the samples; FIRMWARE-4"),
    row(Feature::LiveLeavesOut, (2, 0, 0), "0 where unknown", "observed; LIVE-5"),
    row(Feature::RecorderMode, (2, 0, 1), "no such setting", "documented"),
    row(Feature::WordOrder, (2, 0, 2), "`msw`, no such key", "documented"),
    row(Feature::CompactModbusListing, (2, 0, 2), "detailed listing alone", "documented"),
    // Seen on 2.8.2; the documents, which say 404, go up to 2.0.2. That it began with the firmware
    // it was seen on is FIRMWARE-1.
    row(Feature::MissingFileIs500, (2, 8, 2), "404", "observed; FIRMWARE-1"),
];

/// What a licence is needed for: FREE has none of it, PLUS and PRO all (`docs/device/access.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Licensed {
    /// Under `/api/v1`: `report`, `report/objects`, `variables`, `template/test`, `actions`,
    /// `actions/call`, `actions/status`. They are marked in the table of routes.
    Routes,
    /// MQTT publishing; its settings are there without.
    Mqtt,
    /// The Modbus TCP server; its settings and map are there without.
    ModbusServer,
    /// The meter proxy; its setting is there without.
    MeterProxy,
    /// The myStrom cloud; its setting is there without.
    MyStrom,
    /// Running Berry scripts; storing them is possible without.
    BerryRun,
}

impl License {
    /// Whether the licence includes it.
    #[must_use]
    pub const fn includes(self, _: Licensed) -> bool {
        // The documents know two steps, "without" and "Plus or higher".
        !matches!(self, Self::Free)
    }
}

/// What a firmware can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile(Firmware);

impl Profile {
    /// The profile of a firmware.
    #[must_use]
    pub const fn of(firmware: Firmware) -> Self {
        Self(firmware)
    }

    /// Whether it has the feature.
    #[must_use]
    pub fn has(self, feature: Feature) -> bool {
        feature.since() <= self.0
    }
}

impl Feature {
    /// The first firmware that has it.
    #[must_use]
    pub const fn since(self) -> Firmware {
        // A test holds the table to the order of the enumeration.
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
    fn each_feature_has_the_row_of_its_place_and_rows_go_by_age() {
        for (place, row) in FEATURES.iter().enumerate() {
            assert_eq!(row.feature as usize, place, "{:?}", row.feature);
        }
        assert!(FEATURES.is_sorted_by_key(|row| row.since));
        assert_eq!(Feature::MissingFileIs500 as usize, FEATURES.len() - 1, "all have a row");
    }

    /// The firmwares a scenario is most likely to name, against `docs/device/firmware.md`.
    // Ruling: FIRMWARE-1, FIRMWARE-4.
    #[test]
    fn known_firmwares_have_what_the_reference_says() {
        use Feature::{
            Actions, Berry, CompactModbusListing, CurrentScalers, Digest, LiveLeavesOut,
            MissingFileIs500, ModbusServer, RecorderMode, WordOrder,
        };
        let gained: [(&str, &[Feature]); 10] = [
            ("1.2.14", &[]),
            ("1.2.15", &[CurrentScalers]),
            ("1.2.20", &[ModbusServer]),
            ("1.6.1", &[Actions]),
            ("1.9.0", &[]),
            ("1.10.0", &[Digest, Berry]),
            ("2.0.0", &[LiveLeavesOut]),
            ("2.0.1", &[RecorderMode]),
            ("2.0.2", &[WordOrder, CompactModbusListing]),
            ("2.8.2", &[MissingFileIs500]),
        ];
        let mut expected = Vec::new();
        for (firmware, more) in gained {
            expected.extend_from_slice(more);
            let profile = Profile::of(firmware.parse().unwrap());
            let has = FEATURES.iter().map(|row| row.feature).filter(|it| profile.has(*it));
            assert_eq!(has.collect::<Vec<_>>(), expected, "{firmware}");
        }
    }

    #[test]
    fn free_has_nothing_that_needs_a_licence() {
        for licensed in [Licensed::Routes, Licensed::ModbusServer, Licensed::Mqtt] {
            assert!(!License::Free.includes(licensed));
            assert!(License::Plus.includes(licensed) && License::Pro.includes(licensed));
        }
    }
}
