//! Faults of the devices themselves, and of their meters.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::FaultRule;
use crate::fault::{
    ActionEffect, ActionPlace, ApiEffect, ApiPlace, ClockDrift, Delay, Fault, LiveEffect,
    MeterEffect, ModbusPlace, MqttEffect, QueueEffect, Silence, SlaveEffect, result,
};
use crate::modbus::fault::ReplyFault;
use crate::modbus::wire::FunctionCode;
use crate::problem::Problem;

/// Calls of a device's API.
#[derive(Debug, Clone)]
#[must_use = "choose an effect"]
pub struct ApiFault(ApiPlace);

/// Returns the description of a fault at the API of every device.
pub fn api() -> ApiFault {
    ApiFault(ApiPlace::default())
}

impl ApiFault {
    /// Affects only the device with this id.
    pub fn device(mut self, id: &str) -> Self {
        self.0.device = Some(id.to_owned());
        self
    }

    /// Affects only calls of this path.
    pub fn path(mut self, path: &str) -> Self {
        self.0.route = Some(path.to_owned());
        self
    }

    /// The reply has this status, 400 to 599. The call has no effect.
    pub fn status(self, code: u16) -> FaultRule {
        self.rule(ApiEffect::Status { code, retry_after: None })
    }

    /// The reply comes later.
    pub fn delay(self, delay: Duration) -> FaultRule {
        self.rule(ApiEffect::Delay(Delay::Fixed(delay)))
    }

    /// The connection is reset in place of a reply. The call has no effect.
    pub fn reset(self) -> FaultRule {
        self.rule(ApiEffect::Reset)
    }

    /// There is no reply. The call has no effect.
    pub fn hang(self) -> FaultRule {
        self.rule(ApiEffect::Hang)
    }

    /// The connection ends after this many bytes of the response, status line included.
    pub fn cut(self, after: usize) -> FaultRule {
        self.rule(ApiEffect::Cut { after })
    }

    /// The response is sent in pieces of this many bytes, with this pause between them.
    pub fn drip(self, bytes: usize, every: Duration) -> FaultRule {
        self.rule(ApiEffect::Drip { bytes, every })
    }

    /// The JSON of the reply breaks off in the middle.
    pub fn malformed_json(self) -> FaultRule {
        self.rule(ApiEffect::MalformedJson)
    }

    /// The nonce of the request expires: the reply is a 401 with `stale=true` and a new nonce. A request without
    /// a valid nonce is not affected.
    pub fn stale_nonce(self) -> FaultRule {
        self.rule(ApiEffect::StaleNonce)
    }

    fn rule(self, effect: ApiEffect) -> FaultRule {
        FaultRule::new(Fault::Api(self.0, effect))
    }
}

/// Calls and requests of an action.
#[derive(Debug, Clone)]
#[must_use = "choose an effect"]
pub struct ActionFault(ActionPlace);

/// Returns the description of a fault of the action with this id.
pub fn action(id: &str) -> ActionFault {
    ActionFault(ActionPlace { action: Some(id.to_owned()), ..ActionPlace::default() })
}

impl ActionFault {
    /// The call is refused, as if the action were disabled.
    pub fn disable(self) -> FaultRule {
        self.rule(ActionEffect::Disable)
    }

    /// Each request stays in progress for this time before it is sent.
    pub fn hold(self, duration: Duration) -> FaultRule {
        self.rule(ActionEffect::Hold { duration: Some(duration) })
    }

    /// Each request stays in progress before it is sent, until
    /// [`InjectedFault::release`](super::InjectedFault::release).
    pub fn hold_until_released(self) -> FaultRule {
        self.rule(ActionEffect::Hold { duration: None })
    }

    /// Each request ends with this result code.
    ///
    /// # Errors
    /// A problem if no request can end with that code.
    pub fn result(self, code: i32) -> Result<FaultRule, Problem> {
        Ok(self.rule(result::of_action(code)?))
    }

    fn rule(self, effect: ActionEffect) -> FaultRule {
        FaultRule::new(Fault::Action(self.0, effect))
    }
}

/// The meter of a device.
#[derive(Debug, Clone)]
#[must_use = "choose an effect"]
pub struct MeterFault {
    device: Option<String>,
}

/// Returns the description of a fault of the meter of every device.
pub fn meter() -> MeterFault {
    MeterFault { device: None }
}

impl MeterFault {
    /// Affects only the meter of the device with this id.
    pub fn device(mut self, id: &str) -> Self {
        self.device = Some(id.to_owned());
        self
    }

    /// No telegram comes.
    pub fn no_data(self) -> FaultRule {
        self.rule(MeterEffect::Silent(Silence::NoData))
    }

    /// The meter is not connected.
    pub fn not_connected(self) -> FaultRule {
        self.rule(MeterEffect::Silent(Silence::NotConnected))
    }

    /// The telegrams are encrypted, and the device has no key.
    pub fn key_required(self) -> FaultRule {
        self.rule(MeterEffect::Silent(Silence::KeyRequired))
    }

    /// The telegrams are encrypted with another key than the device has.
    pub fn encryption_key(self) -> FaultRule {
        self.rule(MeterEffect::Silent(Silence::EncryptionKey))
    }

    /// The device never ends the recognition of the protocol.
    pub fn recognition(self) -> FaultRule {
        self.rule(MeterEffect::Silent(Silence::Recognition))
    }

    /// The device does not know the protocol of the telegrams.
    pub fn not_recognized(self) -> FaultRule {
        self.rule(MeterEffect::Silent(Silence::NotRecognized))
    }

    /// These phases are not measured.
    pub fn missing_phases(self, phases: impl IntoIterator<Item = MeterPhase>) -> FaultRule {
        let mut missing = [false; 3];
        for phase in phases {
            missing[phase as usize] = true;
        }
        self.rule(MeterEffect::MissingPhases(missing))
    }

    /// The meter's clock is ahead by this time.
    pub fn clock_ahead(self, offset: Duration) -> FaultRule {
        self.rule(MeterEffect::ClockDrift(ClockDrift { offset: millis(offset), per_day: 0 }))
    }

    /// The meter's clock is behind by this time.
    pub fn clock_behind(self, offset: Duration) -> FaultRule {
        self.rule(MeterEffect::ClockDrift(ClockDrift { offset: -millis(offset), per_day: 0 }))
    }

    /// The ids of the readings begin again at 1.
    pub fn restart_ids(self) -> FaultRule {
        self.rule(MeterEffect::RestartIds)
    }

    /// The values stand still. The readings go on.
    pub fn frozen(self) -> FaultRule {
        self.rule(MeterEffect::Frozen)
    }

    /// The counter of imported energy is this many kWh too low, 0.001 to 1 000 000.
    pub fn jump_back(self, kilowatt_hours: f64) -> FaultRule {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        let watt_hours = (kilowatt_hours * 1000.0).round() as u64;
        self.rule(MeterEffect::JumpBack(watt_hours))
    }

    fn rule(self, effect: MeterEffect) -> FaultRule {
        FaultRule::new(Fault::Meter { device: self.device, effect })
    }
}

/// A phase of the grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the name of a phase")]
pub enum MeterPhase {
    L1,
    L2,
    L3,
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The slots of a device for requests in progress.
#[derive(Debug, Clone)]
#[must_use = "choose an effect"]
pub struct QueueFault {
    device: Option<String>,
}

/// Returns the description of a fault of the queue of every device.
pub fn queue() -> QueueFault {
    QueueFault { device: None }
}

impl QueueFault {
    /// Affects only the device with this id.
    pub fn device(mut self, id: &str) -> Self {
        self.device = Some(id.to_owned());
        self
    }

    /// This many slots are occupied, 1 to 20.
    pub fn occupy(self, slots: usize) -> FaultRule {
        self.rule(QueueEffect::Occupy(slots))
    }

    /// There are only this many slots in all, 0 to 19.
    pub fn limit(self, slots: usize) -> FaultRule {
        self.rule(QueueEffect::Limit(slots))
    }

    fn rule(self, effect: QueueEffect) -> FaultRule {
        FaultRule::new(Fault::Queue { device: self.device, effect })
    }
}

/// Requests to a device's own Modbus server.
#[derive(Debug, Clone)]
#[must_use = "choose an effect"]
pub struct DeviceModbusFault(ModbusPlace);

/// Returns the description of a fault of the Modbus server of every device.
pub fn device_modbus() -> DeviceModbusFault {
    DeviceModbusFault(ModbusPlace::default())
}

impl DeviceModbusFault {
    /// Affects only the device with this id.
    pub fn device(mut self, id: &str) -> Self {
        self.0.device = Some(id.to_owned());
        self
    }

    /// Affects only requests to this unit. The device replies for each unit.
    pub fn unit(mut self, unit: u8) -> Self {
        self.0.unit = Some(unit);
        self
    }

    /// Affects only requests with this function code.
    pub fn function(mut self, function: FunctionCode) -> Self {
        self.0.function = Some(function);
        self
    }

    /// Affects only requests that touch one of these registers.
    pub fn addresses(mut self, addresses: RangeInclusive<u16>) -> Self {
        self.0.address = Some(addresses);
        self
    }

    /// The reply is missing, wrong on the wire, or an exception, or the connection ends.
    pub fn reply(self, fault: impl Into<ReplyFault>) -> FaultRule {
        self.rule(SlaveEffect::Reply(fault.into()))
    }

    /// The reply is this exception.
    pub fn exception(self, code: u8) -> FaultRule {
        self.reply(ReplyFault::Exception(code))
    }

    /// The reply comes later.
    pub fn delay(self, delay: Duration) -> FaultRule {
        self.rule(SlaveEffect::Delay(Delay::Fixed(delay)))
    }

    /// The listener refuses connections, and resets those that are open.
    /// [`InjectedFault::applied`](super::InjectedFault::applied) waits until it does.
    pub fn refuse(self) -> FaultRule {
        self.rule(SlaveEffect::Refuse)
    }

    fn rule(self, effect: SlaveEffect) -> FaultRule {
        FaultRule::new(Fault::Modbus(self.0, effect))
    }
}

/// The MQTT client of a device.
#[derive(Debug, Clone)]
#[must_use = "choose an effect"]
pub struct MqttFault {
    device: Option<String>,
}

/// Returns the description of a fault of the MQTT client of every device.
pub fn mqtt() -> MqttFault {
    MqttFault { device: None }
}

impl MqttFault {
    /// Affects only the device with this id.
    pub fn device(mut self, id: &str) -> Self {
        self.device = Some(id.to_owned());
        self
    }

    /// A message is sent later. The messages after it wait behind it.
    pub fn delay(self, delay: Duration) -> FaultRule {
        self.rule(MqttEffect::Delay(Delay::Fixed(delay)))
    }

    /// A message is not sent, and the client does not notice.
    pub fn lose(self) -> FaultRule {
        self.rule(MqttEffect::Lose)
    }

    /// The connection ends in place of a message. The client connects again at once.
    pub fn drop_connection(self) -> FaultRule {
        self.rule(MqttEffect::Drop)
    }

    /// The broker refuses connections, and an open one ends.
    pub fn refuse(self) -> FaultRule {
        self.rule(MqttEffect::Refuse)
    }

    fn rule(self, effect: MqttEffect) -> FaultRule {
        FaultRule::new(Fault::Mqtt { device: self.device, effect })
    }
}

/// The live stream of a device.
#[derive(Debug, Clone)]
#[must_use = "choose an effect"]
pub struct LiveFault {
    device: Option<String>,
}

/// Returns the description of a fault of the live stream of every device.
pub fn live() -> LiveFault {
    LiveFault { device: None }
}

impl LiveFault {
    /// Affects only the device with this id.
    pub fn device(mut self, id: &str) -> Self {
        self.device = Some(id.to_owned());
        self
    }

    /// An event is sent later. The events after it wait behind it.
    pub fn delay(self, delay: Duration) -> FaultRule {
        self.rule(LiveEffect::Delay(Delay::Fixed(delay)))
    }

    /// An event and those after it are held back for this time.
    pub fn stall(self, duration: Duration) -> FaultRule {
        self.rule(LiveEffect::Stall { duration: Some(duration) })
    }

    /// An event and those after it are held back until
    /// [`InjectedFault::release`](super::InjectedFault::release).
    pub fn stall_until_released(self) -> FaultRule {
        self.rule(LiveEffect::Stall { duration: None })
    }

    /// The connection ends after this many bytes of an event.
    pub fn cut(self, after: usize) -> FaultRule {
        self.rule(LiveEffect::Cut { after })
    }

    /// An event is sent twice.
    pub fn duplicate(self) -> FaultRule {
        self.rule(LiveEffect::Duplicate)
    }

    /// The client is disconnected in place of an event, as if another client had connected.
    pub fn takeover(self) -> FaultRule {
        self.rule(LiveEffect::Takeover)
    }

    fn rule(self, effect: LiveEffect) -> FaultRule {
        FaultRule::new(Fault::Live { device: self.device, effect })
    }
}
