//! What is in force outside the device once it was changed.

use std::time::Duration;

use tokio::sync::watch;

use super::Device;

/// How far something has come in following [`Device::changes`]: the count up to which it has; none
/// where nobody follows.
#[derive(Debug, Default)]
pub(super) struct Followed(watch::Sender<Option<u64>>);

impl Device {
    /// Says that its Modbus server's listener is as everything up to this count of
    /// [`Device::changes`] wants it; none where nobody takes care of that (any more).
    pub fn set_modbus_follows(&self, changes: Option<u64>) {
        self.modbus_followed().0.send_replace(changes);
    }

    /// Waits until its Modbus server's listener follows all that has changed so far, `limit` of real
    /// time at the most. At once where there is none.
    pub async fn modbus_follows(&self, limit: Duration) {
        let wanted = *self.changes().borrow();
        let far_enough = |count: &Option<u64>| count.is_none_or(|count| count >= wanted);
        let followed = &self.modbus_followed().0;
        if far_enough(&followed.borrow()) {
            return;
        }
        let mut followed = followed.subscribe();
        let follows = followed.wait_for(far_enough);
        // The sender lives as long as the device; and late is better than never.
        let _ = tokio::time::timeout(limit, follows).await;
    }
}
