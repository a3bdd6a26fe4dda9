//! Starts and stops of the Berry script.

use super::Device;
use super::locks::{NoLock, StateGuard};
use crate::clock::VirtualTime;
use crate::device::core::{ScriptChange, Transition};
use crate::device::script::printed_lines;
use crate::journal::Event;

impl Device {
    /// Returns `true` if the script runs (`services.berry.execution_status.state` is RUNNING).
    #[must_use]
    pub fn is_script_running(&self) -> bool {
        self.state().is_script_running()
    }

    /// Starts or stops the script as a user does, and returns whether it runs then. Without a script or
    /// a licence it does not start; a script that runs goes on. A script that a user has started or
    /// stopped does not start by itself before the next boot (vendor, Berry page).
    pub fn set_script_running(&self, run: bool) -> bool {
        let mut state = self.state();
        let transition = state.set_script_running(&self.spec, run);
        self.publish_script(state, transition)
    }

    /// Returns the time at which the script starts by itself. `None` if it does not, as things are.
    pub(crate) fn script_start(&self) -> Option<VirtualTime> {
        self.state().script_start()
    }

    /// Starts the script at its time after the boot, unless the settings say otherwise or a user has
    /// started or stopped it since.
    pub(crate) fn start_script_after_boot(&self) {
        let mut state = self.state();
        let transition = state.start_script_after_boot(&self.spec);
        self.publish_script(state, transition);
    }

    /// Publishes the transition, prints the first lines of a script that was started, and returns
    /// whether the script runs.
    fn publish_script(
        &self,
        state: StateGuard<'_, NoLock>,
        transition: Transition<ScriptChange, Option<Event>>,
    ) -> bool {
        let ScriptChange { running, started } = self.publish(state, transition);
        if let Some(script) = started {
            self.console.print(printed_lines(&script).into_iter());
        }
        running
    }
}
