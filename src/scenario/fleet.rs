//! The model of a fleet, and of a shard of a house.
//!
//! Whatever distinguishes one device of a fleet from another is drawn from the seed of the house and the id of
//! the device alone. So device 4711 is the same in every run and on every shard, and none needs to know the
//! others.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use super::model::DevicePlan;
use crate::device::{DeviceId, Firmware};
use crate::notation::Share;
use crate::rng::{Draws, RandomStream};

/// The plan of a fleet.
#[derive(Debug, Clone, PartialEq)]
pub struct FleetPlan {
    /// The number of devices, of all shards together.
    pub count: u32,
    /// The number of devices of the house that come before the fleet.
    pub written: u32,
    /// The ids.
    pub ids: FleetIds,
    /// The addresses.
    pub listen: FleetListen,
    /// The time in which the devices go online.
    pub ramp: Duration,
    /// The kinds of devices, at least one.
    pub mix: Vec<MixPlan>,
    /// The stages, in the order of the file.
    pub stages: Vec<StagePlan>,
}

/// A kind of device in a fleet.
#[derive(Debug, Clone, PartialEq)]
pub struct MixPlan {
    /// The weight.
    pub weight: u32,
    /// A device of this kind. Its id, its addresses and its name are those of the first device.
    pub device: DevicePlan,
}

/// The addresses of a fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FleetListen {
    /// A port each.
    Ports,
    /// An address each in 127.0.0.0/8, on the same port.
    Addresses,
    /// One port for all.
    Shared {
        /// The address.
        address: SocketAddr,
        /// The part of a request that names the device.
        route_by: RouteBy,
    },
}

/// The part of a request that names the device on a shared port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RouteBy {
    /// The first label of the `Host` is the id, in any case.
    Host,
    /// The first segment of the path is the id, in any case.
    Path,
}

/// The ids of a fleet: they count up from the first one, past those of the other devices of the house.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetIds {
    first: u64,
    count: u32,
    /// Distances from the first id that belong to other devices, ascending.
    passed_over: Vec<u64>,
}

/// A stage of the life of the devices of a fleet.
#[derive(Debug, Clone, PartialEq)]
pub struct StagePlan {
    /// The states from which it leads.
    pub from: Vec<LifeState>,
    /// The state to which it leads.
    pub to: LifeState,
    /// The firmware that the device gets. `None` unless the stage is an update.
    pub update: Option<Firmware>,
    /// The weight.
    pub weight: u32,
    /// The least time in the state before.
    pub delay: Duration,
    /// The longest time that is added to it.
    pub jitter: Duration,
    /// The share of the devices that it concerns. `None` for all.
    pub devices: Option<Share>,
    /// The firmware that a device must run. `None` for any.
    pub firmware: Option<Firmware>,
}

/// A state in the life of a device of a fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LifeState {
    /// Up.
    Online,
    /// Up, with weak Wi-Fi.
    WeakWifi,
    /// On its way to be online again.
    Rebooting,
    /// Up after a firmware update.
    Updated,
    /// Off.
    Gone,
}

impl LifeState {
    /// Returns the word for it in scenarios and in the journal.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::WeakWifi => "weak_wifi",
            Self::Rebooting => "rebooting",
            Self::Updated => "updated",
            Self::Gone => "gone",
        }
    }
}

impl FleetPlan {
    /// Returns the number of a device in the fleet, by its id. `None` if it is none of the fleet.
    #[must_use]
    pub fn index_of(&self, id: &DeviceId) -> Option<u32> {
        self.ids.index_of(id)
    }

    /// Returns the kind of the device with this id.
    #[must_use]
    pub fn kind_of(&self, seed: u64, id: &DeviceId) -> &MixPlan {
        let weights = self.mix.iter().map(|kind| kind.weight);
        // There is at least one kind.
        &self.mix[draw_by_weight(weights, &mut draws(seed, "fleet-mix", id, 0)).unwrap_or(0)]
    }

    /// Returns the time at which a device goes online.
    #[must_use]
    pub fn online_at(&self, index: u32) -> Duration {
        let nanos = self.ramp.as_nanos() * u128::from(index) / u128::from(self.count.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// Returns the draws of the `ordinal`-th decision about a device.
pub(super) fn draws(seed: u64, what: &str, id: &DeviceId, ordinal: u64) -> Draws {
    let stream = RandomStream::named(what).child(RandomStream::named(id.as_str()).number());
    Draws::new(seed, stream, ordinal)
}

/// Draws a position by weight. `None` if there is none.
pub(super) fn draw_by_weight(
    weights: impl Iterator<Item = u32> + Clone,
    draws: &mut Draws,
) -> Option<usize> {
    let total: u64 = weights.clone().map(u64::from).sum();
    let mut rest = draws.bits().checked_rem(total)?;
    weights.into_iter().position(|weight| {
        let is_drawn = rest < u64::from(weight);
        rest = rest.saturating_sub(u64::from(weight));
        is_drawn
    })
}

impl FleetIds {
    /// The number of all ids.
    const ALL: u64 = 1 << 48;

    /// Returns the ids of `count` devices from the first one on, past those of `others`.
    pub(super) fn new<'a>(
        first: u64,
        count: u32,
        others: impl Iterator<Item = &'a DeviceId>,
    ) -> Self {
        let mut passed_over: Vec<u64> =
            others.map(|id| id.number().wrapping_sub(first) % Self::ALL).collect();
        passed_over.sort_unstable();
        Self { first, count, passed_over }
    }

    /// Returns the id of the `index`-th device.
    #[must_use]
    pub fn id(&self, index: u32) -> DeviceId {
        let mut distance = u64::from(index);
        for passed in &self.passed_over {
            if *passed > distance {
                break;
            }
            distance += 1;
        }
        DeviceId::from_number(self.first.wrapping_add(distance))
    }

    /// Returns the number of the device with this id. `None` if it is none of the fleet.
    #[must_use]
    pub fn index_of(&self, id: &DeviceId) -> Option<u32> {
        let distance = id.number().wrapping_sub(self.first) % Self::ALL;
        let below = self.passed_over.partition_point(|passed| *passed < distance);
        let is_other = self.passed_over.get(below) == Some(&distance);
        let index = u32::try_from(distance - below as u64).ok()?;
        (!is_other && index < self.count).then_some(index)
    }
}

/// A shard of a house: one of several processes that have its devices among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shard {
    index: u32,
    of: u32,
}

impl Shard {
    /// Returns the shard `index`, counted from 0, of `of` shards.
    ///
    /// # Errors
    /// Returns an [`InvalidShard`] if there is no such shard.
    pub const fn new(index: u32, of: u32) -> Result<Self, InvalidShard> {
        match of {
            0 => Err(InvalidShard::None),
            of if index >= of => Err(InvalidShard::Beyond { index, of }),
            of => Ok(Self { index, of }),
        }
    }

    /// Returns true if the shard has the `device`-th device of the house, counted from 0.
    #[must_use]
    pub fn has(self, device: u32) -> bool {
        device % self.of == self.index
    }
}

/// A text that is no [`Shard`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidShard {
    /// The text is not two numbers.
    #[error("expected two numbers as 0/3, the first of three shards")]
    Form,
    /// There are no shards.
    #[error("0 shards have no device; expected 1 or more, as 0/1")]
    None,
    /// There is no such shard.
    #[error("there is no shard {index} of {of}: they count from 0, so the last one is {}/{of}", of - 1)]
    Beyond {
        /// The shard.
        index: u32,
        /// The number of shards.
        of: u32,
    },
}

impl FromStr for Shard {
    type Err = InvalidShard;

    fn from_str(text: &str) -> Result<Self, InvalidShard> {
        let (index, of) = text.split_once('/').ok_or(InvalidShard::Form)?;
        let number = |text: &str| {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|_| digits).ok_or(InvalidShard::Form)
        };
        Self::new(number(index)?, number(of)?)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> DeviceId {
        DeviceId::from_number(number)
    }

    #[test]
    fn ids_count_up_past_those_of_other_devices() {
        let others = [id(0x11), id(0x12), id(0x99), id(0x0F)];
        let ids = FleetIds::new(0x10, 4, others.iter());
        let all: Vec<DeviceId> = (0..4).map(|index| ids.id(index)).collect();
        assert_eq!(all, [id(0x10), id(0x13), id(0x14), id(0x15)]);
        for (index, own) in (0..).zip(&all) {
            assert_eq!(ids.index_of(own), Some(index), "{own}");
        }
        for other in others.iter().chain([&id(0x16)]) {
            assert_eq!(ids.index_of(other), None, "{other}");
        }
    }

    #[test]
    fn ids_begin_again_after_the_last_one() {
        let ids = FleetIds::new(0xFFFF_FFFF_FFFF, 2, [].into_iter());
        assert_eq!([ids.id(0), ids.id(1)], [id(0xFFFF_FFFF_FFFF), id(0)]);
        assert_eq!(ids.index_of(&id(0)), Some(1));
    }

    #[test]
    fn a_draw_by_weight_follows_the_weights() {
        let mut counts = [0; 3];
        for ordinal in 0..10_000 {
            let mut draws = draws(1, "test", &id(5), ordinal);
            counts[draw_by_weight([1, 0, 3].into_iter(), &mut draws).unwrap()] += 1;
        }
        assert!((2300..2700).contains(&counts[0]) && counts[1] == 0, "{counts:?}");
        assert_eq!(draw_by_weight([].into_iter(), &mut draws(1, "test", &id(5), 0)), None);
    }

    #[test]
    fn shards_count_from_0() {
        let shard: Shard = "1/3".parse().unwrap();
        assert_eq!((0..7).filter(|device| shard.has(*device)).collect::<Vec<_>>(), [1, 4]);
        assert_eq!("3/3".parse::<Shard>(), Err(InvalidShard::Beyond { index: 3, of: 3 }));
        assert_eq!("0/0".parse::<Shard>(), Err(InvalidShard::None));
        for wrong in ["", "1", "/", "1/", "/3", "-1/3", "+1/3", "1/3/5", "a/b"] {
            assert_eq!(wrong.parse::<Shard>(), Err(InvalidShard::Form), "{wrong}");
        }
    }
}
