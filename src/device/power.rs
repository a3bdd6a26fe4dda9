//! Reboots and factory resets.

use std::sync::Arc;

use super::actions::Queue;
use super::handle::{Device, DeviceState};
use super::network::Site;
use super::script::ScriptState;
use super::{Boot, Config, Feature, Firmware, Profile};
use crate::clock::VirtualTime;
use crate::journal::Event;

/// Whether a device is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// It is.
    Up,
    /// It reboots.
    Down {
        /// When it comes up again.
        until: VirtualTime,
    },
}

/// Why a device reboots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RebootCause {
    /// `/api/v1/reboot`.
    Asked,
    /// `/api/v1/restore`.
    Restored,
    /// A firmware image was uploaded.
    Updated,
    /// The supercapacitor is empty.
    Drained,
}

impl RebootCause {
    /// As the journal has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked to",
            Self::Restored => "factory reset",
            Self::Updated => "firmware upload",
            Self::Drained => "supercapacitor empty",
        }
    }
}

/// The supercapacitor that feeds the device beside its meter's plug (POWER-3).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Charge {
    volts: f64,
    at: VirtualTime,
}

impl Default for Charge {
    fn default() -> Self {
        Self { volts: Self::FULL, at: VirtualTime::ZERO }
    }
}

impl Charge {
    /// Volts that a meter's plug holds it at (observed).
    const FULL: f64 = 3.76;
    /// Volts at which the device goes down (observed).
    const EMPTY: f64 = 3.2;
    /// Volts at which it comes up again (POWER-3).
    const ENOUGH: f64 = 3.5;
    /// Volts that a byte of a download costs: 3.76 to 3.2 V for 265 KB (observed).
    const PER_BYTE: f64 = (3.76 - 3.2) / 265_000.0;
    /// Volts in a second that the meter's plug gives back (POWER-3).
    const PER_SECOND: f64 = 0.02;

    fn volts(&self, now: VirtualTime) -> f64 {
        let given = now.since(self.at).as_secs_f64() * Self::PER_SECOND;
        (self.volts + given).min(Self::FULL)
    }
}

/// Whether a device that gets power in this state only records: no network, only the SD log
/// (`services.sd.recorder_mode`, with the meter's plug alone).
pub(super) fn records_alone(config: &Config, firmware: Firmware, site: &Site) -> bool {
    config.settings.services.sd.recorder_mode
        && !site.usb
        && Profile::of(firmware).has(Feature::RecorderMode)
}

impl Device {
    /// Volts of the supercapacitor, where the scenario wants it modelled and the meter alone feeds
    /// the device.
    #[must_use]
    pub fn v_scap(&self) -> Option<f64> {
        let modelled = self.hardware().power_model && !self.site().usb;
        let now = self.clock().now();
        modelled.then(|| self.state().charge.volts(now))
    }

    /// Whether it has no network until it starts again with power on USB, because it only records.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        self.state().offline
    }

    /// Tells the journal of an upload.
    pub fn journal_upload(&self, event: Event) {
        self.journal().record(event);
    }

    /// Has it come up with another firmware after the next reboot.
    pub fn upgrade(&self, firmware: Firmware) {
        let mut state = self.state();
        state.upgrade = Some(firmware);
        self.changed(state);
    }

    /// Takes from the supercapacitor what sending so many bytes of a download costs, where the
    /// scenario wants that and the meter alone feeds the device; without power it reboots.
    pub fn drain(&self, bytes: usize) {
        if self.v_scap().is_none() {
            return;
        }
        let now = self.clock().now();
        let empty = {
            let mut state = self.state();
            #[expect(clippy::cast_precision_loss, reason = "a piece of a file is small")]
            let volts = state.charge.volts(now) - bytes as f64 * Charge::PER_BYTE;
            state.charge = Charge { volts, at: now };
            volts < Charge::EMPTY
        };
        if empty {
            self.reboot(RebootCause::Drained);
        }
    }

    /// Whether it is up.
    #[must_use]
    pub fn power(&self) -> Power {
        self.state().power
    }

    /// Says that a [`Device::reboot`] follows as soon as a reply is out: a process that ends before that
    /// goes on with the reboot.
    pub fn leave(&self) {
        let mut state = self.state();
        if state.power == Power::Up {
            state.leaving = true;
            self.changed(state);
        }
    }

    /// Goes down, for the hardware's reboot time. All that is known of actions is forgotten, what is
    /// under way ends without a trace. Whoever serves the device follows [`Device::changes`] and
    /// calls [`Device::come_up`]. Nothing happens while it is down already.
    pub fn reboot(&self, cause: RebootCause) {
        let mut state = self.state();
        if state.power != Power::Up {
            return;
        }
        if let Some(card) = self.sd() {
            card.close();
        }
        let until = self.clock().now().after(self.hardware().reboot_time);
        state.power = Power::Down { until };
        state.leaving = false;
        self.forget_runs(&mut state);
        self.journal().record(Event::Rebooting {
            device: self.identity().id.shared(),
            cause: cause.as_str(),
        });
        self.changed(state);
    }

    /// Comes up after a reboot: a new start, the same configuration. Nothing happens while it is up.
    pub fn come_up(&self) {
        let mut state = self.state();
        if state.power == Power::Up {
            return;
        }
        state.power = Power::Up;
        // Whoever still was connected may have called an action on the way down.
        self.forget_runs(&mut state);
        if let Some(firmware) = state.upgrade.take() {
            state.firmware = firmware;
        }
        state.offline = records_alone(&state.config, state.firmware, self.site());
        let now = self.clock().now();
        state.charge = Charge { volts: state.charge.volts(now).max(Charge::ENOUGH), at: now };
        let ordinal = state.boot.ordinal + 1;
        state.boot = Boot::new(&self.identity().id, self.seed(), ordinal, self.clock().now());
        self.journal().record(Event::Started {
            device: self.identity().id.shared(),
            firmware: state.firmware.to_string(),
            boot_id: state.boot.id.to_string(),
        });
        self.changed(state);
    }

    /// Forgets everything a user has set, as the factory left it: configuration, actions, script.
    /// Firmware, identity and the SD card stay. A reboot is to follow.
    pub fn restore(&self) {
        // Made, and freed, beside the lock: they may be large.
        let factory = Config::factory(&self.identity().id);
        let before = Arc::clone(&self.state().config);
        let (mut state, _) = self.caught_up();
        self.put_in_force(&mut state, factory);
        let definition = state.definition.take();
        self.journal().record(Event::Restored { device: self.identity().id.shared() });
        self.changed(state);
        drop((definition, before));
    }

    fn forget_runs(&self, state: &mut DeviceState) {
        state.pairing = None;
        state.epoch += 1;
        state.script = ScriptState::default();
        state.queue = Queue::new(self.action_policy().first_status_id());
    }
}
