//! What is in force outside the device once it was changed.

use std::time::Duration;

use tokio::sync::watch;

use super::Device;

/// How far something has come in following [`Device::changes`]: the count up to which it has; none
/// where nobody follows.
#[derive(Debug, Default)]
pub(super) struct Watermark(watch::Sender<Option<u64>>);

impl Watermark {
    /// It has come up to this count.
    pub(super) fn set(&self, count: Option<u64>) {
        self.0.send_replace(count);
    }

    /// Waits until it has come up to `wanted`; at once where it has, or where nobody follows.
    pub(super) async fn wait_for(&self, wanted: u64) {
        let far_enough = |count: &Option<u64>| count.is_none_or(|count| count >= wanted);
        if far_enough(&self.0.borrow()) {
            return;
        }
        // The sender lives as long as the device.
        let _ = self.0.subscribe().wait_for(far_enough).await;
    }
}

impl Device {
    /// Says that its Modbus server's listener is as everything up to this count of
    /// [`Device::changes`] wants it; none where nobody takes care of that (any more).
    pub fn set_modbus_applied(&self, changes: Option<u64>) {
        self.modbus_watermark().set(changes);
    }

    /// Waits until its Modbus server's listener follows all that has changed so far, `limit` of real
    /// time at the most. At once where there is none.
    pub async fn wait_modbus_applied(&self, limit: Duration) {
        let wanted = *self.changes().borrow();
        // Late is better than never.
        let _ = tokio::time::timeout(limit, self.modbus_watermark().wait_for(wanted)).await;
    }
}
