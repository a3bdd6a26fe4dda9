//! Reboots, resets, firmware upgrades, and the power that the device runs on.

use super::{DeviceSpec, DeviceState, Transition};
use crate::clock::VirtualTime;
use crate::device::actions::Queue;
use crate::device::network::Site;
use crate::device::script::ScriptState;
use crate::device::{Boot, Config, Feature, Firmware, Power, Profile, RebootCause};
use crate::journal::Event;

impl DeviceSpec {
    /// Returns `true` if downloads drain the supercapacitor: the scenario models it, and the meter's plug
    /// alone powers the device.
    pub(in crate::device) fn drains_supercapacitor(&self) -> bool {
        self.hardware.power_model && !self.site.usb
    }
}

impl DeviceState {
    /// Returns to the state of the first start, in a new epoch.
    pub(in crate::device) fn reset(&mut self, spec: &DeviceSpec) -> Transition<(), Option<Event>> {
        *self = Self { epoch: self.epoch + 1, ..Self::new(spec) };
        Transition { outcome: (), events: None, counts: true }
    }

    /// Begins an epoch for a reset that is to follow: the requests in progress leave no trace any more.
    pub(in crate::device) fn forget_requests(&mut self) {
        self.epoch += 1;
    }

    /// Records in the state that a reboot follows as soon as the current reply is sent. A process that ends before
    /// that resumes with the reboot.
    pub(in crate::device) fn announce_reboot(&mut self) -> Transition<(), Option<Event>> {
        let up = self.power == Power::Up;
        self.reboot_pending |= up;
        Transition { outcome: (), events: None, counts: up }
    }

    /// Switches the device off for the hardware's reboot time, and returns whether it was up. Requests
    /// in progress end without a trace.
    pub(in crate::device) fn reboot(
        &mut self,
        spec: &DeviceSpec,
        cause: RebootCause,
        now: VirtualTime,
    ) -> Transition<bool, Option<Event>> {
        if self.power != Power::Up {
            return Transition::unchanged(false);
        }
        self.power = Power::Down { until: now.after(spec.hardware.reboot_time) };
        self.reboot_pending = false;
        self.begin_epoch(spec);
        let device = spec.identity.id.shared();
        Transition::counted(true, Event::Rebooting { device, cause: cause.as_str() })
    }

    /// Switches the device off until [`DeviceState::switch_on`], and returns whether it was up. Requests in progress
    /// end without a trace. `recorded` is false for a device that was never on.
    pub(in crate::device) fn switch_off(
        &mut self,
        spec: &DeviceSpec,
        recorded: bool,
    ) -> Transition<bool, Option<Event>> {
        let was_up = self.power == Power::Up;
        if self.power.is_off() {
            return Transition::unchanged(false);
        }
        self.power = Power::OFF;
        self.reboot_pending = false;
        self.begin_epoch(spec);
        let device = spec.identity.id.shared();
        let events = recorded.then_some(Event::SwitchedOff { device });
        Transition { outcome: was_up, events, counts: true }
    }

    /// Lets a device that is off start now. Nothing changes if it is not off.
    pub(in crate::device) fn switch_on(
        &mut self,
        now: VirtualTime,
    ) -> Transition<(), Option<Event>> {
        if !self.power.is_off() {
            return Transition::unchanged(());
        }
        self.power = Power::Down { until: now };
        Transition { outcome: (), events: None, counts: true }
    }

    /// Ends a reboot: a new boot with the same configuration. Nothing changes if the device is up.
    pub(in crate::device) fn finish_reboot(
        &mut self,
        spec: &DeviceSpec,
        now: VirtualTime,
    ) -> Transition<(), Option<Event>> {
        if self.power == Power::Up {
            return Transition::unchanged(());
        }
        self.power = Power::Up;
        // A client that was still connected may have called an action while the device went down.
        self.begin_epoch(spec);
        if let Some(firmware) = self.next_firmware.take() {
            self.firmware = firmware;
        }
        self.offline = only_records(&self.config, self.firmware, &spec.site);
        self.supercapacitor.recharge_for_start(now);
        self.boot =
            Boot::new(&spec.identity.id, spec.seed, self.boot.ordinal.saturating_add(1), now);
        let started = Event::Started {
            device: spec.identity.id.shared(),
            firmware: self.firmware.to_string(),
            boot_id: self.boot.id.to_string(),
        };
        Transition::counted((), started)
    }

    /// Discards everything that belongs to the boot before: requests, their statuses, the state of the
    /// script, and the pairing.
    fn begin_epoch(&mut self, spec: &DeviceSpec) {
        self.pairing = None;
        self.epoch += 1;
        self.script = ScriptState::default();
        self.queue = Queue::new(spec.action_policy.first_status_id());
    }

    /// Sets the firmware that the next start runs.
    pub(in crate::device) fn stage_firmware(
        &mut self,
        firmware: Firmware,
    ) -> Transition<(), Option<Event>> {
        self.next_firmware = Some(firmware);
        Transition { outcome: (), events: None, counts: true }
    }

    /// Takes the charge that a download of so many bytes costs from the supercapacitor, and returns
    /// whether it is empty.
    pub(in crate::device) fn drain_supercapacitor(
        &mut self,
        bytes: usize,
        now: VirtualTime,
    ) -> bool {
        self.supercapacitor.drain(bytes, now)
    }
}

/// Returns `true` if a device that starts with this configuration only records: no network, only the SD
/// log (`services.sd.recorder_mode`, with the meter's plug alone).
pub(super) fn only_records(config: &Config, firmware: Firmware, site: &Site) -> bool {
    config.settings.services.sd.recorder_mode
        && !site.usb
        && Profile::new(firmware).has(Feature::RecorderMode)
}
