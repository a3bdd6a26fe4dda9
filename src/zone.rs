//! The time zone of the devices.

use std::sync::LazyLock;

use jiff::tz::TimeZone;

/// Time zone of the device, Europe/Zurich, by the documented rule, which is that of the time zone
/// database since 1996 (METER-4).
const ZONE_RULE: &str = "CET-1CEST,M3.5.0,M10.5.0/3";

/// Returns the time zone of the devices, which follows one rule at all times (METER-4).
#[must_use]
pub fn local_zone() -> &'static TimeZone {
    static ZONE: LazyLock<TimeZone> =
        // A test compares the rule with the time zone database.
        LazyLock::new(|| TimeZone::posix(ZONE_RULE).unwrap_or(TimeZone::UTC));
    &ZONE
}
