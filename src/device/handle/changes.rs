//! The change count of a device, and the watermarks of its followers.
//!
//! The change count is the number of transitions that changed state which outlives the process or on which
//! a follower acts: of the configuration, the actions, the firmware, the boot. A follower is a service of
//! the device that waits for a higher change count and then acts on the newest state alone, such as its
//! persistence, its Modbus listener or its connection to a broker. A watermark is the change count up to
//! which a follower has applied the changes.

use std::time::Duration;

use tokio::sync::watch;

use super::Device;

/// The change count, and the watermarks of the followers for which a reply may wait.
#[derive(Debug)]
pub(super) struct Changes {
    count: watch::Sender<u64>,
    /// The watermark of the persistence.
    persisted: Watermark,
    /// The watermark of the listener of the device's Modbus server.
    modbus_applied: Watermark,
    /// The watermark of the log on the SD card.
    sd_log_applied: Watermark,
}

/// The change count up to which a follower has applied the changes. `None` if there is no follower.
#[derive(Debug, Default)]
struct Watermark(watch::Sender<Option<u64>>);

impl Changes {
    pub(super) fn new() -> Self {
        Self {
            count: watch::Sender::new(0),
            persisted: Watermark::default(),
            modbus_applied: Watermark::default(),
            sd_log_applied: Watermark::default(),
        }
    }

    /// Increments the change count.
    pub(super) fn increment(&self) {
        self.count.send_modify(|count| *count += 1);
    }

    fn count(&self) -> u64 {
        *self.count.borrow()
    }
}

impl Watermark {
    fn set(&self, count: Option<u64>) {
        self.0.send_replace(count);
    }

    /// Waits until the follower has applied all changes up to `count`. Returns at once if there is no
    /// follower.
    async fn wait_for(&self, count: u64) {
        if self.has_reached(count) {
            return;
        }
        let reached = |applied: &Option<u64>| applied.is_none_or(|applied| applied >= count);
        // This cannot fail: the sender lives as long as the device.
        let _ = self.0.subscribe().wait_for(reached).await;
    }

    fn has_reached(&self, count: u64) -> bool {
        self.0.borrow().is_none_or(|applied| applied >= count)
    }
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
        let Changes { persisted, modbus_applied, sd_log_applied, .. } = &self.changes;
        let count = self.changes.count();
        [persisted, modbus_applied, sd_log_applied].iter().all(|applied| applied.has_reached(count))
    }

    /// Sets the change count up to which the state is persisted. `None` if nothing is persisted, or nothing
    /// any more.
    pub fn set_persisted(&self, count: Option<u64>) {
        self.changes.persisted.set(count);
    }

    /// Waits until all changes so far are persisted. Returns at once if nothing is persisted.
    pub async fn wait_persisted(&self) {
        self.changes.persisted.wait_for(self.changes.count()).await;
    }

    /// Sets the change count up to which the listener of the device's Modbus server has applied the settings.
    /// `None` if there is no such follower, or none any more.
    pub fn set_modbus_applied(&self, count: Option<u64>) {
        self.changes.modbus_applied.set(count);
    }

    /// Sets the change count up to which the log on the SD card has applied the settings. `None` if there is no
    /// such follower, or none any more.
    pub fn set_sd_log_applied(&self, count: Option<u64>) {
        self.changes.sd_log_applied.set(count);
    }

    /// Waits until the listener of the device's Modbus server and the log on the SD card have applied all
    /// changes so far, for at most `limit` of real time. Does not wait for a follower that does not run.
    pub async fn wait_applied(&self, limit: Duration) {
        let count = self.changes.count();
        let applied = async {
            self.changes.modbus_applied.wait_for(count).await;
            self.changes.sd_log_applied.wait_for(count).await;
        };
        // After the limit, the caller goes on: its reply is late, but it comes.
        let _ = tokio::time::timeout(limit, applied).await;
    }
}
