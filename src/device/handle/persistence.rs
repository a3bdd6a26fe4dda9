//! The document from which a device resumes in a later process.

use super::Device;
use super::locks::NoLock;
use crate::device::DeviceDocument;

impl Device {
    /// Returns the current document of the device.
    #[must_use]
    pub fn document(&self) -> DeviceDocument {
        let (mut state, now) = self.nearly_current_state(NoLock);
        let episodes = self.meter_episodes(now);
        state.receive(self.meter_input(&episodes), now);
        let checkpoint = state.checkpoint(&self.spec, self.clock.start(), now);
        drop(state);
        checkpoint.encode()
    }

    /// Reserves no more status ids than were given out, because no call follows.
    pub fn release_reserved_status_ids(&self) {
        self.state().release_reserved_status_ids();
    }
}
