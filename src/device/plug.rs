//! The voltages on the device's plugs (`device.plug` of `/system`, `plug.voltage` of the variables).
//!
//! Levels are those of published samples; what has no power floats, and says so by a small figure.

use super::network::Site;
use super::{DeviceId, Snapshot};
use crate::clock::VirtualTime;
use crate::decimal::Decimal;
use crate::limits;
use crate::meter::{Interface, MeterStatus};
use crate::rng::{Draws, RandomStream};

/// Volts, to the millivolt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named as in the API")]
pub struct PlugVoltages {
    pub usb: Decimal,
    pub mbus: Decimal,
    pub p1: Decimal,
    /// Of the supercapacitor.
    pub scap: Decimal,
}

impl PlugVoltages {
    /// The voltages of a device that is `id`, stands at `site` and whose randomness comes from
    /// `seed`, as they are in `snapshot`, on the plug of a meter with this interface, if any. It gives
    /// power whether the device understands the meter or not.
    #[must_use]
    pub fn of(
        snapshot: &Snapshot,
        meter: Option<Interface>,
        id: &DeviceId,
        site: &Site,
        seed: u64,
    ) -> Self {
        let unplugged = snapshot.meter.status == MeterStatus::NotConnected;
        let meter = meter.filter(|_| !unplugged);
        let noise = VoltageNoise { id, seed, now: snapshot.now };
        let mbus = if meter == Some(Interface::Mbus) { 13.9 } else { 0.05 };
        let p1 = if meter == Some(Interface::P1) { 5.02 } else { 2.84 };
        Self {
            usb: noise.about("usb", if site.usb { 5.16 } else { 0.02 }),
            mbus: noise.about("mbus", mbus),
            p1: noise.about("p1", p1),
            // Charged to the full on USB; a meter's plug holds it lower (observed; POWER-3).
            scap: noise.about("scap", if site.usb { 4.87 } else { 3.76 }),
        }
    }
}

struct VoltageNoise<'a> {
    id: &'a DeviceId,
    seed: u64,
    now: VirtualTime,
}

impl VoltageNoise<'_> {
    /// A voltage about `level`: within half a percent, another one each second.
    fn about(&self, plug: &str, level: f64) -> Decimal {
        let second = self.now.since_start().as_secs();
        let stream =
            RandomStream::named(self.id.as_str()).child(RandomStream::named(plug).number());
        let share = Draws::new(self.seed, stream, second).uniform(-1.0, 1.0);
        Decimal::from_f64(level * (1.0 + limits::PLUG_NOISE * share), 3)
    }
}
