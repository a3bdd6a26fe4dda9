//! The count of a device's changes, and how far its followers are.

use std::time::Duration;

use tokio::sync::watch;

use super::Device;

/// The count of the changes, and the watermarks of the followers that a reply may wait for.
#[derive(Debug)]
pub(super) struct Changes {
    count: watch::Sender<u64>,
    /// Up to this count, the device outlives the process.
    persisted: Watermark,
    /// Up to this count, the listener of the device's Modbus server is as the settings say.
    modbus_applied: Watermark,
    /// Up to this count, the log on the SD card is on or off as the settings say.
    sd_log_applied: Watermark,
}

/// The count of changes up to which a follower has applied them. `None` if there is no follower.
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

    /// Counts one more change.
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

    /// Waits until the follower has applied all changes up to `count`. Returns at once if it has, or if
    /// there is no follower.
    async fn wait_for(&self, count: u64) {
        let reached = |applied: &Option<u64>| applied.is_none_or(|applied| applied >= count);
        if reached(&self.0.borrow()) {
            return;
        }
        // This cannot fail: the sender lives as long as the device.
        let _ = self.0.subscribe().wait_for(reached).await;
    }
}

impl Device {
    /// Returns the count of the changes that others follow: of the configuration, the actions, the
    /// firmware, the boot. A follower, such as a listener or a connection to a broker, looks at
    /// [`Device::view`] after each change and acts on the newest state alone.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.count.subscribe()
    }

    /// Notes that everything up to this count of [`Device::changes`] outlives the process. `None` if
    /// nothing is persisted, or nothing any more.
    pub fn set_persisted(&self, count: Option<u64>) {
        self.changes.persisted.set(count);
    }

    /// Waits until all changes so far outlive the process. Returns at once if nothing is persisted.
    pub async fn wait_persisted(&self) {
        self.changes.persisted.wait_for(self.changes.count()).await;
    }

    /// Notes that the listener of the device's Modbus server is as everything up to this count of
    /// [`Device::changes`] says. `None` if nothing follows the changes, or nothing any more.
    pub fn set_modbus_applied(&self, count: Option<u64>) {
        self.changes.modbus_applied.set(count);
    }

    /// Notes that the log on the SD card is as everything up to this count of [`Device::changes`] says.
    /// `None` if nothing follows the changes, or nothing any more.
    pub fn set_sd_log_applied(&self, count: Option<u64>) {
        self.changes.sd_log_applied.set(count);
    }

    /// Waits until the listener of the device's Modbus server and the log on the SD card have applied all
    /// changes so far, for at most `limit` of real time. Does not wait for one that does not run.
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
