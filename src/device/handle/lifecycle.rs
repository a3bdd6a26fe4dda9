//! Reboots, resets, firmware upgrades, and the power that the device runs on.

use super::Device;
use super::locks::NoLock;
use crate::device::{Config, Firmware, Power, RebootCause};

impl Device {
    /// Returns the power state: up, or down for a reboot.
    #[must_use]
    pub fn power(&self) -> Power {
        self.state().power()
    }

    /// Returns `true` if the device has no network until it starts with power on USB, because it only
    /// records.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        self.state().is_offline()
    }

    /// Lets the requests in progress end without a trace from now on. A [`Device::reset`] is to follow.
    pub(crate) fn forget_requests(&self) {
        self.state().forget_requests();
    }

    /// Records in the state that a [`Device::reboot`] follows as soon as the current reply is sent. A process that ends
    /// before that resumes with the reboot.
    pub fn announce_reboot(&self) {
        let mut state = self.state();
        let transition = state.announce_reboot();
        self.publish(state, transition);
    }

    /// Switches the device off for the hardware's reboot time. The requests of its actions end without a
    /// trace. The owner of its servers is a follower of [`Device::changes`], and calls [`Device::finish_reboot`]
    /// at the end of that time. Nothing happens if the device is down.
    pub fn reboot(&self, cause: RebootCause) {
        let mut state = self.state();
        let transition = state.reboot(&self.spec, cause, self.clock.now());
        if transition.outcome
            && let Some(card) = self.sd()
        {
            card.close();
        }
        self.publish(state, transition);
    }

    /// Switches the device off until [`Device::switch_on`], as a reboot does for a time. Nothing happens if it is off.
    pub fn switch_off(&self) {
        self.go_off(true);
    }

    /// Keeps a device off that has not been on yet.
    pub fn stay_off(&self) {
        self.go_off(false);
    }

    fn go_off(&self, recorded: bool) {
        let mut state = self.state();
        let transition = state.switch_off(&self.spec, recorded);
        if transition.outcome
            && let Some(card) = self.sd()
        {
            card.close();
        }
        self.publish(state, transition);
    }

    /// Switches a device on that is off. The owner of its servers calls [`Device::finish_reboot`] then.
    pub fn switch_on(&self) {
        let mut state = self.state();
        let transition = state.switch_on(self.clock.now());
        self.publish(state, transition);
    }

    /// Ends a reboot: a new boot with the same configuration. Nothing happens if the device is up.
    pub fn finish_reboot(&self) {
        let mut state = self.state();
        let transition = state.finish_reboot(&self.spec, self.clock.now());
        self.publish(state, transition);
    }

    /// Restores the factory settings: configuration, actions and script. The firmware, the identity and
    /// the SD card stay. A reboot is to follow.
    pub fn restore_factory_settings(&self) {
        // Created, and the previous parts freed, without the lock: they may be large.
        let factory = Config::factory(&self.spec.identity.id);
        let (mut state, _) = self.nearly_current_state(NoLock);
        let now = self.clock.now();
        let episodes = self.meter_episodes(now);
        let meter = self.meter_input(&episodes);
        let transition = state.restore_factory_settings(&self.spec, factory, meter, now);
        drop(self.publish(state, transition));
    }

    /// Returns to the state of the first start. The requests in progress end without a trace.
    pub fn reset(&self) {
        let mut state = self.state();
        let transition = state.reset(&self.spec);
        self.publish(state, transition);
    }

    /// Sets the firmware that the device runs from its next reboot on.
    pub fn stage_firmware(&self, firmware: Firmware) {
        let mut state = self.state();
        let transition = state.stage_firmware(firmware);
        self.publish(state, transition);
    }

    /// Returns the voltage of the supercapacitor. `None` unless the scenario models it and the meter
    /// alone powers the device.
    #[must_use]
    pub fn supercapacitor_volts(&self) -> Option<f64> {
        let now = self.clock.now();
        self.spec.drains_supercapacitor().then(|| self.state().supercapacitor_volts(now))
    }

    /// Takes the charge that a download of so many bytes costs from the supercapacitor, if the scenario
    /// models it and the meter alone powers the device. A device without power reboots.
    pub fn drain_supercapacitor(&self, bytes: usize) {
        if !self.spec.drains_supercapacitor() {
            return;
        }
        let now = self.clock.now();
        let empty = self.state().drain_supercapacitor(bytes, now);
        if empty {
            self.reboot(RebootCause::SupercapacitorEmpty);
        }
    }
}
