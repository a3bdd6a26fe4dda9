//! The reception of the meter's telegrams.

use std::sync::Arc;

use tokio::runtime::{Handle, RuntimeFlavor};

use super::Device;
use super::locks::{BeforeCatchUp, BeforeState, NoLock, StateGuard};
use crate::clock::VirtualTime;
use crate::device::core::{self, MeterInput};
use crate::device::{Snapshot, View};
use crate::fault::Episodes;
use crate::meter::{MeterListener, ReceptionCursor};

/// The reception of a device at one instant: its position and its conditions. It is
/// taken under the state lock, and asks the meter without it.
#[derive(Debug)]
pub(crate) struct ReceptionSnapshot<'d> {
    pub now: VirtualTime,
    pub cursor: ReceptionCursor,
    view: View,
    episodes: Arc<Episodes>,
    device: &'d Device,
}

impl ReceptionSnapshot<'_> {
    fn listener(&self) -> MeterListener<'_> {
        core::listener(&self.view.config, &self.episodes)
    }

    /// Returns the key with which the device decrypts telegrams. `None` if it decrypts none.
    pub(crate) fn encryption_key(&self) -> Option<[u8; 16]> {
        core::encryption_key(&self.view.config).copied()
    }

    /// Returns the device and the meter at `at`, as a device that has received up to `cursor` sees them.
    pub(crate) fn observe(&self, cursor: &ReceptionCursor, at: VirtualTime) -> Snapshot {
        let meter = self.device.meter.observe(cursor, self.listener());
        let time = self.device.clock.civil(at);
        Snapshot { now: at, time, view: self.view.clone(), meter }
    }

    /// Returns the device and the meter at this instant.
    fn into_snapshot(self) -> Snapshot {
        let meter = self.device.meter.observe(&self.cursor, self.listener());
        let time = self.device.clock.civil(self.now);
        Snapshot { now: self.now, time, view: self.view, meter }
    }

    /// Returns the time of the first reading after `cursor`. `None` if none comes. If the rules over
    /// the meter change very often, it may be a time at which no reading comes; the caller then asks
    /// again.
    pub(crate) fn next_reading(&self, cursor: &ReceptionCursor) -> Option<VirtualTime> {
        self.device.meter.next_reading(cursor, self.listener())
    }

    /// Receives all telegrams up to `to`.
    pub(crate) fn receive(&self, cursor: &mut ReceptionCursor, to: VirtualTime) {
        self.device.meter.advance_to_inclusive(cursor, to, self.listener());
    }

    /// Receives all telegrams before `end`.
    pub(crate) fn receive_before(&self, cursor: &mut ReceptionCursor, end: VirtualTime) {
        self.device.meter.advance_to(cursor, end, self.listener());
    }
}

impl Device {
    /// Returns the device and its meter at this instant. A surface takes everything that it shows from
    /// one snapshot.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.reception().into_snapshot()
    }

    /// Returns the time of the next reading. `None` if none comes. If the rules over the meter change
    /// very often, it may be a time at which no reading comes; the caller then asks again.
    #[must_use]
    pub fn next_reading(&self) -> Option<VirtualTime> {
        let reception = self.reception();
        reception.next_reading(&reception.cursor)
    }

    /// Receives all telegrams up to now, and returns the reception.
    pub(crate) fn reception(&self) -> ReceptionSnapshot<'_> {
        let (mut state, now) = self.nearly_current_state(NoLock);
        let episodes = self.meter_episodes(now);
        state.receive(self.meter_input(&episodes), now);
        let (cursor, view) = (state.reception(), state.view());
        drop(state);
        ReceptionSnapshot { now, cursor, view, episodes, device: self }
    }

    /// Asks the rules for the faults over the meter up to `now`.
    pub(super) fn meter_episodes(&self, now: VirtualTime) -> Arc<Episodes> {
        self.engine.meter(self.spec.identity.id.as_str(), now)
    }

    pub(super) fn meter_input<'a>(&'a self, episodes: &'a Arc<Episodes>) -> MeterInput<'a> {
        MeterInput { meter: &self.meter, episodes }
    }

    /// Locks the state, and returns it with the time. The reception is not far behind that time: a long
    /// stretch of telegrams is received before, without the state lock and beside the runtime, so that
    /// it holds up neither other callers nor other tasks.
    pub(super) fn nearly_current_state<T: BeforeCatchUp + BeforeState>(
        &self,
        token: T,
    ) -> (StateGuard<'_, T>, VirtualTime) {
        let (mut state, now) = self.state_and_time(token);
        if !state.is_far_behind(now) {
            return (state, now);
        }
        let token = state.unlock();
        let token = beside_the_runtime(|| self.catch_up(token));
        self.state_and_time(token)
    }

    /// Locks the state, and then reads the clock: no reception goes back in time.
    fn state_and_time<T: BeforeState>(&self, token: T) -> (StateGuard<'_, T>, VirtualTime) {
        let state = self.locks.state(token);
        let now = self.clock.now();
        (state, now)
    }

    /// Receives the telegrams up to now without the state lock, and lets the meter compute its days up
    /// to there. Concurrent callers wait, and find it done.
    fn catch_up<T: BeforeCatchUp>(&self, token: T) -> T {
        let mut catch_up = self.locks.catch_up(token);
        let start = {
            let (mut state, now) = self.state_and_time(&mut catch_up);
            state.is_far_behind(now).then(|| (state.catch_up_start(), now))
        };
        if let Some((start, now)) = start {
            let episodes = self.engine.episodes();
            let listener = core::listener(&start.view.config, &episodes);
            let mut cursor = start.cursor;
            self.meter.advance_to_inclusive(&mut cursor, now, listener);
            // The meter keeps the observation for all later callers.
            let _ = self.meter.observe(&cursor, listener);
            self.locks.state(&mut catch_up).finish_catch_up(&start, cursor);
        }
        catch_up.unlock()
    }
}

/// Does long work so that the other tasks of a multi-threaded runtime go on meanwhile.
fn beside_the_runtime<R>(work: impl FnOnce() -> R) -> R {
    let flavor = Handle::try_current().map(|runtime| runtime.runtime_flavor());
    if flavor.is_ok_and(|flavor| flavor == RuntimeFlavor::MultiThread) {
        tokio::task::block_in_place(work)
    } else {
        work()
    }
}
