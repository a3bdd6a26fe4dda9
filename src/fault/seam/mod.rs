//! The places at which faults affect a house, and the seams at which the engine is asked.
//!
//! A place is what a rule names ([`FaultTarget`], nine kinds). Each has a file with the effects that are
//! possible there, their written forms, and the match of a rule with a request. A seam is a point at
//! which the engine is asked (`Seam`, eleven); `connect` and `listener` are the files of the two seams
//! at which rules on several kinds of places are asked. The table in `docs/faults.md` shows which rules
//! are asked at which seam. This module joins the places into [`Fault`], and dispatches to their files.

mod action;
mod api;
mod connect;
mod listener;
mod live;
mod meter;
mod modbus;
mod mqtt;
mod queue;
mod slave;
mod target;

pub use self::action::{
    ActionEffect, ActionOrigin, ActionOriginRef, ActionPlace, AdmissionVerdict, Hold,
};
pub use self::api::{ApiCall, ApiEffect, ApiPlace};
pub use self::connect::{Connect, ConnectFault, PeerRef};
pub use self::listener::FaultListener;
pub use self::live::{LiveEffect, LiveVerdict};
pub use self::meter::{ClockDrift, MeterEffect, Silence, WindowBudget};
pub use self::modbus::{DeviceModbusRequest, ModbusPlace};
pub use self::mqtt::{MqttEffect, MqttMessage};
pub use self::queue::QueueEffect;
pub use self::slave::{AddressRange, SlaveEffect, SlavePlace, SlaveRequest};
pub use self::target::{TargetEffect, TargetPlace, TargetRequest};
use super::effect::WrittenEffect;
use super::index::{IndexKey, KeyField};
use super::written_form::FormEntry;
use crate::problem::Problem;

/// A place and its effect. They are one type, so that no rule can combine a place with an effect that
/// cannot happen there.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// A call of the device's HTTP API.
    Api(ApiPlace, ApiEffect),
    /// A call or a request of an action.
    Action(ActionPlace, ActionEffect),
    /// The queue of requests in progress.
    Queue {
        /// The id of the device. `None` for every device.
        device: Option<String>,
        /// The effect.
        effect: QueueEffect,
    },
    /// A request to a Modbus slave.
    Slave(SlavePlace, SlaveEffect),
    /// A request to the device's own Modbus server.
    Modbus(ModbusPlace, SlaveEffect),
    /// A request to an HTTP target.
    Target(TargetPlace, TargetEffect),
    /// A message or the broker of the device's MQTT client.
    Mqtt {
        /// The id of the device. `None` for every device.
        device: Option<String>,
        /// The effect.
        effect: MqttEffect,
    },
    /// An event of the live stream.
    Live {
        /// The id of the device. `None` for every device.
        device: Option<String>,
        /// The effect.
        effect: LiveEffect,
    },
    /// The meter.
    Meter {
        /// The id of the device. `None` for every device.
        device: Option<String>,
        /// The effect.
        effect: MeterEffect,
    },
}

/// The place of a fault, before its effect is known.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the variants are those of `Fault`")]
pub enum FaultTarget {
    Api(ApiPlace),
    Action(ActionPlace),
    Queue(Option<String>),
    Slave(SlavePlace),
    Modbus(ModbusPlace),
    Target(TargetPlace),
    Mqtt(Option<String>),
    Live(Option<String>),
    Meter(Option<String>),
}

/// A point at which the engine is asked. The rules of one kind of place may be asked at several: those
/// on an action when it is admitted, before each of its requests, and by the slave that it reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seam {
    Api,
    Admission,
    Run,
    Connect,
    Slave,
    Modbus,
    Target,
    Mqtt,
    Live,
    Listener,
    Meter,
}

impl Seam {
    pub(super) const ALL: [Self; 11] = [
        Self::Api,
        Self::Admission,
        Self::Run,
        Self::Connect,
        Self::Slave,
        Self::Modbus,
        Self::Target,
        Self::Mqtt,
        Self::Live,
        Self::Listener,
        Self::Meter,
    ];
    pub(super) const COUNT: usize = Self::ALL.len();
    /// The seam whose rules leave episodes.
    pub(super) const OF_EPISODES: Self = Self::Meter;

    /// Returns the name in the journal.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Admission => "admission",
            Self::Run => "run",
            Self::Connect => "connect",
            Self::Slave => "slave",
            Self::Modbus => "modbus",
            Self::Target => "target",
            Self::Mqtt => "mqtt",
            Self::Live => "live",
            Self::Listener => "listener",
            Self::Meter => "meter",
        }
    }
}

impl Fault {
    /// Returns the keys under which the rule is asked, one for each seam.
    pub(super) fn keys(&self) -> Vec<IndexKey> {
        match self {
            Self::Api(place, _) => vec![place.key()],
            Self::Action(place, effect) => action::keys(place, effect),
            Self::Queue { device, .. } => vec![device_key(Seam::Admission, device.as_deref())],
            Self::Slave(place, effect) => vec![place.key(slave::seam_of(effect))],
            Self::Modbus(place, effect) => vec![place.key(effect)],
            Self::Target(place, effect) => vec![place.key(effect)],
            Self::Mqtt { device, effect } => {
                vec![device_key(mqtt::seam_of(effect), device.as_deref())]
            }
            Self::Live { device, .. } => vec![device_key(Seam::Live, device.as_deref())],
            Self::Meter { device, .. } => vec![device_key(Seam::Meter, device.as_deref())],
        }
    }

    /// Returns the id of the device that the place names. `None` for every device.
    #[must_use]
    pub fn device(&self) -> Option<&str> {
        match self {
            Self::Api(place, _) => place.device.as_deref(),
            Self::Action(place, _) => place.device.as_deref(),
            Self::Modbus(place, _) => place.device.as_deref(),
            Self::Queue { device, .. }
            | Self::Mqtt { device, .. }
            | Self::Live { device, .. }
            | Self::Meter { device, .. } => device.as_deref(),
            Self::Slave(..) | Self::Target(..) => None,
        }
    }

    /// Returns the effect as it is written.
    #[must_use]
    pub fn written_effect(&self) -> WrittenEffect {
        match self {
            Self::Api(_, effect) => api::FORMS.write(effect),
            Self::Action(_, effect) => action::FORMS.write(effect),
            Self::Queue { effect, .. } => queue::FORMS.write(effect),
            Self::Slave(_, effect) => slave::FORMS.write(effect),
            Self::Modbus(_, effect) => modbus::FORMS.write(effect),
            Self::Target(_, effect) => target::FORMS.write(effect),
            Self::Mqtt { effect, .. } => mqtt::FORMS.write(effect),
            Self::Live { effect, .. } => live::FORMS.write(effect),
            Self::Meter { effect, .. } => meter::FORMS.write(effect),
        }
    }

    /// Returns the reason why nothing is counted or drawn for this fault: it is a state of something and not
    /// an event of a request. `None` if it is an event. A state follows the windows of its rule alone.
    #[must_use]
    pub fn state_reason(&self) -> Option<&'static str> {
        match self {
            Self::Slave(_, SlaveEffect::Refuse) | Self::Modbus(_, SlaveEffect::Refuse) => {
                Some("`refuse` is a state of the listener")
            }
            Self::Mqtt { effect: MqttEffect::Refuse, .. } => {
                Some("`refuse` is a state of the broker")
            }
            Self::Meter { .. } => Some("a fault at `meter` is a state of the meter"),
            _ => None,
        }
    }

    /// Returns the keys of the place that need a request, for an effect on a whole listener.
    #[must_use]
    pub fn unusable_keys(&self) -> Vec<&'static str> {
        match self {
            Self::Slave(place, SlaveEffect::Refuse) => place.request_keys(),
            Self::Modbus(place, SlaveEffect::Refuse) => place.request_keys(),
            _ => Vec::new(),
        }
    }
}

impl FaultTarget {
    /// Returns the name of the place in error texts.
    #[must_use]
    pub fn noun(&self) -> &'static str {
        match self {
            Self::Api(_) => api::FORMS.noun(),
            Self::Action(_) => action::FORMS.noun(),
            Self::Queue(_) => queue::FORMS.noun(),
            Self::Slave(_) => slave::FORMS.noun(),
            Self::Modbus(_) => modbus::FORMS.noun(),
            Self::Target(_) => target::FORMS.noun(),
            Self::Mqtt(_) => mqtt::FORMS.noun(),
            Self::Live(_) => live::FORMS.noun(),
            Self::Meter(_) => meter::FORMS.noun(),
        }
    }

    /// Returns the keywords of the effects that are possible at the place.
    #[must_use]
    pub fn keywords(&self) -> Vec<&'static str> {
        match self {
            Self::Api(_) => api::FORMS.keywords(),
            Self::Action(_) => action::FORMS.keywords(),
            Self::Queue(_) => queue::FORMS.keywords(),
            Self::Slave(_) => slave::FORMS.keywords(),
            Self::Modbus(_) => modbus::FORMS.keywords(),
            Self::Target(_) => target::FORMS.keywords(),
            Self::Mqtt(_) => mqtt::FORMS.keywords(),
            Self::Live(_) => live::FORMS.keywords(),
            Self::Meter(_) => meter::FORMS.keywords(),
        }
    }

    /// Returns the fault of an effect at this place.
    ///
    /// # Errors
    /// The problem of the parameters, or that the place does not have the effect.
    pub fn with(self, effect: &WrittenEffect) -> Result<Fault, Problem> {
        Ok(match self {
            Self::Api(place) => Fault::Api(place, api::FORMS.read(effect)?),
            Self::Action(place) => Fault::Action(place, action::FORMS.read(effect)?),
            Self::Queue(device) => Fault::Queue { device, effect: queue::FORMS.read(effect)? },
            Self::Slave(place) => Fault::Slave(place, slave::FORMS.read(effect)?),
            Self::Modbus(place) => Fault::Modbus(place, modbus::FORMS.read(effect)?),
            Self::Target(place) => Fault::Target(place, target::FORMS.read(effect)?),
            Self::Mqtt(device) => Fault::Mqtt { device, effect: mqtt::FORMS.read(effect)? },
            Self::Live(device) => Fault::Live { device, effect: live::FORMS.read(effect)? },
            Self::Meter(device) => Fault::Meter { device, effect: meter::FORMS.read(effect)? },
        })
    }
}

/// Returns the written forms of all effects, in the order in which texts name the places.
pub(super) fn forms() -> impl Iterator<Item = FormEntry> {
    api::FORMS
        .entries()
        .chain(action::FORMS.entries())
        .chain(queue::FORMS.entries())
        .chain(slave::FORMS.entries())
        .chain(modbus::FORMS.entries())
        .chain(target::FORMS.entries())
        .chain(mqtt::FORMS.entries())
        .chain(live::FORMS.entries())
        .chain(meter::FORMS.entries())
}

/// Returns `true` if a place that names this, or anything if it names nothing, affects `actual`.
#[expect(clippy::ref_option, reason = "the fields of places are given as they are")]
fn affects(name: &Option<String>, actual: &str) -> bool {
    name.as_deref().is_none_or(|name| name == actual)
}

/// Returns the key of a place that names at most a device.
fn device_key(seam: Seam, device: Option<&str>) -> IndexKey {
    IndexKey::new(seam).name(KeyField::Device, device)
}

/// Returns the last address of a request. A request for nothing touches its first address.
fn last_address(address: u16, quantity: u16) -> u16 {
    address.saturating_add(quantity.saturating_sub(1))
}
