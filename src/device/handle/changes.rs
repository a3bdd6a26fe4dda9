//! The change count of a device, the watermarks of its followers, and its observer.
//!
//! The change count is the number of transitions that changed state which outlives the process or on which
//! a follower acts: of the configuration, the actions, the firmware, the boot. A follower is a service of
//! the device that waits for a higher change count and then acts on the newest state alone, such as its
//! persistence, its Modbus listener or its connection to a broker. A watermark is the change count up to
//! which a follower has applied the changes.
//!
//! The observer is the owner of the followers. It is notified of each change before the caller that made it goes
//! on, so that a follower which the change asks for exists by then, and a reply waits for it.

use std::sync::{OnceLock, Weak};
use std::time::Duration;

use tokio::sync::watch;

use super::Device;

/// The owner of the followers of a device.
pub trait ChangeObserver: Send + Sync {
    /// Called after each change, on the thread that made it. The caller holds no lock of the device but,
    /// possibly, the edit lock.
    fn device_changed(&self);
}

/// The change count, and the watermarks of the followers for which a reply may wait.
#[derive(Debug)]
pub(super) struct Changes {
    count: watch::Sender<u64>,
    applied: watch::Sender<Watermarks>,
    observer: OnceLock<Weak<dyn ChangeObserver>>,
}

/// The watermark of each follower. `None` if there is no such follower.
#[derive(Debug, Default)]
struct Watermarks {
    /// That of the persistence.
    persisted: Option<u64>,
    /// That of the listener of the device's Modbus server.
    modbus: Option<u64>,
    /// That of the log on the SD card.
    sd_log: Option<u64>,
}

impl Changes {
    pub(super) fn new() -> Self {
        Self {
            count: watch::Sender::new(0),
            applied: watch::Sender::default(),
            observer: OnceLock::new(),
        }
    }

    /// Increments the change count.
    pub(super) fn increment(&self) {
        self.count.send_modify(|count| *count += 1);
    }

    /// Notifies the observer, if there is one, that the device has changed.
    pub(super) fn notify_observer(&self) {
        if let Some(observer) = self.observer.get().and_then(Weak::upgrade) {
            observer.device_changed();
        }
    }

    fn count(&self) -> u64 {
        *self.count.borrow()
    }

    /// Waits until the followers have applied all changes up to `count`. Does not wait for those that do not
    /// run.
    async fn wait_applied<const N: usize>(
        &self,
        count: u64,
        watermarks: impl Fn(&Watermarks) -> [Option<u64>; N],
    ) {
        let reached = |applied: &Watermarks| have_reached(watermarks(applied), count);
        if reached(&self.applied.borrow()) {
            return;
        }
        // This cannot fail: the sender lives as long as the device.
        let _ = self.applied.subscribe().wait_for(reached).await;
    }

    /// Returns true if the followers have applied all changes.
    fn are_all_applied(&self) -> bool {
        let Watermarks { persisted, modbus, sd_log } = *self.applied.borrow();
        have_reached([persisted, modbus, sd_log], self.count())
    }
}

/// Returns true if those of these followers that run have applied all changes up to `count`.
fn have_reached<const N: usize>(watermarks: [Option<u64>; N], count: u64) -> bool {
    watermarks.iter().all(|applied| applied.is_none_or(|applied| applied >= count))
}

impl Device {
    /// Returns the change count, as a value that can be awaited. A follower reads [`Device::view`] after each
    /// change.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.count.subscribe()
    }

    /// Returns true if [`Device::wait_persisted`] and [`Device::wait_applied`] have nothing to wait for.
    #[must_use]
    pub fn has_followed_changes(&self) -> bool {
        self.changes.are_all_applied()
    }

    /// Sets the observer, which is notified of each change from now on. Only the first call has an effect.
    pub(crate) fn set_observer(&self, observer: Weak<dyn ChangeObserver>) {
        let _ = self.changes.observer.set(observer);
    }

    /// Sets the change count up to which the state is persisted. `None` if nothing is persisted, or nothing
    /// any more.
    pub fn set_persisted(&self, count: Option<u64>) {
        self.changes.applied.send_modify(|applied| applied.persisted = count);
    }

    /// Waits until all changes so far are persisted. Returns at once if nothing is persisted.
    pub async fn wait_persisted(&self) {
        let count = self.changes.count();
        self.changes.wait_applied(count, |applied| [applied.persisted]).await;
    }

    /// Sets the change count up to which the listener of the device's Modbus server has applied the settings.
    /// `None` if there is no such follower, or none any more.
    pub fn set_modbus_applied(&self, count: Option<u64>) {
        self.changes.applied.send_modify(|applied| applied.modbus = count);
    }

    /// Sets the change count up to which the log on the SD card has applied the settings. `None` if there is no
    /// such follower, or none any more.
    pub fn set_sd_log_applied(&self, count: Option<u64>) {
        self.changes.applied.send_modify(|applied| applied.sd_log = count);
    }

    /// Waits until the listener of the device's Modbus server and the log on the SD card have applied all
    /// changes so far, for at most `limit` of real time. Does not wait for a follower that does not run.
    pub async fn wait_applied(&self, limit: Duration) {
        let count = self.changes.count();
        let applied = self.changes.wait_applied(count, |applied| [applied.modbus, applied.sd_log]);
        // After the limit, the caller goes on: its reply is late, but it comes.
        let _ = tokio::time::timeout(limit, applied).await;
    }
}
