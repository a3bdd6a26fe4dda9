//! Listeners that refuse connections: those of slaves and of the devices' Modbus servers, and the
//! brokers that MQTT clients connect to.
//!
//! This is a state and not an event of a request. It follows the windows of the rules alone.

use super::{Fault, MqttEffect, Seam, SlaveEffect, affects};
use crate::clock::VirtualTime;
use crate::fault::Engine;
use crate::fault::index::{IndexKey, KeyField};
use crate::modbus::slave::ListenerVerdict;

/// A listener that a rule may close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultListener<'a> {
    /// The listener of a slave, by the slave's name.
    Slave(&'a str),
    /// The listener of a device's own Modbus server, by the device's id.
    Modbus(&'a str),
    /// The broker of a device, by the device's id.
    Broker(&'a str),
}

impl FaultListener<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Slave(name) | Self::Modbus(name) | Self::Broker(name) => name,
        }
    }

    fn key(&self) -> IndexKey {
        let field = match self {
            Self::Slave(_) => KeyField::Peer,
            Self::Modbus(_) | Self::Broker(_) => KeyField::Device,
        };
        IndexKey::new(Seam::Listener).name(field, Some(self.name()))
    }

    /// Returns `true` if a fault closes this listener.
    fn is_closed_by(&self, fault: &Fault) -> bool {
        match (fault, self) {
            (Fault::Slave(place, SlaveEffect::Refuse), Self::Slave(slave)) => {
                affects(&place.slave, slave)
            }
            (Fault::Modbus(place, SlaveEffect::Refuse), Self::Modbus(device)) => {
                affects(&place.device, device)
            }
            (Fault::Mqtt { device: place, effect: MqttEffect::Refuse }, Self::Broker(device)) => {
                affects(place, device)
            }
            _ => false,
        }
    }
}

impl Engine {
    /// Evaluates the rules on a listener. `refused` is true if the previous verdict was to refuse:
    /// [`RuleStatus::fired`](crate::fault::RuleStatus::fired) counts only the beginning of a refusal.
    #[must_use]
    pub fn listener(&self, listener: FaultListener<'_>, refused: bool) -> ListenerVerdict {
        let mut inner = self.inner();
        let now = self.clock().now();
        let (mut refuse, mut next) = (false, VirtualTime::MAX);
        inner.visit(&listener.key(), |entry| {
            if !listener.is_closed_by(entry.fault()) {
                return;
            }
            let Some(window) = entry.window(now) else { return };
            next = next.min(window.next_change.unwrap_or(VirtualTime::MAX));
            if window.is_open() && !refuse && !refused {
                entry.count_evaluation();
                entry.record_fired(self.journal(), Seam::Listener, listener.name().to_owned());
            }
            refuse |= window.is_open();
        });
        let until = self.clock().sleep_until(next);
        let generation = inner.watch(&until);
        ListenerVerdict { refuse, generation, until }
    }
}
