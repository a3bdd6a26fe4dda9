//! Starts and stops of the Berry script.

use super::{DeviceSpec, DeviceState, Transition};
use crate::clock::VirtualTime;
use crate::device::{Feature, LicensedFeature, Profile};
use crate::journal::Event;
use std::sync::Arc;
use std::time::Duration;

/// The outcome of a command to start or stop the script.
#[derive(Debug)]
pub(in crate::device) struct ScriptChange {
    /// True if the script runs after the command.
    pub running: bool,
    /// The script that was started. `None` if the command started none.
    pub started: Option<Arc<str>>,
}

impl DeviceState {
    /// Starts or stops the script. Without a script or a licence it does not start; a script that runs
    /// goes on. After this it does not start by itself before the next boot.
    pub(in crate::device) fn set_script_running(
        &mut self,
        spec: &DeviceSpec,
        run: bool,
    ) -> Transition<ScriptChange, Option<Event>> {
        let start_decided = std::mem::replace(&mut self.script.start_decided, true);
        let before = self.script.running;
        // A script that runs may have been deleted since it was started.
        let running = run && (before || self.can_start_script(spec));
        if running == before {
            let outcome = ScriptChange { running, started: None };
            return Transition { outcome, events: None, counts: !start_decided };
        }
        self.script.running = running;
        let started = self.config.script.clone().filter(|_| running);
        let device = spec.identity.id.shared();
        Transition::counted(
            ScriptChange { running, started },
            Event::ScriptStateChanged { device, running },
        )
    }

    /// Starts the script at its time after the boot, if `services.berry.auto_run` says so and no user
    /// has started or stopped it since the boot.
    pub(in crate::device) fn start_script_after_boot(
        &mut self,
        spec: &DeviceSpec,
    ) -> Transition<ScriptChange, Option<Event>> {
        if self.script.start_decided {
            let running = self.script.running;
            return Transition::unchanged(ScriptChange { running, started: None });
        }
        self.set_script_running(spec, self.config.settings.services.berry_auto_run)
    }

    /// Returns the time at which the script starts by itself. `None` if it does not, as things are.
    pub(in crate::device) fn script_start(&self) -> Option<VirtualTime> {
        let auto_run = self.config.settings.services.berry_auto_run;
        (auto_run && !self.script.start_decided).then(|| self.script_time())
    }

    /// Returns true if the script no longer starts by itself at `now`. Nobody waits for its time while
    /// `services.berry.auto_run` is off, so a time that has passed is noticed here.
    pub(super) fn is_script_start_decided(&self, now: VirtualTime) -> bool {
        let auto_run = self.config.settings.services.berry_auto_run;
        self.script.start_decided || (!auto_run && self.script_time() <= now)
    }

    /// Returns the time after the boot at which the script may start by itself.
    fn script_time(&self) -> VirtualTime {
        let delay = self.config.settings.services.berry_run_delay;
        self.boot.at.after(Duration::from_secs(delay.into()))
    }

    fn can_start_script(&self, spec: &DeviceSpec) -> bool {
        self.config.script.is_some()
            && spec.identity.license.includes(LicensedFeature::BerryRun)
            && Profile::new(self.firmware).has(Feature::Berry)
    }
}
