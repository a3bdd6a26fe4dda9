//! Reboots and factory resets.

use super::actions::Queue;
use super::handle::{Device, State};
use super::{Boot, Config};
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
}

impl RebootCause {
    /// As the journal has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked to",
            Self::Restored => "factory reset",
        }
    }
}

impl Device {
    /// Whether it is up.
    #[must_use]
    pub fn power(&self) -> Power {
        self.state().power
    }

    /// Goes down, for the hardware's reboot time. All that is known of actions is forgotten, what is
    /// under way ends without a trace. Whoever serves the device follows [`Device::changes`] and
    /// calls [`Device::come_up`]. Nothing happens while it is down already.
    pub fn reboot(&self, cause: RebootCause) {
        let mut state = self.state();
        if state.power != Power::Up {
            return;
        }
        let until = self.clock().now().after(self.hardware().reboot_time);
        state.power = Power::Down { until };
        self.forget_runs(&mut state);
        self.journal()
            .write(Event::Rebooting { device: self.identity().id.shared(), cause: cause.as_str() });
        drop(state);
        self.changed();
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
        let ordinal = state.boot.ordinal + 1;
        state.boot = Boot::new(&self.identity().id, self.seed(), ordinal, self.clock().now());
        self.journal().write(Event::Started {
            device: self.identity().id.shared(),
            firmware: state.firmware.to_string(),
            boot_id: state.boot.id.to_string(),
        });
        drop(state);
        self.changed();
    }

    /// Forgets everything a user has set, as the factory left it: configuration, actions, script.
    /// Firmware, identity and the SD card stay. A reboot is to follow.
    pub fn restore(&self) {
        let mut state = self.state();
        self.put_in_force(&mut state, Config::factory(&self.identity().id));
        let definition = state.definition.take();
        self.journal().write(Event::Restored { device: self.identity().id.shared() });
        drop(state);
        // Freed only now, as it may be large.
        drop(definition);
        self.changed();
    }

    fn forget_runs(&self, state: &mut State) {
        state.pairing = None;
        state.epoch += 1;
        state.queue = Queue::new(self.settings().first_status_id.unwrap_or(1));
    }
}
