//! The reception of the meter's telegrams: its position, and its conditions.

use std::sync::Arc;
use std::time::Duration;

use super::DeviceState;
use crate::clock::VirtualTime;
use crate::device::{Config, View};
use crate::fault::Episodes;
use crate::meter::{Meter, MeterListener, ReceptionCursor};

/// Virtual time that a device may be behind in listening to its meter for it to catch up at once: with
/// as many windows as there may be this takes a tenth of a millisecond or so. A longer way is gone
/// without the device's lock, and not on a worker of the runtime.
const CATCH_UP_AT_ONCE: Duration = Duration::from_hours(1);

/// The input of a reception: the meter, which is a function of seed and time, and the faults over it.
#[derive(Debug, Clone, Copy)]
pub(in crate::device) struct MeterInput<'a> {
    pub meter: &'a Meter,
    pub episodes: &'a Arc<Episodes>,
}

/// The state from which a long stretch of telegrams is received without the device's lock.
#[derive(Debug)]
pub(in crate::device) struct CatchUpStart {
    pub cursor: ReceptionCursor,
    pub view: View,
    epoch: u64,
}

impl DeviceState {
    /// Receives all telegrams up to `now`. This is due before each change of the conditions of the
    /// reception: the keys in the configuration, and the boot.
    pub(in crate::device) fn receive(&mut self, input: MeterInput<'_>, now: VirtualTime) {
        self.begin_reception_of_boot();
        let listener = listener(&self.config, input.episodes);
        input.meter.advance_to_inclusive(&mut self.reception, now, listener);
    }

    /// Returns the position of the reception.
    pub(in crate::device) fn reception(&self) -> ReceptionCursor {
        self.reception
    }

    /// Returns `true` if there is more to receive up to `now` than may be received under the lock.
    pub(in crate::device) fn is_far_behind(&mut self, now: VirtualTime) -> bool {
        self.begin_reception_of_boot();
        now.since(self.reception.position()) > CATCH_UP_AT_ONCE
    }

    /// Begins a new reception if the device has rebooted since the last one.
    fn begin_reception_of_boot(&mut self) {
        if self.reception.up_since() != self.boot.at {
            self.reception = ReceptionCursor::new(self.boot.at);
        }
    }

    /// Returns the state from which to catch up.
    pub(in crate::device) fn catch_up_start(&self) -> CatchUpStart {
        CatchUpStart { cursor: self.reception, view: self.view(), epoch: self.epoch }
    }

    /// Adopts the `cursor` that was reached from `start`, unless the state has changed since.
    pub(in crate::device) fn finish_catch_up(
        &mut self,
        start: &CatchUpStart,
        cursor: ReceptionCursor,
    ) {
        if self.reception == start.cursor
            && self.epoch == start.epoch
            && self.boot == start.view.boot
            && Arc::ptr_eq(&self.config, &start.view.config)
        {
            self.reception = cursor;
        }
    }
}

/// Returns the key with which the device decrypts telegrams. `None` if it decrypts none.
pub(in crate::device) fn encryption_key(config: &Config) -> Option<&[u8; 16]> {
    config.meter.encryption_key.as_ref().filter(|_| config.meter.encryption).map(|key| &key.0)
}

/// Returns the conditions under which a device with this configuration receives.
pub(in crate::device) fn listener<'a>(
    config: &'a Config,
    episodes: &'a Arc<Episodes>,
) -> MeterListener<'a> {
    MeterListener { episodes, key: encryption_key(config) }
}
