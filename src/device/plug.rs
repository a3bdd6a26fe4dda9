//! The voltages on the device's plugs (`device.plug` of `/system`, `plug.voltage` of the variables).
//!
//! The levels are those of published samples. A plug without power floats and reads a small voltage.

use super::network::Site;
use super::{DeviceId, Snapshot};
use crate::clock::VirtualTime;
use crate::decimal::Decimal;
use crate::meter::{Interface, MeterStatus};
use crate::rng::{Draws, RandomStream};

/// The maximum deviation of a voltage from its level, as a fraction of the level.
const PLUG_NOISE: f64 = 0.005;

/// The voltages on the plugs, in volts with three decimal places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is named as in the API")]
pub struct PlugVoltages {
    pub usb: Decimal,
    pub mbus: Decimal,
    pub p1: Decimal,
    /// The voltage of the supercapacitor.
    pub scap: Decimal,
}

impl PlugVoltages {
    /// Computes the voltages of the device `id` at `site` at the time of `snapshot`. `meter` is the
    /// interface of the meter, if there is one. A meter supplies power even if the device cannot
    /// read it.
    #[must_use]
    pub fn new(
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
            usb: noise.apply("usb", if site.usb { 5.16 } else { 0.02 }),
            mbus: noise.apply("mbus", mbus),
            p1: noise.apply("p1", p1),
            // Fully charged on USB; lower on a meter's plug (observed; POWER-3).
            scap: noise.apply("scap", if site.usb { 4.87 } else { 3.76 }),
        }
    }
}

struct VoltageNoise<'a> {
    id: &'a DeviceId,
    seed: u64,
    now: VirtualTime,
}

impl VoltageNoise<'_> {
    /// Returns `level` with noise of at most half a percent, drawn anew each second.
    fn apply(&self, plug: &str, level: f64) -> Decimal {
        let second = self.now.since_start().as_secs();
        let stream =
            RandomStream::named(self.id.as_str()).child(RandomStream::named(plug).number());
        let noise = Draws::new(self.seed, stream, second).uniform(-1.0, 1.0);
        Decimal::from_f64(level * (1.0 + PLUG_NOISE * noise), 3)
    }
}
