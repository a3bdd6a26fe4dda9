//! A device at one instant.

use std::fmt;

use jiff::Timestamp;

use super::{DeviceId, View};
use crate::clock::VirtualTime;
use crate::meter::Observation;
use crate::rng::{Draws, Stream};

/// What a device and its meter are at one instant. Whatever a surface shows, it takes from one of
/// these, so that no two numbers of an answer come from different moments.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The instant.
    pub now: VirtualTime,
    /// The same by the device's own clock.
    pub time: Timestamp,
    /// The device.
    pub view: View,
    /// Its meter.
    pub meter: Observation,
}

/// A start of the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Boot {
    /// When it came up.
    pub at: VirtualTime,
    /// Its id, new with each start.
    pub id: BootId,
    /// Counts the starts from 0.
    pub ordinal: u64,
}

/// The id of a start: eight hexadecimal digits (`system.boot_id`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BootId(u32);

impl Boot {
    /// The start of a house.
    #[must_use]
    pub fn first(device: &DeviceId, seed: u64) -> Self {
        Self::new(device, seed, 0, VirtualTime::ZERO)
    }

    /// The `ordinal`-th start, at `at`.
    #[must_use]
    pub fn new(device: &DeviceId, seed: u64, ordinal: u64, at: VirtualTime) -> Self {
        let stream = Stream::named("boot").child(Stream::named(device.as_str()).number());
        let bits = Draws::new(seed, stream, ordinal).bits();
        #[expect(clippy::cast_possible_truncation, reason = "any 32 of its bits will do")]
        Self { at, id: BootId(bits as u32), ordinal }
    }
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08X}", self.0)
    }
}
