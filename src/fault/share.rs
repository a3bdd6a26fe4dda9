//! The share of the devices that a rule affects.
//!
//! The share is drawn once for each device, from the seed of the house, the id of the rule and the id of the
//! device. So a rule affects the same devices in each run and on each shard, and two rules affect shares that have
//! nothing to do with each other.

use super::Rule;
use super::index::name_hash;
use crate::notation::Share;
use crate::rng::RandomStream;

/// A share with everything that it is drawn from, except the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrawnShare {
    share: Share,
    seed: u64,
    stream: RandomStream,
}

impl DrawnShare {
    /// Returns the share of a rule in a house with this seed. `None` if the rule affects all devices.
    pub(super) fn of(rule: &Rule, seed: u64) -> Option<Self> {
        let share = rule.devices?;
        let stream = RandomStream::named("devices").child(RandomStream::named(&rule.id).number());
        Some(Self { share, seed, stream })
    }

    /// Returns true if a device with this [`name_hash`] belongs to the share.
    pub(super) fn includes_hash(self, device: u64) -> bool {
        self.share.includes(self.seed, self.stream, device)
    }

    /// Returns true if the device with this id belongs to the share.
    pub(super) fn includes(self, device: &str) -> bool {
        self.includes_hash(name_hash(device))
    }
}
